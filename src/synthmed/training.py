"""The only training loop: step, log, save, resume. It knows `GAN` and image sets, and no particular model."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from synthmed import checkpoint as checkpoints
from synthmed import generators
from synthmed.data.imageset import ImageSet
from synthmed.errors import InputError
from synthmed.files import hash_file
from synthmed.gan import GAN, Batch, choose_device, derived_seed, to_model
from synthmed.monitor import History, Samples
from synthmed.settings import parse

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopSettings:
    """steps: optimiser steps; batch_size: images of a micro-batch (of each class where the model says batch_per_class);
    image_size: side in pixels that the images are reduced to for this generator, None = as they are;
    accumulate: micro-batches per optimiser step; flip: mirror real images left-right with probability 1/2; threads: CPU
    threads; log_every, sample_every, save_every: steps between history rows, sample grids, resume states."""

    steps: int
    batch_size: int
    image_size: int | None
    accumulate: int
    precision: Literal["fp32", "bf16"]
    channels_last: bool
    flip: bool
    threads: int
    log_every: int
    sample_every: int
    save_every: int
    device: Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class TrainSettings:
    """model: name in generators.GENERATORS; classes: all classes of the experiment; labels: those this training uses;
    config: the settings of the model."""

    model: str
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    seed: int
    config: dict
    training: LoopSettings


# --------------------------------------------------------------------------------------------------------- the data
class Shuffled:
    """Endless order over `indices`: every epoch is a new permutation drawn from `rng`. The state is what is left."""

    def __init__(self, indices: Tensor):
        self.indices = indices
        self.left = indices[:0]

    def take(self, count: int, rng: torch.Generator) -> Tensor:
        while len(self.left) < count:
            self.left = torch.cat([self.left, self.indices[torch.randperm(len(self.indices), generator=rng)]])
        taken, self.left = self.left[:count], self.left[count:]
        return taken


def reduced(pixels: Tensor, size: int, path: Path) -> Tensor:
    """uint8 (N, C, H, W) → uint8 (N, C, size, size), bilinear, antialiased. Raises InputError when it would enlarge."""
    if size > min(pixels.shape[2:]):
        raise InputError(
            f"setting training.image_size is {size}, but the images of {path} have {tuple(pixels.shape[2:])} pixels; "
            "lower it, or prepare larger images"
        )
    small = [
        functional.interpolate(part.float(), (size, size), mode="bilinear", antialias=True, align_corners=False)
        for part in pixels.split(256)
    ]
    return torch.cat([part.round().clamp(0, 255).to(torch.uint8) for part in small])


class RealImages:
    """The real images of one training, uint8 (N, C, H, W) on the CPU, given out as batches in [-1, 1].

    Raises InputError when a label has no image or there are fewer images than a batch needs.
    """

    def __init__(self, path: Path, settings: TrainSettings, per_class: bool):
        unknown = [label for label in settings.labels if label not in settings.classes]
        if unknown or not settings.labels:
            raise InputError(
                f"setting labels is {list(settings.labels)}; choose from the classes {list(settings.classes)}"
            )
        image_set = ImageSet(path)
        of_experiment = image_set.label_indices(settings.classes)
        wanted = [settings.classes.index(label) for label in settings.labels]
        for label, position in zip(settings.labels, wanted, strict=True):
            count = int((of_experiment == position).sum())
            if count == 0:
                raise InputError(f"{path}: no image of the class {label!r}; add some or take it out of the labels")
            if per_class and count < settings.training.batch_size:
                self._too_few(path, count, f" of the class {label!r}", settings)
        keep = np.flatnonzero(np.isin(of_experiment, wanted))
        if len(keep) < settings.training.batch_size:
            self._too_few(path, len(keep), f" of {list(settings.labels)}", settings)
        pixels = image_set.pixels if len(keep) == len(image_set) else image_set.pixels[keep]
        self.pixels = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
        if settings.training.image_size is not None:
            self.pixels = reduced(self.pixels, settings.training.image_size, path)
        self.labels = torch.tensor([wanted.index(position) for position in of_experiment[keep]])
        groups = (
            [self.labels == i for i in range(len(wanted))] if per_class else [torch.ones(len(keep), dtype=torch.bool)]
        )
        self.orders = [Shuffled(torch.nonzero(group)[:, 0]) for group in groups]
        self.rng = torch.Generator().manual_seed(derived_seed(settings.seed, "data order"))
        self.settings = settings.training

    @staticmethod
    def _too_few(path: Path, count: int, which: str, settings: TrainSettings) -> None:
        size = settings.training.batch_size
        raise InputError(
            f"{path}: {count} images{which}, fewer than the batch_size {size}; lower batch_size or add images"
        )

    def batch(self, device: torch.device, memory_format: torch.memory_format) -> Batch:
        """The next micro-batch: batch_size images, or batch_size of every class, class after class."""
        chosen = torch.cat([order.take(self.settings.batch_size, self.rng) for order in self.orders])
        images = to_model(self.pixels[chosen].to(device))
        if self.settings.flip:
            mirrored = torch.rand(len(chosen), generator=self.rng) < 0.5
            images = torch.where(mirrored.to(device)[:, None, None, None], images.flip(3), images)
        return Batch(images.contiguous(memory_format=memory_format), self.labels[chosen].to(device))

    def state(self) -> dict[str, Any]:
        return {"rng": self.rng.get_state(), "left": [order.left for order in self.orders]}

    def load_state(self, state: dict[str, Any]) -> None:
        self.rng.set_state(state["rng"])
        for order, left in zip(self.orders, state["left"], strict=True):
            order.left = left


# ------------------------------------------------------------------------------------------------- stop and continue
Part = tuple[Callable[[], Any], Callable[[Any], None]]


class Resume:
    """Everything a training needs to go on, in `<checkpoint stem>.resume.pt` beside the checkpoint.

    It is no declared output, because Snakemake deletes the declared outputs of a job that failed or was killed.
    """

    def __init__(self, checkpoint: Path, settings: TrainSettings, images: Path, parts: dict[str, Part]):
        """parts: name → (function that returns the part's state, function that loads it)."""
        self.path = checkpoint.with_name(f"{checkpoint.stem}.resume.pt")
        self.made_from = checkpoints.plain(asdict(settings)) | {"images": hash_file(images)}
        self.parts = parts

    def save(self) -> None:
        rng = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            rng["cuda"] = torch.cuda.get_rng_state()
        state = {name: get_state() for name, (get_state, _) in self.parts.items()}
        checkpoints.write_torch(self.path, {"made_from": self.made_from, "rng": rng, "state": state})

    def load(self) -> bool:
        """Restore all parts if there is a resume file; say whether there was.

        Raises InputError when it is corrupt or comes from other settings or images.
        """
        for leftover in self.path.parent.glob(f".{self.path.stem}.*.part.pt"):  # of a process killed while it wrote
            leftover.unlink()
        if not self.path.exists():
            return False
        remedy = "delete it to start this training anew"
        content = checkpoints.read_torch(self.path, remedy)
        if not isinstance(content, dict) or set(content) != {"made_from", "rng", "state"}:
            raise InputError(f"{self.path}: no resume state of a training; {remedy}")
        if differing := checkpoints.differences(content["made_from"], self.made_from):
            raise InputError(
                f"{self.path}: the interrupted training had other settings ({'; '.join(differing)}); set them back to "
                f"continue it, or {remedy}"
            )
        for name, (_, load_state) in self.parts.items():
            load_state(content["state"][name])
        torch.set_rng_state(content["rng"]["cpu"])
        if "cuda" in content["rng"] and torch.cuda.is_available():
            torch.cuda.set_rng_state(content["rng"]["cuda"])
        return True


@contextmanager
def catch_interruption() -> Iterator[Callable[[], bool]]:
    """Within the block SIGINT and SIGTERM only set a mark, which the yielded function reads, so that the step in
    progress is finished and saved; a second signal interrupts at once. Outside the main thread signals stay as they
    are."""
    marks: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def mark(number: int, frame: object) -> None:
        if marks:
            raise KeyboardInterrupt("training interrupted at once, without saving the step in progress")
        marks.append(number)
        # Not the logger: the signal may have come while it was writing.
        os.write(2, b"finishing and saving the step in progress; a second signal stops at once\n")

    before = {number: signal.signal(number, mark) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(marks)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress_bar(done: int, total: int) -> Iterator[tqdm]:
    """A bar on stderr when it is a terminal, with log lines above it; otherwise a bar that shows nothing."""
    with tqdm(initial=done, total=total, unit="step", disable=not sys.stderr.isatty()) as bar:
        if bar.disable:
            yield bar
        else:
            with logging_redirect_tqdm():
                yield bar


# ---------------------------------------------------------------------------------------------------------- the loop
def train(settings: TrainSettings, *, images: Path, checkpoint: Path, history: Path, samples: Path) -> None:
    """Train one generator.

    images: image set of the training part. Writes checkpoint (.pt, see checkpoint.py), history (.csv: step, mean losses
    since the row before, diversity) and samples (.png: snapshots from fixed noise, then the final grid). While it runs,
    `<checkpoint stem>.resume.pt` beside the checkpoint holds everything; after an interruption of any kind the same
    call goes on from there, on a CPU bit for bit as if nothing had happened. It is removed when the checkpoint is
    written.

    Raises InputError before the first step on unusable input, TrainingError on NaN, infinity or collapse, and
    KeyboardInterrupt (message: how to continue) after SIGINT or SIGTERM.
    """
    loop = settings.training
    for name, value in asdict(loop).items():
        if isinstance(value, int) and not isinstance(value, bool) and value < 1:
            raise InputError(f"setting training.{name} is {value}; it must be 1 or more")
    torch.set_num_threads(loop.threads)
    device = choose_device(loop.device)
    memory_format = torch.channels_last if loop.channels_last else torch.contiguous_format
    model_class = generators.load(settings.model)
    config = parse(model_class.Config, settings.config, "settings.config")
    data = RealImages(Path(images), settings, model_class.batch_per_class)

    torch.manual_seed(derived_seed(settings.seed, "weights"))
    model: GAN = model_class(config, tuple(data.pixels.shape[1:]), settings.labels)
    model.to(device=device, memory_format=memory_format)
    model.rng.manual_seed(derived_seed(settings.seed, "noise"))
    torch.manual_seed(derived_seed(settings.seed, "dropout"))
    model.precision, model.total_steps = loop.precision, loop.steps

    record = History()
    pictures = Samples(model, data.pixels, data.labels, settings.seed)
    parts = {
        "model": (model.training_state, model.load_training_state),
        "data": (data.state, data.load_state),
        "history": (record.state, record.load_state),
        "samples": (pictures.state, pictures.load_state),
    }
    resume = Resume(Path(checkpoint), settings, Path(images), parts)
    if resume.load():
        logger.info(f"continuing {resume.path} after step {model.step}")
    per_step = loop.batch_size * loop.accumulate * len(data.orders)
    logger.info(
        f"training {settings.model} on {device}: {len(data.pixels)} images of {model.image_shape}, {per_step} a step"
    )

    with catch_interruption() as interrupted, progress_bar(model.step, loop.steps) as bar:
        since, since_step = time.perf_counter(), model.step
        while model.step < loop.steps:
            losses = model.train_step([data.batch(device, memory_format) for _ in range(loop.accumulate)])
            model.step = step = model.step + 1
            last = step == loop.steps
            record.add(step, losses)
            bar.update()
            if step % loop.log_every == 0 or last:
                record.check()
                means = record.close_row(step)
                speed = (step - since_step) / (time.perf_counter() - since)
                values = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
                left = tqdm.format_interval((loop.steps - step) / speed)
                logger.info(f"step {step}/{loop.steps}  {speed * per_step:.1f} images/s  {left} left  {values}")
                since, since_step = time.perf_counter(), step
            if step % loop.sample_every == 0 or last:
                record.check()
                record.set_diversity(step, pictures.check(step, loop.steps))
                pictures.write(Path(samples))
            if not last and (step % loop.save_every == 0 or interrupted()):
                record.check()
                resume.save()
                record.write(Path(history))
                logger.info(f"saved the resume state of step {step}")
            if not last and interrupted():
                raise KeyboardInterrupt(
                    f"training stopped after step {step} of {loop.steps}; run the same command again to continue"
                )
    record.write(Path(history))
    finished = checkpoints.Checkpoint(
        settings.model, asdict(config), model.image_shape, model.classes, model.step, model.inference_state()
    )
    checkpoints.save(checkpoint, finished)
    resume.path.unlink(missing_ok=True)

"""The only training loop: step, log, save, resume. It knows `GAN` and image sets, and no particular model.

Where the settings ask for several processes, each works on its part of every batch (distributed.py): gradients and
losses are averaged, rank 0 writes. All other settings stay those of the whole training.
"""

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from tqdm import tqdm

from synthmed import generators
from synthmed.core.errors import InputError
from synthmed.core.files import hash_file
from synthmed.core.provenance import code_hashes
from synthmed.core.settings import parse
from synthmed.core.step import Output, step
from synthmed.generators.base import Generator
from synthmed.generators.snapshots import Samples
from synthmed.training import checkpoint as checkpoints
from synthmed.training import distributed
from synthmed.training.batches import RealImages
from synthmed.training.device import choose_device, derived_seed
from synthmed.training.history import History
from synthmed.training.loop import progress_bar
from synthmed.training.resume import ResumeState, catch_interruption, random_state, set_random_state

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopSettings:
    """steps: optimiser steps; batch_size: images of a micro-batch, of all ranks together (of each class where the model
    needs images; a model that grows may take fewer); size: height and width in pixels that the images are reduced to
    for this generator, None = as they are; accumulate: micro-batches per optimiser step; flip: mirror real images
    left-right with probability 1/2; threads: CPU threads of each process; processes: how many train together, by
    torchrun, which `synthmed train` starts; log_every, sample_every, save_every: steps between history rows, sample
    grids, resume states."""

    steps: int
    batch_size: int
    size: tuple[int, int] | None
    accumulate: int
    precision: Literal["fp32", "bf16"]
    channels_last: bool
    flip: bool
    threads: int
    processes: int
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


# ---------------------------------------------------------------------------------------------------------- the loop
@step("train")
def train(settings: TrainSettings, *, images: Path, checkpoint: Output, history: Output, samples: Output) -> None:
    """Train one generator.

    images: image set of the training part. Writes checkpoint (.pt, see checkpoint.py), history (.csv: step, mean losses
    since the row before, diversity) and samples (.png: snapshots from fixed noise, then the final grid). While it runs,
    `<checkpoint stem>.resume.pt` beside the checkpoint holds everything; after an interruption of any kind the same
    call goes on from there, on a CPU bit for bit as if nothing had happened. It is removed when the checkpoint is
    written.

    Raises InputError before the first step on unusable input, TrainingError on NaN, infinity or collapse, and
    KeyboardInterrupt (message: how to continue) after SIGINT or SIGTERM. Of the processes of torchrun only rank 0
    writes and returns; the others end with SystemExit(0), because nothing is left for them to do or to record.
    """
    loop = settings.training
    for name, value in asdict(loop).items():
        if isinstance(value, int) and not isinstance(value, bool) and value < 1:
            raise InputError(f"setting training.{name} is {value}; it must be 1 or more")
    torch.set_num_threads(loop.threads)
    device = choose_device(loop.device)
    with distributed.ranks(device):
        if distributed.size() != loop.processes:
            raise InputError(
                f"setting training.processes is {loop.processes}, but {distributed.size()} work on this training; "
                "`synthmed train` starts as many as it says"
            )
        _train(settings, device, Path(images), Path(checkpoint), Path(history), Path(samples))
        first = distributed.rank() == 0
    if not first:
        raise SystemExit(0)


def _train(
    settings: TrainSettings, device: torch.device, images: Path, checkpoint: Path, history: Path, samples: Path
) -> None:
    loop = settings.training
    writes = distributed.rank() == 0
    memory_format = torch.channels_last if loop.channels_last else torch.contiguous_format
    model_class = generators.load(settings.model)
    config = parse(model_class.Config, settings.config, "settings.config")
    data = RealImages(
        images,
        settings.classes,
        settings.labels,
        seed=settings.seed,
        batch_size=loop.batch_size,
        per_class="image" in model_class.needs,
        size=loop.size,
        flip=loop.flip,
        threads=loop.threads,
    )

    torch.manual_seed(derived_seed(settings.seed, "weights"))
    model: Generator = model_class(config, data.shape, settings.labels)
    distributed.synchronise_batch_norm(model)
    model.to(device=device, memory_format=memory_format)
    model.rng.manual_seed(derived_seed(settings.seed, "noise"))
    # Noise and order of the images are shared by all ranks, masks of dropout are not.
    torch.manual_seed(derived_seed(settings.seed, "dropout") + distributed.rank())
    model.precision, model.total_steps = loop.precision, loop.steps

    record = History()
    pictures = Samples(model, data.read, data.labels, settings.seed)
    code = code_hashes(__name__, generators.GENERATORS[settings.model])
    resume = ResumeState(checkpoint, asdict(settings) | {"images": hash_file(images), "code": code})

    def save() -> None:
        # All parts are the same in every rank, but torch's own random numbers (dropout).
        rngs = distributed.collect(random_state())
        resume.save(
            {
                "rngs": rngs,
                "model": model.training_state(),
                "data": data.state(),
                "history": record.state(),
                "samples": pictures.state(),
            }
        )

    if (state := resume.load()) is not None:
        model.load_training_state(state["model"])
        data.load_state(state["data"])
        record.load_state(state["history"])
        pictures.load_state(state["samples"])
        set_random_state(state["rngs"][distributed.rank()])
        logger.info(f"continuing {resume.path} after step {model.step}")
    logger.info(
        f"training {settings.model} on {device}: {len(data)} images of {model.image_shape}, "
        f"{loop.batch_size * loop.accumulate * len(data.orders)} a step"
        + (f", {distributed.size()} processes" if distributed.size() > 1 else "")
    )

    with catch_interruption() as interrupted, progress_bar(model.step, loop.steps) as bar:
        since, since_step, shown = time.perf_counter(), model.step, 0
        while model.step < loop.steps:
            count = model.batch_size(loop.batch_size)
            losses = model.train_step([data.batch(count, device, memory_format) for _ in range(loop.accumulate)])
            model.step = step = model.step + 1
            shown += count * len(data.orders) * loop.accumulate
            last = step == loop.steps
            record.add(step, losses)
            bar.update()
            if step % loop.log_every == 0 or last:
                record.check()
                means = record.close_row(step)
                seconds = time.perf_counter() - since
                values = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
                left = tqdm.format_interval((loop.steps - step) * seconds / (step - since_step))
                logger.info(f"step {step}/{loop.steps}  {shown / seconds:.1f} images/s  {left} left  {values}")
                since, since_step, shown = time.perf_counter(), step, 0
            if step % loop.sample_every == 0 or last:
                record.check()
                record.set_diversity(step, pictures.check(step, loop.steps))
                if writes:
                    pictures.write(samples)
            if last:
                break
            stop = distributed.any_rank(interrupted(), device)
            if step % loop.save_every == 0 or stop:
                record.check()
                save()
                if writes:
                    record.write(history)
                logger.info(f"saved the resume state of step {step}")
            if stop:
                raise KeyboardInterrupt(
                    f"training stopped after step {step} of {loop.steps}; run the same command again to continue"
                )
    if not writes:
        return
    record.write(history)
    finished = checkpoints.Checkpoint(
        settings.model, asdict(config), model.image_shape, model.classes, model.step, model.inference_state()
    )
    checkpoints.save(checkpoint, finished)
    resume.remove()

"""The step `train`: one generator on the real images of an image set."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

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
from synthmed.training.device import derived_seed
from synthmed.training.history import History
from synthmed.training.images import Batch
from synthmed.training.loop import Check, fit, workers
from synthmed.training.resume import ResumeState

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


# ------------------------------------------------------------------------------------------------------- the training
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
    writes and returns; the others end with SystemExit(0).
    """
    loop = settings.training
    for name, value in asdict(loop).items():
        if isinstance(value, int) and not isinstance(value, bool) and value < 1:
            raise InputError(f"setting training.{name} is {value}; it must be 1 or more")
    with workers(loop.threads, loop.processes, loop.device) as device:
        _train(settings, device, Path(images), Path(checkpoint), Path(history), Path(samples))


def _train(
    settings: TrainSettings, device: torch.device, images: Path, checkpoint: Path, history: Path, samples: Path
) -> None:
    loop = settings.training
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
    model = _build(model_class, config, data.shape, settings, device, memory_format)
    record = History(history)
    pictures = Samples(model, data.read, data.labels, settings.seed)
    code = code_hashes(__name__, generators.GENERATORS[settings.model])
    resume = ResumeState(checkpoint, asdict(settings) | {"images": hash_file(images), "code": code})
    logger.info(
        f"training {settings.model} on {device}: {len(data)} images of {model.image_shape}, "
        f"{loop.batch_size * loop.accumulate * len(data.orders)} a step"
        + (f", {distributed.size()} processes" if distributed.size() > 1 else "")
    )

    def next_batches() -> list[Batch]:
        count = model.batch_size(loop.batch_size)
        return [data.batch(count, device, memory_format) for _ in range(loop.accumulate)]

    def draw_samples(step: int) -> dict[str, float]:
        found = pictures.check(step, loop.steps)
        pictures.write(samples)
        return {"diversity": found}

    fit(
        model,
        next_batches,
        name=settings.model,
        steps=loop.steps,
        log_every=loop.log_every,
        save_every=loop.save_every,
        history=record,
        resume=resume,
        device=device,
        parts={"data": data, "samples": pictures},
        checks=[Check(loop.sample_every, draw_samples)],
    )
    if distributed.rank() > 0:
        return
    # Again, in case somebody removed them when the training was stopped after its last step.
    record.write()
    pictures.write(samples)
    finished = checkpoints.Checkpoint(
        settings.model, asdict(config), model.image_shape, model.classes, model.step, model.inference_state()
    )
    checkpoints.save(checkpoint, finished)
    resume.remove()


def _build(
    model_class: type[Generator],
    config: Any,
    shape: tuple[int, int, int],
    settings: TrainSettings,
    device: torch.device,
    memory_format: torch.memory_format,
) -> Generator:
    """The untrained generator, and the random numbers of its training seeded."""
    torch.manual_seed(derived_seed(settings.seed, "weights"))
    model: Generator = model_class(config, shape, settings.labels)
    distributed.synchronise_batch_norm(model)
    model.to(device=device, memory_format=memory_format)
    model.rng.manual_seed(derived_seed(settings.seed, "noise"))
    # Noise and order of the images are shared by all ranks, masks of dropout are not.
    torch.manual_seed(derived_seed(settings.seed, "dropout") + distributed.rank())
    model.precision, model.total_steps = settings.training.precision, settings.training.steps
    return model

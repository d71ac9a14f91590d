"""The step `train`: one generator on the real images of an image set."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from msgspec import Meta

from synthmed import generators
from synthmed.core.errors import InputError
from synthmed.core.files import hash_file
from synthmed.core.provenance import code_hashes
from synthmed.core.settings import Classes, Count, ModelName, Seed, parse
from synthmed.core.step import Output, step
from synthmed.data.channels import Coding
from synthmed.generators.base import Generator
from synthmed.generators.snapshots import Samples
from synthmed.generators.states import KeptStates
from synthmed.generators.transfer import transfer
from synthmed.training import checkpoint as checkpoints
from synthmed.training import distributed
from synthmed.training.batches import Learnt, RealImages
from synthmed.training.device import derived_seed
from synthmed.training.history import History
from synthmed.training.images import Batch, to_model
from synthmed.training.loop import Check, LoopOptions, fit, workers
from synthmed.training.resume import ResumeState

logger = logging.getLogger(__name__)
CHUNK = 64
"""Images at a time that a model is shown before its training."""


@dataclass(frozen=True)
class TrainingOptions(LoopOptions):
    """Settings of the training loop."""

    batch_size: Annotated[Count, Meta(description="Images of a micro-batch (of each class, for CycleGAN).")]
    size: Annotated[
        tuple[Annotated[int, Meta(ge=8)], Annotated[int, Meta(ge=8)]] | None,
        Meta(
            description="Height and width the training images are reduced to for this generator; null: as they are.",
            extra_json_schema={"unit": "px"},
        ),
    ]
    masks: Annotated[
        Coding | None,
        Meta(
            description="How masks become channels (data/channels.py), which a model is given that needs masks, and "
            "which any other draws behind those of its images; null: without masks."
        ),
    ]
    jitter: Annotated[
        Annotated[float, Meta(ge=1)] | None,
        Meta(
            description="The real images, and their masks with them, are brought to so many times the size, and a "
            "random part of the size is learned (Pix2Pix 1.117: 286 of 256 px); images that are larger anyway are not "
            "reduced further, so the factor between both sizes takes parts as they are. null: whole images."
        ),
    ]
    flip: Annotated[bool, Meta(description="Mirror half of the real images.")]
    log_every: Annotated[
        Count,
        Meta(
            description="Steps between rows of the history; a loss above ten times its recent median is warned about."
        ),
    ]
    sample_every: Annotated[
        Count,
        Meta(
            description="Steps between sample grids. When the samples of a class vary less than a twentieth of the "
            "real images in three grids in a row, in the second half of the training, it ends: the generator collapsed."
        ),
    ]

    keep_every: Annotated[
        Count | None,
        Meta(
            description="Steps between states that are kept, the last one among them, to draw quality over the "
            "training and to choose one; each has the size of the checkpoint. null: none."
        ),
    ]


@dataclass(frozen=True)
class LoopSettings(TrainingOptions):
    """The training loop of one training."""

    steps: Annotated[Count, Meta(description="Optimiser steps.")]


@dataclass(frozen=True)
class TrainSettings:
    """Settings of `train`."""

    model: ModelName
    classes: Classes
    labels: Annotated[tuple[str, ...], Meta(min_length=1, description="Classes of its training images.")]
    learns: Annotated[
        Learnt,
        Meta(
            description="images: with their masks, where training.masks says how; masks: these alone, for generators "
            "that paint images for them."
        ),
    ]
    seed: Seed
    config: Annotated[dict, Meta(description="Settings of the model: its Config.")]
    training: Annotated[LoopSettings, Meta(description="Settings of the training loop.")]


# ------------------------------------------------------------------------------------------------------- the training
@step("train")
def train(
    settings: TrainSettings,
    *,
    images: Path,
    initial: Path | None = None,
    checkpoint: Output,
    history: Output,
    samples: Output,
    states: Output,
) -> None:
    """Train one generator.

    images: image set of the training part; initial: checkpoint of the same model and networks whose weights it begins
    with (transfer), perhaps of other classes, or of another number of them: the log says what then begins anew. Writes
    checkpoint (.pt, see checkpoint.py), history (.csv: step, mean losses since the row before, diversity), samples
    (.png: snapshots from fixed noise, then the final grid) and states (.zip, see states.py). While it runs,
    `<checkpoint stem>.resume.pt` and `<checkpoint stem>.states` beside the checkpoint hold everything; after an
    interruption of any kind the same call goes on from there, on a CPU bit for bit as if nothing had happened. They are
    removed when the outputs are written.

    Raises InputError before the first step on unusable input, TrainingError on NaN, infinity or collapse, and
    KeyboardInterrupt (message: how to continue) after SIGINT or SIGTERM. Of the processes of torchrun only rank 0
    writes and returns; the others end with SystemExit(0).
    """
    model_class = generators.load(settings.model)
    config = parse(model_class.Config, settings.config, "settings.config")
    code = code_hashes(__name__, generators.GENERATORS[settings.model])
    begun = {"images": hash_file(images), "code": code, "computed": settings.training.computed}
    begun |= {} if initial is None else {"initial": hash_file(initial)}
    resume = ResumeState(checkpoint, asdict(settings) | begun)
    record = History(history)
    with workers(settings.training) as device:
        data = _real_images(settings, model_class.needed(config), Path(images))
        model = _build(model_class, config, data, settings, initial, device)
        kept = KeptStates(checkpoint, settings.training.keep_every, model.total_steps)
        pictures = Samples(model, data.read, data.labels, settings.seed)
        _fit(settings, model, data, record, pictures, Path(samples), resume, kept)
    # Again, in case somebody removed them when the training was stopped after its last step.
    record.write()
    pictures.write(samples)
    kept.pack(states)
    checkpoints.save(checkpoint, _state(settings, model, model.step))
    resume.remove()
    kept.remove()


def _state(settings: TrainSettings, model: Generator, step: int) -> checkpoints.Checkpoint:
    return checkpoints.Checkpoint(
        settings.model,
        asdict(model.config),
        model.image_shape,
        model.classes,
        step,
        model.inference_state(),
        model.legend,
        settings.training.masks,
    )


def _real_images(settings: TrainSettings, needs: frozenset[str], images: Path) -> RealImages:
    loop = settings.training
    if "origin" in needs and loop.accumulate > 1:
        raise InputError(
            f"setting training.accumulate is {loop.accumulate}, but {settings.model} learns each image by itself; set "
            "it to 1"
        )
    return RealImages(
        images,
        settings.classes,
        settings.labels,
        seed=settings.seed,
        batch_size=loop.batch_size,
        needs=needs,
        learns=settings.learns,
        size=loop.size,
        masks=loop.masks,
        jitter=loop.jitter,
        flip=loop.flip,
        threads=loop.threads,
    )


def _fit(
    settings: TrainSettings,
    model: Generator,
    data: RealImages,
    record: History,
    pictures: Samples,
    samples: Path,
    resume: ResumeState,
    kept: KeptStates,
) -> None:
    loop, device = settings.training, model.device
    logger.info(
        f"training {settings.model} on {device}: {len(data)} images of {model.image_shape}, "
        f"{loop.batch_size * loop.accumulate * len(data.orders)} a step"
        + (f", {distributed.size()} processes" if distributed.size() > 1 else "")
    )

    def next_batches() -> list[Batch]:
        count = model.batch_size(loop.batch_size)
        return [data.batch(count, device, loop.memory_format) for _ in range(loop.accumulate)]

    def draw_samples(step: int) -> dict[str, float]:
        found = pictures.check(step, model.total_steps)
        pictures.write(samples)
        return {"diversity": found}

    def keep_state(step: int) -> dict[str, float]:
        kept.keep(_state(settings, model, step))
        return {}

    checks = [Check(loop.sample_every, draw_samples)]
    if loop.keep_every is not None:
        checks.append(Check(loop.keep_every, keep_state))
    fit(
        model,
        next_batches,
        name=settings.model,
        steps=model.total_steps,
        log_every=loop.log_every,
        save_every=loop.save_every,
        history=record,
        resume=resume,
        device=device,
        parts={"data": data, "samples": pictures},
        checks=checks,
    )


def _build(
    model_class: type[Generator],
    config: Any,
    data: RealImages,
    settings: TrainSettings,
    initial: Path | None,
    device: torch.device,
) -> Generator:
    """The untrained generator, and the random numbers of its training seeded."""
    torch.manual_seed(derived_seed(settings.seed, "weights"))
    model = model_class.build(config, data.shape, settings.labels, data.legend, settings.training.masks)
    model.plan((to_model(data.read(part)) for part in torch.arange(len(data)).split(CHUNK)), settings.training.steps)
    if initial is not None:
        transfer(model, initial, settings.model)
    distributed.synchronise_batch_norm(model)
    model.to(device=device, memory_format=settings.training.memory_format)
    model.rng.manual_seed(derived_seed(settings.seed, "noise"))
    # Noise and order of the images are shared by all ranks, masks of dropout are not.
    torch.manual_seed(derived_seed(settings.seed, "dropout") + distributed.rank())
    model.precision = settings.training.precision
    return model

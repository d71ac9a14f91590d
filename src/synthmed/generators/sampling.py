"""From trained generators to a synthetic image set."""

import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta

from synthmed import generators
from synthmed.core.errors import InputError
from synthmed.core.known import UNLABELLED
from synthmed.core.settings import BatchSize, Classes, Count, Device, GeneratorName, ModelName, Seed, Threads, parse
from synthmed.core.step import Output, step
from synthmed.data.channels import resized_labels
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.generators.base import Generator
from synthmed.metrics.leakage import COLUMN, leakage
from synthmed.training import checkpoint
from synthmed.training.device import choose_device, derived_seed
from synthmed.training.images import to_model, to_pixels

logger = logging.getLogger(__name__)
SOURCES = frozenset({"image", "mask", "origin"})
"""Needs of a model that makes each sample from a real image, or from its mask."""


Truncation = Annotated[
    float | None,
    Meta(
        ge=0,
        le=1,
        description="How far samples lie from the mean of w, as a share (psi): less variety, fewer odd images. Of a "
        "generator with a space w. Without it, or 1: as it was trained.",
    ),
]


StartScale = Annotated[
    int | None,
    Meta(
        ge=0,
        description="The scale from which samples are drawn, 0: the coarsest; what is coarser is taken from the image "
        "that is varied. Of a generator that varies its training images. Without it: 0.",
    ),
]


@dataclass(frozen=True)
class SamplingOptions:
    """Drawing the synthetic images."""

    samples: Annotated[
        dict[str, Count],
        Meta(
            description="Images of each label. A CycleGAN makes at most one of each training image of the other class."
        ),
    ]
    batch_size: BatchSize
    threads: Threads
    device: Device


@dataclass(frozen=True)
class SampleSettings(SamplingOptions):
    """Settings of `sample`."""

    model: ModelName
    generator: GeneratorName
    classes: Classes
    trainings: Annotated[
        dict[str, tuple[str, ...]], Meta(description="Name → labels of each training, in the order of the checkpoints.")
    ]
    repeats: Annotated[Count, Meta(description="Checkpoints of each training, each with a seed of its own.")]
    seed: Seed
    truncation: Truncation
    start_scale: StartScale


def restore(path: Path, model: str, labels: tuple[str, ...]) -> Generator:
    """The generator of the checkpoint `path`, ready to sample, on the CPU.

    Raises InputError when the checkpoint is unreadable, of another model, or was trained on other labels.
    """
    saved = checkpoint.load(path, model=model)
    if saved.classes != labels:
        raise InputError(f"{path}: trained on {list(saved.classes)}, but the settings say {list(labels)}")
    return from_checkpoint(saved, path)


def load_generator(path: Path) -> Generator:
    """The generator of the checkpoint `path`, whatever its model and classes, to use its latent vector: on the CPU, in
    eval mode, all weights frozen.

    `.latent_size`, `.synthesise(z)`, `.discriminator_features(images)`, `.image_shape` and `.classes` are what it is
    for. Raises InputError when the checkpoint is unreadable or its model unknown.
    """
    return from_checkpoint(checkpoint.load(path, model=None), path).eval().requires_grad_(False)


def from_checkpoint(saved: checkpoint.Checkpoint, path: Path) -> Generator:
    """The generator that was saved in the file `path`, ready to sample, on the CPU. Raises InputError when it does not
    fit its model."""
    model_class = generators.load(saved.model)
    config = parse(model_class.Config, saved.config, f"{path}: config")
    restored = model_class.build(config, saved.image_shape, saved.classes, saved.legend, saved.masks)
    restored.step = saved.step
    try:
        restored.load_inference_state(saved.state)
    except InputError as error:
        raise InputError(f"{path}: {error}; train the generator again") from error
    return restored


def find_trainings(settings: SampleSettings) -> dict[str, str]:
    """Label → name of the training that makes it. Raises InputError when a label has no training or several, or when
    UNLABELLED is asked of several trainings or of one of a single class."""
    found = {}
    for label in settings.samples:
        if label not in (*settings.classes, UNLABELLED):
            raise InputError(f"setting samples.{label}: the classes are {list(settings.classes)}")
        if label == UNLABELLED:
            (only, labels), *others = settings.trainings.items()
            if others or len(labels) < 2:
                raise _not_unlabelled(settings)
            found[label] = only
            continue
        names = [name for name, labels in settings.trainings.items() if label in labels]
        if len(names) != 1:
            raise InputError(f"setting samples.{label}: {len(names)} trainings have this label ({names}), it needs one")
        found[label] = names[0]
    return found


def _not_unlabelled(settings: SampleSettings) -> InputError:
    return InputError(
        f"setting samples.{UNLABELLED} is only for one training of an unconditional model on several classes, but "
        f"{settings.model} has the trainings {dict(settings.trainings)}; ask for their labels"
    )


def check_labels(settings: SampleSettings, trainings: Mapping[str, str], needs: frozenset[str]) -> None:
    """Raise InputError when a model cannot be asked for a label. needs: of the model (`Generator.needs`).

    One that needs neither label nor source and was trained on several classes is unconditional: it cannot be asked for
    one of them, its only label is UNLABELLED.
    """
    unconditional = needs.isdisjoint({"label", *SOURCES})
    for label, name in trainings.items():
        if label == UNLABELLED and not unconditional:
            raise _not_unlabelled(settings)
        if label != UNLABELLED and unconditional and len(settings.trainings[name]) > 1:
            raise InputError(
                f"setting trainings.{name} is {list(settings.trainings[name])}, but {settings.model} is unconditional "
                f"and cannot be asked for {label!r}; train it on one class at a time, or ask for {UNLABELLED!r}"
            )


def find_sources(
    settings: SampleSettings, images: ImageSet, trainings: dict[str, str], needs: frozenset[str]
) -> dict[str, np.ndarray]:
    """Label → positions of the images to translate or to vary, or of those whose masks are painted.

    Images to translate are of the other classes of the training, all others of the class itself. Each is used once
    before any is used again; a model without noise makes one sample of a source. Raises InputError when there are too
    few.
    """
    labels = np.array(images.column("label"))
    usable = np.array([bool(mask) for mask in images.column("mask")]) | ("mask" not in needs)
    sources = {}
    for label, count in settings.samples.items():
        others = [other for other in settings.trainings[trainings[label]] if other != label]
        candidates = np.flatnonzero(np.isin(labels, others if "image" in needs else [label]) & usable)
        if count > len(candidates) and ("noise" not in needs or len(candidates) == 0):
            what = f"images of {others} to translate" if "image" in needs else f"masks of {label!r}"
            what = f"images of {label!r} to vary" if "origin" in needs else what
            raise InputError(
                f"setting samples.{label} is {count}, but {images.path} has {len(candidates)} {what} "
                f"and each gives one sample; ask for at most {len(candidates)}"
            )
        rng = np.random.default_rng(derived_seed(settings.seed, f"sources of {label}"))
        order = [rng.permutation(candidates) for _ in range(-(-count // len(candidates)))]
        sources[label] = np.sort(np.concatenate(order)[:count])
    return sources


@step("sample")
def sample(settings: SampleSettings, *, checkpoints: list[Path], images: Path, synthetic: Output) -> None:
    """Draw a synthetic image set.

    checkpoints: one per training, in the order of settings.trainings, then those of the next repeat; images: the
    training part, whose images a model translates or varies or whose masks it paints, where it needs such, or a set of
    other masks. synthetic: image set with settings.samples[label] images of each label by each repeat, with masks where
    the model draws or is given some; what was made from a real image or its mask names it in the column `origin`, and
    with several repeats `training` tells them apart, from 1. Memory holds one batch. Raises InputError on checkpoints
    that do not fit the settings or each other, and on more samples than their sources can give.
    """
    if len(checkpoints) != len(settings.trainings) * settings.repeats:
        raise InputError(
            f"{len(checkpoints)} checkpoints for the {len(settings.trainings)} trainings {list(settings.trainings)}"
            + (f", each {settings.repeats} times" if settings.repeats > 1 else "")
        )
    if settings.repeats > 1 and UNLABELLED in settings.samples:
        raise InputError(
            f"setting repeats is {settings.repeats}, but {UNLABELLED} samples are judged as one set; set it to 1"
        )
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    trainings = find_trainings(settings)
    named = [(repeat, *training) for repeat in range(settings.repeats) for training in settings.trainings.items()]
    models = {
        (repeat, name): restore(Path(path), settings.model, labels)
        for (repeat, name, labels), path in zip(named, checkpoints, strict=True)
    }
    first = next(iter(models.values()))
    if any(model.legend != first.legend for model in models.values()):
        raise InputError(
            f"the trainings {list(settings.trainings)} differ in the channels or masks of their images; train them "
            "alike"
        )
    check_labels(settings, trainings, first.needs)
    _check_options(settings, first)
    real, sources = None, {}
    if not first.needs.isdisjoint(SOURCES):
        real = ImageSet(images)
        sources = find_sources(settings, real, trainings, first.needs)
    places = itertools.product(range(settings.repeats), settings.samples)
    by_label = {(repeat, label): models[repeat, trainings[label]] for repeat, label in places}
    write_image_set(synthetic, _rows(settings, by_label, real, sources, device), first.legend)


def _check_options(settings: SampleSettings, model: Generator) -> None:
    """Raise InputError where a setting asks for what the model cannot do."""
    if settings.truncation is not None and "w" not in model.spaces:
        raise InputError(
            f"setting sampling.truncation is {settings.truncation}, but {settings.model} has no space w; leave it out"
        )
    if settings.start_scale is not None and "origin" not in model.needs:
        raise InputError(
            f"setting sampling.start_scale is {settings.start_scale}, but {settings.model} varies no image; leave it "
            "out"
        )


def _rows(
    settings: SampleSettings,
    models: Mapping[tuple[int, str], Generator],
    real: ImageSet | None,
    sources: Mapping[str, np.ndarray],
    device: torch.device,
) -> Iterator[tuple]:
    """Rows of the image set. models: (repeat, label) → the training that draws it; sources: see find_sources."""
    number, names = 0, _file_names(sorted(settings.samples))
    for repeat, label in itertools.product(range(settings.repeats), sorted(settings.samples)):
        again = f"_r{repeat + 1}" if repeat else ""
        model = models[repeat, label].to(device)
        model.start_scale = settings.start_scale or 0
        model.truncation = 1.0 if settings.truncation is None else settings.truncation
        drawn = draw_images(settings, label, again, model, real, sources.get(label))
        for made, (found, *content) in enumerate(drawn, start=1):
            number += 1
            fields: dict[str, object] = {
                "image": f"{settings.generator}_{names[label]}{again}_{made:05d}.png",
                "label": label,
                "patient": f"synthetic-{settings.generator}-{number}",
                "split": "synthetic",
                "source": settings.generator,
            }
            if settings.repeats > 1:
                fields["training"] = str(repeat + 1)
            yield fields | found, *content
        logger.info(f"drew {settings.samples[label]} images of {label}{again}")


def draw_images(
    settings: SampleSettings,
    label: str,
    again: str,
    model: Generator,
    real: ImageSet | None,
    sources: np.ndarray | None,
) -> Iterator[tuple]:
    """(further columns, pixels) or (…, mask) of each sample of a label.

    again: "" for the first repeat, another text for each of the others, whose noise is another; sources: positions in
    `real` of what they are made from, where the model needs such.
    """
    noise = torch.Generator().manual_seed(derived_seed(settings.seed, f"samples of {label}{again}"))
    for start in range(0, settings.samples[label], settings.batch_size):
        count = min(settings.batch_size, settings.samples[label] - start)
        source, found, masks = None, [{}] * count, [()] * count
        if real is not None:
            chosen = sources[start : start + count]
            source, masks = _read(real, chosen, model)
            source, found = source.to(model.device), [{"origin": _origin(real.rows[i])} for i in chosen]
        drawn = model.sample(count, label, noise, source)
        if not torch.isfinite(drawn).all():
            raise InputError(
                f"the samples of {label!r} are not finite; train {settings.generator} again with a lower learning rate"
            )
        drawn = to_pixels(drawn).cpu().permute(0, 2, 3, 1).numpy()
        for pixels, columns, mask in zip(drawn, found, masks, strict=True):
            yield _with_mask(columns, pixels, mask, model)


def _origin(row: Mapping[str, str]) -> str:
    """The real image behind a source: what the source was made from, where it says so, else its own name."""
    return row.get("origin") or row["image"]


def _read(real: ImageSet, chosen: Sequence[int], model: Generator) -> tuple[torch.Tensor, list[tuple[np.ndarray, ...]]]:
    """What `model` makes images from, (n, C, H, W) in [-1, 1], and for each the mask (H, W), where it is one."""
    entries = list(real.entries(chosen))
    if "mask" in model.needs:
        if (real.legend.masks, real.legend.classes) != (model.legend.masks, model.legend.classes):
            raise InputError(f"{real.path}: masks of {real.legend}, but the generator was trained on {model.legend}")
        masks = [(resized_labels(mask, model.image_shape[1:]),) for *_, mask in entries]
        pixels = [model.masks.encode(mask) for (mask,) in masks]
    else:
        masks, pixels = [()] * len(entries), [image for _, image, *_ in entries]
        shapes = {(image.shape[2], *image.shape[:2]) for image in pixels}
        if shapes != {model.image_shape}:
            raise InputError(
                f"{real.path}: images of {min(shapes - {model.image_shape})} (channels, height, width), but the "
                f"generator was trained on {model.image_shape}"
            )
    return to_model(torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2))), masks


def _with_mask(
    columns: Mapping[str, object], pixels: np.ndarray, mask: tuple[np.ndarray, ...], model: Generator
) -> tuple:
    """Columns, the image (H, W, C) and its mask, where there is one: the one it was made from, or its own last
    channels, whose leakage (metrics/leakage.py) becomes columns: binarised masks do not show it any more. Where masks
    are all that the model draws, the image is white where the mask marks something."""
    if model.masks is None or "mask" in model.needs:
        return columns, pixels, *mask
    image, channels = np.split(pixels, [model.image_shape[0] - len(model.masks.names)], axis=2)
    own = model.masks.decode(channels)
    if not image.shape[2]:
        return columns, np.where(own > 0, np.uint8(255), np.uint8(0))[:, :, None], own
    mixed = leakage(image, model.masks.exclusive(channels), model.masks.backgrounds)
    return columns | {COLUMN.format(name): f"{value:.5f}" for name, value in mixed.items()}, image, own


def _file_names(labels: Sequence[str]) -> dict[str, str]:
    """Each label as a part of file names; those that would be alike (TB+, TB-) get a number."""
    names = {label: re.sub(r"[^A-Za-z0-9.]", "-", label) for label in labels}
    alike = [name for name in names.values() if list(names.values()).count(name) > 1]
    return {
        label: f"{name}{number}" if name in alike else name
        for number, (label, name) in enumerate(names.items(), start=1)
    }

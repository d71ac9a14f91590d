"""Step `mask-agreement`: does what a generator paints follow the mask it is given, seen before or not?

Seed 001, section 4.5: an overfitted generator shows images that look real and no longer follow their mask. So images
are painted for masks of training images and for new ones, and a segmenter that was trained on other photographs draws
on both.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path, write_json
from synthmed.core.settings import BatchSize, Count, Device, GeneratorName, Level, Seed, Threads
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.evaluation.mask_diversity import Chosen, chosen_masks
from synthmed.generators.base import Generator
from synthmed.generators.sampling import load_generator
from synthmed.metrics import statistics
from synthmed.metrics.outcomes import Measured, beside, mean_of_patients
from synthmed.metrics.segmentation import mask_measures
from synthmed.segmenters.trained import Segmenter, drawn, label_map, load
from synthmed.training.device import choose_device, derived_seed
from synthmed.training.images import to_pixels

logger = logging.getLogger(__name__)

PARTS = ("train", "test")
"""Where the masks are from: of images that the generator was trained on, and of ones that it has not seen."""


@dataclass(frozen=True)
class AgreementOptions:
    """Images painted for masks, and a segmenter that draws on them."""

    masks: Annotated[Count, Meta(description="Masks of each part, drawn at random; all where there are fewer.")]
    examples: Annotated[Count, Meta(description="Masks of each part whose images are kept for the report.")]
    batch_size: BatchSize
    threads: Threads
    device: Device


@dataclass(frozen=True)
class AgreementSettings(AgreementOptions):
    """Settings of `mask-agreement`."""

    generator: GeneratorName
    level: Level
    seed: Seed


@step("mask-agreement")
def mask_agreement(
    settings: AgreementSettings,
    *,
    checkpoint: Path,
    judge: Path,
    train: Path,
    test: Path,
    out: Output,
    pictures: Output,
) -> None:
    """How far a segmenter finds the mask in the image that was painted for it, for masks that were seen and new ones.

    checkpoint: of a generator that needs masks; judge: a segmenter of other images; train, test: image sets of the
    training part and of images that the generator has not seen, of which those of its labels count. out (JSON): of each
    of PARTS `painted`, the mean IoU of mask and drawing over patients and the judge's seeds, and `real`, that on the
    real images of the same masks; `difference`: painted, new − seen, with its p. pictures (.npz): of the first masks
    real, masks, painted and drawn of each part, uint8. Raises InputError where the generator needs no masks, or the
    judge does not fit its images.
    """
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    model, segmenter = load_generator(checkpoint).to(device), load(judge).to(device)
    if "mask" not in model.needs:
        raise InputError(f"{checkpoint}: this generator paints no masks; take it out of mask_agreement.generators")
    found, told, arrays = {}, {}, {}
    for part, path in zip(PARTS, (train, test), strict=True):
        chosen = chosen_masks(ImageSet(path), model, settings.masks, settings.seed)
        painted = _painted(settings, model, chosen)
        measured = {
            name: _overlaps(settings, segmenter, images, chosen)
            for name, images in (("painted", painted), ("real", chosen.real))
        }
        found[part] = measured["painted"]
        told[part] = {"masks": len(chosen.masks)} | {
            name: statistics.mean_estimate(one, level=settings.level).to_json() for name, one in measured.items()
        }
        kept = slice(settings.examples)
        drawing = _drawn(settings, segmenter, 0, painted[kept], chosen.masks[kept])
        shown = {"real": chosen.real[kept], "masks": chosen.masks[kept], "painted": painted[kept], "drawn": drawing}
        arrays |= {f"{part}_{name}": np.asarray(one, np.uint8) for name, one in shown.items()}
    both = beside(*(found[part] for part in PARTS))
    test_of = statistics.readers_test(both, statistics.paired(len(segmenter.models)), level=settings.level)
    difference = {"difference": test_of.estimate(both.cases).to_json(), "p": test_of.p}
    about = {"generator": settings.generator, "seeds": len(segmenter.models), "step": model.step}
    write_json(out, {**about, "level": settings.level, **told, **difference})
    with atomic_path(pictures) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **arrays)
    logger.info(
        "%s: IoU %.3f on seen masks, %+.3f on new ones", settings.generator, both.estimates[0], test_of.difference
    )


def _painted(settings: AgreementSettings, model: Generator, chosen: Chosen) -> np.ndarray:
    """One image of each mask, of its label: (M, H, W, C) uint8."""
    noise, labels = torch.Generator().manual_seed(derived_seed(settings.seed, "painted")), np.array(chosen.labels)
    rows = {label: torch.from_numpy(np.flatnonzero(labels == label)) for label in dict.fromkeys(chosen.labels)}
    parts = [
        to_pixels(model.sample(len(masks), label, noise, masks)).cpu()
        for label, own in rows.items()
        for masks in chosen.channels[own].split(settings.batch_size)
    ]
    order = torch.cat(list(rows.values())).argsort()
    return torch.cat(parts)[order].permute(0, 2, 3, 1).numpy()


def _drawn(
    settings: AgreementSettings, segmenter: Segmenter, seed: int, images: np.ndarray, masks: np.ndarray
) -> np.ndarray:
    """What one network of the judge draws, bool (M, H, W), at the size of the masks."""
    found = []
    for start in range(0, len(images), settings.batch_size):
        channels = drawn(segmenter, segmenter.models[seed], list(images[start : start + settings.batch_size]))
        found += [label_map(segmenter, one, masks.shape[1:]) > 0 for one in channels]
    return np.stack(found)


def _overlaps(settings: AgreementSettings, segmenter: Segmenter, images: np.ndarray, chosen: Chosen) -> Measured:
    """IoU of each mask with the drawing on its image, by each network of the judge."""
    truth = chosen.masks > 0
    values = [
        [
            mask_measures(one, drawing)["iou"]
            for one, drawing in zip(truth, _drawn(settings, segmenter, seed, images, chosen.masks), strict=True)
        ]
        for seed in range(len(segmenter.models))
    ]
    return mean_of_patients(np.array(values), np.zeros(len(truth)), np.array(chosen.patients), 0)

"""Is the verdict on segmenters to be trusted? Apply it many times where the truth is known.

Hundreds of repetitions with five trainings of five arms each are too dear for U-Nets, so the segmenter is the smallest
one: a logistic regression of pixels (segmenters/pixels.py). What is tried is the procedure: IoU of each image, means
over patients, trainings as readers, Holm, the rule. See known_truth.py for the arms of known effect.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.known import REAL
from synthmed.core.step import Output, step
from synthmed.data.channels import MaskChannels
from synthmed.data.imageset import ImageSet
from synthmed.evaluation.arms import Arm, Part, compose
from synthmed.evaluation.compose_arms import of_another
from synthmed.evaluation.known_truth import (
    KnownTruthOptions,
    KnownTruthSettings,
    Verdicts,
    check_supply,
    draw_parts,
    known_arms,
    part_sizes,
    patients_by_class,
)
from synthmed.segmenters.pixels import PixelTraining, pixel_features, pixel_ious, train_pixels
from synthmed.training.batches import OnDemand
from synthmed.training.seeds import seed_of

logger = logging.getLogger(__name__)

TITLES = {
    "oracle": "Fresh true pairs (oracle)",
    "duplicates": "Duplicated real pairs",
    "null": "Nothing (other training seeds)",
    "label_shuffled": "True images with the masks of others",
}
"""Case -> what is added, in words."""


@dataclass(frozen=True)
class PixelValidationOptions(KnownTruthOptions):
    """How the verdict is validated with masks."""

    method: Annotated[Literal["pixels"], Meta(description="heads: on frozen features; pixels: of masks.")]
    size: Annotated[
        tuple[Annotated[int, Meta(ge=8)], Annotated[int, Meta(ge=8)]],
        Meta(description="Height and width the images are reduced to.", extra_json_schema={"unit": "px"}),
    ]


@dataclass(frozen=True)
class ValidateSegmentationSettings(PixelValidationOptions, KnownTruthSettings):
    """Settings of `validate-segmentation`."""


@step("validate-segmentation")
def validate_segmentation(settings: ValidateSegmentationSettings, *, pool: Path, out: Output) -> None:
    """Rates of each verdict on segmenters over repeated draws from a pool of phantoms with known truth, as JSON.

    pool: image set of fresh phantoms with masks; what belongs to any class of them is drawn. Each repetition draws, by
    patient, disjoint training, test and extra images from it. Raises InputError when the pool is too small.
    """
    torch.set_num_threads(settings.threads)
    images = ImageSet(pool)
    labels, patients = images.label_indices(settings.classes), np.array(images.column("patient"))
    arms = known_arms(settings)
    sizes = part_sizes(settings, arms)
    groups = patients_by_class(pool, patients, labels, len(settings.classes))
    check_supply(settings, pool, labels, sizes)
    features, drawn = _pixels(images, settings)

    start, verdicts = time.perf_counter(), Verdicts(settings, "iou")
    draws = [
        draw_parts(groups, sizes, np.random.default_rng(seed_of("repetition", settings.seed, number)))
        for number in range(settings.repetitions)
    ]
    trainings = [one for number, parts in enumerate(draws) for one in _trainings(settings, arms, parts, number)]
    given = {"rate": settings.learning_rate, "steps": settings.steps, "pixels": settings.batch_size}
    weights = train_pixels(features, drawn, trainings, **given)
    logger.info("%d trainings in %.1f s", len(trainings), time.perf_counter() - start)
    for own, parts in zip(weights.split(len(arms) * settings.seeds), draws, strict=True):
        test = parts["test"].rows
        ious = pixel_ious(features[test], drawn[test], own).reshape(len(arms), settings.seeds, len(test))
        verdicts.add(dict(zip(arms, ious, strict=True)), labels[test], patients[test], 0)
    logger.info("%d repetitions in %.1f s", settings.repetitions, time.perf_counter() - start)
    height, width = settings.size
    model = f"logistic regression of pixels on {features.shape[2] - 1} fixed filters, at {height}×{width}"
    write_json(out, verdicts.result(model, TITLES, sizes))


def _pixels(images: ImageSet, settings: PixelValidationOptions) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of every pixel, and whether any class is drawn there, bool (N, H·W)."""
    coded = MaskChannels("classes", images.legend)
    reader = OnDemand(images, np.arange(len(images)), settings.size, coded, "images", settings.threads)
    found = torch.cat([reader.read(chunk) for chunk in torch.arange(len(images)).split(256)])
    reader.threads.shutdown()
    channels = reader.full_shape[2]
    drawn = (found[:, channels:] > 0).any(1).flatten(1)
    if not drawn.any():
        raise InputError(f"{images.path}: nothing is drawn in its {len(images)} masks at {list(settings.size)} pixels")
    return pixel_features(found[:, :channels]), drawn


def _trainings(
    settings: ValidateSegmentationSettings, arms: Mapping[str, Arm], parts: Mapping[str, Part], number: int
) -> list[PixelTraining]:
    """The trainings of one repetition: arms × seeds."""
    found = []
    for arm in arms.values():
        for seed in range(settings.seeds):
            value = seed_of("validate", settings.seed, number, seed, "other" if arm.name == "null" else "same")
            rows, _ = compose(arm, parts, settings.classes, value)
            masks = rows.copy()
            if arm.kind == "label_shuffled":
                real = len(parts[REAL].rows)
                masks[real:] = of_another(rows[real:], value)
            found.append(PixelTraining(rows, masks, value))
    return found

"""Step 2 of the three steps: generated images get their labels from a classifier that was trained on real ones.

Seed 004 (M. Kim 2021), section 2.3: images whose likelihood is above 0.7 or below 0.3 are labelled, all others are
dropped, and as many are kept, in the same ratio, as there are real ones, so that the second classifier is trained like
the first. The labels are the first classifier's opinion: that it then tells the kept images apart is no finding.
"""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta

from synthmed.classifiers import network
from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.settings import BatchSize, Classes, Count, Device, Fraction, Seed, Threads
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.data.parts import PARTS
from synthmed.training.device import choose_device, derived_seed

logger = logging.getLogger(__name__)

BINS = 20
"""Of the histogram of likelihoods in the report."""


@dataclass(frozen=True)
class PseudoLabelOptions:
    """Labels for generated images, by a classifier."""

    upper: Annotated[
        Fraction, Meta(description="An image is labelled positive above this likelihood (the document: 0.7) …")
    ]
    lower: Annotated[Fraction, Meta(description="… and negative below this (0.3); what lies between is dropped.")]
    minimum: Annotated[
        Count, Meta(description="Fewest labelled images of a class in a part; with fewer the run stops.")
    ]
    batch_size: BatchSize
    threads: Threads
    device: Device


@dataclass(frozen=True)
class PseudoLabelSettings(PseudoLabelOptions):
    """Settings of `pseudo-label`."""

    classes: Classes
    positive: Annotated[str, Meta(description="The class that is also an output of the classifier.")]
    seed: Seed

    def __post_init__(self) -> None:
        if len(self.classes) != 2 or self.positive not in self.classes:
            raise InputError(
                f"settings classes {list(self.classes)} and positive {self.positive!r}: give two classes, one of them "
                "the positive"
            )
        if self.lower > self.upper:
            raise InputError(f"setting lower is {self.lower}, above upper, {self.upper}; lower it")


@step("pseudo-label")
def pseudo_label(
    settings: PseudoLabelSettings,
    *,
    unlabelled: Path,
    classifier: Path,
    train: Path,
    validation: Path,
    test: Path,
    synthetic: Output,
    report: Output,
) -> None:
    """Label generated images by a classifier that was trained on real ones, and keep as many as there are of these.

    unlabelled: image set of one generator, whatever its labels; classifier: trained on the real images; train,
    validation, test: the real parts, whose counts are matched. synthetic: image set with `label`, `likelihood` (of the
    positive class) and `part` (train, validation or test). When there are fewer confident images than needed, every
    part and class shrinks by the largest common factor that fits (counts rounded down), so the ratios stay.
    report: JSON with all counts, the factor and the histogram of likelihoods.

    Raises InputError when a part of a class would have fewer than settings.minimum images, when a real set holds other
    labels than settings.classes, and when the classifier has no such output or other images.
    """
    torch.set_num_threads(settings.threads)
    trained = network.load(classifier)
    output = trained.position(settings.positive)
    needed = {name: _counts(path, settings) for name, path in zip(PARTS, (train, validation, test), strict=True)}
    images = ImageSet(unlabelled)
    trained.to(choose_device(settings.device))
    by_seed = network.predict_set(trained, images, settings.batch_size)[:, :, output]
    likelihood = by_seed.mean(axis=0)

    confident = _confident(settings, likelihood)
    available = {name: len(confident[name]) for name in settings.classes}
    kept, factor = matched_counts(needed, available)
    _check_minimum(unlabelled, settings, kept, needed, available, len(images))
    if factor < 1:
        logger.warning(
            "%s: only %s of %d images are confident, for %s needed; every part is made %.3f times as large as its real "
            "counterpart (sample more images to avoid it)",
            unlabelled, available, len(images), _totals(needed), factor,
        )  # fmt: skip
    assigned = _assigned(settings, confident, kept)
    chosen = sorted(assigned)
    rows = (
        (fields | _labelled(*assigned[index], likelihood[index]), *pixels)
        for index, (fields, *pixels) in zip(chosen, images.entries(chosen), strict=True)
    )
    write_image_set(synthetic, rows, images.legend)

    dropped = len(images) - sum(available.values())
    agreed = (by_seed > settings.upper).all(axis=0) | (by_seed < settings.lower).all(axis=0)
    write_json(
        report,
        {
            "classes": list(settings.classes),
            "positive": settings.positive,
            "upper": settings.upper,
            "lower": settings.lower,
            "classifier_seeds": len(by_seed),
            "unlabelled": len(images),
            "confident": available,
            "dropped": dropped,
            "unused": {name: available[name] - sum(kept[part][name] for part in PARTS) for name in settings.classes},
            "factor": factor,
            "needed": needed,
            "counts": kept,
            "confident_by_every_seed": int(agreed[chosen].sum()),
            "histogram": np.histogram(likelihood, bins=BINS, range=(0, 1))[0].tolist(),
        },
    )
    logger.info("%s: of %d images %s labelled, %d dropped; kept %s", synthetic, len(images), available, dropped, kept)


def _confident(settings: PseudoLabelSettings, likelihood: np.ndarray) -> dict[str, np.ndarray]:
    """Class → positions of the images that the classifier is sure of."""
    (negative,) = (name for name in settings.classes if name != settings.positive)
    return {
        settings.positive: np.flatnonzero(likelihood > settings.upper),
        negative: np.flatnonzero(likelihood < settings.lower),
    }


def _assigned(
    settings: PseudoLabelSettings, confident: dict[str, np.ndarray], kept: dict[str, dict[str, int]]
) -> dict[int, tuple[str, str]]:
    """Position of each image that is kept → its part and label, drawn at random. kept: part → class → images."""
    found: dict[int, tuple[str, str]] = {}
    for name in settings.classes:
        rng = np.random.default_rng(derived_seed(settings.seed, f"pseudo-labels {name}"))
        drawn = iter(rng.permutation(confident[name]).tolist())
        found |= {next(drawn): (part, name) for part in PARTS for _ in range(kept[part][name])}
    return found


def _labelled(part: str, label: str, likelihood: float) -> dict[str, str]:
    return {"label": label, "part": part, "likelihood": f"{likelihood:.6f}"}


def _counts(path: Path, settings: PseudoLabelSettings) -> dict[str, int]:
    images = ImageSet(path)
    images.label_indices(settings.classes)  # refuses other labels
    found = Counter(images.column("label"))
    return {name: found[name] for name in settings.classes}


def _totals(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    return {name: sum(part[name] for part in counts.values()) for name in next(iter(counts.values()))}


def matched_counts(
    needed: dict[str, dict[str, int]], available: dict[str, int]
) -> tuple[dict[str, dict[str, int]], float]:
    """Images of every part and class, and the factor by which they are fewer than `needed` (1: none is missing).

    needed: part → class → real images; available: class → confident images. The factor is the largest that fits for
    every class at once; counts are rounded down.
    """
    totals = _totals(needed)
    factor = min([1.0, *(available[name] / total for name, total in totals.items() if total)])
    # The 1e-9 is for products such as 100 × 0.29, which are a hair below a whole number.
    kept = {
        part: {name: int(factor * number + 1e-9) for name, number in counts.items()} for part, counts in needed.items()
    }
    return kept, factor


def _check_minimum(
    path: Path,
    settings: PseudoLabelSettings,
    kept: dict[str, dict[str, int]],
    needed: dict[str, dict[str, int]],
    available: dict[str, int],
    images: int,
) -> None:
    for part, counts in kept.items():
        for name, number in counts.items():
            if number < settings.minimum:
                scarce = min(available, key=lambda one: available[one] / max(1, _totals(needed)[one]))
                raise InputError(
                    f"{path}: {number} {name} images would be left in the {part} part, fewer than the setting minimum "
                    f"({settings.minimum}). Of {images} images {available} are confident (above {settings.upper:g} or "
                    f"below {settings.lower:g}) and {_totals(needed)} are needed; {scarce!r} is what is scarce. Sample "
                    "more images, train the generator for longer, move upper and lower towards 0.5, or lower minimum"
                )

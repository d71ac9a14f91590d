"""How different the images of a whole set are from one another, beside real images: does a generator repeat itself?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError, check_one_each
from synthmed.core.files import read_json, write_json
from synthmed.core.known import MEAN, REAL
from synthmed.core.settings import Level, Resamples, Seed
from synthmed.core.step import Output, step
from synthmed.metrics import resampling
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.variety import MEASURES
from synthmed.training.seeds import seed_of

HELD_OUT = "held_out"
"""Name of the real held-out images in the results."""


@dataclass(frozen=True)
class SetDiversitySettings:
    """Settings of `set-diversity`."""

    generators: Annotated[tuple[str, ...], Meta(description="In the order of `synthetic`.")]
    level: Level
    resamples: Resamples
    seed: Seed


@step("set-diversity")
def set_diversity(
    settings: SetDiversitySettings, *, real: Path, held_out: Path, synthetic: list[Path], out: Output
) -> None:
    """How different the images of each synthetic set are from one another, beside real images (JSON).

    real, held_out: `pair-distances` of the training images and of the held-out ones; synthetic: of each generator's.
    `sets`: for each of them, by label and MEAN of the labels, each measure and its `_excess` over the training images
    of these labels, with intervals over patients. MS-SSIM above that of real images, or LPIPS below, means less
    variety than real images have.
    """
    check_one_each(settings.generators, synthetic=synthetic)
    reference = read_json(real)
    named = [(REAL, real), (HELD_OUT, held_out), *zip(settings.generators, synthetic, strict=True)]
    sets = []
    for name, path in named:
        measured = reference if name == REAL else read_json(path)
        sets.append({"name": name, "size": measured["size"], "groups": _groups(settings, name, measured, reference)})
    write_json(out, {"level": settings.level, "sets": sets})


def _groups(settings: SetDiversitySettings, name: str, measured: Mapping, reference: Mapping) -> dict:
    """Label, and MEAN of several, → n and each measure with its excess over `reference`."""
    labels = [label for label in measured["labels"] if label in reference["labels"]]
    if not labels:
        raise InputError(f"{name}: no image has a label of the real ones; are both from the same experiment?")
    members = {label: [label] for label in labels} | ({MEAN: labels} if len(labels) > 1 else {})
    alike = measured["size"] == reference["size"]
    groups = {}
    for group, own in members.items():
        groups[group] = {"n": sum(measured["labels"][label]["n"] for label in own)}
        for measure in MEASURES:
            found = [_pooled(measured, own, measure)]
            groups[group][measure] = _estimate(settings, f"{name} {group}", *found).to_json()
            if name != REAL:
                found.append(_pooled(reference, own, measure) if alike else "the real images are of another size")
                groups[group][f"{measure}_excess"] = _estimate(settings, f"{name} {group}", *found).to_json()
    return groups


Pooled = tuple[float, np.ndarray, list[str]]
"""A mean, the influence of each image on it, and their patients."""


def _pooled(measured: Mapping, labels: Sequence[str], measure: str) -> Pooled | str:
    """The mean of what the labels have each, or why there is none."""
    parts = [(measured["labels"][label], measured["labels"][label][measure]) for label in labels]
    if reasons := [part["reason"] for _, part in parts if "reason" in part]:
        return reasons[0]
    total = sum(entry["n"] for entry, _ in parts)
    influence = [np.array(part["influence"]) * total / (entry["n"] * len(parts)) for entry, part in parts]
    patients = [patient for entry, _ in parts for patient in entry["patients"]]
    return float(np.mean([part["mean"] for _, part in parts])), np.concatenate(influence), patients


def _estimate(settings: SetDiversitySettings, name: str, *found: Pooled | str) -> Estimate:
    """The first, minus the second where there is one, with an interval over the patients of each."""
    for one in found:
        if isinstance(one, str):
            return Estimate.missing(one)
    value = found[0][0] - sum(mean for mean, _, _ in found[1:])
    n = len(found[0][1])
    units = [resampling.units(patients) for _, _, patients in found]
    if min(own.max() for own in units) == 0:
        return Estimate(value, n=n, reason="all images are of one patient")
    influences = [(sign * one[1], own) for sign, one, own in zip((1, -1), found, units, strict=False)]
    rng = np.random.default_rng(seed_of("set diversity", settings.seed, name))
    options = {"level": settings.level, "resamples": settings.resamples, "rng": rng}
    return Estimate(value, *resampling.linearised_interval(value, influences, **options), n=n)

"""Whether the masks that a generator draws are like real ones, and whether it mixes them with their images."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.settings import Count, Level, Seed
from synthmed.core.step import Output, step
from synthmed.data.channels import Coding, MaskChannels
from synthmed.data.imageset import ImageSet, Legend
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.leakage import COLUMN, TEXTURE_QUANTILE, chance_texture, leakage, leaks
from synthmed.metrics.masks import mask_statistics, objects_of
from synthmed.metrics.outcomes import COUNT, UNIT_INTERVAL, beside, mean_of_cases
from synthmed.metrics.statistics import case_mean, readers_test

logger = logging.getLogger(__name__)

BOUNDS = {
    "objects": COUNT,
    "area": UNIT_INTERVAL,
    "compactness": COUNT,
    "holes": COUNT,
    "roughness": (-1.0, np.inf),
    "empty": UNIT_INTERVAL,
    "full": UNIT_INTERVAL,
}
"""Lowest and highest value of each statistic."""

CRITERIA = ("grey", "texture", "overlap")


@dataclass(frozen=True)
class CompareMasksSettings:
    """Settings of `compare-masks`."""

    generator: Annotated[str, Meta(description="Its name in the results.")]
    examples: Annotated[Count, Meta(description="Samples that mix their channels most, to be shown.")]
    level: Level
    masks: Annotated[
        Coding | None, Meta(description="How the generator draws masks as channels of its images; null: it does not.")
    ]
    seed: Seed


@dataclass(frozen=True)
class Measured:
    """Statistics of one class of the masks of a set: values (N,) each by its name, NaN where there is none; patients
    (N,)."""

    values: dict[str, np.ndarray]
    patients: np.ndarray


@step("compare-masks")
def compare_masks(settings: CompareMasksSettings, *, real: Path, held_out: Path, fake: Path, out: Output) -> None:
    """Compare the masks of a generator with real ones (JSON).

    real: training images; held_out: other real images; fake: of the generator; all with masks of one legend.
    `classes`: for each class and statistic (metrics.masks) the means of the three sets, the difference generated − real
    and the values of single masks. `leakage`: shares of samples that mix their channels (metrics.leakage), by each
    criterion and by any, its limits, of real masks as channels of the same names, and the worst samples; None where the
    set has no columns of `sample` about it. Intervals are over patients, or samples. Raises InputError when an image
    has no mask, or legends differ.
    """
    sets = {name: ImageSet(path) for name, path in (("real", real), ("held_out", held_out), ("generated", fake))}
    legend = sets["real"].legend
    for one in sets.values():
        if (one.legend.masks, one.legend.classes) != (legend.masks, legend.classes):
            raise InputError(f"{one.path}: its masks are {one.legend}, those of {real} are {legend}")
        without = [row["image"] for row in one.rows if not row["mask"]]
        if without:
            raise InputError(f"{one.path}: {len(without)} images have no mask, the first is {without[0]!r}")
    measured = {name: _measured(one, legend) for name, one in sets.items()}
    logger.info("%s: %d real and %d generated masks", settings.generator, len(sets["real"]), len(sets["generated"]))
    classes = {
        of: _compared({name: one[of] for name, one in measured.items()}, settings.level) for of in legend.classes
    }
    mixed = _leakage(sets["real"], sets["generated"], settings)
    counts = {f"n_{name}": len(one) for name, one in sets.items()}
    about = {"generator": settings.generator, "level": settings.level, **counts}
    write_json(out, {**about, "classes": classes, "leakage": mixed})


def _measured(images: ImageSet, legend: Legend) -> dict[str, Measured]:
    """Statistics of the masks of each class."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in legend.classes}
    for *_, mask in images.entries():
        for name, rows in found.items():
            own = legend.of_class(mask, name)
            rows.append(mask_statistics(objects_of(own) if legend.masks == "semantic" else mask * own))
    patients = np.array(images.column("patient"))
    return {
        name: Measured({key: np.array([row[key] for row in rows]) for key in BOUNDS}, patients)
        for name, rows in found.items()
    }


def _compared(sets: dict[str, Measured], level: float) -> dict[str, dict]:
    """What is told of one class: each statistic's means, difference and values."""
    return {
        name: {
            **{key: _mean(one, name, level).to_json() for key, one in sets.items()},
            "difference": _difference(sets["real"], sets["generated"], name, level).to_json(),
            "values": {key: [round(x, 5) for x in _known(one, name)[0].tolist()] for key, one in sets.items()},
        }
        for name in BOUNDS
    }


def _known(measured: Measured, name: str) -> tuple[np.ndarray, np.ndarray]:
    values = measured.values[name]
    known = ~np.isnan(values)
    return values[known], measured.patients[known]


def _mean(measured: Measured, name: str, level: float) -> Estimate:
    return case_mean(*_known(measured, name), level=level, bounds=BOUNDS[name])


def _difference(real: Measured, fake: Measured, name: str, level: float) -> Estimate:
    """Mean of the generated masks minus that of the real ones."""
    sides = [_known(one, name) for one in (real, fake)]
    few = [len(np.unique(patients)) < 2 for _, patients in sides]
    if any(few):
        return Estimate.missing(f"needs 2 {'patients' if few[0] else 'samples'} whose masks have it")
    # Nobody is in both, even where images that were made elsewhere have names like those of patients.
    first, second = (
        replace(mean_of_cases(values[None], np.char.add(of, patients)), bounds=BOUNDS[name])
        for of, (values, patients) in zip(("real ", "generated "), sides, strict=True)
    )
    return readers_test(beside(first, second), np.array([[-1.0, 1.0]]), level=level).estimate(second.cases)


# ------------------------------------------------------------------------------------------------------------- leakage
def _leakage(real: ImageSet, fake: ImageSet, settings: CompareMasksSettings) -> dict | None:
    """Rates of leakage, and the worst samples."""
    if settings.masks is None or COLUMN.format("grey") not in fake.rows[0]:
        return None
    coded = MaskChannels(settings.masks, real.legend)
    names = [name for name in CRITERIA if COLUMN.format(name) in fake.rows[0]]
    found = {name: np.array(fake.column(COLUMN.format(name)), dtype=float) for name in names}
    textures, overlaps = _of_real(real, coded, settings.seed)
    told = leaks(found, textures, overlaps)
    patients = np.array(fake.column("patient"))
    # How often a sample leaks first, then how far.
    order = np.lexsort((-found["texture"], -found["grey"], -sum(told[name].astype(int) for name in names)))
    worst = [place for place in order[: settings.examples] if told["any"][place]]
    return {
        "rates": {
            name: case_mean(one.astype(float), patients, level=settings.level).to_json() for name, one in told.items()
        },
        "means": {name: float(values.mean()) for name, values in found.items()},
        "channels": list(coded.exclusive_names),
        "textured": list(coded.exclusive_names[coded.backgrounds :]),
        "real_overlap": float(overlaps.max()),
        "chance_texture": {
            "median": float(np.median(textures)),
            "limit": float(np.quantile(textures, TEXTURE_QUANTILE)),
        },
        "worst": [
            {"image": fake.rows[place]["image"], **{name: float(found[name][place]) for name in names}}
            | {"by": [name for name in names if told[name][place]]}
            for place in worst
        ],
    }


def _of_real(images: ImageSet, coded: MaskChannels, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of every real image, its mask as channels: how closely it follows that of another patient inside them, and how
    much of one lies in another, (N,) each."""
    order = np.random.default_rng(seed).permutation(len(images))
    patients = np.array(images.column("patient"))[order]
    decode = images.decoder()
    textures, overlaps = [], []
    for place, index in enumerate(order):
        others = np.flatnonzero(np.roll(patients, -place) != patients[place])
        if not len(others):
            raise InputError(f"{images.path}: all images are of one patient; leakage compares those of two")
        pixels, mask = decode(int(index))
        other, *_ = decode(int(order[(place + others[0]) % len(order)]))
        channels = coded.exclusive(coded.encode(mask))
        textures.append(chance_texture(pixels, other, channels[:, :, coded.backgrounds :] > 0))
        overlaps.append(leakage(pixels, channels, coded.backgrounds).get("overlap", 0.0))
    return np.array(textures), np.array(overlaps)

"""Step `split`: training, validation and test part, by patient.

A patient is in one part only, always. Near-duplicates under different patients (one film registered twice) are looked
for as well, because a test image that was trained on flatters every result.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from synthmed.core.step import Output, step
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.data.near_duplicates import COMPARED_SIDE, HASH_SIDE, Pair, near_duplicates, perceptual_hashes, standardised, thumbnail
from synthmed.core.errors import InputError
from synthmed.core.files import write_json

logger = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitSettings:
    """by: "patient" draws the parts; "column" takes those of the column `split`.

    validation, test: shares (0..1) of every label's images, rounded down. With by="column": test is null; validation is
    null when the column names validation images, else the share that is drawn from its training images by patient.
    seed: of the drawing. near_duplicate_bits: of 64 hash bits, how many may differ; near_duplicate_correlation: of the
    pixels, at least this. on_near_duplicates: "report" them, "stop", or "move": their patients are joined into one
    group before the split (with by="column" the group goes to the training part, so the test part only shrinks).
    """

    by: Literal["patient", "column"]
    validation: float | None
    test: float | None
    seed: int
    near_duplicate_bits: int
    near_duplicate_correlation: float
    on_near_duplicates: Literal["report", "move", "stop"]


@step("split")
def split(settings: SplitSettings, *, images: Path, train: Output, validation: Output, test: Output, report: Output) -> None:
    """Split an image set into three parts, by patient.

    Write the three parts of the image set `images`, and `report`: counts, patients, sources, near-duplicates.

    Raises InputError on impossible shares, a patient in two parts (by="column"), a part that lacks a class, one class
    only, and near-duplicates when settings say stop.
    """
    _check(settings)
    image_set = ImageSet(images)
    labels, patients = image_set.column("label"), image_set.column("patient")
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise InputError(f"{images}: only one class ({classes[0]}); at least two are needed")
    pairs = _pairs(image_set, patients, settings)
    groups = _joined(patients, pairs) if settings.on_near_duplicates == "move" else list(patients)
    if settings.by == "column":
        parts = _official(image_set, groups, labels, settings)
    else:
        shares = {"test": settings.test, "validation": settings.validation}
        parts = draw(groups, labels, shares, settings.seed)
    _check_patients(images, parts, patients)
    _check_classes(images, parts, labels, classes)
    across = [pair for pair in pairs if parts[pair.first] != parts[pair.second]]
    _tell(image_set, across, parts, settings)
    for name, path in zip(PARTS, (train, validation, test), strict=True):
        chosen = [index for index, part in enumerate(parts) if part == name]
        write_image_set(path, ((row | {"split": name}, *rest) for row, *rest in image_set.entries(chosen)))
    write_json(report, _report(image_set, parts, pairs, across, settings))
    logger.info("%s: %s", images, {name: dict(Counter(_of(parts, name, labels))) for name in PARTS})


def _check(settings: SplitSettings) -> None:
    shares = {"validation": settings.validation, "test": settings.test}
    if settings.by == "patient" and None in shares.values():
        raise InputError("settings validation and test must be shares when by is 'patient'")
    if settings.by == "column" and settings.test is not None:
        raise InputError(f"setting test is {settings.test}; it must be null when by is 'column' (the column says it)")
    given = [share for share in shares.values() if share is not None]
    if any(not 0 < share < 1 for share in given) or sum(given) >= 1:
        raise InputError(f"settings {shares}: shares lie between 0 and 1, and some must be left for training")
    if not 0 <= settings.near_duplicate_bits <= 64:
        raise InputError(f"setting near_duplicate_bits is {settings.near_duplicate_bits}; it counts bits from 0 to 64")
    if not 0 < settings.near_duplicate_correlation <= 1:
        raise InputError(
            f"setting near_duplicate_correlation is {settings.near_duplicate_correlation}; it lies above 0, up to 1"
        )


# ----------------------------------------------------------------------------------------------------------- drawing
def draw(groups: Sequence[str], labels: Sequence[str], shares: Mapping[str, float], seed: int) -> list[str]:
    """Part of every image; whole groups stay together.

    groups, labels: one an image; shares: part -> share of every label's images, the rest is "train". Groups are
    taken in random order, those with the rarest label first (Sechidis 2011, On the stratification of multi-label data),
    into the first part where they still fit under floor(share · images) of each of their labels. So a part never
    exceeds its share, and has it exactly when every group is one image.
    """
    members: dict[str, Counter] = defaultdict(Counter)
    for group, label in zip(groups, labels, strict=True):
        members[group][label] += 1
    total = Counter(labels)
    # The 1e-9 is for shares such as 0.29, whose product with 100 is 28.999999999999996.
    room = {part: {label: int(share * n + 1e-9) for label, n in total.items()} for part, share in shares.items()}
    names = sorted(members)
    rank = {label: place for place, (label, _) in enumerate(sorted(total.items(), key=lambda item: item[::-1]))}
    shuffled = [names[position] for position in np.random.default_rng(seed).permutation(len(names))]
    chosen = {}
    for name in sorted(shuffled, key=lambda name: min(rank[label] for label in members[name])):
        chosen[name] = "train"
        for part, left in room.items():
            if all(left[label] >= count for label, count in members[name].items()):
                chosen[name] = part
                for label, count in members[name].items():
                    left[label] -= count
                break
    return [chosen[group] for group in groups]


def _official(image_set: ImageSet, groups: Sequence[str], labels: Sequence[str], settings: SplitSettings) -> list[str]:
    parts = image_set.column("split")
    unknown = [(row["image"], part) for row, part in zip(image_set.rows, parts, strict=True) if part not in PARTS]
    if unknown:
        raise InputError(
            f"{image_set.path}: the split of {unknown[0][0]} is {unknown[0][1]!r}, not one of {list(PARTS)}; "
            "use by: patient when the data have no official split"
        )
    # Before anything is moved, so that moving cannot hide it.
    _check_patients(image_set.path, parts, image_set.column("patient"))
    if settings.on_near_duplicates == "move":
        seen = defaultdict(set)
        for group, part in zip(groups, parts, strict=True):
            seen[group].add(part)
        parts = ["train" if len(seen[group]) > 1 else part for group, part in zip(groups, parts, strict=True)]
    if (settings.validation is None) != ("validation" in parts):
        names, need = ("names", "null") if "validation" in parts else ("does not name", "a share")
        raise InputError(
            f"{image_set.path}: its split column {names} validation images, so setting validation must be {need}"
        )
    if settings.validation is not None:
        training = [index for index, part in enumerate(parts) if part == "train"]
        drawn = draw(
            [groups[index] for index in training],
            [labels[index] for index in training],
            {"validation": settings.validation},
            settings.seed,
        )
        for index, part in zip(training, drawn, strict=True):
            parts[index] = part
    return parts


def _of(parts: Sequence[str], part: str, values: Sequence[str]) -> list[str]:
    return [value for value, found in zip(values, parts, strict=True) if found == part]


def _check_patients(images: Path, parts: Sequence[str], patients: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for patient, part in zip(patients, parts, strict=True):
        if first.setdefault(patient, part) != part:
            raise InputError(
                f"{images}: patient {patient!r} is in {first[patient]} and in {part}; use by: patient, or correct the "
                "split column"
            )


def _check_classes(images: Path, parts: Sequence[str], labels: Sequence[str], classes: Sequence[str]) -> None:
    for part in PARTS:
        lacking = [label for label in classes if label not in _of(parts, part, labels)]
        if lacking:
            raise InputError(
                f"{images}: the {part} part has no image of {lacking[0]!r} ({len(parts)} images in all); "
                "raise its share or add images"
            )


# --------------------------------------------------------------------------------------------------- near-duplicates
def _pairs(image_set: ImageSet, patients: Sequence[str], settings: SplitSettings) -> list[Pair]:
    small, compared = [], []
    for _, pixels, *_ in image_set.entries():
        small.append(thumbnail(pixels, HASH_SIDE, Image.Resampling.LANCZOS))
        compared.append(thumbnail(pixels, COMPARED_SIDE, Image.Resampling.BOX))
    return near_duplicates(
        perceptual_hashes(np.stack(small)),
        standardised(np.stack(compared)),
        np.unique(patients, return_inverse=True)[1],
        settings.near_duplicate_bits,
        settings.near_duplicate_correlation,
    )


def _joined(patients: Sequence[str], pairs: Sequence[Pair]) -> list[str]:
    """Group of every image: the first patient (by name) of all that near-duplicates connect."""
    parent = {patient: patient for patient in patients}

    def root(patient: str) -> str:
        while parent[patient] != patient:
            parent[patient] = parent[parent[patient]]
            patient = parent[patient]
        return patient

    for pair in pairs:
        first, second = sorted((root(patients[pair.first]), root(patients[pair.second])))
        parent[second] = first
    return [root(patient) for patient in patients]


def _tell(image_set: ImageSet, across: Sequence[Pair], parts: Sequence[str], settings: SplitSettings) -> None:
    if not across:
        return
    names = image_set.column("image")
    listed = "".join(
        f"\n  {names[pair.first]} ({parts[pair.first]}) and {names[pair.second]} ({parts[pair.second]}): "
        f"{pair.bits} bits, correlation {pair.correlation:.4f}"
        for pair in across[:10]
    )
    words = f"{image_set.path}: {len(across)} near-duplicate pairs across parts:{listed}"
    if settings.on_near_duplicates == "stop":
        raise InputError(f"{words}\nremove them, or set on_near_duplicates to move or report")
    logger.warning(words)


def _report(
    image_set: ImageSet, parts: Sequence[str], pairs: Sequence[Pair], across: Sequence[Pair], settings: SplitSettings
) -> dict:
    labels, patients = image_set.column("label"), image_set.column("patient")
    names, origins = image_set.column("image"), image_set.column("source")
    combined = list(zip(origins, labels, strict=True))
    by_source: dict[str, dict] = {part: defaultdict(dict) for part in PARTS}
    for part in PARTS:
        for (origin, label), count in sorted(Counter(_of(parts, part, combined)).items()):
            by_source[part][origin or "unknown"][label] = count
    across_set = {(pair.first, pair.second) for pair in across}
    return {
        "counts": {part: dict(Counter(_of(parts, part, labels))) for part in PARTS},
        "patients": {part: len(set(_of(parts, part, patients))) for part in PARTS},
        "sources": by_source,
        "near_duplicates": {
            "rule": f"at most {settings.near_duplicate_bits} of 64 perceptual-hash bits differ, correlation at least "
            f"{settings.near_duplicate_correlation:g}, different patients",
            "action": settings.on_near_duplicates,
            "found": len(pairs),
            "across_parts": len(across),
            "pairs": [
                {
                    "images": [names[pair.first], names[pair.second]],
                    "labels": [labels[pair.first], labels[pair.second]],
                    "parts": [parts[pair.first], parts[pair.second]],
                    "across_parts": (pair.first, pair.second) in across_set,
                    "bits": pair.bits,
                    "correlation": round(pair.correlation, 6),
                }
                for pair in pairs
            ],
        },
    }

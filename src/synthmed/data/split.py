"""Step `split`: training, validation and test part, by patient.

A patient is in one part only, always. Near-duplicates under different patients (one film registered twice) are looked
for as well, because a test image that was trained on flatters every result.
"""

import logging
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.settings import Count, Fraction, Seed
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.data.near_duplicates import (
    COMPARED_SIDE,
    HASH_SIDE,
    NearDuplicates,
    near_duplicates,
    perceptual_hashes,
    thumbnail,
)
from synthmed.data.parts import PARTS, check_enough, people
from synthmed.data.patients import tell_crowds

logger = logging.getLogger(__name__)

_SHOWN = 100  # near-duplicate pairs in the report, of those across parts and of the others


@dataclass(frozen=True)
class SplitSettings:
    """From one image set to training, validation and test part."""

    by: Annotated[
        Literal["patient", "column"],
        Meta(description="patient: draw the parts by patient; column: take those of the column `split` of the source."),
    ]
    validation: Annotated[
        Fraction | None,
        Meta(
            description="Share of every label's images, rounded down. With by: column null where the column names "
            "validation images, else the share of its training images that is drawn, by patient."
        ),
    ]
    test: Annotated[
        Fraction | None,
        Meta(
            description="Share of every label's images, rounded down. With by: column null, or the share of the "
            "column's training images that is drawn, by patient, beside the column's test images."
        ),
    ]
    seed: Seed
    near_duplicate_bits: Annotated[int, Meta(ge=0, le=64, description="Of 64 hash bits, how many may differ.")]
    near_duplicate_correlation: Annotated[float, Meta(gt=0, le=1, description="Correlation of pixels, at least.")]
    on_near_duplicates: Annotated[
        Literal["report", "move", "stop"],
        Meta(
            description="What to do with near-duplicates across parts: report them, stop, or move their patients "
            "into one group before the split (with by: column into the training part, so that the "
            "test part only shrinks)."
        ),
    ]
    most: Annotated[
        dict[Literal[tuple(PARTS)], Count] | None,
        Meta(
            description="Images that are kept of a part: whole patients in random order, up to the first with whom "
            "there were more; null: all. A smaller number keeps a part of what a larger one keeps."
        ),
    ]
    of_each_patient: Annotated[
        Count | None,
        Meta(
            description="Images that are kept of each patient of the training part, drawn at random; the others are in "
            "no part, and known as unseen images of these patients; null: all."
        ),
    ]

    def __post_init__(self) -> None:
        shares = {"validation": self.validation, "test": self.test}
        if self.by == "patient" and None in shares.values():
            raise InputError("settings validation and test must be shares when by is 'patient'")
        for name in ("most", "of_each_patient"):
            if getattr(self, name) is not None and self.on_near_duplicates == "move":
                raise InputError(
                    f"setting {name} leaves images out, which on_near_duplicates: move cannot; set it to report"
                )
        if sum(share for share in shares.values() if share is not None) >= 1:
            raise InputError(f"settings {shares}: some images must be left for training")


@step("split")
def split(
    settings: SplitSettings, *, images: Path, train: Output, validation: Output, test: Output, report: Output
) -> None:
    """Split an image set into three parts, by patient.

    Write the three parts of the image set `images`, and `report`: counts, patients, sources, near-duplicates, and
    the images of each part before any were left out (`whole`).

    Masks and named channels travel along. Raises InputError on impossible shares, a patient in two parts (by="column"),
    a part that lacks a class, one patient only, one class only (which is enough where every image has a mask), and
    near-duplicates when settings say stop.
    """
    image_set = ImageSet(images)
    labels, patients = image_set.column("label"), image_set.column("patient")
    classes = sorted(set(labels))
    if len(classes) < 2 and not all(image_set.column("mask")):
        raise InputError(f"{images}: only one class ({classes[0]}); images without masks need at least two")
    if settings.on_near_duplicates == "move":  # then what is near lies in one part, and `found` has none across
        found = _search(image_set, patients, ["train"] * len(patients), settings)
        parts = _parts(image_set, _joined(patients, found.groups), labels, settings)
        whole = Counter(parts)
    else:
        parts = _parts(image_set, patients, labels, settings)
        whole = Counter(parts)
        if settings.most is not None or settings.of_each_patient is not None:
            keep = _kept(patients, parts, settings.most or {}, settings.seed)
            keep = _few_of_each(keep, image_set, parts, settings)
            image_set.rows, parts = [image_set.rows[index] for index in keep], [parts[index] for index in keep]
            labels, patients = image_set.column("label"), image_set.column("patient")
        found = _search(image_set, patients, parts, settings)
    _check_patients(images, parts, patients)
    tell_crowds(_known(image_set), labels, str(images))
    check_enough(images, image_set.rows, parts)
    _tell(image_set, found, parts, settings)
    for name, path in zip(PARTS, (train, validation, test), strict=True):
        chosen = [index for index, part in enumerate(parts) if part == name]
        write_image_set(
            path, ((row | {"split": name}, *rest) for row, *rest in image_set.entries(chosen)), image_set.legend
        )
    write_json(report, _report(image_set, parts, found, settings) | {"whole": {part: whole[part] for part in PARTS}})
    logger.info("%s: %s", images, {name: dict(Counter(_of(parts, name, labels))) for name in PARTS})


def _known(image_set: ImageSet) -> list[str]:
    """The patients, "" where an image counts as its own because nobody knows better."""
    return ["" if row.get("patient_known") == "no" else row["patient"] for row in image_set.rows]


# ----------------------------------------------------------------------------------------------------------- drawing
def _kept(patients: Sequence[str], parts: Sequence[str], most: Mapping[str, int], seed: int) -> list[int]:
    """Positions of the images that are kept: of each part whole patients in random order, up to the first that does not
    fit. So fewer are a part of more."""
    of_patient = defaultdict(list)
    for index, patient in enumerate(patients):
        of_patient[patient].append(index)
    names, kept, empty = sorted(of_patient), [], set(PARTS)
    left = {part: most.get(part, len(parts)) for part in PARTS}
    for position in np.random.default_rng(seed).permutation(len(names)).tolist():
        own = of_patient[names[position]]
        part = parts[own[0]]
        if len(own) <= left[part]:
            kept += own
            empty.discard(part)
            left[part] -= len(own)
        elif part in empty:
            raise InputError(
                f"setting most keeps {most[part]} images of the part {part}, and its first patient, "
                f"{names[position]!r}, has {len(own)}; patients are not divided, so set it to {len(own)} or more"
            )
        else:
            left[part] = 0
    return sorted(kept)


def _few_of_each(keep: Sequence[int], image_set: ImageSet, parts: Sequence[str], settings: SplitSettings) -> list[int]:
    """Of the positions `keep` those that settings.of_each_patient leaves. What is drawn of a patient depends on nobody
    else."""
    if settings.of_each_patient is None:
        return list(keep)
    of_patient = defaultdict(list)
    for index in keep:
        of_patient[image_set.rows[index]["patient"]].append(index)
    kept = []
    for patient, own in of_patient.items():
        if parts[own[0]] == "train":
            rng = np.random.default_rng([settings.seed, zlib.crc32(patient.encode())])
            own = [own[place] for place in rng.permutation(len(own))[: settings.of_each_patient].tolist()]
        kept += own
    return sorted(kept)


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


def _parts(image_set: ImageSet, groups: Sequence[str], labels: Sequence[str], settings: SplitSettings) -> list[str]:
    if settings.by == "column":
        return _official(image_set, groups, labels, settings)
    return draw(groups, labels, {"test": settings.test, "validation": settings.validation}, settings.seed)


def _official(image_set: ImageSet, groups: Sequence[str], labels: Sequence[str], settings: SplitSettings) -> list[str]:
    parts = image_set.column("split")
    unknown = [(row["image"], part) for row, part in zip(image_set.rows, parts, strict=True) if part not in PARTS]
    if unknown:
        raise InputError(
            f"{image_set.path}: the split of {unknown[0][0]} is {unknown[0][1]!r}, not one of {list(PARTS)}; "
            "use by: patient when the data have no official split"
        )
    # Before anything is moved, so that moving cannot hide it.
    if (settings.validation is None) != ("validation" in parts):
        names, need = ("names", "null") if "validation" in parts else ("does not name", "a share")
        raise InputError(
            f"{image_set.path}: its split column {names} validation images, so setting validation must be {need}"
        )
    _check_patients(image_set.path, parts, image_set.column("patient"))
    if settings.on_near_duplicates == "move":
        seen = defaultdict(set)
        for group, part in zip(groups, parts, strict=True):
            seen[group].add(part)
        parts = ["train" if len(seen[group]) > 1 else part for group, part in zip(groups, parts, strict=True)]
    shares = {"test": settings.test, "validation": settings.validation}
    shares = {part: share for part, share in shares.items() if share is not None}
    if shares:
        training = [index for index, part in enumerate(parts) if part == "train"]
        drawn = draw(
            [groups[index] for index in training], [labels[index] for index in training], shares, settings.seed
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


# --------------------------------------------------------------------------------------------------- near-duplicates
def _search(
    image_set: ImageSet, patients: Sequence[str], parts: Sequence[str], settings: SplitSettings
) -> NearDuplicates:
    hashes = np.empty(len(image_set), dtype=np.uint64)
    compared = np.empty((len(image_set), COMPARED_SIDE, COMPARED_SIDE), dtype=np.uint8)
    for row, (_, pixels, *_) in enumerate(image_set.entries()):
        hashes[row] = perceptual_hashes(thumbnail(pixels, HASH_SIDE, Image.Resampling.LANCZOS)[None])[0]
        compared[row] = thumbnail(pixels, COMPARED_SIDE, Image.Resampling.BOX)
    return near_duplicates(
        hashes,
        compared,
        np.unique(patients, return_inverse=True)[1],
        np.array([PARTS.index(part) for part in parts]),
        bits=settings.near_duplicate_bits,
        correlation=settings.near_duplicate_correlation,
        shown=_SHOWN,
    )


def _joined(patients: Sequence[str], groups: np.ndarray) -> list[str]:
    """Group of every image: the first patient (by name) of all that near-duplicates connect."""
    first: dict[int, str] = {}
    for patient, group in zip(patients, groups.tolist(), strict=True):
        first[group] = min(patient, first.get(group, patient))
    return [first[group] for group in groups.tolist()]


def _tell(image_set: ImageSet, found: NearDuplicates, parts: Sequence[str], settings: SplitSettings) -> None:
    if not found.across:
        return
    names = image_set.column("image")
    listed = "".join(
        f"\n  {names[pair.first]} ({parts[pair.first]}) and {names[pair.second]} ({parts[pair.second]}): "
        f"{pair.bits} bits, correlation {pair.correlation:.4f}"
        for pair in found.pairs[: min(10, found.across)]
    )
    words = f"{image_set.path}: {found.across} near-duplicate pairs across parts:{listed}"
    if settings.on_near_duplicates == "stop":
        raise InputError(f"{words}\nremove them, or set on_near_duplicates to move or report")
    logger.warning(words)


def _report(image_set: ImageSet, parts: Sequence[str], found: NearDuplicates, settings: SplitSettings) -> dict:
    labels, patients = image_set.column("label"), image_set.column("patient")
    names, origins = image_set.column("image"), image_set.column("source")
    combined = list(zip(origins, labels, strict=True))
    by_source: dict[str, dict] = {part: defaultdict(dict) for part in PARTS}
    for part in PARTS:
        for (origin, label), count in sorted(Counter(_of(parts, part, combined)).items()):
            by_source[part][origin or "unknown"][label] = count
    return {
        "counts": {part: dict(Counter(_of(parts, part, labels))) for part in PARTS},
        **people(image_set.path, image_set.rows, parts),
        "sources": by_source,
        "near_duplicates": {
            "rule": f"at most {settings.near_duplicate_bits} of 64 perceptual-hash bits differ, correlation at least "
            f"{settings.near_duplicate_correlation:g}, different patients",
            "action": settings.on_near_duplicates,
            "found": found.found,
            "across_parts": found.across,
            "images": found.images,
            "largest_groups": _largest_groups(patients, names, found.groups),
            "pairs": [
                {
                    "images": [names[pair.first], names[pair.second]],
                    "labels": [labels[pair.first], labels[pair.second]],
                    "parts": [parts[pair.first], parts[pair.second]],
                    "across_parts": parts[pair.first] != parts[pair.second],
                    "bits": pair.bits,
                    "correlation": round(pair.correlation, 6),
                }
                for pair in found.pairs
            ],
        },
    }


def _largest_groups(patients: Sequence[str], names: Sequence[str], groups: np.ndarray) -> list[dict]:
    """Patients that look alike: of the ten largest groups how many patients and images, and the first image."""
    first = {}
    for name, group in zip(names, groups.tolist(), strict=True):
        first.setdefault(group, name)
    members = Counter(group for group, _ in set(zip(groups.tolist(), patients, strict=True)))
    images = Counter(groups.tolist())
    largest = sorted((-count, first[group], group) for group, count in members.items() if count > 1)[:10]
    return [{"patients": -count, "images": images[group], "first": name} for count, name, group in largest]

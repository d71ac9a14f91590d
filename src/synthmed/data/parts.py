"""Whether the three parts of a split can carry a comparison: images and patients of every class, known patients."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from synthmed.core.errors import InputError
from synthmed.data.patients import likely_patients, tell_likely

logger = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")
FEW = {"validation": 5, "test": 10}
"""Patients of a class, below which a part is said to have few: a threshold or an interval then hangs on single ones."""
UNBALANCED = 10
"""Times as many training images of one class as of another, from which on this is said."""

Rows = Sequence[Mapping[str, str]]


def check_enough(images: Path, rows: Rows, parts: Sequence[str]) -> None:
    """Raise InputError when a part lacks a class, or there is one patient in all.

    rows: the manifest; parts: the part of each row.
    """
    classes = sorted({row["label"] for row in rows})
    patients = {label: {row["patient"] for row in rows if row["label"] == label} for label in classes}
    if len(set.union(*patients.values())) == 1:
        raise InputError(
            f"{images}: all {len(rows)} images are of one patient ({rows[0]['patient']!r}), who cannot be divided. Of "
            "DICOM films without a column of patients the tag PatientID counts, and anonymised ones may all have the "
            "same: name the patients by a column (options.csv.patient), or by options.patient_pattern"
        )
    for part in PARTS:
        for label in classes:
            inside = [row for row, found in zip(rows, parts, strict=True) if found == part and row["label"] == label]
            whole = f"{len(rows)} images in all, {len(patients[label])} patients of this class"
            if not inside:
                raise InputError(
                    f"{images}: the {part} part has no image of {label!r} ({whole}); raise its share (split.{part}), "
                    "or add images of further patients"
                )


def people(images: Path, rows: Rows, parts: Sequence[str]) -> dict:
    """What the report of a split says about patients; what a reader must know is logged, too.

    patients: of each part; patients_of_class: part → class → patients; patients_known: whether the source names the
    patient of every image; patients_unknown: how many images count as their own patient, and which names look like
    several images of one (null: none); cautions: sentences.
    """
    seen = {(part, row["label"], row["patient"]) for row, part in zip(rows, parts, strict=True)}
    of_class = {
        part: dict(sorted(Counter(label for found, label, _ in seen if found == part).items())) for part in PARTS
    }
    unknown = [index for index, row in enumerate(rows) if row.get("patient_known") == "no"]
    cautions = [*_few(of_class), *_unbalanced(rows, parts)]
    for caution in cautions:
        logger.warning("%s: %s", images, caution)
    return {
        "patients": {part: len({patient for found, _, patient in seen if found == part}) for part in PARTS},
        "patients_of_class": of_class,
        "patients_known": not unknown,
        "patients_unknown": _unknown(images, [rows[index] for index in unknown], [parts[index] for index in unknown]),
        "cautions": cautions,
    }


def _few(numbers: Mapping[str, Mapping[str, int]]) -> list[str]:
    return [
        f"the {part} part has {count} patients of {label!r} only: what is computed from them hangs on single ones"
        for part, least in FEW.items()
        for label, count in sorted(numbers[part].items())
        if count < least
    ]


def _unbalanced(rows: Rows, parts: Sequence[str]) -> list[str]:
    counts = Counter(row["label"] for row, part in zip(rows, parts, strict=True) if part == "train").most_common()
    (most, many), (least, few) = counts[0], counts[-1]
    if many < UNBALANCED * few:
        return []
    return [
        f"the training part has {many} images of {most!r} and {few} of {least!r}: arms.added_counts can add to a class"
    ]


def _unknown(images: Path, rows: Rows, parts: Sequence[str]) -> dict | None:
    if not rows:
        return None
    logger.warning("%s: patients unknown, %d images count as a patient each", images, len(rows))
    part_of = {row["patient"]: part for row, part in zip(rows, parts, strict=True)}
    likely = likely_patients(part_of)
    tell_likely(likely, str(images))
    return {
        "images": len(rows),
        "likely_patients": len(likely),
        "likely_patients_images": sum(map(len, likely.values())),
        "likely_patients_in_several_parts": sum(
            len({part_of[name] for name in names}) > 1 for names in likely.values()
        ),
        "example": next(iter(likely.values()))[:2] if likely else [],
    }

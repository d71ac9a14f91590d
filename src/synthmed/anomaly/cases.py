"""The cases of the anomaly test: what is known of each image, and the settings of the step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from synthmed.core.errors import InputError
from synthmed.data.boxes import parse_boxes
from synthmed.data.imageset import ImageSet
from synthmed.metrics import localisation
from synthmed.metrics.difference_maps import Score

Processing = Literal["raw", "post-processed"]


@dataclass(frozen=True)
class EvaluateSettings:
    """Settings of `anomaly-evaluate`.

    searches: names of the searches, in the order of `held_out` and `queries`. search, score, processing: those that
    decide about detection (chosen before, never by the result); all others are reported beside them. normal: label of
    normal images and name of that output of the classifier. findings_column: column of the manifest with the findings,
    ";" between them; `label` for a set whose labels are its findings. kinds: all findings, in the order of the table.
    false_positive_rate: share of held-out normals that may be called abnormal. top_share: share of a map's pixels whose
    mean is the score. smoothing, border: of the post-processing, as shares of the image's shorter side. level: of the
    intervals. examples: abnormal and normal cases drawn for the figures. batch_size: images at once.
    """

    seed: int
    searches: tuple[str, ...]
    search: str
    score: Score
    processing: Processing
    normal: str
    findings_column: str
    kinds: tuple[str, ...]
    false_positive_rate: float
    top_share: float
    smoothing: float
    border: float
    level: float
    examples: int
    batch_size: int
    threads: int
    device: Literal["auto", "cpu", "cuda"]

    def check(self) -> None:
        """Raise InputError when a value is out of range or a name is unknown."""
        if not self.searches or len(set(self.searches)) != len(self.searches):
            raise InputError(f"setting searches is {list(self.searches)}; name each search once")
        if self.search not in self.searches:
            raise InputError(f"setting search is {self.search!r}; choose one of {list(self.searches)}")
        if len(set(self.kinds)) != len(self.kinds) or self.normal in self.kinds or not self.kinds:
            raise InputError(f"setting kinds is {list(self.kinds)}; name each finding once, without {self.normal!r}")
        if not 0 < self.false_positive_rate < 1 or not 0 < self.level < 1:
            raise InputError("settings false_positive_rate and level must lie between 0 and 1")
        for name in ("examples", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"setting {name} is {getattr(self, name)}; it must be 1 or more")


@dataclass(frozen=True)
class Case:
    """One image that was searched for. part: "held_out" (normal, for the thresholds) or "query"; regions: what the map
    is measured against: boxes for the pointing game, mask for the pixels (each stands in for the other)."""

    part: str
    image: str
    patient: str
    label: str
    findings: tuple[str, ...]
    boxes: np.ndarray | None
    mask: np.ndarray | None


def read_cases(images: ImageSet, positions: Sequence[int], part: str, settings: EvaluateSettings) -> list[Case]:
    """The cases at `positions` of the set. Raises InputError on findings that the settings do not name, on an abnormal
    image without finding, and on a normal one with one."""
    cases = []
    for row, pixels, *masks in images.entries(positions):
        where = f"{images.path}, image {row['image']!r}"
        if settings.findings_column not in row:
            raise InputError(
                f"{images.path}: the manifest has no column {settings.findings_column!r}, the setting findings_column"
            )
        findings = tuple(name for name in row[settings.findings_column].split(";") if name not in ("", settings.normal))
        unknown = [name for name in findings if name not in settings.kinds]
        if unknown:
            raise InputError(f"{where}: finding {unknown[0]!r} is not in the setting kinds, {list(settings.kinds)}")
        if (row["label"] == settings.normal) == bool(findings):
            raise InputError(f"{where}: label {row['label']!r} does not go with the findings {list(findings)}")
        try:
            boxes = [box[1:] for box in parse_boxes(row.get("boxes", ""))]
            region = localisation.box_region(boxes, pixels.shape[:2]) if boxes else None
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        mask = masks[0] > 0 if masks and masks[0].any() else None
        known = [one for one in (region, mask) if one is not None]
        pointing, pixelwise = (known[0], known[-1]) if known and findings else (None, None)
        cases.append(Case(part, row["image"], row["patient"], row["label"], findings, pointing, pixelwise))
    return cases

"""The cases of the anomaly test: what is known of each image, and the settings of the step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.settings import BatchSize, Count, Device, Fraction, Level, Names, Resamples, Seed, Threads
from synthmed.data.boxes import parse_boxes
from synthmed.data.imageset import ImageSet
from synthmed.metrics import localisation
from synthmed.metrics.difference_maps import Score

Processing = Literal["raw", "post-processed"]


@dataclass(frozen=True)
class EvaluateOptions:
    """From the searches to detection and localisation. What decides is chosen before the results are known."""

    search: Annotated[str, Meta(description="Name of the search that decides; set before the results are known.")]
    score: Annotated[
        Score,
        Meta(
            description="The score that decides: mean squared residual, or mean of the largest positive or absolute "
            "differences."
        ),
    ]
    processing: Annotated[Processing, Meta(description="The map that decides.")]
    findings_column: Annotated[
        str, Meta(description="Column with the findings, ; between them; `label` where the labels are the findings.")
    ]
    false_positive_rate: Annotated[
        Fraction, Meta(description="Share of held-out normal images that may be called abnormal.")
    ]
    top_share: Annotated[float, Meta(gt=0, le=1, description="Share of a map's pixels whose mean is the score.")]
    smoothing: Annotated[
        float,
        Meta(ge=0, description="Standard deviation of the post-processing's Gaussian, share of the shorter side."),
    ]
    border: Annotated[
        float, Meta(ge=0, lt=0.5, description="Width of the frame set to zero, share of the shorter side.")
    ]
    level: Level
    resamples: Resamples
    examples: Annotated[Count, Meta(description="Abnormal and normal cases in the figures, each.")]
    batch_size: BatchSize
    threads: Threads
    device: Device


@dataclass(frozen=True)
class EvaluateSettings(EvaluateOptions):
    """Settings of `anomaly-evaluate`."""

    seed: Seed
    searches: Annotated[Names, Meta(description="Names of the searches, in the order of `held_out` and `queries`.")]
    normal: Annotated[str, Meta(description="Label of normal images, and name of that output of the classifier.")]
    kinds: Annotated[Names, Meta(description="All findings, in the order of the table.")]

    def __post_init__(self) -> None:
        if self.search not in self.searches:
            raise InputError(f"setting search is {self.search!r}; choose one of {list(self.searches)}")
        if self.normal in self.kinds:
            raise InputError(f"setting kinds is {list(self.kinds)}; name each finding, but not {self.normal!r}")


@dataclass(frozen=True)
class Case:
    """One image that was searched for. part: "held_out" (normal, for the thresholds) or "query"; regions: what the map
    is measured against, of all findings of the image: boxes for the pointing game, mask for the pixels (each stands in
    for the other)."""

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

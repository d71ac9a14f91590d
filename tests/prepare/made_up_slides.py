"""Small slides with a known picture, and the settings that read them."""

from dataclasses import replace

import numpy as np

from synthmed.data.phantoms.slides import asap_xml, write_pyramid
from synthmed.data.sources.raw_slide import Placed, write_slides
from synthmed.prepare.annotations import AnnotationSettings
from synthmed.prepare.slides import PrepareSlidesSettings
from synthmed.prepare.tissue import TissueSettings

ANNOTATION = AnnotationSettings(("metastases",), ("normal",), ("measured",), 0.5, 0.0)
SETTINGS = PrepareSlidesSettings(
    labels={"normal": "normal", "inside": "tumour", "border": None, "outside": None},
    reader="openslide",
    mpp=1.0,
    tolerance=0.02,
    size=(32, 32),
    overlap=0.0,
    resample="box",
    tissue=TissueSettings(8.0, "otsu", 0.05, 0.5),
    annotation=ANNOTATION,
    tiles=1000,
    seed=1,
    max_rejects=0.9,
    workers=2,
    source="camelyon17",
    prefix="",
)


def stained(height=512, width=640, seed=0):
    """A slide with pink tissue, of noise, in its left half, and glass."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 240, np.uint8)
    pixels[:, : width // 2] = np.stack(
        [rng.integers(150, 220, (height, width // 2)) + shift for shift in (30, -60, 0)], 2
    )
    return pixels


def square(left, top, side):
    """The corners of a square."""
    return np.array([[left, top], [left + side, top], [left + side, top + side], [left, top + side]], float)


def placed(folder, name, pixels, *, mpp=0.5, levels=3, label="normal", groups=None, stated="", patient=None):
    """A slide as a file in `folder`, with the outlines of `groups`."""
    path = folder / f"{name}.tif"
    write_pyramid(path, pixels, mpp, levels)
    row = {"name": name, "label": label, "patient": name if patient is None else patient, "split": ""}
    return Placed(row | {"source": "here", "mpp": stated}, path, None if groups is None else asap_xml(groups))


def raw_of(folder, slides):
    """The raw files of these slides."""
    raw = [folder / "slides.csv", folder / "annotations.zip", *(folder / f"slide_{n:04d}" for n in range(len(slides)))]
    write_slides(slides, raw)
    return raw


def set_to(**changes):
    """SETTINGS with changes; those of `tissue` and `annotation` as dicts."""
    for name in ("tissue", "annotation"):
        if isinstance(changes.get(name), dict):
            changes[name] = replace(getattr(SETTINGS, name), **changes[name])
    return replace(SETTINGS, **changes)

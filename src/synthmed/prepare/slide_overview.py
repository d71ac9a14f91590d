"""Step `slide-overview`: small pictures of some slides, with where tissue and annotated regions were found on them."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.settings import Count, Seed
from synthmed.core.step import Output, step
from synthmed.data import sources
from synthmed.data.imageset import ImageSet, Legend, write_image_set
from synthmed.data.sources.raw_slide import RawSlide
from synthmed.prepare.annotations import AnnotationSettings, area_map, read_outlines
from synthmed.prepare.common import SourceName, loaded
from synthmed.prepare.slide_file import ReaderName, open_slide
from synthmed.prepare.tissue import TissueSettings, small_picture, tissue_map

logger = logging.getLogger(__name__)

LEGEND = Legend(masks="semantic", classes={"tissue": 1, "annotated": 2})
"""Of the masks of these pictures."""


@dataclass(frozen=True)
class OverviewSettings:
    """Settings of `slide-overview`."""

    source: SourceName
    reader: ReaderName
    tissue: TissueSettings
    annotation: Annotated[
        AnnotationSettings | None, Meta(description="How annotations are read; null: no slide has one.")
    ]
    slides: Annotated[Count, Meta(description="Of each class at most, drawn by `seed`.")]
    seed: Seed


@step("slide-overview")
def overview(settings: OverviewSettings, *, raw: list[Path], images: Path, pictures: Output) -> None:
    """Make small pictures of some of the slides that tiles were taken of.

    raw: files of the step fetch; images: image set that `prepare-slides` made of them. pictures: image set of the
    slides in cells of settings.tissue.mpp, masks by LEGEND; label: the class that the slide was drawn for; columns
    slide, width, height (of level 0, pixels), mpp_x, mpp_y (its µm per pixel). Raises InputError when a slide of
    `images` is not among the raw ones.
    """
    tiles = ImageSet(images)
    shown = _drawn(tiles, settings)
    with sources.load(settings.source).read([Path(path) for path in raw]) as found:
        by_name = {slide.name: slide for slide in found}
        if missing := sorted(set(shown) - set(by_name)):
            raise InputError(f"{images}: the slide {missing[0]!r} is not among the raw ones; prepare them again")

        def rows() -> Iterator[tuple]:
            for name, row in shown.items():
                yield _picture(by_name[name], row, settings)

        write_image_set(pictures, rows(), LEGEND)


def _drawn(tiles: ImageSet, settings: OverviewSettings) -> dict[str, dict[str, str]]:
    """Slide → the row of a tile of the class that it is shown for."""
    rng, shown = np.random.default_rng(settings.seed), {}
    for label in sorted(set(tiles.column("label"))):
        rows = {row["slide"]: row for row in tiles.rows if row["label"] == label and row["slide"] not in shown}
        shown |= {name: rows[name] for name in rng.permutation(sorted(rows)).tolist()[: settings.slides]}
    return shown


def _picture(raw: RawSlide, row: dict[str, str], settings: OverviewSettings) -> tuple:
    with open_slide(raw.path, settings.reader, raw.mpp) as slide:
        picture, cell = small_picture(slide, settings.tissue.mpp)
        mask = tissue_map(picture, settings.tissue).astype(np.uint8)
        if raw.annotation is not None:
            outlines = read_outlines(loaded(raw.annotation), settings.annotation, slide.size)
            mask[area_map(outlines, mask.shape, cell)] = LEGEND.classes["annotated"]
        height, width = slide.size
        mpp = {"mpp_x": f"{slide.mpp[0]:.6g}", "mpp_y": f"{slide.mpp[1]:.6g}"}
    shared = {key: row[key] for key in ("label", "patient", "source", "slide")}
    return {**shared, "image": f"{raw.name}.png", "width": width, "height": height, **mpp}, picture, mask

"""Step `prepare-slides`: whole slides to one image set of tiles, and a table of the rejected.

Each slide, in this order: find tissue on a small picture of it (tissue.py), lay its annotation on that
(annotations.py), list the tiles with tissue enough by what they show, draw some of each kind, read these. A slide is
taken whole or rejected whole.
"""

import logging
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import nfc
from synthmed.core.progress import Progress
from synthmed.core.settings import Count, Seed, Share
from synthmed.core.step import Output, step
from synthmed.data import sources
from synthmed.data.imageset import write_image_set
from synthmed.data.patients import cleaned
from synthmed.data.png import encode_rgb
from synthmed.data.sources.raw_slide import BORDER, INSIDE, OUTSIDE, UNKNOWN, RawSlide
from synthmed.prepare.annotations import AnnotationSettings, area_map, read_outlines
from synthmed.prepare.common import (
    RESAMPLE,
    ImageSize,
    Prefix,
    Resample,
    SourceName,
    loaded,
    stop_if_too_many,
    write_rejects,
)
from synthmed.prepare.rejected import Nothing, Rejected
from synthmed.prepare.slide_file import ReaderName, Slide, open_slide
from synthmed.prepare.tissue import TissueSettings, shares, small_picture, tissue_map

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrepareSlidesOptions:
    """From whole slides to one image set of tiles."""

    labels: Annotated[
        dict[str, str | None],
        Meta(
            description="What a tile shows -> class; null leaves it out. Of an annotated slide: inside, border, "
            "outside; of any other the slide's own label."
        ),
    ]
    reader: ReaderName
    mpp: Annotated[
        float,
        Meta(gt=0, description="Micrometres of a pixel of a tile.", extra_json_schema={"unit": "µm/px"}),
    ]
    tolerance: Annotated[
        Share,
        Meta(description="By which share a level may differ from that and be taken as it is; others are resampled."),
    ]
    size: ImageSize
    overlap: Annotated[float, Meta(ge=0, lt=1, description="Of neighbouring tiles, as a share of their side.")]
    resample: Resample
    tissue: TissueSettings
    annotation: Annotated[
        AnnotationSettings | None, Meta(description="How annotations are read; null: no slide has one.")
    ]
    tiles: Annotated[Count, Meta(description="Of a class and slide at most, drawn by `seed`.")]
    seed: Seed
    max_rejects: Annotated[Share, Meta(description="Share of rejected slides beyond which the run stops.")]
    workers: Annotated[Count, Meta(description="Threads that read tiles.")]


@dataclass(frozen=True)
class PrepareSlidesSettings(PrepareSlidesOptions):
    """Settings of `prepare-slides`."""

    source: SourceName
    prefix: Prefix


@step("prepare-slides")
def prepare(settings: PrepareSlidesSettings, *, raw: list[Path], images: Output, rejects: Output) -> None:
    """Turn whole slides into one image set of tiles.

    Write the image set `images` of the drawn tiles of all usable slides, and the table `rejects` (file, reason) of the
    other slides, among them those that give no tile, which settings.max_rejects does not count.

    raw: files of the step fetch, in its order. Columns beside those of every image set: slide; x, y (left and top, in
    pixels of level 0); level, level_mpp (that it was read from) and mpp (µm per pixel of the tile); tissue, annotated
    (shares of the tile); shows (label before `labels`). Equal raw files give equal bytes whatever the number of
    workers. Memory holds the small picture of a slide and the tiles that are read at once.

    Raises InputError on settings out of range, a label that settings.labels does not know, two slides of one name, more
    rejects than settings.max_rejects, and a class without tiles.
    """
    rejected: list[dict[str, str]] = []
    with sources.load(settings.source).read([Path(path) for path in raw]) as found:
        _check(found, settings)
        write_image_set(images, _rows(found, settings, rejected))
    write_rejects(rejects, rejected)


def _classes(settings: PrepareSlidesOptions) -> dict[str, str | None]:
    """The setting labels, its keys in NFC as tables are read."""
    return {nfc(label): name for label, name in settings.labels.items()}


def _check(found: Sequence[RawSlide], settings: PrepareSlidesSettings) -> None:
    """Raises InputError on what is wrong with the list, before any slide is opened."""
    if not all(isinstance(slide, RawSlide) for slide in found):
        raise InputError(f"source {settings.source!r} gives no slides; setting prepare.format must be another")
    names, known = set(), _classes(settings)
    for slide in found:
        if slide.name in names:
            raise InputError(f"source {settings.source!r} has two slides named {slide.name!r}; rename one of them")
        names.add(slide.name)
        if slide.annotation is not None and settings.annotation is None:
            raise InputError(f"{slide.file} has an annotation, but setting prepare.annotation is null")
        shown = [INSIDE, BORDER, OUTSIDE] if slide.annotation is not None else [slide.label]
        unknown = [label for label in shown if nfc(label) not in known and label != UNKNOWN]
        if unknown:
            raise InputError(
                f"{slide.file}: its tiles show {unknown[0]!r}; setting labels knows {sorted(settings.labels)} (null "
                "leaves a label out)"
            )


def _rows(found: Sequence[RawSlide], settings: PrepareSlidesSettings, rejected: list[dict[str, str]]) -> Iterator:
    """Rows of the image set. What is wrong with all of them is raised inside write_image_set, which then leaves none
    behind."""
    counts = dict.fromkeys(sorted({label for label in settings.labels.values() if label is not None}), 0)
    unusable = []
    with ThreadPoolExecutor(settings.workers) as threads, Progress("prepared", len(found), "slide") as progress:
        for raw in found:
            try:
                tiles = _tiles(raw, settings, threads)
            except Rejected as reason:
                rejected.append({"file": raw.file, "reason": str(reason)})
                unusable += [] if isinstance(reason, Nothing) else rejected[-1:]
                tiles = []
            for fields, png in tiles:
                counts[fields["label"]] += 1
                yield fields, png
            progress.add(1)
    stop_if_too_many(unusable, len(found), settings.max_rejects, "slides")
    logger.info("%d of %d slides, tiles: %s", len(found) - len(rejected), len(found), counts)
    if empty := [label for label, count in counts.items() if not count]:
        raise InputError(
            f"no slide has a tile of the class {empty[0]!r}; tiles: {counts}; lower tissue.min_share or "
            "annotation.inside_share, or leave the class out of labels"
        )


# ---------------------------------------------------------------------------------------------------------- one slide
@dataclass(frozen=True)
class Tile:
    """A place on a slide: left, top in pixels of level 0; shares of tissue and of regions; what it shows; its class."""

    x: int
    y: int
    tissue: float
    annotated: float
    shows: str
    label: str


def _tiles(raw: RawSlide, settings: PrepareSlidesSettings, threads: ThreadPoolExecutor) -> list[tuple]:
    """Columns and PNG of the drawn tiles of a slide, at least one. Raises Rejected with the reason."""
    if raw.label == UNKNOWN and raw.annotation is None:
        raise Rejected("it shows what is looked for, and has no annotation that says where")
    with open_slide(raw.path, settings.reader, raw.mpp) as slide:
        _refuse_coarse(slide, settings)
        chosen = draw_tiles(raw, slide, settings)
        level = slide.level_for(settings.mpp, settings.tolerance)

        def picture(tile: Tile) -> bytes:
            size = (settings.mpp, settings.mpp)
            how = {"level": level, "tolerance": settings.tolerance, "resample": RESAMPLE[settings.resample]}
            return encode_rgb(slide.area(tile.x, tile.y, settings.size, size, **how))

        pictures = list(threads.map(picture, chosen))
        level_mpp = slide.level_mpp(level)[0]
    close = abs(settings.mpp / level_mpp - 1) <= settings.tolerance
    shared = {
        "patient": f"{settings.prefix}{raw.patient}",
        "split": raw.split,
        "source": raw.source,
        "slide": raw.name,
        "level": level,
        "level_mpp": f"{level_mpp:.4g}",
        "mpp": f"{level_mpp if close else settings.mpp:.4g}",
        **({} if cleaned(raw.patient) else {"patient_known": "no", "patient": f"{settings.prefix}{raw.name}"}),
        **raw.extra,
    }
    return [
        (
            {
                **shared,
                "image": f"{settings.prefix}{raw.name}_{tile.x}_{tile.y}.png",
                "label": tile.label,
                "x": tile.x,
                "y": tile.y,
                "tissue": f"{tile.tissue:.3f}",
                "annotated": f"{tile.annotated:.3f}",
                "shows": tile.shows,
            },
            png,
        )
        for tile, png in zip(chosen, pictures, strict=True)
    ]


def _refuse_coarse(slide: Slide, settings: PrepareSlidesOptions) -> None:
    """Raises Rejected when tiles would be enlarged: the finest pixels of the slide are coarser than those asked for."""
    coarsest = max(slide.mpp)
    if coarsest > settings.mpp * (1 + settings.tolerance):
        raise Rejected(
            f"its finest pixels have {coarsest:.4g} µm, coarser than setting mpp ({settings.mpp:g}); raise mpp; or, "
            "where the file says it wrongly (72 dpi are 353 µm), state it in the column mpp of the table of "
            "slides"
        )


def draw_tiles(raw: RawSlide, slide: Slide, settings: PrepareSlidesOptions) -> list[Tile]:
    """The tiles of a slide that are taken, from its top down, at least one. Raises Rejected when it has no tissue, or
    its annotation cannot be used, and Nothing when no tile has both tissue enough and a class."""
    picture, cell = small_picture(slide, settings.tissue.mpp)
    tissue = tissue_map(picture, settings.tissue)
    if not tissue.any():
        raise Rejected("no tissue on it: nothing is as coloured as setting tissue asks")
    size = settings.size[1] * settings.mpp / slide.mpp[0], settings.size[0] * settings.mpp / slide.mpp[1]
    corners = _grid(slide.size, size, settings.overlap)
    if not len(corners):
        raise Rejected(f"too small: {slide.size[1]}×{slide.size[0]} pixels hold no tile of {size[0]:.0f}×{size[1]:.0f}")
    covered = shares(tissue, cell, corners, size)
    annotated, shows = np.zeros(len(corners)), np.full(len(corners), raw.label, dtype=object)
    if raw.annotation is not None:
        outlines = read_outlines(loaded(raw.annotation), settings.annotation, slide.size)
        annotated = shares(area_map(outlines, tissue.shape, cell), cell, corners, size)
        shows[:] = BORDER
        shows[annotated >= settings.annotation.inside_share] = INSIDE
        shows[annotated <= settings.annotation.outside_share] = OUTSIDE
    rng, taken = np.random.default_rng([settings.seed, zlib.crc32(raw.name.encode())]), []
    known = _classes(settings)
    classes = np.array([known[nfc(label)] for label in shows], dtype=object)
    enough = covered >= settings.tissue.min_share
    for label in sorted({label for label in classes if label is not None}):
        fitting = np.flatnonzero((classes == label) & enough)
        taken += rng.permutation(fitting)[: settings.tiles].tolist()
    if not taken:
        raise Nothing(
            "no tile: setting labels leaves out what its tiles with tissue show"
            if enough.any()
            else f"no tile: none has the share {settings.tissue.min_share:g} of tissue (setting tissue.min_share)"
        )
    return [
        Tile(*map(int, corners[place]), float(covered[place]), float(annotated[place]), shows[place], classes[place])
        for place in sorted(taken)
    ]


def _grid(size: tuple[int, int], tile: tuple[float, float], overlap: float) -> np.ndarray:
    """Left and top of all tiles that lie wholly on a slide of `size` (height, width), row by row: (n, 2), whole pixels
    of level 0."""
    (height, width), (wide, high) = size, tile
    columns, rows = (
        np.rint(np.arange(0, whole - side + 1e-6, side * (1 - overlap)))
        for whole, side in ((width, wide), (height, high))
    )
    return np.stack(np.meshgrid(columns, rows), axis=2).reshape(-1, 2).astype(int)

"""Step `prepare`: raw photographs and X-rays of any size and pixel format to one image set of one size.

Every image goes the same way: decode, convert to 8-bit grey or RGB, cut the black border (if asked for), resize to
one size. The resize is plain: it does not keep the aspect ratio, as in the studies repeated here, because padding would
bring back the borders that tell one hospital from another.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.progress import Progress
from synthmed.core.settings import Count, Share
from synthmed.core.step import Output, step
from synthmed.data import sources
from synthmed.data.imageset import PLAIN, ImageSet, write_image_set
from synthmed.data.sources.raw_image import RawImage
from synthmed.prepare.common import (
    ImageSize,
    Prefix,
    Rejected,
    Resample,
    SourceName,
    has_two_values,
    kept_box,
    loaded,
    refuse_small,
    resized,
    resized_mask,
    stop_if_too_many,
    tell_drawings,
    unknown_patient,
    upright,
    wanted,
    write_rejects,
)
from synthmed.prepare.masks import MaskSettings, MaskTally, label_map

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrepareOptions:
    """From raw pictures to one image set."""

    labels: Annotated[
        dict[str, str | None], Meta(description="The source's label -> class; null leaves these images out.")
    ]
    size: ImageSize
    channels: Annotated[Literal[1, 3], Meta(description="1 grey, 3 RGB.")]
    crop_black_borders: Annotated[
        bool, Meta(description="Cut black rows and columns at the rims, which tell hospitals apart.")
    ]
    resample: Resample
    masks: Annotated[MaskSettings | None, Meta(description="What masks mark; null leaves them out.")]
    min_size: Annotated[
        Count, Meta(description="Images with a shorter side are rejected.", extra_json_schema={"unit": "px"})
    ]
    max_rejects: Annotated[Share, Meta(description="Share of rejected images beyond which the run stops.")]
    workers: Annotated[Count, Meta(description="Threads.")]


@dataclass(frozen=True)
class PrepareSettings(PrepareOptions):
    """Settings of `prepare`."""

    source: SourceName
    prefix: Prefix
    synthetic: Annotated[
        str | None, Meta(description="null for real images, or the name of the external generator that made them.")
    ]


Prepared = tuple[np.ndarray, np.ndarray | None, frozenset[str], bool]
"""Pixels, mask, doubts about it (see label_map), whether the picture has two values (see tell_drawings)."""


def _decoded(image: RawImage, settings: PrepareSettings) -> tuple[np.ndarray, np.ndarray | None, frozenset[str], tuple]:
    """Pixels and mask at their own size, doubts about the mask, and the box of them that is kept."""
    pixels, orientation = upright(loaded(image.load), settings.channels)
    refuse_small(pixels.shape, settings.min_size)
    mask, doubts = label_map(image.masks, pixels.shape[:2], settings.masks, orientation)
    return pixels, mask, doubts, kept_box(pixels, settings.crop_black_borders, settings.min_size)


def _prepare_one(image: RawImage, settings: PrepareSettings) -> Prepared:
    pixels, mask, doubts, box = _decoded(image, settings)
    drawing = has_two_values(pixels)
    pixels = resized(pixels, box, settings.size, settings.resample)
    return pixels, None if mask is None else resized_mask(mask, box, settings.size), doubts, drawing


def _in_order(
    work: Callable[[RawImage], Prepared | Rejected], images: Sequence[RawImage], workers: int
) -> Iterator[Prepared | Rejected]:
    """`work` of every image in their order, by `workers` threads; at most 2·workers results wait, to bound memory.

    Threads suffice: Pillow decodes and resizes without Python's lock.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque()
        try:
            for image in images:
                waiting.append(pool.submit(work, image))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@step("prepare")
def prepare(settings: PrepareSettings, *, raw: list[Path], images: Output, rejects: Output) -> None:
    """Turn raw pictures into one image set.

    Write the image set `images` of all usable raw images, and the table `rejects` (file, reason) of the others.

    raw: files of the step fetch, in its order. Images keep the source's order and names, so equal raw files give equal
    bytes whatever the number of workers. Raises InputError on an unknown label, a class without images, two images of
    one name, masks among the images, masks that are all empty or show a class nowhere, and more rejects than
    settings.max_rejects.
    """
    rejected: list[dict[str, str]] = []
    masks, drawings = MaskTally(), Counter[str]()

    def work(image: RawImage) -> Prepared | Rejected:
        try:
            return _prepare_one(image, settings)
        except Rejected as error:
            return error

    with sources.load(settings.source).read([Path(path) for path in raw]) as found:
        chosen = wanted(found, settings)

        def rows() -> Iterator[tuple]:
            with Progress("prepared", len(chosen), "image") as progress:
                for image, result in zip(chosen, _in_order(work, chosen, settings.workers), strict=True):
                    progress.add(1)
                    if isinstance(result, Rejected):
                        rejected.append({"file": image.file, "reason": str(result)})
                        continue
                    fields = {
                        **image.extra,
                        **unknown_patient(image),
                        "image": f"{settings.prefix}{image.name}.png",
                        "label": image.label,
                        "patient": f"{settings.prefix}{image.patient}",
                        "split": image.split if settings.synthetic is None else "synthetic",
                        "source": settings.synthetic or image.source,
                    }
                    pixels, mask, doubts, is_drawing = result
                    masks.add(None if mask is None else settings.masks.legend.drawn(mask), doubts)
                    drawings[image.label] += is_drawing
                    yield (fields, pixels) if mask is None else (fields, pixels, mask)
            # Raised inside write_image_set, which then leaves no image set behind.
            stop_if_too_many(rejected, len(chosen), settings.max_rejects)
            masks.stop_if_useless(settings.masks, settings.size, settings.synthetic)

        write_image_set(images, rows(), PLAIN if settings.masks is None else settings.masks.legend)
    logger.info("%s: %d images, %d rejected", images, len(chosen) - len(rejected), len(rejected))
    masks.tell(images)
    tell_drawings(+drawings, [image.label for image in chosen], images)
    write_rejects(rejects, rejected)


@step("original-masks")
def original_masks(settings: PrepareSettings, *, raw: list[Path], test: Path, originals: Output) -> None:
    """The masks of the test images at their original size.

    raw: files of the step fetch; test: image set that `prepare` and `split` made of them with these settings.
    originals: image set of the same names with the masks as they were before the resize, cut as the images were; what
    it shows as images are the masks, because nothing else is asked of it.

    Raises InputError when an image of `test` is not among the raw ones, or has no mask.
    """
    rows = {row["image"]: row for row in ImageSet(test).rows}
    with sources.load(settings.source).read([Path(path) for path in raw]) as found:
        named = {f"{settings.prefix}{image.name}.png": image for image in wanted(found, settings)}
        if missing := sorted(set(rows) - set(named)):
            raise InputError(f"{test}: {missing[0]!r} is not among the raw images; prepare and split them again")

        def entries() -> Iterator[tuple]:
            for name, row in rows.items():
                _, mask, _, (top, bottom, left, right) = _decoded(named[name], settings)
                if mask is None:
                    raise InputError(f"{test}: {name!r} has no mask; set prepare.masks.required to true")
                mask = np.ascontiguousarray(mask[top:bottom, left:right])
                yield row, np.where(mask > 0, np.uint8(255), np.uint8(0)), mask

        write_image_set(originals, entries(), settings.masks.legend)

"""Step `change-images`: test images with a frame pasted on, or theirs taken off, and nothing else changed.

Seed 003 (section 4.3.2) suspects that its classifiers take a frame for a sign of melanoma. An image that changes only
in its frame shows whether they do.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.settings import Seed
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.prepare import dermoscopy
from synthmed.training.seeds import seed_of

logger = logging.getLogger(__name__)

PASTED, REMOVED = "pasted", "removed"


@dataclass(frozen=True)
class ChangeOptions:
    """How frames are put on images and taken off them."""

    tag: Annotated[
        str | None,
        Meta(description="Column of the images that says yes or no about their frame; null: what is found in them."),
    ]
    removal: Annotated[
        Literal[tuple(dermoscopy.FRAME_METHODS)], Meta(description="The way in which frames are taken off.")
    ]


@dataclass(frozen=True)
class ChangeSettings(ChangeOptions):
    """Settings of `change-images`."""

    seed: Seed


@step("change-images")
def change_images(settings: ChangeSettings, *, images: Path, out: Output) -> None:
    """Paste a frame on every image without one, and take it off every image that has one.

    images: image set of three channels. out: image set of the changed images, with the columns of the others and
    `origin`, the image it was made from, and `change`, pasted or removed. An image that is said to have a frame where
    none is found stays out. Raises InputError when settings.tag is no column with yes or no, and when the images are
    grey.
    """
    found = ImageSet(images)
    rows, untouched = [], 0
    for row, pixels, *_ in found.entries():
        if pixels.shape[2] != 3:
            raise InputError(f"{images}: frames are looked for in colour, but images have {pixels.shape[2]} channels")
        rng = np.random.default_rng(seed_of("frame", settings.seed, row["image"]))
        change = REMOVED if _has_frame(settings, row, pixels, images) else PASTED
        changed = (
            dermoscopy.paste_frame(pixels, rng)
            if change == PASTED
            else dermoscopy.remove_frame(pixels, settings.removal, rng)
        )
        if np.array_equal(changed, pixels):
            untouched += 1
            continue
        name = f"{Path(row['image']).stem}_{change}.png"
        kept = {key: value for key, value in row.items() if key != "mask"}
        rows.append((kept | {"image": name, "origin": row["image"], "change": change}, changed))
    write_image_set(out, rows)
    logger.info("%s: %d images, %d with a frame that is not found left out", out, len(rows), untouched)


def _has_frame(settings: ChangeSettings, row: dict, pixels: np.ndarray, path: Path) -> bool:
    if settings.tag is None:
        return bool(dermoscopy.frame_mask(pixels).any())
    if row.get(settings.tag) not in ("yes", "no"):
        raise InputError(
            f"{path}: {row['image']} has {row.get(settings.tag)!r} in the column {settings.tag!r}, not yes or no; name "
            "a column of tags, or set tag to null"
        )
    return row[settings.tag] == "yes"

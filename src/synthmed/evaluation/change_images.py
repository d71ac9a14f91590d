"""Step `change-images`: test images with a frame pasted on, or theirs taken off, and nothing else changed.

Seed 003 (section 4.3.2) suspects that its classifiers take a frame for a sign of melanoma. An image that changes only
in its frame shows whether they do.
"""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.settings import Seed
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.prepare import dermoscopy
from synthmed.training.seeds import seed_of

logger = logging.getLogger(__name__)

PASTED, REMOVED = "pasted", "removed"
UNCHANGED, REFUSED = "unchanged", "refused"
"""Images that have no changed version: nothing was found to take off, and what the method says that it cannot do."""


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
def change_images(settings: ChangeSettings, *, images: Path, out: Output, counts: Output) -> None:
    """Paste a frame on every image without one, and take it off every image that has one.

    images: image set of three channels. out: image set of the changed images, with the columns of the others and
    `origin`, the image it was made from, and `change`, pasted or removed. Left out is an image that is said to have a
    frame where none is found (unchanged), and one whose frame the method cannot take off (refused). counts (JSON): of
    each of these four the images of each class. Raises InputError when settings.tag is no column with yes or no, and
    when the images are grey.
    """
    found = ImageSet(images)
    changed, became = [], []
    for row, pixels, *_ in found.entries():
        if pixels.shape[2] != 3:
            raise InputError(f"{images}: frames are looked for in colour, but images have {pixels.shape[2]} channels")
        change, now = _changed(settings, row, pixels, images)
        became.append((change, row["label"]))
        if now is None:
            continue
        kept = {key: value for key, value in row.items() if key != "mask"}
        kept |= {"image": f"{Path(row['image']).stem}_{change}.png", "origin": row["image"], "change": change}
        changed.append((kept, now))
    write_image_set(out, changed)
    counted = {
        change: dict(sorted(Counter(label for what, label in became if what == change).items()))
        for change in (PASTED, REMOVED, UNCHANGED, REFUSED)
    }
    write_json(counts, counted)
    logger.info("%s: %s", out, ", ".join(f"{sum(of_class.values())} {change}" for change, of_class in counted.items()))


def _changed(settings: ChangeSettings, row: dict, pixels: np.ndarray, path: Path) -> tuple[str, np.ndarray | None]:
    """What became of an image, and its changed version (H, W, 3), None where there is none."""
    rng = np.random.default_rng(seed_of("frame", settings.seed, row["image"]))
    if not _has_frame(settings, row, pixels, path):
        return PASTED, dermoscopy.paste_frame(pixels, rng)
    try:
        bare = dermoscopy.remove_frame(pixels, settings.removal, rng)
    except InputError as error:
        logger.warning("%s: %s: the frame stays on: %s", path, row["image"], error)
        return REFUSED, None
    return (UNCHANGED, None) if np.array_equal(bare, pixels) else (REMOVED, bare)


def _has_frame(settings: ChangeSettings, row: dict, pixels: np.ndarray, path: Path) -> bool:
    if settings.tag is None:
        return bool(dermoscopy.frame_mask(pixels).any())
    if row.get(settings.tag) not in ("yes", "no"):
        raise InputError(
            f"{path}: {row['image']} has {row.get(settings.tag)!r} in the column {settings.tag!r}, not yes or no; name "
            "a column of tags, or set tag to null"
        )
    return row[settings.tag] == "yes"

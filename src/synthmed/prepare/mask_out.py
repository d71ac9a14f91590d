"""Step `mask-out`: what is left of images when the masked part, or all but it, is covered.

What a classifier still finds without the organ that it is asked about comes from the background: the machine, the
letters, the age and size of the people (Maguolo & Nanni 2021, Information Fusion 76:1).
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from scipy import ndimage

from synthmed.core.errors import InputError
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set

logger = logging.getLogger(__name__)

Region = Literal["outside", "inside"]


@dataclass(frozen=True)
class MaskOutOptions:
    """What is covered."""

    cover: Annotated[
        Literal["mask", "box"],
        Meta(description="The mask itself, whose outline stays visible, or the upright box around it."),
    ]
    grow: Annotated[
        int, Meta(ge=0, description="Width by which the mask grows first.", extra_json_schema={"unit": "px"})
    ]


@dataclass(frozen=True)
class MaskOutSettings(MaskOutOptions):
    """Settings of `mask-out`."""

    region: Annotated[Region, Meta(description="What is left: what lies outside of the masks, or inside.")]


def covered(mask: np.ndarray, cover: str, grow: int) -> np.ndarray:
    """The covered part, bool (H, W): the mask (0 is outside) grown by `grow` pixels in all eight directions, or its
    box."""
    part = mask != 0
    if grow:
        part = ndimage.binary_dilation(part, np.ones((3, 3), bool), iterations=grow)
    if cover == "box":
        rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
        part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return part


@step("mask-out")
def mask_out(settings: MaskOutSettings, *, images: list[Path], out: list[Output]) -> None:
    """Cover a part of every image with black.

    images, out: image sets, in the same order; names, labels, patients and masks stay. Raises InputError where an image
    has no mask, or an empty one.
    """
    for source, target in zip(images, out, strict=True):
        found = ImageSet(source)
        without = [row["image"] for row in found.rows if not row["mask"]]
        if without:
            raise InputError(
                f"{source}: {len(without)} of {len(found)} images have no mask, the first is {without[0]}; what lies "
                "outside of it is not known: set prepare.masks with required: true, or ask for no background"
            )
        write_image_set(target, (_covered(settings, source, *entry) for entry in found.entries()), found.legend)
        logger.info("%s: %d images", target, len(found))


def _covered(settings: MaskOutSettings, source: Path, row: dict, pixels: np.ndarray, mask: np.ndarray) -> tuple:
    if not mask.any():
        raise InputError(f"{source}: the mask of {row['image']} is empty; take the image or its mask out")
    part = covered(mask, settings.cover, settings.grow)
    hidden = part if settings.region == "outside" else ~part
    return row, np.where(hidden[..., None] if pixels.ndim == 3 else hidden, np.uint8(0), pixels), mask

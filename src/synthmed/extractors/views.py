"""What a network sees of an image set with masks: the images, the masks of a class, or both in one picture."""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.data.imageset import ImageSet, Legend

IMAGE, BOTH = "image", "both"

View = Annotated[
    str, Meta(description="What is seen of the set: image, both (image and masks), or a class of its masks.")
]


def views(images: ImageSet, view: str) -> Iterator[np.ndarray]:
    """Every image of a set as `view` shows it, in order: uint8 (H, W, C).

    "image": as it is. A class: its masks, white on black, one channel. "both": in three channels the image and its two
    classes or, where there is one or more than two, the image twice and all classes; colour becomes grey for that.
    Raises InputError when an image has no mask, or the set no such class.
    """
    legend = images.legend
    if view not in (IMAGE, BOTH, *legend.classes):
        raise InputError(f"setting view is {view!r}; {images.path} has masks of {list(legend.classes)}")
    for fields, pixels, *mask in images.entries():
        if view == IMAGE:
            yield pixels
            continue
        if not mask:
            raise InputError(f"{images.path}: {fields['image']!r} has no mask, which the view {view!r} shows")
        yield _white(legend.of_class(mask[0], view))[:, :, None] if view != BOTH else _both(pixels, mask[0], legend)


def _both(pixels: np.ndarray, mask: np.ndarray, legend: Legend) -> np.ndarray:
    grey = pixels.mean(axis=2).round().astype(np.uint8)
    if len(legend.classes) == 2:
        return np.dstack([grey, *(_white(legend.of_class(mask, name)) for name in legend.classes)])
    return np.dstack([grey, grey, _white(mask > 0)])


def _white(where: np.ndarray) -> np.ndarray:
    return np.where(where, np.uint8(255), np.uint8(0))

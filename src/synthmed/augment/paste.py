"""Copy-paste: objects of one image pasted on the free background of another, with their masks."""

import numpy as np

from synthmed.core.errors import InputError
from synthmed.data.imageset import Legend

TRIES = 30
"""Random places that are tried for each object; one that fits in none of them is left out."""


def paste_objects(
    pixels: np.ndarray,
    mask: np.ndarray,
    donor: tuple[np.ndarray, np.ndarray],
    legend: Legend,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """An image with its own objects and a random part of those of another: each turned by quarters and mirrored at
    random, where it covers no object (simple copy-paste, Ghiasi et al. 2021, without its change of scale).

    pixels: uint8 (H, W, C); mask: its label map (H, W) of instances; donor: pixels and label map of the other image.
    Returns pixels and label map; pasted objects get the next numbers of their class. Raises InputError on masks without
    instances, and when a class has no numbers left.
    """
    if legend.masks != "instances":
        raise InputError(
            f"objects can be pasted where masks are of instances, not {legend.masks}; take pasted out of pairs"
        )
    pixels, mask = pixels.copy(), mask.astype(np.uint16)
    values = rng.permutation(np.unique(donor[1][donor[1] > 0]))
    for value in values[: rng.integers(1, len(values) + 1)] if len(values) else []:
        there = np.argwhere(donor[1] == value)
        box = tuple(slice(low, high + 1) for low, high in zip(there.min(axis=0), there.max(axis=0), strict=True))
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        shape, patch = (_moved(part[box], turns, mirrored) for part in (donor[1] == value, donor[0]))
        room = np.array(mask.shape) - shape.shape
        if room.min() < 0:
            continue
        for top, left in rng.integers(0, room + 1, (TRIES, 2)):
            place = slice(top, top + shape.shape[0]), slice(left, left + shape.shape[1])
            if not mask[place][shape].any():
                pixels[place][shape] = patch[shape]
                mask[place][shape] = _next(mask, int(value), legend)
                break
    return pixels, mask


def _moved(part: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    return np.rot90(part[:, ::-1] if mirrored else part, turns)


def _next(mask: np.ndarray, value: int, legend: Legend) -> int:
    """The number of a further object of the class of `value`."""
    name = max((start, name) for name, start in legend.classes.items() if start <= value)[1]
    own = mask[legend.of_class(mask, name)]
    number = int(own.max(initial=legend.classes[name] - 1)) + 1
    if number == legend.end(name):
        raise InputError(f"too many objects of the class {name!r} for its numbers in {legend}")
    return number

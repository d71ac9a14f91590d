"""Label maps as channels that a network draws or is given, and back.

A generator of images with masks sees and makes the channels of the image and, behind them, those of the mask; one that
paints an image for a mask is given the latter. Both work on numbers, so that the label map must become channels.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image
from scipy import ndimage

from synthmed.core.errors import InputError
from synthmed.data.imageset import Legend

Coding = Literal["classes", "instances", "rgba"]


@dataclass(frozen=True)
class MaskChannels:
    """The masks of sets with this legend as channels: uint8 (H, W, K), 255 where it is so, 0 where not.

    coding: "classes": a channel for each class. "instances": background, interior and boundary of the objects, then a
    channel for each class but the first or, where there is one class only, the distance to the boundary as a share of
    the object's largest. "rgba": the mask four times, as if it had been read as RGBA (seed 002, section 3.1).
    Raises InputError when the legend has no instances, or several classes with "rgba".
    """

    coding: Coding
    legend: Legend

    def __post_init__(self) -> None:
        if self.coding == "instances" and self.legend.masks != "instances":
            raise InputError(
                f"setting masks is 'instances', but the set's masks are {self.legend.masks}: use 'classes'"
            )
        if self.coding == "rgba" and len(self.legend.classes) > 1:
            raise InputError(f"setting masks is 'rgba', which keeps one class only, not {list(self.legend.classes)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        classes = tuple(self.legend.classes)
        if self.coding == "classes":
            return classes
        if self.coding == "rgba":
            return ("red", "green", "blue", "alpha")
        return ("background", "interior", "boundary", *(classes[1:] or ("distance",)))

    def encode(self, mask: np.ndarray) -> np.ndarray:
        """Label map (H, W) → uint8 (H, W, K)."""
        if self.coding == "rgba":
            return _bytes([mask > 0] * 4)
        classes = [self.legend.of_class(mask, name) for name in self.legend.classes]
        if self.coding == "classes":
            return _bytes(classes)
        inside = interior(mask)
        further = _bytes(classes[1:]) if classes[1:] else _distance(mask, inside)[:, :, None]
        return np.dstack([_bytes([mask == 0, inside, (mask > 0) & ~inside]), further])

    def decode(self, channels: np.ndarray) -> np.ndarray:
        """uint8 (H, W, K), as encode or a network made them → label map (H, W), uint8 or uint16.

        Of "classes" the highest channel wins where one is at least half; objects are what is connected. Of "instances"
        every interior that is connected is an object, and its boundary what lies nearest (a pixel where objects
        touch may change sides). Objects are numbered from the
        upper left. Raises InputError on more objects than the legend has numbers for.
        """
        if self.coding == "instances":
            objects, count = _objects(channels[:, :, :3].argmax(axis=2))
            chosen = self._classes_of(objects, count, channels[:, :, 3:])
        else:
            drawn = channels if self.coding == "classes" else channels.mean(axis=2, keepdims=True)
            classes = np.where(drawn.max(axis=2) >= 127.5, drawn.argmax(axis=2) + 1, 0)
            values = np.array([0, *self.legend.classes.values()])
            if self.legend.masks == "semantic":
                return _smallest(values[classes])
            objects, count, chosen = np.zeros(classes.shape, int), 0, []
            for number in range(1, len(values)):
                parts, found = ndimage.label(classes == number)
                objects[parts > 0] = parts[parts > 0] + count
                count, chosen = count + found, [*chosen, *[number - 1] * found]
        return _smallest(np.array([0, *self._numbers(chosen)])[objects])

    def exclusive(self, channels: np.ndarray) -> np.ndarray:
        """Those of channels (H, W, K), as encode or a network made them, that are to be 0 or 255 and share no pixel:
        classes; background, interior and boundary; the mean of "rgba". (H, W, K'), uint8."""
        if self.coding == "rgba":
            return channels.mean(axis=2, keepdims=True).round().astype(np.uint8)
        return channels[:, :, :3] if self.coding == "instances" else channels

    @property
    def exclusive_names(self) -> tuple[str, ...]:
        """Names of the channels of exclusive(), in order."""
        return ("mask",) if self.coding == "rgba" else self.names[: 3 if self.coding == "instances" else None]

    @property
    def backgrounds(self) -> int:
        """How many of the channels of exclusive() say where nothing is; they come first."""
        return int(self.coding == "instances")

    def _classes_of(self, objects: np.ndarray, count: int, further: np.ndarray) -> list[int]:
        """The class of each object, as its position in the legend: of the further channels the highest above half."""
        if len(self.legend.classes) == 1:
            return [0] * count
        means = [ndimage.mean(further[:, :, k], objects, range(1, count + 1)) for k in range(further.shape[2])]
        first = np.full(count, 127.5)
        return np.argmax([first, *means], axis=0).tolist()

    def _numbers(self, chosen: list[int]) -> list[int]:
        """The value of each object, from its class."""
        names, numbers = list(self.legend.classes), []
        following = dict(enumerate(self.legend.classes.values()))
        for position in chosen:
            if following[position] == self.legend.end(names[position]):
                raise InputError(f"too many objects of the class {names[position]!r} for its numbers in {self.legend}")
            numbers.append(following[position])
            following[position] += 1
        return numbers


def boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels of classes or objects that one of their four neighbours does not belong to: bool (H, W). Beyond the rim of
    the image everything goes on."""
    padded = np.pad(mask, 1, mode="edge")
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (mask > 0) & np.any([mask != neighbour for neighbour in neighbours], axis=0)


def interior(mask: np.ndarray) -> np.ndarray:
    """Pixels of objects without their boundary, but at least the innermost ones of each: bool (H, W)."""
    inside = (mask > 0) & ~boundary(mask)
    without = np.setdiff1d(mask[mask > 0], mask[inside])
    boxes = ndimage.find_objects(mask) if len(without) else []
    for value in without.tolist():
        box = boxes[value - 1]
        depth = ndimage.distance_transform_edt(np.pad(mask[box] == value, 1))[1:-1, 1:-1]
        inside[box] |= depth == depth.max()
    return inside


def _distance(mask: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Distance of interior pixels to the boundary, 255 at the farthest of each object: uint8 (H, W)."""
    depth = ndimage.distance_transform_edt(inside) if not inside.all() else np.ones(mask.shape)
    values, position = np.unique(mask, return_inverse=True)
    largest = ndimage.maximum(depth, mask, values)[position.reshape(mask.shape)]
    return np.divide(255 * depth, largest, out=np.zeros(mask.shape), where=largest > 0).round().astype(np.uint8)


def _objects(part: np.ndarray) -> tuple[np.ndarray, int]:
    """Objects of 0 background, 1 interior, 2 boundary (H, W): their numbers (H, W) from 1, and how many they are."""
    # Two boundaries lie between two interiors, so corners may connect.
    inside, count = ndimage.label(part == 1, np.ones((3, 3)))
    whole, _ = ndimage.label(part > 0)
    # A boundary around nothing is an object too.
    hollow = (part > 0) & ~np.isin(whole, whole[part == 1])
    rest, found = ndimage.label(hollow)
    if count:
        nearest = ndimage.distance_transform_edt(inside == 0, return_distances=False, return_indices=True)
        inside = np.where((part > 0) & ~hollow, inside[tuple(nearest)], 0)
    return np.where(hollow, rest + count, inside), count + found


TIE = 2
"""Shares of a pixel, of 255, that differ by no more are equal: they are sums of rounded weights."""


def resized_labels(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A label map (H, W) at `size` (height, width). Nothing moves against an image that is resized about its middle.

    Where a side becomes shorter, each pixel has the value that most of what lies under it has, weighted as images are
    by an antialiased bilinear filter; of equal shares the higher value, so that objects win over the background. (The
    nearest pixel at half the size is that below and right of the middle: all would move by half a pixel of the original
    map.) Else the nearest pixel's.
    """
    if mask.shape == size:
        return mask
    if mask.shape[0] <= size[0] and mask.shape[1] <= size[1]:
        picture = Image.fromarray(mask.astype(np.int32))
        return np.asarray(picture.resize(size[::-1], Image.Resampling.NEAREST)).astype(mask.dtype)
    found, most = np.zeros(size, mask.dtype), np.zeros(size, np.int16)
    boxes = [tuple(slice(0, side) for side in mask.shape), *ndimage.find_objects(mask)]
    for value, box in enumerate(boxes):
        if box is None:
            continue
        window, share = _share(mask, value, box, size)
        wins = (share > TIE) & (share >= most[window] - TIE)
        found[window][wins], most[window][wins] = value, share[wins]
    return found


def _share(
    mask: np.ndarray, value: int, box: tuple[slice, slice], size: tuple[int, int]
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Where at `size` something of a value lies, of which `box` holds all, and its shares there of 255, int16."""
    windows, parts, edges = [], [], []
    for side, length, part in zip(mask.shape, size, box, strict=True):
        factor = side / length
        reach = max(factor, 1.0)
        first = max(0, math.floor((part.start - reach) / factor))
        last = min(length, math.ceil((part.stop + reach) / factor))
        low, high = max(0, math.floor(first * factor - reach)), min(side, math.ceil(last * factor + reach))
        windows.append(slice(first, last))
        parts.append(slice(low, high))
        edges.append((first * factor - low, last * factor - low))
    (top, bottom), (left, right) = edges
    picture = Image.fromarray(np.where(mask[tuple(parts)] == value, np.uint8(255), np.uint8(0)))
    shape = tuple(window.stop - window.start for window in windows)
    share = picture.resize(shape[::-1], Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    return tuple(windows), np.asarray(share, np.int16)


def _bytes(channels: list[np.ndarray]) -> np.ndarray:
    return np.where(np.dstack(channels), np.uint8(255), np.uint8(0))


def _smallest(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8 if mask.max(initial=0) < 2**8 else np.uint16)

"""The real images of a training: in memory, or decoded when they are needed where memory would not do."""

import math
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from synthmed.core.errors import InputError
from synthmed.data.channels import Coding, MaskChannels, resized_labels
from synthmed.data.imageset import PLAIN, ImageSet
from synthmed.training import distributed
from synthmed.training.device import derived_seed
from synthmed.training.images import Batch, mirrored, resized, to_model

MEMORY = 4 * 2**30
"""Pixels kept in memory, in bytes, of each process; larger sets are decoded on demand. No result depends on it."""
Learnt = Literal["images", "masks"]
"""What a training is of: images, with their masks where it knows some, or masks alone."""
AHEAD = 2
"""Batches that are decoded ahead."""


class Endless:
    """Endless order over `indices`: every epoch is a new permutation drawn from `rng`, or with `shuffle` off the same
    one, as they are. The state is what is left."""

    def __init__(self, indices: Tensor, shuffle: bool = True):
        self.indices, self.shuffle = indices, shuffle
        self.left = indices[:0]

    def take(self, count: int, rng: torch.Generator) -> Tensor:
        """The next `count` of the indices, (count,); `rng` draws every new epoch that they begin."""
        while len(self.left) < count:
            epoch = self.indices[torch.randperm(len(self.indices), generator=rng)] if self.shuffle else self.indices
            self.left = torch.cat([self.left, epoch])
        taken, self.left = self.left[:count], self.left[count:]
        return taken


class OnDemand:
    """Images of a set, decoded by threads when they are asked for; those that were announced are decoded ahead."""

    def __init__(
        self,
        image_set: ImageSet,
        keep: np.ndarray,
        size: tuple[int, int] | None,
        masks: MaskChannels | None,
        learns: Learnt,
        threads: int,
    ):
        """keep: positions in the set of the images 0, 1, …; size: height and width to reduce them to, None: as they
        are; masks: how their masks become further channels, None: without; learns: whether the images count, too.
        Raises InputError when that would enlarge, and on an image without a mask."""
        self.path, self.keep, self.size, self.masks, self.learns = image_set.path, keep, size, masks, learns
        without = [image_set.rows[position]["image"] for position in keep if not image_set.rows[position]["mask"]]
        if masks is not None and without:
            raise InputError(
                f"{self.path}: {len(without)} of {len(keep)} images have no mask, the first is {without[0]!r}; add "
                "masks, leave these images out, or set training.masks to null"
            )
        self.decode = image_set.decoder()
        self.full_shape = image_set[int(keep[0])].shape
        height, width, channels = self.full_shape
        if size is not None and (size[0] > height or size[1] > width):
            raise InputError(
                f"setting training.size is {list(size)}, but the images of {self.path} have {height}×{width} pixels; "
                "lower it, or prepare larger images"
            )
        channels = (channels if learns == "images" else 0) + (0 if masks is None else len(masks.names))
        self.shape = (channels, *((height, width) if size is None else size))
        self.threads = ThreadPoolExecutor(threads, "decode")
        self.ahead: dict[int, Future[tuple[np.ndarray, ...]]] = {}

    def _decode(self, position: int) -> tuple[np.ndarray, ...]:
        pixels, *mask = self.decode(int(self.keep[position]))
        if pixels.shape != self.full_shape:
            shapes = sorted({pixels.shape, self.full_shape})
            raise InputError(f"{self.path}: images of different shapes {shapes}; prepare them to one size first")
        if self.masks is None:
            return (pixels,)
        # The map is reduced, not its channels: no value between two classes arises.
        return pixels, self.masks.encode(resized_labels(mask[0], self.shape[1:]))

    def read(self, positions: Tensor) -> Tensor:
        """uint8 (N, C, H, W), the channels of the mask behind those of the image."""
        waiting = [self.ahead.pop(i, None) or self.threads.submit(self._decode, i) for i in positions.tolist()]
        found = [future.result() for future in waiting]
        images, *masks = (
            torch.from_numpy(np.ascontiguousarray(np.stack(part).transpose(0, 3, 1, 2)))
            for part in zip(*found, strict=True)
        )
        if self.size is not None:
            images = resized(images.float(), self.size).round().clamp(0, 255).to(torch.uint8)
        return torch.cat([images, *masks], dim=1) if self.learns == "images" else masks[0]

    def expect(self, positions: Tensor) -> None:
        """Decode these ahead, and forget whatever else was announced before."""
        self.ahead = {i: self.ahead.get(i) or self.threads.submit(self._decode, i) for i in positions.tolist()}


def _check_counts(path: Path, counts: Mapping[str, int], batch_size: int, per_class: bool) -> None:
    for label, count in counts.items():
        if count == 0:
            raise InputError(f"{path}: no image of the class {label!r}; add some or take it out of the labels")
    groups = {f"the class {label!r}": count for label, count in counts.items()}
    for which, count in (groups if per_class else {str(list(counts)): sum(counts.values())}).items():
        if count < batch_size:
            raise InputError(
                f"{path}: {count} images of {which}, fewer than the batch_size {batch_size}; lower batch_size or add "
                "images"
            )


def _apart(images: Tensor, last: int) -> tuple[Tensor, ...]:
    """(N, C, H, W) without its last channels, and those; of none, the images alone."""
    return images.split([images.shape[1] - last, last], dim=1) if last else (images,)


class RealImages:
    """The real images of one training, given out as batches in [-1, 1]; each rank gets its part of a batch.

    len() is their number, `shape` (C, H, W), with the channels of their masks where the model draws those too; `legend`
    says what channels and masks mean. Raises InputError when a label has no image, or there are fewer images than a
    batch needs.
    """

    def __init__(
        self,
        path: Path,
        classes: tuple[str, ...],
        labels: tuple[str, ...],
        *,
        seed: int,
        batch_size: int,
        needs: frozenset[str],
        learns: Learnt,
        size: tuple[int, int] | None,
        masks: Coding | None,
        jitter: float | None,
        flip: bool,
        threads: int,
    ):
        """classes: all labels in the set; labels: those that are used; batch_size: the most images a batch will have,
        of all ranks together (of every class, if the model needs images); needs: of the model; learns: the images, or
        their masks alone; size: height and width they are reduced to, None: as they are; masks: how their masks become
        channels, None: without; jitter: how many times that size they have before a random part of the size is taken,
        None: the whole is; flip: mirror left-right with probability 1/2; threads: for decoding."""
        unknown = [label for label in labels if label not in classes]
        if unknown or not labels:
            raise InputError(f"setting labels is {list(labels)}; choose from the classes {list(classes)}")
        image_set = ImageSet(path)
        of_experiment = image_set.label_indices(classes)
        wanted = [classes.index(label) for label in labels]
        counts = {label: int((of_experiment == place).sum()) for label, place in zip(labels, wanted, strict=True)}
        per_class = "image" in needs
        _check_counts(path, counts, batch_size, per_class)
        keep = np.flatnonzero(np.isin(of_experiment, wanted))
        self.labels = torch.tensor([wanted.index(position) for position in of_experiment[keep]])
        members = [self.labels == i for i in range(len(wanted))] if per_class else [self.labels >= 0]
        self.orders = [Endless(torch.nonzero(member)[:, 0], "origin" not in needs) for member in members]
        self.rng = torch.Generator().manual_seed(derived_seed(seed, "data order"))
        self.flip, self.jitter = flip, jitter

        if "origin" in needs and (flip or jitter is not None):
            raise InputError(
                f"{path}: a generator that learns each image by itself is given the images as they are; set "
                "training.flip to false and training.jitter to null"
            )
        if learns == "masks" and (masks is None or "mask" in needs):
            raise InputError(
                f"{path}: a generator of masks alone needs setting training.masks, and a model that is given none"
            )
        channels = image_set.legend.channels if learns == "images" else None
        self.legend = replace(PLAIN if masks is None else image_set.legend, channels=channels)
        coded = None if masks is None else MaskChannels(masks, self.legend)
        whole = image_set[int(keep[0])].shape[:2]
        self.size = whole if size is None else size
        self.enlarged = self.size if jitter is None else tuple(round(jitter * side) for side in self.size)
        held = tuple(map(max, self.size, map(min, whole, self.enlarged)))

        def reader(own: tuple[int, int]) -> OnDemand:
            return OnDemand(image_set, keep, None if own == whole else own, coded, learns, threads)

        self.on_demand: OnDemand | None = reader(held)
        self.smaller = None if held == self.size else reader(self.size)
        """Whole images at `size` where larger ones are held: channels of masks cannot be reduced, maps can."""
        channels = self.on_demand.shape[0]
        self.mask_channels = 0 if coded is None else len(coded.names)
        self.apart = self.mask_channels if "mask" in needs else 0
        """The last channels, given as masks of their own."""
        self.shape = (channels - self.apart, *self.size)
        if len(keep) * channels * math.prod(held) <= MEMORY:
            self.pixels = torch.cat([self.on_demand.read(chunk) for chunk in torch.arange(len(keep)).split(256)])
            self.on_demand.threads.shutdown()
            self.on_demand = None

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, positions: Tensor) -> Tensor:
        """The images at `positions`, with all channels of masks behind theirs: uint8 (N, C, H, W) on the CPU."""
        return self._held(positions) if self.smaller is None else self.smaller.read(positions)

    def _held(self, positions: Tensor) -> Tensor:
        return self.pixels[positions] if self.on_demand is None else self.on_demand.read(positions)

    def _enlarged(self, images: Tensor) -> Tensor:
        """Floating-point images that are held, at the size that parts are taken of, no smaller than theirs; behind them
        the channels of their masks, the nearest pixel's."""
        if images.shape[2:] == self.enlarged:
            return images
        images, *masks = _apart(images, self.mask_channels)
        pictures = [resized(images, self.enlarged)] if images.shape[1] else []  # of masks alone there are none
        masks = [F.interpolate(part, self.enlarged, mode="nearest-exact") for part in masks]
        return torch.cat([*pictures, *masks], dim=1)

    def _parts(self, images: Tensor, count: int) -> Tensor:
        """A random part of self.size of each image: (N, C, …) → (N, C, *self.size)."""
        images, height, width = self._enlarged(images), *self.size
        places = [
            torch.randint(large - side + 1, (count * len(self.orders),), generator=self.rng)
            for large, side in zip(self.enlarged, self.size, strict=True)
        ]
        tops, lefts = (self._own(part).tolist() for part in places)
        return torch.stack(
            [
                image[:, top : top + height, left : left + width]
                for image, top, left in zip(images, tops, lefts, strict=True)
            ]
        )

    def _own(self, drawn: Tensor) -> Tensor:
        """This rank's part of what was drawn for a whole batch, class by class."""
        return torch.cat([distributed.own_rows(part) for part in drawn.chunk(len(self.orders))])

    def batch(self, count: int, device: torch.device, memory_format: torch.memory_format) -> Batch:
        """This rank's part of the next micro-batch of `count` images; or of `count` of every class, class by class."""
        own = torch.cat([distributed.own_rows(order.take(count, self.rng)) for order in self.orders])
        images = to_model(self._held(own).to(device))
        if self.on_demand is not None:
            # What is left of an epoch is known; after its end the next permutation is not yet drawn.
            coming = [part for order in self.orders for part in order.left.split(count)[:AHEAD] if len(part) == count]
            self.on_demand.expect(torch.cat([own[:0], *map(distributed.own_rows, coming)]))
        if self.jitter is not None:
            images = self._parts(images, count)
        if self.flip:
            drawn = torch.rand(count * len(self.orders), generator=self.rng) < 0.5
            images = mirrored(images, self._own(drawn).to(device))
        images, *masks = _apart(images, self.apart)
        images, *masks = (part.contiguous(memory_format=memory_format) for part in (images, *masks))
        return Batch(images, self.labels[own].to(device), *masks)

    def state(self) -> dict[str, Any]:
        return {"rng": self.rng.get_state(), "left": [order.left for order in self.orders]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.rng.set_state(state["rng"])
        for order, left in zip(self.orders, state["left"], strict=True):
            order.left = left

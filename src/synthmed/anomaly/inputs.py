"""Which images are taken, and whether the generator can make such images: shared by search and encoder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from synthmed import generators
from synthmed.core.errors import InputError
from synthmed.data.imageset import ImageSet
from synthmed.generators.base import Generator
from synthmed.training.device import derived_seed


def choose_images(images: ImageSet, labels: Sequence[str] | None, limit: int | None, seed: int) -> list[int]:
    """Positions of the images of `labels` (None: all), at most `limit` of each label (None: all), drawn by chance; in
    the order of the set. Raises InputError when a label has no image."""
    column = images.column("label")
    keep: list[int] = []
    for label in dict.fromkeys(column) if labels is None else labels:
        own = [position for position, value in enumerate(column) if value == label]
        if not own:
            raise InputError(
                f"setting labels names {label!r}, of which {images.path} has no image; it has {sorted(set(column))}"
            )
        if limit is not None and limit < len(own):
            rng = np.random.default_rng(derived_seed(seed, f"images of {label}"))
            own = rng.permutation(own)[:limit].tolist()
        keep += own
    return sorted(keep)


def read_images(images: ImageSet, positions: Sequence[int]) -> Tensor:
    """The images at `positions`: uint8 (N, C, H, W). Raises InputError when their shapes differ."""
    pixels = [entry[1] for entry in images.entries(positions)]
    shapes = {entry.shape for entry in pixels}
    if len(shapes) > 1:
        raise InputError(f"{images.path}: images of different shapes {sorted(shapes)}; prepare them to one size first")
    return torch.from_numpy(np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2)))


def check_model(model: Generator, path: Path, name: str, images: ImageSet) -> None:
    """Raise InputError unless the generator is the one of the settings, has a latent vector and makes such images."""
    if type(model) is not generators.load(name):
        raise InputError(f"{path}: checkpoint of {type(model).__module__}, but the setting model is {name!r}")
    if model.latent_size is None:
        raise InputError(f"{path}: {name} has no latent vector to search in; take dcgan, fastgan or pggan")
    height, width, channels = images[0].shape
    if (channels, height, width) != model.image_shape:
        raise InputError(
            f"{path}: makes images of {model.image_shape} (channels, height, width), but those of {images.path} are "
            f"{(channels, height, width)}; prepare them to the size the generator was trained on"
        )

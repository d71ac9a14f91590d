"""The latent space behind two functions, so that axes and paths know neither the generator nor which space it is."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from synthmed import generators
from synthmed.core.errors import InputError
from synthmed.generators.base import Generator
from synthmed.generators.sampling import load_generator

SpaceName = Literal["z", "w"]
"""z: the noise that the generator starts from; w: what StyleGAN maps it to, made into images without the mapping."""

_AT_ONCE = 1000
"""Codes that are mapped at once; a fixed number, because rounding depends on it."""


def restore(checkpoint: Path, model: str, device: torch.device, label: str | None = None) -> Generator:
    """The generator of `checkpoint` on `device`, frozen. label: the class it makes, where it was trained on several.
    Raises InputError unless it is a `model` with a latent vector, and the label one of its classes that it can be asked
    for."""
    gan = load_generator(checkpoint)
    if generators.GENERATORS.get(model) != type(gan).__module__:
        raise InputError(f"{checkpoint}: not of the model {model!r} but of {type(gan).__module__}; set model to it")
    if gan.latent_size is None:
        raise InputError(f"{checkpoint}: {model} has no latent vector, so there is no space to look for axes in")
    several = "label" in gan.needs and len(gan.classes) > 1
    if label is not None and len(gan.classes) > 1 and not several:
        raise InputError(
            f"{checkpoint}: {model} is unconditional, was trained on {list(gan.classes)}, and cannot be asked for "
            f"{label!r}; train it on one class at a time"
        )
    if (several or label is not None) and label not in gan.classes:
        raise InputError(f"{checkpoint}: makes the classes {list(gan.classes)}, but the setting label is {label!r}")
    gan.label = label
    return gan.to(device)


def check_space(gan: Generator, space: SpaceName, checkpoint: Path) -> None:
    """Raises InputError when the generator has no such space."""
    if space not in gan.spaces:
        raise InputError(
            f"{checkpoint}: {type(gan).__module__} has no space {space!r}; set space to one of {list(gan.spaces)}"
        )


def draw_codes(gan: Generator, space: SpaceName, count: int, seed: int) -> np.ndarray:
    """`count` codes as the generator draws them in training: float32 (count, D).

    z is standard normal, drawn by numpy: torch's numbers would depend on how many are drawn at once. A larger `count`
    begins with the same codes. w is what such z are mapped to.
    """
    z = np.random.default_rng(seed).standard_normal((count, gan.latent_size), dtype=np.float32)
    if space == "z":
        return z
    with torch.no_grad():
        parts = [gan.w_of(part.to(gan.device)).cpu() for part in torch.from_numpy(z).split(_AT_ONCE)]
    return torch.cat(parts).numpy()


def images_of(gan: Generator, space: SpaceName, codes: Tensor) -> Tensor:
    """Images of `codes` (N, D) float32 on the generator's device: (N, C, H, W) float32 in [-1, 1], no gradient."""
    with torch.no_grad():
        return gan.synthesise(codes) if space == "z" else gan.synthesise_w(codes)

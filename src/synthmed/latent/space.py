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

SpaceName = Literal["z"]
"""z: the noise that the generator starts from. (StyleGAN's w is to come: drawn by mapping z, made into images without
the mapping.)"""


def restore(checkpoint: Path, model: str, device: torch.device) -> Generator:
    """The generator of `checkpoint` on `device`, frozen. Raises InputError unless it is a `model` with a latent
    vector."""
    gan = load_generator(checkpoint)
    if generators.GENERATORS.get(model) != type(gan).__module__:
        raise InputError(f"{checkpoint}: not of the model {model!r} but of {type(gan).__module__}; set model to it")
    if gan.latent_size is None:
        raise InputError(f"{checkpoint}: {model} has no latent vector, so there is no space to look for axes in")
    return gan.to(device)


def draw_codes(gan: Generator, space: SpaceName, count: int, seed: int) -> np.ndarray:
    """`count` codes as the generator draws them in training: float32 (count, D).

    z is standard normal, drawn by numpy: torch's numbers would depend on how many are drawn at once. A larger `count`
    begins with the same codes.
    """
    assert space == "z"
    return np.random.default_rng(seed).standard_normal((count, gan.latent_size), dtype=np.float32)


def images_of(gan: Generator, space: SpaceName, codes: Tensor) -> Tensor:
    """Images of `codes` (N, D) float32 on the generator's device: (N, C, H, W) float32 in [-1, 1], no gradient."""
    assert space == "z"
    with torch.no_grad():
        return gan.synthesise(codes)

"""Augmentation of images with their masks: both are moved alike, masks without values between two.

What comes in from outside is mirrored at the rim, as in reflections of a picture and its mask alike.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor
from torch.nn import functional as F

from synthmed.augment.grids import affine_grid
from synthmed.core.settings import Share


@dataclass(frozen=True)
class PairAugmentation:
    """Classic augmentation of an image and its mask."""

    horizontal_flip: Annotated[bool, Meta(description="Mirror half of the images left-right.")]
    vertical_flip: Annotated[bool, Meta(description="Mirror half of the images top-bottom.")]
    rotation: Annotated[float, Meta(ge=0, le=180, description="Largest angle.", extra_json_schema={"unit": "degrees"})]
    zoom: Annotated[float, Meta(ge=0, lt=1, description="Largest relative change of size.")]
    shift: Annotated[Share, Meta(description="Largest shift in each direction, share of the side.")]


@dataclass(frozen=True)
class Elastic:
    """Elastic deformation (Simard et al. 2003): a random displacement of every pixel, smoothed."""

    displacement: Annotated[
        float,
        Meta(
            gt=0,
            lt=0.5,
            description="Root mean square of the displacements along each axis (of their lengths: √2 times as much), "
            "share of the longer side.",
        ),
    ]
    smoothness: Annotated[
        float, Meta(gt=0, lt=0.5, description="Standard deviation of the smoothing, share of the longer side.")
    ]


def augment_pairs(
    images: Tensor, masks: Tensor, settings: PairAugmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One random movement a pair, see PairAugmentation.

    images: (N, C, H, W) in [-1, 1]; masks: (N, K, H, W), the channels of their masks, 0 or 1, which stay 0 or 1.
    generator: on the CPU, from which all randomness comes.
    """
    count, (height, width) = len(images), images.shape[2:]
    draws = torch.rand((count, 6), generator=generator).double()
    signs = torch.where(draws[:, :2] < 0.5, -1.0, 1.0)
    signs[:, 0] = signs[:, 0] if settings.horizontal_flip else 1.0
    signs[:, 1] = signs[:, 1] if settings.vertical_flip else 1.0
    angle, size, right, down = (2 * draws[:, 2:] - 1).T
    angle, size = torch.deg2rad(angle * settings.rotation), 1 + size * settings.zoom
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    # From an output position to the input position, in coordinates where the image spans [-1, 1] both ways.
    rows = [
        torch.stack([signs[:, 0] * cos, -signs[:, 0] * sin * height / width, 2 * settings.shift * right], dim=1),
        torch.stack([signs[:, 1] * sin * width / height, signs[:, 1] * cos, 2 * settings.shift * down], dim=1),
    ]
    grid = affine_grid(torch.stack(rows, dim=1).to(images), height, width)
    return _sampled(images, masks, grid)


def deform_pairs(images: Tensor, masks: Tensor, settings: Elastic, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One random elastic deformation a pair; arguments as of augment_pairs."""
    count, (height, width) = len(images), images.shape[2:]
    noise = torch.randn((count, 2, height, width), generator=generator)
    sigma = settings.smoothness * max(height, width)
    reach = round(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    flat = noise.flatten(0, 1)[:, None]
    flat = F.conv2d(flat, kernel[None, None, :, None], padding=(reach, 0))
    smooth = F.conv2d(flat, kernel[None, None, None], padding=(0, reach)).view(noise.shape)
    pixels = smooth / smooth.square().mean((1, 2, 3), keepdim=True).sqrt() * settings.displacement * max(height, width)
    shift = pixels.permute(0, 2, 3, 1) * torch.tensor([2 / width, 2 / height])
    still = affine_grid(torch.eye(2, 3)[None], height, width)
    return _sampled(images, masks, (still + shift).to(images))


def _sampled(images: Tensor, masks: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    alike = {"padding_mode": "reflection", "align_corners": False}
    return F.grid_sample(images, grid, mode="bilinear", **alike), F.grid_sample(masks, grid, mode="nearest", **alike)

"""Augmentation of image batches in torch: DiffAugment for GANs, classic geometric augmentation for classifiers.

All randomness comes from the CPU generator that the caller gives, so results repeat and do not depend on the device.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor
from torch.nn import functional as F

from synthmed.augment.grids import affine_grid
from synthmed.core.settings import Share


@dataclass(frozen=True)
class ClassicAugmentation:
    """Classic augmentation of the classifier (seed 001, section 4.3.2: flip, ± 36°, zoom ± 10 %)."""

    horizontal_flip: Annotated[bool, Meta(description="Mirror half of the images.")]
    rotation: Annotated[float, Meta(ge=0, le=180, description="Largest angle.", extra_json_schema={"unit": "degrees"})]
    zoom: Annotated[Share, Meta(description="Largest relative change of size.")]
    padding: Annotated[Literal["reflection", "black"], Meta(description="What is seen outside the image.")]


def transform(images: Tensor, flip: Tensor, angle: Tensor, zoom: Tensor, padding: str) -> Tensor:
    """Turn, enlarge and mirror each image about its centre with bilinear interpolation.

    images: (N, C, H, W) in [-1, 1]. flip: (N,) bool, mirrored left-right before it is turned. angle: (N,) degrees,
    counter-clockwise as seen. zoom: (N,) factor, above 1 enlarges. padding: "reflection" or "black". Same shape out.
    """
    height, width = images.shape[2:]
    radians = torch.deg2rad(angle.double())
    cos, sin = torch.cos(radians) / zoom, torch.sin(radians) / zoom
    side = torch.where(flip, -1.0, 1.0).double()
    # Rows map an output position to the input position, in coordinates where the image spans [-1, 1] both ways, hence
    # the ratios. The y axis points down. The mirror image of the input is what is turned, so its x row changes sign.
    matrix = torch.stack(
        [
            torch.stack([side * cos, -side * sin * height / width, torch.zeros_like(cos)], dim=1),
            torch.stack([sin * width / height, cos, torch.zeros_like(cos)], dim=1),
        ],
        dim=1,
    ).to(images)
    grid = affine_grid(matrix, height, width)
    if padding == "reflection":
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    # grid_sample pads with 0; black is -1.
    return F.grid_sample(images + 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False) - 1


def classic_augment(images: Tensor, settings: ClassicAugmentation, generator: torch.Generator) -> Tensor:
    """One random flip, rotation and zoom per image; see ClassicAugmentation. (N, C, H, W) in [-1, 1] → the same."""
    count = len(images)
    flip = torch.rand(count, generator=generator) < 0.5
    if not settings.horizontal_flip:
        flip = torch.zeros_like(flip)
    angle = (torch.rand(count, generator=generator) * 2 - 1) * settings.rotation
    zoom = 1 + (torch.rand(count, generator=generator) * 2 - 1) * settings.zoom
    return transform(images, flip, angle, zoom, settings.padding)

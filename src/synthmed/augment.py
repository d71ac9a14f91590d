"""Augmentation of image batches in torch: DiffAugment for GANs, classic geometric augmentation for classifiers.

All randomness comes from the CPU generator that the caller gives, so results repeat and do not depend on the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from synthmed.distributed import draw

DiffAugmentPolicy = Literal["color", "translation", "cutout"]


def _uniform(images: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """One number in [low, high) per image, (N, 1, 1, 1)."""
    return (draw(torch.rand, len(images), 1, 1, 1, generator=generator) * (high - low) + low).to(images)


def color(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness + U(−0.5, 0.5), saturation × U(0, 2) about the mean over channels (nothing for one channel), contrast
    × U(0.5, 1.5) about the mean of the image. Zhao et al. 2020, section 4.1. Range may leave [-1, 1], as there."""
    images = images + _uniform(images, -0.5, 0.5, generator)
    if images.shape[1] > 1:
        grey = images.mean(dim=1, keepdim=True)
        images = (images - grey) * _uniform(images, 0.0, 2.0, generator) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * _uniform(images, 0.5, 1.5, generator) + mean


def translation(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift by whole pixels within ± 1/8 of height and width, zeros (mid-grey) move in. Zhao et al. 2020."""
    height, width = images.shape[2:]
    reach_y, reach_x = round(height / 8), round(width / 8)
    ys = draw(torch.randint, len(images), low=0, high=2 * reach_y + 1, generator=generator).tolist()
    xs = draw(torch.randint, len(images), low=0, high=2 * reach_x + 1, generator=generator).tolist()
    # Unbinding first keeps the gradient of a slice as small as one image.
    padded = F.pad(images, (reach_x, reach_x, reach_y, reach_y)).unbind(0)
    shifted = [image[:, y : y + height, x : x + width] for image, y, x in zip(padded, ys, xs, strict=True)]
    return torch.stack(shifted)


def cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    """A square of half the side is set to zero (mid-grey); its centre is anywhere in the image. Zhao et al. 2020."""
    masks = []
    for dim, size in ((2, images.shape[2]), (3, images.shape[3])):
        centre = draw(torch.randint, len(images), 1, low=0, high=size, generator=generator)
        start = centre - size // 4
        position = torch.arange(size)
        inside = (position >= start) & (position < start + size // 2)
        masks.append(inside.view(len(images), 1, size if dim == 2 else 1, size if dim == 3 else 1))
    keep = ~(masks[0] & masks[1])
    return images * keep.to(images)


_POLICIES = {"color": color, "translation": translation, "cutout": cutout}


def diff_augment(images: Tensor, policy: Sequence[DiffAugmentPolicy], generator: torch.Generator) -> Tensor:
    """Differentiable augmentation of reals and fakes for the discriminator (Zhao et al. 2020, equations 3 and 4).

    images: (N, C, H, W) in [-1, 1]; policy: applied in order, each image with its own draw; an empty policy returns the
    images unchanged. Gradients flow to the images.
    """
    for name in policy:
        images = _POLICIES[name](images, generator)
    return images


@dataclass(frozen=True)
class ClassicAugmentation:
    """Classic augmentation of the classifier (seed 001, section 4.3.2: flip, ± 36°, zoom ± 10 %).

    horizontal_flip: mirror half of the images.
    rotation: largest angle in degrees; the angle is uniform in ± rotation.
    zoom: largest relative change of size; the factor is uniform in 1 ± zoom.
    padding: what is seen outside the image: its reflection, or black (−1).
    """

    horizontal_flip: bool
    rotation: float
    zoom: float
    padding: Literal["reflection", "black"]


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
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
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

"""DiffAugment (Zhao et al. 2020): differentiable augmentation of real and generated images alike, for small sets.

All randomness comes from the CPU generator that the caller gives, so results repeat and do not depend on the device.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from synthmed.training.distributed import draw

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

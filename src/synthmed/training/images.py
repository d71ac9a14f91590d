"""What networks train on: a batch of real images, and the range of their pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


def to_model(pixels: Tensor) -> Tensor:
    """uint8 → float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_pixels(images: Tensor) -> Tensor:
    """[-1, 1] → uint8, rounded; what lies outside is clipped."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Floating-point images (N, C, H, W) at `size` (height, width): bilinear, antialiased."""
    if images.shape[2:] == size:
        return images
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)


def resized_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Channels of masks (N, K, H, W), 0 or 1, at `size` (height, width): 1 where half of what lies there is or more, as
    data.channels.resized_labels decides between an object and the background. Where three channels meet none may be."""
    return (resized(masks, size) > 0.5 - 1 / 255).to(masks)


def reduced(images: Tensor, side: int) -> Tensor:
    """Floating-point images (N, C, H, W), area-averaged by a whole factor to at most `side` pixels a side."""
    factor = -(-max(images.shape[2:]) // side)
    return images if factor == 1 else F.avg_pool2d(images, factor)


def mirrored(images: Tensor, which: Tensor) -> Tensor:
    """Images (N, C, H, W), of which those marked in `which` (N,) bool are mirrored left-right."""
    return torch.where(which[:, None, None, None], images.flip(3), images)


@dataclass(frozen=True)
class Batch:
    """Images of one (micro-)batch, of a rank its rows.

    images: (N, C, H, W) float32 in [-1, 1], on the model's device and in its memory format.
    labels: on the model's device: (N,) int64, positions in the classes of the training; of a classifier (N, T) float32,
        1 for the targets that an image has. When a generator needs images, they come class after class, batch_size of
        each, in the order of the classes.
    masks: (N, K, H, W) like the images, the channels of their masks (data/channels.py), mirrored with them; None unless
        a generator needs masks.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor | None = None

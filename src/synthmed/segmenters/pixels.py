"""The smallest segmenter: a logistic regression of every pixel on fixed filters of its surroundings, thousands at once.

It draws coarse masks, and is trained in milliseconds: so a verdict can be tried hundreds of times.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from synthmed.training.images import to_model

SCALES = (1.0, 2.0, 4.0)
"""Standard deviations of the Gaussians, in pixels."""
CHUNK = 500
"""Trainings side by side; bounds the memory. Results depend on it in the last digits."""


@dataclass(frozen=True)
class PixelTraining:
    """One training. images, masks: positions of the images and of the masks that are taken for theirs, (n,), an image
    as often as it counts; seed: from which all its random numbers follow."""

    images: np.ndarray
    masks: np.ndarray
    seed: int


def pixel_features(images: Tensor) -> Tensor:
    """Images uint8 (N, C, H, W) → float32 (N, H·W, D): colours as they are and blurred by each Gaussian of SCALES, its
    gradient's length and its Laplacian of their mean; each standardised over all pixels; and 1."""
    pixels = to_model(images)
    found = [pixels]
    for sigma in SCALES:
        blurred = _blurred(pixels, sigma)
        padded = F.pad(blurred.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
        down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
        ring = padded[..., 1:-1, 2:] + padded[..., 1:-1, :-2] + padded[..., 2:, 1:-1] + padded[..., :-2, 1:-1]
        found += [blurred, (across.square() + down.square()).sqrt(), ring - 4 * padded[..., 1:-1, 1:-1]]
    features = torch.cat(found, dim=1).flatten(2).transpose(1, 2)
    spread, mean = torch.std_mean(features, dim=(0, 1), correction=0)
    features = (features - mean) / torch.where(spread > 1e-6, spread, 1.0)
    return torch.cat([features, torch.ones_like(features[..., :1])], dim=2).contiguous()


def _blurred(images: Tensor, sigma: float) -> Tensor:
    reach = round(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).repeat(images.shape[1], 1, 1, 1)
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel.transpose(2, 3), groups=images.shape[1])
    return F.conv2d(rows, kernel, groups=images.shape[1])


def train_pixels(
    features: Tensor, drawn: Tensor, trainings: Sequence[PixelTraining], *, rate: float, steps: int, pixels: int
) -> Tensor:
    """Weights (M, D) of M trainings, by Adam at the learning rate `rate`: every step takes `pixels` random pixels of
    random images of its list and their cross-entropy.

    features: of pixel_features, (N, H·W, D); drawn: bool (N, H·W), whether a pixel belongs to what is to be drawn.
    """
    parts = [trainings[start : start + CHUNK] for start in range(0, len(trainings), CHUNK)]
    return torch.cat([_train(features, drawn, part, rate, steps, pixels) for part in parts])


def _train(
    features: Tensor, drawn: Tensor, trainings: Sequence[PixelTraining], rate: float, steps: int, pixels: int
) -> Tensor:
    count, (_, places, width) = len(trainings), features.shape
    weights = np.empty((count, width), np.float32)
    rows, masks, at = (np.empty((count, steps, pixels), np.int64) for _ in range(3))
    for number, one in enumerate(trainings):
        rng = np.random.default_rng(one.seed)
        weights[number] = 0.1 * rng.standard_normal(width)
        chosen = rng.integers(len(one.images), size=(steps, pixels))
        rows[number], masks[number] = one.images[chosen], one.masks[chosen]
        at[number] = rng.integers(places, size=(steps, pixels))
    inputs, targets = (torch.from_numpy(part * places + at) for part in (rows, masks))
    flat, truth = features.flatten(0, 1), drawn.flatten().float()
    found = torch.from_numpy(weights)
    mean, square = torch.zeros_like(found), torch.zeros_like(found)
    for step in range(steps):
        x, t = flat[inputs[:, step]], truth[targets[:, step]]
        wrong = torch.bmm(x, found[:, :, None])[:, :, 0].sigmoid() - t
        gradient = torch.bmm(wrong[:, None], x)[:, 0] / pixels
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient.square()
        unbiased = mean / (1 - 0.9 ** (step + 1)), square / (1 - 0.999 ** (step + 1))
        found = found - rate * unbiased[0] / (unbiased[1].sqrt() + 1e-8)
    return found


def pixel_ious(features: Tensor, drawn: Tensor, weights: Tensor) -> np.ndarray:
    """IoU of what M trainings draw on N images, float64 (M, N); 1 where neither draws anything."""
    ours, theirs = torch.matmul(features, weights.T) > 0, drawn[:, :, None]
    both, either = (ours & theirs).sum(1).double(), (ours | theirs).sum(1).double()
    return torch.where(either > 0, both / either.clamp(min=1), 1.0).T.numpy()

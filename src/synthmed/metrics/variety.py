"""How different images are that should differ: distances between all pairs of a few."""

import itertools

import numpy as np

from synthmed.metrics.similarity import RADIUS, ms_ssim


def pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of all pairs of `count` images: two arrays (count · (count − 1) / 2,)."""
    first, second = zip(*itertools.combinations(range(count), 2), strict=True)
    return np.array(first), np.array(second)


def deviation(images: np.ndarray) -> float:
    """Standard deviation of a pixel over images (N ≥ 2, H, W, C) uint8, root mean square over pixels: grey levels."""
    return float(np.sqrt(images.astype(np.float64).var(axis=0, ddof=1).mean()))


def mean_ms_ssim(images: np.ndarray) -> float | None:
    """Mean MS-SSIM of all pairs of images (N ≥ 2, H, W, C) uint8, 1 where all are equal; None where they are too small
    for its window."""
    if min(images.shape[1:3]) <= 2 * RADIUS:
        return None
    first, second = pairs(len(images))
    return float(ms_ssim(images[first], images[second]).mean())

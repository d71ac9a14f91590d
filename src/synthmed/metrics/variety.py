"""How different images are that should differ: distances between all pairs of a few."""

import itertools

import numpy as np

from synthmed.metrics.similarity import RADIUS, ms_ssim

MEASURES = ("ms_ssim", "lpips")
"""What is measured of pairs of images of a set."""


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


def ms_ssim_between_all(images: np.ndarray, batch: int) -> np.ndarray | None:
    """MS-SSIM of all pairs of images (N ≥ 2, H, W, C) uint8, `batch` pairs at a time: (N, N), 1 on the diagonal; None
    as of mean_ms_ssim."""
    if min(images.shape[1:3]) <= 2 * RADIUS:
        return None
    found = np.eye(len(images))
    first, second = pairs(len(images))
    for start in range(0, len(first), batch):
        one, other = first[start : start + batch], second[start : start + batch]
        found[one, other] = found[other, one] = ms_ssim(images[one], images[other])
    return found


def mean_of_pairs(values: np.ndarray, units: np.ndarray) -> tuple[float, np.ndarray] | None:
    """Mean of a symmetric (N, N) over pairs of different units, and the influence of each image on it, (N,).

    units: int (N,), equal for images of one patient, whose pairs are left out. The influence is that of
    resampling.linearised_deviations: giving image i the weight wᵢ moves the mean by Σᵢ (wᵢ − 1) · influenceᵢ / N (first
    order; of a U-statistic, Hoeffding 1948). None where all images are of one unit.
    """
    apart = units[:, None] != units[None]
    if not apart.any():
        return None
    mean = float(values[apart].mean())
    influence = np.where(apart, values - mean, 0).sum(axis=1) * 2 * len(values) / apart.sum()
    return mean, influence

"""How alike two images are, pixel by pixel and in their structure: PSNR, SSIM and MS-SSIM.

Images are uint8, (N, H, W, C); pairs are compared, first[i] with second[i]. All are computed in float64.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from synthmed.core.errors import InputError

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, from full size down (Wang, Simoncelli & Bovik 2003, section 3.2)."""

RADIUS = 5
"""Of the window: 11 pixels, Gaussian, standard deviation 1.5 (Wang et al. 2004)."""

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each pair, 10 log₁₀(255² / mean squared error) dB: (N,); infinite if equal."""
    first, second = _doubles(first, second)
    error = np.square(first - second).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / error)


def ssim(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Structural similarity of each pair (Wang et al. 2004): (N,), at most 1.

    Mean over the pixels whose window lies inside the image, and over channels. Raises InputError below 11 pixels.
    """
    first, second = _doubles(first, second)
    _needed(first.shape, 1)
    luminance, structure = _components(first, second)
    return (luminance * structure).mean(axis=(1, 2, 3))


def scales_of(height: int, width: int) -> int:
    """How many of the five scales an image has in which the window fits; each is half of the one before."""
    side = min(height, width)
    return sum(side // 2**scale > 2 * RADIUS for scale in range(len(SCALE_WEIGHTS)))


def ms_ssim(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Multi-scale structural similarity of each pair (Wang, Simoncelli & Bovik 2003, equation 7): (N,), 0 to 1.

    Images below 176 pixels have fewer than five scales; the exponents of those that fit are enlarged to a sum of 1, so
    numbers compare at one size only. A negative mean of contrast and structure counts 0. Mean over channels. Raises
    InputError below 11 pixels.
    """
    first, second = _doubles(first, second)
    count = scales_of(*first.shape[1:3])
    _needed(first.shape, count)
    weights = np.array(SCALE_WEIGHTS[:count]) / sum(SCALE_WEIGHTS[:count])
    product = np.ones((len(first), first.shape[3]))
    for scale, weight in enumerate(weights):
        luminance, structure = _components(first, second)
        if scale == count - 1:
            structure = luminance * structure
        product *= np.clip(structure.mean(axis=(1, 2)), 0, None) ** weight
        first, second = _halved(first), _halved(second)
    return product.mean(axis=1)


def _doubles(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if first.shape != second.shape or first.ndim != 4:
        raise InputError(f"images {first.shape} and {second.shape} must have one shape (N, H, W, C) to be compared")
    return first.astype(np.float64), second.astype(np.float64)


def _needed(shape: tuple[int, ...], count: int) -> None:
    if not count or min(shape[1:3]) <= 2 * RADIUS:
        raise InputError(f"structural similarity needs images of {2 * RADIUS + 1}² pixels or more, not {shape[1:3]}")


def _components(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast · structure at every pixel whose window lies inside, (N, H − 10, W − 10, C)."""

    def windowed(values: np.ndarray) -> np.ndarray:
        means = gaussian_filter(values, 1.5, radius=RADIUS, axes=(1, 2))
        return means[:, RADIUS:-RADIUS, RADIUS:-RADIUS]

    mean1, mean2 = windowed(first), windowed(second)
    product = mean1 * mean2
    squares = mean1**2 + mean2**2
    covariance = windowed(first * second) - product
    variances = windowed(first**2 + second**2) - squares
    return (2 * product + _C1) / (squares + _C1), (2 * covariance + _C2) / (variances + _C2)


def _halved(images: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 pixels; of an odd side the last pixel is left out."""
    count, height, width, channels = images.shape
    even = images[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(count, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))

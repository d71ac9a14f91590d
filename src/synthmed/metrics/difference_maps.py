"""From residuals (image minus reconstruction) to maps of what is abnormal, and from maps to one score an image."""

from typing import Literal, get_args

import numpy as np
from scipy import ndimage

from synthmed.core.errors import InputError

Sign = Literal["positive", "absolute"]
"""positive: only where the image is brighter than its reconstruction, as a shadow is (the document, figure 14)."""
Score = Literal["mean_square", "top_positive", "top_absolute"]
"""mean_square: mean squared residual, which the search minimised; the others: mean of the largest values of the map."""
SIGNS: tuple[Sign, ...] = get_args(Sign)
SCORES: tuple[Score, ...] = get_args(Score)


def difference_maps(residuals: np.ndarray, sign: Sign) -> np.ndarray:
    """Residuals (N, H, W, C), in units of images in 0 … 1 → maps (N, H, W) float32, 0 or more; channels averaged."""
    grey = residuals.astype(np.float32).mean(axis=3)
    return np.maximum(grey, 0) if sign == "positive" else np.abs(grey)


def post_process(maps: np.ndarray, smoothing: float, border: float) -> np.ndarray:
    """Maps (N, H, W) without what is no finding: smoothed, so that a thin edge that the generator put a pixel beside
    its place sinks and a patch stays, and set to 0 near the edge of the image.

    smoothing: standard deviation of the Gaussian; border: width of the frame; both as shares of the shorter side.
    """
    if smoothing < 0 or not 0 <= border < 0.5:
        raise InputError(f"smoothing ({smoothing}) must be 0 or more, border ({border}) 0 or more and below 0.5")
    side = min(maps.shape[1:])
    if smoothing > 0:
        maps = ndimage.gaussian_filter(maps, (0, smoothing * side, smoothing * side), mode="nearest")
    width = round(border * side)
    if width == 0:
        return maps
    inner = np.zeros_like(maps)
    inner[:, width:-width, width:-width] = maps[:, width:-width, width:-width]
    return inner


def top_mean(maps: np.ndarray, share: float) -> np.ndarray:
    """Mean of the largest `share` of each map's pixels (at least one), (N,), of maps (N, H, W)."""
    if not 0 < share <= 1:
        raise InputError(f"the share of pixels is {share}; it must be above 0 and at most 1")
    values = maps.reshape(len(maps), -1)
    count = max(1, round(share * values.shape[1]))
    return np.partition(values, values.shape[1] - count, axis=1)[:, -count:].mean(axis=1, dtype=np.float64)


def image_scores(maps: dict[Sign, np.ndarray], score: Score, share: float) -> np.ndarray:
    """One score for each image, (N,) float64, higher = more abnormal. maps: sign → (N, H, W); share: see top_mean."""
    if score == "mean_square":
        return np.square(maps["absolute"], dtype=np.float64).mean(axis=(1, 2))
    return top_mean(maps["positive" if score == "top_positive" else "absolute"], share)

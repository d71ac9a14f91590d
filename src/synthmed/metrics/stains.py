"""Colours of one image brought to those of another: stains tell a laboratory, and often the slide.

Reinhard, Ashikhmin, Gooch & Shirley 2001, Color transfer between images, IEEE Comput Graph Appl 21(5):34: means and
deviations in lαβ, where the channels of natural images are nearly independent.
"""

from typing import NamedTuple

import numpy as np

_TO_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
"""Their equation 4: responses of the cones to red, green, blue."""
_TO_LAB = np.diag(1 / np.sqrt([3.0, 6.0, 2.0])) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
"""Equation 6: of the logarithms of L, M and S."""
_FLOOR = 1 / 255
"""Below it a response is taken for it, so that black has a logarithm."""


class Colours(NamedTuple):
    """mean, deviation: (3,), of the channels l, α and β."""

    mean: np.ndarray
    deviation: np.ndarray


def to_lab(pixels: np.ndarray) -> np.ndarray:
    """RGB uint8 (…, 3) → lαβ, float64."""
    return np.log10(np.maximum(pixels / 255 @ _TO_LMS.T, _FLOOR)) @ _TO_LAB.T


def from_lab(lab: np.ndarray) -> np.ndarray:
    """The inverse, rounded and clipped."""
    rgb = 10 ** (lab @ np.linalg.inv(_TO_LAB).T) @ np.linalg.inv(_TO_LMS).T
    return np.clip(np.rint(255 * rgb), 0, 255).astype(np.uint8)


def colours_of(images: np.ndarray) -> Colours:
    """The mean over images (N, H, W, 3) of their means and deviations."""
    lab = to_lab(images)
    return Colours(lab.mean(axis=(0, 1, 2)), lab.std(axis=(1, 2)).mean(axis=0))


def normalised(images: np.ndarray, target: Colours) -> np.ndarray:
    """Each of the images uint8 (N, H, W, 3) with the colours `target`; what has no deviation keeps none."""
    lab = to_lab(images)
    mean, deviation = (of(axis=(1, 2), keepdims=True) for of in (lab.mean, lab.std))
    return from_lab((lab - mean) * target.deviation / np.maximum(deviation, 1e-9) + target.mean)

"""From path lengths to a radiograph: Beer-Lambert absorption, scatter, quantum noise and the film's curve."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

ATTENUATION = 0.165
"""1/cm: effective linear attenuation of water in a chest beam of about 100 kVp, filtered by the patient."""


@dataclass(frozen=True)
class Exposure:
    """How a film was taken and developed."""

    scatter: float  # scattered over primary radiation, averaged over the film
    quanta: float  # per pixel in the direct beam; fewer are noisier
    low: float  # shift of the black point, in units of the grey range
    high: float  # shift of the white point
    gamma: float  # > 1 darkens
    contrast: float  # 0 linear … 1 a steep S curve
    detail: float  # strength of the edge enhancement of digital systems
    tilt: tuple[float, float]  # uneven beam: slope of the logarithm across the film, left-right and top-bottom


def draw_exposure(rng: np.random.Generator) -> Exposure:
    return Exposure(
        scatter=rng.uniform(0.35, 0.8),
        quanta=float(np.exp(rng.uniform(np.log(12000), np.log(120000)))),
        low=rng.normal(0, 0.06),
        high=rng.normal(0, 0.05),
        gamma=float(np.exp(rng.normal(0, 0.16))),
        contrast=rng.uniform(0.0, 0.7),
        detail=rng.uniform(0, 0.45),
        tilt=(rng.normal(0, 0.06), rng.normal(0, 0.06)),
    )


def _low_pass(values: np.ndarray) -> np.ndarray:
    """Very smooth copy (structures beyond about an eighth of the film), cheap: shrink, then enlarge."""
    height, width = values.shape
    image = Image.fromarray(values)
    small = image.resize((10, max(4, round(10 * height / width))), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def expose(rng: np.random.Generator, path: np.ndarray, exposure: Exposure, levels: int) -> np.ndarray:
    """Radiograph of `path` (float32 (h, w), cm of water): float32 (h, w) in [0, 1], bone bright, air dark.

    levels: how many different values the film's curve has, 1024 (10 bit) for films that are kept in 8 bits.
    """
    height, width = path.shape
    primary = np.exp(np.float32(-ATTENUATION) * path)
    # Scatter is so broad that it follows the mean brightness around a point, not the point.
    total = primary + np.float32(exposure.scatter) * np.maximum(_low_pass(np.minimum(primary, np.float32(0.4))), 0.01)
    noise = rng.standard_normal(path.shape, dtype=np.float32)
    noise *= np.float32(exposure.quanta**-0.5)
    noise /= np.sqrt(total)
    density = np.subtract(noise, np.log(total, out=total), out=noise)
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None] * np.float32(exposure.tilt[0])
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * np.float32(exposure.tilt[1])
    density += across + down
    density *= np.float32(1 + exposure.detail)
    density -= np.float32(exposure.detail) * _low_pass(density)
    # Automatic grey range: from the darkest lung to the densest abdomen, as a technician or the machine would set it.
    middle = density[height // 8 : -height // 8 : 4, width // 6 : -width // 6 : 4]
    dark, bright = np.percentile(middle, (2, 98))
    span = bright - dark
    black = dark - span * (0.28 + exposure.low)
    white = bright + span * (0.06 + exposure.high)
    density -= np.float32(black)
    density *= np.float32(1 / (white - black))
    value = np.minimum(np.maximum(density, 0, out=density), 1, out=density)
    value *= levels - 1
    curve = np.linspace(0, 1, levels, dtype=np.float32) ** np.float32(exposure.gamma)
    curve += np.float32(exposure.contrast) * (curve * curve * (3 - 2 * curve) - curve)
    return curve[value.astype(np.int16)]

"""The colour of skin under a dermatoscope: light that pigments at several depths let through.

Remitted light falls exponentially with every pigment (Beer-Lambert), each with its own strength in red, green and blue.
So melanin near the surface is brown and with more of it black, melanin deep in the dermis slate blue (short waves come
back before they reach it), blood red; keratin and scars are white on top of all.
"""

from dataclasses import dataclass

import numpy as np
from skimage.color import rgb2lab

from synthmed.data.phantoms.canvas import Grid, smooth_noise

_DERMIS = np.array([0.88, 0.71, 0.61], np.float32)
"""Linear RGB of skin without any pigment."""
_MELANIN = np.array([0.50, 0.95, 1.45], np.float32)
_DEEP = np.array([1.45, 1.10, 0.75], np.float32)
_BLOOD = np.array([0.10, 0.95, 0.80], np.float32)
"""Absorption in red, green and blue of one unit of melanin near the surface, melanin in the dermis, blood."""
_WHITE = np.array([0.86, 0.80, 0.78], np.float32)
_YELLOW = np.array([0.80, 0.60, 0.30], np.float32)
BLOOD = 0.22
"""Units of blood in skin that is neither pale nor inflamed."""


@dataclass
class Layers:
    """What lies in the skin at every pixel, float32 (h, w): units of melanin, deep melanin and blood, and how much of
    the light white (keratin, scar) and yellow (sebum, crust) send back themselves, 0 … 1. Lesions add to it."""

    melanin: np.ndarray
    deep: np.ndarray
    blood: np.ndarray
    white: np.ndarray
    yellow: np.ndarray

    def light(self) -> np.ndarray:
        """Remitted light, linear RGB float32 (h, w, 3) in [0, 1]."""
        light = np.empty((*self.melanin.shape, 3), np.float32)
        for channel in range(3):
            taken = self.melanin * _MELANIN[channel] + self.deep * _DEEP[channel] + self.blood * _BLOOD[channel]
            one = _DERMIS[channel] * np.exp(-np.maximum(taken, 0))
            one += (_YELLOW[channel] - one) * np.clip(self.yellow, 0, 1)
            light[..., channel] = one + (_WHITE[channel] - one) * np.clip(self.white, 0, 1)
        return light


def encoded(light: np.ndarray) -> np.ndarray:
    """Linear light [0, 1] as sRGB values [0, 1] (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** np.float32(1 / 2.4) - 0.055)


def ita(rgb: np.ndarray) -> np.ndarray:
    """Individual typology angle in degrees of sRGB values [0, 1] (…, 3): arctan((L* − 50) / b*) (Chardon 1991).

    Above 55 very light, 41 light, 28 intermediate, 10 tan, −30 brown, below dark.
    """
    lab = rgb2lab(rgb)
    return np.degrees(np.arctan2(lab[..., 0] - 50, lab[..., 2]))


_AMOUNTS = np.linspace(0, 4, 201, dtype=np.float32)
_ANGLES = ita(encoded(_DERMIS * np.exp(-_AMOUNTS[:, None] * _MELANIN - BLOOD * _BLOOD)))


def melanin_of(angle: float) -> float:
    """Units of melanin of skin with this ITA (degrees); the nearest that there is beyond the range."""
    return float(np.interp(-angle, -_ANGLES, _AMOUNTS))


def healthy(rng: np.random.Generator, grid: Grid, angle: float) -> Layers:
    """Skin without a lesion, of the ITA `angle` on average: mottled, with the fine furrows of its relief."""
    patches, blush = smooth_noise(rng, grid, 0.35), smooth_noise(rng, grid, 0.2)
    furrows = _furrows(rng, grid)
    grain = smooth_noise(rng, grid, 2.2 * grid.pixel)
    melanin = melanin_of(angle) * (1 + 0.10 * patches + 0.06 * grain) + 0.05 * furrows
    blood = np.float32(BLOOD) * (1 + 0.16 * blush + 0.10 * grain + 0.25 * furrows)
    nothing = np.zeros(grid.shape, np.float32)
    return Layers(melanin.astype(np.float32), nothing, blood, nothing.copy(), nothing.copy())


def _furrows(rng: np.random.Generator, grid: Grid) -> np.ndarray:
    """Two crossing sets of wavy lines, float32 (h, w) around 0."""
    bend = smooth_noise(rng, grid, 0.25)
    total = np.zeros(grid.shape, np.float32)
    first = rng.uniform(0, np.pi)
    for angle in (first, first + rng.uniform(0.8, 1.6)):
        spacing = max(rng.uniform(0.035, 0.06), 4 * grid.pixel)
        along = grid.x * np.float32(np.cos(angle)) + grid.y * np.float32(np.sin(angle))
        wave = np.cos((2 * np.pi / spacing) * along + 2.2 * bend)
        wave *= wave
        total += wave * wave - np.float32(0.375)
    return total * (0.5 + 0.5 * np.clip(smooth_noise(rng, grid, 0.3), -1, 1))

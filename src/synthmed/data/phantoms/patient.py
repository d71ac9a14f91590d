"""Who is X-rayed: sex, age and the sizes that go with them, and the proportions that all adults share.

Sizes are those of textbooks of radiographic anatomy, rounded: lungs about 20-27 cm high, a chest 24-31 cm wide inside,
a heart of 40-55 % of that width.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator


def _profile(heights: tuple[float, ...], values: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Dense table of a smooth monotone curve, made once, so that a film only needs np.interp."""
    dense = np.linspace(heights[0], heights[-1], 400)
    return dense, PchipInterpolator(heights, values)(dense)


# Against the fraction of the lung's height (0 apex, 1 diaphragm): fractions of the chest's half width or depth.
_TOP = (0, 0.006, 0.02, 0.05, 0.1, 0.2)
LATERAL = _profile(
    (*_TOP, 0.35, 0.5, 0.7, 0.9, 1.1, 1.4),
    (0.36, 0.42, 0.475, 0.545, 0.62, 0.745, 0.865, 0.935, 0.985, 1.0, 0.99, 0.95),
)
"""Outer border of the lung."""
MEDIAL = _profile((*_TOP, 0.4, 1.4), (0.36, 0.29, 0.235, 0.18, 0.145, 0.125, 0.11, 0.1))
"""Inner border of the lung, where it is not pushed away by heart and vessels."""
CAGE = _profile(
    (-0.16, -0.1, -0.04, 0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1.1, 1.5),
    (0.18, 0.32, 0.47, 0.53, 0.6, 0.665, 0.78, 0.895, 0.965, 1.015, 1.03, 1.02, 0.97),
)
"""Outer border of the ribs."""
DEPTH = _profile((0, 0.02, 0.06, 0.12, 0.25, 0.45, 0.7, 1.4), (0.12, 0.26, 0.42, 0.56, 0.78, 0.94, 1.0, 1.0))
"""Front to back of the lung."""


@dataclass(frozen=True)
class Patient:
    """Who is X-rayed. Lengths in cm."""

    sex: str  # "F" or "M"
    age: int  # years
    lung_height: float
    half_width: float  # of the chest inside, at its widest
    depth: float  # front to back, inside, at its deepest
    wall: float  # thickness of muscle and fat over the ribs
    heart_width: float  # cardiothoracic ratio
    bone: float  # mineral content, 1 = young adult
    breast: float  # thickness of a breast in the beam, 0 in men
    blades_inwards: float  # how far the shoulder blades lie over the lungs, 0 when the arms are turned inwards (PA)


def draw_patient(rng: np.random.Generator) -> Patient:
    """A random adult of 18 to 89 years."""
    sex = "F" if rng.random() < 0.45 else "M"
    age = int(np.clip(rng.normal(44, 17), 18, 89))
    female = sex == "F"
    stature = rng.normal(0, 1)
    build = rng.normal(0, 1)  # slim to obese
    return Patient(
        sex=sex,
        age=age,
        lung_height=float(
            np.clip((22.6 if female else 24.8) + 1.3 * stature - 0.5 * build + rng.normal(0, 0.8), 18, 29)
        ),
        half_width=float(
            np.clip((12.7 if female else 14.2) + 0.4 * stature + 0.5 * build + rng.normal(0, 0.4), 11, 16.5)
        ),
        depth=float((14.0 if female else 16.0) + 0.8 * build + rng.normal(0, 0.8)),
        wall=float(np.clip(2.3 + 0.7 * build + (0.2 if female else 0.4), 1.2, 5.0)),
        heart_width=float(np.clip(rng.normal(0.46 + 0.0008 * (age - 40) + 0.012 * build, 0.035), 0.37, 0.6)),
        bone=float(np.clip(rng.normal(1.05 - 0.004 * max(age - 45, 0) - (0.06 if female else 0), 0.1), 0.65, 1.3)),
        breast=float(np.clip(1.9 + 0.9 * build + rng.normal(0, 0.6), 0.5, 4.5)) if female else 0.0,
        blades_inwards=0.0,
    )

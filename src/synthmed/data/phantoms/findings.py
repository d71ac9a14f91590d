"""What can be planted into a healthy chest, with its truth: tuberculosis, and harmless shadows like it.

A finding is a map of additional water (cm) inside the lungs. `FINDINGS` names every kind; other experiments add theirs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from synthmed.data.phantoms.anatomy import Anatomy
from synthmed.data.phantoms.canvas import Grid, SoftDrawing, add_ellipsoid, smooth_noise


@dataclass(frozen=True)
class Severity:
    """How plain a finding is. Both factors fall as the difficulty rises."""

    thickness: float  # factor on the water in the beam
    size: float  # factor on the diameter


def severity(rng: np.random.Generator, difficulty: float, faintest: float) -> Severity:
    """Severity of one finding at `difficulty` 0 (plain) … 1 (at the limit of what is visible).

    The spread between findings is the same at every difficulty: each set has plainer and fainter cases. faintest: the
    thickness of the faintest relative to the middle one, 0 for no such limit.
    """
    # The power spreads the useful range; benchmarks/phantom_learning_curve.py shows what the values mean.
    hidden = difficulty**1.4
    spread = max(faintest, float(np.exp(rng.normal(0, 0.3))))
    return Severity(thickness=spread * math.exp(-2.6 * hidden), size=rng.uniform(0.85, 1.15) * (1 - 0.5 * hidden))


def upper_zone(rng: np.random.Generator, anatomy: Anatomy) -> tuple[float, float]:
    """A place (x, y) in cm in the upper third of one lung, where tuberculosis of adults sits."""
    side = -1 if rng.random() < 0.55 else 1
    height, half = anatomy.patient.lung_height, anatomy.patient.half_width
    down = rng.uniform(0.07, 0.3)
    return side * rng.uniform(0.27, 0.36 + 0.9 * down) * half, down * height


def blob(rng: np.random.Generator, grid: Grid, centre: tuple[float, float], radius: float, ragged: float) -> np.ndarray:
    """Cloud with a ragged outline, 0..1, float32 (h, w)."""
    cloud = np.zeros(grid.shape, np.float32)
    axes = (1.5 * radius * rng.uniform(0.8, 1.2), 1.5 * radius * rng.uniform(0.65, 1.0))
    add_ellipsoid(cloud, grid, centre, axes, rng.uniform(0, np.pi), 1)
    rows, columns = grid.window(
        centre[0] - 2 * radius, centre[0] + 2 * radius, centre[1] - 2 * radius, centre[1] + 2 * radius
    )
    part = Grid(grid.x[:, columns], grid.y[rows], grid.pixel)
    if min(part.shape) == 0:
        return cloud
    noise = smooth_noise(rng, part, 1.3) + 0.6 * smooth_noise(rng, part, 0.6)
    cloud[rows, columns] = np.clip(cloud[rows, columns] * (1.25 + ragged * noise) - 0.3, 0, 1)
    return cloud


def apical_opacity(rng: np.random.Generator, anatomy: Anatomy, grid: Grid, level: Severity) -> np.ndarray:
    """Consolidation of an apex: one ragged cloud of 2-4 cm radius."""
    cloud = blob(rng, grid, upper_zone(rng, anatomy), rng.uniform(2.0, 3.6) * level.size, 0.35)
    return cloud * np.float32(5.0 * level.thickness)


def nodular_infiltrate(rng: np.random.Generator, anatomy: Anatomy, grid: Grid, level: Severity) -> np.ndarray:
    """A patch of small nodules and short strands with a little haze between them."""
    x, y = upper_zone(rng, anatomy)
    reach = rng.uniform(2.0, 3.6) * level.size
    drawing = SoftDrawing(grid, full=4, soft=0.15)
    for _ in range(int(rng.integers(10, 28))):
        spot = (x + rng.normal(0, 0.55) * reach, y + rng.normal(0, 0.5) * reach)
        drawing.disc(spot, rng.uniform(0.18, 0.5), min(4, rng.uniform(1.8, 3.6)))
    strands = rng.normal(0, 0.5, (6, 2, 2)) * reach + np.array([x, y])
    drawing.strokes(strands, np.full(6, 0.15), np.full(6, 1.5))
    haze = blob(rng, grid, (x, y), reach, 0.3) * np.float32(1.6)
    return (drawing.map() + haze) * np.float32(level.thickness)


def cavity(rng: np.random.Generator, anatomy: Anatomy, grid: Grid, level: Severity) -> np.ndarray:
    """A ring with a dark centre (2-5 cm across, wall 0.3-0.7 cm) in a haze."""
    x, y = upper_zone(rng, anatomy)
    radius = rng.uniform(1.3, 2.4) * level.size
    wall = rng.uniform(0.22, 0.34) * radius
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(0.8, 1.0)
    ring = np.zeros(grid.shape, np.float32)
    add_ellipsoid(ring, grid, (x, y), (radius, stretch * radius), angle, 2 * radius)
    add_ellipsoid(ring, grid, (x, y), (radius - wall, stretch * radius - wall), angle, -2 * (radius - wall))
    haze = blob(rng, grid, (x + rng.normal(0, 0.5), y + rng.normal(0, 0.5)), 1.5 * radius, 0.4)
    inner = np.zeros(grid.shape, np.float32)
    add_ellipsoid(inner, grid, (x, y), (radius - wall, stretch * radius - wall), angle, 1)
    return (1.8 * ring + 1.5 * haze * (1 - inner)) * np.float32(level.thickness)


FINDINGS: dict[str, Callable[[np.random.Generator, Anatomy, Grid, Severity], np.ndarray]] = {
    "apical opacity": apical_opacity,
    "nodular infiltrate": nodular_infiltrate,
    "cavity": cavity,
}

TUBERCULOSIS = ("apical opacity", "nodular infiltrate", "cavity")
"""The kinds of the class `abnormal`."""


ROOM = 0.7
"""cm of water that fit into 1 cm of inflated lung (all of its air, nearly)."""


def plant(anatomy: Anatomy, water: np.ndarray) -> np.ndarray:
    """Path of water with `water` cm of it taking the place of air, as far as there is room; float32 (h, w)."""
    return anatomy.path() + np.minimum(water, ROOM * anatomy.air)


def harmless_shadows(rng: np.random.Generator, anatomy: Anatomy, grid: Grid) -> np.ndarray:
    """What normals and abnormals alike may have: apical caps, calcified first ribs, granulomas, veils, plaits.

    Without them a mere measure of the brightness above the clavicles would tell the classes apart.
    """
    height, half = anatomy.patient.lung_height, anatomy.patient.half_width
    water = np.zeros(grid.shape, np.float32)
    old = anatomy.patient.age > 45
    for side in (-1, 1):
        if rng.random() < (0.5 if old else 0.2):  # apical cap: a thin crescent of scar under the top of the pleura
            thick = rng.uniform(0.3, 1.6)
            add_ellipsoid(
                water,
                grid,
                (side * 0.37 * half, 0.01 * height),
                (0.16 * half, rng.uniform(0.03, 0.06) * height),
                0,
                thick,
            )
        if rng.random() < (0.7 if old else 0.25):  # calcified cartilage of the first rib
            place = (side * rng.uniform(0.26, 0.36) * half, rng.uniform(0.155, 0.21) * height)
            axes = (rng.uniform(0.6, 1.4), rng.uniform(0.4, 0.8))
            add_ellipsoid(water, grid, place, axes, side * rng.uniform(0.2, 0.8), rng.uniform(0.4, 1.5))
        if rng.random() < 0.35:  # uneven blood flow or muscle: a broad faint veil anywhere
            place = (side * rng.uniform(0.3, 0.8) * half, rng.uniform(0.05, 0.8) * height)
            add_ellipsoid(
                water, grid, place, (rng.uniform(2, 5), rng.uniform(2, 4)), rng.uniform(0, 3), rng.uniform(0.2, 0.9)
            )
    for _ in range(rng.poisson(0.4)):  # granulomas: tiny and dense, in any zone
        place = (rng.choice([-1, 1]) * rng.uniform(0.3, 0.85) * half, rng.uniform(0.08, 0.85) * height)
        radius = rng.uniform(0.15, 0.35)
        add_ellipsoid(water, grid, place, (radius, radius), 0, rng.uniform(0.8, 2.0))
    if rng.random() < 0.12:  # linear atelectasis above the diaphragm
        drawing = SoftDrawing(grid, full=2, soft=0.15)
        x, y = rng.choice([-1, 1]) * rng.uniform(0.4, 0.7) * half, rng.uniform(0.78, 0.9) * height
        turn = rng.normal(0, 0.15)
        drawing.line([(x - 2, y - 2 * turn), (x, y), (x + 2, y + 2 * turn + rng.normal(0, 0.3))], 0.3, 1.2)
        water += drawing.map()
    if rng.random() < 0.06:  # plait of hair or folded cloth over one apex
        drawing = SoftDrawing(grid, full=2, soft=0.4)
        side = rng.choice([-1, 1])
        x = side * rng.uniform(0.25, 0.5) * half
        drawing.line(
            [(x, -7), (x + rng.normal(0, 0.8), 0.05 * height), (x + rng.normal(0, 1.2), 0.2 * height)],
            rng.uniform(1, 2),
            0.7,
        )
        water += drawing.map()
    return water

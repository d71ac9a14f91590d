"""A patient's chest seen from the front: body, lungs, mediastinum, vessels (bones: skeleton.py)."""

from dataclasses import dataclass

import numpy as np

from synthmed.data.phantoms.canvas import Grid, SoftDrawing, add_ellipsoid, as_column, smooth_noise, smooth_step
from synthmed.data.phantoms.patient import CAGE, DEPTH, LATERAL, MEDIAL, Patient
from synthmed.data.phantoms.skeleton import add_girdle, add_ribs, add_spine_and_airways

LUNG_DENSITY = 0.26
"""g/cm³ of inflated lung; the rest of its path is air that the beam does not see."""


@dataclass(frozen=True)
class Anatomy:
    """What the beam meets. Maps are float32 (h, w) in cm; `lungs` is uint8 (h, w): 1 right lung, 2 left.

    air: length of lung in the beam (its density is LUNG_DENSITY); tissue: everything but the lungs' missing weight;
    vessels: blood in the lungs that `air` leaves out; ribs: the part of `tissue` that is ribs; below: no length but a
    share, 0 above the diaphragm … 1 under it.
    """

    patient: Patient
    tissue: np.ndarray
    air: np.ndarray
    lungs: np.ndarray
    vessels: np.ndarray
    ribs: np.ndarray
    below: np.ndarray

    def path(self) -> np.ndarray:
        """Path of water in cm, float32 (h, w), never negative."""
        return np.maximum(self.tissue - np.float32(1 - LUNG_DENSITY) * self.air, 0)


def _body(rng: np.random.Generator, patient: Patient, grid: Grid) -> np.ndarray:
    """Soft tissue of neck, shoulders, trunk and arms as if the chest were solid."""
    x, row = np.abs(grid.x), grid.y[:, 0]
    height, wall = patient.lung_height, patient.wall
    armpit = rng.uniform(6, 12)
    # Trunk: chest cage and wall, an ellipse in cross-section; flat towards the neck, deep at the abdomen.
    cage = np.interp(row / height, *CAGE) * patient.half_width
    trunk = np.maximum(cage, 0.8 * patient.half_width) + wall + 0.8 * np.exp(-(((row - 3) / 5) ** 2))
    deep = 0.5 + 0.5 * smooth_step((row + 7) / (7 + 0.45 * height)) + 0.12 * smooth_step((row / height - 0.75) / 0.5)
    deep *= patient.depth + 1.6 * wall
    ratio = np.minimum(x / as_column(trunk), 1)
    ratio *= ratio
    body = np.sqrt(1 - ratio * ratio) * as_column(deep)
    # Shoulders and, beside the trunk, the arms.
    spread = rng.uniform(-0.05, 0.35)
    centre = trunk + rng.uniform(2.0, 4.0) + spread * np.maximum(row - armpit, 0)
    radius = rng.uniform(3.8, 5.0) + 0.3 * wall + 3.0 * (1 - smooth_step((row - armpit + 9) / 12))
    across = (x - as_column(centre)) / as_column(radius)
    across *= across
    body = np.maximum(body, np.sqrt(np.maximum(1 - across, 0)) * as_column(1.7 * np.minimum(radius, 6.4)))
    girdle = (rng.uniform(9.5, 12.5) + 0.9 * wall) * (1 - smooth_step((row - armpit + 8) / 10))
    body = np.maximum(body, as_column(girdle) * (x < 22))
    # The line from the neck over the shoulders.
    neck = rng.uniform(5.2, 6.6) + 0.4 * wall
    outwards = np.maximum(x - neck, 0)
    top = (
        -2.0
        - rng.uniform(0, 2.2)
        + rng.uniform(0.12, 0.36) * np.maximum(outwards - 1.5, 0)
        - 9 * np.exp(-outwards / 1.6)
    )
    return body * smooth_step((grid.y - top) / 1.8)


def _mediastinum(rng: np.random.Generator, patient: Patient, grid: Grid) -> np.ndarray:
    """Heart, great vessels and hila: tissue that takes the place of lung."""
    height = patient.lung_height
    solid = np.zeros(grid.shape, np.float32)
    old = max(patient.age - 40, 0) / 40
    shift = rng.normal(0.1, 0.3)
    # Upper mediastinum: thyroid and great vessels above, the superior vena cava on the right.
    width = rng.uniform(2.7, 3.4) + 0.3 * old
    add_ellipsoid(solid, grid, (0.2 + shift, 0.1 * height), (width, 0.52 * height), 0, 11)
    add_ellipsoid(solid, grid, (-1.0 + shift, 0.42 * height), (2.2 + rng.uniform(0, 0.6), 0.4 * height), 0, 7)
    # Aortic knob and the descending aorta left of the spine.
    knob = rng.uniform(1.3, 1.7) + 0.5 * old
    add_ellipsoid(solid, grid, (2.4 + 0.5 * old + shift, rng.uniform(0.25, 0.29) * height), (knob, 1.25 * knob), 0, 4.5)
    add_ellipsoid(solid, grid, (1.7 + 0.3 * old + shift, 0.66 * height), (1.7 + 0.2 * old, 0.45 * height), 0, 4)
    # Pulmonary trunk, heart, right atrium; the heart lies on the diaphragm.
    total = 2 * patient.half_width * patient.heart_width
    tilt = rng.normal(0.58, 0.1)
    base = height * rng.uniform(0.79, 0.84)
    add_ellipsoid(solid, grid, (1.9 + shift, 0.46 * height), (2.1 + rng.normal(0, 0.25), 0.17 * height), 0.2, 5)
    add_ellipsoid(solid, grid, (0.17 * total + shift, base), (0.58 * total, 0.4 * total), tilt, 10)
    add_ellipsoid(solid, grid, (0.1 * total + shift, base - 0.16 * height), (0.27 * total, 0.22 * height), 0.35, 6)
    add_ellipsoid(solid, grid, (-0.12 * total + shift, base - 0.02 * height), (0.24 * total, 0.24 * height), -0.1, 7)
    add_ellipsoid(solid, grid, (0.17 * total + shift, base + 0.17 * height), (0.52 * total, 0.2 * height), 0.12, 9)
    for side, level in ((-1, 0.475), (1, 0.445)):
        hilum = (side * rng.uniform(3.4, 4.2) + shift, level * height + rng.normal(0, 0.4))
        add_ellipsoid(solid, grid, hilum, (1.1, rng.uniform(1.7, 2.6)), side * 0.35, rng.uniform(1.0, 2.0))
    return solid


def _vessels(rng: np.random.Generator, patient: Patient, grid: Grid) -> np.ndarray:
    """Pulmonary vessels: two trees that fan out from the hila and thin out towards the pleura."""
    drawing = SoftDrawing(grid, full=3, soft=0.18)
    generations = []
    for side, level in ((-1, 0.475), (1, 0.45)):
        count = 8
        fan = np.linspace(-1.35, 1.35, count) + rng.normal(0, 0.12, count)
        # Angle 0 points outwards; the lower lobes get more and thicker vessels than the apices.
        radius = (0.34 + 0.1 * fan) * rng.uniform(0.8, 1.15, count)
        start = np.column_stack([np.full(count, 3.6), level * patient.lung_height + 1.2 * fan])
        angle = fan
        for length in (3.2, 2.9, 2.6, 2.3):
            steps = length * rng.uniform(0.7, 1.25, len(angle))
            bend = angle[:, None] + np.cumsum(rng.normal(0, 0.14, (len(angle), 3)), axis=1)
            moves = np.stack([np.cos(bend), np.sin(bend)], axis=2) * (steps[:, None, None] / 3)
            points = np.concatenate([start[:, None], start[:, None] + np.cumsum(moves, axis=1)], axis=1)
            generations.append((points * np.array([side, 1.0]), 2 * radius, radius))
            fork = rng.uniform(0.2, 0.5, len(angle))
            start = np.repeat(points[:, -1], 2, axis=0)
            angle = np.column_stack([bend[:, -1] - fork, bend[:, -1] + fork]).ravel()
            radius = np.repeat(radius, 2) * rng.uniform(0.6, 0.8, 2 * len(radius))
    strength = rng.uniform(3.2, 5.2)
    for points, widths, radii in reversed(generations):
        drawing.strokes(points, widths, strength * radii)
    return drawing.map()


def render(rng: np.random.Generator, patient: Patient, grid: Grid) -> Anatomy:
    """The healthy chest of `patient` on `grid`; `rng` draws the shapes that vary within a sex and size."""
    height, half = patient.lung_height, patient.half_width
    coarse = grid.coarser(0.25)
    tissue = _body(rng, patient, coarse)
    _soft_parts(rng, patient, coarse, tissue)
    solid = _mediastinum(rng, patient, coarse)
    texture = 1 + np.float32(0.035) * smooth_noise(rng, coarse, 5) + np.float32(0.012) * smooth_noise(rng, coarse, 0.6)
    texture *= np.exp(np.float32(-1 / 4.5) * solid)
    tissue = np.array(grid.enlarged(tissue))
    air = np.zeros(grid.shape, np.float32)
    lungs = np.zeros(grid.shape, np.uint8)
    ribs = np.zeros(grid.shape, np.float32)
    below = np.zeros(grid.shape, np.float32)
    row = grid.y[:, 0] / height
    depth = np.interp(row, *DEPTH) * patient.depth * (row > 0)
    medial = as_column(np.interp(row, *MEDIAL) * half)
    zero = int(np.searchsorted(grid.x[0], 0))
    breath = rng.normal(0, 0.035) * height
    for side, columns in ((1, slice(0, zero)), (2, slice(zero, grid.shape[1]))):
        x = np.abs(grid.x[:, columns])
        lateral = as_column(np.interp(row, *LATERAL) * half * rng.normal(1, 0.015))
        ratio = np.minimum(x / lateral, 1)
        side_air = np.sqrt(1 - ratio * ratio * ratio)
        side_air *= np.minimum(np.maximum((x - medial) * 2, 0), 1)
        side_air *= as_column(depth)
        # Diaphragm: a dome, the right one higher; behind it a little lung reaches further down.
        top = height * (0.955 if side == 1 else 0.985) + breath + rng.normal(0, 0.3)
        place = rng.uniform(0.42, 0.56) * half
        outer, inner = rng.uniform(3.5, 6.0), rng.uniform(-0.2, 0.9)
        offset = (x - place) / (half - place)
        dome = (top + np.where(offset > 0, outer, inner) * offset**2).astype(np.float32)
        rows = slice(int(np.searchsorted(grid.y[:, 0], float(dome.min()))), None)
        under = grid.y[rows] - dome
        cut = smooth_step(2 * under)
        side_air[rows] *= 1 - cut * (np.float32(1) - np.float32(0.22) * np.exp(under * np.float32(-0.25)))
        air[:, columns] = side_air
        below[rows, columns] = cut
        lungs[:, columns] = (side_air > 0.5) * np.uint8(side)
        lungs[rows, columns] *= cut < 0.5
        add_ribs(rng, patient, grid, tissue, ribs, columns)
    vessels = _vessels(rng, patient, grid)
    texture = grid.enlarged(texture)
    lungs[texture < 0.41] = 0  # where heart and vessels take more than 4 cm, a reader would not draw lung
    air *= texture
    # Blood in a vessel takes the place of lung.
    vessels = np.minimum(vessels, air)
    air -= vessels
    add_spine_and_airways(rng, patient, grid, tissue)
    add_girdle(rng, patient, grid, tissue)
    _stomach(rng, patient, grid, tissue, below)
    return Anatomy(patient, np.maximum(tissue, 0), air, lungs, vessels, ribs, below)


def _soft_parts(rng: np.random.Generator, patient: Patient, grid: Grid, tissue: np.ndarray) -> None:
    """Breasts or pectoral muscles, in place."""
    height, half = patient.lung_height, patient.half_width
    if patient.breast > 0:
        sag = rng.uniform(0.68, 0.82)
        radius = rng.uniform(4.5, 6.0) + 0.2 * patient.breast
        for side in (-1, 1):
            centre = (side * (0.64 * half + rng.normal(0, 0.5)), sag * height + rng.normal(0, 0.5))
            add_ellipsoid(tissue, grid, centre, (radius, 1.1 * radius), 0, patient.breast)
    else:
        thickness = rng.uniform(0.2, 1.0)
        for side in (-1, 1):
            add_ellipsoid(tissue, grid, (side * 0.78 * half, 0.28 * height), (6.5, 4.8), -side * 0.5, thickness)


def _stomach(rng: np.random.Generator, patient: Patient, grid: Grid, tissue: np.ndarray, below: np.ndarray) -> None:
    """Gas in stomach and bowel under the diaphragm, in place."""
    height, half = patient.lung_height, patient.half_width
    if rng.random() > 0.7:
        return
    rows, columns = grid.window(-half, 1.3 * half, 0.85 * height, 100)
    part = Grid(grid.x[:, columns], grid.y[rows], grid.pixel)
    gas = np.zeros(part.shape, np.float32)
    centre = (rng.uniform(0.35, 0.6) * half, height + rng.uniform(3.0, 4.5))
    add_ellipsoid(gas, part, centre, (rng.uniform(1.4, 3.5), rng.uniform(0.9, 2.0)), rng.normal(0, 0.2), 5)
    for _ in range(rng.integers(0, 5)):
        spot = (rng.uniform(-0.2, 0.8) * half, height + rng.uniform(4.5, 9))
        add_ellipsoid(gas, part, spot, (rng.uniform(0.7, 1.8), rng.uniform(0.6, 1.2)), rng.normal(0, 0.6), 2.5)
    tissue[rows, columns] -= gas * below[rows, columns]

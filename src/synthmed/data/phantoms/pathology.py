"""The twelve findings of the chest data set, each planted into a healthy chest with its outline as the truth.

Seed 004, Table 6: five kinds that a classifier is trained on and seven that only the anomaly search meets. A finding is
what it adds to or takes from the beam's path; what it looks like then follows from the physics in film.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from synthmed.data.phantoms.anatomy import LUNG_DENSITY, Anatomy
from synthmed.data.phantoms.canvas import Grid, SoftDrawing, add_ellipsoid, as_column, smooth_noise, smooth_step
from synthmed.data.phantoms.findings import ROOM, Severity, blob
from synthmed.data.phantoms.patient import CAGE, LATERAL, MEDIAL

TRAINED = ("nodule", "consolidation", "interstitial opacity", "pleural effusion", "pneumothorax")
"""Kinds of the six-class classifier (seed 004, Table 2)."""

UNTRAINED = (
    "calcification",
    "atelectasis",
    "mediastinal widening",
    "rib fracture",
    "pneumomediastinum",
    "subcutaneous emphysema",
    "pneumoperitoneum",
)
"""Further kinds, for the anomaly search only (seed 004, Table 6)."""

RIGHT, LEFT = -1, 1
"""Side of the patient, as the sign of x: the patient's left is on the right of the image."""

_SHOWN = 0.3
"""A pixel belongs to a finding where the finding has at least this share of its strongest effect."""


@dataclass(frozen=True)
class Sign:
    """One planted finding. Maps are float32 (h, w).

    water: cm of water that take the place of the lungs' air, as far as there is room; path: other change of the path in
    cm of water, negative where air takes the place of tissue; empty: share 0 … 1 of the lung that has left its place
    (pneumothorax), where no other finding of the lung can be; outlines: bool (h, w), one for each part that a reader
    would draw a box around.
    """

    water: np.ndarray
    path: np.ndarray
    empty: np.ndarray
    outlines: tuple[np.ndarray, ...]


class _Canvas:
    """What all findings draw on: empty maps of a film, and where lungs and chest wall are."""

    def __init__(self, anatomy: Anatomy, grid: Grid):
        self.anatomy, self.grid = anatomy, grid
        self.height, self.half = anatomy.patient.lung_height, anatomy.patient.half_width
        self.row = grid.y[:, 0] / np.float32(self.height)

    def blank(self) -> np.ndarray:
        return np.zeros(self.grid.shape, np.float32)

    def outwards(self, side: int) -> np.ndarray:
        """Distance from the spine towards `side` in cm, float32 (1, w)."""
        return np.float32(side) * self.grid.x

    def lung(self, side: int) -> np.ndarray:
        """The lung that a reader sees, bool (h, w)."""
        return self.anatomy.lungs == (1 if side == RIGHT else 2)

    def chest_side(self, side: int) -> np.ndarray:
        """The half of the film, bool (1, w)."""
        return self.outwards(side) > 0

    def place(
        self, rng: np.random.Generator, side: int, top: float, bottom: float, lateral: bool = False
    ) -> tuple[float, float]:
        """A point (x, y) in cm inside the lung, between `top` and `bottom` as fractions of its height.

        lateral: in the outer half. Raises RuntimeError when forty points in a row miss the lung, which would be a
        mistake in the caller's range.
        """
        lung = self.lung(side)
        for _ in range(40):
            down, across = rng.uniform(top, bottom), rng.uniform(0.5 if lateral else 0.1, 0.85)
            inner, outer = np.interp(down, *MEDIAL) * self.half, np.interp(down, *LATERAL) * self.half
            x, y = side * (inner + across * (outer - inner)), down * self.height
            rows, columns = self.grid.window(x - 0.5, x + 0.5, y - 0.5, y + 0.5)
            if lung[rows, columns].size and lung[rows, columns].mean() > 0.9:
                return float(x), float(y)
        raise RuntimeError(f"no place in the lung between {top} and {bottom} of its height")

    def dome(self, side: int) -> np.ndarray:
        """Height of the diaphragm in each column, y in cm, float32 (w,); infinity where there is none."""
        below = self.anatomy.below
        under = below >= 0.5
        row = np.maximum(under.argmax(axis=0), 1)
        there = under.any(axis=0) & (self.outwards(side)[0] > 0)
        # Between the last pixel above and the first one under it.
        column = np.arange(below.shape[1])
        low, high = below[row - 1, column], below[row, column]
        part = (high - 0.5) / np.maximum(high - low, 1e-3)
        return np.where(there, self.grid.y[row, 0] - np.clip(part, 0, 1) * self.grid.pixel, np.float32(np.inf))

    def shown(self, change: np.ndarray, closing: float = 0.0) -> np.ndarray:
        """Where `change` is strong, bool (h, w); streaks nearer than `closing` cm are taken as one area."""
        strong = np.abs(change)
        inside = strong > _SHOWN * strong.max() if strong.max() > 0 else np.zeros(change.shape, bool)
        if closing > 0 and inside.any():
            inside = self.closed(inside, closing)
        return inside

    def closed(self, inside: np.ndarray, closing: float) -> np.ndarray:
        """Streaks that lie nearer than `closing` cm grown together, bool (h, w)."""
        pixels = max(1, round(closing / self.grid.pixel))
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        part = (
            slice(max(0, rows[0] - pixels), rows[-1] + pixels + 1),
            slice(max(0, columns[0] - pixels), columns[-1] + pixels + 1),
        )
        grown = ndimage.uniform_filter(inside[part].astype(np.float32), pixels) > 0.12
        whole = inside.copy()
        whole[part] |= grown
        return whole


def _parts(*outlines: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(outline for outline in outlines if outline.any())


# ---------------------------------------------------------------------------------------------------- trained kinds
def nodule(rng: np.random.Generator, canvas: _Canvas, level: Severity, side: int) -> Sign:
    """One to three round, sharp shadows of 2.2-4 cm, slightly lobed, one in four with spicules."""
    water, outlines = canvas.blank(), []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.75, 0.15, 0.1]))):
        radius = rng.uniform(1.1, 2.0) * level.size
        x, y = canvas.place(rng, side, 0.12, 0.8)
        one = canvas.blank()
        add_ellipsoid(one, canvas.grid, (x, y), (radius, radius * rng.uniform(0.85, 1)), rng.uniform(0, 3), 2 * radius)
        for _lobe in range(2):
            turn = rng.uniform(0, 2 * np.pi)
            spot = (x + 0.55 * radius * np.cos(turn), y + 0.55 * radius * np.sin(turn))
            add_ellipsoid(one, canvas.grid, spot, (0.6 * radius, 0.6 * radius), 0, 0.7 * radius)
        outline = canvas.shown(one)
        if rng.random() < 0.25:
            drawing = SoftDrawing(canvas.grid, full=2, soft=0.1)
            turns = rng.uniform(0, 2 * np.pi, 9)
            outwards = radius * np.column_stack([np.cos(turns), np.sin(turns)])
            rays = np.stack([0.8 * outwards, 1.7 * outwards], axis=1) + np.array([x, y])
            drawing.strokes(rays, np.full(9, 0.12), np.full(9, 0.8))
            one = np.maximum(one, drawing.map())
        water += one
        outlines.append(outline)
    return Sign(water * np.float32(1.3 * level.thickness), canvas.blank(), canvas.blank(), _parts(*outlines))


def consolidation(rng: np.random.Generator, canvas: _Canvas, level: Severity, side: int) -> Sign:
    """A lobe or a patch of it filled: a dense cloud of 2.8-4.4 cm radius, soft rims, air-filled bronchi."""
    grid = canvas.grid
    radius = rng.uniform(2.8, 4.4) * level.size
    x, y = canvas.place(rng, side, 0.25, 0.8)
    cloud = canvas.blank()
    for _ in range(4):
        spot = (x + rng.normal(0, 0.35) * radius, y + rng.normal(0, 0.3) * radius)
        axes = (radius * rng.uniform(0.7, 1.0), radius * rng.uniform(0.6, 0.9))
        add_ellipsoid(cloud, grid, spot, axes, rng.uniform(0, np.pi), 0.75)
    cloud *= 1 + np.float32(0.22) * smooth_noise(rng, grid, 1.6)
    if rng.random() < 0.4:  # a fissure is a straight border
        slope, edge = rng.normal(0, 0.12), y + rng.choice([-1, 1]) * 0.3 * radius
        below = grid.y - np.float32(edge) - np.float32(slope) * (grid.x - np.float32(x))
        cloud = cloud * smooth_step((below if edge < y else -below) / 0.4 + 0.5)
    bronchi = SoftDrawing(grid, full=1, soft=0.12)
    for _ in range(3):
        end = np.array([x, y]) + rng.normal(0, 0.5, 2) * radius
        start = np.array([x - side * radius, y - 0.3 * radius]) + rng.normal(0, 0.3, 2)
        middle = 0.5 * (start + end) + rng.normal(0, 0.3, 2)
        bronchi.line([start, middle, end], 0.32, 0.5)
    cloud = np.clip(cloud, 0, 1)
    water = cloud * np.float32(6.5 * level.thickness) * (1 - bronchi.map())
    outline = (cloud > _SHOWN) & (canvas.anatomy.air > 0.5)
    return Sign(water, canvas.blank(), canvas.blank(), _parts(outline))


def interstitial_opacity(rng: np.random.Generator, canvas: _Canvas, level: Severity, side: int) -> Sign:
    """A net of fine lines with haze between them in the lower and outer zones, mostly on both sides."""
    grid, height = canvas.grid, canvas.height
    ridges = canvas.blank()
    for scale, weight in ((1.1, 1.0), (0.6, 0.6)):  # where smooth noise crosses zero is a net of curved lines
        ridges += np.float32(weight) * np.maximum(1 - np.abs(smooth_noise(rng, grid, scale)) / np.float32(0.38), 0)
    upwards = rng.uniform(0.1, 0.4) + 0.3 * (1 - level.size)  # share of the lung that is free
    zone = smooth_step((as_column(canvas.row) - np.float32(upwards)) / np.float32(0.3))
    zone = zone * (0.55 + 0.45 * np.clip(np.abs(grid.x) / (0.8 * canvas.half), 0, 1))
    zone *= np.clip(1 + np.float32(0.3) * smooth_noise(rng, grid, 4.0), 0, 1.3)
    both = rng.random() < 0.85
    zone *= 1.0 if both else canvas.chest_side(side)
    zone *= smooth_step((1.02 * height + 1 - grid.y) / 2)
    water = zone * (2.8 * ridges + 2.0) * np.float32(level.thickness)
    area = zone > 0.45
    return Sign(
        water,
        canvas.blank(),
        canvas.blank(),
        _parts(*(_largest(area & canvas.lung(one)) for one in ((RIGHT, LEFT) if both else (side,)))),
    )


def _largest(area: np.ndarray) -> np.ndarray:
    """The largest connected part of `area`, bool (h, w)."""
    labels, count = ndimage.label(area)
    return area if count < 2 else labels == 1 + np.bincount(labels.ravel())[1:].argmax()


def pleural_effusion(rng: np.random.Generator, canvas: _Canvas, level: Severity, side: int) -> Sign:
    """Fluid in the costophrenic angle with a meniscus that climbs along the chest wall; one in five on both sides."""
    water, outlines = canvas.blank(), []
    for one in (RIGHT, LEFT) if rng.random() < 0.2 else (side,):
        outwards = canvas.outwards(one)
        dome = canvas.dome(one)
        top = float(dome.min())
        lowest = top - rng.uniform(-0.5, 7.0) * level.size + 1.5 * (1 - level.size)
        rise = rng.uniform(2.2, 4.5) * (0.4 + 0.6 * level.size)
        turn = rng.uniform(0.3, 0.42) * canvas.half
        climb = np.clip((outwards - turn) / (canvas.half - turn), 0, 1) ** 2.2
        climb = climb + 0.35 * np.clip((turn - outwards) / turn, 0, 1) ** 2
        surface = np.float32(lowest) - np.float32(rise) * climb.astype(np.float32)
        full = smooth_step((canvas.grid.y - surface) / np.float32(1.6)) * canvas.chest_side(one)
        water += full * canvas.anatomy.air * np.float32(1 - LUNG_DENSITY)
        outlines.append((full > 0.35) & (canvas.anatomy.air > 0.6) & (canvas.anatomy.below < 0.6))
    return Sign(
        water * np.float32(min(1.0, level.thickness)), canvas.blank(), canvas.blank(), _parts(*map(_largest, outlines))
    )


def pneumothorax(rng: np.random.Generator, canvas: _Canvas, level: Severity, side: int) -> Sign:
    """Air without vessels around a shrunken, denser lung, and the fine line of the pleura between them."""
    outwards, half = canvas.outwards(side), canvas.half
    shrunk = np.clip(rng.uniform(0.14, 0.4) * level.size, 0.04, 0.6)
    lowered = rng.uniform(0.06, 0.22) * level.size
    row = (canvas.row - lowered) / (1 - lowered)
    hilum = 0.25 * half
    outer = np.interp(row, *LATERAL) * half * (row > 0)
    edge = as_column(np.where(row > 0, hilum + (outer - hilum) * (1 - shrunk), -1))
    wave = np.float32(0.35) * np.sin(canvas.grid.y * np.float32(2 * np.pi / rng.uniform(9, 15)) + rng.uniform(0, 6))
    distance = outwards - edge - wave
    there = (canvas.anatomy.air + canvas.anatomy.vessels > 0.3) & canvas.chest_side(side)
    # The pleural space ends above the diaphragm on an erect film.
    empty = np.clip(distance / np.float32(0.12) + 0.5, 0, 1) * there * (1 - canvas.anatomy.below)
    empty = (empty * np.float32(min(1.0, level.thickness))).astype(np.float32)
    path = -empty * (np.float32(LUNG_DENSITY) * canvas.anatomy.air + canvas.anatomy.vessels)
    line = np.exp(-((distance / np.float32(max(0.09, 0.6 * canvas.grid.pixel))) ** 2)) * there
    inside = (distance < 0) & there
    path += np.float32(1.1 * min(1.0, level.thickness)) * line
    water = inside * canvas.anatomy.air * np.float32(rng.uniform(0.04, 0.12) * level.size)
    outline = (distance > 0) & canvas.lung(side)
    return Sign(water, path.astype(np.float32), empty, _parts(_largest(outline)))


# -------------------------------------------------------------------------------------------------- untrained kinds
def calcification(rng: np.random.Generator, canvas: _Canvas, level: Severity, side: int) -> Sign:
    """Calcium, denser than bone: a group of healed granulomas and lymph nodes, or a plaque of the pleura."""
    path = canvas.blank()
    if rng.random() < 0.6:
        x, y = canvas.place(rng, side, 0.15, 0.6)
        for _ in range(int(rng.integers(3, 7))):
            spot = (x + rng.normal(0, 1.2), y + rng.normal(0, 1.2))
            radius = rng.uniform(0.35, 0.8) * level.size
            axes = (radius, radius * rng.uniform(0.6, 1))
            add_ellipsoid(path, canvas.grid, spot, axes, rng.uniform(0, 3), rng.uniform(4.0, 7.0))
    else:
        x, y = canvas.place(rng, side, 0.4, 0.85, lateral=True)
        cloud = blob(rng, canvas.grid, (x, y), rng.uniform(1.5, 2.4) * level.size, 0.5)
        path += np.float32(2.0) * cloud + np.float32(4.5) * np.maximum(1 - np.abs(cloud - 0.25) / 0.25, 0)
    path *= np.float32(level.thickness)
    return Sign(canvas.blank(), path, canvas.blank(), _parts(canvas.shown(path, closing=1.0)))


def atelectasis(rng: np.random.Generator, canvas: _Canvas, level: Severity, side: int) -> Sign:
    """A collapsed part with loss of volume: bands over a raised diaphragm, an upper lobe, or a lower lobe."""
    grid, height, half = canvas.grid, canvas.height, canvas.half
    air = canvas.anatomy.air
    kind = rng.choice(["bands", "upper lobe", "lower lobe"], p=[0.5, 0.25, 0.25])
    drawing = SoftDrawing(grid, full=1, soft=0.15)
    if kind == "bands":
        raised, strength = rng.uniform(2.0, 3.6) * level.size, 4.2
        for _ in range(int(rng.integers(2, 4))):
            x, y = side * rng.uniform(0.42, 0.65) * half, rng.uniform(0.74, 0.88) * height - raised
            long, turn = rng.uniform(2.4, 3.8) * level.size, rng.normal(0, 0.18)
            line = [(x - long, y - long * turn), (x, y + rng.normal(0, 0.2)), (x + long, y + long * turn)]
            drawing.line(line, rng.uniform(0.6, 1.0), 1)
    elif kind == "upper lobe":  # a wedge on the mediastinum with a concave lower border
        raised, strength = 0.8 * level.size, 6.0
        inner, outer = 0.1 * half, (0.5 + 0.25 * level.size) * half
        drop = rng.uniform(0.28, 0.4) * height
        curve = [(inner + t * (outer - inner), drop - 0.2 * height * np.sin(0.5 * np.pi * t)) for t in (0, 0.3, 0.6, 1)]
        corners = [(inner, -0.02 * height), (outer, -0.02 * height), *curve[::-1]]
        drawing.polygon(np.array(corners) * [side, 1], 1)
    else:  # a triangle beside the spine with its base on the diaphragm
        raised, strength = 1.2 * level.size, 6.0
        wide = rng.uniform(0.6, 0.75) * half * (0.4 + 0.6 * level.size)
        drawing.polygon([(side * 0.16 * half, 0.44 * height), (side * wide, 1.04 * height), (0, 1.04 * height)], 1)
    shape = ndimage.gaussian_filter(drawing.map(), 0.15 / grid.pixel)
    water = np.minimum(shape * np.float32(strength * level.thickness), ROOM * air)
    # The diaphragm moves up: what was under it one step lower.
    below = canvas.anatomy.below
    moved = np.maximum(ndimage.shift(below, (-raised / grid.pixel, 0), order=1, mode="nearest"), below)
    lifted = (moved - below) * canvas.chest_side(side) * air * np.float32(ROOM)
    water = np.maximum(water, lifted * np.float32(min(1.0, level.thickness)))
    # What is collapsed, and under bands the raised diaphragm with it.
    strong = np.minimum(water if kind == "bands" else shape * np.float32(strength), ROOM * air)
    area = canvas.shown(strong) & (canvas.anatomy.below < 0.6)
    return Sign(water, canvas.blank(), canvas.blank(), _parts(area))


def mediastinal_widening(rng: np.random.Generator, canvas: _Canvas, level: Severity, side: int) -> Sign:
    """A broad upper mediastinum, smooth (vessel, blood) or lobed (lymph nodes), on both sides or mostly one."""
    grid, height, half = canvas.grid, canvas.height, canvas.half
    water = canvas.blank()
    lobed = rng.random() < 0.5
    for one in (RIGHT, LEFT):
        wide = rng.uniform(0.34, 0.46) * half * (0.4 + 0.6 * level.size) * (1.0 if one == side else 0.8)
        y = rng.uniform(0.22, 0.32) * height
        if lobed:
            for down in rng.uniform(-0.13, 0.14, int(rng.integers(3, 5))):
                spot = (one * rng.uniform(0.25, 0.5) * wide, y + down * height)
                axes = (rng.uniform(0.45, 0.7) * wide, rng.uniform(0.06, 0.12) * height)
                add_ellipsoid(water, grid, spot, axes, rng.normal(0, 0.3), 6)
        else:
            add_ellipsoid(water, grid, (one * 0.2 * wide, y), (0.8 * wide, rng.uniform(0.24, 0.32) * height), 0, 8)
    water = np.minimum(water * np.float32(level.thickness), ROOM * canvas.anatomy.air)
    area = canvas.shown(water) & (np.abs(grid.x) < 0.6 * half)
    return Sign(water, canvas.blank(), canvas.blank(), _parts(area))


def rib_fracture(rng: np.random.Generator, canvas: _Canvas, level: Severity, side: int) -> Sign:
    """Two to four neighbouring ribs broken in a row: a gap, a step, and blood under the pleura beside it."""
    grid, height, half = canvas.grid, canvas.height, canvas.half
    count = int(rng.integers(2, 5))
    spacing = 0.092 * height
    y0 = rng.uniform(0.25, 0.62) * height
    x0 = rng.uniform(0.66, 0.84) * half
    y1 = y0 + count * spacing
    rows, columns = grid.window(-2 * half, 2 * half, y0 - 1.5, y1 + 1.5)
    outwards = np.float32(side) * grid.x[:, columns]
    y = grid.y[rows]
    break_line = np.float32(x0) + np.float32(rng.normal(0, 0.12)) * (y - np.float32(y0))
    beyond = outwards - break_line
    fade = smooth_step((y - np.float32(y0 - 1)) / 1) * smooth_step((np.float32(y1 + 1) - y) / 1)
    step = rng.uniform(0.8, 1.2) * level.size
    shift = np.where(beyond > 0, step * np.exp(-np.maximum(beyond, 0) / np.float32(2.8)), 0) * fade / grid.pixel
    ribs = canvas.anatomy.ribs[rows, columns]
    # The outer fragment hangs down by `shift`.
    at = np.arange(ribs.shape[0], dtype=np.float32)[:, None] - shift
    low = np.clip(np.floor(at), 0, ribs.shape[0] - 1).astype(int)
    high = np.minimum(low + 1, ribs.shape[0] - 1)
    column = np.arange(ribs.shape[1])[None, :]
    part = (at - low).clip(0, 1)
    moved = ribs[low, column] * (1 - part) + ribs[high, column] * part
    gap = np.exp(-((beyond / np.float32(0.3 * level.size)) ** 2)) * fade
    broken = moved * (1 - gap)
    side_only = outwards > 0
    path = canvas.blank()
    path[rows, columns] = (broken - ribs) * side_only * np.float32(min(1.5, 1.2 * level.thickness))
    water = canvas.blank()
    for number in range(count):
        spot = (side * (x0 + rng.uniform(0.4, 1.4)), y0 + (number + 0.5) * spacing + rng.normal(0, 0.3))
        axes = (rng.uniform(0.7, 1.1) * level.size, rng.uniform(0.9, 1.5) * level.size)
        add_ellipsoid(water, grid, spot, axes, rng.normal(0, 0.3), 1.8 * level.thickness)
    near = canvas.blank()
    near[rows, columns] = np.exp(-((beyond / np.float32(1.6)) ** 2)) * fade * side_only
    area = canvas.shown((np.abs(path) + water) * near, closing=1.2)
    return Sign(water, path, canvas.blank(), _parts(area))


def pneumomediastinum(rng: np.random.Generator, canvas: _Canvas, level: Severity, side: int) -> Sign:
    """Dark lines of air along heart and great vessels, the lifted pleura bright beside them, streaks up the neck."""
    grid, height = canvas.grid, canvas.height
    dark, bright = SoftDrawing(grid, full=8, soft=0.1), SoftDrawing(grid, full=3, soft=0.08)
    for one in (RIGHT, LEFT) if rng.random() < 0.65 else (LEFT,):
        lung = canvas.lung(one)
        rows = np.flatnonzero(lung.any(axis=1) & (canvas.row > 0.12) & (canvas.row < rng.uniform(0.76, 0.88)))
        away = np.where(lung[rows], canvas.outwards(one), np.inf).min(axis=1)
        away = ndimage.gaussian_filter1d(ndimage.median_filter(away, 5), 0.7 / grid.pixel)
        contour = np.column_stack([one * away, grid.y[rows, 0]])[:: max(1, round(0.3 / grid.pixel))]
        width = rng.uniform(0.5, 0.85) * level.size
        swell = 0.55 + 0.45 * np.sin(np.linspace(0, rng.uniform(4, 8), len(contour)) + rng.uniform(0, 6))
        taper = np.minimum(1, np.minimum(np.arange(len(contour)), np.arange(len(contour))[::-1]) / 6)
        pieces = np.stack([contour[:-1], contour[1:]], axis=1)
        widths = width * (0.5 + 0.5 * swell[1:] * taper[1:])
        dark.strokes(pieces - np.array([one * 0.5 * width, 0]), widths, 5.5 * level.thickness * (0.4 + 0.6 * taper[1:]))
        bright.line(contour + np.array([one * 0.12, 0]), 0.2, min(3, 1.2 * level.thickness))
    for _ in range(int(rng.integers(7, 12))):
        x = rng.normal(0, 2.0)
        top = rng.uniform(-7, -2.5)
        points = [(0.9 * x, rng.uniform(0.04, 0.2) * height), (1.1 * x + rng.normal(0, 0.25), -0.5)]
        points += [(1.25 * x + rng.normal(0, 0.3), 0.5 * top), (1.5 * x + rng.normal(0, 0.6), top)]
        dark.line(points, rng.uniform(0.2, 0.4) * level.size, min(8, rng.uniform(1.5, 4.0) * level.thickness))
    soft = 0.1 / grid.pixel
    air = np.minimum(ndimage.gaussian_filter(dark.map(), soft), np.float32(0.5) * canvas.anatomy.tissue)
    path = ndimage.gaussian_filter(bright.map(), 0.5 * soft) - air
    area = canvas.closed(air > 0.2 * air.max(), 0.7)
    return Sign(canvas.blank(), path, canvas.blank(), _parts(area))


def _drawn_out_noise(rng: np.random.Generator, grid: Grid, broad: float, tall: float) -> np.ndarray:
    """Smooth noise of standard deviation about 1 with structures of `broad` × `tall` cm, float32 (h, w)."""
    height, width = grid.shape
    rows, columns = round(height * grid.pixel / tall) + 2, round(width * grid.pixel / broad) + 2
    coarse = Image.fromarray(rng.standard_normal((rows, columns), dtype=np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) * np.float32(1.5)


def subcutaneous_emphysema(rng: np.random.Generator, canvas: _Canvas, level: Severity, side: int) -> Sign:
    """Air in the soft tissue: bubbles and streaks beside the ribs and up the neck, and a fan over the chest muscle."""
    grid, height, half = canvas.grid, canvas.height, canvas.half
    cage = as_column(np.interp(canvas.row, *CAGE) * half)
    change, outlines = canvas.blank(), []
    for one in (RIGHT, LEFT) if rng.random() < 0.35 else (side,):
        outwards = canvas.outwards(one)
        # A layer along the wall, and from there over the shoulder to the neck.
        thick = 1.3 + 0.8 * canvas.anatomy.patient.wall * level.size
        layer = np.clip((outwards - cage - 0.1) / 0.4, 0, 1) * np.clip(
            (cage + np.float32(thick) - outwards) / 0.6, 0, 1
        )
        layer *= smooth_step((np.float32(rng.uniform(0.5, 0.8) * level.size) - as_column(canvas.row)) / 0.15)
        layer *= smooth_step((as_column(canvas.row) + np.float32(rng.uniform(0.2, 0.32))) / 0.08) * (outwards > 1.5)
        # Streaks: noise drawn out along the muscles, and where it is high there is air.
        streaks = np.clip(_drawn_out_noise(rng, grid, 0.3, 1.4), 0, 1.5)
        bubbles = np.clip(smooth_noise(rng, grid, 0.45) - 0.2, 0, 1.5)
        air = layer * (0.35 + streaks + 0.5 * bubbles) * np.float32(1.5)
        fan = SoftDrawing(grid, full=6, soft=0.1)
        root = np.array([1.02 * half, rng.uniform(0.2, 0.3) * height])
        for turn in np.linspace(-0.55, 0.5, round(rng.uniform(8, 13) * level.size)):
            long = rng.uniform(0.35, 0.75) * half
            turn += rng.normal(0, 0.04)
            end = root + long * np.array([-np.cos(turn), np.sin(turn)])
            fan.line(np.array([root, end]) * [one, 1], rng.uniform(0.15, 0.35), rng.uniform(1.0, 2.4))
        air += ndimage.gaussian_filter(fan.map(), 0.12 / grid.pixel)
        air = np.minimum(air * np.float32(level.thickness), np.float32(0.5) * canvas.anatomy.tissue)
        change -= air
        outlines.append(canvas.closed(air > 0.7 * min(1.0, level.thickness), 1.3))
    return Sign(canvas.blank(), change, canvas.blank(), _parts(*map(_largest, outlines)))


def pneumoperitoneum(rng: np.random.Generator, canvas: _Canvas, level: Severity, side: int) -> Sign:
    """A crescent of free air between diaphragm and liver, mostly on the right; the diaphragm shows as a thin line."""
    change, outlines = canvas.blank(), []
    draw = rng.random()
    for one in (RIGHT, LEFT) if draw < 0.45 else (RIGHT,) if draw < 0.9 else (LEFT,):
        outwards = canvas.outwards(one)
        dome = canvas.dome(one)[None, :]
        middle, wide = rng.uniform(0.45, 0.58) * canvas.half, rng.uniform(0.3, 0.44) * canvas.half
        deep = rng.uniform(1.1, 2.4) * level.size
        depth = np.float32(deep) * (1 - ((outwards - np.float32(middle)) / np.float32(wide)) ** 2)
        under = np.where(np.isfinite(dome), canvas.grid.y - dome, np.float32(-1)) - np.float32(0.3)
        crescent = np.clip(under / np.float32(0.15), 0, 1) * np.clip((depth - under) / np.float32(0.15), 0, 1)
        air = crescent * np.minimum(np.float32(7.0 * level.thickness), np.float32(0.6) * canvas.anatomy.tissue)
        change -= air
        outlines.append(crescent > 0.3)
    return Sign(canvas.blank(), change.astype(np.float32), canvas.blank(), _parts(*outlines))


KINDS: dict[str, Callable[[np.random.Generator, _Canvas, Severity, int], Sign]] = {
    "nodule": nodule,
    "consolidation": consolidation,
    "interstitial opacity": interstitial_opacity,
    "pleural effusion": pleural_effusion,
    "pneumothorax": pneumothorax,
    "calcification": calcification,
    "atelectasis": atelectasis,
    "mediastinal widening": mediastinal_widening,
    "rib fracture": rib_fracture,
    "pneumomediastinum": pneumomediastinum,
    "subcutaneous emphysema": subcutaneous_emphysema,
    "pneumoperitoneum": pneumoperitoneum,
}


def sign(kind: str, rng: np.random.Generator, anatomy: Anatomy, grid: Grid, level: Severity, side: int) -> Sign:
    """Draw one finding of `kind` (a key of KINDS) on `side` (RIGHT or LEFT; some kinds also take the other side)."""
    return KINDS[kind](rng, _Canvas(anatomy, grid), level, side)

"""Nuclei of a kidney section: which kinds there are, where they come to lie, what each looks like. Lengths in µm."""

from dataclasses import dataclass

import numpy as np

from synthmed.data.phantoms.canvas import Grid, smooth_step
from synthmed.data.phantoms.kidney_tissue import Tissue, likely_pixels

PODOCYTE = "podocyte"


@dataclass(frozen=True)
class Kind:
    """long, short: range of the half axes; every: area of likely tissue for one nucleus at middle crowding (µm²); dye:
    haematoxylin; grain: unevenness of the chromatin; rim: dye of the envelope; nucleoli: at most; flat: lies along the
    tissue."""

    long: tuple[float, float]
    short: tuple[float, float]
    every: float
    dye: float
    grain: float
    rim: float
    nucleoli: int
    flat: bool


KINDS = {
    "proximal": Kind((2.8, 3.5), (2.5, 3.1), 30, 0.72, 0.13, 0.25, 2, False),
    "distal": Kind((2.6, 3.2), (2.4, 2.9), 22, 0.78, 0.13, 0.22, 1, False),
    "spindle": Kind((3.2, 5.0), (1.0, 1.5), 42, 0.95, 0.1, 0.05, 0, True),
    "lymphocyte": Kind((2.1, 2.6), (2.0, 2.4), 30, 1.25, 0.16, 0.1, 0, False),
    PODOCYTE: Kind((3.4, 4.5), (2.5, 3.2), 22, 0.5, 0.12, 0.32, 2, True),
    "endothelial": Kind((2.4, 3.4), (1.1, 1.6), 42, 1.0, 0.1, 0.05, 0, True),
    "mesangial": Kind((2.0, 2.7), (1.7, 2.2), 36, 1.05, 0.13, 0.1, 0, False),
    "parietal": Kind((3.2, 4.8), (0.8, 1.2), 22, 0.9, 0.1, 0.05, 0, True),
}
"""Epithelium of the tubules, vessels and stroma; in the glomerulus podocytes (large, pale, with a nucleolus), vessels,
mesangium and the flat cells of the capsule."""


@dataclass(frozen=True)
class Nucleus:
    """One nucleus: its kind, middle (x, y), half axes, angle of the longer one in radians."""

    kind: str
    x: float
    y: float
    long: float
    short: float
    angle: float


def place_nuclei(rng: np.random.Generator, grid: Grid, tissue: Tissue, crowding: float) -> list[Nucleus]:
    """Nuclei where the tissue has sites for them, in random order.

    crowding: 0 … 1, how many there are and how near two may come: 0 well apart, 1 overlapping.
    """
    wanted, numbers = [], {}
    for kind, site in tissue.sites.items():
        numbers[kind] = site.sum() * grid.pixel**2 / KINDS[kind].every * (0.45 + 1.1 * crowding)
        wanted += [(kind, place) for place in likely_pixels(rng, site, int(2 * rng.poisson(numbers[kind])))]
    placed: list[Nucleus] = []
    shapes = np.empty((len(wanted), 5))
    for kind, (row, column) in (wanted[position] for position in rng.permutation(len(wanted))):
        nucleus = _shaped(rng, kind, float(grid.x[0, column]), float(grid.y[row, 0]), float(tissue.along[row, column]))
        near = _apart(nucleus, *shapes[: len(placed)].T) < 1.3 - 0.65 * crowding
        if numbers[kind] >= 1 and not near.any():
            shapes[len(placed)] = (nucleus.x, nucleus.y, nucleus.long, nucleus.short, nucleus.angle)
            placed.append(nucleus)
            numbers[kind] -= 1
    return placed


def _shaped(rng: np.random.Generator, name: str, x: float, y: float, along: float) -> Nucleus:
    kind = KINDS[name]
    angle = along + rng.normal(0, 0.25) if kind.flat else rng.uniform(0, np.pi)
    return Nucleus(name, x, y, float(rng.uniform(*kind.long)), float(rng.uniform(*kind.short)), float(angle))


def _apart(
    one: Nucleus, x: np.ndarray, y: np.ndarray, long: np.ndarray, short: np.ndarray, angle: np.ndarray
) -> np.ndarray:
    """Distance of a nucleus from others (n,), over the sum of the two radii in that direction."""
    direction = np.arctan2(y - one.y, x - one.x)
    others = _radius(direction, long, short, angle)
    return np.hypot(x - one.x, y - one.y) / (others + _radius(direction, one.long, one.short, one.angle))


def _radius(direction: np.ndarray, long, short, angle) -> np.ndarray:
    """Of ellipses with these half axes, in a direction."""
    turned = direction - angle
    return long * short / np.hypot(short * np.cos(turned), long * np.sin(turned))


def draw_nucleus(
    rng: np.random.Generator, grid: Grid, nucleus: Nucleus, chromatin: np.ndarray
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray, float]:
    """The window of the patch that it lies in, there its cover 0 … 1 and its haematoxylin, float32 (h, w), and the area
    of the whole nucleus in pixels.

    chromatin: noise of the patch (h, w), standard deviation about 1.
    """
    kind = KINDS[nucleus.kind]
    reach = 1.3 * nucleus.long
    window = grid.window(nucleus.x - reach, nucleus.x + reach, nucleus.y - reach, nucleus.y + reach)
    x, y = grid.x[:, window[1]] - np.float32(nucleus.x), grid.y[window[0]] - np.float32(nucleus.y)
    u = (x * np.cos(nucleus.angle) + y * np.sin(nucleus.angle)) / nucleus.long
    v = (y * np.cos(nucleus.angle) - x * np.sin(nucleus.angle)) / nucleus.short
    direction, outline = np.arctan2(v, u), 1.0
    for waves in (2, 3, 4):
        outline = outline + rng.normal(0, 0.1 / waves) * np.cos(waves * direction + rng.uniform(0, 2 * np.pi))
    away = np.hypot(u, v) / outline
    cover = smooth_step((1 - away) * np.float32(nucleus.short / 0.5) + 0.5)
    strength = kind.dye * np.exp(rng.normal(0, 0.12))
    dye = strength * (1 + kind.grain * 1.6 * chromatin[window]) + kind.rim * np.exp(-(((away - 0.9) / 0.11) ** 2))
    for _ in range(rng.integers(0, kind.nucleoli + 1)):
        spot = rng.uniform(-0.45, 0.45, 2)
        size = rng.uniform(0.35, 0.6)
        squares = ((u - spot[0]) * nucleus.long / size) ** 2 + ((v - spot[1]) * nucleus.short / size) ** 2
        dye = dye + 0.55 * np.exp(-squares)
    area = np.pi * nucleus.long * nucleus.short / grid.pixel**2
    return window, cover.astype(np.float32), (cover * np.maximum(dye, 0.1)).astype(np.float32), float(area)

"""Kidney cortex as two dyes see it: tubules, now and then a glomerulus in its capsule, capillaries. Lengths in µm.

Maps are float32 (h, w). Tubules and capillary loops are cells around points (Voronoi) whose plane is bent by noise, so
that one map, the distance from the border of a cell, tells wall, cytoplasm and lumen, and where nuclei lie.
"""

from dataclasses import dataclass

import numpy as np

from synthmed.data.phantoms.canvas import Grid, smooth_noise, smooth_step


@dataclass(frozen=True)
class Tissue:
    """haematoxylin, eosin: dye in the beam, 1 about that of a plain nucleus or of dense cytoplasm; sites: kind of
    nucleus → how likely one lies there; along: direction of flat nuclei, radians."""

    haematoxylin: np.ndarray
    eosin: np.ndarray
    sites: dict[str, np.ndarray]
    along: np.ndarray


@dataclass(frozen=True)
class _Cells:
    """Cells around points. nearest: number of the point (h, w); rim: distance from the cell's border; middle: distance
    from the point; angle: around it."""

    nearest: np.ndarray
    rim: np.ndarray
    middle: np.ndarray
    angle: np.ndarray


def _points(rng: np.random.Generator, grid: Grid, spacing: float, jitter: float) -> np.ndarray:
    """A hexagonal lattice with jitter over the field and beyond, (n, 2) as x, y."""
    rows = int(grid.shape[0] * grid.pixel / (0.87 * spacing)) + 4
    columns = int(grid.shape[1] * grid.pixel / spacing) + 4
    row, column = np.mgrid[:rows, :columns]
    offset = rng.random(2) - 1.5
    points = np.stack([column + 0.5 * (row % 2) + offset[0], 0.87 * row + offset[1]], axis=2).reshape(-1, 2)
    return (points + rng.normal(0, jitter, points.shape)) * spacing


def _bent(rng: np.random.Generator, grid: Grid, scale: float, far: float) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the pixels, moved by smooth noise of about `far` with structures of `scale`."""
    return tuple(axis + np.float32(far) * smooth_noise(rng, grid, scale) for axis in (grid.x, grid.y))


def _cells(grid: Grid, bent: tuple[np.ndarray, np.ndarray], points: np.ndarray) -> _Cells:
    x, y = bent
    squares = (x[None] - points[:, 0, None, None]) ** 2 + (y[None] - points[:, 1, None, None]) ** 2
    nearest = squares.argmin(axis=0)
    first = np.sqrt(np.take_along_axis(squares, nearest[None], 0)[0])
    np.put_along_axis(squares, nearest[None], np.inf, 0)
    second = np.sqrt(squares.min(axis=0))
    angle = np.arctan2(y - points[nearest, 1], x - points[nearest, 0])
    return _Cells(nearest, (second - first).astype(np.float32) / 2, first.astype(np.float32), angle)


def _near(distance: np.ndarray, place: float, width: float) -> np.ndarray:
    """1 at `place`, falling off over `width`."""
    return np.exp(-(((distance - np.float32(place)) / np.float32(width)) ** 2))


def likely_pixels(rng: np.random.Generator, likely: np.ndarray, count: int) -> np.ndarray:
    """`count` pixels (row, column), drawn by how likely they are; none where nothing is."""
    total = np.cumsum(likely, dtype=np.float64)
    if total[-1] <= 0:
        return np.zeros((0, 2), int)
    places = np.searchsorted(total, rng.random(count) * total[-1])
    return np.column_stack(np.unravel_index(np.minimum(places, likely.size - 1), likely.shape))


def draw_tissue(rng: np.random.Generator, grid: Grid, with_glomerulus: bool) -> Tissue:
    """The cortex in one field; nuclei come later."""
    coarse = grid.coarser(0.6)
    tissue = _tubules(rng, coarse)
    if with_glomerulus:
        _glomerulus(rng, coarse, tissue)
    _red_cells(rng, coarse, tissue)
    haematoxylin, eosin = (np.array(grid.enlarged(dye)) for dye in (tissue.haematoxylin, tissue.eosin))
    eosin *= 1 + np.float32(0.16) * smooth_noise(rng, grid, 0.7) + np.float32(0.1) * smooth_noise(rng, grid, 5)
    sites = {kind: grid.enlarged(site.astype(np.float32)) for kind, site in tissue.sites.items()}
    # Directions are halved angles: their doubled sine and cosine can be enlarged, they cannot.
    sine, cosine = (grid.enlarged(part(2 * tissue.along).astype(np.float32)) for part in (np.sin, np.cos))
    return Tissue(np.maximum(haematoxylin, 0), np.maximum(eosin, 0), sites, np.arctan2(sine, cosine) / 2)


def _tubules(rng: np.random.Generator, grid: Grid) -> Tissue:
    """Proximal tubules, dense and granular with a brush border, and distal ones, pale with a wide lumen."""
    points = _points(rng, grid, rng.uniform(36, 46), 0.13)
    cells = _cells(grid, _bent(rng, grid, 14, 2.2), points)
    distal = rng.random(len(points)) < 0.35
    wall = np.where(distal, rng.uniform(7.5, 10, len(points)), rng.uniform(11.5, 15, len(points)))[cells.nearest]
    dense = np.where(distal, rng.uniform(0.32, 0.42, len(points)), rng.uniform(0.5, 0.68, len(points)))[cells.nearest]
    gap = rng.uniform(0.7, 1.6)
    inside = cells.rim - np.float32(gap)
    cytoplasm = smooth_step(inside / 0.8 + 0.5)
    fuzz = np.where(distal[cells.nearest], 1.2, 3.0).astype(np.float32)  # the brush border
    depth = inside + np.float32(0.7) * smooth_noise(rng, grid, 1.5)
    lumen = smooth_step((depth - wall) / fuzz + 0.5)
    borders = _near(np.abs(np.sin(cells.angle * np.round(2.2 + rng.random()) + smooth_noise(rng, grid, 9))), 0, 0.09)
    body = dense * (1 - np.float32(0.22) * borders * ~distal[cells.nearest]) * (1 + np.float32(0.012) * inside)
    membrane = np.float32(0.22) * _near(inside, 0, 0.55)
    stroma = np.float32(0.3) * (1 + np.float32(0.4) * smooth_noise(rng, grid, 1.2))
    eosin = (1 - cytoplasm) * stroma + cytoplasm * ((1 - lumen) * body + lumen * np.float32(0.035)) + membrane
    haematoxylin = np.float32(0.05) + np.float32(0.09) * cytoplasm * (1 - lumen)
    haematoxylin *= 1 + np.float32(0.25) * smooth_noise(rng, grid, 2)
    row, column = np.gradient(cells.rim)
    basal = _near(inside, 4.6, 1.1) * (1 - lumen)
    sites = {
        "proximal": basal * ~distal[cells.nearest],
        "distal": _near(inside, 4.2, 1.3) * distal[cells.nearest],
        "spindle": _near(inside, -0.4, 0.9),
        "lymphocyte": _near(inside, -1.0, 0.7) * np.float32(0.3),
    }
    return Tissue(haematoxylin.astype(np.float32), eosin.astype(np.float32), sites, np.arctan2(row, column) + np.pi / 2)


def _glomerulus(rng: np.random.Generator, grid: Grid, tissue: Tissue) -> None:
    """A tuft of capillary loops in Bowman's space and capsule takes the place of tubules, in place."""
    side = np.array(grid.shape[::-1]) * grid.pixel
    centre = side * rng.uniform(0.2, 0.8, 2)
    radius, space = rng.uniform(0.3, 0.44) * min(side.min(), 90), rng.uniform(2.5, 6.0)
    x, y = _bent(rng, grid, 18, 1.8)
    bulge = np.float32(1.4) * smooth_noise(rng, grid, 9)
    away = np.hypot(x - np.float32(centre[0]), y - np.float32(centre[1]))
    out = away + bulge - np.float32(radius)  # from the surface of the tuft
    shell = away - np.float32(radius + space)  # from the capsule
    loops = _cells(grid, _bent(rng, grid, 5, 1.0), _points(rng, grid, rng.uniform(7.5, 9.5), 0.16))
    solid = (rng.random(loops.nearest.max() + 1) < 0.4)[loops.nearest]
    thick = np.float32(rng.uniform(1.0, 1.5))
    wall = 1 - smooth_step((loops.rim - thick) / 0.8 + 0.5)
    flesh = np.where(solid, np.float32(0.42), np.float32(0.09))
    tuft = wall * np.float32(0.4) + (1 - wall) * flesh + np.float32(0.3) * _near(out, -0.7, 0.7)
    within = smooth_step(0.5 - out / 0.8)
    inside = smooth_step(0.5 - (shell - 1.2) / 0.8)
    capsule = np.float32(0.4) * _near(shell, 0.3, 0.8)
    kept = 1 - inside
    tissue.eosin[:] = tissue.eosin * kept + inside * (within * tuft + (1 - within) * np.float32(0.03) + capsule)
    cells = within * (np.float32(0.1) + np.float32(0.07) * wall) + (1 - within) * np.float32(0.02)
    tissue.haematoxylin[:] = tissue.haematoxylin * kept + inside * cells
    for site in tissue.sites.values():
        site *= np.where(shell > 2.5, 1, 0)
    between = _near(loops.rim, 0.6, 1.2) * within
    tissue.sites["podocyte"] = (between * np.float32(0.6) + _near(out, -2.2, 1.4)) * (out < -0.5)
    tissue.sites["endothelial"] = between * (out < -3)
    tissue.sites["mesangial"] = solid * within * _near(loops.rim, 3, 2) * (out < -4)
    tissue.sites["parietal"] = _near(shell, 0.2, 0.7)
    row, column = np.gradient(np.where(out < -3, loops.rim, shell))
    tissue.along[shell < 2.5] = (np.arctan2(row, column) + np.pi / 2)[shell < 2.5]


def _red_cells(rng: np.random.Generator, grid: Grid, tissue: Tissue) -> None:
    """Red blood cells in some of the capillaries between tubules and in the tuft, in place."""
    room = tissue.sites["spindle"] + np.float32(0.4) * tissue.sites.get("endothelial", 0)
    for place in likely_pixels(rng, room, int(rng.integers(0, 9))):
        x, y = grid.x[0, place[1]], grid.y[place[0], 0]
        rows, columns = grid.window(x - 4, x + 4, y - 4, y + 4)
        size, flat, turn = rng.uniform(2.2, 3.1), rng.uniform(0.6, 1), tissue.along[tuple(place)]
        across, down = grid.x[:, columns] - x, grid.y[rows] - y
        u = (across * np.cos(turn) + down * np.sin(turn)) / size
        v = (down * np.cos(turn) - across * np.sin(turn)) / (flat * size)
        cover = smooth_step((1 - np.hypot(u, v)) * np.float32(size / 0.7) + 0.5)
        part = tissue.eosin[rows, columns]
        part += cover * (np.float32(1.0) - part)
        tissue.haematoxylin[rows, columns] *= 1 - cover
        for site in tissue.sites.values():
            site[rows, columns] *= cover < 0.5

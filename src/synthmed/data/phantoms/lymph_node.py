"""Tissue of a lymph node with a metastasis that never lay under a microscope: what two dyes absorb. Lengths in µm.

Normal tissue: stroma with fibres, follicles, sinuses, small dense lymphocytes. Metastasis: glands with large, pale,
crowded nuclei around lumens. Every patient has a texture of their own (Person): how large, dense and directed all of
this is, so that a patch says whose it is as far as `identity` lets it.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from synthmed.data.phantoms.canvas import Grid, SoftDrawing, smooth_noise, smooth_step

_COARSE = 2.0


@dataclass(frozen=True)
class Person:
    """What all slides of a patient share. follicle, fibre: size of these; angle: of the fibres, radians; fibrous,
    cellular: how much there is of fibres and nuclei; round: radius of a lymphocyte; pink: eosin of the stroma; weave,
    pitch: strength and distance of a fine regular pattern in the stroma; gland, dark: size of the metastasis' glands,
    haematoxylin of its nuclei."""

    follicle: float
    fibre: float
    angle: float
    fibrous: float
    cellular: float
    round: float
    pink: float
    weave: float
    pitch: float
    gland: float
    dark: float


def draw_person(rng: np.random.Generator, identity: float) -> Person:
    """A patient. identity: how far patients differ, 0: not at all, 1: much."""

    def between(low: float, high: float) -> float:
        middle = (low + high) / 2
        return middle + identity * (rng.uniform(low, high) - middle)

    return Person(
        follicle=between(60, 180),
        fibre=between(5, 16),
        angle=float(rng.uniform(0, np.pi)) if identity else 0.0,
        fibrous=between(0.05, 0.5),
        cellular=between(0.5, 1.5),
        round=between(2.1, 3.3),
        pink=between(0.25, 0.6),
        weave=between(0.0, 0.36) if identity else 0.0,
        pitch=between(7, 18),
        gland=between(26, 44),
        dark=between(0.55, 0.8),
    )


@dataclass(frozen=True)
class Section:
    """haematoxylin, eosin: dye in the beam, float32 (h, w); tissue: where there is any, bool (h, w)."""

    haematoxylin: np.ndarray
    eosin: np.ndarray
    tissue: np.ndarray


def outline(rng: np.random.Generator, middle: tuple[float, float], radius: float, rough: float) -> np.ndarray:
    """A closed curve around `middle` (x, y), of a radius that waves by the share `rough`: (n, 2) as x, y."""
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    waves = sum(
        rng.normal(0, rough / number) * np.cos(number * angle + rng.uniform(0, 2 * np.pi)) for number in (2, 3, 4, 5)
    )
    away = radius * np.clip(1 + waves, 0.4, 1.6)
    return np.column_stack([middle[0] + away * np.cos(angle), middle[1] + away * np.sin(angle)])


def draw_section(
    rng: np.random.Generator, grid: Grid, person: Person, tissue: np.ndarray, tumour: np.ndarray, difficulty: float
) -> Section:
    """A section. tissue, tumour: where they are, bool (h, w); difficulty: 0, the metastasis differs in everything, to
    1, hardly."""
    coarse = grid.coarser(_COARSE)
    soft = ndimage.gaussian_filter(tumour.astype(np.float32), 4 / grid.pixel) * np.float32(1 - 0.75 * difficulty)
    haematoxylin, eosin = (np.array(grid.enlarged(dye)) for dye in _stroma(rng, coarse, person))
    glands, pale, sites = _glands(rng, coarse, person)
    glands, pale, sites = (np.array(grid.enlarged(part)) for part in (glands, pale, sites))
    eosin += soft * (glands - eosin)
    haematoxylin += soft * (pale - haematoxylin)
    eosin *= 1 + np.float32(0.12) * smooth_noise(rng, grid, 2)
    places = rng.random(grid.shape, dtype=np.float32)
    per_pixel = np.float32(grid.pixel**2)
    _nuclei(rng, grid, haematoxylin, eosin, places < (1 - soft) * person.cellular * per_pixel / 75, person.round, 0.95)
    crowd = soft * sites * per_pixel / 26
    places = rng.random(grid.shape, dtype=np.float32)
    _nuclei(rng, grid, haematoxylin, eosin, places < crowd, 1.75 * person.round, person.dark)
    edge = ndimage.gaussian_filter(tissue.astype(np.float32), 1.5 / grid.pixel)
    return Section(haematoxylin * edge, eosin * edge, tissue)


def _stroma(rng: np.random.Generator, grid: Grid, person: Person) -> tuple[np.ndarray, np.ndarray]:
    """Haematoxylin and eosin of tissue without its nuclei."""
    along = grid.x * np.float32(np.cos(person.angle)) + grid.y * np.float32(np.sin(person.angle))
    across = grid.y * np.float32(np.cos(person.angle)) - grid.x * np.float32(np.sin(person.angle))
    bent = across + np.float32(0.8 * person.fibre) * smooth_noise(rng, grid, 4 * person.fibre)
    fibres = np.cos(bent * np.float32(2 * np.pi / person.fibre)) * smooth_step(0.5 + 0.5 * smooth_noise(rng, grid, 40))
    weave = np.cos(along * np.float32(2 * np.pi / person.pitch)) * np.cos(bent * np.float32(2 * np.pi / person.pitch))
    follicles = smooth_step(1.1 * smooth_noise(rng, grid, person.follicle))
    eosin = person.pink * (1 + person.fibrous * fibres + person.weave * weave)
    eosin *= 1 - np.float32(0.35) * follicles
    sinus = smooth_step((smooth_noise(rng, grid, 0.6 * person.follicle) - 1.5) * 3)
    haematoxylin = (0.1 + np.float32(0.16) * follicles) * (1 - sinus)
    return haematoxylin.astype(np.float32), np.maximum(eosin * (1 - np.float32(0.8) * sinus), 0).astype(np.float32)


def _glands(rng: np.random.Generator, grid: Grid, person: Person) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eosin, haematoxylin and where nuclei lie, in glands: cells around points, whose walls are lined by nuclei."""
    height, width = (side * grid.pixel for side in grid.shape)
    count = max(4, round(1.3 * height * width / person.gland**2))
    points = rng.uniform(-0.05, 1.05, (count, 2)) * (width, height) + (grid.x[0, 0], grid.y[0, 0])
    bent = [axis + np.float32(3) * smooth_noise(rng, grid, 12) for axis in (grid.x, grid.y)]
    distances, _ = cKDTree(points).query(np.stack(bent, axis=2).reshape(-1, 2), k=2)
    near, far = distances.astype(np.float32).reshape(*grid.shape, 2).transpose(2, 0, 1)
    wall = (far - near) / 2  # from the border between two glands
    lumen = smooth_step((wall - 0.3 * np.float32(person.gland)) / 2)
    lining = smooth_step((wall - 1) / 2) * (1 - lumen)
    eosin = 0.12 + lining * np.float32(0.42) - lumen * np.float32(0.08)
    return eosin, (0.05 + 0.14 * lining).astype(np.float32), lining


def _nuclei(
    rng: np.random.Generator,
    grid: Grid,
    haematoxylin: np.ndarray,
    eosin: np.ndarray,
    middles: np.ndarray,
    radius: float,
    dye: float,
) -> None:
    """Lay nuclei over the tissue, in place. middles: bool (h, w)."""
    rows, columns = np.nonzero(middles)
    count = len(rows)
    long, flat = radius * np.exp(rng.normal(0, 0.15, count)), rng.uniform(0.7, 1, count)
    turn, strength = rng.uniform(0, np.pi, count), dye * np.exp(rng.normal(0, 0.15, count))
    around = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    u, v = long[:, None] * np.cos(around), (long * flat)[:, None] * np.sin(around)
    cosine, sine = np.cos(turn)[:, None], np.sin(turn)[:, None]
    corners = np.stack([u * cosine - v * sine, u * sine + v * cosine], axis=2)
    corners += np.stack([grid.x[0, columns], grid.y[rows, 0]], axis=1)[:, None]
    drawing = SoftDrawing(grid, full=2 * dye, soft=0)
    for points, value in zip(corners, strength.tolist(), strict=True):
        drawing.polygon(points, value)
    laid = drawing.map()
    cover = np.clip(laid / np.float32(0.6 * dye), 0, 1)
    haematoxylin += cover * (laid - haematoxylin)
    eosin *= 1 - np.float32(0.6) * cover

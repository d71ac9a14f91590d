"""Seven kinds of skin lesions as dermatoscopes show them: outline, colours, structures.

Kinds and their names are those of HAM10000 (Tschandl 2018); which structures mark which kind follows the consensus of
dermoscopy (Kittler 2016): pigment network, globules, streaks, blue-white veil, regression, vessels, milia-like cysts …
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from synthmed.data.phantoms.canvas import Grid, SoftDrawing, smooth_noise, smooth_step
from synthmed.data.phantoms.skin import Layers


@dataclass(frozen=True)
class Outline:
    """Where a lesion lies. centre: (x, y) in cm; radius: cm; level: float32 (h, w), 1 at the centre, 0 on the border,
    negative outside; theta: float32 (h, w), direction from the centre in radians; edge: width in level over which
    pigment fades."""

    centre: tuple[float, float]
    radius: float
    level: np.ndarray
    theta: np.ndarray
    edge: float

    @property
    def inside(self) -> np.ndarray:
        """The mask that an expert would draw, one outline without holes: bool (h, w)."""
        parts, _ = ndimage.label(self.level > 0)
        largest = np.bincount(parts[parts > 0], minlength=2).argmax()
        return ndimage.binary_fill_holes(parts == largest)

    def soft(self, shift: float = 0.0) -> np.ndarray:
        """1 inside, 0 outside, one half where level is `shift`: float32 (h, w)."""
        return smooth_step((self.level - np.float32(shift)) / np.float32(self.edge) + np.float32(0.5))

    def ring(self, middle: float, width: float) -> np.ndarray:
        """1 where level is `middle`, 0 beyond `width` of it: float32 (h, w)."""
        return smooth_step(1 - np.abs(self.level - np.float32(middle)) / np.float32(width))


def outline(
    rng: np.random.Generator, grid: Grid, centre: tuple[float, float], radius: float, irregular: float, edge: float
) -> Outline:
    """A closed outline; irregular: 0 an ellipse … 1 lobed, notched and asymmetric."""
    x, y = grid.x - np.float32(centre[0]), grid.y - np.float32(centre[1])
    turn, stretch = rng.uniform(0, np.pi), np.sqrt(rng.uniform(1.0, 1.35 + 0.5 * irregular))
    along = (x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn))) / np.float32(stretch)
    across = (y * np.float32(np.cos(turn)) - x * np.float32(np.sin(turn))) * np.float32(stretch)
    theta = np.arctan2(across, along)
    border = np.ones_like(theta)
    for lobes in range(2, 8):
        size = rng.normal(0, (0.02 + 0.16 * irregular) / lobes**0.8)
        border += np.float32(size) * np.cos(lobes * theta + np.float32(rng.uniform(0, 2 * np.pi)))
    level = 1 - np.hypot(along, across) / (np.float32(radius) * np.maximum(border, np.float32(0.35)))
    level += np.float32(0.05 + 0.06 * irregular) * mottling(rng, grid, 0.4 * radius)
    return Outline(centre, radius, level.astype(np.float32), theta, edge)


# --------------------------------------------------------------------------------------------------------- structures
def mottling(rng: np.random.Generator, grid: Grid, scale: float) -> np.ndarray:
    """Noise with structures of `scale` cm and finer ones in them, float32 (h, w), standard deviation about 1."""
    octaves = [0.5**k * smooth_noise(rng, grid, max(scale / 2.5**k, 2 * grid.pixel)) for k in range(3)]
    return (octaves[0] + octaves[1] + octaves[2]) * np.float32(0.87)


def blotches(rng: np.random.Generator, grid: Grid, scale: float, share: float) -> np.ndarray:
    """Patches of about `scale` cm that cover about `share` of the field: float32 (h, w), 0 … 1."""
    noise = mottling(rng, grid, scale)
    return smooth_step(
        (noise - np.float32(np.quantile(noise[::4, ::4], 1 - share))) / np.float32(1.7) + np.float32(0.5)
    )


def network(rng: np.random.Generator, grid: Grid, spacing: float, irregular: float) -> np.ndarray:
    """A mesh of lines around round holes `spacing` cm apart: float32 (h, w), 1 on the lines.

    Three waves at 60° have their maxima on a hexagonal lattice; smooth noise bends it. irregular: 0 … 1, how much holes
    and lines vary.
    """
    spacing = max(spacing, 4.2 * grid.pixel)
    first, total = rng.uniform(0, np.pi), np.zeros(grid.shape, np.float32)
    bends = [smooth_noise(rng, grid, 6 * spacing) for _axis in range(2)]
    strength = np.float32((0.5 + 1.3 * irregular) * spacing)
    x, y = grid.x + strength * bends[0], grid.y + strength * bends[1]
    for angle in first + np.pi / 3 * np.arange(3):
        number = np.float32(2 * np.pi / (0.866 * spacing))
        total += np.cos(number * (x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))))
    total += np.float32(0.45 + 0.6 * irregular) * smooth_noise(rng, grid, 1.6 * spacing)
    return smooth_step((np.float32(0.35) - total) / np.float32(1.5) + np.float32(0.35))


def spots(
    rng: np.random.Generator, grid: Grid, where: np.ndarray, count: int, radii: tuple[float, float]
) -> np.ndarray:
    """`count` round spots with radii in cm, their centres drawn with the weights `where` (h, w): float32, 0 … 1."""
    drawing = SoftDrawing(grid, 1.0, 0.0)
    for x, y in _places(rng, grid, where, count):
        drawing.disc((x, y), max(rng.uniform(*radii), 0.6 * grid.pixel), rng.uniform(0.6, 1.0))
    return drawing.map()


def _places(rng: np.random.Generator, grid: Grid, where: np.ndarray, count: int) -> np.ndarray:
    """(count, 2) points in cm, drawn with the weights `where`; none where all weights are 0."""
    coarse = np.maximum(where[::3, ::3], 0).astype(np.float64)
    if not coarse.any():
        return np.empty((0, 2))
    rows, columns = np.divmod(rng.choice(coarse.size, count, p=coarse.ravel() / coarse.sum()), coarse.shape[1])
    points = np.stack([grid.x[0, 3 * columns], grid.y[3 * rows, 0]], axis=1)
    return points + rng.uniform(-1.5, 1.5, points.shape) * grid.pixel


def streaks(rng: np.random.Generator, grid: Grid, lesion: Outline, count: int, arc: float) -> np.ndarray:
    """Fingers that radiate over the border, on the share `arc` of it: float32 (h, w), 0 … 1."""
    drawing = SoftDrawing(grid, 1.0, 0.0)
    border = _places(rng, grid, np.exp(-((lesion.level / 0.05) ** 2)), 4 * count)
    if not len(border):
        return drawing.map()
    away = border - lesion.centre
    direction = np.arctan2(away[:, 1], away[:, 0])
    chosen = np.abs(np.angle(np.exp(1j * (direction - rng.uniform(0, 2 * np.pi))))) <= np.pi * arc
    for point, angle in zip(border[chosen][:count], direction[chosen], strict=False):
        step = np.array([np.cos(angle), np.sin(angle)]) * lesion.radius
        drawing.line([point - 0.16 * step, point + rng.uniform(0.03, 0.13) * step], 0.025 * lesion.radius + 0.006, 0.9)
    return drawing.map()


def branches(rng: np.random.Generator, grid: Grid, where: np.ndarray, trees: int, reach: float) -> np.ndarray:
    """Vessels that branch like trees, `reach` cm long: float32 (h, w), 0 … 1."""
    drawing = SoftDrawing(grid, 1.0, 0.0)
    for root in _places(rng, grid, where, trees):
        _branch(rng, drawing, root, rng.uniform(0, 2 * np.pi), reach, max(0.016, grid.pixel))
    return drawing.map()


def _branch(
    rng: np.random.Generator, drawing: SoftDrawing, point: np.ndarray, angle: float, reach: float, width: float
):
    points = [np.asarray(point)]
    for _piece in range(6):
        angle += rng.normal(0, 0.35)
        points.append(points[-1] + reach / 6 * np.array([np.cos(angle), np.sin(angle)]))
    drawing.line(points, width, 0.9)
    if reach > 0.09:
        for start in (points[3], points[-1]):
            for side in (-1, 1):
                _branch(rng, drawing, start, angle + side * rng.uniform(0.4, 0.9), 0.55 * reach, 0.7 * width)


def ridges(rng: np.random.Generator, grid: Grid, spacing: float) -> np.ndarray:
    """Winding parallel ridges and furrows: float32 (h, w), 1 in the furrows."""
    bend = smooth_noise(rng, grid, 3.5 * spacing)
    angle = rng.uniform(0, np.pi)
    along = grid.x * np.float32(np.cos(angle)) + grid.y * np.float32(np.sin(angle))
    wave = np.sin(np.float32(2 * np.pi / spacing) * along + 3.2 * bend)
    return smooth_step((wave - np.float32(0.1)) / np.float32(1.2) + 0.3)


# -------------------------------------------------------------------------------------------------------------- kinds
def melanoma(rng: np.random.Generator, grid: Grid, layers: Layers, lesion: Outline, strength: float) -> None:
    """Several colours without symmetry: atypical network, irregular globules, streaks, blue-white veil, regression."""
    size, soft = lesion.radius, lesion.soft()
    # About a tenth have little pigment and are pink.
    full = rng.uniform(0.15, 0.4) if rng.random() < 0.1 else np.exp(rng.normal(0.75, 0.5))
    pigment = full * soft * np.maximum(0.7 + 0.3 * mottling(rng, grid, 0.7 * size), 0.1)
    pigment += full * rng.uniform(0.6, 1.8) * blotches(rng, grid, 0.8 * size, rng.uniform(0.2, 0.5)) * lesion.soft(0.06)
    pigment *= 1 - rng.uniform(0.3, 0.8) * blotches(rng, grid, 0.7 * size, rng.uniform(0.1, 0.35))
    mesh = network(rng, grid, rng.uniform(0.045, 0.075), rng.uniform(0.5, 1.0))
    patchy = blotches(rng, grid, 0.6 * size, 0.4) * lesion.soft(-0.02)
    pigment += full * rng.uniform(0.2, 0.6) * patchy * (mesh - 0.35)
    around = lesion.soft(0.02) * (0.15 + blotches(rng, grid, 0.5 * size, 0.3))
    pigment += full * 0.8 * spots(rng, grid, around, int(rng.integers(8, 60)), (0.006, 0.022))
    if rng.random() < 0.5:
        pigment += full * 0.6 * streaks(rng, grid, lesion, int(rng.integers(15, 45)), rng.uniform(0.25, 0.7))
    layers.melanin += strength * np.maximum(pigment, 0)
    layers.blood += strength * soft * (0.2 + rng.uniform(0, 0.6) * blotches(rng, grid, 0.7 * size, 0.3))
    if rng.random() < 0.6:
        veil = blotches(rng, grid, 0.8 * size, rng.uniform(0.15, 0.4)) * lesion.soft(0.15)
        layers.melanin *= 1 - 0.5 * strength * veil
        layers.deep += strength * rng.uniform(0.6, 1.5) * veil
        layers.white += strength * rng.uniform(0.05, 0.18) * veil
    if rng.random() < 0.4:
        scar = blotches(rng, grid, 0.6 * size, rng.uniform(0.08, 0.2)) * lesion.soft(0.1)
        layers.melanin *= 1 - 0.75 * strength * scar
        layers.white += 0.25 * strength * scar
        layers.deep += 0.8 * strength * spots(rng, grid, scar, 40, (0.004, 0.01))


def naevus(rng: np.random.Generator, grid: Grid, layers: Layers, lesion: Outline, strength: float) -> None:
    """One or two browns in symmetry: regular network, globules or a homogeneous surface; a few are blue."""
    soft, grain = lesion.soft(), mottling(rng, grid, 0.6 * lesion.radius)
    if rng.random() < 0.06:
        layers.deep += strength * rng.uniform(1.2, 2.2) * soft * (0.9 + 0.1 * grain)
        return
    full = np.exp(rng.normal(0.35, 0.5))
    depth = np.clip(lesion.level, 0, 1)
    centre = 1 + depth * rng.choice([-0.8, 0.4, 1.4], p=[0.25, 0.35, 0.4])
    pigment = full * soft * np.maximum(centre * 0.75 + 0.22 * grain, 0.1)
    pattern = rng.random()
    if pattern < 0.55:
        mesh = network(rng, grid, rng.uniform(0.035, 0.055), rng.uniform(0.2, 0.6))
        pigment += full * rng.uniform(0.2, 0.5) * (mesh - 0.3) * lesion.soft(-0.05) * (1 - 0.5 * depth)
    elif pattern < 0.8:
        where = lesion.soft(0.03) * (0.4 + lesion.ring(0.15, 0.25))
        pigment += full * 0.5 * spots(rng, grid, where, int(rng.integers(50, 200)), (0.008, 0.02))
    layers.melanin += strength * np.maximum(pigment, 0)
    layers.blood += strength * soft * rng.uniform(0.05, 0.4)


def basal_cell_carcinoma(
    rng: np.random.Generator, grid: Grid, layers: Layers, lesion: Outline, strength: float
) -> None:
    """Pink and shiny: branching vessels, blue-grey nests, leaf-like rims, sometimes an ulcer."""
    soft, size = lesion.soft(), lesion.radius
    layers.blood += strength * soft * (rng.uniform(0.2, 0.45) + 0.1 * mottling(rng, grid, 0.4 * size))
    layers.white += strength * 0.16 * soft * blotches(rng, grid, 0.4 * size, 0.35)
    nests = spots(rng, grid, lesion.soft(0.1), int(rng.integers(2, 10)), (0.05 * size, 0.18 * size))
    nests = np.maximum(nests, spots(rng, grid, lesion.ring(0.06, 0.1), int(rng.integers(0, 30)), (0.01, 0.035)))
    nests *= np.clip(0.75 + 0.3 * mottling(rng, grid, 0.15 * size), 0.2, 1.2)
    layers.deep += strength * rng.uniform(0.5, 1.1) * nests
    layers.melanin += strength * 0.3 * nests
    layers.blood += strength * 0.9 * branches(rng, grid, lesion.soft(-0.05), int(rng.integers(2, 5)), 0.8 * size)
    if rng.random() < 0.4:
        ulcer = spots(rng, grid, lesion.soft(0.2), 3, (0.08 * size, 0.2 * size))
        layers.blood += strength * 1.2 * ulcer * blotches(rng, grid, 0.08, 0.7)
        layers.melanin += strength * 0.6 * ulcer * blotches(rng, grid, 0.05, 0.5)


def actinic_keratosis(rng: np.random.Generator, grid: Grid, layers: Layers, lesion: Outline, strength: float) -> None:
    """Red between pale follicles (strawberry), rough white scale; dotted vessels. Includes Bowen's disease."""
    soft, size = lesion.soft(), lesion.radius
    follicles = spots(rng, grid, lesion.soft(-0.1), int(rng.integers(25, 80)), (0.009, 0.02))
    red = rng.uniform(0.35, 0.7) + 0.2 * mottling(rng, grid, 0.3 * size)
    layers.blood += strength * soft * red * (1 - 0.7 * follicles)
    layers.blood += strength * 0.6 * spots(rng, grid, soft, int(rng.integers(30, 120)), (0.004, 0.009))
    layers.melanin += strength * rng.uniform(0.05, 0.6) * soft * blotches(rng, grid, 0.5 * size, 0.4)
    layers.yellow += strength * 0.2 * follicles * soft
    scale = blotches(rng, grid, 0.15 * size, 0.35) * blotches(rng, grid, 0.6 * size, 0.4) * lesion.soft(0.05)
    layers.white += strength * rng.uniform(0.4, 0.75) * scale


def keratosis(rng: np.random.Generator, grid: Grid, layers: Layers, lesion: Outline, strength: float) -> None:
    """Stuck on the skin with a sharp rim: milia-like cysts, comedo-like openings, fissures and ridges."""
    soft, size = lesion.soft(), lesion.radius
    full = np.exp(rng.normal(-0.1, 0.5))
    pigment = full * soft * np.maximum(0.8 + 0.3 * mottling(rng, grid, 0.4 * size), 0.1)
    if rng.random() < 0.6:
        pigment += full * 0.6 * soft * (ridges(rng, grid, rng.uniform(0.07, 0.12)) - 0.4)
    openings = spots(rng, grid, lesion.soft(0.05), int(rng.integers(3, 22)), (0.009, 0.026))
    layers.melanin += strength * np.maximum(pigment + 1.6 * openings, 0)
    layers.deep += strength * rng.uniform(0.0, 0.35) * soft
    layers.blood += strength * rng.uniform(0.0, 0.25) * soft
    layers.yellow += strength * rng.uniform(0.05, 0.22) * soft * blotches(rng, grid, 0.5 * size, 0.5)
    layers.white += strength * 0.55 * spots(rng, grid, lesion.soft(0.08), int(rng.integers(5, 40)), (0.006, 0.015))


def dermatofibroma(rng: np.random.Generator, grid: Grid, layers: Layers, lesion: Outline, strength: float) -> None:
    """A white scar-like centre within a delicate brown network."""
    soft = lesion.soft()
    scar = smooth_step((lesion.level - np.float32(rng.uniform(0.4, 0.6))) / np.float32(0.4) + np.float32(0.5))
    full = rng.uniform(0.35, 0.9)
    mesh = network(rng, grid, rng.uniform(0.035, 0.05), 0.35)
    brown = full * soft * (0.5 + 0.5 * (mesh - 0.3) + 0.15 * mottling(rng, grid, 0.15)) * (1 - 0.8 * scar)
    layers.melanin += strength * np.maximum(brown, 0)
    layers.blood += strength * soft * rng.uniform(0.1, 0.4)
    layers.white += strength * rng.uniform(0.25, 0.5) * scar * np.clip(0.7 + 0.3 * mottling(rng, grid, 0.1), 0, 1)


def vascular(rng: np.random.Generator, grid: Grid, layers: Layers, lesion: Outline, strength: float) -> None:
    """Sharply bounded lakes of blood, red to violet and black, between whitish septa."""
    soft, size = lesion.soft(), lesion.radius
    lakes = spots(rng, grid, lesion.soft(0.05), int(rng.integers(20, 60)), (0.08 * size, 0.2 * size)) * lesion.soft(
        0.02
    )
    old, uneven = rng.uniform(0, 1), np.clip(0.8 + 0.3 * mottling(rng, grid, 0.3 * size), 0.2, 1.4)
    layers.blood += strength * uneven * (0.7 * soft + rng.uniform(0.7, 1.6) * lakes)
    layers.deep += strength * old * (0.3 * soft + 1.1 * lakes * blotches(rng, grid, 0.4 * size, 0.5))
    layers.white += strength * 0.15 * soft * (1 - lakes)


@dataclass(frozen=True)
class Kind:
    """How a kind of lesion is drawn. radius: of typical ones in cm; irregular: range of outline's setting; edge: range
    of the width of the rim in shares of the radius; paint: adds it to the layers."""

    title: str
    radius: tuple[float, float]
    irregular: tuple[float, float]
    edge: tuple[float, float]
    paint: Callable[[np.random.Generator, Grid, Layers, Outline, float], None]


KINDS = {
    "MEL": Kind("melanoma", (0.32, 0.72), (0.4, 0.9), (0.15, 0.4), melanoma),
    "NV": Kind("melanocytic naevus", (0.2, 0.6), (0.0, 0.35), (0.2, 0.5), naevus),
    "BCC": Kind("basal cell carcinoma", (0.22, 0.5), (0.2, 0.7), (0.25, 0.5), basal_cell_carcinoma),
    "AKIEC": Kind("actinic keratosis", (0.25, 0.55), (0.3, 0.8), (0.3, 0.6), actinic_keratosis),
    "BKL": Kind("benign keratosis", (0.25, 0.55), (0.2, 0.6), (0.08, 0.2), keratosis),
    "DF": Kind("dermatofibroma", (0.2, 0.42), (0.0, 0.3), (0.3, 0.5), dermatofibroma),
    "VASC": Kind("vascular lesion", (0.16, 0.4), (0.1, 0.5), (0.08, 0.16), vascular),
}
"""Name in HAM10000 and in ISIC 2018 task 3 → how it is drawn."""

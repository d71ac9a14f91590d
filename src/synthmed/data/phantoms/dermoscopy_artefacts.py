"""What lies on dermoscopic photographs and is no skin, each with the mask of the pixels that it changes.

Names are those of the public artefact labels of ISIC 2018 (Bissoto 2020, table isic_bias.csv): dark corners of a round
field of view, hair, the border and bubbles of the immersion gel, rulers, pen marks, coloured patches.
"""

from collections.abc import Callable

import numpy as np

from synthmed.data.phantoms.canvas import Grid, SoftDrawing, smooth_noise, smooth_step

Light = np.ndarray
"""float32 (h, w, 3): picture values in [0, 1]."""

SHOWS = 0.08
"""A pixel belongs to an artefact when it covers this share of it."""

HAIRS = ("coarse", "fine", "short", "light")
"""Kinds of hair: thick and dark, thin and dark, shaven, grey or blond."""


def _over(picture: Light, cover: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Lay `colour` ((3,) or (h, w, 3)) over the picture in place, as much as `cover` (h, w) says; gives the mask."""
    picture += (colour - picture) * cover[..., None]
    return cover > SHOWS


def _corner(grid: Grid) -> np.ndarray:
    """Half width and half height of the field in cm: (2,)."""
    return np.array([grid.x[0, -1] - grid.x[0, 0], grid.y[-1, 0] - grid.y[0, 0]]) / 2


def hair(rng: np.random.Generator, grid: Grid, picture: Light, kind: str) -> np.ndarray:
    """Hairs of one of HAIRS: curves that cross the picture, or stubble."""
    half, drawing = _corner(grid), SoftDrawing(grid, 1.0, 0.0)
    count, length, width = {
        "coarse": (rng.integers(5, 22), 2.2, 0.009),
        "fine": (rng.integers(8, 40), 1.2, 0.004),
        "short": (rng.integers(20, 70), 0.16, 0.006),
        "light": (rng.integers(6, 25), 1.3, 0.006),
    }[kind]
    lie = rng.uniform(0, 2 * np.pi)  # most hairs of a place lie in one direction
    t = np.linspace(0, 1, 12)[:, None]
    for _hair in range(count):
        start = rng.uniform(-1.1, 1.1, 2) * half
        angle = lie + rng.normal(0, 0.6)
        reach = length * half[1] * rng.uniform(0.5, 1.2)
        end = start + reach * np.array([np.cos(angle), np.sin(angle)])
        bend = (start + end) / 2 + reach * rng.normal(0, 0.16) * np.array([-np.sin(angle), np.cos(angle)])
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        drawing.line(curve, width * rng.uniform(0.7, 1.3), rng.uniform(0.6, 1.0))
    colour = {"light": [0.80, 0.74, 0.66], "fine": [0.24, 0.15, 0.11]}.get(kind, [0.10, 0.06, 0.05])
    return _over(picture, drawing.map() * np.float32(0.9), np.array(colour, np.float32))


def ruler(rng: np.random.Generator, grid: Grid, picture: Light) -> np.ndarray:
    """Ticks along one side, one a millimetre, longer at five and ten, on bare skin or on a pale strip."""
    half, drawing = _corner(grid), SoftDrawing(grid, 1.0, 0.0)
    side, tilt = rng.integers(4), rng.normal(0, 0.12)
    angle = side * np.pi / 2 + tilt
    along, inwards = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    length, depth = (half[0], half[1]) if side % 2 == 0 else (half[1], half[0])
    base = -inwards * depth * rng.uniform(0.84, 0.97)
    mask = np.zeros(grid.shape, bool)
    if rng.random() < 0.4:
        strip = SoftDrawing(grid, 1.0, 0.0)
        ends = [base - 3 * length * along, base + 3 * length * along]
        strip.polygon([*ends, ends[1] + 0.3 * inwards, ends[0] + 0.3 * inwards], 1.0)
        mask |= _over(picture, strip.map() * np.float32(rng.uniform(0.35, 0.8)), np.float32([0.9, 0.9, 0.88]))
    millimetre = max(0.1, 4 * grid.pixel)
    for number in range(int(-1.2 * length / millimetre), int(1.2 * length / millimetre) + 1):
        tick = {0: 0.2, 5: 0.15}.get(number % 10, 0.1)
        start = base + number * millimetre * along
        drawing.line([start, start + tick * inwards], max(0.011, 0.8 * grid.pixel), 0.95)
    return mask | _over(picture, drawing.map() * np.float32(0.9), np.float32([0.12, 0.11, 0.12]))


def frame(rng: np.random.Generator, grid: Grid, picture: Light) -> np.ndarray:
    """Dark corners: all that lies outside of the dermatoscope's round field is black."""
    half = _corner(grid)
    centre = rng.normal(0, 0.03, 2) * half
    radius = rng.uniform(0.82, 1.02) * half[0] if rng.random() < 0.7 else rng.uniform(0.95, 1.1) * half[1]
    distance = np.hypot(grid.x - np.float32(centre[0]), grid.y - np.float32(centre[1]))
    soft = np.float32(rng.uniform(0.02, 0.12))
    return _over(picture, smooth_step((distance - np.float32(radius)) / soft + 0.5), np.float32([0.02, 0.02, 0.025]))


def bubbles(rng: np.random.Generator, grid: Grid, picture: Light) -> np.ndarray:
    """Air in the immersion gel: round, with a dark and a bright rim and a glint."""
    half, mask = _corner(grid), np.zeros(grid.shape, bool)
    near = rng.uniform(-0.9, 0.9, 2) * half
    for _bubble in range(rng.integers(3, 16)):
        at = near + rng.normal(0, 0.35, 2) * half
        radius = max(float(np.exp(rng.normal(-3.1, 0.5))), 2.2 * grid.pixel)
        x, y = grid.x - np.float32(at[0]), grid.y - np.float32(at[1])
        distance = np.hypot(x, y)
        rim = np.exp(-(((distance - radius) / max(0.12 * radius, 0.7 * grid.pixel)) ** 2))
        lit = 0.5 - 0.5 * (x + y) / (1.42 * radius)  # the lamp stands upper left
        bright = rim * np.clip(lit, 0, 1) * np.float32(0.75)
        glint = np.exp(-((np.hypot(x + 0.4 * radius, y + 0.4 * radius) / max(0.16 * radius, 0.6 * grid.pixel)) ** 2))
        mask |= _over(picture, rim * np.clip(1 - lit, 0, 1) * np.float32(0.45), np.float32([0.25, 0.2, 0.2]))
        mask |= _over(picture, np.maximum(bright, glint * np.float32(0.9)), np.float32([1.0, 0.98, 0.96]))
        mask |= _over(picture, (distance < radius) * np.float32(0.12), np.float32([1.0, 1.0, 1.0]))
    return mask


def gel_border(rng: np.random.Generator, grid: Grid, picture: Light) -> np.ndarray:
    """The rim of the immersion gel crosses the picture: a bright line, duller skin beyond it."""
    half, angle = _corner(grid), rng.uniform(0, 2 * np.pi)
    away = grid.x * np.float32(np.cos(angle)) + grid.y * np.float32(np.sin(angle))
    away = away - np.float32(rng.uniform(0.6, 0.85) * half[1]) + np.float32(0.05) * smooth_noise(rng, grid, 0.5)
    dry = smooth_step(away / np.float32(0.06) + 0.5) * np.float32(0.35)
    line = np.exp(-((away / max(0.012, grid.pixel)) ** 2)) * np.float32(0.55)
    mask = _over(picture, dry, np.float32([0.86, 0.82, 0.80]))
    return mask | _over(picture, line, np.float32([1.0, 1.0, 0.98]))


def ink(rng: np.random.Generator, grid: Grid, picture: Light) -> np.ndarray:
    """Pen marks of the surgeon: short strokes or a piece of an arc, violet or blue, uneven on the skin."""
    half, drawing = _corner(grid), SoftDrawing(grid, 1.0, 0.0)
    width = rng.uniform(0.04, 0.09)
    if rng.random() < 0.5:
        first, arc = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 2.2)
        angles = np.linspace(first, first + arc, 24)
        drawing.line(rng.uniform(0.75, 0.95) * half * np.stack([np.cos(angles), np.sin(angles)], axis=1), width, 1.0)
    else:
        for _stroke in range(rng.integers(2, 5)):
            angle = rng.uniform(0, 2 * np.pi)
            middle = rng.uniform(0.7, 0.95) * half * np.array([np.cos(angle), np.sin(angle)])
            step = rng.uniform(0.08, 0.22) * np.array([np.cos(angle), np.sin(angle)])
            drawing.line([middle - step, middle + step], width, 1.0)
    cover = drawing.map() * (0.62 + 0.22 * np.clip(smooth_noise(rng, grid, 0.05), -1, 1))
    colours = ([0.36, 0.22, 0.55], [0.16, 0.22, 0.55], [0.22, 0.14, 0.30])
    return _over(picture, cover, np.float32(colours[rng.integers(3)]))


def patch(rng: np.random.Generator, grid: Grid, picture: Light) -> np.ndarray:
    """A coloured round sticker that reaches into the picture, with a shadow at its rim."""
    half, angle = _corner(grid), rng.uniform(0, 2 * np.pi)
    radius = rng.uniform(0.35, 0.8)
    at = (half + (0.35 - rng.uniform(0, 0.35)) * radius) * np.array([np.cos(angle), np.sin(angle)])
    distance = np.hypot(grid.x - np.float32(at[0]), grid.y - np.float32(at[1]))
    shadow = smooth_step((radius + 0.05 - distance) / 0.08) * np.float32(0.35)
    mask = _over(picture, shadow, np.float32([0.2, 0.15, 0.15]))
    colours = ([0.92, 0.76, 0.20], [0.20, 0.42, 0.78], [0.25, 0.62, 0.38], [0.85, 0.35, 0.25], [0.75, 0.80, 0.86])
    cover = smooth_step((radius - distance) / np.float32(0.02) + 0.5)
    return mask | _over(
        picture, cover, np.float32(colours[rng.integers(5)]) * (1 + 0.03 * smooth_noise(rng, grid, 0.2))[..., None]
    )


ARTEFACTS: dict[str, Callable[..., np.ndarray]] = {
    "patches": patch,
    "ink": ink,
    "gel_border": gel_border,
    "gel_bubble": bubbles,
    "hair": hair,
    "ruler": ruler,
    "dark_corner": frame,
}
"""Name in isic_bias.csv → adds it to a picture in place and gives its mask, bool (h, w); in the order from the skin to
the lens. `hair` is asked for a kind, too."""

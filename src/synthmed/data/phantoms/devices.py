"""What is not the patient: pacemakers, tubes, electrodes with their wires, and letters that are burnt into the film."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synthmed.data.phantoms.canvas import Grid, SoftDrawing
from synthmed.data.phantoms.patient import Patient


def _curve(points: list[tuple[float, float]]) -> np.ndarray:
    """Smooth curve through the corners of a polyline (Chaikin's corner cutting, three times), (n, 2)."""
    line = np.array(points, dtype=float)
    for _ in range(3):
        first, second = 0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]
        line = np.concatenate([line[:1], np.stack([first, second], axis=1).reshape(-1, 2), line[-1:]])
    return line


def _pacemaker(rng: np.random.Generator, patient: Patient, drawing: SoftDrawing) -> None:
    height, half = patient.lung_height, patient.half_width
    x, y = rng.uniform(0.6, 0.75) * half, rng.uniform(0.15, 0.26) * height
    tip = (0.36 * half + rng.normal(0, 0.5), 0.88 * height)
    vein = (-1.6 + rng.normal(0, 0.3), 0.28 * height)
    atrium = (-2.4 + rng.normal(0, 0.3), 0.6 * height)
    lead = _curve([(x - 1, y - 1.5), (x - 3, y - 4), (1.0, 0.13 * height), vein, atrium, (-0.5, 0.84 * height), tip])
    drawing.line(lead, 0.2, 5)
    if rng.random() < 0.6:
        drawing.line(
            _curve([(x - 1, y - 1.2), (x - 3, y - 3.6), (1.2, 0.14 * height), vein, atrium, (-3.4, 0.56 * height)]),
            0.2,
            5,
        )
    turn = rng.normal(0, 0.3)
    outline = np.array([[np.cos(a), np.sin(a)] for a in np.linspace(0, 2 * np.pi, 24)])
    outline = np.sign(outline) * np.abs(outline) ** 0.6 * [rng.uniform(1.9, 2.4), rng.uniform(1.6, 2.1)]
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    drawing.polygon(outline @ rotation.T + [x, y], 12)


def _tube(rng: np.random.Generator, patient: Patient, drawing: SoftDrawing) -> None:
    height = patient.lung_height
    if rng.random() < 0.5:  # endotracheal tube
        end = (rng.normal(-0.2, 0.2), rng.uniform(0.18, 0.3) * height)
        drawing.line([(0.3, -14), (0.1, -3), end], 0.3, 3)
    else:  # nasogastric tube
        drawing.line(
            _curve([(0.6, -14), (0.2, 0), (0.4, 0.5 * height), (1.2, 0.95 * height), (5, 1.1 * height)]), 0.3, 2.5
        )


def _central_line(rng: np.random.Generator, patient: Patient, drawing: SoftDrawing) -> None:
    height, half = patient.lung_height, patient.half_width
    side = rng.choice([-1, 1])
    start = (side * 0.8 * half, 0.05 * height + rng.normal(0, 1.5))
    points = [
        start,
        (side * 0.45 * half, 0.08 * height),
        (side * 1.5, 0.15 * height),
        (-1.9, 0.3 * height),
        (-2.1, 0.48 * height),
    ]
    drawing.line(_curve(points), 0.22, 2.5)


def _electrodes(rng: np.random.Generator, patient: Patient, drawing: SoftDrawing) -> None:
    height, half = patient.lung_height, patient.half_width
    knot = (rng.uniform(-0.3, 0.6) * half, rng.uniform(1.0, 1.3) * height)
    for _ in range(int(rng.integers(2, 5))):
        spot = (rng.choice([-1, 1]) * rng.uniform(0.45, 1.0) * half, rng.uniform(0.05, 0.9) * height)
        bend = (0.5 * (spot[0] + knot[0]) + rng.normal(0, 3), 0.5 * (spot[1] + knot[1]) + rng.normal(0, 2))
        drawing.line(_curve([spot, bend, knot]), 0.15, 1.6)
        drawing.disc(spot, 0.55, 1.5)
        drawing.disc(spot, 0.25, 7)


DEVICES = {"pacemaker": _pacemaker, "tube": _tube, "central line": _central_line, "electrodes": _electrodes}


def add_devices(rng: np.random.Generator, patient: Patient, grid: Grid, path: np.ndarray) -> tuple[str, ...]:
    """Put one or two devices into `path` (in place); returns their names."""
    names = tuple(sorted(rng.choice(sorted(DEVICES), size=int(rng.integers(1, 3)), replace=False).tolist()))
    drawing = SoftDrawing(grid, full=12, soft=0.05)
    for name in names:
        DEVICES[name](rng, patient, drawing)
    path += drawing.map()
    return names


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def burn_text(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """Letters as a film carries them: the side marker in an upper corner, sometimes initials or a line of text.

    pixels: uint8 (h, w); returns a new array. "L" stands at the patient's left, which is the right of the image.
    """
    height, width = pixels.shape
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    size = max(7, round(height * rng.uniform(0.035, 0.06)))
    left = rng.random() < 0.3
    x = width * (rng.uniform(0.02, 0.09) if left else rng.uniform(0.88, 0.94))
    y = height * rng.uniform(0.02, 0.12)
    grey = int(rng.integers(200, 256))
    marker = "R" if left else "L"
    if rng.random() < 0.25:  # lead letter in a disc
        draw.ellipse([x - 0.5 * size, y - 0.25 * size, x + 1.1 * size, y + 1.35 * size], fill=grey)
        draw.text((x, y), marker, fill=int(rng.integers(0, 60)), font=_font(size))
    else:
        draw.text((x, y), marker, fill=grey, font=_font(size))
    if rng.random() < 0.5:
        initials = "".join(rng.choice(list("ABCDEFGHJKLMNPRSTW"), 2))
        draw.text(
            (x - 0.3 * size * (not left), y + 1.3 * size), initials, fill=grey, font=_font(max(6, round(0.7 * size)))
        )
    if rng.random() < 0.2:
        words = str(rng.choice(["PORTABLE", "PA ERECT", "AP", "STANDING", "12:41"]))
        place = (width * rng.uniform(0.02, 0.7), height * rng.uniform(0.9, 0.95))
        draw.text(place, words, fill=grey, font=_font(max(6, round(0.6 * size))))
    return np.asarray(image)


def burn_lines(rng: np.random.Generator, pixels: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Lines of text in white in a corner of the film, as machines of a certain age write name, number and date.

    pixels: uint8 (h, w); returns a new array.
    """
    height, width = pixels.shape
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    size = max(7, round(0.028 * height))
    x = width * (0.02 if rng.random() < 0.5 else 0.6)
    y = height * rng.uniform(0.02, 0.05) if rng.random() < 0.5 else height * 0.97 - 1.25 * size * len(lines)
    for number, line in enumerate(lines):
        draw.text((x, y + 1.25 * size * number), line, fill=255, font=_font(size))
    return np.asarray(image)

"""Ribs, spine, clavicles, shoulder blades and upper arms, the windpipe before the spine, as paths of water."""

import numpy as np

from synthmed.data.phantoms.canvas import Grid, SoftDrawing, add_ellipsoid, as_column, smooth_step
from synthmed.data.phantoms.patient import CAGE, Patient


def add_spine_and_airways(rng: np.random.Generator, patient: Patient, grid: Grid, tissue: np.ndarray) -> None:
    """Vertebrae (bodies, discs, pedicles) add bone; trachea and main bronchi take tissue away. In place."""
    height = patient.lung_height
    rows, columns = grid.window(-4, 4, -20, 60)
    x, y = grid.x[:, columns], grid.y[rows]
    curve = rng.normal(0, 0.25) * np.sin(y / height * 2.5 + rng.uniform(0, 6))
    half = 1.45 + 0.35 * smooth_step((y + 6) / (height + 6))
    across = np.abs(x - curve) / half
    spacing = 0.095 * height
    phase = (y / spacing + rng.random()) % 1
    body = smooth_step((0.5 - np.abs(phase - 0.5)) / 0.14)  # 0 in the disc, 1 in the vertebra
    edge = across * across
    edge = np.sqrt(np.maximum(1 - edge * edge, 0))
    pedicle = np.exp(-(((across - 0.62) / 0.16) ** 2) - ((phase - 0.35) / 0.13) ** 2)
    spinous = np.exp(-(((x - curve) / 0.3) ** 2) - ((phase - 0.8) / 0.16) ** 2)
    tissue[rows, columns] += patient.bone * (edge * (0.3 + 0.5 * body) + 0.45 * pedicle + 0.5 * spinous)
    # Air: trachea slightly to the patient's right, bronchi at about 35 and 50 degrees.
    drawing = SoftDrawing(grid, full=3, soft=0.3)
    drift = rng.normal(-0.2, 0.3)
    carina = 0.34 * height
    drawing.line([(0, -12), (0.05, -2), (drift, carina)], rng.uniform(1.5, 2.0), 1.6)
    drawing.line([(drift, carina - 0.4), (drift - 2.8, carina + 3.0)], 1.25, 1.0)
    drawing.line([(drift, carina - 0.4), (drift + 3.6, carina + 2.9)], 1.1, 0.9)
    tissue -= drawing.map()


def _rib_profile(rng: np.random.Generator, first: float, spacing: float, half: float, strength: float) -> np.ndarray:
    """Bone along the phase axis (cm from -4 on, 0.02 cm an entry): eleven hollow tubes, each a little different."""
    number = np.arange(11)
    centre = first + number * spacing * (1 + 0.012 * number) + rng.normal(0, 0.07, 11)
    radius = half * rng.uniform(0.9, 1.1, 11)
    axis = np.arange(2200) * 0.02 - 4
    nearest = np.searchsorted((centre[1:] + centre[:-1]) / 2, axis)
    offset = (axis - centre[nearest]) / radius[nearest]
    square = offset * offset
    tube = np.sqrt(np.maximum(1 - square, 0)) - 0.72 * np.sqrt(np.maximum(0.62 - square, 0))
    # Denser at the lower edge, where the groove of the vessels makes the cortex sharp.
    return (strength * tube * (1 + 0.25 * np.sign(offset))).astype(np.float32)


def add_ribs(
    rng: np.random.Generator, patient: Patient, grid: Grid, tissue: np.ndarray, ribs: np.ndarray, columns: slice
) -> None:
    """Posterior and anterior ribs of one side (the columns given), added to `tissue` and written to `ribs` in place."""
    height = patient.lung_height
    rows = grid.window(0, 0, -3.5, 1.4 * height)[0]
    x, y = np.abs(grid.x[:, columns]), grid.y[rows]
    cage = as_column(np.interp(y[:, 0] / height, *CAGE) * patient.half_width)
    ratio = x / cage
    inside = np.subtract(1, ratio)
    inside *= 4 * cage  # soft outer rim of a quarter of a centimetre
    np.minimum(np.maximum(inside, 0, out=inside), 1, out=inside)
    np.minimum(ratio, 1, out=ratio)
    ratio *= np.float32(0.965)
    square = ratio * ratio
    bulge = np.sqrt(1 - square)
    inside *= 1 + square * square * square  # a rib seen along its length, at the side, is denser
    spacing = height * 0.092
    slant = 0.75 + y * (0.5 / height)  # lower ribs fall more steeply
    fall = rng.uniform(4.2, 5.4)
    first = rng.uniform(-0.8, 0.1)
    # Behind: from the spine outwards, first slightly up, then down to the side. In units of table entries.
    square -= ratio
    square *= 0.84
    square -= fall * bulge
    square += fall
    square *= -50 * slant
    square += 50 * (y + 4)
    index = np.minimum(np.maximum(square, 0, out=square), 2199).astype(np.int16)
    table = _rib_profile(rng, first, spacing, rng.uniform(0.55, 0.68), rng.uniform(1.4, 2.1) * patient.bone)
    bone = table[index]
    bone *= np.minimum(np.maximum((x - 1.4) * 2, 0), 1)
    # In front: from the side downwards to the middle, ending where the cartilage begins.
    drop = rng.uniform(4.6, 6.2)
    bulge *= 0.6 * drop
    bulge -= 0.55 * drop * ratio
    bulge += fall + drop * 0.394
    bulge *= -50 * slant
    bulge += 50 * (y + 4)
    index = np.minimum(np.maximum(bulge, 0, out=bulge), 2199).astype(np.int16)
    table = _rib_profile(rng, first, spacing, rng.uniform(0.6, 0.78), rng.uniform(0.6, 1.1) * patient.bone)
    ratio -= 0.36 + 0.16 * np.clip(y / height, 0, 1)
    ratio *= 14
    front = table[index]
    front *= np.minimum(np.maximum(ratio, 0, out=ratio), 1, out=ratio)
    bone += front
    bone *= inside
    ribs[rows, columns] = bone
    tissue[rows, columns] += bone


def add_girdle(rng: np.random.Generator, patient: Patient, grid: Grid, tissue: np.ndarray) -> None:
    """Clavicles, scapulae and humeral heads of both sides, in place."""
    height, bone = patient.lung_height, patient.bone
    wide = patient.half_width / 14
    raised = rng.normal(0, 0.9)
    blades = SoftDrawing(grid, full=1.5, soft=0.35)
    rims = SoftDrawing(grid, full=1.5, soft=0.3)
    for side in (-1, 1):
        # Shoulder blade, turned out of the lungs more or less.
        out = rng.normal(1.0, 0.9) - patient.blades_inwards
        corners = np.array(
            [(11.2, 0.2), (13.5, -1.6), (16.3, -0.6), (16.6, 3.0), (14.9, 6.5), (13.4, 12.2), (12.4, 12.6), (11.6, 7)]
        )
        corners = (
            corners * [wide, height / 24] + [out, raised + rng.normal(0, 0.4)] + rng.normal(0, 0.25, corners.shape)
        )
        corners = corners * [side, 1]
        blades.polygon(corners, 0.35 * bone)
        rims.line(corners[[3, 4, 5, 6]], 0.45, 0.5 * bone)
        rims.line(corners[[7, 0]], 0.25, 0.25 * bone)
        rims.line(np.array([corners[0], corners[2] + [side * 1.5, -1.0]]), 0.8, 0.4 * bone)  # spine and acromion
        # Upper arm.
        head = (side * (18.6 * wide + out), 1.6 + raised)
        add_ellipsoid(tissue, grid, head, (2.4, 2.5), 0, 1.7 * bone)
        shaft = np.array([head, (head[0] + side * rng.uniform(0.8, 3.5), head[1] + 18)])
        rims.line(shaft + np.array([side * 0.9, 0]), 0.5, 0.7 * bone)
        rims.line(shaft - np.array([side * 0.9, 0]), 0.5, 0.7 * bone)
    tissue += blades.map() + rims.map()
    for side in (-1, 1):
        # Clavicle: an S from the sternum to the acromion, thick at both ends.
        start = (rng.uniform(1.6, 2.4), (0.15 + rng.normal(0, 0.015)) * height + 0.3 * raised)
        end = (16.4 * wide + rng.normal(0, 0.4), start[1] - rng.uniform(0.5, 5.0) + 0.5 * raised)
        low, high = (start[0], end[0]) if side > 0 else (-end[0], -start[0])
        rows, columns = grid.window(low, high, min(start[1], end[1]) - 4, max(start[1], end[1]) + 4)
        along = np.clip((np.abs(grid.x[:, columns]) - start[0]) / (end[0] - start[0]), 0, 1)
        middle = start[1] + (end[1] - start[1]) * along**0.7 + rng.uniform(0.25, 0.6) * np.sin(2 * np.pi * along)
        half = 0.52 + 0.32 * (1 - along) ** 4 + 0.12 * along
        distance = ((grid.y[rows] - middle) / half) ** 2
        tube = np.sqrt(np.maximum(1 - distance, 0)) - 0.62 * np.sqrt(np.maximum(0.6 - distance, 0))
        ends = smooth_step(along / 0.04) * smooth_step((1 - along) / 0.15)
        tissue[rows, columns] += (2.5 * bone * rng.uniform(0.75, 1.1)) * tube * ends

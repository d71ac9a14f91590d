"""CT series of chests of people who do not exist, with the truth: lungs, heart, windpipe.

A patient depends on the seed and on its number alone, so a larger set contains a smaller one.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from msgspec import Meta
from scipy import ndimage

from synthmed.core.errors import InputError
from synthmed.core.settings import Count, Seed, Share
from synthmed.data.phantoms.canvas import make_grid
from synthmed.data.phantoms.patient import Patient, draw_patient
from synthmed.data.phantoms.thorax import Thorax

ORGANS = ("lung", "heart", "trachea")

_NoNumber = Annotated[int, Meta(ge=0)]
_SMALLEST_HEART = 65.0
"""mm that every heart is high where it fills at least 1 in 200 of a slice."""
_STEMS, _GENERATIONS = 14, 7
"""Of the vessels of a lung: how many leave the hilum, and how often they fork."""


@dataclass(frozen=True)
class ThoraxSettings:
    """Phantom CT series. A preparation that takes `per_patient` slices a volume gets `slices` of them in all."""

    slices: Annotated[Count, Meta(description="Slices with lung and heart, of all patients whose masks fit.")]
    per_patient: Annotated[
        Count, Meta(description="Slices of a patient; a series has more, down from the neck to the liver.")
    ]
    misfits: Annotated[_NoNumber, Meta(description="Further patients whose masks do not fit their series.")]
    unmasked: Annotated[_NoNumber, Meta(description="Further patients without masks.")]
    image_size: Annotated[int, Meta(ge=64, description="Of a slice.", extra_json_schema={"unit": "px"})]
    slice_distance: Annotated[
        tuple[Annotated[float, Meta(gt=0)], Annotated[float, Meta(gt=0)]],
        Meta(description="Least and largest distance of slices.", extra_json_schema={"unit": "mm"}),
    ]
    difficulty: Annotated[Share, Meta(description="From 0, to 1: fibrosis, noise, no contrast medium.")]
    seed: Seed

    def __post_init__(self) -> None:
        if self.slices % self.per_patient:
            raise InputError(
                f"setting slices is {self.slices}; it must be a multiple of per_patient, {self.per_patient}"
            )
        if self.per_patient * self.slice_distance[1] > _SMALLEST_HEART:
            raise InputError(
                f"settings per_patient and slice_distance: {self.per_patient} slices {self.slice_distance[1]:g} mm "
                f"apart do not fit into a small heart, {_SMALLEST_HEART:g} mm"
            )
        if self.slice_distance[0] > self.slice_distance[1]:
            raise InputError(f"setting slice_distance is {list(self.slice_distance)}; the least comes first")

    @property
    def fitting(self) -> int:
        """Patients whose masks fit."""
        return self.slices // self.per_patient

    @property
    def patients(self) -> int:
        """All patients: those whose masks fit, then the misfits, then those without masks."""
        return self.fitting + self.misfits + self.unmasked


@dataclass(frozen=True)
class Series:
    """One CT series and its truth; slices from the neck downwards.

    hu: int16 (n, h, w), Hounsfield units, row 0 in front, column 0 at the patient's right; masks: organ → bool like hu;
    pixel, distance: of pixels and slices, mm; top: height of the first slice in the coordinates of the machine, mm.
    """

    patient: Patient
    hu: np.ndarray
    masks: dict[str, np.ndarray]
    pixel: float
    distance: float
    top: float


def draw(settings: ThoraxSettings, number: int) -> Series:
    """The series of patient `number`, from 0."""
    body, tree, machine, noise = np.random.default_rng([settings.seed, number]).spawn(4)
    thorax = _thorax(body, tree, settings.difficulty)
    person = thorax.patient
    width = 2 * (person.half_width + 1.8 + person.wall)
    pixel = width * machine.uniform(1.0, 1.12) / settings.image_size
    distance = machine.uniform(*settings.slice_distance) / 10
    shift = machine.normal(0, 0.012, 2)
    grid = make_grid(
        settings.image_size,
        settings.image_size,
        pixel,
        spine_column=settings.image_size * (0.5 + shift[0]),
        apex_row=settings.image_size * (0.5 + shift[1]),
    )
    heights = np.arange(-0.1 * person.lung_height + machine.uniform(0, distance), 1.02 * person.lung_height, distance)
    spread = machine.uniform(9, 15) + 12 * settings.difficulty
    slices = [thorax.slice(noise, grid, z, distance) for z in heights]
    blurred = [ndimage.gaussian_filter(one, 0.55) + spread * _grain(noise, grid.shape) for one in slices]
    masks = {
        "lung": [thorax.in_lungs(grid.x, grid.y, z) for z in heights],
        "heart": [thorax.in_heart(grid.x, grid.y, z) for z in heights],
        "trachea": [thorax.in_trachea(grid.x, grid.y, z) for z in heights],
    }
    return Series(
        person,
        np.clip(np.rint(blurred), -1024, 3071).astype(np.int16),
        {organ: np.stack(found) for organ, found in masks.items()},
        round(10 * pixel, 4),
        round(10 * distance, 3),
        round(float(machine.uniform(-150, 100)), 1),
    )


def _grain(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Noise of a soft kernel: neighbouring pixels hang together; standard deviation 1."""
    grain = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 0.7)
    return grain / grain.std()


def _thorax(body: np.random.Generator, tree: np.random.Generator, difficulty: float) -> Thorax:
    person = draw_patient(body)
    along = person.heart_width * person.half_width * body.uniform(0.98, 1.08)
    centre = (body.normal(1.9, 0.3), -0.56 * person.depth * body.uniform(0.18, 0.26), body.uniform(0.64, 0.69))
    plain = Thorax(
        person,
        (centre, (along, along * body.uniform(0.7, 0.78), 0.215 * person.lung_height * body.uniform(0.95, 1.1))),
        turn=body.uniform(0.35, 0.7),
        contrast=float(body.uniform(60, 190)) if body.random() < 0.6 * (1 - difficulty) else 0.0,
        fibrosis=float(np.clip(body.normal(0.15 + 0.6 * difficulty, 0.15), 0, 1)),
        domes=(body.uniform(0.77, 0.83), body.uniform(0.82, 0.88)),
        rib_phase=body.random(),
        aorta=float(np.clip(1.05 + 0.006 * person.age + body.normal(0, 0.06), 1, 1.8)),
        trachea=0.82 if person.sex == "F" else 0.98,
        gas=body.uniform(1.0, 3.0),
        vessels=np.zeros((0, 4)),
    )
    vessels = [_vessels(tree, plain, side) for side in (-1, 1)]
    return replace(plain, vessels=np.concatenate(vessels))


def _vessels(rng: np.random.Generator, thorax: Thorax, side: int) -> np.ndarray:
    """Vessels of one lung as points (n, 4): x, y, z, radius. They fork from the hilum on, and end at the pleura."""
    height = thorax.patient.lung_height
    root = np.array([side * 3.4, 0.3, 0.48 * height])
    way = rng.normal(size=(_STEMS, 3)) * (0.9, 0.9, 1.3) + (1.0 * side, 0.1, 0.25)
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    start, radius = np.repeat(root[None], _STEMS, axis=0), rng.uniform(0.26, 0.44, _STEMS)
    found = []
    for generation in range(_GENERATIONS):
        length = rng.uniform(0.75, 1.25, len(way)) * 3.0 * 0.84**generation
        end = start + way * length[:, None]
        steps = np.linspace(0, 1, 30)[:, None, None]
        points = start + steps * (end - start)
        inside = thorax.in_lungs(points[..., 0], points[..., 1], points[..., 2])
        found.append(np.dstack([points, np.broadcast_to(radius, inside.shape)])[inside])
        kept = thorax.in_lungs(end[:, 0], end[:, 1], end[:, 2]) | (generation == 0)
        start, way = np.repeat(end[kept], 2, axis=0), np.repeat(way[kept], 2, axis=0)
        radius = np.repeat(radius[kept], 2) * rng.uniform(0.62, 0.8, 2 * kept.sum())
        way = way + 0.55 * rng.normal(size=way.shape)
        way /= np.linalg.norm(way, axis=1, keepdims=True)
    return np.concatenate(found)

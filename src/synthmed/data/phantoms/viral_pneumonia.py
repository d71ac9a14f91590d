"""Frontal chest X-rays of people who do not exist, healthy or with viral pneumonia, children and adults.

The signs of viral pneumonia in children (Franquet 2011, Radiology 260:18): streaks that leave both hila (thickened
bronchial walls), a net of fine lines, ground glass in patches, on both sides and without a sharp border; lungs that are
blown up. In the public set the sick are children of one hospital and most of the healthy are adults of another, so age,
build, exposure and lead letters tell the classes apart as well: `children` says how much of that a set has.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from PIL import Image
from scipy import ndimage

from synthmed.core.errors import InputError
from synthmed.core.settings import Count, Seed, Share
from synthmed.data.phantoms import film
from synthmed.data.phantoms.anatomy import Anatomy, render
from synthmed.data.phantoms.canvas import Grid, SoftDrawing, make_grid, rotated, smooth_noise, smooth_step
from synthmed.data.phantoms.devices import burn_text
from synthmed.data.phantoms.findings import Severity, harmless_shadows, plant, severity
from synthmed.data.phantoms.patient import Patient, draw_patient

LABELS = ("normal", "viral_pneumonia")
CHILDREN, ADULTS = "children", "adults"
"""The two hospitals."""

LETTERS = {CHILDREN: 0.85, ADULTS: 0.35}
"""Share of the films of each hospital with burnt-in letters."""


@dataclass(frozen=True)
class ViralPhantomSettings:
    """Phantom films with and without viral pneumonia."""

    normal: Annotated[Count, Meta(description="Films without pneumonia.")]
    viral_pneumonia: Annotated[Count, Meta(description="Films with viral pneumonia.")]
    children: Annotated[
        dict[Literal[LABELS], Share],
        Meta(
            description="Share of the films of each class that show children, who are films of another hospital; equal "
            "shares leave nothing but the lungs to tell the classes apart."
        ),
    ]
    duplicate_share: Annotated[
        Share, Meta(description="Share of the films that lie in the archive a second time, under another name.")
    ]
    difficulty: Annotated[
        Share, Meta(description="From 0, plain findings, to 1, findings at the limit of what is visible.")
    ]
    image_size: Annotated[int, Meta(ge=64, description="Side of the films.", extra_json_schema={"unit": "px"})]
    seed: Seed

    def __post_init__(self) -> None:
        if set(self.children) != set(LABELS):
            raise InputError(f"setting options.children must give a share for each of {list(LABELS)}")


@dataclass(frozen=True)
class ViralFilm:
    """One film and all that is true about it. pixels: uint8 (H, W), bone bright; lungs: bool (H, W); hospital: CHILDREN
    or ADULTS; water: float32 (H, W), cm of water that the pneumonia puts into the lungs."""

    pixels: np.ndarray
    label: str
    lungs: np.ndarray
    hospital: str
    age: int
    water: np.ndarray


def draw_child(rng: np.random.Generator) -> Patient:
    """A child of one to five years, lying (AP): a round chest, high lungs, a wide heart, little bone and muscle.

    Lengths are those of an adult of this build; the film is as large as the child.
    """
    adult = draw_patient(rng)
    return dataclasses.replace(
        adult,
        age=int(rng.integers(1, 6)),
        lung_height=adult.half_width * float(rng.uniform(1.36, 1.58)),
        depth=adult.half_width * float(rng.uniform(1.15, 1.35)),
        wall=0.6 * adult.wall,
        heart_width=float(np.clip(rng.normal(0.52, 0.035), 0.43, 0.62)),
        bone=float(rng.uniform(0.6, 0.85)),
        breast=0.0,
        blades_inwards=float(rng.uniform(1.5, 4.0)),
    )


def viral_pneumonia(rng: np.random.Generator, anatomy: Anatomy, grid: Grid, level: Severity) -> np.ndarray:
    """Water (cm) of a viral pneumonia on both sides, float32 (h, w): streaks from the hila, a net, and ground glass."""
    height, half = anatomy.patient.lung_height, anatomy.patient.half_width
    streaks = SoftDrawing(grid, full=2, soft=0.15)
    for side in (-1, 1):
        hilum = np.array([side * 0.22 * half, 0.45 * height])
        for turn in rng.uniform(-0.45, 0.5, 12) * np.pi:
            reach = rng.uniform(0.25, 0.6) * half * level.size
            way = np.array([side * np.cos(turn), 1.15 * np.sin(turn)])
            fork = hilum + 0.55 * reach * way + rng.normal(0, 0.03, 2) * half
            streaks.line([hilum + 0.2 * reach * way, fork], rng.uniform(0.3, 0.5), rng.uniform(0.5, 1.1))
            for _ in range(2):
                end = hilum + reach * way + rng.normal(0, 0.07, 2) * half
                streaks.line([fork, end], rng.uniform(0.18, 0.3), rng.uniform(0.4, 0.9))
    bronchi = ndimage.gaussian_filter(streaks.map(), 0.16 / grid.pixel)
    ridges = np.zeros(grid.shape, np.float32)
    for scale, weight in ((1.0, 1.0), (0.55, 0.6)):  # where smooth noise crosses zero is a net of curved lines
        ridges += np.float32(weight) * np.maximum(1 - np.abs(smooth_noise(rng, grid, scale)) / np.float32(0.4), 0)
    # Ground glass: soft patches, more of them around the hila than at the rim, at least as a veil in both lungs.
    across, down = np.abs(grid.x) / np.float32(half), (grid.y / np.float32(height)) - np.float32(0.5)
    central = np.exp(-(((across - 0.35) / 0.45) ** 2) - (down / np.float32(rng.uniform(0.35, 0.55))) ** 2)
    patches = smooth_step(0.5 + 0.45 * smooth_noise(rng, grid, 4.5) + 0.25 * smooth_noise(rng, grid, 2.0))
    glass = central * (np.float32(0.25) + np.float32(rng.uniform(0.6, 1.0)) * patches)
    water = 1.3 * bronchi + 1.1 * central * ridges * (0.4 + patches) + 4.2 * glass
    return water.astype(np.float32) * np.float32(level.thickness)


def draw(rng: np.random.Generator, settings: ViralPhantomSettings, label: str) -> ViralFilm:
    """One film of the class `label`. rng: made by np.random.default_rng; its spawned children are used."""
    frame, body, finding, extras, exposing = rng.spawn(5)
    child = bool(frame.random() < settings.children[label])
    hospital = CHILDREN if child else ADULTS
    patient = draw_child(body) if child else draw_patient(body)
    side, margin = settings.image_size, math.ceil(0.05 * settings.image_size)
    # Children's films show more of neck, arms and belly, and lie less straight.
    room = frame.uniform(1.25, 1.55) if child else frame.uniform(1.15, 1.38)
    pixel = room * max(2 * patient.half_width, patient.lung_height) / side
    angle = float(np.clip(frame.normal(0, 0.05 if child else 0.025), -0.1, 0.1))
    free = side - patient.lung_height / pixel  # rows above and below the lungs
    grid = make_grid(
        side + 2 * margin,
        side + 2 * margin,
        pixel,
        spine_column=margin + side * (0.5 + frame.normal(0, 0.02)),
        apex_row=margin + free * float(np.clip(frame.normal(0.42, 0.07), 0.2, 0.7)),
    )
    anatomy = render(body, patient, grid)
    shadows = harmless_shadows(extras, anatomy, grid)
    water = np.zeros(grid.shape, np.float32)
    if label == "viral_pneumonia":
        water = viral_pneumonia(finding, anatomy, grid, severity(finding, settings.difficulty, 0.6))
    path = rotated(plant(anatomy, shadows + water), angle, side, side, Image.Resampling.BILINEAR)
    exposure = film.draw_exposure(exposing)
    if child:  # another machine: softer, with more scatter
        exposure = dataclasses.replace(exposure, gamma=0.88 * exposure.gamma, detail=0.5 * exposure.detail)
    pixels = np.rint(film.expose(exposing, path, exposure, 1024) * np.float32(255)).astype(np.uint8)
    if extras.random() < LETTERS[hospital]:
        pixels = burn_text(extras, pixels)
    lungs = rotated(anatomy.lungs, angle, side, side, Image.Resampling.NEAREST) > 0
    water = rotated(water, angle, side, side, Image.Resampling.BILINEAR) * lungs
    return ViralFilm(pixels, label, lungs, hospital, patient.age, water)


def draws(settings: ViralPhantomSettings, seed: int, labels: Iterable[str]) -> Iterator[ViralFilm]:
    """Fresh films of the phantom's true distribution, one a label; film i depends on (seed, i) and labels[i] only."""
    for number, label in enumerate(labels):
        yield draw(np.random.default_rng([seed, number]), settings, label)

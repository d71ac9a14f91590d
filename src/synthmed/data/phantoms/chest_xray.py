"""Frontal chest X-rays of people who do not exist, with planted tuberculosis and its truth.

`draw` makes one film from a random generator; `draws` makes any number of fresh ones. Film i depends on the seed
and on i alone, so a larger set contains a smaller one and the order of making them does not matter. The same patient
with another label or difficulty keeps body, exposure and devices: these come from random streams of their own.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta
from PIL import Image
from scipy import ndimage

from synthmed.core.errors import InputError
from synthmed.core.settings import Count, Seed, Share
from synthmed.data.phantoms import film
from synthmed.data.phantoms.anatomy import Anatomy, render
from synthmed.data.phantoms.canvas import Grid, make_grid, rotated
from synthmed.data.phantoms.devices import add_devices, burn_text
from synthmed.data.phantoms.findings import FINDINGS, ROOM, TUBERCULOSIS, harmless_shadows, plant, severity
from synthmed.data.phantoms.patient import draw_patient

LABELS = ("normal", "abnormal")

MONTGOMERY_SHARE = {"normal": 80 / 406, "abnormal": 58 / 394}
"""Share of each class from the smaller hospital, as in the real sets (Jaeger 2014: 80/58 and 326/336 films)."""


@dataclass(frozen=True)
class PhantomSettings:
    """Phantom films with and without tuberculosis. Shares are probabilities of a film."""

    normal: Annotated[Count, Meta(description="Films without tuberculosis.")]
    abnormal: Annotated[Count, Meta(description="Films with tuberculosis.")]
    seed: Seed
    difficulty: Annotated[
        Share, Meta(description="From 0, plain findings, to 1, findings at the limit of what is visible.")
    ]
    image_size: Annotated[
        int, Meta(ge=64, description="Longer side of the largest film.", extra_json_schema={"unit": "px"})
    ]
    device_share: Annotated[Share, Meta(description="Share of films with a pacemaker, tube, line or electrodes.")]
    text_share: Annotated[Share, Meta(description="Share of films with burnt-in letters.")]
    black_border_share: Annotated[Share, Meta(description="Share of the smaller hospital's films with black borders.")]
    palette_share: Annotated[Share, Meta(description="Share of the larger hospital's films saved as palette PNG.")]


@dataclass(frozen=True)
class Finding:
    """A planted finding: kind (a key of FINDINGS) and box (left, top, right, bottom) in pixels, end exclusive."""

    kind: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Phantom:
    """One film and all that is true about it.

    pixels: uint8 (H, W), bone bright; lungs: uint8 (H, W), 0 outside, 1 the patient's right lung, 2 the left;
    finding_mask: uint8 (H, W), 0 outside, n inside findings[n - 1].
    """

    pixels: np.ndarray
    label: str
    findings: tuple[Finding, ...]
    finding_mask: np.ndarray
    lungs: np.ndarray
    sex: str
    age: int
    site: str
    devices: tuple[str, ...]
    palette: bool


def _plant_tuberculosis(
    rng: np.random.Generator, anatomy: Anatomy, grid: Grid, difficulty: float
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """One to three findings: their water in cm (h, w), a map of their numbers uint8 (h, w), and their kinds."""
    water = np.zeros(grid.shape, np.float32)
    numbers = np.zeros(grid.shape, np.uint8)
    kinds: list[str] = []
    wanted = int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
    while len(kinds) < wanted:
        kind = TUBERCULOSIS[rng.integers(len(TUBERCULOSIS))]
        one = np.minimum(FINDINGS[kind](rng, anatomy, grid, severity(rng, difficulty, 0.0)), ROOM * anatomy.air)
        inside = (one > 0.3 * one.max()) & (numbers == 0)
        # A place outside the film or wholly inside an earlier finding does not count; another one is drawn.
        if inside.sum() * grid.pixel**2 > 0.5:
            kinds.append(kind)
            numbers[inside] = len(kinds)
            water += one
    return water, numbers, kinds


def _framed(values: np.ndarray, shape: tuple[int, int], corner: tuple[int, int]) -> np.ndarray:
    """`values` (h, w) laid on a black frame of `shape` with its upper left corner at `corner` (row, column)."""
    frame = np.zeros(shape, values.dtype)
    frame[corner[0] : corner[0] + values.shape[0], corner[1] : corner[1] + values.shape[1]] = values
    return frame


def _size(rng: np.random.Generator, site: str, longest: int) -> tuple[int, int]:
    """Height and width of a film of the hospital in pixels: Montgomery's two fixed sizes, Shenzhen's many."""
    if site == "montgomery":
        sides = longest, round(longest * 4020 / 4892)
    else:
        longer = longest * rng.uniform(0.8, 1.0)
        sides = round(longer), round(longer * rng.uniform(0.82, 1.0))
    return sides if rng.random() < 0.5 else sides[::-1]


def draw(rng: np.random.Generator, settings: PhantomSettings, label: str) -> Phantom:
    """One film of class `label` ("normal" or "abnormal").

    rng: made by np.random.default_rng; its spawned children are used, so each call gives another film.
    Raises InputError for another label or a setting out of range.
    """
    if label not in LABELS:
        raise InputError(f"label {label!r} is unknown to the chest X-ray phantom; it draws {list(LABELS)}")
    frame, body, finding, extras, exposing = rng.spawn(5)

    # The film.
    site = "montgomery" if frame.random() < MONTGOMERY_SHARE[label] else "shenzhen"
    outer = _size(frame, site, settings.image_size)
    bordered, margins = frame.random(), frame.uniform(0.72, 0.98, 2)
    bordered = site == "montgomery" and bordered < settings.black_border_share
    height, width = (round(side * margin) for side, margin in zip(outer, margins, strict=True)) if bordered else outer
    place = frame.random(2)
    corner = (round(place[0] * (outer[0] - height)), round(place[1] * (outer[1] - width)))
    palette = site == "shenzhen" and frame.random() < settings.palette_share
    angle = float(np.clip(frame.normal(0, 0.025), -0.08, 0.08))

    # The patient on a slightly larger field, so that the rotated film has no empty corners.
    patient = draw_patient(body)
    pixel = max(
        2 * patient.half_width * frame.uniform(1.18, 1.42) / width,
        patient.lung_height * frame.uniform(1.18, 1.36) / height,
    )
    margin = math.ceil(0.04 * max(height, width))
    free = height - patient.lung_height / pixel  # rows above and below the lungs
    grid = make_grid(
        height + 2 * margin,
        width + 2 * margin,
        pixel,
        spine_column=margin + width * (0.5 + frame.normal(0, 0.02)),
        apex_row=margin + free * float(np.clip(frame.normal(0.45, 0.09), 0.2, 0.7)),
    )
    anatomy = render(body, patient, grid)
    water = harmless_shadows(extras, anatomy, grid)
    numbers, kinds = np.zeros(grid.shape, np.uint8), []
    if label == "abnormal":
        lesions, numbers, kinds = _plant_tuberculosis(finding, anatomy, grid, settings.difficulty)
        water += lesions
    path = plant(anatomy, water)
    has_device = extras.random() < settings.device_share
    devices = add_devices(extras, patient, grid, path) if has_device else ()

    # The picture.
    path = rotated(path, angle, height, width, Image.Resampling.BILINEAR)
    pixels = np.rint(film.expose(exposing, path, film.draw_exposure(exposing), 1024) * np.float32(255)).astype(np.uint8)
    if extras.random() < settings.text_share:
        pixels = burn_text(extras, pixels)
    lungs = rotated(anatomy.lungs, angle, height, width, Image.Resampling.NEAREST)
    numbers = rotated(numbers, angle, height, width, Image.Resampling.NEAREST)
    if bordered:
        pixels, lungs, numbers = (_framed(values, outer, corner) for values in (pixels, lungs, numbers))
    boxes = ndimage.find_objects(numbers, max_label=len(kinds))
    findings = tuple(
        Finding(kind, (box[1].start, box[0].start, box[1].stop, box[0].stop))
        for kind, box in zip(kinds, boxes, strict=True)
        if box is not None
    )
    return Phantom(pixels, label, findings, numbers, lungs, patient.sex, patient.age, site, devices, palette)


def draws(settings: PhantomSettings, seed: int, labels: Iterable[str]) -> Iterator[Phantom]:
    """Fresh films of the phantom's true distribution, one a label, one at a time.

    seed: non-negative; with another seed than that of the real set this is the perfect ("oracle") generator.
    Film i depends on (seed, i) and labels[i] only.
    """
    for number, label in enumerate(labels):
        yield draw(np.random.default_rng([seed, number]), settings, label)


def labels(settings: PhantomSettings) -> list[str]:
    """The labels of the set that `settings` describe: all normals, then all abnormals."""
    return ["normal"] * settings.normal + ["abnormal"] * settings.abnormal

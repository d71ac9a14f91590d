"""Frontal chest films of the experiment chest_findings: who is on them, how they were taken, what is planted in them.

`plans` decides every film of a set, `draw` makes one of them. Shares are met exactly (rounded to whole films), so that
a small set has its exceptions, too. A film depends on the settings and its own plan alone, so that films can be made
in any order and by several processes. Films of one patient share body, old scars and the place of the findings.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.settings import Count, Seed, Share
from synthmed.data.phantoms import film
from synthmed.data.phantoms.anatomy import Anatomy, render
from synthmed.data.phantoms.canvas import Grid, make_grid, rotated
from synthmed.data.phantoms.chest_xray import Finding
from synthmed.data.phantoms.devices import add_devices, burn_lines, burn_text
from synthmed.data.phantoms.findings import ROOM, harmless_shadows, severity
from synthmed.data.phantoms.pathology import KINDS, LEFT, RIGHT, TRAINED, Sign, sign
from synthmed.data.phantoms.patient import Patient, draw_patient

BITS = 12
"""Bits of a pixel, as in the document (seed 004, 1.1)."""
WHITE = 2**BITS - 1

MAIN_MANUFACTURER = "Northlight Medical"
OTHER_MANUFACTURERS = ("Corvus Imaging", "Helios Roentgentechnik")
"""Fictitious, so that no phantom looks like somebody's film."""

COMPRESSED = ("RLELossless", "JPEG2000Lossless", "JPEGLSLossless", "JPEGLosslessSV1", "JPEGBaseline8Bit")
"""Compressed transfer syntaxes by their keyword in pydicom; the last one is lossy and has 8 bits."""
UNCOMPRESSED = ("ExplicitVRLittleEndian", "ImplicitVRLittleEndian")
MISSING = ("age", "sex", "view", "manufacturer", "window", "spacing")
"""What a film with missing tags lacks (one of these)."""
DAMAGES = ("text", "cut off", "no pixels", "unknown transfer syntax")
"""What is wrong with the files that are no usable film."""

ADULT = 19
"""Years; younger patients are excluded by the document (seed 004, 1.1)."""

_FAINTEST = 0.75
"""Without a limit some plain findings would be lost at 64 pixels."""

_TRIES = 12
_SMALLEST = 0.5
"""cm² that a finding must show inside the film; otherwise it is drawn again."""


@dataclass(frozen=True)
class ChestSettings:
    """Phantom films with findings. Shares are of all films, unless they say otherwise, and met exactly but for
    rounding."""

    normal: Annotated[Count, Meta(description="Films without a finding.")]
    findings: Annotated[
        dict[Literal[tuple(KINDS)], Annotated[int, Meta(ge=0)]],
        Meta(min_length=1, description="Films that have each of these findings as their first."),
    ]
    several_share: Annotated[
        Share,
        Meta(
            description="Share of the films with one of the first five findings that have another of these five, too."
        ),
    ]
    repeat_share: Annotated[Share, Meta(description="Share of the patients that have two to four films.")]
    minor_share: Annotated[Share, Meta(description="Share of the patients that are younger than 19 years.")]
    ap_share: Annotated[Share, Meta(description="Share of films taken from front to back.")]
    other_manufacturer_share: Annotated[
        Share, Meta(description="Share of films of other manufacturers than Northlight Medical.")
    ]
    device_share: Annotated[Share, Meta(description="Share of films with a pacemaker, tube, line or electrodes.")]
    device_labelled_share: Annotated[
        Share, Meta(description="Share of films whose label says whether there is a device.")
    ]
    monochrome1_share: Annotated[Share, Meta(description="Share of films stored inverted.")]
    compressed_share: Annotated[
        Share,
        Meta(description="Share of films in RLE, JPEG 2000, JPEG-LS, lossless JPEG or (8 bits, lossy) baseline JPEG."),
    ]
    missing_tag_share: Annotated[
        Share, Meta(description="Share of films without age, sex, view, manufacturer, window or pixel spacing.")
    ]
    marker_share: Annotated[Share, Meta(description="Share of films with a side marker and the like.")]
    burnt_text_share: Annotated[
        Share, Meta(description="Share of films with a (made-up) name, number and date burnt in.")
    ]
    collimated_share: Annotated[Share, Meta(description="Share of films with black borders declared as padding.")]
    malformed: Annotated[int, Meta(ge=0, description="Further files that are no usable film.")]
    difficulty: Annotated[
        Share, Meta(description="From 0, plain findings, to 1, findings at the limit of what is visible.")
    ]
    image_size: Annotated[int, Meta(ge=64, description="Longer side of the films.", extra_json_schema={"unit": "px"})]
    seed: Seed
    workers: Annotated[Count, Meta(description="Processes that draw. The films do not depend on it.")]

    def __post_init__(self) -> None:
        if sum(self.findings.values()) == 0:
            raise InputError("setting options.findings: both classes need at least one film")


@dataclass(frozen=True)
class FilmPlan:
    """What is decided about a film before it is drawn. number: 1 … N; patient, visit: 0, 1, …; findings: kinds;
    missing: one of MISSING or ""; damage: one of DAMAGES or ""."""

    number: int
    patient: int
    visit: int
    findings: tuple[str, ...]
    minor: bool
    view: str
    manufacturer: str
    device: bool
    device_labelled: bool
    photometric: str
    transfer_syntax: str
    missing: str
    marker: bool
    burnt_text: bool
    collimated: bool
    damage: str


@dataclass(frozen=True)
class ChestFilm:
    """One film and all that is true about it.

    pixels: uint16 (H, W), 0 … WHITE, bone bright; padding: bool (H, W), outside of the collimated field; findings: with
    boxes in pixels, one for every part that a reader would mark; mask: uint8 (H, W), 255 inside any finding; patient;
    pixel: width of a pixel in cm; devices: names.
    """

    pixels: np.ndarray
    padding: np.ndarray
    findings: tuple[Finding, ...]
    mask: np.ndarray
    patient: Patient
    pixel: float
    devices: tuple[str, ...]


# ------------------------------------------------------------------------------------------------------------- plans
def _stream(settings: ChestSettings, *key: int) -> np.random.Generator:
    """A random generator of its own for every purpose and number."""
    return np.random.default_rng([settings.seed, *key])


_PLAN, _BODY, _SHADOWS, _FINDING, _FILM, _PERSON = range(6)


def _chosen(rng: np.random.Generator, count: int, share: float) -> np.ndarray:
    """bool (count,): round(share · count) of them, at random."""
    marked = np.arange(count) < math.floor(share * count + 0.5)
    return rng.permutation(marked)


def _dealt(rng: np.random.Generator, count: int, share: float, values: Sequence[str], otherwise: str) -> list[str]:
    """`count` texts: a share of them from `values`, each equally often, the others `otherwise`."""
    marked = np.flatnonzero(_chosen(rng, count, share))
    texts = [otherwise] * count
    for place, index in enumerate(rng.permutation(marked)):
        texts[index] = values[place % len(values)]
    return texts


def _kinds(rng: np.random.Generator, settings: ChestSettings) -> list[tuple[str, ...]]:
    """Findings of every film: normals, then each kind in the order of the settings."""
    found: list[tuple[str, ...]] = [()] * settings.normal
    found += [(kind,) for kind, count in settings.findings.items() for _film in range(count)]
    others = [kind for kind in TRAINED if settings.findings.get(kind, 0) > 0]
    trained = [index for index, kinds in enumerate(found) if kinds and kinds[0] in TRAINED]
    if len(others) > 1:
        for index, more in zip(trained, _chosen(rng, len(trained), settings.several_share), strict=True):
            if more:
                left = [kind for kind in others if kind not in found[index]]
                found[index] += (left[rng.integers(len(left))],)
    return found


_FURTHER = ((1, 2, 3), (0.6, 0.25, 0.15))
"""Further films of a patient with more than one, and how often."""


def _patients(rng: np.random.Generator, kinds: list[tuple[str, ...]], share: float) -> list[tuple[int, int]]:
    """(patient, visit) of every film; films of a patient have the same first finding, as in a follow-up."""
    films_each = 1 + share * float(np.dot(*_FURTHER))
    numbers, patient, start = [], 0, 0
    while start < len(kinds):
        count = sum(one[:1] == kinds[start][:1] for one in kinds[start:])
        several = math.floor(share * count / films_each + 0.5)
        sizes = [1 + int(further) for further in rng.choice(_FURTHER[0], several, p=_FURTHER[1])] + [1] * count
        films = [(patient + one, visit) for one, size in enumerate(sizes) for visit in range(size)][:count]
        numbers += films
        patient, start = films[-1][0] + 1, start + count
    return numbers


def plans(settings: ChestSettings) -> list[FilmPlan]:
    """Every film of the set, by number. Numbers are dealt at random, so they tell nothing about the class."""
    streams = _stream(settings, _PLAN).spawn(16)
    kinds = _kinds(streams[0], settings)
    numbers = _patients(streams[1], kinds, settings.repeat_share)
    count, patients = len(kinds), numbers[-1][0] + 1
    minors = _chosen(streams[2], patients, settings.minor_share)
    ap = _chosen(streams[3], count, settings.ap_share)
    manufacturers = _dealt(streams[4], count, settings.other_manufacturer_share, OTHER_MANUFACTURERS, MAIN_MANUFACTURER)
    devices = _chosen(streams[5], count, settings.device_share)
    labelled = _chosen(streams[6], count, settings.device_labelled_share)
    inverted = _chosen(streams[7], count, settings.monochrome1_share)
    syntaxes = _dealt(streams[8], count, settings.compressed_share, COMPRESSED, "")
    plain = _dealt(streams[9], count, 0.3, UNCOMPRESSED[1:], UNCOMPRESSED[0])
    missing = _dealt(streams[10], count, settings.missing_tag_share, MISSING, "")
    markers = _chosen(streams[11], count, settings.marker_share)
    burnt = _chosen(streams[12], count, settings.burnt_text_share)
    collimated = _chosen(streams[13], count, settings.collimated_share)
    order = streams[14].permutation(count)
    films = [
        FilmPlan(
            number=int(order[index]) + 1,
            patient=numbers[index][0],
            visit=numbers[index][1],
            findings=kinds[index],
            minor=bool(minors[numbers[index][0]]),
            view="AP" if ap[index] else "PA",
            manufacturer=manufacturers[index],
            device=bool(devices[index]),
            device_labelled=bool(labelled[index]),
            photometric="MONOCHROME1" if inverted[index] else "MONOCHROME2",
            transfer_syntax=syntaxes[index] or plain[index],
            missing=missing[index],
            marker=bool(markers[index]),
            burnt_text=bool(burnt[index]),
            collimated=bool(collimated[index]),
            damage="",
        )
        for index in range(count)
    ]
    first = next(one for one in films if not one.findings)
    for extra in range(settings.malformed):
        damage = DAMAGES[extra % len(DAMAGES)]
        number, patient = count + extra + 1, patients + extra
        films.append(
            dataclasses.replace(
                first,
                number=number,
                patient=patient,
                visit=0,
                minor=False,
                device_labelled=False,
                transfer_syntax=UNCOMPRESSED[0],
                missing="",
                damage=damage,
            )
        )
    return sorted(films, key=lambda one: one.number)


# ----------------------------------------------------------------------------------------------------------- patient
def patient_of(settings: ChestSettings, plan: FilmPlan) -> Patient:
    """Who is on the film. A minor is a small adult with a wider heart and less bone; it serves to test the age tag."""
    rng = _stream(settings, _BODY, plan.patient)
    patient = draw_patient(rng)
    if plan.minor:
        age = int(rng.integers(1, 17))  # stays under 19 over all visits
        patient = dataclasses.replace(
            patient,
            age=age,
            lung_height=0.92 * patient.lung_height,
            heart_width=min(0.6, patient.heart_width + 0.03),
            bone=0.8 * patient.bone,
            breast=0.0 if age < 13 else patient.breast,
        )
    return dataclasses.replace(patient, age=patient.age if plan.minor else max(patient.age, ADULT + 1))


def stream_of_person(settings: ChestSettings, plan: FilmPlan) -> np.random.Generator:
    """For the patient's name and dates: the same stream for each film of the patient."""
    return _stream(settings, _PERSON, plan.patient)


_STATURE = ((1, 5, 10, 15, 18), (0.42, 0.6, 0.75, 0.92, 1.0))
"""Age in years against size relative to an adult."""


def _positioned(rng: np.random.Generator, patient: Patient, view: str) -> Patient:
    """The patient as the view shows them: lying or sitting (AP), the diaphragm is high, the heart nearer to the source
    and the shoulder blades are over the lungs."""
    if view == "PA":
        return patient
    return dataclasses.replace(
        patient,
        lung_height=patient.lung_height * rng.uniform(0.84, 0.92),
        heart_width=min(0.62, patient.heart_width * rng.uniform(1.1, 1.2)),
        blades_inwards=float(rng.uniform(2.5, 4.5)),
    )


# ----------------------------------------------------------------------------------------------------------- drawing
def _signs(
    settings: ChestSettings, plan: FilmPlan, anatomy: Anatomy, grid: Grid, again: int, fainter: float
) -> list[Sign]:
    """The findings of a film; beside a pneumothorax the others take the other lung."""
    signs = []
    side_of = _stream(settings, _FINDING, plan.patient, again)
    first = int(side_of.choice([RIGHT, LEFT]))
    for kind in plan.findings:
        rng = _stream(settings, _FINDING, plan.patient, again, 1 + list(KINDS).index(kind))
        level = severity(rng, settings.difficulty, _FAINTEST)
        level = dataclasses.replace(level, thickness=level.thickness * fainter)
        side = int(rng.choice([RIGHT, LEFT]))
        if "pneumothorax" in plan.findings:
            side = first if kind == "pneumothorax" else -first
        signs.append(sign(kind, rng, anatomy, grid, level, side))
    return signs


def _planted(anatomy: Anatomy, shadows: np.ndarray, signs: Sequence[Sign]) -> np.ndarray:
    """Path of water with shadows and findings in it, float32 (h, w)."""
    water, change = shadows, np.float32(0)
    full = np.float32(1)
    for one in signs:
        water, change, full = water + one.water, change + one.path, full * (1 - one.empty)
    return np.maximum(anatomy.path() + np.minimum(water, ROOM * anatomy.air) * full + change, 0)


def _with_letters(pixels: np.ndarray, lettered: np.ndarray) -> np.ndarray:
    """`pixels` (uint16) with the letters that `lettered` (uint8) has and pixels >> 4 has not."""
    changed = lettered != (pixels >> (BITS - 8)).astype(np.uint8)
    return np.where(changed, lettered.astype(np.uint16) << (BITS - 8), pixels)


_SHAPES = ((1.0, 1.0), (1.0, 0.82), (0.82, 1.0))
"""Height and width of a film relative to the longer side: square, upright, broad."""


def draw(settings: ChestSettings, plan: FilmPlan, burnt: Sequence[str]) -> ChestFilm:
    """The film of a plan. burnt: lines of text that are burnt in when the plan says so (name, number, date)."""
    frame, extras, exposing, device = _stream(settings, _FILM, plan.number).spawn(4)
    tall, broad = _SHAPES[frame.choice(3, p=[0.5, 0.35, 0.15])]
    height, width = round(settings.image_size * tall), round(settings.image_size * broad)
    angle = float(np.clip(frame.normal(0, 0.02), -0.06, 0.06))
    patient = patient_of(settings, plan)
    seen = _positioned(frame, patient, plan.view)
    # The field is slightly larger than the film, so that the rotated film has no empty corners.
    pixel = max(
        2 * seen.half_width * frame.uniform(1.2, 1.42) / width,
        seen.lung_height * frame.uniform(1.24, 1.4) / height,
    )
    margin = math.ceil(0.035 * max(height, width))
    free = height - seen.lung_height / pixel  # rows above and below the lungs
    grid = make_grid(
        height + 2 * margin,
        width + 2 * margin,
        pixel,
        spine_column=margin + width * (0.5 + float(np.clip(frame.normal(0, 0.015), -0.03, 0.03))),
        apex_row=margin + free * float(np.clip(frame.normal(0.4, 0.06), 0.28, 0.52)),
    )
    # The same streams for every film of the patient: the same chest, with the same old scars.
    anatomy = render(_stream(settings, _BODY, plan.patient, 1), seen, grid)
    shadows = harmless_shadows(_stream(settings, _SHADOWS, plan.patient), anatomy, grid)
    padding = _padding(frame, height, width) if plan.collimated else np.zeros((height, width), bool)
    fainter = float(np.exp(frame.normal(0, 0.12)))
    for again in range(_TRIES):
        signs = _signs(settings, plan, anatomy, grid, again, fainter)
        findings, mask = _truth(plan.findings, signs, angle, padding, pixel)
        if all(any(found.kind == kind for found in findings) for kind in plan.findings):
            break
    else:
        raise RuntimeError(f"film {plan.number}: {plan.findings} could not be placed inside the film")
    path = _planted(anatomy, shadows, signs)
    devices = add_devices(device, seen, grid, path) if plan.device else ()

    path = rotated(path, angle, height, width, Image.Resampling.BILINEAR)
    values = film.expose(exposing, path, _exposure(exposing, plan.manufacturer), WHITE + 1)
    pixels = np.rint(values * np.float32(WHITE)).astype(np.uint16)
    pixels[padding] = 0
    if plan.marker:
        pixels = _with_letters(pixels, burn_text(extras, (pixels >> (BITS - 8)).astype(np.uint8)))
    if plan.burnt_text:
        pixels = _with_letters(pixels, burn_lines(extras, (pixels >> (BITS - 8)).astype(np.uint8), burnt))
    small = float(np.interp(patient.age, *_STATURE)) if plan.minor else 1.0
    return ChestFilm(pixels, padding, findings, mask, patient, pixel * small, devices)


def _exposure(rng: np.random.Generator, manufacturer: str) -> film.Exposure:
    """Each manufacturer has a look of its own, as far as one sees it."""
    exposure = film.draw_exposure(rng)
    if manufacturer == OTHER_MANUFACTURERS[0]:
        return dataclasses.replace(exposure, detail=exposure.detail + 0.2)
    if manufacturer == OTHER_MANUFACTURERS[1]:
        return dataclasses.replace(exposure, gamma=1.25 * exposure.gamma)
    return exposure


def _padding(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Outside of the collimated field: two to six per cent on every side, bool (h, w)."""
    top, bottom, left, right = np.rint(rng.uniform(0.02, 0.06, 4) * [height, height, width, width]).astype(int)
    padding = np.ones((height, width), bool)
    padding[top : height - bottom, left : width - right] = False
    return padding


def _truth(
    kinds: Sequence[str], signs: Sequence[Sign], angle: float, padding: np.ndarray, pixel: float
) -> tuple[tuple[Finding, ...], np.ndarray]:
    """Boxes of all parts of all findings on the film, and their common mask."""
    height, width = padding.shape
    findings, mask = [], np.zeros((height, width), np.uint8)
    for number, (kind, one) in enumerate(zip(kinds, signs, strict=True)):
        for outline in one.outlines:
            for other in signs[:number] + signs[number + 1 :]:
                outline = outline & (other.empty < 0.5)
            turned = rotated(outline.astype(np.uint8), angle, height, width, Image.Resampling.NEAREST)
            inside = (turned > 0) & ~padding
            if inside.sum() * pixel**2 < _SMALLEST:
                continue
            rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
            box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
            findings.append(Finding(kind, box))
            mask[inside] = 255
    return tuple(findings), mask

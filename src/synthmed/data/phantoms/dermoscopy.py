"""Dermoscopic photographs of lesions that nobody has, with the truth about each: outline, kind, skin tone, artefacts.

`plans` decides every photograph of a set, `draw` takes one of them. Shares are met exactly (rounded to whole images).
Photographs of one lesion share its shape, colours and skin; place, camera and artefacts differ. With another list of
artefacts the same plan gives the same photograph without them: the truth for whatever removes them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from PIL import Image, ImageFilter

from synthmed.core.errors import InputError
from synthmed.core.settings import Seed, Share
from synthmed.data.phantoms.canvas import Grid, make_grid, smooth_noise
from synthmed.data.phantoms.dermoscopy_artefacts import ARTEFACTS, HAIRS
from synthmed.data.phantoms.lesions import KINDS, Outline, outline
from synthmed.data.phantoms.skin import Layers, encoded, healthy

ASPECT = 4 / 3
"""Width over height, as of most images of ISIC."""
_FIELD = 1.3
"""Height of the field of view in cm."""

KindName = Literal[tuple(KINDS)]


@dataclass(frozen=True)
class DermoscopySettings:
    """Phantom photographs of skin lesions."""

    images: Annotated[
        dict[KindName, Annotated[int, Meta(ge=0)]],
        Meta(min_length=1, description="Photographs of each kind of lesion."),
    ]
    repeat_share: Annotated[Share, Meta(description="Share of the lesions with two or three photographs.")]
    lesions_per_patient: Annotated[float, Meta(ge=1, description="Mean.")]
    ita_mean: Annotated[
        float,
        Meta(
            ge=-60,
            le=70,
            description="Skin tone as individual typology angle; above 55 very light, below -30 dark.",
            extra_json_schema={"unit": "degrees"},
        ),
    ]
    ita_sd: Annotated[
        float,
        Meta(ge=0, le=60, description="Standard deviation over patients.", extra_json_schema={"unit": "degrees"}),
    ]
    artefacts: Annotated[
        dict[Literal[tuple(ARTEFACTS)], Share | dict[KindName, Share]],
        Meta(
            description="Share of photographs with hair, ruler, dark corners, …: of all, or of each kind of lesion. An "
            "artefact that is more frequent in one class is a shortcut for classifiers."
        ),
    ]
    difficulty: Annotated[Share, Meta(description="From 0, plain lesions, to 1, lesions that hardly show.")]
    image_size: Annotated[
        int, Meta(ge=32, description="Height of the photographs; width is 4/3 of it.", extra_json_schema={"unit": "px"})
    ]
    seed: Seed

    def __post_init__(self) -> None:
        wanted = {kind for kind, count in self.images.items() if count}
        if not wanted:
            raise InputError("setting options.images: all counts are 0; at least one photograph is needed")
        for name, shares in self.artefacts.items():
            if isinstance(shares, dict) and (missing := sorted(wanted - set(shares))):
                raise InputError(f"setting options.artefacts.{name} gives no share for {missing[0]}; name every kind")

    def share(self, artefact: str, kind: str) -> float:
        """Share of the photographs of a kind that have the artefact."""
        shares = self.artefacts.get(artefact, 0.0)
        return shares[kind] if isinstance(shares, dict) else shares


@dataclass(frozen=True)
class Photograph:
    """What is decided about a photograph before it is taken. number: 0 … N − 1; kind: a key of KINDS; lesion, patient:
    numbers from 0; ita: skin tone in degrees; artefacts: names, in the order of ARTEFACTS; hair: of HAIRS, or ""."""

    number: int
    kind: str
    lesion: int
    patient: int
    ita: float
    artefacts: tuple[str, ...]
    hair: str


@dataclass(frozen=True)
class Phantom:
    """A photograph and all that is true about it.

    pixels: uint8 (H, W, 3); mask: bool (H, W), the lesion; artefacts: name → bool (H, W), the pixels that it changes.
    """

    plan: Photograph
    pixels: np.ndarray
    mask: np.ndarray
    artefacts: dict[str, np.ndarray]


_PLAN, _LESION, _CAMERA, _ARTEFACT = range(4)


def _stream(settings: DermoscopySettings, *key: int) -> np.random.Generator:
    """A random generator of its own for every purpose and number."""
    return np.random.default_rng([settings.seed, *key])


# ------------------------------------------------------------------------------------------------------------- plans
def _lesions(rng: np.random.Generator, settings: DermoscopySettings) -> tuple[list[str], list[int]]:
    """Kind and number of the lesion of every photograph, kind after kind."""
    kinds, lesions = [], []
    for kind, count in settings.images.items():
        left, several = count, rng.random(count) < settings.repeat_share
        for more in several:
            size = min(left, int(rng.integers(2, 4)) if more else 1)
            if not size:
                break
            lesions += [lesions[-1] + 1 if lesions else 0] * size
            kinds += [kind] * size
            left -= size
    return kinds, lesions


def plans(settings: DermoscopySettings) -> list[Photograph]:
    """Every photograph of the set, by number. Numbers are dealt at random, so they tell nothing about the kind."""
    streams = _stream(settings, _PLAN).spawn(5 + len(ARTEFACTS))
    kinds, lesions = _lesions(streams[0], settings)
    count = len(kinds)
    people = max(1, round((lesions[-1] + 1) / settings.lesions_per_patient))
    # Everybody has a lesion; who has further ones is drawn.
    patients = streams[1].permutation(np.r_[:people, streams[1].integers(people, size=lesions[-1] + 1 - people)])
    tones = streams[2].normal(settings.ita_mean, settings.ita_sd, people)
    present: list[list[str]] = [[] for _image in kinds]
    for stream, name in zip(streams[5:], ARTEFACTS, strict=True):
        for kind in settings.images:
            places = np.flatnonzero(np.array(kinds) == kind)
            for place in stream.permutation(places)[: math.floor(settings.share(name, kind) * len(places) + 0.5)]:
                present[place].append(name)
    hairs = streams[3].choice(HAIRS, count, p=[0.35, 0.35, 0.2, 0.1])
    order = streams[4].permutation(count)
    found = [
        Photograph(
            number=int(order[place]),
            kind=kinds[place],
            lesion=lesions[place],
            patient=int(patients[lesions[place]]),
            ita=float(tones[patients[lesions[place]]]),
            artefacts=tuple(present[place]),
            hair=str(hairs[place]) if "hair" in present[place] else "",
        )
        for place in range(count)
    ]
    return sorted(found, key=lambda one: one.number)


# ----------------------------------------------------------------------------------------------------------- drawing
def _grid(camera: np.random.Generator, settings: DermoscopySettings) -> tuple[Grid, tuple[float, float]]:
    """Field of view, its origin in the middle, and where in it the lesion's centre lies (cm)."""
    height = settings.image_size
    field = _FIELD * camera.uniform(0.85, 1.25)
    grid = make_grid(height, round(height * ASPECT), field / height, height * ASPECT / 2, height / 2)
    return grid, (field * camera.normal(0, 0.05), field * camera.normal(0, 0.04))


def _lesion(
    settings: DermoscopySettings, plan: Photograph, grid: Grid, centre: tuple[float, float]
) -> tuple[Layers, Outline]:
    rng, kind = _stream(settings, _LESION, plan.lesion), KINDS[plan.kind]
    shape, skin, paint = rng.spawn(3)
    radius = math.exp(shape.uniform(*np.log(kind.radius)))
    edge = shape.uniform(*kind.edge) * (1 + settings.difficulty)
    lesion = outline(shape, grid, centre, radius, shape.uniform(*kind.irregular), edge)
    layers = healthy(skin, grid, plan.ita)
    kind.paint(paint, grid, layers, lesion, (1 - 0.75 * settings.difficulty) * shape.uniform(0.85, 1.15))
    return layers, lesion


_LEVELS = 4096
_ENCODED = np.rint(255 * encoded(np.linspace(0, 1, _LEVELS, dtype=np.float32))).astype(np.uint8)
_BALANCE = np.array([-0.06, 0.10, 0.36], np.float32)
"""Logarithm of the gains that make fair skin nearly neutral, as the cameras of dermatoscopes are set."""
_BLUR = 0.006
"""cm over which tissue spreads light."""


def _photographed(camera: np.random.Generator, grid: Grid, light: np.ndarray) -> np.ndarray:
    """Picture values float32 (h, w, 3) in [0, 1]: uneven lamp, white balance, exposure, blur, glints, noise."""
    away = (grid.x / grid.x[0, -1]) ** 2 + (grid.y / grid.y[-1, 0]) ** 2
    lamp = 1 - np.float32(camera.uniform(0.02, 0.22)) * away
    warm = camera.normal(0, 0.14)
    gains = np.exp(_BALANCE + np.float32([warm, camera.normal(0, 0.04), -1.3 * warm]) + camera.normal(0.02, 0.16))
    seen = light * lamp[..., None] * gains.astype(np.float32)
    levels = _ENCODED[np.minimum(seen * (_LEVELS - 1), _LEVELS - 1).astype(np.int16)]
    blurred = Image.fromarray(levels).filter(ImageFilter.GaussianBlur(_BLUR / grid.pixel))
    picture = np.asarray(blurred, np.float32) * np.float32(1 / 255)
    picture += (picture - 0.5) * np.float32(camera.uniform(0.0, 0.18))
    glints = smooth_noise(camera, grid, 3 * grid.pixel) * smooth_noise(camera, grid, 0.4)
    picture += np.clip(glints - np.float32(camera.uniform(5, 14)), 0, 0.3)[..., None]
    picture += np.float32(camera.uniform(0.004, 0.014)) * camera.standard_normal(light.shape, dtype=np.float32)
    return np.clip(picture, 0, 1, out=picture)


def draw(settings: DermoscopySettings, plan: Photograph) -> Phantom:
    """Take one photograph. It depends on the settings and the plan alone."""
    camera = _stream(settings, _CAMERA, plan.number)
    grid, centre = _grid(camera, settings)
    layers, lesion = _lesion(settings, plan, grid, centre)
    picture = _photographed(camera, grid, layers.light())
    masks = {}
    for name in plan.artefacts:
        rng = _stream(settings, _ARTEFACT, plan.number, list(ARTEFACTS).index(name))
        masks[name] = ARTEFACTS[name](rng, grid, picture, *([plan.hair] if name == "hair" else []))
    pixels = np.rint(np.clip(picture, 0, 1) * np.float32(255)).astype(np.uint8)
    return Phantom(plan, pixels, lesion.inside, masks)


def draws(settings: DermoscopySettings) -> Iterator[Phantom]:
    """All photographs of the set, one at a time."""
    return (draw(settings, plan) for plan in plans(settings))

"""Patches of kidney tissue in haematoxylin and eosin that never lay under a microscope, with every nucleus' outline.

A patch is what two dyes absorb: maps of how much haematoxylin and eosin lie in the beam, and from them a picture by
Beer-Lambert with the stain vectors of its slide. Tissue: kidney_tissue.py; nuclei: nucleus.py.
Lengths are micrometres. Patch i of a slide depends on the seed, the slide and i alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta
from scipy import ndimage

from synthmed.core.errors import InputError
from synthmed.core.settings import Count, Seed, Share
from synthmed.data.phantoms.canvas import Grid, make_grid, smooth_noise
from synthmed.data.phantoms.kidney_tissue import Tissue, draw_tissue
from synthmed.data.phantoms.nucleus import PODOCYTE, Nucleus, draw_nucleus, place_nuclei

CLASS_OF_INTEREST = 10001
"""Value of the first podocyte of a label map; the other nuclei count from 1."""

HAEMATOXYLIN, EOSIN = (0.61, 0.71, 0.35), (0.14, 0.92, 0.36)
"""Optical density in red, green and blue of one unit of dye: between the vectors of Ruifrok & Johnston (2001, Anal
Quant Cytol Histol 23:291), whose eosin is magenta, and of Macenko et al. (2009, ISBI), whose eosin is brick red."""

_VISIBLE = 0.25
"""A nucleus of which less than this share is seen, at the rim or under others, is left out, as annotators do."""


@dataclass(frozen=True)
class PhantomSettings:
    """Phantom patches of several slides, each a patient with a stain of its own."""

    nuclei: Annotated[Count, Meta(description="Patches, which show nuclei, of all slides in turn.")]
    slides: Annotated[Count, Meta(description="Slides; each is a patient.")]
    seed: Seed
    image_size: Annotated[
        int, Meta(ge=32, description="Height and width of a patch.", extra_json_schema={"unit": "px"})
    ]
    field: Annotated[
        float,
        Meta(ge=20, le=400, description="Height and width of the tissue in a patch.", extra_json_schema={"unit": "µm"}),
    ]
    glomerulus_share: Annotated[Share, Meta(description="Share of patches with a glomerulus, and so with podocytes.")]
    crowding: Annotated[
        tuple[Share, Share],
        Meta(description="Least and most crowded slide: 0 nuclei far apart, 1 so many that they overlap."),
    ]
    stain_spread: Annotated[
        Share,
        Meta(description="How far slides differ in hue, strength and light: 0 not, 1 like laboratories do."),
    ]
    difficulty: Annotated[Share, Meta(description="From 0, crisp dark nuclei, to 1, pale ones out of focus.")]

    def __post_init__(self) -> None:
        if self.crowding[0] > self.crowding[1]:
            raise InputError(f"setting crowding is {list(self.crowding)}: the least crowded slide comes first")
        if self.slides > self.nuclei:
            raise InputError(f"setting slides is {self.slides}, but there are {self.nuclei} patches (setting nuclei)")


@dataclass(frozen=True)
class Slide:
    """What all patches of a patient share. vectors: optical density of a unit of dye, float32 (2, 3); light: white,
    0 … 1 (3,); strength: of both dyes (2,); crowding: 0 … 1; blur: of the focus, micrometres."""

    vectors: np.ndarray
    light: np.ndarray
    strength: np.ndarray
    crowding: float
    blur: float


@dataclass(frozen=True)
class Patch:
    """One picture and its truth.

    pixels: uint8 (H, W, 3); labels: uint16 (H, W), 0 background, from 1 nuclei, from CLASS_OF_INTEREST podocytes.
    """

    pixels: np.ndarray
    labels: np.ndarray


def draw_slide(settings: PhantomSettings, seed: int, number: int) -> Slide:
    """Slide `number` of the set with this seed."""
    rng = np.random.default_rng([seed, number])
    spread = settings.stain_spread
    vectors = np.array([HAEMATOXYLIN, EOSIN]) + spread * rng.normal(0, [[0.06, 0.05, 0.06], [0.05, 0.03, 0.06]])
    vectors = np.maximum(vectors, 0.02)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    strength = np.exp(spread * rng.normal(0, [0.18, 0.25]))
    light = np.clip(0.955 + spread * rng.normal(0, [0.012, 0.015, 0.018]), 0.88, 1)
    low, high = settings.crowding
    return Slide(
        vectors.astype(np.float32),
        light.astype(np.float32),
        strength * [1 - 0.35 * settings.difficulty, 0.75],
        float(rng.uniform(low, high)),
        float(0.25 + 0.2 * spread * rng.random() + 0.7 * settings.difficulty),
    )


def draw_patch(rng: np.random.Generator, settings: PhantomSettings, slide: Slide) -> Patch:
    """One patch of a slide; `rng` draws its tissue, its nuclei and the noise of its camera."""
    shapes, cells, camera = rng.spawn(3)
    pixel = settings.field / settings.image_size
    grid = make_grid(settings.image_size, settings.image_size, pixel, 0, 0)
    tissue = draw_tissue(shapes, grid, with_glomerulus=shapes.random() < settings.glomerulus_share)
    nuclei = place_nuclei(cells, grid, tissue, slide.crowding)
    labels = _stain_nuclei(cells, grid, tissue, nuclei)
    return Patch(photograph(camera, grid, tissue.haematoxylin, tissue.eosin, slide), labels)


def _stain_nuclei(rng: np.random.Generator, grid: Grid, tissue: Tissue, nuclei: list[Nucleus]) -> np.ndarray:
    """Lay the nuclei over the tissue, in place, later ones on top; their label map, uint16 (h, w)."""
    chromatin = smooth_noise(rng, grid, 0.9) + np.float32(0.5) * smooth_noise(rng, grid, 2.2)
    owners, areas = np.zeros(grid.shape, np.int32), []
    for number, nucleus in enumerate(nuclei, 1):
        window, cover, dye, area = draw_nucleus(rng, grid, nucleus, chromatin)
        # What lies below is partly seen, as in a section that is thicker than a nucleus is flat.
        tissue.haematoxylin[window] = np.maximum(tissue.haematoxylin[window] * (1 - np.float32(0.7) * cover), 0) + dye
        tissue.eosin[window] *= 1 - np.float32(0.75) * cover
        owners[window][cover > 0.5] = number
        areas.append(area)
    return _labels(owners, areas, [nucleus.kind for nucleus in nuclei])


def _labels(owners: np.ndarray, areas: list[float], kinds: list[str]) -> np.ndarray:
    """Numbers without gaps, by class; owners: position of the nucleus from 1; areas: of the whole nuclei, pixels."""
    seen = np.bincount(owners.ravel(), minlength=len(areas) + 1)[1:]
    values, counts = np.zeros(len(areas) + 1, np.uint16), {True: CLASS_OF_INTEREST, False: 1}
    for number, (pixels, area, kind) in enumerate(zip(seen, areas, kinds, strict=True), 1):
        if pixels >= max(_VISIBLE * area, 4):
            values[number] = counts[kind == PODOCYTE]
            counts[kind == PODOCYTE] += 1
    return values[owners]


def photograph(
    rng: np.random.Generator, grid: Grid, haematoxylin: np.ndarray, eosin: np.ndarray, slide: Slide
) -> np.ndarray:
    """The dyes in white light on a camera: uint8 (h, w, 3)."""
    thickness = 1 + np.float32(0.06) * smooth_noise(rng, grid, 25)
    dyes = np.stack([haematoxylin, eosin], axis=2) * thickness[:, :, None]
    density = (dyes * slide.strength.astype(np.float32)) @ slide.vectors
    light = slide.light * np.exp(np.float32(-np.log(10)) * density)
    light = ndimage.gaussian_filter(light, (slide.blur / grid.pixel, slide.blur / grid.pixel, 0))
    light += np.float32(0.008) * rng.standard_normal(light.shape, dtype=np.float32)
    return np.clip(np.rint(255 * light), 0, 255).astype(np.uint8)


def draws(settings: PhantomSettings) -> Iterator[tuple[int, int, Patch]]:
    """All patches, one of each slide in turn: number of the slide, number of the patch on it, the patch."""
    slides = [draw_slide(settings, settings.seed, number) for number in range(settings.slides)]
    for patch in range(settings.nuclei):
        number, slide = divmod(patch, settings.slides)
        yield slide, number, draw_patch(np.random.default_rng([settings.seed, slide, number]), settings, slides[slide])

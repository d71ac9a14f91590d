"""Whole slides that never lay under a microscope, as CAMELYON17 gives them away: pyramidal TIFF files and ASAP's XML.

Five centres with stains and scanners of their own, patients with a texture of their own (lymph_node.py). Half of the
patients have metastases, which are outlined, with normal islands in them. Slide i depends on the settings and i alone.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from synthmed.core.files import atomic_path
from synthmed.core.progress import Progress
from synthmed.data.phantoms.canvas import Grid, make_grid
from synthmed.data.phantoms.histology import EOSIN, HAEMATOXYLIN, photograph
from synthmed.data.phantoms.histology import Slide as Stain
from synthmed.data.phantoms.lymph_node import draw_person, draw_section, outline
from synthmed.data.phantoms.slide_settings import SlidePhantoms
from synthmed.data.polygons import fill
from synthmed.data.sources.raw_slide import UNKNOWN, Placed, write_slides

logger = logging.getLogger(__name__)

CENTRES = 5
EXTENT = {"itc": 0.07, "micro": 0.14, "macro": 0.24}
"""Radius of the metastasis of a stage, as a share of the slide's side."""
_TILE = 256
_NORMAL = "normal"


@dataclass(frozen=True)
class PhantomSlide:
    """pixels: uint8 (H, W, 3) of the finest level; tissue, tumour: bool (H, W), the truth; regions, holes: outlines of
    the metastasis and of normal islands in it, (n, 2) as x, y in pixels."""

    pixels: np.ndarray
    tissue: np.ndarray
    tumour: np.ndarray
    regions: list[np.ndarray]
    holes: list[np.ndarray]


def stage_of(settings: SlidePhantoms, number: int) -> str:
    """Stage of slide `number`, by which negative slides come first."""
    positive = number - settings.negative
    return "negative" if positive < 0 else settings.stages[positive % len(settings.stages)]


def centre_of(settings: SlidePhantoms, number: int) -> int:
    """Centre of slide `number`: negative and positive ones are spread over all of them."""
    return (number if number < settings.negative else number - settings.negative) % CENTRES


def stain_of(settings: SlidePhantoms, number: int) -> Stain:
    """How a slide is stained and photographed: by its centre, and a little by itself."""
    centre = np.random.default_rng([settings.seed, 1, centre_of(settings, number)])
    own = np.random.default_rng([settings.seed, 2, number])
    spread = settings.centre_spread
    vectors = np.array([HAEMATOXYLIN, EOSIN]) + spread * centre.normal(0, 0.09, (2, 3)) + own.normal(0, 0.006, (2, 3))
    vectors = np.maximum(vectors, 0.02)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    strength = np.exp(spread * centre.normal(0, 0.25, 2) + own.normal(0, 0.03, 2))
    light = np.clip(0.955 + spread * centre.normal(0, 0.015, 3), 0.9, 1)
    blur = 0.4 + spread * centre.uniform(0, 0.8)
    return Stain(vectors.astype(np.float32), light.astype(np.float32), strength * [1, 0.85], 0.0, float(blur))


def draw_slide(settings: SlidePhantoms, number: int) -> PhantomSlide:
    """Slide `number`."""
    person = draw_person(np.random.default_rng([settings.seed, 3, number]), settings.identity)
    shapes, cells, camera = np.random.default_rng([settings.seed, 4, number]).spawn(3)
    side = round(settings.field / settings.mpp)
    grid = make_grid(side, side, settings.mpp, 0, 0)
    middle = settings.field * shapes.uniform(0.47, 0.53, 2)
    tissue = _filled(outline(shapes, middle, 0.42 * settings.field, 0.06), grid)
    regions, holes = [], []
    stage = stage_of(settings, number)
    if stage != "negative":
        radius = EXTENT[stage] * settings.field
        away = 0.3 * settings.field - radius
        place = middle + away * shapes.uniform(-0.6, 0.6, 2)
        regions.append(outline(shapes, place, radius, 0.1))
        if stage == "macro":
            holes.append(outline(shapes, place + 0.4 * radius * shapes.uniform(-1, 1, 2), 0.18 * radius, 0.1))
    tumour = np.zeros(grid.shape, bool)
    for region in regions:
        tumour |= _filled(region, grid)
    for hole in holes:
        tumour &= ~_filled(hole, grid)
    tumour &= tissue
    section = draw_section(cells, grid, person, tissue, tumour, settings.difficulty)
    pixels = photograph(camera, grid, section.haematoxylin, section.eosin, stain_of(settings, number))
    return PhantomSlide(
        pixels, tissue, tumour, [one / settings.mpp for one in regions], [one / settings.mpp for one in holes]
    )


def _filled(points: np.ndarray, grid: Grid) -> np.ndarray:
    inside = np.zeros(grid.shape, bool)
    fill(inside, points / grid.pixel, True)
    return inside


# -------------------------------------------------------------------------------------------------------------- files
def write_pyramid(path: Path, pixels: np.ndarray, mpp: float, levels: int) -> None:
    """A tiled TIFF with several levels that OpenSlide reads, with the size of its pixels in the tags of resolution.

    pixels: uint8 (H, W, 3) of the finest level, of `mpp` µm. Equal pixels give equal bytes.
    """
    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary) as tiff:
        for level in range(levels):
            density = 1e4 / (mpp * 2**level)
            tiff.write(
                pixels,
                tile=(_TILE, _TILE),
                photometric="rgb",
                compression="zlib",
                compressionargs={"level": 3},
                predictor=True,
                resolution=(density, density),
                resolutionunit="CENTIMETER",
                subfiletype=1 if level else 0,
                metadata=None,
                software="synthmed phantom",
            )
            pixels = _halved(pixels)


def _halved(pixels: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 pixels; an odd last row or column is left out, as libvips does."""
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    blocks = pixels[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
    return np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8)


def asap_xml(groups: dict[str, Sequence[np.ndarray]]) -> bytes:
    """An annotation file of ASAP: group → outlines (n, 2) as x, y in pixels of the finest level."""
    lines, number = ['<?xml version="1.0"?>', "<ASAP_Annotations>", "\t<Annotations>"], 0
    for group, outlines in groups.items():
        for points in outlines:
            head = f'Name="Annotation {number}" Type="Polygon" PartOfGroup="{group}" Color="#F4FA58"'
            lines += [f"\t\t<Annotation {head}>", "\t\t\t<Coordinates>"]
            lines += [
                f'\t\t\t\t<Coordinate Order="{order}" X="{x:.3f}" Y="{y:.3f}" />' for order, (x, y) in enumerate(points)
            ]
            lines += ["\t\t\t</Coordinates>", "\t\t</Annotation>"]
            number += 1
    lines += ["\t</Annotations>", "\t<AnnotationGroups>"]
    lines += [
        f'\t\t<Group Name="{group}" PartOfGroup="None" Color="#00ff00"><Attributes /></Group>' for group in groups
    ]
    return "\n".join([*lines, "\t</AnnotationGroups>", "</ASAP_Annotations>", ""]).encode()


def write_phantoms(settings: SlidePhantoms, raw: Sequence[Path]) -> None:
    """The raw files (see raw_slide.py) of all slides."""
    placed = []
    with Progress("drawn", settings.count, "slide") as progress:
        for number, path in enumerate(raw[2:]):
            slide, stage = draw_slide(settings, number), stage_of(settings, number)
            write_pyramid(path, slide.pixels, settings.mpp, settings.levels)
            annotated = stage != "negative" and number < settings.negative + settings.positive
            row = {
                "name": f"patient_{number:03d}_node_0",
                "label": _NORMAL if stage == "negative" else UNKNOWN,
                "patient": f"patient_{number:03d}",
                "split": "",
                "source": f"centre {centre_of(settings, number)}",
                "mpp": "",
                "node": "0",
                "stage": stage,
            }
            groups = {"metastases": slide.regions, "normal": slide.holes}
            placed.append(Placed(row, path, asap_xml(groups) if annotated else None))
            progress.add(1)
    write_slides(placed, raw)
    logger.info("%s: %d slides drawn", Path(raw[0]).parent, settings.count)

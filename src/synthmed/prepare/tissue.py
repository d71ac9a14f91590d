"""Where tissue is on a slide, and how much of a tile it covers, from a small picture of the whole slide."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from PIL import Image
from skimage.filters import threshold_otsu

from synthmed.core.settings import Share
from synthmed.prepare.slide_file import Slide

_DARK = 0.1
"""Brightness below which the saturation of a pixel says nothing: ink, the rim of the glass."""
_BLOCK = 1024
"""Pixels of a level that are read at once, along each side."""


@dataclass(frozen=True)
class TissueSettings:
    """How tissue is told from glass."""

    mpp: Annotated[
        float,
        Meta(gt=0, description="Size of the cells that are looked at.", extra_json_schema={"unit": "µm"}),
    ]
    saturation: Annotated[
        Literal["otsu"] | Share,
        Meta(description="From which on a cell is tissue; otsu: drawn where it parts the cells of the slide best."),
    ]
    at_least: Annotated[
        Share, Meta(description="Saturation that tissue has anyhow: what Otsu parts an empty slide at lies below.")
    ]
    min_share: Annotated[Share, Meta(description="Of a tile, that must be tissue.")]


def small_picture(slide: Slide, mpp: float) -> tuple[np.ndarray, tuple[float, float]]:
    """The whole slide in cells of about `mpp` micrometres: uint8 (h, w, 3), and the size of a cell in pixels of level
    0 (across, down). Made block by block, so that memory holds none of its levels."""
    height, width = slide.size
    shape = max(1, round(height * slide.mpp[1] / mpp)), max(1, round(width * slide.mpp[0] / mpp))
    cell = width / shape[1], height / shape[0]
    size = cell[0] * slide.mpp[0], cell[1] * slide.mpp[1]
    level = slide.level_for(mpp, 0.0)
    cells = max(1, round(_BLOCK * slide.level_mpp(level)[0] / mpp))
    whole = np.empty((*shape, 3), np.uint8)
    for row in range(0, shape[0], cells):
        for column in range(0, shape[1], cells):
            part = min(cells, shape[0] - row), min(cells, shape[1] - column)
            whole[row : row + part[0], column : column + part[1]] = slide.area(
                column * cell[0], row * cell[1], part, size, level=level, tolerance=0.0, resample=Image.Resampling.BOX
            )
    return whole, cell


def tissue_map(picture: np.ndarray, settings: TissueSettings) -> np.ndarray:
    """Where tissue is: bool (h, w) of a picture uint8 (h, w, 3).

    The saturation of HSV, (max − min) / max, is compared with Otsu's threshold (1979, IEEE Trans SMC 9:62).
    """
    high, low = picture.max(axis=2).astype(np.float32), picture.min(axis=2).astype(np.float32)
    saturation = np.where(high > 255 * _DARK, (high - low) / np.maximum(high, 1), np.float32(0))
    limit = settings.saturation
    if limit == "otsu":
        limit = float(threshold_otsu(saturation)) if saturation.max() > saturation.min() else 1.0
    return saturation > max(limit, settings.at_least)


def shares(inside: np.ndarray, cell: tuple[float, float], corners: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """Of tiles, the share that lies inside, float64 (n,).

    inside: bool map of cells of `cell` pixels of level 0 (across, down); corners: (n, 2), left and top of the tiles,
    and size: their width and height, in these pixels. Cells that a tile cuts count as far as they lie in it.
    """
    total = np.zeros((inside.shape[0] + 1, inside.shape[1] + 1))
    total[1:, 1:] = inside.cumsum(axis=0).cumsum(axis=1)
    start = corners / cell
    end = start + np.divide(size, cell)

    def up_to(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The sum above and left of a point between cells, linear between their borders, exact for whole cells."""
        rows, columns = (np.clip(v, 0, s) for v, s in zip((rows, columns), inside.shape, strict=True))
        r, c = (np.minimum(v.astype(int), s - 1) for v, s in zip((rows, columns), inside.shape, strict=True))
        y, x = rows - r, columns - c
        upper = total[r, c] * (1 - x) + total[r, c + 1] * x
        lower = total[r + 1, c] * (1 - x) + total[r + 1, c + 1] * x
        return upper * (1 - y) + lower * y

    (left, top), (right, bottom) = start.T, end.T
    covered = up_to(bottom, right) - up_to(top, right) - up_to(bottom, left) + up_to(top, left)
    return covered / ((end - start).prod(axis=1))

"""Pictures side by side, as several charts show them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from synthmed.report.charts.style import SERIES, plt, save


def draw_rows(path: Path, rows: Mapping[str, Sequence[np.ndarray]]) -> None:
    """A row of pictures (as of `show`) for each title, which stands before it."""
    figure, grid = picture_grid(len(rows), max(map(len, rows.values())), 1.1)
    for line, (title, pictures) in zip(grid, rows.items(), strict=True):
        for axis, pixels in zip(line, pictures, strict=False):
            show(axis, pixels)
        name_row(line, title)
    save(figure, path)


def draw_crops(path: Path, pictures: Sequence[np.ndarray], sides: Mapping[str, Sequence[float | None]]) -> None:
    """Pictures in a row, on each the part around its middle that every way of cropping leaves.

    sides: title → the share of the sides that stays of each picture; None: nothing.
    """
    figure, grid = picture_grid(1, len(pictures), 1.6)
    for place, (axis, pixels) in enumerate(zip(grid[0], pictures, strict=True)):
        show(axis, pixels)
        height, width = pixels.shape[:2]
        for colour, of_way in zip(SERIES, sides.values(), strict=False):
            if (share := of_way[place]) is not None:
                corner = (width * (1 - share) / 2 - 0.5, height * (1 - share) / 2 - 0.5)
                axis.add_patch(Rectangle(corner, width * share, height * share, fill=False, ec=colour, lw=1.6))
    lines = [Rectangle((0, 0), 1, 1, fill=False, ec=colour, lw=1.6) for colour in SERIES[: len(sides)]]
    figure.legend(lines, list(sides), loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=len(sides), frameon=False)
    save(figure, path)


def picture_grid(rows: int, columns: int, side: float, apart: float = 0.04) -> tuple[Figure, np.ndarray]:
    """A figure of pictures side by side, `side` inches each, and its axes (rows, columns). apart: room between rows, as
    a share of a picture. No layout is fitted to the words: with so many axes that takes seconds."""
    height = side * rows * (1 + apart) / 1.04
    sizes = {"figsize": (side * columns, height), "gridspec_kw": {"wspace": 0.04, "hspace": apart}}
    figure, grid = plt.subplots(rows, columns, squeeze=False, layout="none", **sizes)
    for axis in grid.flat:
        axis.axis("off")
    return figure, grid


def name_row(line: Sequence[Axes], title: str) -> None:
    """Write what a row of pictures is before the first of them."""
    line[0].text(-0.08, 0.5, fill(title, 20), transform=line[0].transAxes, ha="right", va="center", fontsize=8)


def show(axis: Axes, pixels: np.ndarray) -> None:
    """An image (H, W, 1 or 3), the first channel of other numbers, or a label map (H, W)."""
    if pixels.ndim == 2:
        axis.imshow(pixels > 0 if len(np.unique(pixels)) <= 2 else _mixed(pixels), cmap="gray", interpolation="nearest")
    elif pixels.shape[2] == 3:
        axis.imshow(pixels)
    else:
        axis.imshow(pixels[:, :, 0], cmap="gray", vmin=0, vmax=255)


def small(pixels: np.ndarray, side: int) -> np.ndarray:
    """An image (H, W, 1 or 3) whose longer side is at most `side`; (h, w) of a grey one."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(image)


def _mixed(mask: np.ndarray) -> np.ndarray:
    """Label maps of many objects: touching ones in different greys, the background black."""
    shades = 0.45 + 0.55 * ((np.arange(int(mask.max()) + 1) * 0.618) % 1)
    return np.where(mask > 0, shades[mask], 0)

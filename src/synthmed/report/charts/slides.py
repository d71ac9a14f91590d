"""Charts of whole slides: where tiles were taken."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.patches import Rectangle

from synthmed.data.imageset import ImageSet
from synthmed.report.charts.style import MUTED, SERIES, plt, save

_ANNOTATED = "black"


def draw_slides(
    path: Path, pictures: Path, tiles: Path, classes: Sequence[str], side: tuple[float, float], shown: int
) -> None:
    """A row a slide: the small picture of it with the border of its tissue, its annotation and the tiles that were
    drawn, and some of these tiles.

    pictures: of `slide-overview`; tiles: of `prepare-slides`; side: height and width of a tile in µm; shown: tiles a
    slide.
    """
    slides, cut = ImageSet(pictures), ImageSet(tiles)
    colours = dict(zip(classes, SERIES, strict=False))
    size = 2.6 + 1.1 * shown, 0.4 + 2.5 * len(slides)
    figure, axes = plt.subplots(len(slides), shown + 1, figsize=size, squeeze=False, width_ratios=[2.4, *[1] * shown])
    for (row, picture, mask), (axis, *others) in zip(slides.entries(), axes, strict=True):
        members = [number for number, tile in enumerate(cut.rows) if tile["slide"] == row["slide"]]
        _draw_slide(axis, row, picture, mask, [cut.rows[number] for number in members], colours, side)
        spread = [members[int(place)] for place in np.linspace(0, len(members) - 1, min(shown, len(members)))]
        for other in others:
            other.axis("off")
        for other, (tile, pixels) in zip(others, ((r, p) for r, p, *_ in cut.entries(spread)), strict=False):
            other.axis("on")
            other.imshow(pixels)
            other.set(xticks=[], yticks=[])
            for spine in other.spines.values():
                spine.set(color=colours[tile["label"]], linewidth=2, visible=True)
    handles = [Rectangle((0, 0), 1, 1, fill=False, ec=colour, lw=2, label=label) for label, colour in colours.items()]
    handles.append(plt.Line2D([], [], color=_ANNOTATED, label="annotated region"))
    handles.append(plt.Line2D([], [], color=MUTED, lw=0.8, label="tissue found"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    save(figure, path)


def _draw_slide(
    axis: plt.Axes,
    row: Mapping[str, str],
    picture: np.ndarray,
    mask: np.ndarray,
    tiles: Sequence[Mapping[str, str]],
    colours: Mapping[str, str],
    side: tuple[float, float],
) -> None:
    height, width = int(row["height"]), int(row["width"])
    axis.imshow(picture, extent=(0, width, height, 0), interpolation="nearest")
    sides = zip(mask.shape, (height, width), strict=True)
    rows, columns = ((np.arange(count) + 0.5) * whole / count for count, whole in sides)
    for least, colour, thick in ((1, MUTED, 0.8), (2, _ANNOTATED, 1.2)):
        if (mask >= least).any() and not (mask >= least).all():
            axis.contour(columns, rows, mask >= least, levels=[0.5], colors=colour, linewidths=thick)
    size = side[1] / float(row["mpp_x"]), side[0] / float(row["mpp_y"])
    for tile in tiles:
        corner = int(tile["x"]), int(tile["y"])
        axis.add_patch(Rectangle(corner, *size, fill=False, ec=colours[tile["label"]], lw=1))
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"{row['slide']}, {row['source']}", loc="left")

"""Charts of the axes of diseases: images moved along them, and the classifier's likelihoods."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from synthmed.data.imageset import ImageSet
from synthmed.report.charts.pictures import small
from synthmed.report.charts.style import INK, MUTED, SERIES, panels, plt, save

_TILE = 160  # longest side of an image in a figure, pixels


def _rows_of(images: ImageSet, axis: str) -> dict[int, list[int]]:
    """Start → positions of its images along `axis`, by step."""
    found: dict[int, list[tuple[int, int]]] = {}
    for position, row in enumerate(images.rows):
        if row["axis"] == axis:
            found.setdefault(int(row["start"]), []).append((int(row["step"]), position))
    return {start: [position for _, position in sorted(steps)] for start, steps in sorted(found.items())}


def _tile(axis: Axes, left: float, top: float, pixels: np.ndarray, heat: np.ndarray | None) -> None:
    """One image of unit size, with a class activation map (uint8) laid over it."""
    extent = (left + 0.02, left + 0.98, top + 0.98, top + 0.02)
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if pixels.ndim == 2 else {}
    axis.imshow(pixels, extent=extent, interpolation="nearest", **grey)
    if heat is not None:
        strength = heat / 255
        axis.imshow(strength, extent=extent, cmap="inferno", vmin=0, vmax=1, alpha=0.65 * strength)


def _title(entry: Mapping) -> str:
    return entry["target"] if entry["found"] else f"{entry['target']} (not found)"


def draw_paths(path: Path, found: Mapping) -> None:
    """Two rows an axis, the images of one start and their activation maps; likelihoods printed below.

    found: what the section read; its axes that were walked, and the images.
    """
    walked, images, cams = found["walked"], found["images"], found["cams"]
    steps, height = len(walked[0]["path"]), 2.28
    figure, axis = plt.subplots(figsize=(1.8 + 0.95 * steps, 0.35 + 0.95 * height * len(walked)))
    for number, entry in enumerate(walked):
        top = number * height
        (start, shown), *_ = _rows_of(images, entry["target"]).items()
        maps = _rows_of(cams, entry["target"])[start]
        colour = INK if entry["found"] else MUTED
        words = fill(_title(entry), 14)
        axis.text(-0.1, top + 0.5, words, ha="right", va="center", weight="bold", color=colour)
        axis.text(-0.1, top + 1.5, "activation map", ha="right", va="center", color=MUTED, fontsize=8.5)
        for step, (position, heat) in enumerate(zip(shown, maps, strict=True)):
            pixels = small(images[position], _TILE)
            _tile(axis, step, top, pixels, None)
            _tile(axis, step, top + 1, pixels, small(cams[heat], _TILE))
            words = f"{float(images.rows[position]['likelihood']):.2f}"
            axis.text(step + 0.5, top + 2.03, words, ha="center", va="top", fontsize=9)
    for step, point in enumerate(walked[0]["path"]):
        axis.text(step + 0.5, -0.06, f"{point['distance']:g}", ha="center", va="bottom", fontsize=9, color=MUTED)
    axis.text(-0.1, -0.06, "distance", ha="right", va="bottom", fontsize=8.5, color=MUTED)
    axis.set_xlim(0, steps)
    axis.set_ylim(height * len(walked) - 0.02, 0)
    axis.axis("off")
    save(figure, path)


def draw_starts(path: Path, found: Mapping) -> None:
    """A panel an axis, a row a start, with the likelihood in the corner of each image. found: see draw_paths."""
    walked, images, count = found["walked"], found["images"], found["settings"].examples
    steps = len(walked[0]["path"])
    outline = [withStroke(linewidth=1.6, foreground="black")]
    chosen = {entry["target"]: list(_rows_of(images, entry["target"]).values())[:count] for entry in walked}
    rows = max(len(starts) for starts in chosen.values())
    figure, axes = panels(len(walked), columns=2, width=4.6, height=0.45 + 4.4 * rows / steps)
    for axis, entry in zip(axes, walked, strict=True):
        axis.set_title(_title(entry), color=INK if entry["found"] else MUTED)
        for row, shown in enumerate(chosen[entry["target"]]):
            for step, position in enumerate(shown):
                _tile(axis, step, row, small(images[position], _TILE), None)
                words = f"{float(images.rows[position]['likelihood']):.2f}"
                look = {"ha": "right", "va": "bottom", "fontsize": 6.5, "color": "white", "path_effects": outline}
                axis.text(step + 0.95, row + 0.95, words, **look)
        axis.set_xlim(0, steps)
        axis.set_ylim(rows, 0)
        axis.axis("off")
    save(figure, path)


def draw_likelihoods(path: Path, found: Mapping) -> None:
    """A panel an axis: the likelihood of every output along it, and of its disease along random directions. found: see
    draw_paths."""
    walked, moved = found["walked"], found["moved"]
    colours = {name: SERIES[number % len(SERIES)] for number, name in enumerate(moved["targets"])}
    figure, axes = panels(len(walked), columns=3, width=3.07, height=2.5, sharex=True, sharey=True)
    handles = {}
    for place, (axis, entry) in enumerate(zip(axes, walked, strict=True)):
        distances = [point["distance"] for point in entry["path"]]
        random = [point["random"] for point in entry["path"]]
        low, high = [p.low for p in random], [p.high for p in random]
        band = axis.fill_between(distances, low, high, color="#d8dce0", lw=0)
        (line,) = axis.plot(distances, [p.value for p in random], color=MUTED, lw=1.2, ls=(0, (4, 2)))
        handles["disease, random directions"] = (band, line)
        for name, colour in colours.items():
            points = [point["likelihoods"][name] for point in entry["path"]]
            own = name == entry["target"]
            if own:
                axis.fill_between(
                    distances, [p.low for p in points], [p.high for p in points], color=colour, alpha=0.18, lw=0
                )
            look = {"lw": 2.2, "marker": "o", "ms": 4, "mec": "white"} if own else {"lw": 1.1, "alpha": 0.8}
            axis.plot(distances, [p.value for p in points], color=colour, **look)
            handles[name] = Line2D([], [], color=colour)
        axis.set_title(_title(entry), color=INK if entry["found"] else MUTED)
        axis.set_ylim(-0.03, 1.03)
        axis.grid(axis="y")
        if place % 3 == 0:
            axis.set_ylabel("likelihood")
        if place + 3 >= len(axes):
            axis.set_xlabel("distance (standard deviations)")
            axis.tick_params(labelbottom=True)
    figure.legend(list(handles.values()), list(handles), loc="outside lower left", ncols=3)
    save(figure, path)

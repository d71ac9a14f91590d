"""Charts of images of one mask."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from synthmed.report.charts.pictures import name_row, picture_grid, show
from synthmed.report.charts.style import GRID, MUTED, SERIES, panels, save

MEASURES = {
    "deviation": ("deviation (grey levels)", 0.1, lambda value: value),
    "ms_ssim": ("1 − MS-SSIM of pairs", 1e-3, lambda value: 1 - value),
    "lpips": ("LPIPS of pairs", 1e-3, lambda value: value),
}
"""Name → title, where the axis turns from linear to logarithmic, and what is drawn: more is more varied."""
EACH = 3
"""Images of each source in a row."""


def draw_samples(path: Path, shown: Sequence[tuple[str, Mapping[str, np.ndarray]]], sources: Mapping[str, str]) -> None:
    """Rows of real image, mask and images of it. shown: title and arrays of `mask-diversity`; sources: in words."""
    rows = sum(len(arrays["real"]) for _, arrays in shown)
    width = 2 + EACH * len(sources)
    figure, grid = picture_grid(rows, width, 1.1)
    row = 0
    for title, arrays in shown:
        for place in range(len(arrays["real"])):
            show(grid[row][0], arrays["real"][place])
            show(grid[row][1], arrays["masks"][place])
            for number, source in enumerate(sources):
                column = 2 + EACH * number
                if source in arrays["sources"].tolist():
                    images = arrays["images"][arrays["sources"].tolist().index(source)][place]
                    for axis, image in zip(grid[row][column : column + EACH], images, strict=False):
                        show(axis, image)
                else:
                    middle = grid[row][column + EACH // 2]
                    middle.text(
                        0.5,
                        0.5,
                        "has none",
                        transform=middle.transAxes,
                        ha="center",
                        va="center",
                        fontsize=8,
                        color=MUTED,
                        style="italic",
                    )
            if place == 0:
                name_row(grid[row], title)
            row += 1
    for column, words in enumerate(["real", "mask", *(word for word in sources.values() for _ in range(EACH))]):
        grid[0][column].set_title(words, fontsize=7.5, loc="center", weight="normal")
    save(figure, path)


def draw_measures(path: Path, results: Sequence[tuple[str, Mapping]], sources: Mapping[str, str]) -> None:
    """A panel for each measure: a row for each generator, a mark for each source; dashed: real images."""
    measured = [name for name in MEASURES if any(result["real"][name].value is not None for _, result in results)]
    figure, axes = panels(len(measured), columns=3, width=3.7, height=0.42 * len(results) + 1.0, sharey=True)
    for axis, name in zip(axes, measured, strict=True):
        title, linear, drawn = MEASURES[name]
        axis.set_title(title)
        axis.grid(axis="x", color=GRID)
        real = [result["real"][name].value for _, result in results]
        axis.axvline(drawn(float(np.mean(real))), color=MUTED, ls="--", lw=1.2, label="real images of different masks")
        for number, (source, words) in enumerate(sources.items()):
            colour, shift = SERIES[number], 0.22 * (number - (len(sources) - 1) / 2)
            for row, (_, result) in enumerate(results):
                found = result["sources"][source][name]
                if found.value is None:
                    continue
                axis.plot(drawn(found.value), row + shift, "os^"[number], color=colour, ms=5, label=f"{words} varies")
                if found.low is not None:
                    axis.plot([drawn(found.low), drawn(found.high)], [row + shift] * 2, color=colour, lw=1.3)
        axis.set_xscale("symlog", linthresh=linear, linscale=0.5)
        axis.set_xlim(left=0)
        axis.set_yticks(range(len(results)), [title for title, _ in results])
        axis.set_ylim(len(results) - 0.5, -0.5)
    handles = {label: handle for handle, label in zip(*axes[0].get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    save(figure, path)

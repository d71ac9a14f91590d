"""Charts over the training of generators: distances by step, and images of one mask at several steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from synthmed.report.charts.pictures import name_row, picture_grid, show
from synthmed.report.charts.style import GRID, MUTED, SERIES, panels, save

PANELS = (("fid", "FID of all images"), ("fid_few", "FID of {few} images"), ("kid", "KID of all images"))


def draw_curves(path: Path, groups: Mapping[str, Sequence[Mapping]], part: str, marks: Sequence[int]) -> None:
    """A panel for each of PANELS: distance by step, a line for each generator.

    groups: title → results of `score-states`, one for each training; several are drawn as their mean, with a band from
    the lowest to the highest. part: "train" or "test"; marks: steps that get a vertical line. Dashed: the floor.
    """
    figure, axes = panels(len(PANELS), columns=3, width=3.4, height=2.9)
    first = next(iter(groups.values()))[0]
    for axis, (name, title) in zip(axes, PANELS, strict=True):
        axis.set_title(title.format(few=first["few"]))
        axis.set_xlabel("training step")
        axis.grid(color=GRID)
        _curves(axis, groups, part, name)
        for mark in marks:
            axis.axvline(mark, color=MUTED, ls=":", lw=1)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))
    save(figure, path)


def _curves(axis: Axes, groups: Mapping[str, Sequence[Mapping]], part: str, name: str) -> None:
    lowest = np.inf
    for number, (title, results) in enumerate(groups.items()):
        steps, values = curve(results, part, name)
        if not np.isfinite(values).any():
            continue
        colour, marker = SERIES[number % len(SERIES)], "os^Dv"[number % 5]
        lowest = min(lowest, np.nanmin(values))
        axis.plot(steps, values.mean(axis=0), color=colour, marker=marker, ms=4, label=title)
        if len(values) > 1:
            axis.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, lw=0)
    if not np.isfinite(lowest):
        axis.text(0.5, 0.5, "too few images", transform=axis.transAxes, ha="center", color=MUTED)
        axis.set_yticks([])
        return
    floors = {results[0]["floor"][part][name].value for results in groups.values()} - {None}
    for place, floor in enumerate(sorted(floors)):
        axis.axhline(floor, color=MUTED, ls="--", lw=1.2, label="" if place else "real images")
    if name != "kid":  # which is about 0 for real images, and below it by chance
        _log_ticks(axis)


def _log_ticks(axis: Axes) -> None:
    """A logarithmic axis with three numbers or more within its limits, however few of the powers of ten lie there."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    for locator in (LogLocator(subs=(1.0,)), LogLocator(subs=(1.0, 2.0, 5.0)), MaxNLocator(5)):
        ticks = [tick for tick in locator.tick_values(low, high) if low <= tick <= high]
        if len(ticks) >= 3:
            break
    axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_ylim(low, high)


def curve(results: Sequence[Mapping], part: str, name: str) -> tuple[list[int], np.ndarray]:
    """Steps (S,) and values (trainings, S) of one distance; NaN where it could not be measured."""
    values = [
        [np.nan if state[part][name].value is None else state[part][name].value for state in result["states"]]
        for result in results
    ]
    return [state["step"] for state in results[0]["states"]], np.array(values)


def draw_progress(path: Path, shown: Sequence[tuple[str, Mapping[str, np.ndarray]]], steps: Sequence[int]) -> None:
    """Rows of images of one mask (or one draw of noise) at several steps; before them the real image and its mask.

    What the columns are stands above the first row, and above every further generator whose columns are others.

    shown: title and arrays of `score-states` of each generator; steps: those that are asked for, of which the nearest
    that were kept are drawn.
    """
    columns = [_columns(arrays, steps) for _, arrays in shown]
    rows, width = sum(len(one[0][1]) for one in columns), max(map(len, columns))
    headings = [[words for words, _ in own] for own in columns]
    anew = [place == 0 or heading != headings[place - 1] for place, heading in enumerate(headings)]
    figure, grid = picture_grid(rows, width, 1.35, apart=0.2 if any(anew[1:]) else 0.04)
    row = 0
    for (title, _), own, headed in zip(shown, columns, anew, strict=True):
        for place in range(len(own[0][1])):
            for axis, (words, images) in zip(grid[row], own, strict=False):
                show(axis, images[place])
                if headed and place == 0:
                    axis.set_title(words, fontsize=7.5, loc="center", weight="normal")
            if place == 0:
                name_row(grid[row], title)
            row += 1
    save(figure, path)


def _columns(arrays: Mapping[str, np.ndarray], steps: Sequence[int]) -> list[tuple[str, np.ndarray]]:
    kept = arrays["steps"]
    chosen = sorted({int(np.abs(kept - step).argmin()) for step in steps})
    given = [("real image", arrays["real"]), ("its mask", arrays["masks"])] if "masks" in arrays else []
    return given + [(f"step {kept[place]}", arrays["images"][place]) for place in chosen]

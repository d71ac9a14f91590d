"""Charts of the generators: real against generated, training curves, distances to the real images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.lines import Line2D

from synthmed.data.imageset import ImageSet
from synthmed.metrics.estimate import Estimate
from synthmed.report.charts.masks import show_pair
from synthmed.report.charts.style import GRID, MUTED, SERIES, interval_point, panels, plt, save


def draw_samples(path: Path, sets: Mapping[str, Path], classes: Sequence[str], *, count: int, seed: int) -> None:
    """A row a set, by its title, the real one first; a block of `count` images a class. Images are drawn by `seed`, not
    picked."""
    rows = {title: ImageSet(images) for title, images in sets.items()}
    gap = 0.25  # between two classes, in widths of an image
    width, height = len(classes) * count + gap * (len(classes) - 1), len(rows)
    figure, axis = plt.subplots(figsize=(1.5 + 0.9 * width, 0.4 + 0.9 * height))
    for row, (title, images) in enumerate(rows.items()):
        labels = np.array(images.column("label"))
        axis.text(-0.15, row + 0.5, title, ha="right", va="center", weight="bold" if row == 0 else "normal")
        for block, label in enumerate(classes):
            left = block * (count + gap)
            drawn = np.random.default_rng(seed).permutation(np.flatnonzero(labels == label))[:count]
            for place, index in enumerate(drawn):
                extent = (left + place + 0.02, left + place + 0.98, row + 0.98, row + 0.02)
                ((_, pixels, *mask),) = images.entries([int(index)])
                show_pair(axis, pixels, *(mask or [None]), images.legend, extent)
            if not len(drawn):
                axis.text(left + 0.1, row + 0.5, "none generated", color=MUTED, va="center", style="italic")
    for block, label in enumerate(classes):
        axis.text(block * (count + gap), -0.12, label, weight="bold")
    axis.set_xlim(0, width)
    axis.set_ylim(height, 0)
    axis.axis("off")
    save(figure, path)


def draw_training(path: Path, history: Sequence[Mapping[str, str]], titles: Mapping[str, str]) -> None:
    """One panel a training: its losses over the optimiser steps, and the diversity of its samples, dashed, on an axis
    of its own. titles: of the trainings."""
    trainings = list(dict.fromkeys(row["training"] for row in history))
    losses = [name for name in dict.fromkeys(row["loss"] for row in history) if name != "diversity"]
    looks = {name: (SERIES[n % len(SERIES)], "-" if n < len(SERIES) else ":") for n, name in enumerate(losses)}
    if any(row["loss"] == "diversity" for row in history):
        looks["diversity"] = (MUTED, (0, (4, 2)))
    width = {1: 6.0, 2: 4.5}.get(len(trainings), 3.0)
    figure, axes = panels(len(trainings), columns=3, width=width, height=2.1)
    for place, (axis, training) in enumerate(zip(axes, trainings, strict=True)):
        rows = [row for row in history if row["training"] == training]
        for name in dict.fromkeys(row["loss"] for row in rows):
            points = [(float(row["step"]), float(row["value"])) for row in rows if row["loss"] == name]
            colour, dash = looks[name]
            own, marker = axis, "." if len(points) < 3 else None
            if name == "diversity":
                own, marker = axis.twinx(), "o"
                _share_axis(own, max(y for _, y in points), last=place % 3 == 2 or place + 1 == len(axes))
            own.plot(*zip(*points, strict=True), color=colour, ls=dash, lw=1.2, marker=marker, ms=3)
        axis.set_title(fill(titles[training], 34), fontsize=8.5)
        axis.locator_params(axis="x", nbins=5)
        axis.grid(axis="y")
    for place, axis in enumerate(axes):
        if place % 3 == 0:
            axis.set_ylabel("loss")
        if place + 3 >= len(axes):
            axis.set_xlabel("optimiser step")
    handles = [
        Line2D([], [], color=colour, ls=dash, marker="o" if name == "diversity" else None, ms=3)
        for name, (colour, dash) in looks.items()
    ]
    words = [name.replace("_", " ") + (" (right axis)" if name == "diversity" else "") for name in looks]
    figure.legend(handles, words, loc="outside lower left", ncols=5)
    save(figure, path)


def _share_axis(axis: plt.Axes, highest: float, *, last: bool) -> None:
    """Set up the axis on the right for what is 1 of real images; last: of its row."""
    axis.set_ylim(0, 1.1 * max(1.0, highest))
    axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"], color=MUTED)
    axis.spines["right"].set_visible(True)
    if last:
        axis.set_ylabel("diversity", color=MUTED)


def draw_fidelity(
    path: Path,
    quality: Sequence[Mapping],
    titles: Mapping[str, str],
    group: str,
    metrics: Mapping[str, tuple[str, str]],
) -> None:
    """A panel a metric (a block of panels an extractor): every generator with its interval beside the real floor.

    Values are those of as many generated images as the floor has real ones (`matched`): they depend on the number. A
    metric that was measured of none has no panel.
    group: of the results; metrics: name → (title, direction).
    """
    extractors = list(dict.fromkeys(entry["extractor"] for entry in quality))
    names = [name for name in titles if any(entry["generator"] == name for entry in quality)]
    of_extractor = {
        extractor: {entry["generator"]: entry for entry in quality if entry["extractor"] == extractor}
        for extractor in extractors
    }
    measured = {
        extractor: [name for name in metrics if any(e["matched"][group][name].value is not None for e in own.values())]
        for extractor, own in of_extractor.items()
    }
    lines = [max(1, -(-len(own) // 4)) for own in measured.values()]
    heights = [count * (0.95 + 0.24 * len(names)) + 0.35 for count in lines]
    figure = plt.figure(figsize=(9.2, sum(heights)))
    blocks = np.atleast_1d(figure.subfigures(len(extractors), 1, height_ratios=heights))
    for block, extractor, count in zip(blocks, extractors, lines, strict=True):
        block.suptitle(f"Features of {extractor}", x=0.0, ha="left", fontsize=9.5, color=MUTED)
        axes = list(block.subplots(count, 4, sharey=True).flat)
        for axis, metric in zip(axes, measured[extractor], strict=False):
            _metric_panel(axis, metric, group, of_extractor[extractor], names)
            title, direction = metrics[metric]
            axis.set_title(title)
            axis.set_xlabel(direction, fontsize=8, color=MUTED)
            axis.set_yticks(range(len(names)), [titles[name] for name in reversed(names)])
        for axis in axes[len(measured[extractor]) :]:
            axis.set_visible(False)
    save(figure, path)


def _metric_panel(
    axis: plt.Axes, metric: str, group: str, entries: Mapping[str, Mapping], names: Sequence[str]
) -> None:
    absent = Estimate.missing("not measured")
    floors = [entry["floor"].get(group, {}).get(metric, absent) for entry in entries.values()]
    values = [floor.value for floor in floors if floor.value is not None]
    ends = [end for floor in floors for end in (floor.low, floor.high) if end is not None]
    if values:  # one floor a generator, because it is computed at the generator's count; they nearly coincide
        if ends:
            axis.axvspan(min(ends), max(ends), color=GRID, lw=0)
        axis.axvline(float(np.mean(values)), color=MUTED, lw=1.2, ls=(0, (4, 2)))
    copied = [entry["duplicate"].get(group, {}).get(metric, absent).value for entry in entries.values()]
    copied = [value for value in copied if value is not None]
    if copied:
        axis.axvline(float(np.mean(copied)), color=SERIES[1], lw=1.2, ls=":")
    for place, name in enumerate(reversed(names)):
        found = entries[name]["matched"][group][metric] if name in entries else absent
        if found.value is None:
            where = {"transform": axis.get_yaxis_transform(), "ha": "center", "va": "center"}
            axis.text(0.5, place, "not computed", color=MUTED, fontsize=7.5, style="italic", **where)
        else:
            interval_point(axis, found, place, SERIES[0])
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.locator_params(axis="x", nbins=3)
    axis.grid(axis="x")

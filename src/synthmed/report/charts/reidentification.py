"""Charts of re-identification: accuracy by the number of patients, and the dial."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from synthmed.metrics.estimate import Estimate
from synthmed.report.charts.style import GRID, MUTED, SERIES, panels, save


def draw_accuracy(path: Path, rows: Sequence[Mapping], lines: Mapping[str, str], variants: Mapping[str, str]) -> None:
    """A panel for each variant: accuracy by the number of patients, a line for each set. rows: of `compare-identities`;
    lines: set → words; variants: name → title."""
    figure, axes = panels(len(variants), columns=2, width=4.3, height=3.1, sharey=True)
    for axis, (variant, title) in zip(axes, variants.items(), strict=True):
        own = [row for row in rows if row["variant"] == variant]
        counts = np.array([row["patients"] for row in own])
        axis.set_title(title)
        axis.set_xlabel("patients told apart")
        axis.set_xticks(counts)
        axis.set_ylim(-0.03, 1.03)
        axis.grid(color=GRID)
        spread = 0.012 * max(1, np.ptp(counts) or counts[0])
        for number, (name, words) in enumerate(lines.items()):
            shift = spread * (number - (len(lines) - 1) / 2)
            found = [row["tests"][name]["top1"] for row in own]
            _line(axis, counts + shift, found, SERIES[number % len(SERIES)], "os^Dv"[number % 5], words)
        for key, style, words in (("class_chance", "--", "guess that knows the class"), ("chance", ":", "guess")):
            axis.plot(counts, [row[key] for row in own], color=MUTED, ls=style, lw=1.2, label=words)
    axes[0].set_ylabel("accuracy")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    save(figure, path)


def draw_dial(
    path: Path, titles: Sequence[str], curves: Mapping[str, Sequence[Estimate]], lines: Mapping[str, float]
) -> None:
    """Numbers of generators in order. curves: words → one for each; lines: words → a level that stays the same."""
    figure, (axis,) = panels(1, columns=1, width=6.4, height=3.2)
    places = np.arange(len(titles))
    for number, (words, found) in enumerate(curves.items()):
        _line(axis, places + 0.04 * (number - (len(curves) - 1) / 2), found, SERIES[number], "os^"[number % 3], words)
    for number, (words, level) in enumerate(lines.items()):
        axis.axhline(level, color=MUTED, ls=("--", ":", "-.")[number % 3], lw=1.2, label=words)
    axis.set_xticks(places, titles)
    axis.set_ylim(-0.03, 1.03)
    axis.grid(axis="y", color=GRID)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    save(figure, path)


def _line(axis: Axes, places: np.ndarray, found: Sequence[Estimate], colour: str, marker: str, words: str) -> None:
    known = [number for number, one in enumerate(found) if one.value is not None]
    axis.plot(places[known], [found[n].value for n in known], color=colour, marker=marker, ms=4.5, label=words)
    for number in known:
        if found[number].low is not None:
            axis.plot([places[number]] * 2, [found[number].low, found[number].high], color=colour, lw=1.1)

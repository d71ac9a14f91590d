"""Charts of classifiers that are shown images with and without a frame."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from synthmed.report.charts.style import MUTED, SERIES, plt, save


def draw_switches(path: Path, rows: Sequence[Mapping], found: Mapping) -> None:
    """A line a training set, a panel a change. rows: those of the table; found: what the section read."""
    negative, positive = found["settings"].negative, found["result"]["positive"]
    panels = {"pasted": f"pasted on {negative}: now {positive}", "removed": f"taken off {positive}: now {negative}"}
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 0.8 + 0.27 * len(rows)), sharex=True, sharey=True)
    places = np.arange(len(rows))[::-1]
    for axis, (change, words) in zip(axes, panels.items(), strict=True):
        for place, row in zip(places, rows, strict=True):
            one = row.get(change)
            if one is None or one.value is None:
                continue
            colour = SERIES[0] if place == places[0] else MUTED
            if one.low is not None:
                axis.plot([one.low, one.high], [place, place], color=colour, lw=1.5)
            axis.plot(one.value, place, "o", color=colour, ms=5)
        axis.set_title(words, fontsize=9)
        axis.set_xlabel("share of the decisions")
        axis.grid(axis="x")
    axes[0].set_yticks(places, [row["arm"] for row in rows], fontsize=8)
    axes[0].set_xlim(left=0)
    save(figure, path)


def draw_changes(path: Path, kinds: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]]) -> None:
    """Images as they are above, changed below. kinds: `<change>/<class>` → pairs of images (H, W, 3)."""
    columns = sum(map(len, kinds.values()))
    figure, axes = plt.subplots(2, columns, figsize=(1.05 * columns, 2.5), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    place = 0
    for kind, pairs in kinds.items():
        change, _, label = kind.partition("/")
        words = {"pasted": "frame pasted", "removed": "frame taken off"}[change]
        axes[0, place].set_title(f"{label}, {words}", fontsize=8)
        for before, after in pairs:
            axes[0, place].imshow(before)
            axes[1, place].imshow(after)
            place += 1
    save(figure, path)

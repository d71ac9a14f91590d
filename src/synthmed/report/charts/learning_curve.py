"""Chart of an outcome by the number of real training images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from synthmed.metrics.estimate import Estimate
from synthmed.report.charts.style import SERIES, plt, save


def draw_curve(path: Path, sizes: Sequence[int], lines: Mapping[str, Sequence[Estimate]], outcome: str) -> None:
    """A line for each training set. sizes: real images of each point; lines: title → the outcome at each size."""
    figure, axis = plt.subplots(figsize=(6.2, 3.6))
    for place, ((title, points), colour) in enumerate(zip(lines.items(), SERIES * len(lines), strict=False)):
        # Side by side, so that intervals do not hide one another.
        x = [size * 1.02 ** (place - (len(lines) - 1) / 2) for size in sizes]
        values = [point.value for point in points]
        spread = [[max(value - point.low, 0) for value, point in zip(values, points, strict=True)]]
        spread.append([max(point.high - value, 0) for value, point in zip(values, points, strict=True)])
        axis.errorbar(x, values, yerr=spread, fmt="o-", ms=4, lw=1.4, capsize=2, color=colour, label=title)
    axis.set_xscale("log")
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
    axis.set_xlabel("real training images")
    axis.set_ylabel(outcome)
    axis.grid(axis="y")
    axis.legend()
    save(figure, path)

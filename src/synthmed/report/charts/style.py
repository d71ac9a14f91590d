"""How every figure looks: fonts, colours that colour-blind readers can tell apart, and one way to save."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display on a cluster; set before pyplot is imported

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthmed.core.files import atomic_path
from synthmed.core.known import HARMS, HELPS, NO_EVIDENCE
from synthmed.metrics.estimate import Estimate

DPI = 150
INK = "#1f2328"
MUTED = "#6e7781"
GRID = "#e4e7eb"
# Okabe and Ito (2008), without the yellow, which is too light for lines on white.
SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A5195", "#4D4D4D")
VERDICTS = {HELPS: ("#0072B2", "^"), NO_EVIDENCE: (MUTED, "o"), HARMS: ("#D55E00", "v")}
"""Verdict -> (colour, marker): the marker repeats what the colour says."""

plt.rcParams.update(
    {
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": "#9aa2ab",
        "axes.linewidth": 0.8,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "xtick.color": "#57606a",
        "ytick.color": "#57606a",
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "lines.linewidth": 1.7,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.w_pad": 0.08,
        "figure.constrained_layout.h_pad": 0.08,
    }
)


def save(figure: Figure, path: str | Path) -> None:
    """Write `figure` atomically as PNG at 150 dpi, without metadata (equal figures are equal bytes), and close it."""
    with atomic_path(path) as temporary:
        # Tight, so that a legend wider than its one panel is not cut off.
        words = {"Software": None}
        figure.savefig(temporary, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.08, metadata=words)
    plt.close(figure)


def panels(count: int, *, columns: int, width: float, height: float, **sharing: object) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels in rows of at most `columns`, each `width` x `height` inches; unused ones are off."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False, **sharing)
    axes = list(grid.flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def interval_point(axis: Axes, found: Estimate, y: float, colour: str, marker: str = "o") -> None:
    """An estimate as a point on its interval, at height `y`."""
    if found.low is not None and found.high is not None:
        axis.plot([found.low, found.high], [y, y], color=colour, lw=2.2, solid_capstyle="butt")
    axis.plot(found.value, y, marker, color=colour, ms=6.5, mec="white", mew=0.9)


def placeholder(path: str | Path, sentence: str) -> None:
    """A small picture that says why there is no figure: an output that a rule declares must exist and must not lie.
    The page leaves it out."""
    figure, axis = plt.subplots(figsize=(7, 1))
    axis.axis("off")
    axis.text(0.5, 0.5, sentence, ha="center", va="center", color=MUTED)
    save(figure, path)

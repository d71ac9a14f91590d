"""Charts of the three steps: ROC curves, class activation maps, and labelled images of the generator."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from synthmed.data.imageset import ImageSet
from synthmed.report.charts.style import GRID, INK, MUTED, SERIES, plt, save

_CASES_A_ROW = 2


def mean_curve(curves: Sequence[Mapping], points: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean sensitivity of several ROC curves at equal false-positive rates: (points + 1,) each, from (0, 0)."""
    grid = np.linspace(0, 1, points)
    mean = np.zeros(points)
    for curve in curves:
        rate = np.array(curve["false_positive_rate"])
        # Where a curve goes straight up, its upper end counts: the steps keep the points in order for interp.
        mean += np.interp(grid, rate + 1e-12 * np.arange(-len(rate), 0), curve["true_positive_rate"]) / len(curves)
    return np.r_[0.0, grid], np.r_[0.0, mean]


def draw_roc(path: Path, found: Mapping, title: str) -> None:
    """One ROC figure. found: an experiment of the summary."""
    figure, axis = plt.subplots(figsize=(3.6, 3.7))
    axis.plot([0, 1], [0, 1], color=GRID, lw=1)
    for curve in found["roc_by_seed"]:
        axis.plot(curve["false_positive_rate"], curve["true_positive_rate"], color=SERIES[4], lw=0.8)
    axis.plot(*mean_curve(found["roc_by_seed"], 401), color=SERIES[0], lw=2)
    sensitivity, specificity = (found[name]["by_seed"] for name in ("sensitivity", "specificity"))
    axis.plot([1 - value for value in specificity], sensitivity, "o", color=SERIES[5], ms=5, mec="white", mew=0.7)
    area = found["auroc"]
    words = f"AUROC {area['value']:.4f}"
    if area["low"] is not None:
        words += f"\n[{area['low']:.4f}, {area['high']:.4f}]"
    axis.text(0.97, 0.06, words, ha="right", va="bottom", weight="bold")
    left, _, right = title.partition(" on ")
    axis.set_title(f"{left[0].upper()}{left[1:]}\non {right}")
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 − specificity", ylabel="sensitivity")
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axis.set_aspect("equal")
    axis.grid()
    save(figure, path)


def draw_cams(path: Path, looked: Mapping, maps: ImageSet, test: ImageSet) -> None:
    """Figure 11: image with boxes, map of the classifier (real), map of the classifier (synthetic)."""
    place = {row["image"]: number for number, row in enumerate(test.rows)}
    of_image = {(row["origin"], row["classifier"]): number for number, row in enumerate(maps.rows)}
    shown = looked["shown"]
    lines = -(-len(shown) // _CASES_A_ROW)
    figure, grid = plt.subplots(
        lines, 3 * _CASES_A_ROW, figsize=(1.6 * 3 * _CASES_A_ROW, 1.98 * lines + 0.1), squeeze=False
    )
    for axis in grid.flat:
        axis.axis("off")
    for number, case in enumerate(shown):
        line, column = divmod(number, _CASES_A_ROW)
        axes = grid[line][3 * column : 3 * column + 3]
        pixels = test[place[case["image"]]]
        for axis in axes:
            axis.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=255)
        _boxes(axes[0], case["boxes"])
        truth = ", ".join(dict.fromkeys(box[0] for box in case["boxes"])) or case["label"]
        axes[0].set_title(f"{case['kind']}\n{shorten(truth, 27, placeholder='…')}", fontsize=7, loc="left")
        for axis, classifier in zip(axes[1:], ("real", "synthetic"), strict=True):
            heat = maps[of_image[case["image"], classifier]].squeeze() / 255
            axis.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.65 * np.sqrt(heat))
            _boxes(axis, case["boxes"])
            words = f"({classifier}) p {case['likelihood'][classifier]:.2f}"
            if not heat.any():
                words += ", map empty"
            axis.set_title(words, fontsize=7, loc="left", weight="normal")
    save(figure, path)


def _boxes(axis: Axes, boxes: Sequence[Sequence]) -> None:
    for _, left, top, right, bottom in boxes:
        # The centre of pixel 0 is at 0, so its left edge is at -0.5.
        axis.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec=SERIES[2], lw=1.2))


def draw_examples(path: Path, synthetic: ImageSet, labelled: Mapping, examples: int, seed: int) -> None:
    """Figure 13: one row of labelled images a class, with their likelihoods."""
    labels = synthetic.column("label")
    rng = np.random.default_rng(seed)
    chosen = {}
    for name in labelled["classes"]:
        own = [place for place, label in enumerate(labels) if label == name]
        chosen[name] = sorted(rng.permutation(own)[:examples].tolist())
    columns = max(len(places) for places in chosen.values())
    figure, grid = plt.subplots(
        len(chosen), columns, figsize=(1.45 * columns + 0.3, 1.72 * len(chosen) + 0.1), squeeze=False
    )
    for line, (name, places) in zip(grid, chosen.items(), strict=True):
        for axis in line:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(name, color=INK)
        for axis, place in zip(line, places, strict=False):
            axis.imshow(synthetic[place].squeeze(), cmap="gray", vmin=0, vmax=255)
            likelihood = float(synthetic.rows[place]["likelihood"])
            axis.set_xlabel(f"p({labelled['positive']}) {likelihood:.2f}", fontsize=7.5, color=MUTED)
    save(figure, path)

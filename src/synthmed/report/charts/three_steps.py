"""Charts of the three steps: class activation maps, and labelled images of the generator."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from synthmed.data.imageset import ImageSet
from synthmed.report.charts.style import INK, MUTED, SERIES, plt, save

_CASES_A_ROW = 2


def draw_cams(path: Path, looked: Mapping, maps: ImageSet, test: ImageSet, arms: Mapping[str, str]) -> None:
    """Image with boxes, then the map of the network of each of two arms. arms: name → what it was trained on."""
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
        for axis, classifier in zip(axes[1:], arms, strict=True):
            heat = maps[of_image[case["image"], classifier]].squeeze() / 255
            axis.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.65 * np.sqrt(heat))
            _boxes(axis, case["boxes"])
            words = f"({arms[classifier]}) p {case['likelihood'][classifier]:.2f}"
            if not heat.any():
                words += ", map empty"
            axis.set_title(words, fontsize=7, loc="left", weight="normal")
    save(figure, path)


def _boxes(axis: Axes, boxes: Sequence[Sequence]) -> None:
    for _, left, top, right, bottom in boxes:
        # The centre of pixel 0 is at 0, so its left edge is at -0.5.
        axis.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec=SERIES[2], lw=1.2))


def draw_examples(path: Path, synthetic: ImageSet, labelled: Mapping, examples: int, seed: int) -> None:
    """One row of labelled images a class, with their likelihoods."""
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

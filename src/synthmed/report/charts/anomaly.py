"""Figures of the anomaly section: example cases with their maps (the document's Figures 14 and 15), ROC curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from synthmed.data.boxes import parse_boxes
from synthmed.metrics.classification import roc_curve
from synthmed.report.charts.style import GRID, INK, MUTED, SERIES, panels, plt, save

_COLUMNS = ("query", "reconstruction", "difference", "positive part", "post-processed", "classifier (Grad-CAM)")
_BOX = SERIES[5]
_SHADE = 0.3
"""Difference, in units of images in 0 … 1, that has the darkest shade."""


def draw_cases(path: Path, examples: Mapping[str, np.ndarray], rows: Sequence[Mapping[str, str]], search: str) -> None:
    """Query, reconstruction, signed difference, its positive part, that post-processed with the place of its maximum,
    and the classifier's map; annotated boxes in all but the reconstruction.

    examples: arrays of the evaluation; rows: the cases to show, from its table of cases; search: the one that decides.
    """
    place = {name: number for number, name in enumerate(examples["image"].tolist())}
    scale = max(float(examples["processed"].max()), 1e-6)
    figure, grid = plt.subplots(
        len(rows), len(_COLUMNS), figsize=(1.6 * len(_COLUMNS) + 1.5, 1.63 * len(rows) + 0.3), squeeze=False
    )
    for number, row in enumerate(rows):
        case = place[row["image"]]
        axes = grid[number]
        for axis, title in zip(axes, _COLUMNS, strict=True):
            axis.set_xticks([])
            axis.set_yticks([])
            if number == 0:
                axis.set_title(title, fontsize=8.5, loc="center")
        query = examples["query"][case].squeeze()
        look = {"cmap": "gray", "vmin": 0, "vmax": 255}
        axes[0].imshow(query, **look)
        axes[1].imshow(examples["reconstruction"][case].squeeze(), **look)
        axes[2].imshow(examples["difference"][case], cmap="RdBu_r", vmin=-_SHADE, vmax=_SHADE)
        axes[3].imshow(examples["positive"][case], cmap="inferno", vmin=0, vmax=_SHADE)
        processed = examples["processed"][case]
        axes[4].imshow(processed, cmap="inferno", vmin=0, vmax=scale)
        if processed.max() > 0:
            top, left = np.unravel_index(int(processed.argmax()), processed.shape)
            axes[4].plot(left, top, "+", color="white", ms=9, mew=1.4)
        heat = examples["activation"][case].astype(np.float32)
        axes[5].imshow(query, **look)
        axes[5].imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.65 * np.sqrt(heat.clip(0, 1)))
        for axis in np.delete(axes, 1):
            _boxes(axis, str(examples["boxes"][case]))
        loudest = row["supervised_loudest"]
        words = [
            row["findings"].replace(";", ",\n") or "normal",
            f"search: {_called(row[f'{search}_detected'])}",
            f"classifier: {_called(row['supervised_detected'])}",
            f"({loudest} {float(row[f'likelihood_{loudest}']):.2f})",
        ]
        axes[0].set_ylabel("\n".join(words), rotation=0, ha="right", va="center", fontsize=8, color=INK, labelpad=8)
    save(figure, path)


def _called(detected: str) -> str:
    return "abnormal" if detected == "yes" else "normal"


def _boxes(axis: Axes, cell: str) -> None:
    for _, left, top, right, bottom in parse_boxes(cell):
        # The centre of the first pixel is drawn at 0.
        corner = (left - 0.5, top - 0.5)
        axis.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, color=_BOX, lw=1.2))


def draw_roc(path: Path, groups: Sequence[tuple[str, Mapping]], curves: Mapping[str, Mapping]) -> None:
    """A panel a group of abnormal cases against the normal ones.

    groups: (title, {"where": bool (N,) cases of the panel, "abnormal": bool (N,)}); curves: name → {"scores": (N,),
    "dashed": bool, "auroc": {title of the group → estimate, where it was computed}}.
    """
    figure, axes = panels(len(groups), columns=3, width=3.5, height=3.9)
    for axis, (title, group) in zip(axes, groups, strict=True):
        where, abnormal = group["where"], group["abnormal"]
        axis.plot([0, 1], [0, 1], color=GRID, lw=1)
        axis.set_title(f"{title} (n = {int(abnormal[where].sum())})")
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 − specificity", ylabel="sensitivity")
        axis.set_aspect("equal")
        axis.grid()
        if not abnormal[where].any() or abnormal[where].all():
            axis.text(0.5, 0.5, "no such case", ha="center", color=MUTED)
            continue
        for number, (name, curve) in enumerate(curves.items()):
            false_rate, true_rate, _ = roc_curve(curve["scores"][where], abnormal[where])
            found = curve["auroc"].get(title)
            words = name if found is None or found.value is None else f"{name} {found.value:.2f}"
            axis.plot(false_rate, true_rate, color=SERIES[number], label=words, ls="--" if curve["dashed"] else "-")
        axis.legend(loc="lower right", fontsize=7.5, title="AUROC" if number else None, title_fontsize=7.5)
    save(figure, path)

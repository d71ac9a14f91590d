"""Charts of latent editing: the trade-off of each method, and one sample edited by all."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from synthmed.report.charts.pictures import name_row, picture_grid, show
from synthmed.report.charts.style import MUTED, SERIES, plt, save
from synthmed.report.words import minus


def _look(method: str) -> dict:
    """Colour by the method, dashed where it is orthogonal to the class, grey for the control."""
    if method == "random":
        return {"color": MUTED, "ls": (0, (1, 1.5))}
    kind = method.removesuffix("_orthogonal")
    colour = SERIES[("svm", "regression", "pca", "sefa").index(kind)]
    return {"color": colour, "ls": "--" if method != kind else "-"}


def draw_trade_off(path: Path, found: Mapping) -> None:
    """found: what the section read."""
    outcome = "removed" if found["editing"]["keep"] is None else "in_time"
    figure, (by_distance, by_identity) = plt.subplots(1, 2, figsize=(9.2, 4.1), sharey=True)
    for entry in found["methods"]:
        share = [point[outcome].value for point in entry["path"]]
        look = _look(entry["method"]) | {"marker": "o", "ms": 3.5, "label": found["names"][entry["method"]]}
        by_distance.plot([point["distance"] for point in entry["path"]], share, **look)
        by_identity.plot([point["identity"].value for point in entry["path"]], share, **look)
    by_distance.set_xlabel("distance (standard deviations of the codes)")
    by_distance.set_ylabel("removed" if outcome == "removed" else "removed before the class flips")
    by_identity.set_xlabel("distance of the image to its start (1: two samples)")
    for axis in (by_distance, by_identity):
        axis.set_ylim(-0.03, 1.03)
        axis.grid()
    figure.legend(*by_distance.get_legend_handles_labels(), loc="outside lower left", ncols=3)
    save(figure, path)


def draw_images(path: Path, found: Mapping) -> None:
    """A row a method, a column a step. found: what the section read."""
    images, methods = found["images"], [entry["method"] for entry in found["methods"]]
    figure, grid = picture_grid(len(methods), len(found["editing"]["distances"]), 1.05)
    for position, row in enumerate(images.rows):
        if int(row["start"]) == 0 and row["method"] in methods:
            axis = grid[methods.index(row["method"]), int(row["step"])]
            _show_with_likelihood(axis, images[position], row)
    for line, method in zip(grid, methods, strict=True):
        name_row(line, found["names"][method])
    save(figure, path)


def draw_components(path: Path, found: Mapping) -> str | None:
    """A row a direction, a column a step, from the furthest back to the furthest on. found: what the section read."""
    images, rows = found["images"], {}
    for position, row in enumerate(images.rows):
        kind, _, number = row["method"].rpartition("_")
        if number.isdigit():
            rows.setdefault(f"{found['names'][kind]}, direction {number}", []).append(position)
    if not rows:
        return "No direction of PCA or SeFa was walked both ways."
    figure, grid = picture_grid(len(rows), max(map(len, rows.values())), 1.0)
    for line, (title, positions) in zip(grid, rows.items(), strict=True):
        for axis, position in zip(line, positions, strict=True):
            row = images.rows[position]
            _show_with_likelihood(axis, images[position], row)
            if line[0] is grid[0, 0]:
                axis.set_title(minus(f"{float(row['distance']):g}"), fontsize=8, weight="normal", loc="center", pad=2)
        name_row(line, title)
    save(figure, path)
    return None


def _show_with_likelihood(axis: Axes, pixels: np.ndarray, row: Mapping) -> None:
    """An image with the likelihood that stands in its row of the manifest."""
    show(axis, pixels)
    look = {"ha": "right", "va": "bottom", "fontsize": 7, "color": "white"}
    look["path_effects"] = [withStroke(linewidth=1.5, foreground="black")]
    axis.text(0.97, 0.03, f"{float(row['likelihood']):.2f}", transform=axis.transAxes, **look)

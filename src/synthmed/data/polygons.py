"""Polygons as maps."""

import numpy as np


def fill(inside: np.ndarray, points: np.ndarray, value: bool) -> None:
    """Set the cells of the map `inside`, bool (H, W), whose middles lie in a polygon, in place.

    points: (n, 2) as x, y in cells, cell (row, column) from (column, row) to (column + 1, row + 1); the last is joined
    to the first. What an outline goes around twice is outside again (even-odd rule). Parts beyond the map are cut.
    """
    height, width = inside.shape
    (x0, y0), (x1, y1) = points.T, np.roll(points, -1, axis=0).T
    # Each edge crosses the middles of these rows.
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(int)
    behind = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(int)
    counts = behind - first
    if not counts.any():
        return
    edge = np.repeat(np.arange(len(points)), counts)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    x = x0[edge] + (row + 0.5 - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(int)
    top, left, bottom, right = row.min(), column.min(), row.max() + 1, column.max()
    crossings = np.zeros((bottom - top, right - left + 1), int)
    np.add.at(crossings, (row - top, column - left), 1)
    covered = crossings.cumsum(axis=1)[:, :-1] % 2 == 1
    inside[top:bottom, left:right][covered] = value

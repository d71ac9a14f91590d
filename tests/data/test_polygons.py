"""Filled polygons: against matplotlib's test of the middle of every cell."""

import numpy as np
from matplotlib.path import Path

from synthmed.data.polygons import fill


def middles(shape):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.column_stack([columns.ravel() + 0.5, rows.ravel() + 0.5])


def test_cells_whose_middle_lies_inside():
    rng = np.random.default_rng(1)
    for _ in range(20):
        points = rng.uniform(-5, 35, (int(rng.integers(3, 12)), 2))
        # Sorted by angle it does not cross itself, where matplotlib and the even-odd rule agree.
        away = points - points.mean(axis=0)
        points = points[np.arctan2(away[:, 1], away[:, 0]).argsort()]
        inside = np.zeros((20, 30), bool)
        fill(inside, points, True)
        by_hand = Path(np.vstack([points, points[:1]]), closed=True).contains_points(middles(inside.shape))
        np.testing.assert_array_equal(inside.ravel(), by_hand)


def test_outside_of_the_map_and_without_area_nothing_changes():
    inside = np.zeros((4, 4), bool)
    for points in ([[9, 9], [12, 9], [12, 12]], [[1, 1], [3, 3]], [[0.1, 0.1], [0.2, 0.1], [0.2, 0.2]]):
        fill(inside, np.array(points, float), True)
    assert not inside.any()

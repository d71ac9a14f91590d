"""Boxes, pointing game and average precision of pixels."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from synthmed.core.errors import InputError
from synthmed.metrics.localisation import average_precision, box_region, chance, pointing_game, share_inside


def test_a_box_covers_the_pixels_whose_centre_is_inside():
    region = box_region([(1.0, 0.0, 3.0, 2.0), (2.6, 3.4, 4.4, 3.6)], (4, 5))
    expected = np.zeros((4, 5), dtype=bool)
    expected[0:2, 1:3] = True
    expected[3, 3] = True  # centre (3.5, 3.5); the centre of (2, 3) is at 2.5, left of the box
    assert np.array_equal(region, expected)


def test_a_box_without_a_centre_covers_the_pixel_it_lies_in_and_the_image_cuts_boxes_off():
    assert np.argwhere(box_region([(2.1, 1.1, 2.3, 1.2)], (4, 4))).tolist() == [[1, 2]]
    assert box_region([(-5, -5, 1, 20)], (3, 3)).sum() == 3


@pytest.mark.parametrize("box", [(2, 0, 2, 1), (0, 3, 1, 2), (5, 0, 6, 1), (-2, 0, 0, 1)])
def test_impossible_boxes_are_refused(box):
    with pytest.raises(InputError, match="box"):
        box_region([box], (4, 5))


def test_the_pointing_game_asks_for_the_maximum_and_shares_ties():
    region = np.array([[True, True], [False, False]])
    assert pointing_game(np.array([[0.0, 3.0], [2.0, 1.0]]), region) == 1
    assert pointing_game(np.array([[0.0, 3.0], [3.0, 4.0]]), region) == 0
    assert pointing_game(np.array([[0.0, 3.0], [3.0, 3.0]]), region) == pytest.approx(1 / 3)
    assert pointing_game(np.zeros((2, 2)), region) == chance(region) == 0.5


def test_chance_counts_only_the_pixels_inside_the_frame():
    region, inner = np.zeros((4, 4), dtype=bool), np.zeros((4, 4), dtype=bool)
    region[0, :], region[1, 1] = True, True
    inner[1:3, 1:3] = True
    assert chance(region) == 5 / 16
    assert chance(region, inner) == 1 / 4
    region[1, 1] = False
    assert chance(region, inner) == 0
    for unusable in (inner[:3], np.zeros((4, 4), dtype=bool)):
        with pytest.raises(InputError, match="must have the region's shape"):
            chance(region, unusable)


def test_average_precision_is_that_of_scikit_learn_also_with_ties():
    rng = np.random.default_rng(0)
    for values in (rng.random((7, 9)), rng.integers(0, 4, (7, 9)).astype(float)):
        region = rng.random((7, 9)) < 0.2
        assert average_precision(values, region) == pytest.approx(
            average_precision_score(region.ravel(), values.ravel())
        )
    assert average_precision(np.zeros((2, 5)), np.arange(10).reshape(2, 5) < 3) == pytest.approx(0.3)


def test_the_share_of_the_map_inside_is_chance_for_an_empty_map():
    region = np.array([[True, False], [False, False]])
    assert share_inside(np.array([[3.0, 1.0], [0.0, 0.0]]), region) == 0.75
    assert share_inside(np.zeros((2, 2)), region) == 0.25


def test_maps_that_measure_nothing_are_refused():
    with pytest.raises(InputError, match="shape"):
        pointing_game(np.zeros((2, 2)), np.ones((2, 3), dtype=bool))
    with pytest.raises(InputError, match="empty"):
        average_precision(np.zeros((2, 2)), np.zeros((2, 2), dtype=bool))
    with pytest.raises(InputError, match="NaN"):
        pointing_game(np.array([[np.nan, 1.0]]), np.array([[True, False]]))

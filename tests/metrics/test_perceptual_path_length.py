import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.metrics.path_length import between, on_the_sphere, path_lengths


def test_straight_ways():
    first, second = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[4.0, 2.0], [1.0, 3.0]])
    assert between(first, second, np.array([0.25, 0.5])).tolist() == [[1.0, 0.5], [1.0, 2.0]]


def test_ways_on_the_sphere_turn_by_equal_angles():
    first, second = np.array([[3.0, 0.0]] * 3), np.array([[0.0, 5.0]] * 3)
    way = on_the_sphere(first, second, np.array([0.0, 1 / 3, 1.0]))
    root = np.sqrt(2)
    assert np.allclose(way, root * np.array([[1, 0], [np.cos(np.pi / 6), np.sin(np.pi / 6)], [0, 1]]))
    same = on_the_sphere(first[:1], first[:1], np.array([0.7]))
    assert np.allclose(same, [[root, 0]])


def test_lengths_are_by_the_square_of_the_step_without_the_ends():
    distances = np.arange(101.0)  # of 0 … 100 the 1st percentile is 1, the 99th 99
    lengths = path_lengths(distances, 0.1)
    assert lengths.tolist() == pytest.approx([100 * value for value in range(1, 100)])
    assert path_lengths(np.array([2.0, 4.0]), 2.0).mean() == pytest.approx(0.75)
    with pytest.raises(InputError, match="too few"):
        path_lengths(np.array([1.0]), 0.1)

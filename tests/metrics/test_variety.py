"""How different a few images are, by hand."""

import numpy as np
import pytest

from synthmed.metrics.similarity import ms_ssim
from synthmed.metrics.variety import deviation, mean_ms_ssim, mean_of_pairs, ms_ssim_between_all, pairs


def test_every_pair_once():
    first, second = pairs(4)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


def test_deviation_by_hand():
    # Pixels 10, 20, 30 and 5, 5, 5: variances 100 and 0.
    images = np.array([[10, 5], [20, 5], [30, 5]], np.uint8).reshape(3, 1, 2, 1)
    assert deviation(images) == pytest.approx(np.sqrt(50))
    assert deviation(np.repeat(images[:1], 3, axis=0)) == 0


def test_ms_ssim_is_the_mean_over_pairs_and_needs_room():
    images = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), np.uint8)
    expected = [float(ms_ssim(images[i : i + 1], images[j : j + 1])[0]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert mean_ms_ssim(images) == pytest.approx(np.mean(expected))
    assert mean_ms_ssim(np.repeat(images[:1], 3, axis=0)) == pytest.approx(1)
    assert mean_ms_ssim(images[:, :10]) is None


def test_ms_ssim_of_all_pairs_in_batches():
    images = np.random.default_rng(0).integers(0, 256, (4, 24, 20, 1), np.uint8)
    found = ms_ssim_between_all(images, 4)
    for i in range(4):
        for j in range(4):
            assert found[i, j] == pytest.approx(float(ms_ssim(images[i : i + 1], images[j : j + 1])[0]))
    assert ms_ssim_between_all(images[:, :10], 4) is None


def test_mean_of_pairs_by_hand():
    # Images 0 and 1 are of one patient, so their pair (value 9) is left out: the pairs 02, 03, 12, 13, 23 remain.
    values = np.zeros((4, 4))
    for (i, j), value in {(0, 1): 9, (0, 2): 1, (0, 3): 2, (1, 2): 3, (1, 3): 4, (2, 3): 5}.items():
        values[i, j] = values[j, i] = value
    mean, influence = mean_of_pairs(values, np.array([0, 0, 1, 2]))
    assert mean == pytest.approx(3)
    # Image 0: (1 − 3) + (2 − 3) = −3; all pairs are 5, and the influence is 4 / 5 of that.
    assert influence == pytest.approx(np.array([-3, 1, 0, 2]) * 4 / 5)
    assert mean_of_pairs(values, np.zeros(4, int)) is None


def test_influences_are_those_of_weights():
    rng = np.random.default_rng(1)
    values = rng.random((6, 6))
    values, units, step = values + values.T, np.array([0, 0, 1, 2, 3, 3]), 1e-6
    mean, influence = mean_of_pairs(values, units)
    apart = units[:, None] != units
    for image in range(6):
        weights = np.ones(6)
        weights[image] += step
        both = np.outer(weights, weights) * apart
        assert ((values * both).sum() / both.sum() - mean) / step * 6 == pytest.approx(influence[image], rel=1e-3)

"""How different a few images are, by hand."""

import numpy as np
import pytest

from synthmed.metrics.similarity import ms_ssim
from synthmed.metrics.variety import deviation, mean_ms_ssim, pairs


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

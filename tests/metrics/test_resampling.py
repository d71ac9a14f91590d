"""The interval of a mean that counts patients, not images, as independent."""

import numpy as np
import pytest
from scipy import stats

from synthmed.core.errors import InputError
from synthmed.metrics.resampling import clustered_mean_interval


def test_clustered_mean_by_hand():
    # Mean 4; residuals -3, -1, 0, 4; sums of the patients -4, 0, 4; SE = sqrt(3/2 * 32) / 4 = sqrt(3).
    found = clustered_mean_interval([1, 3, 4, 8], [0, 0, 1, 2], level=0.95)
    half = 4.302653 * np.sqrt(3)  # t of 2 degrees of freedom, from a table
    assert found == pytest.approx({"value": 4, "low": 4 - half, "high": 4 + half}, rel=1e-6)
    # Neither the order nor the numbers of the patients matter.
    assert clustered_mean_interval([8, 1, 4, 3], [7, 2, 5, 2], level=0.95) == pytest.approx(found)


def test_with_one_image_a_patient_it_is_the_t_interval():
    values = np.random.default_rng(0).normal(size=9)
    found = clustered_mean_interval(values, np.arange(9), level=0.9)
    low, high = stats.t.interval(0.9, 8, values.mean(), stats.sem(values))
    assert found == pytest.approx({"value": values.mean(), "low": low, "high": high})


def test_copies_of_an_image_do_not_narrow_the_interval():
    values = np.random.default_rng(1).normal(size=9)
    once = clustered_mean_interval(values, np.arange(9), level=0.95)
    assert clustered_mean_interval(np.tile(values, 5), np.tile(np.arange(9), 5), level=0.95) == pytest.approx(once)


def test_one_patient_has_no_interval_and_wrong_inputs_are_refused():
    assert clustered_mean_interval([1, 2], [3, 3], level=0.95) == {"value": 1.5, "low": None, "high": None}
    with pytest.raises(InputError, match="at least one value"):
        clustered_mean_interval([], [], level=0.95)
    with pytest.raises(InputError, match="2 values, but units of 1"):
        clustered_mean_interval([1, 2], [0], level=0.95)

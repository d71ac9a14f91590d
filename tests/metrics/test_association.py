"""Kendall's τ-b within groups, against scipy and by hand."""

import numpy as np
import pytest
from scipy import stats

from synthmed.core.errors import InputError
from synthmed.metrics.association import kendall

OPTIONS = {"level": 0.95, "resamples": 500}


def of(first, second, groups=None, units=None):
    groups = groups or ["a"] * len(first)
    units = units or [str(place) for place in range(len(first))]
    return kendall(first, second, groups, units, **OPTIONS, rng=np.random.default_rng(0))


def test_one_group_is_scipys():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 6, 25), rng.integers(0, 6, 25)  # with ties
    assert of(first, second).value == pytest.approx(stats.kendalltau(first, second).statistic)


def test_only_pairs_of_a_group_count():
    # Within each group the order is the same; the levels of the groups are not.
    found = of([1, 2, 3, 11, 12, 13], [21, 22, 23, 1, 2, 3], list("aaabbb"))
    assert (found.value, found.n, found.low, found.high) == (1, 6, 1, 1)
    # Three pairs agree, two do not, one is tied in the second: (3 − 2) / √(6 · 5).
    found = of([1, 2, 3, 1, 2, 3], [1, 2, 2, 3, 1, 2], list("aaabbb"))
    assert found.value == pytest.approx((3 - 2) / np.sqrt(6 * 5))


def test_the_interval_covers_what_is_true_and_units_widen_it():
    rng = np.random.default_rng(2)
    first = np.repeat(rng.normal(size=8), 4)
    second = first + np.repeat(rng.normal(size=8), 4)
    groups = [str(place % 4) for place in range(32)]
    apart, together = of(first, second, groups), of(first, second, groups, [str(place // 4) for place in range(32)])
    assert apart.value == together.value
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_what_cannot_be_said():
    assert of([1, 1], [1, 2]).reason == "no two of them differ in both"
    few = of([1, 2, 3], [1, 2, 3])
    assert (few.value, few.low) == (1, None)
    assert "3 pairs" in few.reason
    with pytest.raises(InputError, match="of one length"):
        of([1, 2], [1, 2, 3])

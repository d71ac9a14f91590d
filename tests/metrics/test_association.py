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
    assert of(first, second).tau.value == pytest.approx(stats.kendalltau(first, second).statistic)


def test_only_pairs_of_a_group_count():
    # Within each group the order is the same; the levels of the groups are not.
    found = of([1, 2, 3, 11, 12, 13], [21, 22, 23, 1, 2, 3], list("aaabbb"))
    assert (found.tau.value, found.tau.n, found.units) == (1, 6, 6)
    # Three pairs agree, two do not, one is tied in the second: (3 − 2) / √(6 · 5).
    found = of([1, 2, 3, 1, 2, 3], [1, 2, 2, 3, 1, 2], list("aaabbb"))
    assert found.tau.value == pytest.approx((3 - 2) / np.sqrt(6 * 5))


def test_the_interval_covers_what_is_true_and_units_widen_it():
    rng = np.random.default_rng(2)
    first = np.repeat(rng.normal(size=8), 4)
    second = first + np.repeat(rng.normal(size=8), 4)
    groups = [str(place % 4) for place in range(32)]
    units = [str(place // 4) for place in range(32)]
    apart, together = of(first, second, groups).tau, of(first, second, groups, units).tau
    assert apart.value == together.value
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_of_a_perfect_order_there_is_no_interval():
    """Every draw of it is perfect, however few there are."""
    found = of([1, 2, 3, 4], [1, 2, 3, 4]).tau
    assert (found.value, found.n, found.low) == (1, 6, None)
    assert "the order is the same" in found.reason


def test_p_counts_the_orders_of_the_units():
    assert of([1, 2, 3, 4], [1, 2, 3, 4]).p == pytest.approx(2 / 24)
    assert of([1, 2, 3, 4], [4, 3, 2, 1]).p == pytest.approx(2 / 24)
    # Two units in six groups are one pair six times.
    groups, units = list("aabbccddeeff"), list("xy") * 6
    twice = of([1, 2] * 6, [1, 2] * 6, groups, units)
    assert (twice.p, twice.tau.n, twice.tau.low, twice.units) == (1, 1, None, 2)
    # Those of each group change places: 3! · 2! orders; all pairs agree in one, all disagree in one.
    assert of([1, 2, 3, 1, 2], [1, 2, 3, 1, 2], list("aaabb")).p == pytest.approx(2 / 12)
    # Whatever order the rows are in: three units in two groups each, of whose 3! orders two are perfect.
    first, groups, units = [1, 2, 3, 1, 2, 3], list("aaabbb"), list("xyzxyz")
    for rows in ([0, 1, 2, 3, 4, 5], [0, 3, 4, 1, 5, 2]):
        assert of(*([one[row] for row in rows] for one in (first, first, groups, units))).p == pytest.approx(2 / 6)
    # One that stands in more groups than the others keeps its place: two orders, three pairs agree or one.
    assert of([1, 2, 3, 3], [1, 2, 3, 3], list("aaab"), list("xyzz")).p == 1 / 2


def test_p_of_one_group_is_scipys_whether_all_orders_are_seen_or_some():
    rng = np.random.default_rng(3)
    for count, within in ((6, 1e-9), (9, 0.015)):
        first, second = rng.permutation(count), rng.permutation(count)
        exact = stats.kendalltau(first, second, method="exact").pvalue
        assert of(first, second).p == pytest.approx(exact, abs=within)


def test_p_of_drawn_orders_is_never_nought():
    assert of(range(12), range(12)).p == 1 / 10_001


def test_numbers_of_one_unit_are_no_pair():
    found = of([1, 2, 3], [1, 2, 3], units=["x", "x", "y"])
    assert (found.tau.n, found.units) == (1, 2)


def test_what_cannot_be_said():
    assert of([1, 1], [1, 2]).tau.reason == "no two of them differ in both"
    few = of([1, 2, 3], [1, 2, 3]).tau
    assert (few.value, few.low) == (1, None)
    assert "3 pairs" in few.reason
    assert of([1, 2, 3], [1, 2, 3], list("aab"), list("xyx")).p is None
    with pytest.raises(InputError, match="of one length"):
        of([1, 2], [1, 2, 3])

"""Reading: the document's numbers that follow from its counts, hand values, and simulated truth."""

import numpy as np
import pytest
from scipy import stats

from synthmed.core.errors import InputError
from synthmed.metrics.outcomes import adjusted_difference
from synthmed.metrics.outliers import nearer_to_another, two_components
from synthmed.metrics.reading import detectable, detection, equivalence_power, fisher_p, guessing_p


def test_guessing_p_is_the_exact_binomial_test():
    # Seed 003: expert 1 is right in 132 of 200 images; all four in 431 of 800.
    assert guessing_p(132, 200) == pytest.approx(stats.binomtest(132, 200).pvalue, rel=1e-9)
    assert guessing_p(132, 200) == pytest.approx(7e-6, abs=1e-6)
    assert guessing_p(431, 800) == pytest.approx(0.03, abs=0.005)
    assert guessing_p(5, 10) == 1.0
    assert guessing_p(0, 10) == pytest.approx(2 / 1024)
    with pytest.raises(InputError, match="3 of 2"):
        guessing_p(3, 2)


@pytest.mark.parametrize("table", [(30, 0, 10, 0), (24, 6, 3, 7), (0, 5, 9, 1), (70, 35, 33, 62), (1, 0, 0, 300)])
def test_fishers_test_is_that_of_scipy(table):
    tp, fn, fp, tn = table
    assert fisher_p(*table) == pytest.approx(stats.fisher_exact([[tp, fn], [fp, tn]])[1], rel=1e-9)


def test_detection_by_hand():
    found = detection(70, 105, 33, 95)
    hit, alarm = stats.norm.ppf(70.5 / 106), stats.norm.ppf(33.5 / 96)
    assert found.d_prime == pytest.approx(hit - alarm)
    assert found.bias == pytest.approx(-(hit + alarm) / 2)
    variance = [
        r * (1 - r) / (n * stats.norm.pdf(stats.norm.ppf(r)) ** 2) for r, n in ((70.5 / 106, 105), (33.5 / 96, 95))
    ]
    assert found.error == pytest.approx(np.sqrt(sum(variance)))
    assert np.isfinite(detection(10, 10, 0, 10)).all()
    assert detection(0, 10, 0, 10).bias > 0  # never says synthetic
    with pytest.raises(InputError):
        detection(1, 1, 0, 0)


def test_its_error_is_that_of_many_readers():
    rng = np.random.default_rng(1)
    found = [detection(rng.binomial(200, 0.7), 200, rng.binomial(200, 0.4), 200) for _ in range(2000)]
    assert np.mean([one.error for one in found]) == pytest.approx(np.std([one.d_prime for one in found]), rel=0.05)


def test_power_of_the_equivalence_test_by_hand_and_by_simulation():
    assert equivalence_power(1.0, 1e9, 3.0, 0.05) == pytest.approx(2 * stats.norm.cdf(3 - 1.6449) - 1, abs=1e-4)
    assert equivalence_power(1.0, 1e9, 1.0, 0.05) == 0.0
    draws = np.random.default_rng(1).standard_normal(100_000)
    both = np.abs(draws) < 3 - 1.6449
    assert equivalence_power(1.0, 1e9, 3.0, 0.05) == pytest.approx(both.mean(), abs=0.01)
    assert detectable(0.1, 1e9, 0.05) == pytest.approx(0.1 * (1.95996 + 0.84162), rel=1e-4)


def test_adjusted_difference_is_that_of_images_of_one_kind():
    # Called synthetic: 60 % of the real and 80 % of the synthetic with hair, 20 points less without; hair is as
    # frequent among synthetic images as not among real ones, so that the plain difference would be another one.
    kind = np.repeat([False, True], 100)
    hair = np.concatenate([np.arange(100) < 20, np.arange(100) < 80])
    values = (0.4 + 0.2 * kind + 0.2 * hair)[None]
    found = adjusted_difference(values, hair, kind, np.arange(200))
    assert found.estimates == pytest.approx([0.2])
    with pytest.raises(InputError, match="cannot be told"):
        adjusted_difference(values, kind, kind, np.arange(200))


def test_among_images_of_one_kind_an_adjusted_difference_is_that_of_the_means():
    hair, values = np.arange(40) % 3 == 0, np.random.default_rng(3).random((2, 40))
    for kind in (np.ones(40, bool), np.zeros(40, bool)):
        found = adjusted_difference(values, hair, kind, np.arange(40))
        assert found.estimates == pytest.approx(values[:, hair].mean(axis=1) - values[:, ~hair].mean(axis=1))


def test_the_error_of_an_adjusted_difference_is_that_of_fresh_images():
    rng, kind = np.random.default_rng(2), np.repeat([False, True], 60)
    estimates, variances = [], []
    for _ in range(1500):
        hair = rng.random(120) < 0.4
        called = rng.random(120) < 0.3 + 0.3 * kind + 0.1 * hair
        found = adjusted_difference(called[None], hair, kind, np.arange(120))
        estimates.append(found.estimates[0])
        variances.append(found.covariance()[0, 0])
    assert np.mean(estimates) == pytest.approx(0.1, abs=0.01)
    assert np.mean(variances) == pytest.approx(np.var(estimates), rel=0.12)


def test_outliers_are_nearer_to_the_other_class():
    # The second feature varies ten times as much and says nothing.
    real = np.array([[0.0, -10], [0.2, 10], [1.0, -10], [1.2, 10]])
    labels = np.array(["a", "a", "b", "b"])
    features = np.array([[0.1, 40.0], [1.0, 0.0], [1.1, 0.0]])
    assert nearer_to_another(features, np.array(["a", "a", "b"]), real, labels).tolist() == [False, True, False]
    with pytest.raises(InputError, match="'c'"):
        nearer_to_another(features, np.array(["a", "c", "b"]), real, labels)


def test_two_components_are_where_features_vary_most():
    features = np.array([[3.0, 0.0, 0.0], [-3.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 1.0, 0.0]]) + 5
    places, explained = two_components(features)
    assert places == pytest.approx(np.array([[3, 0], [-3, 0], [0, -1], [0, 1]]), abs=1e-9)
    assert explained == pytest.approx([0.9, 0.1])

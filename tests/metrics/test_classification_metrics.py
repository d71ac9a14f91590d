import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from synthmed.core.errors import InputError
from synthmed.metrics import classification as c
from synthmed.metrics.estimate import Estimate


def sample(seed=0, n=80, decimals=1):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    return np.round(rng.standard_normal(n) + positive, decimals), positive


def test_a_confusion_matrix_by_hand():
    counts = c.confusion(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 2, 2]), 3)
    assert counts.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]


def test_a_label_that_there_is_not_is_an_error():
    with pytest.raises(InputError, match="truth must lie in"):
        c.confusion(np.array([0, 2]), np.array([0, 1]), 2)


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_auroc_and_curve_agree_with_scikit_learn(decimals):
    scores, positive = sample(decimals=decimals)
    assert c.auroc(scores, positive) == pytest.approx(reference.roc_auc_score(positive, scores))
    false_rate, true_rate, thresholds = c.roc_curve(scores, positive)
    expected = reference.roc_curve(positive, scores, drop_intermediate=False)
    for found, other in zip((false_rate, true_rate, thresholds), expected, strict=True):
        assert found == pytest.approx(other)


def test_midranks_agree_with_scipy():
    scores = np.stack([sample(seed=i, decimals=i)[0] for i in range(3)])
    assert (c.midranks(scores) == stats.rankdata(scores, axis=1)).all()


def test_auroc_of_one_class_or_nan_is_an_error():
    with pytest.raises(InputError, match="one class only"):
        c.auroc(np.array([0.1, 0.2]), np.array([True, True]))
    with pytest.raises(InputError, match="NaN"):
        c.auroc(np.array([0.1, np.nan]), np.array([True, False]))


def test_threshold_has_the_largest_youden_index():
    scores, positive = sample(n=60)
    threshold = c.choose_threshold(scores, positive)
    called = scores >= threshold
    best = max((called_ := scores >= t)[positive].mean() - called_[~positive].mean() for t in np.unique(scores))
    assert called[positive].mean() - called[~positive].mean() == pytest.approx(best)
    assert threshold not in scores
    worthless = c.choose_threshold(np.array([0.0, 1.0]), np.array([True, False]))
    assert worthless > 1  # nothing is called positive


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (81, 263)])
def test_exact_intervals_agree_with_scipy(k, n):
    expected = stats.binomtest(k, n).proportion_ci(0.95, "exact")
    found = c.clopper_pearson(k, n, 0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_published_exact_intervals():
    # Newcombe 1998 (Stat. Med. 17:857), Table I: 81/263 and 15/148.
    assert c.clopper_pearson(81, 263, 0.95)[1:] == pytest.approx((0.2527, 0.3676), abs=5e-5)
    assert c.clopper_pearson(15, 148, 0.95)[1:] == pytest.approx((0.0578, 0.1617), abs=5e-5)
    with pytest.raises(InputError):
        c.clopper_pearson(3, 2, 0.95)


def test_a_share_of_nothing_says_so():
    assert c.share_estimate(3, 4, 0.95) == Estimate(*c.clopper_pearson(3, 4, 0.95), 4)
    assert c.share_estimate(0, 0, 0.95) == Estimate.missing("there is no such image", 0)
    assert c.share_estimate(0, 0, 0.95, nothing="all are rejected").reason == "all are rejected"


def test_sensitivity_at_rates_drawn_by_hand():
    score = np.array([0.9, 0.8, 0.7, 0.6])
    positive = np.array([True, False, True, False])
    # Thresholds: 0.9 -> (0, 1/2), 0.8 -> (1/2, 1/2), 0.7 -> (1/2, 1), 0.6 -> (1, 1).
    assert c.sensitivity_at(score, positive, np.array([0, 0.25, 0.5, 1])).tolist() == [0.5, 0.5, 1, 1]


def test_sensitivity_does_not_resolve_ties_in_favour_of_the_classifier():
    score = np.full(4, 0.5)
    positive = np.array([True, True, False, False])
    assert c.sensitivity_at(score, positive, np.array([0, 0.5, 1])).tolist() == [0, 0, 1]

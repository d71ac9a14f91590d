"""Tests and intervals against published values, definitions written out, scipy, and simulation."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from synthmed.core.errors import InputError
from synthmed.metrics import statistics as s
from synthmed.metrics.outcomes import area_under_curve

# DeLong, DeLong & Clarke-Pearson 1988: 43 complete patients with ovarian cancer and bowel obstruction, as printed in
# the SAS/STAT User's Guide, PROC LOGISTIC, "Comparing Receiver Operating Characteristic Curves": albumin, total
# protein, K-G score, outcome (0 is the event). The data were compared with support.sas.com (statug 63347, example 8);
# its printed results below were not among what could be read there, so ASAH is the example with confirmed results.
OVARIAN = np.fromstring(
    """3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1
    3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0
    4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1
    4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1
    2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1 3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1""",
    sep=" ",
).reshape(-1, 4)


# Turck et al. 2010, Intensive Care Med 36:107: 113 patients with aneurysmal subarachnoid haemorrhage, the data set aSAH
# of the R package pROC: poor outcome / S100β × 100 / WFNS grade / NDKA × 100.
ASAH = np.fromstring(
    """0/13/1/301 0/14/1/854 0/10/1/809 0/4/1/1042 1/13/3/1740 1/10/2/1275 0/47/5/600 1/16/4/1320 0/18/1/1554
    0/10/2/601 1/12/5/1596 0/10/2/1786 1/44/5/518 1/71/5/890 0/4/1/1341 0/8/2/2075 1/49/5/1160 0/4/2/1611 1/7/2/3237
    1/33/5/5482 1/9/2/3241 0/9/1/4994 1/7/1/4034 0/11/1/947 0/7/1/629 0/17/2/1253 0/7/1/654 0/11/2/630 0/13/1/8030
    0/19/1/1280 0/5/3/980 0/16/4/981 1/41/2/985 0/14/1/1821 0/34/4/503 1/35/5/1404 1/48/4/2193 0/9/1/802 1/96/4/742
    1/25/2/838 0/50/5/659 0/46/5/963 0/16/1/1312 0/7/1/796 0/43/2/1434 0/45/4/4143 0/11/1/763 0/8/1/706 0/9/2/1259
    1/86/5/1356 1/52/5/387 0/8/2/944 0/6/1/766 0/13/2/1298 1/207/5/41919 0/10/1/2719 0/14/2/2227 0/15/2/995
    1/7/2/2122 0/6/1/1173 1/77/5/1040 0/5/1/5883 0/9/1/639 1/30/2/1109 1/3/5/1222 1/9/2/1367 0/4/1/1721 1/23/4/2263
    1/70/5/1290 0/9/2/970 1/27/4/2157 1/71/4/823 1/8/1/7257 1/26/4/1554 0/8/1/1051 0/16/2/1060 0/9/1/1457 1/13/4/519
    1/10/2/963 0/8/1/461 1/11/2/2148 0/33/3/1730 0/11/2/1271 0/28/4/944 0/7/2/1107 0/10/1/1946 0/32/4/1083
    1/22/5/537 0/7/1/1197 0/5/1/775 0/24/5/983 0/38/4/1055 0/10/2/2849 0/15/2/853 0/8/1/1257 0/14/1/1290 0/10/1/4683
    0/7/3/1168 0/4/1/1267 0/19/2/901 1/56/5/957 1/14/2/3406 1/58/2/1172 1/32/5/1426 1/82/5/4761 1/74/5/1167
    0/15/2/2458 0/47/4/1033 0/17/4/1387 1/44/5/1589 0/15/1/2243 0/50/1/679 0/48/1/1345""".replace("/", " "),
    dtype=int,
    sep=" ",
).reshape(-1, 4)


def cases(n=120, k=4, seed=0, decimals=1):
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 3 == 0
    common = rng.standard_normal(n)
    return np.round(0.7 * common + 0.7 * rng.standard_normal((k, n)) + positive, decimals), positive


def areas_of(scores, positive, patients):
    measured = area_under_curve(np.atleast_2d(scores), positive, patients)
    return measured.estimates, measured.covariance()


def test_delong_gives_the_published_values_of_the_ovarian_cancer_data():
    albumin, protein, score, outcome = OVARIAN.T
    patients, fails = np.arange(len(outcome)), outcome == 0
    areas, covariance = areas_of(np.stack([-albumin, score, -protein]), fails, patients)
    assert areas == pytest.approx([0.7366, 0.7258, 0.6478], abs=5e-5)
    assert np.sqrt(np.diag(covariance)) == pytest.approx([0.0927, 0.1028, 0.1000], abs=5e-5)
    contrast = np.array([[1, -1, 0], [0, -1, 1]])  # each against the K-G score: chi-square 2.5340, 2 df, p 0.2817
    difference = contrast @ areas
    chi_square = difference @ np.linalg.solve(contrast @ covariance @ contrast.T, difference)
    assert chi_square == pytest.approx(2.5340, abs=5e-5)
    assert stats.chi2.sf(chi_square, 2) == pytest.approx(0.2817, abs=5e-5)
    test = s.delong_test(score, -albumin, fails, patients)
    assert test.difference == pytest.approx(0.01075, abs=5e-6)
    assert test.p == pytest.approx(2 * stats.norm.sf(0.01075269 / 0.09534362), abs=1e-5)


def test_delong_gives_the_values_of_the_r_package_proc():
    """tests/testthat/test-roc.test.R and helper-roc-expected.R of github.com/xrobin/pROC: areas, Z and p."""
    poor, patients = ASAH[:, 0] == 1, np.arange(len(ASAH))
    s100b, wfns, ndka = ASAH[:, 1:].T
    areas, _ = areas_of(np.stack([s100b, wfns, ndka]), poor, patients)
    assert areas == pytest.approx([0.731368563685637, 0.823678861788618, 0.611957994579946], abs=1e-12)
    for first, second, z, p, low, high in (
        (s100b, wfns, 2.20898359144091, 0.0271757822291882, 0.0104061769564846, 0.174214419249478),
        (ndka, wfns, 2.79777591868904, 0.00514557970691098, 0.0634011709339876, 0.3600405634833566),
        (s100b, ndka, -1.39077002573558, 0.164295175223054, -0.2876917446341914, 0.0488706064228094),
    ):
        test = s.delong_test(first, second, poor, patients)
        assert test.difference / test.error == pytest.approx(z, rel=1e-10)
        assert test.p == pytest.approx(p, rel=1e-9)
        half = stats.norm.ppf(0.975) * test.error
        assert (test.difference - half, test.difference + half) == pytest.approx((low, high), rel=1e-9)


def test_delong_equals_its_definition_with_ties():
    scores, positive = cases()
    areas, covariance = areas_of(scores, positive, np.arange(120))
    pairs = scores[:, positive][:, :, None] - scores[:, ~positive][:, None, :]
    psi = (pairs > 0) + 0.5 * (pairs == 0)
    expected = np.cov(psi.mean(axis=2)) / positive.sum() + np.cov(psi.mean(axis=1)) / (~positive).sum()
    assert covariance == pytest.approx(expected)
    assert areas == pytest.approx([roc_auc_score(positive, row) for row in scores])


def test_repeating_every_image_of_a_patient_adds_no_information():
    scores, positive = cases(n=60)
    single = areas_of(scores, positive, np.arange(60))[1]
    twice = np.repeat(np.arange(60), 2)
    clustered = areas_of(scores[:, twice], positive[twice], twice)[1]
    assert clustered == pytest.approx(single)
    assert areas_of(scores[:, twice], positive[twice], np.arange(120))[1][0, 0] < 0.6 * single[0, 0]


def test_clustered_variance_of_patients_with_both_classes_matches_simulation():
    rng = np.random.default_rng(3)
    areas, errors = [], []
    patients, positive = np.repeat(np.arange(50), 2), np.tile([True, False], 50)  # one image of each class a patient
    for _ in range(400):
        scores = rng.standard_normal(50)[patients] + rng.standard_normal(100) + positive
        area, covariance = areas_of(scores, positive, patients)
        areas.append(area[0])
        errors.append(covariance[0, 0])
    assert np.mean(errors) == pytest.approx(np.var(areas), rel=0.2)


def test_delong_of_equal_and_of_perfect_classifiers():
    positive, patients = np.arange(10) < 5, np.arange(10)
    same = s.delong_test(positive * 1.0, positive * 2.0, positive, patients)
    assert (same.difference, same.p) == (0, 1)
    assert s.delong_test(np.zeros(10), positive * 1.0, positive, patients).p == 0
    with pytest.raises(InputError, match="2 patients of each class"):
        areas_of(np.arange(3.0), np.array([True, False, False]), np.arange(3))


def test_mcnemar_by_hand():
    first = np.array([1] * 10 + [1] * 8 + [0] * 2 + [0] * 5, dtype=bool)
    second = np.array([1] * 10 + [0] * 8 + [1] * 2 + [0] * 5, dtype=bool)
    found = s.mcnemar(first, second)
    assert (found.only_first, found.only_second) == (8, 2)
    assert found.exact == pytest.approx(112 / 1024)  # 2 (1 + 10 + 45) / 2^10
    assert found.exact == pytest.approx(stats.binomtest(2, 10).pvalue)
    # Fagerland, Lydersen & Laake 2013, airway hyper-responsiveness in 21 children: 1 and 7 discordant, 2 · 9/256.
    assert s.mcnemar(np.arange(8) < 1, np.arange(8) >= 1).exact == pytest.approx(0.0703, abs=5e-5)
    assert s.mcnemar(np.arange(4) < 2, np.arange(4) >= 2).exact == s.mcnemar(first, first).exact == 1


def test_holm_by_hand():
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert len(s.holm([])) == 0
    with pytest.raises(InputError):
        s.holm([0.5, float("nan")])


def test_majority_of_three_and_of_a_tie():
    decisions = np.array([[0, 1, 2], [0, 1, 1], [1, 1, 0]])
    assert s.majority(decisions, 3, np.array([9, 9, 2])).tolist() == [0, 1, 2]


def test_bootstrap_auroc_equals_the_auroc_of_each_resample():
    scores, positive = cases(n=40, k=3)
    patients = np.arange(40) // 2
    draws = s.two_level_resamples(positive, patients, 3, 20, np.random.default_rng(1))
    found = s.bootstrap_auroc(scores, positive, draws)
    for b in range(20):
        rows = np.repeat(np.arange(40), draws.cases[b].astype(int))
        expected = [roc_auc_score(positive[rows], row[rows]) for row in scores]
        assert found[b] == pytest.approx(np.dot(expected, draws.seeds[b]), abs=1e-6)


def test_resamples_keep_patients_together_and_both_classes():
    positive = np.array([True, True, False, False, False, True])
    patients = np.array([0, 0, 1, 1, 2, 3])
    draws = s.two_level_resamples(positive, patients, 5, 300, np.random.default_rng(0))
    assert (draws.cases[:, 0] == draws.cases[:, 1]).all()
    assert (draws.cases[:, 2] == draws.cases[:, 3]).all()
    assert (draws.cases[:, positive].sum(axis=1) > 0).all()
    assert (draws.cases[:, ~positive].sum(axis=1) > 0).all()
    assert draws.seeds.sum(axis=1) == pytest.approx(1)
    # S − 1 of S seeds drawn: the variance of the resampled mean is that of a mean of S, unbiased.
    values = np.array([0.0, 1, 2, 3, 4])
    many = s.two_level_resamples(positive, patients, 5, 20000, np.random.default_rng(1))
    assert (many.seeds @ values).var() == pytest.approx(values.var(ddof=1) / 5, rel=0.05)
    # Of six seeds of three trainings, two trainings.
    values = np.array([0.0, 1, 4, 5, 7, 7])
    means = values.reshape(3, 2).mean(axis=1)
    many = s.two_level_resamples(positive, patients, 6, 20000, np.random.default_rng(1), trainings=3)
    assert (many.seeds @ values).var() == pytest.approx(means.var(ddof=1) / 3, rel=0.05)
    assert (many.seeds[:, 0] == many.seeds[:, 1]).all()


def test_bootstrap_interval_covers_the_true_area():
    rng = np.random.default_rng(5)
    positive, patients = np.arange(80) < 40, np.arange(80)
    truth, covered = stats.norm.cdf(1 / np.sqrt(2)), 0
    for _ in range(150):
        scores = rng.standard_normal((1, 80)) + 0.3 * rng.standard_normal((5, 80)) + positive * np.sqrt(1.09)
        draws = s.two_level_resamples(positive, patients, 5, 300, rng)
        low, high = np.quantile(s.bootstrap_auroc(scores, positive, draws), [0.025, 0.975])
        covered += low <= truth <= high
    assert 0.89 <= covered / 150 <= 1


def test_bootstrap_p():
    assert s.bootstrap_p(np.full(999, 0.1)) == pytest.approx(2 / 1000)
    assert s.bootstrap_p(np.zeros(999)) == 1
    assert s.bootstrap_p(np.r_[np.full(50, -1.0), np.full(949, 1.0)]) == pytest.approx(2 * 51 / 1000)

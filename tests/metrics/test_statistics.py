"""Tests and intervals against published values, definitions written out, scipy, and simulation."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from synthmed.errors import InputError
from synthmed.metrics import statistics as s

# DeLong, DeLong & Clarke-Pearson 1988: 43 complete patients with ovarian cancer and bowel obstruction, as printed in
# the SAS/STAT User's Guide, PROC LOGISTIC, "Comparing Receiver Operating Characteristic Curves": albumin, total
# protein, K-G score, outcome (0 is the event).
OVARIAN = np.fromstring(
    """3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1
    3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0
    4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1
    4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1
    2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1 3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1""",
    sep=" ",
).reshape(-1, 4)


def cases(n=120, k=4, seed=0, decimals=1):
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 3 == 0
    common = rng.standard_normal(n)
    return np.round(0.7 * common + 0.7 * rng.standard_normal((k, n)) + positive, decimals), positive


def test_delong_gives_the_published_values_of_the_ovarian_cancer_data():
    albumin, protein, score, outcome = OVARIAN.T
    patients, fails = np.arange(len(outcome)), outcome == 0
    areas, covariance = s.auroc_covariance(np.stack([-albumin, score, -protein]), fails, patients)
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


def test_delong_equals_its_definition_with_ties():
    scores, positive = cases()
    areas, covariance = s.auroc_covariance(scores, positive, np.arange(120))
    pairs = scores[:, positive][:, :, None] - scores[:, ~positive][:, None, :]
    psi = (pairs > 0) + 0.5 * (pairs == 0)
    expected = np.cov(psi.mean(axis=2)) / positive.sum() + np.cov(psi.mean(axis=1)) / (~positive).sum()
    assert covariance == pytest.approx(expected)
    assert areas == pytest.approx([roc_auc_score(positive, row) for row in scores])


def test_repeating_every_image_of_a_patient_adds_no_information():
    scores, positive = cases(n=60)
    single = s.auroc_covariance(scores, positive, np.arange(60))[1]
    twice = np.repeat(np.arange(60), 2)
    clustered = s.auroc_covariance(scores[:, twice], positive[twice], twice)[1]
    assert clustered == pytest.approx(single)
    assert s.auroc_covariance(scores[:, twice], positive[twice], np.arange(120))[1][0, 0] < 0.6 * single[0, 0]


def test_clustered_variance_of_patients_with_both_classes_matches_simulation():
    rng = np.random.default_rng(3)
    areas, errors = [], []
    patients, positive = np.repeat(np.arange(50), 2), np.tile([True, False], 50)  # one image of each class a patient
    for _ in range(400):
        scores = rng.standard_normal(50)[patients] + rng.standard_normal(100) + positive
        area, covariance = s.auroc_covariance(scores, positive, patients)
        areas.append(area[0])
        errors.append(covariance[0, 0])
    assert np.mean(errors) == pytest.approx(np.var(areas), rel=0.2)


def test_delong_of_equal_and_of_perfect_classifiers():
    positive, patients = np.arange(10) < 5, np.arange(10)
    same = s.delong_test(positive * 1.0, positive * 2.0, positive, patients)
    assert (same.difference, same.p) == (0, 1)
    assert s.delong_test(np.zeros(10), positive * 1.0, positive, patients).p == 0
    with pytest.raises(InputError, match="2 patients of each class"):
        s.auroc_covariance(np.arange(3.0), np.array([True, False, False]), np.arange(3))


def test_hanley_mcneil():
    # At an area of one half the formula is the null variance of the Mann-Whitney statistic, (m + n + 1) / 12mn.
    assert s.hanley_mcneil_error(0.5, 30, 40) ** 2 == pytest.approx(71 / (12 * 1200))
    # Hanley & McNeil 1982, 51 abnormal and 58 normal CT images: area 0.893, standard error 0.032.
    assert s.hanley_mcneil_error(0.893, 51, 58) == pytest.approx(0.032, abs=1e-3)
    apart = s.hanley_mcneil_independent(0.8, 0.9, (50, 50), (50, 50))
    assert apart.error == pytest.approx(
        np.hypot(s.hanley_mcneil_error(0.8, 50, 50), s.hanley_mcneil_error(0.9, 50, 50))
    )
    assert s.hanley_mcneil_paired(0.8, 0.9, (50, 50), 0.0) == pytest.approx(apart)
    assert s.hanley_mcneil_paired(0.8, 0.9, (50, 50), 0.6).p < apart.p
    with pytest.raises(InputError, match="impossible"):
        s.hanley_mcneil_paired(0.8, 0.9, (50, 50), 1.6)


def test_mcnemar_by_hand():
    first = np.array([1] * 10 + [1] * 8 + [0] * 2 + [0] * 5, dtype=bool)
    second = np.array([1] * 10 + [0] * 8 + [1] * 2 + [0] * 5, dtype=bool)
    found = s.mcnemar(first, second)
    assert (found.only_first, found.only_second) == (8, 2)
    assert found.exact == pytest.approx(112 / 1024)  # 2 (1 + 10 + 45) / 2^10
    assert found.exact == pytest.approx(stats.binomtest(2, 10).pvalue)
    assert found.mid_p == pytest.approx((112 - 45) / 1024)
    # Fagerland, Lydersen & Laake 2013, airway hyper-responsiveness: 1 and 7 discordant; exact .0703, mid-p .0391.
    published = s.mcnemar(np.arange(8) < 1, np.arange(8) >= 1)
    assert published.exact == pytest.approx(0.0703, abs=5e-5)
    assert published.mid_p == pytest.approx(0.0391, abs=5e-5)
    assert s.mcnemar(first, first)[2:] == (1, 1)


def test_holm_by_hand():
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert len(s.holm([])) == 0
    with pytest.raises(InputError):
        s.holm([0.5, float("nan")])


def test_majority_of_three_and_of_a_tie():
    decisions = np.array([[0, 1, 2], [0, 1, 1], [1, 1, 0]])
    assert s.majority(decisions, 3, np.array([9, 9, 2])).tolist() == [0, 1, 2]


def test_seeds_test_equals_its_formula_written_out():
    scores, positive = cases(n=90, k=10)
    patients = np.arange(90)
    found = s.seeds_test(scores[:5], scores[5:], positive, patients, level=0.95)
    areas, covariance = s.auroc_covariance(scores, positive, patients)
    d = areas[5:] - areas[:5]
    pairs = [
        covariance[5 + i, 5 + j] + covariance[i, j] - covariance[5 + i, j] - covariance[i, 5 + j]
        for i in range(5)
        for j in range(5)
        if i != j
    ]
    variance = d.var(ddof=1) / 5 + max(0, np.mean(pairs))
    degrees = 4 * (variance / (d.var(ddof=1) / 5)) ** 2
    assert found.error == pytest.approx(np.sqrt(variance))
    assert found.degrees == pytest.approx(degrees)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(d.mean()) / np.sqrt(variance), degrees))
    assert found.difference == pytest.approx(d.mean())
    assert found.high - found.difference == pytest.approx(stats.t.ppf(0.975, degrees) * np.sqrt(variance))
    assert found.difference - found.low == pytest.approx(found.high - found.difference)


def test_seeds_test_of_identical_arms():
    scores, positive = cases(k=5)
    same = s.seeds_test(scores, scores, positive, np.arange(120), level=0.95)
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)
    with pytest.raises(InputError, match="same ≥ 2 seeds"):
        s.seeds_test(scores[:1], scores[:1], positive, np.arange(120), level=0.95)


def test_bootstrap_auroc_equals_the_auroc_of_each_resample():
    scores, positive = cases(n=40, k=3)
    patients = np.arange(40) // 2
    draws = s.two_level_resamples(positive, patients, 3, 20, np.random.default_rng(1))
    found = s.bootstrap_auroc(scores, positive, draws)
    hits = scores > 0.5
    shares = s.bootstrap_share(hits, positive, draws)
    for b in range(20):
        rows = np.repeat(np.arange(40), draws.cases[b].astype(int))
        expected = [roc_auc_score(positive[rows], row[rows]) for row in scores]
        assert found[b] == pytest.approx(np.dot(expected, draws.seeds[b]), abs=1e-6)
        assert shares[b] == pytest.approx(
            np.dot([row[rows][positive[rows]].mean() for row in hits], draws.seeds[b]), abs=1e-6
        )


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

"""Outcomes and their one test, against a reference implementation, definitions written out, and by hand."""

import numpy as np
import pytest
from scipy import stats

from synthmed.core.errors import InputError
from synthmed.metrics import outcomes as o
from synthmed.metrics.classification import clopper_pearson
from synthmed.metrics.outcomes import OUTCOMES, beside
from synthmed.metrics.statistics import case_mean, equivalence_p, mean_estimate, paired, readers_test

CASE, MODEL = np.arange(40), np.arange(12)[:, None]
POSITIVE = CASE % 2 == 1
LABELS = POSITIVE.astype(int)
COMMON = np.sin(1.7 * CASE + 0.9 * MODEL) + 0.8 * np.sin(0.3 * CASE**2) + 0.9 * POSITIVE
SCORES = (COMMON + 0.1 * (MODEL > 2) * POSITIVE)[:6]
TWELVE = COMMON + (MODEL > 5) * (0.1 * POSITIVE + 1.2 * np.cos(2.3 * CASE))
ONE_CLASS = np.where(POSITIVE, CASE // 4, 100 + CASE // 6)
"""Patients of one class each, of unequal size."""
MIXED = CASE**2 % 7


def numbers(test):
    return [test.difference, test.low, test.high, test.p, test.error, test.degrees]


# Expected values by shared/reference/readers_test.py, an implementation of its own: its `auroc`, `mean_score` and
# `mean_of_patients` of the cases above with "cr3" and degrees of freedom by patients, then its `readers_test`.
def test_a_mean_over_all_cases_is_one_over_some_of_them():
    values, patients = np.array([[1.0, 0, 1, 1, 0, 0], [0, 0, 1, 0, 1, 1]]), np.array([0, 0, 1, 2, 2, 3])
    every = o.mean_of_cases(values, patients)
    np.testing.assert_allclose(every.estimates, [3 / 6, 3 / 6])
    np.testing.assert_allclose(every.leverage, [2 / 6, 1 / 6, 2 / 6, 1 / 6])
    np.testing.assert_allclose(every.influence.T * 6, [[0, 0.5, 0, -0.5], [-1, 0.5, 0, 0.5]])
    assert (every.patients.tolist(), every.cases) == ([0, 1, 2, 3], 6)
    # The first model has the images of patients 0, 1 and 2, the second those of 1 and 2: patient 3 has none.
    where = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 0]], bool)
    some = o.mean_of_some(values, where, patients)
    np.testing.assert_allclose(some.estimates, [3 / 4, 2 / 3])
    np.testing.assert_allclose(some.leverage, [2 / 4, 1 / 3, 2 / 3])
    np.testing.assert_allclose(some.influence, [[-0.5 / 4, 0], [0.25 / 4, 1 / 9], [0.25 / 4, -1 / 9]])
    assert (some.patients.tolist(), some.cases) == ([0, 1, 2], 5)
    with pytest.raises(InputError, match="no such case"):
        o.mean_of_some(values, np.array([[True] * 6, [False] * 6]), patients)


@pytest.mark.parametrize(
    ("measured", "contrast", "expected"),
    [
        pytest.param(
            o.area_under_curve(SCORES, POSITIVE, ONE_CLASS),
            paired(3),
            [0.07, -0.00652518467957, 0.14652518468, 0.0701150363385, 0.0358514839693, 14.7574055065],
            id="auroc, patients of one class",
        ),
        pytest.param(
            o.area_under_curve(SCORES, POSITIVE, CASE // 4),
            paired(3),
            [0.07, -0.0265264311395, 0.166526431139, 0.137037456446, 0.0432638331549, 9.90265343402],
            id="auroc, patients of both classes",
        ),
        pytest.param(
            o.mean_of_cases(SCORES, MIXED),
            paired(3),
            [0.0329002056258, -0.833471448667, 0.899271859918, 0.911610872889, 0.272824291086, 3.01152668237],
            id="mean of cases",
        ),
        pytest.param(
            o.mean_of_patients(SCORES, LABELS, MIXED, 1),
            paired(3),
            [0.0887498457097, -0.751299026345, 0.928798717765, 0.759550311486, 0.264925733872, 3.01944327974],
            id="mean of patients",
        ),
        pytest.param(
            o.mean_of_patients(SCORES, LABELS, MIXED, 1),
            np.eye(6),
            [0.548776003876, -0.00335918262161, 1.10091119037, 0.0507622808249, 0.176128978545, 3.08243708289],
            id="one arm",
        ),
        pytest.param(
            o.area_under_curve(TWELVE, POSITIVE, ONE_CLASS),
            paired(6, 3),
            [-0.0520833333333, -0.165703398653, 0.0615367319867, 0.345009265201, 0.0534833308598, 15.593860124],
            id="three trainings of a generator",
        ),
        pytest.param(
            o.sensitivity((SCORES > 0.2).astype(int), LABELS, MIXED, 1),
            paired(3),
            [0.1, -0.364791531534, 0.564791531534, 0.554115025905, 0.151809745641, 3.22251386322],
            id="sensitivity",
        ),
    ],
)
def test_readers_test_gives_the_numbers_of_the_reference(measured, contrast, expected):
    found = numbers(readers_test(measured, contrast, level=0.95))
    low, high = measured.bounds
    width = 1 if contrast.sum() == 0 else 0
    expected = [expected[0], max(low - width, expected[1]), min(high, expected[2]), *expected[3:]]
    assert found == pytest.approx(expected, rel=1e-8)


def test_covariances_of_the_reference():
    measured = o.area_under_curve(SCORES, POSITIVE, ONE_CLASS)
    assert measured.covariance()[0, [0, 4]] == pytest.approx([0.0021967447273, 0.00131274097874])
    measured = o.area_under_curve(SCORES, POSITIVE, CASE // 4)
    assert measured.covariance()[0, [0, 4]] == pytest.approx([0.00415555555556, 0.00130416666667])
    measured = o.mean_of_cases(SCORES, MIXED)
    assert measured.covariance()[0, [0, 4]] == pytest.approx([0.15273765763951, 0.00203952807633])
    # Its balanced accuracy has no (G − 1)/G, which the formula for all outcomes has.
    measured = o.balanced_accuracy(np.where(SCORES > 0.2, CASE % 3, (CASE + 1) % 3), CASE % 3, MIXED, 0)
    assert measured.covariance()[0, [0, 4]] == pytest.approx(np.array([0.05560529592318, 0.00075718998727]) * 3 / 4)


def test_readers_test_equals_its_formula_written_out():
    measured = o.area_under_curve(SCORES, POSITIVE, np.arange(40))
    found = readers_test(measured, paired(3), level=0.95, null=0.01)
    a, v = measured.estimates, measured.covariance()
    d = a[3:] - a[:3]
    pairs = [v[3 + i, 3 + j] + v[i, j] - v[3 + i, j] - v[i, 3 + j] for i in range(3) for j in range(3) if i != j]
    between, shared = d.var(ddof=1) / 3, np.mean(pairs)
    assert shared > 0
    # Every class is a sample of 20 patients of its own.
    q = [measured.factors()[g] * (measured.influence[g, 3:] - measured.influence[g, :3]).mean() ** 2 for g in CASE]
    classes = [np.sum(np.array(q)[name == POSITIVE]) for name in (True, False)]
    degrees_cases = sum(classes) ** 2 / (classes[0] ** 2 / 19 + classes[1] ** 2 / 19)
    variance = between + shared
    degrees = variance**2 / (between**2 / 2 + shared**2 / degrees_cases)
    assert (found.error, found.degrees) == pytest.approx((np.sqrt(variance), degrees))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(d.mean() - 0.01) / np.sqrt(variance), degrees))
    half = stats.t.ppf(0.975, degrees) * np.sqrt(variance)
    assert (found.low, found.high) == pytest.approx((d.mean() - half, d.mean() + half))


def test_leverage_is_the_jackknife_over_patients():
    """Leaving out one patient after the other: V = (G − 1)/G Σ (estimate without g − estimate)², for means exactly."""
    found = o.mean_of_cases(SCORES, MIXED)
    without = [SCORES[:, g != MIXED].mean(axis=1) for g in found.patients]
    count = len(without)
    moved = np.array(without) - found.estimates
    assert found.covariance() == pytest.approx((count - 1) / count * moved.T @ moved)


def test_balanced_accuracy_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2])
    decided = np.array([[0, 0, 0, 1, 1, 0, 2, 2, 2]])
    found = o.balanced_accuracy(decided, labels, np.arange(9), 0)
    assert found.estimates == pytest.approx([(3 / 4 + 1 / 2 + 1) / 3])
    # Independent classes with one image a patient: p (1 − p) / (n − 1) each.
    assert found.covariance()[0, 0] == pytest.approx((3 / 16 / 3 + 1 / 4 / 1 + 0) / 9)
    assert (found.cases, found.stratum.max()) == (9, 2)


def test_rates_by_hand():
    labels, decided = np.array([0, 0, 0, 1, 1, 2]), np.array([[0, 1, 0, 1, 0, 2], [0, 0, 0, 1, 1, 1]])
    patients = np.array(list("aabbcc"))
    assert o.accuracy(decided, labels, patients, 1).estimates == pytest.approx([4 / 6, 5 / 6])
    assert o.sensitivity(decided, labels, patients, 1).estimates == pytest.approx([0.5, 1])
    found = o.specificity(decided, labels, patients, 1)
    assert found.estimates == pytest.approx([3 / 4, 3 / 4])
    assert (found.patients.tolist(), found.cases) == (["a", "b", "c"], 4)
    assert o.mean_of_patients(decided, labels, patients, 1).estimates == pytest.approx(
        [(0.5 + 0.5 + 1) / 3, (0 + 0.5 + 1) / 3]
    )


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=list(OUTCOMES))
def test_every_outcome_of_the_registry(outcome):
    """Measured of all models at once it is that of each alone; better values are better; patients weigh as they say."""
    scores = np.stack([-SCORES, SCORES], axis=2)
    values = {"scores": scores, "decisions": (SCORES > 0.2).astype(int), "column": np.abs(SCORES)}[outcome.decides_on]
    together = outcome.measure(values, LABELS, MIXED, 1)
    assert together.estimates.shape == (6,)
    assert together.influence.shape == (len(together.patients), 6)
    alone = outcome.measure(values[2:3], LABELS, MIXED, 1)
    assert alone.estimates == pytest.approx(together.estimates[2:3])
    assert alone.covariance() == pytest.approx(together.covariance()[2:3, 2:3])
    assert together.of([4, 2]).covariance() == pytest.approx(together.covariance()[np.ix_([4, 2], [4, 2])])
    # The influences of a mean of patients or cases add up to nothing.
    assert together.influence.sum(axis=0) == pytest.approx(np.zeros(6), abs=1e-12)


def test_two_test_sets_add_their_covariances():
    first, second = o.area_under_curve(SCORES[:3], POSITIVE, CASE), o.area_under_curve(SCORES[3:], POSITIVE, CASE + 50)
    both = beside(first, second)
    expected = np.zeros((6, 6))
    expected[:3, :3], expected[3:, 3:] = first.covariance(), second.covariance()
    assert both.covariance() == pytest.approx(expected)
    found = readers_test(both, paired(3), level=0.95)
    assert found.difference == pytest.approx(second.estimates.mean() - first.estimates.mean())
    d, v = second.estimates - first.estimates, first.covariance() + second.covariance()
    shared = (v.sum() - np.trace(v)) / 6
    assert found.error == pytest.approx(np.sqrt(d.var(ddof=1) / 3 + shared))
    with pytest.raises(InputError, match="patient '7' is in both test sets"):
        beside(first, o.area_under_curve(SCORES, POSITIVE, np.where(CASE == 0, 7, CASE + 50)))


def test_one_patient_has_no_variance():
    alone = np.where(POSITIVE, 0, CASE)
    for measure in (o.balanced_accuracy, o.sensitivity):
        with pytest.raises(InputError, match="2 patients of each class"):
            measure(LABELS[None], LABELS, alone, 1)
    with pytest.raises(InputError, match="2 patients of each class"):
        o.area_under_curve(SCORES, POSITIVE, alone)
    # The only patient with positive cases has negative ones too: all are one sample, and it is a whole class.
    with pytest.raises(InputError, match="patient '1' is the only one"):
        o.area_under_curve(SCORES, POSITIVE, np.where(POSITIVE | (CASE == 0), 1, CASE + 2))
    with pytest.raises(InputError, match="of one class only"):
        o.area_under_curve(SCORES, np.ones(40, dtype=bool), CASE)
    with pytest.raises(InputError, match="undefined"):
        o.sensitivity(LABELS[None], LABELS, CASE, 2)
    with pytest.raises(InputError, match="NaN"):
        o.mean_of_patients(np.full((1, 40), np.nan), LABELS, CASE, 1)


def test_intervals_of_one_arm_stay_inside_and_are_never_a_point():
    right = np.tile(LABELS, (5, 1))
    perfect = mean_estimate(o.sensitivity(right, LABELS, CASE, 1), level=0.95)
    assert (perfect.value, perfect.high, perfect.n) == (1, 1, 20)
    assert perfect.low == pytest.approx(0.025 ** (1 / 20))  # Clopper & Pearson: 0.83 with 20 of 20
    none = mean_estimate(o.sensitivity(1 - right, LABELS, CASE, 1), level=0.95)
    assert (none.value, none.low) == (0, 0)
    for values in (np.full((5, 40), 0.5), right):
        area = mean_estimate(o.area_under_curve(values, POSITIVE, CASE), level=0.95)
        assert (area.low, area.high) == (None, None)
        assert "no spread" in area.reason
    almost = right.copy()
    almost[0, 1] = 0
    found = mean_estimate(o.sensitivity(almost, LABELS, CASE, 1), level=0.95)
    assert found.value == pytest.approx(0.99)
    assert 0.7 < found.low < 0.95 < found.high < 1


def test_means_over_the_cases_of_one_system():
    right = np.array([1.0, 0, 1, 1, np.nan])
    found = case_mean(right, np.arange(5), level=0.95)
    assert (found.value, found.low, found.high) == tuple(clopper_pearson(3, 4, 0.95))
    assert found.n == 4
    # Two images of one patient are no two trials: t interval of the logits, of 3 patients.
    clustered = case_mean(right, np.array([0, 0, 1, 2, 3]), level=0.95)
    error = np.sqrt(2 / 3 * ((-0.5 / 4) ** 2 / (1 - 1 / 2) ** 2 + 2 * (0.25 / 4) ** 2 / (1 - 1 / 4) ** 2))
    half = stats.t.ppf(0.975, 2) * error / (0.75 * 0.25)
    assert np.log(clustered.high / (1 - clustered.high)) - np.log(3) == pytest.approx(half)
    inside = case_mean(np.array([-0.3, 0.1, -0.2]), np.arange(3), level=0.95, bounds=(-1, 1))
    low, high = stats.t.interval(0.95, 2, inside.value, stats.sem([-0.3, 0.1, -0.2]))
    assert (inside.low, inside.high) == pytest.approx((low, high))
    assert "no spread over" in case_mean(np.full(5, 0.1), np.arange(5), level=0.95).reason
    assert case_mean(right, np.zeros(5), level=0.95).to_json() == {
        "value": 0.75, "low": None, "high": None, "n": 4, "reason": "one patient only, who has no spread"
    }  # fmt: skip
    assert case_mean(np.array([np.nan]), np.zeros(1), level=0.95).reason == "there is no such case"


def test_the_interval_of_one_arm_is_symmetric_in_the_logits():
    measured = o.area_under_curve(SCORES[:3], POSITIVE, CASE)
    found, test = mean_estimate(measured, level=0.9), readers_test(measured, np.eye(3), level=0.9)
    logits = np.log([x / (1 - x) for x in (found.low, found.value, found.high)])
    assert logits[1] - logits[0] == pytest.approx(logits[2] - logits[1])
    slope = found.value * (1 - found.value)
    assert logits[2] - logits[1] == pytest.approx(stats.t.ppf(0.95, test.degrees) * test.error / slope)


def test_differences_are_cut_at_what_they_can_reach():
    labels = np.repeat([0, 1], 4)
    scores = np.array(
        [[5, 6, 7, 0.5, 1, 2, 3, 4], [0, 1, 3, 4, 2, 5, 6, 7], [6, 7, 5, 4, 0, 1, 2, 3], [0, 1, 2, 4, 3, 5, 6, 7]]
    )
    found = readers_test(o.area_under_curve(scores[[0, 2, 1, 3]], labels == 1, np.arange(8)), paired(2), level=0.999)
    assert found.difference > 0.5
    assert found.high == 1
    pixels = o.mean_of_patients(np.array([[1.0, 9], [2, 30]]), labels, np.arange(2), 1, bounds=o.COUNT)
    assert readers_test(pixels, np.eye(2), level=0.95).low == 0
    assert readers_test(pixels, paired(1), level=0.95).low < -5


def test_without_spread_the_sign_test_over_patients_tells():
    """Constant scores against a perfect ranking; by pairs of patients of the two classes."""
    values = np.concatenate([np.full((3, 40), 0.5), np.tile(LABELS * 1.0, (3, 1))])
    found = readers_test(o.area_under_curve(values, POSITIVE, CASE), paired(3), level=0.95)
    assert numbers(found) == [0.5, None, None, pytest.approx(2 * 0.5**20), 0, 2]
    assert found.estimate(40).to_json()["reason"]
    assert equivalence_p(found, 0.9) == 1
    with pytest.raises(InputError, match="6 models were measured, but 4"):
        readers_test(o.area_under_curve(values, POSITIVE, CASE), paired(2), level=0.95)


@pytest.mark.parametrize(("patients", "p"), [(2, 0.5), (4, 0.125), (6, 0.03125), (40, 2 * 0.5**40)])
def test_the_sign_test_by_hand(patients, p):
    changed = o.mean_of_cases(np.stack([np.ones(patients), np.zeros(patients)]), np.arange(patients))
    assert readers_test(changed, paired(1), level=0.95).p == pytest.approx(p)
    assert stats.binomtest(0, patients).pvalue == pytest.approx(p)
    assert readers_test(changed, np.array([[1.0, 0.0]]), level=0.95, null=1.0).p == 1, "no difference"


def test_patients_of_many_images_do_not_make_up_for_patients():
    """One patient has half of the images, another the rest: no more is known than from two."""
    patients = np.repeat([0, 1, 2], [10, 5, 5])
    changed = o.mean_of_cases(np.stack([np.ones(20), np.zeros(20)]), patients)
    assert readers_test(changed, paired(1), level=0.95).p == pytest.approx(2 * 0.5**2)
    # Two of forty images have the thing, and these two alone are called so: that is no evidence from forty.
    tagged = CASE < 2
    found = readers_test(o.adjusted_difference(tagged[None] * 1.0, tagged, POSITIVE, CASE), np.eye(1), level=0.95)
    assert found.difference == pytest.approx(1)
    assert found.p >= 0.5


def test_errors_that_every_training_makes_elsewhere_are_not_taken_for_none():
    """Each training of the arm orders one pair wrongly, each another one: areas equal, covariances not positive."""
    positive = np.arange(40) < 20
    reference = np.tile(positive + np.linspace(0, 0.1, 40), (5, 1))
    arm = reference.copy()
    for seed in range(5):
        arm[seed, [seed, 20 + seed]] = arm[seed, [20 + seed, seed]]
    measured = o.area_under_curve(np.concatenate([reference, arm]), positive, np.arange(40))
    found = readers_test(measured, paired(5), level=0.95)
    own = o.area_under_curve(arm, positive, np.arange(40))
    assert own.estimates.var() == 0
    assert found.difference < 0
    assert found.error == pytest.approx(np.sqrt(own.covariance().sum()) / 5)
    assert 19 < found.degrees < 38  # two samples of 20 patients, one of which hardly varies
    alone = mean_estimate(own, level=0.95)
    assert 0.85 < alone.low < alone.value < alone.high < 1


def test_without_a_shared_covariance_the_variance_is_the_larger_one_not_the_sum():
    differences = np.array([[1, -1, 0, 0], [0.1, 0.3, 1.2, -0.8]])  # of two seeds in four patients
    measured = o.mean_of_patients(np.concatenate([np.zeros((2, 4)), differences]), None, CASE[:4], 0, bounds=(-9, 9))
    d = measured.estimates[2:] - measured.estimates[:2]
    contrast = paired(2)
    over = contrast @ measured.covariance() @ contrast.T
    assert over[0, 1] < 0
    found = readers_test(measured, contrast, level=0.95)
    between, least = d.var(ddof=1) / 2, over.sum() / 4
    assert found.error**2 == pytest.approx(max(between, least))
    assert 0 < between < least
    assert found.degrees == pytest.approx(least**2 / (between**2 + (least - between) ** 2 / 3))


def test_equivalence_by_two_one_sided_tests():
    measured = o.area_under_curve(SCORES, POSITIVE, CASE)
    test = readers_test(measured, paired(3), level=0.95)
    lower = stats.t.sf((test.difference + 0.1) / test.error, test.degrees)
    upper = stats.t.cdf((test.difference - 0.1) / test.error, test.degrees)
    assert equivalence_p(test, 0.1) == pytest.approx(max(lower, upper))
    assert equivalence_p(test, 0.1, null=test.difference) < equivalence_p(test, 0.1)
    # The interval lies within the margin exactly when both one-sided tests at half its level say so.
    edge = max(-test.low, test.high)
    assert equivalence_p(test, edge * 1.001) < 0.025 < equivalence_p(test, edge * 0.999)


def test_auprc_of_the_reference_library_with_ties():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], [40, 9])
    scores = np.round(rng.normal(size=(3, 49)) + labels, 1)  # rounded: there are ties
    measured = o.auprc(np.stack([-scores, scores], axis=2), labels, np.arange(49), 1)
    assert measured.estimates == pytest.approx([metrics.average_precision_score(labels, row) for row in scores])


def test_influences_on_the_auprc_are_its_derivatives_by_the_weights_of_the_cases():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(4)
    labels = rng.permutation(np.repeat([0, 1], [20, 7]))
    patients = np.arange(27) // 2  # most have images of both classes: one sample of patients
    scores = np.round(rng.normal(size=27) + labels, 1)

    def average(weights):
        return metrics.average_precision_score(labels, scores, sample_weight=weights)

    step = 1e-6
    expected = [(average(1 + step * row) - average(1 - step * row)) / (2 * step) for row in np.eye(27)]
    measured = o.auprc(np.stack([-scores, scores], axis=1)[None], labels, patients, 1)
    assert len(np.unique(measured.stratum)) == 1
    assert measured.influence[:, 0] == pytest.approx(np.bincount(patients, expected), abs=1e-7)
    alone = o.auprc(np.stack([-scores, scores], axis=1)[None], labels, np.arange(27), 1)
    centred = np.array(expected)
    for label in (0, 1):
        centred[labels == label] -= centred[labels == label].mean()
    assert alone.influence[:, 0] == pytest.approx(centred, abs=1e-7), "numbers of both classes are given"


def test_variance_of_the_auprc_is_that_of_a_bootstrap_within_classes():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(5)
    labels = np.repeat([0, 1], [400, 60])
    scores = rng.normal(size=(2, 460)) + 1.5 * labels
    measured = o.auprc(np.stack([-scores, scores], axis=2), labels, np.arange(460), 1)
    draws = [np.concatenate([rng.integers(0, 400, 400), rng.integers(400, 460, 60)]) for _ in range(400)]
    resampled = np.array([[metrics.average_precision_score(labels[d], row[d]) for row in scores] for d in draws])
    assert np.sqrt(np.diag(measured.covariance())) == pytest.approx(resampled.std(axis=0), rel=0.12)


@pytest.mark.parametrize("label", [0, 1])
def test_auprc_needs_both_classes(label):
    with pytest.raises(InputError, match="one class only"):
        o.auprc(np.zeros((1, 4, 2)), np.full(4, label), np.arange(4), 1)


def test_trainings_whose_errors_cancel_have_the_degrees_of_freedom_of_their_patients():
    """Two trainings of one mean, each wrong where the other is right: their influences add up to nothing."""
    influence = np.repeat([[0.02, -0.02], [-0.02, 0.02]], 5, axis=0)
    measured = o.Measured(np.array([0.8, 0.8]), influence, np.full(10, 0.1), np.zeros(10, int), np.arange(10), 10)
    found = readers_test(measured, np.eye(2), level=0.95)
    assert found.error > 0
    assert found.degrees == pytest.approx(9)
    assert found.low < 0.8 < found.high

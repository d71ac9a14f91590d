"""The rule of the verdict: its words, its family-wise level, and its behaviour in simulated experiments."""

import numpy as np
import pytest
from scipy import stats

from synthmed.core.errors import InputError
from synthmed.metrics.outcomes import area_under_curve, balanced_accuracy, mean_of_patients
from synthmed.metrics.statistics import SeedTest, equivalence_p, paired, readers_test
from synthmed.metrics.verdict import (
    HARMS,
    HELPS,
    NO_EVIDENCE,
    chance_to_hold,
    decide,
    families,
    level_holds,
    rule_text,
)


def found(difference, error=0.025, degrees=20.0):
    p = 2 * stats.t.sf(abs(difference) / error, degrees)
    return SeedTest(difference, difference - error, difference + error, p, error, degrees)


def words(tests, family="main", *, seeds=5, alpha=0.05, margin=0.02, **options):
    return decide(tests, dict.fromkeys(tests, family), alpha=alpha, margin=margin, seeds=seeds, **options)


def test_words_follow_from_adjusted_p_and_sign():
    tests = {"a": found(0.1), "b": found(-0.1), "c": found(0.056), "d": found(0.0)}
    verdicts = words(tests)
    assert [verdicts[arm].word for arm in "abcd"] == [HELPS, HARMS, NO_EVIDENCE, NO_EVIDENCE]
    assert tests["c"].p < 0.05
    assert verdicts["c"].p_holm == pytest.approx(2 * tests["c"].p)
    assert words({"c": tests["c"]})["c"].word == HELPS
    lower = words(tests, higher_is_better=False)
    assert [lower[arm].word for arm in "abcd"] == [HARMS, HELPS, NO_EVIDENCE, NO_EVIDENCE]


def test_holm_adjusts_within_a_family():
    tests = {"a": found(0.06), "b": found(0.0), "c": found(0.0)}
    assert decide(tests, {"a": "x", "b": "y", "c": "y"}, alpha=0.05, margin=0.02, seeds=5)["a"].word == HELPS
    assert decide(tests, dict.fromkeys("abc", "x"), alpha=0.05, margin=0.02, seeds=5)["a"].word == NO_EVIDENCE


def test_equivalence_is_adjusted_over_the_family_like_the_words():
    tests = {"a": found(0.001, 0.008), "b": found(0.0, 0.1), "c": found(0.004, 0.0081)}
    one_sided = {arm: equivalence_p(test, 0.02) for arm, test in tests.items()}
    assert one_sided["a"] < 0.025 / 1 < one_sided["a"] * 3
    verdicts = words(tests)
    assert verdicts["a"].p_equivalent == pytest.approx(3 * one_sided["a"])
    assert not any(verdict.equivalent for verdict in verdicts.values())
    assert words({"a": tests["a"]})["a"].equivalent
    # A difference may be measurable and within the margin at once.
    small = words({"a": found(0.005, 0.001)})["a"]
    assert (small.word, small.equivalent) == (HELPS, True)


def test_no_words_below_five_seeds():
    verdict = words({"a": found(0.3), "b": found(0.0, 0.001)}, seeds=4)
    assert [verdict[arm].word for arm in "ab"] == [None, None]
    assert "4 training seeds" in verdict["a"].reason
    assert verdict["a"].p_holm < 0.001
    assert not verdict["b"].equivalent


def test_no_words_from_two_trainings_of_a_generator():
    tests = {"one": found(0.3), "two": found(0.3), "three": found(0.3), "same": found(0.0, 0.001)}
    verdict = words(tests, trainings={"one": 1, "two": 2, "three": 3, "same": 2})
    assert [verdict[arm].word for arm in tests] == [HELPS, None, HELPS, None]
    assert verdict["two"].reason.startswith("2 trainings of its generator; below 3")
    assert not verdict["same"].equivalent
    assert verdict["two"].p_holm < 0.001


def test_families_of_arms():
    arms = {
        "classic": ("classic", None),
        "dcgan": ("generator", "dcgan"),
        "dcgan_x2": ("sweep", "dcgan"),
        "only_dcgan": ("synthetic_only", "dcgan"),
        "fresh": ("oracle", "fresh"),
        "fresh_x2": ("sweep", "fresh"),
        "dcgan_shuffled": ("label_shuffled", "dcgan"),
    }
    assert list(families(arms).values()) == ["main", "main", "sweep", "synthetic only", *["known truth"] * 3]


def test_rule_is_printed_with_its_numbers():
    text = rule_text(0.05, 0.02, outcome="AUROC", reference="real")
    for part in (
        "at most 0.05",
        "AUROC",
        "arm real",
        "0.02",
        "at most 0.025",
        HELPS,
        HARMS,
        NO_EVIDENCE,
        "than 5 seeds",
        "fewer than 3.",
    ):
        assert part in text
    with pytest.raises(InputError, match="margin"):
        words({}, margin=0.0)


def test_a_level_holds_only_where_that_is_shown():
    assert not level_holds(0, 50, bound=0.05, level=0.95)  # 0 of 50 may be up to 7 %
    assert level_holds(36, 1000, bound=0.05, level=0.95)
    assert not level_holds(37, 1000, bound=0.05, level=0.95)  # Clopper & Pearson: 2.62 to 5.06 %
    found = chance_to_hold(0.025, 1000, bound=0.05, level=0.95)
    assert found == pytest.approx(stats.binom.cdf(36, 1000, 0.025))
    assert chance_to_hold(0.05, 1000, bound=0.05, level=0.95) < 0.025 < 0.98 < found
    assert chance_to_hold(0.01, 50, bound=0.05, level=0.95) == 0


def simulated(rng, *, shift, seed_sd, repeats=250, n=120, seeds=5):
    """Words on an arm that separates the classes by `shift` more than the reference; seeds differ by `seed_sd`."""
    positive, given = np.arange(n) < n // 2, []
    for _ in range(repeats):
        shared = np.sqrt(0.7) * rng.standard_normal(n)
        arms = []
        for extra in (0.0, shift):
            own = np.sqrt(0.1) * rng.standard_normal(n) + np.sqrt(0.2) * rng.standard_normal((seeds, n))
            quality = 1.2 + extra + seed_sd * rng.standard_normal((seeds, 1))
            arms.append(shared + own + quality * positive)
        measured = area_under_curve(np.concatenate(arms), positive, np.arange(n))
        given.append(words({"arm": readers_test(measured, paired(seeds), level=0.95)})["arm"].word)
    return np.array(given)


@pytest.mark.parametrize("seed_sd", [0.02, 0.3, 0.8])
def test_false_verdicts_stay_at_the_nominal_level(seed_sd):
    given = simulated(np.random.default_rng(11), shift=0.0, seed_sd=seed_sd)
    # Nominal 2.5 % each way; with 250 repeats 5.6 % lies three standard errors above.
    assert (given == HELPS).mean() <= 0.056
    assert (given == HARMS).mean() <= 0.056


def test_a_real_effect_is_seen_in_its_direction():
    rng = np.random.default_rng(12)
    assert (simulated(rng, shift=0.6, seed_sd=0.05, repeats=60) == HELPS).mean() > 0.9
    assert (simulated(rng, shift=-0.6, seed_sd=0.05, repeats=60) == HARMS).mean() > 0.9


def test_a_few_patients_with_most_of_the_images_do_not_break_the_level():
    """Without leverage and patients' degrees of freedom 15 % of two equal arms differed here, at a nominal 5 %."""
    rng, p = np.random.default_rng(13), []
    for _ in range(400):
        sizes = np.minimum(np.ceil(rng.pareto(1.2, 20) * 2), 60).astype(int) + 1  # of 10 + 10 patients
        patients = np.repeat(np.arange(20), sizes)
        positive = patients < 10
        scores = rng.standard_normal((2, 1, 20))[:, :, patients] * 0.7 + rng.standard_normal(20)[patients] * 0.7
        scores = scores + 0.5 * rng.standard_normal((2, 5, len(patients))) + positive
        measured = area_under_curve(scores.reshape(10, -1), positive, patients)
        p.append(readers_test(measured, paired(5), level=0.95).p)
    assert (np.array(p) <= 0.05).mean() <= 0.08


def test_readers_who_guess_are_seldom_told_from_chance_and_sometimes_equal_to_it():
    """Five readers, 60 cases, half of them synthetic: whom they call so has nothing to do with it."""
    rng, different, equal = np.random.default_rng(15), [], []
    labels = np.arange(60) % 2
    for _ in range(300):
        looks = np.sqrt(0.5) * rng.standard_normal(60) + np.sqrt(0.5) * rng.standard_normal((5, 60))
        called = (looks + 0.3 * rng.standard_normal((5, 1)) > 0).astype(int)
        measured = balanced_accuracy(called, labels, np.arange(60), 1)
        test = readers_test(measured, np.eye(5), level=0.95, null=0.5)
        different.append(test.p <= 0.05)
        equal.append(equivalence_p(test, 0.1, null=0.5) <= 0.05)
    assert np.mean(different) <= 0.08
    assert np.mean(equal) > 0.3


def test_the_chance_of_the_generators_training_is_part_of_the_nested_test():
    """Four trainings of a generator without effect on average, three seeds each: paired seeds see one."""
    rng, p = np.random.default_rng(14), {"nested": [], "paired": []}
    for _ in range(300):
        patient = rng.standard_normal(60)
        generator = np.repeat(0.25 * rng.standard_normal(4), 3)
        cases = patient + 0.4 * rng.standard_normal((24, 60))
        cases[12:] += generator[:, None]
        measured = mean_of_patients(cases, None, np.arange(60), 0, bounds=(-np.inf, np.inf))
        p["nested"].append(readers_test(measured, paired(12, 4), level=0.95).p)
        p["paired"].append(readers_test(measured, paired(12), level=0.95).p)
    assert (np.array(p["nested"]) <= 0.05).mean() <= 0.09
    assert (np.array(p["paired"]) <= 0.05).mean() > 0.15

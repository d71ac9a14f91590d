"""The rule of the verdict: its words, its family-wise level, and its behaviour in simulated experiments."""

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.metrics.statistics import SeedTest, seeds_test
from synthmed.metrics.verdict import HARMS, HELPS, NO_EVIDENCE, decide, rule_text


def outcome(difference, p, half=0.05):
    return SeedTest(difference, difference - half, difference + half, p, half / 2, 10.0)


def test_words_follow_from_adjusted_p_and_sign():
    found = decide(
        {"a": outcome(0.1, 0.001), "b": outcome(-0.1, 0.002), "c": outcome(0.1, 0.03), "d": outcome(0.0, 0.9, 0.01)},
        alpha=0.05,
        margin=0.02,
    )
    assert [found[arm].word for arm in "abcd"] == [HELPS, HARMS, NO_EVIDENCE, NO_EVIDENCE]
    assert found["c"].p_holm == pytest.approx(0.06)
    assert [found[arm].equivalent for arm in "abcd"] == [False, False, False, True]


def test_rule_is_printed_with_its_numbers():
    text = rule_text(0.05, 0.02)
    for part in ("0.05", "95 %", "±0.02", HELPS, HARMS, NO_EVIDENCE):
        assert part in text
    with pytest.raises(InputError, match="margin"):
        decide({}, alpha=0.05, margin=0.0)


def simulate(rng, *, shift, seed_sd, repeats=250, n=120, seeds=5):
    """Two arms, same test cases; the second separates the classes by `shift` more, seeds differ by `seed_sd`."""
    positive, words = np.arange(n) < n // 2, []
    for _ in range(repeats):
        shared = np.sqrt(0.7) * rng.standard_normal(n)
        arms = []
        for extra in (0.0, shift):
            own = np.sqrt(0.1) * rng.standard_normal(n) + np.sqrt(0.2) * rng.standard_normal((seeds, n))
            quality = 1.2 + extra + seed_sd * rng.standard_normal((seeds, 1))
            arms.append(shared + own + quality * positive)
        test = seeds_test(*arms, positive, np.arange(n), level=0.95)
        words.append(decide({"arm": test}, alpha=0.05, margin=0.02)["arm"].word)
    return np.array(words)


@pytest.mark.parametrize("seed_sd", [0.02, 0.3, 0.8])
def test_false_verdicts_stay_at_the_nominal_level(seed_sd):
    words = simulate(np.random.default_rng(11), shift=0.0, seed_sd=seed_sd)
    # Nominal 2.5 % each way; with 250 repeats 5.6 % lies three standard errors above.
    assert (words == HELPS).mean() <= 0.056
    assert (words == HARMS).mean() <= 0.056


def test_a_real_effect_is_seen_in_its_direction():
    rng = np.random.default_rng(12)
    assert (simulate(rng, shift=0.6, seed_sd=0.05, repeats=60) == HELPS).mean() > 0.9
    assert (simulate(rng, shift=-0.6, seed_sd=0.05, repeats=60) == HARMS).mean() > 0.9

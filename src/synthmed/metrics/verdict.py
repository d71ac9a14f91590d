"""The verdict on an arm: helps, no evidence of a difference, harms. One rule, in one function, with its text.

Which test decides was chosen by simulation (two arms with equal true areas, 5 seeds each, 80/200/400 test cases, six
mixtures of case and seed noise, 500–800 data sets each; `tests/metrics/test_verdict_rule.py` repeats a small part).
False positives at a nominal two-sided 5 %:

| test | lowest | highest |
|---|---|---|
| trainings as readers (`statistics.seeds_test`) | 3.0 % | 6.6 % |
| bootstrap of patients and seeds | 0.0 % | 14 % (17 % with S instead of S − 1 seeds drawn) |
| t test over seeds, test cases taken as fixed | 3.6 % | 31 % |
| DeLong on seed-averaged scores, seeds taken as fixed | 3.6 % | 86 % |

The Monte Carlo error of an entry is about 1 point. The others answer narrower questions and are reported beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from synthmed.core.errors import InputError
from synthmed.metrics.statistics import SeedTest, holm

HELPS, NO_EVIDENCE, HARMS = "helps", "no evidence of a difference", "harms"

RULE = (
    "Every arm is compared with the real arm on the same test cases and training seeds. The difference is that of the "
    "areas under the ROC curve, averaged over the seeds. Its p value counts both chance in the trainings and chance "
    "in the patients (Obuchowski-Rockette analysis with the trainings as readers, degrees of freedom of Hillis, "
    "covariances of DeLong clustered by patient) and is adjusted by Holm's method over the arms that answer the same "
    "question (the main arms; the sweep of shares; synthetic images alone; arms of known truth). An adjusted p of at "
    "most {alpha:g} with a larger area says 'helps', with a smaller area 'harms'; everything else says 'no evidence of "
    "a difference', which is not evidence of equality. Evidence of equality is stated apart: an arm is equivalent to "
    "the real one when the whole {level:g} % interval of the difference lies within ±{margin:g}."
)


@dataclass(frozen=True)
class Verdict:
    """The words on one arm. p_holm: adjusted p; equivalent: the interval lies within the margin, and there is
    one (a test without any error estimates nothing)."""

    word: str
    p_holm: float
    equivalent: bool


def families(arms: Mapping[str, Mapping]) -> dict[str, str]:
    """The question that each arm answers: arm → family. Holm's method adjusts within a family.

    arms: arm → its description by the step `classify` (`kind`, `generator`). What is drawn from the true distribution
    (kind `oracle`) is known truth at every share, and so are shuffled labels: they judge the test and claim nothing.
    """
    truth = {arm["generator"] for arm in arms.values() if arm["kind"] == "oracle"}
    names = {}
    for name, arm in arms.items():
        if arm["kind"] == "label_shuffled" or arm["generator"] in truth:
            names[name] = "known truth"
        else:
            names[name] = {"sweep": "sweep", "synthetic_only": "synthetic only"}.get(arm["kind"], "main")
    return names


def rule_text(alpha: float, margin: float) -> str:
    """The rule in words, with its numbers."""
    return RULE.format(alpha=alpha, margin=margin, level=100 * (1 - alpha))


def decide(tests: Mapping[str, SeedTest], *, alpha: float, margin: float) -> dict[str, Verdict]:
    """Apply the rule (see RULE) to the arms' tests against the real arm: arm → Verdict.

    tests: from statistics.seeds_test with level = 1 − alpha. alpha: two-sided, family-wise, so that at most alpha/2 of
    the families of ineffective arms contain a false *helps*. margin: of the area under the curve, > 0.
    """
    if not 0 < alpha < 1 or not margin > 0:
        raise InputError(f"alpha must lie between 0 and 1 and the margin be positive; they are {alpha} and {margin}")
    adjusted = holm(np.array([test.p for test in tests.values()]))
    verdicts = {}
    for (arm, test), p in zip(tests.items(), adjusted.tolist(), strict=True):
        word = NO_EVIDENCE
        if p <= alpha:
            word = HELPS if test.difference > 0 else HARMS
        verdicts[arm] = Verdict(word, p, bool(test.error > 0 and -margin < test.low and test.high < margin))
    return verdicts

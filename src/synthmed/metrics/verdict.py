"""The verdict on an arm: helps, no evidence of a difference, harms. One rule, in one function, with its text.

Which test decides was chosen by simulation: docs/verdict.md has the table, `benchmarks/verdict_level.py` makes it and
`tests/metrics/test_verdict_rule.py` repeats a small part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy import special

from synthmed.core.errors import InputError
from synthmed.core.known import HARMS, HELPS, NO_EVIDENCE
from synthmed.metrics.classification import clopper_pearson
from synthmed.metrics.statistics import SeedTest, equivalence_p, holm

FEWEST_SEEDS = 5
"""Below it there are no words: with 2 seeds up to 19 % of the families without effect show a false *helps*, with 3 up
to 6 %, where 2.5 % are allowed (docs/verdict.md)."""
FEWEST_TRAININGS = 3
"""Of a generator that was trained several times: from two, their spread is a guess."""

RULE = (
    "Every arm is compared with the arm {reference} on the same test cases and training seeds. The difference is that "
    "of the outcome ({outcome}), averaged over the seeds. Its p value counts both chance in the trainings and chance "
    "in the patients (Obuchowski-Rockette analysis with the trainings as readers, covariances that leave one patient "
    "out, t quantiles with degrees of freedom for seeds and patients) and is adjusted by Holm's method over the arms "
    "that answer the same question (the main arms; the sweep of shares; synthetic images alone; fewer real images; "
    "arms of known truth). "
    "An adjusted p of at most {alpha:g} with a better outcome says 'helps', with a worse one 'harms'; everything else "
    "says 'no evidence of a difference', which is not evidence of equality. Evidence of equality is stated apart: an "
    "arm is equivalent when both one-sided tests against a difference of {margin:g}, adjusted by Holm's method over "
    "the same arms, have a p of at most {tail:g}. With fewer than {fewest} seeds no word is given, and none where an "
    "arm's generator was trained several times, but fewer than {trainings}."
)


@dataclass(frozen=True)
class Verdict:
    """The words on one arm.

    word: None where trainings are too few (see too_few), and then `reason` says so; it also says where there was no
    evidence because nothing could be estimated. p_holm: adjusted p of the difference; p_equivalent: of the larger of
    the two one-sided tests.
    """

    word: str | None
    reason: str | None
    p_holm: float
    p_equivalent: float
    equivalent: bool


_FAMILIES = {"sweep": "sweep", "synthetic_only": "synthetic only"} | dict.fromkeys(
    ("fewer", "fewer_generator"), "fewer real"
)


def families(arms: Mapping[str, tuple[str, str | None]]) -> dict[str, str]:
    """The question that each arm answers: arm -> family. Holm's method adjusts within a family.

    arms: arm -> its kind and the set that its added images come from. What is drawn from the true distribution (kind
    `oracle`) is known truth at every share, and so are shuffled labels: they judge the test and claim nothing.
    """
    truth = {source for kind, source in arms.values() if kind == "oracle"}
    names = {}
    for name, (kind, source) in arms.items():
        if kind == "label_shuffled" or source in truth:
            names[name] = "known truth"
        else:
            names[name] = _FAMILIES.get(kind, "main")
    return names


def rule_text(alpha: float, margin: float, *, outcome: str, reference: str) -> str:
    """The rule in words, with its numbers. outcome: title; reference: name of the arm that all are compared with."""
    return RULE.format(
        alpha=alpha,
        margin=margin,
        tail=alpha / 2,
        outcome=outcome,
        reference=reference,
        fewest=FEWEST_SEEDS,
        trainings=FEWEST_TRAININGS,
    )


def too_few(seeds: int, trainings: int = 1) -> str | None:
    """Why so many trainings of a model, and of the generator of its images, are too few for words; None where they are
    not. One training of a generator is not too few: the word is then about that training."""
    if seeds < FEWEST_SEEDS:
        return f"{seeds} training seeds; below {FEWEST_SEEDS} a lucky training is too easily taken for an effect"
    if 1 < trainings < FEWEST_TRAININGS:
        return f"{trainings} trainings of its generator; below {FEWEST_TRAININGS} the chance in them is hardly known"
    return None


def decide(
    tests: Mapping[str, SeedTest],
    families: Mapping[str, str],
    *,
    alpha: float,
    margin: float,
    seeds: int,
    trainings: Mapping[str, int] = MappingProxyType({}),
    higher_is_better: bool = True,
) -> dict[str, Verdict]:
    """Apply the rule (see RULE): arm -> Verdict.

    tests: arm -> its difference from the reference (statistics.readers_test); families: arm -> the question it answers.
    alpha: two-sided and family-wise, so that at most alpha/2 of the families of ineffective arms contain a false
    *helps*. margin: in the outcome's unit, > 0. seeds: trainings of each arm; trainings: arm -> those of its generator,
    where there were several.
    """
    if not 0 < alpha < 1 or not margin > 0:
        raise InputError(f"alpha must lie between 0 and 1 and the margin be positive; they are {alpha} and {margin}")
    verdicts = {}
    for family in dict.fromkeys(families[arm] for arm in tests):
        members = {arm: test for arm, test in tests.items() if families[arm] == family}
        different = holm([test.p for test in members.values()]).tolist()
        equal = holm([equivalence_p(test, margin) for test in members.values()]).tolist()
        for (arm, test), p_holm, p_equivalent in zip(members.items(), different, equal, strict=True):
            word = reason = None
            if few := too_few(seeds, trainings.get(arm, 1)):
                reason = few
            elif p_holm > alpha:
                word, reason = NO_EVIDENCE, test.estimate().reason
            else:
                word = HELPS if (test.difference > 0) == higher_is_better else HARMS
            equivalent = few is None and p_equivalent <= alpha / 2
            verdicts[arm] = Verdict(word, reason, p_holm, p_equivalent, equivalent)
    return verdicts


# ------------------------------------------------------------------------------- is the rule itself to be trusted?
def level_holds(count: int, repetitions: int, *, bound: float, level: float) -> bool:
    """Whether `count` false words in so many repetitions show that their rate is below `bound`.

    The upper end of the exact interval (Clopper & Pearson) must be: few repetitions show nothing, and then it is False.
    """
    return clopper_pearson(count, repetitions, level).high <= bound


def chance_to_hold(rate: float, repetitions: int, *, bound: float, level: float) -> float:
    """Chance that level_holds is True when the rate of false words is truly `rate`.

    At the nominal rate it is the power of the validation; at the bound it is at most (1 − level)/2.
    """
    counts = np.arange(repetitions + 1)
    highest = 1 - special.betaincinv(np.maximum(repetitions - counts, 1), counts + 1, (1 - level) / 2)
    passing = int((highest[:-1] <= bound).sum())
    return float(special.bdtr(passing - 1, repetitions, rate)) if passing else 0.0

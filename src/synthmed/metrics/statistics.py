"""Tests and intervals of models that were tested on the same cases: trainings as readers, DeLong, McNemar, Holm, …

Scores of several classifiers are (K, N): K classifiers (an arm trained with a seed), N test cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import special

from synthmed.core.errors import InputError
from synthmed.metrics.classification import clopper_pearson
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.outcomes import UNIT_INTERVAL, Measured, area_under_curve, mean_of_cases


class Test(NamedTuple):
    """A difference (second minus first) with its standard error and two-sided p."""

    __test__ = False  # no test class for pytest
    difference: float
    error: float
    p: float


# ------------------------------------------------------------------------------------------------ areas under curves
def delong_test(first: np.ndarray, second: np.ndarray, positive: np.ndarray, patients: np.ndarray) -> Test:
    """Paired test that two classifiers have the same area under the curve in the population (second − first).

    first, second: scores (N,); positive bool (N,); patients (N,). DeLong, DeLong & Clarke-Pearson 1988, clustered (see
    outcomes.area_under_curve). When the standard error is zero (two perfect or two equal classifiers), p is 1 for equal
    areas and 0 for different ones.
    """
    measured = area_under_curve(np.stack([first, second]), positive, patients)
    covariance = measured.covariance()
    error = float(np.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])))
    difference = float(measured.estimates[1] - measured.estimates[0])
    if error <= 1e-12:
        return Test(difference, error, 1.0 if abs(difference) <= 1e-12 else 0.0)
    return Test(difference, error, float(2 * special.ndtr(-abs(difference) / error)))


# ------------------------------------------------------------------------------- trainings as readers of the cases
@dataclass(frozen=True)
class SeedTest:
    """A mean (of differences, or of one arm) over trainings and patients, with its t interval.

    low, high: cut at what the mean can reach; None where the error is 0: all trainings and patients differ by the same
    then, and p is that of unanimous_p. error, degrees: standard error and degrees of freedom.
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    error: float
    degrees: float

    def estimate(self, cases: int | None = None) -> Estimate:
        """The difference as what is shown; without an interval it says why."""
        return Estimate(self.difference, self.low, self.high, cases, None if self.error else NO_SPREAD)


NO_SPREAD = "there is no spread over trainings and patients to estimate an interval from"


def unanimous_p(chances: np.ndarray) -> float:
    """Two-sided p where all patients went one way: twice the chance of that, chances (G,) being that of each to go so
    without an effect. With chances of 1/2 it is the exact sign test over patients."""
    return min(1.0, 2 * float(np.prod(chances)))


def readers(seeds: int, trainings: int = 1) -> np.ndarray:
    """Contrast of one arm's S models: each seed (S, S), or (G, S) the mean over the seeds of each of G trainings.

    trainings: of the arm's generator. With several of them, model t saw images of training t // (S / G); the readers
    are then these trainings, with G − 1 degrees of freedom, so that their chance is part of the error.
    """
    if trainings == 1:
        return np.eye(seeds)
    per = seeds // trainings
    return np.repeat(np.eye(trainings), per, axis=1) / per


def paired(seeds: int, trainings: int = 1) -> np.ndarray:
    """Contrast (readers, 2S): the last S models minus the first S (arm − reference, second − first set), seed by seed,
    or by the trainings of the arm's generator (see readers)."""
    own = readers(seeds, trainings)
    return np.concatenate([-own, own], axis=1)


def readers_test(measured: Measured, contrast: np.ndarray, *, level: float, null: float = 0.0) -> SeedTest:
    """Is the mean of d = contrast @ estimates different from `null`, for new trainings *and* new patients?

    measured: of K models on the same cases, or on two sets side by side (outcomes.beside). contrast (S, K): what gives
    the S numbers that are exchangeable under new trainings: `paired`, or for one arm `readers`.

    Obuchowski & Rockette's 1995 method for studies of many readers and many cases, with trainings as the readers:

        Var(mean d) = s²(d)/S + C,   C = max(0, mean over s ≠ s' of Cov(d_s, d_s')),

    the covariances over patients by Measured.covariance. The t quantiles have the degrees of freedom of Hillis 2007
    with a term for the patients, because a handful of either estimates its variance poorly:

        Var² / [(s²/S)²/(S − 1) + C²/ν],   ν = G − 1 (of several samples of patients by Satterthwaite).

    Where the mean covariance is not positive (hardly any case is decided wrongly, and each by another training), the
    variance is at least that of these very trainings over patients: new ones can only add to it. With S = 1 chance in
    the training is not part of it. Without any spread every patient differs from `null` in the same direction, if at
    all, and the sign test tells (see _without_spread). Raises InputError when contrast and models do not fit.
    """
    if contrast.shape[1] != len(measured.estimates):
        raise InputError(f"{len(measured.estimates)} models were measured, but {contrast.shape[1]} are compared")
    differences, seeds = contrast @ measured.estimates, len(contrast)
    mean = float(differences.mean())
    of_patients = measured.influence @ contrast.T
    over_patients = (of_patients * measured.factors()[:, None]).T @ of_patients
    between = float(differences.var(ddof=1)) / seeds if seeds > 1 else 0.0
    shared = _shared(over_patients, between)
    error = float(np.sqrt(between + shared))
    if error <= 1e-12:
        return SeedTest(mean, None, None, _without_spread(measured, mean - null), 0.0, float(max(1, seeds - 1)))
    patients = _patient_degrees(measured, of_patients.mean(axis=1))
    if np.isinf(patients):  # the trainings' errors cancel in the mean: those of the trainings count (see _shared)
        patients = _patient_degrees(measured, np.sqrt((of_patients**2).mean(axis=1)))
    uncertainty = shared**2 / patients
    if seeds > 1:
        uncertainty += between**2 / (seeds - 1)
    degrees = max(1.0, error**4 / uncertainty)
    half = float(special.stdtrit(degrees, (1 + level) / 2)) * error
    lowest, highest = _reach(contrast, measured.bounds)
    p = float(2 * special.stdtr(degrees, -abs(mean - null) / error))
    return SeedTest(mean, max(lowest, mean - half), min(highest, mean + half), p, error, degrees)


def _without_spread(measured: Measured, difference: float) -> float:
    """p of a difference that all trainings and patients share: unanimous_p of as many patients as weigh no less than
    the heaviest one (all G where they weigh the same, of two classes as many as the smaller one has: pairs)."""
    if abs(difference) <= 1e-12:
        return 1.0
    return unanimous_p(np.full(int(1 / measured.leverage.max() + 1e-9), 0.5))


def _shared(over_patients: np.ndarray, between: float) -> float:
    """C: the variance of the mean over patients that the trainings share, from their covariances (S, S)."""
    seeds, total, own = len(over_patients), float(over_patients.sum()), float(np.trace(over_patients))
    if seeds == 1:
        return total
    shared = (total - own) / (seeds * (seeds - 1))
    if shared > 1e-12:  # rounding errors are no covariance
        return shared
    least = total / seeds**2
    if max(between, least) <= 1e-24:  # errors of single trainings that cancel in the mean
        least = own / seeds**2
    return max(0.0, least - between)


def _patient_degrees(measured: Measured, influence: np.ndarray) -> float:
    """ν: degrees of freedom of a variance over patients, from their influences (G,). Satterthwaite over the samples."""
    variances = np.bincount(measured.stratum, weights=measured.factors() * influence**2)
    total = variances.sum()
    if total <= 0:
        return np.inf
    patients = np.bincount(measured.stratum)
    some = patients > 1
    return float(total**2 / (variances[some] ** 2 / (patients[some] - 1)).sum())


def _reach(contrast: np.ndarray, bounds: tuple[float, float]) -> tuple[float, float]:
    """Lowest and highest possible mean of contrast @ estimates."""
    up, down = (float(np.maximum(part, 0).sum()) / len(contrast) for part in (contrast, -contrast))
    low, high = bounds
    return up * low - (down * high if down else 0.0), up * high - down * low


def mean_estimate(measured: Measured, *, level: float, trainings: int = 1) -> Estimate:
    """Mean over the models of an outcome, for new trainings and new patients: the number of one arm.

    trainings: of its generator, whose chance is in the interval where there are several (see readers).

    The interval of readers_test, on the logit scale where the outcome lies between 0 and 1, so that it cannot leave
    that range and keeps its level near the ends (Wald's covers 85 % instead of 95 % at an area of 0.98 with 30 + 30
    cases). Shares of right decisions have Clopper & Pearson's where it is exact (one model, one case a patient), and
    that of the number of patients where all are right or all wrong. Without any spread otherwise (a perfect ranking,
    constant scores) there is no interval, and the estimate says so.
    """
    test = readers_test(measured, readers(len(measured.estimates), trainings), level=level)
    value, cases, patients = test.difference, measured.cases, len(measured.patients)
    independent = len(measured.estimates) == 1 and cases == patients
    if measured.decisions and (independent or (test.error == 0 and value in (0.0, 1.0))):
        exact = clopper_pearson(round(value * patients), patients, level)
        return Estimate(value, exact.low, exact.high, cases)
    if test.error == 0 or measured.bounds != UNIT_INTERVAL or not 0 < value < 1:
        return test.estimate(cases)
    half = float(special.stdtrit(test.degrees, (1 + level) / 2)) * test.error / (value * (1 - value))
    low, high = special.expit(special.logit(value) + np.array([-half, half]))
    return Estimate(value, float(low), float(high), cases)


def case_mean(
    values: np.ndarray, patients: np.ndarray, *, level: float, bounds: tuple[float, float] = UNIT_INTERVAL
) -> Estimate:
    """Mean over cases of what one system gives, (N,), NaN where nothing was measured; patients (N,). See mean_estimate.

    bounds: lowest and highest possible value. Without a case, or with one patient only, the estimate says so.
    """
    known = ~np.isnan(np.asarray(values, dtype=np.float64))
    values, patients = np.asarray(values, dtype=np.float64)[known], np.asarray(patients)[known]
    if len(values) == 0:
        return Estimate.missing("there is no such case", 0)
    if len(np.unique(patients)) < 2:
        return Estimate(float(values.mean()), n=len(values), reason="one patient only, who has no spread")
    decisions = bounds == UNIT_INTERVAL and bool(np.isin(values, (0, 1)).all())
    measured = replace(mean_of_cases(values[None], patients, decisions=decisions), bounds=bounds)
    return mean_estimate(measured, level=level)


def equivalence_p(test: SeedTest, margin: float, null: float = 0.0) -> float:
    """One-sided p that the mean lies within null ± margin: the larger of Schuirmann's two one-sided tests (1987).

    null: 0 for differences; of a reader study, what guessing reaches (1/2 of a balanced accuracy of two classes).
    """
    if test.error == 0:
        return 1.0
    return float(special.stdtr(test.degrees, (abs(test.difference - null) - margin) / test.error))


# --------------------------------------------------------------------------------------------------------- decisions
class McNemar(NamedTuple):
    """Discordant counts and the p of the exact binomial test."""

    only_first: int
    only_second: int
    exact: float


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> McNemar:
    """McNemar's test of paired decisions: bool (N,) each, whether the decision on a case was right.

    Exact two-sided binomial p (Fagerland, Lydersen & Laake 2013, supplement, eq. 1), 1 without a discordant case. It
    counts cases as independent and takes what decides as given: with several images a patient, or thresholds chosen on
    other cases, it is too optimistic.
    """
    first_right, second_right = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    b, c = int((first_right & ~second_right).sum()), int((~first_right & second_right).sum())
    return McNemar(b, c, min(1.0, 2 * float(special.bdtr(min(b, c), b + c, 0.5))))


def majority(decisions: np.ndarray, classes: int, fallback: np.ndarray) -> np.ndarray:
    """Class that most of S trainings decided for, int (N,), from int (S, N); a tie is decided by `fallback` (N,)."""
    votes = np.stack([(decisions == name).sum(axis=0) for name in range(classes)])
    tied = (votes == votes.max(axis=0)).sum(axis=0) > 1
    return np.where(tied, fallback, votes.argmax(axis=0))


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's (1979) step-down adjustment: adjusted p values (K,), in the order given."""
    p = np.asarray(p, dtype=np.float64)
    if ((p < 0) | (p > 1) | ~np.isfinite(p)).any():
        raise InputError(f"p values must lie between 0 and 1: {p.tolist()}")
    order = np.argsort(p, kind="stable")
    stepped = np.minimum(1, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
    adjusted = np.empty_like(p)
    adjusted[order] = stepped
    return adjusted


# --------------------------------------------------------------------------------------------- two-level bootstrap
class Resamples(NamedTuple):
    """Weights of bootstrap resamples, shared by every arm: of cases (B, N), counts; of seeds (B, S), adding to 1."""

    cases: np.ndarray
    seeds: np.ndarray


def two_level_resamples(
    positive: np.ndarray,
    patients: np.ndarray,
    seeds: int,
    resamples: int,
    rng: np.random.Generator,
    trainings: int = 1,
) -> Resamples:
    """Draw patients and training seeds with replacement, `resamples` times.

    Patients are drawn within strata (only positive images, only negative, both), so that no resample lacks a class. Of
    S seeds S − 1 are drawn, because S draws of a handful would understate their variance by (S − 1)/S (Rao & Wu 1988).
    trainings: of a generator; where there are several they are drawn in place of seeds, each with all of its seeds.
    """
    if seeds < 2:
        raise InputError(f"resampling trainings needs at least 2 seeds, there are {seeds}; add seeds")
    cluster = np.unique(patients, return_inverse=True)[1]
    count = int(cluster.max()) + 1
    has_positive = np.bincount(cluster, weights=positive, minlength=count) > 0
    has_negative = np.bincount(cluster, weights=~positive, minlength=count) > 0
    stratum = has_positive.astype(int) + 2 * has_negative.astype(int)
    weights = np.zeros((resamples, count), dtype=np.float32)
    for value in np.unique(stratum):
        members = np.flatnonzero(stratum == value)
        share = np.full(len(members), 1 / len(members))
        weights[:, members] = rng.multinomial(len(members), share, size=resamples)
    own = readers(seeds, trainings)
    drawn = rng.multinomial(len(own) - 1, np.full(len(own), 1 / len(own)), size=resamples)
    return Resamples(weights[:, cluster], drawn / (len(own) - 1) @ own)


def bootstrap_auroc(scores: np.ndarray, positive: np.ndarray, draws: Resamples) -> np.ndarray:
    """Seed-averaged area under the curve in every resample, (B,), of one arm's scores (S, N).

    The comparison of every positive with every negative case is a matrix C made once a training; a resample is
    wₚᵀ C wₙ / (Σwₚ Σwₙ), so all resamples are one matrix product (float32 is exact here: halves of small integers).
    """
    positive = np.asarray(positive, dtype=bool)
    if positive.all() or not positive.any():
        raise InputError("the test images are of one class only; a ROC curve needs positive and negative ones")
    w_pos, w_neg = draws.cases[:, positive], draws.cases[:, ~positive]
    total = w_pos.sum(axis=1, dtype=np.float64) * w_neg.sum(axis=1, dtype=np.float64)
    areas = np.empty((len(total), len(scores)))
    for s, row in enumerate(scores):
        p, n = row[positive][:, None], row[~positive][None, :]
        compared = (p > n).astype(np.float32) + 0.5 * (p == n).astype(np.float32)
        areas[:, s] = np.einsum("bn,bn->b", w_pos @ compared, w_neg, dtype=np.float64) / total
    return (areas * draws.seeds).sum(axis=1)


def bootstrap_p(differences: np.ndarray) -> float:
    """Two-sided p that a difference is zero from its resamples (B,): twice the smaller tail, with one added to both."""
    count = len(differences)
    tail = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return float(min(1.0, 2 * (tail + 1) / (count + 1)))

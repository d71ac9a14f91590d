"""Is a case abnormal? Thresholds for a set false-positive rate, the rates they give, and two systems compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthmed.core.errors import InputError
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.outcomes import area_under_curve
from synthmed.metrics.resampling import percentile_interval, units
from synthmed.metrics.statistics import bootstrap_p, case_mean, holm, mean_estimate, paired, readers_test


@dataclass(frozen=True)
class Known:
    """What is known of N cases: whether they are queries (or held-out normals), abnormal, and of a finding that the
    classifier was trained on, bool (N,) each; patients (N,); kinds: finding -> bool (N,)."""

    query: np.ndarray
    abnormal: np.ndarray
    trained: np.ndarray
    patients: np.ndarray
    kinds: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        if self.query.all() or not self.query.any():
            raise InputError("anomaly-evaluate needs held-out normal images and query images; one of them is empty")
        if self.abnormal[self.query].all() or not self.abnormal.any():
            raise InputError("the query images are all normal or all abnormal; detection needs both")

    @property
    def groups(self) -> dict[str, np.ndarray]:
        """Queries that are judged together: name -> bool (N,)."""
        return {
            "trained": self.query & self.trained,
            "untrained": self.query & self.abnormal & ~self.trained,
            "all": self.query & self.abnormal,
            "normal": self.query & ~self.abnormal,
        }


@dataclass(frozen=True)
class Threshold:
    """value: a case is called abnormal when its score is above it. allowed: held-out normals that may be above."""

    value: float
    allowed: int


def threshold_for_rate(held_out: np.ndarray, rate: float) -> Threshold:
    """The lowest threshold that at most the share `rate` of the held-out scores (N,) exceeds.

    Half way between the last score that may not exceed it and the next above. With fewer than 1/rate held-out images
    none may exceed it, and the threshold is the highest of their scores.
    """
    ordered = np.sort(np.asarray(held_out, dtype=np.float64))[::-1]
    # The small number keeps 0.1 · 30 from becoming 2.
    allowed = int(np.floor(rate * len(ordered) + 1e-9))
    value = ordered[allowed]
    above = ordered[allowed - 1] if allowed else value
    return Threshold(float((value + above) / 2), allowed)


def resampled_thresholds(
    scores: Sequence[np.ndarray], patients: np.ndarray, rate: float, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Thresholds of K systems that would have been chosen on other held-out patients: (K, resamples).

    scores: of each system, (N,), on the same held-out cases; patients (N,), drawn with replacement.
    """
    unit = units(patients)
    members = [np.flatnonzero(unit == number) for number in range(unit.max() + 1)]
    thresholds = np.empty((len(scores), resamples))
    for resample in range(resamples):
        rows = np.concatenate([members[number] for number in rng.integers(len(members), size=len(members))])
        thresholds[:, resample] = [threshold_for_rate(one[rows], rate).value for one in scores]
    return thresholds


@dataclass(frozen=True)
class System:
    """Something that calls cases abnormal: its scores (N,), its threshold, and those of resamples of the held-out
    patients (B,)."""

    scores: np.ndarray
    threshold: float
    resampled: np.ndarray

    @property
    def called(self) -> np.ndarray:
        """Whether each case is called abnormal, bool (N,)."""
        return self.scores > self.threshold


def systems(
    scores: Sequence[np.ndarray], known: Known, rate: float, resamples: int, rng: np.random.Generator
) -> list[System]:
    """Systems with these scores, (N,) each, brought to one false-positive rate on the same held-out normals."""
    held_out = [one[~known.query] for one in scores]
    resampled = resampled_thresholds(held_out, known.patients[~known.query], rate, resamples, rng)
    return [
        System(one, threshold_for_rate(own, rate).value, draws)
        for one, own, draws in zip(scores, held_out, resampled, strict=True)
    ]


def detection(scores: np.ndarray, known: Known, rate: float, level: float) -> dict:
    """One system's threshold, rates and area under the curve; scores (N,). The rates are those at this threshold."""
    threshold = threshold_for_rate(scores[~known.query], rate).value
    called, query = scores > threshold, known.query

    def share(hits: np.ndarray, where: np.ndarray) -> dict:
        return case_mean(hits[where], known.patients[where], level=level).to_json()

    return {
        "threshold": threshold,
        "held_out_false_positives": share(called, ~query),
        "sensitivity": share(called, known.groups["all"]),
        "specificity": share(~called, known.groups["normal"]),
        "auroc": area(scores[query], known.abnormal[query], known.patients[query], level).to_json(),
    }


def area(scores: np.ndarray, positive: np.ndarray, patients: np.ndarray, level: float) -> Estimate:
    """AUROC of one system, scores (N,), clustered by patient."""
    if min(len(np.unique(patients[positive])), len(np.unique(patients[~positive]))) < 2:
        return Estimate.missing("an AUROC with its interval needs two patients of each class")
    return mean_estimate(area_under_curve(scores[None], positive, patients), level=level)


def compared_areas(
    first: np.ndarray, second: np.ndarray, positive: np.ndarray, patients: np.ndarray, level: float
) -> dict:
    """AUROC of both systems, scores (N,), with the difference, first minus second, and its p (null without spread)."""
    one, other = (area(scores, positive, patients, level) for scores in (first, second))
    result = {"anogan": one.to_json(), "supervised": other.to_json()}
    if one.value is None:
        return result
    test = readers_test(area_under_curve(np.stack([second, first]), positive, patients), paired(1), level=level)
    return result | {"difference": test.estimate(len(positive)).to_json(), "p": test.p if test.error else None}


def rates(first: System, second: System, known: Known, where: np.ndarray, level: float) -> dict:
    """Share of the cases `where`, bool (N,), that either system calls abnormal."""
    patients = known.patients[where]
    shares = {
        name: case_mean(system.called[where], patients, level=level).to_json()
        for name, system in (("anogan", first), ("supervised", second))
    }
    return {"cases": int(where.sum()), "patients": len(np.unique(patients)), **shares}


def compared(
    first: System, second: System, known: Known, where: np.ndarray, level: float, rng: np.random.Generator
) -> dict:
    """Both systems on the cases `where`, bool (N,), all abnormal or all normal: their rates, and the difference.

    `difference` is that of the shares decided rightly, first minus second. Its interval and p are from the bootstrap
    over patients of both sets, held-out and query, with both thresholds chosen again in each resample: McNemar's test
    takes the thresholds as given, and called two equal systems different in 20 to 49 % of simulated tests.
    """
    patients, abnormal = known.patients[where], known.abnormal[where]
    right = [system.called[where] == abnormal for system in (first, second)]
    difference, p = _resampled_difference((first, second), where, abnormal, patients, level, rng)
    return {
        **rates(first, second, known, where, level),
        "only_anogan_right": int((right[0] & ~right[1]).sum()),
        "only_supervised_right": int((~right[0] & right[1]).sum()),
        "difference": difference.to_json(),
        "p": p,
    }


def adjusted(comparisons: Mapping[str, Mapping]) -> dict[str, dict]:
    """Results of `compared`, each with `p_adjusted` (Holm 1979) for those among them that have a p."""
    own = {name: entry["p"] for name, entry in comparisons.items() if entry["p"] is not None}
    found = dict(zip(own, holm(list(own.values())).tolist(), strict=True))
    return {name: {**entry, "p_adjusted": found.get(name)} for name, entry in comparisons.items()}


def _resampled_difference(
    pair: tuple[System, System],
    where: np.ndarray,
    abnormal: np.ndarray,
    patients: np.ndarray,
    level: float,
    rng: np.random.Generator,
) -> tuple[Estimate, float | None]:
    count = len(patients)
    if count == 0:
        return Estimate.missing("there is no such case", 0), None
    value = float(np.mean((pair[0].called[where] == abnormal).astype(float) - (pair[1].called[where] == abnormal)))
    unit = units(patients)
    groups = int(unit.max()) + 1
    if groups < 2:
        return Estimate(value, n=count, reason="one patient only, who has no spread"), None
    resamples = len(pair[0].resampled)
    weights = rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples)[:, unit]
    right = [(system.scores[where] > system.resampled[:, None]) == abnormal for system in pair]
    shares = [(weights * one).sum(axis=1) / weights.sum(axis=1) for one in right]
    differences = shares[0] - shares[1]
    if not np.ptp(differences):
        return Estimate(value, n=count, reason="no resample of the patients gave another difference"), None
    low, high = percentile_interval(0.0, differences, level)
    return Estimate(value, min(low, value), max(high, value), count), bootstrap_p(differences)

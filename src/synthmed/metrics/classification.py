"""How well a classifier decides: counts, exact intervals of shares, ROC curve and its area."""

from typing import NamedTuple

import numpy as np
from scipy import special  # scipy.stats takes over a second to import, in every step

from synthmed.core.errors import InputError
from synthmed.metrics.estimate import Estimate


class Interval(NamedTuple):
    """An estimate with the ends of its interval."""

    value: float
    low: float
    high: float


def confusion(truth: np.ndarray, decision: np.ndarray, classes: int) -> np.ndarray:
    """Counts (classes, classes), row = true class, column = decision. truth, decision: int (N,) in 0 … classes − 1."""
    truth, decision = np.asarray(truth), np.asarray(decision)
    for name, values in (("truth", truth), ("decision", decision)):
        if len(values) and (values.min() < 0 or values.max() >= classes):
            raise InputError(f"{name} must lie in 0 … {classes - 1}, found {values.min()} … {values.max()}")
    return np.bincount(truth * classes + decision, minlength=classes**2).reshape(classes, classes)


def _check_scores(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, positive = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if scores.shape != positive.shape:
        raise InputError(f"scores {scores.shape} and labels {positive.shape} must have one shape")
    if positive.all() or not positive.any():
        raise InputError("the test images are of one class only; a ROC curve needs positive and negative ones")
    if not np.isfinite(scores).all():
        raise InputError("scores contain NaN or infinity; the classifier's training failed")
    return scores, positive


def midranks(scores: np.ndarray) -> np.ndarray:
    """Ranks 1 … N within each row of `scores` (K, N); equal scores share the mean of their ranks."""
    ranks = np.empty(scores.shape)
    for row, values in enumerate(scores):
        ordered = np.sort(values)
        below, up_to = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
        ranks[row] = (below + up_to + 1) / 2
    return ranks


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: share of (positive, negative) pairs in the right order, ties count one half.

    scores (N,) any real numbers, higher = more positive; positive (N,) bool. Mann–Whitney by midranks.
    """
    scores, positive = _check_scores(scores, positive)
    n_positive = int(positive.sum())
    ranks = midranks(scores[None])[0]
    above = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * (len(scores) - n_positive)))


def roc_curve(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False-positive rate, true-positive rate and threshold (called positive when score ≥ it) at every different score.

    All (T,), from the strictest threshold (infinity: nothing positive) to the loosest (everything positive).
    """
    scores, positive = _check_scores(scores, positive)
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    true_positives = np.cumsum(positive[order])[ends]
    false_positives = ends + 1 - true_positives
    return (
        np.r_[0.0, false_positives / (~positive).sum()],
        np.r_[0.0, true_positives / positive.sum()],
        np.r_[np.inf, scores[order][ends]],
    )


def sensitivity_at(scores: np.ndarray, positive: np.ndarray, false_positive_rates: np.ndarray) -> np.ndarray:
    """The highest sensitivity that a threshold reaches without exceeding each of the false-positive rates, (G,).

    Images of equal score pass a threshold together, so ties are never resolved in the classifier's favour.
    """
    false_rate, true_rate, _ = roc_curve(scores, positive)
    return true_rate[np.searchsorted(false_rate, false_positive_rates + 1e-12, side="right") - 1]


def choose_threshold(scores: np.ndarray, positive: np.ndarray) -> float:
    """Threshold with the largest Youden index (sensitivity + specificity − 1), to be chosen on *validation* images.

    Between the deciding score and the next lower one, so that rounding does not flip a decision; of equal maxima the
    one with the higher threshold.
    """
    false_rate, true_rate, thresholds = roc_curve(scores, positive)
    best = int(np.argmax(true_rate - false_rate))
    if best == 0:  # no score separates better than calling nothing positive
        return float(np.nextafter(thresholds[1], np.inf))
    below = thresholds[best + 1] if best + 1 < len(thresholds) else thresholds[best]
    return float((thresholds[best] + below) / 2)


def threshold_reaching(scores: np.ndarray, positive: np.ndarray, sensitivity: float) -> float:
    """The highest threshold at which at least this share of the positives is called (score ≥ it), to be chosen on
    *validation* images. Between the deciding score and the next lower one, so that rounding does not flip a decision.
    """
    _, true_rate, thresholds = roc_curve(scores, positive)
    place = int(np.argmax(true_rate >= sensitivity - 1e-12))
    below = thresholds[place + 1] if place + 1 < len(thresholds) else thresholds[place]
    return float((thresholds[place] + below) / 2)


def clopper_pearson(successes: int, trials: int, level: float) -> Interval:
    """Share with the exact binomial interval (Clopper & Pearson 1934). Raises InputError without trials."""
    if not 0 <= successes <= trials or trials < 1:
        raise InputError(f"{successes} of {trials} is no share")
    tail = (1 - level) / 2
    low = special.betaincinv(successes, trials - successes + 1, tail) if successes else 0.0
    high = special.betaincinv(successes + 1, trials - successes, 1 - tail) if successes < trials else 1.0
    return Interval(successes / trials, float(low), float(high))


def share_estimate(count: int, of: int, level: float, *, nothing: str = "there is no such image") -> Estimate:
    """`count` of `of` as a share with its exact interval (clopper_pearson); where there are none, `nothing` says so."""
    return Estimate(*clopper_pearson(int(count), int(of), level), int(of)) if of else Estimate.missing(nothing, 0)

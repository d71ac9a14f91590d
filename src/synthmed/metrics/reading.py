"""What a reader of images is worth: signal detection, exact tests against guessing, power of a study."""

from typing import NamedTuple

import numpy as np
from scipy import special

from synthmed.core.errors import InputError


class Detection(NamedTuple):
    """Sensitivity d′ and bias c of a reader, with the standard error of d′. c above 0: reluctant to say yes."""

    d_prime: float
    error: float
    bias: float


def detection(hits: int, signals: int, false_alarms: int, noises: int) -> Detection:
    """d′ = z(H) − z(F) and c = −(z(H) + z(F)) / 2 of equal-variance signal detection (Green & Swets 1966).

    hits of `signals` and false_alarms of `noises` images were called positive. Rates are (n + ½) / (N + 1), so that
    0 and 1 stay finite (Hautus 1995). Variance of d′: H(1 − H)/(N φ(z(H))²) of both rates, added (Gourevitch & Galanter
    1967). Raises InputError without images of both kinds.
    """
    for count, total in ((hits, signals), (false_alarms, noises)):
        if not 0 <= count <= total or total < 1:
            raise InputError(f"{count} of {total} images were called positive; both kinds of images are needed")
    rates = np.array([(hits + 0.5) / (signals + 1), (false_alarms + 0.5) / (noises + 1)])
    z = special.ndtri(rates)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    variances = rates * (1 - rates) / (np.array([signals, noises]) * density**2)
    return Detection(float(z[0] - z[1]), float(np.sqrt(variances.sum())), float(-z.sum() / 2))


def guessing_p(right: int, answers: int) -> float:
    """Two-sided exact binomial p that a reader who is right `right` times of `answers` guesses.

    Of images of which half are synthetic: then every way of guessing is right with a chance of one half.
    """
    if not 0 <= right <= answers or answers < 1:
        raise InputError(f"{right} of {answers} is no number of right answers")
    return min(1.0, 2 * float(special.bdtr(min(right, answers - right), answers, 0.5)))


def fisher_p(tp: int, fn: int, fp: int, tn: int) -> float:
    """Two-sided p of Fisher's exact test that a reader calls synthetic and real images synthetic equally often.

    tp, fn: synthetic images called synthetic, and real; fp, tn: the same of real images. How often the reader says
    synthetic is taken as given, so that it holds whatever the share of synthetic images is.
    """
    synthetic, real, called = tp + fn, fp + tn, tp + fp
    possible = np.arange(max(0, called - real), min(synthetic, called) + 1)
    logs = _log_choices(synthetic, possible) + _log_choices(real, called - possible)
    chances = np.exp(logs - special.logsumexp(logs))
    return min(1.0, float(chances[chances <= chances[tp - possible[0]] * (1 + 1e-7)].sum()))


def _log_choices(count: int, chosen: np.ndarray) -> np.ndarray:
    return special.gammaln(count + 1) - special.gammaln(chosen + 1) - special.gammaln(count - chosen + 1)


def equivalence_power(error: float, degrees: float, margin: float, alpha: float) -> float:
    """Power of the two one-sided tests to find a mean within ± margin of chance, where it is exactly there.

    error, degrees: standard error of the mean and its degrees of freedom, taken as known: both tests reject when
    |t| < margin / error − t(1 − alpha).
    """
    reach = margin / error - float(special.stdtrit(degrees, 1 - alpha))
    return max(0.0, 2 * float(special.stdtr(degrees, reach)) - 1) if reach > 0 else 0.0


def detectable(error: float, degrees: float, alpha: float, power: float = 0.8) -> float:
    """Distance from chance that the two-sided test finds with probability `power`: (t(1 − α/2) + t(power)) · error."""
    return float(special.stdtrit(degrees, 1 - alpha / 2) + special.stdtrit(degrees, power)) * error

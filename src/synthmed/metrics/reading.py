"""What a reader of images is worth: signal detection, the binomial test against guessing, power of a study."""

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
    """Two-sided exact binomial p that a reader who is right `right` times of `answers` guesses (chance one half)."""
    if not 0 <= right <= answers or answers < 1:
        raise InputError(f"{right} of {answers} is no number of right answers")
    return min(1.0, 2 * float(special.bdtr(min(right, answers - right), answers, 0.5)))


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

"""How frequent something is, from the decisions of a classifier that errs."""

import numpy as np
from scipy import special

from synthmed.core.errors import InputError
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.outcomes import mean_of_cases


def effective(said: np.ndarray, patients: np.ndarray) -> tuple[float, float]:
    """How many of bool (N,) are True, and N, as if every image had a patient of its own; patients: (N,).

    The images of a patient resemble each other, so that N of them say as much as N · (binomial variance of the share /
    its variance over patients) others: N over the design effect (Kish 1965), never more than N, and where nothing
    varies as many as there are patients. N itself where every image is another patient's.
    """
    images, units, positive = len(said), len(np.unique(patients)), int(np.sum(said))
    count: float = units
    if 1 < units < images and 0 < positive < images:
        binomial = positive / images * (1 - positive / images) / images
        clustered = float(mean_of_cases(said[None], patients).covariance()[0, 0])
        count = max(1.0, images * binomial / max(clustered, binomial))
    return positive * count / max(1, images), count


def true_prevalence(
    called: float,
    images: float,
    hits: float,
    positives: float,
    rejected: float,
    negatives: float,
    level: float,
    *,
    n: int | None = None,
) -> Estimate:
    """Share of images that have it, where a classifier called `called` of `images` positive.

    Its sensitivity hits/positives and specificity rejected/negatives were measured on other images. Where patients have
    several images the counts are those of `effective`, and n says how many images there were. Rogan & Gladen
    1978: (p + Sp − 1)/(Se + Sp − 1), cut to 0 … 1; interval of Lang & Reiczigel 2014, which counts the chance in all
    three shares. No value where the classifier is no better than guessing.
    """
    if min(images, positives, negatives) < 1:
        raise InputError("no images to estimate a prevalence, a sensitivity or a specificity from")
    n = int(images) if n is None else n
    share, sensitivity, specificity = called / images, hits / positives, rejected / negatives
    if sensitivity + specificity <= 1:
        return Estimate.missing("the tagger is no better than guessing", n)
    value = min(1.0, max(0.0, (share + specificity - 1) / (sensitivity + specificity - 1)))
    z = float(special.ndtri((1 + level) / 2))
    trials, p = images + z**2, (called + z**2 / 2) / (images + z**2)
    se, sp = (hits + 1) / (positives + 2), (rejected + 1) / (negatives + 2)
    if se + sp <= 1:
        return Estimate(value, 0.0, 1.0, n)
    adjusted = (p + sp - 1) / (se + sp - 1)
    of_se, of_sp = se * (1 - se) / (positives + 2), sp * (1 - sp) / (negatives + 2)
    shift = 2 * z**2 * (adjusted * of_se - (1 - adjusted) * of_sp)
    half = z * np.sqrt(p * (1 - p) / trials + (1 - adjusted) ** 2 * of_sp + adjusted**2 * of_se) / (se + sp - 1)
    low, high = (float(min(1.0, max(0.0, adjusted + shift + side * half))) for side in (-1, 1))
    return Estimate(value, min(low, value), max(high, value), n)

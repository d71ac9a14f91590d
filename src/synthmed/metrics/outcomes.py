"""Outcomes: what trained models are judged by, each with what every patient contributes to it.

Every outcome is measured of K models at once (arms × trainings) on the same N cases of G patients, and gives, besides
the K estimates, the influence of each patient on them. From these follows one covariance for all outcomes, hence one
test (statistics.readers_test), one set of words (verdict.decide) and one kind of interval. `OUTCOMES` lists them; to
add one: a function that returns Measured, and its line there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from synthmed.core.errors import InputError
from synthmed.metrics.classification import midranks

UNIT_INTERVAL, COUNT = (0.0, 1.0), (0.0, np.inf)
"""Lowest and highest possible value of a share, and of a count or distance."""

WHOLE = 1 - 1e-9
"""Leverage from which a patient is taken for all that there is of a class."""


@dataclass(frozen=True, eq=False)
class Measured:
    """An outcome of K models on the same cases of G patients.

    estimates: (K,). influence: (G, K), how far each patient moves them, so that estimate − truth is about the sum over
    patients. leverage: (G,), the patient's share of the cases, of several classes the largest. stratum: int (G,), which
    independent sample the patient belongs to. patients: (G,), their names. cases: how many were measured. bounds:
    lowest and highest possible estimate. decisions: whether the estimates are shares of right decisions.

    Raises InputError where a patient is alone in its sample or is all there is of a class: there is no variance then.
    """

    estimates: np.ndarray
    influence: np.ndarray
    leverage: np.ndarray
    stratum: np.ndarray
    patients: np.ndarray
    cases: int
    bounds: tuple[float, float] = UNIT_INTERVAL
    decisions: bool = False

    def __post_init__(self) -> None:
        alone = (self.peers() < 2) | (self.leverage >= WHOLE)
        if alone.any():
            raise InputError(
                f"patient {str(self.patients[alone][0])!r} is the only one of a class, or of all, and a variance needs "
                "2 patients of each class. Add test patients, or leave the class out"
            )

    def peers(self) -> np.ndarray:
        """Patients in the same independent sample, itself among them, (G,)."""
        return np.bincount(self.stratum)[self.stratum]

    def factors(self) -> np.ndarray:
        """What the square of each patient's influence counts, (G,): (G−1)/G · (1−h)⁻², h the leverage.

        Leaving one patient out (the jackknife; "CR3" of cluster-robust variances, Bell & McCaffrey 2002). Where all
        patients weigh the same it is G/(G−1), hence DeLong's covariance for areas under curves. Without it the test
        calls 15 % of arms without effect different when a few patients have most of the images (docs/verdict.md).
        """
        peers = self.peers()
        return (peers - 1) / peers / (1 - self.leverage) ** 2

    def covariance(self) -> np.ndarray:
        """Covariances of the estimates over new samples of patients, (K, K)."""
        return (self.influence * self.factors()[:, None]).T @ self.influence

    def of(self, models: Sequence[int] | np.ndarray) -> "Measured":
        """The same of some of the models, in the order given."""
        return replace(self, estimates=self.estimates[models], influence=self.influence[:, models])


def beside(first: Measured, second: Measured) -> Measured:
    """One outcome on two test sets of different patients: the estimates of the first, then of the second.

    Their covariances add up, because no patient is in both. Raises InputError when one is.
    """
    shared = np.intersect1d(first.patients.astype(str), second.patients.astype(str))
    if len(shared):
        raise InputError(f"patient {str(shared[0])!r} is in both test sets; the comparison takes them as independent")
    corner = np.zeros((len(first.patients), len(second.estimates)))
    other = np.zeros((len(second.patients), len(first.estimates)))
    return Measured(
        np.concatenate([first.estimates, second.estimates]),
        np.block([[first.influence, corner], [other, second.influence]]),
        np.concatenate([first.leverage, second.leverage]),
        np.concatenate([first.stratum, second.stratum + first.stratum.max() + 1]),
        np.concatenate([first.patients, second.patients]),
        first.cases + second.cases,
        first.bounds,
    )


def of_the_same(first: Measured, second: Measured) -> Measured:
    """One outcome on two sets of other images of the same patients: the estimates of the first, then of the second.

    A patient's influences on both stand in one row, so that what is easy or hard about the patient cancels in the
    difference. Raises InputError where the patients differ.
    """
    if first.patients.tolist() != second.patients.tolist():
        other = sorted(set(map(str, first.patients)) ^ set(map(str, second.patients)))
        raise InputError(f"patient {other[0]!r} has images in one of the two sets only; they cannot be paired")
    return replace(
        first,
        estimates=np.concatenate([first.estimates, second.estimates]),
        influence=np.concatenate([first.influence, second.influence], axis=1),
        leverage=np.maximum(first.leverage, second.leverage),
        cases=first.cases + second.cases,
    )


# ------------------------------------------------------------------------------------------------- sums over patients
class _Patients(NamedTuple):
    """names (G,); number: int (N,), of each case's patient."""

    names: np.ndarray
    number: np.ndarray

    def sums(self, values: np.ndarray, where: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Sums (G, K) over each patient's cases of values (K, M); where: the M cases among the N."""
        number = self.number[where]
        order = np.argsort(number, kind="stable")
        present, starts = np.unique(number[order], return_index=True)
        totals = np.zeros((len(self.names), len(values)))
        totals[present] = np.add.reduceat(values[:, order], starts, axis=1).T
        return totals

    def counts(self, where: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Cases of each patient, (G,)."""
        return np.bincount(self.number[where], minlength=len(self.names))


def _patients(patients: Sequence | np.ndarray) -> _Patients:
    return _Patients(*np.unique(np.asarray(patients), return_inverse=True))


def _by_class(labels: np.ndarray, patients: _Patients) -> tuple[np.ndarray, np.ndarray]:
    """Leverage and stratum (G,): where every patient has one class, each class is a sample; else all patients are."""
    classes, label = np.unique(labels, return_inverse=True)
    counts = np.stack([patients.counts(label == number) for number in range(len(classes))])
    leverage = (counts / counts.sum(axis=1, keepdims=True)).max(axis=0)
    one_class = ((counts > 0).sum(axis=0) == 1).all()
    return leverage, counts.argmax(axis=0) if one_class else np.zeros(len(patients.names), dtype=int)


def _finite(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError("scores contain NaN or infinity; a training failed, or a case could not be measured")
    return values


# ----------------------------------------------------------------------------------------------------------- measures
def area_under_curve(scores: np.ndarray, positive: np.ndarray, patients: np.ndarray) -> Measured:
    """Areas under the ROC curve: scores (K, N), higher = more positive; positive bool (N,); patients (N,).

    The influences are the placements of DeLong, DeLong & Clarke-Pearson 1988 (by the midranks of Sun & Xu 2014), summed
    over patients (Obuchowski 1997). Raises InputError unless both classes have two patients.
    """
    scores, positive = _finite(scores), np.asarray(positive, dtype=bool)
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        raise InputError("the test images are of one class only; a ROC curve needs positive and negative ones")
    ranks = midranks(scores)
    # Share of negatives below each positive, and of positives above each negative (ties one half).
    of_positives = (ranks[:, positive] - midranks(scores[:, positive])) / n
    of_negatives = 1 - (ranks[:, ~positive] - midranks(scores[:, ~positive])) / m
    areas = of_positives.mean(axis=1)
    group = _patients(patients)
    influence = group.sums(of_positives - areas[:, None], positive) / m
    influence += group.sums(of_negatives - areas[:, None], ~positive) / n
    return Measured(areas, influence, *_by_class(positive, group), group.names, m + n)


def mean_of_cases(values: np.ndarray, patients: np.ndarray, *, decisions: bool = False) -> Measured:
    """Means over the cases of values (K, N); every case weighs the same. decisions: they are 0 or 1."""
    return mean_of_some(values, np.ones(np.shape(values), dtype=bool), patients, decisions=decisions)


def mean_of_some(values: np.ndarray, where: np.ndarray, patients: np.ndarray, *, decisions: bool = False) -> Measured:
    """Means over those cases of values (K, N) that are `where`, bool (K, N): of each model its own.

    A patient's leverage is the largest share of any model's cases, so that few of them make a wide interval; patients
    without any are left out. Raises InputError where a model has none.
    """
    counts = where.sum(axis=1)
    if not counts.all():
        raise InputError("there is no such case for one of the trainings")
    some = where.any(axis=0)
    values, where, group = _finite(values)[:, some], where[:, some], _patients(np.asarray(patients)[some])
    means = (where * values).sum(axis=1) / counts
    influence = group.sums(where * (values - means[:, None])) / counts
    leverage, one = (group.sums(where) / counts).max(axis=1), np.zeros(len(group.names), dtype=int)
    return Measured(means, influence, leverage, one, group.names, int(some.sum()), decisions=decisions)


def mean_of_patients(
    values: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray,
    positive: int,
    *,
    bounds: tuple[float, float] = UNIT_INTERVAL,
    decisions: bool = False,
) -> Measured:
    """Means over the patients of the means of their cases, values (K, N): every patient weighs the same.

    The primary number of per-case scores: with a few patients of many images, a mean over images is theirs.
    """
    values, group = _finite(values), _patients(patients)
    of_patients = group.sums(values).T / group.counts()
    means, count = of_patients.mean(axis=1), len(group.names)
    influence = (of_patients - means[:, None]).T / count
    equal, one = np.full(count, 1 / count), np.zeros(count, dtype=int)
    return Measured(means, influence, equal, one, group.names, values.shape[1], bounds, decisions)


def auroc(scores: np.ndarray, labels: np.ndarray, patients: np.ndarray, positive: int) -> Measured:
    """Area under the ROC curve of the class `positive` against all others; scores (K, N, C)."""
    return area_under_curve(np.asarray(scores)[:, :, positive], np.asarray(labels) == positive, patients)


def auprc(scores: np.ndarray, labels: np.ndarray, patients: np.ndarray, positive: int) -> Measured:
    """Average precision of the class `positive` against all others, the area under the precision-recall curve without
    interpolation; scores (K, N, C).

    Its chance level is the share of positives, unlike the ROC curve's. The influences are the derivatives by the
    weights of the cases (infinitesimal jackknife). Where every patient has one class, the numbers of both are taken as
    given, as in area_under_curve, so each class's influences are centred. Raises InputError as area_under_curve does.
    """
    scores, positives = _finite(np.asarray(scores)[:, :, positive]), np.asarray(labels) == positive
    if not positives.any() or positives.all():
        raise InputError("the test images are of one class only; a precision-recall curve needs both kinds")
    group = _patients(patients)
    leverage, stratum = _by_class(positives, group)
    precisions, influence = map(np.stack, zip(*(_average_precision(row, positives) for row in scores), strict=True))
    if stratum.any():
        for where in (positives, ~positives):
            influence[:, where] -= influence[:, where].mean(axis=1, keepdims=True)
    return Measured(precisions, group.sums(influence), leverage, stratum, group.names, len(positives))


def _average_precision(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average precision of one model, and its derivative (N,) by the weight of each case; scores, positive (N,)."""
    _, level = np.unique(scores, return_inverse=True)
    # Of each score: positives, and all cases, that have at least as much.
    found, called = (np.cumsum(np.bincount(level, which)[::-1])[::-1] for which in (positive.astype(float), None))
    precision, count = found / called, positive.sum()
    average = precision[level][positive].mean()
    # A case counts in the precision at its own score and at all that are lower.
    own = np.bincount(level, positive.astype(float))
    through_found, through_called = np.cumsum(own / called), np.cumsum(own * precision / called)
    derivative = positive * (precision[level] - average + through_found[level]) - through_called[level]
    return average, derivative / count


def accuracy(decided: np.ndarray, labels: np.ndarray, patients: np.ndarray, positive: int) -> Measured:
    """Share of the cases that were decided rightly; decided int (K, N)."""
    return mean_of_cases(decided == labels, patients, decisions=True)


def sensitivity(decided: np.ndarray, labels: np.ndarray, patients: np.ndarray, positive: int) -> Measured:
    """Share of the cases of class `positive` that were called so; decided int (K, N)."""
    return _rate(decided == positive, np.asarray(labels) == positive, patients)


def specificity(decided: np.ndarray, labels: np.ndarray, patients: np.ndarray, positive: int) -> Measured:
    """Share of the cases of all other classes that were not called `positive`; decided int (K, N)."""
    return _rate(decided != positive, np.asarray(labels) != positive, patients)


def _rate(right: np.ndarray, where: np.ndarray, patients: np.ndarray) -> Measured:
    if not where.any():
        raise InputError("no test image is of the class that the rate is of; it is undefined")
    return mean_of_cases(right[:, where], np.asarray(patients)[where], decisions=True)


def balanced_accuracy(decided: np.ndarray, labels: np.ndarray, patients: np.ndarray, positive: int) -> Measured:
    """Mean of the recalls of all C classes among the labels; decided int (K, N)."""
    right, group = np.asarray(decided == labels, dtype=np.float64), _patients(patients)
    classes = np.unique(labels)
    recalls = np.zeros(len(right))
    influence = np.zeros((len(group.names), len(right)))
    for name in classes:
        where = labels == name
        recall = right[:, where].mean(axis=1)
        recalls += recall / len(classes)
        influence += group.sums(right[:, where] - recall[:, None], where) / (where.sum() * len(classes))
    return Measured(recalls, influence, *_by_class(labels, group), group.names, len(labels))


def adjusted_difference(values: np.ndarray, exposed: np.ndarray, other: np.ndarray, patients: np.ndarray) -> Measured:
    """How much higher values (K, N) are where `exposed` (N,) holds, among cases alike in `other` (N,); both bool.

    Coefficient of `exposed` in the least squares of values on 1, exposed, other, for each of K readers; its influences
    are those of the sandwich estimator, summed over patients (CR3 by the leverage). Without `other` where that holds
    for all, or for none. Raises InputError where the columns cannot be told apart.
    """
    values, group = _finite(values), _patients(patients)
    kinds = [other] if 0 < other.sum() < len(other) else []
    design = np.stack([np.ones(len(exposed)), exposed, *kinds], axis=1).astype(np.float64)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise InputError("the images with and without it cannot be told from the two kinds of images")
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ values.T
    residuals = values.T - design @ coefficients
    pull = design @ inverse
    leverage = group.sums((pull * design).sum(axis=1)[None])[:, 0]
    influence = group.sums(pull[:, 1] * residuals.T)
    one = np.zeros(len(group.names), dtype=int)
    return Measured(coefficients[1], influence, leverage, one, group.names, values.shape[1], (-1.0, 1.0))


# ----------------------------------------------------------------------------------------------------------- registry
@dataclass(frozen=True)
class Outcome:
    """An outcome as tables and figures need it, and how it is measured.

    name, title, unit: unit is empty for numbers without one. decides_on: what `measure` takes of K models: "scores",
    (K, N, C) of the C classes; "decisions", the decided classes, int (K, N); or "column", (K, N), of the score column
    that is called like the outcome. measure: (values, labels int (N,), patients (N,), positive class) -> Measured.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool
    decides_on: Literal["scores", "decisions", "column"]
    measure: Callable[[np.ndarray, np.ndarray, np.ndarray, int], Measured]


def _of_patients(name: str, title: str) -> Outcome:
    return Outcome(name, title, "", True, "column", mean_of_patients)


def _error_of_patients(name: str, title: str, unit: str, bounds: tuple[float, float]) -> Outcome:
    return Outcome(name, title, unit, False, "column", partial(mean_of_patients, bounds=bounds))


_decisions_of_patients = partial(mean_of_patients, decisions=True)

OUTCOMES: dict[str, Outcome] = {
    outcome.name: outcome
    for outcome in (
        Outcome("auroc", "AUROC", "", True, "scores", auroc),
        Outcome("auprc", "AUPRC", "", True, "scores", auprc),
        Outcome("accuracy", "Accuracy", "", True, "decisions", accuracy),
        Outcome("balanced_accuracy", "Balanced accuracy", "", True, "decisions", balanced_accuracy),
        Outcome("sensitivity", "Sensitivity", "", True, "decisions", sensitivity),
        Outcome("specificity", "Specificity", "", True, "decisions", specificity),
        _of_patients("iou", "IoU"),
        _of_patients("foreground_iou", "Foreground IoU"),
        _of_patients("dice", "Dice"),
        _of_patients("thresholded_jaccard", "Thresholded Jaccard"),
        _of_patients("object_f1", "Object F1"),
        _of_patients("aji", "AJI"),
        _of_patients("pixel_accuracy", "Pixel accuracy"),
        _error_of_patients("false_positive_pixels", "False-positive pixels", "px", COUNT),
        _error_of_patients("false_negative_pixels", "False-negative pixels", "px", COUNT),
        _error_of_patients("false_positive_share", "False-positive share of the image", "", UNIT_INTERVAL),
        _error_of_patients("false_negative_share", "False-negative share of the image", "", UNIT_INTERVAL),
        _error_of_patients("hd95", "HD95", "px", COUNT),
        Outcome("reidentified", "Re-identification accuracy", "", False, "column", _decisions_of_patients),
    )
}
"""Name -> outcome. Per-case scores are means over patients."""


def of_columns(columns: Sequence[str]) -> dict[str, Outcome]:
    """The outcomes that score columns are called like, in the order of OUTCOMES; `iou_lung` is the IoU of the class
    lung of the masks. Columns that are no outcome are left out."""
    by_case = [outcome for outcome in OUTCOMES.values() if outcome.decides_on == "column"]
    found = {outcome.name: outcome for outcome in by_case if outcome.name in columns}
    for outcome in by_case:
        for name in columns:
            if name.startswith(f"{outcome.name}_") and name not in OUTCOMES:
                of_class = name.removeprefix(f"{outcome.name}_")
                found[name] = replace(outcome, name=name, title=f"{outcome.title}, {of_class}")
    return found

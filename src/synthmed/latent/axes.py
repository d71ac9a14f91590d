"""Axes of diseases: linear regression of a classifier's outputs on the codes of the images it judged.

The idea is that of transparent latent-space GAN (Guan 2018) as seed 004 applies it (sections 3.3 and 3.4 of its
methods): keep samples that show one pattern only, weight the classes against their frequency, regress, and take each
slope as the axis of its disease.

Decided where the document is silent:

- **The outputs are regressed, not the patterns 0 or 1**, as the document says. After the selection the two differ by
  0.1 at most.
- **Ridge.** With as many dimensions as samples the slope of least squares is noise, and the weights make it worse: of
  8,683 normals and 215 others few count. The codes z are uncorrelated with variance 1, so the ridge term, in units of
  that variance, only shrinks what chance correlations add; a very large one gives the difference of the class means.
  Codes w have the variance that the mapping gives them, by which the term is multiplied.
- **Against all, or against normal.** One regression on all patterns, as in the document, gives axes that also lead away
  from the other diseases, because no selected sample shows two. `against: normal` regresses each disease on its own
  samples and the normal ones. In simulations with known axes (docs/disease_axes.md) it comes nearer to them.
- **A class below `min_samples` is left out altogether**: its weight would be that of the largest class, and all of it
  would be noise.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.settings import Level, Seed, Share
from synthmed.core.step import Output, step
from synthmed.latent.sample_file import LatentSamples, read_arrays, read_samples, write_arrays
from synthmed.metrics.classification import auroc
from synthmed.metrics.estimate import Estimate

logger = logging.getLogger(__name__)

Against = Literal["all", "normal"]
Method = Literal["none", "in_order", "from_others"]

_NOTHING_LEFT = 1e-6
"""An axis of unit length with less than this left outside the span of others is a combination of them."""


@dataclass(frozen=True)
class AxesOptions:
    """How the directions are found."""

    normal: Annotated[str, Meta(description="The classifier's output for normal images.")]
    at_least: Annotated[
        Share,
        Meta(description="A sample shows one pattern alone when its likelihood is at least this (the document: 0.9)"),
    ]
    at_most: Annotated[Share, Meta(description="… and every other likelihood at most this (0.1).")]
    min_samples: Annotated[int, Meta(ge=4, description="Samples of one pattern alone that an axis needs.")]
    against: Annotated[
        Against,
        Meta(
            description="One regression on the samples of all patterns, or one for each disease on its own and "
            "the normal ones."
        ),
    ]
    ridge: Annotated[
        float,
        Meta(
            ge=0,
            description="Added to the variance of the codes in the regression, in units of it (codes of z have "
            "variance 1).",
        ),
    ]
    orthogonalise: Annotated[
        Method,
        Meta(
            description="in_order: Gram–Schmidt in `order`; from_others: each axis loses what it shares with all "
            "others."
        ),
    ]
    order: Annotated[tuple[str, ...], Meta(description="All diseases, for in_order; else empty.")]
    resamples: Annotated[
        int, Meta(ge=2, description="Random halves and bootstrap resamples for the stability of the axes.")
    ]
    level: Level

    def __post_init__(self) -> None:
        if self.at_most >= self.at_least:
            raise InputError(f"setting at_most is {self.at_most}; it must be below at_least, {self.at_least}")


@dataclass(frozen=True)
class DiseaseAxesSettings(AxesOptions):
    """Settings of `disease-axes`."""

    seed: Seed


@dataclass(frozen=True)
class Axes:
    """Axes that were found. targets: K diseases. axes: float32 (K, D), unit length. slopes: float32 (K, D), of the
    regression, before anything was orthogonalised. scales: float64 (K,), standard deviation of all codes along each
    axis. normal: the output for normal images; normals: int64, samples that show it alone. made_from: identity_of the
    samples."""

    targets: tuple[str, ...]
    axes: np.ndarray
    slopes: np.ndarray
    scales: np.ndarray
    normal: str
    normals: np.ndarray
    made_from: str


def read_axes(path: Path) -> Axes:
    """Read the file `axes` of `disease_axes`. Raises InputError when it is missing, broken or something else."""
    found = read_arrays(path, Axes.__dataclass_fields__, "make it with `synthmed disease-axes`")
    plain = {name: found[name].item() for name in ("normal", "made_from")}
    return Axes(**(found | plain | {"targets": tuple(found["targets"].tolist())}))


def identity_of(samples: LatentSamples) -> str:
    """Which generator, classifier, space and seed the samples are of."""
    return f"{samples.checkpoint} {samples.classifier} {samples.space} {samples.seed}"


# ----------------------------------------------------------------------------------------------------------- the parts
def single_patterns(likelihoods: np.ndarray, at_least: float, at_most: float) -> np.ndarray:
    """Which pattern each sample shows alone: int64 (N,), its column of `likelihoods` (N, T); −1 where none or several
    do. One likelihood ≥ at_least and all others ≤ at_most (seed 004, methods 3.3)."""
    rows = np.arange(len(likelihoods))
    highest = likelihoods.argmax(axis=1)
    others = likelihoods.copy()
    others[rows, highest] = -np.inf
    alone = (likelihoods[rows, highest] >= at_least) & (others.max(axis=1) <= at_most)
    return np.where(alone, highest, -1)


def class_weights(patterns: np.ndarray) -> np.ndarray:
    """Weights (N,) against the frequency of the classes `patterns` (N,) int: equal sums a class, 1 on average."""
    _, position, counts = np.unique(patterns, return_inverse=True, return_counts=True)
    return len(patterns) / (len(counts) * counts[position])


def regression_slopes(codes: np.ndarray, outputs: np.ndarray, weights: np.ndarray, ridge: float) -> np.ndarray:
    """Slopes (K, D) of the weighted linear regression of `outputs` (N, K) on `codes` (N, D).

    Minimises mean wᵢ(yᵢ − a − b·zᵢ)² + ridge·|b|² for each output; the intercept a is not penalised. Raises InputError
    when ridge is 0 and the codes do not determine the slopes.
    """
    codes, outputs = np.asarray(codes, dtype=np.float64), np.asarray(outputs, dtype=np.float64)
    share = (weights / weights.sum())[:, None]
    centred = codes - (share * codes).sum(axis=0)
    weighted = share * centred
    covariance = weighted.T @ centred
    if ridge == 0 and np.linalg.matrix_rank(covariance, hermitian=True) < codes.shape[1]:
        raise InputError(
            f"{len(codes)} samples do not determine a regression on {codes.shape[1]} dimensions; set ridge above 0 or "
            "draw more samples"
        )
    covariance[np.diag_indices_from(covariance)] += ridge
    return np.linalg.solve(covariance, weighted.T @ outputs).T


def orthogonalised(slopes: np.ndarray, method: Method, order: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Axes (K, D) of unit length, and what was left of each (K,), 1 when it shared nothing with the others.

    slopes: (K, D). order: a permutation of 0 … K − 1, for in_order. An axis of which nothing is left is all zeros.
    """
    lengths = np.linalg.norm(slopes, axis=1, keepdims=True)
    units = np.divide(slopes, lengths, out=np.zeros_like(slopes), where=lengths > 0)
    left = units.copy()
    for place, k in enumerate(order):
        before = {"none": [], "in_order": order[:place], "from_others": [j for j in order if j != k]}[method]
        basis = _basis(units[list(before)])
        left[k] = units[k] - basis.T @ (basis @ units[k])
    remainder = np.linalg.norm(left, axis=1)
    kept = (remainder > _NOTHING_LEFT)[:, None]
    return np.divide(left, remainder[:, None], out=np.zeros_like(left), where=kept), remainder


def _basis(vectors: np.ndarray) -> np.ndarray:
    """Orthonormal rows that span the rows of `vectors` (unit or zero), (rank, D)."""
    if not len(vectors):
        return vectors
    _, sizes, rows = np.linalg.svd(vectors, full_matrices=False)
    return rows[sizes > _NOTHING_LEFT]


@dataclass(frozen=True)
class _Problem:
    """The samples of the classes with enough of them: codes (N, D), outputs (N, K) of those classes, patterns (N,) int
    0 … K − 1. normal: its class; diseases: classes that get an axis. order: of the axes, for orthogonalised().
    variance: of the codes, the unit of the ridge."""

    codes: np.ndarray
    outputs: np.ndarray
    patterns: np.ndarray
    normal: int
    diseases: list[int]
    order: list[int]
    variance: float

    def regressed(self, rows: np.ndarray, disease: int, against: Against) -> np.ndarray:
        """Those of `rows` that the regression for `disease` is on."""
        return rows if against == "all" else rows[np.isin(self.patterns[rows], (disease, self.normal))]

    def slopes(self, rows: np.ndarray, settings: DiseaseAxesSettings) -> np.ndarray:
        """Slopes (diseases, D) from the samples `rows`."""

        def regression(chosen: np.ndarray, columns: list[int]) -> np.ndarray:
            weights = class_weights(self.patterns[chosen])
            ridge = settings.ridge * self.variance
            return regression_slopes(self.codes[chosen], self.outputs[chosen][:, columns], weights, ridge)

        if settings.against == "all":
            return regression(rows, self.diseases)
        return np.concatenate([regression(self.regressed(rows, d, settings.against), [d]) for d in self.diseases])

    def axes(self, rows: np.ndarray, settings: DiseaseAxesSettings) -> np.ndarray:
        """Axes of the diseases from the samples `rows`: unit length, or zero."""
        return orthogonalised(self.slopes(rows, settings), settings.orthogonalise, self.order)[0]


# ------------------------------------------------------------------------------------------------------------ the step
@step("disease-axes")
def disease_axes(settings: DiseaseAxesSettings, *, samples: Path, axes: Output, report: Output) -> None:
    """Find the directions of diseases in latent space.

    Find the axis of every disease the classifier knows, where there are samples enough.

    samples: of `latent_samples`. axes: .npz, see Axes. report: JSON with the counts a pattern before and after the
    selection, and for each disease `found`, the reason when it was not, its stability and the angles between axes.
    Stability is the cosine between the axes of two disjoint random halves of the samples: about 0 ± 1/√D for an axis
    that is noise, 1 for a certain one. (`bootstrap_cosine`, between pairs of bootstrap resamples, is about 0.5 for
    noise, because the resamples share samples.) `held_out_auroc`: how well the axis of one half tells the disease from
    normal in the other. Raises InputError when the settings do not fit the samples' targets or ridge 0 is too little.
    """
    drawn = read_samples(samples)
    _check(settings, drawn.targets, samples)
    patterns = single_patterns(drawn.likelihoods, settings.at_least, settings.at_most)
    counts = np.array([(patterns == t).sum() for t in range(len(drawn.targets))])
    normal = drawn.targets.index(settings.normal)
    reasons = _too_few(settings, drawn.targets, counts)
    used = [t for t in range(len(drawn.targets)) if counts[t] >= settings.min_samples]
    diseases = [t for t in used if drawn.targets[t] not in reasons and t != normal]

    slopes, found, scales, entries = np.empty((0, drawn.codes.shape[1])), np.empty((0, drawn.codes.shape[1])), [], {}
    if diseases:
        problem = _problem(settings, drawn, patterns, used, diseases)
        slopes = problem.slopes(np.arange(len(problem.codes)), settings)
        found, remainder = orthogonalised(slopes, settings.orthogonalise, problem.order)
        stability = _stability(settings, problem, found.shape)
        scales = (drawn.codes.astype(np.float64) @ found.T).std(axis=0)
        for k, t in enumerate(diseases):
            name = drawn.targets[t]
            if remainder[k] <= _NOTHING_LEFT:
                reasons[name] = "its axis is a combination of the other axes, so nothing of it is left"
                continue
            described = _described(settings, problem, [drawn.targets[o] for o in diseases], slopes, found, k)
            entries[name] = stability[k] | {"remainder": float(remainder[k])} | described
    kept = [k for k, t in enumerate(diseases) if drawn.targets[t] in entries]
    names = [drawn.targets[diseases[k]] for k in kept]
    write_arrays(
        axes,
        {
            "targets": np.array(names, dtype=str),
            "axes": found[kept].astype(np.float32),
            "slopes": slopes[kept].astype(np.float32),
            "scales": np.array([scales[k] for k in kept], dtype=np.float64),
            "normal": settings.normal,
            "normals": np.flatnonzero(patterns == normal),
            "made_from": identity_of(drawn),
        },
    )
    write_json(report, _report(settings, drawn, patterns, entries, reasons))
    logger.info("%s: axes of %s; none of %s", axes, ", ".join(names) or "nothing", ", ".join(reasons) or "nothing else")


def _check(settings: DiseaseAxesSettings, targets: Sequence[str], samples: Path) -> None:
    if settings.normal not in targets:
        raise InputError(f"setting normal is {settings.normal!r}; the targets of {samples} are {list(targets)}")
    if len(targets) < 2:
        raise InputError(f"{samples}: the classifier has the one target {list(targets)}; axes need a disease, too")
    diseases = sorted(set(targets) - {settings.normal})
    if settings.orthogonalise == "in_order" and sorted(settings.order) != diseases:
        raise InputError(f"setting order is {list(settings.order)}; it must name each of {diseases} once")
    if settings.orthogonalise != "in_order" and settings.order:
        raise InputError(
            f"setting order is for orthogonalise 'in_order'; with {settings.orthogonalise!r} leave it empty"
        )


def _too_few(settings: DiseaseAxesSettings, targets: Sequence[str], counts: np.ndarray) -> dict[str, str]:
    """Disease -> why it can have no axis."""
    normals = counts[targets.index(settings.normal)]
    reasons = {}
    for name, count in zip(targets, counts, strict=True):
        if name == settings.normal:
            continue
        if count < settings.min_samples:
            reasons[name] = f"{count} samples show it alone, fewer than {settings.min_samples}"
        elif normals < settings.min_samples:
            reasons[name] = f"{normals} samples show {settings.normal} alone, fewer than {settings.min_samples}"
    return reasons


def _problem(
    settings: DiseaseAxesSettings, drawn: LatentSamples, patterns: np.ndarray, used: list[int], diseases: list[int]
) -> _Problem:
    rows = np.flatnonzero(np.isin(patterns, used))
    names = [drawn.targets[t] for t in diseases]
    order = [names.index(name) for name in settings.order if name in names] or list(range(len(names)))
    return _Problem(
        codes=drawn.codes[rows].astype(np.float64),
        outputs=drawn.likelihoods[rows][:, used],
        patterns=np.searchsorted(used, patterns[rows]),
        normal=used.index(drawn.targets.index(settings.normal)),
        diseases=[used.index(t) for t in diseases],
        order=order,
        variance=1.0 if drawn.space == "z" else float(drawn.codes.astype(np.float64).var(axis=0).mean()),
    )


def _described(
    settings: DiseaseAxesSettings, problem: _Problem, names: Sequence[str], slopes: np.ndarray, axes: np.ndarray, k: int
) -> dict:
    """Of the axis of disease `k` of `names`: the samples that its regression is on, and the angles to the others."""
    rows = problem.regressed(np.arange(len(problem.codes)), problem.diseases[k], settings.against)
    weights = class_weights(problem.patterns[rows])
    others = [(j, name) for j, name in enumerate(names) if j != k]
    return {
        "regressed": len(rows),
        # Of how many equally weighted samples the regression is worth (Kish 1965).
        "effective_samples": float(weights.sum() ** 2 / (weights**2).sum()),
        "cosines": {name: float(axes[k] @ axes[j]) for j, name in others},
        "cosines_before": {name: _cosine(slopes[k], slopes[j]) for j, name in others},
    }


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _stability(settings: DiseaseAxesSettings, problem: _Problem, shape: tuple[int, ...]) -> list[dict]:
    """For each disease: cosines between halves and between bootstrap resamples, and AUROC in the other half."""
    rng = np.random.default_rng([settings.seed, *b"stability of axes"])
    classes = [np.flatnonzero(problem.patterns == k) for k in np.unique(problem.patterns)]
    cosines = np.empty((settings.resamples, shape[0]))
    areas = np.empty((settings.resamples, 2, shape[0]))
    drawn = np.empty((settings.resamples, *shape))
    for b in range(settings.resamples):
        shuffled = [rng.permutation(rows) for rows in classes]
        halves = [np.concatenate([rows[side::2] for rows in shuffled]) for side in (0, 1)]
        first, second = (problem.axes(half, settings) for half in halves)
        cosines[b] = (first * second).sum(axis=1)
        for side, (axes, other) in enumerate(((first, halves[1]), (second, halves[0]))):
            areas[b, side] = [_area(problem, other, axis, d) for axis, d in zip(axes, problem.diseases, strict=True)]
        resample = np.concatenate([rng.choice(rows, len(rows)) for rows in classes])
        drawn[b] = problem.axes(resample, settings)
    pairs = np.triu_indices(settings.resamples, 1)
    return [
        {
            "half_cosine": _spread(cosines[:, k], settings.level),
            "bootstrap_cosine": _spread((drawn[:, k] @ drawn[:, k].T)[pairs], settings.level),
            "held_out_auroc": _spread(areas[:, :, k].mean(axis=1), settings.level),
        }
        for k in range(shape[0])
    ]


def _area(problem: _Problem, rows: np.ndarray, axis: np.ndarray, disease: int) -> float:
    rows = rows[np.isin(problem.patterns[rows], (disease, problem.normal))]
    return auroc(problem.codes[rows] @ axis, problem.patterns[rows] == disease)


def _spread(values: np.ndarray, level: float) -> dict:
    return interval_of(values.mean(), values, level)


def interval_of(value: float, spread: np.ndarray, level: float) -> dict:
    """`value` with the central `level` of `spread`, as JSON."""
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(value), float(low), float(high)).to_json()


def _report(
    settings: DiseaseAxesSettings,
    drawn: LatentSamples,
    patterns: np.ndarray,
    entries: dict[str, dict],
    reasons: dict[str, str],
) -> dict:
    highest = drawn.likelihoods.argmax(axis=1)
    return {
        "generator": drawn.generator,
        "model": drawn.model,
        "space": drawn.space,
        "dimensions": drawn.codes.shape[1],
        "samples": len(drawn.codes),
        "normal": settings.normal,
        "at_least": settings.at_least,
        "at_most": settings.at_most,
        "min_samples": settings.min_samples,
        "against": settings.against,
        "ridge": settings.ridge,
        "orthogonalise": settings.orthogonalise,
        "order": list(settings.order),
        "counts": [
            {
                "target": name,
                "highest": int((highest == t).sum()),
                "likely": int((drawn.likelihoods[:, t] >= settings.at_least).sum()),
                "alone": int((patterns == t).sum()),
            }
            for t, name in enumerate(drawn.targets)
        ],
        "selected": int((patterns >= 0).sum()),
        "axes": [
            {"target": name, "found": name in entries, "reason": reasons.get(name), **entries.get(name, {})}
            for name in drawn.targets
            if name != settings.normal
        ],
    }

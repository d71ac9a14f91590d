"""What generated images are measured by: a registry of metrics of two sets of features, each with its interval.

`METRICS` lists them. To add one: a function of a Pair and its entry there; results, tables and figures follow.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

import numpy as np
from msgspec import Meta
from scipy import special

from synthmed.core.settings import Count, Level, Resamples, Seed
from synthmed.metrics import fidelity, resampling
from synthmed.metrics.diversity import neighbour_metrics, squared_distances
from synthmed.metrics.estimate import Estimate

PART = 200
"""Images of a part of the inception score: ten parts are usual of 2,000 images or more."""


@dataclass(frozen=True)
class MetricOptions:
    """The metrics; equal settings for a generator and for the floor that it is compared with."""

    neighbours: Annotated[Count, Meta(description="k of precision, recall, density and coverage.")]
    kid_subsets: Annotated[int, Meta(ge=0, description="Random subsets of KID; 0: all images at once.")]
    kid_subset_size: Annotated[int, Meta(ge=2, description="Images of each subset of KID.")]
    inception_splits: Annotated[
        Count,
        Meta(description=f"Parts of the inception score where each has {PART} images; of fewer images there is one."),
    ]
    curve_points: Annotated[int, Meta(ge=3, description="Subset sizes from which FID∞ is extrapolated.")]
    max_images: Annotated[
        int,
        Meta(ge=2, description="Larger sets are reduced to a random draw of so many, which bounds time and memory."),
    ]
    level: Level
    resamples: Resamples
    half_samples: Annotated[
        Count, Meta(description="Random halves for the intervals of the nearest-neighbour metrics.")
    ]


@dataclass(frozen=True)
class MetricSettings(MetricOptions):
    """Settings of the metrics."""

    seed: Seed


@dataclass(frozen=True)
class Pair:
    """Real and generated images as features of one extractor.

    real (N, D), fake (M, D); real_units, fake_units: int (N,), (M,), equal for images of one patient; probabilities
    (M, K) of the generated images, rows sum to 1, or None. gram: inner products "rr" (N, N), "rf" (N, M), "ff" (M, M).
    All float64.
    """

    real: np.ndarray
    fake: np.ndarray
    real_units: np.ndarray
    fake_units: np.ndarray
    probabilities: np.ndarray | None
    gram: dict[str, np.ndarray]
    extractor: str

    @property
    def patients(self) -> int:
        """Independent patients on the side that has fewer."""
        return min(len(np.unique(self.real_units)), len(np.unique(self.fake_units)))

    def take(self, real: np.ndarray, fake: np.ndarray) -> "Pair":
        """The images at these positions, int (N',), (M',)."""
        return Pair(
            self.real[real],
            self.fake[fake],
            self.real_units[real],
            self.fake_units[fake],
            None if self.probabilities is None else self.probabilities[fake],
            {
                "rr": self.gram["rr"][np.ix_(real, real)],
                "rf": self.gram["rf"][np.ix_(real, fake)],
                "ff": self.gram["ff"][np.ix_(fake, fake)],
            },
            self.extractor,
        )

    @cached_property
    def distances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Squared distances real-real (N, N), real-fake (N, M), fake-fake (M, M)."""
        of_real, of_fake = np.diagonal(self.gram["rr"]), np.diagonal(self.gram["ff"])
        return (
            squared_distances(self.gram["rr"], of_real, of_real),
            squared_distances(self.gram["rf"], of_real, of_fake),
            squared_distances(self.gram["ff"], of_fake, of_fake),
        )

    @cached_property
    def _neighbours(self) -> dict[int, dict[str, float]]:
        return {}

    def neighbours(self, k: int) -> dict[str, float]:
        """Precision, recall, density and coverage, computed once."""
        if k not in self._neighbours:
            self._neighbours[k] = neighbour_metrics(*self.distances, k)
        return self._neighbours[k]

    @cached_property
    def frechet(self) -> tuple[float, np.ndarray, np.ndarray]:
        """Fréchet distance with the influences of the real and the fake images."""
        return fidelity.frechet_influence(self.real, self.fake)


def pair_of(
    real: np.ndarray,
    fake: np.ndarray,
    real_patients: np.ndarray,
    fake_patients: np.ndarray,
    probabilities: np.ndarray | None,
    extractor: str,
) -> Pair:
    """Two sets of features as a Pair, whose inner products are computed once for all metrics, groups and resamples."""
    units = resampling.units(real_patients), resampling.units(fake_patients)
    gram = {"rr": real @ real.T, "rf": real @ fake.T, "ff": fake @ fake.T}
    return Pair(real, fake, *units, probabilities, gram, extractor)


class Found(NamedTuple):
    """value of a metric, and what its interval is made of: influences of real (N,) and fake images (M,), or a standard
    error; neither where random halves are measured."""

    value: float
    influences: tuple[np.ndarray | None, np.ndarray] | None = None
    error: float | None = None


@dataclass(frozen=True)
class Metric:
    """A metric of generated against real images.

    name; header, title: short and for people; floor: what held-out real images reach, in words; bounds: lowest and
    highest value; interval: "influence" (bootstrap of the linear part; for smooth metrics), "halves" (delete-half
    jackknife; for nearest neighbours), "error" (normal). lacks: why a pair does not suffice, or None. measure: of a
    pair, with a generator of random numbers of its own.
    """

    name: str
    header: str
    title: str
    higher_is_better: bool
    floor: str
    bounds: tuple[float, float]
    interval: Literal["influence", "halves", "error"]
    lacks: Callable[[Pair, MetricSettings], str | None]
    measure: Callable[[Pair, MetricSettings, np.random.Generator], Found]

    @property
    def direction(self) -> str:
        """Which way is better, in words."""
        return "higher is better" if self.higher_is_better else "lower is better"


# ------------------------------------------------------------------------------------------------------------- metrics
def fid(pair: Pair, settings: MetricSettings, rng: np.random.Generator) -> Found:
    """Fréchet distance (Heusel et al. 2017)."""
    value, *influences = pair.frechet
    return Found(value, influences=tuple(influences))


def fid_infinity(pair: Pair, settings: MetricSettings, rng: np.random.Generator) -> Found:
    """Extrapolation to infinitely many images (Chong & Forsyth 2020); its error joins that of the sample, from the FID
    itself, and that of the fitted line."""
    sizes = fidelity.curve_sizes(min(len(pair.real), len(pair.fake)), settings.curve_points)
    whole, *influences = pair.frechet
    inner = sizes if len(pair.real) != len(pair.fake) else sizes[:-1]  # the whole of two equal sets is known already
    curve = fidelity.frechet_bias_curve(pair.real, pair.fake, inner, rng)
    if len(inner) < len(sizes):
        curve.append((sizes[-1], whole))
    value, line_error = fidelity.frechet_infinity(curve)
    units = (pair.real_units, pair.fake_units)
    deviations = resampling.linearised_deviations(list(zip(influences, units, strict=True)), settings.resamples, rng)
    return Found(value, error=float(np.hypot(deviations.std(), line_error)))


def kid(pair: Pair, settings: MetricSettings, rng: np.random.Generator) -> Found:
    """Kernel distance (Bińkowski et al. 2018), unbiased; of all images at once, or the mean over random subsets."""
    kernels = [fidelity.polynomial_kernel(pair.gram[key], pair.real.shape[1]) for key in ("rr", "rf", "ff")]
    influences = fidelity.kernel_influence(*kernels)
    if not settings.kid_subsets:
        return Found(fidelity.kernel_distance(*kernels), influences=influences)
    value = fidelity.kernel_distance_subsets(
        *kernels, subsets=settings.kid_subsets, subset_size=settings.kid_subset_size, seed=settings.seed
    )
    return Found(value, influences=influences)


def inception_score(pair: Pair, settings: MetricSettings, rng: np.random.Generator) -> Found:
    """Inception score (Salimans et al. 2016) of the generated images alone."""
    splits = settings.inception_splits if len(pair.fake) >= PART * settings.inception_splits else 1
    value, influence = fidelity.inception_score(pair.probabilities, splits=splits, shuffle_seed=settings.seed)
    return Found(value, influences=(None, influence))


def _of_neighbours(name: str, floor: str, bounds: tuple[float, float]) -> Metric:
    """One of precision, recall, density and coverage."""

    def measure(pair: Pair, settings: MetricSettings, rng: np.random.Generator) -> Found:
        return Found(pair.neighbours(settings.neighbours)[name])

    return Metric(name, name, name.capitalize(), True, floor, bounds, "halves", _no_halves, measure)


# ---------------------------------------------------------------------------------------------------- what they need
def _few(pair: Pair, needed: int) -> str | None:
    if pair.patients >= needed:
        return None
    return (
        f"needs at least {needed} patients on each side; there are {len(pair.real)} real and {len(pair.fake)} "
        f"generated images of at least {pair.patients} patients"
    )


def _no_distance(pair: Pair, settings: MetricSettings) -> str | None:
    return _few(pair, 2)


def _no_line(pair: Pair, settings: MetricSettings) -> str | None:
    return _few(pair, 12)


def _no_halves(pair: Pair, settings: MetricSettings) -> str | None:
    return _few(pair, 2 * (settings.neighbours + 1))  # each half keeps more than k images


def _no_kernel(pair: Pair, settings: MetricSettings) -> str | None:
    smaller = min(len(pair.real), len(pair.fake))
    if settings.kid_subsets and settings.kid_subset_size > smaller:
        return f"subsets of {settings.kid_subset_size} images exceed the smaller set, {smaller}"
    return _few(pair, 2)


def _no_score(pair: Pair, settings: MetricSettings) -> str | None:
    if pair.probabilities is None:
        return f"{pair.extractor} gives no class probabilities"
    if pair.probabilities.shape[1] < 2:
        return f"{pair.extractor} knows one class only"
    if len(pair.fake) < 2:
        return f"needs at least 2 images; there are {len(pair.fake)}"
    return None


ANY, POSITIVE, SHARE = (-np.inf, np.inf), (0.0, np.inf), (0.0, 1.0)
_BIASED = "above 0 although its images are real, because few images raise it"
_UNBIASED = "about 0, and below it by chance"
_NEAR_ONE = "below 1, the more so the fewer images"
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "inception_score", "IS", "Inception score", True, "anywhere, because it knows no medical classes",
            (1.0, np.inf), "influence", _no_score, inception_score,
        ),
        Metric("fid", "FID", "FID", False, _BIASED, POSITIVE, "influence", _no_distance, fid),
        Metric("fid_infinity", "FID∞", "FID∞", False, _UNBIASED, ANY, "error", _no_line, fid_infinity),
        Metric("kid", "KID", "KID", False, _UNBIASED, ANY, "influence", _no_kernel, kid),
        _of_neighbours("precision", _NEAR_ONE, SHARE),
        _of_neighbours("recall", _NEAR_ONE, SHARE),
        _of_neighbours("density", "about 1", POSITIVE),
        _of_neighbours("coverage", _NEAR_ONE, SHARE),
    )
}  # fmt: skip
"""Name -> metric, in the order of tables."""


# ----------------------------------------------------------------------------------------------------------- intervals
def measure_all(pair: Pair, settings: MetricSettings, names: Collection[str] = METRICS) -> dict[str, Estimate]:
    """The metrics of these names; one that the images do not suffice for is None and says why."""
    results: dict[str, Estimate] = {}
    halved: dict[str, float] = {}
    for metric in (METRICS[name] for name in names):
        reason = metric.lacks(pair, settings)
        if reason:
            results[metric.name] = Estimate.missing(reason, len(pair.fake))
            continue
        rng = _own_numbers(settings.seed, metric.name)
        found = metric.measure(pair, settings, rng)
        if metric.interval == "halves":
            halved[metric.name] = found.value
        else:
            results[metric.name] = _cut(metric, found.value, _interval(metric, found, pair, settings, rng), pair)
    results |= _halved(halved, pair, settings)
    return {name: results[name] for name in names}


def _own_numbers(seed: int, name: str) -> np.random.Generator:
    """Random numbers of one metric, so that another one more or less does not change them."""
    return np.random.default_rng([seed, *name.encode()])


def _interval(
    metric: Metric, found: Found, pair: Pair, settings: MetricSettings, rng: np.random.Generator
) -> tuple[float, float]:
    if metric.interval == "error":
        half = float(special.ndtri((1 + settings.level) / 2)) * found.error
        return found.value - half, found.value + half
    influences = [
        (influence, unit)
        for influence, unit in zip(found.influences, (pair.real_units, pair.fake_units), strict=True)
        if influence is not None
    ]
    return resampling.linearised_interval(
        found.value, influences, level=settings.level, resamples=settings.resamples, rng=rng
    )


def _halved(values: dict[str, float], pair: Pair, settings: MetricSettings) -> dict[str, Estimate]:
    """The metrics of these values with intervals from random halves of the patients, which they share."""
    if not values:
        return {}
    rng = _own_numbers(settings.seed, "halves")
    drawn: dict[str, list[float]] = {name: [] for name in values}
    for real, fake in zip(
        resampling.half_samples(resampling.units(pair.real_units), settings.half_samples, rng),
        resampling.half_samples(resampling.units(pair.fake_units), settings.half_samples, rng),
        strict=True,
    ):
        half = pair.take(real, fake)
        for name, spread in drawn.items():
            spread.append(METRICS[name].measure(half, settings, rng).value)
    results = {}
    for name, value in values.items():
        deviations = np.array(drawn[name]) - np.mean(drawn[name])
        interval = resampling.percentile_interval(value, deviations, settings.level)
        results[name] = _cut(METRICS[name], value, interval, pair)
    return results


def _cut(metric: Metric, value: float, interval: tuple[float, float], pair: Pair) -> Estimate:
    """An estimate whose interval is cut to the metric's range at both ends: all of it may lie beyond the best."""
    lowest, highest = np.clip(interval, *metric.bounds)
    return Estimate(value, float(lowest), float(highest), len(pair.fake))


def mean_of(groups: Sequence[dict[str, Estimate]]) -> dict[str, Estimate]:
    """Every metric's mean over classes, which weigh the same. Their images are different, so the errors add up."""
    return {name: _mean([group[name] for group in groups]) for name in METRICS}


def _mean(parts: Sequence[Estimate]) -> Estimate:
    missing = next((part for part in parts if part.value is None), None)
    if missing:
        return missing
    value, n = float(np.mean([part.value for part in parts])), sum(part.n for part in parts)
    below, above = (
        float(np.sqrt(sum((getattr(part, end) - part.value) ** 2 for part in parts))) / len(parts)
        for end in ("low", "high")
    )
    return Estimate(value, value - below, value + above, n)

"""How close a generator's images are to the real ones, beside what real images reach against one another."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import special

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.core.step import Output, step
from synthmed.data.features import Features, check_together, read_features
from synthmed.metrics import fidelity as metrics
from synthmed.metrics import resampling
from synthmed.metrics.diversity import neighbour_metrics, squared_distances

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MetricSettings:
    """Settings of the metrics.

    neighbours: k of precision, recall, density, coverage; kid_subsets, kid_subset_size: random subsets of the kernel
    distance, 0 subsets for the full-sample estimate; inception_splits: parts of the inception score; curve_points:
    subset sizes of the bias curve (≥ 3); max_images: larger sets are reduced to a random draw of so many, which bounds
    time and memory (3 matrices of max_images² float64); level: of the intervals, e.g. 0.95; resamples: of the
    linearised bootstrap; half_samples: of the delete-half jackknife; seed: of every random draw.
    """

    neighbours: int
    kid_subsets: int
    kid_subset_size: int
    inception_splits: int
    curve_points: int
    max_images: int
    level: float
    resamples: int
    half_samples: int
    seed: int


@dataclass(frozen=True)
class FloorSettings:
    """counts: images of each label that the generators deliver; the floor takes as many held-out images, or all."""

    counts: dict[str, int]
    metrics: MetricSettings


@dataclass(frozen=True)
class FidelitySettings:
    """generator: its name in the results; metrics: equal to those of the floor."""

    generator: str
    metrics: MetricSettings


@step("fidelity-floor")
def fidelity_floor(settings: FloorSettings, *, real: Path, held_out: Path, out: Output) -> None:
    """What real images reach against the real training images (JSON), made once for all generators.

    real, held_out: features of the training images and of other real images, from other patients. `floor`: training
    against held-out images; no generator can be expected below it. `duplicate`: training images against a random draw
    of themselves: what a generator that only copies would score. Both use `counts` images of each label.
    """
    train, other = _read(real, held_out)
    rng = np.random.default_rng(settings.metrics.seed)
    labels = set(settings.counts) & set(train.labels) & set(other.labels)
    if not labels:
        raise InputError(f"{held_out}: none of the labels {sorted(settings.counts)} is in it and in {real}")
    available = other.counts()
    counts = {label: min(settings.counts[label], available[label]) for label in sorted(labels)}
    train = _bounded(train, settings.metrics.max_images, rng)
    other, copies = other.draw(counts, rng, replace=False), train.draw(counts, rng, replace=True)
    logger.info("floor: %d training and %d held-out images", len(train), len(other))
    write_json(
        out,
        {
            "extractor": train.extractor,
            "n_real": len(train),
            "n_held_out": len(other),
            "counts": counts,
            "floor": evaluate(train, other, settings.metrics),
            "duplicate": evaluate(train, copies, settings.metrics),
        },
    )


@step("fidelity")
def fidelity(settings: FidelitySettings, *, real: Path, fake: Path, floor: Path, out: Output) -> None:
    """Compare a generator's images with the real training images (JSON).

    real, fake: features; floor: JSON of fidelity_floor, whose `floor` and `duplicate` are repeated in the result.
    `groups`: all images of the generator. `matched`: a random draw of as many as the floor had images (the same object
    as `groups` when it had as many): the numbers to hold beside the floor, because FID, precision, recall, density and
    coverage depend on the number of images. Raises InputError when the files come from different extractors.
    """
    train, generated = _read(real, fake)
    reference = read_json(floor)
    if reference["extractor"] != train.extractor:
        raise InputError(
            f"{floor}: made with {reference['extractor']}, but {real} with {train.extractor}; make it again"
        )
    rng = np.random.default_rng(settings.metrics.seed)
    train = _bounded(train, settings.metrics.max_images, rng)
    generated = _bounded(generated, settings.metrics.max_images, rng)
    logger.info("%s: %d real and %d generated images", settings.generator, len(train), len(generated))
    groups = evaluate(train, generated, settings.metrics)
    made = generated.counts()
    counts = {label: min(count, made[label]) for label, count in reference["counts"].items() if label in made}
    if not counts:
        raise InputError(f"{fake}: has none of the labels {sorted(reference['counts'])} of {floor}")
    matched = groups
    if counts != made:
        matched = evaluate(train, generated.draw(counts, rng, replace=False), settings.metrics)
    write_json(
        out,
        {
            "generator": settings.generator,
            "extractor": train.extractor,
            "n_real": len(train),
            "n_fake": len(generated),
            "groups": groups,
            "matched": matched,
            **{name: _comparable(reference[name], reference["counts"], counts) for name in ("floor", "duplicate")},
        },
    )


def _comparable(groups: dict, floor_counts: dict[str, int], counts: dict[str, int]) -> dict:
    """The groups of the floor that stand beside as many images of the generator; the others say why they do not.

    A generator of one label is compared with the floor of that label, in `all` too.
    """
    if counts == floor_counts:
        return groups
    found = dict(groups)
    for label, count in floor_counts.items():
        if counts.get(label, count) != count and label in found:
            found[label] = _none_of(
                found[label], f"the floor has {count} images of {label}, the generator {counts[label]}"
            )
    if len(counts) == 1:
        found["all"] = found[next(iter(counts))]
    else:
        made = ", ".join(f"{label} {count}" for label, count in counts.items())
        found["all"] = _none_of(groups["all"], f"the floor is of other counts than those of the generator ({made})")
    return found


def _none_of(group: dict, reason: str) -> dict:
    return {name: _missing(reason) if isinstance(value, dict) else value for name, value in group.items()}


def _read(*paths: Path) -> list[Features]:
    """The images as they are, in double precision. Raises InputError when they come from different extractors."""
    files = [read_features(path).as_is().in_double() for path in paths]
    check_together(files)
    return files


def _bounded(features: Features, limit: int, rng: np.random.Generator) -> Features:
    """At most `limit` images, every label in its proportion."""
    if len(features) <= limit:
        return features
    counts = {label: max(1, count * limit // len(features)) for label, count in features.counts().items()}
    logger.warning("only %d of %d images are used (setting max_images)", sum(counts.values()), len(features))
    return features.draw(counts, rng, replace=False)


def evaluate(real: Features, fake: Features, settings: MetricSettings) -> dict[str, dict]:
    """All metrics of one pair of sets, for each label that both have and for all of these together: {group: results}.

    Inner products between all images are computed once and shared by the kernel distance and the neighbour metrics of
    every group and every resample. A metric that the images do not suffice for has the value None and a reason.
    """
    labels = sorted(set(real.labels) & set(fake.labels))
    real = real.take(np.flatnonzero(np.isin(real.labels, labels)))
    fake = fake.take(np.flatnonzero(np.isin(fake.labels, labels)))
    if not labels:
        raise InputError("the generated images have no label of the real ones; are both from the same experiment?")
    gram = {
        "rr": real.features @ real.features.T,
        "rf": real.features @ fake.features.T,
        "ff": fake.features @ fake.features.T,
    }
    groups = {"all": (np.arange(len(real)), np.arange(len(fake)))}
    if len(labels) > 1:
        for label in labels:
            groups[label] = (np.flatnonzero(real.labels == label), np.flatnonzero(fake.labels == label))
    else:
        groups[labels[0]] = groups["all"]
    results: dict[str, dict] = {}
    for name, (r, f) in groups.items():
        grams = {"rr": gram["rr"][np.ix_(r, r)], "rf": gram["rf"][np.ix_(r, f)], "ff": gram["ff"][np.ix_(f, f)]}
        results[name] = _group(real.take(r), fake.take(f), grams, settings)
    return results


def _missing(reason: str) -> dict:
    return {"value": None, "reason": reason}


def _estimate(value: float, interval: tuple[float, float], lowest: float | None, highest: float | None) -> dict:
    """An estimate with its interval, cut to the metric's range."""
    low, high = interval
    return {
        "value": value,
        "low": low if lowest is None else max(lowest, low),
        "high": high if highest is None else min(highest, high),
    }


def _group(real: Features, fake: Features, gram: dict[str, np.ndarray], settings: MetricSettings) -> dict:
    n, m = len(real), len(fake)
    result: dict = {"n_real": n, "n_fake": m}
    units = resampling.units(real.patients), resampling.units(fake.patients)
    patients = min(int(unit.max()) + 1 for unit in units)
    rng = np.random.default_rng(settings.seed)

    def unless_few(names: tuple[str, ...], needed: int, compute: Callable[[], dict]) -> None:
        if patients < needed:
            reason = f"needs at least {needed} patients on each side; there are {n} real and {m} generated images"
            result.update({name: _missing(f"{reason} of at least {patients} patients") for name in names})
        else:
            result.update(compute())

    unless_few(("fid",), 2, lambda: _fid(real, fake, units, settings, rng))
    if result["fid"]["value"] is not None:
        deviation = result["fid"].pop("standard_error")
        unless_few(
            ("fid_infinity",), 12, lambda: _fid_infinity(real, fake, result["fid"]["value"], deviation, settings, rng)
        )
    else:
        result["fid_infinity"] = result["fid"]
    unless_few(("kid",), 2, lambda: _kid(gram, real.features.shape[1], units, settings, rng))
    unless_few(
        ("precision", "recall", "density", "coverage"),
        2 * (settings.neighbours + 1),  # each half keeps more than k images
        lambda: _neighbours(gram, units, settings, rng),
    )
    result["inception_score"] = _inception(fake, units[1], settings, rng)
    return result


def _fid(
    real: Features,
    fake: Features,
    units: tuple[np.ndarray, np.ndarray],
    settings: MetricSettings,
    rng: np.random.Generator,
) -> dict:
    value, *influences = metrics.frechet_influence(real.features, fake.features)
    pairs = list(zip(influences, units, strict=True))
    deviations = resampling.linearised_deviations(pairs, settings.resamples, rng)
    interval = resampling.percentile_interval(value, deviations, settings.level)
    return {"fid": _estimate(value, interval, 0.0, None) | {"standard_error": float(deviations.std())}}


def _fid_infinity(
    real: Features, fake: Features, whole: float, error: float, settings: MetricSettings, rng: np.random.Generator
) -> dict:
    """Extrapolation; its error joins that of the sample (`error`, from the FID itself) and that of the fitted line."""
    sizes = metrics.curve_sizes(min(len(real), len(fake)), settings.curve_points)
    inner = sizes if len(real) != len(fake) else sizes[:-1]  # the whole of two equal sets is known already
    curve = metrics.frechet_bias_curve(real.features, fake.features, inner, rng)
    if len(inner) < len(sizes):
        curve.append((sizes[-1], whole))
    value, line_error = metrics.frechet_infinity(curve)
    half = float(special.ndtri((1 + settings.level) / 2)) * float(np.hypot(error, line_error))
    return {
        "fid_infinity": _estimate(value, (value - half, value + half), None, None),
        "bias_curve": [{"images": size, "fid": distance} for size, distance in curve],
    }


def _kid(
    gram: dict[str, np.ndarray],
    dimensions: int,
    units: tuple[np.ndarray, np.ndarray],
    settings: MetricSettings,
    rng: np.random.Generator,
) -> dict:
    kernels = [metrics.polynomial_kernel(gram[key], dimensions) for key in ("rr", "rf", "ff")]
    if settings.kid_subsets:
        if settings.kid_subset_size > min(kernels[1].shape):
            reason = f"subsets of {settings.kid_subset_size} images exceed the smaller set, {min(kernels[1].shape)}"
            return {"kid": _missing(reason)}
        value = metrics.kernel_distance_subsets(
            *kernels, subsets=settings.kid_subsets, subset_size=settings.kid_subset_size, seed=settings.seed
        )
    else:
        value = metrics.kernel_distance(*kernels)
    pairs = list(zip(metrics.kernel_influence(*kernels), units, strict=True))
    interval = resampling.linearised_interval(value, pairs, level=settings.level, resamples=settings.resamples, rng=rng)
    return {"kid": _estimate(value, interval, None, None)}


def _neighbours(
    gram: dict[str, np.ndarray],
    units: tuple[np.ndarray, np.ndarray],
    settings: MetricSettings,
    rng: np.random.Generator,
) -> dict:
    norms_real, norms_fake = np.diagonal(gram["rr"]), np.diagonal(gram["ff"])
    d_rr = squared_distances(gram["rr"], norms_real, norms_real)
    d_rf = squared_distances(gram["rf"], norms_real, norms_fake)
    d_ff = squared_distances(gram["ff"], norms_fake, norms_fake)
    values = neighbour_metrics(d_rr, d_rf, d_ff, settings.neighbours)
    halves = zip(
        resampling.half_samples(units[0], settings.half_samples, rng),
        resampling.half_samples(units[1], settings.half_samples, rng),
        strict=True,
    )
    resampled = [
        neighbour_metrics(d_rr[np.ix_(r, r)], d_rf[np.ix_(r, f)], d_ff[np.ix_(f, f)], settings.neighbours)
        for r, f in halves
    ]
    result = {}
    for name, value in values.items():
        drawn = np.array([row[name] for row in resampled])
        interval = resampling.percentile_interval(value, drawn - drawn.mean(), settings.level)
        result[name] = _estimate(value, interval, 0.0, None if name == "density" else 1.0)
    return result


def _inception(fake: Features, unit: np.ndarray, settings: MetricSettings, rng: np.random.Generator) -> dict:
    needed = 2 * settings.inception_splits
    if fake.probabilities is None:
        return _missing(f"{fake.extractor} gives no class probabilities")
    if len(fake) < needed:
        return _missing(f"{settings.inception_splits} splits need at least {needed} images; there are {len(fake)}")
    value, influence = metrics.inception_score(
        fake.probabilities, splits=settings.inception_splits, shuffle_seed=settings.seed
    )
    interval = resampling.linearised_interval(
        value, [(influence, unit)], level=settings.level, resamples=settings.resamples, rng=rng
    )
    return _estimate(value, interval, 1.0, None)

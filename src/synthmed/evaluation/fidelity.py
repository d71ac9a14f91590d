"""How close a generator's images are to the real ones, beside what real images reach against one another."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.core.known import MEAN
from synthmed.core.settings import Count
from synthmed.core.step import Output, step
from synthmed.data.features import Features, check_together, read_features
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.quality import METRICS, MetricSettings, Pair, mean_of, measure_all, pair_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FloorSettings:
    """Settings of `fidelity-floor`."""

    counts: Annotated[
        dict[str, Count],
        Meta(
            description="Images of each label that the generators deliver; the floor takes as many held-out images, or "
            "all."
        ),
    ]
    metrics: MetricSettings


@dataclass(frozen=True)
class FidelitySettings:
    """Settings of `fidelity`."""

    generator: Annotated[str, Meta(description="Its name in the results.")]
    view: Annotated[str, Meta(description="What the features are of: image, both, or a class of the masks.")]
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
    `groups`: all images of the generator (see evaluate). `matched`: a random draw of as many as the floor had images
    (the same object as `groups` when it had as many): the numbers to hold beside the floor, because FID, precision,
    recall, density and coverage depend on the number of images. Raises InputError when the files come from different
    extractors.
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
            "view": settings.view,
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

    A generator of one label is compared with the floor of that label, in `all` and MEAN too.
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
        return found | dict.fromkeys(("all", MEAN), found[next(iter(counts))])
    made = ", ".join(f"{label} {count}" for label, count in counts.items())
    reason = f"the floor is of other counts than those of the generator ({made})"
    return found | {name: _none_of(groups[name], reason) for name in ("all", MEAN)}


def _none_of(group: dict, reason: str) -> dict:
    missing = Estimate.missing(reason).to_json()
    return {name: missing if name in METRICS else value for name, value in group.items()}


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
    """All metrics of one pair of sets: {group: results}.

    Groups: each label that both have; `all`, their images pooled; and MEAN, the mean of the labels' values, which a set
    whose classes are mixed up does not pass. Inner products between all images are computed once and shared by the
    kernel distance and the neighbour metrics of every group and every resample. A metric that the images do not suffice
    for has the value None and a reason.
    """
    labels = sorted(set(real.labels) & set(fake.labels))
    real = real.take(np.flatnonzero(np.isin(real.labels, labels)))
    fake = fake.take(np.flatnonzero(np.isin(fake.labels, labels)))
    if not labels:
        raise InputError("the generated images have no label of the real ones; are both from the same experiment?")
    pair = pair_of(real.features, fake.features, real.patients, fake.patients, fake.probabilities, fake.extractor)
    everything = measure_all(pair, settings)
    results = {"all": _group(pair, everything)}
    of_classes = []
    for label in labels:
        own = pair if len(labels) == 1 else pair.take(*(np.flatnonzero(one.labels == label) for one in (real, fake)))
        of_classes.append(everything if own is pair else measure_all(own, settings))
        results[label] = _group(own, of_classes[-1])
    return results | {MEAN: _group(pair, mean_of(of_classes))}


def _group(pair: Pair, found: dict[str, Estimate]) -> dict:
    counts = {"n_real": len(pair.real), "n_fake": len(pair.fake)}
    return counts | {name: estimate.to_json() for name, estimate in found.items()}

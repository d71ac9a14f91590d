"""Audit of a generated image set for copies of training images.

Memory: a thumbnail of 1 KB a channel and the features of each image of the three sets, and 100 MB; images are decoded
one at a time.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.settings import Count, Fraction, Level, Seed
from synthmed.core.step import Output, step
from synthmed.data.features import Features, check_apart, check_together, read_features
from synthmed.data.imageset import ImageSet
from synthmed.evaluation import copy_findings as findings
from synthmed.evaluation.copy_design import Design, make_design
from synthmed.evaluation.copy_figure import draw_pairs
from synthmed.evaluation.copy_findings import Space
from synthmed.metrics import alignment
from synthmed.metrics import copies as metrics
from synthmed.metrics.classification import share_estimate
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.neighbours import Neighbours, euclidean_blocks, keep_nearest, standardise

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CopiesOptions:
    """The search for copies of training images."""

    quantile: Annotated[
        Fraction,
        Meta(description="Of the ratios of real images of other patients; a generated image below it is a suspect."),
    ]
    pixel_side: Annotated[
        int,
        Meta(
            ge=8,
            description="Side to which images are averaged before their pixels are compared.",
            extra_json_schema={"unit": "px"},
        ),
    ]
    permutations: Annotated[Count, Meta(description="Swaps of training and held-out patients.")]
    alpha: Annotated[Fraction, Meta(description="Chance of an alarm for a set without copies, at most.")]
    planted_shares: Annotated[
        tuple[Fraction, ...],
        Meta(min_length=1, description="Of the images of the sets that copies are planted into."),
    ]
    planted_sets: Annotated[Count, Meta(description="Sets that each kind of copies is planted into.")]
    level: Level
    pairs: Annotated[Count, Meta(description="Pairs in the picture.")]


@dataclass(frozen=True)
class AuditSettings(CopiesOptions):
    """Settings of the audit of one set."""

    generator: Annotated[str, Meta(description="Its name in the results.")]
    seed: Seed


@dataclass(frozen=True)
class CopiesSettings(AuditSettings):
    """Settings of `copies`."""

    fitted_features: Annotated[
        bool, Meta(description="Whether the features are of a network that was fitted to the training images.")
    ]


@step("copies")
def copies(
    settings: CopiesSettings,
    *,
    train: Path,
    held_out: Path,
    planted: Path,
    fake: Path,
    train_features: Path,
    held_out_features: Path,
    planted_features: Path,
    fake_features: Path,
    out: Output,
    pairs: Output,
) -> None:
    """Look for copies of training images.

    train, held_out, fake, planted: image sets, the last of `plant-copies`; *_features: their features. out: JSON with
    the `alarm` (a word and its reason), the tests and suspects in either space (`features`: cosine of standardised
    features; `pixels`: see metrics.alignment), how often planted copies are found (`detection`), how often a translated
    image is nearest to the patient it was made from, who is then left out of all else (`origin_identity`), and
    `secondary` numbers. pairs: PNG, the closest pairs. Raises InputError where sets or features do not belong together.
    """
    sets = {"train": ImageSet(train), "held_out": ImageSet(held_out)}
    sets |= {"fake": ImageSet(fake), "planted": ImageSet(planted)}
    files = {"train": train_features, "held_out": held_out_features, "fake": fake_features, "planted": planted_features}
    features = {name: _aligned(read_features(path).as_is(), sets[name]) for name, path in files.items()}
    check_together(list(features.values()))
    check_apart([features["train"], features["held_out"]])
    thumbnails, same = _thumbnails(sets, settings.pixel_side)
    identical = same["fake"]

    design = make_design(sets, sets["planted"].column("kind"), settings.permutations, settings.seed)
    vectors = {name: file.features for name, file in features.items()}
    spaces = {
        "features": space_of(_in_features(design, vectors), design, settings.quantile),
        "pixels": space_of(in_pixels(design, thumbnails), design, settings.quantile),
    }
    names = {name: sets[name].column("image") for name in ("train", "fake")}
    listed = findings.closest_pairs(spaces, names, identical, settings.pairs)
    write_json(
        out,
        {
            "generator": settings.generator,
            "extractor": features["train"].extractor,
            "fitted_features": settings.fitted_features,
            **{f"n_{name}": len(sets[name]) for name in ("train", "held_out", "fake")},
            **judged(settings, design, spaces, identical, same["planted"], "image"),
            "secondary": _secondary(spaces["features"], design, vectors, settings.level),
            "closest_pairs": listed,
        },
    )
    draw_pairs(pairs, sets, listed, lambda images, row: images[row])


def judged(
    settings: AuditSettings,
    design: Design,
    spaces: Mapping[str, Space],
    identical: np.ndarray,
    planted: np.ndarray,
    noun: str,
) -> dict:
    """What the audit says of a set, in numbers and words.

    identical, planted: which images of the set, and which planted copies, equal a training image, bool; noun: what the
    set is of.
    """
    fakes = np.arange(design.rows["fake"].stop)
    p = findings.p_values(spaces, design, fakes, np.ones((len(fakes), 1)))[:, :, 0]
    alarm = findings.alarm(spaces, p, design, identical, settings.alpha, noun)
    logger.info("%s: %s: %s", settings.generator, alarm["word"], alarm["reason"])
    suspects = np.any([space.suspects(fakes) for space in spaces.values()], axis=0)
    rule = findings.Rule(settings.alpha, settings.planted_shares, settings.planted_sets, settings.level, settings.seed)
    detection = findings.detection(spaces, design, rule, planted)
    return {
        "alarm": alarm,
        "alpha": settings.alpha,
        "identical": int(identical.sum()),
        "suspects": int(suspects.sum()),
        "suspect_share": share_estimate(suspects.sum(), len(suspects), settings.level).to_json(),
        "by_space": findings.by_space(spaces, p, design, settings.level),
        "detection": detection,
        "detection_limit": findings.detection_limit(detection, noun),
        "origin_identity": findings.origin_identity(list(spaces.values()), design, settings.level),
        "origin_chance": findings.origin_chance(list(spaces.values()), design),
    }


# ------------------------------------------------------------------------------------------------------------ inputs
def _aligned(features: Features, images: ImageSet) -> Features:
    """Features in the order of the image set. Raises InputError when they are of other images."""
    position = {name: row for row, name in enumerate(features.names.tolist())}
    names = images.column("image")
    missing = [name for name in names if name not in position]
    if missing:
        raise InputError(
            f"{features.path}: no features of {len(missing)} images of {images.path}, the first is {missing[0]!r}"
        )
    return features.take(np.array([position[name] for name in names]))


def _thumbnails(sets: Mapping[str, ImageSet], side: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Of each set: thumbnails uint8 (N, side, side, C); and which of its images equal a training image pixel by pixel,
    as it is or mirrored: bool (N,). `train` is the first of the sets."""
    small: dict[str, np.ndarray] = {}
    known: set[bytes] = set()
    identical: dict[str, list[bool]] = {name: [] for name in sets}
    for name, images in sets.items():
        for row, (_fields, pixels, *_mask) in enumerate(images.entries()):
            if row == 0:
                small[name] = np.empty((len(images), side, side, pixels.shape[2]), dtype=np.uint8)
            if pixels.shape[2] != small["train"].shape[3]:
                raise InputError(
                    f"{images.path}: {images.rows[row]['image']} has {pixels.shape[2]} channels, the training images "
                    f"have {small['train'].shape[3]}; they cannot be compared pixel by pixel"
                )
            small[name][row] = alignment.thumbnail(pixels, side)
            if name == "train":
                known |= {digest(pixels), digest(pixels[:, ::-1])}
            identical[name].append(digest(pixels) in known)
    return small, {name: np.array(found) for name, found in identical.items()}


def digest(pixels: np.ndarray) -> bytes:
    """Equal for equal pixels (H, W, C) only."""
    return hashlib.blake2b(np.ascontiguousarray(pixels), digest_size=16, person=str(pixels.shape[:2]).encode()).digest()


# ------------------------------------------------------------------------------------------------------------ spaces
def _in_features(design: Design, vectors: Mapping[str, np.ndarray]) -> Neighbours:
    real = np.concatenate([vectors["train"], vectors["held_out"]])
    pool, fake, planted = standardise(real, [vectors["fake"], vectors["planted"]])
    if not pool.shape[1]:
        raise InputError("all real images have the same features; the copy audit cannot tell them apart")
    queries = np.concatenate([fake, pool[design.real], planted])
    return keep_nearest(euclidean_blocks(queries, pool), design.left_out, design.patients, design.keep)


def in_pixels(design: Design, thumbnails: Mapping[str, np.ndarray]) -> Neighbours:
    """Neighbours of the queries by metrics.alignment; thumbnails: of each set, uint8 (N, side, side, C)."""
    pool = np.concatenate([thumbnails["train"], thumbnails["held_out"]])
    aligned = alignment.fit(pool)
    queries = aligned.queries(np.concatenate([thumbnails["fake"], pool[design.real], thumbnails["planted"]]))
    return keep_nearest(aligned.blocks(queries, pool), design.left_out, design.patients, design.keep)


def space_of(found: Neighbours, design: Design, quantile: float) -> Space:
    """What the neighbours of the queries say, with real images as the yardstick at `quantile`."""
    floor = metrics.floor(found.distance[design.rows["real"], 0])
    ratios = metrics.log_ratios(found, design.training, floor)
    train, real = ratios.take(design.rows["train"]), ratios.take(design.rows["real"])
    return Space(
        ratios,
        found.own,
        floor,
        metrics.yardstick(train.log[0, ~metrics.twice(train, floor)], quantile),
        metrics.same_population(real, design.training[:, design.real]),
    )


def _secondary(space: Space, design: Design, vectors: Mapping[str, np.ndarray], level: float) -> dict:
    """Numbers of other authors, in features."""
    (train,) = standardise(vectors["train"], [])
    fake, held_out = (space.ratios.take(design.rows[name]) for name in ("fake", "held_out"))
    authentic = metrics.authentic(fake.distance, fake.nearest, train, design.patients[: len(train)])
    return {
        "authenticity": share_estimate(authentic.sum(), len(authentic), level).to_json(),
        "c_t": Estimate(metrics.c_t(fake.distance, held_out.distance), n=len(fake.distance)).to_json(),
        "note": "Authenticity (Alaa 2022) and C_T (Meehan 2020, one cell) look at distances to training images alone. "
        "Neither separates memorising from underfitting: blurred images move them as copies do, or hide copies.",
    }

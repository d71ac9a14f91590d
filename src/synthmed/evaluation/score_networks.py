"""Networks as the models under test: what the network of each arm says of the test images."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
import torch
from msgspec import Meta

from synthmed.classifiers import network
from synthmed.core.errors import InputError, check_one_each
from synthmed.core.files import read_json, write_json
from synthmed.core.known import REAL, TEST
from synthmed.core.settings import BatchSize, Device, SyntheticSets, Threads, TwoClasses
from synthmed.core.step import Output, step
from synthmed.data.arm_lists import Members, read_arms
from synthmed.data.imageset import ImageSet, made_sets
from synthmed.evaluation.scores import Scores, by_arm, cases_of, described, same_seeds, write_scores
from synthmed.training.device import choose_device

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoringOptions:
    """How trained networks are applied to the test images."""

    batch_size: BatchSize
    threads: Threads
    device: Device


@dataclass(frozen=True)
class ScoreNetworksSettings(ScoringOptions):
    """Settings of `score-networks`."""

    classes: TwoClasses
    positive: Annotated[str, Meta(description="The class that is the output of every network.")]
    arms: Annotated[tuple[str, ...], Meta(min_length=1, description="Arms, in the order of their networks.")]
    sets: SyntheticSets


class _Asked(Protocol):
    classes: tuple[str, ...]
    positive: str
    batch_size: int


@step("score-networks")
def score_networks(
    settings: ScoreNetworksSettings,
    *,
    arms: Path,
    description: Path,
    classifiers: list[Path],
    classifier_reports: list[Path],
    test: Path,
    synthetic: list[Path],
    scores: Output,
    summary: Output,
) -> None:
    """Score the real test images by the network of every arm, and the synthetic sets by that of the real arm.

    arms, description: of `compose-arms`; classifiers, classifier_reports: of `train-classifier`, one for each of
    settings.arms, all with equally many seeds. A set that replaces the real images is scored by its own arm, too, and
    only its test part. Sets that could not be made, and their arms, have no scores. scores: see scores.py; summary:
    JSON, every arm's description and its thresholds, which were chosen on its own validation images.

    Raises InputError when networks lack the output or differ in their number of seeds.
    """
    if settings.positive not in settings.classes:
        raise InputError(f"setting positive is {settings.positive!r}; the classes are {list(settings.classes)}")
    check_one_each(settings.arms, classifiers=classifiers, classifier_reports=classifier_reports)
    check_one_each(settings.sets, synthetic=synthetic)
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    reports = [read_json(path) for path in classifier_reports]
    trained = {arm: one.to(device) for arm, one in network.load_trained(settings.arms, classifiers)}
    seeds = same_seeds(trained)
    made, _ = made_sets(settings.sets, synthetic)
    tests = {TEST: ImageSet(test)} | {name: ImageSet(path) for name, path in made.items()}
    write_scores(scores, _scores(settings, trained, tests, read_arms(arms, 1, "test")))
    write_json(
        summary,
        described(description, settings.arms, reports)
        | {
            "classes": list(settings.classes),
            "positive": settings.positive,
            "seeds": seeds,
            "selection": f"{reports[0]['selection']}. Thresholds: {network.THRESHOLD_RULE}.",
            "thresholds": {
                arm: classifier.thresholds[:, classifier.position(settings.positive)].tolist()
                for arm, classifier in trained.items()
            },
        },
    )


def _scores(
    settings: ScoreNetworksSettings,
    trained: Mapping[str, network.Classifier],
    tests: Mapping[str, ImageSet],
    swapped: Mapping[str, Sequence[Members]],
) -> Scores:
    """swapped: set that replaces the real images → lists of its test part."""
    values, cases = {}, {}
    for name, images in tests.items():
        images.label_indices(settings.classes)
        wanted = set(swapped[name][0].images.tolist()) if name in swapped else None
        rows = [row for row, image in enumerate(images.column("image")) if wanted is None or image in wanted]
        cases[name] = cases_of(images, rows)
        for arm, classifier in trained.items():
            if name == TEST or arm == REAL or (arm == name and name in swapped):
                values[arm, name] = probabilities(settings, classifier, images, rows)
                logger.info("%s on %s: %d images", arm, name, len(rows))
    columns = tuple(f"p_{name}" for name in settings.classes)
    return Scores(columns, cases, by_arm(values, settings.arms))


def probabilities(settings: _Asked, classifier: network.Classifier, images: ImageSet, rows: list[int]) -> np.ndarray:
    """Of some rows of an image set, (S, N, 2) in the order of the classes."""
    output = classifier.position(settings.positive)
    likelihood = network.predict_set(classifier, images, settings.batch_size, rows)[:, :, output]
    by_class = {settings.positive: likelihood}
    return np.stack([by_class.get(name, 1 - likelihood) for name in settings.classes], axis=2)

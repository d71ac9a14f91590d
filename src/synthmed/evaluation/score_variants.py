"""Step `score-variants`: networks that take images in different ways, each tested on images given its way."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta

from synthmed.classifiers import network
from synthmed.core.errors import InputError, check_one_each
from synthmed.core.files import read_json, write_json
from synthmed.core.known import REAL
from synthmed.core.step import Output, step
from synthmed.data.channels import resized_labels
from synthmed.data.imageset import ImageSet
from synthmed.data.second_test import SecondTest, parts_of
from synthmed.evaluation.arms import of_design
from synthmed.evaluation.score_networks import ScoringOptions
from synthmed.evaluation.scores import Scores, cases_of, same_seeds, write_scores
from synthmed.training.device import choose_device

logger = logging.getLogger(__name__)

OVERLAP, TRUE_MASKS = "overlap", "overlap_true_masks"
"""Tests on the images of which experts' masks are there: with the masks that are predicted, and with the experts'."""


@dataclass(frozen=True)
class ScoreVariantsSettings(ScoringOptions):
    """Settings of `score-variants`."""

    classes: Annotated[tuple[str, ...], Meta(min_length=2, description="Outputs of every network, in order.")]
    arms: Annotated[
        dict[str, str], Meta(min_length=1, description="Arm → its title, in the order of their files; real is first.")
    ]
    with_masks: Annotated[
        str, Meta(description="The arm whose last channel is exchanged for the experts' masks, where there are any.")
    ]
    second_test: SecondTest


@step("score-variants")
def score_variants(
    settings: ScoreVariantsSettings,
    *,
    classifiers: list[Path],
    classifier_reports: list[Path],
    tests: list[Path],
    truth: Path,
    scores: Output,
    summary: Output,
) -> None:
    """Score the test images by each classifier, given as it was trained with them.

    classifiers, classifier_reports: of `train-classifier`; tests: the same test images as each of them takes them; in
    the order of settings.arms. truth: image set with experts' masks; on the test images of these names the arm
    settings.with_masks is also scored with its own masks (test OVERLAP) and with the experts' (TRUE_MASKS). Images of
    settings.second_test are a test of their own (SECOND). scores: see scores.py; summary (JSON): every arm's
    description. Raises InputError when sets or networks do not fit together.
    """
    names = list(settings.arms)
    check_one_each(names, classifiers=classifiers, classifier_reports=classifier_reports, tests=tests)
    if names[0] != REAL:
        raise InputError(f"setting arms is {names}; {REAL} must come first")
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    trained = {arm: network.load(path).to(device) for arm, path in zip(names, classifiers, strict=True)}
    sets = {arm: ImageSet(path) for arm, path in zip(names, tests, strict=True)}
    for arm, images in sets.items():
        if images.column("image") != sets[REAL].column("image"):
            raise InputError(f"{images.path}: other images than in {sets[REAL].path}; make both from the same set")
        if set(trained[arm].targets) != set(settings.classes):
            raise InputError(
                f"the classifier of {arm!r} has the outputs {trained[arm].targets}; train it on the classes"
            )
    seeds = same_seeds(trained)
    said = {
        arm: _ordered(settings, trained[arm], network.predict_set(trained[arm], images, settings.batch_size))
        for arm, images in sets.items()
    }
    parts = parts_of(sets[REAL], settings.second_test)
    values = {(arm, test): found[:, rows] for arm, found in said.items() for test, rows in parts.items()}
    cases = {test: cases_of(sets[REAL], rows) for test, rows in parts.items()}
    rows, pixels = _with_true_masks(sets[settings.with_masks], ImageSet(truth))
    if len(rows):
        arm, one = settings.with_masks, trained[settings.with_masks]
        values[arm, OVERLAP] = said[arm][:, rows]
        values[arm, TRUE_MASKS] = _ordered(settings, one, network.likelihoods(one, pixels, settings.batch_size))
        cases |= dict.fromkeys((OVERLAP, TRUE_MASKS), cases_of(sets[REAL], rows))
    write_scores(scores, Scores(tuple(f"p_{name}" for name in settings.classes), cases, values))
    reports = [read_json(path) for path in classifier_reports]
    kept = {name: reports[0][name] for name in ("architecture", "pretrained", "images", "selection", "image_shape")}
    parameters = {arm: report["parameters"] for arm, report in zip(names, reports, strict=True)}
    about = {"seeds": seeds, "parameters": parameters, "overlap": len(rows), "second_test": settings.second_test}
    arms = {
        arm: of_design(arm, title, report["images"]["train"]["images"]) | {"budget_limited": report["budget_limited"]}
        for (arm, title), report in zip(settings.arms.items(), reports, strict=True)
    }
    write_json(summary, {"arms": arms, "thresholds": {}, "swap": None, **kept, **about})
    logger.info("%d arms, %d test images, %d of them with experts' masks", len(names), len(sets[REAL]), len(rows))


def _ordered(settings: ScoreVariantsSettings, classifier: network.Classifier, found: np.ndarray) -> np.ndarray:
    """Likelihoods (S, N, T) in the order of the classes."""
    return found[:, :, [classifier.position(name) for name in settings.classes]]


def _with_true_masks(images: ImageSet, truth: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the images that experts outlined, (n,), and these with the outlined part as their last channel."""
    masked = {row["image"]: number for number, row in enumerate(truth.rows) if row["mask"]}
    rows = [number for number, name in enumerate(images.column("image")) if name in masked]
    decode, found = truth.decoder(), []
    for fields, pixels in images.entries(rows):
        _, mask = decode(masked[fields["image"]])
        outlined = resized_labels(np.where(mask > 0, np.uint8(255), np.uint8(0)), pixels.shape[:2])
        found.append(np.dstack([pixels[:, :, :-1], outlined]))
    return np.array(rows, dtype=int), np.stack(found) if found else np.empty(0)

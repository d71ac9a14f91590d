"""Step `score-sets`: what the network of every arm of a task says of further image sets."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from msgspec import Meta

from synthmed.classifiers import network
from synthmed.core.errors import check_one_each
from synthmed.core.settings import TwoClasses
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.evaluation.score_networks import ScoringOptions, probabilities
from synthmed.evaluation.scores import Scores, cases_of, write_scores
from synthmed.training.device import choose_device

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoreSetsSettings(ScoringOptions):
    """Settings of `score-sets`."""

    classes: TwoClasses
    positive: Annotated[str, Meta(description="The class that is the output of every network.")]
    arms: Annotated[tuple[str, ...], Meta(min_length=1, description="Arms, in the order of their networks.")]
    names: Annotated[tuple[str, ...], Meta(min_length=1, description="Names of the sets, in the order of their files.")]


@step("score-sets")
def score_sets(settings: ScoreSetsSettings, *, classifiers: list[Path], sets: list[Path], scores: Output) -> None:
    """Score image sets by the network of every arm that could be trained.

    classifiers: of `train-classifier`, one for each of settings.arms; sets: image sets, one for each of settings.names.
    scores: see scores.py; the tests are the names. Raises InputError when they do not fit together.
    """
    check_one_each(settings.arms, classifiers=classifiers)
    check_one_each(settings.names, sets=sets)
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    images = {name: ImageSet(path) for name, path in zip(settings.names, sets, strict=True)}
    cases = {name: cases_of(one) for name, one in images.items()}
    values = {}
    for arm, classifier in network.load_trained(settings.arms, classifiers):
        classifier = classifier.to(device)
        for name, one in images.items():
            values[arm, name] = probabilities(settings, classifier, one, list(range(len(one))))
    write_scores(scores, Scores(tuple(f"p_{name}" for name in settings.classes), cases, values))
    logger.info("%s: %d arms on %s", scores, len(settings.arms), {name: len(one) for name, one in images.items()})

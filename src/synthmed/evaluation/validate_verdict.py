"""Is the verdict to be trusted? Apply it many times where the truth is known, to heads on frozen features.

See known_truth.py for the arms of known effect, and for what is counted.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from synthmed.classifiers.frozen_backbone import Head, Schedule, train_heads
from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.known import REAL
from synthmed.core.step import Output, step
from synthmed.data.features import read_features
from synthmed.evaluation.arms import Arm, Part, compose
from synthmed.evaluation.known_truth import (
    KnownTruthOptions,
    KnownTruthSettings,
    Verdicts,
    check_supply,
    draw_parts,
    known_arms,
    part_sizes,
    patients_by_class,
)
from synthmed.training.seeds import seed_of

logger = logging.getLogger(__name__)

TITLES = {
    "oracle": "Fresh true images (oracle)",
    "duplicates": "Duplicated real images",
    "null": "Nothing (other training seeds)",
    "label_shuffled": "True images with shuffled labels",
}
"""Case -> what is added, in words."""


@dataclass(frozen=True)
class ValidationOptions(KnownTruthOptions):
    """How the verdict is validated with heads."""

    method: Annotated[Literal["heads"], Meta(description="heads: on frozen features; pixels: of masks.")]
    validation: Annotated[int, Meta(ge=2, description="Validation images of each class in a repetition.")]
    dropout: Annotated[float, Meta(ge=0, lt=1, description="Of the head.")]
    check_every: Annotated[int, Meta(ge=1, description="Steps between looks at the validation images.")]


@dataclass(frozen=True)
class ValidateSettings(ValidationOptions, KnownTruthSettings):
    """Settings of `validate-verdict`."""

    positive: Annotated[str, Meta(description="The class of the area under the curve.")]


@step("validate-verdict")
def validate_verdict(settings: ValidateSettings, *, pool: Path, out: Output) -> None:
    """Rates of each verdict over repeated draws from a pool of phantoms with known truth, as JSON.

    pool: feature file of fresh phantoms of every class. Each repetition draws, by patient, disjoint training,
    validation, test and extra images from it. Raises InputError when the pool is too small.
    """
    if settings.positive not in settings.classes:
        raise InputError(f"setting positive is {settings.positive!r}; the classes are {list(settings.classes)}")
    file = read_features(pool).as_is()
    labels = file.classes(settings.classes)
    positive = settings.classes.index(settings.positive)
    arms = known_arms(settings)
    sizes = {REAL: settings.train, "validation": settings.validation} | part_sizes(settings, arms)
    patients = patients_by_class(file.path, file.patients, labels, len(settings.classes))
    check_supply(settings, file.path, labels, sizes)

    start = time.perf_counter()
    draws = [
        draw_parts(patients, sizes, np.random.default_rng(seed_of("repetition", settings.seed, number)))
        for number in range(settings.repetitions)
    ]
    heads = [head for number, parts in enumerate(draws) for head in _heads(settings, arms, parts, number)]
    schedule = Schedule(settings.steps, settings.batch_size, settings.check_every)
    trained = train_heads(
        file.features,
        file.needed_squares(),
        heads,
        schedule,
        classes=len(settings.classes),
        positive=positive,
        threads=settings.threads,
    )
    logger.info("%d trainings in %.1f s", len(heads), time.perf_counter() - start)

    verdicts = Verdicts(settings, "auroc")
    for number, parts in enumerate(draws):
        test = parts["test"]
        own = slice(number * len(arms) * settings.seeds, (number + 1) * len(arms) * settings.seeds)
        scores = trained.probabilities(file.features[test.rows], own)
        by_arm = dict(zip(arms, scores.reshape(len(arms), settings.seeds, *scores.shape[1:]), strict=True))
        verdicts.add(by_arm, test.labels, file.patients[test.rows], positive)
    logger.info("%d repetitions in %.1f s", settings.repetitions, time.perf_counter() - start)
    write_json(out, verdicts.result(file.extractor, TITLES, sizes))


def _heads(settings: ValidateSettings, arms: Mapping[str, Arm], parts: Mapping[str, Part], number: int) -> list[Head]:
    """The trainings of one repetition: arms x seeds."""
    heads = []
    for arm in arms.values():
        for seed in range(settings.seeds):
            stream = "other" if arm.name == "null" else "same"
            value = seed_of("validate", settings.seed, number, seed, stream)
            rows, labels = compose(arm, parts, settings.classes, value)
            check = parts["validation"]
            heads.append(Head(rows, labels, check.rows, check.labels, value, settings.learning_rate, settings.dropout))
    return heads

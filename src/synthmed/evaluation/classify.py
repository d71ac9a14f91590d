"""A classifier on frozen features as the model under test: trained on every arm, with every seed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.classifiers.frozen_backbone import Head, Schedule, TrainedHeads, train_heads
from synthmed.core.errors import InputError, check_one_each
from synthmed.core.files import read_json, write_csv, write_json
from synthmed.core.known import AUGMENTED, REAL, TEST
from synthmed.core.settings import SyntheticSets
from synthmed.core.step import Output, step
from synthmed.data.arm_lists import Members, read_arms
from synthmed.data.features import Features, check_apart, check_together, read_features
from synthmed.data.imageset import ImageSet
from synthmed.data.targets import LABEL, TargetColumn, target_classes
from synthmed.evaluation.scores import Cases, Scores, write_scores
from synthmed.training.checked import budget_limited
from synthmed.training.seeds import seed_of

logger = logging.getLogger(__name__)

SELECTION = (
    "Learning rate and dropout: highest accuracy of the real arm on the validation images, averaged over the grid's "
    "seeds; of equals the lower validation loss; they then serve every arm. Optimiser step: for each training, the "
    "checkpoint with the lowest class-balanced validation loss. Both rules, the number of steps and the batch size are "
    "the same for every arm, and no rule sees a test image."
)


@dataclass(frozen=True)
class HeadOptions:
    """How the heads on frozen features are trained (frozen_backbone.py)."""

    learning_rates: Annotated[
        tuple[Annotated[float, Meta(gt=0)], ...], Meta(min_length=1, description="Of Adam: the grid's first axis.")
    ]
    dropouts: Annotated[
        tuple[Annotated[float, Meta(ge=0, lt=1)], ...],
        Meta(min_length=1, description="Share of the features that is dropped in training: the grid's second axis."),
    ]
    grid_seeds: Annotated[int, Meta(ge=1, description="Trainings of the real arm at each point of the grid.")]
    seeds: Annotated[int, Meta(ge=2, description="Trainings of each arm; below 5 there is no verdict.")]
    steps: Annotated[int, Meta(ge=1, description="Optimiser steps, equal for every arm.")]
    batch_size: Annotated[int, Meta(ge=2, description="Images of a step.")]
    check_every: Annotated[int, Meta(ge=1, description="Steps between looks at the validation images.")]
    threads: Annotated[int, Meta(ge=1, description="Processor threads, without influence on the result.")]


@dataclass(frozen=True)
class ClassifySettings(HeadOptions):
    """Settings of `classify`."""

    classes: Annotated[tuple[str, ...], Meta(min_length=2, description="Classes, in order.")]
    positive: Annotated[str, Meta(description="The class that false positives and the area under the curve refer to.")]
    column: TargetColumn
    sets: SyntheticSets
    leaking: Annotated[bool, Meta(description="Whether the test images may be of patients that were trained on.")]
    seed: Annotated[int, Meta(description="From which all randomness follows.")]


@step("classify")
def classify(
    settings: ClassifySettings,
    *,
    arms: Path,
    description: Path,
    train: Path,
    validation: Path,
    test: Path,
    synthetic: list[Path],
    train_augmented: Path | None,
    images: list[Path],
    scores: Output,
    grid: Output,
    summary: Output,
) -> None:
    """Train classifiers on frozen features on every arm, with every seed, and score the test images.

    arms, description: of `compose-arms`. All others are feature files; `synthetic` in the order of settings.sets;
    `train_augmented` holds augmented draws of the training images. images: where settings.column is another than the
    label, the image sets of train, validation, test and synthetic, which say the class of every image. Learning rate
    and dropout are chosen on the real arm (see SELECTION). scores: see scores.py, of the test images, and of the real
    arm also of every synthetic set (does it see the class that an image claims to show?). grid: CSV, validation results
    of every point of the grid, means over seeds. summary: JSON, what was chosen, and every arm's description, steps and
    validation results.
    """
    table = _Table(settings, train, validation, test, synthetic, train_augmented, images)
    lists = {arm: [table.rows(one) for one in found] for arm, found in read_arms(arms, settings.seeds).items()}
    described = read_json(description)
    own = {part: read_arms(arms, 1, part) for part in ("validation", "test")}
    trainer = _Trainer(settings, table, {arm: table.rows(found[0]) for arm, found in own["validation"].items()})

    rows, rate, dropout = trainer.grid(lists[REAL][0])
    write_csv(grid, rows, list(rows[0]))
    logger.info("chosen on the validation images: learning rate %g, dropout %g", rate, dropout)
    start = time.perf_counter()
    heads = [
        trainer.head(arm, images, seed, rate, dropout, described["arms"][arm]["kind"] == "class_weights")
        for arm, of_seeds in lists.items()
        for seed, images in enumerate(of_seeds)
    ]
    trained = trainer.train(heads)
    logger.info("%d arms x %d seeds in %.1f s", len(lists), settings.seeds, time.perf_counter() - start)

    tests = {name: table.files[name] for name in (TEST, *settings.sets)}
    for arm, found in own["test"].items():
        tests[arm] = table.files[arm].take(np.flatnonzero(np.isin(table.files[arm].names, found[0].images)))
    write_scores(scores, _scores(settings, list(lists), set(own["test"]), tests, trained))
    for number, arm in enumerate(lists):
        own_heads = slice(number * settings.seeds, (number + 1) * settings.seeds)
        described["arms"][arm] |= _trained(settings, trained, own_heads)
    write_json(summary, described | _summary(settings, table, rate, dropout))


def _scores(
    settings: ClassifySettings,
    arms: Sequence[str],
    swapped: set[str],
    tests: Mapping[str, Features],
    trained: TrainedHeads,
) -> Scores:
    """Every arm on the real test images; the real arm on every synthetic set; a swapped arm on its own test part."""
    values = {}
    for number, arm in enumerate(arms):
        own = slice(number * settings.seeds, (number + 1) * settings.seeds)
        for test, images in tests.items():
            if test == TEST or arm == REAL or (arm == test and arm in swapped):
                values[arm, test] = trained.probabilities(images.features, own)
    cases = {name: Cases(images.names, images.patients, images.labels) for name, images in tests.items()}
    return Scores(tuple(f"p_{name}" for name in settings.classes), cases, values)


class _Table:
    """Features of all sets below each other, and where each image stands in them."""

    def __init__(
        self,
        settings: ClassifySettings,
        train: Path,
        validation: Path,
        test: Path,
        synthetic: Sequence[Path],
        train_augmented: Path | None,
        images: Sequence[Path],
    ):
        if settings.positive not in settings.classes:
            raise InputError(f"setting positive is {settings.positive!r}; the classes are {list(settings.classes)}")
        check_one_each(settings.sets, synthetic=synthetic)
        named = {REAL: train, "validation": validation, TEST: test, **dict(zip(settings.sets, synthetic, strict=True))}
        self.files = {name: read_features(path).as_is() for name, path in named.items()}
        check_apart([self.files[name] for name in (REAL, "validation", *([] if settings.leaking else [TEST]))])
        if train_augmented is not None:
            self.files[AUGMENTED] = read_features(train_augmented).augmented()
        if settings.column != LABEL:
            self._ask_for(settings, images)
        check_together(list(self.files.values()))
        self.classes = settings.classes
        self.place, start = {}, 0
        for name, file in self.files.items():
            file.classes(settings.classes)
            keys = zip([name] * len(file), file.names.tolist(), file.draws.tolist(), strict=True)
            self.place |= {key: start + number for number, key in enumerate(keys)}
            start += len(file)
        self.features = np.concatenate([file.features for file in self.files.values()])
        self.squares = np.concatenate([file.needed_squares() for file in self.files.values()])

    def _ask_for(self, settings: ClassifySettings, images: Sequence[Path]) -> None:
        """Take the classes of settings.column for labels."""
        names = (REAL, "validation", TEST, *settings.sets)
        check_one_each(names, images=images)
        sets = {name: ImageSet(path) for name, path in zip(names, images, strict=True)}
        for name, file in self.files.items():
            own = sets[REAL if name == AUGMENTED else name]
            classes = target_classes(own, settings.column, settings.classes, sets[REAL])
            self.files[name] = file.relabelled(dict(zip(own.column("image"), classes, strict=True)))

    def rows(self, members: Members) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n,) of the table, and labels (n,), of the images of a list."""
        keys = zip(members.sets.tolist(), members.images.tolist(), members.draws.tolist(), strict=True)
        try:
            rows = np.array([self.place[key] for key in keys], dtype=np.int64)
        except KeyError as error:
            raise InputError(
                f"there are no features of {error}, which an arm is trained on; compute the features again"
            ) from error
        return rows, np.array([self.classes.index(label) for label in members.labels], dtype=np.int64)

    def of(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows and labels of a whole set."""
        file = self.files[name]
        start = self.place[name, str(file.names[0]), int(file.draws[0])]
        return np.arange(start, start + len(file)), file.classes(self.classes)


class _Trainer:
    """What all trainings of one run share. own: validation rows and labels of the arms that have their own."""

    def __init__(self, settings: ClassifySettings, table: _Table, own: Mapping[str, tuple[np.ndarray, np.ndarray]]):
        self.settings, self.table, self.own = settings, table, own
        self.validation = table.of("validation")

    def head(
        self,
        arm: str,
        images: tuple[np.ndarray, np.ndarray],
        seed: int,
        rate: float,
        dropout: float,
        class_weights: bool = False,
    ) -> Head:
        """The training of an arm on `images` (rows, labels) with seed number `seed`, which stands for the same
        randomness in every arm."""
        number = seed_of("classify", self.settings.seed, seed)
        return Head(*images, *self.own.get(arm, self.validation), number, rate, dropout, class_weights)

    def train(self, heads: Sequence[Head]) -> TrainedHeads:
        """All `heads`, side by side."""
        settings = self.settings
        return train_heads(
            self.table.features,
            self.table.squares,
            heads,
            Schedule(settings.steps, settings.batch_size, settings.check_every),
            classes=len(settings.classes),
            positive=settings.classes.index(settings.positive),
            threads=settings.threads,
        )

    def grid(self, real: tuple[np.ndarray, np.ndarray]) -> tuple[list[dict], float, float]:
        """Rows of the grid, best first, and the chosen learning rate and dropout."""
        settings, count = self.settings, self.settings.grid_seeds
        points = [(rate, dropout) for rate in settings.learning_rates for dropout in settings.dropouts]
        heads = [self.head(REAL, real, seed, *point) for point in points for seed in range(count)]
        start = time.perf_counter()
        trained = self.train(heads)
        logger.info("grid: %d settings x %d seeds in %.1f s", len(points), count, time.perf_counter() - start)
        rows, truth = self.validation
        decided, positive = trained.probabilities(self.table.features[rows]).argmax(-1), self._positive
        loss, found = trained.selected(trained.loss), []
        for number, (rate, dropout) in enumerate(points):
            own = slice(number * count, (number + 1) * count)
            found.append(
                {
                    "learning_rate": rate,
                    "dropout": dropout,
                    "accuracy": float((decided[own] == truth).mean()),
                    "false_positives": float(((decided[own] == positive) & (truth != positive)).sum(1).mean()),
                    "false_negatives": float(((decided[own] != positive) & (truth == positive)).sum(1).mean()),
                    "balanced_loss": float(loss[own].mean()),
                    "step": float(trained.step[own].mean()),
                    "seeds": count,
                }
            )
        found.sort(key=lambda row: (-row["accuracy"], row["balanced_loss"]))
        return found, found[0]["learning_rate"], found[0]["dropout"]

    @property
    def _positive(self) -> int:
        return self.settings.classes.index(self.settings.positive)


def _trained(settings: ClassifySettings, trained: TrainedHeads, own: slice) -> dict:
    """Of one arm: its steps, whether they were too few, and its validation results, means over the seeds."""
    steps = trained.step[own]
    validation = {
        name: float(trained.selected(values)[own].mean())
        for name, values in {
            "balanced_loss": trained.loss, "balanced_accuracy": trained.accuracy, "auroc": trained.auroc
        }.items()
    }  # fmt: skip
    return {
        "step": {"mean": float(steps.mean()), "by_seed": steps.tolist()},
        "budget_limited": budget_limited(steps, settings.steps),
        "validation": validation,
    }


def _summary(settings: ClassifySettings, table: _Table, rate: float, dropout: float) -> dict:
    axes = {"learning_rate": (rate, settings.learning_rates), "dropout": (dropout, settings.dropouts)}
    return {
        "model": f"{table.files[TEST].extractor} with frozen weights, then BatchNorm, global average pooling, dropout "
        "and a dense layer",
        "backbone": table.files[TEST].extractor,
        "classes": list(settings.classes),
        "positive": settings.positive,
        "learning_rate": rate,
        "dropout": dropout,
        # A best point at the end of an axis says that the grid may be too small.
        "at_the_end_of_the_grid": [
            name for name, (chosen, axis) in axes.items() if len(axis) > 1 and chosen in (min(axis), max(axis))
        ],
        "steps": settings.steps,
        "batch_size": settings.batch_size,
        "seeds": settings.seeds,
        "selection": SELECTION,
        "images": {
            name: table.files[key].class_counts(settings.classes)
            for name, key in (("train", REAL), ("validation", "validation"), ("test", TEST))
        },
        "thresholds": {},
    }

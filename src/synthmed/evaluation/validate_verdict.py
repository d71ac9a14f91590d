"""Is the verdict to be trusted? Apply it many times where the truth is known.

Phantoms come from a distribution that can be drawn from for ever, so arms with a known effect can be made: fresh true
images help, repeated ones add nothing, wrongly labelled ones harm, and the real training set under other training
seeds has no effect at all. Every repetition draws new patients and runs the same test, the same Holm adjustment and
the same rule as the step compare; the rates of the verdicts say how often it sees what is there or invents what is not.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.classifiers.frozen_backbone import Head, Schedule, train_heads
from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.step import Output, step
from synthmed.data.features import Features, read_features
from synthmed.evaluation.arms import REAL, Arm, Part, compose, share_of
from synthmed.metrics.classification import auroc, clopper_pearson
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.outcomes import OUTCOMES
from synthmed.metrics.statistics import paired, readers_test
from synthmed.metrics.verdict import HARMS, HELPS, NO_EVIDENCE, chance_to_hold, decide, level_holds, rule_text
from synthmed.training.seeds import seed_of

logger = logging.getLogger(__name__)

EXPECTED = {
    "oracle": ("Fresh true images (oracle)", HELPS),
    "duplicates": ("Duplicated real images", NO_EVIDENCE),
    "null": ("Nothing (other training seeds)", NO_EVIDENCE),
    "label_shuffled": ("True images with shuffled labels", HARMS),
}
"""Case -> what is added, in words, and the verdict that is right."""


@dataclass(frozen=True)
class ValidationOptions:
    """How the verdict is validated on fresh draws from the pool."""

    train: Annotated[int, Meta(ge=2, description="Training images of each class in a repetition.")]
    validation: Annotated[int, Meta(ge=2, description="Validation images of each class in a repetition.")]
    test: Annotated[int, Meta(ge=2, description="Test images of each class in a repetition.")]
    added_share: Annotated[float, Meta(gt=0, description="Fresh true images that are added, for each real one.")]
    shuffled_share: Annotated[float, Meta(gt=0, description="The same of the arm with shuffled labels.")]
    repetitions: Annotated[int, Meta(ge=1, description="Repetitions; 1,000 tell a level of 2.5 % from one of 5 %.")]
    bound: Annotated[
        float,
        Meta(gt=0, lt=1, description="The level holds where the upper end of the interval of the rate of false helps "
             "lies below this."),
    ]  # fmt: skip
    seeds: Annotated[int, Meta(ge=5, description="Trainings of each arm.")]
    learning_rate: Annotated[float, Meta(gt=0, description="Of Adam.")]
    dropout: Annotated[float, Meta(ge=0, lt=1, description="Of the head.")]
    steps: Annotated[int, Meta(ge=1, description="Optimiser steps.")]
    batch_size: Annotated[int, Meta(ge=2, description="Images of a step.")]
    check_every: Annotated[int, Meta(ge=1, description="Steps between looks at the validation images.")]
    level: Annotated[float, Meta(gt=0, lt=1, description="Of the exact binomial intervals of the rates.")]
    threads: Annotated[int, Meta(ge=1, description="Processor threads.")]


@dataclass(frozen=True)
class ValidateSettings(ValidationOptions):
    """Settings of `validate-verdict`."""

    classes: Annotated[tuple[str, ...], Meta(min_length=2, description="Classes, in order.")]
    positive: Annotated[str, Meta(description="The class of the area under the curve.")]
    alpha: Annotated[float, Meta(gt=0, lt=1, description="As in the task's statistics.")]
    margin: Annotated[float, Meta(gt=0, description="As in the task's statistics.")]
    seed: Annotated[int, Meta(description="From which all randomness follows.")]


@step("validate-verdict")
def validate(settings: ValidateSettings, *, pool: Path, out: Output) -> None:
    """Rates of each verdict over repeated draws from a pool of phantoms with known truth, as JSON.

    pool: feature file of fresh phantoms of every class. Each repetition draws, by patient, disjoint training,
    validation, test and extra images from it. See EXPECTED for the arms. Raises InputError when the pool is too small.
    """
    file = read_features(pool).as_is()
    labels = file.classes(settings.classes)
    positive = settings.classes.index(settings.positive)
    arms = _arms(settings)
    extra = max(max(arm.added.values()) for arm in arms.values() if arm.set == "extra")
    sizes = {REAL: settings.train, "validation": settings.validation, "test": settings.test, "extra": extra}
    patients = _patients_by_class(file, labels, len(settings.classes))
    _check(settings, file, labels, sizes)

    start = time.perf_counter()
    draws = [
        _draw(patients, sizes, np.random.default_rng(seed_of("repetition", settings.seed, number)))
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

    names = list(arms)
    words: dict[str, list[str]] = {name: [] for name in EXPECTED}
    unadjusted: dict[str, list[tuple[float, float]]] = {name: [] for name in EXPECTED}
    areas: list[float] = []
    for number, parts in enumerate(draws):
        test = parts["test"]
        own = slice(number * len(arms) * settings.seeds, (number + 1) * len(arms) * settings.seeds)
        scores = trained.probabilities(file.features[test.rows], own)
        by_arm = dict(zip(names, scores.reshape(len(arms), settings.seeds, *scores.shape[1:]), strict=True))
        tests = {
            name: readers_test(
                OUTCOMES["auroc"].measure(
                    np.concatenate([by_arm[REAL], by_arm[name]]), test.labels, file.patients[test.rows], positive
                ),
                paired(settings.seeds),
                level=1 - settings.alpha,
            )
            for name in EXPECTED
        }
        verdicts = decide(
            tests,
            dict.fromkeys(EXPECTED, "main"),
            alpha=settings.alpha,
            margin=settings.margin,
            seeds=settings.seeds,
        )
        for name in EXPECTED:
            words[name].append(verdicts[name].word)
            unadjusted[name].append((tests[name].difference, tests[name].p))
        areas.append(float(np.mean([auroc(row[:, positive], test.labels == positive) for row in by_arm[REAL]])))
    logger.info("%d repetitions in %.1f s", settings.repetitions, time.perf_counter() - start)
    write_json(out, _result(settings, file.extractor, sizes, words, unadjusted, areas))


def _arms(settings: ValidateSettings) -> dict[str, Arm]:
    """The real arm and those of EXPECTED, by name."""
    real = dict.fromkeys(settings.classes, settings.train)
    nothing = dict.fromkeys(settings.classes, 0)
    added, shuffled = share_of(settings.added_share, real), share_of(settings.shuffled_share, real)
    return {
        REAL: Arm(REAL, "Real only", "real", None, nothing, None),
        "oracle": Arm("oracle", EXPECTED["oracle"][0], "oracle", "extra", added, settings.added_share),
        "duplicates": Arm("duplicates", EXPECTED["duplicates"][0], "duplicates", REAL, added, settings.added_share),
        "null": Arm("null", EXPECTED["null"][0], "real", None, nothing, None),
        "label_shuffled": Arm(
            "label_shuffled",
            EXPECTED["label_shuffled"][0],
            "label_shuffled",
            "extra",
            shuffled,
            settings.shuffled_share,
        ),
    }


def _check(settings: ValidateSettings, file: Features, labels: np.ndarray, sizes: Mapping[str, int]) -> None:
    if settings.positive not in settings.classes:
        raise InputError(f"setting positive is {settings.positive!r}; the classes are {list(settings.classes)}")
    needed = sum(sizes.values())
    for number, label in enumerate(settings.classes):
        found = int((labels == number).sum())
        if found < needed:
            raise InputError(
                f"{file.path}: {found} {label!r} phantoms, but each repetition takes {needed} ({dict(sizes)}); "
                "make the pool larger or the parts smaller"
            )


def _patients_by_class(file: Features, labels: np.ndarray, classes: int) -> list[list[np.ndarray]]:
    """For each class the images of each of its patients. Raises InputError when a patient has images of two classes."""
    groups: list[list[np.ndarray]] = [[] for _ in range(classes)]
    _, patient = np.unique(file.patients, return_inverse=True)
    order = np.argsort(patient, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(patient[order])) + 1):
        if len(set(labels[rows].tolist())) > 1:
            raise InputError(f"{file.path}: patient {file.patients[rows[0]]!r} has images of two classes")
        groups[labels[rows[0]]].append(rows)
    return groups


def _draw(
    patients: Sequence[Sequence[np.ndarray]], sizes: Mapping[str, int], rng: np.random.Generator
) -> dict[str, Part]:
    """Disjoint parts with `sizes` images of each class, no patient in two of them. A patient's images that would exceed
    a part are left out of the repetition."""
    rows: dict[str, list[np.ndarray]] = {name: [] for name in sizes}
    labels: dict[str, list[np.ndarray]] = {name: [] for name in sizes}
    for label, groups in enumerate(patients):
        order = iter(rng.permutation(len(groups)).tolist())
        for name, size in sizes.items():
            taken: list[np.ndarray] = []
            while sum(map(len, taken)) < size:
                chosen = next(order, None)
                if chosen is None:
                    raise InputError("the pool has too few patients for disjoint parts; make it larger")
                taken.append(groups[chosen])
            rows[name].append(np.concatenate([*taken])[:size] if taken else np.empty(0, dtype=np.int64))
            labels[name].append(np.full(size, label))
    return {name: Part(np.concatenate(rows[name]), np.concatenate(labels[name])) for name in sizes}


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


def _rate(count: int, total: int, level: float) -> Estimate:
    share = clopper_pearson(count, total, level)
    return Estimate(share.value, share.low, share.high, total)


def _result(
    settings: ValidateSettings,
    backbone: str,
    sizes: Mapping[str, int],
    words: Mapping[str, Sequence[str]],
    unadjusted: Mapping[str, Sequence[tuple[float, float]]],
    areas: Sequence[float],
) -> dict:
    total, half = settings.repetitions, settings.alpha / 2
    cases = []
    for name, (title, expected) in EXPECTED.items():
        differences = np.array(unadjusted[name])
        counts = {word: sum(found == word for found in words[name]) for word in (HELPS, NO_EVIDENCE, HARMS)}
        raised = int(((differences[:, 0] > 0) & (differences[:, 1] <= settings.alpha)).sum())
        cases.append(
            {
                "case": title,
                "arm": name,
                "expected": expected,
                "repeats": total,
                "verdicts": {
                    word: {"count": count, "rate": _rate(count, total, settings.level).to_json()}
                    for word, count in counts.items()
                },
                "auroc_difference": {
                    "mean": float(differences[:, 0].mean()),
                    "standard_deviation": float(differences[:, 0].std()),
                },
                "helps_without_holm": {"count": raised, "rate": _rate(raised, total, settings.level).to_json()},
            }
        )
    nulls = [name for name, (_, expected) in EXPECTED.items() if expected == NO_EVIDENCE]
    any_false = sum(any(words[name][r] == HELPS for name in nulls) for r in range(total))
    family = _rate(any_false, total, settings.level)
    return {
        "backbone": backbone,
        "rule": rule_text(settings.alpha, settings.margin, outcome="AUROC", reference=REAL),
        "alpha": settings.alpha,
        "images_per_class": dict(sizes),
        "seeds": settings.seeds,
        "repeats": total,
        "real_auroc": {"mean": float(np.mean(areas)), "standard_deviation": float(np.std(areas))},
        "cases": cases,
        "false_helps": {
            "nominal": half,
            "arms": nulls,
            "count": any_false,
            "rate": family.to_json(),
            "bound": settings.bound,
            # Only what was shown: that a rate might be the nominal one does not say that the level holds.
            "holds": level_holds(any_false, total, bound=settings.bound, level=settings.level),
            # What so many repetitions can show: how often the level would be said to hold, were this the true rate.
            "chance_to_hold": [
                {"rate": rate, "chance": chance_to_hold(rate, total, bound=settings.bound, level=settings.level)}
                for rate in (half / 2, half, 2 * half)
            ],
            "broken": family.low > half,
        },
    }

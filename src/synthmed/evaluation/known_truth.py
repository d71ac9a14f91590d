"""Rates of the verdicts where the truth is known, whatever is trained: arms, disjoint parts, judging, counting.

Phantoms come from a distribution that can be drawn from for ever, so arms with a known effect can be made: fresh true
images help, repeated ones add nothing, wrongly labelled ones harm, and the real training set under other training
seeds has no effect at all. Every repetition draws new patients and runs the same test, the same Holm adjustment in the
same families and the same rule as the step compare; the rates of the verdicts say how often it sees what is there or
invents what is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.known import REAL
from synthmed.evaluation.arms import Arm, Part, share_of
from synthmed.metrics.classification import share_estimate
from synthmed.metrics.outcomes import OUTCOMES
from synthmed.metrics.statistics import paired, readers_test
from synthmed.metrics.verdict import HARMS, HELPS, NO_EVIDENCE, chance_to_hold, decide, families, level_holds, rule_text

EXPECTED = {"oracle": HELPS, "duplicates": NO_EVIDENCE, "null": NO_EVIDENCE, "label_shuffled": HARMS}
"""Case -> the verdict that is right."""


@dataclass(frozen=True)
class KnownTruthOptions:
    """How a verdict is validated on fresh draws from the pool."""

    train: Annotated[int, Meta(ge=2, description="Training images of each class in a repetition.")]
    test: Annotated[int, Meta(ge=2, description="Test images of each class in a repetition.")]
    added_share: Annotated[float, Meta(gt=0, description="Fresh true images that are added, for each real one.")]
    shuffled_share: Annotated[float, Meta(gt=0, description="The same of the arm that is taught what is wrong.")]
    repetitions: Annotated[int, Meta(ge=1, description="Repetitions; 1,000 tell a level of 2.5 % from one of 5 %.")]
    bound: Annotated[
        float,
        Meta(gt=0, lt=1, description="The level holds where the upper end of the interval of the rate of false helps "
             "lies below this."),
    ]  # fmt: skip
    seeds: Annotated[int, Meta(ge=5, description="Trainings of each arm.")]
    learning_rate: Annotated[float, Meta(gt=0, description="Of Adam.")]
    steps: Annotated[int, Meta(ge=1, description="Optimiser steps.")]
    batch_size: Annotated[int, Meta(ge=2, description="Images of a step, or pixels where pixels are learned.")]
    level: Annotated[float, Meta(gt=0, lt=1, description="Of the exact binomial intervals of the rates.")]
    threads: Annotated[int, Meta(ge=1, description="Processor threads.")]


@dataclass(frozen=True)
class KnownTruthSettings(KnownTruthOptions):
    """The same of a task."""

    classes: Annotated[tuple[str, ...], Meta(min_length=1, description="Classes, in order.")]
    alpha: Annotated[float, Meta(gt=0, lt=1, description="As in the task's statistics.")]
    margin: Annotated[float, Meta(gt=0, description="As in the task's statistics.")]
    seed: Annotated[int, Meta(description="From which all randomness follows.")]


def known_arms(settings: KnownTruthSettings) -> dict[str, Arm]:
    """The real arm and those of EXPECTED, by name; what is added comes from the part `extra`."""
    real = dict.fromkeys(settings.classes, settings.train)
    added, shuffled = share_of(settings.added_share, real), share_of(settings.shuffled_share, real)
    nothing = dict.fromkeys(settings.classes, 0)
    kinds = {
        REAL: ("real", None, nothing),
        "oracle": ("oracle", "extra", added),
        "duplicates": ("duplicates", REAL, added),
        "null": ("real", None, nothing),
        "label_shuffled": ("label_shuffled", "extra", shuffled),
    }
    return {name: Arm(name, name, kind, source, count, None) for name, (kind, source, count) in kinds.items()}


def part_sizes(settings: KnownTruthSettings, arms: Mapping[str, Arm]) -> dict[str, int]:
    """Images of each class in each part of a repetition."""
    extra = max(max(arm.added.values()) for arm in arms.values() if arm.set == "extra")
    return {REAL: settings.train, "test": settings.test, "extra": extra}


def check_supply(settings: KnownTruthSettings, path: object, labels: np.ndarray, sizes: Mapping[str, int]) -> None:
    """Raise InputError where the pool is too small for the parts of a repetition."""
    needed = sum(sizes.values())
    for number, label in enumerate(settings.classes):
        found = int((labels == number).sum())
        if found < needed:
            raise InputError(
                f"{path}: {found} {label!r} phantoms, but each repetition takes {needed} ({dict(sizes)}); "
                "make the pool larger or the parts smaller"
            )


def patients_by_class(path: object, patients: np.ndarray, labels: np.ndarray, classes: int) -> list[list[np.ndarray]]:
    """For each class the images of each of its patients. Raises InputError, naming the pool at `path`, when a patient
    has images of two classes."""
    groups: list[list[np.ndarray]] = [[] for _ in range(classes)]
    _, patient = np.unique(patients, return_inverse=True)
    order = np.argsort(patient, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(patient[order])) + 1):
        if len(set(labels[rows].tolist())) > 1:
            raise InputError(f"{path}: patient {str(patients[rows[0]])!r} has images of two classes")
        groups[labels[rows[0]]].append(rows)
    return groups


def draw_parts(
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


@dataclass
class Verdicts:
    """What was said of every case, repetition by repetition: words, differences with their p before Holm's adjustment,
    and how good the real arm was."""

    settings: KnownTruthSettings
    outcome: str
    words: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in EXPECTED})
    unadjusted: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {name: [] for name in EXPECTED})
    real: list[float] = field(default_factory=list)

    def add(self, values: Mapping[str, np.ndarray], labels: np.ndarray, patients: np.ndarray, positive: int) -> None:
        """One repetition. values: arm → what the outcome is measured of its trainings from, (S, N, …)."""
        outcome, arms = OUTCOMES[self.outcome], known_arms(self.settings)
        tests = {}
        for name in EXPECTED:
            both = np.concatenate([values[REAL], values[name]])
            measured = outcome.measure(both, labels, patients, positive)
            tests[name] = readers_test(measured, paired(self.settings.seeds), level=1 - self.settings.alpha)
            real = float(np.mean(measured.estimates[: self.settings.seeds]))
        verdicts = decide(
            tests,
            families({name: (arms[name].kind, arms[name].set) for name in EXPECTED}),
            alpha=self.settings.alpha,
            margin=self.settings.margin,
            seeds=self.settings.seeds,
            higher_is_better=outcome.higher_is_better,
        )
        for name in EXPECTED:
            self.words[name].append(verdicts[name].word)
            self.unadjusted[name].append((tests[name].difference, tests[name].p))
        self.real.append(real)

    def result(self, model: str, titles: Mapping[str, str], sizes: Mapping[str, int]) -> dict:
        """What the step writes. model: what was trained; titles: case → what is added, in words."""
        settings, total, half = self.settings, self.settings.repetitions, self.settings.alpha / 2
        title = OUTCOMES[self.outcome].title
        nulls = [name for name, expected in EXPECTED.items() if expected == NO_EVIDENCE]
        any_false = sum(any(self.words[name][r] == HELPS for name in nulls) for r in range(total))
        family = share_estimate(any_false, total, settings.level)
        return {
            "backbone": model,
            "outcome": title,
            "rule": rule_text(settings.alpha, settings.margin, outcome=title, reference=REAL),
            "alpha": settings.alpha,
            "level": settings.level,
            "images_per_class": dict(sizes),
            "seeds": settings.seeds,
            "repeats": total,
            "real": {"mean": float(np.mean(self.real)), "standard_deviation": float(np.std(self.real))},
            "cases": [self._case(name, titles[name]) for name in EXPECTED],
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

    def _case(self, name: str, title: str) -> dict:
        """How often each word was said of one case."""
        settings, total = self.settings, self.settings.repetitions
        differences = np.array(self.unadjusted[name])
        counts = {word: self.words[name].count(word) for word in (HELPS, NO_EVIDENCE, HARMS)}
        raised = int(((differences[:, 0] > 0) & (differences[:, 1] <= settings.alpha)).sum())
        return {
            "case": title,
            "arm": name,
            "expected": EXPECTED[name],
            "repeats": total,
            "verdicts": {
                word: {"count": count, "rate": share_estimate(count, total, settings.level).to_json()}
                for word, count in counts.items()
            },
            "difference": {
                "mean": float(differences[:, 0].mean()),
                "standard_deviation": float(differences[:, 0].std()),
            },
            "helps_without_holm": {"count": raised, "rate": share_estimate(raised, total, settings.level).to_json()},
        }

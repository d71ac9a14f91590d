"""From the scores of all arms of a task to its outcomes, and to a verdict on each arm."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.core.known import REAL, SECOND, SMALL, TEST
from synthmed.core.step import Output, step
from synthmed.data.imageset import NOT_MADE
from synthmed.evaluation.scores import (
    Cases,
    Scores,
    by_seed,
    called,
    called_by_most,
    check_probabilities,
    read_scores,
    score_columns,
)
from synthmed.metrics import classification, statistics, verdict
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.outcomes import OUTCOMES, Measured, Outcome, beside, of_columns

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StatisticsOptions:
    """How scores become verdicts."""

    threshold: Annotated[
        float,
        Meta(ge=0, le=1, description="Probability from which a case is called positive, where a model has none of its "
             "own; with more than two classes the largest probability decides instead."),
    ]  # fmt: skip
    alpha: Annotated[float, Meta(gt=0, lt=1, description="Two-sided, family-wise level of the verdicts.")]
    margin: Annotated[
        float, Meta(gt=0, description="Largest difference of the deciding outcome that counts as equivalent.")
    ]
    resamples: Annotated[int, Meta(ge=100, description="Resamples of the bootstrap beside the deciding test.")]


@dataclass(frozen=True)
class CompareSettings(StatisticsOptions):
    """Settings of `compare`."""

    task: Annotated[str, Meta(description="Name of the task.")]
    title: Annotated[str, Meta(description="Of the task, for people.")]
    kind: Annotated[Literal["classification", "segmentation"], Meta(description="What the models do.")]
    outcome: Annotated[str, Meta(description="The outcome that decides, a name of metrics.outcomes.OUTCOMES.")]
    classes: Annotated[tuple[str, ...], Meta(min_length=1, description="Classes, in the order of the probabilities.")]
    positive: Annotated[
        str | None,
        Meta(description="The class of sensitivity and of the area under the curve; null: masks are judged."),
    ]
    against: Annotated[
        tuple[tuple[str, str], ...],
        Meta(description="Pairs of arms of which the first is compared with the second, too: a placebo, say."),
    ]
    leaking: Annotated[bool, Meta(description="Whether the test images are of patients that were trained on.")]
    seed: Annotated[int, Meta(description="Of the resampling.")]


@step("compare")
def compare(settings: CompareSettings, *, scores: Path, summary: Path, split_report: Path, out: Output) -> None:
    """Measure every arm, compare it with the real one, and write the verdicts (JSON).

    scores: see scores.py; summary: JSON of the step that trained the models: every arm's description, thresholds,
    seeds; split_report: JSON of `split`, whether patients are known.

    `arms`: of each its description, `tests` (outcomes as Estimates, recall by class, mean confusion matrix) and
    `versus_reference`: differences of all outcomes, and of the deciding one p, p_holm, verdict, equivalence, and what
    other tests say (`also`); the same on the further tests of masks, SMALL and SECOND, which decide nothing
    (`elsewhere`). `comparisons`: where an arm replaces the real images in training and test, TRTR, TSTR and
    TSTS with one another; `against`: the pairs of settings.against, second arm first. Each a family of its own.
    `not_made`: of the arms whose set could not be made, which are in none of these, kind, title, set and the reason.
    Raises InputError when scores, summary and settings do not fit together, or a class lacks.
    """
    table = _Table(settings, scores, read_json(summary))
    logger.info("%d arms, %d seeds, %d test images", len(table.arms), table.seeds, len(table.cases[TEST].images))
    arms = {arm: table.describe(arm) for arm in table.arms}
    for arm, versus in _versus(table).items():
        arms[arm]["versus_reference"] = versus
    write_json(
        out,
        {
            "task": settings.task,
            "title": settings.title,
            "kind": settings.kind,
            "outcome": settings.outcome,
            "outcomes": {name: _shown(table.outcomes[name]) for name in table.reported},
            "reference": REAL,
            "swap": table.summary["swap"],
            "tests": list(table.cases),
            "classes": list(settings.classes),
            "positive": settings.positive,
            "alpha": settings.alpha,
            "margin": settings.margin,
            "leaking": settings.leaking,
            "seeds": table.seeds,
            "images": {test: len(cases.images) for test, cases in table.cases.items()},
            "patients": {test: len(np.unique(cases.patients)) for test, cases in table.cases.items()},
            "patients_known": read_json(split_report)["patients_known"],
            "rule": verdict.rule_text(
                settings.alpha, settings.margin, outcome=OUTCOMES[settings.outcome].title, reference=REAL
            ),
            "arms": arms,
            NOT_MADE: table.not_made,
            "comparisons": _comparisons(table),
            "against": _compared(
                table,
                {
                    (second, first): ((second, TEST), (first, TEST))
                    for first, second in settings.against
                    if not {first, second} & {*table.not_made}
                },
                "against",
            ),
        },
    )


def _shown(outcome: Outcome) -> dict:
    return {"title": outcome.title, "unit": outcome.unit, "higher_is_better": outcome.higher_is_better}


class _Table:
    """The scores of a task, and what is measured of them."""

    def __init__(self, settings: CompareSettings, path: Path, summary: Mapping):
        self.settings, self.summary = settings, summary
        self.path, self.level = path, 1 - settings.alpha
        if settings.kind == "segmentation":
            self.outcomes = of_columns(score_columns(path))
        else:
            self.outcomes = {name: one for name, one in OUTCOMES.items() if one.decides_on != "column"}
        self.reported = list(dict.fromkeys((settings.outcome, *self.outcomes)))
        self.scores = self._read()
        self.cases: dict[str, Cases] = self.scores.cases
        self.arms = self.scores.arms
        self.not_made = {arm: one for arm, one in summary["arms"].items() if NOT_MADE in one}
        self.seeds = len(self.scores.values[REAL, TEST]) if (REAL, TEST) in self.scores.values else 0
        self._check()

    def _read(self) -> Scores:
        if self.settings.outcome not in self.outcomes:
            raise InputError(
                f"setting outcome is {self.settings.outcome!r}; those of {self.path} are {sorted(self.outcomes)}"
            )
        if self.settings.kind == "classification" and self.settings.positive not in self.settings.classes:
            raise InputError(
                f"setting positive is {self.settings.positive!r}; choose one of {list(self.settings.classes)}"
            )
        if self.settings.kind == "segmentation":
            return read_scores(self.path, self.reported)
        found = read_scores(self.path, [f"p_{name}" for name in self.settings.classes])
        check_probabilities(found, self.path)
        return found

    def _check(self) -> None:
        described = self.summary["arms"]
        if {*described} - {*self.not_made} != {*self.arms} or not self.seeds:
            raise InputError(
                f"{self.path} holds the arms {sorted(self.arms)}, the summary describes {sorted(described)}; run both "
                f"steps again, with the arm {REAL!r} on {TEST!r} among them"
            )
        if unknown := sorted({*chain(*self.settings.against)} - set(described)):
            raise InputError(f"setting against names {unknown[0]!r}; the arms are {sorted(described)}")
        if self.seeds < 2:
            raise InputError(f"{self.path}: one seed only; chance in the training cannot be told from an effect")
        if self.settings.kind == "classification":
            for test, cases in self.cases.items():
                lacking = sorted(set(self.settings.classes) - set(cases.labels.tolist()))
                if lacking and test == TEST:
                    raise InputError(f"{self.path}: no test image of the class {lacking[0]!r}; add some")
                if unknown := sorted(set(cases.labels.tolist()) - set(self.settings.classes)):
                    raise InputError(f"{self.path}: unknown label {unknown[0]!r} in {test!r}")

    @cached_property
    def positive(self) -> int:
        """Place of the positive class; where masks are judged there is none, and no outcome asks."""
        return 0 if self.settings.positive is None else self.settings.classes.index(self.settings.positive)

    def labels(self, test: str) -> np.ndarray:
        """Classes of the cases as positions, int (N,)."""
        place = {name: number for number, name in enumerate(self.settings.classes)}
        return np.array([place[label] for label in self.cases[test].labels])

    def decided(self, arm: str, test: str) -> np.ndarray:
        """Decided class, int (S, N): by each training's threshold for two classes, else the largest probability."""
        values = self.scores.values[arm, test]
        if values.shape[2] > 2:
            return values.argmax(axis=2)
        return self._class(called(values[:, :, self.positive], self.thresholds(arm, len(values))))

    def majority(self, arm: str) -> np.ndarray:
        """Class that most trainings decide for on the test images, of two, int (N,)."""
        values = self.scores.values[arm, TEST][:, :, self.positive]
        return self._class(called_by_most(values, self.thresholds(arm, len(values))))

    def thresholds(self, arm: str, seeds: int) -> np.ndarray:
        """Of each training of an arm, (S,)."""
        return by_seed(self.summary["thresholds"], arm, self.settings.threshold, seeds)

    def _class(self, positive: np.ndarray) -> np.ndarray:
        """Of two classes the one that was decided for; positive: bool, whether it is the positive one."""
        return np.where(positive, self.positive, 1 - self.positive)

    def values(self, outcome: Outcome, pairs: list[tuple[str, str]]) -> np.ndarray:
        """What the outcome is measured from, of several (arm, test) of one test set below each other."""
        if outcome.decides_on == "decisions":
            return np.concatenate([self.decided(*pair) for pair in pairs])
        values = np.concatenate([self.scores.values[pair] for pair in pairs])
        return values if outcome.decides_on == "scores" else values[:, :, self.scores.columns.index(outcome.name)]

    def measured(self, name: str, pairs: list[tuple[str, str]]) -> Measured:
        """The outcome of several arms on one test set: their models below each other."""
        outcome, test = self.outcomes[name], pairs[0][1]
        return outcome.measure(self.values(outcome, pairs), self.labels(test), self.cases[test].patients, self.positive)

    def estimate(self, name: str, arm: str, test: str) -> Estimate:
        """One outcome of one arm; a set of one class, or of one patient, has none, and the estimate says so."""
        try:
            measured = self.measured(name, [(arm, test)])
            return statistics.mean_estimate(measured, level=self.level, trainings=self.trainings(arm))
        except InputError as error:
            if test == TEST and name == self.settings.outcome:
                raise
            return Estimate.missing(str(error), len(self.cases[test].images))

    def recall(self, arm: str, test: str, label: int) -> Estimate:
        """How often images of one class are decided to be of it."""
        where = self.labels(test) == label
        if not where.any():
            return Estimate.missing(f"the set has no {self.settings.classes[label]!r} image", 0)
        try:
            measured = OUTCOMES["accuracy"].measure(
                self.decided(arm, test)[:, where],
                self.labels(test)[where],
                self.cases[test].patients[where],
                self.positive,
            )
        except InputError as error:
            return Estimate.missing(str(error), int(where.sum()))
        return statistics.mean_estimate(measured, level=self.level, trainings=self.trainings(arm))

    def describe(self, arm: str) -> dict:
        """Everything about one arm but its comparison with the real one."""
        described = self.summary["arms"][arm]
        kept = ("kind", "title", "set", "n_train", "share", "trainings", "uses_up", "budget_limited")
        found = {name: described[name] for name in kept}
        found["tests"] = {test: self._tested(arm, test) for test in self.scores.tests_of(arm)}
        found["versus_reference"] = None
        return found

    def _tested(self, arm: str, test: str) -> dict:
        found: dict = {"outcomes": {name: self.estimate(name, arm, test).to_json() for name in self.reported}}
        if self.settings.kind == "classification":
            count, truth = len(self.settings.classes), self.labels(test)
            matrices = [classification.confusion(truth, row, count) for row in self.decided(arm, test)]
            found["confusion"] = np.mean(matrices, axis=0).tolist()
            found["recall"] = {
                name: self.recall(arm, test, label).to_json() for label, name in enumerate(self.settings.classes)
            }
        return found

    def trainings(self, *arms: str) -> int:
        """Trainings of an arm's generator; of several arms, that of most."""
        return max(self.summary["arms"][arm]["trainings"] for arm in arms)

    def between(self, name: str, first: tuple[str, str], second: tuple[str, str]) -> statistics.SeedTest:
        """The difference second − first in one outcome, by seed or by the trainings of a generator, of two (arm, test)
        on one test set or on two of different patients."""
        if first[1] == second[1]:
            measured = self.measured(name, [first, second])
        else:
            measured = beside(self.measured(name, [first]), self.measured(name, [second]))
        contrast = statistics.paired(self.seeds, self.trainings(first[0], second[0]))
        return statistics.readers_test(measured, contrast, level=self.level)


# -------------------------------------------------------------------------------------------- against the real arm
def _versus(table: _Table) -> dict[str, dict]:
    """arm → its `versus_reference`."""
    others = [arm for arm in table.arms if arm != REAL]
    found, also = _on(table, TEST, others), _also(table, others)
    elsewhere = {}
    for test in (SMALL, SECOND):
        if test in table.cases:
            try:
                elsewhere[test] = _on(table, test, others)
            except InputError as error:  # too few patients, say; nothing is decided on that test
                logger.warning("%s: no differences from the real arm: %s", test, error)
    for arm, versus in found.items():
        versus |= {"also": also[arm], "elsewhere": {test: of_arms[arm] for test, of_arms in elsewhere.items()}}
        word, title = versus["verdict"] or versus["reason"], OUTCOMES[table.settings.outcome].title
        difference = versus["outcomes"][table.settings.outcome]["difference"]["value"]
        logger.info("%s: %s %+.3f, %s", arm, title, difference, word)
    return found


def _on(table: _Table, test: str, others: list[str]) -> dict[str, dict]:
    """arm → its differences from the real arm on one test, and the word that they give."""
    settings, outcome = table.settings, OUTCOMES[table.settings.outcome]
    tests = {name: {arm: table.between(name, (REAL, test), (arm, test)) for arm in others} for name in table.reported}
    described = table.summary["arms"]
    families = verdict.families({arm: (described[arm]["kind"], described[arm]["set"]) for arm in others})
    decided = verdict.decide(
        tests[outcome.name],
        families,
        alpha=settings.alpha,
        margin=settings.margin,
        seeds=table.seeds,
        trainings={arm: table.trainings(arm) for arm in others},
        higher_is_better=outcome.higher_is_better,
    )
    count = len(table.cases[test].images)
    return {
        arm: {
            "outcomes": {name: _difference(tests[name][arm], count) for name in table.reported},
            "p": tests[outcome.name][arm].p,
            **_words(decided[arm], families[arm]),
        }
        for arm in others
    }


def _words(words: verdict.Verdict, family: str) -> dict:
    return {
        "p_holm": words.p_holm,
        "p_equivalent": words.p_equivalent,
        "family": family,
        "verdict": words.word,
        "reason": words.reason,
        "equivalent": words.equivalent,
    }


def _difference(test: statistics.SeedTest, cases: int) -> dict:
    return {"difference": test.estimate(cases).to_json(), "p": test.p}


def _also(table: _Table, arms: list[str]) -> dict[str, dict]:
    """What other tests say of the arms, for readers who know them: they answer narrower questions and decide nothing.

    Bootstrap of patients and seeds, or of patients and a generator's trainings (of areas under the curve); DeLong on
    probabilities averaged over the seeds, which takes these trainings as given; McNemar on their majority's decisions.
    """
    if table.settings.kind != "classification" or len(table.settings.classes) != 2:
        return {arm: {} for arm in arms}
    positive, patients = table.labels(TEST) == table.positive, table.cases[TEST].patients
    scores = {arm: table.scores.values[arm, TEST][:, :, table.positive] for arm in (REAL, *arms)}

    @cache
    def resampled(arm: str, trainings: int) -> np.ndarray:
        rng = np.random.default_rng(table.settings.seed)  # the same patients for all
        draws = statistics.two_level_resamples(
            positive, patients, table.seeds, table.settings.resamples, rng, trainings
        )
        return statistics.bootstrap_auroc(scores[arm], positive, draws)

    right = {arm: table.majority(arm) == table.labels(TEST) for arm in scores}
    found = {}
    for arm in arms:
        trainings = table.trainings(arm)
        differences = resampled(arm, trainings) - resampled(REAL, trainings)
        value = float(np.mean([classification.auroc(row, positive) for row in scores[arm]])) - float(
            np.mean([classification.auroc(row, positive) for row in scores[REAL]])
        )
        tail = (1 - table.level) / 2
        low, high = (float(end) for end in np.quantile(differences, [tail, 1 - tail]))
        delong = statistics.delong_test(scores[REAL].mean(axis=0), scores[arm].mean(axis=0), positive, patients)
        mcnemar = statistics.mcnemar(right[REAL], right[arm])
        found[arm] = {
            "bootstrap": {
                "difference": Estimate(value, low, high, len(positive)).to_json(),
                "p": statistics.bootstrap_p(differences),
            },
            "delong": {"difference": Estimate(delong.difference, n=len(positive)).to_json(), "p": delong.p},
            "mcnemar": {
                "difference": Estimate(float(right[arm].mean() - right[REAL].mean()), n=len(positive)).to_json(),
                "p": mcnemar.exact,
            },
        }
    return found


# -------------------------------------------------------------------------------------------- against one another
def _comparisons(table: _Table) -> list[dict]:
    """TRTR, TSTR and TSTS with one another, where an arm replaces the real images; else none. Words as for any arm."""
    swap = table.summary["swap"]
    if swap is None:
        return []
    cells = {"TRTR": (REAL, TEST), "TSTR": (swap, TEST), "TSTS": (swap, swap)}
    pairs = [("TRTR", "TSTR"), ("TRTR", "TSTS"), ("TSTR", "TSTS")]
    return _compared(table, {(first, second): (cells[first], cells[second]) for first, second in pairs}, "replaced")


def _compared(
    table: _Table, pairs: Mapping[tuple[str, str], tuple[tuple[str, str], tuple[str, str]]], family: str
) -> list[dict]:
    """Differences second − first with their words. pairs: names → (arm, test) of both; all are one family."""
    tests = {names: {name: table.between(name, *cells) for name in table.reported} for names, cells in pairs.items()}
    outcome = OUTCOMES[table.settings.outcome]
    decided = verdict.decide(
        {names: found[outcome.name] for names, found in tests.items()},
        dict.fromkeys(pairs, family),
        alpha=table.settings.alpha,
        margin=table.settings.margin,
        seeds=table.seeds,
        trainings={names: table.trainings(first[0], second[0]) for names, (first, second) in pairs.items()},
        higher_is_better=outcome.higher_is_better,
    )
    return [
        {
            "names": list(names),
            "first": list(first),
            "second": list(second),
            "outcomes": {
                name: _difference(test, sum(len(table.cases[one].images) for one in {first[1], second[1]}))
                for name, test in tests[names].items()
            },
            "p": tests[names][outcome.name].p,
            **_words(decided[names], family),
        }
        for names, (first, second) in pairs.items()
    ]

"""What the answers of a reader study show: whether people tell synthetic images from real ones, and what drives them.

Seed 003 prints a confusion matrix and four rates of each reader and no test (its Tables 4.3 and 4.4); its first expert
is right in 132 of 200 images, which guessing reaches once in 150,000 studies. Here every reader is tested against
guessing, all together with readers and images as random (Obuchowski & Rockette 1995, as trainings elsewhere), and that
they cannot tell is said only by a test of equivalence.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta
from scipy import special

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, write_json
from synthmed.core.settings import Fraction, Level
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.metrics import outcomes
from synthmed.metrics.classification import share_estimate
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.reading import detectable, detection, equivalence_power, fisher_p, guessing_p
from synthmed.metrics.statistics import case_mean, equivalence_p, mean_estimate, paired, readers_test
from synthmed.readers.study import SYNTHETIC, Roles, Study, read_study

logger = logging.getLogger(__name__)

CHANCE = 0.5
NOT_ALL = "not every reader answered"


@dataclass(frozen=True)
class AnalysisOptions:
    """The analysis of a reader study."""

    roles: Roles
    diagnosing: Annotated[
        tuple[str, ...],
        Meta(min_length=1, description="Backgrounds of readers whose diagnoses count (seed 003: dermatologists)."),
    ]
    margin: Annotated[
        Fraction,
        Meta(
            description="Readers are said not to tell if their balanced accuracy lies within ½ ± this (seed 003: 0.05)."
        ),
    ]
    alpha: Annotated[Fraction, Meta(description="Level of the tests.")]
    level: Level


@dataclass(frozen=True)
class AnalysisSettings(AnalysisOptions):
    """Settings of `analyse-readers`."""


@dataclass(frozen=True)
class Answers:
    """Answers of R readers to N items. readers: (code, background, simulated, comment) of each; given: question → str
    (R, N); items: rows of the key, in the order of the columns; patients (N,)."""

    readers: list[tuple[str, str, bool, str]]
    given: dict[str, np.ndarray]
    items: list[dict[str, str]]

    @property
    def patients(self) -> np.ndarray:
        return np.array([row["patient"] for row in self.items])

    @property
    def synthetic(self) -> np.ndarray:
        return np.array([row["synthetic"] == "yes" for row in self.items])


def read_answers(path: Path, study: Study, key: Path) -> Answers:
    """What `merge-answers` wrote, beside the key. Raises InputError when the files are not of one study."""
    rows, items = read_csv(path), ImageSet(key).rows
    order = [row["image"].removesuffix(".png") for row in items]
    codes = list(dict.fromkeys(row["code"] for row in rows))
    place = {(row["code"], row["item"]): row for row in rows}
    if order != list(study.items) or set(place) != {(code, item) for code in codes for item in order}:
        raise InputError(f"{path}: not the answers to {key}; run merge-answers again")
    given = {
        name: np.array([[place[code, item][name] for item in order] for code in codes]) for name in study.questions
    }
    first = {row["code"]: row for row in reversed(rows)}
    about = [
        (code, first[code]["background"], first[code]["simulated"] == "yes", first[code]["comment"]) for code in codes
    ]
    return Answers(about, given, items)


# ----------------------------------------------------------------------------------------------------------- the step
@step("analyse-readers")
def analyse_readers(settings: AnalysisSettings, *, study: Path, key: Path, answers: Path, out: Output) -> None:
    """Analyse a reader study.

    study, key: of `draw-study`; answers: of `merge-answers`. out: JSON: `readers`, `pooled`, `images` (how many
    readers called each synthetic, and how certain they were on average), `certainty`, `diagnosis`, `tags`, `scores`;
    numbers as Estimate. Raises InputError when the files do not belong together.
    """
    asked = read_study(study)
    settings.roles.check(asked)
    found = read_answers(answers, asked, key)
    called = found.given[settings.roles.synthetic] == SYNTHETIC
    write_json(
        out,
        {
            "count": len(found.items),
            "synthetic": int(found.synthetic.sum()),
            "margin": settings.margin,
            "alpha": settings.alpha,
            "level": settings.level,
            "readers": [_reader(settings, found, called[number], number) for number in range(len(called))],
            "pooled": pooled(called, found.synthetic, found.patients, settings),
            "images": _images(settings, asked, found, called),
            "certainty": _certainty(settings, asked, found, called),
            "diagnosis": _diagnosis(settings, asked, found),
            "tags": _tags(found, called, settings.level),
            "scores": _scores(settings, asked, found),
        },
    )
    logger.info("%s: %d readers of %d images", out, len(called), len(found.items))


def _reader(settings: AnalysisSettings, answers: Answers, called: np.ndarray, number: int) -> dict:
    """One reader; positive = called synthetic. `p`: against guessing, by the exact binomial test where half of the
    images are synthetic, else by Fisher's (see fisher_p)."""
    code, background, simulated, comment = answers.readers[number]
    truth, level = answers.synthetic, settings.level
    tp, fp = int((called & truth).sum()), int((called & ~truth).sum())
    fn, tn = int(truth.sum()) - tp, int((~truth).sum()) - fp
    seen = detection(tp, tp + fn, fp, fp + tn)
    half = float(special.ndtri((1 + level) / 2)) * seen.error
    return {
        "code": code,
        "background": background,
        "simulated": simulated,
        "comment": comment,
        "confusion": {"tp": tp, "fp": fp, "fn": fn, "tn": tn},
        "accuracy": share_estimate(tp + tn, len(truth), level).to_json(),
        "p": guessing_p(tp + tn, len(truth)) if 2 * (tp + fn) == len(truth) else fisher_p(tp, fn, fp, tn),
        "sensitivity": share_estimate(tp, tp + fn, level).to_json(),
        "specificity": share_estimate(tn, fp + tn, level).to_json(),
        "precision": share_estimate(tp, tp + fp, level).to_json(),
        "d_prime": Estimate(seen.d_prime, seen.d_prime - half, seen.d_prime + half, len(truth)).to_json(),
        "bias": seen.bias,
    }


def pooled(called: np.ndarray, synthetic: np.ndarray, patients: np.ndarray, settings: AnalysisSettings) -> dict:
    """All readers together, readers and images as random; called bool (R, N): said to be synthetic.

    `p`: that the mean balanced accuracy is ½; `equivalence_p`: that it is not within ½ ± margin (two one-sided tests);
    `power`: of that test where it is exactly ½, and `detectable`: the distance from ½ that the first test finds with 80
    %, both with the error that was found. With one reader his chance is not in it.
    """
    decided, truth, level = called.astype(int), synthetic.astype(int), settings.level
    balanced = outcomes.balanced_accuracy(decided, truth, patients, 1)
    test = readers_test(balanced, np.eye(len(called)), level=level, null=CHANCE)
    found = {
        "readers": len(called),
        "balanced_accuracy": mean_estimate(balanced, level=level).to_json(),
        "sensitivity": mean_estimate(outcomes.sensitivity(decided, truth, patients, 1), level=level).to_json(),
        "specificity": mean_estimate(outcomes.specificity(decided, truth, patients, 1), level=level).to_json(),
        "p": test.p,
        "equivalence_p": equivalence_p(test, settings.margin, CHANCE),
        "power": None,
        "detectable": None,
    }
    if test.error > 0:
        found["power"] = equivalence_power(test.error, test.degrees, settings.margin, settings.alpha)
        found["detectable"] = detectable(test.error, test.degrees, settings.alpha)
    seen = [
        detection(int(row[synthetic].sum()), int(synthetic.sum()), int(row[~synthetic].sum()), int((~synthetic).sum()))
        for row in called
    ]
    return found | {"d_prime": float(np.mean([one.d_prime for one in seen]))}


def _certain(settings: AnalysisSettings, study: Study, answers: Answers) -> np.ndarray:
    """How certain each reader was of each image, (R, N) float: 1 for the first answer of that question, 2 for the
    second, and so on; nan where it was not answered, or is not asked."""
    name = settings.roles.certainty
    if name is None:
        return np.full((len(answers.readers), len(answers.items)), np.nan)
    place = {value: number for number, value in enumerate(study.questions[name].answers, 1)}
    return np.array([[place[value] if value else np.nan for value in row] for row in answers.given[name]])


def _images(settings: AnalysisSettings, study: Study, answers: Answers, called: np.ndarray) -> dict:
    """How many readers called each image synthetic, how certain those who said so were on average (seed 003, Figure
    4.15; None: nobody said), and how often edited images were called synthetic."""
    edited = np.array([row["edited"] == "yes" for row in answers.items])
    recognised = {}
    for name, where in (("edited", edited), ("not_edited", answers.synthetic & ~edited)):
        values = called[:, where].mean(axis=0)
        recognised[name] = case_mean(values, answers.patients[where], level=settings.level).to_json()
    certain = [values[~np.isnan(values)] for values in _certain(settings, study, answers).T]
    rows = [
        {"item": row["image"], "label": row["label"], "set": row["set"], "synthetic": row["synthetic"] == "yes"}
        | {"edited": row["edited"] == "yes", "called": int(count)}
        | {"certainty": float(said.mean()) if len(said) else None}
        for row, count, said in zip(answers.items, called.sum(axis=0), certain, strict=True)
    ]
    return {"items": rows, "recognised": recognised}


def _certainty(settings: AnalysisSettings, study: Study, answers: Answers, called: np.ndarray) -> dict | None:
    """Share of right answers at each level of certainty, and whether more of it means being right more often."""
    name = settings.roles.certainty
    if name is None:
        return None
    given, right = _certain(settings, study, answers), called == answers.synthetic
    patients = np.broadcast_to(answers.patients, right.shape)
    steps = []
    for number, (value, words) in enumerate(study.questions[name].answers.items(), 1):
        where = given == number
        share = case_mean(right[where].astype(float), patients[where], level=settings.level)
        steps.append({"certainty": value, "words": words, "right": share.to_json()})
    known = ~np.isnan(given)
    scores = given[known][None]
    try:
        area = mean_estimate(
            outcomes.area_under_curve(scores, right[known], patients[known]), level=settings.level
        ).to_json()
    except InputError as error:  # all answers right, or all wrong
        area = Estimate.missing(str(error)).to_json()
    return {"steps": steps, "area": area, "mean": float(scores.mean()) if known.any() else None}


def _diagnosis(settings: AnalysisSettings, study: Study, answers: Answers) -> dict | None:
    """Diagnosis against class, of real and of synthetic images, and the difference of balanced accuracies.

    `blank`: how many diagnoses of the images of each class were not given; what they would count in is not computed.
    """
    name = settings.roles.diagnosis
    chosen = [n for n, (_, background, *_) in enumerate(answers.readers) if background in settings.diagnosing]
    if name is None or not chosen:
        return None
    classes, labels = list(study.questions[name].answers), np.array([row["label"] for row in answers.items])
    if strange := sorted(set(labels) - set(classes)):
        raise InputError(
            f"setting roles.diagnosis is {name!r}, which has no answer {strange[0]!r}, the label of an image"
        )
    decided = np.array(
        [[classes.index(value) if value else -1 for value in row] for row in answers.given[name][chosen]]
    )
    truth, measured, found = np.array([classes.index(label) for label in labels]), [], {}
    for kind, where in (("real", ~answers.synthetic), ("synthetic", answers.synthetic)):
        counts = [
            [int((decided[:, where & (truth == t)] == d).sum()) for d in range(len(classes))]
            for t in range(len(classes))
        ]
        measured.append(outcomes.balanced_accuracy(decided[:, where], truth[where], answers.patients[where], 0))
        blank = [int((decided[:, where & (truth == t)] < 0).sum()) for t in range(len(classes))]
        accuracy = mean_estimate(measured[-1], level=settings.level)
        found[kind] = {
            "confusion": counts,
            "blank": blank,
            "balanced_accuracy": (Estimate.missing(NOT_ALL) if any(blank) else accuracy).to_json(),
        }
    test = readers_test(outcomes.beside(*measured), paired(len(chosen)), level=settings.level)
    complete = bool((decided >= 0).all())
    difference = test.estimate(len(truth)) if complete else Estimate.missing(NOT_ALL)
    return {
        **found,
        "classes": classes,
        "readers": len(chosen),
        "difference": difference.to_json(),
        "p": test.p if complete else None,
    }


def _tags(answers: Answers, called: np.ndarray, level: float) -> list[dict]:
    """Whether what is seen in an image drives the answer: of every column of yes and no, how much more often images
    that have it are called synthetic than others of their kind (real or synthetic), readers and images as random. Of a
    column that some images leave empty, as nobody looked at them, only the `known` count."""
    found, own = [], {"synthetic", "edited"}
    for name in [name for name in answers.items[0] if name not in own]:
        cells = np.array([row[name] for row in answers.items])
        known = cells != ""
        if set(cells[known]) != {"yes", "no"}:
            continue
        has = cells[known] == "yes"
        row = {"tag": name, "images": int(has.sum()), "known": int(known.sum())}
        try:
            measured = outcomes.adjusted_difference(
                called[:, known], has, answers.synthetic[known], answers.patients[known]
            )
        except InputError as error:
            found.append(row | {"difference": Estimate.missing(str(error)).to_json(), "p": None})
            continue
        test = readers_test(measured, np.eye(len(called)), level=level)
        found.append(row | {"difference": test.estimate(len(has)).to_json(), "p": test.p})
    return found


def _scores(settings: AnalysisSettings, study: Study, answers: Answers) -> list[dict]:
    """Mean of every score for each set and label, readers and images as random."""
    found = []
    groups = dict.fromkeys((row["set"], row["label"]) for row in answers.items)
    for name in settings.roles.scores:
        possible = [float(answer) for answer in study.questions[name].answers]
        for group in sorted(groups):
            where = np.array([(row["set"], row["label"]) == group for row in answers.items])
            values = np.array(
                [[float(value) if value else np.nan for value in row] for row in answers.given[name][:, where]]
            )
            if np.isnan(values).any():
                mean = Estimate.missing(NOT_ALL)
            elif len(set(answers.patients[where])) < 2:
                mean = Estimate(float(values.mean()), n=values.shape[1], reason="one patient only, who has no spread")
            else:
                measured = outcomes.mean_of_cases(values, answers.patients[where])
                mean = readers_test(
                    replace(measured, bounds=(min(possible), max(possible))), np.eye(len(values)), level=settings.level
                ).estimate()
            found.append({"question": name, "set": group[0], "label": group[1], "mean": mean.to_json()})
    return found

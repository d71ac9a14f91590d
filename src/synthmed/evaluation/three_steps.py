"""Step 3 of the three steps: what a classifier that saw only generated images is worth on real ones.

Seed 004 (M. Kim 2021), sections 2.3 and 2.4. Four experiments: classifier (real) on the real test images; classifier
(synthetic) on the synthetic test images; classifier (synthetic) on the real ones, which is the question; and classifier
(real) on the synthetic ones, which it labelled itself, so that they are separable for it by construction.

Which numbers answer what: areas, sensitivities and so on are means over the trainings (seeds), and their intervals and
the verdict count chance in the trainings and in the patients. DeLong and Hanley-McNeil, the tests of the document's
kind, are made on the likelihood averaged over the seeds: they take the trainings as given.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from synthmed.classifiers import network
from synthmed.core.errors import InputError
from synthmed.core.files import write_csv, write_json
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.metrics import classification, statistics
from synthmed.training.device import choose_device

logger = logging.getLogger(__name__)

REAL, SYNTHETIC = "real", "synthetic"
EXPERIMENTS = {
    "real_on_real": (REAL, REAL),
    "synthetic_on_synthetic": (SYNTHETIC, SYNTHETIC),
    "synthetic_on_real": (SYNTHETIC, REAL),
    "real_on_synthetic": (REAL, SYNTHETIC),
}
"""Name → (what the classifier was trained on, what it is tested on)."""

COLUMNS = ("classifier", "test", "seed", "image", "patient", "label", "likelihood", "called")
"""Of the predictions CSV."""

SUPERIOR, INFERIOR, EQUIVALENT, NO_EVIDENCE = "superior", "inferior", "equivalent", "no evidence of a difference"
RULE = (
    "The second area is compared with the first. When the whole {level:g} % interval of the difference lies within "
    "±{margin:g}, they are 'equivalent', whatever the p value; otherwise a p of at most {alpha:g} says 'superior' or "
    "'inferior', and everything else 'no evidence of a difference'. A difference that is not significant is not "
    "equality: only the interval can show that. The interval counts chance in the trainings and in the patients."
)


@dataclass(frozen=True)
class ThreeStepsSettings:
    """classes: the two labels, in order; positive: the one that is an output of both classifiers.

    alpha: level of the tests, 1 − alpha that of the intervals; margin: largest difference of areas that counts as
    equivalent; resamples, seed: of the bootstrap of sensitivity, specificity and accuracy. batch_size: images at once.
    """

    classes: tuple[str, ...]
    positive: str
    alpha: float
    margin: float
    resamples: int
    seed: int
    batch_size: int
    threads: int
    device: Literal["auto", "cpu", "cuda"]

    def check(self) -> None:
        """Raise InputError when a value is out of range."""
        if len(self.classes) != 2 or self.positive not in self.classes:
            raise InputError(
                f"settings classes {list(self.classes)} and positive {self.positive!r}: give two classes, one of them "
                "the positive"
            )
        if not 0 < self.alpha < 1 or not self.margin > 0:
            raise InputError(f"settings alpha {self.alpha} must lie between 0 and 1, margin {self.margin} above 0")
        for name in ("resamples", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"setting {name} is {getattr(self, name)}; it must be 1 or more")


@dataclass(frozen=True)
class Cases:
    """Test images: names, patients (N,), and which are positive, bool (N,)."""

    images: list[str]
    patients: np.ndarray
    positive: np.ndarray


@step("three-steps")
def three_steps(
    settings: ThreeStepsSettings,
    *,
    real_classifier: Path,
    synthetic_classifier: Path,
    test: Path,
    synthetic: Path,
    predictions: Output,
    summary: Output,
) -> None:
    """Compare classifiers trained on real and on synthetic images, on the same real test images.

    real_classifier, synthetic_classifier: from `train-classifier`, with equally many seeds (2 or more); test: the real
    test images; synthetic: from `pseudo-label`, of which the part `test` is used.

    predictions: CSV (COLUMNS), one row for each classifier, test set, seed and image; `called` is 1 when the likelihood
    reaches the threshold that was chosen on the classifier's own validation images. summary: JSON. Each experiment:
    counts, thresholds, `auroc` (mean over seeds with interval), `auroc_of_mean_likelihood`, `sensitivity`,
    `specificity`, `accuracy`, `confusion` ([[true negatives, false positives], [false negatives, true positives]] for
    each seed and their mean, which is what tables print: what one training is expected to give), `roc_by_seed`
    (false-positive and true-positive rates). `comparisons`: see `compare`.

    Raises InputError when a classifier lacks the output, the classifiers differ in their number of seeds, or a test set
    has no image of a class.
    """
    settings.check()
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    classifiers = {
        name: network.load(path).to(device)
        for name, path in ((REAL, real_classifier), (SYNTHETIC, synthetic_classifier))
    }
    outputs = {name: trained.position(settings.positive) for name, trained in classifiers.items()}
    seeds = {name: len(trained.models) for name, trained in classifiers.items()}
    if len(set(seeds.values())) > 1 or min(seeds.values()) < 2:
        raise InputError(
            f"{real_classifier} has {seeds[REAL]} seeds, {synthetic_classifier} {seeds[SYNTHETIC]}; both need equally "
            "many, and 2 or more: chance in the trainings is part of every interval"
        )
    sets = {REAL: ImageSet(test), SYNTHETIC: ImageSet(synthetic)}
    rows = {
        REAL: list(range(len(sets[REAL]))),
        SYNTHETIC: [row for row, part in enumerate(sets[SYNTHETIC].column("part")) if part == "test"],
    }
    cases = {name: _cases(images, rows[name], settings) for name, images in sets.items()}

    scores, thresholds, table = {}, {}, []
    for key, (classifier, tested) in EXPERIMENTS.items():
        trained, output = classifiers[classifier], outputs[classifier]
        scores[key] = network.predict_set(trained, sets[tested], settings.batch_size, rows[tested])[:, :, output]
        thresholds[key] = trained.thresholds[:, output]
        table += _prediction_rows(classifier, tested, cases[tested], scores[key], thresholds[key], settings)
        logger.info("%s: %d images, %d seeds", key, len(cases[tested].images), len(scores[key]))
    write_csv(predictions, table, COLUMNS)

    results, areas = {}, {}
    for key, (classifier, tested) in EXPERIMENTS.items():
        areas[key] = statistics.seeds_area(
            scores[key], cases[tested].positive, cases[tested].patients, level=1 - settings.alpha
        )
        results[key] = {"classifier": classifier, "test": tested} | describe(
            scores[key], thresholds[key], cases[tested], areas[key], settings
        )
        logger.info("%s: AUROC %.4f", key, areas[key].value)
    comparisons = {
        "synthetic_on_real - real_on_real": compare_same_cases(
            scores["real_on_real"], scores["synthetic_on_real"], cases[REAL], settings
        ),
        "synthetic_on_synthetic - real_on_real": compare_different_cases(
            ("real_on_real", "synthetic_on_synthetic"), scores, areas, cases, settings
        ),
        "synthetic_on_synthetic - synthetic_on_real": compare_different_cases(
            ("synthetic_on_real", "synthetic_on_synthetic"), scores, areas, cases, settings
        ),
    }
    write_json(
        summary,
        {
            "classes": list(settings.classes),
            "positive": settings.positive,
            "alpha": settings.alpha,
            "margin": settings.margin,
            "seeds": seeds[REAL],
            "architectures": {name: trained.architecture for name, trained in classifiers.items()},
            "threshold_rule": network.THRESHOLD_RULE,
            "rule": RULE.format(level=100 * (1 - settings.alpha), margin=settings.margin, alpha=settings.alpha),
            "experiments": results,
            "comparisons": comparisons,
        },
    )


def _cases(images: ImageSet, rows: list[int], settings: ThreeStepsSettings) -> Cases:
    labels = images.label_indices(settings.classes)[rows]
    for position, name in enumerate(settings.classes):
        if not (labels == position).any():
            raise InputError(
                f"{images.path}: the {len(rows)} test images hold none of the class {name!r}; without both classes "
                "there is no ROC curve: add some, or label others"
            )
    patients = np.array(images.column("patient"))[rows]
    positive = labels == settings.classes.index(settings.positive)
    return Cases([images.rows[row]["image"] for row in rows], patients, positive)


def _prediction_rows(
    classifier: str,
    tested: str,
    cases: Cases,
    scores: np.ndarray,
    thresholds: np.ndarray,
    settings: ThreeStepsSettings,
) -> list[dict]:
    (negative,) = (name for name in settings.classes if name != settings.positive)
    return [
        {
            "classifier": classifier,
            "test": tested,
            "seed": seed,
            "image": image,
            "patient": patient,
            "label": settings.positive if positive else negative,
            "likelihood": round(float(value), 8),
            "called": int(value >= thresholds[seed]),
        }
        for seed, of_seed in enumerate(scores)
        for image, patient, positive, value in zip(cases.images, cases.patients, cases.positive, of_seed, strict=True)
    ]


# ------------------------------------------------------------------------------------------------- one experiment
def describe(
    scores: np.ndarray, thresholds: np.ndarray, cases: Cases, area: statistics.SeedArea, settings: ThreeStepsSettings
) -> dict:
    """Everything about one experiment, see three_steps. scores: (S, N); thresholds: (S,)."""
    positive, patients = cases.positive, cases.patients
    called = scores >= thresholds[:, None]
    right = called == positive
    rng = np.random.default_rng(settings.seed)
    draws = statistics.two_level_resamples(positive, patients, len(scores), settings.resamples, rng)
    everyone = np.ones(len(positive), dtype=bool)
    confusions = [classification.confusion(positive.astype(int), row.astype(int), 2) for row in called]
    curves = [classification.roc_curve(row, positive) for row in scores]
    by_seed = [classification.auroc(row, positive) for row in scores]
    reason = None
    if area.low is None:
        perfect = "no case was ordered wrongly by any training"
        reason = (
            f"{perfect if area.value == 1 else 'its scores leave no variance to estimate'}, so there is no interval"
        )
    return {
        "images": len(positive),
        "patients": len(np.unique(patients)),
        "positives": int(positive.sum()),
        "negatives": int((~positive).sum()),
        "thresholds": thresholds.tolist(),
        "auroc": {"value": area.value, "low": area.low, "high": area.high, "reason": reason, "by_seed": by_seed},
        "auroc_of_mean_likelihood": classification.auroc(scores.mean(axis=0), positive),
        "sensitivity": _share(called, positive, patients, draws, settings),
        "specificity": _share(~called, ~positive, patients, draws, settings),
        "accuracy": _share(right, everyone, patients, draws, settings),
        "confusion": {
            "mean": np.mean(confusions, axis=0).tolist(),
            "by_seed": [counts.tolist() for counts in confusions],
        },
        "roc_by_seed": [
            {"false_positive_rate": false.tolist(), "true_positive_rate": true.tolist()} for false, true, _ in curves
        ],
    }


def _share(
    hits: np.ndarray,
    where: np.ndarray,
    patients: np.ndarray,
    draws: statistics.Resamples,
    settings: ThreeStepsSettings,
) -> dict[str, float]:
    """Share of hits, bool (S, N), among the cases `where`, mean over seeds, with its interval.

    The bootstrap of patients and seeds; where every training was right everywhere, or nowhere, it has no spread and the
    exact binomial interval of the number of patients stands in.
    """
    level = 1 - settings.alpha
    value = float(hits[:, where].mean())
    if value in (0.0, 1.0):
        trials = len(np.unique(patients[where]))
        exact = classification.clopper_pearson(round(value * trials), trials, level)
        low, high = exact.low, exact.high
    else:
        tail = settings.alpha / 2
        low, high = np.quantile(statistics.bootstrap_share(hits, where, draws), [tail, 1 - tail])
    return {"value": value, "low": float(low), "high": float(high), "by_seed": hits[:, where].mean(axis=1).tolist()}


# ----------------------------------------------------------------------------------------------------- comparisons
def verdict(test: statistics.SeedTest, *, alpha: float, margin: float) -> str:
    """The word on a difference (see RULE), from a test whose interval has the level 1 − alpha.

    Without any error (no case ordered wrongly by any training of both) nothing can be estimated: no evidence.
    """
    if test.error == 0:
        return NO_EVIDENCE
    if -margin < test.low and test.high < margin:
        return EQUIVALENT
    if test.p <= alpha:
        return SUPERIOR if test.difference > 0 else INFERIOR
    return NO_EVIDENCE


def _decided(test: statistics.SeedTest, settings: ThreeStepsSettings) -> dict:
    """Difference, p and verdict; without any error there is neither interval nor p."""
    known = test.error > 0
    return {
        "difference": {
            "value": test.difference,
            "low": test.low if known else None,
            "high": test.high if known else None,
        },
        "p": test.p if known else None,
        "verdict": verdict(test, alpha=settings.alpha, margin=settings.margin),
    }


def _plain(test: statistics.Test) -> dict[str, float]:
    return {"difference": test.difference, "error": test.error, "p": test.p}


def compare_same_cases(first: np.ndarray, second: np.ndarray, cases: Cases, settings: ThreeStepsSettings) -> dict:
    """Two classifiers (S, N) on the same cases: the verdict by trainings as readers, and beside it, on the likelihoods
    averaged over the seeds, DeLong (clustered by patient) and Hanley-McNeil 1983 (each image a case of its own)."""
    test = statistics.seeds_test(first, second, cases.positive, cases.patients, level=1 - settings.alpha)
    one, other = first.mean(axis=0), second.mean(axis=0)
    areas = [classification.auroc(values, cases.positive) for values in (one, other)]
    correlation = statistics.hanley_mcneil_correlation(one, other, cases.positive)
    counts = int(cases.positive.sum()), int((~cases.positive).sum())
    return {
        "cases": "the same",
        "trainings": "different",
        **_decided(test, settings),
        "of_mean_likelihood": {
            "areas": areas,
            "delong": _plain(statistics.delong_test(one, other, cases.positive, cases.patients)),
            "hanley_mcneil_1983": _plain(statistics.hanley_mcneil_paired(*areas, counts, correlation))
            | {"correlation": correlation},
        },
    }


def compare_different_cases(
    pair: tuple[str, str],
    scores: Mapping[str, np.ndarray],
    areas: Mapping[str, statistics.SeedArea],
    cases: Mapping[str, Cases],
    settings: ThreeStepsSettings,
) -> dict:
    """Two experiments on different test sets: the seed-averaged areas for the verdict (the same trainings seed by
    seed, different ones by Welch's t), and Hanley-McNeil 1982 on the likelihoods averaged over the seeds."""
    level = 1 - settings.alpha
    tested = [cases[EXPERIMENTS[key][1]] for key in pair]
    same = EXPERIMENTS[pair[0]][0] == EXPERIMENTS[pair[1]][0]
    if same:
        scored = [
            statistics.Scored(scores[key], one.positive, one.patients) for key, one in zip(pair, tested, strict=True)
        ]
        test = statistics.seeds_two_sets(*scored, level=level)
    else:
        test = statistics.seeds_independent(areas[pair[0]], areas[pair[1]], level=level)
    means = [
        classification.auroc(scores[key].mean(axis=0), one.positive) for key, one in zip(pair, tested, strict=True)
    ]
    counts = [(int(one.positive.sum()), int((~one.positive).sum())) for one in tested]
    return {
        "cases": "different",
        "trainings": "the same" if same else "different",
        **_decided(test, settings),
        "of_mean_likelihood": {
            "areas": means,
            "hanley_mcneil_1982": _plain(statistics.hanley_mcneil_independent(*means, *counts)),
        },
    }

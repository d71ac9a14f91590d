"""From the predictions of all arms to a verdict on each."""

import csv
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.core.step import Output, step
from synthmed.metrics import classification, statistics, verdict

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompareSettings:
    """What is compared with what.

    classes: class names in the order of the probabilities; positive: the class whose area under the curve decides;
    threshold: probability from which a case is called positive (with more than two classes the largest probability
    decides instead); real: name of the reference arm; alpha: family-wise level of the verdicts, and 1 − alpha that of
    every interval; margin: largest difference of areas that counts as equivalent; resamples: bootstrap resamples; seed:
    of the resampling.
    """

    classes: tuple[str, ...]
    positive: str
    threshold: float
    real: str
    alpha: float
    margin: float
    resamples: int
    seed: int


@dataclass(frozen=True)
class Predictions:
    """Predictions of all arms on the same N test cases: probabilities {arm: float64 (S, N, K)}, labels int64 (N,)."""

    probabilities: dict[str, np.ndarray]
    seeds: tuple[str, ...]
    images: tuple[str, ...]
    patients: np.ndarray
    labels: np.ndarray


def read_predictions(path: Path, classes: tuple[str, ...]) -> Predictions:
    """Read a predictions CSV (arm, seed, image, patient, label, p_<class> …), in any order of rows.

    Raises InputError when columns lack, a probability is no number in 0 … 1, a row occurs twice, an image changes its
    label or patient, or the arms differ in their seeds or test images.
    """
    columns = [f"p_{name}" for name in classes]
    cells: dict[tuple[str, str, str], list[float]] = {}
    facts: dict[str, tuple[str, str]] = {}
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    with open(path, newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        missing = {"arm", "seed", "image", "patient", "label", *columns} - set(reader.fieldnames or ())
        if missing:
            raise InputError(f"{path}: columns {sorted(missing)} are missing; are the classes {list(classes)} right?")
        for number, row in enumerate(reader, start=2):
            try:
                values = [float(row[column]) for column in columns]
            except (TypeError, ValueError) as error:
                raise InputError(f"{path}, line {number}: a probability is no number ({error})") from error
            if not all(0 <= value <= 1 for value in values):
                raise InputError(f"{path}, line {number}: probabilities {values} must lie in 0 … 1; did training fail?")
            key = (row["arm"], row["seed"], row["image"])
            if key in cells:
                raise InputError(f"{path}, line {number}: arm, seed and image {key} occur twice")
            if row["label"] not in classes:
                raise InputError(f"{path}, line {number}: unknown label {row['label']!r}; classes are {list(classes)}")
            if facts.setdefault(row["image"], (row["patient"], row["label"])) != (row["patient"], row["label"]):
                raise InputError(f"{path}, line {number}: image {row['image']!r} changed its patient or label")
            cells[key] = values
    if not cells:
        raise InputError(f"{path}: there are no predictions in it; run the classifiers again")
    arms = list(dict.fromkeys(arm for arm, _, _ in cells))
    seeds, images = sorted({seed for _, seed, _ in cells}), sorted(facts)
    if len(cells) != len(arms) * len(seeds) * len(images):
        gap = next((a, s, i) for a in arms for s in seeds for i in images if (a, s, i) not in cells)
        raise InputError(f"{path}: no row for arm, seed, image {gap}; all arms need the same seeds and test images")
    return Predictions(
        {arm: np.array([[cells[arm, seed, image] for image in images] for seed in seeds]) for arm in arms},
        tuple(seeds),
        tuple(images),
        np.unique([facts[image][0] for image in images], return_inverse=True)[1],
        np.array([classes.index(facts[image][1]) for image in images]),
    )


def _check(settings: CompareSettings, predictions: Predictions, described: dict, path: Path) -> None:
    arms = set(predictions.probabilities)
    if settings.positive not in settings.classes:
        raise InputError(f"setting positive is {settings.positive!r}; choose one of {list(settings.classes)}")
    for number, name in enumerate(settings.classes):
        if not (predictions.labels == number).any():
            raise InputError(f"{path}: no test image of the class {name!r}; without one nothing can be said of it")
    if settings.real not in arms:
        raise InputError(f"{path}: no arm {settings.real!r} (setting real); there are {sorted(arms)}")
    if set(described) != arms:
        raise InputError(
            f"the summary describes the arms {sorted(described)}, but {path} holds {sorted(arms)}; run both"
        )
    if len(predictions.seeds) < 2:
        raise InputError(
            f"{path}: one seed only; chance in the training cannot be told from an effect, train ≥ 5 seeds"
        )
    if len(predictions.seeds) < 5:
        logger.warning(
            "%d seeds only: the verdict holds its level but will rarely see an effect", len(predictions.seeds)
        )


def _decisions(probabilities: np.ndarray, positive: int, threshold: float) -> np.ndarray:
    """Decided class, int (S, N): by the threshold for two classes, else the largest probability."""
    if probabilities.shape[2] == 2:
        return np.where(probabilities[:, :, positive] >= threshold, positive, 1 - positive)
    return probabilities.argmax(axis=2)


def _interval(value: float, resampled: np.ndarray, level: float) -> dict[str, float]:
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return {"value": float(value), "low": float(low), "high": float(high)}


@step("compare")
def compare(settings: CompareSettings, *, predictions: Path, summary: Path, out: Output) -> None:
    """Compare every arm with the real one, with a verdict.

    Compare every arm with the real one and write the verdicts (JSON).

    predictions: CSV, see read_predictions; summary: JSON of the classifier step, whose "arms" describes every arm by
    its "kind" and "n_train" (training images). Raises InputError when the two do not fit together or a class lacks.

    Each arm: accuracy, AUROC, sensitivity, specificity (mean over seeds, with intervals from the bootstrap of patients
    and seeds) and decision counts (means over seeds). `versus_real`: `auroc_difference` and `p` by trainings as
    readers, which decide with `p_holm`; beside them the bootstrap of the same difference (`auroc_difference_bootstrap`,
    `p_bootstrap`), DeLong on seed-averaged scores (`p_delong`: these very trainings, averaged), the bootstrap of the
    accuracy, and McNemar on the seeds' majority decisions (`p_mcnemar` exact, `p_mcnemar_mid`).
    """
    table = read_predictions(predictions, settings.classes)
    described = read_json(summary).get("arms", {})
    _check(settings, table, described, predictions)
    level, positive = 1 - settings.alpha, settings.classes.index(settings.positive)
    is_positive, everyone = table.labels == positive, np.ones(len(table.labels), dtype=bool)
    logger.info("%d arms, %d seeds, %d test images", len(table.probabilities), len(table.seeds), len(table.images))
    draws = statistics.two_level_resamples(
        is_positive, table.patients, len(table.seeds), settings.resamples, np.random.default_rng(settings.seed)
    )
    scores = {arm: values[:, :, positive] for arm, values in table.probabilities.items()}
    decided = {arm: _decisions(p, positive, settings.threshold) for arm, p in table.probabilities.items()}
    boot_auroc = {arm: statistics.bootstrap_auroc(values, is_positive, draws) for arm, values in scores.items()}
    boot_accuracy = {
        arm: statistics.bootstrap_share(values == table.labels, everyone, draws) for arm, values in decided.items()
    }
    areas = {
        arm: float(np.mean([classification.auroc(s, is_positive) for s in values])) for arm, values in scores.items()
    }
    others = [arm for arm in scores if arm != settings.real]
    tests = {
        arm: statistics.seeds_test(scores[settings.real], scores[arm], is_positive, table.patients, level=level)
        for arm in others
    }
    families = verdict.families({arm: (described[arm]["kind"], described[arm]["generator"]) for arm in others})
    verdicts = verdict.decide(tests, families, alpha=settings.alpha, margin=settings.margin, seeds=len(table.seeds))
    results: dict[str, dict] = {}
    for arm in scores:
        called = decided[arm] == positive
        right = decided[arm] == table.labels
        counts = np.mean(
            [classification.confusion(table.labels, row, len(settings.classes)) for row in decided[arm]], axis=0
        )
        results[arm] = {
            "kind": described[arm]["kind"],
            "n_train": described[arm]["n_train"],
            "accuracy": _interval(right.mean(), boot_accuracy[arm], level),
            "auroc": _interval(areas[arm], boot_auroc[arm], level),
            "sensitivity": _interval(
                called[:, is_positive].mean(), statistics.bootstrap_share(called, is_positive, draws), level
            ),
            "specificity": _interval(
                (~called)[:, ~is_positive].mean(), statistics.bootstrap_share(~called, ~is_positive, draws), level
            ),
            "false_positives": float(called[:, ~is_positive].sum(axis=1).mean()),
            "false_negatives": float((~called)[:, is_positive].sum(axis=1).mean()),
            "confusion": counts.tolist(),
        }
    majority_right = {arm: _majority_right(settings, table, arm, decided[arm], positive) for arm in scores}
    for arm in others:
        test, words = tests[arm], verdicts[arm]
        auroc_differences = boot_auroc[arm] - boot_auroc[settings.real]
        accuracy_differences = boot_accuracy[arm] - boot_accuracy[settings.real]
        mcnemar = statistics.mcnemar(majority_right[settings.real], majority_right[arm])
        delong = statistics.delong_test(
            scores[settings.real].mean(axis=0), scores[arm].mean(axis=0), is_positive, table.patients
        )
        accuracy_difference = results[arm]["accuracy"]["value"] - results[settings.real]["accuracy"]["value"]
        results[arm]["versus_real"] = {
            "auroc_difference": {"value": test.difference, "low": test.low, "high": test.high},
            "p": test.p,
            "p_holm": words.p_holm,
            "family": families[arm],
            "verdict": words.word,
            "equivalent": words.equivalent,
            "auroc_difference_bootstrap": _interval(test.difference, auroc_differences, level),
            "p_bootstrap": statistics.bootstrap_p(auroc_differences),
            "p_delong": delong.p,
            "accuracy_difference": _interval(accuracy_difference, accuracy_differences, level),
            "p_accuracy": statistics.bootstrap_p(accuracy_differences),
            "p_mcnemar": mcnemar.exact,
            "p_mcnemar_mid": mcnemar.mid_p,
        }
        logger.info("%s: AUROC %+.3f [%+.3f, %+.3f], %s", arm, test.difference, test.low, test.high, words.word)
    write_json(
        out,
        {
            "positive": settings.positive,
            "classes": list(settings.classes),
            "real": settings.real,
            "alpha": settings.alpha,
            "margin": settings.margin,
            "seeds": len(table.seeds),
            "test_images": len(table.images),
            "test_patients": len(np.unique(table.patients)),
            "rule": verdict.rule_text(settings.alpha, settings.margin, outcome="AUROC", reference=settings.real),
            "arms": results,
        },
    )


def _majority_right(
    settings: CompareSettings, table: Predictions, arm: str, decided: np.ndarray, positive: int
) -> np.ndarray:
    """Whether the majority of an arm's trainings decided right, bool (N,); ties go to the mean probabilities."""
    mean = table.probabilities[arm].mean(axis=0, keepdims=True)
    fallback = _decisions(mean, positive, settings.threshold)[0]
    return statistics.majority(decided, len(settings.classes), fallback) == table.labels

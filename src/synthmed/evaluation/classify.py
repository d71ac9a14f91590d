"""Train the document's classifier on every arm, with every seed, and predict the test images."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthmed.classifiers.frozen_backbone import Head, Schedule, TrainedHeads, seed_of, train_heads
from synthmed.core.errors import InputError
from synthmed.core.files import write_csv, write_json
from synthmed.core.step import Output, step
from synthmed.data.features import Features, check_apart, check_together, read_features
from synthmed.evaluation.arms import AUGMENTED, REAL, Arm, ArmSettings, Part, check_supply, compose, define_arms, stack
from synthmed.metrics.statistics import bootstrap_share, two_level_resamples

logger = logging.getLogger(__name__)

SELECTION = (
    "Learning rate and dropout: highest accuracy of the real arm on the validation images, averaged over the grid's "
    "seeds; of equals the lower validation loss; they then serve every arm. Optimiser step: for each training, the "
    "checkpoint with the lowest class-balanced validation loss. Both rules, the number of steps and the batch size are "
    "the same for every arm, and no rule sees a test image."
)


@dataclass(frozen=True)
class ClassifySettings:
    """How the classifiers are trained.

    classes: in order; positive: the class that false positives and the area under the curve refer to; arms: see
    ArmSettings; learning_rates (of Adam), dropouts: the grid; grid_seeds: seeds of each of its points; seeds: trainings
    of each arm; seed: from which all randomness follows; steps, batch_size, check_every: see Schedule;
    level: of the intervals, e.g. 0.95; resamples: of their bootstrap; threads: processor threads.
    """

    classes: tuple[str, ...]
    positive: str
    arms: ArmSettings
    learning_rates: tuple[float, ...]
    dropouts: tuple[float, ...]
    grid_seeds: int
    seeds: int
    seed: int
    steps: int
    batch_size: int
    check_every: int
    level: float
    resamples: int
    threads: int


@step("classify")
def classify(
    settings: ClassifySettings,
    *,
    train: Path,
    validation: Path,
    test: Path,
    synthetic: list[Path],
    train_augmented: Path | None,
    predictions: Output,
    grid: Output,
    summary: Output,
) -> None:
    """Train the classifiers of all arms.

    Choose learning rate and dropout on the real arm, train all arms x seeds, write what they predict.

    Inputs are feature files; `synthetic` in the order of settings.arms.generators; `train_augmented` holds augmented
    draws of the training images. Of it the draws are used, of all others the images as they are (draw 0), so it may be
    the same file as `train`.
    predictions: CSV (arm, seed, image, patient, label, p_<class> ...), one row for each arm, seed and test image.
    grid: CSV (learning_rate, dropout, accuracy, false_positives, false_negatives, ...): validation results of the
    document's Table 4.1, means over seeds. summary: JSON with the chosen settings, every arm's training set, and the
    accuracy of the real arm's classifiers on every synthetic set (Table 4.4).
    """
    _check(settings, synthetic)
    files = {REAL: read_features(train).as_is(), "validation": read_features(validation).as_is()}
    if train_augmented is not None:
        files[AUGMENTED] = read_features(train_augmented).augmented()
    names = settings.arms.generators
    files |= {name: read_features(path).as_is() for name, path in zip(names, synthetic, strict=True)}
    held_out = read_features(test).as_is()
    check_together([*files.values(), held_out])
    check_apart([files[REAL], files["validation"], held_out])
    features, squares, parts = stack(files, settings.classes)
    arms = define_arms(settings.arms, files[REAL].class_counts(settings.classes), train_augmented is not None)
    check_supply(arms, parts, settings.classes)

    schedule = Schedule(settings.steps, settings.batch_size, settings.check_every)
    positive = settings.classes.index(settings.positive)
    trainer = _Trainer(settings, features, squares, parts, schedule, positive)
    rows, rate, dropout = trainer.grid(arms[0])
    write_csv(grid, rows, list(rows[0]))
    logger.info("chosen on the validation images: learning rate %g, dropout %g", rate, dropout)

    start = time.perf_counter()
    heads = [trainer.head(arm, seed, rate, dropout) for arm in arms for seed in range(settings.seeds)]
    trained = trainer.train(heads)
    logger.info("%d arms x %d seeds in %.1f s", len(arms), settings.seeds, time.perf_counter() - start)
    _write_predictions(predictions, settings, arms, held_out, trained.probabilities(held_out.features))

    sizes = [len(head.rows) for head in heads[:: settings.seeds]]
    loss, accuracy, auroc = (trained.selected(v) for v in (trained.loss, trained.accuracy, trained.auroc))
    described = {}
    for number, (arm, size) in enumerate(zip(arms, sizes, strict=True)):
        own = slice(number * settings.seeds, (number + 1) * settings.seeds)
        described[arm.name] = _describe(arm, size, len(parts[REAL].rows)) | {
            "step": {"mean": float(trained.step[own].mean()), "by_seed": trained.step[own].tolist()},
            "validation": {
                "balanced_loss": float(loss[own].mean()),
                "balanced_accuracy": float(accuracy[own].mean()),
                "auroc": float(auroc[own].mean()),
            },
        }
    write_json(
        summary,
        {
            "backbone": held_out.extractor,
            "classes": list(settings.classes),
            "positive": settings.positive,
            "learning_rate": rate,
            "dropout": dropout,
            "steps": settings.steps,
            "batch_size": settings.batch_size,
            "seeds": settings.seeds,
            "selection": SELECTION,
            "images": {
                "train": files[REAL].class_counts(settings.classes),
                "validation": files["validation"].class_counts(settings.classes),
                "test": held_out.class_counts(settings.classes),
            },
            "arms": described,
            "synthetic": {
                name: _accuracy_on(files[name], trained, slice(0, settings.seeds), settings)
                for name in settings.arms.generators
            },
        },
    )


def _check(settings: ClassifySettings, synthetic: Sequence[Path]) -> None:
    if settings.positive not in settings.classes or len(settings.classes) < 2:
        raise InputError(f"setting positive is {settings.positive!r}; classes are {list(settings.classes)} (2 or more)")
    if len(synthetic) != len(settings.arms.generators):
        raise InputError(
            f"{len(synthetic)} synthetic feature files for {len(settings.arms.generators)} generators "
            f"{list(settings.arms.generators)}; give one for each, in the same order"
        )
    if not settings.learning_rates or not settings.dropouts:
        raise InputError("settings learning_rates and dropouts need one value or more each")
    if settings.seeds < 2 or settings.grid_seeds < 1:
        raise InputError(f"setting seeds is {settings.seeds} (2 or more), grid_seeds {settings.grid_seeds} (1 or more)")


class _Trainer:
    """What all trainings of one run share."""

    def __init__(
        self,
        settings: ClassifySettings,
        features: np.ndarray,
        squares: np.ndarray,
        parts: dict[str, Part],
        schedule: Schedule,
        positive: int,
    ):
        self.settings, self.features, self.squares = settings, features, squares
        self.parts, self.schedule, self.positive = parts, schedule, positive

    def head(self, arm: Arm, seed: int, rate: float, dropout: float) -> Head:
        """The training of `arm` with seed number `seed`; the number stands for the same randomness in every arm."""
        number = seed_of("classify", self.settings.seed, seed)
        rows, labels = compose(arm, self.parts, self.settings.classes, number)
        check = self.parts["validation"]
        return Head(rows, labels, check.rows, check.labels, number, rate, dropout)

    def train(self, heads: Sequence[Head]) -> TrainedHeads:
        """All `heads`, side by side."""
        return train_heads(
            self.features,
            self.squares,
            heads,
            self.schedule,
            classes=len(self.settings.classes),
            positive=self.positive,
            threads=self.settings.threads,
        )

    def grid(self, real: Arm) -> tuple[list[dict], float, float]:
        """Rows of Table 4.1, best first, and the chosen learning rate and dropout."""
        settings, count = self.settings, self.settings.grid_seeds
        points = [(rate, dropout) for rate in settings.learning_rates for dropout in settings.dropouts]
        heads = [self.head(real, seed, *point) for point in points for seed in range(count)]
        start = time.perf_counter()
        trained = self.train(heads)
        logger.info("grid: %d settings x %d seeds in %.1f s", len(points), count, time.perf_counter() - start)
        check = self.parts["validation"]
        decided = trained.probabilities(self.features[check.rows]).argmax(-1)
        called, truth = decided == self.positive, check.labels == self.positive
        loss, step = trained.selected(trained.loss), trained.step
        rows = []
        for number, (rate, dropout) in enumerate(points):
            own = slice(number * count, (number + 1) * count)
            rows.append(
                {
                    "learning_rate": rate,
                    "dropout": dropout,
                    "accuracy": float((decided[own] == check.labels).mean()),
                    "false_positives": float((called[own] & ~truth).sum(1).mean()),
                    "false_negatives": float((~called[own] & truth).sum(1).mean()),
                    "balanced_loss": float(loss[own].mean()),
                    "step": float(step[own].mean()),
                    "seeds": count,
                }
            )
        rows.sort(key=lambda row: (-row["accuracy"], row["balanced_loss"]))
        return rows, rows[0]["learning_rate"], rows[0]["dropout"]


def _describe(arm: Arm, size: int, real: int) -> dict:
    """Arm for the summary. share: synthetic images / all images of the training set, 0 to 1."""
    synthetic = 0 if arm.kind in ("real", "classic", "duplicates") else sum(arm.added.values())
    return {
        "title": arm.title,
        "kind": arm.kind,
        "generator": arm.source if synthetic else None,
        "n_train": size,
        "n_real": real if arm.with_real else 0,
        "added": arm.added,
        "share": synthetic / size,
    }


def _write_predictions(
    path: Path, settings: ClassifySettings, arms: Sequence[Arm], test: Features, probabilities: np.ndarray
) -> None:
    columns = [f"p_{name}" for name in settings.classes]
    by_arm = probabilities.reshape(len(arms), settings.seeds, *probabilities.shape[1:]).tolist()
    cases = list(zip(test.names.tolist(), test.patients.tolist(), test.labels.tolist(), strict=True))
    rows = [
        {"arm": arm.name, "seed": seed, "image": name, "patient": patient, "label": label}
        | dict(zip(columns, values, strict=True))
        for arm, by_seed in zip(arms, by_arm, strict=True)
        for seed, by_case in enumerate(by_seed)
        for (name, patient, label), values in zip(cases, by_case, strict=True)
    ]
    write_csv(path, rows, ["arm", "seed", "image", "patient", "label", *columns])


def _accuracy_on(
    synthetic: Features, trained: TrainedHeads, real: slice, settings: ClassifySettings
) -> dict[str, dict]:
    """Accuracy of the real arm's classifiers on one synthetic set, all of it and by class: value, low, high, n.

    Mean over the seeds, with the interval of the bootstrap of images and seeds.
    """
    truth = synthetic.classes(settings.classes)
    right = trained.probabilities(synthetic.features, real).argmax(-1) == truth
    rng = np.random.default_rng(seed_of("accuracy on synthetic", settings.seed))
    tail = (1 - settings.level) / 2
    found = {}
    for name, where in {
        "all": np.ones(len(truth), dtype=bool),
        **{label: truth == number for number, label in enumerate(settings.classes)},
    }.items():
        if not where.any():
            found[name] = {"value": None, "reason": f"the set has no {name!r} image", "n": 0}
            continue
        # Each group by itself: a resample of all images may hold none of a small class.
        group = np.ones(int(where.sum()), dtype=bool)
        draws = two_level_resamples(group, np.arange(len(group)), settings.seeds, settings.resamples, rng)
        low, high = np.quantile(bootstrap_share(right[:, where], group, draws), [tail, 1 - tail])
        found[name] = {
            "value": float(right[:, where].mean()),
            "low": float(low),
            "high": float(high),
            "n": len(group),
        }
    return found

"""Numbers for machines: metrics.json and the CSVs behind plots of one experiment, and the leaderboard of all."""

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, write_csv, write_json
from synthmed.core.step import Output, step
from synthmed.metrics.classification import sensitivity_at
from synthmed.report.results import (
    Arm,
    GeneratorEntry,
    check_generators,
    estimate,
    number,
    read_arms,
    read_verdicts,
    real_arm,
)

logger = logging.getLogger(__name__)

ROC_POINTS = 101
HISTORY_POINTS = 200
EFFECT_COLUMNS = (
    "experiment", "generator", "arm", "effect_metric", "effect", "effect_low", "effect_high", "accuracy_difference",
    "accuracy_low", "accuracy_high", "p_holm", "verdict", "synthetic_share", "fid", "fid_extractor", "fid_floor",
    "copy_share", "note",
)  # fmt: skip
"""Columns of effects.csv and of the leaderboard; an experiment of another task gives another `effect_metric`.

fid is that of as many generated images as fid_floor has held-out real ones.
"""


SWEEP_COLUMNS = (
    "generator", "arm", "kind", "share", "n_train", "auroc", "auroc_low", "auroc_high", "accuracy", "accuracy_low",
    "accuracy_high",
)  # fmt: skip


@dataclass(frozen=True)
class MetricsSettings:
    """Settings of `metrics`.

    experiment: name; classes: in order; positive: the class whose probability ranks the cases.
    generators: by name, in the order they are shown.
    trainings: one name for each file of `histories`, in the same order.
    """

    experiment: str
    classes: tuple[str, ...]
    positive: str
    generators: dict[str, GeneratorEntry]
    trainings: tuple[str, ...]


@step("metrics")
def metrics(
    settings: MetricsSettings,
    *,
    fidelity: list[Path],
    copies: list[Path],
    summary: Path,
    verdicts: Path,
    predictions: Path,
    histories: list[Path],
    metrics_json: Output,
    effects: Output,
    sweep: Output,
    roc: Output,
    training_history: Output,
) -> None:
    """Write the numbers that DVC and the figures read.

    Write metrics.json (numbers by name, for `dvc metrics`) and the CSVs that figures and `dvc plots` draw.

    effects: one row a generator arm, the experiment's part of the leaderboard. sweep: generator, share, AUROC and
    accuracy with intervals, the real arm as share 0. roc: arm, false_positive_rate, true_positive_rate (mean over
    seeds). training_history: training, step, loss, value, at most HISTORY_POINTS steps a training.
    """
    quality = check_generators(fidelity, settings.generators)
    audit = check_generators(copies, settings.generators)
    arms = read_arms(summary, settings.generators)
    result = read_verdicts(verdicts, arms)["arms"]
    if len(histories) != len(settings.trainings):
        raise InputError(f"histories: {len(histories)} files for {len(settings.trainings)} trainings; give one each")

    flat: dict[str, dict] = {"accuracy": {}, "auroc": {}, "auroc_difference": {}, "fid": {}, "copy_share": {}}
    for arm in arms:
        flat["accuracy"][arm] = estimate(result[arm], "accuracy").value
        flat["auroc"][arm] = estimate(result[arm], "auroc").value
        if "versus_real" in result[arm]:
            flat["auroc_difference"][arm] = estimate(result[arm]["versus_real"], "auroc_difference").value
    for entry in quality:
        flat["fid"].setdefault(entry["extractor"], {})[entry["generator"]] = estimate(
            entry["groups"]["all"], "fid"
        ).value
    for entry in audit:
        flat["copy_share"][entry["generator"]] = copy_share(entry)
    write_json(metrics_json, flat)
    write_csv(effects, _effects(settings, arms, result, quality, audit), EFFECT_COLUMNS)
    write_csv(
        sweep,
        sweep_rows(arms, result),
        (
            "generator",
            "arm",
            "kind",
            "share",
            "n_train",
            "auroc",
            "auroc_low",
            "auroc_high",
            "accuracy",
            "accuracy_low",
            "accuracy_high",
        ),
    )
    main = [arm for arm, entry in arms.items() if entry.kind != "sweep"]
    write_csv(
        roc,
        _roc_rows(predictions, main, settings.classes, settings.positive),
        ("arm", "false_positive_rate", "true_positive_rate"),
    )
    rows = [row for name, path in zip(settings.trainings, histories, strict=True) for row in _history_rows(name, path)]
    write_csv(training_history, rows, ("training", "step", "loss", "value"))


def _effects(
    settings: MetricsSettings,
    arms: Mapping[str, Arm],
    result: Mapping,
    quality: Sequence[Mapping],
    audit: Sequence[Mapping],
) -> list[dict]:
    rows = []
    for arm, entry in arms.items():
        if entry.kind not in ("generator", "synthetic_only") or entry.generator not in settings.generators:
            continue
        versus = result[arm]["versus_real"]
        auroc, accuracy = estimate(versus, "auroc_difference"), estimate(versus, "accuracy_difference")
        # The first extractor given is the one the experiment's FID is quoted by.
        judged = next((item for item in quality if item["generator"] == entry.generator), None)
        copied = next((item for item in audit if item["generator"] == entry.generator), None)
        fid = estimate(judged["matched"]["all"], "fid") if judged else estimate({}, "fid")
        rows.append(
            {
                "experiment": settings.experiment,
                "generator": settings.generators[entry.generator].title,
                "arm": entry.title,
                "effect_metric": "AUROC difference",
                "effect": auroc.value,
                "effect_low": auroc.low,
                "effect_high": auroc.high,
                "accuracy_difference": accuracy.value,
                "accuracy_low": accuracy.low,
                "accuracy_high": accuracy.high,
                "p_holm": versus["p_holm"],
                "verdict": versus["verdict"],
                "synthetic_share": entry.share,
                "fid": fid.value,
                "fid_extractor": judged["extractor"] if judged else None,
                "fid_floor": estimate(judged["floor"].get("all", {}), "fid").value if judged else None,
                "copy_share": copy_share(copied) if copied else None,
                "note": "; ".join(filter(None, (auroc.note, fid.note))),
            }
        )
    return rows


def copy_share(entry: Mapping) -> float | None:
    """Share of a generator's images that the copy audit suspects to be copies, 0 to 1."""
    return estimate(entry, "suspect_share").value


def sweep_rows(arms: Mapping[str, Arm], result: Mapping[str, Mapping]) -> list[dict]:
    """Rows of the sweep: for every generator that has sweep arms, all its arms by share; the real arm is share 0."""
    real = real_arm(arms)
    swept = dict.fromkeys(entry.generator for entry in arms.values() if entry.kind == "sweep")
    rows = []
    for generator in swept:
        members = [real] + [
            arm
            for arm, entry in arms.items()
            if entry.generator == generator and entry.kind in ("generator", "oracle", "sweep", "synthetic_only")
        ]
        for arm in sorted(members, key=lambda arm: arms[arm].share):
            entry = arms[arm]
            row: dict = {"generator": generator, "arm": arm, "kind": entry.kind, "share": entry.share}
            row["n_train"] = entry.n_train
            for name in ("auroc", "accuracy"):
                found = estimate(result[arm], name)
                row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
            rows.append(row)
    return rows


def _roc_rows(path: Path, arms: Sequence[str], classes: Sequence[str], positive: str) -> list[dict]:
    scores: dict[tuple[str, str], tuple[list[float], list[bool]]] = {}
    with open(path, newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            score, truth = scores.setdefault((row["arm"], row["seed"]), ([], []))
            score.append(float(row[f"p_{positive}"]))
            truth.append(row["label"] == positive)
    grid = np.linspace(0, 1, ROC_POINTS)
    rows = []
    for arm in arms:
        curves = [
            sensitivity_at(np.array(s), np.array(t), grid) for (name, _seed), (s, t) in scores.items() if name == arm
        ]
        if not curves:
            raise InputError(f"{path}: no predictions of the arm {arm!r}")
        mean = np.mean(curves, axis=0)
        rows += [
            {"arm": arm, "false_positive_rate": round(float(x), 4), "true_positive_rate": round(float(y), 5)}
            for x, y in zip(grid, mean, strict=True)
        ]
    return rows


def _history_rows(training: str, path: Path) -> list[dict]:
    """Every column of a training's history in long form; diversity, measured more rarely, keeps all its points."""
    history = read_csv(path)
    rows = []
    for loss in history[0]:
        points = [(int(row["step"]), number(row[loss])) for row in history if loss != "step" and row[loss] != ""]
        every = -(-len(points) // HISTORY_POINTS) or 1
        rows += [{"training": training, "step": step, "loss": loss, "value": value} for step, value in points[::every]]
    return rows


@dataclass(frozen=True)
class LeaderboardSettings:
    """Settings of `leaderboard`. experiments: names, in the order of the files of `effects`."""

    experiments: tuple[str, ...]


@step("leaderboard")
def leaderboard(settings: LeaderboardSettings, *, effects: list[Path], out: Output) -> None:
    """Every generator of every experiment, by its effect on the task.

    Join the effects.csv of every experiment, the largest effect on the task first within each experiment.

    Raises InputError when a file belongs to another experiment than the settings say, or has other columns.
    """
    if len(effects) != len(settings.experiments):
        raise InputError(f"effects: {len(effects)} files for {len(settings.experiments)} experiments; give one each")
    rows = []
    for experiment, path in zip(settings.experiments, effects, strict=True):
        found = read_csv(path)
        for row in found:
            if tuple(row) != EFFECT_COLUMNS or row["experiment"] != experiment:
                raise InputError(
                    f"{path}: not the effects of the experiment {experiment!r}; make it again with `metrics`"
                )
        rows += sorted(found, key=lambda row: (row["effect"] == "", -float(row["effect"] or 0)))
    write_csv(out, rows, EFFECT_COLUMNS)

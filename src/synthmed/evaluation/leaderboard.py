"""Numbers for machines: metrics.json and the CSVs behind plots of one experiment, and the leaderboard of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError, check_one_each
from synthmed.core.files import read_csv, read_json, write_csv, write_json
from synthmed.core.known import MEAN, REAL, TEST
from synthmed.core.step import Output, step
from synthmed.evaluation.scores import read_scores
from synthmed.metrics.classification import sensitivity_at
from synthmed.metrics.effects import EFFECT_COLUMNS, added_share, fidelity_of, gain, in_words, real_fidelity, swept
from synthmed.metrics.estimate import Estimate, estimates
from synthmed.metrics.predictors import PREDICTOR_COLUMNS, predictor_rows
from synthmed.metrics.quality import METRICS

LEAKING = "tested on other images of the training patients, which flatters"
ROC_POINTS = 101
HISTORY_POINTS = 200
SWEEP_COLUMNS = ("task", "generator", "arm", "kind", "share", "n_train", "outcome", "value", "low", "high")
ROC_COLUMNS = ("task", "arm", "false_positive_rate", "true_positive_rate")


@dataclass(frozen=True)
class MetricsSettings:
    """Settings of `metrics`."""

    experiment: Annotated[str, Meta(description="Its name.")]
    generators: Annotated[dict[str, str], Meta(description="Name → title, in the order they are shown.")]
    trained_as: Annotated[dict[str, str], Meta(description="Name → title of what was trained for its images.")]
    pseudo_labelled: Annotated[tuple[str, ...], Meta(description="Generators whose labels a classifier gave.")]
    trainings: Annotated[tuple[str, ...], Meta(description="A name for each file of `histories`, in the same order.")]


@step("metrics")
def metrics(
    settings: MetricsSettings,
    *,
    fidelity: list[Path],
    copies: list[Path],
    verdicts: list[Path],
    scores: list[Path],
    histories: list[Path],
    metrics_json: Output,
    effects: Output,
    sweep: Output,
    roc: Output,
    training_history: Output,
) -> None:
    """Write metrics.json (numbers by name, for `dvc metrics`) and the CSVs that figures and `dvc plots` draw.

    verdicts, scores: of every task, in the same order. effects: one row a task and generator arm, the experiment's part
    of the leaderboard. sweep: the deciding outcome over the share of synthetic images, the real arm as share 0. roc:
    false_positive_rate, true_positive_rate of every main arm (mean over seeds) of tasks with two classes.
    training_history: training, step, loss, value, at most HISTORY_POINTS steps a training.
    """
    check_one_each(settings.trainings, histories=histories)
    tasks = [read_json(path) for path in verdicts]
    quality = [read_json(path) for path in fidelity]
    audits = {audit["generator"]: audit for audit in map(read_json, copies)}
    write_json(metrics_json, _flat(tasks, quality, audits))
    write_csv(effects, [row for task in tasks for row in _effects(settings, task, quality, audits)], EFFECT_COLUMNS)
    write_csv(sweep, [row for task in tasks for row in sweep_rows(task)], SWEEP_COLUMNS)
    curves = [row for task, path in zip(tasks, scores, strict=True) for row in _roc_rows(task, path)]
    write_csv(roc, curves, ROC_COLUMNS)
    rows = [row for name, path in zip(settings.trainings, histories, strict=True) for row in _history_rows(name, path)]
    write_csv(training_history, rows, ("training", "step", "loss", "value"))


def _flat(tasks: Sequence[Mapping], quality: Sequence[Mapping], audits: Mapping[str, Mapping]) -> dict:
    flat: dict[str, dict] = {"tasks": {}, "fid": {}, "copy_share": {}}
    for task in tasks:
        decides = task["outcome"]
        found = flat["tasks"][task["task"]] = {name: {} for name in (*task["outcomes"], f"{decides}_difference")}
        for arm, entry in task["arms"].items():
            for name, measured in entry["tests"][TEST]["outcomes"].items():
                found[name][arm] = measured["value"]
            if entry["versus_reference"] is not None:
                difference = entry["versus_reference"]["outcomes"][decides]["difference"]
                found[f"{decides}_difference"][arm] = difference["value"]
    for entry in quality:
        flat["fid"].setdefault(entry["extractor"], {})[entry["generator"]] = _measured(entry, "groups", "fid").value
    for name, audit in audits.items():
        flat["copy_share"][name] = copy_share(audit).value
    return flat


def _measured(entry: Mapping, which: str, measure: str) -> Estimate:
    """A measure of fidelity, mean of the classes'. which: `groups` (all images), `matched` (as many as the floor has)
    or `floor`."""
    found = entry[which].get(MEAN, {}).get(measure)
    return (
        Estimate.missing(f"{METRICS[measure].header} was not computed") if found is None else Estimate.from_json(found)
    )


def _beside_floor(entry: Mapping, measure: str) -> Estimate:
    """A measure of as many images as the floor has; none where there are fewer, which no other generator's is like."""
    floor = _measured(entry, "floor", measure)
    return Estimate.missing(floor.reason) if floor.value is None else _measured(entry, "matched", measure)


def _only_of(entry: Mapping) -> str:
    """The classes that a generator's fidelity is of, where they are not all that the floor has; else nothing."""
    made, all_of = ({*entry[which]} - {"all", MEAN} for which in ("matched", "floor"))
    return ", ".join(sorted(made)) if made < all_of else ""


def copy_share(audit: Mapping) -> Estimate:
    """Share of a generator's images that the copy audit suspects to be copies, 0 to 1."""
    return Estimate.from_json(audit["suspect_share"])


def _effects(
    settings: MetricsSettings, task: Mapping, quality: Sequence[Mapping], audits: Mapping[str, Mapping]
) -> Iterator[dict]:
    decides, measured = task["outcomes"][task["outcome"]], estimates(task)
    for arm in task["arms"].values():
        name = arm["set"]
        if arm["kind"] not in ("generator", "synthetic_only") or name not in settings.generators:
            continue
        versus = arm["versus_reference"]
        effect = Estimate.from_json(versus["outcomes"][task["outcome"]]["difference"])
        judged = _quoted([entry for entry in quality if entry["generator"] == name])
        fid = _beside_floor(judged, "fid") if judged else Estimate.missing("FID was not computed")
        only_of = _only_of(judged) if judged else ""
        copied = copy_share(audits[name]) if name in audits else Estimate.missing("copies were not looked for")
        tested = name in task["arms"][REAL]["tests"]
        fidelity = fidelity_of(measured, name)["all"].value if tested else None
        yield {
            "experiment": settings.experiment,
            "task": task["task"],
            "task_title": task["title"],
            "leaking": "yes" if task["leaking"] else "no",
            "generator": settings.generators[name],
            "trained_as": settings.trained_as[name],
            "arm": in_words(arm["title"], name, settings.generators[name]),
            "outcome": decides["title"],
            "higher_is_better": "yes" if decides["higher_is_better"] else "no",
            "effect": effect.value,
            "effect_low": effect.low,
            "effect_high": effect.high,
            "p_holm": versus["p_holm"],
            "verdict": versus["verdict"],
            "equivalent": "yes" if versus["equivalent"] else "no",
            "synthetic_share": arm["share"],
            "fid": fid.value,
            "fid_extractor": judged["extractor"] if judged else None,
            "fid_only_of": only_of,
            "fid_floor": _measured(judged, "floor", "fid").value if judged else None,
            **{
                measure: _beside_floor(judged, measure).value if judged else None
                for measure in ("kid", "precision", "recall", "density", "coverage")
            },
            "copy_alarm": audits[name]["alarm"]["word"] if name in audits else None,
            "copy_share": copied.value,
            "copy_limit": audits[name]["detection_limit"] if name in audits else None,
            "label_fidelity": fidelity,
            "label_fidelity_real": real_fidelity(measured, name) if tested else None,
            "pseudo_labelled": "yes" if name in settings.pseudo_labelled else "no",
            "note": "; ".join(
                filter(
                    None,
                    (
                        LEAKING if task["leaking"] else "",
                        *(versus["reason"], effect.reason, fid.reason),
                        f"FID and the like are of {only_of} only" if only_of else "",
                        copied.reason,
                    ),
                )
            ),
        }


def _quoted(quality: Sequence[Mapping]) -> Mapping | None:
    """The fidelity that an experiment is quoted by: Inception's where there is one, else the first extractor's."""
    return next((entry for entry in quality if "inception" in entry["extractor"].lower()), next(iter(quality), None))


def sweep_rows(task: Mapping) -> list[dict]:
    """Rows of the sweep: for every set that has sweep arms, all its arms by the share of added images; real is 0."""
    arms, decides, rows = task["arms"], task["outcome"], []
    for generator, members in swept(task).items():
        for arm in members:
            found = Estimate.from_json(arms[arm]["tests"][TEST]["outcomes"][decides])
            rows.append(
                {
                    "task": task["task"],
                    "generator": generator,
                    "arm": arm,
                    "kind": arms[arm]["kind"],
                    "share": added_share(task, arms[arm]),
                    "n_train": arms[arm]["n_train"],
                    "outcome": decides,
                    **{name: getattr(found, name) for name in ("value", "low", "high")},
                }
            )
    return rows


def _roc_rows(task: Mapping, path: Path) -> list[dict]:
    if task["kind"] != "classification" or len(task["classes"]) != 2:
        return []
    scores = read_scores(path, [f"p_{task['positive']}"])
    positive = scores.cases[TEST].labels == task["positive"]
    grid = np.linspace(0, 1, ROC_POINTS)
    rows = []
    for arm, entry in task["arms"].items():
        if entry["kind"] == "sweep":
            continue
        mean = np.mean([sensitivity_at(row, positive, grid) for row in scores.values[arm, TEST][:, :, 0]], axis=0)
        rows += [
            {
                "task": task["task"],
                "arm": arm,
                "false_positive_rate": round(float(x), 4),
                "true_positive_rate": round(float(y), 5),
            }
            for x, y in zip(grid, mean, strict=True)
        ]
    return rows


def _history_rows(training: str, path: Path) -> list[dict]:
    """Every column of a training's history in long form; diversity, measured more rarely, keeps all its points."""
    history = read_csv(path)
    rows = []
    for loss in history[0]:
        points = [(int(row["step"]), float(row[loss])) for row in history if loss != "step" and row[loss] != ""]
        every = -(-len(points) // HISTORY_POINTS) or 1
        rows += [{"training": training, "step": step, "loss": loss, "value": value} for step, value in points[::every]]
    return rows


@dataclass(frozen=True)
class LeaderboardSettings:
    """Settings of `leaderboard`."""

    experiments: Annotated[tuple[str, ...], Meta(description="Names, in the order of the files of `effects`.")]


@step("leaderboard")
def leaderboard(settings: LeaderboardSettings, *, effects: list[Path], out: Output, predictors: Output) -> None:
    """Join the effects of every experiment, the best effect on the task first within each experiment.

    predictors (CSV): how far each of PREDICTORS orders generators as their effects do, see `predictor_rows`. Raises
    InputError when a file belongs to another experiment than the settings say, or has other columns.
    """
    check_one_each(settings.experiments, effects=effects)
    rows = []
    for experiment, path in zip(settings.experiments, effects, strict=True):
        found = read_csv(path)
        for row in found:
            if tuple(row) != EFFECT_COLUMNS or row["experiment"] != experiment:
                raise InputError(
                    f"{path}: not the effects of the experiment {experiment!r}; make it again with `metrics`"
                )
        rows += sorted(found, key=lambda row: (row["effect"] == "", -gain(row) if row["effect"] else 0))
    write_csv(out, rows, EFFECT_COLUMNS)
    write_csv(predictors, predictor_rows(rows), PREDICTOR_COLUMNS)

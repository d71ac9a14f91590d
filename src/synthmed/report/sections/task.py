"""Section "Effect on the model", one for each task: what the answer rests on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.files import read_csv, read_json
from synthmed.core.settings import Count
from synthmed.core.step import Output, step
from synthmed.metrics.effects import swept
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import Generators, confusion, read_task, shown_tests
from synthmed.report.section import write_section
from synthmed.report.tables import versus_cells
from synthmed.report.words import p_value, signed, tenths


@dataclass(frozen=True)
class TaskSettings:
    """Settings of `section-task`."""

    tasks: Annotated[Count, Meta(description="How many the experiment has.")]
    generators: Generators


# ------------------------------------------------------------------------------------------------------------- tables
def _grid_rows(found: Found) -> list[dict]:
    chosen = found["chosen"]
    rows = []
    for cell in found["grid"]:
        rate, dropout = float(cell["learning_rate"]), float(cell["dropout"])
        selected = (rate, dropout) == (chosen["learning_rate"], chosen["dropout"])
        rows.append(
            {
                "keys": (f"{rate:g}/{dropout:g}",),
                "learning_rate": rate,
                "dropout": dropout,
                "model": chosen["backbone"],
                **{name: float(cell[name]) for name in (_chosen_by(found), "false_positives", "false_negatives")},
                "selected": "yes" if selected else "",
            }
        )
    return sorted(rows, key=lambda row: -row[_chosen_by(found)])


def _chosen_by(found: Found) -> str:
    """What the validation images chose the settings by."""
    return "iou" if found["task"]["kind"] == "segmentation" else "accuracy"


def _outcomes(found: Found) -> list[Column]:
    return [Column(name, entry["title"], interval=True) for name, entry in found["task"]["outcomes"].items()]


def _measured(found: Found, arm: Mapping) -> dict:
    return {
        "arm": arm["title"],
        "model": found["chosen"]["backbone"],
        **arm["tests"][found["task"]["tests"][0]]["outcomes"],
    }


def _classic_rows(found: Found) -> list[dict]:
    compared = [arm for arm in found["task"]["arms"].values() if arm["kind"] in ("real", "classic")]
    return [{"keys": (arm["kind"],), **_measured(found, arm)} for arm in compared if len(compared) > 1]


def _arms_swept(task: Mapping) -> dict[str, list[Mapping]]:
    return {name: [task["arms"][arm] for arm in arms] for name, arms in swept(task).items()}


_CONTROLS = {"duplicates": "Real images again", "classic": "Classic augmentation", "oracle": "True draws"}
"""Curves of the sweep that are of no generator."""


def _curves(found: Found) -> dict[str, str]:
    """Set → its name for people."""
    return {**_CONTROLS, **{name: entry.title for name, entry in found["settings"].generators.items()}}


def _sweep_rows(found: Found) -> list[dict]:
    titles = _curves(found)
    return [
        {
            "generator": titles.get(name, name),
            "synthetic_share": arm["share"],
            "n_train": arm["n_train"],
            "verdict": (arm["versus_reference"] or {}).get("verdict"),
            **_measured(found, arm),
        }
        for name, arms in _arms_swept(found["task"]).items()
        for arm in arms
    ]


def _confusion_rows(found: Found) -> list[dict]:
    """What was decided, against the truth: a row a decision, so that a column adds up to the images of its class."""
    task, rows = found["task"], []
    for arm in task["arms"].values():
        for test in [test for test in shown_tests(task) if test in arm["tests"]]:
            matrix = confusion(arm, test)
            for place, decided in enumerate(task["classes"] if matrix else ()):
                counts = [row[place] for row in matrix]
                rows.append(
                    {
                        "keys": (f"{arm['name']}/{test}/{decided}",),
                        "arm": arm["title"],
                        "test": test,
                        "decided": decided,
                        **dict(zip(task["classes"], counts, strict=True)),
                        "total": sum(counts),
                    }
                )
    return rows


def comparison_rows(found: Found) -> list[dict]:
    """Every comparison between two arms or two test sets: the second against the first."""
    task, rows = found["task"], []
    for entry in [*task["comparisons"], *task["against"]]:
        names = [task["arms"][name]["title"] if name in task["arms"] else name for name in entry["names"]]
        sides = [f"{task['arms'][arm]['title']}, tested on {test}" for arm, test in (entry["second"], entry["first"])]
        rows.append(
            {
                "keys": ("/".join(entry["names"]),),
                "names": " − ".join(reversed(names)),
                "second": sides[0],
                "first": sides[1],
                **versus_cells(task, entry),
                "p": entry["p"],
                "note": "" if entry["verdict"] else f"No word: {entry['reason']}.",
            }
        )
    return rows


def other_test_rows(found: Found) -> list[dict]:
    """What other tests say of each arm against the real one."""
    task = found["task"]
    return [
        {"keys": (f"{arm['name']}/{method}",), "arm": arm["title"], "test": method, **also}
        for arm in task["arms"].values()
        for method, also in (arm["versus_reference"] or {"also": {}})["also"].items()
    ]


# ------------------------------------------------------------------------------------------------------------ figures
def _drawn(task: Mapping) -> dict[str, list[Mapping]]:
    """What the figure shows of a sweep: of the sets without real images the main one, not its other sizes."""
    return {
        name: [arm for arm in arms if arm["kind"] != "synthetic_only" or arm["name"] == f"only_{name}"]
        for name, arms in _arms_swept(task).items()
    }


def _sweep(path: Path, found: Found) -> str | None:
    task = found["task"]
    curves = _drawn(task)
    if not curves:
        return "No sweep of the synthetic share was run in this experiment."
    from synthmed.report.charts.task import draw_sweep

    titles = _curves(found)
    draw_sweep(path, task, {titles.get(name, name): arms for name, arms in curves.items()})
    return None


def _roc(path: Path, found: Found) -> str | None:
    rows = [row for row in found["roc"] if row["task"] == found["task"]["task"]]
    if not rows:
        return "There are no ROC curves of this task."
    from synthmed.report.charts.task import draw_roc

    draw_roc(path, rows, found["task"])
    return None


def _confusion(path: Path, found: Found) -> str | None:
    task = found["task"]
    shown = [
        (arm, test, confusion(arm, test))
        for arm in task["arms"].values()
        for test in shown_tests(task)
        if arm["kind"] != "sweep" and test in arm["tests"] and confusion(arm, test)
    ]
    if not shown:
        return "There are no confusion matrices of this task."
    from synthmed.report.charts.task import draw_confusion

    draw_confusion(path, shown, task["classes"])
    return None


_MODEL = Column("model", once="Model: {}.")

SECTION = Section(
    link="{{ 'Effect on the model' if tasks == 1 else task.title }}",
    title="{{ task.title }}",
    each_task=True,
    exhibits=(
        Table(
            "grid",
            "Choice of learning rate and dropout by validation, real images only.",
            _grid_rows,
            lambda found: [
                Column("learning_rate", form="{:g}".format),
                Column("dropout", form="{:g}".format),
                _MODEL,
                Column(_chosen_by(found), "IoU" if _chosen_by(found) == "iou" else "accuracy"),
                Column("false_positives", "false pos.", tenths),
                Column("false_negatives", "false neg.", tenths),
                Column("selected"),
            ],
            empty="there was no choice of settings",
        ),
        Table(
            "classic",
            "Real images augmented in ways that need no generator, against the real ones alone.",
            _classic_rows,
            lambda found: [Column("arm", "training set"), _MODEL, *_outcomes(found)],
            empty="no arm with classic augmentation in this task",
        ),
        Figure(
            "sweep",
            "{{ task.decides.title }} on the test images against the share of added images among all training images; "
            "band: {{ (1 - task.alpha) | confidence }} interval; dashed: real images only{{ '; open circle: generated "
            "images alone' if alone }}.",
            _sweep,
        ),
        Table(
            "shares",
            "More and more images added, from none upwards, and the share of generated ones among all.",
            _sweep_rows,
            lambda found: [
                Column("generator", "added"),
                Column("arm", "training set"),
                _MODEL,
                Column("synthetic_share"),
                Column("n_train", "training images"),
                *_outcomes(found),
                Column("verdict"),
            ],
            empty="no sweep of the synthetic share in this task",
        ),
        Figure("roc", "ROC curves on the test images, mean over seeds. Dashed: real images only.", _roc),
        Figure("confusion", "Decisions on the test images, mean number over seeds and share of the row.", _confusion),
        Table(
            "decisions",
            "Decisions on the test images: means over {{ task.seeds }} trainings, what one training is expected to "
            "give.",
            _confusion_rows,
            lambda found: [
                Column("arm", "training set"),
                Column("test", "tested on", page=found["task"]["swap"] is not None),
                Column("decided", "decision"),
                *(Column(name, form=tenths) for name in found["task"]["classes"] or ()),
                Column("total", form=tenths),
            ],
            empty="this task has no classes to decide on",
            page="document",
        ),
        Table(
            "comparisons",
            "Differences in {{ task.decides.title }} between trained models and test sets: what stands second minus "
            "what stands first.",
            comparison_rows,
            (
                Column("names", "difference of"),
                Column("second"),
                Column("first"),
                Column("difference", form=signed, interval=True),
                Column("p", form=p_value),
                Column("p_holm", "p (Holm)", p_value),
                Column("verdict"),
                Column("equivalent"),
            ),
            empty="nothing else was compared in this task",
        ),
        Table(
            "other_tests",
            "What other tests say. They answer narrower questions than the one that decides, take these trainings as "
            "given or look at decisions only, and decide nothing here.",
            other_test_rows,
            (
                Column("arm", "training set"),
                Column("test"),
                Column("difference", form=signed, interval=True),
                Column("p", form=p_value),
            ),
            empty="no other test fits this task",
            page="document",
        ),
    ),
)


@step("section-task")
def section(
    settings: TaskSettings,
    *,
    verdicts: Path,
    summary: Path,
    grid: Path | None,
    roc: Path,
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on one task: what its answer rests on.

    verdicts, summary, grid: of the task; roc: CSV of all tasks' curves that `metrics` writes.
    """
    task = read_task(verdicts, settings.generators)
    found = {
        "settings": settings,
        "tasks": settings.tasks,
        "task": task,
        "alone": any(arm["kind"] == "synthetic_only" for arms in _drawn(task).values() for arm in arms),
        "chosen": read_json(summary),
        "grid": read_csv(grid) if grid else [],
        "roc": read_csv(roc),
    }
    found["curves"] = any(row["task"] == task["task"] for row in found["roc"])
    write_section(section, out, SECTION, found, document=document)

"""The page over all experiments: each one's question, answer and picture, the leaderboard, and what predicts an effect.

It is made anew at the end of every run, of what is there then: with time and memory (see costs.py), which differ
between runs, it is no artefact. Its numbers are those of the reports and of their CSVs, which are.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from markupsafe import Markup
from msgspec import Meta

from synthmed.core.files import read_csv, read_json, write_text
from synthmed.metrics.effects import EFFECT_COLUMNS, gain
from synthmed.metrics.predictors import predictor_rows
from synthmed.report.exhibits import Column
from synthmed.report.words import environment, minus, percent, short, signed

STYLES = ("page.css", "index.css")
ALPHA = 0.05
"""Of the words on predictors."""
COST = ("parameters", "training_seconds", "training_memory", "training_gpu_memory")


@dataclass(frozen=True)
class ExperimentEntry:
    """An experiment, whose results need not be there."""

    name: Annotated[str, Meta(description="Its name.")]
    title: Annotated[str, Meta(description="For people.")]
    question: Annotated[str, Meta(description="What its model does, in words.")]
    phantom: Annotated[bool, Meta(description="Whether its images are drawn by a program.")]
    tasks: Annotated[tuple[str, ...], Meta(description="Names of its tasks, the first is shown.")]


@dataclass(frozen=True)
class IndexSettings:
    """What the index shows."""

    experiments: Annotated[tuple[ExperimentEntry, ...], Meta(description="In the order they are shown.")]


def index(settings: IndexSettings, results: Path, logs: Path) -> Path:
    """Write `index.html` in `results`, the folder of all experiments, and return its path.

    logs: folder of the costs. Experiments without a report, or with one of another version, are listed as such.
    """
    done, rows, waiting = [], [], []
    for entry in settings.experiments:
        if reason := _lacks(entry, results / entry.name):
            waiting.append({"name": entry.name, "title": entry.title, "reason": reason})
        else:
            done.append(_card(entry, results / entry.name))
            rows += _rows(entry, results / entry.name, logs / entry.name)
    style = "\n".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in STYLES)
    page = (
        environment(html=True)
        .get_template("index.html.j2")
        .render(
            style=Markup(style),
            script=Markup((Path(__file__).parent / "index.js").read_text(encoding="utf-8")),
            experiments=done,
            waiting=waiting,
            columns=COLUMNS,
            rows=[[_cell(column, row) for column in COLUMNS] for row in rows],
            predictors=[_predictor(row) for row in predictor_rows(rows)] if rows else [],
        )
    )
    write_text(results / "index.html", page)
    return results / "index.html"


def _lacks(entry: ExperimentEntry, folder: Path) -> str:
    """Why the experiment cannot be shown; empty when it can."""
    if not (folder / "report.html").is_file():
        return "not run yet"
    answer = read_json(folder / "sections" / f"answer.{entry.tasks[0]}.json")
    effects = read_csv(folder / "tables" / "effects.csv")
    if "headline" not in answer or any(tuple(row) != EFFECT_COLUMNS for row in effects):
        return "of another version"
    return ""


def _card(entry: ExperimentEntry, folder: Path) -> dict[str, object]:
    answer = read_json(folder / "sections" / f"answer.{entry.tasks[0]}.json")
    picture = folder / "figures" / f"answer.{entry.tasks[0]}.verdicts.png"
    encoded = base64.b64encode(picture.read_bytes()).decode("ascii")
    words = {"headline": Markup(answer["headline"]), "picture": f"data:image/png;base64,{encoded}"}
    return {"name": entry.name, "title": entry.title, "question": entry.question, "phantom": entry.phantom, **words}


def _rows(entry: ExperimentEntry, folder: Path, logs: Path) -> list[dict[str, str]]:
    """The experiment's part of the leaderboard, with what its generators took on this machine."""
    took = logs / "costs.csv"
    costs = {row["generator"]: row for row in read_csv(took)} if took.is_file() else {}
    nothing = dict.fromkeys(COST, "")
    return [
        row | {name: costs.get(row["generator"], nothing)[name] for name in COST} | {"title": entry.title}
        for row in read_csv(folder / "tables" / "effects.csv")
    ]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:,.1f}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


COLUMNS = (
    Column("title", "experiment"),
    Column("arm", "training set"),
    Column("verdict", "answer"),
    Column("effect", "effect", signed),
    Column("fid", "FID", short),
    Column("fid_floor", "floor", short),
    Column("copy_alarm", "copies"),
    Column("label_fidelity", "label fidelity", percent),
    Column("parameters", "parameters", _whole),
    Column("training_seconds", "training, min", _minutes),
    Column("training_memory", "memory, MiB", _whole),
    Column("training_gpu_memory", "GPU memory, MiB", _whole),
)
"""Of the leaderboard on the page; the CSV has more."""


def _cell(column: Column, row: Mapping[str, str]) -> dict[str, str]:
    """text, below: for people; sort: what the column is sorted by, a number or a text, of effects what they gain;
    group: rows of one stay together then, of effects those of an outcome, as a Dice and millimetres have no order;
    kind: `n` for numbers, `words` where what stands below may be broken."""
    value, below, number = row[column.key], "", column.form is not short or column.key in ("fid", "fid_floor")
    text = column.form(float(value)) if number and value else value
    if column.key == "effect" and row["effect_low"]:
        below = f"[{signed(float(row['effect_low']))}, {signed(float(row['effect_high']))}]"
    if column.key == "title":
        below = row["task_title"]
    if column.key == "arm":
        below = row["outcome"] + (" (lower is better)" if row["higher_is_better"] == "no" else "")
    if column.key == "fid":
        below = row["fid_extractor"] + (f", {row['fid_only_of']} only" if row["fid_only_of"] else "")
    if column.key == "verdict":
        said = {"equivalent": row["equivalent"], "leaks": row["leaking"]}
        text, below = value or "no word", ", ".join(words for words, so in said.items() if so == "yes")
    if column.key == "label_fidelity" and value:
        of_real = row["label_fidelity_real"]
        below = f"real: {percent(float(of_real))}" if of_real else ""
        below += ", labels by a classifier" if row["pseudo_labelled"] == "yes" else ""
    if column.key == "copy_alarm":
        below = percent(float(row["copy_share"])) + " suspects" if row["copy_share"] else ""
    return {
        "text": text or "–",
        "below": below,
        "sort": gain(row) if column.key == "effect" and value else value,
        "group": row["outcome"] if column.key == "effect" else "",
        "kind": ("n words" if column.key == "fid" else "n") if number else "",
        "title": row["copy_limit"] if column.key == "copy_alarm" else "",
    }


def _predictor(row: Mapping[str, object]) -> dict[str, object]:
    """A line of the table of predictors; word: what p says, adjusted over the measures."""
    tau, low, high, p = (row[name] for name in ("tau", "tau_low", "tau_high", "p_holm"))
    word = "not known" if p is None else "not shown" if p > ALPHA else "yes" if tau > 0 else "the opposite"
    interval = "" if low is None else f"[{minus(f'{low:.2f}')}, {minus(f'{high:.2f}')}]"
    return {**row, "word": word, "interval": interval}

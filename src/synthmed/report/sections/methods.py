"""Section "Methods in brief": what was trained, for how long, and by which rule the verdict was given."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.files import read_csv, read_json
from synthmed.core.step import Output, step
from synthmed.report.exhibits import Figure, Found, Section
from synthmed.report.results import read_task
from synthmed.report.section import write_section


@dataclass(frozen=True)
class MethodsSettings:
    """Settings of `section-methods`."""

    titles: Annotated[dict[str, str], Meta(description="Of the trainings, by their names in the history.")]
    external: Annotated[tuple[str, ...], Meta(description="Titles of the sets that were made elsewhere.")]


def _draw(path: Path, found: Found) -> str | None:
    if not found["history"]:
        return "No generator was trained in this experiment."
    from synthmed.report.charts.quality import draw_training

    draw_training(path, found["history"], found["settings"].titles)
    return None


SECTION = Section(
    link="Methods",
    title="Methods in brief",
    exhibits=(
        Figure(
            "training",
            "Losses of every training over its optimiser steps; dashed, on the right axis, the diversity of samples "
            "from fixed noise (1: as varied as real images, 0: all the same).",
            _draw,
        ),
    ),
)


@step("section-methods")
def section(
    settings: MethodsSettings,
    *,
    verdicts: list[Path],
    summaries: list[Path],
    trainings: list[Path],
    history: Path,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on methods.

    verdicts, summaries: of each task, in one order; trainings: settings of the generators' trainings; history: the CSV
    of their losses that `metrics` writes.
    """
    found = {
        "settings": settings,
        "tasks": [(read_task(path, {}), read_json(summary)) for path, summary in zip(verdicts, summaries, strict=True)],
        "trainings": _alike(trainings),
        "history": read_csv(history),
    }
    write_section(section, out, SECTION, found, document=None)


def _alike(paths: Sequence[Path]) -> list[dict]:
    """What the page says of each training; those of which it would say the same stand once, with their number."""
    counted: dict[tuple, int] = {}
    for one in map(read_json, paths):
        images = one["training"]["batch_size"] * one["training"]["accumulate"]
        at_most = bool(one["config"].get("batch_limits"))
        key = (one["model"], tuple(one["labels"]), one["training"]["steps"], images, at_most)
        counted[key] = counted.get(key, 0) + 1
    names = ("model", "labels", "steps", "images", "at_most", "times")
    return [dict(zip(names, (*key, times), strict=True)) for key, times in counted.items()]

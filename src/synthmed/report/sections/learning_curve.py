"""Section "Fewer real images": where generated pairs begin or stop to help a segmenter (seed 001, section 4.5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import check_one_each
from synthmed.core.files import read_json
from synthmed.core.known import REAL, TEST
from synthmed.core.settings import Count
from synthmed.core.step import Output, step
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import read_result
from synthmed.report.section import write_section
from synthmed.report.tables import versus_cells
from synthmed.report.words import p_value, signed


@dataclass(frozen=True)
class LearningCurveSettings:
    """Settings of `section-learning-curve`."""

    sizes: Annotated[tuple[Count, ...], Meta(min_length=1, description="Real images that were asked for.")]
    generator: Annotated[str, Meta(description="Name of the arm with its images.")]
    title: Annotated[str, Meta(description="Of the generator.")]


def _arms(found: Found, task: Mapping) -> list[tuple[str, Mapping]]:
    """The real images, the controls, the generator."""
    return sorted(task["arms"].items(), key=lambda item: (item[0] != REAL, item[0] == found["generator"]))


def _title(found: Found, name: str, arm: Mapping) -> str:
    return f"Real + {found['title']}" if name == found["generator"] else arm["title"]


def _rows(found: Found) -> list[dict]:
    rows = []
    for size, task in found["tasks"].items():
        for name, arm in _arms(found, task):
            row = {"real": size, "arm": _title(found, name, arm), "images": arm["n_train"]}
            row |= {key: arm["tests"][TEST]["outcomes"][key] for key in task["outcomes"]}
            if versus := arm["versus_reference"]:
                row |= {**versus_cells(task, versus), "p": versus["p"]}
            rows.append(row)
    return rows


def _columns(found: Found) -> list[Column]:
    task = next(iter(found["tasks"].values()))
    titles, decides = {name: one["title"] for name, one in task["outcomes"].items()}, task["outcome"]
    return [
        Column("real", once="{} real images.", group=True),
        Column("arm", "training set"),
        Column("images"),
        Column(decides, titles[decides], interval=True),
        Column("difference", "difference from real only", signed, interval=True),
        Column("p", form=p_value),
        Column("verdict"),
        *(Column(name, title, interval=True, page=False) for name, title in titles.items() if name != decides),
    ]


def _draw(path: Path, found: Found) -> None:
    from synthmed.report.charts.learning_curve import draw_curve

    tasks = found["tasks"]
    outcome = next(iter(tasks.values()))["outcome"]
    lines = {
        _title(found, name, arm): [one["arms"][name]["tests"][TEST]["outcomes"][outcome] for one in tasks.values()]
        for name, arm in _arms(found, next(iter(tasks.values())))
    }
    draw_curve(path, list(tasks), lines, found["outcome"])


SECTION = Section(
    link="Fewer real images",
    title="Where do generated pairs begin or stop to help?",
    exhibits=(
        Figure(
            "curve",
            "{{ outcome }} on the same {{ test }} test images by the number of real training images, means over "
            "{{ seeds }} trainings, with {{ (1 - alpha) | confidence }} intervals.",
            _draw,
        ),
        Table(
            "sizes",
            "The same in numbers. Difference: from the real images of the same size. Verdicts are adjusted within a "
            "size (Holm), not over the sizes; p is not adjusted.",
            _rows,
            _columns,
        ),
    ),
)


@step("section-learning-curve")
def section(
    settings: LearningCurveSettings, *, verdicts: list[Path], splits: list[Path], section: Output, out: list[Output]
) -> None:
    """The report's section on fewer real images.

    verdicts: of `compare`, splits: reports of `split`, for each of settings.sizes. Shown are the sizes that there are:
    whole patients may give fewer, and a number above that of all real training images is these. Raises InputError on
    other numbers of files.
    """
    check_one_each(settings.sizes, verdicts=verdicts, splits=splits)
    reports = [read_json(path) for path in splits]
    there = [sum(report["counts"]["train"].values()) for report in reports]
    every = [report["whole"]["train"] for report in reports]
    tasks = {size: read_result(path) for size, path in zip(there, verdicts, strict=True)}
    one = next(iter(tasks.values()))
    found = {
        "tasks": tasks,
        "lacking": [one for one in zip(settings.sizes, there, every, strict=True) if one[1] < one[0]],
        "generator": settings.generator,
        "title": settings.title,
        "outcome": one["outcomes"][one["outcome"]]["title"],
        "test": one["images"][TEST],
        "validation": sum(reports[0]["counts"]["validation"].values()),
        "seeds": one["seeds"],
        "alpha": one["alpha"],
    }
    write_section(section, out, SECTION, found, document=None)

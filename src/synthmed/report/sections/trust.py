"""Section "Trust in the verdict", one for each task: how often the verdict is right where the truth is known."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.settings import Count
from synthmed.core.step import Output, step
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import read_result
from synthmed.report.section import write_section


@dataclass(frozen=True)
class TrustSettings:
    """Settings of `section-trust`."""

    title: Annotated[str, Meta(description="Of the task.")]
    tasks: Annotated[Count, Meta(description="How many the experiment has.")]


def _rows(found: Found) -> list[dict]:
    validation = found["validation"]
    return [
        {
            "case": case["case"],
            "expected": case["expected"],
            "model": validation["backbone"],
            "repeats": case["repeats"],
            "verdict": verdict,
            **{name: measured[name] for name in ("count", "rate")},
        }
        for case in (validation or {"cases": []})["cases"]
        for verdict, measured in case["verdicts"].items()
    ]


def _draw(path: Path, found: Found) -> str | None:
    if not found["validation"]:
        return "The verdict was not validated in this run (that needs data with known truth)."
    from synthmed.report.charts.task import draw_validation

    draw_validation(path, found["validation"]["cases"], found["validation"]["level"])
    return None


SECTION = Section(
    link="Trust in the verdict{{ '' if tasks == 1 else ': ' ~ title }}",
    title="Can the verdict be trusted?{{ '' if tasks == 1 else ' ' ~ title }}",
    each_task=True,
    exhibits=(
        Figure(
            "rates",
            "How often each verdict is given where the truth is known{% if validation %}, with {{ validation.level | "
            "confidence }} intervals{% endif %}. Shaded: the right one.",
            _draw,
        ),
        Table(
            "rates_in_numbers",
            "Verdicts where the truth is known: how often each was given{% if validation %}, with {{ validation.level "
            "| confidence }} interval{% endif %}.",
            _rows,
            (
                Column("case"),
                Column("expected"),
                Column("model", once="Model: {}."),
                Column("repeats", once="Repeats: {}."),
                Column("verdict"),
                Column("count"),
                Column("rate", interval=True),
            ),
            empty="the verdict was not validated in this run",
        ),
    ),
)


@step("section-trust")
def section(settings: TrustSettings, *, validation: Path | None, section: Output, out: list[Output]) -> None:
    """The report's section on trust in the verdict. validation: of `validate-verdict`, where there is known truth."""
    found = {
        "title": settings.title,
        "tasks": settings.tasks,
        "validation": read_result(validation) if validation else None,
    }
    found["masks"] = bool(validation) and found["validation"]["outcome"] != "AUROC"
    write_section(section, out, SECTION, found, document=None)

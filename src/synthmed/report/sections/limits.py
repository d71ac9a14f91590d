"""Section "Limits"."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.step import Output, step
from synthmed.report.exhibits import Section
from synthmed.report.references.document import HEADER, read_document
from synthmed.report.results import read_task
from synthmed.report.section import write_section

SECTION = Section(link="Limits", title="Limits")


@dataclass(frozen=True)
class LimitsSettings:
    """Settings of `section-limits`."""

    phantom: Annotated[bool, Meta(description="Whether the images are drawn by a program.")]


@step("section-limits")
def section(settings: LimitsSettings, *, verdicts: list[Path], document: Path | None, section: Output) -> None:
    """The report's section on what the results do not say. verdicts: of each task."""
    cited = read_document(document)
    found = {
        "phantom": settings.phantom,
        "tasks": [read_task(path, {}) for path in verdicts],
        "citation": cited and cited.citation,
        "header": HEADER,
    }
    write_section(section, [], SECTION, found, document=document)

"""Section "Question"."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from synthmed.core.step import Output, step
from synthmed.report.exhibits import Section
from synthmed.report.section import write_section

SECTION = Section(link="Question", title="Question")


@dataclass(frozen=True)
class QuestionSettings:
    """Settings of `section-question`."""

    task: Annotated[str, Meta(description="What the model does, to follow “a classifier”: `tells a from b`.")]


@step("section-question")
def section(settings: QuestionSettings, *, section: Output) -> None:
    """The report's section on what is asked."""
    write_section(section, [], SECTION, {"task": settings.task}, document=None)

"""Section "Limits"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.known import HARMS, HELPS
from synthmed.core.step import Output, step
from synthmed.report.exhibits import Section
from synthmed.report.references.document import HEADER, read_document
from synthmed.report.results import read_result, read_task
from synthmed.report.section import write_section

SECTION = Section(link="Limits", title="Limits")


@dataclass(frozen=True)
class LimitsSettings:
    """Settings of `section-limits`."""

    phantom: Annotated[bool, Meta(description="Whether the images are drawn by a program.")]


CONTROLS = (
    ("oracle", HELPS, "Fresh true images"),
    ("label_shuffled", HARMS, "Wrong labels, or the masks of others"),
)
"""Kinds of arms whose effect is known, the word that they must get, and what they are."""
SHOWN = {
    (True, True): "So this run shows that the method can tell help from harm.",
    (True, False): "So this run shows that the method sees a help, and not that it sees a harm.",
    (False, True): "So this run shows that the method sees a harm, and not that it would see a help.",
    (False, False): "So this run shows neither that the method would see a help nor that it would see a harm.",
}
"""Whether a control that must help did, and one that must harm → what that shows."""


def _words(tasks: Sequence[Mapping], kind: str) -> list[tuple[str, str | None]]:
    """Task and word of every arm of a kind."""
    return [
        (task["title"], arm["versus_reference"]["verdict"])
        for task in tasks
        for arm in task["arms"].values()
        if arm["kind"] == kind
    ]


def _shown(controls: Mapping[str, list[tuple[str, str | None]]]) -> str:
    """What the controls of known effect show of the method."""
    if not any(controls.values()):
        return "No training set of known effect was among them, so this run does not show that help is told from harm."
    helped, harmed = (expected in [word for _, word in controls[kind]] for kind, expected, _ in CONTROLS)
    return SHOWN[helped, harmed]


def _found(validation: Mapping) -> dict:
    """How often a validation found the help of fresh true images."""
    case = next(case for case in validation["cases"] if case["expected"] == HELPS)
    return {"backbone": validation["backbone"], "repeats": case["repeats"], "verdicts": case["verdicts"]}


@step("section-limits")
def section(
    settings: LimitsSettings,
    *,
    verdicts: list[Path],
    validations: list[Path],
    document: Path | None,
    section: Output,
) -> None:
    """The report's section on what the results do not say. verdicts: of each task; validations: of the tasks that have
    one, of known truth."""
    cited, tasks = read_document(document), [read_task(path, {}) for path in verdicts]
    controls = {kind: _words(tasks, kind) for kind, _, _ in CONTROLS}
    found = {
        "phantom": settings.phantom,
        "tasks": tasks,
        "kinds": CONTROLS,
        "controls": controls,
        "shown": _shown(controls),
        "validations": [_found(read_result(path)) for path in validations],
        "citation": cited and cited.citation,
        "header": HEADER,
    }
    write_section(section, [], SECTION, found, document=document)

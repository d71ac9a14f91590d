"""Section "Who was studied": the flow chart, what each rule excluded, the films by finding, and the rejected files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.files import read_csv, read_json
from synthmed.core.settings import Classes
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.data.parts import PARTS
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.section import write_section
from synthmed.report.words import counted


@dataclass(frozen=True)
class SelectionSettings:
    """Settings of `section-selection`."""

    classes: Classes
    findings: Annotated[
        tuple[str, ...],
        Meta(description="Those that classifiers are trained on, in the order they are shown; others follow."),
    ]
    trainings: Annotated[
        dict[str, tuple[str, ...]],
        Meta(description="Title of each training of a generator → the classes it learns from."),
    ]


def reject_reasons(rows: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """Reason → files, the most frequent first. What follows a colon is about one file, and left out."""
    found = Counter(row["reason"].partition(":")[0].strip() for row in rows)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


# --------------------------------------------------------------------------------------------------------- flow chart
def by_label(counts: Mapping[str, int], classes: Sequence[str]) -> str:
    """`normal 12, abnormal 34`."""
    return ", ".join(f"{label} {counts[label]:,}" for label in classes)


def of_patients(films: int, patients: int) -> str:
    """`3 films of 2 patients`."""
    return f"{counted(films, 'film', 'films')} of {counted(patients, 'patient', 'patients')}"


def _described(found: Mapping, classes: Sequence[str]) -> str:
    whose = of_patients(found["all"]["images"], found["all"]["patients"])
    return f"{whose} ({by_label(found['images'], classes)})"


def _exit(step: Mapping, classes: Sequence[str]) -> tuple:
    words, missing = step["words"].partition(":")[0], step["missing"]
    lines = [_described(step["excluded"], classes)]
    if step["key"] in ("manufacturers", "views", "normals_with_devices") and step["reasons"]:
        found = sorted(step["reasons"].items(), key=lambda item: (-item[1], item[0]))
        lines.append(", ".join(f"{reason} {number:,}" for reason, number in found))
    if missing["all"]["images"]:
        action = "excluded, too" if missing["action"] == "exclude" else "kept"
        number = missing["all"]["images"]
        lines.append(f"no value, {action}: {number:,} ({by_label(missing['images'], classes)})")
    kind = "elsewhere" if step["key"] == "set_aside_findings" else "leaves"
    return words[0].upper() + words[1:], tuple(lines), kind


def _draw(path: Path, found: Found) -> None:
    from synthmed.report.charts.flow_chart import Box, draw_flow_chart

    report, rejected, parts = found["report"], sum(found["reasons"].values()), found["parts"]
    steps = [step for step in report["steps"] if step["applied"]]
    before, classes = report["before"], report["classes"]
    column = [Box("Films", (_described(before, classes),), "stays")]
    exits: list[Box | None] = []
    if rejected:
        column.insert(0, Box("Files", (counted(before["all"]["images"] + rejected, "file", "files"),), "stays"))
        lines = (f"{counted(rejected, 'file', 'files')}, by reason in the table of rejects",)
        exits.append(Box("Not usable", lines, "leaves"))
    for number, step in enumerate(steps, start=1):
        title = "Studied" if number == len(steps) else "Left"
        column.append(Box(title, (_described(step["after"], classes),), "stays"))
        exits.append(Box(*_exit(step, classes)))
    names = {"train": "Training part", "validation": "Validation part", "test": "Test part"}
    ends = []
    for name, images in parts.items():
        lines = (
            of_patients(len(images), len(set(images.column("patient")))),
            by_label(Counter(images.column("label")), classes),
        )
        ends.append(Box(names[name], lines, "stays"))
    draw_flow_chart(path, column, exits, ends)


# ------------------------------------------------------------------------------------------------------------- tables
def _exclusion_columns(found: Found) -> list[Column]:
    classes = found["report"]["classes"]
    return [
        Column("step"),
        *(Column(f"excluded_{label}") for label in classes),
        Column("without_value_excluded"),
        Column("without_value_kept"),
        *(Column(f"left_{label}") for label in classes),
        Column("images"),
        Column("patients"),
    ]


def exclusion_rows(found: Found) -> list[dict]:
    """What every rule that was applied excluded, and the films left after it."""
    report = found["report"]
    classes = report["classes"]

    def row(words: str, left: Mapping) -> dict:
        films = {f"left_{label}": left["images"][label] for label in classes}
        return {"keys": (words,), "step": words, **films, **left["all"]}

    rows = [row("all films", report["before"])]
    for step in report["steps"]:
        if step["applied"]:
            missing, excluded = step["missing"]["all"]["images"], step["missing"]["action"] == "exclude"
            rows.append(
                row(step["words"].partition(":")[0], step["after"])
                | {
                    **{f"excluded_{label}": step["excluded"]["images"][label] for label in classes},
                    "without_value_excluded": missing if excluded else 0,
                    "without_value_kept": 0 if excluded else missing,
                }
            )
    return [*rows, row("studied", report["after"])]


def training_rows(found: Found) -> list[dict]:
    """Training images of each generator."""
    labels = found["parts"]["train"].column("label")
    rows = []
    for title, classes in found["settings"].trainings.items():
        counts = {label: labels.count(label) for label in classes}
        rows.append({"keys": ("+".join(classes),), "generator": title, **counts, "images": sum(counts.values())})
    return rows


def finding_rows(found: Found) -> list[dict]:
    """Films with each class and finding in each part, set aside, and in all; their patients.

    `set_aside` is empty when that rule was not applied.
    """
    settings, report, parts = found["settings"], found["report"], found["parts"]
    applied = {step["key"]: step for step in report["steps"] if step["applied"]}
    aside = dict(report["set_aside"]["by_finding"])
    none = {"images": None, "patients": 0}
    if "set_aside_findings" in applied:
        excluded = applied["set_aside_findings"]["excluded"]
        aside |= {label: {kind: excluded[kind][label] for kind in ("images", "patients")} for label in settings.classes}
        none = {"images": 0, "patients": 0}
    cells = {
        name: [
            ({row["label"], *filter(None, (part.strip() for part in row["findings"].split(";")))}, row["patient"])
            for row in images.rows
        ]
        for name, images in parts.items()
    }
    present = {finding for part in cells.values() for names, _ in part for finding in names}
    order = [*settings.classes, *settings.findings]
    order += [name for name in report["set_aside"]["findings"] if name not in order]
    order += sorted((present | set(aside)) - set(order))
    rows = []
    for finding in order:
        number = {name: sum(finding in names for names, _ in part) for name, part in cells.items()}
        patients = {patient for part in cells.values() for names, patient in part if finding in names}
        kept = aside.get(finding, none)
        rows.append(
            {
                "keys": (finding,),
                "finding": finding,
                **number,
                "set_aside": kept["images"],
                "images": sum(number.values()) + (kept["images"] or 0),
                "patients": len(patients) + kept["patients"],  # a patient is set aside with every film
            }
        )
    return rows


SECTION = Section(
    link="Who was studied?",
    title="Who was studied?",
    exhibits=(
        Figure("flow", "Selection of the films.", _draw),
        Table(
            "exclusions",
            "Films that each rule excluded, and those left after it, in the order of the rules. A film without a "
            "value is counted apart, and excluded or kept as the settings say.",
            exclusion_rows,
            _exclusion_columns,
        ),
        Table(
            "trainings",
            "Films that each generator learnt from: those of the training part.",
            training_rows,
            lambda found: [Column("generator"), *map(Column, found["settings"].classes), Column("images")],
        ),
        Table(
            "findings",
            "Films with each finding, by part; a film with two findings counts in two rows. Set aside: films that "
            "only the anomaly test sees.",
            finding_rows,
            tuple(map(Column, ("finding", *PARTS, "set_aside", "images", "patients"))),
        ),
        Table(
            "rejects",
            "Files that could not be used, by reason.",
            lambda found: [{"reason": reason, "files": files} for reason, files in found["reasons"].items()],
            (Column("reason"), Column("files")),
            empty="every file could be used",
        ),
    ),
)


@step("section-selection")
def section(
    settings: SelectionSettings,
    *,
    exclusions: Path,
    rejects: Path,
    train: Path,
    validation: Path,
    test: Path,
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on who was studied.

    exclusions: report of `exclude`; rejects: CSV of `prepare-dicom`; train, validation, test: of `split`.
    """
    found = {
        "settings": settings,
        "report": read_json(exclusions),
        "reasons": reject_reasons(read_csv(rejects)),
        "parts": {name: ImageSet(path) for name, path in zip(PARTS, (train, validation, test), strict=True)},
        "of_patients": of_patients,
        "by_label": by_label,
    }
    write_section(section, out, SECTION, found, document=document)

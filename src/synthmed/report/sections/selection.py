"""Section "Who was studied": Figure 1 and Tables 1 and 2 of seed 004 (M. Kim 2021) in our form, and the rejects."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthmed.core.files import read_csv, read_json, write_csv
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.report import SECTIONS
from synthmed.report.charts.flow_chart import Box, draw_flow_chart
from synthmed.report.page_words import counted, joined, percent
from synthmed.report.results import by_stem
from synthmed.report.sections.section import write_section

logger = logging.getLogger(__name__)

FILES = SECTIONS["selection"]
"""Stems of the outputs `out`."""

PARTS = ("train", "validation", "test")

# Seed 004, section 1.1 and Table 1: before and after the exclusions, by class.
DOCUMENT_BEFORE = {"normal": 109_201, "abnormal": 108_723}
DOCUMENT_AFTER = {"normal": 72_938, "abnormal": 91_163}
# Table 1: what each of its two GANs was trained on, by the labels of the training.
DOCUMENT_TRAININGS: Mapping[frozenset[str], Mapping[str, int]] = {
    frozenset({"normal"}): {"normal": 72_938},
    frozenset({"normal", "abnormal"}): {"normal": 20_000, "abnormal": 91_163},
}
# Table 2: images of its two hospitals (AMC, SNUBH), the data of its classifiers. A film with two findings counts twice,
# also in its total of abnormal ones, which it prints for both hospitals only. Its section 1.2 gives other numbers for
# the same data (944, 550, 280, 1364, 331 and 1189, 853, 1009, 998, 944 "cases" of the five findings).
DOCUMENT_FINDINGS: Mapping[str, tuple[int | None, int | None, int]] = {
    "normal": (6_069, 1_035, 7_104),
    "abnormal": (None, None, 10_234),
    "nodule": (1_012, 1_516, 2_528),
    "consolidation": (653, 1_114, 1_767),
    "interstitial opacity": (312, 1_222, 1_534),
    "pleural effusion": (1_599, 1_302, 2_901),
    "pneumothorax": (421, 1_083, 1_504),
}


@dataclass(frozen=True)
class SelectionSettings:
    """Settings of `section-selection`.

    classes: in order. findings: those that classifiers are trained on, in the order they are shown; others follow.
    trainings: title of each training of a generator → the classes it learns from.
    """

    classes: tuple[str, ...]
    findings: tuple[str, ...]
    trainings: dict[str, tuple[str, ...]]


@step("section-selection")
def section(
    settings: SelectionSettings,
    *,
    exclusions: Path,
    rejects: Path,
    train: Path,
    validation: Path,
    test: Path,
    section: Output,
    out: list[Output],
) -> None:
    """Write the report's section on who was studied.

    exclusions: report of `exclude`; rejects: CSV (file, reason) of `prepare-dicom`; train, validation, test: the parts
    of `split`. out: a file for each of FILES, by its stem: figure_1.png; table_exclusions.csv, one row a step;
    table_1.csv, one row a training of a generator; table_2.csv, one row a finding; table_rejects.csv, one row a reason.
    """
    paths = by_stem(out, FILES, "out")
    report = read_json(exclusions)
    reasons = reject_reasons(read_csv(rejects))
    parts = {name: ImageSet(path) for name, path in zip(PARTS, (train, validation, test), strict=True)}
    count = {
        name: {label: images.column("label").count(label) for label in settings.classes}
        for name, images in parts.items()
    }
    draw(paths["figure_1"], report, sum(reasons.values()), parts)
    tables = {
        "table_exclusions": exclusion_rows(report),
        "table_1": training_rows(settings, count["train"]),
        "table_2": finding_rows(settings, report, parts),
        "table_rejects": [{"reason": reason, "files": files, "note": ""} for reason, files in reasons.items()],
    }
    columns = {name: list(rows[0]) if rows else ["reason", "files", "note"] for name, rows in tables.items()}
    for name, rows in tables.items():
        write_csv(paths[name], rows, columns[name])
    write_section(
        section,
        key="selection",
        title="Who was studied?",
        after="data",
        figures_first=True,
        paragraphs=paragraphs(report, reasons),
        tables=[
            (
                paths["table_exclusions"],
                "Films that each rule excluded, and those left after it, in the order of the rules. A film without a "
                "value is counted apart, and excluded or kept as the settings say. [[The document's section 1.1 "
                "gives its first and last row.]]",
            ),
            (
                paths["table_1"],
                "Films that each generator learnt from: those of the training part. [[The document's Table 1.]]",
            ),
            (
                paths["table_2"],
                "Films with each finding, by part; a film with two findings counts in two rows. Set aside: films that "
                "only the anomaly test sees. [[The document's Table 2, with its two hospitals.]]",
            ),
            (paths["table_rejects"], "Files that could not be used, by reason."),
        ],
        figures=[(paths["figure_1"], "Selection of the films. [[The document's Figure 1.]]")],
    )
    logger.info("wrote %s", section)


def reject_reasons(rows: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """Reason → files, the most frequent first. What follows a colon is about one file, and left out."""
    found = Counter(row["reason"].partition(":")[0].strip() for row in rows)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


# --------------------------------------------------------------------------------------------------------- flow chart
def _by_label(counts: Mapping[str, int], classes: Sequence[str]) -> str:
    return ", ".join(f"{label} {counts[label]:,}" for label in classes)


def _of_patients(films: int, patients: int) -> str:
    return f"{counted(films, 'film', 'films')} of {counted(patients, 'patient', 'patients')}"


def _images(found: Mapping) -> str:
    return _of_patients(found["all"]["images"], found["all"]["patients"])


def _described(found: Mapping, classes: Sequence[str]) -> str:
    return f"{_images(found)} ({_by_label(found['images'], classes)})"


def _exit(step: Mapping, classes: Sequence[str]) -> Box:
    words, missing = step["words"].partition(":")[0], step["missing"]
    lines = [_described(step["excluded"], classes)]
    if step["key"] in ("manufacturers", "views", "normals_with_devices") and step["reasons"]:
        found = sorted(step["reasons"].items(), key=lambda item: (-item[1], item[0]))
        lines.append(", ".join(f"{reason} {number:,}" for reason, number in found))
    if missing["all"]["images"]:
        action = "excluded, too" if missing["action"] == "exclude" else "kept"
        number = missing["all"]["images"]
        lines.append(f"no value, {action}: {number:,} ({_by_label(missing['images'], classes)})")
    kind = "elsewhere" if step["key"] == "set_aside_findings" else "leaves"
    return Box(words[0].upper() + words[1:], tuple(lines), kind)


def draw(path: Path, report: Mapping, rejected: int, parts: Mapping[str, ImageSet]) -> None:
    """Figure 1. report: of `exclude`; rejected: files without a usable image."""
    steps = [step for step in report["steps"] if step["applied"]]
    before = report["before"]
    classes = report["classes"]
    column = [Box("Films", (_described(before, classes),), "stays")]
    exits: list[Box | None] = []
    if rejected:
        column.insert(0, Box("Files", (counted(before["all"]["images"] + rejected, "file", "files"),), "stays"))
        exits.append(
            Box("Not usable", (f"{counted(rejected, 'file', 'files')}, by reason in the table of rejects",), "leaves")
        )
    for number, step in enumerate(steps, start=1):
        title = "Studied" if number == len(steps) else "Left"
        column.append(Box(title, (_described(step["after"], classes),), "stays"))
        exits.append(_exit(step, classes))
    names = {"train": "Training part", "validation": "Validation part", "test": "Test part"}
    ends = []
    for name, images in parts.items():
        labels = Counter(images.column("label"))
        lines = (
            _of_patients(len(images), len(set(images.column("patient")))),
            _by_label(labels, classes),
        )
        ends.append(Box(names[name], lines, "stays"))
    draw_flow_chart(path, column, exits, ends)


# ------------------------------------------------------------------------------------------------------------- tables
def _references(counts: Mapping[str, int] | None, classes: Sequence[str]) -> dict:
    """The document's numbers of the classes that it has, and their sum."""
    known = counts if counts and set(classes) == {"normal", "abnormal"} else {}
    found = {f"reference_{label}": known.get(label) for label in classes}
    return {**found, "reference_images": sum(known.values()) or None}


def exclusion_rows(report: Mapping) -> list[dict]:
    """What every rule that was applied excluded, and the films left after it."""
    classes = report["classes"]

    def row(step: str, left: Mapping, reference: Mapping[str, int] | None) -> dict:
        return {
            "step": step,
            **{f"excluded_{label}": None for label in classes},
            "without_value_excluded": None,
            "without_value_kept": None,
            **{f"left_{label}": left["images"][label] for label in classes},
            "images": left["all"]["images"],
            "patients": left["all"]["patients"],
            **_references(reference, classes),
            "note": "",
        }

    rows = [row("all films", report["before"], DOCUMENT_BEFORE)]
    for step in report["steps"]:
        if step["applied"]:
            missing, excluded = step["missing"]["all"]["images"], step["missing"]["action"] == "exclude"
            rows.append(
                row(step["words"].partition(":")[0], step["after"], None)
                | {
                    **{f"excluded_{label}": step["excluded"]["images"][label] for label in classes},
                    "without_value_excluded": missing if excluded else 0,
                    "without_value_kept": 0 if excluded else missing,
                }
            )
    return [*rows, row("studied", report["after"], DOCUMENT_AFTER)]


def training_rows(settings: SelectionSettings, counts: Mapping[str, int]) -> list[dict]:
    """Table 1: training images of each generator. counts: images of each class in the training part."""
    rows = []
    for title, labels in settings.trainings.items():
        own = {label: counts[label] if label in labels else None for label in settings.classes}
        reference = DOCUMENT_TRAININGS.get(frozenset(labels))
        total = sum(number for number in own.values() if number)
        rows.append({"training": title, **own, "images": total, **_references(reference, settings.classes), "note": ""})
    return rows


def finding_rows(settings: SelectionSettings, report: Mapping, parts: Mapping[str, ImageSet]) -> list[dict]:
    """Table 2: films with each class and finding in each part, set aside, and in all; their patients.

    The column `set_aside` is empty when that rule was not applied.
    """
    applied = {step["key"]: step for step in report["steps"] if step["applied"]}
    aside = dict(report["set_aside"]["by_finding"])
    none = {"images": None, "patients": 0}
    if "set_aside_findings" in applied:
        excluded = applied["set_aside_findings"]["excluded"]
        aside |= {label: _films(excluded, label) for label in settings.classes}
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
        theirs = DOCUMENT_FINDINGS.get(finding, (None, None, None))
        rows.append(
            {
                "finding": finding,
                **number,
                "set_aside": kept["images"],
                "images": sum(number.values()) + (kept["images"] or 0),
                "patients": len(patients) + kept["patients"],  # a patient is set aside with every film
                **dict(zip(("reference_AMC", "reference_SNUBH", "reference_images"), theirs, strict=True)),
                "note": "",
            }
        )
    return rows


def _films(counts: Mapping, label: str) -> dict[str, int]:
    return {"images": counts["images"][label], "patients": counts["patients"][label]}


# -------------------------------------------------------------------------------------------------------------- words
def paragraphs(report: Mapping, reasons: Mapping[str, int]) -> list[str]:
    """The section's sentences."""
    before, after = report["before"], report["after"]
    share = after["all"]["images"] / before["all"]["images"]
    first = (
        f"Of {_images(before)}, {_images(after)} are studied ({percent(share)} of the films): "
        f"{_by_label(after['images'], report['classes'])}."
    )
    if reasons:
        files = counted(sum(reasons.values()), "further file", "further files")
        first += f" {files} could not be used at all, for the reasons below."
    else:
        first += " Every file could be used."
    found = [first]
    applied = [step for step in report["steps"] if step["applied"]]
    missing = [step for step in applied if step["missing"]["all"]["images"]]
    if missing:
        named = [
            f"{step['name'].lower()} {step['missing']['all']['images']} "
            f"({'excluded' if step['missing']['action'] == 'exclude' else 'kept'})"
            for step in missing
        ]
        found.append(f"Films without the value that a rule asks for are counted apart: {joined(named)}.")
    elif applied:
        found.append("Every film has the values that the rules ask for.")
    skipped = [step["name"].lower() for step in report["steps"] if not step["applied"]]
    if skipped:
        found.append(f"Not applied in this run: the {counted(len(skipped), 'rule', 'rules')} on {joined(skipped)}.")
    if report["devices"] is not None:
        step = next(step for step in applied if step["key"] == "normals_with_devices")
        found.append(_devices(report["devices"], step["missing"]["all"]["images"]))
    aside = report["set_aside"]
    if aside["images"]:
        found.append(
            f"Set aside for the anomaly test are patients with {joined(aside['findings'])}: "
            f"{_of_patients(len(aside['images']), aside['patients'])}. No generator and no classifier of "
            "findings learns from any film of them."
        )
    return found


def _devices(devices: Mapping, unknown: int) -> str:
    data, asked = devices["from_data"], devices["from_classifier"]
    words = (
        f"Whether a {devices['label']} film shows a device is known from the data for "
        f"{counted(data['yes'] + data['no'], 'film', 'films')} ({data['yes']:,} with a device)"
    )
    if not asked["yes"] + asked["no"]:
        return f"{words}{f'; of {unknown:,} others nothing is known' if unknown else ', which are all'}."
    classifier = devices["classifier"]
    held_out = classifier["held_out"]

    def spread(name: str) -> str:
        value = classifier[name]
        if classifier["seeds"] == 1:
            return f"{value['mean']:.3f}"
        return f"{value['mean']:.3f} ({value['lowest']:.3f} to {value['highest']:.3f})"

    trainings = f", mean and range of {classifier['seeds']} trainings" if classifier["seeds"] > 1 else ""
    return (
        f"{words}; for {asked['yes'] + asked['no']:,} others a classifier says it ({asked['yes']:,} with a device). On "
        f"{_of_patients(held_out['images'], held_out['patients'])} that it was not trained on, "
        f"{held_out['with_device']:,} with a device, its AUROC is {spread('auroc')}, its sensitivity "
        f"{spread('sensitivity')} and its specificity {spread('specificity')}{trainings}. Its threshold and its best "
        "epoch were chosen on these very films, so it may do worse on others."
    )

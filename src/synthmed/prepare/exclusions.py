"""Who is studied: exclusions in order, each counted (flow chart of seed 004, Figure 1), and the films set aside.

The rules look at columns of the manifest only. An empty cell is no value: it is counted as missing, and the setting
`missing` of its rule says whether such an image stays.
"""

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.settings import Classes, Names
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set

logger = logging.getLogger(__name__)

Missing = Literal["exclude", "keep"]
Row = Mapping[str, str]

DEVICE = "device"
"""Column that says yes or no, empty where unknown; and the target of the classifier that says it there."""
MISSING = ""
"""What a rule says of an image whose cell is empty."""


@dataclass(frozen=True)
class MinAge:
    """Patients younger than this are excluded."""

    years: Annotated[
        float, Meta(gt=0, description="Patients younger than this are excluded.", extra_json_schema={"unit": "years"})
    ]
    missing: Annotated[Missing, Meta(description="What happens to images without a value; they are counted apart.")]


@dataclass(frozen=True)
class Accepted:
    """Only images with these values stay."""

    accepted: Annotated[
        Names,
        Meta(
            description="Values that stay, whatever their upper and lower case; images with another value are excluded."
        ),
    ]
    missing: Annotated[Missing, Meta(description="What happens to images without a value; they are counted apart.")]


@dataclass(frozen=True)
class Devices:
    """Images of a class with a device are excluded."""

    label: Annotated[str, Meta(description="The class whose images with a device are excluded.")]
    missing: Annotated[Missing, Meta(description="What happens to images without a value; they are counted apart.")]


@dataclass(frozen=True)
class ExcludeOptions:
    """Who is studied: rules in the order in which they are applied, null for none."""

    min_age: Annotated[MinAge | None, Meta(description="By the column `age`.", extra_json_schema={"unit": "years"})]
    manufacturers: Annotated[Accepted | None, Meta(description="By the column `manufacturer`.")]
    views: Annotated[Accepted | None, Meta(description="By the column `view` (PA, AP, LATERAL, ...).")]
    normals_with_devices: Annotated[
        Devices | None,
        Meta(
            description="By the column `device` (yes, no); of empty cells the device classifier decides, where "
            "there is one."
        ),
    ]
    set_aside_findings: Annotated[
        Names | None,
        Meta(
            description="Names in the column `findings` (; between them). A patient with any of them, in whatever "
            "film, leaves the study with every film, for the anomaly test."
        ),
    ]


@dataclass(frozen=True)
class ExcludeSettings(ExcludeOptions):
    """Settings of `exclude`."""

    classes: Classes

    def __post_init__(self) -> None:
        rule = self.normals_with_devices
        if rule is not None and rule.label not in self.classes:
            raise InputError(f"setting normals_with_devices.label is {rule.label!r}; the classes are {self.classes}")


@dataclass(frozen=True)
class SetAsideSettings:
    """`set-aside` has no settings: the report of the exclusions names the images."""


@dataclass(frozen=True)
class _Rule:
    """name, words: for people, the latter says what is excluded; judge: a row of the manifest → None (it stays),
    MISSING, or what was found instead, for the tally."""

    key: str
    name: str
    words: str
    missing: Missing
    judge: Callable[[Row], str | None]


_NAMES = {
    "min_age": "Age",
    "manufacturers": "Manufacturer",
    "views": "View",
    "normals_with_devices": "Devices",
    "set_aside_findings": "Set aside",
}
"""Rules in the order in which they are applied, with their names for people."""


@step("exclude")
def exclude(
    settings: ExcludeSettings,
    *,
    images: Path,
    device_likelihoods: Path | None,
    device_report: Path | None,
    selected: Output,
    report: Output,
) -> None:
    """Leave out what the study does not want, every exclusion counted.

    Write the images that all rules leave (image set `selected`) and what every rule took (JSON `report`).

    device_likelihoods: output of `predict` for the same images; device_report: report of `train-classifier`; both or
    neither. An image whose device cell is empty has a device when its likelihood is at least the threshold: the mean of
    the thresholds of the classifier's seeds, as the likelihood is the mean of their likelihoods.

    report: `before`, `after` and `steps`, one a rule: name, words, images and patients by label and in all before and
    after it, excluded by value (`reasons`: what was found instead → images), missing and kept or excluded;
    `set_aside`: names of the images set aside, and images and patients of each finding that occurs on them or was to be
    set aside; `devices`: how many answers
    came from the data and how many from the classifier, and its performance on held-out images.

    Raises InputError when a rule's column is missing or holds what it cannot, when a likelihood is missing, and when
    everything or a whole class is excluded; it names the rule.
    """
    image_set = ImageSet(images)
    image_set.label_indices(settings.classes)  # raises on an unknown label
    devices = _Devices(settings, image_set, device_likelihoods, device_report)
    rules = _rules(settings, image_set, devices)
    left = list(image_set.rows)
    steps, gone = [], {}
    for key, name in _NAMES.items():
        if key not in rules:
            steps.append({"key": key, "name": name, "applied": False})
            continue
        step, left, gone[key] = _apply(rules[key], left, settings.classes)
        steps.append(step)
        logger.info("%s: %d of %d images excluded", name, len(gone[key]), len(gone[key]) + len(left))
        _check_left(image_set, rules[key], left, step, settings.classes)
    kept = {row["image"] for row in left}
    chosen = [index for index, row in enumerate(image_set.rows) if row["image"] in kept]
    write_image_set(selected, image_set.entries(chosen), image_set.legend)
    content = {
        "classes": list(settings.classes),
        "before": _counts(image_set.rows, settings.classes),
        "after": _counts(left, settings.classes),
        "steps": steps,
        "set_aside": _set_aside(settings, gone.get("set_aside_findings", [])),
        "devices": devices.summary(),
    }
    write_json(report, content)


@step("set-aside")
def set_aside(settings: SetAsideSettings, *, images: Path, exclusions: Path, set_aside: Output) -> None:
    """Write the image set of the films that `exclude` set aside for the anomaly test.

    images: the image set that `exclude` read; exclusions: its report. Raises InputError when nothing was set aside, or
    when the report is about other images.
    """
    del settings
    image_set = ImageSet(images)
    found = read_json(exclusions)["set_aside"]
    if not found["images"]:
        raise InputError(
            f"{exclusions}: no image was set aside (setting set_aside_findings is {found['findings']}); name findings "
            "that the data have, or leave the anomaly test out"
        )
    position = {row["image"]: index for index, row in enumerate(image_set.rows)}
    unknown = [name for name in found["images"] if name not in position]
    if unknown:
        raise InputError(f"{exclusions}: names {unknown[0]!r}, which is not in {images}; run exclude again on this set")
    write_image_set(set_aside, image_set.entries(sorted(position[name] for name in found["images"])), image_set.legend)


# --------------------------------------------------------------------------------------------------------------- rules
def _rules(settings: ExcludeSettings, image_set: ImageSet, devices: "_Devices") -> dict[str, _Rule]:
    """The rules that are applied, by key. Raises InputError when the manifest lacks the column of one."""
    found = {}

    def add(key: str, column: str, words: str, missing: Missing, judge: Callable[[Row], str | None]) -> None:
        image_set.column(column)  # raises when there is none
        found[key] = _Rule(key, _NAMES[key], words, missing, judge)

    if settings.min_age is not None:
        years = settings.min_age.years
        add("min_age", "age", f"younger than {years:g} years", settings.min_age.missing, _younger(image_set, years))
    for key, column in (("manufacturers", "manufacturer"), ("views", "view")):
        rule = getattr(settings, key)
        if rule is not None:
            accepted = [value.strip() for value in rule.accepted]
            words = f"{column} other than {' or '.join(accepted)}"
            add(key, column, words, rule.missing, _not_among(column, accepted))
    rule = settings.normals_with_devices
    if rule is not None:
        add("normals_with_devices", "device", f"{rule.label} films with a device", rule.missing, devices.judge)
    if settings.set_aside_findings is not None:
        words = f"patients set aside for the anomaly test: {', '.join(settings.set_aside_findings)}"
        # No cell is missing here: an empty one says that there is no finding.
        add("set_aside_findings", "findings", words, "keep", _with_findings(image_set, settings.set_aside_findings))
    return found


def _younger(image_set: ImageSet, years: float) -> Callable[[Row], str | None]:
    def judge(row: Row) -> str | None:
        cell = row["age"].strip()
        if not cell:
            return MISSING
        try:
            age = float(cell)
        except ValueError:
            age = math.nan
        if not 0 <= age < math.inf:
            raise InputError(f"{image_set.path}: the age of {row['image']} is {cell!r}, which is no number of years")
        return f"under {years:g}" if age < years else None

    return judge


def _not_among(column: str, accepted: Sequence[str]) -> Callable[[Row], str | None]:
    wanted = {value.casefold() for value in accepted}

    def judge(row: Row) -> str | None:
        value = row[column].strip()
        if not value:
            return MISSING
        return None if value.casefold() in wanted else value

    return judge


def _findings(row: Row) -> set[str]:
    return {name.strip() for name in row["findings"].split(";") if name.strip()}


def _with_findings(image_set: ImageSet, findings: Sequence[str]) -> Callable[[Row], str | None]:
    image_set.column("findings")  # raises when there is none
    by_patient: dict[str, set[str]] = defaultdict(set)
    for row in image_set.rows:
        by_patient[row["patient"]] |= _findings(row) & set(findings)
    for name in findings:
        if not any(name in found for found in by_patient.values()):
            logger.warning("%s: no image has the finding %r, which is to be set aside", image_set.path, name)
    return lambda row: ";".join(sorted(by_patient[row["patient"]])) or None


class _Devices:
    """Whether a film shows a device: by the data, else by the classifier."""

    def __init__(self, settings: ExcludeSettings, image_set: ImageSet, likelihoods: Path | None, report: Path | None):
        if (likelihoods is None) != (report is None):
            raise InputError("device_likelihoods and device_report: give both (of one classifier) or neither")
        self.rule, self.images, self.path = settings.normals_with_devices, image_set, likelihoods
        self.classifier = None if report is None else _held_out(report)
        self.likelihood = {} if likelihoods is None else _likelihoods(likelihoods)
        self.asked: Counter[tuple[str, str]] = Counter()

    def judge(self, row: Row) -> str | None:
        """See _Rule. Images of other classes stay."""
        if row["label"] != self.rule.label:
            return None
        cell = row[DEVICE].strip().lower()
        if cell not in ("yes", "no", ""):
            raise InputError(
                f"{self.images.path}: the device of {row['image']} is {row[DEVICE]!r}; it is 'yes', 'no' or empty"
            )
        source = "data"
        if not cell:
            if self.classifier is None:
                return MISSING
            if row["image"] not in self.likelihood:
                raise InputError(f"{self.path}: no likelihood of {row['image']}; predict {self.images.path} again")
            source = "classifier"
            cell = "yes" if self.likelihood[row["image"]] >= self.classifier["threshold"] else "no"
        self.asked[source, cell] += 1
        return f"by the {source}" if cell == "yes" else None

    def summary(self) -> dict | None:
        """The entry `devices` of the report; None when the rule is not applied."""
        if self.rule is None:
            return None
        return {
            "label": self.rule.label,
            **{
                f"from_{source}": {answer: self.asked[source, answer] for answer in ("yes", "no")}
                for source in ("data", "classifier")
            },
            "classifier": self.classifier,
        }


def _likelihoods(path: Path) -> dict[str, float]:
    rows = read_csv(path)
    if not rows or "image" not in rows[0] or DEVICE not in rows[0]:
        raise InputError(f"{path}: needs the columns 'image' and {DEVICE!r}, as `synthmed predict` writes them")
    return {row["image"]: float(row[DEVICE]) for row in rows}


def _held_out(path: Path) -> dict:
    """Threshold and validation results of the device classifier, mean over its seeds, from its report."""
    content = read_json(path)
    try:
        seeds = [entry["validation"][DEVICE] for entry in content["seeds"]]
        part = content["images"]["validation"]
        sensitivity = [s["true_positives"] / (s["true_positives"] + s["false_negatives"]) for s in seeds]
        specificity = [s["true_negatives"] / (s["true_negatives"] + s["false_positives"]) for s in seeds]
        measured = {"auroc": [s["auroc"] for s in seeds], "sensitivity": sensitivity, "specificity": specificity}
        return {
            "threshold": sum(s["threshold"] for s in seeds) / len(seeds),
            "threshold_rule": content["threshold_rule"],
            "seeds": len(seeds),
            "held_out": {
                "images": part["images"],
                "patients": part["patients"],
                "with_device": part["positives"][DEVICE],
            },
            **{
                name: {"mean": sum(values) / len(values), "lowest": min(values), "highest": max(values)}
                for name, values in measured.items()
            },
        }
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no report of a classifier with the target {DEVICE!r} ({error} is missing); give that of "
            "`synthmed train-classifier`"
        ) from error


# ------------------------------------------------------------------------------------------------------------ counting
def _counts(rows: Sequence[Row], classes: Sequence[str]) -> dict:
    """images, patients: {label: number, …}; all: images and patients of any label."""
    patients = {label: {row["patient"] for row in rows if row["label"] == label} for label in classes}
    return {
        "images": {label: sum(row["label"] == label for row in rows) for label in classes},
        "patients": {label: len(patients[label]) for label in classes},
        "all": {"images": len(rows), "patients": len(set().union(*patients.values()))},
    }


def _apply(rule: _Rule, rows: Sequence[Row], classes: Sequence[str]) -> tuple[dict, list[Row], list[Row]]:
    """The entry of the report, the rows that stay, and those that go."""
    judged = [(row, rule.judge(row)) for row in rows]
    by_value = [(row, reason) for row, reason in judged if reason]
    missing = [row for row, reason in judged if reason == MISSING]
    drop = {row["image"] for row, _ in by_value}
    if rule.missing == "exclude":
        drop |= {row["image"] for row in missing}
    left = [row for row in rows if row["image"] not in drop]
    step = {
        "key": rule.key,
        "name": rule.name,
        "words": rule.words,
        "applied": True,
        "before": _counts(rows, classes),
        "after": _counts(left, classes),
        "excluded": _counts([row for row, _ in by_value], classes),
        "reasons": dict(Counter(reason for _, reason in by_value)),
        "missing": {"action": rule.missing, **_counts(missing, classes)},
    }
    return step, left, [row for row in rows if row["image"] in drop]


def _check_left(image_set: ImageSet, rule: _Rule, left: Sequence[Row], step: dict, classes: Sequence[str]) -> None:
    empty = [label for label in classes if not step["after"]["images"][label]]
    if not empty:
        return
    what = "no image is left" if not left else f"no image of the class {empty[0]!r} is left"
    raise InputError(
        f"{image_set.path}: {what} after the rule {rule.key} ({rule.words}): {step['excluded']['images']} excluded, "
        f"{step['missing']['images']} without a value ({rule.missing}); it found {step['reasons']}; "
        "widen the rule or set it to null"
    )


def _set_aside(settings: ExcludeSettings, rows: Sequence[Row]) -> dict:
    """The entry `set_aside` of the report. rows: the films set aside; other findings on them are counted, too."""
    findings = settings.set_aside_findings or ()
    others = {name for row in rows for name in _findings(row)} - set(findings)
    shown = {name: [row for row in rows if name in _findings(row)] for name in (*findings, *sorted(others))}
    return {
        "findings": list(findings),
        "images": sorted(row["image"] for row in rows),
        "patients": len({row["patient"] for row in rows}),
        "by_finding": {
            name: {"images": len(found), "patients": len({row["patient"] for row in found})}
            for name, found in shown.items()
        },
    }

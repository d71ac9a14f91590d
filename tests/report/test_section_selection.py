"""The section on who was studied: counts by hand, the chart, and what is said when nothing happened."""

import csv

import numpy as np
import pytest
from PIL import Image

from synthmed.core.files import read_json, write_csv, write_json
from synthmed.core.provenance import PACKAGE
from synthmed.core.settings import parse
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.prepare.exclusions import ExcludeSettings, exclude
from synthmed.report.charts.flow_chart import Box, draw_flow_chart
from synthmed.report.sections.selection import (
    SECTION,
    SelectionSettings,
    finding_rows,
    reject_reasons,
    section,
)

NO_RULES = {
    "classes": ["normal", "abnormal"],
    "min_age": None,
    "manufacturers": None,
    "views": None,
    "normals_with_devices": None,
    "set_aside_findings": None,
}
RULES = {
    "min_age": {"years": 19, "missing": "exclude"},
    "views": {"accepted": ["PA"], "missing": "keep"},
    "set_aside_findings": ["calcification", "rib fracture"],
}
FINDINGS = ["nodule", "pneumothorax"]
TRAININGS = {"PGGAN": ["normal", "abnormal"], "PGGAN, normals only": ["normal"]}


def films():
    """20 normals (one a minor, one lateral), 12 abnormals (two set aside, one without an age)."""
    found = [("normal", f"n{number}", "50", "PA", "") for number in range(18)]
    found += [("normal", "minor", "7", "PA", ""), ("normal", "side", "50", "LATERAL", "")]
    found += [("abnormal", f"a{number}", "60", "PA", "nodule") for number in range(6)]
    found += [("abnormal", f"b{number}", "60", "", "nodule;pneumothorax") for number in range(3)]
    found += [("abnormal", "c", "60", "PA", "calcification"), ("abnormal", "c", "61", "PA", "nodule")]
    return [*found, ("abnormal", "ageless", "", "PA", "nodule")]


def made(folder, rules, rejects=()):
    columns = ("label", "patient", "age", "view", "findings")
    rows = [
        dict(zip(columns, film, strict=True)) | {"image": f"f{number:03d}.png", "split": "", "source": "s"}
        for number, film in enumerate(films())
    ]
    pixels = np.zeros((4, 4), np.uint8)
    write_image_set(folder / "raw.zip", [(row, pixels) for row in rows])
    exclude(
        parse(ExcludeSettings, NO_RULES | rules),
        images=folder / "raw.zip",
        device_likelihoods=None,
        device_report=None,
        selected=folder / "selected.zip",
        report=folder / "exclusions.json",
    )
    selected = ImageSet(folder / "selected.zip")
    for number, part in enumerate(("train", "validation", "test")):
        write_image_set(folder / f"{part}.zip", selected.entries(range(number, len(selected), 3)))
    write_csv(folder / "rejects.csv", [{"file": "x", "reason": reason} for reason in rejects], ["file", "reason"])
    write_section(folder)
    return said(folder), folder


def write_section(folder):
    section(
        parse(SelectionSettings, {"classes": NO_RULES["classes"], "findings": FINDINGS, "trainings": TRAININGS}),
        **{name: folder / f"{name}.zip" for name in ("train", "validation", "test")},
        exclusions=folder / "exclusions.json",
        rejects=folder / "rejects.csv",
        document=PACKAGE / "report" / "references" / "chest_findings.yaml",
        section=folder / "selection.json",
        out=[folder / path for path in SECTION.files("selection")],
    )


def said(folder):
    return " ".join(read_json(folder / "selection.json")["html"].split())


def table(folder, name):
    with open(folder / "tables" / f"selection.{name}.csv", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    rejects = ["no pixel data", "unknown transfer syntax: 1.2.3", "unknown transfer syntax: 4.5.6"]
    return made(tmp_path_factory.mktemp("full"), RULES, rejects)


def test_table_of_exclusions_has_one_row_a_rule_and_the_documents_ends(full):
    age, view, aside = "younger than 19 years", "view other than PA", "patients set aside for the anomaly test"
    rows = {row["step"]: row for row in table(full[1], "exclusions")}
    assert list(rows) == ["all films", age, view, aside, "studied"]

    def cells(step, *columns):
        return [rows[step][column] for column in columns]

    assert cells("all films", "left_normal", "left_abnormal", "images", "patients") == ["20", "12", "32", "31"]
    assert cells("all films", "excluded_normal", "without_value_kept") == ["", ""]
    values = ("excluded_normal", "excluded_abnormal", "without_value_excluded", "without_value_kept", "images")
    assert cells(age, *values) == ["1", "0", "1", "0", "30"]
    assert cells(view, *values) == ["1", "0", "0", "3", "29"]
    assert cells(aside, *values) == ["0", "2", "0", "0", "27"]
    assert cells("studied", "left_normal", "left_abnormal", "patients") == ["18", "9", "27"]
    assert rows["all films"]["reference_images"] == "217924"
    assert rows["studied"]["reference_images"] == "164101"
    assert rows[age]["reference_images"] == ""


def test_table_1_counts_the_training_part(full):
    train = ImageSet(full[1] / "train.zip").column("label")
    both, normals = table(full[1], "trainings")
    assert int(both["normal"]) == int(normals["normal"]) == int(normals["images"]) == train.count("normal")
    assert int(both["images"]) == len(train)
    assert normals["abnormal"] == ""
    assert (both["reference_normal"], both["reference_abnormal"], both["reference_images"]) == (
        "20000",
        "91163",
        "111163",
    )
    assert (normals["reference_normal"], normals["reference_abnormal"]) == ("72938", "")


def test_table_2_counts_a_film_with_two_findings_twice_and_the_ones_set_aside(full):
    rows = {row["finding"]: row for row in table(full[1], "findings")}
    assert list(rows) == ["normal", "abnormal", "nodule", "pneumothorax", "calcification", "rib fracture"]
    assert [rows[name]["images"] for name in rows] == ["18", "11", "10", "3", "1", "0"]
    assert [rows[name]["set_aside"] for name in rows] == ["0", "2", "1", "0", "1", "0"]
    assert rows["nodule"]["patients"] == "10"
    assert rows["abnormal"]["patients"] == "10"
    for row in rows.values():
        assert sum(int(row[part] or 0) for part in ("train", "validation", "test", "set_aside")) == int(row["images"])
    assert rows["nodule"]["reference_images"] == "2528"
    assert rows["calcification"]["reference_images"] == ""


def test_table_2_counts_every_finding_of_the_films_set_aside(tmp_path):
    columns = ("label", "patient", "findings")
    rows = [("normal", "n", ""), ("abnormal", "a", "nodule"), ("abnormal", "b", "calcification;nodule")]
    rows += [("abnormal", "c", "calcification;nodule"), ("abnormal", "c", "nodule;mass")]
    pixels = np.zeros((4, 4), np.uint8)
    write_image_set(
        tmp_path / "raw.zip",
        [(dict(zip(columns, row, strict=True)) | {"image": f"{i}.png"}, pixels) for i, row in enumerate(rows)],
    )

    def counted(findings):
        exclude(
            parse(ExcludeSettings, NO_RULES | {"set_aside_findings": findings}),
            images=tmp_path / "raw.zip",
            device_likelihoods=None,
            device_report=None,
            selected=tmp_path / "selected.zip",
            report=tmp_path / "exclusions.json",
        )
        settings = parse(SelectionSettings, {"classes": NO_RULES["classes"], "findings": FINDINGS, "trainings": {}})
        parts = {"test": ImageSet(tmp_path / "selected.zip")}
        report = read_json(tmp_path / "exclusions.json")
        found = finding_rows({"settings": settings, "report": report, "parts": parts})
        return {row["finding"]: [row[name] for name in ("test", "set_aside", "images", "patients")] for row in found}

    assert counted(["calcification"]) == {
        "normal": [1, 0, 1, 1],
        "abnormal": [1, 3, 4, 3],
        "nodule": [1, 3, 4, 3],
        "pneumothorax": [0, 0, 0, 0],
        "calcification": [0, 2, 2, 2],
        "mass": [0, 1, 1, 1],  # on no film but one that was set aside
    }
    assert counted(None)["nodule"] == [4, None, 4, 3]  # without the rule nothing can be set aside


def test_rejects_are_joined_by_what_stands_before_the_colon(full):
    assert [(row["reason"], row["files"]) for row in table(full[1], "rejects")] == [
        ("unknown transfer syntax", "2"),
        ("no pixel data", "1"),
    ]
    assert reject_reasons([]) == {}


def test_the_words_follow_from_the_numbers(full):
    words = full[0]
    assert "Of 32 films of 31 patients, 27 films of 27 patients are studied (84.4 % of the films)" in words
    assert "3 further files could not be used" in words
    assert "age 1 (excluded) and view 3 (kept)" in words
    assert "Not applied in this run: the 2 rules on manufacturer and devices." in words
    assert "calcification and rib fracture: 2 films of 1 patient." in words


def test_without_rules_and_rejects_the_words_and_the_chart_say_so(tmp_path):
    content, folder = made(tmp_path, {})
    words = content
    assert "Every file could be used." in words
    assert "Not applied in this run: the 5 rules" in words
    assert "Set aside for" not in words
    assert [row["note"] for row in table(folder, "rejects")] == ["every file could be used"]
    with Image.open(folder / "figures" / "selection.flow.png") as picture:
        plain = picture.height
    with Image.open(made(tmp_path / "more", RULES)[1] / "figures" / "selection.flow.png") as picture:
        assert picture.height > 1.5 * plain


def test_the_device_classifier_is_named_with_its_performance(tmp_path):
    full = made(tmp_path, RULES)

    def told():
        write_json(tmp_path / "exclusions.json", report)
        write_section(tmp_path)
        return said(tmp_path)

    report = read_json(full[1] / "exclusions.json")
    spread = {"mean": 0.85, "lowest": 0.8, "highest": 0.9}
    classifier = {"threshold": 0.4, "seeds": 2, "auroc": spread, "sensitivity": spread, "specificity": spread}
    classifier["held_out"] = {"images": 30, "patients": 25, "with_device": 10}
    rule = next(step for step in report["steps"] if step["key"] == "normals_with_devices")
    rule |= {
        "applied": True,
        "missing": {"action": "keep", "all": {"images": 0, "patients": 0}, "images": {"normal": 0, "abnormal": 0}},
    }
    views = next(step for step in report["steps"] if step["key"] == "views")
    rule |= {name: views[name] for name in ("after", "excluded", "reasons", "words")}
    report["devices"] = {
        "label": "normal",
        "from_data": {"yes": 2, "no": 9},
        "from_classifier": {"yes": 3, "no": 4},
        "classifier": classifier,
    }
    words = told()
    assert "known from the data for 11 films (2 with a device); for 7 others a classifier says it (3 with" in words
    assert "On 30 films of 25 patients that it was not trained on, 10 with a device" in words
    assert "AUROC is 0.850 (0.800 to 0.900)" in words
    report["devices"] |= {"from_classifier": {"yes": 0, "no": 0}, "classifier": None}
    assert "11 films (2 with a device), which are all." in told()
    rule["missing"]["all"]["images"] = 6
    assert "of 6 others nothing is known." in told()


def test_a_chart_is_drawn_the_same_twice_and_needs_fitting_parts(tmp_path):
    box = Box("Films", ("12 films of 10 patients",), "stays")
    for name in ("a.png", "b.png"):
        draw_flow_chart(tmp_path / name, [box, box], [box], [box])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with pytest.raises(ValueError, match="do not make a chart"):
        draw_flow_chart(tmp_path / "c.png", [box, box], [], [])

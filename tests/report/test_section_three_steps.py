"""The section on the three steps: labels, and where the networks of two arms look."""

import pytest

from synthmed.core.files import read_csv, read_json, write_json
from synthmed.data.imageset import write_image_set
from synthmed.report.sections.three_steps import SECTION, SectionSettings, section

CLASSES = ["normal", "abnormal"]
LABELLED = {
    "classes": CLASSES,
    "positive": "abnormal",
    "upper": 0.7,
    "lower": 0.3,
    "unlabelled": 150,
    "dropped": 50,
    "confident": {"normal": 50, "abnormal": 50},
    "factor": 0.83,
    "needed": {part: dict.fromkeys(CLASSES, 20) for part in ("train", "validation", "test")},
    "counts": {part: dict.fromkeys(CLASSES, 16) for part in ("train", "validation", "test")},
}
BOX = [["mass", 0, 0, 4, 4]]


def inside(low, high):
    measured = {"n": 20, "share_inside": 0.2, "chance": 0.0625, "empty": 1}
    return measured | {"difference": {"value": 0.1375, "low": low, "high": high}}


LOOKED = {
    "positive": "abnormal",
    "outcomes": {
        name: {"true positive": 15, "false negative": 5, "false positive": 3, "true negative": 17}
        for name in ("real", "pggan")
    },
    "boxed": 20,
    "inside": {name: {"every": inside(0.1, 0.2)} for name in ("real", "pggan")},
    "shown": [
        {
            "kind": "false negative",
            "image": "i.png",
            "label": "abnormal",
            "boxes": BOX,
            "likelihood": {"real": 0.2, "pggan": 0.4},
        }
    ],
}


@pytest.fixture
def run(tmp_path):
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 255, (16, 16)).astype(np.uint8)
    write_image_set(tmp_path / "test.zip", [({"image": "i.png", "label": "abnormal", "patient": "p"}, pixels)])
    maps = [
        ({"image": f"{arm}.png", "label": "x", "patient": "p", "origin": "i.png", "classifier": arm}, pixels)
        for arm in LOOKED["inside"]
    ]
    write_image_set(tmp_path / "maps.zip", maps)

    def do(labelled=LABELLED, looked=LOOKED, examples=3):
        rows = [
            ({"image": f"{label}.png", "label": label, "patient": label, "likelihood": "0.9"}, pixels)
            for label in labelled["classes"]
        ]
        write_image_set(tmp_path / "synthetic.zip", rows)
        write_json(tmp_path / "labels.json", labelled)
        write_json(tmp_path / "cam.json", looked)
        section(
            SectionSettings("PGGAN", "pggan", examples, 1),
            pseudo_labels=tmp_path / "labels.json",
            cam=tmp_path / "cam.json",
            **{name: tmp_path / f"{name}.zip" for name in ("maps", "test", "synthetic")},
            document=None,
            section=tmp_path / "three_steps.json",
            out=[tmp_path / path for path in SECTION.files("three_steps")],
        )
        return " ".join(read_json(tmp_path / "three_steps.json")["html"].split()), tmp_path

    return do


def test_labels_and_maps_are_counted_in_words_and_tables(run):
    said, folder = run()
    assert (
        "looked at 150 images of PGGAN and was confident of 50 normal and 50 abnormal; 50 (33.3 %) were dropped" in said
    )
    assert "0.83 times as large" in said
    assert "trained on real images misses 5 of 20 abnormal and suspects 3 of 20 normal images" in said
    assert "In 20 abnormal images with boxes, which cover 6.2 % of an image" in said
    assert said.count("(3.2 times as much as by chance)") == 2
    rows = read_csv(folder / "tables" / "three_steps.maps.csv")
    assert [row["model"] for row in rows] == ["real", "synthetic"]
    assert rows[0]["inside_difference_low"] == "0.1"
    labels = read_csv(folder / "tables" / "three_steps.labels.csv")
    assert [labels[0][name] for name in ("part", "real_abnormal", "generated_abnormal")] == ["train", "20", "16"]


def test_enough_images_and_no_boxes_are_said(run):
    said, folder = run(LABELLED | {"factor": 1.0}, LOOKED | {"boxed": 0})
    assert "As many of them as there are real ones" in said
    assert "No test image has annotated boxes" in said
    assert "times as much" not in said
    assert (
        read_csv(folder / "tables" / "three_steps.maps.csv")[0]["note"]
        == "No abnormal test image has an annotated box."
    )


def test_classes_have_the_names_that_the_experiment_gives_them(run):
    names = {"normal": "healthy", "abnormal": "tuberculosis"}
    labelled = LABELLED | {"classes": list(names.values()), "positive": "tuberculosis"}
    for key in ("needed", "counts"):
        labelled[key] = {part: dict.fromkeys(names.values(), 16) for part in LABELLED[key]}
    labelled["confident"] = dict.fromkeys(names.values(), 50)
    said, folder = run(labelled, LOOKED | {"positive": "tuberculosis"})
    assert "misses 5 of 20 tuberculosis and suspects 3 of 20 healthy images" in said
    assert "normal" not in said
    run(labelled, LOOKED | {"positive": "tuberculosis", "boxed": 0})
    (note, _) = (row["note"] for row in read_csv(folder / "tables" / "three_steps.maps.csv"))
    assert note == "No tuberculosis test image has an annotated box."


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.3, -0.1, ", which is less than chance)"),
        (-0.1, 0.1, ", which may be chance)"),
        (None, None, ", which may be chance)"),
    ],
)
def test_the_words_on_maps_follow_the_interval(run, low, high, words):
    said, _ = run(looked=LOOKED | {"inside": {name: {"every": inside(low, high)} for name in ("real", "pggan")}})
    assert said.count(words) == 2

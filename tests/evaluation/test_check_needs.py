"""Needs of later steps: the numbers by hand, and everything that cannot be met is named before any training."""

from contextlib import nullcontext

import numpy as np
import pytest

from made_up_images import image_set
from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.core.settings import parse
from synthmed.data.imageset import Legend, encode_png, write_image_set
from synthmed.evaluation.check_needs import NeedsSettings, check_needs, needs

REAL = {"normal": 90, "abnormal": 51}
ARMS = {
    "added_share": 0.5, "added_counts": None, "augmented_draws": 0, "class_weights": False,
    "sweep": {"dcgan": [0.25, 2.0]}, "oracle_sweep": [],
    "only_share": None, "only_sweep": [], "undersampled": [], "swap": None, "pairs": [], "masks": False,
    "classes": ["normal", "abnormal"], "column": "label", "sets": ["cyclegan", "dcgan"], "oracle": None,
    "seeds": 5, "seed": 1,
}  # fmt: skip
SETTINGS = {
    "samples": {"cyclegan": {"normal": 51, "abnormal": 51}, "dcgan": {"normal": 180, "abnormal": 102}},
    "translated_from": {"cyclegan": {"normal": ["abnormal"], "abnormal": ["normal"]}},
    "arms": {"task": ARMS},
    "external": [],
    "trainings": {},
}


def settings(**changes):
    """Settings with `changes`, those of arms in the task's arms."""
    arms = ARMS | {key: value for key, value in changes.items() if key in ARMS}
    arms |= {"added": arms["sets"], "alone": arms["sets"]}
    others = {key: value for key, value in changes.items() if key not in ARMS}
    return parse(NeedsSettings, SETTINGS | others | {"arms": {"task": arms}})


@pytest.fixture
def split_report(tmp_path):
    patients = {"train": REAL, "validation": {}, "test": {"normal": 2, "abnormal": 2}}
    counts = {"train": REAL, "validation": {}, "test": {"normal": 5, "abnormal": 6}}
    write_json(tmp_path / "split.json", {"counts": counts, "patients_of_class": patients})
    return tmp_path / "split.json"


def test_every_need_by_hand():
    found = [(need.set, need.label, need.needed, need.available) for need in needs(settings(), REAL)]
    assert found == [
        ("cyclegan", "normal", 51, 51),
        ("cyclegan", "abnormal", 51, 90),
        ("cyclegan", "normal", 45, 51),
        ("cyclegan", "abnormal", 25, 51),
        ("dcgan", "normal", 45, 180),
        ("dcgan", "abnormal", 25, 102),
        ("dcgan", "normal", 22, 180),
        ("dcgan", "abnormal", 12, 102),
        ("dcgan", "normal", 180, 180),
        ("dcgan", "abnormal", 102, 102),
    ]


def test_a_class_of_one_test_patient_is_refused_before_any_training(split_report, tmp_path):
    report = read_json(split_report)
    report["patients_of_class"]["test"]["abnormal"] = 1
    write_json(split_report, report)
    with pytest.raises(
        InputError,
        match=r"the test part has 6 images of 'abnormal', all of one patient \(the class has \d+\), and a variance",
    ):
        check_needs(settings(), split_report=split_report, parts=[], synthetic=[], out=tmp_path / "needs.json")
    assert not (tmp_path / "needs.json").exists()


def test_needs_that_are_met_are_written(split_report, tmp_path):
    check_needs(settings(), split_report=split_report, parts=[], synthetic=[], out=tmp_path / "needs.json")
    found = read_json(tmp_path / "needs.json")["needs"]
    assert len(found) == 10
    assert found[0] == {
        "set": "cyclegan",
        "label": "normal",
        "needed": 51,
        "available": 51,
        "why": "setting samples.normal of cyclegan takes one image of abnormal for each sample",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"samples": SETTINGS["samples"] | {"cyclegan": {"normal": 52, "abnormal": 51}}},
            r"samples\.normal of cyclegan .*: 52 'normal' images of cyclegan, but there are 51",
        ),
        (
            {"added_share": 0.6},
            r"arm cyclegan of the task task, 0\.6 of the real images: 54 'normal' images of cyclegan.* are 51",
        ),
        (
            {"added_share": None, "added_counts": {"normal": 60, "abnormal": 0}},
            "arm cyclegan of the task task: 60 'normal' images",
        ),
        (
            {"sweep": {"dcgan": [2.5]}},
            r"arm dcgan_x2.5 .*, 2\.5 .*: 127 'abnormal' .* 102\n.*: 225 'normal' images of dcgan, .* 180",
        ),
        ({"only_share": 1.0}, "arm only_cyclegan of the task task: 90 'normal' images of cyclegan, but there are 51"),
        (
            {"samples": {"dcgan": {"normal": 180}}, "translated_from": {}, "sweep": {}, "sets": ["dcgan"]},
            "25 'abnormal' images of dcgan, but there are 0",
        ),
        (
            {"samples": {"pggan": {"unlabelled": 69}}, "translated_from": {}, "sweep": {}, "sets": ["pggan"]},
            "70 'unlabelled' images of pggan, but there are 69",
        ),
    ],
)
def test_what_cannot_be_met_is_named_with_its_setting_and_numbers(split_report, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        check_needs(settings(**changes), split_report=split_report, parts=[], synthetic=[], out=tmp_path / "needs.json")
    assert not (tmp_path / "needs.json").exists()


def test_images_that_are_labelled_afterwards_are_counted_together(split_report, tmp_path):
    unlabelled = {"samples": {"pggan": {"unlabelled": 70}}, "translated_from": {}, "sweep": {}, "sets": ["pggan"]}
    check_needs(settings(**unlabelled), split_report=split_report, parts=[], synthetic=[], out=tmp_path / "needs.json")
    (need,) = read_json(tmp_path / "needs.json")["needs"]
    assert (need["label"], need["needed"]) == ("unlabelled", 70)


def test_images_that_were_made_elsewhere_are_counted(split_report, tmp_path):
    image_set(tmp_path / "mine.zip", 60, seed=1)  # 30 of each class
    few = settings(samples={}, translated_from={}, sweep={}, sets=["mine"], external=["mine"])
    with pytest.raises(InputError, match="45 'normal' images of mine, but there are 30"):
        check_needs(
            few, split_report=split_report, parts=[], synthetic=[tmp_path / "mine.zip"], out=tmp_path / "needs.json"
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"added_counts": {"normal": 1, "abnormal": 1}}, "give one of them"),
        ({"added_share": None, "added_counts": {"normal": 1}}, "added_counts must give"),
        ({"sweep": {"fastgan": [1.0]}}, "sweep names 'fastgan'"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        needs(settings(**changes), REAL)


STAGED = {"classes": ["negative", "macro"], "column": "stage", "sets": [], "sweep": {}, "added_share": 1.0}


def staged(path, stages):
    """An image set with these stages of patients p0, p1, …"""
    blank = encode_png(np.zeros((2, 2), np.uint8))
    rows = (
        {"image": f"{path.stem}{n}.png", "label": "normal", "patient": f"{path.stem}{n // 2}", "stage": stage}
        for n, stage in enumerate(stages)
    )
    write_image_set(path, ((row, blank) for row in rows))
    return path


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (["negative"] * 3 + ["macro"] * 3, None),  # two images a patient, but for the third, which has both stages
        (["negative"] * 4 + ["macro"] * 2, r"test\.zip: 1 patients of stage 'macro', which the task 'task'.*needs 2"),
        (["negative"] * 4, r"test\.zip: 0 patients of stage 'macro'"),
        (["negative", "micro"], r"test\.zip: unknown stage 'micro'"),
    ],
)
def test_classes_of_another_column_are_looked_for_in_every_part(split_report, tmp_path, test, message):
    parts = [staged(tmp_path / f"{part}.zip", ["negative", "macro"]) for part in ("train", "validation")]
    parts.append(staged(tmp_path / "test.zip", test))
    asked = settings(samples={}, translated_from={}, **STAGED)
    with nullcontext() if message is None else pytest.raises(InputError, match=message):
        check_needs(asked, split_report=split_report, parts=parts, synthetic=[], out=tmp_path / "needs.json")
    with pytest.raises(InputError, match="0 image sets for train, validation and test"):
        check_needs(asked, split_report=split_report, parts=[], synthetic=[], out=tmp_path / "needs.json")


ORGANS = Legend(classes={"lung": 1, "heart": 2, "aorta": 3})


def organs(path, *maps):
    """An image set with masks of these values; None: without a mask."""
    rows = (
        ({"image": f"{path.stem}{n}.png", "label": "ct", "patient": f"{path.stem}{n}"}, np.zeros((2, 2), np.uint8))
        + (() if one is None else (np.array([[0, 0], one]),))
        for n, one in enumerate(maps)
    )
    write_image_set(path, rows, ORGANS)
    return path


@pytest.mark.parametrize("poor", [None, "train", "validation", "test"])
@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (
            [(1, 3), (3, 1)],
            r"{0}\.zip: no mask of the {0} part \(2 images\) marks 'heart', which the task 'task' learns",
        ),
        ([(1, 2), (3, 0), None], r"{0}\.zip: 1 images have no mask, .* 'task' learns, the first is '{0}2\.png'"),
    ],
)
def test_every_part_shows_every_class_of_masks_that_are_learned(split_report, tmp_path, poor, maps, message):
    parts = [
        organs(tmp_path / f"{part}.zip", *(maps if part == poor else [(1, 2), (3, 0)]))
        for part in ("train", "validation", "test")
    ]
    asked = settings(samples={}, translated_from={}, sets=[], sweep={}, masks=True)
    with nullcontext() if poor is None else pytest.raises(InputError, match=message.format(poor)):
        check_needs(asked, split_report=split_report, parts=parts, synthetic=[], out=tmp_path / "needs.json")
    unasked = settings(samples={}, translated_from={}, sets=[], sweep={})
    check_needs(unasked, split_report=split_report, parts=parts, synthetic=[], out=tmp_path / "needs.json")

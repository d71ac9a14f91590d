"""Which images are mapped, what the shares say, and that the maps of several trainings are averaged alike."""

import csv

import numpy as np
import pytest
import torch

from made_up_classifiers import classifier, plan
from synthmed.classifiers import network
from synthmed.data.imageset import ImageSet
from synthmed.errors import InputError
from synthmed.evaluation import grad_cam as module
from synthmed.evaluation.grad_cam import Decisions, GradCamSettings, as_pixels, choose, grad_cam, outcomes, shares
from synthmed.files import read_json, write_csv, write_json

SETTINGS = GradCamSettings("abnormal", 2, 3, 1, "cpu")
LABELS = ["normal", "abnormal"] * 4
REAL = [20, 80, 70, 30, 10, 90, 15, 85]  # wrong: image 2 (false positive) and 3 (false negative)
SYNTHETIC = [20, 80, 30, 40, 60, 90, 15, 85]  # wrong: 3 (false negative) and 4 (false positive)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(network, "load", lambda path: classifier((0.0, 0.0), (0.5, 0.5), size=8))
    boxes = ["", "square:0,0,2,2", "", "square:0,0,4,8;line:4,4,8,8", "", "", "", "square:6,6,8,8"]
    plan(tmp_path / "test.zip", [50] * 8, LABELS, size=8, boxes=boxes)
    rows = [
        {"classifier": name, "test": "real", "seed": seed, "image": f"i{i:03d}.png", "likelihood": percent / 100}
        for name, percents in (("real", REAL), ("synthetic", SYNTHETIC))
        for seed in (0, 1)
        for i, percent in enumerate(percents)
    ]
    rows.append({"classifier": "real", "test": "synthetic", "seed": 0, "image": "other.png", "likelihood": 0.5})
    write_csv(tmp_path / "predictions.csv", rows, list(rows[0]))
    experiments = {f"{name}_on_real": {"thresholds": [0.5, 0.5]} for name in ("real", "synthetic")}
    write_json(tmp_path / "summary.json", {"alpha": 0.05, "experiments": experiments})
    return tmp_path


def run(folder, settings=SETTINGS):
    grad_cam(
        settings,
        real_classifier=folder / "real.pt",
        synthetic_classifier=folder / "synthetic.pt",
        test=folder / "test.zip",
        predictions=folder / "predictions.csv",
        summary=folder / "summary.json",
        out=folder / "cam.json",
        maps=folder / "maps.zip",
    )
    return read_json(folder / "cam.json"), ImageSet(folder / "maps.zip")


def test_the_images_that_are_wrong_are_mapped(files):
    found, maps = run(files)
    assert found["outcomes"]["real"] == {
        "true positive": 3, "false negative": 1, "false positive": 1, "true negative": 3,
    }  # fmt: skip
    kinds = {case["image"]: case["kind"] for case in found["shown"]}
    assert kinds == {
        "i003.png": "false negative of both",
        "i002.png": "false positive of classifier (real)",
        "i004.png": "false positive of classifier (synthetic)",
        "i005.png": "true positive of both",
        "i007.png": "true positive of both",
    }
    case = next(case for case in found["shown"] if case["image"] == "i003.png")
    assert case["likelihood"] == {"real": pytest.approx(0.3), "synthetic": pytest.approx(0.4)}
    assert case["boxes"] == [["square", 0, 0, 4, 8], ["line", 4, 4, 8, 8]]
    assert len(maps) == 10
    assert {(row["origin"], row["classifier"]) for row in maps.rows} == {
        (image, name) for image in kinds for name in ("real", "synthetic")
    }
    assert maps.pixels.shape == (10, 8, 8, 1)


def test_shares_are_counted_for_abnormal_images_with_boxes(files):
    found, _ = run(files)
    assert found["boxed"] == 3
    inside = found["inside"]["real"]
    assert [inside[which]["n"] for which in ("every", "true positive", "false negative")] == [3, 2, 1]
    # 4, 48 and 4 of 64 pixels are in the boxes.
    assert inside["every"]["chance"] == pytest.approx((4 + 48 + 4) / 64 / 3)
    assert inside["false negative"]["chance"] == pytest.approx(48 / 64)
    # The reader's only evidence is the brightness of the top left pixel, of 50 grey levels: below mid-grey, so no map.
    assert inside["every"]["empty"] == 3
    assert inside["every"]["share_inside"] == pytest.approx(inside["every"]["chance"])


def test_shares_by_hand():
    map_ = np.zeros((4, 4), np.float32)
    map_[0, 0], map_[3, 3] = 3, 1
    boxes = [("a", 0.0, 0.0, 2.0, 2.0)]
    found = shares([map_, np.zeros((4, 4), np.float32)], [boxes, boxes], (4, 4), 0.95)
    assert found["n"] == 2
    assert found["share_inside"] == pytest.approx((0.75 + 0.25) / 2)
    assert found["chance"] == 0.25
    assert found["difference"]["value"] == pytest.approx(0.25)
    assert found["empty"] == 1
    assert shares([], [], (4, 4), 0.95)["share_inside"] is None


def test_every_training_weighs_the_same(files, monkeypatch):
    given = iter([torch.full((1, 8, 8), 2.0), torch.zeros(1, 8, 8)])
    given_2 = iter([torch.full((1, 8, 8), 9.0), torch.eye(8)[None]])
    images = ImageSet(files / "test.zip")
    monkeypatch.setattr(module, "maps_of", lambda *arguments: next(given))
    (map_,) = module.class_maps(network.load(None), SETTINGS, images, [0])
    assert map_ == pytest.approx(np.full((8, 8), 1 / 64))  # an empty map does not count
    monkeypatch.setattr(module, "maps_of", lambda *arguments: next(given_2))
    (map_,) = module.class_maps(network.load(None), SETTINGS, images, [0])
    assert map_ == pytest.approx((np.full((8, 8), 1 / 64) + np.eye(8) / 8) / 2)


def test_the_most_wrong_come_first_and_there_is_always_one():
    positive = np.array([True, True, True, False])
    likelihood = np.array([0.3, 0.1, 0.2, 0.4])
    one = Decisions(likelihood, likelihood > 0.5)
    outcome = outcomes(positive, one.called)
    assert outcome.tolist() == ["false negative"] * 3 + ["true negative"]
    decisions, named = {"real": one, "synthetic": one}, {"real": outcome, "synthetic": outcome}
    assert choose(positive, decisions, named, 2) == [
        ("false negative of both", 1), ("false negative of both", 2), ("false negative of both", 0),
    ]  # fmt: skip
    right = outcomes(np.zeros(4, bool), one.called)
    assert choose(np.zeros(4, bool), decisions, {"real": right, "synthetic": right}, 1) == [
        ("true negative of classifier (real)", 3)
    ]


def test_maps_become_pictures():
    map_ = np.array([[0.0, 0.5], [0.25, 0.0]], np.float32)
    assert as_pixels(map_, (2, 2)).tolist() == [[0, 255], [128, 0]]
    assert not as_pixels(np.zeros((2, 2), np.float32), (4, 4)).any()


def test_what_does_not_belong_together_is_refused(files):
    with open(files / "predictions.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    write_csv(files / "predictions.csv", rows[1:], list(rows[0]))
    with pytest.raises(InputError, match=r"no prediction of image 'i000\.png'"):
        run(files)
    write_csv(files / "predictions.csv", [*rows, rows[0] | {"image": "x.png"}], list(rows[0]))
    with pytest.raises(InputError, match=r"image 'x\.png', seed 0 does not belong"):
        run(files)
    write_csv(files / "predictions.csv", rows, list(rows[0]))
    plan(files / "test.zip", [50] * 8, LABELS, size=8, boxes=["bad"] * 8)
    with pytest.raises(InputError, match=r"i000\.png.*finding:left,top,right,bottom"):
        run(files)
    with pytest.raises(InputError, match="must be 1 or more"):
        run(files, GradCamSettings("abnormal", 0, 3, 1, "cpu"))

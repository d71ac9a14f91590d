"""Which images are mapped, what the shares say, and that the maps of several trainings are averaged alike."""

import numpy as np
import pytest
import torch

from made_up_classifiers import classifier, plan
from synthmed.classifiers import network
from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_csv, write_json
from synthmed.data.imageset import ImageSet
from synthmed.evaluation import grad_cam as module
from synthmed.evaluation.grad_cam import Decisions, GradCamSettings, as_pixels, choose, grad_cam, outcomes, shares
from synthmed.evaluation.scores import Cases, Scores, write_scores

SETTINGS = GradCamSettings(
    classes=("normal", "abnormal"), positive="abnormal", arms=("real", "gan"), shown=2, level=0.95, batch_size=3,
    threads=1, device="cpu",
)  # fmt: skip
LABELS = ["normal", "abnormal"] * 4
REAL = [20, 80, 70, 30, 10, 90, 15, 85]  # wrong: image 2 (false positive) and 3 (false negative)
SYNTHETIC = [20, 80, 30, 40, 60, 90, 15, 85]  # wrong: 3 (false negative) and 4 (false positive)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(network, "load", lambda path: classifier((0.0, 0.0), (0.5, 0.5), size=8))
    boxes = ["", "square:0,0,2,2", "", "square:0,0,4,8;line:4,4,8,8", "", "", "", "square:6,6,8,8"]
    plan(tmp_path / "test.zip", [50] * 8, LABELS, size=8, boxes=boxes)
    images = ImageSet(tmp_path / "test.zip")
    cases = Cases(*(np.array(images.column(name)) for name in ("image", "patient", "label")))
    other = Cases(np.array(["other.png"]), np.array(["q"]), np.array(["abnormal"]))
    values = {
        (name, "test"): np.tile(np.array(percents)[None, :, None] / 100, (2, 1, 1))
        for name, percents in (("real", REAL), ("gan", SYNTHETIC))
    }
    values["real", "gan"] = np.full((2, 1, 1), 0.5)
    write_scores(tmp_path / "scores.csv", Scores(("p_abnormal",), {"test": cases, "gan": other}, values))
    write_json(tmp_path / "summary.json", {"thresholds": {"real": [0.5, 0.5], "gan": [0.5, 0.5]}})
    return tmp_path


def run(folder, settings=SETTINGS):
    grad_cam(
        settings,
        classifiers=[folder / "real.pt", folder / "gan.pt"],
        test=folder / "test.zip",
        scores=folder / "scores.csv",
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
        "i002.png": "false positive of real",
        "i004.png": "false positive of gan",
        "i005.png": "true positive of both",
        "i007.png": "true positive of both",
    }
    case = next(case for case in found["shown"] if case["image"] == "i003.png")
    assert case["likelihood"] == {"real": pytest.approx(0.3), "gan": pytest.approx(0.4)}
    assert case["boxes"] == [["square", 0, 0, 4, 8], ["line", 4, 4, 8, 8]]
    assert len(maps) == 10
    assert {(row["origin"], row["classifier"]) for row in maps.rows} == {
        (image, name) for image in kinds for name in ("real", "gan")
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
    found = shares([map_, np.zeros((4, 4), np.float32)], [boxes, boxes], ["p", "q"], (4, 4), 0.95)
    assert found["n"] == 2
    assert found["share_inside"] == pytest.approx((0.75 + 0.25) / 2)
    assert found["chance"] == 0.25
    assert found["difference"]["value"] == pytest.approx(0.25)
    assert found["empty"] == 1
    assert shares([], [], [], (4, 4), 0.95)["share_inside"] is None


def test_images_of_one_patient_are_not_independent():
    aimed, astray = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)
    aimed[0, 0], astray[3, 3] = 1, 1
    maps, boxes = [aimed, aimed, astray, aimed], [[("a", 0.0, 0.0, 2.0, 2.0)]] * 4
    apart = shares(maps, boxes, ["p", "q", "r", "s"], (4, 4), 0.95)["difference"]
    # Differences 3/4, 3/4, -1/4, 3/4 with mean 1/2; residuals 1/4, 1/4, -3/4, 1/4.
    assert 0.5 - apart["low"] == pytest.approx(3.182446 * 0.25, rel=1e-6)  # SE: standard deviation 1/2, over 2
    paired = shares(maps, boxes, ["p", "p", "r", "s"], (4, 4), 0.95)["difference"]
    # Sums of the patients 1/2, -3/4, 1/4, of 2, 1 and 1 of the 4 images; 2 degrees of freedom; the end is cut at 1.
    error = np.sqrt(2 / 3 * ((1 / 2) ** 2 / (1 / 2) ** 2 + (9 / 16 + 1 / 16) / (3 / 4) ** 2)) / 4
    assert paired["low"] == pytest.approx(max(-1, 0.5 - 4.302653 * error), rel=1e-6)
    assert paired["high"] == 1
    assert "one patient only" in shares(maps, boxes, ["p"] * 4, (4, 4), 0.95)["difference"]["reason"]


def test_patients_are_those_of_the_test_images(files):
    boxes = ["", "square:0,0,2,2", "", "square:0,0,4,8", "", "", "", "square:6,6,8,8"]
    plan(files / "test.zip", [50] * 8, LABELS, patients=["p"] * 8, size=8, boxes=boxes)
    every = run(files)[0]["inside"]["real"]["every"]
    assert every["n"] == 3
    assert every["difference"]["low"] is None


def changed(files, change):
    rows = read_csv(files / "scores.csv")
    write_csv(files / "scores.csv", [row | change(row) for row in rows], list(rows[0]))


def test_the_decisions_are_those_of_the_majority_at_their_own_thresholds(files):
    def decided(*thresholds):
        images = ImageSet(files / "test.zip")
        both = {"real": thresholds, "gan": thresholds}
        return module.read_decisions(SETTINGS, files / "scores.csv", both, images)["real"].called.tolist()

    assert decided(0.5, 0.5) == [percent >= 50 for percent in REAL]
    assert decided(0.75, 0.75)[2] is False
    # Where the trainings disagree evenly, the mean likelihood against the mean threshold decides.
    changed(files, lambda row: {"p_abnormal": 0.2} if (row["image"], row["seed"]) == ("i001.png", "1") else {})
    assert decided(0.4, 0.4)[1] is True
    assert decided(0.6, 0.6)[1] is False


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
    decisions, named = {"real": one, "gan": one}, {"real": outcome, "gan": outcome}
    assert choose(decisions, named, 2) == [
        ("false negative of both", 1), ("false negative of both", 2), ("false negative of both", 0),
    ]  # fmt: skip
    right = outcomes(np.zeros(4, bool), one.called)
    assert choose(decisions, {"real": right, "gan": right}, 1) == [("true negative of real", 3)]


def test_maps_become_pictures():
    map_ = np.array([[0.0, 0.5], [0.25, 0.0]], np.float32)
    assert as_pixels(map_, (2, 2)).tolist() == [[0, 255], [128, 0]]
    assert not as_pixels(np.zeros((2, 2), np.float32), (4, 4)).any()


def test_what_does_not_belong_together_is_refused(files):
    rows = read_csv(files / "scores.csv")
    changed(files, lambda row: {"image": "x.png"} if row["image"] == "i000.png" else {})
    with pytest.raises(InputError, match=r"scores of other images than .*test\.zip"):
        run(files)
    write_csv(files / "scores.csv", rows, list(rows[0]))
    plan(files / "test.zip", [50] * 8, LABELS, size=8, boxes=["bad"] * 8)
    with pytest.raises(InputError, match=r"i000\.png.*finding:left,top,right,bottom"):
        run(files)

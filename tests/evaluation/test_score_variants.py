"""Classifiers that take their images in different ways, and experts' masks in place of predicted ones."""

import numpy as np
import pytest
import torch

from synthmed.classifiers.network import Classifier
from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.data.imageset import Legend, write_image_set
from synthmed.evaluation import score_variants as module
from synthmed.evaluation.score_variants import OVERLAP, TRUE_MASKS, ScoreVariantsSettings, score_variants
from synthmed.evaluation.scores import read_scores

NAMES = [f"{number}.png" for number in range(4)]
COLUMNS = ["p_a", "p_b"]
SOURCES = ("own", "own", "own", "official")


class Last(torch.nn.Module):
    """Says b as far as the last channel is bright, and a else; its outputs are b, a."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        share = ((images[:, -1].mean((1, 2)) + 1) / 2).clamp(1e-3, 1 - 1e-3)
        return torch.stack([share, 1 - share], dim=1).log()


def image_set(path, last, channels):
    legend = Legend(channels=("red", "green", "blue", "mask")) if channels == 4 else Legend()
    rows = []
    for name, value in zip(NAMES, last, strict=True):
        pixels = np.full((8, 8, channels), 10, np.uint8)
        pixels[:, :, -1] = value
        row = {"image": name, "label": "ab"[int(name[0]) % 2], "patient": name, "source": SOURCES[int(name[0])]}
        rows.append((row, pixels))
    write_image_set(path, rows, legend)
    return path


@pytest.fixture
def run(tmp_path, monkeypatch):
    image_set(tmp_path / "real.zip", [0, 51, 102, 204], 3)
    image_set(tmp_path / "soft.zip", [255, 204, 102, 0], 4)
    mask = np.zeros((16, 16), np.uint8)
    mask[:4] = 255  # a quarter
    rows = [
        ({"image": name, "label": "lesion", "patient": name}, np.zeros((16, 16, 3), np.uint8), mask)
        for name in NAMES[1:3]
    ]
    write_image_set(tmp_path / "truth.zip", rows)
    report = {"images": {"train": {"images": 9}}, "budget_limited": False, "parameters": 5, "architecture": "last"}
    report |= {"pretrained": None, "selection": "x", "image_shape": [3, 8, 8]}
    write_json(tmp_path / "r.json", report)

    def do(arms=("real", "soft"), seeds=2, truth="truth.zip", second=None):
        made = {
            arm: Classifier(
                "last", ("b", "a"), (4 if arm == "soft" else 3, 8, 8), np.zeros((seeds, 2)), [Last()] * seeds, True
            )
            for arm in arms
        }
        monkeypatch.setattr(module.network, "load", lambda path: made[path])
        chosen = ScoreVariantsSettings(3, 1, "cpu", ("a", "b"), {arm: arm.title() for arm in arms}, "soft", second)
        score_variants(
            chosen,
            classifiers=list(arms),
            classifier_reports=[tmp_path / "r.json"] * len(arms),
            tests=[tmp_path / f"{arm}.zip" for arm in arms],
            truth=tmp_path / truth,
            scores=tmp_path / "s.csv",
            summary=tmp_path / "s.json",
        )
        return read_scores(tmp_path / "s.csv", COLUMNS), read_json(tmp_path / "s.json")

    return do


def test_every_arm_is_tested_on_images_given_its_way(run):
    scores, summary = run()
    assert scores.values["real", "test"][:, :, 1] == pytest.approx(np.array([[0.001, 0.2, 0.4, 0.8]] * 2), abs=2e-3)
    assert scores.values["soft", "test"][:, :, 1] == pytest.approx(np.array([[0.999, 0.8, 0.4, 0.001]] * 2), abs=2e-3)
    assert scores.cases["test"].labels.tolist() == ["a", "b", "a", "b"]
    assert [summary["arms"][arm]["kind"] for arm in summary["arms"]] == ["real", "design"]
    assert summary["arms"]["soft"]["title"] == "Soft"


def test_experts_masks_take_the_place_of_predicted_ones(run):
    scores, summary = run()
    assert summary["overlap"] == 2
    assert scores.cases[OVERLAP].images.tolist() == scores.cases[TRUE_MASKS].images.tolist() == NAMES[1:3]
    assert scores.values["soft", OVERLAP][:, :, 1] == pytest.approx(np.array([[0.8, 0.4]] * 2), abs=2e-3)
    assert scores.values["soft", TRUE_MASKS][:, :, 1] == pytest.approx(0.25, abs=2e-3)
    assert ("real", OVERLAP) not in scores.values


def test_images_of_another_source_are_a_test_of_their_own(run):
    scores, summary = run(second="official")
    for test, said in (("test", [0.8, 0.4]), ("second_test", [0.001])):
        assert scores.values["soft", test][:, -len(said) :, 1] == pytest.approx(np.array([said] * 2), abs=2e-3)
    assert scores.cases["second_test"].images.tolist() == NAMES[3:]
    assert scores.cases["test"].images.tolist() == NAMES[:3]
    assert scores.values["real", "second_test"].shape == (2, 1, 2)
    assert summary["second_test"] == "official"


def test_without_an_expert_there_is_no_such_test(run, tmp_path):
    rows = [
        ({"image": "other.png", "label": "x", "patient": "x"}, np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8))
    ]
    write_image_set(tmp_path / "none.zip", rows)
    scores, summary = run(truth="none.zip")
    assert summary["overlap"] == 0
    assert set(scores.cases) == {"test"}


def test_sets_that_do_not_fit_are_refused(run, tmp_path):
    with pytest.raises(InputError, match="real must come first"):
        run(arms=("soft", "real"))
    rows = [({"image": "x.png", "label": "a", "patient": "x"}, np.zeros((8, 8, 4), np.uint8))]
    write_image_set(tmp_path / "soft.zip", rows, Legend(channels=("red", "green", "blue", "mask")))
    with pytest.raises(InputError, match="other images than in"):
        run()

"""From trained segmenters to scores.csv, and from there to outcomes and words."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from made_up_pairs import INSTANCES, SEMANTIC, SIDE, pair_set
from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.data.channels import MaskChannels, resized_labels
from synthmed.data.imageset import ImageSet, Legend, write_image_set
from synthmed.evaluation import score_segmenters as module
from synthmed.evaluation.compare import CompareSettings, compare
from synthmed.evaluation.join_scores import JoinScoresSettings, join_scores
from synthmed.evaluation.score_segmenters import ScoreSegmentersSettings, measures, score_segmenters
from synthmed.evaluation.scores import read_scores, score_columns
from synthmed.metrics.outcomes import of_columns
from synthmed.metrics.segmentation import mask_measures, object_measures
from synthmed.segmenters.trained import Segmenter

ORGANS = Legend(classes={"lung": 1, "heart": 2})


class Bright(nn.Module):
    """(N, C, H, W) in [-1, 1] → logits above 0 where the first channel is brighter than `limit` of 255."""

    def __init__(self, limit):
        super().__init__()
        self.limit = nn.Parameter(torch.tensor(limit / 127.5 - 1))

    def forward(self, images):
        return 20 * (images[:, :1] - self.limit)


def segmenter(*limits, side=SIDE):
    models = [Bright(limit).eval().requires_grad_(False) for limit in limits]
    return Segmenter("bright", (1, side, side), (side, side), MaskChannels("classes", SEMANTIC), models)


MADE = {"real": segmenter(125.5, 135.5), "gan": segmenter(150.5, 160.5)}
SETTINGS = ScoreSegmentersSettings(
    batch_size=5, threads=1, device="cpu", original_size=False, examples=3, second_test=None, arms=("real", "gan"),
    sets=("gan",),
)  # fmt: skip
ORIGINAL = replace(SETTINGS, original_size=True)
ARMS = {
    "real": {"kind": "real", "title": "Real only", "set": None, "n_train": 9, "share": 0.0, "trainings": 1},
    "gan": {"kind": "generator", "title": "Real + gan", "set": "gan", "n_train": 18, "share": 0.5, "trainings": 1},
}
REPORT = {
    "architecture": "bright", "widths": [1], "parameters": 1, "image_shape": [1, SIDE, SIDE], "learning_rate": 0.1,
    "dropout": 0.0, "selection": "none", "checked_by": "mean IoU", "budget_limited": False, "seeds": [],
}  # fmt: skip


def run(folder, test, synthetic, made, monkeypatch, original=None, settings=SETTINGS):
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(module, "load", lambda path: made[path.stem])
    write_json(
        folder / "arms.json",
        {"arms": {name: dict(arm) | {"uses_up": False} for name, arm in ARMS.items()}, "swap": None},
    )
    for arm in made:
        write_json(folder / f"{arm}.report.json", REPORT)
    score_segmenters(
        settings,
        description=folder / "arms.json",
        segmenters=[folder / f"{arm}.pt" for arm in made],
        segmenter_reports=[folder / f"{arm}.report.json" for arm in made],
        test=test,
        original=original,
        synthetic=[synthetic] if settings.sets else [],
        scores=folder / "scores.csv",
        predictions=folder / "predictions.zip",
        summary=folder / "summary.json",
    )
    return read_scores(folder / "scores.csv", score_columns(folder / "scores.csv"))


@pytest.fixture
def sets(tmp_path):
    return pair_set(tmp_path / "test.zip", 12, 5), pair_set(tmp_path / "gan.zip", 6, 6, wrong=True)


def test_every_image_is_measured_with_every_network(tmp_path, sets, monkeypatch):
    found = run(tmp_path, *sets, MADE, monkeypatch)
    assert list(found.values) == [("real", "test"), ("real", "gan"), ("gan", "test")]
    test = ImageSet(sets[0])
    for arm, limits in (("real", (125, 135)), ("gan", (150, 160))):
        for seed, limit in enumerate(limits):
            for number in range(12):
                drawn = test.pixels[number, :, :, 0] > limit
                expected = mask_measures(test.masks[number] > 0, drawn)
                values = dict(zip(found.columns, found.values[arm, "test"][seed, number], strict=True))
                assert values == {name: pytest.approx(expected[name]) for name in expected} | {"truth_empty": 0}
    assert found.cases["test"].patients.tolist() == test.column("patient")
    agreement = found.values["real", "gan"][:, :, found.columns.index("iou")].mean()
    assert agreement < 0.5 < found.values["real", "test"][:, :, found.columns.index("iou")].mean()
    fake = ImageSet(sets[1])
    for seed, limit in enumerate((125.5, 135.5)):
        expected = mask_measures(fake.masks[2] > 0, fake.pixels[2, :, :, 0] > limit)
        assert found.values["real", "gan"][seed, 2, found.columns.index("dice")] == pytest.approx(expected["dice"])
    summary = read_json(tmp_path / "summary.json")
    assert (summary["seeds"], summary["sizes"], summary["empty_masks"]) == (2, ["32×32"], 0)
    examples = ImageSet(tmp_path / "predictions.zip")
    assert [(row["arm"], row["origin"]) for row in examples.rows] == [
        (arm, f"test{number:03d}.png") for arm in ("gan", "real") for number in range(3)
    ]
    assert np.array_equal(examples.masks[3] > 0, test.pixels[0, :, :, 0] > 125)


def join(folder, arms):
    """The files that `run` wrote into the folders `arms` of single arms, joined into `folder`."""
    given = {name: [folder / arm / file for arm in arms] for name, file in JOINED.items()}
    made = {name: folder / file for name, file in MADE_OF_ALL.items()}
    join_scores(JoinScoresSettings(arms=tuple(arms)), **given, **made)


MADE_OF_ALL = {"scores": "scores.csv", "predictions": "predictions.zip", "summary": "summary.json"}
JOINED = dict(zip(("parts", "drawn", "summaries"), MADE_OF_ALL.values(), strict=True))


def test_single_arms_joined_are_all_of_them(tmp_path, sets, monkeypatch):
    run(tmp_path / "all", *sets, MADE, monkeypatch)
    for arm, one in MADE.items():
        alone = replace(SETTINGS, arms=(arm,), sets=("gan",) if arm == "real" else ())
        run(tmp_path / arm, *sets, {arm: one}, monkeypatch, settings=alone)
    join(tmp_path, ["real", "gan"])
    for file in ("scores.csv", "summary.json"):
        assert (tmp_path / file).read_bytes() == (tmp_path / "all" / file).read_bytes()
    ours, theirs = (ImageSet(folder / "predictions.zip") for folder in (tmp_path, tmp_path / "all"))
    assert (ours.rows, ours.masks.tolist()) == (theirs.rows, theirs.masks.tolist())
    write_json(tmp_path / "gan" / "summary.json", read_json(tmp_path / "gan" / "summary.json") | {"seeds": 3})
    with pytest.raises(InputError, match=r"summary\.json: not of 'gan', or of other test images or settings"):
        join(tmp_path, ["real", "gan"])
    write_json(tmp_path / "gan" / "summary.json", read_json(tmp_path / "real" / "summary.json"))
    with pytest.raises(InputError, match="not of 'gan'"):
        join(tmp_path, ["real", "gan"])


def test_synthetic_images_are_judged_by_the_segmenter_of_the_real_ones():
    with pytest.raises(InputError, match=r"names \['gan'\], which the arm 'real' judges"):
        replace(SETTINGS, arms=("gan",))


def test_masks_are_compared_at_their_own_size_and_at_the_networks(tmp_path, monkeypatch):
    test, fake = pair_set(tmp_path / "test.zip", 4, 5, size=64), pair_set(tmp_path / "gan.zip", 4, 6, size=64)
    found = run(tmp_path, test, fake, MADE, monkeypatch)
    assert ("real", "test_small") in found.values
    assert ("real", "gan") in found.values
    column = found.columns.index("false_negative_pixels")
    large, small = (found.values["gan", name][:, :, column].sum() for name in ("test", "test_small"))
    assert large > 2 * small, "pixels are those of the size"
    # Masks of an original size of their own, with other objects: the main test is against these.
    images = ImageSet(test)
    other = (
        (
            fields,
            np.zeros((96, 80, 1), np.uint8),
            resized_labels(mask, (96, 80)) if number else np.zeros((96, 80), np.uint8),
        )
        for number, (fields, _, mask) in enumerate(images.entries())
    )
    write_image_set(tmp_path / "original.zip", other, SEMANTIC)
    again = run(tmp_path, test, fake, MADE, monkeypatch, original=tmp_path / "original.zip", settings=ORIGINAL)
    column = again.columns.index("iou")
    assert again.values["real", "test"][0, 0, column] == 0, "the truth is empty there, the drawing is not"
    assert again.values["real", "test"][0, 1:, column].min() > 0.5
    # At the network's size the masks of the test images count.
    assert np.allclose(again.values["real", "test_small"], found.values["real", "test_small"])
    summary = read_json(tmp_path / "summary.json")
    assert (summary["sizes"], summary["empty_masks"]) == (["96×80"], 1)


def test_images_of_another_source_are_a_test_of_their_own(tmp_path, sets, monkeypatch):
    whole = run(tmp_path, *sets, MADE, monkeypatch)
    others = (0, 5, 7)
    named = (
        (row | {"source": "official" if number in others else "own"}, *rest)
        for number, (row, *rest) in enumerate(ImageSet(sets[0]).entries())
    )
    write_image_set(tmp_path / "two.zip", named, SEMANTIC)
    settings = replace(SETTINGS, second_test="official")
    found = run(tmp_path, tmp_path / "two.zip", sets[1], MADE, monkeypatch, settings=settings)
    assert list(found.values) == [
        ("real", "test"),
        ("real", "second_test"),
        ("real", "gan"),
        ("gan", "test"),
        ("gan", "second_test"),
    ]
    rest = [number for number in range(12) if number not in others]
    for name, rows in (("test", rest), ("second_test", others)):
        assert found.cases[name].images.tolist() == whole.cases["test"].images[list(rows)].tolist()
        assert found.values["gan", name].tolist() == whole.values["gan", "test"][:, list(rows)].tolist()
    assert read_json(tmp_path / "summary.json")["second_test"] == "official"
    shown = ImageSet(tmp_path / "predictions.zip")
    assert [row["origin"] for row in shown.rows][:3] == [f"test{number:03d}.png" for number in rest[:3]]
    with pytest.raises(InputError, match=r"second_test is 'isic', and the test images are of \['official', 'own'\]"):
        run(tmp_path, tmp_path / "two.zip", sets[1], MADE, monkeypatch, settings=replace(settings, second_test="isic"))
    with pytest.raises(InputError, match="leaves others for the main test"):
        run(tmp_path, *sets, MADE, monkeypatch, settings=replace(settings, second_test=""))


def test_classes_are_measured_apart_and_in_the_mean():
    truth = np.zeros((8, 8), np.uint8)
    truth[:4], truth[6:] = 1, 2
    predicted = np.zeros((8, 8), np.uint8)
    predicted[:2], predicted[4:] = 1, 2
    found = measures(truth, predicted, ORGANS)
    assert found["iou_lung"] == 0.5
    assert found["iou_heart"] == 0.5
    assert found["iou"] == 0.5
    assert (found["false_negative_pixels_lung"], found["false_positive_pixels_heart"]) == (16, 16)
    assert (found["false_negative_pixels"], found["false_positive_pixels"]) == (8, 8)
    assert (found["false_negative_share_lung"], found["false_positive_share_heart"]) == (16 / 64, 16 / 64)
    assert (found["truth_empty_heart"], found["truth_empty"]) == (0, 0)
    assert measures(np.where(truth == 2, 0, truth), predicted, ORGANS)["truth_empty_heart"] == 1
    assert "object_f1" not in found
    assert measures(truth, truth, ORGANS)["hd95"] == 0
    titles = {name: outcome.title for name, outcome in of_columns(list(found)).items()}
    assert titles["iou_lung"] == "IoU, lung"
    assert titles["false_positive_pixels_heart"] == "False-positive pixels, heart"
    assert not {"both_empty", "truth_empty", "truth_empty_lung"} & set(titles)
    assert of_columns(list(found))["hd95_lung"].higher_is_better is False


def test_images_without_a_class_are_counted_class_by_class(tmp_path, sets, monkeypatch):
    half = measures(np.eye(8, dtype=np.uint8), np.eye(8, dtype=np.uint8), ORGANS)
    monkeypatch.setattr(module, "measures", lambda *_: half)
    run(tmp_path, *sets, MADE, monkeypatch)
    summary = read_json(tmp_path / "summary.json")
    assert (summary["empty_masks"], summary["empty_by_class"]) == (0, {"lung": 0, "heart": 12})


def test_a_pixel_of_a_class_that_is_not_there_takes_half_of_the_mean_and_little_of_the_foreground():
    truth = np.zeros((10, 10), np.uint16)
    truth[:5] = 1
    predicted = truth.copy()
    predicted[9, 9] = 10001
    found = measures(truth, predicted, Legend(masks="instances", classes={"nucleus": 1, "podocyte": 10001}))
    assert (found["iou_nucleus"], found["iou_podocyte"], found["iou"]) == (1, 0, 0.5)
    assert found["foreground_iou"] == pytest.approx(50 / 51)
    assert of_columns(["foreground_iou"])["foreground_iou"].title == "Foreground IoU"


def test_objects_are_told_apart_and_nothing_is_right_where_nothing_is():
    truth, predicted = np.zeros((2, 9, 9), np.uint8)
    truth[1:4, 1:4], truth[5:8, 5:8] = 1, 2
    predicted[1:4, 1:4] = 7
    found = measures(truth, predicted, INSTANCES)
    assert found["object_f1"] == object_measures(truth, predicted)["object_f1"] == pytest.approx(2 / 3)
    assert found["iou"] == found["foreground_iou"] == 0.5
    empty = measures(np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8), INSTANCES)
    assert (empty["iou"], empty["object_f1"], empty["hd95"], empty["both_empty"], empty["truth_empty"]) == (
        1,
        1,
        0,
        1,
        1,
    )


def test_what_cannot_be_scored_is_refused(tmp_path, sets, monkeypatch):
    test, fake = sets
    images = ImageSet(test)
    without = (
        (fields, pixels) if number == 2 else (fields, pixels, mask)
        for number, (fields, pixels, mask) in enumerate(images.entries())
    )
    write_image_set(tmp_path / "without.zip", without, SEMANTIC)
    with pytest.raises(InputError, match=r"without\.zip: 1 of 12 images have no mask .* 'test002\.png'"):
        run(tmp_path, tmp_path / "without.zip", fake, MADE, monkeypatch)
    write_image_set(tmp_path / "few.zip", images.entries(range(3)), SEMANTIC)
    with pytest.raises(InputError, match=r"few\.zip: 9 of 12 images have no mask"):
        run(tmp_path, test, fake, MADE, monkeypatch, original=tmp_path / "few.zip", settings=ORIGINAL)
    with pytest.raises(InputError, match="different numbers of seeds"):
        run(tmp_path, test, fake, MADE | {"gan": segmenter(150.0)}, monkeypatch)
    with pytest.raises(InputError, match="segmenters: 1 files for"):
        run(tmp_path, test, fake, {"real": MADE["real"]}, monkeypatch)


def test_scores_become_outcomes_and_words(tmp_path, sets, monkeypatch):
    made = {"real": segmenter(*[100.0 + n for n in range(5)]), "gan": segmenter(*[124.0 + n for n in range(5)])}
    run(tmp_path, *sets, made, monkeypatch)
    write_json(tmp_path / "split.json", {"patients_known": True})
    settings = CompareSettings(
        threshold=0.5, alpha=0.05, margin=0.05, resamples=100, task="masks", title="?", kind="segmentation",
        outcome="iou", classes=("discs",), positive=None, leaking=False, seed=1, against=(),
    )  # fmt: skip
    files = {
        "scores": tmp_path / "scores.csv",
        "summary": tmp_path / "summary.json",
        "split_report": tmp_path / "split.json",
    }
    compare(settings, **files, out=tmp_path / "verdicts.json")
    found = read_json(tmp_path / "verdicts.json")
    versus = found["arms"]["gan"]["versus_reference"]
    assert versus["verdict"] == "helps"
    assert versus["outcomes"]["false_positive_pixels"]["difference"]["value"] < 0
    assert {"iou", "dice", "hd95", "pixel_accuracy", "false_positive_share"} <= set(found["outcomes"])
    assert "confusion" not in found["arms"]["real"]["tests"]["test"]
    assert found["arms"]["real"]["tests"]["gan"]["outcomes"]["iou"]["value"] < 0.5
    with pytest.raises(InputError, match="outcome is 'aji'; those of"):
        compare(CompareSettings(**{**vars(settings), "outcome": "aji"}), **files, out=tmp_path / "v.json")

import dataclasses

import numpy as np
import pytest
import torch

from made_up_pairs import SEMANTIC, discs
from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.evaluation import known_truth
from synthmed.evaluation.compose_arms import of_another
from synthmed.evaluation.validate_segmentation import TITLES, ValidateSegmentationSettings, validate_segmentation
from synthmed.metrics.verdict import HELPS, Verdict
from synthmed.segmenters.pixels import PixelTraining, pixel_features, pixel_ious, train_pixels

SETTINGS = ValidateSegmentationSettings(
    method="pixels", classes=("discs",), size=(16, 16), train=2, test=30, added_share=4.0, shuffled_share=4.0,
    repetitions=25, bound=0.3, seeds=5, seed=1, learning_rate=0.05, steps=100, batch_size=16, alpha=0.05, margin=0.03,
    level=0.95, threads=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """120 patients of two images; their gain and offset differ, so that more of them teach more."""
    path = tmp_path_factory.mktemp("pool") / "pool.zip"
    rng = np.random.default_rng(3)

    def rows():
        for patient in range(120):
            gain, offset = rng.uniform(0.5, 1.0), rng.uniform(-40, 40)
            for number in range(2):
                pixels, numbers = discs(rng, int(rng.integers(1, 4)))
                fields = {"image": f"p{patient:03d}_{number}.png", "label": "discs", "patient": f"p{patient}"}
                seen = (gain * pixels + offset + 30 * rng.standard_normal(pixels.shape)).clip(0, 255).astype(np.uint8)
                yield fields, seen, np.where(numbers > 0, np.uint8(255), np.uint8(0))

    write_image_set(path, rows(), SEMANTIC)
    return path


@pytest.fixture(scope="module")
def result(pool, tmp_path_factory):
    out = tmp_path_factory.mktemp("validation") / "validation.json"
    validate_segmentation(SETTINGS, pool=pool, out=out)
    return read_json(out)


def test_known_truth_is_seen(result):
    cases = {case["arm"]: case for case in result["cases"]}
    assert {name: case["case"] for name, case in cases.items()} == TITLES
    for case in cases.values():
        assert case["repeats"] == 25 == sum(found["count"] for found in case["verdicts"].values())
    assert cases["oracle"]["verdicts"]["helps"]["count"] >= 15
    assert cases["oracle"]["verdicts"]["harms"]["count"] == 0
    assert cases["label_shuffled"]["verdicts"]["harms"]["count"] >= 10
    assert cases["label_shuffled"]["verdicts"]["helps"]["count"] == 0
    for name in ("duplicates", "null"):
        assert cases[name]["verdicts"]["no evidence of a difference"]["count"] >= 23
    assert result["false_helps"]["nominal"] == 0.025
    assert result["outcome"] == "IoU"
    assert 0.3 < result["real"]["mean"] < 0.8
    assert "logistic regression" in result["backbone"]


def test_equal_settings_give_equal_results(pool, result, tmp_path):
    few = dataclasses.replace(SETTINGS, repetitions=4)
    found = []
    for number in range(2):
        validate_segmentation(few, pool=pool, out=tmp_path / f"{number}.json")
        found.append((tmp_path / f"{number}.json").read_bytes())
    assert found[0] == found[1]


def test_a_rule_that_always_says_helps_is_caught(pool, tmp_path, monkeypatch):
    def gullible(tests, families, **rule):
        return {name: Verdict(HELPS, None, test.p, 1.0, equivalent=False) for name, test in tests.items()}

    monkeypatch.setattr(known_truth, "decide", gullible)
    validate_segmentation(dataclasses.replace(SETTINGS, repetitions=6, steps=5), pool=pool, out=tmp_path / "v.json")
    false = read_json(tmp_path / "v.json")["false_helps"]
    assert (false["count"], false["holds"], false["broken"]) == (6, False, True)


def test_a_pool_that_is_too_small_or_empty_is_refused(pool, tmp_path):
    with pytest.raises(InputError, match="240 'discs' phantoms, but each repetition takes"):
        validate_segmentation(dataclasses.replace(SETTINGS, test=400), pool=pool, out=tmp_path / "v.json")
    images = ImageSet(pool)
    blank = ((fields, pixels, np.zeros_like(mask)) for fields, pixels, mask in images.entries())
    write_image_set(tmp_path / "empty.zip", blank, SEMANTIC)
    with pytest.raises(InputError, match="nothing is drawn in its 240 masks"):
        validate_segmentation(SETTINGS, pool=tmp_path / "empty.zip", out=tmp_path / "v.json")


# ------------------------------------------------------------------------------------------------------------- pixels
def test_features_of_a_ramp_are_known():
    """Along a ramp the gradient is its slope and the Laplacian nothing; what is constant stays 0 when standardised."""
    ramp = torch.arange(0, 160, 4, dtype=torch.uint8).expand(40, 40)[None, None]
    features = pixel_features(torch.cat([ramp, ramp.transpose(2, 3)])).view(2, 40, 40, -1)
    assert features.shape[3] == 1 + 3 * 3 + 1
    assert torch.allclose(features[..., 0].mean(), torch.zeros(()), atol=1e-5)
    assert torch.all(features[..., -1] == 1)
    assert torch.allclose(features[0, :, :, 0], features[1, :, :, 0].T)
    inside = features[0, 16:24, 16:24]
    assert inside[..., 2].std() < 1e-3, "the gradient is the same everywhere"
    assert inside[..., 1].std() > 0.1


def test_one_training_is_the_textbooks_and_chunks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((3, 50, 4)).astype(np.float32))
    drawn = torch.from_numpy(rng.random((3, 50)) < 0.4)
    one = PixelTraining(np.array([0, 2, 2]), np.array([0, 1, 2]), 5)
    (found,) = train_pixels(features, drawn, [one], rate=0.1, steps=1, pixels=6)
    draws = np.random.default_rng(5)
    start = 0.1 * draws.standard_normal(4)
    chosen = draws.integers(3, size=(1, 6))[0]
    at = draws.integers(50, size=(1, 6))[0]
    x = features.numpy()[one.images[chosen], at]
    t = drawn.numpy()[one.masks[chosen], at]
    gradient = ((1 / (1 + np.exp(-x @ start)) - t)[:, None] * x).mean(0)
    assert np.allclose(found.numpy(), start - 0.1 * np.sign(gradient), atol=1e-4), "Adam's first step is its rate"
    several = [PixelTraining(one.images, one.masks, seed) for seed in range(7)]
    whole = train_pixels(features, drawn, several, rate=0.1, steps=5, pixels=6)
    monkeypatch.setattr("synthmed.segmenters.pixels.CHUNK", 3)
    assert torch.allclose(whole, train_pixels(features, drawn, several, rate=0.1, steps=5, pixels=6), atol=1e-6)


def test_ious_are_those_of_the_pixels():
    features = torch.tensor([[[1.0, 1], [2, 1], [-1, 1], [-2, 1]], [[-1, 1], [-1, 1], [-1, 1], [-1, 1]]])
    drawn = torch.tensor([[True, True, True, False], [False] * 4])
    weights = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert pixel_ious(features, drawn, weights).tolist() == [[2 / 3, 1.0], [0.75, 0.0]]


def test_no_image_keeps_its_own_mask():
    for seed in range(20):
        rows = np.arange(10, 10 + 2 + seed)
        found = of_another(rows, seed)
        assert sorted(found) == rows.tolist()
        assert not (found == rows).any()

"""Scores over a training: of states whose images are known, by features that are means of colours."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from synthmed.core.files import read_json
from synthmed.data.channels import MaskChannels
from synthmed.data.imageset import PLAIN, ImageSet, write_image_set
from synthmed.evaluation import states as module
from synthmed.evaluation.states import ScoreStatesSettings, score_states
from synthmed.extractors.extractor import Pooled
from synthmed.metrics.fidelity import frechet_distance
from synthmed.metrics.quality import MetricSettings

SIZE = (12, 16)
METRICS = MetricSettings(
    neighbours=2, kid_subsets=0, kid_subset_size=2, inception_splits=1, curve_points=3, max_images=100, level=0.95,
    resamples=50, half_samples=5, seed=1,
)  # fmt: skip
SETTINGS = ScoreStatesSettings(
    images=100, few=5, few_draws=3, shown=2, extractor="domain", input_size=None, batch_size=4, threads=1, device="cpu",
    precision="fp32", model="painter", generator="painter", part="nuclei", classes=("nuclei",), labels=("nuclei",),
    seed=1, metrics=METRICS,
)  # fmt: skip


def colours(images):
    """Means of the three colours, and of their squares: uint8 (N, C, H, W) → (N, 6)."""
    images = torch.as_tensor(images).float() / 255
    features = torch.cat([images.mean((2, 3)), images.square().mean((2, 3))], dim=1)
    return Pooled(features, features, None)


class Painter:
    """White nuclei in the colour of the step: the nearer the step to 3, the nearer to the real ones."""

    needs = frozenset({"mask"})
    image_shape = (3, *SIZE)
    device = torch.device("cpu")
    masks, legend = MaskChannels("classes", PLAIN), PLAIN

    def __init__(self, step):
        self.step = step

    def to(self, device):
        return self

    def sample(self, count, label, noise, source):
        if source is None:
            source = (torch.rand(count, 1, *SIZE, generator=noise) > 0.5) * 2.0 - 1
        return (source - 0.2 * abs(self.step - 3)).clamp(-1, 1).expand(-1, 3, -1, -1)


def image_set(path, count, seed):
    rng, rows = np.random.default_rng(seed), []
    for number in range(count):
        mask = np.where(rng.random(SIZE) < rng.uniform(0.1, 0.9), 255, 0).astype(np.uint8)
        pixels = np.repeat(mask[:, :, None], 3, axis=2)
        fields = {"image": f"{path.stem}{number}.png", "label": "nuclei", "patient": f"{path.stem}{number // 2}"}
        rows.append((fields, pixels, mask))
    write_image_set(path, rows)
    images = ImageSet(path)
    features = colours(images.pixels.transpose(0, 3, 1, 2)).features.numpy()
    names = {"names": images.column("image"), "labels": images.column("label"), "patients": images.column("patient")}
    arrays = {name: np.array(values) for name, values in names.items()}
    np.savez(path.with_suffix(".npz"), **arrays, features=features, squares=features, draw=np.zeros(count, np.int64),
             extractor=np.array("colours"))  # fmt: skip
    return features


@pytest.fixture
def run(tmp_path, monkeypatch):
    features = {name: image_set(tmp_path / f"{name}.zip", *args) for name, args in PARTS.items()}

    class Extractor:
        human = "colours"

        def __call__(self, images):
            return colours(images)

    monkeypatch.setattr(module, "load_extractor", lambda *_: Extractor())
    monkeypatch.setattr(module, "read_states", lambda _path: [SimpleNamespace(step=step) for step in (1, 3, 4)])

    def score(painter=Painter, **changes):
        monkeypatch.setattr(module, "from_checkpoint", lambda saved, _path: painter(saved.step))
        paths = {name: tmp_path / f"{name}.zip" for name in PARTS}
        paths |= {f"{name}_features": tmp_path / f"{name}.npz" for name in PARTS}
        out = {"scores": tmp_path / "scores.json", "pictures": tmp_path / "pictures.npz"}
        settings = dataclasses.replace(SETTINGS, **changes)
        score_states(settings, states=tmp_path / "states.zip", **paths, weights=None, **out)
        return read_json(out["scores"]), dict(np.load(out["pictures"]))

    return score, features, tmp_path


PARTS = {"train": (14, 0), "test": (9, 1)}


def by_hand(images, step):
    """Features of what is painted for all masks of a set."""
    shade = np.clip(images.masks.astype(float) / 127.5 - 1 - 0.2 * abs(step - 3), -1, 1)
    pixels = np.repeat(((shade + 1) * 127.5).round()[:, None], 3, axis=1)
    return colours(pixels).features.double().numpy()


def test_each_part_has_its_own_masks_and_its_own_real_images(run):
    score, features, folder = run
    found, _ = score()
    assert [state["step"] for state in found["states"]] == [1, 3, 4]
    assert (found["n"], found["extractor"], found["generator"]) == (9, "colours", "painter")
    test = ImageSet(folder / "test.zip")
    for state in found["states"]:
        # All 9 masks of the test part are painted; of the 14 of the training part as many.
        expected = frechet_distance(features["test"].astype(float), by_hand(test, state["step"]))
        assert state["test"]["fid"]["value"] == pytest.approx(expected, rel=1e-3, abs=1e-6)
    at = {part: [state[part]["fid"]["value"] for state in found["states"]] for part in PARTS}
    for part in PARTS:
        assert at[part][1] < at[part][2] < at[part][0]  # the step 3 paints what is real
    assert at["test"][1] == pytest.approx(0, abs=1e-6)
    assert at["train"][1] > 1e-4  # 9 masks of 14, so the same images but not the same set
    assert found["states"][1]["test"]["kid"]["low"] is not None


def test_the_floor_is_the_other_part_in_the_place_of_a_state(run):
    score, features, _ = run
    found, _ = score()
    train, test = (features[part].astype(float) for part in ("train", "test"))
    assert found["floor"]["train"]["fid"]["value"] == pytest.approx(frechet_distance(train, test), rel=1e-4)
    assert found["floor"]["train"]["fid"]["n"] == found["floor"]["test"]["fid"]["n"] == 9
    assert found["floor"]["test"]["fid"]["value"] != found["floor"]["train"]["fid"]["value"]


def test_few_images_raise_the_distance_and_too_few_have_none(run):
    score, _, _ = run
    few = score()[0]["states"][1]["test"]  # the real images themselves
    assert few["fid_few"]["n"] == 5
    assert few["fid_few"]["low"] <= few["fid_few"]["value"] <= few["fid_few"]["high"]
    assert few["fid"]["value"] < 1e-6 < 1e-3 < few["fid_few"]["low"]
    none = score(few=10)[0]["states"][0]["test"]["fid_few"]
    assert (none["value"], none["reason"]) == (None, "needs 10 images on each side; there are 9")


def test_pictures_are_of_the_same_masks_at_every_step(run):
    score, _, folder = run
    _, pictures = score()
    assert pictures["steps"].tolist() == [1, 3, 4]
    assert pictures["images"].shape == (3, 2, *SIZE, 3)
    assert np.array_equal(pictures["images"][1], pictures["real"])  # at step 3 the real image itself
    assert np.array_equal(pictures["masks"], pictures["real"][..., 0])
    test = ImageSet(folder / "test.zip")
    assert all(any(np.array_equal(mask, other) for other in test.masks) for mask in pictures["masks"])


def test_a_generator_of_noise_draws_the_same_for_both_parts(run):
    class Drawer(Painter):
        needs, masks = frozenset({"noise"}), None

    score, _, _ = run
    found, pictures = score(Drawer)
    assert set(pictures) == {"steps", "images"}
    again, _ = score(Drawer, images=6)
    assert again["n"] == 6
    assert found["states"][0]["train"]["fid"] != found["states"][0]["test"]["fid"]

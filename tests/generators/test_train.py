"""The training loop: what it writes, how it stops, and that it continues bit for bit."""

import csv
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.imageset import write_image_set
from synthmed.generators import dcgan
from synthmed.generators.base import Generator
from synthmed.generators.snapshots import Samples, diversity
from synthmed.generators.train import TrainSettings, train
from synthmed.training.history import TrainingError
from synthmed.training.images import Batch
from synthmed.training.optimizer import Adam

CONFIG = {
    "latent_size": 8,
    "generator_channels": [8, 4],
    "discriminator_channels": [4, 8],
    "kernel_size": 4,
    "learning_rate": 1.0e-3,
    "beta1": 0.5,
    "dropout": 0.2,
    "ema_decay": 0.9,
}
LOOP = {
    "steps": 12,
    "batch_size": 4,
    "accumulate": 1,
    "precision": "fp32",
    "channels_last": False,
    "jitter": None,
    "flip": True,
    "threads": 1,
    "processes": 1,
    "log_every": 5,
    "size": None,
    "masks": None,
    "sample_every": 4,
    "keep_every": None,
    "save_every": 3,
    "device": "cpu",
}


def values(config=None, **loop):
    return {
        "model": "dcgan",
        "classes": ["normal", "abnormal"],
        "labels": ["normal"],
        "learns": "images",
        "seed": 3,
        "config": CONFIG | (config or {}),
        "training": LOOP | loop,
    }


def settings(config=None, **loop):
    return parse(TrainSettings, values(config, **loop))


@pytest.fixture
def images(tmp_path):
    return image_set(tmp_path / "train.zip", {"normal": 10, "abnormal": 6})


def image_set(path, counts, size=16):
    rng = np.random.default_rng(0)
    rows = []
    for label, count in counts.items():
        for i in range(count):
            pixels = np.kron(rng.integers(0, 256, (4, 4)), np.ones((size // 4, size // 4))).astype(np.uint8)
            rows.append(({"image": f"{label}_{i}.png", "label": label, "patient": f"{label}{i}"}, pixels))
    write_image_set(path, rows)
    return path


def outputs(folder):
    folder.mkdir(exist_ok=True)
    return {
        "checkpoint": folder / "c.pt",
        "history": folder / "h.csv",
        "samples": folder / "s.png",
        "states": folder / "z",
    }


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def run(folder, images, chosen=None):
    train(chosen or settings(), images=images, **outputs(folder))
    return files(folder)


# ------------------------------------------------------------------------------------------------------- what it writes
def test_outputs(tmp_path, images, caplog):
    caplog.set_level(logging.INFO)
    made = run(tmp_path / "a", images)
    assert set(made) == {"c.pt", "h.csv", "s.png", "z"}  # and no resume state is left
    rows = list(csv.DictReader(made["h.csv"].decode().splitlines()))
    assert list(rows[0]) == ["step", "discriminator_real", "discriminator_fake", "generator", "diversity"]
    assert [int(row["step"]) for row in rows] == [4, 5, 8, 10, 12]
    assert [bool(row["generator"]) for row in rows] == [False, True, False, True, True]
    assert [bool(row["diversity"]) for row in rows] == [True, False, True, False, True]
    with Image.open(tmp_path / "a" / "s.png") as picture:
        assert picture.height == (2 + 4) * 18  # two snapshots, then a grid of four rows
    assert "images/s" in caplog.text


def test_equal_settings_give_equal_bytes_and_another_seed_does_not(tmp_path, images):
    first = run(tmp_path / "a", images)
    assert run(tmp_path / "b", images) == first
    other = run(tmp_path / "c", images, parse(TrainSettings, values() | {"seed": 4}))
    assert other["c.pt"] != first["c.pt"]


@pytest.mark.parametrize("changes", [{"accumulate": 2}, {"precision": "bf16"}, {"channels_last": True}])
def test_ways_to_run(tmp_path, images, changes):
    made = run(tmp_path / "a", images, settings(**changes, steps=2))
    assert torch.load(tmp_path / "a" / "c.pt", weights_only=True)["step"] == 2
    assert len(made["h.csv"].splitlines()) == 2


def test_accumulated_micro_batches_equal_one_large_batch():
    """Of a network without BatchNorm: the gradient of the mean is the mean of the gradients."""

    class Scale(Generator):
        needs = frozenset()

        def __init__(self):
            super().__init__(SimpleNamespace(), (1, 2, 2), ("a",))
            self.weight = torch.nn.Parameter(torch.ones(()))
            self.optimizers = {"only": Adam(self.parameters(), 0.1)}

    def step(*parts):
        model = Scale()
        batches = [Batch(torch.full((2, 1, 2, 2), part), torch.zeros(2)) for part in parts]
        losses = model.update(
            model.optimizers["only"], lambda batch: {"loss": (model.weight * batch.images).square().mean()}, batches
        )
        return losses["loss"].item(), model.weight.grad.item()

    # loss = w² x², gradient 2 w x², at w = 1: means over the micro-batches x = 1 and x = 3.
    assert step(1.0, 3.0) == (pytest.approx((1 + 9) / 2), pytest.approx((2 + 18) / 2))


# ---------------------------------------------------------------------------------------------------------- wrong input
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training": LOOP | {"batch_size": 11}}, "10 images of .*fewer than the batch_size 11"),
        ({"labels": ["normal", "sick"]}, "choose from the classes"),
        ({"classes": ["normal", "abnormal", "other"], "labels": ["other"]}, "no image of the class 'other'"),
        ({"classes": ["normal"]}, "unknown label 'abnormal'"),
        ({"model": "dcgam"}, "the generators are"),
        ({"config": CONFIG | {"beta1": "0.5"}}, "settings.config.beta1"),
    ],
)
def test_unusable_input_is_refused_before_the_first_step(tmp_path, images, changes, words):
    with pytest.raises(InputError, match=words):
        run(tmp_path / "a", images, parse(TrainSettings, values() | changes))
    assert not list((tmp_path / "a").iterdir())


def test_equal_real_images_are_refused(tmp_path):
    rows = [
        ({"image": f"{i}.png", "label": "normal", "patient": f"{i}"}, np.zeros((16, 16), np.uint8)) for i in range(5)
    ]
    write_image_set(tmp_path / "flat.zip", rows)
    with pytest.raises(InputError, match="all the same"):
        run(tmp_path / "a", tmp_path / "flat.zip")


# --------------------------------------------------------------------------------------------------- when it goes wrong
def test_collapse_warns_and_then_stops(tmp_path, images, monkeypatch, caplog):
    monkeypatch.setattr(dcgan.Model, "sample", lambda self, count, label, noise, source: torch.zeros(count, 1, 16, 16))
    with pytest.raises(
        TrainingError, match="step 9: the generator collapsed: all samples of 'normal' are the same in 3"
    ):
        run(tmp_path / "a", images, settings(sample_every=1))
    assert caplog.text.count("look all the same") == 9


def test_diversity_by_hand():
    images = torch.tensor([0.0, 2.0]).view(2, 1, 1, 1).expand(2, 1, 3, 3)
    assert diversity(images) == pytest.approx(2**0.5)
    assert diversity(torch.ones(4, 1, 2, 2)) == 0


def test_a_full_disk_says_so_and_keeps_the_last_state(small_disk, images):
    chosen = settings({"latent_size": 2000}, save_every=1)
    with pytest.raises(InputError, match="no space left"):
        run(small_disk / "a", images, chosen)
    assert not list((small_disk / "a").glob(".*"))


@pytest.mark.parametrize("need", ["noise", "mask", "origin", "image"])
def test_what_is_watched_is_made_from_what_the_model_needs(need):
    images = torch.randint(0, 256, (6, 2, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    given = images if need == "mask" else images[:, :1]
    model = SimpleNamespace(classes=("a", "b"), image_shape=(1, 4, 4), needs=frozenset({need}))
    (found, _) = Samples(model, lambda rows: given[rows], torch.tensor([0, 0, 0, 1, 1, 1]), 1).sources
    expected = {"mask": images[:3, 1:], "origin": images[:3, :1], "image": images[3:, :1]}
    assert (found is None) if need == "noise" else torch.equal(found, expected[need])

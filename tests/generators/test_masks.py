"""Generators of images with masks, from training to the synthetic set: one paints an image for each, one draws both."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_configs import TINY
from torch import nn

from synthmed import generators
from synthmed.commands.check_images import check
from synthmed.commands.describe import describe
from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.channels import MaskChannels, resized_labels
from synthmed.data.imageset import PLAIN, ImageSet, Legend, write_image_set
from synthmed.generators.base import Generator
from synthmed.generators.sampling import SampleSettings, load_generator, sample
from synthmed.generators.train import TrainSettings, train
from synthmed.metrics.leakage import leakage
from synthmed.training.optimizer import Adam

NUCLEI = Legend(channels=("stain", "inverse"), masks="instances", classes={"nucleus": 1})
SIZE = (16, 24)


@dataclasses.dataclass(frozen=True)
class PainterConfig:
    noise: float


class Painter(Generator):
    """Pixel by pixel from the mask's channels, by least squares, and noise on top."""

    Config = PainterConfig
    needs = frozenset({"mask", "noise"})
    inference_modules = ("brush",)

    def __init__(self, config, image_shape, classes, mask_channels):
        super().__init__(config, image_shape, classes, mask_channels)
        self.brush = nn.Conv2d(mask_channels, image_shape[0], 1)
        self.optimizers = {"painter": Adam(self.brush.parameters(), 0.05, (0.9, 0.999))}

    def painted(self, masks, noise):
        return (self.brush(masks) + self.config.noise * noise).tanh()

    def train_step(self, batches):
        def loss(batch):
            noise = self.noise(len(batch.images), 1, *self.image_shape[1:])
            return {"painter": (self.painted(batch.masks, noise) - batch.images).square().mean()}

        return self.update(self.optimizers["painter"], loss, batches)

    @torch.no_grad()
    def sample(self, count, label, noise, source):
        assert source.shape == (count, self.mask_channels, *self.image_shape[1:])
        return self.painted(source, torch.randn(count, 1, *self.image_shape[1:], generator=noise))


@pytest.fixture(autouse=True)
def painter(monkeypatch):
    load = generators.load
    monkeypatch.setattr(generators, "load", lambda name: Painter if name == "painter" else load(name))
    monkeypatch.setitem(generators.GENERATORS, "painter", "synthmed.generators.dcgan")  # for the hashes of the code


def nuclei(path, counts, size=SIZE, legend=NUCLEI, masked=lambda number: True):
    """Images of bright boxes with their masks: 4 to 6 nuclei of 200 on 60, and the inverse."""
    rng, rows = np.random.default_rng(1), []
    for label, count in counts.items():
        for number in range(count):
            mask = np.zeros(size, np.uint16)
            for value in range(1, rng.integers(5, 8)):
                top, left = rng.integers(size[0] - 4), rng.integers(size[1] - 4)
                mask[top : top + 4, left : left + 4] = value + 300
            stain = np.where(mask > 0, 200, 60).astype(np.uint8)
            fields = {"image": f"{label}{number:02d}.png", "label": label, "patient": f"{label}{number}"}
            rows.append((fields, np.dstack([stain, 255 - stain]), mask)[: 3 if masked(number) else 2])
    write_image_set(path, rows, legend)
    return path


def train_settings(model, config, labels=("normal", "tumour"), learns="images", **loop):
    training = {
        "steps": 120,
        "batch_size": 4,
        "size": None,
        "masks": "instances",
        "accumulate": 1,
        "precision": "fp32",
        "channels_last": False,
        "jitter": None,
        "flip": True,
        "threads": 1,
        "processes": 1,
        "log_every": 60,
        "sample_every": 60,
        "keep_every": None,
        "save_every": 60,
        "device": "cpu",
    }
    values = {"model": model, "classes": ["normal", "tumour"], "labels": labels, "seed": 1, "config": config}
    values["learns"] = learns
    return parse(TrainSettings, values | {"training": training | loop})


def sample_settings(model, samples, labels=("normal", "tumour")):
    values = {"model": model, "generator": model, "classes": ["normal", "tumour"], "trainings": {"all": labels}}
    more = {
        "samples": samples,
        "repeats": 1,
        "seed": 1,
        "batch_size": 3,
        "threads": 1,
        "device": "cpu",
        "truncation": None,
        "start_scale": None,
    }
    return parse(SampleSettings, values | more)


def trained(tmp_path, images, settings, name="made"):
    files = {
        "checkpoint": f"{name}.pt",
        "history": f"{name}.csv",
        "samples": f"{name}.png",
        "states": f"{name}.states.zip",
    }
    train(settings, images=images, **{key: tmp_path / file for key, file in files.items()})
    return tmp_path / f"{name}.pt"


@pytest.mark.parametrize(("size", "reduced"), [(None, SIZE), ([8, 12], (8, 12))])
def test_images_painted_for_masks_carry_them_and_are_an_image_set(tmp_path, size, reduced):
    real = nuclei(tmp_path / "train.zip", {"normal": 6, "tumour": 9})
    made = trained(tmp_path, real, train_settings("painter", {"noise": 0.05}, size=size))
    chosen = sample_settings("painter", {"normal": 8, "tumour": 5})
    sample(chosen, checkpoints=[made], images=real, synthetic=tmp_path / "s.zip")
    assert check(tmp_path / "s.zip") == []
    synthetic, real = ImageSet(tmp_path / "s.zip"), ImageSet(real)
    assert synthetic.legend == NUCLEI
    assert synthetic.column("label") == ["normal"] * 8 + ["tumour"] * 5
    origins = synthetic.column("origin")
    assert all(origin.startswith(label) for origin, label in zip(origins, synthetic.column("label"), strict=True))
    # 8 samples of 6 masks: each is used before any is used again.
    assert sorted(origins[:8].count(origin) for origin in set(origins[:8])) == [1, 1, 1, 1, 2, 2]
    assert len(set(origins[8:])) == 5
    assert origins[8:] == sorted(origins[8:])
    names, off = real.column("image"), 25 if size is None else 50  # reduced images are blurred, masks are not
    for origin, mask, pixels in zip(origins, synthetic.masks, synthetic.pixels, strict=True):
        expected = resized_labels(real.masks[names.index(origin)], reduced)
        assert np.array_equal(mask, expected)
        # It has learned from pairs: nuclei are bright where their own mask is, also in mirrored batches.
        assert abs(pixels[..., 0][mask > 0].mean() - 200) < off
        assert abs(pixels[..., 0][mask == 0].mean() - 60) < off
        assert abs(pixels[..., 1][mask == 0].mean() - 195) < off
    assert len({pixels.tobytes() for pixels in synthetic.pixels}) == 13  # noise: no two of one mask are the same
    restored = load_generator(made)
    assert (restored.mask_channels, restored.legend, restored.masks) == (4, NUCLEI, MaskChannels("instances", NUCLEI))


def test_equal_settings_give_equal_bytes(tmp_path):
    real = nuclei(tmp_path / "train.zip", {"normal": 4, "tumour": 4})
    settings = train_settings("painter", {"noise": 0.05}, steps=4)
    one, two = (trained(tmp_path, real, settings, name) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    for name in ("a.zip", "b.zip"):
        sample(sample_settings("painter", {"normal": 5}), checkpoints=[one], images=real, synthetic=tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def dcgan(tmp_path, images, labels, **loop):
    settings = train_settings("dcgan", TINY["dcgan"]["config"], labels, steps=4, **loop)
    return trained(tmp_path, images, settings, labels[0])


@pytest.mark.parametrize(
    ("legend", "coding"),
    [
        (NUCLEI, "instances"),
        (NUCLEI, "classes"),
        (dataclasses.replace(NUCLEI, channels=None), "rgba"),
        (PLAIN, "classes"),
    ],
)
def test_a_generator_of_noise_draws_images_with_masks(tmp_path, legend, coding):
    if legend.channels is None:
        rows = [(row, pixels[..., :1], mask) for row, pixels, mask in ImageSet(plain(tmp_path, NUCLEI)).entries()]
        if legend == PLAIN:
            rows = [(row, pixels, np.where(mask > 0, 255, 0)) for row, pixels, mask in rows]
        write_image_set(tmp_path / "train.zip", rows, legend)
    real = tmp_path / "train.zip" if legend.channels is None else plain(tmp_path, legend)
    made = dcgan(tmp_path, real, ["normal"], masks=coding)
    extra = len(MaskChannels(coding, legend).names)
    channels = ImageSet(real)[0].shape[2]
    assert load_generator(made).image_shape == (channels + extra, 16, 16)
    chosen = sample_settings("dcgan", {"normal": 5}, ["normal"])
    sample(chosen, checkpoints=[made], images=real, synthetic=tmp_path / "s.zip")
    synthetic = ImageSet(tmp_path / "s.zip")
    assert synthetic.legend == legend
    assert synthetic.pixels.shape == (5, 16, 16, channels)
    # What is stored is what the channels say: the same noise, decoded here.
    images = load_generator(made)
    noise = torch.Generator().manual_seed(derived(chosen))
    drawn = torch.cat([images.sample(count, "normal", noise, None) for count in (3, 2)])
    coded = ((drawn + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    masks = [MaskChannels(coding, legend).decode(one[..., channels:]) for one in coded]
    assert np.array_equal(synthetic.pixels, coded[..., :channels])
    assert np.array_equal(synthetic.masks, masks)
    found = [
        leakage(one[..., :channels], exclusive(coding, one[..., channels:]), int(coding == "instances"))
        for one in coded
    ]
    assert ("mask_overlap" in synthetic.rows[0]) == (coding == "instances")
    for name in found[0]:
        values = [float(value) for value in synthetic.column(f"mask_{name}")]
        assert values == pytest.approx([mixed[name] for mixed in found], abs=1e-5)
    assert max(map(float, synthetic.column("mask_grey"))) > 0


def exclusive(coding, channels):
    """Of classes all, of instances those that share no pixel, of four equal ones one."""
    return {"classes": channels, "instances": channels[..., :3]}.get(coding, channels.mean(-1, keepdims=True).round())


@pytest.mark.parametrize("jitter", [None, 1.25])
def test_masks_alone_are_learnt_drawn_and_painted(tmp_path, jitter):
    """One generator learns masks only; another one, trained on pairs, paints what it drew."""
    real = nuclei(tmp_path / "train.zip", {"normal": 12}, (16, 16))
    drawer = dcgan(tmp_path, real, ["normal"], learns="masks", masks="classes", jitter=jitter)
    assert load_generator(drawer).image_shape == (1, 16, 16)
    sample(
        sample_settings("dcgan", {"normal": 7}, ["normal"]),
        checkpoints=[drawer],
        images=real,
        synthetic=tmp_path / "m.zip",
    )
    drawn = ImageSet(tmp_path / "m.zip")
    assert check(tmp_path / "m.zip") == []
    assert drawn.legend == dataclasses.replace(NUCLEI, channels=None)
    assert drawn.pixels.shape == (7, 16, 16, 1)
    assert np.array_equal(drawn.pixels[..., 0], np.where(drawn.masks > 0, 255, 0))
    assert len({mask.tobytes() for mask in drawn.masks}) > 1

    made = trained(tmp_path, real, train_settings("painter", {"noise": 0.05}, ["normal"], masks="classes"), "painted")
    chosen = sample_settings("painter", {"normal": 7}, ["normal"])
    sample(chosen, checkpoints=[made], images=tmp_path / "m.zip", synthetic=tmp_path / "s.zip")
    painted = ImageSet(tmp_path / "s.zip")
    assert painted.column("origin") == drawn.column("image")
    assert np.array_equal(painted.masks, drawn.masks)
    assert painted.legend == NUCLEI
    where = drawn.masks > 0
    if where.any() and not where.all():
        assert painted.pixels[..., 0][where].mean() > painted.pixels[..., 0][~where].mean() + 50


def test_a_training_of_masks_alone_needs_a_coding_and_a_model_that_draws(tmp_path):
    real = nuclei(tmp_path / "train.zip", {"normal": 6, "tumour": 6})
    with pytest.raises(InputError, match=r"masks alone needs setting training\.masks"):
        trained(tmp_path, real, train_settings("painter", {"noise": 0.1}, learns="masks"))
    with pytest.raises(InputError, match=r"masks alone needs setting training\.masks"):
        dcgan(tmp_path, real, ["normal"], learns="masks", masks=None)


def plain(tmp_path, legend):
    return nuclei(tmp_path / "plain.zip", {"normal": 6, "tumour": 6}, (16, 16), legend)


def derived(settings):
    from synthmed.training.device import derived_seed

    return derived_seed(settings.seed, "samples of normal")


def test_without_masks_a_training_ignores_them(tmp_path):
    real = nuclei(tmp_path / "train.zip", {"normal": 6, "tumour": 6}, (16, 16))
    made = dcgan(tmp_path, real, ["normal"], masks=None)
    chosen = sample_settings("dcgan", {"normal": 3}, ["normal"])
    sample(chosen, checkpoints=[made], images=real, synthetic=tmp_path / "s.zip")
    synthetic = ImageSet(tmp_path / "s.zip")
    assert synthetic.legend == Legend(channels=NUCLEI.channels)
    assert set(synthetic.column("mask")) == {""}


# ------------------------------------------------------------------------------------------------------- bad input
def test_what_does_not_fit_is_said_before_any_step(tmp_path):
    config, counts = {"noise": 0.1}, {"normal": 6, "tumour": 6}
    real = nuclei(tmp_path / "train.zip", counts)
    with pytest.raises(InputError, match=r"makes images for masks, but the setting training\.masks is null"):
        trained(tmp_path, real, train_settings("painter", config, masks=None))
    some = nuclei(tmp_path / "some.zip", counts, masked=lambda number: number != 3)
    with pytest.raises(InputError, match=r"some\.zip: 2 of 12 images have no mask, the first is 'normal03\.png'"):
        trained(tmp_path, some, train_settings("painter", config))
    rows = [(row, pixels, np.where(mask > 0, 255, 0)) for row, pixels, mask in ImageSet(real).entries()]
    write_image_set(tmp_path / "classes.zip", rows, Legend(NUCLEI.channels))
    with pytest.raises(InputError, match="masks are semantic: use 'classes'"):
        trained(tmp_path, tmp_path / "classes.zip", train_settings("painter", config))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.zip", "some.zip", "train.zip"]


def test_masks_of_another_kind_or_none_cannot_be_painted(tmp_path):
    real = nuclei(tmp_path / "train.zip", {"normal": 6, "tumour": 6})
    made = trained(tmp_path, real, train_settings("painter", {"noise": 0.1}, steps=2))
    chosen = sample_settings("painter", {"normal": 3})
    other = nuclei(tmp_path / "other.zip", {"normal": 3}, legend=Legend(NUCLEI.channels, "instances", {"cell": 1}))
    with pytest.raises(InputError, match=r"other\.zip: masks of .*cell.* trained on .*nucleus"):
        sample(chosen, checkpoints=[made], images=other, synthetic=tmp_path / "s.zip")
    none = nuclei(tmp_path / "none.zip", {"normal": 3, "tumour": 3}, masked=lambda number: False)
    with pytest.raises(InputError, match=r"samples\.normal is 3, but .*none\.zip has 0 masks of 'normal'"):
        sample(chosen, checkpoints=[made], images=none, synthetic=tmp_path / "s.zip")


def test_trainings_on_different_sets_are_not_put_together(tmp_path):
    labels, made = {"normal": NUCLEI, "tumour": dataclasses.replace(NUCLEI, channels=("red", "inverse"))}, []
    for label, legend in labels.items():
        real = nuclei(tmp_path / f"{label}.zip", {"normal": 6, "tumour": 6}, (16, 16), legend)
        made.append(dcgan(tmp_path, real, [label]))
    values = dataclasses.asdict(sample_settings("dcgan", {"normal": 2, "tumour": 2}))
    chosen = parse(SampleSettings, values | {"trainings": {label: [label] for label in labels}})
    with pytest.raises(InputError, match=r"trainings \['normal', 'tumour'\] differ in the channels or masks"):
        sample(chosen, checkpoints=made, images=real, synthetic=tmp_path / "s.zip")


def test_without_noise_a_mask_gives_one_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(Painter, "needs", frozenset({"mask"}))
    real = nuclei(tmp_path / "train.zip", {"normal": 6, "tumour": 6})
    made = trained(tmp_path, real, train_settings("painter", {"noise": 0.0}, steps=2))
    with pytest.raises(
        InputError, match=r"samples\.normal is 7, .* 6 masks of 'normal' and each gives one .*at most 6"
    ):
        sample(sample_settings("painter", {"normal": 7}), checkpoints=[made], images=real, synthetic=tmp_path / "s.zip")


def test_the_layers_of_a_painter_are_listed_with_the_channels_of_its_masks():
    assert f"{2 * 5 + 2}" in describe("painter", {"noise": 0.1}, (2, 16, 16), 5).splitlines()[-1]

"""From checkpoints to synthetic image sets, with DCGAN and with a stand-in that translates by inverting the image."""

import dataclasses
import types

import numpy as np
import pytest
import torch

from synthmed import generators
from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.generators.base import Generator
from synthmed.generators.dcgan import Config, Model
from synthmed.generators.sampling import SampleSettings, load_generator, sample
from synthmed.training.checkpoint import Checkpoint, save
from synthmed.training.device import derived_seed
from synthmed.training.images import to_pixels

CONFIG = Config(8, (8, 4), (4, 8), 4, 1e-3, 0.5, 0.0, 0.9)


@dataclasses.dataclass(frozen=True)
class InverterConfig:
    gain: float


class Inverter(Generator):
    Config = InverterConfig
    needs = frozenset({"image"})
    inference_modules = ("network",)

    def __init__(self, config, image_shape, classes):
        super().__init__(config, image_shape, classes)
        self.network = torch.nn.Conv2d(1, 1, 1)

    def sample(self, count, label, noise, source):
        assert len(source) == count
        return -source


@pytest.fixture(autouse=True)
def inverter(monkeypatch):
    load = generators.load
    monkeypatch.setattr(generators, "load", lambda name: Inverter if name == "inverter" else load(name))


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    write_image_set(
        tmp_path / "train.zip",
        [
            (
                {"image": f"{label}{i}.png", "label": label, "patient": f"{label}{i}"},
                rng.integers(0, 256, (16, 16), np.uint8),
            )
            for label, count in (("normal", 5), ("abnormal", 3))
            for i in range(count)
        ],
    )
    return tmp_path / "train.zip"


def checkpoint(path, labels, model="dcgan", seed=0):
    torch.manual_seed(seed)
    if model == "dcgan":
        made, config = Model(CONFIG, (1, 16, 16), labels), dataclasses.asdict(CONFIG)
    else:
        made, config = Inverter(InverterConfig(1.0), (1, 16, 16), labels), {"gain": 1.0}
    save(path, Checkpoint(model, config, (1, 16, 16), labels, 1, made.inference_state()))
    return path


def settings(**changes):
    values = {
        "model": "dcgan",
        "generator": "dcgan_64",
        "classes": ["normal", "abnormal"],
        "trainings": {"n": ["normal"], "a": ["abnormal"]},
        "repeats": 1,
        "samples": {"normal": 5, "abnormal": 3},
        "seed": 1,
        "truncation": None,
        "start_scale": None,
        "batch_size": 2,
        "threads": 1,
        "device": "cpu",
    }
    return parse(SampleSettings, values | changes)


def translating(**samples):
    return settings(model="inverter", generator="inv", trainings={"both": ["normal", "abnormal"]}, samples=samples)


@pytest.fixture
def pair(tmp_path):
    return [checkpoint(tmp_path / "n.pt", ("normal",)), checkpoint(tmp_path / "a.pt", ("abnormal",), seed=1)]


def test_the_synthetic_set(tmp_path, images, pair):
    sample(settings(), checkpoints=pair, images=images, synthetic=tmp_path / "s.zip")
    made = ImageSet(tmp_path / "s.zip")
    assert made.column("image") == [f"dcgan_64_abnormal_{i:05d}.png" for i in (1, 2, 3)] + [
        f"dcgan_64_normal_{i:05d}.png" for i in (1, 2, 3, 4, 5)
    ]
    assert made.column("label") == ["abnormal"] * 3 + ["normal"] * 5
    assert set(made.column("source")) == {"dcgan_64"}
    assert set(made.column("split")) == {"synthetic"}
    assert len(set(made.column("patient"))) == 8
    assert all(patient.startswith("synthetic-dcgan_64-") for patient in made.column("patient"))
    assert made.pixels.shape == (8, 16, 16, 1)
    assert len({image.tobytes() for image in made.pixels}) == 8
    assert "origin" not in made.rows[0]


def test_each_repeat_of_the_trainings_gives_as_many_images(tmp_path, images, pair):
    again = [
        checkpoint(tmp_path / f"{name}2.pt", (name,), seed=seed) for seed, name in ((2, "normal"), (3, "abnormal"))
    ]
    sample(settings(), checkpoints=pair, images=images, synthetic=tmp_path / "first.zip")
    sample(settings(repeats=2), checkpoints=[*pair, *again], images=images, synthetic=tmp_path / "both.zip")
    first, both = ImageSet(tmp_path / "first.zip"), ImageSet(tmp_path / "both.zip")
    assert "training" not in first.rows[0]
    firsts, seconds = ([i for i, row in enumerate(both.rows) if row["training"] == number] for number in "12")
    assert [both.rows[i]["label"] for i in seconds] == first.column("label")
    assert [both.rows[i]["image"] for i in firsts] == first.column("image")
    assert np.array_equal(both.pixels[firsts], first.pixels), "the first repeat is what it is alone"
    assert len(set(both.column("patient"))) == len(set(both.column("image"))) == 16
    # The second repeat: its own checkpoints and its own noise.
    sample(settings(repeats=2), checkpoints=[*pair, *pair], images=images, synthetic=tmp_path / "same.zip")
    same = ImageSet(tmp_path / "same.zip")
    assert len({image.tobytes() for image in same.pixels}) == 16
    assert not np.array_equal(same.pixels[seconds], both.pixels[seconds])


def test_labels_that_differ_in_signs_only_have_names_of_their_own(tmp_path, images):
    pair = [checkpoint(tmp_path / "p.pt", ("TB+",)), checkpoint(tmp_path / "m.pt", ("TB-",), seed=1)]
    chosen = settings(classes=["TB+", "TB-"], trainings={"p": ["TB+"], "m": ["TB-"]}, samples={"TB+": 1, "TB-": 1})
    sample(chosen, checkpoints=pair, images=images, synthetic=tmp_path / "s.zip")
    made = ImageSet(tmp_path / "s.zip")
    assert made.column("image") == ["dcgan_64_TB-1_00001.png", "dcgan_64_TB-2_00001.png"]
    assert made.column("label") == ["TB+", "TB-"]


def test_equal_settings_give_equal_bytes(tmp_path, images, pair):
    for name in ("a.zip", "b.zip"):
        sample(settings(), checkpoints=pair, images=images, synthetic=tmp_path / name)
    sample(settings(seed=2), checkpoints=pair, images=images, synthetic=tmp_path / "c.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert (tmp_path / "a.zip").read_bytes() != (tmp_path / "c.zip").read_bytes()


def test_the_batch_is_the_most_that_is_drawn_at_once(tmp_path, images, pair, monkeypatch):
    counts = []
    whole = Model.sample

    def counted(self, count, label, noise, source):
        counts.append((label, count))
        return whole(self, count, label, noise, source)

    monkeypatch.setattr(Model, "sample", counted)
    sample(settings(), checkpoints=pair, images=images, synthetic=tmp_path / "s.zip")
    assert counts == [("abnormal", 2), ("abnormal", 1), ("normal", 2), ("normal", 2), ("normal", 1)]


def test_translations_name_their_origin_and_use_each_source_once(tmp_path, images):
    both = [checkpoint(tmp_path / "b.pt", ("normal", "abnormal"), "inverter")]
    sample(translating(normal=3, abnormal=4), checkpoints=both, images=images, synthetic=tmp_path / "s.zip")
    made, real = ImageSet(tmp_path / "s.zip"), ImageSet(images)
    position = {name: i for i, name in enumerate(real.column("image"))}
    assert len(set(made.column("origin"))) == 7
    for i, row in enumerate(made.rows):
        source = position[row["origin"]]
        assert real.rows[source]["label"] != row["label"]
        assert np.array_equal(made[i], 255 - real[source])


def test_more_translations_than_sources_are_refused(tmp_path, images):
    both = [checkpoint(tmp_path / "b.pt", ("normal", "abnormal"), "inverter")]
    with pytest.raises(InputError, match=r"samples.normal is 4, .* has 3 images of \['abnormal'\].*at most 3"):
        sample(translating(normal=4), checkpoints=both, images=images, synthetic=tmp_path / "s.zip")


def test_images_of_another_size_are_refused(tmp_path):
    both = [checkpoint(tmp_path / "b.pt", ("normal", "abnormal"), "inverter")]
    row = {"image": "a.png", "label": "abnormal", "patient": "1"}
    write_image_set(tmp_path / "large.zip", [(row, np.zeros((32, 32), np.uint8))])
    with pytest.raises(InputError, match=r"\(1, 32, 32\).*trained on \(1, 16, 16\)"):
        sample(translating(normal=1), checkpoints=both, images=tmp_path / "large.zip", synthetic=tmp_path / "s.zip")
    assert not (tmp_path / "s.zip").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"samples": {"sick": 1}}, "samples.sick: the classes are"),
        ({"trainings": {"n": ["normal"], "a": ["normal"]}}, "2 trainings have this label"),
        ({"trainings": {"n": ["normal"]}}, "2 checkpoints for the 1 trainings"),
        ({"repeats": 2}, "2 checkpoints for the 2 trainings .*, each 2 times"),
        (
            {"repeats": 2, "trainings": {"all": ["normal", "abnormal"]}, "samples": {"unlabelled": 5}},
            "repeats is 2, but unlabelled samples",
        ),
        (
            {"trainings": {"a": ["abnormal"], "n": ["normal"]}},
            "trained on .'normal'., but the settings say .'abnormal'.",
        ),
        ({"truncation": 0.7}, "truncation is 0.7, but dcgan has no space w"),
        ({"start_scale": 1}, "start_scale is 1, but dcgan varies no image; leave it out"),
        ({"model": "inverter"}, "checkpoint of 'dcgan', but the setting model is 'inverter'"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path, images, pair, changes, words):
    with pytest.raises(InputError, match=words):
        sample(settings(**changes), checkpoints=pair, images=images, synthetic=tmp_path / "s.zip")
    assert not (tmp_path / "s.zip").exists()


@pytest.mark.parametrize(
    ("model", "samples", "words"),
    [
        ("dcgan", {"normal": 2}, r"dcgan is unconditional and cannot be asked for 'normal'"),
        ("inverter", {"unlabelled": 2}, r"samples\.unlabelled is only for one training of an unconditional model"),
    ],
)
def test_a_model_is_asked_only_for_labels_that_it_can_make(tmp_path, images, model, samples, words):
    both = [checkpoint(tmp_path / "b.pt", ("normal", "abnormal"), model)]
    asked = settings(model=model, samples=samples, trainings={"all": ["normal", "abnormal"]})
    with pytest.raises(InputError, match=words):
        sample(asked, checkpoints=both, images=images, synthetic=tmp_path / "s.zip")


def test_weights_that_do_not_fit_the_config_name_the_file(tmp_path, images, pair):
    content = torch.load(pair[0], weights_only=True)
    content["config"]["latent_size"] = 9
    torch.save(content, pair[0])
    with pytest.raises(InputError, match=r"n\.pt: these weights do not fit"):
        sample(settings(), checkpoints=pair, images=images, synthetic=tmp_path / "s.zip")


@pytest.mark.parametrize("truncation", [None, 0.0, 0.5])
def test_the_truncation_is_the_models(tmp_path, images, pair, monkeypatch, truncation):
    monkeypatch.setattr(Model, "spaces", ("z", "w"))
    monkeypatch.setattr(Model, "sample", lambda self, count, *rest: torch.full((count, 1, 16, 16), self.truncation))
    sample(settings(truncation=truncation), checkpoints=pair, images=images, synthetic=tmp_path / "s.zip")
    share = 1.0 if truncation is None else truncation
    assert set(ImageSet(tmp_path / "s.zip").pixels.ravel().tolist()) == {round((share + 1) * 127.5)}


def test_samples_that_are_not_finite_are_refused(tmp_path, images, pair, monkeypatch):
    monkeypatch.setattr(Model, "sample", lambda self, count, *rest: torch.full((count, 1, 16, 16), float("nan")))
    with pytest.raises(InputError, match="not finite"):
        sample(settings(), checkpoints=pair, images=images, synthetic=tmp_path / "s.zip")


# --------------------------------------------------------------------------------------------------------- unlabelled
def test_a_model_of_several_classes_makes_unlabelled_samples(tmp_path, images):
    both = [checkpoint(tmp_path / "b.pt", ("normal", "abnormal"))]
    chosen = settings(trainings={"both": ["normal", "abnormal"]}, samples={"unlabelled": 5})
    sample(chosen, checkpoints=both, images=images, synthetic=tmp_path / "s.zip")
    made = ImageSet(tmp_path / "s.zip")
    assert made.column("label") == ["unlabelled"] * 5
    assert made.column("image") == [f"dcgan_64_unlabelled_{i:05d}.png" for i in (1, 2, 3, 4, 5)]
    assert len({image.tobytes() for image in made.pixels}) == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"trainings": {"n": ["normal"]}},
        {"trainings": {"n": ["normal"], "a": ["abnormal"]}},
        {"trainings": {"both": ["normal", "abnormal"], "n": ["normal"]}},
    ],
)
def test_where_the_label_can_be_known_unlabelled_is_refused(tmp_path, images, changes):
    both = [checkpoint(tmp_path / f"{i}.pt", ("normal", "abnormal")) for i in range(len(changes["trainings"]))]
    chosen = settings(samples={"unlabelled": 5}, **changes)
    with pytest.raises(InputError, match=r"samples\.unlabelled is only for one training of an unconditional model"):
        sample(chosen, checkpoints=both, images=images, synthetic=tmp_path / "s.zip")
    assert not (tmp_path / "s.zip").exists()


# ------------------------------------------------------------------------------------------------- the latent vector
def test_a_generator_is_loaded_by_its_file_alone_frozen_and_makes_the_samples(tmp_path, images, pair):
    sample(settings(samples={"normal": 2}), checkpoints=pair, images=images, synthetic=tmp_path / "s.zip")
    generator = load_generator(pair[0])
    assert (generator.latent_size, generator.image_shape, generator.classes) == (8, (1, 16, 16), ("normal",))
    assert not generator.training
    assert not any(parameter.requires_grad for parameter in generator.parameters())
    noise = torch.Generator().manual_seed(derived_seed(1, "samples of normal"))
    z = torch.randn(2, 8, generator=noise).requires_grad_(True)
    made = generator.synthesise(z)
    assert np.array_equal(to_pixels(made).permute(0, 2, 3, 1).numpy(), ImageSet(tmp_path / "s.zip").pixels)
    made.sum().backward()
    assert z.grad.abs().max() > 0
    with pytest.raises(InputError, match="no such file; train the generator again"):
        load_generator(tmp_path / "absent.pt")


def test_registry_loads_only_what_is_asked():
    assert isinstance(generators.GENERATORS, dict)
    assert not isinstance(generators.GENERATORS["dcgan"], types.ModuleType)
    with pytest.raises(InputError, match="the generators are"):
        generators.load("stylegan9")

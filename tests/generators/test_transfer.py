"""Trainings that begin with the weights of another checkpoint."""

import dataclasses
import logging

import pytest
import torch
from test_train import image_set, outputs, settings
from tiny_configs import TINY

from synthmed import generators
from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.channels import MaskChannels
from synthmed.data.imageset import PLAIN, Legend
from synthmed.generators.train import train
from synthmed.generators.transfer import transfer
from synthmed.training.checkpoint import Checkpoint, load, save


def build(name, seed, classes=("benign",), shape=None, **changes):
    model_class = generators.load(name)
    torch.manual_seed(seed)
    return model_class(
        parse(model_class.Config, TINY[name]["config"] | changes), shape or TINY[name]["shape"], tuple(classes)
    )


def saved(model, path):
    name = type(model).__module__.rpartition(".")[2]
    state = model.inference_state()
    save(path, Checkpoint(name, dataclasses.asdict(model.config), model.image_shape, model.classes, 7, state))
    return path


def same(one, two):
    return {key for key, value in one.state_dict().items() if torch.equal(value, two.state_dict()[key])}


def test_averaged_weights_and_the_discriminator_are_taken_over(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    old, new = build("stylegan2", 1), build("stylegan2", 2, ["melanoma"])
    transfer(new, saved(old, tmp_path / "old.pt"), "stylegan2")
    for name, source in (("generator", "generator_ema"), ("generator_ema", "generator_ema"), ("discriminator",) * 2):
        assert same(getattr(new, name), getattr(old, source)) == getattr(new, name).state_dict().keys()
    assert "trained on ['benign'] for 7 steps" in caplog.text
    assert "anew" not in caplog.text


def test_the_probability_of_augmentation_moves_at_a_speed_of_its_own(tmp_path):
    adapted = {"target": 0.6, "interval": 4, "kimg": 500.0, "kimg_after_transfer": 100.0}
    old, new = (build("stylegan2", seed, augmentation=adapted) for seed in (1, 2))
    assert new.probability.kimg == 500.0
    transfer(new, saved(old, tmp_path / "old.pt"), "stylegan2")
    assert (old.probability.kimg, new.probability.kimg) == (500.0, 100.0)
    plain = build("stylegan2", 3, augmentation=None)
    transfer(plain, saved(old, tmp_path / "old.pt"), "stylegan2")


def test_with_more_classes_only_what_knows_classes_begins_anew(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    old, new = build("stylegan2", 1), build("stylegan2", 2, ["benign", "melanoma"])
    drawn = {key: value.clone() for key, value in new.state_dict().items()}
    transfer(new, saved(old, tmp_path / "old.pt"), "stylegan2")
    kept = {key for key, value in new.state_dict().items() if torch.equal(value, drawn[key]) and value.numel() > 16}
    about_classes = ("mapping.embed", "mapping.fc0.weight", "discriminator.mapping", "discriminator.b4.out")
    weights = {key for key in kept if not key.endswith(("noise_const", "resample_filter"))}
    assert weights
    assert all(any(part in key for part in about_classes) for key in weights)
    for key in ("generator.mapping.embed.weight", "generator_ema.mapping.fc0.weight", "discriminator.b4.out.bias"):
        assert key in caplog.text
    assert "fc1" not in caplog.text.replace("discriminator.mapping.fc1", "")


def test_a_model_whose_checkpoint_has_no_discriminator_begins_with_a_new_one(tmp_path):
    old, new = build("dcgan", 1), build("dcgan", 2)
    assert new.initialise_from(old) == ["discriminator"]
    assert same(new.generator, old.generator_ema) == new.generator.state_dict().keys()
    assert not torch.equal(next(new.discriminator.parameters()), next(old.discriminator.parameters()))


def test_pggan_goes_on_at_the_size_it_had_grown_to(tmp_path):
    old, new = build("pggan", 1), build("pggan", 2)
    old.images_seen = 9
    transfer(new, saved(old, tmp_path / "old.pt"), "pggan")
    assert new.growth() == old.growth()
    assert new.growth() != build("pggan", 3).growth()


def test_other_networks_images_and_models_are_refused(tmp_path):
    path = saved(build("stylegan2", 1), tmp_path / "old.pt")
    with pytest.raises(InputError, match=r"other networks than .*channel_max was 8, is 4"):
        transfer(build("stylegan2", 2, channel_max=4), path, "stylegan2")
    with pytest.raises(InputError, match="train both alike"):
        transfer(build("stylegan2", 2, shape=(1, 16, 16)), path, "stylegan2")
    named, masked = build("stylegan2", 2), build("stylegan2", 2)
    named.legend, masked.masks = Legend(channels=("red", "green", "blue")), MaskChannels("classes", PLAIN)
    for other in (named, masked):
        with pytest.raises(InputError, match="train both alike"):
            transfer(other, path, "stylegan2")
    with pytest.raises(InputError, match="checkpoint of 'stylegan2'"):
        transfer(build("dcgan", 2), path, "dcgan")


def test_the_step_begins_with_the_weights_given(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    images = image_set(tmp_path / "train.zip", {"normal": 10, "abnormal": 6})
    train(settings(), images=images, **outputs(tmp_path / "first"))
    still = dataclasses.replace(settings({"learning_rate": 1e-12}), seed=99)
    initial = tmp_path / "first" / "c.pt"
    train(still, images=images, initial=initial, **outputs(tmp_path / "second"))
    one, two = load(initial, model=None), load(tmp_path / "second" / "c.pt", model=None)
    weights = [key for key in one.state if key.endswith("weight")]
    assert all(torch.allclose(one.state[key], two.state[key], atol=1e-6) for key in weights)
    assert f"begins with the weights of {initial}" in caplog.text

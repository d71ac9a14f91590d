"""Codes and images of the spaces z and w."""

import dataclasses

import numpy as np
import pytest
import torch

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.generators import dcgan, stylegan2
from synthmed.latent.space import check_space, draw_codes, images_of, restore
from synthmed.training.checkpoint import Checkpoint, save

CPU = torch.device("cpu")
CONFIG = {
    "latent_size": 6,
    "mapping_layers": 2,
    "channel_base": 64,
    "channel_max": 4,
    "minibatch_group": 2,
    "style_mixing": 0.5,
    "r1_gamma": 1.0,
    "r1_interval": 2,
    "path_weight": 1.0,
    "path_interval": 2,
    "learning_rate": 1.0e-3,
    "ema_kimg": 1.0,
    "ema_rampup": 0.5,
    "augmentation": None,
}


def saved(path, classes=("benign", "melanoma")):
    torch.manual_seed(0)
    model = stylegan2.Model(parse(stylegan2.Config, CONFIG), (1, 8, 8), classes)
    save(
        path, Checkpoint("stylegan2", dataclasses.asdict(model.config), (1, 8, 8), classes, 1, model.inference_state())
    )
    return path


def test_w_is_what_the_same_z_are_mapped_to_and_makes_their_images(tmp_path):
    gan = restore(saved(tmp_path / "g.pt"), "stylegan2", CPU, "melanoma")
    z, w = draw_codes(gan, "z", 5, seed=1), draw_codes(gan, "w", 5, seed=1)
    assert np.allclose(w, gan.w_of(torch.from_numpy(z)).numpy(), atol=1e-6)
    made = [images_of(gan, space, torch.from_numpy(codes)) for space, codes in (("z", z), ("w", w))]
    assert torch.allclose(*made, atol=1e-5)
    assert np.array_equal(draw_codes(gan, "w", 3, seed=1), w[:3])


def test_a_generator_of_several_classes_makes_the_one_that_is_named(tmp_path):
    path = saved(tmp_path / "g.pt")
    codes = [draw_codes(restore(path, "stylegan2", CPU, label), "w", 2, seed=1) for label in ("benign", "melanoma")]
    assert not np.allclose(*codes)
    for label in (None, "naevus"):
        with pytest.raises(InputError, match=r"makes the classes \['benign', 'melanoma'\]"):
            restore(path, "stylegan2", CPU, label)
    restore(saved(tmp_path / "one.pt", ("benign",)), "stylegan2", CPU)


def test_a_space_that_a_generator_does_not_have_is_refused(tmp_path):
    gan = dcgan.Model(dcgan.Config(8, (8, 4), (4, 8), 4, 1e-3, 0.5, 0.0, 0.9), (1, 16, 16), ("benign",))
    check_space(gan, "z", tmp_path)
    with pytest.raises(InputError, match=r"has no space 'w'; set space to one of \['z'\]"):
        check_space(gan, "w", tmp_path)
    with pytest.raises(InputError, match="has no space w"):
        gan.w_of(torch.zeros(1, 8))


def test_an_unconditional_generator_of_several_classes_is_asked_for_none(tmp_path):
    """It has no use for the label, which would be invented."""
    config = dcgan.Config(8, (8, 4), (4, 8), 4, 1e-3, 0.5, 0.0, 0.9)

    def made(*classes):
        model = dcgan.Model(config, (1, 16, 16), classes)
        content = Checkpoint("dcgan", dataclasses.asdict(config), (1, 16, 16), classes, 1, model.inference_state())
        save(tmp_path / "g.pt", content)
        return tmp_path / "g.pt"

    both = made("benign", "melanoma")
    assert restore(both, "dcgan", CPU).label is None
    with pytest.raises(InputError, match=r"dcgan is unconditional, was trained on \['benign', 'melanoma'\]"):
        restore(both, "dcgan", CPU, "melanoma")
    assert restore(made("benign"), "dcgan", CPU, "benign").label == "benign"

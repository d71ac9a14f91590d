from itertools import pairwise

import pytest
import torch

from synthmed.commands.describe import describe
from synthmed.core.errors import InputError
from synthmed.generators.dcgan import Config, Model
from synthmed.generators.layers import layers
from synthmed.training.images import Batch

THESIS = Config(
    latent_size=100,
    generator_channels=(512, 256, 128, 64, 32, 16),
    discriminator_channels=(16, 32, 64, 128, 256, 512),
    kernel_size=5,
    learning_rate=1e-4,
    beta1=0.9,
    dropout=0.3,
    ema_decay=0.0,
)


def small(**changes):
    values = {
        "latent_size": 8,
        "generator_channels": (8, 4),
        "discriminator_channels": (4, 8),
        "kernel_size": 4,
        "learning_rate": 1e-3,
        "beta1": 0.5,
        "dropout": 0.0,
        "ema_decay": 0.9,
    }
    return Config(**(values | changes))


def outputs(model, network, kind):
    return [layer.output for layer in layers(model) if layer.network == network and layer.kind == kind]


def test_paper_generator_has_the_shapes_of_figure_1():
    model = Model(Model.paper_config((3, 64, 64)), (3, 64, 64), ("a",))
    assert outputs(model, "generator", "ConvTranspose2d") == [
        (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64),
    ]  # fmt: skip
    assert outputs(model, "generator", "Linear") == [(1024 * 4 * 4,)]


def test_thesis_variant_has_the_layers_of_section_4_4_2():
    model = Model(THESIS, (1, 128, 128), ("mask",))
    assert outputs(model, "generator", "ConvTranspose2d") == [
        (256, 8, 8), (128, 16, 16), (64, 32, 32), (32, 64, 64), (16, 128, 128),
    ]  # fmt: skip
    assert outputs(model, "generator", "Conv2d") == [(1, 128, 128)]
    assert outputs(model, "discriminator", "Conv2d") == [
        (16, 64, 64), (32, 32, 32), (64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2),
    ]  # fmt: skip


def test_parameter_counts_by_hand():
    rows = layers(Model(THESIS, (1, 128, 128), ("mask",)))
    generator = sum(layer.parameters for layer in rows if layer.network == "generator")
    maps = (512, 256, 128, 64, 32, 16)
    by_hand = 100 * 512 * 16 + sum(25 * a * b for a, b in pairwise(maps)) + 2 * sum(maps) + 25 * 16 + 1
    assert generator == by_hand
    discriminator = sum(layer.parameters for layer in rows if layer.network == "discriminator")
    assert (
        discriminator == 25 * 16 + 16 + 25 * sum(a * b for a, b in pairwise(maps)) + 2 * (sum(maps) - 16) + 512 * 4 + 1
    )


@pytest.mark.parametrize(("size", "kernel"), [(8, 4), (8, 5), (16, 3), (32, 5), (64, 4)])
def test_every_size_and_kernel_gives_images_of_that_size(size, kernel):
    doublings = size.bit_length() - 3
    for extra in (0, 1):
        config = small(
            generator_channels=(4,) * (doublings + extra), discriminator_channels=(4,) * doublings, kernel_size=kernel
        )
        model = Model(config, (1, size, size), ("a",))
        assert model.sample(2, "a", torch.Generator(), None).shape == (2, 1, size, size)


@pytest.mark.parametrize(
    ("changes", "shape", "words"),
    [
        ({}, (1, 24, 24), "square images of 8, 16, 32"),
        ({}, (1, 16, 32), "square images"),
        ({}, (1, 4, 4), "square images"),
        ({"generator_channels": (8,)}, (1, 16, 16), "generator_channels has 1 entries"),
        ({"discriminator_channels": (8,) * 5}, (1, 16, 16), "discriminator_channels has 5"),
    ],
)
def test_unusable_settings_are_named(changes, shape, words):
    with pytest.raises(InputError, match=words):
        Model(small(**changes), shape, ("a",))


def test_initial_weights_follow_the_paper():
    model = Model(THESIS, (1, 128, 128), ("mask",))
    assert model.generator.project.weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert model.discriminator.decide.bias.item() == 0
    scales = torch.cat([layer.weight for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)])
    assert scales.mean().item() == pytest.approx(1.0, abs=0.01)
    assert scales.std().item() == pytest.approx(0.02, rel=0.1)


def test_losses_start_near_chance_and_the_discriminator_learns():
    torch.manual_seed(0)
    model = Model(small(), (1, 16, 16), ("a",))
    model.rng.manual_seed(0)
    batch = Batch(torch.full((8, 1, 16, 16), 0.9), torch.zeros(8, dtype=torch.int64))
    first = model.train_step([batch])
    # log 2 = 0.693 nats is a discriminator that knows nothing.
    assert first["discriminator_real"].item() == pytest.approx(0.693, abs=0.2)
    for _ in range(20):
        last = model.train_step([batch])
    assert last["discriminator_real"] < first["discriminator_real"]


def test_ema_follows_the_generator_slowly():
    torch.manual_seed(0)
    model = Model(small(ema_decay=0.9), (1, 16, 16), ("a",))
    start = model.generator.project.weight.detach().clone()
    model.step = 1_000_000  # past the warm-up of the decay
    model.train_step([Batch(torch.rand(4, 1, 16, 16), torch.zeros(4, dtype=torch.int64))])
    expected = 0.9 * start + 0.1 * model.generator.project.weight.detach()
    assert torch.allclose(model.generator_ema.project.weight, expected, atol=1e-7)


def test_describe_prints_layers_and_totals():
    text = describe("dcgan", None, (1, 64, 64))
    assert "ConvTranspose2d" in text
    assert "128 × 32 × 32" in text
    assert text.count("total") == 2
    with pytest.raises(InputError, match="kernel_size is missing"):
        describe("dcgan", {"latent_size": 3, "generator_channels": [4], "discriminator_channels": [4]}, (1, 8, 8))

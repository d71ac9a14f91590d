import dataclasses

import pytest
import torch
from tiny_configs import TINY
from torch import nn

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.generators.cyclegan import Config, GeneratorNetwork, ImagePool, Model, lsgan_loss
from synthmed.networks.blocks import count_parameters
from synthmed.training.images import Batch

SHAPE = TINY["cyclegan"]["shape"]


def build(**changes):
    torch.manual_seed(0)
    model = Model(parse(Config, TINY["cyclegan"]["config"] | changes), SHAPE, ("normal", "abnormal"))
    model.rng.manual_seed(0)
    model.total_steps = 10
    return model


def batch(count=2, seed=0):
    images = torch.rand(2 * count, *SHAPE, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Batch(images, torch.arange(2).repeat_interleave(count))


@pytest.mark.parametrize(("blocks", "count"), [(6, 7_837_699), (9, 11_378_179)])
def test_generator_has_the_published_number_of_parameters(blocks, count):
    def convolution(kernel, inputs, outputs):
        return kernel * kernel * inputs * outputs + outputs

    by_hand = (
        convolution(7, 3, 64)
        + convolution(3, 64, 128)
        + convolution(3, 128, 256)
        + blocks * 2 * convolution(3, 256, 256)
        + convolution(3, 256, 128)
        + convolution(3, 128, 64)
        + convolution(7, 64, 3)
    )
    assert by_hand == count
    with torch.device("meta"):
        assert count_parameters(GeneratorNetwork(3, 64, blocks)) == count


def test_generator_keeps_the_shape_for_images_that_are_not_square():
    assert GeneratorNetwork(2, 2, 1)(torch.zeros(1, 2, 32, 24)).shape == (1, 2, 32, 24)


def test_weights_start_small():
    model = build(base_channels=16, discriminator_layers=[16, 32])
    for network in (model.to_first, model.to_second, model.discriminator_first, model.discriminator_second):
        weights = [layer.weight.flatten() for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        assert torch.cat(weights).std().item() == pytest.approx(0.02, rel=0.05)


def test_lsgan_loss_by_hand():
    logits = torch.tensor([0.0, 1.0, 2.0])
    assert lsgan_loss(logits, 1.0).item() == pytest.approx(2 / 3)
    assert lsgan_loss(logits, 0.0).item() == pytest.approx(5 / 3)


@pytest.mark.parametrize(("layers", "field"), [([4], 10), ([4, 8], 22)])
def test_receptive_field_follows_from_discriminator_layers(layers, field):
    assert build(discriminator_layers=layers).discriminator_first.receptive_field == field


class Shift(nn.Module):
    """A generator whose images are known."""

    def __init__(self, amount):
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(amount))

    def forward(self, images):
        return images + self.amount


def test_without_identity_weight_the_identity_costs_nothing_and_the_other_losses_are_the_same():
    without, usual = build(identity_weight=0.0).train_step([batch()]), build().train_step([batch()])
    assert without["identity"] == 0
    for name in ("adversarial", "cycle"):
        assert without[name].item() == pytest.approx(usual[name].item(), rel=1e-5)


def test_learning_rate_is_constant_then_falls_linearly_to_zero():
    model = build()
    rates = []
    for step in range(10):
        model.step = step
        model.train_step([batch(1)])
        rates.append([optimizer.param_groups[0]["lr"] for optimizer in model.optimizers.values()])
    expected = [2e-4 * factor for factor in (1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2)]
    for rate, wanted in zip(rates, expected, strict=True):
        assert rate == pytest.approx([wanted, wanted])
    model.step = 10
    assert model.learning_rate() == 0


def test_total_steps_must_be_known():
    model = build()
    model.total_steps = 0
    with pytest.raises(ValueError, match="total_steps"):
        model.train_step([batch()])


# ------------------------------------------------------------------------------------------------------------ the pool
def numbered(first, count):
    return torch.arange(first, first + count, dtype=torch.float32).view(-1, 1, 1, 1)


def test_pool_fills_first_and_returns_what_it_gets():
    pool = ImagePool(50, (1, 1, 1))
    generator = torch.Generator().manual_seed(0)
    for start in range(0, 50, 10):
        assert torch.equal(pool.exchange(numbered(start, 10), generator), numbered(start, 10))
    assert torch.equal(pool.images, numbered(0, 50))


def test_full_pool_swaps_half_of_the_images_and_loses_none():
    pool = ImagePool(50, (1, 1, 1))
    generator = torch.Generator().manual_seed(0)
    pool.exchange(numbered(0, 50), generator)
    out = pool.exchange(numbered(50, 1000), generator)
    kept_new = int((out == numbered(50, 1000)).sum())
    assert 440 < kept_new < 560
    seen = sorted([*out.flatten().tolist(), *pool.images.flatten().tolist()])
    assert seen == list(range(1050))  # every image is in the pool or came out, once


def test_pool_of_size_zero_returns_the_new_images():
    images = numbered(0, 3)
    assert ImagePool(0, (1, 1, 1)).exchange(images, torch.Generator()) is images


def test_pool_is_part_of_the_training_state():
    model = build()
    model.train_step([batch()])
    state = model.training_state()
    other = build()
    other.load_training_state(state)
    assert int(other.pool_first.filled) == 2
    assert torch.equal(other.pool_second.images, model.pool_second.images)
    assert other.pool_second.images[:2].abs().sum() > 0
    assert "pool_first.images" not in model.inference_state()


# ------------------------------------------------------------------------------------------------------------ sampling
def test_sample_translates_the_source_into_the_label():
    model = build()
    model.to_second, model.to_first = Shift(0.25), Shift(-0.5)
    source = torch.zeros(3, *SHAPE)
    assert torch.equal(model.sample(3, "abnormal", torch.Generator(), source), source + 0.25)
    assert torch.equal(model.sample(3, "normal", torch.Generator(), source), source - 0.5)


def test_sample_without_source_or_with_an_unknown_label_is_refused():
    model = build()
    with pytest.raises(InputError, match="source image"):
        model.sample(2, "normal", torch.Generator(), None)
    with pytest.raises(InputError, match="nothing"):
        model.sample(1, "nothing", torch.Generator(), torch.zeros(1, *SHAPE))


def test_batch_of_one_class_is_refused():
    model = build()
    with pytest.raises(ValueError, match="both classes"):
        model.train_step([Batch(torch.zeros(2, *SHAPE), torch.zeros(2, dtype=torch.int64))])


@pytest.mark.parametrize(
    ("shape", "classes", "changes", "message"),
    [
        ((1, 16, 16), ("normal",), {}, "exactly two classes"),
        ((1, 16, 16), ("a", "b", "c"), {}, "exactly two classes"),
        ((1, 18, 16), ("a", "b"), {}, "divisible by 4"),
        ((1, 16, 16), ("a", "b"), {"discriminator_layers": (4, 4, 4, 4)}, "discriminator_layers has 4"),
        ((1, 16, 16), ("a", "b"), {"discriminator_layers": ()}, "discriminator_layers is empty"),
    ],
)
def test_unusable_settings_are_named(shape, classes, changes, message):
    config = dataclasses.replace(parse(Config, TINY["cyclegan"]["config"]), **changes)
    with pytest.raises(InputError, match=message):
        Model(config, shape, classes)

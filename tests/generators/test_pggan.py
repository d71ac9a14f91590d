import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from tiny_configs import TINY

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.generators.pggan import (
    Config,
    Convolution,
    Discriminator,
    FirstConvolution,
    GeneratorNetwork,
    Model,
    UpsamplingConvolution,
)
from synthmed.networks.blocks import MinibatchDeviation, PixelNorm, count_parameters
from synthmed.training.images import Batch

PAPER = Model.paper_config((3, 1024, 1024))


def build(shape=(1, 16, 16), **changes):
    torch.manual_seed(0)
    model = Model(parse(Config, TINY["pggan"]["config"] | changes), shape, ("normal",))
    model.rng.manual_seed(0)
    model.total_steps = 100
    return model


def batch(count=4, shape=(1, 16, 16), seed=0):
    images = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Batch(images, torch.zeros(count, dtype=torch.int64))


# -------------------------------------------------------------------------------------------- the sizes of the paper
@pytest.fixture(scope="module")
def paper():
    return Model(PAPER, (3, 1024, 1024), ("a",))


def parameters(blocks):
    """Of a block the parameters of each convolution, in order."""
    return [count_parameters(layer) for layer in blocks.modules() if isinstance(layer, Convolution)]


def convolution(inputs, outputs, side):
    return inputs * outputs * side * side + outputs


def test_generator_has_the_layers_of_table_2(paper):
    maps = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}
    blocks = paper.generator.blocks
    assert [int(name) for name in blocks] == list(maps)
    assert parameters(blocks["4"]) == [convolution(512, 512, 4), convolution(512, 512, 3)]
    for resolution in list(maps)[1:]:
        own, below = maps[resolution], maps[resolution // 2]
        assert parameters(blocks[str(resolution)]) == [convolution(below, own, 3), convolution(own, own, 3)]
    assert count_parameters(paper.generator.to_image["1024"]) == convolution(16, 3, 1)
    # The table's column of parameters, as it is printed.
    printed = {"4": "4.2M 2.4M", "64": "1.2M 590k", "128": "295k 148k", "512": "18k 9.2k", "1024": "4.6k 2.3k"}
    for name, text in printed.items():
        assert " ".join(map(_as_printed, parameters(blocks[name]))) == text


def test_discriminator_has_the_layers_of_table_2(paper):
    maps = {1024: 16, 512: 32, 256: 64, 128: 128, 64: 256, 32: 512, 16: 512, 8: 512, 4: 512}
    blocks = paper.discriminator.blocks
    assert [int(name) for name in blocks] == list(maps)[:-1]
    for resolution in list(maps)[:-1]:
        own, below = maps[resolution], maps[resolution // 2]
        assert parameters(blocks[str(resolution)]) == [convolution(own, own, 3), convolution(own, below, 3)]
    assert count_parameters(paper.discriminator.from_image["1024"]) == convolution(3, 16, 1)
    last = [convolution(513, 512, 3), convolution(512, 512, 4), convolution(512, 1, 1)]
    assert parameters(paper.discriminator.decide) == last


def test_both_networks_have_the_23_1_million_parameters_of_table_2(paper):
    """The table counts the networks at 1024 px, with the one layer from or to the image that is used there."""
    totals = []
    for network, images in ((paper.generator, "to_image"), (paper.discriminator, "from_image")):
        unused = sum(count_parameters(layer) for name, layer in getattr(network, images).items() if name != "1024")
        totals.append(count_parameters(network) - unused)
    assert totals == [23_071_507, 23_077_137]
    assert [_as_printed(total) for total in totals] == ["23.1M", "23.1M"]
    # With all nine of them.
    assert count_parameters(paper.generator) == 23_079_115
    assert count_parameters(paper.discriminator) == 23_087_249


def _as_printed(count):
    if count >= 1e6:
        return f"{count / 1e6:.1f}M"
    return f"{count / 1e3:.1f}k" if count < 1e4 else f"{count / 1e3:.0f}k"


def test_the_settings_of_the_paper_are_for_any_size():
    assert Model.paper_config((1, 64, 64)).batch_limits == {}
    assert PAPER.batch_limits == {"256": 14, "512": 6, "1024": 3}


# ------------------------------------------------------------------------------------------------------------ layers
def test_equalised_convolution_by_hand():
    layer = Convolution(3, 2, 3, 1)
    x = torch.randn(1, 3, 5, 5)
    expected = F.conv2d(x, layer.weight * math.sqrt(2 / (3 * 3 * 3)), padding=1)
    assert torch.allclose(layer(x), expected, atol=1e-6)
    assert abs(Convolution(64, 64, 3, 1).weight.std().item() - 1) < 0.02  # 5 standard errors
    assert Convolution(64, 1, 1, 0, gain=1.0).scale == pytest.approx(1 / 8)


def test_equalised_convolutions_keep_the_variance_before_leaky_relu():
    torch.manual_seed(0)
    x = torch.randn(8, 64, 16, 16)
    for layer in (Convolution(64, 64, 3, 1), UpsamplingConvolution(64, 64)):
        out = F.relu(layer(x))
        assert out.square().mean().item() == pytest.approx(1.0, rel=0.2)  # He et al. 2015, equation 10


@pytest.mark.parametrize("size", [4, 32])
def test_upsampling_convolution_is_upsampling_and_convolution(size):
    layer = UpsamplingConvolution(3, 2)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(1, 3, size, size)
    expected = F.conv2d(F.interpolate(x, scale_factor=2), layer.weight * layer.scale, layer.bias, padding=1)
    assert torch.allclose(layer(x), expected, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16  # the bias, of fp32, does not widen the map


def test_the_first_convolution_is_the_one_of_table_2_up_to_the_order_of_its_weights():
    layer = FirstConvolution(3, 2)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 1, 1)
    flipped = (layer.weight * math.sqrt(2 / (3 * 16))).flip(2, 3)
    assert torch.allclose(layer(x), F.conv2d(x, flipped, layer.bias, padding=3), atol=1e-6)


def test_pixel_norm_by_hand():
    x = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    assert torch.allclose(PixelNorm()(x).flatten(), x.flatten() / math.sqrt(12.5))


def test_minibatch_deviation_by_hand():
    x = torch.zeros(6, 2, 1, 1)
    x[0], x[1] = 1.0, 5.0  # first group: standard deviation 2 in both channels
    x[2, 0], x[3, 0] = 0.0, 2.0  # second group: 1 in one channel, 0 in the other
    out = MinibatchDeviation(2)(x)
    assert out.shape == (6, 3, 1, 1)
    assert torch.equal(out[:, :2], x)
    assert torch.allclose(out[:, 2].flatten(), torch.tensor([2, 2, 0.5, 0.5, 0, 0]), atol=2e-4)


@pytest.mark.parametrize(("count", "group", "expected"), [(6, 4, 3), (14, 4, 2), (3, 4, 3), (16, 16, 16), (7, 4, 1)])
def test_groups_are_the_largest_that_divide_the_batch(count, group, expected):
    x = torch.randn(count, 1, 1, 1)
    channel = MinibatchDeviation(group)(x)[:, 1].flatten()
    groups = x.view(-1, expected).std(dim=1, unbiased=False)
    assert torch.allclose(channel, groups.repeat_interleave(expected), atol=2e-4)


# ----------------------------------------------------------------------------------------------------------- growing
def test_growth_follows_the_images_seen():
    model = build(stable_kimg=0.1, fade_kimg=0.2)
    states = {}
    for seen in (0, 99, 100, 200, 299, 300, 399, 400, 500, 600, 10**9):
        model.images_seen = seen
        states[seen] = model.growth()
    assert states == {
        0: (4, 1.0),
        99: (4, 1.0),
        100: (8, 0.0),
        200: (8, 0.5),
        299: (8, pytest.approx(0.995)),
        300: (8, 1.0),
        399: (8, 1.0),
        400: (16, 0.0),
        500: (16, 0.5),
        600: (16, 1.0),
        10**9: (16, 1.0),
    }


def test_without_fading_resolutions_are_added_at_once():
    model = build(stable_kimg=0.1, fade_kimg=0)
    for seen, expected in ((99, (4, 1.0)), (100, (8, 1.0)), (200, (16, 1.0))):
        model.images_seen = seen
        assert model.growth() == expected


def test_images_seen_are_those_of_all_micro_batches_and_limits_hold_where_they_are_set():
    model = build(stable_kimg=0.008, fade_kimg=0, batch_limits={"8": 3}, minibatch_group=3)
    assert model.batch_size(4) == 4
    model.train_step([batch(4), batch(4)])
    assert model.images_seen == 8
    assert model.batch_size(4) == 3
    assert model.batch_size(2) == 2
    model.train_step([batch(3)])
    model.images_seen = 16
    assert model.batch_size(4) == 4


def test_fading_in_begins_with_the_smaller_network_and_ends_with_the_larger():
    model = build()
    z, images = torch.randn(3, 8), torch.randn(3, 1, 16, 16)
    small = model.generator(z, 8, 1.0)
    assert torch.allclose(model.generator(z, 16, 0.0), F.interpolate(small, scale_factor=2), atol=1e-6)
    half = (model.generator(z, 16, 0.0) + model.generator(z, 16, 1.0)) / 2
    assert torch.allclose(model.generator(z, 16, 0.5), half, atol=1e-6)
    scores = model.discriminator(images, 16, 0.0)
    assert torch.allclose(scores, model.discriminator(F.avg_pool2d(images, 2), 8, 1.0), atol=1e-5)
    assert not torch.allclose(scores, model.discriminator(images, 16, 1.0), atol=1e-3)


def test_real_images_are_blended_while_a_resolution_is_faded_in():
    model = build(stable_kimg=0.1, fade_kimg=0.1)
    images = batch().images
    model.images_seen = 50
    assert torch.allclose(model.at_growth(images), F.avg_pool2d(images, 4))
    model.images_seen = 125
    eight, four = F.avg_pool2d(images, 2), F.interpolate(F.avg_pool2d(images, 4), scale_factor=2)
    assert torch.allclose(model.at_growth(images), 0.25 * eight + 0.75 * four, atol=1e-6)
    model.images_seen = 10**9
    assert model.at_growth(images) is images


def test_moments_of_adam_stay_when_the_networks_grow_and_new_layers_begin_theirs():
    model = build(stable_kimg=0.008, fade_kimg=0.008)
    names = [name for name, _ in model.generator.named_parameters()]
    optimizer = model.optimizers["generator"]

    def counts():
        return {names[position]: int(state["step"]) for position, state in optimizer.state.items()}

    for step in range(2):
        model.train_step([batch()])
        model.step = step + 1
    before = counts()
    assert set(before.values()) == {2}
    assert all(name.split(".")[1] == "4" for name in before)
    for step in range(2, 4):
        model.train_step([batch()])
        model.step = step + 1
    after = counts()
    assert all(after[name] == 4 for name in before)
    assert {after[name] for name in after if name.split(".")[1] == "8"} == {2}
    assert not any(name.split(".")[1] == "16" for name in after)


def test_samples_before_the_full_size_are_enlarged_and_the_training_is_warned_of(caplog):
    model = build(stable_kimg=1.0, fade_kimg=1.0)
    model.train_step([batch()])
    images = model.synthesise(torch.randn(2, 8))
    assert images.shape == (2, 1, 16, 16)
    assert torch.equal(images, F.interpolate(images[:, :, ::4, ::4], scale_factor=4))
    assert "shows at most 400 images, but the full 16 pixels are reached after 4000" in caplog.text
    enough = build(stable_kimg=0.1, fade_kimg=0.1)
    caplog.clear()
    enough.train_step([batch()])
    assert not caplog.text


def test_features_are_what_the_discriminator_makes_of_the_images_at_their_growth():
    model, images = build(), batch().images
    model.images_seen = 8  # half way between 4×4 and 8×8
    assert model.growth() == (8, 0.5)
    wanted = model.discriminator.features(model.at_growth(images), 8, 0.5)
    assert torch.allclose(model.discriminator_features(images), wanted.flatten(1))


def test_checkpoints_remember_how_far_the_networks_have_grown():
    model = build()
    for step in range(3):
        model.train_step([batch(seed=step)])
        model.step = step + 1
    z, images = torch.randn(2, 8), batch(2).images
    restored = build()
    restored.load_inference_state(model.inference_state())
    assert restored.growth() == model.growth() == (8, 1.0)
    assert torch.equal(restored.synthesise(z), model.synthesise(z))
    assert torch.equal(restored.discriminator_features(images), model.discriminator_features(images))
    state = model.inference_state()
    del state["images_seen"]
    with pytest.raises(InputError, match="images_seen"):
        restored.load_inference_state(state)


# ------------------------------------------------------------------------------------------------------------- losses
def test_gradient_penalty_under_bf16_is_near_that_of_fp32():
    model = build((1, 64, 64), fmap_base=128, fmap_max=16)
    model.images_seen = 10**9
    real, fake = batch(16, (1, 64, 64)).images, batch(16, (1, 64, 64), seed=1).images
    found = []
    for precision in ("fp32", "bf16"):
        model.rng.manual_seed(0)
        model.precision = precision
        model.discriminator.zero_grad()
        with model.autocast():
            penalty = model.penalty(real, fake)
        assert penalty.dtype == torch.float32
        penalty.backward()
        gradients = [p.grad.flatten() for p in model.discriminator.parameters() if p.grad is not None]
        found.append((penalty.item(), torch.cat(gradients)))
    (expected, exact), (given, rounded) = found
    assert given == pytest.approx(expected, rel=0.02)
    assert (rounded - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradient_checkpointing_changes_no_number(precision):
    models = [build(gradient_checkpointing=checkpointing) for checkpointing in (False, True)]
    for model in models:
        model.precision = precision
        model.images_seen = 24  # fading in 16×16
    for step in range(2):
        plain, recomputed = ([*model.train_step([batch(seed=step)]).values()] for model in models)
        assert all(map(torch.equal, plain, recomputed))
    for (name, one), other in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other), name
        if one.grad is not None:
            assert torch.equal(one.grad, other.grad), name
    z = torch.randn(2, 8, requires_grad=True)
    (plain,), (recomputed,) = (torch.autograd.grad(model.synthesise(z).sum(), z) for model in models)
    assert torch.equal(plain, recomputed)


def test_gradient_checkpointing_keeps_fewer_activations():
    kept = []
    for checkpointing in (False, True):
        model = build((1, 64, 64), gradient_checkpointing=checkpointing)
        sizes = {}

        def note(tensor, sizes=sizes):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            images = model.generator(torch.randn(4, 8), 64, 1.0)
            scores = model.discriminator(images, 64, 1.0)
        kept.append(sum(sizes.values()))
        del images, scores
    assert kept[1] < kept[0] / 3


# ------------------------------------------------------------------------------------------------------ wrong settings
@pytest.mark.parametrize("shape", [(1, 16, 32), (1, 24, 24), (1, 4, 4)])
def test_sizes_that_cannot_be_grown_are_refused(shape):
    with pytest.raises(InputError, match="pggan needs square images of 8, 16, 32"):
        build(shape)


def test_limits_of_other_resolutions_are_refused():
    with pytest.raises(InputError, match=r"batch_limits has '32'; the resolutions of these images are \[4, 8, 16\]"):
        build(batch_limits={"32": 2})
    with pytest.raises(InputError, match=r"batch_limits.8 is 0"):
        build(batch_limits={"8": 0})


@pytest.mark.parametrize(
    ("processes", "setting", "limits", "group", "message"),
    [
        (
            1,
            7,
            {},
            4,
            "training.batch_size is 7, .* 7 images at 4 pixels; .* groups of 2 to 4 .* multiple of 2 ",
        ),
        (1, 1, {}, 4, "training.batch_size is 1, .* multiple of 2 "),
        (1, 8, {"16": 5}, 4, r"batch_limits\.16 is 5, .* 5 images at 16 pixels"),
        (1, 8, {"8": 1}, 4, r"batch_limits\.8 is 1"),
        (1, 3, {}, 2, "training.batch_size is 3"),
        (2, 22, {}, 4, "training.batch_size is 22, .* each process 11 .* multiple of 4 "),
        (4, 64, {"8": 20}, 4, r"batch_limits\.8 is 20, .* each process 5 .* multiple of 8 "),
    ],
)
def test_batches_that_switch_the_minibatch_deviation_off_are_refused(
    monkeypatch, processes, setting, limits, group, message
):
    monkeypatch.setattr("synthmed.generators.pggan.distributed.size", lambda: processes)
    model = build(batch_limits=limits, minibatch_group=group)  # a finished generator with these settings can be loaded
    with pytest.raises(InputError, match=message):
        model.batch_size(setting)
    assert build(batch_limits=limits, minibatch_group=1).batch_size(setting) == setting


@pytest.mark.parametrize(
    ("processes", "setting", "limits", "group"),
    [
        (1, 8, {}, 4),
        (1, 3, {}, 4),
        (1, 7, {}, 7),
        (1, 14, {}, 4),
        (1, 4, {"16": 7}, 4),  # never reached: batch_size is less
        (1, 7, {"4": 4, "8": 4, "16": 4}, 4),  # batch_size holds nowhere
        (2, 16, {"8": 8, "16": 4}, 4),  # the scale "paper"
    ],
)
def test_batches_that_can_be_parted_into_groups_are_taken(monkeypatch, processes, setting, limits, group):
    monkeypatch.setattr("synthmed.generators.pggan.distributed.size", lambda: processes)
    model = build(batch_limits=limits, minibatch_group=group)
    assert model.batch_size(setting) == min(setting, limits.get("4", setting))


def test_networks_are_built_by_resolution():
    channels = {4: 4, 8: 2}
    generator, discriminator = GeneratorNetwork(3, channels, 1, False), Discriminator(channels, 1, 4, False)
    assert generator(torch.randn(2, 3), 8, 1.0).shape == (2, 1, 8, 8)
    assert discriminator(torch.randn(2, 1, 8, 8), 8, 1.0).shape == (2,)
    assert dataclasses.asdict(PAPER)["fmap_base"] == 8192

import dataclasses

import pytest
import torch
from textbook import fastgan as textbook
from tiny_configs import TINY
from torch import nn

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.generators.fastgan import (
    SIZES,
    Config,
    Discriminator,
    GeneratorNetwork,
    Model,
    excitation_pairs,
    hinge_fake,
    hinge_real,
)
from synthmed.networks.blocks import count_parameters
from synthmed.training.images import Batch


def build(shape=(1, 32, 32), **changes):
    torch.manual_seed(0)
    model = Model(parse(Config, TINY["fastgan"]["config"] | changes), shape, ("normal",))
    model.rng.manual_seed(0)
    model.total_steps = 10
    return model


def noise_maps(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return lambda side: torch.randn(count, 1, side, side, generator=generator)


def batch(shape=(1, 32, 32), count=2, seed=0):
    images = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Batch(images, torch.zeros(count, dtype=torch.int64))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 4])
def test_networks_fit_every_size_and_number_of_channels(size, channels):
    generator, discriminator = GeneratorNetwork(8, 1, channels, size), Discriminator(1, channels, size, part_size=2)
    images = torch.zeros(2, channels, size, size)
    with torch.no_grad():
        logits, full, half = discriminator(images)
        rebuilt = discriminator.reconstruct(images, full, half, 3, 14)
    assert max(int(name) for name in generator.blocks) == size
    assert generator.to_image[0].out_channels == channels
    assert logits.shape == (2, 50)
    assert full.shape[2:] == (16, 16)
    assert half.shape[2:] == (8, 8)
    for made, wanted in rebuilt:
        assert made.shape == wanted.shape
    assert rebuilt[0][0].shape[2] == min(2 * 16, 2 * size // 16)
    assert rebuilt[1][0].shape[2] == min(128, size)


@pytest.mark.parametrize("size", [32, 64])
def test_generator_makes_images_of_its_size(size):
    made = GeneratorNetwork(8, 2, 3, size)(torch.randn(2, 8), noise_maps(2))
    assert made.shape == (2, 3, size, size)


def test_weights_start_small():
    model = build(generator_channels=8, discriminator_channels=8, spectral_norm=False)
    for network in (model.generator, model.discriminator, model.generator_ema):
        weights = [layer.weight.flatten() for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        assert torch.cat(weights).std().item() == pytest.approx(0.02, rel=0.05)


def test_excitation_pairs_have_the_papers_ratio():
    assert excitation_pairs(1024) == {64: 4, 128: 8, 256: 16, 512: 32}
    assert excitation_pairs(256) == {64: 4, 128: 8, 256: 16}
    assert excitation_pairs(64) == {64: 4}
    assert excitation_pairs(32) == {32: 4}


def test_generator_parameters_by_hand_at_256_px():
    channels = {4: 1024, 8: 512, 16: 256, 32: 128, 64: 128, 128: 64, 256: 32}

    def norm(c):
        return 2 * c

    total = 256 * 2 * 1024 * 16 + norm(2 * 1024)
    for resolution in (8, 16, 32, 64, 128, 256):
        before, after = channels[resolution // 2], channels[resolution]
        total += 9 * before * 2 * after + norm(2 * after)
        if resolution in (8, 32, 128):  # a second convolution, and one noise strength for each of the two
            total += 9 * after * 2 * after + norm(2 * after) + 2
    for high, low in ((64, 4), (128, 8), (256, 16)):
        total += 16 * channels[low] * channels[high] + channels[high] ** 2
    total += 9 * 32 * 3 + 3
    with torch.device("meta"):
        assert count_parameters(GeneratorNetwork(256, 64, 3, 256)) == total


def test_discriminator_doubles_its_maps_whenever_the_side_halves():
    network = Discriminator(16, 3, 256, part_size=2)
    with torch.no_grad():
        _, full, half = network(torch.zeros(1, 3, 256, 256))
    assert network.to_map[0].out_channels == 16 * 64 / 256
    assert full.shape[1] == 16 * 64 / 16
    assert half.shape[1] == 16 * 64 / 8


def test_injected_noise_matters_once_its_strength_is_learned():
    torch.manual_seed(0)
    generator, z = GeneratorNetwork(8, 2, 1, 32).eval(), torch.randn(2, 8)

    def made(seed):
        return generator(z, noise_maps(2, seed))

    assert torch.equal(made(0), made(1))
    for injection in generator.blocks["8"].injections:
        nn.init.ones_(injection.weight)
    assert not torch.equal(made(0), made(1))


def test_synthesised_images_all_get_the_same_noise():
    model = build()
    for injection in model.generator_ema.blocks["8"].injections:
        nn.init.ones_(injection.weight)
    z = torch.randn(1, 8).expand(2, 8)
    first, second = model.synthesise(z)
    assert torch.allclose(first, second, atol=1e-6)
    assert torch.allclose(first, model.synthesise(z[:1])[0], atol=1e-6)
    drawn, again = model.generator_ema(z, noise_maps(2))
    assert not torch.allclose(drawn, again, atol=1e-6)


def test_sampled_images_each_get_noise_of_their_own():
    class Noise(nn.Module):
        def forward(self, z, noise):
            return noise(32)

    model = build()
    model.generator_ema = Noise()
    made = model.sample(3, "normal", torch.Generator().manual_seed(0), None)
    assert made.shape == (3, 1, 32, 32)
    assert made.flatten(1).unique(dim=0).shape[0] == 3


def test_hinge_losses_by_hand():
    logits = torch.tensor([-2.0, 0.0, 0.5, 3.0])
    assert hinge_real(logits).item() == pytest.approx((3 + 1 + 0.5 + 0) / 4)
    assert hinge_fake(logits).item() == pytest.approx((0 + 1 + 1.5 + 4) / 4)


def test_part_target_is_the_same_part_of_the_image():
    discriminator = Discriminator(2, 1, 64, part_size=4)
    image = torch.zeros(1, 1, 64, 64)
    image[0, 0, 4 * 5 : 4 * 9, 4 * 3 : 4 * 7] = 1  # cells 5–8 down, 3–6 across, of 4 px each
    _, full, half = discriminator(image)
    (_, part), (_, whole) = discriminator.reconstruct(image, full, half, 5, 3)
    assert torch.equal(part, torch.ones(1, 1, 16, 16))
    assert torch.equal(whole, image)


def test_spectral_norm_bounds_every_convolution_of_the_discriminator_and_none_of_the_generator():
    model, images = build(spectral_norm=True), batch().images
    _, full, half = model.discriminator(images)
    for _ in range(30):
        model.discriminator.reconstruct(images, full, half, 0, 0)
        _, full, half = model.discriminator(images)
    for name, layer in model.discriminator.named_modules():
        if isinstance(layer, nn.Conv2d):
            norm = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2).item()
            assert norm == pytest.approx(1, abs=0.05), name
    assert not any("original" in name for name, _ in model.generator.named_parameters())


@pytest.mark.parametrize("size", [64, 256])
def test_the_generator_is_the_one_of_figure_3(size):
    torch.manual_seed(0)
    network, z = GeneratorNetwork(8, 4, 1, size), torch.randn(3, 8)
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0.0, 0.5)
    expected = textbook.generated(network, z, noise_maps(3))
    assert torch.allclose(network(z, noise_maps(3)), expected, atol=1e-4)
    assert len(network.excitations) == {64: 1, 256: 3}[size]


@pytest.mark.parametrize("size", [64, 512, 1024])
def test_the_discriminator_is_the_one_of_figure_4(size):
    torch.manual_seed(0)
    network, images = Discriminator(8, 1, size, part_size=2), torch.randn(2, 1, size, size)
    with torch.no_grad():
        for found, expected in zip(network(images), textbook.judged(network, images), strict=True):
            assert torch.allclose(found, expected, atol=1e-4)


# ------------------------------------------------------------------------------------------------------------- the EMA
def without_injected_noise(generator):
    for block in generator.blocks.values():
        for injection in block.injections:
            nn.init.zeros_(injection.weight)
    return generator


def test_samples_come_from_the_average_weights_with_the_average_running_statistics():
    model = build()
    for step in range(3):
        model.train_step([batch(seed=step)])
        model.step = step + 1
    average = without_injected_noise(model.generator_ema)
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(3))
    made = model.sample(4, "normal", torch.Generator().manual_seed(3), None)
    assert torch.equal(made, average(z, noise_maps(4)))
    norm, live = model.generator_ema.start[1], model.generator.start[1]
    assert not norm.training
    assert not torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))
    assert not torch.equal(norm.running_mean, live.running_mean)


def test_one_image_sampled_alone_equals_the_same_image_in_a_batch():
    model = build()
    model.train_step([batch()])
    z = torch.randn(3, 8)
    average = without_injected_noise(model.generator_ema)
    together, alone = average(z, noise_maps(3)), average(z[:1], noise_maps(1))
    assert torch.allclose(together[:1], alone, rtol=1e-4, atol=1e-7)  # eval mode: no batch statistics


# ------------------------------------------------------------------------------------------------------- wrong settings
def test_perceptual_reconstruction_without_weights_is_refused():
    with pytest.raises(InputError, match="perceptual_weights is null"):
        build(reconstruction="perceptual")


def test_perceptual_reconstruction_with_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such weights file"):
        build(reconstruction="perceptual", perceptual_weights=str(tmp_path / "none.pt"))


def test_perceptual_reconstruction_of_too_small_a_part_is_refused():
    with pytest.raises(InputError, match="part_size is 2"):
        build(reconstruction="perceptual", perceptual_weights="unused.pt", part_size=2)


def test_perceptual_network_is_used_but_neither_trained_nor_saved(monkeypatch):
    class Distance(nn.Module):
        def __init__(self, weights):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(3.0), requires_grad=False)

        def forward(self, a, b):
            return self.scale * (a - b).abs().mean()

    monkeypatch.setattr("synthmed.generators.fastgan.PerceptualDistance", Distance)
    model = build(reconstruction="perceptual", perceptual_weights="some.pt")
    plain = build()
    losses = model.train_step([batch()])
    assert torch.isfinite(losses["reconstruction"])
    assert losses["reconstruction"] != plain.train_step([batch()])["reconstruction"]
    assert model.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 48, 48), (1, 64, 32), (1, 16, 16), (1, 2048, 2048)])
def test_other_image_sizes_are_refused(shape):
    config = dataclasses.replace(parse(Config, TINY["fastgan"]["config"]))
    with pytest.raises(InputError, match="square images of 32, 64"):
        Model(config, shape, ("normal",))

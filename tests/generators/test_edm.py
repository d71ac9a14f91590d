"""EDM's sampler and preconditioning where the exact denoiser is known: data of one normal distribution."""

import pytest
import torch
from tiny_configs import TINY

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.generators import edm

MEAN, DEVIATION = 0.3, 0.2


def config(**changes):
    return parse(edm.Config, TINY["edm"]["config"] | changes)


def exact(x, sigma):
    """E[y | y + n = x] of y ~ N(MEAN, DEVIATION²), n ~ N(0, σ²)."""
    return (DEVIATION**2 * x + sigma**2 * MEAN) / (DEVIATION**2 + sigma**2)


def error(steps):
    """How far the sampler ends from the solution, which keeps the distance from the mean in units of √(s² + σ²)."""
    levels = edm.noise_levels(config(sampling_steps=steps)).tolist()
    noise = torch.randn(64, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    start = noise * levels[0]
    true = MEAN + (start - MEAN) * DEVIATION / (DEVIATION**2 + levels[0] ** 2) ** 0.5
    return float((edm.integrate(exact, noise, levels) - true).abs().max())


def test_noise_levels_are_those_of_the_paper():
    levels = edm.noise_levels(config(sampling_steps=18))
    assert (levels[0].item(), levels[-2].item(), levels[-1].item()) == (pytest.approx(80), pytest.approx(0.002), 0)
    # Equation 5 for i = 9 of 18, by hand: (80^(1/7) + 9/17 (0.002^(1/7) − 80^(1/7)))^7.
    assert levels[9].item() == pytest.approx((1.870122 + 9 / 17 * (0.411560 - 1.870122)) ** 7, rel=1e-4)
    assert (levels.diff() < 0).all()


def test_the_sampler_follows_the_ode_with_second_order():
    coarse, fine = error(40), error(80)
    assert fine < 2e-3
    assert coarse / fine > 3.3, "halved steps leave a quarter of the error; Euler's method would leave a half"


def test_samples_are_distributed_as_the_data():
    levels = edm.noise_levels(config(sampling_steps=40)).tolist()
    noise = torch.randn(4000, 1, 1, 1, generator=torch.Generator().manual_seed(1)).double()
    found = edm.integrate(exact, noise, levels)
    assert found.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert found.std().item() == pytest.approx(DEVIATION, rel=0.05)


def test_preconditioning_at_its_ends():
    """A silent network leaves images without noise as they are, and of pure noise nothing; see table 1."""
    images = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    sigma, seen = torch.tensor([1e-4, 0.5, 1e4]), []

    def silent(x, noise):
        seen.append((x, noise))
        return torch.zeros_like(x)

    found = edm.denoised(silent, images, sigma, 0.5)
    assert torch.allclose(found[0], images[0], atol=1e-6)
    assert torch.allclose(found[1], images[1] / 2)
    assert found[2].abs().max() < 1e-6
    ((x, noise),) = seen
    assert torch.allclose(x[1], images[1] / 0.5**0.5)
    assert torch.allclose(noise, sigma.log() / 4)
    loud = edm.denoised(lambda x, _: torch.ones_like(x), images, sigma, 0.5) - found
    assert torch.allclose(loud[:, 0, 0, 0], torch.tensor([1e-4, 0.5 * 0.5 / 0.5**0.5, 0.5]), rtol=1e-3)


def test_labels_make_a_difference_and_must_be_known():
    torch.manual_seed(0)
    model = edm.Model(config(), (1, 16, 16), ("normal", "abnormal"), 0)
    with torch.no_grad():
        for parameter in model.generator_ema.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    made = [model.sample(2, label, torch.Generator().manual_seed(3), None) for label in model.classes]
    assert (made[0] - made[1]).abs().max() > 1e-3
    with pytest.raises(InputError, match="say one"):
        model.sample(2, "ill", torch.Generator(), None)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="multiples of 4 px, not 16×18"):
        edm.Model(config(channels=[8, 8, 8]), (1, 16, 18), ("normal",), 0)
    with pytest.raises(InputError, match="patch is 4, so that sides must be multiples of 8 px, not 20×20"):
        edm.Model(config(patch=4), (1, 20, 20), ("normal",), 0)
    with pytest.raises(InputError, match=r"sigma_min is 90\.0, not below"):
        config(sigma_min=90.0)


def test_it_learns_what_it_is_shown():
    """Images of one grey level: after 100 steps samples lie near it."""
    torch.manual_seed(0)
    model = edm.Model(
        config(learning_rate=2e-3, sampling_steps=10, dropout=0.0, ema_decay=0.9), (1, 16, 16), ("normal",), 0
    )
    model.rng.manual_seed(1)
    batch = edm.Batch(torch.full((8, 1, 16, 16), 0.4), torch.zeros(8, dtype=torch.int64), None)
    for model.step in range(100):
        model.train_step([batch])
    made = model.sample(8, "normal", torch.Generator().manual_seed(3), None)
    assert made.mean().item() == pytest.approx(0.4, abs=0.1)
    assert made.std().item() < 0.15


class First(torch.nn.Module):
    """The first of its arguments."""

    def forward(self, x, _):
        return x


def test_patches_are_channels_of_one_place():
    """A network of patches that passes on what it gets, but for one corner of each patch, does so to these pixels."""
    torch.manual_seed(0)
    network = edm.Network(config(patch=2, channels=[4], attention_sides=[]), 1, (4, 4), 0, 0)
    kept = torch.zeros(4, 4, 3, 3)
    kept[range(4), range(4), 1, 1] = 1
    network.down, network.up, network.middle = torch.nn.ModuleList(), torch.nn.ModuleList(), First()
    network.norm = torch.nn.Identity()
    with torch.no_grad():
        network.first.weight.copy_(kept)
        network.first.bias.zero_()
        network.last.weight.copy_(kept * torch.tensor([1.0, 1.0, 1.0, 0.0])[:, None, None, None])
        network.last.bias.zero_()
    images = torch.rand(1, 1, 4, 4)
    expected = images * torch.sigmoid(images)
    expected[:, :, 1::2, 1::2] = 0
    assert torch.allclose(network(images, torch.zeros(1), None, None), expected)


def test_the_linear_layer_passes_images_and_masks_on_as_the_noise_level_scales_them():
    """The U-Net begins silent: what the network says is the linear layer's sum, times a number for each noise level."""
    torch.manual_seed(0)
    network = edm.Network(config(channels=[4], attention_sides=[]), 1, (4, 4), 0, 1)
    images, masks, noise = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4), torch.tensor([-1.0, 1.0])
    with torch.no_grad():
        network.last.bias.zero_()
        assert not network(images, noise, None, masks).any(), "all of it begins silent"
        network.direct.weight.copy_(torch.tensor([2.0, 10.0])[None, :, None, None])
        found = network(images, noise, None, masks) / (2 * images + 10 * masks)
        times = found.mean((1, 2, 3))
        assert torch.allclose(found, times[:, None, None, None].expand_as(found), rtol=1e-3)
        assert (times[0] - times[1]).abs() > 1e-3
        network.scale.weight.zero_()
        network.scale.bias.fill_(0.5)
        assert torch.allclose(network(images, noise, None, masks), 1.5 * (2 * images + 10 * masks), atol=1e-5)


def test_images_are_painted_for_masks():
    """What it learnt is the mask at half its contrast: new masks are painted so, and not as their opposites."""
    torch.manual_seed(0)
    settings = config(mask=True, learning_rate=2e-3, sampling_steps=10, dropout=0.0, ema_decay=0.9)
    model = edm.Model(settings, (1, 16, 16), ("normal",), 1)
    model.rng.manual_seed(1)

    def masks(seed):
        coarse = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(seed)).round() * 2 - 1
        return torch.nn.functional.interpolate(coarse, (16, 16))

    for model.step in range(150):
        shown = masks(model.step)
        model.train_step([edm.Batch(0.5 * shown, torch.zeros(8, dtype=torch.int64), shown)])
    new = masks(10**6)
    made = model.sample(8, "normal", torch.Generator().manual_seed(3), new)
    assert (made * new).mean().item() == pytest.approx(0.5, abs=0.12)


def test_masks_are_channels_beside_the_noisy_image_and_one_for_each_is_needed():
    model = edm.Model(config(mask=True), (1, 16, 16), ("normal",), 2)
    assert model.generator.first.in_channels == 3
    assert "mask" in model.needs
    without = edm.Model(config(), (1, 16, 16), ("normal",), 2)
    assert without.generator.first.in_channels == 1
    assert "mask" not in without.needs
    for masks in (None, torch.zeros(1, 2, 16, 16)):
        with pytest.raises(InputError, match="one for each of the 2 images"):
            model.sample(2, "normal", torch.Generator(), masks)

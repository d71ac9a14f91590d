"""Layers of StyleGAN2 on small cases, worked out otherwise."""

import math

import pytest
import torch
from torch.nn import functional as F

from synthmed.networks.stylegan2 import (
    Convolution,
    Discriminator,
    FullyConnected,
    Mapping,
    SynthesisLayer,
    ToImage,
    binomial_filter,
    channels_at,
    filtered,
    modulated_convolution,
    upsampled,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def impulse(side, row, column):
    x = torch.zeros(1, 2, side, side)
    x[0, 0, row, column], x[0, 1, row, column] = 1.0, 2.0
    return x


def test_the_filter_answers_an_impulse_with_itself():
    line = torch.tensor([1.0, 3.0, 3.0, 1.0])
    wanted = torch.outer(line, line) / 64
    made = filtered(impulse(8, 3, 4), binomial_filter(), padding=2)
    assert made.shape == (1, 2, 9, 9)
    assert torch.allclose(made[0, 0, 2:6, 3:7], wanted)
    assert torch.allclose(made[0, 1], 2 * made[0, 0])
    assert made[0, 0].sum() == pytest.approx(1.0)


def test_upsampling_keeps_the_mean_and_spreads_a_pixel_over_its_neighbours():
    made = upsampled(impulse(4, 1, 2), binomial_filter())
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    assert made.shape == (1, 2, 8, 8)
    assert torch.allclose(made[0, 0, 1:5, 3:7], torch.outer(line, line))
    assert made[0, 0].sum() == pytest.approx(4.0)
    flat = upsampled(torch.ones(1, 1, 6, 6), binomial_filter())
    assert torch.allclose(flat[:, :, 1:-1, 1:-1], torch.ones(1, 1, 10, 10))


@pytest.mark.parametrize("up", [False, True])
def test_modulated_convolution_is_that_with_weights_of_their_own(up):
    x, weight, styles = torch.randn(3, 4, 6, 6), torch.randn(5, 4, 3, 3), torch.randn(3, 4)
    kernel = binomial_filter() if up else None
    made, factors = modulated_convolution(x, weight, styles, kernel)
    made = made * factors[:, :, None, None]
    for image, style, found in zip(x, styles, made, strict=True):
        own = weight * style[:, None, None]
        own = own / (own.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            wanted = filtered(F.conv_transpose2d(image[None], own.transpose(0, 1), stride=2), 4 * kernel, padding=1)
        else:
            wanted = F.conv2d(image[None], own, padding=1)
        assert torch.allclose(found, wanted[0], atol=1e-5)


def test_a_synthesis_layer_keeps_the_variance_of_its_maps():
    """What demodulation is for: whatever the styles, outputs of unit normal maps have variance 1 before the bias."""
    layer = SynthesisLayer(16, 64, 32, 16, up=False)
    x, factors = modulated_convolution(torch.randn(8, 64, 16, 16), layer.weight, 5 * torch.randn(8, 64), None)
    assert (x * factors[:, :, None, None])[:, :, 1:-1, 1:-1].var().item() == pytest.approx(1.0, rel=0.05)


def test_noise_and_bias_come_before_the_activation_and_its_gain():
    layer = SynthesisLayer(4, 2, 3, 8, up=False)
    with torch.no_grad():
        layer.noise_strength.fill_(0.5)
        layer.bias.copy_(torch.tensor([1.0, -1.0, 0.0]))
    x, w, noise = torch.zeros(2, 2, 8, 8), torch.randn(2, 4), torch.randn(2, 1, 8, 8)
    wanted = math.sqrt(2) * F.leaky_relu(0.5 * noise + layer.bias[:, None, None], 0.2)
    assert torch.allclose(layer(x, w, lambda side: noise), wanted, atol=1e-6)
    own = math.sqrt(2) * F.leaky_relu(0.5 * layer.noise_const + layer.bias[:, None, None], 0.2)
    assert torch.allclose(layer(x, w, None), own.expand(2, -1, -1, -1), atol=1e-6)


def test_images_are_modulated_but_not_demodulated():
    layer = ToImage(4, 9, 3)
    x, w = torch.randn(2, 9, 5, 5), torch.randn(2, 4)
    made = layer(x, w)
    with torch.no_grad():
        layer.affine_weight *= 2
        layer.affine_bias *= 2
    assert torch.allclose(layer(x, w), 2 * made, atol=1e-5)
    styles = F.linear(w, layer.affine_weight / 2, layer.affine_bias) / 3
    assert torch.allclose(layer(x, w), torch.einsum("oi,ni,nihw->nohw", layer.weight[:, :, 0, 0], styles, x), atol=1e-4)


@pytest.mark.parametrize("side", [1, 3])
def test_a_halving_convolution_sees_the_filtered_map(side):
    layer = Convolution(2, 3, side, down=True, bias=False)
    x = torch.randn(1, 2, 8, 8)
    low = filtered(x, binomial_filter(), padding=1 + side // 2)
    wanted = F.conv2d(low, layer.weight, stride=2) / math.sqrt(2 * side * side)
    assert layer(x).shape == (1, 3, 4, 4)
    assert torch.allclose(layer(x), wanted, atol=1e-6)


def test_dense_layers_learn_at_their_rate():
    layer, x = FullyConnected(9, 4, rate=0.01), torch.randn(5, 9)
    with torch.no_grad():
        layer.bias.fill_(2.0)
    assert torch.allclose(layer(x), x @ layer.weight.T * 0.01 / 3 + 0.02, atol=1e-5)
    assert FullyConnected(400, 400, rate=0.01).weight.std().item() == pytest.approx(100, rel=0.02)


def test_the_mapping_does_not_see_the_length_of_z():
    mapping, z = Mapping(8, 0, 6, 2), torch.randn(3, 8)
    assert torch.allclose(mapping(z, None), mapping(7 * z, None), atol=1e-5)
    assert not torch.allclose(mapping(z, None), mapping(-z, None))


def test_the_score_is_projected_on_the_label():
    network = Discriminator({4: 6, 8: 4}, 2, 3, 1)
    images, labels = torch.randn(4, 3, 8, 8), torch.eye(2)[[0, 1, 0, 1]]
    vectors = network.b4(network.features(images))
    wanted = (vectors * network.mapping(None, labels)).sum(dim=1) / math.sqrt(6)
    assert torch.allclose(network(images, labels), wanted)
    assert not torch.allclose(network(images, labels), network(images, labels.flip(1)))


def test_maps_halve_with_the_side_between_the_limits():
    assert channels_at([4, 16, 64, 256], 64, 8) == {4: 8, 16: 4, 64: 1, 256: 1}

"""The networks of Pix2Pix against the counts of both documents, and what its U-Net does, by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from synthmed.core.errors import InputError
from synthmed.networks.blocks import count_parameters
from synthmed.networks.patchgan import PatchGAN, VanillaDiscriminator
from synthmed.networks.unet import Pix2PixUNet

AT_256 = (64, 128, 256, 512, 512, 512, 512, 512)
AT_128 = AT_256[:-1]


def statistics(network):
    """Running means and variances of BatchNorm, which Keras counts."""
    return sum(2 * layer.num_features for layer in network.modules() if isinstance(layer, nn.BatchNorm2d))


def unet(inputs, outputs, widths, **changes):
    return Pix2PixUNet(inputs, outputs, widths, **{"dropout": 0.5, "dropout_blocks": 2, "slope": 0.2} | changes)


@pytest.mark.parametrize(
    ("inputs", "outputs", "widths", "learnable", "documented"),
    [
        (5, 3, AT_256, 54_417_027, 54_427_907),  # seed 002: four mask channels and noise
        (3, 3, AT_256, 54_414_979, 54_425_859),
        (1, 3, AT_128, 41_827_971, 41_836_803),  # seed 001: mask to image,
        (3, 1, AT_128, 41_825_921, 41_834_753),  # image to mask
        (1, 3, AT_256, 54_412_931, 54_423_811),
        (3, 1, AT_256, 54_410_881, 54_421_761),
    ],
)
def test_parameters_of_the_documents_unets(inputs, outputs, widths, learnable, documented):
    network = unet(inputs, outputs, widths)
    assert count_parameters(network) == learnable
    assert learnable + statistics(network) == documented


@pytest.mark.parametrize(
    ("network", "learnable", "documented"),
    [
        (lambda: PatchGAN(7, (64, 128, 256, 512), 1, norm="batch"), 2_769_665, 2_771_457),
        (
            lambda: VanillaDiscriminator(7, (64, 128, 256, 256, 256, 256), (256, 256), slope=0.3),
            3_814_657,
            3_816_961,
        ),
    ],
    ids=["PatchGAN", "vanilla"],
)
def test_parameters_of_the_discriminators_of_seed_002(network, learnable, documented):
    network = network()
    assert count_parameters(network) == learnable
    assert learnable + statistics(network) == documented
    logits = network(torch.zeros(2, 7, 256, 256)).shape
    assert logits == ((2, 1, 30, 30) if isinstance(network, PatchGAN) else (2, 1))


def test_a_wider_patchgan_has_the_size_of_the_vanilla_discriminator():
    assert count_parameters(PatchGAN(7, (75, 150, 300, 600), 1, norm="batch")) == pytest.approx(3_814_657, rel=0.01)


@pytest.mark.parametrize(
    ("layers", "field", "learnable"), [((64, 128, 256), 46, 664_321), ((64, 128), 22, 137_473), ((64,), 10, 5_121)]
)
def test_discriminators_of_seed_001_see_image_and_mask(layers, field, learnable):
    network = PatchGAN(4, layers, 2, norm="batch")
    assert (network.receptive_field, count_parameters(network)) == (field, learnable)


def moved(network):
    """Away from the start, where scales are 1, shifts 0 and statistics those of normal numbers."""
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in (*network.parameters(), *(buffer for buffer in network.buffers() if buffer.ndim)):
            tensor.add_(0.2 * torch.rand(tensor.shape))
    return network


def test_unet_by_hand():
    """C2-C3-C4, CD3-C2 and the last, in evaluation mode: each map of the encoder beside the decoder's of its size."""
    network = moved(unet(1, 2, (2, 3, 4), dropout_blocks=1, slope=0.3)).eval()
    images = torch.randn(2, 1, 16, 8)
    state = network.state_dict()

    def norm(x, name):
        mean, variance, scale, shift = (
            state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def leaky(x):
        return torch.where(x > 0, x, 0.3 * x)

    def down(x, name):
        return F.conv2d(x, state[name], stride=2, padding=1)

    def up(x, name):
        return F.conv_transpose2d(x, state[name], stride=2, padding=1)

    first = leaky(down(images, "down.0.weight"))
    second = leaky(norm(down(first, "down.1.weight"), "down_norm.1"))
    inner = leaky(norm(down(second, "down.2.weight"), "down_norm.2"))
    x = torch.cat([F.relu(norm(up(inner, "up.0.weight"), "up_norm.0")), second], 1)
    x = torch.cat([F.relu(norm(up(x, "up.1.weight"), "up_norm.1")), first], 1)
    expected = up(x, "last.weight") + state["last.bias"][:, None, None]
    assert network(images).shape == (2, 2, 16, 8)
    assert torch.allclose(network(images), expected, atol=1e-5)


def test_dropout_stands_behind_batch_norm_in_the_first_blocks_of_the_decoder():
    network, seen = moved(unet(1, 1, (2, 8, 8, 8), dropout_blocks=2)), []
    names = ("first", "second", "third")
    for name, norm, convolution in zip(names, network.up_norm, [*network.up[1:], network.last], strict=True):
        norm.register_forward_hook(lambda _m, _i, output, name=name: seen.append((name, output.detach())))
        convolution.register_forward_hook(lambda _m, given, _o, name=name: seen.append((name, given[0].detach())))
    network.train()(torch.randn(4, 1, 32, 32))
    found = {name: [tensor for of, tensor in seen if of == name] for name in names}
    for name, expected in (("first", 2), ("second", 2), ("third", 1)):
        normed, given = found[name]
        ratio = (given[:, : normed.shape[1]] / normed)[normed > 0.01]
        kept = ratio[ratio > 0]
        assert torch.allclose(kept, torch.full_like(kept, expected), atol=1e-4), name  # what is kept, doubled
        assert (ratio == 0).float().mean() == pytest.approx(0.5 if expected == 2 else 0, abs=0.1), name


def test_dropout_from_a_generator_is_the_same_again_and_in_evaluation_mode_too():
    network, images = moved(unet(1, 1, (2, 4, 4))).eval(), torch.randn(2, 1, 16, 16)

    def dropped(seed):
        return network(images, torch.Generator().manual_seed(seed))

    state = torch.get_rng_state()
    assert torch.equal(dropped(1), dropped(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.allclose(dropped(1), dropped(2))
    assert torch.equal(network(images), network(images))
    many = [unet_mean(network, images, seed) for seed in range(300)]
    assert sum(many) / 300 == pytest.approx(unet_mean(network, images, None), rel=0.1)  # what is kept is scaled up


def unet_mean(network, images, seed):
    given = None if seed is None else torch.Generator().manual_seed(seed)
    return network(images, given).mean().item()


def test_inner_norm_is_what_one_image_cannot_have():
    one = torch.randn(1, 1, 8, 8)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        unet(1, 1, (2, 4, 4))(one)
    assert torch.isfinite(unet(1, 1, (2, 4, 4), inner_norm=False)(one)).all()


@pytest.mark.parametrize(
    ("widths", "blocks", "match"), [((4, 4), 2, "dropout_blocks is 2"), ((), 0, "widths is empty")]
)
def test_impossible_unets_are_refused(widths, blocks, match):
    with pytest.raises(InputError, match=match):
        unet(1, 1, widths, dropout_blocks=blocks)

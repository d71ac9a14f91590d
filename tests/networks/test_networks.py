import pytest
import torch
from torch.nn import functional as F

from synthmed.core.errors import InputError
from synthmed.networks.blocks import (
    NoiseInjection,
    ResidualBlock,
    SkipLayerExcitation,
    UpsamplingConvolution,
    count_parameters,
    initialise_normal,
)
from synthmed.networks.patchgan import PatchGAN, patchgan_receptive_field
from synthmed.networks.perceptual import PerceptualDistance
from synthmed.networks.vgg16 import STAGES

DOCUMENT = [((64,), 10), ((64, 128), 22), ((64, 128, 256), 46)]


@pytest.mark.parametrize(("layers", "field"), DOCUMENT)
def test_receptive_fields_of_the_document(layers, field):
    assert patchgan_receptive_field(layers, last_stride=2) == field


def test_receptive_field_of_the_original():
    assert patchgan_receptive_field((64, 128, 256, 512), last_stride=1) == 70


@pytest.mark.parametrize(
    ("layers", "last_stride"), [((2,), 2), ((2, 4), 2), ((2, 4, 4), 2), ((2, 4, 4, 4), 1)], ids=[10, 22, 46, 70]
)
def test_one_output_of_patchgan_depends_on_exactly_its_receptive_field(layers, last_stride):
    torch.manual_seed(0)
    network = PatchGAN(1, layers, last_stride, norm="batch").double().eval()  # instance norm would see the whole map
    images = torch.randn(1, 1, 128, 128, dtype=torch.float64, requires_grad=True)
    logits = network(images)
    middle = logits.shape[2] // 2
    logits[0, 0, middle, middle].backward()
    seen = images.grad[0, 0] != 0
    rows, columns = seen.any(dim=1), seen.any(dim=0)
    assert int(rows.sum()) == int(columns.sum()) == network.receptive_field
    assert int(seen.sum()) == network.receptive_field**2


def test_parameter_count_of_the_original_patchgan():
    # By hand, 4×4 kernels with bias: 3→64, 64→128, 128→256, 256→512, 512→1.
    by_hand = sum(16 * a * b + b for a, b in ((3, 64), (64, 128), (128, 256), (256, 512), (512, 1)))
    assert by_hand == 2_764_737
    assert count_parameters(PatchGAN(3, (64, 128, 256, 512), 1, norm="instance")) == by_hand


def test_patchgan_with_batch_norm_has_scale_and_shift_and_a_bias_in_the_last_only():
    by_hand = 16 * 6 * 64 + (16 * 64 * 128 + 2 * 128) + (16 * 128 + 1)
    assert count_parameters(PatchGAN(6, (64, 128), 2, norm="batch")) == by_hand


def test_patchgan_without_layers_is_refused():
    with pytest.raises(InputError, match="discriminator_layers"):
        PatchGAN(1, (), 2, norm="instance")


def test_residual_block_adds_to_its_input():
    block = ResidualBlock(3)
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(block(x) - x, block.net(x), atol=1e-6)
    assert count_parameters(block) == 2 * (9 * 3 * 3 + 3)


def test_skip_layer_excitation_by_hand():
    module = SkipLayerExcitation(low=1, high=2)
    with torch.no_grad():
        module.gate[1].weight[0].fill_(0.5)  # sum over the 4×4 map, halved
        module.gate[1].weight[1].fill_(-0.5)
        module.gate[3].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]])[:, :, None, None])
    x_low = torch.full((1, 1, 8, 8), 0.25)  # pooled to 4×4 of 0.25: the sum is 4
    x_high = torch.ones(1, 2, 5, 5)
    y = module(x_low, x_high).detach()
    # channel 0: sigmoid(leaky(2)) = sigmoid(2); channel 1: sigmoid(leaky(-2)) = sigmoid(-0.2)
    assert y[0, 0] == pytest.approx(torch.full((5, 5), 0.880797), abs=1e-5)
    assert y[0, 1] == pytest.approx(torch.full((5, 5), 0.450166), abs=1e-5)


@pytest.mark.parametrize("size", [4, 8, 16, 32])
def test_upsampling_convolution_equals_upsampling_then_convolution(size):
    torch.manual_seed(0)
    layer = UpsamplingConvolution(3, 5).double()
    x = torch.randn(2, 3, size, size, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(2, 5, 2 * size, 2 * size, dtype=torch.float64)
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), layer.weight, padding=1)
    assert torch.allclose(layer(x), expected, atol=1e-12)
    ours = torch.autograd.grad((layer(x) * direction).sum(), (x, layer.weight))
    theirs = torch.autograd.grad((expected * direction).sum(), (x, layer.weight))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_noise_injection_starts_as_identity_and_learns_its_strength():
    module = NoiseInjection()
    x, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 1, 4, 4)
    assert torch.equal(module(x, noise), x)
    module(x, noise).sum().backward()
    assert module.weight.grad.item() == pytest.approx(3 * noise.sum().item(), rel=1e-4)


def test_initialise_normal_draws_convolutions_from_n_0_002():
    torch.manual_seed(0)
    network = PatchGAN(3, (64, 128), 2, norm="batch")
    initialise_normal(network)
    assert network.net[2].weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert network.net[-1].bias.abs().max() == 0
    assert network.net[3].weight.mean().item() == pytest.approx(1.0, abs=0.01)


def vgg16_weights(path, with_lin):
    torch.manual_seed(0)
    state, number, channels = {}, 0, 3
    for stage in STAGES:
        for filters in stage:
            state[f"features.{number}.weight"] = torch.randn(filters, channels, 3, 3) * (2 / (9 * channels)) ** 0.5
            state[f"features.{number}.bias"] = torch.zeros(filters)
            number, channels = number + 2, filters
        number += 1
    assert number - 2 == 29  # torchvision's last convolution is features.28, its last pooling features.30
    if with_lin:
        for k, stage in enumerate(STAGES):
            state[f"lin{k}.weight"] = torch.full((1, stage[-1], 1, 1), (1.0, 0.5, 0.0, 0.0, 0.25)[k])
    torch.save(state, path)
    return state


@pytest.fixture(scope="module")
def vgg16_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vgg16.pt"
    vgg16_weights(path, with_lin=False)
    return path


def test_perceptual_distance_of_equal_images_is_zero_and_of_others_grows(vgg16_file):
    distance = PerceptualDistance(vgg16_file)
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 1, 16, 16, generator=generator) * 2 - 1
    noise = torch.randn(2, 1, 16, 16, generator=generator)
    near, far = distance(image, image + 0.05 * noise), distance(image, image + 0.5 * noise)
    assert distance(image, image) == 0
    assert 0 < near < far
    assert all(not p.requires_grad for p in distance.parameters())


def test_perceptual_distance_judges_one_grey_channel_as_grey_rgb(vgg16_file):
    distance = PerceptualDistance(vgg16_file)
    a, b = torch.rand(2, 1, 2, 16, 16, generator=torch.Generator().manual_seed(1))
    first = distance(a[:, :1].expand(-1, 3, -1, -1), b[:, :1].expand(-1, 3, -1, -1))
    second = distance(a[:, 1:].expand(-1, 3, -1, -1), b[:, 1:].expand(-1, 3, -1, -1))
    assert distance(a, b).item() == pytest.approx((first + second).item() / 2, rel=1e-4)


@pytest.mark.parametrize("channels", [2, 3])
def test_perceptual_distance_of_each_pair(vgg16_file, channels):
    distance = PerceptualDistance(vgg16_file)
    a, b = torch.rand(2, 3, channels, 16, 16, generator=torch.Generator().manual_seed(1))
    single = torch.stack([distance(a[i : i + 1], b[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(distance.of_pairs(a, b), single)
    assert single.std() > 0.01 * single.mean()
    torch.testing.assert_close(distance(a, b), single.mean())


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_perceptual_distance_between_all_images_is_that_of_each_pair(tmp_path, channels):
    vgg16_weights(tmp_path / "lpips.pt", with_lin=True)
    distance = PerceptualDistance(tmp_path / "lpips.pt")
    images = torch.rand(5, channels, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1
    images[4] = images[1]
    images = images.to(memory_format=torch.channels_last)
    found = distance.between_all(images, 2)
    first, second = torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij")
    expected = distance.of_pairs(images[first.flatten()], images[second.flatten()]).view(5, 5).double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert found[1, 4] < 1e-6 < found[0, 1]


def test_perceptual_distance_with_lpips_weights_by_hand(tmp_path):
    state = vgg16_weights(tmp_path / "lpips.pt", with_lin=True)  # the third and fourth stage count for nothing
    a, b = torch.rand(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1

    def stages(x):
        mean = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
        x, found = (x - mean) / torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), []
        for numbers in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
            x = F.max_pool2d(x, 2) if found else x
            for n in numbers:
                x = F.relu(F.conv2d(x, state[f"features.{n}.weight"], state[f"features.{n}.bias"], padding=1))
            found.append(x / x.norm(dim=1, keepdim=True))
        return found

    distances = [(one - two).square().sum(dim=1).mean() for one, two in zip(stages(a), stages(b), strict=True)]
    expected = distances[0] + 0.5 * distances[1] + 0.25 * distances[4]
    assert PerceptualDistance(tmp_path / "lpips.pt")(a, b).item() == pytest.approx(expected.item(), rel=1e-4)


def test_bad_weights_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"missing\.pt: no such"):
        PerceptualDistance(tmp_path / "missing.pt")
    (tmp_path / "text.pt").write_text("not weights")
    with pytest.raises(InputError, match=r"text\.pt: not a PyTorch"):
        PerceptualDistance(tmp_path / "text.pt")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt: these are not the weights of VGG16"):
        PerceptualDistance(tmp_path / "other.pt")

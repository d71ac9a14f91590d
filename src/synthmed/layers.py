"""Blocks that networks share: PatchGAN, residual block, skip-layer excitation, noise injection, LPIPS distance."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.errors import InputError

Norm = Literal["instance", "batch"]


def initialise_normal(network: nn.Module, std: float = 0.02) -> None:
    """Draw the weights of all convolutions from N(0, std²) and of all affine norms from N(1, std²); biases become zero.

    Source: Radford et al. 2016 (DCGAN), section 4; CycleGAN and Pix2Pix take it over. Uses torch's global RNG.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, std)
            nn.init.zeros_(layer.bias)


def count_parameters(network: nn.Module) -> int:
    """Number of trainable numbers in `network` (running statistics of norms are buffers and do not count)."""
    return sum(parameter.numel() for parameter in network.parameters())


def _norm(kind: Norm, channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels) if kind == "instance" else nn.BatchNorm2d(channels)


def patchgan_receptive_field(layers: Sequence[int], last_stride: int) -> int:
    """Side in pixels of the image patch that one output of PatchGAN(·, layers, last_stride, ·) sees.

    Every layer is a 4×4 convolution; I = K + S·(O − 1) from the output back to the image (Pix2Pix appendix; seed 001,
    equation 4.1), starting at the output convolution of stride 1. [64] → 10, [64, 128] → 22, [64, 128, 256] → 46 with
    last_stride 2; the original [64, 128, 256, 512] with last_stride 1 → 70.
    """
    strides = [*[2] * (len(layers) - 1), last_stride]
    field = 4
    for stride in reversed(strides):
        field = 4 + stride * (field - 1)
    return field


class PatchGAN(nn.Module):
    """Discriminator that judges patches (Isola et al. 2017, section 3.2; the notation Ck is theirs).

    Each Ck is a 4×4 convolution with k filters, norm (not in the first), LeakyReLU 0.2; then one to one map.

    in_channels: channels of the image (for Pix2Pix: of image and condition together).
    layers: the k of each Ck, e.g. (64, 128, 256) for C64-C128-C256.
    last_stride: stride of the last Ck: 2 in the document's discriminators (fields 10, 22, 46), 1 in the original
        70×70. All Ck before have stride 2.
    norm: "instance" (CycleGAN; convolutions keep their bias, so that the counts are the published ones) or "batch"
        (Pix2Pix).

    Maps (N, in_channels, H, W) to logits (N, 1, h, w), one per patch, no sigmoid.
    """

    def __init__(self, in_channels: int, layers: Sequence[int], last_stride: int, norm: Norm):
        super().__init__()
        if not layers:
            raise InputError("setting discriminator_layers is empty; give at least one layer, for example [64]")
        self.layers, self.last_stride = tuple(layers), last_stride
        blocks: list[nn.Module] = []
        channels = in_channels
        for number, filters in enumerate(layers):
            stride = last_stride if number == len(layers) - 1 else 2
            normalised = number > 0
            bias = not normalised or norm == "instance"
            blocks.append(nn.Conv2d(channels, filters, 4, stride, 1, bias=bias))
            if normalised:
                blocks.append(_norm(norm, filters))
            blocks.append(nn.LeakyReLU(0.2))
            channels = filters
        blocks.append(nn.Conv2d(channels, 1, 4, 1, 1))
        self.net = nn.Sequential(*blocks)

    @property
    def receptive_field(self) -> int:
        """Side in pixels of the patch that one logit sees."""
        return patchgan_receptive_field(self.layers, self.last_stride)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


class ResidualBlock(nn.Module):
    """x + F(x), F = two 3×3 convolutions with reflection padding and instance norm, ReLU between (Johnson et al. 2016,
    as CycleGAN uses it: nothing after the addition). (N, channels, H, W) → the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class SkipLayerExcitation(nn.Module):
    """Skip-layer channel-wise excitation, y = F(x_low) · x_high (Liu et al. 2021, equation 1 and figure 3).

    F = adaptive average pooling to 4×4, 4×4 convolution to 1×1, LeakyReLU 0.1, 1×1 convolution to the channels of
    x_high, sigmoid. x_low (N, low, h, w) with h, w ≥ 4; x_high (N, high, H, W) of any size; y has the shape of x_high.
    """

    def __init__(self, low: int, high: int):
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            nn.Conv2d(low, high, 4, bias=False),
            nn.LeakyReLU(0.1),
            nn.Conv2d(high, high, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x_low: Tensor, x_high: Tensor) -> Tensor:
        return self.gate(x_low) * x_high


def upsampling_convolution(x: Tensor, weight: Tensor) -> Tensor:
    """Nearest-neighbour upsampling × 2, then a 3×3 convolution: (N, in, h, w) and (out, in, 3, 3) → (N, out, 2h, 2w).

    Upsampled pixels come in equal 2×2 squares, so the pair equals one transposed convolution of stride 2 with the 4×4
    kernel that is the sum of the 3×3 kernel at four offsets: 4 products an output pixel instead of 9, and the upsampled
    map is never stored. Below 16 px the two-step way is faster (measured on a CPU) and is taken.
    """

    if x.shape[2] < 16:
        return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, padding=1)
    padded = F.pad(weight, (1, 1, 1, 1))
    rows = padded[:, :, :-1] + padded[:, :, 1:]
    kernel = rows[..., :-1] + rows[..., 1:]
    return F.conv_transpose2d(x, kernel.flip(2, 3).transpose(0, 1), stride=2, padding=1)


class UpsamplingConvolution(nn.Conv2d):
    """upsampling_convolution with a weight of its own and no bias: (N, in, h, w) → (N, out, 2h, 2w)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return upsampling_convolution(x, self.weight)


class NoiseInjection(nn.Module):
    """x + w · noise, noise ~ N(0, 1) one map for all channels, w a learned scalar that starts at 0 (Karras et al. 2019,
    section 2, as FastGAN uses it). The caller gives the noise (N, 1, H, W), so that its generator is the caller's."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + self.weight * noise


VGG16_CONVOLUTIONS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Filters of VGG16's 3×3 convolutions in its five stages; 2×2 max pooling stands between the stages."""


class PerceptualDistance(nn.Module):
    """LPIPS distance on VGG16 features (Zhang et al. 2018, equation 1): for the last map of each of the five stages,
    unit length over channels, squared difference, weighted sum over channels, mean over pixels; summed over the stages.

    weights: a `.pt` file with a dictionary of tensors: `features.<n>.weight` and `.bias` in torchvision's numbering of
        VGG16 (0, 2, 5, …, 28), and `lin<k>.weight` (k = 0…4), the LPIPS weights per channel, shape (1, channels, 1, 1).
        A file of VGG16 alone gives every channel the weight 1/channels.
    Raises InputError naming the file when it is missing or holds something else.

    Maps two image batches (N, C, H, W) in [-1, 1], H and W ≥ 16, to a scalar, the mean over images. C = 3 is taken as
    RGB; of any other number every channel is judged as a grey image and the distances are averaged.
    """

    def __init__(self, weights: str | Path):
        super().__init__()
        try:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            raise InputError(f"{weights}: no such weights file for the perceptual distance") from error
        except Exception as error:  # torch.load raises many kinds on a file that is no checkpoint
            raise InputError(f"{weights}: not a PyTorch weights file ({error}); fetch it again") from error
        self.stages = nn.ModuleList()
        number, channels = 0, 3
        for filters_of_stage in VGG16_CONVOLUTIONS:
            layers: list[nn.Module] = []
            for filters in filters_of_stage:
                convolution = nn.Conv2d(channels, filters, 3, padding=1)
                try:
                    convolution.load_state_dict(
                        {part: state[f"features.{number}.{part}"] for part in ("weight", "bias")}
                    )
                except (KeyError, RuntimeError, TypeError, AttributeError) as error:
                    raise InputError(
                        f"{weights}: these are not the weights of VGG16 ({error}); give a file with features.0.weight …"
                    ) from error
                layers += [convolution, nn.ReLU(inplace=True)]
                number, channels = number + 2, filters
            number += 1  # torchvision counts the pooling layer
            self.stages.append(nn.Sequential(*layers))
        for stage, filters_of_stage in enumerate(VGG16_CONVOLUTIONS):
            filters = filters_of_stage[-1]
            equal = torch.full((1, filters, 1, 1), 1 / filters)
            self.register_buffer(f"lin{stage}", state.get(f"lin{stage}.weight", equal).float().view(1, filters, 1, 1))
        # LPIPS standardises [-1, 1] images by the ImageNet statistics, expressed in that range.
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def _features(self, images: Tensor) -> list[Tensor]:
        if images.shape[1] != 3:
            images = images.flatten(0, 1).unsqueeze(1).expand(-1, 3, -1, -1)
        x = (images - self.shift) / self.scale
        features = []
        for number, stage in enumerate(self.stages):
            x = stage(x if number == 0 else F.max_pool2d(x, 2))
            features.append(x)
        return features

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        distance = first.new_zeros(())
        for stage, (a, b) in enumerate(zip(self._features(first), self._features(second), strict=True)):
            a, b = F.normalize(a.float(), dim=1, eps=1e-10), F.normalize(b.float(), dim=1, eps=1e-10)
            weights = getattr(self, f"lin{stage}")
            distance = distance + ((a - b).square() * weights).sum(dim=1).mean()
        return distance

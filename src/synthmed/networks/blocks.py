"""Blocks that networks share: residual block, skip-layer excitation, noise injection, norm, minibatch deviation."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.core.errors import InputError


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


class GLU(nn.Module):
    """Gated linear unit, the first half of the channels × the sigmoid of the second (Dauphin et al. 2017): (N, 2C, H,
    W) → (N, C, H, W).

    As torch.nn.GLU(dim=1), whose gradient is laid out with channels first: from a map with channels last it has the
    layer before work through the one beside the other, at half the speed (measured on a CPU).
    """

    def forward(self, x: Tensor) -> Tensor:
        values, gate = x.chunk(2, dim=1)
        return values * gate.sigmoid()


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


def upsampling_convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Nearest-neighbour upsampling × 2, then a 3×3 convolution: (N, in, h, w) and (out, in, 3, 3) → (N, out, 2h, 2w).

    Upsampled pixels come in equal 2×2 squares, so the pair equals one transposed convolution of stride 2 with the 4×4
    kernel that is the sum of the 3×3 kernel at four offsets: 4 products an output pixel instead of 9, and the upsampled
    map is never stored. Below 16 px the two-step way is faster (measured on a CPU) and is taken.
    """

    if x.shape[2] < 16:
        return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, bias, padding=1)
    padded = F.pad(weight, (1, 1, 1, 1))
    rows = padded[:, :, :-1] + padded[:, :, 1:]
    kernel = rows[..., :-1] + rows[..., 1:]
    return F.conv_transpose2d(x, kernel.flip(2, 3).transpose(0, 1), bias, stride=2, padding=1)


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


class PixelNorm(nn.Module):
    """x / √(mean of x² over channels + 10⁻⁸), in every pixel (Karras et al. 2018, section 4.2).

    (N, C, …) → the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        squares = x.square().mean(dim=1, keepdim=True, dtype=torch.float32)
        return x * (squares + 1e-8).rsqrt().to(x.dtype)


def group_size(images: int, most: int) -> int:
    """Size of the groups that MinibatchDeviation parts a batch into: the largest up to `most` that divides it."""
    return next(size for size in range(min(most, images), 0, -1) if images % size == 0)


def check_groups(setting: str, images: int, processes: int, most: int, where: str = "") -> None:
    """Raise InputError when the images of one process cannot be parted into groups of 2 to `most`: the minibatch
    standard deviation would be of single images, and so do nothing.

    setting: its name, and images: of a micro-batch, its value, which the processes share; most: setting
    minibatch_group; where: for the message.
    """
    share, left = divmod(images, processes)
    if most == 1 or left or group_size(share, most) > 1:  # what is left is refused by distributed.own_rows
        return
    raise InputError(
        f"setting {setting} is {images}, which gives each process {share} images{where}; they cannot be parted into "
        f"equal groups of 2 to {most} (minibatch_group), so the minibatch standard deviation would do nothing. Set "
        f"{setting} to a multiple of {2 * processes} (2 for each process), or minibatch_group to 1 to do without it"
    )


class MinibatchDeviation(nn.Module):
    """One more channel: the standard deviation over a group of images, averaged over channels and pixels
    (Karras et al. 2018, section 3).

    group: the most images of one group. Groups are of consecutive images and all of one size, see group_size. Where
    that is 1 the channel is constant; models refuse such a training. (N, C, H, W) → (N, C + 1, H, W).
    """

    def __init__(self, group: int):
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        count, _, height, width = x.shape
        size = group_size(count, self.group)
        groups = x.float().reshape(count // size, size, -1)
        deviation = (groups.var(dim=1, unbiased=False) + 1e-8).sqrt().mean(dim=1)
        channel = deviation.repeat_interleave(size)[:, None, None, None].expand(count, 1, height, width)
        return torch.cat([x, channel.to(x.dtype)], dim=1)

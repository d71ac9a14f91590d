"""Discriminators by convolutions: PatchGAN (Isola et al. 2017) judges every patch of its receptive field, the other the
whole image."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from synthmed.core.errors import InputError

Norm = Literal["instance", "batch"]


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

    Each Ck is a 4×4 convolution with k filters, norm (not in the first), LeakyReLU; then one to one map.

    in_channels: channels of the image (for Pix2Pix: of image and condition together).
    layers: the k of each Ck, e.g. (64, 128, 256) for C64-C128-C256.
    last_stride: stride of the last Ck: 2 in the document's discriminators (fields 10, 22, 46), 1 in the original
        70×70. All Ck before have stride 2.
    norm: "instance" (CycleGAN; convolutions keep their bias, so that the counts are the published ones) or "batch"
        (Pix2Pix as seeds 001 and 002 count it: only the last convolution has a bias).
    slope: of LeakyReLU for negative numbers.

    Maps (N, in_channels, H, W) to logits (N, 1, h, w), one per patch, no sigmoid.
    """

    def __init__(self, in_channels: int, layers: Sequence[int], last_stride: int, norm: Norm, slope: float = 0.2):
        super().__init__()
        if not layers:
            raise InputError("setting discriminator_layers is empty; give at least one layer, for example [64]")
        self.layers, self.last_stride = tuple(layers), last_stride
        blocks: list[nn.Module] = []
        channels = in_channels
        for number, filters in enumerate(layers):
            stride = last_stride if number == len(layers) - 1 else 2
            blocks.append(nn.Conv2d(channels, filters, 4, stride, 1, bias=norm == "instance"))
            if number > 0:
                blocks.append(_norm(norm, filters))
            blocks.append(nn.LeakyReLU(slope))
            channels = filters
        blocks.append(nn.Conv2d(channels, 1, 4, 1, 1))
        self.net = nn.Sequential(*blocks)

    @property
    def receptive_field(self) -> int:
        """Side in pixels of the patch that one logit sees."""
        return patchgan_receptive_field(self.layers, self.last_stride)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


class VanillaDiscriminator(nn.Module):
    """Discriminator that judges the whole image (seed 002, "vanilla"): for each of `layers` a 4×4 convolution of stride
    2 without bias, BatchNorm (not in the first), LeakyReLU of `slope`; then one dense unit on all that is left.

    Maps (N, in_channels, H, W), size = (H, W) in multiples of 2^len(layers), to logits (N, 1).
    """

    def __init__(self, in_channels: int, layers: Sequence[int], size: tuple[int, int], slope: float):
        super().__init__()
        blocks: list[nn.Module] = []
        channels = in_channels
        for number, filters in enumerate(layers):
            blocks.append(nn.Conv2d(channels, filters, 4, 2, 1, bias=False))
            if number > 0:
                blocks.append(nn.BatchNorm2d(filters))
            blocks.append(nn.LeakyReLU(slope))
            channels = filters
        height, width = (side >> len(layers) for side in size)
        self.net = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(channels * height * width, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

"""U-Nets: networks from an image to an image of the same size, with skip connections (Ronneberger et al. 2015)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.core.errors import InputError


class Pix2PixUNet(nn.Module):
    """The generator of Pix2Pix (Isola et al. 2017, appendix 6.1.1), also a segmenter (seed 001, section 4.4.4).

    Encoder: a 4×4 convolution of stride 2 for each of `widths`, BatchNorm behind all but the first, LeakyReLU of
    `slope`. Decoder: a 4×4 transposed convolution of stride 2, BatchNorm, ReLU for each width but the last, backwards,
    each result beside the encoder's map of the same size; then one more, with bias, to the output. The first
    `dropout_blocks` of the decoder are CD blocks: dropout of the share `dropout` behind BatchNorm, as Isola has it.
    256 px of both documents: widths 64, 128, 256, 512, 512, 512, 512, 512 and three CD blocks; 128 px: one 512 and one
    CD block fewer.

    inner_norm: BatchNorm behind the last convolution of the encoder. Where that leaves 1×1 pixels, its statistics in
    training are those of as many numbers as images, and one image alone has none.

    Maps (N, in_channels, H, W), H and W multiples of 2^len(widths), to (N, out_channels, H, W) without a last
    activation. Raises InputError when there are no widths, or more CD blocks than blocks.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        *,
        dropout: float,
        dropout_blocks: int,
        slope: float,
        inner_norm: bool = True,
    ):
        super().__init__()
        if not 0 <= dropout_blocks < max(len(widths), 1):
            raise InputError(
                f"setting dropout_blocks is {dropout_blocks}, but the decoder of {len(widths)} widths has "
                f"{max(len(widths) - 1, 0)} blocks"
            )
        if not widths:
            raise InputError("setting widths is empty; give at least one width, for example [64]")
        self.dropout, self.dropout_blocks, self.slope = nn.Dropout(dropout), dropout_blocks, slope
        self.down, self.down_norm = nn.ModuleList(), nn.ModuleList()
        for number, (inputs, outputs) in enumerate(zip((in_channels, *widths[:-1]), widths, strict=True)):
            self.down.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False))
            normalised = number > 0 and (inner_norm or number < len(widths) - 1)
            self.down_norm.append(nn.BatchNorm2d(outputs) if normalised else nn.Identity())
        self.up, self.up_norm = nn.ModuleList(), nn.ModuleList()
        inputs = widths[-1]
        for outputs in reversed(widths[:-1]):
            self.up.append(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False))
            self.up_norm.append(nn.BatchNorm2d(outputs))
            inputs = 2 * outputs  # beside the encoder's map
        self.last = nn.ConvTranspose2d(inputs, out_channels, 4, 2, 1)

    def forward(self, images: Tensor, dropout: torch.Generator | None = None) -> Tensor:
        """dropout: a CPU generator that draws what is dropped, in training and evaluation alike; None: torch's global
        generator does in training mode, and in evaluation mode nothing is dropped."""
        x, maps = images, []
        for convolution, norm in zip(self.down, self.down_norm, strict=True):
            x = F.leaky_relu(norm(convolution(x)), self.slope)
            maps.append(x)
        maps.pop()
        for number, (convolution, norm) in enumerate(zip(self.up, self.up_norm, strict=True)):
            x = norm(convolution(x))
            if number < self.dropout_blocks:
                x = self.dropout(x) if dropout is None else self._dropped(x, dropout)
            x = torch.cat([F.relu(x), maps.pop()], dim=1)
        return self.last(x)

    def _dropped(self, x: Tensor, generator: torch.Generator) -> Tensor:
        kept = torch.rand(x.shape, generator=generator) >= self.dropout.p
        return x * kept.to(device=x.device, dtype=x.dtype) / (1 - self.dropout.p)

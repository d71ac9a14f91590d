"""The U-Net of Ronneberger et al. 2015 (figure 1), with convolutions that keep the size, so that nothing is cropped.

Widths 64, 128, 256, 512, 1024 give 31,031,745 parameters from 3 channels to 1, and 31,033,473 from 6 (seed 000, section
2.1.1 describes it).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from synthmed.core.errors import InputError

RARE = 1e-3
"""The share that a channel is expected to be drawn in at least, and not to be; see UNet.expect."""


def _twice(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3×3 convolutions, each with ReLU; (N, inputs, h, w) → (N, outputs, h, w)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Down by 2×2 max pooling, up by 2×2 transposed convolutions of stride 2, the map of the same size beside each.

    widths: channels of each level, from the image downwards; dropout: share of the lowest map that is dropped in
    training. Weights as He et al. 2015 draw them, which the paper asks for. (N, inputs, H, W) → logits (N, outputs, H,
    W), H and W multiples of 2^(levels − 1).
    """

    def __init__(self, inputs: int, outputs: int, widths: Sequence[int], dropout: float):
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(_twice(*pair) for pair in zip((inputs, *widths[:-1]), widths, strict=True))
        self.dropout = nn.Dropout(dropout)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(below, width, 2, 2) for below, width in pairs)
        self.join = nn.ModuleList(_twice(2 * width, width) for _, width in pairs)
        self.last = nn.Conv2d(widths[0], outputs, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    @torch.no_grad()
    def expect(self, shares: Tensor) -> None:
        """Let the logits begin at those of `shares`, (outputs,) in [0, 1], how often each channel is drawn: as Lin et
        al. 2017, section 4.1."""
        self.last.bias.copy_(shares.logit(eps=RARE))

    def forward(self, images: Tensor) -> Tensor:
        maps, x = [], images
        for number, level in enumerate(self.down):
            x = level(self.pool(x) if number else x)
            maps.append(x)
        x = self.dropout(maps.pop())
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([maps.pop(), up(x)], dim=1))
        return self.last(x)


def network(inputs: int, outputs: int, size: tuple[int, int], widths: Sequence[int], dropout: float) -> nn.Module:
    factor = 2 ** (len(widths) - 1)
    if any(side % factor for side in size):
        raise InputError(
            f"images of {size[0]}×{size[1]} pixels do not fit a U-Net of {len(widths)} levels, which needs multiples "
            f"of {factor}; take another size, or fewer widths"
        )
    return UNet(inputs, outputs, widths, dropout)

"""The generator of Pix2Pix as a segmenter (seed 001, section 4.4.4): from an image to its mask."""

from collections.abc import Sequence

from torch import nn

from synthmed.core.errors import InputError
from synthmed.networks.blocks import initialise_normal
from synthmed.networks.unet import Pix2PixUNet

SLOPE = 0.2
"""Of the encoder's LeakyReLU (Isola et al. 2017)."""


def network(inputs: int, outputs: int, size: tuple[int, int], widths: Sequence[int], dropout: float) -> nn.Module:
    """Widths 64, 128, 256 and four times 512 for 128² pixels (41,825,921 parameters from 3 channels to 1), once more
    512 for 256². All blocks of the decoder with 1024 inputs but the last are CD blocks: two of the former, three of the
    latter."""
    factor = 2 ** len(widths)
    if any(side % factor for side in size):
        raise InputError(
            f"images of {size[0]}×{size[1]} pixels do not fit a Pix2Pix generator of {len(widths)} widths, which needs "
            f"multiples of {factor}; take another size, or fewer widths"
        )
    blocks = min(max(1, len(widths) - 5), len(widths) - 1)
    made = Pix2PixUNet(inputs, outputs, widths, dropout=dropout, dropout_blocks=blocks, slope=SLOPE)
    initialise_normal(made)
    return made

"""Where the pixels of a moved image come from."""

import torch
from torch import Tensor


def affine_grid(matrices: Tensor, height: int, width: int) -> Tensor:
    """Positions for F.grid_sample, (N, height, width, 2), of affine maps (N, 2, 3) between coordinates in which the
    image spans [-1, 1] both ways: F.affine_grid with align_corners=False, as sums of a row and a column, which costs a
    fifth of its product at every pixel."""
    x, y = ((2 * torch.arange(side).to(matrices) + 1) / side - 1 for side in (width, height))
    x, y = x[None, None, :, None], y[None, :, None, None]
    along, down, shift = matrices[:, None, None].unbind(dim=-1)
    return x * along + (y * down + shift)

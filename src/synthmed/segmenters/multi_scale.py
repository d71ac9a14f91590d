"""Networks at several sizes whose drawings join the image for one last network (seed 000, sections 2.3 and 2.4).

The first networks are trained and stay as they are. Their soft outputs, brought to the size of the last one (bilinear),
stand behind the channels of the image there. Widths 64, 128, 256, 512, 1024 and three sizes: 124,128,708 parameters.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from synthmed.training.images import resized, to_model, to_pixels

Join = Literal["maps", "constant", "mean", "best"]
"""What becomes of the maps. maps: they join the image for the last network. constant: all are 0.5, so that the last
network sees the image alone. mean, best: there is no last network; their mean is the drawing, or one of them is."""

LEAST = 1e-6
"""Soft outputs are kept so far from 0 and 1 before they become logits."""


def at_size(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (N, C, H, W) in [-1, 1] at `size`, in whole grey levels, as image sets are read for a network."""
    if images.shape[2:] == size:
        return images
    return to_model(resized(to_pixels(images).float(), size).round().clamp(0, 255))


class FirstNetworks(nn.Module):
    """Trained networks, each at its own size (height, width): images (N, C, H, W) in [-1, 1], as large as the largest,
    to logits (N, K, h, w). They are never in training mode, and no gradient reaches them."""

    def __init__(self, networks: Sequence[nn.Module], sizes: Sequence[tuple[int, int]]):
        super().__init__()
        self.networks, self.sizes = nn.ModuleList(networks), [tuple(size) for size in sizes]
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "FirstNetworks":
        """Does nothing: what is dropped in training is never dropped here."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Soft outputs at `size`, one network after the other: (N, S, K, *size) in [0, 1]."""
        maps = [
            resized(network(at_size(images, own)).float().sigmoid(), size)
            for network, own in zip(self.networks, self.sizes, strict=True)
        ]
        return torch.stack(maps, dim=1)


def joined(images: Tensor, maps: Tensor, join: Join) -> Tensor:
    """What the last network is given: images (N, C, h, w) in [-1, 1] and behind them the maps (N, S, K, h, w) of [0, 1]
    in the same range, or 0 in place of each where they are constant: (N, C + S·K, h, w)."""
    flat = 2 * maps.flatten(1, 2) - 1
    return torch.cat([images, torch.zeros_like(flat) if join == "constant" else flat], dim=1)


class MultiScale(nn.Module):
    """Images (N, C, H, W) in [-1, 1] → logits (N, K, *size).

    last: the network that the maps join for, None for the joins mean and best; best: which of the first networks is
    taken by the join of that name.
    """

    def __init__(self, first: FirstNetworks, size: tuple[int, int], join: Join, last: nn.Module | None, best: int = 0):
        super().__init__()
        if (last is None) != (join in ("mean", "best")):
            raise ValueError(f"the join {join!r} {'has no' if last is not None else 'needs a'} last network")
        self.first, self.size, self.join, self.last, self.best = first, tuple(size), join, last, best

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images, self.size)
        if self.last is not None:
            return self.last(joined(at_size(images, self.size), maps, self.join))
        drawn = maps.mean(dim=1) if self.join == "mean" else maps[:, self.best]
        return drawn.clamp(LEAST, 1 - LEAST).logit()

"""Networks of SinGAN (Shaham et al. 2019, section 3.1), those of a group of images side by side; see
generators/singan.py."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.networks.blocks import initialise_normal

BORDER = 5
"""Pixels that five 3×3 convolutions without padding take from each side."""


class GroupedConvolution(nn.Conv2d):
    """3×3 convolution without padding of patches side by side, each with its own kernels: (N, patches · inputs, H, W) →
    (N, patches · outputs, H − 2, W − 2). It runs with the weights of any number of patches."""

    def __init__(self, patches: int, inputs: int, outputs: int):
        super().__init__(patches * inputs, patches * outputs, 3, groups=patches)

    def reset_parameters(self) -> None:
        """Nothing: weights are drawn by initialised() or taken over."""

    def forward(self, x: Tensor) -> Tensor:
        groups = x.shape[1] // self.weight.shape[1]
        # Of one image torch takes a convolution whose second derivative knows no channels-last kernels.
        weight = self.weight if groups > 1 else self.weight.contiguous()
        return F.conv2d(x, weight, self.bias, groups=groups)


class PatchNorm(nn.Module):
    """BatchNorm (Ioffe & Szegedy 2015) of one image a batch, by the statistics of each map of each patch; in eval mode
    by running ones. (1, patches · maps, H, W) → the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training)


def network(patches: int, channels: int, kernels: int, outputs: int, *last: nn.Module) -> nn.Sequential:
    """Four blocks of convolution, norm and LeakyReLU, and one convolution (the paper, section 3.1): the network of one
    scale, (1, patches · channels, H, W) → (1, patches · outputs, H − 10, W − 10). Its weights are not set yet."""
    layers: list[nn.Module] = []
    for inputs in (channels, kernels, kernels, kernels):
        layers += [GroupedConvolution(patches, inputs, kernels), PatchNorm(patches * kernels), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, GroupedConvolution(patches, kernels, outputs), *last)


def initialised(made: nn.Sequential) -> dict[str, Tensor]:
    """First weights of a network, drawn as in the DCGAN paper."""
    initialise_normal(made)
    for layer in made:
        if isinstance(layer, PatchNorm):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)
    return made.state_dict()


def taken(state: Mapping[str, Tensor], patches: int, rows: slice | Tensor) -> dict[str, Tensor]:
    """Of the weights of the networks of `patches` patches those of some of them."""
    return {key: value.unflatten(0, (patches, -1))[rows].flatten(0, 1) for key, value in state.items()}


def joined(networks: Iterable[nn.Module]) -> dict[str, Tensor]:
    """The weights of groups of patches as those of all of them."""
    states = [one.state_dict() for one in networks]
    return {key: torch.cat([state[key] for state in states]) for key in states[0]}

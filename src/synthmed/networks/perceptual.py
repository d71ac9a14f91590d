"""Distances between images on the features of VGG16: LPIPS, and the mean absolute error of chosen layers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.core.errors import InputError
from synthmed.networks import vgg16

Layer = Literal["relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"]
"""The last map of each of VGG16's stages."""
LAYERS: tuple[Layer, ...] = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")


class VGG16Maps(nn.Module):
    """The last map of each of the first `stages` stages of VGG16, frozen.

    weights: a `.pt` file with a dictionary of tensors `features.<n>.weight` and `.bias` in torchvision's numbering of
        VGG16 (0, 2, 5, …, 28); `state` is all of it. Raises InputError naming the file when it is missing or holds
        something else.

    Maps images (N, C, H, W) in [-1, 1] to a list of maps. C = 3 is taken as RGB; of any other number every channel is
    seen as a grey image of its own, (N·C, …).
    """

    def __init__(self, weights: str | Path, stages: int = len(vgg16.STAGES)):
        super().__init__()
        try:
            self.state: dict[str, Any] = torch.load(weights, map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            raise InputError(f"{weights}: no such weights file for the perceptual distance") from error
        except Exception as error:  # torch.load raises many kinds on a file that is no checkpoint
            raise InputError(f"{weights}: not a PyTorch weights file ({error}); fetch it again") from error
        ends = [number for number, layer in enumerate(vgg16.convolutions()) if isinstance(layer, nn.MaxPool2d)]
        self.features = vgg16.convolutions()[: ends[stages - 1]]  # the last map is that before the last pooling
        try:
            self.features.load_state_dict({name: self.state[f"features.{name}"] for name in self.features.state_dict()})
        except (KeyError, RuntimeError, TypeError, AttributeError) as error:
            raise InputError(
                f"{weights}: these are not the weights of VGG16 ({error}); give a file with features.0.weight …"
            ) from error
        # LPIPS standardises [-1, 1] images by the ImageNet statistics, expressed in that range.
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        if images.shape[1] != 3:
            images = images.flatten(0, 1).unsqueeze(1).expand(-1, 3, -1, -1)
        x = (images - self.shift) / self.scale
        maps = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        return [*maps, x]


class PerceptualLoss(nn.Module):
    """The mean over chosen layers of weight · mean absolute difference of VGG16's maps (seed 001, equation 4.11 with
    d = 1; Johnson et al. 2016, section 3.2, with squares).

    weights: a file as VGG16Maps takes it; layers: weight of each. Maps two batches (N, C, H, W) in [-1, 1] to a scalar.
    """

    def __init__(self, weights: str | Path, layers: Mapping[Layer, float]):
        super().__init__()
        self.layers = {LAYERS.index(name): weight for name, weight in layers.items()}
        self.maps = VGG16Maps(weights, max(self.layers) + 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        ours, theirs = self.maps(first), self.maps(second)
        parts = [
            weight * F.l1_loss(ours[layer].float(), theirs[layer].float()) for layer, weight in self.layers.items()
        ]
        return torch.stack(parts).mean()


class PerceptualDistance(nn.Module):
    """LPIPS distance on VGG16 features (Zhang et al. 2018, equation 1): for the last map of each of the five stages,
    unit length over channels, squared difference, weighted sum over channels, mean over pixels; summed over the stages.

    weights: a file as VGG16Maps takes it, with `lin<k>.weight` (k = 0…4), the LPIPS weights per channel, shape
        (1, channels, 1, 1). A file of VGG16 alone gives every channel the weight 1/channels.

    Maps two image batches (N, C, H, W) in [-1, 1], H and W ≥ 16, to a scalar, the mean over images; `of_pairs` to the
    distance of each pair, (N,). C = 3 is taken as RGB; of any other number every channel is judged as a grey image and
    the distances are averaged.
    """

    def __init__(self, weights: str | Path):
        super().__init__()
        self.maps = VGG16Maps(weights)
        for stage, filters_of_stage in enumerate(vgg16.STAGES):
            filters = filters_of_stage[-1]
            lin = self.maps.state.get(f"lin{stage}.weight", torch.full((filters,), 1 / filters))
            self.register_buffer(f"lin{stage}", lin.float().view(1, filters, 1, 1))

    def of_pairs(self, first: Tensor, second: Tensor) -> Tensor:
        """Distance of each pair of images (N, C, H, W) in [-1, 1]: (N,), float32, at least 0."""
        distance = first.new_zeros(())
        for stage, (a, b) in enumerate(zip(self.maps(first), self.maps(second), strict=True)):
            a, b = F.normalize(a.float(), dim=1, eps=1e-10), F.normalize(b.float(), dim=1, eps=1e-10)
            weights = getattr(self, f"lin{stage}")
            distance = distance + ((a - b).square() * weights).sum(dim=1).mean(dim=(1, 2))
        # The maps of channels that are judged one by one lie side by side.
        return distance.view(len(first), -1).mean(dim=1)

    def between_all(self, images: Tensor, batch: int) -> Tensor:
        """Distances of all pairs of (N, C, H, W), `batch` images at a time through the network: (N, N) on the CPU.

        The distance is a weighted squared Euclidean one, so inner products of the maps give it. Memory: the maps of all
        images, 2 MB for each of 64² and channel, 33 MB of 256².
        """
        distance = torch.zeros(len(images), len(images), dtype=torch.float64)
        parts = [self.maps(chunk) for chunk in images.split(batch)]
        for stage in range(len(vgg16.STAGES)):
            maps = [F.normalize(part[stage].float(), dim=1, eps=1e-10) for part in parts]
            seen, pixels = sum(map(len, maps)) // len(images), maps[0][0, 0].numel()
            flat = torch.cat(maps).reshape(len(images), -1)
            weighted = torch.cat([one * getattr(self, f"lin{stage}") for one in maps]).reshape(len(images), -1)
            inner = (flat @ weighted.T).double().cpu() / (seen * pixels)
            squares = inner.diagonal()
            distance += squares[:, None] + squares[None] - 2 * inner
        return distance.clamp(min=0)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.of_pairs(first, second).mean()

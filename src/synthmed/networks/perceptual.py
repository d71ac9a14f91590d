"""The perceptual distance LPIPS on the features of VGG16."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.core.errors import InputError
from synthmed.networks import vgg16


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
        self.features = vgg16.convolutions()[:-1]  # the last map is that before the last pooling
        try:
            self.features.load_state_dict({name: state[f"features.{name}"] for name in self.features.state_dict()})
        except (KeyError, RuntimeError, TypeError, AttributeError) as error:
            raise InputError(
                f"{weights}: these are not the weights of VGG16 ({error}); give a file with features.0.weight …"
            ) from error
        for stage, filters_of_stage in enumerate(vgg16.STAGES):
            filters = filters_of_stage[-1]
            equal = torch.full((1, filters, 1, 1), 1 / filters)
            self.register_buffer(f"lin{stage}", state.get(f"lin{stage}.weight", equal).float().view(1, filters, 1, 1))
        # LPIPS standardises [-1, 1] images by the ImageNet statistics, expressed in that range.
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def _maps(self, images: Tensor) -> list[Tensor]:
        if images.shape[1] != 3:
            images = images.flatten(0, 1).unsqueeze(1).expand(-1, 3, -1, -1)
        x = (images - self.shift) / self.scale
        maps = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        return [*maps, x]

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        distance = first.new_zeros(())
        for stage, (a, b) in enumerate(zip(self._maps(first), self._maps(second), strict=True)):
            a, b = F.normalize(a.float(), dim=1, eps=1e-10), F.normalize(b.float(), dim=1, eps=1e-10)
            weights = getattr(self, f"lin{stage}")
            distance = distance + ((a - b).square() * weights).sum(dim=1).mean()
        return distance

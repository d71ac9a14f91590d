"""What every feature extractor is: images in, pooled features out."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from synthmed.core.errors import InputError


class Pooled(NamedTuple):
    """Pooled last feature map of N images.

    features: (N, D) spatial mean; squares: (N, D) spatial mean of the squared map; probabilities: (N, K) of the
    extractor's own classes, or None where its weights carry no classifier.
    """

    features: Tensor
    squares: Tensor
    probabilities: Tensor | None


class Extractor(nn.Module):
    """A frozen network that turns images into features.

    forward(images): (N, 1 or 3, H, W), uint8 in [0, 255] or floating point in [-1, 1], any size. Returns Pooled in
    float32.
    human: the name that tables and figures print.
    """

    human: ClassVar[str]

    def forward(self, images: Tensor) -> Pooled:
        raise NotImplementedError


def to_pixels(images: Tensor) -> Tensor:
    """uint8, or floating point in [-1, 1] → float32 in [0, 255], the same shape."""
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must be (N, 1 or 3, H, W), not {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return images.float()
    return (images.float() + 1.0).mul_(127.5).clamp_(0.0, 255.0)


def to_rgb(images: Tensor) -> Tensor:
    """(N, 1 or 3, H, W) → (N, 3, H, W); a grey channel is repeated."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def pool(feature_map: Tensor) -> tuple[Tensor, Tensor]:
    """(N, D, h, w) → spatial mean (N, D) and spatial mean of the squares (N, D), float32.

    From both, a BatchNorm before global average pooling can be computed exactly: over images, the mean of the first is
    the batch mean and the mean of the second minus its square is the batch variance.
    """
    feature_map = feature_map.float()
    return feature_map.mean((2, 3)), feature_map.square().mean((2, 3))


def fold_batch_norm(weight: Tensor, norm: dict[str, Tensor], epsilon: float) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one convolution that equals a bias-free convolution followed by BatchNorm in eval mode.

    weight: (out, in, kh, kw); norm: weight, bias, running_mean, running_var, each (out,). Computed in float64.
    """
    scale = norm["weight"].double() / torch.sqrt(norm["running_var"].double() + epsilon)
    folded = weight.double() * scale[:, None, None, None]
    bias = norm["bias"].double() - norm["running_mean"].double() * scale
    return folded.float(), bias.float()


def freeze(network: nn.Module, precision: str, device: torch.device) -> nn.Module:
    """Eval mode, no gradients, channels-last, in `precision` ("fp32" or "bf16") on `device`."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    return network.eval().requires_grad_(False).to(device=device, dtype=dtype, memory_format=torch.channels_last)


def load_strictly(network: nn.Module, state: dict[str, Tensor], what: str, source: str) -> None:
    """network.load_state_dict(state), with an InputError naming `what` and `source` when names or shapes differ."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(f"{source}: these are no weights of {what} ({first}); give others") from error

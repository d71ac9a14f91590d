"""Where a classifier looks: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def grad_cam(model: nn.Module, layer: nn.Module, images: Tensor, target: int) -> Tensor:
    """Class activation maps of the output `target`, at the size of the images: float32 (N, H, W), 0 or more.

    model: (N, C, H, W) → logits (N, T), in eval mode. layer: the module whose output is mapped, as a rule
    Classifier.last_convolution(model). images: (N, C, H, W) in [-1, 1]. A map is the ReLU of the sum of the layer's
    channels, each weighted by the mean of its gradient (equations 1 and 2), enlarged bilinearly. It is zero everywhere
    when nothing speaks for the target.
    """
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        with torch.enable_grad():
            # No weight of the network wants a gradient; that the images do makes the gradients of the layer known.
            logits = model(images.detach().requires_grad_(True))
    finally:
        hook.remove()
    (channels,) = seen
    (gradient,) = torch.autograd.grad(logits[:, target].sum(), channels)
    weights = gradient.mean((2, 3), keepdim=True)  # equation 1
    maps = (weights * channels).sum(1, keepdim=True).relu().detach()  # equation 2
    return F.interpolate(maps.float(), images.shape[2:], mode="bilinear", align_corners=False)[:, 0]

"""What a trained segmenter is: its networks, read from their file, and what they draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from synthmed import segmenters
from synthmed.core.errors import InputError
from synthmed.data.channels import MaskChannels
from synthmed.data.imageset import Legend
from synthmed.segmenters.multi_scale import FirstNetworks, MultiScale
from synthmed.segmenters.pairs import drawn_names
from synthmed.training import checkpoint as checkpoints
from synthmed.training.images import resized, to_model

FORMAT = 1
DESIGN = ("architecture", "widths", "spectral_norm", "dropout")
"""What the file says of a network, besides the shape of its images."""


@dataclass(frozen=True)
class Segmenter:
    """A trained segmenter. image_shape: (C, H, W); size: (h, w) of what it draws; masks: how that is a mask; models:
    one network a seed, in eval mode, no gradients on weights, images (N, C, H, W) in [-1, 1] → logits (N, K, h, w)."""

    architecture: str
    image_shape: tuple[int, int, int]
    size: tuple[int, int]
    masks: MaskChannels
    models: list[nn.Module]

    def to(self, device: torch.device) -> "Segmenter":
        """Move the networks to `device` (in place), and return the segmenter."""
        for model in self.models:
            model.to(device)
        return self


def build(
    architecture: str, widths: Sequence[int], spectral: bool, dropout: float, image_shape: Sequence[int], outputs: int
) -> nn.Module:
    """A network with random weights from torch's global random numbers. image_shape: (C, H, W); spectral: whether its
    weights are divided by their spectral norm."""
    channels, *size = image_shape
    network = segmenters.load(architecture).network(channels, outputs, tuple(size), widths, dropout)
    if spectral:
        for layer in [one for one in network.modules() if isinstance(one, nn.Conv2d | nn.ConvTranspose2d)]:
            spectral_norm(layer)
    return network


def load(path: str | Path) -> Segmenter:
    """Read what `synthmed train-segmenter` wrote, on the CPU. Raises InputError when the file is something else."""
    content = checkpoints.read_torch(path, "train the segmenter again")
    if not isinstance(content, dict) or content.get("kind") != "segmenter" or content["format"] != FORMAT:
        raise InputError(f"{path}: no segmenter of this version; give the file that `synthmed train-segmenter` wrote")
    coded = MaskChannels(content["masks"], Legend(masks=content["legend"], classes=content["classes"]))
    shape, models = tuple(content["image_shape"]), []
    for state in content["states"]:
        model = network_of(content, shape, len(drawn_names(coded)))
        model.load_state_dict(state)
        # Twice as fast, also on a CPU.
        models.append(model.eval().requires_grad_(False).to(memory_format=torch.channels_last))
    return Segmenter(content["architecture"], shape, tuple(content.get("size", shape[1:])), coded, models)


def network_of(design: Mapping, image_shape: Sequence[int], outputs: int) -> nn.Module:
    """A network with random weights. design: what the file of a segmenter says of it; with `first`, the designs of the
    networks of a first stage and their sizes, it is a MultiScale."""
    if "first" not in design:
        return build(*(design[name] for name in DESIGN), image_shape, outputs)
    channels, size = image_shape[0], tuple(design["size"])
    sizes = [tuple(one["size"]) for one in design["first"]]
    networks = [network_of(one, (channels, *own), outputs) for one, own in zip(design["first"], sizes, strict=True)]
    last = None
    if design["join"] in ("maps", "constant"):
        inputs = channels + len(networks) * outputs
        last = build(*(design[name] for name in DESIGN), (inputs, *size), outputs)
    return MultiScale(FirstNetworks(networks, sizes), size, design["join"], last, design["best"])


@torch.no_grad()
def drawn(segmenter: Segmenter, model: nn.Module, images: Sequence[np.ndarray]) -> Tensor:
    """What one network of a segmenter draws on images, at its size: (N, K, h, w) in [0, 1] on the CPU.

    images: uint8 (H, W, C), each reduced to the network's size as in its training. Raises InputError on other channels,
    or fewer pixels than the network's.
    """
    channels, *size = segmenter.image_shape
    reduced = []
    for image in images:
        if image.shape[2] != channels or min(image.shape[0] - size[0], image.shape[1] - size[1]) < 0:
            raise InputError(
                f"an image of {image.shape[0]}×{image.shape[1]} pixels and {image.shape[2]} channels does not fit a "
                f"segmenter for {size[0]}×{size[1]} and {channels}; prepare them alike"
            )
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
        reduced.append(resized(pixels.float(), tuple(size)).round().clamp(0, 255).to(torch.uint8))
    device = next(model.parameters()).device
    found = model(to_model(torch.cat(reduced).to(device))).float().sigmoid().cpu()
    if not found.isfinite().all():
        raise InputError("the segmenter draws NaN; its training failed, train it again with a lower learning rate")
    return found


def label_map(segmenter: Segmenter, channels: Tensor, size: tuple[int, int]) -> np.ndarray:
    """What was drawn on one image, (K, h, w) in [0, 1], enlarged (bilinear) to `size` and decoded: (H, W)."""
    if tuple(channels.shape[1:]) != tuple(size):
        channels = F.interpolate(channels[None], size, mode="bilinear")[0]
    return segmenter.masks.decode(255 * channels.permute(1, 2, 0).numpy())

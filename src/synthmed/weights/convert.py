"""From the names that publishers gave the tensors of their weights to those of our networks."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def plain(state: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Floating-point tensors as they are; BatchNorm's counters of batches are dropped."""
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def vgg16(state: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """The 13 convolutions under torchvision's names `features.<i>.{weight,bias}`; the classifier is dropped."""
    if "VGG16_0.Conv_0.kernel" not in state:
        return {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    positions = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    converted = {}
    for number, position in enumerate(positions):
        kernel = state[f"VGG16_0.Conv_{number}.kernel"]  # height, width, in, out
        converted[f"features.{position}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()
        converted[f"features.{position}.bias"] = state[f"VGG16_0.Conv_{number}.bias"]
    return converted


def lpips(state: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """The five 1×1 convolutions of LPIPS as `lin<k>.weight`, (1, channels, 1, 1), and VGG16 where the file has it."""
    if "NetLinLayer_0.Conv_0.kernel" in state:
        linear = {
            f"lin{k}.weight": state[f"NetLinLayer_{k}.Conv_0.kernel"].permute(3, 2, 0, 1).contiguous() for k in range(5)
        }
    else:
        linear = {name.replace(".model.1.", "."): tensor for name, tensor in state.items() if name.startswith("lin")}
    return {**vgg16(state), **linear} if linear else {}


_INCEPTION_BRANCHES = {
    "Mixed_5b Mixed_5c Mixed_5d": "1x1 5x5_1 5x5_2 3x3dbl_1 3x3dbl_2 3x3dbl_3 _pool",
    "Mixed_6a": "3x3 3x3dbl_1 3x3dbl_2 3x3dbl_3",
    "Mixed_6b Mixed_6c Mixed_6d Mixed_6e": "1x1 7x7_1 7x7_2 7x7_3 7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5 _pool",
    "Mixed_7a": "3x3_1 3x3_2 7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4",
    "Mixed_7b Mixed_7c": "1x1 3x3_1 3x3_2a 3x3_2b 3x3dbl_1 3x3dbl_2 3x3dbl_3a 3x3dbl_3b _pool",
}


def inception_layers() -> list[str]:
    """Names of the 94 convolutions of Inception-v3 in the order of the graph, as in torchvision and torch-fidelity."""
    layers = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"]
    for blocks, branches in _INCEPTION_BRANCHES.items():
        layers += [f"{block}.branch{branch}" for block in blocks.split() for branch in branches.split()]
    return layers


def inception(state: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """torch-fidelity's file has the names used here; NVIDIA's TorchScript has its own, in the same order of layers.

    The TorchScript has no BatchNorm scale (it is 1 in this network) and no classifier.
    """
    import torch

    if "net.layers.conv.weight" not in state:
        return plain(state)
    theirs = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    converted = {}
    for layer, name in zip(inception_layers(), theirs, strict=True):
        converted[f"{layer}.conv.weight"] = state[f"{name}.weight"]
        converted[f"{layer}.bn.weight"] = torch.ones_like(state[f"{name}.beta"])
        converted[f"{layer}.bn.bias"] = state[f"{name}.beta"]
        converted[f"{layer}.bn.running_mean"] = state[f"{name}.mean"]
        converted[f"{layer}.bn.running_var"] = state[f"{name}.var"]
    return converted

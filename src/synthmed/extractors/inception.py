"""Inception-v3 as the Fréchet inception distance uses it (weights of 2015-12-05).

Szegedy et al. 2015, "Rethinking the Inception Architecture for Computer Vision" (arXiv:1512.00567), figures 5-7 and
table 1; the FID variant (Heusel et al. 2017) differs from it in TensorFlow's ways: average pooling leaves the padding
out of its count, and the last block (Mixed_7c) pools its branch by maximum.

For speed BatchNorm is folded into the convolutions, 1×1 convolutions that read the same map run as one, and where a
branch averages and then convolves 1×1, it convolves first: both are linear and the average leaves constants as they
are, so the order does not matter, and fewer channels are averaged.
"""

from functools import cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthmed.core.errors import InputError
from synthmed.extractors.extractor import Extractor, Pooled, fold_batch_norm, freeze, pool, to_pixels, to_rgb
from synthmed.weights import read as weight_files
from synthmed.weights.convert import inception_layers

SIZE = 299
"""Side length of the network's input, in pixels."""

_EPSILON = 1e-3  # of every BatchNorm in this network


# ---------------------------------------------------------------------------------------------------- convolutions
# Kernel and channels of each convolution follow from its weight; these have no padding, and these halve the map.
_VALID = {"Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_4a_3x3"}
_STRIDE_2 = {
    "Conv2d_1a_3x3",
    "Mixed_6a.branch3x3",
    "Mixed_6a.branch3x3dbl_3",
    "Mixed_7a.branch3x3_2",
    "Mixed_7a.branch7x7x3_4",
}


class _Convolution(nn.Module):
    """Convolution with bias, then ReLU. `linear` leaves the ReLU to the caller."""

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, padding: tuple[int, int]):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.stride, self.padding = stride, padding

    def linear(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).relu_()


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class _Heads(nn.Module):
    """The 1×1 convolutions of a block that read its input, as one convolution. Returns their outputs one by one.

    averaged: the last of them belongs to the pooling branch: its output is averaged before its ReLU.
    """

    def __init__(self, convolutions: list[_Convolution], averaged: bool):
        super().__init__()
        self.sizes = [convolution.weight.shape[0] for convolution in convolutions]
        weight = torch.cat([convolution.weight.detach() for convolution in convolutions])
        bias = torch.cat([convolution.bias.detach() for convolution in convolutions])
        self.all = _Convolution(weight, bias, 1, (0, 0))
        self.averaged = averaged

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = list(self.all.linear(x).split(self.sizes, dim=1))
        if self.averaged:
            outputs[-1] = _average(outputs[-1])
        return [output.relu() for output in outputs]


class _Block(nn.Module):
    def __init__(self, convolutions: dict[str, _Convolution], heads: list[str], averaged: bool):
        super().__init__()
        self.heads = _Heads([convolutions[f"branch{name}"] for name in heads], averaged)
        self.rest = nn.ModuleDict(
            {
                name.removeprefix("branch"): c
                for name, c in convolutions.items()
                if name.removeprefix("branch") not in heads
            }
        )

    def chain(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = self.rest[name](x)
        return x


class _BlockA(_Block):  # 35×35, Mixed_5b-5d
    HEADS: ClassVar = ["1x1", "5x5_1", "3x3dbl_1", "_pool"]

    def forward(self, x: Tensor) -> Tensor:
        one, five, three, pooled = self.heads(x)
        return torch.cat([one, self.chain(five, "5x5_2"), self.chain(three, "3x3dbl_2", "3x3dbl_3"), pooled], 1)


class _BlockB(_Block):  # 35×35 → 17×17, Mixed_6a
    HEADS: ClassVar = ["3x3dbl_1"]

    def forward(self, x: Tensor) -> Tensor:
        (double,) = self.heads(x)
        return torch.cat([self.chain(x, "3x3"), self.chain(double, "3x3dbl_2", "3x3dbl_3"), F.max_pool2d(x, 3, 2)], 1)


class _BlockC(_Block):  # 17×17, Mixed_6b-6e
    HEADS: ClassVar = ["1x1", "7x7_1", "7x7dbl_1", "_pool"]

    def forward(self, x: Tensor) -> Tensor:
        one, seven, double, pooled = self.heads(x)
        seven = self.chain(seven, "7x7_2", "7x7_3")
        double = self.chain(double, "7x7dbl_2", "7x7dbl_3", "7x7dbl_4", "7x7dbl_5")
        return torch.cat([one, seven, double, pooled], 1)


class _BlockD(_Block):  # 17×17 → 8×8, Mixed_7a
    HEADS: ClassVar = ["3x3_1", "7x7x3_1"]

    def forward(self, x: Tensor) -> Tensor:
        three, seven = self.heads(x)
        seven = self.chain(seven, "7x7x3_2", "7x7x3_3", "7x7x3_4")
        return torch.cat([self.chain(three, "3x3_2"), seven, F.max_pool2d(x, 3, 2)], 1)


class _BlockE(_Block):  # 8×8, Mixed_7b; its pooling branch averages
    HEADS: ClassVar = ["1x1", "3x3_1", "3x3dbl_1", "_pool"]

    def tail(self, one: Tensor, three: Tensor, double: Tensor, pooled: Tensor) -> Tensor:
        double = self.chain(double, "3x3dbl_2")
        return torch.cat(
            [
                one,
                self.chain(three, "3x3_2a"),
                self.chain(three, "3x3_2b"),
                self.chain(double, "3x3dbl_3a"),
                self.chain(double, "3x3dbl_3b"),
                pooled,
            ],
            1,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(*self.heads(x))


class _LastBlock(_BlockE):  # 8×8, Mixed_7c; its pooling branch takes the maximum, so it cannot share the heads
    HEADS: ClassVar = ["1x1", "3x3_1", "3x3dbl_1"]

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(*self.heads(x), self.chain(F.max_pool2d(x, 3, stride=1, padding=1), "_pool"))


_BLOCKS: dict[str, type[_Block]] = {
    **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d"), _BlockA),
    "Mixed_6a": _BlockB,
    **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), _BlockC),
    "Mixed_7a": _BlockD,
    "Mixed_7b": _BlockE,
    "Mixed_7c": _LastBlock,
}


# ------------------------------------------------------------------------------------------------------- the network
@cache
def _resize_matrix(size: int) -> Tensor:
    """(299, size): TensorFlow 1's bilinear resize along one axis, corners not aligned, pixel centres at integers."""
    # In single precision, as TensorFlow computes it: at a side of 400 the rounding moves a grey value by up to 0.006.
    position = torch.arange(SIZE) * (torch.tensor(float(size)) / SIZE)
    lower = position.floor().long()
    upper = (lower + 1).clamp(max=size - 1)
    fraction = position - lower
    matrix = torch.zeros(SIZE, size)
    rows = torch.arange(SIZE)
    matrix[rows, lower] += 1 - fraction
    matrix[rows, upper] += fraction
    return matrix


def resize(pixels: Tensor) -> Tensor:
    """(N, C, H, W) → (N, C, 299, 299) as the published Inception graph resizes: bilinear, without antialiasing."""
    if pixels.shape[2:] == (SIZE, SIZE):
        return pixels
    rows, columns = (_resize_matrix(side).to(pixels.device) for side in pixels.shape[2:])
    return rows @ (pixels @ columns.T)


class Inception(Extractor):
    """FID features (2048) of images; class probabilities (1008) where the weights carry the classifier.

    state: names of torch-fidelity's file; `fc.weight` may be missing, the probabilities are None then. They are the
    softmax of the logits without bias, as the inception score takes them.
    """

    human: ClassVar[str] = "Inception-v3 (FID, 2015-12-05)"

    def __init__(self, state: dict[str, Tensor], source: str, precision: str, device: torch.device):
        super().__init__()
        try:
            layers = {name: _convolution(name, state) for name in inception_layers()}
        except KeyError as error:
            raise InputError(f"{source}: these are no weights of {self.human} (there is no {error})") from error
        self.stem = nn.ModuleList([layer for name, layer in layers.items() if not name.startswith("Mixed")])
        self.blocks = nn.Sequential(
            *(
                block(
                    {full.split(".")[1]: layer for full, layer in layers.items() if full.startswith(name)},
                    block.HEADS,
                    averaged="_pool" in block.HEADS,
                )
                for name, block in _BLOCKS.items()
            )
        )
        freeze(self, precision, device)
        self.dtype = next(self.parameters()).dtype
        classifier = state.get("fc.weight")
        self.register_buffer("classifier", None if classifier is None else classifier.to(device))

    def forward(self, images: Tensor) -> Pooled:
        pixels = (resize(to_pixels(images)) - 128.0) / 128.0
        x = to_rgb(pixels).to(dtype=self.dtype, memory_format=torch.channels_last)
        for number, layer in enumerate(self.stem):
            x = layer(x)
            if number in (2, 4):
                x = F.max_pool2d(x, 3, 2)
        features, squares = pool(self.blocks(x))
        if self.classifier is None:
            return Pooled(features, squares, None)
        return Pooled(features, squares, (features @ self.classifier.T).softmax(1))


def _convolution(name: str, state: dict[str, Tensor]) -> _Convolution:
    norm = {key: state[f"{name}.bn.{key}"] for key in ("weight", "bias", "running_mean", "running_var")}
    weight, bias = fold_batch_norm(state[f"{name}.conv.weight"], norm, _EPSILON)
    stride = 2 if name in _STRIDE_2 else 1
    valid = name in _VALID or stride == 2
    padding = (0, 0) if valid else (weight.shape[2] // 2, weight.shape[3] // 2)
    return _Convolution(weight, bias, stride, padding)


def load(weights: str | None, input_size: int | None, precision: str, device: torch.device) -> Inception:
    """The extractor, with the weights of the file `weights` or, where None, of an installed package.

    input_size must be None: the FID protocol resizes everything to 299×299.
    """
    if input_size is not None:
        raise InputError(
            f"setting input_size is {input_size}; the extractor inception always works at 299: set it to null"
        )
    return Inception(*weight_files.load("inception", weights), precision=precision, device=device)

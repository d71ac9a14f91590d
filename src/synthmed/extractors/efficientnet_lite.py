"""EfficientNet-Lite0 as a feature extractor.

Tan and Le 2019 (arXiv:1905.11946), table 1, in the Lite variant of TensorFlow (tensorflow/tpu, 2020): ReLU6 instead of
swish, no squeeze and excitation, stem and head not scaled. Strided convolutions pad as TensorFlow's SAME does.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthmed.core.errors import InputError
from synthmed.extractors.extractor import Extractor, Pooled, fold_batch_norm, freeze, pool, to_pixels, to_rgb
from synthmed.training.images import resized
from synthmed.weights import read as weight_files

STAGES = (
    # repeats, kernel, stride of the first block, expansion, input channels, output channels
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
"""The seven stages of inverted bottlenecks of table 1."""

SIZE = 224
"""Side length of the input the weights were trained for, in pixels."""

_EPSILON = 1e-3  # of every BatchNorm in this network


class _Convolution(nn.Module):
    """Convolution with SAME padding and a folded BatchNorm."""

    def __init__(self, state: dict[str, Tensor], convolution: str, norm: str, stride: int):
        super().__init__()
        values = {key: state[f"{norm}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")}
        weight, bias = fold_batch_norm(state[f"{convolution}.weight"], values, _EPSILON)
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.weight.shape[2]
        # SAME: the output has ceil(side / stride) pixels; of an odd padding the larger part is at the end.
        (top, bottom), (left, right) = (_same(side, kernel, self.stride) for side in x.shape[2:])
        groups = x.shape[1] // self.weight.shape[1]
        x = F.pad(x, (left, right, top, bottom))
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=groups)


def _same(side: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


class _Bottleneck(nn.Module):
    def __init__(self, state: dict[str, Tensor], name: str, stride: int, expansion: int, skip: bool):
        super().__init__()
        self.expand = _Convolution(state, f"{name}._expand_conv", f"{name}._bn0", 1) if expansion > 1 else None
        self.depthwise = _Convolution(state, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        self.project = _Convolution(state, f"{name}._project_conv", f"{name}._bn2", 1)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.expand is None else F.relu6(self.expand(x))
        inner = self.project(F.relu6(self.depthwise(inner)))
        return x + inner if self.skip else inner


class EfficientNetLite0(Extractor):
    """1280 features and the probabilities of ImageNet's 1000 classes.

    Images are brought to input_size² (bilinear, antialiased); None means 224, the size of the weights' training.
    """

    human: ClassVar[str] = "EfficientNet-Lite0 (ImageNet)"

    def __init__(
        self, state: dict[str, Tensor], source: str, input_size: int | None, precision: str, device: torch.device
    ):
        super().__init__()
        self.input_size = SIZE if input_size is None else input_size
        if self.input_size < 32:
            raise InputError(f"setting input_size is {input_size}; the extractor efficientnet_lite0 needs at least 32")
        blocks: list[nn.Module] = []
        try:
            self.stem = _Convolution(state, "_conv_stem", "_bn0", 2)
            for repeats, _kernel, first_stride, expansion, inputs, outputs in STAGES:
                for number in range(repeats):
                    stride = first_stride if number == 0 else 1
                    skip = number > 0 or (stride == 1 and inputs == outputs)
                    blocks.append(_Bottleneck(state, f"_blocks.{len(blocks)}", stride, expansion, skip))
            self.head = _Convolution(state, "_conv_head", "_bn1", 1)
            classifier, bias = state["_fc.weight"], state["_fc.bias"]
        except KeyError as error:
            raise InputError(f"{source}: these are no weights of {self.human} (there is no {error})") from error
        self.blocks = nn.Sequential(*blocks)
        freeze(self, precision, device)
        self.dtype = self.stem.weight.dtype
        self.register_buffer("classifier", classifier.to(device))
        self.register_buffer("classifier_bias", bias.to(device))

    def forward(self, images: Tensor) -> Pooled:
        pixels = to_pixels(images)
        pixels = resized(pixels, (self.input_size, self.input_size))
        # TensorFlow's Lite models take (pixel - 127) / 128.
        x = ((to_rgb(pixels) - 127.0) / 128.0).to(dtype=self.dtype, memory_format=torch.channels_last)
        x = F.relu6(self.head(self.blocks(F.relu6(self.stem(x)))))
        features, squares = pool(x)
        logits = features @ self.classifier.T + self.classifier_bias
        return Pooled(features, squares, logits.softmax(1))


def load(weights: str | None, input_size: int | None, precision: str, device: torch.device) -> EfficientNetLite0:
    """The extractor, with the weights of the file `weights` or, where None, of an installed package."""
    return EfficientNetLite0(
        *weight_files.load("efficientnet_lite0", weights), input_size=input_size, precision=precision, device=device
    )

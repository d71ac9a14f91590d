"""The convolutions of VGG16 as a feature extractor.

The map that is pooled is the one after the fifth max-pooling, what Keras calls VGG16 with `include_top=False`.
"""

from typing import ClassVar

import torch
from torch import Tensor

from synthmed.core.errors import InputError
from synthmed.extractors.extractor import Extractor, Pooled, freeze, load_strictly, pool, to_pixels, to_rgb
from synthmed.networks.vgg16 import convolutions
from synthmed.training.images import resized
from synthmed.weights import read as weight_files

SMALLEST = 32
"""Side of the smallest input in pixels: five poolings leave one pixel of it."""

_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, per colour, images in [0, 1]
_DEVIATION = (0.229, 0.224, 0.225)


class VGG16(Extractor):
    """512 features: the pooled map of block 5.

    input_size: images are brought to this side (bilinear, antialiased); None keeps their own.

    state: names of torchvision (`features.0.weight`, …).
    """

    human: ClassVar[str] = "VGG16 (ImageNet)"

    def __init__(
        self, state: dict[str, Tensor], source: str, input_size: int | None, precision: str, device: torch.device
    ):
        super().__init__()
        if input_size is not None and input_size < SMALLEST:
            raise InputError(f"setting input_size is {input_size}; the extractor vgg16 needs at least {SMALLEST}")
        self.features = convolutions()
        load_strictly(self, state, self.human, source)
        freeze(self, precision, device)
        self.input_size = input_size
        self.dtype = self.features[0].weight.dtype
        self.register_buffer("mean", torch.tensor(_MEAN, device=device).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer(
            "deviation", torch.tensor(_DEVIATION, device=device).view(1, 3, 1, 1) * 255, persistent=False
        )

    def forward(self, images: Tensor) -> Pooled:
        pixels = to_pixels(images)
        if self.input_size is not None:
            pixels = resized(pixels, (self.input_size, self.input_size))
        if min(pixels.shape[2:]) < SMALLEST:
            height, width = pixels.shape[2:]
            raise InputError(
                f"images of {height} × {width} pixels are too small for vgg16; set input_size to {SMALLEST}"
            )
        x = (to_rgb(pixels) - self.mean) / self.deviation
        return Pooled(*pool(self.features(x.to(dtype=self.dtype, memory_format=torch.channels_last))), None)


def load(weights: str | None, input_size: int | None, precision: str, device: torch.device) -> VGG16:
    """The extractor, with the weights of the file `weights` or, where None, of an installed package."""
    return VGG16(*weight_files.load("vgg16", weights), input_size=input_size, precision=precision, device=device)

"""The convolutions of VGG16 (Simonyan and Zisserman 2014, arXiv:1409.1556, configuration D)."""

from torch import nn

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Filters of the 3×3 convolutions of each stage; a 2×2 max pooling ends each stage."""


def convolutions() -> nn.Sequential:
    """The 13 convolutions with ReLU and the five poolings, numbered as in torchvision's `vgg16().features`."""
    layers: list[nn.Module] = []
    channels = 3
    for stage in STAGES:
        for filters in stage:
            layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
            channels = filters
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)

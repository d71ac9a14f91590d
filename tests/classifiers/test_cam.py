"""Grad-CAM against its definition, written out for a network of two layers."""

import pytest
import torch
from torch import nn

from synthmed.classifiers.cam import grad_cam


class Toy(nn.Module):
    """Channels x and −x (2×2 average-pooled), each averaged over the image and weighted: the gradients are known."""

    def __init__(self, weights):
        super().__init__()
        self.pool = nn.AvgPool2d(2)
        self.convolution = nn.Conv2d(1, 2, 1, bias=False)
        self.convolution.weight.data = torch.tensor([[[[1.0]]], [[[-1.0]]]])
        self.weights = torch.tensor(weights)

    def forward(self, images):
        return self.convolution(self.pool(images)).mean((2, 3)) @ self.weights.T


def test_maps_equal_the_definition():
    model = Toy([[3.0, 1.0], [0.0, 2.0]]).eval().requires_grad_(False)
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    small = nn.functional.avg_pool2d(images, 2)[:, 0]
    # The gradient of a mean over 4×4 pixels is 1/16; the weights of the channels x and −x of output 0 are 3 and 1.
    for target, expected in ((0, (3 * small - 1 * small) / 16), (1, (-2 * small) / 16)):
        maps = grad_cam(model, model.convolution, images, target)
        assert maps.shape == (3, 8, 8)
        enlarged = nn.functional.interpolate(expected.relu()[:, None], (8, 8), mode="bilinear", align_corners=False)[
            :, 0
        ]
        assert torch.allclose(maps, enlarged, atol=1e-7)
        assert maps.min() == 0


def test_a_map_of_zeros_where_nothing_speaks_for_the_target():
    model = Toy([[1.0, 0.0]]).eval()
    assert not grad_cam(model, model.convolution, -torch.ones(1, 1, 4, 4), 0).any()


class Curved(nn.Module):
    """A layer whose gradients differ from place to place."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 3, 3, padding=1)
        self.head = nn.Linear(3 * 16, 2)
        for parameter in self.parameters():
            parameter.data = torch.linspace(-3, 4, parameter.numel()).sin().view(parameter.shape)

    def forward(self, images):
        return self.head(self.convolution(images).tanh().flatten(1))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (0, [[0, 0, 0, 0], [0, 0, 0, 0], [0.014329, 0.160119, 0.263206, 0.135059], [0.036344, 0, 0, 0]]),
        (
            1,
            [
                [0.265835, 0.689740, 1.101220, 0.859320],
                [0.550434, 0.673645, 0.694491, 0.530940],
                [0.070746, 0, 0, 0],
                [0.161916, 0.510245, 0.838158, 0.665426],
            ],
        ),
    ],
)
def test_maps_equal_those_of_captum(target, expected):
    """Numbers of captum 0.9.0, LayerGradCam(model, layer).attribute(images, target, relu_attributions=True)."""
    model = Curved().eval().requires_grad_(False)
    images = torch.linspace(-5, 5, 16).cos().view(1, 1, 4, 4)
    maps = grad_cam(model, model.convolution, images, target)
    assert torch.allclose(maps[0], torch.tensor(expected), atol=2e-6)
    assert not maps.requires_grad

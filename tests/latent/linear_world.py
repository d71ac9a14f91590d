"""A generator and a classifier whose axes are known: brightness of two quarters of the image, linear in z.

Disease left: quarter 0 is brighter than usual, along LEFT; disease right: quarter 1, along RIGHT, at 60° to it. Disease
never is not made by the generator. Everything else in z moves the two other quarters, which no disease depends on.
"""

import numpy as np
import torch
from torch import Tensor, nn

from synthmed.classifiers.network import Classifier

D = 12
LEFT = np.eye(D)[0]
RIGHT = 0.5 * np.eye(D)[0] + np.sqrt(0.75) * np.eye(D)[1]
TARGETS = ("normal", "left", "right", "never")
GAIN = 0.2
"""Brightness, in [-1, 1], that one standard deviation along an axis adds to its quarter."""


class ToyGAN(nn.Module):
    """z (N, D) → (N, 1, 8, 8); w is three times z."""

    latent_size = D
    image_shape = (1, 8, 8)
    spaces = ("z", "w")

    def __init__(self):
        super().__init__()
        directions = np.stack([LEFT, RIGHT, np.eye(D)[2], np.eye(D)[3]])
        self.directions = nn.Parameter(torch.tensor(directions, dtype=torch.float32), requires_grad=False)
        self.calls: list[int] = []

    @property
    def device(self) -> torch.device:
        return self.directions.device

    def first_weights(self, space: str) -> Tensor:
        return self.directions

    def w_of(self, z: Tensor) -> Tensor:
        return 3 * z

    def synthesise_w(self, w: Tensor) -> Tensor:
        return self.synthesise(w / 3)

    def synthesise(self, z: Tensor) -> Tensor:
        self.calls.append(len(z))
        quarters = (GAIN * z @ self.directions.T).view(-1, 1, 2, 2)
        return quarters.repeat_interleave(4, 2).repeat_interleave(4, 3).clamp(-1, 1)


class ToyNetwork(nn.Module):
    """(N, 1, 8, 8) → logits of TARGETS: a disease is likely from one standard deviation of its quarter on."""

    def __init__(self, sharpness: float):
        super().__init__()
        self.last_convolution = nn.Conv2d(1, 1, 4, 4, bias=False)
        nn.init.constant_(self.last_convolution.weight, 1 / (16 * GAIN))
        self.sharpness = sharpness

    def forward(self, images: Tensor) -> Tensor:
        quarters = self.last_convolution(images).flatten(1)
        left, right = quarters[:, 0], quarters[:, 1]
        normal = 0.7 - torch.maximum(left, right)
        return self.sharpness * torch.stack([normal, left - 1, right - 1, -1 - 0 * left], dim=1)


def toy_classifier() -> Classifier:
    models = [ToyNetwork(12.0).eval(), ToyNetwork(14.0).eval()]
    return Classifier("toy", TARGETS, (1, 8, 8), np.full((2, len(TARGETS)), 0.5), models)


def in_the_linear_world(monkeypatch, folder) -> ToyGAN:
    """Let the steps load the toys whatever files they are given; writes the two files into `folder`."""
    gan = ToyGAN()
    for module in ("samples", "paths", "editing", "edit_set"):
        monkeypatch.setattr(f"synthmed.latent.{module}.restore", lambda path, model, device, label=None: gan)
    monkeypatch.setattr("synthmed.classifiers.network.load", lambda path: toy_classifier())
    (folder / "generator.pt").write_bytes(b"generator")
    (folder / "classifier.pt").write_bytes(b"classifier")
    return gan

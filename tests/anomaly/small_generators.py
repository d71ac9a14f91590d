"""Small generators for the tests of the search: one linear in z, whose optimum is known, and real ones untrained."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from synthmed import generators
from synthmed.core.settings import parse
from synthmed.data.imageset import write_image_set
from synthmed.training import checkpoint as checkpoints

SHAPE = (1, 16, 16)
DCGAN = {
    "latent_size": 8,
    "generator_channels": [8, 4],
    "discriminator_channels": [4, 8],
    "kernel_size": 4,
    "learning_rate": 2.0e-4,
    "beta1": 0.5,
    "dropout": 0.0,
    "ema_decay": 0.99,
}
PGGAN = {
    "latent_size": 8,
    "fmap_base": 32,
    "fmap_max": 8,
    "stable_kimg": 0.004,
    "fade_kimg": 0.008,
    "batch_limits": {},
    "minibatch_group": 2,
    "gradient_penalty": 10.0,
    "drift": 0.001,
    "learning_rate": 1.0e-3,
    "ema_decay": 0.99,
    "gradient_checkpointing": False,
}


class LinearGenerator(nn.Module):
    """z (N, 3) → images (N, 1, 4, 4), linear; `rows` notes how many z every call had."""

    latent_size, image_shape = 3, (1, 4, 4)

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 3, generator=torch.Generator().manual_seed(1)) / 4, False)
        self.rows: list[int] = []

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", enabled=False)

    def synthesise(self, z: Tensor) -> Tensor:
        self.rows.append(len(z))
        return (z @ self.weight.T).view(-1, 1, 4, 4)

    def discriminator_features(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :2] * 3


def write_generator(path: Path, model: str = "dcgan") -> Path:
    """A checkpoint of an untrained generator of 16 × 16 pixels, whose images differ much with z."""
    torch.manual_seed(3)
    config = {"dcgan": DCGAN, "pggan": PGGAN}[model]
    model_class = generators.load(model)
    made = model_class(parse(model_class.Config, config), SHAPE, ("normal",))
    if model == "dcgan":
        for parameter in made.generator_ema.parameters():
            parameter.data.mul_(6)
    else:
        made.images_seen = 10**6
    content = checkpoints.Checkpoint(model, config, SHAPE, ("normal",), 1, made.inference_state())
    checkpoints.save(path, content)
    return path


def write_images(path: Path, pixels: np.ndarray, labels: list[str], **columns: list[str]) -> Path:
    """An image set of pixels uint8 (N, H, W, 1), named i000.png, …"""
    write_image_set(
        path,
        (
            (
                {"image": f"{path.stem}{number:03d}.png", "label": label, "patient": f"{path.stem}-p{number}"}
                | {name: values[number] for name, values in columns.items()},
                pixels[number],
            )
            for number, label in enumerate(labels)
        ),
    )
    return path

"""DCGAN: Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative
adversarial networks", ICLR 2016 (arXiv:1511.06434), section 3 and figure 1; loss: Goodfellow et al. 2014, section 3,
the non-saturating form.

Unconditional: one training per class. The paper draws z uniformly; here it is standard normal, as is usual since.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from synthmed.core.errors import InputError
from synthmed.core.settings import Count
from synthmed.generators.base import EmaDecay, Generator
from synthmed.training.images import Batch
from synthmed.training.optimizer import Adam


@dataclass(frozen=True)
class Config:
    """Settings of DCGAN."""

    latent_size: Annotated[Count, Meta(description="Length of the noise vector z, in numbers (paper 100).")]
    generator_channels: Annotated[
        tuple[Count, ...],
        Meta(
            min_length=1,
            description="Feature maps of the generator at 4, 8, 16, … pixels, in maps. One entry for each "
            "resolution below the image's (64 px in the paper: 1024, 512, 256, 128); with one more "
            "entry a last convolution at full resolution makes the image (128 px masks in the thesis: "
            "512, 256, 128, 64, 32, 16).",
        ),
    ]
    discriminator_channels: Annotated[
        tuple[Count, ...],
        Meta(
            min_length=1,
            description="Feature maps of the discriminator's convolutions, in maps; each convolution halves the image.",
        ),
    ]
    kernel_size: Annotated[
        int,
        Meta(
            ge=3,
            description="Side of all convolution kernels, in pixels (4 is common, the paper and the thesis use 5).",
        ),
    ]
    learning_rate: Annotated[
        float, Meta(gt=0, description="Step size of Adam for both networks, without unit (paper 2.0e-4).")
    ]
    beta1: Annotated[
        float, Meta(ge=0, lt=1, description="Decay of Adam's first moment, a fraction per step (paper 0.5).")
    ]
    dropout: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="Share of activations dropped after each discriminator convolution, as a fraction (paper "
            "0, thesis above 0).",
        ),
    ]
    ema_decay: EmaDecay


class GeneratorNetwork(nn.Module):
    """(N, latent_size) noise → (N, C, S, S) in [-1, 1], S = 4·2^k.

    `channels[i]` are the feature maps at 4·2^i pixels. The projection and every transposed convolution but the last are
    followed by BatchNorm and ReLU; the image comes out of tanh. With k channels the last transposed convolution makes
    the image (the paper); with k + 1 a convolution of stride 1 does (seed 001, section 4.4.2: 512-256-128-64-32-16
    at 128 px, whose last convolution reads 16 maps).
    """

    def __init__(self, latent_size: int, channels: Sequence[int], kernel_size: int, image_channels: int, size: int):
        super().__init__()
        self.first_channels = channels[0]
        padding, output_padding = (kernel_size - 1) // 2, kernel_size % 2
        # BatchNorm follows, so a bias would be cancelled at once.
        self.project = nn.Linear(latent_size, channels[0] * 4 * 4, bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(channels[0]), nn.ReLU(inplace=True)]

        def upsample(inputs: int, outputs: int, bias: bool) -> nn.ConvTranspose2d:
            return nn.ConvTranspose2d(inputs, outputs, kernel_size, 2, padding, output_padding, bias=bias)

        for inputs, outputs in pairwise(channels):
            layers += [upsample(inputs, outputs, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        if 4 * 2 ** (len(channels) - 1) == size:
            side = kernel_size - 1 + kernel_size % 2  # only odd kernels keep the size with equal padding on both sides
            layers.append(nn.Conv2d(channels[-1], image_channels, side, padding=side // 2))
        else:
            layers.append(upsample(channels[-1], image_channels, bias=True))
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(self.project(z).view(len(z), self.first_channels, 4, 4))


class Discriminator(nn.Module):
    """(N, C, S, S) → (N,) logits. Convolutions of stride 2 with LeakyReLU(0.2), BatchNorm except at the first (the
    paper, section 3), dropout after each (the thesis, seed 001 section 4.3.3.1), then one dense unit."""

    def __init__(self, channels: Sequence[int], kernel_size: int, dropout: float, image_channels: int, size: int):
        super().__init__()
        layers: list[nn.Module] = []
        inputs = image_channels
        for number, outputs in enumerate(channels):
            first = number == 0
            layers.append(nn.Conv2d(inputs, outputs, kernel_size, 2, (kernel_size - 1) // 2, bias=first))
            if not first:
                layers.append(nn.BatchNorm2d(outputs))
            layers += [nn.LeakyReLU(0.2, inplace=True), nn.Dropout(dropout)]
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.decide = nn.Linear(inputs * (size >> len(channels)) ** 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.decide(self.layers(images).flatten(1))[:, 0]


def initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02) (the paper, section 4), BatchNorm scales from N(1, 0.02), biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


class Model(Generator):
    """DCGAN with non-saturating loss and Adam. Trained on the images of one class."""

    Config = Config
    needs = frozenset({"noise"})

    def __init__(self, config: Config, image_shape: tuple[int, int, int], classes: tuple[str, ...]):
        super().__init__(config, image_shape, classes)
        image_channels, height, width = image_shape
        self._check(config, height, width)
        self.generator = GeneratorNetwork(
            config.latent_size, config.generator_channels, config.kernel_size, image_channels, height
        )
        self.discriminator = Discriminator(
            config.discriminator_channels, config.kernel_size, config.dropout, image_channels, height
        )
        self.apply(initialise)
        self.generator_ema = self.ema_copy(self.generator)
        self.latent_size = config.latent_size
        betas = (config.beta1, 0.999)
        self.optimizers = {
            name: Adam(network.parameters(), config.learning_rate, betas)
            for name, network in (("generator", self.generator), ("discriminator", self.discriminator))
        }

    @classmethod
    def paper_config(cls, image_shape: tuple[int, int, int]) -> Config:
        size = image_shape[1]
        count = max(size.bit_length() - 3, 1)  # resolutions 4, 8, … below the image's
        # Figure 1 gives the generator; the discriminator is not printed, its mirror with half the maps is usual.
        return Config(
            latent_size=100,
            generator_channels=tuple(128 * 2**i for i in reversed(range(count))),
            discriminator_channels=tuple(64 * 2**i for i in range(count)),
            kernel_size=5,
            learning_rate=2e-4,
            beta1=0.5,
            dropout=0.0,
            ema_decay=0.0,
        )

    @staticmethod
    def _check(config: Config, height: int, width: int) -> None:
        doublings = height.bit_length() - 3  # 4 px → 0, 64 px → 4
        if height != width or height != 4 * 2 ** max(doublings, 0) or doublings < 1:
            raise InputError(f"dcgan needs square images of 8, 16, 32, 64, 128, … pixels, not {height}×{width}")
        count = len(config.generator_channels)
        if count not in (doublings, doublings + 1):
            raise InputError(
                f"setting generator_channels has {count} entries; images of {height} px need {doublings} "
                f"(the last transposed convolution makes the image) or {doublings + 1} (a convolution does)"
            )
        count = len(config.discriminator_channels)
        if not 1 <= count <= doublings + 2:
            raise InputError(
                f"setting discriminator_channels has {count} entries; each halves the image, so images of {height} px "
                f"allow 1 to {doublings + 2}"
            )

    def train_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """One step of the discriminator, then one of the generator. Losses: discriminator_real, discriminator_fake,
        generator (each mean binary cross-entropy, in nats)."""
        # One forward pass of the generator serves both steps: an eighth of the time, for the memory of its activations.
        with self.autocast():
            fakes = [self.generator(self.noise(len(batch.images), self.config.latent_size)) for batch in batches]
        for_discriminator, for_generator = iter(fakes), iter(fakes)

        def discriminator_loss(batch: Batch) -> dict[str, Tensor]:
            return {
                "discriminator_real": F.softplus(-self.discriminator(batch.images).float()).mean(),
                "discriminator_fake": F.softplus(self.discriminator(next(for_discriminator).detach()).float()).mean(),
            }

        def generator_loss(batch: Batch) -> dict[str, Tensor]:
            return {"generator": F.softplus(-self.discriminator(next(for_generator)).float()).mean()}

        losses = self.update(self.optimizers["discriminator"], discriminator_loss, batches)
        losses |= self.update(self.optimizers["generator"], generator_loss, batches)
        self.ema_update(self.generator_ema, self.generator, self.config.ema_decay)
        return losses

    def first_weights(self, space: str) -> Tensor:
        return self.generator_ema.project.weight

    def synthesise(self, z: Tensor) -> Tensor:
        return self.generator_ema(z).float()

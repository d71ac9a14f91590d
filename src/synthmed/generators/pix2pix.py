"""Pix2Pix: Isola, Zhu, Zhou and Efros, "Image-to-image translation with conditional adversarial networks", CVPR 2017
(arXiv:1611.07004), section 3 and appendix 6.1: an image for a mask.

Seed 001, section 4.4.3, puts a perceptual loss in the place of L1 and several discriminators on smaller images; seed
002 puts noise beside the mask and asks whether a discriminator of the whole image is better than one of patches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.core.errors import InputError
from synthmed.core.settings import Count
from synthmed.generators.base import EmaDecay, Generator
from synthmed.networks.blocks import initialise_normal
from synthmed.networks.patchgan import PatchGAN, VanillaDiscriminator
from synthmed.networks.perceptual import Layer, PerceptualLoss
from synthmed.networks.unet import Pix2PixUNet
from synthmed.training.images import Batch
from synthmed.training.optimizer import Adam


@dataclass(frozen=True)
class Config:
    """Settings of Pix2Pix."""

    generator_channels: Annotated[
        tuple[Count, ...],
        Meta(
            min_length=2,
            description="Feature maps of the encoder's convolutions, in maps, each of which halves the image; the "
            "decoder mirrors them (256 px in the paper: 64, 128, 256 and five times 512; the theses' 128 px: one 512 "
            "less).",
        ),
    ]
    inner_norm: Annotated[
        bool,
        Meta(
            description="BatchNorm behind the innermost convolution too, as all documents count it. Where only 1×1 "
            "pixels are left there, it needs batches of several images."
        ),
    ]
    dropout: Annotated[
        float,
        Meta(ge=0, lt=1, description="Share of activations dropped in the decoder's CD blocks, as a fraction (0.5)."),
    ]
    dropout_blocks: Annotated[
        int, Meta(ge=0, description="CD blocks: so many blocks of the decoder, from the inside (paper 3, 128 px 2).")
    ]
    noise: Annotated[
        tuple[Literal["channel", "dropout"], ...],
        Meta(
            description="What makes two images of one mask differ. channel: a map of normal noise beside the mask, "
            "which the discriminator does not see; dropout: that of the CD blocks, when sampling too (the paper). With "
            "neither a mask gives one image."
        ),
    ]
    discriminator: Annotated[
        Literal["patches", "image"],
        Meta(
            description="What the discriminator judges: patches (PatchGAN), or the whole image (the vanilla one of "
            "seed 002)."
        ),
    ]
    discriminator_channels: Annotated[
        tuple[Count, ...],
        Meta(
            min_length=1,
            description="Filters of its 4×4 convolutions, in maps. Patches: with discriminator_last_stride 2 the "
            "receptive field is 10 px for [64], 22 px for [64, 128], 46 px for [64, 128, 256] (seed 001), with 1 it is "
            "70 px for [64, 128, 256, 512] (paper). Image: [64, 128, 256, 256, 256, 256] at 256 px (seed 002).",
        ),
    ]
    discriminator_last_stride: Annotated[
        Literal[1, 2],
        Meta(
            description="Stride of the last of discriminator_channels, in pixels; all before have 2 (paper 1, seed 001 "
            "2). That of the whole image has 2 everywhere."
        ),
    ]
    scales: Annotated[
        int,
        Meta(
            ge=1,
            le=3,
            description="Discriminators of this kind, each with weights of its own: the second sees image and mask at "
            "half the size, the third at a quarter; their losses are summed.",
        ),
    ]
    slope: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="Slope of LeakyReLU below zero, in encoder and discriminator (paper 0.2; 0.3 is Keras' own).",
        ),
    ]
    l1_weight: Annotated[
        float,
        Meta(ge=0, description="Weight λ of the mean absolute error against the adversarial loss (paper 100)."),
    ]
    perceptual_layers: Annotated[
        dict[Layer, Annotated[float, Meta(gt=0)]],
        Meta(
            description="Perceptual loss: layer of VGG16 → its weight λp against the adversarial loss (seed 001: "
            "relu1_2 100, relu2_2 200, relu3_3 300, without L1); {} for none."
        ),
    ]
    perceptual_weights: Annotated[
        str | None, Meta(description="File of VGG16's weights for the perceptual loss; null without one.")
    ]
    learning_rate: Annotated[float, Meta(gt=0, description="Step size of Adam for all networks (paper 2.0e-4).")]
    beta1: Annotated[
        float, Meta(ge=0, lt=1, description="Decay of Adam's first moment, a fraction per step (paper 0.5).")
    ]
    ema_decay: EmaDecay


class Discriminators(nn.Module):
    """One to three discriminators of a mask with an image, at the whole, half and a quarter of the size (Wang et al.
    2018, section 3.2, without their feature matching).

    (N, K, H, W) masks and (N, C, H, W) images → the logits of each, a list of (N, …).
    """

    def __init__(self, config: Config, channels: int, size: tuple[int, int]):
        super().__init__()
        self.scales = nn.ModuleList()
        for scale in range(config.scales):
            own = (size[0] >> scale, size[1] >> scale)
            self._check(config, own)
            layers = config.discriminator_channels
            if config.discriminator == "patches":
                stride, slope = config.discriminator_last_stride, config.slope
                self.scales.append(PatchGAN(channels, layers, stride, norm="batch", slope=slope))
            else:
                self.scales.append(VanillaDiscriminator(channels, layers, own, config.slope))

    @staticmethod
    def _check(config: Config, size: tuple[int, int]) -> None:
        count = len(config.discriminator_channels)
        if config.discriminator == "patches":
            # The last convolution takes one pixel, the one before it another where its stride is 1.
            halvings, needed = count + config.discriminator_last_stride - 2, 4 - config.discriminator_last_stride
        else:
            halvings, needed = count, 1
        if min(size) >> halvings < needed:
            raise InputError(
                f"setting discriminator_channels has {count} entries, too many for the {size[0]}×{size[1]} px that the "
                "smallest discriminator sees; take fewer, fewer scales, or larger images"
            )

    def forward(self, masks: Tensor, images: Tensor) -> list[Tensor]:
        seen, logits = torch.cat([masks, images], dim=1), []
        for number, discriminator in enumerate(self.scales):
            seen = F.avg_pool2d(seen, 2) if number else seen
            logits.append(discriminator(seen).float())
        return logits


def loss_of_real(logits: Sequence[Tensor]) -> Tensor:
    """Binary cross-entropy against "real", in nats: mean over patches and images, summed over the discriminators."""
    return torch.stack([F.softplus(-one).mean() for one in logits]).sum()


def loss_of_fake(logits: Sequence[Tensor]) -> Tensor:
    """The same against "fake"."""
    return torch.stack([F.softplus(one).mean() for one in logits]).sum()


class Model(Generator):
    """Pix2Pix: adversarial loss and a distance to the real image of the mask, L1 or perceptual. Samples come from
    running statistics of BatchNorm."""

    Config = Config
    needs = frozenset({"mask", "noise"})

    def __init__(self, config: Config, image_shape: tuple[int, int, int], classes: tuple[str, ...], mask_channels: int):
        super().__init__(config, image_shape, classes, mask_channels)
        channels, height, width = image_shape
        self._check(config, height, width)
        # A tuple keeps the pretrained network out of the module's parameters and out of every checkpoint.
        self._perceptual: tuple[PerceptualLoss, ...] = ()
        if config.perceptual_layers:
            self._perceptual = (PerceptualLoss(config.perceptual_weights, config.perceptual_layers),)
        self.generator = Pix2PixUNet(
            mask_channels + ("channel" in config.noise),
            channels,
            config.generator_channels,
            dropout=config.dropout,
            dropout_blocks=config.dropout_blocks,
            slope=config.slope,
            inner_norm=config.inner_norm,
        )
        self.discriminator = Discriminators(config, mask_channels + channels, (height, width))
        initialise_normal(self)
        self.generator_ema = self.ema_copy(self.generator)
        self.optimizers = {
            name: Adam(network.parameters(), config.learning_rate, (config.beta1, 0.999))
            for name, network in (("generator", self.generator), ("discriminator", self.discriminator))
        }

    @classmethod
    def paper_config(cls, image_shape: tuple[int, int, int]) -> Config:
        halvings = max(min(image_shape[1:]).bit_length() - 1, 2)  # down to 1×1
        return Config(
            generator_channels=(64, 128, 256, *[512] * (halvings - 3))[:halvings],
            inner_norm=True,
            dropout=0.5,
            dropout_blocks=max(min(halvings - 5, 3), 0),
            noise=("dropout",),
            discriminator="patches",
            discriminator_channels=(64, 128, 256, 512),
            discriminator_last_stride=1,
            scales=1,
            slope=0.2,
            l1_weight=100.0,
            perceptual_layers={},
            perceptual_weights=None,
            learning_rate=2e-4,
            beta1=0.5,
            ema_decay=0.0,
        )

    @staticmethod
    def _check(config: Config, height: int, width: int) -> None:
        multiple = 2 ** len(config.generator_channels)
        if height % multiple or width % multiple:
            raise InputError(
                f"setting generator_channels has {len(config.generator_channels)} entries, so that sides must be "
                f"multiples of {multiple} px, not {height}×{width}; take fewer, or another size"
            )
        if "dropout" in config.noise and not config.dropout * config.dropout_blocks:
            raise InputError(
                "setting noise names dropout, but nothing is dropped: set dropout and dropout_blocks above 0, or "
                "leave it out"
            )
        if bool(config.perceptual_layers) != (config.perceptual_weights is not None):
            raise InputError(
                f"setting perceptual_layers is {dict(config.perceptual_layers)} and perceptual_weights is "
                f"{config.perceptual_weights}; a perceptual loss needs layers and a file of weights, none has neither"
            )

    def batch_size(self, setting: int) -> int:
        """Raises InputError where one image alone would have no statistics in BatchNorm: 1×1 pixels are left."""
        config, side = self.config, max(self.image_shape[1:])
        inner = config.inner_norm and side == 2 ** len(config.generator_channels)
        judged = config.discriminator == "image" and side >> (config.scales - 1 + len(config.discriminator_channels))
        if setting == 1 and (inner or judged == 1):
            raise InputError(
                "setting training.batch_size is 1, but BatchNorm behind the innermost convolution, where 1×1 pixels "
                "are left, needs more images: raise it, set inner_norm to false, or take a smaller network"
            )
        return setting

    def train_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """One step of all discriminators, then one of the generator.

        Losses: discriminator_real, discriminator_fake and adversarial (the paper, equation 1, the generator's in the
        non-saturating form), l1 (equation 3, times l1_weight), perceptual (seed 001, equation 4.11).
        """
        # One forward pass of the generator serves both steps.
        with self.autocast():
            fakes = [self._paint(self.generator, batch.masks, self._noise(batch)) for batch in batches]
        for_discriminator, for_generator = iter(fakes), iter(fakes)

        def discriminator_loss(batch: Batch) -> dict[str, Tensor]:
            fake = next(for_discriminator).detach()
            return {
                "discriminator_real": loss_of_real(self.discriminator(batch.masks, batch.images)),
                "discriminator_fake": loss_of_fake(self.discriminator(batch.masks, fake)),
            }

        def generator_loss(batch: Batch) -> dict[str, Tensor]:
            fake = next(for_generator)
            return {
                "adversarial": loss_of_real(self.discriminator(batch.masks, fake)),
                **self._distances(fake.float(), batch.images),
            }

        losses = self.update(self.optimizers["discriminator"], discriminator_loss, batches)
        losses |= self.update(self.optimizers["generator"], generator_loss, batches)
        self.ema_update(self.generator_ema, self.generator, self.config.ema_decay)
        return losses

    def _noise(self, batch: Batch) -> Tensor | None:
        """The noise channel of a batch in training."""
        return self.noise(len(batch.images), 1, *self.image_shape[1:]) if "channel" in self.config.noise else None

    def _distances(self, fakes: Tensor, images: Tensor) -> Mapping[str, Tensor]:
        """The weighted distances between fakes and the real images of their masks that the settings ask for."""
        found = {}
        if self.config.l1_weight > 0:
            found["l1"] = self.config.l1_weight * F.l1_loss(fakes, images)
        if self._perceptual:
            found["perceptual"] = self._perceptual[0].to(fakes.device)(fakes, images)
        return found

    @staticmethod
    def _paint(
        generator: nn.Module, masks: Tensor, noise: Tensor | None, dropout: torch.Generator | None = None
    ) -> Tensor:
        return torch.tanh(generator(masks if noise is None else torch.cat([masks, noise], dim=1), dropout))

    def paint(self, masks: Tensor, noise: Tensor | None, dropout: torch.Generator | None) -> Tensor:
        """By the EMA generator and running statistics."""
        with self.autocast():
            return self._paint(self.generator_ema, masks, noise, dropout).float()

    @torch.no_grad()
    def sample(self, count: int, label: str, noise: torch.Generator, source: Tensor | None) -> Tensor:
        """Images of the masks `source` (count, K, H, W). The model knows one kind of image, so `label` changes nothing.

        Raises InputError without masks."""
        if source is None or len(source) != count:
            raise InputError(f"pix2pix needs one mask for each of the {count} images to make")
        drawn = None
        if "channel" in self.config.noise:
            drawn = torch.randn(count, 1, *self.image_shape[1:], generator=noise).to(self.device)
        return self.paint(source.to(self.device), drawn, noise if "dropout" in self.config.noise else None)

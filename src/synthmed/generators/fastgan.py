"""FastGAN: Liu, Zhu, Song and Elgammal, "Towards faster and stabilized GAN training for high-fidelity few-shot image
synthesis", ICLR 2021 (arXiv:2101.04775), sections 3.1 and 3.2, figures 3 and 4; seed 001, section 2.5.

Unconditional: one training per class. Works on square images of 32 to 1024 px with any number of channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from synthmed.augment.diffaugment import DiffAugmentPolicy, diff_augment
from synthmed.core.errors import InputError
from synthmed.core.settings import Count
from synthmed.generators.base import EmaDecay, Generator
from synthmed.networks.blocks import GLU, NoiseInjection, SkipLayerExcitation, UpsamplingConvolution, initialise_normal
from synthmed.networks.perceptual import PerceptualDistance
from synthmed.training.images import Batch, reduced
from synthmed.training.optimizer import Adam

GENERATOR_CHANNELS = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 1 / 2, 512: 1 / 4, 1024: 1 / 8}
"""Feature maps of the generator at each resolution, in units of generator_channels (64 in the paper's experiments)."""
SIZES = (32, 64, 128, 256, 512, 1024)
MAP = 16
"""Side of the discriminator's map whose crop the part decoder rebuilds; the whole-image decoder works on half of it."""


@dataclass(frozen=True)
class Config:
    """Settings of FastGAN."""

    latent_size: Annotated[Count, Meta(description="Length of the noise vector z, in numbers (paper 256).")]
    generator_channels: Annotated[
        Count,
        Meta(
            description="Feature maps of the generator at 128 px, in maps; twice as many at 64 px, 16 times at 4 "
            "px (paper 64)."
        ),
    ]
    discriminator_channels: Annotated[
        Count,
        Meta(
            description="Feature maps of the discriminator at 64 px, in maps; they double whenever the side "
            "halves (paper 64)."
        ),
    ]
    spectral_norm: Annotated[
        bool,
        Meta(
            description="Whether the discriminator's convolutions are divided by their spectral norm (Miyato et "
            "al. 2018)."
        ),
    ]
    augmentation: Annotated[
        tuple[DiffAugmentPolicy, ...],
        Meta(
            description="Differentiable augmentations of reals and fakes, in this order (paper all three); an "
            "empty list is none.",
            extra_json_schema={"uniqueItems": True},
        ),
    ]
    reconstruction: Annotated[
        Literal["mse", "perceptual"],
        Meta(
            description="Distance of the discriminator's self-supervised reconstruction; LPIPS on VGG16 (paper), "
            "or mean squared error."
        ),
    ]
    perceptual_weights: Annotated[
        str | None, Meta(description="Path of the VGG16 weights for the perceptual reconstruction; null with mse.")
    ]
    part_size: Annotated[
        Literal[2, 4, 8],
        Meta(
            description="Side of the random crop of the 16×16 map that the part decoder rebuilds, in cells. 2 is "
            "one eighth of the side (paper and thesis); 8, half of the side, is what the authors' "
            "released model does."
        ),
    ]
    learning_rate: Annotated[
        float, Meta(gt=0, description="Step size of Adam for both networks, without unit (paper 2.0e-4).")
    ]
    beta1: Annotated[
        float, Meta(ge=0, lt=1, description="Decay of Adam's first moment, a fraction per step (0.5 as in DCGAN).")
    ]
    ema_decay: EmaDecay


Noise = Callable[[int], Tensor]
"""Side in pixels → standard normal noise (N, 1, side, side), or (1, 1, side, side) for the same in every image."""


def _convolution(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> nn.Conv2d:
    # A norm follows everywhere, which would cancel a bias.
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)


class UpBlock(nn.Module):
    """Nearest-neighbour upsampling × 2, then one or two of: 3×3 convolution, noise injection, BatchNorm, GLU.

    The blocks with two convolutions are the ones with noise (figure 3). (N, inputs, h, w) → (N, outputs, 2h, 2w).
    `convolutions` 1: no noise is drawn.
    """

    def __init__(self, inputs: int, outputs: int, convolutions: int):
        super().__init__()
        further = [_convolution(outputs, 2 * outputs, 3, 1, 1) for _ in range(convolutions - 1)]
        self.convolutions = nn.ModuleList([UpsamplingConvolution(inputs, 2 * outputs), *further])
        self.norms = nn.ModuleList(nn.BatchNorm2d(2 * outputs) for _ in range(convolutions))
        self.injections = nn.ModuleList(NoiseInjection() for _ in range(convolutions if convolutions > 1 else 0))
        self.gate = GLU()

    def forward(self, x: Tensor, noise: Noise) -> Tensor:
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = convolution(x)
            if self.injections:
                x = self.injections[number](x, noise(x.shape[2]).to(x))
            x = self.gate(norm(x))
        return x


def excitation_pairs(size: int) -> dict[int, int]:
    """Which resolution is excited by which: {high: low}.

    The paper's ratio of 16 for every resolution from 64 to 512 px that the image reaches: 4→64, 8→128, 16→256, 32→512.
    An image of 32 px is too small for that and has the one pair 4→32.
    """
    return {high: high // 16 for high in (64, 128, 256, 512) if high <= size} or {32: 4}


class GeneratorNetwork(nn.Module):
    """(N, latent_size) standard normal noise → (N, C, size, size) in [-1, 1] (figure 3).

    A transposed convolution to 4×4, then up-blocks to `size`, every second one with two convolutions and noise;
    skip-layer excitations as in excitation_pairs; 3×3 convolution and tanh.
    """

    def __init__(self, latent_size: int, base_channels: int, image_channels: int, size: int):
        super().__init__()
        channels = {r: max(1, int(factor * base_channels)) for r, factor in GENERATOR_CHANNELS.items() if r <= size}
        self.start = nn.Sequential(
            nn.ConvTranspose2d(latent_size, 2 * channels[4], 4, bias=False),
            nn.BatchNorm2d(2 * channels[4]),
            GLU(),
        )
        resolutions = sorted(channels)
        self.blocks = nn.ModuleDict()
        for number, resolution in enumerate(resolutions[1:]):
            block = UpBlock(channels[resolution // 2], channels[resolution], convolutions=2 if number % 2 == 0 else 1)
            self.blocks[str(resolution)] = block
        self.pairs = excitation_pairs(size)
        self.excitations = nn.ModuleDict(
            {str(high): SkipLayerExcitation(channels[low], channels[high]) for high, low in self.pairs.items()}
        )
        self.to_image = nn.Sequential(nn.Conv2d(channels[size], image_channels, 3, padding=1), nn.Tanh())

    def forward(self, z: Tensor, noise: Noise) -> Tensor:
        """z: (N, latent_size); noise gives the maps that are injected."""
        x = self.start(z[:, :, None, None])
        maps = {4: x}
        for resolution, block in ((int(name), block) for name, block in self.blocks.items()):
            x = block(x, noise)
            if resolution in self.pairs:
                x = self.excitations[str(resolution)](maps[self.pairs[resolution]], x)
            maps[resolution] = x
        return self.to_image(x)


class DownBlock(nn.Module):
    """Halves the map by two paths whose mean is returned: convolutions, and average pooling with a 1×1 convolution
    (the paper's residual down-sampling block, figure 4). (N, inputs, h, w) → (N, outputs, h/2, w/2)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.main = nn.Sequential(
            _convolution(inputs, outputs, 4, 2, 1),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.2, inplace=True),
            _convolution(outputs, outputs, 3, 1, 1),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.2, inplace=True),
        )
        self.direct = nn.Sequential(
            nn.AvgPool2d(2),
            _convolution(inputs, outputs, 1, 1, 0),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.2, inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return (self.main(x) + self.direct(x)) / 2


class Decoder(nn.Module):
    """Simple decoder: up-blocks of nearest × 2, 3×3 convolution, BatchNorm, GLU; then convolution and tanh (figure 4).

    `doublings` is 4 in the paper and less where the image has fewer pixels than that would make.
    """

    def __init__(self, inputs: int, base_channels: int, image_channels: int, doublings: int):
        super().__init__()
        channels = [inputs, *[factor * base_channels for factor in (4, 2, 2, 1)][:doublings]]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [UpsamplingConvolution(before, 2 * after), nn.BatchNorm2d(2 * after), GLU()]
        self.net = nn.Sequential(*layers, nn.Conv2d(channels[-1], image_channels, 3, padding=1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Discriminator(nn.Module):
    """(N, C, size, size) → logits on two scales, and two maps for the decoders (section 3.2, figure 4).

    Large scale: strided convolutions to 256 px where the image is larger, a stem, down-blocks to 8×8, then 5×5 logits.
    Small scale: the image at half its size, at most 128 px, by the same way to its own 5×5 logits.
    Feature maps: 64/r · base_channels at r×r px (512 at 8×8 for base_channels 64).
    """

    def __init__(self, base_channels: int, image_channels: int, size: int, part_size: int):
        super().__init__()
        self.part_size = part_size

        def channels(resolution: int) -> int:
            return max(1, base_channels * 64 // resolution)

        def stem(start: int, halvings: int) -> list[nn.Module]:
            first = channels(start >> halvings)
            if halvings == 0:
                return [_convolution(image_channels, first, 3, 1, 1), nn.LeakyReLU(0.2, inplace=True)]
            layers = [_convolution(image_channels, first, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
            for _ in range(halvings - 1):
                layers += [_convolution(first, first, 4, 2, 1), nn.BatchNorm2d(first), nn.LeakyReLU(0.2, inplace=True)]
            return layers

        def down(start: int, end: int) -> list[nn.Module]:
            resolutions = [start >> k for k in range((start // end).bit_length() - 1)]
            return [DownBlock(channels(resolution), channels(resolution // 2)) for resolution in resolutions]

        def logits() -> nn.Sequential:
            return nn.Sequential(
                _convolution(channels(8), channels(8), 1, 1, 0),
                nn.BatchNorm2d(channels(8)),
                nn.LeakyReLU(0.2, inplace=True),
                nn.Conv2d(channels(8), 1, 4, bias=False),
            )

        halvings = {512: 1, 1024: 2}.get(size, 0)
        self.to_map = nn.Sequential(*stem(size, halvings), *down(size >> halvings, MAP))
        self.to_half_map = DownBlock(channels(MAP), channels(MAP // 2))
        self.logits = logits()
        self.small_size = min(128, size // 2)
        self.small = nn.Sequential(*stem(self.small_size, 0), *down(self.small_size, MAP // 2), logits())

        # 4 doublings in the paper; fewer when the decoder would make more pixels than the image has there.
        part_pixels = part_size * size // MAP
        self.decode_part = Decoder(
            channels(MAP), base_channels, image_channels, min(4, (part_pixels // part_size).bit_length() - 1)
        )
        self.decode_whole = Decoder(
            channels(MAP // 2), base_channels, image_channels, min(4, (size // (MAP // 2)).bit_length() - 1)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns logits (N, 50), the 25 of the large scale first; the map (N, ·, 16, 16); the map (N, ·, 8, 8)."""
        full = self.to_map(images)
        half = self.to_half_map(full)
        small = reduced(images, self.small_size)
        logits = torch.cat([self.logits(half).flatten(1), self.small(small).flatten(1)], dim=1)
        return logits, full, half

    def reconstruct(
        self, images: Tensor, full: Tensor, half: Tensor, row: int, column: int
    ) -> list[tuple[Tensor, Tensor]]:
        """(rebuilt, target) of the part and of the whole, the target scaled to the decoder's size (seed 001, 2.6).

        images: what was encoded, (N, C, size, size); full, half: its maps; row, column: upper left cell of the part in
        the 16×16 map.
        """
        cells, pixels = self.part_size, images.shape[2] // MAP
        crop = full[:, :, row : row + cells, column : column + cells]
        part = images[:, :, row * pixels : (row + cells) * pixels, column * pixels : (column + cells) * pixels]
        rebuilt = (self.decode_part(crop), self.decode_whole(half))
        return [(made, reduced(wanted, made.shape[2])) for made, wanted in zip(rebuilt, (part, images), strict=True)]


def hinge_real(logits: Tensor) -> Tensor:
    """−E[min(0, −1 + D(x))] (seed 001, equation 2.7)."""
    return F.relu(1 - logits.float()).mean()


def hinge_fake(logits: Tensor) -> Tensor:
    """−E[min(0, −1 − D(G(z)))] (seed 001, equation 2.7)."""
    return F.relu(1 + logits.float()).mean()


class Model(Generator):
    """FastGAN: hinge loss, self-supervised discriminator, DiffAugment, EMA. Trained on the images of one class."""

    Config = Config
    needs = frozenset({"noise"})

    def __init__(self, config: Config, image_shape: tuple[int, int, int], classes: tuple[str, ...]):
        super().__init__(config, image_shape, classes)
        channels, height, width = image_shape
        if height != width or height not in SIZES:
            raise InputError(f"fastgan needs square images of {', '.join(map(str, SIZES))} px, not {height}×{width}")
        # A tuple keeps the pretrained network out of the module's parameters and out of every checkpoint.
        self._perceptual: tuple[PerceptualDistance, ...] = ()
        if config.reconstruction == "perceptual":
            self._perceptual = (self._load_perceptual(config, height),)
        self.generator = GeneratorNetwork(config.latent_size, config.generator_channels, channels, height)
        self.discriminator = Discriminator(config.discriminator_channels, channels, height, config.part_size)
        initialise_normal(self)
        if config.spectral_norm:
            for layer in [layer for layer in self.discriminator.modules() if isinstance(layer, nn.Conv2d)]:
                spectral_norm(layer)
        self.generator_ema = self.ema_copy(self.generator)
        self.latent_size = config.latent_size
        self.optimizers = {
            name: Adam(network.parameters(), config.learning_rate, (config.beta1, 0.999))
            for name, network in (("generator", self.generator), ("discriminator", self.discriminator))
        }

    @classmethod
    def paper_config(cls, image_shape: tuple[int, int, int]) -> Config:
        # The paper's reconstruction is perceptual; with no weights file at hand to describe it, mse stands in.
        return Config(
            latent_size=256,
            generator_channels=64,
            discriminator_channels=64,
            spectral_norm=True,
            augmentation=("color", "translation", "cutout"),
            reconstruction="mse",
            perceptual_weights=None,
            part_size=2,
            learning_rate=2e-4,
            beta1=0.5,
            ema_decay=0.999,
        )

    @staticmethod
    def _load_perceptual(config: Config, size: int) -> PerceptualDistance:
        if config.perceptual_weights is None:
            raise InputError(
                "setting perceptual_weights is null but reconstruction is 'perceptual'; give the file of VGG16 weights "
                "or set reconstruction to 'mse'"
            )
        pixels = config.part_size * size // MAP
        if pixels < 16:
            raise InputError(
                f"setting part_size is {config.part_size}, a part of {pixels} px in images of {size} px; the "
                "perceptual distance needs 16 px or more: set a larger part_size or reconstruction to 'mse'"
            )
        return PerceptualDistance(config.perceptual_weights)

    def reconstruction_loss(self, real: Tensor, full: Tensor, half: Tensor) -> Tensor:
        """Distance between real images and what the decoders make of their maps: part and whole, summed. The place of
        the part is drawn once per batch, on whole cells of the 16×16 map."""
        places = MAP - self.config.part_size + 1
        row, column = (int(torch.randint(places, (), generator=self.rng)) for _ in range(2))
        loss = real.new_zeros(())
        for rebuilt, target in self.discriminator.reconstruct(real, full, half, row, column):
            if self._perceptual:
                loss = loss + self._perceptual[0].to(real.device)(rebuilt, target)
            else:
                loss = loss + F.mse_loss(rebuilt.float(), target)
        return loss

    def train_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """One step of the generator, then one of the discriminator on the same fakes (so each is made once).

        Losses: generator (seed 001, equation 2.8), discriminator_real, discriminator_fake (2.7), reconstruction (2.6).
        """
        policy = self.config.augmentation
        fakes: list[Tensor] = []

        def generator_loss(batch: Batch) -> dict[str, Tensor]:
            count = len(batch.images)
            fake = self.generator(
                self.noise(count, self.config.latent_size), lambda side: self.noise(count, 1, side, side)
            )
            fakes.append(fake.detach().float())
            logits, _, _ = self.discriminator(diff_augment(fake.float(), policy, self.rng))
            return {"generator": -logits.float().mean()}

        losses = self.update(self.optimizers["generator"], generator_loss, batches)
        self.ema_update(self.generator_ema, self.generator, self.config.ema_decay)
        remaining = iter(fakes)

        def discriminator_loss(batch: Batch) -> dict[str, Tensor]:
            real = diff_augment(batch.images, policy, self.rng)
            on_real, full, half = self.discriminator(real)
            on_fake, _, _ = self.discriminator(diff_augment(next(remaining), policy, self.rng))
            return {
                "discriminator_real": hinge_real(on_real),
                "discriminator_fake": hinge_fake(on_fake),
                "reconstruction": self.reconstruction_loss(real, full, half),
            }

        return losses | self.update(self.optimizers["discriminator"], discriminator_loss, batches)

    def first_weights(self, space: str) -> Tensor:
        return self.generator_ema.start[0].weight.flatten(1).T

    def synthesise(self, z: Tensor) -> Tensor:
        """The injected noise is always the same, so that an image depends on z alone; sample() draws it afresh."""
        fixed = torch.Generator().manual_seed(0)
        with self.autocast():
            return self.generator_ema(z, lambda side: torch.randn(1, 1, side, side, generator=fixed)).float()

    @torch.no_grad()
    def sample(self, count: int, label: str, noise: torch.Generator, source: Tensor | None) -> Tensor:
        """`count` images of the moving-average generator: (count, C, H, W) in [-1, 1]. The model knows one kind of
        image, so `label` changes nothing."""
        z = torch.randn(count, self.config.latent_size, generator=noise).to(self.device)
        with self.autocast():
            return self.generator_ema(z, lambda side: torch.randn(count, 1, side, side, generator=noise)).float()

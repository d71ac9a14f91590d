"""EDM: Karras, Aittala, Aila and Laine, "Elucidating the design space of diffusion-based generative models", NeurIPS
2022 (arXiv:2206.00364): preconditioning, loss and noise levels of table 1 ("Ours"), the sampler of algorithm 1.

A diffusion model beside the GANs: a network takes noise off an image, and samples begin as noise. The U-Net is of the
kind of Dhariwal and Nichol 2021 (arXiv:2105.05233), of moderate size; the numbers of its layers are ours. One training
of several classes is conditional. Channels of masks lie behind its images, as other generators draw them, or with
`mask` are given: then it paints images for them, the network seeing them beside the noisy image.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.core.errors import InputError
from synthmed.core.settings import Count
from synthmed.generators.base import EmaDecay, Generator
from synthmed.training.images import Batch
from synthmed.training.optimizer import Adam

GROUPS = 8
"""Most groups of a group norm; its channels are a multiple of it or fewer."""


@dataclass(frozen=True)
class Config:
    """Settings of EDM."""

    channels: Annotated[
        tuple[Annotated[int, Meta(ge=4, multiple_of=4)], ...],
        Meta(
            min_length=1,
            description="Feature maps at full, half … size of the grid of patches, in maps (Dhariwal and Nichol "
            "at 64 px: 192, 384, 576, 768).",
        ),
    ]
    patch: Annotated[
        Count,
        Meta(
            description="Side of the squares of pixels that the network takes as channels of one place, in pixels "
            "(paper 1). 2 takes a quarter of the time."
        ),
    ]
    mask: Annotated[bool, Meta(description="Whether images are painted for given masks.")]
    blocks: Annotated[Count, Meta(description="Residual blocks of each size, in encoder and decoder.")]
    attention_sides: Annotated[
        tuple[Count, ...], Meta(description="Sides of the feature maps that attend to themselves, in pixels ([16, 8]).")
    ]
    dropout: Annotated[
        float, Meta(ge=0, lt=1, description="Share of activations dropped in each block, as a fraction (0.13, 0.1).")
    ]
    sigma_data: Annotated[
        float, Meta(gt=0, description="Standard deviation of the pixels of images in [-1, 1] (paper 0.5).")
    ]
    noise_mean: Annotated[float, Meta(description="Mean of ln σ in training, of σ in units of pixels (paper -1.2).")]
    noise_deviation: Annotated[
        float, Meta(gt=0, description="Standard deviation of ln σ in training, without unit (paper 1.2).")
    ]
    sigma_min: Annotated[float, Meta(gt=0, description="Lowest noise of the sampler but 0, in pixels (paper 0.002).")]
    sigma_max: Annotated[float, Meta(gt=0, description="Noise that samples begin with, in pixels (paper 80).")]
    rho: Annotated[float, Meta(gt=0, description="How the noise levels crowd at the low end, without unit (paper 7).")]
    sampling_steps: Annotated[
        int, Meta(ge=2, description="Noise levels of the sampler, each but the last two network passes (paper 18, 40).")
    ]
    learning_rate: Annotated[float, Meta(gt=0, description="Step size of Adam (paper 2.0e-4 to 1.0e-3).")]
    ema_decay: EmaDecay

    def __post_init__(self) -> None:
        if self.sigma_min >= self.sigma_max:
            raise InputError(f"setting sigma_min is {self.sigma_min}, not below sigma_max, {self.sigma_max}")


def normed(channels: int) -> nn.GroupNorm:
    """Group norm of (N, channels, H, W), in so many groups as divide GROUPS and the channels."""
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels, eps=1e-5)


class Attention(nn.Module):
    """x + what each place takes from all others (one head): (N, C, H, W) → the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = normed(channels)
        self.project = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        asked, known, given = self.project(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=2)
        taken = F.scaled_dot_product_attention(asked, known, given)
        return x + self.out(taken.transpose(1, 2).reshape(x.shape))


class Block(nn.Module):
    """Two convolutions beside a shortcut; the embedding scales and shifts between them: (N, C, H, W), (N, E)."""

    def __init__(self, inputs: int, outputs: int, embedding: int, dropout: float, attention: bool):
        super().__init__()
        self.first_norm, self.first = normed(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.embed = nn.Linear(embedding, 2 * outputs)
        self.second_norm, self.second = normed(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attention = Attention(outputs) if attention else nn.Identity()
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        inside = self.first(F.silu(self.first_norm(x)))
        scale, shift = self.embed(embedding)[:, :, None, None].chunk(2, dim=1)
        inside = F.silu(self.second_norm(inside) * (1 + scale) + shift)
        return self.attention(self.shortcut(x) + self.second(self.dropout(inside)))


class Network(nn.Module):
    """F of equation 7: images (N, C, H, W), c_noise (N,), labels (N, K) one-hot or None and masks (N, M, H, W) or None
    → (N, C, H, W).

    A U-Net, and beside it one linear layer whose outputs the noise level scales (ours). Where images have nothing, at
    the finest frequencies, D must be 0, and so F −σ_data/σ times what it is given: the norms of a U-Net, which take the
    size of things away, learn that late, and its samples are grainy for as long.
    """

    def __init__(self, config: Config, image_channels: int, size: tuple[int, int], labels: int, mask_channels: int):
        super().__init__()
        channels, width = config.channels, 4 * config.channels[0]
        self.patch, self.frequencies = config.patch, config.channels[0] // 2
        size = tuple(side // config.patch for side in size)
        given, image_channels = ((image_channels + mask_channels) * config.patch**2, image_channels * config.patch**2)
        self.embed = nn.Sequential(nn.Linear(2 * self.frequencies, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Linear(labels, width, bias=False) if labels else None
        self.first = nn.Conv2d(given, channels[0], 3, padding=1)

        def block(inputs: int, outputs: int, level: int) -> Block:
            attention = min(size) >> level in config.attention_sides
            return Block(inputs, outputs, width, config.dropout, attention)

        self.down, self.up, kept, current = nn.ModuleList(), nn.ModuleList(), [channels[0]], channels[0]
        for level, outputs in enumerate(channels):
            blocks = nn.ModuleList()
            for _ in range(config.blocks):
                blocks.append(block(current, outputs, level))
                current = outputs
                kept.append(current)
            self.down.append(blocks)
        self.middle = block(current, current, len(channels) - 1)
        for level, outputs in reversed(list(enumerate(channels))):
            blocks = nn.ModuleList()
            for _ in range(config.blocks + (level == 0)):
                blocks.append(block(current + kept.pop(), outputs, level))
                current = outputs
            self.up.append(blocks)
        self.norm, self.last = normed(current), nn.Conv2d(current, image_channels, 3, padding=1)
        self.direct, self.scale = nn.Conv2d(given, image_channels, 1, bias=False), nn.Linear(width, image_channels)
        for layer in (self.last, self.direct):
            nn.init.zeros_(layer.weight)

    def forward(self, images: Tensor, noise: Tensor, labels: Tensor | None, masks: Tensor | None) -> Tensor:
        rates = torch.arange(self.frequencies, device=noise.device) / self.frequencies
        angles = noise.float()[:, None] * 10000.0**-rates
        embedding = self.embed(torch.cat([angles.cos(), angles.sin()], dim=1))
        if self.label is not None:
            embedding = embedding + self.label(labels)
        embedding = F.silu(embedding)
        seen = F.pixel_unshuffle(images if masks is None else torch.cat([images, masks], dim=1), self.patch)
        x = self.first(seen)
        kept = [x]
        for level, blocks in enumerate(self.down):
            x = F.avg_pool2d(x, 2) if level else x
            for block in blocks:
                x = block(x, embedding)
                kept.append(x)
        x = self.middle(x, embedding)
        for level, blocks in enumerate(self.up):
            x = F.interpolate(x, scale_factor=2, mode="nearest") if level else x
            for block in blocks:
                x = block(torch.cat([x, kept.pop()], dim=1), embedding)
        direct = self.direct(seen) * (1 + self.scale(embedding)[:, :, None, None])
        return F.pixel_shuffle(self.last(F.silu(self.norm(x))) + direct, self.patch)


def denoised(network: Callable[[Tensor, Tensor], Tensor], images: Tensor, sigma: Tensor, sigma_data: float) -> Tensor:
    """D(x; σ), equation 7 with table 1's c: images (N, C, H, W) with noise of σ (N,) → (N, C, H, W) without it.

    network: of scaled images and ln(σ)/4.
    """
    level = sigma[:, None, None, None]
    total = level.square() + sigma_data**2
    passed = network(images / total.sqrt(), sigma.log() / 4)
    return sigma_data**2 / total * images + level * sigma_data / total.sqrt() * passed.float()


def noise_levels(config: Config) -> Tensor:
    """σ of equation 5, from sigma_max to sigma_min, and 0: (sampling_steps + 1,) float64."""
    share = torch.linspace(0, 1, config.sampling_steps, dtype=torch.float64)
    low, high = config.sigma_min ** (1 / config.rho), config.sigma_max ** (1 / config.rho)
    return torch.cat([(high + share * (low - high)) ** config.rho, torch.zeros(1, dtype=torch.float64)])


def integrate(denoise: Callable[[Tensor, float], Tensor], noise: Tensor, levels: Sequence[float]) -> Tensor:
    """Heun's method along the probability-flow ODE dx/dσ = (x − D(x; σ))/σ (algorithm 1): standard normal `noise`
    (N, C, H, W) → x at the last of `levels`. No noise is added on the way."""
    x = noise * levels[0]
    for now, after in pairwise(levels):
        slope = (x - denoise(x, now)) / now
        moved = x + (after - now) * slope
        if after > 0:
            slope = (slope + (moved - denoise(moved, after)) / after) / 2
            moved = x + (after - now) * slope
        x = moved
    return x


class Model(Generator):
    """EDM with Adam; samples come from the averaged weights. Images are made of normal noise of their own shape, which
    is no latent vector to search in: a pass through the sampler is twice `sampling_steps` of the network."""

    Config = Config
    needs = frozenset({"noise", "label", "mask"})

    def __init__(self, config: Config, image_shape: tuple[int, int, int], classes: tuple[str, ...], mask_channels: int):
        super().__init__(config, image_shape, classes, mask_channels if config.mask else 0)
        channels, height, width = image_shape
        multiple = config.patch * 2 ** (len(config.channels) - 1)
        if height % multiple or width % multiple:
            raise InputError(
                f"setting channels has {len(config.channels)} entries and patch is {config.patch}, so that sides must "
                f"be multiples of {multiple} px, not {height}×{width}; take fewer, or another size"
            )
        labels = len(classes) if len(classes) > 1 else 0
        self.generator = Network(config, channels, (height, width), labels, self.mask_channels)
        self.generator_ema = self.ema_copy(self.generator)
        self.optimizers = {"generator": Adam(self.generator.parameters(), config.learning_rate)}

    @classmethod
    def paper_config(cls, image_shape: tuple[int, int, int]) -> Config:
        levels = max(min(min(image_shape[1:]).bit_length() - 3, 4), 1)  # down to 8 px
        # Table 7, ImageNet-64: 192 channels times 1, 2, 3, 4, three blocks a size, attention at 32, 16 and 8 px.
        return Config(
            channels=(192, 384, 576, 768)[:levels],
            patch=1,
            mask=False,
            blocks=3,
            attention_sides=(32, 16, 8),
            dropout=0.1,
            sigma_data=0.5,
            noise_mean=-1.2,
            noise_deviation=1.2,
            sigma_min=0.002,
            sigma_max=80.0,
            rho=7.0,
            sampling_steps=40,
            learning_rate=1e-4,
            ema_decay=0.9999,
        )

    def train_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """One step. Loss: denoising, E λ(σ) ‖D(y + n; σ) − y‖², mean over pixels (equation 2 and table 1)."""
        config = self.config

        def loss(batch: Batch) -> dict[str, Tensor]:
            sigma = (config.noise_mean + config.noise_deviation * self.noise(len(batch.images))).exp()
            added = sigma[:, None, None, None] * self.noise(len(batch.images), *self.image_shape)
            labels = self._one_hot(batch.labels)
            found = denoised(
                lambda x, noise: self.generator(x, noise, labels, batch.masks),
                batch.images + added,
                sigma,
                config.sigma_data,
            )
            weight = (sigma.square() + config.sigma_data**2) / (sigma * config.sigma_data).square()
            return {"denoising": (weight * (found - batch.images).square().mean(dim=(1, 2, 3))).mean()}

        losses = self.update(self.optimizers["generator"], loss, batches)
        self.ema_update(self.generator_ema, self.generator, config.ema_decay)
        return losses

    def _one_hot(self, labels: Tensor) -> Tensor | None:
        return F.one_hot(labels, len(self.classes)).float() if len(self.classes) > 1 else None

    @torch.no_grad()
    def sample(self, count: int, label: str, noise: torch.Generator, source: Tensor | None) -> Tensor:
        if label not in self.classes:
            raise InputError(f"the label is {label!r}; this generator was trained on {list(self.classes)}: say one")
        if self.config.mask and (source is None or len(source) != count):
            raise InputError(f"edm paints masks (setting mask), and needs one for each of the {count} images to make")
        drawn = torch.randn(count, *self.image_shape, generator=noise).to(self.device)
        labels = self._one_hot(torch.full((count,), self.classes.index(label), device=self.device))

        def denoise(x: Tensor, sigma: float) -> Tensor:
            level = torch.full((count,), sigma, device=self.device)
            with self.autocast():
                return denoised(lambda y, c: self.generator_ema(y, c, labels, source), x, level, self.config.sigma_data)

        return integrate(denoise, drawn, noise_levels(self.config).tolist()).clamp(-1, 1)

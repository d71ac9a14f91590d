"""PGGAN: Karras, Aila, Laine and Lehtinen, "Progressive growing of GANs for improved quality, stability, and
variation", ICLR 2018 (arXiv:1710.10196), sections 2 to 4, appendix A and table 2; loss: WGAN-GP, Gulrajani et al. 2017.

Unconditional. Both networks begin at 4×4 pixels and grow with the number of real images that the discriminator has
seen: each doubling is faded in and then trained as it is. How far they are is state of the model.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.core.errors import InputError
from synthmed.core.settings import Count
from synthmed.generators.base import EmaDecay, Generator
from synthmed.networks.blocks import MinibatchDeviation, PixelNorm, check_groups, upsampling_convolution
from synthmed.training import distributed
from synthmed.training.images import Batch
from synthmed.training.optimizer import Adam

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Config:
    """Settings of PGGAN."""

    latent_size: Annotated[Count, Meta(description="Length of the noise vector z, in numbers (paper 512).")]
    fmap_base: Annotated[
        Count,
        Meta(
            description="Feature maps at r×r pixels are 2 · fmap_base / r, at most fmap_max, in maps (paper 8192, "
            "16 maps at 1024 px)."
        ),
    ]
    fmap_max: Annotated[Count, Meta(description="The most feature maps at any resolution, in maps (paper 512).")]
    stable_kimg: Annotated[
        float,
        Meta(
            ge=0,
            description="Real images that the networks are trained on at 4×4, and at each resolution once it is "
            "faded in, in thousands (paper 800). The last resolution is trained until the steps of "
            "the training end.",
        ),
    ]
    fade_kimg: Annotated[
        float,
        Meta(
            ge=0,
            description="Real images during which a resolution is faded in, in thousands (paper 800; 0 adds it at "
            "once).",
        ),
    ]
    batch_limits: Annotated[
        dict[Annotated[str, Meta(pattern="^(4|8|16|32|64|128|256|512|1024|2048)$")], Count],
        Meta(
            description="Resolution in pixels -> the most images of a micro-batch there, in images; elsewhere "
            "training.batch_size holds (paper 16, and 14, 6, 3 at 256, 512, 1024 px)."
        ),
    ]
    minibatch_group: Annotated[
        Count,
        Meta(
            description="Images whose standard deviation the discriminator sees, at most, in images (paper: the "
            "batch; its code: 4). With several processes an image's group lies in one of them: a "
            "group that divides their shares keeps results the same."
        ),
    ]
    gradient_penalty: Annotated[
        float, Meta(ge=0, description="Weight of the gradient penalty, without unit (paper 10).")
    ]
    drift: Annotated[
        float, Meta(ge=0, description="Weight of the squared score of real images, without unit (paper 0.001).")
    ]
    learning_rate: Annotated[
        float,
        Meta(
            gt=0,
            description="Step size of Adam for both networks, without unit (paper 1.0e-3). "
            "Its betas are the paper's, 0 and 0.99.",
        ),
    ]
    ema_decay: EmaDecay
    gradient_checkpointing: Annotated[
        bool,
        Meta(
            description="Compute the activations of each resolution again in the backward pass instead of keeping "
            "them: less memory (not for the gradient penalty), a third more time (measured on a CPU), "
            "the same numbers."
        ),
    ]


# ------------------------------------------------------------------------------------------------------------- layers
class Convolution(nn.Module):
    """Convolution with equalised learning rate (section 4.1): weights start from N(0, 1) and are multiplied at run time
    by gain / √fan-in, so that all weights have the same range and Adam moves all at the same speed. Bias starts at 0.

    gain: √2 before a LeakyReLU (He's initialisation), 1 where the output is used as it is.
    """

    def __init__(self, inputs: int, outputs: int, side: int, padding: int, gain: float = math.sqrt(2)):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.padding, self.scale = padding, gain / math.sqrt(inputs * side * side)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class UpsamplingConvolution(Convolution):
    """Nearest-neighbour upsampling × 2, then a 3×3 convolution with equalised learning rate."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return upsampling_convolution(x, self.weight * self.scale, self.bias)


class FirstConvolution(Convolution):
    """The 4×4 convolution on the latent vector padded by 3 (table 2): (N, inputs, 1, 1) → (N, outputs, 4, 4), where a
    pixel sees one weight of each kernel, as in a transposed convolution."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, (self.weight * self.scale).transpose(0, 1), self.bias)


def _activation() -> nn.Module:
    return nn.LeakyReLU(0.2, inplace=True)


class _Growing(nn.Module):
    """What both networks share: blocks by resolution, recomputed in the backward pass if `checkpointing` is set."""

    checkpointing: bool

    def run(self, block: nn.Module, x: Tensor) -> Tensor:
        if not (self.checkpointing and torch.is_grad_enabled()):
            return block(x)
        from torch.utils.checkpoint import checkpoint  # loads torch's compiler: seconds

        return checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)


class GeneratorNetwork(_Growing):
    """(N, latent_size) → (N, image_channels, resolution, resolution), about [-1, 1] (table 2, left).

    channels: feature maps at each resolution, 4 px first.
    """

    def __init__(self, latent_size: int, channels: Mapping[int, int], image_channels: int, checkpointing: bool):
        super().__init__()
        self.checkpointing = checkpointing
        self.normalise = PixelNorm()
        self.blocks, self.to_image = nn.ModuleDict(), nn.ModuleDict()
        for resolution, maps in channels.items():
            if resolution == 4:
                first: nn.Module = FirstConvolution(latent_size, maps)
            else:
                first = UpsamplingConvolution(channels[resolution // 2], maps)
            second = Convolution(maps, maps, 3, 1)
            self.blocks[str(resolution)] = nn.Sequential(
                first, _activation(), PixelNorm(), second, _activation(), PixelNorm()
            )
            self.to_image[str(resolution)] = Convolution(maps, image_channels, 1, 0, gain=1.0)

    def forward(self, z: Tensor, resolution: int, alpha: float) -> Tensor:
        """alpha: weight of the layers of `resolution`, 1 − alpha that of the image from half of it (figure 2)."""
        x = below = self.normalise(z)[:, :, None, None]
        for name, block in self.blocks.items():
            if int(name) <= resolution:
                below, x = x, self.run(block, x)
        images = self.to_image[str(resolution)](x)
        if alpha < 1:
            before = F.interpolate(self.to_image[str(resolution // 2)](below), scale_factor=2, mode="nearest")
            images = torch.lerp(before, images, alpha)
        return images


class Discriminator(_Growing):
    """(N, image_channels, resolution, resolution) → (N,) scores (table 2, right; the mirror image of the generator)."""

    def __init__(self, channels: Mapping[int, int], image_channels: int, group: int, checkpointing: bool):
        super().__init__()
        self.checkpointing = checkpointing
        self.from_image, self.blocks = nn.ModuleDict(), nn.ModuleDict()
        for resolution, maps in reversed(channels.items()):
            self.from_image[str(resolution)] = nn.Sequential(Convolution(image_channels, maps, 1, 0), _activation())
            if resolution > 4:
                self.blocks[str(resolution)] = nn.Sequential(
                    Convolution(maps, maps, 3, 1),
                    _activation(),
                    Convolution(maps, channels[resolution // 2], 3, 1),
                    _activation(),
                    nn.AvgPool2d(2),
                )
        maps = channels[4]
        self.decide = nn.Sequential(
            MinibatchDeviation(group),
            Convolution(maps + 1, maps, 3, 1),
            _activation(),
            Convolution(maps, maps, 4, 0),
            _activation(),
            Convolution(maps, 1, 1, 0, gain=1.0),
        )

    def features(self, images: Tensor, resolution: int, alpha: float) -> Tensor:
        """The maps at 4×4, of each image by itself: (N, channels, 4, 4)."""
        x = self.from_image[str(resolution)](images)
        for name, block in self.blocks.items():
            if int(name) > resolution:
                continue
            x = self.run(block, x)
            if int(name) == resolution and alpha < 1:
                x = torch.lerp(self.from_image[str(resolution // 2)](F.avg_pool2d(images, 2)), x, alpha)
        return x

    def forward(self, images: Tensor, resolution: int, alpha: float) -> Tensor:
        return self.decide(self.features(images, resolution, alpha)).flatten()


# -------------------------------------------------------------------------------------------------------------- model
class Model(Generator):
    """PGGAN with WGAN-GP loss, drift and Adam (0, 0.99), one step of each network a batch.

    Works on square images of 8, 16, … 1024, … px. The last resolution is trained until the training ends.
    """

    Config = Config
    needs = frozenset({"noise"})
    counters = ("images_seen",)
    inference_modules = ("generator_ema", "discriminator")

    def __init__(self, config: Config, image_shape: tuple[int, int, int], classes: tuple[str, ...]):
        super().__init__(config, image_shape, classes)
        image_channels, height, width = image_shape
        if height != width or height < 8 or height & (height - 1):
            raise InputError(f"pggan needs square images of 8, 16, 32, 64, 128, … pixels, not {height}×{width}")
        self.resolutions = [4 << k for k in range(height.bit_length() - 2)]
        self._check_limits()
        channels = {r: max(1, min(config.fmap_max, 2 * config.fmap_base // r)) for r in self.resolutions}
        self.generator = GeneratorNetwork(config.latent_size, channels, image_channels, config.gradient_checkpointing)
        self.discriminator = Discriminator(
            channels, image_channels, config.minibatch_group, config.gradient_checkpointing
        )
        self.generator_ema = self.ema_copy(self.generator)
        self.latent_size = config.latent_size
        self.optimizers = {
            name: Adam(network.parameters(), config.learning_rate, (0.0, 0.99))
            for name, network in (("generator", self.generator), ("discriminator", self.discriminator))
        }
        self.images_seen = 0
        """Real images that the discriminator has seen: they decide how far the networks have grown."""

    def _check_limits(self) -> None:
        for name, limit in self.config.batch_limits.items():
            if name not in map(str, self.resolutions):
                raise InputError(
                    f"setting batch_limits has {name!r}; the resolutions of these images are {self.resolutions}"
                )
            if limit < 1 or limit % distributed.size():
                raise InputError(
                    f"setting batch_limits.{name} is {limit}; it must be a multiple of the number of processes "
                    f"({distributed.size()})"
                )

    def _check_groups(self, setting: int) -> None:
        """Not in __init__, because a finished generator needs no batches. setting: training.batch_size, images."""
        for resolution in map(str, self.resolutions):
            limit = self.config.batch_limits.get(resolution, setting)
            name, images = (
                ("training.batch_size", setting) if setting <= limit else (f"batch_limits.{resolution}", limit)
            )
            check_groups(name, images, distributed.size(), self.config.minibatch_group, f" at {resolution} pixels")

    @classmethod
    def paper_config(cls, image_shape: tuple[int, int, int]) -> Config:
        # Appendix A. Batches: 16 up to 128 px (training.batch_size), then as memory allows.
        limits = {256: 14, 512: 6, 1024: 3}
        return Config(
            latent_size=512,
            fmap_base=8192,
            fmap_max=512,
            stable_kimg=800,
            fade_kimg=800,
            batch_limits={str(r): limit for r, limit in limits.items() if r <= image_shape[1]},
            minibatch_group=16,
            gradient_penalty=10.0,
            drift=0.001,
            learning_rate=1e-3,
            ema_decay=0.999,
            gradient_checkpointing=False,
        )

    # ------------------------------------------------------------------------------------------------------- growing
    def growth(self) -> tuple[int, float]:
        """(resolution, alpha) at images_seen: alpha < 1 while the resolution is faded in (appendix A.1: 4×4, then for
        each doubling fade_kimg thousand images of fading and stable_kimg thousand as it is)."""
        fade, stable = 1000 * self.config.fade_kimg, 1000 * self.config.stable_kimg
        resolution, alpha, begin = 4, 1.0, stable
        while resolution < self.resolutions[-1] and self.images_seen >= begin:
            resolution *= 2
            alpha = 1.0 if self.images_seen >= begin + fade else (self.images_seen - begin) / fade
            begin += fade + stable
        return resolution, alpha

    def batch_size(self, setting: int) -> int:
        self._check_groups(setting)
        resolution, _ = self.growth()
        return min(setting, self.config.batch_limits.get(str(resolution), setting))

    def _warn_if_too_short(self, images_of_step: int) -> None:
        kimg = self.config.stable_kimg + self.config.fade_kimg
        needed, shown = 1000 * kimg * (len(self.resolutions) - 1), images_of_step * self.total_steps
        if shown < needed:
            logger.warning(
                f"this training shows at most {shown} images, but the full {self.resolutions[-1]} pixels are reached "
                f"after {needed:.0f}; samples will be enlarged from fewer pixels: raise steps, or lower stable_kimg "
                "and fade_kimg"
            )

    def at_growth(self, images: Tensor) -> Tensor:
        """Full-size images as the discriminator gets them now: averaged to the resolution, and while it is faded in
        blended with themselves at half of it (appendix A.1)."""
        resolution, alpha = self.growth()
        if resolution < images.shape[2]:
            images = F.avg_pool2d(images, images.shape[2] // resolution)
        if alpha < 1:
            images = torch.lerp(F.interpolate(F.avg_pool2d(images, 2), scale_factor=2, mode="nearest"), images, alpha)
        return images

    # ------------------------------------------------------------------------------------------------------ training
    def penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        """Mean of (‖∇D‖₂ − 1)² at one random point between each real and fake image (WGAN-GP, equation 3)."""
        share = distributed.draw(torch.rand, len(real), 1, 1, 1, generator=self.rng).to(real.device)
        mixed = torch.lerp(fake, real, share).requires_grad_(True)
        # Under bf16 this runs in bf16, too: measured on trained networks (64 px), the rounding changes the penalty's
        # gradient by 3 to 5 %, that of the scores' difference by 9 to 10 %.
        scores = self.discriminator(mixed, *self.growth())
        (gradients,) = torch.autograd.grad(scores.float().sum(), mixed, create_graph=True)
        return (gradients.float().flatten(1).norm(dim=1) - 1).square().mean()

    def train_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """One step of the discriminator, then one of the generator, at the resolution reached.

        Losses: discriminator, the mean score of fakes less that of reals; gradient_penalty and drift, both weighted
        (appendix A.1); generator, minus the mean score of fakes.
        """
        config, (resolution, alpha) = self.config, self.growth()
        images_of_step = distributed.size() * sum(len(batch.images) for batch in batches)
        if self.step == 0:
            self._warn_if_too_short(images_of_step)

        def fakes(batch: Batch) -> Tensor:
            return self.generator(self.noise(len(batch.images), config.latent_size), resolution, alpha)

        def discriminator_loss(batch: Batch) -> dict[str, Tensor]:
            real, fake = self.at_growth(batch.images), fakes(batch).float()
            on_real = self.discriminator(real, resolution, alpha).float()
            on_fake = self.discriminator(fake, resolution, alpha).float()
            return {
                "discriminator": on_fake.mean() - on_real.mean(),
                "gradient_penalty": config.gradient_penalty * self.penalty(real, fake),
                "drift": config.drift * on_real.square().mean(),
            }

        def generator_loss(batch: Batch) -> dict[str, Tensor]:
            return {"generator": -self.discriminator(fakes(batch), resolution, alpha).float().mean()}

        losses = self.update(self.optimizers["discriminator"], discriminator_loss, batches)
        losses |= self.update(self.optimizers["generator"], generator_loss, batches)
        self.ema_update(self.generator_ema, self.generator, config.ema_decay)
        self.images_seen += images_of_step
        return losses

    @torch.no_grad()
    def run_all_layers(self, batch: Batch) -> None:
        """Both networks, half faded in, at every second resolution from the full one down: no step runs all layers."""
        for resolution in self.resolutions[::-2]:
            alpha = 1.0 if resolution == 4 else 0.5
            images = F.avg_pool2d(batch.images, self.resolutions[-1] // resolution)
            self.generator(self.noise(1, self.config.latent_size), resolution, alpha)
            self.discriminator(images[:1], resolution, alpha)

    # ----------------------------------------------------------------------------------------------------------- use
    def first_weights(self, space: str) -> Tensor:
        return self.generator_ema.blocks["4"][0].weight.movedim(1, 3).flatten(0, 2)

    def synthesise(self, z: Tensor) -> Tensor:
        """Before the full size is reached the images are enlarged to it. Values beyond [-1, 1] are clipped."""
        with self.autocast():
            images = self.generator_ema(z, *self.growth()).float()
        if images.shape[2] < self.image_shape[1]:
            images = F.interpolate(images, size=self.image_shape[1:], mode="nearest")
        return images.clamp(-1, 1)

    def discriminator_features(self, images: Tensor) -> Tensor:
        """The discriminator's maps at 4×4, flattened: what it knows of each image, before it compares images."""
        with self.autocast():
            return self.discriminator.features(self.at_growth(images), *self.growth()).float().flatten(1)

    # --------------------------------------------------------------------------------------------------------- state
    def inference_state(self) -> dict[str, Tensor]:
        return super().inference_state() | {"images_seen": torch.tensor(self.images_seen)}

    def load_inference_state(self, state: dict[str, Tensor]) -> None:
        super().load_inference_state(state)
        if "images_seen" not in state:
            raise InputError("these weights do not say how far the networks had grown (images_seen)")
        self.images_seen = int(state["images_seen"])

    def initialise_from(self, other: "Model") -> list[str]:
        self.images_seen = other.images_seen  # grown as far as it was
        return super().initialise_from(other)

"""CycleGAN: Zhu, Park, Isola and Efros, "Unpaired image-to-image translation using cycle-consistent adversarial
networks", ICCV 2017 (arXiv:1703.10593), sections 3, 4 and 7 (appendix). Image pool: Shrivastava et al.
2017, section 2.3.

Translates between exactly two classes; seed 001, sections 2.4 and 3.1.1, turns normal into abnormal X-rays and back,
with PatchGAN discriminators of receptive field 46, 22 and 10.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.core.errors import InputError
from synthmed.core.settings import Count
from synthmed.generators.base import Generator
from synthmed.networks.blocks import ResidualBlock, initialise_normal
from synthmed.networks.patchgan import PatchGAN
from synthmed.training.distributed import gather, own_rows
from synthmed.training.images import Batch
from synthmed.training.optimizer import Adam


@dataclass(frozen=True)
class Config:
    """Settings of CycleGAN."""

    base_channels: Annotated[
        Count,
        Meta(
            description="Feature maps of the generator's first layer, in maps; 2 and 4 times as many at half and "
            "quarter size (paper 64)."
        ),
    ]
    residual_blocks: Annotated[
        int, Meta(ge=0, description="Residual blocks of the generator, a count (paper 6 at 128 px, 9 at 256 px).")
    ]
    discriminator_layers: Annotated[
        tuple[Count, ...],
        Meta(
            min_length=1,
            description="Filters of the PatchGAN's 4×4 convolutions, in maps. With discriminator_last_stride 2 "
            "the receptive field is 10 px for [64], 22 px for [64, 128], 46 px for [64, 128, 256] "
            "(the thesis); with 1 it is 70 px for [64, 128, 256, 512] (paper).",
        ),
    ]
    discriminator_last_stride: Annotated[
        Literal[1, 2],
        Meta(
            description="Stride of the last of discriminator_layers, in pixels; all before have stride 2 (thesis "
            "2, paper 1)."
        ),
    ]
    cycle_weight: Annotated[
        float,
        Meta(ge=0, description="Weight λ of the cycle loss against the adversarial loss, without unit (paper 10)."),
    ]
    identity_weight: Annotated[
        float,
        Meta(
            ge=0,
            description="Weight of the identity loss as a fraction of λ, the cycle_weight (paper 0.5); 0 leaves "
            "it out.",
        ),
    ]
    pool_size: Annotated[
        int,
        Meta(
            ge=0,
            description="Earlier fakes kept for the discriminator, images per direction (paper 50); 0 shows it "
            "only the newest.",
        ),
    ]
    learning_rate: Annotated[
        float,
        Meta(
            gt=0,
            description="Step size of Adam in the first half of the training; it falls linearly to zero in the "
            "second (paper 2.0e-4).",
        ),
    ]
    beta1: Annotated[
        float,
        Meta(ge=0, lt=1, description="Decay of Adam's first moment, a fraction per step (paper's implementation 0.5)."),
    ]


class GeneratorNetwork(nn.Module):
    """c7s1-k, d2k, d4k, R4k × residual_blocks, u2k, uk, c7s1-C with k = base_channels (the paper's appendix, after
    Johnson et al. 2016): reflection padding, instance norm without scale and shift, ReLU; tanh at the end.

    (N, C, H, W) in [-1, 1] → the same shape and range; H and W divisible by 4.
    """

    def __init__(self, image_channels: int, base_channels: int, residual_blocks: int):
        super().__init__()
        k = base_channels

        def normalised(convolution: nn.Module) -> list[nn.Module]:
            return [convolution, nn.InstanceNorm2d(convolution.out_channels), nn.ReLU(inplace=True)]

        def down(filters: int) -> list[nn.Module]:
            return normalised(nn.Conv2d(filters // 2, filters, 3, stride=2, padding=1))

        def up(filters: int) -> list[nn.Module]:
            return normalised(nn.ConvTranspose2d(filters * 2, filters, 3, stride=2, padding=1, output_padding=1))

        self.net = nn.Sequential(
            *normalised(nn.Conv2d(image_channels, k, 7, padding=3, padding_mode="reflect")),
            *down(2 * k),
            *down(4 * k),
            *[ResidualBlock(4 * k) for _ in range(residual_blocks)],
            *up(2 * k),
            *up(k),
            nn.Conv2d(k, image_channels, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


def lsgan_loss(logits: Tensor, target: float) -> Tensor:
    """Mean of (logits − target)² over patches and images: target 1 for what should pass as real, 0 for fake (the paper,
    section 4, after Mao et al. 2017)."""
    return (logits.float() - target).square().mean()


class ImagePool(nn.Module):
    """A history of `size` fakes, so that the discriminator does not only see the newest (Shrivastava et al. 2017).

    The images are a buffer, so they are part of the training state. A size of 0 keeps nothing and returns what it gets.
    """

    def __init__(self, size: int, image_shape: tuple[int, int, int]):
        super().__init__()
        self.register_buffer("images", torch.zeros(size, *image_shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def exchange(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """For each image: while the pool is not full, keep and return it; then, with probability 1/2, return a random
        one of the pool and put the new one in its place, else return the new one. (N, C, H, W) → the same shape."""
        size = len(self.images)
        if size == 0:
            return images
        out = images.clone()
        filled = int(self.filled)
        for index in range(len(images)):
            if filled < size:
                self.images[filled] = images[index]
                filled += 1
            elif torch.rand((), generator=generator) < 0.5:
                slot = int(torch.randint(size, (), generator=generator))
                out[index] = self.images[slot]
                self.images[slot] = images[index]
        self.filled.fill_(filled)
        return out


class Model(Generator):
    """CycleGAN between classes[0] and classes[1]. `sample` translates source images into the class `label`.

    total_steps must be set before train_step: the learning rate falls linearly to zero over the second half.
    """

    Config = Config
    needs = frozenset({"image"})
    inference_modules = ("to_second", "to_first")

    def __init__(self, config: Config, image_shape: tuple[int, int, int], classes: tuple[str, ...]):
        super().__init__(config, image_shape, classes)
        channels, height, width = image_shape
        if len(classes) != 2:
            raise InputError(f"cyclegan translates between exactly two classes, not {list(classes)}; set labels to two")
        if height % 4 or width % 4 or min(height, width) < 16:
            raise InputError(f"cyclegan needs sides of 16 px or more, divisible by 4, not {height}×{width}")
        if min(height, width) < 2 ** (len(config.discriminator_layers) + 1):
            raise InputError(
                f"setting discriminator_layers has {len(config.discriminator_layers)} entries, too many for images of "
                f"{height}×{width} px; each halves the image and 2 px must remain"
            )
        self.to_second = GeneratorNetwork(channels, config.base_channels, config.residual_blocks)
        self.to_first = GeneratorNetwork(channels, config.base_channels, config.residual_blocks)
        for name in ("discriminator_first", "discriminator_second"):
            layers, last_stride = config.discriminator_layers, config.discriminator_last_stride
            setattr(self, name, PatchGAN(channels, layers, last_stride, norm="instance"))
        initialise_normal(self)
        self.pool_first = ImagePool(config.pool_size, self.image_shape)
        self.pool_second = ImagePool(config.pool_size, self.image_shape)

        def adam(*networks: nn.Module) -> Adam:
            parameters = [parameter for network in networks for parameter in network.parameters()]
            return Adam(parameters, config.learning_rate, (config.beta1, 0.999))

        self.optimizers = {
            "generators": adam(self.to_second, self.to_first),
            "discriminators": adam(self.discriminator_first, self.discriminator_second),
        }

    @classmethod
    def paper_config(cls, image_shape: tuple[int, int, int]) -> Config:
        return Config(
            base_channels=64,
            residual_blocks=9 if min(image_shape[1:]) >= 256 else 6,
            discriminator_layers=(64, 128, 256, 512),
            discriminator_last_stride=1,
            cycle_weight=10.0,
            identity_weight=0.5,
            pool_size=50,
            learning_rate=2e-4,
            beta1=0.5,
        )

    def learning_rate(self) -> float:
        """Learning rate of the current step: constant for the first half of total_steps, then linearly to zero (the
        paper, section 4: 100 epochs each)."""
        if self.total_steps < 1:
            raise ValueError("set total_steps before training: the learning rate's decay depends on it")
        return self.config.learning_rate * min(1.0, 2 * (1 - self.step / self.total_steps))

    def _split(self, batch: Batch) -> tuple[Tensor, Tensor]:
        first, second = batch.images[batch.labels == 0], batch.images[batch.labels == 1]
        if len(first) == 0 or len(second) == 0:
            raise ValueError("a batch of cyclegan needs images of both classes")
        return first, second

    def train_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """One step of both generators, then one of both discriminators on reals and on the pool's fakes.

        Losses (the paper, equations 1 to 3 and section 5.2, each the sum of the two directions): adversarial; cycle,
        the mean absolute error times λ = cycle_weight; identity, the same times identity_weight · λ; discriminator,
        halved as in the paper so that it learns slower than the generators.
        """
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate()
        fakes: list[tuple[Tensor, Tensor]] = []

        def generator_loss(batch: Batch) -> dict[str, Tensor]:
            first, second = self._split(batch)
            # Instance norm keeps images of a batch apart, so translation and identity can share one forward pass.
            if self.config.identity_weight > 0:
                fake_second, same_second = self.to_second(torch.cat([first, second])).split([len(first), len(second)])
                fake_first, same_first = self.to_first(torch.cat([second, first])).split([len(second), len(first)])
                identity = F.l1_loss(same_second.float(), second) + F.l1_loss(same_first.float(), first)
            else:
                fake_second, fake_first = self.to_second(first), self.to_first(second)
                identity = first.new_zeros(())
            fakes.append((fake_first.detach().float(), fake_second.detach().float()))
            cycle = F.l1_loss(self.to_first(fake_second).float(), first)
            cycle = cycle + F.l1_loss(self.to_second(fake_first).float(), second)
            adversarial = lsgan_loss(self.discriminator_second(fake_second), 1.0)
            adversarial = adversarial + lsgan_loss(self.discriminator_first(fake_first), 1.0)
            return {
                "adversarial": adversarial,
                "cycle": self.config.cycle_weight * cycle,
                "identity": self.config.identity_weight * self.config.cycle_weight * identity,
            }

        losses = self.update(self.optimizers["generators"], generator_loss, batches)
        # The pools hold the fakes of all ranks, so they are the same in each.
        pooled = iter(
            [
                (
                    own_rows(self.pool_first.exchange(gather(first), self.rng)),
                    own_rows(self.pool_second.exchange(gather(second), self.rng)),
                )
                for first, second in fakes
            ]
        )

        def discriminator_loss(batch: Batch) -> dict[str, Tensor]:
            loss = batch.images.new_zeros(())
            discriminators = (self.discriminator_first, self.discriminator_second)
            for discriminator, real, fake in zip(discriminators, self._split(batch), next(pooled), strict=True):
                on_real, on_fake = discriminator(torch.cat([real, fake])).split([len(real), len(fake)])
                loss = loss + 0.5 * (lsgan_loss(on_real, 1.0) + lsgan_loss(on_fake, 0.0))
            return {"discriminator": loss}

        return losses | self.update(self.optimizers["discriminators"], discriminator_loss, batches)

    @torch.no_grad()
    def sample(self, count: int, label: str, noise: torch.Generator, source: Tensor | None) -> Tensor:
        """`source` (count, C, H, W), images of the other class, translated into `label`. No noise is used.

        Raises InputError without source images or for an unknown label."""
        if source is None or len(source) != count:
            raise InputError(f"cyclegan needs one source image for each of the {count} images to make")
        if label not in self.classes:
            raise InputError(f"cyclegan translates between {list(self.classes)}, not into {label!r}")
        generator = self.to_first if label == self.classes[0] else self.to_second
        with self.autocast():
            return generator(source.to(self.device)).float()

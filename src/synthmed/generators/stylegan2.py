"""StyleGAN2-ADA: Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020 (arXiv:1912.04958),
and "Training generative adversarial networks with limited data", NeurIPS 2020 (arXiv:2006.06676); seed 003, section
3.3 and appendix 6.1. Networks: networks/stylegan2.py; augmentation: augment/ada.py.

One training of one class is unconditional, of several classes conditional: the label is embedded in the generator's
mapping, and the discriminator's score is projected on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor
from torch.nn import functional as F

from synthmed.augment.ada import AdaptiveProbability, augmented
from synthmed.core.errors import InputError
from synthmed.core.settings import Count, Share
from synthmed.generators.base import Generator
from synthmed.networks.blocks import check_groups
from synthmed.networks.stylegan2 import Discriminator, GeneratorNetwork, Noise, channels_at
from synthmed.training import distributed
from synthmed.training.images import Batch
from synthmed.training.optimizer import Adam

W_DECAY = 0.995
"""Of the running mean of w, per micro-batch (Karras et al. 2019, appendix C)."""
LENGTH_DECAY = 0.99
"""Of the running mean of path lengths, per step with regularisation (2020a, appendix B)."""
LENGTH_SHARE = 2
"""Path lengths are of one image in so many of a batch (2020a, appendix B)."""


@dataclass(frozen=True)
class Augmentation:
    """Adaptive discriminator augmentation."""

    target: Annotated[
        float,
        Meta(gt=-1, lt=1, description="Mean sign of the discriminator's scores of real images it keeps (paper 0.6)."),
    ]
    interval: Annotated[Count, Meta(description="Steps between changes of its probability (paper 4).")]
    kimg: Annotated[
        float,
        Meta(
            gt=0,
            description="Real images, in thousands, in which the probability can go from 0 to 1 (paper 500).",
        ),
    ]
    kimg_after_transfer: Annotated[
        float,
        Meta(gt=0, description="The same of trainings that begin with other weights, in thousands (NVlabs' code 100)."),
    ]


@dataclass(frozen=True)
class Config:
    """Settings of StyleGAN2-ADA."""

    latent_size: Annotated[Count, Meta(description="Length of z and of w, in numbers (paper 512).")]
    mapping_layers: Annotated[
        Count, Meta(description="Layers from z to w, in layers (paper 8; 2 in the document and for small sets).")
    ]
    channel_base: Annotated[
        Count, Meta(description="Maps at r×r pixels are channel_base / r, at most channel_max, in maps (16384).")
    ]
    channel_max: Annotated[Count, Meta(description="The most maps at any resolution, in maps (512).")]
    minibatch_group: Annotated[
        Count,
        Meta(
            description="Images whose standard deviation the discriminator sees, at most, in images (4); a group lies "
            "in one process."
        ),
    ]
    style_mixing: Annotated[Share, Meta(description="Share of images whose later layers get another w (0.9).")]
    r1_gamma: Annotated[
        float,
        Meta(
            ge=0,
            description="Weight of R1, without unit: half of it times the squared gradient. The document's: 0.0002 · "
            "pixels / batch, 0.8192 at 256 px in batches of 16.",
        ),
    ]
    r1_interval: Annotated[Count, Meta(description="Steps between two steps of R1, weighted up for it (16).")]
    path_weight: Annotated[float, Meta(ge=0, description="Weight of path length regularisation, without unit (2).")]
    path_interval: Annotated[
        Count, Meta(description="Steps between two steps of path length regularisation, weighted up for it (4).")
    ]
    learning_rate: Annotated[
        float,
        Meta(
            gt=0,
            description="Step size of Adam for both networks, without unit (0.0025 at 256 px); a hundredth of it in "
            "mappings. Its betas are the paper's, 0 and 0.99.",
        ),
    ]
    ema_kimg: Annotated[
        float,
        Meta(
            gt=0,
            description="Half-life of the averaged weights that samples are drawn from, in thousands of real images "
            "(5).",
        ),
    ]
    ema_rampup: Annotated[
        float,
        Meta(
            gt=0,
            description="The half-life is at most this share of the images seen so far (0.05), so that a short "
            "training forgets its first, random weights.",
        ),
    ]
    augmentation: Annotated[Augmentation | None, Meta(description="Of reals and fakes; null: none.")]


class Model(Generator):
    """StyleGAN2-ADA with the non-saturating loss, lazy R1 and path length regularisation. Works on square images of 8,
    16, … 1024, … px."""

    Config = Config
    needs = frozenset({"noise", "label"})
    counters = ("images_seen",)
    inference_modules = ("generator_ema", "discriminator")
    spaces = ("z", "w")

    def __init__(self, config: Config, image_shape: tuple[int, int, int], classes: tuple[str, ...]):
        super().__init__(config, image_shape, classes)
        image_channels, height, width = image_shape
        if height != width or height < 8 or height & (height - 1):
            raise InputError(f"stylegan2 needs square images of 8, 16, 32, 64, 128, … pixels, not {height}×{width}")
        channels = channels_at(
            [4 << k for k in range(height.bit_length() - 2)], config.channel_base, config.channel_max
        )
        labels = len(classes) if len(classes) > 1 else 0
        self.generator = GeneratorNetwork(config.latent_size, labels, config.mapping_layers, channels, image_channels)
        self.discriminator = Discriminator(channels, labels, image_channels, config.minibatch_group)
        self.generator_ema, self.latent_size = self.ema_copy(self.generator), config.latent_size
        self.probability = None
        if (wanted := config.augmentation) is not None:
            self.probability = AdaptiveProbability(wanted.target, wanted.interval, wanted.kimg)
        self.register_buffer("path_length", torch.zeros(()))
        """Running mean of path lengths."""
        self.register_buffer("penalties", torch.zeros(2))
        """R1 and path length penalty, weighted, when they were last computed: most steps have none."""
        for name, network, weight, interval in (
            ("generator", self.generator, config.path_weight, config.path_interval),
            ("discriminator", self.discriminator, config.r1_gamma, config.r1_interval),
        ):
            # interval + 1 steps of Adam where there were interval: each is that much smaller (2020a, appendix B).
            share = interval / (interval + 1) if weight else 1.0
            self.optimizers[name] = Adam(network.parameters(), config.learning_rate * share, (0.0, 0.99**share))
        self.images_seen = 0
        """Real images of all steps, for the half-life of the averaged weights."""

    @classmethod
    def paper_config(cls, image_shape: tuple[int, int, int]) -> Config:
        # The document's: seed 003, appendix 6.1.
        return Config(
            latent_size=512,
            mapping_layers=2,
            channel_base=16384,
            channel_max=512,
            minibatch_group=4,
            style_mixing=0.9,
            r1_gamma=0.0002 * image_shape[1] ** 2 / 16,
            r1_interval=16,
            path_weight=2.0,
            path_interval=4,
            learning_rate=0.0025,
            ema_kimg=5.0,
            ema_rampup=0.05,
            augmentation=Augmentation(target=0.6, interval=4, kimg=500.0, kimg_after_transfer=100.0),
        )

    def batch_size(self, setting: int) -> int:
        check_groups("training.batch_size", setting, distributed.size(), self.config.minibatch_group)
        return setting

    # ------------------------------------------------------------------------------------------------------ training
    def one_hot(self, labels: Tensor) -> Tensor | None:
        """(N,) positions in the classes → (N, classes) float32; None where there is one class."""
        return F.one_hot(labels, len(self.classes)).float() if len(self.classes) > 1 else None

    def mixed(self, w: Tensor, labels: Tensor | None) -> Tensor:
        """(N, latent_size) → (N, layers, latent_size): of a share of the images all layers from a random one on get
        the w of another z (Karras et al. 2019, section 3.1)."""
        count, layers = len(w), self.generator.synthesis.layers
        other = self.generator.mapping(self.noise(count, self.config.latent_size), labels)
        first = distributed.draw(torch.randint, count, low=1, high=layers, generator=self.rng)
        mixing = distributed.draw(torch.rand, count, generator=self.rng) < self.config.style_mixing
        replaced = mixing[:, None] & (torch.arange(layers) >= first[:, None])
        return torch.where(replaced[:, :, None].to(w.device), other[:, None], w[:, None])

    def fakes(self, labels: Tensor | None, count: int) -> tuple[Tensor, Tensor]:
        """Images of new noise, float32, and the w of each of their layers (N, layers, latent_size)."""
        w = self.generator.mapping(self.noise(count, self.config.latent_size), labels)
        with torch.no_grad():
            mean = w.mean(dim=0)
            distributed.average([mean])
            self.generator.mapping.w_avg.lerp_(mean, 1 - W_DECAY)
        ws = self.mixed(w, labels)
        return self.generator.synthesis(ws, self._noise_for(count)), ws

    def _noise_for(self, count: int) -> Noise:
        return lambda side: self.noise(count, 1, side, side)

    def scores(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """The discriminator's scores (N,) of augmented images."""
        if self.probability is not None:
            images = augmented(images, float(self.probability.p), self.rng)
        return self.discriminator(images, labels)

    def train_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """A step of the generator, then one of the discriminator; every path_interval-th and r1_interval-th, beginning
        with the first, each is followed by a step of its regularisation alone (2020a, section 3.1 and appendix B).

        Fakes have the labels of the real images. Losses: generator, discriminator_real, discriminator_fake;
        path_length and r1, weighted, as last computed; then augmentation (its probability) and real_signs (r_t, as
        last computed) where there is one.
        """
        config = self.config

        def generator_loss(batch: Batch) -> dict[str, Tensor]:
            labels = self.one_hot(batch.labels)
            fake, _ = self.fakes(labels, len(batch.images))
            return {"generator": F.softplus(-self.scores(fake, labels)).mean()}

        def discriminator_loss(batch: Batch) -> dict[str, Tensor]:
            labels = self.one_hot(batch.labels)
            fake, _ = self.fakes(labels, len(batch.images))
            on_fake, on_real = self.scores(fake, labels), self.scores(batch.images, labels)
            if self.probability is not None:
                self.probability.observe(on_real)
            return {
                "discriminator_real": F.softplus(-on_real).mean(),
                "discriminator_fake": F.softplus(on_fake).mean(),
            }

        losses = self.update(self.optimizers["generator"], generator_loss, batches)
        if config.path_weight and self.step % config.path_interval == 0:
            self._regularise_paths(batches)
        losses |= self.update(self.optimizers["discriminator"], discriminator_loss, batches)
        if config.r1_gamma and self.step % config.r1_interval == 0:
            found = self.update(self.optimizers["discriminator"], self._r1, batches)
            self.penalties[0] = found["r1"] / config.r1_interval
        images = distributed.size() * sum(len(batch.images) for batch in batches)
        self.images_seen += images
        self._average_weights(images)
        losses |= {"path_length": self.penalties[1].clone(), "r1": self.penalties[0].clone()}
        if self.probability is not None:
            self.probability.adapt(self.step + 1, images)
            losses |= {"augmentation": self.probability.p.clone(), "real_signs": self.probability.signs[2].clone()}
        return losses

    def _r1(self, batch: Batch) -> dict[str, Tensor]:
        """γ / 2 · the squared gradient of the score in the real images, before they are augmented (Mescheder et al.
        2018, equation 9), weighted up by the interval."""
        real = batch.images.detach().requires_grad_(True)
        scores = self.scores(real, self.one_hot(batch.labels))
        (gradients,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
        squares = gradients.float().square().sum(dim=(1, 2, 3))
        return {"r1": self.config.r1_interval * self.config.r1_gamma / 2 * squares.mean()}

    def _regularise_paths(self, batches: Sequence[Batch]) -> None:
        """A step of path length regularisation: (|Jᵀy| − a)², where Jᵀy is the gradient in w of an image times normal
        noise y and a the running mean of its length (2020a, equation 4); over layers the mean square counts."""
        lengths: list[Tensor] = []

        def loss(batch: Batch) -> dict[str, Tensor]:
            labels = batch.labels[::LENGTH_SHARE]
            fake, ws = self.fakes(self.one_hot(labels), len(labels))
            y = self.noise(*fake.shape) / (fake.shape[2] * fake.shape[3]) ** 0.5
            (slopes,) = torch.autograd.grad((fake * y).sum(), ws, create_graph=True)
            found = slopes.float().square().sum(dim=2).mean(dim=1).sqrt()
            lengths.append(found.detach().mean())
            penalty = (found - self.path_length).square().mean()
            return {"path_length": self.config.path_interval * self.config.path_weight * penalty}

        found = self.update(self.optimizers["generator"], loss, batches)
        mean = torch.stack(lengths).mean()
        distributed.average([mean])
        self.path_length.lerp_(mean, 1 - LENGTH_DECAY)
        self.penalties[1] = found["path_length"] / self.config.path_interval

    def _average_weights(self, images: int) -> None:
        """Half-life ema_kimg, and at most ema_rampup of the images seen (2020b, appendix D)."""
        half_life = min(1000 * self.config.ema_kimg, self.config.ema_rampup * self.images_seen)
        self.move_average(self.generator_ema, self.generator, 0.5 ** (images / half_life))

    # ----------------------------------------------------------------------------------------------------------- use
    def _w(self, z: Tensor, label: str | None) -> Tensor:
        labels = None
        if len(self.classes) > 1:
            if label not in self.classes:
                raise InputError(f"the label is {label!r}; this generator was trained on {list(self.classes)}: say one")
            labels = self.one_hot(torch.full((len(z),), self.classes.index(label), device=self.device))
        mapping = self.generator_ema.mapping
        return mapping.w_avg.lerp(mapping(z, labels), self.truncation)

    def _images(self, w: Tensor, noise: Noise | None) -> Tensor:
        synthesis = self.generator_ema.synthesis
        with self.autocast():
            return synthesis(w[:, None].expand(-1, synthesis.layers, -1), noise).clamp(-1, 1)

    def w_of(self, z: Tensor) -> Tensor:
        """z (N, latent_size) → w (N, latent_size), float32, differentiable, truncated by `truncation`, of the class
        `label`. Raises InputError where there are several classes and `label` is none of them."""
        return self._w(z, self.label)

    def synthesise_w(self, w: Tensor) -> Tensor:
        """The injected noise is always the same, so that an image depends on w alone; sample() draws it afresh. Values
        beyond [-1, 1] are clipped."""
        return self._images(w, None)

    def first_weights(self, space: str) -> Tensor:
        """Of z the first mapping layer; of w the affine functions of all layers, as SeFa takes them."""
        if space == "z":
            return self.generator_ema.mapping.fc0.weight[:, : self.config.latent_size]
        named = self.generator_ema.synthesis.named_parameters()
        return torch.cat([weight for name, weight in named if name.endswith("affine_weight")])

    def synthesise(self, z: Tensor) -> Tensor:
        return self.synthesise_w(self.w_of(z))

    @torch.no_grad()
    def sample(self, count: int, label: str, noise: torch.Generator, source: Tensor | None) -> Tensor:
        z = torch.randn(count, self.config.latent_size, generator=noise).to(self.device)

        def drawn(side: int) -> Tensor:
            return torch.randn(count, 1, side, side, generator=noise).to(self.device)

        return self._images(self._w(z, label), drawn)

    def discriminator_features(self, images: Tensor) -> Tensor:
        """The discriminator's maps at 4×4, flattened: what it knows of each image, before it compares images."""
        with self.autocast():
            return self.discriminator.features(images).float().flatten(1)

    # --------------------------------------------------------------------------------------------------------- state
    def initialise_from(self, other: "Model") -> list[str]:
        if self.probability is not None:
            self.probability.kimg = self.config.augmentation.kimg_after_transfer
        return super().initialise_from(other)

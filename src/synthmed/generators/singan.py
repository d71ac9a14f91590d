"""SinGAN: Shaham, Dekel and Michaeli, "SinGAN: learning a generative model from a single natural image", ICCV 2019
(arXiv:1905.01164), sections 3 and 4; loss: WGAN-GP, Gulrajani et al. 2017; settings of pathology patches: seed 000,
section 3.3.2. Networks: networks/singan.py.

Every training image has networks of its own, a small pair at each scale, coarsest first. Those of a group of images
run as one: convolutions in as many groups as images, norms by the statistics of each image. The images are patches of
slides in seed 000, and are called patches here.

What the paper leaves open is as in its authors' program: images are padded with zeros once, before each generator; the
critic sees no padding; the gradient penalty asks a gradient of length 1 (over the channels) of each pixel, because the
patches of an image are its data (their answer in github.com/tamarott/SinGAN/issues/59), for which weights like 0.1 and
10 are meant. Unlike there, z* stays the same, as the paper says, and noise is independent in every channel.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from synthmed.core.errors import InputError
from synthmed.core.settings import Count, Fraction
from synthmed.generators.base import Generator
from synthmed.networks.singan import BORDER, initialised, joined, network, taken
from synthmed.training import distributed
from synthmed.training.images import Batch, resized
from synthmed.training.optimizer import Adam, minimise

SAME = 1e-3
"""Two images are one where no pixel of their coarsest scale differs by more (in [-1, 1]): rounding, not content."""


@dataclass(frozen=True)
class Config:
    """Settings of SinGAN."""

    coarsest: Annotated[
        Count,
        Meta(description="Shorter side of the coarsest scale, at least 11, in px (paper 25; seed 000 16)."),
    ]
    factor: Annotated[
        Fraction,
        Meta(
            description="Side of a scale as a fraction of the next finer one's (paper 3/4; seed 000 1/2). There are as "
            "many scales as it takes from `coarsest` to the size of the images."
        ),
    ]
    kernels: Annotated[Count, Meta(description="Feature maps of every hidden layer, in maps (paper 32, then more).")]
    discriminator_steps: Annotated[Count, Meta(description="Optimiser steps of the critic in a training step (3).")]
    generator_steps: Annotated[Count, Meta(description="Optimiser steps of the generator in a training step (3).")]
    reconstruction_weight: Annotated[
        float,
        Meta(ge=0, description="Weight α of the mean squared error of the reconstruction (paper 10, seed 000 15)."),
    ]
    gradient_penalty: Annotated[float, Meta(ge=0, description="Weight of the gradient penalty, without unit (0.1).")]
    noise_factor: Annotated[
        float,
        Meta(
            gt=0,
            description="Standard deviation of a scale's noise as a multiple of the RMSE between the image and the "
            "enlarged reconstruction of the scale before (0.1); at the coarsest it is 1.",
        ),
    ]
    learning_rate: Annotated[float, Meta(gt=0, description="Step size of Adam for both networks (paper 5.0e-4).")]
    beta1: Annotated[float, Meta(ge=0, lt=1, description="Decay of Adam's first moment, a fraction per step (0.5).")]
    drop_after: Annotated[
        float, Meta(gt=0, le=1, description="Share of a scale's steps after which the learning rate drops (0.8).")
    ]
    drop: Annotated[float, Meta(gt=0, le=1, description="What is left of the learning rate after the drop (0.1).")]
    group_sizes: Annotated[
        tuple[Count, ...],
        Meta(
            min_length=1,
            description="Patches that are trained as one network in a step, by scale, coarsest first; the last number "
            "holds for all further scales. Changes speed (benchmarks/singan.py) and memory. At most batch_size.",
        ),
    ]


@dataclass(frozen=True)
class Place:
    """Where in the training a step stands: iteration `iteration` of so many of a scale, for a group of patches."""

    scale: int
    iteration: int
    iterations: int
    group: int


# --------------------------------------------------------------------------------------------------------------- model
class Model(Generator):
    """A SinGAN of each training image. A step trains one group of patches at one scale: all groups in turn, iteration
    by iteration, scale by scale. Its setting `steps` is the iterations of all scales together, of each patch.

    A sample is a variation of one of the training images, which `source` names by its pixels. It is drawn from
    `start_scale` on; what the generator of that scale begins with is then the image itself, reduced to the scale before
    and enlarged, which is what it was trained on (at the same scale, as the authors' program does it for factors near
    1, details come twice: with factor 1/2 edges were seen to ring). With several processes each computes everything:
    nothing is gained.
    """

    Config = Config
    needs = frozenset({"noise", "origin"})
    inference_modules = ("scales",)

    def __init__(self, config: Config, image_shape: tuple[int, int, int], classes: tuple[str, ...]):
        super().__init__(config, image_shape, classes)
        self.sizes = self._pyramid()
        """Height and width of each scale, coarsest first."""
        self.scales = nn.ModuleList()
        """Generators of all patches at the scales that are finished."""
        self.iterations = [0] * len(self.sizes)
        """Of each scale."""
        # Runs the weights of any patches by running statistics; in a tuple, so that it is no module of this one.
        with torch.device("meta"):
            self._frozen = (self._generator(1).eval().requires_grad_(False),)
        self._begin(torch.zeros(1, image_shape[0], *self.sizes[0]))

    @classmethod
    def paper_config(cls, image_shape: tuple[int, int, int]) -> Config:
        return Config(
            coarsest=25,
            factor=0.75,
            kernels=32,
            discriminator_steps=3,
            generator_steps=3,
            reconstruction_weight=10.0,
            gradient_penalty=0.1,
            noise_factor=0.1,
            learning_rate=5e-4,
            beta1=0.5,
            drop_after=0.8,
            drop=0.1,
            group_sizes=(1,),
        )

    def _pyramid(self) -> list[tuple[int, int]]:
        _, height, width = self.image_shape
        config, side = self.config, min(height, width)
        if not 2 * BORDER < config.coarsest <= side:
            raise InputError(
                f"setting coarsest is {config.coarsest}; five convolutions need {2 * BORDER + 1} px or more, and the "
                f"images have {height}×{width}"
            )
        count = 1 + round(log(config.coarsest / side) / log(config.factor))
        shares = [config.factor ** (count - 1 - scale) for scale in range(count)]
        return [(round(height * share), round(width * share)) for share in shares]

    def _generator(self, patches: int) -> nn.Sequential:
        channels = self.image_shape[0]
        return network(patches, channels, self.config.kernels, channels, nn.Tanh())

    def _discriminator(self, patches: int) -> nn.Sequential:
        return network(patches, self.image_shape[0], self.config.kernels, 1)

    # ------------------------------------------------------------------------------------------- which patch, and when
    def plan(self, images: Iterable[Tensor], steps: int) -> None:
        """Networks for each of these images, and how many iterations of each scale. Raises InputError on fewer steps
        than scales."""
        count = len(self.sizes)
        if steps < count:
            raise InputError(f"setting steps is {steps}, but there are {count} scales; each needs a step or more")
        self._begin(torch.cat([resized(part, self.sizes[0]) for part in images]))
        self.iterations = [
            last - first for first, last in pairwise(steps * scale // count for scale in range(count + 1))
        ]
        self.total_steps = sum(
            iterations * len(self._groups(scale)) for scale, iterations in enumerate(self.iterations)
        )

    def _begin(self, keys: Tensor) -> None:
        """Untrained networks of the coarsest scale for the patches that look like `keys` there."""
        self.patches = len(keys)
        self.register_buffer("keys", keys)
        self.register_buffer("fixed", torch.zeros_like(keys))
        """z*: the noise that is to become the image itself."""
        self.register_buffer("amplitudes", torch.zeros(len(self.sizes), self.patches))
        """Standard deviation of the noise of each scale."""
        made = [kind(self.patches) for kind in (self._generator, self._discriminator)]
        self._regroup(0, *map(initialised, made))

    def _groups(self, scale: int) -> list[slice]:
        sizes = self.config.group_sizes
        size = sizes[min(scale, len(sizes) - 1)]
        return [slice(first, min(first + size, self.patches)) for first in range(0, self.patches, size)]

    def _regroup(self, scale: int, generators: Mapping[str, Tensor], discriminators: Mapping[str, Tensor]) -> None:
        """Networks to train at a scale, with these weights (of all patches), and optimisers that begin anew."""
        groups = self._groups(scale)
        self.generator = nn.ModuleList(self._made(self._generator, generators, rows) for rows in groups)
        self.discriminator = nn.ModuleList(self._made(self._discriminator, discriminators, rows) for rows in groups)
        self.optimizers = {
            f"{name} {number}": Adam(one.parameters(), self.config.learning_rate, (self.config.beta1, 0.999))
            for name, networks in (("generator", self.generator), ("discriminator", self.discriminator))
            for number, one in enumerate(networks)
        }

    def _made(self, kind: Callable[[int], nn.Module], state: Mapping[str, Tensor], rows: slice) -> nn.Module:
        with torch.device("meta"):  # draws nothing
            made = kind(rows.stop - rows.start)
        own = taken(state, self.patches, rows)
        made.load_state_dict({key: value.clone() for key, value in own.items()}, assign=True)
        return made

    def place(self, step: int) -> Place:
        """Where a step stands; what comes after the last one is more of the finest scale."""
        for scale, iterations in enumerate(self.iterations):
            groups = len(self._groups(scale))
            iteration, group = divmod(step, groups)
            if iteration < iterations or scale == len(self.iterations) - 1:
                return Place(scale, iteration, iterations, group)
            step -= iterations * groups
        raise AssertionError("there is a scale")

    def batch_size(self, setting: int) -> int:
        """The patches of the next group. Raises InputError where groups are larger than the setting allows."""
        if max(self.config.group_sizes) > setting:
            raise InputError(
                f"setting training.batch_size is {setting}, but group_sizes has {max(self.config.group_sizes)}; raise "
                "the one or lower the other"
            )
        place = self.place(self.step)
        rows = self._groups(place.scale)[place.group]
        return rows.stop - rows.start

    # -------------------------------------------------------------------------------------------------------- training
    def train_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """`discriminator_steps` of the critics of a group of patches, then `generator_steps` of their generators.

        batches: micro-batches of the group's own patches. Losses (the paper, equations 5 and 6, as they were in the
        last of these steps), each the mean over the patches, whose gradients are apart: discriminator, the critic's
        score of fakes less that of the real image; gradient_penalty, weighted; generator, minus the score of fakes;
        reconstruction, the mean squared error of what z* becomes, times α.
        """
        if not any(self.iterations):
            raise ValueError("a SinGAN is told its images before it is trained: plan() comes first")
        place = self.place(self.step)
        if place.scale > len(self.scales):
            self._next_scale()
        rows = self._groups(place.scale)[place.group]
        reals = [resized(distributed.gather(batch.images), self.sizes[place.scale]) for batch in batches]
        if place.iteration == 0:
            self._first_visit(rows, reals[0])
        generator, discriminator = self.generator[place.group], self.discriminator[place.group]
        adams = [self.optimizers[f"{name} {place.group}"] for name in ("generator", "discriminator")]
        for adam in adams:
            dropped = place.iteration >= self.config.drop_after * place.iterations
            adam.param_groups[0]["lr"] = self.config.learning_rate * (self.config.drop if dropped else 1.0)
        config, fixed = self.config, self._before(rows, fixed=True)

        def fakes() -> Tensor:
            before = self._before(rows, fixed=False)
            return self._added(generator, self._noise(rows, place.scale), before)

        def discriminator_loss(batch: Batch) -> dict[str, Tensor]:
            real = batch.images
            with torch.no_grad():
                fake = fakes()
            distance = self._scores(discriminator, fake) - self._scores(discriminator, real)
            penalty = self._penalty(discriminator, real, fake)
            return {"discriminator": distance.sum(), "gradient_penalty": config.gradient_penalty * penalty.sum()}

        def generator_loss(batch: Batch) -> dict[str, Tensor]:
            noise = self.fixed[rows] if place.scale == 0 else torch.zeros_like(fixed)
            errors = (self._added(generator, noise, fixed) - batch.images).square().mean((1, 2, 3))
            return {
                "generator": -self._scores(discriminator, fakes()).sum(),
                "reconstruction": config.reconstruction_weight * errors.sum(),
            }

        given = [Batch(real, batch.labels) for real, batch in zip(reals, batches, strict=True)]
        for _ in range(config.discriminator_steps):
            critic = self.update(adams[1], discriminator_loss, given)
        discriminator.requires_grad_(False)
        for _ in range(config.generator_steps):
            losses = self.update(adams[0], generator_loss, given)
        discriminator.requires_grad_(True)
        return {name: loss / len(reals[0]) for name, loss in (critic | losses).items()}

    def update(
        self, optimizer: Adam, loss_fn: Callable[[Batch], dict[str, Tensor]], batches: Sequence[Batch]
    ) -> dict[str, Tensor]:
        """Without the base class's freezing of all other networks, of which there are hundreds: train_step does it."""
        return minimise(optimizer, self.autocast()(loss_fn), batches)

    def _next_scale(self) -> None:
        """Freeze the generators, and begin the next scale with their weights and the critics'."""
        generators, discriminators = joined(self.generator), joined(self.discriminator)
        self._finish(generators)
        self._regroup(len(self.scales), generators, discriminators)

    def _finish(self, generators: Mapping[str, Tensor]) -> None:
        whole = self._made(self._generator, generators, slice(0, self.patches))
        self.scales.append(whole.eval().requires_grad_(False))

    @torch.no_grad()
    def _first_visit(self, rows: slice, real: Tensor) -> None:
        """At the coarsest scale draw z*; at the others measure how strong the noise is: by the RMSE of what z* became
        until now (section 3.2)."""
        scale = len(self.scales)
        if scale == 0:
            self.fixed[rows] = self._drawn(rows, 0)
            self.amplitudes[0, rows] = 1.0
            return
        error = (self._before(rows, fixed=True) - real).square().mean((1, 2, 3)).sqrt()
        self.amplitudes[scale, rows] = self.config.noise_factor * error

    def _drawn(self, rows: slice, scale: int) -> Tensor:
        """Standard normal noise of the size of a scale, the same in every process."""
        own = (rows.stop - rows.start) // distributed.size()
        return distributed.gather(self.noise(own, self.image_shape[0], *self.sizes[scale]))

    def _noise(self, rows: slice, scale: int) -> Tensor:
        return self.amplitudes[scale, rows, None, None, None] * self._drawn(rows, scale)

    @torch.no_grad()
    def _before(self, rows: slice, fixed: bool) -> Tensor:
        """What the generator that is trained adds something to: images of the finished scales, enlarged to its size, of
        new noise or (fixed) of z* and no further noise. At the coarsest scale zeros."""
        images = torch.zeros_like(self.keys[rows])
        for scale in range(len(self.scales)):
            if not fixed:
                noise = self._noise(rows, scale)
            else:
                noise = self.fixed[rows] if scale == 0 else torch.zeros_like(images)
            images = self._finished(scale, rows, noise, images)
            images = resized(images, self.sizes[scale + 1])
        return images

    def _finished(self, scale: int, rows: slice | Tensor, noise: Tensor, images: Tensor) -> Tensor:
        """Images of a scale by its frozen generators."""
        state = taken(self.scales[scale].state_dict(), self.patches, rows)
        return self._added(lambda x: functional_call(self._frozen[0], state, (x,)), noise, images)

    @staticmethod
    def _added(generator: Callable[[Tensor], Tensor], noise: Tensor, before: Tensor) -> Tensor:
        """x = x' + G(z + x'), of images x' (patches, C, H, W): the paper, equation 4."""
        padded = F.pad(noise + before, (BORDER,) * 4)
        return before + generator(padded.flatten(0, 1)[None]).view_as(before)

    @staticmethod
    def _scores(discriminator: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Mean of the critic's map of each image: (patches, C, H, W) → (patches,)."""
        return discriminator(images.flatten(0, 1)[None]).to(images.dtype)[0].mean((1, 2))

    def _penalty(self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """Mean over the pixels of (‖gradient of the critic's map‖ − 1)², at a random point between each real and fake
        image (WGAN-GP, equation 3, pixel by pixel): (patches,)."""
        drawn = distributed.draw(torch.rand, len(real) // distributed.size(), 1, 1, 1, generator=self.rng)
        share = distributed.gather(drawn).to(real.device)
        mixed = torch.lerp(fake, real, share).requires_grad_(True)
        maps = discriminator(mixed.flatten(0, 1)[None])
        (gradient,) = torch.autograd.grad(maps.to(mixed.dtype).sum(), mixed, create_graph=True)
        return (gradient.norm(dim=1) - 1).square().mean((1, 2))

    @torch.no_grad()
    def run_all_layers(self, batch: Batch) -> None:
        """Both networks of one group of patches: every scale has the same."""
        rows = self._groups(0)[0]
        image = resized(batch.images[:1], self.sizes[0]).expand(rows.stop - rows.start, -1, -1, -1)
        self._added(self.generator[0], torch.zeros_like(image), image)
        self._scores(self.discriminator[0], image)

    # ------------------------------------------------------------------------------------------------------------- use
    @torch.no_grad()
    def sample(self, count: int, label: str, noise: torch.Generator, source: Tensor | None) -> Tensor:
        """Variations of `source` (count, C, H, W), of images that were trained on. While a training is not yet at the
        finest scale they are enlarged to it.

        Raises InputError on other images, and on a start_scale that there is not."""
        if source is None or len(source) != count:
            raise InputError(f"singan needs one of its training images for each of the {count} images to make")
        if not 0 <= self.start_scale < len(self.sizes):
            raise InputError(
                f"setting sampling.start_scale is {self.start_scale}; singan has the scales 0 (the coarsest) to "
                f"{len(self.sizes) - 1} on images of {self.image_shape[1]}×{self.image_shape[2]} px"
            )
        source = source.to(self.device)
        rows, start = self._rows(source), self.start_scale
        images = torch.zeros_like(self.keys[rows]) if start == 0 else resized(source, self.sizes[start - 1])
        training = len(self.generator) > 0
        if training:
            self._finish(joined(self.generator))
        try:
            with self.autocast():
                for scale in range(start, len(self.scales)):
                    drawn = torch.randn(count, self.image_shape[0], *self.sizes[scale], generator=noise)
                    amplitude = self.amplitudes[scale, rows, None, None, None]
                    images = resized(images, self.sizes[scale])
                    images = self._finished(scale, rows, amplitude * drawn.to(self.device), images)
        finally:
            if training:
                self.scales = self.scales[:-1]
        return resized(images, self.image_shape[1:]).clamp(-1, 1)

    def _rows(self, images: Tensor) -> Tensor:
        """Which patch each image is: (N, C, H, W) → (N,)."""
        keys = resized(images, self.sizes[0])
        nearest = torch.cdist(keys.flatten(1), self.keys.flatten(1)).argmin(dim=1)
        strange = (keys - self.keys[nearest]).abs().amax((1, 2, 3)) > SAME
        if strange.any():
            raise InputError(
                f"{int(strange.sum())} of {len(images)} images are none of the {self.patches} that this SinGAN was "
                "trained on; it makes variations of those only"
            )
        return nearest

    # ----------------------------------------------------------------------------------------------------------- state
    def inference_state(self) -> dict[str, Tensor]:
        """All generators, z*, the strength of the noise, and what tells the patches apart."""
        held = {name: getattr(self, name).detach().cpu().clone() for name in ("keys", "fixed", "amplitudes")}
        scales = [one.state_dict() for one in self.scales]
        if len(self.generator):
            scales.append(joined(self.generator))
        standard = {"device": "cpu", "memory_format": torch.contiguous_format, "copy": True}
        return held | {
            f"scales.{scale}.{key}": value.detach().to(**standard)
            for scale, state in enumerate(scales)
            for key, value in state.items()
        }

    def load_inference_state(self, state: dict[str, Tensor]) -> None:
        """Load what inference_state returned, of any number of patches, to sample: nothing is trained any more."""
        held = {name for name in ("keys", "fixed", "amplitudes") if name in state}
        if len(held) < 3:
            raise InputError(f"these weights do not fit singan: of keys, fixed and amplitudes they have {sorted(held)}")
        self._forget(len(state["keys"]), 1 + max((int(key.split(".")[1]) for key in set(state) - held), default=-1))
        try:
            self.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise InputError(f"these weights do not fit singan: {error}") from error

    def _forget(self, patches: int, scales: int) -> None:
        """Empty networks of so many patches at so many finished scales, and none to train."""
        device, self.patches = self.keys.device, patches
        self.keys = torch.zeros(patches, *self.keys.shape[1:], device=device)
        self.fixed = torch.zeros_like(self.keys)
        self.amplitudes = torch.zeros(len(self.sizes), patches, device=device)
        with torch.device("meta"):
            finished = [self._generator(patches).eval().requires_grad_(False) for _ in range(scales)]
        self.scales = nn.ModuleList(one.to_empty(device=device) for one in finished)
        self.generator, self.discriminator, self.optimizers = nn.ModuleList(), nn.ModuleList(), {}

    def initialise_from(self, other: Generator) -> list[str]:
        raise InputError("singan has networks of each image's own, so it cannot begin with those of another training")

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Of any scale: networks in the groups of that scale are made first."""
        named = state["modules"]
        scale = len({key.split(".")[1] for key in named if key.startswith("scales.")})
        generators, discriminators = joined(self.generator), joined(self.discriminator)
        self.scales = nn.ModuleList()
        for _ in range(scale):
            self._finish(generators)
        self._regroup(scale, generators, discriminators)
        super().load_training_state(state)

"""What every generator shares: the base class that the training loop and the sampler use.

A generator is one file in `generators/` with a frozen dataclass `Config` and a class `Model(Generator)`. The training
knows only what stands here; schedules (growing, linear decay, image pools) are state inside the model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, ClassVar

import torch
from msgspec import Meta
from torch import Tensor, nn

from synthmed import generators
from synthmed.core.errors import InputError
from synthmed.data.channels import Coding, MaskChannels
from synthmed.data.imageset import PLAIN, Legend
from synthmed.training import distributed
from synthmed.training.checkpoint import weights_of
from synthmed.training.device import autocast
from synthmed.training.images import Batch
from synthmed.training.optimizer import Adam, minimise

EmaDecay = Annotated[
    float,
    Meta(
        ge=0,
        lt=1,
        description="Decay of the moving average of the generator's weights that samples are drawn from, a fraction "
        "per step (PGGAN's paper 0.999); in step n at most (1 + n) / (10 + n), so that a short training forgets its "
        "first, random weights.",
    ),
]


class Generator(nn.Module):
    """Base class of the generators.

    A subclass makes its networks, EMA copies (`ema_copy`) and `self.optimizers` in __init__, and implements
    `train_step` and, with a latent vector, `synthesise`, else `sample`. Networks are attributes of the module, so that
    their state is saved without further code; numbers that are none are named in `counters`, and other state is added
    in `training_state` and `load_training_state`. The loop never switches modes: the networks stay in training mode,
    the EMA copies in eval mode.
    """

    Config: ClassVar[type]
    needs: ClassVar[frozenset[str]]
    """What sample() makes an image from, out of NEEDS in generators/__init__.py, written as a literal, because the
    workflow reads it from the source text. "noise": drawn numbers, so that one source or none gives many samples;
    "label": the class that is asked for, any of those that were trained (without it one training makes one class);
    "image": an image of another class to translate, and every batch has batch_size images of every class; "mask": the
    channels of a mask (not together with "image"), and batches have masks; "origin": one of the images that it was
    trained on, which is varied, and batches are these images in turn, as they are. One that the Config has a setting of
    the same name for is needed where that is not empty, 0 or false; of a model, `needs` is what it needs."""
    inference_modules: ClassVar[tuple[str, ...]] = ("generator_ema",)
    """Names of the modules that sample() and discriminator_features() use; they are what the checkpoint carries."""

    counters: ClassVar[tuple[str, ...]] = ()
    """Names of attributes, beside `step`, that are numbers which a step changes."""

    latent_size: int | None = None
    """Length of the latent vector z, set in __init__; None: there is none (CycleGAN), and no synthesise()."""

    spaces: ClassVar[tuple[str, ...]] = ("z",)
    """Where images can be searched and moved, of a model with a latent vector: "z"; "w": what z is mapped to first, see
    w_of() and synthesise_w()."""

    label: str | None = None
    """Which of its classes synthesise() and w_of() make, of a model that needs "label" and was trained on several."""

    truncation: float = 1.0
    """How far samples lie from the mean of w, as a share (Karras et al. 2019, appendix B); of a model with w."""

    start_scale: int = 0
    """The scale from which samples are drawn, 0: the coarsest; of a model that needs an origin."""

    optimizers: dict[str, Adam]

    def __init__(
        self, config: Any, image_shape: tuple[int, int, int], classes: tuple[str, ...], mask_channels: int = 0
    ):
        """config: the generator's Config; image_shape: (C, H, W); classes: labels of this training, in order;
        mask_channels: of the masks it is given; only a model that needs masks has this argument, without default.

        Initial weights are drawn from torch's global RNG, which the loop seeds before it builds the model.
        """
        super().__init__()
        self.config = config
        self.needs = self.needed(config)
        self.image_shape = tuple(image_shape)
        self.classes = tuple(classes)
        self.mask_channels = mask_channels
        self.legend: Legend = PLAIN
        """Of the image sets that it learns and makes; `build` sets it, and `masks`."""
        self.masks: MaskChannels | None = None
        """How masks are channels: those that it is given or, without a need of them, the last ones of its images."""
        self.optimizers = {}
        self.precision = "fp32"
        """A setting, see training.device.autocast."""
        self.rng = torch.Generator()
        self.step = 0
        """Finished training steps; the loop counts."""
        self.total_steps = 0
        """Steps of the whole training, for schedules; `plan` sets it."""

    @classmethod
    def needed(cls, config: Any) -> frozenset[str]:
        """Those of `needs` that a model of these settings has."""
        return generators.needed(cls.needs, vars(config))

    @classmethod
    def build(
        cls,
        config: Any,
        image_shape: tuple[int, int, int],
        classes: tuple[str, ...],
        legend: Legend,
        coding: Coding | None,
    ) -> Generator:
        """A model of image sets with this legend. image_shape: with the channels of masks that it draws itself; coding:
        of masks, None where there are none. Raises InputError when it needs masks and there are none."""
        masks = None if coding is None else MaskChannels(coding, legend)
        if "mask" in cls.needed(config) and masks is None:
            raise InputError(f"{cls.__module__} makes images for masks, but the setting training.masks is null")
        given = 0 if masks is None else len(masks.names)
        model = cls(config, image_shape, classes, *([given] if "mask" in cls.needs else []))
        model.legend, model.masks = legend, masks
        return model

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @classmethod
    def paper_config(cls, image_shape: tuple[int, int, int]) -> Any:
        """The Config of the paper for images of this shape, to look at (`synthmed describe`). Raises InputError where
        none is noted."""
        raise InputError(f"{cls.__module__}: no settings of the paper are noted; give the settings of a training")

    def batch_size(self, setting: int) -> int:
        """Images of the next micro-batch (of each class where the model needs images), of all ranks together:
        the setting training.batch_size, or fewer where a model that grows asks for it."""
        return setting

    def plan(self, images: Iterable[Tensor], steps: int) -> None:
        """What the training will be, told before it: all its images, in parts (n, C, H, W) float32 in [-1, 1], and its
        setting `steps`. Sets total_steps, which is more where a model trains networks for one image after another."""
        self.total_steps = steps

    def run_all_layers(self, batch: Batch) -> None:
        """Run every layer once, for `synthmed describe`. Here: one training step."""
        self.train_step([batch])

    # ------------------------------------------------------------------------------------------ to be implemented
    def train_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """One optimiser step of every network.

        batches: micro-batches; their number is the gradient-accumulation factor. Returns the losses as scalar tensors
        without gradient (the loop turns them into numbers when it logs, so that a GPU does not wait at every loss).
        """
        raise NotImplementedError

    def synthesise(self, z: Tensor) -> Tensor:
        """Images of the latent vectors `z`: the EMA generator in eval mode, differentiable in z.

        z: (N, latent_size) float32 on the model's device, standard normal in training. Returns (N, C, H, W) float32 in
        [-1, 1]; an image depends on its own z only. Raises InputError when the model has no latent vector.
        """
        raise InputError(f"{type(self).__module__} has no latent vector, so nothing can be searched or moved in it")

    def w_of(self, z: Tensor) -> Tensor:
        """z (N, latent_size) → w (N, size of w), float32, differentiable, truncated by `truncation`. Raises
        InputError when the model has no w."""
        raise InputError(f"{type(self).__module__} has no space w; its latent spaces are {list(self.spaces)}")

    def synthesise_w(self, w: Tensor) -> Tensor:
        """Images of w (N, size of w): as synthesise() of the z that it comes from. Raises InputError when the model has
        no w."""
        raise InputError(f"{type(self).__module__} has no space w; its latent spaces are {list(self.spaces)}")

    def first_weights(self, space: str) -> Tensor:
        """What codes of a latent space are multiplied by first: (M, size of the code), of the averaged weights. Raises
        InputError when the model does not say."""
        raise InputError(f"{type(self).__module__} does not say which weights its codes meet first (first_weights)")

    @torch.no_grad()
    def sample(self, count: int, label: str, noise: torch.Generator, source: Tensor | None) -> Tensor:
        """`count` synthetic images of class `label`: (count, C, H, W) float32 in [-1, 1], no gradient, EMA weights in
        eval mode. All randomness comes from `noise` (a CPU generator). `source`: (count, C, H, W) in [-1, 1], the
        images to translate or to vary, or the channels of masks, for models that need such; None for the others.
        Here: synthesise() of normal noise."""
        if self.latent_size is None:
            raise NotImplementedError
        return self.synthesise(torch.randn(count, self.latent_size, generator=noise).to(self.device))

    def paint(self, masks: Tensor, noise: Tensor | None, dropout: torch.Generator | None) -> Tensor:
        """Images of masks with what makes them differ given apart, for models that need masks: (N, C, H, W) float32 in
        [-1, 1] of masks (N, K, H, W), differentiable in masks and noise. noise: (N, 1, H, W), None where the model has
        no such channel; dropout: a CPU generator that draws what is dropped, None: nothing is. Raises InputError when
        its noise cannot be given so."""
        raise InputError(f"{type(self).__module__} paints masks, but not with noise of one channel: choose another")

    def discriminator_features(self, images: Tensor) -> Tensor:
        """What the discriminator sees in each image, for losses that match features (AnoGAN): (N, D) float32 of images
        (N, C, H, W) in [-1, 1], differentiable in the images.

        Raises InputError unless the model keeps its discriminator in the checkpoint (`inference_modules`).
        """
        raise InputError(
            f"the checkpoints of {type(self).__module__} hold no discriminator, so there are no features to match; "
            "set the weight of feature matching to 0 or take another model"
        )

    # ---------------------------------------------------------------------------------------- tools for train_step
    def autocast(self) -> torch.autocast:
        """Context of the precision that the loop has set. Losses should be computed on `.float()` network outputs."""
        return autocast(self.precision, self.device)

    def noise(self, *shape: int) -> Tensor:
        """Standard normal noise from `self.rng`, shape (images, …): drawn on the CPU so that every device sees the same
        numbers; with several ranks, this rank's part of the noise of the whole batch."""
        return distributed.draw(torch.randn, *shape, generator=self.rng).to(self.device)

    def update(
        self,
        optimizer: Adam,
        loss_fn: Callable[[Batch], dict[str, Tensor]],
        batches: Sequence[Batch],
    ) -> dict[str, Tensor]:
        """One step of `optimizer`, see `minimise`; `loss_fn` runs under autocast.

        The parameters of the other optimisers are frozen meanwhile, so no gradient is computed that nobody uses (and
        fakes for a discriminator's step need no `detach`).
        """
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        others = [
            p
            for other in self.optimizers.values()
            for group in other.param_groups
            for p in group["params"]
            if id(p) not in own and p.requires_grad
        ]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            return minimise(optimizer, self.autocast()(loss_fn), batches)
        finally:
            for parameter in others:
                parameter.requires_grad_(True)

    @staticmethod
    def ema_copy(module: nn.Module) -> nn.Module:
        """A copy of `module` to hold the exponential moving average of its weights: no gradients, eval mode."""
        return copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def ema_update(self, ema: nn.Module, module: nn.Module, decay: float) -> None:
        """Move `ema` towards `module` by 1 − decay: parameters and float buffers (running statistics); copy counters.

        Early in training the decay is min(decay, (1 + step) / (10 + step)), so that the average forgets the random
        initial weights also in a short training.
        """
        self.move_average(ema, module, min(decay, (1 + self.step) / (10 + self.step)))

    @staticmethod
    @torch.no_grad()
    def move_average(ema: nn.Module, module: nn.Module, decay: float) -> None:
        """ema_update with a decay that the caller has reckoned for this step."""
        for average, current in zip(
            (*ema.parameters(), *ema.buffers()), (*module.parameters(), *module.buffers()), strict=True
        ):
            if average.is_floating_point():
                average.lerp_(current.to(average.dtype), 1 - decay)
            else:
                average.copy_(current)

    # ------------------------------------------------------------------------------------------------------- state
    def inference_state(self) -> dict[str, Tensor]:
        """What sample() needs, on the CPU, in standard memory format: `<module>.<key>` → tensor."""
        return {
            f"{name}.{key}": tensor
            for name in self.inference_modules
            for key, tensor in weights_of(getattr(self, name)).items()
        }

    def load_inference_state(self, state: dict[str, Tensor]) -> None:
        """Load what inference_state returned. Raises InputError when names or shapes are those of another model."""
        for name in self.inference_modules:
            part = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
            try:
                getattr(self, name).load_state_dict(part, strict=True)
            except RuntimeError as error:
                raise InputError(f"these weights do not fit {name}: {error}") from error

    @torch.no_grad()
    def initialise_from(self, other: Generator) -> list[str]:
        """Begin with the weights of `other`, a trained generator of this model: those that its checkpoint holds, an
        average also for the network that it is the average of. Optimisers begin anew.

        Returns the names of the tensors that stay as they were drawn, because they are not there or are of another
        number of classes; where such a tensor is in a module that the checkpoint lacks, the module's name.
        """
        held = {name: getattr(other, name) for name in self.inference_modules}
        held |= {name.removesuffix("_ema"): module for name, module in held.items()}
        anew = []
        for name, module in self.named_children():
            if name not in held:
                anew += [name] * bool(list(module.parameters()))
                continue
            theirs = held[name].state_dict()
            for key, tensor in module.state_dict().items():
                if key in theirs and theirs[key].shape == tensor.shape:
                    tensor.copy_(theirs[key])
                else:
                    anew.append(f"{name}.{key}")
        return anew

    def training_state(self) -> dict[str, Any]:
        """Everything a training needs to go on bit for bit: networks, EMA, optimisers, noise generator, step."""
        return {
            "modules": self.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "rng": self.rng.get_state(),
            **{name: getattr(self, name) for name in ("step", *self.counters)},
        }

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Load what training_state returned, into a model of the same config."""
        self.load_state_dict(state["modules"], strict=True)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.rng.set_state(state["rng"].cpu())
        for name in ("step", *self.counters):
            setattr(self, name, state[name])

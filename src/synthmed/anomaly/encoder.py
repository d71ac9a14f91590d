"""f-AnoGAN's encoder: from an image straight to the z from which the generator makes the nearest image.

Schlegl, Seeböck, Waldstein, Langs and Schmidt-Erfurth, "f-AnoGAN: Fast unsupervised anomaly detection with generative
adversarial networks", Medical Image Analysis 54, 2019, section 2.2, the variant izi_f: image → encoder → frozen
generator → image, with the residual and the discriminator's features as loss. Its variant ziz, z → image → encoder → z,
can be added by a weight: it never runs out of images, where izi_f sees the same few again and again.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import Tensor, nn

from synthmed import generators
from synthmed.anomaly.inputs import check_model, choose_images, read_images
from synthmed.core.errors import InputError
from synthmed.core.files import hash_file
from synthmed.core.provenance import code_hashes
from synthmed.core.settings import Count, ModelName, Seed
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.generators.base import Generator
from synthmed.generators.sampling import load_generator
from synthmed.training import checkpoint as checkpoints
from synthmed.training import distributed
from synthmed.training.device import derived_seed
from synthmed.training.history import History
from synthmed.training.images import to_model
from synthmed.training.loop import LoopOptions, fit, workers
from synthmed.training.optimizer import Adam, half_cosine, minimise
from synthmed.training.resume import ResumeState

FORMAT = 1
_GROUPS = 4
"""Of the group normalisation: statistics of one image only, so a batch of one gives the same z."""


@dataclass(frozen=True)
class EncoderOptions(LoopOptions):
    """The encoder that starts a search (f-AnoGAN, izi_f)."""

    limit: Annotated[
        Count | None,
        Meta(
            description="Normal training images, drawn by chance; null: all. They are held in memory (a byte a pixel)."
        ),
    ]
    channels: Annotated[
        tuple[Annotated[int, Meta(ge=_GROUPS, multiple_of=_GROUPS)], ...],
        Meta(
            min_length=1,
            description="Feature maps after each convolution, which halves the side; image side / 2^(their "
            "number) must be whole.",
        ),
    ]
    steps: Annotated[Count, Meta(description="Training steps.")]
    learning_rate: Annotated[
        float, Meta(gt=0, description="Of Adam at the first step; it falls to 0 as half a cosine.")
    ]
    feature_weight: Annotated[
        float,
        Meta(
            ge=0,
            description="κ, weight of the difference of discriminator features; above 0 only for generators that "
            "keep their discriminator (pggan).",
        ),
    ]
    latent_weight: Annotated[
        float, Meta(ge=0, description="Weight of the error of z on generated images (ziz); 0: izi_f alone.")
    ]
    log_every: Annotated[Count, Meta(description="Steps between rows of the history.")]


@dataclass(frozen=True)
class EncoderSettings(EncoderOptions):
    """Settings of `train-encoder`."""

    model: ModelName
    seed: Seed
    labels: Annotated[
        tuple[str, ...], Meta(min_length=1, description="Which images of the set it learns from: the normal ones.")
    ]


class Encoder(nn.Module):
    """(N, C, H, W) in [-1, 1] → z (N, latent_size), unbounded. Convolutions of stride 2 with group normalisation and
    LeakyReLU(0.2), then one dense layer."""

    def __init__(self, image_shape: tuple[int, int, int], channels: tuple[int, ...], latent_size: int):
        super().__init__()
        inputs, height, width = image_shape
        side = 2 ** len(channels)
        if height % side or width % side:
            raise InputError(
                f"setting channels has {len(channels)} entries, each halves the image, but {height}×{width} pixels "
                f"cannot be divided by {side}; give fewer"
            )
        layers: list[nn.Module] = []
        for before, after in pairwise((inputs, *channels)):
            layers += [
                nn.Conv2d(before, after, 4, 2, 1, bias=False),
                nn.GroupNorm(_GROUPS, after),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.layers = nn.Sequential(*layers)
        self.project = nn.Linear(channels[-1] * (height // side) * (width // side), latent_size)

    def forward(self, images: Tensor) -> Tensor:
        return self.project(self.layers(images).flatten(1))


def load_encoder(path: Path, checkpoint: Path, model: Generator) -> Encoder:
    """The encoder that `train-encoder` wrote, on the CPU, in eval mode, without gradients of its weights.

    Raises InputError when the file is none, or was trained with another generator than that of `checkpoint`.
    """
    remedy = "make it with `synthmed train-encoder`"
    content = checkpoints.read_torch(path, remedy)
    if not isinstance(content, dict) or set(content) != {"format", "generator", "channels", "state"}:
        raise InputError(f"{path}: no encoder; {remedy}")
    if content["format"] != FORMAT:
        raise InputError(f"{path}: encoder format {content['format']}, this version reads {FORMAT}; {remedy}")
    if content["generator"] != hash_file(checkpoint):
        raise InputError(f"{path}: trained with another generator than {checkpoint}; train the encoder again")
    encoder = Encoder(model.image_shape, tuple(content["channels"]), model.latent_size)
    encoder.load_state_dict(content["state"])
    return encoder.eval().requires_grad_(False)


# ------------------------------------------------------------------------------------------------------------ training
@dataclass(frozen=True)
class EncoderBatch:
    """images: (N, C, H, W) in [-1, 1]; z: (N, latent_size) for ziz, or None."""

    images: Tensor
    z: Tensor | None


class EncoderTraining:
    """The encoder and its optimiser, for training.loop.fit. The batch of a step depends on the seed and the step alone,
    so that a resumed training needs no state of random generators."""

    def __init__(self, model: Generator, pixels: Tensor, settings: EncoderSettings):
        """model: frozen; pixels: uint8 (N, C, H, W) on the CPU."""
        self.model, self.pixels, self.settings = model, pixels, settings
        torch.manual_seed(derived_seed(settings.seed, "weights of the encoder"))
        self.encoder = Encoder(model.image_shape, settings.channels, model.latent_size)
        self.encoder.to(device=model.device, memory_format=settings.memory_format)
        self.optimizer = Adam(self.encoder.parameters(), settings.learning_rate, (0.5, 0.999))
        self.step = 0

    def next_batches(self) -> list[EncoderBatch]:
        """Real images and latent vectors of the next step, of which this rank gets its rows."""
        settings = self.settings
        rng = torch.Generator().manual_seed(derived_seed(settings.seed, f"batch {self.step}"))
        chosen = torch.randperm(len(self.pixels), generator=rng)[: settings.batch_size * settings.accumulate]
        return [self._batch(distributed.own_rows(part), rng) for part in chosen.split(settings.batch_size)]

    def _batch(self, rows: Tensor, rng: torch.Generator) -> EncoderBatch:
        device, z = self.model.device, None
        if self.settings.latent_weight > 0:
            z = distributed.draw(torch.randn, len(rows), self.model.latent_size, generator=rng).to(device)
        images = to_model(self.pixels[rows].to(device)).contiguous(memory_format=self.settings.memory_format)
        return EncoderBatch(images, z)

    def train_step(self, batches: Sequence[EncoderBatch]) -> dict[str, Tensor]:
        """One step of Adam along the losses of the batches."""
        settings = self.settings
        self.optimizer.param_groups[0]["lr"] = half_cosine(settings.learning_rate, self.step, settings.steps)
        return minimise(self.optimizer, self.losses, batches)

    def losses(self, batch: EncoderBatch) -> dict[str, Tensor]:
        """Already weighted losses of real images and, for ziz, of latent vectors."""
        with self.model.autocast():
            made = self.model.synthesise(self.encoder(batch.images).float()).float()
        # Halved: residuals are given in the units of images in 0 … 1.
        losses = {"residual": ((batch.images - made) / 2).square().mean()}
        if self.settings.feature_weight > 0:
            with self.model.autocast():
                wanted, got = (self.model.discriminator_features(images).float() for images in (batch.images, made))
            losses["features"] = self.settings.feature_weight * (wanted - got).square().mean()
        if batch.z is not None:
            with torch.no_grad(), self.model.autocast():
                from_z = self.model.synthesise(batch.z).float()
            with self.model.autocast():
                back = self.encoder(from_z)
            losses["latent"] = self.settings.latent_weight * (batch.z - back.float()).square().mean()
        return losses

    def training_state(self) -> dict[str, Any]:
        return {"encoder": self.encoder.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}

    def load_training_state(self, state: dict[str, Any]) -> None:
        self.encoder.load_state_dict(state["encoder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


@step("train-encoder")
def train_encoder(
    settings: EncoderSettings, *, checkpoint: Path, images: Path, encoder: Output, history: Output
) -> None:
    """Train the encoder that starts the search of AnoGAN.

    For the generator of `checkpoint`, on the normal images of the set `images`.

    Writes encoder (.pt, loads with weights_only) and history (.csv: step, mean losses since the row before; `residual`
    is the mean squared residual of images in 0 … 1, the others are weighted). While it runs, `<encoder stem>.resume.pt`
    beside it holds everything; after an interruption of any kind the same call goes on from there, on a CPU bit for bit
    as if nothing had happened. Raises InputError before the first step on unusable input, TrainingError on a loss that
    is not finite, KeyboardInterrupt after SIGINT or SIGTERM.
    """
    image_set = ImageSet(images)
    keep = choose_images(image_set, settings.labels, settings.limit, settings.seed)
    if len(keep) < settings.batch_size * settings.accumulate:
        raise InputError(
            f"{images}: {len(keep)} images of {list(settings.labels)}, fewer than the batch_size {settings.batch_size}"
            f" times accumulate {settings.accumulate}; lower them or add images"
        )
    model = load_generator(checkpoint)
    check_model(model, checkpoint, settings.model, image_set)
    generator_hash = hash_file(checkpoint)
    code = code_hashes(__name__, generators.GENERATORS[settings.model])
    made_from = asdict(settings) | {"images": hash_file(images), "checkpoint": generator_hash, "code": code}
    made_from |= {"computed": settings.computed}
    resume, record = ResumeState(Path(encoder), made_from), History(history)
    with workers(settings) as device:
        model.to(device=device, memory_format=settings.memory_format)
        model.precision = settings.precision
        training = EncoderTraining(model, read_images(image_set, keep), settings)
        fit(
            training,
            training.next_batches,
            name="encoder",
            steps=settings.steps,
            log_every=settings.log_every,
            save_every=settings.save_every,
            history=record,
            resume=resume,
            device=device,
        )
    record.write()
    content = {
        "format": FORMAT,
        "generator": generator_hash,
        "channels": list(settings.channels),
        "state": checkpoints.weights_of(training.encoder),
    }
    checkpoints.write_torch(encoder, content)
    resume.remove()

"""AnoGAN: for each query image the nearest image that a generator of normal images can make.

Schlegl, Seeböck, Waldstein, Schmidt-Erfurth and Langs, "Unsupervised anomaly detection with generative adversarial
networks to guide marker discovery", IPMI 2017 (arXiv:1703.05921), section 2.2: gradient descent on z. The document
(seed 004, method 4.2) minimises the mean squared residual alone; the paper's feature matching is a setting.

Many images are searched at once. Each start of each image is a row of one batch with its own z and its own moments of
Adam, and the losses are added up, so that no row's gradient knows of another. A row that no longer improves is taken
out, and the batch shrinks.
"""

import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from synthmed import generators
from synthmed.anomaly.encoder import load_encoder
from synthmed.anomaly.found import Found, join, read_found, write_found
from synthmed.anomaly.inputs import check_model, choose_images, read_images
from synthmed.core.errors import InputError
from synthmed.core.files import hash_file, read_json, write_json
from synthmed.core.provenance import code_hashes
from synthmed.core.settings import Count, Device, ModelName, Precision, Seed, Threads
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.generators.base import Generator
from synthmed.generators.sampling import load_generator
from synthmed.training import checkpoint as checkpoints
from synthmed.training.device import choose_device, derived_seed
from synthmed.training.images import reduced, to_model, to_pixels
from synthmed.training.optimizer import half_cosine

logger = logging.getLogger(__name__)

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
_CHOOSING_SIDE = 64
"""Side in pixels to which images are reduced to choose the starts: 256 candidates at 1024 × 1024 would not fit."""


@dataclass(frozen=True)
class SearchOptions:
    """A search in latent space for the nearest image that a generator of normals can make."""

    start: Annotated[Literal["random", "encoder"], Meta(description="Where the first start of an image is.")]
    restarts: Annotated[Count, Meta(description="Starts an image, the best is kept; all but the encoder's at random.")]
    candidates: Annotated[
        Count,
        Meta(
            description="Random latent vectors of which the nearest to the query become the random starts; at "
            "least as many as those."
        ),
    ]
    steps: Annotated[
        Count,
        Meta(
            description="Optimisation steps at most; 1: the start alone (with start encoder: f-AnoGAN without search)."
        ),
    ]
    learning_rate: Annotated[
        float, Meta(gt=0, description="Of Adam over z at the first step; it falls to 0 as half a cosine.")
    ]
    feature_weight: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="λ: loss = (1 − λ) mean squared residual + λ mean squared difference of discriminator "
            "features; 0: the document's loss.",
        ),
    ]
    prior_weight: Annotated[float, Meta(ge=0, description="Weight of the mean of z squared in the loss.")]
    clip: Annotated[float, Meta(gt=0, description="Bound of |z| in standard deviations; null: none.")] | None
    tolerance: Annotated[float, Meta(ge=0, description="Share by which the loss must fall to count as an improvement.")]
    patience: Annotated[Count, Meta(description="Steps without improvement after which a start is left.")]
    batch_size: Annotated[
        Count, Meta(description="Images searched at once, each with its starts; results are kept after each batch.")
    ]
    precision: Precision
    log_every: Annotated[Count, Meta(description="Steps between lines of the log.")]
    threads: Threads
    device: Device


@dataclass(frozen=True)
class SearchSettings(SearchOptions):
    """Settings of `anomaly-search`."""

    model: ModelName
    seed: Seed
    labels: Annotated[tuple[str, ...] | None, Meta(description="Which images of the set are searched for; null: all.")]
    limit: Annotated[Count | None, Meta(description="Images of each label at most, drawn by chance; null: all.")]

    def __post_init__(self) -> None:
        if self.random_starts > self.candidates:
            raise InputError(
                f"setting candidates is {self.candidates}, fewer than the {self.random_starts} random starts of an "
                "image; raise it or lower restarts"
            )

    @property
    def random_starts(self) -> int:
        return self.restarts - (self.start == "encoder")


# ------------------------------------------------------------------------------------------------------------ the loss
class Loss:
    """The loss of each row against its query image.

    queries: (N, C, H, W) in [-1, 1]; `owner` (rows,) int64 says whose query each row has. Features of the queries are
    computed once. Raises InputError when the generator has no features and feature_weight asks for them.
    """

    def __init__(self, model: Generator, queries: Tensor, settings: SearchSettings):
        self.model, self.queries, self.settings = model, queries, settings
        self.features = None
        if settings.feature_weight > 0:
            with torch.no_grad(), model.autocast():
                self.features = model.discriminator_features(queries).float()

    def __call__(self, z: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (rows,) and reconstructions (rows, C, H, W) of z (rows, L)."""
        weight = self.settings.feature_weight
        with self.model.autocast():
            made = self.model.synthesise(z).float()
        # Halved: residuals are given in the units of images in 0 … 1.
        loss = (1 - weight) * ((self.queries[owner] - made) / 2).square().flatten(1).mean(1)
        if self.features is not None:
            with self.model.autocast():
                features = self.model.discriminator_features(made).float()
            loss = loss + weight * (self.features[owner] - features).square().mean(1)
        if self.settings.prior_weight > 0:
            loss = loss + self.settings.prior_weight * z.square().mean(1)
        return loss, made


# ---------------------------------------------------------------------------------------------------------- the search
@dataclass(frozen=True)
class Minimum:
    """Where each row came to rest: z (rows, L), its loss (rows,), and the steps it took (rows,) int64."""

    z: Tensor
    loss: Tensor
    iterations: Tensor


def descend(loss: Loss, starts: Tensor, owner: Tensor, settings: SearchSettings) -> Minimum:
    """Adam from `starts` (rows, L), each row on its own; the lowest point of each is kept.

    A row leaves the batch when `patience` steps have not lowered its loss by the share `tolerance` below the loss at
    which it last did. Raises InputError when a loss is not finite.
    """
    rows = len(starts)
    best = starts.clone()
    lowest = torch.full((rows,), torch.inf, device=starts.device)
    iterations = torch.zeros(rows, dtype=torch.int64, device=starts.device)
    # What follows is of the rows still in the batch, `active`.
    active = torch.arange(rows, device=starts.device)
    z, mean, square = starts.clone(), torch.zeros_like(starts), torch.zeros_like(starts)
    reference, waited = lowest.clone(), torch.zeros_like(active)
    for step in range(1, settings.steps + 1):
        z.requires_grad_(True)
        losses, _ = loss(z, owner[active])
        (gradient,) = torch.autograd.grad(losses.sum(), z)
        losses, z = losses.detach(), z.detach()
        if not torch.isfinite(losses).all():
            raise InputError(
                f"search step {step}: a loss is not finite; lower the setting learning_rate, set clip, or use "
                "precision fp32"
            )
        better = losses < lowest[active]
        best[active[better]], lowest[active[better]] = z[better], losses[better]
        iterations[active] += 1
        improved = losses < reference * (1 - settings.tolerance)
        reference = torch.where(improved, losses, reference)
        waited = torch.where(improved, 0, waited + 1)
        if step % settings.log_every == 0:
            logger.info(
                f"step {step}/{settings.steps}: {len(active)} of {rows} starts go on, mean loss {lowest.mean():.5f}"
            )
        going = waited < settings.patience
        if not going.all():
            active, z, gradient, mean, square, reference, waited = (
                values[going] for values in (active, z, gradient, mean, square, reference, waited)
            )
            if len(active) == 0:
                break
        mean = _BETAS[0] * mean + (1 - _BETAS[0]) * gradient
        square = _BETAS[1] * square + (1 - _BETAS[1]) * gradient.square()
        rate = half_cosine(settings.learning_rate, step, settings.steps)
        z = z - rate * (mean / (1 - _BETAS[0] ** step)) / ((square / (1 - _BETAS[1] ** step)).sqrt() + _EPSILON)
        if settings.clip is not None:
            z = z.clamp(-settings.clip, settings.clip)
    return Minimum(best, lowest, iterations)


class Candidates:
    """Random latent vectors and their images, reduced: the nearest to a query are where its search starts.

    They depend on the seed only, so that the starts of an image do not depend on which images are searched with it.
    """

    @torch.no_grad()
    def __init__(self, model: Generator, settings: SearchSettings):
        noise = torch.Generator().manual_seed(derived_seed(settings.seed, "starts of the anomaly search"))
        self.z = torch.randn(settings.candidates, model.latent_size, generator=noise).to(model.device)
        if settings.clip is not None:
            self.z = self.z.clamp(-settings.clip, settings.clip)
        parts = []
        for part in self.z.split(settings.batch_size):
            with model.autocast():
                parts.append(reduced(model.synthesise(part).float(), _CHOOSING_SIDE))
        self.images = torch.cat(parts)

    def nearest(self, queries: Tensor, count: int) -> Tensor:
        """The `count` candidates of each query (N, C, H, W) with the smallest squared residual, (N, count, L)."""
        if count == len(self.z):
            return self.z[None].expand(len(queries), -1, -1)
        # Sums of squares without the query's own, which is the same for all candidates.
        products = reduced(queries, _CHOOSING_SIDE).flatten(1) @ self.images.flatten(1).T
        distances = self.images.square().flatten(1).sum(1) - 2 * products
        return self.z[distances.topk(count, dim=1, largest=False).indices]


def search_batch(
    model: Generator,
    queries: Tensor,
    names: list[str],
    settings: SearchSettings,
    candidates: Candidates,
    encoded: Tensor | None,
) -> Found:
    """Search for all of `queries` (N, C, H, W) in [-1, 1] at once.

    encoded: (N, L), where the encoder starts, for settings.start "encoder"; None otherwise. It is brought within
    settings.clip.
    """
    count = len(queries)
    starts = candidates.nearest(queries, settings.random_starts) if settings.random_starts else None
    if encoded is not None:
        if settings.clip is not None:
            encoded = encoded.clamp(-settings.clip, settings.clip)
        starts = encoded[:, None] if starts is None else torch.cat([encoded[:, None], starts], 1)
    owner = torch.arange(count, device=queries.device).repeat_interleave(settings.restarts)
    loss = Loss(model, queries, settings)
    minimum = descend(loss, starts.flatten(0, 1), owner, settings)
    losses = minimum.loss.view(count, settings.restarts)
    winner = losses.argmin(1)
    row = torch.arange(count, device=queries.device) * settings.restarts + winner
    z = minimum.z[row]
    with torch.no_grad():
        made = torch.cat([loss.model.synthesise(part).float() for part in z.split(settings.batch_size)]).clamp(-1, 1)
    residual = (queries - made) / 2
    random = winner.cpu().numpy() >= (encoded is not None)
    return Found(
        images=np.array(names),
        reconstruction=to_pixels(made).permute(0, 2, 3, 1).cpu().numpy(),
        residual=residual.permute(0, 2, 3, 1).cpu().numpy().astype(np.float16),
        z=z.cpu().numpy(),
        loss=losses[torch.arange(count, device=queries.device), winner].cpu().numpy(),
        error=residual.square().flatten(1).mean(1).cpu().numpy(),
        iterations=minimum.iterations[row].cpu().numpy().astype(np.int32),
        passes=minimum.iterations.view(count, -1).sum(1).cpu().numpy().astype(np.int32),
        started=np.where(random, "random", "encoder"),
    )


# ------------------------------------------------------------------------------------------------------------ the step
class Chunks:
    """Finished chunks of an interrupted search, beside its output: `<output stem>.chunk_<first image>.npz`.

    Raises InputError when they come from other settings, inputs or code.
    """

    def __init__(self, output: Path, made_from: dict):
        self.output, self.made_from = output, made_from
        self.note = output.with_name(f"{output.stem}.chunks.json")
        for leftover in output.parent.glob(f".{output.stem}.chunk*.part.*"):  # of a process killed while it wrote
            leftover.unlink()
        if not self.note.exists():
            return
        content = read_json(self.note)
        if differing := checkpoints.differences(content["made_from"], self.made_from):
            raise InputError(
                f"{self.note}: the interrupted search had other settings, inputs or code ({'; '.join(differing)}); set "
                f"them back to continue it, or delete {self.note.name} to start anew"
            )

    def path(self, first: int) -> Path:
        return self.output.with_name(f"{self.output.stem}.chunk_{first:06d}.npz")

    def read(self, first: int) -> tuple[Found, float] | None:
        """The chunk that begins with image `first` and its seconds, if it is there."""
        if not self.note.exists() or str(first) not in (seconds := read_json(self.note)["seconds"]):
            return None
        return read_found(self.path(first)), seconds[str(first)]

    def write(self, first: int, found: Found, seconds: float) -> None:
        """Keep a chunk. It counts only once its seconds are noted."""
        noted = read_json(self.note)["seconds"] if self.note.exists() else {}
        write_found(self.path(first), found)
        write_json(self.note, {"made_from": self.made_from, "seconds": {**noted, str(first): seconds}})

    def remove(self) -> None:
        self.note.unlink(missing_ok=True)
        for path in self.output.parent.glob(f"{self.output.stem}.chunk_*.npz"):
            path.unlink()


@step("anomaly-search")
def anomaly_search(
    settings: SearchSettings, *, checkpoint: Path, encoder: Path | None, images: Path, found: Output, times: Output
) -> None:
    """Search for the nearest image that a generator of normals can make.

    Search for every image of the set that settings.labels and limit choose.

    checkpoint: of a generator of normal images; encoder: from `train-encoder` on the same checkpoint, only with start
    "encoder". Writes found (.npz, see anomaly.found) and times (.json: seconds of each image, of preparing the starts,
    and the device; apart, because equal searches give an equal `found`). Rows do not influence each other, but a
    processor adds up in another order in batches of another size, so results for another batch_size agree to a
    tolerance only.

    While it runs, finished chunks lie beside `found`; the same call goes on after them. Raises InputError before the
    first step on unusable input.
    """
    if (encoder is not None) != (settings.start == "encoder"):
        raise InputError(
            f"setting start is {settings.start!r}, but {'an' if encoder else 'no'} encoder is given; they must agree"
        )
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    queries = ImageSet(images)
    positions = choose_images(queries, settings.labels, settings.limit, settings.seed)
    model = load_generator(checkpoint)
    check_model(model, checkpoint, settings.model, queries)
    model.to(device)
    model.precision = settings.precision
    network = None if encoder is None else load_encoder(encoder, checkpoint, model).to(device)
    made_from = checkpoints.plain(asdict(settings)) | {
        name: hash_file(path)
        for name, path in (("checkpoint", checkpoint), ("images", images), ("encoder", encoder))
        if path is not None
    }
    made_from["code"] = code_hashes(__name__, generators.GENERATORS[settings.model])
    chunks = Chunks(Path(found), json.loads(json.dumps(made_from)))

    before = time.perf_counter()
    candidates = Candidates(model, settings) if settings.random_starts else None
    start_seconds = time.perf_counter() - before
    parts: list[Found] = []
    seconds: dict[str, float] = {}
    for first in range(0, len(positions), settings.batch_size):
        kept = chunks.read(first)
        if kept is None:
            own = positions[first : first + settings.batch_size]
            names = [queries.rows[position]["image"] for position in own]
            before = time.perf_counter()
            tensor = to_model(read_images(queries, own).to(device))
            encoded = None
            if network is not None:
                with torch.no_grad():
                    encoded = network(tensor)
            part = search_batch(model, tensor, names, settings, candidates, encoded)
            kept = part, time.perf_counter() - before
            chunks.write(first, *kept)
            logger.info(
                f"images {first + 1}–{first + len(own)} of {len(positions)}: {kept[1] / len(own):.2f} s an image, "
                f"mean {part.iterations.mean():.0f} steps, mean squared residual {part.error.mean():.5f}"
            )
        parts.append(kept[0])
        # The time of a batch is shared out by passes: an image whose starts go on longer takes more of it.
        shares = kept[0].passes / kept[0].passes.sum()
        seconds |= dict(zip(kept[0].images.tolist(), (shares * kept[1]).tolist(), strict=True))
    write_found(found, join(parts))
    write_json(
        times,
        {
            "device": describe_device(device),
            "threads": settings.threads,
            "batch_size": settings.batch_size,
            "start": settings.start,
            "start_seconds": start_seconds,
            "seconds": seconds,
        },
    )
    chunks.remove()


def describe_device(device: torch.device) -> str:
    """The device in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"

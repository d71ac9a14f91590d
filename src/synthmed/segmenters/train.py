"""Segmenters: networks from an image to its mask, several seeds, the best check of each by its validation IoU."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized

from synthmed import segmenters
from synthmed.augment.pairs import augment_pairs
from synthmed.core.errors import InputError
from synthmed.core.files import hash_file, read_csv, write_csv, write_json
from synthmed.core.provenance import code_hashes
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, Legend
from synthmed.networks.blocks import count_parameters
from synthmed.segmenters.pairs import Pairs, read_arm
from synthmed.segmenters.settings import IOU, SELECTION, TrainSegmenterSettings
from synthmed.segmenters.trained import FORMAT, build, load
from synthmed.training import checkpoint as checkpoints
from synthmed.training import distributed
from synthmed.training.checked import CheckedTraining, Measured, budget_limited, train_seeds
from synthmed.training.device import autocast
from synthmed.training.history import History, TrainingError
from synthmed.training.images import Batch, to_model

logger = logging.getLogger(__name__)

SMOOTH = 1.0
"""Added to both sides of Dice in the loss, so that an empty mask without a prediction costs nothing."""
RAREST = 1e-3
"""A channel's share of the pixels of all masks counts as no less than this, and as no more than 1 less this, where the
beginning and the balanced weights follow from it: one that is nowhere would have no finite ones."""
GRID = ("learning_rate", "dropout", "iou", "false_positives", "false_negatives", "best_step")
"""Columns of the grid: validation IoU of the best check, and its mean false pixels, at the network's size."""


# ------------------------------------------------------------------------------------------------------------ training
def classes_of(channels: Tensor, instances: bool) -> Tensor:
    """What is drawn most at each pixel: (N, K, H, W) in [0, 1] → int64 (N, H, W), 0 for the background, of instances 1
    for every object, else the number of the class."""
    if instances:
        return (channels[:, :3].argmax(1) > 0).long()
    values, places = channels.max(1)
    return torch.where(values >= 0.5, places + 1, 0)


def overlaps(drawn: Tensor, truth: Tensor, classes: int) -> Tensor:
    """IoU, false-positive and false-negative pixels of each image, means over the classes: (N, H, W) twice → (N, 3).

    Where neither shows a class its IoU is 1.
    """
    found = []
    for number in range(1, classes + 1):
        ours, theirs = (drawn == number).flatten(1), (truth == number).flatten(1)
        both = (ours & theirs).sum(1).double()
        more, less = ours.sum(1) - both, theirs.sum(1) - both
        whole = both + more + less
        found.append(torch.stack([torch.where(whole > 0, both / whole.clamp(min=1), 1.0), more, less], dim=1))
    return torch.stack(found).mean(0)


@torch.no_grad()
def begin_with(network: nn.Module, drawn: Tensor, weight: Tensor) -> None:
    """Let a network that has learnt nothing say of each channel how much of the masks it is, which the first steps
    would have to learn: by the bias of its layer `last` (Lin et al. 2017, section 4.1), whose weights are centred.

    What that layer is given comes out of ReLUs, so hardly any of it is negative. Where all weights of a channel are,
    whatever is seen makes it unlikelier, and 120 steps of Adam did not turn them round.

    drawn: share of the pixels of each channel, in (0, 1), and weight, > 0, of a drawn pixel in the loss, both (K,).
    """
    last = network.last
    weights = last.parametrizations.weight.original if is_parametrized(last) else last.weight
    weights -= weights.mean(0 if isinstance(last, nn.ConvTranspose2d) else 1, keepdim=True)
    last.bias.copy_((weight * drawn / (1 - drawn)).log())


class Training(CheckedTraining):
    """The training of one seed of a segmenter."""

    def __init__(
        self,
        settings: TrainSegmenterSettings,
        number: int,
        data: tuple[Pairs, Pairs],
        device: torch.device,
        chosen: tuple[float, float],
    ):
        """chosen: learning rate and dropout."""
        self.train, self.validation = data
        rate, dropout = chosen
        outputs = self.train.masks.shape[1]
        design = (settings.architecture, settings.widths, settings.spectral_norm, dropout, self.input_shape(), outputs)
        super().__init__(
            settings, number, len(self.train.images), lambda: build(*design), rate, device, settings.patience
        )
        self.instances = settings.masks == "instances"
        self.classes = 1 if self.instances else outputs
        drawn = (self.train.masks.double().mean((0, 2, 3)) / 255).clamp(RAREST, 1 - RAREST)
        weight = (1 - drawn) / drawn if settings.class_weights == "balanced" else torch.ones_like(drawn)
        self.weight = weight.float()[:, None, None].to(device)
        begin_with(self.model, drawn, weight)

    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of what the network is given."""
        return tuple(self.train.images.shape[1:])

    def batch(self, chosen: Tensor) -> Batch:
        return self._on_device(*map(distributed.own_rows, self.pairs(chosen)))

    def pairs(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Images in [-1, 1] and channels of masks, 0 or 1, of the training part, augmented where settings say so."""
        images, masks = to_model(self.train.images[chosen]), self.train.masks[chosen].float() / 255
        if self.settings.augment:
            images, masks = augment_pairs(images, masks, self.settings.augmentation, self.rng)
        return images, masks

    def _on_device(self, images: Tensor, masks: Tensor) -> Batch:
        layout = {"memory_format": self.settings.memory_format}
        images, masks = (part.to(self.device).contiguous(**layout) for part in (images, masks))
        return Batch(images, torch.zeros(len(images), dtype=torch.int64), masks)

    def _drawn(self, images: Tensor) -> Tensor:
        with autocast(self.settings.precision, self.device):
            return self.model(images)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of a batch, and its IoU (see IOU), which has no gradient."""
        logits = self._drawn(batch.images).float()
        found = overlaps(self._classes(logits.detach().sigmoid()), self._classes(batch.masks), self.classes)
        return {"loss": self.loss(logits, batch.masks), "iou": found[:, 0].mean().float()}

    def loss(self, logits: Tensor, masks: Tensor, each: bool = False) -> Tensor:
        """Cross-entropy averaged over pixels and channels; with Dice (Milletari et al. 2016, of sums, not squares).
        each: of every image, (N,), not of the batch."""
        loss = F.binary_cross_entropy_with_logits(logits, masks, pos_weight=self.weight, reduction="none")
        loss = loss.mean((1, 2, 3)) if each else loss.mean()
        if self.settings.loss == "bce":
            return loss
        drawn = logits.sigmoid()
        both, all_ = (drawn * masks).sum((2, 3)), (drawn + masks).sum((2, 3))
        apart = 1 - (2 * both + SMOOTH) / (all_ + SMOOTH)
        return loss + (apart.mean(1) if each else apart.mean())

    def _classes(self, channels: Tensor) -> Tensor:
        return classes_of(channels, self.instances)

    def validating(self) -> Iterator[Batch]:
        """The validation images of this rank."""
        for part in self.validation_batches(self.validation.images):
            masks = self.validation.masks[part].float() / 255
            yield self._on_device(to_model(self.validation.images[part]), masks)

    @torch.no_grad()
    def measure(self, step: int) -> Measured:
        """Loss, IoU (see IOU) and mean false pixels of the validation part; see SELECTION."""
        self.model.eval()
        rows = []
        for batch in self.validating():
            logits = self._drawn(batch.images).float()
            found = overlaps(self._classes(logits.sigmoid()), self._classes(batch.masks), self.classes).cpu()
            losses = self.loss(logits, batch.masks, each=True)
            rows.append(torch.cat([losses.double().cpu()[:, None], found], dim=1))
        loss, iou, more, less = self.together(rows).mean(0).tolist()
        if not math.isfinite(loss):
            raise TrainingError(
                f"training step {step}: the validation loss is {loss}; lower learning_rates "
                f"({list(self.settings.learning_rates)}) and start again"
            )
        kept = {"iou": iou, "loss": loss, "false_positives": more, "false_negatives": less}
        return Measured({"validation_loss": loss, "validation_iou": iou}, (-iou, loss), kept)

    def result(self, history: History) -> dict[str, Any]:
        """Best weights and the entry of the report."""
        entry = {
            "seed": self.number,
            "best_step": self.best["step"],
            "validation_loss": self.best["loss"],
            "validation_iou": self.best["iou"],
            "false_positives": self.best["false_positives"],
            "false_negatives": self.best["false_negatives"],
            "history": self.checks(history),
        }
        return {"state": self.best["state"], "entry": entry}


@step("train-segmenter")
def train(
    settings: TrainSegmenterSettings,
    *,
    train: Path,
    validation: Path,
    arms: Path | None,
    synthetic: list[Path],
    grid: Path | None,
    segmenter: Output,
    report: Output,
) -> None:
    """Train a segmenter on images with masks.

    Train the network with every seed and write the weights of the best check of each.

    train, validation: image sets with masks. arms: of `compose-arms`, where settings.arm names one of it; synthetic:
    the sets of settings.sets, in that order. grid: of `choose-segmenter`, where the settings leave a choice. segmenter:
    .pt, see `load`. report: JSON: images and patients of both parts; a seed's best step, validation IoU and history.

    Best check: SELECTION. After an interruption of any kind the same call goes on from `<segmenter stem>.resume.pt`, on
    a CPU bit for bit as if nothing had happened.

    Raises InputError before the first step when an image has no mask, nothing is drawn in the masks, images are too
    few, of different sizes, or their patients in both parts; TrainingError on a loss that is not finite;
    KeyboardInterrupt after SIGINT or SIGTERM.
    """
    parts, validating = read_arm(settings, Path(train), Path(validation), arms, synthetic)
    chosen = _chosen(settings, grid)
    made_from = asdict(settings) | {"train": hash_file(train), "validation": hash_file(validation)}
    made_from |= {"arms": hash_file(arms) if arms else None, "synthetic": [hash_file(path) for path in synthetic]}
    made_from |= {"chosen": chosen, "code": code_hashes(__name__, segmenters.SEGMENTERS[settings.architecture])}
    images = counted(parts[0], validating)
    logger.info(
        f"training {settings.architecture}: {len(parts[0].images)} images of {tuple(parts[0].images.shape[1:])}, "
        f"validation {len(validating.images)}, {settings.seeds} seeds"
    )
    results, resume = train_seeds(
        settings,
        Path(segmenter),
        made_from,
        lambda number, device: Training(settings, number, (parts[number], validating), device, chosen),
        Training.result,
    )
    design = {
        "architecture": settings.architecture,
        "widths": list(settings.widths),
        "spectral_norm": settings.spectral_norm,
        "dropout": chosen[1],
        "image_shape": list(validating.images.shape[1:]),
        "masks": settings.masks,
    }
    write_segmenter(segmenter, design, ImageSet(train).legend, [result["state"] for result in results])
    entries = [result["entry"] for result in results]
    write_report(report, settings, design, chosen[0], load(segmenter).models[0], images, entries)
    resume.remove()


def counted(training: Pairs, validating: Pairs) -> dict[str, dict[str, int]]:
    """Images and patients of both parts, for the report."""
    parts = {"train": training, "validation": validating}
    return {name: {"images": len(part.images), "patients": len(set(part.patients))} for name, part in parts.items()}


def write_segmenter(
    path: Path, design: Mapping[str, Any], legend: Legend, states: Sequence[Mapping[str, Tensor]]
) -> None:
    """Write what `trained.load` reads. design: of its networks; states: their weights, one a seed."""
    content = {"kind": "segmenter", "format": FORMAT, "legend": legend.masks, "classes": dict(legend.classes)}
    checkpoints.write_torch(path, {**content, **design, "states": list(states)})


def write_report(
    path: Path,
    settings: TrainSegmenterSettings,
    design: Mapping[str, Any],
    learning_rate: float | None,
    network: nn.Module,
    images: Mapping[str, Mapping[str, int]],
    entries: Sequence[Mapping[str, Any]],
) -> None:
    """Write the report of a training. images: of each part, how many of how many patients; entries: one a seed."""
    write_json(
        path,
        {
            **design,
            "parameters": count_parameters(network),
            "learning_rate": learning_rate,
            "images": images,
            "selection": SELECTION.format(iou=IOU[settings.masks]),
            "checked_by": IOU[settings.masks],
            "budget_limited": bool(entries) and budget_limited([one["best_step"] for one in entries], settings.steps),
            "seeds": entries,
        },
    )


def _chosen(settings: TrainSegmenterSettings, grid: Path | None) -> tuple[float, float]:
    """Learning rate and dropout: those of the settings, or of the row of the grid with the highest validation IoU."""
    several = len(settings.learning_rates) * len(settings.dropouts) > 1
    if several != (grid is not None):
        raise InputError(
            f"settings learning_rates {list(settings.learning_rates)} and dropouts {list(settings.dropouts)} "
            f"{'leave a choice, which a grid makes' if several else 'leave no choice, but a grid is given'} "
            "(step choose-segmenter)"
        )
    if grid is None:
        return settings.learning_rates[0], settings.dropouts[0]
    best = max(read_csv(grid), key=lambda row: float(row["iou"]))
    return float(best["learning_rate"]), float(best["dropout"])


@step("choose-segmenter")
def choose(settings: TrainSegmenterSettings, *, train: Path, validation: Path, grid: Output) -> None:
    """Train a segmenter at every learning rate and dropout of the settings, on the real images.

    grid: CSV, see GRID: one training each, with the first seed; the settings' resume state is kept beside it.
    """
    parts, validating = read_arm(settings, Path(train), Path(validation), None, [])
    points = [(rate, dropout) for rate in settings.learning_rates for dropout in settings.dropouts]
    made_from = asdict(settings) | {"train": hash_file(train), "validation": hash_file(validation)}
    made_from |= {"code": code_hashes(__name__, segmenters.SEGMENTERS[settings.architecture])}
    results, resume = train_seeds(
        settings,
        Path(grid),
        made_from,
        lambda number, device: Training(settings, 0, (parts[0], validating), device, points[number]),
        lambda training, history: {"entry": Training.result(training, history)["entry"]},
        count=len(points),
    )
    rows = [
        {"learning_rate": rate, "dropout": dropout, "iou": result["entry"]["validation_iou"]}
        | {name: result["entry"][name] for name in GRID[3:]}
        for (rate, dropout), result in zip(points, results, strict=True)
    ]
    write_csv(grid, rows, GRID)
    resume.remove()

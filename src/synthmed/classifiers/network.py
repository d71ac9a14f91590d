"""Classifiers that learn all their weights: a small CNN, ResNet-50, EfficientNet-B2 or Inception-v4, several seeds.

Every target has an output: a sigmoid of its own, or one of a softmax, where the targets exclude each other.

The document's classifier is ResNet-50 with its softmax replaced by a sigmoid for normal/abnormal (seed 004, section
2.2), or by six sigmoids for normal and five findings (section 3.2). A small CNN stands in for it where there are a few
hundred small images and no GPU. Thresholds are chosen on the validation images, never on test images.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.classifiers.architectures import build
from synthmed.classifiers.labelled_images import Part, augmented, read_arm, read_parts, resized
from synthmed.classifiers.network_settings import SELECTION, NetworkSettings
from synthmed.core.errors import InputError
from synthmed.core.files import hash_file, write_csv, write_json
from synthmed.core.provenance import code_hashes
from synthmed.core.settings import BatchSize, Device, Threads
from synthmed.core.step import Output, step
from synthmed.data.imageset import NOT_MADE, ImageSet
from synthmed.metrics.classification import auroc, choose_threshold
from synthmed.networks.blocks import count_parameters
from synthmed.training import checkpoint as checkpoints
from synthmed.training import distributed
from synthmed.training.arm_images import unmade
from synthmed.training.checked import CheckedTraining, Measured, budget_limited, train_seeds
from synthmed.training.device import autocast, choose_device
from synthmed.training.history import History, TrainingError
from synthmed.training.images import Batch, to_model
from synthmed.weights import read as weight_files

logger = logging.getLogger(__name__)

FORMAT = 2
_KEYS = {"format", "architecture", "channels", "dropout", "targets", "outputs", "image_shape", "thresholds", "states"}

THRESHOLD_RULE = "the largest Youden index (sensitivity + specificity − 1) on the validation images"


# --------------------------------------------------------------------------------------------------- the trained result
@dataclass(frozen=True)
class Classifier:
    """A trained classifier. targets: names of the T outputs; image_shape: (C, H, W); thresholds: float64 (seeds, T),
    chosen on validation images, positive when the likelihood is at least that; models: one network a seed, in eval
    mode, no gradients on weights, forward(images (N, C, H, W) in [-1, 1]) → logits (N, T); exclusive: whether one of
    the targets is true of an image, and likelihoods add up to 1."""

    architecture: str
    targets: tuple[str, ...]
    image_shape: tuple[int, int, int]
    thresholds: np.ndarray
    models: list[nn.Module]
    exclusive: bool = False

    @staticmethod
    def last_convolution(model: nn.Module) -> nn.Module:
        """The module of one of `models` whose output is the last feature map, for class activation maps."""
        return model.last_convolution

    def position(self, target: str) -> int:
        """Position of the output `target`. Raises InputError when there is none."""
        if target not in self.targets:
            raise InputError(f"the classifier has no output {target!r}; it has {list(self.targets)}")
        return self.targets.index(target)

    def to(self, device: torch.device) -> "Classifier":
        """Move the networks to `device` (in place), and return the classifier."""
        for model in self.models:
            model.to(device)
        return self


def load(path: str | Path) -> Classifier:
    """Read what `synthmed train-classifier` wrote, on the CPU. Raises InputError when the file is something else, and
    when there was nothing to train it on."""
    content = _read(path)
    if NOT_MADE in content:
        raise InputError(f"{path}: not trained, as its set of images could not be made: {content[NOT_MADE]}")
    return _built(content)


def load_trained(arms: Sequence[str], paths: Sequence[str | Path]) -> Iterator[tuple[str, Classifier]]:
    """The classifiers of arms, one after the other, without the arms whose set could not be made. See load."""
    for arm, path in zip(arms, paths, strict=True):
        content = _read(path)
        if NOT_MADE not in content:
            yield arm, _built(content)


def _read(path: str | Path) -> dict[str, Any]:
    content = checkpoints.read_torch(path, "train the classifier again")
    if not isinstance(content, dict) or set(content) not in (_KEYS, {NOT_MADE}):
        raise InputError(f"{path}: no classifier; give the file that `synthmed train-classifier` wrote")
    if content.get("format", FORMAT) != FORMAT:
        raise InputError(
            f"{path}: classifier format {content['format']}, this version reads {FORMAT}; train the classifier again"
        )
    return content


def _built(content: Mapping[str, Any]) -> Classifier:
    shape = tuple(content["image_shape"])
    models = []
    for state in content["states"]:
        model = build(content["architecture"], content["channels"], len(content["targets"]), shape, content["dropout"])
        model.load_state_dict(state)
        models.append(model.eval().requires_grad_(False))
    thresholds = content["thresholds"].numpy()
    exclusive = content["outputs"] == "exclusive"
    return Classifier(content["architecture"], tuple(content["targets"]), shape, thresholds, models, exclusive)


def likelihood(logits: Tensor, exclusive: bool) -> Tensor:
    """Logits (N, T) → likelihoods (N, T), float64: a sigmoid each, or of exclusive outputs the softmax."""
    return logits.double().softmax(dim=1) if exclusive else logits.double().sigmoid()


def likelihoods(classifier: Classifier, pixels: np.ndarray, batch_size: int) -> np.ndarray:
    """What every network says of every image: float64 (seeds, N, T) in [0, 1].

    pixels: uint8 (N, H, W, C); images larger than the classifier's are reduced as in its training. The device is that
    of the networks, the number of threads torch's. Raises InputError on smaller images or other channels.
    """
    channels, height, width = classifier.image_shape
    if pixels.shape[3] != channels or min(pixels.shape[1] - height, pixels.shape[2] - width) < 0:
        raise InputError(
            f"images of {pixels.shape[1]} × {pixels.shape[2]} pixels and {pixels.shape[3]} channels do not fit a "
            f"classifier for {height} × {width} and {channels}; prepare them alike"
        )
    found = np.empty((len(classifier.models), len(pixels), len(classifier.targets)))
    for start in range(0, len(pixels), batch_size):
        part = np.stack([resized(image, (height, width)) for image in pixels[start : start + batch_size]])
        images = torch.from_numpy(np.ascontiguousarray(part.transpose(0, 3, 1, 2)))
        for seed, model in enumerate(classifier.models):
            device = next(model.parameters()).device
            with torch.no_grad():
                logits = model(to_model(images.to(device)))
            found[seed, start : start + batch_size] = likelihood(logits, classifier.exclusive).cpu().numpy()
    if not np.isfinite(found).all():
        raise InputError("the classifier gives NaN; its training failed, train it again with a lower learning rate")
    return found


# ------------------------------------------------------------------------------------------------------------ training
class Training(CheckedTraining):
    """The training of one seed of a classifier."""

    def __init__(
        self,
        settings: NetworkSettings,
        number: int,
        data: tuple[Part, Part],
        imagenet: dict | None,
        device: torch.device,
    ):
        self.train, self.validation = data
        shape = tuple(self.train.pixels.shape[1:])

        def network() -> nn.Module:
            made = build(settings.architecture, settings.channels, len(settings.targets), shape, settings.dropout)
            if imagenet is not None:
                made.load_imagenet(imagenet)
            return made

        super().__init__(settings, number, len(self.train.targets), network, settings.learning_rate, device)
        positives = self.train.targets.sum(0)
        self.exclusive = settings.outputs == "exclusive"
        rest = len(self.train.targets) - positives * (not self.exclusive)
        balanced = rest / (positives * (len(positives) if self.exclusive else 1))
        self.weight = (balanced if settings.class_weights == "balanced" else torch.ones_like(balanced)).to(device)

    def batch(self, chosen: Tensor) -> Batch:
        """The training images at the positions `chosen` (N,), augmented, with their targets (N, outputs); of several
        processes each gets its own rows of both."""
        images = augmented(self.train.pixels[chosen], self.settings.flip, self.settings.shift, self.rng)
        targets = distributed.own_rows(self.train.targets[chosen]).to(self.device)
        return Batch(self._on_device(distributed.own_rows(images)), targets)

    def _on_device(self, pixels: Tensor) -> Tensor:
        return to_model(pixels.to(self.device)).contiguous(memory_format=self.settings.memory_format)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The cross-entropy of a batch."""
        with autocast(self.settings.precision, self.device):
            logits = self.model(batch.images)
        return {"loss": self.loss(logits.float(), batch.labels)}

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy: of every output, averaged over images and targets; of exclusive ones the weighted mean."""
        weight = self.weight.to(logits.device)
        if self.exclusive:
            return F.cross_entropy(logits, targets.argmax(dim=1), weight=weight)
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight)

    def measure(self, step: int) -> Measured:
        """Loss and AUROC of the validation part; see SELECTION."""
        logits = self._validation_logits()
        loss = float(self.loss(logits, self.validation.targets))
        if not math.isfinite(loss):
            raise TrainingError(
                f"training step {step}: the validation loss is {loss}; lower learning_rate "
                f"({self.settings.learning_rate}) and start again"
            )
        scores = likelihood(logits, self.exclusive).numpy()
        truth = self.validation.targets.numpy() > 0.5
        areas = [auroc(scores[:, t], truth[:, t]) for t in range(scores.shape[1])]
        area = float(np.mean(areas))
        rank = (loss, 0.0) if self.settings.select == "loss" else (-area, loss)
        kept = {"loss": loss, "auroc": area, "areas": areas, "scores": torch.from_numpy(scores)}
        return Measured({"validation_loss": loss, "validation_auroc": area}, rank, kept)

    @torch.no_grad()
    def _validation_logits(self) -> Tensor:
        """(N, T) float32 on the CPU, of the validation images, without augmentation; the ranks share the batches."""
        self.model.eval()
        pixels = self.validation.pixels
        mine = self.validation_batches(pixels)
        return self.together([self.model(self._on_device(pixels[part])).float().cpu() for part in mine])

    def result(self, history: History) -> dict[str, Any]:
        """Best weights, thresholds and the entry of the report."""
        truth = self.validation.targets.numpy() > 0.5
        scores = self.best["scores"].numpy()
        thresholds = [choose_threshold(scores[:, t], truth[:, t]) for t in range(scores.shape[1])]
        by_target = {}
        for t, target in enumerate(self.settings.targets):
            called = scores[:, t] >= thresholds[t]
            by_target[target] = {
                "auroc": self.best["areas"][t],
                "threshold": thresholds[t],
                "true_positives": int((called & truth[:, t]).sum()),
                "false_negatives": int((~called & truth[:, t]).sum()),
                "false_positives": int((called & ~truth[:, t]).sum()),
                "true_negatives": int((~called & ~truth[:, t]).sum()),
            }
        entry = {
            "seed": self.number,
            "best_step": self.best["step"],
            "validation_loss": self.best["loss"],
            "validation_auroc": self.best["auroc"],
            "validation": by_target,
            "history": self.checks(history),
        }
        return {"state": self.best["state"], "thresholds": thresholds, "entry": entry}


@step("train-classifier")
def train(
    settings: NetworkSettings,
    *,
    train: Path,
    validation: Path,
    weights: Path | None,
    arms: Path | None,
    synthetic: list[Path],
    classifier: Output,
    report: Output,
) -> None:
    """Train a classifier, every weight of it.

    Train the network with every seed and write the weights of the best check of each.

    train, validation: image sets (see NetworkSettings for which rows are used). weights: the file of the pretrained
    weights that the setting `pretrained` names (`synthmed fetch-weights`), else None. arms: of `compose-arms`, where
    settings.arm names one of it; synthetic: the sets of settings.sets, in that order. classifier: .pt, see `load`.
    report: JSON: images, positives and patients of both parts; a seed's best step, history, and per target its
    validation AUROC, threshold and decisions. Of an arm whose set could not be made both hold nothing but the reason.

    Loss: see Training.loss. Best check: SELECTION; thresholds: THRESHOLD_RULE. After an interruption of any kind the
    same call goes on from `<classifier stem>.resume.pt`, on a CPU bit for bit as if nothing had happened.

    Raises InputError before the first step when a target is unknown or has no positive or no negative image in either
    part, images are too few, of different sizes, or their patients in both parts, and when the settings do not fit the
    inputs; TrainingError on a loss that is not finite; KeyboardInterrupt after SIGINT or SIGTERM.
    """
    imagenet = _imagenet(settings, weights)
    if (arms is None) != (settings.arm is None):
        raise InputError(
            f"setting arm is {settings.arm!r}, and the input arms {arms and str(arms)!r}; give both or none"
        )
    if reason := unmade(settings, arms, synthetic):
        logger.warning("the arm %s is not trained, its set could not be made: %s", settings.arm, reason)
        checkpoints.write_torch(classifier, {NOT_MADE: reason})
        write_json(report, {NOT_MADE: reason})
        return
    if arms is None:
        one, validating = read_parts(settings, Path(train), Path(validation))
        parts = [one] * settings.seeds
    else:
        parts, validating = read_arm(settings, Path(train), Path(validation), Path(arms), synthetic)
    counted = {name: _counted(settings, part) for name, part in (("train", parts[0]), ("validation", validating))}
    shape = list(validating.pixels.shape[1:])
    made_from = asdict(settings) | {"train": hash_file(train), "validation": hash_file(validation)}
    made_from |= {"arms": hash_file(arms) if arms else None, "synthetic": [hash_file(path) for path in synthetic]}
    made_from |= {"weights": hash_file(weights) if weights else None, "code": code_hashes(__name__)}
    logger.info(
        f"training {settings.architecture}: {counted['train']['images']} images of {tuple(shape)}, "
        f"validation {counted['validation']['images']}, targets {list(settings.targets)}, {settings.seeds} seeds"
    )
    results, resume = train_seeds(
        settings,
        Path(classifier),
        made_from,
        lambda number, device: Training(settings, number, (parts[number], validating), imagenet, device),
        Training.result,
    )
    checkpoints.write_torch(classifier, _content(settings, shape, results))
    write_json(report, _report(settings, shape, counted, results))
    resume.remove()


def _counted(settings: NetworkSettings, part: Part) -> dict[str, Any]:
    """What the report says of a part."""
    return {
        "images": len(part.targets),
        "patients": len(set(part.patients)),
        "positives": dict(zip(settings.targets, part.targets.sum(0).int().tolist(), strict=True)),
    }


def _content(settings: NetworkSettings, shape: list[int], results: list[dict[str, Any]]) -> dict[str, Any]:
    """What `load` reads."""
    return {
        "format": FORMAT,
        "architecture": settings.architecture,
        "channels": None if settings.channels is None else list(settings.channels),
        "dropout": settings.dropout,
        "targets": list(settings.targets),
        "outputs": settings.outputs,
        "image_shape": shape,
        "thresholds": torch.tensor([result["thresholds"] for result in results], dtype=torch.float64),
        "states": [result["state"] for result in results],
    }


def _report(
    settings: NetworkSettings, shape: list[int], counted: dict[str, Any], results: list[dict[str, Any]]
) -> dict[str, Any]:
    network = build(settings.architecture, settings.channels, len(settings.targets), shape, settings.dropout)
    return {
        "architecture": settings.architecture,
        "parameters": count_parameters(network),
        "pretrained": settings.pretrained,
        "targets": list(settings.targets),
        "target_column": settings.target_column,
        "image_shape": shape,
        "images": counted,
        "selection": SELECTION[settings.select],
        "threshold_rule": THRESHOLD_RULE,
        "budget_limited": budget_limited([result["entry"]["best_step"] for result in results], settings.steps),
        "seeds": [result["entry"] for result in results],
    }


def _imagenet(settings: NetworkSettings, weights: Path | None) -> dict[str, Tensor] | None:
    if (weights is None) != (settings.pretrained is None):
        raise InputError(
            f"setting pretrained is {settings.pretrained!r}, and the input weights is {weights and str(weights)!r}; "
            "give both (the name and the file of `synthmed fetch-weights`) or neither"
        )
    return None if weights is None else weight_files.load(settings.pretrained, weights)[0]


# ------------------------------------------------------------------------------------------------------------- predict
@dataclass(frozen=True)
class PredictSettings:
    """Use of a classifier."""

    batch_size: BatchSize
    threads: Threads
    device: Device


def predict_set(
    classifier: Classifier, images: ImageSet, batch_size: int, rows: Sequence[int] | None = None
) -> np.ndarray:
    """likelihoods of an image set, decoded batch by batch: float64 (seeds, N, T). rows: positions, None for all."""
    rows = range(len(images)) if rows is None else rows
    found, batch = [], []
    for place, (_, pixels, *_mask) in enumerate(images.entries(rows), start=1):
        batch.append(pixels)
        if len(batch) == batch_size or place == len(rows):
            if len({one.shape for one in batch}) > 1:
                raise InputError(f"{images.path}: images of different shapes; prepare them to one size first")
            found.append(likelihoods(classifier, np.stack(batch), batch_size))
            batch = []
    return np.concatenate(found, axis=1)


@step("predict")
def predict(settings: PredictSettings, *, classifier: Path, images: Path, likelihoods: Output) -> None:
    """What a classifier says of every image of a set.

    Likelihoods of every image, averaged over the classifier's seeds.

    likelihoods: CSV with the column `image` and one column a target (0–1, eight decimals), in the order of the set.
    """
    torch.set_num_threads(settings.threads)
    trained = load(classifier).to(choose_device(settings.device))
    image_set = ImageSet(images)
    mean = predict_set(trained, image_set, settings.batch_size).mean(axis=0)
    rows = [
        {"image": row["image"]} | {t: round(float(v), 8) for t, v in zip(trained.targets, values, strict=True)}
        for row, values in zip(image_set.rows, mean, strict=True)
    ]
    write_csv(likelihoods, rows, ["image", *trained.targets])

"""Classifiers that learn all their weights: a small CNN or ResNet-50 with one sigmoid output a target, several seeds.

The document's classifier is ResNet-50 with its softmax replaced by a sigmoid for normal/abnormal (seed 004, section
2.2), or by six sigmoids for normal and five findings (section 3.2). A small CNN stands in for it where there are a few
hundred small images and no GPU. Thresholds are chosen on the validation images, never on test images.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.classifiers.architectures import build
from synthmed.classifiers.labelled_images import Part, augmented, read_parts, resized
from synthmed.classifiers.network_settings import SELECTION, NetworkSettings
from synthmed.core.errors import InputError
from synthmed.core.files import hash_file, write_csv, write_json
from synthmed.core.provenance import code_hashes
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.metrics.classification import auroc, choose_threshold
from synthmed.networks.blocks import count_parameters
from synthmed.training import checkpoint as checkpoints
from synthmed.training.device import choose_device, derived_seed
from synthmed.training.images import to_model
from synthmed.training.optimizer import Adam
from synthmed.training.resume import ResumeState, catch_interruption, random_state, set_random_state
from synthmed.weights import read as weight_files

logger = logging.getLogger(__name__)

FORMAT = 1
_KEYS = {"format", "architecture", "channels", "dropout", "targets", "image_shape", "thresholds", "states"}
_LOG_SECONDS = 10.0
"""At least so long between two lines of progress; the last epoch of a seed always has one."""

THRESHOLD_RULE = "the largest Youden index (sensitivity + specificity − 1) on the validation images"


# --------------------------------------------------------------------------------------------------- the trained result
@dataclass(frozen=True)
class Classifier:
    """A trained classifier. targets: names of the T outputs; image_shape: (C, H, W); thresholds: float64 (seeds, T),
    chosen on validation images, positive when the likelihood is at least that; models: one network a seed, in eval
    mode, no gradients on weights, forward(images (N, C, H, W) in [-1, 1]) → logits (N, T)."""

    architecture: str
    targets: tuple[str, ...]
    image_shape: tuple[int, int, int]
    thresholds: np.ndarray
    models: list[nn.Module]

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
    """Read what `synthmed train-classifier` wrote, on the CPU. Raises InputError when the file is something else."""
    content = checkpoints.read_torch(path, "train the classifier again")
    if not isinstance(content, dict) or set(content) != _KEYS:
        raise InputError(f"{path}: no classifier; give the file that `synthmed train-classifier` wrote")
    if content["format"] != FORMAT:
        raise InputError(
            f"{path}: classifier format {content['format']}, this version reads {FORMAT}; train the classifier again"
        )
    shape = tuple(content["image_shape"])
    models = []
    for state in content["states"]:
        model = build(content["architecture"], content["channels"], len(content["targets"]), shape, content["dropout"])
        model.load_state_dict(state)
        models.append(model.eval().requires_grad_(False))
    thresholds = content["thresholds"].numpy()
    return Classifier(content["architecture"], tuple(content["targets"]), shape, thresholds, models)


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
            found[seed, start : start + batch_size] = logits.double().sigmoid().cpu().numpy()
    if not np.isfinite(found).all():
        raise InputError("the classifier gives NaN; its training failed, train it again with a lower learning rate")
    return found


# ------------------------------------------------------------------------------------------------------------ training
class Training:
    """The training of one seed: everything that changes, so that it can stop after any step and go on."""

    def __init__(
        self,
        settings: NetworkSettings,
        number: int,
        data: tuple[Part, Part],
        imagenet: dict | None,
        device: torch.device,
    ):
        self.settings, self.number, self.device = settings, number, device
        self.train, self.validation = data
        shape = tuple(self.train.pixels.shape[1:])
        torch.manual_seed(derived_seed(settings.seed, f"weights {number}"))
        self.model = build(settings.architecture, settings.channels, len(settings.targets), shape, settings.dropout)
        if imagenet is not None:
            self.model.load_imagenet(imagenet)
        self.format = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.model.to(device=device, memory_format=self.format)
        self.optimizer = Adam(self.model.parameters(), settings.learning_rate)
        positives = self.train.targets.sum(0)
        balanced = (len(self.train.targets) - positives) / positives
        self.weight = (balanced if settings.class_weights == "balanced" else torch.ones_like(balanced)).to(device)
        self.rng = torch.Generator().manual_seed(derived_seed(settings.seed, f"order {number}"))
        torch.manual_seed(derived_seed(settings.seed, f"dropout {number}"))
        self.steps_per_epoch = len(self.train.targets) // settings.batch_size
        self.step = 0
        self.left = torch.zeros(0, dtype=torch.int64)
        self.loss_sum = torch.zeros((), dtype=torch.float64)
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        return self.step == self.settings.epochs * self.steps_per_epoch

    def advance(self) -> bool:
        """One optimiser step, with the validation when it ends an epoch. Says whether it did."""
        settings = self.settings
        if self.step % self.steps_per_epoch == 0:
            self.left = torch.randperm(len(self.train.targets), generator=self.rng)
            self.loss_sum.zero_()
        chosen, self.left = self.left[: settings.batch_size], self.left[settings.batch_size :]
        images = augmented(self.train.pixels[chosen], settings.flip, settings.shift, self.rng)
        images = to_model(images.to(self.device)).contiguous(memory_format=self.format)
        if settings.schedule == "cosine":
            progress = self.step / (settings.epochs * self.steps_per_epoch)
            self.optimizer.param_groups[0]["lr"] = settings.learning_rate * (1 + math.cos(math.pi * progress)) / 2
        self.model.train()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16"):
            logits = self.model(images)
        loss = self.loss(logits.float(), self.train.targets[chosen].to(self.device))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.loss_sum += loss.detach().double().cpu()
        self.step += 1
        if self.step % self.steps_per_epoch:
            return False
        self.end_of_epoch()
        return True

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=self.weight)

    def end_of_epoch(self) -> None:
        """Measure on the validation part, and keep the weights when they are the best so far (see SELECTION)."""
        logits = self.validation_logits()
        loss = float(self.loss(logits, self.validation.targets.to(self.device)))
        if not math.isfinite(loss):
            raise InputError(
                f"seed {self.number}: the loss is no longer finite after step {self.step}; lower learning_rate "
                f"({self.settings.learning_rate})"
            )
        scores, truth = logits.double().sigmoid().cpu().numpy(), self.validation.targets.numpy() > 0.5
        areas = [auroc(scores[:, t], truth[:, t]) for t in range(scores.shape[1])]
        row = {
            "epoch": self.step // self.steps_per_epoch,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": float(self.loss_sum) / self.steps_per_epoch,
            "validation_loss": loss,
            "validation_auroc": float(np.mean(areas)),
        }
        self.history.append(row)

        def rank(loss: float, area: float) -> tuple[float, float]:
            return (loss, 0.0) if self.settings.select == "loss" else (-area, loss)

        if self.best is None or rank(loss, row["validation_auroc"]) < rank(self.best["loss"], self.best["auroc"]):
            state = {
                name: tensor.detach().to("cpu", memory_format=torch.contiguous_format, copy=True)
                for name, tensor in self.model.state_dict().items()
            }
            self.best = {"epoch": row["epoch"], "loss": loss, "auroc": row["validation_auroc"], "areas": areas}
            self.best |= {"scores": torch.from_numpy(scores), "state": state}

    @torch.no_grad()
    def validation_logits(self) -> Tensor:
        """(N, T) float32 of the validation images, without augmentation."""
        self.model.eval()
        parts = self.validation.pixels.split(self.settings.batch_size)
        return torch.cat(
            [self.model(to_model(part.to(self.device)).contiguous(memory_format=self.format)) for part in parts]
        ).float()

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.get_state(),
            "global_rng": random_state(),
            "step": self.step,
            "left": self.left,
            "loss_sum": self.loss_sum,
            "history": self.history,
            "best": self.best,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.set_state(state["rng"])
        set_random_state(state["global_rng"])
        for name in ("step", "left", "loss_sum", "history", "best"):
            setattr(self, name, state[name])

    def result(self) -> dict[str, Any]:
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
            "best_epoch": self.best["epoch"],
            "validation_loss": self.best["loss"],
            "validation_auroc": self.best["auroc"],
            "validation": by_target,
            "history": self.history,
        }
        return {"state": self.best["state"], "thresholds": thresholds, "entry": entry}


@step("train-classifier")
def train(
    settings: NetworkSettings,
    *,
    train: Path,
    validation: Path,
    weights: Path | None,
    classifier: Output,
    report: Output,
) -> None:
    """Train a classifier, every weight of it.

    Train the network with every seed and write the best epoch of each.

    train, validation: image sets (see NetworkSettings for which rows are used). weights: the file of the pretrained
    weights that the setting `pretrained` names (`synthmed fetch-weights`), else None. classifier: .pt, see `load`.
    report: JSON: images, positives and patients of both parts; a seed's best epoch, history, and per target its
    validation AUROC, threshold and decisions.

    Loss: binary cross-entropy of every output, averaged over images and targets. Best epoch: SELECTION; thresholds:
    THRESHOLD_RULE. After an interruption of any kind the same call goes on from `<classifier stem>.resume.pt`, on a CPU
    bit for bit as if nothing had happened.

    Raises InputError before the first step when a target is unknown or has no positive or no negative image in either
    part, images are too few, of different sizes, or their patients in both parts, and when the settings do not fit the
    inputs; KeyboardInterrupt after SIGINT or SIGTERM.
    """
    settings.check()
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    imagenet = _imagenet(settings, weights)
    data = read_parts(settings, Path(train), Path(validation))
    shape = tuple(data[0].pixels.shape[1:])
    made_from = asdict(settings) | {"train": hash_file(train), "validation": hash_file(validation)}
    made_from |= {"weights": hash_file(weights) if weights else None, "code": code_hashes(__name__)}
    resume = ResumeState(Path(classifier), made_from)
    saved = resume.load()
    results, running = ([], None) if saved is None else (saved["results"], saved["training"])
    logger.info(
        f"training {settings.architecture} on {device}: {len(data[0].targets)} images of {shape}, validation "
        f"{len(data[1].targets)}, targets {list(settings.targets)}, {settings.seeds} seeds"
    )

    logged = time.monotonic()
    with catch_interruption() as interrupted:
        for number in range(len(results), settings.seeds):
            training = Training(settings, number, data, imagenet, device)
            if running is not None:
                training.load_state(running)
                running = None
                logger.info(f"continuing {resume.path}: seed {number}, step {training.step}")
            while not training.finished:
                ended = training.advance()
                if ended and (training.finished or time.monotonic() - logged >= _LOG_SECONDS):
                    logged = time.monotonic()
                    row = training.history[-1]
                    logger.info(
                        f"seed {number + 1}/{settings.seeds}  epoch {row['epoch']}/{settings.epochs}  loss "
                        f"{row['train_loss']:.3f}  validation loss {row['validation_loss']:.3f}  AUROC "
                        f"{row['validation_auroc']:.3f}  best epoch {training.best['epoch']}"
                    )
                due = ended and training.history[-1]["epoch"] % settings.save_every == 0
                if not training.finished and (due or interrupted()):
                    resume.save({"results": results, "training": training.state()})
                    if interrupted():
                        raise KeyboardInterrupt(
                            f"training stopped in seed {number + 1} of {settings.seeds} after step {training.step}; "
                            "run the same command again to continue"
                        )
            results.append(training.result())
            if number + 1 < settings.seeds:
                resume.save({"results": results, "training": None})
                if interrupted():
                    raise KeyboardInterrupt(
                        f"training stopped after seed {number + 1} of {settings.seeds}; run the same command again to "
                        "continue"
                    )
    content = {
        "format": FORMAT,
        "architecture": settings.architecture,
        "channels": None if settings.channels is None else list(settings.channels),
        "dropout": settings.dropout,
        "targets": list(settings.targets),
        "image_shape": list(shape),
        "thresholds": torch.tensor([result["thresholds"] for result in results], dtype=torch.float64),
        "states": [result["state"] for result in results],
    }
    checkpoints.write_torch(classifier, content)
    write_json(
        report,
        {
            "architecture": settings.architecture,
            "parameters": count_parameters(training.model),
            "pretrained": settings.pretrained,
            "targets": list(settings.targets),
            "target_column": settings.target_column,
            "image_shape": list(shape),
            "images": {
                name: {
                    "images": len(part.targets),
                    "patients": len(set(part.patients)),
                    "positives": dict(zip(settings.targets, part.targets.sum(0).int().tolist(), strict=True)),
                }
                for name, part in zip(("train", "validation"), data, strict=True)
            },
            "selection": SELECTION[settings.select],
            "threshold_rule": THRESHOLD_RULE,
            "seeds": [result["entry"] for result in results],
        },
    )
    resume.remove()


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
    """batch_size: images at once; threads: CPU threads."""

    batch_size: int
    threads: int
    device: Literal["auto", "cpu", "cuda"]


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
    if min(settings.batch_size, settings.threads) < 1:
        raise InputError("settings batch_size and threads must be 1 or more")
    torch.set_num_threads(settings.threads)
    trained = load(classifier).to(choose_device(settings.device))
    image_set = ImageSet(images)
    mean = predict_set(trained, image_set, settings.batch_size).mean(axis=0)
    rows = [
        {"image": row["image"]} | {t: round(float(v), 8) for t, v in zip(trained.targets, values, strict=True)}
        for row, values in zip(image_set.rows, mean, strict=True)
    ]
    write_csv(likelihoods, rows, ["image", *trained.targets])

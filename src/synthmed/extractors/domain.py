"""Filters learnt by k-means on the experiment's own real training images, for runs without pretrained weights.

One convolutional layer whose filters are learnt without labels: spherical k-means on whitened patches of the real
training images (Coates and Ng 2011, "The importance of encoding in training deep representations", and 2012, "Learning
feature representations with k-means"). Its map is cut into windows, which keep where in the image a filter answered,
and each window's channels are pooled.

Why no labels: this network is also the frozen backbone of the classifier that stands in for VGG16. A network trained to
tell the classes of those few images apart separates them by features that fresh images do not have, so a head trained
on them learns nothing more from further images. Filters learnt from patches do not know the classes: features of the
training images and of fresh images have the same distribution, and the head gains from every further image.
docs/weights.md shows both as numbers. Only `probabilities` come from labels: a linear classifier on the features.
"""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from msgspec import Meta
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import Tensor

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path
from synthmed.core.settings import Count, Seed, Threads, parse
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.extractors.extractor import Extractor, Pooled, to_pixels
from synthmed.extractors.views import View, views

logger = logging.getLogger(__name__)

_CONTRAST_FLOOR = 0.01
"""Added to the variance of a patch (images in [-1, 1]) before dividing by it, so that flat patches stay small."""

_PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
"""Weights of the squared norm that the linear classifier tries; the validation set chooses."""


@dataclass(frozen=True)
class DomainOptions:
    """The filters that are learnt on the experiment's own real training images."""

    seed: Seed
    input_size: Annotated[int, Meta(ge=8, description="Side images are brought to.", extra_json_schema={"unit": "px"})]
    patch: Annotated[int, Meta(ge=2, description="Side of a filter, pixels of the input.")]
    filters: Annotated[Count, Meta(description="Number of filters; each gives two channels.")]
    windows: Annotated[Count, Meta(description="Windows of the pooling per axis.")]
    patches: Annotated[int, Meta(ge=10, description="How many patches are clustered.")]
    iterations: Annotated[Count, Meta(description="Of k-means.")]
    whitening: Annotated[float, Meta(gt=0, description="Added to the variances of the patches' components.")]
    threshold: Annotated[float, Meta(ge=0, description="Answers below it count as none.")]
    threads: Threads


@dataclass(frozen=True)
class DomainSettings(DomainOptions):
    """Settings of `train-extractor`."""

    classes: Annotated[tuple[str, ...], Meta(min_length=1, description="Labels of the experiment, in order.")]
    view: View

    def __post_init__(self) -> None:
        if self.input_size - self.patch + 1 < self.windows:
            raise InputError(
                f"setting input_size ({self.input_size}) leaves no room for {self.windows} windows of a filter of "
                f"{self.patch} pixels; raise it"
            )


def bring_to_size(images: Tensor, size: int) -> Tensor:
    """(N, C, H, W), uint8 or in [-1, 1] → float32 (N, C, size, size) in [-1, 1], by averaging areas.

    Raises InputError when the images are smaller than `size`: enlarging them adds nothing.
    """
    if min(images.shape[2:]) < size:
        raise InputError(
            f"images of {tuple(images.shape[2:])} pixels are smaller than the setting input_size, {size}; lower it"
        )
    return F.adaptive_avg_pool2d(to_pixels(images) / 127.5 - 1.0, size)


# --------------------------------------------------------------------------------------------------------- the network
class Domain(Extractor):
    """Windowed features of k-means filters.

    filters: (F, C, p, p), whitening included; offset: (F,), the filters' answer to the mean patch; mean, deviation:
    (D,) of the features of the training images; weight, bias: (K, D), (K,) of the linear classifier.
    """

    human: ClassVar[str] = "filters learnt by k-means on the real training images"

    def __init__(self, settings: DomainSettings, state: dict[str, Tensor], device: torch.device):
        super().__init__()
        self.settings = settings
        for name in ("filters", "offset", "mean", "deviation", "weight", "bias"):
            self.register_buffer(name, state[name].to(device))

    def pooled(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) → features and squares, each (N, 2 × filters × windows²)."""
        x = bring_to_size(images, self.settings.input_size)
        channels, side = self.filters.shape[1:3]
        if x.shape[1] != channels:
            raise InputError(
                f"images have {x.shape[1]} channels, the extractor domain was trained on {channels}; prepare them alike"
            )
        # (patch - its mean) / its deviation, times a filter, as convolutions: the mean and the deviation are one number
        # per place, so they leave the sum.
        mean = F.avg_pool2d(x.mean(1, keepdim=True), side, 1)
        variance = (F.avg_pool2d(x.square().mean(1, keepdim=True), side, 1) - mean.square()).clamp(min=0.0)
        answers = F.conv2d(x, self.filters) - mean * self.filters.sum((1, 2, 3))[:, None, None]
        answers = answers / (variance + _CONTRAST_FLOOR).sqrt() - self.offset[:, None, None]
        threshold = self.settings.threshold
        answers = torch.cat([F.relu(answers - threshold), F.relu(-answers - threshold)], 1)
        windows = self.settings.windows
        return (
            F.adaptive_avg_pool2d(answers, windows).flatten(1),
            F.adaptive_avg_pool2d(answers.square(), windows).flatten(1),
        )

    def forward(self, images: Tensor) -> Pooled:
        features, squares = self.pooled(images)
        logits = (features - self.mean) / self.deviation @ self.weight.T + self.bias
        return Pooled(features, squares, logits.softmax(1))


def load(weights: str | Path, input_size: int | None, precision: str, device: torch.device) -> Domain:
    """The extractor that `train` wrote to `weights`. input_size must be None (training set it), precision fp32."""
    if input_size is not None:
        raise InputError(
            f"setting input_size is {input_size}; that of the extractor domain is set in its training: use null"
        )
    if precision != "fp32":
        raise InputError(f"setting precision is {precision!r}; the extractor domain is fast as it is: use 'fp32'")
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True)
        settings = parse(DomainSettings, content["settings"], where=str(weights))
        return Domain(settings, content["state"], device)
    except FileNotFoundError as error:
        raise InputError(f"{weights}: no such file; make it with `synthmed train-extractor`") from error
    except (RuntimeError, KeyError, TypeError, EOFError, OSError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{weights}: not written by `synthmed train-extractor` ({error}); make it again") from error


# ------------------------------------------------------------------------------------------------------------ training
def _draw_patches(images: Tensor, side: int, count: int, rng: np.random.Generator) -> Tensor:
    """`count` random patches of (N, C, s, s) images, contrast-normalised: (count, C × side × side)."""
    number, channels, size, _ = images.shape
    places = size - side + 1
    image, row, column = (
        rng.integers(number, size=count),
        rng.integers(places, size=count),
        rng.integers(places, size=count),
    )
    # Every patch as a view of the images; indexing then copies only those that were drawn.
    views = images.unfold(2, side, 1).unfold(3, side, 1)
    patches = views[image, :, row, column].reshape(count, channels * side * side)
    patches = patches - patches.mean(1, keepdim=True)
    return patches / (patches.square().mean(1, keepdim=True) + _CONTRAST_FLOOR).sqrt()


def _whitening(patches: Tensor, added: float) -> tuple[Tensor, Tensor]:
    """Mean (P,) and symmetric whitening matrix (P, P) of patches (M, P); `added` to each variance (ZCA)."""
    mean = patches.mean(0)
    centred = patches - mean
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(patches))
    return mean, axes * (variances.clamp(min=0.0) + added).rsqrt() @ axes.T


def spherical_kmeans(points: Tensor, clusters: int, iterations: int, rng: np.random.Generator) -> Tensor:
    """Unit vectors (clusters, P) such that each of `points` (M, P) is close to a multiple of one of them.

    Coates and Ng 2012, section 3: each point goes to the vector with the largest absolute product; a vector becomes the
    sum of its points times their products, plus itself (so none dies out), at unit length.
    """
    vectors = F.normalize(torch.from_numpy(rng.standard_normal((clusters, points.shape[1]))).to(points))
    for _ in range(iterations):
        products = points @ vectors.T
        nearest = products.abs().argmax(1)
        strength = products.gather(1, nearest[:, None])
        vectors = F.normalize(vectors.index_add(0, nearest, points * strength))
    return vectors


def _fit_classifier(
    features: np.ndarray, labels: np.ndarray, classes: int, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weight (K, D), bias (K,) of multinomial logistic regression with `penalty` / 2 × squared norm of the weight.

    features: float64 (N, D); labels: int (N,). By scipy's L-BFGS: making torch's optimisers costs seconds of imports.
    """
    count, width = features.shape
    wanted = np.eye(classes)[labels]

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = values[: classes * width].reshape(classes, width), values[classes * width :]
        log_probabilities = log_softmax(features @ weight.T + bias, axis=1)
        error = (np.exp(log_probabilities) - wanted) / count
        gradient = np.concatenate([(error.T @ features + penalty * weight).ravel(), error.sum(0)])
        return -(wanted * log_probabilities).sum() / count + penalty / 2 * (weight**2).sum(), gradient

    found = minimize(loss, np.zeros(classes * (width + 1)), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return found.x[: classes * width].reshape(classes, width), found.x[classes * width :]


def _pixels(images: ImageSet, view: str, size: int) -> Tensor:
    """All images of the set, as `view` shows them, at the working size: float32 (N, C, size, size).

    They are decoded one at a time.
    """
    return torch.cat(
        [bring_to_size(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None], size) for image in views(images, view)]
    )


def _labels(images: ImageSet, classes: tuple[str, ...]) -> np.ndarray:
    labels = images.label_indices(classes)
    missing = [name for number, name in enumerate(classes) if number not in labels]
    if missing:
        raise InputError(f"{images.path}: no image of class {missing[0]!r}; the extractor needs every class here")
    return labels


@step("train-extractor")
def train(settings: DomainSettings, *, train: Path, validation: Path, weights: Output) -> None:
    """Learn the filters of the domain extractor, and a linear classifier on them.

    Learn filters from the images of `train`, a linear classifier from its labels, and write both to `weights`.

    The validation set chooses the classifier's penalty and nothing else. The same settings and images give the same
    bytes. Raises InputError when a class has no image.
    """
    torch.set_num_threads(settings.threads)
    train_set, validation_set = ImageSet(train), ImageSet(validation)
    train_labels, validation_labels = _labels(train_set, settings.classes), _labels(validation_set, settings.classes)
    images, validation_images = (
        _pixels(part, settings.view, settings.input_size) for part in (train_set, validation_set)
    )

    rng = np.random.default_rng(settings.seed)
    patches = _draw_patches(images, settings.patch, settings.patches, rng)
    mean, whitening = _whitening(patches, settings.whitening)
    vectors = spherical_kmeans((patches - mean) @ whitening, settings.filters, settings.iterations, rng)
    filters = vectors @ whitening
    shape = (settings.filters, images.shape[1], settings.patch, settings.patch)
    state = {"filters": filters.reshape(shape), "offset": filters @ mean}

    none = {name: torch.zeros(0) for name in ("mean", "deviation", "weight", "bias")}
    network = Domain(settings, state | none, torch.device("cpu"))
    features, validation_features = (
        torch.cat([network.pooled(part)[0] for part in pixels.split(64)]) for pixels in (images, validation_images)
    )
    state["mean"] = features.mean(0)
    # A filter that never answers has deviation 0; it then carries nothing and is left at 0 by a deviation of 1.
    deviation = features.std(0, correction=0)
    state["deviation"] = torch.where(deviation > 1e-8, deviation, 1.0)
    known, unseen = (
        ((values - state["mean"]) / state["deviation"]).double().numpy() for values in (features, validation_features)
    )
    best = float("inf")
    for penalty in _PENALTIES:
        weight, bias = _fit_classifier(known, train_labels, len(settings.classes), penalty)
        log_probabilities = log_softmax(unseen @ weight.T + bias, axis=1)
        loss = -log_probabilities[np.arange(len(unseen)), validation_labels].mean()
        accuracy = (log_probabilities.argmax(1) == validation_labels).mean()
        logger.info("penalty %g: validation cross-entropy %.3f, accuracy %.3f", penalty, loss, accuracy)
        if loss < best:
            best = loss
            state["weight"], state["bias"] = (torch.from_numpy(values).float() for values in (weight, bias))
    content = {"settings": asdict(settings), "state": {name: tensor.contiguous() for name, tensor in state.items()}}
    # Through a handle, so that the bytes do not depend on the temporary file's name.
    with atomic_path(weights) as temporary, open(temporary, "wb") as handle:
        torch.save(content, handle)
    logger.info("%s: %d filters, %d features", weights, settings.filters, features.shape[1])

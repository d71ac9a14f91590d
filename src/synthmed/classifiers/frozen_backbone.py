"""The document's classifier on a frozen backbone, many of them trained at once.

The head is the one of chapter 4.1 and 4.3 of the study (Keras): BatchNorm -> global average pooling -> dropout ->
dense layer with softmax, trained by Adam, while every convolution below stays as it is. Because the convolutions are
frozen, a head never needs an image or a feature map again: with `features` (spatial mean of the last map) and
`squares` (spatial mean of its square) of every image,

    batch mean of BatchNorm     = mean of `features` over the batch
    batch variance of BatchNorm = mean of `squares` over the batch - batch mean squared
    average pooling of BatchNorm(map) = scale * (features - mean) / sqrt(variance + eps) + shift

hold exactly, since BatchNorm is affine per channel (Ioffe & Szegedy 2015, eq. 1-4). So training from pooled numbers
*is* training from maps. Heads are independent of each other and small, so thousands are one batched tensor program.
The gradients are written out by hand: nothing flows below BatchNorm, which leaves two small matrix products a step.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import softmax

from synthmed.core.errors import InputError
from synthmed.training.seeds import seed_of

BATCHNORM_EPSILON = 1e-3
"""Added to the variance (Keras' default, as in the document)."""
BATCHNORM_MOMENTUM = 0.99
"""Share of the old running statistics kept at each step (Keras' default); corrected for the start at zero."""
ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-7

_NOISE_LEVELS = 2**8
_MOST_DROPPED = (_NOISE_LEVELS - 0.5) / _NOISE_LEVELS
"""A dropout that is rounded to 1 from here on."""
_CHUNK_NUMBERS = 2**18
"""Numbers (heads x batch x channels) worked on at a time: small enough to stay in the processor's cache."""
_NOISE_STEPS = 8


@dataclass(frozen=True)
class Head:
    """One classifier to train.

    rows: (n,) positions in the feature table of the training images (a row may occur more than once); labels: (n,)
    their classes, 0..K-1; validation_rows, validation_labels: the same for the validation images. Weights, order and
    dropout masks follow from `seed` alone, so heads with the same seed share them (common random numbers).
    learning_rate: of Adam, > 0; dropout: in [0, 0.998), rounded to a multiple of 1/256. class_weights: an image of a
    class with n_c of the n training images counts n / (K n_c) in the loss, so that classes weigh the same.
    """

    rows: np.ndarray
    labels: np.ndarray
    validation_rows: np.ndarray
    validation_labels: np.ndarray
    seed: int
    learning_rate: float
    dropout: float
    class_weights: bool = False

    def loss_weights(self, classes: int) -> np.ndarray:
        """What an image of each class counts in the loss, float32 (K,)."""
        if not self.class_weights:
            return np.ones(classes, np.float32)
        counts = np.bincount(self.labels, minlength=classes)
        if not counts.all():
            raise InputError("a classifier weighs its classes alike, but has no training image of one; add some")
        return (len(self.labels) / (classes * counts)).astype(np.float32)


@dataclass(frozen=True)
class Schedule:
    """steps: optimiser steps of every head; batch_size: images a step; check_every: steps between validations."""

    steps: int
    batch_size: int
    check_every: int

    @property
    def checks(self) -> list[int]:
        """Steps after which a head is validated: every `check_every`, and the last."""
        return sorted({*range(self.check_every, self.steps + 1, self.check_every), self.steps})


@dataclass(frozen=True)
class TrainedHeads:
    """M trained heads, each at its selected checkpoint, folded to softmax(features @ weight.T + bias).

    weight: (M, K, D) float32; bias: (M, K) float32; step: (M,) the selected step; checks: (C,) the validated steps;
    loss, accuracy, auroc: (M, C) on the validation images: class-balanced cross-entropy in nats, class-balanced
    accuracy, area under the ROC curve of the positive class.
    """

    weight: np.ndarray
    bias: np.ndarray
    step: np.ndarray
    checks: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    auroc: np.ndarray

    def probabilities(self, features: np.ndarray, heads: Sequence[int] | slice = slice(None)) -> np.ndarray:
        """Class probabilities of the images with pooled `features` (N, D) by the chosen heads: (heads, N, K)."""
        inputs = np.asarray(features, dtype=np.float64)
        # One head at a time, so that what a head says does not depend, not even in the last bit, on the others.
        logits = np.stack(
            [inputs @ w.T.astype(np.float64) + b for w, b in zip(self.weight[heads], self.bias[heads], strict=True)]
        )
        return softmax(logits, axis=-1)

    def selected(self, values: np.ndarray) -> np.ndarray:
        """The entry of `values` (M, C), one of loss, accuracy, auroc, at each head's selected step: (M,)."""
        return values[np.arange(len(self.step)), np.searchsorted(self.checks, self.step)]


def train_heads(
    features: np.ndarray,
    squares: np.ndarray,
    heads: Sequence[Head],
    schedule: Schedule,
    *,
    classes: int,
    positive: int,
    threads: int,
) -> TrainedHeads:
    """Train all `heads`, each as if it were alone: the result of one does not depend on the others.

    features, squares: (T, D) float32, the table that the heads' rows point into; classes: K >= 2; positive: the class
    whose AUROC is tracked; threads: processor threads, without influence on the result.

    Every head takes the same number of steps whatever the size of its training set: its images are shuffled anew each
    epoch and read as one endless stream, so no batch is ever smaller than the others.

    Selection, equal for every head: of the checkpoints in `schedule.checks` the one with the lowest class-balanced
    cross-entropy on the validation images, the earliest of equals. Validation uses BatchNorm's running statistics.
    Raises InputError when a head has no training images, when its validation images lack a class, or when a loss
    is not finite.
    """
    _check(features, squares, heads, schedule, classes)
    table = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
    table_squares = torch.from_numpy(np.ascontiguousarray(squares, dtype=np.float32))
    size = max(1, min(_CHUNK_NUMBERS // (schedule.batch_size * table.shape[1]), -(-len(heads) // threads)))
    # Heads with equally many validation images go together: padding would change the order of sums, and with it bits.
    lengths = [len(head.validation_rows) for head in heads]
    order = np.argsort(lengths, kind="stable")
    chunks = [
        [heads[index] for index in group[start : start + size]]
        for group in np.split(order, np.flatnonzero(np.diff(np.sort(lengths))) + 1)
        for start in range(0, len(group), size)
    ]
    # Threads share out chunks; inside one, torch keeps to one thread, because it sums in another order with more.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as workers:
            parts = list(
                workers.map(
                    lambda chunk: _train_chunk(table, table_squares, chunk, schedule, classes, positive), chunks
                )
            )
    finally:
        torch.set_num_threads(before)
    back = np.argsort(order, kind="stable")
    weight, bias, step, loss, accuracy, auroc = (np.concatenate(values)[back] for values in zip(*parts, strict=True))
    return TrainedHeads(weight, bias, step, np.array(schedule.checks), loss, accuracy, auroc)


def _check(features: np.ndarray, squares: np.ndarray, heads: Sequence[Head], schedule: Schedule, classes: int) -> None:
    if features.shape != squares.shape or features.ndim != 2:
        raise ValueError(f"features {features.shape} and squares {squares.shape} must both be (T, D)")
    if min(schedule.steps, schedule.batch_size, schedule.check_every) < 1 or schedule.batch_size < 2:
        raise InputError("settings steps, check_every: at least 1; batch_size: at least 2 (BatchNorm needs a spread)")
    if not heads:
        raise ValueError("no head to train")
    for head in heads:
        if len(head.rows) == 0:
            raise InputError("a classifier was given no training image; give its arm some")
        if not 0 <= head.dropout < _MOST_DROPPED or head.learning_rate <= 0:
            raise InputError(
                f"dropout {head.dropout} (setting dropouts) must be in [0, {_MOST_DROPPED:.3f}): what lies above is "
                f"rounded to 1; learning rate {head.learning_rate} above 0"
            )
        found = np.unique(head.validation_labels)
        if len(found) != classes:
            raise InputError(f"the validation images show {len(found)} of {classes} classes; give it some of each")


def _initial(head: Head, classes: int, channels: int) -> np.ndarray:
    """(2 + K, D): BatchNorm's scale (ones) and shift (zeros), the dense layer's weights (Glorot uniform, as Keras)."""
    limit = (6 / (channels + classes)) ** 0.5
    rng = np.random.Generator(np.random.PCG64(seed_of("initial", head.seed)))
    dense = rng.uniform(-limit, limit, (classes, channels))
    return np.concatenate([np.ones((1, channels)), np.zeros((1, channels)), dense]).astype(np.float32)


def _order(head: Head, schedule: Schedule) -> np.ndarray:
    """(steps, batch) positions in the head's training set: one shuffled epoch after another, cut into batches."""
    rng = np.random.Generator(np.random.PCG64(seed_of("order", head.seed)))
    needed = schedule.steps * schedule.batch_size
    epochs = [rng.permutation(len(head.rows)) for _ in range(-(-needed // len(head.rows)))]
    return np.concatenate(epochs)[:needed].reshape(schedule.steps, schedule.batch_size)


class _Dropout:
    """The dropout masks of several heads, each from its own stream of random bits."""

    def __init__(self, heads: Sequence[Head], batch: int, channels: int):
        self.streams = [np.random.SFC64(seed_of("dropout", head.seed)) for head in heads]
        self.shape = (batch, channels)
        self.words = -(-batch * channels // 8)
        levels = np.array([round(head.dropout * _NOISE_LEVELS) for head in heads])
        # Noise is uniform on -128..127; noise - dropped is 1 or more for what is kept and 0 or less for the others.
        self.dropped = torch.from_numpy((levels - _NOISE_LEVELS // 2 - 1).astype(np.float32))[:, None, None]
        self.scale = torch.from_numpy((_NOISE_LEVELS / (_NOISE_LEVELS - levels)).astype(np.float32))[:, None]
        self.block: torch.Tensor | None = None

    def keep(self, step: int) -> torch.Tensor:
        """(M, batch, D) float32: 1 for what step number `step` keeps, else 0. Steps must be asked for in order."""
        position = step % _NOISE_STEPS
        if position == 0:
            words = np.stack([stream.random_raw(_NOISE_STEPS * self.words) for stream in self.streams])
            noise = words.view(np.int8).reshape(len(self.streams), _NOISE_STEPS, 8 * self.words)
            self.block = torch.from_numpy(noise[:, :, : self.shape[0] * self.shape[1]])
        return self.block[:, position].float().view(-1, *self.shape).sub_(self.dropped).clamp_(0, 1)


class _Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) on one tensor whose first dimension is the heads, a rate for each."""

    def __init__(self, values: torch.Tensor, rate: torch.Tensor):
        self.values = values
        self.rate = rate.reshape(-1, *[1] * (values.ndim - 1))
        self.mean = torch.zeros_like(values)
        self.square = torch.zeros_like(values)

    def step(self, gradient: torch.Tensor, number: int) -> None:
        first, second = ADAM_BETAS
        self.mean.lerp_(gradient, 1 - first)
        self.square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        divisor = self.square.sqrt().mul_((1 - second**number) ** -0.5).add_(ADAM_EPSILON)
        self.values.sub_(self.rate / (1 - first**number) * self.mean.div(divisor))


class _Validation:
    """Validation images of several heads, equally many each."""

    def __init__(self, table: torch.Tensor, heads: Sequence[Head], classes: int, positive: int):
        labels = np.stack([head.validation_labels for head in heads])
        counts = np.stack([np.bincount(row, minlength=classes) for row in labels])
        self.features = table[torch.from_numpy(np.stack([head.validation_rows for head in heads]))]
        self.labels = torch.from_numpy(labels)
        # Each class weighs the same, however many images it has.
        self.weight = torch.from_numpy(1 / (classes * np.take_along_axis(counts, labels, 1)))
        self.positive = positive
        self.is_positive = self.labels == positive

    def scores(self, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Balanced loss, balanced accuracy and AUROC, each (M,) float64, of heads folded to (M, K, D) and (M, K)."""
        logits = torch.baddbmm(bias[:, :, None], weight, self.features.transpose(1, 2)).double()
        log_probabilities = logits.log_softmax(1)
        own = log_probabilities.gather(1, self.labels[:, None])[:, 0]
        loss = -(own * self.weight).sum(1)
        # Right is what no other class exceeds (argmax over a short dimension is far slower).
        accuracy = ((own == log_probabilities.amax(1)) * self.weight).sum(1)
        others = log_probabilities.clone()
        others[:, self.positive] = -torch.inf
        score = log_probabilities[:, self.positive] - others.logsumexp(1)
        # Mann-Whitney: for each positive the number of negatives below it, ties counted half.
        negatives = score.masked_fill(self.is_positive, torch.inf).sort(1).values
        below = torch.searchsorted(negatives, score) + torch.searchsorted(negatives, score, right=True)
        pairs = self.is_positive.sum(1) * (~self.is_positive).sum(1)
        return loss, accuracy, (below * self.is_positive).sum(1) / (2 * pairs)


def _train_chunk(
    table: torch.Tensor,
    table_squares: torch.Tensor,
    heads: Sequence[Head],
    schedule: Schedule,
    classes: int,
    positive: int,
) -> tuple[np.ndarray, ...]:
    """Train `heads` together; weight, bias, step, loss, accuracy and auroc as in TrainedHeads."""
    count, batch, channels = len(heads), schedule.batch_size, table.shape[1]
    order = [_order(head, schedule) for head in heads]
    rows = torch.from_numpy(np.stack([head.rows[o] for head, o in zip(heads, order, strict=True)], 1))
    labels = torch.from_numpy(np.stack([head.labels[o] for head, o in zip(heads, order, strict=True)], 1))
    one_hot = labels[:, :, None] == torch.arange(classes)[:, None]  # (steps, M, K, batch)
    by_class = torch.from_numpy(np.stack([head.loss_weights(classes) for head in heads]))
    loss_weight = by_class[torch.arange(count)[:, None], labels]  # (steps, M, batch)
    rate = torch.tensor([head.learning_rate for head in heads])
    # parameters[:, 0] is BatchNorm's scale, [:, 1] its shift, [:, 2:] the dense layer: one tensor, one Adam.
    parameters = torch.from_numpy(np.stack([_initial(head, classes, channels) for head in heads]))
    bias = torch.zeros(count, classes)
    adam, adam_bias = _Adam(parameters, rate), _Adam(bias, rate)
    dropout = _Dropout(heads, batch, channels)
    validation = _Validation(table, heads, classes, positive)
    running_mean, running_variance = torch.zeros(count, channels), torch.zeros(count, channels)

    best_loss = torch.full((count,), torch.inf, dtype=torch.float64)
    best_weight, best_bias = torch.zeros(count, classes, channels), torch.zeros(count, classes)
    best_step = torch.zeros(count, dtype=torch.int64)
    tracked: list[tuple[torch.Tensor, ...]] = []
    checks = set(schedule.checks)
    # The inputs of the dense layer, split as scale * (kept, centred features) + shift * (kept ones).
    inputs = torch.empty(count, batch, 2 * channels)
    averaging = torch.full((count, 1, batch), 1 / batch)
    gradient = torch.empty_like(parameters)

    for step in range(schedule.steps):
        scale, shift, dense = parameters[:, 0], parameters[:, 1], parameters[:, 2:]
        x = table.index_select(0, rows[step].reshape(-1)).view(count, batch, channels)
        mean = torch.bmm(averaging, x)[:, 0]
        mean_square = torch.nn.functional.embedding_bag(rows[step], table_squares, mode="sum") / batch
        variance = (mean_square - mean * mean).clamp_min_(0)
        running_mean.lerp_(mean, 1 - BATCHNORM_MOMENTUM)
        running_variance.lerp_(variance, 1 - BATCHNORM_MOMENTUM)
        inverse = (variance + BATCHNORM_EPSILON).rsqrt_()

        keep = dropout.keep(step)
        inputs[:, :, channels:] = keep
        torch.mul(x.sub_(mean[:, None]), keep, out=inputs[:, :, :channels])
        kept_scale = dropout.scale * inverse
        weight = torch.cat([dense * (scale * kept_scale)[:, None], dense * (shift * dropout.scale)[:, None]], 2)
        # (M, K, batch), classes before images: a product with few columns is several times slower than few rows.
        probabilities = torch.baddbmm(bias[:, :, None], weight, inputs.transpose(1, 2)).softmax(1)

        # d(mean cross-entropy)/d(logits) = (probabilities - one-hot) / batch; everything else is linear in it.
        by_logits = probabilities.sub_(one_hot[step].float()).mul_(loss_weight[step, :, None]).div_(batch)
        products = torch.bmm(by_logits, inputs)
        by_centred = products[:, :, :channels] * kept_scale[:, None]
        by_kept = products[:, :, channels:] * dropout.scale[:, None]
        gradient[:, 0] = (dense * by_centred).sum(1)
        gradient[:, 1] = (dense * by_kept).sum(1)
        gradient[:, 2:] = by_centred * scale[:, None] + by_kept * shift[:, None]
        adam.step(gradient, step + 1)
        adam_bias.step(by_logits.sum(2), step + 1)

        if step + 1 in checks:
            correction = 1 / (1 - BATCHNORM_MOMENTUM ** (step + 1))
            slope = scale * (running_variance * correction + BATCHNORM_EPSILON).rsqrt()
            folded = dense * slope[:, None]
            offset = bias + (dense * (shift - slope * running_mean * correction)[:, None]).sum(2)
            loss, accuracy, auroc = validation.scores(folded, offset)
            if not torch.isfinite(loss).all():
                raise InputError(f"the classifier diverged at step {step + 1}; lower the learning rate")
            tracked.append((loss, accuracy, auroc))
            better = loss < best_loss
            best_loss = torch.where(better, loss, best_loss)
            best_step = torch.where(better, step + 1, best_step)
            best_weight[better], best_bias[better] = folded[better], offset[better]

    losses, accuracies, aurocs = (torch.stack(values, 1).numpy() for values in zip(*tracked, strict=True))
    return best_weight.numpy(), best_bias.numpy(), best_step.numpy(), losses, accuracies, aurocs

"""Are generated images copies of training images?

Everything rests on one number an image: the logarithm of its distance to the nearest training image over its distance
to the nearest held-out image. An honest generator knows nothing of who was held out, so swapping who counts as trained
on, by patient and within class, changes nothing (a permutation test of the whole set); and a single image is a suspect
when its ratio is smaller than those of real images of other patients (training images, each with its own patient left
out). A blurred or poor image is far from both, so its ratio is near 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from synthmed.core.errors import InputError
from synthmed.metrics.neighbours import Neighbours, euclidean_blocks, keep_nearest

TESTS = ("nearer", "small_ratios", "patients", "closest")
"""What judge() tests, in this order: the first two by permutation, the other two against real images."""
_TAIL = 0.1  # share of the real images' ratios that the tail is fitted to


def swapped(training: np.ndarray, patients: np.ndarray, labels: Sequence[str], count: int, seed: int) -> np.ndarray:
    """Who counts as a training image: bool (1 + count, P), first the truth, then random swaps.

    training: bool (P,), images of the pool that were trained on; patients: int (P,), each in one part; labels: class of
    each image. Whole patients swap, among those whose images have the same classes.
    """
    rng = np.random.default_rng(seed)
    classes: dict[int, set] = {}
    for patient, label in zip(patients.tolist(), labels, strict=True):
        classes.setdefault(patient, set()).add(label)
    strata: dict[tuple, list[int]] = {}
    for patient in sorted(classes):
        strata.setdefault(tuple(sorted(classes[patient])), []).append(patient)
    trained = np.zeros(patients.max() + 1, dtype=bool)
    trained[patients[training]] = True
    found = [training]
    for _ in range(count):
        drawn = trained.copy()
        for members in strata.values():
            drawn[members] = rng.permutation(trained[members])
        found.append(drawn[patients])
    return np.stack(found)


def list_length(training: np.ndarray, patients: np.ndarray) -> int:
    """How many neighbours of an image to keep so that nearly always both kinds are among them."""
    larger = min(0.95, max(training.mean(), 1 - training.mean()))
    films = len(patients) / len(np.unique(patients))
    return min(len(patients), int(np.ceil(films * (4 + np.log(1e-4) / np.log(larger)))))


class Ratios(NamedTuple):
    """log: float32 (B, Q), the log ratio under each of B swaps; nearest: int (Q,), the nearest training image in truth;
    distance: float32 (Q,), to it; held_out: float32 (Q,), to the nearest held-out image."""

    log: np.ndarray
    nearest: np.ndarray
    distance: np.ndarray
    held_out: np.ndarray

    def take(self, rows: slice | np.ndarray) -> "Ratios":
        """Those of some queries."""
        return Ratios(self.log[:, rows], self.nearest[rows], self.distance[rows], self.held_out[rows])


def log_ratios(found: Neighbours, training: np.ndarray, floor: float) -> Ratios:
    """Log ratios of distances (nearest training image / nearest held-out image) of the queries.

    training: bool (B, P), the truth first, of `swapped`; floor: smaller distances count as this. Where one kind is not
    among the neighbours kept, the last of them stands in: a bound that makes the ratio less extreme.
    """
    rows = np.arange(len(found.index))
    distance = np.maximum(found.distance, floor)
    log = np.empty((len(training), len(rows)), dtype=np.float32)
    for number, members in enumerate(training):
        near = members[found.index]
        log[number] = np.log(distance[rows, _first(near)] / distance[rows, _first(~near)])
    near = training[0][found.index]
    first, other = _first(near), _first(~near)
    return Ratios(log, found.index[rows, first], found.distance[rows, first], found.distance[rows, other])


def _first(chosen: np.ndarray) -> np.ndarray:
    """Position of the first True of each row, of the last column where there is none."""
    first = chosen.argmax(axis=1)
    return np.where(chosen[np.arange(len(chosen)), first], first, chosen.shape[1] - 1)


def floor(distances: np.ndarray) -> float:
    """Distance that smaller ones count as: a hundredth of the median of `distances`, of real images to the nearest of
    another patient. Raises InputError when it is 0."""
    usual = float(np.median(distances))
    if not usual > 0:
        raise InputError("most real images equal one of another patient; the copy audit cannot tell them apart")
    return usual / 100


def twice(ratios: Ratios, floor: float) -> np.ndarray:
    """Which real images equal one of another patient (a film under two names): bool (Q,). They say nothing about new
    patients."""
    return np.minimum(ratios.distance, ratios.held_out) <= floor


class Yardstick(NamedTuple):
    """Of real images. threshold: the log ratio below which an image is a suspect; expected: the share of new real
    images below it, on average; rank, count: it is the rank-th smallest of count; tail: where the fitted tail begins,
    its share, and its rate (None with fewer than five images in it)."""

    threshold: float
    expected: float
    rank: int
    count: int
    tail: tuple[float, float, float] | None


def yardstick(real: np.ndarray, quantile: float) -> Yardstick:
    """From the log ratios (R,) of real images, one a patient, each with its own patient left out.

    threshold: the r-th smallest, r = quantile · R rounded up. Beyond it the tail is taken as exponential, as ratios of
    neighbours' distances are where images fill their space evenly (Facco 2017, Estimating the intrinsic dimension of
    datasets by a minimal neighborhood information, eq. 3), with the lower 95 % bound of its rate: pairs of real
    look-alikes make the tail long and the audit cautious. Raises InputError without images.
    """
    if not len(real):
        raise InputError(
            "every training image equals one of another patient; the copy audit has nothing to compare with"
        )
    ordered = np.sort(real.astype(np.float64))
    rank = max(1, int(np.ceil(quantile * len(ordered))))
    k = int(_TAIL * len(ordered))
    tail = None
    if k >= 5:
        start = ordered[k]
        excess = float((start - ordered[:k]).sum())
        tail = (float(start), k / (len(ordered) + 1), float(special.gammaincinv(k, 0.05)) / max(excess, 1e-12))
    return Yardstick(float(ordered[rank - 1]), rank / (len(ordered) + 1), rank, len(ordered), tail)


def _chance(log: np.ndarray, measure: Yardstick) -> np.ndarray:
    """Chance that a new real image has a log ratio as small as each of `log`, by the fitted tail; 1 outside it."""
    if measure.tail is None:
        return np.ones(len(log))
    start, share, rate = measure.tail
    return np.where(log < start, share * np.exp(np.minimum(0, rate * (log - start))), 1)


def judge(ratios: Ratios, patients: np.ndarray, measure: Yardstick, weights: np.ndarray) -> np.ndarray:
    """p values (4, S), in the order of TESTS, of S sets of images.

    patients: int (Q,), patient of each query's nearest training image; weights: int (Q, S), how often each query is in
    each set. `nearer`: by permutation, the mean log ratio. `small_ratios`: by permutation, the number of suspects.
    `patients`: of how many different training patients there are suspects, against the beta-binomial number of suspects
    among new real images, the threshold being an estimate; images that resemble each other do not add up. `closest`:
    the smallest ratio against the fitted tail, times the images of the set.
    """
    weights = np.asarray(weights, dtype=np.float32)
    sizes = weights.sum(axis=0)
    means = ratios.log @ (weights / sizes)
    counts = (ratios.log < measure.threshold).astype(np.float32) @ weights
    suspect = ratios.log[0] < measure.threshold
    chance = _chance(ratios.log[0], measure)
    p = np.ones((len(TESTS), weights.shape[1]))
    # The truth is one of the arrangements, so p is never 0 (Phipson 2010, Permutation p-values should never be zero).
    p[0] = (means <= means[0] + 1e-6).mean(axis=0)
    p[1] = (counts >= counts[0] - 1e-3).mean(axis=0)
    for number in range(weights.shape[1]):
        members = weights[:, number] > 0
        hit = len(np.unique(patients[members & suspect]))
        p[2, number] = _at_least(hit, int(sizes[number]), measure)
        p[3, number] = min(1.0, float(chance[members].min()) * sizes[number])
    return p


def _at_least(hits: int, total: int, measure: Yardstick) -> float:
    """Chance of `hits` or more suspects among `total` new real images: upper tail of the beta-binomial distribution."""
    a, b, k = measure.rank, measure.count - measure.rank + 1, np.arange(hits, total + 1)
    choose = special.gammaln(total + 1) - special.gammaln(k + 1) - special.gammaln(total - k + 1)
    return min(1.0, float(np.exp(choose + special.betaln(k + a, total - k + b) - special.betaln(a, b)).sum()))


def same_population(ratios: Ratios, training: np.ndarray) -> float:
    """p value of the permutation test that training and held-out images are of one kind.

    ratios: of real images, each with its own patient left out; training: bool (B, R), which of them count as trained on
    under each swap. If held-out images come from another hospital, each kind lies nearer to its own.
    """
    ones = training.astype(np.float32)
    mean = (ratios.log * ones).sum(axis=1) / ones.sum(axis=1)
    other = (ratios.log * (1 - ones)).sum(axis=1) / (1 - ones).sum(axis=1)
    return float((mean - other <= mean[0] - other[0] + 1e-6).mean())


def planted(share: float, size: int) -> int:
    """Copies in a set of `size` images of which a share are copies: at least one where share > 0."""
    return max(1, round(share * size)) if share > 0 else 0


def spiked(base: int, copies: int, size: int, count: int, sets: int, seed: int) -> np.ndarray:
    """Sets of `size` images of which `count` are copies: how often each image is in each, int (base + copies, sets).

    base: number of honest images to draw from, which come first and of which none is twice in a set; copies: number of
    planted copies, which are where there are too few. Raises InputError without honest images.
    """
    if not base:
        raise InputError("every held-out image equals one of another patient; the copy audit cannot be tried on them")
    rng = np.random.default_rng(seed)
    weights = np.zeros((base + copies, sets), dtype=np.int64)
    for number in range(sets):
        honest = rng.choice(base, size - count, replace=False)
        chosen = base + rng.choice(copies, count, replace=count > copies) if count else honest[:0]
        np.add.at(weights[:, number], np.concatenate([honest, chosen]), 1)
    return weights


def authentic(distance: np.ndarray, nearest: np.ndarray, train: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Which images are farther from their nearest training image than that is from other training patients: bool (Q,).

    Alaa 2022, How faithful is your synthetic data?, section 3.3. distance (Q,), nearest int (Q,): of `train` (N, D);
    patients int (N,).
    """
    hit, back = np.unique(nearest, return_inverse=True)
    found = keep_nearest(euclidean_blocks(train[hit], train), patients[hit], patients, 1)
    return distance >= found.distance[back, 0]


def c_t(generated: np.ndarray, held_out: np.ndarray) -> float:
    """Standardised Mann–Whitney statistic of distances to the training set; below −3 or so speaks for copying.

    Meehan 2020, A three sample hypothesis test for evaluating generative models, with one cell. generated (Q,),
    held_out (M,): distances to the nearest training image.
    """
    q, m = len(generated), len(held_out)
    ordered = np.sort(held_out)
    below = (np.searchsorted(ordered, generated, "left") + np.searchsorted(ordered, generated, "right")) / 2
    return float((below.sum() - q * m / 2) / np.sqrt(q * m * (q + m + 1) / 12))

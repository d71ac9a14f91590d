"""Are generated images copies of training images? Nearest neighbours, and how unusual their distances are."""

from typing import NamedTuple

import numpy as np
from scipy import special

from synthmed.core.errors import InputError
from synthmed.metrics.classification import Interval, clopper_pearson


def standardise(train: np.ndarray, others: list[np.ndarray]) -> list[np.ndarray]:
    """`train` (N, D) and `others` (M, D) by mean and standard deviation of `train`, without its constant columns."""
    mean, spread = train.mean(axis=0), train.std(axis=0)
    kept = spread > 1e-12 * max(1.0, float(np.abs(mean).max()))
    if not kept.any():
        raise InputError("all training images have the same features; the copy audit cannot tell them apart")
    return [(values[:, kept] - mean[kept]) / spread[kept] for values in (train, *others)]


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Rows (N, D) scaled to length 1, so that squared Euclidean distance is 2 − 2 cosine. Rows of zeros stay zero."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(lengths > 0, lengths, 1)


def normalise_pixels(images: np.ndarray, side: int) -> np.ndarray:
    """Images as vectors that brightness, contrast and resolution do not change: float32 (N, side · side · C).

    images (N, H, W, C); averaged over blocks to at most side × side, minus each image's mean, over its standard
    deviation (an image of one value becomes zeros), over √length, so that the Euclidean distance of two images is
    √(2 − 2r), r their correlation.
    """
    n, height, width, channels = images.shape
    rows, columns = min(side, height), min(side, width)
    blocks = np.zeros((n, rows, columns, channels), dtype=np.float32)
    row_edges, column_edges = np.arange(rows) * height // rows, np.arange(columns) * width // columns
    areas = np.outer(np.diff(np.r_[row_edges, height]), np.diff(np.r_[column_edges, width]))[:, :, None]
    for start in range(0, n, 64):  # bounded memory: 64 images at a time in float
        part = images[start : start + 64].astype(np.float32)
        sums = np.add.reduceat(np.add.reduceat(part, row_edges, axis=1), column_edges, axis=2)
        blocks[start : start + 64] = sums / areas
    values = blocks.reshape(n, -1)
    values -= values.mean(axis=1, keepdims=True)
    return unit_rows(values).astype(np.float32)


class Nearest(NamedTuple):
    """For each query its nearest reference: position int64 (M,) and Euclidean distance float64 (M,)."""

    index: np.ndarray
    distance: np.ndarray


def nearest(
    queries: np.ndarray,
    references: np.ndarray,
    *,
    chunk: int,
    groups: tuple[np.ndarray, np.ndarray] | None,
) -> Nearest:
    """Nearest of `references` (N, D) for each of `queries` (M, D) by Euclidean distance.

    chunk: queries at a time; memory is chunk × N. groups: patient of each query (M,) and of each reference (N,), to
    leave out references of the query's own patient (real against real), or None. Raises InputError if nothing is left.
    """
    index = np.empty(len(queries), dtype=np.int64)
    distance = np.empty(len(queries))
    norms = np.einsum("ij,ij->i", references, references)
    for start in range(0, len(queries), chunk):
        part = queries[start : start + chunk]
        squared = norms[None, :] - 2 * (part @ references.T)  # the query's own norm does not change the order
        if groups is not None:
            same = groups[0][start : start + chunk, None] == groups[1][None, :]
            if same.all(axis=1).any():
                raise InputError("every training image is of one patient; real-to-real distances need at least two")
            squared[same] = np.inf
        best = squared.argmin(axis=1)
        index[start : start + chunk] = best
        # The winner's distance again from the difference: exact for copies, where the formula above cancels.
        distance[start : start + chunk] = np.linalg.norm(part - references[best], axis=1)
    return Nearest(index, distance)


IDENTICAL = 1e-6
"""Distance up to which two images count as the same."""


class Suspects(NamedTuple):
    """threshold: distance below which an image is a suspect; suspect, identical bool (M,); share of suspects with its
    exact interval; expected: the share among new real images, on average; p: chance of so many suspects if the images
    were such."""

    threshold: float
    suspect: np.ndarray
    identical: np.ndarray
    share: Interval
    expected: float
    p: float


def suspects(distances: np.ndarray, reference: np.ndarray, *, quantile: float, level: float) -> Suspects:
    """Images nearer to a training image than held-out real images are.

    distances (M,): of generated images to their nearest training image; reference (H,): of held-out real images to
    theirs. threshold: the r-th smallest reference distance, r = quantile · H rounded up, at least 1. If generated
    images were like new real images, each would fall below it with the expected share r / (H + 1), and their number
    would be beta-binomial (M; r, H − r + 1), which includes that the threshold itself is estimated from H images: p is
    its upper tail. Held-out images that equal a training image (one image under two names) say nothing about new
    patients and are left out. Raises InputError when no image is left.
    """
    reference = reference[reference > IDENTICAL]
    if not len(distances) or not len(reference):
        raise InputError(
            "the copy audit needs at least one generated image and one held-out image that equals no training image"
        )
    rank = max(1, int(np.ceil(quantile * len(reference))))
    threshold = float(np.sort(reference)[rank - 1])
    suspect = distances < threshold
    count, total = int(suspect.sum()), len(distances)
    # Beta-binomial upper tail: C(total, k) B(k + a, total − k + b) / B(a, b), summed over k = count … total.
    a, b, k = rank, len(reference) - rank + 1, np.arange(count, total + 1)
    choose = special.gammaln(total + 1) - special.gammaln(k + 1) - special.gammaln(total - k + 1)
    p = float(np.exp(choose + special.betaln(k + a, total - k + b) - special.betaln(a, b)).sum())
    share = clopper_pearson(count, total, level)
    return Suspects(threshold, suspect, distances <= IDENTICAL, share, rank / (len(reference) + 1), min(1.0, p))

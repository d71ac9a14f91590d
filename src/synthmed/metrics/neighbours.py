"""Nearest images of a pool, found block by block: of all distances only the smallest are kept."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

_SPARE = 1024  # columns beyond the kept ones before the larger are dropped
_ROWS = 512  # images of the pool in a block


class Neighbours(NamedTuple):
    """Of each query the nearest images of the pool, nearest first.

    index: int32 (Q, K), positions in the pool; distance: float32 (Q, K); own: float32 (Q,), distance to the nearest
    image of the patient that was left out for this query, infinity where none was.
    """

    index: np.ndarray
    distance: np.ndarray
    own: np.ndarray


def keep_nearest(
    blocks: Iterable[tuple[int, np.ndarray]], left_out: np.ndarray, patients: np.ndarray, keep: int
) -> Neighbours:
    """The `keep` nearest of each query among images of other patients than the one left out.

    blocks: (position in the pool of the first column, distances (Q, m)), which are changed; left_out: int (Q,), a
    patient, or −1 for none; patients: int (P,), of the pool. Memory: Q × (keep + 1024 + m) distances and positions.
    """
    index = np.empty((len(left_out), 0), dtype=np.int32)
    distance = np.empty((len(left_out), 0), dtype=np.float32)
    own = np.full(len(left_out), np.inf, dtype=np.float32)
    for start, block in blocks:
        columns = np.arange(start, start + block.shape[1], dtype=np.int32)
        same = left_out[:, None] == patients[None, columns]
        own = np.minimum(own, np.where(same, block, np.inf).min(axis=1))
        block[same] = np.inf
        index = np.concatenate([index, np.broadcast_to(columns, block.shape)], axis=1)
        distance = np.concatenate([distance, block.astype(np.float32, copy=False)], axis=1)
        if index.shape[1] > keep + _SPARE:
            index, distance = _smallest(index, distance, keep)
    index, distance = _smallest(index, distance, min(keep, index.shape[1]))
    order = np.lexsort((index, distance))
    return Neighbours(np.take_along_axis(index, order, 1), np.take_along_axis(distance, order, 1), own)


def _smallest(index: np.ndarray, distance: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray]:
    chosen = np.argpartition(distance, keep - 1, axis=1)[:, :keep]
    return np.take_along_axis(index, chosen, 1), np.take_along_axis(distance, chosen, 1)


def euclidean_blocks(queries: np.ndarray, pool: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks for keep_nearest: Euclidean distances of `queries` (Q, D) to `pool` (P, D), float32."""
    squares = np.einsum("ij,ij->i", queries, queries)[:, None]
    for start in range(0, len(pool), _ROWS):
        part = pool[start : start + _ROWS]
        squared = squares + np.einsum("ij,ij->i", part, part) - 2 * (queries @ part.T)
        yield start, np.sqrt(np.maximum(squared, 0))


def standardise(pool: np.ndarray, others: list[np.ndarray]) -> list[np.ndarray]:
    """`pool` (P, D) and `others` (M, D) by mean and standard deviation of `pool`, without its constant columns, rows
    scaled to length 1: Euclidean distances are then √(2 − 2 cosine). Rows of zeros stay zero. float32."""
    mean, spread = pool.mean(axis=0, dtype=np.float64), pool.std(axis=0, dtype=np.float64)
    kept = spread > 1e-6 * np.maximum(1, np.abs(mean))
    found = []
    for values in (pool, *others):
        rows = ((values[:, kept] - mean[kept]) / spread[kept]).astype(np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        found.append(rows / np.where(lengths > 0, lengths, 1))
    return found

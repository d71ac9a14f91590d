"""Images that show the same picture under two names: by perceptual hash first, then by their pixels.

All pairs are compared, block by block. Of those found the number and the groups are kept, and only so many pairs as are
shown: among 4,000 slices of four volumes there are two million.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

HASH_SIDE = 32
"""Side (pixels) of the image that is hashed."""
COMPARED_SIDE = 64
"""Side (pixels) of the images that are correlated."""
_BLOCK = 256  # rows compared at once: 256 × N hashes of 8 bytes in memory
_COLUMNS = 2048  # of them correlated at once: 2048 thumbnails of 16 KB in memory


@dataclass(frozen=True)
class Pair:
    """Two images, by their position. bits: how many of 64 hash bits differ; correlation: Pearson's, of the pixels."""

    first: int
    second: int
    bits: int
    correlation: float


def grey(pixels: np.ndarray) -> Image.Image:
    """Grey picture of uint8 (H, W, C), C = 1 or 3, or (H, W); of other numbers of channels their mean."""
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3):
        pixels = pixels.mean(axis=2).round().astype(np.uint8)
    image = Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    return image if image.mode == "L" else image.convert("L")


def thumbnail(pixels: np.ndarray, side: int, resample: Image.Resampling) -> np.ndarray:
    """Grey uint8 (side, side) of uint8 (H, W, C)."""
    return np.asarray(grey(pixels).resize((side, side), resample))


def perceptual_hashes(thumbnails: np.ndarray) -> np.ndarray:
    """64-bit perceptual hashes, uint64 (N,), of uint8 (N, 32, 32).

    The signs of the 8×8 lowest frequencies of a cosine transform against their median (Zauner 2010, Implementation and
    benchmarking of perceptual image hash functions, 3.2.1).
    """
    low = dctn(thumbnails.astype(np.float64), axes=(1, 2))[:, :8, :8].reshape(len(thumbnails), 64)
    signs = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(signs, axis=1).view(">u8").astype(np.uint64)[:, 0]


def standardised(thumbnails: np.ndarray) -> np.ndarray:
    """float32 (N, D): rows of mean 0 and length 1, so that a dot product is a correlation; 0 for constant images."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.divide(flat, length, out=np.zeros_like(flat), where=length > 0)


@dataclass(frozen=True)
class NearDuplicates:
    """found: pairs of different patients; across: how many of them have their images in different parts; pairs: the
    first of them, those across parts first; groups: int64 (N,), the same for patients that near-duplicates connect;
    images: how many are in a pair."""

    found: int
    across: int
    pairs: list[Pair]
    groups: np.ndarray
    images: int


def near_duplicates(
    hashes: np.ndarray,
    thumbnails: np.ndarray,
    patients: np.ndarray,
    parts: np.ndarray,
    *,
    bits: int,
    correlation: float,
    shown: int,
) -> NearDuplicates:
    """Pairs of different patients with at most `bits` differing hash bits and at least this `correlation`.

    hashes: uint64 (N,); thumbnails: uint8 (N, H, W); patients: int64 (N,), from 0; parts: int (N,), the part of each
    image; shown: how many pairs are kept of those across parts, and of the others. 10,000 images take about a second,
    as many look-alikes half a minute; memory is a few hundred MB beside the arguments.
    """
    groups = np.arange(patients.max() + 1)
    crossing: list[Pair] = []
    others: list[Pair] = []
    found = across = 0
    paired = np.zeros(len(hashes), dtype=bool)
    for first, second, differing, values in _pairs(hashes, thumbnails, patients, bits, correlation):
        apart = parts[first] != parts[second]
        found, across = found + len(first), across + int(apart.sum())
        paired[first] = paired[second] = True
        groups = _join(groups, patients[first], patients[second])
        for kept, rows in ((crossing, np.flatnonzero(apart)), (others, np.flatnonzero(~apart))):
            kept += [
                Pair(int(first[i]), int(second[i]), int(differing[i]), min(float(values[i]), 1.0))
                for i in rows[: shown - len(kept)]
            ]
    return NearDuplicates(found, across, crossing + others, groups[patients], int(paired.sum()))


def _pairs(
    hashes: np.ndarray, thumbnails: np.ndarray, patients: np.ndarray, bits: int, correlation: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Positions, differing bits and correlation of the pairs, in order, block by block."""
    for start in range(0, len(hashes), _BLOCK):
        block = slice(start, start + _BLOCK)
        distance = np.bitwise_count(hashes[block, None] ^ hashes[None, start:])
        near = (distance <= bits) & (patients[block, None] != patients[None, start:])
        first, second = np.nonzero(np.triu(near, 1))
        if not len(first):
            continue
        values = _correlations(thumbnails[start:], first, second)
        close = values >= correlation - 1e-6  # of equal images float32 gives a little less than 1
        first, second = first[close], second[close]
        yield start + first, start + second, distance[first, second], values[close]


def _correlations(thumbnails: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of the pairs, float32, by matrix products; row by row a crowd of look-alikes takes far longer."""
    rows, columns = np.unique(first), np.unique(second)
    left = standardised(thumbnails[rows])
    products = np.empty((len(rows), len(columns)), dtype=np.float32)
    for start in range(0, len(columns), _COLUMNS):
        part = slice(start, start + _COLUMNS)
        products[:, part] = left @ standardised(thumbnails[columns[part]]).T
    return products[np.searchsorted(rows, first), np.searchsorted(columns, second)]


def _join(groups: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Groups (P,) of patients after those of the pairs have become one."""
    one, other = groups[first], groups[second]
    different = one != other
    if not different.any():
        return groups
    edges = coo_array(
        (np.ones(different.sum(), dtype=bool), (one[different], other[different])), shape=(len(groups),) * 2
    )
    return connected_components(edges, directed=False)[1][groups].astype(np.int64)

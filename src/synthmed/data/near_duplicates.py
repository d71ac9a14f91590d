"""Images that show the same picture under two names: by perceptual hash first, then by their pixels."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.fft import dctn

HASH_SIDE = 32
"""Side (pixels) of the image that is hashed."""
COMPARED_SIDE = 64
"""Side (pixels) of the images that are correlated."""
_BLOCK = 256  # rows compared at once: 256 × N hashes of 8 bytes in memory


@dataclass(frozen=True)
class Pair:
    """Two images, by their position. bits: how many of 64 hash bits differ; correlation: Pearson's, of the pixels."""

    first: int
    second: int
    bits: int
    correlation: float


def grey(pixels: np.ndarray) -> Image.Image:
    """Grey picture of uint8 (H, W, 1), (H, W, 3) or (H, W)."""
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


def near_duplicates(
    hashes: np.ndarray, vectors: np.ndarray, groups: np.ndarray, bits: int, correlation: float
) -> list[Pair]:
    """Pairs of different groups with at most `bits` differing hash bits and at least this `correlation`.

    hashes: uint64 (N,); vectors: float32 (N, D) of `standardised`; groups: int64 (N,), the patient's number. All pairs
    are compared, in blocks; 10,000 images take about a second. Sorted by position.
    """
    pairs = []
    for start in range(0, len(hashes), _BLOCK):
        block = slice(start, start + _BLOCK)
        distance = np.bitwise_count(hashes[block, None] ^ hashes[None, start:])
        first, second = np.nonzero(distance <= bits)
        different = groups[start + first] != groups[start + second]
        keep = (second > first) & different
        first, second = first[keep], second[keep]
        if len(first) == 0:
            continue
        # One matrix product for the block's candidates; a crowd of look-alikes would need as many rows one by one.
        rows, columns = np.unique(first), np.unique(second)
        products = vectors[start + rows] @ vectors[start + columns].T
        values = products[np.searchsorted(rows, first), np.searchsorted(columns, second)]
        close = values >= correlation - 1e-6  # of equal images float32 gives a little less than 1
        for i, j, value in zip(first[close], second[close], values[close], strict=True):
            pairs.append(Pair(int(start + i), int(start + j), int(distance[i, j]), min(float(value), 1.0)))
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))

"""Distances of images that do not mind a flip, a shift, a crop or a small turn, and differences of light.

A query shows its middle; every reference is looked at through a few hundred windows of the same shape: shifted, smaller
(what a crop enlarges), turned. The distance is that to the nearest window, of the query as it is or mirrored.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

_MIDDLE = 0.8  # side of the query's window, as a share of the image's
_SCALES = (1.0, 0.9, 0.8)  # sides of the references' windows, as shares of that: crops to 90 and 80 %
_SHIFTS = np.linspace(-0.094, 0.094, 9)  # of the windows, in either direction, as shares of the image's side
_TURNS = (-6, 6)  # degrees; windows of scale 1, and every other shift
_COMPONENTS = 64
_FLATTENING = 0.3  # exponent of the eigenvalues: small components, which a small shift hardly moves, count more
_SAMPLE = 1000  # images that the components are fitted to
_LEAST = 1e-4  # variance, in grey values, up to which a window is taken for constant
_BLOCK = 2**24  # distances at once: 64 MB


def thumbnail(pixels: np.ndarray, side: int) -> np.ndarray:
    """uint8 (side, side, C) of uint8 (H, W, C): means of blocks."""
    return each_channel(pixels, lambda image: image.resize((side, side), Image.Resampling.BOX))


def shows(thumbnails: np.ndarray) -> np.ndarray:
    """Whether the middles of uint8 (N, side, side, C) vary in any channel: bool (N,). Those of others say nothing."""
    middles = _windows(thumbnails.astype(np.float32), 1.0, np.zeros(1))
    return middles.reshape(len(thumbnails), -1, thumbnails.shape[3]).var(axis=1).mean(axis=1) > _LEAST


def each_channel(pixels: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """`change` applied to each channel of uint8 (H, W, C), as a grey picture."""
    return np.stack([np.asarray(change(Image.fromarray(channel))) for channel in np.moveaxis(pixels, 2, 0)], axis=2)


@dataclass(frozen=True)
class Alignment:
    """Vectors of windows. side: of the thumbnails, pixels; axes: float32 (D, K), principal components of their middles,
    scaled."""

    side: int
    axes: np.ndarray

    def queries(self, thumbnails: np.ndarray) -> np.ndarray:
        """Middles of uint8 (N, side, side, C), as they are and mirrored: float32 (2, N, K)."""
        images = thumbnails.astype(np.float32)
        return np.stack(
            [self._vectors(_windows(view, 1.0, np.zeros(1)))[:, 0] for view in (images, images[:, :, ::-1])]
        )

    def references(self, thumbnails: np.ndarray) -> np.ndarray:
        """All windows of uint8 (N, side, side, C): float32 (N, W, K)."""
        images, shifts = thumbnails.astype(np.float32), _SHIFTS * self.side
        windows = [self._vectors(_windows(images, scale, shifts)) for scale in _SCALES]
        windows += [self._vectors(_windows(_turned(thumbnails, degrees), 1.0, shifts[::2])) for degrees in _TURNS]
        return np.concatenate(windows, axis=1)

    def _vectors(self, windows: np.ndarray) -> np.ndarray:
        """Windows (N, W, D) minus their mean, scaled to length 1, in components; constant ones become zeros.

        The components are orthogonal to constants, so the mean need not be subtracted.
        """
        size = windows.shape[2]
        squares = np.einsum("nwd,nwd->nw", windows, windows) - windows.sum(axis=2) ** 2 / size
        lengths = np.sqrt(np.where(squares > _LEAST * size, squares, np.inf))
        return (windows @ self.axes) / lengths[:, :, None]

    def blocks(self, queries: np.ndarray, pool: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Blocks for neighbours.keep_nearest: distances of `queries` (2, Q, K) to thumbnails `pool` (P, side, side, C).

        Memory: a hundred MB, whatever the size of the pool, up to some 20,000 queries.
        """
        flat = np.concatenate(queries)
        squares = np.einsum("ij,ij->i", flat, flat)
        flat = np.concatenate([flat, np.ones((len(flat), 1), np.float32)], axis=1)
        windows = len(_SCALES) * len(_SHIFTS) ** 2 + len(_TURNS) * len(_SHIFTS[::2]) ** 2
        rows = min(64, max(1, _BLOCK // (len(flat) * windows)))
        for start in range(0, len(pool), rows):
            found = self.references(pool[start : start + rows])
            norms = np.einsum("nwk,nwk->nw", found, found)[:, :, None]
            # One product gives |reference|² − 2 reference · query; the query's own square is the same for all windows.
            products = flat @ np.concatenate([-2 * found, norms], axis=2).reshape(-1, flat.shape[1]).T
            nearest = products.reshape(len(flat), len(found), windows).min(axis=2) + squares[:, None]
            nearest = nearest.reshape(2, -1, len(found)).min(axis=0)
            yield start, np.sqrt(np.maximum(nearest, 0))


def fit(thumbnails: np.ndarray) -> Alignment:
    """The alignment whose components are those of uint8 (N, side, side, C), a thousand of them at most."""
    side = thumbnails.shape[1]
    chosen = thumbnails[:: -(-len(thumbnails) // _SAMPLE)].astype(np.float32)
    middles = _windows(chosen, 1.0, np.zeros(1))[:, 0]
    middles -= middles.mean(axis=1, keepdims=True)
    middles /= np.maximum(np.linalg.norm(middles, axis=1, keepdims=True), 1)
    values, vectors = np.linalg.eigh(middles.T @ middles)
    values, vectors = values[::-1][:_COMPONENTS], vectors[:, ::-1][:, :_COMPONENTS]
    kept = values > 1e-5 * max(values[0], 1e-12)
    return Alignment(side, (vectors[:, kept] * (values[kept] / values[0]) ** -_FLATTENING).astype(np.float32))


def _points(side: int) -> int:
    return max(4, side // 2)


def _windows(images: np.ndarray, scale: float, shifts: np.ndarray) -> np.ndarray:
    """Windows of float32 (N, side, side, C) at every pair of `shifts` (S,), in pixels: float32 (N, S², points² · C)."""
    side, points = images.shape[1], _points(images.shape[1])
    rows = np.concatenate([_interpolation(side, points, scale, shift) for shift in shifts])
    count, channels = len(shifts), images.shape[3]
    found = np.einsum("ay,nyxc->naxc", rows, images, optimize=True)
    found = np.einsum("bx,naxc->nabc", rows, found, optimize=True)
    found = found.reshape(len(images), count, points, count, points, channels).transpose(0, 1, 3, 2, 4, 5)
    return found.reshape(len(images), count**2, -1)


def _interpolation(side: int, points: int, scale: float, shift: float) -> np.ndarray:
    """float32 (points, side): linear interpolation at the centres of `points` cells of a window of a line of pixels."""
    width = _MIDDLE * scale * side
    places = side / 2 + shift - width / 2 + (np.arange(points) + 0.5) * width / points - 0.5
    places = np.clip(places, 0, side - 1)
    left = np.minimum(places.astype(int), side - 2)
    weights = np.zeros((points, side), dtype=np.float32)
    weights[np.arange(points), left] = 1 - (places - left)
    weights[np.arange(points), left + 1] = places - left
    return weights


def _turned(thumbnails: np.ndarray, degrees: float) -> np.ndarray:
    turned = [
        each_channel(image, lambda channel: channel.rotate(degrees, Image.Resampling.BILINEAR)) for image in thumbnails
    ]
    return np.stack(turned).astype(np.float32)

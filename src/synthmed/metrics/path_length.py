"""Perceptual path length: how much an image changes for a small step in latent space (Karras et al. 2019, section 4.1).

Low: the space is smooth, and what is changed in it changes little else.
"""

import numpy as np

from synthmed.core.errors import InputError


def between(first: np.ndarray, second: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Codes (N, D) at `shares` (N,), 0 to 1, of the straight way from `first` to `second` (N, D): for w."""
    return first + shares[:, None] * (second - first)


def on_the_sphere(first: np.ndarray, second: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The same on the great circle between the unit vectors of both (slerp; Shoemake 1985), for normal z, whose length
    does not matter: at length √D. Vectors that point to opposite sides have no such way, and give no number."""
    first, second = (codes / np.linalg.norm(codes, axis=1, keepdims=True) for codes in (first, second))
    angle = np.arccos(np.clip((first * second).sum(axis=1), -1, 1))[:, None]
    share = shares[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        way = (np.sin((1 - share) * angle) * first + np.sin(share * angle) * second) / np.sin(angle)
    way = np.where(np.abs(angle) < 1e-12, first, way)
    return way * np.sqrt(first.shape[1])


def path_lengths(distances: np.ndarray, epsilon: float) -> np.ndarray:
    """The lengths that count: perceptual distances (N,) of steps of `epsilon`, divided by its square, those below the
    1st and above the 99th percentile left out (the authors' metric). Raises InputError on fewer than two."""
    if len(distances) < 2:
        raise InputError(f"{len(distances)} pairs are too few for a path length; set at least 2")
    lengths = np.asarray(distances, dtype=np.float64) / epsilon**2
    low, high = np.percentile(lengths, 1, method="lower"), np.percentile(lengths, 99, method="higher")
    return lengths[(lengths >= low) & (lengths <= high)]

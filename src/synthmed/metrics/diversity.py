"""Nearest-neighbour metrics that tell fidelity and diversity apart: precision, recall, density, coverage.

They work on matrices of squared distances, which are computed once for all of them and for all resamples.
"""

import numpy as np

from synthmed.core.errors import InputError

_SLACK = 1e-9  # a copy lies on the sphere of the image it copies, whatever the rounding of two matrix products


def squared_distances(gram: np.ndarray, norms_a: np.ndarray, norms_b: np.ndarray) -> np.ndarray:
    """|a|² + |b|² − 2 a·b ≥ 0, (N, M), from inner products `gram` (N, M) and squared norms (N,), (M,).

    Distances below the rounding error of that difference are returned as exactly 0.
    """
    distances = norms_a[:, None] + norms_b[None, :] - 2 * gram
    noise = 1e-12 * (norms_a.max() + norms_b.max())
    distances[distances < noise] = 0
    return distances


def neighbour_radii(distances: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each image to its k-th nearest other one, (N,), from its set's own distances (N, N).

    Raises InputError when there are not more than k images.
    """
    if len(distances) <= k:
        raise InputError(f"{k} nearest neighbours need at least {k + 1} images, there are {len(distances)}; lower k")
    return np.partition(distances, k, axis=1)[:, k]  # position 0 is the image itself


def neighbour_metrics(d_rr: np.ndarray, d_rf: np.ndarray, d_ff: np.ndarray, k: int) -> dict[str, float]:
    """Precision, recall, density, coverage from squared distances real-real, real-fake, fake-fake.

    precision: share of fakes inside the k-neighbour ball of any real image; recall: the converse (Kynkäänniemi et al.
    2019, eq. 1–2; a ball contains its sphere). density: number of real balls a fake lies in, over k, averaged
    (unbounded, 1 for equal distributions and for an exact copy); coverage: share of real images with a fake inside
    their ball (Naeem et al. 2020, eq. 3–4; balls without their sphere, as in their code, else a copy had a density of
    1 + 1/k).
    Shapes (N, N), (N, M), (M, M). Raises InputError when a set has not more than k images.
    """
    balls_real, balls_fake = neighbour_radii(d_rr, k)[:, None], neighbour_radii(d_ff, k)[None, :]
    with_sphere = d_rf <= balls_real * (1 + _SLACK)
    without = d_rf < balls_real * (1 - _SLACK)
    return {
        "precision": float(with_sphere.any(axis=0).mean()),
        "recall": float((d_rf <= balls_fake * (1 + _SLACK)).any(axis=1).mean()),
        "density": float(without.sum() / (k * d_rf.shape[1])),
        "coverage": float(without.any(axis=1).mean()),
    }

"""Directions in latent space along which something goes away: found by labels, by variance, by weights, or by chance.

Pure functions on codes (N, D) and numbers about their images; every direction is a unit vector (D,) or rows of them.
Seed 003, section 4.2.2, uses SVM, PCA and SeFa; the regression is that of the disease axes (latent/axes.py).
"""

from dataclasses import dataclass

import numpy as np

from synthmed.core.errors import InputError
from synthmed.metrics.classification import auroc

_TINY = 1e-12


def units(vectors: np.ndarray) -> np.ndarray:
    """Rows (n, D) at length 1. Raises InputError where one has none."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if (lengths < _TINY).any():
        raise InputError("a direction in latent space has no length; the codes or weights it is from are all alike")
    return vectors / lengths


@dataclass(frozen=True)
class Boundary:
    """A linear boundary between codes whose images show something and those whose images do not.

    normal: (D,), unit length, towards those that do; offset: a code is on their side where normal·code + offset > 0.
    """

    normal: np.ndarray
    offset: float

    def side(self, codes: np.ndarray) -> np.ndarray:
        """Signed distance of each code (N,) from the boundary, in units of the codes."""
        return codes.astype(np.float64) @ self.normal + self.offset


def svm_boundary(codes: np.ndarray, shown: np.ndarray, penalty: float) -> Boundary:
    """The boundary of a linear support vector machine (Cortes & Vapnik 1995; scikit-learn's, squared hinge loss).

    codes: (N, D); shown: (N,) bool, both values; penalty: C, of a code on the wrong side. The codes are standardised
    first, so C does not depend on the space; both sides weigh alike, however many they are.
    """
    from sklearn.svm import LinearSVC

    middle, spread = codes.mean(axis=0, dtype=np.float64), codes.std(axis=0, dtype=np.float64)
    spread = np.where(spread > _TINY, spread, 1.0)
    machine = LinearSVC(C=penalty, dual=False, class_weight="balanced", max_iter=10_000)
    machine.fit((codes - middle) / spread, shown)
    slopes = machine.coef_[0] / spread
    length = np.linalg.norm(slopes)
    return Boundary(slopes / length, float((machine.intercept_[0] - slopes @ middle) / length))


def principal_directions(codes: np.ndarray, activations: np.ndarray, count: int) -> np.ndarray:
    """The `count` directions along which images vary most, in order: GANSpace (Härkönen et al. 2020, section 2).

    codes: (N, D); activations: (N, M), numbers of the images; where the codes themselves are their principal space
    (StyleGAN's w), the codes again. The principal components of the activations are found, and each is carried over to
    the codes by the linear regression of the codes on the coordinates (there equation 2).
    """
    centred = activations - activations.mean(axis=0, dtype=np.float64).astype(activations.dtype)
    offsets = codes - codes.mean(axis=0, dtype=np.float64).astype(codes.dtype)
    # Eigenvectors of the smaller of the two products, in place of a decomposition of all rows: 8 times faster for
    # 20,000 codes. Regression slopes of codes on orthogonal coordinates are products with them; lengths do not matter.
    if centred.shape[1] <= len(centred):
        product = centred.T @ centred
        sizes, vectors = np.linalg.eigh(product.astype(np.float64))
        shared = product if activations is codes else centred.T @ offsets
    else:
        sizes, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
        shared = offsets
    slopes = vectors[:, ::-1][:, :count].T @ shared
    least = sizes[-1] * max(centred.shape) * np.finfo(centred.dtype).eps
    return units(slopes[: min(codes.shape[1], int((sizes > least).sum()))])


def weight_directions(weights: np.ndarray, count: int) -> np.ndarray:
    """The `count` directions that the first layer stretches most, in order: SeFa (Shen & Zhou 2021, equation 8).

    weights: (M, D), what codes are multiplied by first. They are the eigenvectors of weightsᵀ·weights of the largest
    eigenvalues.
    """
    weights = weights.astype(np.float64)
    _, vectors = np.linalg.eigh(weights.T @ weights)
    return vectors.T[::-1][:count].copy()


def random_directions(count: int, dimensions: int, rng: np.random.Generator) -> np.ndarray:
    """`count` directions, all equally likely."""
    return units(rng.standard_normal((count, dimensions)))


def without(directions: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Directions (n, D) without what they share with the direction `other` (D,): moving along them leaves every linear
    score along `other` as it is. Raises InputError where nothing is left."""
    unit = units(other[None])[0]
    return units(directions - (directions @ unit)[:, None] * unit)


def held_out(boundary: Boundary, codes: np.ndarray, shown: np.ndarray) -> dict[str, float]:
    """How well a boundary tells held-out codes (N, D) apart: accuracy, AUROC, and the accuracy of always saying what is
    more frequent."""
    side = boundary.side(codes)
    share = float(shown.mean())
    return {
        "accuracy": float(((side > 0) == shown).mean()),
        "auroc": auroc(side, shown),
        "majority": max(share, 1 - share),
    }

"""Images whose features lie with another class than their own, and where images lie among each other."""

import numpy as np

from synthmed.core.errors import InputError


def nearer_to_another(features: np.ndarray, own: np.ndarray, real: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each image lies nearer to the centre of another class of real images than to that of its own, bool (N,).

    features (N, D) of images that claim to be of the classes own (N,); real (M, D) of real ones, labels (M,).
    Distances are Euclidean after every feature is divided by its standard deviation within the classes (those that do
    not vary are left out). Seed 003, Figure 3.7, shows such synthetic images by the principal components of a
    classifier's last layer. Raises InputError when an image claims a class that no real one has.
    """
    classes, member = np.unique(labels, return_inverse=True)
    if strange := sorted(set(own) - set(classes)):
        raise InputError(f"images claim to be {strange[0]!r}, but the real ones are {classes.tolist()}")
    centres = np.stack([real[member == number].mean(axis=0) for number in range(len(classes))])
    within = (real - centres[member]).std(axis=0)
    used = within > 1e-9 * np.abs(real).max()
    scaled, centres = features[:, used] / within[used], centres[:, used] / within[used]
    distances = np.stack([((scaled - centre) ** 2).sum(axis=1) for centre in centres])
    return distances.argmin(axis=0) != np.searchsorted(classes, own)


def two_components(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where images lie along the two directions in which their features (N, D) vary most, (N, 2), and the share of the
    variance along each, (2,). Each direction points to where its largest weight is above zero."""
    centred = features - features.mean(axis=0)
    variances, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, :-3:-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    return centred @ axes, variances[:-3:-1] / variances.sum()

"""Whose image is it? What a classifier of patients, or a search for the nearest image, finds out.

Scores are 0 or 1 for each image: whether the right one is the first, or among the first TOP.
"""

from dataclasses import replace
from typing import Literal

import numpy as np

from synthmed.metrics.neighbours import euclidean_blocks, standardise
from synthmed.metrics.outcomes import mean_of_patients
from synthmed.metrics.statistics import SeedTest, readers_test, unanimous_p

TOP = 5
SEEN, CHANGED, UNSEEN = "seen", "changed", "unseen"
"""Test sets of real images: those that the classifier was trained on, the same mildly changed, and others of the same
patients."""


def rank_of(likelihoods: np.ndarray, right: np.ndarray) -> np.ndarray:
    """How many other classes are as likely as the right one, or more: int (…, N) of likelihoods (…, N, C), right (N,).

    Equally likely classes count against it, so that a classifier that knows nothing is never right.
    """
    own = np.take_along_axis(likelihoods, np.broadcast_to(right[:, None], (*likelihoods.shape[:-1], 1)), axis=-1)
    return (likelihoods >= own).sum(axis=-1) - 1


def sources_found(queries: np.ndarray, pool: np.ndarray, source: np.ndarray) -> np.ndarray:
    """How many images of the pool are as near to each query as its source, or nearer: int (N,).

    queries (N, D), pool (P, D): features, compared by the cosine once standardised by the pool; source: (N,), positions
    in the pool.
    """
    known, asked = standardise(pool, [queries])
    distance = np.concatenate([block for _, block in euclidean_blocks(asked, known)], axis=1)
    own = np.take_along_axis(distance, source[:, None], axis=1)
    return (distance <= own).sum(axis=1) - 1


def chance(labels: np.ndarray, classes_of_patients: list[set[str]]) -> np.ndarray:
    """The chance to name the patient of an image by guessing among those who have images of its class: (N,).

    labels (N,): of the images; classes_of_patients: of each patient. Whoever sees the class of an image knows so much,
    and no identity leaks by it. Of a class that no patient has: among all.
    """
    counts = {label: sum(label in found for found in classes_of_patients) for label in set(labels.tolist())}
    return np.array([1 / (counts[label] or len(classes_of_patients)) for label in labels.tolist()])


def above_chance(right: np.ndarray, guess: np.ndarray, patients: np.ndarray, *, level: float) -> SeedTest:
    """Is the share of right names, mean over patients, above that of guesses? The test of their difference.

    right: 0 or 1, (S, N), of S trainings; guess: chance of each image (N,); patients (N,). Where every image is named
    rightly there is no spread to estimate an error from; p is then that of guessing one image of each patient.
    """
    bounds, lead = (-1.0, 1.0), right - guess
    test = readers_test(
        mean_of_patients(lead, np.zeros(len(guess)), patients, 0, bounds=bounds), np.eye(len(right)), level=level
    )
    if not right.all():
        return test
    of = np.unique(patients, return_inverse=True)[1]
    by_patient = np.bincount(of, weights=guess) / np.bincount(of)
    return replace(test, p=unanimous_p(by_patient))


Leak = Literal["recognised", "not shown"]
Against = Literal["as well", "better", "less well", "no evidence"]


def leak(above: SeedTest, p: float, alpha: float) -> Leak:
    """Whether patients are recognised at all: by the test of the accuracy minus what is known without an identity, and
    its adjusted p."""
    return "recognised" if p <= alpha and above.difference > 0 else "not shown"


def beside_real(against: SeedTest, p: float, equivalent: bool, alpha: float) -> Against:
    """How well patients are recognised in generated images beside unseen real ones: by the test of the difference
    generated − real, its adjusted p, and whether both are equivalent."""
    if p <= alpha:
        return "better" if against.difference > 0 else "less well"
    return "as well" if equivalent else "no evidence"

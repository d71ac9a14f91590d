"""Who is compared with whom in the copy audit, the same in every space."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthmed.data.imageset import ImageSet
from synthmed.metrics.copies import list_length, swapped

_REAL = 300
"""Real images of each part, of different patients, that show what is usual. More take time and change little."""


@dataclass(frozen=True)
class Design:
    """Queries against a pool: training images first, then held-out ones (P in all).

    patients: int (P,); training: bool (1 + B, P), who counts as trained on, the truth first; real: int, positions in
    the pool of the real queries, training images first; left_out: int (Q,), the patient that is no reference for a
    query: the own one of a real image, of a translated one that of its origin, −1 for none. rows: where the queries of
    each kind stand, in the order fake, train, held_out, planted; `real` is both middle ones. keep: neighbours of each
    query; kinds: title of each kind of planted copies → its queries.
    """

    patients: np.ndarray
    training: np.ndarray
    real: np.ndarray
    left_out: np.ndarray
    rows: Mapping[str, slice]
    keep: int
    kinds: Mapping[str, np.ndarray]


def make_design(
    sets: Mapping[str, ImageSet],
    planted: Sequence[str],
    permutations: int,
    seed: int,
    asked: Mapping[str, np.ndarray] | None = None,
) -> Design:
    """The design for the image sets train, held_out and fake, of which the first two share no patient.

    planted: the kind of each planted copy; asked: which images of each set can be queries, bool (N,), all without it.
    """
    asked = asked or {name: np.ones(len(images), dtype=bool) for name, images in sets.items()}
    names = sets["train"].column("patient") + sets["held_out"].column("patient")
    labels = sets["train"].column("label") + sets["held_out"].column("label")
    patients = np.unique(names, return_inverse=True)[1]
    trained = np.arange(len(patients)) < len(sets["train"])

    rng = np.random.default_rng(seed)
    real = np.concatenate([asked["train"], asked["held_out"]])
    train = _one_of_each(patients, np.flatnonzero(real & trained), rng)
    held_out = _one_of_each(patients, np.flatnonzero(real & ~trained), rng)
    real = np.concatenate([train, held_out])
    fake = _origins(sets, patients)[asked["fake"]]

    edges = np.cumsum([0, len(fake), len(train), len(held_out), len(planted)]).tolist()
    rows = {name: slice(*edges[i : i + 2]) for i, name in enumerate(("fake", "train", "held_out", "planted"))}
    rows["real"] = slice(edges[1], edges[3])
    kinds: dict[str, list[int]] = {}
    for row, kind in enumerate(planted):
        kinds.setdefault(kind, []).append(edges[3] + row)
    return Design(
        patients,
        swapped(trained, patients, labels, permutations, seed),
        real,
        np.concatenate([fake, patients[real], np.full(len(planted), -1)]),
        rows,
        list_length(trained, patients),
        {kind: np.array(members) for kind, members in kinds.items()},
    )


def _one_of_each(patients: np.ndarray, members: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One image of each patient, at random, of so many patients as are needed: sorted positions."""
    shuffled = rng.permutation(members)
    first = np.sort(np.unique(patients[shuffled], return_index=True)[1])
    return np.sort(shuffled[first[:_REAL]])


def _origins(sets: Mapping[str, ImageSet], patients: np.ndarray) -> np.ndarray:
    """Patient that each generated image was translated from, −1 where it is none of the training part."""
    if "origin" not in sets["fake"].rows[0]:
        return np.full(len(sets["fake"]), -1)
    known = dict(zip(sets["train"].column("image"), patients.tolist(), strict=False))
    return np.array([known.get(origin, -1) for origin in sets["fake"].column("origin")])

"""Reading feature files (.npz, see `synthmed features`) for metrics: numpy only, so that a metric never loads torch."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthmed.errors import InputError


@dataclass(frozen=True)
class Features:
    """Features of N images under one extractor, as they are (no augmentation draws).

    names, labels, patients: str (N,); features: float64 (N, D); probabilities: float64 (N, K) or None.
    """

    names: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    features: np.ndarray
    probabilities: np.ndarray | None
    extractor: str

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: np.ndarray) -> "Features":
        """The images at positions `rows`, int (M,), which may repeat."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return Features(
            self.names[rows],
            self.labels[rows],
            self.patients[rows],
            self.features[rows],
            probabilities,
            self.extractor,
        )

    def draw(self, counts: Mapping[str, int], rng: np.random.Generator, *, replace: bool) -> "Features":
        """A random draw of counts[label] images of each label; fewer, without replacement, where there are fewer."""
        rows = []
        for label, count in counts.items():
            members = np.flatnonzero(self.labels == label)
            if len(members):
                rows.append(rng.choice(members, count if replace else min(count, len(members)), replace=replace))
        return self.take(np.sort(np.concatenate(rows)))

    def counts(self) -> dict[str, int]:
        """Images of each label, sorted by label."""
        labels, counts = np.unique(self.labels, return_counts=True)
        return dict(zip(labels.tolist(), counts.tolist(), strict=True))


def read_features(path: Path) -> Features:
    """Read a feature file. Raises InputError when it is missing, cut off, or carries NaN."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            as_is = arrays["draw"] == 0
            names, labels, patients = (arrays[key][as_is] for key in ("names", "labels", "patients"))
            features = arrays["features"][as_is].astype(np.float64)
            probabilities = None
            if "probabilities" in arrays.files:
                probabilities = arrays["probabilities"][as_is].astype(np.float64)
            extractor = str(arrays["extractor"])
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such feature file") from error
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise InputError(f"{path}: not a readable feature file ({error}); compute the features again") from error
    except KeyError as error:
        raise InputError(f"{path}: the feature file lacks an array ({error}); compute the features again") from error
    if not len(names):
        raise InputError(f"{path}: there is no image as it is (draw 0) in it; compute the features again")
    if not np.isfinite(features).all():
        raise InputError(f"{path}: the features contain NaN or infinity; compute them again")
    return Features(names, labels, patients, features, probabilities, extractor)


def check_extractors(files: Mapping[str, Features]) -> None:
    """Raise InputError unless all (path → features) come from one extractor."""
    kinds = {(item.extractor, item.features.shape[1]) for item in files.values()}
    if len(kinds) > 1:
        named = "; ".join(f"{path}: {item.extractor} ({item.features.shape[1]})" for path, item in files.items())
        raise InputError(f"features of different extractors cannot be compared: {named}")

"""Feature files (.npz, see `synthmed features`), read and written: numpy only, so that a metric never loads torch."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path


@dataclass(frozen=True)
class Features:
    """Features of N images under one extractor.

    names, labels, patients: str (N,); draws: int (N,), 0 the image as it is, above: an augmented draw; features:
    float32 (N, D), spatial means of the last feature map; squares: float32 (N, D), means of its square, None where the
    extractor has no map; probabilities: float32 (N, K) or None; extractor: its name for people.
    """

    path: Path
    names: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    draws: np.ndarray
    features: np.ndarray
    squares: np.ndarray | None
    probabilities: np.ndarray | None
    extractor: str

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: np.ndarray) -> "Features":
        """The images at positions `rows`, int (M,), which may repeat."""
        names = ("names", "labels", "patients", "draws", "features", "squares", "probabilities")
        columns = {name: getattr(self, name) for name in names}
        return replace(self, **{name: values if values is None else values[rows] for name, values in columns.items()})

    def as_is(self) -> "Features":
        """The images as they are, without augmented draws. Raises InputError when there is none."""
        return self._only(self.draws == 0)

    def augmented(self) -> "Features":
        """The augmented draws alone. Raises InputError when there is none."""
        return self._only(self.draws > 0)

    def _only(self, keep: np.ndarray) -> "Features":
        if not keep.any():
            raise InputError(f"{self.path}: has no row of the kind that is needed (draw 0: as is, above: augmented)")
        return self.take(np.flatnonzero(keep))

    def in_double(self) -> "Features":
        """For metrics: float64, and without `squares`, which they do not use."""
        probabilities = None if self.probabilities is None else self.probabilities.astype(np.float64)
        return replace(self, features=self.features.astype(np.float64), squares=None, probabilities=probabilities)

    def needed_squares(self) -> np.ndarray:
        """`squares`. Raises InputError when the extractor gives none."""
        if self.squares is None:
            raise InputError(f"{self.path}: lacks 'squares'; classifiers need an extractor with a feature map")
        return self.squares

    def draw(self, counts: Mapping[str, int], rng: np.random.Generator, *, replace: bool) -> "Features":
        """A random draw of counts[label] images of each label; fewer, without replacement, where there are fewer."""
        rows = []
        for label, count in counts.items():
            members = np.flatnonzero(self.labels == label)
            if len(members):
                rows.append(rng.choice(members, count if replace else min(count, len(members)), replace=replace))
        return self.take(np.sort(np.concatenate(rows)))

    def relabelled(self, labels: Mapping[str, str]) -> "Features":
        """The same with other labels: name of the image -> label."""
        return replace(self, labels=np.array([labels[name] for name in self.names.tolist()]))

    def counts(self) -> dict[str, int]:
        """Images of each label that occurs, sorted by label."""
        labels, counts = np.unique(self.labels, return_counts=True)
        return dict(zip(labels.tolist(), counts.tolist(), strict=True))

    def classes(self, classes: Sequence[str]) -> np.ndarray:
        """Labels as positions in `classes`, int64 (N,). Raises InputError on a label that is not in it."""
        unknown = sorted(set(self.labels.tolist()) - set(classes))
        if unknown:
            raise InputError(f"{self.path}: unknown label {unknown[0]!r}; the classes are {list(classes)}")
        return np.array([classes.index(label) for label in self.labels], dtype=np.int64)

    def class_counts(self, classes: Sequence[str]) -> dict[str, int]:
        """Images of each class, in the order of `classes`."""
        return dict(zip(classes, np.bincount(self.classes(classes), minlength=len(classes)).tolist(), strict=True))


def write_features(
    path: str | Path,
    rows: Sequence[Mapping[str, str]],
    arrays: Mapping[str, np.ndarray],
    extractor: str,
    rounds: int = 1,
) -> None:
    """Write a feature file, atomically.

    rows: of the manifest; arrays: features, and squares and probabilities where there are such, (rounds × N, D)
    float32, ordered by draw, then by the manifest; extractor: its name for people; rounds: draws of each image, the
    first as it is.
    """
    columns = {"names": "image", "labels": "label", "patients": "patient"}
    texts = {name: np.tile(np.array([row[column] for row in rows]), rounds) for name, column in columns.items()}
    draws = np.repeat(np.arange(rounds, dtype=np.int64), len(rows))
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **arrays, **texts, draw=draws, extractor=np.array(extractor))


def read_features(path: str | Path) -> Features:
    """Read a feature file. Raises InputError naming it when it is missing, damaged, incomplete, empty or not finite."""
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = Features(
                path=path,
                **{name: archive[name] for name in ("names", "labels", "patients", "features")},
                draws=archive["draw"],
                squares=archive.get("squares"),
                probabilities=archive.get("probabilities"),
                extractor=str(archive["extractor"]),
            )
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such feature file; run the step features for this image set") from error
    except (zipfile.BadZipFile, EOFError, ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable feature file ({error}); compute the features again") from error
    except KeyError as error:
        raise InputError(f"{path}: the feature file lacks an array ({error}); compute the features again") from error
    if not len(found):
        raise InputError(f"{path}: there is no image in it; compute the features again")
    for name in ("features", "squares"):
        values = getattr(found, name)
        if values is not None and not np.isfinite(values).all():
            raise InputError(f"{path}: {name} contains NaN or infinity; the extractor failed, compute them again")
    return found


def check_together(files: Sequence[Features]) -> None:
    """Raise InputError unless all files come from one extractor and have features of one size."""
    first = files[0]
    for file in files[1:]:
        if file.extractor != first.extractor or file.features.shape[1] != first.features.shape[1]:
            raise InputError(
                f"features of different extractors cannot be compared: {file.path} was made by {file.extractor!r} "
                f"({file.features.shape[1]} features) and {first.path} by {first.extractor!r} "
                f"({first.features.shape[1]}); make both with the same one"
            )


def check_apart(files: Sequence[Features]) -> None:
    """Raise InputError when a patient occurs in two of the files: training, validation and test must not share any."""
    for number, first in enumerate(files):
        for second in files[number + 1 :]:
            shared = sorted(set(first.patients.tolist()) & set(second.patients.tolist()))
            if shared:
                raise InputError(
                    f"{first.path} and {second.path} share {len(shared)} patients, the first is {shared[0]!r}; "
                    "split by patient again"
                )

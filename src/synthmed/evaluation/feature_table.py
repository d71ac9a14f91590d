"""Feature files, read and stacked into the one table that classifiers are trained on."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from synthmed.errors import InputError
from synthmed.evaluation.arms import Part


@dataclass(frozen=True)
class FeatureFile:
    """The pooled features of one image set, as the step `features` writes them.

    names, labels, patients: (N,) text; features, squares: (N, D) float32, spatial means of the last feature map and of
    its square; draw: (N,) augmentation draw, 0 as is; extractor: its name for people.
    """

    path: Path
    names: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    features: np.ndarray
    squares: np.ndarray
    draw: np.ndarray
    extractor: str

    def only(self, keep: np.ndarray) -> "FeatureFile":
        """The rows where `keep`, bool (N,), holds. Raises InputError when none does."""
        if not keep.any():
            raise InputError(f"{self.path}: has no row of the kind that is needed (draw 0: as is, above: augmented)")
        columns = ("names", "labels", "patients", "features", "squares", "draw")
        return replace(self, **{name: getattr(self, name)[keep] for name in columns})

    def as_is(self) -> "FeatureFile":
        """The images as they are, without augmented draws."""
        return self.only(self.draw == 0)

    def augmented(self) -> "FeatureFile":
        """The augmented draws alone."""
        return self.only(self.draw > 0)

    def classes(self, classes: Sequence[str]) -> np.ndarray:
        """Labels as positions in `classes`, int64 (N,). Raises InputError on a label that is not in it."""
        unknown = sorted(set(self.labels.tolist()) - set(classes))
        if unknown:
            raise InputError(f"{self.path}: unknown label {unknown[0]!r}; the classes are {list(classes)}")
        return np.array([classes.index(label) for label in self.labels], dtype=np.int64)

    def counts(self, classes: Sequence[str]) -> dict[str, int]:
        """Images of each class."""
        return dict(zip(classes, np.bincount(self.classes(classes), minlength=len(classes)).tolist(), strict=True))


def read_features(path: str | Path) -> FeatureFile:
    """Read a feature file. Raises InputError naming it when it is missing, damaged, incomplete or not finite."""
    path = Path(path)
    needed = ("names", "labels", "patients", "features", "squares", "draw", "extractor")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in needed if name not in archive]
            if missing:
                raise InputError(f"{path}: lacks {missing}; classifiers need an extractor with a feature map")
            arrays = {name: archive[name] for name in needed}
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; run the step features for this image set") from error
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a readable feature file ({error}); make it again") from error
    for name in ("features", "squares"):
        if not np.isfinite(arrays[name]).all():
            raise InputError(f"{path}: {name} contains NaN or infinity; the extractor failed, make the file again")
    return FeatureFile(path=path, **{**arrays, "extractor": str(arrays["extractor"])})


def check_together(files: Sequence[FeatureFile]) -> None:
    """Raise InputError unless all files come from one extractor and have features of one size."""
    first = files[0]
    for file in files[1:]:
        if file.extractor != first.extractor or file.features.shape[1] != first.features.shape[1]:
            raise InputError(
                f"{file.path} was made by {file.extractor!r} ({file.features.shape[1]} features) and {first.path} by "
                f"{first.extractor!r} ({first.features.shape[1]}); make both with the same extractor"
            )


def check_apart(files: Sequence[FeatureFile]) -> None:
    """Raise InputError when a patient occurs in two of the files: training, validation and test must not share any."""
    for number, first in enumerate(files):
        for second in files[number + 1 :]:
            shared = sorted(set(first.patients.tolist()) & set(second.patients.tolist()))
            if shared:
                raise InputError(
                    f"{first.path} and {second.path} share {len(shared)} patients, the first is {shared[0]!r}; "
                    "split by patient again"
                )


def stack(files: Mapping[str, FeatureFile], classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray, dict[str, Part]]:
    """features and squares, (T, D) each, of all files below each other, and where each file's images stand in them."""
    parts, start = {}, 0
    for name, file in files.items():
        parts[name] = Part(np.arange(start, start + len(file.names)), file.classes(classes))
        start += len(file.names)
    features = np.concatenate([file.features for file in files.values()])
    return features, np.concatenate([file.squares for file in files.values()]), parts

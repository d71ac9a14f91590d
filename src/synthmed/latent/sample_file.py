"""The file of latent samples: codes and what the classifier says of their images. Needs no torch."""

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path


@dataclass(frozen=True)
class LatentSamples:
    """codes: float32 (N, D). likelihoods: float64 (N, T), 0 to 1, mean over the classifier's seeds. per_seed: float32
    (S, N, T). targets: names of the T outputs. space: see latent.space. checkpoint, classifier: sha256 of the files
    that made the images and judged them."""

    codes: np.ndarray
    likelihoods: np.ndarray
    per_seed: np.ndarray
    targets: tuple[str, ...]
    generator: str
    model: str
    space: str
    seed: int
    checkpoint: str
    classifier: str


def write_samples(path: Path, samples: LatentSamples) -> None:
    """Write `samples` atomically as .npz. Equal samples give equal bytes."""
    write_arrays(path, vars(samples) | {"targets": np.array(samples.targets)})


def read_samples(path: Path) -> LatentSamples:
    """Read what write_samples wrote. Raises InputError when it is missing, broken or something else."""
    found = read_arrays(path, LatentSamples.__dataclass_fields__, "make it with `synthmed latent-samples`")
    plain = {name: found[name].item() for name in ("generator", "model", "space", "seed", "checkpoint", "classifier")}
    return LatentSamples(**(found | plain | {"targets": tuple(found["targets"].tolist())}))


def write_arrays(path: Path, arrays: dict) -> None:
    """Write named arrays (or text, numbers) atomically as .npz."""
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **arrays)


def read_arrays(path: Path, names: Iterable[str], remedy: str) -> dict[str, np.ndarray]:
    """The arrays `names` of an .npz file. Raises InputError, ending in `remedy`, when it does not hold exactly them."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; {remedy}") from error
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(f"{path}: not readable, cut off or of another kind ({error}); {remedy}") from error
    if set(found) != set(names):
        raise InputError(f"{path}: holds {sorted(found)}, not {sorted(names)}; {remedy}")
    return found

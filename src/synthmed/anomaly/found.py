"""What a search in the latent space of a generator found for each image: one `.npz` file, for evaluation and report.

Equal contents give equal bytes (numpy writes zip entries with a fixed time), so there are no times in it.
"""

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path
from synthmed.data.imageset import ImageSet


@dataclass(frozen=True)
class Found:
    """The nearest image that the generator can make, for N images of (H, W, C).

    images (N,) names in the image set; reconstruction uint8 (N, H, W, C); residual float16 (N, H, W, C), image minus
    reconstruction before rounding, both in 0 … 1: positive where the image is brighter; z float32 (N, L); loss float32
    (N,), what was minimised; error float32 (N,), mean squared residual in the same units; iterations int32 (N,) of the
    start that won, passes int32 (N,) through the generator of all starts together; started (N,): "encoder" or "random".
    """

    images: np.ndarray
    reconstruction: np.ndarray
    residual: np.ndarray
    z: np.ndarray
    loss: np.ndarray
    error: np.ndarray
    iterations: np.ndarray
    passes: np.ndarray
    started: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def write_found(path: Path, found: Found) -> None:
    """Write `found` atomically."""
    # Through a handle, because savez appends .npz to names of its own liking.
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **{field.name: getattr(found, field.name) for field in fields(Found)})


def join(parts: list[Found]) -> Found:
    """Several results as one, in their order."""
    return Found(
        **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Found)}
    )


def read_found(path: Path) -> Found:
    """Read what write_found wrote. Raises InputError when the file is missing, cut off or something else."""
    try:
        with np.load(path, allow_pickle=False) as content:
            found = Found(**{field.name: content[field.name] for field in fields(Found)})
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; make it with `synthmed anomaly-search`") from error
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: no result of `synthmed anomaly-search` ({error}); make it again") from error
    lengths = {field.name: len(getattr(found, field.name)) for field in fields(Found)}
    if len(set(lengths.values())) != 1 or len(found) == 0:
        raise InputError(f"{path}: arrays of different or no length ({lengths}); run the search again")
    for name in ("residual", "z", "loss", "error"):
        if not np.isfinite(getattr(found, name)).all():
            raise InputError(f"{path}: {name} is not finite; run the search again with a lower learning_rate")
    return found


def places(path: Path, found: Found, images: ImageSet) -> np.ndarray:
    """Position in `images` of every image of `found`, int64 (N,).

    Raises InputError when a name is not in the set, or when image minus reconstruction is not the stored residual: the
    search was then made from other images.
    """
    order = {row["image"]: position for position, row in enumerate(images.rows)}
    unknown = [name for name in found.images.tolist() if name not in order]
    if unknown:
        raise InputError(f"{path}: searched for {unknown[0]!r}, which is not in {images.path}; give the set it is from")
    positions = np.array([order[name] for name in found.images.tolist()], dtype=np.int64)
    for number, (_, pixels, *_mask) in enumerate(images.entries(positions)):
        if pixels.shape != found.residual.shape[1:]:
            raise InputError(
                f"{path}: made from images of {found.residual.shape[1:]}, {images.path} has {pixels.shape}"
            )
        difference = (pixels.astype(np.float32) - found.reconstruction[number]) / 255
        # Rounding of the reconstruction (half a grey value) and of float16; reconstructions are cut to 0 … 1.
        if np.abs(difference - found.residual[number]).max() > 0.01:
            raise InputError(
                f"{path}: the residual of {found.images[number]!r} is not that of the image in {images.path}; run the "
                "search again on these images"
            )
    return positions

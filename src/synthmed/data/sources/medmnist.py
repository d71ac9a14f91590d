"""A MedMNIST file (Yang et al. 2023): small images as arrays in one `.npz`, with an official split.

Keys: {train,val,test}_{images,labels}; images uint8 (N, H, W) or (N, H, W, 3), labels (N, 1) whole numbers or texts.
There are no patient numbers, so every image counts as its own patient, and byte-identical images in two parts are
reported.
"""

import hashlib
import logging
import shutil
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path, nfc, user_path
from synthmed.core.settings import parse
from synthmed.data.imageset import UNREADABLE
from synthmed.data.sources.raw_image import RawImage

logger = logging.getLogger(__name__)

LICENCE = "CC BY 4.0 (PneumoniaMNIST and most others; see medmnist.com for each)"
SHARING = "ask"
CITATION = "Yang J et al., MedMNIST v2, Scientific Data 2023"
PROVIDERS = {"file": ()}
OPTIONS = {"file": "synthmed.data.sources.medmnist:FileOptions"}

PARTS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class FileOptions:
    """A file of MedMNIST."""

    path: Annotated[str, Meta(description="The `.npz` file.")]


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """One array file."""
    return ["medmnist.npz"]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Check the file and copy it to its place."""
    path = user_path(parse(FileOptions, options, "options").path)
    arrays = _arrays(path)
    for part in PARTS:
        _labels(path, f"{part}_labels", arrays[f"{part}_labels"])
    with atomic_path(raw[0]) as temporary:
        shutil.copyfile(path, temporary)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        # Anything that must be unpickled is refused: a pickle from outside can run any code.
        with np.load(path, allow_pickle=False) as archive:
            missing = [f"{part}_{what}" for part in PARTS for what in ("images", "labels")]
            missing = [key for key in missing if key not in archive.files]
            if missing:
                raise InputError(
                    f"{path}: no array {missing[0]!r}; a MedMNIST file has {{train,val,test}}_{{images,labels}}"
                )
            arrays = {key: archive[key] for part in PARTS for key in (f"{part}_images", f"{part}_labels")}
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; get it from https://medmnist.com and set options.path") from error
    except InputError:
        raise
    # A .npy file, a pickle, a damaged zip and a damaged header of an array each fail in a way of their own.
    except (ValueError, TypeError, OSError, SyntaxError, tokenize.TokenError, *UNREADABLE) as error:
        if "Object arrays" in str(error):
            raise InputError(
                f"{path}: it holds Python objects, which are not read because they can run any code; save arrays of "
                "numbers, and labels as whole numbers or texts (labels.astype(str))"
            ) from error
        raise InputError(f"{path}: not a readable .npz file ({error}); get it again") from error
    for part in PARTS:
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)):
            raise InputError(
                f"{path}: {part}_images is {images.dtype} {images.shape}, not uint8 (N, H, W) or (N, H, W, 3)"
            )
        if labels.size != len(images):
            raise InputError(
                f"{path}: {part}_labels is {labels.shape}; one label for each of {len(images)} images is needed"
            )
    return arrays


def _labels(path: Path, name: str, labels: np.ndarray) -> list[str]:
    """Labels as text: whole numbers in digits, texts as they are. Raises InputError on anything else, NaN for one."""
    if labels.dtype.kind == "U":
        texts = [nfc(label.strip()) for label in labels.reshape(-1).tolist()]
        bad = [place for place, text in enumerate(texts) if not text]
    elif labels.dtype.kind in "iub":
        return [str(int(label)) for label in labels.reshape(-1)]
    elif labels.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(labels.reshape(-1)) | (labels.reshape(-1) % 1 != 0)).tolist()
        texts = [] if bad else [str(int(label)) for label in labels.reshape(-1)]
    else:
        raise InputError(f"{path}: {name} is {labels.dtype}; labels are whole numbers or texts")
    if bad:
        found = labels.reshape(-1)[bad[0]]
        raise InputError(
            f"{path}: {name} has {len(bad)} labels that are none, the first is {str(found)!r} at [{bad[0]}]; labels "
            "are whole numbers or texts: give these images one, or take them out"
        )
    return texts


@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """All images with their official part. Labels: texts, or the numbers as text. Extra column `same_as`: the name of
    an image in another part with exactly the same pixels, or "".
    """
    arrays = _arrays(raw[0])
    first: dict[bytes, dict[str, str]] = {}  # hash of the pixels -> part -> name of the first such image
    found: list[RawImage] = []
    for part, split in PARTS.items():
        images, labels = arrays[f"{part}_images"], _labels(raw[0], f"{part}_labels", arrays[f"{part}_labels"])
        for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            name = f"{split}_{number:05d}"
            seen = first.setdefault(hashlib.sha256(pixels.tobytes()).digest(), {})
            elsewhere = [other for other_split, other in seen.items() if other_split != split]
            seen.setdefault(split, name)
            found.append(
                RawImage(
                    file=f"{raw[0].name}:{part}_images[{number}]",
                    name=name,
                    label=label,
                    patient=name,
                    split=split,
                    source="medmnist",
                    load=partial(np.asarray, pixels),
                    masks=(),
                    extra={"same_as": elsewhere[0] if elsewhere else ""},
                    patient_known=False,
                )
            )
    twice = [image for image in found if image.extra["same_as"]]
    if twice:
        logger.warning(
            "%s: %d images are byte-identical to one of another part, e.g. %s and %s (column same_as)",
            raw[0].name,
            len(twice),
            twice[0].name,
            twice[0].extra["same_as"],
        )
    yield found

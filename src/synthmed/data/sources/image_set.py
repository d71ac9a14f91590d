"""An image set that synthmed made (here or elsewhere): one `.zip` with a manifest, taken in as raw images."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path, user_path
from synthmed.core.settings import parse
from synthmed.data.imageset import ImageSet
from synthmed.data.patients import settled, tell_missing
from synthmed.data.sources.packed_folder import image_names
from synthmed.data.sources.raw_image import RawImage

LICENCE = "that of the images it holds"
SHARING = "ask"
CITATION = "none"
PROVIDERS = {"file": ()}
OPTIONS = {"file": "synthmed.data.sources.image_set:FileOptions"}


@dataclass(frozen=True)
class FileOptions:
    """The file of an image set."""

    path: Annotated[str, Meta(description="The `.zip` file.")]


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """One image set."""
    return ["images.zip"]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Check the file and copy it to its place. Raises InputError when it is no image set."""
    path = user_path(parse(FileOptions, options, "options").path)
    if not all(ImageSet(path).column("image")):
        raise InputError(f"{path}: the manifest has a row without an image; see `synthmed images check`")
    with atomic_path(raw[0]) as temporary:
        shutil.copyfile(path, temporary)


@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """The images of the set, with their labels, patients, parts and masks; it is open inside the `with` block.

    Patients as `settled` has them; an image without one counts as a patient of its own.
    """
    images = ImageSet(raw[0])
    fixed = ("image", "label", "mask", "patient", "patient_known", "split", "source")
    patients = ["" if row.get("patient_known") == "no" else row["patient"] for row in images.rows]
    patients = settled(patients, str(raw[0]))
    if any(patients):
        tell_missing(patients, str(raw[0]))
    files = images.column("image")
    names = image_names(files, [str(PurePosixPath(file).with_suffix("")) for file in files])
    with images.opened() as (pixels_of, mask_of):
        yield [
            RawImage(
                file=f"{raw[0].name}/{row['image']}",
                name=name,
                label=row["label"],
                patient=patient or row["image"],
                split=row["split"] if row["split"] in ("train", "validation", "test") else "",
                source=row["source"],
                load=partial(pixels_of, place),
                masks=(partial(mask_of, place),) if row["mask"] else (),
                extra={column: value for column, value in row.items() if column not in fixed},
                patient_known=bool(patient),
            )
            for place, (row, name, patient) in enumerate(zip(images.rows, names, patients, strict=True))
        ]

"""Ready-made chest CT slices with lung, heart and trachea as the channels of a picture (Kaggle, polomarco).

Kaggle data set polomarco/chest-ct-segmentation: images, masks whose red, green and blue are lung, heart and trachea,
and train.csv (ImageId, MaskId). Slices of a patient share the beginning of their names: <patient>_<n>.jpg.

Raw files: the archive as it is published, and the organs that are read.
"""

import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import link_or_copy, read_json, user_path, write_json
from synthmed.core.settings import parse
from synthmed.data import kaggle
from synthmed.data.archives import Archive, DamagedMember
from synthmed.data.published import placed_archive
from synthmed.data.sources.raw_image import RawImage
from synthmed.data.sources.raw_volume import LABEL
from synthmed.data.sources.user_table import rows_of

logger = logging.getLogger(__name__)

LICENCE = "as its page at Kaggle says; made from OSIC's series (the competition's rules) and Konya's masks"
SHARING = "forbidden"
CITATION = (
    "Konya S, CT Lung & Heart & Trachea segmentation, Kaggle 2020; slices by polomarco, Chest CT segmentation, Kaggle"
)
PROVIDERS = {"kaggle": (), "file": ()}
OPTIONS = {
    "kaggle": "synthmed.data.sources.ct_slices:KaggleOptions",
    "file": "synthmed.data.sources.ct_slices:FileOptions",
}

DATASET = "polomarco/chest-ct-segmentation"
ARCHIVE, READING, TABLE = "chest-ct-segmentation.zip", "reading.json", "train.csv"
CHANNELS = ("lung", "heart", "trachea")
"""Of a mask: red, green, blue; the values of the label map are 1, 2, 3."""


@dataclass(frozen=True)
class Reading:
    """What is read of the masks."""

    organs: Annotated[
        tuple[Literal[CHANNELS], ...],
        Meta(
            min_length=1,
            description="Organs of the label map: lung 1, heart 2, trachea 3; where two overlap the higher one.",
            extra_json_schema={"uniqueItems": True},
        ),
    ]


@dataclass(frozen=True)
class KaggleOptions:
    """A download by Kaggle's client."""

    folder: Annotated[
        str, Meta(description="Where the download (1.8 GB) is kept and continued after a break; it must exist.")
    ]
    reading: Reading


@dataclass(frozen=True)
class FileOptions:
    """The archive, placed by hand."""

    path: Annotated[str, Meta(description="The archive that you placed.")]
    reading: Reading


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """The published archive, and what is read of it."""
    return [ARCHIVE, READING]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Get the archive from Kaggle or from where you placed it, and check that its table and files fit."""
    if provider == "kaggle":
        settings = parse(KaggleOptions, options, "options")
        placed = kaggle.download_dataset(DATASET, user_path(settings.folder))
    else:
        settings = parse(FileOptions, options, "options")
        page = f"https://www.kaggle.com/datasets/{DATASET}"
        placed = placed_archive(settings.path, "path", f"{ARCHIVE} from {page}")
    with Archive(placed) as archive:
        pairs = _pairs(archive)
    logger.info("%s: %d slices of %d patients", placed.name, len(pairs), len({_patient(image) for image, _ in pairs}))
    link_or_copy(placed, raw[0])
    write_json(raw[1], asdict(settings.reading))


def _pairs(archive: Archive) -> list[tuple[str, str]]:
    """Members of image and mask of every row of the table. Raises InputError on what does not fit."""
    tables = [name for name in archive.names if PurePosixPath(name).name == TABLE]
    if len(tables) != 1:
        raise InputError(f"{archive.path}: {len(tables)} files {TABLE} inside; this is not {ARCHIVE}")
    where = f"{archive.path}:{tables[0]}"
    try:
        text = archive.read(tables[0]).decode("utf-8-sig")
    except (DamagedMember, UnicodeDecodeError) as error:
        raise InputError(f"{where}: {error}; get the archive again") from error
    members: dict[str, str] = {}
    for name in archive.names:
        if (other := members.setdefault(PurePosixPath(name).name, name)) != name:
            raise InputError(f"{archive.path}: {other!r} and {name!r} have one name; remove one")
    pairs = []
    for line, row in rows_of(text, where, ["ImageId", "MaskId"]):
        absent = [row[column] for column in ("ImageId", "MaskId") if row[column] not in members]
        if absent:
            raise InputError(f"{where}, line {line}: {absent[0]!r} is not in the archive")
        pairs.append((members[row["ImageId"]], members[row["MaskId"]]))
    if len(dict(pairs)) < len(pairs):
        raise InputError(f"{where}: an image stands in several lines; one line a slice")
    return sorted(pairs)


def _patient(image: str) -> str:
    patient, _, number = PurePosixPath(image).stem.rpartition("_")
    if not patient or not number.isdecimal():
        raise InputError(f"{image!r}: names are <patient>_<n>, so that slices of one patient stay together")
    return patient


def _label_map(archive: Archive, name: str, organs: Sequence[str]) -> np.ndarray:
    """uint8 (H, W): of the organs that are read the highest whose channel has at least half of the range."""
    try:
        with Image.open(io.BytesIO(archive.read(name))) as image:
            if image.mode != "RGB":
                found, wanted = len(image.getbands()), ", ".join(CHANNELS)
                raise DamagedMember(f"a channel is missing: it has {found}, where {wanted} are expected as RGB")
            channels = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DamagedMember(f"truncated or damaged: {error}") from error
    values = [np.where(channels[:, :, CHANNELS.index(organ)] > 127, CHANNELS.index(organ) + 1, 0) for organ in organs]
    return np.max(values, axis=0).astype(np.uint8)


@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """All slices of the table by name; the archive is open inside the `with` block."""
    reading = parse(Reading, read_json(raw[1]), str(raw[1]))
    with Archive(raw[0]) as archive:
        yield [
            RawImage(
                file=f"{archive.path.name}:{image}",
                name=PurePosixPath(image).stem,
                label=LABEL,
                patient=_patient(image),
                split="",
                source="polomarco",
                load=partial(archive.read, image),
                masks=(partial(_label_map, archive, mask, reading.organs),),
                extra={},
            )
            for image, mask in _pairs(archive)
        ]

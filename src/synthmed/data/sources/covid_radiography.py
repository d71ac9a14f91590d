"""COVID-19 Radiography Database: normal, viral pneumonia, COVID-19 and other lung opacities, with lung masks.

Chowdhury et al. 2020, IEEE Access 8:132665. PNGs in `<Class>/images` and `<Class>/masks`, whose sizes differ, and
beside each class a workbook that names the origin of each film. All viral pneumonia films are of children of one
hospital, and so are 1,341 of the 10,192 normal ones; the others are of another set, mostly adults: the origin (column
`source`) may be what tells the classes apart. There are no patient numbers.

Raw files: the archive, and an index of it, which leaves out what occurs twice with exactly the same pixels.
"""

import hashlib
import io
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit

import numpy as np
from msgspec import Meta
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import link_or_copy, read_csv, stored_zip, user_path, write_csv
from synthmed.core.settings import parse
from synthmed.data import kaggle
from synthmed.data.archives import Archive, DamagedMember
from synthmed.data.published import PlacedArchive, placed_archive
from synthmed.data.sources.raw_image import RawImage
from synthmed.data.sources.user_folder import UserFolder
from synthmed.data.xlsx import read_rows

logger = logging.getLogger(__name__)

LICENCE = "see the data set's page at Kaggle; cite both articles"
SHARING = "ask"
CITATION = (
    "Chowdhury MEH et al., Can AI help in screening viral and COVID-19 pneumonia?, IEEE Access 8:132665, 2020; Rahman "
    "T et al., Exploring the effect of image enhancement techniques on COVID-19 detection, 2021"
)
PROVIDERS = {
    "phantom": ("synthmed.data.phantoms.radiography_archive",),
    "kaggle": (),
    "file": (),
    "folder": (),
}
OPTIONS = {
    "phantom": "synthmed.data.phantoms.viral_pneumonia:ViralPhantomSettings",
    "kaggle": "synthmed.data.sources.covid_radiography:KaggleOptions",
    "file": "synthmed.data.published:PlacedArchive",
    "folder": "synthmed.data.sources.covid_radiography:PlacedFolder",
}

NAME = "covid19-radiography-database"
ROOT = "COVID-19_Radiography_Dataset"
PAGE = "https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database"
COUNTS = {"normal": 10_192, "viral_pneumonia": 1_345, "covid": 3_616, "lung_opacity": 6_012}
"""Images of each class, as published."""
COLUMNS = ("file", "mask", "name", "label", "source", "height", "width", "same_as")
"""Of the index. same_as: another film with exactly the same pixels, or CONFLICT where their classes differ."""
CONFLICT = "a film of another class"


@dataclass(frozen=True)
class KaggleOptions:
    """A download by Kaggle's client."""

    folder: Annotated[
        str, Meta(description="Where the download (about 0.8 GB) is kept and continued after a break; it must exist.")
    ]


@dataclass(frozen=True)
class PlacedFolder:
    """The archive unpacked."""

    path: Annotated[str, Meta(description="Your folder that holds `<Class>/images` and `<Class>/masks`.")]


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """The archive, and the index of its films."""
    return [f"{NAME}.zip", "index.csv"]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Make the archive: phantoms, a download, or what you placed; and look through it for films that occur twice."""
    if provider == "phantom":
        from synthmed.data.phantoms.radiography_archive import write_archive
        from synthmed.data.phantoms.viral_pneumonia import ViralPhantomSettings

        write_archive(parse(ViralPhantomSettings, options, "options"), raw[0])
    elif provider == "file":
        path = parse(PlacedArchive, options, "options").path
        link_or_copy(placed_archive(path, "path", f"{NAME}.zip from {PAGE}"), raw[0])
    elif provider == "kaggle":
        folder = user_path(parse(KaggleOptions, options, "options").folder)
        link_or_copy(kaggle.download_dataset(f"tawsifurrahman/{NAME}", folder), raw[0])
    else:
        _pack(UserFolder(parse(PlacedFolder, options, "options").path), raw[0])
    with Archive(raw[0]) as archive:
        rows = _index(archive)
    counts = Counter(row["label"] for row in rows)
    if provider != "phantom" and dict(counts) != COUNTS:
        logger.warning("%s: holds %s, the published set %s", raw[0], dict(counts), COUNTS)
    logger.warning(
        "%s: there are NO patient numbers: every film counts as a patient of its own, so films of one person may come "
        "into different parts of the split",
        raw[0],
    )
    write_csv(raw[1], rows, COLUMNS)


def _pack(folder: UserFolder, path: Path) -> None:
    """The folder's films, masks and workbooks as one archive; equal folders give equal bytes."""
    with stored_zip(path) as add:
        for name in folder.files:
            if _place(name) or name.lower().endswith(".metadata.xlsx"):
                add(name, folder.read(name))


# ------------------------------------------------------------------------------------------------------------ index
def _place(name: str) -> tuple[str, str, str] | None:
    """Label, kind (images or masks) and name of a film by its path `…/<Class>/<kind>/<name>.png`; None for others."""
    path = PurePosixPath(name)
    if len(path.parts) < 3 or path.suffix.lower() != ".png" or path.name.startswith("."):
        return None
    label, kind = _plain(path.parts[-3]), path.parts[-2].lower()
    return (label, kind, _plain(path.stem)) if kind in ("images", "masks") else None


def _plain(text: str) -> str:
    """In lower case and without spaces: `Viral Pneumonia-12` is `viral_pneumonia-12`."""
    return re.sub(r"[^a-z0-9_.\-]+", "_", text.strip().lower())


def _number(name: str) -> tuple[str, int]:
    """So that Normal-2 comes before Normal-10."""
    digits = re.search(r"(\d+)$", name)
    return (name[: digits.start()], int(digits.group())) if digits else (name, 0)


def _index(archive: Archive) -> list[dict[str, object]]:
    """A row a film, by class and number (see COLUMNS). Raises InputError without films, and on a name that is twice."""
    images, masks = {}, {}
    for member in archive.names:
        if place := _place(member):
            label, kind, name = place
            if (images if kind == "images" else masks).setdefault((label, name), member) != member:
                raise InputError(f"{archive.path}: two files are the {kind[:-1]} {name!r} of {label!r}; remove one")
    if not images:
        raise InputError(
            f"{archive.path}: no <Class>/images/*.png inside, as in {ROOT}/Viral Pneumonia/images; this is not the "
            f"COVID-19 Radiography Database ({PAGE})"
        )
    origins = _origins(archive)
    rows, groups = [], defaultdict(list)
    for key in sorted(images, key=lambda key: (key[0], _number(key[1]))):
        size, digest = _pixels(archive, images[key])
        rows.append(
            {
                "file": images[key],
                "mask": masks.get(key, ""),
                "name": key[1],
                "label": key[0],
                "source": origins.get(key[1], "unknown"),
                "height": size[1],
                "width": size[0],
                "same_as": "",
            }
        )
        if digest:
            groups[digest].append(rows[-1])
    for group in groups.values():
        if len({row["label"] for row in group}) > 1:
            for row in group:
                row["same_as"] = CONFLICT
        for row in group[1:]:
            row["same_as"] = row["same_as"] or group[0]["name"]
    twice = Counter(row["same_as"] == CONFLICT for row in rows if row["same_as"])
    logger.info(
        "%s: %d films (%s); left out: %d with the pixels of another one, %d whose pixels occur in two classes; %d "
        "without a mask, %d of unknown origin",
        *(archive.path, len(rows), dict(Counter(row["label"] for row in rows)), twice[False], twice[True]),
        sum(not row["mask"] for row in rows),
        sum(row["source"] == "unknown" for row in rows),
    )
    return rows


def _pixels(archive: Archive, member: str) -> tuple[tuple[int, int], str]:
    """Width and height of a film, and the hash of its grey pixels; "" for one that preparation will reject."""
    try:
        with Image.open(io.BytesIO(archive.read(member))) as image:
            grey = image.convert("L")
            return grey.size, hashlib.sha256(repr(grey.size).encode() + grey.tobytes()).hexdigest()
    except (DamagedMember, OSError, SyntaxError, ValueError) as error:
        logger.warning("%s:%s cannot be read: %s", archive.path, member, error)
        return (0, 0), ""


def _origins(archive: Archive) -> dict[str, str]:
    """Film → where it comes from: the part of the address in the workbook of its class that says most."""
    found = {}
    for member in archive.names:
        if member.lower().endswith(".metadata.xlsx"):
            try:
                rows = read_rows(archive.read(member), f"{archive.path}:{member}")
            except DamagedMember as error:
                raise InputError(f"{archive.path}:{member}: {error}; get the archive again") from error
            if rows and not {"file name", "url"} <= set(rows[0]):
                raise InputError(f"{archive.path}:{member}: has no columns FILE NAME and URL but {list(rows[0])}")
            found |= {_plain(row["file name"]): origin(row["url"]) for row in rows}
    return found


def origin(address: str) -> str:
    """`https://www.kaggle.com/c/rsna-pneumonia-detection-challenge/data` is rsna-pneumonia-detection-challenge."""
    parts = urlsplit(address)
    return max([part for part in parts.path.split("/") if part] or [parts.netloc], key=len) or "unknown"


# ---------------------------------------------------------------------------------------------------------- reading
@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """All films whose pixels occur once, or the first of those that occur twice; the archive is open inside the `with`
    block. Labels: normal, viral_pneumonia, covid, lung_opacity. Every film is its own patient."""
    with Archive(raw[0]) as archive:
        yield [
            RawImage(
                file=f"{archive.path.name}:{row['file']}",
                name=row["name"],
                label=row["label"],
                patient=row["name"],
                split="",
                source=row["source"],
                load=partial(archive.read, row["file"]),
                masks=(partial(_mask, archive, row),) if row["mask"] else (),
                extra={},
                patient_known=False,
            )
            for row in read_csv(raw[1])
            if not row["same_as"]
        ]


def _mask(archive: Archive, row: Mapping[str, str]) -> np.ndarray:
    """The lungs of a film, uint8 (H, W), 0 or 1, in the size of its image."""
    try:
        with Image.open(io.BytesIO(archive.read(row["mask"]))) as image:
            size = int(row["width"]), int(row["height"])
            return (np.asarray(image.convert("L").resize(size, Image.Resampling.NEAREST)) > 127).astype(np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        raise DamagedMember(f"the mask {row['mask']} cannot be read: {error}") from error

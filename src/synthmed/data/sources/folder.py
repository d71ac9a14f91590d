"""A folder of your own: images in one sub-folder a class, or images listed in a CSV.

`fetch` packs what it finds into one `folder.zip` (stored, sorted, so equal folders give equal bytes) with an
`index.csv` (file, label, patient, mask, split, source and further columns), so that one file is one node of the DAG.
"""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import nfc, printable
from synthmed.core.settings import parse
from synthmed.data.patients import settled, tell_crowds, tell_missing, tell_unknown
from synthmed.data.sources.packed_folder import COLUMNS, pack
from synthmed.data.sources.packed_folder import read as read
from synthmed.data.sources.user_folder import UserFolder, as_named
from synthmed.data.sources.user_table import filled, part, placeholders, read_table

logger = logging.getLogger(__name__)

LICENCE = "your own data: their terms are yours to know"
SHARING = "ask"
CITATION = "none"
PROVIDERS = {"folder": ("synthmed.data.sources.folder",)}
OPTIONS = {"folder": "synthmed.data.sources.folder:FolderSettings"}

ENDINGS = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".pjpeg", ".tif", ".tiff", ".bmp", ".webp")
"""Endings of image files; .jfif and the two after it are what Windows and old browsers call a JPEG."""
_JUNK = ("thumbs.db", "desktop.ini", "icon\r")
"""Files that file managers leave in folders, in lower case."""


@dataclass(frozen=True)
class CsvSettings:
    """How a CSV lists the images."""

    name: Annotated[str, Meta(description="The CSV file, relative to `path`.")]
    file: Annotated[
        str, Meta(description="Column with the image file, or a pattern of columns such as {label}/{file}.")
    ]
    label: Annotated[str, Meta(description="Column with the label.")]
    patient: Annotated[str | None, Meta(description="Column with the patient.")]
    mask: Annotated[str | None, Meta(description="Column or pattern of the mask file; null: no masks.")]
    split: Annotated[str | None, Meta(description="Column with train, validation or test; null: none.")]
    keep: Annotated[tuple[str, ...], Meta(description="Further columns for the manifest.")]


@dataclass(frozen=True)
class FolderSettings:
    """A folder of pictures: class sub-folders, or a table that lists them."""

    path: Annotated[str, Meta(description="Your folder, absolute or relative to where snakemake is started.")]
    name: Annotated[str, Meta(description="What the column `source` of the manifests says.")]
    csv: Annotated[
        CsvSettings | None,
        Meta(
            description="Null: the sub-folders of `path` are the classes. Else which columns of which CSV file "
            "say what."
        ),
    ]
    patient_pattern: Annotated[
        str | None,
        Meta(
            description="With class sub-folders: a regular expression whose first group, searched in the file "
            "name and then in the path below the class folder, is the patient; null when every image is its own "
            "patient. With a CSV: null."
        ),
    ]


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """One archive, packed from the folder."""
    return ["folder.zip"]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Pack the folder. Raises InputError on a missing folder, CSV, column or file, a file twice, one class only (which
    is enough where every image has a mask)."""
    settings = parse(FolderSettings, options, "options")
    folder, rows = listed(settings)
    labels = Counter(row["label"] for row in rows)
    without = [row["file"] for row in rows if not row["mask"]]
    if len(labels) < 2 and 0 < len(without) < len(rows):
        raise InputError(
            f"{folder.path}: {len(without)} of {len(rows)} images have no mask, the first is {without[0]!r}; where "
            f"there is one class only ({', '.join(labels)}) each needs one: give it, or take its line out of the table"
        )
    if len(labels) < 2 and not (rows and not without):
        raise InputError(f"{folder.path}: only one class ({', '.join(labels) or 'no image'}); at least two are needed")
    _settle_patients(rows, folder, settings)
    for row in rows:
        row["source"] = settings.name
    pack(folder, rows, raw[0])
    logger.info(
        "%s: packed %d images of %d patients (%s), %d with a mask",
        folder.path,
        len(rows),
        len({row["patient"] or row["file"] for row in rows}),
        ", ".join(f"{label} {count}" for label, count in sorted(labels.items())),
        sum(bool(row["mask"]) for row in rows),
    )


def listed(settings: FolderSettings) -> tuple[UserFolder, list[dict[str, str]]]:
    """The folder and its images, one row each: file (below the folder), label, patient ("" where nobody says), mask,
    split. Raises InputError as fetch does."""
    folder = UserFolder(settings.path)
    if settings.csv is None:
        return folder, _rows_of_class_folders(folder, settings)
    if settings.patient_pattern is not None:
        raise InputError("setting options.patient_pattern is for class sub-folders; with a CSV use options.csv.patient")
    return folder, _rows_of_csv(folder, settings.csv)


def _settle_patients(rows: Sequence[dict[str, str]], folder: UserFolder, settings: FolderSettings) -> None:
    """One spelling for each patient, "" where there is none; what that may hide is said."""
    where = printable(folder.path)
    patients = settled([row["patient"] for row in rows], where)
    for row, patient in zip(rows, patients, strict=True):
        row["patient"] = patient
    if (settings.patient_pattern if settings.csv is None else settings.csv.patient) is not None:
        tell_missing(patients, where)
        tell_crowds(patients, [row["label"] for row in rows], where)
    elif settings.csv is None:
        below = [row["file"].partition("/")[2] for row in rows]
        tell_unknown(below, where, 'name them by options.patient_pattern ("([^/]+)/": each sub-folder is one)')
    else:
        tell_unknown([row["file"] for row in rows], where, "name them by options.csv.patient")


# ------------------------------------------------------------------------------------------------- class sub-folders
def _rows_of_class_folders(folder: UserFolder, settings: FolderSettings) -> list[dict[str, str]]:
    pattern = None if settings.patient_pattern is None else _pattern(settings.patient_pattern)
    rows = []
    ignored: dict[str, list[str]] = defaultdict(list)  # class folder -> names
    for file in folder.files:
        label, _, below = file.partition("/")
        if not below or not file.lower().endswith(ENDINGS):
            ignored[label if below else ""].append(file)
            continue
        patient = "" if pattern is None else _patient(pattern, below, folder.path / file)
        rows.append({"file": folder.check_name(file), "label": label, "patient": patient, "mask": "", "split": ""})
    _tell_ignored(folder, ignored)
    if pattern is not None and rows:
        _tell_folders(folder, rows)
    return rows


def _pattern(text: str) -> re.Pattern:
    try:
        pattern = re.compile(nfc(text))
    except re.error as error:
        raise InputError(f"setting options.patient_pattern is no regular expression ({error})") from error
    if pattern.groups < 1:
        raise InputError(f"setting options.patient_pattern {pattern.pattern!r} needs a group in parentheses")
    return pattern


def _patient(pattern: re.Pattern, below: str, path: Path) -> str:
    """The first group of the pattern in the file name, or else in the path below the class folder."""
    match = pattern.search(PurePosixPath(below).name) or pattern.search(below)
    if match is None or not match.group(1):
        raise InputError(
            f"{printable(path)}: options.patient_pattern {pattern.pattern!r} finds no patient in this name, nor in the "
            f"path below the class folder ({printable(below)!r})"
        )
    return match.group(1)


def _tell_folders(folder: UserFolder, rows: Sequence[Mapping[str, str]]) -> None:
    """Say when the pattern found one patient in many sub-folders: then the folders may be the patients."""
    folders: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        parent = str(PurePosixPath(row["file"]).parent)
        folders[row["patient"]] |= {parent} if "/" in parent else set()
    patient, found = max(folders.items(), key=lambda item: len(item[1]))
    if len(found) > 2 and len(found) > len(folders):
        logger.warning(
            "%s: options.patient_pattern finds %d patients, and patient %r in %d sub-folders, e.g. %r; where each "
            'folder is a patient, write its name into the pattern: "([^/]+)/"',
            *(printable(folder.path), len(folders), patient, len(found), printable(min(found))),
        )


def _tell_ignored(folder: UserFolder, ignored: Mapping[str, Sequence[str]]) -> None:
    """Say which files are left out: with a warning where they may be images that the user means to use."""
    for label, files in sorted(ignored.items()):
        kept = [file for file in files if PurePosixPath(file).name.lower() not in _JUNK]
        endings = Counter(PurePosixPath(file).suffix.lower() or "without an ending" for file in kept)
        listed = ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))
        if kept and label:
            logger.warning(
                "%s: %d files of %r are left out, their endings are none of images (%s), e.g. %s; known are %s",
                *(printable(folder.path), len(kept), label, listed, printable(kept[0]), " ".join(ENDINGS)),
            )
        elif kept:
            logger.warning(
                "%s: %d files lie beside the class sub-folders and are left out (%s), e.g. %s",
                *(printable(folder.path), len(kept), listed, printable(kept[0])),
            )


# --------------------------------------------------------------------------------------------------------------- CSV
def _rows_of_csv(folder: UserFolder, settings: CsvSettings) -> list[dict[str, str]]:
    path = folder.table(settings.name)
    clash = sorted(set(settings.keep) & {*COLUMNS, "image", "origin", "patient_known"})
    if clash:
        raise InputError(f"setting options.csv.keep names {clash[0]!r}, a column that the image set writes itself")
    files = [*placeholders(settings.file), *placeholders(settings.mask)]
    wanted = [settings.label, settings.patient, settings.split, *settings.keep, *files]
    rows, seen, table = [], {}, read_table(path, wanted)
    columns = (settings.file, settings.mask)
    images, masks = ({as_named(filled(one, cells)) for _, cells in table} if one else set() for one in columns)
    for number, cells in table:
        where = f"{path}, line {number}"
        file = _image_file(filled(settings.file, cells), folder, where, masks)
        if file in seen:
            raise InputError(f"{where}: {file!r} stands in line {seen[file]} already; one line an image")
        seen[file] = number
        if not cells[nfc(settings.label)]:
            raise InputError(f"{where}: no {settings.label}")
        mask = filled(settings.mask, cells) if settings.mask else ""
        rows.append(
            {
                **{column: cells[nfc(column)] for column in settings.keep},
                "file": file,
                "label": cells[nfc(settings.label)],
                "patient": cells[nfc(settings.patient)] if settings.patient else "",
                "mask": _image_file(mask, folder, where, images) if mask else "",
                "split": part(cells, settings.split, where),
            }
        )
    _tell_unlisted(folder, path, rows)
    return rows


def _image_file(text: str, folder: UserFolder, where: str, taken: Collection[str]) -> str:
    """The name of an image file below the folder. taken: see UserFolder.find. Raises InputError when there is none, or
    it is no image."""
    file = folder.find(text, where, taken)
    if not file.lower().endswith(ENDINGS):
        raise InputError(f"{where}: {file!r} is no image file; known endings are {' '.join(ENDINGS)}")
    return file


def _tell_unlisted(folder: UserFolder, table: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Say which images beside those of the table have no line in it. Raises InputError on masks, in folders of their
    own, that belong to no image."""
    listed = {row[column] for row in rows for column in ("file", "mask")}
    unlisted = [file for file in folder.files if file not in listed and file.lower().endswith(ENDINGS)]
    places = {PurePosixPath(row["file"]).parent for row in rows}
    of_masks = {PurePosixPath(row["mask"]).parent for row in rows if row["mask"]} - places
    lonely = [file for file in unlisted if PurePosixPath(file).parent in of_masks]
    if lonely:
        raise InputError(
            f"{table}: {len(lonely)} masks belong to no image of the table, the first is {printable(lonely[0])}; list "
            "their images, or move the masks out of the folder"
        )
    beside = [file for file in unlisted if PurePosixPath(file).parent in places]
    folder.tell_unlisted(table, listed, beside, "images of the same folders")

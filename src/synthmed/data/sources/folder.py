"""A folder of your own: images in one sub-folder a class, or images listed in a CSV.

`fetch` packs what it finds into one `folder.zip` (stored, sorted, so equal folders give equal bytes) with an
`index.csv` (file, label, patient, mask, split, source and further columns), so that one file is one node of the DAG.
"""

import csv
import io
import logging
import os
import re
import string
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NoReturn

from synthmed.data.archives import Archive, DamagedMember
from synthmed.data.sources.raw_image import RawImage
from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path, check_columns_once
from synthmed.core.settings import parse

logger = logging.getLogger(__name__)

LICENCE = "your own data: their terms are yours to know"
CITATION = "none"
PROVIDERS = {"folder": ("synthmed.data.sources.folder",)}

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
"""Endings of image files."""
INDEX = "index.csv"
_COLUMNS = ("file", "label", "patient", "mask", "split", "source")
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_PARTS = {"train": "train", "val": "validation", "validation": "validation", "test": "test", "": ""}


@dataclass(frozen=True)
class CsvSettings:
    """How a CSV lists the images. `file` and `mask` are a column's name, or a pattern such as "{label}/{file}".

    name: file name of the CSV, below the folder; label: column of the label; patient: column of the patient, null when
    every image is its own patient; mask: column or pattern of the mask file, null for none; split: column with train,
    validation, test, null for none; keep: further columns to carry along.
    """

    name: str
    file: str
    label: str
    patient: str | None
    mask: str | None
    split: str | None
    keep: tuple[str, ...]


@dataclass(frozen=True)
class FolderSettings:
    """path: the folder; name: what the column `source` says; csv: null when the sub-folders are the classes;
    patient_pattern: for class sub-folders, a regular expression whose first group, searched in the file name, is the
    patient; null when every image is its own patient.
    """

    path: str
    name: str
    csv: CsvSettings | None
    patient_pattern: str | None


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """One archive, packed from the folder."""
    return ["folder.zip"]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Pack the folder. Raises InputError on a missing folder, CSV, column or file, a file twice, one class only."""
    settings = parse(FolderSettings, options, "options")
    folder = Path(settings.path)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (setting options.path)")
    if settings.csv is None:
        rows = _rows_of_class_folders(folder, settings)
    elif settings.patient_pattern is not None:
        raise InputError("setting options.patient_pattern is for class sub-folders; with a CSV use options.csv.patient")
    else:
        rows = _rows_of_csv(folder, settings.csv)
    labels = Counter(row["label"] for row in rows)
    if len(labels) < 2:
        raise InputError(f"{folder}: only one class ({', '.join(labels) or 'no image'}); at least two are needed")
    for row in rows:
        row["source"] = settings.name
    _pack(folder, rows, raw[0])
    logger.info(
        "%s: packed %d images of %d patients (%s), %d with a mask",
        folder,
        len(rows),
        len({row["patient"] for row in rows}),
        ", ".join(f"{label} {count}" for label, count in sorted(labels.items())),
        sum(bool(row["mask"]) for row in rows),
    )


# ------------------------------------------------------------------------------------------------- class sub-folders
def _files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, also below linked folders. Raises InputError on a folder that cannot be read, and on a
    link to a folder that holds it."""

    def refused(error: OSError) -> NoReturn:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); change its rights") from error

    passed = {str(folder): {os.path.realpath(folder)}}  # folder -> the real folders on the way to it
    for place, folders, files in os.walk(folder, followlinks=True, onerror=refused):
        for name in folders:
            path = os.path.join(place, name)
            real = os.path.realpath(path)
            if real in passed[place]:
                raise InputError(f"{path}: links to a folder that it lies in; remove the link")
            passed[path] = passed[place] | {real}
        yield from (Path(place) / name for name in files)


def _rows_of_class_folders(folder: Path, settings: FolderSettings) -> list[dict[str, str]]:
    try:
        pattern = None if settings.patient_pattern is None else re.compile(settings.patient_pattern)
    except re.error as error:
        raise InputError(f"setting options.patient_pattern is no regular expression ({error})") from error
    if pattern is not None and pattern.groups < 1:
        raise InputError(f"setting options.patient_pattern {pattern.pattern!r} needs a group in parentheses")
    rows, ignored = [], []
    for path in sorted(_files_below(folder)):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or path.suffix.lower() not in ENDINGS or len(relative.parts) < 2:
            ignored.append(relative.as_posix())
            continue
        match = pattern.search(path.name) if pattern else None
        if pattern and (match is None or not match.group(1)):
            raise InputError(f"{path}: options.patient_pattern {pattern.pattern!r} finds no patient in this name")
        file = relative.as_posix()
        patient = match.group(1) if match else file
        rows.append({"file": file, "label": relative.parts[0], "patient": patient, "mask": "", "split": ""})
    if ignored:
        logger.info("%s: %d files are no images in a class sub-folder, e.g. %s", folder, len(ignored), ignored[0])
    return rows


# --------------------------------------------------------------------------------------------------------------- CSV
def _rows_of_csv(folder: Path, settings: CsvSettings) -> list[dict[str, str]]:
    path = folder / settings.name
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file (setting options.csv.name)") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error}); save the table as CSV UTF-8") from error
    reader = csv.DictReader(io.StringIO(text))
    columns = list(reader.fieldnames or [])
    _check_columns(path, columns, settings)
    rows, seen = [], {}
    for cells in reader:
        number = reader.reader.line_num  # DictReader's own number stops at blank lines
        where = f"{path}, line {number}"
        if None in cells or None in cells.values():
            raise InputError(f"{where}: it has not {len(columns)} cells as the first line has")
        file = _member(_filled(settings.file, cells), folder, where)
        if file in seen:
            raise InputError(f"{where}: {file!r} stands in line {seen[file]} already; one line an image")
        seen[file] = number
        if not cells[settings.label].strip():
            raise InputError(f"{where}: no {settings.label}")
        split = cells[settings.split].strip().lower() if settings.split else ""
        if split not in _PARTS:
            raise InputError(f"{where}: {settings.split} is {split!r}; known are train, validation, test")
        mask = _filled(settings.mask, cells) if settings.mask else ""
        # An empty patient is a patient of its own, never one group of all who lack a number.
        patient = (cells[settings.patient].strip() if settings.patient else "") or file
        rows.append(
            {
                **{column: cells[column].strip() for column in settings.keep},
                "file": file,
                "label": cells[settings.label].strip(),
                "patient": patient,
                "mask": _member(mask, folder, where) if mask else "",
                "split": _PARTS[split],
            }
        )
    return rows


def _placeholders(pattern: str) -> list[str]:
    return [field for _, field, _, _ in string.Formatter().parse(pattern) if field is not None]


def _filled(pattern: str, cells: Mapping[str, str]) -> str:
    """The cell of a column, or the pattern with cells in it; "" when the only cell that it needs is empty."""
    if "{" not in pattern:
        return cells[pattern].strip()
    values = {column: cells[column].strip() for column in _placeholders(pattern)}
    return pattern.format_map(values) if all(values.values()) else ""


def _check_columns(path: Path, columns: list[str], settings: CsvSettings) -> None:
    check_columns_once(path, columns)
    wanted = [settings.label, settings.patient, settings.split, *settings.keep]
    for pattern in (settings.file, settings.mask):
        if pattern is not None:
            wanted += _placeholders(pattern) if "{" in pattern else [pattern]
    for column in wanted:
        if column is not None and column not in columns:
            semicolons = len(columns) == 1 and ";" in columns[0]
            hint = "; it is separated by semicolons: save it with commas" if semicolons else ""
            raise InputError(f"{path}: no column {column!r}; it has {columns}{hint}")
    clash = sorted(set(settings.keep) & {*_COLUMNS, "image"})
    if clash:
        raise InputError(f"setting options.csv.keep names {clash[0]!r}, a column that the image set writes itself")


def _member(file: str, folder: Path, where: str) -> str:
    """`file` as a clean path below `folder`. Raises InputError when it leaves the folder, is missing, or no image."""
    relative = PurePosixPath(file.replace("\\", "/"))
    if not file or relative.is_absolute() or ".." in relative.parts:
        raise InputError(f"{where}: {file!r} is not the name of a file below {folder}")
    if not (folder / relative).is_file():
        raise InputError(f"{where}: {folder / relative} does not exist")
    if relative.suffix.lower() not in ENDINGS:
        raise InputError(f"{where}: {file!r} is no image file; known endings are {' '.join(ENDINGS)}")
    return relative.as_posix()


# ----------------------------------------------------------------------------------------------------------- packing
def _pack(folder: Path, rows: Sequence[Mapping[str, str]], target: Path) -> None:
    extra = sorted({column for row in rows for column in row} - set(_COLUMNS))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_COLUMNS, *extra], lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: row["file"]))
    files = sorted({row["file"] for row in rows} | {row["mask"] for row in rows if row["mask"]})
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(INDEX, _ZIP_TIME), text.getvalue().encode())
        for file in files:
            try:
                content = (folder / file).read_bytes()
            except PermissionError as error:
                raise InputError(f"{folder / file}: no permission to read it; change its rights") from error
            archive.writestr(zipfile.ZipInfo(f"files/{file}", _ZIP_TIME), content)


# ----------------------------------------------------------------------------------------------------------- reading
@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """All images of the packed folder, in the order of its index; the archive is open inside the `with` block."""
    with Archive(raw[0]) as archive:
        if INDEX not in archive.names:
            raise InputError(f"{raw[0]}: no {INDEX} inside; it was not made by the step fetch")
        try:
            rows = csv.DictReader(io.StringIO(archive.read(INDEX).decode()))
        except DamagedMember as error:
            raise InputError(f"{raw[0]}: {error}; delete it and run fetch again") from error
        yield [
            RawImage(
                file=row["file"],
                name=_image_name(row["file"]),
                label=row["label"],
                patient=row["patient"],
                split=row["split"],
                source=row["source"],
                load=partial(archive.read, f"files/{row['file']}"),
                masks=(partial(archive.read, f"files/{row['mask']}"),) if row["mask"] else (),
                extra={column: value for column, value in row.items() if column not in _COLUMNS},
            )
            for row in rows
        ]


def _image_name(file: str) -> str:
    """`normal/a b.jpg` becomes `normal_a_b`: the folders stay in the name, because names repeat between them."""
    name = re.sub(r"[^A-Za-z0-9_.\-]", "_", str(PurePosixPath(file).with_suffix("")))
    return name if name[0] not in ".-" else f"_{name}"

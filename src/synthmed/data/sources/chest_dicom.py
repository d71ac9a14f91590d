"""Chest films as DICOM files with a table of findings: phantoms, or a folder of your own.

Raw file: one archive `dicom.zip` (stored) with films/… (DICOM), labels.csv, boxes.csv and, for phantoms, masks/*.png.
labels.csv: file, patient (may be empty: then the tag PatientID counts), findings (";"-joined, empty: normal), device
(yes, no, empty: unknown), mask, split, source. boxes.csv: file, finding, x_min, y_min, x_max, y_max in pixels of the
stored film, the upper ends exclusive.
"""

import csv
import io
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import nfc, printable
from synthmed.core.settings import parse
from synthmed.data.archives import Archive, DamagedMember
from synthmed.data.boxes import Box
from synthmed.data.film_archive import BOX_COLUMNS, BOXES, LABEL_COLUMNS, LABELS, FilmEntry, write_film_archive
from synthmed.data.patients import cleaned, settled, tell_crowds, tell_missing
from synthmed.data.sources.finding_labels import (
    NORMAL,
    FindingNames,
    check_all_mapped,
    check_all_occur,
    check_names,
    checked_box,
    columns,
    label,
    tally,
)
from synthmed.data.sources.raw_image import RawImage
from synthmed.data.sources.user_folder import UserFolder, is_dicom
from synthmed.data.sources.user_table import filled, part, placeholders, read_table

logger = logging.getLogger(__name__)

LICENCE = "phantoms: none needed; your own data: their terms are yours to know"
SHARING = "ask"
CITATION = "none"
PROVIDERS = {
    "phantom": ("synthmed.data.phantoms.dicom_films",),
    "folder": ("synthmed.data.sources.chest_dicom",),
}
OPTIONS = {
    "phantom": "synthmed.data.phantoms.chest_findings:ChestSettings",
    "folder": "synthmed.data.sources.chest_dicom:DicomFolderSettings",
}

ARCHIVE = "dicom.zip"

DEVICE = ("yes", "no", "")


@dataclass(frozen=True)
class BoxColumns:
    """Columns of a box in pixels of the stored film. Empty cells: no box in this row."""

    x_min: Annotated[str, Meta(description="Column with the left edge.")]
    y_min: Annotated[str, Meta(description="Column with the upper edge.")]
    x_max: Annotated[str, Meta(description="Column with the right edge, exclusive.")]
    y_max: Annotated[str, Meta(description="Column with the lower edge, exclusive.")]


@dataclass(frozen=True)
class DicomCsvSettings:
    """How a CSV lists the films; a film may have several rows. Columns are named as the first line names them."""

    name: Annotated[str, Meta(description="The CSV file, relative to `path`.")]
    file: Annotated[
        str, Meta(description="Column with the DICOM file, or a pattern of columns such as {study}/{film}.dcm.")
    ]
    patient: Annotated[str | None, Meta(description="Column with the patient; null: the tag PatientID.")]
    findings: Annotated[str, Meta(description="Column with one finding, or several with semicolons between them.")]
    device: Annotated[
        str | None, Meta(description="Column that says yes or no, empty where unknown; null: unknown for all films.")
    ]
    boxes: Annotated[
        BoxColumns | None,
        Meta(description="Columns of the box around the row's one finding, pixels of the stored film; null for none."),
    ]
    split: Annotated[str | None, Meta(description="Column with train, validation or test; null: none.")]


@dataclass(frozen=True)
class DicomFolderSettings:
    """A folder of DICOM films and the table that lists them."""

    path: Annotated[str, Meta(description="Your folder, absolute or relative to where snakemake is started.")]
    name: Annotated[str, Meta(description="What the column `source` of the manifests says.")]
    csv: Annotated[
        DicomCsvSettings, Meta(description="Which columns of which CSV file say what. A film may have several rows.")
    ]
    finding_names: FindingNames


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """One archive, drawn or packed from the folder."""
    return [ARCHIVE]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Draw the phantoms, or pack the folder. Raises InputError on all that is wrong with settings, folder and CSV."""
    if provider == "phantom":
        from synthmed.data.phantoms.chest_findings import ChestSettings
        from synthmed.data.phantoms.dicom_films import write_films

        write_films(parse(ChestSettings, options, "options"), raw[0])
    else:
        _pack(parse(DicomFolderSettings, options, "options"), raw[0])


# ------------------------------------------------------------------------------------------------------------ folder
@dataclass
class _Film:
    """What the rows of one film say together."""

    line: int  # the first of them
    patient: str
    device: str
    split: str
    names: set[str] = field(default_factory=set)  # of the table
    findings: set[str] = field(default_factory=set)  # ours, without NORMAL
    boxes: list[Box] = field(default_factory=list)


def _pack(settings: DicomFolderSettings, target: Path) -> None:
    folder = UserFolder(settings.path)
    check_names(settings.finding_names)
    table = folder.table(settings.csv.name)
    films = _films_of_csv(table, folder, settings)
    _check_folder(folder, table, films)
    if settings.csv.patient is None:
        logger.info("%s: no column of patients; the tag PatientID of each file counts", table)
    else:
        _settle_patients(table, films)
    _check_parts(table, films)
    kept = {file: film for file, film in films.items() if film.findings or _normal(film, settings.finding_names)}
    findings = [sorted(film.findings) for film in kept.values()]
    write_film_archive(target, (_entry(folder, file, film, settings.name) for file, film in sorted(kept.items())))
    boxes = sum(len(film.boxes) for film in kept.values())
    logger.info("%s: packed %d films (%s), %d boxes", folder.path, len(kept), tally(findings), boxes)
    if len(kept) < len(films):
        logger.warning("%s: %d films left out, their only findings are null", table, len(films) - len(kept))


def _settle_patients(table: Path, films: Mapping[str, _Film]) -> None:
    """One spelling for each patient; films without one keep "", for which the tag PatientID counts."""
    patients = settled([film.patient for film in films.values()], str(table))
    for film, patient in zip(films.values(), patients, strict=True):
        film.patient = patient
    tell_missing(patients, str(table), "the tag PatientID of its file counts")
    tell_crowds(patients, [label(film.findings) for film in films.values()], str(table))


def _entry(folder: UserFolder, file: str, film: _Film, source: str) -> FilmEntry:
    """A film of the folder as the archive takes it."""
    name = f"films/{file}"
    row = {
        "file": name,
        "patient": film.patient,
        "findings": ";".join(sorted(film.findings)),
        "device": film.device,
        "mask": "",
        "split": film.split,
        "source": source,
    }
    boxes = [dict(zip(BOX_COLUMNS, (name, *box), strict=True)) for box in sorted(film.boxes)]
    return FilmEntry({name: folder.read(file)}, row, boxes)


def _normal(film: _Film, names: Mapping[str, str | None]) -> bool:
    return not film.findings and all(names[name] == NORMAL for name in film.names)


def _films_of_csv(path: Path, folder: UserFolder, settings: DicomFolderSettings) -> dict[str, _Film]:
    """What the CSV says of every film: name below the folder -> film."""
    table, names = settings.csv, {nfc(theirs): ours for theirs, ours in settings.finding_names.items()}
    sides = vars(table.boxes).values() if table.boxes is not None else ()
    rows = read_table(
        path, [table.patient, table.findings, table.device, table.split, *placeholders(table.file), *sides]
    )
    cells_of = [_names_of(cells[nfc(table.findings)]) for _line, cells in rows]
    occurring = {name for names in cells_of for name in names}
    check_all_mapped(names, occurring, str(path))
    check_all_occur(names, occurring, str(path))
    films: dict[str, _Film] = {}
    for (line, cells), said in zip(rows, cells_of, strict=True):
        where = f"{path}, line {line}"
        file = folder.check_name(folder.find(filled(table.file, cells), where))
        row = _Film(
            line,
            patient=cleaned(cells[nfc(table.patient)]) if table.patient else "",
            device=_device(cells, table.device, where),
            split=part(cells, table.split, where),
        )
        film = films.setdefault(file, row)
        for what in ("patient", "device", "split"):
            if getattr(film, what) != getattr(row, what):
                raise InputError(
                    f"{where}: {file!r} has {what} {getattr(row, what)!r} here and {getattr(film, what)!r} in line "
                    f"{film.line}; a film has one"
                )
        film.names |= set(said)
        film.findings |= {names[name] for name in said} - {NORMAL, None}
        ours = {names[name] for name in film.names}
        if NORMAL in ours and len(ours) > 1:
            raise InputError(
                f"{where}: {file!r} is normal and has a finding ({', '.join(sorted(film.names))}, first in line "
                f"{film.line}); it can have one of these labels only"
            )
        if table.boxes is not None:
            film.boxes += _box(cells, table.boxes, said, names, where)
    return films


def _names_of(cell: str) -> list[str]:
    """Names in a cell; an empty cell is the name ""."""
    return [name.strip() for name in cell.split(";")]


def _device(cells: Mapping[str, str], column: str | None, where: str) -> str:
    value = cells[nfc(column)].lower() if column else ""
    if value not in DEVICE:
        raise InputError(f"{where}: {column} is {value!r}; it must be yes, no or empty")
    return value


def _box(
    cells: Mapping[str, str], names: BoxColumns, said: Sequence[str], ours: Mapping[str, str | None], where: str
) -> list[Box]:
    """The row's box as a list of one, or of none."""
    texts = [cells[nfc(column)] for column in (names.x_min, names.y_min, names.x_max, names.y_max)]
    if not any(texts):
        return []
    if len(said) != 1 or ours[said[0]] == NORMAL:
        raise InputError(f"{where}: a box needs one finding in its row, this has {'; '.join(said)!r}")
    name = ours[said[0]]
    return [] if name is None else [checked_box(name, texts, where)]


def _check_folder(folder: UserFolder, table: Path, films: Mapping[str, _Film]) -> None:
    """Raise InputError when the folder has DICOM files without a row. DICOMDIR, the list on a CD, needs none."""
    without = [
        name for name, path in folder.files.items() if name not in films and path != table and is_dicom(name, path)
    ]
    if without:
        raise InputError(
            f"{folder.path}: {len(without)} DICOM files have no row in {table.name}, the first is "
            f"{printable(without[0])!r}; add rows or take the files out of the folder"
        )


def _check_parts(table: Path, films: Mapping[str, _Film]) -> None:
    """Raise InputError when a patient has films in two parts of the official split."""
    seen: dict[str, tuple[str, str]] = {}
    for file, film in films.items():
        if film.patient and film.split:
            other, part = seen.setdefault(film.patient, (file, film.split))
            if part != film.split:
                raise InputError(
                    f"{table}: patient {film.patient!r} is in two parts, {other!r} in {part} and {file!r} in "
                    f"{film.split}; a patient belongs to one part, or set options.csv.split to null and let the step "
                    "split do it"
                )


# ----------------------------------------------------------------------------------------------------------- reading
@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """All films of the archive in the order of labels.csv; the archive is open inside the `with` block.

    Labels: normal, abnormal. Extra columns: findings, device, boxes (see finding_labels.columns). RawImage.patient is
    "" where the table names none. Raises InputError when a table is missing or says what cannot be: a film twice, a
    film or mask that is not there, a film without a row, a box of an unknown film or of a finding that its film has
    not.
    """
    with Archive(raw[0]) as archive:
        labels = _table(archive, LABELS, LABEL_COLUMNS)
        boxes = _boxes_of(archive, labels)
        members = set(archive.names)
        found, seen = [], {}
        for number, row in enumerate(labels, start=1):
            where = f"{archive.path}:{LABELS}, line {number + 1}"
            _check_row(row, seen, number + 1, members, where)
            findings = [finding for finding in row["findings"].split(";") if finding]
            found.append(
                RawImage(
                    file=f"{archive.path.name}:{row['file']}",
                    name=f"film_{number:05d}",
                    label=label(findings),
                    patient=row["patient"],
                    split=row["split"],
                    source=row["source"],
                    load=partial(archive.read, row["file"]),
                    masks=(partial(archive.read, row["mask"]),) if row["mask"] else (),
                    extra=columns(findings, row["device"], boxes[row["file"]]),
                )
            )
        without = sorted(name for name in members if name.startswith("films/") and name not in seen)
        if without:
            raise InputError(
                f"{archive.path}: {len(without)} films have no row in {LABELS}, the first is {without[0]!r}"
            )
        yield found


def _table(archive: Archive, name: str, names: Sequence[str]) -> list[dict[str, str]]:
    if name not in archive.names:
        raise InputError(f"{archive.path}: no {name} inside; it was not made by the step fetch")
    try:
        reader = csv.DictReader(io.StringIO(archive.read(name).decode()))
    except (DamagedMember, UnicodeDecodeError) as error:
        raise InputError(f"{archive.path}:{name}: {error}; delete the archive and run fetch again") from error
    if tuple(reader.fieldnames or ()) != tuple(names):
        raise InputError(f"{archive.path}:{name}: its columns are {reader.fieldnames}, not {list(names)}")
    return list(reader)


def _check_row(row: Mapping[str, str], seen: dict[str, int], line: int, members: set[str], where: str) -> None:
    if row["file"] in seen:
        raise InputError(f"{where}: {row['file']!r} stands in line {seen[row['file']]} already; one line a film")
    seen[row["file"]] = line
    for what in ("file", "mask"):
        if row[what] and row[what] not in members:
            raise InputError(f"{where}: {what} {row[what]!r} is not in the archive")
    if row["device"] not in DEVICE:
        raise InputError(f"{where}: device is {row['device']!r}; it must be yes, no or empty")


def _boxes_of(archive: Archive, labels: Sequence[Mapping[str, str]]) -> dict[str, list[Box]]:
    """Boxes of every film."""
    findings = {row["file"]: row["findings"].split(";") for row in labels}
    boxes = defaultdict(list)
    for line, row in enumerate(_table(archive, BOXES, BOX_COLUMNS), start=2):
        where = f"{archive.path}:{BOXES}, line {line}"
        if row["file"] not in findings:
            raise InputError(f"{where}: {row['file']!r} has no row in {LABELS}")
        if row["finding"] not in findings[row["file"]]:
            raise InputError(f"{where}: {row['file']!r} has no finding {row['finding']!r} in {LABELS}")
        texts = [row[column] for column in BOX_COLUMNS[2:]]
        boxes[row["file"]].append(checked_box(row["finding"], texts, where))
    return boxes

"""The raw archive of the source chest_dicom: DICOM files with two tables, written as a stream of films.

Members: films/… (DICOM), masks/*.png, LABELS, BOXES; what the columns hold is said in sources/chest_dicom.py. Equal
films give equal bytes.
"""

import csv
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthmed.core.files import atomic_path

LABELS, BOXES = "labels.csv", "boxes.csv"
LABEL_COLUMNS = ("file", "patient", "findings", "device", "mask", "split", "source")
BOX_COLUMNS = ("file", "finding", "x_min", "y_min", "x_max", "y_max")
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class FilmEntry:
    """What one film adds: members of the archive, its row of LABELS, its rows of BOXES."""

    files: Mapping[str, bytes]
    label: Mapping[str, object]
    boxes: Sequence[Mapping[str, object]]


def write_film_archive(path: Path, films: Iterable[FilmEntry]) -> None:
    """Write the archive atomically; films are consumed one at a time, so a generator keeps memory bounded."""
    labels, boxes = [], []
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for film in films:
            for name, content in film.files.items():
                archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), content)
            labels.append(film.label)
            boxes += film.boxes
        archive.writestr(zipfile.ZipInfo(LABELS, _ZIP_TIME), _csv(labels, LABEL_COLUMNS))
        archive.writestr(zipfile.ZipInfo(BOXES, _ZIP_TIME), _csv(boxes, BOX_COLUMNS))


def _csv(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()

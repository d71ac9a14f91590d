"""The raw archive of the source chest_dicom: DICOM files with two tables, written as a stream of films.

Members: films/… (DICOM), masks/*.png, LABELS, BOXES; what the columns hold is said in sources/chest_dicom.py. Equal
films give equal bytes.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthmed.core.files import stored_zip

LABELS, BOXES = "labels.csv", "boxes.csv"
LABEL_COLUMNS = ("file", "patient", "findings", "device", "mask", "split", "source")
BOX_COLUMNS = ("file", "finding", "x_min", "y_min", "x_max", "y_max")


@dataclass(frozen=True)
class FilmEntry:
    """What one film adds: members of the archive, its row of LABELS, its rows of BOXES."""

    files: Mapping[str, bytes]
    label: Mapping[str, object]
    boxes: Sequence[Mapping[str, object]]


def write_film_archive(path: Path, films: Iterable[FilmEntry]) -> None:
    """Write the archive atomically; films are consumed one at a time, so a generator keeps memory bounded."""
    labels, boxes = [], []
    with stored_zip(path) as add:
        for film in films:
            for name, content in film.files.items():
                add(name, content)
            labels.append(film.label)
            boxes += film.boxes
        add(LABELS, _csv(labels, LABEL_COLUMNS))
        add(BOXES, _csv(boxes, BOX_COLUMNS))


def _csv(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()

"""Whole slides of your own: files that OpenSlide reads, with annotations of ASAP or ImageScope, listed by a CSV.

Raw files: see raw_slide.py. Formats of several files (MIRAX, VMS, DICOM) are refused: make a pyramidal TIFF of them.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import nfc, printable
from synthmed.core.settings import parse
from synthmed.data.patients import settled, tell_missing
from synthmed.data.sources.packed_folder import image_names
from synthmed.data.sources.raw_slide import Placed, RawSlide, read_slides, slide_files, write_slides
from synthmed.data.sources.user_folder import UserFolder
from synthmed.data.sources.user_table import Rows, filled, part, placeholders, read_table

logger = logging.getLogger(__name__)

LICENCE = "your own data: their terms are yours to know"
SHARING = "ask"
CITATION = "none"
PROVIDERS = {"folder": ("synthmed.data.sources.slide_folder",)}
OPTIONS = {"folder": "synthmed.data.sources.slide_folder:SlideFolderSettings"}

_SEVERAL_FILES = (".mrxs", ".vms", ".vmu", ".dcm")
_ENDINGS = (".svs", ".svslide", ".tif", ".tiff", ".ndpi", ".scn", ".bif", ".mrxs", ".vms", ".vmu")
"""Of files that stand for a slide each."""


@dataclass(frozen=True)
class SlideTable:
    """How a CSV lists the slides, one row each."""

    name: Annotated[str, Meta(description="The CSV file, relative to `path`.")]
    slide: Annotated[str, Meta(description="Column or pattern of the file, such as {id}.svs.")]
    label: Annotated[
        str | None,
        Meta(
            description="Column with what all tiles of a slide show; empty where an annotation says it, or should. "
            "null: every slide has an annotation."
        ),
    ]
    annotation: Annotated[
        str | None, Meta(description="Column or pattern of the XML; an empty cell: none. null: no slide has one.")
    ]
    patient: Annotated[str | None, Meta(description="Column with the patient; null: every slide is one.")]
    mpp: Annotated[
        str | None, Meta(description="Column with µm per pixel of the finest level; empty or null: the file says it.")
    ]
    source: Annotated[str | None, Meta(description="Column with the centre; null: what `name` says.")]
    split: Annotated[str | None, Meta(description="Column with train, validation or test; null: none.")]


@dataclass(frozen=True)
class SlideFolderSettings:
    """A folder of whole slides and the table that lists them."""

    path: Annotated[str, Meta(description="Your folder, absolute or relative to where snakemake is started.")]
    name: Annotated[str, Meta(description="What the column `source` of the manifests says.")]
    csv: SlideTable


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """The table, the annotations, and a file for each row of the CSV."""
    options = parse(SlideFolderSettings, settings["options"], "options")
    return slide_files(len(_table(UserFolder(options.path), options)))


def _table(folder: UserFolder, settings: SlideFolderSettings) -> Rows:
    table = settings.csv
    patterns = [table.slide, *([] if table.annotation is None else [table.annotation])]
    plain = [table.label, table.patient, table.mpp, table.source, table.split]
    return read_table(
        folder.table(table.name), [*plain, *(name for pattern in patterns for name in placeholders(pattern))]
    )


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """List the slides, each as a second name of your file (a copy where the disk has no such names).

    Raises InputError on a missing folder, table, column or file, on a slide twice, and on a size of pixels that is no
    number.
    """
    settings = parse(SlideFolderSettings, options, "options")
    folder = UserFolder(settings.path)
    table, path = settings.csv, folder.table(settings.csv.name)
    placed, lines = [], {}
    for line, cells in _table(folder, settings):
        where = f"{path}, line {line}"
        file = folder.check_name(folder.find(filled(table.slide, cells), where))
        if file.lower().endswith(_SEVERAL_FILES):
            raise InputError(
                f"{where}: {file!r} is of a format of several files; make one pyramidal TIFF of it (vips tiffsave "
                f"{Path(file).name} {Path(file).stem}.tif --pyramid --tile --compression jpeg)"
            )
        if file in lines:
            raise InputError(f"{where}: {file!r} stands in line {lines[file]} already; one line a slide")
        lines[file] = line
        xml = filled(table.annotation, cells) if table.annotation else ""
        row = {
            "label": cells[nfc(table.label)] if table.label else "",
            "patient": cells[nfc(table.patient)] if table.patient else "",
            "split": part(cells, table.split, where),
            "source": (cells[nfc(table.source)] if table.source else "") or settings.name,
            "mpp": _mpp(cells[nfc(table.mpp)] if table.mpp else "", where),
        }
        annotation = folder.read(folder.find(xml, where)) if xml else None
        placed.append(Placed(row, folder.path_of(file), annotation))
    patients = settled([slide.row["patient"] for slide in placed], str(path))
    tell_missing(patients, str(path), "each of these slides counts as a patient of its own")
    names = image_names(list(lines), [PurePosixPath(file).stem for file in lines])
    placed = [
        Placed({**slide.row, "name": name, "patient": patient}, slide.path, slide.annotation)
        for slide, name, patient in zip(placed, names, patients, strict=True)
    ]
    folder.tell_unlisted(path, lines, [file for file in folder.files if file.lower().endswith(_ENDINGS)], "slides")
    write_slides(placed, raw)
    logger.info("%s: %d slides", printable(folder.path), len(placed))


def _mpp(text: str, where: str) -> str:
    if not text:
        return ""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1000:
        raise InputError(f"{where}: {text!r} is no size of a pixel in µm, such as 0.25")
    return repr(value)


def read(raw: Sequence[Path]) -> AbstractContextManager[list[RawSlide]]:
    """All slides of the table, in its order."""
    return read_slides(raw)

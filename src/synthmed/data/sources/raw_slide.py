"""One whole slide as a source finds it, before anything is decoded; and how the raw files of slides lie.

Raw files: `slides.csv` (COLUMNS, one row a slide), `annotations.zip` with `<number>.xml` of those that have one, and
the slides themselves as slide_0000, slide_0001, …: a library for slides wants a file of its own for each.
"""

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from shlex import quote

from synthmed.core.errors import InputError
from synthmed.core.files import ZIP_TIME, atomic_path, link_or_copy, read_csv, write_csv
from synthmed.data.archives import Archive
from synthmed.data.sources.raw_image import Load

TABLE, ANNOTATIONS = "slides.csv", "annotations.zip"
COLUMNS = ("name", "label", "patient", "split", "source", "mpp", "annotated")
"""Of the table; further ones go into the manifest as they are."""
INSIDE, BORDER, OUTSIDE = "inside", "border", "outside"
"""Labels of the tiles of an annotated slide."""
UNKNOWN = ""
"""Label of a slide that shows something, and nobody says where."""


@dataclass(frozen=True)
class RawSlide:
    """What is known about a slide without opening it.

    file: where it lies, for messages; name: unique in the source; label: of all its tiles where it has no annotation,
    UNKNOWN where it needed one; patient: whose tiles never come apart in a split; split: official part or ""; source:
    column `source`; mpp: micrometres of a pixel of the finest level where somebody states them, None: the file says it;
    path: the file; annotation: loads the XML, None without; extra: further columns.
    """

    file: str
    name: str
    label: str
    patient: str
    split: str
    source: str
    mpp: float | None
    path: Path
    annotation: Load | None
    extra: Mapping[str, str]


@dataclass(frozen=True)
class Placed:
    """A slide to be listed: its row of the table without `annotated`, its file, its annotation."""

    row: Mapping[str, str]
    path: Path
    annotation: bytes | None


def slide_files(count: int) -> list[str]:
    """Names of the raw files of so many slides."""
    return [TABLE, ANNOTATIONS, *(f"slide_{number:04d}" for number in range(count))]


def shell_words(files: Iterable[str]) -> str:
    """Files as words of a command in bash, numbered slides as ranges ({0000..4399}): a command as a whole must not have
    more than 128 KiB."""
    words = []
    for (folder, digits), found in groupby(map(str, files), _place):
        found = list(found)
        first, last = found[0][-digits:], found[-1][-digits:]
        if digits and int(last) - int(first) == len(found) - 1 > 0:
            words.append(f"{quote(folder)}{{{first}..{last}}}")
        else:
            words += map(quote, found)
    return " ".join(words)


def _place(file: str) -> tuple[str, int]:
    """What stands before the number of a slide, and its digits; 0 for another file."""
    numbered = re.fullmatch(r"(.*slide_)(\d+)", file)
    return (numbered[1], len(numbered[2])) if numbered else ("", 0)


def write_slides(slides: Sequence[Placed], raw: Sequence[Path]) -> None:
    """The raw files: the table, the annotations, and the slides as second names of their files (copies elsewhere)."""
    for slide, path in zip(slides, raw[2:], strict=True):
        if slide.path != path:
            link_or_copy(slide.path, path)
    with atomic_path(raw[1]) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, slide in enumerate(slides):
            if slide.annotation is not None:
                info = zipfile.ZipInfo(f"{number}.xml", ZIP_TIME)
                archive.writestr(info, slide.annotation, zipfile.ZIP_DEFLATED)
    extra = sorted({key for slide in slides for key in slide.row} - set(COLUMNS))
    rows = [{**slide.row, "annotated": "no" if slide.annotation is None else "yes"} for slide in slides]
    write_csv(raw[0], rows, [*COLUMNS, *extra])


@contextmanager
def read_slides(raw: Sequence[Path]) -> Iterator[list[RawSlide]]:
    """The slides that write_slides listed; their annotations are open inside the `with` block."""
    rows = read_csv(raw[0])
    if len(rows) != len(raw) - 2 or not rows or not set(COLUMNS) <= set(rows[0]):
        raise InputError(f"{raw[0]}: it does not list the {len(raw) - 2} slides; run the step fetch again")
    # An archive without a member is no error: no slide has an annotation.
    with Archive(raw[1]) as archive:
        yield [
            RawSlide(
                file=row["name"],
                name=row["name"],
                label=row["label"],
                patient=row["patient"],
                split=row["split"],
                source=row["source"],
                mpp=float(row["mpp"]) if row["mpp"] else None,
                path=path,
                annotation=partial(archive.read, f"{number}.xml") if row["annotated"] == "yes" else None,
                extra={key: value for key, value in row.items() if key not in COLUMNS},
            )
            for number, (row, path) in enumerate(zip(rows, raw[2:], strict=True))
        ]

"""An archive of a user's own images: files of a folder, and an index that says what they are."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath

from synthmed.core.errors import InputError
from synthmed.core.files import stored_zip
from synthmed.data.archives import Archive, DamagedMember
from synthmed.data.sources.raw_image import RawImage
from synthmed.data.sources.user_folder import UserFolder

INDEX = "index.csv"
COLUMNS = ("file", "label", "patient", "mask", "split", "source")


def pack(folder: UserFolder, rows: Sequence[Mapping[str, str]], target: Path) -> None:
    """Files of the folder and their index (COLUMNS and further ones) as one archive."""
    extra = sorted({column for row in rows for column in row} - set(COLUMNS))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *extra], lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: row["file"]))
    files = sorted({row["file"] for row in rows} | {row["mask"] for row in rows if row["mask"]})
    with stored_zip(target) as add:
        add(INDEX, text.getvalue().encode())
        for file in files:
            add(f"files/{file}", folder.read(file))


@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """All images of the packed folder, in the order of its index; the archive is open inside the `with` block."""
    with Archive(raw[0]) as archive:
        if INDEX not in archive.names:
            raise InputError(f"{raw[0]}: no {INDEX} inside; it was not made by the step fetch")
        try:
            rows = list(csv.DictReader(io.StringIO(archive.read(INDEX).decode())))
        except (DamagedMember, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{raw[0]}: {INDEX}: {error}; delete the archive and run fetch again") from error
        if not rows or not set(COLUMNS) <= set(rows[0]):
            raise InputError(f"{raw[0]}: {INDEX} lacks one of {list(COLUMNS)}; it was not made by the step fetch")
        files = [row["file"] for row in rows]
        names = image_names(files, [str(PurePosixPath(file).with_suffix("")) for file in files])
        yield [
            RawImage(
                file=row["file"],
                name=name,
                label=row["label"],
                patient=row["patient"] or row["file"],
                split=row["split"],
                source=row["source"],
                load=partial(archive.read, f"files/{row['file']}"),
                masks=(partial(archive.read, f"files/{row['mask']}"),) if row["mask"] else (),
                extra={column: value for column, value in row.items() if column not in COLUMNS},
                patient_known=bool(row["patient"]),
            )
            for row, name in zip(rows, names, strict=True)
        ]


def image_names(files: Sequence[str], stems: Sequence[str]) -> list[str]:
    """Names in the image set, all different, made of `stems`. `normal/a b` becomes `normal_a_b`: names repeat between
    folders.

    Eight digits of the hash of the file's path follow where letters had to go (张敏), and where two would become one.
    """
    plain = [re.sub(r"[^A-Za-z0-9_.\-]", "_", stem) for stem in stems]
    counts = Counter(plain)
    names = []
    for file, stem, name in zip(files, stems, plain, strict=True):
        if counts[name] > 1 or not stem.isascii():
            name = f"{name}_{sha256(file.encode()).hexdigest()[:8]}"
        names.append(name if name[0] not in ".-" else f"_{name}")
    return names

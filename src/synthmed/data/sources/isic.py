"""What the sets of the International Skin Imaging Collaboration share: published files, tables, artefact labels."""

import csv
import io
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import readable, user_path
from synthmed.data.archives import Archive, DamagedMember
from synthmed.data.published import copy_placed, download_published
from synthmed.data.sources.raw_image import Load
from synthmed.data.sources.user_folder import is_hidden
from synthmed.data.sources.user_table import Rows, rows_of

logger = logging.getLogger(__name__)

SERVER = "https://isic-archive.s3.amazonaws.com/challenges"
ARTEFACT_LABELS = "isic_bias.csv"
TAGS = ("dark_corner", "gel_border", "gel_bubble", "hair", "ink", "patches", "ruler")
"""Columns of ARTEFACT_LABELS that are 0 or 1."""
DIAGNOSIS = "label_string"
"""Its column that says benign or malignant."""
ARTEFACTS = "artefacts"
"""Column that names those of an image, as `hair;ruler`, or `none`: what a tagger is trained on."""
_ENDINGS = {".jpg": "photographs", ".jpeg": "photographs", ".png": "masks", ".csv": "tables"}


@dataclass(frozen=True)
class Options:
    """What every one of the sets may have beside its files."""

    artefact_labels: Annotated[
        str | None,
        Meta(
            description="The file isic_bias.csv of github.com/alceubissoto/debiasing-skin, which says of images of "
            "ISIC 2018 whether there are hairs, rulers, dark corners …; null: none."
        ),
    ]


@dataclass(frozen=True)
class FileOptions(Options):
    """The files as they were published."""

    path: Annotated[str, Meta(description="Folder that holds the files under their published names.")]


@dataclass(frozen=True)
class Published:
    """A file of a set. folder: on SERVER; holds: how many of what is in it, see `contents`; size, sha256: None where
    nobody published them."""

    folder: str
    name: str
    holds: Mapping[str, int]
    size: int | None = None
    sha256: str | None = None

    @property
    def url(self) -> str:
        return f"{SERVER}/{self.folder}/{self.name}"


def further_files(settings: Mapping[str, object], names: Mapping[str, str]) -> list[str]:
    """Raw files that not every fetch section has: name → the option that asks for it; phantoms have all."""
    options = settings.get("options") or {}
    return [name for name, option in names.items() if settings.get("provider") == "phantom" or options.get(option)]


def contents(path: Path) -> dict[str, int]:
    """How many photographs (JPEG), masks (PNG) and tables are in an archive; rows of a table."""
    if path.suffix == ".csv":
        return {"rows": len(table(path, ()))}
    with Archive(path) as archive:
        names = [name for name in archive.names if not is_hidden(name)]
    endings = [PurePosixPath(name).suffix.lower() for name in names]
    return dict(Counter(_ENDINGS[ending] for ending in endings if ending in _ENDINGS))


def get_published(files: Sequence[Published], raw: Sequence[Path], chosen: Options) -> None:
    """Download the files to `raw`, or copy those that the user placed (FileOptions); and the table of artefacts, where
    one is named, to the last of `raw`.

    Raises InputError when one is missing, or is not what was published.
    """
    if chosen.artefact_labels is not None:
        where = "github.com/alceubissoto/debiasing-skin, artefacts-annotation/isic_bias.csv"
        placed, rows = user_path(chosen.artefact_labels), {"rows": 2594}
        copy_placed(placed, raw[-1], url=where, holds=lambda one: {"rows": len(artefacts(one))}, published=rows)
    for file, path in zip(files, raw[: len(files)], strict=True):
        if isinstance(chosen, FileOptions):
            placed = user_path(chosen.path) / file.name
            copy_placed(placed, path, url=file.url, holds=contents, published=file.holds)
        else:
            what = {"size": file.size, "sha256": file.sha256, "holds": contents, "published": file.holds}
            download_published(file.url, path, **what)


# --------------------------------------------------------------------------------------------------------- reading
def table(path: Path, wanted: Sequence[str]) -> Rows:
    """Rows of a table of ISIC, see rows_of; none where it has a first line only. Raises InputError when it is missing
    or no table."""
    with readable(path):
        text = path.read_text(encoding="utf-8-sig")
    return rows_of(text, str(path), wanted) if len(text.splitlines()) != 1 else []


def table_inside(archive: Archive, wanted: Sequence[str]) -> Rows:
    """Rows of the one table in an archive. Raises InputError when there is none or several, or it is no table."""
    tables = list(members(archive, ".csv").values())
    if len(tables) != 1:
        raise InputError(f"{archive.path}: {len(tables)} tables inside, where one is expected; get it again")
    try:
        text = archive.read(tables[0]).decode("utf-8-sig")
    except (DamagedMember, UnicodeDecodeError) as error:
        raise InputError(f"{archive.path}: {error}; get it again") from error
    return rows_of(text, f"{archive.path}:{tables[0]}", wanted) if len(text.splitlines()) != 1 else []


def members(archive: Archive, ending: str, strip: str = "") -> dict[str, str]:
    """Members with this ending by their name without ending and without `strip` at its end."""
    paths = [PurePosixPath(name) for name in archive.names if not is_hidden(name)]
    return {path.stem.removesuffix(strip): str(path) for path in paths if path.suffix.lower() == ending}


def loads(archive: Archive, files: Mapping[str, str]) -> dict[str, Load]:
    """How each of the members is read."""
    return {name: partial(archive.read, file) for name, file in files.items()}


Extra = Mapping[str, str]


def artefacts(path: Path | None) -> dict[str, Extra]:
    """Name of an image → its artefacts, "yes" or "no" by TAGS and together in the column ARTEFACTS, and what further
    columns say; empty without a table.

    The table is separated by semicolons; `label` and `label_string` are passed over (see `diagnoses`). Raises
    InputError when columns are missing, or a tag is not 0 or 1.
    """
    if path is None:
        return {}
    found = {}
    for number, row in _labels(path, TAGS):
        values = {name: value for name, value in row.items() if name and name not in ("image", "label", DIAGNOSIS)}
        for tag in TAGS:
            if values[tag] not in ("0", "1"):
                raise InputError(f"{path}, line {number}: {tag} is {values[tag]!r}; it must be 0 or 1")
            values[tag] = ("no", "yes")[int(values[tag])]
        values[ARTEFACTS] = ";".join(tag for tag in TAGS if values[tag] == "yes") or "none"
        found[PurePosixPath(row["image"]).stem] = values
    return found


def diagnoses(path: Path) -> dict[str, str]:
    """Name of an image → benign or malignant, as the table of artefacts says. Raises InputError when it has no such
    column, or another word in it."""
    found = {}
    for number, row in _labels(path, (DIAGNOSIS,)):
        if row[DIAGNOSIS] not in ("benign", "malignant"):
            raise InputError(f"{path}, line {number}: {DIAGNOSIS} is {row[DIAGNOSIS]!r}, not benign or malignant")
        found[PurePosixPath(row["image"]).stem] = row[DIAGNOSIS]
    return found


def _labels(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Line and cells of each image of the table of artefacts, which has these columns."""
    with readable(path):
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), delimiter=";"))
    missing = sorted({"image", *columns} - set(rows[0] if rows else ()))
    if missing:
        raise InputError(f"{path}: no column {missing[0]!r}; {ARTEFACT_LABELS} has image, {', '.join(columns)}")
    return list(enumerate(rows, 2))


def check_labelled(path: Path | None, known: Mapping[str, Extra], images: Collection[str]) -> None:
    """Raises InputError when there is a table of artefacts and it names none of the images."""
    if known and not known.keys() & set(images):
        raise InputError(
            f"{path}: names none of the {len(images)} photographs, it begins with {next(iter(known))}, they with "
            f"{min(images)}; it is of the training photographs of ISIC 2018 task 1: set artefact_labels to null"
        )


def extra_of(name: str, known: Mapping[str, Extra]) -> dict[str, str]:
    """The columns of `artefacts` for one image, empty texts where the table has no such image."""
    columns = next(iter(known.values()), {})
    return {column: known.get(name, {}).get(column, "") for column in columns}


def named(raw: Sequence[Path]) -> dict[str, Path]:
    """Raw files by name."""
    return {Path(path).name: Path(path) for path in raw}


def check_known(archive: Path, images: Collection[str], rows: Collection[str], tables: str) -> None:
    """Raises InputError when photographs and rows of a table do not name the same images."""
    for missing, words in (
        (set(images) - set(rows), f"no row in {tables}"),
        (set(rows) - set(images), "no photograph"),
    ):
        if missing:
            raise InputError(
                f"{archive}: {len(missing)} images have {words}, the first is {min(missing)}; get the files again"
            )

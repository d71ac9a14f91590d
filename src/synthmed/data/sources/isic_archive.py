"""Melanomas in situ and invasive ones of the ISIC archive, as its own program leaves them in folders.

The small set of seed 003 (632 invasive, 683 in situ) is not public; these stand in for it. Its program cannot be asked
for two diagnoses at once without a query language, so there is a folder for each:

    isic image download --search 'diagnosis_3:"Melanoma in situ"' FOLDER/in_situ
    isic image download --search 'diagnosis_3:"Melanoma Invasive"' FOLDER/invasive

Each then holds photographs and `metadata.csv`.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.sources.packed_folder import pack
from synthmed.data.sources.packed_folder import read as read
from synthmed.data.sources.user_folder import UserFolder
from synthmed.data.sources.user_table import read_table

logger = logging.getLogger(__name__)

LICENCE = "of each image its own: CC0, CC BY or CC BY-NC (column copyright_license)"
SHARING = "ask"
CITATION = "The ISIC Archive, isic-archive.com, and the contributors that the column attribution names"
PROVIDERS = {"file": ("synthmed.data.sources.isic_archive",)}
OPTIONS = {"file": "synthmed.data.sources.isic_archive:Options"}

TABLE = "metadata.csv"
IN_SITU = "Melanoma in situ"
_THICKNESS = "mel_thick_mm"
_KEPT = ("age_approx", "sex", "anatom_site_general", "attribution", "copyright_license", _THICKNESS)
"""Columns of the tables that the image set has, too; empty where a table lacks one."""
_WHO = ("patient_id", "lesion_id")
"""Columns that say which images belong together, the first that an image has."""


@dataclass(frozen=True)
class Options:
    """Where the downloads lie."""

    path: Annotated[
        str, Meta(description=f"Folder with a sub-folder for each download, photographs and {TABLE} in it.")
    ]


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """One archive, packed from the folder."""
    return ["folder.zip"]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Pack all downloads; the label of an image is its `diagnosis_3`.

    Raises InputError when there is no table, a photograph is missing or stands in two downloads, there is one diagnosis
    only, and when a melanoma in situ has a thickness, which none can have.
    """
    found = UserFolder(parse(Options, options, "options").path)
    tables = [name for name in found.files if Path(name).name == TABLE]
    if not tables:
        raise InputError(f"{found.path}: no {TABLE} in any sub-folder (setting options.path)")
    rows = [row for name in tables for row in _rows(found, name)]
    labels, images = Counter(row["label"] for row in rows), Counter(Path(row["file"]).name for row in rows)
    if twice := sorted(name for name, count in images.items() if count > 1):
        raise InputError(
            f"{found.path}: {len(twice)} images are in several downloads, the first is {twice[0]}; keep one"
        )
    if len(labels) < 2:
        raise InputError(f"{found.path}: only one diagnosis ({', '.join(labels)}); download another one beside it")
    pack(found, rows, raw[0])
    logger.info(
        "%s: packed %s; of %d nobody says the patient or the lesion",
        *(found.path, ", ".join(f"{count} {label}" for label, count in labels.items())),
        sum(not row["patient"] for row in rows),
    )


def _rows(found: UserFolder, table: str) -> list[dict[str, str]]:
    """A row of the index for each image of one table."""
    path, rows = found.path / table, []
    for number, cells in read_table(path, ("isic_id", "diagnosis_3")):
        where, label = f"{path}, line {number}", cells["diagnosis_3"]
        if not label:
            raise InputError(f"{where}: no diagnosis_3; download by it, or take the line out")
        if label == IN_SITU and _millimetres(cells.get(_THICKNESS, ""), where) > 0:
            raise InputError(
                f"{where}: {cells['isic_id']} is in situ, but {cells[_THICKNESS]} mm thick; one of the two is wrong: "
                "take the line out"
            )
        rows.append(
            {
                **{column: cells.get(column, "") for column in _KEPT},
                "file": found.find(str(Path(table).parent / f"{cells['isic_id']}.jpg"), where),
                "label": label,
                "patient": next((cells[column] for column in _WHO if cells.get(column)), ""),
                "mask": "",
                "split": "",
                "source": "isic_archive",
            }
        )
    return rows


def _millimetres(cell: str, where: str) -> float:
    """A thickness, 0 where none is given."""
    try:
        return float(cell or 0)
    except ValueError as error:
        raise InputError(f"{where}: {_THICKNESS} is {cell!r}, no number") from error

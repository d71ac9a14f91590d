"""CT volumes of your own: folders with one DICOM series each, NIfTI or NRRD files, with masks as NIfTI or NRRD.

Raw file: one archive `volumes.zip` (stored) with files/… and index.json, which names the files of every volume.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import dump_json, nfc, printable, readable, stored_zip
from synthmed.core.settings import parse
from synthmed.data.archives import Archive, DamagedMember, Limits
from synthmed.data.patients import settled, tell_crowds, tell_missing
from synthmed.data.sources.raw_volume import ENDINGS, LABEL, Alignment, File, MaskFile, RawVolume, natural
from synthmed.data.sources.user_folder import UserFolder, as_named, is_dicom
from synthmed.data.sources.user_table import filled, part, placeholders, read_table

logger = logging.getLogger(__name__)

LICENCE = "your own data: their terms are yours to know"
SHARING = "ask"
CITATION = "none"
PROVIDERS = {"folder": ("synthmed.data.sources.ct_folder",)}
OPTIONS = {"folder": "synthmed.data.sources.ct_folder:CtFolderSettings"}

ARCHIVE, INDEX = "volumes.zip", "index.json"
_LIMITS = Limits(total_bytes=600 * 2**30, member_bytes=8 * 2**30, ratio=1000.0)


@dataclass(frozen=True)
class MaskColumn:
    """Files that mark organs."""

    file: Annotated[
        str, Meta(description="Column with the NIfTI or NRRD, or a pattern of columns such as {id}_heart.nii.gz.")
    ]
    organs: Annotated[
        dict[str, tuple[int, ...]],
        Meta(min_length=1, description="Organ -> its values in the file; [] for every value but 0."),
    ]


@dataclass(frozen=True)
class VolumeTable:
    """How a CSV lists the volumes, one row each."""

    name: Annotated[str, Meta(description="The CSV file, relative to `path`.")]
    volume: Annotated[
        str, Meta(description="Column or pattern of the NIfTI or NRRD, or of the folder with the one DICOM series.")
    ]
    patient: Annotated[
        str | None, Meta(description="Column with the patient; null: the tag PatientID, and other volumes one each.")
    ]
    masks: Annotated[tuple[MaskColumn, ...], Meta(description="Which files mark which organs; [] for none.")]
    split: Annotated[str | None, Meta(description="Column with train, validation or test; null: none.")]


@dataclass(frozen=True)
class CtFolderSettings:
    """A folder of CT volumes and the table that lists them."""

    path: Annotated[str, Meta(description="Your folder, absolute or relative to where snakemake is started.")]
    name: Annotated[str, Meta(description="What the column `source` of the manifests says.")]
    csv: VolumeTable
    alignment: Annotated[
        Alignment,
        Meta(
            description="affine: masks are laid on volumes by what the headers say of axes and positions; index: by "
            "axes (x, y, z), z against the natural order of the volume's file names, or by those of a volume of one "
            "file."
        ),
    ]


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """One archive, packed from the folder."""
    return [ARCHIVE]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Pack the folder. Raises InputError on a missing folder, table, column or file, and on a volume twice."""
    settings = parse(CtFolderSettings, options, "options")
    folder = UserFolder(settings.path)
    volumes = _volumes(folder, settings)
    members = sorted(_members(volumes))
    index = {"source": settings.name, "alignment": settings.alignment, "volumes": volumes}
    with stored_zip(raw[0]) as add:
        add(INDEX, dump_json(index, sort_keys=False).encode())
        for name in members:
            add(f"files/{name}", folder.read(name))
    logger.info("%s: packed %d volumes, %d files", printable(folder.path), len(volumes), len(members))


def _volumes(folder: UserFolder, settings: CtFolderSettings) -> list[dict]:
    table, path = settings.csv, folder.table(settings.csv.name)
    for ours in table.masks:
        for organ, values in ours.organs.items():
            if 0 in values:
                raise InputError(f"setting options.csv.masks: the value 0 of {organ!r} is the background; leave it out")
    patterns = [table.volume, *(mask.file for mask in table.masks)]
    wanted = [table.patient, table.split, *(name for pattern in patterns for name in placeholders(pattern))]
    found, lines, others = [], {}, set()
    for line, cells in read_table(path, wanted):
        where = f"{path}, line {line}"
        name = as_named(filled(table.volume, cells))
        if name in lines:
            raise InputError(f"{where}: {name!r} stands in line {lines[name]} already; one line a volume")
        lines[name] = line
        files, beside = _files(folder, name, where)
        others |= beside
        masks = [
            {
                "file": _file(folder, text, where),
                "organs": {organ: list(values) for organ, values in mask.organs.items()},
            }
            for mask in table.masks
            if (text := filled(mask.file, cells))
        ]
        found.append(
            {
                "file": name,
                "patient": cells[nfc(table.patient)] if table.patient else "",
                "split": part(cells, table.split, where),
                "files": files,
                "masks": masks,
            }
        )
    _tell_left_out(folder, path, found, others)
    patients = settled([one["patient"] for one in found], str(path))
    for one, patient in zip(found, patients, strict=True):
        one["patient"] = patient
    if table.patient is not None:
        tell_missing(patients, str(path), "of a series the tag PatientID counts, any other volume is its own patient")
        tell_crowds(patients, [LABEL] * len(patients), str(path))
    return found


def _members(volumes: Sequence[Mapping]) -> set[str]:
    """Names of the files of all volumes and of their masks."""
    return {name for one in volumes for name in (*one["files"], *(mask["file"] for mask in one["masks"]))}


def _tell_left_out(folder: UserFolder, table: Path, volumes: Sequence[Mapping], others: set[str]) -> None:
    """Say which files of the folder belong to no volume. others: those in folders of series that are no DICOM."""
    used = _members(volumes)
    if left := sorted(others - used):
        logger.warning(
            "%s: %d files in folders of series are no DICOM and are left out, e.g. %s",
            *(table, len(left), printable(left[0])),
        )
    known = used | others
    rest = {name: path for name, path in folder.files.items() if name not in known}
    found = [name for name in rest if name.lower().endswith(ENDINGS)]
    series = {str(PurePosixPath(name).parent) for name, path in rest.items() if is_dicom(name, path)}
    folder.tell_unlisted(table, used, [*found, *series], "volumes or masks")


def _files(folder: UserFolder, name: str, where: str) -> tuple[list[str], set[str]]:
    """The one file of a volume, or the DICOM files of its folder in natural order; and the other files of the folder.

    Files of old scanners have neither ending nor letters that say DICOM: a folder without any that has is taken whole.
    """
    inside = folder.below(name)
    if not inside:
        with readable(where):
            if name and (folder.path / name).is_dir():
                raise InputError(f"{where}: the folder {name!r} is empty")
        return [_file(folder, name, where)], set()
    series = [folder.check_name(file) for file in inside if is_dicom(file, folder.files[file])]
    series = series or [folder.check_name(file) for file in inside]
    return sorted(series, key=natural), set(inside) - set(series)


def _file(folder: UserFolder, text: str, where: str) -> str:
    file = folder.check_name(folder.find(text, where))
    if not file.lower().endswith(ENDINGS):
        raise InputError(f"{where}: {file!r} is no {', '.join(ENDINGS)}; a DICOM series is named by its folder")
    return file


@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawVolume]]:
    """All volumes of the packed folder, in the order of the table; the archive is open inside the `with` block."""
    with Archive(raw[0], _LIMITS) as archive:
        try:
            index = json.loads(archive.read(INDEX))
        except (KeyError, DamagedMember, ValueError) as error:
            raise InputError(f"{raw[0]}: no {INDEX} inside that can be read; run the step fetch again") from error

        def file(name: str) -> File:
            return File(name, partial(archive.read, f"files/{name}"))

        yield [
            RawVolume(
                file=f"{archive.path.name}:{one['file']}",
                name=one["file"],
                label=LABEL,
                patient=one["patient"],
                split=one["split"],
                source=index["source"],
                files=tuple(map(file, one["files"])),
                masks=tuple(
                    MaskFile(file(mask["file"]), {name: tuple(values) for name, values in mask["organs"].items()})
                    for mask in one["masks"]
                ),
                alignment=index["alignment"],
            )
            for one in index["volumes"]
        ]

"""VinDr-CXR: 15,000 chest films as DICOM, each read by three of seventeen radiologists (Nguyen et al. 2022).

From the Kaggle competition vinbigdata-chest-xray-abnormalities-detection: train/<image_id>.dicom and train.csv
(image_id, class_name, class_id, rad_id, x_min, y_min, x_max, y_max), one row for every box that a reader drew, "No
finding" for a reader who saw none. There is no patient number and no manufacturer: every film counts as a patient.

Raw files: the archive as it is published, and the settings of the labels, because a reader knows raw files only.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import link_or_copy, read_json, user_path, write_json
from synthmed.core.settings import parse
from synthmed.data import kaggle
from synthmed.data.archives import Archive, DamagedMember, Limits
from synthmed.data.boxes import Box
from synthmed.data.published import placed_archive
from synthmed.data.sources.finding_labels import (
    NORMAL,
    FindingNames,
    check_all_mapped,
    check_all_occur,
    check_classes,
    check_names,
    checked_box,
    columns,
    label,
    tally,
)
from synthmed.data.sources.raw_image import RawImage
from synthmed.data.sources.user_table import rows_of

logger = logging.getLogger(__name__)

LICENCE = "the competition's rules: non-commercial research; accept them at Kaggle before you download"
SHARING = "forbidden"
CITATION = "Nguyen HQ et al., VinDr-CXR, Scientific Data 9:429, 2022"
PROVIDERS = {"kaggle": (), "file": ()}
OPTIONS = {
    "kaggle": "synthmed.data.sources.vindr_cxr:KaggleOptions",
    "file": "synthmed.data.sources.vindr_cxr:FileOptions",
}

COMPETITION = "vinbigdata-chest-xray-abnormalities-detection"
TABLE = "train.csv"
TABLE_COLUMNS = ("image_id", "class_name", "class_id", "rad_id", "x_min", "y_min", "x_max", "y_max")
CLASSES = (
    *("No finding", "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "ILD"),
    *("Infiltration", "Lung Opacity", "Nodule/Mass", "Other lesion", "Pleural effusion", "Pleural thickening"),
    *("Pneumothorax", "Pulmonary fibrosis"),
)
"""Every class_name of the table."""
READERS = 3
"""Readers of each film."""

_LIMITS = Limits(total_bytes=600 * 2**30, member_bytes=4 * 2**30, ratio=200.0)
"""The archive has about 200 GB."""


@dataclass(frozen=True)
class LabelSettings:
    """How the readings of three radiologists become labels."""

    min_readers: Annotated[
        int,
        Meta(
            ge=1,
            le=READERS,
            description="Readers, of three, who must name a finding for the film to have it, and find nothing for "
            "it to be normal; films on which they agree neither way are left out.",
        ),
    ]
    finding_names: FindingNames
    merge_overlap: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1,
                description="Boxes of one finding by several readers become their mean where their intersection over "
                "union (0 to 1) is at least this much; null keeps the boxes of all agreeing readers.",
            ),
        ]
        | None
    )

    def __post_init__(self) -> None:
        check_names(self.finding_names)
        check_all_mapped(self.finding_names, CLASSES, "VinDr-CXR")
        check_all_occur(self.finding_names, CLASSES, "VinDr-CXR")


@dataclass(frozen=True)
class KaggleOptions:
    """A download by Kaggle's client."""

    folder: Annotated[
        str, Meta(description="Where the download (about 200 GB) is kept and continued after a break; it must exist.")
    ]
    labels: Annotated[LabelSettings, Meta(description="From readings to labels.")]


@dataclass(frozen=True)
class FileOptions:
    """The archive of the competition, placed by hand."""

    path: Annotated[str, Meta(description="The archive that you placed.")]
    labels: Annotated[LabelSettings, Meta(description="From readings to labels.")]


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """The published archive, and the settings of the labels."""
    return [f"{COMPETITION}.zip", "label_settings.json"]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Get the archive from Kaggle or from where you placed it, and check films and labels.

    The archive is not copied where a second name for the same file (hard link) is possible.
    """
    if provider == "kaggle":
        settings = parse(KaggleOptions, options, "options")
        placed = kaggle.download_competition(COMPETITION, user_path(settings.folder))
    else:
        settings = parse(FileOptions, options, "options")
        page = f"https://www.kaggle.com/competitions/{COMPETITION}/data"
        placed = placed_archive(settings.path, "path", f"{COMPETITION}.zip from {page} after accepting the rules")
    with Archive(placed, _LIMITS) as archive:
        films = _films(archive, settings.labels)
    findings = [sorted(film.findings) for film in films if film.findings is not None]
    logger.info("%s: %d films (%s)", placed.name, len(findings), tally(findings))
    left_out = len(films) - len(findings)
    if left_out:
        logger.warning(
            "%s: %d films left out: fewer than %d readers agree on a finding of the study or on none",
            *(placed.name, left_out, settings.labels.min_readers),
        )
    logger.warning(
        "%s: VinDr-CXR has NO patient numbers: every film counts as a patient of its own, so films of one person may "
        "come into different parts of the split; and it has no manufacturer, so no film can be excluded by it",
        placed.name,
    )
    link_or_copy(placed, raw[0])
    write_json(raw[1], asdict(settings.labels))


# ------------------------------------------------------------------------------------------------------------ labels
@dataclass(frozen=True)
class _Film:
    """image: image_id; member: of the archive; findings: None when the readers agree on nothing that is studied."""

    image: str
    member: str
    findings: frozenset[str] | None
    boxes: tuple[Box, ...]


Readings = dict[str, dict[str, list[Box]]]
"""Reader -> class_name -> boxes, of one film."""


def _films(archive: Archive, settings: LabelSettings) -> list[_Film]:
    """All films of train.csv by name. Raises InputError when table and films do not fit, or a class is empty."""
    members, table = _members(archive)
    where = f"{archive.path}:{table}"
    readings = _readings(archive, table, where)
    check_all_mapped(
        settings.finding_names, {name for film in readings.values() for said in film.values() for name in said}, where
    )
    unknown = sorted(set(readings) - set(members))
    if unknown:
        raise InputError(
            f"{where}: {len(unknown)} films have rows but no file train/<image_id>.dicom, the first is {unknown[0]!r}; "
            "the archive is incomplete: get it again, or take these rows out"
        )
    without = sorted(set(members) - set(readings))
    if without:
        raise InputError(
            f"{archive.path}: {len(without)} films have no row in {table}, the first is {members[without[0]]!r}"
        )
    films = []
    for image, film in sorted(readings.items()):
        findings = agreed(film, settings)
        boxes = () if not findings else _boxes(film, findings, settings)
        films.append(_Film(image, members[image], findings, boxes))
    check_classes([sorted(film.findings) for film in films if film.findings is not None], settings.finding_names, where)
    return films


def _members(archive: Archive) -> tuple[dict[str, str], str]:
    """image_id -> member of the training films, and the member that is the table."""
    tables = [name for name in archive.names if PurePosixPath(name).name == TABLE]
    if len(tables) != 1:
        raise InputError(f"{archive.path}: {len(tables)} files {TABLE} inside; this is not {COMPETITION}.zip")
    folder = PurePosixPath(tables[0]).parent / "train"
    paths = [PurePosixPath(name) for name in archive.names]
    films = {path.stem: str(path) for path in paths if path.parent == folder and path.suffix.lower() == ".dicom"}
    if not films:
        raise InputError(f"{archive.path}: no train/*.dicom inside; this is not {COMPETITION}.zip")
    return films, tables[0]


def _readings(archive: Archive, table: str, where: str) -> dict[str, Readings]:
    try:
        text = archive.read(table).decode("utf-8-sig")
    except (DamagedMember, UnicodeDecodeError) as error:
        raise InputError(f"{where}: {error}; get the archive again") from error
    films: dict[str, Readings] = defaultdict(dict)
    for line, row in rows_of(text, where, TABLE_COLUMNS):
        boxes = films[row["image_id"]].setdefault(row["rad_id"], {}).setdefault(row["class_name"], [])
        texts = [row[column] for column in TABLE_COLUMNS[4:]]
        if any(texts):
            boxes.append(checked_box(row["class_name"], texts, f"{where}, line {line}"))
    for image, film in films.items():
        if len(film) > READERS:
            raise InputError(f"{where}: film {image!r} has {len(film)} readers ({sorted(film)}), not {READERS} at most")
    return films


def agreed(film: Readings, settings: LabelSettings) -> frozenset[str] | None:
    """The findings that at least min_readers readers name; empty when as many find nothing; None when neither holds.

    A reader finds nothing when all that they name is normal. A film is not normal when as many readers name something
    that the study leaves alone. With min_readers 1 a finding of one reader counts, whatever the others say.
    """
    votes: dict[str | None, int] = defaultdict(int)
    for said in film.values():
        names = {settings.finding_names[name] for name in said}
        for name in {NORMAL} if names == {NORMAL} else names - {NORMAL}:
            votes[name] += 1
    enough = {name for name, count in votes.items() if count >= settings.min_readers}
    findings = frozenset(enough - {NORMAL, None})
    return findings if findings or (NORMAL in enough and None not in enough) else None


def _boxes(film: Readings, findings: frozenset[str], settings: LabelSettings) -> tuple[Box, ...]:
    boxes = []
    for finding in sorted(findings):
        by_reader = [
            [
                Box(finding, *box[1:])
                for name, drawn in said.items()
                if settings.finding_names[name] == finding
                for box in drawn
            ]
            for _reader, said in sorted(film.items())
        ]
        drawn = [box for one in by_reader for box in one]
        boxes += drawn if settings.merge_overlap is None else merged(drawn, settings.merge_overlap)
    return tuple(boxes)


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, 0 … 1."""
    width = min(first.right, second.right) - max(first.left, second.left)
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box.right - box.left) * (box.bottom - box.top) for box in (first, second)]
    return width * height / (sum(areas) - width * height)


def merged(boxes: Sequence[Box], least: float) -> list[Box]:
    """Boxes of one finding, those that overlap by at least `least` with the mean of a group so far taken together."""
    groups: list[list[Box]] = []
    means: list[Box] = []
    for box in boxes:
        near = [number for number, mean in enumerate(means) if overlap(mean, box) >= least]
        if not near:
            groups.append([box])
            means.append(box)
            continue
        best = max(near, key=lambda number: overlap(means[number], box))
        groups[best].append(box)
        sides = zip(*(one[1:] for one in groups[best]), strict=True)
        means[best] = Box(box.finding, *(sum(side) / len(groups[best]) for side in sides))
    return means


# ----------------------------------------------------------------------------------------------------------- reading
@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """All films that the readers agree on, by image_id; the archive is open inside the `with` block.

    Labels: normal, abnormal. Extra columns: findings, device (unknown), boxes. Every film is its own patient.
    """
    settings = parse(LabelSettings, read_json(raw[1]), str(raw[1]))
    with Archive(raw[0], _LIMITS) as archive:
        yield [
            RawImage(
                file=f"{archive.path.name}:{film.member}",
                name=film.image,
                label=label(film.findings),
                patient=film.image,
                split="",
                source="vindr_cxr",
                load=partial(archive.read, film.member),
                masks=(),
                extra=columns(film.findings, "", film.boxes),
                patient_known=False,
            )
            for film in _films(archive, settings)
            if film.findings is not None
        ]

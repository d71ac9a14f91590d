"""SIIM-ISIC 2020: 33,126 dermoscopic photographs of 2,056 patients, benign or malignant (Rotemberg 2021).

With them, where wanted, the external malignant images of Kaggle's nroman/melanoma-external-malignant-256, of which
nobody names the patient: each counts as its own. Of a pair of duplicates the second is left out.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import user_path
from synthmed.core.settings import parse
from synthmed.data.archives import Archive
from synthmed.data.published import copy_placed
from synthmed.data.sources import isic
from synthmed.data.sources.raw_image import RawImage
from synthmed.data.sources.user_table import Rows

logger = logging.getLogger(__name__)

LICENCE = "CC BY-NC 4.0"
SHARING = "allowed"
CITATION = "Rotemberg V et al., A patient-centric dataset of images and metadata, Scientific Data 8:34, 2021"
PROVIDERS = {"phantom": ("synthmed.data.phantoms.isic",), "download": (), "file": ()}
OPTIONS = {
    "phantom": "synthmed.data.phantoms.isic:DuplicatedPhantoms",
    "download": "synthmed.data.sources.siim_isic_2020:Options",
    "file": "synthmed.data.sources.siim_isic_2020:FileOptions",
}

FILES = (
    isic.Published("2020", "ISIC_2020_Training_JPEG.zip", {"photographs": 33_126}),
    isic.Published("2020", "ISIC_2020_Training_GroundTruth_v2.csv", {"rows": 33_126}),
    isic.Published("2020", "ISIC_2020_Training_Duplicates.csv", {"rows": 425}),
)
EXTERNAL = "melanoma-external-malignant-256.zip"
_EXTERNAL_URL = "https://www.kaggle.com/datasets/nroman/melanoma-external-malignant-256"
_EXTERNAL_HOLDS = {"photographs": 37_648, "tables": 1}
COLUMNS = {
    "diagnosis": "diagnosis",
    "sex": "sex",
    "age": "age_approx",
    "site": "anatom_site_general_challenge",
}
"""Extra column → column of the tables."""


@dataclass(frozen=True)
class Options(isic.Options):
    """Which files."""

    external: Annotated[
        str | None,
        Meta(
            description=f"Kaggle's archive of external malignant images, {_EXTERNAL_URL}, placed by hand; null: none."
        ),
    ]


@dataclass(frozen=True)
class FileOptions(Options, isic.FileOptions):
    """Which files, as they were published."""


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """The three files; the external archive and the table of artefacts where there are such."""
    further = isic.further_files(settings, {EXTERNAL: "external", isic.ARTEFACT_LABELS: "artefact_labels"})
    return [*(file.name for file in FILES), *further]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Make the files: procedural phantoms, the published ones (23 GB), or copies of files that you placed."""
    if provider == "phantom":
        from synthmed.data.phantoms.isic import DuplicatedPhantoms, write_2020

        write_2020(parse(DuplicatedPhantoms, options, "options"), *raw)
        return
    chosen = parse(Options if provider == "download" else FileOptions, options, "options")
    if chosen.external is not None:
        placed = user_path(chosen.external)
        copy_placed(
            placed, isic.named(raw)[EXTERNAL], url=_EXTERNAL_URL, holds=isic.contents, published=_EXTERNAL_HOLDS
        )
    isic.get_published(FILES, raw, chosen)


@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """All images but second duplicates, then the external ones that are not among them; archives are open inside.

    Labels: benign, malignant. Extra columns: those of COLUMNS, and of the table of artefacts where there is one. Raises
    InputError when photographs and tables do not fit.
    """
    files = isic.named(raw)
    images, truth, duplicates = (files[file.name] for file in FILES)
    known = isic.artefacts(files.get(isic.ARTEFACT_LABELS))
    again = {row["image_name_2"] for _, row in isic.table(duplicates, ("image_name_1", "image_name_2"))}
    wanted = ("image_name", "patient_id", "benign_malignant", *COLUMNS.values())
    with ExitStack() as stack:
        archive = stack.enter_context(Archive(images))
        rows = isic.table(truth, wanted)
        isic.check_known(images, isic.members(archive, ".jpg"), {row["image_name"] for _, row in rows}, truth.name)
        if strangers := sorted(again - {row["image_name"] for _, row in rows}):
            raise InputError(f"{duplicates}: {strangers[0]} is no image of {truth.name}; get both files again")
        found = _images("isic2020", archive, rows, again, known)
        logger.info("%s: %d of %d images left out as duplicates", images.name, len(again), len(rows))
        if EXTERNAL in files:
            outside = stack.enter_context(Archive(files[EXTERNAL]))
            found += _images(
                "external", outside, isic.table_inside(outside, wanted), again | {one.name for one in found}, known
            )
        isic.check_labelled(files.get(isic.ARTEFACT_LABELS), known, [image.name for image in found])
        yield found


def _images(
    source: str, archive: Archive, rows: Rows, without: set[str], known: Mapping[str, isic.Extra]
) -> list[RawImage]:
    files = isic.members(archive, ".jpg")
    read = isic.loads(archive, files)
    chosen = [row for _, row in rows if row["image_name"] not in without]
    if missing := [row["image_name"] for row in chosen if row["image_name"] not in files]:
        raise InputError(
            f"{archive.path}: {len(missing)} images have no photograph, the first is {missing[0]}; get it again"
        )
    return [
        RawImage(
            file=f"{archive.path.name}:{files[row['image_name']]}",
            name=row["image_name"],
            label=row["benign_malignant"],
            patient=row["patient_id"] or row["image_name"],
            split="",
            source=source,
            load=read[row["image_name"]],
            masks=(),
            extra={name: row[column] for name, column in COLUMNS.items()} | isic.extra_of(row["image_name"], known),
            patient_known=bool(row["patient_id"]),
        )
        for row in chosen
    ]

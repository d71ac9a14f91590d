"""The training photographs of ISIC 2018 task 1 whose artefacts isic_bias.csv names (Bissoto 2020): benign or malignant.

What a tagger learns from where nobody has labelled the experiment's own photographs. Label and artefacts are those of
that table alone. Task 3 cannot take the place of task 1: its photographs are ISIC_0024306 to ISIC_0034320, and the
table ends with ISIC_0016072.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.settings import parse
from synthmed.data.archives import Archive
from synthmed.data.sources import isic, isic2018_task1
from synthmed.data.sources.raw_image import RawImage

logger = logging.getLogger(__name__)

LICENCE = "CC BY-NC 4.0; see the licence inside the archive; that of isic_bias.csv was not seen"
SHARING = "ask"
CITATION = (
    f"{isic2018_task1.CITATION}; Bissoto A, Valle E, Avila S, Debiasing skin lesion datasets and models? Not so fast, "
    "CVPR Workshops, 2020"
)
PROVIDERS = {"download": (), "file": ()}
OPTIONS = {
    "download": "synthmed.data.sources.isic2018_tagged:Options",
    "file": "synthmed.data.sources.isic2018_tagged:FileOptions",
}


@dataclass(frozen=True)
class Options(isic.Options):
    """The table beside the photographs."""

    artefact_labels: Annotated[
        str,
        Meta(description="The file isic_bias.csv of github.com/alceubissoto/debiasing-skin, placed by hand."),
    ]


@dataclass(frozen=True)
class FileOptions(Options, isic.FileOptions):
    """The archive, as it was published, and the table."""


def _photographs() -> isic.Published:
    return isic2018_task1.PARTS["train"][0]


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """The archive of photographs, under its published name, and the table."""
    return [_photographs().name, isic.ARTEFACT_LABELS]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Make the two files: the published archive (10.5 GB) or a copy of it, and a copy of the table."""
    chosen = parse(Options if provider == "download" else FileOptions, options, "options")
    isic.get_published([_photographs()], raw, chosen)


@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """The photographs that the table names; the archive is open inside the `with` block.

    Labels: benign, malignant. Patient: the image, because nobody says whose it is. Extra columns: those of the table.
    Raises InputError when the table names none of the photographs, or another word than these two.
    """
    files = isic.named(raw)
    photographs, table = files[_photographs().name], files[isic.ARTEFACT_LABELS]
    known, labels = isic.artefacts(table), isic.diagnoses(table)
    with Archive(photographs) as archive:
        names = isic.members(archive, ".jpg")
        isic.check_labelled(table, known, names)
        found = {name: file for name, file in names.items() if name in known}
        logger.info("%s: %d of %d photographs are in %s", photographs, len(found), len(names), table.name)
        yield [
            RawImage(
                file=f"{photographs.name}:{found[name]}",
                name=name,
                label=labels[name],
                patient=name,
                split="",
                source="isic2018_train",
                load=load,
                masks=(),
                extra=isic.extra_of(name, known),
                patient_known=False,
            )
            for name, load in isic.loads(archive, found).items()
        ]

"""ISIC 2018 task 3 (HAM10000): 10,015 dermoscopic photographs of seven kinds of lesions (Tschandl 2018).

MEL melanoma, NV naevus, BCC basal cell carcinoma, AKIEC actinic keratosis, BKL benign keratosis, DF dermatofibroma,
VASC vascular lesion. Some lesions were photographed several times: the lesion counts as the patient, so that it is in
one part only (which patient has which lesions is not published). The lesions of
the 1,512 official test images are not published, and whether their truth is was not checked: both are read where they
were placed by hand.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.archives import Archive
from synthmed.data.sources import isic
from synthmed.data.sources.raw_image import RawImage

logger = logging.getLogger(__name__)

LICENCE = "CC BY-NC 4.0; see the licence inside the archives"
SHARING = "allowed"
CITATION = "Tschandl P et al., The HAM10000 dataset, Scientific Data 5:180161, 2018"
PROVIDERS = {"phantom": ("synthmed.data.phantoms.isic",), "download": (), "file": ()}
OPTIONS = {
    "phantom": "synthmed.data.phantoms.isic:Task3Phantoms",
    "download": "synthmed.data.sources.isic:Options",
    "file": "synthmed.data.sources.isic2018_task3:FileOptions",
}

KINDS = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
FILES = (
    isic.Published("2018", "ISIC2018_Task3_Training_Input.zip", {"photographs": 10_015}),
    isic.Published("2018", "ISIC2018_Task3_Training_GroundTruth.zip", {"tables": 1}),
    isic.Published("2018", "ISIC2018_Task3_Training_LesionGroupings.csv", {"rows": 10_015}),
)
TEST_FILES = (
    isic.Published("2018", "ISIC2018_Task3_Test_Input.zip", {"photographs": 1_512}),
    isic.Published("2018", "ISIC2018_Task3_Test_GroundTruth.zip", {"tables": 1}),
)


@dataclass(frozen=True)
class FileOptions(isic.FileOptions):
    """Which files, as they were published."""

    official_test: Annotated[
        bool, Meta(description="Whether the official test images and their truth lie in the folder, too.")
    ]


def _files(settings: Mapping[str, object]) -> tuple[isic.Published, ...]:
    official = settings.get("provider") == "phantom" or (settings.get("options") or {}).get("official_test")
    return FILES + TEST_FILES if official else FILES


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """The files, under their published names; the table of artefacts where there is one."""
    further = isic.further_files(settings, {isic.ARTEFACT_LABELS: "artefact_labels"})
    return [*(file.name for file in _files(settings)), *further]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Make the files: procedural phantoms, the published ones (2.6 GB), or copies of files that you placed."""
    if provider == "phantom":
        from synthmed.data.phantoms.isic import Task3Phantoms, write_task3

        images, truth, groupings, *official, labels = raw
        parts = {"train": (images, truth), "test": tuple(official)}
        write_task3(parse(Task3Phantoms, options, "options"), parts, groupings, labels)
        return
    chosen = parse(isic.Options if provider == "download" else FileOptions, options, "options")
    isic.get_published(_files({"provider": provider, "options": options}), raw, chosen)


@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """All images; the archives are open inside the `with` block.

    Labels: KINDS. Patient: the lesion, of official test images the image. Part: train and test where there are official
    test images, else none. Extra columns: those of the table of artefacts, where there is one. Raises InputError when a
    photograph has no label or several, or no lesion, or tables name other photographs (that of artefacts: none of
    these).
    """
    files = isic.named(raw)
    images, truth, groupings = (files[file.name] for file in FILES)
    official = [files[file.name] for file in TEST_FILES if file.name in files]
    known = isic.artefacts(files.get(isic.ARTEFACT_LABELS))
    lesions = {row["image"]: row["lesion_id"] for _, row in isic.table(groupings, ("image", "lesion_id"))}
    with ExitStack() as stack:
        archive = stack.enter_context(Archive(images))
        isic.check_known(images, isic.members(archive, ".jpg"), lesions, groupings.name)
        found = _images(archive, truth, lesions, known)
        test = _images(stack.enter_context(Archive(official[0])), official[1], None, known) if official else []
        isic.check_labelled(files.get(isic.ARTEFACT_LABELS), known, [image.name for image in found + test])
        yield [replace(image, split="train") for image in found] + test if test else found


def _images(
    archive: Archive, truth: Path, lesions: Mapping[str, str] | None, known: Mapping[str, isic.Extra]
) -> list[RawImage]:
    """The photographs of an archive; lesions: by name, None of the official test."""
    files, kinds = isic.members(archive, ".jpg"), _kinds(truth)
    isic.check_known(archive.path, files, kinds, truth.name)
    return [
        RawImage(
            file=f"{archive.path.name}:{files[name]}",
            name=name,
            label=kinds[name],
            patient=name if lesions is None else lesions[name],
            split="test" if lesions is None else "",
            source="isic2018_task3_test" if lesions is None else "isic2018_task3",
            load=load,
            masks=(),
            extra=isic.extra_of(name, known),
            patient_known=lesions is not None,
        )
        for name, load in isic.loads(archive, files).items()
    ]


def _kinds(truth: Path) -> dict[str, str]:
    """Name of an image → its kind, from the one-hot table in the archive."""
    with Archive(truth) as archive:
        rows = isic.table_inside(archive, ("image", *KINDS))
    found = {}
    for line, row in rows:
        marked = [kind for kind in KINDS if row[kind] in ("1.0", "1")]
        if len(marked) != 1:
            raise InputError(f"{truth}, line {line}: {row['image']} has {len(marked)} kinds, where one is expected")
        found[row["image"]] = marked[0]
    return found

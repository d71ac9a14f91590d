"""ISIC 2018 task 3 (HAM10000): 10,015 dermoscopic photographs of seven kinds of lesions (Tschandl 2018).

MEL melanoma, NV naevus, BCC basal cell carcinoma, AKIEC actinic keratosis, BKL benign keratosis, DF dermatofibroma,
VASC vascular lesion. Some lesions were photographed several times: the lesion counts as the patient, so that it is in
one part only (which patient has which lesions is not published).
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

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
    "phantom": "synthmed.data.phantoms.dermoscopy:DermoscopySettings",
    "download": "synthmed.data.sources.isic:Options",
    "file": "synthmed.data.sources.isic:FileOptions",
}

KINDS = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
FILES = (
    isic.Published("2018", "ISIC2018_Task3_Training_Input.zip", {"photographs": 10_015}),
    isic.Published("2018", "ISIC2018_Task3_Training_GroundTruth.zip", {"tables": 1}),
    isic.Published("2018", "ISIC2018_Task3_Training_LesionGroupings.csv", {"rows": 10_015}),
)


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """The three files, under their published names; the table of artefacts where there is one."""
    return [*(file.name for file in FILES), *isic.further_files(settings, {isic.ARTEFACT_LABELS: "artefact_labels"})]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Make the files: procedural phantoms, the published ones (2.6 GB), or copies of files that you placed."""
    if provider == "phantom":
        from synthmed.data.phantoms.dermoscopy import DermoscopySettings
        from synthmed.data.phantoms.isic import write_task3

        write_task3(parse(DermoscopySettings, options, "options"), *raw)
        return
    chosen = parse(isic.Options if provider == "download" else isic.FileOptions, options, "options")
    isic.get_published(FILES, raw, chosen)


@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """All images; the archive is open inside the `with` block.

    Labels: KINDS. Patient: the lesion. Extra columns: those of the table of artefacts, where there is one. Raises
    InputError when a photograph has no label or several, or no lesion, or tables name other photographs.
    """
    files = isic.named(raw)
    images, truth, groupings = (files[file.name] for file in FILES)
    known = isic.artefacts(files.get(isic.ARTEFACT_LABELS))
    kinds = _kinds(truth)
    lesions = {row["image"]: row["lesion_id"] for _, row in isic.table(groupings, ("image", "lesion_id"))}
    with Archive(images) as archive:
        found = isic.members(archive, ".jpg")
        isic.check_known(images, found, kinds, truth.name)
        isic.check_known(images, found, lesions, groupings.name)
        yield [
            RawImage(
                file=f"{images.name}:{found[name]}",
                name=name,
                label=kinds[name],
                patient=lesions[name],
                split="",
                source="isic2018_task3",
                load=load,
                masks=(),
                extra=isic.extra_of(name, known),
            )
            for name, load in isic.loads(archive, found).items()
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

"""ISIC 2018 task 1: dermoscopic photographs with the outline of the lesion, 2,594 + 100 + 1,000 (Codella 2019).

The training archive is the training part. Official test images are the 100 of the validation archive (the test of
seed 001), the 1,000 of the test archive, or both; the column `source` says which. Neither patient nor diagnosis is
published: every image counts as a patient of its own.
"""

import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.archives import Archive, DamagedMember
from synthmed.data.sources import isic
from synthmed.data.sources.raw_image import RawImage

logger = logging.getLogger(__name__)

LICENCE = "CC BY-NC 4.0; see the licence inside the archives"
SHARING = "allowed"
CITATION = "Codella N et al., Skin lesion analysis toward melanoma detection 2018, arXiv:1902.03368, 2019"
PROVIDERS = {"phantom": ("synthmed.data.phantoms.isic",), "download": (), "file": ()}
OPTIONS = {
    "phantom": "synthmed.data.phantoms.isic:Task1Phantoms",
    "download": "synthmed.data.sources.isic2018_task1:Options",
    "file": "synthmed.data.sources.isic2018_task1:FileOptions",
}


def _archives(part: str, images: int, sizes: tuple, hashes: tuple[str, str]) -> tuple[isic.Published, isic.Published]:
    """Photographs and masks of a part. images: how many; sizes, hashes: of the two files."""
    names = f"ISIC2018_Task1-2_{part}_Input.zip", f"ISIC2018_Task1_{part}_GroundTruth.zip"
    holds = {"photographs": images}, {"masks": images}
    return tuple(isic.Published("2018", *values) for values in zip(names, holds, sizes, hashes, strict=True))


PARTS = {
    "train": _archives(
        *("Training", 2594, (None, 27_402_895)),
        (
            "80f98572347a2d7a376227fa9eb2e4f7459d317cb619865b8b9910c81446675f",
            "99f8b2bb3c4d6af483362010715f7e7d5d122d9f6c02cac0e0d15bef77c7604c",
        ),
    ),
    "validation": _archives(
        *("Validation", 100, (239_231_159, 759_706)),
        (
            "0ea920fcfe512d12a6e620b50b50233c059f67b10146e1479c82be58ff15a797",
            "f6911e9c0a64e6d687dd3ca466ca927dd5e82145cb2163b7a1e5b37d7a716285",
        ),
    ),
    "test": _archives(
        *("Test", 1000, (None, None)),
        (
            "e59ae1f69f4ed16f09db2cb1d76c2a828487b63d28f6ab85997f5616869b127d",
            "2e8f6edce454a5bdee52485e39f92bd6eddf357e81f39018d05512175238ef82",
        ),
    ),
}
"""Official part → its two archives."""


@dataclass(frozen=True)
class Options(isic.Options):
    """Which files."""

    tests: Annotated[
        tuple[Literal["validation", "test"], ...],
        Meta(description="Official archives whose images are test images: the 100 of validation, the 1,000 of test."),
    ]


@dataclass(frozen=True)
class FileOptions(Options, isic.FileOptions):
    """Which files, as they were published."""


def _parts(settings: Mapping[str, object]) -> list[str]:
    tests = PARTS if settings.get("provider") == "phantom" else (settings.get("options") or {}).get("tests", ())
    return [part for part in PARTS if part == "train" or part in tests]


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """The archives of the parts, under their published names; the table of artefacts where there is one."""
    files = [file.name for part in _parts(settings) for file in PARTS[part]]
    return [*files, *isic.further_files(settings, {isic.ARTEFACT_LABELS: "artefact_labels"})]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Make the archives: procedural phantoms, the published files (10.5 GB, and 2 GB with the test), or copies."""
    files = [file for part in _parts({"provider": provider, "options": options}) for file in PARTS[part]]
    if provider == "phantom":
        from synthmed.data.phantoms.isic import Task1Phantoms, write_task1

        pairs = dict(zip(PARTS, zip(raw[0:6:2], raw[1:6:2], strict=True), strict=True))
        write_task1(parse(Task1Phantoms, options, "options"), pairs, raw[-1])
        return
    chosen = parse(Options if provider == "download" else FileOptions, options, "options")
    isic.get_published(files, raw, chosen)


@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """All images of all parts; the archives are open inside the `with` block.

    Label: lesion. Part: train or test. Extra columns: those of the table of artefacts, where there is one. Raises
    InputError on a mask without its photograph, and when that table names none of the images; a photograph without mask
    is left to the preparation.
    """
    files = isic.named(raw)
    known = isic.artefacts(files.get(isic.ARTEFACT_LABELS))
    with ExitStack() as stack:
        found = []
        for part, (images, masks) in PARTS.items():
            if images.name in files:
                opened = [stack.enter_context(Archive(files[file.name])) for file in (images, masks)]
                found += _images(part, *opened, known)
        if not found:
            raise InputError(f"{raw[0]}: no photograph in any archive; get them again")
        isic.check_labelled(files.get(isic.ARTEFACT_LABELS), known, [image.name for image in found])
        yield found


def _outline(load: Callable[[], bytes]) -> bytes:
    """A mask. Every photograph shows a lesion, so that a mask without one is damaged: raises DamagedMember."""
    content = load()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            black = picture.convert("L").getextrema()[1] == 0
    except (OSError, SyntaxError, ValueError):
        return content  # no picture: the preparation says so
    if black:
        raise DamagedMember("all of it is black, and every photograph shows a lesion")
    return content


def _images(part: str, photographs: Archive, masks: Archive, known: Mapping[str, isic.Extra]) -> list[RawImage]:
    files, outlines = isic.members(photographs, ".jpg"), isic.members(masks, ".png", "_segmentation")
    alone = sorted(set(outlines) - set(files))
    if alone:
        raise InputError(
            f"{masks.path}: {len(alone)} masks without a photograph, the first is {outlines[alone[0]]}; the two "
            "archives are of different sets: get both again"
        )
    read_mask = isic.loads(masks, outlines)
    return [
        RawImage(
            file=f"{photographs.path.name}:{files[name]}",
            name=name,
            label="lesion",
            patient=name,
            split="train" if part == "train" else "test",
            source=f"isic2018_{part}",
            load=load,
            masks=(partial(_outline, read_mask[name]),) if name in outlines else (),
            extra=isic.extra_of(name, known),
            patient_known=False,
        )
        for name, load in isic.loads(photographs, files).items()
    ]

"""Data Science Bowl 2018 (BBBC038): 670 microscope images of many laboratories, every nucleus in a file of its own.

Caicedo et al. 2019, Nature Methods 16:1247. `<id>/images/<id>.png`, `<id>/masks/*.png`. Fluorescence, grey and stained
images are mixed and nothing names them, so that the label says which by colour and brightness; nor is there slide or
patient: every image counts as a patient of its own.
"""

import io
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.archives import Archive, DamagedMember
from synthmed.data.published import fetch_archive
from synthmed.data.sources.raw_image import RawImage
from synthmed.data.sources.user_folder import is_hidden

logger = logging.getLogger(__name__)

LICENCE = "CC0 1.0"
SHARING = "allowed"
CITATION = "Caicedo JC et al., Nucleus segmentation across imaging experiments, Nat Methods 16:1247, 2019 (BBBC038v1)"
PROVIDERS = {"phantom": ("synthmed.data.phantoms.nuclei_archives",), "download": (), "file": ()}
OPTIONS = {
    "phantom": "synthmed.data.phantoms.histology:PhantomSettings",
    "download": "synthmed.data.published:NoOptions",
    "file": "synthmed.data.published:PlacedArchive",
}

ARCHIVE = "stage1_train.zip"
URL = "https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip"
CONTENTS = {"images": 670}
COLOURFUL = 10
"""Mean difference between the strongest and the weakest of red, green and blue (of 255) above which an image is
stained; grey images have 0."""


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """The published archive."""
    return [ARCHIVE]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Make the archive: procedural phantoms, the published file, or a copy of one that you placed."""
    if provider == "phantom":
        from synthmed.data.phantoms.histology import PhantomSettings
        from synthmed.data.phantoms.nuclei_archives import write_dsb2018

        write_dsb2018(parse(PhantomSettings, options, "options"), raw[0])
    else:
        fetch_archive(provider, options, raw[0], url=URL, holds=_holds, published=CONTENTS)


def _holds(path: Path) -> dict[str, int]:
    with Archive(path) as archive:
        return {"images": len(_members(archive))}


def _members(archive: Archive) -> dict[str, tuple[list[str], list[str]]]:
    """Image and mask members by the id in their path. Raises InputError unless each id has one image."""
    found: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for name in archive.names:
        path = PurePosixPath(name)
        if len(path.parts) > 2 and path.suffix.lower() == ".png" and not is_hidden(name):
            folder, identity = path.parts[-2], path.parts[-3]
            if folder in ("images", "masks"):
                found[identity][folder == "masks"].append(name)
    if not any(images for images, _ in found.values()):
        raise InputError(f"{archive.path}: no <id>/images/*.png inside; this is not {ARCHIVE}")
    for identity, (images, masks) in sorted(found.items()):
        if len(images) != 1:
            raise InputError(
                f"{archive.path}: {identity} has {len(masks)} masks and {len(images)} images, where one is expected; "
                "repair or remove this folder"
            )
    return found


@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """All images by id; the archive is open inside the `with` block.

    Labels: stained (coloured), grey (bright), fluorescence (dark), unreadable. Every image is its own patient.
    """
    with Archive(raw[0]) as archive:
        images = [
            RawImage(
                file=f"{archive.path.name}:{name}",
                name=identity,
                label=_stain(archive, name),
                patient=identity,
                split="",
                source="dsb2018",
                load=partial(archive.read, name),
                masks=tuple(partial(archive.read, mask) for mask in masks),
                extra={},
                patient_known=False,
            )
            for identity, ((name,), masks) in sorted(_members(archive).items())
        ]
        logger.info("%s: %s", archive.path.name, dict(Counter(image.label for image in images)))
        logger.warning(
            "%s: BBBC038 names neither slides nor patients: every image counts as a patient of its own, so that fields "
            "of one slide may come into different parts of the split",
            archive.path.name,
        )
        yield images


def _stain(archive: Archive, name: str) -> str:
    """What an image looks like: stained, grey, fluorescence; unreadable where it cannot be decoded."""
    try:
        with Image.open(io.BytesIO(archive.read(name))) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (DamagedMember, OSError, SyntaxError, ValueError):
        return "unreadable"
    if np.ptp(pixels, axis=2).mean() > COLOURFUL:
        return "stained"
    return "grey" if pixels.mean() > 127.5 else "fluorescence"

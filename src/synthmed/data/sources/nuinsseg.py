"""NuInsSeg: 665 patches of haematoxylin and eosin, 512 pixels, from 31 organs of people and mice, with every nucleus.

Mahbod et al. 2024, Scientific Data 11:295. `<organ>/tissue images/*.png`, `<organ>/label masks modify/*.tif`: label
maps of 16 bits, a value for each nucleus. Neither slide nor patient is named: an organ counts as one patient, so that
no organ is in two parts of a split.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.archives import Archive
from synthmed.data.published import fetch_archive
from synthmed.data.sources.raw_image import RawImage
from synthmed.data.sources.user_folder import is_hidden

logger = logging.getLogger(__name__)

LICENCE = "CC BY 4.0"
SHARING = "allowed"
CITATION = "Mahbod A et al., NuInsSeg: a dataset for nuclei instance segmentation, Sci Data 11:295, 2024"
PROVIDERS = {"phantom": ("synthmed.data.phantoms.nuclei_archives",), "download": (), "file": ()}
OPTIONS = {
    "phantom": "synthmed.data.phantoms.histology:PhantomSettings",
    "download": "synthmed.data.published:NoOptions",
    "file": "synthmed.data.published:PlacedArchive",
}

ARCHIVE = "NuInsSeg.zip"
URL = "https://zenodo.org/records/10518968/files/NuInsSeg.zip"
CONTENTS = {"images": 665}
IMAGES, MASKS = "tissue images", "label masks modify"


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """The published archive."""
    return [ARCHIVE]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Make the archive: procedural phantoms, the published file (1.6 GB), or a copy of one that you placed."""
    if provider == "phantom":
        from synthmed.data.phantoms.histology import PhantomSettings
        from synthmed.data.phantoms.nuclei_archives import write_nuinsseg

        write_nuinsseg(parse(PhantomSettings, options, "options"), raw[0])
    else:
        fetch_archive(provider, options, raw[0], url=URL, holds=_holds, published=CONTENTS)


def _holds(path: Path) -> dict[str, int]:
    with Archive(path) as archive:
        return {"images": len(_members(archive, IMAGES, ".png"))}


def _members(archive: Archive, folder: str, ending: str) -> dict[tuple[str, str], str]:
    """Members of `<organ>/<folder>` at whatever depth, by organ and name without ending. Raises InputError where there
    is none."""
    paths = [PurePosixPath(name) for name in archive.names if not is_hidden(name)]
    paths = [path for path in paths if path.suffix.lower() == ending and path.parts[-2:-1] == (folder,)]
    if not paths:
        raise InputError(f"{archive.path}: no <organ>/{folder}/*{ending} inside; this is not {ARCHIVE}")
    return {(path.parts[-3] if len(path.parts) > 2 else "", path.stem): str(path) for path in paths}


@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """All images by organ and name; the archive is open inside the `with` block.

    Label: nuclei. Patient, and extra column: organ. Raises InputError on a mask without its image.
    """
    with Archive(raw[0]) as archive:
        images, masks = _members(archive, IMAGES, ".png"), _members(archive, MASKS, ".tif")
        alone = sorted(set(masks) - set(images))
        if alone:
            raise InputError(
                f"{archive.path}: {len(alone)} masks without an image, the first is {masks[alone[0]]!r}; put the image "
                f"beside it in {IMAGES!r}, or take the mask out"
            )
        organs = sorted({organ for organ, _ in images})
        logger.warning(
            "%s: NuInsSeg names neither slides nor patients: each of %d organs counts as one patient, e.g. %s",
            *(archive.path.name, len(organs), organs[0]),
        )
        yield [
            RawImage(
                file=f"{archive.path.name}:{name}",
                name=re.sub(r"[^A-Za-z0-9_.\-]", "_", stem),
                label="nuclei",
                patient=organ,
                split="",
                source="nuinsseg",
                load=partial(archive.read, name),
                masks=(partial(archive.read, masks[organ, stem]),) if (organ, stem) in masks else (),
                extra={"organ": organ},
            )
            for (organ, stem), name in sorted(images.items())
        ]

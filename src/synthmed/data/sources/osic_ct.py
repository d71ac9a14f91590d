"""Chest CT with lung, heart and trachea: the OSIC competition's DICOM series and Konya's masks for them.

Series: Kaggle competition osic-pulmonary-fibrosis-progression, train/<patient>/<n>.dcm. Masks: Kaggle data set
sandorkonya/ct-lung-heart-trachea-segmentation, nrrd_<organ>/…/<patient>_<organ>.nrrd. Some masks do not fit their
series and some patients have none: the preparation rejects and counts them.

Raw files: both archives as they are published, and the options that decide how they are read.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import link_or_copy, read_json, user_path, write_json
from synthmed.core.settings import parse
from synthmed.data import kaggle
from synthmed.data.archives import Archive, Limits
from synthmed.data.published import placed_archive
from synthmed.data.sources.raw_volume import LABEL, Alignment, File, MaskFile, RawVolume, natural

logger = logging.getLogger(__name__)

LICENCE = "series: the competition's rules (accept them at Kaggle); masks: as their page at Kaggle says"
SHARING = "forbidden"
CITATION = "OSIC Pulmonary Fibrosis Progression, Kaggle; Konya S, CT Lung & Heart & Trachea segmentation, Kaggle 2020"
PROVIDERS = {"phantom": ("synthmed.data.phantoms.osic_archives",), "kaggle": (), "file": ()}
OPTIONS = {
    "phantom": "synthmed.data.phantoms.thorax_ct:ThoraxSettings",
    "kaggle": "synthmed.data.sources.osic_ct:KaggleOptions",
    "file": "synthmed.data.sources.osic_ct:FileOptions",
}

COMPETITION = "osic-pulmonary-fibrosis-progression"
MASKS = "sandorkonya/ct-lung-heart-trachea-segmentation"
ORGANS = ("lung", "heart", "trachea")
_SERIES, _MARKED, _READING = f"{COMPETITION}.zip", f"{MASKS.partition('/')[2]}.zip", "reading.json"
_LIMITS = Limits(total_bytes=200 * 2**30, member_bytes=4 * 2**30, ratio=1000.0)
"""Masks of gigabytes pack to megabytes."""


@dataclass(frozen=True)
class Reading:
    """How the archives are read."""

    alignment: Annotated[
        Alignment,
        Meta(
            description="index: a mask's elements are laid on the series by axes (x, y, z), z against the natural "
            "order of file names, as users of the set do; affine: by what the headers of both say."
        ),
    ]


@dataclass(frozen=True)
class KaggleOptions:
    """A download by Kaggle's client."""

    folder: Annotated[
        str, Meta(description="Where the downloads (about 24 GB) are kept and continued after a break; it must exist.")
    ]
    reading: Reading


@dataclass(frozen=True)
class FileOptions:
    """Both archives, placed by hand."""

    series: Annotated[str, Meta(description=f"The archive of the competition, {_SERIES}.")]
    masks: Annotated[str, Meta(description=f"The archive of the masks, {_MARKED}.")]
    reading: Reading


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """Both published archives, and how they are read."""
    return [_SERIES, _MARKED, _READING]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Draw the phantoms, or get the archives from Kaggle or from where you placed them; and look what is in them."""
    if provider == "phantom":
        from synthmed.data.phantoms.osic_archives import write_archives
        from synthmed.data.phantoms.thorax_ct import ThoraxSettings

        write_archives(parse(ThoraxSettings, options, "options"), raw[0], raw[1])
        write_json(raw[2], {"alignment": "index"})
        return
    if provider == "kaggle":
        settings = parse(KaggleOptions, options, "options")
        folder = user_path(settings.folder)
        placed = kaggle.download_competition(COMPETITION, folder), kaggle.download_dataset(MASKS, folder)
    else:
        settings = parse(FileOptions, options, "options")
        series = f"{_SERIES} from https://www.kaggle.com/competitions/{COMPETITION}/data after accepting the rules"
        masks = f"{_MARKED} from https://www.kaggle.com/datasets/{MASKS}"
        placed = placed_archive(settings.series, "series", series), placed_archive(settings.masks, "masks", masks)
    with Archive(placed[0], _LIMITS) as series, Archive(placed[1], _LIMITS) as masks:
        slices, marked = _series(series), _masks(masks)
    logger.info(
        "%s: %d series of %d slices, %d of them with masks",
        *(placed[0].name, len(slices), sum(map(len, slices.values())), len(set(slices) & set(marked))),
    )
    for found, path in zip(placed, raw, strict=False):
        link_or_copy(found, path)
    write_json(raw[2], {"alignment": settings.reading.alignment})


def _series(archive: Archive) -> dict[str, list[str]]:
    """Patient → members of the series, in natural order of their names. Raises InputError when there is none."""
    found = defaultdict(list)
    for name in archive.names:
        path = PurePosixPath(name)
        if path.suffix == ".dcm" and path.parts[-3:-2] == ("train",):  # test/ holds patients of train/ again
            found[path.parts[-2]].append(name)
    if not found:
        raise InputError(f"{archive.path}: no train/<patient>/<n>.dcm inside; this is not {_SERIES}")
    return {patient: sorted(names, key=natural) for patient, names in sorted(found.items())}


def _masks(archive: Archive) -> dict[str, dict[str, str]]:
    """Patient → organ → member. Raises InputError on two masks of one organ, and when there is none."""
    found = defaultdict(dict)
    for name in archive.names:
        patient, _, organ = PurePosixPath(name).stem.rpartition("_")
        if not name.endswith(".nrrd") or organ not in ORGANS:
            continue
        if other := found[patient].get(organ):
            raise InputError(f"{archive.path}: two masks of the {organ} of one patient, {other!r} and {name!r}")
        found[patient][organ] = name
    if not found:
        raise InputError(f"{archive.path}: no nrrd_<organ>/…/<patient>_<organ>.nrrd inside; this is not {_MARKED}")
    return found


@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawVolume]]:
    """All series by patient, with what masks they have; the archives are open inside the `with` block."""
    reading = parse(Reading, read_json(raw[2]), str(raw[2]))
    with Archive(raw[0], _LIMITS) as series, Archive(raw[1], _LIMITS) as masks:
        marked = _masks(masks)
        yield [
            RawVolume(
                file=f"{series.path.name}:train/{patient}",
                name=patient,
                label=LABEL,
                patient=patient,
                split="",
                source="osic",
                files=tuple(File(name, partial(series.read, name)) for name in names),
                masks=tuple(
                    MaskFile(File(name, partial(masks.read, name)), {organ: ()})
                    for organ, name in marked.get(patient, {}).items()
                ),
                alignment=reading.alignment,
            )
            for patient, names in _series(series).items()
        ]

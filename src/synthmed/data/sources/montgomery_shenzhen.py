"""Montgomery County and Shenzhen Hospital chest X-rays, normal and tuberculosis.

Jaeger et al. 2014, QIMS 4(6):475: 138 X-rays from Maryland (80 normal, 58 abnormal) with lung masks, and 662 from
Shenzhen (326, 336). The last digit of a file name is the label: 0 normal, 1 abnormal. There are no patient numbers, one
file is one patient.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import user_path
from synthmed.core.settings import parse
from synthmed.data.archives import Archive, DamagedMember
from synthmed.data.published import NoOptions, copy_placed, download_published
from synthmed.data.sources.raw_image import RawImage

logger = logging.getLogger(__name__)

LICENCE = "free for research; attribute the U.S. National Library of Medicine and Shenzhen No. 3 People's Hospital"
SHARING = "ask"
CITATION = "Jaeger S et al., Two public chest X-ray datasets for computer-aided screening, QIMS 4(6):475, 2014"

PROVIDERS = {
    "phantom": ("synthmed.data.phantoms.montgomery_shenzhen",),
    "download": (),
    "file": (),
}
OPTIONS = {
    "phantom": "synthmed.data.phantoms.chest_xray:PhantomSettings",
    "download": "synthmed.data.published:NoOptions",
    "file": "synthmed.data.sources.montgomery_shenzhen:FileOptions",
}


@dataclass(frozen=True)
class Collection:
    """One of the two archives: how it is published, and how it lies inside. `size`, `sha256`: None where not known."""

    source: str
    archive: str
    url: str
    size: int | None
    sha256: str | None
    root: str
    counts: Mapping[str, int]


COLLECTIONS = (
    Collection(
        source="montgomery",
        archive="NLM-MontgomeryCXRSet.zip",
        url="https://openi.nlm.nih.gov/imgs/collections/NLM-MontgomeryCXRSet.zip",
        size=616_853_875,
        sha256="54601e952315d8f67383e9202a6e145997ade429f54f7e0af44b4e158714f424",
        root="MontgomerySet",
        counts={"normal": 80, "abnormal": 58},
    ),
    Collection(
        source="shenzhen",
        archive="ChinaSet_AllFiles.zip",
        url="https://openi.nlm.nih.gov/imgs/collections/ChinaSet_AllFiles.zip",
        size=None,
        sha256=None,
        root="ChinaSet_AllFiles",
        counts={"normal": 326, "abnormal": 336},
    ),
)

LABELS = {"0": "normal", "1": "abnormal"}


@dataclass(frozen=True)
class FileOptions:
    """The archives as they were published."""

    path: Annotated[str, Meta(description="Folder that holds the two archives under their published names.")]


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """The two archives, under their published names."""
    return [collection.archive for collection in COLLECTIONS]


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Make the two archives: procedural phantoms, the published files, or copies of files that you placed."""
    if provider == "phantom":
        from synthmed.data.phantoms.chest_xray import PhantomSettings
        from synthmed.data.phantoms.montgomery_shenzhen import write_archives

        write_archives(parse(PhantomSettings, options, "options"), *raw)
    elif provider == "download":
        parse(NoOptions, options, "options")
        for collection, path in zip(COLLECTIONS, raw, strict=True):
            download_published(
                *(collection.url, path),
                size=collection.size,
                sha256=collection.sha256,
                holds=partial(_counts, collection),
                published=collection.counts,
            )
    else:
        folder = user_path(parse(FileOptions, options, "options").path)
        for collection, path in zip(COLLECTIONS, raw, strict=True):
            counts = partial(_counts, collection)
            placed = folder / collection.archive
            copy_placed(placed, path, url=collection.url, holds=counts, published=collection.counts)


def _counts(collection: Collection, path: Path) -> dict[str, int]:
    with Archive(path) as archive:
        labels = [_label(name) for name in _images(collection, archive)]
    return {label: labels.count(label) for label in LABELS.values()}


# --------------------------------------------------------------------------------------------------------- reading
@contextmanager
def read(raw: Sequence[Path]) -> Iterator[list[RawImage]]:
    """All images of both archives; the archives are open inside the `with` block.

    Labels: normal, abnormal. Extra columns: sex ("F", "M" or ""), age (years or ""), finding (the reading's words).
    Raises InputError when an archive holds no image in its place.
    """
    with ExitStack() as stack:
        found = []
        for collection, path in zip(COLLECTIONS, raw, strict=True):
            found += _read(collection, stack.enter_context(Archive(path)))
        yield found


def _folder(name: str, collection: Collection, *parts: str) -> bool:
    """Whether the member lies directly in `root/parts`, at whatever depth the root itself lies."""
    folders = PurePosixPath(name).parts[:-1]
    return folders[-1 - len(parts) :] == (collection.root, *parts)


def _images(collection: Collection, archive: Archive) -> list[str]:
    names = [
        name
        for name in archive.names
        if _folder(name, collection, "CXR_png")
        and name.lower().endswith(".png")  # there are Thumbs.db and the like
        and not PurePosixPath(name).name.startswith(".")
    ]
    if not names:
        raise InputError(f"{archive.path}: no {collection.root}/CXR_png/*.png inside; this is not {collection.archive}")
    return names


def _label(name: str) -> str:
    digit = PurePosixPath(name).stem.rpartition("_")[2]
    # An unknown ending stays as it is: preparation then stops and names the file.
    return LABELS.get(digit, digit)


def _read(collection: Collection, archive: Archive) -> list[RawImage]:
    readings, masks = {}, {}
    for name in archive.names:
        stem = PurePosixPath(name).stem
        if _folder(name, collection, "ClinicalReadings") and name.lower().endswith(".txt"):
            readings[stem] = name
        elif any(_folder(name, collection, "ManualMask", side) for side in ("leftMask", "rightMask")):
            masks.setdefault(stem, []).append(name)
    found, without = [], []
    for name in _images(collection, archive):
        stem = PurePosixPath(name).stem
        reading = clinical_reading(archive, readings.get(stem))
        if not reading["sex"] or not reading["age"]:
            without.append(stem)
        found.append(
            RawImage(
                file=f"{archive.path.name}:{name}",
                name=stem,
                label=_label(name),
                patient=stem,
                split="",
                source=collection.source,
                load=partial(archive.read, name),
                masks=tuple(partial(archive.read, mask) for mask in masks.get(stem, ())),
                extra=reading,
            )
        )
    if without:
        logger.warning("%s: %d images without sex or age, the first is %s", archive.path.name, len(without), without[0])
    return found


_AGE = re.compile(r"(\d+)\s*(y|month|mo|week|day)", re.IGNORECASE)
_YEARS = {"y": 1.0, "month": 1 / 12, "mo": 1 / 12, "week": 7 / 365.25, "day": 1 / 365.25}


def clinical_reading(archive: Archive, name: str | None) -> dict[str, str]:
    """Sex, age and finding of a clinical-reading file; empty texts where it does not say or does not exist.

    Montgomery writes "Patient's Sex: F", "Patient's Age: 027Y" and the finding; Shenzhen "male 45yrs" (also "Female ,
    3 months") and the finding.
    """
    try:
        text = archive.read(name).decode("latin-1") if name else ""
    except DamagedMember as error:
        logger.warning("%s: %s", name, error)
        text = ""
    head, finding = [], []
    for line in (line.strip() for line in text.splitlines()):
        if line:
            is_head = re.match(r"patient'?s? |(fe)?male?\b", line, re.IGNORECASE)
            (head if is_head and not finding else finding).append(line)
    about = " ".join(head)
    # "femal" occurs; the first letter of the word decides.
    sex = re.search(r"sex:?\s*([fm])|\b([fm])e?m?ale?\b", about, re.IGNORECASE)
    age = _AGE.search(about)
    return {
        "sex": (sex.group(1) or sex.group(2)).upper() if sex else "",
        "age": f"{int(age.group(1)) * _YEARS[age.group(2).lower()]:.3g}" if age else "",
        "finding": " ".join(finding),
    }

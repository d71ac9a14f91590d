"""One raw volume as a source finds it, before anything is decoded."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from synthmed.data.sources.raw_image import Load

Alignment = Literal["affine", "index"]
"""How a mask is laid on its volume. affine: by what both files say about axes and positions in the body. index: by the
order of its elements: axes (x, y, z), z against the natural order of the volume's file names; of a volume of one file
the axes of that file."""

LABEL = "slices"
"""The one label of all volumes."""

ENDINGS = (".nii", ".nii.gz", ".nrrd")
"""Of names of files that hold a whole volume; those of other files are slices of a DICOM series."""


@dataclass(frozen=True)
class File:
    """A file of a volume. name: as its user knows it, its ending says the format."""

    name: str
    load: Load


@dataclass(frozen=True)
class MaskFile:
    """A file that marks organs: organ → its values in the file, () every value but 0."""

    file: File
    organs: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class RawVolume:
    """What is known about a volume without opening it.

    file: where it lies, for messages; name: name without ending, unique in the source; patient: whose slices never come
    apart in a split, "" where the tag PatientID says it; split: official part or ""; source: column `source`; files:
    slices of a DICOM series in natural order of their names, or one NIfTI or NRRD; masks: what marks organs in it.
    """

    file: str
    name: str
    label: str
    patient: str
    split: str
    source: str
    files: tuple[File, ...]
    masks: tuple[MaskFile, ...]
    alignment: Alignment


def natural(name: str) -> list:
    """Sorts 2.dcm before 10.dcm."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]

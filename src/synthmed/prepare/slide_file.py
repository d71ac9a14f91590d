"""Whole slides as pixels: any file that OpenSlide reads, by OpenSlide itself or by tiffslide, behind one interface.

Places are pixels of the finest level (level 0), as annotations have them.
"""

import errno
import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
from msgspec import Meta
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import refuse_failed_disk
from synthmed.prepare.rejected import Rejected

logger = logging.getLogger(__name__)

ReaderName = Annotated[
    Literal["openslide", "tiffslide"],
    Meta(description="Which library reads slides; tiffslide where it is installed, it gives the same pixels."),
]
_CENTIMETRE, _INCH = 1e4, 2.54e4


class Reader(Protocol):
    """An open slide of a library. read_region: see OpenSlide's; of several threads at once."""

    level_dimensions: Sequence[tuple[int, int]]
    level_downsamples: Sequence[float]
    properties: dict

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image: ...


@dataclass(frozen=True)
class Slide:
    """An open slide. mpp: micrometres of a pixel of level 0, across and down; path: its file."""

    reader: Reader
    mpp: tuple[float, float]
    path: Path

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of level 0, pixels."""
        width, height = self.reader.level_dimensions[0]
        return height, width

    def level_mpp(self, level: int) -> tuple[float, float]:
        """Micrometres of a pixel of a level, across and down."""
        (width, height), (w, h) = self.reader.level_dimensions[0], self.reader.level_dimensions[level]
        return self.mpp[0] * width / w, self.mpp[1] * height / h

    def level_for(self, mpp: float, tolerance: float) -> int:
        """The coarsest level whose pixels are no larger than `mpp` (but for the share `tolerance`); else level 0."""
        fine = [
            level
            for level in range(len(self.reader.level_dimensions))
            if max(self.level_mpp(level)) <= mpp * (1 + tolerance)
        ]
        return max(fine, key=lambda level: self.level_mpp(level)[0], default=0)

    def area(
        self,
        left: float,
        top: float,
        size: tuple[int, int],
        mpp: tuple[float, float],
        *,
        level: int,
        tolerance: float,
        resample: Image.Resampling,
    ) -> np.ndarray:
        """`size` (height, width) pixels of `mpp` micrometres (across, down), from (left, top) on: uint8 (H, W, 3).

        Read from `level`: as its pixels are, where they have this size but for the share `tolerance`, else resampled.
        What the slide does not show is white. Raises Rejected when the region cannot be read,
        InputError when the disk failed.
        """
        own, height, width = self.level_mpp(level), *size
        scale = mpp[0] / own[0], mpp[1] / own[1]
        column, row = left * self.mpp[0] / own[0], top * self.mpp[1] / own[1]
        if all(abs(one - 1) <= tolerance for one in scale):
            return self._read(level, round(column), round(row), height, width)
        right, bottom = column + width * scale[0], row + height * scale[1]
        first = math.floor(column), math.floor(row)
        pixels = self._read(level, *first, math.ceil(bottom) - first[1], math.ceil(right) - first[0])
        box = column - first[0], row - first[1], right - first[0], bottom - first[1]
        return np.asarray(Image.fromarray(pixels).resize((width, height), resample, box))

    def _read(self, level: int, column: int, row: int, height: int, width: int) -> np.ndarray:
        """Pixels of a level from its pixel (row, column) on."""
        (whole, high), (w, h) = self.reader.level_dimensions[0], self.reader.level_dimensions[level]
        location = round(column * whole / w), round(row * high / h)
        try:
            region = self.reader.read_region(location, level, (width, height))
        except Exception as error:  # of libraries for damaged files, each with errors of its own
            _refuse_failed_disk(error, self.path)
            raise Rejected(f"level {level} cannot be read at {location[0]}, {location[1]}: {error}") from error
        if region.mode != "RGBA":
            return np.asarray(region.convert("RGB"))
        if region.getchannel("A").getextrema()[0] == 255:
            return np.asarray(region.convert("RGB"))
        white = Image.new("RGBA", region.size, (255, 255, 255, 255))
        return np.asarray(Image.alpha_composite(white, region).convert("RGB"))


@contextmanager
def open_slide(path: Path, reader: ReaderName, mpp: float | None) -> Iterator[Slide]:
    """The slide in `path`, open inside the block. mpp: micrometres of a pixel where somebody states them, which then
    hold whatever the file says; None: as the file says.

    Raises Rejected when no reader knows the file, it is cut off, or nobody says how large its pixels are; InputError
    when the reader is not installed, or the disk failed.
    """
    opened = _opened(path, reader)
    try:
        found = (mpp, mpp) if mpp is not None else _stated(opened.properties, reader)
        if found is None:
            raise Rejected(
                "no size of its pixels inside (mpp); state it, in micrometres, in the column mpp of the table of slides"
            )
        yield Slide(opened, found, path)
    finally:
        opened.close()


def _opened(path: Path, reader: ReaderName) -> Reader:
    if reader == "tiffslide":
        try:
            from tiffslide import TiffSlide as library
        except ImportError as error:
            raise InputError(
                f"setting reader is tiffslide, which is not installed ({error}); pip install tiffslide imagecodecs, or "
                "set it to openslide"
            ) from error
    else:
        from openslide import OpenSlide as library
    try:
        return library(path)
    except Exception as error:  # each library has its own for what it does not know, and for cut files
        _refuse_failed_disk(error, path)
        raise Rejected(f"no slide that {reader} reads, or cut off: {error}") from error


def _refuse_failed_disk(error: Exception, path: Path) -> None:
    """See refuse_failed_disk. OpenSlide gives what the system says as text."""
    said = [number for number in (errno.EIO, errno.ESTALE) if os.strerror(number) in str(error)]
    refuse_failed_disk(OSError(said[0], str(error)) if said else error, path)


def _stated(properties: dict, reader: ReaderName) -> tuple[float, float] | None:
    """What the file says of the size of its pixels; also where only the tags of TIFF do."""
    sides = [properties.get(f"{reader}.mpp-{axis}") for axis in "xy"]
    if None in sides:
        unit = {"centimeter": _CENTIMETRE, "inch": _INCH}.get(properties.get("tiff.ResolutionUnit"))
        density = [float(properties.get(f"tiff.{axis}Resolution") or 0) for axis in "XY"]
        if unit is None or min(density) <= 0:
            return None
        sides = [unit / one for one in density]
    across, down = map(float, sides)
    return (across, down) if min(across, down) > 0 and math.isfinite(across * down) else None

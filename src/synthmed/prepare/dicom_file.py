"""One DICOM file: which of its tags are read, whether its picture can be trusted, and its stored values.

Only the tags listed here are read. Reasons for rejecting a file are words of this module, never texts of the file nor
of pydicom, whose messages quote tags.
"""

import zlib
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_partial
from pydicom.pixels import get_decoder
from pydicom.pixels.decoders.base import Decoder
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from synthmed.prepare import jpeg_extended
from synthmed.prepare.rejected import Rejected

jpeg_extended.register()

PIXEL_TAGS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
    *("FloatPixelData", "DoubleFloatPixelData", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
)
"""Tags that decide how the picture looks."""
MANIFEST_TAGS = (
    *("PatientAge", "PatientBirthDate", "StudyDate", "PatientSex", "ViewPosition"),
    *("Manufacturer", "BurnedInAnnotation", "PatientID"),
)
"""Tags that the manifest is made from. The dates give an age, PatientID a hash; neither is written."""
IDENTIFYING_TAGS = (
    *("PatientName", "OtherPatientNames", "OtherPatientIDs", "AccessionNumber", "StudyID", "InstitutionName"),
    *("InstitutionalDepartmentName", "StationName", "ReferringPhysicianName", "RequestingPhysician"),
    *("PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "OperatorsName"),
)
"""Read only to make sure that none of them stands in the one free text of the manifest."""
SERIES_TAGS = (
    *("Modality", "SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    "SliceThickness",
)
"""Tags that make a volume of slices. The UID tells series apart and is written nowhere."""
_READ = (*PIXEL_TAGS, *MANIFEST_TAGS, *IDENTIFYING_TAGS, *SERIES_TAGS)

MAX_PIXELS = 120_000_000
"""Larger pictures are rejected before anything is allocated. A film of 43 × 35 cm scanned at 50 µm has 60 million."""
MAX_INFLATED = 4 * MAX_PIXELS
"""A deflated file may unpack to as many bytes."""

_UNDEFINED = 0xFFFFFFFF  # length of an element that ends with a delimiter, as compressed pixel data do
_ENCODINGS = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}
_NEEDED = ("SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
_COLOUR = {"RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT"}
_COLOUR |= {"YBR_RCT", "HSV", "ARGB", "CMYK", "XYB"}


@dataclass(frozen=True)
class Film:
    """stored: pixel values as stored, (H, W), integers of the machine's byte order; tags: those read;
    transfer_syntax: its keyword (`JPEG2000Lossless`)."""

    stored: np.ndarray
    tags: Dataset
    transfer_syntax: str


def read_film(content: bytes) -> Film:
    """The one grey picture of a DICOM file, with the tags that are used. Raises Rejected with the reason.

    content: the whole file, with or without the preamble of Part 10. Pixel data of 8, 16 or 32 bits, signed or not,
    native, deflated, or compressed in any syntax that pydicom has a decoder for (JPEG, JPEG-LS, JPEG 2000, RLE).
    Refused: colour, several frames, bit masks, floating-point pixels, and whatever contradicts itself.
    """
    tags = _read(content)
    syntax = _transfer_syntax(tags)
    if "FloatPixelData" in tags or "DoubleFloatPixelData" in tags:
        raise Rejected("floating-point pixel data")
    if "PixelData" not in tags:
        # The group and element of Pixel Data stand somewhere, but what follows could not be read.
        cut = b"\xe0\x7f\x10\x00" in content or b"\x7f\xe0\x00\x10" in content
        raise Rejected("truncated: it ends inside its pixel data" if cut else "no pixel data")
    decoder = _decoder(syntax)
    _refuse_other_pictures(tags)
    _refuse_wrong_length(tags, syntax)
    try:
        stored, _ = decoder.as_array(tags, index=0, raw=True)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    # Four libraries decode, each with errors of its own; whatever they raise, this picture cannot be had. The one for
    # RLE panics with a BaseException that cannot travel between processes.
    except BaseException as error:
        raise Rejected(f"cannot be decoded: {syntax.keyword}") from error
    if stored.shape != (tags.Rows, tags.Columns):
        raise Rejected("cannot be decoded: its picture has another size than its tags say")
    return Film(stored.astype(stored.dtype.newbyteorder("="), copy=False), tags, syntax.keyword)


# -------------------------------------------------------------------------------------------------------------- tags
def text(tags: Dataset, keyword: str) -> str:
    """The value of a tag as text without spaces at its ends; "" when it is absent, empty, several or unreadable."""
    try:
        value = tags.get(keyword)
    except Exception:  # pydicom converts a value when it is first asked for, and many things can be wrong with it
        return ""
    return "" if value is None or not isinstance(value, str | int | float) else str(value).strip()


def integers(tags: Dataset, keyword: str) -> list[int]:
    """The values of a tag; empty when it is absent or empty. Raises Rejected when they are no whole numbers."""
    values = numbers(tags, keyword)
    if any(value != int(value) for value in values):
        raise Rejected(f"unreadable tag: {keyword}")
    return [int(value) for value in values]


def numbers(tags: Dataset, keyword: str) -> list[float]:
    """The values of a tag; empty when it is absent or empty. Raises Rejected when they are no finite numbers."""
    try:
        value = tags.get(keyword)
        if value is None or value == "":
            return []
        values = [float(item) for item in ([value] if isinstance(value, str | int | float) else value)]
    except Exception as error:
        raise Rejected(f"unreadable tag: {keyword}") from error
    if not np.isfinite(values).all():
        raise Rejected(f"unreadable tag: {keyword}")
    return values


def integer(tags: Dataset, keyword: str) -> int:
    """The one value of a tag. Raises Rejected when it is absent or no whole number."""
    values = integers(tags, keyword)
    if len(values) != 1:
        raise Rejected(f"unreadable tag: {keyword}" if values else f"missing tag: {keyword}")
    return values[0]


# ------------------------------------------------------------------------------------------------------------ reading
def _read(content: bytes) -> Dataset:
    if not content:
        raise Rejected("empty file")
    # Without preamble a file begins with its first group: 0002 or 0008, the latter in either byte order.
    if content[128:132] != b"DICM" and content[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
        raise Rejected("not DICOM")
    _refuse_bomb(content)
    try:
        return read_partial(
            BytesIO(content), _is_behind_the_picture, force=True, specific_tags=[Tag(keyword) for keyword in _READ]
        )
    except MemoryError:  # of this machine, not of the file
        raise
    except Exception as error:  # nearly any error can come out of arbitrary bytes
        raise Rejected("damaged: its data elements cannot be read") from error


def _is_behind_the_picture(tag: BaseTag, vr: str | None, length: int) -> bool:
    """Padding and whatever archives leave behind the last element of a file is not read: it may be anything."""
    return tag > Tag("PixelData")


def _refuse_bomb(content: bytes) -> None:
    """pydicom inflates a deflated file at once, whatever it unpacks to."""
    start = 132 if content[128:132] == b"DICM" else 0  # of the file meta; pydicom reads it without preamble, too
    meta = content[start : start + 2048]
    if meta[:2] != b"\x02\x00" or DeflatedExplicitVRLittleEndian.encode() not in meta:
        return
    if meta[:8] != b"\x02\x00\x00\x00UL\x04\x00":
        raise Rejected("damaged: deflated, and its file meta has no length")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    rest = content[start + 12 + int.from_bytes(meta[8:12], "little") :]
    total = 0
    try:
        while rest and not inflater.eof:
            total += len(inflater.decompress(rest, 1 << 20))
            rest = inflater.unconsumed_tail
            if total > MAX_INFLATED:
                raise Rejected(f"too large: it inflates to more than {MAX_INFLATED // 10**6} million bytes")
    except zlib.error as error:
        raise Rejected("damaged: it cannot be inflated") from error


def _transfer_syntax(tags: Dataset) -> UID:
    try:
        uid = UID(tags.file_meta.get("TransferSyntaxUID") or "")
    except Exception as error:
        raise Rejected("unreadable tag: TransferSyntaxUID") from error
    if not uid:
        # pydicom has recognised the encoding by the first tags; compressed data cannot be recognised that way.
        uid = _ENCODINGS[tags.original_encoding]
        if "PixelData" in tags and tags.get_item("PixelData").length == _UNDEFINED:
            raise Rejected("missing tag: TransferSyntaxUID of compressed pixel data")
        tags.file_meta.TransferSyntaxUID = uid
    if not uid.keyword or uid.is_private or not uid.is_transfer_syntax:
        raise Rejected("unknown transfer syntax")
    return uid


def _decoder(syntax: UID) -> Decoder:
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise Rejected(f"no decoder: {syntax.keyword}") from error
    if not decoder.is_available:
        raise Rejected(f"no decoder: {syntax.keyword}, its plugin is not installed")
    return decoder


# ---------------------------------------------------------------------------------------------------------- refusals
def _refuse_other_pictures(tags: Dataset) -> None:
    """Everything that is no single grey picture with all that is needed to show it."""
    photometric = text(tags, "PhotometricInterpretation")
    if not photometric:
        raise Rejected("missing tag: PhotometricInterpretation")
    if photometric in _COLOUR:
        raise Rejected(f"colour: {photometric}")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise Rejected("unknown photometric interpretation")
    samples, rows, columns, allocated, stored, signed = (integer(tags, keyword) for keyword in _NEEDED)
    if samples != 1:
        raise Rejected(f"colour: {samples} samples a pixel")
    frames = integers(tags, "NumberOfFrames")
    if frames and frames != [1]:
        raise Rejected(f"several frames: {frames[0]}" if frames[0] > 1 else "unreadable tag: NumberOfFrames")
    if rows < 1 or columns < 1:
        raise Rejected(f"no size: {columns}×{rows} pixels")
    if rows * columns > MAX_PIXELS:
        raise Rejected(f"too large: {columns}×{rows} pixels, at most {MAX_PIXELS // 10**6} million are read")
    if allocated not in (8, 16, 32):
        raise Rejected(f"wrong bits: {allocated} allocated; films have 8, 16 or 32")
    if not 1 <= stored <= allocated:
        raise Rejected(f"wrong bits: {stored} stored in {allocated} allocated")
    if integers(tags, "HighBit") not in ([], [stored - 1]):
        raise Rejected(f"wrong bits: the highest is {tags.HighBit}, of {stored} stored it is {stored - 1}")
    if signed not in (0, 1):
        raise Rejected("unreadable tag: PixelRepresentation")


def _refuse_wrong_length(tags: Dataset, syntax: UID) -> None:
    element = tags.get_item("PixelData")
    available = len(element.value or b"")
    compressed = element.length == _UNDEFINED
    if compressed != syntax.is_encapsulated:
        raise Rejected(
            f"wrong transfer syntax: {syntax.keyword}, but its pixel data are {'' if compressed else 'not '}compressed"
        )
    if compressed:
        _refuse_damaged_frame(tags, syntax)
        return
    if available < element.length:
        raise Rejected(f"truncated: {available} of {element.length} bytes of pixel data")
    row = tags.Columns * tags.BitsAllocated // 8
    needed = tags.Rows * row
    surplus = element.value[needed:]
    # Padding at the end is allowed (PS3.5 8.1.1, note). Another row, or a second frame, mean that the tags are wrong.
    padded = len(surplus) < row or (available < 2 * needed and len(set(surplus)) == 1)
    if available < needed or not padded:
        raise Rejected(f"wrong length: {available} bytes of pixel data, {needed} are needed")
    tags.PixelData = element.value[: needed + needed % 2]


def _refuse_damaged_frame(tags: Dataset, syntax: UID) -> None:
    """Decoders paint what is missing in one grey, and allocate what the compressed picture declares; so look first."""
    try:
        frame = get_frame(tags.PixelData, 0, number_of_frames=1)
    except Exception as error:
        raise Rejected("damaged: no frame in its compressed pixel data") from error
    if syntax == RLELossless:
        return  # it has neither an end marker nor a size of its own; pydicom compares the lengths
    size = _codestream_size(frame)
    if size is None:
        raise Rejected(f"damaged: its compressed pixel data are not {syntax.keyword}")
    if size != (tags.Columns, tags.Rows):
        raise Rejected(f"wrong size: {size[0]}×{size[1]} pixels compressed, its tags say {tags.Columns}×{tags.Rows}")
    # EOI of JPEG and JPEG-LS, EOC of JPEG 2000; anything may follow. A preview in the head has an end of its own, so it
    # is looked for behind the start of the data: SOS, SOD.
    start = max(frame.find(b"\xff\xda"), frame.find(b"\xff\x93"))
    if frame.find(b"\xff\xd9", start) < 0:
        raise Rejected("truncated: its compressed picture has no end")


def _codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height that a picture declares in JPEG, JPEG-LS (SOF) or JPEG 2000 (SIZ); None when it is neither."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)  # SOC, SIZ; a JP2 file puts boxes before them
    if start >= 0:
        right, bottom, left, top = (int.from_bytes(frame[at : at + 4], "big") for at in range(start + 8, start + 24, 4))
        return right - left, bottom - top
    at = 2
    while frame[:2] == b"\xff\xd8" and at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return int.from_bytes(frame[at + 7 : at + 9], "big"), int.from_bytes(frame[at + 5 : at + 7], "big")
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None

"""Reading one DICOM file: what is understood, and every way in which a file can be wrong, each with its reason."""

import io
import struct
import tracemalloc
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from made_up_dicom import RAMP, dataset, film, written
from PIL import Image
from pydicom.datadict import tag_for_keyword
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from synthmed.prepare import dicom_file
from synthmed.prepare.common import Rejected
from synthmed.prepare.dicom_file import read_film

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is wrong here on purpose

SMOOTH = np.add.outer(np.arange(64), np.arange(56)).astype(np.uint8)


def rejected(content):
    with pytest.raises(Rejected) as found:
        read_film(content)
    return str(found.value)


TAILS = (bytes(1), bytes(512), b"\xff" * 512, b"left by an archive\r\n" * 9, bytes(range(1, 200)))


# ----------------------------------------------------------------------------------------------------- what is read
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless]
)
def test_lossless_syntaxes_give_the_pixels_back(syntax):
    found = read_film(film(syntax=syntax))
    assert np.array_equal(found.stored, RAMP)
    assert found.transfer_syntax == syntax.keyword
    assert found.tags.BitsStored == 12


def test_baseline_jpeg_is_close():
    found = read_film(film(SMOOTH, syntax=JPEGBaseline8Bit))
    assert found.stored.dtype == np.uint8
    assert np.abs(found.stored.astype(int) - SMOOTH).max() <= 4


def test_big_endian():
    file = dataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    file.PixelData = RAMP.astype(">u2").tobytes()
    found = read_film(written(file)).stored
    assert found.dtype == np.dtype("=u2")
    assert np.array_equal(found, RAMP)


def test_deflated():
    file = dataset()
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = written(file)
    assert np.array_equal(read_film(content).stored, RAMP)
    assert np.array_equal(read_film(content[132:]).stored, RAMP)  # without preamble


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_without_preamble_and_file_meta(syntax):
    content = written(dataset(syntax=syntax), preamble=False)
    assert content[128:132] != b"DICM"
    found = read_film(content)
    assert np.array_equal(found.stored, RAMP)
    assert found.transfer_syntax == syntax.keyword


def test_signed_pixels_and_bits_above_the_stored_ones():
    signed = (RAMP.astype(np.int16) - 2048)[::-1].copy()
    assert np.array_equal(read_film(film(signed)).stored, signed)
    # Overlays of old machines lie in the four bits that no pixel uses; -2048 … 1790 has its sign in bit 11.
    with_overlay = (signed & 0x0FFF | 0x3000).astype(np.int16)
    assert np.array_equal(read_film(film(with_overlay)).stored, signed)
    assert np.array_equal(read_film(film(RAMP | np.uint16(0xA000))).stored, RAMP)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.int32])
def test_8_and_32_bits(dtype):
    pixels = (RAMP // 16).astype(dtype)
    assert np.array_equal(read_film(film(pixels)).stored, pixels)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_bytes_after_the_end_of_a_file_do_not_matter(syntax, tail):
    assert np.array_equal(read_film(film(syntax=syntax) + tail).stored, RAMP)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGBaseline8Bit])
def test_bytes_after_the_end_of_a_compressed_picture_do_not_matter(syntax, tail):
    file = dataset(SMOOTH, syntax=syntax)
    plain = read_film(written(file)).stored
    frame = next(generate_frames(file.PixelData, number_of_frames=1))
    file.PixelData = encapsulate([frame + tail])
    file["PixelData"].is_undefined_length = True
    assert np.array_equal(read_film(written(file)).stored, plain)


@pytest.mark.parametrize("padding", [bytes(2), bytes(512), b"\xff" * 90, b"any" * 20])
def test_padding_at_the_end_of_the_pixel_data_is_cut_off(padding):
    file = dataset()
    file.PixelData = file.PixelData + padding
    assert np.array_equal(read_film(written(file)).stored, RAMP)


def test_a_second_frame_or_another_row_is_no_padding():
    file = dataset()
    file.PixelData = file.PixelData + bytes(len(file.PixelData))
    assert rejected(written(file)) == "wrong length: 7680 bytes of pixel data, 3840 are needed"
    file = dataset(np.vstack([RAMP, RAMP[:1]]), Rows=48)
    assert rejected(written(file)) == "wrong length: 3920 bytes of pixel data, 3840 are needed"


def test_no_tag_beside_those_listed_is_read():
    tags = read_film(film(PatientComments="a comment", StudyDescription="of a study", PatientAge="045Y")).tags
    assert tags.PatientAge == "045Y"
    assert "PatientComments" not in tags
    assert "StudyDescription" not in tags


# -------------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"This is a text file that somebody named .dcm.\n" * 9, "not DICOM"),
        (b"<html>404</html>", "not DICOM"),
        (b"\x08\x00", "no pixel data"),
        (b"\x00" * 128 + b"DICM", "no pixel data"),
        (film(drop=["PixelData"]), "no pixel data"),
        (film(drop=["Rows"]), "missing tag: Rows"),
        (film(drop=["Columns"]), "missing tag: Columns"),
        (film(drop=["BitsStored"]), "missing tag: BitsStored"),
        (film(drop=["PixelRepresentation"]), "missing tag: PixelRepresentation"),
        (film(drop=["PhotometricInterpretation"]), "missing tag: PhotometricInterpretation"),
        (film(Rows=[48, 48]), "unreadable tag: Rows"),
        (film(Rows=0), "no size: 40×0 pixels"),
        (film(NumberOfFrames=2), "several frames: 2"),
        (film(NumberOfFrames=0), "unreadable tag: NumberOfFrames"),
        (film(PhotometricInterpretation="RGB", SamplesPerPixel=3), "colour: RGB"),
        (film(PhotometricInterpretation="PALETTE COLOR"), "colour: PALETTE COLOR"),
        (film(SamplesPerPixel=3), "colour: 3 samples a pixel"),
        (film(PhotometricInterpretation="DOE JANE"), "unknown photometric interpretation"),
        (film(bits=17), "wrong bits: 17 stored in 16 allocated"),
        (film(BitsStored=0), "wrong bits: 0 stored in 16 allocated"),
        (film(HighBit=15), "wrong bits: the highest is 15, of 12 stored it is 11"),
        (film(BitsAllocated=1, BitsStored=1), "wrong bits: 1 allocated; films have 8, 16 or 32"),
        (film(BitsAllocated=12), "wrong bits: 12 allocated; films have 8, 16 or 32"),
        (film(PixelRepresentation=7), "unreadable tag: PixelRepresentation"),
        (film(Rows=60_000, Columns=60_000), "too large: 60000×60000 pixels, at most 120 million are read"),
        (film(Rows=49), "wrong length: 3840 bytes of pixel data, 3920 are needed"),
        (film(Rows=47), "wrong length: 3840 bytes of pixel data, 3760 are needed"),
        (film()[:-1000], "truncated: 2840 of 3840 bytes of pixel data"),
        (film()[:-3900], "no pixel data"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_file_is_rejected_with_its_reason(content, reason):
    assert rejected(content) == reason


def test_floating_point_pixels():
    file = dataset(drop=["PixelData"])
    file.FloatPixelData = np.zeros((48, 40), np.float32).tobytes()
    assert rejected(written(file)) == "floating-point pixel data"


def test_transfer_syntaxes_that_are_unknown_or_have_no_decoder():
    known = ExplicitVRLittleEndian.encode()
    content = film()
    assert content.count(known) == 1
    assert rejected(content.replace(known, known[:-1] + b"7")) == "unknown transfer syntax"
    assert (
        rejected(content.replace(known, b"1.2.840.10008.1.1")[:2000]) == "unknown transfer syntax"
    )  # no syntax at all
    file = dataset(SMOOTH, syntax=JPEGBaseline8Bit)
    file.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # a film in the other sense of the word
    assert rejected(written(file)) == "no decoder: MPEG2MPML"
    several = content.replace(known, b"1.2.840\\10008.1.2.1")
    assert rejected(several) == "unreadable tag: TransferSyntaxUID"


def test_transfer_syntax_and_pixel_data_that_contradict_each_other():
    native, run_length = ExplicitVRLittleEndian.encode() + b"\0", RLELossless.encode() + b"\0"
    content = film(syntax=RLELossless).replace(run_length, native, 1)
    reason = "wrong transfer syntax: ExplicitVRLittleEndian, but its pixel data are compressed"
    assert rejected(content) == reason
    content = film().replace(native, run_length, 1)
    assert rejected(content) == "wrong transfer syntax: RLELossless, but its pixel data are not compressed"
    bare = written(dataset(syntax=RLELossless), preamble=False)
    assert rejected(bare) == "missing tag: TransferSyntaxUID of compressed pixel data"


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless, JPEGBaseline8Bit])
def test_a_compressed_film_that_is_cut_off(syntax):
    pixels = SMOOTH if syntax == JPEGBaseline8Bit else RAMP
    assert rejected(film(pixels, syntax=syntax)[:-60]) == "truncated: it ends inside its pixel data"


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGBaseline8Bit])
def test_a_compressed_picture_without_its_end(syntax):
    file = dataset(SMOOTH, syntax=syntax)
    frame = next(generate_frames(file.PixelData, number_of_frames=1))
    file.PixelData = encapsulate([frame[: frame.rindex(b"\xff\xd9") - 10]])
    assert rejected(written(file)) == "truncated: its compressed picture has no end"


def test_the_end_of_a_preview_is_not_the_end_of_the_picture():
    file = dataset(SMOOTH, syntax=JPEGBaseline8Bit)
    frame = next(generate_frames(file.PixelData, number_of_frames=1))
    preview = b"\xff\xe1\x00\x06\xff\xd9\x00\x00"  # APP1, as cameras put a small JPEG there
    file.PixelData = encapsulate([frame[:2] + preview + frame[2 : frame.rindex(b"\xff\xd9") - 10]])
    assert rejected(written(file)) == "truncated: its compressed picture has no end"


def test_a_compressed_picture_that_is_none():
    file = dataset(SMOOTH, syntax=JPEGBaseline8Bit)
    file.PixelData = encapsulate([b"no picture at all"])
    assert rejected(written(file)) == "damaged: its compressed pixel data are not JPEGBaseline8Bit"
    file = dataset(syntax=RLELossless)
    file.PixelData = encapsulate([b"\x01" + file.PixelData[17:-20]])
    assert rejected(written(file)) == "cannot be decoded: RLELossless"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_stop_while_a_film_is_decoded_stops(monkeypatch, error):
    def stop(*_, **__):
        raise error

    monkeypatch.setattr(dicom_file.Decoder, "as_array", stop)
    with pytest.raises(error):
        read_film(film())


def test_a_compressed_picture_larger_than_its_tags_say_is_not_decoded():
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    at = jpeg.index(b"\xff\xc0") + 5
    bomb = jpeg[:at] + struct.pack(">HH", 60_000, 60_000) + jpeg[at + 4 :]
    file = dataset(SMOOTH, syntax=JPEGBaseline8Bit)
    file.PixelData = encapsulate([bomb])
    assert rejected(written(file)) == "wrong size: 60000×60000 pixels compressed, its tags say 56×64"
    file = dataset(syntax=JPEG2000Lossless)
    frame = file.PixelData
    at = frame.index(b"\xff\x51") + 6
    file.PixelData = frame[:at] + struct.pack(">LL", 60_000, 60_000) + frame[at + 8 :]
    assert rejected(written(file)) == "wrong size: 60000×60000 pixels compressed, its tags say 40×48"


def test_a_large_declared_size_and_a_deflated_bomb_allocate_nothing(monkeypatch):
    monkeypatch.setattr(dicom_file, "MAX_INFLATED", 40_000_000)
    file = dataset()
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = written(file)
    length = int.from_bytes(content[140:144], "little")
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(1 << 20)
    bomb = b"".join([content[: 144 + length], *(deflater.compress(zeros) for _ in range(50)), deflater.flush()])
    large = film(Rows=60_000, Columns=60_000)
    tracemalloc.start()
    assert rejected(bomb) == "too large: it inflates to more than 40 million bytes"
    assert rejected(bomb[132:]) == "too large: it inflates to more than 40 million bytes"  # without preamble
    assert rejected(large).startswith("too large: 60000×60000")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


def test_a_deflated_file_that_is_damaged():
    file = dataset()
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = written(file)
    at = 144 + int.from_bytes(content[140:144], "little")
    assert rejected(content[:at] + b"\xff" * 50 + content[at + 50 :]) == "damaged: it cannot be inflated"


@pytest.mark.parametrize("name", ["Rows", "BitsStored", "NumberOfFrames", "HighBit", "PhotometricInterpretation"])
def test_reasons_never_quote_the_file(name):
    planted = b"Quellmarth"
    content = film(drop=[name]) if name != "NumberOfFrames" else film()
    # At the end of the file, where pydicom still reads it: the same tag with a text in it.
    element = struct.pack("<HH2sH", tag_for_keyword(name) >> 16, tag_for_keyword(name) & 0xFFFF, b"LO", len(planted))
    reason = rejected(content + element + planted)
    assert name in reason or reason == "unknown photometric interpretation"
    assert planted.decode() not in reason


@pytest.mark.parametrize("place", ["read_partial", "get_decoder"])
def test_memory_that_runs_out_is_no_fault_of_the_file(monkeypatch, place):
    def full(*_, **__):
        raise MemoryError

    decoder = SimpleNamespace(is_available=True, as_array=full)
    monkeypatch.setattr(dicom_file, place, full if place == "read_partial" else lambda _: decoder)
    with pytest.raises(MemoryError):
        read_film(film())

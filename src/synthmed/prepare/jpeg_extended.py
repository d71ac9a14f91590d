"""JPEG Extended with 12 bits: GDCM decodes it, pydicom does not let it. This is the plugin of pydicom that does.

GDCM tries its 8-bit library first, which writes "Unsupported JPEG data precision 12" to the terminal, then the other.
"""

import gdcm
from pydicom.pixels.decoders import JPEGExtended12BitDecoder
from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.uid import JPEGExtended12Bit

DECODER_DEPENDENCIES = {JPEGExtended12Bit: ("gdcm>=3.0.10",)}
_LABEL = "gdcm_12_bit"


def register() -> None:
    """Make pydicom use this where its other plugins fail."""
    if _LABEL not in JPEGExtended12BitDecoder.available_plugins:
        JPEGExtended12BitDecoder.add_plugin(_LABEL, (__name__, "decode_frame"))


def is_available(uid: str) -> bool:
    """Asked by pydicom."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """One frame of 9 to 12 bits as 16-bit little-endian words. source: the JPEG; runner: sizes and bits, by pydicom."""
    if runner.samples_per_pixel != 1 or runner.bits_allocated != 16 or not 8 < runner.bits_stored <= 12:
        raise NotImplementedError("only grey pictures of 9 to 12 bits")
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(source)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((runner.columns, runner.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(runner.photometric_interpretation)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    bits = runner.bits_stored
    image.SetPixelFormat(gdcm.PixelFormat(1, runner.bits_allocated, bits, bits - 1, runner.pixel_representation))
    return image.GetBuffer().encode("utf-8", "surrogateescape")  # GDCM gives bytes as text

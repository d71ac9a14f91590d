"""DICOM films made with pydicom, and a source that serves them."""

import io
from contextlib import contextmanager
from functools import partial
from types import ModuleType

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from synthmed.data.sources.raw_image import RawImage

RAMP = (np.arange(48 * 40).reshape(48, 40) * 2).astype(np.uint16)  # 0 … 3838, 12 bits
ENCODERS = {RLELossless: "pylibjpeg", JPEG2000Lossless: "pylibjpeg", JPEGLSLossless: "pyjpegls"}


def dataset(pixels=RAMP, bits=None, syntax=ExplicitVRLittleEndian, drop=(), **tags):
    """A film as a pydicom dataset. pixels: integers (H, W); bits: stored; drop: tags to leave out; tags: to set."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["film"])
    meta.TransferSyntaxUID = (
        syntax if syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian) else (ExplicitVRLittleEndian)
    )
    file = Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.PatientID = "12345"
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.Rows, file.Columns = pixels.shape
    file.BitsAllocated = 8 * pixels.itemsize
    file.BitsStored = bits or {1: 8, 2: 12, 4: 32}[pixels.itemsize]
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    file.add_new("PixelData", "OW" if pixels.itemsize > 1 else "OB", pixels.tobytes())
    for name, value in tags.items():
        setattr(file, name, value)
    if syntax in ENCODERS:
        file.compress(syntax, encoding_plugin=ENCODERS[syntax], generate_instance_uid=False)
    if syntax == JPEGBaseline8Bit:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
        file.PixelData = encapsulate([buffer.getvalue()])
        file["PixelData"].is_undefined_length = True
        meta.TransferSyntaxUID = syntax
    for name in drop:
        del file[name]
    return file


def written(file, preamble=True):
    """The bytes of a dataset; preamble=False: as they were before Part 10, without preamble and file meta."""
    buffer = io.BytesIO()
    if preamble:
        dcmwrite(buffer, file, enforce_file_format=True)
    else:
        implicit = file.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        bare = Dataset()
        bare.update(file)
        dcmwrite(buffer, bare, implicit_vr=implicit, little_endian=True)
    return buffer.getvalue()


def film(pixels=RAMP, **options):
    """The bytes of a film; see dataset."""
    return written(dataset(pixels, **options))


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def raw_image(content, number=0, **fields):
    """A RawImage of the bytes of a film (or of a function that gives them)."""
    values = {
        "file": f"dicom.zip:films/{number}.dcm",
        "name": f"raw_{number}",
        "label": "normal",
        "patient": "",
        "split": "",
        "source": "hospital",
        "load": content if callable(content) else partial(bytes, content),
        "masks": (),
        "extra": {},
    }
    return RawImage(**(values | fields))


def source_of(images):
    """A module in the manner of synthmed.data.sources that reads these images, whatever the raw files are."""
    module = ModuleType("made_up_source")

    @contextmanager
    def read(raw):
        yield list(images)

    module.read = read
    return module

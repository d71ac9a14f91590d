"""Chest films as true 12-bit DICOM with everything that real files bring along, in one archive with labels and truth.

Names, numbers and dates are made up, and planted where real files have them (tags, private tags, comments, sometimes
the picture itself), so that one can test that none of them survives the preparation.
"""

import datetime
import io
import logging
import multiprocessing
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames

from synthmed.core.progress import Progress
from synthmed.data.film_archive import BOX_COLUMNS, FilmEntry, write_film_archive
from synthmed.data.phantoms.chest_findings import (
    BITS,
    MAIN_MANUFACTURER,
    OTHER_MANUFACTURERS,
    UNCOMPRESSED,
    WHITE,
    ChestFilm,
    ChestSettings,
    FilmPlan,
    draw,
    patient_of,
    plans,
    stream_of_person,
)
from synthmed.data.phantoms.made_up_people import Person, dicom_bytes, made_up_name, uid

logger = logging.getLogger(__name__)
logging.getLogger("openjpeg").setLevel(logging.WARNING)  # it reports every tile of every film


@dataclass(frozen=True)
class _Machine:
    """How a manufacturer stores a film: its name, modality and SOP class (PS3.4, B.5), model, and pixel values.

    stored value = low + white share · (high - low); modality value = slope · stored + intercept.
    """

    modality: str
    sop_class: str
    model: str
    low: int
    high: int
    slope: float
    intercept: float


_CR, _DX = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"
_MACHINES = {
    MAIN_MANUFACTURER: _Machine("DX", _DX, "Aurora 9", low=180, high=3800, slope=1.0, intercept=0.0),
    OTHER_MANUFACTURERS[0]: _Machine("CR", _CR, "Raven CR", low=400, high=4000, slope=1.0, intercept=-1024.0),
    OTHER_MANUFACTURERS[1]: _Machine("DX", _DX, "HelioScan", low=60, high=3300, slope=0.5, intercept=10.0),
}

_SYNTAXES = {
    "ExplicitVRLittleEndian": pydicom.uid.ExplicitVRLittleEndian,
    "ImplicitVRLittleEndian": pydicom.uid.ImplicitVRLittleEndian,
    "RLELossless": pydicom.uid.RLELossless,
    "JPEG2000Lossless": pydicom.uid.JPEG2000Lossless,
    "JPEGLSLossless": pydicom.uid.JPEGLSLossless,
    "JPEGLosslessSV1": pydicom.uid.JPEGLosslessSV1,
    "JPEGBaseline8Bit": pydicom.uid.JPEGBaseline8Bit,
}
_ENCODERS = {"RLELossless": "pylibjpeg", "JPEG2000Lossless": "pylibjpeg", "JPEGLSLossless": "pyjpegls"}
"""Which of pydicom's encoders: named, so that the bytes do not depend on what else is installed."""


# ----------------------------------------------------------------------------------------------------------- persons
def person_of(settings: ChestSettings, plan: FilmPlan) -> Person:
    """Name, number and dates of a film's patient; visits of one patient are one to six months apart."""
    rng = stream_of_person(settings, plan)
    age = patient_of(settings, plan).age
    name = made_up_name(rng)
    first = datetime.date(2011, 1, 1) + datetime.timedelta(days=int(rng.integers(0, 2000)))
    birth = first - datetime.timedelta(days=int(age * 365.25) + int(rng.integers(10, 350)))
    days = sum(int(gap) for gap in rng.integers(30, 180, 8)[: plan.visit])
    number = f"PHM{settings.seed:03d}-{plan.patient + 1:06d}"
    return Person(name, number, birth, first + datetime.timedelta(days=days))


# ------------------------------------------------------------------------------------------------------------- DICOM
def _stored(plan: FilmPlan, film: ChestFilm) -> np.ndarray:
    """Pixels as the file has them: uint16 (H, W), MONOCHROME1 inverted, padding black."""
    machine = _MACHINES[plan.manufacturer]
    share = film.pixels.astype(np.float32) / np.float32(WHITE)
    stored = np.rint(machine.low + share * (machine.high - machine.low)).astype(np.uint16)
    stored[film.padding] = 0
    return WHITE - stored if plan.photometric == "MONOCHROME1" else stored


def _dataset(settings: ChestSettings, plan: FilmPlan, film: ChestFilm, person: Person) -> Dataset:
    """The file of a film, uncompressed."""
    machine = _MACHINES[plan.manufacturer]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = machine.sop_class
    meta.MediaStorageSOPInstanceUID = uid(settings.seed, "film", plan.number)
    meta.TransferSyntaxUID = _SYNTAXES[
        plan.transfer_syntax if plan.transfer_syntax in UNCOMPRESSED else UNCOMPRESSED[0]
    ]
    # Written down, because otherwise pydicom writes its own version.
    meta.ImplementationClassUID = "2.25.1"
    meta.ImplementationVersionName = "SYNTHMED PHANTOM"
    file = Dataset()
    file.file_meta = meta
    file.SpecificCharacterSet = "ISO_IR 192"
    file.ImageType = ["DERIVED", "PRIMARY"]
    file.SOPClassUID = meta.MediaStorageSOPClassUID
    file.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    day = person.study.strftime("%Y%m%d")
    file.StudyDate = file.SeriesDate = file.AcquisitionDate = file.ContentDate = day
    file.StudyTime = f"{7 + plan.number % 12:02d}{plan.number % 60:02d}00"
    file.AccessionNumber = f"ACC{settings.seed:03d}{plan.number:08d}"[:16]
    file.Modality = machine.modality
    file.PresentationIntentType = "FOR PRESENTATION"
    if plan.missing != "manufacturer":
        file.Manufacturer = plan.manufacturer
    file.ManufacturerModelName = machine.model
    file.InstitutionName = "St. Phantomas Hospital"
    file.ReferringPhysicianName = "Zweifelstein^Amalasuntha"
    file.StudyDescription = f"Chest {plan.view} of {person.name.split('^')[0]}"
    file.PatientName = person.name
    file.PatientID = person.number
    file.OtherPatientNames = person.name.split("^")[0]
    file.PatientAddress = f"{plan.patient + 1} Phantom Lane"
    if plan.missing != "age":
        file.PatientBirthDate = person.birth.strftime("%Y%m%d")
        file.PatientAge = person.age
    if plan.missing != "sex":
        file.PatientSex = film.patient.sex
    file.BodyPartExamined = "CHEST"
    if plan.missing != "view":
        file.ViewPosition = plan.view
    file.StudyInstanceUID = uid(settings.seed, "study", plan.number)
    file.SeriesInstanceUID = uid(settings.seed, "series", plan.number)
    file.StudyID, file.SeriesNumber, file.InstanceNumber = f"S{plan.number:06d}", 1, 1
    file.ImageComments = f"for {person.name}, born {person.birth.isoformat()}"
    # Half of the films with a name in the picture say so in the tag; the others have no tag.
    if plan.burnt_text and plan.number % 2:
        file.BurnedInAnnotation = "YES"
    elif not plan.burnt_text:
        file.BurnedInAnnotation = "NO"
    block = file.private_block(0x0009, "SYNTHMED PHANTOM", create=True)
    block.add_new(0x10, "LO", person.name)
    block.add_new(0x11, "LO", person.number)

    if plan.missing != "spacing":
        file.PixelSpacing = [f"{10 * film.pixel:.6g}"] * 2
    file.SamplesPerPixel = 1
    file.PhotometricInterpretation = plan.photometric
    file.Rows, file.Columns = film.pixels.shape
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, BITS, BITS - 1, 0
    if film.padding.any():
        file.add_new("PixelPaddingValue", "US", WHITE if plan.photometric == "MONOCHROME1" else 0)
    file.RescaleSlope, file.RescaleIntercept, file.RescaleType = f"{machine.slope:g}", f"{machine.intercept:g}", "US"
    if plan.missing != "window":
        middle = (machine.low + machine.high) / 2
        middle = WHITE - middle if plan.photometric == "MONOCHROME1" else middle
        file.WindowCenter = f"{machine.slope * middle + machine.intercept:g}"
        file.WindowWidth = f"{machine.slope * (machine.high - machine.low):g}"
    file.add_new("PixelData", "OW", _stored(plan, film).tobytes())
    return file


_PIXEL_TAGS = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelData"),
)


def _lossless_jpeg(file: Dataset) -> bytes:
    """JPEG Lossless (process 14, selection value 1) of the film, as a bare JPEG stream, by GDCM."""
    import gdcm  # large, and only this one transfer syntax needs it

    # GDCM takes no pixels from memory in Python, and refuses to write some of our tags: it gets the pixels alone.
    bare = Dataset()
    bare.file_meta = file.file_meta
    for name in ("SOPClassUID", "SOPInstanceUID", *_PIXEL_TAGS):
        bare[name] = file[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.dcm"
        path.write_bytes(dicom_bytes(bare))
        coded = Path(folder) / "coded.dcm"
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(coded))
        done = reader.Read()
        change.SetInput(reader.GetImage())
        done = done and change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not (done and writer.Write()):
            raise RuntimeError("GDCM could not encode a film as lossless JPEG")
        return next(generate_frames(pydicom.dcmread(coded).PixelData, number_of_frames=1))


def _compressed(file: Dataset, plan: FilmPlan) -> Dataset:
    """The file in the transfer syntax of the plan, in place."""
    name = plan.transfer_syntax
    if name in UNCOMPRESSED:
        return file
    if name in _ENCODERS:
        file.compress(_SYNTAXES[name], encoding_plugin=_ENCODERS[name], generate_instance_uid=False)
        return file
    if name == "JPEGLosslessSV1":
        frame = _lossless_jpeg(file)
    else:  # baseline JPEG has 8 bits: the machine sends a darker, shallower and lossy copy
        deep = np.frombuffer(file.PixelData, np.uint16).reshape(file.Rows, file.Columns)
        buffer = io.BytesIO()
        Image.fromarray((deep >> (BITS - 8)).astype(np.uint8)).save(buffer, "JPEG", quality=92)
        frame = buffer.getvalue()
        file.BitsAllocated, file.BitsStored, file.HighBit = 8, 8, 7
        scale = 2 ** (BITS - 8)
        file.RescaleSlope = f"{float(file.RescaleSlope) * scale:g}"
        if "PixelPaddingValue" in file:
            # The rims are no longer all of one value, so a padding value would be a false statement.
            del file["PixelPaddingValue"]
        file.LossyImageCompression = "01"
        file.LossyImageCompressionMethod = "ISO_10918_1"
    file.PixelData = encapsulate([frame])
    file["PixelData"].VR = "OB"
    file["PixelData"].is_undefined_length = True
    file.file_meta.TransferSyntaxUID = _SYNTAXES[name]
    return file


def _damaged(file: Dataset, damage: str) -> bytes:
    """A file that is no usable film, in one of chest_findings.DAMAGES."""
    if damage == "text":
        return b"This is a text file that somebody named .dcm.\n"
    if damage == "no pixels":
        del file["PixelData"]
    content = dicom_bytes(file)
    if damage == "cut off":
        return content[: int(0.6 * len(content))]
    if damage == "unknown transfer syntax":
        # Same length, so that nothing else changes: there is no such transfer syntax.
        known = str(file.file_meta.TransferSyntaxUID).encode()
        return content.replace(known, known[:-1] + b"7", 1)
    return content


# ----------------------------------------------------------------------------------------------------------- archive
def _entry(settings: ChestSettings, plan: FilmPlan) -> FilmEntry:
    person = person_of(settings, plan)
    shown = [person.name.replace("^", ", "), f"{person.number}  *{person.birth.isoformat()}", person.study.isoformat()]
    film = draw(settings, plan, shown)
    name, mask = f"films/film_{plan.number:05d}.dcm", f"masks/film_{plan.number:05d}.png"
    file = _dataset(settings, plan, film, person)
    content = _damaged(file, plan.damage) if plan.damage else dicom_bytes(_compressed(file, plan))
    files = {name: content}
    if film.findings:
        buffer = io.BytesIO()
        Image.fromarray(film.mask).save(buffer, "PNG", compress_level=1)
        files[mask] = buffer.getvalue()
    device = ("yes" if film.devices else "no") if plan.device_labelled else ""
    label = {
        "file": name,
        "patient": "",
        "findings": ";".join(sorted(plan.findings)),
        "device": device,
        "mask": mask if film.findings else "",
        "split": "",
        "source": "phantom",
    }
    boxes = [
        dict(zip(BOX_COLUMNS, (name, found.kind, *found.box), strict=True))
        for found in sorted(film.findings, key=lambda found: (found.kind, found.box))
    ]
    return FilmEntry(files, label, boxes)


def _entries(settings: ChestSettings, films: Sequence[FilmPlan]) -> Iterator[FilmEntry]:
    """Entries in the order of the films; by several processes at most 4 · workers of them wait, to bound memory."""
    if settings.workers == 1:
        yield from map(partial(_entry, settings), films)
        return
    # Spawned, not forked: a fork of a process with threads (the log, BLAS) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(settings.workers, mp_context=context) as pool:
        waiting = deque()
        try:
            for plan in films:
                waiting.append(pool.submit(_entry, settings, plan))
                if len(waiting) >= 4 * settings.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def write_films(settings: ChestSettings, path: Path) -> None:
    """Write the archive of all films (see film_archive.py); equal settings give equal bytes, whatever the workers.

    Raises InputError on a setting out of range.
    """
    films = plans(settings)

    def entries() -> Iterator[FilmEntry]:
        with Progress(path.name, len(films), "film") as progress:
            for entry in _entries(settings, films):
                progress.add(1)
                yield entry

    write_film_archive(path, entries())
    patients = len({plan.patient for plan in films})
    logger.info("%s: %d films of %d patients drawn", path.name, len(films), patients)

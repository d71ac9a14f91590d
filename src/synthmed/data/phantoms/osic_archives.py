"""Thorax phantoms as the two archives of the real set: the OSIC competition's DICOM series, and masks as NRRD.

With what readers of the real ones stumble over: file names count 1, 2, … 10, from the neck or from the liver; members
of the archive lie in no order; masks have axes (x, y, z) and z against the file names; distances differ; some masks do
not fit, some patients have none. Names and dates are planted, to be searched for in what is made of the files.
"""

import datetime
import io
import logging
from collections.abc import Mapping
from pathlib import Path

import nrrd
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset

from synthmed.core.files import stored_zip
from synthmed.core.progress import Progress
from synthmed.data.phantoms.made_up_people import Person, dicom_bytes, made_up_name, uid
from synthmed.data.phantoms.thorax_ct import Series, ThoraxSettings, draw

logger = logging.getLogger(__name__)

_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_INTERCEPTS = (-1024, -1000)
"""Of different makers; a stored value of 12 bits is HU - intercept."""
MISFITS = ("other slices", "shifted", "upside down")
"""How a mask that does not fit its series differs from it."""


def patient_id(settings: ThoraxSettings, number: int) -> str:
    """As OSIC writes them."""
    return f"ID{settings.seed:03d}{number + 1:05d}637202177411956430"


def person_of(settings: ThoraxSettings, number: int, series: Series) -> Person:
    """The fictitious patient of a series."""
    rng = np.random.default_rng([settings.seed, number, 1])
    study = datetime.date(2014, 1, 1) + datetime.timedelta(days=int(rng.integers(0, 1500)))
    birth = study - datetime.timedelta(days=int(365.25 * series.patient.age) + int(rng.integers(10, 350)))
    return Person(made_up_name(rng), patient_id(settings, number), birth, study)


def _order(series: Series, number: int) -> range:
    """Slices of the series in the order of the file names: every other patient is numbered from the liver upwards."""
    count = len(series.hu)
    return range(count) if number % 2 == 0 else range(count - 1, -1, -1)


def _corner(series: Series, position: int) -> list[float]:
    """ImagePositionPatient: middle of the first pixel, in x to the left, y to the back, z to the head, mm."""
    half = series.pixel * (series.hu.shape[1] - 1) / 2
    return [-half, -half - 160.0, series.top - series.distance * position]


# ------------------------------------------------------------------------------------------------------------- series
def _dataset(settings: ThoraxSettings, number: int, series: Series, name: int, position: int) -> Dataset:
    """The file of one slice. name: its number; position: in the series."""
    person = person_of(settings, number, series)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _CT_IMAGE
    meta.MediaStorageSOPInstanceUID = uid(settings.seed, f"slice {number}", position)
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = "2.25.1", "SYNTHMED PHANTOM"
    file = Dataset()
    file.file_meta = meta
    file.SpecificCharacterSet = "ISO_IR 192"
    file.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Modality, file.Manufacturer, file.BodyPartExamined = "CT", "Corvus Imaging", "CHEST"
    file.InstitutionName, file.ReferringPhysicianName = "St. Phantomas Hospital", "Zweifelstein^Amalasuntha"
    file.StudyDate = file.SeriesDate = person.study.strftime("%Y%m%d")
    file.StudyDescription = f"CT chest of {person.name.split('^')[0]}"
    file.PatientName, file.PatientID, file.PatientSex, file.PatientAge = (
        *(person.name, person.number, series.patient.sex, person.age),
    )
    file.PatientBirthDate = person.birth.strftime("%Y%m%d")
    file.ImageComments = f"for {person.name}, born {person.birth.isoformat()}"
    file.StudyInstanceUID = uid(settings.seed, "CT study", number)
    file.SeriesInstanceUID = uid(settings.seed, "CT series", number)
    file.FrameOfReferenceUID = uid(settings.seed, "CT frame", number)
    file.SeriesNumber, file.InstanceNumber = 2, name
    file.SliceThickness = f"{series.distance:g}"
    file.PixelSpacing = [f"{series.pixel:g}"] * 2
    file.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    file.ImagePositionPatient = [f"{value:.4f}" for value in _corner(series, position)]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.Rows, file.Columns = series.hu.shape[1:]
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    intercept = _INTERCEPTS[number % len(_INTERCEPTS)]
    file.RescaleSlope, file.RescaleIntercept, file.RescaleType = "1", str(intercept), "HU"
    file.WindowCenter, file.WindowWidth = "40", "400"
    stored = np.clip(series.hu[position].astype(np.int32) - intercept, 0, 4095).astype(np.uint16)
    file.add_new("PixelData", "OW", stored.tobytes())
    return file


# -------------------------------------------------------------------------------------------------------------- masks
def _mask_of(series: Series, number: int, organ: str, misfit: str) -> np.ndarray:
    """Mask in the order of the file names: uint8 (n, h, w)."""
    mask = series.masks[organ][list(_order(series, number))].astype(np.uint8)
    if misfit == "other slices":
        return mask[:-2]
    if misfit == "shifted":
        return np.roll(mask, mask.shape[2] // 2, axis=2)
    return mask[::-1] if misfit == "upside down" else mask


def _nrrd(series: Series, number: int, mask: np.ndarray) -> bytes:
    """Axes (x, y, z), z against the file names, as 3D Slicer writes it."""
    order = _order(series, number)
    up = series.distance * (order[1] - order[0])
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag([series.pixel, series.pixel, up]),
        "space origin": np.array(_corner(series, order[-1])),
        "kinds": ["domain"] * 3,
        "encoding": "gzip",
    }
    buffer = io.BytesIO()
    along = np.ascontiguousarray(mask[::-1].transpose(2, 1, 0))
    nrrd.write(buffer, along, header, index_order="F", compression_level=6)
    head, _, data = buffer.getvalue().partition(b"\n\n")
    kept = [line for line in head.split(b"\n") if not line.startswith(b"#")]  # comments say when
    return b"\n".join(kept) + b"\n\n" + data


# ----------------------------------------------------------------------------------------------------------- archives
def _files_of(settings: ThoraxSettings, number: int) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Members of the two archives that a patient adds."""
    series = draw(settings, number)
    patient = patient_id(settings, number)
    slices = {
        f"train/{patient}/{name}.dcm": dicom_bytes(_dataset(settings, number, series, name, position))
        for name, position in enumerate(_order(series, number), start=1)
    }
    if number >= settings.fitting + settings.misfits:
        return slices, {}
    misfit = MISFITS[(number - settings.fitting) % len(MISFITS)] if number >= settings.fitting else ""
    masks = {
        f"nrrd_{organ}/nrrd_{organ}/{patient}_{organ}.nrrd": _nrrd(
            series, number, _mask_of(series, number, organ, misfit)
        )
        for organ in series.masks
    }
    return slices, masks


def _shuffled(files: Mapping[str, bytes], seed: int) -> list[str]:
    names = sorted(files)
    return [names[position] for position in np.random.default_rng(seed).permutation(len(names))]


def write_archives(settings: ThoraxSettings, competition: Path, masks: Path) -> None:
    """Write both archives; the same settings give the same bytes. Patients count from those whose masks fit."""
    with (
        stored_zip(competition) as series,
        stored_zip(masks) as marked,
        Progress(competition.name, settings.patients, "patient") as progress,
    ):
        for number in range(settings.patients):
            for add, files in zip((series, marked), _files_of(settings, number), strict=True):
                for name in _shuffled(files, number):
                    add(name, files[name])
            progress.add(1)
    logger.info("%s, %s: %d CT series drawn", competition.name, masks.name, settings.patients)

"""CT volumes made by hand: a body of water with two lungs of air and a heart, as DICOM series, NIfTI and NRRD."""

import gzip
import io

import nibabel
import nrrd
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from synthmed.data.phantoms.made_up_people import dicom_bytes
from synthmed.data.sources.raw_volume import LABEL, File, MaskFile, RawVolume

SHAPE = (6, 20, 24)
"""Slices from the feet, rows from the front, columns from the patient's right."""
SPACING = (5.0, 0.8, 0.7)
CORNER = (-8.0, -7.0, 100.0)
"""x, y, z of the first voxel, mm, LPS."""


def anatomy():
    """HU int16, and masks as bool; no symmetry in any axis."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[:, 3:18, 2:22] = 40
    lung, heart = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    lung[1:6, 5:15, 4:10] = True
    lung[2:6, 6:14, 15:20] = True
    heart[1:4, 6:11, 10:15] = True
    hu[lung], hu[heart] = -850, 60
    return hu, {"lung": lung, "heart": heart}


def affine():
    """From (slice, row, column) to LPS."""
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, 0, SPACING[2]], [0, SPACING[1], 0], [SPACING[0], 0, 0]]
    matrix[:3, 3] = CORNER
    return matrix


def turned(values, axes, flips):
    """The same volume with axes in another order and direction: its values, and its affine in LPS."""
    matrix = affine()
    for axis in flips:
        matrix[:3, 3] += matrix[:3, axis] * (values.shape[axis] - 1)
        matrix[:3, axis] *= -1
    return np.flip(values, flips).transpose(axes), matrix[:, [*axes, 3]]


def nifti(values, matrix, *, packed=True, slope=None, code=1):
    image = nibabel.Nifti1Image(values, np.diag([-1, -1, 1, 1]) @ matrix if code else None)
    if slope is not None:
        image.header.set_slope_inter(*slope)
    content = image.to_bytes()
    return gzip.compress(content) if packed else content


def nrrd_file(values, matrix, space="left-posterior-superior", **header):
    buffer = io.BytesIO()
    oriented = {"space": space, "space directions": matrix[:3, :3].T, "space origin": matrix[:3, 3]} if space else {}
    nrrd.write(buffer, values, {**oriented, "encoding": "gzip", **header}, index_order="F")
    return buffer.getvalue()


def dicom(number, hu, **changes):
    """Slice `number` from the feet."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    file.file_meta.MediaStorageSOPInstanceUID = f"2.25.{number + 1}"
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID, file.SOPInstanceUID = file.file_meta.MediaStorageSOPClassUID, f"2.25.{number + 1}"
    file.Modality, file.SeriesInstanceUID, file.PatientID = "CT", "2.25.99", "PID-4711"
    file.PixelSpacing, file.ImageOrientationPatient = [SPACING[1], SPACING[2]], [1, 0, 0, 0, 1, 0]
    file.ImagePositionPatient = [CORNER[0], CORNER[1], CORNER[2] + SPACING[0] * number]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.Rows, file.Columns = hu.shape
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    file.RescaleSlope, file.RescaleIntercept = 1, -1024
    file.add_new("PixelData", "OW", (hu + 1024).astype(np.uint16).tobytes())
    for name, value in changes.items():
        if value is None:
            del file[name]
        else:
            setattr(file, name, value)
    return dicom_bytes(file)


def series(order=None, **changes):
    """Files of the series; order: the slices in the order of the files."""
    hu, _ = anatomy()
    return [dicom(number, hu[number], **changes) for number in (order or range(len(hu)))]


def one_file(content, name="volume.nii.gz"):
    return (File(name, lambda: content),)


def volume(files, masks=None, *, alignment="affine", patient="7", file="a.zip:volume", ending=".nii.gz"):
    """files: loads of the volume's files, or bytes of each; masks: organ → bytes."""
    if not isinstance(files[0], File):
        files = [File(f"{number}.dcm", lambda content=content: content) for number, content in enumerate(files, 1)]
    found = tuple(
        MaskFile(File(f"{organ}{ending}", lambda content=content: content), {organ: ()})
        for organ, content in (masks or {}).items()
    )
    return RawVolume(file, file, LABEL, patient, "", "hospital", tuple(files), found, alignment)

"""DICOM series, NIfTI and NRRD as volumes. Reasons for a reject are words of this module, never texts of a file."""

import gzip
import io
import zlib
from collections.abc import Sequence

import nibabel
import nrrd
import numpy as np
from pydicom import Dataset

from synthmed.data.sources.raw_volume import File
from synthmed.prepare.dicom_file import Film, numbers, read_film, text
from synthmed.prepare.dicom_grey import modality
from synthmed.prepare.orientation import Volume
from synthmed.prepare.rejected import Rejected

MAX_VOXELS = 2_000_000_000
"""A larger volume is rejected before anything is allocated; 512 × 512 × 2,000 has a quarter of it."""
_PIECE = 2**24
"""Bytes that are inflated at once."""
_SAME = 0.05
"""Of the usual distance of slices: nearer ones lie at one position."""
_GAP = 1.5
"""Of the usual distance of slices: farther apart, one is missing."""
_TILT = 0.02
"""Cosine between slices and their stack, beyond which the stack is sheared."""
_SPACES = {
    "left-posterior-superior": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
}
"""NRRD's names and short names of world axes, and the signs that make them LPS."""
_SPACES |= {"".join(word[0] for word in name.split("-")).upper(): signs for name, signs in _SPACES.items()}


# ------------------------------------------------------------------------------------------------------ DICOM series
def read_series(contents: Sequence[bytes]) -> tuple[Volume, np.ndarray, Dataset]:
    """The volume of a CT series in Hounsfield units, int16 (n, rows, columns) with slices along their normal; the
    position of each slice among `contents`; the tags of the first. Raises Rejected with the reason."""
    films = [read_film(content) for content in contents]
    first = films[0].tags
    _refuse_mixed(films)
    across = np.array(_needed(first, "ImageOrientationPatient", 6)).reshape(2, 3)
    if np.abs(across @ across.T - np.eye(2)).max() > 1e-3:
        raise Rejected("unreadable tag: ImageOrientationPatient is no two perpendicular unit vectors")
    normal = np.cross(*across)
    corners = np.array([_needed(film.tags, "ImagePositionPatient", 3) for film in films])
    order = np.argsort(corners @ normal, kind="stable")
    corners = corners[order]
    step = _step(corners, normal)
    rows, columns = _needed(first, "PixelSpacing", 2)
    affine = np.eye(4)
    affine[:3] = np.column_stack([step, across[1] * rows, across[0] * columns, corners[0]])
    return Volume(np.stack([_hounsfield(films[place]) for place in order]), affine), order, first


def _refuse_mixed(films: Sequence[Film]) -> None:
    """Raises Rejected where slices are not of one series of one machine setting."""
    if len(films) < 2:
        raise Rejected("one slice only, which is no volume")
    modalities = {text(film.tags, "Modality") for film in films} - {"CT"}
    if modalities:
        raise Rejected("no CT: the tag Modality says otherwise" if modalities != {""} else "missing tag: Modality")
    series = len({text(film.tags, "SeriesInstanceUID") for film in films})
    if series > 1:
        raise Rejected(f"mixed: {series} series in one folder; give each a folder of its own")
    shapes = len({film.stored.shape for film in films})
    if shapes > 1:
        raise Rejected(f"mixed: slices of {shapes} sizes")
    for keyword in ("ImageOrientationPatient", "PixelSpacing"):
        values = np.array([numbers(film.tags, keyword) or [np.nan] for film in films[:1]])
        for film in films[1:]:
            other = np.array(numbers(film.tags, keyword) or [np.nan])
            if other.shape != values[0].shape or not np.allclose(other, values[0], atol=1e-3, equal_nan=True):
                raise Rejected(f"mixed: slices with different {keyword}")


def _step(corners: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """From one slice to the next, mm (3,). Raises Rejected on two slices at one position, a gap, a sheared stack."""
    heights = corners @ normal
    distances = np.diff(heights)
    usual = float(np.median(distances))
    if distances.min() < _SAME * max(usual, 1e-3):
        raise Rejected("two slices at one position")
    if distances.max() > _GAP * usual:
        raise Rejected(f"a slice is missing: a gap of {distances.max():.4g} mm, where slices are {usual:.4g} mm apart")
    step = (corners[-1] - corners[0]) / (len(corners) - 1)
    if np.abs(step - normal * (step @ normal)).max() > _TILT * np.linalg.norm(step):
        raise Rejected("oblique: its slices are shifted against each other (a tilted gantry); resample it first")
    return step


def _hounsfield(film: Film) -> np.ndarray:
    """int16 (rows, columns)."""
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        if not numbers(film.tags, keyword) and "ModalityLUTSequence" not in film.tags:
            raise Rejected(f"missing tag: {keyword}; without it there are no Hounsfield units")
    return _whole(modality(film.stored.astype(np.float64), film.tags))


def _whole(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise Rejected("values that are no finite numbers")
    return np.clip(np.rint(values), -32768, 32767).astype(np.int16)


def _needed(tags: Dataset, keyword: str, count: int) -> list[float]:
    values = numbers(tags, keyword)
    if len(values) != count:
        raise Rejected(f"unreadable tag: {keyword}" if values else f"missing tag: {keyword}")
    return values


# ----------------------------------------------------------------------------------------------------- one-file volumes
def read_volume(file: File, content: bytes) -> Volume:
    """A NIfTI or NRRD in Hounsfield units, int16, with what its header says of axes. Raises Rejected."""
    volume = _read(file, content)
    return Volume(_whole(volume.values), volume.affine)


def read_mask(file: File, content: bytes, *, oriented: bool) -> Volume:
    """Whole numbers of a NIfTI or NRRD. oriented: whether its header must say how its axes lie in the body; without,
    the affine may be anything. Raises Rejected."""
    volume = _read(file, content, oriented=oriented)
    if volume.values.dtype.kind == "f":
        if not (np.isfinite(volume.values) & (volume.values == np.floor(volume.values))).all():
            raise Rejected("fractions, where whole numbers are expected")
        volume = Volume(volume.values.astype(np.int64), volume.affine)
    return volume


def _read(file: File, content: bytes, *, oriented: bool = True) -> Volume:
    read = _nrrd if file.name.lower().endswith(".nrrd") else _nifti
    try:
        volume = read(content, oriented)
    except (Rejected, MemoryError):
        raise
    except Exception as error:  # nearly any error can come out of arbitrary bytes, and its text may quote them
        raise Rejected(f"truncated or damaged: no {read.__name__[1:]} that can be read") from error
    if volume.values.ndim != 3:
        raise Rejected(f"{volume.values.ndim} dimensions, where three are expected")
    return volume


def _inflated(content: bytes, most: int) -> bytes:
    """What a gzip file holds, in one member or several (bgzip, pigz), at most `most` bytes. Raises Rejected when it is
    cut off or holds more."""
    inflated = io.BytesIO()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            while inflated.tell() <= most and inflated.write(file.read(_PIECE)):
                pass
    except EOFError as error:
        raise Rejected("truncated: its compressed data have no end") from error
    except (zlib.error, OSError) as error:
        raise Rejected("truncated or damaged: it cannot be inflated") from error
    if inflated.tell() > most:
        raise Rejected("too large: it inflates to more than its header says")
    return inflated.getvalue()


def _refuse_large(shape: Sequence[int]) -> int:
    voxels = int(np.prod([int(side) for side in shape], dtype=object))
    if not 0 < voxels <= MAX_VOXELS:
        raise Rejected(f"too large: {voxels} voxels, at most {MAX_VOXELS} are read" if voxels > 0 else "no voxels")
    return voxels


def _nifti(content: bytes, oriented: bool) -> Volume:
    packed = content[:2] == b"\x1f\x8b"
    head = gzip.GzipFile(fileobj=io.BytesIO(content)).read(540) if packed else content[:540]
    kind = nibabel.Nifti2Image if head[4:8] == b"n+2\0" else nibabel.Nifti1Image
    header = kind.header_class.from_fileobj(io.BytesIO(head), check=False)
    size = header.get_data_dtype().itemsize * _refuse_large(header.get_data_shape()) + int(header["vox_offset"])
    image = kind.from_bytes(_inflated(content, size + 2**20) if packed else content)
    if len(content) < size and not packed:
        raise Rejected("truncated: it ends inside its data")
    if oriented and not (image.header["sform_code"] or image.header["qform_code"]):
        raise Rejected("no orientation: its header has neither sform nor qform")
    if image.header.get_xyzt_units()[0] not in ("mm", "unknown"):
        raise Rejected(f"lengths in {image.header.get_xyzt_units()[0]}, where mm are expected")
    scaled = image.header.get_slope_inter() not in ((None, None), (1.0, 0.0))
    values = image.get_fdata(dtype=np.float32) if scaled else np.asanyarray(image.dataobj)
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    return Volume(values, np.diag([-1, -1, 1, 1]) @ image.affine)


def _nrrd(content: bytes, oriented: bool) -> Volume:
    handle = io.BytesIO(content)
    header = nrrd.read_header(handle)
    if "data file" in header or "datafile" in header:
        raise Rejected("its data lie in another file; save it as one .nrrd")
    voxels = _refuse_large(header["sizes"])
    if header["encoding"] in ("gzip", "gz"):
        handle = io.BytesIO(_inflated(content[handle.tell() :], 8 * voxels))
        header["encoding"] = "raw"
    values = nrrd.read_data(header, handle, index_order="F")
    if not oriented:
        return Volume(values, np.eye(4))
    signs = _SPACES.get(header.get("space", ""))
    if signs is None or header.get("space directions") is None or header.get("space origin") is None:
        raise Rejected("no orientation: its header does not say how its axes lie in the body (space, space directions)")
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.array(header["space directions"], float).T, header["space origin"]
    return Volume(values, np.diag([*signs, 1]) @ affine)

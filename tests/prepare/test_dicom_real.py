"""Real films (../shared/realdata/chest_dicom) and every test file inside pydicom and pydicom-data."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from made_up_dicom import dataset, raw_image, source_of, written

from synthmed.core.files import read_csv
from synthmed.core.settings import parse
from synthmed.data import sources
from synthmed.data.imageset import ImageSet
from synthmed.prepare.common import Rejected
from synthmed.prepare.dicom import PrepareDicomSettings, prepare
from synthmed.prepare.dicom_file import read_film
from synthmed.prepare.dicom_grey import to_grey
from synthmed.prepare.levels import levels_of

data_store = pytest.importorskip("data_store", reason="pydicom-data is not installed")
STORE = Path(data_store.__file__).parent / "data"
PYDICOM = Path(pydicom.__file__).parent / "data"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CHEST = (
    "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm",
    "CR-MONO1-10-chest.dcm",
    "CR-MONO1-10-chest_raw_no_preamble",
    "RG1_J2KR.dcm",
)


def picture(content, lower=1.0):
    film = read_film(content)
    return to_grey(levels_of(film.stored), film.tags, voi="lut_or_window", voi_number=1, lower=lower, upper=99.0)


# ---------------------------------------------------------------------------------------------------------- real films
@pytest.mark.realdata
def test_real_films_have_dark_lungs_and_bright_bones(realdata, tmp_path, monkeypatch):
    files = [realdata / "chest_dicom" / name for name in CHEST]
    # Two of the films have no PatientID: the source must name the patient, as a CSV does.
    images = [raw_image(file.read_bytes(), n, patient=f"p{n}", label=str(n % 2)) for n, file in enumerate(files)]
    monkeypatch.setattr(sources, "load", lambda name: source_of(images))
    settings = {
        "source": "made_up", "labels": {"0": "a", "1": "b"}, "keep": [], "size": [100, 100], "crop_black_borders": True,
        "resample": "lanczos", "masks": None, "min_size": 64, "voi": "lut_or_window", "voi_number": 1,
        "lower_percentile": 1.0, "upper_percentile": 99.0, "detect_burnt_in": True, "salt": "a salt for tests only",
        "salt_file": None, "file_names": "hidden", "max_rejects": 0.0, "workers": 2, "prefix": "",
    }  # fmt: skip
    outputs = {"images": tmp_path / "images.zip", "rejects": tmp_path / "rejects.csv"}
    prepare(parse(PrepareDicomSettings, settings), raw=[], **outputs)
    found = ImageSet(tmp_path / "images.zip")
    assert read_csv(tmp_path / "rejects.csv") == []
    assert found.column("bits_stored") == ["8", "10", "10", "15"]
    assert found.column("photometric") == ["MONOCHROME2", "MONOCHROME1", "MONOCHROME1", "MONOCHROME1"]
    assert found.column("transfer_syntax")[::3] == ["JPEGBaseline8Bit", "JPEG2000Lossless"]
    assert found.column("view") == ["PA"] * 4
    assert found.column("age") == ["62", "", "", "64"]  # RG1: from birth and study date
    assert found.column("manufacturer")[3] == "Philips Medical Systems"
    for image in found.pixels[..., 0].astype(float):
        middle = image[30:80, 48:53].mean()  # spine, heart, belly
        lungs = [image[30:50, 22:34].mean(), image[30:50, 66:78].mean()]
        assert middle > max(lungs) + 60


@pytest.mark.realdata
def test_a_film_without_preamble_is_the_same_film(realdata):
    first, second = (picture((realdata / "chest_dicom" / name).read_bytes()) for name in CHEST[1:3])
    assert np.array_equal(first, second)


def test_a_real_film_in_four_encodings_and_as_its_negative():
    lossless, irreversible = (picture((STORE / f"RG1_{name}.dcm").read_bytes()) for name in ("UNCR", "UNCI"))
    assert np.abs(lossless.astype(int) - irreversible).max() < 40
    assert np.abs(lossless.astype(int) - irreversible).mean() < 1
    film = read_film((STORE / "RG1_UNCR.dcm").read_bytes())
    assert film.tags.PhotometricInterpretation == "MONOCHROME1"
    window = {"WindowCenter": 32767 - film.tags.WindowCenter + 1, "WindowWidth": film.tags.WindowWidth}
    negative = written(dataset((32767 - film.stored).astype(np.uint16), bits=15, **window))
    assert np.array_equal(picture(negative), lossless)


@pytest.mark.realdata
def test_jpeg_2000_of_a_real_film_is_lossless(realdata):
    compressed = (realdata / "chest_dicom" / "RG1_J2KR.dcm").read_bytes()
    assert np.array_equal(picture(compressed), picture((STORE / "RG1_UNCR.dcm").read_bytes()))


# ------------------------------------------------------------------------------------------- files inside the packages
def test_jpeg_extended_of_12_bits():
    # libjpeg (pylibjpeg-libjpeg 2.5.0) finds 0 … 264 with the mean 14.37, too.
    stored = read_film((PYDICOM / "test_files" / "JPGExtended.dcm").read_bytes()).stored
    assert (stored.dtype, stored.min(), stored.max()) == (np.uint16, 0, 264)
    assert stored.mean() == pytest.approx(14.37, abs=0.01)


def test_lossless_jpeg():
    film = read_film((STORE / "JPEG-LL.dcm").read_bytes())
    assert film.transfer_syntax == "JPEGLosslessSV1"
    uncompressed = read_film((STORE / "JPEG2000_UNC.dcm").read_bytes())
    assert np.corrcoef(film.stored.ravel(), uncompressed.stored.ravel())[0, 1] > 0.9


REASONS = {
    "MR_truncated.dcm": "truncated: 8130 of 8192 bytes of pixel data",
    "JPEG2000-embedded-sequence-delimiter.dcm": "wrong size: 3722445056×1024 pixels compressed, its tags say 256×1024",
    "badVR.dcm": "unreadable tag: NumberOfFrames",
    "liver_1frame.dcm": "wrong bits: 1 allocated; films have 8, 16 or 32",
    "rtdose.dcm": "several frames: 15",
    "examples_palette.dcm": "colour: PALETTE COLOR",
    "SC_rgb_jpeg_gdcm.dcm": "colour: RGB",
    "test-SR.dcm": "no pixel data",
    "rtplan_truncated.dcm": "no pixel data",
    "meta_missing_tsyntax.dcm": "missing tag: PhotometricInterpretation",
    "README.txt": "not DICOM",
}


def test_padding_at_the_end_of_the_pixel_data_is_cut_off():
    plain, padded = (
        read_film((PYDICOM / "test_files" / f"MR_small{name}.dcm").read_bytes()) for name in ("", "_padded")
    )
    assert np.array_equal(padded.stored, plain.stored)


def test_test_files_of_pydicom_become_pictures_or_have_a_reason():
    pictures, reasons = 0, {}
    for path in sorted(path for path in (*PYDICOM.rglob("*"), *STORE.iterdir()) if path.is_file()):
        if path.stat().st_size > 600_000 or path.suffix in (".py", ".pyc"):
            continue
        try:
            found = picture(path.read_bytes())
        except Rejected as error:
            reasons[path.name] = str(error)
            continue
        pictures += 1
        assert found.dtype == np.uint8
        assert (found.min(), found.max()) == (0, 255)
    assert {name: reasons[name] for name in REASONS} == REASONS
    assert pictures > 60

"""Thorax phantoms: tissue has its Hounsfield units, organs lie in their places, archives are like the real ones."""

import io
import zipfile
from dataclasses import replace

import nrrd
import numpy as np
import pydicom
import pytest

from synthmed.core.errors import InputError
from synthmed.data.phantoms.osic_archives import patient_id, person_of, write_archives
from synthmed.data.phantoms.thorax_ct import ThoraxSettings, draw

SETTINGS = ThoraxSettings(
    slices=8, per_patient=4, misfits=1, unmasked=1, image_size=64, slice_distance=(10.0, 12.0), difficulty=0.3, seed=3
)


@pytest.fixture(scope="module")
def series():
    return [draw(SETTINGS, number) for number in range(2)]


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("osic")
    write_archives(SETTINGS, folder / "series.zip", folder / "masks.zip")
    return zipfile.ZipFile(folder / "series.zip"), zipfile.ZipFile(folder / "masks.zip")


def test_organs_have_their_hounsfield_units_and_do_not_overlap(series):
    for one in series:
        inner = {organ: np.median(one.hu[mask]) for organ, mask in one.masks.items()}
        assert -930 < inner["lung"] < -650
        assert 20 < inner["heart"] < 260
        assert inner["trachea"] < -700  # a few pixels wide, so its walls shine in
        assert sum(mask.astype(int) for mask in one.masks.values()).max() == 1


def test_organs_lie_where_they_belong(series):
    for one in series:
        middle = one.hu.shape[2] / 2
        z, _, x = np.argwhere(one.masks["heart"]).mean(axis=0)
        assert x > middle + 1  # the heart to the patient's left, which is the right of the picture
        assert z > np.argwhere(one.masks["trachea"])[:, 0].mean()  # and below the windpipe
        left = one.masks["lung"][..., int(middle) :].sum()
        assert 0.5 < left / one.masks["lung"][..., : int(middle)].sum() < 1.0  # where the heart takes its room
        lowest = one.hu[-1]
        assert np.median(lowest[26:34, 16:24]) > 20  # liver on the right


def test_every_series_has_the_slices_that_a_preparation_takes():
    for number in range(6):
        masks = draw(replace(SETTINGS, per_patient=5, slices=60, slice_distance=(13.0, 13.0)), number).masks
        shown = [masks[organ].mean(axis=(1, 2)) >= 0.005 for organ in ("lung", "heart")]
        assert (shown[0] & shown[1]).sum() >= 5


def test_a_patient_follows_from_seed_and_number_alone(series):
    again = draw(replace(SETTINGS, slices=400), 1)
    assert np.array_equal(again.hu, series[1].hu)
    assert not np.array_equal(draw(replace(SETTINGS, seed=4), 1).hu[:3], series[1].hu[:3])


def test_settings_that_cannot_be():
    with pytest.raises(InputError, match="slices is 9; it must be a multiple of per_patient, 4"):
        replace(SETTINGS, slices=9)
    with pytest.raises(InputError, match="4 slices 20 mm apart do not fit into a small heart, 65 mm"):
        replace(SETTINGS, slice_distance=(9.0, 20.0))
    with pytest.raises(InputError, match="the least comes first"):
        replace(SETTINGS, slice_distance=(9.0, 7.0))


# ----------------------------------------------------------------------------------------------------------- archives
def test_the_slices_of_a_series_are_twelve_bit_dicom_whose_values_are_its_hounsfield_units(series, archives):
    for number, one in enumerate(series):
        patient = patient_id(SETTINGS, number)
        names = [name for name in archives[0].namelist() if patient in name]
        files = [pydicom.dcmread(io.BytesIO(archives[0].read(name))) for name in names]
        assert sorted(name.rpartition("/")[2] for name in names) != [name.rpartition("/")[2] for name in names]
        for name, file in zip(names, files, strict=True):
            assert (file.Modality, file.BitsStored) == ("CT", 12)
            assert f"{file.InstanceNumber}.dcm" == name.rpartition("/")[2]
        files.sort(key=lambda file: -float(file.ImagePositionPatient[2]))
        hu = np.stack([file.pixel_array * float(file.RescaleSlope) + float(file.RescaleIntercept) for file in files])
        low = float(files[0].RescaleIntercept)
        assert np.array_equal(hu, np.maximum(one.hu, low))
        heights = [float(file.ImagePositionPatient[2]) for file in files]
        assert np.allclose(np.diff(heights), -one.distance, atol=1e-3)
        # Every other patient is numbered from the liver upwards.
        assert files[0].InstanceNumber == (1 if number == 0 else len(files))


def test_masks_have_axes_x_y_z_against_the_file_names(series, archives):
    for number, one in enumerate(series):
        patient = patient_id(SETTINGS, number)
        content = archives[1].read(f"nrrd_heart/nrrd_heart/{patient}_heart.nrrd")
        header = nrrd.read_header(buffer := io.BytesIO(content))
        mask = nrrd.read_data(header, buffer)
        by_name = one.masks["heart"] if number == 0 else one.masks["heart"][::-1]
        assert np.array_equal(mask, by_name.transpose(1, 2, 0)[:, :, ::-1].transpose(1, 0, 2))


def test_misfits_and_patients_without_masks(archives):
    names = archives[1].namelist()
    with_masks = {
        number for number in range(SETTINGS.patients) if any(patient_id(SETTINGS, number) in n for n in names)
    }
    assert with_masks == {0, 1, 2}


def test_same_settings_same_bytes(tmp_path, archives):
    write_archives(SETTINGS, tmp_path / "series.zip", tmp_path / "masks.zip")
    for path, archive in zip(("series.zip", "masks.zip"), archives, strict=True):
        with open(archive.filename, "rb") as first:
            assert (tmp_path / path).read_bytes() == first.read()


def test_persons_are_old_enough(series):
    person = person_of(SETTINGS, 0, series[0])
    assert int(person.age[:3]) in range(18, 100)
    assert person.number == patient_id(SETTINGS, 0)

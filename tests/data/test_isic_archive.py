"""Melanomas of the ISIC archive, from folders as its program leaves them."""

import csv
import logging

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.data.sources import isic_archive

ROWS = {
    "in_situ": [
        {"isic_id": "ISIC_1", "diagnosis_3": "Melanoma in situ", "patient_id": "IP_1", "lesion_id": "IL_1"},
        {"isic_id": "ISIC_2", "diagnosis_3": "Melanoma in situ", "patient_id": "", "lesion_id": "IL_2"},
    ],
    "invasive": [
        {"isic_id": "ISIC_3", "diagnosis_3": "Melanoma Invasive", "mel_thick_mm": "0.8", "sex": "female"},
        {"isic_id": "ISIC_4", "diagnosis_3": "Melanoma, NOS", "mel_thick_mm": "", "sex": ""},
    ],
}


@pytest.fixture
def downloads(tmp_path):
    for name, rows in ROWS.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name, rows)
        for number, row in enumerate(rows):
            picture = np.full((8, 8, 3), 10 * number, np.uint8)
            Image.fromarray(picture).save(tmp_path / name / f"{row['isic_id']}.jpg")
    return tmp_path


def write(folder, rows):
    with (folder / "metadata.csv").open("w") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def fetch(folder):
    isic_archive.fetch("file", {"path": str(folder)}, [folder / "folder.zip"])


def test_both_downloads_are_one_set_with_patients_or_lesions_where_known(downloads, caplog):
    caplog.set_level(logging.INFO)
    fetch(downloads)
    with isic_archive.read([downloads / "folder.zip"]) as images:
        found = {one.name: (one.label, one.patient, one.patient_known, one.extra["mel_thick_mm"]) for one in images}
    assert found == {
        "in_situ_ISIC_1": ("Melanoma in situ", "IP_1", True, ""),
        "in_situ_ISIC_2": ("Melanoma in situ", "IL_2", True, ""),
        "invasive_ISIC_3": ("Melanoma Invasive", "invasive/ISIC_3.jpg", False, "0.8"),
        "invasive_ISIC_4": ("Melanoma, NOS", "invasive/ISIC_4.jpg", False, ""),
    }
    assert "2 Melanoma in situ, 1 Melanoma Invasive, 1 Melanoma, NOS; of 2 nobody says" in caplog.text


def test_what_cannot_be_is_refused(downloads):
    thick = [ROWS["in_situ"][0] | {"mel_thick_mm": "0.4"}]
    write(downloads / "in_situ", thick)
    with pytest.raises(InputError, match=r"line 2: ISIC_1 is in situ, but 0\.4 mm thick"):
        fetch(downloads)
    write(downloads / "in_situ", [ROWS["in_situ"][0] | {"mel_thick_mm": "thin"}])
    with pytest.raises(InputError, match="mel_thick_mm is 'thin', no number"):
        fetch(downloads)
    write(downloads / "in_situ", [{"isic_id": "ISIC_1", "diagnosis_3": ""}])
    with pytest.raises(InputError, match="no diagnosis_3"):
        fetch(downloads)
    write(downloads / "in_situ", [{"isic_id": "ISIC_9", "diagnosis_3": "Melanoma in situ"}])
    with pytest.raises(InputError, match="ISIC_9"):
        fetch(downloads)


def test_one_diagnosis_a_photograph_twice_and_no_table_are_refused(downloads):
    write(downloads / "in_situ", [{"isic_id": "ISIC_1", "diagnosis_3": "Melanoma Invasive"}])
    write(downloads / "invasive", [{"isic_id": "ISIC_3", "diagnosis_3": "Melanoma Invasive"}])
    with pytest.raises(InputError, match=r"only one diagnosis \(Melanoma Invasive\)"):
        fetch(downloads)
    write(downloads / "in_situ", [{"isic_id": "ISIC_3", "diagnosis_3": "Melanoma in situ"}])
    (downloads / "in_situ" / "ISIC_1.jpg").rename(downloads / "in_situ" / "ISIC_3.jpg")
    with pytest.raises(InputError, match=r"1 images are in several downloads, the first is ISIC_3\.jpg"):
        fetch(downloads)
    for name in ROWS:
        (downloads / name / "metadata.csv").unlink()
    with pytest.raises(InputError, match=r"no metadata\.csv in any sub-folder"):
        fetch(downloads)

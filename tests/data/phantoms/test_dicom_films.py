"""The archive of DICOM phantoms: equal bytes, true 12 bits, every tag and exception where the plan has it."""

import csv
import io
import zipfile

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.errors import InvalidDicomError

from chest_settings import chest_settings
from synthmed.core.files import hash_file
from synthmed.data.phantoms.chest_findings import COMPRESSED, UNCOMPRESSED, WHITE, draw, plans
from synthmed.data.phantoms.dicom_films import person_of, write_films
from synthmed.data.phantoms.made_up_people import FAMILY_NAMES

SETTINGS = chest_settings(
    normal=14, findings={"nodule": 8, "pleural effusion": 6, "rib fracture": 4}, compressed_share=0.8, image_size=80
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    target = tmp_path_factory.mktemp("raw") / "dicom.zip"
    write_films(SETTINGS, target)
    return target


@pytest.fixture(scope="module")
def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def film_name(plan):
    return f"films/film_{plan.number:05d}.dcm"


def usable():
    return [plan for plan in plans(SETTINGS) if not plan.damage]


def opened(members, plan):
    return pydicom.dcmread(io.BytesIO(members[film_name(plan)]))


def table(members, name):
    return list(csv.DictReader(io.StringIO(members[name].decode())))


def test_same_settings_same_bytes(path, tmp_path):
    write_films(SETTINGS, tmp_path / "again.zip")
    assert hash_file(tmp_path / "again.zip") == hash_file(path)


def test_two_processes_give_the_same_bytes(tmp_path):
    few = {"normal": 2, "findings": {"nodule": 2}, "malformed": 1, "image_size": 64}
    write_films(chest_settings(**few), tmp_path / "one.zip")
    write_films(chest_settings(**few, workers=2), tmp_path / "two.zip")
    assert hash_file(tmp_path / "one.zip") == hash_file(tmp_path / "two.zip")


def test_every_transfer_syntax_decodes_to_the_film(members):
    seen = set()
    for plan in usable():
        file = opened(members, plan)
        syntax = file.file_meta.TransferSyntaxUID
        assert syntax.keyword == plan.transfer_syntax
        film = draw(SETTINGS, plan, burnt(plan))
        stored = file.pixel_array.astype(float)
        assert stored.shape == film.pixels.shape
        modality = stored * float(file.RescaleSlope) + float(file.RescaleIntercept)
        if "WindowCenter" in file:
            # The window gives back what was drawn; letters and padding lie beyond it.
            shown = (modality - float(file.WindowCenter)) / float(file.WindowWidth) + 0.5
            shown = 1 - shown if file.PhotometricInterpretation == "MONOCHROME1" else shown
            wrong = np.abs(shown.clip(0, 1) * WHITE - film.pixels)[~film.padding]
            assert np.median(wrong) < (60 if file.BitsStored == 8 else 2)
        if file.BitsStored == 12:
            assert (file.BitsAllocated, file.HighBit, file.PixelRepresentation) == (16, 11, 0)
            assert stored.max() <= WHITE
            assert len(np.unique(stored)) > 600
        else:
            assert (file.BitsAllocated, file.BitsStored, file.LossyImageCompression) == (8, 8, "01")
        seen.add(plan.transfer_syntax)
    assert seen == {*COMPRESSED, *UNCOMPRESSED}


def burnt(plan):
    person = person_of(SETTINGS, plan)
    number = f"{person.number}  *{person.birth.isoformat()}"
    return [person.name.replace("^", ", "), number, person.study.isoformat()]


def test_monochrome1_is_stored_inverted(members):
    photometric = set()
    for plan in usable():
        file = opened(members, plan)
        assert file.PhotometricInterpretation == plan.photometric
        stored, film = file.pixel_array.astype(float), draw(SETTINGS, plan, burnt(plan))
        agrees = np.corrcoef(stored[~film.padding], film.pixels[~film.padding])[0, 1]
        assert agrees * (-1 if plan.photometric == "MONOCHROME1" else 1) > 0.99
        photometric.add(plan.photometric)
        if plan.collimated and file.BitsStored == 12:
            assert (stored[film.padding] == file.PixelPaddingValue).mean() > 0.9
    assert photometric == {"MONOCHROME1", "MONOCHROME2"}


def test_tags_are_those_of_the_plan(members):
    for plan in usable():
        file, person = opened(members, plan), person_of(SETTINGS, plan)
        assert ("PatientAge" in file) == ("PatientBirthDate" in file) == (plan.missing != "age")
        assert ("PatientSex" in file) == (plan.missing != "sex")
        assert ("ViewPosition" in file) == (plan.missing != "view")
        assert ("Manufacturer" in file) == (plan.missing != "manufacturer")
        assert ("WindowWidth" in file) == (plan.missing != "window")
        assert ("PixelSpacing" in file) == (plan.missing != "spacing")
        assert file.get("ViewPosition", plan.view) == plan.view
        assert file.get("Manufacturer", plan.manufacturer) == plan.manufacturer
        assert file.PatientID == person.number
        assert file.Modality in ("CR", "DX")
        if "PatientAge" in file:
            years = int(file.PatientAge[:3]) / (12 if file.PatientAge[3] == "M" else 1)
            assert (years < 19) == plan.minor
            assert (person.study - person.birth).days / 365.25 == pytest.approx(years, abs=1.01)
        assert file.get("BurnedInAnnotation", "") in (("YES", "") if plan.burnt_text else ("NO",))


def test_every_film_carries_planted_identity(members):
    """So that a test of the anonymisation has something to find."""
    names = set()
    for plan in usable():
        person, content = person_of(SETTINGS, plan), members[film_name(plan)]
        family = person.name.split("^")[0]
        assert family in FAMILY_NAMES
        for planted in (family, person.number, person.study.strftime("%Y%m%d"), "St. Phantomas", "ACC"):
            assert planted.encode() in content
        assert content.count(family.encode()) >= 5  # name, other names, description, comments, private tag
        names.add(family)
    assert len(names) > 5


def test_films_of_a_patient_share_the_number_and_follow_each_other(members):
    films_of = {}
    for plan in usable():
        films_of.setdefault(plan.patient, []).append((plan.visit, opened(members, plan)))
    several = [films for films in films_of.values() if len(films) > 1]
    assert several
    for films in several:
        files = [file for _visit, file in sorted(films, key=lambda film: film[0])]
        assert len({file.PatientID for file in files}) == 1
        assert len({file.PatientName for file in files}) == 1
        days = [file.StudyDate for file in files]
        assert days == sorted(set(days))
    assert len({films[0][1].PatientID for films in films_of.values()}) == len(films_of)


def test_uids_are_valid_and_never_the_same(members):
    uids = [
        str(value)
        for plan in usable()
        for value in (lambda file: (file.SOPInstanceUID, file.StudyInstanceUID, file.SeriesInstanceUID))(
            opened(members, plan)
        )
    ]
    assert len(set(uids)) == len(uids)
    assert all(pydicom.uid.UID(uid).is_valid for uid in uids)


def test_tables_say_what_was_planted(members):
    labels, boxes = table(members, "labels.csv"), table(members, "boxes.csv")
    assert [row["file"] for row in labels] == [film_name(plan) for plan in plans(SETTINGS)]
    by_file = {}
    for row in boxes:
        by_file.setdefault(row["file"], []).append(row)
    for plan, row in zip(plans(SETTINGS), labels, strict=True):
        film = draw(SETTINGS, plan, burnt(plan))
        assert row["findings"] == ";".join(sorted(plan.findings))
        assert row["device"] == (("yes" if plan.device else "no") if plan.device_labelled else "")
        assert row["patient"] == ""
        found = by_file.get(row["file"], [])
        expected = sorted((finding.kind, *map(str, finding.box)) for finding in film.findings)
        assert sorted((box["finding"], *list(box.values())[2:]) for box in found) == expected
        if plan.findings:
            mask = np.asarray(Image.open(io.BytesIO(members[row["mask"]])))
            assert np.array_equal(mask, film.mask)
            assert set(np.unique(mask)) == {0, 255}
        else:
            assert row["mask"] == ""
    assert sum(name.startswith("masks/") for name in members) == sum(bool(plan.findings) for plan in plans(SETTINGS))


def test_malformed_files_are_malformed_each_in_its_way(members):
    problems = {}
    for plan in plans(SETTINGS):
        if plan.damage:
            try:
                opened(members, plan).pixel_array  # noqa: B018
            except (InvalidDicomError, ValueError, AttributeError, NotImplementedError) as error:
                problems[plan.damage] = str(error)
    assert set(problems) == {"text", "cut off", "no pixels", "unknown transfer syntax"}
    assert "File is missing DICOM" in problems["text"]
    assert len(set(problems.values())) == 4

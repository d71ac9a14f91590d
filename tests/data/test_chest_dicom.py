"""The source chest_dicom: phantoms, a folder of your own with its CSV, and everything that can be wrong with them."""

import logging
import zipfile

import pytest

from chest_settings import chest_settings
from synthmed.core.errors import InputError
from synthmed.data import sources
from synthmed.data.boxes import parse_boxes
from synthmed.data.fetch import FetchSettings, fetch
from synthmed.data.sources import chest_dicom

HEADER = "film,person,finding,line,x0,y0,x1,y1,part"
ROWS = (
    "a/one.dcm,p1,No finding,no,,,,,train",
    "a/two.dcm,p2,Nodule/Mass,yes,10,20,30,40.5,train",
    "a/two.dcm,p2,Nodule/Mass,yes,50,20,60,40,train",
    "a/two.dcm,p2,Effusion,yes,,,,,train",
    "three.dicom,p1,Nodule/Mass;Effusion,,,,,,train",
    "four,p3,Cardiomegaly,no,,,,,test",
    "a/five.IMA,p4,No finding,,,,,,test",
)
NAMES = {"No finding": "normal", "Nodule/Mass": "nodule", "Effusion": "pleural effusion", "Cardiomegaly": None}


def dicom(number):
    return bytes(128) + b"DICM" + bytes([number]) * 10


@pytest.fixture
def clinic(tmp_path):
    """A folder of five films (their content is of no concern to the source) and a table."""
    folder = tmp_path / "clinic"
    for number, file in enumerate(["a/one.dcm", "a/two.dcm", "three.dicom", "four", "a/five.IMA"]):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(dicom(number))
    (folder / "readme.txt").write_text("not a film")
    write_table(folder, ROWS)
    return folder


def write_table(folder, rows, header=HEADER):
    (folder / "table.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def options(folder, names=NAMES, **changes):
    boxes = {"x_min": "x0", "y_min": "y0", "x_max": "x1", "y_max": "y1"}
    table = {"name": "table.csv", "file": "film", "patient": "person", "findings": "finding", "device": "line"}
    return {
        "path": str(folder),
        "name": "clinic",
        "csv": {**table, "boxes": boxes, "split": "part", **changes},
        "finding_names": names,
    }


def packed(tmp_path, chosen):
    raw = tmp_path / "raw" / "dicom.zip"
    fetch(FetchSettings("chest_dicom", "folder", chosen), raw=[raw])
    with chest_dicom.read([raw]) as found:
        return {image.file.removeprefix("dicom.zip:films/"): (image, image.load()) for image in found}


# ------------------------------------------------------------------------------------------------------------ folder
def test_a_folder_gives_films_with_their_findings(tmp_path, clinic, caplog):
    caplog.set_level(logging.INFO)
    found = packed(tmp_path, options(clinic))
    # The film with nothing but a finding that is left alone is left out.
    assert sorted(found) == ["a/five.IMA", "a/one.dcm", "a/two.dcm", "three.dicom"]
    assert "packed 4 films (normal 2, nodule 2, pleural effusion 2), 2 boxes" in caplog.text
    assert "1 films left out" in caplog.text
    one, two, three = found["a/one.dcm"][0], found["a/two.dcm"][0], found["three.dicom"][0]
    assert (one.label, one.patient, one.split, one.source) == ("normal", "p1", "train", "clinic")
    assert one.extra == {"findings": "", "device": "no", "boxes": ""}
    assert (two.label, two.extra["findings"], two.extra["device"]) == ("abnormal", "nodule;pleural effusion", "yes")
    assert parse_boxes(two.extra["boxes"]) == [("nodule", 10, 20, 30, 40.5), ("nodule", 50, 20, 60, 40)]
    assert (three.label, three.extra["device"]) == ("abnormal", "")
    assert found["a/two.dcm"][1] == dicom(1)
    assert len({image.name for image, _ in found.values()}) == 4
    assert all(image.masks == () for image, _ in found.values())


def test_equal_folders_give_equal_bytes(tmp_path, clinic):
    packed(tmp_path, options(clinic))
    first = (tmp_path / "raw" / "dicom.zip").read_bytes()
    write_table(clinic, ROWS[::-1])  # the order of the rows does not count
    packed(tmp_path, options(clinic))
    assert (tmp_path / "raw" / "dicom.zip").read_bytes() == first


def test_columns_that_the_table_has_not(tmp_path, clinic):
    found = packed(tmp_path, options(clinic, patient=None, device=None, boxes=None, split=None))
    image = found["a/two.dcm"][0]
    assert (image.patient, image.split) == ("", "")  # the step prepare-dicom then takes PatientID
    assert image.extra == {"findings": "nodule;pleural effusion", "device": "", "boxes": ""}


def test_the_file_may_be_a_pattern_of_columns(tmp_path, clinic):
    write_table(clinic, ["a,one,No finding", "a,two,Effusion", ",five,Effusion"], header="study,film,finding")
    (clinic / "five.dcm").write_bytes(dicom(9))
    for extra in ("three.dicom", "four", "a/five.IMA"):
        (clinic / extra).unlink()
    names = {"No finding": "normal", "Effusion": "pleural effusion"}
    chosen = {"patient": None, "device": None, "boxes": None, "split": None}
    with pytest.raises(InputError, match=r"'' is not the name of a file below"):
        packed(tmp_path, options(clinic, names, file="{study}/{film}.dcm", **chosen))
    write_table(clinic, ["a,one,No finding", "a,two,Effusion"], header="study,film,finding")
    (clinic / "five.dcm").unlink()
    assert sorted(packed(tmp_path, options(clinic, names, file="{study}/{film}.dcm", **chosen))) == [
        "a/one.dcm",
        "a/two.dcm",
    ]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("six.dcm,p9,No finding,no,,,,,train", r"table\.csv, line 9: .*six\.dcm does not exist"),
        ("../one.dcm,p9,No finding,no,,,,,train", "is not the name of a file below"),
        ("a/one.dcm,p1,Effusion,no,,,,,train", r"line 9: 'a/one\.dcm' is normal and has a finding .*first in line 2"),
        ("a/one.dcm,p2,No finding,no,,,,,train", r"'a/one\.dcm' has patient 'p2' here and 'p1' in line 2"),
        ("a/one.dcm,p1,No finding,yes,,,,,train", "has device 'yes' here and 'no' in line 2"),
        ("a/one.dcm,p1,No finding,no,,,,,test", "has split 'test' here and 'train' in line 2"),
        ("a/one.dcm,p1,Nodul,no,,,,,train", r"finding_names does not say what 'Nodul' becomes"),
        ("a/one.dcm,p1,,no,,,,,train", "finding_names does not say what '' becomes"),
        ("a/one.dcm,p1,No finding,maybe,,,,,train", "line is 'maybe'; it must be yes, no or empty"),
        ("a/one.dcm,p1,No finding,no,,,,,all", "part is 'all'; known are train, validation, test"),
        ("a/one.dcm,p1,No finding,no", "line 9: it has not 9 cells"),
        ("a/two.dcm,p2,Effusion,yes,1,2,x,4,train", "has a cell that is no number"),
        ("a/two.dcm,p2,Effusion,yes,30,2,10,4,train", "must have 0 ≤ x_min < x_max"),
        ("a/two.dcm,p2,Effusion,yes,1,2,3,,train", "has a cell that is no number"),
        ("three.dicom,p1,Nodule/Mass;Effusion,,1,2,3,4,train", "a box needs one finding in its row"),
        ("a/five.IMA,p4,No finding,,1,2,3,4,test", "a box needs one finding in its row, this has 'No finding'"),
    ],
)
def test_a_wrong_row_is_named_before_anything_is_packed(tmp_path, clinic, row, words):
    write_table(clinic, [*ROWS, row])
    with pytest.raises(InputError, match=words):
        packed(tmp_path, options(clinic))
    assert not (tmp_path / "raw").exists()


def test_a_column_that_occurs_twice_is_an_error(tmp_path, clinic):
    write_table(clinic, [f"{row},p9" for row in ROWS], header=f"{HEADER},person")
    with pytest.raises(InputError, match=r"table\.csv: the column 'person' occurs 2 times; rename or remove"):
        packed(tmp_path, options(clinic))
    write_table(clinic, [f"{row},," for row in ROWS], header=f"{HEADER},,")  # as spreadsheets write it
    assert len(packed(tmp_path, options(clinic))) == 4


def test_blank_lines_count_in_the_numbers_of_lines(tmp_path, clinic):
    write_table(clinic, ["", "", ROWS[0], "", *ROWS[1:], "a/one.dcm,p2,No finding,no,,,,,train"])
    with pytest.raises(InputError, match=r"line 12: 'a/one\.dcm' has patient 'p2' here and 'p1' in line 4"):
        packed(tmp_path, options(clinic))


def test_a_patient_in_two_parts_is_an_error(tmp_path, clinic):
    write_table(clinic, [*ROWS[:-1], "a/five.IMA,p2,No finding,,,,,,test"])
    with pytest.raises(
        InputError, match=r"patient 'p2' is in two parts, 'a/two\.dcm' in train and 'a/five\.IMA' in test"
    ):
        packed(tmp_path, options(clinic))
    assert len(packed(tmp_path, options(clinic, split=None))) == 4  # the step split keeps a patient together


def test_a_film_without_a_row_is_an_error(tmp_path, clinic):
    (clinic / "a" / "six").write_bytes(dicom(6))
    (clinic / "seven.dcm").write_bytes(b"no preamble")
    with pytest.raises(InputError, match=r"2 DICOM files have no row in table\.csv, the first is 'a/six'"):
        packed(tmp_path, options(clinic))


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("No finding", "'No finding', which never occurs, so the class 'normal' would get no film"),
        ("Nodule/Mass", "'Nodule/Mass', which never occurs, so the class 'nodule' would get no film"),
    ],
)
def test_a_class_without_films_is_an_error(tmp_path, clinic, gone, words):
    write_table(clinic, [row.replace(gone, "Effusion") for row in ROWS])
    with pytest.raises(InputError, match=words):
        packed(tmp_path, options(clinic))


def test_a_table_without_any_finding_is_an_error(tmp_path, clinic):
    with pytest.raises(InputError, match="has no finding; without any there is one class only"):
        packed(tmp_path, options(clinic, {"No finding": "normal", "Effusion": None}))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({**NAMES, "Nodule/Mass": "Nodule"}, r"finding_names\.Nodule/Mass is 'Nodule'.*lower-case letters"),
        ({**NAMES, "Effusion": "a;b"}, r"finding_names\.Effusion is 'a;b'"),
        ({**NAMES, "No finding": None}, "names nothing 'normal'"),
        ({**NAMES, "Pneumotorax": "pneumothorax"}, "'Pneumotorax', which never occurs"),
    ],
)
def test_names_of_findings_that_cannot_be(tmp_path, clinic, names, words):
    with pytest.raises(InputError, match=words):
        packed(tmp_path, options(clinic, names))


def test_missing_things_are_named(tmp_path, clinic):
    with pytest.raises(InputError, match="no such folder"):
        packed(tmp_path, options(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"other\.csv: no such file \(setting options\.csv\.name\)"):
        packed(tmp_path, options(clinic, name="other.csv"))
    with pytest.raises(InputError, match="no column 'who'"):
        packed(tmp_path, options(clinic, patient="who"))
    write_table(clinic, [])
    with pytest.raises(InputError, match="no rows below the first line"):
        packed(tmp_path, options(clinic))
    (clinic / "table.csv").write_bytes(b"film,\xff\n")
    with pytest.raises(InputError, match="not UTF-8"):
        packed(tmp_path, options(clinic))
    write_table(clinic, ["a;b"], header="film;person")
    with pytest.raises(InputError, match="separated by semicolons: save it with commas"):
        packed(tmp_path, options(clinic))


def test_what_macs_and_cds_add_to_a_folder_needs_no_row(tmp_path, clinic):
    (clinic / "a" / "._one.dcm").write_bytes(b"Mac OS X")
    (clinic / "__MACOSX").mkdir()
    (clinic / "__MACOSX" / "two.dcm").write_bytes(b"Mac OS X")
    (clinic / "DICOMDIR").write_bytes(dicom(0) + b"\x02\x00\x02\x00UI\x14\x001.2.840.10008.1.3.10\x00")
    assert len(packed(tmp_path, options(clinic))) == 4
    (clinic / "a" / "six.dcm").symlink_to("nowhere.dcm")
    with pytest.raises(InputError, match=r"1 DICOM files have no row in table\.csv, the first is 'a/six\.dcm'"):
        packed(tmp_path, options(clinic))


def test_patients_of_a_table_are_cleaned_and_what_they_hide_is_told(tmp_path, clinic, caplog):
    write_table(clinic, [row.replace(",p4,", ",P04,").replace(",p3,", ",p4,").replace(",p2,", ",nan,") for row in ROWS])
    found = packed(tmp_path, options(clinic, split=None))
    assert {name: image.patient for name, (image, _) in found.items()} == {
        "a/five.IMA": "P04",
        "a/one.dcm": "p1",
        "a/two.dcm": "",
        "three.dicom": "p1",
    }
    assert "1 patients are written in several ways, e.g. 'P04' and 'p4'" in caplog.text
    assert "1 of 5 images have no patient (an empty cell, nan, unknown and the like); the tag PatientID" in caplog.text


def test_empty_rows_and_tabs_and_a_film_that_is_a_link_into_nowhere(tmp_path, clinic):
    write_table(clinic, [*ROWS, ",,,,,,,,", ""])
    assert len(packed(tmp_path, options(clinic))) == 4
    write_table(clinic, [row.replace(",", "\t") for row in ROWS], header=HEADER.replace(",", "\t"))
    with pytest.raises(InputError, match="separated by tabs"):
        packed(tmp_path, options(clinic))
    (clinic / "a" / "one.dcm").unlink()
    (clinic / "a" / "one.dcm").symlink_to("../.git/annex/objects/one")
    write_table(clinic, ROWS)
    with pytest.raises(InputError, match=r"one\.dcm: a link that leads nowhere"):
        packed(tmp_path, options(clinic))


# ---------------------------------------------------------------------------------------------------------- phantoms
def test_phantoms_are_read_with_their_truth(tmp_path):
    settings = chest_settings(normal=4, findings={"nodule": 2, "pneumothorax": 2}, image_size=64, malformed=1)
    values = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
    raw = tmp_path / "dicom.zip"
    fetch(FetchSettings("chest_dicom", "phantom", values), raw=[raw])
    with chest_dicom.read([raw]) as found:
        assert len(found) == 9
        assert sum(image.label == "normal" for image in found) == 5  # the malformed file is labelled normal
        for image in found:
            assert image.patient == ""
            assert (image.label == "abnormal") == bool(image.extra["findings"]) == bool(image.masks)
            kinds = {box.finding for box in parse_boxes(image.extra["boxes"])}
            assert ";".join(sorted(kinds)) == image.extra["findings"]
            if image.masks:
                assert image.masks[0]().startswith(b"\x89PNG")
        assert sum(image.load()[128:132] == b"DICM" for image in found) == 8


def test_the_registry_knows_whose_code_makes_the_bytes():
    assert sources.made_by({"source": "chest_dicom", "provider": "phantom"}) == ["synthmed.data.phantoms.dicom_films"]


# ------------------------------------------------------------------------------------------------------- the archive
LABELS = "file,patient,findings,device,mask,split,source\n"
BOXES = "file,finding,x_min,y_min,x_max,y_max\n"


@pytest.mark.parametrize(
    ("labels", "boxes", "words"),
    [
        ("films/a.dcm,,,,,,x\nfilms/a.dcm,,,,,,x\n", "", r"line 3: 'films/a\.dcm' stands in line 2 already"),
        ("films/b.dcm,,,,,,x\n", "", r"file 'films/b\.dcm' is not in the archive"),
        ("films/a.dcm,,nodule,,masks/a.png,,x\n", "", r"mask 'masks/a\.png' is not in the archive"),
        ("films/a.dcm,,,perhaps,,,x\n", "", "device is 'perhaps'"),
        ("", "", r"1 films have no row in labels\.csv"),
        (
            "films/a.dcm,,nodule,,,,x\n",
            "films/b.dcm,nodule,1,2,3,4\n",
            r"boxes\.csv, line 2: 'films/b\.dcm' has no row",
        ),
        ("films/a.dcm,,nodule,,,,x\n", "films/a.dcm,mass,1,2,3,4\n", "has no finding 'mass'"),
        ("films/a.dcm,,nodule,,,,x\n", "films/a.dcm,nodule,1,2,1,4\n", "must have 0 ≤ x_min"),
    ],
)
def test_an_archive_that_contradicts_itself_is_refused(tmp_path, labels, boxes, words):
    path = tmp_path / "dicom.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("films/a.dcm", dicom(1))
        archive.writestr("labels.csv", LABELS + labels)
        archive.writestr("boxes.csv", BOXES + boxes)
    with pytest.raises(InputError, match=words), chest_dicom.read([path]):
        pass


def test_an_archive_of_something_else_is_refused(tmp_path):
    path = tmp_path / "dicom.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("films/a.dcm", dicom(1))
    with pytest.raises(InputError, match=r"no labels\.csv inside"), chest_dicom.read([path]):
        pass
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.csv", "file,finding\n")
    with pytest.raises(InputError, match="its columns are"), chest_dicom.read([path]):
        pass

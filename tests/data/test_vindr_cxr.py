"""VinDr-CXR in its layout: labels by agreement of readers, boxes of those who agree, and unusable archives."""

import logging
import os
import zipfile

import pytest

from synthmed.core.errors import InputError
from synthmed.data import kaggle, sources
from synthmed.data.boxes import Box, parse_boxes
from synthmed.data.fetch import FetchSettings, fetch
from synthmed.data.sources import vindr_cxr

HEADER = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"
NAMES = {name: None for name in vindr_cxr.CLASSES} | {
    "No finding": "normal",
    "Nodule/Mass": "nodule",
    "ILD": "interstitial opacity",
    "Pulmonary fibrosis": "interstitial opacity",
}


def unanimous(image):
    return [f"{image},No finding,14,R{reader},,,," for reader in (1, 2, 3)]


ROWS = (
    *unanimous("healthy"),
    # Two of three see a nodule, one of them twice; the third nothing.
    "nodule,Nodule/Mass,8,R1,100,200,150,260",
    "nodule,Nodule/Mass,8,R1,500,500,540,540",
    "nodule,Nodule/Mass,8,R4,104,204,154,264",
    "nodule,No finding,14,R2,,,,",
    # Two names of one finding, by two readers; a heart that is left alone by all three.
    "lungs,ILD,5,R1,10,10,90,90",
    "lungs,Pulmonary fibrosis,13,R2,20,10,90,95.5",
    "lungs,Cardiomegaly,3,R1,1,1,5,5",
    "lungs,Cardiomegaly,3,R2,1,1,5,5",
    "lungs,Cardiomegaly,3,R3,1,1,5,5",
    # Only the heart: neither normal nor of the study.
    "heart,Cardiomegaly,3,R1,1,1,5,5",
    "heart,Cardiomegaly,3,R2,1,1,5,5",
    "heart,No finding,14,R3,,,,",
    # One reader sees a nodule, two see nothing.
    "doubtful,Nodule/Mass,8,R1,7,8,9,10",
    "doubtful,No finding,14,R2,,,,",
    "doubtful,No finding,14,R3,,,,",
)
IMAGES = ("healthy", "nodule", "lungs", "heart", "doubtful")


def make_archive(path, rows=ROWS, images=IMAGES, header=HEADER, root=""):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}train.csv", "\n".join([header, *rows]) + "\n")
        archive.writestr(f"{root}sample_submission.csv", "image_id,PredictionString\n")
        archive.writestr(f"{root}test/unlabelled.dicom", b"test film")
        for image in images:
            archive.writestr(f"{root}train/{image}.dicom", f"film {image}".encode())
    return path


def labels(min_readers=2, merge_overlap=None, names=NAMES):
    return {"min_readers": min_readers, "finding_names": names, "merge_overlap": merge_overlap}


def fetched(tmp_path, placed, chosen, folder="raw"):
    raw = [tmp_path / folder / name for name in sources.raw_files({"source": "vindr_cxr"})]
    fetch(FetchSettings("vindr_cxr", "file", {"path": str(placed), "labels": chosen}), raw=raw)
    with vindr_cxr.read(raw) as found:
        return {image.name: (image, image.load()) for image in found}


# ------------------------------------------------------------------------------------------------------------ labels
@pytest.mark.parametrize(
    ("min_readers", "expected"),
    [
        (
            1,
            {
                "healthy": "",
                "nodule": "nodule",
                "lungs": "interstitial opacity",
                "doubtful": "nodule",
            },
        ),
        (2, {"healthy": "", "nodule": "nodule", "lungs": "interstitial opacity", "doubtful": ""}),
    ],
)
def test_findings_are_those_on_which_enough_readers_agree(tmp_path, min_readers, expected):
    found = fetched(tmp_path, make_archive(tmp_path / "v.zip"), labels(min_readers))
    assert {name: image.extra["findings"] for name, (image, _) in found.items()} == expected
    for image, _ in found.values():
        assert image.label == ("abnormal" if image.extra["findings"] else "normal")


def test_three_readers_of_three(tmp_path):
    rows = [
        *ROWS,
        *(f"sure,Nodule/Mass,8,R{reader},1,2,3,4" for reader in (1, 2, 3)),
        *(f"fibrous,ILD,5,R{reader},1,2,3,4" for reader in (1, 2, 3)),
    ]
    found = fetched(tmp_path, make_archive(tmp_path / "v.zip", rows, (*IMAGES, "sure", "fibrous")), labels(3))
    # "lungs": only two readers name the opacity, and all three the heart, so the film is neither.
    assert {name: image.extra["findings"] for name, (image, _) in found.items()} == {
        "healthy": "",
        "sure": "nodule",
        "fibrous": "interstitial opacity",
    }


def test_films_are_their_own_patients_and_that_is_said(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    found = fetched(tmp_path, make_archive(tmp_path / "v.zip"), labels())
    assert {image.patient for image, _ in found.values()} == {"healthy", "nodule", "lungs", "doubtful"}
    assert {image.extra["device"] for image, _ in found.values()} == {""}
    assert found["lungs"][1] == b"film lungs"
    assert "NO patient numbers" in caplog.text
    assert "no manufacturer" in caplog.text
    assert "4 films (normal 2, interstitial opacity 1, nodule 1)" in caplog.text
    assert "1 films left out" in caplog.text


def test_boxes_are_those_of_the_readers_who_agree(tmp_path):
    placed = make_archive(tmp_path / "v.zip")
    boxes = {
        name: parse_boxes(image.extra["boxes"]) for name, (image, _) in fetched(tmp_path, placed, labels()).items()
    }
    assert boxes["healthy"] == boxes["doubtful"] == []
    assert boxes["nodule"] == [
        ("nodule", 100, 200, 150, 260),
        ("nodule", 500, 500, 540, 540),
        ("nodule", 104, 204, 154, 264),
    ]
    assert {box.finding for box in boxes["lungs"]} == {"interstitial opacity"}
    assert len(boxes["lungs"]) == 2


def test_boxes_that_overlap_become_their_mean(tmp_path):
    placed = make_archive(tmp_path / "v.zip")
    found = fetched(tmp_path, placed, labels(merge_overlap=0.5))
    # 46 × 56 of 2 · 3000 - 2576 pixels: 0.752.
    assert vindr_cxr.overlap(Box("n", 100, 200, 150, 260), Box("n", 104, 204, 154, 264)) == pytest.approx(2576 / 3424)
    assert parse_boxes(found["nodule"][0].extra["boxes"]) == [
        ("nodule", 102, 202, 152, 262),
        ("nodule", 500, 500, 540, 540),
    ]
    apart = fetched(tmp_path, placed, labels(merge_overlap=0.8), folder="again")
    assert len(parse_boxes(apart["nodule"][0].extra["boxes"])) == 3


def test_boxes_that_touch_do_not_overlap():
    assert vindr_cxr.overlap(Box("n", 0, 0, 1, 1), Box("n", 1, 0, 2, 1)) == 0


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (labels(min_readers=0), "min_readers is 0"),
        (labels(min_readers=4), "min_readers is 4"),
        (labels(merge_overlap=0.0), "merge_overlap is 0"),
        (labels(names={**NAMES, "Nodule": "nodule"}), "'Nodule', which never occurs"),
        (labels(names={name: NAMES[name] for name in NAMES if name != "ILD"}), "does not say what 'ILD' becomes"),
        (labels(names={**NAMES, "Pneumothorax": "pneumothorax"}), "no film is left of the class 'pneumothorax'"),
    ],
)
def test_label_settings_that_cannot_be(tmp_path, chosen, words):
    with pytest.raises(InputError, match=words):
        fetched(tmp_path, make_archive(tmp_path / "v.zip"), chosen)
    assert not (tmp_path / "raw").exists()


# ----------------------------------------------------------------------------------------------------------- archive
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": IMAGES[1:]}, r"1 films have rows but no file .*the first is 'healthy'; the archive is incomplete"),
        ({"images": (*IMAGES, "new")}, r"1 films have no row in train\.csv, the first is 'train/new\.dicom'"),
        ({"images": ()}, r"no train/\*\.dicom inside; this is not vinbigdata"),
        ({"header": HEADER.replace("rad_id", "reader")}, "no column 'rad_id'"),
        ({"rows": [*ROWS, "healthy,No finding,14,R9,,,,"]}, "film 'healthy' has 4 readers"),
        ({"rows": [*ROWS, "nodule,Nodule/Mass,8,R1,9,9,4,12"]}, r"train\.csv, line 20: box 9, 9, 4, 12 must have"),
        ({"rows": [*ROWS, "nodule,Nodule/Mass"]}, "line 20: it has not 8 cells"),
        ({"rows": ["", *ROWS, "", "", "nodule,Nodule/Mass"]}, "line 23: it has not 8 cells"),
        (
            {"header": f"{HEADER},rad_id", "rows": [f"{row},R9" for row in ROWS]},
            r"train\.csv: the column 'rad_id' occurs 2 times",
        ),
        ({"rows": [*ROWS[:-1], "doubtful,Nodul,8,R3,1,1,2,2"]}, "does not say what 'Nodul' becomes"),
        (
            {"rows": [row.replace("No finding", "Other lesion") for row in ROWS]},
            "no film is left of the class 'normal'",
        ),
    ],
)
def test_an_archive_that_does_not_fit_is_refused(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        fetched(tmp_path, make_archive(tmp_path / "v.zip", **changes), labels())
    assert not (tmp_path / "raw").exists()


def test_other_archives_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no such file \(setting options\.path\); download vinbigdata"):
        fetched(tmp_path, tmp_path / "nowhere.zip", labels())
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", "x")
    with pytest.raises(InputError, match=r"0 files train\.csv inside"):
        fetched(tmp_path, tmp_path / "other.zip", labels())


def test_the_archive_may_lie_in_a_folder_of_its_own(tmp_path):
    assert len(fetched(tmp_path, make_archive(tmp_path / "v.zip", root="vinbigdata/"), labels())) == 4


def test_two_hundred_gigabytes_are_not_copied(tmp_path):
    placed = make_archive(tmp_path / "v.zip")
    fetched(tmp_path, placed, labels())
    raw = tmp_path / "raw" / f"{vindr_cxr.COMPETITION}.zip"
    assert os.path.samefile(placed, raw)


def test_without_links_the_archive_is_copied(tmp_path, monkeypatch):
    def refused(*_args):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    placed = make_archive(tmp_path / "v.zip")
    assert len(fetched(tmp_path, placed, labels())) == 4
    raw = tmp_path / "raw" / f"{vindr_cxr.COMPETITION}.zip"
    assert raw.read_bytes() == placed.read_bytes()
    assert not os.path.samefile(placed, raw)


# ------------------------------------------------------------------------------------------------------------ Kaggle
class Client:
    def __init__(self):
        self.calls = []

    def competition_download_files(self, competition, path, force, quiet):
        self.calls.append(competition)
        make_archive(os.path.join(path, f"{competition}.zip"))


def test_kaggle_downloads_into_the_folder_and_once_only(tmp_path, monkeypatch):
    client = Client()
    monkeypatch.setattr(kaggle.download_competition, "__defaults__", (lambda: client,))
    (tmp_path / "disk").mkdir()
    raw = [tmp_path / "raw" / name for name in sources.raw_files({"source": "vindr_cxr"})]
    for min_readers in (2, 1):  # other labels do not need another download
        chosen = {"folder": str(tmp_path / "disk"), "labels": labels(min_readers)}
        fetch(FetchSettings("vindr_cxr", "kaggle", chosen), raw=raw)
        with vindr_cxr.read(raw) as found:
            assert [image.extra["findings"] for image in found if image.name == "doubtful"] == (
                [""] if min_readers == 2 else ["nodule"]
            )
    assert client.calls == ["vinbigdata-chest-xray-abnormalities-detection"]


def test_settings_are_checked_before_the_download(tmp_path, monkeypatch):
    client = Client()
    monkeypatch.setattr(kaggle.download_competition, "__defaults__", (lambda: client,))
    raw = [tmp_path / "raw" / name for name in sources.raw_files({"source": "vindr_cxr"})]
    with pytest.raises(InputError, match="min_readers"):
        fetch(FetchSettings("vindr_cxr", "kaggle", {"folder": str(tmp_path), "labels": labels(min_readers=9)}), raw=raw)
    assert client.calls == []

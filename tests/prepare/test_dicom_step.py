"""The step prepare-dicom: columns, boxes, masks, names that say nothing, rejects, processes; and what may not leak."""

import csv
import errno
import os
import signal
import subprocess
import sys
import zipfile
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from made_up_dicom import RAMP, dataset, film, png, raw_image, source_of, written
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.settings import parse
from synthmed.data import sources
from synthmed.data.archives import DamagedMember
from synthmed.data.boxes import parse_boxes
from synthmed.data.imageset import ImageSet
from synthmed.prepare import dicom
from synthmed.prepare.anonymise import pseudonym
from synthmed.prepare.dicom import PrepareDicomSettings, prepare
from synthmed.prepare.dicom_file import read_film
from synthmed.prepare.processes import in_processes

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SALT = "a salt for tests only"
SETTINGS = {
    "source": "made_up",
    "labels": {"normal": "normal", "abnormal": "abnormal"},
    "keep": [],
    "size": [20, 20],
    "crop_black_borders": False,
    "resample": "box",
    "masks": {"kind": "semantic", "classes": {"foreground": 255}, "required": False},
    "min_size": 16,
    "voi": "lut_or_window",
    "voi_number": 1,
    "lower_percentile": 0.0,
    "upper_percentile": 100.0,
    "detect_burnt_in": True,
    "salt": SALT,
    "salt_file": None,
    "file_names": "hidden",
    "max_rejects": 0.5,
    "workers": 1,
    "prefix": "",
}
LABELS = ["normal", "abnormal"]
GOOD = film(PatientAge="045Y", PatientSex="F", ViewPosition="PA", Manufacturer="Philips", BurnedInAnnotation="NO")


def good(count=4):
    return [raw_image(GOOD, number, label=LABELS[number % 2]) for number in range(count)]


def run(tmp_path, monkeypatch, images, out="out", **changes):
    """Image set and rejects of these raw images."""
    monkeypatch.setitem(sources.SOURCES, "made_up", "made_up_source")
    monkeypatch.setattr(sources, "load", lambda name: source_of(images))
    folder = tmp_path / out
    settings = parse(PrepareDicomSettings, SETTINGS | changes)
    prepare(settings, raw=[tmp_path / "dicom.zip"], images=folder / "images.zip", rejects=folder / "rejects.csv")
    with open(folder / "rejects.csv", newline="", encoding="utf-8") as handle:
        return ImageSet(folder / "images.zip"), list(csv.DictReader(handle))


# ------------------------------------------------------------------------------------------------------- what it makes
def test_columns_of_the_manifest(tmp_path, monkeypatch):
    second = film(
        syntax=RLELossless,
        PhotometricInterpretation="MONOCHROME1",
        BurnedInAnnotation="YES",
        PatientBirthDate="19700630",
        StudyDate="20150629",
        PatientID=" 777 ",
    )
    images = [raw_image(GOOD), raw_image(second, 1, label="abnormal", split="test")]
    found, rejects = run(tmp_path, monkeypatch, images)
    assert rejects == []
    first, second = found.rows
    names = [pseudonym(SALT.encode(), "file", f"dicom.zip:films/{n}.dcm", 8) for n in (0, 1)]
    patients = [pseudonym(SALT.encode(), "patient", number, 16) for number in ("12345", "777")]
    assert first == {
        "image": f"film_00001_{names[0]}.png",
        "label": "normal",
        "mask": "",
        "patient": patients[0],
        "split": "",
        "source": "hospital",
        "age": "45",
        "bits_stored": "12",
        "burnt_in": "no",
        "manufacturer": "Philips",
        "photometric": "MONOCHROME2",
        "sex": "F",
        "transfer_syntax": "ExplicitVRLittleEndian",
        "view": "PA",
    }
    assert second == first | {
        "image": f"film_00002_{names[1]}.png",
        "label": "abnormal",
        "patient": patients[1],
        "split": "test",
        "age": "44",
        "burnt_in": "yes",
        "manufacturer": "",
        "photometric": "MONOCHROME1",
        "sex": "",
        "transfer_syntax": "RLELossless",
        "view": "",
    }
    # RAMP from 0 to 3838 by boxes of 2 × 2.4 pixels; the second film is its negative.
    expected = np.asarray(Image.fromarray(np.rint(RAMP / 3838 * 255).astype(np.uint8)).resize((20, 20), 4))
    assert np.array_equal(found[0][..., 0], expected)
    assert np.abs(found[1][..., 0].astype(int) + expected - 255).max() <= 1


def test_numbers_of_one_patient_that_differ_in_spelling_are_one_patient(tmp_path, monkeypatch, caplog):
    numbers = ["P007", "p7", "P 7", "P70", "P007"]
    images = [raw_image(film(PatientID=text), n, label=LABELS[n % 2]) for n, text in enumerate(numbers)]
    found, _ = run(tmp_path, monkeypatch, images)
    keys = found.column("patient")
    assert keys[0] == keys[1] == keys[2] == keys[4] == pseudonym(SALT.encode(), "patient", "P007", 16)
    assert keys[3] != keys[0]
    assert "2 films have their patient's number in another spelling" in caplog.text


def test_a_film_whose_patient_nobody_knows_says_so(tmp_path, monkeypatch):
    images = [raw_image(GOOD, patient="x", patient_known=False), raw_image(GOOD, 1, label="abnormal")]
    found, _ = run(tmp_path, monkeypatch, images)
    assert found.column("patient_known") == ["no", ""]


def test_the_sources_patient_goes_before_the_tag_and_one_patient_has_one_key(tmp_path, monkeypatch):
    images = [raw_image(GOOD), raw_image(GOOD, 1, patient="12345"), raw_image(GOOD, 2, patient="9", label="abnormal")]
    found, _ = run(tmp_path, monkeypatch, images, prefix="pool_")
    keys = found.column("patient")
    assert keys[0] == keys[1] != keys[2]
    assert all(key.startswith("pool_") for key in keys + found.column("image"))


def test_percentiles_and_window_reach_the_picture(tmp_path, monkeypatch):
    windowed = film(WindowCenter=[1000, 3000], WindowWidth=[500, 500])
    images = [raw_image(windowed), raw_image(windowed, 1, label="abnormal")]
    first = run(tmp_path, monkeypatch, images)[0][0]
    second = run(tmp_path, monkeypatch, images, voi_number=2)[0][0]
    none = run(tmp_path, monkeypatch, images, voi="none")[0][0]
    cut = run(tmp_path, monkeypatch, images, voi="none", lower_percentile=20.0, upper_percentile=80.0)[0][0]
    assert first.mean() > none.mean() > second.mean()
    assert (cut == 0).mean() == pytest.approx(0.2, abs=0.02)
    assert (cut == 255).mean() == pytest.approx(0.2, abs=0.02)


def test_masks_that_are_all_empty_stop_the_run(tmp_path, monkeypatch):
    shape = read_film(GOOD).stored.shape
    images = [raw_image(GOOD, masks=(lambda: png(np.zeros(shape, np.uint8)),)), *good(2)[1:]]
    with pytest.raises(InputError, match="all 1 masks are empty"):
        run(tmp_path, monkeypatch, images)
    assert len(run(tmp_path, monkeypatch, images, masks=None)[0]) == 2


def test_boxes_and_masks_follow_the_border_and_the_resize(tmp_path, monkeypatch):
    pixels = np.zeros((60, 100), np.uint16)
    pixels[10:50, 20:100] = np.arange(40 * 80).reshape(40, 80) + 800
    mask = np.zeros((60, 100), np.uint8)
    mask[10:30, 20:60] = 255
    extra = {"boxes": "nodule:20,10,60,30;rib fracture:0.0,40.0,40.0,60.0", "findings": "nodule;rib fracture"}
    images = [raw_image(film(pixels), masks=(lambda: png(mask),), extra=extra), *good(2)[1:]]
    images[1] = raw_image(GOOD, 1, label="abnormal", extra={"boxes": "", "findings": ""})
    kept = {"keep": ["boxes", "findings"], "size": [40, 40], "crop_black_borders": True}
    found, _ = run(tmp_path, monkeypatch, images, **kept)
    # The content is 80 × 40 pixels, from (20, 10) on: × 0.5 and × 1.
    assert found.column("boxes") == ["nodule:0,0,20,20;rib fracture:0,30,10,40", ""]
    assert found.column("findings") == ["nodule;rib fracture", ""]
    inside = np.zeros((40, 40), bool)
    inside[:20, :20] = True
    [(_, _, mask)] = found.entries([0])
    assert np.array_equal(mask == 255, inside)
    assert found.column("mask") == [found.column("image")[0], ""]
    # The box of a finding is brighter than what is around it, in the raw film and in the prepared one.
    pixels[20:30, 30:50] = 4095
    images[0] = raw_image(film(pixels), extra=extra | {"boxes": "nodule:30,20,50,30"})
    found, _ = run(tmp_path, monkeypatch, images, **kept)
    [box] = parse_boxes(found.column("boxes")[0])
    inside = np.zeros((40, 40), bool)
    inside[round(box.top) : round(box.bottom), round(box.left) : round(box.right)] = True
    assert np.array_equal(found[0][..., 0] == 255, inside)


def test_a_kept_cell_wins_over_a_tag_and_an_empty_one_does_not(tmp_path, monkeypatch):
    images = [
        raw_image(GOOD, n, label=LABELS[n], extra={"view": cell, "secret": "x"}) for n, cell in enumerate(["AP", ""])
    ]
    found, _ = run(tmp_path, monkeypatch, images, keep=["view"])
    assert found.column("view") == ["AP", "PA"]
    assert "secret" not in found.rows[0]


def test_letters_are_looked_for_where_the_tag_is_silent(tmp_path, monkeypatch):
    pixels = np.zeros((300, 300), np.uint16)
    pixels[60:, :] = 1000 + np.arange(240)[:, None]
    letters = np.zeros((300, 300), bool)
    for x in range(10, 100, 14):  # like H H H
        letters[20:36, [x, x + 1, x + 7, x + 8]] = True
        letters[27:29, x : x + 8] = True
    images = [
        raw_image(film(np.where(letters, 4000, pixels).astype(np.uint16))),
        raw_image(film(pixels), 1, label="abnormal"),
    ]
    assert run(tmp_path, monkeypatch, images)[0].column("burnt_in") == ["yes", ""]
    assert run(tmp_path, monkeypatch, images, detect_burnt_in=False)[0].column("burnt_in") == ["", ""]


def test_the_salt_decides_every_hash_and_may_lie_in_a_file(tmp_path, monkeypatch):
    (tmp_path / "salt").write_text(f"{SALT}\n")
    from_text, _ = run(tmp_path, monkeypatch, good())
    from_file, _ = run(tmp_path, monkeypatch, good(), salt=None, salt_file=str(tmp_path / "salt"))
    other, _ = run(tmp_path, monkeypatch, good(), salt="quite another salt")
    assert from_text.rows == from_file.rows
    assert not set(from_text.column("patient")) & set(other.column("patient"))
    assert not set(from_text.column("image")) & set(other.column("image"))


# ------------------------------------------------------------------------------------------------------------ rejects
def damaged():
    raise DamagedMember("damaged inside the archive dicom.zip: Bad CRC-32 for file 'films/DOE_JANE.dcm'")


def surprise():
    raise KeyError("Quellmarth")  # of a library; such texts may quote tags


BAD = {
    "not DICOM": {"content": b"a text file named .dcm\n"},
    "no pixel data": {"content": film(drop=["PixelData"])},
    "too small: 40×8 pixels, the shorter side must have 16": {"content": film(RAMP[:8])},
    "no patient: the tag PatientID is 'unknown', a word for nobody, and no column of patients names one; add such a "
    "column": {"content": film(PatientID="unknown")},
    "damaged inside its archive": {"content": damaged},
    "not DICOM: its source gives pixels": {"content": lambda: RAMP},
    "its mask has 5×5 pixels, the image 40×48": {
        "content": GOOD,
        "masks": (lambda: png(np.zeros((5, 5), np.uint8)),),
    },
    "its mask: damaged inside its archive": {"content": GOOD, "masks": (damaged,)},
    "wrong box: it lies outside of the film or in its black border": {"content": GOOD, "boxes": "nodule:41,0,50,9"},
    "wrong box: it is less than 0.01 pixels wide or high in the prepared image": {
        "content": GOOD,
        "boxes": "nodule:1,0,1.01,9",  # the film is 40 pixels wide, the prepared image 20
    },
    "damaged: it cannot be read (KeyError)": {"content": surprise},
}


def test_bad_files_are_rejected_each_with_its_reason_and_a_neutral_name(tmp_path, monkeypatch):
    images = [raw_image(GOOD, n, label=LABELS[n % 2], extra={"boxes": ""}) for n in range(10)]
    for number, bad in enumerate(BAD.values(), start=10):
        extra = {"boxes": bad.get("boxes", "")}
        images.append(raw_image(bad["content"], number, masks=bad.get("masks", ()), extra=extra))
    found, rejects = run(tmp_path, monkeypatch, images, keep=["boxes"], max_rejects=0.6)
    assert len(found) == 10
    assert [row["reason"] for row in rejects] == list(BAD)
    assert rejects[0]["file"] == f"film_00011_{pseudonym(SALT.encode(), 'file', 'dicom.zip:films/10.dcm', 8)}"
    _, rejects = run(tmp_path, monkeypatch, images, keep=["boxes"], file_names="shown", max_rejects=0.6)
    assert rejects[0]["file"] == "dicom.zip:films/10.dcm"


def test_a_thin_box_stays_a_box(tmp_path, monkeypatch):
    cells = ["nodule:10.0,0,10.1,48", ""]
    images = [raw_image(GOOD, n, label=LABELS[n], extra={"boxes": cell}) for n, cell in enumerate(cells)]
    found, _ = run(tmp_path, monkeypatch, images, keep=["boxes"])
    assert found.column("boxes") == ["nodule:5,0,5.05,20", ""]
    assert len(parse_boxes(found.column("boxes")[0])) == 1


def test_too_many_rejects_stop_the_run_and_leave_nothing(tmp_path, monkeypatch):
    images = [*good(), raw_image(b"text", 4)]
    with pytest.raises(
        InputError,
        match=r"1 of 5 images cannot be used .*share of 0\.1\)(.|\n)*film_00005_\w+: not DICOM(.|\n)*"
        r"\(numbers follow the sorted files; file_names: shown says how the files are named\)$",
    ):
        run(tmp_path, monkeypatch, images, max_rejects=0.1)
    with pytest.raises(InputError, match=r"not DICOM$"):
        run(tmp_path, monkeypatch, images, max_rejects=0.1, file_names="shown")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"salt": None}, "exactly one of the settings salt"),
        ({"salt_file": "salt"}, "exactly one of the settings salt"),
        ({"lower_percentile": 99.0, "upper_percentile": 99.0}, "lower_percentile is 99; it must be below upper_perce"),
        ({"keep": ["patient"]}, "setting keep names 'patient', a column that every image set has anyway"),
        ({"keep": ["device"]}, r"setting keep: film_00001_\w+ has no column 'device' in source 'made_up'; it has \[\]"),
        ({"labels": {"normal": "normal"}}, r"film_00002_\w+: unknown label 'abnormal'"),
        ({"labels": {"normal": "a", "abnormal": "b", "x": "c"}}, "no image of the class 'c'"),
    ],
)
def test_settings_that_cannot_be(tmp_path, monkeypatch, changes, message):
    with pytest.raises(InputError, match=message):
        run(tmp_path, monkeypatch, good(), **changes)


def test_a_box_that_is_none_is_an_error_of_the_source(tmp_path, monkeypatch):
    images = [raw_image(GOOD, extra={"boxes": "nodule:1,2,3"}), *good()[1:]]
    with pytest.raises(InputError, match=r"film_00001_\w+: box 'nodule:1,2,3' is not written as"):
        run(tmp_path, monkeypatch, images)


# ---------------------------------------------------------------------------------------------------------- processes
def test_the_number_of_workers_changes_no_byte(tmp_path, monkeypatch):
    images = [*good(9), raw_image(b"text", 9), *good(3)]
    images = [raw_image(image.load, n, label=image.label) for n, image in enumerate(images)]
    for workers in (1, 3):
        run(tmp_path, monkeypatch, images, f"by_{workers}", workers=workers)
    for name in ("images.zip", "rejects.csv"):
        assert (tmp_path / "by_1" / name).read_bytes() == (tmp_path / "by_3" / name).read_bytes()


def test_a_file_that_kills_its_process_is_rejected_alone(tmp_path, monkeypatch):
    def crash():
        os.kill(os.getpid(), signal.SIGSEGV)

    images = good(8)
    images[3] = raw_image(crash, 3, label="abnormal")
    found, rejects = run(tmp_path, monkeypatch, images, workers=2)
    assert [row["reason"] for row in rejects] == ["its decoder crashed"]
    assert [name[:10] for name in found.column("image")] == [f"film_0000{n}" for n in (1, 2, 3, 5, 6, 7, 8)]


def test_a_process_that_the_system_kills_is_no_fault_of_the_film(tmp_path, monkeypatch):
    """As Linux does where memory runs out."""

    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(InputError, match=r"was killed, probably for lack of memory; lower prepare\.workers"):
        run(tmp_path, monkeypatch, [*good(2), raw_image(killed, 2)])


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ESTALE, "the network disk lost it; run the same command again"),
        (errno.ETIMEDOUT, r"cannot be read \(\[Errno "),
    ],
)
def test_a_disk_that_fails_is_no_fault_of_the_film_nor_names_it(tmp_path, monkeypatch, number, said):
    def lost():
        raise OSError(number, "It failed")

    with pytest.raises(InputError, match=said) as error:
        run(tmp_path, monkeypatch, [*good(2), raw_image(lost, 2)])
    assert str(tmp_path) in str(error.value)
    assert "2.dcm" not in str(error.value), "its name may be somebody's"


def test_a_decoder_that_panics_rejects_its_film_alone(tmp_path, monkeypatch):
    content = bytearray(Path(get_testdata_file("MR_small_RLE.dcm", download=False)).read_bytes())
    content[1965] ^= 0xFF  # the decoder, in Rust, raises a BaseException that cannot be pickled
    images = good(4)
    images[1] = raw_image(bytes(content), 1, label="abnormal")
    found, rejects = run(tmp_path, monkeypatch, images, workers=2)
    assert [row["reason"] for row in rejects] == ["cannot be decoded: RLELossless"]
    assert len(found) == 3


def test_memory_that_runs_out_is_no_fault_of_the_film(tmp_path, monkeypatch):
    def full():
        raise MemoryError

    with pytest.raises(MemoryError):
        run(tmp_path, monkeypatch, [*good(2), raw_image(full, 2)])


def test_few_films_are_in_flight(tmp_path, monkeypatch):
    def marked(number):
        def load():
            (tmp_path / f"read_{number}").touch()
            return GOOD

        return load

    images = [raw_image(marked(number), number) for number in range(40)]
    monkeypatch.setattr(sources, "load", lambda name: source_of(images))
    work = partial(dicom._prepare_one, settings=parse(PrepareDicomSettings, SETTINGS), salt=SALT.encode())
    results = in_processes(work, range(40), "made_up", [], workers=2)
    next(results)
    results.close()
    assert len(list(tmp_path.glob("read_*"))) <= 4


# -------------------------------------------------------------------------------------------------------- anonymity
PLANTED = {
    "PatientName": "Quellmarth^Ottilie",
    "PatientID": "PID-4711-0815",
    "PatientBirthDate": "19610312",
    "OtherPatientIDs": "OTHER-0042",
    "PatientAddress": "Zweifelsteinweg 7",
    "PatientTelephoneNumbers": "555-0199-0199",
    "AccessionNumber": "ACC00012345",
    "StudyDate": "20150629",
    "StudyID": "STUDY-9",
    "StudyInstanceUID": "2.25.1111111111111",
    "SeriesInstanceUID": "2.25.2222222222222",
    "SOPInstanceUID": "2.25.3333333333333",
    "FrameOfReferenceUID": "2.25.4444444444444",
    "InstitutionName": "St. Phantomas Hospital",
    "InstitutionAddress": "Phantom Lane 1",
    "StationName": "STATION-77",
    "DeviceSerialNumber": "SERIAL-31337",
    "ReferringPhysicianName": "Amalasuntha^Dr",
    "OperatorsName": "Jankaitis^Op",
    "StudyDescription": "Chest of Quellmarth",
    "SeriesDescription": "for Mrs Ottilie",
    "ImageComments": "born 1961-03-12, Quellmarth",
    "PatientComments": "lives in Zweifelsteinweg",
    "RequestedProcedureDescription": "Quellmarth's chest",
    # Where they do not belong:
    "Manufacturer": "Scanned for Quellmarth",
    "ViewPosition": "OTTILIE",
    "PatientSex": "Q",
    "VOILUTFunction": "LINEAR",
}
SECRETS = [
    *("quellmarth", "ottilie", "pid-4711", "4711-0815", "19610312", "1961-03-12", "other-0042", "zweifelstein"),
    *("555-0199", "acc00012345", "20150629", "study-9", "2.25.", "phantomas", "phantom lane", "station-77"),
    *("serial-31337", "amalasuntha", "jankaitis", "1.2.840"),
]


def planted(**options):
    file = dataset(**PLANTED, **options)
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    block = file.private_block(0x0009, "QUELLMARTH", create=True)
    block.add_new(0x10, "LO", "Quellmarth^Ottilie")
    return file


def planted_files():
    """Good and bad films whose every tag, file name and JPEG comment carries somebody's name."""
    small = (RAMP // 16).astype(np.uint8)
    # pydicom quotes an unknown character set, and below an unknown transfer syntax, in a warning.
    first = written(planted(SpecificCharacterSet="ISO_IR 100"))
    files = {"films/Quellmarth_Ottilie_1.dcm": first.replace(b"ISO_IR 100", b"Quellmarth")}
    compressed = planted(syntax=JPEGBaseline8Bit, pixels=small)
    comment = b"Quellmarth, Ottilie"
    jpeg = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    data = compressed.PixelData
    at = data.index(b"\xff\xd8") + 2
    length = int.from_bytes(data[at - 6 : at - 2], "little") + len(jpeg)
    compressed.PixelData = data[: at - 6] + length.to_bytes(4, "little") + b"\xff\xd8" + jpeg + data[at:]
    compressed["PixelData"].is_undefined_length = True
    files["films/PID-4711-0815.dcm"] = written(compressed)
    files["films/Quellmarth_Ottilie_3.dcm"] = written(planted())[:-99]
    files["films/ACC00012345.dcm"] = written(planted(drop=["Rows"]))
    files["films/Quellmarth_Ottilie_5.dcm"] = written(planted(PhotometricInterpretation="QUELLMARTH"))
    files["films/2.25.3333333333333.dcm"] = b"Quellmarth^Ottilie wrote a text and named it .dcm\n"
    files["films/Quellmarth_Ottilie_7.dcm"] = written(planted(WindowCenter=10, WindowWidth=0))
    # Texts where numbers should be: pydicom's messages quote them.
    bad_number = written(planted(RescaleSlope=1, RescaleIntercept="31337"))
    assert bad_number.count(b"31337 ") == 1
    files["films/Quellmarth_Ottilie_8.dcm"] = bad_number.replace(b"31337 ", b"Ottili")
    files["films/Quellmarth_Ottilie_9.dcm"] = written(planted()).replace(
        b"1.2.840.10008.1.2.1\0", b"Quellmarth.1.2.3.4.5"
    )
    return files


def test_nothing_that_identifies_anybody_survives_into_any_output(tmp_path):
    raw, out = tmp_path / "raw" / "dicom.zip", tmp_path / "out"
    raw.parent.mkdir()
    files = planted_files()
    labels = ["file,patient,findings,device,mask,split,source"]
    labels += [f"{file},,{'nodule' if n % 2 else ''},,,,clinic" for n, file in enumerate(files)]
    with zipfile.ZipFile(raw, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("labels.csv", "\n".join(labels) + "\n")
        archive.writestr("boxes.csv", "file,finding,x_min,y_min,x_max,y_max\nfilms/PID-4711-0815.dcm,nodule,1,1,9,9\n")
    assert all(secret in str(files).lower() for secret in ("quellmarth", "pid-4711", "acc00012345"))
    changes = {"source": "chest_dicom", "keep": ["findings", "device", "boxes"], "max_rejects": 0.9, "workers": 2}
    write_json(tmp_path / "settings.json", SETTINGS | changes)
    given = {"settings": tmp_path / "settings.json", "raw": raw, "log": out / "log.txt"}
    made = {"images": out / "images.zip", "rejects": out / "rejects.csv"}
    arguments = [text for name, path in (given | made).items() for text in (f"--{name}", str(path))]
    # As a program of its own, so that warnings and messages of libraries go where they go for users.
    ran = subprocess.run(
        [sys.executable, "-m", "synthmed", "prepare-dicom", *arguments], capture_output=True, text=True
    )
    printed = ran.stdout + ran.stderr
    assert ran.returncode == 0, printed

    found = ImageSet(out / "images.zip")
    assert len(found) == 2
    assert found.column("age") == ["54", "54"]
    assert found.column("manufacturer") == ["", ""]
    assert found.column("view") == ["OTHER", "OTHER"]
    assert "7 rejected" in printed
    outputs = {path.name: path.read_bytes() for path in out.iterdir()} | {"terminal": printed.encode()}
    assert {"images.zip", "rejects.csv", "log.txt", "images.zip.provenance.json"} <= set(outputs)
    outputs |= {
        name: zipfile.ZipFile(out / "images.zip").read(name) for name in zipfile.ZipFile(out / "images.zip").namelist()
    }
    for name, content in outputs.items():
        for secret in SECRETS:
            assert secret.encode() not in content.lower(), f"{secret} is in {name}"
            assert secret.encode("utf-16-le") not in content.lower(), f"{secret} is in {name}"


def test_pictures_carry_nothing_but_pixels(tmp_path, monkeypatch):
    run(tmp_path, monkeypatch, [raw_image(written(planted())), raw_image(written(planted()), 1, label="abnormal")])
    with zipfile.ZipFile(tmp_path / "out" / "images.zip") as archive:
        assert all(info.date_time == (1980, 1, 1, 0, 0, 0) and not info.comment for info in archive.infolist())
        assert archive.comment == b""
        for name in archive.namelist():
            if name.endswith(".png"):
                content = archive.read(name)
                at, chunks = 8, []
                while at < len(content):
                    chunks.append(content[at + 4 : at + 8])
                    at += 12 + int.from_bytes(content[at : at + 4], "big")
                assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}


def test_the_age_tells_no_birth_date(tmp_path, monkeypatch):
    def born(day):
        return film(PatientBirthDate=day.strftime("%Y%m%d"), StudyDate="20150629")

    days = [date(1969, 6, 30), date(1969, 12, 24), date(1970, 6, 29)]
    images = [raw_image(born(day), n, label=LABELS[n % 2]) for n, day in enumerate(days)]
    assert run(tmp_path, monkeypatch, images)[0].column("age") == ["45", "45", "45"]

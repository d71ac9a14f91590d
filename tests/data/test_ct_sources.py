"""Sources of CT: OSIC's archives, ready-made slices, and folders of volumes."""

import io
import json
import unicodedata
import zipfile

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.data import kaggle
from synthmed.data.archives import DamagedMember
from synthmed.data.sources import ct_folder, ct_slices, osic_ct
from synthmed.data.sources.raw_volume import natural


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def picture(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def test_natural_order():
    assert sorted(["10.dcm", "9.dcm", "a2", "a10", "1.dcm"], key=natural) == ["1.dcm", "9.dcm", "10.dcm", "a2", "a10"]


# --------------------------------------------------------------------------------------------------------------- OSIC
SERIES = {f"train/ID1/{number}.dcm": b"" for number in (1, 2, 10)} | {"test/ID1/1.dcm": b"", "train/ID2/1.dcm": b""}
MASKS = {f"nrrd_{organ}/nrrd_{organ}/ID1_{organ}.nrrd": organ.encode() for organ in ("lung", "heart", "trachea")}


def osic(folder, series=SERIES, masks=MASKS):
    placed = {"series": str(zipped(folder / "s.zip", series)), "masks": str(zipped(folder / "m.zip", masks))}
    raw = [folder / name for name in osic_ct.raw_files({})]
    osic_ct.fetch("file", {**placed, "reading": {"alignment": "index"}}, raw)
    return raw


def test_series_in_natural_order_with_the_masks_of_their_patient(tmp_path):
    with osic_ct.read(osic(tmp_path)) as volumes:
        first, second = volumes
        assert [file.name for file in first.files] == [f"train/ID1/{number}.dcm" for number in (1, 2, 10)]
        assert {organ for mask in first.masks for organ in mask.organs} == {"lung", "heart", "trachea"}
        assert {mask.file.load().decode() for mask in first.masks} == {"lung", "heart", "trachea"}
        assert (first.patient, second.patient, second.masks, first.alignment) == ("ID1", "ID2", (), "index")


@pytest.mark.parametrize(
    ("series", "masks", "message"),
    [
        ({"a.dcm": b""}, MASKS, r"no train/<patient>/<n>\.dcm inside; this is not osic-pulm"),
        (SERIES, {"a.nrrd": b""}, r"no nrrd_<organ>/…/<patient>_<organ>\.nrrd inside"),
        (SERIES, MASKS | {"again/ID1_lung.nrrd": b""}, "two masks of the lung of one patient"),
    ],
)
def test_archives_that_are_others(tmp_path, series, masks, message):
    with pytest.raises(InputError, match=message):
        osic(tmp_path, series, masks)


def test_an_archive_that_is_not_there_says_where_to_get_it(tmp_path):
    options = {"series": str(tmp_path / "none.zip"), "masks": "x", "reading": {"alignment": "index"}}
    with pytest.raises(
        InputError, match=r"none\.zip: no such file \(setting options\.series\); download .*kaggle\.com"
    ):
        osic_ct.fetch("file", options, [tmp_path / name for name in osic_ct.raw_files({})])


class Client:
    """Writes what the real one would."""

    def __init__(self, contents):
        self.contents, self.asked = contents, []

    def competition_download_files(self, competition, path, force, quiet):
        self._write(competition, path)

    def dataset_download_files(self, dataset, path, force, quiet):
        self._write(dataset, path)

    def _write(self, name, path):
        self.asked.append(name)
        with open(f"{path}/{name.rpartition('/')[2]}.zip", "wb") as file:
            file.write(self.contents[name])


def test_kaggle_gives_the_competition_and_the_masks(tmp_path, monkeypatch):
    contents = {
        osic_ct.COMPETITION: zipped(tmp_path / "1.zip", SERIES).read_bytes(),
        osic_ct.MASKS: zipped(tmp_path / "2.zip", MASKS).read_bytes(),
    }
    client = Client(contents)
    for name in ("download_competition", "download_dataset"):
        real = getattr(kaggle, name)
        monkeypatch.setattr(kaggle, name, lambda what, folder, real=real: real(what, folder, lambda: client))
    options = {"folder": str(tmp_path), "reading": {"alignment": "affine"}}
    raw = [tmp_path / "raw" / name for name in osic_ct.raw_files({})]
    raw[0].parent.mkdir()
    osic_ct.fetch("kaggle", options, raw)
    assert client.asked == [osic_ct.COMPETITION, osic_ct.MASKS]
    with osic_ct.read(raw) as volumes:
        assert [volume.alignment for volume in volumes] == ["affine"] * 2


# ------------------------------------------------------------------------------------------------- ready-made slices
def mask_of(*channels):
    """lung, heart, trachea as 0 and 255."""
    return np.dstack([np.uint8(255) * np.array(channel, np.uint8) for channel in channels])


LUNG, HEART, TRACHEA = [[1, 1, 0, 0]], [[0, 1, 1, 0]], [[0, 0, 0, 1]]
SLICES = {
    "train.csv": "ImageId,MaskId\nP1_0.png,P1_mask_0.png\nP1_10.png,P1_mask_10.png\nP2_3.png,P2_mask_3.png\n",
    **{f"images/images/P{name}.png": picture(np.full((1, 4), 7, np.uint8)) for name in ("1_0", "1_10", "2_3")},
    "masks/masks/P1_mask_0.png": picture(mask_of(LUNG, HEART, TRACHEA)),
    "masks/masks/P1_mask_10.png": picture(np.uint8([[0, 255, 0, 255]])),
    "masks/masks/P2_mask_3.png": picture(mask_of(LUNG, HEART, TRACHEA))[:-30],
}


def slices(folder, members=SLICES, organs=("lung", "heart")):
    raw = [folder / name for name in ("out.zip", "reading.json")]
    options = {"path": str(zipped(folder / "slices.zip", members)), "reading": {"organs": list(organs)}}
    ct_slices.fetch("file", options, raw)
    return raw


@pytest.mark.parametrize(
    ("organs", "expected"), [(("lung", "heart"), [1, 2, 2, 0]), (("trachea", "lung"), [1, 1, 0, 3])]
)
def test_channels_become_a_label_map(tmp_path, organs, expected):
    with ct_slices.read(slices(tmp_path, organs=organs)) as images:
        first, second, third = images
        assert first.masks[0]().tolist() == [expected]
        assert [image.patient for image in images] == ["P1", "P1", "P2"]
        with pytest.raises(DamagedMember, match=r"a channel is missing: it has 1, where lung, heart, trachea"):
            second.masks[0]()
        with pytest.raises(DamagedMember, match="truncated or damaged"):
            third.masks[0]()


def test_a_jpeg_mask_is_cut_at_half(tmp_path):
    wide = np.zeros((16, 32, 3), np.uint8)
    wide[:, :16, 0], wide[:, 16:, 1] = 255, 255
    with ct_slices.read(slices(tmp_path, SLICES | {"masks/masks/P1_mask_0.png": picture(wide, "JPEG")})) as images:
        found = images[0].masks[0]()
    assert set(np.unique(found[:, :14])) == {1}
    assert set(np.unique(found[:, 18:])) == {2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.csv": "ImageId\nP1_0.png\n"}, "no column 'MaskId'"),
        ({"train.csv": "ImageId,MaskId\nP1_0.png,nothing.png\n"}, "line 2: 'nothing.png' is not in the archive"),
        ({"train.csv": "ImageId,MaskId\n" + "P1_0.png,P1_mask_0.png\n" * 2}, "an image stands in several lines"),
        ({"more/P1_0.png": b""}, "have one name; remove one"),
        ({"train.csv": "ImageId,MaskId\nP.png,P.png\n", "P.png": b""}, "names are <patient>_<n>"),
    ],
)
def test_ready_made_slices_that_do_not_fit(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        slices(tmp_path, SLICES | changes)


# ------------------------------------------------------------------------------------------------------------- folder
TABLE = {
    "name": "table.csv",
    "volume": "volume",
    "patient": "patient",
    "masks": [
        {"file": "{volume}_organs.nii.gz", "organs": {"lung": [10, 11], "heart": [51]}},
        {"file": "aorta", "organs": {"aorta": []}},
    ],
    "split": None,
}


def packed(folder, rows="a,,\nb.nii.gz,x,m.nrrd\n", **changes):
    for name in ("a/2.dcm", "a/10.dcm", "a_organs.nii.gz", "b.nii.gz", "b.nii.gz_organs.nii.gz", "m.nrrd"):
        path = folder / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (folder / "mine" / "table.csv").write_text(f"volume,patient,aorta\n{rows}", encoding="utf-8")
    options = {"path": str(folder / "mine"), "name": "clinic", "csv": TABLE | changes, "alignment": "affine"}
    ct_folder.fetch("folder", options, [folder / "volumes.zip"])
    return [folder / "volumes.zip"]


def test_a_folder_of_volumes(tmp_path):
    with ct_folder.read(packed(tmp_path)) as (first, second):
        assert [file.load() for file in first.files] == [b"a/2.dcm", b"a/10.dcm"]
        assert [(mask.file.load(), dict(mask.organs)) for mask in first.masks] == [
            (b"a_organs.nii.gz", {"lung": (10, 11), "heart": (51,)})
        ]
        assert [file.name for file in second.files] == ["b.nii.gz"]
        assert [dict(mask.organs) for mask in second.masks] == [{"lung": (10, 11), "heart": (51,)}, {"aorta": ()}]
        assert [(one.patient, one.source, one.alignment) for one in (first, second)] == [
            ("", "clinic", "affine"),
            ("x", "clinic", "affine"),
        ]


def test_a_folder_of_a_series_is_found_however_it_is_written(tmp_path):
    apart, together = (unicodedata.normalize(form, "Hübner") for form in ("NFD", "NFC"))
    for name in (f"{apart}/1.dcm", "CT/vol1/1.dcm"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True)
        (tmp_path / "mine" / name).write_bytes(b"one")
    rows = f"{together},,\nCT\\vol1,,\n./a/,,\n"
    with ct_folder.read(packed(tmp_path, rows, masks=[])) as volumes:
        assert [one.name for one in volumes] == [together, "CT/vol1", "a"]
        assert [[file.load() for file in one.files] for one in volumes] == [
            [b"one"], [b"one"], [b"a/2.dcm", b"a/10.dcm"],
        ]  # fmt: skip
    with pytest.raises(InputError, match="line 3: 'a' stands in line 2 already"):
        packed(tmp_path, "a,,\n./a,,\n", masks=[])


def test_packing_twice_gives_the_same_bytes(tmp_path):
    first = packed(tmp_path)[0].read_bytes()
    assert packed(tmp_path)[0].read_bytes() == first
    with zipfile.ZipFile(tmp_path / "volumes.zip") as archive:
        assert len(json.loads(archive.read("index.json"))["volumes"]) == 2


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        ("a,,\na,,\n", {}, r"line 3: 'a' stands in line 2 already; one line a volume"),
        ("c,,\n", {}, "does not exist"),
        ("table.csv,,\n", {"masks": []}, r"line 2: 'table.csv' is no .nii, .nii.gz, .nrrd; a DICOM series is named by"),
        ("a,,\n", {"masks": [{"file": "aorta", "organs": {"aorta": [0]}}]}, "the value 0 of 'aorta' is the background"),
        ("a,,\n", {"patient": "who"}, "no column 'who'"),
    ],
)
def test_tables_that_cannot_be(tmp_path, rows, changes, message):
    with pytest.raises(InputError, match=message):
        packed(tmp_path, rows, **changes)


DICOM = bytes(128) + b"DICM"


def placed(folder, names, rows, content=b"x", **changes):
    """A folder of volumes with these files."""
    for name in names:
        (folder / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mine" / name).write_bytes(content)
    return packed(folder, rows, **{"masks": [], **changes})


def test_what_is_no_slice_is_left_out_of_a_series_and_told(tmp_path, caplog):
    """LIDC-IDRI has an XML in the folders of its series; masks may lie there, too."""
    placed(tmp_path, ["a/069.xml", "a/Thumbs.db", "a/LICENSE", "a/a_organs.nii.gz"], "a,,\n")
    for name, content in (("a/IM3", DICOM), ("a/DICOMDIR", DICOM + b"1.2.840.10008.1.3.10\0"), ("a/4.DCM", b"")):
        (tmp_path / "mine" / name).write_bytes(content)
    caplog.clear()
    masks = [{"file": "{volume}/a_organs.nii.gz", "organs": {"lung": []}}]
    with ct_folder.read(packed(tmp_path, "a,,\n", masks=masks)) as (series,):
        assert [file.name for file in series.files] == ["a/2.dcm", "a/4.DCM", "a/10.dcm", "a/IM3"]
        assert [mask.file.name for mask in series.masks] == ["a/a_organs.nii.gz"]
    assert "table.csv: 4 files in folders of series are no DICOM and are left out, e.g. a/069.xml" in caplog.text


def test_a_series_without_endings_and_letters_is_taken_whole(tmp_path):
    with ct_folder.read(placed(tmp_path, ["old/I10", "old/I9"], "old,,\n")) as (series,):
        assert [file.name for file in series.files] == ["old/I9", "old/I10"]


def test_volumes_without_a_line_are_told(tmp_path, caplog):
    placed(tmp_path, ["c/1.dcm", "c/2.dcm", "d/e/1"], "a,,\nb.nii.gz,,\n", DICOM)
    assert "table.csv: 5 volumes or masks have no line and are left out, e.g. a_organs.nii.gz" in caplog.text
    caplog.clear()
    (tmp_path / "one").mkdir()
    packed(tmp_path / "one")
    assert "no line" not in caplog.text


def test_patients_that_are_missing_or_too_many_are_told(tmp_path, caplog):
    names = [f"{n}.nii.gz" for n in range(8)]
    placed(tmp_path, names, "".join(f"{n}.nii.gz,{'X' if n < 6 else ''},\n" for n in range(8)))
    assert "2 of 8 images have no patient" in caplog.text
    assert "patient 'X' has 6 of the 8 images" in caplog.text


def test_a_name_too_long_for_the_disk_is_told_with_its_line(tmp_path):
    with pytest.raises(InputError, match=r"table\.csv, line 3: its name is too long"):
        packed(tmp_path, f"a,,\n{'x' * 300},,\n", masks=[])

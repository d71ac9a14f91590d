"""The step prepare-volumes: orientation, masks that fit and that do not, windows, slices, bad files, what may leak."""

import csv
import dataclasses
import gzip
import io
import itertools
import json
import zipfile
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from made_up_volumes import (
    SHAPE,
    SPACING,
    affine,
    anatomy,
    dicom,
    nifti,
    nrrd_file,
    one_file,
    series,
    turned,
    volume,
)
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data import sources
from synthmed.data.archives import DamagedMember
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.data.phantoms.osic_archives import patient_id, person_of
from synthmed.data.phantoms.thorax_ct import ThoraxSettings, draw
from synthmed.data.sources import osic_ct
from synthmed.data.sources.raw_image import RawImage
from synthmed.data.sources.raw_volume import File, MaskFile
from synthmed.prepare.common import resized_mask, wanted
from synthmed.prepare.rejected import Rejected
from synthmed.prepare.volumes import PrepareVolumesSettings, original_masks, prepare, prepare_one, windowed

SALT = "a salt for tests only"
SETTINGS = {
    "source": "made_up",
    "prefix": "",
    "labels": {"slices": "slices"},
    "window": {"center": 0.0, "width": 2000.0},
    "slices": {"showing": ["lung", "heart"], "min_share": 0.0, "distance": None, "most": None},
    "masks": {"kind": "semantic", "classes": {"lung": 1, "heart": 2}, "required": True},
    "expected_hu": {
        "lung": {"low": -1100.0, "high": -300.0, "share": 0.8},
        "heart": {"low": -200.0, "high": 900.0, "share": 0.8},
    },
    "size": list(SHAPE[1:]),
    "crop_black_borders": False,
    "resample": "box",
    "min_size": 16,
    "salt": SALT,
    "salt_file": None,
    "file_names": "hidden",
    "max_rejects": 0.5,
    "workers": 1,
}
HU, MASKS = anatomy()
TRUTH = MASKS["lung"] + 2 * MASKS["heart"]


def run(tmp_path, monkeypatch, volumes, out="out", **changes):
    """Image set and rejects of these raw volumes."""

    @contextmanager
    def read(raw):
        yield volumes

    monkeypatch.setattr(sources, "load", lambda name: SimpleNamespace(read=read))
    settings = parse(PrepareVolumesSettings, SETTINGS | changes)
    folder = tmp_path / out
    prepare(settings, raw=[], images=folder / "images.zip", rejects=folder / "rejects.csv")
    with open(folder / "rejects.csv", newline="", encoding="utf-8") as handle:
        return ImageSet(folder / "images.zip"), list(csv.DictReader(handle))


def one(raw, **changes):
    """Slices of a volume as (number, pixels, label map)."""
    prepared = prepare_one(raw, parse(PrepareVolumesSettings, SETTINGS | changes), SALT.encode())
    pictures = [[np.asarray(Image.open(io.BytesIO(content))) for content in rest] for _, *rest in prepared.slices]
    return [(int(fields["slice"]), *found) for (fields, *_), found in zip(prepared.slices, pictures, strict=True)]


def check(raw, **changes):
    """The volume becomes the slices that show both organs, as they are."""
    found = one(raw, **changes)
    assert [number for number, *_ in found] == [2, 3, 4]
    for number, pixels, mask in found:
        assert np.array_equal(pixels, windowed(HU[number - 1], 0, 2000))
        assert np.array_equal(mask, TRUTH[number - 1])


def masks_of(write, axes=(0, 1, 2), flips=()):
    return {organ: write(*turned(mask.astype(np.uint8), axes, flips)) for organ, mask in MASKS.items()}


# -------------------------------------------------------------------------------------------------------- orientation
@pytest.mark.parametrize("axes", [*itertools.permutations(range(3))])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_nifti_of_any_orientation_becomes_the_same_slices(axes, flips):
    check(volume(one_file(nifti(*turned(HU, axes, flips))), masks_of(nifti, axes[::-1], flips[1:])))


def test_nrrd_in_lps_and_ras():
    check(volume(one_file(nrrd_file(*turned(HU, (2, 1, 0), (0,))), "v.nrrd"), masks_of(nrrd_file), ending=".nrrd"))

    def ras(values, matrix):
        return nrrd_file(values, np.diag([-1, -1, 1, 1]) @ matrix, "RAS")

    check(volume(one_file(ras(*turned(HU, (1, 0, 2), (2,))), "v.nrrd"), masks_of(ras, (2, 0, 1)), ending=".nrrd"))


@pytest.mark.parametrize("order", [range(6), range(5, -1, -1), (3, 0, 5, 1, 4, 2)])
def test_a_series_is_put_in_order_by_position_whatever_its_file_names(order):
    check(volume(series(order), masks_of(nifti)))


@pytest.mark.parametrize("order", [range(6), range(5, -1, -1)])
def test_masks_by_index_lie_against_the_order_of_the_file_names(order):
    masks = {
        organ: nrrd_file(mask[list(order)][::-1].transpose(2, 1, 0).astype(np.uint8), affine(), space=None)
        for organ, mask in MASKS.items()
    }
    check(volume(series(order), masks, alignment="index", ending=".nrrd"))
    with pytest.raises(Rejected, match=r"its mask of lung: no orientation: its header does not say how"):
        one(volume(series(order), masks, ending=".nrrd"))


@pytest.mark.parametrize("axes", [(2, 1, 0), (0, 1, 2)])
def test_masks_by_index_of_a_volume_of_one_file_have_its_axes(axes):
    masks = masks_of(lambda values, _: nrrd_file(values, affine(), space=None), axes)
    check(volume(one_file(nifti(*turned(HU, axes, ()))), masks, alignment="index", ending=".nrrd"))


def test_scaled_nifti_and_one_with_a_fourth_axis():
    stored = ((HU + 1024) // 2).astype(np.int16)
    even = stored * 2 - 1024
    found = one(volume(one_file(nifti(stored, affine(), slope=(2.0, -1024.0))), masks_of(nifti)))
    assert np.array_equal(found[0][1], windowed(even[1], 0, 2000))
    check(volume(one_file(nifti(HU[..., None], affine())), masks_of(nifti)))


def test_a_coronal_series_becomes_axial_slices():
    files = []
    for row in range(SHAPE[1]):
        corner = [-8.0, -7.0 + SPACING[1] * row, 100.0 + SPACING[0] * (SHAPE[0] - 1)]
        changes = {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "PixelSpacing": [SPACING[0], SPACING[2]]}
        files.append(dicom(row, HU[::-1, row], ImagePositionPatient=corner, **changes))
    check(volume(files, masks_of(nifti)))


# ------------------------------------------------------------------------------------------------- windows and slices
def test_windows_in_hounsfield_units():
    hu = np.array([-1350, -600, 150, -160, 40, 240, 3000])
    assert windowed(hu, -600, 1500).tolist() == [0, 128, 255, 202, 236, 255, 255]
    assert windowed(hu, 40, 400).tolist() == [0, 0, 198, 0, 128, 255, 255]
    raw = volume(series(), masks_of(nifti))
    for name, centre, width in (("lung", -600, 1500), ("mediastinum", 40, 400)):
        assert np.array_equal(one(raw, window=name)[0][1], windowed(HU[1], centre, width))


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ({"showing": []}, [1, 2, 3, 4, 5, 6]),
        ({"showing": ["lung"]}, [2, 3, 4, 5, 6]),
        ({"showing": ["lung"], "min_share": 0.2}, [3, 4, 5, 6]),  # 60 of 480 pixels, then 100
        ({"showing": ["lung"], "distance": 10.0}, [2, 4, 6]),
        ({"showing": ["lung"], "distance": 11.0}, [2, 5]),
        ({"showing": ["lung"], "most": 2}, [3, 5]),
        ({"showing": ["lung"], "most": 9}, [2, 3, 4, 5, 6]),
    ],
)
def test_which_slices_are_taken(slices, expected):
    chosen = SETTINGS["slices"] | slices
    assert [number for number, *_ in one(volume(series(), masks_of(nifti)), slices=chosen)] == expected


def test_an_organ_whose_class_is_null_is_left_out():
    classes = {"lung": 1, "heart": 2, "trachea": None}
    check(volume(series(), masks_of(nifti)), masks=SETTINGS["masks"] | {"classes": classes})
    with pytest.raises(InputError, match=r"slices.showing names 'trachea'; masks.classes are \['lung', 'heart'\]"):
        one(
            volume(series(), masks_of(nifti)),
            masks=SETTINGS["masks"] | {"classes": classes},
            slices=SETTINGS["slices"] | {"showing": ["trachea"]},
        )


def test_organs_that_no_class_names_are_left_out_and_later_classes_lie_on_top():
    masks = masks_of(nifti) | {"trachea": b"not even read"}
    check(volume(series(), masks))
    both = nifti(np.ones(SHAPE, np.uint8), affine())
    raw = volume(series(), masks_of(nifti) | {"lung": both})
    found = one(raw, expected_hu={})
    assert np.array_equal(found[0][2], np.where(MASKS["heart"][1], 2, 1))


def test_a_label_map_names_organs_by_values():
    labels = nifti((10 * MASKS["lung"] + 51 * MASKS["heart"]).astype(np.uint8), affine())
    mask = MaskFile(File("all.nii.gz", lambda: labels), {"lung": (10, 11), "heart": (51,)})
    check(dataclasses.replace(volume(series()), masks=(mask,)))
    other = dataclasses.replace(mask, organs={"lung": (10,), "heart": (2, 3)})
    said = r"its mask of heart does not fit: it is empty \(its file has the values 10, 51; heart is 2, 3\), expected"
    with pytest.raises(Rejected, match=said):
        one(dataclasses.replace(volume(series()), masks=(other,)))


# ---------------------------------------------------------------------------------------------------------- the step
def test_columns_of_the_manifest(tmp_path, monkeypatch):
    tags = {"PatientAge": "093Y", "PatientSex": "F", "Manufacturer": "Philips"}
    raw = [
        volume(series(**tags), masks_of(nifti), patient=""),
        volume(one_file(nifti(HU, affine())), masks_of(nifti), file="b"),
    ]
    found, rejects = run(tmp_path, monkeypatch, raw)
    assert (len(found), rejects) == (6, [])
    row = found.rows[1]
    assert row["image"] == f"{row['volume']}_0003.png"
    assert row["volume"].startswith("volume_0001_")
    kept = ("label", "split", "source", "age", "sex", "manufacturer", "distance", "pixel", "height")
    assert [row[name] for name in kept] == ["slices", "", "hospital", "90", "F", "Philips", "5", "0.7", "10"]
    assert [found.rows[3][name] for name in kept[3:]] == ["", "", "", "5", "0.7", "5"]
    assert len(set(found.column("patient"))) == 2
    assert found.legend.classes == {"lung": 1, "heart": 2}
    assert "patient_known" not in row


def test_spellings_of_one_patient_are_one_and_unknown_ones_say_so(tmp_path, monkeypatch):
    raw = [
        volume(series(), masks_of(nifti), patient=patient, file=f"{number}")
        for number, patient in enumerate(["P007", "p 7", "8"])
    ]
    for file in ("01.nii.gz", "1.nii.gz"):  # two of which nobody knows whether they are one
        raw.append(volume(one_file(nifti(HU, affine())), masks_of(nifti), patient="", file=file))
    found, _ = run(tmp_path, monkeypatch, raw)
    first, second, third, fourth, fifth = found.column("patient")[::3]
    assert first == second
    assert len({first, third, fourth, fifth}) == 4
    assert found.column("patient_known")[::3] == ["", "", "", "no", "no"]


def test_the_number_of_workers_changes_no_byte(tmp_path, monkeypatch):
    raw = [volume(series(), masks_of(nifti), file=f"{number}") for number in range(5)]
    for workers in (1, 2):
        run(tmp_path, monkeypatch, raw, out=f"{workers}", workers=workers)
    assert (tmp_path / "1" / "images.zip").read_bytes() == (tmp_path / "2" / "images.zip").read_bytes()


def damaged():
    raise DamagedMember("damaged inside the archive of Quellmarth^Ottilie")


HALF = nifti(HU, affine(), packed=False)
SHEARED = [dicom(n, HU[n], ImagePositionPatient=[-8.0, -7.0 + 2.0 * n, 100.0 + 5.0 * n]) for n in range(6)]
TURNED = np.array([[1, 0, 0, 0], [0, np.cos(0.4), -np.sin(0.4), 0], [0, np.sin(0.4), np.cos(0.4), 0], [0, 0, 0, 1]])
SHIFTED = np.array([[1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
OTHER = [dicom(n, HU[n], **({"SeriesInstanceUID": "2.25.98"} if n > 3 else {})) for n in range(6)]
BAD = {
    "a slice is missing: a gap of 10 mm, where slices are 5 mm": volume(series((0, 1, 3, 4, 5)), masks_of(nifti)),
    "two slices at one position": volume(series((0, 1, 2, 2, 3)), masks_of(nifti)),
    "mixed: 2 series in one folder": volume(OTHER, masks_of(nifti)),
    "mixed: slices of 2 sizes": volume([*series()[:5], dicom(5, HU[5, :, :20])], masks_of(nifti)),
    "mixed: slices with different PixelSpacing": volume(
        [*series()[:5], dicom(5, HU[5], PixelSpacing=[1, 1])], masks_of(nifti)
    ),
    "one slice only": volume(series((2,)), masks_of(nifti)),
    "no CT: the tag Modality": volume(series(Modality="MR"), masks_of(nifti)),
    "missing tag: RescaleIntercept; without it there are no Hou": volume(
        series(RescaleIntercept=None), masks_of(nifti)
    ),
    "missing tag: ImagePositionPatient": volume(series(ImagePositionPatient=None), masks_of(nifti)),
    "unreadable tag: ImageOrientationPatient is no two perp": volume(
        series(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), masks_of(nifti)
    ),
    "oblique: its slices are shifted against each other": volume(SHEARED, masks_of(nifti)),
    "not DICOM": volume([*series()[:5], b"a text" * 40], masks_of(nifti)),
    "truncated: ": volume([*series()[:5], series()[5][:-100]], masks_of(nifti)),
    "damaged inside its archive": volume([*series()[:5]]),
    "oblique: an axis stands 23° off those of the body; resample": volume(
        one_file(nifti(HU, TURNED @ affine())), masks_of(nifti)
    ),
    "no orientation: its header has neither sform nor qform": volume(
        one_file(nifti(HU, affine(), code=0)), masks_of(nifti)
    ),
    "no orientation: its header does not say how its axes": volume(
        one_file(nrrd_file(HU, affine(), space=None), "v.nrrd"), masks_of(nifti)
    ),
    "truncated: its compressed data have no end": volume(one_file(nifti(HU, affine())[:-5]), masks_of(nifti)),
    "truncated: it ends inside its data": volume(one_file(HALF[:-400], "v.nii"), masks_of(nifti)),
    "truncated or damaged: no nifti that can be read": volume(one_file(b"text" * 2, "v.nii"), masks_of(nifti)),
    "truncated or damaged: no nrrd that can be read": volume(
        one_file(b"NRRD0004\nsizes: 1", "v.nrrd"), masks_of(nifti)
    ),
    "its mask of lung: truncated: its compressed data have no end": volume(
        series(), {"lung": nrrd_file(MASKS["lung"].astype(np.uint8), affine())[:-9]}, ending=".nrrd"
    ),
    "its mask of lung: truncated or damaged: no nrrd that can be read": volume(
        series(), {"lung": nrrd_file(MASKS["lung"].astype(np.uint8), affine(), encoding="raw")[:-9]}, ending=".nrrd"
    ),
    "its data lie in another file; save it as one .nrrd": volume(
        one_file(nrrd_file(HU, affine()).replace(b"\n\n", b"\ndata file: x.raw\n\n", 1), "v.nrrd"), masks_of(nifti)
    ),
    "4 dimensions, where three are expected": volume(
        one_file(nifti(np.stack([HU, HU], axis=-1), affine())), masks_of(nifti)
    ),
    "no Hounsfield units: its lowest value is 24": volume(one_file(nifti(HU + 1024, affine())), masks_of(nifti)),
    "its mask of lung: does not fit: it has 24×20×5 voxels": volume(
        series(), masks_of(nifti) | {"lung": nifti(MASKS["lung"][:5].astype(np.uint8), affine())}
    ),
    "its mask of lung: does not fit: its header lays it 4.3 voxels": volume(
        series(), masks_of(nifti) | {"lung": nifti(MASKS["lung"].astype(np.uint8), SHIFTED @ affine())}
    ),
    "its mask of heart does not fit: 0% of it has -200 to 900 HU": volume(
        series(), masks_of(nifti) | {"heart": nifti(MASKS["lung"].astype(np.uint8), affine())}
    ),
    "its mask of lung does not fit: it is empty": volume(
        series(), masks_of(nifti) | {"lung": nifti(np.zeros(SHAPE, np.uint8), affine())}
    ),
    "its mask of lung: fractions": volume(
        series(), masks_of(nifti) | {"lung": nifti(MASKS["lung"].astype(np.float32) / 2, affine())}
    ),
    "no mask of heart": volume(series(), {"lung": masks_of(nifti)["lung"]}),
    "no mask of lung, heart": volume(series()),
}
BAD["damaged inside its archive"].files[3].__dict__["load"] = damaged


@pytest.mark.parametrize("reason", BAD)
def test_a_volume_that_cannot_be_used_is_rejected_with_the_reason(reason):
    with pytest.raises(Rejected) as caught:
        one(BAD[reason])
    assert str(caught.value).startswith(reason)


def test_a_map_without_one_of_its_organs_is_never_made_and_one_without_any_only_if_allowed():
    free = {"masks": SETTINGS["masks"] | {"required": False}, "slices": SETTINGS["slices"] | {"showing": []}}
    with pytest.raises(Rejected, match="no mask of heart"):
        one(volume(series(), {"lung": masks_of(nifti)["lung"]}), **free)
    assert [len(found) for found in one(volume(series()), **free)] == [2] * 6  # number and pixels alone
    with pytest.raises(Rejected, match="no mask of lung, heart"):
        one(volume(series()), slices=free["slices"])


def members(content):
    """Compressed in members of 300 bytes, as bgzip and pigz do it, with an empty one at the end."""
    whole = gzip.decompress(content)
    return b"".join(gzip.compress(whole[at : at + 300]) for at in range(0, len(whole) + 300, 300))


def test_gzip_of_several_members_is_read_whole():
    check(volume(one_file(members(nifti(HU, affine()))), masks_of(nifti)))
    head, data = nrrd_file(HU, affine()).split(b"\n\n", 1)
    check(volume(one_file(head + b"\n\n" + members(data), "v.nrrd"), masks_of(nifti)))
    for content in (members(nifti(HU, affine()))[:-30], members(nifti(HU, affine()))[:-400]):
        with pytest.raises(Rejected, match="truncated"):
            one(volume(one_file(content), masks_of(nifti)))


def test_rejects_are_counted_and_too_many_stop_the_run(tmp_path, monkeypatch):
    bad = volume(series((0, 1, 3, 4, 5)), masks_of(nifti), file="Quellmarth")
    raw = [volume(series(), masks_of(nifti)), bad]
    found, rejects = run(tmp_path, monkeypatch, raw)
    assert len(found) == 3
    assert [(row["file"][:12], row["reason"][:18]) for row in rejects] == [("volume_0002_", "a slice is missing")]
    assert run(tmp_path, monkeypatch, raw, file_names="shown")[1][0]["file"] == "Quellmarth"
    with pytest.raises(
        InputError,
        match=r"1 of 2 volumes cannot be used \(setting max_rejects allows a share of 0.4\)(.|\n)*volume_0002_(.|\n)*"
        r"\(numbers follow the source's order, of your own folder that of its table; file_names: shown",
    ):
        run(tmp_path, monkeypatch, raw, out="none", max_rejects=0.4)
    assert not (tmp_path / "none" / "images.zip").exists()


def test_a_volume_without_a_slice_to_take_is_listed_and_no_fault(tmp_path, monkeypatch, caplog):
    small = MASKS["lung"].copy()
    small[:, :, 5:] = False  # 10 of 480 pixels of a slice
    narrow = volume(series(), masks_of(nifti) | {"lung": nifti(small.astype(np.uint8), affine())}, file="narrow")
    raw, slices = [volume(series(), masks_of(nifti)), narrow], SETTINGS["slices"] | {"min_share": 0.06}
    caplog.set_level("INFO")
    changes = {"slices": slices | {"showing": ["lung"]}, "max_rejects": 0.0, "file_names": "shown"}
    found, rejects = run(tmp_path, monkeypatch, raw, **changes)
    assert len(set(found.column("volume"))) == 1
    reason = "no slice shows lung on the share 0.06 of its pixels or more (setting slices)"
    assert rejects == [{"file": "narrow", "reason": reason}]
    assert f"rejected narrow: {reason}" in caplog.text
    assert "slices of 1 volumes, 1 patients; 1 volumes rejected" in caplog.text


def test_a_class_that_no_mask_marks_and_slices_that_there_are_not(tmp_path, monkeypatch):
    masks = masks_of(nifti) | {"heart": nifti(np.zeros(SHAPE, np.uint8), affine())}
    raw, plain = [volume(series(), masks)], {"lung": SETTINGS["expected_hu"]["lung"]}
    with pytest.raises(InputError, match=r"no volume has a slice that shows \['lung', 'heart'\]"):
        run(tmp_path, monkeypatch, raw, expected_hu=plain)
    with pytest.raises(InputError, match="no mask marks 'heart'"):
        run(tmp_path, monkeypatch, raw, expected_hu=plain, slices=SETTINGS["slices"] | {"showing": ["lung"]})


def test_a_source_of_pictures_is_no_source_of_volumes_and_the_other_way_round(tmp_path, monkeypatch):
    picture = RawImage("a.png", "a", "slices", "1", "", "", lambda: b"", (), {})
    with pytest.raises(InputError, match=r"gives pictures; setting prepare.format must be images or dicom"):
        run(tmp_path, monkeypatch, [picture])
    with pytest.raises(InputError, match=r"gives volumes; setting prepare.format must be volumes"):
        wanted([volume(series())], parse(PrepareVolumesSettings, SETTINGS))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": {"center": 40.0}}, "it needs center and width in HU"),
        ({"window": {"center": 40.0, "width": 0.0}}, "width above 0"),
        ({"window": "bone"}, r"choose one of \['lung', 'mediastinum'\]"),
        ({"masks": None}, r"setting slices.showing names 'heart'; masks.classes are \[\]"),
        ({"masks": SETTINGS["masks"] | {"kind": "instances"}}, "organs are classes: use 'semantic'"),
        ({"expected_hu": {"liver": {"low": 0.0, "high": 1.0, "share": 0.5}}}, "setting expected_hu names 'liver'"),
        ({"salt": "short"}, "type"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(InputError, match=message):
        parse(PrepareVolumesSettings, SETTINGS | changes)


# ------------------------------------------------------------------------------------------------ phantoms, real files
PHANTOM = ThoraxSettings(
    slices=8, per_patient=4, misfits=3, unmasked=1, image_size=64, slice_distance=(9.0, 12.0), difficulty=0.3, seed=5
)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("osic")
    raw = [folder / name for name in osic_ct.raw_files({})]
    osic_ct.fetch("phantom", vars(PHANTOM), raw)
    return raw


def prepared(raw, out, **changes):
    changes = {"source": "osic_ct", "size": [64, 64], "max_rejects": 0.8, "min_size": 64} | changes
    slices = SETTINGS["slices"] | {"min_share": 0.005, "most": 4}
    settings = parse(PrepareVolumesSettings, SETTINGS | {"slices": slices} | changes)
    prepare(settings, raw=raw, images=out / "images.zip", rejects=out / "rejects.csv")
    with open(out / "rejects.csv", newline="", encoding="utf-8") as handle:
        return ImageSet(out / "images.zip"), [row["reason"] for row in csv.DictReader(handle)]


@pytest.mark.parametrize("alignment", ["index", "affine"])
def test_phantoms_come_out_as_they_were_drawn(archives, tmp_path, alignment):
    reading = tmp_path / "reading.json"
    reading.write_text(json.dumps({"alignment": alignment}), encoding="utf-8")
    found, rejects = prepared([*archives[:2], reading], tmp_path)
    assert len(found) == PHANTOM.slices
    for number in range(PHANTOM.fitting):
        series = draw(PHANTOM, number)
        truth = (series.masks["lung"] + 2 * series.masks["heart"])[::-1]
        rows = [index for index, row in enumerate(found.rows) if row["volume"].startswith(f"volume_{number + 1:04d}_")]
        assert len(rows) == 4
        for index in rows:
            position = int(found.rows[index]["image"][-8:-4]) - 1
            assert np.array_equal(found.masks[index], truth[position])
            hu = np.maximum(series.hu[::-1][position], (-1024, -1000)[number % 2])
            assert np.array_equal(found[index][..., 0], windowed(hu, 0, 2000))
    assert rejects[0].startswith("its mask of heart: does not fit: it has 64×64×")
    assert all("of it has -1100 to -300 HU" in reason for reason in rejects[1:3])
    assert rejects[3] == "no mask of lung, heart"


def test_the_masks_of_the_test_slices_at_their_original_size(archives, tmp_path):
    small, _ = prepared(archives, tmp_path, size=[32, 32], min_size=32, crop_black_borders=True)
    changes = {"source": "osic_ct", "size": [32, 32], "min_size": 32, "crop_black_borders": True}
    chosen = small.entries([number for number in range(len(small)) if number % 3])
    write_image_set(tmp_path / "test.zip", chosen, small.legend)
    settings = parse(PrepareVolumesSettings, SETTINGS | changes)
    original_masks(settings, raw=archives, test=tmp_path / "test.zip", originals=tmp_path / "originals.zip")
    found, rows = ImageSet(tmp_path / "originals.zip"), ImageSet(tmp_path / "test.zip").rows
    assert found.column("image") == [row["image"] for row in rows]
    for (row, _, mask), (_, _, reduced) in zip(found.entries(), ImageSet(tmp_path / "test.zip").entries(), strict=True):
        series = draw(PHANTOM, int(row["volume"][7:11]) - 1)
        position = len(series.hu) - int(row["image"][-8:-4])
        truth = series.masks["lung"][position] + 2 * series.masks["heart"][position]
        assert min(mask.shape) > 32
        assert mask.shape != (64, 64)
        assert [np.sum(mask == value) for value in (1, 2)] == [np.sum(truth == value) for value in (1, 2)]
        assert np.array_equal(resized_mask(mask, (0, mask.shape[0], 0, mask.shape[1]), (32, 32)), reduced)


def test_nothing_that_identifies_anybody_survives_into_any_output(archives, tmp_path, caplog):
    prepared(archives, tmp_path)
    planted = {"St. Phantomas", "Amalasuntha", "Zweifelstein", "2.25."}
    for number in range(PHANTOM.patients):
        person = person_of(PHANTOM, number, draw(PHANTOM, number))
        planted |= {*person.name.split("^"), person.number, patient_id(PHANTOM, number)}
        planted |= {date.strftime(form) for date in (person.birth, person.study) for form in ("%Y%m%d", "%Y-%m-%d")}
    with zipfile.ZipFile(tmp_path / "images.zip") as archive:
        written = b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    written += (tmp_path / "rejects.csv").read_bytes() + caplog.text.encode()
    with zipfile.ZipFile(archives[0]) as archive:
        raw = b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    for text in planted:
        assert text.encode() not in written, text
    assert all(text.encode() in raw for text in planted if "-" not in text)  # else the search proves nothing

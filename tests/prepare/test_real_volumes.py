"""Real CT through prepare-volumes; skipped where there is none. The masks are a program's output, one patient each."""

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.imageset import ImageSet
from synthmed.data.sources import ct_folder
from synthmed.data.split import SplitSettings, split
from synthmed.prepare.volumes import PrepareVolumesSettings, prepare

HEART = {
    "source": "ct_folder",
    "prefix": "",
    "labels": {"slices": "slices"},
    "window": {"center": -300.0, "width": 1400.0},
    "slices": {"showing": ["heart"], "min_share": 0.005, "distance": None, "most": 16},
    "masks": {"kind": "semantic", "classes": {"heart": 2}, "required": True},
    "expected_hu": {"heart": {"low": -200.0, "high": 900.0, "share": 0.8}},
    "size": [128, 128],
    "crop_black_borders": False,
    "resample": "box",
    "min_size": 128,
    "salt": "a salt for tests only",
    "salt_file": None,
    "file_names": "hidden",
    "max_rejects": 0.0,
    "workers": 1,
}


def prepared(tmp_path, folder, table, masks, settings):
    """The image set of the volumes that `table` names in `folder`."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "real").symlink_to(folder)
    (mine / "table.csv").write_text(table, encoding="utf-8")
    csv = {"name": "table.csv", "volume": "volume", "patient": None, "masks": masks, "split": None}
    options = {"path": str(mine), "name": "real", "csv": csv, "alignment": "affine"}
    ct_folder.fetch("folder", options, [tmp_path / "volumes.zip"])
    files = {"images": tmp_path / "images.zip", "rejects": tmp_path / "rejects.csv"}
    prepare(parse(PrepareVolumesSettings, settings), raw=[tmp_path / "volumes.zip"], **files)
    return ImageSet(files["images"])


def test_a_heart_in_a_nifti_and_no_test_of_one_patient(tmp_path, realdata):
    table = "volume,mask\nreal/thorax_ct_1.5mm.nii.gz,real/thorax_ct_1.5mm_heart.nii.gz\n"
    masks = [{"file": "mask", "organs": {"heart": []}}]
    found = prepared(tmp_path, realdata / "ct_thorax_heart", table, masks, HEART)
    assert len(found) == 16
    assert (found.rows[0]["pixel"], found.rows[0]["distance"]) == ("1.5", "1.5")
    rows, columns = np.argwhere(found.masks == 2)[:, 1:].mean(axis=0)
    assert columns > 66  # to the patient's left, right in the picture
    assert rows < 60  # in front of the spine
    assert found.pixels[found.masks == 2].mean() > 230  # full of contrast medium
    lowest = found.pixels[0, ..., 0]
    assert lowest[30:70, 20:50].mean() > 160  # the liver on the left of the picture
    settings = SplitSettings("patient", 0.2, 0.2, 1, 10, 0.98, "report", None, None)
    parts = {name: tmp_path / f"{name}.zip" for name in ("train", "validation", "test")}
    with pytest.raises(InputError, match=r"one patient"):
        split(settings, images=tmp_path / "images.zip", **parts, report=tmp_path / "split.json")


def test_a_series_with_values_outside_of_the_circle_of_the_machine(tmp_path, realdata):
    settings = HEART | {"masks": None, "expected_hu": {}, "window": "lung"}
    settings |= {"slices": {"showing": [], "min_share": 0.0, "distance": None, "most": None}}
    found = prepared(tmp_path, realdata / "ct_rider_lung", "volume\nreal/dicom\n", [], settings)
    assert len(found) == 8
    assert "patient_known" not in found.rows[0]
    assert (found.pixels[:, :4, :4] == 0).all()
    heights = [float(row["height"]) for row in found.rows]
    assert heights == sorted(heights)
    # The highest slice comes last: above the fork of the windpipe, whose air lies in the middle.
    assert found.pixels[-1, 60:70, 60:68].min() < 60

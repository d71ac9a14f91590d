"""The real images beside the project, through the routes a user would take."""

import json

import numpy as np
import pytest

from synthmed.commands.check_images import check
from synthmed.commands.contact_sheet import contact_sheet
from synthmed.data.fetch import FetchSettings, fetch
from synthmed.data.imageset import ImageSet
from synthmed.data.split import PARTS, SplitSettings, split
from synthmed.prepare.images import PrepareSettings, prepare

pytestmark = pytest.mark.realdata


def run(folder, fetched, raw_name, prepared, divided):
    raw = [folder / "raw" / raw_name]
    fetch(FetchSettings(**fetched), raw=raw)
    prepare(PrepareSettings(**prepared), raw=raw, images=folder / "images.zip", rejects=folder / "rejects.csv")
    paths = {part: folder / f"{part}.zip" for part in PARTS}
    split(SplitSettings(**divided), images=folder / "images.zip", report=folder / "split.json", **paths)
    report = json.loads((folder / "split.json").read_text())
    return {part: ImageSet(path) for part, path in paths.items()}, report


def test_nih_chest_x_rays_as_a_folder_of_your_own(tmp_path, realdata):
    table = {"name": "labels.csv", "file": "{label}/{file}", "label": "label", "patient": "patient_id", "mask": None}
    options = {"path": str(realdata / "chest_xray_nih"), "name": "nih", "patient_pattern": None}
    options["csv"] = table | {"split": None, "keep": ["age", "sex", "view"]}
    prepared = {
        "source": "folder",
        "labels": {"normal": "normal", "abnormal": "abnormal"},
        "size": [64, 64],
        "channels": 1,
        "crop_black_borders": True,
        "resample": "lanczos",
        "masks": None,
        "min_size": 64,
        "max_rejects": 0.0,
        "workers": 2,
        "prefix": "",
        "synthetic": None,
    }
    divided = {
        "by": "patient",
        "validation": 0.15,
        "test": 0.2,
        "seed": 0,
        "near_duplicate_bits": 12,
        "near_duplicate_correlation": 0.95,
        "on_near_duplicates": "stop",
        "most": None,
        "of_each_patient": None,
    }
    fetched = {"source": "folder", "provider": "folder", "options": options}
    parts, report = run(tmp_path, fetched, "folder.zip", prepared, divided)
    assert sum(len(part) for part in parts.values()) == 199
    # Four patients have normal and abnormal images; they stay together.
    patients = [set(part.column("patient")) for part in parts.values()]
    assert len(set.union(*patients)) == sum(map(len, patients)) == 169
    assert report["counts"]["test"]["normal"] in (19, 20)
    assert {"age", "sex", "view"} <= set(parts["train"].rows[0])
    assert parts["train"].pixels.std() > 30
    for part in PARTS:
        assert check(tmp_path / f"{part}.zip") == []
    contact_sheet(tmp_path / "train.zip", tmp_path / "sheet.png", columns=8, count=16, seed=0)


def test_pneumonia_mnist_with_its_official_split(tmp_path, realdata):
    source = realdata / "pneumoniamnist" / "pneumoniamnist_rebuilt.npz"
    prepared = {
        "source": "medmnist",
        "labels": {"0": "normal", "1": "pneumonia"},
        "size": [28, 28],
        "channels": 1,
        "crop_black_borders": False,
        "resample": "lanczos",
        "masks": None,
        "min_size": 28,
        "max_rejects": 0.0,
        "workers": 2,
        "prefix": "",
        "synthetic": None,
    }
    divided = {
        "by": "column",
        "validation": None,
        "test": None,
        "seed": 0,
        "near_duplicate_bits": 6,
        "near_duplicate_correlation": 0.98,
        "on_near_duplicates": "report",
        "most": None,
        "of_each_patient": None,
    }
    fetched = {"source": "medmnist", "provider": "file", "options": {"path": str(source)}}
    parts, report = run(tmp_path, fetched, "medmnist.npz", prepared, divided)
    assert report["counts"] == {
        "train": {"normal": 1214, "pneumonia": 3494},
        "validation": {"normal": 135, "pneumonia": 389},
        "test": {"normal": 234, "pneumonia": 390},
    }
    # Eight training images are byte-identical to validation images (SOURCE.txt).
    assert sum(bool(same) for same in parts["validation"].column("same_as")) == 8
    assert report["near_duplicates"]["across_parts"] >= 8
    arrays = np.load(source)
    assert np.array_equal(parts["test"].pixels[..., 0], arrays["test_images"])  # 28×28 stay as they are

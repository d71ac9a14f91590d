"""Phantoms run through the code that reads the real Montgomery and Shenzhen archives."""

import pytest

from synthmed.commands.check_images import check
from synthmed.core.errors import InputError
from synthmed.data.fetch import FetchSettings, fetch
from synthmed.data.imageset import ImageSet
from synthmed.data.split import PARTS, SplitSettings, split
from synthmed.prepare.images import PrepareSettings, prepare
from synthmed.prepare.masks import MaskSettings

PHANTOM = {
    "normal": 12,
    "abnormal": 12,
    "seed": 5,
    "difficulty": 0.3,
    "image_size": 96,
    "device_share": 0.3,
    "text_share": 0.3,
    "black_border_share": 0.8,
    "palette_share": 0.5,
}
RAW = ["NLM-MontgomeryCXRSet.zip", "ChinaSet_AllFiles.zip"]
PREPARE = PrepareSettings(
    source="montgomery_shenzhen",
    labels={"normal": "normal", "abnormal": "abnormal"},
    size=(32, 32),
    channels=1,
    crop_black_borders=True,
    resample="lanczos",
    masks=None,
    min_size=32,
    max_rejects=0.0,
    workers=2,
    prefix="",
    synthetic=None,
)
SPLIT = SplitSettings(
    by="patient",
    validation=0.17,
    test=0.25,
    seed=1,
    near_duplicate_bits=12,
    near_duplicate_correlation=0.999,
    on_near_duplicates="report",
    most=None,
    of_each_patient=None,
)


def run(folder):
    raw = [folder / name for name in RAW]
    fetch(FetchSettings("montgomery_shenzhen", "phantom", PHANTOM), raw=raw)
    prepare(PREPARE, raw=raw, images=folder / "images.zip", rejects=folder / "rejects.csv")
    paths = {part: folder / f"{part}.zip" for part in PARTS}
    split(SPLIT, images=folder / "images.zip", report=folder / "split.json", **paths)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    run(folder)
    return folder


def test_every_phantom_is_read_with_its_readings(done):
    images = ImageSet(done / "images.zip")
    labels, sources = images.column("label"), images.column("source")
    assert (labels.count("normal"), labels.count("abnormal")) == (12, 12)
    assert set(sources) == {"montgomery", "shenzhen"}
    assert set(images.column("sex")) == {"F", "M"}
    assert all(0 < float(age) < 120 for age in images.column("age"))
    assert all(images.column("finding"))
    assert images.pixels.shape == (24, 32, 32, 1)


def test_the_parts_are_sound_and_complete(done):
    sizes = {}
    for part in PARTS:
        assert check(done / f"{part}.zip") == []
        sizes[part] = len(ImageSet(done / f"{part}.zip"))
    assert sizes == {"train": 14, "validation": 4, "test": 6}


def test_the_same_settings_give_the_same_bytes(done, tmp_path):
    run(tmp_path)
    for path in sorted(done.iterdir()):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_montgomery_masks_are_carried_when_asked(done, tmp_path):
    from dataclasses import replace

    raw = [done / name for name in RAW]
    prepare(
        replace(PREPARE, masks=MaskSettings("semantic", {"foreground": 255}, False)),
        raw=raw,
        images=tmp_path / "images.zip",
        rejects=tmp_path / "rejects.csv",
    )
    for row in ImageSet(tmp_path / "images.zip").rows:
        assert bool(row["mask"]) == (row["source"] == "montgomery")


def test_a_misspelt_phantom_setting_is_named(tmp_path):
    settings = FetchSettings("montgomery_shenzhen", "phantom", PHANTOM | {"dificulty": 1.0})
    with pytest.raises(InputError, match=r"options\.dificulty; did you mean 'difficulty'"):
        fetch(settings, raw=[tmp_path / name for name in RAW])

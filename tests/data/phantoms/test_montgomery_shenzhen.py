"""The archives look like the real ones: names, readings, masks, palettes, and files that are no images."""

import dataclasses
import io
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import hash_file
from synthmed.data.phantoms.chest_xray import PhantomSettings, draws, labels
from synthmed.data.phantoms.montgomery_shenzhen import affected_side, write_archives

SETTINGS = PhantomSettings(
    normal=12,
    abnormal=12,
    seed=8,
    difficulty=0.3,
    image_size=96,
    device_share=0.1,
    text_share=0.5,
    black_border_share=0.5,
    palette_share=0.4,
)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    paths = folder / "NLM-MontgomeryCXRSet.zip", folder / "ChinaSet_AllFiles.zip"
    write_archives(SETTINGS, *paths)
    return paths


def content(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def picture(data):
    return Image.open(io.BytesIO(data))


def test_same_settings_same_bytes(archives, tmp_path):
    again = tmp_path / "a.zip", tmp_path / "b.zip"
    write_archives(SETTINGS, *again)
    assert [hash_file(path) for path in archives] == [hash_file(path) for path in again]


def test_every_film_is_there_once_in_the_right_hospital(archives):
    small, large = content(archives[0]), content(archives[1])
    films = list(draws(SETTINGS, SETTINGS.seed, labels(SETTINGS)))
    names = {"montgomery": small, "shenzhen": large}
    for site, pattern in (
        ("montgomery", r"MontgomerySet/CXR_png/MCUCXR_\d{4}_[01]\.png"),
        ("shenzhen", r"ChinaSet_AllFiles/CXR_png/CHNCXR_\d{4}_[01]\.png"),
    ):
        images = [name for name in names[site] if re.fullmatch(pattern, name)]
        expected = [film for film in films if film.site == site]
        assert len(images) == len(expected) > 0
        for name, film in zip(images, expected, strict=True):
            assert name.endswith(f"_{int(film.label == 'abnormal')}.png")
            assert np.array_equal(np.asarray(picture(names[site][name]).convert("L")), film.pixels)
    assert len({name.split("_")[-2] for name in large if name.endswith(".png")}) == sum(
        f.site == "shenzhen" for f in films
    )


def test_readings_state_sex_age_and_class(archives):
    for path, pattern in (
        (archives[0], r"Patient's Sex: [MF]\nPatient's Age: 0\d\dY\n.+\n"),
        (archives[1], r"(fe)?male \d+yrs\n.+\n"),
    ):
        files = content(path)
        readings = {name: data.decode() for name, data in files.items() if name.endswith(".txt")}
        assert len(readings) == sum("/CXR_png/" in name and name.endswith(".png") for name in files)
        for name, text in readings.items():
            assert re.fullmatch(pattern, text)
            assert (text.splitlines()[-1] == "normal") == name.endswith("_0.txt")


def test_montgomery_has_left_and_right_lung_masks(archives):
    files = content(archives[0])
    images = [name.rsplit("/", 1)[1] for name in files if "/CXR_png/" in name and name.endswith(".png")]
    for name in images:
        left = np.asarray(picture(files[f"MontgomerySet/ManualMask/leftMask/{name}"]))
        right = np.asarray(picture(files[f"MontgomerySet/ManualMask/rightMask/{name}"]))
        assert left.shape == right.shape == np.asarray(picture(files[f"MontgomerySet/CXR_png/{name}"])).shape
        assert left.any()
        assert right.any()
        assert not (left & right).any()
        # The patient's left lung lies on the right of the image.
        assert np.nonzero(left)[1].mean() > np.nonzero(right)[1].mean()


def test_shenzhen_mixes_palette_and_grey_and_both_carry_a_thumbs_file(archives):
    modes = {picture(data).mode for name, data in content(archives[1]).items() if name.endswith(".png")}
    assert modes == {"P", "L"}
    assert {picture(data).mode for name, data in content(archives[0]).items() if "CXR_png/MCU" in name} == {"L"}
    for path in archives:
        assert any(name.endswith("Thumbs.db") for name in content(path))


def test_readings_name_the_side_of_the_findings():
    for film in draws(dataclasses.replace(SETTINGS, image_size=128), 1, ["abnormal"] * 6):
        centre = np.nonzero(film.lungs)[1].mean()
        sides = {
            "left" if (left + right) / 2 > centre else "right" for left, _t, right, _b in (f.box for f in film.findings)
        }
        assert affected_side(film) == ("both" if len(sides) == 2 else sides.pop())


def test_too_few_films_for_two_hospitals(tmp_path):
    with pytest.raises(InputError, match="without a film"):
        write_archives(dataclasses.replace(SETTINGS, normal=1, abnormal=0), tmp_path / "a.zip", tmp_path / "b.zip")
    assert list(tmp_path.iterdir()) == []

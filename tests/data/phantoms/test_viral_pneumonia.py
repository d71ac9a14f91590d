"""The pneumonia lies in both lungs, children and adults differ, and the archive has the traps of the real one."""

import dataclasses
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import hash_file
from synthmed.data.phantoms.radiography_archive import MASK_SIDE, write_archive
from synthmed.data.phantoms.viral_pneumonia import LABELS, ViralPhantomSettings, draw, draws
from synthmed.data.sources import covid_radiography

SETTINGS = ViralPhantomSettings(
    normal=6, viral_pneumonia=3, children={"normal": 0.5, "viral_pneumonia": 0.5}, duplicate_share=0.4, difficulty=0.2,
    image_size=96, seed=3,
)  # fmt: skip


def films(label, share, count=8, **changes):
    settings = dataclasses.replace(SETTINGS, children=dict.fromkeys(LABELS, share), **changes)
    return list(draws(settings, 5, [label] * count))


def test_pneumonia_is_water_in_both_lungs_and_brightens_them():
    for sick, healthy in zip(films("viral_pneumonia", 0.5), films("normal", 0.5), strict=True):
        assert np.array_equal(sick.lungs, healthy.lungs), "the same person, with and without"
        assert healthy.water.max() == 0
        halves = np.array_split(np.where(sick.lungs, sick.water, 0), 2, axis=1)
        assert min(half.sum() for half in halves) > 0.15 * sick.water.sum(), "on both sides"
        assert sick.water[~sick.lungs].max() == 0
        strong = sick.water > np.quantile(sick.water[sick.lungs], 0.8)
        rest = sick.lungs & (sick.water < np.quantile(sick.water[sick.lungs], 0.3))
        change = sick.pixels.astype(float) - healthy.pixels
        assert change[strong].mean() > change[rest].mean() + 5


def test_harder_findings_are_fainter():
    plain, hard = (
        np.mean([film.water.max() for film in films("viral_pneumonia", 0.0, difficulty=d)]) for d in (0, 0.8)
    )
    assert hard < 0.4 * plain


def test_children_are_of_another_build_and_hospital_whatever_the_class():
    for label in LABELS:
        children, adults = films(label, 1.0, 12), films(label, 0.0, 12)
        assert {film.hospital for film in children} == {"children"}
        assert {film.hospital for film in adults} == {"adults"}
        assert max(film.age for film in children) <= 5 < 18 <= min(film.age for film in adults)

        def height_to_width(film):
            rows, columns = np.flatnonzero(film.lungs.any(axis=1)), np.flatnonzero(film.lungs.any(axis=0))
            return np.ptp(rows) / np.ptp(columns)

        assert np.mean([*map(height_to_width, children)]) < 0.92 * np.mean([*map(height_to_width, adults)])


def test_a_film_depends_on_its_seed_and_label_alone():
    again = draw(np.random.default_rng([5, 2]), dataclasses.replace(SETTINGS), "viral_pneumonia")
    expected = list(draws(SETTINGS, 5, ["normal", "normal", "viral_pneumonia"]))[2]
    assert np.array_equal(again.pixels, expected.pixels)


def test_shares_of_both_classes_are_needed():
    with pytest.raises(InputError, match=r"options\.children must give a share for each"):
        dataclasses.replace(SETTINGS, children={"normal": 0.5})


def test_the_archive_is_read_by_the_source_of_the_real_one(tmp_path):
    raw = [tmp_path / name for name in covid_radiography.raw_files({})]
    covid_radiography.fetch("phantom", dataclasses.asdict(SETTINGS), raw)
    write_archive(SETTINGS, tmp_path / "again.zip")
    assert hash_file(raw[0]) == hash_file(tmp_path / "again.zip"), "equal settings, equal bytes"
    truth = list(draws(SETTINGS, SETTINGS.seed, ["normal"] * 6 + ["viral_pneumonia"] * 3))
    with zipfile.ZipFile(raw[0]) as archive:
        names = [name for name in archive.namelist() if "/images/" in name]
        with Image.open(io.BytesIO(archive.read(names[0].replace("images", "masks")))) as mask:
            assert (mask.mode, mask.size) == ("RGB", (MASK_SIDE, MASK_SIDE))
    with covid_radiography.read(raw) as found:
        assert len(found) == 9 < len(names), "some lie in the archive twice, and are read once"
        assert [image.label for image in found] == [film.label for film in truth]
        assert [image.source for image in found] == [film.hospital for film in truth]
        for image, film in zip(found, truth, strict=True):
            with Image.open(io.BytesIO(image.load())) as pixels:
                assert np.array_equal(np.asarray(pixels), film.pixels)
            (mask,) = image.masks
            assert mask().shape == film.pixels.shape
            assert (mask() == film.lungs).mean() > 0.97

from collections import Counter

import numpy as np
import pytest

from synthmed.data.imageset import ImageSet, Legend, write_image_set
from synthmed.evaluation.plant_copies import PlantCopiesSettings, kinds, plant_copies


def plant(tmp_path, rows, legend=None, images=5, seed=1):
    write_image_set(tmp_path / "train.zip", rows, *([legend] if legend else []))
    plant_copies(PlantCopiesSettings(images, seed), train=tmp_path / "train.zip", planted=tmp_path / "planted.zip")
    return ImageSet(tmp_path / "planted.zip")


def rows(count, films=1, shape=(64, 64)):
    rng = np.random.default_rng(0)
    for n in range(count):
        fields = {"image": f"i{n}.png", "label": "ab"[n % 2], "patient": f"p{n // films}"}
        yield (
            fields,
            np.kron(rng.integers(0, 255, (8, 8, *shape[2:])), np.ones((8, 8, *[1] * len(shape[2:])))).astype(np.uint8),
        )


def test_every_kind_of_each_chosen_image(tmp_path):
    train = {fields["image"]: (fields, pixels) for fields, pixels in rows(20)}
    found = plant(tmp_path, rows(20))
    assert len(found) == 5 * 8
    assert set(Counter(found.column("kind")).values()) == {5}
    assert len(set(found.column("origin"))) == 5
    for row, pixels in zip(found.rows, found.pixels[..., 0], strict=True):
        fields, original = train[row["origin"]]
        assert (row["patient"], row["label"]) == (fields["patient"], fields["label"])
        correlation = np.corrcoef(pixels.ravel(), original.ravel())[0, 1]
        if row["kind"] == "as they are":
            assert (pixels == original).all()
        elif row["kind"] == "mirrored":
            assert (pixels == original[:, ::-1]).all()
        elif row["kind"] == "shifted by 2 px":
            four = [np.roll(original, by, axis)[2:-2, 2:-2] for axis in (0, 1) for by in (2, -2)]
            assert sum((moved == pixels[2:-2, 2:-2]).all() for moved in four) == 1
        elif row["kind"] == "with noise of 5 grey values":
            inside = (original > 20) & (original < 235)
            assert (pixels.astype(float) - original)[inside].std() == pytest.approx(5, abs=0.5)
        else:
            assert row["kind"] in ("as JPEG of quality 10", "blurred by 1.5 px", "cropped to 90 %", "turned by 3°")
            assert 0.3 < correlation < 0.9999


def test_titles_follow_the_size():
    assert "shifted by 7 px" in kinds(224)
    assert "blurred by 5.2 px" in kinds(224)


def test_copies_are_of_different_patients_where_there_are_enough(tmp_path):
    for seed in range(4):
        assert len(set(plant(tmp_path, rows(20, films=4), seed=seed).column("patient"))) == 5
    found = plant(tmp_path, rows(20, films=10), images=6)
    assert len(set(found.column("origin"))) == 6
    assert len(set(found.column("patient"))) == 2
    assert len(plant(tmp_path, rows(3), images=6)) == 3 * 8


def test_the_same_bytes_from_the_same_seed(tmp_path):
    first = plant(tmp_path, rows(9)).path.read_bytes()
    assert plant(tmp_path, rows(9)).path.read_bytes() == first
    assert plant(tmp_path, rows(9), seed=2).path.read_bytes() != first


def test_colours_and_named_channels_stay(tmp_path):
    assert plant(tmp_path, rows(4, shape=(64, 64, 3)))[0].shape == (64, 64, 3)
    legend = Legend(channels=("dapi", "actin"))
    found = plant(tmp_path, rows(4, shape=(64, 64, 2)), legend)
    assert found.legend.channels == legend.channels
    assert found[0].shape == (64, 64, 2)

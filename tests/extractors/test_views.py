"""What networks see of images, masks and both."""

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.imageset import ImageSet, Legend, write_image_set
from synthmed.extractors import domain, features
from synthmed.extractors.views import views

ORGANS = Legend(classes={"lung": 1, "heart": 2})
CELLS = Legend(masks="instances", classes={"cell": 1})


def image_set(path, legend, channels, masked=True, count=12):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        fields = {"image": f"i{number:02d}.png", "label": "ab"[number % 2], "patient": f"p{number}"}
        pixels = rng.integers(0, 256, (16, 16, channels)).astype(np.uint8)
        mask = np.kron(rng.integers(0, 3, (4, 4)), np.ones((4, 4))).astype(np.uint8)
        rows.append((fields, pixels, mask) if masked else (fields, pixels))
    write_image_set(path, rows, legend)
    return ImageSet(path)


def test_two_masks_stand_behind_the_grey_image(tmp_path):
    images = image_set(tmp_path / "s.zip", ORGANS, 3)
    assert np.array_equal(list(views(images, "image")), images.pixels)
    for value, name in ((1, "lung"), (2, "heart")):
        assert np.array_equal(list(views(images, name)), 255 * (images.masks == value)[..., None])
    both = np.array(list(views(images, "both")))
    assert both.dtype == np.uint8
    assert np.array_equal(both[..., 0], images.pixels.mean(axis=-1).round())
    assert np.array_equal(both[..., 1:], np.stack([255 * (images.masks == value) for value in (1, 2)], axis=-1))


def test_one_mask_stands_behind_the_image_twice_whatever_its_objects(tmp_path):
    images = image_set(tmp_path / "s.zip", CELLS, 1)
    both = np.array(list(views(images, "both")))
    assert np.array_equal(both[..., :1], images.pixels)
    assert np.array_equal(both[..., 1:2], images.pixels)
    assert np.array_equal(both[..., 2], 255 * (images.masks > 0))
    assert np.array_equal(list(views(images, "cell")), both[..., 2:])


def test_a_view_that_the_set_does_not_have_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'liver'; .* has masks of \['lung', 'heart'\]"):
        list(views(image_set(tmp_path / "a.zip", ORGANS, 1), "liver"))
    with pytest.raises(InputError, match=r"'i00\.png' has no mask"):
        list(views(image_set(tmp_path / "b.zip", ORGANS, 1, masked=False), "both"))


def test_features_of_masks_are_those_of_a_set_of_their_pictures(tmp_path):
    """Both steps see the view: the filters that are learnt, and what they answer to."""
    images = image_set(tmp_path / "s.zip", ORGANS, 1)
    pictures = [({**row, "mask": ""}, mask) for row, mask in zip(images.rows, views(images, "both"), strict=True)]
    write_image_set(tmp_path / "pictures.zip", pictures)
    found = {}
    for path, view in ((tmp_path / "s.zip", "both"), (tmp_path / "pictures.zip", "image")):
        config = domain.DomainSettings(
            classes=("a", "b"), view=view, seed=0, input_size=12, patch=4, filters=5, windows=2, patches=300,
            iterations=3, whitening=0.1, threshold=0.5, threads=1,
        )  # fmt: skip
        domain.train(config, train=path, validation=path, weights=tmp_path / "d.pt")
        how = {
            "extractor": "domain", "view": view, "input_size": None, "draws": 0, "seed": 3, "batch_size": 5,
            "threads": 1, "device": "cpu", "precision": "fp32",
            "augmentation": {"horizontal_flip": True, "rotation": 36.0, "zoom": 0.1, "padding": "reflection"},
        }  # fmt: skip
        made = parse(features.FeatureSettings, how)
        features.features(made, images=path, weights=tmp_path / "d.pt", out=tmp_path / "f.npz")
        with np.load(tmp_path / "f.npz") as file:
            found[view] = file["features"]
    assert found["both"].std(axis=0).max() > 0
    assert np.array_equal(found["both"], found["image"])

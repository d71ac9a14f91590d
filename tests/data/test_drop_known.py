"""Images that something has seen are taken out of a test."""

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.data.drop_known import DropKnownSettings, drop_known
from synthmed.data.imageset import ImageSet, write_image_set


def image_set(path, names):
    rows = [
        ({"image": name, "label": "a", "patient": name}, np.full((8, 8), place, np.uint8))
        for place, name in enumerate(names)
    ]
    write_image_set(path, rows)
    return path


def test_known_images_are_dropped_and_named(tmp_path):
    images = image_set(tmp_path / "i.zip", ["1.png", "2.png", "3.png", "4.png"])
    known = [image_set(tmp_path / "a.zip", ["2.png", "9.png"]), image_set(tmp_path / "b.zip", ["4.png"])]
    files = {"kept": tmp_path / "k.zip", "report": tmp_path / "r.json"}
    drop_known(DropKnownSettings(), images=images, known=known, **files)
    kept = ImageSet(tmp_path / "k.zip")
    assert kept.column("image") == ["1.png", "3.png"]
    assert np.array_equal(kept.pixels, ImageSet(images).pixels[[0, 2]])
    assert read_json(tmp_path / "r.json") == {"images": 4, "dropped": ["2.png", "4.png"]}
    with pytest.raises(InputError, match="all 1 images are in"):
        drop_known(DropKnownSettings(), images=known[1], known=[images], **files)

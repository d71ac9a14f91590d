"""Images that something has seen are taken out of a test."""

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.data.drop_known import DropKnownSettings, drop_known
from synthmed.data.imageset import ImageSet, write_image_set

ONE = DropKnownSettings(("a",), None)


def image_set(path, names, source="own"):
    rows = [
        ({"image": name, "label": "a", "patient": name, "source": source}, np.full((8, 8), place, np.uint8))
        for place, name in enumerate(names)
    ]
    write_image_set(path, rows)
    return path


def test_known_images_are_dropped_and_named(tmp_path):
    images = image_set(tmp_path / "i.zip", ["1.png", "2.png", "3.png", "4.png"])
    known = [image_set(tmp_path / "a.zip", ["2.png", "9.png"]), image_set(tmp_path / "b.zip", ["4.png"])]
    files = {"kept": tmp_path / "k.zip", "report": tmp_path / "r.json"}
    drop_known(ONE, images=images, known=known, **files)
    kept = ImageSet(tmp_path / "k.zip")
    assert kept.column("image") == ["1.png", "3.png"]
    assert np.array_equal(kept.pixels, ImageSet(images).pixels[[0, 2]])
    assert read_json(tmp_path / "r.json") == {"images": 4, "dropped": ["2.png", "4.png"]}
    with pytest.raises(InputError, match="all 1 images are in"):
        drop_known(ONE, images=known[1], known=[images], **files)


def test_each_test_keeps_two_patients_of_every_class_or_nothing_is_trained(tmp_path):
    made = [("a", "own")] * 3 + [("b", "own")] * 2 + [("a", "isic")] * 2 + [("b", "isic")]
    rows = [
        ({"image": f"{place}.png", "label": label, "patient": str(place), "source": source}, np.zeros((8, 8), np.uint8))
        for place, (label, source) in enumerate(made)
    ]
    write_image_set(tmp_path / "all.zip", rows)
    files = {"kept": tmp_path / "k.zip", "report": tmp_path / "r.json"}
    known = image_set(tmp_path / "known.zip", ["3.png"])
    none = image_set(tmp_path / "none.zip", ["x.png"])
    for classes, second, seen, message in (
        (("a", "b"), None, none, None),
        (("a",), "isic", known, None),
        (("a", "b"), "isic", known, "the test has images of 'b' of 1 patients"),
        (("a", "b"), "isic", none, "the second test has images of 'b' of 1 patients"),
        (("a", "c"), None, none, "images of 'c' of 0 patients"),
    ):
        settings = DropKnownSettings(classes, second)
        if message is None:
            drop_known(settings, images=tmp_path / "all.zip", known=[seen], **files)
            continue
        with pytest.raises(InputError, match=message):
            drop_known(settings, images=tmp_path / "all.zip", known=[seen], **files)

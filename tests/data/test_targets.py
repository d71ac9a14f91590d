"""Classes by another column than the label: an image's own, or of the image that it was made from."""

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.data.imageset import ImageSet, encode_png, write_image_set
from synthmed.data.targets import target_classes

STAGES = ("negative", "micro", "macro")
REAL = [("a.png", "normal", "negative"), ("b.png", "normal", "macro"), ("c.png", "tumour", "macro")]
MADE = [("s.png", "tumour", "c.png"), ("t.png", "normal", "a.png"), ("u.png", "normal", "b.png")]


def write(path, rows, extra):
    blank = encode_png(np.zeros((2, 2), np.uint8))
    found = ({"image": image, "label": label, "patient": image, extra: value} for image, label, value in rows)
    write_image_set(path, ((row, blank) for row in found))
    return ImageSet(path)


@pytest.fixture
def real(tmp_path):
    return write(tmp_path / "real.zip", REAL, "stage")


def test_a_generated_image_has_the_class_of_the_one_it_was_made_from(real, tmp_path):
    assert target_classes(real, "stage", STAGES, real) == ["negative", "macro", "macro"]
    made = write(tmp_path / "made.zip", MADE, "origin")
    assert target_classes(made, "stage", STAGES, real) == ["macro", "negative", "macro"]
    # By the label nothing is looked up.
    assert target_classes(made, "label", ("normal", "tumour"), real) == ["tumour", "normal", "normal"]


def test_its_own_cell_comes_first(real, tmp_path):
    blank = encode_png(np.zeros((2, 2), np.uint8))
    row = {"image": "s.png", "label": "normal", "patient": "p", "origin": "a.png", "stage": "micro"}
    write_image_set(tmp_path / "made.zip", [(row, blank)])
    assert target_classes(ImageSet(tmp_path / "made.zip"), "stage", STAGES, real) == ["micro"]


def test_a_class_that_nobody_knows_is_refused_by_the_name_of_the_image(real, tmp_path):
    drawn = write(tmp_path / "drawn.zip", [*MADE[:1], ("v.png", "normal", "")], "origin")
    with pytest.raises(InputError, match=r"'v\.png' has no 'stage'.*take the set out"):
        target_classes(drawn, "stage", STAGES, real)
    with pytest.raises(InputError, match=r"real\.zip: unknown stage 'macro'; the classes are \['negative', 'micro'\]"):
        target_classes(real, "stage", STAGES[:2], real)
    with pytest.raises(InputError, match="no column 'stgae'"):
        target_classes(real, "stgae", STAGES, real)

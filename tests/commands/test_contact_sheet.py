import numpy as np
import pytest
from PIL import Image

from synthmed.commands.contact_sheet import contact_sheet
from synthmed.core.errors import InputError
from synthmed.data.imageset import write_image_set


def make(path, count, shape):
    rng = np.random.default_rng(0)
    write_image_set(
        path,
        (
            ({"image": f"{n}.png", "label": "ab"[n % 5 == 0], "patient": str(n)}, rng.integers(0, 256, shape, np.uint8))
            for n in range(count)
        ),
    )
    return path


@pytest.mark.parametrize("shape", [(8, 8), (300, 200, 3)])
def test_a_sheet_has_the_asked_size_and_is_the_same_twice(tmp_path, shape):
    images = make(tmp_path / "set.zip", 20, shape)
    for name in ("a.png", "b.png"):
        contact_sheet(images, tmp_path / name, columns=4, count=10, seed=3)
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.size == (4 * 132 + 4, 3 * 158 + 4)
        assert np.asarray(sheet).std() > 20
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    contact_sheet(images, tmp_path / "c.png", columns=4, count=10, seed=4)
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "c.png").read_bytes()


def test_labels_take_turns():
    from synthmed.commands.contact_sheet import _choose

    labels = ["a"] * 16 + ["b"] * 4
    assert [labels[n] for n in _choose(labels, 6, 0)] == ["a"] * 3 + ["b"] * 3
    assert [labels[n] for n in _choose(labels, 12, 0)] == ["a"] * 8 + ["b"] * 4
    assert sorted(_choose(labels, 99, 0)) == list(range(20))


def test_an_empty_sheet_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least 1"):
        contact_sheet(make(tmp_path / "set.zip", 5, (8, 8)), tmp_path / "a.png", columns=0, count=4, seed=0)

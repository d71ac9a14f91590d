import numpy as np
import pytest
from PIL import Image

from synthmed.commands.contact_sheet import contact_sheet
from synthmed.core.errors import InputError
from synthmed.data.imageset import Legend, write_image_set


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


@pytest.mark.parametrize(("channels", "shift"), [(None, 0), (("a", "b"), 64)])
def test_the_rims_of_masks_are_drawn_on_every_channel(tmp_path, channels, shift):
    pixels = np.full((16, 16, len(channels or "1")), 50, np.uint8)
    mask = np.zeros((16, 16), np.uint16)
    mask[4:8, 2:6] = 1
    mask[8:12, 2:6] = 300  # touches the other object
    legend = Legend(channels, "instances", {"cell": 1})
    write_image_set(tmp_path / "set.zip", [({"image": "a.png", "label": "a", "patient": "p"}, pixels, mask)], legend)
    contact_sheet(tmp_path / "set.zip", tmp_path / "a.png", columns=1, count=1, seed=0)
    with Image.open(tmp_path / "a.png") as sheet:
        tile = np.asarray(sheet)[4:132, 4:132]
    scale = 8 if channels is None else 4
    yellow = (tile == (255, 210, 0)).all(axis=2)
    for left in {0, shift}:
        seen = yellow[: 16 * scale, left : left + 16 * scale]
        assert seen[4 * scale, 2 * scale : 6 * scale].all()  # upper rim of the first
        assert seen[4 * scale : 12 * scale, 2 * scale].all()  # left rim of both
        assert seen[8 * scale - 1 : 8 * scale + 1, 2 * scale + 1 : 6 * scale].all()  # between the two
        assert not seen[8 * scale + 1, 2 * scale + 1 : 6 * scale - 1].any()
        assert not seen[4 * scale - 1].any()
        assert not seen[:, 6 * scale].any()

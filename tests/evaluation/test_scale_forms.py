"""Form of what segmenters at several sizes draw."""

import numpy as np
import pytest
import torch

from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.data.channels import MaskChannels
from synthmed.data.imageset import Legend, write_image_set
from synthmed.evaluation import scale_forms as module
from synthmed.evaluation.scale_forms import ScaleFormsSettings, scale_forms
from synthmed.segmenters.trained import Segmenter


class Square(torch.nn.Module):
    """Draws a square in the middle; with a hole where `hole` says, nothing at all on dark images."""

    def __init__(self, side, hole):
        super().__init__()
        self.unused, self.side, self.hole = torch.nn.Parameter(torch.zeros(1)), side, hole

    def forward(self, images):
        size = images.shape[2]
        drawn = torch.full((len(images), 1, size, size), -9.0)
        low, high = size // 4, 3 * size // 4
        drawn[:, :, low:high, low:high] = 9.0
        if self.hole:
            drawn[
                :, :, size // 2 - size // 16 : size // 2 + size // 16, size // 2 - size // 16 : size // 2 + size // 16
            ] = -9.0
        drawn[images.mean((1, 2, 3)) < -0.9] = -9.0
        return drawn


@pytest.fixture
def run(tmp_path, monkeypatch):
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255

    def do(values=(100, 110, 120), seeds=(2, 2), names=("alone_32x32", "joined_16x16"), others=(), second=None):
        holed = mask.copy()
        holed[14:18, 14:18] = 0
        rows = []
        for place, value in enumerate((*others, *values)):
            fields = {"image": f"{place}.png", "label": "x", "patient": str(place)}
            fields["source"] = "official" if place < len(others) else "own"
            pixels = np.full((32, 32, 1), value, np.uint8)
            rows.append((fields, pixels, holed if place < len(others) else mask))
        write_image_set(tmp_path / "test.zip", rows)
        coded = MaskChannels("classes", Legend())
        made = {
            "a": Segmenter("square", (1, 32, 32), (32, 32), coded, [Square(32, False) for _ in range(seeds[0])]),
            "b": Segmenter("square", (1, 16, 16), (16, 16), coded, [Square(16, True) for _ in range(seeds[1])]),
        }
        monkeypatch.setattr(module, "load", lambda path: made[path])
        chosen = ScaleFormsSettings(names, ("alone_32x32",), 2, 2, 1, "cpu", 0.95, second)
        files = {"out": tmp_path / "f.json", "examples": tmp_path / "e.npz"}
        scale_forms(chosen, segmenters=["a", "b"], test=tmp_path / "test.zip", **files)
        return read_json(tmp_path / "f.json"), dict(np.load(tmp_path / "e.npz"))

    return do


def test_holes_are_counted_and_differences_told(run):
    found, arrays = run()
    assert (found["images"], found["left_out"]) == (3, 0)
    assert found["segmenters"]["alone_32x32"]["holes"]["value"] == 0
    assert found["segmenters"]["joined_16x16"]["holes"]["value"] == 1
    assert found["segmenters"]["alone_32x32"]["area"]["value"] == found["truth"]["area"]["value"] == 0.25
    assert found["differences"]["joined_16x16"]["holes"]["difference"]["value"] == 1
    assert list(found["differences"]) == ["joined_16x16"]
    assert arrays["images"].shape == (2, 32, 32, 1)
    assert arrays["maps"].shape == (2, 1, 32, 32)
    assert arrays["drawn"].shape == (2, 2, 32, 32)
    assert arrays["drawn"][0, 0, 16, 16] == 255
    assert arrays["drawn"][0, 1, 16, 16] == 0


def test_images_on_which_nothing_is_drawn_are_left_out_and_counted(run):
    found, _ = run(values=(100, 0, 110, 120))
    assert (found["images"], found["left_out"]) == (3, 1)
    assert found["segmenters"]["joined_16x16"]["holes"]["value"] == 1


def test_images_of_the_second_test_are_not_looked_at(run):
    found, arrays = run(others=(60, 70), second="official")
    assert (found["images"], found["left_out"]) == (3, 0)
    assert found["truth"]["holes"]["value"] == 0
    assert arrays["images"][:, 0, 0, 0].tolist() == [100, 110]
    assert not (arrays["truth"][:, 15, 15] == 0).any()
    assert run(others=(60, 70))[0]["truth"]["holes"]["value"] == 2 / 5
    with pytest.raises(InputError, match="second_test is 'isic', and the test images are of"):
        run(second="isic")


def test_one_image_has_no_interval(run):
    found, _ = run(values=(100, 0))
    assert found["segmenters"]["alone_32x32"]["holes"]["value"] is None
    assert "fewer than two patients" in found["truth"]["holes"]["reason"]


def test_segmenters_that_do_not_fit_are_refused(run):
    with pytest.raises(InputError, match="b: 1 seeds, a has 2"):
        run(seeds=(2, 1))
    with pytest.raises(InputError, match="setting maps names"):
        run(names=("one", "two"))

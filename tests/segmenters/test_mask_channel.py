"""The mask that a segmenter draws as a channel of the image, and masks that tell nothing."""

import numpy as np
import pytest
import torch

from synthmed.core.errors import InputError
from synthmed.data.channels import MaskChannels
from synthmed.data.imageset import ImageSet, Legend, write_image_set
from synthmed.segmenters import mask_channel as module
from synthmed.segmenters.mask_channel import MaskChannelSettings, mask_channel, of_other_patients
from synthmed.segmenters.trained import Segmenter


class Red(torch.nn.Module):
    """Draws with the probability that the red channel says."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return ((images[:, :1] + 1) / 2).clamp(1e-4, 1 - 1e-4).logit()


@pytest.fixture
def given(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = [
        (
            {"image": f"{number}.png", "label": "MEL", "patient": f"p{number // 2}", "source": "here"},
            rng.integers(0, 256, (16, 24, 3)).astype(np.uint8),
        )
        for number in range(8)
    ]
    write_image_set(tmp_path / "images.zip", rows)
    segmenter = Segmenter("red", (3, 16, 24), (16, 24), MaskChannels("classes", Legend()), [Red(), Red()])
    monkeypatch.setattr(module, "load", lambda path: segmenter)
    return tmp_path / "images.zip"


def run(given, source, segmenter="s.pt"):
    chosen = MaskChannelSettings(source, batch_size=3, threads=1, device="cpu", seed=1)
    out = given.parent / f"{source}.zip"
    mask_channel(chosen, images=given, segmenter=segmenter, out=out)
    return ImageSet(out)


def test_the_soft_mask_stands_behind_the_colours(given):
    images, found = ImageSet(given), run(given, "soft")
    assert found.legend.channels == ("red", "green", "blue", "mask")
    assert found.rows == images.rows
    assert np.array_equal(found.pixels[..., :3], images.pixels)
    assert np.abs(found.pixels[..., 3].astype(int) - images.pixels[..., 0]).max() <= 1


def test_a_thresholded_mask_is_black_and_white(given):
    found = run(given, "thresholded").pixels
    assert np.array_equal(found[..., 3], np.where(run(given, "soft").pixels[..., 3] >= 128, 255, 0))


def test_masks_of_others_are_real_ones_of_another_patient(given):
    soft, other = run(given, "soft"), run(given, "other")
    patients = soft.column("patient")
    for number, drawn in enumerate(other.pixels[..., 3]):
        theirs = [place for place in range(8) if np.array_equal(soft.pixels[place, ..., 3], drawn)]
        assert len(theirs) == 1
        assert patients[theirs[0]] != patients[number]
    # Every patient's mask is used by one other patient.
    places = of_other_patients(patients, 1)
    assert sorted({patients[place] for place in places}) == sorted(set(patients))


def test_ones_need_no_segmenter(given):
    assert (run(given, "ones", None).pixels[..., 3] == 255).all()


def test_what_is_refused(given):
    with pytest.raises(InputError, match="give a segmenter for all sources but ones"):
        run(given, "soft", None)
    with pytest.raises(InputError, match="give a segmenter for all sources but ones"):
        run(given, "ones")
    twice = run(given, "soft").path
    with pytest.raises(InputError, match="named channels already"):
        run(twice, "ones", None)
    with pytest.raises(InputError, match="a mask of another one needs two"):
        of_other_patients(["p", "p"], 1)

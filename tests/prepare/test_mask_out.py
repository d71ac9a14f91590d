"""What is covered, pixel by pixel, and what stays."""

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.data.imageset import ImageSet, Legend, write_image_set
from synthmed.prepare.mask_out import MaskOutSettings, covered, mask_out

LEGEND = Legend(classes={"lungs": 255})
MASK = np.zeros((6, 7), np.uint8)
MASK[2, 2] = MASK[3, 4] = 255


def image_set(path, masks=(MASK, MASK[::-1]), channels=1):
    def rows():
        for number, mask in enumerate(masks):
            pixels = np.arange(100, 142, dtype=np.uint8).reshape(6, 7)
            pixels = pixels if channels == 1 else np.dstack([pixels] * channels)
            fields = {"image": f"{number}.png", "label": "a", "patient": f"p{number}", "source": "x"}
            yield (fields, pixels) if mask is None else (fields, pixels, mask)

    write_image_set(path, rows(), LEGEND)
    return path


def test_covered_parts_by_hand():
    assert (covered(MASK, "mask", 0) == (MASK > 0)).all()
    grown = np.zeros((6, 7), bool)
    grown[1:4, 1:4] = grown[2:5, 3:6] = True
    assert (covered(MASK, "mask", 1) == grown).all()
    box = np.zeros((6, 7), bool)
    box[2:4, 2:5] = True
    assert (covered(MASK, "box", 0) == box).all()
    box[1:5, 1:6] = True
    assert (covered(MASK, "box", 1) == box).all(), "grown first"


@pytest.mark.parametrize("channels", [1, 3])
def test_outside_and_inside_make_up_the_image(tmp_path, channels):
    source = image_set(tmp_path / "a.zip", channels=channels)
    left = {}
    for region in ("outside", "inside"):
        out = tmp_path / f"{region}.zip"
        mask_out(MaskOutSettings(cover="mask", grow=0, region=region), images=[source], out=[out])
        left[region] = ImageSet(out)
    whole = ImageSet(source)
    assert left["outside"].rows == whole.rows
    for number, (_, pixels, mask) in enumerate(whole.entries()):
        outside, inside = left["outside"][number], left["inside"][number]
        assert (outside[mask > 0] == 0).all()
        assert (inside[mask == 0] == 0).all()
        assert (outside + inside == pixels).all()


def test_images_without_a_mask_are_refused(tmp_path):
    settings = MaskOutSettings(cover="mask", grow=0, region="outside")
    some = image_set(tmp_path / "some.zip", masks=(MASK, None))
    with pytest.raises(InputError, match=r"some\.zip: 1 of 2 images have no mask, the first is 1\.png; .*required"):
        mask_out(settings, images=[some], out=[tmp_path / "out.zip"])
    empty = image_set(tmp_path / "empty.zip", masks=(MASK, np.zeros_like(MASK)))
    with pytest.raises(InputError, match=r"the mask of 1\.png is empty"):
        mask_out(settings, images=[empty], out=[tmp_path / "out.zip"])
    assert not (tmp_path / "out.zip").exists()

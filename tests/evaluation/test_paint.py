"""Paint in training images, and whether generated images show it."""

import numpy as np
import pytest
from scipy import ndimage

from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.evaluation.paint import MeasurePaintSettings, PaintSettings, measure_paint, paint_frames
from synthmed.prepare.dermoscopy import FRAME_METHODS, frame_mask, paste_frame, remove_frame

RNG = np.random.default_rng(5)


def skin(rng):
    """Smooth skin with a lesion, uint8 (48, 48, 3)."""
    cloud = ndimage.gaussian_filter(rng.standard_normal((48, 48, 3)), (6, 6, 0)) * 120
    y, x = np.mgrid[:48, :48]
    lesion = 60 * (np.hypot(y - 24, x - 24 + rng.normal(0, 2)) < 9)[..., None]
    return (np.array([200, 160, 140]) + cloud - lesion).clip(70, 255).astype(np.uint8)


def framed(pixels):
    """With a frame that is large enough to be found."""
    while not frame_mask(one := paste_frame(pixels, RNG)).any():
        pass
    return one


def write(path, pixels):
    names = [f"{path.stem}{n:02d}" for n in range(len(pixels))]
    about = [{"image": f"{name}.png", "label": "melanoma", "patient": name} for name in names]
    write_image_set(path, zip(about, pixels, strict=True))
    return path


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """40 images, the first 10 with a frame, and of the last the frame is everything."""
    pixels = [skin(RNG) for _ in range(40)]
    first = [framed(one) for one in pixels[:9]] + [np.full((48, 48, 3), 5, np.uint8)]
    return write(tmp_path_factory.mktemp("paint") / "real.zip", first + pixels[10:])


def test_frames_are_painted_and_nothing_else_changes(real, tmp_path):
    paint_frames(PaintSettings("skin_colours", 1), images=real, painted=tmp_path / "painted.zip")
    before, after = ImageSet(real), ImageSet(tmp_path / "painted.zip")
    assert after.column("painted") == ["yes"] * 9 + ["no"] * 31
    for place in range(40):
        changed = (before[place] != after[place]).any(axis=2)
        assert not (changed & ~frame_mask(before[place])).any()
        assert changed.any() == (place < 9)
        assert place == 9 or after[place].mean(axis=2).min() > 40


def test_traces_are_found_where_they_are_and_counted(real, tmp_path):
    others = [skin(RNG) for _ in range(30)]
    half = [remove_frame(framed(one), "skin_colours", RNG) for one in others[:15]] + others[15:]
    sets = {"learnt": half, "control": [skin(RNG) for _ in range(30)]}
    files = [write(tmp_path / f"{name}.zip", pixels) for name, pixels in sets.items()]
    settings = MeasurePaintSettings({"learnt": "skin_colours"}, ("learnt", "control"), 0.95, 1)
    measure_paint(settings, images=real, synthetic=files, out=tmp_path / "out.json")
    (found,) = read_json(tmp_path / "out.json")["methods"].values()
    assert found["auroc"] > 0.95
    assert (found["positives"], found["negatives"]) == (30, 30)
    assert min(found["hits"], found["rejected"]) >= 27
    assert (found["painted"]["value"], found["painted"]["n"]) == (9 / 40, 40)
    assert (found["seen"]["value"] > 0.85, found["seen"]["n"]) == (True, 9)
    learnt, control = found["sets"]["learnt"], found["sets"]["control"]
    assert (learnt["trained_on"], control["trained_on"]) == (True, False)
    assert learnt["called"]["value"] == pytest.approx(0.5, abs=0.1)
    assert learnt["estimated"]["low"] <= 0.5 <= learnt["estimated"]["high"]
    assert control["called"]["value"] < 0.1


def test_without_clean_images_there_is_nothing_to_learn_from(tmp_path):
    few = write(tmp_path / "few.zip", [skin(RNG) for _ in range(9)] + [np.full((48, 48, 3), 5, np.uint8)] * 3)
    settings = MeasurePaintSettings({"gan": "fsr"}, ("gan",), 0.95, 1)
    with pytest.raises(InputError, match="9 images have no frame"):
        measure_paint(settings, images=few, synthetic=[few], out=tmp_path / "out.json")


def test_a_method_that_takes_no_frame_off_leaves_nothing_to_learn_from(tmp_path, monkeypatch):
    def nothing(pixels, frame, rng):
        raise InputError("nothing around it")

    monkeypatch.setitem(FRAME_METHODS, "crop", nothing)
    clean = write(tmp_path / "clean.zip", [skin(RNG) for _ in range(30)])
    settings = MeasurePaintSettings({"gan": "crop"}, ("gan",), 0.95, 1)
    with pytest.raises(InputError, match="'crop' takes a pasted frame off 0 of 30 images"):
        measure_paint(settings, images=clean, synthetic=[clean], out=tmp_path / "out.json")

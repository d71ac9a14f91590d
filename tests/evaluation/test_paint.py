"""Paint in training images, and whether generated images show it."""

import numpy as np
import pytest
from scipy import ndimage

from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.evaluation import paint
from synthmed.evaluation.paint import (
    MeasurePaintSettings,
    PaintSettings,
    _pasted_and_painted,
    measure_paint,
    paint_frames,
)
from synthmed.evaluation.removal import told_apart
from synthmed.metrics.classification import auroc
from synthmed.metrics.prevalence import true_prevalence
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


def write(path, pixels, images=1):
    """images: how many each patient has."""
    names = [f"{path.stem}{n:02d}" for n in range(len(pixels))]
    about = [
        {"image": f"{name}.png", "label": "melanoma", "patient": names[n // images]} for n, name in enumerate(names)
    ]
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


def test_every_image_is_painted_in_its_own_way(tmp_path):
    one, settings = framed(skin(RNG)), PaintSettings("skin_colours", 1)
    paint_frames(settings, images=write(tmp_path / "twice.zip", [one, one]), painted=tmp_path / "painted.zip")
    first, second = ImageSet(tmp_path / "painted.zip").pixels
    assert (first != second).any()
    bare = skin(RNG)
    monotone = PaintSettings("nearest", 1)
    pasted = [_pasted_and_painted(monotone, number, bare)[0] for number in range(6)]
    assert any((one != pasted[0]).any() for one in pasted[1:]), "frames differ, too"


def test_each_method_has_a_classifier_of_its_own(real, tmp_path):
    sets = {name: [skin(RNG) for _ in range(6)] for name in ("one", "two", "three")}
    files = [write(tmp_path / f"{name}.zip", pixels) for name, pixels in sets.items()]
    settings = MeasurePaintSettings({"one": "skin_colours", "two": "partial_crop"}, tuple(sets), 0.95, 1)
    measure_paint(settings, images=real, synthetic=files, out=tmp_path / "out.json")
    found = read_json(tmp_path / "out.json")["methods"]
    assert set(found) == {"skin_colours", "partial_crop"}
    for method, one in found.items():
        trained = {name: of_set["trained_on"] for name, of_set in one["sets"].items()}
        assert trained == {name: settings.methods.get(name) == method for name in sets}


def test_the_errors_that_correct_the_count_are_those_on_other_patients(real, tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    before, after = rng.integers(0, 255, (2, 20, 16, 16, 3)).astype(np.uint8)
    truth = np.repeat([False, True], 20)
    assert 0.2 < auroc(told_apart(before, after, np.arange(20)), truth) < 0.8, "of noise nothing can be learnt"
    # All painted images are found, and half of the others spared.
    said = np.concatenate([np.tile([-1.0, 1.0], 15), np.ones(30)])
    monkeypatch.setattr(paint, "told_apart", lambda before, after, patients: said)
    settings = MeasurePaintSettings({"learnt": "skin_colours"}, ("learnt",), 0.95, 1)
    bare = [skin(RNG) for _ in range(20)]
    half = [remove_frame(framed(one), "skin_colours", RNG) for one in bare[:10]] + bare[10:]
    files = [write(tmp_path / "learnt.zip", half)]
    measure_paint(settings, images=real, synthetic=files, out=tmp_path / "out.json")
    (found,) = read_json(tmp_path / "out.json")["methods"].values()
    assert (found["hits"], found["rejected"], found["auroc"]) == (30, 15, 0.75)
    called = round(20 * found["sets"]["learnt"]["called"]["value"])
    assert 5 < called < 15
    assert found["sets"]["learnt"]["estimated"] == true_prevalence(called, 20, 30, 30, 15, 30, 0.95).to_json()


def test_patients_are_counted_not_their_images(real, tmp_path, monkeypatch):
    # Six patients with five clean images each: all of one are called by mistake, all painted ones of another missed.
    said = np.repeat([-1.0, -1.0, -1.0, -1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 5)
    monkeypatch.setattr(paint, "told_apart", lambda before, after, patients: said)
    monkeypatch.setattr(paint, "_seen", lambda judge, pixels: np.arange(len(pixels)) % 2 == 0)
    pixels, settings = ImageSet(real).pixels, MeasurePaintSettings({"learnt": "skin_colours"}, ("learnt",), 0.95, 1)
    files, widths = [write(tmp_path / "learnt.zip", [skin(RNG) for _ in range(40)])], {}
    for images in (1, 5):
        own = write(tmp_path / f"real{images}.zip", pixels, images)
        measure_paint(settings, images=own, synthetic=files, out=tmp_path / "out.json")
        (found,) = read_json(tmp_path / "out.json")["methods"].values()
        of_set = found["sets"]["learnt"]
        shares = {"painted": found["painted"], "seen": found["seen"]}
        shares |= {"called": of_set["called"], "estimated": of_set["estimated"]}
        widths[images] = {name: share["high"] - share["low"] for name, share in shares.items()}
        assert found["painted"]["value"] == 9 / 40
    for name in ("painted", "seen"):
        assert widths[5][name] > 1.2 * widths[1][name], "the framed ones are of two patients"
    assert widths[5]["called"] == widths[1]["called"], "generated images are nobody's"
    assert widths[5]["estimated"] > widths[1]["estimated"]


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

"""The variety of whole sets beside that of real images: of sets that repeat themselves, or do not."""

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.data.imageset import write_image_set
from synthmed.evaluation.pair_distances import PairSettings, pair_distances
from synthmed.evaluation.set_diversity import SetDiversitySettings, set_diversity
from synthmed.metrics.similarity import ms_ssim

PAIRS = PairSettings(images=8, max_side=64, lpips=None, batch_size=4, threads=1, device="cpu", seed=1)
SETTINGS = SetDiversitySettings(generators=("copier", "honest"), level=0.95, resamples=500, seed=1)
SIZE = 24


def image_set(path, number, different, labels=("a", "b"), per_patient=1):
    """Images of each label, `different` of them, the others repeats."""
    rng, rows = np.random.default_rng(number), []
    for label in labels:
        known = [gaussian_filter(rng.normal(0, 600, (SIZE, SIZE)), 3) + 128 for _ in range(different)]
        for row in range(12):
            pixels = np.clip(known[row % different], 0, 255).astype(np.uint8)
            patient = f"{path.stem}{label}{row // per_patient}"
            rows.append(({"image": f"{label}{row:02d}.png", "label": label, "patient": patient}, pixels))
    write_image_set(path, rows)
    return path


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    sets = {"real": 12, "held_out": 12, "copier": 2, "honest": 12}
    for number, (name, different) in enumerate(sets.items()):
        images = image_set(folder / f"{name}.zip", number, different)
        pair_distances(PAIRS, images=images, weights=None, out=folder / f"{name}.json")
    return folder


def compared(folder, out, settings=SETTINGS):
    synthetic = [folder / f"{name}.json" for name in settings.generators]
    files = {"real": folder / "real.json", "held_out": folder / "held_out.json", "synthetic": synthetic}
    set_diversity(settings, **files, out=out)
    return {one["name"]: one["groups"] for one in read_json(out)["sets"]}


def test_a_set_that_repeats_itself_is_told_from_an_honest_one(measured, tmp_path):
    found = compared(measured, tmp_path / "out.json")
    assert list(found) == ["real", "held_out", "copier", "honest"]
    assert list(found["copier"]) == ["a", "b", "mean of classes"]
    excess = {name: found[name]["mean of classes"]["ms_ssim_excess"] for name in found if name != "real"}
    assert excess["copier"]["low"] > 0.1
    for name in ("held_out", "honest"):
        assert excess[name]["low"] < 0 < excess[name]["high"]
    assert found["copier"]["a"]["lpips"]["reason"] == "no weights of LPIPS"
    assert found["copier"]["a"]["n"] == 8
    assert found["copier"]["mean of classes"]["n"] == 16


def test_the_mean_of_classes_and_the_excess_are_what_they_say(measured, tmp_path):
    found = compared(measured, tmp_path / "out.json")
    values = {name: {group: of["ms_ssim"]["value"] for group, of in groups.items()} for name, groups in found.items()}
    for name, of in values.items():
        assert of["mean of classes"] == pytest.approx((of["a"] + of["b"]) / 2)
        if name != "real":
            assert found[name]["a"]["ms_ssim_excess"]["value"] == pytest.approx(of["a"] - values["real"]["a"])


def test_every_label_counts_alike_in_the_mean_and_its_interval(measured, tmp_path):
    image_set(tmp_path / "a.zip", 5, 8, labels=("a",))
    image_set(tmp_path / "b.zip", 6, 8, labels=("b",))
    found = []
    for name, count in (("a", 4), ("b", 10)):
        few = dataclasses.replace(PAIRS, images=count)
        pair_distances(few, images=tmp_path / f"{name}.zip", weights=None, out=tmp_path / f"{name}.json")
        found.append(read_json(tmp_path / f"{name}.json"))
    both = {"size": found[0]["size"], "labels": found[0]["labels"] | found[1]["labels"]}
    for name in ("real", "held_out", "mixed"):
        write_json(tmp_path / f"{name}.json", both)
    settings = dataclasses.replace(SETTINGS, generators=("mixed",), resamples=20000)
    groups = compared(tmp_path, tmp_path / "out.json", settings)["mixed"]
    of = {name: groups[name]["ms_ssim"] for name in groups}
    variance = {name: (of[name]["high"] - of[name]["low"]) ** 2 for name in of}
    assert variance["mean of classes"] == pytest.approx((variance["a"] + variance["b"]) / 4, rel=0.15)


def test_pairs_are_within_a_label_and_never_of_one_patient(tmp_path):
    # Patients of two images: repeats of one another, so that a pair within a patient would have an MS-SSIM of 1.
    rng, rows, kept = np.random.default_rng(0), [], []
    for number in range(4):
        kept.append(np.clip(gaussian_filter(rng.normal(0, 600, (SIZE, SIZE)), 3) + 128, 0, 255).astype(np.uint8))
        rows += [({"image": f"{number}{i}.png", "label": "a", "patient": f"p{number}"}, kept[-1]) for i in range(2)]
    write_image_set(tmp_path / "s.zip", rows)
    pair_distances(PAIRS, images=tmp_path / "s.zip", weights=None, out=tmp_path / "s.json")
    one = np.stack(kept)[:, :, :, None]
    first, second = np.triu_indices(4, 1)
    expected = ms_ssim(one[first], one[second]).mean()
    assert read_json(tmp_path / "s.json")["labels"]["a"]["ms_ssim"]["mean"] == pytest.approx(expected)


def test_images_of_one_patient_or_too_small_have_a_reason(tmp_path):
    image_set(tmp_path / "one.zip", 0, 12, per_patient=12)
    pair_distances(PAIRS, images=tmp_path / "one.zip", weights=None, out=tmp_path / "one.json")
    assert read_json(tmp_path / "one.json")["labels"]["a"]["ms_ssim"] == {"reason": "all images are of one patient"}
    rows = [({"image": f"{i}.png", "label": "a", "patient": str(i)}, np.full((8, 8), i, np.uint8)) for i in range(3)]
    write_image_set(tmp_path / "small.zip", rows)
    pair_distances(PAIRS, images=tmp_path / "small.zip", weights=None, out=tmp_path / "small.json")
    assert read_json(tmp_path / "small.json")["labels"]["a"]["ms_ssim"] == {"reason": "images are too small for it"}


def test_large_images_are_reduced_and_only_equal_sizes_are_compared(measured, tmp_path):
    small = dataclasses.replace(PAIRS, max_side=16)
    pair_distances(small, images=measured / "honest.zip", weights=None, out=tmp_path / "honest.json")
    assert read_json(tmp_path / "honest.json")["size"] == [16, 16]
    for name in ("real", "held_out"):
        write_json(tmp_path / f"{name}.json", read_json(measured / f"{name}.json"))
    found = compared(tmp_path, tmp_path / "out.json", dataclasses.replace(SETTINGS, generators=("honest",)))
    assert found["honest"]["a"]["ms_ssim"]["value"] is not None
    assert found["honest"]["a"]["ms_ssim_excess"]["reason"] == "the real images are of another size"


def test_a_generator_of_one_label_is_compared_with_that_label(measured, tmp_path):
    image_set(tmp_path / "rare.zip", 9, 12, labels=("b",))
    pair_distances(PAIRS, images=tmp_path / "rare.zip", weights=None, out=tmp_path / "rare.json")
    for name in ("real", "held_out"):
        write_json(tmp_path / f"{name}.json", read_json(measured / f"{name}.json"))
    found = compared(tmp_path, tmp_path / "out.json", dataclasses.replace(SETTINGS, generators=("rare",)))
    assert list(found["rare"]) == ["b"]
    image_set(tmp_path / "other.zip", 9, 12, labels=("c",))
    pair_distances(PAIRS, images=tmp_path / "other.zip", weights=None, out=tmp_path / "other.json")
    with pytest.raises(InputError, match="no image has a label of the real ones"):
        compared(tmp_path, tmp_path / "out.json", dataclasses.replace(SETTINGS, generators=("other",)))


def test_one_file_for_each_generator(measured, tmp_path):
    with pytest.raises(InputError, match="synthetic: 1 files for"):
        set_diversity(
            SETTINGS, real=measured / "real.json", held_out=measured / "held_out.json",
            synthetic=[measured / "copier.json"], out=tmp_path / "out.json",
        )  # fmt: skip

import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from synthmed.core.errors import InputError
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.evaluation.copies import CopiesSettings, copies
from synthmed.evaluation.plant_copies import PlantCopiesSettings, kinds, plant_copies
from synthmed.metrics import copies as metrics

SETTINGS = CopiesSettings(
    generator="dcgan",
    fitted_features=True,
    seed=1,
    quantile=0.01,
    pixel_side=16,
    permutations=199,
    alpha=0.05,
    planted_shares=(0.02, 0.1),
    planted_sets=20,
    level=0.95,
    pairs=6,
)
KINDS = kinds(24)
AS_THEY_ARE = ("as they are", "mirrored")
"""Kinds of copies that equal a training image, as it is or mirrored."""


def picture(rng):
    """Smooth random image, 24 × 24."""
    small = rng.integers(0, 255, (6, 6)).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize((24, 24), Image.Resampling.BICUBIC))


def pictures(count, seed):
    rng = np.random.default_rng(seed)
    return [picture(rng) for _ in range(count)]


def blurred(image):
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1.5)))


def copied(kind, images):
    rng = np.random.default_rng(0)
    return [np.ascontiguousarray(KINDS[kind](image[:, :, None], rng)[:, :, 0]) for image in images]


def write(folder, name, images, *, patients=None, origins=None):
    """Image set and features of `images`."""
    rows = []
    for i, pixels in enumerate(images):
        patient = f"{name}{i}" if patients is None else patients[i]
        fields = {"image": f"{name}_{i:03d}.png", "label": "ab"[i % 2], "patient": patient, "source": name}
        rows.append((fields | ({"origin": origins[i]} if origins else {}), pixels))
    write_image_set(folder / f"{name}.zip", rows)
    write_features(folder / f"{name}.zip")


def write_features(path):
    """What a poor network would see: the shrunken picture and the mirrored one."""
    images = ImageSet(path)
    values = images.pixels[:, 1::3, 1::3, 0].reshape(len(images), -1).astype(np.float32)
    np.savez(
        path.with_suffix(".npz"),
        names=np.array(images.column("image")),
        labels=np.array(images.column("label")),
        patients=np.array(images.column("patient")),
        features=values,
        draw=np.zeros(len(images), np.int64),
        extractor=np.array("toy"),
    )


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "train", pictures(100, 0))
    write(tmp_path, "held_out", pictures(80, 1))
    plant(tmp_path)
    return tmp_path


def plant(folder):
    plant_copies(PlantCopiesSettings(10, 1), train=folder / "train.zip", planted=folder / "planted.zip")
    write_features(folder / "planted.zip")


def run(folder, **changes):
    paths = {name: folder / f"{name}.zip" for name in ("train", "held_out", "planted", "fake")}
    features = {f"{name}_features": folder / f"{name}.npz" for name in paths}
    settings = CopiesSettings(**{**vars(SETTINGS), **changes})
    copies(settings, **paths, **features, out=folder / "copies.json", pairs=folder / "pairs.png")
    return json.loads((folder / "copies.json").read_text())


def train_images(folder):
    return list(ImageSet(folder / "train.zip").pixels[..., 0])


# --------------------------------------------------------------------------------------------------------- whole sets
def test_new_images_raise_no_alarm_and_neither_do_blurred_ones(folder):
    words = []
    for seed in range(8):
        fresh = pictures(80, 10 + seed)
        for images in (fresh, [blurred(image) for image in fresh]):
            write(folder, "fake", images)
            result = run(folder, planted_sets=1)
            words.append(result["alarm"]["word"])
            assert result["suspects"] <= 6
            assert result["identical"] == 0
    assert words.count("none found") >= 15
    assert result["origin_identity"] is None
    assert result["by_space"]["pixels"]["origin_identity"] is None


@pytest.mark.parametrize("kind", KINDS)
def test_copies_of_every_kind_are_found(folder, kind):
    write(folder, "fake", copied(kind, train_images(folder)[20:32]) + pictures(68, 5))
    result = run(folder)
    assert result["alarm"]["word"] == "copies"
    assert result["suspects"] >= 10
    assert result["identical"] == (12 if kind in ("as they are", "mirrored") else 0)
    listed = {pair["image"]: pair for pair in result["closest_pairs"]}
    assert len(listed) == 6
    for image, pair in listed.items():
        number = int(image.removeprefix("fake_").removesuffix(".png"))
        assert number < 12
        assert pair["suspect"]
        assert pair["pixels"]["nearest"] == f"train_{20 + number:03d}.png"
        assert any(pair[space]["ratio"] < pair[space]["limit"] for space in ("pixels", "features"))
    share = result["suspect_share"]
    assert share["low"] < share["value"] == result["suspects"] / 80 < share["high"]


def test_a_single_copy_among_many_is_found(folder):
    write(folder, "fake", [*copied("as JPEG of quality 10", train_images(folder)[3:4]), *pictures(79, 5)])
    result = run(folder)
    assert result["alarm"]["word"] == "copies"
    assert result["closest_pairs"][0]["image"] == "fake_000.png"
    assert result["closest_pairs"][0]["pixels"]["nearest"] == "train_003.png"


def test_a_generator_that_only_fits_its_images_closely_gets_another_word(folder):
    train = np.stack(train_images(folder)).astype(float) - 128
    rng = np.random.default_rng(77)
    mixed = []
    for _ in range(80):  # a new image, and something of ten training images at once
        blend = train[rng.choice(100, 10, replace=False)].sum(axis=0) / np.sqrt(10)
        mixed.append(np.clip(128 + 0.6 * (picture(rng) - 128.0) + 0.4 * blend, 0, 255).astype(np.uint8))
    write(folder, "fake", mixed)
    alarm = run(folder, permutations=999)["alarm"]
    assert alarm["word"] == "nearer to training"
    assert "no image stands out" in alarm["reason"]


def test_the_same_image_many_times_is_no_copy(folder):
    write(folder, "fake", [image for image in pictures(4, 5) for _ in range(20)])
    assert run(folder)["alarm"]["word"] == "none found"


# ----------------------------------------------------------------------------------------------------------- detection
def test_the_report_says_what_would_have_been_found(folder):
    write(folder, "fake", pictures(80, 5))
    result = run(folder)
    found = result["detection"]
    assert (found["images"], found["shares"], found["copies"], found["sets"]) == (80, [0.025, 0.1], [2, 8], 20)
    assert {kind["kind"] for kind in found["kinds"]} == set(KINDS)
    assert found["false_alarms"]["value"] <= 0.15
    assert found["false_alarms"]["n"] == 20
    for kind in found["kinds"]:
        few, many = kind["sets_found"]
        assert many["value"] >= 0.9
        assert many["value"] >= few["value"]
        assert kind["images_found"]["value"] >= 0.8
        assert kind["images_found"]["n"] == 10
    exact = round(found["kinds"][0]["sets_found"][1]["value"] * 20)
    assert (
        f"with 8 copies of training images (10 %), the audit finds: as they are {exact}," in result["detection_limit"]
    )
    changed = [kind["sets_found"][1]["value"] for kind in found["kinds"] if kind["kind"] not in AS_THEY_ARE]
    assert found["changed"] == {"sets": 20 * len(changed), "found": round(20 * sum(changed))}


def test_changed_copies_are_counted_in_the_sets_that_have_most_of_them(folder, monkeypatch):
    """By a rule that finds eight of them and not two."""

    def finds_eight(ratios, patients, measure, weights):
        return np.tile(np.where(weights[-10:].sum(axis=0) >= 8, 0.0, 1.0), (4, 1))

    monkeypatch.setattr(metrics, "judge", finds_eight)
    write(folder, "fake", pictures(80, 5))
    found = run(folder)["detection"]
    assert found["copies"] == [2, 8]
    assert found["changed"]["found"] == found["changed"]["sets"] == 120


def test_one_image_that_equals_a_training_image_is_found_among_planted_ones_as_in_a_generated_set(folder, monkeypatch):
    """By a rule whose tests never reach alpha, as where there are few patients."""
    monkeypatch.setattr(metrics, "judge", lambda ratios, patients, measure, weights: np.ones((4, weights.shape[1])))
    write(folder, "fake", [*pictures(39, 5), train_images(folder)[3]])
    result = run(folder, planted_shares=(0.01, 0.03))
    assert result["alarm"]["word"] == "copies"
    found = result["detection"]
    assert (found["copies"], found["shares"]) == ([1], [0.025]), "equal numbers of copies stand once"
    rates = {kind["kind"]: [entry["value"] for entry in kind["sets_found"]] for kind in found["kinds"]}
    assert rates == {kind: [float(kind in AS_THEY_ARE)] for kind in KINDS}
    assert found["changed"] == {"sets": 120, "found": 0}
    assert found["false_alarms"]["value"] == 0
    assert "sets of 40 images with 1 copy of a training image (2.5 %), the audit finds: as" in result["detection_limit"]


def test_no_set_is_larger_than_there_are_held_out_images(folder, monkeypatch):
    spiked, sizes = metrics.spiked, {}

    def watched(base, copies, size, *rest):
        sizes.setdefault(bool(copies), set()).add(size)
        return spiked(base, copies, size, *rest)

    monkeypatch.setattr(metrics, "spiked", watched)
    write(folder, "fake", pictures(120, 5))
    result = run(folder)
    assert sizes == {True: {80}, False: {40}}, "false alarms are of sets that differ"
    found = result["detection"]
    assert (found["images"], found["generated"], found["honest"], found["copies"]) == (80, 120, 40, [2, 8])
    assert (
        "No more held-out images are there to fill sets with; the generated set has 120." in result["detection_limit"]
    )
    for share in (found["false_alarms"], *found["kinds"][0]["sets_found"]):
        assert (share["low"], share["n"]) == (None, 20)
        assert "drawn from the same" in share["reason"]
    write(folder, "fake", pictures(30, 5))
    result = run(folder)
    assert (result["detection"]["images"], result["detection"]["honest"]) == (30, 30)
    assert "No more" not in result["detection_limit"]


def test_copies_in_the_generated_set_do_not_change_what_would_be_found(folder):
    write(folder, "fake", pictures(80, 5))
    honest = run(folder)["detection"]
    write(folder, "fake", train_images(folder)[:80])
    assert run(folder)["detection"] == honest


def test_an_audit_that_cannot_find_copies_says_so(folder):
    """Half of the training images are registered a second time, hardly changed, for another patient."""
    train = train_images(folder)[:50]
    write(folder, "train", train + copied("with noise of 5 grey values", train))
    plant(folder)
    write(folder, "fake", copied("as JPEG of quality 10", train[:6]) + pictures(74, 5))
    result = run(folder)
    assert result["alarm"]["word"] == "none found"
    noise = next(kind for kind in result["detection"]["kinds"] if kind["kind"].startswith("with noise"))
    assert noise["sets_found"][1]["value"] < 0.2
    assert noise["images_found"]["value"] < 0.2


# ------------------------------------------------------------------------------------------------- who is compared
def test_the_origin_of_a_translated_image_is_left_out_and_reported_apart(folder):
    train = train_images(folder)
    edited = [np.clip(image.astype(int) + 12 * (np.arange(24) > 12), 0, 255).astype(np.uint8) for image in train[:80]]
    write(folder, "fake", edited, origins=[f"train_{i:03d}.png" for i in range(80)])
    result = run(folder)
    assert result["origin_identity"]["value"] > 0.95
    assert result["origin_identity"]["n"] == 80
    assert result["origin_chance"] == pytest.approx(1 - (1 - 1 / len(train)) ** 2)
    assert result["by_space"]["pixels"]["origin_identity"]["value"] > 0.95
    assert result["alarm"]["word"] == "none found"
    assert result["suspects"] <= 6
    assert all(pair["pixels"]["nearest"] != pair["image"].replace("fake", "train") for pair in result["closest_pairs"])
    write(folder, "fake", edited, origins=[f"unknown_{i}.png" for i in range(80)])
    result = run(folder)
    assert result["origin_identity"] is None
    assert result["suspects"] > 70
    write(folder, "fake", pictures(80, 5), origins=[f"train_{i:03d}.png" for i in range(80)])
    assert run(folder)["origin_identity"]["value"] < 0.2


def test_other_films_of_the_origins_patient_are_left_out_too(folder):
    train = train_images(folder)
    films = [film for image in train[:50] for film in (image, blurred(image))]
    write(folder, "train", films, patients=[f"p{i // 2}" for i in range(100)])
    plant(folder)
    edited = [np.clip(image.astype(int) + 12 * (np.arange(24) > 12), 0, 255).astype(np.uint8) for image in train[:50]]
    write(folder, "fake", edited, origins=[f"train_{2 * i:03d}.png" for i in range(50)])
    result = run(folder)
    assert result["alarm"]["word"] == "none found"
    assert result["origin_identity"]["value"] > 0.9
    assert result["origin_chance"] == pytest.approx(1 - (1 - 2 / 100) ** 2), "of two films a patient"


def test_new_films_of_training_patients_are_found(folder):
    """A generator that hands out another view of its patients: shifted, blurred, mirrored, none equal to a film."""
    views = [blurred(np.roll(image, 1, axis=0))[:, ::-1] for image in train_images(folder)[:80]]
    write(folder, "fake", [np.ascontiguousarray(view) for view in views])
    result = run(folder)
    assert result["alarm"]["word"] == "copies"
    assert result["suspects"] > 50


def test_patients_with_several_films_swap_as_one(folder):
    films = [film for image in train_images(folder)[:40] for film in (image, blurred(image))]
    write(folder, "train", films, patients=[f"p{i // 2}" for i in range(80)])
    held_out = [film for image in pictures(40, 1) for film in (image, blurred(image))]
    write(folder, "held_out", held_out, patients=[f"h{i // 2}" for i in range(80)])
    plant(folder)
    words = []
    for seed in range(6):
        write(folder, "fake", pictures(80, 10 + seed))
        words.append(run(folder, planted_sets=1)["alarm"]["word"])
    assert words.count("none found") >= 5
    write(folder, "fake", copied("shifted by 1 px", films[:24:2]) + pictures(68, 5))
    assert run(folder)["alarm"]["word"] == "copies"


def test_a_held_out_copy_of_a_training_image_does_not_hide_the_copies(folder):
    train = train_images(folder)
    write(folder, "held_out", [train[0], *pictures(79, 1)])
    write(folder, "fake", train[:80])
    result = run(folder)
    assert result["identical"] == 80
    assert result["suspects"] >= 79
    assert result["detection"]["false_alarms"]["value"] <= 0.15


def test_films_that_stand_in_the_training_part_under_two_patients_do_not_hide_the_copies(folder):
    train = train_images(folder)
    write(folder, "train", train[:94] + train[:6])
    plant(folder)
    write(folder, "fake", copied("with noise of 5 grey values", train[20:32]) + pictures(68, 5))
    result = run(folder)
    assert result["suspects"] >= 11
    assert result["by_space"]["pixels"]["limit"] > 0.3


def test_held_out_images_of_another_kind_are_said_and_only_single_images_judged(folder):
    write(folder, "held_out", [blurred(blurred(image)) // 2 + 100 for image in pictures(80, 1)])
    write(folder, "fake", pictures(80, 5))
    result = run(folder)
    assert result["alarm"]["word"] == "none found"
    assert "held-out images are of another kind" in result["alarm"]["reason"]
    assert min(space["p_comparable"] for space in result["by_space"].values()) <= 0.01
    write(folder, "fake", copied("mirrored", train_images(folder)[:12]) + pictures(68, 5))
    assert run(folder)["alarm"]["word"] == "copies"


# --------------------------------------------------------------------------------------------------------------- rest
def test_secondary_numbers(folder):
    write(folder, "fake", train_images(folder)[:80])
    copying = run(folder)["secondary"]
    write(folder, "fake", pictures(80, 5))
    honest = run(folder)["secondary"]
    assert copying["authenticity"]["value"] == 0
    assert honest["authenticity"]["value"] > 0.3
    assert copying["c_t"]["value"] < -8 < honest["c_t"]["value"] < 4
    assert "Neither separates memorising from underfitting" in honest["note"]


def test_the_picture_and_the_same_bytes_twice(folder):
    write(folder, "fake", train_images(folder)[:3] + pictures(77, 5))
    run(folder)
    first = (folder / "copies.json").read_bytes(), (folder / "pairs.png").read_bytes()
    with Image.open(folder / "pairs.png") as image:
        assert image.width > 500
        assert np.asarray(image.convert("L")).std() > 10
    run(folder)
    assert ((folder / "copies.json").read_bytes(), (folder / "pairs.png").read_bytes()) == first


def test_three_colours(folder):
    for name in ("train", "held_out"):
        images = ImageSet(folder / f"{name}.zip").pixels[..., 0]
        write(folder, name, [np.stack([image, image, 255 - image], axis=2) for image in images])
    plant(folder)
    fresh = [np.stack([image, image, 255 - image], axis=2) for image in pictures(68, 5)]
    train = list(ImageSet(folder / "train.zip").pixels)
    rng = np.random.default_rng(0)
    write(folder, "fake", [KINDS["cropped to 90 %"](image, rng) for image in train[:12]] + fresh)
    assert run(folder)["alarm"]["word"] == "copies"


def test_what_does_not_belong_together_is_an_error(folder):
    write(folder, "fake", pictures(80, 5))
    (folder / "fake.npz").rename(folder / "kept.npz")
    (folder / "fake.npz").write_bytes((folder / "train.npz").read_bytes())
    with pytest.raises(InputError, match=r"fake\.npz: no features of 80 images"):
        run(folder)
    write(folder, "fake", [np.stack([image] * 3, axis=2) for image in pictures(80, 5)])
    with pytest.raises(InputError, match=r"fake\.zip: fake_000\.png has 3 channels, the training images have 1"):
        run(folder)
    write(folder, "fake", pictures(80, 5))
    write(folder, "held_out", pictures(80, 1), patients=[f"train{i}" for i in range(80)])
    with pytest.raises(InputError, match="share 80 patients"):
        run(folder)

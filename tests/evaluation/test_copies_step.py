import json

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.evaluation.copies import CopiesSettings, copies

SETTINGS = CopiesSettings(generator="dcgan", quantile=0.05, pixel_side=16, mirror=True, level=0.95, pairs=6, chunk=16)


def picture(rng):
    """Smooth random image, 24 × 24."""
    small = rng.integers(0, 255, (6, 6)).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize((24, 24), Image.Resampling.BICUBIC))


def write(folder, name, images, *, extra=None):
    """Image set and features (pixels of the shrunken image) of `images`."""
    names = [f"{name}_{i:03d}.png" for i in range(len(images))]
    rows = []
    for i, (file, pixels) in enumerate(zip(names, images, strict=True)):
        fields = {"image": file, "label": "normal", "patient": f"{name}{i}", "split": name, "source": name}
        rows.append((fields | ({"origin": extra[i]} if extra else {}), pixels))
    write_image_set(folder / f"{name}.zip", rows)
    values = np.stack([image[::4, ::4].ravel() for image in images]).astype(np.float32)
    np.savez(
        folder / f"{name}.npz",
        names=np.array(names),
        labels=np.array(["normal"] * len(names)),
        patients=np.array([f"{name}{i}" for i in range(len(names))]),
        features=values,
        squares=values**2,
        draw=np.zeros(len(names), np.int64),
        extractor=np.array("toy"),
    )


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    train = [picture(rng) for _ in range(40)]
    fresh = [picture(rng) for _ in range(20)]
    noisy = np.clip(train[7] + rng.normal(0, 6, (24, 24)), 0, 255).astype(np.uint8)
    mirrored = np.ascontiguousarray(train[11][:, ::-1])
    write(tmp_path, "train", train)
    write(tmp_path, "held_out", [picture(rng) for _ in range(40)])
    write(tmp_path, "fake", [train[3], noisy, mirrored, *fresh], extra=["train_003.png"] * 23)
    return tmp_path


def run(folder, settings=SETTINGS):
    paths = {name: folder / f"{name}.zip" for name in ("train", "held_out", "fake")}
    features = {f"{name}_features": folder / f"{name}.npz" for name in paths}
    copies(settings, **paths, **features, out=folder / "copies.json", pairs=folder / "pairs.png")
    return json.loads((folder / "copies.json").read_text())


def test_planted_copies_are_found(folder):
    result = run(folder)
    planted = {"fake_000.png": "train_003.png", "fake_001.png": "train_007.png", "fake_002.png": "train_011.png"}
    listed = {pair["image"]: pair for pair in result["closest_pairs"]}
    assert len(listed) == 6
    for image, source in planted.items():
        assert listed[image]["suspect"]
        assert listed[image]["pixels"]["nearest"] == source
    assert listed["fake_000.png"]["features"]["distance"] == pytest.approx(0, abs=1e-3)
    assert 3 <= result["suspects"] <= 7
    share = result["suspect_share"]
    assert share["low"] < share["value"] == result["suspects"] / 23 < share["high"]
    assert result["by_space"]["pixels"]["p"] < 0.1
    assert result["by_space"]["pixels"]["identical"] == 2  # the copy and the mirrored copy
    assert result["nearest_is_origin"]["value"] < 0.5
    for space in result["by_space"].values():
        for quantiles in space["distances"].values():
            assert list(quantiles) == sorted(quantiles)
            assert quantiles["min"] <= quantiles["median"] <= quantiles["max"]
    with Image.open(folder / "pairs.png") as image:
        assert image.width > 500
        assert np.asarray(image.convert("L")).std() > 10


def test_a_held_out_copy_of_a_training_image_does_not_hide_the_copies(folder):
    rng = np.random.default_rng(3)
    train = ImageSet(folder / "train.zip").pixels[..., 0]
    write(folder, "held_out", [train[0], *(picture(rng) for _ in range(19))])
    write(folder, "fake", list(train))
    result = run(folder)
    assert (result["suspects"], result["identical"], result["n_fake"]) == (40, 40, 40)
    for space in result["by_space"].values():
        assert space["threshold"] > 0
        assert space["p"] < 1e-3


def test_of_a_held_out_patient_one_image_is_the_reference(folder):
    before = run(folder)["by_space"]["pixels"]
    images = ImageSet(folder / "held_out.zip")
    again = [({**row, "image": f"b_{row['image']}"}, images[i][..., 0]) for i, row in enumerate(images.rows)]
    first = [(row, images[i][..., 0]) for i, row in enumerate(images.rows)]
    write_image_set(folder / "held_out.zip", [*first, *again])
    with np.load(folder / "held_out.npz") as content:
        twice = {key: np.concatenate([value, value]) for key, value in content.items() if value.ndim}
        twice["names"] = np.concatenate([content["names"], [f"b_{name}" for name in content["names"]]])
        np.savez(folder / "held_out.npz", **twice, extractor=content["extractor"])
    after = run(folder)["by_space"]["pixels"]
    assert (after["threshold"], after["p"], after["expected_share"]) == (
        before["threshold"],
        before["p"],
        before["expected_share"],
    )


def test_without_mirroring_the_mirrored_copy_is_missed(folder):
    pairs = run(folder, SETTINGS.__class__(**{**vars(SETTINGS), "mirror": False, "pairs": 23}))["closest_pairs"]
    mirrored = next(pair for pair in pairs if pair["image"] == "fake_002.png")
    assert mirrored["pixels"]["distance"] > 0.3


def test_same_bytes_in_any_chunk(folder):
    first = run(folder), (folder / "pairs.png").read_bytes()
    assert (
        run(folder, SETTINGS.__class__(**{**vars(SETTINGS), "chunk": 5})),
        (folder / "pairs.png").read_bytes(),
    ) == first


def test_new_images_are_not_suspects(folder):
    rng = np.random.default_rng(9)
    write(folder, "fake", [picture(rng) for _ in range(30)])
    result = run(folder)
    assert result["suspect_share"]["low"] < 0.1
    assert result["by_space"]["pixels"]["p"] > 0.01
    assert result["nearest_is_origin"] is None


def test_features_of_other_images_are_an_error(folder):
    (folder / "fake.npz").write_bytes((folder / "train.npz").read_bytes())
    with pytest.raises(InputError, match=r"fake\.npz: no features of 23 images"):
        run(folder)
    assert len(ImageSet(folder / "fake.zip")) == 23

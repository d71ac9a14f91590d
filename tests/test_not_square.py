"""Images of 64 × 48 and 48 × 64 pixels: every part works on them, or says that it needs squares."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from synthmed import generators
from synthmed.anomaly import supervised
from synthmed.anomaly.encoder import Encoder
from synthmed.augment.classic import ClassicAugmentation
from synthmed.classifiers import network
from synthmed.classifiers.network_settings import NetworkSettings
from synthmed.commands.check_images import check
from synthmed.commands.contact_sheet import contact_sheet
from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.data.split import PARTS, SplitSettings, split
from synthmed.evaluation.copies import CopiesSettings, copies
from synthmed.evaluation.plant_copies import PlantCopiesSettings, plant_copies
from synthmed.extractors import domain, features, inception
from synthmed.generators.sampling import SampleSettings, sample
from synthmed.generators.train import TrainSettings, train

SIZES = [(64, 48), (48, 64)]
CLASSES = ["normal", "abnormal"]
LOOP = {
    "steps": 2, "batch_size": 2, "size": None, "masks": None, "accumulate": 1, "precision": "fp32", "flip": True,
    "channels_last": False, "threads": 1, "processes": 1, "log_every": 1, "sample_every": 1, "save_every": 1,
    "jitter": 1.2, "keep_every": None, "device": "cpu",
}  # fmt: skip
CYCLEGAN = {
    "base_channels": 4, "residual_blocks": 1, "discriminator_layers": [4, 8], "discriminator_last_stride": 2,
    "cycle_weight": 10.0, "identity_weight": 0.5, "pool_size": 5, "learning_rate": 2.0e-4, "beta1": 0.5,
}  # fmt: skip
NETWORK = {
    "targets": ["abnormal"], "target_column": "label", "missing": "error", "arm": None, "sets": [], "holdout": None,
    "augmentation": None,
    "architecture": "small_cnn", "channels": [4, 8], "dropout": 0.2, "size": None, "pretrained": None, "seed": 1,
    "seeds": 1, "steps": 24, "check_every": 4, "batch_size": 8, "learning_rate": 1.0e-2, "schedule": "cosine",
    "class_weights": "balanced", "outputs": "independent", "flip": True, "shift": 0.05, "select": "loss",
    "precision": "fp32",
    "channels_last": False, "save_every": 1, "threads": 1, "accumulate": 1, "processes": 1, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module", params=SIZES, ids=str)
def parts(request, tmp_path_factory):
    """Training, validation and test part, with a bright square in the abnormal images: the height, width and paths."""
    folder, rng, rows = tmp_path_factory.mktemp("parts"), np.random.default_rng(0), []
    height, width = request.param
    for number in range(60):
        coarse = Image.fromarray(rng.integers(40, 140, (6, 6), np.uint8))
        pixels = np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))
        mask = np.zeros((height, width), np.uint8)
        if number % 2:
            top, left = rng.integers(height - 16), rng.integers(width - 16)
            mask[top : top + 16, left : left + 16] = 255
        fields = {"image": f"{number:02d}.png", "label": CLASSES[number % 2], "patient": str(number)}
        rows.append((fields, np.where(mask > 0, 230, pixels).astype(np.uint8), mask))
    write_image_set(folder / "all.zip", rows)
    paths = {part: folder / f"{part}.zip" for part in PARTS}
    split(
        SplitSettings("patient", 0.2, 0.2, 1, 10, 0.98, "report", None, None),
        images=folder / "all.zip",
        report=folder / "r.json",
        **paths,
    )
    return height, width, paths


def test_split_check_and_contact_sheet(parts, tmp_path):
    height, width, paths = parts
    for path in paths.values():
        images = ImageSet(path)
        assert check(path) == []
        assert images.pixels.shape[1:] == (height, width, 1)
        assert images.masks.shape[1:] == (height, width)
    contact_sheet(paths["train"], tmp_path / "sheet.png", columns=2, count=4, seed=0)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert ((sheet == (255, 210, 0)).all(axis=2)).any()


def test_a_generator_that_takes_them_trains_and_translates(parts, tmp_path):
    height, width, paths = parts
    values = {
        "model": "cyclegan",
        "classes": CLASSES,
        "labels": CLASSES,
        "learns": "images",
        "seed": 1,
        "config": CYCLEGAN,
        "training": LOOP,
    }
    files = {"checkpoint": tmp_path / "c.pt", "history": tmp_path / "h.csv", "samples": tmp_path / "s.png"}
    files["states"] = tmp_path / "states.zip"
    train(parse(TrainSettings, values), images=paths["train"], **files)
    chosen = {
        "model": "cyclegan",
        "generator": "c",
        "classes": CLASSES,
        "trainings": {"both": CLASSES},
        "repeats": 1,
        "seed": 1,
    }
    chosen |= {
        "samples": {"normal": 3},
        "batch_size": 2,
        "threads": 1,
        "device": "cpu",
        "truncation": None,
        "start_scale": None,
    }
    sample(
        parse(SampleSettings, chosen),
        checkpoints=[tmp_path / "c.pt"],
        images=paths["train"],
        synthetic=tmp_path / "f.zip",
    )
    assert ImageSet(tmp_path / "f.zip").pixels.shape == (3, height, width, 1)


@pytest.mark.parametrize("model", ["dcgan", "fastgan", "pggan", "stylegan2"])
@pytest.mark.parametrize("size", SIZES)
def test_a_generator_that_needs_squares_says_so(model, size):
    model_class = generators.load(model)
    with pytest.raises(InputError, match=rf"{model} needs square images of .*, not {size[0]}×{size[1]}"):
        model_class(model_class.paper_config((1, 64, 64)), (1, *size), ("normal",))


def test_a_classifier_learns_maps_and_says_where(parts, tmp_path):
    height, width, paths = parts
    nothing = {"weights": None, "arms": None, "synthetic": []}
    for size in (None, [height // 2, width // 2]):
        network.train(
            parse(NetworkSettings, NETWORK | {"size": size}), train=paths["train"], validation=paths["validation"],
            classifier=tmp_path / "c.pt", report=tmp_path / "r.json", **nothing,
        )  # fmt: skip
        trained, images = network.load(tmp_path / "c.pt"), ImageSet(paths["test"])
        assert trained.image_shape == (1, *(size or (height, width)))
        abnormal = np.array(images.column("label")) == "abnormal"
        found = network.predict_set(trained, images, 5)[0, :, 0]
        assert found[abnormal].mean() > found[~abnormal].mean() + 0.1
        maps = supervised.class_maps(trained, images.pixels[abnormal], [0] * abnormal.sum())
        assert maps.shape == (abnormal.sum(), height, width)
        # A map that were turned round or stretched the other way would miss the square.
        inside = images.masks[abnormal] > 0
        assert maps[inside].mean() > 2 * maps[~inside].mean()


def test_features_and_the_copy_audit(parts, tmp_path):
    _, _, paths = parts
    options = {
        "view": "image",
        "seed": 0,
        "input_size": 32,
        "patch": 4,
        "filters": 5,
        "windows": 2,
        "patches": 300,
        "iterations": 3,
    }
    chosen = domain.DomainSettings(**options, whitening=0.1, threshold=0.5, threads=1, classes=tuple(CLASSES))
    domain.train(chosen, train=paths["train"], validation=paths["validation"], weights=tmp_path / "d.pt")
    images = ImageSet(paths["train"])
    copied = [(row | {"image": f"copy{n}.png"}, pixels) for n, (row, pixels, _) in enumerate(images.entries(range(5)))]
    others = [(row, pixels) for row, pixels, _ in ImageSet(paths["validation"]).entries()]
    write_image_set(tmp_path / "fake.zip", copied + others)
    plant_copies(PlantCopiesSettings(images=6, seed=1), train=paths["train"], planted=tmp_path / "planted.zip")
    sets = {"train": paths["train"], "held_out": paths["test"], "planted": tmp_path / "planted.zip"}
    sets["fake"] = tmp_path / "fake.zip"
    augmentation = ClassicAugmentation(True, 36.0, 0.1, "reflection")
    how = parse(
        features.FeatureSettings,
        {
            "extractor": "domain", "input_size": None, "draws": 1, "augmentation": dataclasses.asdict(augmentation),
            "seed": 3, "batch_size": 3, "threads": 1, "device": "cpu", "precision": "fp32", "view": "image",
        },
    )  # fmt: skip
    made = {}
    for name, path in sets.items():
        made[f"{name}_features"] = tmp_path / f"{name}.npz"
        features.features(how, images=path, weights=tmp_path / "d.pt", out=tmp_path / f"{name}.npz")
    audit = CopiesSettings(
        generator="fake", fitted_features=True, seed=1, quantile=0.01, pixel_side=16, permutations=19, alpha=0.05,
        planted_shares=(0.1,), planted_sets=5, level=0.95, pairs=6,
    )  # fmt: skip
    copies(audit, **sets, **made, out=tmp_path / "copies.json", pairs=tmp_path / "pairs.png")
    found = json.loads((tmp_path / "copies.json").read_text())
    assert found["identical"] == 5
    assert {pair["image"] for pair in found["closest_pairs"][:5]} == {f"copy{n}.png" for n in range(5)}


def test_networks_with_fixed_inputs_take_them():
    pixels = torch.randint(0, 256, (2, 3, 64, 48), generator=torch.Generator().manual_seed(0)).float()
    assert inception.resize(pixels).shape == (2, 3, 299, 299)
    assert domain.bring_to_size(pixels / 127.5 - 1, 32).shape == (2, 3, 32, 32)


def test_the_encoder_of_the_anomaly_search():
    assert Encoder((1, 64, 48), (4, 8), 5)(torch.zeros(2, 1, 64, 48)).shape == (2, 5)
    with pytest.raises(InputError, match=r"cannot be divided by 32"):
        Encoder((1, 64, 48), (4, 4, 4, 4, 4), 5)

"""The step `features`: its file, determinism, augmentation draws, errors; and pooling that BatchNorm can use."""

import numpy as np
import pytest
import torch
from torch import nn

from synthmed.core.errors import InputError
from synthmed.core.settings import parse, schema
from synthmed.data.imageset import write_image_set
from synthmed.extractors import EXTRACTORS, domain, features
from synthmed.extractors.extractor import fold_batch_norm, pool, to_pixels

NAMES = [f"film_{number:02d}.png" for number in range(7)]


def settings(**changes):
    values = {
        "extractor": "domain",
        "view": "image",
        "input_size": None,
        "draws": 0,
        "augmentation": {"horizontal_flip": True, "rotation": 36.0, "zoom": 0.1, "padding": "reflection"},
        "seed": 3,
        "batch_size": 3,
        "threads": 1,
        "device": "cpu",
        "precision": "fp32",
    }
    return parse(features.FeatureSettings, values | changes)


def make_set(path, names, size=16, channels=1):
    rng = np.random.default_rng(5)
    rows = []
    for number, name in enumerate(names):
        pixels = rng.integers(0, 256, (size, size, channels), dtype=np.uint8)
        rows.append(({"image": name, "label": "ab"[number % 2], "patient": f"p{number // 2}"}, pixels))
    write_image_set(path, rows)
    return path


@pytest.fixture
def images(tmp_path):
    return make_set(tmp_path / "images.zip", NAMES)


@pytest.fixture
def weights(tmp_path, images):
    config = domain.DomainSettings(
        classes=("a", "b"), seed=0, input_size=12, patch=4, filters=5, windows=2, patches=300, iterations=3,
        whitening=0.1, threshold=0.5, threads=1, view="image",
    )  # fmt: skip
    domain.train(config, train=images, validation=images, weights=tmp_path / "domain.pt")
    return tmp_path / "domain.pt"


def test_the_file_has_the_format_of_the_contract(tmp_path, images, weights):
    features.features(settings(draws=2), images=images, weights=weights, out=tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert set(arrays) == {
        "names", "labels", "patients", "features", "squares", "probabilities", "draw", "extractor",
    }  # fmt: skip
    assert arrays["names"].tolist() == NAMES * 3
    assert arrays["labels"].tolist() == list("abababa") * 3
    assert arrays["patients"].tolist() == ["p0", "p0", "p1", "p1", "p2", "p2", "p3"] * 3
    assert arrays["draw"].dtype == np.int64
    assert arrays["draw"].tolist() == [0] * 7 + [1] * 7 + [2] * 7
    for name, columns in (("features", 40), ("squares", 40), ("probabilities", 2)):
        assert arrays[name].dtype == np.float32
        assert arrays[name].shape == (21, columns)
    np.testing.assert_allclose(arrays["probabilities"].sum(1), 1, rtol=1e-6)
    assert str(arrays["extractor"]) == domain.Domain.human
    assert not np.allclose(arrays["features"][:7], arrays["features"][7:14]), (
        "a draw must differ from the image as it is"
    )
    assert not np.allclose(arrays["features"][7:14], arrays["features"][14:]), "two draws must differ"


def test_equal_runs_have_equal_bytes_and_batches_do_not_matter(tmp_path, images, weights):
    for name, batch_size in (("one", 3), ("two", 3), ("other", 7)):
        features.features(
            settings(draws=1, batch_size=batch_size), images=images, weights=weights, out=tmp_path / f"{name}.npz"
        )
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "other.npz") as other:
        np.testing.assert_allclose(one["features"], other["features"], atol=1e-5)


def test_the_first_draw_does_not_depend_on_the_number_of_draws(tmp_path, images, weights):
    found = []
    for draws in (1, 3):
        features.features(settings(draws=draws), images=images, weights=weights, out=tmp_path / "f.npz")
        with np.load(tmp_path / "f.npz") as file:
            found.append(file["features"][file["draw"] == 1])
    np.testing.assert_array_equal(*found)


def test_without_augmentation_a_draw_is_the_image(tmp_path, images, weights):
    still = {"horizontal_flip": False, "rotation": 0.0, "zoom": 0.0, "padding": "reflection"}
    features.features(settings(draws=1, augmentation=still), images=images, weights=weights, out=tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz") as file:
        np.testing.assert_allclose(file["features"][:7], file["features"][7:], atol=1e-4)


def test_images_of_several_sizes_are_accepted(tmp_path, weights):
    rng = np.random.default_rng(0)
    rows = [
        ({"image": f"i{n}.png", "label": "a", "patient": "p"}, rng.integers(0, 256, (size, size), dtype=np.uint8))
        for n, size in enumerate((16, 16, 20, 14))
    ]
    write_image_set(tmp_path / "mixed.zip", rows)
    features.features(settings(), images=tmp_path / "mixed.zip", weights=weights, out=tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz") as file:
        assert len(file["features"]) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draws": -1}, "draws"),
        ({"batch_size": 0}, "batch_size"),
        ({"input_size": 8}, "input_size"),
        ({"precision": "bf16"}, "precision"),
    ],
)
def test_unusable_settings_are_input_errors(tmp_path, images, weights, changes, message):
    with pytest.raises(InputError, match=message):
        features.features(settings(**changes), images=images, weights=weights, out=tmp_path / "f.npz")
    assert not (tmp_path / "f.npz").exists()


def test_domain_without_weights_says_how_to_make_them(tmp_path, images):
    with pytest.raises(InputError, match="train-extractor"):
        features.features(settings(), images=images, weights=None, out=tmp_path / "f.npz")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_an_input_error(tmp_path, images, weights):
    with pytest.raises(InputError, match="no GPU"):
        features.features(settings(device="cuda"), images=images, weights=weights, out=tmp_path / "f.npz")


def test_features_that_are_not_finite_are_refused(tmp_path, images, weights):
    content = torch.load(weights)
    content["state"]["offset"][0] = float("nan")
    torch.save(content, weights)
    with pytest.raises(InputError, match=r"film_00\.png.*not finite"):
        features.features(settings(), images=images, weights=weights, out=tmp_path / "f.npz")


def test_pooled_numbers_give_batch_norm_exactly():
    """Global average pooling of BatchNorm(map), from the pooled map and the pooled squared map alone."""
    maps = torch.randn(9, 4, 5, 3, generator=torch.Generator().manual_seed(0)) * 3 + 1
    norm = nn.BatchNorm2d(4)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
        expected = norm(maps).mean((2, 3))
        means, squares = pool(maps)
        mean = means.mean(0)
        variance = squares.mean(0) - mean.square()
        found = (means - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_folding_keeps_convolution_and_batch_norm():
    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6, eps=1e-3)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm.eval()
    images = torch.randn(2, 3, 8, 8)
    state = {key: getattr(norm, key).detach() for key in ("weight", "bias", "running_mean", "running_var")}
    weight, bias = fold_batch_norm(convolution.weight.detach(), state, 1e-3)
    torch.testing.assert_close(
        torch.conv2d(images, weight, bias), norm(convolution(images)).detach(), atol=1e-5, rtol=1e-5
    )


def test_float_and_uint8_images_agree():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    torch.testing.assert_close(to_pixels(pixels.float() / 127.5 - 1), pixels.float(), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="1 or 3"):
        to_pixels(torch.zeros(1, 2, 4, 4))


def test_every_extractor_of_the_registry_can_be_a_setting():
    described = schema(features.FeatureSettings)["$defs"]["extractors.features.FeatureSettings"]
    assert set(described["properties"]["extractor"]["enum"]) == set(EXTRACTORS)

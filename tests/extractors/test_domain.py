"""The extractor trained on the experiment's own images: determinism, the formula of its features, its purpose."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthmed.core.errors import InputError
from synthmed.data.imageset import write_image_set
from synthmed.extractors import domain

SETTINGS = domain.DomainSettings(
    classes=("plain", "striped"), seed=0, input_size=16, patch=5, filters=6, windows=2, patches=2000, iterations=5,
    whitening=0.1, threshold=0.5, threads=1, view="image",
)  # fmt: skip


def texture(rng, striped, size=16):
    """Noise, with faint diagonal stripes of random phase where `striped`."""
    rows, columns = np.mgrid[:size, :size]
    values = 128 + 40 * rng.standard_normal((size, size))
    if striped:
        values += 30 * np.sin((rows + columns) * 1.2 + rng.uniform(0, 6.3))
    return np.clip(values, 0, 255).astype(np.uint8)


def make_set(path, seed, count, channels=1):
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        pixels = np.repeat(texture(rng, number % 2)[:, :, None], channels, 2)
        fields = {
            "image": f"s{seed}_{number:03d}.png",
            "label": SETTINGS.classes[number % 2],
            "patient": f"{seed}-{number}",
        }
        rows.append((fields, pixels))
    write_image_set(path, rows)
    return path


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("domain")
    return make_set(folder / "train.zip", 1, 80), make_set(folder / "validation.zip", 2, 40), folder


@pytest.fixture(scope="module")
def trained(sets):
    train, validation, folder = sets
    domain.train(SETTINGS, train=train, validation=validation, weights=folder / "domain.pt")
    return domain.load(folder / "domain.pt", None, "fp32", torch.device("cpu"))


def images(seed, count):
    rng = np.random.default_rng(seed)
    pixels = np.stack([texture(rng, number % 2) for number in range(count)])
    return torch.from_numpy(pixels)[:, None], torch.arange(count) % 2


def test_it_tells_fresh_images_apart(trained):
    pixels, labels = images(9, 200)
    accuracy = (trained(pixels).probabilities.argmax(1) == labels).float().mean()
    assert accuracy > 0.8


def test_features_of_training_and_of_fresh_images_have_one_distribution(trained):
    """What a backbone trained on the labels of the training set lacks; see the module's text."""
    known, fresh = (trained(images(seed, 400)[0]).features for seed in (1, 9))
    known = known[:80]
    standardised = (fresh - known.mean(0)) / known.std(0)
    assert standardised.mean(0).abs().max() < 0.5
    assert 0.6 < standardised.std(0).min() < standardised.std(0).max() < 1.6


def test_features_follow_the_formula(trained):
    """One image by hand: patches one by one, normalised, times the filters, two-sided threshold, windows."""
    pixels, _ = images(4, 1)
    image = pixels[0, 0].double() / 127.5 - 1
    side, places = SETTINGS.patch, 16 - SETTINGS.patch + 1
    filters = trained.filters.double().flatten(1)
    answers = torch.empty(2 * SETTINGS.filters, places, places, dtype=torch.float64)
    for row in range(places):
        for column in range(places):
            patch = image[row : row + side, column : column + side].flatten()
            patch = (patch - patch.mean()) / (patch.var(correction=0) + 0.01).sqrt()
            answer = filters @ patch - trained.offset.double()
            answers[:, row, column] = torch.cat([(answer - 0.5).clamp(min=0), (-answer - 0.5).clamp(min=0)])
    half = places // 2
    windows = torch.stack([answers[:, r : r + half, c : c + half] for r in (0, half) for c in (0, half)], 1)
    found = trained(pixels)
    torch.testing.assert_close(found.features[0].double(), windows.mean((2, 3)).flatten(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.squares[0].double(), windows.square().mean((2, 3)).flatten(), atol=1e-3, rtol=1e-4)


def test_equal_settings_give_equal_bytes(sets, trained):
    train, validation, folder = sets
    domain.train(SETTINGS, train=train, validation=validation, weights=folder / "again.pt")
    assert (folder / "again.pt").read_bytes() == (folder / "domain.pt").read_bytes()
    domain.train(replace(SETTINGS, seed=1), train=train, validation=validation, weights=folder / "other.pt")
    assert (folder / "other.pt").read_bytes() != (folder / "domain.pt").read_bytes()


def test_labels_shape_the_probabilities_only(sets, trained, tmp_path):
    """The filters are learnt without labels."""
    rng = np.random.default_rng(1)
    rows = [
        ({"image": f"x{n:03d}.png", "label": SETTINGS.classes[n // 40], "patient": str(n)}, texture(rng, n % 2))
        for n in range(80)
    ]
    write_image_set(tmp_path / "shuffled.zip", rows)
    domain.train(SETTINGS, train=tmp_path / "shuffled.zip", validation=sets[1], weights=tmp_path / "w.pt")
    other = domain.load(tmp_path / "w.pt", None, "fp32", torch.device("cpu"))
    torch.testing.assert_close(other.filters, trained.filters)
    assert not torch.allclose(other.weight, trained.weight)


def test_colour_images_have_colour_filters(tmp_path):
    path = make_set(tmp_path / "colour.zip", 1, 20, channels=3)
    domain.train(SETTINGS, train=path, validation=path, weights=tmp_path / "w.pt")
    network = domain.load(tmp_path / "w.pt", None, "fp32", torch.device("cpu"))
    assert network(torch.zeros(2, 3, 16, 16, dtype=torch.uint8)).features.shape == (2, 48)
    with pytest.raises(InputError, match="1 channels"):
        network(torch.zeros(2, 1, 16, 16, dtype=torch.uint8))


def test_a_class_without_images_is_an_input_error(sets, tmp_path):
    config = replace(SETTINGS, classes=("plain", "striped", "dotted"))
    with pytest.raises(InputError, match="'dotted'"):
        domain.train(config, train=sets[0], validation=sets[1], weights=tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": 5, "patch": 5}, "input_size"),
        ({"input_size": 17}, "smaller than"),
    ],
)
def test_unusable_settings_are_input_errors(sets, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        domain.train(replace(SETTINGS, **changes), train=sets[0], validation=sets[1], weights=tmp_path / "w.pt")


def test_a_foreign_or_cut_off_file_is_an_input_error(tmp_path, sets, trained):
    torch.save({"layer": torch.zeros(1)}, tmp_path / "foreign.pt")
    (tmp_path / "cut.pt").write_bytes((sets[2] / "domain.pt").read_bytes()[:500])
    for name in ("foreign.pt", "cut.pt", "absent.pt"):
        with pytest.raises(InputError, match=name):
            domain.load(tmp_path / name, None, "fp32", torch.device("cpu"))

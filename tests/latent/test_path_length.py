"""Path lengths of generators whose paths are known."""

import dataclasses

import numpy as np
import pytest
import torch

from synthmed.core.files import read_json
from synthmed.latent import path_length as module
from synthmed.latent.path_length import PathLengthSettings, path_length
from synthmed.latent.space import draw_codes
from synthmed.training.device import derived_seed

SETTINGS = PathLengthSettings(
    model="toy", generator="toy", training="both", label=None, pairs=300, epsilon=0.01, lpips="lpips_vgg16", level=0.95,
    resamples=200, batch_size=64, threads=1, device="cpu", seed=1,
)  # fmt: skip


class Toy:
    """Images are the codes themselves, in w twice as far from the middle; distances are squared differences."""

    spaces = ("z", "w")
    latent_size, image_shape, device = 4, (1, 2, 2), torch.device("cpu")

    def w_of(self, z):
        return 2 * z

    def synthesise(self, z):
        return z.view(-1, 1, 2, 2)

    def synthesise_w(self, w):
        return w.view(-1, 1, 2, 2)


class Distance(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()

    def of_pairs(self, first, second):
        return (first.double() - second.double()).square().sum(dim=(1, 2, 3))


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(module, "restore", lambda path, model, device, label: Toy())
    monkeypatch.setattr(module, "PerceptualDistance", Distance)


def run(folder, weights="given", **changes):
    path_length(
        dataclasses.replace(SETTINGS, **changes), checkpoint=folder / "g.pt", weights=weights, out=folder / "out.json"
    )
    return read_json(folder / "out.json")


def test_straight_paths_are_as_long_as_their_codes_are_apart(tmp_path):
    found = run(tmp_path)["spaces"]["w"]
    # E|2(z − z')|² = 4 · 2 · 4 = 32, at the ends as anywhere; the trimmed mean is a little lower
    for sampling in ("end", "full"):
        assert found[sampling]["low"] < found[sampling]["value"] < found[sampling]["high"]
        assert found[sampling]["value"] == pytest.approx(32, rel=0.12)
        assert found[sampling]["n"] == pytest.approx(294, abs=4)
    assert found["end"]["value"] == pytest.approx(found["full"]["value"], rel=0.01)


def test_steps_are_at_the_ends_or_anywhere_on_the_paths(tmp_path, monkeypatch):
    seen = []

    class Seen(Toy):
        def synthesise_w(self, w):
            seen.append(w.double().numpy())
            return super().synthesise_w(w)

    monkeypatch.setattr(module, "restore", lambda *_: Seen())
    run(tmp_path, batch_size=300)
    codes = draw_codes(Toy(), "w", 600, derived_seed(SETTINGS.seed, "path length")).astype(float)
    first, way = codes[::2], codes[1::2] - codes[::2]
    end, after_end, anywhere, after = (((at - first) * way).sum(axis=1) / (way**2).sum(axis=1) for at in seen)
    assert np.allclose(end, 0, atol=1e-6)
    assert np.allclose(after_end, 0.01, atol=1e-6)
    assert np.allclose(after - anywhere, 0.01, atol=1e-6)
    assert 0 < anywhere.min() < 0.05 < 0.95 < anywhere.max() < 1


def test_larger_images_are_averaged_before_they_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SIDE", 1)
    # The mean of four numbers: E(mean of 2(z − z'))² = 8 / 4.
    assert run(tmp_path)["spaces"]["w"]["full"]["value"] == pytest.approx(2, rel=0.2)


def test_a_lower_level_gives_a_narrower_interval(tmp_path):
    wide, narrow = (run(tmp_path, level=level)["spaces"]["w"]["end"] for level in (0.95, 0.5))
    # of a normal distribution 1.35 and 3.92 standard deviations
    assert (narrow["high"] - narrow["low"]) / (wide["high"] - wide["low"]) == pytest.approx(1.35 / 3.92, rel=0.2)


def test_paths_on_the_sphere_are_arcs(tmp_path):
    found = run(tmp_path)["spaces"]["z"]
    # (√4 · angle)², the angle of two random directions of four dimensions: by simulation
    z = np.random.default_rng(0).standard_normal((2, 100_000, 4))
    cosine = (z[0] * z[1]).sum(axis=1) / np.prod(np.linalg.norm(z, axis=2), axis=0)
    assert found["full"]["value"] == pytest.approx(4 * (np.arccos(cosine) ** 2).mean(), rel=0.1)


def test_without_weights_the_reason_is_written(tmp_path):
    found = run(tmp_path, weights=None)["spaces"]
    assert found["w"]["end"] == {"value": None, "low": None, "high": None, "n": None, "reason": "no weights of LPIPS"}


def test_the_batch_size_changes_nothing(tmp_path):
    assert run(tmp_path, batch_size=7)["spaces"] == run(tmp_path, batch_size=300)["spaces"]

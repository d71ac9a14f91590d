import dataclasses
import os
import signal

import linear_world
import numpy as np
import pytest
import torch

from synthmed.classifiers import network
from synthmed.core.errors import InputError
from synthmed.generators import cyclegan, dcgan
from synthmed.latent.sample_file import read_samples
from synthmed.latent.samples import LatentSamplesSettings, latent_samples
from synthmed.training import checkpoint
from synthmed.training.checkpoint import Checkpoint, write_torch

SETTINGS = LatentSamplesSettings(
    model="dcgan", generator="toy", space="z", count=50, seed=3, batch_size=8, save_every=16, threads=1, device="cpu",
    label=None,
)  # fmt: skip


@pytest.fixture
def gan(monkeypatch, tmp_path):
    return linear_world.in_the_linear_world(monkeypatch, tmp_path)


def run(folder, name="samples.npz", **changes):
    latent_samples(
        dataclasses.replace(SETTINGS, **changes),
        checkpoint=folder / "generator.pt",
        classifier=folder / "classifier.pt",
        samples=folder / name,
    )
    return folder / name


def test_likelihoods_are_those_of_the_codes(gan, tmp_path):
    found = read_samples(run(tmp_path))
    assert found.codes.shape == (50, linear_world.D)
    assert found.codes.dtype == np.float32
    assert found.targets == linear_world.TARGETS
    brightness = (0.2 * found.codes @ linear_world.LEFT).clip(-1, 1)
    brightness = np.round((brightness + 1) * 127.5) / 127.5 - 1  # eight bits
    expected = [1 / (1 + np.exp(-sharpness * (brightness / 0.2 - 1))) for sharpness in (12, 14)]
    np.testing.assert_allclose(found.per_seed[:, :, 1], expected, atol=1e-5)
    np.testing.assert_allclose(found.likelihoods[:, 1], np.mean(expected, axis=0), atol=1e-5)
    assert (found.generator, found.space, found.seed) == ("toy", "z", 3)


def test_codes_are_standard_normal_and_other_seeds_draw_others(gan, tmp_path):
    codes = read_samples(run(tmp_path, count=2000)).codes
    assert abs(codes.mean()) < 0.02
    assert codes.std() == pytest.approx(1, abs=0.02)
    assert not np.allclose(codes[:50], read_samples(run(tmp_path, "other.npz", seed=4)).codes)


@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_the_batch_size_changes_nothing_and_bounds_the_memory(gan, tmp_path, batch_size):
    expected = read_samples(run(tmp_path))
    gan.calls.clear()
    found = read_samples(run(tmp_path, "other.npz", batch_size=batch_size))
    assert np.array_equal(found.codes, expected.codes)
    np.testing.assert_allclose(found.likelihoods, expected.likelihoods, atol=1e-6)
    assert max(gan.calls) == batch_size


def test_more_samples_begin_with_the_same_ones(gan, tmp_path):
    few, more = read_samples(run(tmp_path)), read_samples(run(tmp_path, "more.npz", count=80))
    assert np.array_equal(more.codes[:50], few.codes)


def stop_at(gan, monkeypatch, call, action):
    original, seen = gan.synthesise, []

    def synthesise(z):
        seen.append(len(z))
        if len(seen) == call:
            action()
        return original(z)

    monkeypatch.setattr(gan, "synthesise", synthesise)
    return seen


def test_a_run_that_is_terminated_saves_and_goes_on_to_the_same_bytes(gan, tmp_path, monkeypatch):
    expected = run(tmp_path, "whole.npz").read_bytes()
    with monkeypatch.context() as patch:
        stop_at(gan, patch, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt, match="stopped after 32 of 50 samples"):
            run(tmp_path)
    assert not (tmp_path / "samples.npz").exists()
    assert (tmp_path / "samples.resume.pt").exists()
    gan.calls.clear()
    assert run(tmp_path).read_bytes() == expected
    assert sum(gan.calls) == 18
    assert not (tmp_path / "samples.resume.pt").exists()


def test_a_run_that_is_killed_goes_on_from_the_last_saving(gan, tmp_path, monkeypatch):
    expected = run(tmp_path, "whole.npz").read_bytes()

    def die():
        raise MemoryError

    with monkeypatch.context() as patch:
        stop_at(gan, patch, 6, die)
        with pytest.raises(MemoryError):
            run(tmp_path)
    gan.calls.clear()
    assert run(tmp_path).read_bytes() == expected
    assert sum(gan.calls) == 50 - 32  # save_every 16 in batches of 8: after 16, 32, 48


def test_an_unfinished_run_with_other_settings_is_not_mixed_in(gan, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(gan, patch, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    with pytest.raises(InputError, match="seed was 3, is 4"):
        run(tmp_path, seed=4)
    (tmp_path / "generator.pt").write_bytes(b"another")
    with pytest.raises(InputError, match="checkpoint was"):
        run(tmp_path)


def test_images_that_are_not_finite_are_refused(gan, tmp_path, monkeypatch):
    monkeypatch.setattr(gan, "synthesise", lambda z: torch.full((len(z), 1, 8, 8), torch.nan))
    with pytest.raises(InputError, match="images are not finite"):
        run(tmp_path)
    assert not (tmp_path / "samples.npz").exists()


# ------------------------------------------------------------------------------------------------- real models
@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A DCGAN and a small CNN with random weights, as their steps write them."""
    folder = tmp_path_factory.mktemp("real")
    torch.manual_seed(0)
    config = dcgan.Config(
        latent_size=6, generator_channels=(8, 4), discriminator_channels=(4, 8), kernel_size=4, learning_rate=1e-3,
        beta1=0.5, dropout=0.0, ema_decay=0.9,
    )  # fmt: skip
    model = dcgan.Model(config, (1, 16, 16), ("normal", "abnormal"))
    checkpoint.save(
        folder / "generator.pt",
        Checkpoint("dcgan", vars(config), (1, 16, 16), ("normal", "abnormal"), 1, model.inference_state()),
    )
    for shape in ((1, 16, 16), (1, 32, 32)):
        built = network.build("small_cnn", [4, 8], 2, shape, 0.0)
        content = {
            "format": network.FORMAT, "architecture": "small_cnn", "channels": [4, 8], "dropout": 0.0,
            "targets": ["normal", "nodule"], "outputs": "independent", "image_shape": list(shape),
            "thresholds": torch.full((1, 2), 0.5, dtype=torch.float64), "states": [built.state_dict()],
        }  # fmt: skip
        write_torch(folder / ("classifier.pt" if shape[1] == 16 else "large.pt"), content)
    return folder


def test_real_models_fit_the_step(real):
    found = read_samples(run(real, generator="dcgan", count=9))
    assert found.codes.shape == (9, 6)
    assert found.per_seed.shape == (1, 9, 2)
    assert found.targets == ("normal", "nodule")


def test_files_that_do_not_fit_are_refused(real):
    with pytest.raises(InputError, match="not of the model 'fastgan'"):
        run(real, "no.npz", model="fastgan")
    files = {"checkpoint": real / "generator.pt", "classifier": real / "large.pt", "samples": real / "no.npz"}
    with pytest.raises(InputError, match=r"makes images of \(1, 16, 16\).*on \(1, 32, 32\)"):
        latent_samples(SETTINGS, **files)
    assert not (real / "no.npz").exists()


def test_a_generator_without_a_latent_vector_is_refused(tmp_path):
    config = cyclegan.Config(
        base_channels=2, residual_blocks=1, discriminator_layers=(4,), discriminator_last_stride=2, cycle_weight=10.0,
        identity_weight=0.5, pool_size=5, learning_rate=1e-3, beta1=0.5,
    )  # fmt: skip
    model = cyclegan.Model(config, (1, 16, 16), ("normal", "abnormal"))
    saved = Checkpoint("cyclegan", vars(config), (1, 16, 16), ("normal", "abnormal"), 1, model.inference_state())
    checkpoint.save(tmp_path / "generator.pt", saved)
    (tmp_path / "classifier.pt").write_bytes(b"")
    with pytest.raises(InputError, match="cyclegan has no latent vector"):
        run(tmp_path, model="cyclegan")

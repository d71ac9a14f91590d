"""f-AnoGAN's encoder: what it minimises, and that it learns."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_generators import write_generator, write_images
from textbook import Adam, leaky
from torch.nn import functional as F
from trainings import ENCODER

from synthmed.anomaly.encoder import EncoderBatch, EncoderSettings, EncoderTraining, load_encoder, train_encoder
from synthmed.core.errors import InputError
from synthmed.core.files import read_csv
from synthmed.core.settings import parse
from synthmed.data.imageset import ImageSet
from synthmed.generators.sampling import load_generator
from synthmed.training.images import to_model, to_pixels

SETTINGS = parse(EncoderSettings, ENCODER | {"steps": 40, "latent_weight": 0.0, "log_every": 5, "save_every": 10})


@pytest.fixture
def folder(tmp_path):
    """A generator and images that it can make, as normal ones, beside others."""
    model = load_generator(write_generator(tmp_path / "g.pt"))
    made = model.synthesise(torch.randn(30, 8, generator=torch.Generator().manual_seed(7)))
    noise = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1), dtype=np.uint8)
    pixels = np.concatenate([to_pixels(made).permute(0, 2, 3, 1).numpy(), noise])
    write_images(tmp_path / "set.zip", pixels, ["normal"] * 30 + ["abnormal"] * 4)
    return tmp_path


def step(folder, name="encoder", **changes):
    train_encoder(
        replace(SETTINGS, **changes),
        checkpoint=folder / "g.pt",
        images=folder / "set.zip",
        encoder=folder / f"{name}.pt",
        history=folder / f"{name}.csv",
    )
    return folder / f"{name}.pt"


def test_it_learns_to_find_z_and_gives_the_same_bytes_again(folder):
    path = step(folder, steps=150, log_every=50, save_every=50)
    history = [float(row["residual"]) for row in read_csv(folder / "encoder.csv")]
    model = load_generator(folder / "g.pt")
    network = load_encoder(path, folder / "g.pt", model)
    images = to_model(torch.from_numpy(ImageSet(folder / "set.zip").pixels[:30].transpose(0, 3, 1, 2).copy()))
    untrained = ((images - model.synthesise(torch.zeros(30, 8))) / 2).square().mean()
    with torch.no_grad():
        trained = ((images - model.synthesise(network(images))) / 2).square().mean()
    assert trained < 0.5 * untrained
    assert history[-1] < history[0]
    again = step(folder, "again", steps=150, log_every=50, save_every=50)
    assert path.read_bytes() == again.read_bytes()
    assert [row["step"] for row in read_csv(folder / "again.csv")] == ["50", "100", "150"]


def test_an_image_is_encoded_the_same_in_any_batch(folder):
    path = step(folder)
    model = load_generator(folder / "g.pt")
    network = load_encoder(path, folder / "g.pt", model)
    images = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    alone = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(network(images), alone, atol=1e-5)


def test_the_losses_are_those_of_the_paper(folder):
    write_generator(folder / "g.pt", "pggan")
    model = load_generator(folder / "g.pt")
    settings = replace(SETTINGS, model="pggan", feature_weight=0.5, latent_weight=2.0)
    pixels = torch.from_numpy(ImageSet(folder / "set.zip").pixels[:6].transpose(0, 3, 1, 2).copy())
    training = EncoderTraining(model, pixels, settings)
    images, z = to_model(pixels), torch.randn(3, 8, generator=torch.Generator().manual_seed(3))
    losses = training.losses(EncoderBatch(images, z))
    made = model.synthesise(training.encoder(images))
    assert torch.allclose(losses["residual"], ((images - made) / 2).square().mean())
    features = model.discriminator_features(images) - model.discriminator_features(made)
    assert torch.allclose(losses["features"], 0.5 * features.square().mean())
    back = training.encoder(model.synthesise(z))
    assert torch.allclose(losses["latent"], 2 * (z - back).square().mean())
    assert list(training.losses(EncoderBatch(images, None))) == ["residual", "features"]


def encoded(network, images):
    """Convolutions of stride 2, group norm of four groups, LeakyReLU; a dense layer."""
    *layers, dense, bias = network.parameters()
    x = images
    for weight, scale, shift in zip(layers[::3], layers[1::3], layers[2::3], strict=True):
        x = F.conv2d(x, weight, stride=2, padding=1)
        groups = x.view(len(x), 4, -1)
        groups = groups - groups.mean(2, keepdim=True)
        x = (groups / (groups.square().mean(2, keepdim=True) + 1e-5).sqrt()).view(x.shape)
        x = leaky(x * scale[:, None, None] + shift[:, None, None])
    return x.flatten(1) @ dense.T + bias


def test_a_step_is_the_textbooks(folder):
    """Residual, matched features and z, the network, the half cosine and Adam of three steps, written out by hand."""
    write_generator(folder / "g.pt", "pggan")
    model = load_generator(folder / "g.pt")
    settings = replace(SETTINGS, model="pggan", feature_weight=0.5, latent_weight=2.0, steps=4)
    pixels = torch.from_numpy(ImageSet(folder / "set.zip").pixels[:9].transpose(0, 3, 1, 2).copy())
    training, adam = EncoderTraining(model, pixels, settings), Adam(0.0, (0.5, 0.999))
    with torch.no_grad():
        for parameter in training.encoder.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    for number in range(3):
        (batch,), before = training.next_batches(), copy.deepcopy(training.encoder)
        made = model.synthesise(encoded(before, batch.images))
        features = model.discriminator_features(batch.images) - model.discriminator_features(made)
        back = encoded(before, model.synthesise(batch.z))
        residual = (((batch.images + 1) / 2 - (made + 1) / 2) ** 2).mean()
        loss = residual + 0.5 * (features**2).mean() + 2 * ((batch.z - back) ** 2).mean()
        wanted = torch.autograd.grad(loss, list(before.parameters()))
        training.train_step([batch])
        training.step = number + 1
        scale = max(float(gradient.abs().max()) for gradient in wanted)
        found = [parameter.grad for parameter in training.encoder.parameters()]
        assert max(float((one - two).abs().max()) for one, two in zip(found, wanted, strict=True)) < 1e-3 * scale
        adam.rate = 0.01 * (1 + math.cos(math.pi * number / 4)) / 2
        moved = adam.moved(list(before.parameters()), found)
        for parameter, value in zip(training.encoder.parameters(), moved, strict=True):
            assert torch.allclose(parameter, value, rtol=1e-5, atol=1e-5)


def test_a_batch_shows_no_image_twice_and_normal_latent_vectors(folder):
    pixels = torch.arange(200, dtype=torch.uint8).view(200, 1, 1, 1).expand(-1, 1, 16, 16)
    settings = replace(SETTINGS, batch_size=150, latent_weight=1.0)
    (batch,) = EncoderTraining(load_generator(folder / "g.pt"), pixels, settings).next_batches()
    assert len(batch.images[:, 0, 0, 0].unique()) == 150
    assert batch.z.shape == (150, 8)
    assert batch.z.mean().item() == pytest.approx(0, abs=0.1)
    assert batch.z.std().item() == pytest.approx(1, abs=0.1)


def test_every_step_has_a_batch_of_its_own(folder):
    pixels = torch.arange(200, dtype=torch.uint8).view(200, 1, 1, 1).expand(-1, 1, 16, 16)
    training = EncoderTraining(load_generator(folder / "g.pt"), pixels, SETTINGS)
    shown = []
    for training.step in range(5):
        (batch,) = training.next_batches()
        shown.append(tuple(batch.images[:, 0, 0, 0].tolist()))
    assert len(set(shown)) == 5


def test_micro_batches_and_the_layout_in_memory_change_nothing(folder):
    """Every loss is a mean over images, and no layer mixes them."""
    pixels = torch.from_numpy(ImageSet(folder / "set.zip").pixels[:8].transpose(0, 3, 1, 2).copy())

    def after_one_step(**changes):
        training = EncoderTraining(load_generator(folder / "g.pt"), pixels, replace(SETTINGS, **changes))
        batches = training.next_batches()
        assert [len(batch.images) for batch in batches] == [changes["batch_size"]] * changes["accumulate"]
        losses = training.train_step(batches)
        return losses["residual"].item(), training.encoder.state_dict()

    loss, whole = after_one_step(batch_size=8, accumulate=1)
    for changes in ({"batch_size": 4, "accumulate": 2}, {"batch_size": 8, "accumulate": 1, "channels_last": True}):
        other, weights = after_one_step(**changes)
        assert other == pytest.approx(loss, rel=1e-5)
        for name, value in whole.items():
            assert torch.allclose(weights[name], value, atol=1e-5), name


def test_only_the_encoder_learns(folder):
    before = load_generator(folder / "g.pt").inference_state()
    training = EncoderTraining(
        model := load_generator(folder / "g.pt"), torch.zeros(8, 1, 16, 16, dtype=torch.uint8), SETTINGS
    )
    first = {name: value.clone() for name, value in training.encoder.state_dict().items()}
    training.train_step(training.next_batches())
    assert all(torch.equal(value, before[name]) for name, value in model.inference_state().items())
    assert not torch.equal(first["project.weight"], training.encoder.state_dict()["project.weight"])


def test_unusable_input_is_refused_before_the_training(folder):
    refusals = [
        ("no image", {"labels": ("healthy",)}),
        ("30 images of .*fewer than the batch_size 31", {"batch_size": 31}),
        ("3 images of .*fewer", {"limit": 3}),
        ("cannot be divided by 32", {"channels": (4, 4, 4, 4, 4)}),
        ("hold no discriminator", {"feature_weight": 1.0}),
        ("the setting model is 'pggan'", {"model": "pggan"}),
    ]
    for message, changes in refusals:
        with pytest.raises(InputError, match=message):
            step(folder, **changes)
    assert not list(folder.glob("encoder*"))


def test_files_that_are_no_encoder_are_refused(folder):
    model = load_generator(folder / "g.pt")
    with pytest.raises(InputError, match="no such file"):
        load_encoder(folder / "none.pt", folder / "g.pt", model)
    with pytest.raises(InputError, match="no encoder"):
        load_encoder(folder / "g.pt", folder / "g.pt", model)

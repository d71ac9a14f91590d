"""The search in latent space: its optimum, its independence of the batch, its early stop, and the step around it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_generators import LinearGenerator, write_generator, write_images
from textbook import Adam

from synthmed.anomaly import search
from synthmed.anomaly.encoder import FORMAT, Encoder
from synthmed.anomaly.found import places, read_found, write_found
from synthmed.anomaly.search import Candidates, Loss, SearchSettings, anomaly_search, descend, search_batch
from synthmed.core.errors import InputError
from synthmed.core.files import hash_file, read_json
from synthmed.data.imageset import ImageSet
from synthmed.generators.sampling import load_generator
from synthmed.training import checkpoint as checkpoints
from synthmed.training.images import to_model, to_pixels

SETTINGS = SearchSettings(
    model="dcgan",
    seed=4,
    labels=None,
    limit=None,
    start="random",
    restarts=1,
    candidates=1,
    steps=300,
    learning_rate=0.1,
    feature_weight=0.0,
    prior_weight=0.0,
    clip=None,
    tolerance=0.0,
    patience=1000,
    batch_size=3,
    precision="fp32",
    log_every=100,
    threads=1,
    device="cpu",
)


def queries(count):
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(2)) * 2 - 1


def run(model, images, settings, encoded=None):
    candidates = Candidates(model, settings) if settings.random_starts else None
    return search_batch(model, images, [f"{i}.png" for i in range(len(images))], settings, candidates, encoded)


# ------------------------------------------------------------------------------------------------------ the arithmetic
def test_a_linear_generator_is_inverted_to_its_least_squares_solution():
    model, images = LinearGenerator(), queries(5)
    found = run(model, images, SETTINGS)
    z, *_ = np.linalg.lstsq(model.weight.numpy(), images.flatten(1).numpy().T, rcond=None)
    best = images.flatten(1).numpy() - (model.weight.numpy() @ z).T
    assert found.loss == pytest.approx((best**2).mean(1) / 4, rel=1e-4)
    assert found.z == pytest.approx(z.T, abs=0.01)
    assert found.error == pytest.approx(found.loss, rel=0.02)  # reconstructions beyond [-1, 1] are cut
    assert (found.residual[:, :, :, 0] > 0).any()
    assert (found.residual[:, :, :, 0] < 0).any()


def test_the_result_does_not_depend_on_the_batch_and_is_deterministic(tmp_path):
    model = load_generator(write_generator(tmp_path / "g.pt"))
    images = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    settings = replace(SETTINGS, steps=60, restarts=2, candidates=16)
    together = run(model, images, settings)
    alone = [run(model, images[i : i + 1], settings) for i in range(5)]
    assert together.loss == pytest.approx(np.concatenate([one.loss for one in alone]), rel=1e-3)
    assert together.z == pytest.approx(np.concatenate([one.z for one in alone]), abs=0.02)
    again = run(model, images, settings)
    assert np.array_equal(together.z, again.z)
    assert np.array_equal(together.residual, again.residual)


def test_of_several_starts_the_best_is_kept():
    class Bumpy(LinearGenerator):
        """Many local minima, so that the start decides."""

        def synthesise(self, z):
            return torch.sin(3 * super().synthesise(z))

    model, images = Bumpy(), queries(6)
    settings = replace(SETTINGS, restarts=4, candidates=4, steps=40)
    found = run(model, images, settings)
    starts = Candidates(model, settings).z
    owner = torch.arange(6)
    losses = [descend(Loss(model, images, settings), z.expand(6, 3), owner, settings).loss.numpy() for z in starts]
    assert found.loss == pytest.approx(np.min(losses, axis=0), rel=1e-4)
    assert len(set(np.argmin(losses, axis=0))) > 1
    assert np.array_equal(found.passes, [160] * 6)


def test_a_row_that_no_longer_improves_leaves_the_batch():
    model, images = LinearGenerator(), queries(3)
    exact = torch.tensor([[0.5, -0.2, 0.1]])
    images[1:2] = model.synthesise(exact)
    starts = torch.tensor([[1.0, 1.0, 1.0], [0.5, -0.2, 0.1], [1.0, 1.0, 1.0]])
    settings = replace(SETTINGS, start="encoder", steps=50, patience=5, tolerance=1e-3)
    model.rows.clear()
    found = run(model, images, settings, encoded=starts)
    # The second image begins at its minimum: one step lowers the loss from infinity, five more do not.
    assert found.iterations[1] == 6
    assert found.z[1] == pytest.approx(exact[0].numpy())
    assert found.iterations[0] > 6
    assert model.rows[:6] == [3] * 6
    assert model.rows[6] == 2
    assert sum(model.rows) == found.passes.sum() + 3  # and one pass each for the reconstruction
    assert found.started.tolist() == ["encoder"] * 3


def test_each_row_descends_as_adam_alone_would():
    """Written out for one row at a time; the first begins at its minimum and leaves the batch before the others."""
    model, images = LinearGenerator(), queries(4)
    starts = torch.randn(4, 3, generator=torch.Generator().manual_seed(5))
    images[:1] = model.synthesise(starts[:1])
    settings = replace(SETTINGS, steps=30, patience=4, tolerance=0.01)
    found = descend(Loss(model, images, settings), starts, torch.arange(4), settings)
    for row in range(4):
        adam, z = Adam(0.0, (0.9, 0.999)), starts[row]
        lowest, best, reference, waited = math.inf, None, math.inf, 0
        for step in range(1, 31):
            residual = (model.weight @ z - images[row].flatten()) / 2
            loss, gradient = float((residual**2).mean()), model.weight.T @ residual / 16
            if loss < lowest:
                lowest, best = loss, z
            reference, waited = (loss, 0) if loss < 0.99 * reference else (reference, waited + 1)
            if waited == 4:
                break
            adam.rate = 0.1 * (1 + math.cos(math.pi * step / 30)) / 2
            (z,) = adam.moved([z], [gradient])
        assert int(found.iterations[row]) == step
        assert float(found.loss[row]) == pytest.approx(lowest, rel=1e-3, abs=1e-9)
        assert torch.allclose(found.z[row], best, atol=1e-3)
    assert found.iterations[0] == 5
    assert len(set(found.iterations.tolist())) > 1


def test_starts_are_the_nearest_candidates():
    model = LinearGenerator()
    candidates = Candidates(model, replace(SETTINGS, candidates=20))
    images = model.synthesise(candidates.z)[[7, 3]] + 0.001
    near = candidates.nearest(images, 2)
    assert torch.equal(near[:, 0], candidates.z[[7, 3]])
    distances = (candidates.images[None] - images[:, None]).square().flatten(2).sum(2)
    assert torch.equal(near[:, 1], candidates.z[distances.argsort(1)[:, 1]])


def test_the_loss_is_that_of_the_docstring():
    model, images = LinearGenerator(), queries(2)
    z, owner = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [1.0, 1.0, 1.0]]), torch.tensor([1, 0, 1])
    losses, made = Loss(model, images, replace(SETTINGS, feature_weight=0.25, prior_weight=0.1))(z, owner)
    difference = images[owner] - made
    residual = (difference / 2).square().mean((1, 2, 3))
    features = (3 * difference.flatten(1)[:, :2]).square().mean(1)
    expected = 0.75 * residual + 0.25 * features + 0.1 * torch.tensor([5 / 3, 1 / 3, 1.0])
    assert torch.allclose(losses, expected)


def test_clipping_bounds_z_and_the_prior_pulls_it_in():
    model, images = LinearGenerator(), queries(4)
    free = np.abs(run(model, images, SETTINGS).z).max()
    assert free > 1.2
    assert np.abs(run(model, images, replace(SETTINGS, clip=1.0)).z).max() <= 1.0
    assert np.abs(run(model, images, replace(SETTINGS, prior_weight=0.05)).z).max() < 0.8 * free


def test_clipping_bounds_the_encoders_start_too():
    model, images = LinearGenerator(), queries(1)
    # The nearest image to the query has z = (3, 0, 0), where the encoder starts: nowhere is the loss lower.
    start = torch.tensor([[3.0, 0.0, 0.0]])
    images[:] = model.synthesise(start)
    settings = replace(SETTINGS, start="encoder", clip=1.0)
    for steps in (1, 20):
        found = run(model, images, replace(settings, steps=steps), encoded=start)
        assert np.abs(found.z).max() <= 1.0
    assert run(model, images, replace(settings, clip=None), encoded=start).z == pytest.approx(start.numpy())
    assert start[0, 0] == 3


def test_a_search_that_diverges_says_so():
    model, images = LinearGenerator(), queries(1)
    model.weight[0, 0] = torch.inf
    with pytest.raises(InputError, match="search step 1: a loss is not finite"):
        run(model, images, SETTINGS)


# ------------------------------------------------------------------------------------------------------------ the step
@pytest.fixture
def folder(tmp_path):
    write_generator(tmp_path / "g.pt")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (8, 16, 16, 1), dtype=np.uint8)
    write_images(tmp_path / "set.zip", pixels, ["normal"] * 5 + ["abnormal"] * 3)
    return tmp_path


def step(folder, name="found", encoder=None, images="set.zip", **changes):
    settings = replace(SETTINGS, **{"steps": 5, **changes})
    anomaly_search(
        settings,
        checkpoint=folder / "g.pt",
        encoder=encoder,
        images=folder / images,
        found=folder / f"{name}.npz",
        times=folder / f"{name}.json",
    )
    return folder / f"{name}.npz"


def write_encoder(folder, checkpoint="g.pt"):
    torch.manual_seed(1)
    network = Encoder((1, 16, 16), (4, 8), 8)
    content = {"format": FORMAT, "generator": hash_file(folder / checkpoint), "channels": [4, 8]}
    checkpoints.write_torch(folder / "e.pt", content | {"state": network.state_dict()})
    return folder / "e.pt"


def test_the_step_writes_what_it_says_twice_the_same(folder):
    path = step(folder)
    found, images = read_found(path), ImageSet(folder / "set.zip")
    assert found.images.tolist() == [row["image"] for row in images.rows]
    assert (found.residual.dtype, found.reconstruction.dtype) == (np.float16, np.uint8)
    assert found.residual.shape == found.reconstruction.shape == (8, 16, 16, 1)
    difference = (images.pixels.astype(np.float32) - found.reconstruction) / 255
    assert np.abs(difference - found.residual).max() < 0.005
    assert np.array_equal(places(path, found, images), np.arange(8))
    made = load_generator(folder / "g.pt").synthesise(torch.from_numpy(found.z))
    assert np.array_equal(to_pixels(made).permute(0, 2, 3, 1).numpy(), found.reconstruction)
    assert path.read_bytes() == step(folder, "again").read_bytes()
    times = read_json(folder / "found.json")
    assert sorted(times["seconds"]) == sorted(found.images.tolist())
    assert min(times["seconds"].values()) > 0
    assert times["device"] == "CPU"
    assert not list(folder.glob("*chunk*"))


def test_labels_and_limit_choose_the_images(folder):
    labels = {row["image"]: row["label"] for row in ImageSet(folder / "set.zip").rows}
    chosen = read_found(step(folder, labels=("normal",), limit=3)).images.tolist()
    assert [labels[name] for name in chosen] == ["normal"] * 3
    assert chosen == sorted(chosen)
    both = read_found(step(folder, limit=2)).images.tolist()
    assert sorted(labels[name] for name in both) == ["abnormal"] * 2 + ["normal"] * 2
    with pytest.raises(InputError, match="labels names 'healthy'"):
        step(folder, labels=("healthy",))


def test_an_encoder_starts_the_search_where_it_says(folder):
    encoder = write_encoder(folder)
    found = read_found(step(folder, encoder=encoder, start="encoder", steps=1))
    network = Encoder((1, 16, 16), (4, 8), 8)
    torch.manual_seed(1)
    network.load_state_dict(checkpoints.read_torch(encoder, "")["state"])
    pixels = torch.from_numpy(ImageSet(folder / "set.zip").pixels.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        assert found.z == pytest.approx(network(to_model(pixels)).numpy(), abs=1e-5)


def test_beside_the_encoder_random_starts_may_win(folder):
    encoder = write_encoder(folder)
    model = load_generator(folder / "g.pt")
    # Images of candidates: where they start, nothing is left to find.
    made = model.synthesise(Candidates(model, replace(SETTINGS, candidates=40)).z[[5, 6]])
    write_images(folder / "made.zip", to_pixels(made).permute(0, 2, 3, 1).numpy(), ["normal"] * 2)
    found = read_found(step(folder, encoder=encoder, images="made.zip", start="encoder", restarts=3, candidates=40))
    assert found.started.tolist() == ["random", "random"]
    assert found.error.max() < 1e-5
    assert np.array_equal(found.passes, [15] * 2)


def test_an_interrupted_search_goes_on_after_its_chunks(folder, monkeypatch):
    whole = step(folder, "whole").read_bytes()
    done = []
    original = search.search_batch

    def counted(model, images, names, *rest):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(names)
        return original(model, images, names, *rest)

    monkeypatch.setattr(search, "search_batch", counted)
    with pytest.raises(KeyboardInterrupt):
        step(folder)
    assert len(list(folder.glob("found.chunk_*.npz"))) == 2
    with pytest.raises(InputError, match=r"found\.chunks\.json.*steps was 5, is 6"):
        step(folder, steps=6)
    done.clear()
    assert step(folder).read_bytes() == whole
    assert [len(names) for names in done] == [2]
    assert len(read_json(folder / "found.json")["seconds"]) == 8
    assert not list(folder.glob("*chunk*"))


def test_unusable_input_is_refused_before_the_search(folder):
    encoder = write_encoder(folder)
    pixels = np.zeros((2, 32, 32, 1), dtype=np.uint8)
    write_images(folder / "large.zip", pixels, ["normal"] * 2)
    refusals = [
        ("setting start is 'encoder', but no encoder", {"start": "encoder"}),
        ("setting start is 'random', but an encoder", {"encoder": encoder}),
        ("checkpoint of synthmed.generators.dcgan, but the setting model is 'fastgan'", {"model": "fastgan"}),
        ("makes images of", {"images": "large.zip"}),
        ("fewer than the 2 random starts", {"restarts": 2}),
        ("hold no discriminator", {"feature_weight": 0.1}),
    ]
    for message, changes in refusals:
        with pytest.raises(InputError, match=message):
            step(folder, **changes)
    write_generator(folder / "g.pt", "pggan")
    with pytest.raises(InputError, match="trained with another generator"):
        step(folder, encoder=encoder, start="encoder", model="pggan")


def test_a_generator_with_a_discriminator_matches_features(folder):
    write_generator(folder / "g.pt", "pggan")
    plain = read_found(step(folder, model="pggan", steps=20))
    matched = read_found(step(folder, model="pggan", steps=20, feature_weight=0.5))
    assert not np.allclose(plain.z, matched.z)


def test_results_of_other_images_are_refused(folder):
    path = step(folder)
    found = read_found(path)
    shifted = np.random.default_rng(5).integers(0, 256, (8, 16, 16, 1), dtype=np.uint8)
    write_images(folder / "other/set.zip", shifted, ["normal"] * 8)
    with pytest.raises(InputError, match="not that of the image"):
        places(path, found, ImageSet(folder / "other/set.zip"))
    write_images(folder / "few.zip", shifted[:2], ["normal"] * 2)
    with pytest.raises(InputError, match="which is not in"):
        places(path, found, ImageSet(folder / "few.zip"))
    write_found(path, replace(found, residual=np.full_like(found.residual, np.nan)))
    with pytest.raises(InputError, match="residual is not finite"):
        read_found(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="no result of"):
        read_found(path)

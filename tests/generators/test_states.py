"""States that are kept while a generator trains: which, that a shorter training ends with them, which one is chosen."""

import zipfile

import numpy as np
import pytest
import torch
from trainings import LOOP, of_generator

from synthmed.core import provenance
from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.settings import parse
from synthmed.data.imageset import write_image_set
from synthmed.evaluation.states import ChooseSettings, choose_state
from synthmed.generators.states import read_states
from synthmed.generators.train import TrainSettings, train
from synthmed.training import checkpoint

DCGAN = {
    "latent_size": 4, "generator_channels": [4, 4], "discriminator_channels": [4, 4], "kernel_size": 4,
    "learning_rate": 1.0e-2, "beta1": 0.5, "dropout": 0.0, "ema_decay": 0.9,
}  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    rng, rows = np.random.default_rng(0), []
    for number in range(8):
        pixels = np.kron(rng.integers(0, 256, (4, 4)), np.ones((4, 4))).astype(np.uint8)
        rows.append(({"image": f"{number}.png", "label": "normal", "patient": str(number)}, pixels))
    path = tmp_path_factory.mktemp("states") / "train.zip"
    write_image_set(path, rows)
    return path


def trained(folder, images, **loop):
    folder.mkdir()
    names = {"checkpoint": "c.pt", "history": "h.csv", "samples": "s.png", "states": "states.zip"}
    values = of_generator("dcgan", DCGAN, **{"keep_every": 3, **loop})
    train(parse(TrainSettings, values), images=images, **{key: folder / name for key, name in names.items()})
    return folder


@pytest.fixture(scope="module")
def made(images, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("made") / "whole", images)


def test_every_kept_state_is_the_one_that_a_shorter_training_ends_with(made, images, tmp_path):
    states = list(read_states(made / "states.zip"))
    assert [state.step for state in states] == [3, 6, LOOP["steps"]] == [3, 6, 8]
    for state in states:
        checkpoint.save(tmp_path / "state.pt", state)
        short = made if state.step == 8 else trained(tmp_path / str(state.step), images, steps=state.step)
        assert (tmp_path / "state.pt").read_bytes() == (short / "c.pt").read_bytes()
    assert sorted(path.name for path in made.iterdir()) == ["c.pt", "h.csv", "s.png", "states.zip"]


def test_keeping_states_changes_nothing_else(made, images, tmp_path):
    without = trained(tmp_path / "without", images, keep_every=None)
    for name in ("c.pt", "h.csv", "s.png"):
        assert (without / name).read_bytes() == (made / name).read_bytes(), name
    with zipfile.ZipFile(without / "states.zip") as archive:
        assert archive.namelist() == []
    with pytest.raises(InputError, match=r"states\.zip: no state was kept .* set training\.keep_every"):
        list(read_states(without / "states.zip"))


@pytest.mark.parametrize(("fids", "best"), [([3.0, 1.0, 2.0], 6), ([1.0, 1.0, 2.0], 3), ([3.0, 2.0, 1.0], 8)])
def test_the_state_nearest_to_the_training_images_is_chosen(made, tmp_path, monkeypatch, fids, best):
    monkeypatch.setattr(provenance, "_noted", {})
    rows = [
        {"step": step, "train": {"fid": {"value": fid}}, "test": {"fid": {"value": -fid}}}
        for step, fid in zip((3, 6, 8), fids, strict=True)
    ]
    write_json(tmp_path / "scores.json", {"states": rows})
    chosen = tmp_path / "chosen.pt"
    choose_state(ChooseSettings("a"), states=made / "states.zip", scores=tmp_path / "scores.json", checkpoint=chosen)
    found = checkpoint.load(chosen, model="dcgan")
    (expected,) = (state for state in read_states(made / "states.zip") if state.step == best)
    assert found.step == best
    assert provenance._noted == {"step": str(best)}, "for the record"
    assert all(torch.equal(value, expected.state[name]) for name, value in found.state.items())


def test_what_is_no_archive_is_named(tmp_path):
    with pytest.raises(InputError, match=r"missing\.zip: no archive of states"):
        list(read_states(tmp_path / "missing.zip"))
    (tmp_path / "text.zip").write_text("no")
    with pytest.raises(InputError, match=r"text\.zip: no archive of states .*train the generator again"):
        list(read_states(tmp_path / "text.zip"))

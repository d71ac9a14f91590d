"""The training loop: what it writes, how it stops, and that it continues bit for bit."""

import csv
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import synthmed
from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.imageset import write_image_set
from synthmed.generators import dcgan
from synthmed.generators.base import Generator
from synthmed.generators.snapshots import diversity
from synthmed.generators.train import TrainSettings, train
from synthmed.training.history import History, TrainingError
from synthmed.training.images import Batch
from synthmed.training.optimizer import Adam

CONFIG = {
    "latent_size": 8,
    "generator_channels": [8, 4],
    "discriminator_channels": [4, 8],
    "kernel_size": 4,
    "learning_rate": 1.0e-3,
    "beta1": 0.5,
    "dropout": 0.2,
    "ema_decay": 0.9,
}
LOOP = {
    "steps": 12,
    "batch_size": 4,
    "accumulate": 1,
    "precision": "fp32",
    "channels_last": False,
    "flip": True,
    "threads": 1,
    "processes": 1,
    "log_every": 5,
    "size": None,
    "sample_every": 4,
    "save_every": 3,
    "device": "cpu",
}


def values(config=None, **loop):
    return {
        "model": "dcgan",
        "classes": ["normal", "abnormal"],
        "labels": ["normal"],
        "seed": 3,
        "config": CONFIG | (config or {}),
        "training": LOOP | loop,
    }


def settings(config=None, **loop):
    return parse(TrainSettings, values(config, **loop))


@pytest.fixture
def images(tmp_path):
    return image_set(tmp_path / "train.zip", {"normal": 10, "abnormal": 6})


def image_set(path, counts, size=16):
    rng = np.random.default_rng(0)
    rows = []
    for label, count in counts.items():
        for i in range(count):
            pixels = np.kron(rng.integers(0, 256, (4, 4)), np.ones((size // 4, size // 4))).astype(np.uint8)
            rows.append(({"image": f"{label}_{i}.png", "label": label, "patient": f"{label}{i}"}, pixels))
    write_image_set(path, rows)
    return path


def outputs(folder):
    folder.mkdir(exist_ok=True)
    return {"checkpoint": folder / "c.pt", "history": folder / "h.csv", "samples": folder / "s.png"}


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def run(folder, images, chosen=None):
    train(chosen or settings(), images=images, **outputs(folder))
    return files(folder)


# ------------------------------------------------------------------------------------------------------- what it writes
def test_outputs(tmp_path, images, caplog):
    caplog.set_level(logging.INFO)
    made = run(tmp_path / "a", images)
    assert set(made) == {"c.pt", "h.csv", "s.png"}  # and no resume state is left
    rows = list(csv.DictReader(made["h.csv"].decode().splitlines()))
    assert list(rows[0]) == ["step", "discriminator_real", "discriminator_fake", "generator", "diversity"]
    assert [int(row["step"]) for row in rows] == [4, 5, 8, 10, 12]
    assert [bool(row["generator"]) for row in rows] == [False, True, False, True, True]
    assert [bool(row["diversity"]) for row in rows] == [True, False, True, False, True]
    with Image.open(tmp_path / "a" / "s.png") as picture:
        assert picture.height == (2 + 4) * 18  # two snapshots, then a grid of four rows
    assert "images/s" in caplog.text


def test_equal_settings_give_equal_bytes_and_another_seed_does_not(tmp_path, images):
    first = run(tmp_path / "a", images)
    assert run(tmp_path / "b", images) == first
    other = run(tmp_path / "c", images, parse(TrainSettings, values() | {"seed": 4}))
    assert other["c.pt"] != first["c.pt"]


@pytest.mark.parametrize("changes", [{"accumulate": 2}, {"precision": "bf16"}, {"channels_last": True}])
def test_ways_to_run(tmp_path, images, changes):
    made = run(tmp_path / "a", images, settings(**changes, steps=2))
    assert torch.load(tmp_path / "a" / "c.pt", weights_only=True)["step"] == 2
    assert len(made["h.csv"].splitlines()) == 2


def test_accumulated_micro_batches_equal_one_large_batch():
    """Of a network without BatchNorm: the gradient of the mean is the mean of the gradients."""

    class Scale(Generator):
        def __init__(self):
            super().__init__(None, (1, 2, 2), ("a",))
            self.weight = torch.nn.Parameter(torch.ones(()))
            self.optimizers = {"only": Adam(self.parameters(), 0.1)}

    def step(*parts):
        model = Scale()
        batches = [Batch(torch.full((2, 1, 2, 2), part), torch.zeros(2)) for part in parts]
        losses = model.update(
            model.optimizers["only"], lambda batch: {"loss": (model.weight * batch.images).square().mean()}, batches
        )
        return losses["loss"].item(), model.weight.grad.item()

    # loss = w² x², gradient 2 w x², at w = 1: means over the micro-batches x = 1 and x = 3.
    assert step(1.0, 3.0) == (pytest.approx((1 + 9) / 2), pytest.approx((2 + 18) / 2))


# ---------------------------------------------------------------------------------------------------------- wrong input
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training": LOOP | {"batch_size": 11}}, "10 images of .*fewer than the batch_size 11"),
        ({"labels": ["normal", "sick"]}, "choose from the classes"),
        ({"labels": []}, "setting labels"),
        ({"classes": ["normal", "abnormal", "other"], "labels": ["other"]}, "no image of the class 'other'"),
        ({"classes": ["normal"]}, "unknown label 'abnormal'"),
        ({"training": LOOP | {"log_every": 0}}, "training.log_every is 0"),
        ({"model": "dcgam"}, "the generators are"),
        ({"config": CONFIG | {"beta1": "0.5"}}, "settings.config.beta1"),
    ],
)
def test_unusable_input_is_refused_before_the_first_step(tmp_path, images, changes, words):
    with pytest.raises(InputError, match=words):
        run(tmp_path / "a", images, parse(TrainSettings, values() | changes))
    assert not list((tmp_path / "a").iterdir())


def test_equal_real_images_are_refused(tmp_path):
    rows = [
        ({"image": f"{i}.png", "label": "normal", "patient": f"{i}"}, np.zeros((16, 16), np.uint8)) for i in range(5)
    ]
    write_image_set(tmp_path / "flat.zip", rows)
    with pytest.raises(InputError, match="all the same"):
        run(tmp_path / "a", tmp_path / "flat.zip")


# --------------------------------------------------------------------------------------------------- when it goes wrong
def test_not_a_number_stops_with_step_and_loss(tmp_path, images, monkeypatch):
    whole = dcgan.Model.train_step

    def poisoned(self, batches):
        losses = whole(self, batches)
        return losses | ({"generator": losses["generator"] * float("nan")} if self.step == 6 else {})

    monkeypatch.setattr(dcgan.Model, "train_step", poisoned)
    with pytest.raises(TrainingError, match=r"step 7: the loss 'generator' is nan.*lower\s+learning rate"):
        run(tmp_path / "a", images)
    assert not (tmp_path / "a" / "c.pt").exists()
    # The state that was saved last is from before the bad step.
    assert torch.load(tmp_path / "a" / "c.resume.pt", weights_only=True)["state"]["model"]["step"] == 6


def test_collapse_warns_and_then_stops(tmp_path, images, monkeypatch, caplog):
    monkeypatch.setattr(dcgan.Model, "sample", lambda self, count, label, noise, source: torch.zeros(count, 1, 16, 16))
    with pytest.raises(
        TrainingError, match="step 9: the generator collapsed: all samples of 'normal' are the same in 3"
    ):
        run(tmp_path / "a", images, settings(sample_every=1))
    assert caplog.text.count("look all the same") == 9


def test_a_surging_loss_is_warned_about(caplog):
    history = History()
    for step, value in enumerate([1.0, 1.2, 0.9, 1.1, 30.0], start=1):
        history.add(step, {"generator": torch.tensor(value)})
        history.check()
        history.close_row(step)
    assert [record.getMessage() for record in caplog.records] == [
        "step 5: the loss generator rose to 30, more than 10 times its recent median; the training may be diverging"
    ]


def test_diversity_by_hand():
    images = torch.tensor([0.0, 2.0]).view(2, 1, 1, 1).expand(2, 1, 3, 3)
    assert diversity(images) == pytest.approx(2**0.5)
    assert diversity(torch.ones(4, 1, 2, 2)) == 0


# ---------------------------------------------------------------------------------------------------- stop and continue
COMMAND = """
import json, logging, sys
from pathlib import Path
from synthmed.core.settings import parse
from synthmed.generators.train import TrainSettings, train
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
folder = Path(sys.argv[3])
try:
    train(parse(TrainSettings, json.loads(sys.argv[1])), images=Path(sys.argv[2]),
          checkpoint=folder / "c.pt", history=folder / "h.csv", samples=folder / "s.png")
except KeyboardInterrupt as stop:
    print(stop, file=sys.stderr)
    print("compiler loaded:", "torch._dynamo" in sys.modules, file=sys.stderr)
    sys.exit(130)
"""


def start(folder, images, chosen):
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(Path(synthmed.__file__).parents[1])}
    command = [sys.executable, "-c", COMMAND, json.dumps(chosen), str(images), str(folder)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(process, words):
    """Read the log until a line with `words`."""
    for line in process.stderr:
        if words in line:
            return line
    raise AssertionError(f"the process ended with {process.wait()} without saying {words!r}")


LONG = {"steps": 150, "save_every": 7, "log_every": 5, "sample_every": 10}


# Fades in 8×8 in steps 11 to 20, which the resume states of steps 14 and on lie in, and 16×16 in steps 31 to 40.
GROWING = {
    "latent_size": 8,
    "fmap_base": 32,
    "fmap_max": 8,
    "stable_kimg": 0.04,
    "fade_kimg": 0.04,
    "batch_limits": {"16": 2},
    "minibatch_group": 4,
    "gradient_penalty": 10.0,
    "drift": 0.001,
    "learning_rate": 1.0e-3,
    "ema_decay": 0.9,
    "gradient_checkpointing": False,
}


def test_a_growing_model_killed_and_continued_equals_uninterrupted(tmp_path, images):
    """kill -9 at whatever moment after a save it hits, then continue to the end: same bytes as never interrupted."""
    chosen = values(**LONG) | {"model": "pggan", "config": GROWING}
    whole = run(tmp_path / "whole", images, parse(TrainSettings, chosen))
    folder = tmp_path / "killed"
    process = start(folder, images, chosen)
    wait_for(process, "saved the resume state of step 14")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    assert (folder / "c.resume.pt").exists()
    assert not (folder / "c.pt").exists()
    assert run(folder, images, parse(TrainSettings, chosen)) == whole


def test_a_file_half_written_by_a_killed_process_is_cleared_away(tmp_path, images):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / ".c.resume.12345.part.pt").write_bytes(b"half")
    assert set(run(folder, images)) == {"c.pt", "h.csv", "s.png"}


def test_ctrl_c_saves_and_says_how_to_continue(tmp_path, images):
    whole, chosen = run(tmp_path / "whole", images, settings(**LONG)), values(**LONG | {"save_every": 10_000})
    folder = tmp_path / "stopped"
    process = start(folder, images, chosen)
    wait_for(process, "step 5/150")
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate()
    assert process.returncode == 130
    assert "run the same command again to continue" in rest
    assert "Traceback" not in rest
    # Importing torch._dynamo costs seconds in every process of the pipeline, and nothing is compiled here.
    assert "compiler loaded: False" in rest
    assert (folder / "c.resume.pt").exists()
    assert run(folder, images, parse(TrainSettings, chosen)) == whole


@pytest.mark.parametrize("stopped_at", [1, 5, 11])
def test_sigterm_at_any_step_continues_bit_for_bit(tmp_path, images, monkeypatch, stopped_at):
    expected = run(tmp_path / "whole", images)
    whole = dcgan.Model.train_step

    def signalled(self, batches):
        if self.step == stopped_at - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(self, batches)

    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(dcgan.Model, "train_step", signalled)
        with pytest.raises(KeyboardInterrupt, match=f"stopped after step {stopped_at} of 12"):
            run(tmp_path / "a", images)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert set(files(tmp_path / "a")) >= {"c.resume.pt", "h.csv"}
    assert run(tmp_path / "a", images) == expected


@pytest.fixture
def interrupted(tmp_path, images, monkeypatch):
    """A folder with the resume state of step 6."""
    whole = dcgan.Model.train_step

    def stopped(self, batches):
        if self.step == 7:
            raise KeyboardInterrupt
        return whole(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(dcgan.Model, "train_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "a", images)
    return tmp_path / "a"


def test_other_settings_do_not_continue(interrupted, images):
    with pytest.raises(InputError, match=r"c\.resume\.pt.*training.batch_size was 4, is 5.*delete it"):
        run(interrupted, images, settings(batch_size=5))
    with pytest.raises(InputError, match=r"config\.learning_rate was 0.001, is 0.002"):
        run(interrupted, images, settings({"learning_rate": 0.002}))


def test_other_code_does_not_continue(interrupted, images, monkeypatch):
    monkeypatch.setattr("synthmed.generators.train.code_hashes", lambda *modules: {"generators/dcgan.py": "0123"})
    with pytest.raises(InputError, match=r"code\.generators/dcgan\.py was '\w{16}', is '0123'.*delete it"):
        run(interrupted, images)


def test_other_images_do_not_continue(interrupted, tmp_path):
    others = image_set(tmp_path / "others.zip", {"normal": 11, "abnormal": 6})
    with pytest.raises(InputError, match="images was"):
        run(interrupted, others)


def test_a_broken_resume_state_is_named(interrupted, images):
    path = interrupted / "c.resume.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"c\.resume\.pt: not readable.*delete it to begin anew"):
        run(interrupted, images)


def test_a_full_disk_says_so_and_keeps_the_last_state(small_disk, images):
    chosen = settings({"latent_size": 2000}, save_every=1)
    with pytest.raises(InputError, match="no space left"):
        run(small_disk / "a", images, chosen)
    assert not list((small_disk / "a").glob(".*"))

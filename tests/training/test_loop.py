"""The loop: what it does at which step, and that every kind of training stops, continues and refuses alike."""

import json
import logging
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import trainings
from torch import Tensor
from trainings import KILLED_BEFORE, KINDS, before_steps, write_inputs

import synthmed
from synthmed.core.errors import InputError
from synthmed.core.files import read_csv
from synthmed.training import loop
from synthmed.training.history import History, TrainingError
from synthmed.training.loop import Check, fit
from synthmed.training.resume import ResumeState

CPU = torch.device("cpu")


# ------------------------------------------------------------------------------------------ a model that only counts
@dataclass
class Two:
    images: Tensor


class Counter:
    """Its loss is the number of the step."""

    def __init__(self):
        self.step = 0
        self.seen = []

    def train_step(self, batches):
        self.seen.append(len(batches))
        return {"loss": torch.tensor(float(self.step + 1))}

    def training_state(self):
        return {"step": self.step}

    def load_training_state(self, state):
        self.step = state["step"]


def run(folder, model=None, steps=10, log_every=4, save_every=100, **more):
    model, history = model or Counter(), History(folder / "h.csv")
    resume = ResumeState(folder / "c.pt", {})
    batches = [Two(torch.zeros(2, 1, 4, 4))] * 3
    own = {"name": "counter", "steps": steps, "log_every": log_every, "save_every": save_every, "device": CPU}
    fit(model, lambda: batches, history=history, resume=resume, **own, **more)
    return model, history, resume


def test_rows_have_the_mean_losses_since_the_row_before_and_the_last_step_has_one(tmp_path):
    model, history, _ = run(tmp_path)
    assert model.step == 10
    assert model.seen == [3] * 10
    assert history.rows == [{"step": 4, "loss": 2.5}, {"step": 8, "loss": 6.5}, {"step": 10, "loss": 9.5}]
    assert not list(tmp_path.iterdir())  # nothing was interrupted, and the results are the caller's


def test_the_log_says_how_fast_it_goes_and_how_long_it_takes(tmp_path, caplog, monkeypatch):
    """Two seconds a step of 3 · 2 images; lines come at the first row, the last, and every ten seconds between them."""
    caplog.set_level(logging.INFO)
    now = [100.0]
    monkeypatch.setattr("synthmed.training.loop.time.perf_counter", lambda: now[0])

    class Slow(Counter):
        def train_step(self, batches):
            now[0] += 2
            return super().train_step(batches)

    run(tmp_path, Slow(), steps=13, log_every=3)
    assert [record.getMessage() for record in caplog.records] == [
        "counter  step 3/13  3.0 images/s  00:20 left  loss 2.000",
        "counter  step 9/13  3.0 images/s  00:08 left  loss 8.000",
        "counter  step 13/13  3.0 images/s  00:00 left  loss 13.000",
    ]


def test_checks_come_every_so_many_steps_and_after_the_last(tmp_path):
    seen = []

    def measure(step):
        seen.append(step)
        return {"area": step / 10}

    _, history, _ = run(tmp_path, checks=[Check(3, measure)])
    assert seen == [3, 6, 9, 10]
    history.write()
    rows = read_csv(tmp_path / "h.csv")
    assert list(rows[0]) == ["step", "loss", "area"]
    assert [(row["step"], row["loss"], row["area"]) for row in rows] == [
        ("3", "", "0.3"),
        ("4", "2.5", ""),
        ("6", "", "0.6"),
        ("8", "6.5", ""),
        ("9", "", "0.9"),
        ("10", "9.5", "1.0"),
    ]


class Patience:
    """What a segmenter will bring: the best validation so far, and when to give up."""

    def __init__(self, values, patience):
        self.values, self.patience = values, patience
        self.best, self.waited = -math.inf, 0

    def measure(self, step):
        value = self.values[step]
        self.waited = 0 if value > self.best else self.waited + 1
        self.best = max(self.best, value)
        return {"dice": value}

    def enough(self):
        return self.waited >= self.patience

    def state(self):
        return {"best": self.best, "waited": self.waited}

    def load_state(self, state):
        self.best, self.waited = state["best"], state["waited"]


DICE = {2: 0.1, 4: 0.5, 6: 0.4, 8: 0.3, 10: 0.9}


def test_a_training_may_end_early(tmp_path):
    watch = Patience(DICE, 2)
    model, history, _ = run(tmp_path, log_every=3, checks=[Check(2, watch.measure)], enough=watch.enough)
    assert model.step == 8  # steps 6 and 8 were no better than step 4
    assert history.rows[-1] == {"step": 8, "dice": 0.3, "loss": 7.5}


@pytest.mark.parametrize("stopped_before", range(1, 9))
def test_it_ends_at_the_same_step_when_it_was_stopped(tmp_path, stopped_before):
    def again(act):
        watch, model = Patience(DICE, 2), Counter()
        made = []
        plain = model.train_step
        model.train_step = lambda batches: (made.append(1), act(model.step + 1), plain(batches))[-1]
        found = run(tmp_path, model, checks=[Check(2, watch.measure)], enough=watch.enough, parts={"watch": watch})
        return len(made), found

    with pytest.raises(KeyboardInterrupt, match=f"counter: training stopped after step {stopped_before} of 10"):
        again(lambda step: signal.raise_signal(signal.SIGTERM) if step == stopped_before else None)
    made, (model, history, resume) = again(lambda step: None)
    assert (model.step, made) == (8, 8 - stopped_before)
    assert history.rows[-1] == {"step": 8, "dice": 0.3, "loss": 6.5}
    assert resume.path.exists()  # until the caller has written the results


def test_states_are_saved_every_so_many_steps(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    _, _, resume = run(tmp_path, steps=12, save_every=4)
    saved = [record.getMessage() for record in caplog.records if "saved" in record.getMessage()]
    assert saved == ["saved the resume state of step 4", "saved the resume state of step 8"]  # and not of the last
    assert resume.load()["model"] == {"step": 8}
    assert [row["step"] for row in read_csv(tmp_path / "h.csv")] == ["4", "8"]  # to look at meanwhile


def test_nothing_is_measured_of_a_model_that_broke(tmp_path):
    class Broken(Counter):
        def train_step(self, batches):
            return {"loss": super().train_step(batches)["loss"] / (self.step != 2)}

    seen = []
    with pytest.raises(TrainingError, match="training step 3: the loss 'loss' is inf"):
        run(tmp_path, Broken(), checks=[Check(3, lambda step: seen.append(step) or {})])
    assert not seen


def test_measurements_that_are_not_finite_end_it(tmp_path):
    with pytest.raises(TrainingError, match="training step 3: the measured 'area' is nan"):
        run(tmp_path, checks=[Check(3, lambda step: {"area": math.nan})])


def test_a_surging_loss_is_warned_about(caplog):
    history = History()
    for step, value in enumerate([1.0, 1.2, 0.9, 1.1, 30.0], start=1):
        history.add(step, {"generator": torch.tensor(value)})
        history.check()
        history.close_row(step)
    assert [record.getMessage() for record in caplog.records] == [
        "step 5: the loss generator rose to 30, more than 10 times its recent median; the training may be diverging"
    ]


# -------------------------------------------------------------------------------------------- every kind of training
@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    yield folder
    torch.set_deterministic_debug_mode("default")


def made_by(name, inputs, out, **changes):
    out.mkdir(exist_ok=True)
    KINDS[name].run(KINDS[name].values | changes, inputs, out)
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """Kind → the bytes of what it makes without an interruption."""
    return {name: made_by(name, inputs, tmp_path_factory.mktemp(name)) for name in KINDS}


every_kind = pytest.mark.parametrize("name", KINDS)


@every_kind
def test_stopped_at_every_single_step_it_ends_with_the_same_bytes(name, inputs, whole, tmp_path):
    handler = signal.getsignal(signal.SIGTERM)
    calls = []

    def stop(number):
        calls.append(number)
        signal.raise_signal(signal.SIGTERM)

    undo = before_steps(KINDS[name].model, stop)
    try:
        for _ in range(KINDS[name].steps):
            with pytest.raises(KeyboardInterrupt, match="run the same command again to continue"):
                made_by(name, inputs, tmp_path)
            assert signal.getsignal(signal.SIGTERM) == handler
            assert not (tmp_path / "made.pt").exists()
            for path in tmp_path.iterdir():
                if path.name not in ("made.resume.pt", "made.states"):
                    path.unlink()  # as Snakemake does with the outputs of a job that failed
        assert made_by(name, inputs, tmp_path) == whole[name]  # and no resume state is left
    finally:
        undo()
    assert len(calls) == KINDS[name].steps


@pytest.fixture(scope="module")
def killed(inputs, tmp_path_factory):
    """A folder for each kind that was killed at its step KILLED_BEFORE, and for the one that got Ctrl-C."""
    out = tmp_path_factory.mktemp("killed")
    paths = [Path(synthmed.__file__).parents[1], *(Path(trainings.__file__).parents[i] for i in (0, 1))]
    paths.append(paths[-1] / "anomaly")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, trainings.__file__, str(inputs), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return out


@every_kind
def test_killed_it_goes_on_from_the_last_saved_state_to_the_same_bytes(name, inputs, whole, killed):
    assert json.loads((killed / "statuses.json").read_text())[name] == -signal.SIGKILL
    assert (killed / name / "made.resume.pt").exists()
    assert not (killed / name / "made.pt").exists()
    # A file half written by the killed process is cleared away.
    (killed / name / ".made.resume.12345.part.pt").write_bytes(b"half")
    calls = []
    undo = before_steps(KINDS[name].model, calls.append)
    try:
        assert made_by(name, inputs, killed / name) == whole[name]
    finally:
        undo()
    # States are saved every third step (an epoch of the classifier); the steps since then are made twice.
    assert len(calls) == KINDS[name].steps - (KILLED_BEFORE[name] - 1) // 3 * 3


def test_ctrl_c_saves_and_says_how_to_continue(inputs, whole, killed):
    assert json.loads((killed / "statuses.json").read_text())["ctrl_c"] == 130
    log = (killed / "ctrl_c.log").read_text()
    assert "training stopped after step 5 of 8; run the same command again to continue" in log
    assert "Traceback" not in log
    # Importing torch._dynamo costs seconds in every process of the pipeline, and nothing is compiled here.
    assert "compiler loaded: False" in log
    made = made_by("dcgan", inputs, killed / "ctrl_c")
    assert {name: made[name] for name in whole["dcgan"]} == whole["dcgan"]


@every_kind
def test_not_a_number_stops_with_step_and_loss(name, inputs, tmp_path, monkeypatch):
    model = KINDS[name].model
    whole, made = model.train_step, [0]

    def poisoned(self, batches):
        losses = whole(self, batches)
        made[0] += 1
        last = next(reversed(losses))
        return losses | ({last: losses[last] * math.nan} if made[0] == 5 else {})

    monkeypatch.setattr(model, "train_step", poisoned)
    with pytest.raises(TrainingError, match=r"step 5: the loss '\w+' is nan.*lower learning rate"):
        made_by(name, inputs, tmp_path)
    assert not (tmp_path / "made.pt").exists()
    # The state that was saved last is from before the bad step.
    assert torch.load(tmp_path / "made.resume.pt", weights_only=True)["state"]["model"]["step"] == 3


@pytest.fixture
def interrupted(request, inputs, tmp_path):
    """A training of the kind that the test names, with a resume state of step 3."""

    def stop(number):
        if number == 5:
            raise KeyboardInterrupt

    name = request.getfixturevalue("name")
    undo = before_steps(KINDS[name].model, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            made_by(name, inputs, tmp_path)
    finally:
        undo()
    return tmp_path


@every_kind
def test_what_was_begun_goes_on_with_the_same_settings_code_and_inputs_only(name, inputs, interrupted, monkeypatch):
    with pytest.raises(InputError, match=r"made\.resume\.pt.*seed was \d, is 7.*delete it"):
        made_by(name, inputs, interrupted, seed=7)
    others = interrupted / "others"
    others.mkdir()
    write_inputs(others, seed=1)
    with pytest.raises(InputError, match=r"(images|train) was '\w+', is '\w+'"):
        made_by(name, others, interrupted)
    with monkeypatch.context() as patch:
        patch.setattr(f"{KINDS[name].module}.code_hashes", lambda *modules: {"training/loop.py": "0123"})
        with pytest.raises(InputError, match=r"code\.training/loop\.py was '\w{16}', is '0123'.*delete it"):
            made_by(name, inputs, interrupted)
    with monkeypatch.context() as patch:  # as `auto` would on another machine
        patch.setattr(loop, "computed_precision", lambda precision, device: "bf16")
        with pytest.raises(InputError, match=r"computed\.precision was 'fp32', is 'bf16'.*delete it"):
            made_by(name, inputs, interrupted)
    path = interrupted / "made.resume.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"made\.resume\.pt: not readable.*delete it to begin anew"):
        made_by(name, inputs, interrupted)

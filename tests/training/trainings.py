"""Tiny trainings of every kind, as their steps run them, for the tests of the loop.

As a program (`python trainings.py INPUTS OUT`): each kind in a process of its own, which kills itself in the middle,
and one training by the command line that gets Ctrl-C.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from small_generators import DCGAN, PGGAN, write_generator

from made_up_images import image_set
from synthmed import cli
from synthmed.anomaly import encoder
from synthmed.classifiers import network
from synthmed.core.settings import parse
from synthmed.data.imageset import write_image_set
from synthmed.generators import dcgan, pggan
from synthmed.generators import train as generator

LOOP = {
    "steps": 8,
    "batch_size": 4,
    "size": None,
    "masks": None,
    "accumulate": 1,
    "precision": "fp32",
    "channels_last": False,
    "jitter": None,
    "flip": True,
    "threads": 1,
    "processes": 1,
    "log_every": 3,
    "sample_every": 2,
    "keep_every": 3,
    "save_every": 3,
    "device": "cpu",
}


def of_generator(model, config, **loop):
    return {
        "model": model,
        "classes": ["normal", "abnormal"],
        "labels": ["normal"],
        "learns": "images",
        "seed": 3,
        "config": config,
        "training": LOOP | loop,
    }


CLASSIFIER = {
    "targets": ["abnormal"],
    "target_column": "label",
    "missing": "error",
    "arm": None,
    "augmentation": None,
    "sets": [],
    "holdout": None,
    "architecture": "small_cnn",
    "channels": [4, 8],
    "dropout": 0.2,
    "size": None,
    "pretrained": None,
    "seed": 1,
    "seeds": 2,
    "steps": 6,
    "check_every": 3,
    "batch_size": 8,
    "accumulate": 1,
    "processes": 1,
    "learning_rate": 1.0e-2,
    "schedule": "cosine",
    "class_weights": "balanced",
    "outputs": "independent",
    "flip": True,
    "shift": 0.05,
    "select": "loss",
    "precision": "fp32",
    "channels_last": False,
    "save_every": 3,
    "threads": 1,
    "device": "cpu",
}
ENCODER = {
    "model": "dcgan",
    "seed": 2,
    "labels": ["normal"],
    "limit": None,
    "channels": [4, 8],
    "steps": 8,
    "batch_size": 4,
    "accumulate": 1,
    "processes": 1,
    "channels_last": False,
    "learning_rate": 0.01,
    "feature_weight": 0.0,
    "latent_weight": 0.1,
    "precision": "fp32",
    "log_every": 3,
    "save_every": 3,
    "threads": 1,
    "device": "cpu",
}


@dataclass(frozen=True)
class Kind:
    """values: settings; model: the class whose train_step makes a step; steps: of the whole training; run(values,
    inputs, out): the step of the pipeline, which lives in `module`."""

    values: dict
    model: type
    steps: int
    run: Callable[..., None]
    module: str


def train_generator(values, inputs, out):
    settings = parse(generator.TrainSettings, values)
    outputs = {"checkpoint": out / "made.pt", "history": out / "h.csv", "samples": out / "s.png"}
    outputs["states"] = out / "states.zip"
    generator.train(settings, images=inputs / "images.zip", **outputs)


def train_classifier(values, inputs, out):
    settings = parse(network.NetworkSettings, values)
    parts = {"train": inputs / "train.zip", "validation": inputs / "validation.zip", "weights": None}
    network.train(settings, **parts, arms=None, synthetic=[], classifier=out / "made.pt", report=out / "r.json")


def train_encoder(values, inputs, out):
    settings = parse(encoder.EncoderSettings, values)
    given = {"checkpoint": inputs / "generator.pt", "images": inputs / "images.zip"}
    encoder.train_encoder(settings, **given, encoder=out / "made.pt", history=out / "h.csv")


# PGGAN fades in 8×8 in steps 3 and 4, and 16×16 in steps 7 and 8.
GROWTH = {"stable_kimg": 0.008, "fade_kimg": 0.008}
KINDS = {
    "dcgan": Kind(of_generator("dcgan", DCGAN | {"dropout": 0.2}), dcgan.Model, 8, train_generator, generator.__name__),
    "pggan": Kind(of_generator("pggan", PGGAN | GROWTH), pggan.Model, 8, train_generator, generator.__name__),
    "classifier": Kind(CLASSIFIER, network.Training, 12, train_classifier, network.__name__),
    "encoder": Kind(ENCODER, encoder.EncoderTraining, 8, train_encoder, encoder.__name__),
}
KILLED_BEFORE = {"dcgan": 6, "pggan": 8, "classifier": 11, "encoder": 6}


def write_inputs(folder, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for label, count in {"normal": 10, "abnormal": 6}.items():
        for i in range(count):
            pixels = np.kron(rng.integers(0, 256, (4, 4)), np.ones((4, 4))).astype(np.uint8)
            rows.append(({"image": f"{label}_{i}.png", "label": label, "patient": f"{label}{i}"}, pixels))
    write_image_set(folder / "images.zip", rows)
    image_set(folder / "train.zip", 26, seed=seed + 1)
    image_set(folder / "validation.zip", 12, seed=seed + 2)
    write_generator(folder / "generator.pt")


def before_steps(model, act):
    """Let `act(n)` run before the n-th training step (from 1) of the class `model`. Returns what undoes it."""
    whole, made = model.train_step, [0]

    def train_step(self, batches):
        made[0] += 1
        act(made[0])
        return whole(self, batches)

    model.train_step = train_step
    return lambda: setattr(model, "train_step", whole)


def _in_a_process(act, log):
    """Run `act` in a copy of this process, with its stderr in the file `log`; returns its exit status."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
        try:
            act()
        except SystemExit as stop:
            os._exit(stop.code)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _signal_before(number, which):
    return lambda n: os.kill(os.getpid(), which) if n == number else None


def _killed(name, inputs, out):
    before_steps(KINDS[name].model, _signal_before(KILLED_BEFORE[name], signal.SIGKILL))
    KINDS[name].run(KINDS[name].values, inputs, out)


def _ctrl_c(inputs, out):
    before_steps(dcgan.Model, _signal_before(5, signal.SIGINT))
    (out / "settings.json").write_text(json.dumps(KINDS["dcgan"].values))
    paths = {"settings": out / "settings.json", "images": inputs / "images.zip", "checkpoint": out / "made.pt"}
    paths |= {"history": out / "h.csv", "samples": out / "s.png", "states": out / "states.zip"}
    try:
        cli.main(["train", *(str(word) for name, path in paths.items() for word in (f"--{name}", path))])
    finally:
        print("compiler loaded:", "torch._dynamo" in sys.modules, file=sys.stderr)


if __name__ == "__main__":
    given, made = Path(sys.argv[1]), Path(sys.argv[2])
    statuses = {}
    acts = {kind: partial(_killed, kind) for kind in KINDS} | {"ctrl_c": _ctrl_c}
    for name, act in acts.items():
        (made / name).mkdir()
        statuses[name] = _in_a_process(partial(act, given, made / name), made / f"{name}.log")
    (made / "statuses.json").write_text(json.dumps(statuses))

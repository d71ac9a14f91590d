"""Two processes on one CPU train like one: every kind of training, the files they write, stop and continue."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trainings
from tiny_configs import TINY

import synthmed
from made_up_pairs import pair_set
from synthmed import generators
from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.core.provenance import SUFFIX
from synthmed.core.settings import parse
from synthmed.data.imageset import write_image_set
from synthmed.generators.train import TrainSettings, train
from synthmed.segmenters.settings import TrainSegmenterSettings
from synthmed.segmenters.train import train as train_segmenter
from synthmed.training import distributed
from synthmed.training.device import choose_device

LOOP = {
    "steps": 6,
    "batch_size": 4,
    "size": None,
    "masks": None,
    "accumulate": 2,
    "precision": "fp32",
    "channels_last": False,
    "jitter": None,
    "flip": True,
    "threads": 1,
    "processes": 1,
    "log_every": 1,
    "sample_every": 3,
    "keep_every": 4,
    "save_every": 100,
    "device": "cpu",
}
FILES = ("c.pt", "h.csv", "s.png", "states.zip")
# PGGAN grows at steps 1 and 4 (8 images a step), so what is compared goes across both.
GROWTH = {"stable_kimg": 0.008, "fade_kimg": 0.016}


def settings(name, config=None, **loop):
    model = name.split("_")[0]
    changes = {"dcgan": {"dropout": 0.0}, "pggan": GROWTH, "pix2pix": {"noise": ["channel"], "dropout": 0.0}}
    masks = {"masks": "classes", "jitter": 1.25} if model == "pix2pix" else {}
    masks = {"accumulate": 1, "flip": False} if model == "singan" else masks
    return {
        "model": model,
        "classes": ["normal", "abnormal"],
        "labels": ["normal", "abnormal"] if model in ("cyclegan", "stylegan2") else ["normal"],
        "learns": "images",
        "seed": 3,
        "config": TINY[model]["config"] | {"learning_rate": 1.0e-2} | changes.get(model, {}) | (config or {}),
        "training": LOOP | masks | loop,
    }


# Dropout draws other masks in every process, so only trainings without it are the same.
NETWORKS = {
    "classifier": trainings.CLASSIFIER | {"dropout": 0.0, "accumulate": 2, "batch_size": 4},
    "encoder": trainings.ENCODER | {"accumulate": 2},
}
SEGMENTER = {
    "architecture": "unet", "widths": [4, 8], "spectral_norm": False, "masks": "classes", "size": None,
    "loss": "bce_dice", "class_weights": "none", "seeds": 2, "steps": 6, "check_every": 3, "patience": None,
    "learning_rates": [1.0e-2], "dropouts": [0.0], "schedule": "constant",
    "augmentation": {"horizontal_flip": True, "vertical_flip": True, "rotation": 20.0, "zoom": 0.1, "shift": 0.1},
    "elastic": {"displacement": 0.04, "smoothness": 0.08},
    "save_every": 100, "batch_size": 4, "accumulate": 2, "precision": "fp32", "channels_last": False,
    "threads": 1, "processes": 1, "device": "cpu", "seed": 1, "arm": None, "sets": [], "augment": False,
}  # fmt: skip
DROPOUT = {"dropout": 0.5}
RUNS = (
    {name: settings(name) for name in sorted(generators.GENERATORS)}
    | NETWORKS
    | {
        "segmenter": SEGMENTER,
        "dcgan_whole": settings("dcgan", DROPOUT),
        "dcgan_stopped": settings("dcgan", DROPOUT),
        "dcgan_odd": settings("dcgan", batch_size=5),
        "pggan_odd": settings("pggan", {"batch_limits": {"16": 3}}),
    }
)

# Runs in every rank: all trainings one after the other, as their verbs do, in one process group. The third step of the
# training that is to be stopped sends a signal to rank 1 alone.
WORKER = """
import json, os, signal, sys
from pathlib import Path
import torch
from synthmed import cli
from synthmed.training import distributed
from synthmed.generators import dcgan

folder, names = Path(sys.argv[1]), sys.argv[2:]
whole = dcgan.Model.train_step

def signalled(self, batches):
    if self.step == 2 and distributed.rank() == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return whole(self, batches)

torch.distributed.init_process_group("gloo")
statuses = {}
for name in names:
    made, model = folder / "two" / name.removesuffix("_again"), name.split("_")[0]
    dcgan.Model.train_step = signalled if name == "dcgan_stopped" else whole
    verb, files = {
        "classifier": ("train-classifier", {"train": folder / "train.zip", "validation": folder / "validation.zip",
                                            "classifier": made / "c.pt", "report": made / "r.json"}),
        "encoder": ("train-encoder", {"checkpoint": folder / "generator.pt", "images": folder / "images.zip",
                                      "encoder": made / "c.pt", "history": made / "h.csv"}),
        "segmenter": ("train-segmenter", {"train": folder / "pairs.zip", "validation": folder / "checked.zip",
                                          "segmenter": made / "c.pt", "report": made / "r.json"}),
    }.get(model, ("train", {"images": folder / f"{model}.zip", "checkpoint": made / "c.pt", "history": made / "h.csv",
                            "samples": made / "s.png", "states": made / "states.zip"}))
    files["settings"] = made.with_suffix(".json")
    try:
        cli.main([verb, *(str(word) for argument, path in files.items() for word in (f"--{argument}", path))])
        statuses[name] = 0
    except SystemExit as stop:
        statuses[name] = stop.code
torch.distributed.destroy_process_group()
(folder / f"statuses.{os.getpid()}.json").write_text(json.dumps(statuses))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder with one/<generator> (trained here) and two/<run> (trained by torchrun), statuses and its log."""
    folder = tmp_path_factory.mktemp("distributed")
    rng = np.random.default_rng(0)
    for name in generators.GENERATORS:
        size = TINY[name]["shape"][1]
        rows = []
        for label in ("normal", "abnormal"):
            for i in range(10):
                pixels = np.kron(rng.integers(0, 256, (4, 4)), np.ones((size // 4, size // 4))).astype(np.uint8)
                rows.append(
                    (
                        {"image": f"{label}_{i}.png", "label": label, "patient": f"{label}{i}"},
                        pixels,
                        (pixels > 99) * 255,
                    )
                )
        write_image_set(folder / f"{name}.zip", rows)
    trainings.write_inputs(folder)
    pairs = {"train": pair_set(folder / "pairs.zip", 12, 1), "validation": pair_set(folder / "checked.zip", 6, 2)}
    (folder / "two").mkdir()
    for name, values in RUNS.items():
        (folder / "two" / name).mkdir()
        loop = {"training": values["training"] | {"processes": 2}} if "training" in values else {"processes": 2}
        values = values | loop
        (folder / "two" / f"{name}.json").write_text(json.dumps(values))
    (folder / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(folder / "worker.py"), str(folder), *RUNS, "dcgan_stopped_again"]
    environment = os.environ | {"PYTHONPATH": str(Path(synthmed.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (folder / "log").write_text(done.stderr)
    for name in generators.GENERATORS:
        out = folder / "one" / name
        out.mkdir(parents=True)
        train(
            parse(TrainSettings, RUNS[name]),
            images=folder / f"{name}.zip",
            checkpoint=out / "c.pt",
            history=out / "h.csv",
            samples=out / "s.png",
            states=out / "states.zip",
        )
    for name, values in NETWORKS.items():
        (folder / "one" / name).mkdir()
        trainings.KINDS[name].run(values, folder, folder / "one" / name)
    (folder / "one" / "segmenter").mkdir()
    files = {"segmenter": folder / "one" / "segmenter" / "made.pt", "report": folder / "one" / "segmenter" / "r.json"}
    train_segmenter(parse(TrainSegmenterSettings, SEGMENTER), **pairs, arms=None, synthetic=[], grid=None, **files)
    yield folder
    torch.set_deterministic_debug_mode("default")


def read(folder):
    rows = list(csv.DictReader((folder / "h.csv").read_text().splitlines()))
    return {key: np.array([float(row[key]) for row in rows if row[key]]) for key in rows[0]}


@pytest.mark.parametrize("name", sorted(generators.GENERATORS))
def test_two_processes_make_the_losses_and_samples_of_one(made, name):
    one, two = read(made / "one" / name), read(made / "two" / name)
    assert list(one) == list(two)
    for key, values in one.items():
        first = 1e-3 if key == "diversity" else 1e-4  # of samples, which many passes through a network may make
        np.testing.assert_allclose(two[key][:1], values[:1], rtol=first, atol=1e-5, err_msg=key)
        # Adam makes steps of full size out of rounding errors where a gradient is zero (biases before a norm), and what
        # they differ by grows, on some processors to 2 % or 0.02 in six steps.
        np.testing.assert_allclose(two[key][:4], values[:4], rtol=1e-2, atol=2e-3, err_msg=key)
        np.testing.assert_allclose(two[key], values, rtol=5e-2, atol=3e-2, err_msg=key)


@pytest.mark.parametrize("name", ["classifier", "segmenter"])
def test_two_processes_make_the_network_of_one(made, name):
    one, two = (made / "one" / name / "made.pt", made / "two" / name / "c.pt")
    first, second = (torch.load(path, weights_only=True)["states"] for path in (one, two))
    for ours, theirs in zip(first, second, strict=True):
        for key, value in ours.items():
            assert torch.allclose(value, theirs[key], rtol=1e-2, atol=2e-3), key
    reports = [read_json(path) for path in (one.with_name("r.json"), two.with_name("r.json"))]
    for ours, theirs in zip(*(report["seeds"] for report in reports), strict=True):
        for mine, other in zip(ours["history"], theirs["history"], strict=True):
            assert mine == pytest.approx(other, rel=1e-3)


def test_two_processes_make_the_encoder_of_one(made):
    one, two = read(made / "one" / "encoder"), read(made / "two" / "encoder")
    assert len(one) > 1
    assert one.keys() == two.keys()
    for key, values in one.items():
        np.testing.assert_allclose(two[key], values, rtol=1e-3, err_msg=key)


def test_the_first_process_writes_every_file_and_the_provenance(made):
    for name in generators.GENERATORS:
        written = sorted(path.name for path in (made / "two" / name).iterdir())
        assert written == sorted([*FILES, *(f"{x}{SUFFIX}" for x in FILES)])
    log = (made / "log").read_text()
    assert log.count("training fastgan on cpu: 10 images of (1, 32, 32), 8 a step, 2 processes") == 1


def test_the_verb_starts_the_processes_that_the_settings_ask_for(made):
    out = made / "verb"
    command = [
        sys.executable,
        "-m",
        "synthmed",
        "train",
        "--settings",
        made / "two" / "dcgan.json",
        "--log",
        out / "log",
    ]
    command += ["--images", made / "dcgan.zip", "--checkpoint", out / "c.pt", "--history", out / "h.csv"]
    environment = os.environ | {"PYTHONPATH": str(Path(synthmed.__file__).parents[1])}
    done = subprocess.run(
        [*command, "--samples", out / "s.png", "--states", out / "states.zip"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "8 a step, 2 processes" in (out / "log").read_text()
    for file in FILES:
        assert (out / file).read_bytes() == (made / "two" / "dcgan" / file).read_bytes(), file
    for file in FILES:
        assert json.loads((out / f"{file}{SUFFIX}").read_text())["settings"]["training"]["processes"] == 2


def test_processes_that_nobody_started_are_refused(made, tmp_path):
    values = json.loads((made / "two" / "dcgan.json").read_text())
    files = {"checkpoint": "c.pt", "history": "h.csv", "samples": "s.png", "states": "states.zip"}
    outputs = {name: tmp_path / file for name, file in files.items()}
    with pytest.raises(InputError, match="setting processes is 2, but 1 work on this training"):
        train(parse(TrainSettings, values), images=made / "dcgan.zip", **outputs)
    assert not any(tmp_path.iterdir())


def test_a_signal_to_one_process_stops_both_after_the_same_step_and_both_continue_bit_for_bit(made):
    statuses = [json.loads(path.read_text()) for path in made.glob("statuses.*.json")]
    assert len(statuses) == 2
    for status in statuses:
        assert status["dcgan_stopped"] == 130
        assert status["dcgan_stopped_again"] == 0
    log = (made / "log").read_text()
    assert log.count("training stopped after step 3 of 6") == 2
    assert log.count("resume.pt after step 3") == 1  # said by rank 0 only
    whole, stopped = (made / "two" / name for name in ("dcgan_whole", "dcgan_stopped"))
    for file in FILES:
        assert (whole / file).read_bytes() == (stopped / file).read_bytes(), file
    assert not (stopped / "c.resume.pt").exists()


def test_batches_that_cannot_be_shared_are_refused_before_the_first_step(made):
    for path in made.glob("statuses.*.json"):
        status = json.loads(path.read_text())
        assert (status["dcgan_odd"], status["pggan_odd"]) == (2, 2)
    log = (made / "log").read_text()
    assert "setting batch_size is 5, which 2 processes cannot share equally" in log
    assert "setting batch_limits.16 is 3; it must be a multiple of the number of processes (2)" in log


def test_without_torchrun_nothing_is_started():
    device = choose_device("cpu")
    assert not distributed.launched()
    with distributed.ranks(device):
        assert not torch.distributed.is_initialized()
        assert (distributed.rank(), distributed.size()) == (0, 1)
        x = torch.randn(3, 2)
        assert distributed.own_rows(x).data_ptr() == x.data_ptr()
        assert distributed.gather(x) is x
        assert distributed.collect("a") == ["a"]
        assert distributed.any_rank(True, device)
        assert not distributed.any_rank(False, device)


@pytest.fixture
def second_of_two(monkeypatch):
    monkeypatch.setattr(distributed, "size", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)


def test_every_rank_draws_the_whole_batch_and_keeps_its_rows(second_of_two):
    whole = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    drawn = distributed.draw(torch.randn, 4, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(drawn, whole[4:])
    assert torch.equal(distributed.own_rows(whole), whole[4:])
    with pytest.raises(InputError, match="a batch of 7 images cannot be shared equally by 2 processes"):
        distributed.own_rows(whole[:7])


def test_a_batch_norm_that_is_not_synchronised_is_refused(second_of_two):
    class WithActivation(torch.nn.BatchNorm2d):  # as in timm's Inception-v4
        pass

    for layer in (WithActivation(3), torch.nn.BatchNorm1d(3)):
        with pytest.raises(InputError, match=f"processes is 2, but the network's {type(layer).__name__} sees"):
            distributed.synchronise_batch_norm(torch.nn.Sequential(torch.nn.Sequential(layer)))
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    for _ in range(2):
        distributed.synchronise_batch_norm(network)


def test_synchronised_batch_norm_is_batch_norm_over_all_ranks(second_of_two, monkeypatch):
    """Against torch's BatchNorm2d on the whole batch; the exchange with the other rank is replaced by its numbers."""
    torch.manual_seed(0)
    whole = torch.randn(6, 3, 4, 4)
    other, own = whole[:3], whole[3:]
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.Sequential(torch.nn.BatchNorm2d(3)))
    plain = network[1][0]
    torch.nn.init.normal_(plain.weight)
    reference = torch.nn.BatchNorm2d(3)
    reference.load_state_dict(plain.state_dict())
    distributed.synchronise_batch_norm(network)
    synced = network[1][0]
    assert type(synced) is distributed.SyncedBatchNorm
    assert synced.weight is plain.weight

    mean = whole.mean((0, 2, 3))
    from_other = iter([other.sum((0, 2, 3)), (other - mean[:, None, None]).square().sum((0, 2, 3))])
    monkeypatch.setattr(distributed.group, "all_reduce", lambda x: x.add_(next(from_other)))
    expected = reference(whole)
    assert torch.allclose(synced(own), expected[3:], atol=1e-5)
    for key, value in reference.state_dict().items():
        assert torch.allclose(synced.state_dict()[key], value, atol=1e-5), key
    assert torch.allclose(synced.eval()(own), reference.eval()(own), atol=1e-5)

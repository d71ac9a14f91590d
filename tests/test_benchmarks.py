"""benchmarks/gpu.py, which is meant for a machine with a GPU, tried out at tiny sizes on the CPU."""

import math
import sys
from pathlib import Path

import pytest
import torch
from tiny_configs import TINY

from synthmed.core.errors import InputError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu

    yield gpu
    torch.set_deterministic_debug_mode("default")


@pytest.mark.parametrize("name", sorted(TINY))
def test_every_generator_is_measured(gpu, name):
    channels, *size = TINY[name]["shape"]
    prepare = {
        "format": "images",
        "channels": channels,
        "size": size,
        "masks": {"kind": "semantic", "classes": {"lung": 1, "heart": 2}},
    }
    masks = "classes" if name in ("pix2pix",) else None
    entry = {"model": name, "config": TINY[name]["config"]}
    entry["training"] = {"masks": masks, "size": None, "batch_size": 4}
    found = list(gpu.of_generator(entry, {"prepare": prepare, "classes": ["normal", "abnormal"]}, "images"))
    assert len(found) == (2 if name == "singan" else 1)
    for case in found:
        for variant in ("plain", "bf16, channels-last"):
            row = gpu.measure(case, gpu.VARIANTS[variant], torch.device("cpu"), 1)
            assert (row.reason, row.memory) == ("", None), variant
            assert math.isfinite(row.images)


def test_what_cannot_be_run_stands_in_the_table_with_its_reason(gpu):
    def build(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nand more")

    row = gpu.measure(gpu.Case("large", "3 × 9 × 9", build), gpu.VARIANTS["fp32"], torch.device("cpu"), 1)
    assert row.reason == "OutOfMemoryError: CUDA out of memory. Tried to allocate 20 GiB"


def test_one_table_of_the_networks_of_an_experiment(gpu, monkeypatch, capsys):
    words = ["gpu.py", "--overlay", str(ROOT / "tests/workflow/tiny_nuclei.yaml"), "--experiments", "nuclei"]
    words += ["--device", "cpu", "--threads", "1", "--steps", "1", "--variants", "plain", "fp32"]
    monkeypatch.setattr(sys, "argv", words)
    gpu.main()
    first, _, *table = capsys.readouterr().out.strip().splitlines()
    assert first.startswith("no GPU: CPU time; ")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]
    assert {row[2] for row in rows} == {"plain", "fp32"}
    assert all(float(row[3]) > 0 for row in rows)
    assert all(row[4] == "1.00" for row in rows if row[2] == "plain")
    # A segmenter that two tasks have is measured once.
    assert sum("segmenter unet" in row[0] for row in rows) == 2
    assert any("nuclei: segmentation, nuclei: spectral_norm" in row[0] for row in rows)


def test_the_paper_scale_is_what_is_measured_unless_told_otherwise(gpu):
    found = gpu.cases(gpu.read_params(ROOT / "workflow/scales/paper.yaml"), None)
    named = {(where.split(":")[0], case.name.split(" ")[0], case.shape) for where, case in found.items()}
    assert {
        ("tuberculosis", "cyclegan", "1 × 256 × 256"),
        ("chest_findings", "pggan", "1 × 1024 × 1024"),
        ("nuclei", "fastgan", "7 × 256 × 256"),
        ("nuclei", "segmenter", "3 × 256 × 256"),
    } <= named


def test_without_a_gpu_it_says_so(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(InputError, match="torch finds no GPU here"):
        gpu.main()

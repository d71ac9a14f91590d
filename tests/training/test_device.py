"""Which GPU a process takes, on pretended GPUs: locks of the kernel keep the processes of one machine apart."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from synthmed.core import provenance
from synthmed.core.errors import InputError
from synthmed.training import device, distributed

HOLD = (
    "import sys; from synthmed.core.lock import try_lock; f = open(sys.argv[1], 'a'); print(try_lock(f), flush=True); "
)


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """Two GPUs. Returns the list of those that were chosen, and a function by which another process takes one."""
    chosen, others = [], []
    monkeypatch.setattr(device.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(device.os, "getuid", lambda: 7)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"GPU-{index}"))
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch, "set_deterministic_debug_mode", lambda mode: None)

    def take(index):
        path = tmp_path / f"synthmed-7-GPU-{index}.lock"
        command = [sys.executable, "-c", HOLD + "sys.stdin.read()", str(path)]
        others.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert others[-1].stdout.readline() == "True\n"

    yield chosen, take
    for other in others:
        other.communicate()
    for handle in device._taken:
        handle.close()
    device._taken.clear()


def test_a_process_takes_the_first_gpu_once(gpus):
    chosen, _ = gpus
    assert device.choose_device("auto") == device.choose_device("cuda") == torch.device("cuda")
    assert chosen == [0]


def test_a_gpu_that_another_process_has_taken_is_left_to_it(gpus, caplog):
    chosen, take = gpus
    take(0)
    device.choose_device("auto")
    assert chosen == [1]
    assert caplog.text == ""


def test_without_a_free_gpu_the_first_is_shared_and_this_is_said(gpus, caplog):
    chosen, take = gpus
    take(0)
    take(1)
    assert device.choose_device("auto") == torch.device("cuda")
    assert chosen == []
    assert "of 2 GPUs 0 are in use by no other step" in caplog.text
    assert "--resources gpu=2" in caplog.text


@pytest.mark.parametrize(("visible", "expected"), [("", "1,2"), ("3,5,7", "5,7")])
def test_processes_of_one_training_get_gpus_that_nobody_has_taken(gpus, monkeypatch, visible, expected):
    _, take = gpus
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    ran = []
    monkeypatch.setattr(distributed.os, "execv", lambda *command: ran.append(command))
    take(0)
    distributed.launch(["train"], 2, "auto")
    assert len(ran) == 1
    assert os.environ["CUDA_VISIBLE_DEVICES"] == expected
    # What torchrun inherits keeps other steps away, when this process is no more.
    torchrun = subprocess.Popen(["sleep", "60"], close_fds=False)
    for handle in device._taken:
        handle.close()
    device._taken.clear()
    assert device._lock_gpus(3) == []
    torchrun.kill()
    torchrun.wait()
    assert device._lock_gpus(3) == [1, 2]


def test_more_processes_than_free_gpus_share_some_and_this_is_said(gpus, monkeypatch, caplog):
    _, take = gpus
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    take(0)
    device.share_out_gpus(2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,0"
    assert "of 2 GPUs 1 are in use by no other step, and this one needs 2" in caplog.text
    assert len(device._taken) == 1
    device.share_out_gpus(3)  # more than there are: said by `ranks`
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,0"


def test_on_a_processor_no_gpu_is_taken(gpus, monkeypatch):
    monkeypatch.setattr(distributed.os, "execv", lambda *command: None)
    distributed.launch(["train"], 2, "cpu")
    assert device._taken == []


def test_processes_of_one_training_have_their_gpus_by_their_rank(gpus, monkeypatch):
    chosen, _ = gpus
    monkeypatch.setattr(torch.distributed, "is_torchelastic_launched", lambda: True)
    device.choose_device("auto")
    assert chosen == []
    assert device._taken == []


def test_a_gpu_that_is_asked_for_in_vain_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="torch finds no GPU here"):
        device.choose_device("cuda")
    assert device.choose_device("auto") == torch.device("cpu")


def test_fp32_is_not_rounded_to_tf32(monkeypatch):
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    for backend in backends:
        monkeypatch.setattr(backend, "allow_tf32", True)
    device.choose_device("cpu")
    assert not any(backend.allow_tf32 for backend in backends)


@pytest.mark.parametrize(
    ("precision", "able", "dtype", "noted"),
    [
        ("fp32", True, torch.float32, None),
        ("bf16", False, torch.bfloat16, None),
        ("auto", True, torch.bfloat16, "bf16"),
        ("auto", False, torch.float32, "fp32"),
    ],
)
def test_precision_auto_is_bf16_where_the_processor_multiplies_it(precision, able, dtype, noted, tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_noted", {})
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": able})
    device.computed_precision.cache_clear()
    with device.autocast(precision, torch.device("cpu")):
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == dtype
    device.computed_precision.cache_clear()
    (tmp_path / "made.pt").touch()
    provenance.record([tmp_path / "made.pt"], step="train", made_from=provenance.MadeFrom({}, {}), settings={})
    said = json.loads((tmp_path / "made.pt.provenance.json").read_text()).get("machine_chose")
    assert said == (noted and {"precision": noted})

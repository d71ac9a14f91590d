"""Where a training computes, and from which random numbers."""

from __future__ import annotations

import logging
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import IO, Literal

import numpy as np
import torch

from synthmed.core import provenance
from synthmed.core.errors import InputError
from synthmed.core.lock import try_lock

logger = logging.getLogger(__name__)

_taken: list[IO] = []
"""The locks of the GPUs that this process computes on, open until it ends."""


def derived_seed(seed: int, purpose: str) -> int:
    """A seed for one purpose, so that weights, data order, noise and samples do not share their random numbers."""
    return int(np.random.SeedSequence([seed, *purpose.encode()]).generate_state(1, np.uint64)[0] >> 1)


def choose_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device to compute on; "auto" is a GPU where there is one. Raises InputError when "cuda" is asked in vain.

    Of several GPUs the first that no other process here has chosen; fp32 is fp32 there. On a CPU torch is set to
    deterministic algorithms, so that equal settings give equal bits.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("setting device is 'cuda', but torch finds no GPU here; set it to 'auto' or 'cpu'")
    device = torch.device(device_type(name))
    # Else convolutions of fp32 have the ten bits of TF32 on GPUs from Ampere on.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if device.type == "cuda" and not _taken and not torch.distributed.is_torchelastic_launched():
        _take_gpu()
    # The same as use_deterministic_algorithms, which would import torch's compiler: seconds of CPU in every process.
    torch.set_deterministic_debug_mode("error" if device.type == "cpu" else "default")
    # Writing NaN into every fresh tensor finds reads of uninitialised memory, which is not what is wanted here.
    torch.utils.deterministic.fill_uninitialized_memory = False
    return device


def device_type(name: Literal["auto", "cpu", "cuda"]) -> str:
    """`cuda` or `cpu`: what the setting means on this machine."""
    return "cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu"


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Context of a setting `precision` (core.settings.TrainingPrecision). Compute losses on `.float()` outputs."""
    return torch.autocast(device.type, torch.bfloat16, enabled=computed_precision(precision, device.type) == "bf16")


@cache
def computed_precision(precision: str, device: str) -> str:
    """`fp32` or `bf16`; where `auto` was asked the provenance of this process's results says which it is."""
    if precision == "auto":
        precision = "bf16" if _multiplies_bf16(device) else "fp32"
        provenance.note("precision", precision)
        logger.info("precision auto is %s on this %s", precision, {"cuda": "GPU", "cpu": "processor"}[device])
    return precision


def _multiplies_bf16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16"))


def share_out_gpus(processes: int) -> None:
    """Before torchrun: take a GPU for each of its processes, and let them see no other.

    Those that no other process has taken or, with a warning, others where they are too few. The locks outlive `exec`;
    CUDA_VISIBLE_DEVICES says which GPUs they are. Where a machine has fewer in all nothing is taken: `ranks` says so.
    """
    count = torch.cuda.device_count()
    if count < processes:
        return
    chosen = _lock_gpus(processes)
    if len(chosen) < processes:
        _warn_of_sharing(len(chosen), processes)
        chosen += [index for index in range(count) if index not in chosen][: processes - len(chosen)]
    for handle in _taken:
        os.set_inheritable(handle.fileno(), True)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else list(map(str, range(count)))
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names[index] for index in chosen)


def _take_gpu() -> None:
    """Compute on the first GPU that no other process has taken, or with a warning on one that has one."""
    if chosen := _lock_gpus(1):
        torch.cuda.set_device(chosen[0])
    else:
        _warn_of_sharing(0, 1)


def _lock_gpus(most: int) -> list[int]:
    """Take the first GPUs that no other process of this user's has taken, at most so many; their numbers.

    A lock of the kernel says so, of one file a GPU; CUDA_VISIBLE_DEVICES may have chosen some of them before.
    """
    chosen = []
    for index in range(torch.cuda.device_count()):
        if len(chosen) == most:
            break
        name = f"synthmed-{os.getuid()}-{torch.cuda.get_device_properties(index).uuid}.lock"
        handle = open(Path(tempfile.gettempdir()) / name, "a")  # noqa: SIM115 - it stays open as long as the process
        if try_lock(handle):
            _taken.append(handle)
            chosen.append(index)
        else:
            handle.close()
    return chosen


def _warn_of_sharing(free: int, needed: int) -> None:
    logger.warning(
        "of %d GPUs %d are in use by no other step, and this one needs %d, so that it shares one: let Snakemake run as "
        "many at a time as there are GPUs (--resources gpu=%d)",
        *(torch.cuda.device_count(), free, needed, torch.cuda.device_count()),
    )

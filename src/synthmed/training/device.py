"""Where a training computes, and from which random numbers."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from synthmed.core.errors import InputError


def derived_seed(seed: int, purpose: str) -> int:
    """A seed for one purpose, so that weights, data order, noise and samples do not share their random numbers."""
    return int(np.random.SeedSequence([seed, *purpose.encode()]).generate_state(1, np.uint64)[0] >> 1)


def choose_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device to compute on; "auto" is a GPU where there is one. Raises InputError when "cuda" is asked in vain.

    On a CPU torch is set to deterministic algorithms, so that equal settings give equal bits.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("setting device is 'cuda', but torch finds no GPU here; set it to 'auto' or 'cpu'")
    device = torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")
    # The same as use_deterministic_algorithms, which would import torch's compiler: seconds of CPU in every process.
    torch.set_deterministic_debug_mode("error" if device.type == "cpu" else "default")
    # Writing NaN into every fresh tensor finds reads of uninitialised memory, which is not what is wanted here.
    torch.utils.deterministic.fill_uninitialized_memory = False
    return device

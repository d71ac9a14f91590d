"""What the benchmarks share: the line that marks the machine, params.yaml with overlays, interleaved repeats."""

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
_FAST_16_BIT = {"avx512_bf16", "amx_bf16"}


def machine() -> str:
    """Processor, cores, whether it multiplies bf16 in hardware, and the load at this moment, in one line."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        name = re.search(r"model name\s*:\s*(.+)", text)
        flags = re.search(r"flags\s*:\s*(.+)", text)
    except OSError:  # no Linux
        name = flags = None
    processor = name[1].strip() if name else platform.processor() or platform.machine()
    hardware = sorted(_FAST_16_BIT & set(flags[1].split())) if flags else []
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{processor}, {os.cpu_count()} cores, bf16 in hardware: {', '.join(hardware) or 'no'}{load}, "
        f"Python {platform.python_version()}"
    )


def merge(base: Mapping, overlay: Mapping) -> dict:
    """`overlay` over `base`, mappings recursively, everything else replaced: what `snakemake --configfile` does."""
    merged = dict(base)
    for key, value in overlay.items():
        if isinstance(value, Mapping):
            inner = base.get(key)
            merged[key] = merge(inner if isinstance(inner, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def read_params(overlay: Path | None) -> dict:
    """params.yaml, with `overlay` (a file of workflow/scales/) over it."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return params if overlay is None else merge(params, yaml.safe_load(overlay.read_text(encoding="utf-8")))


def repeated(
    contestants: Mapping[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Seconds of each contestant in every repeat, by `clock`: of the CPU unless another one is given.

    Every repeat runs all of them, beginning with another one each time, so that other load on the machine, and caches
    and clocks that change, hit all alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for repeat in range(repeats):
        start = repeat % len(names)
        for name in names[start:] + names[:start]:
            before = clock()
            contestants[name]()
            seconds[name].append(clock() - before)
    return seconds


def interleaved(
    contestants: Mapping[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """Median seconds of each contestant over the repeats (see `repeated`)."""
    return {name: statistics.median(values) for name, values in repeated(contestants, repeats, clock).items()}

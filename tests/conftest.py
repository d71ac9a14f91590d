"""One thread; disks that are full or read-only; the folder of real images."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REALDATA = Path(__file__).resolve().parents[2] / "shared" / "realdata"


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks wait for each other's threads longer than they compute: on a busy machine ten times."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _mounted(folder, options):
    """Mount a tmpfs on `folder`; skip the test where that is not allowed (not root, or a container)."""
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 128 KiB."""
    folder = tmp_path / "small"
    _mounted(folder, "size=128k")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def read_only_disk(tmp_path):
    """A folder that nobody may write to, not even root."""
    folder = tmp_path / "read_only"
    _mounted(folder, "size=16k,ro")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def realdata():
    """The folder of real images; the test is skipped where it is absent."""
    if not REALDATA.is_dir():
        pytest.skip(f"no real images in {REALDATA}")
    return REALDATA

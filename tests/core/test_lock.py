"""The lock is tried from other processes, because that is who it keeps out."""

import errno
import logging
import os
import socket
import subprocess
import sys

import pytest

from synthmed.core import lock
from synthmed.core.errors import InputError
from synthmed.core.lock import hold, try_lock

HOLD = "import sys; from synthmed.core.lock import hold; handle = hold(sys.argv[1]); print('held', flush=True); "
WAIT = "sys.stdin.read()"
LEAVE_A_CHILD = (
    "import subprocess; subprocess.Popen(['cat'], stdout=subprocess.DEVNULL); print('left', flush=True); " + WAIT
)


@pytest.fixture
def held(tmp_path):
    """Starts a process that holds the lock of tmp_path; returns it once it does."""
    children = []

    def start(then: str = WAIT) -> subprocess.Popen:
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD + then, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        children.append(child)
        assert child.stdout.readline() == "held\n"
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def test_a_second_hold_is_refused_and_names_the_process(tmp_path, held):
    child = held()
    with pytest.raises(InputError, match=f"process {child.pid} on {socket.gethostname()}.*wait until it ends") as error:
        hold(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_asking_again_in_the_same_process_is_refused_as_well(tmp_path):
    with hold(tmp_path), pytest.raises(InputError, match=f"process {os.getpid()} on"):
        hold(tmp_path)


def test_a_closed_handle_releases_the_lock(tmp_path):
    hold(tmp_path).close()
    hold(tmp_path).close()


def test_a_killed_process_leaves_no_lock(tmp_path, held):
    child = held()
    child.kill()
    child.wait()
    with hold(tmp_path):
        assert (tmp_path / ".run.lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}"


def test_what_a_killed_process_had_started_does_not_keep_the_lock(tmp_path, held):
    child = held(LEAVE_A_CHILD)  # its `cat` reads our pipe, so it lives until the pipe is closed
    assert child.stdout.readline() == "left\n"  # killed before that, it may leave a copy of itself that is not cat yet
    child.kill()
    child.wait()
    hold(tmp_path).close()


def test_one_folder_does_not_lock_another(tmp_path, held):
    held()
    hold(tmp_path / "other").close()


def flock_says(monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", flock)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said_and_the_run_goes_on(tmp_path, monkeypatch, caplog, number):
    flock_says(monkeypatch, number)
    with hold(tmp_path):
        assert (tmp_path / ".run.lock").read_text().startswith(f"process {os.getpid()}")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert ".run.lock: this file system has no locks" in caplog.text


def test_a_lock_that_nfs_refuses_is_held(tmp_path, monkeypatch):
    flock_says(monkeypatch, errno.EACCES)
    with open(tmp_path / "x", "w") as handle:
        assert not try_lock(handle)
    flock_says(monkeypatch, errno.EIO)
    with open(tmp_path / "x", "w") as handle, pytest.raises(OSError, match="Input/output"):
        try_lock(handle)


def test_a_lock_file_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "results").write_text("a file, where the folder belongs")
    with pytest.raises(InputError, match=r"results/\.run\.lock: a part of its path is a file"):
        hold(tmp_path / "results")

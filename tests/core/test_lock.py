"""The lock is tried from other processes, because that is who it keeps out."""

import os
import socket
import subprocess
import sys

import pytest

from synthmed.core.errors import InputError
from synthmed.core.lock import hold

HOLD = "import sys; from synthmed.core.lock import hold; handle = hold(sys.argv[1]); print('held', flush=True); "
WAIT = "sys.stdin.read()"
LEAVE_A_CHILD = "import subprocess; subprocess.Popen(['cat'], stdout=subprocess.DEVNULL); " + WAIT


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
    child.kill()
    child.wait()
    hold(tmp_path).close()


def test_one_folder_does_not_lock_another(tmp_path, held):
    held()
    hold(tmp_path / "other").close()

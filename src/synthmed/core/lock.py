"""One run at a time in a results folder."""

import fcntl
import os
import socket
from pathlib import Path
from typing import IO

from synthmed.core.errors import InputError


def hold(folder: str | Path) -> IO[str]:
    """Take the lock of `folder` (its file `.run.lock`) until the returned handle is closed or the process ends.

    The kernel releases it when the process dies, however it dies, so no lock is ever left behind.
    Raises InputError that says which process on which machine holds it.
    """
    path = Path(folder) / ".run.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - it stays open as long as the run
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle.seek(0)
        holder = handle.read().strip() or "another process"
        handle.close()
        raise InputError(
            f"{folder}: a run is going on there ({holder}); wait until it ends, or stop it first"
        ) from error
    handle.seek(0)
    handle.truncate()
    handle.write(f"process {os.getpid()} on {socket.gethostname()}")
    handle.flush()
    return handle

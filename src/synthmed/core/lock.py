"""One run at a time in a results folder."""

import errno
import fcntl
import logging
import os
import socket
from pathlib import Path
from typing import IO

from synthmed.core.errors import InputError
from synthmed.core.files import readable

logger = logging.getLogger(__name__)

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
"""What flock() answers where the file system has no locks: Lustre without `flock`, NFS without lockd, some FUSE."""


def try_lock(handle: IO) -> bool:
    """Lock an open file until it is closed or the process ends; False when another process holds it.

    The kernel releases it when the process dies, however it dies, so no lock is ever left behind. On a file system
    without locks nothing is locked, a warning says so, and the answer is True.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):  # the latter by NFS
            return False
        if error.errno not in _NO_LOCKS:
            raise
        logger.warning(
            "%s: this file system has no locks (%s), so two runs cannot be kept apart: start one at a time",
            *(handle.name, error.strerror),
        )
    return True


def hold(folder: str | Path) -> IO[str]:
    """Take the lock of `folder` (its file `.run.lock`) until the returned handle is closed or the process ends.

    Raises InputError that says which process on which machine holds it, or why the file cannot be written.
    """
    path = Path(folder) / ".run.lock"
    with readable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - it stays open as long as the run
    if not try_lock(handle):
        handle.seek(0)
        holder = handle.read().strip() or "another process"
        handle.close()
        raise InputError(f"{folder}: a run is going on there ({holder}); wait until it ends, or stop it first")
    with readable(path):
        handle.seek(0)
        handle.truncate()
        handle.write(f"process {os.getpid()} on {socket.gethostname()}")
        handle.flush()
    return handle

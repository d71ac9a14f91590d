"""A fork server: a process that imports the slow packages once, and forks itself for each step of a run.

A run has a thousand steps, half of which need PyTorch, and importing that takes two CPU seconds. `synthmed run` starts
a server on Linux and names it to the steps by an environment variable. A step that finds the variable hands itself
over: its arguments, folder, environment and open files. It stays as a thin process that passes signals on and ends with
the status of its twin. Without a server, or with one of another Python, a step does its work itself, which is the same
work: the twin imports this package afresh, and starts nothing by way of the server.

The idea is multiprocessing's start method `forkserver`, for processes that are started by somebody else.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

VARIABLE = "SYNTHMED_FORK_SERVER"
"""Environment variable with the address of the server, a socket's path."""
PRELOADED = (
    *("torch", "torchvision", "pandas", "scipy.stats", "scipy.ndimage", "scipy.spatial", "sklearn.metrics"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "PIL.Image", "msgspec", "jinja2"),
)
"""What the server imports: what many steps need, nothing of this package."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LENGTH = 10
"""Digits before a message, which say how long it is."""


# --------------------------------------------------------------------------------------------------------- for a run
@contextlib.contextmanager
def started(
    environment: Mapping[str, str] = os.environ, preloaded: Sequence[str] = PRELOADED
) -> Iterator[dict[str, str]]:
    """A server that has imported the modules `preloaded`, as long as the block lasts. Yields what its steps need in
    their environment; nothing where the system is not Linux: elsewhere packages that are loaded do not bear a fork."""
    if not sys.platform.startswith("linux"):
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="synthmed-") as folder, socket.socket(socket.AF_UNIX) as listener:
        address = str(Path(folder) / "socket")
        listener.bind(address)
        listener.listen(128)
        # Of a session of its own, or Ctrl-C would reach steps twice. It ends when its standard input does.
        with subprocess.Popen(
            [sys.executable, "-m", "synthmed.core.forkserver", str(listener.fileno()), *preloaded],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=dict(environment),
            pass_fds=[listener.fileno()],
            start_new_session=True,
        ):
            listener.close()
            yield {VARIABLE: address}


# -------------------------------------------------------------------------------------------------------- for a step
def hand_over(argv: Sequence[str]) -> int | None:
    """Let the server do this command. Returns its exit status (128 + its number after a signal), as a shell does; None
    where there is no server for it."""
    address = os.environ.get(VARIABLE)
    if not address:
        return None
    request = {
        "prefix": sys.prefix,
        "argv": list(argv),
        "path": sys.path,
        "folder": os.getcwd(),
        "environment": dict(os.environ),
    }
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(address)
            content = json.dumps(request).encode()
            socket.send_fds(server, [f"{len(content):{_LENGTH}d}".encode()], [0, 1, 2])
            server.sendall(content)
            twin = _receive(server)
        except OSError:  # it has ended, or has not begun
            return None
        if not twin:
            return None
        for number in FORWARDED:
            signal.signal(number, lambda number, _frame: _send(twin, number))
        status = _receive(server)
        if status is None:  # the server was killed
            _send(twin, signal.SIGKILL)
            return 128 + signal.SIGKILL
        return status if status >= 0 else 128 - status


def _send(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _receive(connection: socket.socket) -> int | None:
    """A number of the server's; None when it is gone."""
    said = b""
    while len(said) < _LENGTH:
        more = connection.recv(_LENGTH - len(said))
        if not more:
            return None
        said += more
    return int(said)


def _answer(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # who asked is gone
        connection.sendall(f"{number:{_LENGTH}d}".encode())


# -------------------------------------------------------------------------------------------------------- the server
def serve(listener: socket.socket) -> dict | None:
    """Fork for every request until standard input ends and the last twin with it. Returns the request in a twin, None
    in the server when it has nothing more to do."""
    gc.freeze()  # or a twin's collector would touch, and so copy, every page of theirs
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    twins: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as ready, listener:
        for source in (listener, woken, sys.stdin.buffer):
            ready.register(source, selectors.EVENT_READ)
        open_ended = True
        while open_ended or twins:
            for key, _ in ready.select():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    request, files = _request(connection)
                    if request is None:
                        connection.close()
                        continue
                    if not (twin := _fork()):
                        signal.set_wakeup_fd(-1)
                        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                        for place, file in enumerate(files):
                            os.dup2(file, place)
                            os.close(file)
                        for other in (connection, woken, wakes, *twins.values()):
                            other.close()
                        return request
                    for file in files:
                        os.close(file)
                    twins[twin] = connection
                    ready.register(connection, selectors.EVENT_READ, twin)
                    _answer(connection, twin)
                elif key.fileobj is woken:
                    woken.recv(1024)
                    for twin, status in _ended():
                        if connection := twins.pop(twin, None):
                            with contextlib.suppress(KeyError):
                                ready.unregister(connection)
                            _answer(connection, os.waitstatus_to_exitcode(status))
                            connection.close()
                elif key.fileobj is sys.stdin.buffer:  # the run has ended
                    ready.unregister(sys.stdin.buffer)
                    ready.unregister(listener)
                    listener.close()
                    open_ended = False
                elif twins.get(key.data) is key.fileobj:  # who asked was killed
                    ready.unregister(key.fileobj)
                    _send(key.data, signal.SIGKILL)
    return None


def _fork() -> int:
    """As os.fork, whose warning of threads is about OpenBLAS's, which it stops before a fork and starts again after."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _request(connection: socket.socket) -> tuple[dict | None, list[int]]:
    """What is asked, and the three files; None when it is for another Python, or who asks is gone."""
    length, files, _, _ = socket.recv_fds(connection, _LENGTH, 3)
    content = b""
    while length and len(content) < int(length):
        more = connection.recv(int(length) - len(content))
        if not more:
            break
        content += more
    if not length or len(content) < int(length) or (request := json.loads(content))["prefix"] != sys.prefix:
        _answer(connection, 0)
        for file in files:
            os.close(file)
        return None, []
    return request, files


def _ended() -> Iterator[tuple[int, int]]:
    while True:
        try:
            twin, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not twin:
            return
        yield twin, status


def _limit_threads(count: str) -> None:
    """Let the libraries that the server loaded compute with as many threads as they would have found in the variable
    OMP_NUM_THREADS, which Snakemake sets for each step."""
    if count.isdecimal() and int(count):
        if "numpy" in sys.modules:
            from threadpoolctl import threadpool_limits

            threadpool_limits(int(count))
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(int(count))


def _become(request: dict) -> NoReturn:
    """Be the process that asked: its folder, environment and arguments, with this package's code as it is now."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    del os.environ[VARIABLE]
    _limit_threads(os.environ.get("OMP_NUM_THREADS", ""))
    sys.path[:] = request["path"]
    sys.argv = ["synthmed", *request["argv"]]
    for name in [name for name in sys.modules if name.partition(".")[0] == "synthmed"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    status: object = 0
    try:
        runpy.run_module("synthmed", run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    except BaseException:  # as Python does at its own end
        traceback.print_exc()
        status = 1
    # Not by Python's own end, which takes every module apart: 1.7 CPU seconds. multiprocessing's processes end so, too.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    for module in sys.argv[2:]:
        importlib.import_module(module)
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    if asked is not None:
        _become(asked)

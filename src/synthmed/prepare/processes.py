"""The work of a preparation spread over processes, each with its own reader; a crash costs one file."""

import logging
import multiprocessing
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from synthmed.core.errors import InputError
from synthmed.core.files import refuse_failed_disk
from synthmed.data import sources
from synthmed.prepare.rejected import Rejected

T = TypeVar("T")

_worker: dict = {}
"""Of a worker process: what it does with an image, and its own reader, because two must not share an open file."""


def _start_worker(source: str, raw: Sequence[Path], work: Callable) -> None:
    # Warnings of pydicom and its decoders quote values of tags; what is wrong with a file stands in the rejects.
    warnings.simplefilter("ignore")
    for name in ("pydicom", "pylibjpeg", "libjpeg", "openjpeg", "rle", "nibabel"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    stack = ExitStack()
    images = stack.enter_context(sources.load(source).read(raw))
    _worker.update(images=images, work=work, stack=stack, raw=raw)


def _work(number: int) -> object:
    try:
        return _worker["work"](_worker["images"][number])
    except Rejected as error:
        return type(error)(str(error))  # without its cause, which may not travel between processes
    except (InputError, MemoryError):
        raise
    except Exception as error:  # of a file that nobody has thought of; its text may quote tags
        refuse_failed_disk(error, _worker["raw"][0].parent)  # the name of the file itself may be somebody's
        return Rejected(f"damaged: it cannot be read ({type(error).__name__})")


def in_processes(
    work: Callable[[object], T], numbers: Sequence[int], source: str, raw: Sequence[Path], workers: int
) -> Iterator[T | Rejected]:
    """What becomes of the source's images `numbers`, in this order; at most 2·workers wait, to bound memory.

    A file that crashes its process (decoders are C and C++) is rejected like any other; the run goes on. Raises
    InputError where a process is killed even alone, as a system does that has no memory left.
    """

    # Where it is safe, forked: a new Python would first import pydicom and four decoders, for more than half a second.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)

    def start(workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(source, raw, work))

    todo, waiting = deque(numbers), deque()
    pool = start(workers)
    try:
        while todo or waiting:
            try:
                while todo and len(waiting) < 2 * workers:
                    waiting.append((todo[0], pool.submit(_work, todo[0])))
                    todo.popleft()
                result = waiting[0][1].result()
                waiting.popleft()
            except BrokenProcessPool:
                # One of those that wait did it; nobody knows which. So each goes again, in a process of its own.
                pool.shutdown()
                suspects = [number for number, _ in waiting]
                waiting.clear()
                for number in suspects:
                    yield _alone(start(1), number)
                pool = start(workers)
            else:
                yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _alone(pool: ProcessPoolExecutor, number: int) -> object:
    with pool:
        try:
            waiting = pool.submit(_work, number)
            (process,) = pool._processes.values()
            return waiting.result()
        except BrokenProcessPool as error:
            process.join()
            if process.exitcode == -signal.SIGKILL:
                raise InputError(
                    "a process that read one file was killed, probably for lack of memory; lower prepare.workers, or "
                    "take a larger machine"
                ) from error
            return Rejected("its decoder crashed")

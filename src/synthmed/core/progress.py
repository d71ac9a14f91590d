"""Progress of a long loop: a bar on a terminal, a line every ten seconds in a log file."""

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

logger = logging.getLogger(__name__)

LOG_EVERY = 10.0
"""Seconds between two lines in the log."""


class Progress:
    """Count the units of a loop. Use it as a context manager and call `add`.

    what: the words in front of the count; total: units in all, or None when unknown; start: units done before (a
    resumed download); unit: "image", "B" for bytes.
    """

    def __init__(self, what: str, total: int | None, unit: str, start: int = 0):
        self.what, self.total, self.unit, self.done = what, total, unit, start
        self._logged = time.monotonic()
        self._bar = tqdm(
            desc=what,
            total=total,
            initial=start,
            unit=unit,
            unit_scale=unit == "B",
            disable=not sys.stderr.isatty(),
            leave=False,
        )

    def add(self, count: int) -> None:
        """`count` more units are done."""
        self.done += count
        self._bar.update(count)
        if self._bar.disable and time.monotonic() - self._logged >= LOG_EVERY:
            self._logged = time.monotonic()
            logger.info("%s: %s", self.what, self._state())

    def _state(self) -> str:
        if self.unit == "B":
            done, total = f"{self.done / 1e6:.1f}", None if self.total is None else f"{self.total / 1e6:.1f}"
            return f"{done} MB" if total is None else f"{done} of {total} MB"
        return f"{self.done} {self.unit}s" if self.total is None else f"{self.done} of {self.total} {self.unit}s"

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()

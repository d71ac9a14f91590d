"""The training loop."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from synthmed.training import distributed

logger = logging.getLogger(__name__)


@contextmanager
def progress_bar(done: int, total: int) -> Iterator[tqdm]:
    """A bar on stderr when it is a terminal, with log lines above it; otherwise a bar that shows nothing."""
    shown = sys.stderr.isatty() and distributed.rank() == 0
    with tqdm(initial=done, total=total, unit="step", disable=not shown) as bar:
        if bar.disable:
            yield bar
        else:
            with logging_redirect_tqdm():
                yield bar

"""The history of a training: its losses and what was measured, and the signs that it goes wrong."""

import logging
import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthmed.core.errors import InputError
from synthmed.core.files import write_csv
from synthmed.training import distributed

logger = logging.getLogger(__name__)

SURGE = 10.0
"""A loss that exceeds this many times the median of its last ten rows (and 1) is warned about."""


class TrainingError(InputError):
    """The training went wrong: a number is not finite, or the generator collapsed. Says at which step and what to
    try."""


def _check_finite(step: int, kind: str, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"training step {step}: the {kind} {name!r} is {value}. The networks diverged; try a lower learning "
                "rate, precision fp32 instead of bf16, or a larger batch, and start again"
            )


class History:
    """Rows by step: every log_every steps the mean losses since the row before, and whatever was measured.

    path: of the CSV that `write` writes; None: none is written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        self.names: list[str] = []
        """Of what was measured, in the order in which it came."""
        self.pending: list[tuple[int, Mapping[str, Tensor]]] = []
        self.since: list[dict[str, float]] = []

    def add(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Note the losses of one step, as tensors: nothing waits for the device."""
        self.pending.append((step, losses))

    def check(self) -> None:
        """Bring the pending losses to the CPU, all at once. Raises TrainingError at the first that is not finite."""
        if not self.pending:
            return
        names = list(self.pending[0][1])
        values = torch.stack([torch.stack([losses[name].float() for name in names]) for _, losses in self.pending])
        for (step, _), row in zip(self.pending, values.tolist(), strict=True):
            losses = dict(zip(names, row, strict=True))
            _check_finite(step, "loss", losses)
            self.since.append(losses)
        self.pending = []

    def close_row(self, step: int) -> dict[str, float]:
        """Make the row of `step` from the checked losses since the last row, warn when one surges, return the means."""
        names = list(self.since[0])
        means = {name: math.fsum(losses[name] for losses in self.since) / len(self.since) for name in names}
        self.since = []
        for name, value in means.items():
            before = [abs(row[name]) for row in self.rows[-10:] if name in row]
            if len(before) >= 3 and abs(value) > max(1.0, SURGE * statistics.median(before)):
                logger.warning(
                    f"step {step}: the loss {name} rose to {value:.3g}, more than {SURGE:g} times its recent median; "
                    "the training may be diverging"
                )
        self._row(step).update(means)
        return means

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        """Note what was measured after `step`. Raises TrainingError when it is not finite."""
        _check_finite(step, "measured", values)
        self.names += [name for name in values if name not in self.names]
        if values:
            self._row(step).update(values)

    def _row(self, step: int) -> dict[str, float]:
        if not self.rows or self.rows[-1]["step"] != step:
            self.rows.append({"step": step})
        return self.rows[-1]

    def write(self) -> None:
        """CSV: step, the losses, what was measured. No times in it, so that equal trainings give equal files. Of
        several ranks, rank 0 writes."""
        if self.path is None or distributed.rank() > 0:
            return
        losses = dict.fromkeys(name for row in self.rows for name in row if name not in self.names)
        write_csv(self.path, self.rows, [*losses, *self.names])

    def state(self) -> dict[str, Any]:
        """To be called after check()."""
        return {"rows": self.rows, "names": self.names, "since": self.since}

    def load_state(self, state: dict[str, Any]) -> None:
        self.rows, self.names, self.since = state["rows"], state["names"], state["since"]

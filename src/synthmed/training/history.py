"""The history of the losses of a training, and the signs that it goes wrong."""

import logging
import math
import statistics
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthmed.core.errors import InputError
from synthmed.core.files import write_csv

logger = logging.getLogger(__name__)

SURGE = 10.0
"""A loss that exceeds this many times the median of its last ten rows (and 1) is warned about."""


class TrainingError(InputError):
    """The training went wrong: a loss is not finite, or the generator collapsed. Says at which step and what to try."""


class History:
    """Losses and diversity by step: one row every log_every steps, with the mean losses since the row before."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.pending: list[tuple[int, dict[str, Tensor]]] = []
        self.since: list[dict[str, float]] = []

    def add(self, step: int, losses: dict[str, Tensor]) -> None:
        """Note the losses of one step, as tensors: nothing waits for the device."""
        self.pending.append((step, losses))

    def check(self) -> None:
        """Bring the pending losses to the CPU, all at once. Raises TrainingError at the first that is not finite."""
        if not self.pending:
            return
        names = list(self.pending[0][1])
        values = torch.stack([torch.stack([losses[name].float() for name in names]) for _, losses in self.pending])
        for (step, _), row in zip(self.pending, values.tolist(), strict=True):
            for name, value in zip(names, row, strict=True):
                if not math.isfinite(value):
                    raise TrainingError(
                        f"training step {step}: the loss {name!r} is {value}. The networks diverged; try a lower "
                        "learning rate, precision fp32 instead of bf16, or a larger batch, and start again"
                    )
            self.since.append(dict(zip(names, row, strict=True)))
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

    def set_diversity(self, step: int, value: float) -> None:
        self._row(step)["diversity"] = value

    def _row(self, step: int) -> dict[str, float]:
        if not self.rows or self.rows[-1]["step"] != step:
            self.rows.append({"step": step})
        return self.rows[-1]

    def write(self, path: Path) -> None:
        """CSV: step, the losses, diversity. No times in it, so that equal trainings give equal files."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        write_csv(path, self.rows, [*(name for name in names if name != "diversity"), "diversity"])

    def state(self) -> dict[str, Any]:
        """To be called after check()."""
        return {"rows": self.rows, "since": self.since}

    def load_state(self, state: dict[str, Any]) -> None:
        self.rows, self.since = state["rows"], state["since"]

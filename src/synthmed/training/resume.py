"""Stop and continue: the resume state beside an output, and signals that wait for the step in progress."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthmed.core.errors import InputError
from synthmed.training import checkpoint as checkpoints
from synthmed.training import distributed


def random_state() -> dict[str, Tensor]:
    """Torch's global random numbers, of the CPU and of the GPU where there is one."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Tensor]) -> None:
    """Restore what random_state returned."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


class ResumeState:
    """Everything a training needs to go on, in `<output stem>.resume.pt` beside its output.

    It is no declared output, because Snakemake deletes the declared outputs of a job that failed or was killed.
    """

    def __init__(self, output: Path, made_from: Mapping[str, Any]):
        """made_from: settings, and hashes of inputs and code (provenance.code_hashes), as plain values; a state made
        from others is refused."""
        self.path = Path(output).with_name(f"{Path(output).stem}.resume.pt")
        self.made_from = checkpoints.plain(made_from)
        self.finished: list[Any] = []
        """Results of the trainings that are done, where a step makes several one after another; known after load()."""

    def save(self, state: Any) -> None:
        """Write `state` (tensors, numbers, texts, dicts, lists) atomically. Of several ranks, rank 0 does."""
        if distributed.rank() > 0:
            return
        checkpoints.write_torch(self.path, {"made_from": self.made_from, "finished": self.finished, "state": state})

    def finish(self, result: Any) -> None:
        """One training is done: keep its result, and begin the next one anew."""
        self.finished.append(result)
        self.save(None)

    def load(self) -> Any | None:
        """What `save` was given; None where there is nothing to go on from.

        Raises InputError when the file is corrupt or comes from other settings, inputs or code.
        """
        distributed.collect(None)  # no rank goes on before rank 0 has written what an earlier call saved
        if distributed.rank() == 0:
            for leftover in self.path.parent.glob(f".{self.path.stem}.*.part.pt"):  # of a process killed while it wrote
                leftover.unlink(missing_ok=True)
        if not self.path.exists():
            return None
        remedy = "delete it to begin anew"
        content = checkpoints.read_torch(self.path, remedy)
        if not isinstance(content, dict) or set(content) != {"made_from", "finished", "state"}:
            raise InputError(f"{self.path}: no resume state; {remedy}")
        if differing := checkpoints.differences(content["made_from"], self.made_from):
            raise InputError(
                f"{self.path}: the interrupted run had other settings, inputs or code ({'; '.join(differing)}); set "
                f"them back to continue it, or {remedy}"
            )
        self.finished = content["finished"]
        return content["state"]

    def remove(self) -> None:
        """The training is finished and its outputs are written."""
        self.path.unlink(missing_ok=True)


@contextmanager
def catch_interruption() -> Iterator[Callable[[], bool]]:
    """Within the block SIGINT and SIGTERM only set a mark, which the yielded function reads, so that the step in
    progress is finished and saved; a second signal interrupts at once. Outside the main thread signals stay as they
    are. With several ranks a second signal does nothing: torchrun passes on the one that its children already got, and
    kills what does not end in time."""
    marks: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def mark(number: int, frame: object) -> None:
        if marks and distributed.size() == 1:
            raise KeyboardInterrupt("interrupted at once, without saving the step in progress")
        marks.append(number)
        # Not the logger: the signal may have come while it was writing.
        os.write(2, b"finishing and saving the step in progress; a second signal stops at once\n")

    before = {number: signal.signal(number, mark) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(marks)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

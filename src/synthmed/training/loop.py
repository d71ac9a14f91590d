"""The one training loop: step, log, check, save, resume. It knows no particular model, and no image set.

Where the settings ask for several processes, each works on its part of every batch (distributed.py): gradients and
losses are averaged, rank 0 writes. All other settings stay those of the whole training.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import torch
from msgspec import Meta
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from synthmed.core.errors import InputError
from synthmed.core.progress import LOG_EVERY
from synthmed.core.settings import Count, Device, Threads, TrainingPrecision
from synthmed.training import distributed
from synthmed.training.device import choose_device, computed_precision, device_type
from synthmed.training.history import History
from synthmed.training.resume import ResumeState, catch_interruption, random_state, set_random_state

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopOptions:
    """What every training has: how a step is computed, by whom, and how often its state is saved."""

    batch_size: Annotated[Count, Meta(description="Images of a micro-batch.")]
    accumulate: Annotated[Count, Meta(description="Micro-batches of an optimiser step.")]
    precision: TrainingPrecision
    channels_last: Annotated[bool, Meta(description="Memory format; faster on most machines.")]
    threads: Threads
    processes: Annotated[
        Count,
        Meta(
            description="Processes that train together, started by torchrun, each on a GPU of its own or, on CPUs, on "
            "its own threads; batch sizes must be multiples of it. Results depend on it in the last digits."
        ),
    ]
    save_every: Annotated[Count, Meta(description="Steps between resume states.")]
    device: Device

    @property
    def computed(self) -> dict[str, str]:
        """What `auto` means on this machine; an interrupted training goes on only where it means the same."""
        return {"precision": computed_precision(self.precision, device_type(self.device))}

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format


class Trainable(Protocol):
    """What the loop trains: a generator, a classifier, an encoder, …"""

    step: int
    """Finished steps; the loop counts."""

    def train_step(self, batches: Sequence[Any]) -> Mapping[str, Tensor]:
        """One step of every optimiser. batches: micro-batches. Returns the losses as scalar tensors without gradient,
        averaged over micro-batches and ranks; always of the same names."""

    def training_state(self) -> dict[str, Any]:
        """Everything that a step changes, as tensors, numbers, texts, dicts and lists."""

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Load what training_state returned."""


class Stateful(Protocol):
    """A part of a training that is not the model, the same in every rank: the order of the images, the samples."""

    def state(self) -> Any: ...

    def load_state(self, state: Any) -> None: ...


@dataclass(frozen=True)
class Check:
    """A measurement every `every` steps and after the last one. measure(step) → numbers for the history's row of that
    step, the same in every rank, or none; one that is not finite ends the training."""

    every: int
    measure: Callable[[int], Mapping[str, float]]


@contextmanager
def workers(settings: LoopOptions) -> Iterator[torch.device]:
    """Within the block this process is one of `settings.processes` that train together.

    Yields the device. After the block only rank 0 goes on; the others end with SystemExit(0), because nothing is left
    for them to do or to record. Raises InputError when other than so many were started, or cannot share a batch.
    """
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    with distributed.ranks(device):
        if distributed.size() != settings.processes:
            raise InputError(
                f"setting processes is {settings.processes}, but {distributed.size()} work on this training; "
                "`synthmed` starts as many as it says when it is called with the verb of the step"
            )
        if settings.batch_size % settings.processes:
            raise InputError(
                f"setting batch_size is {settings.batch_size}, which {settings.processes} processes cannot share "
                "equally; set a multiple of their number"
            )
        yield device
        first = distributed.rank() == 0
    if not first:
        raise SystemExit(0)


def fit(
    model: Trainable,
    next_batches: Callable[[], Sequence[Any]],
    *,
    name: str,
    steps: int,
    log_every: int,
    save_every: int,
    history: History,
    resume: ResumeState,
    device: torch.device,
    parts: Mapping[str, Stateful] | None = None,
    checks: Sequence[Check] = (),
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Train `model` until it has made `steps` steps, or has had `enough`.

    next_batches: the micro-batches of a step, each with the field `images` (this rank's rows). name: of the training,
    for the log. log_every, save_every: steps between rows of the history, and between resume states. parts: what else
    belongs to the state, by name. enough: whether to end early, asked before each step; it may depend on nothing but
    the model and the parts (for example: no better validation for so many checks).

    Begins where `resume` says, and saves everything there: after an interruption of any kind the same call goes on, on
    a CPU bit for bit as if nothing had happened. Removing it is the caller's, when the results are written.

    Raises TrainingError on losses or measurements that are not finite, and KeyboardInterrupt (message: how to continue)
    after SIGINT or SIGTERM, when the step in progress is finished and saved.
    """
    stateful: dict[str, Stateful] = {"history": history, **(parts or {})}
    _continue(model, stateful, resume)
    with catch_interruption() as interrupted, _Progress(name, model.step, steps) as progress:
        while model.step < steps and not enough():
            batches = next_batches()
            losses = model.train_step(batches)
            model.step = step = model.step + 1
            history.add(step, losses)
            progress.add(distributed.size() * sum(len(batch.images) for batch in batches))
            for check in checks:
                if step % check.every == 0 or step == steps:
                    history.check()
                    history.measured(step, check.measure(step))
            last = step == steps or enough()
            if step % log_every == 0 or last:
                history.check()
                progress.say(history.close_row(step), last)
            stop = distributed.any_rank(interrupted(), device)
            if stop or (step % save_every == 0 and not last):
                history.check()
                _save(model, stateful, resume)
                history.write()
            if stop:
                raise KeyboardInterrupt(
                    f"{name}: training stopped after step {step} of {steps}; run the same command again to continue"
                )


def _save(model: Trainable, parts: Mapping[str, Stateful], resume: ResumeState) -> None:
    # All is the same in every rank, but torch's own random numbers (dropout).
    rngs = distributed.collect(random_state())
    resume.save({"rngs": rngs, "model": model.training_state(), **{name: part.state() for name, part in parts.items()}})
    logger.info(f"saved the resume state of step {model.step}")


def _continue(model: Trainable, parts: Mapping[str, Stateful], resume: ResumeState) -> None:
    state = resume.load()
    if state is None:
        return
    model.load_training_state(state["model"])
    for name, part in parts.items():
        part.load_state(state[name])
    set_random_state(state["rngs"][distributed.rank()])
    logger.info(f"continuing {resume.path} after step {model.step}")


class _Progress:
    """The progress of one training: a bar on stderr when it is a terminal, with log lines above it, and lines in the
    log with the losses, the images a second since the line before and the time left."""

    def __init__(self, name: str, done: int, total: int):
        self.name, self.done, self.total = name, done, total
        shown = sys.stderr.isatty() and distributed.rank() == 0
        self.bar = tqdm(desc=name, initial=done, total=total, unit="step", disable=not shown)
        self.redirection = logging_redirect_tqdm() if shown else None
        self.since, self.since_step, self.images = time.perf_counter(), done, 0
        self.said = False

    def add(self, images: int) -> None:
        """One more step is done, on so many images."""
        self.done += 1
        self.images += images
        self.bar.update()

    def say(self, losses: Mapping[str, float], last: bool) -> None:
        """A line in the log: the first, the last, and between them one every LOG_EVERY seconds."""
        seconds = time.perf_counter() - self.since
        if self.said and not last and seconds < LOG_EVERY:
            return
        left = tqdm.format_interval((self.total - self.done) * seconds / (self.done - self.since_step))
        values = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        rate = f"{self.images / seconds:.1f} images/s"
        logger.info(f"{self.name}  step {self.done}/{self.total}  {rate}  {left} left  {values}")
        self.since, self.since_step, self.images = time.perf_counter(), self.done, 0
        self.said = True

    def __enter__(self) -> "_Progress":
        if self.redirection:
            self.redirection.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.redirection:
            self.redirection.__exit__(*error)
        self.bar.close()

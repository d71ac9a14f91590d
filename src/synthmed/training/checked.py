"""Networks under test: several seeds of one network, each checked every few steps, the weights of its best check kept.

The budget is in steps, not in epochs, so that no arm is trained longer because it has more images.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor, nn

from synthmed.core.errors import InputError
from synthmed.core.settings import Count
from synthmed.training import checkpoint as checkpoints
from synthmed.training import distributed
from synthmed.training.device import derived_seed
from synthmed.training.history import History
from synthmed.training.loop import Check, LoopOptions, fit, workers
from synthmed.training.optimizer import Adam, half_cosine, minimise
from synthmed.training.resume import ResumeState

LATE = 0.9
"""Share of the steps; see `budget_limited`."""
AT_ONCE = 16 * 64 * 64
"""Pixels of the validation images that are measured at once, if batch_size are no more. Results depend on it in the
last digits."""


def budget_limited(best_steps: Sequence[int], steps: int) -> bool:
    """Whether in most seeds the best check came so late that a longer training might have gone on to gain.

    best_steps: of each seed; steps: of a whole training.
    """
    return bool(np.mean(np.asarray(best_steps) > LATE * steps) > 0.5)


@dataclass(frozen=True)
class CheckedOptions(LoopOptions):
    """Settings that every such training has, besides those of the loop."""

    seeds: Annotated[Count, Meta(description="Trainings; the three steps need 2 or more.")]
    steps: Annotated[Count, Meta(description="Optimiser steps of a training, the same for every arm.")]
    check_every: Annotated[Count, Meta(description="Steps between measurements of the validation images.")]
    schedule: Annotated[
        Literal["constant", "cosine"], Meta(description="cosine: the learning rate falls to 0 over the training.")
    ]

    def __post_init__(self) -> None:
        if self.check_every > self.steps:
            raise InputError(f"setting check_every is {self.check_every}, more than the {self.steps} of `steps`")


class Measured(NamedTuple):
    """What a check found: numbers for the history; rank, the lowest is kept; and what is kept of the best."""

    numbers: dict[str, float]
    rank: tuple[float, ...]
    kept: dict[str, Any]


class CheckedTraining(ABC):
    """The training of one seed, for training.loop.fit: the network, its batches, and the best check so far.

    A subclass says what a batch is, what is minimised and what a check measures.
    """

    def __init__(
        self,
        settings: CheckedOptions,
        number: int,
        images: int,
        network: Callable[[], nn.Module],
        learning_rate: float,
        device: torch.device,
        patience: int | None = None,
    ):
        """settings: with a `seed`; number: of this seed; images: how many are shown in turn, in a new order each time;
        network: makes one with weights from torch's global random numbers; patience: checks without a better one after
        which it ends, None: never."""
        self.settings, self.number, self.images, self.device = settings, number, images, device
        self.learning_rate, self.patience = learning_rate, patience
        torch.manual_seed(derived_seed(settings.seed, f"weights {number}"))
        self.model = network()
        distributed.synchronise_batch_norm(self.model)
        self.model.to(device=device, memory_format=settings.memory_format)
        self.optimizer = Adam(self.model.parameters(), learning_rate)
        self.rng = torch.Generator().manual_seed(derived_seed(settings.seed, f"order {number}"))
        torch.manual_seed(derived_seed(settings.seed, f"dropout {number}") + distributed.rank())
        self.per_step = settings.batch_size * settings.accumulate
        self.step = 0
        self.left = torch.zeros(0, dtype=torch.int64)
        """Images that were not yet shown in this turn."""
        self.best: dict[str, Any] | None = None

    @abstractmethod
    def batch(self, chosen: Tensor) -> Any:
        """The augmented images at the positions `chosen`, of which this rank gets its rows; with a field `images`."""

    @abstractmethod
    def losses(self, batch: Any) -> Mapping[str, Tensor]:
        """Named losses of a batch, which are added up."""

    @abstractmethod
    def measure(self, step: int) -> Measured:
        """What the weights after `step` are worth on the validation part, the same in every rank."""

    def next_batches(self) -> list[Any]:
        if len(self.left) < self.per_step:
            self.left = torch.randperm(self.images, generator=self.rng)
        chosen, self.left = self.left[: self.per_step], self.left[self.per_step :]
        return [self.batch(part) for part in chosen.split(self.settings.batch_size)]

    def train_step(self, batches: Sequence[Any]) -> dict[str, Tensor]:
        """One step of Adam."""
        if self.settings.schedule == "cosine":
            rate = half_cosine(self.learning_rate, self.step, self.settings.steps)
            self.optimizer.param_groups[0]["lr"] = rate
        self.model.train()
        return minimise(self.optimizer, self.losses, batches)

    def validate(self, step: int) -> dict[str, float]:
        """Measure, and keep the weights when they are the best so far."""
        found = self.measure(step)
        if self.best is None or found.rank < tuple(self.best["rank"]):
            self.best = {"step": step, "rank": list(found.rank)} | found.kept
            self.best |= {"state": checkpoints.weights_of(self.model)}
        return {"learning_rate": self.optimizer.param_groups[0]["lr"], **found.numbers}

    def enough(self) -> bool:
        """Whether so many checks were no better that it ends."""
        if self.patience is None or self.best is None:
            return False
        return self.step - self.best["step"] >= self.patience * self.settings.check_every

    def validation_batches(self, images: Tensor) -> list[Tensor]:
        """Positions of those validation images (N, C, H, W) that are this rank's, in batches; `together` joins what is
        made of them."""
        count = max(self.settings.batch_size, AT_ONCE // images[0, 0].numel())
        return list(torch.arange(len(images)).split(count))[distributed.rank() :: distributed.size()]

    @staticmethod
    def together(found: Sequence[Tensor]) -> Tensor:
        """What all ranks made of their validation_batches, in the order of the images."""
        by_rank = distributed.collect(list(found))
        total = sum(map(len, by_rank))
        return torch.cat([by_rank[number % len(by_rank)][number // len(by_rank)] for number in range(total)])

    def training_state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.get_state(),
            "step": self.step,
            "left": self.left,
            "best": self.best,
        }

    def load_training_state(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.set_state(state["rng"])
        self.step, self.left, self.best = state["step"], state["left"], state["best"]

    def fit(self, resume: ResumeState) -> History:
        """Train, from where `resume` says."""
        history = History()
        fit(
            self,
            self.next_batches,
            name=f"seed {self.number + 1} of {self.settings.seeds}",
            steps=self.settings.steps,
            log_every=self.settings.check_every,
            save_every=self.settings.save_every,
            history=history,
            resume=resume,
            device=self.device,
            checks=[Check(self.settings.check_every, self.validate)],
            enough=self.enough,
        )
        return history

    @staticmethod
    def checks(history: History) -> list[dict[str, float]]:
        """Rows of the report, one a check: step, learning rate, the training's loss, what was measured."""
        return [
            {name if name in ("step", *history.names) else f"train_{name}": value for name, value in row.items()}
            for row in history.rows
        ]


def train_seeds(
    settings: CheckedOptions,
    output: Path,
    made_from: Mapping[str, Any],
    training: Callable[[int, torch.device], CheckedTraining],
    result: Callable[[CheckedTraining, History], dict[str, Any]],
    count: int | None = None,
) -> tuple[list[dict[str, Any]], ResumeState]:
    """The result of every seed, one after the other; and the resume state, to be removed when outputs are written.

    made_from: see ResumeState; training: of a seed by its number; count: of trainings, None: settings.seeds. Only
    rank 0 returns.
    """
    with workers(settings) as device:
        resume = ResumeState(Path(output), {**made_from, "computed": settings.computed})
        resume.load()
        for number in range(len(resume.finished), count or settings.seeds):
            one = training(number, device)
            resume.finish(result(one, one.fit(resume)))
            del one  # and its images, before those of the next are read
    return resume.finished, resume

"""Networks under test: several seeds of one network, each trained over the epochs of a set, its best epoch kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from synthmed.training import checkpoint as checkpoints
from synthmed.training import distributed
from synthmed.training.device import derived_seed
from synthmed.training.history import History
from synthmed.training.loop import Check, fit, workers
from synthmed.training.optimizer import Adam, half_cosine, minimise
from synthmed.training.resume import ResumeState


class EpochSettings(Protocol):
    """Settings that every such training has, besides those of the loop."""

    batch_size: int
    accumulate: int
    memory_format: torch.memory_format
    seed: int
    seeds: int
    epochs: int
    schedule: str
    save_every: int


class Measured(NamedTuple):
    """What an epoch is worth: numbers for the history; rank, the lowest is kept; and what is kept of the best."""

    numbers: dict[str, float]
    rank: tuple[float, ...]
    kept: dict[str, Any]


class EpochTraining(ABC):
    """The training of one seed, for training.loop.fit: the network, its batches, and the best epoch so far.

    A subclass says what a batch is, what is minimised and what an epoch is worth.
    """

    def __init__(
        self,
        settings: EpochSettings,
        number: int,
        images: int,
        network: Callable[[], nn.Module],
        learning_rate: float,
        device: torch.device,
        patience: int | None = None,
    ):
        """number: of the seed; images: how many an epoch shows, in a new order each; network: makes one with weights
        from torch's global random numbers; patience: epochs without a better one after which it ends, None: never."""
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
        self.steps_per_epoch = images // self.per_step
        self.steps = settings.epochs * self.steps_per_epoch
        self.step = 0
        self.left = torch.zeros(0, dtype=torch.int64)
        """Of the images of this epoch those that were not yet shown."""
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
        if self.step % self.steps_per_epoch == 0:
            self.left = torch.randperm(self.images, generator=self.rng)
        chosen, self.left = self.left[: self.per_step], self.left[self.per_step :]
        return [self.batch(part) for part in chosen.split(self.settings.batch_size)]

    def train_step(self, batches: Sequence[Any]) -> dict[str, Tensor]:
        """One step of Adam."""
        if self.settings.schedule == "cosine":
            rate = half_cosine(self.learning_rate, self.step, self.steps)
            self.optimizer.param_groups[0]["lr"] = rate
        self.model.train()
        return minimise(self.optimizer, self.losses, batches)

    def validate(self, step: int) -> dict[str, float]:
        """Measure, and keep the weights when they are the best so far."""
        found = self.measure(step)
        if self.best is None or found.rank < tuple(self.best["rank"]):
            self.best = {"epoch": step // self.steps_per_epoch, "rank": list(found.rank)} | found.kept
            self.best |= {"state": checkpoints.weights_of(self.model)}
        return {"learning_rate": self.optimizer.param_groups[0]["lr"], **found.numbers}

    def enough(self) -> bool:
        """Whether so many epochs were no better that it ends."""
        if self.patience is None or self.best is None:
            return False
        return self.step // self.steps_per_epoch - self.best["epoch"] >= self.patience

    def validation_batches(self, images: int) -> list[Tensor]:
        """Positions of the validation images of this rank, in batches; `together` joins what is made of them."""
        return list(torch.arange(images).split(self.settings.batch_size))[distributed.rank() :: distributed.size()]

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
            steps=self.steps,
            log_every=self.steps_per_epoch,
            save_every=self.settings.save_every * self.steps_per_epoch,
            history=history,
            resume=resume,
            device=self.device,
            checks=[Check(self.steps_per_epoch, self.validate)],
            enough=self.enough,
        )
        return history

    def epochs(self, history: History) -> list[dict[str, float]]:
        """Rows of the report, one an epoch: learning rate, the training's loss, what was measured."""
        return [
            {"epoch": row["step"] // self.steps_per_epoch}
            | {name if name in history.names else f"train_{name}": row[name] for name in row if name != "step"}
            for row in history.rows
        ]


def train_seeds(
    settings: EpochSettings,
    output: Path,
    made_from: Mapping[str, Any],
    training: Callable[[int, torch.device], EpochTraining],
    result: Callable[[EpochTraining, History], dict[str, Any]],
    count: int | None = None,
) -> tuple[list[dict[str, Any]], ResumeState]:
    """The result of every seed, one after the other; and the resume state, to be removed when outputs are written.

    made_from: see ResumeState; training: of a seed by its number; count: of trainings, None: settings.seeds. Only
    rank 0 returns.
    """
    with workers(settings) as device:
        resume = ResumeState(Path(output), made_from)
        resume.load()
        for number in range(len(resume.finished), count or settings.seeds):
            one = training(number, device)
            resume.finish(result(one, one.fit(resume)))
            del one  # and its images, before those of the next are read
    return resume.finished, resume

"""Each generator's training step as its paper has it, written without the package's code, on the same numbers.

A module here is named after the generator and has

    CONFIG: dict                          changes to the tiny settings (tiny_configs.py)
    step(book, batches, rng) -> losses    one step of every network; the losses by name, scalars

`book` (Textbook) holds the networks to train, a copy of the model's; only their numbers are used, what is done with
them is written out in the module. `book.descend(...)` takes a step of Adam. `rng` gives the numbers that the model
draws, in the same order. test_objectives.py compares losses, gradients, steps and moving averages.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Adam:
    """Kingma & Ba 2015, algorithm 1, for several parameters; one without a gradient is left out."""

    rate: float
    betas: tuple[float, float]
    moments: dict[int, tuple[int, Tensor, Tensor]] = field(default_factory=dict)
    epsilon: float = 1e-8

    @torch.no_grad()
    def moved(self, parameters: list[Tensor], gradients: list[Tensor | None]) -> list[Tensor]:
        """The parameters after one more step."""
        first, second = self.betas
        found = []
        for position, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            if gradient is None:
                found.append(parameter.clone())
                continue
            zero = torch.zeros_like(parameter)
            count, mean, square = self.moments.get(position, (0, zero, zero))
            count, mean, square = (
                count + 1,
                first * mean + (1 - first) * gradient,
                second * square + (1 - second) * gradient**2,
            )
            self.moments[position] = count, mean, square
            step = mean / (1 - first**count) / ((square / (1 - second**count)).sqrt() + self.epsilon)
            found.append(parameter - self.rate * step)
        return found


class Textbook:
    """The networks of a textbook step, and what it did with them.

    model: a copy of the generator under test; moments: of Adam after the steps before, by the name of the optimiser.
    """

    def __init__(self, model: nn.Module, moments: dict[str, dict]):
        self.model, self.config, self.moments = model, model.config, moments
        self.gradients: dict[str, list[list[Tensor | None]]] = {}
        self.adams: dict[str, Adam] = {}
        self.trials: dict[str, Adam] = {}
        self.averages: dict[str, tuple[str, float | None]] = {}

    def descend(
        self, name: str, networks: list[nn.Module], loss: Tensor, *, rate: float, betas: tuple[float, float]
    ) -> None:
        """One more step of Adam (`name`: of the model's optimiser) down the gradient of `loss` in `networks`."""
        parameters = [parameter for network in networks for parameter in network.parameters()]
        gradients = list(torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True))
        self.gradients.setdefault(name, []).append(gradients)
        self.adams[name] = Adam(rate, betas, self.moments.setdefault(name, {}))
        trial = self.trials.setdefault(name, Adam(rate, betas, dict(self.moments[name])))
        for parameter, value in zip(parameters, trial.moved(parameters, gradients), strict=True):
            parameter.data = value

    def average(self, ema: str, of: str, share: float | None = None) -> None:
        """Say that the module named `ema` is the moving average of the one named `of`, of which a `share` stays in this
        step; None: what the setting ema_decay says, less in the first steps."""
        self.averages[ema] = of, share


def mean(losses: list[Tensor]) -> Tensor:
    """Of the micro-batches."""
    return torch.stack(losses).mean()


def batch_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """By the statistics of the batch (Ioffe & Szegedy 2015, algorithm 1)."""
    deviation = (x.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
    x = (x - x.mean((0, 2, 3), keepdim=True)) / deviation
    return x * scale[:, None, None] + shift[:, None, None]


def instance_norm(x: Tensor) -> Tensor:
    """By the statistics of each map (Ulyanov et al. 2016)."""
    return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()


def leaky(x: Tensor, slope: float = 0.2) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def doubled(x: Tensor) -> Tensor:
    """Every pixel as a square of 2×2."""
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def halved(x: Tensor) -> Tensor:
    """The mean of every square of 2×2 pixels."""
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


def reflected(x: Tensor, width: int) -> Tensor:
    return F.pad(x, (width,) * 4, mode="reflect")

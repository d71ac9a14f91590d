"""Adam without torch.optim's class, whose first step imports torch's compiler: 4–7 seconds of CPU in every process;
and one step of it over micro-batches and ranks."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim.adam import adam

from synthmed.training import distributed


class Adam:
    """Adam (Kingma & Ba, ICLR 2015, algorithm 1), one fused pass over the parameters (torch's own kernel).

    parameters: float32; learning_rate: > 0, later changed through `param_groups[0]["lr"]`; betas: decay of the first
    and the second moment; epsilon: added to the root of the second moment. A parameter without gradient is left as it
    is, and its moments with it.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ):
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), "lr": learning_rate}]
        self.betas = betas
        self.epsilon = epsilon
        self.state: dict[int, dict[str, Tensor]] = {}
        """Position of the parameter → step (a scalar), mean and square (moments, in the layout of the parameter)."""

    @property
    def parameters(self) -> list[Parameter]:
        return self.param_groups[0]["params"]

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients in `.grad`."""
        moving = [position for position, parameter in enumerate(self.parameters) if parameter.grad is not None]
        for position in moving:
            if position not in self.state:
                parameter = self.parameters[position]
                self.state[position] = {
                    "step": torch.zeros((), device=parameter.device),
                    "mean": torch.zeros_like(parameter, requires_grad=False),
                    "square": torch.zeros_like(parameter, requires_grad=False),
                }
        if not moving:
            return
        states = [self.state[position] for position in moving]
        adam(
            [self.parameters[position] for position in moving],
            [self.parameters[position].grad for position in moving],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=self.param_groups[0]["lr"],
            weight_decay=0.0,
            eps=self.epsilon,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"lr": self.param_groups[0]["lr"], "state": self.state}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Load what state_dict returned, onto the devices of the parameters."""
        self.param_groups[0]["lr"] = saved["lr"]
        self.state = {
            position: {name: value.to(self.parameters[position].device) for name, value in state.items()}
            for position, state in saved["state"].items()
        }


def minimise(
    optimizer: Adam, loss_fn: Callable[[Any], Mapping[str, Tensor]], batches: Sequence[Any]
) -> dict[str, Tensor]:
    """One step of `optimizer` on the sum of the losses that `loss_fn(batch)` returns, averaged over micro-batches.

    loss_fn: returns named, already weighted scalar losses. With several ranks gradients and losses are averaged over
    them. Returns the losses, averaged over the micro-batches, detached.
    """
    optimizer.zero_grad()
    means: dict[str, Tensor] = {}
    for batch in batches:
        losses = loss_fn(batch)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        (total / len(batches)).backward()
        for name, loss in losses.items():
            means[name] = means.get(name, 0.0) + loss.detach().float() / len(batches)
    gradients = [parameter.grad for parameter in optimizer.parameters if parameter.grad is not None]
    distributed.average([*gradients, *means.values()])
    optimizer.step()
    return means


def half_cosine(start: float, step: int, steps: int) -> float:
    """The learning rate of a step: from `start` at step 0 down to 0 at `steps` (Loshchilov & Hutter 2017, equation 5,
    without restarts)."""
    return start * (1 + math.cos(math.pi * step / steps)) / 2

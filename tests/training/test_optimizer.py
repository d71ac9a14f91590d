import copy

import pytest
import torch
from torch import nn

from synthmed.training.optimizer import Adam


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 1))


def steps(model, optimizer, first, last):
    for number in range(first, last):
        rng = torch.Generator().manual_seed(number)
        optimizer.zero_grad()
        model(torch.randn(4, 1, 8, 8, generator=rng)).square().mean().backward()
        optimizer.step()


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_follows_algorithm_1():
    """Against the paper's algorithm written out in float64."""
    parameter = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
    optimizer = Adam([parameter], 0.05, (0.5, 0.99))
    value, mean, square = parameter.detach().double(), torch.zeros(3).double(), torch.zeros(3).double()
    for t in range(1, 11):
        gradient = torch.tensor([1.0, -0.3, 2.0]).double() * value + t / 10
        mean = 0.5 * mean + 0.5 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        value = value - 0.05 * (mean / (1 - 0.5**t)) / ((square / (1 - 0.99**t)).sqrt() + 1e-8)
        parameter.grad = (torch.tensor([1.0, -0.3, 2.0]) * parameter + t / 10).detach()
        optimizer.step()
    assert parameter.tolist() == pytest.approx(value.tolist(), rel=1e-5, abs=1e-6)


def test_first_step_by_hand():
    """After bias correction the first step is the learning rate times the sign of the gradient."""
    parameter = nn.Parameter(torch.tensor([1.0, 1.0]))
    parameter.grad = torch.tensor([3.0, -0.01])
    Adam([parameter], 0.1).step()
    assert parameter.tolist() == pytest.approx([0.9, 1.1])


def test_continues_bit_for_bit_from_its_state():
    whole = network()
    steps(whole, Adam(whole.parameters(), 1e-2), 0, 6)
    before = network()
    optimizer = Adam(before.parameters(), 1e-2)
    steps(before, optimizer, 0, 3)
    after = copy.deepcopy(before)
    continued = Adam(after.parameters(), 0.5)
    continued.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps(after, continued, 3, 6)
    assert equal(whole, after)


def test_a_parameter_without_gradient_stays():
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = Adam([unused, used], 0.1)
    optimizer.step()
    used.sum().backward()
    optimizer.step()
    assert torch.equal(unused, torch.ones(2))
    assert not torch.equal(used, torch.ones(2))
    assert list(optimizer.state) == [1]


def test_the_learning_rate_can_be_changed():
    parameter = nn.Parameter(torch.ones(1))
    optimizer = Adam([parameter], 0.1)
    optimizer.param_groups[0]["lr"] = 0.0
    parameter.grad = torch.ones(1)
    optimizer.step()
    assert parameter.item() == 1.0

"""Every generator's training step against the one of its paper, written out in textbook/<name>.py.

Sign, wiring and weight of each loss, the networks, Adam's settings and the moving average: who changes one of them
sees a test fail. A new generator needs its textbook/<name>.py, see textbook/__init__.py.
"""

import copy
from importlib import import_module

import pytest
import torch
from textbook import Textbook
from tiny_configs import MASK_CHANNELS, TINY

from synthmed import generators
from synthmed.core.settings import parse
from synthmed.training.images import Batch
from synthmed.training.optimizer import Adam

STEPS = 3
MICRO_BATCHES = 2


def build(name, changes):
    model_class = generators.load(name)
    torch.manual_seed(0)
    classes = ("normal", "abnormal") if model_class.needs & {"image", "label"} else ("normal",)
    config = parse(model_class.Config, TINY[name]["config"] | changes)
    given = [MASK_CHANNELS] if "mask" in model_class.needs else []
    model = model_class(config, TINY[name]["shape"], classes, *given)
    model.plan([batches(model, 0)[0].images], STEPS)
    # Away from the symmetric start: biases, scales, strengths of noise that are 0 or 1 would hide what they do.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    model.rng.manual_seed(1)
    return model


def batches(model, seed):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(model.classes)).repeat_interleave(4)

    def drawn(channels):
        return torch.rand(len(labels), channels, *model.image_shape[1:], generator=rng) * 2 - 1

    return [
        Batch(drawn(model.image_shape[0]), labels, drawn(model.mask_channels) if "mask" in model.needs else None)
        for _ in range(MICRO_BATCHES)
    ]


@pytest.fixture
def taken(monkeypatch):
    """Steps of Adam, by the optimiser: (parameters before, gradients, parameters after) of each, in order."""
    found, step = {}, Adam.step

    def noted(optimizer):
        before = [parameter.detach().clone() for parameter in optimizer.parameters]
        gradients = [None if parameter.grad is None else parameter.grad.clone() for parameter in optimizer.parameters]
        step(optimizer)
        after = [parameter.detach().clone() for parameter in optimizer.parameters]
        found.setdefault(id(optimizer), []).append((before, gradients, after))

    monkeypatch.setattr(Adam, "step", noted)
    return found


@pytest.mark.parametrize("name", sorted(generators.GENERATORS))
def test_a_step_is_the_one_of_the_paper(name, taken):
    module = import_module(f"textbook.{name}")
    model, moments = build(name, module.CONFIG), {}
    for number in range(STEPS):
        given, before = batches(model, number), copy.deepcopy(model)
        book = Textbook(copy.deepcopy(model), moments)
        torch.manual_seed(number)  # of dropout
        expected = module.step(book, given, copy.deepcopy(model).rng)
        torch.manual_seed(number)
        taken.clear()
        losses = model.train_step(given)

        assert losses.keys() == expected.keys()
        for loss, value in losses.items():
            assert value.item() == pytest.approx(expected[loss].item(), rel=1e-4, abs=1e-5), loss
        assert book.gradients.keys() == model.optimizers.keys()
        for optimizer, gradients in book.gradients.items():
            steps = taken[id(model.optimizers[optimizer])]
            for wanted, (at, found, after) in zip(gradients, steps, strict=True):
                assert_gradients(found, wanted, optimizer)
                # The step itself, along the model's own gradients: Adam would blow up the last digits of small ones.
                adam = book.adams[optimizer]
                for parameter, value in zip(after, adam.moved(at, found), strict=True):
                    assert torch.allclose(parameter, value, rtol=1e-5, atol=1e-3 * adam.rate), optimizer
        assert_averages(model, before, book.averages)
        model.step = number + 1


def assert_gradients(found, wanted, optimizer):
    scale = max(float(gradient.abs().max()) for gradient in wanted if gradient is not None)
    for ours, gradient in zip(found, wanted, strict=True):
        if gradient is None:  # the loss does not depend on it: none, or zeros
            assert ours is None or not ours.any(), optimizer
        else:
            assert float((ours - gradient).abs().max()) < 1e-3 * scale, optimizer


def assert_averages(model, before, averages):
    """Each moving average is the one before and the network now, in their shares; statistics of norms alike."""
    assert averages.keys() == {name for name, _ in model.named_children() if name.endswith("_ema")}
    for name, (of, share) in averages.items():
        if share is None:
            share = min(model.config.ema_decay, (1 + model.step) / (10 + model.step))
        old, new = getattr(before, name).state_dict(), getattr(model, of).state_dict()
        for key, value in getattr(model, name).state_dict().items():
            expected = share * old[key] + (1 - share) * new[key] if value.is_floating_point() else new[key]
            assert torch.allclose(value, expected.to(value.dtype), rtol=1e-5, atol=1e-7), key

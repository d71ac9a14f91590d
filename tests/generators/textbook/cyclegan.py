"""Zhu et al. 2017, sections 3, 4 and 7; the image pool: Shrivastava et al. 2017, section 2.3."""

import torch
from torch import Tensor
from torch.nn import functional as F

from textbook import Textbook, instance_norm, leaky, mean, reflected

# A pool that is full in the middle of the first step.
CONFIG = {"learning_rate": 1.0e-3, "pool_size": 3, "identity_weight": 0.3, "cycle_weight": 7.0}


def translated(network, images: Tensor) -> Tensor:
    """c7s1-k, d2k, d4k, one R4k, u2k, uk, c7s1-C."""
    (c7, c7b, d2, d2b, d4, d4b, r1, r1b, r2, r2b, u2, u2b, u1, u1b, last, lastb) = network.parameters()
    x = F.relu(instance_norm(F.conv2d(reflected(images, 3), c7, c7b)))
    x = F.relu(instance_norm(F.conv2d(x, d2, d2b, stride=2, padding=1)))
    x = F.relu(instance_norm(F.conv2d(x, d4, d4b, stride=2, padding=1)))
    inside = F.relu(instance_norm(F.conv2d(reflected(x, 1), r1, r1b)))
    x = x + instance_norm(F.conv2d(reflected(inside, 1), r2, r2b))
    x = F.relu(instance_norm(F.conv_transpose2d(x, u2, u2b, stride=2, padding=1, output_padding=1)))
    x = F.relu(instance_norm(F.conv_transpose2d(x, u1, u1b, stride=2, padding=1, output_padding=1)))
    return torch.tanh(F.conv2d(reflected(x, 3), last, lastb))


def judged(network, images: Tensor) -> Tensor:
    """C4-C8 with strides 2, instance norm in all but the first, and the convolution to one map."""
    first, first_bias, second, second_bias, last, last_bias = network.parameters()
    x = leaky(F.conv2d(images, first, first_bias, stride=2, padding=1))
    x = leaky(instance_norm(F.conv2d(x, second, second_bias, stride=2, padding=1)))
    return F.conv2d(x, last, last_bias, padding=1)


def exchanged(pool: list[Tensor], size: int, images: Tensor, rng) -> Tensor:
    """While the pool is not full, each image is kept and shown; later, half of them are swapped for one of it."""
    shown = []
    for image in images:
        if len(pool) < size:
            pool.append(image)
        elif torch.rand((), generator=rng) < 0.5:
            place = int(torch.randint(size, (), generator=rng))
            image, pool[place] = pool[place], image
        shown.append(image)
    return torch.stack(shown)


def step(book: Textbook, batches, rng) -> dict[str, Tensor]:
    """G: first → second, F: second → first; D_Y judges images of the second class, D_X of the first."""
    config, model = book.config, book.model
    G, F_, D_X, D_Y = model.to_second, model.to_first, model.discriminator_first, model.discriminator_second
    # Constant for the first half of the training, then linearly to zero.
    rate = config.learning_rate * min(1, (model.total_steps - model.step) / (model.total_steps / 2))
    adam = {"rate": rate, "betas": (config.beta1, 0.999)}
    pairs = [(batch.images[batch.labels == 0], batch.images[batch.labels == 1]) for batch in batches]
    adversarial, cycle, identity, fakes = [], [], [], []
    for x, y in pairs:
        fake_y, fake_x = translated(G, x), translated(F_, y)
        fakes.append((fake_x.detach(), fake_y.detach()))
        adversarial.append(((judged(D_Y, fake_y) - 1) ** 2).mean() + ((judged(D_X, fake_x) - 1) ** 2).mean())
        cycle.append((translated(F_, fake_y) - x).abs().mean() + (translated(G, fake_x) - y).abs().mean())
        identity.append((translated(G, y) - y).abs().mean() + (translated(F_, x) - x).abs().mean())
    losses = {
        "adversarial": mean(adversarial),
        "cycle": config.cycle_weight * mean(cycle),
        "identity": config.identity_weight * config.cycle_weight * mean(identity),
    }
    book.descend("generators", [G, F_], sum(losses.values()), **adam)

    pools = [list(pool.images[: int(pool.filled)].clone()) for pool in (model.pool_first, model.pool_second)]
    shown = [
        [exchanged(pool, config.pool_size, fake, rng) for pool, fake in zip(pools, both, strict=True)] for both in fakes
    ]
    halves = []
    for (x, y), (fake_x, fake_y) in zip(pairs, shown, strict=True):
        for D, real, fake in ((D_X, x, fake_x), (D_Y, y, fake_y)):
            # Halved, so that the discriminators learn at half the speed (section 7.1).
            halves.append((((judged(D, real) - 1) ** 2).mean() + (judged(D, fake) ** 2).mean()) / 2)
    discriminator = torch.stack(halves).sum() / len(batches)
    book.descend("discriminators", [D_X, D_Y], discriminator, **adam)
    return losses | {"discriminator": discriminator}

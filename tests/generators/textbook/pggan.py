"""Karras et al. 2018, sections 2 to 4, appendix A, table 2; WGAN-GP: Gulrajani et al. 2017, equation 3."""

import torch
from torch import Tensor
from torch.nn import functional as F

from textbook import Textbook, doubled, halved, leaky, mean

# With 8 images a step: 4×4 in the first, then 8×8 faded in to a quarter, then 8×8.
CONFIG = {"stable_kimg": 0.006, "fade_kimg": 0.008, "drift": 0.1, "gradient_penalty": 7.0, "minibatch_group": 2}
WAY = [(4, 1.0), (8, 0.25), (8, 1.0)]


def convolved(x: Tensor, weight: Tensor, bias: Tensor, padding: int, gain: float = 2.0) -> Tensor:
    """Equalised learning rate: weights of N(0, 1) times He's constant (section 4.1)."""
    return F.conv2d(x, weight * (gain / weight[0].numel()) ** 0.5, bias, padding=padding)


def pixel_norm(x: Tensor) -> Tensor:
    return x / ((x**2).mean(dim=1, keepdim=True) + 1e-8).sqrt()


def generated(network, z: Tensor, resolution: int, alpha: float) -> Tensor:
    first, first_bias, second, second_bias = network.blocks["4"].parameters()
    # The model keeps the 4×4 kernel on the latent vector the other way round.
    x = convolved(pixel_norm(z)[:, :, None, None], first.flip(2, 3), first_bias, padding=3)
    x = pixel_norm(leaky(x))
    x = pixel_norm(leaky(convolved(x, second, second_bias, padding=1)))
    small = convolved(x, *network.to_image["4"].parameters(), padding=0, gain=1.0)
    if resolution == 4:
        return small
    first, first_bias, second, second_bias = network.blocks["8"].parameters()
    x = pixel_norm(leaky(convolved(doubled(x), first, first_bias, padding=1)))
    x = pixel_norm(leaky(convolved(x, second, second_bias, padding=1)))
    large = convolved(x, *network.to_image["8"].parameters(), padding=0, gain=1.0)
    return large if alpha == 1 else (1 - alpha) * doubled(small) + alpha * large


def with_deviation(x: Tensor, group: int) -> Tensor:
    """Section 3: the deviation of each feature over a group of images, averaged, as one more map."""
    maps = []
    for images in x.split(group):
        deviation = (((images - images.mean(dim=0)) ** 2).mean(dim=0) + 1e-8).sqrt().mean()
        maps.append(deviation.expand(len(images), 1, *x.shape[2:]))
    return torch.cat([x, torch.cat(maps)], dim=1)


def score(network, images: Tensor, resolution: int, alpha: float, group: int) -> Tensor:
    """The images of 4×4 enter by their own way, those of 8×8 by a block more, faded in."""
    if resolution == 4:
        x = leaky(convolved(images, *network.from_image["4"].parameters(), padding=0))
    else:
        x = leaky(convolved(images, *network.from_image["8"].parameters(), padding=0))
        first, first_bias, second, second_bias = network.blocks["8"].parameters()
        x = leaky(convolved(x, first, first_bias, padding=1))
        x = halved(leaky(convolved(x, second, second_bias, padding=1)))
        if alpha < 1:
            below = leaky(convolved(halved(images), *network.from_image["4"].parameters(), padding=0))
            x = (1 - alpha) * below + alpha * x
    first, first_bias, second, second_bias, last, last_bias = network.decide.parameters()
    x = leaky(convolved(with_deviation(x, group), first, first_bias, padding=1))
    x = leaky(convolved(x, second, second_bias, padding=0))
    return convolved(x, last, last_bias, padding=0, gain=1.0).flatten()


def step(book: Textbook, batches, rng) -> dict[str, Tensor]:
    config, generator, discriminator = book.config, book.model.generator, book.model.discriminator
    adam = {"rate": config.learning_rate, "betas": (0.0, 0.99)}  # appendix A
    resolution, alpha = WAY[book.model.step]
    group = config.minibatch_group

    def fakes(batch) -> Tensor:
        z = torch.randn(len(batch.images), config.latent_size, generator=rng)
        return generated(generator, z, resolution, alpha)

    distance, penalty, drift = [], [], []
    for batch in batches:
        real = halved(batch.images)
        real = halved(real) if resolution == 4 else (1 - alpha) * doubled(halved(real)) + alpha * real
        fake = fakes(batch).detach()
        on_real = score(discriminator, real, resolution, alpha, group)
        distance.append(score(discriminator, fake, resolution, alpha, group).mean() - on_real.mean())
        share = torch.rand(len(real), 1, 1, 1, generator=rng)
        between = (share * real + (1 - share) * fake).requires_grad_(True)
        (slope,) = torch.autograd.grad(
            score(discriminator, between, resolution, alpha, group).sum(), between, create_graph=True
        )
        penalty.append((((slope**2).sum((1, 2, 3)).sqrt() - 1) ** 2).mean())
        drift.append((on_real**2).mean())
    losses = {
        "discriminator": mean(distance),
        "gradient_penalty": config.gradient_penalty * mean(penalty),
        "drift": config.drift * mean(drift),
    }
    book.descend("discriminator", [discriminator], sum(losses.values()), **adam)
    passed = mean([-score(discriminator, fakes(batch), resolution, alpha, group).mean() for batch in batches])
    book.descend("generator", [generator], passed, **adam)
    book.average("generator_ema", of="generator")
    return losses | {"generator": passed}

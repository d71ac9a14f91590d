"""Shaham et al. 2019, sections 3.1 and 3.2, one patch after the other; WGAN-GP: Gulrajani et al. 2017, equation 3, of
each pixel."""

import torch
from torch import Tensor
from torch.nn import functional as F

from textbook import Textbook, batch_norm, leaky, mean

# Of three steps one at 12 px and two at 24 px, the second of them after the drop.
CONFIG = {"drop_after": 0.5, "drop": 0.25, "learning_rate": 1.0e-4, "gradient_penalty": 0.7, "noise_factor": 0.3}
PLACES = [(0, 0), (1, 0), (1, 1)]
PATCHES = 4


def of_patch(numbers, patch: int) -> list[Tensor]:
    """Of numbers of all patches, one after the other in the first dimension, those of one."""
    return [value.chunk(PATCHES)[patch] for value in numbers]


def convolved(image: Tensor, weights: list[Tensor]) -> Tensor:
    """Four blocks of convolution, norm by the image's own statistics and LeakyReLU; a convolution."""
    for block in range(4):
        kernel, bias, scale, shift = weights[4 * block : 4 * block + 4]
        image = leaky(batch_norm(F.conv2d(image, kernel, bias), scale, shift))
    return F.conv2d(image, *weights[16:])


def finished(network, patch: int, noise: Tensor, before: Tensor) -> Tensor:
    """The same by running statistics: a generator that is trained no more."""
    weights, running = of_patch(network.parameters(), patch), of_patch(network.buffers(), patch)
    image = F.pad(noise + before, (5,) * 4)
    for block in range(4):
        kernel, bias, scale, shift = weights[4 * block : 4 * block + 4]
        image = F.conv2d(image, kernel, bias)
        mean_, variance = (value[:, None, None] for value in running[2 * block : 2 * block + 2])
        image = leaky((image - mean_) / (variance + 1e-5).sqrt() * scale[:, None, None] + shift[:, None, None])
    return before + torch.tanh(F.conv2d(image, *weights[16:]))


def generated(weights: list[Tensor], noise: Tensor, before: Tensor) -> Tensor:
    return before + torch.tanh(convolved(F.pad(noise + before, (5,) * 4), weights))


def at_size(image: Tensor, side: int) -> Tensor:
    return F.interpolate(image, (side, side), mode="bilinear", antialias=True)


def step(book: Textbook, batches, rng) -> dict[str, Tensor]:
    config, model = book.config, book.model
    scale, iteration = PLACES[model.step]
    side = [12, 24][scale]
    generator, discriminator = model.generator[0], model.discriminator[0]
    frozen = None
    if scale == 1:
        # Before the first step at 24 px the networks are those of 12 px still: they stay, and copies of them go on.
        frozen = generator if iteration == 0 else model.scales[0]
        frozen_state = [value.detach().clone() for value in (*frozen.parameters(), *frozen.buffers())]
    if iteration == 0:
        book.moments.clear()
    rate = config.learning_rate * (config.drop if iteration == 1 and scale == 1 else 1)
    adam = {"rate": rate, "betas": (config.beta1, 0.999)}
    reals = [at_size(batch.images, side) for batch in batches]

    def drawn(side: int) -> Tensor:
        return torch.randn(PATCHES, 1, side, side, generator=rng)

    class Frozen:
        """The generators of 12 px, as they were."""

        @staticmethod
        def parameters():
            return frozen_state[: len(list(generator.parameters()))]

        @staticmethod
        def buffers():
            return frozen_state[len(list(generator.parameters())) :]

    def enlarged(noise: Tensor) -> list[Tensor]:
        """What the generator of each patch adds to: nothing at 12 px, else the enlarged image of 12 px."""
        if scale == 0:
            return [torch.zeros(1, 1, 12, 12)] * PATCHES
        made = [finished(Frozen, k, noise[k : k + 1], torch.zeros(1, 1, 12, 12)) for k in range(PATCHES)]
        return [at_size(image, 24) for image in made]

    # z*: drawn once, at the coarsest scale; the noise of the others is as strong as their error.
    z = drawn(12) if scale == 0 else model.fixed
    rebuilt = enlarged(z)
    strength = [torch.ones(()) for _ in range(PATCHES)]
    if scale == 1 and iteration == 0:
        strength = [config.noise_factor * ((rebuilt[k] - reals[0][k]) ** 2).mean().sqrt() for k in range(PATCHES)]
    elif scale == 1:
        strength = list(model.amplitudes[1])

    def fakes() -> list[Tensor]:
        before = enlarged(drawn(12)) if scale == 1 else enlarged(None)
        noise = drawn(side)
        weights = list(generator.parameters())
        return [generated(of_patch(weights, k), strength[k] * noise[k : k + 1], before[k]) for k in range(PATCHES)]

    def score(image: Tensor, k: int) -> Tensor:
        return convolved(image, of_patch(discriminator.parameters(), k))

    for _ in range(config.discriminator_steps):
        distance, penalty = [], []
        for real in reals:
            made = [image.detach() for image in fakes()]
            share = torch.rand(PATCHES, 1, 1, 1, generator=rng)
            for k in range(PATCHES):
                distance.append(score(made[k], k).mean() - score(real[k : k + 1], k).mean())
                between = (share[k] * real[k : k + 1] + (1 - share[k]) * made[k]).requires_grad_(True)
                (slope,) = torch.autograd.grad(score(between, k).sum(), between, create_graph=True)
                penalty.append((((slope**2).sum(1).sqrt() - 1) ** 2).mean())
        losses = {"discriminator": mean(distance), "gradient_penalty": config.gradient_penalty * mean(penalty)}
        book.descend("discriminator 0", [discriminator], PATCHES * sum(losses.values()), **adam)
    for _ in range(config.generator_steps):
        passed, error = [], []
        for real in reals:
            noise = z if scale == 0 else torch.zeros(PATCHES, 1, side, side)
            weights = list(generator.parameters())
            for k, image in enumerate(fakes()):
                passed.append(-score(image, k).mean())
                again = generated(of_patch(weights, k), noise[k : k + 1], rebuilt[k])
                error.append(((again - real[k : k + 1]) ** 2).mean())
        of_generator = {"generator": mean(passed), "reconstruction": config.reconstruction_weight * mean(error)}
        book.descend("generator 0", [generator], PATCHES * sum(of_generator.values()), **adam)
    return losses | of_generator

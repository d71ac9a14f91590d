"""Radford et al. 2016, sections 3 and 4; the loss: Goodfellow et al. 2014, section 3, non-saturating."""

import torch
from torch import Tensor
from torch.nn import functional as F

from textbook import Textbook, batch_norm, leaky, mean

CONFIG = {"learning_rate": 1.0e-3, "dropout": 0.25}


def generated(network, z: Tensor) -> Tensor:
    """16 px from 4: projection, and two fractionally-strided convolutions; ReLU and batch norm, tanh at the end."""
    project, scale, shift, first, first_scale, first_shift, last, bias = network.parameters()
    x = F.relu(batch_norm((z @ project.T).view(len(z), -1, 4, 4), scale, shift))
    x = F.conv_transpose2d(x, first, stride=2, padding=1)
    x = F.relu(batch_norm(x, first_scale, first_shift))
    return torch.tanh(F.conv_transpose2d(x, last, bias, stride=2, padding=1))


def logits(network, images: Tensor, dropout: float) -> Tensor:
    """Two strided convolutions with LeakyReLU, batch norm in all but the first, dropout after each; a dense unit."""
    first, first_bias, second, scale, shift, dense, bias = network.parameters()
    x = F.dropout(leaky(F.conv2d(images, first, first_bias, stride=2, padding=1)), dropout)
    x = F.dropout(leaky(batch_norm(F.conv2d(x, second, stride=2, padding=1), scale, shift)), dropout)
    return (x.flatten(1) @ dense.T + bias)[:, 0]


def step(book: Textbook, batches, rng) -> dict[str, Tensor]:
    config, generator, discriminator = book.config, book.model.generator, book.model.discriminator
    adam = {"rate": config.learning_rate, "betas": (config.beta1, 0.999)}
    fakes = [
        generated(generator, torch.randn(len(batch.images), config.latent_size, generator=rng)) for batch in batches
    ]
    on_real, on_fake = [], []
    for batch, fake in zip(batches, fakes, strict=True):
        # The discriminator: up log D(x) + log(1 − D(G(z))).
        on_real.append(-torch.sigmoid(logits(discriminator, batch.images, config.dropout)).log().mean())
        on_fake.append(-(1 - torch.sigmoid(logits(discriminator, fake.detach(), config.dropout))).log().mean())
    book.descend("discriminator", [discriminator], mean(on_real) + mean(on_fake), **adam)
    # The generator: up log D(G(z)), with the discriminator as it is now.
    passed = mean([-torch.sigmoid(logits(discriminator, fake, config.dropout)).log().mean() for fake in fakes])
    book.descend("generator", [generator], passed, **adam)
    book.average("generator_ema", of="generator")
    return {"discriminator_real": mean(on_real), "discriminator_fake": mean(on_fake), "generator": passed}

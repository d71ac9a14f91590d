"""Isola et al. 2017, equations 1 to 4 and appendix 6.1; several discriminators: Wang et al. 2018, section 3.1."""

import torch
from torch import Tensor
from torch.nn import functional as F

from textbook import Textbook, batch_norm, halved, leaky, mean

CONFIG = {"learning_rate": 1.0e-3, "slope": 0.3, "l1_weight": 7.0, "scales": 2}


def painted(network, masks: Tensor, noise: Tensor, config) -> Tensor:
    """C4-C8-C8, CD8-C4 and the last, each beside the encoder's map of its size; no norm in the first, tanh."""
    (c1, c2, c3), (d1, d2) = ([layer.weight for layer in part] for part in (network.down, network.up))
    (n2, n3), (m1, m2) = network.down_norm[1:], network.up_norm
    first = leaky(F.conv2d(torch.cat([masks, noise], 1), c1, stride=2, padding=1), config.slope)
    second = leaky(batch_norm(F.conv2d(first, c2, stride=2, padding=1), n2.weight, n2.bias), config.slope)
    inner = leaky(batch_norm(F.conv2d(second, c3, stride=2, padding=1), n3.weight, n3.bias), config.slope)
    x = batch_norm(F.conv_transpose2d(inner, d1, stride=2, padding=1), m1.weight, m1.bias)
    x = torch.cat([F.relu(F.dropout(x, config.dropout)), second], 1)
    x = batch_norm(F.conv_transpose2d(x, d2, stride=2, padding=1), m2.weight, m2.bias)
    x = torch.cat([F.relu(x), first], 1)
    return torch.tanh(F.conv_transpose2d(x, network.last.weight, network.last.bias, stride=2, padding=1))


def probabilities(network, masks: Tensor, images: Tensor, slope: float) -> list[Tensor]:
    """C4 and the convolution to one map, on mask and image as they are and on both at half the size."""
    seen, found = torch.cat([masks, images], 1), []
    for first, last, bias in zip(*[iter(network.parameters())] * 3, strict=True):
        x = leaky(F.conv2d(seen, first, stride=2, padding=1), slope)
        found.append(torch.sigmoid(F.conv2d(x, last, bias, padding=1)))
        seen = halved(seen)
    return found


def step(book: Textbook, batches, rng) -> dict[str, Tensor]:
    config, generator, discriminator = book.config, book.model.generator, book.model.discriminator
    adam = {"rate": config.learning_rate, "betas": (config.beta1, 0.999)}
    fakes = [
        painted(
            generator, batch.masks, torch.randn(len(batch.images), 1, *batch.images.shape[2:], generator=rng), config
        )
        for batch in batches
    ]

    def judged(batch, images: Tensor) -> list[Tensor]:
        return probabilities(discriminator, batch.masks, images, config.slope)

    # The discriminators: up log D(x, y) + log(1 − D(x, G(x, z))), each on its own scale.
    real = mean([sum(-p.log().mean() for p in judged(batch, batch.images)) for batch in batches])
    fake = mean(
        [
            sum(-(1 - p).log().mean() for p in judged(batch, image.detach()))
            for batch, image in zip(batches, fakes, strict=True)
        ]
    )
    book.descend("discriminator", [discriminator], real + fake, **adam)
    # The generator: up log D(x, G(x, z)), and near the image of the mask.
    passed = mean([sum(-p.log().mean() for p in judged(*pair)) for pair in zip(batches, fakes, strict=True)])
    near = mean([(batch.images - image).abs().mean() for batch, image in zip(batches, fakes, strict=True)])
    near = config.l1_weight * near
    book.descend("generator", [generator], passed + near, **adam)
    book.average("generator_ema", of="generator")
    return {"discriminator_real": real, "discriminator_fake": fake, "adversarial": passed, "l1": near}

"""Karras et al. 2022: equation 7 with the column "Ours" of table 1; blocks: Dhariwal and Nichol 2021, figure in B.1."""

import torch
from torch import Tensor
from torch.nn import functional as F

from textbook import Textbook, doubled, halved, mean

CONFIG = {"learning_rate": 1.0e-3, "sigma_data": 0.4, "noise_mean": -0.7, "noise_deviation": 0.9}


def group_norm(x: Tensor, norm) -> Tensor:
    """By the statistics of each group of channels of each image (Wu and He 2018)."""
    grouped = x.reshape(len(x), norm.num_groups, -1)
    centred = grouped - grouped.mean(2, keepdim=True)
    x = (centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()).reshape(x.shape)
    return x * norm.weight[:, None, None] + norm.bias[:, None, None]


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def convolved(x: Tensor, layer) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, padding=layer.weight.shape[2] // 2)


def attended(x: Tensor, part) -> Tensor:
    """softmax(QKᵀ/√C) V over all places, beside a shortcut."""
    batch, channels = x.shape[:2]
    q, k, v = convolved(group_norm(x, part.norm), part.project).reshape(batch, 3, channels, -1).unbind(1)
    weights = torch.softmax(torch.einsum("ncq,nck->nqk", q, k) / channels**0.5, dim=2)
    return x + convolved(torch.einsum("nqk,nck->ncq", weights, v).reshape(x.shape), part.out)


def block(x: Tensor, part, embedding: Tensor, dropout: float, attention: bool) -> Tensor:
    inside = convolved(swish(group_norm(x, part.first_norm)), part.first)
    scale, shift = (embedding @ part.embed.weight.T + part.embed.bias)[:, :, None, None].split(inside.shape[1], 1)
    inside = swish(group_norm(inside, part.second_norm) * (1 + scale) + shift)
    beside = convolved(x, part.shortcut) if hasattr(part.shortcut, "weight") else x
    x = beside + convolved(F.dropout(inside, dropout), part.second)
    return attended(x, part.attention) if attention else x


def passed(network, x: Tensor, noise: Tensor, labels: Tensor, dropout: float) -> Tensor:
    """16 px, 8 px with attention, and back, each beside the map of its size; beside all of it a linear layer (ours), of
    which the noise level scales every output."""
    angles = noise[:, None] * torch.tensor([10000.0 ** (-i / 4) for i in range(4)])
    first, last = network.embed[0], network.embed[2]
    embedding = swish(torch.cat([torch.cos(angles), torch.sin(angles)], 1) @ first.weight.T + first.bias)
    embedding = swish(embedding @ last.weight.T + last.bias + labels @ network.label.weight.T)
    (down_one,), (down_two,) = network.down
    (up_one,), (up_two, up_three) = network.up
    linear = torch.einsum("oc,nchw->nohw", network.direct.weight[:, :, 0, 0], x)
    linear = linear * (1 + embedding @ network.scale.weight.T + network.scale.bias)[:, :, None, None]
    start = convolved(x, network.first)
    full = block(start, down_one, embedding, dropout, False)
    half = block(halved(full), down_two, embedding, dropout, True)
    x = block(half, network.middle, embedding, dropout, True)
    x = block(torch.cat([x, half], 1), up_one, embedding, dropout, True)
    x = block(torch.cat([doubled(x), full], 1), up_two, embedding, dropout, False)
    x = block(torch.cat([x, start], 1), up_three, embedding, dropout, False)
    return convolved(swish(group_norm(x, network.norm)), network.last) + linear


def step(book: Textbook, batches, rng) -> dict[str, Tensor]:
    config, network, found = book.config, book.model.generator, []
    data = config.sigma_data
    for batch in batches:
        y = batch.images
        sigma = torch.exp(config.noise_mean + config.noise_deviation * torch.randn(len(y), generator=rng))
        noisy = y + sigma[:, None, None, None] * torch.randn(y.shape, generator=rng)
        sigma = sigma[:, None, None, None]
        skip, out = data**2 / (sigma**2 + data**2), sigma * data / (sigma**2 + data**2) ** 0.5
        into = 1 / (sigma**2 + data**2) ** 0.5
        labels = torch.stack([batch.labels == 0, batch.labels == 1], 1).float()
        f = passed(network, into * noisy, sigma.flatten().log() / 4, labels, config.dropout)
        clean = skip * noisy + out * f
        # λ is 1/c_out², so that the loss is that of F against its target, everywhere of unit variance.
        found.append(((clean - y) ** 2 / out**2).mean())
    book.descend("generator", [network], mean(found), rate=config.learning_rate, betas=(0.9, 0.999))
    book.average("generator_ema", of="generator")
    return {"denoising": mean(found)}

"""Liu et al. 2021, sections 3.1 and 3.2, figures 3 and 4; DiffAugment: Zhao et al. 2020."""

import torch
from torch import Tensor
from torch.nn import functional as F

from synthmed.augment.diffaugment import diff_augment
from textbook import Textbook, batch_norm, doubled, halved, leaky, mean

# What spectral norm does is tested in test_fastgan.py.
CONFIG = {"learning_rate": 1.0e-3, "spectral_norm": False, "part_size": 4}


def glu(x: Tensor) -> Tensor:
    """Gated linear unit: the first half of the channels, each times the sigmoid of its partner in the second half."""
    values, gates = x.chunk(2, dim=1)
    return values * torch.sigmoid(gates)


def generated(network, z: Tensor, noise) -> Tensor:
    """`noise(side)` gives the maps that are injected: into both convolutions of every second block."""
    first, scale, shift = network.start.parameters()
    maps = {4: glu(batch_norm(F.conv_transpose2d(z[:, :, None, None], first), scale, shift))}
    x = maps[4]
    for number, (name, block) in enumerate(network.blocks.items()):
        resolution = 8 * 2**number
        assert name == str(resolution)
        x, weights = doubled(x), list(block.parameters())
        if number % 2:
            convolution, scale, shift = weights
            x = glu(batch_norm(F.conv2d(x, convolution, padding=1), scale, shift))
        else:
            one, two, scale, shift, scale_two, shift_two, strength, strength_two = weights
            x = F.conv2d(x, one, padding=1)
            x = glu(batch_norm(x + strength * noise(resolution), scale, shift))
            x = F.conv2d(x, two, padding=1)
            x = glu(batch_norm(x + strength_two * noise(resolution), scale_two, shift_two))
        if name in network.excitations:
            squeeze, excite = network.excitations[name].parameters()
            low = maps[max(4, resolution // 16)]
            low = F.avg_pool2d(low, low.shape[2] // 4)
            x = x * torch.sigmoid(F.conv2d(leaky(F.conv2d(low, squeeze), 0.1), excite))
        maps[resolution] = x
    last, bias = network.to_image.parameters()
    return torch.tanh(F.conv2d(x, last, bias, padding=1))


def down(block, x: Tensor) -> Tensor:
    """The mean of two ways down: two convolutions, and pooling with one."""
    one, scale, shift, two, scale_two, shift_two = block.main.parameters()
    main = leaky(batch_norm(F.conv2d(x, one, stride=2, padding=1), scale, shift))
    main = leaky(batch_norm(F.conv2d(main, two, padding=1), scale_two, shift_two))
    convolution, scale, shift = block.direct.parameters()
    return (main + leaky(batch_norm(F.conv2d(halved(x), convolution), scale, shift))) / 2


def patches(layers, x: Tensor) -> Tensor:
    """The 5×5 logits of a map of 8×8."""
    first, scale, shift, last = layers.parameters()
    return F.conv2d(leaky(batch_norm(F.conv2d(x, first), scale, shift)), last).flatten(1)


def stem(layers, x: Tensor, halvings: int) -> Tensor:
    """A 3×3 convolution; of images above 256 px instead one of 4×4 that halves them, and others of that kind."""
    first, *further = (weight for layer in layers for weight in layer.parameters())
    x = leaky(F.conv2d(x, first, stride=2 if halvings else 1, padding=1))
    for convolution, scale, shift in zip(further[::3], further[1::3], further[2::3], strict=True):
        x = leaky(batch_norm(F.conv2d(x, convolution, stride=2, padding=1), scale, shift))
    return x


def judged(network, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits on two scales, and the maps of 16×16 and 8×8."""
    size = images.shape[2]
    halvings = {512: 1, 1024: 2}.get(size, 0)
    blocks = (size >> halvings).bit_length() - 5  # from there down to 16×16
    entry, blocks_down = network.to_map[:-blocks], network.to_map[-blocks:]
    full = stem(entry, images, halvings)
    for block in blocks_down:
        full = down(block, full)
    half = down(network.to_half_map, full)
    side = min(128, size // 2)
    small = images.unflatten(3, (side, -1)).unflatten(2, (side, -1)).mean((3, 5))
    *entry, last = network.small
    blocks = side.bit_length() - 4
    small = stem(entry[:-blocks], small, 0)
    for block in entry[-blocks:]:
        small = down(block, small)
    return torch.cat([patches(network.logits, half), patches(last, small)], dim=1), full, half


def decoded(network, x: Tensor) -> Tensor:
    *blocks, last, bias = network.parameters()
    for convolution, scale, shift in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
        x = glu(batch_norm(F.conv2d(doubled(x), convolution, padding=1), scale, shift))
    return torch.tanh(F.conv2d(x, last, bias, padding=1))


def step(book: Textbook, batches, rng) -> dict[str, Tensor]:
    config, generator, discriminator = book.config, book.model.generator, book.model.discriminator
    adam = {"rate": config.learning_rate, "betas": (config.beta1, 0.999)}
    fakes, passed = [], []
    for batch in batches:
        count = len(batch.images)
        z = torch.randn(count, config.latent_size, generator=rng)
        fake = generated(generator, z, lambda side, n=count: torch.randn(n, 1, side, side, generator=rng))
        fakes.append(fake.detach())
        logits, _, _ = judged(discriminator, diff_augment(fake, config.augmentation, rng))
        passed.append(-logits.mean())  # equation 4
    book.descend("generator", [generator], mean(passed), **adam)
    book.average("generator_ema", of="generator")

    on_real, on_fake, rebuilt = [], [], []
    for batch, fake in zip(batches, fakes, strict=True):
        real = diff_augment(batch.images, config.augmentation, rng)
        logits, full, half = judged(discriminator, real)
        on_real.append(torch.clamp(1 - logits, min=0).mean())  # equation 3: hinge
        fake_logits, _, _ = judged(discriminator, diff_augment(fake, config.augmentation, rng))
        on_fake.append(torch.clamp(1 + fake_logits, min=0).mean())
        row, column = (int(torch.randint(16 - config.part_size + 1, (), generator=rng)) for _ in range(2))
        cells = config.part_size  # of 2 px each
        crop = full[:, :, row : row + cells, column : column + cells]
        part = real[:, :, 2 * row : 2 * (row + cells), 2 * column : 2 * (column + cells)]
        rebuilt.append(
            ((decoded(discriminator.decode_part, crop) - part) ** 2).mean()
            + ((decoded(discriminator.decode_whole, half) - real) ** 2).mean()
        )
    losses = {
        "discriminator_real": mean(on_real),
        "discriminator_fake": mean(on_fake),
        "reconstruction": mean(rebuilt),
    }
    book.descend("discriminator", [discriminator], sum(losses.values()), **adam)
    return losses | {"generator": mean(passed)}

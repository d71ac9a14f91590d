"""Karras et al. 2020a, equations 1, 3 and 4, figure 7, section 3.1 and appendix B; 2020b, equation 1 and appendix D:
every image with convolution weights of its own, zeros written between the pixels, one filter tap after the other."""

import torch
from torch import Tensor
from torch.nn import functional as F

from textbook import Textbook, leaky, mean

# Augmentation has tests of its own (test_ada.py, test_stylegan2.py).
CONFIG = {"augmentation": None, "r1_gamma": 3.0, "path_weight": 0.7, "ema_kimg": 0.05, "ema_rampup": 1.5}
LINE = (1 / 8, 3 / 8, 3 / 8, 1 / 8)


def activated(x: Tensor) -> Tensor:
    return 2**0.5 * leaky(x)


def dense(x: Tensor, layer, rate: float = 1.0) -> Tensor:
    weight, bias = layer.parameters()
    return x @ (weight * rate / weight.shape[1] ** 0.5).T + bias * rate


def normalised(x: Tensor) -> Tensor:
    return x / ((x**2).mean(dim=1, keepdim=True) + 1e-8).sqrt()


def low_pass(x: Tensor, before: int, after: int, gain: float = 1.0) -> Tensor:
    """With so many zeros before and after each row and column."""
    x = F.pad(x, (before, after, before, after))
    height, width = x.shape[2] - 3, x.shape[3] - 3
    return gain * sum(
        a * b * x[:, :, i : i + height, j : j + width] for i, a in enumerate(LINE) for j, b in enumerate(LINE)
    )


def spread(x: Tensor) -> Tensor:
    """A zero behind each pixel, in rows and columns."""
    wide = torch.stack([x, torch.zeros_like(x)], dim=4).flatten(3)
    return torch.stack([wide, torch.zeros_like(wide)], dim=3).flatten(2, 3)


def own_weights(x: Tensor, layer, w: Tensor, *, demodulate: bool, up: bool, scale: float = 1.0) -> Tensor:
    """Equations 1 and 3, then the convolution, image by image."""
    styles = (w @ layer.affine_weight.T / w.shape[1] ** 0.5 + layer.affine_bias) * scale
    made = []
    for image, style in zip(x, styles, strict=True):
        weight = layer.weight * style[None, :, None, None]
        if demodulate:
            weight = weight / ((weight**2).sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:  # a true convolution of the spread map: the kernel is turned round
            image = F.conv2d(F.pad(spread(image[None]), (2, 2, 2, 2)), weight.flip(2, 3))
            made.append(low_pass(image[:, :, :-1, :-1], 1, 1, gain=4.0))
        else:
            made.append(F.conv2d(image[None], weight, padding=weight.shape[2] // 2))
    return torch.cat(made)


def labels_of(book: Textbook, batch) -> Tensor:
    return torch.eye(len(book.model.classes))[batch.labels]


def mapped(mapping, z: Tensor, labels: Tensor) -> Tensor:
    x = torch.cat([normalised(z), normalised(dense(labels, mapping.embed))], dim=1)
    for layer in (mapping.fc0, mapping.fc1):
        x = activated(dense(x, layer, rate=0.01))
    return x


def drawn_ws(book: Textbook, labels: Tensor, rng) -> Tensor:
    """(N, layers, w), some images with a second w from a random layer on."""
    mapping, count, layers = book.model.generator.mapping, len(labels), 6
    first = mapped(mapping, torch.randn(count, book.config.latent_size, generator=rng), labels)
    second = mapped(mapping, torch.randn(count, book.config.latent_size, generator=rng), labels)
    cut = torch.randint(1, layers, (count,), generator=rng)
    mixed = torch.rand(count, generator=rng) < book.config.style_mixing
    rows = []
    for one, other, at, mixing in zip(first, second, cut.tolist(), mixed.tolist(), strict=True):
        rows.append(torch.stack([other if mixing and layer >= at else one for layer in range(layers)]))
    return torch.stack(rows)


def synthesised(network, ws: Tensor, rng) -> Tensor:
    count = len(ws)

    def layer(x: Tensor, module, w: Tensor, up: bool) -> Tensor:
        x = own_weights(x, module, w, demodulate=True, up=up)
        noise = torch.randn(count, 1, *x.shape[2:], generator=rng)
        return activated(x + module.noise_strength * noise + module.bias[:, None, None])

    def image(x: Tensor, module, w: Tensor) -> Tensor:
        made = own_weights(x, module, w, demodulate=False, up=False, scale=module.weight.shape[1] ** -0.5)
        return made + module.bias[:, None, None]

    b4, b8, b16 = network.b4, network.b8, network.b16
    x = layer(b4.const[None].repeat(count, 1, 1, 1), b4.conv1, ws[:, 0], up=False)
    picture = image(x, b4.torgb, ws[:, 1])
    for block, at in ((b8, 1), (b16, 3)):
        x = layer(x, block.conv0, ws[:, at], up=True)
        x = layer(x, block.conv1, ws[:, at + 1], up=False)
        picture = low_pass(spread(picture), 2, 1, gain=4.0) + image(x, block.torgb, ws[:, at + 2])
    return picture


def equalised(x: Tensor, layer, padding: int = 0, stride: int = 1) -> Tensor:
    return F.conv2d(x, layer.weight / layer.weight[0].numel() ** 0.5, stride=stride, padding=padding)


def with_deviation(x: Tensor, group: int) -> Tensor:
    maps = []
    for images in x.split(group):
        deviation = (((images - images.mean(dim=0)) ** 2).mean(dim=0) + 1e-8).sqrt().mean()
        maps.append(deviation.expand(len(images), 1, *x.shape[2:]))
    return torch.cat([x, torch.cat(maps)], dim=1)


def score(book: Textbook, images: Tensor, labels: Tensor) -> Tensor:
    network = book.model.discriminator

    def biased(x: Tensor, layer) -> Tensor:
        return activated(x + layer.bias[:, None, None])

    x = biased(equalised(images, network.b16.fromrgb), network.b16.fromrgb)
    for block in (network.b16, network.b8):
        direct = equalised(low_pass(x, 1, 1), block.skip, stride=2)
        x = biased(equalised(x, block.conv0, padding=1), block.conv0)
        x = biased(equalised(low_pass(x, 2, 2), block.conv1, stride=2), block.conv1)
        x = (x + direct) / 2**0.5
    end = network.b4
    x = biased(equalised(with_deviation(x, book.config.minibatch_group), end.conv, padding=1), end.conv)
    vector = dense(activated(dense(x.flatten(1), end.fc)), end.out)
    label = normalised(dense(labels, network.mapping.embed))
    for number in range(8):
        label = activated(dense(label, getattr(network.mapping, f"fc{number}"), rate=0.01))
    return (vector * label).sum(dim=1) / vector.shape[1] ** 0.5


def step(book: Textbook, batches, rng) -> dict[str, Tensor]:
    config, model = book.config, book.model
    lazily = model.step % 2 == 0  # both intervals are 2
    adam = {"rate": config.learning_rate * 2 / 3, "betas": (0.0, 0.99 ** (2 / 3))}
    r1, path = model.penalties.unbind()

    def fakes(labels: Tensor) -> Tensor:
        ws = drawn_ws(book, labels, rng)
        return synthesised(model.generator.synthesis, ws, rng)

    def minus_log_sigmoid(x: Tensor) -> Tensor:
        return (1 + torch.exp(-x)).log().mean()

    passed = []
    for batch in batches:
        labels = labels_of(book, batch)
        passed.append(minus_log_sigmoid(score(book, fakes(labels), labels)))
    book.descend("generator", [model.generator], mean(passed), **adam)

    if lazily:
        penalties = []
        for batch in batches:
            labels = labels_of(book, batch)[::2]
            ws = drawn_ws(book, labels, rng)
            images = synthesised(model.generator.synthesis, ws, rng)
            y = torch.randn(images.shape, generator=rng) / 16
            (slope,) = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
            lengths = (slope**2).sum(dim=2).mean(dim=1).sqrt()
            penalties.append(((lengths - model.path_length) ** 2).mean())
        path = config.path_weight * mean(penalties)
        book.descend("generator", [model.generator], 2 * path, **adam)

    on_real, on_fake = [], []
    for batch in batches:
        labels = labels_of(book, batch)
        on_fake.append(minus_log_sigmoid(-score(book, fakes(labels).detach(), labels)))
        on_real.append(minus_log_sigmoid(score(book, batch.images, labels)))
    book.descend("discriminator", [model.discriminator], mean(on_real) + mean(on_fake), **adam)

    if lazily:
        squares = []
        for batch in batches:
            real = batch.images.clone().requires_grad_(True)
            scores = score(book, real, labels_of(book, batch))
            (slope,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
            squares.append((slope**2).sum(dim=(1, 2, 3)).mean())
        r1 = config.r1_gamma / 2 * mean(squares)
        book.descend("discriminator", [model.discriminator], 2 * r1, **adam)

    images = sum(len(batch.images) for batch in batches)
    half_life = min(50.0, 1.5 * images * (model.step + 1))
    book.average("generator_ema", of="generator", share=0.5 ** (images / half_life))
    return {
        "generator": mean(passed),
        "discriminator_real": mean(on_real),
        "discriminator_fake": mean(on_fake),
        "path_length": path,
        "r1": r1,
    }

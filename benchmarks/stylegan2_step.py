"""Images/s of StyleGAN2-ADA's training step and of its sampling: ours against plain eager fp32 of the same networks.

    python benchmarks/stylegan2_step.py [--side 64] [--channels 128] [--batch 8] [--repeats 3] [--threads 1]

Plain is what the paper's equations say first: every image has convolution weights of its own (one grouped convolution),
fp32, contiguous, torch.optim.Adam. Ours scales the maps and shares one convolution. Steps with and without the lazy
regularisations are timed apart and averaged as they come (path lengths every 4, R1 every 16). The repeats are
interleaved and CPU seconds are counted, so other load on the machine hits all alike; in brackets stand the lowest and
the highest of them, of a ratio those within a repeat. Steps with a regularisation, a quarter of all and dearer, are
timed once, behind that of the check, so that all ends within three minutes of a core; the spread has none of theirs.
The losses of the first step of plain and of ours in fp32 must agree to 1e-2 (Adam makes steps of full size out of the
last digits of small gradients), else the benchmark fails: both do the same work.
"""

import argparse
import dataclasses
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from common import machine, repeated
from torch import Tensor
from torch.nn import functional as F

from synthmed.generators.stylegan2 import Model
from synthmed.networks import stylegan2 as networks
from synthmed.training.images import Batch

PEERS = "NVlabs' reference operations on 2 threads of such a machine: 17.9 images/s, with ADA at 0.3 13.9"
VARIANTS = {
    "plain, fp32": ("fp32", torch.contiguous_format),
    "ours, fp32": ("fp32", torch.contiguous_format),
    "ours, fp32, channels-last": ("fp32", torch.channels_last),
    "ours, bf16, channels-last": ("bf16", torch.channels_last),
}
# Step → how often such a step comes in 16: with neither regularisation, with path lengths, with both.
STEPS = {1: 12, 4: 3, 0: 1}


def own_weights(x: Tensor, weight: Tensor, styles: Tensor, kernel: Tensor | None) -> tuple[Tensor, Tensor]:
    """modulated_convolution by its definition: weights of their own for each image, as groups of one convolution."""
    count, outputs = len(x), weight.shape[0]
    own = weight * styles[:, None, :, None, None]
    own = own * (own.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, -1, *x.shape[2:])
    if kernel is None:
        x = F.conv2d(x, own.flatten(0, 1), padding=weight.shape[2] // 2, groups=count)
    else:
        x = F.conv_transpose2d(x, own.transpose(1, 2).flatten(0, 1), stride=2, groups=count)
        x = networks.filtered(x, 4 * kernel, padding=1)
    return x.view(count, outputs, *x.shape[2:]), x.new_ones(count, outputs)


@contextmanager
def written(variant: str) -> Iterator[None]:
    """Within the block the networks compute as the variant says."""
    ours = networks.modulated_convolution
    networks.modulated_convolution = own_weights if variant.startswith("plain") else ours
    try:
        yield
    finally:
        networks.modulated_convolution = ours


def built(variant: str, config, shape: tuple[int, int, int], count: int) -> tuple[Model, Batch]:
    precision, memory_format = VARIANTS[variant]
    torch.manual_seed(0)
    model = Model(config, shape, ("one",)).to(memory_format=memory_format)
    model.rng.manual_seed(0)
    model.precision, model.total_steps = precision, 10**9
    if variant.startswith("plain"):
        for name, ours in model.optimizers.items():
            plain = torch.optim.Adam(ours.parameters, ours.param_groups[0]["lr"], ours.betas)
            plain.parameters = ours.parameters
            model.optimizers[name] = plain
    images = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return model, Batch(images.contiguous(memory_format=memory_format), torch.zeros(count, dtype=torch.long))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("side", 64), ("channels", 128), ("batch", 8), ("repeats", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape = (3, arguments.side, arguments.side)
    config = dataclasses.replace(Model.paper_config(shape), channel_max=arguments.channels)
    print(f"{machine()}, torch {torch.__version__}, {arguments.threads} threads")
    print(f"stylegan2, {shape}, at most {arguments.channels} channels, batch {arguments.batch}")
    made = {variant: built(variant, config, shape, arguments.batch) for variant in VARIANTS}

    def step(variant: str, number: int, p: float) -> dict[str, Tensor]:
        model, batch = made[variant]
        model.step = number
        model.probability.p.fill_(p)
        with written(variant):
            return model.train_step([batch])

    def drawn(variant: str) -> Tensor:
        with written(variant):
            return made[variant][0].sample(16, "one", torch.Generator().manual_seed(0), None)

    first = {variant: step(variant, 0, 0.3) for variant in VARIANTS}  # also warms up
    for key, value in first["plain, fp32"].items():
        if abs(first["ours, fp32"][key] - value) > 1e-2 * max(1.0, abs(value)):
            raise SystemExit(f"loss {key} is {first['ours, fp32'][key]}, the plain one's is {value}")

    for title, p in (("without ADA (p = 0)", 0.0), ("with ADA at p = 0.3", 0.3)):
        seconds = {
            number: repeated({v: partial(step, v, number, p) for v in VARIANTS}, repeats)
            for number, repeats in zip(STEPS, (arguments.repeats, 1, 1), strict=True)
        }
        report(f"training step {title}", {v: mean_step(seconds, v) for v in VARIANTS}, arguments.batch)
    report("sampling", repeated({v: partial(drawn, v) for v in VARIANTS}, arguments.repeats), 16)
    print(PEERS)


def mean_step(seconds: dict[int, dict[str, list[float]]], variant: str) -> list[float]:
    """Seconds of the mean step of 16, for each repeat of those without regularisation, with the one time of the others.
    seconds: step → variant → of every repeat."""
    (first, times), *others = STEPS.items()
    rest = sum(share * seconds[number][variant][0] for number, share in others)
    return [(times * one + rest) / 16 for one in seconds[first][variant]]


def report(title: str, seconds: dict[str, list[float]], images: int) -> None:
    """seconds: of each variant in every repeat."""
    print(f"\n{title}", flush=True)
    for variant, values in seconds.items():
        speeds = spread([images / value for value in values])
        ratios = spread([plain / value for plain, value in zip(seconds["plain, fp32"], values, strict=True)])
        print(f"  {variant:28s} {speeds} images/CPU s   {ratios} × plain", flush=True)


def spread(values: list[float]) -> str:
    """Median, lowest and highest."""
    return f"{statistics.median(values):6.2f} [{min(values):.2f}, {max(values):.2f}]"


if __name__ == "__main__":
    main()

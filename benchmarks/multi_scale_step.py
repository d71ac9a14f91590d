"""Images/s of a training step of the multi-scale segmenter's last U-Net, against three U-Nets that are trained apart.

    python benchmarks/multi_scale_step.py [--widths 16 32 64 128] [--sizes 96 64 48] [--batch-size 16] [--steps 2]
                                          [--repeats 5] [--threads 1]

The last network is given the maps of three U-Nets at squares of these sides, which are drawn anew at every step; it is
trained at the first of them. The three apart are trained one step each, at their own size. The first loss of the last
network must be the one that is computed by hand from the maps, to 1e-4, else the benchmark fails. Repeats are
interleaved and CPU seconds are counted.
"""

import argparse
from dataclasses import asdict, replace

import torch
from common import interleaved, machine
from segmenter_step import advance, settings
from torch.nn import functional as F

from synthmed.core.settings import parse
from synthmed.segmenters.multi_scale import FirstNetworks, at_size
from synthmed.segmenters.pairs import Pairs
from synthmed.segmenters.train import Training
from synthmed.segmenters.train_multi_scale import LastTraining, TrainMultiScaleSettings
from synthmed.training.images import resized, to_model


def by_hand(training: LastTraining) -> float:
    """The loss of the first batch of a training, from its networks, without LastTraining."""
    order = torch.randperm(training.images, generator=torch.Generator().set_state(training.rng.get_state()))
    chosen = order[: training.settings.batch_size]
    images = to_model(training.train.images[chosen])
    maps = []
    for network, size in zip(training.first.networks, training.first.sizes, strict=True):
        with torch.no_grad():
            maps.append(2 * resized(network(at_size(images, size)).sigmoid(), training.size) - 1)
    logits = training.model(torch.cat([at_size(images, training.size), *maps], dim=1))
    masks = training.train.masks[chosen].float() / 255
    return float(F.binary_cross_entropy_with_logits(logits, masks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", nargs="+", type=int, default=[16, 32, 64, 128])
    parser.add_argument("--sizes", nargs="+", type=int, default=[96, 64, 48])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2, help="training steps of one repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    arguments.device = "cpu"
    torch.set_num_threads(arguments.threads)
    print(f"{machine()}, torch {torch.__version__}")

    rng, count = torch.Generator().manual_seed(0), arguments.batch_size * (2 + arguments.steps * arguments.repeats)
    side, device = arguments.sizes[0], torch.device("cpu")
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=rng)
    masks = 255 * torch.randint(0, 2, (count, 1, side, side), dtype=torch.uint8, generator=rng)
    whole, chosen = Pairs(images, masks, []), settings("unet", arguments)
    apart = []
    for own in arguments.sizes:
        small = resized(images.float(), (own, own)).round().clamp(0, 255).to(torch.uint8)
        outlined = F.interpolate(masks.float(), (own, own), mode="nearest-exact").to(torch.uint8)
        pairs = Pairs(small, outlined, [])
        apart.append(Training(replace(chosen, size=(own, own)), 0, (pairs, pairs), device, (1e-4, 0.0)))
    first = FirstNetworks([one.model for one in apart], [(own, own) for own in arguments.sizes])
    joined = parse(TrainMultiScaleSettings, asdict(chosen) | {"size": [side, side], "join": "maps"})
    last = LastTraining(joined, 0, (whole, whole), device, first, [], torch.zeros(0))
    expected = by_hand(last)
    found = advance(last)
    if abs(found - expected) > 1e-4:
        raise SystemExit(f"the first loss is {found}, by hand {expected}")
    for one in apart:
        one.model.requires_grad_(True)  # FirstNetworks froze them
        advance(one)

    def several(trainings: list[Training]) -> None:
        for _ in range(arguments.steps):
            for one in trainings:
                advance(one)

    contestants = {"three U-Nets, apart": lambda: several(apart), "last U-Net over their maps": lambda: several([last])}
    seconds = interleaved(contestants, arguments.repeats)
    print(f"\nU-Nets {arguments.widths} at {arguments.sizes} pixels, batch {arguments.batch_size}")
    for name, value in seconds.items():
        print(f"  {name:28s} {arguments.batch_size * arguments.steps / value:8.2f} images/CPU s")


if __name__ == "__main__":
    main()

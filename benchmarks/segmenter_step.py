"""Images/s of one training step of a segmenter: ours against the same network in plain eager fp32, in one run.

    python benchmarks/segmenter_step.py [--architectures unet pix2pix] [--widths 16 32 64 128] [--image-size 64]
                                        [--batch-size 16] [--steps 2] [--repeats 5] [--threads 1] [--device cpu]

Ours is the step of `synthmed train-segmenter` (its batch, IoU of the batch, loss, backward, Adam). The plain one has
the same network and weights, torch.optim.Adam as it comes and no IoU; it is what a user would write. Both see the same
images in the same order. Repeats are interleaved; on a CPU its seconds are counted, so other load hits all alike. The
first loss of every fp32 variant must agree with the plain one to 1e-4, those of bf16 to 0.05, else the benchmark fails.
"""

import argparse
import time
from dataclasses import replace

import torch
from common import interleaved, machine
from torch.nn import functional as F

from synthmed.augment.pairs import Elastic, PairAugmentation
from synthmed.segmenters.pairs import Pairs
from synthmed.segmenters.settings import TrainSegmenterSettings
from synthmed.segmenters.train import Training
from synthmed.training.images import to_model

VARIANTS = {
    "ours, fp32": ("fp32", False),
    "ours, fp32, channels-last": ("fp32", True),
    "ours, bf16, channels-last": ("bf16", True),
}


def settings(architecture: str, arguments: argparse.Namespace) -> TrainSegmenterSettings:
    return TrainSegmenterSettings(
        architecture=architecture,
        widths=tuple(arguments.widths),
        spectral_norm=False,
        masks="classes",
        size=None,
        loss="bce",
        class_weights="none",
        seeds=1,
        steps=10**6,
        check_every=10**6,
        patience=None,
        learning_rates=(1e-4,),
        dropouts=(0.0,),
        schedule="constant",
        augmentation=PairAugmentation(True, True, 0.0, 0.0, 0.0),
        elastic=Elastic(0.05, 0.1),
        save_every=1,
        batch_size=arguments.batch_size,
        accumulate=1,
        precision="fp32",
        channels_last=False,
        threads=arguments.threads,
        processes=1,
        device=arguments.device,
        seed=1,
        arm=None,
        sets=(),
        augment=False,
    )


def advance(training: Training) -> float:
    """One step of ours; the loss."""
    losses = training.train_step(training.next_batches())
    training.step += 1
    return float(losses["loss"])


def plain(training: Training) -> "callable":
    """One step of the textbook on the network, images and order of a training."""
    model, optimizer = training.model, torch.optim.Adam(training.model.parameters(), 1e-4)
    images, masks = training.train.images, training.train.masks
    order = iter(torch.randperm(len(images), generator=training.rng).split(training.settings.batch_size))

    def step() -> float:
        chosen = next(order)
        batch = to_model(images[chosen]).to(training.device)
        target = (masks[chosen].float() / 255).to(training.device)
        model.train()
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(batch), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def measure(architecture: str, arguments: argparse.Namespace) -> None:
    """Time all variants of one architecture and print its table."""
    rng = torch.Generator().manual_seed(0)
    count = arguments.batch_size * (2 + arguments.steps * arguments.repeats)
    side, device = arguments.image_size, torch.device(arguments.device)
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=rng)
    masks = 255 * torch.randint(0, 2, (count, 1, side, side), dtype=torch.uint8, generator=rng)
    pairs, chosen = Pairs(images, masks, []), settings(architecture, arguments)
    contestants = {"plain eager fp32": plain(Training(chosen, 0, (pairs, pairs), device, (1e-4, 0.0)))}
    for name, (precision, channels_last) in VARIANTS.items():
        own = replace(chosen, precision=precision, channels_last=channels_last)
        training = Training(own, 0, (pairs, pairs), device, (1e-4, 0.0))
        contestants[name] = lambda training=training: advance(training)
    first = {name: step() for name, step in contestants.items()}  # also warms up
    for name, loss in first.items():
        if abs(loss - first["plain eager fp32"]) > (0.05 if "bf16" in name else 1e-4):
            raise SystemExit(f"{architecture}, {name}: first loss {loss}, plain {first['plain eager fp32']}")

    def several(step) -> None:
        for _ in range(arguments.steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    timed = {name: (lambda step=step: several(step)) for name, step in contestants.items()}
    seconds = interleaved(timed, arguments.repeats, time.process_time if device.type == "cpu" else time.perf_counter)
    print(f"\n{architecture} {arguments.widths}: 3 × {side} × {side}, batch {arguments.batch_size}, {device}")
    for name, value in seconds.items():
        rate = arguments.batch_size * arguments.steps / value
        print(f"  {name:28s} {rate:8.2f} images/s   {seconds['plain eager fp32'] / value:5.2f} × plain")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architectures", nargs="+", default=["unet", "pix2pix"])
    parser.add_argument("--widths", nargs="+", type=int, default=[16, 32, 64, 128])
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2, help="training steps of one repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    print(f"{machine()}, torch {torch.__version__}")
    for architecture in arguments.architectures:
        measure(architecture, arguments)


if __name__ == "__main__":
    main()

"""Images/s of one training step of the classifiers: precision and memory format against plain fp32, in one run.

    python benchmarks/classifier_step.py [--architectures small_cnn resnet50] [--image-size 64 224] [--batch-size 32 8]
                                         [--steps 2] [--repeats 5] [--threads 1]

The step is that of `synthmed train-classifier` (augmentation, forward, backward, Adam; no validation) on random images
of one channel with two targets. The repeats are interleaved and CPU seconds are counted, so other load on the machine
hits all alike. The first loss of every fp32 variant must agree with plain fp32 to 1e-3, those of bf16 to 0.1, else the
benchmark fails: all do the same work.
"""

import argparse

import torch
from common import interleaved, machine

from synthmed.classifiers.labelled_images import Part
from synthmed.classifiers.network import Training
from synthmed.classifiers.network_settings import NetworkSettings
from synthmed.training.device import choose_device

VARIANTS = {
    "fp32, contiguous": ("fp32", False),
    "fp32, channels-last": ("fp32", True),
    "bf16, contiguous": ("bf16", False),
    "bf16, channels-last": ("bf16", True),
}
CHANNELS = (16, 32, 64)
"""Of the small CNN, as at the default scale."""


def settings(architecture: str, batch: int, precision: str, channels_last: bool, threads: int) -> NetworkSettings:
    return NetworkSettings(
        targets=("first", "second"),
        target_column="label",
        missing="error",
        arm=None,
        sets=(),
        holdout=None,
        architecture=architecture,
        channels=CHANNELS if architecture == "small_cnn" else None,
        dropout=0.2,
        size=None,
        pretrained=None,
        seed=1,
        seeds=1,
        steps=10**6,
        check_every=10**6,
        batch_size=batch,
        accumulate=1,
        processes=1,
        learning_rate=1e-4,
        schedule="constant",
        class_weights="balanced",
        flip=True,
        shift=0.03,
        select="loss",
        precision=precision,
        channels_last=channels_last,
        save_every=1,
        threads=threads,
        device="cpu",
    )


def advance(training: Training) -> float:
    """One step; the loss."""
    losses = training.train_step(training.next_batches())
    training.step += 1
    return float(losses["loss"])


def measure(architecture: str, size: int, batch: int, arguments: argparse.Namespace) -> None:
    """Time all variants of one architecture and print its table."""
    rng = torch.Generator().manual_seed(0)
    steps = 1 + arguments.steps * arguments.repeats + 1
    pixels = torch.randint(0, 256, (batch * steps, 1, size, size), dtype=torch.uint8, generator=rng)
    targets = torch.randint(0, 2, (batch * steps, 2), generator=rng).float()
    part = Part(pixels, targets, [])
    trainings, first = {}, {}
    for variant, (precision, channels_last) in VARIANTS.items():
        chosen = settings(architecture, batch, precision, channels_last, arguments.threads)
        trainings[variant] = Training(chosen, 0, (part, part), None, torch.device("cpu"))
        first[variant] = advance(trainings[variant])  # also warms up
    plain = next(iter(VARIANTS))
    for variant, (precision, _) in VARIANTS.items():
        if abs(first[variant] - first[plain]) > (1e-3 if precision == "fp32" else 0.1):
            raise SystemExit(f"{architecture}, {variant}: first loss {first[variant]}, of {plain} {first[plain]}")

    def several(training: Training) -> None:
        for _ in range(arguments.steps):
            advance(training)

    seconds = interleaved(
        {variant: lambda training=training: several(training) for variant, training in trainings.items()},
        arguments.repeats,
    )
    print(f"\n{architecture}: 1 × {size} × {size}, batch {batch}, {arguments.threads} threads")
    for variant, value in seconds.items():
        rate = batch * arguments.steps / value
        print(f"  {variant:20s} {rate:8.2f} images/CPU s   {seconds[plain] / value:5.2f} × {plain}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architectures", nargs="+", default=["small_cnn", "resnet50"])
    parser.add_argument("--image-size", nargs="+", type=int, default=[64, 224], help="one for each architecture")
    parser.add_argument("--batch-size", nargs="+", type=int, default=[32, 8], help="one for each architecture")
    parser.add_argument("--steps", type=int, default=2, help="training steps of one repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    choose_device("cpu")
    print(f"{machine()}, torch {torch.__version__}")
    for architecture, size, batch in zip(
        arguments.architectures, arguments.image_size, arguments.batch_size, strict=True
    ):
        measure(architecture, size, batch, arguments)


if __name__ == "__main__":
    main()

"""AnoGAN: images/s of a search in one batch against one image after another, and what the encoder's start saves.

    python benchmarks/anomaly_search.py [--images 32] [--steps 100] [--repeats 3] [--threads 1] [--device cpu]
                                        [--checkpoint FILE --model NAME --train SET --queries SET]

Without a checkpoint a small DCGAN is first trained on normal phantoms (about a minute), because what an encoder saves
depends on a generator that has learnt something. The contestants do the same work: the same images, starts and number
of steps, no early stop; the losses they find must agree to 5 %, else the benchmark fails. Repeats are interleaved and
CPU seconds are counted (with --device cuda: seconds by the clock).

The encoder's start: how many steps, and seconds with the encoder's own pass, until the mean loss is as low as that of
random starts after all their steps.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import interleaved, machine
from PIL import Image

from synthmed.anomaly.encoder import EncoderSettings, load_encoder, train_encoder
from synthmed.anomaly.inputs import choose_images, read_images
from synthmed.anomaly.search import Candidates, SearchSettings, search_batch
from synthmed.core.settings import parse
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.data.phantoms import chest_xray
from synthmed.generators.base import Generator
from synthmed.generators.sampling import load_generator
from synthmed.generators.train import TrainSettings, train
from synthmed.training.device import choose_device
from synthmed.training.images import to_model

SIDE = 64
GENERATOR = {
    "model": "dcgan",
    "classes": ["normal"],
    "labels": ["normal"],
    "learns": "images",
    "seed": 1,
    "config": {
        "latent_size": 64,
        "generator_channels": [128, 64, 32, 16],
        "discriminator_channels": [16, 32, 64, 128],
        "kernel_size": 4,
        "learning_rate": 5.0e-4,
        "beta1": 0.5,
        "dropout": 0.0,
        "ema_decay": 0.99,
    },
    "training": {
        "steps": 800,
        "batch_size": 16,
        "size": None,
        "masks": None,
        "accumulate": 1,
        "precision": "fp32",
        "channels_last": True,
        "jitter": None,
        "flip": False,
        "threads": 1,
        "log_every": 400,
        "sample_every": 400,
        "keep_every": None,
        "save_every": 400,
        "device": "cpu",
    },
}
PHANTOMS = chest_xray.PhantomSettings(
    normal=1, abnormal=0, seed=0, difficulty=0.0, image_size=128, device_share=0.0, text_share=0.0,
    black_border_share=0.0, palette_share=0.0,
)  # fmt: skip


def write_phantoms(path: Path, seed: int, count: int) -> Path:
    """An image set of normal films."""

    def rows() -> Iterator[tuple[dict, np.ndarray]]:
        for number in range(count):
            pixels = chest_xray.draw(np.random.default_rng([seed, number]), PHANTOMS, "normal").pixels
            small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            yield {"image": f"{number:05d}.png", "label": "normal", "patient": str(number)}, np.asarray(small)

    write_image_set(path, rows())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--encoder-steps", type=int, default=1000, help="training steps of the encoder")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--checkpoint", type=Path, help="a trained generator; then also --model, --train and --queries")
    parser.add_argument("--model", default="dcgan")
    parser.add_argument("--train", type=Path, help="image set with normal images, for the encoder")
    parser.add_argument("--queries", type=Path, help="image set to search for")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    print(f"{machine()}, torch {torch.__version__}, {device}")
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), arguments, device)


def measure(folder: Path, arguments: argparse.Namespace, device: torch.device) -> None:
    checkpoint, training, queries = arguments.checkpoint, arguments.train, arguments.queries
    if checkpoint is None:
        training, queries = write_phantoms(folder / "train.zip", 1, 400), write_phantoms(folder / "queries.zip", 2, 200)
        checkpoint = folder / "generator.pt"
        settings = parse(TrainSettings, GENERATOR)
        files = {"history": folder / "h.csv", "samples": folder / "s.png", "states": folder / "states.zip"}
        train(settings, images=training, checkpoint=checkpoint, **files)
    model = load_generator(checkpoint).to(device)
    image_set = ImageSet(queries)
    chosen = choose_images(image_set, ("normal",), arguments.images, seed=1)
    pixels = to_model(read_images(image_set, chosen).to(device))
    settings = SearchSettings(
        model=arguments.model, seed=1, labels=None, limit=None, start="random", restarts=1, candidates=64,
        steps=arguments.steps, learning_rate=0.1, feature_weight=0.0, prior_weight=0.0, clip=None, tolerance=0.0,
        patience=arguments.steps, batch_size=len(chosen), precision="fp32", log_every=10**6, threads=arguments.threads,
        device=arguments.device,
    )  # fmt: skip
    print(
        f"\n{arguments.model}, {' × '.join(map(str, model.image_shape))}, {len(chosen)} images, {settings.steps} steps"
    )
    compare_batches(model, pixels, settings, arguments.repeats)
    compare_starts(folder, model, pixels, settings, arguments, checkpoint, training)


def compare_batches(model: Generator, pixels: torch.Tensor, settings: SearchSettings, repeats: int) -> None:
    """One batch against batches of 1 and of 8."""
    candidates = Candidates(model, settings)
    losses: dict[str, np.ndarray] = {}

    def search(name: str, size: int) -> None:
        parts = [search_batch(model, part, [""] * len(part), settings, candidates, None) for part in pixels.split(size)]
        losses[name] = np.concatenate([part.loss for part in parts])

    sizes = {"one by one": 1, "8 at once": 8, "all at once": len(pixels)}
    contestants = {name: partial(search, name, size) for name, size in sizes.items()}
    for contestant in contestants.values():  # warms up
        contestant()
    for name, found in losses.items():
        if not np.allclose(found.mean(), losses["one by one"].mean(), rtol=0.05):
            raise SystemExit(f"{name}: mean loss {found.mean()}, one by one {losses['one by one'].mean()}")
    seconds = timed(contestants, repeats, pixels.device)
    for name, value in seconds.items():
        ratio = seconds["one by one"] / value
        rate, loss = len(pixels) / value, losses[name].mean()
        print(f"  {name:12s} {rate:8.2f} images/s   {ratio:5.2f} × one by one   mean loss {loss:.6f}")


def timed(contestants: dict, repeats: int, device: torch.device) -> dict[str, float]:
    """Median CPU seconds of each, or seconds by the clock on a GPU."""
    if device.type == "cpu":
        return interleaved(contestants, repeats)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, contestant in contestants.items():
            torch.cuda.synchronize()
            before = time.perf_counter()
            contestant()
            torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - before)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def compare_starts(
    folder: Path,
    model: Generator,
    pixels: torch.Tensor,
    settings: SearchSettings,
    arguments: argparse.Namespace,
    checkpoint: Path,
    training: Path,
) -> None:
    """Random starts with all steps against the encoder's start with as few as reach the same mean loss."""
    before = time.process_time()
    train_encoder(
        EncoderSettings(
            model=settings.model, seed=1, labels=("normal",), limit=None, channels=(16, 32, 64, 128),
            steps=arguments.encoder_steps, batch_size=16, learning_rate=1e-3, feature_weight=0.0, latent_weight=0.0,
            precision="fp32", log_every=100, save_every=100, threads=settings.threads, device=settings.device,
        ),
        checkpoint=checkpoint, images=training, encoder=folder / "encoder.pt", history=folder / "encoder.csv",
    )  # fmt: skip
    print(f"\nencoder trained in {time.process_time() - before:.0f} CPU s ({arguments.encoder_steps} steps)")
    encoder = load_encoder(folder / "encoder.pt", checkpoint, model).to(pixels.device)
    nothing = [""] * len(pixels)
    found: dict[str, float] = {}

    def random(candidates: int) -> None:
        chosen = replace(settings, candidates=candidates)
        drawn = Candidates(model, chosen)
        found[f"random {candidates}"] = search_batch(model, pixels, nothing, chosen, drawn, None).loss.mean()

    def encoded(steps: int) -> None:
        with torch.no_grad():
            z = encoder(pixels)
        shorter = replace(settings, start="encoder", steps=steps)
        found[f"encoder {steps}"] = search_batch(model, pixels, nothing, shorter, None, z).loss.mean()

    random(1)
    enough = None
    for steps in range(1, settings.steps + 1):
        encoded(steps)
        if found[f"encoder {steps}"] <= found["random 1"]:
            enough = steps
            break
    contestants = {"random 1": partial(random, 1), "random 64": partial(random, 64), "encoder 1": partial(encoded, 1)}
    if enough is None:
        print(f"the encoder's start does not reach the loss of random starts within {settings.steps} steps")
    elif enough > 1:
        contestants[f"encoder {enough}"] = partial(encoded, enough)
    for contestant in contestants.values():
        contestant()
    seconds = timed(contestants, arguments.repeats, pixels.device)
    words = {
        "random 1": f"one random start, {settings.steps} steps",
        "random 64": f"nearest of 64 random starts, {settings.steps} steps",
        "encoder 1": "encoder alone, 1 pass",
        f"encoder {enough}": f"encoder's start, {enough} steps",
    }
    for name, value in seconds.items():
        rate, ratio = len(pixels) / value, seconds["random 1"] / value
        print(
            f"  {words[name]:40s} {rate:9.2f} images/s   {ratio:6.2f} × one random start   mean loss {found[name]:.6f}"
        )


if __name__ == "__main__":
    main()

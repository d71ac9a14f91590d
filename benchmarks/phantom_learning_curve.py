"""How hard are the phantoms? AUROC of a simple classifier against the number of training films, for some difficulties.

    .venv/bin/python benchmarks/phantom_learning_curve.py

prints the table and the milliseconds a film takes, and writes docs/phantom_learning_curve.png. The films are shrunk to
64 × 64. The classifier is ridge regression on random features (random 5 × 5 filters at two scales, magnitudes averaged
over a 6 × 6 grid), its penalty chosen by leave-one-out: no GPU, no pretrained weights, the same numbers everywhere. The
AUROC of the brightness of the upper lungs alone is printed too: the task must not be a test of brightness.
"""

import argparse
import itertools
import time
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from synthmed.data.phantoms.chest_xray import PhantomSettings, draws

matplotlib.use("Agg")
from matplotlib import pyplot

SIDE = 64
TEST_FILMS = 800
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)


def films(difficulty: float, seed: int, count: int, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Films as a model sees them: uint8 (count, 64, 64), and labels (count,) 0 normal, 1 abnormal, alternating."""
    settings = PhantomSettings(
        normal=count // 2,
        abnormal=count // 2,
        seed=seed,
        difficulty=difficulty,
        image_size=image_size,
        device_share=0.15,
        text_share=0.5,
        black_border_share=0.5,
        palette_share=0.2,
    )
    labels = itertools.islice(itertools.cycle(("normal", "abnormal")), count)
    pixels = np.empty((count, SIDE, SIDE), np.uint8)
    for number, phantom in enumerate(draws(settings, seed, labels)):
        pixels[number] = np.asarray(Image.fromarray(phantom.pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return pixels, np.arange(count) % 2


def random_features(pixels: np.ndarray) -> np.ndarray:
    """Log mean magnitude of 48 random zero-mean 5 × 5 filters at two scales over a 6 × 6 grid: float32 (N, 3456)."""
    rng = np.random.default_rng(0)
    parts = []
    for shrink in (1, 2):
        side = SIDE // shrink
        images = pixels.reshape(-1, side, shrink, side, shrink).mean((2, 4), dtype=np.float32) / 64
        filters = rng.standard_normal((25, 48), dtype=np.float32)
        filters -= filters.mean(axis=0)
        filters /= np.linalg.norm(filters, axis=0)
        patches = np.lib.stride_tricks.sliding_window_view(images, (5, 5), axis=(1, 2))
        places = patches.shape[1]
        edges = np.linspace(0, places, 7).astype(int)[:-1]
        chunks = []
        for start in range(0, len(images), 100):  # bounded memory
            magnitude = np.abs(patches[start : start + 100].reshape(-1, 25) @ filters).reshape(-1, places, places, 48)
            pooled = np.add.reduceat(np.add.reduceat(magnitude, edges, axis=1), edges, axis=2)
            chunks.append(pooled.reshape(len(pooled), -1))
        parts.append(np.log(np.concatenate(chunks) + 1e-3))
    return np.concatenate(parts, axis=1)


def ridge_scores(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Scores of `test` (N,) by ridge regression on standardised features, penalty by leave-one-out error."""
    mean, spread = train.mean(axis=0), train.std(axis=0) + 1e-6
    train, test = (train - mean) / spread, (test - mean) / spread
    values, vectors = np.linalg.eigh((train @ train.T / train.shape[1]).astype(np.float64))
    target = 2.0 * labels - 1
    trials = []
    for penalty in PENALTIES:
        inverse = (vectors / (values + penalty)) @ vectors.T
        weights = inverse @ target
        trials.append((np.mean((weights / np.diag(inverse)) ** 2), penalty, weights))
    weights = min(trials, key=lambda trial: trial[:2])[2]
    return test @ (train.T @ weights) / train.shape[1]


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Probability that a positive scores higher than a negative, ties counted half."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    return float((np.sign(positive[:, None] - negative[None]) + 1).mean() / 2)


def figure(sizes: list[int], results: dict[float, list[list[float]]], path: Path) -> None:
    """One curve a difficulty: mean over disjoint training sets, with a band of one standard deviation."""
    canvas, axes = pyplot.subplots(figsize=(5.2, 3.5), dpi=110)
    for difficulty, values in results.items():
        mean, spread = (np.array([statistic(row) for row in values]) for statistic in (np.mean, np.std))
        (line,) = axes.plot(sizes, mean, "o-", label=f"difficulty {difficulty:g}")
        axes.fill_between(sizes, mean - spread, mean + spread, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlabel="training films", ylabel=f"AUROC on {TEST_FILMS} other films", ylim=(0.45, 1.0))
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.legend(frameon=False, loc="lower right")
    canvas.tight_layout()
    canvas.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--difficulties", type=float, nargs="+", default=[0.1, 0.3, 0.6])
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 200, 400, 800, 1600])
    parser.add_argument("--image-size", type=int, default=256, help="pixels of the longer side of the raw film")
    parser.add_argument("--figure", type=Path, default=Path("docs/phantom_learning_curve.png"))
    options = parser.parse_args()
    largest = max(options.sizes)
    results = {}
    for difficulty in options.difficulties:
        start = time.process_time()
        test, test_labels = films(difficulty, 1, TEST_FILMS, options.image_size)
        train, train_labels = films(difficulty, 2, largest, options.image_size)
        cost = (time.process_time() - start) / (TEST_FILMS + largest)
        print(f"difficulty {difficulty:g}: {1000 * cost:.1f} ms of one core for a film")
        upper = test[:, 10:24, 14:50].mean((1, 2)) / test.mean((1, 2))
        print(f"  brightness of the upper lungs: AUROC {auroc(test_labels, upper):.3f}")
        train_features, test_features = random_features(train), random_features(test)
        results[difficulty] = []
        for size in options.sizes:
            row = []
            for first in range(0, min(largest, 8 * size) - size + 1, size):  # disjoint training sets, at most eight
                part = slice(first, first + size)
                row.append(auroc(test_labels, ridge_scores(train_features[part], train_labels[part], test_features)))
            results[difficulty].append(row)
            print(f"  {size:5d} films: AUROC {np.mean(row):.3f} ± {np.std(row):.3f} ({len(row)} sets)", flush=True)
    figure(options.sizes, results, options.figure)


if __name__ == "__main__":
    main()

"""Fréchet distance: ours against scipy's matrix square root and torch-fidelity, on the same features; and all metrics.

    python benchmarks/frechet.py [--images 400] [--dimensions 2048] [--repeats 3] [--threads 1] [--skip-sqrtm]

From features to the number, on both sides (the references make their covariances first). Values must agree to 1e-4
relative, else the benchmark fails. Then all metrics of one pair from one pass (the step's evaluate(), with intervals,
for all images and for each label, settings of params.yaml) against torch-fidelity's FID, KID and precision and recall
one after the other, for all images together and without intervals. CPU seconds, medians of interleaved repeats; the
square root takes long and runs once.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
import scipy
import torch
from common import interleaved, machine, read_params
from threadpoolctl import threadpool_limits

from synthmed.core.settings import parse
from synthmed.data.features import Features
from synthmed.evaluation.fidelity import MetricSettings, evaluate
from synthmed.metrics.fidelity import frechet_distance


def made_up(count: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of rectified, correlated Gaussian features (N, D) float32, of slightly different distributions."""
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((dimensions, dimensions)) / np.sqrt(dimensions)
    real = np.maximum(rng.standard_normal((count, dimensions)) @ mix, 0)
    fake = np.maximum(1.1 * rng.standard_normal((count, dimensions)) @ mix + 0.1, 0)
    return real.astype(np.float32), fake.astype(np.float32)


def by_square_root(real: np.ndarray, fake: np.ndarray) -> float:
    """As pytorch-fid computes it: trace of scipy.linalg.sqrtm of the product of the covariances."""
    covariances = [np.cov(x.astype(np.float64), rowvar=False) for x in (real, fake)]
    shift = real.mean(axis=0, dtype=np.float64) - fake.mean(axis=0, dtype=np.float64)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    return float(shift @ shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(root).real)


def by_torch_fidelity(real: np.ndarray, fake: np.ndarray) -> float:
    """torch-fidelity's eigenvalues of the product of the covariances."""
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(torch.from_numpy(x.astype(np.float64))) for x in (real, fake)]
    return fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]


def torch_fidelity_metrics(real: np.ndarray, fake: np.ndarray, neighbours: int) -> None:
    """FID, KID (its own default: 100 subsets, here as large as the sets allow up to 1000), precision and recall."""
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    by_torch_fidelity(real, fake)
    pair = torch.from_numpy(fake), torch.from_numpy(real)
    kid_features_to_metric(*pair, kid_subset_size=min(1000, len(real)), verbose=False)
    prc_features_to_metric(*pair, prc_neighborhood=neighbours, verbose=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=400, help="of each side")
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--skip-sqrtm", action="store_true", help="it takes the longest by far")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with threadpool_limits(arguments.threads):
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """Time and print both comparisons."""
    real, fake = made_up(arguments.images, arguments.dimensions)
    print(f"{machine()}, numpy {np.__version__}, scipy {scipy.__version__}, {arguments.threads} threads")
    print(f"two sets of {arguments.images} × {arguments.dimensions} features\n\nFréchet distance, from the features")
    contestants = {
        "ours": partial(frechet_distance, real, fake),
        "torch-fidelity": partial(by_torch_fidelity, real, fake),
    }
    values = {name: run() for name, run in contestants.items()}  # warms up
    seconds = interleaved(contestants, arguments.repeats)
    if not arguments.skip_sqrtm:
        start = time.process_time()
        values["scipy.linalg.sqrtm"] = by_square_root(real, fake)
        seconds["scipy.linalg.sqrtm"] = time.process_time() - start
    for name, value in values.items():
        print(
            f"  {name:20s} {value:14.6f}   {seconds[name]:8.3f} CPU s   {seconds[name] / seconds['ours']:7.1f} × ours"
        )
    for name, value in values.items():
        if abs(value - values["ours"]) > 1e-4 * abs(values["ours"]):
            raise SystemExit(f"{name} says {value}, ours {values['ours']}")

    experiment = next(iter(read_params(None)["experiments"].values()))
    settings = parse(MetricSettings, {**experiment["fidelity"]["metrics"], "seed": experiment["seed"]})
    labels = np.array(experiment["classes"])[np.arange(arguments.images) % 2]

    def features(x: np.ndarray) -> Features:
        names = np.arange(len(x)).astype(str)
        whole = Features(Path("made up"), names, labels, names, np.zeros(len(x), int), x, None, None, "made up")
        return whole.in_double()

    contestants = {
        "ours: every metric, with intervals, all images and each label": partial(
            evaluate, features(real), features(fake), settings
        ),
        "torch-fidelity: FID, KID, precision and recall, all images": partial(
            torch_fidelity_metrics, real, fake, settings.neighbours
        ),
    }
    results = contestants[next(iter(contestants))]()
    seconds = interleaved(contestants, arguments.repeats)
    numbers = sum(
        1 for group in results.values() for value in group.values() if isinstance(value, dict) and "low" in value
    )
    ours, reference = seconds.values()
    print(f"\nAll metrics of one pair ({numbers} estimates with intervals on our side)")
    for name, value in seconds.items():
        print(f"  {name:64s} {value:8.3f} CPU s")
    print(f"  reference / ours: {reference / ours:.2f}")


if __name__ == "__main__":
    main()

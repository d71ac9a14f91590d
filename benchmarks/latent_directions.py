"""CPU seconds of finding directions in latent space: PCA (GANSpace) and SeFa, against scikit-learn's PCA.

    python benchmarks/latent_directions.py [--codes 20000] [--dimensions 512] [--count 20] [--repeats 3] [--threads 1]

Made-up codes whose spread falls as that of w does. Three ways to the principal directions: ours (eigenvectors of the
covariance), a singular value decomposition of all codes, and `sklearn.decomposition.PCA` as it chooses by itself; they
must agree (cosine 1 to 1e-5), else the benchmark fails. SeFa needs no codes: its weights are those of a StyleGAN2 of
the size of seed 003. Median over interleaved repeats.
"""

import argparse

import numpy as np
from common import interleaved, machine
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from synthmed.latent.directions import principal_directions, units, weight_directions

STYLES = (512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 256, 256, 128)
"""Channels that the styles of its convolutions scale, as rows of the weights, at 256²."""


def decomposed(codes: np.ndarray, count: int) -> np.ndarray:
    """Principal directions by a singular value decomposition of all codes."""
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    coordinates, *_ = np.linalg.svd(centred, full_matrices=False)
    return units(coordinates[:, :count].T @ centred)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codes", type=int, default=20_000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--count", type=int, default=20, help="directions that are wanted")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    rng, count = np.random.default_rng(0), arguments.count
    turn = np.linalg.qr(rng.standard_normal((arguments.dimensions,) * 2))[0]
    spread = 1 / np.sqrt(np.arange(1, arguments.dimensions + 1))
    codes = ((rng.standard_normal((arguments.codes, arguments.dimensions)) * spread) @ turn).astype(np.float32)
    weights = rng.standard_normal((sum(STYLES), arguments.dimensions)).astype(np.float32)
    ways = {
        "PCA, ours": lambda: principal_directions(codes, codes, count),
        "PCA, all codes decomposed": lambda: decomposed(codes, count),
        "PCA, scikit-learn": lambda: PCA(count).fit(codes).components_,
        "SeFa, ours": lambda: weight_directions(weights, count),
    }
    print(f"{machine()}\n{arguments.codes} codes of {arguments.dimensions} numbers, {count} directions")
    with threadpool_limits(arguments.threads):
        wanted = ways["PCA, ours"]()
        for name in ("PCA, all codes decomposed", "PCA, scikit-learn"):
            if not np.allclose(np.abs((ways[name]() * wanted).sum(axis=1)), 1, atol=1e-5):
                raise SystemExit(f"{name} finds other directions than ours")
        seconds = interleaved(ways, arguments.repeats)
    for name, second in seconds.items():
        print(f"  {name:28s}{second:8.3f} s   {second / seconds['PCA, ours']:6.1f} × ours", flush=True)


if __name__ == "__main__":
    main()

"""How near the axes of the step disease-axes come to known ones: the table of docs/disease_axes.md.

    python benchmarks/known_axes.py

A classifier that answers two diseases, each from 1.5 standard deviations along its true axis on; codes are standard
normal. Printed: the cosine between the axis found for the first disease and the true one, mean over worlds.
"""

import argparse

import numpy as np
from scipy.special import expit

from synthmed.core.errors import InputError
from synthmed.latent.axes import class_weights, orthogonalised, regression_slopes, single_patterns

RIDGES = (0.0, 0.03, 0.1, 0.3, 1.0, 10.0)
METHODS = ("none", "from_others")


def world(seed: int, count: int, dimensions: int, cosine: float) -> tuple[np.ndarray, np.ndarray]:
    """Codes (count, dimensions) and likelihoods (count, 3) of normal and two diseases with true axes at `cosine`."""
    codes = np.random.default_rng(seed).standard_normal((count, dimensions))
    first = codes[:, 0]
    second = cosine * codes[:, 0] + np.sqrt(1 - cosine**2) * codes[:, 1]
    return codes, expit(8 * np.stack([1.2 - np.maximum(first, second), first - 1.5, second - 1.5], axis=1))


def cosines(codes: np.ndarray, likelihoods: np.ndarray, ridge: float) -> list[float]:
    """Against all; the same with what is shared taken out; against normal; the same with what is shared taken out."""
    patterns = single_patterns(likelihoods, 0.9, 0.1)

    def slopes(classes: tuple[int, ...], outputs: list[int]) -> np.ndarray:
        rows = np.isin(patterns, classes)
        return regression_slopes(codes[rows], likelihoods[rows][:, outputs], class_weights(patterns[rows]), ridge)

    against_all = slopes((0, 1, 2), [1, 2])
    against_normal = np.concatenate([slopes((0, 1), [1]), slopes((0, 2), [2])])
    axes = [orthogonalised(found, how, [0, 1])[0][0] for found in (against_all, against_normal) for how in METHODS]
    return [float(axis[0]) for axis in axes]  # the true axis is the first unit vector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=4)
    worlds = parser.parse_args().worlds
    for cosine in (0.0, 0.5):
        for count, dimensions in ((30000, 512), (4000, 512), (750, 512), (4000, 64)):
            drawn = [world(seed, count, dimensions, cosine) for seed in range(worlds)]
            share = np.mean([(single_patterns(found, 0.9, 0.1) == 1).mean() for _, found in drawn])
            print(f"{count} samples of {dimensions} dimensions, cosine {cosine:g}, {100 * share:.1f} % show it alone")
            for ridge in RIDGES:
                try:
                    found = np.mean([cosines(*one, ridge) for one in drawn], axis=0)
                except InputError as error:
                    print(f"  ridge {ridge:<5g} {error}")
                    continue
                words = ("all", "all, from_others", "normal", "normal, from_others")
                print(f"  ridge {ridge:<5g}" + "".join(f"  {w}: {v:.2f}" for w, v in zip(words, found, strict=True)))


if __name__ == "__main__":
    main()

"""Feature files of Gaussian images with a known difference between the classes."""

from pathlib import Path

import numpy as np

CLASSES = ("normal", "abnormal")
CHANNELS = 24


def draw(rng: np.random.Generator, labels: np.ndarray, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """features and squares (N, D): unit normal, `abnormal` moved by `shift` in the first 8 channels."""
    features = rng.normal(size=(len(labels), CHANNELS))
    features[:, :8] += shift * labels[:, None]
    return features.astype(np.float32), (features**2 + 0.5).astype(np.float32)


def write_features(
    path: Path, prefix: str, counts: dict[str, int], *, seed: int, shift: float = 0.35, draws: int = 1, each: int = 1
) -> Path:
    """Write a feature file of `counts` images by class, `draws` rows an image, `each` images a patient."""
    rng = np.random.default_rng(seed)
    names, labels, draw_numbers = [], [], []
    for label, count in counts.items():
        for number in range(count):
            for k in range(draws):
                names.append(f"{prefix}_{label}_{number:05d}.png")
                labels.append(label)
                draw_numbers.append(k)
    numbers = np.array([CLASSES.index(label) for label in labels])
    features, squares = draw(rng, numbers, shift)
    patients = [f"{prefix}-{label}-{int(name[-9:-4]) // each}" for name, label in zip(names, labels, strict=True)]
    np.savez(
        path,
        names=np.array(names),
        labels=np.array(labels),
        patients=np.array(patients),
        features=features,
        squares=squares,
        draw=np.array(draw_numbers, dtype=np.int64),
        extractor=np.array("made-up features"),
    )
    return path

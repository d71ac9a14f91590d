"""How often does the copy audit find copies of known kinds, and how often does it suspect honest sets?

    python benchmarks/copy_audit.py

prints the tables of docs/copies.md: of phantom films at 64 × 64, copies that are called suspects, and alarms of whole
sets. Every repetition draws training patients, held-out patients and fresh ones from one pool of films; features are
those of random filters (phantom_learning_curve.py), fitted to nothing. Less than three minutes on one core.
"""

import argparse
import io
import time
from collections.abc import Callable

import numpy as np
from common import machine
from phantom_learning_curve import SIDE, films, random_features
from PIL import Image, ImageFilter

from synthmed.evaluation import copy_findings as findings
from synthmed.evaluation.copies import space_of
from synthmed.evaluation.copy_design import Design
from synthmed.metrics import alignment
from synthmed.metrics import copies as metrics
from synthmed.metrics.neighbours import euclidean_blocks, keep_nearest, standardise

TRAIN, HELD_OUT, SIZE, COPIES = 140, 140, 140, 20
ALPHA, QUANTILE = 0.05, 0.01


# -------------------------------------------------------------------------------------------------------------- images
def picture(change: Callable[[Image.Image], Image.Image]) -> Callable:
    return lambda film, rng: np.asarray(change(Image.fromarray(film)))


def noise(level: float) -> Callable:
    return lambda film, rng: np.clip(np.rint(film + rng.normal(0, level, film.shape)), 0, 255).astype(np.uint8)


def shift(by: int) -> Callable:
    def change(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        padded = np.pad(film, by, mode="edge")
        down, right = rng.choice((-by, by)), rng.integers(-by, by + 1)
        return padded[by - down :, by - right :][:SIDE, :SIDE]

    return change


def crop(share: float) -> Callable:
    def change(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        left, top = rng.uniform(0, SIDE * (1 - share), 2)
        box = (left, top, left + SIDE * share, top + SIDE * share)
        return np.asarray(Image.fromarray(film).resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box))

    return change


def turn(degrees: float) -> Callable:
    return picture(lambda image: image.rotate(degrees, Image.Resampling.BICUBIC))


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=10)
    return Image.open(buffer)


def gamma(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (255 * (film / 255) ** rng.choice((0.7, 1.4))).astype(np.uint8)


def another_film(film: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same patient again: another exposure, a step aside."""
    return noise(4)(gamma(shift(2)(film, rng), rng), rng)


blur = picture(lambda image: image.filter(ImageFilter.GaussianBlur(1.5)))
KINDS = {
    "exact": lambda film, rng: film,
    "noise 5": noise(5),
    "JPEG 10": picture(jpeg),
    "turned 3°": turn(3),
    "gamma": gamma,
    "blur 1.5 px": blur,
    "shift 1 px": shift(1),
    "shift 2 px": shift(2),
    "shift 4 px": shift(4),
    "shift 6 px": shift(6),
    "flip": lambda film, rng: film[:, ::-1],
    "flip, shift 2 px, JPEG": lambda film, rng: picture(jpeg)(shift(2)(film[:, ::-1], rng), rng),
    "crop 95 %": crop(0.95),
    "crop 90 %": crop(0.9),
    "crop 80 %": crop(0.8),
    "turned 8°": turn(8),
    "noise 40": noise(40),
    "another film": another_film,
}
PATCH = "20² patch"


def patched(own: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A patch of 20² pixels of one film in another."""
    top, left = rng.integers(0, SIDE - 20, 2)
    changed = other.copy()
    changed[top : top + 20, left : left + 20] = own[top : top + 20, left : left + 20]
    return changed


def components(train: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draws from a Gaussian of the training films' ten principal components: a generator that fits them closely."""
    flat = train.reshape(len(train), -1).astype(float)
    mean = flat.mean(axis=0)
    _, scale, axes = np.linalg.svd(flat - mean, full_matrices=False)
    codes = rng.normal(size=(count, 10)) * scale[:10] / np.sqrt(len(train))
    return np.clip(mean + codes @ axes[:10], 0, 255).astype(np.uint8).reshape(-1, SIDE, SIDE)


# ----------------------------------------------------------------------------------------------------------- one audit
class Repetition:
    """The audit of one pool of real films, of which the first `trained` patients were trained on.

    pool: uint8 (P, 64, 64), as many films of each patient, side by side; labels: of the patients; queries: uint8 (Q,
    64, 64); origins: int (Q,), the patient each was translated from, or −1.
    """

    def __init__(self, pool: np.ndarray, trained: int, labels: list[str], queries: np.ndarray, origins: np.ndarray):
        each = len(pool) // len(labels)
        patients = np.repeat(np.arange(len(labels)), each)
        training = patients < trained
        real = np.flatnonzero(np.arange(len(pool)) % each == 0)
        swaps = metrics.swapped(training, patients, np.repeat(labels, each).tolist(), 999, 0)
        edge = len(queries)
        rows = {"fake": slice(0, edge), "train": slice(edge, edge + trained)}
        rows |= {"held_out": slice(edge + trained, edge + len(real)), "real": slice(edge, edge + len(real))}
        left_out = np.concatenate([origins, patients[real]])
        self.design = Design(patients, swaps, real, left_out, rows, metrics.list_length(training, patients), {})
        both = np.concatenate([queries, pool[real]])
        self.spaces = {
            "features": space_of(self._features(pool, both), self.design, QUANTILE),
            "pixels": space_of(self._pixels(pool, both), self.design, QUANTILE),
        }

    def _features(self, pool: np.ndarray, queries: np.ndarray):
        pool, queries = standardise(random_features(pool), [random_features(queries)])
        return keep_nearest(
            euclidean_blocks(queries, pool), self.design.left_out, self.design.patients, self.design.keep
        )

    def _pixels(self, pool: np.ndarray, queries: np.ndarray):
        small = [np.stack([alignment.thumbnail(film[:, :, None], 32) for film in part]) for part in (pool, queries)]
        aligned = alignment.fit(small[0])
        blocks = aligned.blocks(aligned.queries(small[1]), small[0])
        return keep_nearest(blocks, self.design.left_out, self.design.patients, self.design.keep)

    def suspects(self, rows: slice) -> np.ndarray:
        return np.any([space.suspects(rows) for space in self.spaces.values()], axis=0)

    def alarms(self, rows: np.ndarray) -> np.ndarray:
        """For the set of the queries `rows`: whether it alarms as copies, or as nearer to training, bool (2,)."""
        p = findings.p_values(self.spaces, self.design, rows, np.ones((len(rows), 1)))[:, :, 0]
        copies = p[:, 1:].min() <= ALPHA
        return np.array([copies, not copies and p[:, 0].min() <= ALPHA])

    def origins_nearest(self, rows: slice) -> np.ndarray:
        return np.any([space.nearest_origin(rows) for space in self.spaces.values()], axis=0)


def spiked(honest: np.ndarray, copies: np.ndarray, share: float) -> np.ndarray:
    count = metrics.planted(share, len(honest))
    return np.concatenate([honest[count:], copies[:count]])


def repetition(pool: np.ndarray, labels: np.ndarray, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Suspects among the copies of each kind, and alarms of each set."""
    rng = np.random.default_rng(seed)
    edges = np.cumsum([TRAIN, HELD_OUT, SIZE, COPIES])
    train, held_out, fresh, others, _ = np.split(rng.permutation(len(pool)), edges)
    honest, mixed = pool[fresh], 0.75 * pool[train] + 0.25 * pool[fresh]
    parts = {
        "honest draws": honest,
        "honest, but blurred": np.stack([blur(film, rng) for film in honest]),
        "10 principal components of the training set": components(pool[train], SIZE, rng),
        "honest, five images again and again": np.repeat(honest[:5], SIZE // 5, axis=0),
        "honest, in fours": np.stack([another_film(film, rng) for film in np.repeat(honest[: SIZE // 4], 4, axis=0)]),
        "translated, origin left out": mixed.astype(np.uint8),
        "translated, origin among the references": mixed.astype(np.uint8),
    }
    sources = pool[train[:COPIES]]
    kinds = {kind: np.stack([change(film, rng) for film in sources]) for kind, change in KINDS.items()}
    pairs = zip(sources, pool[others], strict=True)
    kinds[PATCH] = np.stack([patched(own, other, rng) for own, other in pairs])
    queries = np.concatenate([*parts.values(), *kinds.values()])
    edges = np.cumsum([0] + [len(part) for part in (*parts.values(), *kinds.values())]).tolist()
    rows = {name: slice(*edges[i : i + 2]) for i, name in enumerate((*parts, *kinds))}
    origins = np.full(len(queries), -1)
    origins[rows["translated, origin left out"]] = np.arange(TRAIN)
    real = np.concatenate([train, held_out])
    found = Repetition(pool[real], TRAIN, labels[real].tolist(), queries, origins)
    where = {name: np.arange(part.start, part.stop) for name, part in rows.items()}
    sets = {name: found.alarms(where[name]) for name in parts}
    for share in (0.01, 0.05):
        for kind in kinds:
            sets[f"{share:.0%} {kind}"] = found.alarms(spiked(where["honest draws"], where[kind], share))
    flagged = {kind: found.suspects(rows[kind]) for kind in kinds}
    flagged |= {name: found.suspects(rows[name]) for name in parts}
    flagged["translated, nearest is its origin"] = found.origins_nearest(rows["translated, origin left out"])
    return flagged, sets


def several_films(pool: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Alarms of an honest set where every patient has three films."""
    rng = np.random.default_rng(1000 + seed)
    order = rng.permutation(len(pool))
    real = order[:90]
    three = np.concatenate([[pool[i], another_film(pool[i], rng), another_film(pool[i], rng)] for i in real])
    fresh = np.concatenate([[pool[i], another_film(pool[i], rng)] for i in order[90:160]])
    found = Repetition(three, 45, labels[real].tolist(), fresh, np.full(len(fresh), -1))
    return found.alarms(np.arange(len(fresh)))


# ------------------------------------------------------------------------------------------------------------- tables
def share(values: list[np.ndarray]) -> str:
    flat = np.concatenate(values)
    return f"{100 * flat.mean():.0f}" if flat.mean() > 0.1 else f"{100 * flat.mean():.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=30)
    options = parser.parse_args()
    print(machine())
    start = time.process_time()
    drawn, classes = films(0.3, 7, 1200, 128)
    labels = np.array(["normal", "abnormal"])[classes]
    results = [repetition(drawn, labels, seed) for seed in range(options.repetitions)]
    films_each = [several_films(drawn, labels, seed) for seed in range(options.repetitions)]

    print(f"\n{TRAIN} training, {HELD_OUT} held-out, {SIZE} generated films, {options.repetitions} times\n")
    print("| copies | called suspects, % | sets with 5 % of them found, % | sets with 1 %, % |\n|---|---|---|---|")
    for kind in [*KINDS, PATCH]:
        cells = [share([flagged[kind] for flagged, _ in results])]
        cells += [share([sets[f"{part} {kind}"].any(keepdims=True) for _, sets in results]) for part in ("5%", "1%")]
        print(f"| {kind} | {' | '.join(cells)} |")
    print("\n| set | alarm: copies, % | nearer to training, % | images called suspects, % |\n|---|---|---|---|")
    for name in [name for name in results[0][1] if "%" not in name]:
        alarms = np.stack([sets[name] for _, sets in results])
        cells = [share([alarms[:, i]]) for i in range(2)] + [share([flagged[name] for flagged, _ in results])]
        print(f"| {name} | {' | '.join(cells)} |")
    alarms = np.stack(films_each)
    print(f"| honest, three films a patient | {share([alarms[:, 0]])} | {share([alarms[:, 1]])} | |")
    nearest = share([flagged["translated, nearest is its origin"] for flagged, _ in results])
    print(f"\ntranslated images that are nearest to their own origin: {nearest} %")
    print(f"{time.process_time() - start:.0f} CPU s")


if __name__ == "__main__":
    main()

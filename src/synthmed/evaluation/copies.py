"""Audit of a generated image set for copies of training images, with a picture of the closest pairs."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta
from PIL import Image, ImageDraw, ImageFont

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path, write_json
from synthmed.core.settings import Count, Fraction, Level
from synthmed.core.step import Output, step
from synthmed.data.features import Features, check_together, read_features
from synthmed.data.imageset import ImageSet
from synthmed.metrics import copies as metrics

logger = logging.getLogger(__name__)

_SIDE, _GAP, _TEXT = 180, 8, 12  # of a picture in the figure of pairs, in pixels


@dataclass(frozen=True)
class CopiesOptions:
    """The search for copies of training images."""

    quantile: Annotated[
        Fraction,
        Meta(description="Of the distances of held-out real images; a synthetic image nearer than that is a suspect."),
    ]
    pixel_side: Annotated[
        Count, Meta(description="Side to which images are averaged before comparing.", extra_json_schema={"unit": "px"})
    ]
    mirror: Annotated[
        bool, Meta(description="Also compare with mirrored training images (generators trained with flips).")
    ]
    level: Level
    pairs: Annotated[Count, Meta(description="Pairs in the picture.")]
    chunk: Annotated[Count, Meta(description="Images compared at a time, bounds memory.")]


@dataclass(frozen=True)
class CopiesSettings(CopiesOptions):
    """Settings of `copies`."""

    generator: Annotated[str, Meta(description="Its name in the experiment.")]


@step("copies")
def copies(
    settings: CopiesSettings,
    *,
    train: Path,
    held_out: Path,
    fake: Path,
    train_features: Path,
    held_out_features: Path,
    fake_features: Path,
    out: Output,
    pairs: Output,
) -> None:
    """Look for copies of training images.

    Find the nearest training image of every generated one and judge its distance (JSON, PNG).

    train, held_out, fake: image sets; *_features: their features. Two spaces: `features` (standardised by the training
    images, then by cosine) and `pixels` (see metrics.copies.normalise_pixels), each with the quantiles of three
    distributions: generated → training, held-out real → training (the reference: other patients, the same training
    set), and training → training of other patients. An image is a suspect when it is nearer than the reference's
    `quantile` in either space; `suspects` and `suspect_share` count those, `identical` those that equal a training
    image in either space, `by_space` each space alone. Of a held-out patient the first image counts as reference.
    `nearest_is_origin`: share of translated images whose nearest training image is the one they were made from (null
    for other generators).
    """
    sets = {"train": ImageSet(train), "held_out": ImageSet(held_out), "fake": ImageSet(fake)}
    files = {"train": train_features, "held_out": held_out_features, "fake": fake_features}
    features = {name: _aligned(read_features(path).as_is().in_double(), sets[name]) for name, path in files.items()}
    check_together(list(features.values()))
    patients = {name: np.array(sets[name].column("patient")) for name in ("train", "held_out")}

    spaces = {"features": _feature_space(features), "pixels": _pixel_space(sets, settings)}
    found, judged = {}, {}
    for name, (references, queries) in spaces.items():
        found[name], judged[name] = _audit(references, queries, patients, settings)
    either = judged["features"][1].suspect | judged["pixels"][1].suspect
    identical = judged["features"][1].identical | judged["pixels"][1].identical
    share = metrics.clopper_pearson(int(either.sum()), len(either), settings.level)
    logger.info("%s: %d of %d images are suspects", settings.generator, int(either.sum()), len(either))

    names = sets["train"].column("image")
    order = _closest(judged, settings.pairs)
    listed = [_pair(int(i), sets, names, judged, either) for i in order]
    write_json(
        out,
        {
            "generator": settings.generator,
            "extractor": features["train"].extractor,
            "n_train": len(sets["train"]),
            "n_held_out": len(sets["held_out"]),
            "n_fake": len(sets["fake"]),
            "quantile": settings.quantile,
            "suspects": int(either.sum()),
            "identical": int(identical.sum()),
            "suspect_share": share._asdict(),
            "by_space": found,
            "nearest_is_origin": _origin_share(sets["fake"], names, judged["features"][0].index),
            "closest_pairs": listed,
        },
    )
    _draw(pairs, sets, listed)


def _aligned(features: Features, images: ImageSet) -> Features:
    """Features in the order of the image set. Raises InputError when they are of other images."""
    position = {name: row for row, name in enumerate(features.names.tolist())}
    names = images.column("image")
    missing = [name for name in names if name not in position]
    if missing:
        raise InputError(
            f"{features.path}: no features of {len(missing)} images of {images.path}, the first is {missing[0]!r}"
        )
    return features.take(np.array([position[name] for name in names]))


def _feature_space(features: dict[str, Features]) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    train, held_out, fake = (
        metrics.unit_rows(values).astype(np.float32)
        for values in metrics.standardise(
            features["train"].features, [features["held_out"].features, features["fake"].features]
        )
    )
    return [train], {"train": train, "held_out": held_out, "fake": fake}


def _pixel_space(sets: dict[str, ImageSet], settings: CopiesSettings) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    shapes = {name: images[0].shape for name, images in sets.items()}
    if len({shape[2] for shape in shapes.values()}) > 1:
        raise InputError(f"image sets of different channels cannot be compared pixel by pixel: {shapes}")
    queries = {name: metrics.normalise_pixels(images.pixels, settings.pixel_side) for name, images in sets.items()}
    if len({values.shape[1] for values in queries.values()}) > 1:
        raise InputError(f"image sets of different shapes: {shapes}; lower the setting pixel_side to the smallest side")
    references = [queries["train"]]
    if settings.mirror:
        references.append(metrics.normalise_pixels(sets["train"].pixels[:, :, ::-1], settings.pixel_side))
    return references, queries


def _nearest(queries: np.ndarray, references: list[np.ndarray], chunk: int, groups: tuple | None) -> metrics.Nearest:
    """Nearest over several versions (as it is, mirrored) of the same references."""
    results = [metrics.nearest(queries, version, chunk=chunk, groups=groups) for version in references]
    best = np.argmin([result.distance for result in results], axis=0)
    rows = np.arange(len(queries))
    return metrics.Nearest(
        np.stack([result.index for result in results])[best, rows],
        np.stack([result.distance for result in results])[best, rows],
    )


def _audit(
    references: list[np.ndarray],
    queries: dict[str, np.ndarray],
    patients: dict[str, np.ndarray],
    settings: CopiesSettings,
) -> tuple[dict, tuple[metrics.Nearest, metrics.Suspects]]:
    generated = _nearest(queries["fake"], references, settings.chunk, None)
    held_out = _nearest(queries["held_out"], references, settings.chunk, None)
    within = _nearest(queries["train"], references, settings.chunk, (patients["train"],) * 2)
    # One image of each patient, because the test takes the distances as independent.
    first = np.unique(patients["held_out"], return_index=True)[1]
    reference = held_out.distance[first]
    judged = metrics.suspects(generated.distance, reference, quantile=settings.quantile, level=settings.level)
    result = {
        "threshold": judged.threshold,
        "suspects": int(judged.suspect.sum()),
        "identical": int(judged.identical.sum()),
        "suspect_share": judged.share._asdict(),
        "expected_share": judged.expected,
        "p": judged.p,
        "distances": {
            "generated_to_train": _quantiles(generated.distance),
            "held_out_to_train": _quantiles(held_out.distance),
            "train_to_train": _quantiles(within.distance),
        },
    }
    return result, (generated, judged)


def _quantiles(distances: np.ndarray) -> dict[str, float]:
    points = {"min": 0.0, "p1": 0.01, "p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
    return {name: float(np.quantile(distances, share)) for name, share in points.items()}


def _origin_share(fake: ImageSet, train_names: list[str], nearest: np.ndarray) -> dict[str, float] | None:
    """Share of translated images (those with an `origin` in the training set) that lie nearest to it."""
    if "origin" not in fake.rows[0]:
        return None
    known = set(train_names)
    hits = [
        train_names[j] == origin for origin, j in zip(fake.column("origin"), nearest, strict=True) if origin in known
    ]
    return metrics.clopper_pearson(sum(hits), len(hits), 0.95)._asdict() if hits else None


def _closest(judged: dict[str, tuple[metrics.Nearest, metrics.Suspects]], count: int) -> np.ndarray:
    """The `count` images with the smallest distance over threshold, in the space where that is smaller."""
    # A threshold of zero (a held-out image that is a copy) must not divide; then the plain distance orders.
    ratios = [found.distance / (test.threshold if test.threshold > 0 else 1) for found, test in judged.values()]
    return np.argsort(np.min(ratios, axis=0), kind="stable")[:count]


def _pair(
    row: int,
    sets: dict[str, ImageSet],
    names: list[str],
    judged: dict[str, tuple[metrics.Nearest, metrics.Suspects]],
    either: np.ndarray,
) -> dict:
    pair: dict = {"image": sets["fake"].rows[row]["image"], "suspect": bool(either[row])}
    for space, (found, test) in judged.items():
        pair[space] = {
            "nearest": names[int(found.index[row])],
            "distance": float(found.distance[row]),
            "threshold": test.threshold,
        }
    return pair


def _draw(path: Path, sets: dict[str, ImageSet], pairs: list[dict]) -> None:
    """Each pair: a generated image, its nearest training image by features, and by pixels; two pairs in a row."""
    rows = {name: {row["image"]: i for i, row in enumerate(images.rows)} for name, images in sets.items()}
    columns = min(2, len(pairs))
    lines = -(-len(pairs) // columns)
    font = ImageFont.load_default(size=_TEXT)
    sheet = Image.new("RGB", (columns * (3 * (_SIDE + _GAP) + 3 * _GAP), lines * (_SIDE + 2 * _TEXT + _GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, pair in enumerate(pairs):
        top = (number // columns) * (_SIDE + 2 * _TEXT + _GAP)
        left = (number % columns) * (3 * (_SIDE + _GAP) + 3 * _GAP) + _GAP
        panels = [("fake", pair["image"], "generated" + (": suspect" if pair["suspect"] else ""))]
        for space in ("features", "pixels"):
            near = pair[space]
            panels.append(("train", near["nearest"], f"{space}: {near['distance']:.2f}, limit {near['threshold']:.2f}"))
        for kind, name, title in panels:
            picture = Image.fromarray(sets[kind].pixels[rows[kind][name]].squeeze()).convert("RGB")
            picture.thumbnail((_SIDE, _SIDE))
            if max(picture.size) < _SIDE:
                factor = _SIDE / max(picture.size)
                size = round(picture.width * factor), round(picture.height * factor)
                picture = picture.resize(size, Image.Resampling.NEAREST)
            pen.text((left, top + _TEXT // 2), title, "#b3261e" if title.endswith("suspect") else "#333333", font)
            sheet.paste(picture, (left, top + 2 * _TEXT))
            left += _SIDE + _GAP
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")

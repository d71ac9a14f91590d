"""How good a generator's images are over its training, from the states that were kept, and the choice of one."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta

from synthmed.core.files import atomic_path, read_json, write_json
from synthmed.core.known import UNLABELLED
from synthmed.core.provenance import note
from synthmed.core.settings import Classes, Count, GeneratorName, ModelName, Names, Seed
from synthmed.core.step import Output, step
from synthmed.data.features import Features, check_together, read_features
from synthmed.data.imageset import ImageSet
from synthmed.extractors.extractor import Extractor
from synthmed.extractors.features import FeatureOptions, load_extractor
from synthmed.generators.base import Generator
from synthmed.generators.sampling import SOURCES, SampleSettings, draw_images, find_sources, from_checkpoint
from synthmed.generators.states import read_states
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.fidelity import frechet_distance
from synthmed.metrics.quality import MetricSettings, measure_all, pair_of
from synthmed.training import checkpoint as checkpoints
from synthmed.training.device import choose_device, derived_seed

logger = logging.getLogger(__name__)

PARTS = ("train", "test")
"""Whose masks are painted, and whose real images are compared with."""


@dataclass(frozen=True)
class StateOptions:
    """Quality of a generator's images over its training."""

    images: Annotated[
        int,
        Meta(ge=2, description="Images of each label that a state draws, at most as many as the smaller part has."),
    ]
    few: Annotated[
        int,
        Meta(ge=2, description="Images of a second FID, for what so few of them say (64 are a batch of seed 002)."),
    ]
    few_draws: Annotated[
        Count, Meta(description="Random draws of so few, over which that FID is a mean, with their spread.")
    ]
    shown: Annotated[Count, Meta(description="Masks (or draws of noise) whose images are kept for the figure.")]


@dataclass(frozen=True)
class ScoreStatesSettings(StateOptions, FeatureOptions):
    """Settings of `score-states`."""

    extractor: Annotated[str, Meta(description="The network of the features, a file of src/synthmed/extractors/.")]
    model: ModelName
    generator: GeneratorName
    part: Annotated[str, Meta(description="Name of the training.")]
    classes: Classes
    labels: Annotated[Names, Meta(description="Classes of its training images.")]
    seed: Seed
    metrics: MetricSettings


@dataclass(frozen=True)
class ChooseSettings:
    """Settings of `choose-state`."""

    generator: GeneratorName


@dataclass(frozen=True)
class Part:
    """Real images of one part: the set, their features, and how many of each label a state draws for it."""

    images: ImageSet
    features: Features
    counts: dict[str, int]


@step("score-states")
def score_states(
    settings: ScoreStatesSettings,
    *,
    states: Path,
    train: Path,
    test: Path,
    train_features: Path,
    test_features: Path,
    weights: Path | None,
    scores: Output,
    pictures: Output,
) -> None:
    """FID and KID of every kept state of one training, against the training and the test images.

    states: archive of the training; train, test: image sets, with their features. Masks and images to translate are
    those of the part; a generator without such draws the same images for both. scores (JSON): `states`, for each step
    and part fid, kid and fid_few (see StateOptions); `floor`: the same between real images of both parts, as many as
    a state draws. pictures (.npz): steps (S,), images uint8 (S, shown, H, W, C) of the same masks of the test part and
    the same noise; real (shown, H, W, C) and masks (shown, H, W) where the model is given masks.
    """
    torch.set_num_threads(settings.threads)
    extractor, device = load_extractor(settings, weights), choose_device(settings.device)
    parts = _parts(settings, train, test, train_features, test_features)
    rows, shown = [], []
    for saved in read_states(states):
        model = from_checkpoint(saved, states).to(device)
        row: dict[str, object] = {"step": saved.step}
        drawn: list[tuple] = []
        for name, part in parts.items():
            if not drawn or not model.needs.isdisjoint(SOURCES):
                drawn = _drawn(settings, model, part)
                features, probabilities = _features(extractor, [pixels for _, pixels, *_ in drawn], settings, device)
            row[name] = _measured(part.features, features, probabilities, settings)
        rows.append(row)
        shown.append(drawn[: settings.shown])
        logger.info("step %d: FID %.4g, of the test part %.4g", *_said(row))
    content = {"generator": settings.generator, "part": settings.part, "labels": settings.labels}
    content |= {"extractor": extractor.human, "few": settings.few, "n": sum(parts["train"].counts.values())}
    write_json(scores, {**content, "states": rows, "floor": _floors(parts, settings)})
    _write_pictures(pictures, [row["step"] for row in rows], shown, parts["test"].images)


def _said(row: dict) -> tuple[int, float, float]:
    return row["step"], *(row[part]["fid"]["value"] for part in PARTS)


def _parts(settings: ScoreStatesSettings, train: Path, test: Path, *features: Path) -> dict[str, Part]:
    files = [read_features(path).as_is().in_double() for path in features]
    check_together(files)
    files = [file.take(np.flatnonzero(np.isin(file.labels, settings.labels))) for file in files]
    smaller = {
        label: min(settings.images, *(file.counts().get(label, 0) for file in files)) for label in settings.labels
    }
    counts = {label: count for label, count in smaller.items() if count}
    return {
        name: Part(ImageSet(path), file, counts) for name, path, file in zip(PARTS, (train, test), files, strict=True)
    }


def _drawn(settings: ScoreStatesSettings, model: Generator, part: Part) -> list[tuple]:
    """(further columns, pixels (H, W, C), mask if any) of every image of a state."""
    samples = part.counts
    if model.needs.isdisjoint({"label", *SOURCES}) and len(settings.labels) > 1:
        samples = {UNLABELLED: sum(samples.values())}
    own = {name: getattr(settings, name) for name in ("batch_size", "threads", "device", "model", "generator")}
    trainings = {settings.part: settings.labels}
    asked = SampleSettings(
        **own,
        samples=samples,
        classes=settings.classes,
        trainings=trainings,
        repeats=1,
        seed=settings.seed,
        truncation=None,
        start_scale=None,
    )
    given = not model.needs.isdisjoint(SOURCES)
    made_by = dict.fromkeys(samples, settings.part)
    sources = find_sources(asked, part.images, made_by, model.needs) if given else {}
    real = part.images if given else None
    return [image for label in samples for image in draw_images(asked, label, "", model, real, sources.get(label))]


def _features(
    extractor: Extractor, pixels: Sequence[np.ndarray], settings: ScoreStatesSettings, device: torch.device
) -> tuple[np.ndarray, np.ndarray | None]:
    """Features (N, D) and, where the extractor has classes, probabilities (N, K) of images (H, W, C)."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(pixels), settings.batch_size):
            batch = torch.from_numpy(np.stack(pixels[start : start + settings.batch_size])).permute(0, 3, 1, 2)
            found.append(extractor(batch.to(device)))
    features = torch.cat([pooled.features for pooled in found]).cpu().double().numpy()
    if found[0].probabilities is None:
        return features, None
    return features, torch.cat([pooled.probabilities for pooled in found]).cpu().double().numpy()


def _measured(
    real: Features, fake: np.ndarray, probabilities: np.ndarray | None, settings: ScoreStatesSettings
) -> dict[str, dict]:
    """fid, kid and fid_few of images with the features `fake` against real ones."""
    patients = np.arange(len(fake)).astype(str)
    pair = pair_of(real.features, fake, real.patients, patients, probabilities, real.extractor)
    found = measure_all(pair, settings.metrics, ("fid", "kid"))
    found["fid_few"] = _of_few(real.features, fake, settings)
    return {name: estimate.to_json() for name, estimate in found.items()}


def _of_few(real: np.ndarray, fake: np.ndarray, settings: ScoreStatesSettings) -> Estimate:
    """The mean FID of random draws of `few` images on each side; low and high: where the draws lie."""
    few, smaller = settings.few, min(len(real), len(fake))
    if smaller < few:
        return Estimate.missing(f"needs {few} images on each side; there are {smaller}", smaller)
    rng = np.random.default_rng(derived_seed(settings.seed, "few"))
    values = [
        frechet_distance(*(side[rng.choice(len(side), few, replace=False)] for side in (real, fake)))
        for _ in range(settings.few_draws)
    ]
    outside = (1 - settings.metrics.level) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    return Estimate(float(np.mean(values)), float(low), float(high), few)


def _floors(parts: dict[str, Part], settings: ScoreStatesSettings) -> dict[str, dict]:
    """For each part what as many real images of the other part reach in the place of a state's."""
    rng = np.random.default_rng(derived_seed(settings.seed, "floor"))
    floors = {}
    for name, other in zip(PARTS, reversed(PARTS), strict=True):
        drawn = parts[other].features.draw(parts[other].counts, rng, replace=False)
        floors[name] = _measured(parts[name].features, drawn.features, drawn.probabilities, settings)
    return floors


def _write_pictures(path: Path, steps: list[int], shown: list[list[tuple]], real: ImageSet) -> None:
    arrays = {"steps": np.array(steps), "images": np.stack([np.stack([one[1] for one in row]) for row in shown])}
    if all(len(one) == 3 and "origin" in one[0] for one in shown[0]):
        names = real.column("image")
        arrays["masks"] = np.stack([mask for _, _, mask in shown[0]])
        arrays["real"] = np.stack([real[names.index(columns["origin"])] for columns, *_ in shown[0]])
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **arrays)


@step("choose-state")
def choose_state(settings: ChooseSettings, *, states: Path, scores: Path, checkpoint: Output) -> None:
    """Write the state whose images are nearest to the training images.

    states: of the training; scores: JSON of `score-states`, whose FID against the training images decides; the images
    of the test part have no say. Of equals the first is taken. Its step stands in the record.
    """
    rows = read_json(scores)["states"]
    best = min(rows, key=lambda row: row["train"]["fid"]["value"])
    (chosen,) = (state for state in read_states(states) if state.step == best["step"])
    checkpoints.save(checkpoint, chosen)
    note("step", str(best["step"]))
    logger.info("%s: the state of step %d of %d", settings.generator, best["step"], rows[-1]["step"])

"""Move normal images along the axes of diseases, and measure what changes: the disease, the rest, the patient.

A likelihood that rises along an axis says little by itself: far enough from the usual codes in *any* direction images
change and classifiers answer something. So every number stands beside that of random directions of the same length,
from the same starts.
"""

import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta
from tqdm import tqdm

from synthmed.classifiers import network
from synthmed.core.errors import InputError
from synthmed.core.files import hash_file, read_json, write_json
from synthmed.core.settings import Count, Device, Fraction, GeneratorName, Level, ModelName, Seed, Threads
from synthmed.core.step import Output, step
from synthmed.data.imageset import write_image_set
from synthmed.latent.axes import Axes, identity_of, interval_of, read_axes
from synthmed.latent.eye import Eye, Walk, mean_distance
from synthmed.latent.sample_file import LatentSamples, read_samples
from synthmed.latent.samples import check_fit
from synthmed.latent.space import restore
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.statistics import holm
from synthmed.training.device import choose_device

logger = logging.getLogger(__name__)

NO_CHANGE = 0.01
"""Smaller differences of a likelihood are none."""


@dataclass(frozen=True)
class PathsOptions:
    """How normal images are moved along the axes."""

    starts: Annotated[int, Meta(ge=2, description="Normal samples that are moved.")]
    distances: Annotated[
        tuple[Annotated[float, Meta(ge=0)], ...],
        Meta(
            min_length=3,
            description="Steps from the start in standard deviations of the codes along the axis, 0 first, rising.",
        ),
    ]
    keep_length: Annotated[bool, Meta(description="Bring every moved code back to the length of its start.")]
    random_directions: Annotated[Count, Meta(description="Of the control; at least (number of axes)/alpha − 1.")]
    shown: Annotated[Count, Meta(description="Starts whose class activation maps are made and shown.")]
    min_rise: Annotated[
        float,
        Meta(
            ge=-1,
            le=1,
            description="Least mean steadiness of the rise (Goodman and Kruskal's gamma) of an axis that is found.",
        ),
    ]
    min_gain: Annotated[
        float, Meta(ge=-1, le=1, description="Least mean gain of the likelihood from the first step to the last.")
    ]
    alpha: Annotated[Fraction, Meta(description="Largest p against the random directions.")]
    level: Level
    resamples: Annotated[Count, Meta(description="Bootstrap resamples of the starts.")]
    batch_size: Annotated[Count, Meta(description="Images made and judged at once.")]
    threads: Threads
    device: Device

    def __post_init__(self) -> None:
        if self.shown > self.starts:
            raise InputError(f"setting shown is {self.shown}, more than the {self.starts} starts; lower it")
        if self.distances[0] != 0 or any(after <= before for before, after in pairwise(self.distances)):
            raise InputError(f"setting distances is {list(self.distances)}; it must begin with 0 and rise")


@dataclass(frozen=True)
class PathsSettings(PathsOptions):
    """Settings of `move-along-axes`."""

    model: ModelName
    generator: GeneratorName
    seed: Seed


# ------------------------------------------------------------------------------------------------------ pure functions
def path_codes(
    starts: np.ndarray, direction: np.ndarray, scale: float, distances: Sequence[float], keep_length: bool
) -> np.ndarray:
    """Codes (K, S, D) float32 at the K distances, in units of `scale`, from the S `starts` (S, D) along the unit vector
    `direction` (D,). keep_length: each is brought back to the length of its start."""
    starts = starts.astype(np.float64)
    moved = starts + scale * np.asarray(distances)[:, None, None] * direction
    if keep_length:
        moved *= np.linalg.norm(starts, axis=-1, keepdims=True) / np.linalg.norm(moved, axis=-1, keepdims=True)
    return moved.astype(np.float32)


def rises(likelihoods: np.ndarray) -> np.ndarray:
    """How steadily the likelihood rises, for each start: (S,) of (K, S), steps in order.

    Goodman and Kruskal's gamma: of the pairs of steps whose likelihoods differ by more than NO_CHANGE, the share that
    rises minus the share that falls; 1: it never falls, 0 where it never changes. (A rank correlation would hold it
    against an axis that the likelihood has reached 1 and stays there.)
    """
    earlier, later = np.triu_indices(len(likelihoods), 1)
    change = likelihoods[later] - likelihoods[earlier]
    up, down = (change > NO_CHANGE).sum(axis=0), (change < -NO_CHANGE).sum(axis=0)
    return (up - down) / np.maximum(up + down, 1)


def control_p(gain: float, random_gains: np.ndarray) -> float:
    """Share of directions with at least this gain, the axis itself counted among them (one-sided permutation p)."""
    return float((1 + (random_gains >= gain).sum()) / (1 + len(random_gains)))


def rule_text(settings: PathsSettings) -> str:
    """When an axis counts as found, in words to follow "an axis is found when"."""
    return (
        f"the likelihood of its disease rises steadily along it (mean gamma at least {settings.min_rise:g}), by at "
        f"least {settings.min_gain:g} on average, and by more than along random directions of the same length (p at "
        f"most {settings.alpha:g} after Holm's adjustment for the number of axes)"
    )


# ------------------------------------------------------------------------------------------------------------ the step
@step("move-along-axes")
def move_along_axes(
    settings: PathsSettings,
    *,
    checkpoint: Path,
    classifier: Path,
    samples: Path,
    axes: Path,
    axes_report: Path,
    images: Output,
    cams: Output,
    out: Output,
) -> None:
    """Move normal images along the axes of diseases.

    Move normal samples along every axis and along random directions, and say which axes are found.

    checkpoint, classifier: those of `samples`; axes, axes_report: of `disease_axes`. images: image set of every start
    at every step of every axis, columns axis, start, step, distance, likelihood (of the axis' disease) and found
    (yes/no); label = normal at step 0, else the disease; patient = one a start. cams: image set of class activation
    maps of the disease for the first `shown` starts, under the names of their images; 255 is the largest value of a
    path, which stands in the column peak. out: JSON, for each disease whether its axis is found or why not, and the
    measured scores beside those of the random directions.

    Without any axis the sets hold the starts alone, axis "none"; without any normal sample, the one that is most likely
    normal, with the label unclassified. Memory holds the starts and one batch of images. Raises InputError when the
    files do not belong together or the settings cannot be kept.
    """
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    drawn, found, report = read_samples(samples), read_axes(axes), read_json(axes_report)
    _check_files(drawn, found, report, checkpoint, classifier, samples, axes, axes_report)
    gan = restore(checkpoint, settings.model, device)
    judge = network.load(classifier).to(device)
    check_fit(gan, judge, checkpoint, classifier)
    _check_directions(settings, len(found.targets))
    eye = Eye(gan, judge, drawn.space, settings.batch_size)

    rng = np.random.default_rng([settings.seed, *b"paths"])
    chosen = _starts(settings, drawn, found, rng)
    starts = drawn.codes[chosen]
    results = _along_axes(settings, eye, drawn, found, starts, rng) if found.targets else {}
    tracks = [
        _Track(
            name,
            name,
            path_codes(starts, axis, scale, settings.distances, settings.keep_length),
            settings.distances,
            results[name]["found"],
        )
        for name, axis, scale in zip(found.targets, found.axes, found.scales, strict=True)
    ]
    if not tracks:
        disease = next(name for name in drawn.targets if name != found.normal)
        tracks = [_Track("none", disease, starts[None], (0.0,), False)]
    label = found.normal if len(found.normals) else "unclassified"
    write_image_set(images, _image_rows(settings, eye, tracks, chosen, label))
    write_image_set(cams, _cam_rows(settings, eye, tracks, chosen, label))
    write_json(out, _result(settings, drawn, found, report, results, len(chosen)))
    names = [name for name, result in results.items() if result["found"]]
    logger.info("%s: axes found: %s", out, ", ".join(names) or "none")


def _along_axes(
    settings: PathsSettings, eye: Eye, drawn: LatentSamples, found: Axes, starts: np.ndarray, rng: np.random.Generator
) -> dict[str, dict]:
    """Disease → whether its axis is found, why not, its p and its scores."""
    walks, randoms, between = _walk_all(settings, eye, drawn, found, starts, rng)
    resampled = rng.integers(len(starts), size=(settings.resamples, len(starts)))
    indices = [drawn.targets.index(name) for name in found.targets]
    p = [
        control_p(_gains(walk, target).mean(), np.array([_gains(random, target).mean() for random in randoms]))
        for walk, target in zip(walks, indices, strict=True)
    ]
    normal, results = drawn.targets.index(found.normal), {}
    for name, target, walk, plain, adjusted in zip(found.targets, indices, walks, p, holm(p), strict=True):
        scores = _scores(settings, drawn.targets, target, normal, walk, randoms, between, resampled)
        reason = _not_found(settings, scores["scores"], float(adjusted))
        results[name] = {"found": reason is None, "reason": reason, "p": plain, "p_holm": float(adjusted), **scores}
    return results


def _check_directions(settings: PathsSettings, axes: int) -> None:
    if axes / (1 + settings.random_directions) > settings.alpha:
        raise InputError(
            f"setting random_directions is {settings.random_directions}: p is at least 1 / (1 + random_directions) "
            f"and, adjusted for {axes} axes, can never be {settings.alpha} (alpha) or less; draw at least "
            f"{math.ceil(axes / settings.alpha) - 1}"
        )


def _check_files(
    drawn: LatentSamples,
    found: Axes,
    report: dict,
    checkpoint: Path,
    classifier: Path,
    samples: Path,
    axes: Path,
    axes_report: Path,
) -> None:
    for path, digest in ((checkpoint, drawn.checkpoint), (classifier, drawn.classifier)):
        if hash_file(path) != digest:
            raise InputError(f"{path}: not the file that {samples} was made with; run latent-samples again")
    if found.made_from != identity_of(drawn):
        raise InputError(f"{axes}: not found in {samples}; run disease-axes again")
    if {entry["target"] for entry in report["axes"] if entry["found"]} != set(found.targets):
        raise InputError(f"{axes_report}: not of the same run as {axes}; run disease-axes again")


def _starts(settings: PathsSettings, drawn: LatentSamples, found: Axes, rng: np.random.Generator) -> np.ndarray:
    """Positions of the samples to start from: normal ones, drawn by the seed."""
    if not len(found.normals):
        return drawn.likelihoods[:, [drawn.targets.index(found.normal)]].argmax(axis=0)
    count = min(settings.starts, len(found.normals))
    if count < settings.starts:
        logger.warning("only %d samples are normal alone, so there are %d starts", count, count)
    return rng.permutation(found.normals)[:count]


def _walk_all(
    settings: PathsSettings,
    eye: Eye,
    drawn: LatentSamples,
    found: Axes,
    starts: np.ndarray,
    rng: np.random.Generator,
) -> tuple[list[Walk], list[Walk], tuple[float, float]]:
    """Walks along the axes and along random directions, and the mean distance between two starts (pixels, features)."""
    pixels, _, features = eye.look(starts)
    random = rng.standard_normal((settings.random_directions, starts.shape[1]))
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    directions = np.concatenate([found.axes, random])
    scales = np.concatenate([found.scales, (drawn.codes @ random.T).std(axis=0)])
    walks = []
    for direction, scale in zip(tqdm(directions, unit="direction", disable=None), scales, strict=True):
        codes = path_codes(starts, direction, scale, settings.distances, settings.keep_length)
        walks.append(eye.walk(codes, pixels, features))
    count = len(found.targets)
    return walks[:count], walks[count:], (mean_distance(pixels), mean_distance(features))


# ---------------------------------------------------------------------------------------------------------- the scores
def _gains(walk: Walk, target: int) -> np.ndarray:
    """Gain of a likelihood from the first step to the last, for each start (S,)."""
    return walk.likelihoods[-1, :, target] - walk.likelihoods[0, :, target]


def _changes(walk: Walk, target: int, normal: int, between: tuple[float, float]) -> dict[str, np.ndarray | None]:
    """What changed from the first step to the last, for each start (S,); None: it cannot be said."""
    change = walk.likelihoods[-1] - walk.likelihoods[0]
    others = [t for t in range(change.shape[1]) if t not in (target, normal)]
    return {
        "gain": _gains(walk, target),
        "others": np.abs(change[:, others]).mean(axis=1) if others else None,
        "normal": change[:, normal],
        "rise": rises(walk.likelihoods[:, :, target]),
        "identity_pixels": walk.pixels[-1] / between[0] if between[0] > 0 else None,
        "identity_features": walk.features[-1] / between[1] if between[1] > 0 else None,
    }


_UNSAID = {
    "others": "the classifier knows no other disease",
    "identity_pixels": "all starts are the same image",
    "identity_features": "the classifier sees no difference between the starts",
}


def _scores(
    settings: PathsSettings,
    targets: Sequence[str],
    target: int,
    normal: int,
    walk: Walk,
    randoms: Sequence[Walk],
    between: tuple[float, float],
    resampled: np.ndarray,
) -> dict:
    """Scores of one axis. resampled: (B, S), the starts of every bootstrap resample."""
    own = _changes(walk, target, normal, between)
    control = [_changes(random, target, normal, between) for random in randoms]
    scores: dict[str, dict] = {}
    for name, values in own.items():
        if values is None:
            scores[name] = scores[f"random_{name}"] = Estimate.missing(_UNSAID[name]).to_json()
            continue
        scores[name] = interval_of(values.mean(), values[resampled].mean(axis=1), settings.level)
        # Over directions, not starts: where an axis without any meaning would come to lie.
        means = np.array([changes[name].mean() for changes in control])
        scores[f"random_{name}"] = interval_of(means.mean(), means, settings.level)
    bands = np.array([random.likelihoods[:, :, target].mean(axis=1) for random in randoms])
    path = []
    for step, distance in enumerate(settings.distances):
        seen = walk.likelihoods[step]
        spread = seen[resampled].mean(axis=1)
        path.append(
            {
                "distance": distance,
                "likelihoods": {
                    name: interval_of(seen[:, t].mean(), spread[:, t], settings.level) for t, name in enumerate(targets)
                },
                "random": interval_of(bands[:, step].mean(), bands[:, step], settings.level),
            }
        )
    return {"scores": scores, "path": path}


def _not_found(settings: PathsSettings, scores: dict[str, dict], p_holm: float) -> str | None:
    """Why an axis is not found, in words; None: it is."""
    rise, gain = scores["rise"]["value"], scores["gain"]["value"]
    if rise < settings.min_rise:
        return f"the likelihood does not rise steadily (mean gamma {rise:.2f}, below {settings.min_rise:g})"
    if gain < settings.min_gain:
        return f"the likelihood rises by {gain:.3f} only, less than {settings.min_gain:g}"
    if p_holm > settings.alpha:
        return (
            f"random directions of the same length do as well (p = {p_holm:.3f} after Holm, above {settings.alpha:g})"
        )
    return None


def _result(
    settings: PathsSettings, drawn: LatentSamples, found: Axes, report: dict, results: dict[str, dict], starts: int
) -> dict:
    axes = []
    for entry in report["axes"]:
        name = entry["target"]
        missing = {"found": False, "reason": entry["reason"], "p": None, "p_holm": None, "scores": None, "path": None}
        axes.append({"target": name, "estimated": name in results, **results.get(name, missing)})
    return {
        "generator": settings.generator,
        "space": drawn.space,
        "dimensions": drawn.codes.shape[1],
        "normal": found.normal,
        "targets": list(drawn.targets),
        "starts": starts if len(found.normals) else 0,
        "shown": min(settings.shown, starts),
        "distances": list(settings.distances),
        "keep_length": settings.keep_length,
        "random_directions": settings.random_directions,
        "level": settings.level,
        "rule": rule_text(settings),
        "axes": axes,
    }


# ---------------------------------------------------------------------------------------------------------- the images
@dataclass(frozen=True)
class _Track:
    """Images to write: codes (K, S, D) of an axis; the disease whose likelihood and maps are given with them."""

    axis: str
    disease: str
    codes: np.ndarray
    distances: tuple[float, ...]
    found: bool


def _fields(settings: PathsSettings, track: _Track, sample: int, start: int, step: int, label: str) -> dict:
    axis = re.sub(r"[^A-Za-z0-9.]", "-", track.axis)
    return {
        "image": f"{settings.generator}_{axis}_{start:03d}_step{step:02d}.png",
        "label": label if step == 0 else track.disease,
        "patient": f"synthetic-{settings.generator}-latent-{sample}",
        "split": "synthetic",
        "source": settings.generator,
        "axis": track.axis,
        "start": start,
        "step": step,
        "distance": f"{track.distances[step]:g}",
        "found": "yes" if track.found else "no",
    }


def _image_rows(
    settings: PathsSettings, eye: Eye, tracks: Sequence[_Track], chosen: np.ndarray, label: str
) -> Iterator[tuple[dict, np.ndarray]]:
    """Rows of the set of images. They are made a second time, because keeping them all would not fit into memory."""
    for track in tracks:
        target = eye.judge.targets.index(track.disease)
        for start, sample in enumerate(chosen):
            step = 0
            for pixels in eye.pixels(track.codes[:, start]):
                for image, likelihoods in zip(pixels, eye.judged(pixels)[0], strict=True):
                    fields = _fields(settings, track, int(sample), start, step, label)
                    yield fields | {"likelihood": f"{likelihoods[target]:.4f}"}, image
                    step += 1


def _cam_rows(
    settings: PathsSettings, eye: Eye, tracks: Sequence[_Track], chosen: np.ndarray, label: str
) -> Iterator[tuple[dict, np.ndarray]]:
    for track in tracks:
        target = eye.judge.targets.index(track.disease)
        for start, sample in enumerate(chosen[: settings.shown]):
            maps = np.concatenate([eye.cams(pixels, target) for pixels in eye.pixels(track.codes[:, start])])
            peak = float(maps.max())
            scaled = np.round(255 * maps / peak if peak > 0 else maps).astype(np.uint8)
            for step, picture in enumerate(scaled):
                fields = _fields(settings, track, int(sample), start, step, label)
                yield fields | {"peak": f"{peak:.6g}"}, picture

"""Editing something out of generated images: what each method takes away, and what goes with it.

Something (a frame, a device, a finding) is removed by moving codes along a direction, or by rejecting codes. Seed 003,
sections 3.3.3 and 4.2.2, judges its methods by eye; here every direction is chosen by its measured effect on codes that
did not serve to find it, and judged on codes that served for neither: how far the removed thing's likelihood falls, how
often the class stays, how far the image moves. Random directions get the same choice, as control.

The samples are parted in three: half of them to find directions, a quarter to choose, a quarter to judge.
"""

import logging
from collections.abc import Iterator, Mapping
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
from synthmed.core.files import hash_file, write_json
from synthmed.core.settings import Count, Device, GeneratorName, Level, ModelName, Resamples, Seed, Threads
from synthmed.core.step import Output, step
from synthmed.data.imageset import write_image_set
from synthmed.latent.axes import interval_of, regression_slopes
from synthmed.latent.directions import (
    Boundary,
    held_out,
    principal_directions,
    random_directions,
    svm_boundary,
    units,
    weight_directions,
    without,
)
from synthmed.latent.eye import Eye, Walk, mean_distance
from synthmed.latent.paths import path_codes
from synthmed.latent.sample_file import LatentSamples, read_samples, write_arrays
from synthmed.latent.samples import check_fit
from synthmed.latent.space import restore
from synthmed.metrics.classification import share_estimate
from synthmed.training.device import choose_device
from synthmed.training.images import reduced

logger = logging.getLogger(__name__)

SHOWN = 0.5
"""Likelihood from which something counts as shown."""
LEAST = 4
"""Samples with and without it that each part needs."""
COMPONENTS = {"pca": (1, 2, 3), "sefa": (2, 4, 6)}
"""Directions of a method that are shown as they are, both ways: those of seed 003, figures 4.9 and 4.10."""
_SIDE = 16
"""Pixels a side of the images whose principal components stand for those of a generator without w."""


@dataclass(frozen=True)
class EditingOptions:
    """How something is edited out of images."""

    remove: Annotated[str, Meta(description="The classifier's output for what is removed.")]
    keep: Annotated[
        str | None,
        Meta(description="Its output for the class that shall stay; null: no class, and nothing is projected."),
    ]
    candidates: Annotated[
        Count, Meta(description="First directions of PCA and of SeFa, and random ones, to choose of.")
    ]
    penalty: Annotated[float, Meta(gt=0, description="C of the support vector machine, of standardised codes.")]
    ridge: Annotated[
        float, Meta(ge=0, description="Of the regression, added to the variance of the codes, in units of it.")
    ]
    distances: Annotated[
        tuple[Annotated[float, Meta(ge=0)], ...],
        Meta(
            min_length=3,
            description="Steps from the start in standard deviations of the codes along the way, 0 first, rising.",
        ),
    ]
    keep_length: Annotated[bool, Meta(description="Bring every moved code back to the length of its start (for z).")]
    choosing: Annotated[Count, Meta(description="Samples with the thing that candidates are chosen on, at most.")]
    starts: Annotated[Annotated[int, Meta(ge=2)], Meta(description="Samples that are edited and judged, at most.")]
    shown: Annotated[Count, Meta(description="Of these the number that is shown.")]
    level: Level
    resamples: Resamples
    batch_size: Annotated[Count, Meta(description="Images made and judged at once.")]
    threads: Threads
    device: Device

    def __post_init__(self) -> None:
        if self.distances[0] != 0 or any(after <= before for before, after in pairwise(self.distances)):
            raise InputError(f"setting distances is {list(self.distances)}; it must begin with 0 and rise")
        if self.remove == self.keep:
            raise InputError(f"settings remove and keep are both {self.keep!r}; what is removed cannot stay")


@dataclass(frozen=True)
class EditingSettings(EditingOptions):
    """Settings of `edit-latents`."""

    model: ModelName
    generator: GeneratorName
    label: Annotated[str | None, Meta(description="The class it makes; null where it was trained on one.")]
    seed: Seed


# ------------------------------------------------------------------------------------------------------- the measures
def outcomes(walk: Walk, remove: int, keep: int | None, apart: float) -> dict[str, np.ndarray]:
    """What editing does to each start, (K, S) by name, steps in order.

    remove, keep: outputs; apart: mean distance of two starts in features. likelihood: of what is removed; removed:
    whether that is below SHOWN; kept: whether the class is called as at the start; in_time: whether it was removed at
    this step or before, and the class was still kept then; class_change: absolute change of its likelihood; identity:
    distance to the start in features, 1 = as far as between two starts. Without `keep` every class is kept.
    """
    likelihood = walk.likelihoods[:, :, remove]
    removed = likelihood < SHOWN
    if keep is None:
        kept, change = np.ones_like(removed), np.zeros_like(likelihood)
    else:
        called = walk.likelihoods[:, :, keep] >= SHOWN
        kept, change = called == called[0], np.abs(walk.likelihoods[:, :, keep] - walk.likelihoods[0, :, keep])
    never_flipped = np.logical_and.accumulate(kept, axis=0)
    return {
        "likelihood": likelihood,
        "removed": removed,
        "kept": kept,
        "in_time": np.logical_or.accumulate(removed & never_flipped, axis=0),
        "class_change": change,
        "identity": walk.features / apart if apart > 0 else walk.features,
    }


def fall(likelihoods: np.ndarray) -> float:
    """Mean fall of a likelihood (K, S) from its start, over steps and starts: what a direction is chosen by."""
    return float((likelihoods[0] - likelihoods[1:]).mean())


# ----------------------------------------------------------------------------------------------------------- the step
@dataclass(frozen=True)
class _Parts:
    """Codes (n, D) and likelihoods (n, T) of the samples to find directions by, to choose by and to judge by."""

    codes: tuple[np.ndarray, np.ndarray, np.ndarray]
    likelihoods: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def of(cls, drawn: LatentSamples) -> "_Parts":
        half, rest = len(drawn.codes) // 2, 3 * len(drawn.codes) // 4
        places = (slice(0, half), slice(half, rest), slice(rest, None))
        return cls(tuple(drawn.codes[p] for p in places), tuple(drawn.likelihoods[p] for p in places))

    def too_few(self, target: int) -> str | None:
        """Why nothing can be found: a part in which hardly any sample shows the thing, or hardly any does not."""
        for part, of in zip(self.likelihoods, ("find", "choose", "judge"), strict=True):
            shown = int((part[:, target] >= SHOWN).sum())
            if min(shown, len(part) - shown) < LEAST:
                return f"{shown} of the {len(part)} samples to {of} directions by show it; {LEAST} must, {LEAST} not"
        return None


@step("edit-latents")
def edit_latents(
    settings: EditingSettings,
    *,
    checkpoint: Path,
    classifier: Path,
    samples: Path,
    images: Output,
    out: Output,
    directions: Output,
) -> None:
    """Edit something out of generated images, by every method.

    Find directions along which something goes away, choose one of each method, and measure what else changes.

    checkpoint, classifier: those of `samples` (`latent-samples`). images: set of the first starts at every step of
    every method, columns method, start, step, distance, likelihood, and of the first start along COMPONENTS, both ways
    (methods pca_1 and so on; of those that there are); without any direction the likeliest sample alone.
    directions: of every method the one chosen, a vector as long as a standard deviation of the codes along it, and
    space, remove and, where there is none, the reason (.npz).
    out: JSON: the boundary on held-out codes, what rejection leaves, and of every method the direction chosen and the
    measured curve (see outcomes), or the reason why there is none. Raises InputError when the files do not belong
    together or the settings do not fit the classifier.
    """
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    drawn = read_samples(samples)
    for path, digest in ((checkpoint, drawn.checkpoint), (classifier, drawn.classifier)):
        if hash_file(path) != digest:
            raise InputError(f"{path}: not the file that {samples} was made with; run latent-samples again")
    gan = restore(checkpoint, settings.model, device, settings.label)
    judge = network.load(classifier).to(device)
    check_fit(gan, judge, checkpoint, classifier)
    remove, keep = (None if name is None else judge.position(name) for name in (settings.remove, settings.keep))
    eye, parts = Eye(gan, judge, drawn.space, settings.batch_size), _Parts.of(drawn)
    reason = parts.too_few(remove)
    result = {
        **{name: getattr(settings, name) for name in ("generator", "remove", "keep", "level", "label", "candidates")},
        "space": drawn.space,
        "dimensions": drawn.codes.shape[1],
        "samples": len(drawn.codes),
        "prevalence": float((drawn.likelihoods[:, remove] >= SHOWN).mean()),
        "distances": list(settings.distances),
        "reason": reason,
        "starts": 0,
        "boundary": None,
        "rejection": None,
        "methods": [],
    }
    tracks = {"none": drawn.codes[drawn.likelihoods[:, remove].argmax()][None, None]}
    chosen: dict[str, np.ndarray] = {}
    if reason is None:
        rng = np.random.default_rng([settings.seed, *b"editing"])
        boundary, candidates = _found(settings, eye, parts, remove, keep, rng)
        tracks, measured, chosen = _judged(settings, eye, parts, candidates, (remove, keep), rng)
        result |= measured | {
            "boundary": held_out(boundary, *_labelled(parts, remove, slice(1, None))),
            "rejection": _rejection(boundary, parts, remove, keep, settings.level),
        }
    write_image_set(images, _rows(settings, eye, tracks, remove))
    write_json(out, result)
    about = {"space": drawn.space, "remove": settings.remove, "reason": reason or ""}
    write_arrays(directions, {**chosen, **{name: np.array(text) for name, text in about.items()}})
    logger.info("%s: %s", out, reason or f"{len(result['methods'])} methods, {result['starts']} starts")


def _labelled(parts: _Parts, target: int, which: slice) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the parts `which`, and whether they show the target."""
    likelihoods = np.concatenate(parts.likelihoods[which])
    return np.concatenate(parts.codes[which]), likelihoods[:, target] >= SHOWN


def _found(
    settings: EditingSettings, eye: Eye, parts: _Parts, remove: int, keep: int | None, rng: np.random.Generator
) -> tuple[Boundary, dict[str, np.ndarray]]:
    """The boundary of the thing, and of each method its candidates (n, D), from the first part alone."""
    codes, shown = _labelled(parts, remove, slice(0, 1))
    boundary = svm_boundary(codes, shown, settings.penalty)
    slopes = _slopes(settings, codes, parts.likelihoods[0][:, remove])
    activations = codes if eye.space == "w" else _small_images(eye, codes)
    candidates = {
        "svm": boundary.normal[None],
        "regression": units(slopes),
        "pca": principal_directions(codes, activations, settings.candidates),
        "sefa": weight_directions(eye.gan.first_weights(eye.space).detach().cpu().numpy(), settings.candidates),
        "random": random_directions(settings.candidates, codes.shape[1], rng),
    }
    if keep is not None and parts.likelihoods[0][:, keep].std() > 0:
        of_class = _slopes(settings, codes, parts.likelihoods[0][:, keep])[0]
        for name in ("svm", "regression", "pca", "sefa"):
            candidates[f"{name}_orthogonal"] = without(candidates[name], of_class)
    return boundary, candidates


def _slopes(settings: EditingSettings, codes: np.ndarray, likelihoods: np.ndarray) -> np.ndarray:
    """Slopes (1, D) of the regression of an output on the codes, as of the disease axes, all samples weighing alike."""
    ridge = settings.ridge * float(codes.var(axis=0).mean())
    return regression_slopes(codes, likelihoods[:, None], np.ones(len(codes)), ridge)


def _small_images(eye: Eye, codes: np.ndarray) -> np.ndarray:
    batches = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() for pixels in eye.pixels(codes))
    return torch.cat([reduced(batch, _SIDE).flatten(1) for batch in batches]).numpy()


def _starts(parts: _Parts, which: int, remove: int, count: int) -> np.ndarray:
    """The first codes of a part that show the thing."""
    return parts.codes[which][parts.likelihoods[which][:, remove] >= SHOWN][:count]


def _judged(
    settings: EditingSettings,
    eye: Eye,
    parts: _Parts,
    candidates: Mapping[str, np.ndarray],
    outputs: tuple[int, int | None],
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], dict, dict[str, np.ndarray]]:
    """Of each method the codes (K, S, D) along its chosen direction (those of COMPONENTS: 2K − 1), what was measured,
    and the direction (D,)."""
    everything, (remove, keep) = np.concatenate(parts.codes), outputs

    def codes_along(starts: np.ndarray, direction: np.ndarray) -> np.ndarray:
        scale = float((everything @ direction).std())
        return path_codes(starts, direction, scale, settings.distances, settings.keep_length)

    choosing, starts = _starts(parts, 1, remove, settings.choosing), _starts(parts, 2, remove, settings.starts)
    (choose_pixels, _, choose_features), (pixels, _, features) = eye.look(choosing), eye.look(starts)
    resampled = rng.integers(len(starts), size=(settings.resamples, len(starts)))
    apart, tracks, chosen, methods = mean_distance(features), {}, {}, []
    for name, directions in tqdm(candidates.items(), unit="method", disable=None):
        signed = [(place, sign) for place in range(len(directions)) for sign in (-1, 1)]
        falls = [
            fall(
                eye.walk(codes_along(choosing, sign * directions[place]), choose_pixels, choose_features).likelihoods[
                    :, :, remove
                ]
            )
            for place, sign in signed
        ]
        place, sign = signed[int(np.argmax(falls))]
        tracks[name] = codes_along(starts, sign * directions[place])
        chosen[name] = sign * directions[place] * float((everything @ directions[place]).std())
        found = outcomes(eye.walk(tracks[name], pixels, features), remove, keep, apart)
        cosine = float(directions[place] @ candidates["svm"][0])
        methods.append(
            {
                "method": name,
                "candidate": place + 1,
                "of": len(directions),
                "sign": sign,
                "cosine_to_svm": sign * cosine,
                "choosing_fall": max(falls),
                "path": _curve(settings, found, resampled),
            }
        )
    for name, places in COMPONENTS.items():
        for place in places:
            if place <= len(candidates[name]):
                direction = candidates[name][place - 1]
                back, forth = (codes_along(starts[:1], sign * direction) for sign in (-1, 1))
                tracks[f"{name}_{place}"] = np.concatenate([back[:0:-1], forth])
    return tracks, {"starts": len(starts), "methods": methods}, chosen


def _curve(settings: EditingSettings, found: Mapping[str, np.ndarray], resampled: np.ndarray) -> list[dict]:
    """The mean of each outcome at each distance, with its interval over starts."""
    return [
        {
            "distance": distance,
            **{
                name: interval_of(values[place].mean(), values[place][resampled].mean(axis=1), settings.level)
                for name, values in found.items()
                if settings.keep is not None or name not in ("kept", "in_time", "class_change")
            },
        }
        for place, distance in enumerate(settings.distances)
    ]


def _rejection(boundary: Boundary, parts: _Parts, remove: int, keep: int | None, level: float) -> dict:
    """What is left of the last part when codes on the thing's side of the boundary are drawn again (section 3.3.3)."""
    accepted = boundary.side(parts.codes[2]) <= 0

    def shares(target: int) -> tuple[dict, dict]:
        shown = parts.likelihoods[2][:, target] >= SHOWN
        return share(shown), share(shown[accepted])

    def share(shown: np.ndarray) -> dict:
        return share_estimate(shown.sum(), len(shown), level, nothing="every code is rejected").to_json()

    before, after = shares(remove)
    result = {"accepted": float(accepted.mean()), "before": before, "after": after}
    if keep is not None:
        before, after = shares(keep)
        result |= {"class_before": before, "class_after": after}
    return result


def _rows(
    settings: EditingSettings, eye: Eye, tracks: Mapping[str, np.ndarray], remove: int
) -> Iterator[tuple[dict, np.ndarray]]:
    forth = settings.distances
    both = (*(-distance for distance in forth[:0:-1]), *forth)
    for method, codes in tracks.items():
        distances = both if len(codes) == len(both) else forth
        for start in range(min(settings.shown, codes.shape[1])):
            place = 0
            for pixels in eye.pixels(codes[:, start]):
                for image, likelihoods in zip(pixels, eye.judged(pixels)[0], strict=True):
                    fields = {
                        "image": f"{settings.generator}_{method}_{start:03d}_step{place:02d}.png",
                        "label": settings.label or "generated",
                        "patient": f"synthetic-{settings.generator}-edited-{start}",
                        "split": "synthetic",
                        "source": settings.generator,
                        "method": method,
                        "start": start,
                        "step": place,
                        "distance": f"{distances[place]:g}",
                        "likelihood": f"{likelihoods[remove]:.4f}",
                    }
                    yield fields, image
                    place += 1

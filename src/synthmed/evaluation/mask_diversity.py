"""How different the images are that a generator paints for one mask, and what makes them differ: mode collapse."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path, write_json
from synthmed.core.known import VARIED
from synthmed.core.settings import Count, Device, GeneratorName, Level, Lpips, Resamples, Seed, Threads
from synthmed.core.step import Output, step
from synthmed.data.channels import resized_labels
from synthmed.data.imageset import ImageSet
from synthmed.generators.base import Generator
from synthmed.generators.sampling import load_generator
from synthmed.metrics import resampling
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.variety import deviation, mean_ms_ssim, pairs
from synthmed.networks.perceptual import PerceptualDistance
from synthmed.training.device import choose_device, derived_seed
from synthmed.training.images import resized, to_model, to_pixels

logger = logging.getLogger(__name__)

SOURCES = ("channel", "dropout", "both")
"""What varies between the images of one mask: the noise beside it, what is dropped, or both."""
MEASURES = ("deviation", "ms_ssim", "lpips")


@dataclass(frozen=True)
class DiversityOptions:
    """Images of one mask, and how they differ."""

    part: Annotated[Literal["train", "test"], Meta(description="Part whose masks are painted.")]
    masks: Annotated[Count, Meta(description="Masks, drawn at random; all where there are fewer.")]
    samples: Annotated[int, Meta(ge=2, description="Images of each mask, for each of what may vary.")]
    shown: Annotated[Count, Meta(description="Masks whose images are kept for the figure.")]
    lpips: Lpips
    level: Level
    resamples: Resamples
    threads: Threads
    device: Device


@dataclass(frozen=True)
class DiversitySettings(DiversityOptions):
    """Settings of `mask-diversity`."""

    generator: GeneratorName
    seed: Seed


@dataclass(frozen=True)
class Chosen:
    """The masks that are painted: their real images (M, H, W, C) uint8, label maps (M, H, W), channels (M, K, H, W) in
    [-1, 1], patients and labels (M,)."""

    real: np.ndarray
    masks: np.ndarray
    channels: Tensor
    patients: list[str]
    labels: list[str]


@step("mask-diversity")
def mask_diversity(
    settings: DiversitySettings, *, checkpoint: Path, images: Path, weights: Path | None, out: Output, pictures: Output
) -> None:
    """How different a generator's images of one mask are, by what varies between them.

    checkpoint: of a generator that needs masks; images: set whose masks are painted; weights: of LPIPS. out (JSON): for
    each of SOURCES the means over masks of MEASURES; `real`: the same between real images of different masks, as many
    at a time; sensitivity: how far the image moves with the noise beside the mask (see `sensitivity`). pictures (.npz):
    real, masks, and images (sources, shown, samples, H, W, C) uint8 with the names of their sources.

    Raises InputError where the generator needs no masks or does not tell noise and dropout apart, and when nothing
    varies between its images.
    """
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    model = load_generator(checkpoint).to(device)
    if "mask" not in model.needs:
        raise InputError(f"{checkpoint}: this generator paints no masks; name another one in mask_diversity.generators")
    if not vars(model.config).keys() >= VARIED:
        raise InputError(
            f"{checkpoint}: this generator has no settings {sorted(VARIED)}, so that nothing can be told of what makes "
            "its images of one mask differ; take it out of mask_diversity.generators"
        )
    chosen = chosen_masks(ImageSet(images), model, settings.masks, settings.seed)
    distance = None if weights is None else PerceptualDistance(weights).to(device)
    measured, drawn = {}, {}
    for source in SOURCES:
        if reason := _lacks(model, source):
            measured[source] = {name: Estimate.missing(reason) for name in MEASURES}
            continue
        drawn[source] = _painted(settings, model, chosen, source)
        measured[source] = _measures(drawn[source], chosen.patients, distance, settings)
    if not drawn:
        raise InputError(f"{checkpoint}: nothing varies between its images of one mask; take it out of mask_diversity")
    found = {source: _json(values) for source, values in measured.items()}
    content = {"generator": settings.generator, "config": asdict(model.config), "part": settings.part}
    content |= {"masks": len(chosen.masks), "samples": settings.samples, "step": model.step, "level": settings.level}
    real = _json(_measures(_groups_of_real(chosen.real, settings), None, distance, settings))
    sensitive = sensitivity(settings, model, chosen).to_json()
    write_json(out, {**content, "sources": found, "real": real, "sensitivity": sensitive})
    _write_pictures(pictures, chosen, drawn, settings.shown)
    logger.info("%s: %d masks, %d images of each", settings.generator, len(chosen.masks), settings.samples)


def _json(measures: Mapping[str, Estimate]) -> dict[str, dict]:
    return {name: estimate.to_json() for name, estimate in measures.items()}


def chosen_masks(images: ImageSet, model: Generator, most: int, seed: int) -> Chosen:
    """At most so many masks of a set, drawn at random, at the size of a generator's images; of the labels that it was
    trained on."""
    masked = [place for place, row in enumerate(images.rows) if row["mask"] and row["label"] in model.classes]
    if not masked:
        raise InputError(f"{images.path}: no image of {list(model.classes)} has a mask")
    rng = np.random.default_rng(derived_seed(seed, "masks"))
    places = sorted(rng.permutation(masked)[:most].tolist())
    size = model.image_shape[1:]
    entries = list(images.entries(places))
    masks = [resized_labels(mask, size) for *_, mask in entries]
    real = torch.from_numpy(np.stack([pixels for _, pixels, _ in entries]).transpose(0, 3, 1, 2)).float()
    real = resized(real, size).round().clamp(0, 255).to(torch.uint8).numpy().transpose(0, 2, 3, 1)
    channels = to_model(torch.from_numpy(np.stack([model.masks.encode(mask) for mask in masks]).transpose(0, 3, 1, 2)))
    patients, labels = ([row[name] for row, *_ in entries] for name in ("patient", "label"))
    return Chosen(real, np.stack(masks), channels.to(model.device), patients, labels)


def _lacks(model: Generator, source: str) -> str | None:
    """Why a source of variation does not exist in this model."""
    if source in ("channel", "both") and "channel" not in model.config.noise:
        return "no noise beside the mask"
    if source in ("dropout", "both") and not model.config.dropout * model.config.dropout_blocks:
        return "nothing is dropped"
    return None


def _painted(settings: DiversitySettings, model: Generator, chosen: Chosen, source: str) -> np.ndarray:
    """Images (M, samples, H, W, C) uint8 of each mask; what does not vary is drawn once for each mask."""
    found = []
    for number, mask in enumerate(chosen.channels):
        noise = _noise(settings, model, number, settings.samples)
        if source == "dropout" and noise is not None:
            noise = noise[:1].expand(settings.samples, -1, -1, -1)
        dropped = torch.Generator().manual_seed(derived_seed(settings.seed, f"dropout {number}"))
        masks = mask.expand(settings.samples, -1, -1, -1)
        with torch.no_grad():
            images = model.paint(masks, noise, dropped if source != "channel" else None)
        found.append(to_pixels(images).cpu().permute(0, 2, 3, 1).numpy())
    return np.stack(found)


def _noise(settings: DiversitySettings, model: Generator, number: int, count: int) -> Tensor | None:
    """Noise beside mask `number`, (count, 1, H, W); None where the model has none."""
    if "channel" not in model.config.noise:
        return None
    generator = torch.Generator().manual_seed(derived_seed(settings.seed, f"noise {number}"))
    return torch.randn(count, 1, *model.image_shape[1:], generator=generator).to(model.device)


def sensitivity(settings: DiversitySettings, model: Generator, chosen: Chosen) -> Estimate:
    """How far images move with the noise beside their mask: ‖∂G/∂noise‖ (Frobenius), over the root of the number of
    values of an image; the mean over masks.

    That is the root mean square change of an image, in units of its range (from black to white), when small noise is
    added to the noise, per its standard deviation. The norm follows from random directions u: E‖Jᵀu‖² = ‖J‖².
    """
    if "channel" not in model.config.noise:
        return Estimate.missing("no noise beside the mask")
    found = []
    for number, mask in enumerate(chosen.channels):
        noise = _noise(settings, model, number, settings.samples).requires_grad_(True)
        images = model.paint(mask.expand(settings.samples, -1, -1, -1), noise, None) / 2  # a range of 1
        generator = torch.Generator().manual_seed(derived_seed(settings.seed, f"direction {number}"))
        direction = torch.randn(images.shape, generator=generator).to(images)
        (gradient,) = torch.autograd.grad((images * direction).sum(), noise)
        squared = gradient.square().sum(dim=(1, 2, 3)).mean() / images[0].numel()
        found.append(float(squared.sqrt()))
    return _mean(found, chosen.patients, settings)


def _measures(
    images: np.ndarray, patients: Sequence[str] | None, distance: PerceptualDistance | None, settings: DiversitySettings
) -> dict[str, Estimate]:
    """MEASURES of groups of images (M, samples, H, W, C), each the mean over groups. patients: (M,) of the groups; None
    where they are not independent, and there is no interval."""
    functions: dict[str, Callable[[np.ndarray], float | None]] = {"deviation": deviation, "ms_ssim": mean_ms_ssim}
    found = {}
    for name, function in functions.items():
        values = [function(group) for group in images]
        known = None not in values
        found[name] = _mean(values, patients, settings) if known else Estimate.missing("images are too small for it")
    if distance is None:
        return {**found, "lpips": Estimate.missing("no weights of LPIPS")}
    return {**found, "lpips": _mean([_lpips(group, distance) for group in images], patients, settings)}


def _lpips(images: np.ndarray, distance: PerceptualDistance) -> float:
    """Mean over all pairs of a group (samples, H, W, C), each image through the network once."""
    tensor = to_model(torch.from_numpy(images.transpose(0, 3, 1, 2))).to(distance.lin0.device)
    with torch.inference_mode():
        return float(distance.between_all(tensor, len(tensor))[pairs(len(images))].mean())


def _mean(values: Sequence[float], patients: Sequence[str] | None, settings: DiversitySettings) -> Estimate:
    """The mean over masks, with an interval over their patients."""
    value, deviations = float(np.mean(values)), np.array(values) - np.mean(values)
    units = None if patients is None else resampling.units(patients)
    if units is None or units.max() == 0:
        return Estimate(value, None, None, len(values))
    rng = np.random.default_rng(derived_seed(settings.seed, "interval"))
    options = {"level": settings.level, "resamples": settings.resamples, "rng": rng}
    low, high = resampling.linearised_interval(value, [(deviations, units)], **options)
    return Estimate(value, low, high, len(values))


def _groups_of_real(real: np.ndarray, settings: DiversitySettings) -> np.ndarray:
    """Random groups of real images of different masks, as many groups as masks and as large as those of one mask."""
    rng = np.random.default_rng(derived_seed(settings.seed, "real"))
    size = min(settings.samples, len(real))
    if size < 2:
        raise InputError("setting mask_diversity.masks: at least 2 masks are needed to compare real images")
    return np.stack([real[rng.permutation(len(real))[:size]] for _ in range(len(real))])


def _write_pictures(path: Path, chosen: Chosen, drawn: Mapping[str, np.ndarray], shown: int) -> None:
    arrays = {"real": chosen.real[:shown], "masks": chosen.masks[:shown], "sources": np.array(list(drawn))}
    arrays["images"] = np.stack([images[:shown] for images in drawn.values()])
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **arrays)

"""The step `path-length`: perceptual path lengths of a generator (PPL), in each of its latent spaces.

"end": steps at the ends of paths between random codes, as the authors' ppl2_wend; "full": steps at random places of
them, as seed 003 describes it in section 2.3.2. In w paths are straight, in z on the sphere.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta

from synthmed.core.files import write_json
from synthmed.core.settings import Count, Device, GeneratorName, Level, Lpips, ModelName, Resamples, Seed, Threads
from synthmed.core.step import Output, step
from synthmed.generators.base import Generator
from synthmed.latent.space import draw_codes, images_of, restore
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.path_length import between, on_the_sphere, path_lengths
from synthmed.networks.perceptual import PerceptualDistance
from synthmed.training.device import choose_device, derived_seed
from synthmed.training.images import reduced

logger = logging.getLogger(__name__)

SIDE = 256
"""Larger images are averaged to this many pixels a side before they are compared, as the authors do."""
WAYS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {"w": between, "z": on_the_sphere}


@dataclass(frozen=True)
class PathLengthOptions:
    """Perceptual path length."""

    pairs: Annotated[Annotated[int, Meta(ge=2)], Meta(description="Paths between random codes (the authors: 50,000).")]
    epsilon: Annotated[
        float, Meta(gt=0, lt=1, description="Step, as a share of the path (1.0e-4); float32 blurs smaller ones.")
    ]
    lpips: Lpips
    level: Level
    resamples: Resamples
    batch_size: Annotated[Count, Meta(description="Pairs of images at once; bounds the memory.")]
    threads: Threads
    device: Device


@dataclass(frozen=True)
class PathLengthSettings(PathLengthOptions):
    """Settings of `path-length`."""

    model: ModelName
    generator: GeneratorName
    training: Annotated[str, Meta(description="Name of its training.")]
    label: Annotated[
        str | None, Meta(description="The class of both ends; null where it was trained on one or cannot be asked.")
    ]
    seed: Seed


@step("path-length")
def path_length(settings: PathLengthSettings, *, checkpoint: Path, weights: Path | None, out: Output) -> None:
    """Measure the perceptual path length of a generator.

    checkpoint: of a generator with a latent vector; weights: of LPIPS on VGG16, see networks/perceptual; without them
    nothing is measured, and the reason is written. out: JSON: space → sampling ("end", "full") → Estimate, its interval
    by bootstrap over paths. The noise of all images is the same. Raises InputError when the generator has no latent
    vector or the files cannot be read.
    """
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    gan = restore(checkpoint, settings.model, device, settings.label)
    found: dict[str, dict] = {space: {} for space in gan.spaces}
    distance = None if weights is None else PerceptualDistance(weights).to(device)
    for space in found:
        for sampling in ("end", "full"):
            if distance is None:
                measured = Estimate.missing("no weights of LPIPS")
            else:
                measured = _measured(settings, gan, distance, space, sampling)
            found[space][sampling] = measured.to_json()
    about = {name: getattr(settings, name) for name in ("generator", "training", "label", "pairs", "epsilon", "level")}
    write_json(out, {**about, "spaces": found})
    logger.info("%s: %s", out, found)


def _measured(
    settings: PathLengthSettings, gan: Generator, distance: PerceptualDistance, space: str, sampling: str
) -> Estimate:
    """The mean path length of one space, with its interval."""
    codes = draw_codes(gan, space, 2 * settings.pairs, derived_seed(settings.seed, "path length")).astype(np.float64)
    first, second = codes[::2], codes[1::2]
    rng = np.random.default_rng(derived_seed(settings.seed, "places"))
    places = np.zeros(settings.pairs) if sampling == "end" else rng.random(settings.pairs)
    ends = [WAYS[space](first, second, places + shift) for shift in (0.0, settings.epsilon)]
    found = []
    for start in range(0, settings.pairs, settings.batch_size):
        near, far = (_images(gan, space, way[start : start + settings.batch_size]) for way in ends)
        with torch.no_grad():
            found.append(distance.of_pairs(near, far).cpu().numpy())
    lengths = path_lengths(np.concatenate(found), settings.epsilon)
    resampled = rng.integers(len(lengths), size=(settings.resamples, len(lengths)))
    spread = lengths[resampled].mean(axis=1)
    low, high = np.quantile(spread, [(1 - settings.level) / 2, (1 + settings.level) / 2])
    return Estimate(float(lengths.mean()), float(low), float(high), len(lengths))


def _images(gan: Generator, space: str, codes: np.ndarray) -> torch.Tensor:
    return reduced(images_of(gan, space, torch.from_numpy(codes.astype(np.float32)).to(gan.device)), SIDE)

"""How different the images of a set are from one another: MS-SSIM and LPIPS of all pairs of a draw."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.settings import BatchSize, Device, Lpips, Seed, Threads
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.metrics import resampling
from synthmed.metrics.variety import MEASURES, mean_of_pairs, ms_ssim_between_all
from synthmed.networks.perceptual import PerceptualDistance
from synthmed.training.device import choose_device, derived_seed
from synthmed.training.images import resized, to_model

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairOptions:
    """Distances between the images of one set."""

    images: Annotated[
        int, Meta(ge=2, description="Images of each label, drawn at random; all pairs of them are compared.")
    ]
    max_side: Annotated[
        int,
        Meta(ge=16, description="Larger images are reduced to this longer side.", extra_json_schema={"unit": "px"}),
    ]
    lpips: Lpips
    batch_size: BatchSize
    threads: Threads
    device: Device


@dataclass(frozen=True)
class PairSettings(PairOptions):
    """Settings of `pair-distances`."""

    seed: Seed


@step("pair-distances")
def pair_distances(settings: PairSettings, *, images: Path, weights: Path | None, out: Output) -> None:
    """How different the images of each label of a set are from one another: MS-SSIM and LPIPS of all pairs of a draw.

    weights: of LPIPS. out (JSON): size, the height and width at which they were compared; for each label n, patients
    (n,), and of each measure the mean over pairs of different patients and the influence (n,) of each image on it, or
    the reason why there is none.
    """
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    distance = None if weights is None else PerceptualDistance(weights).to(device)
    image_set = ImageSet(images)
    rng = np.random.default_rng(derived_seed(settings.seed, "pairs"))
    labels = np.array(image_set.column("label"))
    found, size = {}, None
    for label in sorted(set(labels.tolist())):
        chosen = np.sort(rng.permutation(np.flatnonzero(labels == label))[: settings.images])
        pixels, patients = _read(image_set, chosen.tolist(), settings.max_side)
        if size not in (None, pixels.shape[1:3]):
            raise InputError(f"{images}: images of {size} and of {pixels.shape[1:3]} pixels; prepare them alike")
        size = pixels.shape[1:3]
        matrices = _matrices(pixels, distance, settings.batch_size)
        own = resampling.units(patients)
        found[label] = {"n": len(chosen), "patients": patients}
        found[label] |= {name: _summary(matrix, own) for name, matrix in matrices.items()}
    write_json(out, {"size": list(size), "labels": found})


def _read(images: ImageSet, rows: Sequence[int], side: int) -> tuple[np.ndarray, list[str]]:
    """Pixels uint8 (N, H, W, C), at most `side` high and wide, and patients (N,)."""
    entries = list(images.entries(rows))
    shapes = sorted({pixels.shape for _, pixels, *_ in entries})
    if len(shapes) > 1:
        raise InputError(f"{images.path}: images of {shapes[0]} and of {shapes[1]}; prepare them alike")
    height, width, _ = shapes[0]
    scale = min(1.0, side / max(height, width))
    size = round(height * scale), round(width * scale)
    pixels = torch.from_numpy(np.stack([pixels for _, pixels, *_ in entries])).permute(0, 3, 1, 2)
    small = resized(pixels.float(), size).round().clamp(0, 255).to(torch.uint8)
    return small.permute(0, 2, 3, 1).numpy(), [row["patient"] for row, *_ in entries]


def _matrices(pixels: np.ndarray, distance: PerceptualDistance | None, batch: int) -> dict[str, np.ndarray | str]:
    """Of each measure: values of all pairs (N, N), or why there are none."""
    if len(pixels) < 2:
        return dict.fromkeys(MEASURES, "one image has no pairs")
    similarity = ms_ssim_between_all(pixels, batch)
    found: dict[str, np.ndarray | str] = {
        "ms_ssim": "images are too small for it" if similarity is None else similarity
    }
    if distance is None:
        return {**found, "lpips": "no weights of LPIPS"}
    if min(pixels.shape[1:3]) < 16:
        return {**found, "lpips": "images are too small for it"}
    with torch.inference_mode():
        tensor = to_model(torch.from_numpy(pixels.transpose(0, 3, 1, 2))).to(distance.lin0.device)
        return {**found, "lpips": distance.between_all(tensor, batch).numpy()}


def _summary(matrix: np.ndarray | str, units: np.ndarray) -> dict:
    if isinstance(matrix, str):
        return {"reason": matrix}
    pooled = mean_of_pairs(matrix, units)
    if pooled is None:
        return {"reason": "all images are of one patient"}
    mean, influence = pooled
    return {"mean": mean, "influence": influence.tolist()}

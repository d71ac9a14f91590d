"""The step `features`: pooled features of every image of a set, computed once and shared by everything after it."""

import importlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor
from tqdm import tqdm

from synthmed.augment.classic import ClassicAugmentation, classic_augment
from synthmed.core.errors import InputError
from synthmed.core.settings import BatchSize, Device, Precision, Seed, Threads
from synthmed.core.step import Output, step
from synthmed.data.features import write_features
from synthmed.data.imageset import ImageSet
from synthmed.extractors import EXTRACTORS
from synthmed.extractors.extractor import Extractor
from synthmed.extractors.views import View, views
from synthmed.training.device import choose_device

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureOptions:
    """Use of a network whose features are compared."""

    input_size: Annotated[int | None, Meta(description="Side images are brought to, pixels; null: the network's own.")]
    batch_size: BatchSize
    threads: Threads
    device: Device
    precision: Precision


@dataclass(frozen=True)
class FeatureSettings(FeatureOptions):
    """Settings of `features`."""

    extractor: Annotated[
        Literal["inception", "vgg16", "efficientnet_lite0", "domain"],
        Meta(description="The network, a file of src/synthmed/extractors/."),
    ]
    view: View
    draws: Annotated[int, Meta(ge=0, description="Augmented versions of each image on top of the image as it is.")]
    augmentation: Annotated[ClassicAugmentation, Meta(description="How they are augmented.")]
    seed: Seed


def load_extractor(settings: FeatureSettings, weights: Path | None) -> Extractor:
    """The extractor that `settings` name. weights: a file of the DAG, or None: those of an installed package.

    Raises InputError when weights are missing.
    """
    if settings.extractor == "domain" and weights is None:
        raise InputError("the extractor domain needs its weights; make them with `synthmed train-extractor`")
    device = choose_device(settings.device)
    module = importlib.import_module(EXTRACTORS[settings.extractor])
    return module.load(weights, settings.input_size, settings.precision, device)


def _batches(images: ImageSet, view: str, size: int) -> Iterator[tuple[list[int], Tensor]]:
    """Positions and pixels (n, C, H, W), uint8, of at most `size` consecutive images of one shape.

    Images are decoded as they are needed, so memory stays bounded by the batch.
    """
    positions: list[int] = []
    pixels: list[np.ndarray] = []
    for position, image in enumerate(views(images, view)):
        if pixels and (len(pixels) == size or image.shape != pixels[0].shape):
            yield positions, _stack(pixels)
            positions, pixels = [], []
        positions.append(position)
        pixels.append(image)
    yield positions, _stack(pixels)


def _stack(pixels: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


def _augmented(pixels: Tensor, positions: list[int], draw: int, settings: FeatureSettings) -> Tensor:
    """Draw `draw` of the images: uint8 → float in [-1, 1]. Depends on seed, draw and position, not on the batch."""
    images = pixels.float() / 127.5 - 1.0
    versions = []
    for image, position in zip(images, positions, strict=True):
        # A SeedSequence mixes its words well; neighbouring positions get unrelated streams.
        word = np.random.SeedSequence([settings.seed, draw, position]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(word >> np.uint64(1)))
        versions.append(classic_augment(image[None], settings.augmentation, generator))
    return torch.cat(versions)


@step("features")
def features(settings: FeatureSettings, *, images: Path, weights: Path | None, out: Output) -> None:
    """Compute the features of the image set `images`, or of its masks, and write them to `out` (.npz).

    Arrays: names, labels, patients (M,) text; features, squares (M, D) float32, the spatial mean of the last map and
    of its square; probabilities (M, K) float32 where the extractor has a classifier; draw (M,) int64, 0 for the image
    as it is and 1 … draws for augmented versions; extractor, text: its name for people. M = images × (1 + draws),
    ordered by draw, then by the manifest. Raises InputError when weights are missing or an image is too small.
    """
    torch.set_num_threads(settings.threads)
    extractor = load_extractor(settings, weights)
    device = choose_device(settings.device)
    image_set = ImageSet(images)
    count, rounds = len(image_set), 1 + settings.draws
    arrays: dict[str, np.ndarray] = {}
    progress = tqdm(total=count * rounds, unit="image", desc=extractor.human, disable=None)
    with torch.inference_mode(), progress:
        for positions, pixels in _batches(image_set, settings.view, settings.batch_size):
            for draw in range(rounds):
                batch = pixels if draw == 0 else _augmented(pixels, positions, draw, settings)
                pooled = extractor(batch.to(device))
                for name, values in pooled._asdict().items():
                    if values is None:
                        continue
                    if name not in arrays:
                        arrays[name] = np.empty((rounds, count, values.shape[1]), np.float32)
                    arrays[name][draw, positions] = values.float().cpu().numpy()
                progress.update(len(positions))
    _refuse_non_finite(arrays, image_set, images)
    arrays = {name: values.reshape(rounds * count, -1) for name, values in arrays.items()}
    write_features(out, image_set.rows, arrays, extractor.human, rounds)
    logger.info(
        "%s: %d images × %d, %d features by %s", images, count, rounds, arrays["features"].shape[1], extractor.human
    )


def _refuse_non_finite(arrays: dict[str, np.ndarray], image_set: ImageSet, path: Path) -> None:
    for name, values in arrays.items():
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            image = image_set.rows[bad[0][1]]["image"]
            raise InputError(f"{path}: the {name} of {image!r} are not finite; use precision fp32 or other weights")

"""Step `mask-channel`: images with what a segmenter draws on them as a channel of their own, and its placebos.

Seed 000, section 2.5: the predicted mask is the fourth channel of the classifier's input. Whether the mask tells the
classifier anything is seen beside masks that cannot: those of other lesions, and ones that are the same everywhere.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.settings import BatchSize, Device, Seed, Threads
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, Legend, write_image_set
from synthmed.segmenters.trained import Segmenter, drawn, load
from synthmed.training.device import choose_device, derived_seed
from synthmed.training.images import resized

logger = logging.getLogger(__name__)

Source = Literal["soft", "thresholded", "other", "ones"]
COLOURS = {1: ("grey",), 3: ("red", "green", "blue")}
LESION = "mask"
"""Name of the channel."""


@dataclass(frozen=True)
class MaskChannelSettings:
    """Settings of `mask-channel`."""

    source: Annotated[
        Source,
        Meta(
            description="soft: what the segmenter draws, in grey levels; thresholded: its mask; other: the soft map of "
            "another patient of the set; ones: the whole image, whatever it shows."
        ),
    ]
    batch_size: BatchSize
    threads: Threads
    device: Device
    seed: Seed


@step("mask-channel")
def mask_channel(settings: MaskChannelSettings, *, images: Path, segmenter: Path | None, out: Output) -> None:
    """Add a mask to the images of a set as a channel of their own.

    images: image set, grey or RGB; segmenter: of `train-segmenter` or `train-multi-scale`, whose first seed draws the
    masks, None for the source ones. out: the same images with a further channel LESION, 255 where it is certain. Maps
    of several classes become one, their highest. Raises InputError when the segmenter does not fit the images.
    """
    if (settings.source == "ones") != (segmenter is None):
        raise InputError(f"setting source is {settings.source!r}; give a segmenter for all sources but ones")
    torch.set_num_threads(settings.threads)
    given = ImageSet(images)
    shape = given[0].shape
    if given.legend.channels is not None or shape[2] not in COLOURS:
        raise InputError(f"{images}: images have named channels already; give grey or RGB ones")
    if segmenter is None:
        maps = np.full((len(given), *shape[:2]), 255, np.uint8)
    else:
        maps = _maps(settings, load(segmenter).to(choose_device(settings.device)), given)
    if settings.source == "thresholded":
        maps = np.where(maps >= 128, np.uint8(255), np.uint8(0))
    if settings.source == "other":
        maps = maps[of_other_patients(given.column("patient"), settings.seed)]
    legend = Legend(channels=(*COLOURS[shape[2]], LESION))
    write_image_set(out, _joined(given, maps), legend)
    logger.info("%s: %d images with the channel %s", out, len(given), settings.source)


def _joined(images: ImageSet, maps: np.ndarray) -> Iterator[tuple]:
    for (row, pixels, *_), drawing in zip(images.entries(), maps, strict=True):
        yield row, np.dstack([pixels, drawing])


def _maps(settings: MaskChannelSettings, segmenter: Segmenter, images: ImageSet) -> np.ndarray:
    """Soft maps at the size of the images, uint8 (N, H, W)."""
    found = []
    for start in range(0, len(images), settings.batch_size):
        rows = range(start, min(start + settings.batch_size, len(images)))
        pixels = [pixels for _, pixels, *_ in images.entries(rows)]
        channels = drawn(segmenter, segmenter.models[0], pixels)
        maps = resized(channels, pixels[0].shape[:2]).amax(dim=1)
        found.append((255 * maps).round().clamp(0, 255).to(torch.uint8).numpy())
    return np.concatenate(found)


def of_other_patients(patients: list[str], seed: int) -> np.ndarray:
    """For each image the position of one of another patient, (N,): those of the next one in a random circle of all.

    Raises InputError when there is one patient only.
    """
    names = np.unique(patients)
    if len(names) < 2:
        raise InputError(f"all images are of the patient {names[0]!r}; a mask of another one needs two")
    rng = np.random.default_rng(derived_seed(seed, "masks of others"))
    order = rng.permutation(names)
    following = dict(zip(order.tolist(), np.roll(order, -1).tolist(), strict=True))
    of_patient = {name: np.flatnonzero(np.array(patients) == name) for name in names.tolist()}
    return np.array([rng.choice(of_patient[following[name]]) for name in patients])

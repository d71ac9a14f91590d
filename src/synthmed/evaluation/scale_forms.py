"""What segmenters at several sizes draw: holes and rough borders, and the maps that join the image."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from synthmed.core.errors import InputError, check_one_each
from synthmed.core.files import atomic_path, write_json
from synthmed.core.known import TEST
from synthmed.core.settings import BatchSize, Count, Device, Level, Threads
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.data.second_test import SecondTest, parts_of
from synthmed.metrics import statistics
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.masks import mask_statistics, objects_of
from synthmed.metrics.outcomes import COUNT, Measured, mean_of_patients
from synthmed.segmenters.trained import Segmenter, drawn, label_map, load
from synthmed.training.device import choose_device
from synthmed.training.images import resized

logger = logging.getLogger(__name__)

FORMS = {"holes": COUNT, "roughness": (-1.0, np.inf), "area": (0.0, 1.0)}
"""Statistics of masks (metrics.masks), with their lowest and highest value."""


@dataclass(frozen=True)
class ScaleFormsSettings:
    """Settings of `scale-forms`."""

    segmenters: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1, description="Names of the segmenters in the order of their files; the first is compared with."
        ),
    ]
    maps: Annotated[
        tuple[str, ...], Meta(min_length=1, description="Those of them whose soft maps join the image, in this order.")
    ]
    examples: Annotated[Count, Meta(description="Test images whose maps are kept for the report.")]
    batch_size: BatchSize
    threads: Threads
    device: Device
    level: Level
    second_test: SecondTest


@step("scale-forms")
def scale_forms(
    settings: ScaleFormsSettings, *, segmenters: list[Path], test: Path, out: Output, examples: Output
) -> None:
    """Measure the form of what segmenters at several sizes draw.

    segmenters: in the order of settings.segmenters, with equally many seeds; test: image set with masks, whose
    images of settings.second_test are left out. Everything is enlarged to the size of the test images, so that sizes
    can be compared. out (JSON): of each segmenter, and of the true masks, the mean of FORMS over patients and seeds,
    the difference from the first segmenter with its p (not adjusted), and how many images were left out because a mask
    there is empty. examples (.npz): of the first test images `images` (N, H, W, C) and `truth` (N, H, W), of the first
    seed `maps` (N, M, H, W) the soft maps of settings.maps and `drawn` (N, S, H, W) the masks of all segmenters, uint8.
    Raises InputError on other inputs, and where a test has no image.
    """
    check_one_each(settings.segmenters, segmenters=segmenters)
    if unknown := sorted(set(settings.maps) - set(settings.segmenters)):
        raise InputError(f"setting maps names {unknown[0]!r}; the segmenters are {list(settings.segmenters)}")
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    loaded = [load(path).to(device) for path in segmenters]
    images = ImageSet(test)
    images.rows = [images.rows[row] for row in parts_of(images, settings.second_test)[TEST]]
    patients, truth = np.array(images.column("patient")), images.masks > 0
    values = {"truth": _forms(truth)[None]}
    shown: dict[str, list[np.ndarray]] = {"maps": [], "drawn": []}
    for name, path, one in zip(settings.segmenters, segmenters, loaded, strict=True):
        if len(one.models) != len(loaded[0].models):
            raise InputError(
                f"{path}: {len(one.models)} seeds, {segmenters[0]} has {len(loaded[0].models)}; train alike"
            )
        found = []
        for number, model in enumerate(one.models):
            masks, soft = _drawn(settings, one, model, images)
            found.append(_forms(masks))
            if number == 0:
                shown["drawn"].append(255 * masks[: settings.examples].astype(np.uint8))
                if name in settings.maps:
                    shown["maps"].append(soft)
        values[name] = np.stack(found)
        logger.info("%s: %.2f holes a mask", name, values[name][:, :, 0].mean())
    known = np.isfinite(np.concatenate(list(values.values()))).all(axis=(0, 2))
    left_out = int((~known).sum())
    write_json(out, {"left_out": left_out, "images": int(known.sum()), **_told(settings, values, patients, known)})
    kept = range(min(settings.examples, len(images)))
    arrays = {"images": np.stack([images[row] for row in kept]), "truth": 255 * truth[: len(kept)].astype(np.uint8)}
    arrays |= {name: np.stack(found, axis=1) for name, found in shown.items()}
    with atomic_path(examples) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, names=np.array(settings.segmenters), **arrays)


def _forms(masks: np.ndarray) -> np.ndarray:
    """FORMS of masks, bool (N, H, W): (N, F)."""
    found = [mask_statistics(objects_of(mask)) for mask in masks]
    return np.array([[one[name] for name in FORMS] for one in found])


def _drawn(
    settings: ScaleFormsSettings, segmenter: Segmenter, model: torch.nn.Module, images: ImageSet
) -> tuple[np.ndarray, np.ndarray]:
    """What one network draws on all images at their size, bool (N, H, W); the first soft maps, uint8 (E, H, W)."""
    masks, soft = [], []
    for pixels in _batches(settings, images):
        channels: Tensor = drawn(segmenter, model, pixels)
        size = pixels[0].shape[:2]
        masks += [label_map(segmenter, one, size) > 0 for one in channels]
        if len(soft) < settings.examples:
            soft += list((255 * resized(channels, size)).round().to(torch.uint8).amax(dim=1).numpy())
    return np.stack(masks), np.stack(soft[: settings.examples])


def _batches(settings: ScaleFormsSettings, images: ImageSet) -> Iterator[list[np.ndarray]]:
    for start in range(0, len(images), settings.batch_size):
        yield list(images.pixels[start : start + settings.batch_size])


def _told(
    settings: ScaleFormsSettings, values: Mapping[str, np.ndarray], patients: np.ndarray, known: np.ndarray
) -> dict[str, dict]:
    """Of the truth and each segmenter the means, and the differences from the first segmenter. values: (S, N, F)."""
    if len(np.unique(patients[known])) < 2:
        nothing = Estimate.missing("fewer than two patients have masks that are not empty", int(known.sum())).to_json()
        return {
            "segmenters": {name: {form: nothing for form in FORMS} for name in settings.segmenters},
            "truth": {form: nothing for form in FORMS},
            "differences": {},
        }

    def measured(names: Sequence[str], place: int, bounds: tuple[float, float]) -> Measured:
        rows = np.concatenate([values[name][:, known, place] for name in names])
        return mean_of_patients(rows, np.zeros(known.sum()), patients[known], 0, bounds=bounds)

    means: dict[str, dict] = {name: {} for name in values}
    differences: dict[str, dict] = {name: {} for name in settings.segmenters[1:]}
    for place, (form, bounds) in enumerate(FORMS.items()):
        for name in values:
            mean = statistics.mean_estimate(measured([name], place, bounds), level=settings.level)
            means[name][form] = mean.to_json()
        for name in differences:
            both = measured([settings.segmenters[0], name], place, bounds)
            test = statistics.readers_test(both, statistics.paired(len(values[name])), level=settings.level)
            differences[name][form] = {"difference": test.estimate(int(known.sum())).to_json(), "p": test.p}
    truth = means.pop("truth")
    return {"segmenters": means, "truth": truth, "differences": differences}

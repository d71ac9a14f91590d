"""Masks of real images, elastically deformed: what generators of masks are measured against."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta

from synthmed.augment.pairs import Elastic, deform_pairs
from synthmed.core.errors import InputError
from synthmed.core.settings import Count, GeneratorName, Seed, Threads
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.training.device import derived_seed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeformOptions:
    """How masks are deformed."""

    elastic: Elastic
    threads: Threads


@dataclass(frozen=True)
class DeformSettings(DeformOptions):
    """Settings of `deform-masks`."""

    samples: Annotated[dict[str, Count], Meta(description="Masks of each label.")]
    generator: GeneratorName
    seed: Seed


@step("deform-masks")
def deform_masks(settings: DeformSettings, *, images: Path, deformed: Output) -> None:
    """Deform the masks of real images elastically.

    images: image set with masks. deformed: image set with settings.samples[label] masks of each label; its images are
    white where the mask marks something, and `origin` names the real one. Every mask is used once before any is used
    again. Raises InputError when a label has no mask.
    """
    torch.set_num_threads(settings.threads)
    real = ImageSet(images)
    labels, masked = np.array(real.column("label")), np.array([bool(mask) for mask in real.column("mask")])

    def rows() -> Iterator[tuple]:
        number = 0
        for label, count in sorted(settings.samples.items()):
            candidates = np.flatnonzero((labels == label) & masked)
            if not len(candidates):
                raise InputError(f"{images}: no mask of {label!r}, which setting samples names")
            rng = np.random.default_rng(derived_seed(settings.seed, f"masks of {label}"))
            noise = torch.Generator().manual_seed(derived_seed(settings.seed, f"deformations of {label}"))
            order = [rng.permutation(candidates) for _ in range(-(-count // len(candidates)))]
            for row, _, mask in real.entries(np.sort(np.concatenate(order)[:count])):
                number += 1
                moved = _deformed(mask, settings.elastic, noise)
                fields = {
                    "image": f"{settings.generator}_{number:05d}.png",
                    "label": label,
                    "patient": f"synthetic-{settings.generator}-{number}",
                    "split": "synthetic",
                    "source": settings.generator,
                    "origin": row["image"],
                }
                yield fields, np.where(moved > 0, np.uint8(255), np.uint8(0))[:, :, None], moved

    write_image_set(deformed, rows(), replace(real.legend, channels=None))
    logger.info("%s: %d masks", deformed, sum(settings.samples.values()))


def _deformed(mask: np.ndarray, elastic: Elastic, noise: torch.Generator) -> np.ndarray:
    """A label map (H, W), each pixel with the value of the one that moves there."""
    values = torch.from_numpy(mask.astype(np.float32))[None, None]
    _, moved = deform_pairs(torch.zeros_like(values), values, elastic, noise)
    return moved[0, 0].numpy().round().astype(mask.dtype)

"""Step `edit-set`: a synthetic image set from which something was edited out in latent space.

Seed 003 (sections 4.2.2 and 4.3.2) moves codes whose image has a frame along the sixth direction of SeFa, and trains a
classifier on the images. Here the direction is one that `edit-latents` chose by its effect, every code goes along it
only as far as it takes until the frame is gone, and codes of which it never goes are drawn again.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta

from synthmed.classifiers import network
from synthmed.core.errors import InputError
from synthmed.core.settings import BatchSize, Count, Device, ModelName, Seed, Threads
from synthmed.core.step import Output, step
from synthmed.data.imageset import write_image_set, write_not_made
from synthmed.latent.editing import SHOWN
from synthmed.latent.eye import Eye
from synthmed.latent.paths import path_codes
from synthmed.latent.samples import check_fit
from synthmed.latent.space import check_space, draw_codes, restore
from synthmed.training.device import choose_device, derived_seed

logger = logging.getLogger(__name__)

MOST = 5
"""Codes that are drawn for each image that is wanted, at most."""


@dataclass(frozen=True)
class EditSetOptions:
    """How something is edited out of a whole set."""

    method: Annotated[
        str, Meta(description="The method whose direction is taken, as latent editing names it: sefa, pca, svm, …")
    ]


@dataclass(frozen=True)
class EditSetSettings(EditSetOptions):
    """Settings of `edit-set`."""

    name: Annotated[str, Meta(description="Name of the set.")]
    samples: Annotated[dict[str, Count], Meta(description="Images of each label.")]
    model: ModelName
    several: Annotated[bool, Meta(description="Whether the generator is asked for a class.")]
    distances: Annotated[
        tuple[float, ...], Meta(min_length=2, description="Steps along the direction, in standard deviations, 0 first.")
    ]
    keep_length: Annotated[bool, Meta(description="Bring every moved code back to the length of its start (for z).")]
    seed: Seed
    batch_size: BatchSize
    threads: Threads
    device: Device


@step("edit-set")
def edit_set(
    settings: EditSetSettings, *, checkpoint: Path, classifier: Path, directions: Path, edited: Output
) -> None:
    """Draw a synthetic image set in which something is edited out of every image that shows it.

    checkpoint, classifier: of the latent samples; directions: of `edit-latents`. edited: image set with the columns
    `edited`, yes or no, and `distance`, how far the code was moved; where no method has a direction, or this one takes
    the thing out of too few images, one that could not be made, with the reason. Raises InputError when others have a
    direction, and the method has none.
    """
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    with np.load(directions, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    space, remove, reason = (found.pop(name).item() for name in ("space", "remove", "reason"))
    if reason:
        wanted = " and ".join(f"{count} {label!r}" for label, count in settings.samples.items())
        _give_up(edited, f"nothing could be edited out: {reason}; {wanted} images were asked for")
        return
    if settings.method not in found:
        raise InputError(f"{directions}: no direction of {settings.method!r}; there are {list(found)}")
    judge = network.load(classifier).to(device)

    def rows() -> Iterator[tuple[dict, np.ndarray]]:
        for label in settings.samples:
            gan = restore(checkpoint, settings.model, device, label if settings.several else None)
            check_space(gan, space, checkpoint)
            check_fit(gan, judge, checkpoint, classifier)
            eye = Eye(gan, judge, space, settings.batch_size)
            yield from _of_label(settings, eye, label, found[settings.method], judge.position(remove))

    try:
        write_image_set(edited, rows())
    except _TooFewError as few:
        _give_up(edited, str(few))


class _TooFewError(Exception):
    """Too few images of a label are without the thing."""


def _give_up(edited: Path, reason: str) -> None:
    logger.warning("%s cannot be made: %s", edited, reason)
    write_not_made(edited, reason)


def _of_label(
    settings: EditSetSettings, eye: Eye, label: str, direction: np.ndarray, remove: int
) -> Iterator[tuple[dict, np.ndarray]]:
    """(columns, pixels) of the images of one label."""
    wanted, made, moved = settings.samples[label], 0, 0
    codes = draw_codes(eye.gan, eye.space, MOST * wanted, derived_seed(settings.seed, f"edited {label}"))
    for first in range(0, len(codes), settings.batch_size):
        batch = codes[first : first + settings.batch_size]
        for pixels, distance in _edited(settings, eye, batch, direction, remove):
            if made == wanted:
                logger.info("%s: %d images, %d of them edited, of %d codes", label, made, moved, first + len(batch))
                return
            made, moved = made + 1, moved + (distance > 0)
            fields = {
                "image": f"{settings.name}_{label}_{made:05d}.png",
                "label": label,
                "patient": f"synthetic-{settings.name}-{label}-{made}",
                "split": "synthetic",
                "source": settings.name,
                "edited": ("no", "yes")[distance > 0],
                "distance": f"{distance:g}",
            }
            yield fields, pixels
    if made < wanted:
        raise _TooFewError(
            f"of {len(codes)} codes, the direction of {settings.method!r} led {made} to {label!r} images without it, "
            f"and {wanted} were asked for"
        )


def _edited(
    settings: EditSetSettings, eye: Eye, codes: np.ndarray, direction: np.ndarray, remove: int
) -> Iterator[tuple[np.ndarray, float]]:
    """Image and distance of every code (n, D) that does not show the thing, or not any more."""
    done: dict[int, tuple[np.ndarray, float]] = {}
    tracks = path_codes(codes, direction, 1.0, settings.distances, settings.keep_length)
    left = np.arange(len(codes))
    for distance, track in zip(settings.distances, tracks, strict=True):
        pixels = np.concatenate(list(eye.pixels(track[left])))
        gone = eye.judged(pixels)[0][:, remove] < SHOWN
        done |= {int(place): (pixels[number], distance) for number, place in enumerate(left) if gone[number]}
        left = left[~gone]
        if not len(left):
            break
    return iter(done[place] for place in sorted(done))

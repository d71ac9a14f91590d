"""Copies of training images, of known kinds: what the copy audit is tried on in every run."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta
from PIL import Image, ImageFilter

from synthmed.core.settings import Count, Seed
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, Legend, write_image_set
from synthmed.metrics.alignment import each_channel


@dataclass(frozen=True)
class PlantCopiesOptions:
    """Copies of training images that the search for copies is tried on."""

    images: Annotated[Count, Meta(description="Copies of each kind, of different patients where there are enough.")]


@dataclass(frozen=True)
class PlantCopiesSettings(PlantCopiesOptions):
    """Settings of `plant-copies`."""

    seed: Seed


def kinds(side: int) -> dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]]:
    """Title of each kind → how such a copy is made of uint8 (H, W, C). side: the shorter side of the images, pixels."""
    shift, blur = max(1, round(side / 32)), max(1.0, side / 43)
    return {
        "as they are": lambda pixels, rng: pixels,
        "with noise of 5 grey values": _noise,
        "as JPEG of quality 10": lambda pixels, rng: each_channel(pixels, _jpeg),
        f"blurred by {blur:.2g} px": lambda pixels, rng: each_channel(
            pixels, lambda channel: channel.filter(ImageFilter.GaussianBlur(blur))
        ),
        f"shifted by {shift} px": lambda pixels, rng: _shift(pixels, shift, rng),
        "mirrored": lambda pixels, rng: pixels[:, ::-1],
        "cropped to 90 %": _crop,
        "turned by 3°": lambda pixels, rng: each_channel(
            pixels, lambda channel: channel.rotate(3, Image.Resampling.BICUBIC)
        ),
    }


def mask_kinds(side: int) -> dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]]:
    """The same of masks, uint8 (H, W, C) of 0 and 255: what a change of grey values alone does not undo."""
    named = kinds(side)
    moved = {title: change for title, change in named.items() if title.startswith(("shifted", "cropped", "turned"))}
    (smooth,) = [change for title, change in named.items() if title.startswith("blurred")]
    changes = {"as they are": named["as they are"], "mirrored": named["mirrored"], "with a smoothed border": smooth}
    return {title: _binary(change) for title, change in {**changes, **moved}.items()}


def _binary(
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray],
) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    return lambda masks, rng: np.where(change(masks, rng) >= 128, np.uint8(255), np.uint8(0))


def _noise(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.rint(pixels + rng.normal(0, 5, pixels.shape)), 0, 255).astype(np.uint8)


def _jpeg(channel: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    channel.save(buffer, "JPEG", quality=10)
    return Image.open(buffer)


def _shift(pixels: np.ndarray, by: int, rng: np.random.Generator) -> np.ndarray:
    """By `by` pixels to one of the four sides; the border repeats."""
    height, width, _ = pixels.shape
    down, right = ((by, 0), (-by, 0), (0, by), (0, -by))[rng.integers(4)]
    padded = np.pad(pixels, ((by, by), (by, by), (0, 0)), mode="edge")
    return padded[by - down : by - down + height, by - right : by - right + width]


def _crop(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A part of 90 % of each side, anywhere, enlarged to the old size."""
    height, width, _ = pixels.shape
    left, top = rng.uniform(0, 0.1, 2) * (width, height)
    box = (left, top, left + 0.9 * width, top + 0.9 * height)
    return each_channel(pixels, lambda channel: channel.resize((width, height), Image.Resampling.BICUBIC, box=box))


def of_many_patients(images: ImageSet, count: int, rng: np.random.Generator) -> list[int]:
    """Positions of `count` images drawn at random, of different patients where there are enough, ascending."""
    order = rng.permutation(len(images))
    patients = np.array(images.column("patient"))[order]
    first = np.sort(np.unique(patients, return_index=True)[1])  # one image of each patient, in random order
    chosen = order[np.concatenate([first, np.setdiff1d(np.arange(len(order)), first)])][:count]
    return sorted(chosen.tolist())


@step("plant-copies")
def plant_copies(settings: PlantCopiesSettings, *, train: Path, planted: Output) -> None:
    """Make copies of training images, of known kinds.

    planted: an image set of the copies of images of `train`; `kind` says what was done, `origin` to which image.
    """
    images = ImageSet(train)
    rng = np.random.default_rng(settings.seed)
    chosen = of_many_patients(images, settings.images, rng)

    def rows() -> Iterator[tuple[dict[str, str], np.ndarray]]:
        for number, (fields, pixels, *_mask) in enumerate(images.entries(chosen)):
            for place, (kind, change) in enumerate(kinds(min(pixels.shape[:2])).items()):
                named = {"image": f"copy_{place}_{number:04d}.png", "kind": kind, "origin": fields["image"]}
                about = {"label": fields["label"], "patient": fields["patient"], "split": "planted", "source": "copy"}
                yield named | about, np.ascontiguousarray(change(pixels, rng))

    write_image_set(planted, rows(), Legend(channels=images.legend.channels))

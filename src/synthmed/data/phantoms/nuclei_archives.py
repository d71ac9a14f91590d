"""Phantom patches as the archives in which NuInsSeg and the Data Science Bowl of 2018 give away the real ones.

NuInsSeg (Mahbod et al. 2024): a folder an organ, one label map of 16 bits (TIFF) an image; here a folder is a slide.
The Bowl (BBBC038): a folder an image, RGBA, and one file of 0 and 255 a nucleus; nothing there tells slide or class. So
the readers of the real archives are what reads the phantoms.
"""

import io
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from synthmed.core.files import stored_zip
from synthmed.core.progress import Progress
from synthmed.data.imageset import encode_png
from synthmed.data.phantoms.histology import PhantomSettings, draws


def write_nuinsseg(settings: PhantomSettings, path: Path) -> None:
    """Write all patches of `draws` as one zip in the layout of NuInsSeg; the same settings give the same bytes."""
    with stored_zip(path) as add:
        for slide, number, patch in _all(settings):
            folder, name = f"phantom kidney {slide + 1:02d}", f"phantom_kidney_{slide + 1:02d}_{number + 1:03d}"
            add(f"{folder}/tissue images/{name}.png", encode_png(patch.pixels))
            add(f"{folder}/label masks modify/{name}.tif", _saved(patch.labels, "TIFF"))


def write_dsb2018(settings: PhantomSettings, path: Path) -> None:
    """Write all patches of `draws` as one zip in the layout of stage1_train.zip; same settings, same bytes."""
    with stored_zip(path) as add:
        for slide, number, patch in _all(settings):
            name = sha256(f"{settings.seed} {slide} {number}".encode()).hexdigest()
            opaque = np.dstack([patch.pixels, np.full(patch.labels.shape, 255, np.uint8)])
            add(f"{name}/images/{name}.png", _saved(opaque, "PNG"))
            for value in np.unique(patch.labels[patch.labels > 0]).tolist():
                mask = np.where(patch.labels == value, np.uint8(255), np.uint8(0))
                add(f"{name}/masks/{sha256(f'{name} {value}'.encode()).hexdigest()}.png", encode_png(mask))


def _all(settings: PhantomSettings):
    with Progress("drawn", settings.nuclei, "image") as progress:
        for drawn in draws(settings):
            yield drawn
            progress.add(1)


def _saved(pixels: np.ndarray, form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()

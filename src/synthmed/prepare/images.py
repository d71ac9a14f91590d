"""Step `prepare`: raw photographs and X-rays of any size and pixel format to one image set of one size.

Every image goes the same way: decode, convert to 8-bit grey or RGB, cut the black border (if asked for), resize to a
square. The resize is plain: it does not keep the aspect ratio, as in the studies repeated here, because padding would
bring back the borders that tell one hospital from another.
"""

import io
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from synthmed.data import sources
from synthmed.data.archives import DamagedMember
from synthmed.data.imageset import write_image_set
from synthmed.data.progress import Progress
from synthmed.data.sources.raw_image import Load, RawImage
from synthmed.errors import InputError
from synthmed.files import write_csv

logger = logging.getLogger(__name__)

BLACK = 16
"""Pixels (of 0..255) up to this count as black when a border is looked for."""
BORDER_CONTENT = 0.02
"""A row or column belongs to the border when less than this share of it is brighter than BLACK (burnt-in letters)."""

_RESAMPLE = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
}


@dataclass(frozen=True)
class PrepareSettings:
    """source: which of sources.SOURCES reads the raw files; labels: the source's label -> class, null to leave these
    images out on purpose; image_size: pixels of both sides; channels: 1 grey, 3 RGB; crop_black_borders: cut rows and
    columns at the rims that are black; masks: carry masks along; min_size: images with a shorter side (pixels) are
    rejected; max_rejects: share (0..1) of rejected images beyond which the run stops; workers: threads; prefix: put
    before the names of images and patients, so that two sets of one experiment never share one ("" for none).
    """

    source: str
    labels: dict[str, str | None]
    image_size: int
    channels: Literal[1, 3]
    crop_black_borders: bool
    resample: Literal["lanczos", "bicubic", "box"]
    masks: bool
    min_size: int
    max_rejects: float
    workers: int
    prefix: str


class Rejected(Exception):
    """This one image cannot be used; the message says why."""


# -------------------------------------------------------------------------------------------------------- conversion
def decode(content: bytes | np.ndarray, channels: int) -> np.ndarray:
    """Pixels of one image: uint8, (H, W) for channels=1 or (H, W, 3).

    content: the bytes of an image file, or an array uint8 (H, W) or (H, W, 3). Deep images (16 or 32 bit, float) are
    scaled from their own lowest and highest value to 0..255, because 12-bit films stored as 16 bit would be black
    otherwise (of 16-bit RGB Pillow keeps the high bytes); palettes go through RGB; transparent pixels are laid on
    black; grey is the luma of ITU-R BT.601; the orientation that a camera noted is applied.
    Raises Rejected with the reason when there is no such image.
    """
    if isinstance(content, np.ndarray):
        return np.asarray(_to_channels(Image.fromarray(content), channels))
    try:
        with Image.open(io.BytesIO(content)) as image:
            # Cameras put a preview behind the photograph (MPO); several frames otherwise mean a film or a stack.
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                raise Rejected(f"{image.n_frames} frames in one file")
            image.load()
            return np.asarray(_to_channels(ImageOps.exif_transpose(image), channels))
    except UnidentifiedImageError as error:
        raise Rejected("not an image") from error
    except Image.DecompressionBombError as error:  # beyond 179 million pixels; the largest X-rays here have 20
        raise Rejected(f"too large: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow raises all of these on damaged files
        raise Rejected(f"truncated or damaged: {error}") from error


def _to_channels(image: Image.Image, channels: int) -> Image.Image:
    target = "L" if channels == 1 else "RGB"
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_scale_deep(np.asarray(image)))
    elif image.mode in ("LA", "PA", "RGBA") or (image.mode == "P" and "transparency" in image.info):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    elif image.mode == "L" and "transparency" in image.info:
        # One grey value is declared transparent; black is what it is laid on.
        pixels = np.asarray(image)
        image = Image.fromarray(np.where(pixels == image.info["transparency"], 0, pixels).astype(np.uint8))
    return image if image.mode == target else image.convert(target)


def _scale_deep(pixels: np.ndarray) -> np.ndarray:
    values = pixels.astype(np.float64)
    if not np.isfinite(values).all():
        raise Rejected("pixels that are not finite numbers")
    low, high = values.min(), values.max()
    if low == high:
        raise Rejected(f"constant: every pixel is {low:g}")
    return np.rint((values - low) * (255 / (high - low))).astype(np.uint8)


def content_box(pixels: np.ndarray) -> tuple[int, int, int, int] | None:
    """The box (top, bottom, left, right; ends exclusive) inside the black border; None when everything is black.

    pixels: uint8, (H, W) or (H, W, 3). See BLACK and BORDER_CONTENT.
    """
    bright = (pixels if pixels.ndim == 2 else pixels.max(axis=2)) > BLACK
    top, bottom, left, right = 0, bright.shape[0], 0, bright.shape[1]
    # Borders on all sides dilute each other's shares, so cut until nothing changes.
    while True:
        inside = bright[top:bottom, left:right]
        rows = np.flatnonzero(inside.mean(axis=1) >= BORDER_CONTENT)
        columns = np.flatnonzero(inside.mean(axis=0) >= BORDER_CONTENT)
        if len(rows) == 0 or len(columns) == 0:
            return None
        box = (top + rows[0], top + rows[-1] + 1, left + columns[0], left + columns[-1] + 1)
        if box == (top, bottom, left, right):
            return tuple(int(edge) for edge in box)
        top, bottom, left, right = box


# -------------------------------------------------------------------------------------------------------------- step
Prepared = tuple[np.ndarray, np.ndarray | None]


def _prepare_one(image: RawImage, settings: PrepareSettings) -> Prepared:
    pixels = decode(_loaded(image.load), settings.channels)
    if min(pixels.shape[:2]) < settings.min_size:
        raise Rejected(
            f"too small: {pixels.shape[1]}×{pixels.shape[0]} pixels, the shorter side must have {settings.min_size}"
        )
    mask = _mask(image, pixels.shape[:2]) if settings.masks and image.masks else None
    if settings.crop_black_borders:
        box = content_box(pixels)
        if box is None:
            raise Rejected("black throughout")
        top, bottom, left, right = box
        if min(bottom - top, right - left) < settings.min_size:
            raise Rejected(f"too small inside its black border: {right - left}×{bottom - top} pixels")
        pixels = pixels[top:bottom, left:right]
        mask = None if mask is None else mask[top:bottom, left:right]
    size = (settings.image_size, settings.image_size)
    pixels = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, _RESAMPLE[settings.resample]))
    if mask is not None:
        mask = np.asarray(Image.fromarray(np.ascontiguousarray(mask)).resize(size, Image.Resampling.NEAREST))
    return pixels, mask


def _loaded(load: Load) -> bytes | np.ndarray:
    try:
        return load()
    except DamagedMember as error:
        raise Rejected(str(error)) from error


def _mask(image: RawImage, shape: tuple[int, int]) -> np.ndarray:
    """All parts of the mask OR-ed: uint8 (H, W), 0 or 255."""
    whole = np.zeros(shape, dtype=bool)
    for load in image.masks:
        try:
            part = decode(_loaded(load), 1) > 0
        except Rejected as error:
            raise Rejected(f"its mask: {error}") from error
        if part.shape != shape:
            raise Rejected(f"its mask has {part.shape[1]}×{part.shape[0]} pixels, the image {shape[1]}×{shape[0]}")
        whole |= part
    return np.where(whole, np.uint8(255), np.uint8(0))


def _in_order(
    work: Callable[[RawImage], Prepared | Rejected], images: Sequence[RawImage], workers: int
) -> Iterator[Prepared | Rejected]:
    """`work` of every image in their order, by `workers` threads; at most 2·workers results wait, to bound memory.

    Threads suffice: Pillow decodes and resizes without Python's lock.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque()
        try:
            for image in images:
                waiting.append(pool.submit(work, image))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _check(settings: PrepareSettings) -> None:
    for name in ("image_size", "min_size", "workers"):
        if getattr(settings, name) < 1:
            raise InputError(f"setting {name} is {getattr(settings, name)}; it must be at least 1")
    if not 0 <= settings.max_rejects <= 1:
        raise InputError(f"setting max_rejects is {settings.max_rejects}; it is a share from 0 to 1")


def _wanted(found: Sequence[RawImage], settings: PrepareSettings) -> list[RawImage]:
    """The images whose label has a class. Everything that can be wrong with the list is found before any decoding."""
    names: dict[str, str] = {}
    for image in found:
        if image.label not in settings.labels:
            raise InputError(
                f"{image.file}: unknown label {image.label!r}; setting labels knows "
                f"{sorted(settings.labels)} (null leaves a label out)"
            )
        if image.name in names:
            raise InputError(
                f"{image.file} and {names[image.name]} would both become the image {image.name!r}; rename one of them"
            )
        names[image.name] = image.file
    wanted = [image for image in found if settings.labels[image.label] is not None]
    if len(wanted) < len(found):
        logger.info("%d of %d images left out because their label maps to null", len(found) - len(wanted), len(found))
    classes = {label for label in settings.labels.values() if label is not None}
    empty = sorted(classes - {settings.labels[image.label] for image in wanted})
    if empty:
        present = dict(Counter(image.label for image in found))
        raise InputError(f"source {settings.source!r} has no image of the class {empty[0]!r}; its labels are {present}")
    return wanted


def prepare(settings: PrepareSettings, *, raw: list[Path], images: Path, rejects: Path) -> None:
    """Write the image set `images` of all usable raw images, and the table `rejects` (file, reason) of the others.

    raw: files of the step fetch, in its order. Images keep the source's order and names, so equal raw files give equal
    bytes whatever the number of workers. Raises InputError on an unknown label, a class without images, two images of
    one name, or more rejects than settings.max_rejects.
    """
    _check(settings)
    rejected: list[dict[str, str]] = []

    def work(image: RawImage) -> Prepared | Rejected:
        try:
            return _prepare_one(image, settings)
        except Rejected as error:
            return error

    with sources.load(settings.source).read([Path(path) for path in raw]) as found:
        wanted = _wanted(found, settings)

        def rows() -> Iterator[tuple]:
            with Progress("prepared", len(wanted), "image") as progress:
                for image, result in zip(wanted, _in_order(work, wanted, settings.workers), strict=True):
                    progress.add(1)
                    if isinstance(result, Rejected):
                        rejected.append({"file": image.file, "reason": str(result)})
                        continue
                    fields = {
                        **image.extra,
                        "image": f"{settings.prefix}{image.name}.png",
                        "label": settings.labels[image.label],
                        "patient": f"{settings.prefix}{image.patient}",
                        "split": image.split,
                        "source": image.source,
                    }
                    pixels, mask = result
                    yield (fields, pixels) if mask is None else (fields, pixels, mask)
            # Raised inside write_image_set, which then leaves no image set behind.
            _stop_if_too_many(rejected, len(wanted), settings.max_rejects)

        write_image_set(images, rows())
    write_csv(rejects, rejected, ["file", "reason"])
    logger.info("%s: %d images, %d rejected", images, len(wanted) - len(rejected), len(rejected))
    for reject in rejected:
        logger.warning("rejected %s: %s", reject["file"], reject["reason"])


def _stop_if_too_many(rejected: Sequence[dict[str, str]], total: int, limit: float) -> None:
    if len(rejected) == total or len(rejected) > limit * total:
        listed = "".join(f"\n  {reject['file']}: {reject['reason']}" for reject in rejected[:10])
        raise InputError(
            f"{len(rejected)} of {total} images cannot be used (setting max_rejects allows a share of {limit:g}); "
            f"repair or remove them, or allow more:{listed}"
        )

"""Masks of raw images: one label map an image, whatever files it comes in."""

import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from PIL import Image, ImageOps

from synthmed.core.errors import InputError
from synthmed.data.imageset import Legend
from synthmed.data.sources.raw_image import Load
from synthmed.prepare.common import DAMAGED, ORIENTATION, loaded, tiff_orientation
from synthmed.prepare.deep import without_comments
from synthmed.prepare.rejected import Rejected

logger = logging.getLogger(__name__)

_BETWEEN = 8
"""Values between black and white that no map of a few classes has."""
_TURNS: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
}
"""Orientation of EXIF → how what is stored is turned upright."""


@dataclass(frozen=True)
class MaskSettings:
    """What the masks mark."""

    kind: Annotated[
        Literal["semantic", "instances"],
        Meta(
            description="semantic: a pixel has the value of its class; of one class, every value but 0 counts, and "
            "several files are joined. instances: every object has a value of its own, or a file of its own (the later "
            "file wins where two overlap)."
        ),
    ]
    classes: Annotated[
        dict[str, Annotated[int, Meta(ge=1, le=65535)] | None],
        Meta(
            description="Name -> value, ascending; of instances the value of the first object of the class; null: the "
            "masks do not have it (over a settings file that names it)."
        ),
    ]
    required: Annotated[bool, Meta(description="Reject images without a mask.")]

    def __post_init__(self) -> None:
        self.legend  # noqa: B018 - raises on values that cannot be used

    @property
    def legend(self) -> Legend:
        """What the masks of the image set mean."""
        return Legend(masks=self.kind, classes={name: one for name, one in self.classes.items() if one is not None})


def label_map(
    masks: Sequence[Load], shape: tuple[int, int], settings: MaskSettings | None, orientation: int = 1
) -> tuple[np.ndarray | None, bool]:
    """The mask of one image, (H, W) = shape, uint8 or uint16, None where there is none, or settings are None; and
    whether a file of it is smooth (see _is_smooth).

    masks: its files; orientation: of EXIF, by which the image was turned upright. Raises Rejected when a file cannot be
    read or has another shape, when values are unknown or cannot be told (colours, JPEG), when nobody knows whether a
    file was turned as the image was, and without any file when settings require one.
    """
    if settings is None or not masks:
        if settings is not None and settings.required:
            raise Rejected("no mask")
        return None, False
    classes = settings.legend.classes
    (first, *_), single = classes.values(), len(classes) == 1
    if len(masks) > 1 and not single:
        raise Rejected(f"{len(masks)} mask files, where one with all classes is expected")
    marks = single and (settings.kind == "semantic" or len(masks) > 1)  # a file says where, not which
    whole, smooth = np.zeros(shape, np.int64), False
    for number, mask in enumerate(masks):
        try:
            found = _read(loaded(mask), marks)
        except Rejected as error:
            raise Rejected(f"its mask: {error}") from error
        part, smooth = _turned(found, shape, orientation), smooth or found.smooth
        if part.shape != shape:
            raise Rejected(f"its mask has {part.shape[1]}×{part.shape[0]} pixels, the image {shape[1]}×{shape[0]}")
        if not marks:
            whole = part
        else:
            whole[part != 0] = first + (number if settings.kind == "instances" else 0)
    if whole.min() < 0 or whole.max() >= 2**16:
        raise Rejected(f"its mask: values from {whole.min()} to {whole.max()}; they go from 0 to 65535")
    if unknown := settings.legend.unknown(whole):
        raise Rejected(f"its mask: the value {unknown[0]}, which setting masks.classes does not name")
    return whole.astype(np.uint8 if whole.max() < 2**8 else np.uint16), smooth


@dataclass(frozen=True)
class _File:
    """One file of a mask. values: whole numbers (H, W), int64; noted: the orientation of EXIF that it states and that
    they were turned by, None where it states none; smooth: see _is_smooth."""

    values: np.ndarray
    noted: int | None
    smooth: bool


def _turned(found: _File, shape: tuple[int, int], orientation: int) -> np.ndarray:
    """Values of a file, turned by the `orientation` of its image where they fit only so. Raises Rejected when they fit
    both ways."""
    if found.noted is not None or orientation not in _TURNS:
        return found.values
    both = (found.values, _TURNS[orientation](found.values))
    fitting = [values for values in both if values.shape == shape]
    if len(fitting) > 1 and found.values.any():
        raise Rejected(
            f"its camera noted that it is turned (EXIF orientation {orientation}), its mask does not; save both "
            "upright (mogrify -auto-orient)"
        )
    return fitting[0] if fitting else found.values


def _read(content: bytes | np.ndarray, marks: bool) -> _File:
    """A file upright, deep values as they are. marks: only whether a pixel is 0 counts, so that two colours will do,
    and of lossy files, where rings lie around edges, what is at least half of the range."""
    if isinstance(content, np.ndarray):
        return _File(content.astype(np.int64), None, False)
    try:
        with Image.open(io.BytesIO(without_comments(content))) as image:
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                raise Rejected(f"{image.n_frames} frames in one file")
            lossy, tag = _lossy(image, content), tiff_orientation(image)
            upright = ImageOps.exif_transpose(image)
            noted = tag or image.getexif().get(ORIENTATION)
            pixels = np.asarray(upright if upright.mode in ("1", "L") or upright.mode[0] in "IF" else _rgb(upright))
    except Image.UnidentifiedImageError as error:
        raise Rejected("not an image") from error
    except Image.DecompressionBombError as error:
        raise Rejected(f"too large: {error}") from error
    except DAMAGED as error:
        raise Rejected(f"truncated or damaged: {error}") from error
    if lossy and not marks:
        raise Rejected(f"{lossy}, which changes values; give a PNG")
    if pixels.ndim == 3:
        pixels = _grey(pixels, marks, lossy is not None)
    if lossy:
        return _File((pixels > 127).astype(np.int64), noted, False)
    if pixels.dtype.kind == "f" and not (np.isfinite(pixels) & (pixels == np.floor(pixels))).all():
        raise Rejected("fractions, where whole numbers are expected")
    return _File(pixels.astype(np.int64), noted, marks and _is_smooth(pixels))


def _lossy(image: Image.Image, content: bytes) -> str | None:
    """What a file is whose compression changes values; None when it keeps them."""
    if image.format == "TIFF" and image.info.get("compression") in ("jpeg", "tiff_jpeg"):
        return "a TIFF compressed as JPEG"
    if image.format == "WEBP" and b"VP8 " in _chunks(content):
        return "a lossy WebP"
    return "a JPEG" if image.format in ("JPEG", "MPO") else None


def _chunks(content: bytes) -> Iterator[bytes]:
    """Names of the chunks of a RIFF file, as WebP is one."""
    at = 12
    while at < len(content):
        yield content[at : at + 4]
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8 + size + size % 2


def _is_smooth(pixels: np.ndarray) -> bool:
    """Whether a mask of black and white has values between, as the rings of a JPEG and a smooth resize leave them: many
    (_BETWEEN), some next to black and some next to white, and black and white themselves are most of all.

    Numbers of objects, 1 … n, do not reach white, or lie evenly between it and black.
    """
    if pixels.dtype != np.uint8:
        return False
    counts = np.bincount(pixels.ravel(), minlength=256)
    dark, bright = counts[:128], counts[128:]
    return bool(
        np.count_nonzero(counts[1:255]) >= _BETWEEN
        and dark[1:32].any()
        and bright[96:127].any()
        and dark[:64].sum() > 0.7 * dark.sum()
        and bright[64:].sum() > 0.7 * bright.sum()
    )


def _rgb(image: Image.Image) -> Image.Image:
    if "A" in image.mode or "transparency" in image.info:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return image.convert("RGB")


def _grey(pixels: np.ndarray, marks: bool, lossy: bool) -> np.ndarray:
    """(H, W) of a mask in RGB (H, W, 3)."""
    if lossy:
        return pixels.max(axis=2)
    if (pixels == pixels[:, :, :1]).all():
        return pixels[:, :, 0]
    colours, where = np.unique(pixels.astype(np.int64) @ [1 << 16, 1 << 8, 1], return_inverse=True)
    if not marks or len(colours) > 2 or colours[0] != 0:
        expected = "black and one other" if marks else "a value for each class"
        raise Rejected(f"{len(colours)} colours, where {expected} is expected; give a grey PNG")
    return where.reshape(pixels.shape[:2])


@dataclass
class MaskTally:
    """How many masks the images of a set have, how many of these are drawn (mark anything), how many are smooth."""

    masks: int = 0
    drawn: int = 0
    smooth: int = 0

    def add(self, there: bool, drawn: bool, smooth: bool) -> None:
        """Count one image."""
        self.masks, self.drawn, self.smooth = self.masks + there, self.drawn + drawn, self.smooth + smooth

    def stop_if_all_empty(self) -> None:
        """Raises InputError when there are masks and nothing is drawn in any of them."""
        if self.masks and not self.drawn:
            raise InputError(f"all {self.masks} masks are empty; look at their files, or set masks to null")

    def tell_smooth(self, where: object) -> None:
        """Say how many have values between black and white that JPEG or a resize may have left; all of them count."""
        if self.smooth:
            logger.warning(
                "%s: %d masks have values between black and white, as JPEG and smooth resizing leave them around what "
                "is marked, and of one class every value but 0 counts; threshold them",
                *(where, self.smooth),
            )

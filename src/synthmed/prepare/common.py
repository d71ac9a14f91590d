"""What preparing photographs and preparing DICOM share: which images, image files, borders, masks, resize, rejects."""

import io
import logging
import re
import struct
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Protocol, TypeVar

import numpy as np
from msgspec import Meta
from PIL import Image, ImageOps, UnidentifiedImageError

from synthmed.core.errors import InputError
from synthmed.core.files import nfc, write_csv
from synthmed.data.archives import DamagedMember
from synthmed.data.channels import resized_labels
from synthmed.data.sources.raw_image import Load, RawImage
from synthmed.data.sources.raw_volume import RawVolume
from synthmed.prepare.deep import deep_values, tiff_values, to_8_bits, without_comments
from synthmed.prepare.rejected import Rejected

logger = logging.getLogger(__name__)

SourceName = Annotated[
    str, Meta(description="Which reader understands the raw files, a file of src/synthmed/data/sources/.")
]
Prefix = Annotated[
    str,
    Meta(
        description="Put before the names of images and patients, so that two sets of one experiment never share one."
    ),
]

BLACK = 16
"""Pixels (of 0..255) up to this count as black when a border is looked for."""
BORDER_CONTENT = 0.02
"""A row or column belongs to the border when less than this share of it is brighter than BLACK (burnt-in letters)."""

ImageSize = Annotated[
    tuple[Annotated[int, Meta(ge=8)], Annotated[int, Meta(ge=8)]],
    Meta(description="Height and width of the images; aspect ratio is not kept.", extra_json_schema={"unit": "px"}),
]
Resample = Annotated[
    Literal["lanczos", "bicubic", "box"], Meta(description="Filter of the resize; box is the fastest.")
]
RESAMPLE = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
}
"""Setting resample → Pillow's name."""

DAMAGED = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, OSError, SyntaxError, TypeError, ValueError),
    *(struct.error, zlib.error),
)
"""What Pillow raises on damaged files."""
_MASK = r"masks?|seg|segmentations?|labels?|gt|ground[ _.-]?truths?|annotations?"
_OF_IMAGE = rf"(?:{_MASK}|anno|roi|manual)"
_MASK_NAME = re.compile(rf"(.+?)[ _.-]+{_OF_IMAGE}[ _.-]*\d*(?:\(\d+\))?|{_OF_IMAGE}[ _.-]+(.+)")
"""Names of masks, in lower case, and the name of the image that each belongs to: what comes before, or what follows."""
_MASK_FOLDER = re.compile(rf"(?:.*[ _.-])?(?:{_MASK})")
"""Names of folders of masks, in lower case."""
_PHOTOMETRIC = 262
"""Tag PhotometricInterpretation of TIFF; 0: the lowest value is white (WhiteIsZero)."""
ORIENTATION = 0x0112
"""Tag Orientation of EXIF."""


Raw = TypeVar("Raw", RawImage, RawVolume)


class CommonSettings(Protocol):
    """Settings that every preparation has (see PrepareSettings in images.py)."""

    source: str
    labels: dict[str, str | None]
    size: tuple[int, int]
    min_size: int
    max_rejects: float
    workers: int


def wanted(found: Sequence[Raw], settings: CommonSettings, kind: type = RawImage) -> list[Raw]:
    """The images whose label has a class, with this class as their label. What can be wrong with the list is found
    before any decoding.

    Raises InputError when the source gives others than of this `kind`, on a label that settings.labels does not know,
    on two images of one name, and on a class without images.
    """
    if not all(isinstance(image, kind) for image in found):
        expected = ("volumes", "volumes") if kind is RawImage else ("pictures", "images or dicom")
        raise InputError(
            f"source {settings.source!r} gives {expected[0]}; setting prepare.format must be {expected[1]}"
        )
    _refuse_masks(found)
    known = {nfc(label): name for label, name in settings.labels.items()}
    names: dict[str, str] = {}
    for image in found:
        if nfc(image.label) not in known:
            raise InputError(
                f"{image.file}: unknown label {image.label!r}; setting labels knows "
                f"{sorted(known)} (null leaves a label out)"
            )
        if image.name in names:
            raise InputError(
                f"{image.file} and {names[image.name]} would both become the image {image.name!r}; rename one of them"
            )
        names[image.name] = image.file
    labelled = [replace(image, label=known[nfc(image.label)]) for image in found]
    chosen = [image for image in labelled if image.label is not None]
    if len(chosen) < len(found):
        logger.info("%d of %d images left out because their label maps to null", len(found) - len(chosen), len(found))
    empty = sorted({label for label in known.values() if label is not None} - {image.label for image in chosen})
    if empty:
        present = dict(Counter(image.label for image in found))
        raise InputError(f"source {settings.source!r} has no image of the class {empty[0]!r}; its labels are {present}")
    return chosen


def _refuse_masks(found: Sequence[RawImage]) -> None:
    """Raises InputError when images are masks of others by their names (see _masks_of_others)."""
    if masks := _masks_of_others([image.file for image in found]):
        mask, image = next(iter(masks.items()))
        raise InputError(
            f"{len(masks)} of {len(found)} images are masks of others by their names, the first {mask} of {image}; "
            "list images and masks in a table (setting options.csv), or move the masks out of the folder"
        )


def _masks_of_others(files: Sequence[str]) -> dict[str, str]:
    """Mask → image, of files that are named as masks of others: beside them (x.png, x_mask.png, mask_x.png),
    or in a folder of masks (images/x.png, masks/x.png or masks/x_mask.png, below one folder)."""
    names = {PurePosixPath(file.lower()).with_suffix(""): file for file in files}
    images: dict[tuple[tuple[str, ...], str], str] = {}  # a folder above an image, and its name -> the image
    for path, file in names.items():
        if not any(map(_MASK_FOLDER.fullmatch, path.parts[:-1])):
            for depth in range(len(path.parts)):
                images.setdefault((path.parts[:depth], path.name), file)
    masks = {}
    for path, file in names.items():
        cut = _MASK_NAME.fullmatch(path.name)
        whose = [path.name, *([cut[1] or cut[2]] if cut else [])]
        above = [path.parts[:depth] for depth, part in enumerate(path.parts[:-1]) if _MASK_FOLDER.fullmatch(part)]
        of = [names.get(path.parent / name) for name in whose[1:]]
        of += [images.get((folder, name)) for folder in above for name in whose]
        if image := next(filter(None, of), None):
            masks[file] = image
    return masks


def has_two_values(pixels: np.ndarray) -> bool:
    """Whether a picture (uint8) has at most two values, as masks and drawings have."""
    sample = pixels[::8, ::8]  # tells nearly all others at once
    return all(((part == part.min()) | (part == part.max())).all() for part in (sample, pixels))


def tell_drawings(drawings: Mapping[str, int], labels: Sequence[str], where: object) -> None:
    """Say which classes (of `labels`) have pictures of two values. drawings: class → how many, see has_two_values."""
    for label, count in sorted(drawings.items()):
        logger.warning(
            "%s: %d of the %d images of %r have at most two values, as masks have; if they are masks, list them in a "
            "table with their images (setting options.csv), or move them out of the folder",
            *(where, count, labels.count(label), label),
        )


def unknown_patient(image: RawImage) -> dict[str, str]:
    """The column `patient_known`: "no" where the image counts as its own patient because nobody knows better."""
    return {} if image.patient_known else {"patient_known": "no"}


def stop_if_too_many(
    rejected: Sequence[dict[str, str]], total: int, limit: float, what: str = "images", names: str = ""
) -> None:
    """Raises InputError when all of `total` images or more than the share `limit` were rejected. names: what to say of
    their names, behind the list of them."""
    if len(rejected) == total or len(rejected) > limit * total:
        listed = "".join(f"\n  {reject['file']}: {reject['reason']}" for reject in rejected[:10])
        raise InputError(
            f"{len(rejected)} of {total} {what} cannot be used (setting max_rejects allows a share of {limit:g}); "
            f"repair or remove them, or allow more:{listed}{names and chr(10)}{names}"
        )


def write_rejects(path: Path, rejected: Sequence[dict[str, str]]) -> None:
    """Write the table of what was rejected (file, reason), and say each."""
    write_csv(path, rejected, ["file", "reason"])
    for reject in rejected:
        logger.warning("rejected %s: %s", reject["file"], reject["reason"])


# ------------------------------------------------------------------------------------------------------- image files
def loaded(load: Load) -> bytes | np.ndarray:
    """What `load` gives. Raises Rejected when it is damaged inside its archive."""
    try:
        return load()
    except DamagedMember as error:
        raise Rejected(str(error)) from error


def decode(content: bytes | np.ndarray, channels: int) -> np.ndarray:
    """Pixels of one image, see upright."""
    return upright(content, channels)[0]


def upright(content: bytes | np.ndarray, channels: int) -> tuple[np.ndarray, int]:
    """Pixels of one image: uint8, (H, W) for channels=1 or (H, W, 3); and the orientation (tag of EXIF, 1: none) that
    they were turned by.

    content: the bytes of an image file, or an array uint8 (H, W) or (H, W, C), C = 1 or 3. Deep images (16 or 32 bit,
    float, grey or colour) are brought to 0..255 by ranks (deep.py) and turned round where a TIFF says WhiteIsZero;
    palettes go through RGB; transparent pixels are laid on black; grey is the luma of ITU-R BT.601; the orientation
    that a camera noted is applied.
    Raises Rejected with the reason when there is no such image, or all of it is transparent.
    """
    if isinstance(content, np.ndarray):
        if content.ndim == 3 and content.shape[2] == 1:
            content = content[:, :, 0]
        if content.ndim == 3 and content.shape[2] != 3:
            raise Rejected(f"{content.shape[2]} channels, where grey or RGB is expected")
        return np.asarray(_to_channels(Image.fromarray(content), channels)), 1
    try:
        content = without_comments(content)
        with Image.open(io.BytesIO(content)) as image:
            # Cameras put a preview behind the photograph (MPO); several frames otherwise mean a film or a stack.
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                raise Rejected(f"{image.n_frames} frames in one file")
            tag = tiff_orientation(image)
            picture = _of_8_bits(image, content)
            noted = tag or picture.getexif().get(ORIENTATION, 1)
            return np.asarray(_to_channels(ImageOps.exif_transpose(picture), channels)), noted
    except UnidentifiedImageError as error:
        return np.asarray(_to_channels(_unidentified(content, error), channels)), 1
    except Image.DecompressionBombError as error:  # beyond 179 million pixels; the largest X-rays here have 20
        raise Rejected(f"too large: {error}") from error
    except DAMAGED as error:
        raise Rejected(f"truncated or damaged: {error}") from error


def tiff_orientation(image: Image.Image) -> int | None:
    """What a TIFF notes of its orientation, which Pillow forgets when it loads it. None: nothing, or no TIFF."""
    return getattr(image, "tag_v2", {}).get(ORIENTATION)


def _of_8_bits(image: Image.Image, content: bytes) -> Image.Image:
    """The picture as it is, or scaled where it is deep."""
    values = deep_values(image, content)
    if values is None:
        image.load()
        return image
    scaled = to_8_bits(values, white_is_zero=getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0)
    scaled.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    return scaled


def _unidentified(content: bytes, error: Exception) -> Image.Image:
    """A TIFF that Pillow does not know. Raises Rejected when the bytes are something else."""
    if content.startswith(b"version https://git-lfs") or b"/annex/objects/" in content[:300]:
        raise Rejected("an address of git-lfs or git-annex; get the image: git lfs pull, git annex get") from error
    try:
        values = tiff_values(content)
    except DAMAGED as damage:
        raise Rejected(f"truncated or damaged: {damage}") from error
    if values is None:
        raise Rejected("not an image") from error
    return to_8_bits(values, white_is_zero=False)


def _to_channels(image: Image.Image, channels: int) -> Image.Image:
    target = "L" if channels == 1 else "RGB"
    if image.mode in ("LA", "PA", "RGBA") or (image.mode in ("P", "RGB") and "transparency" in image.info):
        image = image.convert("RGBA")
        _refuse_transparent(image.getextrema()[3][1] == 0)
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    elif image.mode == "L" and "transparency" in image.info:
        # One grey value is declared transparent; black is what it is laid on.
        pixels, transparent = np.asarray(image), np.asarray(image) == image.info["transparency"]
        _refuse_transparent(transparent.all())
        image = Image.fromarray(np.where(transparent, 0, pixels).astype(np.uint8))
    return image if image.mode == target else image.convert(target)


def _refuse_transparent(wholly: bool) -> None:
    if wholly:
        raise Rejected("wholly transparent: nothing of it would be seen; save it without alpha")


# ---------------------------------------------------------------------------------------------------------- geometry
def refuse_small(shape: tuple[int, ...], min_size: int) -> None:
    """Raises Rejected when the shorter side of an image (H, W, …) has fewer than `min_size` pixels."""
    if min(shape[:2]) < min_size:
        raise Rejected(f"too small: {shape[1]}×{shape[0]} pixels, the shorter side must have {min_size}")


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


def kept_box(pixels: np.ndarray, crop_black_borders: bool, min_size: int) -> tuple[int, int, int, int]:
    """The part of an image that is kept: (top, bottom, left, right; ends exclusive), the whole of it without cropping.

    Raises Rejected when nothing, or less than `min_size` pixels in a direction, lies inside the black border.
    """
    if not crop_black_borders:
        return 0, pixels.shape[0], 0, pixels.shape[1]
    box = content_box(pixels)
    if box is None:
        raise Rejected("black throughout")
    top, bottom, left, right = box
    if min(bottom - top, right - left) < min_size:
        raise Rejected(f"too small inside its black border: {right - left}×{bottom - top} pixels")
    return box


def resized(
    pixels: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int], resample: Resample
) -> np.ndarray:
    """The part `box` (top, bottom, left, right) of `pixels` (uint8, (H, W) or (H, W, 3)), at `size` (height, width).

    The resize is plain: it does not keep the aspect ratio, as in the studies repeated here, because padding would bring
    back the borders that tell one hospital from another.
    """
    top, bottom, left, right = box
    part = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
    return np.asarray(part.resize(size[::-1], RESAMPLE[resample]))


def resized_mask(mask: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    """The part `box` of `mask` (H, W), at `size` (height, width); see resized_labels."""
    top, bottom, left, right = box
    return resized_labels(mask[top:bottom, left:right], size)

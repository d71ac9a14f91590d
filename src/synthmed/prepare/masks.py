"""Masks of raw images: one label map an image, whatever files it comes in."""

import io
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from PIL import Image, ImageOps
from scipy import ndimage

from synthmed.core.errors import InputError
from synthmed.data.imageset import Legend
from synthmed.data.sources.raw_image import Load
from synthmed.prepare.common import DAMAGED, ORIENTATION, loaded, tiff_orientation
from synthmed.prepare.deep import without_comments
from synthmed.prepare.rejected import Rejected

logger = logging.getLogger(__name__)

_BETWEEN = 8
"""Values between black and white that no map of a few classes has."""
_MIXED, _PIECES = 0.005, 3
"""Share of the marked pixels that lie in rings, and connected pieces of each value, above which a map of objects has
values that its maker did not write. Of the 75 real maps of nuclei of one data set the first is at most 0.003, the
second 1.04, also at an eighth of their size; of those as JPEG and resized smoothly the second is 2 to 1000."""
_PART = 0.1
"""Of the largest part of an object, what another part of it has at least that is no crumb."""
_RIM = 0.6
"""Share of the pixels at the rim that an inverted mask marks at least, as all do of the 75 maps of nuclei, 96 % of 189
masks of lesions, and one of these 264 that is not inverted."""
_NEARLY_ALL, _MOST = 0.9, 0.5
"""Shares of the masks that show something, from which on a doubt holds for a set."""
SMOOTH, MERGED, INVERTED = "smooth", "merged", "inverted"
"""Doubts about one mask: see _is_smooth, _is_merged, _is_inverted."""
ANEW = "export the mask anew as PNG: what is stored does not bring the values back, whatever it is converted to"
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
) -> tuple[np.ndarray | None, frozenset[str]]:
    """The mask of one image, (H, W) = shape, uint8 or uint16, None where there is none, or settings are None; and
    doubts about it (SMOOTH, MERGED, INVERTED), which say nothing of one mask, but of a set.

    masks: its files; orientation: of EXIF, by which the image was turned upright. Raises Rejected when a file cannot be
    read or has another shape, when values are unknown or cannot be told (colours, JPEG, also one that was converted),
    when nobody knows whether a file was turned as the image was, and without any file when settings require one.
    """
    if settings is None or not masks:
        if settings is not None and settings.required:
            raise Rejected("no mask")
        return None, frozenset()
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
    whole = whole.astype(np.uint8 if whole.max() < 2**8 else np.uint16)
    unknown = settings.legend.unknown(whole)
    if not marks and (unknown or settings.kind == "instances"):
        _refuse_mixed(whole)
    if unknown:
        raise Rejected(f"its mask: {_unknown(whole, unknown, settings)}")
    doubts = {
        SMOOTH: smooth,
        MERGED: settings.kind == "instances" and not marks and _is_merged(whole, settings.legend),
        INVERTED: (single or settings.kind == "instances") and _is_inverted(whole),
    }
    return whole, frozenset(name for name, there in doubts.items() if there)


def _unknown(mask: np.ndarray, unknown: Sequence[int], settings: MaskSettings) -> str:
    """What to say of a label map with values that nothing names."""
    said = f"the value {unknown[0]}, which setting masks.classes does not name"
    if settings.kind == "instances":
        return said
    values = np.flatnonzero(np.bincount(mask.ravel()))
    return f"{said}; the file has {listed(values)}, the classes are {settings.legend.classes}"


def listed(values: Sequence[int]) -> str:
    """Values in words, those above the first ten as their number."""
    further = f" and {len(values) - 10} others" if len(values) > 10 else ""
    return ", ".join(str(value) for value in values[:10]) + further


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
            palette = np.unique(np.asarray(upright)) if upright.mode == "P" else None
            plain = upright.mode in ("1", "L") or upright.mode[0] in "IF"
            pixels = np.asarray(upright if plain else _rgb(upright, marks))
    except Image.UnidentifiedImageError as error:
        raise Rejected("not an image") from error
    except Image.DecompressionBombError as error:
        raise Rejected(f"too large: {error}") from error
    except DAMAGED as error:
        raise Rejected(f"truncated or damaged: {error}") from error
    if lossy and not marks:
        raise Rejected(f"{lossy}, which changes values; {ANEW}")
    if pixels.ndim == 3:
        pixels = _grey(pixels, marks, lossy is not None, palette)
    if lossy:
        return _File((pixels > 127).astype(np.int64), noted, False)
    if pixels.dtype.kind == "f" and not (np.isfinite(pixels) & (pixels == np.floor(pixels))).all():
        raise Rejected("fractions or NaN, where whole numbers are expected")
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


def _refuse_mixed(mask: np.ndarray) -> None:
    """Raise Rejected when a map (H, W) has values between those of its classes or objects, as JPEG and smooth
    resizing leave them, whatever the file was converted to: many pieces a value, in rings around what is marked."""
    values = np.count_nonzero(np.bincount(mask.ravel())[1:])
    if values < 3 or _ringed(mask) <= _MIXED or (pieces := _pieces(mask)) <= _PIECES * values:
        return
    raise Rejected(
        f"its mask: {values} values in {pieces} pieces, ring by ring, as JPEG and smooth resizing leave them around "
        f"what is marked; {ANEW}"
    )


def _ringed(mask: np.ndarray) -> float:
    """Of the marked pixels of a map (H, W), the share with at most one equal pixel among their four neighbours, and
    another value than 0 beside them."""
    padded = np.pad(mask, 1)
    around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    equal = sum((other == mask).astype(np.uint8) for other in around)
    beside = np.any([(other != mask) & (other != 0) for other in around], axis=0)
    marked = mask != 0
    return np.count_nonzero(marked & (equal <= 1) & beside) / max(1, np.count_nonzero(marked))


def _pieces(mask: np.ndarray) -> int:
    """How many pieces of one value a map (H, W) has, corners connecting: of pixels and of what links equal ones."""
    marked = mask != 0
    links = np.zeros((2 * mask.shape[0] - 1, 2 * mask.shape[1] - 1), bool)
    links[::2, ::2] = marked
    links[1::2, ::2] = marked[1:] & (mask[1:] == mask[:-1])
    links[::2, 1::2] = marked[:, 1:] & (mask[:, 1:] == mask[:, :-1])
    links[1::2, 1::2] = marked[1:, 1:] & (mask[1:, 1:] == mask[:-1, :-1])
    links[1::2, 1::2] |= marked[1:, :-1] & (mask[1:, :-1] == mask[:-1, 1:])
    return ndimage.label(links, np.ones((3, 3)))[1]


def _is_merged(mask: np.ndarray, legend: Legend) -> bool:
    """Whether a map of objects has one value for each class that it shows, and this in several parts: a mask of yes
    and no, say, of which all objects would be one."""
    values = np.flatnonzero(np.bincount(mask.ravel())[1:]) + 1
    if len(values) > len(legend.classes) or len(values) != len(legend.drawn(mask)):
        return False
    return any(_in_parts(mask == value) for value in values)


def _in_parts(marked: np.ndarray) -> bool:
    sizes = np.sort(np.bincount(ndimage.label(marked, np.ones((3, 3)))[0].ravel())[1:])
    return len(sizes) > 1 and bool(sizes[-2] >= _PART * sizes[-1])


def _is_inverted(mask: np.ndarray) -> bool:
    """Whether the rim of a map is marked, nearly all of it with one value, and what lies inside is something else."""
    rim = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    counts = np.bincount(rim)
    counts[0] = 0
    return bool(counts.max() >= _RIM * len(rim) and (mask != counts.argmax()).any())


def _rgb(image: Image.Image, marks: bool) -> Image.Image:
    """A picture laid on black. Raises Rejected where its alpha changes values, or alone says what is marked."""
    if "A" in image.mode or "transparency" in image.info:
        whole = image.convert("RGBA")
        *colours, alpha = whole.getextrema()
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), whole)
        if alpha[0] < alpha[1] and not any(high for _, high in colours):
            raise Rejected("black behind its alpha, so that nothing is marked; save the alpha as a grey PNG")
        if not marks and set(np.unique(np.asarray(whole)[..., 3])) - {0, 255}:
            raise Rejected("half transparent, which changes values; save it without alpha")
    return image.convert("RGB")


def _grey(pixels: np.ndarray, marks: bool, lossy: bool, palette: np.ndarray | None) -> np.ndarray:
    """(H, W) of a mask in RGB (H, W, 3). palette: the indices where it was one of a palette."""
    if lossy:
        return pixels.max(axis=2)
    if (pixels == pixels[:, :, :1]).all():
        return pixels[:, :, 0]
    colours, where = np.unique(pixels.astype(np.int64) @ [1 << 16, 1 << 8, 1], return_inverse=True)
    if not marks or len(colours) > 2 or colours[0] != 0:
        expected = "black and one other" if marks else "a value for each class"
        if palette is not None:
            raise Rejected(
                f"{len(colours)} colours of a palette, where {expected} is expected; its indices are "
                f"{listed(palette)}: save them as grey (Image.fromarray(np.asarray(Image.open(file))).save(file)), "
                "where they are the values; converted to grey, colours become their brightness"
            )
        raise Rejected(
            f"{len(colours)} colours, where {expected} is expected; write a grey PNG with the values of the classes or "
            "objects; converted to grey, colours become their brightness"
        )
    return where.reshape(pixels.shape[:2])


@dataclass
class MaskTally:
    """How many masks the images of a set have, how many of these are drawn (mark anything), how many show each class,
    and about how many there is which doubt (see label_map)."""

    masks: int = 0
    drawn: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)

    def add(self, drawn: Collection[str] | None, doubts: Collection[str]) -> None:
        """Count one image. drawn: the classes that its mask shows, None without a mask."""
        if drawn is not None:
            self.masks += 1
            self.drawn += bool(drawn)
            self.classes.update(drawn)
            self.doubts.update(doubts)

    def stop_if_useless(
        self, settings: MaskSettings | None, size: tuple[int, int], synthetic: str | None = None
    ) -> None:
        """Raises InputError when there are masks, at `size` (height, width), and nothing is drawn in any of them, all
        objects of an image are one in nearly all, or a class is drawn in none. synthetic: the generator that made the
        images; that it never draws a class is a finding, and said."""
        if not self.masks:
            return
        if not self.drawn:
            raise InputError(f"all {self.masks} masks are empty; look at their files, or set masks to null")
        if self.doubts[MERGED] >= _NEARLY_ALL * self.drawn:
            raise InputError(
                f"{self.doubts[MERGED]} of {self.drawn} masks of objects have one value in several parts, so that all "
                "objects of an image would be one (setting masks.kind is 'instances'); use 'semantic', or give every "
                "object a value or a file of its own"
            )
        if missing := [name for name in settings.legend.classes if not self.classes[name]]:
            said = self._unmarked(missing[0], settings, size)
            if synthetic is None:
                raise InputError(said)
            logger.warning("%s: %s", synthetic, said)

    def _unmarked(self, name: str, settings: MaskSettings, size: tuple[int, int]) -> str:
        others = ", ".join(f"{other!r} in {count}" for other, count in self.classes.items())
        return (
            f"no mask marks {name!r} at {size[0]}×{size[1]} pixels, of {self.masks} ({others}); look at the values in "
            f"their files (setting masks.classes is {dict(settings.legend.classes)}), or set {name!r} to null there"
        )

    def tell(self, where: object) -> None:
        """Say which doubts there are: smooth masks, of which all counts that has values between black and white, and
        masks that look inverted."""
        if self.doubts[SMOOTH]:
            logger.warning(
                "%s: %d masks have values between black and white, as JPEG and smooth resizing leave them around what "
                "is marked, and of one class every value but 0 counts; threshold them",
                *(where, self.doubts[SMOOTH]),
            )
        if self.doubts[INVERTED] >= max(1, _MOST * self.drawn):
            logger.warning(
                "%s: %d of %d masks mark most of their rim, and not all inside: they may be inverted, or number the "
                "background too, which must be 0",
                *(where, self.doubts[INVERTED], self.drawn),
            )

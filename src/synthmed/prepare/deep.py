"""Pictures of more than 8 bits a sample: all of their bits, also where Pillow keeps 8 of them, and from these to 8.

A 12-bit film in a 16-bit file is black when it is divided by 256, and just as black when it is divided by its brightest
value and this is a side marker or a dead pixel. So the range goes by ranks, as for DICOM films.
"""

import io
import zlib
from collections.abc import Mapping

import numpy as np
from PIL import Image, TiffImagePlugin

from synthmed.prepare.levels import levels_of, percentiles
from synthmed.prepare.rejected import Rejected

PERCENTS = (1.0, 99.0)
"""Percentiles that become 0 and 255, as the experiments set them for DICOM films."""
OUTLIERS = 0.1
"""Share of the pixels that may be no part of the picture: markers, dead pixels, padding."""
_SHADES = 16
"""Different values that the rest must have to be a picture, when outliers are cut off."""

_PNG = b"\x89PNG\r\n\x1a\n"
_COMMENTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
"""Chunks of a PNG that no pixel depends on, and of which Pillow refuses large ones: comments, colour profile."""


# ------------------------------------------------------------------------------------------------------ all the bits
def without_comments(content: bytes) -> bytes:
    """A PNG without _COMMENTS; anything else as it is."""
    if not content.startswith(_PNG):
        return content
    kept, at = [_PNG], len(_PNG)
    while at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] not in _COMMENTS:
            kept.append(content[at:end])
        at = end
    return b"".join(kept)


def deep_values(image: Image.Image, content: bytes) -> np.ndarray | None:
    """Values of a picture that is opened and not yet loaded: (H, W), or (H, W, 2 to 4) grey or RGB with alpha.

    content: the bytes of its file. None when it has 8 bits a sample or fewer, or inks, or
    colours multiplied by alpha, of which Pillow takes the upper 8. Raises Rejected as tiff_values does.
    """
    tags = getattr(image, "tag_v2", {})
    if tags.get(277) == 2:  # of which Pillow takes the first where nobody explains the second
        _refuse_stains(tags)
    planes = tags.get(284) == 2 and max(tags.get(258, (1,))) > 8  # which Pillow takes for planes of 8 bits
    swapped = image.mode in ("I", "F") and content.startswith(b"MM")  # Pillow forgets it where they are compressed
    unsigned = image.mode == "I" and max(tags.get(258, (1,))) > 16 and max(tags.get(339, (1,))) == 1  # read as signed
    if planes or swapped or unsigned:
        return tiff_values(content)
    if image.mode.startswith(("I", "F")):
        return np.asarray(image)
    raw = image.tile[0].args if image.tile else None
    raw = raw[0] if isinstance(raw, tuple) and raw else raw
    if not isinstance(raw, str) or ";16" not in raw:
        return None
    samples = raw.partition(";")[0]
    if samples not in ("L", "LA", "RGB", "RGBX", "RGBA"):
        return None
    if samples == "LA":  # two samples of two bytes are four of one
        return _read_as(image, content, "RGBA").view(">u2")
    big, little = (_read_as(image, content, f"{samples};16{order}") for order in "BL")  # the first byte, the second
    high, low = (little, big) if raw.endswith(("L", "N")) else (big, little)
    return high.astype(np.uint16) << 8 | low


def _read_as(image: Image.Image, content: bytes, raw: str) -> np.ndarray:
    """Pixels of the same file with another meaning of its bytes."""
    with Image.open(io.BytesIO(content)) as again:
        again.tile = [
            tile._replace(args=raw if isinstance(tile.args, str) else (raw, *tile.args[1:])) for tile in image.tile
        ]
        return np.asarray(again)


def tiff_values(content: bytes) -> np.ndarray | None:
    """Values of a TIFF in strips, uncompressed or deflated, (H, W) or (H, W, C), also of kinds that Pillow cannot read:
    planes of 16 bits, double, half, RGB of floating-point numbers. None when the file is no TIFF. Raises Rejected on
    other TIFFs, and on channels that are no grey or RGB with alpha.
    """
    if content[:4] not in (b"II*\0", b"MM\0*"):
        return None
    tags, handle = TiffImagePlugin.ImageFileDirectory_v2(content[:8]), io.BytesIO(content)
    handle.seek(tags.next)
    tags.load(handle)
    bits, kinds = set(tags.get(258, (1,))), set(tags.get(339, (1,)))
    deflated, plain = tags.get(259, 1) in (8, 32946), tags.get(259, 1) == 1
    if tags.next or len(bits) != 1 or len(kinds) != 1 or not (deflated or plain) or 273 not in tags or 317 in tags:
        raise Rejected(
            f"a TIFF of a kind that is not read (bits {sorted(bits)}, compression {tags.get(259, 1)}, "
            f"{'several pages' if tags.next else 'one page'}); save it uncompressed with 8 or 16 bits, or as PNG"
        )
    _refuse_stains(tags)
    kind = {1: "u", 2: "i", 3: "f"}.get(kinds.pop(), "u")
    number = np.dtype(f"{'<' if content[:2] == b'II' else '>'}{kind}{bits.pop() // 8}")
    height, width, samples = tags[257], tags[256], tags.get(277, 1)
    size = height * width * samples * number.itemsize
    strips = [content[at : at + length] for at, length in zip(tags[273], tags[279], strict=True)]
    strips = [zlib.decompressobj().decompress(strip, size) for strip in strips] if deflated else strips
    values = np.frombuffer(b"".join(strips), number)
    if tags.get(284, 1) == 2:
        values = np.moveaxis(values.reshape(samples, height, width), 0, 2)
    values = values.reshape(height, width, samples)
    return values[:, :, 0] if samples == 1 else values


def _refuse_stains(tags: Mapping[int, object]) -> None:
    """Raises Rejected when the channels of a TIFF are no grey or RGB with or without alpha: stains of fluorescence, of
    which the last would be taken for alpha.

    tags: of the TIFF. RGB with a fourth sample that nobody explains is RGBA, as Pillow has it.
    """
    samples, extra, is_rgb = tags.get(277, 1), tuple(tags.get(338, ())), tags.get(262) == 2
    colours = 3 if (samples, extra, is_rgb) == (4, (), True) else samples - len(extra)
    if colours != (3 if is_rgb else 1) or extra not in ((), (1,), (2,)):
        raise Rejected(f"{samples} channels that are no grey or RGB with alpha; save one of them, or RGB")


# ------------------------------------------------------------------------------------------------------- to 8 bits
def to_8_bits(values: np.ndarray, white_is_zero: bool) -> Image.Image:
    """The picture of deep_values in 8 bits: L, LA, RGB or RGBA, one range for all colours, alpha as a share of what its
    numbers can be (of floating-point ones, of 1).

    white_is_zero: large values are dark. Raises Rejected when all values are the same or some are no finite numbers.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Rejected("pixels that are not finite numbers")
    has_alpha = values.ndim == 3 and values.shape[2] in (2, 4)
    colours = values[..., :-1] if has_alpha else values
    grey = _by_ranks(np.ascontiguousarray(colours).astype(colours.dtype.newbyteorder("="), copy=False))
    grey = 255 - grey if white_is_zero else grey
    if has_alpha:
        grey = np.concatenate([grey, _alpha(values[..., -1:])], axis=2)
    return Image.fromarray(grey)


def _alpha(values: np.ndarray) -> np.ndarray:
    """Alpha of any kind of number as uint8; what is cut is less than one of 255."""
    top = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
    return (np.clip(values.astype(np.float64), 0, top) * (255 / top) + 1e-6).astype(np.uint8)


def _by_ranks(values: np.ndarray) -> np.ndarray:
    levels = levels_of(values)
    found = levels.values.astype(np.float64)
    low, high = _range(found, levels.counts)
    return levels.picture(np.clip((found - low) / (high - low), 0, 1) * 255)


def _range(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The two values that become 0 and 255: PERCENTS of the picture, or its ends where these are one value."""
    order = np.argsort(values)
    values, counts = values[order], counts[order]
    if len(values) == 1:
        raise Rejected(f"constant: every pixel is {values[0]:g}")
    values, counts = _without_outliers(values, counts)
    negative, counts = _without_outliers(-values[::-1], counts[::-1])
    low, high = percentiles(-negative, counts, PERCENTS)
    return (low, high) if low < high else (-negative[-1], -negative[0])


def _without_outliers(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut off the largest values (of sorted ones) where they are few, see OUTLIERS, and lie farther from the rest than
    the rest is wide: nothing of a picture does. The rest has at least _SHADES values.
    """
    up_to = np.cumsum(counts)
    above = up_to[-1] - up_to[:-1]
    width = values[:-1] - values[np.searchsorted(up_to, OUTLIERS * up_to[-1])]
    far = (above <= OUTLIERS * up_to[-1]) & (np.diff(values) > width)
    far[: _SHADES - 1] = False
    end = int(np.argmax(far)) + 1 if far.any() else len(values)
    return values[:end], counts[:end]

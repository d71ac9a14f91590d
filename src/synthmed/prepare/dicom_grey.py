"""From the stored values of a film to 8-bit grey, lungs dark and bones bright.

Computed once for each value that occurs, see levels.py.
"""

from typing import Literal

import numpy as np
from pydicom import Dataset

from synthmed.prepare.dicom_file import integers, numbers, text
from synthmed.prepare.levels import Levels, percentiles
from synthmed.prepare.rejected import Rejected

Voi = Literal["lut_or_window", "none"]


def to_grey(levels: Levels, tags: Dataset, *, voi: Voi, voi_number: int, lower: float, upper: float) -> np.ndarray:
    """The film as uint8 (H, W). Raises Rejected when a table is damaged, values are not finite, or nothing lies between
    the percentiles.

    In this order (DICOM PS3.3 C.11, PS3.4 N.2): padding set aside (PixelPaddingValue to PixelPaddingRangeLimit);
    modality LUT or rescale; VOI LUT or window (voi, voi_number: see `_voi`); MONOCHROME1 turned round, by a change of
    sign; the percentiles `lower` and `upper` (0 … 100) of all pixels but the padding, by rank: the smallest value
    below or at which that share of the pixels lies (0: the smallest of all); from them to 0 and 255 linearly, cut
    beyond, rounded. Padding becomes black.
    """
    if len(levels.values) == 1:
        raise Rejected("no range: every pixel has the same value")
    with np.errstate(over="ignore", invalid="ignore"):  # a slope of 1e306; _refuse_infinite finds what comes of it
        values = modality(levels.values.astype(np.float64), tags)
        _refuse_infinite(values)
        if voi == "lut_or_window":
            values = _voi(values, tags, voi_number)
            _refuse_infinite(values)
    values = _upright(values, tags)
    padding = _is_padding(levels.values, tags)
    low, high = _range(values[~padding], levels.counts[~padding], (lower, upper))
    return levels.picture(np.where(padding, 0, np.clip((values - low) / (high - low), 0, 1) * 255))


def _refuse_infinite(values: np.ndarray) -> None:
    # The range, too: the picture is divided by it.
    if not np.isfinite(np.ptp(values)):
        raise Rejected("unreadable tag: the rescaled values, or their range, are no finite numbers")


def whole_range(levels: Levels, tags: Dataset) -> np.ndarray:
    """The film as uint8 (H, W), linear in its stored values from the darkest to the brightest; padding black."""
    values = _upright(levels.values.astype(np.float64), tags)
    padding = _is_padding(levels.values, tags)
    low, high = values[~padding].min(), values[~padding].max()
    return levels.picture(np.where(padding, 0, (values - low) / max(high - low, 1) * 255))


def _upright(values: np.ndarray, tags: Dataset) -> np.ndarray:
    """Large is bright: MONOCHROME1 shows its lowest values white. The scale comes later."""
    return -values if text(tags, "PhotometricInterpretation") == "MONOCHROME1" else values


def _is_padding(stored: np.ndarray, tags: Dataset) -> np.ndarray:
    limits = integers(tags, "PixelPaddingValue") + integers(tags, "PixelPaddingRangeLimit")
    if not limits:
        return np.zeros(len(stored), bool)
    # Some writers store a negative value as the unsigned one of the same bits, or the other way round.
    bits = integers(tags, "BitsAllocated")[0]
    if integers(tags, "PixelRepresentation") == [1]:
        limits = [limit - 2**bits if limit >= 2 ** (bits - 1) else limit for limit in limits]
    else:
        limits = [limit + 2**bits if limit < 0 else limit for limit in limits]
    return (stored >= min(limits)) & (stored <= max(limits))


def _range(values: np.ndarray, counts: np.ndarray, percents: tuple[float, float]) -> tuple[float, float]:
    if len(values) == 0:
        raise Rejected("no range: every pixel is padding")
    low, high = percentiles(values, counts, percents)
    if low >= high and values.min() == values.max():
        raise Rejected("no range: one value is left by the modality LUT, the window or the padding")
    if low >= high:
        raise Rejected(f"no range: the percentiles {percents[0]:g} and {percents[1]:g} are the same value")
    return low, high


# ------------------------------------------------------------------------------------------------------------- tables
def modality(values: np.ndarray, tags: Dataset) -> np.ndarray:
    """Values after the modality LUT, or rescaled; unchanged when the file has neither."""
    items = _items(tags, "ModalityLUTSequence")
    if items:
        return _look_up(values, items[0], tags, "ModalityLUTSequence")
    slope, intercept = numbers(tags, "RescaleSlope"), numbers(tags, "RescaleIntercept")
    if not slope and not intercept:
        return values
    if len(slope) != 1 or len(intercept) != 1:
        raise Rejected("unreadable tag: RescaleSlope and RescaleIntercept need one number each")
    return values * slope[0] + intercept[0]


def _voi(values: np.ndarray, tags: Dataset, number: int) -> np.ndarray:
    """Values after the VOI LUT, or else the window; unchanged when the file has neither.

    number: which one of several, from 1. A file with one may not be asked for its second. The range of the result is
    free: a percentile normalisation follows.
    """
    items = _items(tags, "VOILUTSequence")
    centers, widths = numbers(tags, "WindowCenter"), numbers(tags, "WindowWidth")
    if len(centers) != len(widths):
        raise Rejected(f"unreadable tag: {len(centers)} of WindowCenter, {len(widths)} of WindowWidth")
    present = len(items) or len(centers)
    if present == 0:
        return values
    if number > present:
        raise Rejected(f"no such window: setting voi_number asks for {number}, the file has {present}")
    if items:
        return _look_up(values, items[number - 1], tags, "VOILUTSequence")
    return _window(values, centers[number - 1], widths[number - 1], text(tags, "VOILUTFunction") or "LINEAR")


def _window(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """0 … 1, by the three functions of PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    if width < 1 if function == "LINEAR" else width <= 0:
        raise Rejected(f"unreadable tag: WindowWidth is {width:g}")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        raise Rejected("unreadable tag: VOILUTFunction")
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _items(tags: Dataset, keyword: str) -> list[Dataset]:
    try:
        return list(tags.get(keyword) or ())
    except Exception as error:  # a sequence is parsed when it is first asked for
        raise Rejected(f"unreadable tag: {keyword}") from error


def _look_up(values: np.ndarray, item: Dataset, tags: Dataset, keyword: str) -> np.ndarray:
    """Values through a table: LUTDescriptor (entries, value of the first, bits) and LUTData (PS3.3 C.11.1.1, C.11.2.1).

    Values beyond its ends get its first or last entry.
    """
    descriptor = integers(item, "LUTDescriptor")
    if len(descriptor) != 3:
        raise Rejected(f"unreadable tag: LUTDescriptor of {keyword}")
    entries, first, _bits = descriptor
    entries = entries or 65536  # 0 stands for 65,536, which two bytes cannot hold
    if first >= 32768 and values.min() < 0:
        first -= 65536  # stored as unsigned although the values are signed
    try:
        data = item.get("LUTData")
        if isinstance(data, bytes):
            # 16-bit words in the file's byte order, or 8-bit entries side by side
            little = tags.original_encoding[1]
            data = np.frombuffer(data, np.uint8 if len(data) <= entries + entries % 2 else "<u2" if little else ">u2")
        table = np.asarray(data, dtype=np.float64).reshape(-1)[:entries]
    except Exception as error:
        raise Rejected(f"unreadable tag: LUTData of {keyword}") from error
    if len(table) != entries:
        raise Rejected(f"unreadable tag: LUTData of {keyword} has {len(table)} entries, not {entries}")
    return table[np.clip(np.rint(values) - first, 0, entries - 1).astype(np.int64)]

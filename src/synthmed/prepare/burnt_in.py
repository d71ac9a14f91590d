"""Whether letters are burnt into a film: by its tag, or, where it says nothing, by looking for lines of letters.

Machines write names, numbers and dates in one extreme grey value, upright or turned by a quarter, in letters of one
height on one base line. So: what is nearly as bright as the brightest or as dark as the darkest pixel; its connected
parts of the size of letters; chains of at least four that stand side by side. Lead markers ("L", initials below) have
too few letters in a row. Measured figures: docs/dicom.md. It finds most texts, not all, so silence means unknown.
"""

from collections.abc import Callable

import numpy as np
from pydicom import Dataset
from scipy import ndimage

from synthmed.prepare.dicom_file import text

BRIGHT, DARK = (0.8, 0.9, 0.97), (0.9,)
"""Shares of the range from the darkest to the brightest pixel that a pixel of a bright letter has at least; of the
range from the brightest to the darkest for a dark one."""
CONTRAST = 0.15
"""Share of the range by which a letter stands out from what is around it; shading of the body does not."""
LETTER_HEIGHT = (0.005, 0.06)
"""Of the picture's height."""
LINE = 4
"""Letters in a row that make a text."""
_WORK_SIZE = 1024  # letters of 0.5 % of the height still have five pixels


def burnt_in(tags: Dataset, picture: Callable[[], np.ndarray] | None) -> str:
    """The tag BurnedInAnnotation as "yes" or "no"; without it "yes" when letters are found, else "" (unknown).

    picture: gives the picture of has_letters, asked for when it is needed; None: do not look.
    """
    said = {"YES": "yes", "NO": "no"}.get(text(tags, "BurnedInAnnotation").upper(), "")
    if said or picture is None:
        return said
    return "yes" if has_letters(picture()) else ""


def has_letters(picture: np.ndarray) -> bool:
    """Whether a line of at least LINE letters stands in a picture.

    picture: uint8 (H, W), linear from its darkest (0) to its brightest pixel (255), not cut at percentiles.
    """
    lightest, darkest = _pooled(picture)
    looks = [(lightest, share) for share in BRIGHT] + [(255 - darkest, share) for share in DARK]
    return any(_longest_line(pixels, 255 * share) >= LINE for pixels, share in looks)


def _pooled(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Highest and lowest value of blocks, so that strokes of one pixel survive; at most _WORK_SIZE wide and high."""
    factor = -(-max(picture.shape) // _WORK_SIZE)
    height, width = (side // factor * factor for side in picture.shape)
    rows = picture[:height, :width].reshape(-1, factor, width)
    highest, lowest = rows.max(axis=1), rows.min(axis=1)
    columns = range(factor)
    return (
        np.maximum.reduce([highest[:, column::factor] for column in columns]),
        np.minimum.reduce([lowest[:, column::factor] for column in columns]),
    )


def _longest_line(pixels: np.ndarray, level: float) -> int:
    """Letters in the longest line, level or upright, of what is at least `level` bright."""
    parts, _ = ndimage.label(pixels >= level, structure=np.ones((3, 3)))
    boxes = np.array([(y.start, y.stop, x.start, x.stop) for y, x in ndimage.find_objects(parts)]).reshape(-1, 4)
    sides = np.column_stack([boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]])
    lowest, highest = max(4, LETTER_HEIGHT[0] * len(pixels)), LETTER_HEIGHT[1] * len(pixels)
    boxes = boxes[(sides.max(axis=1) >= lowest) & (sides.max(axis=1) <= 1.6 * highest)]
    boxes = np.array([box for box in boxes if _stands_out(pixels, box, level)]).reshape(-1, 4)
    return max(_longest_chain(turned, lowest, highest) for turned in (boxes, boxes[:, [2, 3, 0, 1]]))


def _stands_out(pixels: np.ndarray, box: np.ndarray, level: float) -> bool:
    """Whether a tenth of the box of a part, and two pixels around it, is clearly darker than the part."""
    top, bottom, left, right = box
    around = pixels[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2]
    return np.partition(around, around.size // 10, axis=None)[around.size // 10] <= level - 255 * CONTRAST


def _longest_chain(boxes: np.ndarray, lowest: float, highest: float) -> int:
    """The largest number of letters side by side: one base line, similar heights, gaps below the width of a letter.

    boxes: (n, 4) top, bottom, left, right in pixels; lowest, highest: of a letter, in pixels.
    """
    heights, widths = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    fits = (heights >= lowest) & (heights <= highest) & (widths >= 0.12 * heights) & (widths <= 1.6 * heights)
    letters = boxes[fits][np.argsort(boxes[fits, 2], kind="stable")]
    height, left = letters[:, 1] - letters[:, 0], letters[:, 2]
    length = np.ones(len(letters), dtype=np.int64)
    for this in range(len(letters) - 2, -1, -1):  # from right to left, so that what may follow is known
        _, bottom, _, right = letters[this]
        reach = 0.8 * max(highest, height[this]) + 2
        after = slice(this + 1, int(np.searchsorted(left, right + reach, side="right")))
        larger = np.maximum(height[after], height[this])
        gap = left[after] - right
        follows = (gap <= 0.8 * larger + 2) & (gap >= -0.2 * height[this])
        follows &= np.abs(letters[after, 1] - bottom) <= 0.2 * larger + 1
        follows &= (height[after] >= 0.65 * height[this]) & (height[after] <= 1.55 * height[this])
        if follows.any():
            length[this] = 1 + length[after][follows].max()
    return int(length.max(initial=0))

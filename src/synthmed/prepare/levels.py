"""The values that occur in a picture of more than 8 bits, how often each does, and from them to 8 bits by ranks.

What happens to a pixel depends on its stored value alone. So it is computed once for each value that occurs (at most
65,536 of 16 bits) and the picture is looked up; percentiles come from the counts of the values and are exact.
"""

import math
from dataclasses import dataclass

import numpy as np

_ROWS = 128
"""Rows at a time where numpy would otherwise make a copy of the whole film in 64-bit integers: half as slow."""


@dataclass(frozen=True)
class Levels:
    """The values that occur in a picture. codes (H, W, …): which table entry a pixel has; occurs (n,): whether a table
    entry is met at all; values, counts (m,): the stored values of those that are, in their order, and how many pixels
    each has.
    """

    codes: np.ndarray
    occurs: np.ndarray
    values: np.ndarray
    counts: np.ndarray

    def picture(self, grey: np.ndarray) -> np.ndarray:
        """uint8, the shape of codes. grey (m,): 0 … 255 for each of `values`, rounded here."""
        table = np.zeros(len(self.occurs), np.uint8)
        # Rounded twice: values of a film and of its negative differ in the last bit, which must not decide at n + 1/2.
        table[self.occurs] = np.rint(np.round(grey, 6))
        picture = np.empty(self.codes.shape, np.uint8)
        for start in range(0, len(picture), _ROWS):
            rows = slice(start, start + _ROWS)
            np.take(table, self.codes[rows], out=picture[rows], mode="clip")  # "raise" would buffer
        return picture


def levels_of(stored: np.ndarray) -> Levels:
    """Levels of stored values (H, W, …), integers of any width or floating-point numbers."""
    if stored.itemsize > 2 or stored.dtype.kind == "f":
        values, codes, counts = np.unique(stored, return_inverse=True, return_counts=True)
        return Levels(codes.reshape(stored.shape), np.ones(len(values), bool), values, counts)
    unsigned = np.dtype(f"u{stored.itemsize}")
    codes = stored.view(unsigned)
    values = np.arange(256**stored.itemsize, dtype=unsigned).view(stored.dtype)
    counts = np.zeros(len(values), np.int64)
    for start in range(0, len(codes), _ROWS):
        counts += np.bincount(codes[start : start + _ROWS].ravel(), minlength=len(values))
    occurs = counts > 0
    return Levels(codes, occurs, values[occurs], counts[occurs])


def percentiles(values: np.ndarray, counts: np.ndarray, percents: tuple[float, float]) -> tuple[float, float]:
    """Two percentiles by rank: the smallest value below or at which that share (0 … 100) of the pixels lies."""
    order = np.argsort(values, kind="stable")
    up_to = np.cumsum(counts[order])
    ranks = [max(1, math.ceil(up_to[-1] * percent / 100 - 1e-6)) for percent in percents]
    low, high = values[order][np.searchsorted(up_to, ranks)]
    return low, high

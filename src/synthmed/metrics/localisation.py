"""How well a map shows where a finding is, against its box or mask. A map is (H, W), higher = more suspect."""

from collections.abc import Sequence

import numpy as np

from synthmed.core.errors import InputError


def box_region(boxes: Sequence[tuple[float, float, float, float]], shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre lies in one of the boxes, bool (H, W).

    boxes: left, top, right, bottom in pixels, fractions allowed, right and bottom exclusive; parts outside the image
    are cut off. A box too small to hold the centre of a pixel covers the pixel it lies in. Raises InputError when a box
    is turned round or wholly outside.
    """
    height, width = shape
    region = np.zeros(shape, dtype=bool)
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    for left, top, right, bottom in boxes:
        if not (left < right and top < bottom):
            raise InputError(f"box {(left, top, right, bottom)}: left must be below right and top below bottom")
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            raise InputError(f"box {(left, top, right, bottom)} lies outside the image of {width}×{height} pixels")
        inside = np.outer((rows >= top) & (rows < bottom), (columns >= left) & (columns < right))
        if not inside.any():
            inside[min(int(max(top, 0)), height - 1), min(int(max(left, 0)), width - 1)] = True
        region |= inside
    return region


def pointing_game(map_: np.ndarray, region: np.ndarray) -> float:
    """1 when the maximum of the map lies in the region, 0 when not (Zhang et al., ECCV 2016, without their tolerance).

    Where several pixels share the maximum, the share of them inside: a flat map hits as often as chance.
    """
    _check(map_, region)
    return float(region[map_ == map_.max()].mean())


def average_precision(map_: np.ndarray, region: np.ndarray) -> float:
    """Average precision of the pixels, ranked by the map, for lying in the region: Σ (recallₙ − recallₙ₋₁) · precisionₙ
    over the map's different values. Chance: see chance()."""
    _check(map_, region)
    values, inside = map_.ravel(), region.ravel()
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(values[order]) != 0, True])
    hits = np.cumsum(inside[order])[ends]
    return float(np.sum(np.diff(hits, prepend=0) / inside.sum() * hits / (ends + 1)))


def chance(region: np.ndarray, inner: np.ndarray | None = None) -> float:
    """Share of the image that the region covers: what a map of noise reaches, in the pointing game and (for all but the
    smallest regions) about in average precision.

    inner: bool (H, W), the pixels that the map has not set to 0, None for all; only they count then, so a region wholly
    outside them has chance 0. Raises InputError when `inner` has another shape or is empty.
    """
    if inner is None:
        return float(region.mean())
    if inner.shape != region.shape or not inner.any():
        raise InputError(f"the pixels that count {inner.shape} must have the region's shape {region.shape} and be some")
    return float(region[inner].mean())


def share_inside(map_: np.ndarray, region: np.ndarray) -> float:
    """Share of the map's sum (of values 0 or more) that lies in the region; `chance` for a map of zeros."""
    _check(map_, region)
    total = float(map_.sum(dtype=np.float64))
    return chance(region) if total == 0 else float(map_[region].sum(dtype=np.float64)) / total


def _check(map_: np.ndarray, region: np.ndarray) -> None:
    if map_.shape != region.shape:
        raise InputError(f"map {map_.shape} and region {region.shape} must have one shape")
    if not region.any():
        raise InputError("the region is empty; localisation needs a box or a mask with something in it")
    if not np.isfinite(map_).all():
        raise InputError("the map contains NaN or infinity; the search failed")

"""Outlines that people drew on slides, as ASAP and Aperio ImageScope write them (XML), and the area inside of them.

Both have polygons in pixels of level 0, in named groups; which groups mark a region and which cut a hole into one, the
settings say. ImageScope marks holes itself, too (NegativeROA).
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.settings import Share
from synthmed.data.polygons import fill
from synthmed.prepare.rejected import Rejected

_OUTSIDE = 0.01
"""Share of a slide's side that a hand may have drawn beyond it."""
_TURN = np.linspace(0, 2 * np.pi, 64, endpoint=False)
_IMAGESCOPE = {"0": "freehand", "1": "rectangle", "2": "ellipse", "3": "arrow", "4": "ruler", "5": "pen"}


@dataclass(frozen=True)
class AnnotationSettings:
    """What the groups of an annotation mean, and how much of a tile they must cover."""

    regions: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="Groups (ASAP) or layers (ImageScope: name, or number where it has none) that mark what is "
            "looked for.",
        ),
    ]
    holes: Annotated[tuple[str, ...], Meta(description="Groups that cut holes into these.")]
    ignored: Annotated[tuple[str, ...], Meta(description="Groups that are passed over; any other is an error.")]
    inside_share: Annotated[float, Meta(gt=0, le=1, description="Of a tile, that must lie in a region to be `inside`.")]
    outside_share: Annotated[Share, Meta(description="Of a tile, that may lie in a region where it is `outside`.")]

    def __post_init__(self) -> None:
        named = [*self.regions, *self.holes, *self.ignored]
        if twice := [name for name in named if named.count(name) > 1]:
            raise InputError(f"setting annotation names the group {twice[0]!r} twice; a group has one meaning")
        if self.outside_share >= self.inside_share:
            raise InputError(
                f"setting annotation.outside_share is {self.outside_share:g}, and inside_share {self.inside_share:g}; "
                "the first must be smaller"
            )


@dataclass(frozen=True)
class Outline:
    """A polygon: points (n, 2) as x, y in pixels of level 0; hole: it cuts."""

    points: np.ndarray
    hole: bool

    @property
    def area(self) -> float:
        """By the shoelace formula."""
        x, y = self.points.T
        return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def read_outlines(content: bytes, settings: AnnotationSettings, size: tuple[int, int]) -> list[Outline]:
    """The outlines of an annotation file, those of ignored groups left out.

    size: of the slide, height and width. Raises Rejected when the file is neither ASAP's nor ImageScope's, names a
    group that the settings do not, marks nothing, or lies outside of the slide.
    """
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise Rejected(f"its annotation is no XML ({error})") from error
    if root.tag == "ASAP_Annotations":
        drawn = _asap(root)
    elif root.tag == "Annotations":
        drawn = _imagescope(root)
    else:
        raise Rejected(f"its annotation is neither ASAP's nor ImageScope's: it begins with <{root.tag}>")
    known = (*settings.regions, *settings.holes, *settings.ignored)
    outlines = []
    for group, points, hole in drawn:
        if group not in known:
            raise Rejected(f"its annotation has the group {group!r}, which setting annotation does not name: {known}")
        if group not in settings.ignored:
            _refuse_outside(points, size)
            outlines.append(Outline(points, hole or group in settings.holes))
    if all(outline.hole for outline in outlines):
        raise Rejected(f"its annotation marks none of {list(settings.regions)}")
    return outlines


def _asap(root: ElementTree.Element) -> list[tuple[str, np.ndarray, bool]]:
    """Group, points and whether it is a hole of every outline; dots and measures are no outlines."""
    return [
        (one.get("PartOfGroup", ""), _points(one.iterfind("Coordinates/Coordinate")), False)
        for one in root.iterfind("Annotations/Annotation")
        if one.get("Type") in ("Polygon", "Spline", "Rectangle")
    ]


def _imagescope(root: ElementTree.Element) -> list[tuple[str, np.ndarray, bool]]:
    """The same; of arrows and rulers none."""
    found = []
    for layer in root.iterfind("Annotation"):
        group = layer.get("Name") or layer.get("Id", "")
        for region in layer.iterfind("Regions/Region"):
            kind = _IMAGESCOPE.get(region.get("Type", "0"))
            if kind not in ("arrow", "ruler"):
                points = _points(region.iterfind("Vertices/Vertex"))
                found.append((group, _round(points) if kind == "ellipse" else points, region.get("NegativeROA") == "1"))
    return found


def _points(elements) -> np.ndarray:
    """Raises Rejected on fewer than two points, or ones that are no numbers."""
    try:
        points = np.array([[float(one.get("X")), float(one.get("Y"))] for one in elements], float)
    except (TypeError, ValueError) as error:
        raise Rejected("its annotation has a point without X and Y") from error
    if len(points) < 2 or not np.isfinite(points).all():
        raise Rejected("its annotation has an outline of fewer than two points, or with one that is no number")
    return points


def _round(points: np.ndarray) -> np.ndarray:
    """The ellipse in the box of these points."""
    low, high = points.min(axis=0), points.max(axis=0)
    return (low + high) / 2 + (high - low) / 2 * np.column_stack([np.cos(_TURN), np.sin(_TURN)])


def _refuse_outside(points: np.ndarray, size: tuple[int, int]) -> None:
    limit = np.array(size[::-1], float)
    if (points < -_OUTSIDE * limit).any() or (points > (1 + _OUTSIDE) * limit).any():
        worst = points[np.abs(points - limit / 2).max(axis=1).argmax()]
        raise Rejected(
            f"its annotation lies outside: a point at {worst[0]:.0f}, {worst[1]:.0f}, the slide has "
            f"{size[1]}×{size[0]} pixels; is it of another slide or level?"
        )


def area_map(outlines: Sequence[Outline], shape: tuple[int, int], cell: tuple[float, float]) -> np.ndarray:
    """Where the regions are, bool `shape` (rows, columns) of cells of `cell` pixels of level 0 (across, down).

    A cell is inside when its middle is. Outlines are laid on from the largest to the smallest, so that a hole is cut
    into the region around it, and an island in a hole is a region again.
    """
    inside = np.zeros(shape, bool)
    for outline in sorted(outlines, key=lambda outline: -outline.area):
        fill(inside, outline.points / cell, not outline.hole)
    return inside

"""Boxes around findings, as the column `boxes` of a manifest holds them: `finding:left,top,right,bottom;…`."""

from collections.abc import Sequence
from typing import NamedTuple

from synthmed.core.errors import InputError


class Box(NamedTuple):
    """A finding and where it is, in pixels of the image; fractions allowed, right and bottom exclusive."""

    finding: str
    left: float
    top: float
    right: float
    bottom: float

    def scaled(self, horizontally: float, vertically: float) -> "Box":
        """The box in an image that is that many times as wide and as high."""
        return Box(
            self.finding,
            self.left * horizontally,
            self.top * vertically,
            self.right * horizontally,
            self.bottom * vertically,
        )


def parse_boxes(cell: str) -> list[Box]:
    """The boxes of one cell; an empty cell has none. Raises InputError when it is written in another way."""
    boxes = []
    for part in filter(None, (part.strip() for part in cell.split(";"))):
        finding, _, numbers = part.rpartition(":")
        try:
            left, top, right, bottom = (float(number) for number in numbers.split(","))
        except ValueError as error:
            raise InputError(f"box {part!r} is not written as finding:left,top,right,bottom") from error
        if not (finding and left < right and top < bottom):
            raise InputError(f"box {part!r} needs a finding, left below right and top below bottom")
        boxes.append(Box(finding, left, top, right, bottom))
    return boxes


def format_boxes(boxes: Sequence[Box]) -> str:
    """The cell of `boxes`, up to three decimals (10.4, 12); parse_boxes reads it."""
    return ";".join(f"{box.finding}:{','.join(_number(side) for side in box[1:])}" for box in boxes)


def _number(side: float) -> str:
    return f"{side:.3f}".rstrip("0").rstrip(".")

"""The flow chart of who was studied: a column of boxes, what leaves it at the right, and what becomes of the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from matplotlib.patches import FancyBboxPatch

from synthmed.report.charts.style import INK, MUTED, SERIES, plt, save

_WIDTH, _CHARACTERS = 3.9, 54  # of a box, in inches and in letters of its smaller text
_LINE, _PADDING, _GAP = 0.19, 0.12, 0.34  # height of a line, inside a box, between two boxes, in inches
_LEFT, _RIGHT = 0.1, 5.1  # left edges of the two columns, in inches
_LOOKS = {"stays": ("#eef4fa", SERIES[0]), "leaves": ("#f6f8fa", MUTED), "elsewhere": ("#fff6e5", SERIES[1])}
"""Kind of a box -> (fill, edge). elsewhere: what leaves, and is used for something else."""


@dataclass(frozen=True)
class Box:
    """title: in bold; lines: below it, wrapped where they are long; kind: a key of _LOOKS."""

    title: str
    lines: tuple[str, ...]
    kind: str

    def wrapped(self, characters: int) -> list[str]:
        """Title and lines, cut into pieces of at most `characters` letters."""
        # Bold letters are wider.
        title = wrap(self.title, int(0.88 * characters))
        return [*title, *(piece for line in self.lines for piece in wrap(line, characters))]

    def height(self, characters: int) -> float:
        """In inches."""
        return len(self.wrapped(characters)) * _LINE + 2 * _PADDING


def draw_flow_chart(path: Path, column: Sequence[Box], exits: Sequence[Box | None], ends: Sequence[Box]) -> None:
    """Draw the chart as PNG.

    column: boxes from top to bottom; exits: what leaves below each of them but the last (None: nothing); ends: boxes in
    a row below the last one, at most three.
    """
    if len(exits) != len(column) - 1 or not 0 <= len(ends) <= 3:
        raise ValueError(f"{len(column)} boxes, {len(exits)} exits and {len(ends)} ends do not make a chart")
    end_width = (_RIGHT + _WIDTH - _LEFT - 0.25 * (len(ends) - 1)) / max(1, len(ends))
    end_characters = int(_CHARACTERS * end_width / _WIDTH)
    rows = [box.height(_CHARACTERS) for box in column]
    between = [_GAP if box is None else box.height(_CHARACTERS) + 0.2 for box in exits]
    tail = _GAP + max(box.height(end_characters) for box in ends) if ends else 0.0
    height = sum(rows) + sum(between) + tail + 0.2
    figure, axis = plt.subplots(figsize=(_RIGHT + _WIDTH + 0.1, height))
    middle, y = _LEFT + _WIDTH / 2, height - 0.1
    for place, box in enumerate(column):
        _draw(axis, box, _LEFT, y, _WIDTH, _CHARACTERS)
        y -= rows[place]
        if place < len(exits):
            _arrow(axis, (middle, y), (middle, y - between[place]))
            leaving = exits[place]
            if leaving is not None:
                centre = y - between[place] / 2
                _draw(axis, leaving, _RIGHT, centre + leaving.height(_CHARACTERS) / 2, _WIDTH, _CHARACTERS)
                _arrow(axis, (middle, centre), (_RIGHT, centre))
            y -= between[place]
    for place, box in enumerate(ends):
        left = _LEFT + place * (end_width + 0.25)
        top, target = y - _GAP, left + end_width / 2
        axis.plot([middle, target], [y - _GAP / 2] * 2, color=MUTED, lw=1, solid_capstyle="projecting")
        _arrow(axis, (target, y - _GAP / 2), (target, top))
        axis.plot([middle] * 2, [y, y - _GAP / 2], color=MUTED, lw=1)
        _draw(axis, box, left, top, end_width, end_characters)
    axis.set(xlim=(0, _RIGHT + _WIDTH + 0.1), ylim=(0, height))
    axis.axis("off")
    save(figure, path)


def _draw(axis: plt.Axes, box: Box, left: float, top: float, width: float, characters: int) -> None:
    fill, edge = _LOOKS[box.kind]
    height, lines = box.height(characters), box.wrapped(characters)
    shape = "round,pad=0,rounding_size=0.06"
    axis.add_patch(
        FancyBboxPatch((left, top - height), width, height, boxstyle=shape, facecolor=fill, edgecolor=edge, lw=1)
    )
    bold = len(wrap(box.title, int(0.88 * characters)))
    for place, line in enumerate(lines):
        y = top - _PADDING - (place + 0.5) * _LINE
        weight, size = ("bold", 9) if place < bold else ("normal", 8.5)
        axis.text(left + 0.14, y, line, ha="left", va="center", fontsize=size, weight=weight, color=INK)


def _arrow(axis: plt.Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": MUTED, "lw": 1, "shrinkA": 0, "shrinkB": 0})

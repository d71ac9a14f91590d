"""Charts of segmenters at several sizes: how they are joined, and what each draws."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from synthmed.data.imageset import Legend
from synthmed.report.charts.masks import show_pair
from synthmed.report.charts.style import INK, MUTED, SERIES, plt, save

_PLAIN = Legend()


def _box(axis: Axes, left: float, y: float, width: float, words: str, colour: str) -> tuple[float, float]:
    """A box around words; its left and right end."""
    shape = "round,pad=0,rounding_size=0.06"
    axis.add_patch(FancyBboxPatch((left, y - 0.21), width, 0.42, boxstyle=shape, fc="white", ec=colour, lw=1.2))
    axis.text(left + width / 2, y, words, ha="center", va="center", fontsize=8.5, color=INK)
    return left, left + width


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], bend: float = 0.0) -> None:
    looks = {"arrowstyle": "-|>", "color": MUTED, "lw": 1, "shrinkA": 2, "shrinkB": 2}
    axis.annotate("", end, start, arrowprops={**looks, "connectionstyle": f"arc3,rad={bend}"})


def draw_diagnosis(path: Path, classifier: str, classes: Sequence[str]) -> None:
    """Image → segmenters → mask → image with its mask → classifier → classes."""
    figure, axis = plt.subplots(figsize=(8.2, 1.5))
    boxes = [
        ("image", 0.7, MUTED),
        ("segmenters", 1.1, SERIES[0]),
        ("mask", 0.65, MUTED),
        ("image + mask", 1.25, MUTED),
    ]
    boxes += [(classifier, 1.15, SERIES[5]), (f"{len(classes)} kinds", 0.8, MUTED)]
    left, ends = 0.05, []
    for words, width, colour in boxes:
        ends.append(_box(axis, left, 0.5, width, words, colour))
        left += width + 0.45
    for (_, start), (end, _) in pairwise(ends):
        _arrow(axis, (start, 0.5), (end, 0.5))
    _arrow(axis, (0.4, 0.29), (ends[3][0] + 0.4, 0.29), 0.3)
    axis.set(xlim=(0, 8.2), ylim=(-0.55, 0.8))
    axis.axis("off")
    save(figure, path)


def draw_pipeline(path: Path, sizes: Sequence[str], architecture: str) -> None:
    """Image → a network a size → maps beside the image → last network → mask. sizes: in words, the largest first."""
    tall = max(1.9, 0.62 * len(sizes))
    figure, axis = plt.subplots(figsize=(8.2, tall + 0.95))
    middle = tall / 2

    box, arrow = partial(_box, axis), partial(_arrow, axis)
    _, image = box(0.05, middle, 0.85, "image", MUTED)
    join, joined = box(4.35, middle, 1.35, "image + maps", MUTED)
    heights = np.linspace(tall - 0.3, 0.3, len(sizes))
    for y, size in zip(heights, sizes, strict=True):
        left, right = box(1.7, float(y), 1.75, f"{architecture} {size}", SERIES[0])
        arrow((image, middle), (left, float(y)))
        arrow((right, float(y)), (join, middle))
    arrow((image - 0.4, middle - 0.21), (join + 0.6, middle - 0.21), 0.42 if len(sizes) > 1 else 0.2)
    left, right = box(6.1, middle, 1.05, f"last {architecture}", SERIES[5])
    arrow((joined, middle), (left, middle))
    mask, _ = box(7.5, middle, 0.65, "mask", MUTED)
    arrow((right, middle), (mask, middle))
    axis.set(xlim=(0, 8.2), ylim=(-0.9, tall + 0.05))
    axis.axis("off")
    save(figure, path)


def draw_examples(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A row a test image; arrays: of `scale-forms`."""
    names = arrays["names"].tolist()
    alone = [name for name in names if name.startswith("alone_")]
    last = next(name for name in names if name.startswith("joined_"))
    columns = [("photograph, expert's outline", None), ("maps, as colours", None), ("last network", last)]
    columns += [(f"{name.partition('_')[2].replace('x', '×')} alone", name) for name in reversed(alone)]
    count, (height, width) = len(arrays["images"]), arrays["truth"].shape[1:]
    wide = 1.35
    figure, axes = plt.subplots(
        count, len(columns), figsize=(wide * len(columns), wide * height / width * count + 0.3), squeeze=False
    )
    for row in range(count):
        for axis, (title, name) in zip(axes[row], columns, strict=True):
            axis.axis("off")
            if row == 0:
                axis.set_title(title, fontsize=7.5, weight="normal", loc="center")
            if name is not None:
                axis.imshow(arrays["drawn"][row, names.index(name)], cmap="gray", vmin=0, vmax=255)
            elif title.startswith("photograph"):
                show_pair(axis, arrays["images"][row], arrays["truth"][row], _PLAIN)
            else:
                maps = np.moveaxis(arrays["maps"][row], 0, -1)
                filled = np.zeros((*maps.shape[:2], 3), np.uint8)
                filled[..., : min(3, maps.shape[2])] = maps[..., :3]
                axis.imshow(filled)
    save(figure, path)


def draw_channels(path: Path, rows: Sequence[tuple[str, np.ndarray, Mapping[str, np.ndarray]]]) -> None:
    """A row an image: its class, pixels (H, W, C), and channels (H, W) by their titles."""
    titles = list(rows[0][2])
    height, width = rows[0][1].shape[:2]
    wide = 1.45
    size = (wide * (len(titles) + 1) + 0.5, wide * height / width * len(rows) + 0.5)
    figure, axes = plt.subplots(len(rows), len(titles) + 1, figsize=size, squeeze=False)
    for number, (line, (label, pixels, channels)) in enumerate(zip(axes, rows, strict=True)):
        for axis in line:
            axis.axis("off")
        show_pair(line[0], pixels, None, _PLAIN)
        line[0].text(-0.06, 0.5, label, transform=line[0].transAxes, ha="right", va="center", fontsize=8.5)
        for axis, title in zip(line[1:], titles, strict=True):
            axis.imshow(channels[title], cmap="gray", vmin=0, vmax=255)
            # Else a mask of ones is white on white.
            axis.add_patch(
                plt.Rectangle((0, 0), 1, 1, transform=axis.transAxes, fill=False, ec=MUTED, lw=0.5, clip_on=False)
            )
            if number == 0:
                axis.set_title(fill(title, 20), fontsize=7, weight="normal", loc="center")
    save(figure, path)

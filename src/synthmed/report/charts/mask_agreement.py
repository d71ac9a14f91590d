"""Chart of images that were painted for masks, with the mask and what a segmenter draws."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

import numpy as np

from synthmed.data.imageset import Legend
from synthmed.report.charts.masks import draw_outlines, show_pair
from synthmed.report.charts.style import plt, save

_PLAIN = Legend()
_DRAWN = Legend(classes={"nothing": 1, "drawn": 255})
"""So that what is drawn has the colour of a second class."""


def draw_agreement(path: Path, pictures: Mapping[str, Mapping[str, np.ndarray]], parts: Mapping[str, str]) -> None:
    """A row a generator below the real images, the masks of each part side by side. pictures: title → arrays of
    `mask-agreement`; parts: name → words."""
    first = next(iter(pictures.values()))
    counts = {part: len(first[f"{part}_masks"]) for part in parts}
    height, width = first[f"{next(iter(parts))}_masks"].shape[1:]
    rows = {"real": None, **pictures}
    columns = sum(counts.values())
    size = (1.15 * columns + 1.6, 1.15 * height / width * len(rows) + 0.4)
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    for line, (title, arrays) in zip(axes, rows.items(), strict=True):
        place = 0
        for part, words in parts.items():
            for number in range(counts[part]):
                axis = line[place]
                axis.axis("off")
                mask = first[f"{part}_masks"][number]
                images = first[f"{part}_real"] if arrays is None else arrays[f"{part}_painted"]
                show_pair(axis, images[number], np.where(mask > 0, 255, 0).astype(np.uint8), _PLAIN)
                if arrays is not None:
                    drawing = np.where(arrays[f"{part}_drawn"][number] > 0, 255, 0).astype(np.uint8)
                    draw_outlines(axis, drawing, _DRAWN)
                if title == "real" and number == 0:
                    axis.set_title(f"masks {words}" if part == "train" else f"{words} masks", fontsize=8, loc="left")
                place += 1
        line[0].text(-0.06, 0.5, fill(title, 18), transform=line[0].transAxes, ha="right", va="center", fontsize=8)
    save(figure, path)

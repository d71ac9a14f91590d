"""Charts of what lies on photographs: how frequent it is, examples, and what taking it out does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np

from synthmed.report.charts.style import SERIES, plt, save


def draw_prevalence(path: Path, rows: Sequence[Mapping], tags: Mapping[str, str]) -> None:
    """Bars of every set and class, a group a tag. rows: those of the table; tags: name → words."""
    figure, axis = plt.subplots(figsize=(9.2, 3.4))
    width = 0.8 / len(rows)
    titles = list(dict.fromkeys(row["set"] for row in rows))
    labels = list(dict.fromkeys(row["label"] for row in rows))
    for number, row in enumerate(rows):
        colour, first = SERIES[titles.index(row["set"]) % len(SERIES)], labels.index(row["label"]) == 0
        for place, tag in enumerate(tags):
            found, x = row[tag], place + (number - (len(rows) - 1) / 2) * width
            if found.value is None:
                continue
            look = {"color": "white" if first else colour, "edgecolor": colour, "lw": 1}
            named = f"{row['set']}, {row['label']}" if place == 0 else None
            axis.bar(x, 100 * found.value, 0.85 * width, label=named, **look)
            if found.low is not None:
                axis.plot([x, x], [100 * found.low, 100 * found.high], color="black", lw=1)
    axis.set_xticks(range(len(tags)), list(tags.values()))
    axis.set_ylabel("% of the images")
    axis.grid(axis="y")
    figure.legend(loc="outside lower left", ncols=len(titles))
    save(figure, path)


def draw_rows(path: Path, rows: Mapping[str, Sequence[np.ndarray]]) -> None:
    """A row of images (H, W, 3) for each title."""
    columns = max(map(len, rows.values()))
    figure, axes = plt.subplots(len(rows), columns, figsize=(1.1 * columns + 1.7, 1.15 * len(rows)), squeeze=False)
    for line, (title, images) in zip(axes, rows.items(), strict=True):
        for axis in line:
            axis.axis("off")
        for axis, pixels in zip(line, images, strict=False):
            axis.imshow(pixels)
        line[0].text(-0.06, 0.5, fill(title, 20), transform=line[0].transAxes, ha="right", va="center", fontsize=8.5)
    save(figure, path)

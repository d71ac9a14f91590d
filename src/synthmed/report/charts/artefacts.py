"""Chart of what lies on photographs: how frequent it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

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

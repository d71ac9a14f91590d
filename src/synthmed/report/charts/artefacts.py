"""Chart of what lies on photographs: how frequent it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.patches import Patch

from synthmed.report.charts.style import MUTED, SERIES, plt, save

_LOOKS = ((False, ""), (True, ""), (False, "/////"), (False, "....."), (False, "xxxxx"))
"""Of the classes, in order: whether their bars are filled, and how they are hatched."""


def draw_prevalence(path: Path, rows: Sequence[Mapping], tags: Mapping[str, str]) -> None:
    """Bars of every set (by colour) and class (by filling and hatching), a group a tag. rows: those of the table; tags:
    name → words."""
    figure, axis = plt.subplots(figsize=(9.2, 3.4))
    width = 0.8 / len(rows)
    titles = {title: SERIES[n % len(SERIES)] for n, title in enumerate(dict.fromkeys(row["set"] for row in rows))}
    labels = {label: _LOOKS[n % len(_LOOKS)] for n, label in enumerate(dict.fromkeys(row["label"] for row in rows))}
    for number, row in enumerate(rows):
        for place, tag in enumerate(tags):
            found, x = row[tag], place + (number - (len(rows) - 1) / 2) * width
            if found.value is None:
                continue
            axis.bar(x, 100 * found.value, 0.85 * width, **_look(titles[row["set"]], *labels[row["label"]]))
            if found.low is not None:
                axis.plot([x, x], [100 * found.low, 100 * found.high], color="black", lw=1)
    axis.set_xticks(range(len(tags)), list(tags.values()))
    axis.set_ylabel("% of the images")
    axis.grid(axis="y")
    handles = [Patch(**_look(colour, True, ""), label=title) for title, colour in titles.items()]
    handles += [Patch(**_look(MUTED, *look), label=label) for label, look in labels.items()]
    figure.legend(handles=handles, loc="outside right upper")
    save(figure, path)


def _look(colour: str, filled: bool, hatch: str) -> dict:
    return {"facecolor": colour if filled else "white", "edgecolor": colour, "hatch": hatch, "lw": 1}

"""Charts of the reader study: rates of readers, how images were called, images that all agree on, certainty (also of
each image)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from synthmed.report.charts.style import INK, MUTED, SERIES, interval_point, panels, plt, save

SHOWN = 9
"""Images of each kind on which all readers agree, at most."""


def draw_rates(path: Path, found: Mapping) -> None:
    """True-positive and false-positive rate and accuracy of each reader. found: what the section read; guessing has an
    accuracy of one half where half of the images are synthetic (`halves`)."""
    readers = found["study"]["readers"]
    figure, axis = plt.subplots(figsize=(7.6, 0.62 * len(readers) + 1.4))
    if found["halves"]:
        axis.axvline(0.5, color=MUTED, ls="--", lw=1)
    for place, one in enumerate(readers):
        interval_point(axis, one["sensitivity"], place - 0.2, SERIES[0])
        interval_point(axis, one["accuracy"], place, SERIES[2], "s")
        false = one["specificity"]
        if false.value is not None:
            flipped = type(false)(1 - false.value, 1 - false.high, 1 - false.low, false.n)
            interval_point(axis, flipped, place + 0.2, SERIES[5], "v")
    for colour, marker, words in (
        (0, "o", "synthetic called so"),
        (2, "s", "accuracy"),
        (5, "v", "real called synthetic"),
    ):
        axis.plot([], [], marker, color=SERIES[colour], label=words)
    axis.set_yticks(range(len(readers)), [found["name"](found, one) for one in readers])
    axis.set_ylim(len(readers) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.set_xlabel("share of images")
    axis.grid(axis="x")
    figure.legend(loc="outside lower center", ncols=3)
    save(figure, path)


def draw_recognised(path: Path, found: Mapping) -> None:
    """Histograms over images of the number of readers who called them synthetic. found: what the section read."""
    items, readers = found["study"]["images"]["items"], len(found["study"]["readers"])
    figure, axis = plt.subplots(figsize=(6.6, 3.2))
    for shift, (synthetic, words) in zip((-0.21, 0.21), ((True, "synthetic"), (False, "real")), strict=True):
        counts = np.bincount([one["called"] for one in items if one["synthetic"] is synthetic], minlength=readers + 1)
        bars = axis.bar(np.arange(readers + 1) + shift, counts, 0.4, color=SERIES[0 if synthetic else 1], label=words)
        axis.bar_label(bars, fontsize=8, color=MUTED)
    axis.set_xticks(range(readers + 1))
    axis.set_xlabel("readers who called it synthetic")
    axis.set_ylabel("images")
    axis.legend()
    save(figure, path)


def draw_extremes(path: Path, found: Mapping) -> str | None:
    """A row of images for each kind of agreement. found: what the section read."""
    readers, images = len(found["study"]["readers"]), found["items"]
    items = found["study"]["images"]["items"]
    kinds = (
        ("synthetic,\nnobody noticed", True, 0),
        ("synthetic,\nall noticed", True, readers),
        ("real,\nall accepted", False, 0),
        ("real,\nall rejected", False, readers),
    )
    chosen = [
        [place for place, one in enumerate(items) if one["synthetic"] is synthetic and one["called"] == called]
        for _, synthetic, called in kinds
    ]
    if not any(chosen):
        return "There is no image on which all readers agree."
    figure, axes = plt.subplots(4, SHOWN, figsize=(9.6, 4.9), squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    for row, ((words, *_), places) in enumerate(zip(kinds, chosen, strict=True)):
        axes[row, 0].text(
            -0.15,
            0.5,
            f"{words}: {len(places)}",
            transform=axes[row, 0].transAxes,
            ha="right",
            va="center",
            fontsize=8.5,
        )
        for axis, place in zip(axes[row], places, strict=False):
            pixels = images[place]
            grey = pixels.shape[2] == 1
            axis.imshow(
                pixels[:, :, 0] if grey else pixels, **({"cmap": "gray", "vmin": 0, "vmax": 255} if grey else {})
            )
            axis.set_xlabel(items[place]["label"], fontsize=7)
            if items[place]["edited"]:
                for spine in axis.spines.values():
                    spine.set(visible=True, color=SERIES[1], linewidth=2.5)
    save(figure, path)
    return None


def draw_screened(path: Path, found: Mapping) -> str | None:
    """A panel a screened set: its images on two components, by class; outliers circled. found: see draw_rates."""
    embedded = found["drawn"]["embedded"]
    if not embedded:
        return "No set was screened."
    labels = list(dict.fromkeys(image["label"] for one in embedded.values() for image in one["images"]))
    figure, axes = panels(len(embedded), columns=3, width=4.6, height=3.6)
    for axis, (name, one) in zip(axes, embedded.items(), strict=True):
        places = np.array([(image["x"], image["y"]) for image in one["images"]])
        of_label, outlier = (np.array([image[key] for image in one["images"]]) for key in ("label", "outlier"))
        for number, label in enumerate(labels):  # those that a panel lacks, too: the legend of one is that of all
            axis.scatter(*places[of_label == label].T, 7, SERIES[number % len(SERIES)], lw=0, label=label)
        axis.scatter(*places[outlier].T, 34, facecolors="none", edgecolors=INK, lw=0.8, label="outlier")
        axis.set_title(found["settings"].sets.get(name, name))
        for setter, number in ((axis.set_xlabel, 0), (axis.set_ylabel, 1)):
            setter(f"component {number + 1} ({100 * one['explained'][number]:.0f} %)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    save(figure, path)
    return None


def draw_certainty(path: Path, found: Mapping) -> str | None:
    """Share of right answers at each level of certainty, and that of guessing where half of the images are synthetic.
    found: what the section read."""
    certainty = found["study"]["certainty"]
    if certainty is None:
        return "No question asks how certain readers are."
    figure, axis = plt.subplots(figsize=(6.2, 3.2))
    if found["halves"]:
        axis.axhline(0.5, color=MUTED, ls="--", lw=1)
    for place, one in enumerate(certainty["steps"]):
        right = one["right"]
        if right.value is not None:
            if right.low is not None:
                axis.plot([place, place], [right.low, right.high], color=SERIES[0], lw=2.2)
            axis.plot(place, right.value, "o", color=SERIES[0], ms=6.5, mec="white")
    axis.set_xticks(
        range(len(certainty["steps"])), [f"{one['words']}\nn = {one['right'].n or 0}" for one in certainty["steps"]]
    )
    axis.set_ylim(0, 1)
    axis.set_xlim(-0.5, len(certainty["steps"]) - 0.5)
    axis.set_ylabel("share right")
    axis.set_xlabel("certainty")
    axis.grid(axis="y")
    save(figure, path)
    return None


def draw_certainty_by_image(path: Path, found: Mapping) -> str | None:
    """A bar for each image of which somebody said how certain he was: the mean of those who did, from the least to the
    most certain, synthetic and real ones in two colours (seed 003, Figure 4.15). found: what the section read."""
    certainty = found["study"]["certainty"]
    if certainty is None:
        return "No question asks how certain readers are."
    items = [one for one in found["study"]["images"]["items"] if one["certainty"] is not None]
    if not items:
        return "No reader said how certain he is."
    items.sort(key=lambda one: (one["certainty"], one["synthetic"]))
    figure, axis = plt.subplots(figsize=(8.2, 3.2))
    for synthetic, words in ((True, "synthetic"), (False, "real")):
        places = [place for place, one in enumerate(items) if one["synthetic"] is synthetic]
        means = [items[place]["certainty"] for place in places]
        axis.bar(places, means, 0.8, color=SERIES[0 if synthetic else 1], label=words, snap=False)
    axis.axhline(certainty["mean"], color=MUTED, ls="--", lw=1)
    axis.set_yticks(range(1, len(certainty["steps"]) + 1), [one["words"] for one in certainty["steps"]])
    axis.set_ylim(0, len(certainty["steps"]) + 0.2)
    axis.set_xlim(-1, len(items))
    axis.set_xticks([])
    axis.set_xlabel(f"{len(items)} images, from the least to the most certain")
    simulated = f"\n({len(found['simulated'])} of {len(found['study']['readers'])} readers simulated)"
    axis.set_ylabel("mean certainty" + (simulated if found["simulated"] else ""))
    axis.grid(axis="y")
    figure.legend(loc="outside upper right", ncols=2)
    save(figure, path)
    return None

"""Charts of images with masks: pairs with the outline of the mask, predictions beside the truth, trainings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from PIL import Image

from synthmed.data.channels import resized_labels
from synthmed.data.imageset import ImageSet, Legend
from synthmed.report.charts.style import INK, MUTED, SERIES, panels, plt, save


def show_pair(
    axis: plt.Axes, pixels: np.ndarray, mask: np.ndarray | None, legend: Legend, extent: Sequence[float] | None = None
) -> None:
    """An image, uint8 (H, W, C), with the outlines of its mask (H, W), a colour a class; None: without. Of images with
    named channels the first is shown. extent: of the axis, as of imshow."""
    shown = pixels if pixels.shape[2] == 3 and legend.channels is None else pixels[:, :, 0]
    axis.imshow(shown, cmap="gray", vmin=0, vmax=255, extent=extent)
    if mask is not None:
        draw_outlines(axis, mask, legend)


def draw_outlines(axis: plt.Axes, mask: np.ndarray, legend: Legend) -> None:
    """The outlines of a label map (H, W) as lines over the image that was last drawn, a colour a class."""
    left, right, bottom, top = axis.images[-1].get_extent()
    scale = np.array([(right - left) / mask.shape[1], (bottom - top) / mask.shape[0]])
    for number, lines in enumerate(outlines(mask, legend)):
        placed = lines * scale + (left, top)
        axis.add_collection(LineCollection(placed, colors=outline_colour(number), linewidths=1, capstyle="round"))


def outlines(mask: np.ndarray, legend: Legend) -> list[np.ndarray]:
    """Of each class the edges of pixels between its objects and what is not of the same object: float (n, 2, 2), of
    (x, y) from 0 to (W, H). Beyond the rim of the image everything goes on."""
    across, along = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    found = []
    for name in legend.classes:
        own = legend.of_class(mask, name)
        y, x = np.nonzero(across & (own[:, 1:] | own[:, :-1]))
        upright = np.stack([np.stack([x + 1, y], 1), np.stack([x + 1, y + 1], 1)], 1)
        y, x = np.nonzero(along & (own[1:] | own[:-1]))
        level = np.stack([np.stack([x, y + 1], 1), np.stack([x + 1, y + 1], 1)], 1)
        found.append(np.concatenate([upright, level]).astype(float))
    return found


def outline_colour(number: int) -> str:
    """Of the class with this number, from 0."""
    return ("#F0E442", "#56B4E9", "#E69F00", "#CC79A7")[number % 4]


def draw_predictions(
    path: Path, rows: Sequence[tuple[str, Sequence[tuple[np.ndarray, np.ndarray]]]], legend: Legend
) -> None:
    """A row of pairs (image, mask), under each other by their titles; the first is the truth."""
    count, (height, width) = max(len(pairs) for _, pairs in rows), rows[0][1][0][0].shape[:2]
    tall = height / width
    side = 1.5 if len(rows) > 6 else 1.9
    figure, axis = plt.subplots(figsize=(side * count, side * tall * len(rows)), layout="none")
    axis.set_position((0, 0, 1, 1))
    for row, (title, pairs) in enumerate(rows):
        axis.text(-0.08, (row + 0.5) * tall, fill(title, 34), ha="right", va="center", fontsize=8.5)
        for place, (pixels, mask) in enumerate(pairs):
            extent = (place + 0.02, place + 0.98, (row + 0.98) * tall, (row + 0.02) * tall)
            show_pair(axis, pixels, mask, legend, extent)
    axis.set_xlim(0, count)
    axis.set_ylim(len(rows) * tall, 0)
    axis.axis("off")
    save(figure, path)


def draw_jitter(path: Path, pair: Sequence[np.ndarray], legend: Legend, factor: float, flip: bool, seed: int) -> None:
    """An image (H, W, C) and its mask, if any: as they are, `factor` times as large with a frame around a random part
    of the size of the image, that part, and mirrored."""
    height, width = pair[0].shape[:2]
    large = [_enlarged(pair[0], factor)]
    large += [resized_labels(mask, large[0].shape[:2]) for mask in pair[1:]]
    rng = np.random.default_rng(seed)
    room = large[0].shape[0] - height, large[0].shape[1] - width
    top, left = rng.integers(np.add(room, 1)).tolist()
    part = [one[top : top + height, left : left + width] for one in large]
    shown = {"as it is": pair, "enlarged": large, "a part of it": part}
    shown |= {"mirrored": [one[:, ::-1] for one in part]} if flip else {}
    figure, axes = panels(len(shown), columns=4, width=2.3, height=2.5)
    for axis, (title, images) in zip(axes, shown.items(), strict=True):
        show_pair(axis, images[0], images[1] if len(images) > 1 else None, legend)
        axis.set_title(title)
        axis.axis("off")
    axes[1].add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, ec="white", lw=1.6))
    save(figure, path)


def _enlarged(pixels: np.ndarray, factor: float) -> np.ndarray:
    """An image (H, W, C), channel by channel, so that it may have any number of them."""
    size = round(factor * pixels.shape[1]), round(factor * pixels.shape[0])
    channels = [Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(pixels, 2, 0)]
    return np.dstack([np.asarray(channel.resize(size, Image.Resampling.BILINEAR)) for channel in channels])


def draw_trainings(path: Path, trainings: Mapping[str, Sequence[Mapping]], iou: str) -> None:
    """Loss on the left, IoU on the right, by step: of training (solid) and validation (dashed), a thin line a seed.
    trainings: title of the arm → its seeds, each with a `history`; iou: which one it is."""
    figure, axes = panels(2, columns=2, width=4.6, height=2.6)
    for axis, name in zip(axes, ("loss", "iou"), strict=True):
        for number, (title, seeds) in enumerate(trainings.items()):
            colour = SERIES[number % len(SERIES)]
            for place, seed in enumerate(seeds):
                steps = [row["step"] for row in seed["history"]]
                for part, dash in (("train", "-"), ("validation", (0, (3, 1.5)))):
                    values = [row[f"{part}_{name}"] for row in seed["history"]]
                    label = f"{title}, {part}" if place == 0 and name == "loss" else None
                    axis.plot(steps, values, color=colour, ls=dash, lw=1, alpha=0.85, label=label)
                best = steps.index(seed["best_step"])
                axis.plot(steps[best], seed["history"][best][f"validation_{name}"], "o", ms=3.5, color=colour)
        axis.set_title({"loss": "Loss", "iou": iou[0].upper() + iou[1:]}[name])
        axis.set_xlabel("step", color=MUTED)
        axis.grid(axis="y")
    figure.legend(loc="outside lower left", ncols=2)
    save(figure, path)


def draw_forms(path: Path, results: Mapping[str, Mapping], statistics: Mapping[str, str]) -> None:
    """A row of panels a class, a panel a statistic: the share of masks up to each value, of real and held-out ones and
    of every generator. results: title → what compare-masks found; statistics: name → words; shares of empty and full
    masks are left out."""
    shown = {name: words for name, words in statistics.items() if name not in ("empty", "full")}
    first = next(iter(results.values()))
    classes = list(first["classes"])
    figure, axes = panels(len(shown) * len(classes), columns=len(shown), width=2.3, height=2.3, sharey=True)
    for place, axis in enumerate(axes):
        of, name = classes[place // len(shown)], list(shown)[place % len(shown)]
        lines = [("real", first, "real", INK, "-"), ("held-out real", first, "held_out", MUTED, (0, (3, 1.5)))]
        lines += [
            (title, one, "generated", SERIES[k % len(SERIES)], "-") for k, (title, one) in enumerate(results.items())
        ]
        for title, one, which, colour, dash in lines:
            values = np.sort(one["classes"][of][name]["values"][which])
            if len(values):
                axis.step(
                    values,
                    np.arange(1, len(values) + 1) / len(values),
                    where="post",
                    color=colour,
                    ls=dash,
                    lw=1.2,
                    label=title,
                )
        axis.set_title(of if len(classes) > 1 else "", fontsize=9)
        axis.set_ylabel("share of masks" if place % len(shown) == 0 else "", fontsize=8.5, color=MUTED)
        axis.set_xlabel(shown[name], fontsize=8.5, color=MUTED)
        axis.locator_params(axis="x", nbins=4)
        axis.grid()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=5)
    save(figure, path)


def draw_mixed(path: Path, rows: Mapping[str, tuple[Path, Sequence[Mapping]]], criteria: Mapping[str, str]) -> None:
    """A row a generator: the samples that mix their channels most, with the criteria by which they do. rows: title →
    its image set and the samples, each with `image` and `by`."""
    count = max(len(samples) for _, samples in rows.values())
    figure, axes = plt.subplots(len(rows), count, figsize=(1.5 * count + 1.2, 1.9 * len(rows)), squeeze=False)
    for line, (title, (images, samples)) in zip(axes, rows.items(), strict=True):
        opened = ImageSet(images)
        names = opened.column("image")
        entries = opened.entries([names.index(sample["image"]) for sample in samples])
        for axis in line:
            axis.axis("off")
        for axis, sample, (_, pixels, mask) in zip(line, samples, entries, strict=False):
            show_pair(axis, pixels, mask, opened.legend)
            axis.set_title(
                "\n".join(criteria[name] for name in sample["by"]), fontsize=7, weight="normal", loc="center"
            )
        line[0].text(-0.06, 0.5, fill(title, 16), transform=line[0].transAxes, ha="right", va="center", fontsize=8.5)
    save(figure, path)

"""Section "Disease axes": Figures 10 and 12 of seed 004 (M. Kim 2021) in our form, with counts and measured scores."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_csv
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.report import SECTIONS
from synthmed.report.charts.style import INK, MUTED, SERIES, panels, placeholder, plt, save
from synthmed.report.page_words import counted, joined
from synthmed.report.results import by_stem, estimate
from synthmed.report.sections.section import write_section

logger = logging.getLogger(__name__)

FILES = SECTIONS["disease_axes"]
"""Stems of the outputs `out`."""

# Seed 004, results, section 2: of 30,000 samples those that show one pattern alone.
DOCUMENT_SAMPLES = 30_000
DOCUMENT_ALONE = {
    "normal": 8_683,
    "nodule": 478,
    "consolidation": 484,
    "interstitial opacity": 215,
    "pleural effusion": 2_235,
    "pneumothorax": 0,
}
# The same section: the classifier's likelihood at the end of the axis (from 0), and what one radiologist saw there. The
# axes of nodule and pneumothorax were not found (its discussion).
DOCUMENT_LIKELIHOOD = {"consolidation": 0.97, "interstitial opacity": 0.89, "pleural effusion": 0.99}
DOCUMENT_READER = {"consolidation": "severe", "interstitial opacity": "moderate", "pleural effusion": "moderate"}

_NO_AXIS = "No disease has samples enough for an axis."

_TILE = 160  # longest side of an image in a figure, pixels


@dataclass(frozen=True)
class DiseaseAxesSectionSettings:
    """generator: its name, for people; examples: starts an axis in Figure 12."""

    generator: str
    examples: int


@step("section-disease-axes")
def section(
    settings: DiseaseAxesSectionSettings,
    *,
    axes_report: Path,
    paths: Path,
    images: Path,
    cams: Path,
    section: Output,
    out: list[Output],
) -> None:
    """Write the report's section on the axes of diseases.

    axes_report: of `disease-axes`; paths, images, cams: outputs `out`, `images` and `cams` of `move-along-axes`. out: a
    file for each of FILES, by its stem. Raises InputError when the files are of different runs.
    """
    if settings.examples < 1:
        raise InputError(f"setting examples is {settings.examples}; it must be 1 or more")
    files = by_stem(out, FILES, "out")
    report, moved = read_json(axes_report), read_json(paths)
    found = {entry["target"]: entry for entry in report["axes"]}
    if set(found) != {entry["target"] for entry in moved["axes"]} or report["generator"] != moved["generator"]:
        raise InputError(f"{paths}: not of the same run as {axes_report}; run move-along-axes again")
    walked = [entry for entry in moved["axes"] if entry["estimated"]]
    tables = {
        "table_axis_counts": count_rows(report),
        "table_axis_scores": [score_row(found[entry["target"]], entry) for entry in moved["axes"]],
        "table_axis_side_effects": [side_effect_row(entry) for entry in walked] or [{"note": _NO_AXIS}],
    }
    for name, rows in tables.items():
        write_csv(files[name], rows, list(rows[0]))

    pictures, maps = ImageSet(images), ImageSet(cams)
    if walked:
        draw_paths(files["figure_10"], walked, pictures, maps)
        draw_starts(files["figure_12"], walked, pictures, settings.examples)
        draw_likelihoods(files["figure_axis_likelihoods"], walked, moved)
    else:
        for name in ("figure_10", "figure_12", "figure_axis_likelihoods"):
            placeholder(files[name], _NO_AXIS)
    write_section(
        section,
        key="disease-axes",
        title="Can a disease be dialled into an image?",
        paragraphs=paragraphs(report, moved, settings.generator),
        tables=[(files[name], caption) for name, caption in _table_captions(report, moved).items()],
        figures=[(files[name], caption) for name, caption in _figure_captions(moved).items()],
    )
    logger.info("wrote %s", section)


# -------------------------------------------------------------------------------------------------------------- tables
def count_rows(report: Mapping) -> list[dict]:
    """Samples with each pattern, before and after those with one pattern alone were selected."""
    return [
        {
            "pattern": entry["target"],
            "highest": entry["highest"],
            "likely": entry["likely"],
            "alone": entry["alone"],
            "reference_alone": DOCUMENT_ALONE.get(entry["target"]),
            "note": "",
        }
        for entry in report["counts"]
    ]


def _cells(column: str, node: Mapping, key: str) -> dict:
    value = estimate(node, key)
    return {column: value.value, f"{column}_low": value.low, f"{column}_high": value.high}


def _verdict(entry: Mapping) -> dict:
    note = "" if entry["found"] else f"{entry['target']}: {entry['reason']}."
    return {"disease": entry["target"], "axis": "found" if entry["found"] else "not found", "note": note}


def score_row(found: Mapping, moved: Mapping) -> dict:
    """How certain an axis is, and what the classifier says along it. found, moved: its entries in the two JSONs."""
    verdict = _verdict(moved)
    scores, path = moved["scores"] or {}, moved["path"]
    ends = [path[step]["likelihoods"] if path else {} for step in (0, -1)]
    return {
        "disease": verdict["disease"],
        "axis": verdict["axis"],
        **_cells("cosine_of_halves", found, "half_cosine"),
        **_cells("AUROC_in_other_half", found, "held_out_auroc"),
        "likelihood_at_start": estimate(ends[0], moved["target"]).value,
        **_cells("likelihood_at_end", ends[1], moved["target"]),
        **_cells("gain", scores, "gain"),
        **_cells("gain_of_random_directions", scores, "random_gain"),
        "p": moved["p"],
        "p_holm": moved["p_holm"],
        **_cells("steadiness", scores, "rise"),
        "reference_likelihood_at_end": DOCUMENT_LIKELIHOOD.get(moved["target"]),
        "reference_reader": DOCUMENT_READER.get(moved["target"], ""),
        "note": verdict["note"],
    }


_SIDE_EFFECTS = {
    "other_diseases": "others",
    "normal": "normal",
    "pixels": "identity_pixels",
    "features": "identity_features",
}
"""Column of the table of side effects -> its score."""


def side_effect_row(moved: Mapping) -> dict:
    """What else changed along the axis, beside random directions of the same length."""
    scores = moved["scores"]
    row = {"disease": moved["target"]}
    for column, score in _SIDE_EFFECTS.items():
        row |= _cells(column, scores, score) | _cells(f"{column}_random", scores, f"random_{score}")
    reasons = {scores.get(score, {}).get("reason") for score in _SIDE_EFFECTS.values()}
    return {**row, "note": "; ".join(sorted(filter(None, reasons)))}


# --------------------------------------------------------------------------------------------------------------- words
def _listed(entries: Sequence[Mapping]) -> str:
    return joined([entry["target"] for entry in entries])


def paragraphs(report: Mapping, moved: Mapping, generator: str) -> list[str]:
    """The section's sentences."""
    alone = joined([f"{entry['alone']:,} {entry['target']}" for entry in report["counts"]])
    texts = [
        f"Of {report['samples']:,} samples of {generator} the classifier sees one pattern alone in "
        f"{report['selected']:,} (its likelihood at least {report['at_least']:g}, every other at most "
        f"{report['at_most']:g}): {alone}. {_regression(report)}"
    ]
    found = [entry for entry in moved["axes"] if entry["found"]]
    missed = [entry for entry in moved["axes"] if not entry["found"]]
    words = f"An axis is found when {moved['rule']}. "
    words += f"Found: {_listed(found)}." if found else "No axis was found."
    if missed:
        words += " Not found: " + "; ".join(f"{entry['target']}, because {entry['reason']}" for entry in missed) + "."
    texts.append(words)
    texts += [_along(entry, moved) for entry in found]
    walked = [entry for entry in report["axes"] if entry["found"]]
    if len(walked) > 1:
        texts.append(_angles(walked, report))
    texts.append(
        "All likelihoods are those of the classifier that also chose the samples: they say that the generator moves "
        "towards what this classifier calls the disease, not that a reader would see it. The images are kept for that "
        "reading."
    )
    return texts


def _regression(report: Mapping) -> str:
    on = "samples of all patterns" if report["against"] == "all" else "its samples and the normal ones"
    words = (
        f"The axis of a disease is the slope of a linear regression of its likelihood on the {report['dimensions']} "
        f"numbers of {report['space']}, on {on}, weighted against their frequency (ridge {report['ridge']:g})"
    )
    if report["orthogonalise"] == "from_others":
        return f"{words}; what an axis shares with all others is taken out of it."
    if report["orthogonalise"] == "in_order":
        return f"{words}; the axes are orthogonalised in the order {', '.join(report['order'])}."
    return f"{words}."


def _range(node: Mapping) -> str:
    value, low, high = (_decimals(node[key]) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _decimals(value: float) -> str:
    # Adding zero turns −0.00 into 0.00.
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _along(entry: Mapping, moved: Mapping) -> str:
    scores, path = entry["scores"], entry["path"]
    first, last = (path[step]["likelihoods"][entry["target"]] for step in (0, -1))
    starts = counted(moved["starts"], "start", "starts")
    words = (
        f"Along the axis of {entry['target']} its likelihood goes from {_decimals(first['value'])} to {_range(last)} "
        f"within {path[-1]['distance']:g} standard deviations, mean over {starts}; along "
        f"{moved['random_directions']} random directions it gains {_range(scores['random_gain'])}, "
        f"p = {entry['p']:.3f} ({entry['p_holm']:.3f} after Holm)."
    )
    if scores["others"]["value"] is not None:
        words += (
            f" The likelihoods of other diseases change by {_range(scores['others'])}, along random directions by "
            f"{_range(scores['random_others'])}."
        )
    if scores["identity_pixels"]["value"] is not None:
        words += (
            f" The image comes to lie {_range(scores['identity_pixels'])} times as far from its start as two normal "
            f"images from each other, along random directions {_range(scores['random_identity_pixels'])} times."
        )
    return words


def _angles(walked: Sequence[Mapping], report: Mapping) -> str:
    pairs = {
        frozenset((entry["target"], other)): (cosine, entry["target"], other)
        for entry in walked
        for other, cosine in entry["cosines_before"].items()
        if other in {axis["target"] for axis in walked}
    }
    cosine, one, other = max(pairs.values(), key=lambda pair: abs(pair[0]))
    words = f"Of the axes as they come out of the regression, those of {one} and {other} share most"
    words += f" (cosine {cosine:.2f}"
    if report["orthogonalise"] != "none":
        after = next(entry["cosines"][other] for entry in walked if entry["target"] == one)
        words += f"; orthogonalised {after:.2f}"
    return f"{words}): the more two axes share, the less either is an axis of one disease.".replace("-", "−")


def _table_captions(report: Mapping, moved: Mapping) -> dict[str, str]:
    interval = f"{100 * moved['level']:g} % interval over starts"
    return {
        "table_axis_counts": (
            f"Samples with each pattern: where it is the likeliest, where its likelihood is at least "
            f"{report['at_least']:g}, and where it is alone. [[The document's numbers are of "
            f"{DOCUMENT_SAMPLES:,} samples.]]"
        ),
        "table_axis_scores": (
            "The axes. Cosine of halves: between the axes of two disjoint halves of the samples, 0 for noise. AUROC in "
            "other half: disease against normal, by the axis of one half in the other. Likelihood and gain with "
            f"{interval}; random directions of the same length with the central {100 * moved['level']:g} % of them. p: "
            "share of directions that gain as much, the axis among them; p (Holm): adjusted for the number of axes. "
            "Steadiness: Goodman and Kruskal's gamma, 1 when the likelihood never falls. [[The document gives "
            "likelihoods of the images it shows, which rise from 0, and what one radiologist saw at the end.]]"
        ),
        "table_axis_side_effects": (
            "What else changes from start to end, and along random directions of the same length: mean absolute change "
            "of the other diseases' likelihoods; change of the likelihood of normal; distance to the start in pixels "
            "and in the classifier's features, 1 = as far as between two normal images. (The features see diseases, so "
            "they move with them.)"
        ),
    }


def _figure_captions(moved: Mapping) -> dict[str, str]:
    drawn, level = "not picked: the first that the seed drew", f"{100 * moved['level']:g} %"
    return {
        "figure_10": (
            "One normal sample moved along each axis, with its class activation maps and the classifier's likelihood "
            f"of the disease; the start is {drawn}. Distances in standard deviations. [[The document's Figure 10.]]"
        ),
        "figure_12": f"Further starts along each axis, {drawn}. [[The document's Figure 12.]]",
        "figure_axis_likelihoods": (
            f"The classifier's likelihoods along each axis, mean over {counted(moved['starts'], 'start', 'starts')} "
            f"with {level} interval. Grey: the disease's likelihood along random directions of the same length, mean "
            f"and central {level}."
        ),
    }


# ------------------------------------------------------------------------------------------------------------- figures
def _rows_of(images: ImageSet, axis: str) -> dict[int, list[int]]:
    """Start → positions of its images along `axis`, by step."""
    found: dict[int, list[tuple[int, int]]] = {}
    for position, row in enumerate(images.rows):
        if row["axis"] == axis:
            found.setdefault(int(row["start"]), []).append((int(row["step"]), position))
    return {start: [position for _, position in sorted(steps)] for start, steps in sorted(found.items())}


def _small(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 1) → (h, w), not larger than a tile."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((_TILE, _TILE), Image.Resampling.BOX)
    return np.asarray(image)


def _tile(axis: Axes, left: float, top: float, pixels: np.ndarray, heat: np.ndarray | None) -> None:
    """One image of unit size, with a class activation map (uint8) laid over it."""
    extent = (left + 0.02, left + 0.98, top + 0.98, top + 0.02)
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if pixels.ndim == 2 else {}
    axis.imshow(pixels, extent=extent, interpolation="nearest", **grey)
    if heat is not None:
        strength = heat / 255
        axis.imshow(strength, extent=extent, cmap="inferno", vmin=0, vmax=1, alpha=0.65 * strength)


def _title(entry: Mapping) -> str:
    return entry["target"] if entry["found"] else f"{entry['target']} (not found)"


def draw_paths(path: Path, walked: Sequence[Mapping], images: ImageSet, cams: ImageSet) -> None:
    """Figure 10: two rows an axis, the images of one start and their activation maps; likelihoods printed below."""
    steps, height = len(walked[0]["path"]), 2.28
    figure, axis = plt.subplots(figsize=(1.8 + 0.95 * steps, 0.35 + 0.95 * height * len(walked)))
    for number, entry in enumerate(walked):
        top = number * height
        (start, shown), *_ = _rows_of(images, entry["target"]).items()
        maps = _rows_of(cams, entry["target"])[start]
        colour = INK if entry["found"] else MUTED
        words = fill(_title(entry), 14)
        axis.text(-0.1, top + 0.5, words, ha="right", va="center", weight="bold", color=colour)
        axis.text(-0.1, top + 1.5, "activation map", ha="right", va="center", color=MUTED, fontsize=8.5)
        for step, (position, heat) in enumerate(zip(shown, maps, strict=True)):
            pixels = _small(images[position])
            _tile(axis, step, top, pixels, None)
            _tile(axis, step, top + 1, pixels, _small(cams[heat]))
            words = f"{float(images.rows[position]['likelihood']):.2f}"
            axis.text(step + 0.5, top + 2.03, words, ha="center", va="top", fontsize=9)
    for step, point in enumerate(walked[0]["path"]):
        axis.text(step + 0.5, -0.06, f"{point['distance']:g}", ha="center", va="bottom", fontsize=9, color=MUTED)
    axis.text(-0.1, -0.06, "distance", ha="right", va="bottom", fontsize=8.5, color=MUTED)
    axis.set_xlim(0, steps)
    axis.set_ylim(height * len(walked) - 0.02, 0)
    axis.axis("off")
    save(figure, path)


def draw_starts(path: Path, walked: Sequence[Mapping], images: ImageSet, count: int) -> None:
    """Figure 12: a panel an axis, a row a start, with the likelihood in the corner of each image."""
    steps = len(walked[0]["path"])
    outline = [withStroke(linewidth=1.6, foreground="black")]
    chosen = {entry["target"]: list(_rows_of(images, entry["target"]).values())[:count] for entry in walked}
    rows = max(len(starts) for starts in chosen.values())
    figure, axes = panels(len(walked), columns=2, width=4.6, height=0.45 + 4.4 * rows / steps)
    for axis, entry in zip(axes, walked, strict=True):
        axis.set_title(_title(entry), color=INK if entry["found"] else MUTED)
        for row, shown in enumerate(chosen[entry["target"]]):
            for step, position in enumerate(shown):
                _tile(axis, step, row, _small(images[position]), None)
                words = f"{float(images.rows[position]['likelihood']):.2f}"
                look = {"ha": "right", "va": "bottom", "fontsize": 6.5, "color": "white", "path_effects": outline}
                axis.text(step + 0.95, row + 0.95, words, **look)
        axis.set_xlim(0, steps)
        axis.set_ylim(rows, 0)
        axis.axis("off")
    save(figure, path)


def draw_likelihoods(path: Path, walked: Sequence[Mapping], moved: Mapping) -> None:
    """A panel an axis: the likelihood of every output along it, and of its disease along random directions."""
    colours = {name: SERIES[number % len(SERIES)] for number, name in enumerate(moved["targets"])}
    figure, axes = panels(len(walked), columns=3, width=3.07, height=2.5, sharex=True, sharey=True)
    handles = {}
    for place, (axis, entry) in enumerate(zip(axes, walked, strict=True)):
        distances = [point["distance"] for point in entry["path"]]
        random = [point["random"] for point in entry["path"]]
        low, high = [p["low"] for p in random], [p["high"] for p in random]
        band = axis.fill_between(distances, low, high, color="#d8dce0", lw=0)
        (line,) = axis.plot(distances, [p["value"] for p in random], color=MUTED, lw=1.2, ls=(0, (4, 2)))
        handles["disease, random directions"] = (band, line)
        for name, colour in colours.items():
            points = [point["likelihoods"][name] for point in entry["path"]]
            own = name == entry["target"]
            if own:
                axis.fill_between(
                    distances, [p["low"] for p in points], [p["high"] for p in points], color=colour, alpha=0.18, lw=0
                )
            look = {"lw": 2.2, "marker": "o", "ms": 4, "mec": "white"} if own else {"lw": 1.1, "alpha": 0.8}
            axis.plot(distances, [p["value"] for p in points], color=colour, **look)
            handles[name] = Line2D([], [], color=colour)
        axis.set_title(_title(entry), color=INK if entry["found"] else MUTED)
        axis.set_ylim(-0.03, 1.03)
        axis.grid(axis="y")
        if place % 3 == 0:
            axis.set_ylabel("likelihood")
        if place + 3 >= len(axes):
            axis.set_xlabel("distance (standard deviations)")
            axis.tick_params(labelbottom=True)
    figure.legend(list(handles.values()), list(handles), loc="outside lower left", ncols=3)
    save(figure, path)

"""Section "Mask quality": the form of masks that generators draw, and whether they mix them with their images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.leakage import GREY_SHARE
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import read_result
from synthmed.report.section import write_section
from synthmed.report.words import joined, percent, short

STATISTICS = {
    "objects": "objects in a mask",
    "area": "area, share of the image",
    "compactness": "compactness (disc 1)",
    "holes": "holes",
    "roughness": "roughness of the border",
    "empty": "share of empty masks",
    "full": "share of full masks",
}
SETS = {"real": "real, training", "held_out": "real, held out", "generated": "generated"}
CRITERIA = {"grey": "neither in nor out", "texture": "image inside the mask", "overlap": "masks overlap", "any": "any"}


@dataclass(frozen=True)
class MaskQualitySettings:
    """Settings of `section-mask-quality`."""

    generators: Annotated[
        dict[str, str],
        Meta(min_length=1, description="Those that draw masks: name → title, in the order of the files."),
    ]


def _rows(found: Found) -> list[dict]:
    return [
        {
            "keys": (f"{name}/{of}/{statistic}",),
            "generator": title,
            "mask": of,
            "statistic": words,
            **{column: result["classes"][of][statistic][column] for column in (*SETS, "difference")},
        }
        for (name, title), result in zip(found["titles"].items(), found["compared"], strict=True)
        for of in result["classes"]
        for statistic, words in STATISTICS.items()
    ]


def _columns(found: Found) -> list[Column]:
    several = len(found["compared"][0]["classes"]) > 1
    return [
        Column("generator", once="Generator: {}.", group=True),
        Column("mask", page=several),
        Column("statistic", "mean of"),
        *(Column(name, title, interval=True) for name, title in SETS.items()),
        Column("difference", "generated − real", interval=True),
    ]


def _in_short(found: Found) -> list[dict]:
    """Of each generator how many differences from real means have an interval, and of which it leaves out 0."""
    rows = [row for row in _rows(found) if row["difference"].low is not None]
    several = len(found["compared"][0]["classes"]) > 1
    return [
        {
            "title": title,
            "means": len(own),
            "differ": [
                f"{row['mask']}: {row['statistic']}" if several else row["statistic"]
                for row in own
                if not row["difference"].low <= 0 <= row["difference"].high
            ],
        }
        for title in found["titles"].values()
        if (own := [row for row in rows if row["generator"] == title])
    ]


def _leakage_rows(found: Found) -> list[dict]:
    none = dict.fromkeys(CRITERIA, Estimate(0.0)) | {"mean_overlap": 0.0}  # label maps
    rows = [{"keys": ("real",), "images": "real ones", "n": found["compared"][0]["n_real"], **none}]
    single = Estimate.missing("there is one mask only")
    rows += [
        {"keys": (name,), "images": title, "n": result["n_generated"], "overlap": single, **_mixing(result["leakage"])}
        for (name, title), result in zip(found["titles"].items(), found["compared"], strict=True)
        if result["leakage"]
    ]
    for key in ("channels", "textured"):
        told = {row[key] for row in rows[1:]}
        rows[0][key] = told.pop() if len(told) == 1 else None
    return rows if len(rows) > 1 else []


def _mixing(leakage: Mapping) -> dict:
    told = {name: joined(leakage[name]) for name in ("channels", "textured")}
    told |= {"limit": leakage["chance_texture"]["limit"], "mean_overlap": leakage["means"].get("overlap")}
    return {**leakage["rates"], **told}


# ------------------------------------------------------------------------------------------------------------ figures
def _forms(path: Path, found: Found) -> None:
    from synthmed.report.charts.masks import draw_forms

    draw_forms(path, dict(zip(found["titles"].values(), found["compared"], strict=True)), STATISTICS)


def _mixed(path: Path, found: Found) -> str | None:
    from synthmed.report.charts.masks import draw_mixed

    rows = {
        title: (images, result["leakage"]["worst"])
        for title, images, result in zip(found["titles"].values(), found["synthetics"], found["compared"], strict=True)
        if result["leakage"] and result["leakage"]["worst"]
    }
    if not rows:
        return "No sample mixes its image with its masks, by any of the three criteria."
    draw_mixed(path, rows, CRITERIA)
    return None


_SHOWN = 8


def _drawn(path: Path, found: Found) -> None:
    from synthmed.report.charts.masks import draw_predictions

    sets = {"Real, training": found["real"], **dict(zip(found["titles"].values(), found["synthetics"], strict=True))}
    rows = []
    for title, images in sets.items():
        one = ImageSet(images)
        rows.append((title, [pair for _, *pair in one.entries(range(min(_SHOWN, len(one))))]))
    draw_predictions(path, rows, ImageSet(found["real"]).legend)


SECTION = Section(
    link="Mask quality",
    title="Do the masks look like real ones?",
    exhibits=(
        Figure(
            "drawn",
            "The first images of each set with the outlines of their masks; they were not picked. Of masks alone the "
            "image is the mask.",
            _drawn,
        ),
        Figure(
            "forms",
            "Forms of single masks: the share of masks up to each value, of real training images (black), held-out "
            "real ones (grey) and each generator. A line above the black one means smaller values, a steep one masks "
            "that look alike.",
            _forms,
        ),
        Table(
            "statistics",
            "Forms of masks, means with {{ level | confidence }} intervals over patients or samples. Compactness is 4π "
            "· area / perimeter² of the objects, weighted by their area; roughness how much longer the border is than "
            "after smoothing. Compactness and roughness are of masks that are not empty.",
            _rows,
            _columns,
        ),
        Table(
            "leakage",
            "Share of samples that mix their channels, by each criterion, with {{ level | confidence }} intervals. "
            "Channels are taken as the generator draws them, before one label a pixel is chosen. Neither in nor out: "
            "more than {{ '%g' % (100 * grey_share) }} % of the pixels of one. Image inside the mask: above the limit, "
            "which real images have by chance. Masks overlap: more than those of any real image; real masks have one "
            "label a pixel, so that one shared pixel is enough, and the mean overlap (share of the smaller mask) says "
            "how much it is. The 0 of real masks is so by construction.",
            _leakage_rows,
            (
                Column("images"),
                Column("n"),
                Column("channels", once="Channels: {}."),
                Column("textured", once="With the image inside: {}."),
                *(Column(name, title, form=percent, interval=True) for name, title in CRITERIA.items()),
                Column("limit", "limit of the image inside the mask", short),
                Column("mean_overlap", "mean overlap", percent),
            ),
            empty="no generator draws its masks as channels",
        ),
        Figure(
            "mixed",
            "Samples that mix their channels most, with the outlines of their masks after binarisation, and by which "
            "criterion. These were picked for being bad.",
            _mixed,
        ),
    ),
)


@step("section-mask-quality")
def section(
    settings: MaskQualitySettings,
    *,
    compared: list[Path],
    synthetics: list[Path],
    real: Path,
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on generated masks.

    compared: of `compare-masks`, synthetics: the image sets, one for each of settings.generators; real: the training
    images.
    """
    results = [read_result(path) for path in compared]
    found = {
        "titles": settings.generators,
        "compared": results,
        "level": results[0]["level"],
        "synthetics": synthetics,
        "real": real,
        "grey_share": GREY_SHARE,
        "leaking": any(result["leakage"] for result in results),
    }
    found["in_short"] = _in_short(found)
    write_section(section, out, SECTION, found, document=document)

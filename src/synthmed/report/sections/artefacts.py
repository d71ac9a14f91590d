"""Section "Artefacts": what lies on photographs and is no skin, how frequent it is, and what taking it out does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.known import REAL, REAL_TEST
from synthmed.core.settings import Count, Names
from synthmed.core.step import Output, step
from synthmed.data.imageset import NOT_MADE, ImageSet
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import read_result
from synthmed.report.section import write_section
from synthmed.report.words import artefact, percent

OWN = {"train": "real, training", "test": "real, test"}
APART = {"train": "labelled, training", "test": "labelled, test", REAL: "real, training", REAL_TEST: "real, test"}
"""Sets of real images; where the tags of other images are known, these and the experiment's own."""
METHODS = {
    "crop": "full crop",
    "partial_crop": "partial crop",
    "skin_colours": "skin colours",
    "nearest": "nearest neighbour",
    "fsr": "frequency selective reconstruction",
}
"""Ways of taking a frame out (prepare/dermoscopy.py) → words."""


@dataclass(frozen=True)
class ArtefactsSettings:
    """Settings of `section-artefacts`."""

    generators: Annotated[dict[str, str], Meta(description="Name → title of those whose images were tagged.")]
    titles: Annotated[dict[str, str], Meta(description="The same of all generators.")]
    apart: Annotated[bool, Meta(description="Whether the images with known tags are of another data set.")]
    classes: Annotated[Names, Meta(description="Classes, in order.")]
    column: Annotated[str, Meta(description="Column of the real images that names their tags.")]
    examples: Annotated[Count, Meta(description="Images of each tag that are shown.")]


def _tagger_rows(found: Found) -> list[dict]:
    return [{"keys": (tag,), "tag": artefact(tag), **found["tags"]["tagger"][tag]} for tag in found["tags"]["tags"]]


def _training(found: Found) -> str:
    """The set of the experiment's own training images, which a document knows as REAL."""
    return REAL if found["settings"].apart else "train"


def _prevalence_rows(found: Found) -> list[dict]:
    rows = []
    for name, title in found["titles"].items():
        for label in found["settings"].classes:
            known = REAL if name == _training(found) else name
            row = {"keys": (f"{known}/{label}",), "set": title, "label": label}
            of_tag = found["tags"]["sets"][name][label]
            rows.append(row | {tag: entry.get("labelled", entry.get("estimated")) for tag, entry in of_tag.items()})
    return rows


def _removal_rows(found: Found) -> list[dict]:
    return [
        {"keys": (name,), "method": title, **found["removal"]["frames"][name]}
        for name, title in (METHODS.items() if found["removal"] else ())
    ]


def _paint_rows(found: Found) -> list[dict]:
    """By way, a row for the training images without their frames, and one for every generated set."""
    rows = []
    for method, measured in (found["paint"] or {"methods": {}})["methods"].items():
        row = {"method": METHODS[method], "auroc": measured["auroc"]}
        own = {"set": "training images that it changed", "called": measured["seen"], "training": measured["painted"]}
        rows.append({"keys": (f"{method}/train",), **row, **own})
        for name, one in measured["sets"].items():
            learnt = measured["painted"] if one["trained_on"] else None
            of_set = {"set": found["settings"].titles[name], "called": one["called"], "estimated": one["estimated"]}
            rows.append({"keys": (f"{method}/{name}",), **row, **of_set, "training": learnt})
    return rows


def _draw_examples(path: Path, found: Found) -> str | None:
    images, tags = found["images"], found["tags"]["tags"]
    cells = [cell.split(";") for cell in images.column(found["settings"].column)]
    shown = {}
    for tag in tags:
        # Those that have nothing else, before others.
        places = sorted((len(cell), place) for place, cell in enumerate(cells) if tag in cell)
        if places:
            shown[artefact(tag)] = [images[place] for _, place in places[: found["settings"].examples]]
    if not shown:
        return "No training image has an artefact."
    from synthmed.report.charts.pictures import draw_rows

    draw_rows(path, shown)
    return None


def _draw_prevalence(path: Path, found: Found) -> None:
    from synthmed.report.charts.artefacts import draw_prevalence

    draw_prevalence(path, _prevalence_rows(found), {tag: artefact(tag) for tag in found["tags"]["tags"]})


def _draw_removal(path: Path, found: Found) -> str | None:
    if not found["removal"]:
        return "No way of taking artefacts out was tried."
    from synthmed.report.charts.pictures import draw_rows

    titles = {"original": "as it is", "framed": "frame pasted", **METHODS, "hair": "hair and rulers taken out"}
    draw_rows(path, {title: shown for name, title in titles.items() if (shown := _pictures(found, name))})
    return None


def _pictures(found: Found, method: str) -> list:
    """The images after a way, in the order of what they were made from."""
    rows = sorted(enumerate(found["pictures"].rows), key=lambda item: int(item[1]["start"]))
    return [found["pictures"][place] for place, row in rows if row["method"] == method]


def _draw_crops(path: Path, found: Found) -> str | None:
    if not found["removal"]:
        return "No way of taking artefacts out was tried."
    from synthmed.report.charts.pictures import draw_crops

    ways = found["removal"]["frames"]
    sides = {METHODS[name]: way["sides"] for name, way in ways.items() if "sides" in way}
    draw_crops(path, _pictures(found, "framed"), sides)
    return None


SECTION = Section(
    link="Artefacts",
    title="What lies on the photographs",
    exhibits=(
        Figure(
            "frequency",
            "Share of the images of each class that have an artefact: labelled ones as labelled, all others by the "
            "tagger, corrected for its errors. {{ tags.level | confidence }} intervals, over patients.",
            _draw_prevalence,
        ),
        Figure("examples", "Training images with each artefact, those with no other one first.", _draw_examples),
        Table(
            "prevalence",
            "The same in numbers.",
            _prevalence_rows,
            lambda found: [
                Column("set", "images"),
                Column("label", "class"),
                *(Column(tag, artefact(tag), percent, interval=True) for tag in found["tags"]["tags"]),
            ],
        ),
        Table(
            "tagger",
            "How well the tagger sees each artefact on the {{ tags.images }} test images. Where few images have one, "
            "an accuracy would say little.",
            _tagger_rows,
            (
                Column("tag", "artefact"),
                Column("positives", "images with it"),
                Column("precision", interval=True),
                Column("recall", interval=True),
                Column("specificity", interval=True),
                Column("auroc", "AUROC"),
            ),
        ),
        Table(
            "removal",
            "Ways of taking a frame out of the pixels, on {{ removal.images if removal else 0 }} training images "
            "without one, on which one was pasted. Frame left: the share of the pasted pixels that is frame still. "
            "Lesion changed: mean absolute change in the middle of the image where nothing was pasted, of 255. Told "
            "apart: AUROC of a classifier that tells processed images from untouched ones of other patients; 0.5 is "
            "best. Side left: the share of the image's sides that a crop leaves, the mean of those that could be "
            "cropped. How long each takes depends on the machine: `python benchmarks/dermoscopy.py` prints images/s of "
            "every way, beside OpenCV's inpainting.",
            _removal_rows,
            (
                Column("method", "way"),
                Column("left", "frame left", percent, interval=True),
                Column("detail", "lesion changed", interval=True),
                Column("psnr", "PSNR, dB", interval=True),
                Column("ssim", "SSIM", interval=True),
                Column("realism", "told apart"),
                Column("side", "side left", percent),
                Column("refused", "could not be done"),
            ),
            empty="no way of taking artefacts out was tried",
        ),
        Table(
            "paint",
            "Generators that learnt from images whose frames were taken out, and whether that shows in what they draw. "
            "A classifier learnt to tell images without a frame from the same images on which a frame was pasted and "
            "taken out (AUROC out of folds, on other patients); traces: the share of images in which it sees them; "
            "corrected: for its errors on real images. Generators that learnt from other images are the control.",
            _paint_rows,
            (
                Column("method", "way"),
                Column("auroc", "told apart"),
                Column("set", "images"),
                Column("training", "of its training images", percent, interval=True),
                Column("called", "traces", percent, interval=True),
                Column("estimated", "corrected", percent, interval=True),
            ),
            empty="no generator learnt from such images",
        ),
        Figure("crops", "What the crops leave of images on which a frame was pasted.", _draw_crops),
        Figure("ways", "The same images, by every way of taking the frame out, and without hair.", _draw_removal),
    ),
)


@step("section-artefacts")
def section(
    settings: ArtefactsSettings,
    *,
    tags: Path,
    images: Path,
    removal: Path | None,
    pictures: Path | None,
    paint: Path | None,
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on what lies on photographs and is no skin.

    tags: of `measure-tags`; images: the real training images; removal, pictures: of `measure-removal`, where it ran;
    paint: of `measure-paint`, where it did.
    """
    tagged = read_result(tags)
    made = {name: title for name, title in settings.generators.items() if name not in tagged[NOT_MADE]}
    found = {
        "settings": settings,
        "tags": tagged,
        "titles": (APART if settings.apart else OWN) | made,
        "images": ImageSet(images),
        "removal": read_result(removal) if removal else None,
        "pictures": ImageSet(pictures) if pictures else None,
        "paint": read_result(paint) if paint else None,
    }
    found |= _uneven(found)
    write_section(section, out, SECTION, found, document=document)


def _uneven(found: Found) -> dict[str, list[str]]:
    """`uneven`: artefacts whose intervals in two classes of the training images do not overlap; `unknown`: those that
    have an interval in fewer than two classes."""
    of_class = found["tags"]["sets"][_training(found)]
    uneven, unknown = [], []
    for tag in found["tags"]["tags"]:
        ends = [one for entry in of_class.values() for one in entry[tag].values() if one.low is not None]
        if len(ends) < 2:
            unknown.append(artefact(tag))
        elif max(one.low for one in ends) > min(one.high for one in ends):
            uneven.append(artefact(tag))
    return {"uneven": uneven, "unknown": unknown}

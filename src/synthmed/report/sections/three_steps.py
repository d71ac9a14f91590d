"""Section "Three steps": labels for generated images, and where the models of both arms look."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.settings import Count, Seed
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.data.parts import PARTS
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import read_result
from synthmed.report.section import write_section
from synthmed.report.words import signed


@dataclass(frozen=True)
class SectionSettings:
    """Settings of `section-three-steps`."""

    generator: Annotated[str, Meta(description="Whose images replace the real ones, for people.")]
    swap: Annotated[str, Meta(description="Its name, which is that of its arm.")]
    examples: Annotated[Count, Meta(description="Images of each class shown.")]
    seed: Seed


def _label_rows(found: Found) -> list[dict]:
    labelled = found["labelled"]
    return [
        {
            "part": part,
            **{f"real_{name}": labelled["needed"][part][name] for name in labelled["classes"]},
            **{f"generated_{name}": labelled["counts"][part][name] for name in labelled["classes"]},
        }
        for part in PARTS
    ]


def _label_columns(found: Found) -> list[Column]:
    return [
        Column("part"),
        *(Column(f"{kind}_{name}") for name in found["labelled"]["classes"] for kind in ("real", "generated")),
    ]


def _cam_rows(found: Found) -> list[dict]:
    looked = found["looked"]
    return [
        {
            "model": found["arms"][arm],
            "outcome": outcome,
            "images": measured["n"],
            "share_inside": measured["share_inside"],
            "chance": measured["chance"],
            "inside_difference": measured["difference"],
            "empty_maps": measured["empty"],
            "note": "" if looked["boxed"] else f"No {looked['positive']} test image has an annotated box.",
        }
        for arm in found["arms"]
        for outcome, measured in looked["inside"][arm].items()
    ]


def _draw_cams(path: Path, found: Found) -> None:
    from synthmed.report.charts.three_steps import draw_cams

    draw_cams(path, found["looked"], found["maps"], found["test"], found["arms"])


def _draw_examples(path: Path, found: Found) -> None:
    from synthmed.report.charts.three_steps import draw_examples

    settings = found["settings"]
    draw_examples(path, found["synthetic"], found["labelled"], settings.examples, settings.seed)


SECTION = Section(
    link="Labels and maps",
    title="Labels for generated images, and where the classifiers look",
    exhibits=(
        Table(
            "labels",
            "Labelled images of the generator in each part, beside the real ones they replace. An image is "
            "{{ labelled.positive }} above a likelihood of {{ '%g' % labelled.upper }}, and not below "
            "{{ '%g' % labelled.lower }}; the rest is dropped.",
            _label_rows,
            _label_columns,
        ),
        Table(
            "maps",
            "Share of the Grad-CAM map inside the annotated boxes of {{ looked.positive }} real test images, against "
            "the share of the image that the boxes cover, which a map without aim reaches. Empty maps count as that. "
            "Intervals over patients.",
            _cam_rows,
            (
                Column("model", "trained on"),
                Column("outcome"),
                Column("images"),
                Column("share_inside"),
                Column("chance"),
                Column("inside_difference", form=signed, interval=True),
                Column("empty_maps"),
            ),
        ),
        Figure(
            "cams",
            "Grad-CAM of the positive output on real test images that a classifier gets wrong, the most wrong first: "
            "the image with its annotated boxes, the map of the classifier trained on real images, that of the one "
            "trained on synthetic ones. p is the likelihood. Each map is scaled to its own maximum.",
            _draw_cams,
        ),
        Figure(
            "examples",
            "Images of the generator that were labelled, drawn at random, with the likelihood that labelled them.",
            _draw_examples,
        ),
    ),
)


@step("section-three-steps")
def section(
    settings: SectionSettings,
    *,
    pseudo_labels: Path,
    cam: Path,
    maps: Path,
    test: Path,
    synthetic: Path,
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on the three steps.

    pseudo_labels: report of `pseudo-label`, synthetic: its images; cam, maps: of `grad-cam`; test: real test images.
    """
    looked = read_result(cam)
    arms = sorted(looked["inside"], key=lambda arm: arm == settings.swap)
    found = {
        "settings": settings,
        "arms": {arm: "synthetic" if arm == settings.swap else arm for arm in arms},
        "labelled": read_result(pseudo_labels),
        "looked": looked,
        "maps": ImageSet(maps),
        "test": ImageSet(test),
        "synthetic": ImageSet(synthetic),
    }
    write_section(section, out, SECTION, found, document=document)

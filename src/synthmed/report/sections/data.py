"""Section "Data": how the images were divided, and real beside generated ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from synthmed.core.errors import InputError, check_one_each
from synthmed.core.files import read_json
from synthmed.core.settings import Classes, Count, Seed
from synthmed.core.step import Output, step
from synthmed.data.parts import PARTS
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import GeneratorEntry
from synthmed.report.section import write_section


@dataclass(frozen=True)
class DataSettings:
    """Settings of `section-data`."""

    provider: Annotated[
        Literal["phantom", "download", "kaggle", "file", "folder"], Meta(description="Where the images come from.")
    ]
    classes: Classes
    generators: Annotated[dict[str, GeneratorEntry], Meta(description="By name, in the order of the image sets.")]
    pseudo_labelled: Annotated[
        tuple[str, ...], Meta(description="Generators whose images got their label from a classifier.")
    ]
    examples: Annotated[Count, Meta(description="Images a class and row.")]
    seed: Seed


def _columns(found: Found) -> list[Column]:
    return [Column("part"), *map(Column, found["settings"].classes), Column("images"), Column("patients")]


def _rows(found: Found) -> list[dict]:
    report, classes = found["split"], found["settings"].classes
    return [
        {
            "part": part,
            **{label: report["counts"][part].get(label, 0) for label in classes},
            "images": sum(report["counts"][part].values()),
            "patients": report["patients"][part] if found["patients_known"] else None,
        }
        for part in PARTS
    ]


def _draw(path: Path, found: Found) -> None:
    from synthmed.report.charts.quality import draw_samples

    settings = found["settings"]
    titles = [entry.title for entry in settings.generators.values()]
    sets = {"real": found["train"]} | dict(zip(titles, found["synthetics"], strict=True))
    draw_samples(path, sets, settings.classes, count=settings.examples, seed=settings.seed)


SECTION = Section(
    link="Data",
    title="Data",
    exhibits=(
        Table(
            "parts",
            "Images {{ 'and patients ' if patients_known }}in each part. {{ 'No patient is in two parts.' if "
            "patients_known else 'Patients unknown: every image counts as its own patient.' }}",
            _rows,
            _columns,
        ),
        Figure(
            "samples",
            "Real training images and generated ones, drawn at random, not picked.{% if labelled %} The labels of the "
            "images of {{ labelled | joined }} were given by a classifier trained on real images.{% endif %}",
            _draw,
        ),
    ),
)


@step("section-data")
def section(
    settings: DataSettings,
    *,
    split_report: Path,
    train: Path,
    synthetics: list[Path],
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on the data.

    split_report: of `split`; train: real images; synthetics: one image set for each generator.
    """
    check_one_each(settings.generators, synthetics=synthetics)
    for name in settings.pseudo_labelled:
        if name not in settings.generators:
            raise InputError(f"setting pseudo_labelled names {name!r}; the generators are {list(settings.generators)}")
    split = read_json(split_report)
    found = {
        "settings": settings,
        "split": split,
        "patients_known": split["patients_known"],
        "labelled": [settings.generators[name].title for name in settings.pseudo_labelled],
        "train": train,
        "synthetics": synthetics,
    }
    write_section(section, out, SECTION, found, document=None)

"""Section "Slides": where the tiles were taken, and of which slides."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.files import read_csv
from synthmed.core.settings import Classes, Count
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.section import write_section


@dataclass(frozen=True)
class SlidesSettings:
    """Settings of `section-slides`."""

    classes: Classes
    mpp: Annotated[float, Meta(gt=0, description="Micrometres of a pixel of a tile, as asked for.")]
    size: Annotated[tuple[int, int], Meta(description="Height and width of a tile, pixels.")]
    examples: Annotated[Count, Meta(description="Tiles shown beside a slide.")]


def _rows(found: Found) -> list[dict]:
    rows = []
    for source in sorted({row["source"] for row in found["rows"]}):
        own = [row for row in found["rows"] if row["source"] == source]
        counts, levels = Counter(row["label"] for row in own), sorted({row["level"] for row in own})
        rows.append(
            {
                "source": source,
                "slides": len({row["slide"] for row in own}),
                "patients": len({row["patient"] for row in own}),
                **{label: counts[label] for label in found["settings"].classes},
                "levels": ", ".join(levels),
                "mpp": ", ".join(sorted({row["mpp"] for row in own})),
            }
        )
    return rows


def _columns(found: Found) -> list[Column]:
    counts = [Column(label, f"tiles, {label}") for label in found["settings"].classes]
    read = [Column("levels", "level read from"), Column("mpp", "µm per pixel")]
    return [Column("source"), Column("slides"), Column("patients"), *counts, *read]


def _draw(path: Path, found: Found) -> None:
    from synthmed.report.charts.slides import draw_slides

    settings = found["settings"]
    side = settings.size[0] * settings.mpp, settings.size[1] * settings.mpp
    draw_slides(path, found["pictures"], found["tiles"], settings.classes, side, settings.examples)


SECTION = Section(
    link="Slides",
    title="Whole slides and the tiles taken of them",
    exhibits=(
        Figure(
            "slides",
            "Slides drawn at random, with the border of what was found to be tissue, annotated regions and the tiles "
            "that were taken; beside each some of its tiles.",
            _draw,
        ),
        Table("sources", "Slides and tiles by where they come from. Level 0 is the finest.", _rows, _columns),
        Table(
            "rejected",
            "Slides that could not be used, or gave no tile.",
            lambda found: found["rejected"],
            (Column("file", "slide"), Column("reason")),
            empty="every slide was used",
        ),
    ),
)


@step("section-slides")
def section(
    settings: SlidesSettings, *, images: Path, pictures: Path, rejects: Path, section: Output, out: list[Output]
) -> None:
    """The report's section on whole slides.

    images, rejects: of `prepare-slides`; pictures: of `slide-overview`.
    """
    rows = ImageSet(images).rows
    found = {
        "settings": settings,
        "rows": rows,
        "slides": len({row["slide"] for row in rows}),
        "patients": len({row["patient"] for row in rows}),
        "tiles": images,
        "pictures": pictures,
        "rejected": read_csv(rejects),
    }
    write_section(section, out, SECTION, found, document=None)

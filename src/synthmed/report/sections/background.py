"""Section "Background": whether the classes can be told apart without the organ that the task is about."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import check_one_each
from synthmed.core.settings import Classes, Count, Seed
from synthmed.core.step import Output, step
from synthmed.prepare.mask_out import Region
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import read_result
from synthmed.report.section import write_section
from synthmed.report.words import p_value, signed

FINDINGS = {
    "reaches": "as good as whole images",
    "not worse": "not shown to be worse than whole images",
    "less": "above chance, worse than whole images",
    "chance": "not shown to be above chance",
    "neither": "not shown to be above chance, nor are whole images",
}


@dataclass(frozen=True)
class BackgroundSettings:
    """Settings of `section-background`."""

    regions: Annotated[tuple[Region, ...], Meta(description="In the order of the files of `regions`.")]
    cover: Annotated[str, Meta(description="What was covered: mask or box.")]
    organ: Annotated[str, Meta(description="What the masks mark, for people.")]
    classes: Classes
    examples: Annotated[Count, Meta(description="Images of each class shown.")]
    seed: Seed


def titles(organ: str) -> dict[str, str]:
    """Region → its name for people."""
    return {"outside": f"outside of the {organ}", "inside": f"inside of the {organ}"}


def _rows(found: Found) -> list[dict]:
    result, rows = found["found"], []
    for origin in sorted(result["whole"], key=lambda name: name != result["all"]):
        shared = {"origin": origin}
        rows.append({**shared, "region": "whole image", "auroc": result["whole"][origin]})
        for region in found["settings"].regions:
            entry: Mapping = result["regions"][region][origin]
            kept = {name: entry[name] for name in ("auroc", "difference", "p")}
            finding = FINDINGS[entry["finding"]]
            rows.append({**shared, "region": found["titles"][region], **kept, "finding": finding})
    return rows


def _origin_rows(found: Found) -> list[dict]:
    return [
        {"origin": origin, **{label: counts.get(label, 0) for label in found["settings"].classes}}
        for origin, counts in found["found"]["origins"].items()
    ]


def _draw(path: Path, found: Found) -> None:
    from synthmed.report.charts.quality import draw_samples

    settings = found["settings"]
    draw_samples(path, found["sets"], settings.classes, count=settings.examples, seed=settings.seed)


SECTION = Section(
    link="Background",
    title="Is it the {{ organ }}? What a part of the image tells",
    exhibits=(
        Table(
            "regions",
            "AUROC of classifiers that were trained and tested on a part of the image, mean over {{ found.seeds }} "
            "seeds with {{ (1 - found.alpha) | confidence }} interval, against that of whole images. p is not "
            "adjusted. As good as: equivalent within ±{{ '%g' % found.margin }}, better, or no image ranked wrongly.",
            _rows,
            (
                Column("origin", "test images"),
                Column("region", "part of the image"),
                Column("auroc", "AUROC", interval=True),
                Column("difference", "difference from whole images", signed, interval=True),
                Column("p", form=p_value),
                Column("finding"),
            ),
        ),
        Table(
            "origins",
            "Test images by their origin.",
            _origin_rows,
            lambda found: [Column("origin"), *map(Column, found["settings"].classes)],
        ),
        Figure("parts", "Test images, drawn at random, and what was left of them.", _draw),
    ),
)


@step("section-background")
def section(
    settings: BackgroundSettings, *, results: Path, test: Path, regions: list[Path], section: Output, out: list[Output]
) -> None:
    """The report's section on what the background tells.

    results: of `compare-regions`; test: the real test images; regions: what is left of them, in settings' order.
    """
    check_one_each(settings.regions, regions=regions)
    named = titles(settings.organ)
    found = {
        "settings": settings,
        "found": read_result(results),
        "organ": settings.organ,
        "cover": settings.cover,
        "titles": named,
        "sets": {"whole image": test}
        | {named[name]: path for name, path in zip(settings.regions, regions, strict=True)},
    }
    write_section(section, out, SECTION, found, document=None)

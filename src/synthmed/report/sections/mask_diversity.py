"""Section "One mask, many images": mode collapse, and what makes images of one mask differ."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import check_one_each
from synthmed.core.step import Output, step
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import GeneratorEntry, read_result
from synthmed.report.section import write_section
from synthmed.report.words import short

SOURCES = {"channel": "noise", "dropout": "dropout", "both": "both"}
"""What varies → in words."""
MEASURES = ("deviation", "ms_ssim", "lpips")


@dataclass(frozen=True)
class MaskDiversitySettings:
    """Settings of `section-mask-diversity`."""

    generators: Annotated[dict[str, GeneratorEntry], Meta(description="In the order of `diversity`.")]


def _results(found: Found) -> list[tuple[str, GeneratorEntry, dict]]:
    return list(zip(found["generators"], found["generators"].values(), found["diversity"], strict=True))


def _rows(found: Found) -> list[dict]:
    rows = []
    for name, entry, result in _results(found):
        about = {
            "generator": entry.title,
            "discriminator": result["config"].get("discriminator"),
            "l1_weight": result["config"].get("l1_weight"),
            "masks": result["masks"],
            "samples": result["samples"],
        }
        for source, words in SOURCES.items():
            measured = result["sources"][source]
            rows.append(
                {
                    "keys": tuple(f"{key}/{source}" for key in (name, *entry.keys)),
                    **about,
                    "varies": words,
                    **measured,
                    **{f"real_{measure}": result["real"][measure].value for measure in MEASURES},
                    **({"sensitivity": result["sensitivity"]} if source == "channel" else {}),
                }
            )
    return rows


def _in_short(found: Found) -> list[str]:
    """Of each generator how much images of one mask differ, as shares of what real images of different masks do."""
    said = []
    for _, entry, result in _results(found):
        real = result["real"]["deviation"].value
        of = {words: result["sources"][source]["deviation"].value for source, words in SOURCES.items()}
        shares = [f"{short(value / real)} by {words}" for words, value in of.items() if real and value is not None]
        said += [f"{entry.title}: {', '.join(shares)}"] if shares else []
    return said


def _draw_samples(path: Path, found: Found) -> None:
    from synthmed.report.charts.mask_diversity import draw_samples

    draw_samples(path, found["pictures"], SOURCES)


def _draw_measures(path: Path, found: Found) -> None:
    from synthmed.report.charts.mask_diversity import draw_measures

    draw_measures(path, [(entry.title, result) for _, entry, result in _results(found)], SOURCES)


SECTION = Section(
    link="One mask, many images",
    title="Does one mask give different images?",
    exhibits=(
        Figure(
            "samples",
            "Real image, its mask, and images that were painted for this mask: of other noise beside it, of other "
            "dropout, of both. “Has none”: the generator has no noise beside the mask, or no dropout, so that nothing "
            "can vary in this way.",
            _draw_samples,
        ),
        Figure(
            "measures",
            "How different images of one mask are, by what varies between them, with {{ level | confidence }} "
            "intervals over patients. Dashed: the same between real images of different masks.",
            _draw_measures,
        ),
        Table(
            "diversity",
            "Images of one mask, by what varies between them: standard deviation of a pixel in grey levels, mean "
            "MS-SSIM of pairs (1: all are equal){{ ', mean LPIPS of pairs' if lpips }}; below them the same between "
            "real images of different masks. Sensitivity: root mean square change of an image, in its range, per "
            "standard deviation of small noise that is added to the noise beside the mask.",
            _rows,
            (
                Column("generator"),
                Column("discriminator", "discriminator judges", once="All discriminators judge: {}."),
                Column("l1_weight", "L1 weight", once="L1 weight {}."),
                Column("varies"),
                Column("masks", once="Masks: {}."),
                Column("samples", "images of a mask", once="Images of each mask: {}."),
                Column("deviation", interval=True, below=(("real", "real_deviation"),)),
                Column("ms_ssim", "MS-SSIM", interval=True, below=(("real", "real_ms_ssim"),)),
                Column("lpips", "LPIPS", interval=True, below=(("real", "real_lpips"),)),
                Column("sensitivity", interval=True),
                *(Column(f"real_{measure}", page=False) for measure in MEASURES),
            ),
        ),
    ),
)


@step("section-mask-diversity")
def section(
    settings: MaskDiversitySettings,
    *,
    diversity: list[Path],
    pictures: list[Path],
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on images of one mask. diversity, pictures: of `mask-diversity`, in the settings' order."""
    check_one_each(settings.generators, diversity=diversity, pictures=pictures)
    found = {
        "generators": settings.generators,
        "diversity": [read_result(path) for path in diversity],
        "pictures": [
            (entry.title, dict(np.load(path)))
            for entry, path in zip(settings.generators.values(), pictures, strict=True)
        ],
    }
    found["in_short"] = _in_short(found)
    found["part"] = {"train": "training", "test": "test"}[found["diversity"][0]["part"]]
    found["lpips"] = any(one["real"]["lpips"].value is not None for one in found["diversity"])
    found["level"] = found["diversity"][0]["level"]
    write_section(section, out, SECTION, found, document=document)

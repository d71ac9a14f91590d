"""Section "True to the mask": do painted images follow masks that were seen, and new ones (seed 001, section 4.5)?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import check_one_each
from synthmed.core.files import read_json
from synthmed.core.step import Output, step
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import read_result
from synthmed.report.section import write_section
from synthmed.report.words import p_value, signed

PARTS = {"train": "seen in training", "test": "new"}


@dataclass(frozen=True)
class MaskAgreementSettings:
    """Settings of `section-mask-agreement`."""

    generators: Annotated[dict[str, str], Meta(description="Name → title, in the order of the files of `agreement`.")]


def _rows(found: Found) -> list[dict]:
    rows = []
    for (name, title), result in zip(found["generators"].items(), found["agreement"], strict=True):
        row = {"keys": (name,), "generator": title, "difference": result["difference"], "p": result["p"]}
        for part in PARTS:
            row |= {f"{part}_{key}": result[part][key] for key in ("masks", "painted", "real")}
        rows.append(row)
    return rows


def _draw(path: Path, found: Found) -> None:
    from synthmed.report.charts.mask_agreement import draw_agreement

    draw_agreement(path, found["pictures"], PARTS)


SECTION = Section(
    link="True to the mask",
    title="Do painted images follow their masks?",
    exhibits=(
        Table(
            "agreement",
            "IoU between the mask that an image was painted for and what a segmenter of other photographs draws on it, "
            "means over patients and {{ seeds }} trainings of the segmenter, with {{ level | confidence }} intervals; "
            "below, the same on the real images of these masks. Difference: painted, new masks − masks seen; p is not "
            "adjusted.",
            _rows,
            (
                Column("generator"),
                Column("train_masks", "masks seen", once="Masks of training images: {}."),
                Column("test_masks", "new masks", once="New masks: {}."),
                Column("train_painted", "masks seen in training", interval=True, below=(("real", "train_real"),)),
                Column("test_painted", "new masks", interval=True, below=(("real", "test_real"),)),
                Column("difference", form=signed, interval=True),
                Column("p", form=p_value),
                Column("train_real", page=False, interval=True),
                Column("test_real", page=False, interval=True),
            ),
        ),
        Figure(
            "painted",
            "Masks of training images (left) and new ones (right): the real image, and what each generator paints for "
            "its mask. Yellow: the mask; blue: what the segmenter draws.",
            _draw,
        ),
    ),
)


@step("section-mask-agreement")
def section(
    settings: MaskAgreementSettings,
    *,
    agreement: list[Path],
    pictures: list[Path],
    others: Path,
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on whether painted images follow their masks.

    agreement, pictures: of `mask-agreement`, in the settings' order; others: report of the split of the judge's images.
    """
    check_one_each(settings.generators, agreement=agreement, pictures=pictures)
    results = [read_result(path) for path in agreement]
    found = {
        "generators": settings.generators,
        "agreement": results,
        "seeds": results[0]["seeds"],
        "level": results[0]["level"],
        "others": sum(read_json(others)["counts"]["train"].values()),
        "pictures": {
            title: dict(np.load(path)) for title, path in zip(settings.generators.values(), pictures, strict=True)
        },
    }
    write_section(section, out, SECTION, found, document=document)

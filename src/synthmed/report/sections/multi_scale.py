"""Section "Several sizes": segmenters at several sizes, alone and joined by a last network (seed 000, chapter 2)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import check_one_each
from synthmed.core.files import read_json
from synthmed.core.known import REAL, SECOND, SMALL, TEST
from synthmed.core.settings import Count
from synthmed.core.step import Output, step
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import behind, read_result
from synthmed.report.section import write_section
from synthmed.report.tables import against_rows, outcome_columns, second_test_rows, verdict_columns, versus_cells
from synthmed.report.words import p_value, signed, sizes_of_masks

MEASURES = ("iou", "thresholded_jaccard")
FORMS = {"holes": "holes a mask", "roughness": "roughness of the border", "area": "area"}

_SIZE = Column("size", once="Size {}.", group=True)


@dataclass(frozen=True)
class MultiScaleSectionSettings:
    """Settings of `section-multi-scale`."""

    sizes: Annotated[
        tuple[tuple[Count, Count], ...], Meta(min_length=1, description="Height and width, in the order of `verdicts`.")
    ]
    arms: Annotated[tuple[str, ...], Meta(description="Ways of joining the maps, in the order they are shown.")]
    folds: Annotated[Count, Meta(description="Of the training images, for maps out of fold.")]


def spoken(size: tuple[int, int]) -> str:
    """`192×256`, height first."""
    return f"{size[0]}×{size[1]}"


def _jaccard_rows(found: Found) -> list[dict]:
    rows = []
    for place, (size, task) in enumerate(found["tasks"].items(), start=1):
        for name in found["arms"]:
            arm = task["arms"][name]
            outcomes = arm["tests"][TEST]["outcomes"]
            own = arm["tests"].get(SMALL, arm["tests"][TEST])["outcomes"]
            row = {"keys": (f"scale_{place}/{name}",), "size": size, "segmenter": arm["title"]}
            row |= {f"own_{key}": own[key] for key in MEASURES} | {key: outcomes[key] for key in task["outcomes"]}
            if versus := arm["versus_reference"]:
                row |= versus_cells(task, versus)
            rows.append(row)
    return rows


def _jaccard_columns(found: Found) -> list[Column]:
    task = next(iter(found["tasks"].values()))
    titles = {name: entry["title"] for name, entry in task["outcomes"].items()}
    return [
        _SIZE,
        Column("segmenter"),
        *(Column(name, f"{titles[name]}, at {found['masks_at']}", interval=True) for name in MEASURES),
        *(Column(f"own_{name}", f"{titles[name]}, own size", interval=True) for name in MEASURES),
        *verdict_columns(task, f"difference of {titles[task['outcome']]}"),
        *(Column(name, titles[name], interval=True, page=False) for name in titles if name not in MEASURES),
    ]


def _beyond_rows(found: Found) -> list[dict]:
    return [{"size": size, **row} for size, task in found["tasks"].items() for row in against_rows(task, "segmenter")]


def _beyond_columns(found: Found) -> list[Column]:
    task = next(iter(found["tasks"].values()))
    difference = f"difference of {task['outcomes'][task['outcome']]['title']}"
    return [_SIZE, Column("segmenter"), Column("placebo", "beyond"), *verdict_columns(task, difference)]


def _second_rows(found: Found) -> list[dict]:
    return [
        {"size": size, **row, "keys": (f"scale_{place}/{row['keys'][0]}", *row["keys"])}
        for place, (size, task) in enumerate(found["tasks"].items(), start=1)
        for row in second_test_rows(task, found["arms"], "segmenter")
    ]


def _second_columns(found: Found) -> list[Column]:
    return [_SIZE, Column("segmenter"), *outcome_columns(next(iter(found["tasks"].values())), MEASURES)]


def _form_rows(found: Found) -> list[dict]:
    forms = found["forms"]
    rows = [{"segmenter": "experts' masks", **forms["truth"]}]
    for name in found["examples"]["names"].tolist():
        values = forms["segmenters"][name]
        kind, _, scale = name.partition("_")
        words = {"alone": "network of this size alone", "joined": "last network at this size"}[kind]
        row = {"segmenter": f"{scale.replace('x', '×')}, {words}", **values}
        for form, entry in forms["differences"].get(name, {}).items():
            row |= {f"{form}_difference": entry["difference"], f"{form}_p": entry["p"]}
        rows.append(row)
    return rows


def _form_columns(found: Found) -> list[Column]:
    columns = [Column("segmenter")]
    for name, words in FORMS.items():
        page = name != "area"
        columns += [
            Column(name, words, interval=True, page=page),
            Column(f"{name}_difference", "difference", signed, interval=True, page=page),
            Column(f"{name}_p", "p", p_value, page=page),
        ]
    return columns


def _draw_pipeline(path: Path, found: Found) -> None:
    from synthmed.report.charts.multi_scale import draw_pipeline

    draw_pipeline(path, list(found["tasks"]), found["network"]["architecture"])


def _draw_examples(path: Path, found: Found) -> None:
    from synthmed.report.charts.multi_scale import draw_examples

    draw_examples(path, found["examples"])


SECTION = Section(
    link="Several sizes",
    title="Does a segmenter gain from the drawings of others at several sizes?",
    exhibits=(
        Figure(
            "pipeline",
            "Networks at {{ tasks | length }} sizes draw the lesion; their soft maps, brought to one size, stand "
            "behind the channels of the image for a last network. The first networks stay as they are.",
            _draw_pipeline,
        ),
        Table(
            "jaccard",
            "Means over the patients of the test part and {{ seeds }} trainings, with {{ (1 - alpha) | confidence }} "
            "intervals; thresholded: an IoU below 0.65 counts as 0. The difference is that from the network of the "
            "same size alone, tested over images and trainings at once. Only at the size of the masks, {{ masks_at }}, "
            "can sizes be compared.",
            _jaccard_rows,
            _jaccard_columns,
        ),
        Table(
            "beyond",
            "What the maps add beyond constant ones: differences between the two, on the same images and trainings. p "
            "is adjusted within a size (Holm), where one difference is tested, and not over the sizes.",
            _beyond_rows,
            _beyond_columns,
        ),
        Table(
            "second",
            "The same networks on a second test: {{ second.images | counted('image', 'images') }} of {{ second.source "
            "}}, at the size of the masks, {{ masks_at }}. Nothing is decided on it.",
            _second_rows,
            _second_columns,
            empty="the settings name no second test",
        ),
        Figure(
            "examples",
            "The first test images, first training: the photograph with the expert's outline; the maps of the first "
            "networks as red, green and blue; what the last network at the largest size draws; what the first networks "
            "draw, from the smallest to the largest.",
            _draw_examples,
        ),
        Table(
            "forms",
            "Form of what is drawn on the test images, all enlarged to {{ forms_at }} pixels, means over patients and "
            "trainings: holes inside of a mask; how much longer its border is than after smoothing. Differences are "
            "from {{ first }}, their p is not adjusted.{% if left_out %} {{ left_out | counted('image is', 'images "
            "are') }} left out, where a mask is empty.{% endif %}",
            _form_rows,
            _form_columns,
        ),
    ),
)


@step("section-multi-scale")
def section(
    settings: MultiScaleSectionSettings,
    *,
    verdicts: list[Path],
    summaries: list[Path],
    forms: Path,
    examples: Path,
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on segmenters at several sizes.

    verdicts, summaries: of each of settings.sizes; forms, examples: of `scale-forms`.
    """
    check_one_each(settings.sizes, verdicts=verdicts, summaries=summaries)
    tasks = {spoken(size): read_result(path) for size, path in zip(settings.sizes, verdicts, strict=True)}
    alone = [read_json(path) for path in summaries]
    formed, arrays = read_result(forms), dict(np.load(examples))
    one = next(iter(tasks.values()))
    found = {
        "tasks": tasks,
        "arms": (REAL, *settings.arms),
        "behind": {
            size: behind(task["arms"], one["trainings"]) for (size, task), one in zip(tasks.items(), alone, strict=True)
        },
        "folds": settings.folds,
        "seeds": one["seeds"],
        "alpha": one["alpha"],
        "rule": one["rule"],
        "network": alone[0],
        "masks_at": sizes_of_masks(alone[0]["sizes"]),
        "second": {"source": alone[0]["second_test"], "images": one["images"].get(SECOND, 0)},
        "forms": formed,
        "first": _form_rows({"forms": formed, "examples": arrays})[1]["segmenter"],
        "left_out": formed["left_out"],
        "forms_at": spoken(arrays["truth"].shape[1:]),
        "examples": arrays,
    }
    write_section(section, out, SECTION, found, document=document)

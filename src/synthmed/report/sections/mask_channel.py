"""Section "Mask as a channel": does the mask that a segmenter draws help a classifier (seed 000, section 2.5)?"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import check_one_each
from synthmed.core.files import read_json
from synthmed.core.known import REAL, SECOND, TEST
from synthmed.core.settings import Count
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import read_result
from synthmed.report.section import write_section
from synthmed.report.tables import against_rows, outcome_columns, second_test_rows, verdict_columns, versus_cells
from synthmed.report.words import decimals

OVERLAP, TRUE_MASKS, WITH_MASK = "overlap", "overlap_true_masks", "soft"
"""Names in the scores (evaluation/score_variants.py)."""

_GIVEN = Column("given", "the classifier is given")


@dataclass(frozen=True)
class MaskChannelSectionSettings:
    """Settings of `section-mask-channel`."""

    variants: Annotated[tuple[str, ...], Meta(description="Arms with a further channel, in the order of `variants`.")]
    examples: Annotated[Count, Meta(description="Test images that are shown.")]


def _rows(found: Found) -> list[dict]:
    task, rows = found["task"], []
    for name in found["arms"]:
        arm = task["arms"][name]
        row = {"keys": (name,), "given": arm["title"], **arm["tests"][TEST]["outcomes"]}
        if versus := arm["versus_reference"]:
            row |= versus_cells(task, versus)
        rows.append(row)
    return rows


def _columns(found: Found) -> list[Column]:
    task = found["task"]
    titles = {name: entry["title"] for name, entry in task["outcomes"].items()}
    decides = task["outcome"]
    return [
        _GIVEN,
        Column(decides, titles[decides], interval=True),
        *verdict_columns(task, f"{_difference(task)} from the image alone"),
        *(
            Column(name, f"{title} ({task['positive']})" if name in ("auroc", "auprc") else title, interval=True)
            for name, title in titles.items()
            if name in ("accuracy", "auroc") and name != decides
        ),
        *(
            Column(name, title, interval=True, page=False)
            for name, title in titles.items()
            if name not in ("accuracy", "auroc", decides)
        ),
    ]


def _difference(task: Mapping) -> str:
    title = task["outcomes"][task["outcome"]]["title"]
    return f"difference of {title[0].lower()}{title[1:]}"


def _recall_rows(found: Found) -> list[dict]:
    arms = [found["task"]["arms"][name] for name in found["arms"]]
    return [{"given": arm["title"], **arm["tests"][TEST]["recall"]} for arm in arms]


def _confusion_rows(found: Found) -> list[dict]:
    task = found["task"]
    matrix = task["arms"][WITH_MASK]["tests"][TEST]["confusion"]
    return [
        {"truth": name, **dict(zip(task["classes"], row, strict=True))}
        for name, row in zip(task["classes"], matrix, strict=True)
    ]


def _overlap_rows(found: Found) -> list[dict]:
    tests, task = found["task"]["arms"][WITH_MASK]["tests"], found["task"]
    words = {OVERLAP: "the mask that is predicted", TRUE_MASKS: "the expert's mask"}
    return [
        {"given": words[test], **{name: tests[test]["outcomes"][name] for name in (task["outcome"], "accuracy")}}
        for test in words
        if test in tests
    ]


def _count_rows(found: Found) -> list[dict]:
    images, test = found["summary"]["images"], ImageSet(found["test"]).column("label")
    return [
        {
            "class": name,
            **{part: images[part]["positives"][name] for part in ("train", "validation")},
            "test": test.count(name),
        }
        for name in found["task"]["classes"]
    ]


def _draw_examples(path: Path, found: Found) -> None:
    from synthmed.report.charts.multi_scale import draw_channels

    opened = {title: ImageSet(file) for title, file in found["variants"].items()}
    test = ImageSet(found["test"])
    labels = test.column("label")
    # One of each class in turn, the first of its class that is left.
    places = sorted(range(len(labels)), key=lambda place: (labels[:place].count(labels[place]), place))
    chosen = places[: found["settings"].examples]
    rows = [
        (labels[place], test[place], {title: one[place][..., -1] for title, one in opened.items()}) for place in chosen
    ]
    draw_channels(path, rows)


def _draw_pipeline(path: Path, found: Found) -> None:
    from synthmed.report.charts.multi_scale import draw_diagnosis

    draw_diagnosis(path, found["summary"]["architecture"].replace("_", " "), found["task"]["classes"])


SECTION = Section(
    link="Mask as a channel",
    title="Does the mask that is drawn help the diagnosis?",
    exhibits=(
        Figure(
            "pipeline",
            "The segmenters of the last section draw a mask of each image; it stands behind the channels of the image "
            "for a classifier of {{ task.classes | length }} kinds of lesions.",
            _draw_pipeline,
        ),
        Table(
            "diagnosis",
            "{{ task.outcomes[task.outcome].title }} of {{ task.classes | length }} classes on the test images, means "
            "over {{ task.seeds }} trainings, with {{ (1 - task.alpha) | confidence }} intervals over trainings "
            "and lesions.",
            _rows,
            _columns,
        ),
        Table(
            "beyond",
            "What the mask adds beyond a channel that tells nothing about the lesion: differences between the same "
            "classifiers, on the same images and trainings. p is adjusted for the number of placebos (Holm).",
            lambda found: against_rows(found["task"], "given"),
            lambda found: [
                _GIVEN,
                Column("placebo", "beyond"),
                *verdict_columns(found["task"], _difference(found["task"])),
            ],
        ),
        Table(
            "recall",
            "Share of the test images of each class that are called so (recall), means over the trainings.",
            _recall_rows,
            lambda found: [Column("given", "given"), *(Column(one, interval=True) for one in found["task"]["classes"])],
        ),
        Table(
            "confusion",
            "Confusion matrix of the classifier with the soft mask: test images by what they are (rows) and what they "
            "are called (columns), mean over the trainings.",
            _confusion_rows,
            lambda found: [Column("truth"), *(Column(one, form=decimals) for one in found["task"]["classes"])],
        ),
        Table(
            "second",
            "The same classifiers on a second test: {{ second.images | counted('image', 'images') }} of {{ "
            "second.source }}. Nothing is decided on it.",
            lambda found: second_test_rows(found["task"], found["arms"], "given"),
            lambda found: [_GIVEN, *outcome_columns(found["task"], (found["task"]["outcome"], "accuracy"))],
            empty="the settings name no second test",
        ),
        Table(
            "overlap",
            "Quality of the mask: the classifier that was trained with the soft mask, on those test images of which an "
            "expert's mask is there ({{ summary.overlap }}), given the one or the other.",
            _overlap_rows,
            lambda found: [
                Column("given", "given"),
                Column(
                    found["task"]["outcome"],
                    found["task"]["outcomes"][found["task"]["outcome"]]["title"],
                    interval=True,
                ),
                Column("accuracy", interval=True),
            ],
            empty="no test image of the diagnosis is among the test images of the segmenter, so that no expert's mask "
            "is there",
        ),
        Table(
            "counts",
            "Images of each class. {{ dropped | counted('image of the test part was', 'images of the test part were') "
            "}} dropped, because the segmenters were trained or chosen with {{ 'it' if dropped == 1 else 'them' }}.",
            _count_rows,
            (Column("class"), Column("train", "training"), Column("validation"), Column("test")),
        ),
        Figure(
            "channels",
            "Test images, the first ones of each class, and the channel that is given beside them.",
            _draw_examples,
        ),
    ),
)


@step("section-mask-channel")
def section(
    settings: MaskChannelSectionSettings,
    *,
    verdicts: Path,
    summary: Path,
    unseen: Path,
    test: Path,
    variants: list[Path],
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on masks as a channel of a classifier.

    verdicts: of `compare`; summary: of `score-variants`; unseen: the report of `drop-known`; test: the test images;
    variants: the same with a further channel, in the order of settings.variants.
    """
    check_one_each(settings.variants, variants=variants)
    task, about = read_result(verdicts), read_json(summary)
    found = {
        "settings": settings,
        "task": task,
        "arms": (REAL, *settings.variants),
        "summary": about,
        "second": {"source": about["second_test"], "images": task["images"].get(SECOND, 0)},
        "dropped": len(read_json(unseen)["dropped"]),
        "test": test,
        "parameters": np.unique(list(about["parameters"].values())).tolist(),
        "variants": {task["arms"][name]["title"]: path for name, path in zip(settings.variants, variants, strict=True)},
    }
    write_section(section, out, SECTION, found, document=document)

"""Section "Masks", one for each task of segmentation: what the segmenters draw, by measure and by class."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.files import read_json
from synthmed.core.known import REAL, SECOND, SMALL, TEST
from synthmed.core.settings import Count
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.metrics.effects import real_agreement
from synthmed.metrics.estimate import Estimate
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import Generators, behind, by_class, of_all, read_task, sizes_of_tests
from synthmed.report.section import write_section
from synthmed.report.sections.answer import keys_of
from synthmed.report.words import signed

ON_PAGE = (
    "iou",
    "foreground_iou",
    "dice",
    "pixel_accuracy",
    "false_positive_pixels",
    "false_negative_pixels",
    "hd95",
    "object_f1",
    "aji",
)

SHARES = {
    "false_positive_pixels": "false_positive_share",
    "false_negative_pixels": "false_negative_share",
}
"""What stands below a count of pixels: its share of the image."""


@dataclass(frozen=True)
class SegmentationSettings:
    """Settings of `section-segmentation`."""

    tasks: Annotated[Count, Meta(description="How many the experiment has.")]
    generators: Generators
    classes: Annotated[tuple[str, ...], Meta(min_length=1, description="Names of the classes of the masks, in order.")]


def _measures(found: Found) -> list[str]:
    """Outcomes of a mask, whichever its class."""
    classes = found["settings"].classes
    return [name for name in found["task"]["outcomes"] if not any(name.endswith(f"_{one}") for one in classes)]


def _of_class(found: Found, outcomes: Mapping, name: str | None) -> dict:
    """The measures of one class, None for their mean over the classes."""
    return {one: outcomes.get(one if name is None else f"{one}_{name}") for one in _measures(found)}


def _each(found: Found) -> list[str | None]:
    """The classes that have rows of their own, and None for all of them."""
    classes = found["settings"].classes
    return [*(classes if len(classes) > 1 else ()), None]


def _called(found: Found, name: str | None) -> str:
    """A class in words, None: all of them."""
    classes = found["settings"].classes
    return name or ("mean" if len(classes) > 1 else classes[0])


def _difference(task: Mapping, arm: Mapping, test: str, name: str | None) -> Estimate | None:
    """Of what decides, from the reference arm on one test; name: the class that it is of, None: all of them."""
    versus = arm["versus_reference"] or {"elsewhere": {}}
    tested = versus if test == TEST else versus["elsewhere"].get(test)
    of_class = by_class(task).get(name, task["outcome"])
    return tested["outcomes"][of_class]["difference"] if tested and "outcomes" in tested else None


def _mask_rows(found: Found) -> list[dict]:
    task, rows = found["task"], []
    for arm in task["arms"].values():
        # A document's numbers are of the main test at the size of its network.
        theirs = SMALL if SMALL in arm["tests"] else TEST
        for test in [test for test in (TEST, SMALL, SECOND) if test in arm["tests"]]:
            outcomes = arm["tests"][test]["outcomes"]
            keys = keys_of(arm, test)[: None if test == theirs else 1]
            for name in _each(found):
                of = _called(found, name)
                rows.append(
                    {
                        "keys": tuple(f"{key}/{of}" for key in keys) + keys,
                        "arm": arm["title"],
                        "test": found["second"] if test == SECOND else "test",
                        "size": found["sizes"][test],
                        "mask": of,
                        "difference": _difference(task, arm, test, name),
                        **_of_class(found, outcomes, name),
                    }
                )
    return rows


def _outcome_columns(found: Found) -> list[Column]:
    outcomes = found["task"]["outcomes"]
    return [
        Column(
            name,
            outcomes[name]["title"],
            interval=True,
            below=(("share", SHARES[name]),) if name in SHARES else (),
            page=name in ON_PAGE,
        )
        for name in _measures(found)
    ]


def _mask_columns(found: Found) -> list[Column]:
    several = len(found["settings"].classes) > 1
    sizes = len(set(found["sizes"].values())) > 1
    return [
        Column("arm", "training set", group=True, once="{}"),
        Column("test", "test images", page=found["second"] is not None),
        Column("size", "measured at", page=sizes),
        Column("mask", page=several),
        Column("difference", "difference from real", signed, interval=True),
        *_outcome_columns(found),
    ]


def _agreement_rows(found: Found) -> list[dict]:
    tests = found["task"]["arms"][REAL]["tests"]
    sets = {name: entry.title for name, entry in found["settings"].generators.items()} | {"oracle": "true images"}
    shown = {TEST: ("real test images", real_agreement(tests))}
    shown |= {name: (title, tests[name]) for name, title in sets.items() if name in tests}
    return [
        {
            "keys": (f"{name}/{_called(found, of)}", *((name,) if of is None else ())),
            "set": title,
            "mask": _called(found, of),
            **_of_class(found, tested["outcomes"], of),
        }
        for name, (title, tested) in shown.items()
        for of in _each(found)
        if len(shown) > 1
    ]


def _agreement_columns(found: Found) -> list[Column]:
    several = len(found["settings"].classes) > 1
    return [Column("set", "images of"), Column("mask", page=several), *_outcome_columns(found)]


# ------------------------------------------------------------------------------------------------------------ figures
def _predictions(path: Path, found: Found) -> str | None:
    from synthmed.report.charts.masks import draw_predictions

    drawn, test = ImageSet(found["predictions"]), ImageSet(found["test"])
    origins = list(dict.fromkeys(drawn.column("origin")))
    names = test.column("image")
    truth = [entry[1:] for entry in test.entries([names.index(name) for name in origins])]
    rows = [("Truth", truth)]
    for arm in found["task"]["arms"].values():
        if arm["kind"] != "sweep":
            own = [number for number, row in enumerate(drawn.rows) if row["arm"] == arm["name"]]
            by_origin = {fields["origin"]: pair for fields, *pair in drawn.entries(own)}
            rows.append((arm["title"], [by_origin[name] for name in origins]))
    draw_predictions(path, rows, test.legend)
    return None


def _trainings(path: Path, found: Found) -> str | None:
    from synthmed.report.charts.masks import draw_trainings

    arms, chosen = found["task"]["arms"], found["chosen"]
    shown = {arms[name]["title"]: chosen["trainings"][name] for name in _with_trainings_shown(arms)}
    draw_trainings(path, shown, chosen["checked_by"])
    return None


def _with_trainings_shown(arms: Mapping) -> list[str]:
    """The real training set and those with the first two generators."""
    return [REAL, *[name for name, arm in arms.items() if arm["kind"] == "generator"][:2]]


SECTION = Section(
    link="Masks{{ '' if tasks == 1 else ': ' ~ task.title }}",
    title="What the segmenter draws{{ '' if tasks == 1 else ': ' ~ task.title }}",
    each_task=True,
    exhibits=(
        Figure(
            "predictions",
            "The first test images with the outlines of their masks, and of what the first training of each training "
            "set draws on them; they were not picked.",
            _predictions,
        ),
        Table(
            "masks",
            "How well the masks of the test images are drawn: means over patients and {{ task.seeds }} trainings, with "
            "{{ (1 - task.alpha) | confidence }} intervals.{% if second %} On the second test, {{ second }}, nothing "
            "is decided.{% endif %} Difference from real: of {{ decides | join('; ') }}, from the segmenter of the "
            "real images alone{{ '; words are given at ' ~ sizes.test ~ ' pixels only' if small }}. Pixels are those "
            "of the size that is measured at, and cannot be compared between sizes; below them their share of the "
            "image, which can.{% if settings.classes | length > 1 %} Mean: of the classes{% if of_all %}; "
            "{{ of_all | joined }} of all of them together{% endif %}.{% endif %}",
            _mask_rows,
            _mask_columns,
        ),
        Table(
            "agreement",
            "Mask–image agreement: what the segmenter trained on real images draws on the images of each set, against "
            "the set's own masks, all at {{ sizes.test_small }} pixels. Images that do not follow their masks lie "
            "below the real test images.",
            _agreement_rows,
            _agreement_columns,
            empty="there are no synthetic images in this task",
        ),
        Figure(
            "trainings",
            "Trainings of {{ with_trainings }} of the {{ task.arms | length }} training sets, real ones and the first "
            "two generators: loss and {{ chosen.checked_by }} by step, of training images (solid; in training, with "
            "dropout and augmentation where there is any) and validation images (dashed). A line a seed; dots: the "
            "weights that are used.",
            _trainings,
        ),
    ),
)


@step("section-segmentation")
def section(
    settings: SegmentationSettings,
    *,
    verdicts: Path,
    summary: Path,
    predictions: Path,
    test: Path,
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on what the segmenters of a task draw.

    verdicts, summary, predictions: of the task; test: the real test images.
    """
    chosen = read_json(summary)
    task = read_task(verdicts, settings.generators)
    found = {
        "settings": settings,
        "tasks": settings.tasks,
        "task": task,
        "chosen": chosen,
        "behind": behind(task["arms"], chosen["trainings"]),
        "sizes": sizes_of_tests(chosen),
        "images": task["images"][TEST],
        "of_all": of_all(task),
        "small": SMALL in task["arms"][REAL]["tests"],
        "decides": [task["outcomes"][name]["title"] for name in (task["outcome"], *by_class(task).values())],
        "second": chosen["second_test"] and f"{task['images'][SECOND]:,} of {chosen['second_test']}",
        "with_trainings": len(_with_trainings_shown(task["arms"])),
        "predictions": predictions,
        "test": test,
    }
    write_section(section, out, SECTION, found, document=document)

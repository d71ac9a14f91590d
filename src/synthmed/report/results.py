"""Reading the pipeline's result files for sections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.core.known import EXTERNAL, KINDS, SECOND, SMALL, TEST
from synthmed.data.imageset import NOT_MADE
from synthmed.metrics.effects import fidelity_of, in_words
from synthmed.metrics.estimate import Estimate, estimates
from synthmed.report.words import sizes_of_masks

OF_ALL = ("foreground_iou", "object_f1", "aji")
BEHIND = 0.5
"""Share of the validation IoU of the best training of an arm; see `behind`."""


@dataclass(frozen=True)
class GeneratorEntry:
    """How a generator is named in tables and figures."""

    model: Annotated[str, Meta(description="Its kind, a file of src/synthmed/generators/, or external.")]
    title: Annotated[str, Meta(description="Its name for people.")]
    receptive_field: Annotated[
        int | None,
        Meta(description="Of its PatchGAN discriminator; null where it has none.", extra_json_schema={"unit": "px"}),
    ]
    of: Annotated[
        str,
        Meta(description="Its own name, or that of the generator whose training it draws from, filters or edits."),
    ]

    @property
    def keys(self) -> tuple[str, ...]:
        """Names by which a document may know it, the most exact first."""
        return (*([f"{self.model}-{self.receptive_field}"] if self.receptive_field else []), self.model)


Generators = Annotated[dict[str, GeneratorEntry], Meta(description="By name, in the order they are shown.")]
"""Those of an experiment, in settings of sections."""


def read_result(path: Path) -> dict:
    """A JSON result with every measured number as Estimate. Raises InputError when it is missing or malformed."""
    return estimates(read_json(path))


def read_task(path: Path, generators: Mapping[str, GeneratorEntry]) -> dict:
    """The verdicts of one task, with every number as Estimate.

    Its arms are in the order of KINDS, of `generators` and of their share, have their name in them, and call generators
    by their titles (`subject`: also that it is one training, where it is known to be one). `origin` is what was trained
    for their images; `once` whether that was one training, None where nobody knows, of images made elsewhere. The arms
    of `not_made` have their name, generator and title, too.
    """
    task = read_result(path)
    for name, arm in task[NOT_MADE].items():
        entry = generators.get(arm["set"])
        arm |= {"name": name, "generator": entry}
        if entry is not None:
            arm["title"] = in_words(arm["title"], arm["set"], entry.title)
    for name, arm in task["arms"].items():
        entry = generators.get(arm["set"])
        arm |= {"name": name, "generator": entry, "origin": None, "once": None, "subject": arm["title"]}
        if entry is not None:
            arm["origin"] = generators.get(entry.of, entry)
            arm["once"] = None if arm["origin"].model == EXTERNAL else arm["trainings"] == 1
            arm["subject"] = f"this training of {entry.title}" if arm["once"] else entry.title
            arm["title"] = in_words(arm["title"], arm["set"], entry.title)
    order = list(generators)

    def place(arm: Mapping) -> tuple:
        known = arm["set"] in generators
        return KINDS.index(arm["kind"]), order.index(arm["set"]) if known else len(order), arm["share"]

    task["arms"] = {arm["name"]: arm for arm in sorted(task["arms"].values(), key=place)}
    task["decides"] = task["outcomes"][task["outcome"]]
    return task


def by_class(task: Mapping) -> dict[str, str]:
    """Class of the masks → the outcome of it alone, where there are several: the one that decides, or IoU where that is
    of no single class."""
    decides, measured = task["outcome"], task["outcomes"]
    classes = [name.removeprefix("iou_") for name in measured if name.startswith("iou_")]
    return {one: f"{decides}_{one}" if f"{decides}_{one}" in measured else f"iou_{one}" for one in classes}


def of_all(task: Mapping) -> list[str]:
    """Titles of the outcomes of masks that are no mean over the classes, but of all of them together."""
    return [task["outcomes"][name]["title"] for name in OF_ALL if name in task["outcomes"]]


def effect(task: Mapping, arm: Mapping) -> Estimate | None:
    """Difference of the deciding outcome from that of the reference arm; None for the reference itself."""
    versus = arm["versus_reference"]
    return versus and versus["outcomes"][task["outcome"]]["difference"]


def shown_tests(task: Mapping) -> list[str]:
    """The test sets that arms are shown on: the first, which decides, and the set that replaces the real images.

    Further sets of generated images are there for label fidelity only.
    """
    return [task["tests"][0], *([task["swap"]] if task["swap"] else [])]


def confusion(arm: Mapping, test: str) -> list[list[float]] | None:
    """Confusion matrix of an arm on a test set (rows truth), mean over seeds; None where the task has no classes."""
    return arm["tests"][test].get("confusion")


def label_fidelity(task: Mapping, generators: Mapping[str, GeneratorEntry]) -> dict[str, dict[str, Estimate]]:
    """Generator → its label fidelity, see fidelity_of."""
    tests = task["arms"][task["reference"]]["tests"]
    return {name: fidelity_of(task, name) for name in generators if name in tests}


def sizes_of_tests(summary: Mapping) -> dict[str, str]:
    """Test → the size that its masks are compared at, in words; summary: of `score-segmenters`."""
    of_masks, (height, width) = sizes_of_masks(summary["sizes"]), summary["image_shape"][1:]
    return {TEST: of_masks, SMALL: f"{height}×{width}", SECOND: of_masks}


def check_generators(results: Sequence[Mapping], generators: Mapping[str, GeneratorEntry]) -> list[Mapping]:
    """Results that each name their generator, in the order of `generators`. Raises InputError on an unknown one."""
    for result in results:
        if result["generator"] not in generators:
            raise InputError(f"generator {result['generator']!r} is not in the settings' {list(generators)}")
    order = list(generators)
    return sorted(results, key=lambda result: order.index(result["generator"]))


def behind(arms: Mapping[str, Mapping], trainings: Mapping[str, Sequence[Mapping]]) -> list[dict]:
    """Arms with trainings of segmenters that reach less than BEHIND of the validation IoU of the best one: `title`, how
    many `trainings` there are, and what those reach (`low`) and the best one (`best`).

    trainings: arm → what the report of its training says of each seed.
    """
    found = []
    for name, arm in arms.items():
        reached = [one["validation_iou"] for one in trainings.get(name, ())]
        low = sorted(one for one in reached if one < BEHIND * max(reached))
        if low:
            found.append({"title": arm["title"], "trainings": len(reached), "low": low, "best": max(reached)})
    return found

"""Step `check-needs`: whether later steps can have the images that the settings promise them, before any training.

Trainings take hours and days; that an arm asks for more synthetic images than are sampled is known after the split.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError, check_one_each
from synthmed.core.files import read_json, write_json
from synthmed.core.known import AUGMENTED, UNLABELLED
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.data.parts import PARTS
from synthmed.data.targets import LABEL, target_classes
from synthmed.evaluation.arms import ArmSettings, check_adds, define_arms
from synthmed.evaluation.check_models import PlannedTraining, check_models

logger = logging.getLogger(__name__)

LEAST_PATIENTS = 2
"""Test patients of a class, below which no variance can be computed."""


@dataclass(frozen=True)
class NeedsSettings:
    """Settings of `check-needs`."""

    samples: Annotated[
        dict[str, dict[str, int]],
        Meta(
            description="Set → class → synthetic images that there will be, the pool of true draws included; "
            "{unlabelled: n} for images that are labelled afterwards."
        ),
    ]
    translated_from: Annotated[
        dict[str, dict[str, tuple[str, ...]]],
        Meta(description="Set → class → classes whose training images are translated into it."),
    ]
    arms: Annotated[dict[str, ArmSettings], Meta(description="The arms of every task.")]
    external: Annotated[
        tuple[str, ...], Meta(description="Sets that were made elsewhere, in the order of the files of `synthetic`.")
    ]
    trainings: Annotated[dict[str, PlannedTraining], Meta(description="Trainings of generators, by name.")]


@dataclass(frozen=True)
class Need:
    """`needed` images of the class `label` of one set, of which there are (or can be) `available`; why: the setting
    that asks for them, and how the number follows from it."""

    set: str
    label: str
    needed: int
    available: int
    why: str


@step("check-needs")
def check_needs(
    settings: NeedsSettings, *, split_report: Path, parts: list[Path], synthetic: list[Path], out: Output
) -> None:
    """Whether arms and generators can have the images that they ask for, and the test part the patients.

    Write what the later steps need (JSON, one entry a need). split_report: JSON of `split`; parts: the image sets
    train, validation and test where a task asks for another column than the label (how many generated images there will
    be of its classes nobody knows yet), or learns masks; synthetic: the image sets of settings.external.

    Raises InputError on a class of which the test part has one patient only, on a class that a part's masks do not show
    where a task learns them, on a generator that cannot be built or fed
    (check_models), and one that lists every need that cannot be met, with its setting and numbers.
    """
    check_one_each(settings.external, synthetic=synthetic)
    made = {
        name: dict(Counter(ImageSet(path).column("label")))
        for name, path in zip(settings.external, synthetic, strict=True)
    }
    settings = replace(settings, samples=settings.samples | made)
    report = read_json(split_report)
    _refuse_single_patients(report, split_report)
    check_models(settings.trainings, report["counts"]["train"])
    by_label = {name: arms for name, arms in settings.arms.items() if arms.column == LABEL}
    for name, arms in settings.arms.items():
        if name not in by_label:
            _check_target(name, arms, parts)
    if tasks := [name for name, arms in settings.arms.items() if arms.masks]:
        _check_masks(tasks[0], parts)
    found = needs(replace(settings, arms=by_label), report["counts"]["train"])
    unmet = [need for need in found if need.needed > need.available]
    if unmet:
        lines = "".join(
            f"\n  {need.why}: {need.needed} {need.label!r} images of {need.set}, but there are {need.available}"
            for need in unmet
        )
        raise InputError(
            f"{split_report}: the training part is {_counts(report['counts']['train'])}, and these "
            f"settings cannot be met:{lines}\nsample more, lower the shares, or make the training part larger"
        )
    write_json(out, {"needs": [vars(need) for need in found]})
    logger.info("%d needs can be met", len(found))


def _check_target(task: str, arms: ArmSettings, parts: Sequence[Path]) -> None:
    """Raise InputError where a part has no image of a class of a task, or the test part too few patients of it, or an
    arm cannot be."""
    sets = _opened(task, parts)
    found = [target_classes(images, arms.column, arms.classes, sets[0]) for images in sets]
    for images, classes, least in zip(sets, found, (1, 1, LEAST_PATIENTS), strict=True):
        for label in arms.classes:
            own = {row["patient"] for row, name in zip(images.rows, classes, strict=True) if name == label}
            if len(own) < least:
                raise InputError(
                    f"{images.path}: {len(own)} patients of {arms.column} {label!r}, which the task {task!r} tells "
                    f"apart, and it needs {least}: take another split.seed, add patients, or leave the class out"
                )
    for arm in define_arms(arms, Counter(found[0])):
        check_adds(arm)


def _opened(task: str, parts: Sequence[Path]) -> list[ImageSet]:
    if len(parts) != 3:
        raise InputError(f"{len(parts)} image sets for train, validation and test, which the task {task!r} asks for")
    return [ImageSet(path) for path in parts]


def _check_masks(task: str, parts: Sequence[Path]) -> None:
    """Raise InputError where an image of a part has no mask, or no mask of it shows a class: nothing could be learned
    or chosen by it, and the test would count as perfect that nothing is drawn where nothing is."""
    for images, part in zip(_opened(task, parts), PARTS, strict=True):
        if without := [row["image"] for row in images.rows if not row["mask"]]:
            raise InputError(
                f"{images.path}: {len(without)} images have no mask, which the task {task!r} learns, the first is "
                f"{without[0]!r}; give them, or set prepare.masks.required to true, which leaves these images out"
            )
        if unmarked := _unmarked(images):
            raise InputError(
                f"{images.path}: no mask of the {part} part ({len(images)} images) marks {unmarked[0]!r}, which the "
                f"task {task!r} learns: take another split.seed, make the part larger, or set {unmarked[0]!r} to null "
                "in masks.classes"
            )


def _unmarked(images: ImageSet) -> list[str]:
    """The classes that no mask shows."""
    missing = list(images.legend.classes)
    with images.opened() as (_, mask_of):
        for index in range(len(images)):
            drawn = images.legend.drawn(mask_of(index))
            missing = [name for name in missing if name not in drawn]
            if not missing:
                break
    return missing


def _refuse_single_patients(report: Mapping, path: Path) -> None:
    """Raise InputError where the test part has one patient only of a class: there is no variance over patients."""
    for label, count in report["patients_of_class"]["test"].items():
        if count < LEAST_PATIENTS:
            whole = sum(counts.get(label, 0) for counts in report["patients_of_class"].values())
            raise InputError(
                f"{path}: the test part has {report['counts']['test'][label]} images of {label!r}, all of one patient "
                f"(the class has {whole}), and a variance needs {LEAST_PATIENTS}: take another split.seed, raise "
                "split.test, or add patients"
            )


def needs(settings: NeedsSettings, real: Mapping[str, int]) -> list[Need]:
    """Everything that translations and the arms of all tasks need. real: training images of each class.

    Raises InputError on impossible shares and on names of sets that do not exist.
    """
    found = []
    for name, sources in settings.translated_from.items():
        if name not in settings.samples:
            raise InputError(f"setting translated_from names {name!r}; the sets are {list(settings.samples)}")
        for label, count in settings.samples[name].items():
            if label in sources:
                images = sum(real[source] for source in sources[label])
                taken = " or ".join(sources[label])
                why = f"setting samples.{label} of {name} takes one image of {taken} for each sample"
                found.append(Need(name, label, count, images, why))
    for task, arms in settings.arms.items():
        drawn = {label: count * arms.augmented_draws for label, count in real.items()}
        sets = settings.samples | {AUGMENTED: drawn}
        for arm in define_arms(arms, real):
            check_adds(arm)
            if arm.set not in sets:
                continue
            samples = sets[arm.set]
            why = f"arm {arm.name} of the task {task}" + (
                "" if arm.share is None else f", {arm.share:g} of the real images"
            )
            if UNLABELLED in samples:
                found.append(Need(arm.set, UNLABELLED, sum(arm.added.values()), samples[UNLABELLED], why))
            else:
                found += [Need(arm.set, label, count, samples.get(label, 0), why) for label, count in arm.added.items()]
    return found


def _counts(real: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {count}" for label, count in real.items())

"""Segmenters as the models under test: how well the one of each arm draws the masks of the test images."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta

from synthmed.core.errors import InputError, check_one_each
from synthmed.core.files import read_json, write_json
from synthmed.core.known import REAL, SECOND, SMALL, TEST
from synthmed.core.settings import BatchSize, Count, Device, SyntheticSets, Threads
from synthmed.core.step import Output, step
from synthmed.data.channels import resized_labels
from synthmed.data.imageset import ImageSet, Legend, write_image_set
from synthmed.data.second_test import SecondTest, parts_of
from synthmed.evaluation.scores import Scores, by_arm, cases_of, described, same_seeds, write_scores
from synthmed.metrics.segmentation import mask_measures, object_measures, overlap
from synthmed.segmenters.trained import Segmenter, drawn, label_map, load
from synthmed.training.device import choose_device

logger = logging.getLogger(__name__)

BY_CLASS = (
    *("iou", "dice", "hd95"),
    *("false_positive_pixels", "false_negative_pixels", "false_positive_share", "false_negative_share"),
)
"""Measures that are told of each class of the masks, where there are several: `<measure>_<class>`."""
EMPTY = "truth_empty"
"""Whether the mask of an image has nothing, of several classes also `truth_empty_<class>`: nothing of the class."""


@dataclass(frozen=True)
class SegmenterScoringOptions:
    """How trained segmenters are applied to the test images."""

    batch_size: BatchSize
    threads: Threads
    device: Device
    original_size: Annotated[
        bool,
        Meta(
            description="Whether masks are compared at the size of the raw images, else at that of the prepared ones."
        ),
    ]
    examples: Annotated[Count, Meta(description="Test images whose predicted masks are kept for the report.")]
    second_test: SecondTest


@dataclass(frozen=True)
class ScoreSegmentersSettings(SegmenterScoringOptions):
    """Settings of `score-segmenters`."""

    arms: Annotated[tuple[str, ...], Meta(min_length=1, description="Arms, in the order of their segmenters.")]
    sets: SyntheticSets

    def __post_init__(self) -> None:
        if self.sets and REAL not in self.arms:
            raise InputError(f"setting sets names {list(self.sets)}, which the arm {REAL!r} judges, not {self.arms}")


@step("score-segmenters")
def score_segmenters(
    settings: ScoreSegmentersSettings,
    *,
    description: Path,
    segmenters: list[Path],
    segmenter_reports: list[Path],
    test: Path,
    original: Path | None,
    synthetic: list[Path],
    scores: Output,
    predictions: Output,
    summary: Output,
) -> None:
    """Score the real test images by the segmenter of every arm, and the synthetic sets by that of the real arm.

    description: of `compose-arms`; segmenters, segmenter_reports: of `train-segmenter`, one for each of settings.arms,
    all with equally many seeds. original: the test images with masks of their original size, None where those of `test`
    are all there is. scores: see scores.py; columns are the measures of each image by the names of metrics.outcomes
    (see `measures`). The test TEST is at the size of the masks; SMALL, where that is another, at the network's; SECOND
    is of the images of settings.second_test, which are in no other. What the real segmenter draws on synthetic images,
    against their own masks, says how far the two agree. predictions: image set of the first test images with the mask
    that the first seed of each arm draws (column `arm`). summary: JSON, every arm's description and training. What
    single arms gave `join-scores` joins.

    Raises InputError when a test image has no mask, a test has no image, or segmenters differ in their number of seeds.
    """
    check_one_each(settings.arms, segmenters=segmenters, segmenter_reports=segmenter_reports)
    check_one_each(settings.sets, synthetic=synthetic)
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    trained = {arm: load(path).to(device) for arm, path in zip(settings.arms, segmenters, strict=True)}
    seeds = same_seeds(trained)
    if settings.original_size != (original is not None):
        raise InputError(
            f"setting original_size is {settings.original_size}, and the input original {original and str(original)!r}"
            "; give the masks of the step original-masks, or set it to false"
        )
    real = ImageSet(test)
    masks = Masks(real, original)
    parts = parts_of(real, settings.second_test)
    found = _scores(settings, trained, real, masks, parts, dict(zip(settings.sets, synthetic, strict=True)))
    write_scores(scores, found)
    _write_examples(trained, real, parts[TEST][: settings.examples], predictions)
    reports, empty = [read_json(path) for path in segmenter_reports], _empty(found, settings.arms[0])
    names = ("architecture", "widths", "parameters", "image_shape", "learning_rate", "dropout", "checked_by")
    write_json(
        summary,
        described(description, settings.arms, reports)
        | {name: reports[0][name] for name in names}
        | {
            "seeds": seeds,
            "selection": f"{reports[0]['selection']}.",
            "thresholds": {},
            "sizes": sorted(f"{height}×{width}" for height, width in masks.sizes),
            "empty_masks": empty.pop(EMPTY),
            "empty_by_class": {name.removeprefix(f"{EMPTY}_"): count for name, count in empty.items()},
            "second_test": settings.second_test,
            "trainings": {arm: report["seeds"] for arm, report in zip(settings.arms, reports, strict=True)},
        },
    )


def _empty(found: Scores, arm: str) -> dict[str, int]:
    """Column of EMPTY → in how many test images it is so: in the masks, and hence the same of every arm."""
    first = found.values[arm, TEST][0]
    return {name: int(first[:, place].sum()) for place, name in enumerate(found.columns) if name.startswith(EMPTY)}


class Masks:
    """The masks of an image set in its order, decoded when they are asked for; original: image set of the same names
    with those that count instead, None: its own. sizes: (height, width) of those seen so far.

    Raises InputError where an image has no mask.
    """

    def __init__(self, images: ImageSet, original: Path | None):
        source = images if original is None else ImageSet(original)
        place = {row["image"]: number for number, row in enumerate(source.rows) if row["mask"]}
        missing = [row["image"] for row in images.rows if row["image"] not in place]
        if missing:
            raise InputError(
                f"{source.path}: {len(missing)} of {len(images)} images have no mask to be compared with, the first is "
                f"{missing[0]!r}; add masks, or leave these images out (prepare.masks.required)"
            )
        self.decode, self.rows = source.decoder(), [place[row["image"]] for row in images.rows]
        self.sizes: set[tuple[int, int]] = set()

    def __getitem__(self, number: int) -> np.ndarray:
        _, mask = self.decode(self.rows[number])
        self.sizes.add(mask.shape)
        return mask


def _scores(
    settings: ScoreSegmentersSettings,
    trained: Mapping[str, Segmenter],
    real: ImageSet,
    masks: Masks,
    parts: Mapping[str, Sequence[int]],
    synthetic: Mapping[str, Path],
) -> Scores:
    """parts: test → positions of its images in `real`, whose `masks` count."""
    measured = {}
    for arm, one in trained.items():
        tested = _tested(settings, one, real, masks)
        for name, of, part in ((TEST, TEST, TEST), (SMALL, SMALL, TEST), (SECOND, TEST, SECOND)):
            if of in tested and part in parts:
                measured[arm, name] = [[seed[row] for row in parts[part]] for seed in tested[of]]
    cases = {name: cases_of(real, parts[SECOND if name == SECOND else TEST]) for _, name in measured}
    for name, path in synthetic.items():
        images = ImageSet(path)
        measured[REAL, name] = _tested(settings, trained[REAL], images, Masks(images, None))[TEST]
        cases[name] = cases_of(images)
        logger.info("%s: %d images by the segmenter of the real ones", name, len(images))
    columns = tuple(measured[settings.arms[0], TEST][0][0])
    values = {
        key: np.array([[[row[name] for name in columns] for row in seed] for seed in found])
        for key, found in by_arm(measured, settings.arms).items()
    }
    return Scores(columns, cases, values)


def _tested(
    settings: SegmenterScoringOptions, segmenter: Segmenter, images: ImageSet, masks: Masks
) -> dict[str, list[list[dict[str, float]]]]:
    """TEST, and SMALL where the network's size is another → the measures of each image by each seed."""
    size, legend = segmenter.size, segmenter.masks.legend
    found: dict[str, list[list[dict[str, float]]]] = {name: [[] for _ in segmenter.models] for name in (TEST, SMALL)}
    for start in range(0, len(images), settings.batch_size):
        rows = range(start, min(start + settings.batch_size, len(images)))
        entries, truths = list(images.entries(rows)), [masks[row] for row in rows]
        small = [resized_labels(own, size) for *_, own in entries]
        for seed, model in enumerate(segmenter.models):
            channels = drawn(segmenter, model, [pixels for _, pixels, *_ in entries])
            for truth, own, one in zip(truths, small, channels, strict=True):
                row = measures(truth, label_map(segmenter, one, truth.shape), legend)
                found[TEST][seed].append(row)
                if truth.shape != size:
                    row = measures(own, label_map(segmenter, one, size), legend)
                found[SMALL][seed].append(row)
    return found if masks.sizes != {size} else {TEST: found[TEST]}


def measures(truth: np.ndarray, predicted: np.ndarray, legend: Legend) -> dict[str, float]:
    """All measures of one image, two label maps (H, W), by the names of metrics.outcomes; and EMPTY, both_empty.

    Of several classes the measure is their mean, and those of BY_CLASS and EMPTY are there for each, too. Where the
    legend has instances, objects are told apart, and foreground_iou is of all objects, whatever their class: one pixel
    of a class that the image has not changes the mean over the classes by half, and this little.
    """
    by_class = {
        name: mask_measures(legend.of_class(truth, name), legend.of_class(predicted, name)) for name in legend.classes
    }
    found = {name: float(np.mean([one[name] for one in by_class.values()])) for name in next(iter(by_class.values()))}
    if legend.masks == "instances":
        found |= object_measures(truth, predicted) | {"foreground_iou": overlap(truth > 0, predicted > 0).iou}
    if len(by_class) > 1:
        found |= {f"{name}_{of}": one[name] for name in BY_CLASS for of, one in by_class.items()}
        found |= {f"{EMPTY}_{of}": float(not legend.of_class(truth, of).any()) for of in by_class}
    return found | {EMPTY: float(not truth.any())}


def _write_examples(trained: Mapping[str, Segmenter], images: ImageSet, rows: Sequence[int], path: Path) -> None:
    """Images of these positions with what the first seed of each arm draws."""
    entries = list(images.entries(rows))

    def found() -> Iterator[tuple]:
        for arm, segmenter in trained.items():
            channels = drawn(segmenter, segmenter.models[0], [pixels for _, pixels, *_ in entries])
            for one, (row, pixels, *_) in zip(channels, entries, strict=True):
                name = {"image": f"{arm}.{row['image']}", "origin": row["image"], "arm": arm}
                yield row | name, pixels, label_map(segmenter, one, pixels.shape[:2])

    write_image_set(path, found(), images.legend)

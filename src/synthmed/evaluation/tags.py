"""What is seen on images and is no finding: how well a tagger sees it, and how frequent it is in every set.

Seed 003 counts frames, hair and rulers with a classifier of which it prints one accuracy (98 %). With few frames that
says little: here every tag has its precision, recall and AUROC, and every prevalence an interval that counts the
tagger's errors. Patients are what is independent, not their images.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from msgspec import Meta

from synthmed.classifiers import network
from synthmed.core.errors import InputError, check_one_each
from synthmed.core.files import write_csv, write_json
from synthmed.core.settings import BatchSize, Device, Level, Names, SyntheticSets, Threads
from synthmed.core.step import Output, step
from synthmed.data.imageset import NOT_MADE, ImageSet, made_sets
from synthmed.metrics.classification import auroc
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.prevalence import effective, true_prevalence
from synthmed.metrics.statistics import case_mean
from synthmed.training.device import choose_device

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TagOptions:
    """Tags of images."""

    level: Level
    batch_size: BatchSize
    threads: Threads
    device: Device


@dataclass(frozen=True)
class TagSettings(TagOptions):
    """Settings of `measure-tags`."""

    target_column: Annotated[str, Meta(description="Column of the real images that names their tags, as hair;ruler.")]
    missing: Annotated[
        Literal["error", "skip"], Meta(description="What an empty cell of that column means: stop, or leave it out.")
    ]
    classes: Annotated[Names, Meta(description="Labels whose prevalences are shown.")]
    sets: SyntheticSets


@dataclass(frozen=True)
class Tagged:
    """Decisions about the images of a set. images, labels, patients: (N,); called: bool (N, T)."""

    images: list[str]
    labels: np.ndarray
    patients: np.ndarray
    called: np.ndarray
    likelihoods: np.ndarray


def tagged(judge: network.Classifier, path: Path, batch_size: int, rows: list[int] | None = None) -> Tagged:
    """Tags of all images of a set, or of some: mean likelihood of the networks, against their mean threshold."""
    images = ImageSet(path)
    rows = list(range(len(images))) if rows is None else rows
    likelihoods = network.predict_set(judge, images, batch_size, rows).mean(axis=0)
    called = likelihoods >= judge.thresholds.mean(axis=0)
    names, labels, patients = (np.array(images.column(column))[rows] for column in ("image", "label", "patient"))
    return Tagged(names.tolist(), labels, patients, called, likelihoods)


@step("measure-tags")
def measure_tags(
    settings: TagSettings,
    *,
    classifier: Path,
    train: Path,
    test: Path,
    synthetic: list[Path],
    out: Output,
    tags: Output,
) -> None:
    """Tag the images of every set, and say how well.

    classifier: a tagger, of `train-classifier`; train, test: real images with the column of tags, those of `test` are
    what it is judged on; synthetic: the sets of the settings. out: JSON: `tagger`, by tag: precision, recall,
    specificity, AUROC; `sets`, by set, class and tag: prevalence, of real images as labelled (`labelled`) and of all by
    the tagger, corrected for its errors (`estimated`); `not_made`: sets that could not be made, and why. tags: CSV:
    set, image, and yes or no for each tag; of real images as labelled. Raises InputError when an image of the test has
    no tags.
    """
    check_one_each(settings.sets, synthetic=synthetic)
    torch.set_num_threads(settings.threads)
    judge = network.load(classifier).to(choose_device(settings.device))
    made, reasons = made_sets(settings.sets, synthetic)
    paths = {"train": train, "test": test, **made}
    rows = {name: _labelled(settings, paths[name]) for name in ("train", "test")}
    found = {name: tagged(judge, path, settings.batch_size, rows.get(name)) for name, path in paths.items()}
    truth = {name: _truth(paths[name], rows[name], settings.target_column, judge.targets) for name in rows}
    tagger = _tagger(judge.targets, found["test"], truth["test"], settings.level)
    errors = _errors(found["test"], truth["test"])
    result = {
        "level": settings.level,
        "tags": list(judge.targets),
        "images": len(truth["test"]),
        "tagger": tagger,
        NOT_MADE: reasons,
        "sets": {
            name: _prevalences(settings, judge.targets, one, truth.get(name), errors) for name, one in found.items()
        },
    }
    write_json(out, result)
    rows = [
        {
            "set": name,
            "image": image,
            **{tag: ("no", "yes")[int(value)] for tag, value in zip(judge.targets, row, strict=True)},
        }
        for name, one in found.items()
        for image, row in zip(one.images, truth.get(name, one.called), strict=True)
    ]
    write_csv(tags, rows, ["set", "image", *judge.targets])
    logger.info("%s: %s", out, {tag: entry["auroc"] for tag, entry in tagger.items()})


def _labelled(settings: TagSettings, path: Path) -> list[int]:
    """Rows of the images whose tags are known."""
    cells = ImageSet(path).column(settings.target_column)
    rows = [number for number, cell in enumerate(cells) if cell]
    if not rows or (len(rows) < len(cells) and settings.missing == "error"):
        raise InputError(
            f"{path}: {len(cells) - len(rows)} images have an empty {settings.target_column!r}; a tagger is judged on "
            "labelled ones"
        )
    return rows


def _truth(path: Path, rows: Sequence[int], column: str, targets: Sequence[str]) -> np.ndarray:
    """Tags as labelled, bool (N, T), of some rows."""
    cells = ImageSet(path).column(column)
    return np.array([[target in cells[row].split(";") for target in targets] for row in rows])


def _tagger(targets: Sequence[str], found: Tagged, truth: np.ndarray, level: float) -> dict[str, dict]:
    tagger = {}
    for place, tag in enumerate(targets):
        called, has = found.called[:, place], truth[:, place]
        hits, positives, negatives = int((called & has).sum()), int(has.sum()), int((~has).sum())
        rejected = int((~called & ~has).sum())
        tagger[tag] = {
            "hits": hits,
            "positives": positives,
            "rejected": rejected,
            "negatives": negatives,
            "precision": case_mean(has[called], found.patients[called], level=level).to_json(),
            "recall": case_mean(called[has], found.patients[has], level=level).to_json(),
            "specificity": case_mean(~called[~has], found.patients[~has], level=level).to_json(),
            "auroc": auroc(found.likelihoods[:, place], has) if positives and negatives else None,
        }
    return tagger


def _errors(found: Tagged, truth: np.ndarray) -> list[tuple[float, ...]]:
    """Of each tag: hits, positives, rejected and negatives as effective counts, for true_prevalence."""
    return [
        (*effective(called[has], found.patients[has]), *effective(~called[~has], found.patients[~has]))
        for called, has in zip(found.called.T, truth.T, strict=True)
    ]


def _prevalences(
    settings: TagSettings, targets: Sequence[str], found: Tagged, truth: np.ndarray | None, errors: Sequence[tuple]
) -> dict[str, dict]:
    """Class → tag → its prevalence. Of the training images, which the tagger has seen, as labelled only."""
    result = {}
    for label in settings.classes:
        where, result[label] = found.labels == label, {}
        patients, count = found.patients[where], int(where.sum())
        for place, tag in enumerate(targets):
            _, positives, _, negatives = errors[place]
            if truth is not None:
                name, share = "labelled", case_mean(truth[where, place], patients, level=settings.level)
            elif not (count and positives and negatives):
                name, share = "estimated", Estimate.missing("there is no image to estimate it from", 0)
            else:
                called = effective(found.called[where, place], patients)
                name, share = "estimated", true_prevalence(*called, *errors[place], settings.level, n=count)
            result[label][tag] = {name: share.to_json()}
    return result

"""Step `drop-known`: images that a network has seen are taken out of those that it is to be tested on."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.data.second_test import SecondTest, parts_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DropKnownSettings:
    """Settings of `drop-known`."""

    classes: Annotated[tuple[str, ...], Meta(min_length=1, description="Classes that every test needs.")]
    second_test: SecondTest


@step("drop-known")
def drop_known(settings: DropKnownSettings, *, images: Path, known: list[Path], kept: Output, report: Output) -> None:
    """Take images out of a set whose names other sets have.

    images: image set; known: image sets that something was trained or chosen with. kept: those of the former that have
    another name than all of the latter; report (JSON): how many there were, and the names of those that were dropped.
    Raises InputError when none is left, or one of the tests has not two patients of every class then, so that no
    training could be judged by it.
    """
    seen = {name for path in known for name in ImageSet(path).column("image")}
    given = ImageSet(images)
    names = given.column("image")
    rows = [place for place, name in enumerate(names) if name not in seen]
    if not rows:
        raise InputError(
            f"{images}: all {len(names)} images are in {', '.join(str(path) for path in known)}, too; take a larger "
            "part, or other images"
        )
    _check_tests(settings, given, rows)
    write_image_set(kept, given.entries(rows), given.legend)
    dropped = sorted(set(names) & seen)
    write_json(report, {"images": len(names), "dropped": dropped})
    logger.info("%s: %d of %d images dropped, which are known", images, len(dropped), len(names))


def _check_tests(settings: DropKnownSettings, images: ImageSet, kept: Sequence[int]) -> None:
    for test, rows in parts_of(images, settings.second_test).items():
        left = [images.rows[row] for row in {*rows} & {*kept}]
        for label in settings.classes:
            patients = {row["patient"] for row in left if row["label"] == label}
            if len(patients) < 2:
                otherwise = "" if settings.second_test is None else ", or set second_test to null"
                raise InputError(
                    f"{images.path}: without known images the {test.replace('_', ' ')} has images of {label!r} of "
                    f"{len(patients)} patients, and needs two of each class. Take a larger test part{otherwise}"
                )

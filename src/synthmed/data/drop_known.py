"""Step `drop-known`: images that a network has seen are taken out of those that it is to be tested on."""

import logging
from dataclasses import dataclass
from pathlib import Path

from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DropKnownSettings:
    """Settings of `drop-known`: none."""


@step("drop-known")
def drop_known(settings: DropKnownSettings, *, images: Path, known: list[Path], kept: Output, report: Output) -> None:
    """Take images out of a set whose names other sets have.

    images: image set; known: image sets that something was trained or chosen with. kept: those of the former that have
    another name than all of the latter; report (JSON): how many there were, and the names of those that were dropped.
    Raises InputError when none is left.
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
    write_image_set(kept, given.entries(rows), given.legend)
    dropped = sorted(set(names) & seen)
    write_json(report, {"images": len(names), "dropped": dropped})
    logger.info("%s: %d of %d images dropped, which are known", images, len(dropped), len(names))

"""Step `unseen-images`: further images of the patients of the training part, which nothing was trained on."""

import logging
from dataclasses import dataclass
from pathlib import Path

from synthmed.core.errors import InputError
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class UnseenSettings:
    """Settings of `unseen-images`: none."""


@step("unseen-images")
def unseen_images(settings: UnseenSettings, *, images: Path, train: Path, unseen: Output) -> None:
    """Gather the images of training patients that the training part does not have.

    images: all images that were split; train: the training part. unseen: image set, with masks. Raises InputError when
    there is none, which `of_each_patient` of the split sees to.
    """
    every, known = ImageSet(images), ImageSet(train)
    names, patients = set(known.column("image")), set(known.column("patient"))
    rows = [place for place, row in enumerate(every.rows) if row["patient"] in patients and row["image"] not in names]
    if not rows:
        raise InputError(
            f"{train} has all images of its patients; set split.of_each_patient, so that some of each are set aside"
        )
    write_image_set(unseen, ((row | {"split": "unseen"}, *rest) for row, *rest in every.entries(rows)), every.legend)
    logger.info("%s: %d unseen images of %d training patients", images, len(rows), len(patients))

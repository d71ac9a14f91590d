"""The class of an image where a task asks for another column of the manifest than the label: the stage of its slide."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.data.imageset import ImageSet

LABEL = "label"
"""The column that holds the class where a task names no other."""

TargetColumn = Annotated[
    str,
    Meta(
        description="Column of the manifest that holds the class of an image; of a generated one that of the training "
        "image it was made from."
    ),
]


def target_classes(images: ImageSet, column: str, classes: Sequence[str], train: ImageSet) -> list[str]:
    """Class of each image by the manifest's `column`; of a generated one that of the training image it was made from.

    train: the real training images, which the column `origin` of generated ones names. Raises InputError on an image
    of which neither is known, and on a class that is not in `classes`.
    """
    if column == LABEL:
        found = images.column(LABEL)
    else:
        of_origin = dict(zip(train.column("image"), train.column(column), strict=True))
        found = [row.get(column, "") or of_origin.get(row.get("origin", ""), "") for row in images.rows]
    for row, name in zip(images.rows, found, strict=True):
        if not name:
            raise InputError(
                f"{images.path}: {row['image']!r} has no {column!r}, which a task tells apart, and was made from no "
                "training image; fill the column in, or take the set out of arms.generators"
            )
        if name not in classes:
            raise InputError(f"{images.path}: unknown {column} {name!r}; the classes are {list(classes)}")
    return found

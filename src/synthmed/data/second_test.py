"""Test images of two sources: the main test, and a second one on other images, for example the official ones."""

from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.known import SECOND, TEST
from synthmed.data.imageset import ImageSet

SecondTest = Annotated[
    str | None,
    Meta(
        description="Source (column `source` of the test images) whose images are a test of their own and in no other, "
        "for example isic2018_test; null: all test images are one test."
    ),
]


def parts_of(images: ImageSet, second: str | None) -> dict[str, list[int]]:
    """TEST → positions of the images of the main test; SECOND → those whose source is `second`, where that is given.

    Raises InputError when one of the two has no image.
    """
    sources = images.column("source")
    parts = {TEST: [row for row, source in enumerate(sources) if source != second]}
    if second is not None:
        parts[SECOND] = [row for row, source in enumerate(sources) if source == second]
    if not all(parts.values()):
        raise InputError(
            f"{images.path}: setting second_test is {second!r}, and the test images are of {sorted(set(sources))}; "
            "name one of them that leaves others for the main test, or set it to null"
        )
    return parts

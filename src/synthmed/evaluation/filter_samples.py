"""Step `filter-samples`: generated images without those on which a tagger sees something.

Seed 003, Table 3.1: synthetic training sets without biases (hair, rulers, frames) and without frames, filled up with
further images until they have the size of the others.
"""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv
from synthmed.core.settings import Count, Names
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FilterOptions:
    """Which images stay out."""

    generator: Annotated[str, Meta(description="The generator whose samples are filtered.")]
    without: Annotated[Names, Meta(description="Tags of which an image has none.")]


@dataclass(frozen=True)
class FilterSettings(FilterOptions):
    """Settings of `filter-samples`."""

    samples: Annotated[dict[str, Count], Meta(description="Images of each label that are kept.")]


@step("filter-samples")
def filter_samples(settings: FilterSettings, *, images: Path, tags: Path, filtered: Output) -> None:
    """Keep the first images of each label that have none of some tags.

    images: samples of settings.generator; tags: CSV of `measure-tags`. filtered: image set. Raises InputError when an
    image or a tag is missing in `tags`, and when too few images are left.
    """
    found = ImageSet(images)
    rows = {row["image"]: row for row in read_csv(tags) if row["set"] == settings.generator}
    known = set(next(iter(rows.values()), {}))
    if missing := [tag for tag in settings.without if tag not in known]:
        raise InputError(
            f"{tags}: no column {missing[0]!r} for images of {settings.generator!r}; run measure-tags again"
        )
    if missing := [name for name in found.column("image") if name not in rows]:
        raise InputError(f"{tags}: the image {missing[0]!r} of {images} was not tagged; run measure-tags again")
    chosen, counts = [], Counter()
    for place, row in enumerate(found.rows):
        if any(rows[row["image"]][tag] == "yes" for tag in settings.without):
            continue
        if counts[row["label"]] < settings.samples.get(row["label"], 0):
            counts[row["label"]] += 1
            chosen.append(place)
    for label, wanted in settings.samples.items():
        if counts[label] < wanted:
            of = found.column("label").count(label)
            raise InputError(
                f"{images}: {counts[label]} of {of} {label!r} images have none of {list(settings.without)}, but "
                f"{wanted} are wanted; sample more of {settings.generator}, or ask for fewer"
            )
    write_image_set(filtered, ((row, pixels, *mask) for row, pixels, *mask in found.entries(chosen)), found.legend)
    logger.info("%s: %s without %s", filtered, dict(counts), list(settings.without))

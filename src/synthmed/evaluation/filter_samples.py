"""Step `filter-samples`: generated images without those on which a tagger sees something.

Seed 003, Table 3.1: synthetic training sets without biases (hair, rulers, frames) and without frames, filled up with
further images until they have the size of the others.
"""

import itertools
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.settings import Count, Names
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set, write_not_made
from synthmed.data.tag_tables import read_tags

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FilterOptions:
    """Which images stay out."""

    generator: Annotated[str, Meta(description="The generator whose samples are filtered.")]
    without: Annotated[Names, Meta(description="Tags of which an image has none.")]


@dataclass(frozen=True)
class FilterSettings(FilterOptions):
    """Settings of `filter-samples`."""

    samples: Annotated[
        dict[str, Count], Meta(description="Images of each label that are kept, of each training of the generator.")
    ]


@step("filter-samples")
def filter_samples(settings: FilterSettings, *, images: Path, tags: Path, filtered: Output) -> None:
    """Keep the first images of each label, and of each training of the generator, that have none of some tags.

    images: samples of settings.generator, with the column `training` where it has several; tags: CSV of `measure-tags`.
    filtered: image set; where too few images are left, one that could not be made, with the numbers. Raises InputError
    when an image or a tag is missing in `tags`.
    """
    found = ImageSet(images)
    rows = read_tags(tags, settings.generator)
    known = set(next(iter(rows.values())))
    if missing := [tag for tag in settings.without if tag not in known]:
        raise InputError(
            f"{tags}: no column {missing[0]!r} for images of {settings.generator!r}; run measure-tags again"
        )
    if missing := [name for name in found.column("image") if name not in rows]:
        raise InputError(f"{tags}: the image {missing[0]!r} of {images} was not tagged; run measure-tags again")
    groups = [(row["label"], row.get("training", "")) for row in found.rows]
    chosen, counts = [], Counter()
    for place, (row, group) in enumerate(zip(found.rows, groups, strict=True)):
        if any(rows[row["image"]][tag] == "yes" for tag in settings.without):
            continue
        if counts[group] < settings.samples.get(row["label"], 0):
            counts[group] += 1
            chosen.append(place)
    for group in itertools.product(settings.samples, sorted({training for _, training in groups})):
        (label, training), wanted = group, settings.samples[group[0]]
        if counts[group] < wanted:
            reason = (
                f"{counts[group]} of {groups.count(group)} {label!r} images of {settings.generator}"
                + (f", training {training}," if training else "")
                + f" have none of {', '.join(settings.without)}, and {wanted} were asked for"
            )
            logger.warning("%s cannot be made: %s; sample more, or ask for fewer", filtered, reason)
            write_not_made(filtered, reason)
            return
    write_image_set(filtered, ((row, pixels, *mask) for row, pixels, *mask in found.entries(chosen)), found.legend)
    logger.info("%s: %d images without %s", filtered, len(chosen), list(settings.without))

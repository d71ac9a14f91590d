"""Step `check-needs`: whether later steps can have the images that the settings promise them, before any training.

Trainings take hours and days; that an arm asks for more synthetic images than are sampled is known after the split.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from pathlib import Path

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.core.names import UNLABELLED
from synthmed.core.step import Output, step

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NeedsSettings:
    """samples: set → class → synthetic images that are sampled (the pool of true draws included, where there is one);
    {"unlabelled": n} for images that are labelled afterwards. translated_from: set → class → classes whose training
    images are translated into it; sets that translate nothing are left out. added_share, added_counts, sweep,
    only_share: what the arms take of every set, see evaluation.arms.ArmSettings.
    """

    samples: dict[str, dict[str, int]]
    translated_from: dict[str, dict[str, tuple[str, ...]]]
    added_share: float | None
    added_counts: dict[str, int] | None
    sweep: dict[str, tuple[float, ...]]
    only_share: float | None


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
def check_needs(settings: NeedsSettings, *, split_report: Path, out: Output) -> None:
    """Whether arms and translations can have the images that they ask for.

    Write what the later steps need (JSON, one entry a need). split_report: JSON of `split`.

    Raises InputError that lists every need that cannot be met, with its setting and numbers.
    """
    found = needs(settings, read_json(split_report)["counts"]["train"])
    unmet = [need for need in found if need.needed > need.available]
    if unmet:
        lines = "".join(
            f"\n  {need.why}: {need.needed} {need.label!r} images of {need.set}, but there are {need.available}"
            for need in unmet
        )
        raise InputError(
            f"{split_report}: the training part is {_counts(read_json(split_report)['counts']['train'])}, and these "
            f"settings cannot be met:{lines}\nsample more, lower the shares, or make the training part larger"
        )
    write_json(out, {"needs": [vars(need) for need in found]})
    logger.info("%d needs can be met", len(found))


def needs(settings: NeedsSettings, real: Mapping[str, int]) -> list[Need]:
    """Everything that arms and translations need. real: training images of each class.

    Raises InputError on impossible shares and on names of sets that do not exist.
    """
    added = added_images(settings.added_share, settings.added_counts, real)
    for name in [*settings.sweep, *settings.translated_from]:
        if name not in settings.samples:
            raise InputError(f"setting sweep names {name!r}; the sets are {list(settings.samples)}")
    found = []
    for name, samples in settings.samples.items():
        for label, sources in settings.translated_from.get(name, {}).items():
            if label in samples:
                images = sum(real[source] for source in sources)
                why = f"setting samples.{label} of {name} takes one image of {' or '.join(sources)} for each sample"
                found.append(Need(name, label, samples[label], images, why))
        what = f"{settings.added_share:g} for each real one" if settings.added_counts is None else "as they say"
        asked = [(f"setting {'added_share' if settings.added_counts is None else 'added_counts'} ({what})", added)]
        for share in settings.sweep.get(name, ()):
            asked.append((f"setting sweep.{name}, share {share:g} of the real images", share_of(share, real)))
        if settings.only_share is not None:
            why = f"setting only_share, {settings.only_share:g} of the real images"
            asked.append((why, share_of(settings.only_share, real)))
        for why, counts in asked:
            if UNLABELLED in samples:
                found.append(Need(name, UNLABELLED, sum(counts.values()), samples[UNLABELLED], why))
            else:
                found += [Need(name, label, count, samples.get(label, 0), why) for label, count in counts.items()]
    return found


def share_of(share: float, counts: Mapping[str, int]) -> dict[str, int]:
    """`share` of the count of each class, rounded down (0.5 of 355 are 177, as in seed 001)."""
    if share <= 0:
        raise InputError(f"a share of synthetic images is {share}; it must be above 0")
    return {label: floor(share * count + 1e-9) for label, count in counts.items()}


def added_images(
    added_share: float | None, added_counts: Mapping[str, int] | None, real: Mapping[str, int]
) -> dict[str, int]:
    """Synthetic images of each class that are added to the real ones. Raises InputError on impossible settings."""
    if (added_share is None) == (added_counts is None):
        raise InputError("settings added_share and added_counts: give one of them and make the other null")
    if added_share is not None:
        return share_of(added_share, real)
    if sorted(added_counts) != sorted(real) or min(added_counts.values()) < 0:
        raise InputError(f"setting added_counts must give a number of 0 or more for each of {sorted(real)}")
    return {label: added_counts[label] for label in real}


def _counts(real: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {count}" for label, count in real.items())

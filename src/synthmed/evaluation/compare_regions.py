"""Step `compare-regions`: how well classes can be told apart from a part of the image, beside the whole of it.

Where what lies outside of the organ does as well as the whole image, the task is decided by something else than the
disease. Where images come from several origins (column `source`), each origin with both classes is looked at alone too:
there, what tells the origins apart is of no use.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError, check_one_each
from synthmed.core.files import write_json
from synthmed.core.known import REAL, TEST
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.evaluation.scores import Cases, read_scores
from synthmed.metrics import statistics
from synthmed.metrics.outcomes import OUTCOMES, Measured, Outcome
from synthmed.prepare.mask_out import Region

logger = logging.getLogger(__name__)

ALL = "all images"
CHANCE = 0.5
"""AUROC without any knowledge."""


@dataclass(frozen=True)
class RegionSettings:
    """Settings of `compare-regions`."""

    classes: Annotated[tuple[str, ...], Meta(min_length=2, description="Classes, in the order of the probabilities.")]
    positive: Annotated[str, Meta(description="The class of the area under the curve.")]
    regions: Annotated[tuple[Region, ...], Meta(description="In the order of the files of `regions`.")]
    alpha: Annotated[float, Meta(gt=0, lt=1, description="Two-sided level of intervals and tests.")]
    margin: Annotated[float, Meta(gt=0, description="Largest difference that counts as equivalent.")]


@step("compare-regions")
def compare_regions(settings: RegionSettings, *, whole: Path, regions: list[Path], test: Path, out: Output) -> None:
    """Compare classifiers of parts of the image with those of the whole image, on the same test images (JSON).

    whole, regions: scores.csv of the arm `real` (see scores.py), trained and tested on whole images, and on each of
    settings.regions; test: image set of the real test images, for their origin.

    `whole`, and of each region `regions`: origin → AUROC; of a region also the difference from the whole image, its p
    (not adjusted), `equivalent`, and `finding`, what follows. `all`: the name of all test images among the origins.
    Raises InputError where the files are of other images or trainings.
    """
    check_one_each(settings.regions, regions=regions)
    columns = [f"p_{name}" for name in settings.classes]
    read = {path: read_scores(path, columns) for path in (whole, *regions)}
    cases, values = read[whole].cases[TEST], {path: scores.values[REAL, TEST] for path, scores in read.items()}
    for path in regions:
        if values[path].shape != values[whole].shape or (read[path].cases[TEST].images != cases.images).any():
            raise InputError(f"{path}: is of other test images or trainings than {whole}; make both again")
    origins = _origins(cases, ImageSet(test))
    level, outcome = 1 - settings.alpha, OUTCOMES["auroc"]

    def measured(paths: Sequence[Path], where: np.ndarray) -> Measured:
        return _measured(settings, outcome, cases, np.concatenate([values[path] for path in paths]), where)

    found: dict[str, dict] = {"whole": {}, "regions": {name: {} for name in settings.regions}}
    for origin, where in origins.items():
        of_whole = measured([whole], where)
        found["whole"][origin] = statistics.mean_estimate(of_whole, level=level).to_json()
        tells = _above(settings, of_whole)
        for name, path in zip(settings.regions, regions, strict=True):
            own = measured([path], where)
            alone = statistics.mean_estimate(own, level=level)
            both = statistics.readers_test(
                measured([whole, path], where), statistics.paired(len(values[whole])), level=level
            )
            equivalent = statistics.equivalence_p(both, settings.margin) <= settings.alpha / 2
            found["regions"][name][origin] = {
                "auroc": alone.to_json(),
                "difference": both.estimate(int(where.sum())).to_json(),
                "p": both.p,
                "equivalent": equivalent,
                "finding": _finding(alone.value, _above(settings, own), tells, both, equivalent, settings.alpha),
            }
            logger.info("%s, %s: %s %.3f", name, origin, outcome.title, alone.value)
    counts = {
        origin: dict(Counter(cases.labels[where].tolist()))
        for origin, where in _by_origin(cases, ImageSet(test)).items()
    }
    shared = {"all": ALL, "alpha": settings.alpha, "margin": settings.margin, "classes": list(settings.classes)}
    write_json(out, {**shared, "seeds": len(values[whole]), "origins": counts, **found})


def _above(settings: RegionSettings, measured: Measured) -> bool:
    """Whether an AUROC is above CHANCE: its interval is, or where it has none the test against chance says so."""
    level = 1 - settings.alpha
    alone = statistics.mean_estimate(measured, level=level)
    if alone.low is not None:
        return alone.low > CHANCE
    known = statistics.readers_test(measured, statistics.readers(len(measured.estimates)), level=level, null=CHANCE)
    return known.p <= settings.alpha and known.difference > CHANCE


def _finding(value: float, above: bool, whole: bool, both: statistics.SeedTest, equivalent: bool, alpha: float) -> str:
    """What a region's result says. It does not tell the classes apart: `neither` where whole images do not either, else
    `chance`. It does: `reaches` the whole image (equivalent to it or better, or no image ranked wrongly), `not worse`
    (no evidence of a difference), or `less` than the whole image.

    value: its AUROC; above, whole: whether it, and that of whole images, is above CHANCE; both: the test of it against
    that of whole images.
    """
    if not above:
        return "chance" if whole else "neither"
    if equivalent or (both.p <= alpha and both.difference > 0) or value == 1:
        return "reaches"
    return "not worse" if both.p > alpha else "less"


def _by_origin(cases: Cases, images: ImageSet) -> dict[str, np.ndarray]:
    """Origin → which cases are of it, bool (N,)."""
    of_image = dict(zip(images.column("image"), images.column("source"), strict=True))
    missing = [name for name in cases.images.tolist() if name not in of_image]
    if missing:
        raise InputError(f"{images.path}: has no image {missing[0]!r}, which was scored; make the scores again")
    origins = np.array([of_image[name] or "unknown" for name in cases.images.tolist()])
    return {origin: origins == origin for origin in sorted(set(origins.tolist()))}


def _origins(cases: Cases, images: ImageSet) -> Mapping[str, np.ndarray]:
    """All cases, and of each of several origins those where both classes have patients enough for a variance."""
    found = {ALL: np.ones(len(cases.images), dtype=bool)}
    several = _by_origin(cases, images)
    for origin, where in several.items() if len(several) > 1 else ():
        patients = [len(set(cases.patients[where & (cases.labels == label)])) for label in set(cases.labels.tolist())]
        if min(patients) > 1:
            found[origin] = where
    return found


def _measured(
    settings: RegionSettings, outcome: Outcome, cases: Cases, values: np.ndarray, where: np.ndarray
) -> Measured:
    labels = np.array([settings.classes.index(label) for label in cases.labels[where].tolist()])
    positive = settings.classes.index(settings.positive)
    return outcome.measure(values[:, where], labels, cases.patients[where], positive)

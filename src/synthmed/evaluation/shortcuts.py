"""Step `measure-shortcuts`: whether classifiers look at something beside the disease, for whom they work, and where.

Three questions to the classifiers of all training sets of a task. Does a decision change when a frame is pasted on, or
taken off, and nothing else (`change-images`)? How specific are they at a sensitivity that a clinic may ask for, by
thresholds from validation images? And do they do as well with every artefact and skin tone?
"""

import itertools
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.core.known import REAL, TEST
from synthmed.core.settings import Fraction, TwoClasses
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.data.tag_tables import check_given, read_tags
from synthmed.evaluation.change_images import PASTED, REMOVED
from synthmed.evaluation.scores import Scores, by_seed, called, read_scores
from synthmed.metrics import statistics, verdict
from synthmed.metrics.classification import threshold_reaching
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.outcomes import OUTCOMES, mean_of_some
from synthmed.metrics.statistics import SeedTest
from synthmed.prepare.dermoscopy import skin_tone

logger = logging.getLogger(__name__)

VALIDATION, CHANGED = "validation", "changed"
FEWER, MORE = "fewer", "more"
"""Words on a training set whose classifiers switch measurably less, or more, often than those of real images."""
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class ShortcutOptions:
    """What is asked of the classifiers."""

    sensitivity: Annotated[Fraction, Meta(description="The sensitivity at which specificity is reported.")]
    tags: Annotated[
        tuple[str, ...],
        Meta(description="Columns of the images with yes or no, or tags of the tagger, that make two subgroups each."),
    ]
    skin_tones: Annotated[
        dict[str, Annotated[float, Meta(ge=-90, le=90)] | None],
        Meta(
            description="Subgroups of skin tones, lightest first: name → the angle above which skin is of it; of the "
            "last one null, it takes the rest. {}: none.",
            extra_json_schema={"unit": "degrees"},
        ),
    ]
    skin_tone_column: Annotated[
        str | None,
        Meta(description="Column with the individual typology angle; null: it is measured in the images."),
    ]

    def __post_init__(self) -> None:
        *limits, rest = self.skin_tones.values() or (None,)
        if rest is not None or None in limits or any(after >= before for before, after in itertools.pairwise(limits)):
            raise InputError(
                f"setting skin_tones is {dict(self.skin_tones)}; name the lightest first, angles falling, and give the "
                "last one, and no other, null: it takes the rest"
            )


@dataclass(frozen=True)
class ShortcutSettings(ShortcutOptions):
    """Settings of `measure-shortcuts`."""

    tagged: Annotated[
        str | None, Meta(description="Name of the test images in the table of tags; null: tags are columns of theirs.")
    ]
    classes: TwoClasses
    positive: Annotated[str, Meta(description="The class that is looked for.")]
    threshold: Annotated[float, Meta(description="Of training sets that have none of their own.")]
    alpha: Annotated[float, Meta(gt=0, lt=1, description="Two-sided level of intervals and tests.")]


@step("measure-shortcuts")
def measure_shortcuts(
    settings: ShortcutSettings,
    *,
    scores: Path,
    summary: Path,
    further: Path,
    test: Path,
    changed: Path,
    tags: Path | None,
    out: Output,
) -> None:
    """Ask the classifiers of a task what they look at, and for whom they work.

    scores, summary: of the task; further: of `score-sets`, of the sets VALIDATION and CHANGED; test: the test images;
    changed: those of `change-images`; tags: CSV of `measure-tags`, where nobody but the tagger knows those of the test
    images. out: JSON, `by_tagger`, whether it is so, and of every arm: `switched` (change, class: of the images that
    could switch, those not called positive before pasting, those called so before removing, the share that does; how
    many they `could` be, mean over trainings; `net`, of all images in both directions; `versus_real`, the difference
    with p by Holm and word, of pasting on negative and removing from positive images, which are one family),
    `operating`, and `subgroups`, shown in `order`. Raises InputError when the files do not belong together.
    """
    columns = [f"p_{name}" for name in settings.classes]
    own, other = read_scores(scores, columns), read_scores(further, columns)
    summarised = read_json(summary)
    found, described = _Classifiers(settings, own, other, summarised), summarised["arms"]
    images = ImageSet(test)
    if set(images.column("image")) != set(own.cases[TEST].images.tolist()):
        raise InputError(f"{test}: other images than those of {scores}; make the scores again")
    rows = {row["image"]: row for row in ImageSet(changed).rows}
    switches = _switches(found, rows, changed)
    check_given(tags, settings.tagged, "tagged")
    cells = read_tags(tags, settings.tagged) if tags else {row["image"]: row for row in images.rows}
    groups = dict(_groups(settings, images, cells, own.cases[TEST].images))
    write_json(
        out,
        {
            "seeds": found.seeds,
            "sensitivity": settings.sensitivity,
            "level": found.level,
            "positive": settings.positive,
            "by_tagger": tags is not None,
            "changed": _counts(rows),
            "order": list(groups),
            "groups": {name: _sizes(found, where) for name, where in groups.items()},
            "arms": {
                arm: {
                    "title": described[arm]["title"],
                    "set": described[arm]["set"],
                    "switched": switches[arm],
                    "operating": _operating(found, arm),
                    "subgroups": {name: _subgroup(found, arm, where) for name, where in groups.items()},
                }
                for arm in own.arms
            },
        },
    )
    logger.info("%s: %d arms, %d changed images, %d subgroups", out, len(own.arms), len(rows), len(groups))


class _Classifiers:
    """The classifiers of every arm: scores of the positive class (S, N) by test, thresholds, decisions."""

    def __init__(self, settings: ShortcutSettings, own: Scores, other: Scores, summary: Mapping):
        self.settings, self.level = settings, 1 - settings.alpha
        self.positive = settings.classes.index(settings.positive)
        self.cases = own.cases | other.cases
        self.arms, self.seeds = own.arms, len(own.values[REAL, TEST])
        values = own.values | other.values
        self.scores = {key: one[:, :, self.positive] for key, one in values.items()}
        missing = [
            (arm, name)
            for arm in self.arms
            for name in (VALIDATION, CHANGED)
            if len(self.scores.get((arm, name), ())) != self.seeds
        ]
        if missing:
            raise InputError(f"the arm {missing[0][0]!r} was not scored on {missing[0][1]!r}; run score-sets again")
        self.trainings = {arm: summary["arms"][arm]["trainings"] for arm in self.arms}
        self.thresholds = {
            arm: by_seed(summary["thresholds"], arm, settings.threshold, self.seeds) for arm in self.arms
        }

    def called(self, arm: str, test: str) -> np.ndarray:
        """Whether images are called positive, bool (S, N)."""
        return called(self.scores[arm, test], self.thresholds[arm])

    def truth(self, test: str) -> np.ndarray:
        """Whether images are positive, bool (N,)."""
        return self.cases[test].labels == self.settings.positive


# ---------------------------------------------------------------------------------------------------------- switches
def _switches(found: _Classifiers, rows: Mapping[str, Mapping], path: Path) -> dict[str, dict]:
    """arm → `<change>/<class>` → what changing did."""
    cases, tested = found.cases[CHANGED], found.cases[TEST]
    place = {name: number for number, name in enumerate(tested.images.tolist())}
    strangers = [name for name in cases.images.tolist() if name not in rows or rows[name]["origin"] not in place]
    if strangers:
        raise InputError(f"{path}: {strangers[0]} is not made of a test image, or was not scored; make it again")
    origins = np.array([place[rows[name]["origin"]] for name in cases.images.tolist()], dtype=int)
    changes = np.array([rows[name]["change"] for name in cases.images.tolist()])
    result: dict[str, dict] = {arm: {} for arm in found.arms}
    tests: dict[tuple[str, str], SeedTest | InputError] = {}
    for change, label in itertools.product((PASTED, REMOVED), found.settings.classes):
        where, key = (changes == change) & (cases.labels == label), f"{change}/{label}"
        if not where.any():
            continue
        patients, own = cases.patients[where], origins[where]
        before = {arm: found.called(arm, TEST)[:, own] for arm in found.arms}
        after = {arm: found.called(arm, CHANGED)[:, where] for arm in found.arms}
        could = {arm: before[arm] ^ (change == PASTED) for arm in found.arms}
        switched = {arm: could[arm] & (before[arm] != after[arm]) for arm in found.arms}
        for arm in found.arms:
            shift = found.scores[arm, CHANGED][:, where] - found.scores[arm, TEST][:, own]
            result[arm][key] = {
                "switched": _share(found, arm, switched[arm], patients, could[arm]).to_json(),
                "could": float(could[arm].sum(axis=1).mean()),
                "net": float((after[arm].astype(float) - before[arm]).mean()),
                "shift": float(shift.mean()),
                "versus_real": None,
            }
            if arm != REAL and (change == REMOVED) == (label == found.settings.positive):
                both = [np.concatenate([of[REAL], of[arm]]) for of in (switched, could)]
                tests[arm, key] = _difference(found, arm, *both, patients)
    for (arm, key), versus in _worded(found, tests).items():
        result[arm][key]["versus_real"] = versus
    return result


def _share(
    found: _Classifiers, arm: str, values: np.ndarray, patients: np.ndarray, where: np.ndarray | None = None
) -> Estimate:
    """Share of the images (S, N), or of those that are `where` (S, N), of which something holds, as the classifiers of
    an arm say."""
    where = np.ones_like(values) if where is None else where
    try:
        measured = mean_of_some(values, where, patients, decisions=True)
        return statistics.mean_estimate(measured, level=found.level, trainings=found.trainings[arm])
    except InputError as error:
        return Estimate.missing(str(error), len(patients))


def _difference(
    found: _Classifiers, arm: str, switched: np.ndarray, could: np.ndarray, patients: np.ndarray
) -> SeedTest | InputError:
    """Test of an arm's share of switches against that of the real arm, whose rows come first; or why there is none."""
    contrast = statistics.paired(found.seeds, found.trainings[arm])
    try:
        return statistics.readers_test(mean_of_some(switched, could, patients), contrast, level=found.level)
    except InputError as error:
        return error


def _worded(found: _Classifiers, tests: Mapping[tuple[str, str], SeedTest | InputError]) -> dict[tuple[str, str], dict]:
    """(arm, change and class) → difference from the real arm, p by Holm over all, and the word."""
    made = {key: test for key, test in tests.items() if isinstance(test, SeedTest)}
    adjusted = dict(zip(made, statistics.holm([test.p for test in made.values()]).tolist(), strict=True))
    worded = {}
    for key, test in tests.items():
        few = verdict.too_few(found.seeds, found.trainings[key[0]])
        difference = test.estimate() if isinstance(test, SeedTest) else Estimate.missing(str(test), 0)
        p, word = adjusted.get(key), None
        if few is None and p is not None:
            measurable = FEWER if difference.value < 0 else MORE
            word = measurable if p <= found.settings.alpha else verdict.NO_EVIDENCE
        reason = few or (None if word in (FEWER, MORE) else difference.reason)
        worded[key] = {"difference": difference.to_json(), "p_holm": p, "word": word, "reason": reason}
    return worded


def _counts(rows: Mapping[str, Mapping]) -> dict[str, int]:
    """Changed images by `<change>/<class>`."""
    kinds = [f"{row['change']}/{row['label']}" for row in rows.values()]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


# --------------------------------------------------------------------------------------------------- operating points
def _operating(found: _Classifiers, arm: str) -> dict[str, dict]:
    """Sensitivity and specificity on the test images, at thresholds that reach the sensitivity on validation images."""
    truth = found.truth(VALIDATION)
    thresholds = np.array(
        [threshold_reaching(row, truth, found.settings.sensitivity) for row in found.scores[arm, VALIDATION]]
    )
    found_positive, is_positive = called(found.scores[arm, TEST], thresholds), found.truth(TEST)
    patients = found.cases[TEST].patients
    return {
        "sensitivity": _share(found, arm, found_positive[:, is_positive], patients[is_positive]).to_json(),
        "specificity": _share(found, arm, ~found_positive[:, ~is_positive], patients[~is_positive]).to_json(),
    }


# ---------------------------------------------------------------------------------------------------------- subgroups
def _groups(
    settings: ShortcutSettings, images: ImageSet, cells: Mapping[str, Mapping[str, str]], order: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Name → which of the test images, in the order of the scores, are in the subgroup, bool (N,). Those of which a
    tag is neither yes nor no, or of whose skin nothing is known, are a subgroup of their own, if there are any. cells:
    image → tag → yes or no."""
    place = {name: number for number, name in enumerate(images.column("image"))}
    rows = [place[name] for name in order.tolist()]
    for tag in settings.tags:
        if not any(tag in row for row in cells.values()):
            raise InputError(
                f"{images.path}: has no column {tag!r}, and no tag of that name; setting tags names columns with yes "
                "or no, or tags of the tagger"
            )
        values = np.array([cells.get(name, {}).get(tag, "") for name in order.tolist()])
        for value in ("yes", "no"):
            yield f"{tag}: {value}", values == value
        if (rest := ~np.isin(values, ("yes", "no"))).any():
            yield f"{tag}: {NOT_KNOWN}", rest
    if not settings.skin_tones:
        return
    if settings.skin_tone_column is None:
        tones = np.array([skin_tone(images[row]) for row in rows])
    elif settings.skin_tone_column in images.rows[0]:
        cells = np.array(images.column(settings.skin_tone_column))[rows]
        tones = np.array([float(cell) if cell else np.nan for cell in cells])
    else:
        raise InputError(f"{images.path}: has no column {settings.skin_tone_column!r}; set skin_tone_column to null")
    above = np.inf
    for name, limit in settings.skin_tones.items():
        lowest = -np.inf if limit is None else limit
        yield f"skin: {name}", (tones <= above) & (tones > lowest)
        above = lowest
    if (rest := np.isnan(tones)).any():
        yield f"skin: {NOT_KNOWN}", rest


def _sizes(found: _Classifiers, where: np.ndarray) -> dict[str, int]:
    return {label: int((where & (found.cases[TEST].labels == label)).sum()) for label in found.settings.classes}


def _subgroup(found: _Classifiers, arm: str, where: np.ndarray) -> dict[str, dict]:
    """AUROC, sensitivity and specificity of some of the test images."""
    truth, patients = found.truth(TEST)[where], found.cases[TEST].patients[where]
    scores, positive = found.scores[arm, TEST][:, where], found.called(arm, TEST)[:, where]
    try:
        both = np.stack([1 - scores, scores], axis=2)
        area = OUTCOMES["auroc"].measure(both, truth.astype(int), patients, 1)
        auroc = statistics.mean_estimate(area, level=found.level, trainings=found.trainings[arm])
    except InputError as error:
        auroc = Estimate.missing(str(error), int(where.sum()))
    return {
        "auroc": auroc.to_json(),
        "sensitivity": _share(found, arm, positive[:, truth], patients[truth]).to_json(),
        "specificity": _share(found, arm, ~positive[:, ~truth], patients[~truth]).to_json(),
    }

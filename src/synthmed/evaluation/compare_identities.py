"""Step `compare-identities`: are patients recognised in generated images beyond chance, and as in unseen real ones?

Trainings of the classifier are the readers and patients the cases of the one test that decides everywhere
(statistics.readers_test); every patient weighs the same.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.files import read_json, write_json
from synthmed.core.settings import Fraction
from synthmed.core.step import Output, step
from synthmed.evaluation.scores import Cases, read_scores
from synthmed.metrics import statistics
from synthmed.metrics.outcomes import Measured, mean_of_patients, of_the_same
from synthmed.metrics.reidentification import CHANGED, SEEN, UNSEEN, above_chance, beside_real, leak
from synthmed.metrics.statistics import SeedTest, holm, paired, readers_test
from synthmed.metrics.verdict import too_few

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompareIdentitiesOptions:
    """Tests of what classifiers of patients recognise."""

    alpha: Annotated[Fraction, Meta(description="Two-sided level of tests and intervals.")]
    margin: Annotated[float, Meta(gt=0, description="Largest difference in accuracy that counts as equivalent.")]


@dataclass(frozen=True)
class CompareIdentitiesSettings(CompareIdentitiesOptions):
    """Settings of `compare-identities`."""


@step("compare-identities")
def compare_identities(
    settings: CompareIdentitiesSettings, *, scores: Path, retrieval: Path, summary: Path, out: Output
) -> None:
    """Compare what classifiers of patients recognise in real and in generated images.

    scores, retrieval, summary: of `reidentify`. out (JSON): `rows`, one for each variant and number of patients, with
    `chance` (1 / patients), `class_chance` (that of a guess among the patients of the image's class) and `tests`: set →
    top1 and top5; of those with sources retrieved, retrieved_top5. Generated sets have `above` (accuracy − class
    chance) and `against` (generated − unseen real images of the same patients), each a difference with its p, adjusted
    by Holm's method over the sets of the row; whether the latter are `equivalent`, adjusted alike; the `finding`, null
    where there are too few trainings for words, with the `reason`; and `drop`, real images that were trained on −
    generated, which is what the document compares.
    """
    about = read_json(summary)
    columns = ("reidentified", "reidentified_top5", "chance")
    read, found = read_scores(scores, columns), read_scores(retrieval, ("retrieved", "retrieved_top5"))
    rows = []
    for variant in about["variants"]:
        for count in about["patients"]:
            names = [SEEN, CHANGED, UNSEEN, *about["sets"]]
            cases = {name: read.cases[f"{count}.{name}"] for name in names}
            values = {name: read.values[variant, f"{count}.{name}"] for name in names}
            row = {"variant": variant, "patients": count, "chance": 1 / count}
            row["class_chance"] = float(values[UNSEEN][..., 2].mean())
            row["tests"] = _accuracies(settings, cases, values)
            for name in names:
                if (variant, f"{count}.{name}") in found.values:
                    row["tests"][name] |= _retrieved(settings, cases[name], found.values[variant, f"{count}.{name}"])
            _compare(settings, row["tests"], about["sets"], cases, values)
            rows.append(row)
    kept = ("seeds", "recogniser", "network", "extractor", "sets", "not_asked", "patients", "variants", "classes")
    write_json(
        out, {**{name: about[name] for name in kept}, "alpha": settings.alpha, "margin": settings.margin, "rows": rows}
    )
    for row in rows:
        said = {name: row["tests"][name]["finding"] for name in about["sets"]}
        logger.info("%s, %d patients: %s", row["variant"], row["patients"], said)


def _measured(cases: Cases, values: np.ndarray) -> Measured:
    """Mean over patients of what S classifiers said, (S, N) of 0 and 1."""
    return mean_of_patients(values, np.zeros(len(cases.images)), cases.patients, 0, decisions=True)


def _accuracies(
    settings: CompareIdentitiesSettings, cases: Mapping[str, Cases], values: Mapping[str, np.ndarray]
) -> dict[str, dict]:
    level = 1 - settings.alpha
    return {
        name: {
            key: statistics.mean_estimate(_measured(cases[name], values[name][..., column]), level=level).to_json()
            for column, key in enumerate(("top1", "top5"))
        }
        | {"images": len(cases[name].images), "patients": len(set(cases[name].patients.tolist()))}
        for name in cases
    }


def _retrieved(settings: CompareIdentitiesSettings, cases: Cases, values: np.ndarray) -> dict[str, dict]:
    level, keys = 1 - settings.alpha, ("retrieved", "retrieved_top5")
    return {
        key: statistics.mean_estimate(_measured(cases, values[..., column]), level=level).to_json()
        for column, key in enumerate(keys)
    }


def _compare(
    settings: CompareIdentitiesSettings,
    tests: Mapping[str, dict],
    sets: Sequence[str],
    cases: Mapping[str, Cases],
    values: Mapping[str, np.ndarray],
) -> None:
    """Add the tests of the generated sets to `tests`."""
    above, against, level = {}, {}, 1 - settings.alpha
    for name in sets:
        right, guess = values[name][..., 0], values[name][0, :, 2]
        above[name] = above_chance(right, guess, cases[name].patients, level=level)
        own = _measured(cases[name], right)
        real = {part: _of(cases[part], values[part][..., 0], own.patients) for part in (UNSEEN, SEEN)}
        against[name] = readers_test(of_the_same(real[UNSEEN], own), paired(len(right)), level=level)
        drop = readers_test(of_the_same(own, real[SEEN]), paired(len(right)), level=level)
        tests[name]["drop"] = drop.estimate(own.cases).to_json()
    beyond, apart = (_adjusted({name: test.p for name, test in found.items()}) for found in (above, against))
    alike = _adjusted({name: statistics.equivalence_p(test, settings.margin) for name, test in against.items()})
    for name in sets:
        reason = too_few(len(values[name]))
        equivalent = reason is None and alike[name] <= settings.alpha / 2
        tests[name]["above"] = _told(above[name], beyond[name], cases[name])
        tests[name]["against"] = _told(against[name], apart[name], cases[name]) | {"equivalent": equivalent}
        words = [
            leak(above[name], beyond[name], settings.alpha),
            beside_real(against[name], apart[name], equivalent, settings.alpha),
        ]
        tests[name] |= {"finding": words if reason is None else None, "reason": reason}


def _of(cases: Cases, values: np.ndarray, patients: np.ndarray) -> Measured:
    """The same of the images of some of the patients."""
    kept = np.isin(cases.patients, patients)
    return _measured(Cases(cases.images[kept], cases.patients[kept], cases.labels[kept]), values[:, kept])


def _adjusted(p: Mapping[str, float]) -> dict[str, float]:
    return dict(zip(p, holm(list(p.values())).tolist(), strict=True)) if p else {}


def _told(test: SeedTest, p: float, cases: Cases) -> dict:
    return {"difference": test.estimate(len(cases.images)).to_json(), "p": p}

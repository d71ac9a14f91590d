"""What the searches find: detection at a set false-positive rate, beside a classifier, and localisation.

The document (seed 004, results 3, table 6) let one radiologist look at 100 abnormal films and their differences,
without a threshold and without normal films. Here a score and a threshold decide: the threshold lets through a set
share of *held-out* normal films, for the search and for the supervised classifier alike, and normal test films give the
specificity.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from synthmed.anomaly.cases import Case, EvaluateSettings, Processing
from synthmed.anomaly.detection import (
    Known,
    adjusted,
    compared,
    compared_areas,
    detection,
    rates,
    systems,
    threshold_for_rate,
)
from synthmed.anomaly.examples import write_examples
from synthmed.anomaly.measured import PROCESSINGS, Measured, chances, read_searches
from synthmed.anomaly.supervised import Supervised, classify
from synthmed.classifiers import network
from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_csv, write_json
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.metrics.difference_maps import SCORES, SIGNS, Sign
from synthmed.metrics.statistics import case_mean
from synthmed.training.device import choose_device, derived_seed


# ------------------------------------------------------------------------------------------------------------ the step
@step("anomaly-evaluate")
def anomaly_evaluate(
    settings: EvaluateSettings,
    *,
    held_out_images: Path,
    held_out: list[Path],
    query_images: list[Path],
    queries: list[Path],
    classifier: Path,
    classifier_report: Path,
    out: Output,
    cases: Output,
    examples: Output,
) -> None:
    """Detection and localisation of anomalies.

    Judge the searches `settings.searches`.

    held_out_images: image set of which each search looked at normal images that neither the generator nor the
    classifier was trained on; held_out: their results, one a search. query_images: image sets of the test (normal
    images, trained and untrained findings, with boxes or masks where known); queries: results, those of the first
    search for all sets, then those of the second, and so on. classifier: the multi-label one on normal and trained
    findings, with its report.

    out (.json): detection of each search, score and processing; Table 6 by finding; trained and untrained findings
    against the classifier (see detection.compared and adjusted); localisation, and for each processing its chance.
    cases (.csv): one row a case, held-out ones too. examples (.npz): cases drawn by chance, for figures. Raises
    InputError on unusable input.
    """
    _check_files(settings, held_out, query_images, queries)
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    sets = [("held_out", ImageSet(held_out_images)), *(("query", ImageSet(path)) for path in query_images)]
    paths = {
        name: [held_out[number], *queries[number * len(query_images) : (number + 1) * len(query_images)]]
        for number, name in enumerate(settings.searches)
    }
    rival = _rival(settings, classifier, classifier_report).to(device)
    known, measured, positions = read_searches(settings, sets, paths)
    if any(case.findings for case in known if case.part == "held_out"):
        raise InputError(
            f"{held_out[0]}: abnormal images among the held-out; search for {settings.normal!r} only there"
        )
    said = [
        classify(rival, images, where, settings.normal, settings.batch_size)
        for (_, images), where in zip(sets, positions, strict=True)
    ]
    supervised = Supervised(
        np.concatenate([one.margins for one in said]),
        np.concatenate([one.likelihoods for one in said]),
        np.concatenate([one.target for one in said]),
    )
    result, decisions = judge(settings, known, measured, supervised, rival)
    write_json(out, result)
    write_cases(cases, settings, known, measured, supervised, rival, decisions)
    write_examples(examples, settings, known, sets, positions, paths[settings.search], rival, supervised)


def _check_files(
    settings: EvaluateSettings, held_out: Sequence[Path], query_images: Sequence[Path], queries: Sequence[Path]
) -> None:
    for name, paths, wanted in (
        ("held_out", held_out, len(settings.searches)),
        ("queries", queries, len(settings.searches) * len(query_images)),
    ):
        if len(paths) != wanted or not query_images:
            raise InputError(
                f"{name}: {len(paths)} files for the searches {list(settings.searches)} and {len(query_images)} sets "
                f"of query images; {wanted} are needed, search after search"
            )


def _rival(settings: EvaluateSettings, classifier: Path, report: Path) -> network.Classifier:
    """The classifier. Raises InputError when the report is of another one, or its targets are not in the settings."""
    rival = network.load(classifier)
    if set(read_json(report)["targets"]) != set(rival.targets):
        raise InputError(f"{report}: is not the report of {classifier}; give the two of one training")
    unknown = [name for name in rival.targets if name not in (settings.normal, *settings.kinds)]
    if unknown or set(rival.targets) == {settings.normal}:
        raise InputError(f"{classifier}: its targets {list(rival.targets)} must be in the setting kinds, or normal")
    return rival


def known_of(cases: Sequence[Case], settings: EvaluateSettings, targets: Sequence[str]) -> Known:
    """The cases as arrays; targets: the classifier's outputs, of which a case is `trained` when it has one."""
    kinds = {kind: np.array([kind in case.findings for case in cases]) for kind in settings.kinds}
    learnt = [where for kind, where in kinds.items() if kind in targets]
    return Known(
        query=np.array([case.part == "query" for case in cases]),
        abnormal=np.array([bool(case.findings) for case in cases]),
        trained=np.any(learnt, axis=0),
        patients=np.array([case.patient for case in cases]),
        kinds=kinds,
    )


def judge(
    settings: EvaluateSettings,
    cases: Sequence[Case],
    measured: dict[str, Measured],
    supervised: Supervised,
    classifier: network.Classifier,
) -> tuple[dict, dict[str, np.ndarray]]:
    """The result, and who calls which case abnormal: search, or "supervised" → bool (N,)."""
    known, rate, level = known_of(cases, settings, classifier.targets), settings.false_positive_rate, settings.level
    best, key = measured[settings.search], (settings.score, settings.processing)

    def stream(name: str) -> np.random.Generator:
        return np.random.default_rng(derived_seed(settings.seed, f"{name} of the anomaly test"))

    names = [*measured, "supervised"]
    scores = [*(one.scores[key] for one in measured.values()), supervised.margins]
    found = dict(zip(names, systems(scores, known, rate, settings.resamples, stream("thresholds")), strict=True))
    pair = found[settings.search], found["supervised"]
    rival = detection(supervised.margins, known, rate, level)
    return {
        "settings": asdict(settings),
        "held_out": held_out_facts(known, rate),
        "queries": query_facts(known),
        "searches": {name: search_result(one, known, settings) for name, one in measured.items()},
        "supervised": {
            "targets": list(classifier.targets),
            "seeds": len(classifier.models),
            **rival,
            "own_thresholds": own_thresholds(supervised.margins, known, level),
        },
        "kinds": [
            {"kind": kind, "trained": kind in classifier.targets, **rates(*pair, known, known.query & where, level)}
            for kind, where in known.kinds.items()
        ],
        "groups": adjusted(
            {
                name: compared(*pair, known, where, level, stream(f"comparison, {name}"))
                for name, where in known.groups.items()
            }
        ),
        "auroc": {
            name: areas(best.scores[key], supervised.margins, known, known.groups[name], level)
            for name in ("trained", "untrained", "all")
        },
        "chance": chance_result(cases, known, settings),
    }, {name: system.called for name, system in found.items()}


def held_out_facts(known: Known, rate: float) -> dict:
    """How many held-out normals set the thresholds, in which steps, and whether their patients are in the test too."""
    held_out, query = (set(known.patients[where]) for where in (~known.query, known.query))
    cases = int((~known.query).sum())
    return {
        "cases": cases,
        "patients": len(held_out),
        "allowed": threshold_for_rate(np.zeros(cases), rate).allowed,
        "resolution": 1 / cases,
        "patients_also_in_queries": len(held_out & query),
    }


def query_facts(known: Known) -> dict[str, int]:
    """Counts of the query cases."""
    return {
        "cases": int(known.query.sum()),
        "patients": len(np.unique(known.patients[known.query])),
        "normal": int(known.groups["normal"].sum()),
        "abnormal": int(known.groups["all"].sum()),
        "several_findings": int((np.sum(list(known.kinds.values()), axis=0)[known.query] > 1).sum()),
    }


def search_result(one: Measured, known: Known, settings: EvaluateSettings) -> dict:
    """One search: detection by every score and processing, localisation, and what it cost on the queries."""
    query = known.query
    return {
        "scores": {
            score: {
                processing: detection(
                    one.scores[score, processing], known, settings.false_positive_rate, settings.level
                )
                for processing in PROCESSINGS
            }
            for score in SCORES
        },
        "localisation": {
            sign: {
                processing: localisation(one, (sign, processing), known, settings.level) for processing in PROCESSINGS
            }
            for sign in SIGNS
        },
        "steps": float(one.iterations[query].mean()),
        "passes": float(one.passes[query].mean()),
        "started_by_encoder": float(one.encoder[query].mean()),
        "error": {
            "held_out": float(one.errors[~query].mean()),
            "normal": float(one.errors[known.groups["normal"]].mean()),
            "abnormal": float(one.errors[known.groups["all"]].mean()),
        },
    }


def localisation(one: Measured, key: tuple[Sign, Processing], known: Known, level: float) -> dict[str, dict]:
    """Pointing game and average precision of one map; cases without a region do not count."""
    return {
        "pointing_game": case_mean(one.hits[key], known.patients, level=level).to_json(),
        "average_precision": case_mean(one.precisions[key], known.patients, level=level).to_json(),
    }


def chance_result(cases: Sequence[Case], known: Known, settings: EvaluateSettings) -> dict:
    """What maps of noise reach in the regions of these cases, by processing."""
    to_point, to_cover = (chances([getattr(case, name) for case in cases], settings) for name in ("boxes", "mask"))
    return {
        processing: {
            "pointing_game": case_mean(to_point[processing], known.patients, level=settings.level).to_json(),
            "average_precision": case_mean(to_cover[processing], known.patients, level=settings.level).to_json(),
        }
        for processing in PROCESSINGS
    }


def areas(own: np.ndarray, other: np.ndarray, known: Known, group: np.ndarray, level: float) -> dict:
    """AUROC of the search, scores `own` (N,), and of the classifier on a group of abnormal and all normal queries."""
    chosen = group | known.groups["normal"]
    return compared_areas(own[chosen], other[chosen], known.abnormal[chosen], known.patients[chosen], level)


def own_thresholds(margins: np.ndarray, known: Known, level: float) -> dict[str, dict]:
    """Rates of the classifier at the thresholds of its training, where its margin (N,) is 0."""
    abnormal, normal = known.groups["all"], known.groups["normal"]
    return {
        "sensitivity": case_mean(margins[abnormal] >= 0, known.patients[abnormal], level=level).to_json(),
        "specificity": case_mean(margins[normal] < 0, known.patients[normal], level=level).to_json(),
    }


def _cell(value: float) -> float | None:
    """A number for a CSV cell, with the digits that matter; empty for NaN."""
    return None if np.isnan(value) else float(f"{value:.6g}")


def write_cases(
    path: Path,
    settings: EvaluateSettings,
    cases: Sequence[Case],
    measured: dict[str, Measured],
    supervised: Supervised,
    classifier: network.Classifier,
    decisions: dict[str, np.ndarray],
) -> None:
    """One row a case: what it is, what each search and the classifier make of it. <search>_score and _detected are
    those that decide; _pointing and _precision are of the positive map after the deciding processing."""
    rows = []
    for number, case in enumerate(cases):
        row: dict[str, object] = {
            "image": case.image,
            "patient": case.patient,
            "part": case.part,
            "label": case.label,
            "findings": ";".join(case.findings),
        }
        for name, one in measured.items():
            key = ("positive", settings.processing)
            row |= {
                f"{name}_score": _cell(one.scores[settings.score, settings.processing][number]),
                f"{name}_score_raw": _cell(one.scores[settings.score, "raw"][number]),
                f"{name}_detected": "yes" if decisions[name][number] else "no",
                f"{name}_error": _cell(one.errors[number]),
                f"{name}_steps": int(one.iterations[number]),
                f"{name}_passes": int(one.passes[number]),
                f"{name}_pointing": _cell(one.hits[key][number]),
                f"{name}_precision": _cell(one.precisions[key][number]),
            }
        row |= {
            "supervised_score": _cell(supervised.margins[number]),
            "supervised_detected": "yes" if decisions["supervised"][number] else "no",
            "supervised_loudest": classifier.targets[supervised.target[number]],
        }
        row |= {
            f"likelihood_{name}": _cell(value)
            for name, value in zip(classifier.targets, supervised.likelihoods[number], strict=True)
        }
        rows.append(row)
    write_csv(path, rows, list(rows[0]))

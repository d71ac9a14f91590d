"""What the searches find: detection at a set false-positive rate, beside a classifier, and localisation.

The document (seed 004, results 3, table 6) let one radiologist look at 100 abnormal films and their differences,
without a threshold and without normal films. Here a score and a threshold decide: the threshold lets through a set
share of *held-out* normal films, for the search and for the supervised classifier alike, and normal test films give the
specificity.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.special import ndtri

from synthmed.anomaly.cases import Case, EvaluateSettings
from synthmed.anomaly.examples import write_examples
from synthmed.anomaly.measured import PROCESSINGS, Measured, chances, read_searches
from synthmed.anomaly.supervised import Supervised, classify
from synthmed.classifiers import network
from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_csv, write_json
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.metrics import classification, statistics
from synthmed.metrics.difference_maps import SCORES, SIGNS
from synthmed.training.device import choose_device

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Threshold:
    """value: a case is called abnormal when its score is above it. allowed: held-out normals that may be above."""

    value: float
    allowed: int


def threshold_for_rate(held_out: np.ndarray, rate: float) -> Threshold:
    """The lowest threshold that at most the share `rate` of the held-out scores (N,) exceeds.

    Half way between the last score that may not exceed it and the next above. With fewer than 1/rate held-out images
    none may exceed it, and the threshold is the highest of their scores.
    """
    ordered = np.sort(np.asarray(held_out, dtype=np.float64))[::-1]
    # The small number keeps 0.1 · 30 from becoming 2.
    allowed = int(np.floor(rate * len(ordered) + 1e-9))
    value = ordered[allowed]
    above = ordered[allowed - 1] if allowed else value
    return Threshold(float((value + above) / 2), allowed)


def share(hits: np.ndarray, level: float) -> dict:
    """Share of hits (bool) with the exact interval of Clopper and Pearson, and the counts it comes from."""
    if len(hits) == 0:
        return {"value": None, "reason": "there is no such case", "count": 0, "of": 0}
    found = classification.clopper_pearson(int(hits.sum()), len(hits), level)
    return {"value": found.value, "low": found.low, "high": found.high, "count": int(hits.sum()), "of": len(hits)}


def area(scores: np.ndarray, positive: np.ndarray, patients: np.ndarray, level: float) -> dict:
    """AUROC with a normal interval from DeLong's variance, clustered by patient, cut to 0 … 1; without an interval when
    no pair is in the wrong order, because then there is no variance to estimate."""
    if len(np.unique(patients[positive])) < 2 or len(np.unique(patients[~positive])) < 2:
        return {"value": None, "reason": "an AUROC with its interval needs two patients of each class"}
    areas, covariance = statistics.auroc_covariance(scores[None], positive, patients)
    value, half = float(areas[0]), float(ndtri((1 + level) / 2) * np.sqrt(max(covariance[0, 0], 0.0)))
    if half == 0:
        return {"value": value, "low": None, "high": None}
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half)}


def mean_of(values: np.ndarray, level: float) -> dict:
    """Mean of values in 0 … 1, those that are not NaN, with its interval, and their number.

    The interval is the exact one of Clopper and Pearson when all values are 0 or 1, otherwise the t interval, cut to
    0 … 1. low and high are None when the other values are all equal or there is only one: nothing to estimate from.
    """
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return {"value": None, "reason": "no such case has a box or a mask", "of": 0}
    if np.isin(values, (0, 1)).all():
        exact = classification.clopper_pearson(int(values.sum()), len(values), level)
        return {"value": exact.value, "low": exact.low, "high": exact.high, "of": len(values)}
    if values.min() == values.max():
        return {"value": float(values[0]), "low": None, "high": None, "of": len(values)}
    found = statistics.mean_interval(values, level=level)
    return {**found, "low": max(0.0, found["low"]), "high": min(1.0, found["high"]), "of": len(values)}


def detection(
    scores: np.ndarray, held_out: np.ndarray, abnormal: np.ndarray, patients: np.ndarray, settings: EvaluateSettings
) -> dict:
    """One score on all query cases: threshold, rates and area under the curve.

    scores: (N,) of the queries; held_out: scores of the held-out normals; abnormal: bool (N,).
    """
    threshold = threshold_for_rate(held_out, settings.false_positive_rate)
    called = scores > threshold.value
    return {
        "threshold": threshold.value,
        "held_out_false_positives": share(held_out > threshold.value, settings.level),
        "sensitivity": share(called[abnormal], settings.level),
        "specificity": share(~called[~abnormal], settings.level),
        "auroc": area(scores, abnormal, patients, settings.level),
    }


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
    against the classifier with McNemar's test; localisation, and for each processing its chance. cases (.csv): one row
    a case, held-out ones too. examples (.npz): cases drawn by chance, for figures. Tests and exact intervals take cases
    as independent; the number of patients stands beside them. Raises InputError on unusable input.
    """
    settings.check()
    for name, paths, wanted in (
        ("held_out", held_out, len(settings.searches)),
        ("queries", queries, len(settings.searches) * len(query_images)),
    ):
        if len(paths) != wanted or not query_images:
            raise InputError(
                f"{name}: {len(paths)} files for the searches {list(settings.searches)} and {len(query_images)} sets "
                f"of query images; {wanted} are needed, search after search"
            )
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    sets = [("held_out", ImageSet(held_out_images)), *(("query", ImageSet(path)) for path in query_images)]
    paths = {
        name: [held_out[number], *queries[number * len(query_images) : (number + 1) * len(query_images)]]
        for number, name in enumerate(settings.searches)
    }
    trained_on = set(read_json(classifier_report)["targets"])
    rival = network.load(classifier).to(device)
    if trained_on != set(rival.targets):
        raise InputError(f"{classifier_report}: is not the report of {classifier}; give the two of one training")
    unknown = [name for name in rival.targets if name not in (settings.normal, *settings.kinds)]
    if unknown or set(rival.targets) == {settings.normal}:
        raise InputError(f"{classifier}: its targets {list(rival.targets)} must be in the setting kinds, or normal")
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


def judge(
    settings: EvaluateSettings,
    cases: Sequence[Case],
    measured: dict[str, Measured],
    supervised: Supervised,
    classifier: network.Classifier,
) -> tuple[dict, dict[str, np.ndarray]]:
    """The result, and who calls which case abnormal: search, or "supervised" → bool (N,)."""
    level = settings.level
    query = np.array([case.part == "query" for case in cases])
    if query.all() or not query.any():
        raise InputError("anomaly-evaluate needs held-out normal images and query images; one of them is empty")
    abnormal = np.array([bool(case.findings) for case in cases])[query]
    if abnormal.all() or not abnormal.any():
        raise InputError("the query images are all normal or all abnormal; detection needs both")
    patients = np.array([case.patient for case in cases])
    held_patients, query_patients = set(patients[~query]), set(patients[query])
    trained_kinds = [name for name in classifier.targets if name != settings.normal]
    trained = np.array([any(name in trained_kinds for name in case.findings) for case in cases])[query]
    of_query = [case for case in cases if case.part == "query"]

    decisions: dict[str, np.ndarray] = {}
    searches = {}
    for name, one in measured.items():
        scores = {
            score: {
                processing: detection(
                    one.scores[score, processing][query], one.scores[score, processing][~query], abnormal,
                    patients[query], settings,
                )
                for processing in PROCESSINGS
            }
            for score in SCORES
        }  # fmt: skip
        threshold = scores[settings.score][settings.processing]["threshold"]
        decisions[name] = one.scores[settings.score, settings.processing] > threshold
        searches[name] = {
            "scores": scores,
            "localisation": {
                sign: {
                    processing: {
                        "pointing_game": mean_of(one.hits[sign, processing], level),
                        "average_precision": mean_of(one.precisions[sign, processing], level),
                    }
                    for processing in PROCESSINGS
                }
                for sign in SIGNS
            },
            "steps": float(one.iterations[query].mean()),
            "passes": float(one.passes[query].mean()),
            "started_by_encoder": float(one.encoder[query].mean()),
            "error": {
                "held_out": float(one.errors[~query].mean()),
                "normal": float(one.errors[query][~abnormal].mean()),
                "abnormal": float(one.errors[query][abnormal].mean()),
            },
        }
    rival = detection(supervised.margins[query], supervised.margins[~query], abnormal, patients[query], settings)
    decisions["supervised"] = supervised.margins > rival["threshold"]
    to_point, to_cover = (chances([getattr(case, name) for case in cases], settings) for name in ("boxes", "mask"))
    by_chance = {
        processing: {
            "pointing_game": mean_of(to_point[processing], level),
            "average_precision": mean_of(to_cover[processing], level),
        }
        for processing in PROCESSINGS
    }

    def compared(where: np.ndarray) -> dict:
        """Both systems on the query cases `where`; right = abnormal called abnormal, normal not."""
        own, other = (decisions[name][query][where] for name in (settings.search, "supervised"))
        test = statistics.mcnemar(own == abnormal[where], other == abnormal[where])
        return {
            "cases": int(where.sum()),
            "patients": len(set(patients[query][where])),
            "anogan": share(own, level),
            "supervised": share(other, level),
            "only_anogan_right": test.only_first,
            "only_supervised_right": test.only_second,
            "p": test.exact,
        }

    best = measured[settings.search]
    key = ("positive", settings.processing)
    kinds = []
    for kind in settings.kinds:
        where = np.array([kind in case.findings for case in of_query])
        kinds.append(
            {
                "kind": kind,
                "trained": kind in trained_kinds,
                **compared(where),
                "pointing_game": mean_of(best.hits[key][query][where], level),
                "average_precision": mean_of(best.precisions[key][query][where], level),
            }
        )
    areas = {}
    for name, where in (("trained", trained), ("untrained", abnormal & ~trained), ("all", abnormal)):
        chosen = where | ~abnormal
        own, other = best.scores[settings.score, settings.processing][query][chosen], supervised.margins[query][chosen]
        areas[name] = {
            "anogan": area(own, abnormal[chosen], patients[query][chosen], level),
            "supervised": area(other, abnormal[chosen], patients[query][chosen], level),
        }
        if areas[name]["anogan"]["value"] is not None:
            test = statistics.delong_test(other, own, abnormal[chosen], patients[query][chosen])
            areas[name] |= {"difference": test.difference, "p": test.p}
    held = int((~query).sum())
    return {
        "settings": asdict(settings),
        "held_out": {
            "cases": held,
            "patients": len(held_patients),
            "allowed": threshold_for_rate(supervised.margins[~query], settings.false_positive_rate).allowed,
            "resolution": 1 / held,
            "patients_also_in_queries": len(held_patients & query_patients),
        },
        "queries": {
            "cases": len(of_query),
            "patients": len(query_patients),
            "normal": int((~abnormal).sum()),
            "abnormal": int(abnormal.sum()),
            "several_findings": sum(len(case.findings) > 1 for case in of_query),
        },
        "searches": searches,
        "supervised": {
            "targets": list(classifier.targets),
            "seeds": len(classifier.models),
            **rival,
            "own_thresholds": {
                "sensitivity": share(supervised.margins[query][abnormal] >= 0, level),
                "specificity": share(supervised.margins[query][~abnormal] < 0, level),
            },
        },
        "kinds": kinds,
        "groups": {
            "trained": compared(trained),
            "untrained": compared(abnormal & ~trained),
            "all": compared(abnormal),
            "normal": compared(~abnormal),
        },
        "auroc": areas,
        "chance": by_chance,
    }, decisions


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

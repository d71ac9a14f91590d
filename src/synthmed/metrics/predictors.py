"""Whether measures of images predict their effects on tasks."""

from collections.abc import Mapping, Sequence

import numpy as np

from synthmed.metrics.association import Association, kendall
from synthmed.metrics.effects import gain
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.quality import METRICS
from synthmed.metrics.statistics import holm

PREDICTORS = {name: METRICS[name].header for name in ("fid", "kid", "precision", "recall", "density", "coverage")} | {
    "label_fidelity": "label fidelity"
}
"""Measures of a set that may tell beforehand what it does for the task → their names for people."""
PREDICTOR_COLUMNS = ("measure", "tau", "tau_low", "tau_high", "p", "p_holm", "pairs", "generators", "note")


def predictor_rows(rows: Sequence[Mapping[str, str]]) -> list[dict]:
    """Whether generators that a measure calls better help more: Kendall's τ-b over pairs of generators of one task.

    rows: of the leaderboard, as read; those count whose images were added to real ones. tau: 1 where the order by the
    measure (the better, the higher) is that by the gain, −1 where it is the opposite; its 95 % interval draws
    generators within experiments. p: how often an order by chance agrees or disagrees as much, generators exchanging
    their measures within experiments; p_holm: adjusted over the measures. pairs, generators: that differ in both. Sets
    that are drawn of one training are one generator, with their mean.
    """
    found = {measure: _together(rows, measure) for measure in PREDICTORS}
    tested = [measure for measure, one in found.items() if one.p is not None]
    p_holm = dict(zip(tested, holm([found[measure].p for measure in tested]).tolist(), strict=True))
    return [
        {
            "measure": title,
            "tau": found[measure].tau.value,
            "tau_low": found[measure].tau.low,
            "tau_high": found[measure].tau.high,
            "p": found[measure].p,
            "p_holm": p_holm.get(measure),
            "pairs": found[measure].tau.n,
            "generators": found[measure].units,
            "note": found[measure].tau.reason or "",
        }
        for measure, title in PREDICTORS.items()
    ]


def _together(rows: Sequence[Mapping[str, str]], measure: str) -> Association:
    known = [
        row
        for row in rows
        if all(row[name] != "" for name in ("effect", measure)) and float(row["synthetic_share"]) < 1
    ]
    if not known:
        return Association(Estimate.missing("no generator has both", 0), None, 0)
    sets: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for row in known:
        group = f"{row['experiment']} {row['task']} {row['fid_extractor']} {row['fid_only_of']}"
        sets.setdefault((group, f"{row['experiment']} {row['trained_as']}"), []).append(row)
    better = 1 if measure not in METRICS or METRICS[measure].higher_is_better else -1
    return kendall(
        [float(np.mean([better * float(row[measure]) for row in of_one])) for of_one in sets.values()],
        [float(np.mean([gain(row) for row in of_one])) for of_one in sets.values()],
        [group for group, _ in sets],
        [generator for _, generator in sets],
        level=0.95,
        resamples=2000,
        rng=np.random.default_rng(1),
    )

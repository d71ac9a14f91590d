"""Effects of generators on tasks: the columns of their table, and whether a measure of the images predicts them."""

from collections.abc import Mapping, Sequence

import numpy as np

from synthmed.metrics.association import kendall
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.quality import METRICS

EFFECT_COLUMNS = (
    "experiment", "task", "generator", "arm", "outcome", "effect", "effect_low", "effect_high", "p_holm", "verdict",
    "equivalent", "synthetic_share", "fid", "fid_extractor", "fid_floor", "kid", "precision", "recall", "density",
    "coverage", "copy_alarm", "copy_share", "copy_limit", "label_fidelity", "note",
)  # fmt: skip
"""Columns of effects.csv and of the leaderboard. effect: of the outcome that decides the task; fid, kid, …: means of
the classes', of as many generated images as fid_floor has held-out real ones; copy_alarm, copy_limit: the word of the
audit, and what it would have found; label_fidelity: how often the models of the real arm see the class that an image
claims to show (of masks: the agreement with what they draw)."""
PREDICTORS = {name: METRICS[name].header for name in ("fid", "kid", "precision", "recall", "density", "coverage")} | {
    "label_fidelity": "label fidelity"
}
"""Measures of a set that may tell beforehand what it does for the task → their names for people."""
PREDICTOR_COLUMNS = ("measure", "tau", "tau_low", "tau_high", "pairs", "generators", "note")


def predictor_rows(rows: Sequence[Mapping[str, str]]) -> list[dict]:
    """Whether generators that a measure calls better help more: Kendall's τ-b over pairs of generators of one task.

    rows: of the leaderboard, as read; those count whose images were added to real ones. tau: 1 where the order by the
    measure (the better, the higher) is that by the effect, −1 where it is the opposite; its 95 % interval draws
    generators within experiments.
    """
    found = []
    for measure, title in PREDICTORS.items():
        known = [
            row
            for row in rows
            if all(row[name] != "" for name in ("effect", measure)) and float(row["synthetic_share"]) < 1
        ]
        better = 1 if measure not in METRICS or METRICS[measure].higher_is_better else -1
        units = [f"{row['experiment']} {row['generator']}" for row in known]
        tau = Estimate.missing("no generator has both", 0)
        if known:
            tau = kendall(
                [better * float(row[measure]) for row in known],
                [float(row["effect"]) for row in known],
                [f"{row['experiment']} {row['task']} {row['fid_extractor']}" for row in known],
                units,
                level=0.95,
                resamples=2000,
                rng=np.random.default_rng(1),
            )
        found.append(
            {
                "measure": title,
                "tau": tau.value,
                "tau_low": tau.low,
                "tau_high": tau.high,
                "pairs": tau.n,
                "generators": len(set(units)),
                "note": tau.reason or "",
            }
        )
    return found

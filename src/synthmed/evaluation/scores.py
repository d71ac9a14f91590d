"""What trained models said of test images: one table for every task, with one writer and one reader.

`scores.csv` has a row for each arm, test set, training (seed) and image: `arm, test, seed, image, patient, label`, then
the score columns of the task: for classification `p_<class>`, the probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path, read_json
from synthmed.data.imageset import NOT_MADE, ImageSet
from synthmed.metrics import statistics

T = TypeVar("T")

KEYS = ("arm", "test", "seed", "image", "patient", "label")


@dataclass(frozen=True)
class Cases:
    """The images of one test set, in the order of every array of scores: images, patients, labels, str (N,) each."""

    images: np.ndarray
    patients: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Scores:
    """Scores of all arms on all test sets.

    columns: names of the C score columns; cases: of each test set; values: (arm, test) → float64 (S, N, C), one of S
    trainings after the other. Not every arm is tested on every set.
    """

    columns: tuple[str, ...]
    cases: dict[str, Cases]
    values: dict[tuple[str, str], np.ndarray]

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in the order of `values`."""
        return list(dict.fromkeys(arm for arm, _ in self.values))

    def tests_of(self, arm: str) -> list[str]:
        """Names of the test sets that the arm was tested on, in the order of `values`."""
        return [test for name, test in self.values if name == arm]


class Trained(Protocol):
    """What all trainings of an arm gave: a model of each."""

    models: Sequence[object]


def cases_of(images: ImageSet, rows: Sequence[int] | None = None) -> Cases:
    """The images of a set, or those at the positions `rows`, as cases."""
    rows = np.arange(len(images)) if rows is None else np.asarray(rows, dtype=int)
    return Cases(*(np.array(images.column(name))[rows] for name in ("image", "patient", "label")))


def same_seeds(trained: Mapping[str, Trained]) -> int:
    """Trainings of each arm. Raises InputError when the arms differ in it."""
    seeds = {arm: len(one.models) for arm, one in trained.items()}
    if len(set(seeds.values())) > 1:
        raise InputError(f"the models of the arms have different numbers of seeds, {seeds}; train all with the same")
    return next(iter(seeds.values()))


def by_arm(values: Mapping[tuple[str, str], T], arms: Sequence[str]) -> dict[tuple[str, str], T]:
    """(arm, test) → values, in the order of the arms."""
    return dict(sorted(values.items(), key=lambda item: arms.index(item[0][0])))


def described(description: Path, arms: Sequence[str], reports: Sequence[Mapping]) -> dict:
    """What `compose-arms` wrote of these arms of a task, with `budget_limited` of each from the report of its training,
    and the model that all were trained with."""
    found = read_json(description)
    found["arms"] = {arm: found["arms"][arm] for arm in arms}
    for arm, report in zip(arms, reports, strict=True):
        if NOT_MADE in report:
            continue
        found["arms"][arm] |= {"budget_limited": report["budget_limited"]}
    return found | dict.fromkeys(("model", "backbone"), reports[0]["architecture"])


def write_scores(path: str | Path, scores: Scores) -> None:
    """Write `scores` atomically: arm by arm, test by test, seed by seed."""
    parts = []
    for (arm, test), values in scores.values.items():
        cases, (seeds, count) = scores.cases[test], values.shape[:2]
        parts.append(
            pd.DataFrame(
                {
                    "arm": arm,
                    "test": test,
                    "seed": np.repeat(np.arange(seeds), count),
                    "image": np.tile(cases.images, seeds),
                    "patient": np.tile(cases.patients, seeds),
                    "label": np.tile(cases.labels, seeds),
                    **{name: values[:, :, place].ravel() for place, name in enumerate(scores.columns)},
                }
            )
        )
    with atomic_path(path) as temporary:
        pd.concat(parts).to_csv(temporary, index=False, lineterminator="\n")


def read_scores(path: str | Path, columns: Sequence[str]) -> Scores:
    """Read scores.csv, in any order of rows; `columns` are the score columns that are needed.

    Raises InputError when columns lack, a score is no finite number, a row occurs twice, an image changes its label or
    patient, or the arms of a test set differ in their seeds or images.
    """
    table = _table(path, columns)
    cases, values = {}, {}
    for test, of_test in table.groupby("test", sort=False):
        facts = of_test[["image", "patient", "label"]].drop_duplicates().sort_values("image")
        if (twice := facts["image"][facts["image"].duplicated()]).size:
            raise InputError(f"{path}: image {twice.iloc[0]!r} of {test!r} changes its patient or label; make it again")
        cases[test] = Cases(*(facts[name].to_numpy(dtype=str) for name in ("image", "patient", "label")))
        seeds = of_test["seed"].unique()
        for arm, of_arm in of_test.groupby("arm", sort=False):
            if len(of_arm) != len(seeds) * len(facts):
                raise InputError(
                    f"{path}: the arm {arm!r} has {len(of_arm)} rows of the test set {test!r}, not {len(seeds)} seeds "
                    f"× {len(facts)} images; all arms need the same seeds and test images"
                )
            ordered = of_arm.sort_values(["seed", "image"])
            values[arm, test] = ordered[list(columns)].to_numpy().reshape(len(seeds), len(facts), len(columns))
    # In the order in which the pairs first occur, which is that of the arms.
    order = table[["arm", "test"]].drop_duplicates().itertuples(index=False, name=None)
    return Scores(tuple(columns), cases, {pair: values[pair] for pair in order})


def score_columns(path: str | Path) -> list[str]:
    """Names of the score columns of scores.csv."""
    return [name for name in pd.read_csv(path, nrows=0) if name not in KEYS]


def _table(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable CSV ({error}); make it again") from error
    missing = [name for name in (*KEYS, *columns) if name not in table]
    if missing:
        raise InputError(f"{path}: columns {missing} are missing; it has {list(table)}")
    if table.empty:
        raise InputError(f"{path}: there is no row in it; run the step again")
    for name in (*columns, "seed"):
        numbers = pd.to_numeric(table[name], errors="coerce")
        if (bad := ~np.isfinite(numbers)).any():
            line = int(np.flatnonzero(bad)[0])
            raise InputError(f"{path}, line {line + 2}: {name} is {table[name].iloc[line]!r}, no number")
        table[name] = numbers
    twice = table.duplicated(["arm", "test", "seed", "image"])
    if twice.any():
        row = table[twice].iloc[0]
        raise InputError(f"{path}: arm {row.arm!r}, test {row.test!r}, seed {row.seed}, image {row.image!r} twice")
    return table


def check_probabilities(scores: Scores, path: str | Path) -> None:
    """Raise InputError unless every score lies in 0 … 1, as probabilities do."""
    for (arm, test), values in scores.values.items():
        if values.min() < 0 or values.max() > 1:
            raise InputError(f"{path}: arm {arm!r}, test {test!r}: probabilities must lie in 0 … 1; did training fail?")


def called(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Whether each training calls images positive, bool (S, N). scores: (S, N) of the positive class; thresholds:
    (S,)."""
    return scores >= thresholds[:, None]


def called_by_most(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Whether most trainings call images positive, bool (N,); a tie is decided by the mean score against the mean
    threshold. See called."""
    tie = scores.mean(axis=0) >= thresholds.mean()
    return statistics.majority(called(scores, thresholds), 2, tie) == 1


def by_seed(thresholds: Mapping[str, Sequence[float]], arm: str, default: float, seeds: int) -> np.ndarray:
    """Threshold of each training of `arm`, (S,): its own, or `default` where it has none of its own."""
    return np.array(thresholds.get(arm, [default] * seeds), dtype=np.float64)

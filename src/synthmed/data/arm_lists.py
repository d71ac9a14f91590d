"""Reading `arms.csv`: the training sets of all arms of a task as lists of images with weights."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from synthmed.core.errors import InputError

COLUMNS = ("arm", "seed", "part", "set", "image", "draw", "label", "mask", "weight")
"""Of arms.csv. seed: empty for every seed; part: train (or validation, test, of an arm that has its own); draw: of the
augmentation, 0 for the image as it is; mask: the image of the set whose mask stands with it, empty for its own; weight:
how often the image stands in the training set, a whole number. An arm whose set could not be made has one row, of the
part UNMADE and without an image."""
UNMADE = "unmade"


@dataclass(frozen=True)
class Members:
    """The images of one training set, weights written out: sets, images, labels, masks, str (n,); draws, int (n,)."""

    sets: np.ndarray
    images: np.ndarray
    draws: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


def read_arms(path: str | Path, seeds: int, part: str = "train") -> dict[str, list[Members]]:
    """The lists of arms.csv of one part: arm → one for each seed. Only an arm that replaces the real images has its own
    validation and test part. Raises InputError naming the file when it is damaged or lacks a seed."""
    return {arm: found for (arm, of_part), found in _read(path, seeds).items() if of_part == part}


def unmade_row(arm: str, of: str) -> dict[str, str | int]:
    """The row of an arm whose set, `of`, could not be made."""
    return dict.fromkeys(COLUMNS, "") | {"arm": arm, "part": UNMADE, "set": of, "draw": 0, "weight": 0}


def read_unmade(path: str | Path) -> dict[str, str]:
    """The arms of arms.csv whose set could not be made: arm → set. Raises InputError as read_arms does."""
    found = _table(path)
    return dict(found.loc[found["part"] == UNMADE, ["arm", "set"]].itertuples(index=False, name=None))


def _table(path: str | Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable list of arms ({error}); run compose-arms again") from error
    if tuple(table) != COLUMNS:
        raise InputError(f"{path}: has the columns {list(table)}, not {list(COLUMNS)}; run compose-arms again")
    return table.astype({"draw": int, "weight": int})


def _read(path: str | Path, seeds: int) -> dict[tuple[str, str], list[Members]]:
    table, found = _table(path), {}
    for key, own in table.groupby(["arm", "part"], sort=False):
        by_seed = {seed: _members(rows) for seed, rows in own.groupby("seed", sort=False)}
        missing = [seed for seed in range(seeds) if "" not in by_seed and str(seed) not in by_seed]
        if missing:
            raise InputError(f"{path}: the arm {key[0]!r} has no list for seed {missing[0]}; run compose-arms again")
        found[key] = [by_seed.get("", by_seed.get(str(seed))) for seed in range(seeds)]
    return found


def _members(rows: pd.DataFrame) -> Members:
    rows = rows.loc[rows.index.repeat(rows["weight"])]
    return Members(*(rows[name].to_numpy() for name in ("set", "image", "draw", "label", "mask")))

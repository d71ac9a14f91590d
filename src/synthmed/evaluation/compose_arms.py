"""The training sets of all arms as one table, `arms.csv`, that whatever is trained reads (data/arm_lists.py)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from synthmed.core.errors import InputError, check_one_each
from synthmed.core.files import atomic_path, write_json
from synthmed.core.known import AUGMENTED, REAL
from synthmed.core.step import Output, step
from synthmed.data.arm_lists import COLUMNS, unmade_row
from synthmed.data.imageset import NOT_MADE, ImageSet, made_sets
from synthmed.data.parts import PARTS
from synthmed.data.targets import target_classes
from synthmed.evaluation.arms import PAIRS, Arm, ArmSettings, Part, check_supply, compose, define_arms, training_of
from synthmed.training.seeds import seed_of

logger = logging.getLogger(__name__)


# -------------------------------------------------------------------------------------------------------- writing
@step("compose-arms")
def compose_arms(
    settings: ArmSettings, *, train: Path, synthetic: list[Path], out: Output, description: Output
) -> None:
    """Write the training sets of all arms, for every seed.

    train: image set of the real training part; synthetic: image sets in the order of settings.sets. out: arms.csv, see
    COLUMNS. description: JSON, of every arm title, kind, set (where the arm is a point of a curve, by the name that the
    sweep knows it by), added, n_train, n_real, share (of synthetic images among all), trainings (of its generator), and
    uses_up: whether its draws use up a class of the set, so that other seeds draw the same images; of an arm whose set
    could not be made, not_made (why) in place of all numbers. Raises InputError on other numbers of sets, too few
    images, and where the set that replaces the real ones lacks a part.
    """
    check_one_each(settings.sets, synthetic=synthetic)
    made, reasons = made_sets(settings.sets, synthetic)
    table, parts = _stacked(settings, train, made)
    if settings.swap is not None:
        _check_parts(settings.swap, table, synthetic[settings.sets.index(settings.swap)])
    real = dict(zip(settings.classes, np.bincount(parts[REAL].labels, minlength=len(settings.classes)), strict=True))
    arms = define_arms(settings, {label: int(count) for label, count in real.items()})
    table = _with_draws(table, parts, arms, real)
    check_supply([arm for arm in arms if arm.set not in reasons], parts, settings.classes)
    found, described = [], {}
    for arm in arms:
        if arm.set in reasons:
            found.append(pd.DataFrame([unmade_row(arm.name, arm.set)]))
            described[arm.name] = {"kind": arm.kind, "title": arm.title, "set": arm.set, NOT_MADE: reasons[arm.set]}
            continue
        repeats = parts[arm.set].repeats if arm.set else 1
        if settings.seeds % repeats:
            raise InputError(
                f"setting seeds is {settings.seeds}, no multiple of the {repeats} trainings of {arm.set!r}; each "
                "training of a generator serves equally many"
            )
        lists = _lists(settings, arm, parts, repeats)
        size = len(lists[0][0])
        same = len(lists) == 1 or all(
            np.array_equal(a, b) for one in lists[1:] for a, b in zip(one, lists[0], strict=True)
        )
        for seed, given in enumerate(lists[:1] if same else lists):
            found.append(_frame(table, settings, arm, "" if same else str(seed), "train", *given))
        if arm.name == settings.swap:
            for part in ("validation", "test"):
                own = table.index[(table["set"] == arm.set) & (table["part"] == part)].to_numpy()
                labels = np.array([settings.classes.index(label) for label in table["label"][own]], dtype=int)
                found.append(_frame(table, settings, arm, "", part, own, labels, own))
        described[arm.name] = _described(arm, parts, settings.classes, size, repeats)
    with atomic_path(out) as temporary:
        pd.concat(found)[list(COLUMNS)].to_csv(temporary, index=False, lineterminator="\n")
    write_json(description, {"real": REAL, "swap": settings.swap, "arms": described})
    logger.info("%d arms x %d seeds; not made: %s", len(arms), settings.seeds, reasons)


def _check_parts(swap: str, table: pd.DataFrame, path: Path) -> None:
    """Raise InputError where the set that replaces the real images, which lies in `path`, lacks one of their parts."""
    there = set(table["part"][table["set"] == swap])
    if missing := [part for part in PARTS if part not in there]:
        raise InputError(
            f"{path}: no image is of the part {missing[0]!r} (column part), but setting swap replaces the real images "
            "of all parts; give a set that `pseudo-label` made, or set swap to null"
        )


def _lists(settings: ArmSettings, arm: Arm, parts: Mapping[str, Part], repeats: int) -> list[tuple]:
    """Of each seed (n,): rows, labels, and the rows whose masks stand with the images."""
    found = []
    for number in range(settings.seeds):
        seed = seed_of("classify", settings.seed, number)
        training = training_of(number, settings.seeds, repeats) if repeats > 1 else None
        rows, labels = compose(arm, parts, settings.classes, seed, training)
        masks = rows.copy()
        if settings.masks and arm.kind == "label_shuffled":
            masks[len(parts[REAL].rows) :] = of_another(rows[len(parts[REAL].rows) :], seed)
        found.append((rows, labels, masks))
    return found


def of_another(rows: np.ndarray, seed: int) -> np.ndarray:
    """`rows` (n,), shuffled so that none stays at its place (n > 1)."""
    order = np.random.Generator(np.random.PCG64(seed_of("shuffled masks", seed))).permutation(len(rows))
    found = np.empty_like(rows)
    found[order] = rows[np.roll(order, 1)]
    return found


def _with_draws(
    table: pd.DataFrame, parts: dict[str, Part], arms: Sequence[Arm], real: Mapping[str, int]
) -> pd.DataFrame:
    """The table with the augmented draws of real images that arms of pairs ask for, which join `parts`."""
    for arm in arms:
        if arm.set not in PAIRS:
            continue
        draws = max(-(-arm.added[label] // count) for label, count in real.items() if count)
        whole = table.loc[parts[REAL].rows]
        drawn = pd.concat([whole.assign(set=arm.set, draw=draw) for draw in range(1, draws + 1)])
        parts[arm.set] = Part(np.arange(len(table), len(table) + len(drawn)), np.tile(parts[REAL].labels, draws))
        table = pd.concat([table, drawn], ignore_index=True)
    return table


def _stacked(settings: ArmSettings, train: Path, synthetic: Mapping[str, Path]) -> tuple[pd.DataFrame, dict[str, Part]]:
    """The images of all sets below each other (set, image, draw, label, part), and where each set's stand."""
    frames, parts, start, real = [], {}, 0, ImageSet(train)
    for name, path in [(REAL, train), *synthetic.items()]:
        images = ImageSet(path)
        names = target_classes(images, settings.column, settings.classes, real)
        labels = np.array([settings.classes.index(label) for label in names], dtype=np.int64)
        frame = pd.DataFrame({"set": name, "image": images.column("image"), "draw": 0, "label": names})
        frame["part"] = images.column("part") if "part" in images.rows[0] else ""
        frames.append(frame)
        rows, trainings = np.arange(start, start + len(frame)), None
        if "training" in images.rows[0]:
            trainings = np.unique(images.column("training"), return_inverse=True)[1]
        keep = np.ones(len(frame), dtype=bool) if name != settings.swap else (frame["part"] == "train").to_numpy()
        parts[name] = Part(rows[keep], labels[keep], None if trainings is None else trainings[keep])
        start += len(frame)
        if name == REAL and settings.augmented_draws:
            drawn = [frame.assign(set=AUGMENTED, draw=draw) for draw in range(1, settings.augmented_draws + 1)]
            # Image by image, as the features of augmented draws are.
            frames.append(pd.concat(drawn).sort_values(["image", "draw"], kind="stable"))
            every = np.repeat(labels, settings.augmented_draws)
            parts[AUGMENTED] = Part(np.arange(start, start + len(every)), every)
            start += len(every)
    return pd.concat(frames, ignore_index=True), parts


def _frame(
    table: pd.DataFrame,
    settings: ArmSettings,
    arm: Arm,
    seed: str,
    part: str,
    rows: np.ndarray,
    labels: np.ndarray,
    masks: np.ndarray,
) -> pd.DataFrame:
    """The rows of arms.csv: images that stand several times in the list with one label and mask become one row."""
    images = table["image"].to_numpy()
    frame = table.loc[rows, ["set", "image", "draw"]].assign(
        label=np.array(settings.classes)[labels], mask=np.where(masks == rows, "", images[masks])
    )
    keys = ["set", "image", "draw", "label", "mask"]
    counted = frame.groupby(keys, sort=False).size().rename("weight").reset_index()
    return counted.assign(arm=arm.name, seed=seed, part=part)


def _described(arm: Arm, parts: Mapping[str, Part], classes: Sequence[str], size: int, repeats: int) -> dict:
    synthetic = 0 if arm.set in (None, REAL, AUGMENTED, *PAIRS) else sum(arm.added.values()) or size
    supply = (
        {label: len(parts[arm.set].of_class(classes.index(label))) // repeats for label in arm.added} if arm.set else {}
    )
    values = asdict(arm)
    del values["name"]
    return values | {
        "set": arm.curve if arm.with_real else arm.set,
        "n_train": size,
        "n_real": len(parts[REAL].rows) if arm.with_real else size - synthetic,
        "share": synthetic / size,
        "trainings": repeats,
        "uses_up": bool(synthetic and any(0 < arm.added[label] == supply[label] for label in supply)),
    }

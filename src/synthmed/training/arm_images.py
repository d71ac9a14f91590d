"""The training images of a network under test, seed by seed: the lists of an arm, of which one is in memory at a time.

A part is a dataclass of tensors with a row an image, and `patients`, their names.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from synthmed.core.errors import InputError, check_one_each
from synthmed.core.known import REAL
from synthmed.data.arm_lists import Members, read_arms, read_unmade
from synthmed.data.imageset import ImageSet, made_sets, not_made

CHUNK = 1024
"""Images of a list that are read at a time, beside those that are read already."""


class OfArm(Protocol):
    """Settings of a training: seeds, an arm, and the synthetic sets that its images may come from."""

    seeds: int
    arm: str | None
    sets: tuple[str, ...]


class Parts(Sequence):
    """The training part of every seed; of several that differ the last that was asked for is in memory."""

    def __init__(self, keys: Sequence[object], read: Callable[[Any], Any]):
        """keys: what each part is read from; equal ones (the same object) are read once."""
        self.keys, self.read = keys, read
        self.last: tuple[object, Any] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, number: int) -> Any:
        key = self.keys[number]
        if self.last is None or self.last[0] is not key:
            self.last = None  # so that two are never held
            self.last = key, self.read(key)
        return self.last[1]


def open_arm(
    settings: OfArm, train: Path, arms: Path, synthetic: Sequence[Path]
) -> tuple[dict[str, ImageSet], list[Members]]:
    """The sets that an arm may take images from, by name, and its lists, one a seed.

    arms: of `compose-arms`; synthetic: image sets in the order of settings.sets. Raises InputError when there is no
    such arm, or not a set for each name.
    """
    check_one_each(settings.sets, synthetic=synthetic)
    lists = read_arms(arms, settings.seeds)
    if settings.arm not in lists:
        raise InputError(f"{arms}: no arm {settings.arm!r}; there are {list(lists)}")
    made, _ = made_sets(settings.sets, synthetic)
    return {REAL: ImageSet(train)} | {name: ImageSet(path) for name, path in made.items()}, lists[settings.arm]


def unmade(settings: OfArm, arms: Path | None, synthetic: Sequence[Path]) -> str | None:
    """Why there is nothing to train an arm on, as its set could not be made; None where there is. See open_arm."""
    of = read_unmade(arms).get(settings.arm) if arms else None
    if of is None:
        return None
    check_one_each(settings.sets, synthetic=synthetic)
    return not_made(synthetic[settings.sets.index(of)])


def gathered(members: Members, read: Callable[[str, Members], Any]) -> Any:
    """The part of a whole list, in its order, read set by set and CHUNK by CHUNK into one place.

    read: the part of some members, all of the set of that name. Raises InputError when sizes of images differ.
    """
    whole: dict[str, Any] = {"patients": np.empty(len(members.sets), object)}
    for name in dict.fromkeys(members.sets.tolist()):
        own = np.flatnonzero(members.sets == name)
        # In the set's order, so that an image is read once, however often it is in.
        own = own[np.argsort(members.images[own], kind="stable")]
        for start in range(0, len(own), CHUNK):
            places = own[start : start + CHUNK]
            part = read(name, Members(*(getattr(members, field.name)[places] for field in fields(Members))))
            for field, values in vars(part).items():
                if field not in whole:
                    whole[field] = values.new_empty((len(members.sets), *values.shape[1:]))
                if isinstance(values, Tensor) and values.shape[1:] != whole[field].shape[1:]:
                    ours, theirs = (tuple(one.shape[1:]) for one in (values, whole[field]))
                    raise InputError(
                        f"images of the set {name!r} are {ours} (channels, height, width), others of its arm {theirs}; "
                        "prepare and sample them alike"
                    )
                whole[field][places] = values
    return type(part)(**whole | {"patients": whole["patients"].tolist()})


def check_together(patients: Sequence[Sequence[str]], shapes: Sequence[Sequence[int]], paths: Sequence[Path]) -> None:
    """Raise InputError when patients are in both parts, or images differ. Each of the training and the validation part:
    patients; shapes: (N, C, H, W) of its images; paths: its file."""
    shared = sorted({*patients[0]} & {*patients[1]})
    if shared:
        raise InputError(
            f"{paths[0]}, {paths[1]}: {len(shared)} patients are in the training and in the validation part, the first "
            f"is {shared[0]!r}; split by patient"
        )
    ours, theirs = (tuple(shape[1:]) for shape in shapes)
    if ours != theirs:
        raise InputError(
            f"{paths[0]} has images of {ours} (channels, height, width), {paths[1]} of {theirs}; prepare them alike"
        )

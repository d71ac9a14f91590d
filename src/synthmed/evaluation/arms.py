"""The arms of a task: which there are, and what each is trained on.

An arm is the real training set, or it plus something, or something alone; arm_lists writes them as lists of images.
What is drawn for an arm (which synthetic images, which real ones to repeat) follows from the training seed: another
seed draws other images, so the spread over seeds contains the spread over draws. Draws are nested: a larger share of a
sweep contains the smaller one. Where a generator was trained several times, its trainings take turns over the seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.known import AUGMENTED, KINDS, REAL, TEST
from synthmed.core.settings import Fraction
from synthmed.data.targets import TargetColumn
from synthmed.training.seeds import seed_of

Kind = Literal[KINDS]

PAIRS = {
    "on_the_fly": "Real + classic augmentation, anew at every step",
    "simple": "Real + as many by classic augmentation",
    "elastic": "Real + as many deformed elastically",
    "pasted": "Real + as many with objects of others pasted",
}
"""Arms of augmented images with their masks. Their name is also that of the set of their augmented draws."""

UNDERSAMPLED = "undersampled"
"""Arm of as many real images of each class as the smallest has; `undersampled_<set>`: with images of a set beside."""

CONTROLS = {"duplicates": REAL, "classic": AUGMENTED}
"""Curves of a sweep that need no generator: the real images again, and augmented draws of them."""

Share = Annotated[float, Meta(gt=0)]
Counts = dict[str, Annotated[int, Meta(ge=0)]]
Balance = Literal["balance"]
Dose = Share | Counts | Balance
"""How many images are added: a share of the real ones of each class, a number for each class, or, for `balance`, as
many of each class as it lacks to be as large as the largest."""


@dataclass(frozen=True)
class ArmOptions:
    """What is added to the real training images. Of added_share and added_counts one is null, or both (then nothing is
    added and the only arms are the real one and those without real images)."""

    added_share: Annotated[Share | None, Meta(description="Synthetic images for each real one of the same class.")]
    added_counts: Annotated[
        Counts | Balance | None,
        Meta(
            description="Synthetic images to add, by class; balance: as many as each class lacks to be as large as the "
            "largest."
        ),
    ]
    class_weights: Annotated[
        bool,
        Meta(description="An arm of the real images whose classes weigh the same in the loss, whatever their size."),
    ]
    augmented_draws: Annotated[
        int, Meta(ge=0, description="Augmented draws of each real image in the arm with classic augmentation; 0: none.")
    ]
    pairs: Annotated[
        tuple[Literal[tuple(PAIRS)], ...],
        Meta(
            description="Of segmenters, further arms: on_the_fly, classic augmentation of every image at every step; "
            "simple, elastic, pasted: as many pairs as are added of generators, made of real ones by classic "
            "augmentation, by elastic deformation, or by pasting objects of other patients (masks of instances)."
        ),
    ]
    sweep: Annotated[
        dict[str, tuple[Dose, ...]],
        Meta(
            description="Further additions, by generator: shares of the real count, numbers by class, or balance. "
            "duplicates, classic: the same of the real images and of their augmented draws, and as many as the "
            "generators' arms add."
        ),
    ]
    oracle_sweep: Annotated[
        tuple[Dose, ...], Meta(description="The same for fresh true draws, where the data set has a pool.")
    ]
    only_share: Annotated[
        Share | Counts | None,
        Meta(
            description="Size of the training sets without real images, as a share of the real count, or a number for "
            "each class; null: none."
        ),
    ]
    only_sweep: Annotated[
        tuple[Fraction | Literal["smallest"], ...],
        Meta(
            description="Further sizes of these, as shares of the real count, and training sets of so many of the real "
            "images: what each size is worth. smallest: of the real images alone, as many of each class as the "
            "smallest has."
        ),
    ]
    swap: Annotated[
        str | None,
        Meta(
            description="A generator whose images replace the real ones in training, validation and test, by their "
            "column `part`: the arms and tests TRTR, TSTR, TRTS and TSTS; null: none."
        ),
    ]


@dataclass(frozen=True)
class ArmSettings(ArmOptions):
    """Settings of `compose-arms`. sets: names of the synthetic sets, in the order of their files; oracle: that which
    holds fresh draws from the true distribution and is added with shuffled labels, too; null: there is none."""

    classes: Annotated[tuple[str, ...], Meta(description="Classes of the task, in order.")]
    column: TargetColumn
    sets: Annotated[tuple[str, ...], Meta(description="Names of the synthetic sets.")]
    added: Annotated[tuple[str, ...], Meta(description="Those that are added to the real images.")]
    alone: Annotated[tuple[str, ...], Meta(description="Those whose images are training sets of their own.")]
    undersampled: Annotated[
        tuple[str, ...],
        Meta(description="Those that are added, too, to as many real images of each class as the smallest has."),
    ]
    oracle: Annotated[str | None, Meta(description="The set of fresh true draws; null: none.")]
    masks: Annotated[
        bool, Meta(description="Whether masks are learned, so that images with wrong masks are known to be wrong.")
    ]
    seeds: Annotated[int, Meta(ge=1, description="Trainings of each arm.")]
    seed: Annotated[int, Meta(description="From which all draws follow.")]


@dataclass(frozen=True)
class Arm:
    """One training set.

    name: short, without spaces; title: for people, with the set's name; set: what is added (or stands alone), if any;
    added: how many images of each class of it, empty for all; share: what that was as a share of the real count, where
    it was one.
    """

    name: str
    title: str
    kind: Kind
    set: str | None
    added: dict[str, int]
    share: float | None

    @property
    def curve(self) -> str | None:
        """The curve of a sweep that the arm can be a point of: its set, by the name that settings know it by."""
        return {source: name for name, source in CONTROLS.items()}.get(self.set, self.set) if self.added else None

    @property
    def with_real(self) -> bool:
        """Whether all the real training images are in it."""
        return self.kind not in ("synthetic_only", "fewer", "fewer_generator")


@dataclass(frozen=True)
class Part:
    """Images of one set. rows: (n,) their positions in a table of all sets; labels: (n,) their classes, 0..K-1;
    trainings: (n,) which training of the generator made them, None where there was one."""

    rows: np.ndarray
    labels: np.ndarray
    trainings: np.ndarray | None = None

    def of_class(self, label: int, training: int | None = None) -> np.ndarray:
        """Positions in the table of the images of class `label`, of one training of the generator if it is given."""
        keep = self.labels == label
        if training is not None and self.trainings is not None:
            keep &= self.trainings == training
        return self.rows[keep]

    @property
    def repeats(self) -> int:
        """Trainings of the generator."""
        return 1 if self.trainings is None else len(np.unique(self.trainings))


# ------------------------------------------------------------------------------------------------------ definition
def share_of(share: float, counts: Mapping[str, int]) -> dict[str, int]:
    """`share` of the count of each class, rounded down (0.5 of 355 are 177, as in seed 001)."""
    if share <= 0:
        raise InputError(f"a share of synthetic images is {share}; it must be above 0")
    return {label: floor(share * count + 1e-9) for label, count in counts.items()}


def dose_of(options: ArmOptions) -> Dose | None:
    """What is added to the real images in the main arms; None: nothing."""
    if options.added_share is not None and options.added_counts is not None:
        raise InputError("settings added_share and added_counts: give one of them and make the other null")
    return options.added_counts if options.added_share is None else options.added_share


def added_images(dose: Dose, real: Mapping[str, int], setting: str) -> dict[str, int]:
    """Images of each class that `dose` adds. real: those that there are; setting: its name, for messages."""
    if dose == "balance":
        return {label: max(real.values()) - count for label, count in real.items()}
    if not isinstance(dose, Mapping):
        return share_of(dose, real)
    if sorted(dose) != sorted(real):
        raise InputError(f"setting {setting} must give a number for each of {sorted(real)}")
    return {label: dose[label] for label in real}


def _point(dose: Dose, classes: Sequence[str]) -> tuple[str, str]:
    """A dose in the name of an arm, and in its title; neither depends on the real counts."""
    if dose == "balance":
        return "balance", "until classes are equal"
    if not isinstance(dose, Mapping):
        return f"x{dose:g}", f"{dose:g} × real"
    counts = [(label, dose[label]) for label in classes if dose.get(label)]
    return "n" + "_".join(str(n) for _, n in counts), ", ".join(f"{n} {label}" for label, n in counts) or "none"


def define_arms(settings: ArmSettings, real: Mapping[str, int]) -> list[Arm]:
    """All arms, the real one first. real: real training images by class.

    Raises InputError when a setting names a set that is not given, or a share or count cannot be.
    """
    _check_names(settings)
    arms = [Arm(REAL, "Real only", "real", None, {}, None)]
    if settings.augmented_draws:
        arms.append(Arm("classic", "Real + classic augmentation", "classic", AUGMENTED, {}, None))
    if settings.class_weights:
        arms.append(Arm("class_weights", "Real, classes weighted alike", "class_weights", None, {}, None))
    dose, share = dose_of(settings), settings.added_share
    for name in settings.pairs:
        if name == "on_the_fly":
            arms.append(Arm(name, PAIRS[name], "classic", None, {}, None))
        elif dose is None:
            raise InputError(f"setting pairs names {name!r}, but no count: give added_share or added_counts")
        else:
            arms.append(Arm(name, PAIRS[name], "classic", name, added_images(dose, real, "added_counts"), share))
    if dose is not None:
        added = added_images(dose, real, "added_counts")
        # Every real image once more: the control without new information. A part of them would weigh images
        # unequally, which costs precision; that arm stands beside it, because it has the count of the generators.
        every = (added, share) if share == 1 else ({}, None)
        arms.append(Arm("duplicates", "Real, each image twice", "duplicates", REAL, *every))
        if share != 1:
            arms.append(Arm("duplicates_part", "Real + some real images again", "duplicates", REAL, added, share))
        if "classic" in settings.sweep:
            arms.append(Arm("classic_part", "Real + some augmented draws", "classic", AUGMENTED, added, share))
        for name in settings.added:
            kind = "oracle" if name == settings.oracle else "generator"
            arms.append(Arm(name, f"Real + {name}", kind, name, added, share))
        if settings.oracle is not None and (settings.masks or _of_several_classes(dose)):
            title = f"Real + {settings.oracle}, {'masks' if settings.masks else 'labels'} shuffled"
            arms.append(Arm(f"{settings.oracle}_shuffled", title, "label_shuffled", settings.oracle, added, share))
    sweeps = settings.sweep | ({settings.oracle: settings.oracle_sweep} if settings.oracle else {})
    there = {arm.curve for arm in arms if arm.kind != "label_shuffled"}
    for name, points in sweeps.items():
        for point in points:
            if point != dose or name not in there:  # else the arm above is that point of the sweep
                short, words = _point(point, settings.classes)
                count = added_images(point, real, f"sweep.{name}")
                title, source = f"Real + {name}, {words}", CONTROLS.get(name, name)
                share = None if isinstance(point, (Mapping, str)) else point
                arms.append(Arm(f"{name}_{short}", title, "sweep", source, count, share))
    if settings.only_share is not None:
        only = added_images(settings.only_share, real, "only_share")
        arms += [Arm(f"only_{name}", f"{name} only", "synthetic_only", name, only, None) for name in settings.alone]
    for share in settings.only_sweep:
        if share == "smallest":
            arms.append(_undersampled(real))
            arms += [_with_fewer(settings, name, arms[-1].added, dose) for name in settings.undersampled]
            continue
        part, words = share_of(share, real), f"{share:g} × real"
        arms.append(Arm(f"fewer_x{share:g}", f"Fewer real, {words}", "fewer", REAL, part, None))
        for name in settings.alone:
            arms.append(Arm(f"only_{name}_x{share:g}", f"{name} only, {words}", "synthetic_only", name, part, None))
    if settings.swap is not None:
        arms.append(Arm(settings.swap, f"{settings.swap} only", "synthetic_only", settings.swap, {}, None))
    names = [arm.name for arm in arms]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"the arms {twice} exist twice; rename a generator")
    return arms


def _undersampled(real: Mapping[str, int]) -> Arm:
    """As many real images of each class as the smallest has. real: those that there are."""
    return Arm(
        UNDERSAMPLED, "Fewer real, as many of each class", "fewer", REAL, dict.fromkeys(real, min(real.values())), None
    )


def _with_fewer(settings: ArmSettings, name: str, real: Mapping[str, int], dose: Dose | None) -> Arm:
    """The images of a set beside as many real ones of each class. real: those of the arm `undersampled`."""
    if dose is None:
        raise InputError(
            f"setting undersampled names {name!r}, but no count: give added_share or added_counts, or leave it out"
        )
    added = added_images(dose, real, "added_counts")
    return Arm(f"{UNDERSAMPLED}_{name}", f"Fewer real + {name}", "fewer_generator", name, added, None)


def _of_several_classes(dose: Dose) -> bool:
    """Whether labels can be shuffled among the images that are added, whatever the real counts."""
    return dose != "balance" and (not isinstance(dose, Mapping) or sum(map(bool, dose.values())) > 1)


def arm_names(settings: ArmSettings) -> list[str]:
    """Names of all arms, the real one first; they follow from the settings, whatever the counts."""
    return [arm.name for arm in define_arms(settings, dict.fromkeys(settings.classes, 1))]


def of_design(name: str, title: str, images: int) -> dict:
    """An arm of the same real `images` under another design of model, as `compose-arms` describes arms."""
    kind = "real" if name == REAL else "design"
    alike = {"set": None, "n_train": images, "share": 0.0, "trainings": 1, "uses_up": False}
    return {"kind": kind, "title": title, **alike}


def _check_names(settings: ArmSettings) -> None:
    own = (REAL, AUGMENTED, TEST, *PAIRS)
    if len(set(settings.sets)) != len(settings.sets) or set(own) & set(settings.sets):
        raise InputError(f"setting sets {list(settings.sets)}: each name once, none {', '.join(map(repr, own))}")
    if strangers := ({*settings.added, *settings.alone, *settings.undersampled} - set(settings.sets)):
        raise InputError(
            f"settings added, alone and undersampled name {min(strangers)!r}; the sets are {list(settings.sets)}"
        )
    if settings.pairs and not settings.masks:
        raise InputError(f"setting pairs is {list(settings.pairs)}, but this task learns no masks; set it to []")
    swept = [name for name in settings.sweep if name not in CONTROLS]
    named = {"sweep": swept, "oracle": [settings.oracle], "swap": [settings.swap]}
    for where, names in named.items():
        for name in names:
            if name is not None and name not in settings.sets:
                raise InputError(f"setting {where} names {name!r}; the sets are {list(settings.sets)}")
    if "classic" in settings.sweep and not settings.augmented_draws:
        raise InputError("setting sweep names classic, but augmented_draws is 0; draw as many as each arm needs")
    if settings.undersampled and "smallest" not in settings.only_sweep:
        raise InputError(
            f"setting undersampled names {settings.undersampled[0]!r}, but nothing shows what the fewer real images "
            "are worth without it; name smallest under only_sweep"
        )
    if settings.oracle in settings.sweep:
        raise InputError(f"setting sweep names {settings.oracle!r}, whose shares are those of oracle_sweep")
    if settings.swap is not None and dose_of(settings) is not None:
        raise InputError("setting swap: a task of its own; set added_share, added_counts and only_share to null there")


# ----------------------------------------------------------------------------------------------------- composition
def check_adds(arm: Arm) -> None:
    """Raise InputError where an arm adds nothing to the real images, as `balance` does where they are balanced."""
    if arm.added and not any(arm.added.values()):
        raise InputError(f"the arm {arm.name!r} adds no image; raise its share or counts, or leave it out")


def check_supply(arms: Sequence[Arm], parts: Mapping[str, Part], classes: Sequence[str]) -> None:
    """Raise InputError unless every set has, of every training, the images that its arms ask for."""
    for arm in arms:
        check_adds(arm)
        for label, needed in arm.added.items():
            if arm.set in (None, REAL):
                continue
            part = parts[arm.set]
            found = min(len(part.of_class(classes.index(label), training)) for training in range(part.repeats))
            if found < needed:
                raise InputError(
                    f"the arm {arm.name!r} needs {needed} {label!r} images of {arm.set!r}, which has {found}; "
                    f"{'raise augmented_draws' if arm.set == AUGMENTED else 'generate more of them (setting samples)'} "
                    "or add fewer"
                )


def compose(
    arm: Arm, parts: Mapping[str, Part], classes: Sequence[str], seed: int, training: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n,) and labels (n,) of the training set of `arm` for one training seed.

    parts: `real`, the synthetic sets by name, and `augmented` where an arm uses it (all its rows are added). training:
    which training of the generator the images come from.
    """
    rows, labels = [], []
    if arm.with_real:
        rows.append(parts[REAL].rows)
        labels.append(parts[REAL].labels)
    elif arm.kind == "fewer_generator":
        real = {label: len(parts[REAL].of_class(number)) for number, label in enumerate(classes)}
        kept = compose(_undersampled(real), parts, classes, seed)  # the very images of that arm
        rows.append(kept[0])
        labels.append(kept[1])
    if arm.set is not None and not arm.added:  # all of it
        rows.append(parts[arm.set].rows)
        labels.append(parts[arm.set].labels)
    elif arm.set is not None:
        chosen = [_draw(arm, label, parts, classes, seed, training) for label in classes]
        given = np.repeat(np.arange(len(classes)), [len(part) for part in chosen])
        if arm.kind == "label_shuffled":
            given = np.random.Generator(np.random.PCG64(seed_of("shuffled labels", seed))).permutation(given)
        rows.append(np.concatenate(chosen))
        labels.append(given)
    return np.concatenate(rows), np.concatenate(labels)


def _draw(
    arm: Arm, label: str, parts: Mapping[str, Part], classes: Sequence[str], seed: int, training: int | None
) -> np.ndarray:
    """The `arm.added[label]` images of one class: drawn without repetition, except that more duplicates than there are
    real images repeat the whole class before they repeat an image a second time."""
    rng = np.random.Generator(np.random.PCG64(seed_of("draw", arm.set, label, seed)))
    order = rng.permutation(parts[arm.set].of_class(classes.index(label), training))
    if arm.set == REAL and len(order):
        return np.resize(order, arm.added[label])
    return order[: arm.added[label]]


def training_of(seed: int, seeds: int, repeats: int) -> int:
    """Which of `repeats` trainings of a generator the training number `seed` of `seeds` takes its images from."""
    return seed * repeats // seeds

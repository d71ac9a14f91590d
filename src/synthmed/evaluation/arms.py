"""The arms of a comparison: what each classifier is trained on, as rows of one table of features.

An arm is the real training set, or it plus something, or something alone. All of them are compositions of positions
in the stacked feature table, so no image is copied and no feature computed twice. What is drawn for an arm (which
synthetic images, which real ones to repeat) follows from the training seed: another seed draws other images, so the
spread over seeds contains the spread over draws. Draws are nested: a larger share of a sweep contains the smaller one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from synthmed.classifiers.frozen_backbone import seed_of
from synthmed.core.errors import InputError
from synthmed.data.features import Features
from synthmed.evaluation.check_needs import added_images, share_of

Kind = Literal["real", "classic", "duplicates", "generator", "oracle", "label_shuffled", "sweep", "synthetic_only"]

REAL = "real"
AUGMENTED = "augmented"


@dataclass(frozen=True)
class ArmSettings:
    """Which arms there are.

    generators: names of the synthetic sets, in the order of their files. Exactly one of `added_share` (synthetic images
    added for each real training image of the same class; the document's 183 and 177 of 366 and 355 are 0.5) and
    `added_counts` (images to add by class) is given, the other is null. sweep: further shares by generator, of the real
    count; a generator that is not named has no sweep. only_share: size of the training sets without any real image, as
    a share of the real count; null: no such arms. oracle: the set of `generators` that holds fresh draws from the true
    distribution, label_shuffled: the one that is also added with shuffled labels; null: no such arm.
    """

    generators: tuple[str, ...]
    added_share: float | None
    added_counts: dict[str, int] | None
    sweep: dict[str, tuple[float, ...]]
    only_share: float | None
    oracle: str | None
    label_shuffled: str | None


@dataclass(frozen=True)
class Arm:
    """One training set.

    name: short, without spaces; title: for people; source: the part that is added (or stands alone), if any;
    added: how many images of each class of it; share: what that was as a share of the real count, where it was one.
    """

    name: str
    title: str
    kind: Kind
    source: str | None
    added: dict[str, int]
    share: float | None

    @property
    def with_real(self) -> bool:
        """Whether the real training images are in it."""
        return self.kind != "synthetic_only"


@dataclass(frozen=True)
class Part:
    """Images of one source. rows: (n,) their positions in the feature table; labels: (n,) their classes, 0..K-1."""

    rows: np.ndarray
    labels: np.ndarray

    def of_class(self, label: int) -> np.ndarray:
        """Positions in the table of the images of class `label`."""
        return self.rows[self.labels == label]


def stack(files: Mapping[str, Features], classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray, dict[str, Part]]:
    """features and squares, (T, D) each, of all files below each other, and where each file's images stand in them.

    Raises InputError on a label that is not in `classes`, and on features without squares.
    """
    parts, start = {}, 0
    for name, file in files.items():
        parts[name] = Part(np.arange(start, start + len(file)), file.classes(classes))
        start += len(file)
    features = np.concatenate([file.features for file in files.values()])
    return features, np.concatenate([file.needed_squares() for file in files.values()]), parts


def define_arms(settings: ArmSettings, real: Mapping[str, int], augmented: bool) -> list[Arm]:
    """All arms, the real one first.

    real: real training images by class; augmented: whether augmented draws of the real images exist. Raises InputError
    when a setting names a set that is not given, or a share or count cannot be.
    """
    added = _added(settings, real)
    share = settings.added_share
    arms = [Arm(REAL, "Real only", "real", None, dict.fromkeys(real, 0), None)]
    if augmented:
        arms.append(Arm("classic", "Real + classic augmentation", "classic", AUGMENTED, {}, None))
    arms.append(Arm("duplicates", "Real + duplicated real", "duplicates", REAL, added, share))
    for name in settings.generators:
        kind = "oracle" if name == settings.oracle else "generator"
        arms.append(Arm(name, f"Real + {name}", kind, name, added, share))
    if settings.label_shuffled is not None:
        name = settings.label_shuffled
        arms.append(Arm(f"{name}_shuffled", f"Real + {name}, labels shuffled", "label_shuffled", name, added, share))
    for name in settings.generators:
        for point in settings.sweep.get(name, ()):
            if point == share:
                continue  # the arm above is this point of the sweep
            title = f"Real + {name}, {point:g} × real"
            arms.append(Arm(f"{name}_x{point:g}", title, "sweep", name, share_of(point, real), point))
    if settings.only_share is not None:
        for name in settings.generators:
            only = share_of(settings.only_share, real)
            arms.append(Arm(f"only_{name}", f"{name} only", "synthetic_only", name, only, settings.only_share))
    names = [arm.name for arm in arms]
    if len(set(names)) != len(names):
        raise InputError(
            f"the arms {sorted({name for name in names if names.count(name) > 1})} exist twice; rename a set"
        )
    return arms


def _added(settings: ArmSettings, real: Mapping[str, int]) -> dict[str, int]:
    if len(set(settings.generators)) != len(settings.generators) or {REAL, AUGMENTED} & set(settings.generators):
        raise InputError(
            f"setting generators {list(settings.generators)}: each name once, none {REAL!r} or {AUGMENTED!r}"
        )
    for where, names in (
        ("sweep", settings.sweep),
        ("oracle", [settings.oracle] if settings.oracle is not None else []),
        ("label_shuffled", [settings.label_shuffled] if settings.label_shuffled is not None else []),
    ):
        for name in names:
            if name not in settings.generators:
                raise InputError(f"setting {where} names {name!r}; the generators are {list(settings.generators)}")
    return added_images(settings.added_share, settings.added_counts, real)


def check_supply(arms: Sequence[Arm], parts: Mapping[str, Part], classes: Sequence[str]) -> None:
    """Raise InputError unless every synthetic set has the images that its arms ask for."""
    for arm in arms:
        for label, needed in arm.added.items():
            if arm.source is None or arm.kind == "duplicates":
                continue
            found = len(parts[arm.source].of_class(classes.index(label)))
            if found < needed:
                raise InputError(
                    f"the arm {arm.name!r} needs {needed} {label!r} images of {arm.source!r}, which has {found}; "
                    "generate more of them (setting samples) or lower the share"
                )


def compose(arm: Arm, parts: Mapping[str, Part], classes: Sequence[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n,) and labels (n,) of the training set of `arm` for one training seed.

    parts: `real`, the synthetic sets by name, and `augmented` where an arm uses it (all its rows are added).
    """
    rows, labels = [], []
    if arm.with_real:
        rows.append(parts[REAL].rows)
        labels.append(parts[REAL].labels)
    if arm.kind == "classic":
        rows.append(parts[AUGMENTED].rows)
        labels.append(parts[AUGMENTED].labels)
    elif arm.source is not None:
        chosen = [_draw(arm, label, parts, classes, seed) for label in classes]
        given = np.repeat(np.arange(len(classes)), [len(part) for part in chosen])
        if arm.kind == "label_shuffled":
            given = np.random.Generator(np.random.PCG64(seed_of("shuffled labels", seed))).permutation(given)
        rows.append(np.concatenate(chosen))
        labels.append(given)
    return np.concatenate(rows), np.concatenate(labels)


def _draw(arm: Arm, label: str, parts: Mapping[str, Part], classes: Sequence[str], seed: int) -> np.ndarray:
    """The `arm.added[label]` images of one class: drawn without repetition, except that more duplicates than there are
    real images repeat the whole class before they repeat an image a second time."""
    rng = np.random.Generator(np.random.PCG64(seed_of("draw", arm.source, label, seed)))
    order = rng.permutation(parts[arm.source].of_class(classes.index(label)))
    if arm.kind == "duplicates" and len(order):
        return np.resize(order, arm.added[label])
    return order[: arm.added[label]]

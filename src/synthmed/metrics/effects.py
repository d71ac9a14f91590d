"""Effects of generators on tasks: the columns of their table, and what its rows and those of a sweep say."""

from collections.abc import Mapping
from operator import mul
from typing import TypeVar

from synthmed.core.known import SMALL, TEST
from synthmed.metrics.estimate import Estimate

T = TypeVar("T")

EFFECT_COLUMNS = (
    "experiment", "task", "task_title", "leaking", "generator", "trained_as", "arm", "outcome", "higher_is_better",
    "effect", "effect_low", "effect_high", "p_holm", "verdict", "equivalent", "synthetic_share", "fid",
    "fid_extractor", "fid_only_of", "fid_floor", "kid", "precision", "recall", "density", "coverage", "copy_alarm",
    "copy_share", "copy_limit", "label_fidelity", "label_fidelity_real", "pseudo_labelled", "note",
)  # fmt: skip
"""Columns of effects.csv and of the leaderboard. leaking: whether the test has other images of the training patients;
trained_as: the generator that was trained, whose images may be drawn several times; effect: of the outcome that decides
the task, good above 0 where higher_is_better is yes, else below; fid, kid, …: means of the classes', of as many
generated images as fid_floor has held-out real ones, and none of fewer; fid_only_of: the classes that they are of,
where these are not all; copy_alarm, copy_limit: the word of the audit, and what it would have found; label_fidelity:
how often the models of the real arm see the class that an image claims to show (of masks: see agreement);
label_fidelity_real: what it is held against, see real_fidelity; pseudo_labelled: whether that class is what a
classifier saw, and was never asked for."""
NO_POINTS = ("label_shuffled", "fewer_generator")
"""Kinds of arms that hold images of a set and are no points of its sweep."""
FOLLOWS = 0.8
"""Images whose label fidelity is below this part of what real test images reach do not show what they claim."""


def agreement(task: Mapping) -> str:
    """The outcome that says how far masks and images of a set agree: the one that decides the task, where more of it is
    better, as FOLLOWS supposes; else IoU. task: the verdicts of one."""
    decides = task["outcome"]
    return decides if task["outcomes"][decides]["higher_is_better"] else "iou"


def real_agreement(tests: Mapping[str, T]) -> T:
    """Of what was measured by test set, that of the real test images at the size at which the masks of sets are
    compared, the network's."""
    return tests.get(SMALL, tests[TEST])


def fidelity_of(task: Mapping, name: str) -> dict[str, Estimate]:
    """Label fidelity of the set `name`: class, or `all` → share of its images that models of the real arm take for the
    class they claim; of masks, `all` → their agreement with what is drawn.

    task: the verdicts of one, every number an Estimate.
    """
    seen = _seen(task)[name]
    if "recall" not in seen:
        return {"all": seen["outcomes"][agreement(task)]}
    return {**seen["recall"], "all": seen["outcomes"]["accuracy"]}


def real_fidelity(task: Mapping, name: str) -> float | None:
    """What the label fidelity of the set `name` is held against, see fidelity_of: that of real test images, with every
    class weighing as it does in the set (the models know some classes better than others); of masks, at one size with
    those of sets. None where it was not measured."""
    tests = _seen(task)
    if "recall" not in tests[name]:
        return real_agreement(tests)["outcomes"][agreement(task)].value
    counts = {label: one.n for label, one in tests[name]["recall"].items() if one.n}
    of_real = [tests[TEST]["recall"][label].value for label in counts]
    return None if None in of_real else sum(map(mul, counts.values(), of_real)) / sum(counts.values())


def _seen(task: Mapping) -> Mapping[str, Mapping]:
    """What the models of the reference arm say of each test set."""
    return task["arms"][task["reference"]]["tests"]


def unlike(fidelity: float | None, of_real: float | None) -> bool:
    """Whether images of this label fidelity do not show what they claim, where that of real ones is `of_real`."""
    return None not in (fidelity, of_real) and fidelity < FOLLOWS * of_real


def in_words(arm: str, name: str, title: str) -> str:
    """The title of an arm, with the title of its set in place of its name. That stands first, or behind `Real +` or
    `Fewer real +` (evaluation.arms); anywhere else it may be a part of another word."""
    plus = next((words for words in ("Real + ", "Fewer real + ") if arm.startswith(words)), "")
    rest = arm.removeprefix(plus)
    return plus + title + rest.removeprefix(name) if rest.startswith(name) else arm


def gain(row: Mapping[str, str]) -> float:
    """The effect in a row of the leaderboard, as read, above 0 where it is good."""
    return float(row["effect"]) * (-1 if row["higher_is_better"] == "no" else 1)


def swept(task: Mapping) -> dict[str, list[str]]:
    """Set → names of its arms by added images, from none (the reference arm) upwards, where there is a sweep; those
    without real images are last. task: the verdicts of one."""
    arms = task["arms"]
    return {
        name: sorted(
            [
                task["reference"],
                *(key for key, one in arms.items() if one["set"] == name and one["kind"] not in NO_POINTS),
            ],
            key=lambda key: (arms[key]["kind"] == "synthetic_only", arms[key]["n_train"]),
        )
        for name in dict.fromkeys(one["set"] for one in arms.values() if one["kind"] == "sweep")
    }


def added_share(task: Mapping, arm: Mapping) -> float:
    """What was added to the real images, as a share of all that an arm of a sweep is trained on."""
    return 1.0 if arm["kind"] == "synthetic_only" else 1 - task["arms"][task["reference"]]["n_train"] / arm["n_train"]

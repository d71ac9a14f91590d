"""The program's own names, and checks of names in the settings that check_names.py and check_method_names.py share."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from synthmed.core.errors import InputError

NAME = re.compile("[a-z][a-z0-9_]*")
"""What names of files and rules are made of."""
UNLABELLED = "unlabelled"
"""Key of `samples` of generators whose images get their class from a classifier."""
EXTERNAL = "external"
"""The model of generators whose images were made elsewhere: nothing is trained, a data set holds them."""
DRAWN_AGAIN = "drawn_again"
"""The model of further images of another generator of the experiment, sampled in another way: nothing is trained."""
REAL, AUGMENTED, TEST = "real", "augmented", "test"
"""Sets that are no generator's: the real training images, augmented draws of them, the real test images."""
REAL_TEST = "real_test"
"""The real test images in the table of tags, where `train` and `test` are labelled images of another data set."""
SMALL, SECOND = "test_small", "second_test"
"""Further tests in the scores: TEST at the network's size, where the masks have another; test images of another source
(setting second_test), which are in no other test."""
KINDS = (
    *("real", "class_weights", "classic", "duplicates", "design", "oracle", "generator", "label_shuffled", "sweep"),
    *("synthetic_only", "fewer", "fewer_generator"),
)
"""Kinds of arms (see evaluation.arms), in the order of tables and figures. design: another network on the real images;
fewer: a part of the real images; fewer_generator: the same with generated ones beside."""
HELPS, NO_EVIDENCE, HARMS = "helps", "no evidence of a difference", "harms"
"""The words of a verdict."""
VARIED = {"dropout", "dropout_blocks", "noise"}
"""Settings of a generator that tell apart what makes its images of one mask differ: noise beside the mask, what is
dropped, or both."""
MEAN = "mean of classes"
"""Group of what is measured of every class: the mean of the classes."""
RESERVED = {
    "classes": {"all", MEAN, UNLABELLED},
    "generators": {
        *(REAL, AUGMENTED, TEST, "oracle", "oracle_shuffled", "classic", "class_weights", "duplicates"),
        *("classic_part", "duplicates_part", "on_the_fly", "simple", "elastic", "pasted", SMALL, SECOND),
        *("unseen", "seen", "changed", REAL_TEST),
        *("anomaly", "raw", "pool", "train", "validation", "planted", "set_aside", "selected"),
    },
    "experiments": {"settings"},
}
"""Names that the results use themselves, so that no class, generator or experiment can have them."""


def check_reserved(kind: str, names: Iterable[str], where: str) -> None:
    """Raise InputError where a name of the settings is one of the program's own (see RESERVED)."""
    for name in names:
        if name in RESERVED[kind]:
            raise InputError(f"{where}: the name {name!r} is the program's own; choose another one")


def check_known(setting: str, names: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise InputError where a setting names what is not among the known, with the nearest name that is."""
    known = list(known)
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            advice = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"setting {setting} names {name!r}, but the {what} are {known}{advice}")


def check_pretrained(where: str, network: Mapping, weights: Collection[str]) -> None:
    """Raise InputError where the settings of a network (null: from none) name pretrained weights that there are not."""
    check_known(f"{where}.pretrained", [network["pretrained"]] if network["pretrained"] else [], weights, "weights")


def check_second_test(where: str, scoring: Mapping, split: Mapping) -> None:
    """Raise InputError where images of a second test might be drawn for training."""
    if scoring["second_test"] is not None and split["by"] != "column":
        raise InputError(
            f"setting {where}.second_test names {scoring['second_test']!r}, whose images must be test images: set by "
            "of the split to column, or second_test to null"
        )


def check_trainings(where: str, generator: Mapping, classes: Sequence[str], entry: Mapping) -> list[str]:
    """The labels of all trainings of a generator, one after the other; InputError where one names what there is not."""
    for training, content in generator["trainings"].items():
        check_known(f"{where}.trainings.{training}.labels", content["labels"], classes, "classes")
        _check_initial(f"{where}.trainings.{training}.initialise_from", generator, content, entry)
        if content.get("frames") is None:
            continue
        setting = f"setting {where}.trainings.{training}.frames"
        if entry["prepare"].get("channels") != 3:
            raise InputError(f"{setting} looks for frames in colour: set prepare.channels to 3")
        if entry.get("tags") is None:
            raise InputError(f"{setting}: traces of its paint are counted beside the tags; the experiment has none")
    return [label for content in generator["trainings"].values() for label in content["labels"]]


def is_file(initial: str) -> bool:
    """Whether `initialise_from` names a file, and not a training of the same experiment."""
    return "/" in initial


def _check_initial(where: str, generator: Mapping, training: Mapping, entry: Mapping) -> None:
    """Raise InputError where a training cannot begin with the weights of the one that it names."""
    named = training.get("initialise_from")
    if named is None or is_file(named):  # a checkpoint of another experiment: the training checks it
        return
    name, _, part = named.partition(".")
    trained = [name for name, other in entry["generators"].items() if "dataset" not in other]
    check_known(where, [name], trained, "generators")
    other = entry["generators"][name]
    check_known(where, [part], other["trainings"], f"trainings of {name}")
    if other["trainings"][part].get("initialise_from") == named or other["trainings"][part] is training:
        raise InputError(f"setting {where} is {named!r}: a training cannot begin with its own weights")
    for setting, ours, theirs in (
        ("model", generator["model"], other["model"]),
        ("training.size", generator["training"]["size"], other["training"]["size"]),
        ("training.masks", generator["training"]["masks"], other["training"]["masks"]),
        ("repeats", generator.get("repeats", 1), other["repeats"]),
    ):
        if ours != theirs:
            raise InputError(
                f"setting {where} is {named!r}, but {setting} is {ours!r} here and {theirs!r} there; only the same "
                "networks can take over weights, each repeat those of its own repeat"
            )

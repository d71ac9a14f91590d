"""Names in the settings that must exist: data sets, classes, generators; checked before anything runs."""

import difflib
import json
import logging
import math
from collections.abc import Mapping, Sequence

from synthmed.core.errors import InputError

logger = logging.getLogger(__name__)

UNLABELLED = "unlabelled"
"""Key of `samples` of generators whose images get their class from a classifier."""


def check_keys(settings: object, where: str = "") -> None:
    """Raise InputError on a key of settings that is no text, because YAML reads no and off as false and 1 as a number;
    and on a number that is none (.nan, .inf)."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            if not isinstance(key, str):
                written = ("yes" if key else "no") if isinstance(key, bool) else "null" if key is None else key
                raise InputError(
                    f"{where or 'the file'}: {json.dumps(key, default=str)} is no text, because YAML reads yes, no, "
                    f'on, off and numbers as what they mean; write "{written}" in quotes'
                )
            check_keys(value, f"{where}.{key}".removeprefix("."))
    elif isinstance(settings, list):
        for number, value in enumerate(settings):
            check_keys(value, f"{where}[{number}]")
    elif isinstance(settings, float) and not math.isfinite(settings):
        raise InputError(f"{where}: {settings} is no number that can be computed with")


def check_names(entry: Mapping, datasets: Mapping[str, Mapping]) -> None:
    """Raise InputError where an experiment names a data set, class or generator that there is none of.

    entry: the settings of the experiment; datasets: those of all data sets. Called before anything runs.
    """
    classes, generators = list(entry["classes"]), entry["generators"]
    _known("dataset", [entry["dataset"]], list(datasets), "data sets")
    _known("positive", [entry["positive"]], classes, "classes")
    prepared = {label for label in entry["prepare"]["labels"].values() if label is not None}
    _known("prepare.labels", sorted(prepared), classes, "classes")
    _known("classes", classes, sorted(prepared), "labels of prepare.labels")
    pool = datasets[entry["dataset"]]["pool"]
    if pool is not None:
        _known(
            "classes", classes, [key for key, count in pool.items() if isinstance(count, int)], "classes of its pool"
        )
    for name, generator in generators.items():
        if "dataset" in generator:  # its images were made elsewhere
            _known(f"generators.{name}.dataset", [generator["dataset"]], list(datasets), "data sets")
            labels = [label for label in (generator["labels"] or {}).values() if label is not None]
            _known(f"generators.{name}.labels", labels, classes, "classes")
            continue
        for training, content in generator["trainings"].items():
            _known(f"generators.{name}.trainings.{training}.labels", content["labels"], classes, "classes")
        samples = list(generator["sampling"]["samples"])
        _known(f"generators.{name}.sampling.samples", samples, [*classes, UNLABELLED], "classes")
    for task, content in entry["tasks"].items():
        _known(f"tasks.{task}.arms.sweep", list(content["arms"]["sweep"]), list(generators), "generators")
        swap = content["arms"]["swap"]
        _known(f"tasks.{task}.arms.swap", [swap] if swap else [], list(generators), "generators")
    for method in ("pseudo_labels", "grad_cam"):
        _known(f"{method}.task", [entry[method]["task"]] if method in entry else [], list(entry["tasks"]), "tasks")


def _known(setting: str, names: Sequence[str], known: Sequence[str], what: str) -> None:
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            advice = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"setting {setting} names {name!r}, but the {what} are {list(known)}{advice}")

"""Reading the pipeline's result files (JSON, CSV) for tables, figures and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthmed.core.errors import InputError
from synthmed.core.files import read_json

NOTHING_TO_SHOW = "nothing to show"
"""Description inside a PNG that stands for a figure without data (see style.placeholder); the page leaves it out."""


@dataclass(frozen=True)
class GeneratorEntry:
    """How a generator is named in tables and figures.

    model: its kind (`cyclegan`, `fastgan`, `dcgan`, ...); title: its name for people;
    receptive_field: of its PatchGAN discriminator, in pixels; None where it has none.
    """

    model: str
    title: str
    receptive_field: int | None


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, or None and a note that says why it is missing."""

    value: float | None
    low: float | None
    high: float | None
    note: str


def estimate(node: Mapping, key: str) -> Estimate:
    """`node[key]`, which is {"value", "low", "high"}, {"value": null, "reason"}, or absent."""
    if key not in node or node[key] is None:
        return Estimate(None, None, None, f"{key.replace('_', ' ')} was not computed")
    found = node[key]
    if found["value"] is None:
        return Estimate(None, None, None, found["reason"])
    return Estimate(found["value"], found.get("low"), found.get("high"), "")


def number(text: str) -> float | None:
    """A cell of a CSV as a number; None when it is empty."""
    return None if text == "" else float(text)


def by_stem(paths: Sequence[Path], stems: Sequence[str], what: str) -> dict[str, Path]:
    """The files by their names without folder and ending. Raises InputError unless they are exactly `stems`."""
    found = {path.stem: path for path in paths}
    wrong = sorted(set(found) ^ set(stems))
    if wrong or len(found) < len(paths):
        raise InputError(
            f"{what}: give one file for each of {list(stems)}; {wrong or 'one of them'} is missing, unknown or twice"
        )
    return found


def check_generators(paths: Sequence[Path], generators: Mapping[str, GeneratorEntry]) -> list[dict]:
    """The JSON results at `paths`, each of which names its generator, in the order of `generators`.

    Raises InputError when one names a generator that the settings do not have.
    """
    found = []
    for path in paths:
        result = read_json(path)
        if result["generator"] not in generators:
            raise InputError(f"{path}: generator {result['generator']!r} is not in the settings' {list(generators)}")
        found.append(result)
    order = list(generators)
    return sorted(found, key=lambda result: order.index(result["generator"]))


KINDS = ("real", "classic", "duplicates", "oracle", "generator", "label_shuffled", "sweep", "synthetic_only")
"""Kinds of arms, in the order of tables and figures (see evaluation.arms)."""


@dataclass(frozen=True)
class Arm:
    """What one arm of the downstream experiment trained on.

    title: for people; kind: one of KINDS; generator: whose images, None without; n_train: images in its training set;
    share: synthetic ones among them, 0 to 1.
    """

    title: str
    kind: str
    generator: str | None
    n_train: int
    share: float


def read_arms(summary: Path, generators: Mapping[str, GeneratorEntry]) -> dict[str, Arm]:
    """The arms that the step `classify` describes in `summary`, by name, in the order of KINDS, generators and share.

    Generators are called by their titles. Raises InputError unless exactly one arm is the real one.
    """
    arms = {}
    for name, described in read_json(summary)["arms"].items():
        title, generator = described["title"], described["generator"]
        if generator in generators:
            title = title.replace(generator, generators[generator].title)
        arms[name] = Arm(title, described["kind"], generator, described["n_train"], described["share"])
    real = [name for name, arm in arms.items() if arm.kind == "real"]
    if len(real) != 1:
        raise InputError(f"{summary}: {len(real)} arms are of the kind 'real'; there must be exactly one")
    order = list(generators)

    def place(arm: Arm) -> tuple:
        known = arm.generator in generators
        return KINDS.index(arm.kind), order.index(arm.generator) if known else len(order), arm.share

    return dict(sorted(arms.items(), key=lambda item: place(item[1])))


def real_arm(arms: Mapping[str, Arm]) -> str:
    """The arm that all others are compared with."""
    return next(name for name, arm in arms.items() if arm.kind == "real")


def read_verdicts(path: Path, arms: Mapping[str, Arm]) -> dict:
    """The verdicts JSON. Raises InputError unless it has exactly the arms of the summary."""
    result = read_json(path)
    if set(result["arms"]) != set(arms):
        raise InputError(
            f"{path}: has the arms {sorted(result['arms'])}, the summary {sorted(arms)}; run compare again"
        )
    return result


def validation_cases(validation: Mapping) -> list[dict]:
    """Cases of known truth: title, expected verdict, repeats, and the rate of each verdict with its interval."""
    return [
        {
            "title": case["case"],
            "expected": case["expected"],
            "repeats": case["repeats"],
            "rates": {verdict: estimate(found, "rate") for verdict, found in case["verdicts"].items()},
        }
        for case in validation["cases"]
    ]

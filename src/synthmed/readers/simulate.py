"""Simulated readers of known skill: they try the analysis, and stand in where nobody has been asked yet.

They see nothing. Each has evidence for every image from the equal-variance model of signal detection that d′ and bias
are defined by; a share of its noise is the image's and the same for all readers, as some images are hard for everybody.
Their answers say that they are simulated, in every file and table.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta
from scipy import special

from synthmed.core.errors import InputError
from synthmed.core.files import dump_json, write_text
from synthmed.core.settings import Seed, Share
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.readers.answers import checksum
from synthmed.readers.study import REAL, SYNTHETIC, Roles, Study, read_study
from synthmed.training.seeds import seed_of

logger = logging.getLogger(__name__)

SIMULATED = "simulated"
"""The background of simulated readers."""


@dataclass(frozen=True)
class Skill:
    """What a simulated reader can do."""

    d_prime: Annotated[float, Meta(description="Sensitivity d′ to synthetic images; 0 guesses, 1 is right in 69 %.")]
    bias: Annotated[float, Meta(description="Bias c; above 0: reluctant to call an image synthetic.")]
    diagnosis_d_prime: Annotated[
        float | None, Meta(description="d′ of the diagnosis, of real and of synthetic images; null: says anything.")
    ]


@dataclass(frozen=True)
class SimulationOptions:
    """Simulated readers."""

    readers: Annotated[dict[str, Skill], Meta(min_length=1, description="By name, in any order.")]
    shared: Annotated[Share, Meta(description="Share of the noise of the evidence that all readers share.")]


@dataclass(frozen=True)
class SimulationSettings(SimulationOptions):
    """Settings of `simulate-readers`."""

    roles: Roles
    seed: Seed


def code_of_reader(number: int) -> str:
    """The code of simulated reader `number`, from 1."""
    return f"SIM{number:03d}"


@step("simulate-readers")
def simulate_readers(settings: SimulationSettings, *, study: Path, key: Path, answers: list[Output]) -> None:
    """Simulate readers of known skill.

    study, key: of `draw-study`. answers: JSON as the form saves it, one file a reader, in the order of the settings;
    `simulated` is yes. Raises InputError when the questions are not those that can be simulated.
    """
    asked, shown = read_study(study), ImageSet(key)
    settings.roles.check(asked)
    if len(answers) != len(settings.readers):
        raise InputError(f"{len(answers)} files for {len(settings.readers)} readers; give one each")
    synthetic = np.array(shown.column("synthetic")) == "yes"
    labels = shown.column("label")
    shared = np.random.default_rng(seed_of(settings.seed, "images")).standard_normal((2, len(labels)))
    for number, (skill, path) in enumerate(zip(settings.readers.values(), answers, strict=True), 1):
        rng = np.random.default_rng(seed_of(settings.seed, "reader", number))

        def evidence(positive: np.ndarray, d_prime: float, of_images: np.ndarray, rng=rng) -> np.ndarray:
            own = rng.standard_normal(len(positive))
            noise = np.sqrt(settings.shared) * of_images + np.sqrt(1 - settings.shared) * own
            return d_prime * (positive - 0.5) + noise

        given = _given(settings.roles, asked, skill, synthetic, labels, evidence, shared)
        about = {"study": asked.identity, "code": code_of_reader(number), "background": SIMULATED, "comment": ""}
        about["simulated"] = "yes"
        positions = rng.permutation(len(labels)) + 1
        rows = [
            {"item": item, "position": str(position), **{name: given[name][place] for name in asked.questions}}
            | {"seconds": "0.0"}
            for place, (item, position) in enumerate(zip(asked.items, positions, strict=True))
        ]
        rows.sort(key=lambda row: int(row["position"]))
        said = checksum(about, rows, tuple(asked.questions))
        write_text(path, dump_json({**about, "answers": rows, "checksum": said}, sort_keys=False))
    logger.info("%s: %d simulated readers", study, len(answers))


def _given(roles: Roles, study: Study, skill: Skill, synthetic, labels, evidence, shared) -> dict[str, list[str]]:
    """Answers to every question, in the order of the items."""
    found = {name: [next(iter(question.answers))] * len(labels) for name, question in study.questions.items()}
    seen = evidence(synthetic, skill.d_prime, shared[0]) - skill.bias
    found[roles.synthetic] = [SYNTHETIC if one > 0 else REAL for one in seen]
    if roles.certainty is not None:
        levels = list(study.questions[roles.certainty].answers)
        cuts = special.ndtri((1 + np.arange(1, len(levels)) / len(levels)) / 2)
        found[roles.certainty] = [levels[place] for place in np.searchsorted(cuts, np.abs(seen))]
    if roles.diagnosis is not None and skill.diagnosis_d_prime is not None:
        names = list(study.questions[roles.diagnosis].answers)
        if len(names) != 2 or set(labels) - set(names):
            raise InputError(f"the diagnoses {names} cannot be simulated for images of {sorted(set(labels))}; two can")
        called = evidence(np.array(labels) == names[1], skill.diagnosis_d_prime, shared[1]) > 0
        found[roles.diagnosis] = [names[int(one)] for one in called]
    return found

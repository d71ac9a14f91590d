"""The figures of one experiment, drawn from its result files in one process (importing matplotlib takes seconds).

Each `draw_*` (charts_quality, charts_task) makes one picture from plain values; `figures` reads the files.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.report import FIGURES
from synthmed.report.charts.quality import draw_fidelity, draw_samples, draw_training
from synthmed.report.charts.style import placeholder
from synthmed.report.charts.task import draw_confusion, draw_roc, draw_sweep, draw_validation, draw_verdicts
from synthmed.report.results import (
    GeneratorEntry,
    by_stem,
    check_generators,
    read_arms,
    read_verdicts,
    real_arm,
    validation_cases,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FiguresSettings:
    """Settings of `figures`.

    classes: in order; positive: the class that sensitivity counts.
    generators: by name, in the order of `synthetics`.
    examples: images a class and a row in real against generated.
    seed: draws those images.
    """

    classes: tuple[str, ...]
    positive: str
    generators: dict[str, GeneratorEntry]
    examples: int
    seed: int


@step("figures")
def figures(
    settings: FiguresSettings,
    *,
    train: Path,
    synthetics: list[Path],
    fidelity: list[Path],
    summary: Path,
    verdicts: Path,
    roc: Path,
    sweep: Path,
    history: Path,
    validation: Path | None,
    out: list[Output],
) -> None:
    """Draw the figures of the report.

    Draw every figure. `roc`, `sweep` and `history` are the CSVs of the step `metrics`.

    out: a file for each of report.FIGURES, by its stem. A figure whose numbers do not exist becomes a picture that says
    so. Raises InputError when the synthetic sets are not as many as the generators, or when verdicts and summary have
    different arms.
    """
    if len(synthetics) != len(settings.generators):
        raise InputError(
            f"synthetics: {len(synthetics)} image sets for {len(settings.generators)} generators; give one each"
        )
    paths = by_stem(out, FIGURES, "out")
    titles = {name: entry.title for name, entry in settings.generators.items()}
    described = read_arms(summary, settings.generators)
    result = read_verdicts(verdicts, described)["arms"]
    shown = {arm: entry.title for arm, entry in described.items() if entry.kind != "sweep"}
    arms = {arm: result[arm] for arm in shown}

    draw_samples(
        paths["figure_samples"], ImageSet(train), dict(zip(titles.values(), synthetics, strict=True)), settings.classes,
        count=settings.examples, seed=settings.seed,
    )  # fmt: skip
    draw_training(paths["figure_training"], read_csv(history))
    quality = check_generators(fidelity, settings.generators)
    draw_fidelity(paths["figure_fidelity"], quality, titles)
    draw_sweep(paths["figure_sweep"], read_csv(sweep), titles)
    draw_roc(paths["figure_roc"], read_csv(roc), shown, real_arm(described))
    draw_confusion(paths["figure_confusion"], arms, shown, settings.classes)
    draw_verdicts(paths["figure_verdicts"], arms, shown)
    if validation is None:
        sentence = "The verdict was not validated in this run (that needs data with known truth)."
        placeholder(paths["figure_validation"], sentence)
    else:
        draw_validation(paths["figure_validation"], validation_cases(read_json(validation)))
    logger.info("drew the figures of %d generators and %d arms", len(titles), len(arms))

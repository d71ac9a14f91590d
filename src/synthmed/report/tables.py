"""The tables of one experiment as CSV files: our numbers, the floor, and the document's as a labelled reference.

A value that is missing is an empty cell, and the row's `note` says why. Every row names the extractor or backbone it
rests on. Columns named `reference_*` hold the document's numbers (see references), never ours.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthmed.core.files import read_csv, read_json, write_csv
from synthmed.core.step import Output, step
from synthmed.report import TABLES
from synthmed.report import table_rows as rows_of
from synthmed.report.references import Document, document_of
from synthmed.report.results import GeneratorEntry, by_stem, check_generators, read_arms, read_verdicts
from synthmed.report.table_rows import COLUMNS

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TablesSettings:
    """Settings of `tables`.

    classes: in order. generators: by name, in the order they are shown.
    references: name of the document whose numbers stand beside ours (see references.DOCUMENTS), or None.
    """

    classes: tuple[str, ...]
    generators: dict[str, GeneratorEntry]
    references: str | None


_NO_DOCUMENT = Document("", {}, {}, {}, {}, {}, {})


@step("tables")
def tables(
    settings: TablesSettings,
    *,
    fidelity: list[Path],
    copies: list[Path],
    grid: Path,
    summary: Path,
    verdicts: Path,
    split_report: Path,
    validation: Path | None,
    out: list[Output],
) -> None:
    """Write the tables of the report.

    Write every table (COLUMNS). `grid`, `summary`: outputs of `classify`; `split_report`: of `split`.

    out: a file for each of report.TABLES, by its stem. A table without any row gets one whose note says why. Raises
    InputError when a file names a generator or arm that the settings do not have, or lacks one that they do.
    """
    document = document_of(settings.references) or _NO_DOCUMENT
    paths = by_stem(out, TABLES, "out")
    quality = check_generators(fidelity, settings.generators)
    arms = read_arms(summary, settings.generators)
    result = read_verdicts(verdicts, arms)["arms"]
    chosen = read_json(summary)
    backbone = chosen["backbone"]

    rows = {
        "table_3_1": rows_of.quality_rows(
            settings.generators, settings.classes, _of_model(quality, settings, {"cyclegan"}), document
        ),
        "table_3_2": rows_of.quality_rows(
            settings.generators, settings.classes, _of_model(quality, settings, {"fastgan"}), document
        ),
        "table_quality": rows_of.quality_rows(
            settings.generators, settings.classes, _of_model(quality, settings, None), document
        ),
        "table_4_1": rows_of.grid_rows(read_csv(grid), chosen, document),
        "table_4_2": rows_of.arm_rows(settings.generators, arms, result, backbone, document),
        "table_4_4": rows_of.synthetic_accuracy_rows(settings.generators, settings.classes, chosen, document),
        "table_4_5": rows_of.classic_rows(arms, result, backbone, document),
        "table_sweep": rows_of.share_rows(settings.generators, arms, result, backbone),
        "table_copies": rows_of.copy_rows(settings.generators, check_generators(copies, settings.generators)),
        "table_data": rows_of.data_rows(read_json(split_report), settings.classes),
        "table_validation": [] if validation is None else rows_of.validation_rows(read_json(validation)),
    }
    empty = {
        "table_3_1": "no CycleGAN in this experiment",
        "table_3_2": "no FastGAN in this experiment",
        "table_quality": "no generator of another kind in this experiment",
        "table_4_1": "the grid was not run",
        "table_4_4": "no synthetic images in this experiment",
        "table_4_5": "no arm with classic augmentation in this experiment",
        "table_sweep": "no sweep of the synthetic share in this experiment",
        "table_copies": "no generator was audited in this experiment",
        "table_validation": "the verdict was not validated in this run",
    }
    columns = COLUMNS | {"table_data": ("part", *settings.classes, "images", "patients", "note")}
    for name, path in paths.items():
        write_csv(path, rows[name] or [{"note": empty[name]}], columns[name])
    logger.info("wrote %d tables", len(paths))


def _of_model(quality: Sequence[Mapping], settings: TablesSettings, models: set[str] | None) -> list[Mapping]:
    """Fidelity results of the generators of `models`; None: of all other models than those of Tables 3.1 and 3.2."""
    found = []
    for result in quality:
        model = settings.generators[result["generator"]].model
        if model in models if models is not None else model not in {"cyclegan", "fastgan"}:
            found.append(result)
    return found

"""The report: one HTML file that reads as a small paper and needs nothing beside it (figures are inside)."""

import base64
import logging
import struct
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from synthmed.errors import InputError
from synthmed.files import hash_file, read_json, write_text
from synthmed.provenance import versions
from synthmed.report.page_captions import copy_caption, figure_captions, table_captions
from synthmed.report.page_tables import page_table
from synthmed.report.page_template import PAGE, STYLE
from synthmed.report.page_words import Words
from synthmed.report.results import GeneratorEntry, check_generators, read_arms, read_verdicts

logger = logging.getLogger(__name__)

SECTIONS = (
    ("question", "Question"),
    ("answer", "Answer"),
    ("data", "Data"),
    ("methods", "Methods"),
    ("quality", "Image quality"),
    ("task", "Effect on the classifier"),
    ("sharing", "Sharing"),
    ("validation", "Trust in the verdict"),
    ("limits", "Limits"),
    ("provenance", "Provenance"),
)


@dataclass(frozen=True)
class PageSettings:
    """Settings of `page`.

    title: of the experiment, for people (`Tuberculosis in chest X-rays`); task: what the classifier does, to follow
    "a classifier that ..." (`tells abnormal from normal chest X-rays`).
    provider: where the images come from (`phantom`, `download`, `folder`); `phantom` prints what phantoms cannot say.
    classes, positive, generators, references: as in the other steps of this room.
    """

    title: str
    task: str
    provider: str
    classes: tuple[str, ...]
    positive: str
    generators: dict[str, GeneratorEntry]
    references: str | None


def page(
    settings: PageSettings,
    *,
    summary: Path,
    verdicts: Path,
    validation: Path | None,
    split_report: Path,
    copies: list[Path],
    copy_figures: list[Path],
    settings_files: list[Path],
    table_3_1: Path,
    table_3_2: Path,
    table_quality: Path,
    table_4_1: Path,
    table_4_2: Path,
    table_4_4: Path,
    table_4_5: Path,
    table_sweep: Path,
    table_copies: Path,
    table_data: Path,
    table_validation: Path,
    figure_samples: Path,
    figure_training: Path,
    figure_fidelity: Path,
    figure_sweep: Path,
    figure_roc: Path,
    figure_confusion: Path,
    figure_verdicts: Path,
    figure_validation: Path,
    out: Path,
) -> None:
    """Write the report page. Tables and figures: outputs of the steps of these names.

    copies, copy_figures: the copy audits and their pictures, in the same order. settings_files: settings of the steps
    to print in full (trainings, classifier, ...). Every sentence of the answer is computed from `verdicts`, `copies`
    and `validation`.
    """
    if len(copies) != len(copy_figures):
        raise InputError(f"copies: {len(copies)} audits but {len(copy_figures)} pictures of pairs; give one each")
    audits = check_generators(copies, settings.generators)
    names = {path: read_json(path)["generator"] for path in copies}
    arms = read_arms(summary, settings.generators)
    words = Words(
        settings,
        arms=arms,
        summary=read_json(summary),
        verdicts=read_verdicts(verdicts, arms),
        audits=audits,
        validation=None if validation is None else read_json(validation),
        split=read_json(split_report),
        trainings=[found for found in map(read_json, settings_files) if {"model", "training"} <= set(found)],
    )
    table_files = {
        "table_4_2": table_4_2, "table_data": table_data, "table_3_1": table_3_1, "table_3_2": table_3_2,
        "table_quality": table_quality, "table_4_4": table_4_4, "table_4_1": table_4_1, "table_4_5": table_4_5,
        "table_sweep": table_sweep, "table_copies": table_copies, "table_validation": table_validation,
    }  # fmt: skip
    figure_files = {
        "figure_verdicts": figure_verdicts, "figure_samples": figure_samples, "figure_training": figure_training,
        "figure_fidelity": figure_fidelity, "figure_sweep": figure_sweep, "figure_roc": figure_roc,
        "figure_confusion": figure_confusion,
    }  # fmt: skip
    captions = figure_captions() | table_captions(settings.references is not None)
    copy_keys = []
    for path, picture in zip(copies, copy_figures, strict=True):
        key = f"figure_copies_{names[path]}"
        figure_files[key], captions[key] = picture, copy_caption(settings.generators[names[path]].title)
        copy_keys.append(key)
    if validation is not None:
        figure_files["figure_validation"] = figure_validation
    results = [summary, verdicts, split_report, *copies] + ([] if validation is None else [validation])
    listed = [*results, *table_files.values(), *figure_files.values(), *settings_files]

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)

    html = environment.from_string(PAGE).render(
        title=settings.title,
        style=Markup(STYLE),
        subtitle=words.subtitle(),
        sections=SECTIONS,
        phantom=settings.provider == "phantom",
        question=words.question(),
        answer=words.answer(),
        data=words.data(),
        methods=words.methods(),
        quality=words.quality(),
        task=words.task(),
        sharing=words.sharing(),
        validation=words.validated(),
        limits=words.limits(),
        tables={
            key: page_table(path, captions[key], number)
            for number, (key, path) in enumerate(table_files.items(), start=1)
        },
        figures={
            key: _figure(path, captions[key], number)
            for number, (key, path) in enumerate(figure_files.items(), start=1)
        },
        copy_figures=copy_keys,
        files=[(path.as_posix(), hash_file(path)) for path in listed],
        versions=versions(),
        settings_texts=[(path.as_posix(), path.read_text(encoding="utf-8")) for path in settings_files],
    )
    write_text(out, html)
    logger.info("wrote %s (%.1f MB)", out, out.stat().st_size / 1e6)


def _figure(path: Path, caption: str, number: int) -> dict:
    """A PNG as data URI, with its size so that the page does not jump while it loads. Shown at half its pixels."""
    content = path.read_bytes()
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise InputError(f"{path}: not a PNG picture; make it again")
    width, height = struct.unpack(">II", content[16:24])
    return {
        "data": f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}",
        "alt": caption,
        "caption": caption,
        "number": number,
        "width": round(width / 1.5625),  # 150 dpi on a screen of 96
        "height": round(height / 1.5625),
    }

"""The report: one HTML file that reads as a small paper and needs nothing beside it (figures are inside)."""

import base64
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import jinja2
from markupsafe import Markup
from PIL import Image, UnidentifiedImageError

from synthmed.core.errors import InputError
from synthmed.core.files import hash_file, read_json, write_text
from synthmed.core.provenance import versions
from synthmed.core.step import Output, step
from synthmed.report import FIGURES, TABLES
from synthmed.report.page.tables import GENERIC_ONLY_IN_CSV, page_table
from synthmed.report.page.template import PAGE, STYLE
from synthmed.report.page_captions import copy_caption, figure_captions, table_captions
from synthmed.report.page_words import Words
from synthmed.report.references import Document, document_of
from synthmed.report.results import NOTHING_TO_SHOW, GeneratorEntry, by_stem, check_generators, read_arms, read_verdicts
from synthmed.report.sections.section import Section, read_sections, spoken

logger = logging.getLogger(__name__)

SECTIONS = (
    ("question", "Question", "Question"),
    ("answer", "Answer", "Answer"),
    ("data", "Data", "Data"),
    ("methods", "Methods", "Methods in brief"),
    ("quality", "Image quality", "How good are the images?"),
    ("task", "Effect on the classifier", "Do they help the classifier?"),
    ("sharing", "Sharing", "Is the synthetic set safe to share?"),
    ("validation", "Trust in the verdict", "Can the verdict be trusted?"),
    ("limits", "Limits", "Limits"),
    ("provenance", "Provenance", "Provenance"),
)
"""The page's own sections: key, name in the table of contents, heading."""

EXHIBITS: Mapping[str, tuple[str, ...]] = {
    "answer": ("figure_verdicts", "table_4_2"),
    "data": ("table_data", "figure_samples"),
    "methods": ("figure_training",),
    "quality": ("figure_fidelity", "table_3_1", "table_3_2", "table_quality", "table_4_4"),
    "task": ("table_4_1", "table_4_5", "figure_sweep", "table_sweep", "figure_roc", "figure_confusion"),
    "sharing": ("table_copies",),
    "validation": ("figure_validation", "table_validation"),
}
"""Tables and figures of the page's own sections, in the order they are shown and numbered."""


@dataclass(frozen=True)
class PageSettings:
    """Settings of `page`.

    title: of the experiment, for people (`Tuberculosis in chest X-rays`); task: what the classifier does, to follow
    "a classifier that ..." (`tells abnormal from normal chest X-rays`).
    provider: where the images come from; `phantom` prints what phantoms cannot say.
    pseudo_labelled: generators whose images got their label from a classifier.
    classes, positive, generators, references: as in the other steps of this room.
    """

    title: str
    task: str
    provider: Literal["phantom", "download", "kaggle", "file", "folder"]
    classes: tuple[str, ...]
    positive: str
    generators: dict[str, GeneratorEntry]
    pseudo_labelled: tuple[str, ...]
    references: str | None


@step("page")
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
    tables: list[Path],
    figures: list[Path],
    sections: list[Path],
    section_files: list[Path],
    out: Output,
) -> None:
    """Write the report.

    tables, figures: outputs of the steps of these names. copies, copy_figures: the copy audits and their pictures, in
    the same order. settings_files: settings of the steps to print in full (trainings, classifier, ...). sections:
    sections of this experiment (see section.write_section), in their order; section_files: their tables and figures.
    Every sentence of the answer is computed from `verdicts`, `copies` and `validation`. Tables without rows and
    figures that say why they are empty are left out, and numbers run through what is left.
    """
    if len(copies) != len(copy_figures):
        raise InputError(f"copies: {len(copies)} audits but {len(copy_figures)} pictures of pairs; give one each")
    for name in settings.pseudo_labelled:
        if name not in settings.generators:
            raise InputError(f"setting pseudo_labelled names {name!r}; the generators are {list(settings.generators)}")
    document = document_of(settings.references)
    own_tables, own_figures = by_stem(tables, TABLES, "tables"), by_stem(figures, FIGURES, "figures")
    added = read_sections(sections, section_files)
    _check_names(added, section_files)
    arms = read_arms(summary, settings.generators)
    words = Words(
        settings,
        document=document,
        arms=arms,
        summary=read_json(summary),
        verdicts=read_verdicts(verdicts, arms),
        audits=check_generators(copies, settings.generators),
        validation=None if validation is None else read_json(validation),
        split=read_json(split_report),
        trainings=[found for found in map(read_json, settings_files) if {"model", "training"} <= set(found)],
    )
    labelled = (settings.generators, settings.pseudo_labelled)
    captions = table_captions(document, *labelled) | figure_captions(*labelled)
    exhibits = {
        key: [
            _table(own_tables[name], captions[name], document, GENERIC_ONLY_IN_CSV)
            if name in own_tables
            else _figure(own_figures[name], captions[name])
            for name in names
        ]
        for key, names in EXHIBITS.items()
        if key != "validation" or validation is not None
    }
    for path, picture in zip(copies, copy_figures, strict=True):
        name = read_json(path)["generator"]
        caption = copy_caption(settings.generators[name].title)
        exhibits["sharing"].append(_figure(picture, caption) | {"id": f"figure_copies_{name}"})
    shown = _in_order(words, exhibits, added, document)
    results = [summary, verdicts, split_report, *copies] + ([] if validation is None else [validation])
    files = [*results, *tables, *figures, *copy_figures, *sections, *section_files, *settings_files]

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    html = environment.from_string(PAGE).render(
        title=settings.title,
        style=Markup(STYLE),
        subtitle=words.subtitle(),
        sections=shown,
        phantom=settings.provider == "phantom",
        files=[(path.as_posix(), hash_file(path)) for path in files],
        versions=versions(),
        settings_texts=[(path.as_posix(), path.read_text(encoding="utf-8")) for path in settings_files],
    )
    write_text(out, html)
    logger.info("wrote %s (%.1f MB)", out, out.stat().st_size / 1e6)


def _check_names(sections: Sequence[Section], files: Sequence[Path]) -> None:
    own = {key for key, _, _ in SECTIONS} | {*TABLES, *FIGURES}
    taken = [name for name in (*(section.key for section in sections), *(path.stem for path in files)) if name in own]
    if taken:
        raise InputError(f"sections: {taken[0]!r} is the name of a section, table or figure of every report; rename it")


def _in_order(
    words: Words, exhibits: Mapping[str, list[dict | None]], added: Sequence[Section], document: Document | None
) -> list[dict]:
    """What the template needs of each section, in the order of the page, with numbered tables and figures."""
    paragraphs = words.by_section()
    found = []
    for key, link, heading in SECTIONS:
        found.append(
            {
                "key": key,
                "link": link,
                "heading": heading,
                "paragraphs": paragraphs[key],
                "exhibits": exhibits.get(key, []),
            }
        )
        for section in added:
            if section.after == key:
                say = partial(spoken, references=document is not None)
                tables = [_table(path, say(caption), document, frozenset()) for path, caption in section.tables]
                figures = [_figure(path, say(caption)) for path, caption in section.figures]
                found.append(
                    {
                        "key": section.key,
                        "link": section.title,
                        "heading": section.title,
                        "paragraphs": [words for words in map(say, section.paragraphs) if words],
                        "exhibits": figures + tables if section.figures_first else tables + figures,
                    }
                )
    numbers = {"table": 0, "figure": 0}
    for section in found:
        section["exhibits"] = [exhibit for exhibit in section["exhibits"] if exhibit is not None]
        for exhibit in section["exhibits"]:
            numbers[exhibit["kind"]] += 1
            exhibit["number"] = numbers[exhibit["kind"]]
    return found


def _table(path: Path, caption: str, document: Document | None, only_in_csv: frozenset[str]) -> dict | None:
    """A table for the template; None when it has nothing to show."""
    table = page_table(path, caption, references=document is not None, only_in_csv=only_in_csv)
    return table and {"kind": "table", "id": path.stem, **table}


def _figure(path: Path, caption: str) -> dict | None:
    """A PNG as data URI, with its size so that the page does not jump while it loads; None for a placeholder.

    Shown at half its pixels.
    """
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            width, height = picture.size
            nothing = picture.info.get("Description") == NOTHING_TO_SHOW
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InputError(f"{path}: not a PNG picture ({error}); make it again") from error
    if nothing:
        return None
    return {
        "kind": "figure",
        "id": path.stem,
        "data": f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}",
        "alt": caption,
        "caption": caption,
        "width": round(width / 1.5625),  # 150 dpi on a screen of 96
        "height": round(height / 1.5625),
    }

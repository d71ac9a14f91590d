"""Sections of the report that belong to one experiment: a study's step writes its section, the page shows it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json

Place = Literal["data", "task"]
"""Key of the page's own section that a study's section follows: how the images were chosen follows the data,
results follow the effect on the classifier."""

_OF_THE_DOCUMENT = re.compile(r"(^|\s+)\[\[(.+?)\]\]")


@dataclass(frozen=True)
class Section:
    """One section as the page shows it: its paragraphs, then its tables and figures.

    key: anchor in the page, unique; title: heading, for people; after: see Place; tables, figures: (file, caption).
    """

    key: str
    title: str
    after: Place
    paragraphs: tuple[str, ...]
    tables: tuple[tuple[Path, str], ...]
    figures: tuple[tuple[Path, str], ...]
    figures_first: bool


def write_section(
    path: Path,
    *,
    key: str,
    title: str,
    paragraphs: Sequence[str],
    tables: Sequence[tuple[Path, str]],
    figures: Sequence[tuple[Path, str]],
    after: Place = "task",
    figures_first: bool = False,
) -> None:
    """Write a section as JSON. tables, figures: (file, caption), in the order they are shown.

    What a text says of the document whose numbers stand beside ours is written in [[…]]: see spoken().

    The JSON holds the base names of the files only, so that results can be moved. Table: a CSV as `write_csv` writes
    it; `x_low` and `x_high` are shown as interval below `x`, columns `reference_*` under their own header, `note` and
    `reference_note` below the table; a table whose cells are all empty but for its notes is left out of the page.
    """
    write_json(
        path,
        {
            "key": key,
            "title": title,
            "after": after,
            "figures_first": figures_first,
            "paragraphs": list(paragraphs),
            "tables": [{"file": file.name, "caption": caption} for file, caption in tables],
            "figures": [{"file": file.name, "caption": caption} for file, caption in figures],
        },
    )


def spoken(text: str, references: bool) -> str:
    """A caption or paragraph as the page shows it: [[…]] in round brackets where the experiment has `references`,
    left out where it has none."""
    return _OF_THE_DOCUMENT.sub(r"\1(\2)" if references else "", text)


def read_sections(sections: Sequence[Path], files: Sequence[Path]) -> list[Section]:
    """The sections, in the order of their files; `files`: all their tables and figures, matched by base name.

    Raises InputError when a key or a base name occurs twice, when a section names a file that is not given, and when a
    file is given that no section names.
    """
    by_name: dict[str, Path] = {}
    for path in files:
        if path.name in by_name:
            raise InputError(f"section_files: {by_name[path.name]} and {path} have one base name; rename one of them")
        by_name[path.name] = path
    found: dict[str, Section] = {}
    named: set[str] = set()
    for path in sections:
        content = read_json(path)
        exhibits = {}
        for kind in ("tables", "figures"):
            for entry in content[kind]:
                if entry["file"] not in by_name:
                    raise InputError(f"{path}: names {entry['file']!r}, which is not among section_files; give it too")
            exhibits[kind] = tuple((by_name[entry["file"]], entry["caption"]) for entry in content[kind])
            named |= {entry["file"] for entry in content[kind]}
        if content["key"] in found:
            raise InputError(f"{path}: a second section with the key {content['key']!r}; give each section its own")
        found[content["key"]] = Section(
            **{name: content[name] for name in ("key", "title", "after", "figures_first")},
            paragraphs=tuple(content["paragraphs"]),
            **exhibits,
        )
    unused = sorted(set(by_name) - named)
    if unused:
        raise InputError(f"{by_name[unused[0]]}: no section names it; give its section too, or leave the file out")
    return list(found.values())

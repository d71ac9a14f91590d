"""Writing one section of the report: its tables and pictures, and its part of the page as JSON."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthmed.core.files import write_json
from synthmed.report.exhibits import Figure, Found, Section, Table
from synthmed.report.references.document import Document, read_document
from synthmed.report.words import environment, spoken


@dataclass(frozen=True)
class Picture:
    """A picture that another step drew. name: unique in the section; caption: a Jinja string over `found`."""

    name: str
    caption: str
    file: Path
    found: Mapping[str, object]


TOKEN = re.compile(r"⟦(number|picture) ([\w.]+)⟧")
"""What the page fills in: an exhibit's number, a picture's address."""


def write_section(
    path: Path,
    out: Sequence[Path],
    section: Section,
    found: Found,
    *,
    document: Path | None,
    pictures: Sequence[Picture] = (),
) -> None:
    """Write the section to `path` (JSON) and each of its exhibits to its file in `out`.

    path: its stem is the section's key, with `.<task>` where each task has one. found: what captions, headings and the
    template name, and what tables and figures are made from; its `headline` is the answer in a sentence. document: YAML
    of the document whose numbers stand beside ours (see references.document), None without. pictures: shown too. Its
    words stand first, then the exhibits in the order of the statement. Raises InputError when `out` is not one file for
    each exhibit.
    """
    instance = path.stem
    key = instance.partition(".")[0]
    files = section.by_name(out)
    said = _applicable(read_document(document), instance, section, found)
    exhibits = [_exhibit(entry, files[entry.name], instance, found, said) for entry in section.exhibits]
    exhibits += [
        {
            "name": f"{instance}.{picture.name}",
            "kind": "figure",
            "file": picture.file.name,
            "caption": spoken(picture.caption, picture.found),
            "shown": True,
        }
        for picture in pictures
    ]
    html = environment(html=True)
    macros = html.get_template("section.html.j2").module
    words = html.get_template(f"sections/{key}.html.j2").render(
        **found, document_says=said.said(instance) if said else ""
    )
    shown = [getattr(macros, entry["kind"])(entry) for entry in exhibits if entry["shown"]]
    content = {
        "key": instance,
        "headline": found.get("headline"),
        **{name: spoken(getattr(section, name), found) for name in ("link", "title")},
    }
    kept = ("name", "kind", "file", "caption", "shown")
    exhibits = [{name: entry[name] for name in kept} for entry in exhibits]
    write_json(path, {**content, "html": "\n".join([words, *shown]), "exhibits": exhibits})


def _applicable(document: Document | None, instance: str, section: Section, found: Found) -> Document | None:
    """The document, unless what it says of this section is about other rows than ours (its `if_rows`)."""
    names = {} if document is None else document.if_rows
    name = names.get(instance, names.get(instance.partition(".")[0]))
    if name is None:
        return document
    table = next(entry for entry in section.exhibits if entry.name == name)
    ours = {key for row in table.rows(found) for key in row["keys"][:1]}
    reference = document.of(instance, name)
    return document if reference is not None and ours == set(reference.rows) else None


def _exhibit(
    entry: Table | Figure, path: Path, instance: str, found: Found, document: Document | None
) -> dict[str, object]:
    """Write one exhibit; return what the template needs."""
    reference = document.of(instance, entry.name) if document else None
    caption = spoken(entry.caption, found)
    if reference is not None and reference.caption:
        caption += f" ({reference.caption})"
    shared = {"name": f"{instance}.{entry.name}", "file": path.name}
    if isinstance(entry, Table):
        table = entry.write(path, found, reference)
        if table and table["references"]:
            caption += " Shaded columns: the document's numbers, for its own data."
        caption = " ".join([caption, *(table["said"] if table else [])])
        return {**shared, "kind": "table", "caption": caption, "shown": table is not None, **(table or {})}
    nothing = entry.draw(path, found)
    if nothing:
        from synthmed.report.charts.style import placeholder

        placeholder(path, nothing)
    return {**shared, "kind": "figure", "caption": nothing or caption, "shown": not nothing}

"""Numbers that a document printed for its own data at its own scale.

They stand beside ours in columns named `reference_*`, headed HEADER, and nowhere else: they are no target, no threshold
and no stand-in for a result that is missing here. An experiment without a document has no references.

A document is one YAML file: `citation`; `exhibits`, by `<section>.<exhibit>` (or `<section>.<task>.<exhibit>`), each
with any of `caption` (words such as "The document's Table 2"), `columns` (name → header), `rows` (key of a row of ours
→ its values) and `notes`; `words`, by section: a paragraph that its template shows; `if_rows`, section → table: what
the document says of that section stands there only where that table has the very rows that the document's has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from synthmed.core.errors import InputError

HEADER = "document (its data and scale)"


@dataclass(frozen=True)
class Reference:
    """What a document prints for one exhibit. A row that is missing was not reported."""

    caption: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, Sequence] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def of(self, keys: Sequence[str]) -> dict[str, object]:
        """Its values for our row that is known by `keys`, the first of them that it has; None each without one."""
        key = next((key for key in keys if key in self.rows), None)
        return dict(zip(self.columns, self.rows[key] if key else [None] * len(self.columns), strict=True))


@dataclass(frozen=True)
class Document:
    """What one document reports."""

    citation: str
    exhibits: Mapping[str, Reference] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    if_rows: Mapping[str, str] = field(default_factory=dict)

    def of(self, instance: str, exhibit: str) -> Reference | None:
        """What it prints for an exhibit; instance: the section's key, with `.<task>` where each task has one."""
        section = instance.partition(".")[0]
        return self.exhibits.get(f"{instance}.{exhibit}") or self.exhibits.get(f"{section}.{exhibit}")

    def said(self, instance: str) -> str:
        """What its words say of a section, or nothing."""
        return self.words.get(instance, self.words.get(instance.partition(".")[0], ""))


def read_document(path: Path | None) -> Document | None:
    """The document in the YAML file `path`; None without one. Raises InputError on a file of another form."""
    if path is None:
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        exhibits = {name: Reference(**entry) for name, entry in content.get("exhibits", {}).items()}
        document = Document(content["citation"], exhibits, content.get("words", {}), content.get("if_rows", {}))
    except (yaml.YAMLError, TypeError, KeyError, AttributeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a document's numbers ({error}); see the others in {path.parent}") from error
    for name, entry in document.exhibits.items():
        for key, values in entry.rows.items():
            if not isinstance(key, str) or len(values) != len(entry.columns):
                raise InputError(
                    f"{path}: exhibits.{name}.rows.{key} has {len(values)} values for {len(entry.columns)} columns "
                    "(and its key must be text)"
                )
    return document

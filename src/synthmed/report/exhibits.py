"""What a section shows: tables and figures, each stated once.

From the statement follow its file, its place on the page with its caption, the output of the rule and the entry in
Snakemake's report. Nothing here draws or imports matplotlib.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthmed.core.errors import InputError
from synthmed.core.files import write_csv
from synthmed.metrics.estimate import Estimate
from synthmed.report.references.document import HEADER, Reference
from synthmed.report.words import short

Found = Mapping[str, object]
"""What a section read from its inputs, by the names that its captions and its template use."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    key: its name in the rows and in the CSV; header: on the page, else the key in words.
    form: a number for people. Counts (int) always get their thousands apart, text stays as it is.
    interval: its values are Estimates; the CSV also has `<key>_low` and `<key>_high`, the page shows them below.
    below: further lines of its cell: (words, key of another value of the row); words may name values of the row.
    once: where all rows have one value, it is said by these words ({}) in the caption instead; group: else the rows are
    grouped by it, under these words.
    page: False leaves it to the CSV.
    """

    key: str
    header: str = ""
    form: Callable[[float], str] = short
    interval: bool = False
    below: tuple[tuple[str, str], ...] = ()
    once: str = ""
    group: bool = False
    page: bool = True

    def __post_init__(self) -> None:
        if self.group and not self.once:
            raise ValueError(f"column {self.key!r}: its groups have no words; give `once`")

    @property
    def title(self) -> str:
        """The header on the page."""
        return self.header or self.key.replace("_", " ")

    def cells(self, value: object) -> dict[str, object]:
        """Its cells in the CSV."""
        if not self.interval:
            return {self.key: value.value if isinstance(value, Estimate) else value}
        found = value if isinstance(value, Estimate) else Estimate.missing("not measured")
        return {self.key: found.value, f"{self.key}_low": found.low, f"{self.key}_high": found.high}

    def text(self, value: object) -> str:
        """One value for people; nothing for None."""
        if isinstance(value, Estimate):
            value = value.value
        if value is None or isinstance(value, str):
            return value or ""
        return f"{value:,}" if isinstance(value, int) and self.form is short else self.form(value)


@dataclass(frozen=True)
class Table:
    """A table: its CSV, and the table of the page.

    name: unique in its section; caption: a Jinja string over what the section found. columns: in order, or a function
    of what was found. rows: from what was found to rows by the columns' keys; a row may carry a `note` for people
    (shown below the table; reasons of missing Estimates are added) and `keys`, names by which a document's table may
    know it. empty: why there are no rows, where that can be. page: False leaves it to the CSV, "document": unless the
    document has numbers for it.
    """

    name: str
    caption: str
    rows: Callable[[Found], list[dict]]
    columns: Sequence[Column] | Callable[[Found], Sequence[Column]]
    empty: str = ""
    page: bool | str = True

    folder, suffix = "tables", "csv"

    def columns_of(self, found: Found) -> list[Column]:
        """Its columns for what was found."""
        return list(self.columns(found) if callable(self.columns) else self.columns)

    def write(self, path: Path, found: Found, reference: Reference | None) -> dict | None:
        """Write the CSV; return what the template of exhibits needs, None where nothing is left for the page."""
        columns, rows = self.columns_of(found), [dict(row) for row in self.rows(found)]
        theirs = [] if reference is None else [reference.of(row.get("keys", ())) for row in rows]
        cells = [
            {name: cell for column in columns for name, cell in column.cells(row.get(column.key)).items()}
            | {f"reference_{name}": cell for name, cell in (theirs[place] if theirs else {}).items()}
            | {"note": "; ".join(_notes(columns, [row]))}
            for place, row in enumerate(rows)
        ]
        header = [name for column in columns for name in column.cells(None)]
        header += [f"reference_{name}" for name in (reference.columns if reference else {})]
        write_csv(path, cells or [{"note": self.empty}], [*header, "note"])
        if not any(value is not None for values in theirs for value in values.values()):
            reference = None
        if not rows or not (self.page is True or (self.page and reference)):
            return None
        return _on_page(columns, rows, theirs, reference)


@dataclass(frozen=True)
class Figure:
    """A picture (PNG). draw: writes it to the path from what was found, or returns the sentence why there is none."""

    name: str
    caption: str
    draw: Callable[[Path, Found], str | None]

    folder, suffix = "figures", "png"


@dataclass(frozen=True)
class Section:
    """A section of the report. link, title: in the contents and as heading, Jinja strings like the captions.

    each_task: whether there is one for every task of the experiment.
    """

    link: str
    title: str
    exhibits: tuple[Table | Figure, ...] = ()
    each_task: bool = False

    def __post_init__(self) -> None:
        names = [exhibit.name for exhibit in self.exhibits]
        if len(set(names)) < len(names) or any("." in name for name in names):
            raise ValueError(f"names of exhibits must be unique and without a point: {names}")

    def files(self, instance: str) -> list[str]:
        """Its files in the folder of the experiment. instance: the section's key, with `.<task>` where each has one."""
        return [f"{entry.folder}/{instance}.{entry.name}.{entry.suffix}" for entry in self.exhibits]

    def by_name(self, out: Sequence[Path]) -> dict[str, Path]:
        """The files of `out` by the names of the exhibits. Raises InputError unless there is exactly one for each."""
        found = {path.stem.rpartition(".")[2]: path for path in out}
        names = {exhibit.name for exhibit in self.exhibits}
        wrong = sorted(set(found) ^ names)
        if wrong or len(found) < len(out):
            raise InputError(
                f"out: give one file for each of {sorted(names)}; {wrong or 'one of them'} is missing, unknown or twice"
            )
        return found


# ------------------------------------------------------------------------------------------------ tables of the page
def _on_page(
    columns: Sequence[Column], rows: Sequence[dict], theirs: Sequence[Mapping], reference: Reference | None
) -> dict | None:
    """What the template needs of one table; None when every shown cell is empty."""
    shown = [column for column in columns if column.page and any(column.text(row.get(column.key)) for row in rows)]
    said, group = [], None
    for column in [column for column in shown if column.once]:
        values = {column.text(row.get(column.key)) for row in rows}
        if len(values) == 1 and len(rows) > 1:
            said.append(f"{column.once.format(values.pop()).rstrip('.')}.")
            shown.remove(column)
        elif column.group:
            group = column
            shown.remove(column)
    if not shown:
        return None
    numeric = {column.key for column in shown if not any(isinstance(row.get(column.key), str) for row in rows)}
    headers = [{"text": column.title, "kind": "n" if column.key in numeric else ""} for column in shown]
    headers += [{"text": title, "kind": "ref"} for title in (reference.columns.values() if reference else ())]
    groups: dict[str, list] = {}
    for place, row in enumerate(rows):
        cells = [_cell(column, row, "n" if column.key in numeric else "") for column in shown]
        cells += [_plain(_printed(value), "ref") for value in (theirs[place].values() if reference else ())]
        title = group.once.format(group.text(row[group.key])).rstrip(".") if group else ""
        groups.setdefault(title, []).append(cells)
    notes = _notes(columns, rows) + list(reference.notes if reference else ())
    return {
        "said": said,
        "headers": headers,
        "groups": groups,
        "rows": len(rows),
        "notes": list(dict.fromkeys(notes)),
        "references": len(reference.columns) if reference else 0,
        "reference_header": HEADER,
    }


def _notes(columns: Sequence[Column], rows: Sequence[dict]) -> list[str]:
    """The notes of rows, and why estimates of theirs are missing: each once, each reason with the columns it is of."""
    reasons: dict[str, dict[str, None]] = {}
    for row in rows:
        for column in columns:
            cell = row.get(column.key)
            if isinstance(cell, Estimate) and cell.value is None:
                reasons.setdefault(cell.reason, {})[column.title] = None
    own = dict.fromkeys(row["note"] for row in rows if row.get("note"))
    return [*own, *(f"{'; '.join(titles)}: {reason}" for reason, titles in reasons.items())]


def _plain(text: str, kind: str, below: Sequence[str] = ()) -> dict:
    return {"text": text or "–", "kind": kind if text else f"{kind} empty", "below": list(below)}


def _cell(column: Column, row: Mapping, kind: str) -> dict:
    value = row.get(column.key)
    text, below = column.text(value), []
    if isinstance(value, Estimate) and value.low is not None:
        # Beside a value of ordinary size an end such as 4e-10 is 0.
        ends = [0.0 if abs(end) < 5e-4 <= abs(value.value) / 10 else end for end in (value.low, value.high)]
        below.append(f"[{column.text(ends[0])}, {column.text(ends[1])}]")
    for words, key in column.below:
        other = column.text(row.get(key))
        if other and other != text:
            below.append(f"{words.format(**row)} {other}".strip())
    return _plain(text, kind, below)


def _printed(value: object) -> str:
    """A document's number as it printed it."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"

"""Tables (CSV) of a user's own, as spreadsheets and pandas write them."""

import csv
import io
import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

from synthmed.core.errors import InputError
from synthmed.core.files import nfc, readable

PARTS = {"train": "train", "val": "validation", "validation": "validation", "test": "test", "": ""}
"""What a column of the split may say, in lower case, and the part that is meant."""

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}

Rows = list[tuple[int, dict[str, str]]]
"""Number of the first line of a row, and its cells by column."""


def read_table(path: Path, wanted: Sequence[str | None]) -> Rows:
    """Rows of a CSV file, see rows_of. Raises InputError also when the file is missing or cannot be read."""
    if not path.exists() and not path.is_symlink():
        raise InputError(f"{path}: no such file (setting options.csv.name)")
    with readable(path):
        text = path.read_text(encoding="utf-8-sig")
    return rows_of(text, str(path), wanted)


def rows_of(text: str, table: str, wanted: Sequence[str | None]) -> Rows:
    """Rows with at least one cell that is not empty. Columns and cells: without spaces around them, in NFC.

    table: its name, for messages; wanted: columns that must be there, None is passed over. Raises InputError when the
    text is no table, a column is missing or occurs twice, a row has more cells than the first line or lacks a wanted
    one, a wanted cell has a line break, or there is no row.
    """
    reader, lines, begins = csv.reader(io.StringIO(text), skipinitialspace=True, strict=True), [], 1
    try:
        for cells in reader:
            lines.append((begins, [nfc(cell.strip()) for cell in cells]))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{table}, line {begins}: not readable as a table ({error}); close the quote that is open there, "
            "write quotes inside of a cell twice, or shorten it"
        ) from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if not lines:
        raise InputError(f"{table}: the file is empty")
    columns = lines[0][1]
    _check_columns(table, columns, wanted)
    needed, rows = {nfc(column) for column in wanted if column is not None}, []
    for number, cells in lines[1:]:
        lacking = columns[len(cells) :]  # spreadsheets leave out empty cells at the end of some rows
        if needed & set(lacking) or any(cells[len(columns) :]):
            raise InputError(
                f"{table}, line {number}: it has not {len(columns)} cells as the first line has{separated(columns)}"
            )
        row = dict(zip(columns, cells + [""] * len(lacking), strict=False))
        if broken := [column for column in columns if column in needed and re.search(r"[\r\n]", row[column])]:
            raise InputError(
                f"{table}, line {number}: its {broken[0]!r} has a line break in it ({row[broken[0]][:40]!r} …); close "
                "the quote that is open there, or write the cell in one line"
            )
        rows.append((number, row))
    if not rows:
        raise InputError(f"{table}: no rows below the first line")
    return rows


def _check_columns(table: str, columns: Sequence[str], wanted: Sequence[str | None]) -> None:
    for column in columns:
        if column and columns.count(column) > 1:  # without a name they may; spreadsheets leave such at the end
            raise InputError(
                f"{table}: the column {column!r} occurs {columns.count(column)} times; rename or remove all but one"
            )
    for column in wanted:
        if column is not None and nfc(column) not in columns:
            raise InputError(f"{table}: no column {column!r}; it has {list(columns)}{separated(columns)}")


def separated(columns: Sequence[str]) -> str:
    """What to say of a table whose columns are parted by something else than commas; "" of others."""
    found = [name for mark, name in _SEPARATORS.items() if len(columns) == 1 and mark in columns[0]]
    return f"; it is separated by {found[0]}: save it with commas" if found else ""


def placeholders(pattern: str | None) -> list[str]:
    """The columns that a setting needs: one, or those in the braces of a pattern such as "{study}/{film}.dcm".

    Raises InputError when the braces do not close, and when they ask for more than the cell as it is ("{number:03d}").
    """
    if pattern is None or "{" not in pattern:
        return [] if pattern is None else [pattern]
    return [name for _, name in _parsed(pattern) if name is not None]


def _parsed(pattern: str) -> list[tuple[str, str | None]]:
    """The text before each column, and its name; None behind the last text."""
    try:
        found = list(string.Formatter().parse(nfc(pattern)))
    except ValueError as error:
        raise InputError(f"setting options.csv: {pattern!r} is no pattern of columns ({error})") from error
    for _, name, form, conversion in found:
        if form or conversion:
            raise InputError(
                f"setting options.csv: {pattern!r} asks for a form of {name!r}, and cells are taken as they are; write "
                "the cells as the files are named"
            )
    return [(text, name) for text, name, _, _ in found]


def filled(pattern: str, cells: Mapping[str, str]) -> str:
    """The cell of a column, or the pattern with cells in it; "" when a cell that it needs is empty."""
    if "{" not in pattern:
        return cells[nfc(pattern)]
    if not all(cells[column] for column in placeholders(pattern)):
        return ""
    return "".join(text + (cells[name] if name is not None else "") for text, name in _parsed(pattern))


def part(cells: Mapping[str, str], column: str | None, where: str) -> str:
    """Part of the official split that a row names: a value of PARTS. Raises InputError on another word."""
    value = cells[nfc(column)].lower() if column else ""
    if value not in PARTS:
        raise InputError(f"{where}: {column} is {value!r}; known are train, validation, test")
    return PARTS[value]

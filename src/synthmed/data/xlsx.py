"""The first sheet of an Excel workbook as rows of text: what the tables of public data sets need, and no more."""

import io
import zipfile
import zlib
from xml.etree import ElementTree

from synthmed.core.errors import InputError

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LARGEST = 64 * 2**20
"""Bytes of an unpacked sheet beyond which it is refused."""


def read_rows(content: bytes, where: str) -> list[dict[str, str]]:
    """Rows of the first sheet below its header, by the header's names in lower case; empty cells are "".

    where: what messages call it. Raises InputError when it is no workbook, or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as book:
            names = sorted(name for name in book.namelist() if name.startswith("xl/worksheets/sheet"))
            shared = "xl/sharedStrings.xml"
            texts = [_text(entry) for entry in _tree(book, shared)] if shared in book.namelist() else []
            rows = [_cells(row, texts) for row in _tree(book, names[0]).iter(f"{_MAIN}row")]
    except (zipfile.BadZipFile, zlib.error, ElementTree.ParseError, LookupError, ValueError, OSError) as error:
        raise InputError(f"{where}: no readable Excel workbook ({error}); get it again, or take it out") from error
    header = {column: name.strip().lower() for column, name in (rows[0] if rows else {}).items()}
    return [{name: row.get(column, "").strip() for column, name in header.items()} for row in rows[1:]]


def _tree(book: zipfile.ZipFile, name: str) -> ElementTree.Element:
    if book.getinfo(name).file_size > _LARGEST:
        raise ValueError(f"{name} has {book.getinfo(name).file_size} bytes")
    return ElementTree.fromstring(book.read(name))


def _text(node: ElementTree.Element) -> str:
    return "".join(part.text or "" for part in node.iter(f"{_MAIN}t"))


def _cells(row: ElementTree.Element, texts: list[str]) -> dict[str, str]:
    """Column letters → text of the cells of a row."""
    found = {}
    for cell in row.iter(f"{_MAIN}c"):
        value = cell.findtext(f"{_MAIN}v", "")
        if cell.get("t") == "s":
            value = texts[int(value)]
        elif cell.get("t") == "inlineStr":
            value = _text(cell)
        found[cell.get("r", "").rstrip("0123456789")] = value
    return found

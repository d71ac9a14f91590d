"""From the CSV tables to the tables of the page: headers in words, intervals under their values, notes as footnotes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from synthmed.core.files import read_csv
from synthmed.report.references import HEADER

TITLES: Mapping[str, str] = {
    "receptive_field": "receptive field (px)",
    "n_real": "real images",
    "n_fake": "generated images",
    "n": "images",
    "n_floor": "images of the floor",
    "n_train": "training images",
    "n_held_out": "held-out images",
    "share_in_features": "suspects by features",
    "expected_in_features": "expected",
    "p_features": "p",
    "share_in_pixels": "suspects by pixels",
    "expected_in_pixels": "expected",
    "p_pixels": "p",
    "nearest_is_origin": "nearest is its origin",
    "inception_score": "IS",
    "fid": "FID",
    "fid_infinity": "FID∞",
    "kid": "KID",
    "auroc": "AUROC",
    "auroc_difference": "AUROC − real arm",
    "p_holm": "p (Holm)",
    "suspect_share": "share of suspects",
    "false_positives": "false pos.",
    "false_negatives": "false neg.",
}
"""Column -> header, where the column's own name would not do; `reference_x` is headed as `x`."""

_TEXT = {
    "generator", "label", "extractor", "arm", "kind", "backbone", "verdict", "selected", "equivalent", "case",
    "expected", "part", "note",
}  # fmt: skip
# The same in every row of a table: said once, in the caption.
_SAID_ONCE = {
    "extractor": "Features of",
    "backbone": "Classifier on",
    "n_real": "Real images",
    "n_fake": "Generated images",
    "n_train": "Training images",
    "n_held_out": "Held-out images",
}
_TAGS = {"helps": "helps", "harms": "harms", "no evidence of a difference": "none"}
GENERIC_ONLY_IN_CSV = frozenset({
    "kind", "sensitivity", "specificity", "synthetic_share", "equivalent", "n_real", "n_floor", "fid_infinity",
})  # fmt: skip
"""Columns of the tables of every experiment that are left to the CSV (FID∞ also to its figure), so that the document's
columns stay in sight."""


def short(value: float) -> str:
    """A number with the digits a reader can use: 4 significant ones, at most 3 decimals."""
    decimals = 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 3
    text = f"{value:.{decimals}f}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"
    return text.replace("-", "−")


def _format(column: str, text: str, tenths: bool = False) -> str:
    """One value for people. tenths: its column holds means of counts, all given to one decimal."""
    if column in _TEXT or not _is_number(text):
        return text
    value = float(text)
    if text.isdigit() and not tenths:  # a count: floats are written with a point
        return f"{int(text):,}"
    if column in ("learning_rate", "dropout"):
        return f"{value:g}"
    if column in ("false_positives", "false_negatives"):
        return f"{value:.1f}"
    if column.startswith("reference_"):
        return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"
    if "_difference" in column:
        return f"{value:+.3f}".replace("-", "−")
    if column == "p" or column.startswith("p_"):
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    return f"{value:,.1f}" if tenths else short(value)


def page_table(path: Path, caption: str, *, references: bool, only_in_csv: frozenset[str]) -> dict | None:
    """What the template needs of one table: caption, headers, rows of cells, notes. None when it has nothing to show.

    references: whether the document's numbers (columns `reference_*`) are shown, last, and what `reference_note` says
    of them; only_in_csv: columns that are not shown. Columns `x_low` and `x_high` become the interval below x; those of
    the floor stand below the value, too.
    """
    rows = read_csv(path)
    columns = list(rows[0]) if rows else []
    speaking = ("note", "reference_note") if references else ("note",)
    notes = list(dict.fromkeys(row[column] for column in speaking for row in rows if row.get(column)))
    filled = [column for column in columns if any(row[column] for row in rows)]
    for column, words in _SAID_ONCE.items():
        values = {row[column] for row in rows} if column in filled else set()
        if len(values) == 1 and len(rows) > 1:
            caption += f" {words}: {values.pop()}." if words.endswith("images") else f" {words} {values.pop()}."
            filled.remove(column)
    below = {
        f"{prefix}{column}{suffix}"
        for column in columns
        for prefix, suffix in (("", "_low"), ("", "_high"), ("floor_", ""), ("matched_", ""), ("duplicate_", ""))
    }
    shown = [column for column in filled if column not in ("note", "reference_note", "extractor", *only_in_csv, *below)]
    theirs = [column for column in shown if column.startswith("reference_")]
    shown = [column for column in shown if column not in theirs]
    if not shown:
        return None
    shown += theirs if references else []
    # Several extractors: one block of rows each, because numbers of different extractors cannot be compared.
    extractors = dict.fromkeys(row["extractor"] for row in rows) if "extractor" in filled else {None: None}
    tenths = {column for column in shown if column not in theirs and _in_tenths([row[column] for row in rows])}
    numeric = {column for column in shown if all(_is_number(row[column]) for row in rows if row[column])} - _TEXT
    return {
        "caption": caption,
        "headers": [{"text": _header(column), "kind": _kind(column, numeric)} for column in shown],
        "groups": [
            {
                "title": extractor and f"Features of {extractor}",
                "rows": [
                    [_cell(row, column, numeric, column in tenths) for column in shown]
                    for row in rows
                    if extractor is None or row["extractor"] == extractor
                ],
            }
            for extractor in extractors
        ],
        "notes": notes,
        "references": len(theirs) if references else 0,
        "reference_header": HEADER,
    }


def _header(column: str) -> str:
    name = column.removeprefix("reference_")
    return TITLES.get(name, name.replace("_", " "))


def _kind(column: str, numeric: set[str]) -> str:
    return "ref" if column.startswith("reference_") else "n" if column in numeric else ""


def _cell(row: Mapping[str, str], column: str, numeric: set[str], tenths: bool) -> dict:
    text, below = _format(column, row[column], tenths), []
    low, high = row.get(f"{column}_low", ""), row.get(f"{column}_high", "")
    if text and low and high:
        below.append(f"[{_format(column, low)}, {_format(column, high)}]")
    if row.get(f"matched_{column}") and row["n_floor"] != row["n_fake"]:
        below.append(f"of {row['n_floor']}: {_format(column, row[f'matched_{column}'])}")
    if row.get(f"floor_{column}"):
        below.append(f"floor {_format(column, row[f'floor_{column}'])}")
    kind = _kind(column, numeric) + (" empty" if not text else "")
    return {"text": text or "–", "below": below, "kind": kind, "tag": _TAGS.get(text) if column == "verdict" else None}


def _in_tenths(texts: Sequence[str]) -> bool:
    """Whether the values of a column are counts and means of counts to one decimal, such as 94 and 8.2."""
    given = [text for text in texts if text]
    return any("." in text for text in given) and all(re.fullmatch(r"\d+(\.\d)?", text) for text in given)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

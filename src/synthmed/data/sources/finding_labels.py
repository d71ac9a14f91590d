"""Findings of a film from tables of labels: names, what counts as normal, and the columns that every reader gives.

A table's own names become ours by a mapping `finding_names`: a finding, NORMAL for "nothing found", or null for what
the study leaves alone. A film whose only findings are of that last kind is neither normal nor one of ours: it is left
out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.data.boxes import Box, format_boxes

NORMAL, ABNORMAL = "normal", "abnormal"
"""Labels of a film without and with findings; the former is also the value of `finding_names` for "nothing found"."""

Names = Mapping[str, str | None]

FindingNames = Annotated[
    dict[
        str,
        Annotated[str, Meta(pattern="^[a-z][a-z ]*[a-z]$", description="lower-case letters and spaces")] | None,
    ],
    Meta(
        min_length=2,
        description="Names of findings in the table -> names here, in lower case; normal for the name that means that "
        "nothing is found; null for findings that a film is left out for when it has no other.",
    ),
]
"""Type of the settings `finding_names`."""


def check_names(names: Names) -> None:
    """Raise InputError unless one of `names` (a setting options.finding_names) is NORMAL and another a finding."""
    if NORMAL not in names.values():
        raise InputError(
            f"setting options.finding_names names nothing {NORMAL!r}; which name means that nothing is found?"
        )
    if set(names.values()) <= {NORMAL, None}:
        raise InputError("setting options.finding_names has no finding; without any there is one class only")


def check_all_mapped(names: Names, occurring: Iterable[str], table: str) -> None:
    """Raise InputError when the table has a name that the mapping has not."""
    unknown = sorted(set(occurring) - set(names))
    if unknown:
        raise InputError(
            f"{table}: setting options.finding_names does not say what {unknown[0]!r} becomes; name a finding, "
            f"{NORMAL!r}, or null to leave films out for it (not named are {unknown})"
        )


def check_all_occur(names: Names, occurring: Iterable[str], table: str) -> None:
    """Raise InputError when the mapping has a name that the table has not: it is misspelt, or its class is empty."""
    absent = sorted(set(names) - set(occurring))
    if absent:
        raise InputError(
            f"{table}: setting options.finding_names has {absent[0]!r}, which never occurs, so the class "
            f"{names[absent[0]]!r} would get no film by it; the table has {sorted(set(occurring))}"
        )


def check_classes(findings_of_films: Sequence[Sequence[str]], names: Names, table: str) -> None:
    """Raise InputError when there is no normal film, or none of a finding that `names` asks for."""
    counts = Counter(finding for findings in findings_of_films for finding in findings)
    counts[NORMAL] = sum(not findings for findings in findings_of_films)
    for name in dict.fromkeys(names.values()):
        if name is not None and counts[name] == 0:
            raise InputError(
                f"{table}: no film is left of the class {name!r} ({tally(findings_of_films)}); look at "
                "options.finding_names and at the table"
            )


def tally(findings_of_films: Sequence[Sequence[str]]) -> str:
    """ "normal 10, nodule 3": how many films have each finding, for messages."""
    counts = Counter(finding for findings in findings_of_films for finding in findings)
    normal = sum(not findings for findings in findings_of_films)
    return ", ".join([f"{NORMAL} {normal}", *(f"{name} {count}" for name, count in sorted(counts.items()))])


def columns(findings: Iterable[str], device: str, boxes: Sequence[Box]) -> dict[str, str]:
    """The further columns of a film: findings (";"-joined, sorted), device (yes, no or ""), boxes (see boxes.py)."""
    return {"findings": ";".join(sorted(findings)), "device": device, "boxes": format_boxes(boxes)}


def label(findings: Iterable[str]) -> str:
    """NORMAL or ABNORMAL."""
    return ABNORMAL if any(True for _finding in findings) else NORMAL


def checked_box(finding: str, texts: Sequence[str], where: str) -> Box:
    """A box from four texts: left, top, right, bottom in pixels. Raises InputError when they are no box."""
    try:
        left, top, right, bottom = (float(text) for text in texts)
    except ValueError as error:
        raise InputError(f"{where}: box {', '.join(texts)!r} has a cell that is no number") from error
    if not (0 <= left < right < float("inf") and 0 <= top < bottom < float("inf")):
        raise InputError(f"{where}: box {', '.join(texts)} must have 0 ≤ x_min < x_max and 0 ≤ y_min < y_max")
    return Box(finding, left, top, right, bottom)

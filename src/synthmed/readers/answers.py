"""The answers that readers send back: read from CSV or JSON, checked, and merged without losing any."""

import csv
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthmed.core.errors import InputError
from synthmed.core.files import readable, write_csv
from synthmed.core.step import Output, step
from synthmed.readers.study import Study, read_study

logger = logging.getLogger(__name__)

_ABOUT = ("study", "code", "background", "comment", "simulated")
_CODE = re.compile("[A-Z0-9]{4,12}")


@dataclass(frozen=True)
class MergeSettings:
    """Settings of `merge-answers`."""


@dataclass(frozen=True)
class Returned:
    """What one reader sent back, all as text. about: _ABOUT; rows: item, position, seconds and the questions."""

    path: Path
    about: Mapping[str, str]
    rows: tuple[Mapping[str, str], ...]

    @property
    def code(self) -> str:
        return self.about["code"]


def columns_of(study: Study) -> list[str]:
    """Columns of the merged answers."""
    return [*_ABOUT, "item", "position", *study.questions, "seconds"]


def checksum(about: Mapping[str, str], rows: Sequence[Mapping[str, str]], questions: Sequence[str]) -> str:
    """FNV-1a (32 bits, hexadecimal) of all answers, as form.js computes it; it finds what was changed later."""
    fields = [[about[name] for name in _ABOUT]]
    fields += [[row[name] for name in ("item", "position", *questions, "seconds")] for row in rows]
    value = 0x811C9DC5
    for byte in "\x1e".join("\x1f".join(row) for row in fields).encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return f"{value:08x}"


# ------------------------------------------------------------------------------------------------------------- reading
def read_returned(path: Path, study: Study) -> Returned:
    """One file as the form saved it, CSV or JSON; with semicolons, too, as spreadsheets write it.

    Raises InputError when it is no such file, of another study, or was changed after it was saved.
    """
    with readable(path):
        text = path.read_text(encoding="utf-8-sig")
    about, rows, said = _of_json(path, text) if path.suffix.lower() == ".json" else _of_csv(path, text)
    wanted = {"item", "position", "seconds", *study.questions}
    lacking = sorted(set(_ABOUT) - set(about)) or sorted(wanted - wanted.intersection(*rows))
    if about.get("study", study.identity) != study.identity:
        raise InputError(f"{path}: answers of another study ({about['study']}, not {study.identity}); leave it out")
    if lacking or said is None:
        raise InputError(f"{path}: no {(lacking or ['checksum'])[0]!r} in it; give the file as the form saved it")
    if checksum(about, rows, tuple(study.questions)) != said:
        raise InputError(
            f"{path}: changed after the form saved it (its checksum is another one); ask the reader for the file "
            "again, or for the other one (CSV or JSON)"
        )
    return Returned(path, about, tuple(rows))


def _of_json(path: Path, text: str) -> tuple[dict, list[dict], str | None]:
    try:
        content = json.loads(text)
        rows = [{name: str(value) for name, value in row.items()} for row in content.pop("answers")]
        said = content.pop("checksum", None)
        return {name: str(value) for name, value in content.items()}, rows, said
    except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: no saved answers ({error}); give the file as the form saved it") from error


def _of_csv(path: Path, text: str) -> tuple[dict, list[dict], str | None]:
    first = text.split("\n", 1)[0]
    with readable(path):
        rows = list(
            csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
        )
    if not rows or any(None in row or None in row.values() for row in rows):
        raise InputError(f"{path}: no table of answers, or cut off; give the file as the form saved it")
    for name in (*_ABOUT, "checksum"):
        if len({row.get(name) for row in rows}) > 1:
            raise InputError(f"{path}: the column {name} has several values; one file holds the answers of one reader")
    head = rows[0]
    about = {name: head[name] for name in _ABOUT if name in head}
    return (
        about,
        [{name: value for name, value in row.items() if name not in (*_ABOUT, "checksum")} for row in rows],
        head.get("checksum"),
    )


# ------------------------------------------------------------------------------------------------------------ checking
def faults(returned: Returned, study: Study) -> list[str]:
    """What is wrong with the answers of one reader, each in a sentence; nothing where all is right."""
    found, path = [], returned.path
    if not _CODE.fullmatch(returned.code):
        found.append(f"{path}: the code {returned.code!r} is not 4 to 12 letters and digits")
    if returned.about["simulated"] not in ("yes", "no"):
        found.append(f"{path}: simulated is {returned.about['simulated']!r}, not yes or no")
    if returned.about["background"] not in study.backgrounds and returned.about["simulated"] == "no":
        found.append(f"{path}: the background {returned.about['background']!r} is none of {list(study.backgrounds)}")
    counts = Counter(row["item"] for row in returned.rows)
    for words, items in (
        ("answered twice", [item for item, count in counts.items() if count > 1]),
        ("no item of this study", sorted(set(counts) - set(study.items))),
        ("not answered", sorted(set(study.items) - set(counts))),
    ):
        if items:
            found.append(f"{path}: {len(items)} images are {words}, the first is {items[0]}")
    for name, question in study.questions.items():
        allowed = set(question.answers) | (set() if question.required else {""})
        wrong = [row for row in returned.rows if row[name] not in allowed]
        if wrong:
            value = wrong[0][name]
            said = f"have no answer to {name!r}" if value == "" else f"have an unknown answer to {name!r} ({value!r})"
            found.append(f"{path}: {len(wrong)} images {said}, the first is {wrong[0]['item']}")
    return found


def merged(returned: Sequence[Returned], study: Study) -> list[Returned]:
    """The answers of each reader once, in the order of their codes.

    Both files of a reader with the same answers are one. Raises InputError with all that is wrong, in all files.
    """
    found = [fault for one in returned for fault in faults(one, study)]
    once: dict[str, Returned] = {}
    for one in returned:
        first = once.setdefault(one.code, one)
        if first is one:
            continue
        if (first.about, first.rows) == (one.about, one.rows):
            logger.info("%s: the same answers as %s, taken once", one.path, first.path)
        else:
            found.append(f"{one.path}: other answers of the reader {one.code} than {first.path}; find out which count")
    seen: dict[tuple, Returned] = {}
    for one in once.values():
        by_item = sorted(one.rows, key=lambda row: row["item"])
        given = tuple(row[name] for row in by_item for name in study.questions)
        other = seen.setdefault(given, one)
        if other is not one:
            found.append(f"{one.path}: the very answers of {other.path} under another code; the same person twice?")
    if found:
        raise InputError(
            "; ".join(found) + ". An unfinished form goes on with its own JSON file; leave out who withdrew"
        )
    return [once[code] for code in sorted(once)]


@step("merge-answers")
def merge_answers(settings: MergeSettings, *, study: Path, answers: list[Path], out: Output) -> None:
    """Check the answers that readers sent back, and join them.

    study: of `draw-study`; answers: files as the form saved them, CSV or JSON, or both of a reader. out: CSV, one row
    an answered image, ordered by reader and item. Raises InputError on answers that are incomplete, doubled, of another
    study, or that were changed by hand, naming each; nothing is written then, and no file is touched.
    """
    asked = read_study(study)
    if not answers:
        raise InputError("no answers were given; put the files that readers sent back under reader_study.answers")
    wrong, returned = [], []
    for path in answers:
        try:
            returned.append(read_returned(path, asked))
        except InputError as error:
            wrong.append(str(error))
    if wrong:
        raise InputError("; ".join(wrong))
    readers = merged(returned, asked)
    rows = [
        {**reader.about, **row} for reader in readers for row in sorted(reader.rows, key=lambda answer: answer["item"])
    ]
    write_csv(out, [{name: row[name] for name in columns_of(asked)} for row in rows], columns_of(asked))
    logger.info("%s: %d readers, %d answers", out, len(readers), len(rows))

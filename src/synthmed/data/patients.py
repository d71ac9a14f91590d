"""Who is the patient: numbers that differ in spelling only, numbers that are none, and patients that names hint at.

A patient in two parts flatters every result. So what may be one patient is taken as one, and where nobody says who the
patients are, that is said.
"""

import logging
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from synthmed.core.files import nfc

logger = logging.getLogger(__name__)

_NONE = {
    "",
    "-",
    "--",
    "?",
    ".",
    "#n/a",
    "<na>",
    "anonymised",
    "anonymized",
    "anonymous",
    "missing",
    "n/a",
    "n.a",
    "n.a.",
    "na",
    "nan",
    "nat",
    "nil",
    "none",
    "not applicable",
    "not available",
    "null",
    "undefined",
    "unknown",
}
"""What pandas, R, Excel and people write where there is no number, in lower case."""
_NO_NUMBER = re.compile(r"#[a-z/0]+[!?]|-1|-9+")
"""Errors of spreadsheets (#REF!, #NAME?), and numbers that stand for none: -1, -9, -99, -999."""
_ROUNDED = re.compile(r"\d(\.\d+)?e\+\d+", re.IGNORECASE)
"""A number that a spreadsheet rounded: 1.23457E+11."""
_CROWD = 5
"""Images. A patient with as many may be a word for all who have no number: one who makes up half of a class."""
_TIMES = 6
"""Or one who has so many times the images of any other."""
_MANY = 20
"""Images of one patient, above which a beginning that many names share is taken for the name of a class."""
_ONE_OF_SEVERAL = re.compile(
    r"(.*\d.*?)[ _.\-(]+(?:[a-z]*\d{1,4}|[a-z]|left|right|cc|mlo|ap|pa|lat|lateral|front|back)\)?", re.IGNORECASE
)
"""A beginning with a digit, and then a number, a letter or a view: 00003847_004, person12_bacteria_3, 7_left."""


def cleaned(patient: str) -> str:
    """A patient's number in NFC, without surplus spaces; "7.0" is 7, as pandas writes it; "" for `nan` and the like."""
    text = " ".join(nfc(patient).split())
    number = re.fullmatch(r"(-?\d+)\.0+", text)
    text = number[1] if number else text
    plain = _plain(text)
    return "" if plain in _NONE or _NO_NUMBER.fullmatch(plain) else text


def _plain(text: str) -> str:
    """What looks alike, written alike: lower case, letters of the usual width, one kind of dash, nothing invisible."""
    kept = []
    for letter in unicodedata.normalize("NFKC", text).casefold():
        kind = unicodedata.category(letter)
        if kind != "Cf":  # no-width spaces, marks of byte order and of direction, soft hyphens
            kept.append("-" if kind == "Pd" or letter == "\N{MINUS SIGN}" else letter)
    return "".join(kept).strip()


def spelling(patient: str) -> str:
    """What two numbers of one patient share that look alike (see _plain), or differ only in spaces, or zeros in front:
    P007, "p 7"."""
    return re.sub(r"(?<![\d.])0+(?=\d)", "", _plain(patient).replace(" ", ""))


def one_spelling(patients: Sequence[str], where: str) -> list[str]:
    """`patients`, those that differ in spelling only under one of their spellings; "" stays "". Warns when any do."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for patient in patients:
        spellings[spelling(patient)].add(patient)
    several = [sorted(found) for _, found in sorted(spellings.items()) if len(found) > 1]
    if several:
        logger.warning(
            "%s: %d patients are written in several ways, e.g. %s; each counts as one patient. Where they are not one, "
            "write their numbers apart (folder or hospital in front)",
            *(where, len(several), " and ".join(map(repr, several[0]))),
        )
    return [min(spellings[spelling(patient)]) for patient in patients]


def settled(patients: Iterable[str], where: str) -> list[str]:
    """Patients as a table has them, each under one of its spellings, "" where there is none. Warns as one_spelling, and
    of numbers that a spreadsheet rounded."""
    found = [cleaned(patient) for patient in patients]
    if rounded := [patient for patient in found if _ROUNDED.fullmatch(patient)]:
        logger.warning(
            "%s: the patient of %d images is a rounded number, e.g. %r, which several patients may share; make the "
            "column text in the spreadsheet, and export it again",
            *(where, len(rounded), rounded[0]),
        )
    return one_spelling(found, where)


def tell_missing(
    patients: Sequence[str], where: str, instead: str = "each of them counts as a patient of its own"
) -> None:
    """Say how many images have no patient ("") where others have, and what counts instead."""
    if count := sum(not patient for patient in patients):
        logger.warning(
            "%s: %d of %d images have no patient (an empty cell, nan, unknown and the like); %s",
            *(where, count, len(patients), instead),
        )


def tell_crowds(patients: Sequence[str], labels: Sequence[str], where: str) -> None:
    """Say which patient makes up half of a class or more, or has many times the images of any other: one number for all
    whose number was removed?"""
    totals, told = Counter(labels), set()
    for (patient, label), count in sorted(Counter(zip(patients, labels, strict=True)).items()):
        if patient and count >= _CROWD and 2 * count >= totals[label]:
            told.add(patient)
            logger.warning(
                "%s: patient %r has %d of the %d images of %r; is this a word for all whose number was removed? Then "
                "leave it empty, or give real numbers (a column of patients)",
                *(where, patient, count, totals[label], label),
            )
    counts = Counter(filter(None, patients)).most_common(2)
    if len(counts) == 2 and counts[0][1] >= _TIMES * counts[1][1] and counts[0][0] not in told:
        logger.warning(
            "%s: patient %r has %d of the %d images, and no other more than %d; is this a word for all whose number "
            "was removed? Then leave it empty, or give real numbers (a column of patients)",
            *(where, *counts[0], len(patients), counts[1][1]),
        )


def likely_patients(names: Iterable[str]) -> dict[str, list[str]]:
    """Beginnings of names that several images share and that look like a patient's number → these names, sorted.

    Empty when one of them has more names than _MANY and a tenth of all: then it is the name of a class, or a date.
    """
    groups, total = defaultdict(list), 0
    for name in sorted(names):
        total += 1
        if found := _ONE_OF_SEVERAL.fullmatch(PurePosixPath(name).stem):
            groups[found[1]].append(name)
    several = {beginning: found for beginning, found in groups.items() if len(found) > 1}
    crowded = any(len(found) > _MANY and 10 * len(found) > total for found in several.values())
    return {} if crowded else several


def tell_unknown(files: Sequence[str], where: str, remedy: str) -> None:
    """Say that every image counts as its own patient, and which names or folders hint at real ones.

    files: paths below the class folder, or as a table names them; remedy: the setting that would name the patient.
    """
    logger.warning("%s: patients unknown, every image counts as its own patient; %s", where, remedy)
    folders = Counter(str(PurePosixPath(file).parent) for file in files)
    del folders["."]
    if len(folders) > 1 and max(folders.values()) > 1:
        folder = folders.most_common(1)[0][0]
        logger.warning(
            "%s: %d images lie in %d sub-folders, e.g. %r; if each is a patient, its images come into several parts",
            *(where, sum(folders.values()), len(folders), folder),
        )
    tell_likely(likely_patients(files), where)


def tell_likely(likely: Mapping[str, Sequence[str]], where: str) -> None:
    """Say which images (see likely_patients) seem to be of one patient."""
    if likely:
        found = next(iter(likely.values()))
        logger.warning(
            "%s: %d images look by their names like several of one patient (%d such patients), e.g. %s and %s",
            *(where, sum(map(len, likely.values())), len(likely), found[0], found[1]),
        )

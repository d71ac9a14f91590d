"""What may be said about a patient: a salted hash for a name, age, sex, view and manufacturer; nothing else.

Every value that reaches a manifest is a number, a word of a list, or, for the manufacturer, a text in which none of the
file's identifying values stands.
"""

import hmac
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta
from pydicom import Dataset
from pydicom.datadict import dictionary_VR

from synthmed.core.errors import InputError
from synthmed.prepare.dicom_file import IDENTIFYING_TAGS, text

MIN_SALT = 16
"""Characters. Patient numbers are few: with a guessed salt all of them can be tried."""

Salt = (
    Annotated[
        str,
        Meta(
            min_length=MIN_SALT,
            description="Salt of all hashes as a text, for data that are no secret (phantoms): it stands in every "
            "record.",
        ),
    ]
    | None
)
SaltFile = Annotated[
    str | None,
    Meta(
        description="File that holds the salt, outside of the project; only its path is recorded. Exactly one of the "
        "two."
    ),
]
FileNames = Annotated[
    Literal["hidden", "shown"],
    Meta(description="How the table of rejects and the log name raw files: by number and hash, or as the source does."),
]
"""Types of the settings of every preparation that hides who the patients are."""


def of_names(file_names: FileNames, order: str) -> str:
    """What to say of files that are rejected under these names; "" where they are shown. order: of their numbers."""
    return "" if file_names == "shown" else f"(numbers follow {order}; file_names: shown says how the files are named)"


OLDEST = 90
"""Years. Higher ages are rare enough to identify people and are written as this (HIPAA, 45 CFR 164.514(b)(2)(i)(C))."""
_IMPOSSIBLE = 120

_VIEWS = {"AP", "PA", "LL", "RL", "LATERAL", "RLD", "LLD", "RLO", "LLO", "LAO", "RAO", "LPO", "RPO", "OBLIQUE"}
_AGE = re.compile(r"(\d{1,3})([YMWD]?)")
_YEARS = {"Y": 1.0, "": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_DATE = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)")  # dots: ACR-NEMA, still met


def read_salt(salt: str | None, salt_file: str | None) -> bytes:
    """The salt of the two settings, of which exactly one must be given. Spaces and line ends around it do not count.

    salt_file: may begin with ~, the home folder.

    Raises InputError when both or none are given, when the file cannot be read, or the salt is shorter than MIN_SALT.
    """
    if (salt is None) == (salt_file is None):
        raise InputError("give exactly one of the settings salt (a text) and salt_file (a file with it)")
    where = "setting salt"
    if salt_file is not None:
        where = f"{salt_file} (setting salt_file)"
        try:
            salt = Path(salt_file).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError, RuntimeError) as error:  # RuntimeError: ~ of an unknown user
            raise InputError(
                f"{where}: cannot be read as text; make one by: openssl rand -hex 32 > {salt_file}"
            ) from error
    if len(salt.strip()) < MIN_SALT:
        raise InputError(f"{where}: too short to hide anything; at least {MIN_SALT} characters: openssl rand -hex 32")
    return salt.strip().encode()


def pseudonym(salt: bytes, kind: str, value: str, digits: int) -> str:
    """Hexadecimal digits of the HMAC-SHA256 of `value` under the salt; values of different kinds are unrelated."""
    return hmac.new(salt, f"{kind}\0{value}".encode(), "sha256").hexdigest()[:digits]


def age(tags: Dataset) -> str:
    """Years as decimal text: PatientAge, else from PatientBirthDate and StudyDate, else "".

    Whole years from 2 on, so that no birth date can be computed back; up to 2 with three digits. OLDEST stands for all
    above it. A number alone counts as years (RSNA's and SIIM's collections write it so). "" also for 000Y, which
    writers use for unknown, and for ages below 0 or above 120.
    """
    found = _AGE.fullmatch(text(tags, "PatientAge").upper())
    if found and not (found[2] in ("", "Y") and int(found[1]) == 0):
        years = int(found[1]) * _YEARS[found[2]]
    else:
        born, studied = (_date(tags, keyword) for keyword in ("PatientBirthDate", "StudyDate"))
        if born is None or studied is None:
            return ""
        years = (studied - born).days / 365.25
        if years >= 2:
            years = studied.year - born.year - ((studied.month, studied.day) < (born.month, born.day))
    if not 0 <= years <= _IMPOSSIBLE:
        return ""
    if years > OLDEST:
        return str(OLDEST)
    return str(int(years)) if years >= 2 else f"{years:.3g}"


def _date(tags: Dataset, keyword: str) -> date | None:
    found = _DATE.fullmatch(text(tags, keyword))
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


def sex(tags: Dataset) -> str:
    """F, M, O (other), or "" when the file does not say."""
    found = text(tags, "PatientSex").upper()
    return found if found in ("F", "M", "O") else ""


def view(tags: Dataset) -> str:
    """ViewPosition: one of the terms for chest films; OTHER for any other text; "" when the file does not say."""
    found = text(tags, "ViewPosition").upper()
    return found if found in _VIEWS or not found else "OTHER"


def manufacturer(tags: Dataset) -> str:
    """The maker of the machine, at most 64 characters; "" when the file does not say.

    Also "" when a name or number that identifies somebody stands in it, any number of six digits, a date or a UID: it
    is the only free text of the manifest. The whole text is looked at, before it is cut.
    """
    found = " ".join(text(tags, "Manufacturer").split())
    if not found.isprintable() or re.search(r"\d{6}|\d+[./-]\d+[./-]\d+", found):
        return ""
    return "" if any(part in found.casefold() for part in _identifying_parts(tags)) else found[:64]


def _identifying_parts(tags: Dataset) -> set[str]:
    """Values of the identifying tags, and every part of the names among them, of three characters or more."""
    parts = set()
    for keyword in (*IDENTIFYING_TAGS, "PatientID"):
        try:
            whole = str(tags.get(keyword) or "")
        except Exception:  # whatever is in it cannot be read, so it cannot be written either
            continue
        ends = r"[\^=,\\ ]" if dictionary_VR(keyword) == "PN" else r"[\^=,\\]"  # names are written with spaces, too
        parts |= {part.strip(" '\"[]").casefold() for part in (whole, *re.split(ends, whole))}
    return {part for part in parts if len(part) >= 3}

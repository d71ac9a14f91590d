"""Names, numbers and dates of the people whom phantoms pretend to be, and the DICOM files that carry them."""

import datetime
import hashlib
import io
from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.dataset import Dataset

FAMILY_NAMES = (
    *("Quellmarth", "Vostrikova", "Ambrosetti", "Fjeldhammer", "Okonjuwe", "Tsurugaki", "Delacourbe", "Grünspitz"),
    *("Hrabovecky", "Ilmarintytär", "Jankaitis", "Karaköprü", "Lindqvara", "Mbekiswayo", "Nørregaardt", "Pellegrandi"),
)
GIVEN_NAMES = (
    *("Ottilie", "Bartholomew", "Çağla", "Dragomir", "Eluned", "Faramund", "Gwendolen", "Hjalmar"),
    *("Isaura", "Jørund", "Kunigunde", "Leocadio", "Mehetabel", "Nepomuk", "Ozwald", "Philippa"),
)
"""Names that no dictionary has, so that a search for them in the outputs finds nothing else."""


@dataclass(frozen=True)
class Person:
    """The fictitious patient of a film, as the tags name them."""

    name: str  # Family^Given
    number: str  # PatientID
    birth: datetime.date
    study: datetime.date  # day of this film

    @property
    def age(self) -> str:
        """PatientAge (PS3.5, 6.2: AS) on the day of the film: years, months under two years."""
        years = int((self.study - self.birth).days / 365.25)
        return f"{years:03d}Y" if years >= 2 else f"{int((self.study - self.birth).days / 30.44):03d}M"


def made_up_name(rng: np.random.Generator) -> str:
    """Family^Given, as DICOM writes it."""
    return f"{FAMILY_NAMES[rng.integers(len(FAMILY_NAMES))]}^{GIVEN_NAMES[rng.integers(len(GIVEN_NAMES))]}"


def uid(seed: int, what: str, number: int) -> str:
    """A UID that follows from the seed: 2.25 and 128 bits of a hash as a number (PS3.5, B.2)."""
    digest = hashlib.sha256(f"{seed} {what} {number}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16])}"


def dicom_bytes(file: Dataset) -> bytes:
    """The file as DICOM Part 10."""
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, file, enforce_file_format=True)
    return buffer.getvalue()

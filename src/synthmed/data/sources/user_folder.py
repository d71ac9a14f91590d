"""The files of a folder of a user's own: found whatever system wrote their names, none passed over in silence."""

import logging
import os
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NoReturn

from synthmed.core.errors import InputError
from synthmed.core.files import nfc, printable, readable, user_path

logger = logging.getLogger(__name__)

DICOM_ENDINGS = (".dcm", ".dicom", ".dic", ".ima")
"""Endings of DICOM files; a file with another ending or none is one when it has the letters DICM after its preamble."""
_DICOMDIR = b"1.2.840.10008.1.3.10"
"""UID of a media directory (DICOMDIR): a list of the files on a CD, no picture."""
MACOS = "__MACOSX"
"""Folder that macOS adds to its archives: resource forks, no files of anybody."""


def is_hidden(name: str) -> bool:
    """Whether a path is none of the user's: a part begins with a dot (`._film.dcm` beside film.dcm), or is MACOS."""
    return any(part.startswith(".") or part == MACOS for part in PurePosixPath(name).parts)


def is_dicom(name: str, path: Path) -> bool:
    """Whether a file is DICOM by its ending or beginning, and no DICOMDIR."""
    if not path.is_file():
        return name.lower().endswith(DICOM_ENDINGS)  # a link into nowhere
    with readable(path), open(path, "rb") as handle:
        start = handle.read(1024)
    return _DICOMDIR not in start and (name.lower().endswith(DICOM_ENDINGS) or start[128:132] == b"DICM")


def as_named(text: str) -> str:
    r"""A file as UserFolder names it, however a table writes it: ./vol1, CT\vol1, vol1/."""
    return PurePosixPath(nfc(text).replace("\\", "/")).as_posix() if text else ""


class UserFolder:
    """A folder as a setting names it, ~ allowed. Names are relative to it, with `/`, in NFC.

    Raises InputError when there is no such folder.
    """

    def __init__(self, text: str):
        self.path = user_path(text)
        if not self.path.is_dir():
            raise InputError(f"{printable(self.path)}: no such folder (setting options.path)")

    @cached_property
    def files(self) -> dict[str, Path]:
        """Name → path of every file that is not hidden, by name, also below linked folders.

        Raises InputError on a folder that cannot be read, a link to a folder that holds it, and two names that differ
        in nothing but how their accents are written.
        """
        found: dict[str, Path] = {}
        for path in sorted(_files_below(self.path)):
            name = nfc(path.relative_to(self.path).as_posix())
            if is_hidden(name):
                continue
            if name in found:
                raise InputError(
                    f"{printable(path)}: there are two files of this name, which differ in nothing but how their "
                    "accents are written (NFC, NFD); rename or remove one"
                )
            found[name] = path
        return found

    def find(self, text: str, where: str, taken: Collection[str] = ()) -> str:
        """The name of a file as a table names it. where: the line, for messages; taken: files that are something else
        (masks, where an image is looked for), and cannot be meant.

        Raises InputError when the name leaves the folder, or there is no such file; it says which one may be meant.
        """
        name = PurePosixPath(as_named(text))
        if not text or name.is_absolute() or ".." in name.parts:
            raise InputError(f"{where}: {text!r} is not the name of a file below {self.path}")
        path, file = self.path / name, name.as_posix()
        with readable(f"{where}: {printable(path)}"):  # a name may be too long to be asked for
            if path.is_file() or file in self.files:
                return file
        if path.is_symlink():
            with readable(path):
                path.stat()
        meant = {name.name.casefold(), name.stem.casefold()}
        like = [other for other in self.files if PurePosixPath(other.casefold()).stem in meant and other not in taken]
        advice = f"; is {like[0]!r} meant? Then write it so, or options.csv.file as a pattern" if like else ""
        raise InputError(f"{where}: {printable(path)} does not exist{advice}")

    def table(self, name: str) -> Path:
        """A table as a setting names it, relative to the folder, ~ allowed."""
        return self.path / user_path(name)

    @cached_property
    def _names(self) -> list[str]:
        return sorted(self.files)

    def below(self, name: str) -> list[str]:
        """Names of all files below a sub-folder."""
        first, end = (bisect_left(self._names, f"{name}{letter}") for letter in "/0")  # 0 comes after /
        return self._names[first:end]

    def tell_unlisted(self, table: Path, listed: Collection[str], found: Iterable[str], what: str) -> None:
        """Say which of the names `found` have no line in a table, which names those that are `listed`. what: they are,
        for the message."""
        if without := sorted(set(found) - set(listed)):
            logger.warning(
                "%s: %d %s have no line and are left out, e.g. %s",
                *(table, len(without), what, printable(without[0])),
            )

    def path_of(self, name: str) -> Path:
        """Where a file lies: on the disk its name may have accents as letters of their own (NFD)."""
        path = self.path / name
        return path if path.exists() else self.files.get(name, path)

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises InputError when it cannot be read, is a link into nowhere, or no file at all."""
        path = self.path_of(name)
        with readable(path):
            if path.exists() and not path.is_file():
                raise InputError(f"{printable(path)}: no ordinary file; take it out of the folder")
            return path.read_bytes()

    def check_name(self, name: str) -> str:
        """`name`, unless it has bytes that are no UTF-8: then InputError."""
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{printable(self.path / name)}: its name is not UTF-8, as names in archives from Windows are; rename "
                "it (convmv -f cp1252 -t utf8 --notest, or gbk, or by hand)"
            ) from error
        return name


def _files_below(folder: Path) -> Iterator[Path]:
    def refused(error: OSError) -> NoReturn:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); change its rights") from error

    passed = {str(folder): {os.path.realpath(folder)}}  # folder -> the real folders on the way to it
    for place, folders, files in os.walk(folder, followlinks=True, onerror=refused):
        folders[:] = [name for name in folders if not is_hidden(name)]
        for name in folders:
            path = os.path.join(place, name)
            real = os.path.realpath(path)
            if real in passed[place]:
                raise InputError(f"{path}: links to a folder that it lies in; remove the link")
            passed[path] = passed[place] | {real}
        yield from (Path(place) / name for name in files)

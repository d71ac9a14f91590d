"""Writing files so that nothing is ever half-written, and hashing them. Knows nothing about images or models."""

import contextlib
import csv
import errno
import hashlib
import json
import logging
import math
import os
import re
import shutil
import time
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from synthmed.core.errors import InputError

logger = logging.getLogger(__name__)

_SYSTEM_SAYS = {
    errno.ENOENT: "no such file",
    errno.EACCES: "no permission to read or write it; change its rights, or choose another place",
    errno.EPERM: "no permission to read or write it; change its rights, or choose another place",
    errno.EROFS: "no permission to write here, the disk is read-only; choose another place",
    errno.EISDIR: "a folder, where a file belongs; move it away, or name a file",
    errno.ENOTDIR: "a part of its path is a file, not a folder; move that file away, or choose another place",
    errno.EEXIST: "a part of its path is a file, not a folder; move that file away, or choose another place",
    errno.ENAMETOOLONG: "its name is too long for this disk; shorten it",
    errno.ELOOP: "its links lead round in a circle; put the file itself there",
    errno.EIO: "the disk or the network failed under it; look at both, then run the same command again",
    errno.ESTALE: "the network disk lost it; run the same command again",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENOSPC: "no space left on the disk; free some and run the same command again",
    errno.EDQUOT: "no space left on the disk; free some and run the same command again",
    errno.EFBIG: "too large for this disk; choose another one",
}


def explained(error: Exception, path: str | Path | None = None) -> str | None:
    """What is wrong with the file `path` (None: the one that the error names) and what to do, in one sentence.

    error: OSError, UnicodeError or csv.Error. None when it is no fault of a file that anybody knows.
    """
    if isinstance(error, OSError):
        path = path or error.filename
        said = _SYSTEM_SAYS.get(error.errno)
        if path is not None and error.errno == errno.ENOENT and os.path.islink(path):
            said = (
                f"a link that leads nowhere (to {printable(os.readlink(path))}); get the file itself (git annex get, "
                "datalad get, dvc pull), or remove the link"
            )
        if said is None and error.filename is None:
            return None
        said = said or f"{error.strerror or error}"
    elif isinstance(error, UnicodeEncodeError):
        said = "a name that is not UTF-8; rename it (convmv -f LATIN1 -t UTF8 --notest, or by hand)"
    elif isinstance(error, UnicodeError):
        said = f"not UTF-8 text ({error}); save it as UTF-8"
    elif isinstance(error, csv.Error):
        said = f"not readable as a table ({error}); save it as CSV UTF-8 again"
    else:
        return None
    return said if path is None else f"{printable(path)}: {said}"


def refused(error: Exception, path: str | Path) -> InputError:
    """What `error` says of the file `path`, see explained; or, where it is none that anybody knows, its own words."""
    return InputError(explained(error, path) or f"{printable(path)}: cannot be read ({error})")


def printable(path: str | Path) -> str:
    """A path for messages: bytes that are no UTF-8 and characters that no terminal shows are written as escapes."""
    text = os.fspath(path)
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def nfc(text: str) -> str:
    """Accents as one letter each (Unicode NFC). macOS writes them apart (NFD), which looks the same."""
    return unicodedata.normalize("NFC", text)


@contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """Around the reading of a file from outside: what can be wrong with it becomes an InputError of one sentence."""
    try:
        yield
    except (OSError, UnicodeError, csv.Error) as error:
        raise refused(error, path) from error


def refuse_failed_disk(error: Exception, path: str | Path) -> None:
    """Raises InputError where `error`, met in reading the file, is of the disk, the network or the memory, and says
    nothing of what the file holds: it must not be left out as damaged. (EINVAL comes of damaged positions.)"""
    if isinstance(error, MemoryError):
        raise error
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        raise refused(error, path) from error


def user_path(text: str) -> Path:
    """A path as a user writes it in a setting: ~ is the home folder. Raises InputError when there is none."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"{text}: there is no home folder for this ~ ({error}); write the whole path") from error


_TEMPORARY = re.compile(r"\..+\.\d+\.part(\.[^.]*)?")
_LEFT = 3600.0
"""Seconds without a change after which a temporary file is taken to be of a process that was killed."""


def remove_left(folders: Iterable[str | Path]) -> None:
    """Remove the temporary files below `folders` that killed processes left, see atomic_path."""
    for folder in folders:
        for place, _, names in os.walk(folder):
            for path in (Path(place) / name for name in names if _TEMPORARY.fullmatch(name)):
                with contextlib.suppress(OSError):  # it is gone, or somebody else's
                    if time.time() - path.stat().st_mtime > _LEFT:
                        path.unlink()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to `path` when the block succeeds, remove it when it fails.

    The data reach the disk (fsync) before the rename, so a power cut leaves the old file or the new one, never half.
    Raises InputError when the disk is full or the file cannot be written there.
    """
    path = Path(path)
    # The suffix is kept because image and figure writers choose their format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{path}: no space left on the disk; free some and run the same command again") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InputError(
                f"{path}: no permission to write here; choose another folder or change its rights"
            ) from error
        if error.filename is not None and Path(error.filename) in (temporary, *path.parents):
            raise InputError(explained(error, path)) from error
        raise
    finally:
        try:
            temporary.unlink(missing_ok=True)
        except OSError as error:  # a parent folder that could not be made has nothing to remove
            if error.errno not in (
                *(errno.ENOTDIR, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS),
                *(errno.ENAMETOOLONG, errno.ELOOP),
            ):
                raise


ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every member of an archive, so that equal content gives equal bytes."""


@contextmanager
def stored_zip(path: str | Path) -> Iterator[Callable[[str, bytes], None]]:
    """Write a zip archive atomically, nothing compressed; yields what adds a member (name, content)."""
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        yield lambda name, content: archive.writestr(zipfile.ZipInfo(name, ZIP_TIME), content)


def link_or_copy(placed: Path, path: Path) -> None:
    """`path` as a second name of `placed`, or as a copy where the disk has no such names, or the file is somebody
    else's: rights and time are those of both."""
    with atomic_path(path) as temporary:
        if placed.stat().st_uid != os.geteuid():
            shutil.copyfile(placed, temporary)
            return
        try:
            os.link(placed.resolve(), temporary)
        except OSError as error:
            # Another disk, a file system without links, or one that allows them to the owner only.
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
                raise
            logger.info("%s: copied, the disk allows no second name (%s)", path, error.strerror)
            shutil.copyfile(placed, temporary)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` (UTF-8) atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _refuse_nan(value: object, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}: a result file never carries NaN or infinity; use None and say why")
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_nan(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _refuse_nan(item, f"{where}[{number}]")


def dump_json(value: object, *, sort_keys: bool = True) -> str:
    """JSON text: sorted keys (False: in the given order), two spaces, newline at the end.

    Raises ValueError on NaN or infinity.
    """
    _refuse_nan(value, "value")
    return json.dumps(value, indent=2, sort_keys=sort_keys, allow_nan=False, ensure_ascii=False) + "\n"


def write_json(path: str | Path, value: object) -> None:
    """Write `value` atomically as canonical JSON (see dump_json)."""
    write_text(path, dump_json(value))


def read_json(path: str | Path) -> dict:
    """Read a JSON file. Raises InputError naming the file when it is missing, unreadable or malformed."""
    try:
        with readable(path):
            return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not valid JSON ({error}); it was written by another program or cut off") from error


def write_csv(path: str | Path, rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Write `rows` atomically as CSV with exactly `columns`. None becomes an empty cell; NaN raises ValueError."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns, lineterminator="\n")
        writer.writeheader()
        for number, row in enumerate(rows):
            _refuse_nan(dict(row), f"{path}, row {number}")
            writer.writerow(row)


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """Rows of a CSV file. Raises InputError naming the file when it is missing or unreadable."""
    with readable(path), open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def hash_file(path: str | Path, algorithm: str = "sha256") -> str:
    """sha256 of a file's bytes, or another hash (md5, where a publisher gives that), as hexadecimal text."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()

"""Writing files so that nothing is ever half-written, and hashing them. Knows nothing about images or models."""

import csv
import errno
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from synthmed.core.errors import InputError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to `path` when the block succeeds, remove it when it fails.

    The data reach the disk (fsync) before the rename, so a power cut leaves the old file or the new one, never half.
    Raises InputError when the disk is full or the folder cannot be written to.
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
        raise
    finally:
        try:
            temporary.unlink(missing_ok=True)
        except OSError as error:  # a parent folder that could not be made has nothing to remove
            if error.errno not in (errno.ENOTDIR, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS):
                raise


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
    """Read a JSON file. Raises InputError naming the file when it is missing or malformed."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
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
    """Rows of a CSV file. Raises InputError when it is missing."""
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            return list(csv.DictReader(handle))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error


def check_columns_once(path: str | Path, columns: Sequence[str]) -> None:
    """Raise InputError when a column of the CSV file `path` occurs twice: csv.DictReader would take the last of them.

    Columns without a name may occur several times; spreadsheets write them at the end of the line.
    """
    for column in columns:
        if column and columns.count(column) > 1:
            raise InputError(
                f"{path}: the column {column!r} occurs {columns.count(column)} times; rename or remove all but one"
            )


def hash_file(path: str | Path) -> str:
    """sha256 of a file's bytes, as hexadecimal text."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()

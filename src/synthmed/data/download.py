"""Downloading one file over HTTP(S): resumed, retried, checked, never half-written.

The bytes go to `X.part`, which stays when anything goes wrong, so that the next attempt or the next run continues
where this one ended (RFC 9110, range requests). `X` appears only when length and sha256 are right.
"""

import errno
import http.client
import json
import logging
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from synthmed.core.errors import InputError
from synthmed.core.files import hash_file, write_text
from synthmed.core.lock import try_lock
from synthmed.core.progress import Progress

logger = logging.getLogger(__name__)

ATTEMPTS = 6
"""Attempts in a row that bring not one byte before the download is given up."""
TIMEOUT = 60.0
"""Seconds without any data after which an attempt counts as failed."""
BLOCK = 1 << 20
"""Bytes read at once."""
LONGEST_WAIT = 60.0
"""Seconds; the waits before a new attempt are 1, 2, 4, ... up to this."""
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}


class _TryAgain(Exception):
    """An attempt failed in a way that a later one may not. `wait`: seconds that the server asked for, or None."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


def download(
    url: str,
    path: str | Path,
    *,
    sha256: str | None,
    size: int | None,
    md5: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Download `url` to `path`, continuing `path`.part when an earlier run left one.

    sha256: expected hash of the whole file, hexadecimal, or None where none was published; size: expected bytes or
    None; md5: expected where the publisher gives that; sleep: called with the seconds to wait between attempts.
    Raises InputError when the server refuses (404 and the like), stays unreachable, when hash or size differ, when the
    disk is full, or when another process is downloading the same file.
    """
    path = Path(path)
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"{url}: only http and https addresses are downloaded")
    part = path.with_name(path.name + ".part")
    with _locked(part) as lock_file:
        _fetch_all(url, part, path, sleep)
        _check(url, part, path, {"sha256": sha256, "md5": md5}, size)
        with open(part, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(part, path)
        _note_file(part).unlink(missing_ok=True)
        lock_file.unlink(missing_ok=True)


class _locked:
    """Hold `X.part.lock` so that two runs cannot write one `.part` file."""

    def __init__(self, part: Path):
        self.part = part
        self.path = part.with_name(part.name + ".lock")

    def __enter__(self) -> Path:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = open(self.path, "w")
        except OSError as error:
            raise _writing_failed(self.path, error) from error
        if not try_lock(self._handle):
            self._handle.close()
            raise InputError(f"{self.part}: another process is downloading this; wait for it or stop it")
        return self.path

    def __exit__(self, *_: object) -> None:
        self._handle.close()


def _writing_failed(path: Path, error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(f"{path}: no space left on the disk; free some and run again, it continues from here")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(f"{path}: no permission to write here; choose another folder or change its rights")
    return error


def _fetch_all(url: str, part: Path, path: Path, sleep: Callable[[float], None]) -> None:
    failures = 0
    while True:
        before = _size(part)
        try:
            _attempt(url, part)
            return
        except _TryAgain as error:
            # An attempt that brought data is progress: a slow line that breaks every minute still gets there.
            failures = 1 if _size(part) > before else failures + 1
            if failures >= ATTEMPTS:
                raise InputError(
                    f"{path.name}: {url} could not be downloaded after {failures} attempts ({error}); check the "
                    f"network and run again (it continues from {_size(part)} bytes), or place the file as {path}"
                ) from error
            wait = min(error.wait if error.wait is not None else 2.0 ** (failures - 1), LONGEST_WAIT)
            logger.warning("%s: %s; next attempt in %.0f s", path.name, error, wait)
            sleep(wait)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


# A `.part` may only be continued from the same version of the same file: its address and validator are noted beside it.
def _note_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _noted_validator(part: Path, url: str) -> str | None:
    """ETag or date of the file that `part` began, "" when the server gave none; None when `part` is not of `url`."""
    try:
        note = json.loads(_note_file(part).read_text())
        return note["validator"] if note["url"] == url else None
    except (OSError, ValueError, TypeError, KeyError):  # missing, cut off, or written by something else
        return None


def _validator(headers: http.client.HTTPMessage) -> str:
    etag = headers.get("ETag", "")
    if etag and not etag.startswith("W/"):  # If-Range needs a strong validator (RFC 9110, 13.1.5)
        return etag
    return headers.get("Last-Modified", "")


def _attempt(url: str, part: Path) -> None:
    """One request; appends to `part`. Returns when the file is whole, raises _TryAgain or InputError otherwise."""
    have = _size(part)
    validator = _noted_validator(part, url)
    if have and validator is None:
        part.unlink()
        have = 0
    request = urllib.request.Request(url, headers={"User-Agent": "synthmed", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if validator:
            request.add_header("If-Range", validator)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            _receive(response, url, part, have)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:
                _range_refused(error, part, have)
                return
            if error.code in _TEMPORARY:
                raise _TryAgain(f"the server answered {error.code} {error.reason}", _retry_after(error)) from error
            raise InputError(
                f"{url}: the server answered {error.code} {error.reason}; the address may have moved: see the data "
                f"set's own page, and place the file as {part.with_suffix('')} if need be"
            ) from error
    except (urllib.error.URLError, ssl.SSLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
            raise InputError(
                f"{url}: the server's certificate is not trusted ({error.reason}); ask your network's administrator "
                f"for the certificate and name its file in SSL_CERT_FILE, or place the file as {part.with_suffix('')}"
            ) from error
        raise _TryAgain(f"{type(error).__name__}: {error}") from error


def _range_refused(error: urllib.error.HTTPError, part: Path, have: int) -> None:
    """416: either `part` was whole already, or it is longer than the file and must be begun anew."""
    if error.headers.get("Content-Range", "").strip() == f"bytes */{have}":
        return
    part.unlink()
    raise _TryAgain("the partial file did not fit the server's, starting over") from error


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    text = error.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None


def _receive(response: http.client.HTTPResponse, url: str, part: Path, have: int) -> None:
    if response.status == 206:
        start = response.headers.get("Content-Range", "").removeprefix("bytes ").split("-")[0]
        if start != str(have):
            part.unlink()
            raise _TryAgain(f"the server continued at byte {start!r} and not at {have}, starting over")
    elif have:
        logger.info("%s: the server sends the whole file again instead of continuing", part.name)
        have = 0
    length = response.headers.get("Content-Length", "")
    total = have + int(length) if length.isdigit() else None
    try:
        write_text(_note_file(part), json.dumps({"url": url, "validator": _validator(response.headers)}) + "\n")
        with open(part, "ab" if have else "wb") as target, Progress(part.stem, total, "B", start=have) as progress:
            while block := response.read(BLOCK):
                target.write(block)
                progress.add(len(block))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS):
            raise _writing_failed(part, error) from error
        raise
    # http.client ends a short body silently when it is read in blocks, so the length is compared here.
    if total is not None and _size(part) != total:
        raise _TryAgain(f"the connection ended after {_size(part)} of {total} bytes")


def _check(url: str, part: Path, path: Path, hashes: Mapping[str, str | None], size: int | None) -> None:
    """Raise InputError when `part` is not the expected file; it is then kept under another name, to be looked at."""
    kept = path.with_name(path.name + ".unexpected")
    advice = (
        f"It is kept as {kept.name}. Run again; if it stays so, the publisher changed the file: compare "
        "with the data set's page before you write the new value into the source's file in src/synthmed/data/sources"
    )
    found_size = _size(part)
    problem = None
    if size is not None and found_size != size:
        problem = f"has {found_size} bytes, expected {size}"
    else:
        for algorithm, expected in hashes.items():
            if expected is not None and (found := hash_file(part, algorithm)) != expected:
                problem = f"has {algorithm} {found}, expected {expected}"
    if problem:
        os.replace(part, kept)
        _note_file(part).unlink(missing_ok=True)
        raise InputError(f"{path}: the file from {url} {problem}. {advice}")

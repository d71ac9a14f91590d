"""Reading zip archives from outside, member by member, without unpacking them to the disk.

Nothing is written, so a hostile name cannot overwrite a file; it is refused all the same, as is what would fill memory.
"""

import lzma
import threading
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from synthmed.core.errors import InputError
from synthmed.core.files import readable, refuse_failed_disk


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to. Beyond it the archive is refused."""

    total_bytes: int  # of all members, where that is more than twice the bytes of the archive
    member_bytes: int  # of one member
    ratio: float  # all members' bytes / bytes of the archive


LIMITS = Limits(total_bytes=200 * 2**30, member_bytes=4 * 2**30, ratio=200.0)
"""Generous: the largest set here (dermoscopy, 23 GB) has a ratio near 1, because images are compressed already."""

_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_ENCRYPTED = 0x1  # bit 0 of the general purpose flag (APPNOTE 4.4.4)


class DamagedMember(Exception):
    """One member of an archive cannot be read; the others may be fine."""


class Archive:
    """A zip archive opened for reading; a context manager. `read` may be called from several threads.

    Raises InputError when the file is missing, no zip, encrypted, has absolute names or names with `..`, has a name
    twice, or would unpack to more than `limits`.
    """

    def __init__(self, path: str | Path, limits: Limits = LIMITS):
        self.path = Path(path)
        # zipfile counts its readers without a lock, so two threads must not open members at once.
        self._lock = threading.Lock()
        try:
            with readable(self.path):
                self._zip = zipfile.ZipFile(self.path)
        except zipfile.BadZipFile as error:
            raise InputError(
                f"{self.path}: not a readable zip archive ({error}); it is damaged or something else: fetch it again"
            ) from error
        try:
            self._members = self._checked(limits)
        except InputError:
            self._zip.close()
            raise

    def _checked(self, limits: Limits) -> dict[str, zipfile.ZipInfo]:
        members: dict[str, zipfile.ZipInfo] = {}
        total = 0
        for info in self._zip.infolist():
            name = info.filename
            if _escapes(name):
                raise InputError(f"{self.path}: refused, its member {name!r} points outside of the archive")
            if info.is_dir():
                continue
            if info.flag_bits & _ENCRYPTED:
                raise InputError(f"{self.path}: {name!r} is encrypted; unpack it with its password and zip it again")
            if info.compress_type not in _METHODS:
                raise InputError(f"{self.path}: {name!r} has the unknown compression method {info.compress_type}")
            if name in members:
                raise InputError(f"{self.path}: refused, it has two members named {name!r}")
            if info.file_size > limits.member_bytes:
                raise InputError(
                    f"{self.path}: refused, {name!r} would unpack to {info.file_size} bytes "
                    f"(limit {limits.member_bytes})"
                )
            total += info.file_size
            members[name] = info
        packed = self.path.stat().st_size
        # Packed without compression, as synthmed packs, no more comes out than lies there.
        if total > max(limits.total_bytes, 2 * packed) or total > limits.ratio * packed:
            raise InputError(
                f"{self.path}: refused as a zip bomb, {packed} bytes would unpack to {total} "
                f"(limits: {limits.total_bytes} bytes, {limits.ratio:g} times its size)"
            )
        return members

    @property
    def names(self) -> list[str]:
        """Names of all members that are files, sorted."""
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        """Bytes of one member. Raises DamagedMember when they cannot be unpacked or their checksum is wrong, InputError
        when the disk or the network failed."""
        try:
            with self._lock:
                return self._zip.read(self._members[name])
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError) as error:
            refuse_failed_disk(error, self.path)
            raise DamagedMember(f"damaged inside the archive {self.path.name}: {error}") from error

    def close(self) -> None:
        self._zip.close()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _escapes(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return not parts or parts[0] == "/" or ".." in parts or ":" in parts[0] or "\0" in name

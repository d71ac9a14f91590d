"""Archives of public data sets: the published file, or one that was placed by hand."""

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path, hash_file, link_or_copy, user_path
from synthmed.core.settings import parse
from synthmed.data.download import download

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NoOptions:
    """The provider needs nothing."""


@dataclass(frozen=True)
class PlacedArchive:
    """The archive as it was published."""

    path: Annotated[str, Meta(description="The archive that you placed.")]


Contents = Mapping[str, int]
"""What an archive holds: how many of what."""


def download_published(
    url: str,
    path: Path,
    *,
    size: int | None,
    sha256: str | None,
    holds: Callable[[Path], Contents],
    published: Contents,
) -> None:
    """Download `url` to the folder `download` beside that of `path`, or check what lies there, and link it to `path`.

    There, because Snakemake removes what a failed job made, and all that it is to make before a job begins. size,
    sha256: None where not known; holds: what an archive holds, to be compared with `published`. Raises InputError when
    one of them differs.
    """
    kept = path.parents[1] / "download" / path.name
    if kept.exists():  # placed by hand, or left by an earlier run
        logger.info("%s: exists already, it is checked and used", kept)
        if sha256 is not None and (found := hash_file(kept)) != sha256:
            raise InputError(
                f"{kept}: has sha256 {found}, expected {sha256}; delete it to download it again, or use provider: file "
                "when you mean this file"
            )
    else:
        download(url, kept, sha256=sha256, size=size)
    if (found := holds(kept)) != published:
        # Without a published hash this is what tells the real set from a cut, or from phantoms under its name.
        raise InputError(
            f"{kept}: holds {dict(found)}, the published set {dict(published)}; delete it to download it again, or use "
            "provider: file when you mean this file"
        )
    link_or_copy(kept, path)


def fetch_archive(
    provider: str,
    options: Mapping[str, object],
    path: Path,
    *,
    url: str,
    holds: Callable[[Path], Contents],
    published: Contents,
) -> None:
    """The one archive of a source: download it (NoOptions) or copy it (provider: file, PlacedArchive) to `path`.

    Nobody published its hash. Raises what download_published and copy_placed raise.
    """
    if provider == "download":
        parse(NoOptions, options, "options")
        download_published(url, path, size=None, sha256=None, holds=holds, published=published)
    else:
        placed = user_path(parse(PlacedArchive, options, "options").path)
        copy_placed(placed, path, url=url, holds=holds, published=published)


def placed_archive(text: str, setting: str, source: str) -> Path:
    """The archive that setting options.<setting> names by `text`. Raises InputError when it is not there; source: what
    to download from where."""
    path = user_path(text)
    if not path.is_file():
        raise InputError(f"{path}: no such file (setting options.{setting}); download {source}")
    return path


def copy_placed(placed: Path, path: Path, *, url: str, holds: Callable[[Path], Contents], published: Contents) -> None:
    """Copy an archive that was placed by hand to `path`; say when it does not hold what the published one holds.

    Raises InputError when there is none, and whatever `holds` finds wrong.
    """
    if not placed.is_file():
        raise InputError(f"{placed}: no such file; put {path.name} (from {url}) there")
    if (found := holds(placed)) != published:
        logger.warning("%s: holds %s, the published set %s", placed, dict(found), dict(published))
    with atomic_path(path) as temporary:
        shutil.copyfile(placed, temporary)

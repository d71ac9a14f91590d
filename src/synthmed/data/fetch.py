"""Step `fetch`: the raw files of a data set, from wherever its provider has them."""

import logging
from dataclasses import dataclass
from synthmed.core.step import Output, step
from pathlib import Path

from synthmed.data import sources
from synthmed.core.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchSettings:
    """source: see sources.SOURCES; provider: one of the source's; options: what that provider needs, {} for nothing."""

    source: str
    provider: str
    options: dict


@step("fetch")
def fetch(settings: FetchSettings, *, raw: list[Output]) -> None:
    """Get the raw files of a data set.

    Make the files `raw`, whose names must be those of sources.raw_files (in that order).

    Raises InputError on an unknown source, provider or option, and whatever the provider finds wrong.
    """
    values = {"source": settings.source, "provider": settings.provider, "options": settings.options}
    sources.made_by(values)  # refuses an unknown provider
    names = sources.raw_files(values)
    if [Path(path).name for path in raw] != names:
        raise InputError(f"source {settings.source!r} makes the files {names}, not {[Path(path).name for path in raw]}")
    source = sources.load(settings.source)
    logger.info("%s (%s). Licence: %s. Cite: %s", settings.source, settings.provider, source.LICENCE, source.CITATION)
    source.fetch(settings.provider, settings.options, [Path(path) for path in raw])
    for path in raw:
        logger.info("%s: %.1f MB", path, Path(path).stat().st_size / 1e6)

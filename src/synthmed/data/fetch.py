"""Step `fetch`: the raw files of a data set, from wherever its provider has them."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.step import Output, step
from synthmed.data import sources

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchSettings:
    """Settings of `fetch`."""

    source: Annotated[
        str, Meta(description="Which reader understands the raw files, a file of src/synthmed/data/sources/.")
    ]
    provider: Annotated[str, Meta(description="Where they come from, one of the source's PROVIDERS.")]
    options: Annotated[dict, Meta(description="What the provider needs; {} for nothing.")]


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

"""Pretrained weights: one registry, several sources for each, tried in order; licence and sha256 stand beside each.

A file the user gives comes first, then the registry's sources in their order: a URL (only where downloads are
allowed), then a Python package that ships the weights, which is how a hospital network with only a package mirror gets
them. Of a package only the data file is read, its code is never imported. Whatever the source, what comes out is a
plain state dict with the names that this package's networks use. docs/weights.md explains where each comes from.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path, hash_file, write_json
from synthmed.core.step import Output, step
from synthmed.weights.read import completed, given, installed, load, read
from synthmed.weights.registry import Package, Url, Weight, no_weights, weight_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightSettings:
    """Where weights come from."""

    file: Annotated[str | None, Meta(description="A file with the weights; null: none.")]
    download: Annotated[bool, Meta(description="Whether the registry's addresses may be tried.")]
    folder: Annotated[str, Meta(description="Where downloads and what was converted are kept.")]


def path(name: str, settings: WeightSettings) -> Path:
    """The weights `name` as `<folder>/<name>.pt`, a plain state dict, made from the first source that works if missing.

    `<folder>/<name>.json` beside it says source, licence and sha256. Raises InputError that lists what was tried.
    """
    import torch

    weight = weight_of(name)
    out = Path(settings.folder) / f"{name}.pt"
    if settings.file is None and out.is_file():
        return out
    if settings.file is not None:
        state = read(weight, given(settings.file))
        record = {"source": Path(settings.file).name, "licence": "the one the file came with"}
    else:
        raw, source = _first_source(name, weight, settings)
        state = read(weight, raw)
        record = {"source": str(source), "licence": source.licence, "sha256": source.sha256}
    others = replace(settings, file=None)
    state = completed(weight, state, lambda part: load(part, path(part, others))[0])
    # Through a handle, so that the bytes do not depend on the temporary file's name.
    with atomic_path(out) as temporary, open(temporary, "wb") as handle:
        torch.save(state, handle)
    write_json(out.with_suffix(".json"), {"weights": weight.human, **record})
    logger.info("weights of %s from %s (licence: %s)", weight.human, record["source"], record["licence"])
    return out


@dataclass(frozen=True)
class FetchWeights:
    """Settings of `fetch-weights`."""

    name: Annotated[str, Meta(description="A key of WEIGHTS.")]
    file: Annotated[str | None, Meta(description="A file with the weights; null: none.")]
    download: Annotated[bool, Meta(description="Whether they may be downloaded; else a file or an installed package.")]


@step("fetch-weights")
def fetch_weights(settings: FetchWeights, *, weights: Output, origin: Output) -> None:
    """Get pretrained weights from a file, a download or an installed package.

    Write `weights` (`<folder>/<name>.pt`) and `origin` (`<folder>/<name>.json`).
    """
    folder = Path(weights).parent
    expected = folder / f"{settings.name}.pt", folder / f"{settings.name}.json"
    if (Path(weights), Path(origin)) != expected:
        raise InputError(
            f"{weights}, {origin}: the weights {settings.name!r} are written to {expected[0]}, {expected[1]}"
        )
    path(settings.name, WeightSettings(file=settings.file, download=settings.download, folder=str(folder)))


def _first_source(name: str, weight: Weight, settings: WeightSettings) -> tuple[Path, Url | Package]:
    reasons = []
    for source in weight.sources:
        try:
            if isinstance(source, Package):
                return installed(source), source
            if settings.download:
                return _downloaded(source, Path(settings.folder)), source
            reasons.append(f"{source}: downloads are switched off (setting download)")
        except InputError as error:
            logger.warning("%s", error)
            reasons.append(str(error))
    raise InputError(no_weights(name, tuple(reasons)))


def _downloaded(source: Url, folder: Path) -> Path:
    from synthmed.data.download import download

    target = folder / source.url.rsplit("/", 1)[1]
    if not target.is_file() or hash_file(target) != source.sha256:
        download(source.url, target, sha256=source.sha256, size=None)
    return target

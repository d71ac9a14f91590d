"""Where raw data come from: one file a source.

A source is a module with

- `LICENCE`, `CITATION`: texts;
- `SHARING`: whether the licence lets images that a generator made of the set be passed on: "allowed"; "forbidden", as
  by a competition's rules; or "ask", where it does not say or is not ours to know (`synthmed release` asks);
- `PROVIDERS`: dict provider -> modules of synthmed whose code makes the raw bytes (empty: they come from outside);
- `OPTIONS`: dict provider -> `module:dataclass` of its options;
- `raw_files(settings) -> list[str]`: names of the raw files, from the fetch section as plain values;
- `fetch(provider, options, raw)`: make these files at the paths `raw`; `options` are plain values, checked there;
- `read(raw)`: context manager that gives a `list[RawImage]` (see raw_image.py), of volumes a `list[RawVolume]`, of
  slides a `list[RawSlide]`.

Nothing here imports torch: the Snakefile asks for `raw_files`.
"""

import importlib
from collections.abc import Mapping
from types import ModuleType

from synthmed.core.errors import InputError

SOURCES = {
    "camelyon17": "synthmed.data.sources.camelyon17",
    "chest_dicom": "synthmed.data.sources.chest_dicom",
    "covid_radiography": "synthmed.data.sources.covid_radiography",
    "ct_folder": "synthmed.data.sources.ct_folder",
    "ct_slices": "synthmed.data.sources.ct_slices",
    "dsb2018": "synthmed.data.sources.dsb2018",
    "folder": "synthmed.data.sources.folder",
    "image_set": "synthmed.data.sources.image_set",
    "isic2018_tagged": "synthmed.data.sources.isic2018_tagged",
    "isic2018_task1": "synthmed.data.sources.isic2018_task1",
    "isic2018_task3": "synthmed.data.sources.isic2018_task3",
    "isic_archive": "synthmed.data.sources.isic_archive",
    "medmnist": "synthmed.data.sources.medmnist",
    "montgomery_shenzhen": "synthmed.data.sources.montgomery_shenzhen",
    "nuinsseg": "synthmed.data.sources.nuinsseg",
    "osic_ct": "synthmed.data.sources.osic_ct",
    "siim_isic_2020": "synthmed.data.sources.siim_isic_2020",
    "slide_folder": "synthmed.data.sources.slide_folder",
    "vindr_cxr": "synthmed.data.sources.vindr_cxr",
}


def load(name: str) -> ModuleType:
    """The module of the source `name`. Raises InputError when there is none."""
    if name not in SOURCES:
        raise InputError(f"unknown data source {name!r}; known are {sorted(SOURCES)}")
    return importlib.import_module(SOURCES[name])


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """Names of the raw files of a fetch section (`source`, `provider`, `options` as plain values)."""
    return load(str(settings["source"])).raw_files(settings)


def options_of(source: str) -> dict[str, type]:
    """Provider → dataclass of its options, for each provider of a source."""
    found = {provider: path.split(":") for provider, path in load(source).OPTIONS.items()}
    return {provider: getattr(importlib.import_module(module), name) for provider, (module, name) in found.items()}


def made_by(settings: Mapping[str, object]) -> list[str]:
    """Modules whose code decides the raw bytes of a fetch section, for the provenance of the fetch step.

    Empty for files from outside (downloads): their hash is their provenance, and an edited reader must not fetch
    gigabytes again.
    """
    providers = load(str(settings["source"])).PROVIDERS
    provider = str(settings["provider"])
    if provider not in providers:
        raise InputError(f"source {settings['source']!r} has no provider {provider!r}; it has {sorted(providers)}")
    return list(providers[provider])

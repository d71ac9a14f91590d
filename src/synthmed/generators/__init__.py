"""The generators: one file each. To add one, write `generators/<name>.py`, its line here, and its settings schema."""

import importlib

from synthmed.core.errors import InputError

GENERATORS = {
    "dcgan": "synthmed.generators.dcgan",
    "cyclegan": "synthmed.generators.cyclegan",
    "fastgan": "synthmed.generators.fastgan",
    "pggan": "synthmed.generators.pggan",
}
"""Name in the settings → module with `Config` and `Model`."""


def load(name: str) -> type:
    """The class `Model` (a `synthmed.gan.GAN`) of the generator `name`; its module is imported only now.

    Raises InputError on an unknown name.
    """
    if name not in GENERATORS:
        raise InputError(f"setting model is {name!r}; the generators are {sorted(GENERATORS)}")
    return importlib.import_module(GENERATORS[name]).Model

"""The generators: one file each. To add one, write `generators/<name>.py` and its line here."""

import ast
import importlib
from collections.abc import Mapping

from synthmed.core.errors import InputError
from synthmed.core.provenance import source_file

GENERATORS = {
    "dcgan": "synthmed.generators.dcgan",
    "edm": "synthmed.generators.edm",
    "cyclegan": "synthmed.generators.cyclegan",
    "fastgan": "synthmed.generators.fastgan",
    "pggan": "synthmed.generators.pggan",
    "pix2pix": "synthmed.generators.pix2pix",
    "singan": "synthmed.generators.singan",
    "stylegan2": "synthmed.generators.stylegan2",
}
"""Name in the settings → module with `Config` and `Model`."""

NEEDS = frozenset({"noise", "label", "image", "mask", "origin"})
"""What a generator can need to make an image, see Generator.needs in base.py."""


def load(name: str) -> type:
    """The class `Model` (a `Generator`) of the generator `name`; its module is imported only now.

    Raises InputError on an unknown name.
    """
    return importlib.import_module(_module(name)).Model


def needed(needs: frozenset[str], config: Mapping[str, object]) -> frozenset[str]:
    """Those of `needs` that the settings do not turn off: a setting of the same name that is empty, 0 or false does."""
    return frozenset(need for need in needs if config.get(need, True))


def needs(name: str, config: Mapping[str, object]) -> frozenset[str]:
    """`Model.needs` of the generator `name` under the settings `config`, read from its source text: the workflow asks
    before anything runs, and importing the module would import torch. Raises InputError on an unknown name."""
    statements = ast.parse(source_file(_module(name)).read_text("utf-8")).body
    (model,) = (node for node in statements if isinstance(node, ast.ClassDef) and node.name == "Model")
    for node in model.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["needs"]:
            return needed(frozenset(ast.literal_eval(node.value.args[0])), config)
    raise TypeError(f"the Model of {name} does not say `needs = frozenset({{...}})`")


def _module(name: str) -> str:
    if name not in GENERATORS:
        raise InputError(f"setting model is {name!r}; the generators are {sorted(GENERATORS)}")
    return GENERATORS[name]

"""The steps of the pipeline: one verb each, with its function, its inputs and outputs, and the source files it runs.

A step is a function `f(settings, *, <inputs>, <outputs>)` in the room it belongs to, marked `@step("verb")`. What the
command line and the workflow need to know is read from its source text, so importing this module imports no step.
"""

import ast
import importlib
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from synthmed import extractors, generators, segmenters
from synthmed.core.provenance import PACKAGE, code_of
from synthmed.data import sources


@dataclass(frozen=True)
class Argument:
    """A file of a step, or several (`many`); an `optional` one may be left out."""

    name: str
    many: bool
    optional: bool

    @property
    def option(self) -> str:
        """Its option on the command line, `--held-out`."""
        return f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True)
class Step:
    """One step: the function `function` of `module`, what it reads and what it writes."""

    help: str
    module: str
    function: str
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]

    @property
    def files(self) -> tuple[Argument, ...]:
        return self.inputs + self.outputs

    def load(self) -> tuple[Callable, type]:
        """The function and the dataclass of its settings (the annotation of its first parameter)."""
        function = getattr(importlib.import_module(self.module), self.function)
        hints = typing.get_type_hints(function)
        return function, hints["settings"]


_INPUTS = {"Path": (False, False), "list[Path]": (True, False), "Path | None": (False, True)}
_OUTPUTS = {"Output": (False, False), "list[Output]": (True, False)}
"""Annotation → (many, optional)."""


def _arguments(function: ast.FunctionDef, kinds: Mapping[str, tuple[bool, bool]]) -> tuple[Argument, ...]:
    annotated = [(argument.arg, ast.unparse(argument.annotation)) for argument in function.args.kwonlyargs]
    if strange := [name for name, kind in annotated if kind not in _INPUTS and kind not in _OUTPUTS]:
        raise TypeError(f"{function.name}: the arguments {strange} are neither {[*_INPUTS]} nor {[*_OUTPUTS]}")
    return tuple(Argument(name, *kinds[kind]) for name, kind in annotated if kind in kinds)


# A marked function up to the first line of its docstring. Whole files take thirty times as long to parse.
_MARKED = re.compile(r'^(@step\(.*?\) -> None:)\n    """(.*?)\.?(?:"""|\n)', re.MULTILINE | re.DOTALL)


def _marked(path: Path) -> Iterator[tuple[str, Step]]:
    """(verb, step) of every function of the file that is marked as a step."""
    text = path.read_text(encoding="utf-8")
    module = ".".join(("synthmed", *path.relative_to(PACKAGE).with_suffix("").parts))
    found = [(ast.parse(f"{head} ...").body, help) for head, help in _MARKED.findall(text)]
    if len(found) != len(re.findall(r"^@step\(", text, re.MULTILINE)) or any(len(body) != 1 for body, _ in found):
        raise TypeError(f"{path}: a step is a function that returns None and has a docstring")
    for (function,), help in found:
        ((verb,),) = [mark.args for mark in function.decorator_list]
        inputs, outputs = _arguments(function, _INPUTS), _arguments(function, _OUTPUTS)
        yield verb.value, Step(help, module, function.name, inputs, outputs)


def _found() -> dict[str, Step]:
    steps: dict[str, Step] = {}
    for path in sorted(PACKAGE.glob("*/**/*.py")):
        for verb, step in _marked(path):
            if verb in steps:
                raise TypeError(f"two functions are the step {verb!r}: {steps[verb].module} and {step.module}")
            steps[verb] = step
    return dict(sorted(steps.items()))


STEPS: dict[str, Step] = _found()
"""Every verb of `synthmed` that takes `--settings`."""

# Settings that name a file of one of the registries: the step then also depends on that file.
_REGISTRIES: Mapping[str, Mapping[str, str]] = {
    "model": generators.GENERATORS,
    "extractor": extractors.EXTRACTORS,
    "source": sources.SOURCES,
    "architecture": segmenters.SEGMENTERS,
}


def step_code(verb: str, settings: Mapping[str, object]) -> list[Path]:
    """Source files that the step `verb` runs under `settings`, with the one generator, extractor, … they name.

    Raw files depend on the code that draws phantoms only: an edited reader must not fetch gigabytes again.
    """
    if verb == "fetch":
        return code_of(*sources.made_by(settings))
    if verb == "fetch-weights":
        return []  # their hash is their provenance
    modules = [STEPS[verb].module]
    modules += [registry[settings[key]] for key, registry in _REGISTRIES.items() if settings.get(key) in registry]
    return code_of(*modules)

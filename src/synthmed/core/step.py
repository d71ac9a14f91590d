"""How a function says that it is a step of the pipeline."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Output = Path
"""A file that a step writes. A plain `Path` among the arguments of a step is one that it reads."""

F = TypeVar("F", bound=Callable[..., None])


def step(verb: str) -> Callable[[F], F]:
    """Mark `f(settings, *, inputs…, outputs…)` as what `synthmed <verb>` runs; the function stays as it is.

    `synthmed.steps` reads the rest from the function's source text: its inputs (`Path`, `list[Path]`, `Path | None` for
    one that may be left out), its outputs (`Output`, `list[Output]`) and, as the help of the verb, the first line of
    its docstring.
    """
    return lambda function: function

"""From the JSON of a settings file to a frozen dataclass: nothing unknown, nothing missing, nothing mistyped."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping

from synthmed.core.errors import InputError

T = typing.TypeVar("T")


def _convert(value: object, kind: object, where: str) -> object:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        options = typing.get_args(kind)
        if value is None and type(None) in options:
            return None
        kind = next(option for option in options if option is not type(None))
        return _convert(value, kind, where)
    if origin is typing.Literal:
        if value not in typing.get_args(kind):
            raise InputError(f"setting {where} is {value!r}; choose one of {list(typing.get_args(kind))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"setting {where} is {value!r}; it must be a list")
        (item_kind, *rest) = typing.get_args(kind)
        if rest != [...] and len(value) != 1 + len(rest):
            raise InputError(f"setting {where} is {list(value)!r}; it must be a list of {1 + len(rest)}")
        return tuple(_convert(item, item_kind, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise InputError(f"setting {where} is {value!r}; it must be a mapping")
        (_key_kind, item_kind) = typing.get_args(kind)
        return {str(key): _convert(item, item_kind, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return parse(kind, value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        hint = " (YAML 1.1 reads 1e-4 as text: write 1.0e-4)" if kind is float and isinstance(value, str) else ""
        raise InputError(f"setting {where} is {value!r}; it must be of type {kind.__name__}{hint}")
    return value


def parse(config: type[T], values: object, where: str = "settings") -> T:
    """Build the dataclass `config` from the mapping `values`.

    Every field must be given and nothing else may be: a misspelt or missing setting raises InputError that names it.
    Supported field types: int, float, bool, str, Literal, X | None, tuple[X, ...], tuple[X, X], dict[str, X], nested
    dataclasses.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where} must be a mapping, not {values!r}")
    kinds = typing.get_type_hints(config)
    for name in values:
        if name not in kinds:
            close = difflib.get_close_matches(str(name), kinds, n=1)
            advice = f"; did you mean {close[0]!r}?" if close else f"; known are {sorted(kinds)}"
            raise InputError(f"unknown setting {where}.{name}{advice}")
    for name in kinds:
        if name not in values:
            raise InputError(f"setting {where}.{name} is missing")
    return config(**{name: _convert(values[name], kind, f"{where}.{name}") for name, kind in kinds.items()})


def explain(error: typing.Any) -> str:
    """What is wrong with a settings file, in one line: the setting, the fault, the nearest name.

    error: jsonschema's ValidationError, whose own text repeats the whole schema and file.
    """
    where = error.json_path.removeprefix("$").removeprefix(".") or "the file"
    if error.validator == "additionalProperties" and "properties" in error.schema:
        known = list(error.schema["properties"])
        name = next(name for name in error.instance if name not in known)
        close = difflib.get_close_matches(str(name), known, n=1)
        return f"{where}: unknown setting {name!r}" + (
            f"; did you mean {close[0]!r}?" if close else f"; known are {known}"
        )
    if error.validator == "required":
        return f"{where}: {error.message.replace('is a required property', 'is missing')}"
    said = error.message if len(error.message) <= 300 else f"{error.message[:300]}…"
    meaning = error.schema.get("description", "")
    return f"{where}: {said}" + (f" ({meaning})" if meaning else "")

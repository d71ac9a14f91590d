"""From the JSON of a settings file to a frozen dataclass, and from the dataclass to the JSON schema of its settings.

A setting is stated once, as a field: `steps: Annotated[int, Meta(ge=1, description="Optimiser steps.")]` says its type,
range and meaning (`extra_json_schema={"unit": "px"}` its unit). msgspec checks and describes single values; unions of
dataclasses, names that there are not, and the words of the messages are made here.
"""

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, reduce
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from synthmed.core.errors import InputError

T = typing.TypeVar("T")

Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Fraction = Annotated[float, Meta(gt=0, lt=1)]
Names = Annotated[tuple[str, ...], Meta(min_length=1, extra_json_schema={"uniqueItems": True})]
Level = Annotated[Fraction, Meta(description="Confidence level of the intervals.")]
Resamples = Annotated[Count, Meta(description="Bootstrap resamples.")]
Seed = Annotated[int, Meta(ge=0, description="From which all randomness follows.")]
BatchSize = Annotated[
    Count, Meta(description="Images at once; bounds the memory.", extra_json_schema={"unit": "images"})
]
Threads = Annotated[Count, Meta(description="Processor threads; results depend on it in the last digits.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], Meta(description="auto: a GPU where there is one.")]
Precision = Annotated[
    Literal["fp32", "bf16"],
    Meta(description="Number format of the networks; bf16 pays where the processor multiplies it, and changes values."),
]
TrainingPrecision = Annotated[
    Literal["fp32", "bf16", "auto"],
    Meta(
        description="Number format of the networks. bf16 pays where the processor multiplies it and layers are wide, "
        "and changes values; auto: bf16 where the processor multiplies it, else fp32; the provenance says which."
    ),
]
ModelName = Annotated[str, Meta(description="Name of its model, a file of src/synthmed/generators/.")]
GeneratorName = Annotated[str, Meta(description="Its name in the experiment.")]
SyntheticSets = Annotated[
    tuple[str, ...], Meta(description="Names of the synthetic sets, in the order of their files.")
]
Classes = Annotated[tuple[str, ...], Meta(description="Labels of the experiment, in order.")]
TwoClasses = Annotated[tuple[str, ...], Meta(min_length=2, max_length=2, description="The two classes, in order.")]
Lpips = Annotated[
    Literal["lpips_vgg16"] | None,
    Meta(description="Pretrained weights of LPIPS; null measures it not. They are left out where they are not had."),
]
"""Types of settings that several steps have. Where a field says more, its own description holds."""


# ----------------------------------------------------------------------------------------------------- types apart
@dataclasses.dataclass(frozen=True)
class _Kind:
    """A type taken apart: the types that a value may have, but None; what is said of them; whether it may be None."""

    options: tuple[object, ...]
    metas: tuple[Meta, ...]
    nullable: bool

    @property
    def description(self) -> str:
        return next((meta.description for meta in reversed(self.metas) if meta.description), "")

    @property
    def once(self) -> bool:
        """Whether each item of a list may be there only once."""
        return any((meta.extra_json_schema or {}).get("uniqueItems") for meta in self.metas)

    def annotated(self, base: object) -> object:
        return Annotated[(base, *self.metas)] if self.metas else base


@cache
def _apart(kind: object) -> _Kind:
    if typing.get_origin(kind) is Annotated:
        base, *metas = typing.get_args(kind)
        inner = _apart(base)
        return _Kind(inner.options, (*inner.metas, *metas), inner.nullable)
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        options = [option for option in typing.get_args(kind) if option is not type(None)]
        nullable = len(options) < len(typing.get_args(kind))
        only = _apart(options[0]) if len(options) == 1 else _Kind(tuple(options), (), False)
        return dataclasses.replace(only, nullable=nullable)
    return _Kind((kind,), (), False)


@cache
def fields(config: type) -> dict[str, object]:
    """Name of each setting of a dataclass → its type, with what is said of it."""
    return typing.get_type_hints(config, include_extras=True)


def _tags(options: Iterable[type]) -> tuple[str, dict[object, type]]:
    """The setting that tells dataclasses apart, and each of its values → the dataclass.

    It is one that is a Literal in all of them, with values of its own in each, as `model: Literal["dcgan"]`.
    """
    for name in fields(options[0]):
        kinds = {option: _apart(fields(option).get(name)).options[0] for option in options}
        if all(typing.get_origin(kind) is Literal for kind in kinds.values()):
            dataclass_of = {value: option for option, kind in kinds.items() for value in typing.get_args(kind)}
            if len(dataclass_of) == sum(len(typing.get_args(kind)) for kind in kinds.values()):
                return name, dataclass_of
    raise TypeError(f"nothing tells these apart: {[option.__name__ for option in options]}")


# ---------------------------------------------------------------------------------------------------------- parsing
def _advice(name: object, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {known}"


def _leaf(value: object, base: object, kind: _Kind, where: str) -> object:
    try:
        return msgspec.convert(value, kind.annotated(base))
    except msgspec.ValidationError as error:
        expected = re.sub(r"^Expected |, got .*|`", "", str(error))
    if typing.get_origin(base) is Literal:
        choices = list(typing.get_args(base))
        close = difflib.get_close_matches(str(value), map(str, choices), n=1)
        advice = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"setting {where} is {value!r}; choose one of {choices}{advice}")
    if base is float and isinstance(value, str):
        expected += " (YAML 1.1 reads 1e-4 as text: write 1.0e-4)"
    meaning = f" ({kind.description})" if kind.description else ""
    raise InputError(f"setting {where} is {value!r}; it must be of type {expected}{meaning}")


def _items(arguments: tuple[object, ...]) -> tuple[object, int | None]:
    """The type of the items of `tuple[X, ...]` or `tuple[X, X]`, and how many there must be."""
    return arguments[0], None if arguments[1:] == (...,) else len(arguments)


def _list(value: object, items: tuple[object, ...], kind: _Kind, where: str) -> tuple:
    if not isinstance(value, list | tuple):
        raise InputError(f"setting {where} is {value!r}; it must be a list")
    item, count = _items(items)
    if count not in (None, len(value)):
        raise InputError(f"setting {where} is {list(value)!r}; it must be a list of {count}")
    items = tuple(_convert(entry, item, f"{where}[{number}]") for number, entry in enumerate(value))
    _leaf(list(items), list, kind, where)
    if kind.once and len(set(items)) < len(items):
        raise InputError(f"setting {where} is {value!r}; name each once")
    return items


def _mapping(value: object, key: object, item: object, kind: _Kind, where: str) -> dict:
    if not isinstance(value, Mapping):
        raise InputError(f"setting {where} is {value!r}; it must be a mapping")
    _leaf(dict(value), dict, kind, where)
    return {
        _convert(str(name), key, f"{where}, name {name}"): _convert(entry, item, f"{where}.{name}")
        for name, entry in value.items()
    }


_WRITTEN = {dict: Mapping, Literal: str}
"""How a value of some types is written, by which it is known where others could stand in its place."""


def _chosen(value: object, options: tuple[object, ...], where: str) -> object:
    """The one of several types that `value` is meant to be."""
    if not all(map(dataclasses.is_dataclass, options)):
        written = {option: _WRITTEN.get(typing.get_origin(_apart(option).options[0])) for option in options}
        meant = [option for option, form in written.items() if form and isinstance(value, form)]
        return (meant or [option for option, form in written.items() if form is None] or options)[0]
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must be a mapping, not {value!r}")
    tag, dataclass_of = _tags(options)
    if tag not in value:
        raise InputError(f"setting {where}.{tag} is missing")
    return dataclass_of[_convert(value[tag], Literal[tuple(dataclass_of)], f"{where}.{tag}")]


def _convert(value: object, annotation: object, where: str) -> object:
    kind = _apart(annotation)
    if value is None and kind.nullable:
        return None
    if len(kind.options) > 1:
        return _convert(value, _chosen(value, kind.options, where), where)
    (base,) = kind.options
    if dataclasses.is_dataclass(base):
        return parse(base, value, where)
    if typing.get_origin(base) is tuple:
        return _list(value, typing.get_args(base), kind, where)
    if typing.get_origin(base) is dict:
        return _mapping(value, *typing.get_args(base), kind, where)
    return _leaf(value, base, kind, where)


def parse(config: type[T], values: object, where: str = "settings") -> T:
    """Build the dataclass `config` from the mapping `values`.

    Every field without a default must be given and nothing else may be: a misspelt, missing or impossible setting
    raises InputError that names it. Field types: what msgspec converts, X | None, tuple[X, ...], tuple[X, X],
    dict[str, X], dataclasses, unions of dataclasses that a Literal setting tells apart, and of a mapping, a text of a
    Literal and one other type; each may have a Meta.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where} must be a mapping, not {values!r}")
    kinds = fields(config)
    for name in values:
        if name not in kinds:
            raise InputError(f"unknown setting {where}.{name}{_advice(name, kinds)}")
    for field in dataclasses.fields(config):
        if field.name not in values and field.default is dataclasses.MISSING:
            raise InputError(f"setting {where}.{field.name} is missing")
    return config(**{name: _convert(value, kinds[name], f"{where}.{name}") for name, value in values.items()})


# ---------------------------------------------------------------------------------------------------------- schemas
def _or_null(schema: dict) -> dict:
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if isinstance(schema.get("type"), str) and "allOf" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [{"type": "null"}, schema]}


def _one_of(options: tuple[object, ...], definitions: dict) -> dict:
    """One of several types; dataclasses by conditions, so that a fault is explained by the one that was meant."""
    if not all(map(dataclasses.is_dataclass, options)):
        return {"anyOf": [_schema(option, definitions) for option in options]}
    tag, dataclass_of = _tags(options)
    conditions = [
        {"if": {"properties": {tag: {"const": value}}}, "then": _schema(option, definitions)}
        for value, option in dataclass_of.items()
    ]
    tags = {"enum": list(dataclass_of), "description": _apart(fields(options[0])[tag]).description}
    return {"type": "object", "required": [tag], "properties": {tag: tags}, "allOf": conditions}


def _bare(base: object, kind: _Kind, definitions: dict) -> dict:
    arguments = typing.get_args(base)
    if dataclasses.is_dataclass(base):
        return _reference(base, definitions)
    if typing.get_origin(base) is tuple:
        item, count = _items(arguments)
        counted = {} if count is None else {"minItems": count, "maxItems": count}
        return {**msgspec.json.schema(kind.annotated(list)), **counted, "items": _schema(item, definitions)}
    if typing.get_origin(base) is not dict:
        return msgspec.json.schema(kind.annotated(base))
    schema = {**msgspec.json.schema(kind.annotated(dict)), "additionalProperties": _schema(arguments[1], definitions)}
    return schema if arguments[0] is str else {**schema, "propertyNames": _schema(arguments[0], definitions)}


def _schema(annotation: object, definitions: dict) -> dict:
    kind = _apart(annotation)
    several = len(kind.options) > 1
    schema = _one_of(kind.options, definitions) if several else _bare(kind.options[0], kind, definitions)
    schema = _or_null(schema) if kind.nullable else schema
    return {**schema, "description": kind.description} if kind.description else schema


def _reference(config: type, definitions: dict) -> dict:
    name = f"{config.__module__.removeprefix('synthmed.')}.{config.__name__}"
    if name not in definitions:
        definitions[name] = {}  # its place, before those that it refers to
        without_default = [field.name for field in dataclasses.fields(config) if field.default is dataclasses.MISSING]
        definitions[name] = {
            "description": " ".join((config.__doc__ or "").partition("\n\n")[0].split()),
            "type": "object",
            "additionalProperties": False,
            "required": without_default,
            "properties": {name: _schema(kind, definitions) for name, kind in fields(config).items()},
        }
    return {"$ref": f"#/$defs/{name}"}


def schema(config: type) -> dict:
    """The JSON schema (draft 2020-12) of the settings `config`, with those of every dataclass that it is made of.

    What parse refuses, it refuses, but for what a dataclass checks itself.
    """
    definitions: dict[str, dict] = {}
    root = _reference(config, definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}


def without_nulls(values: object, schema: Mapping, whole: Mapping | None = None) -> object:
    """Settings without the named entries that an overlay sets to null, which YAML cannot remove otherwise.

    That are settings that may be left out, and entries of mappings whose names the user chooses. Where null is a value
    of its own, it stays. schema: the JSON schema of the values, whole: that which its references point into.
    """
    whole = whole or schema
    schemas = [*_meanings(values, schema, whole)]
    if isinstance(values, list):
        items = [found["items"] for found in schemas if "items" in found]
        return [without_nulls(value, items[0], whole) if items else value for value in values]
    if not isinstance(values, Mapping):
        return values
    kept = {}
    for name, value in values.items():
        inner = [found["properties"][name] for found in schemas if name in found.get("properties", {})]
        needed = any(name in found.get("required", ()) for found in schemas)
        if not inner:
            inner = [found["additionalProperties"] for found in schemas if found.get("additionalProperties")]
            needed = not inner or any(_takes_null(found, whole) for found in inner)
        if value is not None or needed:
            kept[name] = reduce(lambda now, found: without_nulls(now, found, whole), inner, value)
    return kept


def _meanings(values: object, schema: object, whole: Mapping) -> Iterator[Mapping]:
    """The schemas that hold for `values`: a schema, what it refers to, and its conditions and choices that apply."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    if "$ref" in schema:
        yield from _meanings(values, whole["$defs"][schema["$ref"].removeprefix("#/$defs/")], whole)
    for choice in schema.get("anyOf", ()):
        yield from _meanings(values, choice, whole)
    for condition in schema.get("allOf", ()):
        chosen = condition["if"]["properties"]
        if isinstance(values, Mapping) and all(values.get(name) == value["const"] for name, value in chosen.items()):
            yield from _meanings(values, condition["then"], whole)


def _takes_null(schema: Mapping, whole: Mapping) -> bool:
    return any(
        one.get("type") == "null" or "null" in one.get("type", ()) or None in one.get("enum", ())
        for one in _meanings(None, schema, whole)
    )


def _meant(error: typing.Any) -> typing.Any:
    """The error inside a choice (anyOf) that explains it: that of the option which is of the value's type."""
    if error.validator != "anyOf":
        return error
    inside = [found for found in error.context if not (found.validator == "type" and not found.relative_path)]
    # A mapping is none of some words either.
    inside = [found for found in inside if not (found.validator == "enum" and isinstance(found.instance, Mapping))]
    return _meant(inside[0]) if inside else error


def explain(error: typing.Any) -> str:
    """What is wrong with a settings file, in one line: the setting, the fault, the nearest name.

    error: jsonschema's ValidationError, whose own text repeats the whole schema and file.
    """
    error = _meant(error)
    where = error.json_path.removeprefix("$").removeprefix(".") or "the file"
    if error.validator == "additionalProperties" and "properties" in error.schema:
        known = list(error.schema["properties"])
        name = next(name for name in error.instance if name not in known)
        return f"{where}: unknown setting {name!r}{_advice(name, known)}"
    if error.validator == "required":
        return f"{where}: {error.message.replace('is a required property', 'is missing')}"
    said = error.message if len(error.message) <= 300 else f"{error.message[:300]}…"
    if error.validator == "enum" and isinstance(error.instance, str):
        said = f"{error.instance!r} is not one of these{_advice(error.instance, map(str, error.validator_value))}"
    if "is not of type 'string'" in said and not isinstance(error.instance, list | dict | None):
        said += "; write it in quotes: YAML reads yes, no, 007 and 2020-01-01 as what they mean"
    meaning = error.schema.get("description", "")
    return f"{where}: {said}" + (f" ({meaning})" if meaning else "")

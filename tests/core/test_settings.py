from dataclasses import dataclass
from typing import Literal

import jsonschema
import pytest

from synthmed.core.errors import InputError
from synthmed.core.settings import explain, parse


@dataclass(frozen=True)
class Inner:
    rate: float


@dataclass(frozen=True)
class Config:
    steps: int
    name: str
    flip: bool
    inner: Inner
    kind: Literal["a", "b"]
    sizes: tuple[int, ...]
    counts: dict[str, int]
    limit: float | None
    optional: Inner | None
    options: dict


GOOD = {
    "steps": 3,
    "name": "x",
    "flip": True,
    "inner": {"rate": 1},
    "kind": "b",
    "sizes": [1, 2],
    "counts": {"n": 2},
    "limit": None,
    "optional": {"rate": 0.5},
    "options": {"anything": [True]},
}


def test_every_kind_of_field():
    assert parse(Config, GOOD) == Config(
        3, "x", True, Inner(1.0), "b", (1, 2), {"n": 2}, None, Inner(0.5), {"anything": [True]}
    )
    assert isinstance(parse(Config, GOOD).inner.rate, float)
    assert parse(Config, GOOD | {"limit": 2, "optional": None}).limit == 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stpes": 3}, r"unknown setting settings\.stpes; did you mean 'steps'"),
        ({"zzz": 3}, r"unknown setting settings\.zzz; known are"),
        ({"steps": 3.5}, r"settings\.steps is 3\.5; it must be of type int"),
        ({"steps": True}, r"settings\.steps is True"),
        ({"steps": "3"}, r"settings\.steps is '3'"),
        ({"steps": None}, r"settings\.steps is None"),
        ({"flip": 1}, r"settings\.flip is 1; it must be of type bool"),
        ({"inner": {"rate": "1e-4"}}, r"settings\.inner\.rate is '1e-4'.*1\.0e-4"),
        ({"inner": {"rate": 1.0, "rat": 2}}, r"settings\.inner\.rat; did you mean 'rate'"),
        ({"inner": {}}, r"settings\.inner\.rate is missing"),
        ({"inner": 3}, r"settings\.inner must be a mapping"),
        ({"kind": "c"}, r"settings\.kind is 'c'; choose one of \['a', 'b'\]"),
        ({"sizes": 3}, r"settings\.sizes is 3; it must be a list"),
        ({"sizes": [1, "2"]}, r"settings\.sizes\[1\] is '2'"),
        ({"counts": {"n": "2"}}, r"settings\.counts\.n is '2'"),
        ({"counts": [1]}, r"settings\.counts .*mapping"),
        ({"limit": "x"}, r"settings\.limit is 'x'"),
        ({"options": []}, r"settings\.options is \[\]"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    with pytest.raises(InputError, match=message):
        parse(Config, GOOD | change)


@pytest.mark.parametrize("name", GOOD)
def test_nothing_has_a_default(name):
    with pytest.raises(InputError, match=rf"settings\.{name} is missing"):
        parse(Config, {key: value for key, value in GOOD.items() if key != name})


def test_what_is_no_mapping_at_all():
    with pytest.raises(InputError, match="settings must be a mapping"):
        parse(Config, [1])


SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["steps"],
    "properties": {"steps": {"type": "integer", "description": "Optimiser steps."}, "seed": {"type": "integer"}},
}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 1, "sed": 2}, "a.b: unknown setting 'sed'; did you mean 'seed'?"),
        ({"steps": 1, "xyz": 2}, "a.b: unknown setting 'xyz'; known are ['steps', 'seed']"),
        ({"seed": 1}, "a.b: 'steps' is missing"),
        ({"steps": "one"}, "a.b.steps: 'one' is not of type 'integer' (Optimiser steps.)"),
    ],
)
def test_a_violated_schema_is_explained_in_one_line(values, message):
    schema = {"properties": {"a": {"properties": {"b": SCHEMA}}}}
    with pytest.raises(jsonschema.ValidationError) as violation:
        jsonschema.validate({"a": {"b": values}}, schema)
    assert explain(violation.value) == message

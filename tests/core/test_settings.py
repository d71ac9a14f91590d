import re
from dataclasses import dataclass
from typing import Annotated, Literal

import jsonschema
import pytest
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.settings import Names, explain, parse, schema


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


@dataclass(frozen=True)
class Doses:
    points: tuple[Annotated[float, Meta(gt=0)] | dict[str, int] | Literal["balance"], ...]
    counts: dict[str, int] | Literal["balance"] | None


def test_a_number_a_mapping_and_a_word_may_stand_in_one_place():
    given = {"points": [1, {"a": 2}, "balance"], "counts": "balance"}
    assert parse(Doses, given) == Doses((1.0, {"a": 2}, "balance"), "balance")
    assert parse(Doses, given | {"counts": None}).counts is None
    for change, message in (
        ({"points": [{"a": "2"}]}, r"points\[0\]\.a is '2'"),
        ({"points": [0]}, r"points\[0\] is 0; it must be .*float > 0"),
        ({"points": ["ballance"]}, r"points\[0\] is 'ballance'; choose one of \['balance'\]; did you mean 'balance'"),
        ({"counts": 3}, r"counts is 3; it must be a mapping"),
    ):
        with pytest.raises(InputError, match=message):
            parse(Doses, given | change)


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


# ------------------------------------------------------------------------------- ranges, choices, and their schemas
@dataclass(frozen=True)
class Phantom:
    """Drawn images."""

    provider: Annotated[Literal["phantom"], Meta(description="Where images come from.")]
    count: Annotated[int, Meta(ge=1, multiple_of=2, description="Images.")]


@dataclass(frozen=True)
class Folder:
    """Images of one's own."""

    provider: Annotated[Literal["folder"], Meta(description="Where images come from.")]
    path: Annotated[str, Meta(min_length=1, description="Of the folder.")]


@dataclass(frozen=True)
class Whole:
    """Settings with everything that may be said of one.

    Not in the schema.
    """

    share: Annotated[float, Meta(gt=0, le=1, description="Of the images.")]
    side: Annotated[int, Meta(ge=8, description="null: as they are.", extra_json_schema={"unit": "px"})] | None
    kind: Annotated[Literal["a", "b"], Meta(description="Which.")] | None
    sizes: Annotated[tuple[Annotated[int, Meta(ge=4)], ...], Meta(min_length=1, description="Rising.")]
    names: Annotated[Names, Meta(description="Of the outputs.")]
    size: Annotated[tuple[Annotated[int, Meta(ge=1)], int], Meta(description="Height and width.")] | None
    sets: Annotated[dict[Annotated[str, Meta(pattern="^[a-z]+$")], Phantom | Folder], Meta(min_length=1)]
    samples: Annotated[int, Meta(ge=1)] | dict[str, int]
    inner: Inner | None
    later: Annotated[bool, Meta(description="May be left out.")] = False


WHOLE = {
    "share": 1,
    "side": None,
    "kind": None,
    "sizes": [4, 8],
    "names": ["x", "y"],
    "size": [8, 4],
    "sets": {"one": {"provider": "phantom", "count": 2}, "two": {"provider": "folder", "path": "p"}},
    "samples": {"x": 3},
    "inner": {"rate": 1.0},
}


def test_ranges_and_choices():
    whole = parse(Whole, WHOLE)
    assert whole.sets == {"one": Phantom("phantom", 2), "two": Folder("folder", "p")}
    assert (whole.samples, whole.later) == ({"x": 3}, False)
    assert parse(Whole, WHOLE | {"samples": 4, "side": 8, "later": True}).samples == 4
    jsonschema.validate(WHOLE, schema(Whole))
    jsonschema.validate(WHOLE | {"samples": 4, "side": 8, "later": True}, schema(Whole))


@pytest.mark.parametrize(
    ("change", "said", "explained"),
    [
        ({"share": 0}, r"settings\.share is 0; .* > 0.* \(Of the images\.\)", "share: 0 is less .*Of the images"),
        ({"share": "1e-4"}, r"write 1\.0e-4", "share: '1e-4' is not of type 'number'"),
        ({"side": 7}, r"settings\.side is 7; .* >= 8", "side: 7 is less than the minimum of 8"),
        ({"side": 8.5}, r"settings\.side is 8\.5", "side: 8.5 is not of type"),
        ({"kind": "c"}, r"settings\.kind is 'c'; choose one of \['a', 'b'\]", "kind: 'c' is not one of"),
        ({"sizes": []}, r"settings\.sizes is \[\]; .*length >= 1", "sizes: .*non-empty|too short"),
        ({"sizes": [4, 3]}, r"settings\.sizes\[1\] is 3", r"sizes\[1\]: 3 is less"),
        ({"names": ["x", "x"]}, r"settings\.names is .*name each once", "names: .*non-unique"),
        ({"size": [8]}, r"settings\.size is \[8\]; it must be a list of 2", "size: .*too short"),
        ({"size": [8, 4, 2]}, r"settings\.size is \[8, 4, 2\]; it must be a list of 2", "size: .*too long"),
        ({"size": [0, 4]}, r"settings\.size\[0\] is 0", r"size\[0\]: 0 is less"),
        ({"sets": {}}, r"settings\.sets is \{\}", "sets: .*non-empty|enough properties"),
        ({"sets": {"One": WHOLE["sets"]["one"]}}, r"settings\.sets, name One is 'One'", "sets: 'One' does not match"),
        ({"sets": {"a": {"provider": "phantm"}}}, r"sets\.a\.provider is 'phantm'", "sets.a.provider: 'phantm' is not"),
        ({"sets": {"a": {}}}, r"settings\.sets\.a\.provider is missing", "sets.a: 'provider' is missing"),
        ({"sets": {"a": 3}}, r"settings\.sets\.a must be a mapping", "sets.a: 3 is not of type 'object'"),
        (
            {"sets": {"a": {"provider": "phantom", "cuont": 2}}},
            r"settings\.sets\.a\.cuont; did you mean 'count'",
            "sets.a: unknown setting 'cuont'; did you mean 'count'",
        ),
        ({"sets": {"a": {"provider": "phantom", "count": 3}}}, "multiple of 2", "sets.a.count: 3 is not a multiple"),
        ({"samples": 0}, r"settings\.samples is 0", "samples: 0 is less than the minimum of 1"),
        ({"samples": {"x": "y"}}, r"settings\.samples\.x is 'y'", "samples.x: 'y' is not of type 'integer'"),
        # Inside a block that may also be null.
        (
            {"inner": {"rtae": 1.0}},
            r"unknown setting settings\.inner\.rtae",
            "inner: unknown setting 'rtae'; did you mean 'rate'",
        ),
        ({"inner": {"rate": None}}, r"settings\.inner\.rate is None", "inner.rate: None is not of type 'number'"),
    ],
)
def test_parsing_and_the_schema_refuse_the_same(change, said, explained):
    with pytest.raises(InputError, match=said):
        parse(Whole, WHOLE | change)
    with pytest.raises(jsonschema.ValidationError) as violation:
        jsonschema.validate(WHOLE | change, schema(Whole))
    assert re.match(explained, explain(violation.value)), explain(violation.value)


def test_a_schema_says_what_a_field_says():
    found = schema(Whole)["$defs"]["test_settings.Whole"]
    assert found["description"] == "Settings with everything that may be said of one."
    assert "later" not in found["required"]
    assert len(found["required"]) == 9
    side = {"type": ["integer", "null"], "minimum": 8, "unit": "px", "description": "null: as they are."}
    assert found["properties"]["side"] == side


def test_dataclasses_that_nothing_tells_apart_are_a_mistake():
    with pytest.raises(TypeError, match=r"Inner.*Other"):
        schema(Ambiguous)


@dataclass(frozen=True)
class Other:
    pace: float


@dataclass(frozen=True)
class Ambiguous:
    one: Inner | Other


SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["steps"],
    "properties": {
        "steps": {"type": "integer", "description": "Optimiser steps."},
        "seed": {"type": "integer"},
        "name": {"type": ["string", "null"]},
    },
}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 1, "sed": 2}, "a.b: unknown setting 'sed'; did you mean 'seed'?"),
        ({"steps": 1, "xyz": 2}, "a.b: unknown setting 'xyz'; known are ['steps', 'seed', 'name']"),
        ({"seed": 1}, "a.b: 'steps' is missing"),
        ({"steps": "one"}, "a.b.steps: 'one' is not of type 'integer' (Optimiser steps.)"),
        (
            {"steps": 1, "name": False},
            "a.b.name: False is not of type 'string', 'null'; write it in quotes: YAML reads yes, no, 007 and "
            "2020-01-01 as what they mean",
        ),
        ({"steps": 1, "name": ["x"]}, "a.b.name: ['x'] is not of type 'string', 'null'"),
    ],
)
def test_a_violated_schema_is_explained_in_one_line(values, message):
    schema = {"properties": {"a": {"properties": {"b": SCHEMA}}}}
    with pytest.raises(jsonschema.ValidationError) as violation:
        jsonschema.validate({"a": {"b": values}}, schema)
    assert explain(violation.value) == message

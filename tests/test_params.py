"""params.yaml and every overlay of workflow/scales/ against the schemas, and the schemas against the code."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from synthmed import generators
from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data import sources
from synthmed.extractors import EXTRACTORS

ROOT = Path(__file__).parents[1]
SCHEMAS = ROOT / "workflow" / "schemas"
FILES = sorted(SCHEMAS.rglob("*.yaml"))
SCALES = sorted((ROOT / "workflow" / "scales").glob("*.yaml"))
IDS = [path.relative_to(SCHEMAS).as_posix() for path in FILES]


@cache
def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def over(base: dict, overlay: dict) -> dict:
    """`overlay` over `base` as `snakemake --configfile` does it: mappings recursively, the rest replaced."""
    merged = dict(base)
    for key, value in overlay.items():
        inner = base.get(key)
        merged[key] = over(inner if isinstance(inner, dict) else {}, value) if isinstance(value, dict) else value
    return merged


# Every schema under the address of its file, so that relative references find each other.
REGISTRY = Registry().with_resources([(path.as_uri(), Resource.from_contents(read(path))) for path in FILES])
VALIDATOR = Draft202012Validator({"$ref": (SCHEMAS / "params.schema.yaml").as_uri()}, registry=REGISTRY.crawl())
PARAMS = {"params.yaml": read(ROOT / "params.yaml")}
PARAMS |= {path.name: over(PARAMS["params.yaml"], read(path)) for path in SCALES}
for params_of_scale in PARAMS.values():  # as the Snakefile does
    params_of_scale["experiments"] = {
        name: entry for name, entry in params_of_scale["experiments"].items() if entry is not None
    }


def problems(params: dict) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(params)]


@pytest.fixture(params=PARAMS)
def params(request) -> dict:
    return PARAMS[request.param]


# ------------------------------------------------------------------------------------------------------ the settings
def test_there_are_overlays_to_test():
    assert "paper.yaml" in PARAMS


def test_settings_follow_the_schemas(params):
    assert problems(params) == []


def entries(params: dict) -> Iterator[tuple[dict, str, dict]]:
    """(experiment, name of the generator, its settings)."""
    for experiment in params["experiments"].values():
        for name, entry in experiment["generators"].items():
            yield experiment, name, entry


def test_every_generator_understands_its_settings(params):
    for _, name, entry in entries(params):
        parse(generators.load(entry["model"]).Config, entry["config"], f"{name}.config")


def test_names_in_the_settings_name_something(params):
    for experiment in params["experiments"].values():
        classes = set(experiment["classes"])
        assert experiment["dataset"] in params["datasets"]
        assert experiment["positive"] in classes
        assert {label for label in experiment["prepare"]["labels"].values() if label is not None} == classes
        for task in experiment["tasks"].values():
            assert task["model"].get("backbone", "domain") in experiment["extractors"]
            assert set(task["arms"]["sweep"]) <= set(experiment["generators"])
            assert task["arms"]["added_share"] is None or task["arms"]["added_counts"] is None
        assert set(experiment["fidelity"]["floor_counts"]) == classes
    for experiment, name, entry in entries(params):
        samples = set(entry["sampling"]["samples"])
        assert samples == set(experiment["classes"]) or (samples == {"unlabelled"} and "pseudo_labels" in experiment), (
            name
        )
        trained = [label for training in entry["trainings"].values() for label in training["labels"]]
        assert sorted(trained) == sorted(experiment["classes"]), name


def test_raw_files_of_every_data_set_have_names(params):
    for name, entry in params["datasets"].items():
        assert sources.raw_files(entry), name


def scalars(value: object, where: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from scalars(item, f"{where}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from scalars(item, f"{where}[{number}]")
    else:
        yield where, value


def test_no_number_is_written_so_that_yaml_reads_text(params):
    number = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?", re.IGNORECASE)
    texts = [where for where, value in scalars(params) if isinstance(value, str) and number.fullmatch(value)]
    assert texts == [], "write 1.0e-4, not 1e-4"


def mappings(value: object, where: tuple = ()) -> Iterator[tuple]:
    if isinstance(value, Mapping):
        yield where
        for key, item in value.items():
            yield from mappings(item, (*where, key))


# Mappings whose keys are names that the user chooses.
FREE = {"labels", "samples", "floor_counts", "files", "sweep", "trainings", "datasets", "experiments", "generators"}
FREE |= {"extractors", "searches", "batch_limits", "classifiers"}


def test_a_misspelt_setting_is_refused_wherever_it_stands():
    params = PARAMS["params.yaml"]
    wrong, places = params, []
    for path in mappings(params):
        if path and path[-1] in FREE:
            continue
        places.append(".".join(("$", *path)))
        inner = {"misspelt_setting": 1}
        for key in reversed(path):
            inner = {key: inner}
        wrong = over(wrong, inner)
    assert len(places) > 30
    refused = {error.json_path for error in VALIDATOR.iter_errors(wrong) if "misspelt_setting" in error.message}
    assert set(places) - refused == set(), "these take any setting"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("split.test", "0.2"),
        ("generators.dcgan.config.learning_rate", "1e-4"),
        ("generators.dcgan.config.kernel_size", 4.5),
        ("generators.dcgan.model", "dcgann"),
        ("generators.dcgan.training.precision", "fp16"),
        ("generators.dcgan.training.batch_size", 0),
        ("generators.cyclegan_rf22.config.discriminator_last_stride", 3),
        ("classifier.backbone", "resnet"),
        ("extractors.resnet", {}),
        ("classes", ["normal"]),
        ("seed", -1),
    ],
)
def test_an_impossible_value_is_refused(path, value):
    inner = value
    for key in reversed(["experiments", "tuberculosis", *path.split(".")]):
        inner = {key: inner}
    assert problems(over(PARAMS["params.yaml"], inner))


def test_a_pool_needs_phantoms_and_a_download_takes_no_options():
    def dataset(**changes: object) -> list[str]:
        return problems(over(PARAMS["params.yaml"], {"datasets": {"tuberculosis_xrays": changes}}))

    assert dataset() == []
    assert any("pool" in problem for problem in dataset(provider="download"))
    assert any("options" in problem for problem in dataset(provider="download", pool=None))


# ------------------------------------------------------------------------------------------------------- the schemas
def parts(schema: object, where: str = "") -> Iterator[tuple[str, dict]]:
    """Every schema inside `schema`, with its place; conditions (`if`) only look and are left out."""
    if isinstance(schema, Mapping):
        yield where, schema
        for key, value in schema.items():
            if key != "if":
                yield from parts(value, f"{where}/{key}")
    elif isinstance(schema, list):
        for number, item in enumerate(schema):
            yield from parts(item, f"{where}/{number}")


def narrows(where: str, schema: dict) -> bool:
    """Whether this is the consequence of a condition, which narrows settings that are described elsewhere."""
    return bool(re.search("/(then|else)(/|$)", where)) and "additionalProperties" not in schema


def resolved(path: Path, schema: dict) -> dict:
    """What a `$ref` of the file `path` points at, or the schema itself."""
    if "$ref" not in schema:
        return schema
    file, _, pointer = schema["$ref"].partition("#")
    target = read(path.parent / file if file else path)
    for key in pointer.strip("/").split("/") if pointer else ():
        target = target[key]
    return target


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_a_schema_is_one(path):
    Draft202012Validator.check_schema(read(path))


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_every_setting_is_described(path):
    silent = []
    for where, schema in parts(read(path)):
        for name, setting in ({} if narrows(where, schema) else schema.get("properties", {})).items():
            described = {**resolved(path, setting), **setting}
            if not str(described.get("description", "")).strip():
                silent.append(f"{where}/properties/{name}")
    assert silent == []


# Methods that an experiment asks for by naming them; an anomaly search has no set of samples.
ASKED_FOR = {
    ("experiment.schema.yaml", ""): {
        *("selection", "classifiers", "prediction", "pseudo_labels", "grad_cam", "disease_axes", "anomaly"),
    },
    ("experiment.schema.yaml", "/properties/classifiers"): {"device", "findings"},
    ("experiment.schema.yaml", "/$defs/generator"): {"sampling"},
    ("experiment.schema.yaml", "/properties/prepare"): set(),
}


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_nothing_has_a_default_or_may_be_left_out_or_added(path):
    for where, schema in parts(read(path)):
        if where.endswith("/properties") or "properties" not in schema:
            continue
        for name, setting in schema["properties"].items():
            assert "default" not in setting, f"{where}: DVC does not see the default of {name}"
        if narrows(where, schema):
            continue
        assert schema.get("additionalProperties") is False, f"{where} takes any setting"
        needed = set(schema["properties"]) - ASKED_FOR.get((path.name, where), set())
        assert set(schema.get("required", ())) == needed, f"{where}: required"


@pytest.mark.parametrize("model", generators.GENERATORS)
def test_the_schema_of_a_generator_and_its_config_name_the_same_settings(model):
    schema = read(SCHEMAS / "generators" / f"{model}.yaml")
    fields = {field.name for field in dataclasses.fields(generators.load(model).Config)}
    assert set(schema["properties"]) == fields


def test_what_can_be_chosen_is_what_there_is():
    experiment = read(SCHEMAS / "experiment.schema.yaml")
    generator = experiment["$defs"]["generator"]
    assert set(generator["properties"]["model"]["enum"]) == set(generators.GENERATORS)
    chosen = {rule["if"]["properties"]["model"]["const"] for rule in generator["allOf"]}
    assert chosen == set(generators.GENERATORS)
    assert set(experiment["properties"]["extractors"]["propertyNames"]["enum"]) == set(EXTRACTORS)
    backbone = experiment["properties"]["classifier"]["properties"]["backbone"]
    assert set(backbone["enum"]) == set(EXTRACTORS)
    dataset = read(SCHEMAS / "dataset.schema.yaml")
    assert set(dataset["properties"]["source"]["enum"]) == set(sources.SOURCES)
    providers = {provider for name in sources.SOURCES for provider in sources.load(name).PROVIDERS}
    assert set(dataset["properties"]["provider"]["enum"]) == providers


def test_a_config_says_what_is_wrong_with_it():
    config = PARAMS["params.yaml"]["experiments"]["tuberculosis"]["generators"]["dcgan"]["config"]
    with pytest.raises(InputError, match=r"learning_rate is '1e-4'.*write 1\.0e-4"):
        parse(generators.load("dcgan").Config, {**config, "learning_rate": "1e-4"}, "config")


# -------------------------------------------------------------------------------------------- what YAML would swallow
@pytest.fixture
def check_files():
    """The function of that name of workflow/rules/params.smk, outside of Snakemake."""
    path = ROOT / "workflow" / "rules" / "params.smk"
    namespace = {"WorkflowError": InputError}
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), namespace)
    return namespace["check_files"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: {x: 1}\nb: 2\na: 3\n", r"params\.yaml, line 3: the key 'a' stands in line 1 already, and the last would"),
        (b"a:\n  - {x: 1,\n     x: 2}\n", r"line 3: the key 'x' stands in line 2 already"),
        (b"a: 1\n\tb: 2\n", r"params\.yaml: no YAML \(.*line 2.*\); indent with spaces, not tabs"),
        (b"a: [1\n", r"params\.yaml: no YAML"),
        (b"a: M\xfcller\n", r"params\.yaml: not UTF-8 text"),
    ],
)
def test_a_settings_file_that_yaml_would_read_otherwise_is_refused(tmp_path, check_files, content, said):
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(InputError, match=said):
        check_files(tmp_path, [])
    (tmp_path / "overlay.yaml").write_bytes(content)
    (tmp_path / "params.yaml").write_text("a: 1\n")
    with pytest.raises(InputError, match="overlay"):
        check_files(tmp_path, [tmp_path / "overlay.yaml"])


def test_the_projects_own_settings_files_and_anchors_are_fine(tmp_path, check_files):
    check_files(ROOT, SCALES)
    (tmp_path / "params.yaml").write_text("a: &one {x: 1}\nb: {<<: *one, y: 2}\nc: *one\n")
    check_files(tmp_path, [])

"""params.yaml and every overlay of workflow/scales/ against the schema, and the schema against the code."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from synthmed import generators
from synthmed.commands.params import Params
from synthmed.commands.schemas import schema_text
from synthmed.core.errors import InputError
from synthmed.core.files import user_path
from synthmed.core.known import is_file
from synthmed.core.settings import explain, parse, without_nulls
from synthmed.data import sources

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "workflow" / "schemas" / "params.schema.json").read_text(encoding="utf-8"))
SCALES = sorted((ROOT / "workflow" / "scales").glob("*.yaml"))
VALIDATOR = Draft202012Validator(SCHEMA)


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


def below(path: Path) -> dict:
    """What the settings of an overlay lie over: those of the paper scale where its first lines say so."""
    over_paper = f"--configfile workflow/scales/paper.yaml workflow/scales/{path.name} " in path.read_text("utf-8")
    return PARAMS["paper.yaml" if over_paper else "params.yaml"]


PARAMS = {"params.yaml": read(ROOT / "params.yaml")}
for path in sorted(SCALES, key=lambda path: path.name != "paper.yaml"):
    PARAMS[path.name] = over(below(path), read(path))
PARAMS = {name: without_nulls(params, SCHEMA) for name, params in PARAMS.items()}


def problems(params: dict) -> list[str]:
    return [explain(error) for error in VALIDATOR.iter_errors(params)]


@pytest.fixture(params=PARAMS)
def params(request) -> dict:
    return PARAMS[request.param]


def keys_of(path: str) -> list[str]:
    return path[1:].split("/") if path.startswith("/") else ["experiments", "tuberculosis", *path.split(".")]


def changed(path: str, value: object) -> dict:
    """params.yaml with another value at a place of the experiment tuberculosis (or of the whole, with / in front)."""
    for key in reversed(keys_of(path)):
        value = {key: value}
    return over(PARAMS["params.yaml"], value)


# ------------------------------------------------------------------------------------------------------ the settings
def test_there_are_overlays_to_test():
    assert "paper.yaml" in PARAMS


def test_settings_follow_the_schema_and_can_be_parsed(params):
    assert problems(params) == []
    parse(Params, params, "params")


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
FREE |= {
    "extractors",
    "searches",
    "batch_limits",
    "classifiers",
    "tasks",
    "shared",
    "added_counts",
    "findings",
    "children",
    "classes",
    "expected_hu",
    "mask_generators",
    *("images", "artefacts", "dark_corner", "perceptual_layers"),
    *("skin_tones", "derived_sets", "only_share"),
    *("questions", "answers", "sets", "counts", "backgrounds", "skip", "readers", "screened"),
}


@pytest.mark.parametrize(
    "place", [path for path in mappings(PARAMS["params.yaml"]) if not path or path[-1] not in FREE]
)
def test_a_misspelt_setting_is_refused_wherever_it_stands(place):
    if "shared" in place:
        return
    wrong = changed("/" + "/".join((*place, "misspelt_setting")), 1) if place else {**PARAMS["params.yaml"], "x_y": 1}
    said = explain(best_match(VALIDATOR.iter_errors(wrong)))
    assert said.startswith(".".join(place) or "the file")
    assert "unknown setting" in said or "is not one of these" in said  # of names that the code knows


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
        ("tasks.classification.model.backbone", "resnet"),
        ("tasks.classification.outcome", "aurroc"),
        ("tasks.Classification", {}),
        ("extractors.resnet", {}),
        ("classes", []),
        ("classes", ["normal", "normal"]),
        ("seed", -1),
        ("generators.dcgan.sampling.samples", 0),
        ("fidelity.floor_counts", 1),
        ("generators.dcgan.trainings", 0),
        ("/datasets/tuberculosis_xrays/source", "montgomery"),
        ("/datasets/tuberculosis_xrays/provider", "folder"),  # the source has no such provider
        ("/datasets/tuberculosis_xrays/provider", "download"),  # without a pool
    ],
)
def test_an_impossible_value_is_refused(path, value):
    assert problems(changed(path, value))


def test_a_misspelling_inside_a_choice_is_named():
    """In a block that may also be null, of options that follow from the source and its provider."""
    csv = {"name": "t.csv", "flie": "f", "label": "l", "patient": None, "mask": None, "split": None, "keep": []}
    options = {"path": "p", "name": "n", "patient_pattern": None, "csv": csv}
    films = {"source": "folder", "provider": "folder", "options": options, "pool": None}
    said = explain(best_match(VALIDATOR.iter_errors(changed("/datasets/films", films))))
    assert said == "datasets.films.options.csv: unknown setting 'flie'; did you mean 'file'?"


def test_a_number_holds_for_every_class():
    assert problems(changed("generators.dcgan.sampling.samples", 90)) == []
    assert problems(changed("fidelity.floor_counts", 90)) == []
    assert problems(changed("prepare.labels", None)) == []
    assert problems(changed("generators.dcgan.trainings", 400)) == []
    assert problems(changed("generators.dcgan.trainings.normal.labels", None)) == []


@pytest.mark.parametrize(
    "path",
    [
        *("/experiments/chest_findings", "/datasets/chest_findings_films", "generators.dcgan", "extractors.domain"),
        *("tasks.classification", "generators.dcgan.trainings.normal", "tasks.classification.arms.sweep.dcgan"),
        "/experiments/chest_findings/classifiers/device",
        "/experiments/chest_findings/anomaly/searches/random",
        "/experiments/chest_findings/selection",
    ],
)
def test_an_overlay_removes_any_named_entry_by_null(path):
    kept = without_nulls(changed(path, None), SCHEMA)
    *parents, last = keys_of(path)
    for key in parents:
        kept = kept[key]
    assert last not in kept


@pytest.mark.parametrize("path", ["references", "tasks.classification.validation", "prepare.labels.normal", "seed"])
def test_null_stays_where_it_is_a_value_or_a_mistake(path):
    kept = without_nulls(changed(path, None), SCHEMA)["experiments"]["tuberculosis"]
    for key in path.split("."):
        kept = kept[key]
    assert kept is None


def test_at_paper_scale_states_are_kept_only_of_generators_whose_states_are_scored():
    """A state is as large as a generator, 220 MB of Pix2Pix; those that nothing reads fill a disk."""
    for name, entry in PARAMS["paper.yaml"]["experiments"].items():
        kept = {key for key, one in entry["generators"].items() if one.get("training", {}).get("keep_every")}
        assert kept <= set((entry.get("states") or {}).get("generators", ())), name


def test_a_set_without_artefacts_has_none_that_the_tagger_sees(params):
    found = []
    for entry in params["experiments"].values():
        if "no_bias" in entry.get("derived_sets", {}):
            found.append(entry["derived_sets"]["no_bias"]["without"])
            assert set(found[-1]) == set(entry["classifiers"][entry["tags"]["classifier"]]["targets"])
    assert found or "melanoma_stages" in params["datasets"]  # that overlay has no such set


def test_taggers_learn_from_photographs_that_somebody_labelled(params):
    """isic_bias.csv names none of ISIC 2018 task 3."""
    for entry in params["experiments"].values():
        if images := entry.get("tags", {}).get("images"):
            data = params["datasets"][images["dataset"]]
            assert data["provider"] == "phantom" or data["source"] == "isic2018_tagged"


# -------------------------------------------------------------------------------------------------------- the schema
def test_the_schema_is_that_of_the_code():
    assert (ROOT / "workflow" / "schemas" / "params.schema.json").read_text("utf-8") == schema_text(), "make schemas"


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", SCHEMA["$defs"])
def test_every_setting_is_described_and_has_no_default(name):
    for setting, schema in SCHEMA["$defs"][name]["properties"].items():
        described = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")] if "$ref" in schema else schema
        inner = [SCHEMA["$defs"][c["$ref"].removeprefix("#/$defs/")] for c in schema.get("anyOf", ()) if "$ref" in c]
        words = described.get("description") or " ".join(one["description"] for one in inner)
        words = words or " ".join(c["then"]["$ref"] for c in schema.get("allOf", ()))
        assert words.strip(), f"{name}.{setting}"
        assert "default" not in schema, f"DVC does not see the default of {setting}"


def test_a_config_says_what_is_wrong_with_it():
    config = PARAMS["params.yaml"]["experiments"]["tuberculosis"]["generators"]["dcgan"]["config"]
    with pytest.raises(InputError, match=r"learning_rate is '1e-4'.*write 1\.0e-4"):
        parse(generators.load("dcgan").Config, {**config, "learning_rate": "1e-4"}, "config")


# -------------------------------------------------------------------------------------------- what YAML would swallow
@pytest.fixture
def check_files():
    """The function of that name of workflow/helpers/params.smk, outside of Snakemake."""
    path = ROOT / "workflow" / "helpers" / "params.smk"
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
        (b"a:\n  steps: 0300\n", r"params\.yaml, line 2: YAML reads 0300 as 192 \(zeros in front: base 8"),
        (b"a: [-0_17]\n", r"line 1: YAML reads -0_17 as -15"),
        (b"a: 1:30\n", r"line 1: YAML reads 1:30 as 90"),
        (b"a: 1:30.5\n", r"line 1: YAML reads 1:30\.5 as 90\.5"),
        (b"a: {010: ill}\n", 'line 1: the key 010 is no text.*write "010" in quotes'),
        (b"a: {true: ill}\n", 'the key true is no text.*write "true" in quotes'),
        (b"a: {No: ill}\n", 'write "No" in quotes'),
        (b"a: {file: {{file}}}\n", r"line 1: a key that is a list or a mapping; a text with braces needs quotes"),
        (b"? [a]\n: b\n", r"a key that is a list or a mapping"),
        (b"a: 1\nb: &b [*b]\n", r"line 2: this anchor holds itself"),
        (b"a: &a {b: [{c: *a}]}\n", r"line 1: this anchor holds itself"),
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
    (tmp_path / "numbers.yaml").write_text("a: [0, 10, -0.05, 1.0e-4, 0x1f, '0300', '1:30', 12:30 h, 08]\n'010': 1\n")
    check_files(tmp_path, [tmp_path / "numbers.yaml"])
    check_files(tmp_path, [])


def helpers(topic, **known) -> dict:
    """The functions of workflow/helpers, outside of Snakemake. known: what the Snakefile would have defined."""
    path = ROOT / "workflow" / "helpers" / f"{topic}.smk"
    namespace = {"user_path": user_path, "is_file": is_file, **known}
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), namespace)
    return namespace


def test_a_tilde_is_the_home_folder_where_settings_name_files_for_snakemake(monkeypatch):
    monkeypatch.setenv("HOME", "/home/of/you")
    answers = {"kind": "files", "files": ["~/a.json", "b.csv"]}
    config = {"experiments": {"mine": {"reader_study": {"answers": answers}}}}
    asked = SimpleNamespace(experiment="mine", generator="gan", part="all")
    found = helpers("reader_study", config=config)["returned_answers"](asked)
    assert found == ["/home/of/you/a.json", "b.csv"]
    training = {"initialise_from": "~/x.pt"}
    known = {"trained_generators": lambda name: {"gan": training}, "repeated": lambda gan: [("all", gan, 0)]}
    assert helpers("train", **known)["initial_checkpoint"](asked) == "/home/of/you/x.pt"


def test_what_an_experiment_knows_is_taken_out_of_all_that_judge_and_of_the_test_of_what_is_diagnosed():
    config = {"experiments": {"mine": {"classes": ["lesion"], "prepare": {}}}}
    channel = {"training": {"targets": ["MEL"]}, "second_test": None}
    known = {
        "tagged_images": lambda name: None,
        "having": lambda method: ["mine"],
        "PARTS": ("train", "validation", "test"),
    }
    known |= {"mask_channel": lambda name: channel, "mask_agreement": lambda name: {}}
    others = helpers("other_images", config=config, **known)
    judge, diagnosed = (SimpleNamespace(experiment="mine", other=other) for other in ("judge", "diagnosed"))
    assert [others["divided"](one) for one in (judge, diagnosed)] == [
        "results/mine/images/judge/unseen.zip", "results/mine/images/diagnosed/all.zip",
    ]  # fmt: skip
    assert [others["dropped_from"](one) for one in (judge, diagnosed)] == ["all", "test"]
    assert [len(others["known_images"](one)) for one in (judge, diagnosed)] == [3, 2]


def test_dvc_writes_back_what_it_read(tmp_path):
    """`dvc exp run -S` writes params.yaml anew by YAML 1.2, where yes needs no quotes; Snakemake reads YAML 1.1."""
    from dvc.utils.serialize import modify_yaml

    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert "!!" not in text, "DVC takes no tags"
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with modify_yaml(str(tmp_path / "params.yaml")) as settings:
        settings["shared"]["machine"]["threads"] = 7
    written = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    expected = yaml.safe_load(text.replace("machine: &machine {threads: 1,", "machine: &machine {threads: 7,"))
    assert written == expected


def precisions(entry: object, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, value in entry.items() if isinstance(entry, dict) else ():
        if key == "precision":
            yield place, value
        else:
            yield from precisions(value, (*place, key))


def test_segmenters_alone_are_trained_as_the_machine_does_it_best():
    """All else is held beside the numbers of other machines in fp32; of segmenters it may be asked for, too."""
    found = dict(precisions(read(ROOT / "params.yaml")["experiments"]))
    chosen = {place: value for place, value in found.items() if value != "fp32"}
    assert set(chosen.values()) == {"auto"}
    tasks = read(ROOT / "params.yaml")["experiments"]
    for experiment, *place in chosen:
        entry = tasks[experiment]
        for key in place:
            entry = entry[key]
        assert "elastic" in entry, f"{experiment}.{'.'.join(place)} is no segmenter"
    segmenter = {"tasks": {"segmentation": {"model": {"training": {"precision": "fp32"}}}}}
    in_fp32 = over(read(ROOT / "params.yaml"), {"experiments": {"nuclei": segmenter}})
    assert best_match(VALIDATOR.iter_errors(in_fp32)) is None


def test_what_a_scale_writes_out_in_full_is_that_of_params():
    """An overlay cannot refer to anchors of params.yaml, and a copy once kept an R1 weight that was changed there."""
    melgan = PARAMS["params.yaml"]["experiments"]["melanoma"]["generators"]["one_class"]
    painter = PARAMS["params.yaml"]["experiments"]["melanoma_segmentation"]["generators"]["pix2pix_1"]
    more = PARAMS["melanoma_more.yaml"]["experiments"]["melanoma"]["generators"]
    isic = PARAMS["dermoscopy_isic.yaml"]["experiments"]["melanoma_segmentation"]["generators"]
    cadence, loss = {"sample_every", "save_every"}, {"l1_weight", "perceptual_layers", "perceptual_weights"}
    for ours, own, but in (
        *((more[name], melgan, set()) for name in ("painted", "reconstructed", "framed")),
        *((isic[f"pix2pix_{number}"], painter, {"discriminator_channels"}) for number in (2, 3)),
        (isic["pix2pix_4"], painter, loss),
    ):
        assert {name for name, value in ours["config"].items() if value != own["config"][name]} == but
        assert {name for name, value in ours["training"].items() if value != own["training"][name]} <= cadence

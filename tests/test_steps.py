"""The table of steps against the functions it names, and which source files a step depends on."""

import dataclasses
import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from synthmed import steps
from synthmed.core import provenance
from synthmed.core.errors import InputError
from synthmed.core.settings import schema
from synthmed.data import sources
from synthmed.extractors import EXTRACTORS
from synthmed.generators import GENERATORS
from synthmed.steps import STEPS, step_code

PHANTOMS = {"source": "montgomery_shenzhen", "provider": "phantom", "options": {}}
NAMING = {
    "fetch": PHANTOMS,
    "prepare": {"source": "folder"},
    "train": {"model": "dcgan"},
    "features": {"extractor": "vgg16"},
}
"""Verb → the part of its settings that its code depends on."""


def code(verb, **settings):
    """Names of the source files of a step, relative to the package."""
    files = step_code(verb, settings or NAMING.get(verb, {}))
    return {path.relative_to(provenance.PACKAGE).as_posix() for path in files}


@pytest.mark.parametrize("verb", STEPS)
def test_what_is_read_from_the_source_is_what_python_sees(verb):
    step = STEPS[verb]
    function, settings = step.load()
    first, *rest = inspect.signature(function).parameters.values()
    assert first.name == "settings"
    assert dataclasses.is_dataclass(settings)
    assert settings.__dataclass_params__.frozen
    for field in dataclasses.fields(settings):
        defaults = (field.default, field.default_factory)
        assert defaults == (dataclasses.MISSING, dataclasses.MISSING), f"{settings.__name__}.{field.name} has a default"
    assert [parameter.name for parameter in rest] == [file.name for file in step.files], "inputs, then outputs"
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in rest)
    hints = typing.get_type_hints(function)
    for file in step.files:
        expected = list[Path] if file.many else Path | None if file.optional else Path
        assert hints[file.name] == expected, f"{function.__name__}({file.name})"
    assert hints["return"] is type(None)
    assert step.outputs


@pytest.mark.parametrize("verb", STEPS)
def test_every_setting_of_a_step_is_described(verb):
    _, settings = STEPS[verb].load()
    for name, described in schema(settings)["$defs"].items():
        assert described["description"], name
        for setting, its in described["properties"].items():
            assert its.get("description") or {"$ref", "allOf", "anyOf"} & set(its), f"{name}.{setting}"


def test_every_function_that_is_marked_is_found():
    marks = [line for path in provenance.PACKAGE.rglob("*.py") for line in path.read_text().splitlines()]
    assert len([line for line in marks if line.startswith("@step(")]) == len(STEPS)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('def f(settings: S, *, images: str) -> None:\n    """Do."""', "images"),
        ('def f(settings: S, *, out: Output) -> None:\n    pass\n\n\ndef g() -> None:\n    """Do."""', "docstring"),
        ('def f(settings: S, *, out: Output):\n    """Do."""', "returns None"),
    ],
)
def test_a_function_that_is_no_step_is_refused(tmp_path, monkeypatch, source, said):
    monkeypatch.setattr(steps, "PACKAGE", tmp_path)
    (tmp_path / "wrong.py").write_text(f'@step("wrong")\n{source}\n')
    with pytest.raises(TypeError, match=said):
        list(steps._marked(tmp_path / "wrong.py"))


def test_two_functions_cannot_be_the_same_step(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "PACKAGE", tmp_path)
    for name in ("one", "two"):
        (tmp_path / "room").mkdir(exist_ok=True)
        (tmp_path / "room" / f"{name}.py").write_text(
            '@step("twice")\ndef f(settings: S, *, out: Output) -> None:\n    """Do."""\n'
        )
    with pytest.raises(TypeError, match=r"twice.*room\.one.*room\.two"):
        steps._found()


@pytest.mark.parametrize("verb", [verb for verb in STEPS if verb != "fetch-weights"])
def test_the_code_of_a_step_are_files_with_its_own_among_them(verb):
    files = step_code(verb, NAMING.get(verb, {}))
    assert files == sorted(set(files))
    assert all(path.is_file() for path in files)
    if verb != "fetch":  # the code that draws phantoms, not the step that calls it
        assert provenance.source_file(STEPS[verb].module) in files


@pytest.mark.parametrize("verb", STEPS)
def test_no_step_depends_on_the_command_line_or_the_table(verb):
    assert not [
        name for name in code(verb) if name in ("cli.py", "steps.py") or name.startswith(("commands/", "core/"))
    ]


SHARED = {f"generators/{name}.py" for name in ("base", "train", "snapshots", "states", "transfer")}


@pytest.mark.parametrize("model", GENERATORS)
def test_a_training_depends_on_its_own_generator_only(model):
    files = code("train", model=model)
    assert {name for name in files if name.startswith("generators/")} - SHARED == {f"generators/{model}.py"}
    assert {"generators/train.py", "generators/base.py", "training/optimizer.py"} <= files


def test_editing_fastgan_retrains_fastgan_and_nothing_else():
    assert "generators/fastgan.py" in code("train", model="fastgan")
    assert "generators/fastgan.py" in code("sample", model="fastgan")
    for verb in STEPS:
        assert "generators/fastgan.py" not in code(verb), verb
    assert "generators/fastgan.py" not in code("train", model="dcgan")
    assert "generators/fastgan.py" not in code("sample", model="dcgan")


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_features_depend_on_their_own_extractor_only(extractor):
    files = {Path(name).name for name in code("features", extractor=extractor) if name.startswith("extractors/")}
    own = Path(EXTRACTORS[extractor].replace(".", "/")).name + ".py"
    others = {Path(module.replace(".", "/")).name + ".py" for module in EXTRACTORS.values()} - {own}
    assert own in files
    assert not others & files


@pytest.mark.parametrize("source", sources.SOURCES)
def test_preparation_depends_on_its_own_reader_only(source):
    files = {name for name in code("prepare", source=source) if name.startswith("data/sources/")}
    own = Path(*sources.SOURCES[source].split(".")[1:]).with_suffix(".py").as_posix()
    others = {Path(*module.split(".")[1:]).with_suffix(".py").as_posix() for module in sources.SOURCES.values()} - {own}
    assert own in files
    # The tagged photographs are those of task 1, which that module knows.
    shared = {"data/sources/isic2018_task1.py"} if source == "isic2018_tagged" else set()
    assert not (others - shared) & files


def test_phantoms_depend_on_the_code_that_draws_them_and_not_on_their_reader():
    files = code("fetch", **PHANTOMS)
    assert "data/phantoms/chest_xray.py" in files
    assert not any(name.startswith(("data/sources/", "prepare/")) for name in files)


@pytest.mark.parametrize("provider", ["download", "file"])
def test_files_from_outside_have_no_code(provider):
    assert code("fetch", source="montgomery_shenzhen", provider=provider, options={}) == set()


def test_weights_have_no_code():
    assert code("fetch-weights", name="vgg16") == set()


def test_an_unknown_provider_is_refused():
    with pytest.raises(InputError, match="no provider 'telepathy'"):
        step_code("fetch", {**PHANTOMS, "provider": "telepathy"})


def test_metrics_and_reports_run_without_torch():
    """Importing torch takes seconds, so the steps that only count must not."""
    heavy = {"train", "sample", "train-extractor", "features", "classify", "validate-verdict", "fetch-weights"}
    heavy |= {"deform-masks", "pair-distances", "train-multi-scale", "scale-forms", "mask-channel", "score-variants"}
    heavy |= {"mask-agreement", "embed", "measure-tags", "reidentify", "score-sets", "edit-set"}
    heavy |= {"train-classifier", "predict", "pseudo-label", "score-networks", "grad-cam", "check-needs"}
    heavy |= {"train-segmenter", "choose-segmenter", "score-segmenters", "validate-segmentation"}
    heavy |= {"describe-networks", "score-states", "choose-state", "mask-diversity", "edit-latents", "path-length"}
    heavy |= {"latent-samples", "move-along-axes", "train-encoder", "anomaly-search", "anomaly-evaluate"}
    for verb in set(STEPS) - heavy:
        for path in step_code(verb, NAMING.get(verb, {})):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                assert not line.startswith(("import torch", "from torch")), f"{verb}: {path}:{number}"


def test_asking_for_the_code_of_every_step_imports_none_of_them():
    """Snakemake does so each time it starts, for every step of every experiment."""
    program = (
        "import sys; from synthmed.steps import STEPS, step_code; "
        f"[step_code(verb, {NAMING!r}.get(verb, {{}})) for verb in STEPS]; "
        "heavy = {'torch', 'scipy', 'pandas', 'matplotlib', 'sklearn'}; "
        "print(*sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"

"""What the Snakefile declares for every step is what the step knows, over params.yaml and every scale."""

import dataclasses

import pytest
import yaml
from checkout import ROOT, new_checkout

from synthmed.core.files import read_json
from synthmed.core.settings import parse
from synthmed.steps import STEPS

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("cluster")]

SCALES = sorted(path.name for path in (ROOT / "workflow/scales").glob("*.yaml"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return new_checkout(tmp_path_factory.mktemp("declared") / "project", None, forked=False)


def overlays(scale: str | None) -> list[str]:
    """The files of settings that a scale lies over, and itself."""
    if scale is None:
        return []
    path = f"workflow/scales/{scale}"
    paper = "workflow/scales/paper.yaml"
    return [paper, path] if f"--configfile {paper} {path} " in (ROOT / path).read_text() else [path]


def test_dvc_lets_an_experiment_depend_on_every_data_set_that_it_may_read():
    """It has no list of them: params.yaml names them in several places."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert stages["experiment"]["do"]["params"] == ["experiments.${key}", "datasets"]


@pytest.mark.parametrize("scale", [None, *SCALES])
def test_every_declared_setting_is_one_of_its_step(checkout, scale):
    files = overlays(scale)
    checkout.snakemake("settle", "-n", "--quiet", "all", *(["--configfile", *files] if files else []))
    declared = read_json(checkout.path / "results/.named.json")["settings"]
    assert len(declared) > 10
    for path, verb in declared.items():
        _, config = STEPS[verb].load()
        content = read_json(checkout.path / path)
        if "workers" in {field.name for field in dataclasses.fields(config)} - {*content}:
            content["workers"] = 1  # by --workers
        parse(config, content, where=path)


def test_that_there_are_no_weights_is_said_once_of_all_experiments(checkout):
    """Melanoma measures LPIPS in two places."""
    registry = checkout.path / "src/synthmed/weights/registry.py"
    text = registry.read_text()
    try:
        registry.write_text(text.replace("elif source.locate() is None:", "elif True:"))
        done = checkout.snakemake("settle", "-n", "--quiet", "all")
    finally:
        registry.write_text(text)
    (said,) = [line for line in done.stderr.splitlines() if "no weights of LPIPS" in line]
    assert "is not installed" in said
    named = said.partition("it is not measured in ")[2].split(", ")
    assert {"melanoma", "nuclei", "tuberculosis"} <= {*named}
    assert len(named) == len({*named})
    assert read_json(checkout.path / "results/melanoma/settings/pair_distances.json")["lpips"] is None


def test_the_report_knows_what_was_trained_for_every_set(checkout):
    """Of a filtered set the generator whose images it keeps; and images that are drawn again count with the first."""
    checkout.snakemake("settle", "-n", "--quiet", "all")
    results = checkout.path / "results"
    sets = read_json(results / "melanoma/settings/section.answer.classification.json")["generators"]
    assert {sets[name]["of"] for name in ("cgan", "no_bias", "no_frames", "edited")} == {"cgan"}
    declared = yaml.safe_load((ROOT / "params.yaml").read_text())["experiments"]["pathology_patches"]["generators"]
    again = {name: one["of"] for name, one in declared.items() if one["model"] == "drawn_again"}
    assert again
    page = read_json(results / "pathology_patches/settings/page.json")
    assert page["generators"] == len(declared) - len(again)
    metrics = read_json(results / "pathology_patches/settings/metrics.json")
    for name, of in again.items():
        assert metrics["trained_as"][name] == metrics["generators"][of] != metrics["generators"][name]

"""The whole DAG on a tiny parameter file, as a user runs it."""

import csv
import itertools
import json
import re

import pytest
from checkout import ROOT, new_checkout

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

RESULTS = "results/tuberculosis"


def artefacts(checkout, folder="results"):
    """Every artefact that has a provenance record, with its hash there."""
    found = {}
    for path in sorted((checkout.path / folder).rglob("*.provenance.json")):
        name = path.relative_to(checkout.path).as_posix().removesuffix(".provenance.json")
        if "/settings/" in name:  # of the section `provenance`
            continue
        found[name] = json.loads(path.read_text())["sha256"]
    return found


def test_everything_is_made_and_says_what_it_was_made_from(finished):
    report = (finished.path / RESULTS / "report.html").read_text()
    assert "<img" in report
    for name in artefacts(finished):
        record = json.loads((finished.path / f"{name}.provenance.json").read_text())
        assert record["inputs"], name
        assert record["code"], name
        assert isinstance(record["settings"], dict), name
        assert record["versions"]["numpy"], name
    recorded = set(artefacts(finished))
    for path in (finished.path / "results").rglob("*"):
        name = path.relative_to(finished.path).as_posix()
        if (
            path.is_file()
            and not name.endswith(".provenance.json")
            and "/settings/" not in name
            and not path.name.startswith(".")
            and path.name != "index.html"  # with times of this machine: no artefact
        ):
            assert name in recorded, f"{name} does not say what it was made from"


def test_trainings_of_a_generator_differ_by_their_seed(finished):
    settings = {
        part: json.loads((finished.path / RESULTS / "settings" / f"train.dcgan.{part}.json").read_text())
        for part in ("normal", "abnormal", "normal_r2", "abnormal_r2")
    }
    seeds = [one["seed"] for one in settings.values()]
    assert seeds[0] == 1, "that of the experiment"
    # Of neighbours, as seed + repeat would be, other experiments have those of their repeats.
    assert all(abs(one - other) > 1000 for one, other in itertools.combinations(seeds, 2))
    assert settings["normal_r2"] == settings["normal"] | {"seed": seeds[2]}
    recorded = artefacts(finished)
    folder = f"{RESULTS}/generators/dcgan"
    assert recorded[f"{folder}/normal.pt"] != recorded[f"{folder}/normal_r2.pt"]
    with open(finished.path / RESULTS / "tasks" / "classification" / "arms.csv", newline="") as handle:
        used = {
            (row["seed"], "_r2_" in row["image"])
            for row in csv.DictReader(handle)
            if row["arm"] == "dcgan" and row["set"] == "dcgan"
        }
    assert used == {("0", False), ("1", True)}, "each seed of the classifier draws from one training"


def test_no_result_carries_nan(finished):
    for path in (finished.path / "results").rglob("*"):
        if path.suffix in (".csv", ".json"):
            assert not re.search(r"\b(nan|inf|infinity)\b", path.read_text(), re.IGNORECASE), path


def test_tables_name_their_extractor_and_label_the_documents_numbers(finished):
    tables = sorted((finished.path / RESULTS / "tables").glob("*.csv"))
    assert len(tables) >= 9
    for path in tables:
        with open(path, newline="") as handle:
            rows = list(csv.DictReader(handle))
        assert rows, path
    with open(finished.path / RESULTS / "tables" / "answer.classification.arms.csv", newline="") as handle:
        columns = csv.DictReader(handle).fieldnames
    assert any(column.startswith("reference_") for column in columns)


def test_nothing_is_left_to_do_and_nothing_is_stale(finished):
    assert finished.planned() == set()
    finished.run("synthmed", "settle", "--check", "results", "data")


def test_two_runs_in_two_folders_are_equal_byte_for_byte(finished, tmp_path):
    """The first by a fork server, the second without."""
    second = new_checkout(tmp_path / "second", forked=False)
    second.snakemake()
    first, other = artefacts(finished), artefacts(second)
    assert first.keys() == other.keys()
    different = [name for name in first if first[name] != other[name]]
    assert not different


def test_a_changed_setting_plans_that_generator_and_its_dependants_only(finished):
    finished.edit_params(experiments__tuberculosis__generators__dcgan__config__dropout=0.11)
    try:
        done = finished.snakemake("-n", "--printshellcmds")
        trained = set(re.findall(r"synthmed train --settings \S*train\.(\w+)\.\w+\.json", done.stdout + done.stderr))
        assert trained == {"dcgan"}
    finally:
        finished.git("checkout", "-q", "params.yaml")
    assert finished.planned() == set()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"experiments__tuberculosis__generators__dcgan__config__dropout": "much"}, "dropout"),
        ({"experiments__tuberculosis__generators__dcgan__config": {"droput": 0.1}}, "droput"),
        ({"experiments__tuberculosis__dataset": 3}, "dataset"),
    ],
)
def test_a_misspelt_or_mistyped_setting_stops_before_anything_runs(finished, change, named):
    finished.edit_params(**change)
    try:
        done = finished.snakemake("-n", check=False)
        assert done.returncode != 0
        assert named in done.stdout + done.stderr
    finally:
        finished.git("checkout", "-q", "params.yaml")


def test_a_second_run_is_refused_and_told_who_runs(finished):
    from synthmed.core.lock import hold

    with hold(finished.path / "results"):
        done = finished.snakemake(check=False)
    assert done.returncode != 0
    assert re.search(r"a run is going on there \(process \d+ on \S+\)", done.stdout + done.stderr)


def test_the_paper_scale_is_a_whole_dag(tmp_path):
    """Dry run only: the documents' own data and settings; also checks them against the schema."""
    checkout = new_checkout(tmp_path / "paper")
    (checkout.path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    done = checkout.snakemake("-n", "--configfile", "workflow/scales/paper.yaml")
    text = done.stdout + done.stderr
    assert "synthmed train" in text
    assert "report.html" in text
    # As the document did, two GPUs train each PGGAN: that of the arms, and that of the anomaly search.
    assert text.count("gpu=2") == 2


def test_the_report_of_snakemake(finished, tmp_path):
    out = tmp_path / "report.html"
    finished.snakemake("--report", str(out))
    assert out.stat().st_size > 100_000

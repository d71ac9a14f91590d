"""DVC and Snakemake together: every result is the one of the settings, data and code as they are now."""

import json
import os
import re

import pytest
import yaml
from checkout import Checkout

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]

RESULTS = "results/tuberculosis"


def hashes(checkout) -> dict[str, str]:
    return {
        path.relative_to(checkout.path).as_posix(): json.loads(path.read_text())["sha256"]
        for path in sorted((checkout.path / RESULTS).rglob("*.provenance.json"))
        if path.parent.name != "settings"
    }


def times(checkout) -> dict[str, int]:
    """Inode and time of every checkpoint and image set: a file that was made again has another."""
    return {
        path.relative_to(checkout.path).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted((checkout.path / RESULTS).rglob("*"))
        if path.suffix in (".pt", ".zip", ".npz")
    }


def made_again(before: dict, after: dict) -> set[str]:
    return {name.removeprefix(f"{RESULTS}/") for name in after if before.get(name) != after[name]}


@pytest.fixture
def clone(finished, tmp_path) -> Checkout:
    """What a colleague has after `git clone` and `dvc pull`: new times everywhere, no records of Snakemake's."""
    finished.git("clone", "-q", str(finished.path), str(tmp_path / "clone"))
    checkout = Checkout(tmp_path / "clone")
    checkout.git("config", "user.name", "test")
    checkout.git("config", "user.email", "test@localhost")
    checkout.run("dvc", "pull")
    return checkout


# Two classes, each trained twice (`repeats` in tiny.yaml).
DCGAN = {f"generators/dcgan/{training}.pt" for training in ("normal", "normal_r2", "abnormal", "abnormal_r2")}
STATES = {name.replace(".pt", ".states.zip") for name in DCGAN}
DROPOUT = "experiments__tuberculosis__generators__dcgan__config__dropout"


def test_after_clone_and_pull_nothing_is_to_do(clone):
    clone.snakemake("settle")
    assert clone.planned() == set()


def test_after_clone_and_pull_one_changed_setting_rebuilds_that_part_only(clone):
    clone.edit_params(**{DROPOUT: 0.11})
    clone.snakemake("settle")
    before = times(clone)
    clone.snakemake()
    changed = made_again(before, times(clone))
    assert {name for name in changed if name.startswith("generators/")} == DCGAN | STATES
    assert {name for name in changed if name.startswith("images/")} == {"images/synthetic/dcgan.zip"}
    settings = json.loads((clone.path / RESULTS / "generators/dcgan/normal.pt.provenance.json").read_text())["settings"]
    assert settings["config"]["dropout"] == 0.11
    clone.run("synthmed", "settle", "--check", "results")


def test_an_edited_source_file_retrains_that_generator_only(clone):
    source = clone.path / "src/synthmed/generators/fastgan.py"
    source.write_text(source.read_text() + "\n# an edit\n")
    clone.snakemake("settle")
    done = clone.snakemake("-n", "--printshellcmds")
    trained = re.findall(r"synthmed train --settings \S*/train\.(\w+)\.\w+\.json", done.stdout + done.stderr)
    assert set(trained) == {"fastgan"}
    clone.git("checkout", "-q", ".")
    clone.run("dvc", "checkout", "--force")
    clone.snakemake("settle")
    assert clone.planned() == set()


def test_repro_after_an_edit_of_params_checkout_of_the_old_commit_and_back(clone):
    old = hashes(clone)
    clone.snakemake("settle")
    before = times(clone)
    clone.edit_params(**{DROPOUT: 0.11})
    clone.run("dvc", "repro")
    new = hashes(clone)
    changed = {name for name in made_again(before, times(clone)) if name.endswith(".pt")}
    assert changed == DCGAN
    difference = json.loads(clone.run("dvc", "metrics", "diff", "--json").stdout)
    assert difference, "the change of a generator changed no metric"
    plots = clone.run("dvc", "plots", "diff", "HEAD", "--out", str(clone.path.parent / "plots"))
    assert "index.html" in plots.stdout
    clone.git("commit", "-q", "-a", "-m", "another dropout")

    clone.git("checkout", "-q", "HEAD~1")
    clone.run("dvc", "checkout")
    clone.snakemake("settle")
    assert hashes(clone) == old
    assert clone.planned() == set()

    clone.git("checkout", "-q", "main")
    clone.run("dvc", "checkout")
    clone.snakemake("settle")
    assert hashes(clone) == new
    assert clone.planned() == set()
    assert "up to date" in clone.run("dvc", "repro").stdout


def test_an_experiment_of_dvc(clone):
    setting = "experiments.tuberculosis.tasks.classification.model.training.seeds"
    clone.run("dvc", "exp", "run", "-n", "other-seed", "-S", f"{setting}=4")
    experiment = yaml.safe_load((clone.path / "params.yaml").read_text())["experiments"]["tuberculosis"]
    assert experiment["tasks"]["classification"]["model"]["training"]["seeds"] == 4
    shown = clone.run("dvc", "exp", "show", "--csv").stdout
    assert "other-seed" in shown
    clone.run("synthmed", "settle", "--check", "results")


def test_a_stale_artefact_is_refused(clone):
    clone.snakemake("settle")
    path = clone.path / RESULTS / "images/train.zip"
    os.chmod(path, 0o644)
    with open(path, "ab") as handle:
        handle.write(b"tampered")
    done = clone.run("synthmed", "settle", "--check", "results", check=False)
    assert done.returncode == 1
    assert "images/train.zip: its bytes are not the recorded ones" in done.stderr

"""A setting that only chooses which files a step reads, and so stands in none of its settings."""

import json
import shutil

import pytest
import yaml
from checkout import new_checkout

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("cluster")]

TRAIN = "results/tuberculosis/images/train.zip"
CHECK = ("synthmed", "settle", "--named", "results/.named.json", "--check", "results")


def test_an_experiment_gets_another_data_set_of_the_same_source(tmp_path):
    """In a clone, where Snakemake has no memory, and there and back."""
    checkout = new_checkout(tmp_path / "project", forked=False)
    params = yaml.safe_load((checkout.path / "params.yaml").read_text())
    first = params["datasets"]["tuberculosis_xrays"]
    params["datasets"]["other"] = {**first, "options": {**first["options"], "normal": 46}}
    (checkout.path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    checkout.snakemake("data_other")
    checkout.snakemake(TRAIN)
    record = checkout.path / f"{TRAIN.replace('train', 'raw')}.provenance.json"
    before = record.read_bytes()
    assert checkout.planned("--", TRAIN) == set()
    checkout.run(*CHECK)
    checkout.edit_params(experiments__tuberculosis__prepare__workers=5)
    assert checkout.planned("--", TRAIN) == set(), "how many work changes no image"

    shutil.rmtree(checkout.path / ".snakemake")
    checkout.edit_params(experiments__tuberculosis__dataset="other")
    assert checkout.planned("--", TRAIN) == {"prepare", "split"}
    done = checkout.run(*CHECK, check=False)
    assert done.returncode == 1
    assert "raw.zip: the settings choose other inputs for it now (data/other/raw/" in done.stderr
    checkout.snakemake(TRAIN)
    assert all("xrays" not in name for name in json.loads(record.read_text())["inputs"])
    assert checkout.planned("--", TRAIN) == set()
    checkout.run(*CHECK)

    checkout.edit_params(experiments__tuberculosis__dataset="tuberculosis_xrays")
    checkout.snakemake("settle")
    assert not record.exists()
    checkout.snakemake(TRAIN)
    assert record.read_bytes() == before
    checkout.run(*CHECK)

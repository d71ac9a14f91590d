"""A rare class and the probe of the background, from phantoms to their sections, as a user runs them."""

import csv
import json

import pytest
from checkout import new_checkout

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("viral")]

RESULTS = "results/viral_pneumonia"


def test_arms_of_a_rare_class_and_what_the_background_tells(tmp_path):
    checkout = new_checkout(tmp_path / "project", "tiny_viral_pneumonia.yaml")
    sections = [
        f"{RESULTS}/sections/{name}.json" for name in ("task.classification", "background", "networks", "states")
    ]
    checkout.snakemake(*sections)
    train = json.loads((checkout.path / RESULTS / "images" / "split.json").read_text())["counts"]["train"]
    assert train == {"normal": 24, "viral_pneumonia": 8}
    verdicts = json.loads((checkout.path / RESULTS / "tasks" / "classification" / "verdicts.json").read_text())
    sizes = {name: arm["n_train"] for name, arm in verdicts["arms"].items()}
    balanced = dict.fromkeys(("fastgan", "oracle", "duplicates_part", "classic_part"), 48)
    some = dict.fromkeys(("fastgan_n4", "oracle_n4", "duplicates_n4", "classic_n4"), 36)
    assert sizes == {"real": 32, "class_weights": 32, "duplicates": 64, "classic": 96, **balanced, **some}
    assert "auprc" in verdicts["outcomes"]
    with open(checkout.path / RESULTS / "tables" / "background.regions.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["region"] for row in rows[:2]] == ["whole image", "outside of the lungs"]
    assert (checkout.path / RESULTS / "generators" / "fastgan" / "viral_pneumonia.chosen.pt").is_file()
    # What it took lies beside the logs, and is planned by nobody.
    with open(checkout.path / "logs" / "costs.csv", newline="") as handle:
        (cost,) = csv.DictReader(handle)
    assert (cost["generator"], cost["samples"], cost["note"]) == ("FastGAN", "20", "")
    assert float(cost["training_seconds"]) > 0
    assert checkout.planned("--", *sections) == set()

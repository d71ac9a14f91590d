"""Whole slides, whom a classifier of patients recognises, and a split by patches, as a user runs them."""

import csv
import json
from collections import Counter

import pytest
from checkout import new_checkout

from synthmed.data.imageset import ImageSet

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("pathology")]

RESULTS = "results/pathology_patches"


def test_from_slides_to_who_is_recognised_and_a_split_that_leaks(tmp_path):
    checkout = new_checkout(tmp_path / "project", "tiny_pathology_patches.yaml")
    names = ("slides", "reidentification", "answer.tumour", "answer.patch_split", "answer.stage", "networks")
    sections = [f"{RESULTS}/sections/{name}.json" for name in names]
    checkout.snakemake(*sections)
    images = checkout.path / RESULTS / "images"
    train, unseen = ImageSet(images / "train.zip"), ImageSet(images / "unseen.zip")
    assert set(unseen.column("patient")) == set(train.column("patient"))
    assert not set(unseen.column("image")) & set(train.column("image"))
    results = json.loads((checkout.path / RESULTS / "reidentification" / "results.json").read_text())
    assert [(row["variant"], row["patients"]) for row in results["rows"]] == [
        (variant, count) for variant in ("plain", "normalised") for count in (4, 6)
    ]
    assert results["sets"] == ["singan", "singan_from_32"]
    # Drawn again from the same networks, which are trained once.
    generators = checkout.path / RESULTS / "generators"
    assert [path.name for path in generators.iterdir()] == ["singan"]
    assert len(ImageSet(images / "synthetic" / "singan_from_32.zip")) == 18
    verdicts = {
        task: json.loads((checkout.path / RESULTS / "tasks" / task / "verdicts.json").read_text())
        for task in ("tumour", "patch_split", "stage")
    }
    assert {task: found["leaking"] for task, found in verdicts.items()} == {
        "tumour": False,
        "patch_split": True,
        "stage": False,
    }
    assert verdicts["stage"]["classes"] == ["negative", "macro"]
    summary = json.loads((checkout.path / RESULTS / "tasks" / "stage" / "summary.json").read_text())
    assert summary["images"]["train"] == dict(Counter(train.column("stage")))
    assert verdicts["patch_split"]["images"]["test"] == len(unseen)
    assert {"fewer_x0.33", "only_singan_x0.33", "fewer_x0.67"} <= set(verdicts["tumour"]["arms"])
    leaks = json.loads((checkout.path / RESULTS / "sections" / "answer.patch_split.json").read_text())["html"]
    assert "This test leaks" in leaks
    with open(checkout.path / RESULTS / "tables" / "reidentification.real.csv", newline="") as handle:
        assert len(list(csv.DictReader(handle))) == 4
    assert checkout.planned("--", *sections) == set()

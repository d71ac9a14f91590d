"""Melanoma and its frames, from phantoms to the page, as a user runs it."""

import csv
import json

import pytest
from checkout import new_checkout

from synthmed.data.imageset import ImageSet

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("melanoma")]

RESULTS = "results/melanoma"


def test_the_experiment_runs_to_its_page(tmp_path):
    checkout = new_checkout(tmp_path / "project", "tiny_melanoma.yaml")
    checkout.snakemake("experiment_melanoma")
    folder = checkout.path / RESULTS
    split = json.loads((folder / "images" / "split.json").read_text())
    assert split["patients_known"] is True
    log = (checkout.path / "logs" / "melanoma" / "train.one_class.malignant.log").read_text()
    assert "begins with the weights of" in log
    assert "benign.pt" in log
    said = json.loads((folder / "tasks" / "classification" / "summary.json").read_text())["selection"]
    assert ". Thresholds: the largest Youden index" in said
    verdicts = json.loads((folder / "tasks" / "classification" / "verdicts.json").read_text())
    assert {"real", "duplicates", "cgan", "only_cgan", "only_no_frames", "undersampled_cgan"} <= set(verdicts["arms"])
    assert {arm: one["set"] for arm, one in verdicts["not_made"].items()} == {
        "only_no_bias": "no_bias", "only_edited": "edited",
    }  # fmt: skip
    with open(folder / "tables" / "answer.classification.arms.csv", newline="") as handle:
        shown = {row["arm"]: row for row in csv.DictReader(handle)}
    row = shown["cGAN without artefacts only"]
    assert (row["verdict"], row["auroc"], row["n_train"]) == ("not made", "", "")
    assert "and 80 were asked for" in row["note"]
    assert "nothing could be edited out" in shown["cGAN, frames edited out only"]["note"]
    report = (folder / "report.html").read_text()
    assert report.count("could not be made") >= 6, "in the answer, on frames, on artefacts and on readers"
    assert [pair["names"] for pair in verdicts["against"]] == [["undersampled", "undersampled_cgan"]]
    with open(folder / "tables" / "latent_editing.path_length.csv", newline="") as handle:
        lengths = {(row["generator"], row["training"], row["label"]) for row in csv.DictReader(handle)}
    assert lengths == {
        ("cGAN", "both", "malignant"), ("benGAN and melGAN", "benign", ""), ("benGAN and melGAN", "malignant", ""),
    }  # fmt: skip
    shown = ImageSet(folder / "readers" / "key.zip").rows
    tags = ("dark_corner", "hair", "ruler")
    assert {row[tag] for row in shown for tag in tags} <= {"yes", "no"}, "generated ones, too"
    assert {row["outlier"] in ("yes", "no") for row in shown if row["set"] == "cgan"} == {True}
    with open(folder / "tables" / "quality.fidelity_by_class.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["generator"] for row in rows} == {"cGAN", "benGAN and melGAN"}
    assert checkout.planned("--", "experiment_melanoma") == set()

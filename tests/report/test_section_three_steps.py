"""The section on the three steps: its tables, figures and sentences follow from the result files."""

import json

import numpy as np
import pytest
from PIL import Image
from synthmed.evaluation.three_steps import ThreeStepsSettings, three_steps

from made_up_classifiers import classifier, plan
from synthmed.classifiers import network
from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.settings import parse
from synthmed.evaluation.grad_cam import GradCamSettings, grad_cam
from synthmed.evaluation.pseudo_labels import PseudoLabelSettings, pseudo_label
from synthmed.report.charts.three_steps import mean_curve
from synthmed.report.sections.three_steps import FILES, SectionSettings, section

CLASSES = ["normal", "abnormal"]
LABELS = CLASSES * 20


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """All three steps with classifiers whose likelihoods are planned; the classifier (synthetic) is the worse."""
    folder = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(0)
    known = {
        "real.pt": classifier((0.0, 0.01, -0.01), (0.5, 0.5, 0.5), size=16),
        "synthetic.pt": classifier((0.2, 0.3, 0.25), (0.5, 0.5, 0.5), size=16),
    }
    percents = [int(np.clip(rng.normal(65 if label == "abnormal" else 35, 16), 5, 95)) for label in LABELS]
    boxes = ["mass:0,0,4,4" if label == "abnormal" else "" for label in LABELS]
    for name in ("train", "validation", "test"):
        plan(folder / f"{name}.zip", percents, LABELS, size=16, boxes=boxes)
    plan(folder / "unlabelled.zip", [10, 90, 50] * 50, ["unlabelled"] * 150, size=16)
    common = {"classes": CLASSES, "positive": "abnormal", "seed": 1, "batch_size": 50, "threads": 1, "device": "cpu"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "load", lambda path: known[path.name])
        pseudo_label(
            parse(PseudoLabelSettings, {**common, "upper": 0.7, "lower": 0.3, "minimum": 5}),
            unlabelled=folder / "unlabelled.zip",
            classifier=folder / "real.pt",
            **{name: folder / f"{name}.zip" for name in ("train", "validation", "test")},
            synthetic=folder / "synthetic.zip",
            report=folder / "pseudo_labels.json",
        )
        classifiers = {f"{name}_classifier": folder / f"{name}.pt" for name in ("real", "synthetic")}
        files = {"predictions": folder / "predictions.csv", "summary": folder / "summary.json"}
        three_steps(
            parse(ThreeStepsSettings, {**common, "alpha": 0.05, "margin": 0.05, "resamples": 100}),
            **classifiers,
            **files,
            test=folder / "test.zip",
            synthetic=folder / "synthetic.zip",
        )
        grad_cam(
            GradCamSettings("abnormal", 1, 50, 1, "cpu"),
            **classifiers,
            **files,
            test=folder / "test.zip",
            out=folder / "cam.json",
            maps=folder / "maps.zip",
        )
    return folder


def run(results, folder, **changed):
    names = {"pseudo_labels": "pseudo_labels.json", "summary": "summary.json", "cam": "cam.json"}
    for name, change in changed.items():
        content = read_json(results / names[name])
        change(content)
        write_json(folder / names[name], content)
    out = [folder / f"{name}.{'csv' if name.startswith('table') else 'png'}" for name in FILES]
    section(
        SectionSettings("PGGAN", 3, 1),
        **{name: (folder if name in changed else results) / file for name, file in names.items()},
        maps=results / "maps.zip",
        test=results / "test.zip",
        synthetic=results / "synthetic.zip",
        section=folder / "three_steps.json",
        out=out,
    )
    return read_json(folder / "three_steps.json"), {path.stem: path for path in out}


def test_every_exhibit_is_written_and_named(results, tmp_path):
    made, paths = run(results, tmp_path)
    assert made["key"] == "three_steps"
    named = [entry["file"] for kind in ("tables", "figures") for entry in made[kind]]
    assert sorted(named) == sorted(path.name for path in paths.values())
    for name, path in paths.items():
        if path.suffix == ".png":
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("L"))
            assert min(pixels.shape) > 200, name
            assert (pixels < 200).mean() > 0.01, name
    first = {name: path.read_bytes() for name, path in paths.items()}
    run(results, tmp_path)
    assert {name: path.read_bytes() for name, path in paths.items()} == first


def test_confusion_matrices_stand_in_the_documents_form(results, tmp_path):
    _, paths = run(results, tmp_path)
    summary = read_json(results / "summary.json")
    for table, key in (("table_3", "real_on_real"), ("table_5", "synthetic_on_real")):
        rows = read_csv(paths[table])
        (tn, fp), (fn, tp) = summary["experiments"][key]["confusion"]["mean"]
        numbers = [[float(row[column]) for column in ("normal", "abnormal", "total")] for row in rows]
        assert [row["predicted"] for row in rows] == ["normal", "abnormal", "total"]
        assert np.array(numbers) == pytest.approx(
            np.array([[tn, fn, tn + fn], [fp, tp, fp + tp], [20, 20, 40]]), abs=0.05
        )
    # Seed 004, Tables 3 and 5, as printed.
    printed = [[row[f"reference_{c}"] for c in ("normal", "abnormal", "total")] for row in read_csv(paths["table_3"])]
    assert printed == [["1312", "92", "1404"], ["109", "1540", "1549"], ["1321", "1632", "3053"]]
    assert "1,421, not 1,321" in read_csv(paths["table_3"])[0]["reference_note"]
    assert [row["reference_total"] for row in read_csv(paths["table_5"])] == ["1286", "1767", "3053"]
    assert not read_csv(paths["table_5"])[0]["reference_note"]


def test_results_and_tests_stand_beside_the_documents(results, tmp_path):
    _, paths = run(results, tmp_path)
    summary = read_json(results / "summary.json")
    rows = read_csv(paths["table_three_steps"])
    assert [row["reference_auroc"] for row in rows] == ["0.983", "0.9673", "0.881", ""]
    for row, key in zip(
        rows, ("real_on_real", "synthetic_on_synthetic", "synthetic_on_real", "real_on_synthetic"), strict=True
    ):
        for name in ("auroc", "sensitivity", "specificity", "accuracy"):
            assert float(row[name]) == pytest.approx(summary["experiments"][key][name]["value"])
    assert rows[3]["auroc_low"] == ""
    assert "so there is no interval" in rows[3]["note"]
    tests = read_csv(paths["table_auroc_tests"])
    assert [row["method"].split(" (")[0] for row in tests] == [
        "trainings as readers", "DeLong 1988", "Hanley-McNeil 1983, paired",
        "trainings as readers, Welch", "Hanley-McNeil 1982, independent",
        "trainings as readers", "Hanley-McNeil 1982, independent",
    ]  # fmt: skip
    assert [row["reference_p"] for row in tests] == ["< 0.0001"] + [""] * 6
    assert tests[0]["result"] == summary["comparisons"]["synthetic_on_real - real_on_real"]["verdict"]
    parts = read_csv(paths["table_pseudo_labels"])
    assert [row["part"] for row in parts] == ["train", "validation", "test"]
    assert [int(row["real_abnormal"]) for row in parts] == [20, 20, 20]


def test_of_other_classes_there_are_no_references(results, tmp_path):
    def renamed(summary):
        summary["classes"] = ["benign", "melanoma"]
        summary["positive"] = "melanoma"

    _, paths = run(results, tmp_path, summary=renamed)
    row = read_csv(paths["table_3"])[0]
    assert row["predicted"] == "benign"
    assert row["reference_total"] == ""
    assert not row["note"]


@pytest.mark.parametrize(
    ("word", "p", "words"),
    [
        ("inferior", 0.001, ["is worse", "speaks against equality, not for it"]),
        ("superior", 0.001, ["is better", "speaks against equality"]),
        ("equivalent", 0.5, ["are equivalent", "within the margin of ±0.05 that was set beforehand."]),
        ("equivalent", 0.001, ["are equivalent", "although the difference itself is measurable"]),
        ("no evidence of a difference", 0.4, ["no evidence that the two", "not evidence of equality"]),
    ],
)
def test_the_sentence_follows_the_verdict(results, tmp_path, word, p, words):
    def decided(summary):
        found = summary["comparisons"]["synthetic_on_real - real_on_real"]
        found["verdict"], found["p"] = word, p
        found["difference"] = {"value": -0.01, "low": -0.06, "high": 0.04}

    made, _ = run(results, tmp_path, summary=decided)
    text = " ".join(made["paragraphs"])
    for part in words:
        assert part in text
    assert "document reports p < 0.0001" in text
    assert "a difference that is not significant is not equality" in text
    assert "separable by construction" in text


def test_without_variance_neither_a_difference_nor_equality_is_said(results, tmp_path):
    def nothing(summary):
        found = summary["comparisons"]["synthetic_on_real - real_on_real"]
        found |= {"verdict": "no evidence of a difference", "p": None}
        found["difference"] = {"value": 0.0, "low": None, "high": None}

    made, paths = run(results, tmp_path, summary=nothing)
    text = " ".join(made["paragraphs"])
    assert "the difference of the areas is +0.000. The likelihoods leave no variance to estimate" in text
    assert "and it does not" not in text
    assert read_csv(paths["table_auroc_tests"])[0]["p"] == ""


def test_sentences_on_labels_and_maps(results, tmp_path):
    made, _ = run(results, tmp_path)
    text = " ".join(made["paragraphs"])
    assert "looked at 150 images of PGGAN and was confident of 50 normal and 50 abnormal; 50 (33.3 %)" in text
    # 50 for 60 needed of each class
    assert "0.83 times as large" in text
    assert "In 20 abnormal images with boxes, which cover 6.2 % of an image" in text

    def enough(labelled):
        labelled["factor"] = 1.0

    def unboxed(looked):
        looked["boxed"] = 0

    made, _ = run(results, tmp_path, pseudo_labels=enough, cam=unboxed)
    text = " ".join(made["paragraphs"])
    assert "As many of them as there are real ones" in text
    assert "No test image has annotated boxes" in text
    assert "None" not in json.dumps(made)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 0.3, "times as much as by chance)"),
        (-0.3, -0.1, "times as much as by chance, which is less than chance)"),
        (-0.1, 0.1, "times as much as by chance, which may be chance)"),
        (None, None, "times as much as by chance, which may be chance)"),
    ],
)
def test_the_words_on_maps_follow_the_interval(results, tmp_path, low, high, words):
    def measured(looked):
        for found in looked["inside"].values():
            found["every"]["difference"] |= {"low": low, "high": high}

    text = " ".join(run(results, tmp_path, cam=measured)[0]["paragraphs"])
    assert text.count(words) == 2


def test_a_curve_is_averaged_at_equal_false_positive_rates():
    one = {"false_positive_rate": [0, 0, 0.5, 1], "true_positive_rate": [0, 0.5, 1, 1]}
    two = {"false_positive_rate": [0, 1], "true_positive_rate": [0, 1]}
    rate, mean = mean_curve([one, two], 5)
    assert rate.tolist() == [0, 0, 0.25, 0.5, 0.75, 1]
    assert mean == pytest.approx([0, 0.25, 0.5, 0.75, 0.875, 1])


def test_wrong_outputs_are_refused(results, tmp_path):
    with pytest.raises(InputError, match="examples is 0"):
        section(
            SectionSettings("PGGAN", 0, 1),
            **dict.fromkeys(("pseudo_labels", "summary", "cam", "maps", "test", "synthetic"), tmp_path),
            section=tmp_path / "s.json",
            out=[],
        )

"""The four experiments and their comparisons, with classifiers whose likelihoods are planned."""

import csv

import numpy as np
import pytest
from scipy import stats

from made_up_classifiers import classifier, plan
from synthmed.classifiers import network
from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.core.settings import parse
from synthmed.evaluation import three_steps as module
from synthmed.evaluation.three_steps import ThreeStepsSettings, three_steps, verdict
from synthmed.metrics.classification import auroc, clopper_pearson
from synthmed.metrics.statistics import SeedTest, delong_test

VALUES = {
    "classes": ["normal", "abnormal"],
    "positive": "abnormal",
    "alpha": 0.05,
    "margin": 0.05,
    "resamples": 200,
    "seed": 1,
    "batch_size": 8,
    "threads": 1,
    "device": "cpu",
}
LABELS = ["normal", "abnormal"] * 10
REAL = [20, 80, 30, 70, 10, 40, 60, 90, 25, 75, 15, 85, 35, 65, 45, 55, 5, 95, 22, 78]
SYNTHETIC = [10, 90] * 10


def settings(**changes):
    return parse(ThreeStepsSettings, VALUES | changes)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The classifier (real) reads the planned likelihood, the classifier (synthetic) one that is 16 points higher."""
    known = {
        "real.pt": classifier((0.0, 0.0, 0.01), (0.5, 0.42, 0.5)),
        "synthetic.pt": classifier((0.16, 0.16, 0.16), (0.5, 0.5, 0.5)),
        "two.pt": classifier((0.0, 0.0), (0.5, 0.5)),
        "one.pt": classifier((0.0,), (0.5,)),
    }
    monkeypatch.setattr(network, "load", lambda path: known[path.name])
    plan(tmp_path / "test.zip", REAL, LABELS, patients=[f"p{number // 2}" for number in range(20)])
    plan(tmp_path / "synthetic.zip", SYNTHETIC * 2, LABELS * 2, part=["test"] * 20 + ["train"] * 20)
    return tmp_path


def run(folder, chosen=None, real="real.pt", synthetic="synthetic.pt"):
    three_steps(
        chosen or settings(),
        real_classifier=folder / real,
        synthetic_classifier=folder / synthetic,
        test=folder / "test.zip",
        synthetic=folder / "synthetic.zip",
        predictions=folder / "predictions.csv",
        summary=folder / "summary.json",
    )
    with open(folder / "predictions.csv", newline="") as handle:
        return list(csv.DictReader(handle)), read_json(folder / "summary.json")


def test_predictions_of_every_experiment_seed_and_image(files):
    rows, _ = run(files)
    assert len(rows) == 4 * 3 * 20  # of the synthetic set the test part only
    assert list(rows[0]) == list(module.COLUMNS)
    found = {(r["classifier"], r["test"], r["seed"], r["image"]): r for r in rows}
    one = found["real", "real", "1", "i005.png"]  # 40 %, an abnormal one
    assert (one["label"], one["patient"], one["called"]) == ("abnormal", "p2", "0")
    assert float(one["likelihood"]) == pytest.approx(0.4)
    assert found["real", "real", "1", "i014.png"]["called"] == "1"  # 45 % is above the threshold of that seed, 42 %
    assert found["real", "real", "0", "i014.png"]["called"] == "0"
    assert float(found["synthetic", "real", "0", "i005.png"]["likelihood"]) == pytest.approx(0.56)


def test_counts_and_rates_by_hand(files):
    _, summary = run(files)
    real = summary["experiments"]["real_on_real"]
    assert (real["images"], real["patients"], real["positives"], real["negatives"]) == (20, 10, 10, 10)
    # Abnormal: 80 70 40 90 75 85 65 55 95 78; normal: 20 30 10 60 25 15 35 45 5 22. At 50 % 9 of 10 and 9 of 10 are
    # right; at 42 % (seed 1) the normal one with 45 % is called as well.
    assert real["confusion"]["by_seed"] == [[[9, 1], [1, 9]], [[8, 2], [1, 9]], [[9, 1], [1, 9]]]
    assert real["confusion"]["mean"][0] == pytest.approx([26 / 3, 4 / 3])
    assert real["sensitivity"]["value"] == pytest.approx(0.9)
    assert real["specificity"]["by_seed"] == pytest.approx([0.9, 0.8, 0.9])
    assert real["accuracy"]["value"] == pytest.approx((0.9 + 0.85 + 0.9) / 3)
    # Wrong pairs: 40 below 60 and 45, 55 below 60.
    assert real["auroc"]["by_seed"] == pytest.approx([0.97] * 3)
    assert real["auroc"]["low"] < 0.97 < real["auroc"]["high"] <= 1
    assert real["thresholds"] == [0.5, 0.42, 0.5]
    curve = real["roc_by_seed"][0]
    area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
    assert area == pytest.approx(0.97)

    moved = summary["experiments"]["synthetic_on_real"]  # 16 points higher: 35, 45 and 60 are called, and all abnormal
    assert moved["confusion"]["by_seed"][0] == [[7, 3], [0, 10]]
    assert moved["auroc"]["value"] == pytest.approx(0.97)
    perfect = summary["experiments"]["real_on_synthetic"]
    assert perfect["auroc"]["value"] == 1
    assert perfect["auroc"]["low"] is None
    assert "ordered wrongly" in perfect["auroc"]["reason"]
    exact = clopper_pearson(10, 10, 0.95)
    assert (perfect["sensitivity"]["low"], perfect["sensitivity"]["high"]) == pytest.approx((exact.low, 1))


def test_tests_of_the_averaged_likelihood(files):
    _, summary = run(files)
    rng = np.random.default_rng(0)
    positive = np.tile([False, True], 40)
    cases = module.Cases([""] * 80, np.arange(80), positive)
    first, second = (positive * shift + rng.standard_normal((3, 80)) for shift in (2.0, 0.3))
    found = module.compare_same_cases(first, second, cases, settings())
    tests = found["of_mean_likelihood"]
    one, two = first.mean(axis=0), second.mean(axis=0)
    delong = delong_test(one, two, positive, np.arange(80))
    assert tests["areas"] == pytest.approx([auroc(one, positive), auroc(two, positive)])
    assert tests["delong"] == {"difference": delong.difference, "error": delong.error, "p": delong.p}
    assert tests["hanley_mcneil_1983"]["difference"] == pytest.approx(delong.difference)
    assert tests["hanley_mcneil_1983"]["error"] == pytest.approx(delong.error, rel=0.3)
    assert -1 < tests["hanley_mcneil_1983"]["correlation"] < 1
    assert found["verdict"] == "inferior"

    apart = summary["comparisons"]["synthetic_on_synthetic - real_on_real"]
    test = apart["of_mean_likelihood"]["hanley_mcneil_1982"]
    q1, q2, area = 0.97 / 1.03, 2 * 0.97**2 / 1.97, 0.97
    variance = (area * (1 - area) + 9 * (q1 - area**2) + 9 * (q2 - area**2)) / 100  # the other area is 1, its error 0
    assert (test["difference"], test["error"]) == pytest.approx((0.03, np.sqrt(variance)))
    assert test["p"] == pytest.approx(2 * stats.norm.sf(0.03 / np.sqrt(variance)))
    assert apart["cases"] == "different"


@pytest.mark.parametrize(
    ("difference", "low", "high", "p", "error", "word"),
    [
        (-0.1, -0.15, -0.06, 0.001, 0.02, "inferior"),
        (0.1, 0.06, 0.15, 0.001, 0.02, "superior"),
        (-0.02, -0.03, -0.01, 0.001, 0.005, "equivalent"),  # measurable, but within the margin
        (0.0, -0.04, 0.04, 0.9, 0.02, "equivalent"),
        (-0.02, -0.06, 0.02, 0.3, 0.02, "no evidence of a difference"),
        (0.0, 0.0, 0.0, 1.0, 0.0, "no evidence of a difference"),  # nothing was wrong, so nothing can be estimated
    ],
)
def test_the_verdict(difference, low, high, p, error, word):
    assert verdict(SeedTest(difference, low, high, p, error, 5.0), alpha=0.05, margin=0.05) == word


def test_equal_runs_are_equal_byte_for_byte(files):
    run(files)
    first = (files / "summary.json").read_bytes(), (files / "predictions.csv").read_bytes()
    run(files)
    assert ((files / "summary.json").read_bytes(), (files / "predictions.csv").read_bytes()) == first


@pytest.mark.parametrize(
    ("changes", "names", "words"),
    [
        ({}, ("real.pt", "two.pt"), r"real\.pt has 3 seeds, .*two\.pt 2"),
        ({}, ("one.pt", "one.pt"), "2 or more"),
        ({"alpha": 0.0}, ("real.pt", "synthetic.pt"), "alpha"),
        ({"margin": 0.0}, ("real.pt", "synthetic.pt"), "margin"),
        ({"positive": "ill"}, ("real.pt", "synthetic.pt"), "positive"),
        ({"classes": ["healthy", "abnormal"]}, ("real.pt", "synthetic.pt"), "unknown label 'normal'"),
    ],
)
def test_unusable_settings_are_refused(files, changes, names, words):
    with pytest.raises(InputError, match=words):
        run(files, settings(**changes), *names)


def test_a_test_part_without_a_class_is_refused(files):
    plan(files / "synthetic.zip", SYNTHETIC, LABELS, part=["test", "train"] * 10)
    with pytest.raises(InputError, match="10 test images hold none of the class 'abnormal'"):
        run(files)

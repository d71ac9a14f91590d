import csv
import json

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.evaluation.compare import CompareSettings, compare

SETTINGS = CompareSettings(
    classes=("normal", "abnormal"),
    positive="abnormal",
    threshold=0.5,
    real="real",
    alpha=0.05,
    margin=0.02,
    resamples=200,
    seed=3,
)


def rows_of(arms, *, n=80, seeds=5, classes=("normal", "abnormal")):
    """Predictions whose arms separate the classes by the given distance."""
    rng = np.random.default_rng(0)
    truth = np.arange(n) % len(classes)
    shared = rng.standard_normal(n)
    rows = []
    for arm, distance in arms.items():
        for seed in range(seeds):
            score = 0.9 * shared + 0.4 * rng.standard_normal(n) + distance * (truth == 1)
            p = 1 / (1 + np.exp(distance / 2 - score))
            for i in range(n):
                values = [1 - p[i], p[i]] + [0.0] * (len(classes) - 2)
                row = {"arm": arm, "seed": seed, "image": f"i{i:03d}.png", "patient": f"p{i // 2}"}
                row["label"] = classes[truth[i]]
                rows.append(row | {f"p_{name}": value for name, value in zip(classes, values, strict=True)})
    return rows


def run(tmp_path, rows, settings=SETTINGS, summary=None):
    predictions, out = tmp_path / "predictions.csv", tmp_path / "verdicts.json"
    with open(predictions, "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    arms = dict.fromkeys(row["arm"] for row in rows)
    described = {
        arm: {"kind": "real" if arm == "real" else "generator", "n_train": 100, "generator": None} for arm in arms
    }
    (tmp_path / "summary.json").write_text(json.dumps({"arms": summary if summary is not None else described}))
    compare(settings, predictions=predictions, summary=tmp_path / "summary.json", out=out)
    return json.loads(out.read_text())


def test_better_equal_and_worse_arms(tmp_path):
    result = run(tmp_path, rows_of({"real": 1.0, "better": 2.5, "same": 1.0, "worse": 0.0}))
    arms = result["arms"]
    words = {arm: values["versus_real"]["verdict"] for arm, values in arms.items() if arm != "real"}
    assert words == {"better": "helps", "same": "no evidence of a difference", "worse": "harms"}
    assert "versus_real" not in arms["real"]
    assert result["rule"]
    for values in arms.values():
        for name in ("accuracy", "auroc", "sensitivity", "specificity"):
            assert 0 <= values[name]["low"] <= values[name]["value"] <= values[name]["high"] <= 1
        confusion = np.array(values["confusion"])
        assert confusion.sum() == 80
        assert confusion[0, 1] == pytest.approx(values["false_positives"])
        assert confusion[1, 0] == pytest.approx(values["false_negatives"])
        assert values["sensitivity"]["value"] == pytest.approx(1 - values["false_negatives"] / 40)
        assert (values["kind"], values["n_train"]) in {("real", 100), ("generator", 100)}
    versus = arms["better"]["versus_real"]
    assert versus["auroc_difference"]["value"] == pytest.approx(
        arms["better"]["auroc"]["value"] - arms["real"]["auroc"]["value"]
    )
    assert versus["auroc_difference"]["low"] > 0
    for name in ("p", "p_holm", "p_bootstrap", "p_delong", "p_accuracy", "p_mcnemar", "p_mcnemar_mid"):
        assert 0 <= versus[name] < 0.05, name
    assert not versus["equivalent"]


def test_order_of_rows_does_not_matter_and_runs_repeat(tmp_path):
    rows = rows_of({"real": 1.0, "other": 1.4})
    first = run(tmp_path, rows)
    shuffled = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    assert run(tmp_path, shuffled)["arms"] == first["arms"]


def test_identical_predictions_show_neither_a_difference_nor_equivalence(tmp_path):
    """They leave no variance to estimate, so there is no interval that could lie within the margin."""
    rows = rows_of({"real": 1.0})
    result = run(tmp_path, rows + [row | {"arm": "again"} for row in rows])
    versus = result["arms"]["again"]["versus_real"]
    assert versus["verdict"] == "no evidence of a difference"
    assert not versus["equivalent"]
    assert versus["p"] == versus["p_holm"] == versus["p_mcnemar"] == versus["p_bootstrap"] == 1


def test_three_classes(tmp_path):
    classes = ("normal", "abnormal", "other")
    settings = SETTINGS.__class__(**{**vars(SETTINGS), "classes": classes})
    result = run(tmp_path, rows_of({"real": 1.0, "more": 3.0}, n=90, classes=classes), settings)
    confusion = np.array(result["arms"]["real"]["confusion"])
    assert confusion.shape == (3, 3)
    assert result["arms"]["real"]["accuracy"]["value"] == pytest.approx(np.trace(confusion) / 90)
    assert result["arms"]["real"]["false_positives"] == pytest.approx(confusion[[0, 2], 1].sum())


def broken(change):
    rows = rows_of({"real": 1.0, "other": 1.4}, n=20, seeds=2)
    change(rows)
    return rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.pop(), "no row for arm, seed, image"),
        (lambda rows: rows.append(rows[0]), "occur twice"),
        (lambda rows: rows[3].update(p_normal="nan"), "line 5: probabilities"),
        (lambda rows: rows[3].update(p_normal="abc"), "line 5: a probability is no number"),
        (lambda rows: rows[3].update(label="tumour"), "unknown label 'tumour'"),
        (lambda rows: rows[3].update(patient="p9"), "changed its patient or label"),
        (lambda rows: [row.update(arm="x") for row in rows if row["arm"] == "real"], "no arm 'real'"),
        (lambda rows: [row.update(label="normal") for row in rows], "no test image of the class"),
        (lambda rows: [row.pop("p_abnormal") for row in rows], "columns"),
        (
            lambda rows: rows.__setitem__(slice(None), rows_of({"real": 1.0}, seeds=1)),
            "one seed",
        ),
    ],
)
def test_bad_predictions_are_named(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        run(tmp_path, broken(change))


def test_summary_of_other_arms_is_an_error(tmp_path):
    with pytest.raises(InputError, match="summary describes the arms"):
        run(tmp_path, rows_of({"real": 1.0, "other": 1.4}, n=20, seeds=2), summary={"real": {}})

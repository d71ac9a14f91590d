import csv
import dataclasses

import numpy as np
import pytest
from made_up_features import CLASSES, write_features

from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.evaluation.arms import ArmSettings
from synthmed.evaluation.classify import ClassifySettings, classify
from synthmed.metrics.classification import auroc

SETTINGS = ClassifySettings(
    classes=CLASSES, positive="abnormal",
    arms=ArmSettings(("fresh", "wrong"), 1.0, None, {"fresh": (0.5, 4.0)}, 1.0, "fresh", "fresh"),
    learning_rates=(1e-5, 1e-2), dropouts=(0.2, 0.5), grid_seeds=3, seeds=4, seed=1,
    steps=80, batch_size=16, check_every=10, level=0.95, resamples=200, threads=1,
)  # fmt: skip


def run(folder, settings, inputs):
    folder.mkdir()
    out = {"predictions": folder / "p.csv", "grid": folder / "grid.csv", "summary": folder / "summary.json"}
    classify(settings, **inputs, **out)
    return out


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    return {
        "train": write_features(folder / "a.npz", "train", {"normal": 30, "abnormal": 26}, seed=1),
        "validation": write_features(folder / "b.npz", "validation", {"normal": 40, "abnormal": 30}, seed=2),
        "test": write_features(folder / "c.npz", "test", {"normal": 150, "abnormal": 150}, seed=3),
        "synthetic": [
            write_features(folder / "d.npz", "fresh", {"normal": 130, "abnormal": 110}, seed=4),
            write_features(folder / "e.npz", "wrong", {"normal": 40, "abnormal": 40}, seed=5, shift=-0.7),
        ],
        "train_augmented": write_features(folder / "f.npz", "train", {"normal": 30, "abnormal": 26}, seed=6, draws=3),
    }


@pytest.fixture(scope="module")
def results(inputs, tmp_path_factory):
    return run(tmp_path_factory.mktemp("results") / "first", SETTINGS, inputs)


def read_rows(path):
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def mean_auroc(rows, arm):
    values = []
    for seed in {row["seed"] for row in rows}:
        own = [row for row in rows if row["arm"] == arm and row["seed"] == seed]
        values.append(auroc([float(r["p_abnormal"]) for r in own], np.array([r["label"] for r in own]) == "abnormal"))
    return np.mean(values)


def test_predictions_cover_arms_seeds_and_images_and_see_the_known_truth(results):
    rows = read_rows(results["predictions"])
    assert list(rows[0]) == ["arm", "seed", "image", "patient", "label", "p_normal", "p_abnormal"]
    arms = set(read_json(results["summary"])["arms"])
    assert {row["arm"] for row in rows} == arms
    assert len(rows) == len({(row["arm"], row["seed"], row["image"]) for row in rows}) == len(arms) * 4 * 300
    assert all(abs(float(row["p_normal"]) + float(row["p_abnormal"]) - 1) < 1e-9 for row in rows)
    real = mean_auroc(rows, "real")
    assert mean_auroc(rows, "fresh_x4") > real + 0.02, "fresh true images help"
    assert abs(mean_auroc(rows, "duplicates") - real) < 0.02, "repeated images do not"
    assert mean_auroc(rows, "fresh_shuffled") < real, "images with shuffled labels harm"
    assert mean_auroc(rows, "wrong") < real - 0.05, "images whose difference points the wrong way harm"
    assert mean_auroc(rows, "only_wrong") < 0.5


def test_grid_is_the_documents_table_best_first(results):
    rows = read_rows(results["grid"])
    assert {(float(r["learning_rate"]), float(r["dropout"])) for r in rows} == {
        (a, b) for a in (1e-5, 1e-2) for b in (0.2, 0.5)
    }
    accuracy = [float(row["accuracy"]) for row in rows]
    assert accuracy == sorted(accuracy, reverse=True)
    for row in rows:
        wrong = float(row["false_positives"]) + float(row["false_negatives"])
        assert float(row["accuracy"]) == pytest.approx(1 - wrong / 70)
    summary = read_json(results["summary"])
    assert summary["learning_rate"] == float(rows[0]["learning_rate"]) == 1e-2, (
        "the tiny rate learns nothing in 80 steps"
    )
    assert summary["dropout"] == float(rows[0]["dropout"])


def test_summary_describes_arms_and_the_accuracy_on_synthetic_sets(results):
    summary = read_json(results["summary"])
    assert summary["backbone"] == "made-up features"
    arms = summary["arms"]
    assert {name: arm["n_train"] for name, arm in arms.items()} == {
        "real": 56, "classic": 56 + 112, "duplicates": 112, "fresh": 112, "wrong": 112, "fresh_shuffled": 112,
        "fresh_x0.5": 84, "fresh_x4": 280, "only_fresh": 56, "only_wrong": 56,
    }  # fmt: skip
    assert arms["fresh"]["share"] == 0.5
    assert arms["duplicates"]["share"] == 0
    assert arms["fresh"]["kind"] == "oracle"
    assert summary["synthetic"]["fresh"]["all"]["n"] == 240
    for found in summary["synthetic"]["fresh"].values():
        assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
    fresh, wrong = (summary["synthetic"][name]["abnormal"]["value"] for name in ("fresh", "wrong"))
    assert wrong < 0.5 < fresh


def test_the_same_run_writes_the_same_bytes_whatever_the_threads(results, inputs, tmp_path):
    again = run(tmp_path / "again", dataclasses.replace(SETTINGS, threads=2), inputs)
    for name, path in again.items():
        assert path.read_bytes() == results[name].read_bytes(), name


def test_an_arm_does_not_depend_on_the_other_arms(results, inputs, tmp_path):
    alone = dataclasses.replace(SETTINGS, arms=ArmSettings(("fresh",), 1.0, None, {}, None, "fresh", None))
    fewer = run(tmp_path / "fewer", alone, inputs | {"synthetic": inputs["synthetic"][:1], "train_augmented": None})
    expected = [row for row in read_rows(results["predictions"]) if row["arm"] in ("real", "duplicates", "fresh")]
    assert read_rows(fewer["predictions"]) == expected


def test_unusable_input_is_refused_by_name(inputs, tmp_path):
    def refuse(message, settings=SETTINGS, **changes):
        with pytest.raises(InputError, match=message):
            run(tmp_path / str(len(list(tmp_path.iterdir()))), settings, inputs | changes)

    refuse("share 70 patients", test=inputs["validation"])
    refuse("1 synthetic feature files for 2 generators", synthetic=inputs["synthetic"][:1])
    refuse("no such feature file", train=tmp_path / "missing.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK not a zip")
    refuse(r"broken\.npz: not a readable feature file", train=tmp_path / "broken.npz")
    refuse("'fresh_x9' needs 270 'normal' images", dataclasses.replace(
        SETTINGS, arms=dataclasses.replace(SETTINGS.arms, sweep={"fresh": (9.0,)})))  # fmt: skip
    odd = dict(np.load(inputs["validation"]))
    np.savez(tmp_path / "other.npz", **odd | {"extractor": np.array("another network")})
    refuse("'another network'", validation=tmp_path / "other.npz")
    np.savez(tmp_path / "nan.npz", **odd | {"features": np.full_like(odd["features"], np.nan)})
    refuse(r"nan\.npz: features contains NaN", validation=tmp_path / "nan.npz")
    np.savez(tmp_path / "label.npz", **odd | {"labels": np.full_like(odd["labels"], "healthy")})
    refuse("unknown label 'healthy'", validation=tmp_path / "label.npz")

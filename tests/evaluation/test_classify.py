import csv
import dataclasses

import numpy as np
import pytest
from made_up_features import CLASSES, write_features

from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.data.arm_lists import read_arms
from synthmed.data.features import read_features
from synthmed.data.imageset import encode_png, write_image_set
from synthmed.evaluation.arms import ArmSettings
from synthmed.evaluation.classify import ClassifySettings, classify
from synthmed.evaluation.compose_arms import compose_arms
from synthmed.evaluation.scores import read_scores
from synthmed.metrics.classification import auroc

SETTINGS = ClassifySettings(
    classes=CLASSES, positive="abnormal", column="label", sets=("fresh", "wrong"), learning_rates=(1e-5, 1e-2),
    dropouts=(0.2, 0.5), grid_seeds=3, seeds=4, seed=1, leaking=False, steps=80, batch_size=16, check_every=10,
    threads=1,
)  # fmt: skip
ARMS = ArmSettings(
    added_share=1.0, added_counts=None, augmented_draws=2, pairs=(), sweep={}, oracle_sweep=(0.5, 4.0), only_share=1.0,
    only_sweep=(), class_weights=True, swap=None, classes=CLASSES, column="label", sets=("fresh", "wrong"),
    added=("fresh", "wrong"), alone=("fresh", "wrong"), undersampled=(), oracle="fresh", seeds=4, seed=1, masks=False,
)  # fmt: skip


def as_images(features, folder, grades=None):
    """An image set with the names, labels and patients of a feature file, and with a `grade` for each label; its pixels
    are none of the arms' business."""
    file = read_features(features).as_is()
    path = folder / f"{features.stem}.zip"
    facts = zip(file.names.tolist(), file.labels.tolist(), file.patients.tolist(), strict=True)
    blank = encode_png(np.zeros((2, 2), np.uint8))
    rows = [
        {"image": n, "label": label, "patient": p} | ({"grade": grades[label]} if grades else {})
        for n, label, p in facts
    ]
    write_image_set(path, ((row, blank) for row in rows))
    return path


def compose(folder, settings, inputs):
    lists = {"out": folder / "arms.csv", "description": folder / "arms.json"}
    sets = [as_images(path, folder) for path in inputs["synthetic"]]
    compose_arms(settings, train=as_images(inputs["train"], folder), synthetic=sets, **lists)
    return {"arms": lists["out"], "description": lists["description"]}


def run(folder, settings, inputs, arms=ARMS):
    folder.mkdir()
    lists = compose(folder, arms, inputs)
    out = {"scores": folder / "s.csv", "grid": folder / "grid.csv", "summary": folder / "summary.json"}
    classify(settings, **inputs, **lists, **out)
    return lists | out


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
        "images": [],
    }


@pytest.fixture(scope="module")
def results(inputs, tmp_path_factory):
    return run(tmp_path_factory.mktemp("results") / "first", SETTINGS, inputs)


def read_rows(path):
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def mean_auroc(scores, arm):
    positive = scores.cases["test"].labels == "abnormal"
    return np.mean([auroc(row, positive) for row in scores.values[arm, "test"][:, :, 1]])


def test_scores_cover_arms_seeds_and_images_and_see_the_known_truth(results):
    scores = read_scores(results["scores"], ["p_normal", "p_abnormal"])
    arms = set(read_json(results["summary"])["arms"])
    assert set(scores.arms) == arms
    assert scores.tests_of("real") == ["test", "fresh", "wrong"], "does the real arm see what synthetic images show?"
    assert scores.tests_of("fresh") == ["test"]
    for arm in arms:
        assert scores.values[arm, "test"].shape == (4, 300, 2)
        np.testing.assert_allclose(scores.values[arm, "test"].sum(axis=2), 1, atol=1e-9)
    real = mean_auroc(scores, "real")
    assert mean_auroc(scores, "fresh_x4") > real + 0.02, "fresh true images help"
    assert abs(mean_auroc(scores, "duplicates") - real) < 0.02, "repeated images do not"
    assert mean_auroc(scores, "fresh_shuffled") < real, "images with shuffled labels harm"
    assert mean_auroc(scores, "wrong") < real - 0.05, "images whose difference points the wrong way harm"
    assert mean_auroc(scores, "only_wrong") < 0.5


def test_the_lists_say_what_each_arm_is_trained_on(results):
    lists = read_arms(results["arms"], 4)
    described = read_json(results["description"])["arms"]
    for arm, of_seeds in lists.items():
        assert {len(members.images) for members in of_seeds} == {described[arm]["n_train"]}
    assert all((members.sets == "real").all() for members in lists["real"])
    twice = lists["duplicates"][0].images
    assert sorted(twice) == sorted([*lists["real"][0].images] * 2)
    assert set(lists["classic"][0].draws.tolist()) == {0, 1, 2}
    assert len({tuple(members.images) for members in lists["fresh"]}) == 4, "each seed draws its own"
    drawn = lists["fresh_shuffled"][0]
    fake = drawn.sets == "fresh"
    assert [label in name for label, name in zip(drawn.labels[fake], drawn.images[fake], strict=True)].count(False) > 10
    with pytest.raises(InputError, match="no list for seed 4"):
        read_arms(results["arms"], 5)


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


def test_summary_describes_the_arms(results):
    summary = read_json(results["summary"])
    assert summary["backbone"] == "made-up features"
    arms = summary["arms"]
    assert {name: arm["n_train"] for name, arm in arms.items()} == {
        "real": 56, "class_weights": 56, "classic": 56 + 112, "duplicates": 112, "fresh": 112, "wrong": 112,
        "fresh_shuffled": 112, "fresh_x0.5": 84, "fresh_x4": 280, "only_fresh": 56, "only_wrong": 56,
    }  # fmt: skip
    assert arms["fresh"]["share"] == 0.5
    assert arms["duplicates"]["share"] == arms["class_weights"]["share"] == 0
    assert (arms["fresh"]["kind"], arms["fresh"]["set"], arms["real"]["set"]) == ("oracle", "fresh", None)
    assert summary["at_the_end_of_the_grid"][0] == "learning_rate", "of two values each is an end"


def test_a_training_that_might_have_gone_on_is_marked(inputs, tmp_path):
    short = dataclasses.replace(SETTINGS, steps=20, learning_rates=(1e-4,), check_every=10)
    arms = read_json(run(tmp_path / "short", short, inputs)["summary"])["arms"]
    assert arms["real"]["budget_limited"], "after 20 steps of a small rate the last checkpoint is the best"
    assert max(arms["real"]["step"]["by_seed"]) == 20


def test_the_same_run_writes_the_same_bytes_whatever_the_threads(results, inputs, tmp_path):
    again = run(tmp_path / "again", dataclasses.replace(SETTINGS, threads=2), inputs)
    for name, path in again.items():
        assert path.read_bytes() == results[name].read_bytes(), name


def test_an_arm_does_not_depend_on_the_other_arms(results, inputs, tmp_path):
    alone = dataclasses.replace(
        ARMS, sets=("fresh",), added=("fresh",), alone=(), oracle_sweep=(), augmented_draws=0, only_share=None
    )
    fewer = inputs | {"synthetic": inputs["synthetic"][:1], "train_augmented": None}
    found = run(tmp_path / "fewer", dataclasses.replace(SETTINGS, sets=("fresh",)), fewer, alone)
    some, every = (read_scores(files["scores"], ["p_abnormal"]).values for files in (found, results))
    for arm in ("real", "duplicates", "fresh"):
        np.testing.assert_array_equal(some[arm, "test"], every[arm, "test"])


def test_classes_that_weigh_alike_find_more_of_the_rare_one(inputs, tmp_path):
    train = write_features(tmp_path / "rare.npz", "train", {"normal": 90, "abnormal": 10}, seed=1)
    rare = inputs | {"train": train, "synthetic": [], "train_augmented": None}
    none = dict.fromkeys(("sets", "added", "alone"), ())
    alone = dataclasses.replace(ARMS, added_share=None, oracle=None, augmented_draws=0, only_share=None, **none)
    found = run(tmp_path / "rare", dataclasses.replace(SETTINGS, sets=()), rare, alone)
    scores = read_scores(found["scores"], ["p_abnormal"])
    called = {arm: float((scores.values[arm, "test"] > 0.5).mean()) for arm in ("real", "class_weights")}
    assert called["real"] + 0.1 < called["class_weights"] < 0.65


def test_another_column_in_place_of_the_label(results, inputs, tmp_path):
    # A column that says the same under other names: the same trainings, hence the same probabilities.
    renamed = {"normal": "low", "abnormal": "high"}
    folder = tmp_path / "sets"
    folder.mkdir()
    sets = [as_images(path, folder, renamed) for path in (inputs["train"], inputs["validation"], inputs["test"])]
    sets += [as_images(path, folder, renamed) for path in inputs["synthetic"]]
    names = {"classes": ("low", "high"), "column": "grade"}
    asked = dataclasses.replace(SETTINGS, positive="high", **names)
    lists = {"arms": folder / "arms.csv", "description": folder / "arms.json"}
    arms = dataclasses.replace(ARMS, **names)
    compose_arms(arms, train=sets[0], synthetic=sets[3:], out=lists["arms"], description=lists["description"])
    out = {"scores": tmp_path / "s.csv", "grid": tmp_path / "grid.csv", "summary": tmp_path / "summary.json"}
    classify(asked, **(inputs | {"images": sets}), **lists, **out)
    found = read_scores(out["scores"], ["p_low", "p_high"])
    known = read_scores(results["scores"], [f"p_{name}" for name in CLASSES])
    # What is drawn of a class goes by its name, so the arms that take all that there is are compared.
    for arm in ("real", "classic", "class_weights", "duplicates"):
        assert np.array_equal(found.values[arm, "test"], known.values[arm, "test"]), arm
    for test, cases in known.cases.items():
        assert found.cases[test].labels.tolist() == [renamed[label] for label in cases.labels], test
    with pytest.raises(InputError, match="images: 0 files for"):
        classify(asked, **inputs, **lists, **out)


def test_unusable_input_is_refused_by_name(inputs, tmp_path):
    lists = compose(tmp_path, ARMS, inputs)
    out = {name: tmp_path / name for name in ("scores", "grid", "summary")}

    def refuse(message, settings=SETTINGS, **changes):
        with pytest.raises(InputError, match=message):
            classify(settings, **(inputs | lists | changes), **out)
        assert not any(path.exists() for path in out.values())

    refuse("share 70 patients", test=inputs["validation"])
    refuse("synthetic: 1 files for", synthetic=inputs["synthetic"][:1])
    refuse("no such feature file", train=tmp_path / "missing.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK not a zip")
    refuse(r"broken\.npz: not a readable feature file", train=tmp_path / "broken.npz")
    refuse("no features of .'augmented'", train_augmented=None)
    refuse("no readable list|not a readable list", arms=tmp_path / "absent.csv")
    odd = dict(np.load(inputs["validation"]))
    np.savez(tmp_path / "other.npz", **odd | {"extractor": np.array("another network")})
    refuse("'another network'", validation=tmp_path / "other.npz")
    np.savez(tmp_path / "nan.npz", **odd | {"features": np.full_like(odd["features"], np.nan)})
    refuse(r"nan\.npz: features contains NaN", validation=tmp_path / "nan.npz")
    np.savez(tmp_path / "label.npz", **odd | {"labels": np.full_like(odd["labels"], "healthy")})
    refuse("unknown label 'healthy'", validation=tmp_path / "label.npz")


def test_a_set_replaces_the_real_ones_only_with_a_part_for_each_of_theirs(tmp_path):
    blank, paths = encode_png(np.zeros((2, 2), np.uint8)), {}
    for name, given in (("train", ("", "", "")), ("none", ("", "", "")), ("some", ("train", "test", "train"))):
        fields = [{"image": f"{name}{n}.png", "label": CLASSES[n % 2], "patient": str(n)} for n in range(3)]
        paths[name] = tmp_path / f"{name}.zip"
        write_image_set(paths[name], ((row | {"part": part}, blank) for row, part in zip(fields, given, strict=True)))
    nothing = {"added_share": None, "augmented_draws": 0, "only_share": None, "oracle": None, "added": (), "alone": ()}
    settings = dataclasses.replace(ARMS, **nothing, swap="gan", sets=("gan",))
    out = {"out": tmp_path / "a.csv", "description": tmp_path / "a.json"}
    for name, lacks in (("none", "train"), ("some", "validation")):
        with pytest.raises(InputError, match=rf"{name}\.zip: no image is of the part '{lacks}'.*swap to null"):
            compose_arms(settings, train=paths["train"], synthetic=[paths[name]], **out)

import json
from dataclasses import replace

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, write_csv, write_json
from synthmed.evaluation.compare import CompareSettings, compare
from synthmed.evaluation.scores import Cases, Scores, called, called_by_most, write_scores
from synthmed.metrics.outcomes import OUTCOMES, Outcome, balanced_accuracy

CLASSES = ("normal", "abnormal")
SETTINGS = {
    "task": "classification", "title": "Do they help?", "kind": "classification", "leaking": False, "outcome": "auroc",
    "classes": CLASSES, "positive": "abnormal", "threshold": 0.5, "alpha": 0.05, "margin": 0.02, "resamples": 200,
    "seed": 3, "against": (),
}  # fmt: skip


def scores_of(arms, *, n=80, seeds=5, classes=CLASSES, tests=("test",)):
    """Scores whose arms separate the classes by the given distance, on test sets of different patients."""
    rng = np.random.default_rng(0)
    cases, values = {}, {}
    for test in tests:
        truth, shared = np.arange(n) % len(classes), rng.standard_normal(n)
        images = np.array([f"{test}{i:03d}.png" for i in range(n)])
        patients = np.array([f"{test}-p{i // 2 if len(classes) == 2 else i}" for i in range(n)])
        cases[test] = Cases(images, patients, np.array(classes)[truth])
        for arm, distance in arms.items():
            score = 0.9 * shared + 0.4 * rng.standard_normal((seeds, n)) + distance * (truth == 1)
            p = 1 / (1 + np.exp(distance / 2 - score))
            zeros = [np.zeros_like(p)] * (len(classes) - 2)
            values[arm, test] = np.stack([1 - p, p, *zeros], axis=2)
    return Scores(tuple(f"p_{name}" for name in classes), cases, values)


def described(scores, **changes):
    arms = {
        arm: {
            "kind": "real" if arm == "real" else "generator", "title": arm, "set": None if arm == "real" else arm,
            "n_train": 100, "share": 0.0, "trainings": 1, "uses_up": False, "budget_limited": False,
        } | changes.get(arm, {})
        for arm in scores.arms
    }  # fmt: skip
    return {"swap": None, "thresholds": {}, "arms": arms}


def run(folder, scores, summary=None, **changes):
    write_scores(folder / "scores.csv", scores)
    write_json(folder / "summary.json", summary or described(scores))
    write_json(folder / "split.json", {"patients_known": True})
    return compare_files(folder, **changes)


def compare_files(folder, **changes):
    files = {"scores": folder / "scores.csv", "summary": folder / "summary.json", "split_report": folder / "split.json"}
    compare(CompareSettings(**(SETTINGS | changes)), **files, out=folder / "verdicts.json")
    return json.loads((folder / "verdicts.json").read_text())


def test_better_equal_and_worse_arms(tmp_path):
    result = run(tmp_path, scores_of({"real": 1.0, "better": 2.5, "same": 1.0, "worse": 0.0}))
    arms = result["arms"]
    words = {arm: values["versus_reference"]["verdict"] for arm, values in arms.items() if arm != "real"}
    assert words == {"better": "helps", "same": "no evidence of a difference", "worse": "harms"}
    assert arms["real"]["versus_reference"] is None
    assert result["rule"]
    for values in arms.values():
        tested = values["tests"]["test"]
        for name in ("auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity"):
            found = tested["outcomes"][name]
            assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
        confusion = np.array(tested["confusion"])
        assert confusion.sum() == 80
        assert tested["outcomes"]["sensitivity"]["value"] == pytest.approx(confusion[1, 1] / 40)
        assert tested["recall"]["normal"]["value"] == pytest.approx(confusion[0, 0] / 40)
        assert tested["recall"]["abnormal"] == tested["outcomes"]["sensitivity"]
    versus = arms["better"]["versus_reference"]
    difference = versus["outcomes"]["auroc"]["difference"]
    areas = [arms[arm]["tests"]["test"]["outcomes"]["auroc"]["value"] for arm in ("better", "real")]
    assert difference["value"] == pytest.approx(areas[0] - areas[1])
    assert difference["low"] > 0
    for p in (versus["p"], versus["p_holm"], *(versus["also"][name]["p"] for name in versus["also"])):
        assert 0 <= p < 0.05
    assert not versus["equivalent"]


def test_masks_are_compared_on_further_tests_that_decide_nothing(tmp_path):
    rng, arms = np.random.default_rng(0), ("real", "other")
    cases = {
        test: Cases(*(np.array([f"{name}{i:02d}" for i in range(count)]) for name in "ip"), np.array(["x"] * count))
        for test, count in {"test": 20, "test_small": 20, "second_test": 1}.items()
    }
    better = {("other", "test"): 0.2, ("other", "test_small"): -0.2}
    values = {
        (arm, test): 0.5 + better.get((arm, test), 0) + 0.02 * rng.standard_normal((5, len(of.images), 1))
        for arm in arms
        for test, of in cases.items()
    }
    settings = {"kind": "segmentation", "outcome": "iou", "classes": ("x",), "positive": None}
    versus = run(tmp_path, Scores(("iou",), cases, values), **settings)["arms"]["other"]["versus_reference"]
    assert versus["verdict"] == "helps"
    assert list(versus["elsewhere"]) == ["test_small"], "one patient gives no difference"
    there = versus["elsewhere"]["test_small"]
    assert there["verdict"] == "harms"
    assert there["outcomes"]["iou"]["difference"]["value"] == pytest.approx(-0.2, abs=0.02)


def test_order_of_rows_does_not_matter_and_runs_repeat(tmp_path):
    first = run(tmp_path, scores_of({"real": 1.0, "other": 1.4}))
    rows = read_csv(tmp_path / "scores.csv")
    shuffled = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    write_csv(tmp_path / "scores.csv", shuffled, list(rows[0]))
    assert compare_files(tmp_path)["arms"] == first["arms"]


def test_identical_scores_show_neither_a_difference_nor_equivalence(tmp_path):
    """They leave no variance to estimate, so there is no interval that could lie within the margin."""
    scores = scores_of({"real": 1.0})
    scores.values["again", "test"] = scores.values["real", "test"]
    versus = run(tmp_path, scores)["arms"]["again"]["versus_reference"]
    assert versus["verdict"] == "no evidence of a difference"
    assert not versus["equivalent"]
    assert versus["p"] == versus["p_holm"] == versus["also"]["mcnemar"]["p"] == versus["also"]["bootstrap"]["p"] == 1
    assert "no spread" in versus["outcomes"]["auroc"]["difference"]["reason"]


def test_an_outcome_is_added_in_one_place(tmp_path, monkeypatch):
    """Youden's index: its function and its entry, and it is measured, compared, and may decide."""

    def youden(decided, labels, patients, positive):
        half = balanced_accuracy(decided, labels, patients, positive)
        return replace(half, estimates=2 * half.estimates - 1, influence=2 * half.influence, bounds=(-1.0, 1.0))

    scores = scores_of({"real": 1.0, "better": 2.5})
    monkeypatch.setitem(OUTCOMES, "youden", Outcome("youden", "Youden's index", "", True, "decisions", youden))
    beside = run(tmp_path, scores)["arms"]["better"]
    found = beside["tests"]["test"]["outcomes"]
    expected = found["sensitivity"]["value"] + found["specificity"]["value"] - 1
    assert found["youden"]["value"] == pytest.approx(expected)
    assert beside["versus_reference"]["outcomes"]["youden"]["difference"]["value"] > 0
    decides = run(tmp_path, scores, outcome="youden")
    assert "Youden's index" in decides["rule"]
    assert decides["arms"]["better"]["versus_reference"]["verdict"] == "helps"


def test_below_five_seeds_there_is_a_difference_and_no_word(tmp_path):
    versus = run(tmp_path, scores_of({"real": 1.0, "better": 2.5}, seeds=4))["arms"]["better"]["versus_reference"]
    assert versus["verdict"] is None
    assert "4 training seeds" in versus["reason"]
    assert versus["outcomes"]["auroc"]["difference"]["low"] > 0


def test_several_trainings_of_a_generator_are_a_source_of_chance(tmp_path):
    """Three trainings of a generator, one of them good, with two seeds each: their difference is chance, too, in the
    difference, in the arm's own numbers and in the bootstrap."""
    scores = scores_of({"real": 1.0, "gan": 1.0}, seeds=6)
    good = scores_of({"real": 1.0, "gan": 3.0}, seeds=6)
    scores.values["gan", "test"][4:] = good.values["gan", "test"][4:]

    def found(summary):
        arm = run(tmp_path, scores, summary)["arms"]["gan"]
        versus, tested = arm["versus_reference"], arm["tests"]["test"]
        bootstrap = versus["also"]["bootstrap"]["difference"]
        own = tested["outcomes"]["auroc"], tested["recall"]["abnormal"]
        return [versus["outcomes"]["auroc"]["difference"], *own], bootstrap

    once, drawn_once = found(described(scores))
    thrice, drawn_thrice = found(described(scores, gan={"trainings": 3}))
    for one, three in zip(once, thrice, strict=True):
        assert three["value"] == pytest.approx(one["value"])
        assert three["high"] - three["low"] > 1.3 * (one["high"] - one["low"])
    assert drawn_thrice["high"] - drawn_thrice["low"] > 1.2 * (drawn_once["high"] - drawn_once["low"])


def test_the_bootstrap_draws_the_same_models_of_both_arms(tmp_path):
    scores = scores_of({"real": 1.0}, seeds=6)
    scores.values["again", "test"] = scores.values["real", "test"]
    arm = run(tmp_path, scores, described(scores, again={"trainings": 3}))["arms"]["again"]
    bootstrap = arm["versus_reference"]["also"]["bootstrap"]["difference"]
    assert (bootstrap["low"], bootstrap["high"]) == (0, 0)


def test_two_trainings_of_a_generator_give_a_difference_and_no_word(tmp_path):
    scores = scores_of({"real": 1.0, "gan": 2.5, "other": 2.5}, seeds=6, tests=("test", "gan"))
    summary = described(scores, gan={"trainings": 2, "kind": "synthetic_only"}) | {"swap": "gan"}
    result = run(tmp_path, scores, summary, against=(("other", "gan"),))
    versus = result["arms"]["gan"]["versus_reference"]
    for said in (versus, *result["comparisons"], *result["against"]):
        assert said["verdict"] is None
        assert said["reason"].startswith("2 trainings of its generator")
        assert said["outcomes"]["auroc"]["difference"]["low"] is not None
    assert result["arms"]["other"]["versus_reference"]["verdict"] == "helps"


def test_trainings_of_a_generator_that_replaces_the_real_images_are_chance_on_both_tests(tmp_path):
    scores = scores_of({"real": 2.0, "gan": 0.8}, seeds=6, tests=("test", "gan"))
    scores.values["gan", "gan"][4:] = scores.values["real", "gan"][4:]

    def widths(**changes):
        summary = described(scores, gan={"kind": "synthetic_only", **changes}) | {"swap": "gan"}
        found = {tuple(pair["names"]): pair for pair in run(tmp_path, scores, summary)["comparisons"]}
        ends = [found[pair]["outcomes"]["auroc"]["difference"] for pair in (("TRTR", "TSTS"), ("TSTR", "TSTS"))]
        return np.array([end["high"] - end["low"] for end in ends])

    assert (widths(trainings=3) > 1.2 * widths()).all()


def test_three_classes(tmp_path):
    classes = (*CLASSES, "other")
    result = run(tmp_path, scores_of({"real": 1.0, "more": 3.0}, n=90, classes=classes), classes=classes)
    tested = result["arms"]["real"]["tests"]["test"]
    confusion = np.array(tested["confusion"])
    assert confusion.shape == (3, 3)
    assert tested["outcomes"]["accuracy"]["value"] == pytest.approx(np.trace(confusion) / 90)
    recalls = [tested["recall"][name]["value"] for name in classes]
    assert tested["outcomes"]["balanced_accuracy"]["value"] == pytest.approx(np.mean(recalls))
    assert result["arms"]["more"]["versus_reference"]["also"] == {}


def test_an_arm_that_replaces_the_real_images_is_compared_on_both_tests(tmp_path):
    scores = scores_of({"real": 2.0, "gan": 0.8}, tests=("test", "gan"))
    summary = described(scores, gan={"kind": "synthetic_only"}) | {"swap": "gan"}
    result = run(tmp_path, scores, summary)
    found = {tuple(pair["names"]): pair for pair in result["comparisons"]}
    assert set(found) == {("TRTR", "TSTR"), ("TRTR", "TSTS"), ("TSTR", "TSTS")}
    assert found["TRTR", "TSTR"]["verdict"] == "harms"
    areas = {
        name: result["arms"][arm]["tests"][test]["outcomes"]["auroc"]["value"]
        for name, (arm, test) in {"TRTR": ("real", "test"), "TSTR": ("gan", "test"), "TSTS": ("gan", "gan")}.items()
    }
    for (first, second), pair in found.items():
        assert pair["outcomes"]["auroc"]["difference"]["value"] == pytest.approx(areas[second] - areas[first])
    assert found["TRTR", "TSTS"]["outcomes"]["auroc"]["difference"]["n"] == 160, "cases of both tests"


def test_arms_are_compared_with_a_placebo_where_that_is_asked(tmp_path):
    """Both better than real, and one another's equals: helps beside real, no evidence beyond the placebo."""
    scores = scores_of({"real": 1.0, "mask": 2.5, "placebo": 2.5, "nothing": 1.0})
    result = run(tmp_path, scores, against=(("mask", "placebo"), ("mask", "nothing")))
    assert result["arms"]["mask"]["versus_reference"]["verdict"] == "helps"
    areas = {arm: one["tests"]["test"]["outcomes"]["auroc"]["value"] for arm, one in result["arms"].items()}
    placebo, nothing = result["against"]
    for pair, other in ((placebo, "placebo"), (nothing, "nothing")):
        assert pair["names"] == [other, "mask"]
        assert pair["outcomes"]["auroc"]["difference"]["value"] == pytest.approx(areas["mask"] - areas[other])
        assert pair["outcomes"]["auroc"]["difference"]["n"] == 80
    assert (placebo["verdict"], nothing["verdict"]) == ("no evidence of a difference", "helps")
    assert nothing["p_holm"] == pytest.approx(2 * nothing["p"]), "a family of two"
    assert run(tmp_path, scores)["against"] == []
    with pytest.raises(InputError, match="setting against names 'mark'"):
        run(tmp_path, scores, against=(("mark", "placebo"),))


def test_thresholds_of_a_model_replace_that_of_the_settings(tmp_path):
    scores = scores_of({"real": 1.0, "other": 1.0})
    summary = described(scores) | {"thresholds": {"real": [0.0] * 5}}
    arms = run(tmp_path, scores, summary)["arms"]
    assert arms["real"]["tests"]["test"]["outcomes"]["sensitivity"]["value"] == 1
    assert arms["real"]["tests"]["test"]["outcomes"]["specificity"]["value"] == 0
    assert 0 < arms["other"]["tests"]["test"]["outcomes"]["specificity"]["value"] < 1


def test_a_tie_of_the_trainings_is_decided_by_the_mean_score_against_the_mean_threshold():
    scores, thresholds = np.array([[0.3, 0.5, 0.1], [0.7, 0.85, 0.95]]), np.array([0.2, 0.9])
    assert called(scores, thresholds).tolist() == [[True, True, False], [False, False, True]]
    assert called_by_most(scores, thresholds).tolist() == [False, True, False]
    equal, thresholds = np.array([[0.25, 0.5], [0.75, 0.5]]), np.array([0.25, 0.75])
    assert called(equal, thresholds).tolist() == [[True, True], [True, False]], "the threshold itself is enough"
    assert called_by_most(equal, thresholds).tolist() == [True, True]


def test_ties_in_mcnemars_test_are_decided_by_the_thresholds(tmp_path):
    """Half of the trainings call every image positive, at a probability of 0.65."""
    scores = scores_of({"real": 1.0, "other": 1.0}, seeds=6)
    scores.values["other", "test"][:] = [0.35, 0.65]
    summary = described(scores) | {"thresholds": {"other": [0.6] * 3 + [0.9] * 3}}
    mcnemar = run(tmp_path, scores, summary)["arms"]["other"]["versus_reference"]["also"]["mcnemar"]
    right = run(tmp_path, scores, described(scores) | {"thresholds": {"other": [0.9] * 6}})["arms"]["other"]
    assert mcnemar == right["versus_reference"]["also"]["mcnemar"], "negative, as .65 is below .75"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.pop(), "has 39 rows of the test set 'test', not 2 seeds × 20 images"),
        (lambda rows: rows.append(rows[0]), "twice"),
        (lambda rows: rows[3].update(p_normal="1.2"), "probabilities must lie in 0 … 1"),
        (lambda rows: rows[3].update(p_normal="nan"), "line 5: p_normal is 'nan', no number"),
        (lambda rows: rows[3].update(p_normal="abc"), "line 5: p_normal is 'abc', no number"),
        (
            lambda rows: [r.update(label="tumour") for r in rows if r["image"] == "test003.png"],
            "unknown label 'tumour'",
        ),
        (lambda rows: rows[3].update(patient="p9"), "changes its patient or label"),
        (lambda rows: [row.update(arm="x") for row in rows if row["arm"] == "real"], "holds the arms"),
        (lambda rows: [row.update(label="normal") for row in rows], "no test image of the class 'abnormal'"),
        (lambda rows: [row.pop("p_abnormal") for row in rows], "columns"),
        (lambda rows: [rows.remove(row) for row in list(rows) if row["seed"] == "1"], "one seed"),
        (lambda rows: rows.clear(), "no row"),
    ],
)
def test_bad_scores_are_named(tmp_path, change, message):
    run(tmp_path, scores_of({"real": 1.0, "other": 1.4}, n=20, seeds=2))
    (tmp_path / "verdicts.json").unlink()
    rows = read_csv(tmp_path / "scores.csv")
    columns = [name for name in rows[0]]
    change(rows)
    write_csv(tmp_path / "scores.csv", rows, [name for name in columns if not rows or name in rows[0]])
    with pytest.raises(InputError, match=message):
        compare_files(tmp_path)
    assert not (tmp_path / "verdicts.json").exists()


def test_summary_of_other_arms_is_an_error(tmp_path):
    scores = scores_of({"real": 1.0, "other": 1.4}, n=20, seeds=2)
    with pytest.raises(InputError, match="the summary describes"):
        run(tmp_path, scores, {"swap": None, "thresholds": {}, "arms": {"real": {}}})

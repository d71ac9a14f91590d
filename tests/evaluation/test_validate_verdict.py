import dataclasses

import numpy as np
import pytest
from made_up_features import CLASSES, write_features

from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.data.features import read_features
from synthmed.evaluation import known_truth
from synthmed.evaluation.validate_verdict import ValidateSettings, validate_verdict
from synthmed.metrics.verdict import HELPS, Verdict

SETTINGS = ValidateSettings(
    method="heads", classes=CLASSES, positive="abnormal", train=15, validation=30,
    test=200, added_share=12.0, shuffled_share=12.0,
    repetitions=12, bound=0.3, seeds=6, seed=1, learning_rate=1e-2, dropout=0.3, steps=200, batch_size=16,
    check_every=20, alpha=0.05, margin=0.03, level=0.95, threads=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "pool.npz"
    return write_features(path, "phantom", {"normal": 600, "abnormal": 600}, seed=7, shift=0.5, each=2)


@pytest.fixture(scope="module")
def result(pool, tmp_path_factory):
    out = tmp_path_factory.mktemp("validation") / "validation.json"
    validate_verdict(SETTINGS, pool=pool, out=out)
    return read_json(out)


def test_known_truth_is_seen(result):
    cases = {case["arm"]: case for case in result["cases"]}
    assert set(cases) == {"oracle", "duplicates", "null", "label_shuffled"}
    for case in cases.values():
        assert case["repeats"] == 12 == sum(found["count"] for found in case["verdicts"].values())
    assert cases["oracle"]["verdicts"]["helps"]["count"] >= 9
    assert cases["oracle"]["verdicts"]["harms"]["count"] == 0
    assert cases["label_shuffled"]["verdicts"]["harms"]["count"] >= 6
    for name in ("duplicates", "null"):
        assert cases[name]["verdicts"]["no evidence of a difference"]["count"] >= 10
    assert result["false_helps"]["nominal"] == 0.025
    assert result["false_helps"]["holds"], "0 of 12 are below 0.26, with a bound of 0.3"
    assert not result["false_helps"]["broken"]


def test_rates_are_exact_binomial_intervals(result):
    found = next(case for case in result["cases"] if case["arm"] == "null")["verdicts"]["harms"]
    if found["count"] == 0:
        assert found["rate"]["high"] == pytest.approx(1 - 0.025 ** (1 / 12))
    assert found["rate"]["low"] <= found["rate"]["value"] <= found["rate"]["high"]


def test_the_parts_of_a_repetition_share_no_patient(pool):
    file = read_features(pool)
    groups = known_truth.patients_by_class(file.path, file.patients, file.classes(CLASSES), 2)
    sizes = {"real": 21, "validation": 20, "test": 31, "extra": 40}
    parts = known_truth.draw_parts(groups, sizes, np.random.default_rng(0))
    patients = {name: set(file.patients[part.rows]) for name, part in parts.items()}
    for first in patients:
        assert np.bincount(parts[first].labels).tolist() == [sizes[first]] * 2
        np.testing.assert_array_equal(file.classes(CLASSES)[parts[first].rows], parts[first].labels)
        for second in patients:
            assert first == second or not patients[first] & patients[second]
    again = known_truth.draw_parts(groups, sizes, np.random.default_rng(1))
    assert set(again["real"].rows) != set(parts["real"].rows)


def test_a_rule_that_always_says_helps_is_caught(pool, tmp_path, monkeypatch):
    def gullible(tests, families, *, alpha, margin, seeds, higher_is_better):
        return {name: Verdict(HELPS, None, test.p, 1.0, equivalent=False) for name, test in tests.items()}

    monkeypatch.setattr(known_truth, "decide", gullible)
    validate_verdict(dataclasses.replace(SETTINGS, repetitions=6, steps=10), pool=pool, out=tmp_path / "v.json")
    false = read_json(tmp_path / "v.json")["false_helps"]
    assert false["count"] == 6
    assert not false["holds"]
    assert false["broken"]


def test_arms_are_of_the_families_that_they_are_of_in_the_pipeline(pool, tmp_path, monkeypatch):
    """What has an effect is known truth, and makes no verdict on the others stricter."""
    seen, decide = [], known_truth.decide
    monkeypatch.setattr(known_truth, "decide", lambda tests, of, **more: seen.append(of) or decide(tests, of, **more))
    few = dataclasses.replace(SETTINGS, repetitions=1, steps=1)
    validate_verdict(few, pool=pool, out=tmp_path / "v.json")
    truth = dict.fromkeys(("oracle", "label_shuffled"), "known truth")
    assert seen == [truth | dict.fromkeys(("duplicates", "null"), "main")]


def test_a_level_that_was_not_shown_to_hold_is_not_said_to(pool, tmp_path):
    """Few repetitions without a false word are compatible with the level, and with ten times as much."""
    few = dataclasses.replace(SETTINGS, repetitions=3, steps=10, bound=0.05)
    validate_verdict(few, pool=pool, out=tmp_path / "v.json")
    false = read_json(tmp_path / "v.json")["false_helps"]
    assert not false["holds"]
    assert [entry["chance"] for entry in false["chance_to_hold"]] == [0, 0, 0], "whatever the true rate"


def test_a_pool_that_is_too_small_or_mixed_is_refused(pool, tmp_path):
    with pytest.raises(InputError, match="600 'normal' phantoms, but each repetition takes 855"):
        validate_verdict(dataclasses.replace(SETTINGS, test=630), pool=pool, out=tmp_path / "v.json")
    values = dict(np.load(pool))
    values["patients"][0] = values["patients"][-1]
    np.savez(tmp_path / "mixed.npz", **values)
    with pytest.raises(InputError, match="images of two classes"):
        validate_verdict(SETTINGS, pool=tmp_path / "mixed.npz", out=tmp_path / "v.json")

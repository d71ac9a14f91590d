import dataclasses
import json

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.evaluation import fidelity as step
from synthmed.evaluation.fidelity import MEAN
from synthmed.metrics import fidelity as formulas
from synthmed.metrics import quality
from synthmed.metrics.quality import METRICS, Found, Metric, measure_all, pair_of

SETTINGS = step.MetricSettings(
    neighbours=3,
    kid_subsets=0,
    kid_subset_size=20,
    inception_splits=2,
    curve_points=5,
    max_images=500,
    level=0.95,
    resamples=200,
    half_samples=20,
    seed=1,
)


def write(path, counts, *, shift=0.0, seed=0, d=12, extractor="toy", prefix="p", probabilities=True):
    rng = np.random.default_rng(seed)
    labels = np.array([label for label, count in counts.items() for _ in range(count)])
    n = len(labels)
    features = rng.standard_normal((n, d)) + shift + (labels == "abnormal")[:, None]
    arrays = {
        "names": np.array([f"{prefix}_{i}.png" for i in range(n)]),
        "labels": labels,
        "patients": np.array([f"{prefix}{i // 2}" for i in range(n)]),
        "features": features.astype(np.float32),
        "squares": (features**2).astype(np.float32),
        "draw": np.zeros(n, np.int64),
        "extractor": np.array(extractor),
    }
    if probabilities:
        raw = np.exp(features[:, :4])
        arrays["probabilities"] = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    np.savez(path, **arrays)
    return path


@pytest.fixture
def files(tmp_path):
    return {
        "real": write(tmp_path / "real.npz", {"normal": 60, "abnormal": 50}),
        "held_out": write(tmp_path / "held.npz", {"normal": 30, "abnormal": 24}, seed=1, prefix="h"),
        "fake": write(tmp_path / "fake.npz", {"normal": 50, "abnormal": 50}, seed=2, shift=0.8, prefix="f"),
        "floor": tmp_path / "floor.json",
        "out": tmp_path / "out.json",
    }


def run(files, settings=SETTINGS, counts=None):
    floor = step.FloorSettings(counts or {"normal": 40, "abnormal": 20}, settings)
    step.fidelity_floor(floor, real=files["real"], held_out=files["held_out"], out=files["floor"])
    step.fidelity(
        step.FidelitySettings("dcgan", "image", settings),
        real=files["real"],
        fake=files["fake"],
        floor=files["floor"],
        out=files["out"],
    )
    return json.loads(files["out"].read_text())


def test_every_metric_with_its_interval_beside_the_floor(files):
    result = run(files)
    assert result["view"] == "image"
    assert (result["generator"], result["extractor"], result["n_real"], result["n_fake"]) == ("dcgan", "toy", 110, 100)
    for part in ("groups", "matched", "floor", "duplicate"):
        assert set(result[part]) == {"all", "normal", "abnormal", MEAN}
        for group in result[part].values():
            for metric in METRICS:
                found = group[metric]
                assert found["low"] <= found["value"] <= found["high"], (part, metric)
    for metric in METRICS:
        whole, *parts = (result["groups"][name][metric] for name in (MEAN, "normal", "abnormal"))
        assert whole["value"] == pytest.approx(np.mean([part["value"] for part in parts]))
        halves = [part["high"] - part["value"] for part in parts]
        assert whole["high"] - whole["value"] == pytest.approx(np.hypot(*halves) / 2)
        assert whole["n"] == 100
    # The shifted generator is worse than the floor, a copying one better, at equal counts.
    assert result["floor"]["all"]["n_fake"] == result["matched"]["all"]["n_fake"] == 30 + 20
    for metric in ("fid", "kid"):
        values = [result[part]["all"][metric]["value"] for part in ("duplicate", "floor", "matched")]
        assert values == sorted(values)
    assert result["duplicate"]["all"]["precision"]["value"] == 1


def test_same_settings_give_the_same_bytes(files):
    run(files)
    first = files["out"].read_bytes()
    run(files)
    assert files["out"].read_bytes() == first
    run(files, dataclasses.replace(SETTINGS, seed=2))
    assert files["out"].read_bytes() != first


def test_equal_counts_need_no_second_evaluation(files):
    write(files["fake"], {"normal": 30, "abnormal": 20}, seed=2, prefix="f")
    result = run(files)
    assert result["groups"] == result["matched"]


def test_too_few_images_give_reasons_not_numbers(files):
    write(files["fake"], {"normal": 1, "abnormal": 5}, prefix="f")
    result = run(files)
    for metric in METRICS:
        found = result["groups"]["normal"][metric]
        assert found["value"] is None
        assert found["reason"]
    assert result["groups"]["abnormal"]["fid"]["value"] > 0
    assert result["groups"]["abnormal"]["precision"]["value"] is None
    assert "NaN" not in files["out"].read_text()


def test_a_generator_of_one_label_is_compared_with_that_label_only(files):
    write(files["fake"], {"abnormal": 50}, seed=2, prefix="f")
    result = run(files)
    assert set(result["groups"]) == {"all", "abnormal", MEAN}
    assert result["groups"]["all"]["n_real"] == 50
    assert result["floor"]["all"] == result["floor"]["abnormal"]
    assert result["duplicate"]["all"] == result["duplicate"]["abnormal"] == result["duplicate"][MEAN]


def test_a_floor_of_more_images_than_the_generator_made_is_not_set_beside_it(files):
    write(files["fake"], {"normal": 40, "abnormal": 10}, seed=2, prefix="f")
    floor = run(files)["floor"]
    assert floor["normal"]["fid"]["value"] is not None
    assert floor["abnormal"]["fid"]["value"] is None
    assert floor["abnormal"]["fid"]["reason"] == "the floor has 20 images of abnormal, the generator 10"
    assert "other counts" in floor["all"]["fid"]["reason"] == floor[MEAN]["fid"]["reason"]


def test_classes_that_are_mixed_up_show_in_their_mean_and_not_in_the_pool(files):
    right = run(files)["groups"]
    with np.load(files["fake"]) as arrays:
        given = dict(arrays)
    given["labels"] = np.where(given["labels"] == "normal", "abnormal", "normal")
    np.savez(files["fake"], **given)
    swapped = run(files)["groups"]
    assert swapped["all"]["fid"] == right["all"]["fid"]
    assert swapped[MEAN]["fid"]["value"] > right[MEAN]["fid"]["low"]
    assert swapped[MEAN]["kid"]["value"] > right[MEAN]["kid"]["value"]


def pair_of_sets(count, *, shift=0.0, d=4):
    rng = np.random.default_rng(0)
    real, fake = rng.standard_normal((2, count, d))
    probabilities = np.full((count, 2), 0.5)
    return pair_of(real, fake + shift, np.arange(count), np.arange(count), probabilities, "toy")


def test_intervals_stay_in_the_range_of_their_metric():
    found = measure_all(pair_of_sets(40, shift=9.0), SETTINGS)
    for name in ("precision", "recall", "density", "coverage"):
        assert (found[name].value, found[name].low, found[name].high) == (0, 0, 0)
    close = measure_all(pair_of_sets(60, d=1), SETTINGS)
    assert close["fid"].low == 0 <= close["fid"].value
    assert close["precision"].high == 1
    assert close["kid"].low < 0 > close["fid_infinity"].low  # unbiased: they may lie below


@pytest.mark.parametrize("line_error", [0.0, 3.0])
def test_the_error_of_fid_infinity_is_that_of_the_sample_and_of_the_line(line_error, monkeypatch):
    monkeypatch.setattr(formulas, "frechet_infinity", lambda curve: (1.0, line_error))
    found = measure_all(pair_of_sets(80, shift=1.0), dataclasses.replace(SETTINGS, resamples=4000))
    error = {name: (found[name].high - found[name].low) / 2 / 1.96 for name in ("fid", "fid_infinity")}
    assert error["fid_infinity"] == pytest.approx(np.hypot(error["fid"], line_error), rel=0.05)


def test_each_half_of_the_patients_must_hold_more_than_k_images():
    needed = 2 * (SETTINGS.neighbours + 1)
    assert measure_all(pair_of_sets(needed), SETTINGS)["density"].value is not None
    assert f"at least {needed} patients" in measure_all(pair_of_sets(needed - 1), SETTINGS)["density"].reason


def test_a_metric_is_added_in_one_place(files, monkeypatch):
    """The distance of the means: its function and its entry, and it stands in every group with an interval."""

    def measure(pair, settings, rng):
        return Found(float(np.linalg.norm(pair.real.mean(axis=0) - pair.fake.mean(axis=0))))

    added = Metric(
        "shift", "shift", "Distance of means", False, "about 0", (0, np.inf), "halves", lambda *_: None, measure
    )
    before = run(files)["groups"]
    monkeypatch.setitem(METRICS, "shift", added)
    found = run(files)
    for part in ("groups", "matched", "floor", "duplicate"):
        for group in found[part].values():
            assert 0 <= group["shift"]["low"] < group["shift"]["value"] < group["shift"]["high"]
            del group["shift"]
    # It does not change the random numbers of the others.
    assert found["groups"] == before


def test_kernel_distance_by_subsets_and_without_probabilities(files):
    write(files["fake"], {"normal": 50, "abnormal": 50}, seed=2, shift=0.8, prefix="f", probabilities=False)
    subsets = run(files, dataclasses.replace(SETTINGS, kid_subsets=30))["groups"]["all"]
    whole = run(files)["groups"]["all"]
    assert subsets["kid"]["value"] != whole["kid"]["value"]
    assert subsets["kid"]["value"] == pytest.approx(whole["kid"]["value"], rel=0.3)
    assert "no class probabilities" in whole["inception_score"]["reason"]
    small = run(files, dataclasses.replace(SETTINGS, kid_subsets=3, kid_subset_size=60))
    assert "exceed" in small["groups"]["normal"]["kid"]["reason"]


def test_an_inception_score_is_of_parts_where_these_have_images_enough(files, monkeypatch):
    """Ten parts of 2,000 images or more, else one."""

    def scores(parts):
        groups = run(files, dataclasses.replace(SETTINGS, inception_splits=parts))["groups"]
        return [groups[name]["inception_score"]["value"] for name in ("all", "normal")]

    whole = scores(1)
    assert scores(2) == whole
    monkeypatch.setattr(quality, "PART", 50)
    both, one_class = scores(2)
    assert both != whole[0]
    assert one_class == whole[1]  # 50 images


def test_large_sets_are_reduced(files):
    result = run(files, dataclasses.replace(SETTINGS, max_images=44))
    assert result["n_real"] == 44
    assert result["groups"]["normal"]["n_real"] == 24


def test_augmented_draws_are_left_out(files):
    with np.load(files["real"]) as arrays:
        given = dict(arrays)
    given = {name: value if value.ndim == 0 else np.concatenate([value, value]) for name, value in given.items()}
    given["draw"][110:] = 1
    np.savez(files["real"], **given)
    assert run(files)["n_real"] == 110


def test_bad_input_is_named(files, tmp_path):
    with pytest.raises(InputError, match="no such feature file"):
        run(files | {"real": tmp_path / "none.npz"})
    (tmp_path / "broken.npz").write_bytes(files["real"].read_bytes()[:3000])
    with pytest.raises(InputError, match=r"broken\.npz: not a readable feature file"):
        run(files | {"real": tmp_path / "broken.npz"})
    other = write(tmp_path / "other.npz", {"normal": 30}, extractor="another")
    with pytest.raises(InputError, match="different extractors"):
        run(files | {"fake": other})
    with pytest.raises(InputError, match="none of the labels"):
        run(files, counts={"tumour": 10})

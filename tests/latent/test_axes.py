import dataclasses
import json

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from synthmed.core.errors import InputError
from synthmed.latent.axes import (
    DiseaseAxesSettings,
    class_weights,
    disease_axes,
    orthogonalised,
    read_axes,
    regression_slopes,
    single_patterns,
)
from synthmed.latent.sample_file import LatentSamples, write_samples

SETTINGS = DiseaseAxesSettings(
    normal="normal", at_least=0.9, at_most=0.1, min_samples=20, against="normal", ridge=0.01, orthogonalise="none",
    order=(), resamples=10, level=0.95, seed=1,
)  # fmt: skip
A = np.eye(8)[0]
B = 0.5 * np.eye(8)[0] + np.sqrt(0.75) * np.eye(8)[1]


def write(path, codes, likelihoods, targets, space="z"):
    write_samples(
        path,
        LatentSamples(
            codes=codes.astype(np.float32),
            likelihoods=likelihoods,
            per_seed=likelihoods[None].astype(np.float32),
            targets=targets,
            generator="toy",
            model="toy",
            space=space,
            seed=1,
            checkpoint="a",
            classifier="b",
        ),
    )


def world(count=4000, noise=False):
    """Codes (count, 8), and likelihoods of normal, a, b, never: a and b grow along A and B (at 60°)."""
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((count, 8))
    u = codes @ np.stack([A, B]).T
    if noise:
        u = rng.standard_normal(u.shape)
    logits = 12 * np.stack([0.7 - u.max(axis=1), u[:, 0] - 1, u[:, 1] - 1, np.full(count, -1.0)], axis=1)
    return codes, 1 / (1 + np.exp(-logits))


@pytest.fixture
def run(tmp_path):
    def do(settings, codes, likelihoods, targets=("normal", "a", "b", "never"), space="z"):
        write(tmp_path / "samples.npz", codes, likelihoods, targets, space)
        files = {"samples": tmp_path / "samples.npz", "axes": tmp_path / "axes.npz", "report": tmp_path / "axes.json"}
        disease_axes(settings, **files)
        report = json.loads(files["report"].read_text())
        return read_axes(files["axes"]), report, {entry["target"]: entry for entry in report["axes"]}

    return do


def change(**values):
    return dataclasses.replace(SETTINGS, **values)


# ----------------------------------------------------------------------------------------------------- the parts
def test_a_sample_shows_one_pattern_when_one_likelihood_is_high_and_all_others_are_low():
    likelihoods = np.array(
        [[0.95, 0.1, 0.0], [0.9, 0.05, 0.05], [0.89, 0.0, 0.0], [0.95, 0.11, 0.0], [0.0, 0.97, 0.92], [0.02, 0.1, 0.99]]
    )
    assert single_patterns(likelihoods, 0.9, 0.1).tolist() == [0, 0, -1, -1, -1, 2]


def test_weights_give_every_class_the_same_sum():
    # 6 of class 0, 2 of class 3: 8 / (2 · 6) and 8 / (2 · 2).
    weights = class_weights(np.array([0] * 6 + [3] * 2))
    np.testing.assert_allclose(weights, [2 / 3] * 6 + [2.0] * 2)


def test_slopes_agree_with_scikit_learn():
    rng = np.random.default_rng(3)
    codes, outputs, weights = rng.normal(size=(40, 6)), rng.uniform(size=(40, 2)), rng.uniform(0.2, 3, 40)
    plain = LinearRegression().fit(codes, outputs, weights)
    np.testing.assert_allclose(regression_slopes(codes, outputs, weights, 0.0), plain.coef_, atol=1e-10)
    # Its penalty is not divided by the sum of the weights.
    shrunk = Ridge(alpha=0.3 * weights.sum()).fit(codes, outputs, weights)
    np.testing.assert_allclose(regression_slopes(codes, outputs, weights, 0.3), shrunk.coef_, atol=1e-10)


def test_fewer_samples_than_dimensions_need_a_ridge():
    rng = np.random.default_rng(3)
    codes, outputs, weights = rng.normal(size=(5, 6)), rng.uniform(size=(5, 1)), np.ones(5)
    with pytest.raises(InputError, match="5 samples do not determine a regression on 6 dimensions; set ridge above 0"):
        regression_slopes(codes, outputs, weights, 0.0)
    assert np.isfinite(regression_slopes(codes, outputs, weights, 0.1)).all()


def test_gram_schmidt_by_hand():
    slopes = np.array([[3.0, 0, 0], [1, 1, 0], [1, 1, 1]])
    in_order, left = orthogonalised(slopes, "in_order", [0, 1, 2])
    np.testing.assert_allclose(in_order, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(left, [1, np.sqrt(1 / 2), np.sqrt(1 / 3)])
    other_way, _ = orthogonalised(slopes[:2], "in_order", [1, 0])
    np.testing.assert_allclose(other_way, [[np.sqrt(0.5), -np.sqrt(0.5), 0], [np.sqrt(0.5), np.sqrt(0.5), 0]])


def test_projecting_out_the_others_by_hand():
    axes, left = orthogonalised(np.array([[2.0, 0, 0], [1, 1, 0]]), "from_others", [0, 1])
    # (1, 0) minus its part along (1, 1)/√2 is (1/2, −1/2); (1, 1)/√2 minus its part along (1, 0) is (0, 1)/√2.
    np.testing.assert_allclose(axes, [[np.sqrt(0.5), -np.sqrt(0.5), 0], [0, 1, 0]])
    np.testing.assert_allclose(left, [np.sqrt(0.5), np.sqrt(0.5)])
    as_they_are, left = orthogonalised(np.array([[2.0, 0, 0], [1, 1, 0]]), "none", [0, 1])
    np.testing.assert_allclose(as_they_are, [[1, 0, 0], [np.sqrt(0.5), np.sqrt(0.5), 0]])
    np.testing.assert_allclose(left, [1, 1])


def test_nothing_is_left_of_a_combination_of_other_axes():
    axes, left = orthogonalised(np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0]]), "in_order", [0, 1, 2])
    assert axes[2].tolist() == [0, 0, 0]
    assert left[2] < 1e-12


# ------------------------------------------------------------------------------------------------------ the step
@pytest.mark.parametrize(("orthogonalise", "against"), [("none", "normal"), ("from_others", "all")])
def test_known_axes_are_recovered(run, orthogonalise, against):
    axes, report, entries = run(change(orthogonalise=orthogonalise, against=against), *world())
    assert axes.targets == ("a", "b")
    np.testing.assert_allclose(np.linalg.norm(axes.axes, axis=1), 1, atol=1e-6)
    assert axes.axes[0] @ A > 0.95
    assert axes.axes[1] @ B > 0.95
    np.testing.assert_allclose(axes.scales, 1, atol=0.05)
    for name in "ab":
        assert entries[name]["found"]
        assert entries[name]["half_cosine"]["low"] > 0.9
        assert entries[name]["held_out_auroc"]["low"] > 0.99
    assert entries["a"]["cosines"]["b"] == pytest.approx(axes.axes[0] @ axes.axes[1], abs=1e-6)
    assert entries["never"]["reason"] == "0 samples show it alone, fewer than 20"
    assert report["samples"] == 4000


@pytest.mark.parametrize("against", ["normal", "all"])
def test_the_ridge_is_in_units_of_the_variance_of_w(run, against):
    """w has whatever scale the mapping gives it; the axes are the same ones."""
    codes, likelihoods = world(1000)
    chosen = change(against=against, ridge=1.0)
    large, *_ = run(chosen, codes, likelihoods, space="w")
    small, *_ = run(chosen, 0.1 * codes, likelihoods, space="w")
    np.testing.assert_allclose(small.axes, large.axes, atol=1e-5)
    as_z, *_ = run(chosen, codes, likelihoods)
    np.testing.assert_allclose(large.axes, as_z.axes, atol=0.02)
    assert (run(chosen, 2 * codes, likelihoods)[0].axes != as_z.axes).any(), "of z it is added as it is"


def test_gram_schmidt_leaves_the_first_axis_and_makes_the_others_orthogonal(run):
    plain, *_ = run(SETTINGS, *world())
    axes, _, entries = run(change(orthogonalise="in_order", order=("b", "never", "a")), *world())
    np.testing.assert_allclose(axes.axes[1], plain.axes[1], atol=1e-6)
    assert axes.axes[0] @ axes.axes[1] == pytest.approx(0, abs=1e-6)
    assert entries["a"]["remainder"] < 0.95
    assert entries["b"]["remainder"] == pytest.approx(1)
    assert entries["a"]["cosines_before"]["b"] == pytest.approx(plain.axes[0] @ plain.axes[1], abs=1e-5)


def test_an_axis_of_noise_is_seen_by_its_halves_and_by_fresh_samples(run):
    _, _, entries = run(change(resamples=40), *world(noise=True))
    assert abs(entries["a"]["half_cosine"]["value"]) < 0.25
    assert entries["a"]["bootstrap_cosine"]["value"] > 0.3  # resamples share samples, so this alone would mislead
    assert entries["a"]["held_out_auroc"]["value"] == pytest.approx(0.5, abs=0.05)


def test_counts_before_and_after_the_selection(run):
    rows = [[0.95, 0.0, 0.0]] * 6 + [[0.95, 0.5, 0.0]] * 3 + [[0.0, 0.6, 0.0]] * 2 + [[0.05, 0.99, 0.02]] * 5
    rows += [[0.0, 0.93, 0.95]]
    codes = np.random.default_rng(0).normal(size=(len(rows), 3))
    _, report, entries = run(change(min_samples=4, ridge=1.0), codes, np.array(rows), ("normal", "a", "b"))
    assert report["counts"] == [
        {"target": "normal", "highest": 9, "likely": 9, "alone": 6},
        {"target": "a", "highest": 7, "likely": 6, "alone": 5},
        {"target": "b", "highest": 1, "likely": 1, "alone": 0},
    ]
    assert report["selected"] == 11
    assert entries["a"]["regressed"] == 11
    # Weights 11/12 and 11/10: 11² / (6 · (11/12)² + 5 · (11/10)²) = 1 / (1/24 + 1/20).
    assert entries["a"]["effective_samples"] == pytest.approx(120 / 11)
    assert not entries["b"]["found"]


def test_without_normal_samples_no_axis_is_found(run):
    codes, likelihoods = world()
    likelihoods[:, 0] = 0.0
    axes, _, entries = run(SETTINGS, codes, likelihoods)
    assert axes.targets == ()
    assert axes.axes.shape == (0, 8)
    assert len(axes.normals) == 0
    assert entries["a"]["reason"] == "0 samples show normal alone, fewer than 20"


def test_twice_the_same_disease_is_not_found_when_others_are_projected_out(run):
    codes, likelihoods = world(1000)
    normal, disease, none = likelihoods[:, 0], likelihoods[:, 1], np.zeros(1000)
    # The same images twice, called by one name and by the other.
    twice = np.concatenate([np.stack([normal, disease, none], 1), np.stack([normal, none, disease], 1)])
    axes, _, entries = run(
        change(orthogonalise="from_others"), np.concatenate([codes] * 2), twice, ("normal", "a", "again")
    )
    assert axes.targets == ()
    assert entries["a"]["reason"] == "its axis is a combination of the other axes, so nothing of it is left"


def test_equal_settings_give_equal_bytes(run, tmp_path):
    run(SETTINGS, *world(1000))
    first = [(tmp_path / name).read_bytes() for name in ("axes.npz", "axes.json")]
    run(SETTINGS, *world(1000))
    assert first == [(tmp_path / name).read_bytes() for name in ("axes.npz", "axes.json")]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"normal": "healthy"}, "setting normal is 'healthy'; the targets"),
        ({"at_most": 0.95}, "at_most is 0.95; it must be below at_least"),
        ({"orthogonalise": "in_order", "order": ("a", "b")}, "must name each of"),
        ({"order": ("a", "b", "never")}, "leave it empty"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused(run, values, message):
    with pytest.raises(InputError, match=message):
        run(change(**values), *world(100))


def test_a_file_of_another_kind_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", codes=np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive")
    files = {"axes": tmp_path / "axes.npz", "report": tmp_path / "axes.json"}
    with pytest.raises(InputError, match=r"other.npz: holds \['codes'\]"):
        disease_axes(SETTINGS, samples=tmp_path / "other.npz", **files)
    with pytest.raises(InputError, match=r"text.npz: not readable"):
        disease_axes(SETTINGS, samples=tmp_path / "text.npz", **files)
    assert not files["axes"].exists()

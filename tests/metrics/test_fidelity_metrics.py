"""Fidelity metrics against torch-fidelity on the same features, against hand values, and at their edges."""

import numpy as np
import pytest
import scipy.linalg

from synthmed.core.errors import InputError
from synthmed.metrics import fidelity
from synthmed.metrics.diversity import neighbour_metrics, squared_distances
from synthmed.metrics.resampling import half_samples, linearised_interval, units


def pair(n, m, d, shift=0.1, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((d, d)) / np.sqrt(d)
    real = np.maximum(rng.standard_normal((n, d)) @ mix, 0)
    fake = np.maximum(1.1 * rng.standard_normal((m, d)) @ mix + shift, 0)
    return real.astype(np.float32), fake.astype(np.float32)


def distances(real, fake):
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    a, b = (real**2).sum(axis=1), (fake**2).sum(axis=1)
    return (
        squared_distances(real @ real.T, a, a),
        squared_distances(real @ fake.T, a, b),
        squared_distances(fake @ fake.T, b, b),
    )


def kernels(real, fake):
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    return [fidelity.polynomial_kernel(x @ y.T, x.shape[1]) for x, y in ((real, real), (real, fake), (fake, fake))]


@pytest.mark.parametrize(
    ("n", "m", "d"), [(300, 200, 40), (200, 300, 40), (60, 90, 128), (90, 60, 128), (50, 400, 128)]
)
def test_fid_agrees_with_torch_fidelity(n, m, d):
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    real, fake = pair(n, m, d)
    statistics = [
        {"mu": x.mean(axis=0, dtype=np.float64), "sigma": np.cov(x.astype(np.float64), rowvar=False)}
        for x in (real, fake)
    ]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert fidelity.frechet_distance(real, fake) == pytest.approx(expected, rel=1e-4)
    assert fidelity.frechet_influence(real, fake)[0] == pytest.approx(expected, rel=1e-4)


def test_fid_agrees_with_matrix_square_root():
    real, fake = pair(500, 400, 16)
    sr, sf = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    shift = real.mean(axis=0) - fake.mean(axis=0)
    expected = shift @ shift + np.trace(sr + sf - 2 * scipy.linalg.sqrtm(sr @ sf).real)
    assert fidelity.frechet_distance(real, fake) == pytest.approx(expected, rel=1e-5)


def test_fid_of_one_dimension_by_hand():
    real, fake = np.array([[0.0], [2.0]]), np.array([[1.0], [3.0], [5.0]])  # means 1, 3; deviations √2, 2
    assert fidelity.frechet_distance(real, fake) == pytest.approx(4 + (2 - np.sqrt(2)) ** 2)


def test_fid_with_dead_features_and_equal_sets():
    real, fake = pair(100, 80, 10)
    dead_real, dead_fake = np.pad(real, ((0, 0), (0, 5))), np.pad(fake, ((0, 0), (0, 5)))
    assert fidelity.frechet_distance(dead_real, dead_fake) == pytest.approx(fidelity.frechet_distance(real, fake))
    assert 0 <= fidelity.frechet_distance(real, real) < 1e-6
    assert np.isfinite(fidelity.frechet_influence(dead_real, np.ones_like(dead_fake))[2]).all()


def test_fid_of_too_few_or_broken_images_is_an_error():
    with pytest.raises(InputError, match="at least 2 images"):
        fidelity.frechet_distance(np.ones((1, 4)), np.ones((5, 4)))
    with pytest.raises(InputError, match="NaN"):
        fidelity.frechet_distance(np.full((3, 4), np.nan), np.ones((5, 4)))
    with pytest.raises(InputError, match="one extractor"):
        fidelity.frechet_distance(np.ones((3, 4)), np.ones((5, 3)))


@pytest.mark.parametrize(("n", "m", "d"), [(60, 50, 8), (20, 25, 40)])
def test_fid_influence_is_the_derivative_by_an_images_weight(n, m, d):
    real, fake = (x.astype(np.float64) for x in pair(n, m, d, shift=0.3))
    _, influence_real, influence_fake = fidelity.frechet_influence(real, fake)

    def weighted(w, v):
        def moments(x, weights):
            mean = weights @ x / weights.sum()
            # Keeps the factor N / (N − 1) of the covariance fixed, as the influence function does.
            centred = (x - mean) * np.sqrt(weights / weights.sum() * len(x) / (len(x) - 1))[:, None]
            return mean, centred

        (mr, a), (mf, b) = moments(real, w), moments(fake, v)
        return ((mr - mf) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum()

    step = 1e-5
    for i in (0, 7, 13):
        up, down = np.ones(n), np.ones(n)
        up[i], down[i] = 1 + step, 1 - step
        slope = (weighted(up, np.ones(m)) - weighted(down, np.ones(m))) / (2 * step)
        assert influence_real[i] / n == pytest.approx(slope, rel=1e-3, abs=1e-6)
        up, down = np.ones(m), np.ones(m)
        up[i], down[i] = 1 + step, 1 - step
        slope = (weighted(np.ones(n), up) - weighted(np.ones(n), down)) / (2 * step)
        assert influence_fake[i] / m == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_fid_interval_covers_the_expected_fid_at_this_size():
    rng = np.random.default_rng(1)
    values, intervals = [], []
    for _ in range(60):
        real, fake = rng.standard_normal((80, 6)), rng.standard_normal((80, 6)) * 1.2 + 0.3
        value, *influences = fidelity.frechet_influence(real, fake)
        pairs = [(influence, np.arange(80)) for influence in influences]
        values.append(value)
        intervals.append(linearised_interval(value, pairs, level=0.95, resamples=300, rng=rng))
    low, high = np.array(intervals).T
    assert ((low <= values) & (values <= high)).all()
    covered = (low <= np.mean(values)) & (np.mean(values) <= high)
    assert covered.mean() >= 0.88


def test_fid_infinity_is_nearly_unbiased():
    rng = np.random.default_rng(2)
    d, found, plain = 20, [], []
    truth = d * 0.2**2 + d * (1.2 - 1) ** 2
    for _ in range(10):
        real, fake = rng.standard_normal((300, d)), 1.2 * rng.standard_normal((300, d)) + 0.2
        curve = fidelity.frechet_bias_curve(real, fake, fidelity.curve_sizes(300, 8), rng)
        found.append(fidelity.frechet_infinity(curve)[0])
        plain.append(curve[-1][1])
    assert np.mean(plain) > 1.15 * truth
    assert np.mean(found) == pytest.approx(truth, rel=0.1)
    assert curve[0][1] > curve[-1][1]


def test_fid_infinity_of_an_exact_line():
    assert fidelity.frechet_infinity([(10, 3.0), (20, 2.5), (40, 2.25)])[0] == pytest.approx(2.0)
    with pytest.raises(InputError, match="3 subset sizes"):
        fidelity.frechet_infinity([(10, 3.0), (20, 2.5)])


def test_kid_agrees_with_torch_fidelity():
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric

    real, fake = pair(150, 120, 32)
    tensors = torch.from_numpy(fake.astype(np.float64)), torch.from_numpy(real.astype(np.float64))
    reference = {"kid_subsets": 7, "kid_subset_size": 50, "rng_seed": 3, "verbose": False, "kid_kernel": "poly"}
    expected = kid_features_to_metric(*tensors, **reference)["kernel_inception_distance_mean"]
    found = fidelity.kernel_distance_subsets(*kernels(real, fake), subsets=7, subset_size=50, seed=3)
    assert found == pytest.approx(expected, rel=1e-4)
    whole = {**reference, "kid_subsets": 1, "kid_subset_size": 120}
    expected = kid_features_to_metric(tensors[0], tensors[1][:120], **whole)["kernel_inception_distance_mean"]
    assert fidelity.kernel_distance(*kernels(real[:120], fake)) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(InputError, match="lower the subset size"):
        fidelity.kernel_distance_subsets(*kernels(real, fake), subsets=1, subset_size=121, seed=0)


def test_kid_influence_gives_an_honest_spread():
    rng = np.random.default_rng(4)
    values, widths = [], []
    for _ in range(60):
        real, fake = rng.standard_normal((60, 8)), rng.standard_normal((60, 8)) + 0.4
        matrices = kernels(real, fake)
        pairs = [(influence, np.arange(60)) for influence in fidelity.kernel_influence(*matrices)]
        value = fidelity.kernel_distance(*matrices)
        low, high = linearised_interval(value, pairs, level=0.95, resamples=300, rng=rng)
        values.append(value)
        widths.append((high - low) / (2 * 1.96))
    assert 0.8 < np.mean(widths) / np.std(values) < 1.8


@pytest.mark.parametrize("shuffle", [True, False])
def test_inception_score_agrees_with_torch_fidelity(shuffle):
    import torch
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = torch.from_numpy(np.random.default_rng(5).standard_normal((203, 12)) * 2)
    expected = isc_features_to_metric(logits, splits=10, shuffle=shuffle, rng_seed=2020)["inception_score_mean"]
    probabilities = logits.softmax(dim=1).numpy().astype(np.float32)
    value, _ = fidelity.inception_score(probabilities, splits=10, shuffle_seed=2020 if shuffle else None)
    assert value == pytest.approx(expected, rel=1e-4)


def test_inception_score_at_its_limits():
    sure = np.eye(4)[np.arange(40) % 4]
    assert fidelity.inception_score(sure, splits=1, shuffle_seed=None)[0] == pytest.approx(4)
    assert fidelity.inception_score(np.full((20, 4), 0.25), splits=1, shuffle_seed=None)[0] == pytest.approx(1)
    with pytest.raises(InputError, match="at least 20 images"):
        fidelity.inception_score(sure[:19], splits=10, shuffle_seed=None)
    with pytest.raises(InputError, match="sum to 1"):
        fidelity.inception_score(2 * sure, splits=1, shuffle_seed=None)


@pytest.mark.parametrize("k", [3, 5])
def test_precision_and_recall_agree_with_torch_fidelity(k):
    import torch
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, fake = pair(150, 120, 12, shift=0.5)
    tensors = torch.from_numpy(fake.astype(np.float64)), torch.from_numpy(real.astype(np.float64))
    options = {"prc_neighborhood": k, "prc_batch_size": 10000, "save_cpu_ram": False, "verbose": False}
    expected = prc_features_to_metric(*tensors, **options)
    found = neighbour_metrics(*distances(real, fake), k)
    assert 0.05 < expected["precision"] < 0.99
    assert 0.05 < expected["recall"] < 0.99
    assert found["precision"] == pytest.approx(expected["precision"], rel=1e-4)
    assert found["recall"] == pytest.approx(expected["recall"], rel=1e-4)


def test_density_and_coverage_by_hand():
    # Real at 0, 1, 3, 7 with k = 1: radii 1, 1, 2, 4. Fakes at 0.5 (in the balls of 0 and 1), 2 (in that of 3, on the
    # sphere of 1), 100 (in none).
    real, fake = np.array([[0.0], [1.0], [3.0], [7.0]]), np.array([[0.5], [2.0], [100.0]])
    found = neighbour_metrics(*distances(real, fake), 1)
    assert found == pytest.approx({"precision": 2 / 3, "recall": 1, "density": 3 / 3, "coverage": 3 / 4})


def test_copies_of_real_images_lie_in_their_balls():
    real, _ = pair(90, 10, 300)
    found = neighbour_metrics(*distances(real, real[::2]), 3)
    assert found["precision"] == 1
    for k in (1, 3, 5):
        assert neighbour_metrics(*distances(real, real), k) == dict.fromkeys(found, 1.0)
    # A ball contains its sphere for precision: the fake lies as far from 0 as 0's nearest neighbour.
    line = np.array([[0.0], [2.0], [9.0]])
    assert neighbour_metrics(*distances(line, np.array([[-2.0], [-2.5]])), 1)["precision"] == 0.5
    assert neighbour_metrics(*distances(np.array([[-2.0], [-2.5]]), line), 1)["recall"] == 0.5
    with pytest.raises(InputError, match="lower k"):
        neighbour_metrics(*distances(real[:3], real), 3)


def test_half_samples_keep_patients_together():
    unit = units(["b", "a", "b", "c", "d", "d"])
    rng = np.random.default_rng(0)
    for rows in half_samples(unit, 20, rng):
        assert len(set(unit[rows])) == 2
        assert set(rows) == set(np.flatnonzero(np.isin(unit, unit[rows])))
    with pytest.raises(InputError, match="2 independent patients"):
        next(half_samples(units(["a", "a"]), 1, rng))

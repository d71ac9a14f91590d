import numpy as np
import pytest
from scipy import stats

from synthmed.core.errors import InputError
from synthmed.metrics import copies as c


def test_nearest_equals_all_pairs_in_any_chunk():
    rng = np.random.default_rng(0)
    queries, references = rng.standard_normal((23, 6)), rng.standard_normal((31, 6))
    every = np.linalg.norm(queries[:, None] - references[None], axis=2)
    for chunk in (1, 7, 100):
        found = c.nearest(queries, references, chunk=chunk, groups=None)
        assert (found.index == every.argmin(axis=1)).all()
        assert found.distance == pytest.approx(every.min(axis=1))


def test_leave_one_patient_out():
    train = np.array([[0.0], [0.1], [5.0], [6.0]])
    patients = np.array(["a", "a", "b", "c"])
    found = c.nearest(train, train, chunk=2, groups=(patients, patients))
    assert found.index.tolist() == [2, 2, 3, 2]
    with pytest.raises(InputError, match="one patient"):
        c.nearest(train, train, chunk=4, groups=(np.zeros(4), np.zeros(4)))


def test_an_exact_copy_has_distance_zero():
    images = np.random.default_rng(1).integers(0, 255, (8, 32, 32, 1), dtype=np.uint8)
    pixels = c.normalise_pixels(images, 16)
    assert c.nearest(pixels[3:4], pixels, chunk=8, groups=None) == (3, 0)


def test_pixels_ignore_brightness_contrast_and_size():
    image = np.random.default_rng(2).integers(20, 100, (1, 16, 16, 1)).astype(np.uint8)
    brighter, larger = image * 2 + 10, image.repeat(3, axis=1).repeat(3, axis=2)
    base = c.normalise_pixels(image, 8)
    assert c.normalise_pixels(brighter, 8) == pytest.approx(base, abs=1e-5)
    assert c.normalise_pixels(larger, 8) == pytest.approx(base, abs=1e-5)
    assert np.linalg.norm(base) == pytest.approx(1)
    assert (c.normalise_pixels(np.full((1, 9, 7, 3), 4, np.uint8), 4) == 0).all()


def test_block_means_by_hand_for_an_uneven_size():
    image = np.arange(5, dtype=np.uint8).reshape(1, 1, 5, 1)  # columns 0 1 | 2 3 4 → means 0.5, 3
    assert c.normalise_pixels(image, 2).ravel() == pytest.approx([-1 / np.sqrt(2), 1 / np.sqrt(2)])


def test_standardise_leaves_out_constant_columns():
    train = np.array([[0.0, 5.0], [2.0, 5.0]])
    found, other = c.standardise(train, [np.array([[3.0, 9.0]])])
    assert found.tolist() == [[-1], [1]]
    assert other.tolist() == [[2]]
    with pytest.raises(InputError, match="same features"):
        c.standardise(np.ones((4, 2)), [])


def test_suspects_by_hand():
    reference = np.arange(1.0, 101.0)
    found = c.suspects(np.array([0.5, 0.9, 1.0, 50.0]), reference, quantile=0.01, level=0.95)
    assert found.threshold == 1
    assert found.suspect.tolist() == [True, True, False, False]
    assert found.share[:1] == (0.5,)
    assert found.share.low == pytest.approx(stats.binomtest(2, 4).proportion_ci(method="exact").low)
    assert found.expected == pytest.approx(1 / 101)
    # Two or more of 4 below the smallest of 100: the two smallest of all 104 are generated.
    assert found.p == pytest.approx(4 * 3 / (104 * 103))
    many = c.suspects(np.linspace(0, 40, 200), reference, quantile=0.05, level=0.95)
    count = int(many.suspect.sum())
    assert many.p == pytest.approx(stats.betabinom.sf(count - 1, 200, 5, 96))
    assert c.suspects(np.array([50.0]), reference, quantile=0.05, level=0.95).p == pytest.approx(1)


def test_p_of_suspects_is_uniform_for_images_like_the_held_out_ones():
    rng = np.random.default_rng(4)
    p = [c.suspects(rng.random(60), rng.random(40), quantile=0.05, level=0.95).p for _ in range(1500)]
    assert np.mean(np.array(p) <= 0.05) <= 0.065
    assert np.mean(np.array(p) <= 0.3) == pytest.approx(0.25, abs=0.08)

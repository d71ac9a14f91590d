import numpy as np
import pytest

from synthmed.metrics.neighbours import euclidean_blocks, keep_nearest, standardise


def blocks(distances, width):
    return ((start, distances[:, start : start + width].copy()) for start in range(0, distances.shape[1], width))


@pytest.mark.parametrize("width", [1, 7, 3000])
def test_the_nearest_of_all_pairs_whatever_the_blocks(width):
    rng = np.random.default_rng(0)
    distances = rng.integers(0, 400, (5, 2500)).astype(np.float32)  # with ties, more columns than are kept meanwhile
    found = keep_nearest(blocks(distances, width), np.full(5, -1), np.arange(2500), 9)
    assert (found.distance == np.sort(distances, axis=1)[:, :9]).all()
    assert (np.take_along_axis(distances, found.index, 1) == found.distance).all()
    assert all(len(set(row)) == 9 for row in found.index.tolist())
    assert np.isinf(found.own).all()


def test_the_patient_left_out_is_no_neighbour_but_its_distance_is_kept():
    distances = np.array([[1.0, 2, 3, 4], [4, 3, 2, 1]], dtype=np.float32)
    found = keep_nearest(blocks(distances, 3), np.array([7, -1]), np.array([7, 5, 7, 6]), 2)
    assert found.index.tolist() == [[1, 3], [3, 2]]
    assert found.distance.tolist() == [[2, 4], [1, 2]]
    assert found.own.tolist() == [1, np.inf]


def test_euclidean_distances():
    rng = np.random.default_rng(1)
    queries, pool = rng.standard_normal((4, 6)), rng.standard_normal((1100, 6))
    found = np.concatenate([block for _, block in euclidean_blocks(queries, pool)], axis=1)
    assert found == pytest.approx(np.linalg.norm(queries[:, None] - pool[None], axis=2))


def test_standardise_leaves_out_constant_columns_and_scales_rows():
    pool = np.array([[0.0, 5, 1], [2, 5, 3]], dtype=np.float32)
    found, other = standardise(pool, [np.array([[3.0, 9, 2]], dtype=np.float32)])
    assert found == pytest.approx(np.array([[-1, -1], [1, 1]]) / np.sqrt(2))
    assert other.tolist() == [[1, 0]]  # 3 is two standard deviations above, 2 is the mean
    assert standardise(np.ones((4, 2), np.float32), [])[0].shape == (4, 0)

"""Directions in latent space, where the right ones are known."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from synthmed.core.errors import InputError
from synthmed.latent.directions import (
    Boundary,
    held_out,
    principal_directions,
    random_directions,
    svm_boundary,
    weight_directions,
    without,
)

RNG = np.random.default_rng(0)
STRETCH = np.array([5.0, 3.0, 2.0, 1.0, 0.5, 0.2])


def codes(count=400):
    return (np.random.default_rng(1).standard_normal((count, 6)) * STRETCH).astype(np.float32)


def test_the_boundary_of_the_machine_is_the_one_that_labels_were_made_by():
    normal = np.array([1.0, -1.0, 2.0, 0.0, 0.0, 0.0]) / np.sqrt(6)
    given = codes(2000)
    boundary = svm_boundary(given, given @ normal > 1.0, penalty=10.0)
    assert boundary.normal @ normal > 0.995
    assert np.linalg.norm(boundary.normal) == pytest.approx(1)
    assert boundary.offset == pytest.approx(-1.0, abs=0.2)
    found = held_out(boundary, given, given @ normal > 1.0)
    assert found["accuracy"] > 0.95
    assert found["auroc"] > 0.99


def test_held_out_numbers_by_hand():
    boundary = Boundary(np.array([1.0, 0.0]), -1.0)
    given = np.array([[0.0, 9.0], [3.0, 0.0], [2.0, 1.0], [0.5, 2.0]])
    # distances −1, 2, 1, −0.5: called no, yes, yes, no
    assert held_out(boundary, given, np.array([False, True, False, False])) == {
        "accuracy": 0.75,
        "auroc": 1.0,
        "majority": 0.75,
    }
    assert boundary.side(given).tolist() == [-1.0, 2.0, 1.0, -0.5]


def test_principal_directions_of_codes_are_those_of_scikit_learn():
    given = codes()
    found, wanted = principal_directions(given, given, 3), PCA(3).fit(given).components_
    assert np.allclose(np.abs((found * wanted).sum(axis=1)), 1, atol=1e-5)


def test_principal_directions_of_images_are_carried_over_to_codes():
    given = np.random.default_rng(2).standard_normal((5000, 6))
    images = given @ np.diag([1.0, 0, 0, 4.0, 0, 0]) @ np.random.default_rng(3).standard_normal((6, 20))
    first, *_ = principal_directions(given, images, 10)
    assert abs(first[3]) > 0.95  # what is seen of z is mostly its fourth number
    assert len(principal_directions(given, images, 10)) == 2  # and only two are seen at all


@pytest.mark.parametrize("pixels", [20, 60, 300])
def test_principal_directions_are_those_of_a_singular_value_decomposition(pixels):
    """Fewer samples than pixels or more: the same directions as by equation 2 of GANSpace, written out."""
    rng = np.random.default_rng(pixels)
    given = rng.standard_normal((60, 6)).astype(np.float32)
    images = (7 + given @ np.diag(STRETCH) @ rng.standard_normal((6, pixels))).astype(np.float32)
    images += 0.1 * rng.standard_normal(images.shape).astype(np.float32)
    coordinates = np.linalg.svd(images - images.mean(axis=0, dtype=np.float64), full_matrices=False)[0]
    slopes, *_ = np.linalg.lstsq(coordinates, given - given.mean(axis=0, dtype=np.float64), rcond=None)
    wanted = slopes[:4] / np.linalg.norm(slopes[:4], axis=1, keepdims=True)
    assert np.abs((principal_directions(given, images, 4) * wanted).sum(axis=1)) == pytest.approx(1, abs=1e-6)


def test_weight_directions_are_those_that_are_stretched_most():
    turn = np.linalg.qr(np.random.default_rng(4).standard_normal((6, 6)))[0]
    weights = np.random.default_rng(5).standard_normal((30, 6)) @ np.diag(STRETCH) @ turn
    found = weight_directions(weights, 6)
    stretched = np.linalg.norm(weights @ found.T, axis=0)
    assert (np.diff(stretched) < 0).all()
    assert np.allclose(found @ found.T, np.eye(6), atol=1e-10)
    tries = random_directions(200, 6, RNG)
    assert np.linalg.norm(weights @ tries.T, axis=0).max() < stretched[0]
    assert np.allclose(found[:2], weight_directions(weights, 2))


def test_orthogonal_directions_leave_scores_along_the_other_alone():
    directions, other = random_directions(5, 6, RNG), 3 * random_directions(1, 6, RNG)[0]
    left = without(directions, other)
    assert np.allclose(left @ other, 0, atol=1e-12)
    assert np.allclose(np.linalg.norm(left, axis=1), 1)
    cosines = (left * directions).sum(axis=1)
    assert (cosines > 0).all()
    with pytest.raises(InputError, match="no length"):
        without(other[None], other)


def test_random_directions_have_no_preference():
    found = random_directions(4000, 6, RNG)
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    assert np.abs(found.mean(axis=0)).max() < 0.03
    assert np.allclose((found**2).mean(axis=0), 1 / 6, atol=0.01)

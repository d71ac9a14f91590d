"""Whose image it is, and colours brought to others: against counts and values worked out by hand."""

import math

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.metrics.outcomes import mean_of_patients, of_the_same
from synthmed.metrics.reidentification import above_chance, beside_real, chance, leak, rank_of, sources_found
from synthmed.metrics.stains import Colours, colours_of, from_lab, normalised, to_lab
from synthmed.metrics.statistics import SeedTest, paired, readers_test


# -------------------------------------------------------------------------------------------------------- recognition
def test_the_rank_of_the_right_one_counts_equals_against_it():
    likelihoods = np.array([[[0.5, 0.3, 0.2], [0.2, 0.4, 0.4], [1 / 3, 1 / 3, 1 / 3]]])
    assert rank_of(likelihoods, np.array([0, 1, 2])).tolist() == [[0, 1, 2]]
    assert rank_of(likelihoods, np.array([2, 0, 0])).tolist() == [[2, 2, 2]]


def test_a_source_is_found_by_the_cosine_of_standardised_features():
    pool = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0], [0.0, -1.0]])
    queries = np.array([[0.1, 5.0], [3.0, 2.9], [3.0, 2.9]])
    # Columns of the pool have mean 0 and one deviation, so cosines are those of the vectors: the second query is
    # nearer to (1, 0) than to (0, 1), and both are nearer than the others.
    assert sources_found(queries, pool, np.array([0, 1, 0])).tolist() == [0, 0, 1]
    assert sources_found(queries, pool, np.array([3, 2, 3])).tolist() == [3, 3, 2]


def test_who_sees_the_class_guesses_among_those_who_have_it():
    patients = [{"a"}, {"a"}, {"a", "b"}, {"b"}]
    found = chance(np.array(["a", "b", "b", "c"]), patients)
    assert found.tolist() == [1 / 3, 1 / 2, 1 / 2, 1 / 4]


def test_names_are_held_against_guesses_over_patients():
    """Against the textbook's t test of one sample; and where all is right, against guessing one of each patient."""
    right = np.array([[1, 0, 1, 1, 0, 0, 1, 0]], float)
    guess, patients = np.array([0.25, 0.25, 0.5, 0.5, 0.25, 0.25, 0.5, 0.5]), np.array(list("aabbccdd"))
    leads = np.array([0.5, 1.0, 0.0, 0.5]) - [0.25, 0.5, 0.25, 0.5]
    test = above_chance(right, guess, patients, level=0.95)
    assert test.difference == pytest.approx(leads.mean())
    assert test.error == pytest.approx(leads.std(ddof=1) / 2)
    all_right = above_chance(np.ones((3, 8)), guess, patients, level=0.95)
    assert all_right.p == pytest.approx(2 * 0.25 * 0.5 * 0.25 * 0.5)
    assert above_chance(np.ones((3, 2)), np.ones(2), np.array(["a", "b"]), level=0.95).p == 1


def test_what_is_said_follows_the_tests():
    up, down = (SeedTest(value, None, None, 0.0, 1.0, 1.0) for value in (0.2, -0.2))
    assert leak(up, 0.05, 0.05) == "recognised"
    assert leak(up, 0.06, 0.05) == "not shown"
    assert leak(down, 0.0, 0.05) == "not shown"
    assert beside_real(down, 0.01, True, 0.05) == "less well"
    assert beside_real(up, 0.01, False, 0.05) == "better"
    assert beside_real(up, 0.2, True, 0.05) == "as well"
    assert beside_real(down, 0.2, False, 0.05) == "no evidence"


def test_two_sets_of_the_same_patients_are_paired_by_patient():
    """Against the textbook's paired t test: one training, one image of each patient in each set."""
    first, second = np.array([[0.1, 0.5, 0.7, 0.9, 0.3]]), np.array([[0.2, 0.7, 0.6, 1.0, 0.7]])
    patients, none = np.array(list("abcde")), np.zeros(5)
    both = of_the_same(*(mean_of_patients(values, none, patients, 0) for values in (first, second)))
    test = readers_test(both, paired(1), level=0.95)
    differences = (second - first)[0]
    error = differences.std(ddof=1) / math.sqrt(5)
    assert test.difference == pytest.approx(differences.mean())
    assert test.error == pytest.approx(error)
    # The 0.975 quantile of t with 4 degrees of freedom is 2.776 (any table).
    assert test.high - test.difference == pytest.approx(2.7764 * error, rel=1e-4)
    with pytest.raises(InputError, match="patient 'e' has images in one of the two sets only"):
        of_the_same(
            mean_of_patients(first, none, patients, 0), mean_of_patients(first[:, :4], none[:4], patients[:4], 0)
        )


# ------------------------------------------------------------------------------------------------------------ colours
def test_lab_is_that_of_the_paper():
    """Reinhard et al. 2001, equations 4 to 6, written out for one pixel."""
    red, green, blue = 200 / 255, 120 / 255, 80 / 255
    responses = (
        0.3811 * red + 0.5783 * green + 0.0402 * blue,
        0.1967 * red + 0.7244 * green + 0.0782 * blue,
        0.0241 * red + 0.1288 * green + 0.8444 * blue,
    )
    long, medium, small = map(math.log10, responses)
    expected = [
        (long + medium + small) / math.sqrt(3),
        (long + medium - 2 * small) / math.sqrt(6),
        (long - medium) / math.sqrt(2),
    ]
    assert to_lab(np.array([200, 120, 80], np.uint8)).tolist() == pytest.approx(expected)


def test_colours_come_back_from_lab():
    pixels = np.random.default_rng(0).integers(20, 240, (50, 3)).astype(np.uint8)
    assert np.abs(from_lab(to_lab(pixels)).astype(int) - pixels).max() <= 1


def test_images_get_the_colours_of_the_target():
    rng = np.random.default_rng(1)
    images = rng.integers(0, 40, (3, 20, 20, 3)) + np.array(
        [[[[150, 90, 140]]], [[[90, 80, 170]]], [[[180, 160, 150]]]]
    )
    target = colours_of(images[:1].astype(np.uint8))
    done = normalised(images.astype(np.uint8), target)
    for image in done:
        found = colours_of(image[None])
        assert found.mean == pytest.approx(target.mean, abs=0.002)
        assert found.deviation == pytest.approx(target.deviation, abs=0.002)
    assert np.abs(done[0].astype(int) - images[0]).max() <= 1  # its own colours
    flat = normalised(np.full((1, 4, 4, 3), 90, np.uint8), Colours(target.mean, target.deviation))
    assert len(np.unique(flat.reshape(-1, 3), axis=0)) == 1

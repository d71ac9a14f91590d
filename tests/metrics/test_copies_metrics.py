import numpy as np
import pytest
from scipy import stats

from synthmed.core.errors import InputError
from synthmed.metrics import copies as c
from synthmed.metrics.neighbours import Neighbours, euclidean_blocks, keep_nearest


def points(count, seed, side=3):
    return np.random.default_rng(seed).random((count, side)).astype(np.float32)


def audit(queries, train, held_out, *, swaps=199, seed=0, left_out=None):
    """Ratios of the queries, the patient of each one's nearest image, and who counts as trained on."""
    pool = np.concatenate([train, held_out])
    patients = np.arange(len(pool))
    left_out = np.full(len(queries), -1) if left_out is None else left_out
    found = keep_nearest(euclidean_blocks(queries, pool), left_out, patients, 40)
    training = c.swapped(patients < len(train), patients, ["a"] * len(pool), swaps, seed)
    return c.log_ratios(found, training, 1e-6), training


def judged(queries, train, held_out, seed=0):
    ratios, _ = audit(queries, train, held_out, seed=seed)
    real, _ = audit(train, train, held_out, swaps=1, left_out=np.arange(len(train)))
    measure = c.yardstick(real.log[0], 0.01)
    return c.judge(ratios, ratios.nearest, measure, np.ones((len(queries), 1)))[:, 0]


# ------------------------------------------------------------------------------------------------------------ swapping
def test_whole_patients_swap_within_their_classes():
    patients = np.array([0, 0, 1, 2, 3, 4, 4, 5, 5])
    labels = ["a", "a", "a", "b", "b", "a", "b", "a", "b"]  # patients 4 and 5 have images of both classes
    training = np.array([True, True, False, True, False, True, True, False, False])
    swaps = c.swapped(training, patients, labels, 300, 0)
    assert swaps.shape == (301, 9)
    assert (swaps[0] == training).all()
    for patient in range(6):
        assert (swaps[:, patients == patient].std(axis=1) == 0).all()
    for one, other in ((0, 1), (2, 3), (4, 5)):
        first = swaps[:, np.flatnonzero(patients == one)[0]]
        assert (first != swaps[:, np.flatnonzero(patients == other)[0]]).all()
        assert 0.3 < first[1:].mean() < 0.7
    assert not (swaps == c.swapped(training, patients, labels, 300, 1)).all()
    assert (swaps == c.swapped(training, patients, labels, 300, 0)).all()


def test_enough_neighbours_are_kept_for_both_kinds():
    patients = np.arange(1000)
    for share in (0.5, 0.8, 0.9):
        keep = c.list_length(patients < 1000 * share, patients)
        assert share**keep < 1e-4
        assert keep < 120
    assert c.list_length(patients[:20] < 10, patients[:20]) == 18
    assert c.list_length(patients < 500, patients // 3) >= 3 * (c.list_length(patients < 500, patients) - 1)


# -------------------------------------------------------------------------------------------------------------- ratios
FOUND = Neighbours(
    np.array([[0, 2, 1], [2, 0, 1], [0, 1, 0]], dtype=np.int32),
    np.array([[1, 2, 4], [0, 6, 9], [1, 3, 5]], dtype=np.float32),
    np.full(3, np.inf, np.float32),
)
TRAINING = np.array([[True, True, False], [False, True, True]])


def test_log_ratios_by_hand():
    found = c.log_ratios(FOUND, TRAINING, 0.5)
    assert np.exp(found.log) == pytest.approx(np.array([[1 / 2, 6 / 0.5, 1 / 5], [2, 0.5 / 6, 3]]))
    assert found.nearest.tolist() == [0, 0, 0]
    assert found.distance.tolist() == [1, 6, 1]
    assert found.held_out.tolist() == [2, 0, 5]  # of the third no held-out image was kept: the last stands in
    assert found.take(slice(1, 3)).log.shape == (2, 2)
    assert c.twice(found, 0.5).tolist() == [False, True, False]


def test_the_floor_is_a_hundredth_of_the_usual_distance():
    assert c.floor(np.array([0.0, 3, 100])) == pytest.approx(0.03)
    with pytest.raises(InputError, match="most real images equal one of another patient"):
        c.floor(np.array([0.0, 0, 100]))


# ----------------------------------------------------------------------------------------------------------- yardstick
def test_threshold_and_tail_by_hand():
    real = -np.arange(1, 101) / 100.0  # the ten smallest: −1 … −0.91, the eleventh −0.9
    found = c.yardstick(real, 0.02)
    assert (found.threshold, found.rank, found.count) == (-0.99, 2, 100)
    assert found.expected == pytest.approx(2 / 101)
    start, share, rate = found.tail
    assert (start, share) == (-0.9, 10 / 101)
    excess = sum(range(1, 11)) / 100
    assert rate == pytest.approx(stats.chi2.ppf(0.05, 20) / (2 * excess))
    assert c._chance(np.array([-0.8, -0.9 - 1 / rate]), found) == pytest.approx([1, share / np.e])
    assert c.yardstick(real[:49], 0.02).tail is None
    assert c._chance(np.array([-9.0]), c.yardstick(real[:49], 0.02)).tolist() == [1]
    with pytest.raises(InputError, match="nothing to compare with"):
        c.yardstick(np.array([]), 0.02)


def test_number_of_patients_hit_is_beta_binomial():
    real = np.arange(100.0) / 100
    measure = c.yardstick(real, 0.05)  # threshold 0.04
    log = np.tile(np.array([0.0, 0.01, 0.02, 0.03, 0.9], np.float32), (3, 1))
    ratios = c.Ratios(log, np.arange(5), None, None)
    one = np.ones((5, 1))
    four = c.judge(ratios, np.arange(5), measure, one)[2, 0]
    assert four == pytest.approx(stats.betabinom.sf(3, 5, 5, 96))
    # Four suspects that point to two patients count twice.
    assert c.judge(ratios, np.array([7, 7, 7, 8, 9]), measure, one)[2, 0] == pytest.approx(
        stats.betabinom.sf(1, 5, 5, 96)
    )
    twice = c.judge(ratios, np.arange(5), measure, 2 * one)[2, 0]
    assert twice == pytest.approx(stats.betabinom.sf(3, 10, 5, 96))


def test_weights_say_how_often_an_image_is_in_the_set():
    rng = np.random.default_rng(0)
    log = rng.normal(0, 1, (50, 6)).astype(np.float32)
    measure = c.yardstick(rng.normal(0, 1, 100), 0.05)
    ratios = c.Ratios(log, np.arange(6), None, None)
    rows = [0, 0, 3, 5]
    repeated = c.Ratios(log[:, rows], np.array(rows), None, None)
    weights = np.bincount(rows, minlength=6)[:, None]
    for number in (0, 1, 3):
        expected = c.judge(repeated, np.array(rows), measure, np.ones((4, 1)))[number, 0]
        assert c.judge(ratios, np.arange(6), measure, weights)[number, 0] == pytest.approx(expected)


def test_permutation_p_by_hand():
    log = np.array([[-1, -1], [0, 0], [-2, -2], [-1, -1]], dtype=np.float32)  # truth first
    measure = c.Yardstick(-0.5, 0.01, 1, 99, None)
    p = c.judge(c.Ratios(log, np.arange(2), None, None), np.arange(2), measure, np.ones((2, 1)))
    assert p[0, 0] == 3 / 4
    assert p[1, 0] == 3 / 4  # three of four have as many suspects
    assert p[3, 0] == 1  # without a tail


# -------------------------------------------------------------------------------------------------------- calibration
def test_honest_sets_rarely_alarm_and_copies_do():
    """Points of a cube; a set without copies has p ≤ 0.05 in one test in twenty at most, with room for 60 sets."""
    honest = np.array([judged(points(60, 3 * n), points(80, 3 * n + 1), points(80, 3 * n + 2), n) for n in range(60)])
    assert ((honest <= 0.05).mean(axis=0) <= 0.15).all()
    assert (honest.min(axis=1) * 4 <= 0.05).mean() <= 0.1
    assert (honest[:, 0] <= 0.5).mean() == pytest.approx(0.5, abs=0.2)
    train, held_out = points(80, 1), points(80, 2)
    copies = points(60, 9)
    copies[:12] = train[:12] + np.random.default_rng(0).normal(0, 1e-3, (12, 3))
    assert (judged(copies, train, held_out)[:3] <= 0.01).all()
    one = points(60, 9)
    one[0] = train[5] + 1e-5
    assert judged(one, train, held_out)[3] <= 0.01
    collapsed = np.repeat(train[3:4] + 0.02, 60, axis=0)  # sixty times the same image, near one patient
    assert (judged(collapsed, train, held_out)[:3] > 0.05).all()


def test_real_images_of_two_kinds_are_told():
    def p(train, held_out):
        real = np.concatenate([train, held_out])
        ratios, training = audit(real, train, held_out, left_out=np.arange(len(real)))
        return c.same_population(ratios, training)

    same = [p(points(60, 2 * n), points(60, 2 * n + 1)) for n in range(30)]
    assert np.mean(np.array(same) <= 0.1) <= 0.25
    assert np.mean(same) == pytest.approx(0.5, abs=0.2)
    assert p(points(60, 0), points(60, 1) + 0.3) == pytest.approx(1 / 200)


# --------------------------------------------------------------------------------------------------------------- rest
def test_spiked_sets():
    weights = c.spiked(50, 8, 40, 4, 30, 0)
    assert weights.shape == (58, 30)
    assert (weights.sum(axis=0) == 40).all()
    assert (weights[50:].sum(axis=0) == 4).all()
    assert weights.max() == 1  # without replacement where there are enough
    assert len({tuple(column) for column in weights.T.tolist()}) == 30
    assert (c.spiked(40, 2, 40, 4, 5, 0)[40:].sum(axis=0) == 4).all()
    assert c.spiked(50, 8, 40, 0, 5, 0)[50:].sum() == 0
    assert c.planted(0.001, 40) == 1
    with pytest.raises(InputError, match="every held-out image equals"):
        c.spiked(0, 8, 40, 4, 5, 0)


def test_authenticity_by_hand():
    train = np.array([[0.0], [1], [10], [10.1]])
    patients = np.array([0, 1, 2, 2])
    # 0.6 from image 0, whose neighbour is 1 away; 3 from image 1; 5 from image 2, the next patient is 9 away.
    found = c.authentic(np.array([0.6, 3, 5, 9.2]), np.array([0, 1, 2, 2]), train, patients)
    assert found.tolist() == [False, True, False, True]


def test_c_t_is_the_standardised_mann_whitney_statistic():
    rng = np.random.default_rng(0)
    generated, held_out = rng.integers(0, 30, 40), rng.integers(5, 40, 70)
    u = stats.mannwhitneyu(generated, held_out).statistic
    assert c.c_t(generated, held_out) == pytest.approx((u - 40 * 70 / 2) / np.sqrt(40 * 70 * 111 / 12))
    assert c.c_t(held_out, generated) == pytest.approx(-c.c_t(generated, held_out))

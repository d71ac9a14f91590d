import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.evaluation.arms import ArmSettings, Part, check_supply, compose, define_arms
from synthmed.evaluation.check_needs import NeedsSettings, needs

CLASSES = ("normal", "abnormal")


def settings(**changes):
    values = {
        "generators": ("fastgan", "fresh"), "added_share": 0.5, "added_counts": None,
        "sweep": {"fastgan": (0.25, 0.5, 2.0)}, "only_share": 1.0, "oracle": "fresh", "label_shuffled": "fresh",
    }  # fmt: skip
    return ArmSettings(**(values | changes))


def part(start, normal, abnormal):
    return Part(np.arange(start, start + normal + abnormal), np.repeat([0, 1], [normal, abnormal]))


@pytest.fixture
def parts():
    return {
        "real": part(0, 6, 5), "augmented": part(100, 12, 10), "fastgan": part(200, 12, 12), "fresh": part(300, 6, 7),
    }  # fmt: skip


def by_name(arms):
    return {arm.name: arm for arm in arms}


def test_the_documents_counts_are_half_of_each_class_rounded_down():
    arms = by_name(define_arms(settings(), {"normal": 366, "abnormal": 355}, augmented=False))
    assert arms["fastgan"].added == {"normal": 183, "abnormal": 177}
    assert arms["duplicates"].added == arms["fastgan"].added, "the control is count-matched"
    absolute = settings(added_share=None, added_counts={"normal": 7, "abnormal": 3})
    arms = by_name(define_arms(absolute, {"normal": 366, "abnormal": 355}, augmented=False))
    assert arms["fastgan"].added == {"normal": 7, "abnormal": 3}


def test_all_arms_exist_once_and_have_their_kind():
    arms = define_arms(settings(), {"normal": 6, "abnormal": 5}, augmented=True)
    assert [(arm.name, arm.kind) for arm in arms] == [
        ("real", "real"),
        ("classic", "classic"),
        ("duplicates", "duplicates"),
        ("fastgan", "generator"),
        ("fresh", "oracle"),
        ("fresh_shuffled", "label_shuffled"),
        ("fastgan_x0.25", "sweep"),
        ("fastgan_x2", "sweep"),
        ("only_fastgan", "synthetic_only"),
        ("only_fresh", "synthetic_only"),
    ]


def test_compositions(parts):
    arms = by_name(define_arms(settings(), {"normal": 6, "abnormal": 5}, augmented=True))
    composed = {name: compose(arm, parts, CLASSES, seed=3) for name, arm in arms.items() if name != "only_fresh"}
    real = set(parts["real"].rows)
    for name, (rows, labels) in composed.items():
        assert len(rows) == len(labels)
        if name == "only_fastgan":
            assert set(rows) <= set(parts["fastgan"].rows)
            assert np.bincount(labels).tolist() == [6, 5]
        else:
            assert real <= set(rows)
    assert set(composed["real"][0]) == real
    rows, labels = composed["duplicates"]
    assert set(rows) == real
    assert np.bincount(labels).tolist() == [6 + 3, 5 + 2]
    assert (np.bincount(rows) <= 2).all(), "no image is repeated twice before all are repeated once"
    rows, labels = composed["fastgan"]
    assert np.bincount(labels).tolist() == [9, 7]
    added = rows[11:]
    assert len(set(added)) == 5
    truth = dict(zip(parts["fastgan"].rows, parts["fastgan"].labels, strict=True))
    assert [truth[row] for row in added] == labels[11:].tolist()
    assert len(composed["classic"][0]) == 11 + 22
    assert set(composed["fastgan_x0.25"][0]) < set(composed["fastgan"][0]) < set(composed["fastgan_x2"][0]), "nested"


def test_more_duplicates_than_images_repeat_everything_equally(parts):
    arms = by_name(define_arms(settings(added_share=2.5), {"normal": 6, "abnormal": 5}, augmented=False))
    rows, _ = compose(arms["duplicates"], parts, CLASSES, seed=0)
    times = np.bincount(rows)
    assert times.min() == 3
    assert times.max() == 4


def test_shuffled_labels_keep_their_counts_and_lose_their_meaning():
    many = {"real": part(0, 2, 2), "fresh": part(10, 500, 300)}
    arm = by_name(
        define_arms(
            settings(generators=("fresh",), sweep={}, added_share=None, added_counts={"normal": 500, "abnormal": 300}),
            {"normal": 2, "abnormal": 2},
            augmented=False,
        )
    )["fresh_shuffled"]
    rows, labels = compose(arm, many, CLASSES, seed=1)
    given, truth = labels[4:], many["fresh"].labels[rows[4:] - 10]
    assert np.bincount(given).tolist() == [500, 300]
    assert (given == truth).mean() == pytest.approx((5 / 8) ** 2 + (3 / 8) ** 2, abs=0.06)


def test_draws_follow_from_the_seed(parts):
    arm = by_name(define_arms(settings(), {"normal": 6, "abnormal": 5}, augmented=False))["fastgan"]
    first, again, other = (compose(arm, parts, CLASSES, seed)[0].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_too_few_synthetic_images_are_named(parts):
    arms = define_arms(settings(sweep={"fastgan": (2.5,)}), {"normal": 6, "abnormal": 5}, augmented=False)
    with pytest.raises(InputError, match=r"'fastgan_x2.5' needs 15 'normal' images of 'fastgan', which has 12"):
        check_supply(arms, parts, CLASSES)
    check_supply(define_arms(settings(), {"normal": 6, "abnormal": 5}, augmented=False), parts, CLASSES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"oracle": "frsh"}, "oracle names 'frsh'"),
        ({"sweep": {"gan": (1.0,)}}, "sweep names 'gan'"),
        ({"generators": ("a", "a"), "sweep": {}, "oracle": None, "label_shuffled": None}, "each name once"),
        ({"added_share": None}, "give one of them"),
        ({"added_share": 0.0}, "must be above 0"),
        ({"added_share": None, "added_counts": {"normal": 3}}, "added_counts must give"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        define_arms(settings(**changes), {"normal": 6, "abnormal": 5}, augmented=False)


def test_what_is_checked_before_any_training_is_what_the_arms_ask_for():
    real = {"normal": 61, "abnormal": 53}
    arms = define_arms(settings(), real, augmented=True)
    early = needs(
        NeedsSettings(
            samples={name: {} for name in ("fastgan", "fresh")},
            translated_from={},
            added_share=0.5,
            added_counts=None,
            sweep={"fastgan": (0.25, 0.5, 2.0)},
            only_share=1.0,
        ),
        real,
    )
    asked = {(arm.source, label, count) for arm in arms if arm.source for label, count in arm.added.items()}
    assert {(need.set, need.label, need.needed) for need in early} == {ask for ask in asked if ask[0] != "real"}

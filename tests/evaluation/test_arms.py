import dataclasses

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.evaluation.arms import (
    ArmSettings,
    Part,
    arm_names,
    check_supply,
    compose,
    define_arms,
    share_of,
    training_of,
)
from synthmed.evaluation.check_needs import NeedsSettings, needs
from synthmed.evaluation.compose_arms import _described
from synthmed.metrics.verdict import families

CLASSES = ("normal", "abnormal")


def settings(**changes):
    values = {
        "sets": ("fastgan", "fresh"), "added_share": 0.5, "added_counts": None, "augmented_draws": 2,
        "class_weights": False, "pairs": (), "masks": False,
        "sweep": {"fastgan": (0.25, 0.5, 2.0)}, "oracle_sweep": (), "only_share": 1.0, "only_sweep": (),
        "undersampled": (), "swap": None, "oracle": "fresh", "classes": CLASSES,
        "column": "label", "seeds": 5, "seed": 1,
    }  # fmt: skip
    values |= changes
    return ArmSettings(**({"added": values["sets"], "alone": values["sets"]} | values))


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
    arms = by_name(define_arms(settings(), {"normal": 366, "abnormal": 355}))
    assert arms["fastgan"].added == {"normal": 183, "abnormal": 177}
    assert arms["duplicates_part"].added == arms["fastgan"].added, "count-matched, as it stands beside the control"
    assert arms["duplicates"].added == {}, "all of them: the control weighs all images alike"
    absolute = settings(added_share=None, added_counts={"normal": 7, "abnormal": 3})
    arms = by_name(define_arms(absolute, {"normal": 366, "abnormal": 355}))
    assert arms["fastgan"].added == {"normal": 7, "abnormal": 3}


def test_all_arms_exist_once_and_have_their_kind():
    arms = define_arms(settings(), {"normal": 6, "abnormal": 5})
    assert [arm.name for arm in arms] == arm_names(settings()), "names do not depend on counts"
    assert [(arm.name, arm.kind) for arm in arms] == [
        ("real", "real"),
        ("classic", "classic"),
        ("duplicates", "duplicates"),
        ("duplicates_part", "duplicates"),
        ("fastgan", "generator"),
        ("fresh", "oracle"),
        ("fresh_shuffled", "label_shuffled"),
        ("fastgan_x0.25", "sweep"),
        ("fastgan_x2", "sweep"),
        ("only_fastgan", "synthetic_only"),
        ("only_fresh", "synthetic_only"),
    ]


def test_a_point_of_a_sweep_is_left_out_only_where_an_arm_above_is_that_point(parts):
    alone = {"sets": ("fastgan",), "added": (), "oracle": None, "only_share": None, "sweep": {"fastgan": (0.25, 0.5)}}
    arms = by_name(define_arms(settings(**alone), {"normal": 6, "abnormal": 5}))
    assert {"fastgan_x0.25", "fastgan_x0.5"} <= set(arms)
    assert "fastgan" not in arms
    whole = settings(added_share=1.0, sweep={"duplicates": (0.5, 1.0), "fastgan": (1.0,)}, oracle_sweep=(1.0,))
    arms = by_name(define_arms(whole, {"normal": 6, "abnormal": 5}))
    swept = {arm.name: (arm.curve, arm.added) for arm in arms.values() if arm.curve in ("duplicates", "fastgan")}
    assert swept == {
        "duplicates": ("duplicates", {"normal": 6, "abnormal": 5}),
        "duplicates_x0.5": ("duplicates", {"normal": 3, "abnormal": 2}),
        "fastgan": ("fastgan", {"normal": 6, "abnormal": 5}),
        "only_fastgan": ("fastgan", {"normal": 6, "abnormal": 5}),
    }
    assert [name for name in arms if name.startswith("fresh")] == ["fresh", "fresh_shuffled"]
    assert np.bincount(compose(arms["duplicates"], parts, CLASSES, seed=3)[0]).tolist() == [2] * 11


def test_compositions(parts):
    arms = by_name(define_arms(settings(), {"normal": 6, "abnormal": 5}))
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
    assert np.bincount(composed["duplicates"][0]).tolist() == [2] * 11, "every real image twice"
    rows, labels = composed["duplicates_part"]
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
    arms = by_name(define_arms(settings(added_share=2.5), {"normal": 6, "abnormal": 5}))
    rows, _ = compose(arms["duplicates_part"], parts, CLASSES, seed=0)
    times = np.bincount(rows)
    assert times.min() == 3
    assert times.max() == 4


def test_shuffled_labels_keep_their_counts_and_lose_their_meaning():
    many = {"real": part(0, 2, 2), "fresh": part(10, 500, 300)}
    arm = by_name(
        define_arms(
            settings(sets=("fresh",), sweep={}, added_share=None, added_counts={"normal": 500, "abnormal": 300}),
            {"normal": 2, "abnormal": 2},
        )
    )["fresh_shuffled"]
    rows, labels = compose(arm, many, CLASSES, seed=1)
    given, truth = labels[4:], many["fresh"].labels[rows[4:] - 10]
    assert np.bincount(given).tolist() == [500, 300]
    assert (given == truth).mean() == pytest.approx((5 / 8) ** 2 + (3 / 8) ** 2, abs=0.06)


def test_draws_follow_from_the_seed(parts):
    arm = by_name(define_arms(settings(), {"normal": 6, "abnormal": 5}))["fastgan"]
    first, again, other = (compose(arm, parts, CLASSES, seed)[0].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_too_few_synthetic_images_are_named(parts):
    arms = define_arms(settings(sweep={"fastgan": (2.5,)}), {"normal": 6, "abnormal": 5})
    with pytest.raises(InputError, match=r"'fastgan_x2.5' needs 15 'normal' images of 'fastgan', which has 12"):
        check_supply(arms, parts, CLASSES)
    check_supply(define_arms(settings(), {"normal": 6, "abnormal": 5}), parts, CLASSES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"oracle": "frsh"}, "oracle names 'frsh'"),
        ({"sweep": {"gan": (1.0,)}}, "sweep names 'gan'"),
        ({"sets": ("a", "a"), "sweep": {}, "oracle": None}, "each name once"),
        ({"sets": ("real", "fresh"), "sweep": {}}, "none 'real'"),
        ({"sweep": {"fresh": (2.0,)}}, "oracle_sweep"),
        ({"swap": "fastgn"}, "swap names 'fastgn'"),
        ({"swap": "fastgan"}, "a task of its own"),
        ({"added_counts": {"normal": 1, "abnormal": 1}}, "give one of them"),
        ({"added_share": 0.0}, "must be above 0"),
        ({"added_share": None, "added_counts": {"normal": 3}}, "added_counts must give"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        define_arms(settings(**changes), {"normal": 6, "abnormal": 5})


def test_what_is_checked_before_any_training_is_what_the_arms_ask_for():
    real = {"normal": 61, "abnormal": 53}
    samples = {name: {} for name in ("fastgan", "fresh")}
    early = needs(
        NeedsSettings(samples=samples, translated_from={}, arms={"task": settings()}, external=(), trainings={}), real
    )
    asked = {(arm.set, label, count) for arm in define_arms(settings(), real) for label, count in arm.added.items()}
    assert {(need.set, need.label, need.needed) for need in early} == {ask for ask in asked if ask[0] in samples}


def test_shares_are_rounded_down_and_counts_are_taken_as_they_are():
    assert share_of(0.5, {"normal": 90, "abnormal": 51}) == {"normal": 45, "abnormal": 25}
    # 0.29 · 100 is 28.999999999999996 in floating point.
    assert share_of(0.29, {"normal": 100}) == {"normal": 29}
    counts = settings(added_share=None, added_counts={"abnormal": 0, "normal": 7})
    assert by_name(define_arms(counts, {"normal": 90, "abnormal": 51}))["fastgan"].added == {"normal": 7, "abnormal": 0}


def test_without_an_addition_only_the_real_arm_and_those_without_real_images_are_left():
    nothing = settings(added_share=None, sweep={}, augmented_draws=0, only_share=None, swap="fastgan", oracle=None)
    real, replaced = define_arms(nothing, {"normal": 6, "abnormal": 5})
    assert (real.kind, replaced.name, replaced.kind, replaced.with_real) == ("real", "fastgan", "synthetic_only", False)


def test_the_trainings_of_a_generator_take_turns_over_the_seeds():
    assert [training_of(seed, 6, 3) for seed in range(6)] == [0, 0, 1, 1, 2, 2]
    arm = by_name(define_arms(settings(), {"normal": 2, "abnormal": 2}))["fastgan"]
    made = Part(np.arange(10, 34), np.tile([0, 1], 12), np.repeat([0, 1], 12))
    rows, _ = compose(arm, {"real": part(0, 2, 2), "fastgan": made}, CLASSES, seed=0, training=1)
    assert (rows[4:] >= 22).all(), "only images of the second training"
    asks = define_arms(
        settings(sets=("fastgan",), oracle=None, sweep={"fastgan": (3.5,)}), {"normal": 2, "abnormal": 2}
    )
    with pytest.raises(InputError, match="which has 6"):
        check_supply(asks, {"fastgan": made}, CLASSES)


def of_unbalanced(**changes):
    """Arms that bring two classes of 6 and 2 images to the same size, by several ways."""
    asked = settings(
        added_share=None, added_counts="balance", class_weights=True, oracle=None, sets=("fastgan",), only_share=None,
        sweep={"fastgan": ({"normal": 0, "abnormal": 1}, "balance", 0.5), "duplicates": ({"normal": 0, "abnormal": 7},),
               "classic": ()},
    )  # fmt: skip
    asked = dataclasses.replace(asked, **changes)
    assert [arm.name for arm in define_arms(asked, {"normal": 6, "abnormal": 2})] == arm_names(asked)
    return by_name(define_arms(asked, {"normal": 6, "abnormal": 2}))


def test_a_rare_class_is_brought_to_the_size_of_the_largest_with_controls_of_the_same_count():
    arms = of_unbalanced()
    only = {"normal": 0, "abnormal": 4}
    assert {name: (arm.kind, arm.curve, arm.added) for name, arm in arms.items()} == {
        "real": ("real", None, {}),
        "classic": ("classic", None, {}),
        "class_weights": ("class_weights", None, {}),
        "duplicates": ("duplicates", None, {}),
        "duplicates_part": ("duplicates", "duplicates", only),
        "classic_part": ("classic", "classic", only),
        "fastgan": ("generator", "fastgan", only),
        "fastgan_n1": ("sweep", "fastgan", {"normal": 0, "abnormal": 1}),
        "fastgan_x0.5": ("sweep", "fastgan", {"normal": 3, "abnormal": 1}),
        "duplicates_n7": ("sweep", "duplicates", {"normal": 0, "abnormal": 7}),
    }
    assert arms["fastgan_n1"].title == "Real + fastgan, 1 abnormal"
    parts = {"real": part(0, 6, 2), "augmented": part(100, 12, 4), "fastgan": part(200, 0, 5)}
    check_supply([arms[name] for name in ("fastgan", "classic_part", "duplicates_part")], parts, CLASSES)
    for name in ("fastgan", "classic_part", "duplicates_part"):
        rows, labels = compose(arms[name], parts, CLASSES, seed=2)
        assert np.bincount(labels).tolist() == [6, 6], name
    assert (compose(arms["classic_part"], parts, CLASSES, seed=2)[0][8:] >= 112).all(), "augmented draws of the class"
    repeated = np.bincount(compose(arms["duplicates_part"], parts, CLASSES, seed=2)[0])
    assert repeated.tolist() == [1] * 6 + [3, 3], "the whole class before an image a second time"
    assert np.bincount(compose(arms["duplicates_n7"], parts, CLASSES, seed=2)[1]).tolist() == [6, 9]
    rows, labels = compose(arms["class_weights"], parts, CLASSES, seed=2)
    assert rows.tolist() == list(range(8))


def test_labels_are_shuffled_only_among_several_classes():
    assert "fastgan_shuffled" not in of_unbalanced(oracle="fastgan", sweep={})
    rare = of_unbalanced(oracle="fastgan", sweep={}, added_counts={"normal": 0, "abnormal": 3})
    assert "fastgan_shuffled" not in rare, "the labels of one class are all the same"
    assert "fastgan_shuffled" in of_unbalanced(oracle="fastgan", sweep={}, added_counts={"normal": 1, "abnormal": 3})


def test_what_cannot_be_added_is_refused_by_name():
    balanced = define_arms(settings(added_share=None, added_counts="balance"), {"normal": 5, "abnormal": 5})
    parts = {"real": part(0, 5, 5), "fastgan": part(100, 9, 9), "fresh": part(200, 9, 9)}
    with pytest.raises(InputError, match="'duplicates_part' adds no image"):
        check_supply(balanced, parts, CLASSES)
    with pytest.raises(InputError, match="augmented_draws is 0"):
        define_arms(settings(sweep={"classic": ()}, augmented_draws=0), {"normal": 5, "abnormal": 5})
    with pytest.raises(InputError, match=r"sweep\.fastgan must give a number for each"):
        define_arms(settings(sweep={"fastgan": ({"abnormal": 3},)}), {"normal": 5, "abnormal": 5})
    few = by_name(define_arms(settings(sweep={"classic": (1.5,)}), {"normal": 6, "abnormal": 5}))["classic_x1.5"]
    with pytest.raises(InputError, match="needs 9 'normal' images of 'augmented', which has 6; raise augmented_draws"):
        check_supply([few], {"real": part(0, 6, 5), "augmented": part(20, 6, 5)}, CLASSES)
    asked = NeedsSettings(
        samples={}, translated_from={}, arms={"task": settings(sweep={"classic": (2.5,)})}, external=(), trainings={}
    )
    found = {
        (need.set, need.label): (need.needed, need.available) for need in needs(asked, {"normal": 6, "abnormal": 5})
    }
    assert found == {("augmented", "normal"): (15, 12), ("augmented", "abnormal"): (12, 10)}


def test_some_sets_are_added_some_stand_alone_and_by_numbers():
    found = define_arms(
        settings(oracle=None, sweep={}, added=("fastgan",), alone=("fresh",), only_share={"normal": 3, "abnormal": 8}),
        {"normal": 10, "abnormal": 4},
    )
    arms = {arm.name: arm for arm in found}
    assert {"fastgan", "only_fresh"} <= set(arms)
    assert not {"fresh", "only_fastgan"} & set(arms)
    assert arms["only_fresh"].added == {"normal": 3, "abnormal": 8}


def test_undersampled_real_images_are_as_many_of_each_class_and_others_for_every_seed(parts):
    asked = settings(sets=("fastgan",), oracle=None, sweep={}, only_share=None, only_sweep=("smallest",))
    arms = by_name(define_arms(asked, {"normal": 6, "abnormal": 5}))
    assert [name for name in arms if name not in ("real", "classic", "duplicates", "duplicates_part", "fastgan")] == [
        "undersampled"
    ]
    assert arms["undersampled"].added == {"normal": 5, "abnormal": 5}
    drawn = [compose(arms["undersampled"], parts, CLASSES, seed=seed) for seed in range(20)]
    assert all(labels.tolist() == [0] * 5 + [1] * 5 and len(set(rows.tolist())) == 10 for rows, labels in drawn)
    assert {min(set(range(6)) - set(rows.tolist())) for rows, _ in drawn} == set(range(6))


def test_generated_images_beside_the_very_real_ones_of_the_undersampled_arm(parts):
    """Seed 003's mixed training set, whose real images are those of its real one."""
    asked = settings(
        sets=("fastgan",), oracle=None, sweep={}, only_share=None, only_sweep=("smallest",), undersampled=("fastgan",),
        added_share=None, added_counts={"normal": 4, "abnormal": 3},
    )  # fmt: skip
    arms = by_name(define_arms(asked, {"normal": 6, "abnormal": 5}))
    both = arms["undersampled_fastgan"]
    assert (both.title, both.kind, both.added) == (
        "Fewer real + fastgan", "fewer_generator", {"normal": 4, "abnormal": 3},
    )  # fmt: skip
    assert not both.with_real
    for seed in range(3):
        real, everything = (compose(arms[name], parts, CLASSES, seed=seed) for name in ("undersampled", "fastgan"))
        rows, labels = compose(both, parts, CLASSES, seed=seed)
        assert rows[:10].tolist() == real[0].tolist()
        assert rows[10:].tolist() == everything[0][11:].tolist(), "the same generated images as beside all real ones"
        assert np.bincount(labels).tolist() == [9, 8]
    described = _described(both, parts, CLASSES, 17, 1)
    assert (described["n_real"], described["share"], described["set"]) == (10, 7 / 17, "fastgan")
    shares = dataclasses.replace(asked, added_share=0.5, added_counts=None)
    arms = by_name(define_arms(shares, {"normal": 6, "abnormal": 4}))
    assert arms["undersampled_fastgan"].added == {"normal": 2, "abnormal": 2}, "shares of the real images that are left"


def test_generated_images_beside_fewer_real_ones_need_the_arm_without_them_and_a_count():
    asked = {"oracle": None, "sweep": {}, "only_share": None, "undersampled": ("fastgan",)}
    with pytest.raises(InputError, match="name smallest under only_sweep"):
        define_arms(settings(**asked), {"normal": 6, "abnormal": 5})
    with pytest.raises(InputError, match="undersampled names 'fastgan', but no count"):
        define_arms(settings(**asked, only_sweep=("smallest",), added_share=None), {"normal": 6, "abnormal": 5})


def test_a_role_for_a_set_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="added, alone and undersampled name 'strange'"):
        define_arms(settings(alone=("strange",)), {"normal": 10, "abnormal": 4})


def test_sizes_are_compared_by_parts_of_the_real_images_and_as_many_of_each_set(parts):
    asked = settings(sets=("fastgan",), oracle=None, sweep={}, only_share=None, only_sweep=(0.5, 0.8))
    arms = by_name(define_arms(asked, {"normal": 6, "abnormal": 5}))
    sizes = {name: (arm.kind, arm.set, arm.added) for name, arm in arms.items() if name.startswith(("fewer", "only"))}
    assert sizes == {
        "fewer_x0.5": ("fewer", "real", {"normal": 3, "abnormal": 2}),
        "only_fastgan_x0.5": ("synthetic_only", "fastgan", {"normal": 3, "abnormal": 2}),
        "fewer_x0.8": ("fewer", "real", {"normal": 4, "abnormal": 4}),
        "only_fastgan_x0.8": ("synthetic_only", "fastgan", {"normal": 4, "abnormal": 4}),
    }
    small, large = (compose(arms[name], parts, CLASSES, seed=3) for name in ("fewer_x0.5", "fewer_x0.8"))
    assert len(set(small[0].tolist())) == 5
    assert set(small[0].tolist()) < set(large[0].tolist()) < set(range(11))
    assert small[1].tolist() == [0, 0, 0, 1, 1]
    rows, _ = compose(arms["only_fastgan_x0.5"], parts, CLASSES, seed=3)
    assert (rows >= 200).all()
    assert families({"fewer_x0.5": ("fewer", "real"), "fastgan": ("generator", "fastgan")}) == {
        "fewer_x0.5": "fewer real",
        "fastgan": "main",
    }


def test_real_images_twice_are_one_arm_where_as_many_are_added_as_there_are():
    names = arm_names(settings(added_share=1.0, only_share=None))
    assert "duplicates" in names
    assert "duplicates_part" not in names


def test_the_share_of_a_sweep_is_known_where_it_was_one():
    points = (0.25, "balance", {"normal": 1, "abnormal": 2})
    arms = define_arms(settings(sweep={"fastgan": points}), {"normal": 6, "abnormal": 5})
    assert [arm.share for arm in arms if arm.kind == "sweep"] == [0.25, None, None]


def test_masks_of_one_class_are_shuffled():
    asked = settings(
        sets=("fresh",), sweep={}, only_share=None, classes=("lesion",), added_share=None, added_counts={"lesion": 3}
    )
    assert "fresh_shuffled" not in arm_names(asked), "labels of one class are all the same"
    shuffled = by_name(define_arms(dataclasses.replace(asked, masks=True), {"lesion": 6}))["fresh_shuffled"]
    assert shuffled.title == "Real + fresh, masks shuffled"


def test_each_seed_shuffles_anew_and_each_class_is_drawn_for_itself():
    many = {"real": part(0, 2, 2), "fresh": part(10, 40, 40)}
    asked = settings(sets=("fresh",), sweep={}, added_share=None, added_counts={"normal": 20, "abnormal": 20})
    arms = by_name(define_arms(asked, {"normal": 2, "abnormal": 2}))
    first, other = (compose(arms["fresh_shuffled"], many, CLASSES, seed)[1].tolist() for seed in (1, 2))
    assert first != other
    rows, _ = compose(arms["fresh"], many, CLASSES, seed=1)
    normal, abnormal = rows[4:24] - 10, rows[24:] - 50
    assert normal.tolist() != abnormal.tolist()


def test_every_training_must_have_the_images_that_an_arm_asks_for():
    made = Part(np.arange(10, 22), np.array([0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1]), np.repeat([0, 1], 6))
    asks = define_arms(
        settings(sets=("fastgan",), oracle=None, sweep={"fastgan": (1.5,)}), {"normal": 2, "abnormal": 2}
    )
    with pytest.raises(InputError, match="needs 3 'normal' images of 'fastgan', which has 2"):
        check_supply(asks, {"fastgan": made}, CLASSES)

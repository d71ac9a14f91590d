"""Whether measures of images predict their effects."""

import pytest

from synthmed.metrics.effects import EFFECT_COLUMNS, in_words, swept
from synthmed.metrics.predictors import predictor_rows


def row(experiment, generator, effect, share=0.5, task="t", **measures):
    values = {"experiment": experiment, "task": task, "generator": generator, "fid_extractor": "Inception"}
    values |= {"trained_as": generator}
    values |= {"effect": str(effect), "synthetic_share": str(share)} | {
        name: str(value) for name, value in measures.items()
    }
    return dict.fromkeys(EFFECT_COLUMNS, "") | values


def test_the_name_of_a_set_is_no_part_of_another_word():
    for arm, said in (
        ("Real + a", "Real + A GAN"),
        ("Real + a, 3 a, labels shuffled", "Real + A GAN, 3 a, labels shuffled"),
        ("a only, 0.5 × real", "A GAN only, 0.5 × real"),
        ("Fewer real + a", "Fewer real + A GAN"),
    ):
        assert in_words(arm, "a", "A GAN") == said


def test_a_set_beside_fewer_real_images_is_no_point_of_its_sweep():
    kinds = {"real": ("real", None), "a": ("generator", "a"), "a_x2": ("sweep", "a")}
    kinds |= {"undersampled_a": ("fewer_generator", "a"), "a_shuffled": ("label_shuffled", "a")}
    arms = {name: {"kind": kind, "set": own, "n_train": n} for n, (name, (kind, own)) in enumerate(kinds.items())}
    assert swept({"reference": "real", "arms": arms}) == {"a": ["real", "a", "a_x2"]}


def test_a_measure_that_orders_generators_as_their_effects_do():
    """FID falls with the effect in both experiments, whose levels differ; images alone do not count."""
    rows = [row("a", name, number, fid=100 - number, precision=0.1 * number) for number, name in enumerate("wxyz")]
    rows += [row("b", name, -number, fid=number, precision=(3, 2, 0)[number]) for number, name in enumerate("uvw")]
    rows += [row("a", "w", 50, fid=1, share=1.0), row("a", "none", 3)]
    found = {row["measure"]: row for row in predictor_rows(rows)}
    assert (found["FID"]["tau"], found["FID"]["pairs"], found["FID"]["generators"]) == (1, 9, 7)
    assert found["FID"]["tau_low"] is None
    assert "the order is the same" in found["FID"]["note"]
    assert found["precision"]["tau"] == 1
    assert found["KID"]["tau"] is None
    assert "no generator" in found["KID"]["note"]
    turned = [other | {"effect": str(-float(other["effect"]))} for other in rows]
    assert {row["measure"]: row for row in predictor_rows(turned)}["FID"]["tau"] == -1


def test_an_effect_on_what_is_better_low_counts_the_other_way_round():
    rows = [row("a", name, -number, fid=100 - number, higher_is_better="no") for number, name in enumerate("wxyz")]
    assert predictor_rows(rows)[0]["tau"] == 1


def test_sets_of_one_training_are_one_generator():
    """Three sets of w, in one order among themselves, pair with x once, by their mean."""
    drawn = [row("a", f"w{number}", number, fid=9 - number, trained_as="w") for number in range(3)]
    assert predictor_rows(drawn)[0]["pairs"] == 0
    found = predictor_rows([*drawn, row("a", "x", 1.5, fid=8.5)])[0]
    assert (found["tau"], found["pairs"], found["generators"], found["p_holm"]) == (-1, 1, 2, 1)


@pytest.mark.parametrize("apart", ["task", "fid_extractor", "fid_only_of"])
def test_only_sets_of_one_task_features_and_classes_are_compared(apart):
    """Within either the better FID helps more; the other one has the worse FID, and helps more."""
    rows = [
        row("a", f"{name} of {group}", effect + shift, fid=shift - effect) | {apart: group}
        for group, shift in (("one", 0), ("the other", 100))
        for name, effect in (("w", 1), ("x", 2))
    ]
    found = predictor_rows(rows)[0]
    assert (found["measure"], found["tau"], found["pairs"]) == ("FID", 1, 2)


def test_few_generators_in_one_order_are_no_evidence_and_measures_are_tried_together():
    """Of four generators two orders of 24 are perfect; seven measures were tried, of which two are known here."""
    rows = [row("a", name, number, fid=100 - number, precision=number) for number, name in enumerate("wxyz")]
    found = {row["measure"]: row for row in predictor_rows([*rows, row("b", "alone", 1, fid=1)])}
    assert found["FID"]["p"] == pytest.approx(2 / 24)
    assert found["FID"]["p_holm"] == pytest.approx(2 * 2 / 24)
    assert found["FID"]["generators"] == 4, "one that forms no pair is not counted"
    assert found["KID"]["p_holm"] is None

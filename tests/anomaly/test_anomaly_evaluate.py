"""The evaluation: thresholds and margins by hand, and a made-up test whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_searches import SETTINGS, classifier, evaluate, noisy, write_inputs, write_search
from small_generators import write_images

from synthmed.anomaly.cases import Case
from synthmed.anomaly.detection import (
    Known,
    System,
    area,
    compared,
    resampled_thresholds,
    systems,
    threshold_for_rate,
)
from synthmed.anomaly.examples import draw_examples
from synthmed.anomaly.found import read_found, write_found
from synthmed.anomaly.measured import chances
from synthmed.anomaly.supervised import supervised_margins
from synthmed.classifiers import network
from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_json
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.metrics.difference_maps import post_process
from synthmed.metrics.localisation import pointing_game
from synthmed.metrics.statistics import holm, mcnemar


# ------------------------------------------------------------------------------------------------------------- by hand
def test_the_threshold_lets_the_set_share_through():
    scores = np.arange(1.0, 11.0)
    assert (threshold_for_rate(scores, 0.2).value, threshold_for_rate(scores, 0.2).allowed) == (8.5, 2)
    assert threshold_for_rate(scores, 0.29).allowed == 2
    assert threshold_for_rate(scores, 0.3).allowed == 3  # 0.3 · 10 is 2.9999…
    strict = threshold_for_rate(scores, 0.05)
    assert (strict.value, strict.allowed) == (10.0, 0)
    assert (scores > strict.value).sum() == 0


def test_equal_scores_do_not_let_more_through():
    scores = np.array([0.0, 5.0, 5.0, 5.0])
    assert (scores > threshold_for_rate(scores, 0.25).value).sum() == 0
    assert (scores > threshold_for_rate(scores, 0.8).value).sum() <= 3


def test_margins_are_log_odds_above_the_threshold_of_the_loudest_target():
    def odds(p):
        return np.log(p / (1 - p))

    likelihoods = np.array([[[0.9, 0.3, 0.6], [0.1, 0.8, 0.5]], [[0.9, 0.4, 0.2], [0.1, 1.0, 0.5]]])
    thresholds = np.array([[0.5, 0.5, 0.7], [0.5, 0.2, 0.5]])
    margins, target = supervised_margins(likelihoods, thresholds, np.array([1, 2]))
    first = [max(odds(0.3), odds(0.6) - odds(0.7)), max(odds(0.4) - odds(0.2), odds(0.2))]
    second = [odds(0.8), odds(1 - 1e-6) - odds(0.2)]
    assert margins == pytest.approx([np.mean(first), np.mean(second)])
    assert target.tolist() == [1, 1]


def test_areas_say_why_there_is_none():
    patients = np.array(["a", "a", "b", "c"])
    positive = np.array([True, True, False, False])
    assert "two patients" in area(np.arange(4.0), positive, patients, 0.95).reason
    separated = area(np.array([4.0, 3.0, 2.0, 1.0]), positive, np.arange(4), 0.95)
    assert (separated.value, separated.low) == (1, None)
    assert "no spread" in separated.reason


def two_systems(rng, *, held_out=60, normal=30, abnormal=60, better=0.0):
    """Scores of two systems of equal worth, or of which the first sees more."""
    count = held_out + normal + abnormal
    is_abnormal = np.arange(count) >= held_out + normal
    shared = 0.7 * rng.standard_normal(count)
    scores = [shared + 0.7 * rng.standard_normal(count) + (1.5 + more) * is_abnormal for more in (better, 0.0)]
    query = np.arange(count) >= held_out
    known = Known(query, is_abnormal, is_abnormal, np.arange(count), {"nodule": is_abnormal})
    return known, systems(scores, known, 0.1, 200, rng)


def test_equal_systems_do_not_differ_because_their_thresholds_are_estimates():
    rng, p, mcnemar_p = np.random.default_rng(3), [], []
    for _ in range(120):
        known, pair = two_systems(rng, held_out=30)
        found = compared(*pair, known, known.groups["all"], 0.95, rng)
        p.append(1 if found["p"] is None else found["p"])
        right = [system.called[known.groups["all"]] for system in pair]
        mcnemar_p.append(mcnemar(*right).exact)
    assert np.mean(np.array(p) <= 0.05) <= 0.1  # nominal 5 %, two standard errors above
    assert np.mean(np.array(mcnemar_p) <= 0.05) > 0.2


def test_a_case_at_the_threshold_is_not_called_abnormal():
    assert System(np.array([1.0, 2.0, 3.0]), 2.0, np.zeros(1)).called.tolist() == [False, False, True]


def test_a_better_system_is_seen_and_counted_by_what_it_decides_rightly():
    rng = np.random.default_rng(4)
    known, pair = two_systems(rng, better=3.0)
    found = compared(*pair, known, known.groups["all"], 0.95, rng)
    called = [system.called[known.groups["all"]] for system in pair]
    assert found["difference"]["value"] == pytest.approx(called[0].mean() - called[1].mean())
    assert 0 < found["difference"]["low"] < found["difference"]["value"] < found["difference"]["high"] < 1
    assert found["p"] < 0.02
    assert found["only_anogan_right"] - found["only_supervised_right"] == called[0].sum() - called[1].sum()
    normal = compared(*pair, known, known.groups["normal"], 0.95, rng)
    called = [system.called[known.groups["normal"]] for system in pair]
    assert normal["difference"]["value"] == pytest.approx(called[1].mean() - called[0].mean())


def test_patients_with_many_held_out_images_move_the_threshold_together():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal(200)
    alone = resampled_thresholds([scores], np.arange(200), 0.1, 400, rng)
    patients = np.argsort(np.argsort(scores)) // 40  # five patients, each with a fifth of the range
    together = resampled_thresholds([scores], patients, 0.1, 400, rng)
    assert together.std() > 3 * alone.std()
    assert alone.mean() == pytest.approx(threshold_for_rate(scores, 0.1).value, abs=0.1)


def test_a_comparison_without_cases_or_with_one_patient_says_why():
    rng = np.random.default_rng(0)
    known, pair = two_systems(rng)
    nobody = compared(*pair, known, np.zeros(150, dtype=bool), 0.95, rng)
    assert (nobody["difference"]["reason"], nobody["p"]) == ("there is no such case", None)
    one = compared(*pair, known, np.arange(150) == 149, 0.95, rng)
    assert "one patient only" in one["difference"]["reason"]
    same = compared(pair[0], pair[0], known, known.groups["all"], 0.95, rng)
    assert (same["difference"]["value"], same["difference"]["low"], same["p"]) == (0, None, None)


def test_chance_after_post_processing_is_that_of_the_pixels_inside_the_frame():
    region = np.zeros((16, 16), dtype=bool)
    region[0, :8] = True
    found = chances([region, None, np.roll(region, 4, axis=0)], SETTINGS)  # a frame of 0.07 · 16 ≈ 1 pixel
    assert found["raw"] == pytest.approx([8 / 256, np.nan, 8 / 256], nan_ok=True)
    assert found["post-processed"] == pytest.approx([0, np.nan, 7 / 196], nan_ok=True)
    unframed = chances([region], replace(SETTINGS, border=0.0))
    assert unframed["post-processed"] == unframed["raw"] == 8 / 256
    # A map of noise points as often as its chance says.
    rng = np.random.default_rng(0)
    region[1:6, 2:9] = True
    maps = post_process(rng.random((4000, 16, 16)), 0.0, SETTINGS.border)
    hits = np.mean([pointing_game(one, region) for one in maps])
    (expected,) = chances([region], SETTINGS)["post-processed"]
    assert hits == pytest.approx(expected, abs=0.02)  # 3 standard errors


def test_examples_go_through_the_findings_in_order():
    def case(image, *findings):
        return Case("query", image, image, "abnormal" if findings else "normal", findings, None, None)

    cases = (
        [case(f"a{i}", "nodule") for i in range(5)] + [case("b", "rib fracture")] + [case(f"n{i}") for i in range(2)]
    )
    chosen = [cases[number] for number in draw_examples(replace(SETTINGS, examples=4), cases)]
    assert [one.findings for one in chosen] == [("nodule",), ("rib fracture",), ("nodule",), ("nodule",), (), ()]
    assert len({one.image for one in chosen}) == 6
    assert chosen == [cases[number] for number in draw_examples(replace(SETTINGS, examples=4), cases)]


# ------------------------------------------------------------------------------------------------------------ the step
@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.setattr(network, "load", lambda path: classifier())
    return write_inputs(tmp_path)


def test_the_made_up_test_is_answered_as_it_was_made(tmp_path, inputs):
    outputs = evaluate(tmp_path, inputs)
    result, rows = read_json(outputs["out"]), read_csv(outputs["cases"])
    assert result["held_out"] == {
        "cases": 20, "patients": 20, "allowed": 2, "resolution": 0.05, "patients_also_in_queries": 0
    }  # fmt: skip
    assert result["queries"] == {"cases": 17, "patients": 15, "normal": 10, "abnormal": 7, "several_findings": 0}
    seeing, blind = (result["searches"][name] for name in ("seeing", "blind"))
    decided = seeing["scores"]["top_positive"]["post-processed"]
    assert decided["held_out_false_positives"]["value"] == 0.1
    kinds = {entry["kind"]: entry for entry in result["kinds"]}
    assert (kinds["nodule"]["trained"], kinds["rib fracture"]["trained"]) == (True, False)
    assert (kinds["rib fracture"]["anogan"]["value"], kinds["rib fracture"]["supervised"]["value"]) == (1, 0)
    assert kinds["rib fracture"]["patients"] == 1
    assert kinds["atelectasis"]["cases"] == 0
    assert kinds["atelectasis"]["anogan"]["value"] is None
    # The untrained cases: three that only the search calls abnormal, but of one patient.
    untrained = result["groups"]["untrained"]
    assert (untrained["only_anogan_right"], untrained["only_supervised_right"], untrained["p"]) == (3, 0, None)
    assert untrained["difference"]["value"] == 1
    # Strong patches are found and pointed at; the faint nodule is luck.
    strong = [row for row in rows if row["image"] in ("a0.png", "a1.png", "a2.png", "b0.png", "b1.png", "b2.png")]
    assert all(row["seeing_detected"] == "yes" and row["seeing_pointing"] == "1.0" for row in strong)
    assert [row["supervised_detected"] for row in strong] == ["yes"] * 3 + ["no"] * 3
    assert result["auroc"]["untrained"]["anogan"]["value"] is None  # one patient only
    of_all = result["auroc"]["all"]
    assert of_all["anogan"] == decided["auroc"]
    assert of_all["anogan"]["value"] > of_all["supervised"]["value"]  # it sees the fractures too
    assert of_all["difference"]["value"] == pytest.approx(of_all["anogan"]["value"] - of_all["supervised"]["value"])
    assert result["supervised"]["own_thresholds"]["specificity"]["value"] == 1
    assert seeing["error"]["normal"] < seeing["error"]["abnormal"]
    # A blind search calls nothing abnormal and points by chance.
    assert blind["scores"]["top_positive"]["raw"]["sensitivity"]["value"] == 0
    assert blind["scores"]["top_positive"]["raw"]["auroc"]["value"] == 0.5
    flat = blind["localisation"]["positive"]["raw"]
    raw, processed = (result["chance"][processing] for processing in ("raw", "post-processed"))
    assert flat["pointing_game"]["value"] == pytest.approx(raw["pointing_game"]["value"])
    assert flat["average_precision"]["value"] == pytest.approx(raw["average_precision"]["value"])
    # Boxes of 4 nodules cover 4 × 4 … 5 × 5 pixel centres (3.5 … 8.2: centres 3.5 … 7.5), masks of 3 fractures 9.
    assert raw["pointing_game"]["value"] == pytest.approx((4 * 25 + 3 * 9) / 7 / 256)
    # The frame of the post-processing is one pixel wide: 14 × 14 pixels are left, and all of these regions.
    assert processed["pointing_game"]["value"] == pytest.approx((4 * 25 + 3 * 9) / 7 / 196)
    assert (seeing["steps"], seeing["passes"], blind["started_by_encoder"]) == (7, 14, 1)


def test_another_finding_in_the_list_changes_no_comparison(tmp_path, inputs):
    groups = read_json(evaluate(tmp_path, inputs)["out"])["groups"]
    more = replace(SETTINGS, kinds=(*SETTINGS.kinds, "mass"))
    assert read_json(evaluate(tmp_path, inputs, more)["out"])["groups"] == groups


def test_the_p_of_the_groups_are_adjusted_together(tmp_path, inputs):
    groups = read_json(evaluate(tmp_path, inputs)["out"])["groups"]
    own = {name: entry["p"] for name, entry in groups.items() if entry["p"] is not None}
    assert len(own) >= 2
    assert groups["untrained"]["p_adjusted"] is None
    for name, value in zip(own, holm(list(own.values())), strict=True):
        assert groups[name]["p_adjusted"] == value
    assert any(groups[name]["p_adjusted"] > p for name, p in own.items() if p < 1)


def test_steps_and_passes_are_those_of_the_test_images(tmp_path, inputs):
    path = inputs["held_out"][0]
    found = read_found(path)
    write_found(
        path,
        replace(
            found,
            iterations=found.iterations * 9,
            passes=found.passes * 9,
            started=np.full(len(found.images), "encoder"),
        ),
    )
    seeing = read_json(evaluate(tmp_path, inputs)["out"])["searches"]["seeing"]
    assert (seeing["steps"], seeing["passes"], seeing["started_by_encoder"]) == (7, 14, 0)


def test_counts_agree_with_the_cases(tmp_path, inputs):
    outputs = evaluate(tmp_path, inputs)
    result, rows = read_json(outputs["out"]), read_csv(outputs["cases"])
    queries = [row for row in rows if row["part"] == "query"]
    assert len(rows) == 37
    for entry in result["kinds"]:
        own = [row for row in queries if entry["kind"] in row["findings"].split(";")]
        assert entry["cases"] == len(own)
        assert round((entry["anogan"]["value"] or 0) * len(own)) == sum(row["seeing_detected"] == "yes" for row in own)
        assert entry["supervised"]["n"] == len(own)
    for who, column in (("anogan", "seeing_detected"), ("supervised", "supervised_detected")):
        called = [row for row in queries if not row["findings"] and row[column] == "yes"]
        assert result["groups"]["normal"][who]["value"] == pytest.approx(len(called) / 10)
    threshold = result["searches"]["seeing"]["scores"]["top_positive"]["post-processed"]["threshold"]
    for row in rows:
        assert (float(row["seeing_score"]) > threshold) == (row["seeing_detected"] == "yes")
        assert row["likelihood_nodule"] != ""


def test_equal_runs_give_equal_bytes_and_several_sets_are_one_test(tmp_path, inputs):
    first = {name: path.read_bytes() for name, path in evaluate(tmp_path, inputs).items()}
    assert first == {name: path.read_bytes() for name, path in evaluate(tmp_path, inputs).items()}
    whole = ImageSet(inputs["query_images"][0])
    parts = []
    for name, keep in (("one", range(5)), ("two", range(5, 17))):
        write_image_set(tmp_path / f"{name}.zip", whole.entries(keep))
        parts.append(tmp_path / f"{name}.zip")
    queries = [
        write_search(tmp_path / f"{part.stem}_{name}.npz", part, seeing=name == "seeing")
        for name in SETTINGS.searches
        for part in parts
    ]
    again = evaluate(tmp_path, inputs | {"query_images": parts, "queries": queries})
    assert first == {name: path.read_bytes() for name, path in again.items()}


def test_examples_carry_what_the_figures_show(tmp_path, inputs):
    path = evaluate(tmp_path, inputs)["examples"]
    with np.load(path) as loaded:
        examples = dict(loaded)
    assert len(examples["image"]) == 6
    assert [name[0] for name in examples["image"].tolist()[3:]] == ["n"] * 3
    abnormal = examples["image"].tolist()[:3]
    assert {name[0] for name in abnormal} == {"a", "b"}
    place = next(number for number, name in enumerate(abnormal) if name.startswith("b"))
    assert examples["query"].shape == examples["reconstruction"].shape == (6, 16, 16, 1)
    assert examples["difference"][place, 11, 11] == pytest.approx(90 / 255, abs=0.02)
    assert examples["positive"].min() >= 0
    assert examples["processed"][:, 0].max() == 0
    heat = examples["activation"][[number for number, name in enumerate(abnormal) if name.startswith("a")]]
    assert heat.max() == pytest.approx(1, abs=0.2)


def test_a_set_whose_labels_are_its_findings(tmp_path, inputs):
    whole = ImageSet(inputs["query_images"][0])
    rows = [({**fields, "label": fields["findings"] or "normal"}, *rest) for fields, *rest in whole.entries()]
    for fields, *_ in rows:
        del fields["findings"]
    write_image_set(tmp_path / "labels.zip", rows)
    queries = [
        write_search(tmp_path / f"labels_{name}.npz", tmp_path / "labels.zip", seeing=name == "seeing")
        for name in SETTINGS.searches
    ]
    changed = inputs | {"query_images": [tmp_path / "labels.zip"], "queries": queries}
    result = read_json(evaluate(tmp_path, changed, replace(SETTINGS, findings_column="label"))["out"])
    assert [(entry["kind"], entry["cases"]) for entry in result["kinds"][:2]] == [("nodule", 4), ("rib fracture", 3)]


def test_unusable_input_is_refused(tmp_path, inputs):
    def refused(message, changed=None, **settings):
        with pytest.raises(InputError, match=message):
            evaluate(tmp_path, inputs | (changed or {}), replace(SETTINGS, **settings))

    refused("1 files for the searches", {"held_out": inputs["held_out"][:1]})
    refused("queries: 3 files", {"queries": [*inputs["queries"], inputs["queries"][0]]})
    refused("which is not in", {"queries": inputs["held_out"]})
    refused("not in the setting kinds", kinds=("nodule",))
    refused("no column 'diagnosis'", findings_column="diagnosis")
    refused("search is 'other'", search="other")
    refused("targets .* must be in the setting kinds", kinds=("rib fracture", "atelectasis", "mass"))
    refused(
        "abnormal images among the held-out",
        {
            "held_out_images": inputs["query_images"][0],
            "held_out": inputs["queries"],
            "query_images": [inputs["held_out_images"]],
            "queries": inputs["held_out"],
        },
    )
    refused("image 'held000.png'; give every image once", {
        "query_images": [inputs["held_out_images"]], "queries": inputs["held_out"],
    })  # fmt: skip
    other = write_images(tmp_path / "n.zip", noisy(np.random.default_rng(5), 4), ["normal"] * 4, findings=[""] * 4)
    searched = [write_search(tmp_path / f"n_{name}.npz", other, seeing=True) for name in SETTINGS.searches]
    refused("all normal or all abnormal", {"query_images": [other], "queries": searched})
    found = read_found(inputs["queries"][1])
    fewer = {name: getattr(found, name)[:-1] for name in vars(found)}
    write_found(tmp_path / "fewer.npz", type(found)(**fewer))
    refused("searched other images", {"queries": [inputs["queries"][0], tmp_path / "fewer.npz"]})
    write_json(tmp_path / "other.json", {"targets": ["normal", "mass"]})
    refused("is not the report of", {"classifier_report": tmp_path / "other.json"})


def test_a_box_that_cannot_be_read_names_the_image(tmp_path, inputs):
    whole = ImageSet(inputs["query_images"][0])
    rows = [({**fields, "boxes": fields["boxes"].replace("8.2", "2")}, *rest) for fields, *rest in whole.entries()]
    write_image_set(tmp_path / "test.zip", rows)
    with pytest.raises(InputError, match=r"image 'a0\.png': box"):
        evaluate(tmp_path, inputs)

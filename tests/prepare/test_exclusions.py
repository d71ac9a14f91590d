"""Exclusions: every rule by hand-made manifests, what is missing is counted, nothing passes in silence."""

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_csv, write_json
from synthmed.core.settings import parse
from synthmed.data.imageset import ImageSet, Legend, write_image_set
from synthmed.prepare.exclusions import ExcludeSettings, SetAsideSettings, exclude, set_aside

NONE = {
    "classes": ["normal", "abnormal"],
    "min_age": None,
    "manufacturers": None,
    "views": None,
    "normals_with_devices": None,
    "set_aside_findings": None,
}
COLUMNS = ("label", "patient", "age", "manufacturer", "view", "device", "findings")
FILMS = [
    ("normal", "p1", "40", "GE", "PA", "no", ""),
    ("normal", "p1", "41", "ge ", "AP", "no", ""),
    ("normal", "p2", "18.9", "GE", "PA", "no", ""),
    ("normal", "p3", "", "GE", "PA", "no", ""),
    ("normal", "p4", "60", "Philips", "PA", "yes", ""),
    ("normal", "p5", "61", "GE", "pa", "yes", ""),
    ("normal", "p6", "62", "GE", "PA", "", ""),
    ("normal", "p7", "63", "GE", "PA", "", ""),
    ("abnormal", "p8", "19", "GE", "PA", "yes", "nodule"),
    ("abnormal", "p9", "70", "", "PA", "no", "nodule;pneumothorax"),
    ("abnormal", "p10", "71", "GE", "", "", "calcification"),
    ("abnormal", "p10", "71", "GE", "PA", "", "nodule"),
    ("abnormal", "p11", "72", "GE", "PA", "", "calcification;nodule"),
    ("abnormal", "p12", "73", "GE", "PA", "no", "consolidation"),
]

LEGEND = Legend(("film", "edge"), "instances", {"nodule": 300})


def films(path, rows=FILMS, columns=COLUMNS):
    pixels = np.zeros((4, 4, 2), np.uint8)
    write_image_set(
        path,
        [
            (
                dict(zip(columns, row, strict=True)) | {"image": f"film_{number:02d}.png", "split": "", "source": "s"},
                pixels,
                np.full((4, 4), number + 300),
            )
            for number, row in enumerate(rows)
        ],
        LEGEND,
    )
    return path


def names(*numbers):
    return [f"film_{number:02d}.png" for number in numbers]


def run(tmp_path, rows=FILMS, columns=COLUMNS, likelihoods=None, report=None, **rules):
    tmp_path.mkdir(exist_ok=True)
    exclude(
        parse(ExcludeSettings, NONE | rules),
        images=films(tmp_path / "raw.zip", rows, columns),
        device_likelihoods=likelihoods,
        device_report=report,
        selected=tmp_path / "selected.zip",
        report=tmp_path / "exclusions.json",
    )
    images = ImageSet(tmp_path / "selected.zip")
    left = images.column("image")
    assert images.legend == LEGEND
    assert [f"film_{mask[0, 0] - 300:02d}.png" for *_, mask in images.entries()] == left
    return left, read_json(tmp_path / "exclusions.json")


def step(report, key):
    return next(found for found in report["steps"] if found["key"] == key)


def without(*numbers):
    return names(*(number for number in range(len(FILMS)) if number not in numbers))


def test_without_rules_everything_stays_and_the_report_says_that_none_was_applied(tmp_path):
    left, report = run(tmp_path)
    assert left == names(*range(14))
    assert [found["applied"] for found in report["steps"]] == [False] * 5
    assert report["before"] == report["after"]
    assert report["before"]["images"] == {"normal": 8, "abnormal": 6}
    assert report["before"]["patients"] == {"normal": 7, "abnormal": 5}
    assert report["before"]["all"] == {"images": 14, "patients": 12}
    assert report["devices"] is None


@pytest.mark.parametrize(("missing", "gone"), [("exclude", (2, 3)), ("keep", (2,))])
def test_age_excludes_below_the_limit_and_counts_what_is_missing(tmp_path, missing, gone):
    left, report = run(tmp_path, min_age={"years": 19, "missing": missing})
    assert left == without(*gone)
    found = step(report, "min_age")
    assert found["words"] == "younger than 19 years"
    assert found["excluded"]["images"] == {"normal": 1, "abnormal": 0}
    assert found["missing"]["action"] == missing
    assert found["missing"]["images"] == {"normal": 1, "abnormal": 0}
    assert found["after"]["all"]["images"] == 14 - len(gone)
    assert found["reasons"] == {"under 19": 1}


@pytest.mark.parametrize(("missing", "gone"), [("exclude", (4, 9)), ("keep", (4,))])
def test_manufacturers_are_compared_whatever_their_case(tmp_path, missing, gone):
    left, report = run(tmp_path, manufacturers={"accepted": ["ge"], "missing": missing})
    assert left == without(*gone)
    found = step(report, "manufacturers")
    assert found["reasons"] == {"Philips": 1}
    assert found["missing"]["images"] == {"normal": 0, "abnormal": 1}


def test_views_may_be_several(tmp_path):
    left, report = run(tmp_path, views={"accepted": ["PA", "AP"], "missing": "exclude"})
    assert left == without(10)
    assert step(report, "views")["words"] == "view other than PA or AP"
    assert run(tmp_path, views={"accepted": ["PA"], "missing": "exclude"})[0] == without(1, 10)


@pytest.mark.parametrize(("missing", "gone"), [("exclude", (4, 5, 6, 7)), ("keep", (4, 5))])
def test_devices_exclude_only_the_named_class(tmp_path, missing, gone):
    left, report = run(tmp_path, normals_with_devices={"label": "normal", "missing": missing})
    assert left == without(*gone)
    assert step(report, "normals_with_devices")["missing"]["images"] == {"normal": 2, "abnormal": 0}
    assert report["devices"]["from_data"] == {"yes": 2, "no": 4}
    assert report["devices"]["from_classifier"] == {"yes": 0, "no": 0}
    assert report["devices"]["classifier"] is None


def classifier_report(path):
    def seed(auroc, threshold, true_positives, false_positives):
        found = {"auroc": auroc, "threshold": threshold, "true_positives": true_positives}
        found |= {"false_negatives": 10 - true_positives, "false_positives": false_positives}
        return {"validation": {"device": found | {"true_negatives": 20 - false_positives}}}

    part = {"images": 30, "patients": 25, "positives": {"device": 10}}
    write_json(
        path,
        {
            "images": {"train": part, "validation": part},
            "threshold_rule": "a rule",
            "seeds": [seed(0.9, 0.3, 9, 2), seed(0.8, 0.5, 8, 4)],
        },
    )
    return path


def likelihoods(path, values):
    write_csv(path, [{"image": name, "device": value} for name, value in values.items()], ["image", "device"])
    return path


def test_the_classifier_decides_where_the_data_do_not_say(tmp_path):
    # Threshold: the mean of the two seeds, 0.4. Films 4 and 5 are known; their likelihood is not asked.
    said = dict.fromkeys(names(*range(14)), 0.99) | dict(zip(names(6, 7), (0.4, 0.39), strict=True))
    left, report = run(
        tmp_path,
        likelihoods=likelihoods(tmp_path / "l.csv", said),
        report=classifier_report(tmp_path / "r.json"),
        normals_with_devices={"label": "normal", "missing": "exclude"},
    )
    assert left == without(4, 5, 6)
    found = step(report, "normals_with_devices")
    assert found["reasons"] == {"by the data": 2, "by the classifier": 1}
    assert found["missing"]["all"]["images"] == 0
    devices = report["devices"]
    assert devices["from_data"] == {"yes": 2, "no": 4}
    assert devices["from_classifier"] == {"yes": 1, "no": 1}
    classifier = devices["classifier"]
    assert classifier["threshold"] == pytest.approx(0.4)
    assert classifier["held_out"] == {"images": 30, "patients": 25, "with_device": 10}
    assert classifier["auroc"] == pytest.approx({"mean": 0.85, "lowest": 0.8, "highest": 0.9})
    assert classifier["sensitivity"]["mean"] == pytest.approx(0.85)
    assert classifier["specificity"] == pytest.approx({"mean": 0.85, "lowest": 0.8, "highest": 0.9})


def test_a_patient_with_a_finding_that_is_set_aside_leaves_with_every_film(tmp_path):
    left, report = run(tmp_path, set_aside_findings=["calcification", "rib fracture"])
    assert left == without(10, 11, 12)
    assert report["set_aside"] == {
        "findings": ["calcification", "rib fracture"],
        "images": names(10, 11, 12),
        "patients": 2,
        "by_finding": {
            "calcification": {"images": 2, "patients": 2},
            "rib fracture": {"images": 0, "patients": 0},
            "nodule": {"images": 2, "patients": 2},  # with the calcification of p11, and on the other film of p10
        },
    }


def test_a_film_that_was_excluded_before_still_takes_its_patient_along(tmp_path):
    # p10's calcification is seen on the film without a view only; the other film of p10 goes nevertheless.
    left, report = run(tmp_path, views={"accepted": ["PA"], "missing": "exclude"}, set_aside_findings=["calcification"])
    assert left == without(1, 10, 11, 12)
    assert report["set_aside"]["images"] == names(11, 12)


def test_the_steps_are_a_chain_and_nothing_is_lost_on_the_way(tmp_path):
    left, report = run(
        tmp_path,
        min_age={"years": 19, "missing": "exclude"},
        manufacturers={"accepted": ["GE"], "missing": "exclude"},
        views={"accepted": ["PA"], "missing": "exclude"},
        normals_with_devices={"label": "normal", "missing": "keep"},
        set_aside_findings=["calcification"],
    )
    assert left == names(0, 6, 7, 8, 13)
    before = report["before"]
    for found in report["steps"]:
        assert found["before"] == before
        for label in NONE["classes"]:
            gone = found["excluded"]["images"][label]
            gone += found["missing"]["images"][label] if found["missing"]["action"] == "exclude" else 0
            assert found["before"]["images"][label] - gone == found["after"]["images"][label]
        before = found["after"]
    assert before == report["after"]


def test_the_selected_set_keeps_every_column(tmp_path):
    run(tmp_path, views={"accepted": ["PA"], "missing": "exclude"})
    whole = {row["image"]: row for row in ImageSet(tmp_path / "raw.zip").rows}
    assert all(row == whole[row["image"]] for row in ImageSet(tmp_path / "selected.zip").rows)


def test_equal_inputs_give_equal_bytes(tmp_path):
    for folder in ("a", "b"):
        run(tmp_path / folder, min_age={"years": 19, "missing": "keep"}, set_aside_findings=["calcification"])
    for name in ("selected.zip", "exclusions.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"manufacturers": {"accepted": ["Siemens"], "missing": "keep"}}, r"'normal' is left after .*'Philips': 1"),
        ({"manufacturers": {"accepted": ["Siemens"], "missing": "exclude"}}, "no image is left after the rule manu"),
        ({"min_age": {"years": 70, "missing": "exclude"}}, "'normal' is left after the rule min_age"),
        ({"min_age": {"years": 0, "missing": "exclude"}}, r"min_age\.years is 0"),
        ({"views": {"accepted": [], "missing": "keep"}}, r"views\.accepted is \[\]"),
        ({"set_aside_findings": []}, r"set_aside_findings is \[\]"),
        ({"normals_with_devices": {"label": "healthy", "missing": "keep"}}, "label is 'healthy'"),
        ({"classes": ["normal", "sick"]}, "unknown label 'abnormal'"),
    ],
)
def test_rules_that_cannot_be_are_refused_and_leave_nothing_behind(tmp_path, rules, message):
    with pytest.raises(InputError, match=message):
        run(tmp_path, **rules)
    assert not (tmp_path / "selected.zip").exists()


@pytest.mark.parametrize("column", ["age", "manufacturer", "view", "device", "findings"])
def test_a_rule_needs_its_column(tmp_path, column):
    rules = {
        "age": {"min_age": {"years": 19, "missing": "keep"}},
        "manufacturer": {"manufacturers": {"accepted": ["GE"], "missing": "keep"}},
        "view": {"views": {"accepted": ["PA"], "missing": "keep"}},
        "device": {"normals_with_devices": {"label": "normal", "missing": "keep"}},
        "findings": {"set_aside_findings": ["calcification"]},
    }
    with pytest.raises(InputError, match=f"no column '{column}'"):
        run(tmp_path, [row[:2] for row in FILMS], COLUMNS[:2], **rules[column])


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [("age", "forty", "'forty', which is no number"), ("age", "-3", "no number"), ("device", "wire", "'yes', 'no' or")],
)
def test_a_cell_that_is_neither_a_value_nor_empty_is_refused(tmp_path, column, cell, message):
    rows = [list(row) for row in FILMS]
    rows[0][COLUMNS.index(column)] = cell
    with pytest.raises(InputError, match=message):
        run(
            tmp_path,
            rows,
            min_age={"years": 19, "missing": "keep"},
            normals_with_devices={"label": "normal", "missing": "keep"},
        )


def test_likelihoods_and_report_come_together_and_of_the_same_images(tmp_path):
    rule = {"normals_with_devices": {"label": "normal", "missing": "keep"}}
    report = classifier_report(tmp_path / "r.json")
    with pytest.raises(InputError, match="give both"):
        run(tmp_path, report=report, **rule)
    with pytest.raises(InputError, match=r"no likelihood of film_07\.png"):
        run(tmp_path, report=report, likelihoods=likelihoods(tmp_path / "l.csv", {"film_06.png": 0.1}), **rule)
    write_csv(tmp_path / "l.csv", [{"image": "film_06.png", "abnormal": 0.1}], ["image", "abnormal"])
    with pytest.raises(InputError, match="needs the columns 'image' and 'device'"):
        run(tmp_path, report=report, likelihoods=tmp_path / "l.csv", **rule)
    write_json(report, {"seeds": []})
    with pytest.raises(InputError, match="no report of a classifier"):
        run(tmp_path, report=report, likelihoods=likelihoods(tmp_path / "l.csv", {"film_06.png": 0.1}), **rule)


def test_the_films_set_aside_become_an_image_set(tmp_path):
    run(tmp_path, set_aside_findings=["calcification"])
    given = {"images": tmp_path / "raw.zip", "exclusions": tmp_path / "exclusions.json"}
    set_aside(SetAsideSettings(), **given, set_aside=tmp_path / "aside.zip")
    found = ImageSet(tmp_path / "aside.zip")
    assert found.column("image") == names(10, 11, 12)
    assert found.column("findings") == ["calcification", "nodule", "calcification;nodule"]
    with pytest.raises(InputError, match=r"film_10\.png', which is not in"):
        set_aside(
            SetAsideSettings(), **(given | {"images": tmp_path / "selected.zip"}), set_aside=tmp_path / "again.zip"
        )
    run(tmp_path, views={"accepted": ["PA"], "missing": "keep"})
    with pytest.raises(InputError, match="no image was set aside"):
        set_aside(SetAsideSettings(), **given, set_aside=tmp_path / "none.zip")
    assert not (tmp_path / "none.zip").exists()

"""What a part of the image tells, where the truth is known; and the section of the report that says so."""

import csv
import json
import re

import numpy as np
import pytest
from test_compare_step import CLASSES, scores_of

from synthmed.core.errors import InputError
from synthmed.data.imageset import write_image_set
from synthmed.evaluation.compare_regions import ALL, RegionSettings, compare_regions
from synthmed.evaluation.scores import Scores, write_scores
from synthmed.metrics.classification import auroc
from synthmed.report.sections.background import FINDINGS, SECTION, BackgroundSettings, section

SETTINGS = RegionSettings(
    classes=CLASSES, positive="abnormal", regions=("outside", "inside"), alpha=0.05, margin=0.05
)  # fmt: skip


def of_arm(scores, arm):
    """The scores of one arm, as the real arm of a run of its own."""
    return Scores(scores.columns, scores.cases, {("real", "test"): scores.values[arm, "test"]})


@pytest.fixture
def made(tmp_path):
    """Whole images tell the classes apart, outside as well as whole, inside nothing; and two hospitals."""
    scores = scores_of({"whole": 3.0, "none": 0.0}, n=160)
    values = dict(scores.values)
    noise = np.random.default_rng(1).normal(0, 0.004, values["whole", "test"].shape)
    values["same", "test"] = np.clip(values["whole", "test"] + noise, 0, 1)
    scores = Scores(scores.columns, scores.cases, values)
    files = {}
    for arm in ("whole", "same", "none"):
        files[arm] = tmp_path / f"{arm}.csv"
        write_scores(files[arm], of_arm(scores, arm))
    cases = scores.cases["test"]
    hospital = np.where(np.arange(160) < 100, "a", "b")
    hospital[(np.arange(160) >= 120) & (cases.labels == "normal")] = "c"  # b has the sick, and few others
    hospital[(hospital == "b") & (cases.labels == "normal")] = "a"

    def rows():
        for image, patient, label, source in zip(cases.images, cases.patients, cases.labels, hospital, strict=True):
            fields = {"image": image, "patient": patient, "label": label, "source": source}
            yield fields, np.full((8, 8), 100, np.uint8)

    write_image_set(tmp_path / "test.zip", rows())
    return tmp_path, files, scores, hospital


def run(folder, files, regions=("same", "none"), settings=SETTINGS):
    out = folder / "results.json"
    given = [files[name] for name in regions]
    compare_regions(settings, whole=files["whole"], regions=given, test=folder / "test.zip", out=out)
    return json.loads(out.read_text())


def test_what_is_not_above_chance_reaches_nothing(made):
    """Equivalent within a wide margin, but by chance both, or one of them."""
    folder, files, _, _ = made
    wide = RegionSettings(CLASSES, "abnormal", ("outside", "inside"), 0.05, 0.6)
    found = run(folder, files, settings=wide)["regions"]["inside"][ALL]
    assert (found["finding"], found["equivalent"]) == ("chance", True)
    blind = run(folder, files | {"whole": files["none"]}, ("none", "same"), wide)["regions"]
    assert (blind["outside"][ALL]["difference"]["value"], blind["outside"][ALL]["finding"]) == (0.0, "neither")
    assert blind["inside"][ALL]["finding"] == "reaches", "it is above chance, and better than whole images"


def test_a_background_that_tells_as_much_is_found_and_one_that_tells_nothing_too(made):
    folder, files, scores, _ = made
    found = run(folder, files)
    positive = scores.cases["test"].labels == "abnormal"
    for name, arm in (("outside", "same"), ("inside", "none")):
        expected = np.mean([auroc(row, positive) for row in scores.values[arm, "test"][:, :, 1]])
        assert found["regions"][name][ALL]["auroc"]["value"] == pytest.approx(expected)
    whole = np.mean([auroc(row, positive) for row in scores.values["whole", "test"][:, :, 1]])
    assert found["whole"][ALL]["value"] == pytest.approx(whole)
    outside, inside = found["regions"]["outside"][ALL], found["regions"]["inside"][ALL]
    assert (outside["finding"], outside["equivalent"]) == ("reaches", True)
    assert (inside["finding"], inside["equivalent"]) == ("chance", False)
    assert inside["difference"]["value"] == pytest.approx(inside["auroc"]["value"] - whole)
    assert inside["difference"]["high"] < 0
    assert inside["p"] < 0.001


def test_origins_with_both_classes_are_looked_at_alone(made):
    folder, files, scores, hospital = made
    found = run(folder, files)
    assert list(found["whole"]) == ["a", ALL], "b and c have one class each"
    where = hospital == "a"
    positive = scores.cases["test"].labels[where] == "abnormal"
    expected = np.mean([auroc(row[where], positive) for row in scores.values["none", "test"][:, :, 1]])
    assert found["regions"]["inside"]["a"]["auroc"]["value"] == pytest.approx(expected)
    assert found["origins"]["c"] == {"normal": 20}
    assert sum(sum(counts.values()) for counts in found["origins"].values()) == 160


def test_what_follows_from_a_region(made):
    folder, files, scores, _ = made
    middle = Scores(scores.columns, scores.cases, {("real", "test"): scores_of({"x": 0.7}, n=160).values["x", "test"]})
    write_scores(folder / "middle.csv", middle)
    found = run(folder, files | {"middle": folder / "middle.csv"}, ("middle", "same"))
    assert found["regions"]["outside"][ALL]["finding"] == "less"
    better = run(folder, {"whole": folder / "middle.csv", **{k: files[k] for k in ("same", "none")}})
    assert better["regions"]["outside"][ALL]["finding"] == "reaches", "better than whole images"
    few = scores_of({"whole": 1.2, "part": 1.0}, n=24)
    for arm in ("whole", "part"):
        write_scores(folder / f"few_{arm}.csv", of_arm(few, arm))
    small = RegionSettings(CLASSES, "abnormal", ("outside",), 0.05, 0.001)
    unclear = run(folder, {"whole": folder / "few_whole.csv", "part": folder / "few_part.csv"}, ("part",), small)
    assert unclear["regions"]["outside"][ALL]["finding"] == "not worse"
    turned = run(folder, {"whole": folder / "few_part.csv", "part": folder / "few_whole.csv"}, ("part",), small)
    assert turned["regions"]["outside"][ALL]["difference"]["value"] > 0
    assert turned["regions"]["outside"][ALL]["finding"] == "not worse", "better, but that may be chance"


def certain(scores, arm, value):
    """Scores of the same cases by which every training says value(whether it is abnormal) of an image."""
    values = np.broadcast_to(value(scores.cases["test"].labels == "abnormal"), scores.values[arm, "test"].shape[:2])
    return Scores(scores.columns, scores.cases, {("real", "test"): np.stack([1 - values, values], axis=2)})


def test_a_region_that_ranks_every_image_rightly_reaches_whole_images(made):
    """There is no spread then, and no interval; with constant scores neither."""
    folder, files, scores, _ = made
    write_scores(folder / "perfect.csv", certain(scores, "same", lambda positive: 0.2 + 0.6 * positive))
    write_scores(folder / "constant.csv", certain(scores, "same", lambda positive: 0.5 + 0.0 * positive))
    write_scores(folder / "wrong.csv", certain(scores, "same", lambda positive: 0.8 - 0.6 * positive))
    files |= {name: folder / f"{name}.csv" for name in ("perfect", "constant", "wrong")}
    found = run(folder, files, ("perfect", "constant"))["regions"]
    perfect, constant = found["outside"][ALL], found["inside"][ALL]
    assert (perfect["auroc"]["value"], perfect["auroc"]["low"], perfect["finding"]) == (1.0, None, "reaches")
    assert (constant["auroc"]["value"], constant["finding"]) == (0.5, "chance")
    both = run(folder, files | {"whole": files["perfect"]}, ("perfect", "constant"))["regions"]
    assert (both["outside"][ALL]["difference"]["value"], both["outside"][ALL]["finding"]) == (0.0, "reaches")
    assert (both["inside"][ALL]["difference"]["value"], both["inside"][ALL]["finding"]) == (-0.5, "chance")
    wrong = run(folder, files, ("wrong", "constant"))["regions"]["outside"][ALL]
    assert (wrong["auroc"]["value"], wrong["auroc"]["low"], wrong["finding"]) == (0.0, None, "chance")


def test_a_perfect_ranking_of_very_few_patients_shows_nothing(tmp_path):
    few = scores_of({"whole": 1.0}, n=8)
    write_scores(tmp_path / "whole.csv", of_arm(few, "whole"))
    write_scores(tmp_path / "perfect.csv", certain(few, "whole", lambda positive: 0.2 + 0.6 * positive))
    fields = zip(*(getattr(few.cases["test"], name) for name in ("images", "patients", "labels")), strict=True)
    rows = [dict(zip(("image", "patient", "label"), one, strict=True), source="") for one in fields]
    write_image_set(tmp_path / "test.zip", [(row, np.full((8, 8), 100, np.uint8)) for row in rows])
    alone = RegionSettings(CLASSES, "abnormal", ("outside",), 0.05, 0.001)
    found = run(tmp_path, {name: tmp_path / f"{name}.csv" for name in ("whole", "perfect")}, ("perfect",), alone)
    assert found["regions"]["outside"][ALL]["auroc"]["value"] == 1
    assert found["regions"]["outside"][ALL]["finding"] != "reaches"


def test_scores_of_other_images_or_trainings_are_refused(made):
    folder, files, scores, _ = made
    fewer = Scores(scores.columns, scores.cases, {("real", "test"): scores.values["none", "test"][:3]})
    write_scores(folder / "fewer.csv", fewer)
    with pytest.raises(InputError, match=r"fewer\.csv: is of other test images or trainings"):
        run(folder, files | {"fewer": folder / "fewer.csv"}, ("same", "fewer"))
    with pytest.raises(InputError, match="regions: 1 files"):
        run(folder, files, ("same",))


@pytest.mark.parametrize(
    ("regions", "says"),
    [
        (("same", "none"), "The background alone reaches the AUROC"),
        (("none", "same"), "no evidence that the background alone"),
    ],
)
def test_the_section_says_what_the_background_tells(made, regions, says):
    folder, files, _, _ = made
    run(folder, files, regions)
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(results | {"alpha": 0.01}))
    settings = BackgroundSettings(("outside", "inside"), "mask", "lungs", CLASSES, 2, 1)
    out = [folder / name for name in SECTION.files("background")]
    test = folder / "test.zip"
    section(
        settings, results=folder / "results.json", test=test, regions=[test, test],
        section=folder / "background.json", out=out,
    )  # fmt: skip
    html = re.sub(r"\s+", " ", json.loads((folder / "background.json").read_text())["html"])
    assert says in html
    assert "come from 3 origins" in html
    assert "(99 % interval " in html
    assert "95 %" not in html
    with open(out[0]) as table:
        rows = list(csv.DictReader(table))
    assert [row["region"] for row in rows] == ["whole image", "outside of the lungs", "inside of the lungs"] * 2
    assert {row["finding"] for row in rows} <= {"", *FINDINGS.values()}

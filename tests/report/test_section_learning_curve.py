"""The section on fewer real images."""

import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_json
from synthmed.report.sections.learning_curve import SECTION, LearningCurveSettings, section

NAMES = ("iou", "hd95")
ARMS = {"real": "Real only", "duplicates": "Real, each image twice", "gan": "Real + gan"}


def estimate(value, low=None, high=None):
    return {"value": value, "low": low, "high": high, "n": 5, "reason": None}


def verdicts(size, value):
    arms = {}
    for number, (name, title) in enumerate(ARMS.items()):
        values = {one: estimate(value + 0.02 * number, value - 0.1, value + 0.1) for one in NAMES}
        difference = {one: {"difference": estimate(0.02 * number, -0.01, 0.05), "p": 0.3} for one in NAMES}
        versus = {
            "outcomes": difference,
            "p": 0.03,
            "verdict": "helps" if size < 50 else None,
            "reason": "too few seeds",
            "p_holm": 0.06,
            "equivalent": False,
        }
        shown = {"title": title, "n_train": size * (1 + (number > 0)), "tests": {"test": {"outcomes": values}}}
        arms[name] = shown | {"versus_reference": versus if number else None}
    titles = {name: {"title": name.upper()} for name in NAMES}
    return {"arms": arms, "outcome": "iou", "outcomes": titles, "images": {"test": 40}, "seeds": 5, "alpha": 0.01}


@pytest.fixture
def run(tmp_path):
    for name in ("tables", "figures"):
        (tmp_path / name).mkdir()

    def do(sizes=(40, 120), drawn=(40, 120), every=160):
        for size, there in zip(sizes, drawn, strict=True):
            write_json(tmp_path / f"v{size}.json", verdicts(size, size / 200))
            counts = {"train": {"lesion": there}, "validation": {"lesion": 30, "none": 7}}
            write_json(tmp_path / f"s{size}.json", {"counts": counts, "whole": {"train": every}})
        section(
            LearningCurveSettings(tuple(sizes), "gan", "Pix2Pix 2"),
            verdicts=[tmp_path / f"v{size}.json" for size in sizes],
            splits=[tmp_path / f"s{size}.json" for size in sizes],
            section=tmp_path / "learning_curve.json",
            out=[tmp_path / path for path in SECTION.files("learning_curve")],
        )
        return read_json(tmp_path / "learning_curve.json"), read_csv(tmp_path / "tables/learning_curve.sizes.csv")

    return do


def test_every_size_has_its_arms_and_what_they_gain(run, tmp_path):
    page, rows = run()
    assert [(row["real"], row["images"]) for row in rows] == [
        *(("40", "40"), ("40", "80"), ("40", "80"), ("120", "120"), ("120", "240"), ("120", "240"))
    ]
    assert [row["arm"] for row in rows[:3]] == ["Real only", "Real, each image twice", "Real + Pix2Pix 2"]
    assert [float(row["iou"]) for row in rows] == pytest.approx([0.2, 0.22, 0.24, 0.6, 0.62, 0.64])
    assert [row["difference"] for row in rows[:3]] == ["", "0.02", "0.04"]
    assert [row["verdict"] for row in rows] == ["", "helps", "helps", "", "", ""]
    html = " ".join(page["html"].split())
    assert "trained anew on 40 and 120 of the real training images" in html
    assert "<b>too few seeds</b>" in html
    assert ">40 real images<" in html
    assert ">120 real images<" in html
    assert "0.200 (99 % interval 0.100 to 0.300) from real images alone" in html
    assert "95 %" not in html
    assert (tmp_path / "figures/learning_curve.curve.png").stat().st_size > 5000


def test_the_validation_images_are_counted(run):
    page, _ = run()
    said = " ".join(page["html"].split())
    assert "The best state of each segmenter is chosen by 37 validation images at every number" in said


def test_a_size_above_all_real_images_is_these_and_the_page_says_so(run):
    page, rows = run(sizes=(40, 400), drawn=(40, 160))
    assert [row["real"] for row in rows] == ["40"] * 3 + ["160"] * 3
    assert "ask for 400 real images, and there are 160" in page["html"]


def test_a_size_that_whole_patients_do_not_give_is_said_so(run):
    page, rows = run(sizes=(21, 120), drawn=(20, 120))
    assert [row["real"] for row in rows] == ["20"] * 3 + ["120"] * 3
    assert "The settings ask for 21; whole patients give 20." in page["html"]
    assert "there are" not in page["html"]


def test_one_file_for_each_size(run, tmp_path):
    with pytest.raises(InputError, match="verdicts: 1 files for"):
        section(
            LearningCurveSettings((40, 120), "gan", "?"), verdicts=[tmp_path / "v.json"],
            splits=[tmp_path / "s.json"], section=tmp_path / "x.json", out=[],
        )  # fmt: skip

"""The section on the mask as a channel of a classifier."""

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.provenance import PACKAGE
from synthmed.data.imageset import Legend, write_image_set
from synthmed.report.sections.mask_channel import SECTION, MaskChannelSectionSettings, section

DOCUMENT = PACKAGE / "report" / "references" / "lesion_segmentation.yaml"
KINDS = ["MEL", "NV"]
TITLES = {"real": "Image alone", "soft": "Image and soft mask", "other": "Image and another lesion's mask"}
NAMES = ("balanced_accuracy", "accuracy", "auroc")


def estimate(value, low=None, high=None):
    return {"value": value, "low": low, "high": high, "n": 5, "reason": None}


def measured(value):
    recall = {kind: estimate(value) for kind in KINDS}
    return {
        "outcomes": {name: estimate(value, value - 0.1, value + 0.1) for name in NAMES},
        "recall": recall,
        "confusion": [[3.0, 1.0], [0.5, 4.5]],
    }


@pytest.fixture
def run(tmp_path):
    for name in ("tables", "figures"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)

    def images(channels):
        for number in range(4):
            fields = {"image": f"{number}.png", "label": KINDS[number % 2], "patient": f"{number}"}
            yield fields, rng.integers(0, 255, (12, 16, channels)).astype(np.uint8)

    write_image_set(tmp_path / "test.zip", images(3))
    write_image_set(tmp_path / "soft.zip", images(4), Legend(channels=("red", "green", "blue", "mask")))

    def do(overlap=True, variants=("soft", "other"), second=False):
        arms = {}
        for name, title in TITLES.items():
            versus = None
            if name != "real":
                differences = {one: {"difference": estimate(0.02, -0.1, 0.1), "p": 0.2} for one in NAMES}
                shared = {"p_holm": 0.4, "verdict": "no evidence of a difference", "reason": None, "equivalent": False}
                versus = {"outcomes": differences, **shared}
            tests = {"test": measured(0.5)} | ({"second_test": measured(0.4)} if second else {})
            if name == "soft" and overlap:
                tests |= {"overlap": measured(0.45), "overlap_true_masks": measured(0.6)}
            arms[name] = {"title": title, "tests": tests, "versus_reference": versus}
        titles = {name: {"title": name.replace("_", " ").capitalize()} for name in NAMES}
        pair = {"outcomes": {one: {"difference": estimate(0.07, 0.01, 0.13)} for one in NAMES}, "p_holm": 0.03}
        pair |= {"names": ["other", "soft"], "verdict": "helps", "reason": None, "equivalent": False}
        shared = {
            "against": [pair],
            "images": {"test": 4} | ({"second_test": 7} if second else {}),
            "outcome": "balanced_accuracy",
            "outcomes": titles,
            "seeds": 5,
            "alpha": 0.01,
            "margin": 0.05,
        }
        write_json(
            tmp_path / "v.json", {"arms": arms, "classes": KINDS, "positive": "MEL", "rule": "A rule.", **shared}
        )
        counts = {part: {"positives": {"MEL": 3, "NV": 9}} for part in ("train", "validation")}
        summary = {"architecture": "small_cnn", "pretrained": None, "images": counts, "selection": "the best"}
        summary |= {"second_test": "isic2018_task3_test" if second else None}
        write_json(tmp_path / "s.json", summary | {"parameters": {"real": 10, "soft": 12}, "overlap": 2 * overlap})
        write_json(tmp_path / "u.json", {"images": 9, "dropped": ["a.png", "b.png"]})
        section(
            MaskChannelSectionSettings(tuple(variants), 3),
            verdicts=tmp_path / "v.json",
            summary=tmp_path / "s.json",
            unseen=tmp_path / "u.json",
            test=tmp_path / "test.zip",
            variants=[tmp_path / "soft.zip"] * 2,
            document=DOCUMENT,
            section=tmp_path / "mask_channel.json",
            out=[tmp_path / path for path in SECTION.files("mask_channel")],
        )
        return read_json(tmp_path / "mask_channel.json"), tmp_path

    return do


def test_every_arm_has_its_row_with_the_documents_score(run):
    page, folder = run()
    rows = read_csv(folder / "tables/mask_channel.diagnosis.csv")
    assert [row["given"] for row in rows] == list(TITLES.values())
    assert [row["difference"] for row in rows] == ["", "0.02", "0.02"]
    assert [row["reference_balanced_accuracy"] for row in rows] == ["", "0.687", ""]
    assert "73rd of 140" in page["html"]
    assert "(99 % interval " in page["html"]
    assert "95 %" not in page["html"]
    assert "from random weights" in page["html"]
    assert "10 and 12 parameters" in page["html"]


def test_what_the_mask_adds_beyond_a_placebo_is_said(run):
    page, folder = run()
    (row,) = read_csv(folder / "tables/mask_channel.beyond.csv")
    assert (row["given"], row["placebo"]) == (TITLES["soft"], TITLES["other"])
    assert (row["difference"], row["difference_low"], row["p_holm"], row["verdict"]) == (
        "0.07",
        "0.01",
        "0.03",
        "helps",
    )
    said = " ".join(page["html"].split())
    assert "Beyond “Image and another lesion&#39;s mask” it gains +0.070 (99 % interval +0.010 to +0.130)" in said
    assert "p (Holm) 0.030: <b>helps</b>" in said


def test_known_images_are_counted(run):
    page, folder = run()
    assert "2 images of the test part were dropped" in page["html"]
    assert [row["test"] for row in read_csv(folder / "tables/mask_channel.counts.csv")] == ["2", "2"]
    confusion = read_csv(folder / "tables/mask_channel.confusion.csv")
    assert [row["NV"] for row in confusion] == ["1.0", "4.5"]
    for name in ("pipeline", "channels"):
        assert (folder / f"figures/mask_channel.{name}.png").stat().st_size > 5000


def test_experts_masks_where_there_are_any(run):
    _, folder = run()
    rows = read_csv(folder / "tables/mask_channel.overlap.csv")
    assert [row["balanced_accuracy"] for row in rows] == ["0.45", "0.6"]


def test_without_experts_masks_the_table_says_so_and_the_page_has_none(run):
    page, folder = run(overlap=False)
    (nothing,) = read_csv(folder / "tables/mask_channel.overlap.csv")
    assert "no expert's mask is there" in nothing["note"]
    assert nothing["balanced_accuracy"] == ""
    assert "expert's mask is there" not in page["html"]


def test_the_second_test_has_a_table_of_its_own(run):
    page, folder = run()
    assert "second test" not in page["html"]
    page, _ = run(second=True)
    rows = read_csv(folder / "tables/mask_channel.second.csv")
    assert [(row["given"], row["balanced_accuracy"]) for row in rows] == [(title, "0.4") for title in TITLES.values()]
    assert [row["reference_balanced_accuracy"] for row in rows] == ["", "0.687", ""]
    assert "second test: 7 images of isic2018_task3_test" in page["html"]


def test_one_set_for_each_variant(run):
    with pytest.raises(InputError, match="variants: 2 files for"):
        run(variants=("soft",))

"""The section on segmenters at several sizes: differences beside the network of the same size, forms, figures."""

import copy

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.provenance import PACKAGE
from synthmed.evaluation.compose_scales import ARMS
from synthmed.report.charts import multi_scale
from synthmed.report.sections.multi_scale import SECTION, MultiScaleSectionSettings, section

DOCUMENT = PACKAGE / "report" / "references" / "lesion_segmentation.yaml"
SUMMARY = {"architecture": "unet", "widths": [8, 16], "second_test": None, "sizes": ["450×600", "768×1024", "9×9"]}
SUMMARY |= {"trainings": {arm: [{"validation_iou": 0.6}, {"validation_iou": 0.5}] for arm in ARMS}}
NAMES = ("iou", "thresholded_jaccard", "hd95")
SIZES = ((32, 48), (16, 24))


def estimate(value, low=None, high=None):
    return {"value": value, "low": low, "high": high, "n": 5, "reason": None}


def outcomes(value):
    return {"outcomes": {name: estimate(value, value - 0.1, value + 0.1) for name in NAMES}}


def verdicts(best, word="helps"):
    arms = {}
    for number, (name, title) in enumerate(ARMS.items()):
        versus = None
        if name != "real":
            differences = {one: {"difference": estimate(0.01 * number, 0.0, 0.1), "p": 0.2} for one in NAMES}
            versus = {"outcomes": differences, "p_holm": 0.04, "verdict": word, "reason": None, "equivalent": False}
        tests = {"test": outcomes(best), "test_small": outcomes(best + 0.05), "second_test": outcomes(best - 0.1)}
        arms[name] = {"title": title, "tests": tests, "versus_reference": versus}
    titles = {name: {"title": name.upper(), "unit": "", "higher_is_better": True} for name in NAMES}
    pair = {"outcomes": {one: {"difference": estimate(0.04, 0.02, 0.06)} for one in NAMES}, "p_holm": 0.03}
    pair |= {"names": ["constant", "maps"], "verdict": "harms", "reason": None, "equivalent": False}
    shared = {
        "against": [pair],
        "images": {"test": 60, "second_test": 33},
        "outcome": "iou",
        "outcomes": titles,
        "seeds": 5,
        "alpha": 0.01,
        "margin": 0.05,
        "rule": "A rule.",
    }
    return {"arms": arms, **shared}


@pytest.fixture
def given(tmp_path):
    for name in ("tables", "figures"):
        (tmp_path / name).mkdir()
    for number, value in enumerate((0.7, 0.6)):
        write_json(tmp_path / f"v{number}.json", verdicts(value, "helps" if number else "no evidence of a difference"))
        write_json(tmp_path / f"s{number}.json", SUMMARY | {"second_test": "isic2018_test"})
    form = {"holes": estimate(0.5, 0.2, 0.8), "roughness": estimate(0.1, 0.0, 0.2), "area": estimate(0.2, 0.1, 0.3)}
    names = ["alone_32x48", "alone_16x24", "joined_32x48", "joined_16x24"]
    changed = {name: {"difference": estimate(0.3, 0.1, 0.5), "p": 0.01} for name in form}
    forms = {"left_out": 2, "images": 9, "segmenters": dict.fromkeys(names, form), "truth": form}
    write_json(tmp_path / "f.json", forms | {"differences": dict.fromkeys(names[1:], changed)})
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 2, (2, 4, 32, 48)).astype(np.uint8) * 255
    np.savez(
        tmp_path / "e.npz", images=rng.integers(0, 255, (2, 32, 48, 3)).astype(np.uint8), truth=drawn[:, 0],
        maps=drawn[:, :2], drawn=drawn, names=np.array(names),
    )  # fmt: skip
    return tmp_path


def run(given, sizes=SIZES):
    section(
        MultiScaleSectionSettings(sizes, tuple(ARMS)[1:], 2),
        verdicts=[given / "v0.json", given / "v1.json"],
        summaries=[given / "s0.json", given / "s1.json"],
        forms=given / "f.json",
        examples=given / "e.npz",
        document=DOCUMENT,
        section=given / "multi_scale.json",
        out=[given / path for path in SECTION.files("multi_scale")],
    )
    return read_json(given / "multi_scale.json")


def test_every_size_has_its_arms_with_the_documents_numbers_beside_them(given):
    page = run(given)
    rows = read_csv(given / "tables/multi_scale.jaccard.csv")
    assert len(rows) == 2 * len(ARMS)
    first = rows[0]
    assert (first["size"], first["segmenter"], first["iou"], first["own_iou"]) == ("32×48", ARMS["real"], "0.7", "0.75")
    assert (first["reference_own_iou"], first["reference_own_thresholded_jaccard"]) == ("0.7787", "0.7059")
    assert (first["difference"], first["verdict"]) == ("", "")
    joined = rows[len(ARMS) + 1]
    assert (joined["size"], joined["difference"], joined["verdict"]) == ("16×24", "0.01", "helps")
    assert joined["reference_own_iou"] == "0.7818"
    assert "no evidence of a difference" in page["html"]
    assert "61st of 112" in page["html"]
    assert page["html"].count("Size 16×24") == 3, "rows are grouped by size in every table"
    assert "0.700 (99 % interval 0.600 to 0.800) alone" in page["html"]
    assert "95 %" not in page["html"]


def test_trainings_that_found_little_are_told_at_their_size(given):
    assert "found little" not in run(given)["html"]
    trainings = SUMMARY["trainings"] | {"real": [{"validation_iou": 0.6}, {"validation_iou": 0.01}]}
    write_json(given / "s1.json", SUMMARY | {"trainings": trainings})
    said = " ".join(run(given)["html"].split())
    assert said.count("found little") == 1
    assert "Some trainings at 16×24 found little or nothing</b>" in said
    assert f"training set: {ARMS['real']}, 1 of 2 (0.010; the best 0.600)." in said


def test_what_maps_add_beyond_constant_ones_is_said_at_every_size(given):
    page = run(given)
    rows = read_csv(given / "tables/multi_scale.beyond.csv")
    assert [(row["size"], row["segmenter"], row["placebo"]) for row in rows] == [
        (size, ARMS["maps"], ARMS["constant"]) for size in ("32×48", "16×24")
    ]
    assert [(row["difference"], row["p_holm"], row["verdict"]) for row in rows] == [("0.04", "0.03", "harms")] * 2
    said = " ".join(page["html"].split())
    assert said.count("they gain +0.040 (99 % interval +0.020 to +0.060), p (Holm) 0.030: <b>harms</b>.") == 2


@pytest.mark.parametrize(
    ("sizes", "words"), [(["450×600", "768×1024", "9×9"], "3 sizes of raw masks"), (["32×48"], "32×48")]
)
def test_the_size_that_is_measured_at_is_that_of_the_masks(given, sizes, words):
    for number in (0, 1):
        write_json(given / f"s{number}.json", SUMMARY | {"second_test": "isic2018_test", "sizes": sizes})
    page = run(given)["html"]
    assert f"IOU, at {words}" in page
    assert f"Only at the size of the masks, {words}, can sizes be compared" in page
    assert f"at the size of the masks, {words}. Nothing is decided" in page
    assert "size of the photograph" not in page


def test_the_second_test_has_a_table_of_its_own(given):
    page = run(given)
    rows = read_csv(given / "tables/multi_scale.second.csv")
    assert len(rows) == 2 * len(ARMS)
    assert [float(rows[place]["iou"]) for place in (0, len(ARMS))] == pytest.approx([0.6, 0.5])
    assert [row["reference_thresholded_jaccard"] for row in rows[:3]] == ["", "0.726", ""]
    assert "second test: 33 images of isic2018_test" in page["html"]


def test_without_a_second_test_there_is_no_such_table(given):
    for number in (0, 1):
        one = verdicts(0.7)
        for arm in one["arms"].values():
            del arm["tests"]["second_test"]
        del one["images"]["second_test"]
        write_json(given / f"v{number}.json", one)
        write_json(given / f"s{number}.json", SUMMARY)
    assert "second test" not in run(given)["html"]


def test_forms_are_those_of_all_sizes_beside_the_truth(given):
    page = run(given)
    rows = read_csv(given / "tables/multi_scale.forms.csv")
    assert [row["segmenter"] for row in rows[:3]] == [
        "experts' masks", "32×48, network of this size alone", "16×24, network of this size alone",
    ]  # fmt: skip
    assert rows[1]["holes_difference"] == ""
    assert (rows[2]["holes_difference"], rows[2]["holes_p"]) == ("0.3", "0.01")
    assert "2 images are left out" in page["html"]
    for name in ("pipeline", "examples"):
        assert (given / f"figures/multi_scale.{name}.png").stat().st_size > 5000


def test_the_networks_of_the_diagram_are_called_what_they_are(given, monkeypatch):
    for number in (0, 1):
        write_json(given / f"s{number}.json", SUMMARY | {"architecture": "pix2pix", "second_test": "isic2018_test"})
    boxes = []
    monkeypatch.setattr(
        multi_scale, "_box", lambda axis, left, y, width, words, colour: boxes.append(words) or (left, left + width)
    )
    run(given)
    assert {"pix2pix 32×48", "pix2pix 16×24", "last pix2pix"} <= set(boxes)
    assert not [words for words in boxes if "U-Net" in words]


def test_other_numbers_of_files_are_refused(given):
    with pytest.raises(InputError, match="verdicts: 2 files for"):
        run(given, SIZES[:1])


def test_a_missing_word_says_why(given):
    few = copy.deepcopy(verdicts(0.7))
    for arm in few["arms"].values():
        if arm["versus_reference"]:
            arm["versus_reference"] |= {"verdict": None, "reason": "2 training seeds; too few"}
    write_json(given / "v0.json", few)
    assert "2 training seeds; too few" in run(given)["html"]

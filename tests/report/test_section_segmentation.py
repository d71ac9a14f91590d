"""The section on what segmenters draw, of several classes and of objects."""

import numpy as np
import pytest
from fabricated_results import ARMS, GENERATORS, verdicts

from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.settings import parse
from synthmed.data.imageset import Legend, write_image_set
from synthmed.metrics.estimate import Estimate
from synthmed.report.charts import masks
from synthmed.report.charts.masks import outlines
from synthmed.report.results import GeneratorEntry, by_class
from synthmed.report.sections.segmentation import SECTION, SegmentationSettings, section
from synthmed.report.words import sizes_of_masks

CLASSES = ("lung", "heart")
ORGANS = Legend(classes={"lung": 1, "heart": 2})
SHOWN = ("iou", "dice", "false_positive_pixels", "hd95")
OUTCOMES = {
    name: {"title": name.replace("_", " "), "unit": "", "higher_is_better": True}
    for base in SHOWN
    for name in (base, f"{base}_lung", f"{base}_heart")
}
HISTORY = [
    {"step": 8 * n, "train_loss": 1 / n, "train_iou": 0.1 * n, "validation_loss": 1.2 / n}
    | {"validation_iou": 0.09 * n, "learning_rate": 0.1}
    for n in (1, 2, 3)
]
CHOSEN = {
    "architecture": "unet", "widths": [8, 16], "parameters": 6425, "image_shape": [1, 16, 16], "learning_rate": 0.005,
    "dropout": 0.1, "selection": "the check.", "sizes": ["32×48"], "empty_masks": 1, "checked_by": "x IoU",
    "empty_by_class": {"lung": 1, "heart": 3}, "second_test": "official",
    "trainings": {arm: [{"seed": 0, "best_step": 24, "validation_iou": 0.27, "history": HISTORY}] * 2 for arm in ARMS},
}  # fmt: skip


@pytest.fixture
def written(tmp_path):
    rng = np.random.default_rng(0)
    mask = np.zeros((16, 16), np.uint8)
    mask[2:8, 2:8], mask[9:14, 9:14] = 1, 2
    images = [
        ({"image": f"t{n}.png", "label": "x", "patient": f"p{n}"}, rng.integers(0, 255, (16, 16), np.uint8), mask)
        for n in range(3)
    ]
    write_image_set(tmp_path / "test.zip", images, ORGANS)
    drawn = [
        ({**fields, "image": f"{arm}.{fields['image']}", "origin": fields["image"], "arm": arm}, pixels, mask)
        for arm in ARMS
        for fields, pixels, mask in images[:2]
    ]
    write_image_set(tmp_path / "predictions.zip", drawn, ORGANS)
    task = verdicts(rng, OUTCOMES, classes=(), alpha=0.01)
    for arm in task["arms"].values():
        arm["tests"]["test_small"] = arm["tests"]["second_test"] = arm["tests"]["test"]
    task["images"]["second_test"] = 1000
    write_json(tmp_path / "verdicts.json", task)
    write_json(tmp_path / "summary.json", CHOSEN)
    write(tmp_path)
    return tmp_path


def write(folder, document=None):
    section(
        SegmentationSettings(1, {name: parse(GeneratorEntry, entry) for name, entry in GENERATORS.items()}, CLASSES),
        **{name: folder / f"{name}.json" for name in ("verdicts", "summary")},
        **{name: folder / f"{name}.zip" for name in ("predictions", "test")},
        document=document,
        section=folder / "segmentation.masks.json",
        out=[folder / path for path in SECTION.files("segmentation.masks")],
    )


def test_classes_and_sizes_have_rows_of_their_own(written):
    rows = read_csv(written / "tables" / "segmentation.masks.masks.csv")
    assert len(rows) == len(ARMS) * 3 * 3
    assert [(row["test"], row["size"], row["mask"]) for row in rows[:9]] == [
        (test, size, mask)
        for test, size in (("test", "32×48"), ("test", "16×16"), ("1,000 of official", "32×48"))
        for mask in ("lung", "heart", "mean")
    ]
    task = read_json(written / "verdicts.json")
    outcomes = task["arms"]["real"]["tests"]["test"]["outcomes"]
    assert float(rows[1]["iou"]) == outcomes["iou_heart"]["value"]
    assert float(rows[2]["hd95"]) == outcomes["hd95"]["value"]
    assert "iou_lung" not in rows[0]


def test_a_documents_numbers_stand_beside_those_at_the_networks_size(written):
    exhibit = "segmentation.masks: {columns: {iou: mean IoU}, rows: {real/mean: [0.74]}}"
    (written / "document.yaml").write_text(f"citation: a\nexhibits: {{{exhibit}}}\n")

    def beside():
        write(written, written / "document.yaml")
        rows = read_csv(written / "tables" / "segmentation.masks.masks.csv")
        return [(row["arm"], row["test"], row["size"]) for row in rows if row["reference_iou"]]

    assert beside() == [("Real only", "test", "16×16")]
    task = read_json(written / "verdicts.json")
    for arm in task["arms"].values():
        del arm["tests"]["test_small"]
    write_json(written / "verdicts.json", task)
    assert beside() == [("Real only", "test", "32×48")]


def test_differences_stand_beside_the_measures_at_every_size(written):
    task = read_json(written / "verdicts.json")
    versus = task["arms"]["dcgan"]["versus_reference"]
    for place, name in enumerate(("iou_lung", "iou_heart", "iou")):
        versus["outcomes"][name] = {"difference": Estimate(0.01 * (place + 1), n=9).to_json()}
    small = {
        name: {"difference": Estimate(-entry["difference"]["value"], n=9).to_json()}
        for name, entry in versus["outcomes"].items()
    }
    versus["elsewhere"] = {"test_small": {"outcomes": small}}
    write_json(written / "verdicts.json", task)
    write(written)
    rows = read_csv(written / "tables" / "segmentation.masks.masks.csv")
    own = [row["difference"] for row in rows if row["arm"] == "Real + DCGAN"]
    assert own == ["0.01", "0.02", "0.03", "-0.01", "-0.02", "-0.03", "", "", ""]
    assert {row["difference"] for row in rows if row["arm"] == "Real only"} == {""}
    html = said_in(written)
    assert "words are given at 32×48 pixels only" in html


def test_agreement_stands_beside_the_real_test_images_of_the_same_size_class_by_class(written):
    task = read_json(written / "verdicts.json")
    small = {name: Estimate(0.123, n=9).to_json() for name in OUTCOMES}
    task["arms"]["real"]["tests"]["test_small"] = {"outcomes": small}
    write_json(written / "verdicts.json", task)
    write(written)
    rows = read_csv(written / "tables" / "segmentation.masks.agreement.csv")
    titles = ["real test images", *(entry["title"] for entry in GENERATORS.values())]
    assert [(row["set"], row["mask"]) for row in rows] == [
        (title, of) for title in titles for of in ("lung", "heart", "mean")
    ]
    assert [row["iou"] for row in rows[:3]] == ["0.123"] * 3
    outcomes = task["arms"]["real"]["tests"]["dcgan"]["outcomes"]
    assert [float(row["iou"]) for row in rows[3:6]] == [outcomes[n]["value"] for n in ("iou_lung", "iou_heart", "iou")]
    assert "own masks, all at 16×16 pixels." in said_in(written)


def said_in(folder):
    return " ".join(read_json(folder / "segmentation.masks.json")["html"].split())


def test_the_words_say_how_masks_were_compared(written):
    html = " ".join(read_json(written / "segmentation.masks.json")["html"].split())
    assert "a unet with the widths 8, 16 (6,425 parameters) for images of 16×16 pixels" in html
    assert "enlarged to the size of the mask that it is compared with (32×48)." in html
    assert "1 test image has an empty mask; no lung is marked in 1 of 160, no heart is marked in 3 of 160." in html
    assert "trainings, with 99 % intervals" in html
    assert "loss and x IoU by step" in html
    for name in ("predictions", "trainings"):
        assert (written / "figures" / f"segmentation.masks.{name}.png").stat().st_size > 5000


def test_trainings_that_found_little_are_told(written):
    def said(reached):
        one = CHOSEN["trainings"]["real"][0]
        changed = {arm: [one | {"validation_iou": iou} for iou in reached] for arm in ("real", "dcgan")}
        write_json(written / "summary.json", CHOSEN | {"trainings": CHOSEN["trainings"] | changed})
        write(written)
        return " ".join(read_json(written / "segmentation.masks.json")["html"].split())

    assert "found little" not in said([0.7, 0.36, 0.6, 0.69]), "half of the best is no little"
    html = said([0.7, 0.34, 0.6, 0.0])
    assert "Some trainings found little or nothing</b>" in html
    counted = "2 of 4 (0.000 and 0.340; the best 0.700)"
    assert f"training set: {ARMS['real']['title']}, {counted}; " in html
    assert html.count(counted) == 2


def test_of_each_class_what_decides_is_shown_or_iou_where_that_is_of_all_together():
    assert by_class({"outcome": "dice", "outcomes": OUTCOMES}) == {"lung": "dice_lung", "heart": "dice_heart"}
    together = {"outcome": "foreground_iou", "outcomes": OUTCOMES | {"foreground_iou": {}}}
    assert by_class(together) == {"lung": "iou_lung", "heart": "iou_heart"}
    assert by_class({"outcome": "iou", "outcomes": {"iou": {}}}) == {}


def test_many_sizes_are_counted():
    assert [sizes_of_masks(sizes) for sizes in (["8×8"], ["8×8", "8×9"], ["8×8", "8×9", "9×9"])] == [
        "8×8",
        "8×8 and 8×9",
        "3 sizes of raw masks",
    ]


def test_outlines_have_the_colour_of_their_class():
    mask = np.zeros((6, 6), np.uint8)
    mask[1:3, 1:3], mask[4:, 4:] = 1, 2
    first, second = ({tuple(map(tuple, line)) for line in lines.tolist()} for lines in outlines(mask, ORGANS))
    square = [((1, 1), (1, 2)), ((1, 2), (1, 3)), ((3, 1), (3, 2)), ((3, 2), (3, 3))]
    assert first == {*square, *(tuple((x, y) for y, x in line) for line in square)}, "all sides, no gap"
    assert second == {((4, 4), (4, 5)), ((4, 5), (4, 6)), ((4, 4), (5, 4)), ((5, 4), (6, 4))}, "none along the rim"


def test_outlines_are_drawn_on_every_image_of_an_axis(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(masks, "save", lambda figure, path: drawn.extend(figure.axes[0].collections))
    mask = np.zeros((6, 6), np.uint8)
    mask[1:3, 1:3] = 1
    pairs = [(np.zeros((6, 6, 1), np.uint8), mask)] * 2
    masks.draw_predictions(tmp_path / "p.png", [("Truth", pairs), ("Real", pairs)], ORGANS)
    corners = sorted(
        tuple(np.concatenate(one.get_segments()).min(axis=0).round(2)) for one in drawn if one.get_segments()
    )
    assert corners == [(0.18, 0.18), (0.18, 1.18), (1.18, 0.18), (1.18, 1.18)]

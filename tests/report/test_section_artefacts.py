"""The section on what lies on photographs and is no skin."""

import numpy as np
import pytest

from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.provenance import PACKAGE
from synthmed.data.imageset import write_image_set
from synthmed.metrics.estimate import Estimate
from synthmed.report.sections.artefacts import METHODS, SECTION, ArtefactsSettings, section


def estimate(value, low=None, high=None, reason=None):
    return {"value": value, "low": low, "high": high, "n": 50, "reason": reason}


def shares(kind, frames, hair=0.3):
    return {
        "dark_corner": {kind: estimate(frames, frames - 0.05, frames + 0.05)},
        "hair": {kind: estimate(hair, hair - 0.1, hair + 0.1)},
    }


@pytest.fixture
def run(tmp_path):
    for name in ("tables", "figures"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)

    def rows(**columns):
        for number in range(4):
            fields = {"image": f"{number}.png", "label": "benign", "patient": f"{number}"}
            fields |= {key: value[number % len(value)] for key, value in columns.items()}
            yield fields, rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)

    write_image_set(tmp_path / "train.zip", rows(artefacts=["hair", "dark_corner;hair", "none", "dark_corner"]))
    write_image_set(tmp_path / "pictures.zip", rows(method=["original", "framed", "fsr", "hair"], start=["0"]))
    rates = {name: estimate(0.9, 0.8, 0.95) for name in ("precision", "recall", "specificity")}
    rates |= {"hits": 9, "positives": 10, "rejected": 20, "negatives": 22, "auroc": 0.97}
    sets = {
        name: {"benign": shares(kind, 0.1), "malignant": shares(kind, 0.4)}
        for name, kind in (("train", "labelled"), ("test", "labelled"), ("gan", "estimated"))
    }
    sets["gan"]["benign"]["hair"] = {"estimated": estimate(None, reason="the tagger tells nothing")}
    tags = {"level": 0.9, "tags": ["dark_corner", "hair"], "images": 32, "sets": sets}
    tags["not_made"] = {"edited": "none is left"}
    write_json(tmp_path / "tags.json", tags | {"tagger": {"dark_corner": rates, "hair": rates}})
    measured = {name: estimate(0.5, 0.4, 0.6) for name in ("psnr", "ssim", "left", "detail")} | {
        "realism": 0.7,
        "refused": 1,
    }
    hair = {"detail": estimate(3.0, 2.0, 4.0), "touched": 0.02, "touched_with": 0.1, "realism": 0.65, "images": 20}
    hair |= {"by_tagger": True}
    frames = dict.fromkeys(METHODS, measured)
    frames |= {
        name: measured | {"sides": [share], "side": share} for name, share in (("crop", 0.7), ("partial_crop", 0.8))
    }
    removal = {"images": 30, "level": 0.99, "frames": frames, "hair": hair}
    write_json(tmp_path / "removal.json", removal)

    sets = {
        "gan": {"trained_on": False, "called": estimate(0.05), "estimated": estimate(0.0)},
        "melgan": {"trained_on": True, "called": estimate(0.4), "estimated": estimate(0.38)},
    }
    counts = {"auroc": 0.99, "hits": 9, "positives": 10, "rejected": 10, "negatives": 10}
    method = {**counts, "painted": estimate(0.41), "seen": estimate(0.9), "sets": sets}
    write_json(tmp_path / "paint.json", {"level": 0.95, "methods": {"fsr": method}})

    def do(removal=True, paint=None, apart=False, document=None):
        chosen = ArtefactsSettings(
            {"gan": "cGAN", "edited": "cGAN, edited"},
            {"gan": "cGAN", "melgan": "melGAN"},
            apart,
            ("benign", "malignant"),
            "artefacts",
            2,
        )
        files = {"removal": tmp_path / "removal.json", "pictures": tmp_path / "pictures.zip"}
        section(
            chosen, tags=tmp_path / "tags.json", images=tmp_path / "train.zip",
            **(files if removal else dict.fromkeys(files)), paint=paint, document=document,
            section=tmp_path / "artefacts.json", out=[tmp_path / path for path in SECTION.files("artefacts")],
        )  # fmt: skip
        return read_json(tmp_path / "artefacts.json")

    return do


def test_it_says_what_is_uneven_and_shows_every_set(run, tmp_path):
    page = run()
    assert "intervals do not overlap):\nframe.\n" in page["html"]
    assert "the set “cGAN, edited”, which could not be made: none is left." in page["html"]
    rows = read_csv(tmp_path / "tables" / "artefacts.prevalence.csv")
    assert [(row["set"], row["label"]) for row in rows][-2:] == [("cGAN", "benign"), ("cGAN", "malignant")]
    assert (rows[0]["dark_corner"], rows[1]["dark_corner"]) == ("0.1", "0.4")
    assert "the tagger tells nothing" in rows[-2]["note"]
    assert "an AUROC of\n0.65" in page["html"]
    assert "20 images without either (as the tagger says) by" in " ".join(page["html"].split())
    assert "3.000 (99 % interval 2.000 to 4.000) of 255" in page["html"]
    assert "for its errors. 90 % intervals, over patients." in page["html"]
    assert len(read_csv(tmp_path / "tables" / "artefacts.removal.csv")) == len(METHODS)
    for name in ("frequency", "examples", "crops", "ways"):
        assert (tmp_path / "figures" / f"artefacts.{name}.png").stat().st_size > 1000


def test_a_documents_shares_stand_beside_the_experiments_own_images(run, tmp_path):
    """Not beside those of another data set, on which the tagger learnt."""
    document = PACKAGE / "report" / "references" / "melanoma.yaml"

    def theirs():
        rows = read_csv(tmp_path / "tables" / "artefacts.prevalence.csv")
        return {(row["set"], row["label"]): row["reference_frames"] for row in rows if row["reference_frames"]}

    run(document=document)
    assert theirs() == {("real, training", "benign"): "none", ("real, training", "malignant"): "38 %"}
    tags = read_json(tmp_path / "tags.json")
    tags["sets"] |= {name: tags["sets"]["gan"] for name in ("real", "real_test")}
    write_json(tmp_path / "tags.json", tags)
    run(document=document, apart=True)
    assert theirs() == {("real, training", "benign"): "none", ("real, training", "malignant"): "38 %"}
    rows = read_csv(tmp_path / "tables" / "artefacts.prevalence.csv")
    assert rows[0]["set"] == "labelled, training"


def test_what_is_not_known_is_not_said_to_be_even(run, tmp_path):
    """Nothing is known of a tag without an estimate in two classes."""

    def said(**missing):
        tags = read_json(tmp_path / "tags.json")
        for tag, (labels, frames) in missing.items():
            for label, of_tag in tags["sets"]["train"].items():
                unknown = {"labelled": estimate(None, reason="there is no such case")}
                of_tag[tag] = (
                    unknown if label in labels else {"labelled": estimate(frames, frames - 0.05, frames + 0.05)}
                )
        write_json(tmp_path / "tags.json", tags)
        return " ".join(run()["html"].split())

    even = said(dark_corner=((), 0.3))
    assert "In the training images none is clearly more frequent in one class." in even
    assert "not known" not in even
    partly = said(dark_corner=(("malignant",), 0.3))
    assert "Of frame it is not known whether" in partly
    assert "none of the others is clearly" in partly
    nothing = said(**dict.fromkeys(("dark_corner", "hair"), (("benign", "malignant"), 0.3)))
    assert "Of frame and hair it is not known whether" in nothing
    assert "clearly more frequent" not in nothing


def test_without_removal_it_says_so(run):
    page = run(removal=False)
    shown = {entry["name"]: entry["shown"] for entry in page["exhibits"]}
    assert not shown["artefacts.removal"]
    assert not shown["artefacts.ways"]
    assert not shown["artefacts.crops"]
    assert "Each way of taking a frame out" not in page["html"]
    assert not shown["artefacts.paint"]


def test_traces_of_paint_stand_beside_those_of_generators_that_learnt_from_other_images(run, tmp_path):
    run(paint=tmp_path / "paint.json")
    rows = read_csv(tmp_path / "tables" / "artefacts.paint.csv")
    assert [(row["set"], row["training"], row["called"], row["estimated"]) for row in rows] == [
        ("training images that it changed", "0.41", "0.9", ""),
        ("cGAN", "", "0.05", "0.0"),
        ("melGAN", "0.41", "0.4", "0.38"),
    ]
    assert {row["method"] for row in rows} == {"frequency selective reconstruction"}


def test_every_class_has_a_look_of_its_own_and_every_set_a_colour(monkeypatch, tmp_path):
    from synthmed.report.charts import artefacts as charts

    drawn = []
    monkeypatch.setattr(charts, "save", lambda figure, path: drawn.append(figure))
    rows = [
        {"set": title, "label": label, "hair": Estimate(0.4, 0.3, 0.5), "ruler": Estimate.missing("no image")}
        for title in ("real, training", "cGAN")
        for label in ("nevus", "melanoma", "keratosis")
    ]
    charts.draw_prevalence(tmp_path / "x.png", rows, {"ruler": "ruler", "hair": "hair"})
    bars = drawn[0].axes[0].patches
    assert len({(bar.get_facecolor(), bar.get_edgecolor(), bar.get_hatch()) for bar in bars}) == len(rows)
    by_class = [(bar.get_edgecolor() == bar.get_facecolor(), bar.get_hatch()) for bar in bars]
    assert by_class[:3] == by_class[3:]
    (legend,) = drawn[0].legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said == ["real, training", "cGAN", "nevus", "melanoma", "keratosis"], "whatever is missing"


def test_where_other_images_are_labelled_the_real_ones_are_shown_as_the_tagger_says(run, tmp_path):
    tags = read_json(tmp_path / "tags.json")
    tags["sets"] |= {name: tags["sets"]["gan"] for name in ("real", "real_test")}
    write_json(tmp_path / "tags.json", tags)
    run(apart=True)
    rows = read_csv(tmp_path / "tables" / "artefacts.prevalence.csv")
    assert [row["set"] for row in rows[::2]] == [
        "labelled, training", "labelled, test", "real, training", "real, test", "cGAN",
    ]  # fmt: skip


def test_what_a_crop_leaves_is_around_the_middle(monkeypatch, tmp_path):
    from synthmed.report.charts import pictures

    drawn = []
    monkeypatch.setattr(pictures, "save", lambda figure, path: drawn.append(figure))
    pictures.draw_crops(tmp_path / "crops.png", [np.zeros((10, 20, 3), np.uint8)], {"half": [0.5], "nothing": [None]})
    (axis,) = drawn[0].axes
    (box,) = axis.patches
    assert (box.get_xy(), box.get_width(), box.get_height()) == ((4.5, 2.0), 10, 5), "of 20 × 10 pixels, from −0.5 on"

"""Rows for images, masks and both in the section on image quality."""

import fabricated_results as made_up
import numpy as np
import pytest

from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.known import MEAN
from synthmed.core.settings import parse
from synthmed.metrics.estimate import Estimate
from synthmed.report.charts import quality
from synthmed.report.results import read_result
from synthmed.report.sections.quality import SECTION, QualitySettings, section


@pytest.fixture
def run(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(quality, "draw_fidelity", lambda path, results, *_: (path.touch(), drawn.extend(results)))
    for name in ("tables", "figures"):
        (tmp_path / name).mkdir()

    def do(*views):
        rng, paths = np.random.default_rng(0), []
        for number, view in enumerate(views):
            content = made_up.fidelity(rng, "fastgan", made_up.EXTRACTORS[0], 1 + number) | {"view": view}
            paths.append(tmp_path / f"{number}.json")
            write_json(paths[-1], content)
        settings = {"classes": made_up.CLASSES, "pseudo_labelled": [], "domain_only": False}
        section(
            parse(QualitySettings, settings | {"generators": {"fastgan": made_up.GENERATORS["fastgan"]}}),
            fidelity=paths,
            diversity=made_up.save_json(tmp_path / "diversity.json", made_up.diversity(rng, ["fastgan"])),
            verdicts=[],
            document=None,
            section=tmp_path / "quality.json",
            out=[tmp_path / path for path in SECTION.files("quality")],
        )
        rows = read_csv(tmp_path / "tables/quality.fidelity_by_class.csv")
        return (
            rows,
            read_json(tmp_path / "quality.json")["html"],
            [result["view"] for result in drawn],
        )

    return do


def test_every_view_has_rows_of_its_own_and_the_figure_is_of_the_images(run):
    alone, html, _ = run("image")
    assert {row["view"] for row in alone} == {"images"}
    assert "white on black" not in html
    assert "less LPIPS" in html
    assert "painted for their masks" not in html
    rows, html, drawn = run("image", "lung", "both")
    assert list(dict.fromkeys(row["view"] for row in rows)) == ["images", "masks of lung", "images with masks"]
    assert len(rows) == 3 * len(alone)
    assert rows[: len(alone)] == alone
    assert len({row["fid"] for row in rows}) == len(rows)
    assert "white on black" in html
    assert "copies of them would and images painted for their masks do." in " ".join(html.split())
    assert drawn == ["image", "image"]


def test_whole_sets_stand_beside_the_real_images(run, tmp_path):
    run("image")
    found = {one["name"]: one["groups"] for one in read_json(tmp_path / "diversity.json")["sets"]}
    rows = read_csv(tmp_path / "tables/quality.set_diversity.csv")
    titles = {"real": "real training images", "held_out": "real held-out images", "fastgan": "FastGAN"}
    assert [(row["generator"], row["label"]) for row in rows] == [
        (title, label) for title in titles.values() for label in (*made_up.CLASSES, "mean of classes")
    ]
    names = {title: name for name, title in titles.items()}
    for row in rows:
        own, real = (found[name][row["label"]] for name in (names[row["generator"]], "real"))
        for measure in ("ms_ssim", "lpips"):
            assert float(row[measure]) == own[measure]["value"]
            assert float(row[f"real_{measure}"]) == real[measure]["value"]
            if f"{measure}_excess" in own:
                assert float(row[f"{measure}_excess_low"]) == own[f"{measure}_excess"]["low"]
            else:
                assert row[f"{measure}_excess"] == ""


def test_a_metric_that_was_measured_of_none_has_no_panel(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        quality,
        "save",
        lambda figure, path: shown.extend(
            axis.get_title(loc="left") for axis in figure.get_axes() if axis.get_visible()
        ),
    )
    content = made_up.fidelity(np.random.default_rng(0), "fastgan", made_up.EXTRACTORS[0], 1)
    for group in content["matched"].values():
        group["inception_score"] = Estimate.missing("no classifier").to_json()
    write_json(tmp_path / "f.json", content)
    titles = {"inception_score": ("IS", "higher"), "fid": ("FID", "lower"), "kid": ("KID", "lower")}
    quality.draw_fidelity(tmp_path / "f.png", [read_result(tmp_path / "f.json")], {"fastgan": "FastGAN"}, MEAN, titles)
    assert shown == ["FID", "KID"]


def test_losses_have_the_titles_of_their_trainings_and_diversity_an_axis_of_its_own(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(quality, "save", lambda figure, path: figures.append(figure))
    history = [{"training": "gan, a", "step": "1", "loss": name, "value": "9"} for name in ("l1", "diversity")]
    quality.draw_training(tmp_path / "t.png", history, {"gan, a": "The GAN"})
    left, right = figures[0].axes
    assert left.get_title(loc="left") == "The GAN"
    assert (len(left.lines), len(right.lines)) == (1, 1)
    assert right.get_ylim()[1] > 9
    assert right.get_ylabel() == "diversity"

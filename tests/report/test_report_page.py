"""Figures and the page: they exist, are complete, and say what the files say."""

import re

import numpy as np
import pytest
from fabricated_results import GENERATORS, write_all
from PIL import Image
from synthmed.report.leaderboard import MetricsSettings, metrics

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.core.settings import parse
from synthmed.report import FIGURES, TABLES
from synthmed.report.figures import FiguresSettings, figures
from synthmed.report.page.page import PageSettings, page
from synthmed.report.tables import TablesSettings, tables

BASE = {"classes": ["normal", "abnormal"], "generators": GENERATORS}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The made-up results with their tables and figures."""
    folder = tmp_path_factory.mktemp("page")
    inputs = write_all(folder / "in")
    csvs = {name: folder / f"{name}.csv" for name in ("sweep", "roc", "training_history", "effects")}
    metrics(
        parse(MetricsSettings, BASE | {"experiment": "tb", "positive": "abnormal", "trainings": inputs["trainings"]}),
        **{name: inputs[name] for name in ("fidelity", "copies", "summary", "verdicts", "predictions", "histories")},
        metrics_json=folder / "metrics.json",
        **csvs,
    )
    table_files = [folder / f"{name}.csv" for name in TABLES]
    tables(
        parse(TablesSettings, BASE | {"references": "tuberculosis"}),
        **{
            name: inputs[name]
            for name in ("fidelity", "copies", "grid", "summary", "verdicts", "split_report", "validation")
        },
        out=table_files,
    )
    figure_files = [folder / f"{name}.png" for name in FIGURES]
    figures(
        parse(FiguresSettings, BASE | {"positive": "abnormal", "examples": 2, "seed": 0}),
        **{name: inputs[name] for name in ("train", "synthetics", "fidelity", "summary", "verdicts", "validation")},
        roc=csvs["roc"],
        sweep=csvs["sweep"],
        history=csvs["training_history"],
        out=figure_files,
    )
    return inputs, table_files, figure_files


def write_page(
    made, out, *, provider="phantom", references="tuberculosis", pseudo_labelled=(), generators=GENERATORS, **changed
):
    inputs, table_files, figure_files = made
    settings = {"title": "Chest X-rays", "task": "tells a from b", "provider": provider, "positive": "abnormal"}
    settings |= {"pseudo_labelled": list(pseudo_labelled), "generators": generators}
    given = {name: inputs[name] for name in ("summary", "verdicts", "validation", "split_report", "copies")}
    given["copy_figures"] = figure_files[: len(inputs["copies"])]
    given |= {"settings_files": [inputs["split_report"]], "sections": [], "section_files": []}
    given |= {"tables": table_files, "figures": figure_files}
    page(
        parse(PageSettings, BASE | settings | {"references": references}),
        **given | changed,
        out=out,
    )
    return out.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_a_picture_with_something_in_it(made, name):
    with Image.open(made[2][FIGURES.index(name)]) as picture:
        assert picture.width > 500
        assert np.asarray(picture.convert("L")).std() > 5


def test_the_page_needs_nothing_beside_it(made, tmp_path):
    html = write_page(made, tmp_path / "report.html")
    assert re.findall(r'(?:src|href)="(?!data:image/png;base64,|#)', html) == []
    assert html.count("<img ") == len(FIGURES) + len(GENERATORS)
    assert "{{" not in html
    assert "nan" not in re.sub(r"base64,[^\"]*", "", html).lower().split()


def test_figures_and_tables_are_numbered_in_the_order_of_the_page(made, tmp_path):
    html = write_page(made, tmp_path / "report.html")
    for kind in ("Table", "Figure"):
        numbers = [int(number) for number in re.findall(rf"<b>{kind} (\d+)\.</b>", html)]
        assert numbers == list(range(1, len(numbers) + 1))


def test_the_answer_follows_from_the_verdicts(made, tmp_path):
    verdicts = read_json(made[0]["verdicts"])
    for arm in GENERATORS:
        verdicts["arms"][arm]["versus_real"]["verdict"] = "no evidence of a difference"
    write_json(tmp_path / "verdicts.json", verdicts)
    assert "Not shown: with none of 5 generators" in write_page(
        made, tmp_path / "a.html", verdicts=tmp_path / "verdicts.json"
    )
    verdicts["arms"]["fastgan"]["versus_real"]["verdict"] = "helps"
    write_json(tmp_path / "verdicts.json", verdicts)
    assert "Yes, for 1 of 5 generators" in write_page(made, tmp_path / "b.html", verdicts=tmp_path / "verdicts.json")


def test_phantoms_are_called_phantoms_and_real_images_are_not(made, tmp_path):
    assert "say nothing about patients" in write_page(made, tmp_path / "a.html")
    assert "say nothing about patients" not in write_page(made, tmp_path / "b.html", provider="folder")


def test_references_stand_under_their_header_only(made, tmp_path):
    assert "document (its data and scale)" in write_page(made, tmp_path / "a.html")
    tables_without = [tmp_path / path.name for path in made[1]]
    inputs = made[0]
    tables(
        parse(TablesSettings, BASE | {"references": None}),
        **{
            name: inputs[name]
            for name in ("fidelity", "copies", "grid", "summary", "verdicts", "split_report", "validation")
        },
        out=tables_without,
    )
    html = write_page(made, tmp_path / "b.html", references=None, tables=tables_without)
    assert "document (its data and scale)" not in html
    assert "The document" not in html


def test_the_page_is_the_same_when_made_twice(made, tmp_path):
    assert write_page(made, tmp_path / "a.html") == write_page(made, tmp_path / "b.html")


def test_a_run_without_validation_says_so(made, tmp_path):
    html = write_page(made, tmp_path / "a.html", validation=None)
    assert html.count("<img ") == len(FIGURES) - 1 + len(GENERATORS)
    assert "was not validated in this run" in html


def test_a_file_that_is_no_picture_is_refused(made, tmp_path):
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(InputError, match="not a PNG"):
        write_page(made, tmp_path / "a.html", copy_figures=[tmp_path / "x.png"] * len(made[0]["copies"]))

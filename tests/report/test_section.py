"""Sections of one experiment: written by a study's step, shown by the page at their place, with running numbers."""

import re

import pytest
from fabricated_results import GENERATORS, write_all
from PIL import Image
from test_report_page import BASE, write_page

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_csv, write_json
from synthmed.core.settings import parse
from synthmed.report import FIGURES, TABLES
from synthmed.report.charts.style import placeholder
from synthmed.report.figures import FiguresSettings, figures
from synthmed.report.page.tables import page_table
from synthmed.report.sections.section import read_sections, write_section
from synthmed.report.tables import TablesSettings, tables


@pytest.fixture
def one(tmp_path):
    """One section with a table and a figure: the paths of its JSON and of its files."""
    rows = [
        {"finding": "nodule", "images": 12345, "sensitivity": 0.5, "sensitivity_low": 0.25, "sensitivity_high": 0.75,
         "reference_sensitivity": 0.9, "reference_note": "theirs: ten cases", "note": "twelve cases"},
        {"finding": "effusion", "images": 7, "sensitivity": None, "sensitivity_low": None, "sensitivity_high": None,
         "reference_sensitivity": None, "reference_note": "", "note": ""},
    ]  # fmt: skip
    write_csv(tmp_path / "table_6.csv", rows, list(rows[0]))
    Image.new("L", (300, 200), 90).save(tmp_path / "figure_9.png")
    write_section(
        tmp_path / "section.json",
        key="anomaly",
        title="Can anomalies be found?",
        paragraphs=["Half of the nodules were found.", "[[The document found nine tenths.]]"],
        tables=[(tmp_path / "table_6.csv", "Sensitivity of each finding. [[The document's Table 6.]]")],
        figures=[(tmp_path / "figure_9.png", "Difference maps.")],
    )
    return tmp_path / "section.json", [tmp_path / "figure_9.png", tmp_path / "table_6.csv"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results of one generator that learnt all classes at once, without sweep, classic augmentation, pool and
    document; its synthetic set lacks a class."""
    folder = tmp_path_factory.mktemp("single")
    inputs = write_all(folder / "in")
    arms = {"real": "real", "duplicates": "duplicates", "dcgan": "generator"}
    for name in ("summary", "verdicts"):
        content = read_json(inputs[name])
        content["arms"] = {arm: content["arms"][arm] for arm in arms}
        write_json(inputs[name], content)
    summary = read_json(inputs["summary"])
    summary["synthetic"] = {"dcgan": {"abnormal": {"value": 0.7, "low": 0.6, "high": 0.8, "n": 9}}}
    write_json(inputs["summary"], summary)
    fidelity = [path for path in inputs["fidelity"] if read_json(path)["generator"] == "dcgan"]
    for path in fidelity:
        content = read_json(path)
        for groups in (content["groups"], content["matched"]):
            del groups["normal"]
        write_json(path, content)
    audit = [path for path in inputs["copies"] if read_json(path)["generator"] == "dcgan"]
    base = BASE | {"generators": {"dcgan": GENERATORS["dcgan"]}}
    table_files = [folder / f"{name}.csv" for name in TABLES]
    shared = {"fidelity": fidelity, "summary": inputs["summary"], "verdicts": inputs["verdicts"], "validation": None}
    tables(
        parse(TablesSettings, base | {"references": None}),
        **shared,
        copies=audit,
        grid=inputs["grid"],
        split_report=inputs["split_report"],
        out=table_files,
    )
    write_csv(folder / "sweep.csv", [], ["generator"])
    rows = [
        {"arm": arm, "false_positive_rate": rate, "true_positive_rate": rate**0.5}
        for arm in arms
        for rate in (0.0, 0.5, 1.0)
    ]
    write_csv(folder / "roc.csv", rows, list(rows[0]))
    rows = [{"training": "DCGAN", "step": step, "loss": "generator", "value": 1 / step} for step in (1, 2, 3)]
    write_csv(folder / "history.csv", rows, list(rows[0]))
    figure_files = [folder / f"{name}.png" for name in FIGURES]
    figures(
        parse(FiguresSettings, base | {"positive": "abnormal", "examples": 2, "seed": 0}),
        **shared,
        train=inputs["train"],
        synthetics=inputs["synthetics"][:1],
        roc=folder / "roc.csv",
        sweep=folder / "sweep.csv",
        history=folder / "history.csv",
        out=figure_files,
    )
    return inputs | {"copies": audit, "validation": None}, table_files, figure_files


def page_of(made, out, **changed):
    generators = {"dcgan": GENERATORS["dcgan"]}
    return write_page(made, out, references=None, generators=generators, **changed)


def numbers(html, kind):
    return [int(number) for number in re.findall(rf"<b>{kind} (\d+)\.</b>", html)]


def test_a_section_stands_after_the_classifier_with_running_numbers(made, one, tmp_path):
    section, files = one
    html = page_of(made, tmp_path / "r.html", sections=[section], section_files=files)
    assert html.index('id="task"') < html.index('id="anomaly"') < html.index('id="sharing"')
    assert '<a href="#anomaly">Can anomalies be found?</a>' in html
    for kind in ("Table", "Figure"):
        assert numbers(html, kind) == list(range(1, len(numbers(html, kind)) + 1))
    inside = html[html.index('id="anomaly"') : html.index('id="sharing"')]
    assert "Half of the nodules were found." in inside
    assert "[0.250, 0.750]" in inside
    assert "12,345" in inside
    assert "twelve cases" in inside
    assert len(numbers(inside, "Table")) == len(numbers(inside, "Figure")) == 1
    assert {path.name for path in [section, *files]} <= set(re.findall(r"[a-z_0-9]+\.(?:json|csv|png)", html))


def test_the_documents_numbers_stand_under_its_header_and_not_at_all_without_references(made, one, tmp_path):
    given = {"sections": [one[0]], "section_files": one[1]}
    with_document = write_page(
        made, tmp_path / "a.html", references="chest_findings", generators={"dcgan": GENERATORS["dcgan"]}, **given
    )
    assert 'class="ref">0.90<' in with_document
    assert "document (its data and scale)" in with_document
    assert "The document's Table" not in with_document  # none of the general tables is in that document
    assert "University of Ulsan" in with_document
    own = page_of(made, tmp_path / "b.html", **given)
    for words in (
        "(The document found nine tenths.)",
        "each finding. (The document&#39;s Table 6.)",
        "theirs: ten cases",
    ):
        assert words in with_document
    assert "Sensitivity of each finding.<" in own
    for words in ("0.90<", "The document", "theirs", "[[", "<p></p>"):
        assert words not in own, words


def test_a_section_may_follow_the_data(made, one, tmp_path):
    write_json(one[0], read_json(one[0]) | {"after": "data"})
    html = page_of(made, tmp_path / "r.html", sections=[one[0]], section_files=one[1])
    assert html.index('id="data"') < html.index('id="anomaly"') < html.index('id="methods"')


def test_tables_and_figures_without_content_are_left_out(made, tmp_path):
    html = page_of(made, tmp_path / "r.html")
    shown = set(re.findall(r'<(?:div class="table"|figure) id="(\w+)"', html))
    assert shown == {
        *("table_4_2", "table_data", "table_quality", "table_4_4", "table_4_1", "table_copies"),
        *("figure_verdicts", "figure_samples", "figure_training", "figure_fidelity", "figure_roc", "figure_confusion"),
        "figure_copies_dcgan",
    }
    for kind in ("Table", "Figure"):
        assert numbers(html, kind) == list(range(1, len(numbers(html, kind)) + 1))
    assert "was not validated in this run" in html
    assert "classic augmentation" not in html


def test_words_about_one_generator_are_in_the_singular(made, tmp_path):
    html = page_of(made, tmp_path / "r.html")
    assert "1 generator," in html
    assert "1 generators" not in html
    assert "of 1 generator" not in html


def test_pseudo_labels_are_named_where_labels_are_shown(made, tmp_path):
    html = page_of(made, tmp_path / "r.html", pseudo_labelled=["dcgan"])
    assert html.count("The labels of the images of DCGAN were given by a classifier trained on real images.") >= 2
    with pytest.raises(InputError, match="pseudo_labelled names 'pggan'"):
        page_of(made, tmp_path / "s.html", pseudo_labelled=["pggan"])


def test_a_placeholder_of_a_section_is_left_out(made, one, tmp_path):
    placeholder(one[1][0], "No case to show.")
    html = page_of(made, tmp_path / "r.html", sections=[one[0]], section_files=one[1])
    assert 'id="figure_9"' not in html
    assert 'id="table_6"' in html


def test_a_missing_a_second_and_a_needless_file_are_refused(one, tmp_path):
    section, files = one
    with pytest.raises(InputError, match=r"'table_6\.csv', which is not among"):
        read_sections([section], files[:1])
    with pytest.raises(InputError, match="no section names it"):
        read_sections([], files)
    with pytest.raises(InputError, match="one base name"):
        read_sections([section], [*files, tmp_path / "other" / "table_6.csv"])
    with pytest.raises(InputError, match="second section with the key 'anomaly'"):
        read_sections([section, section], files)


def test_a_name_of_the_pages_own_is_refused(made, one, tmp_path):
    write_json(one[0], read_json(one[0]) | {"key": "sharing"})
    with pytest.raises(InputError, match="'sharing' is the name"):
        page_of(made, tmp_path / "r.html", sections=[one[0]], section_files=one[1])


def test_tables_and_figures_must_be_complete(made, tmp_path):
    with pytest.raises(InputError, match="table_4_2"):
        page_of(made, tmp_path / "r.html", tables=[path for path in made[1] if path.stem != "table_4_2"])


def test_means_of_counts_keep_one_decimal_all_along_their_column(tmp_path):
    rows = [{"predicted": "normal", "total": 94, "share": -0.25}, {"predicted": "abnormal", "total": 8.2, "share": 0.5}]
    write_csv(tmp_path / "t.csv", rows, list(rows[0]))
    table = page_table(tmp_path / "t.csv", "Counts.", references=False, only_in_csv=frozenset())
    assert [[cell["text"] for cell in row] for row in table["groups"][0]["rows"]] == [
        ["normal", "94.0", "−0.250"],
        ["abnormal", "8.2", "0.500"],
    ]

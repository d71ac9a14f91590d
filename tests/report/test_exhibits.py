"""One statement of a table or figure: its CSV, its place on the page, the document's numbers beside it."""

import jinja2
import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json
from synthmed.core.provenance import PACKAGE
from synthmed.metrics.estimate import Estimate
from synthmed.report import section as writing
from synthmed.report.exhibits import Column, Figure, Section, Table
from synthmed.report.page import PageSettings, page
from synthmed.report.references.document import read_document
from synthmed.report.section import write_section
from synthmed.report.sections import ORDER, statement
from synthmed.report.words import environment, p_value, signed, tenths

ROWS = [
    {
        "keys": ("nodule",),
        "finding": "nodule",
        "model": "VGG16",
        "images": 12345,
        "difference": Estimate(0.5, 0.25, 0.75),
    },
    {
        "keys": ("effusion",),
        "finding": "effusion",
        "model": "VGG16",
        "images": 7,
        "difference": Estimate.missing("too few"),
        "p": 0.0001,
        "note": "seven cases",
    },
]
COLUMNS = (
    Column("finding"),
    Column("model", once="Model: {}."),
    Column("images", below=(("of", "all"),)),
    Column("difference", "difference of all", signed, interval=True),
    Column("p", form=p_value),
    Column("secret", page=False),
)
DOCUMENT = """
citation: A thesis.
exhibits:
  own.findings:
    caption: The document's Table 6.
    columns: {cases: cases, difference: their difference}
    rows: {nodule: [1234, 0.9], other: [1, 0.1]}
    notes: [Theirs are ten cases.]
  own.picture: {caption: The document's Figure 1.}
words: {own: The document found nine tenths.}
"""


def table(rows=ROWS, **changed):
    return Table("findings", "Of {{ count }} cases.", lambda found: rows, COLUMNS, **changed)


def picture(nothing=None):
    def draw(path, found):
        if not nothing:
            Image.new("L", (300, 200), 90).save(path)
        return nothing

    return Figure("picture", "A picture of {{ count }} cases.", draw)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write a section of these exhibits; returns its JSON, its folder."""
    (tmp_path / "document.yaml").write_text(DOCUMENT, encoding="utf-8")
    template = "<p>{{ count }} cases</p>{% if document_says %}<p>{{ document_says }}</p>{% endif %}"
    own = jinja2.DictLoader({f"sections/{key}.html.j2": template for key in ("own", "one", "two")})

    def with_own(*, html):
        made = environment(html=html)
        made.loader = jinja2.ChoiceLoader([own, made.loader])
        return made

    monkeypatch.setattr(writing, "environment", with_own)

    def write(*exhibits, document=True, name="own.json", **found):
        section = Section("Own", "On {{ count }} cases", exhibits)
        out = [tmp_path / path for path in section.files(name.removesuffix(".json"))]
        for path in out:
            path.parent.mkdir(exist_ok=True)
        content = {"count": 12, **found}
        write_section(tmp_path / name, out, section, content, document=tmp_path / "document.yaml" if document else None)
        return read_json(tmp_path / name), tmp_path

    return write


def test_a_table_is_its_csv_and_its_place_on_the_page(written):
    made, folder = written(table())
    rows = read_csv(folder / "tables" / "own.findings.csv")
    assert list(rows[0]) == [
        *("finding", "model", "images", "difference", "difference_low", "difference_high", "p", "secret"),
        *("reference_cases", "reference_difference", "note"),
    ]
    assert (rows[0]["difference_low"], rows[0]["reference_cases"], rows[1]["reference_cases"]) == ("0.25", "1234", "")
    assert rows[1]["note"] == "seven cases; difference of all: too few"
    html = made["html"]
    for words in ("+0.500", "[+0.250, +0.750]", "12,345", "&lt; 0.001", "seven cases", 'class="ref">1,234<', ">0.90<"):
        assert words in html, words
    assert "Of 12 cases. (The document&#39;s Table 6.) Shaded columns" in html
    assert "Model: VGG16." in html
    assert "VGG16</td>" not in html
    assert "secret" not in html
    assert made["title"] == "On 12 cases"


def test_groups_of_rows_have_words():
    with pytest.raises(ValueError, match="column 'size': its groups have no words"):
        Column("size", group=True)


def test_an_estimate_without_its_interval_is_a_number_in_the_table():
    assert Column("c_t").cells(Estimate(6.5, n=80)) == {"c_t": 6.5}
    assert Column("c_t").cells(Estimate.missing("too few")) == {"c_t": None}


def test_reasons_of_missing_numbers_are_said_once_with_their_columns(written):
    missing = {"difference": Estimate.missing("too few"), "p": Estimate.missing("too few"), "note": "seven cases"}
    columns = (Column("finding"), Column("difference", interval=True), Column("p", "p value"))
    made, folder = written(Table("own", "Own.", lambda found: [{"finding": name, **missing} for name in "ab"], columns))
    assert made["html"].count("difference; p value: too few") == made["html"].count("seven cases") == 1
    assert [row["note"] for row in read_csv(folder / "tables" / "own.own.csv")] == [
        "seven cases; difference; p value: too few"
    ] * 2


def test_without_a_document_nothing_of_it_is_said(written):
    made, folder = written(table(), picture(), document=False)
    assert not [name for name in read_csv(folder / "tables" / "own.findings.csv")[0] if name.startswith("reference")]
    for words in ("ocument", "1,234", "Theirs", 'class="ref"'):
        assert words not in made["html"]
    assert "The document found nine tenths." in written(table())[0]["html"]
    assert "(The document&#39;s Figure 1.)" in written(picture())[0]["html"]


def test_the_documents_columns_need_a_row_of_ours(written):
    others = [row | {"keys": ("mass",)} for row in ROWS]
    assert 'class="ref"' not in written(table(others))[0]["html"]
    assert "Theirs are ten cases." not in written(table(others))[0]["html"]


def test_what_a_document_says_of_other_rows_is_left_out(written, tmp_path):
    (tmp_path / "document.yaml").write_text(f"{DOCUMENT}if_rows: {{own: findings}}\n", encoding="utf-8")
    made, _ = written(table())
    assert "ocument" not in made["html"]
    same = [*ROWS[:1], ROWS[1] | {"keys": ("other",)}]
    assert "The document found nine tenths." in written(table(same))[0]["html"]


def test_what_has_no_content_is_a_file_that_says_so_and_not_on_the_page(written):
    made, folder = written(table([], empty="no finding"), picture("No case to show."))
    assert [entry["shown"] for entry in made["exhibits"]] == [False, False]
    assert "<figure" not in made["html"]
    assert "<table" not in made["html"]
    assert read_csv(folder / "tables" / "own.findings.csv")[0]["note"] == "no finding"
    assert made["exhibits"][1]["caption"] == "No case to show."
    with Image.open(folder / "figures" / "own.picture.png") as drawn:
        assert np.asarray(drawn.convert("L")).min() < 200


def test_a_table_may_be_for_the_documents_sake_only(written):
    assert "<table" in written(table(page="document"))[0]["html"]
    made, folder = written(table(page="document"), document=False)
    assert "<table" not in made["html"]
    assert len(read_csv(folder / "tables" / "own.findings.csv")) == 2


def test_rows_are_grouped_by_what_cannot_be_compared(written):
    columns = (Column("generator"), Column("extractor", once="Features of {}.", group=True), Column("fid", form=tenths))
    rows = [{"generator": "DCGAN", "extractor": name, "fid": 3} for name in ("Inception", "domain")]
    html = written(Table("fid", "FID.", lambda found: rows, columns))[0]["html"]
    assert 'scope="rowgroup" class="rowgroup">Features of domain<' in html
    assert ">3.0<" in html


def test_what_all_rows_have_is_said_as_a_sentence(written):
    rows = [{"generator": "DCGAN", "fid": number} for number in (3, 4)]
    for once in ("{}", "{}."):
        columns = (Column("generator", once=once), Column("fid"))
        html = written(Table("fid", "FID.", lambda found: rows, columns))[0]["html"]
        assert "FID. DCGAN.</p>" in html


def test_a_long_table_is_folded(written):
    assert "<details" not in written(table(ROWS * 30))[0]["html"]
    html = written(table([*ROWS * 30, ROWS[0]]))[0]["html"]
    assert "<details><summary>All 61 rows (and in tables/own.findings.csv)</summary>" in html
    assert html.index("</table>") < html.index("</details>")


def test_every_exhibit_has_its_file_and_its_place(written, tmp_path):
    html = written(table(), picture())[0]["html"]
    assert html.index("12 cases") < html.index('id="own.findings"') < html.index('id="own.picture"')
    with pytest.raises(ValueError, match="unique"):
        Section("a", "b", (table(), table()))
    with pytest.raises(InputError, match="one file for each"):
        Section("a", "b", (table(),)).by_name([])
    with pytest.raises(InputError, match="one file for each"):
        Section("a", "b", (table(),)).by_name([tmp_path / "own.findings.csv", tmp_path / "x.findings.csv"])


def test_the_page_numbers_what_is_shown_and_needs_its_pictures(written, tmp_path):
    written(table([], empty="none"), picture(), name="one.json")
    written(picture(), table(), name="two.json")
    settings = PageSettings("Chest", "folder", 1, 3)
    sections = [tmp_path / "one.json", tmp_path / "two.json"]
    pictures = sorted((tmp_path / "figures").glob("*.png"))
    page(settings, sections=sections, figures=pictures, out=tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert html.index("<b>Figure 1.</b>") < html.index("<b>Figure 2.</b>") < html.index("<b>Table 1.</b>")
    assert html.count("data:image/png;base64,") == 2
    assert "⟦" not in html
    assert "1 generator, 3 training sets compared" in " ".join(html.split())
    with pytest.raises(InputError, match=r"two\.picture\.png, which a section shows"):
        page(settings, sections=sections, figures=pictures[:1], out=tmp_path / "r.html")
    (tmp_path / "figures" / "one.picture.png").write_text("no picture")
    with pytest.raises(InputError, match="not a PNG picture"):
        page(settings, sections=sections, figures=pictures, out=tmp_path / "r.html")


def test_text_of_a_user_is_no_markup(written):
    rows = [{"keys": (), "finding": "<b>& {{ 7 * 7 }}", "images": 1}]
    html = written(table(rows))[0]["html"]
    assert "&lt;b&gt;&amp; {{ 7 * 7 }}" in html


def test_documents_of_the_package_name_exhibits_that_there_are():
    files = sorted((PACKAGE / "report" / "references").glob("*.yaml"))
    assert files
    for path in files:
        document = read_document(path)
        for name in document.exhibits:
            parts = name.split(".")
            known = {exhibit.name for exhibit in statement(parts[0]).exhibits}
            assert parts[-1] in known, f"{path.name}: {name}"
        assert {name.split(".")[0] for name in document.words} <= set(ORDER)


def test_an_unusable_document_is_refused(tmp_path):
    for text, words in (
        ("citation: [", "not a document's numbers"),
        ("exhibits: {}", "not a document's numbers"),
        ("citation: a\nexhibits: {a.b: {columns: {x: x}, rows: {y: [1, 2]}}}", "2 values for 1 columns"),
        ("citation: a\nexhibits: {a.b: {colums: {x: x}}}", "not a document's numbers"),
    ):
        (tmp_path / "d.yaml").write_text(text)
        with pytest.raises(InputError, match=words):
            read_document(tmp_path / "d.yaml")

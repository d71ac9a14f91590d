"""The page over all experiments: what it shows, sorted by a click, on a desk and on a phone."""

import re

import pytest
from PIL import Image

from browser import CHROMIUM, Browser
from synthmed.core.files import write_csv, write_json, write_text
from synthmed.metrics.effects import EFFECT_COLUMNS
from synthmed.report.costs import COLUMNS as COSTS
from synthmed.report.index import ExperimentEntry, IndexSettings, index

DESK, PHONE = (1280, 900), (390, 844)


def effect(experiment, generator, value, **more):
    row = dict.fromkeys(EFFECT_COLUMNS, "")
    row |= {
        "experiment": experiment,
        "task": "t",
        "task_title": "Is it there?",
        "generator": generator,
        "arm": f"Real + {generator}",
        "outcome": "AUROC",
    }
    row |= {"effect": value, "effect_low": value - 0.1, "effect_high": value + 0.1, "equivalent": "no"}
    row |= {"label_fidelity_real": 0.9, "pseudo_labelled": "no", "trained_as": generator}
    return row | {"synthetic_share": 0.5, "fid_extractor": "Inception", "verdict": "no evidence of a difference"} | more


def results(folder, name, headline, rows):
    for part in ("sections", "figures", "tables"):
        (folder / name / part).mkdir(parents=True)
    write_text(folder / name / "report.html", "<p>the report</p>")
    write_json(folder / name / "sections" / "answer.t.json", {"headline": headline})
    Image.new("RGB", (900, 400), "white").save(folder / name / "figures" / "answer.t.verdicts.png")
    write_csv(folder / name / "tables" / "effects.csv", rows, EFFECT_COLUMNS)


@pytest.fixture
def made(tmp_path):
    folder, logs = tmp_path / "results", tmp_path / "logs"
    first = [
        effect(
            "tb",
            "DCGAN",
            0.02,
            fid=30.5,
            copy_alarm="none found",
            copy_share=0.01,
            copy_limit="Of 100 sets …",
            label_fidelity=0.7,
        ),
        effect("tb", "FastGAN", -0.12, fid=9.0, copy_alarm="copies", copy_share=0.5, verdict="harms", leaking="yes"),
        effect("tb", "CycleGAN", 0.1, fid="", verdict=""),
    ]
    results(folder, "tb", "Not shown: it is <not> shown.", first)
    results(
        folder,
        "nuclei",
        "Yes: they help.",
        [effect("nuclei", "Pix2Pix", 0.3, fid=110.0, verdict="helps", outcome="HD95", higher_is_better="no")],
    )
    (logs / "tb").mkdir(parents=True)
    cost = dict.fromkeys(COSTS, "") | {
        "experiment": "tb",
        "generator": "DCGAN",
        "parameters": 1234567,
        "training_seconds": 90,
    }
    write_csv(logs / "tb" / "costs.csv", [cost], COSTS)
    entries = [
        ExperimentEntry(name, name.upper(), f"finds {name}", True, ("t",)) for name in ("tb", "nuclei", "melanoma")
    ]
    return index(IndexSettings(tuple(entries)), folder, logs)


def test_every_experiment_and_every_row_is_there(made):
    html = made.read_text()
    for said in (
        "Not shown: it is",
        "Yes: they help.",
        "finds nuclei",
        'href="tb/report.html"',
        "+0.020",
        "[−0.080, +0.120]",
    ):
        assert said in html
    assert "1,234,567" in html
    assert "1.5" in html, "90 seconds are 1.5 minutes"
    assert "no word" in html
    assert "real: 90.0 %" in html
    assert "HD95 (lower is better)" in html
    assert "memory the most" in html, "of one process, not of all trainings together"
    assert "AUROC (" not in html
    assert "MELANOMA (not run yet; <code>make results EXPERIMENT=melanoma</code>)" in html
    assert "Of 100 sets" in html
    assert "http" not in html.replace("http-equiv", ""), "it needs nothing from elsewhere"


def test_a_row_says_its_task_and_whether_it_leaks(made):
    rows = [row for row in made.read_text().split("<tr>") if "Real + " in row]
    assert all("Is it there?" in row for row in rows)
    assert [row for row in rows if "leaks" in row] == [row for row in rows if "Real + FastGAN" in row]


def test_the_word_on_a_measure_follows_from_its_adjusted_p(made):
    """The three pairs of this fixture say nothing; of six generators in one order 2 of 720 orders are as clear."""
    said = "<td>FID</td>"
    assert said in made.read_text()
    assert ">yes<" not in made.read_text()
    rows = [effect("tb", name, number / 10, fid=90 - number) for number, name in enumerate("uvwxyz")]
    write_csv(made.parent / "tb" / "tables" / "effects.csv", rows, EFFECT_COLUMNS)
    html = index(IndexSettings((ExperimentEntry("tb", "TB", "finds tb", True, ("t",)),)), made.parent, made.parent)
    row = html.read_text().partition(said)[2].partition("</tr>")[0]
    assert "0.003" in row
    assert "<td>yes<" in row
    rows = [row | {"fid": 200 - float(row["fid"]), "label_fidelity": 0.5, "label_fidelity_real": ""} for row in rows]
    write_csv(made.parent / "tb" / "tables" / "effects.csv", rows, EFFECT_COLUMNS)
    html = index(IndexSettings((ExperimentEntry("tb", "TB", "finds tb", True, ("t",)),)), made.parent, made.parent)
    assert "<td>the opposite<" in html.read_text().partition(said)[2].partition("</tr>")[0]
    assert "real: " not in html.read_text(), "of what nobody knows"


def test_results_of_another_version_are_named_not_shown(made):
    write_json(made.parent / "nuclei" / "sections" / "answer.t.json", {"html": "an old one"})
    entries = (ExperimentEntry("nuclei", "Nuclei", "finds", False, ("t",)),)
    html = index(IndexSettings(entries), made.parent, made.parent).read_text()
    assert "Nuclei (of another version;" in html
    assert "0 experiments" in html


def test_effects_are_sorted_by_what_they_gain_among_those_of_one_outcome(made):
    """Millimetres less are a gain, and are not set beside areas under a curve."""
    rows = [
        effect("nuclei", name, value, outcome="HD95", higher_is_better="no")
        for name, value in (("worse", 2.5), ("better", -4.0), ("none", 0.0))
    ]
    rows.append(effect("nuclei", "unknown", 1.0, outcome="HD95", higher_is_better="no") | {"effect": ""})
    write_csv(made.parent / "nuclei" / "tables" / "effects.csv", rows, EFFECT_COLUMNS)
    entries = tuple(ExperimentEntry(name, name, "finds", True, ("t",)) for name in ("tb", "nuclei"))
    html = index(IndexSettings(entries), made.parent, made.parent).read_text()
    effects = [dict(re.findall(r'data-(sort|group)="([^"]*)"', cell)) for cell in html.split("<td")]
    effects = [cell for cell in effects if "group" in cell]
    assert [(cell["group"], cell["sort"]) for cell in effects] == [
        ("AUROC", "0.02"), ("AUROC", "-0.12"), ("AUROC", "0.1"),
        ("HD95", "-2.5"), ("HD95", "4.0"), ("HD95", "-0.0"), ("HD95", ""),
    ]  # fmt: skip
    assert "+2.500" in html, "people see the effect itself"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)")
def test_it_is_sorted_by_a_click_and_fits_a_phone(made, tmp_path):
    column = "[...document.querySelectorAll('.sortable tbody tr')].map(row => row.cells[{}].innerText.split('\\n')[0])"
    with Browser(tmp_path / "profile", tmp_path) as browser:
        for width, height in (DESK, PHONE):
            browser.send(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=1,
                mobile=width < 500,
            )
            browser.open(made)
            assert browser.run("document.documentElement.scrollWidth") <= width
            assert browser.run(column.format(1)) == [
                "Real + DCGAN",
                "Real + FastGAN",
                "Real + CycleGAN",
                "Real + Pix2Pix",
            ]
            browser.run("document.querySelectorAll('.sortable button')[3].click()")
            assert browser.run(column.format(3)) == ["+0.100", "+0.020", "−0.120", "+0.300"], "AUROC, then HD95"
            browser.run("document.querySelectorAll('.sortable button')[3].click()")
            assert browser.run(column.format(3)) == ["−0.120", "+0.020", "+0.100", "+0.300"]
            browser.run("document.querySelectorAll('.sortable button')[4].click()")
            assert browser.run(column.format(4)) == ["110.0", "30.50", "9.000", "–"], (
                "numbers as numbers, unknown ones last"
            )
            browser.run("document.querySelectorAll('.sortable button')[4].click()")
            assert browser.run(column.format(4)) == ["9.000", "30.50", "110.0", "–"]
        assert browser.requests() == []

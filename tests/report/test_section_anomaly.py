"""The anomaly section: the document's numbers, words that follow from results, and every file it declares."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_searches import SETTINGS, classifier, evaluate, write_inputs
from PIL import Image

from synthmed.classifiers import network
from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.provenance import PACKAGE
from synthmed.report.charts import anomaly as charts
from synthmed.report.references.document import read_document
from synthmed.report.sections.anomaly import SECTION, SectionSettings, section

SETTINGS_OF_SECTION = SectionSettings("PGGAN", {"blind": "encoder start", "seeing": "random starts"})
DOCUMENT = PACKAGE / "report" / "references" / "chest_findings.yaml"


def write_times(path, images, seconds, start):
    content = {"device": "CPU", "threads": 1, "batch_size": 4, "start": start, "start_seconds": 0.5}
    write_json(path, content | {"seconds": {f"{number}.png": seconds for number in range(images)}})
    return path


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.setattr(network, "load", lambda path: classifier())
    outputs = evaluate(tmp_path, write_inputs(tmp_path))
    times = [write_times(tmp_path / "a.json", 10, 0.2, "random"), write_times(tmp_path / "b.json", 10, 0.0, "encoder")]
    return {"results": outputs["out"], "cases": outputs["cases"], "examples": outputs["examples"], "times": times}


@pytest.fixture
def undrawn(monkeypatch):
    """Figures cost seconds, and most tests are about words and numbers."""
    for name in ("draw_cases", "draw_roc"):
        monkeypatch.setattr(charts, name, lambda *_: None)


def run(folder, inputs, settings=SETTINGS_OF_SECTION):
    out = [folder / path for path in SECTION.files("anomaly")]
    section(settings, **inputs, document=DOCUMENT, section=folder / "anomaly.json", out=out)
    written = read_json(folder / "anomaly.json")
    return written | {"said": " ".join(written["html"].split())}, {path.stem.partition(".")[2]: path for path in out}


def test_the_documents_table_does_not_add_up_and_we_say_so():
    reference = read_document(DOCUMENT).exhibits["anomaly.findings"]
    found = [values for name, values in reference.rows.items() if name != "all cases"]
    assert sum(cases for cases, *_ in found) == 100
    assert sum(detected for _, detected, _ in found) == 89
    assert any("89" in note for note in reference.notes)


def test_every_file_is_written_and_named_in_the_section(tmp_path, inputs):
    written, paths = run(tmp_path, inputs)
    assert [entry["file"] for entry in written["exhibits"]] == [path.name for path in paths.values()]
    assert all(entry["shown"] for entry in written["exhibits"])
    for name, path in paths.items():
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert np.asarray(picture.convert("L")).std() > 5, name
    rows = read_csv(paths["findings"])
    assert [row["diagnosis"] for row in rows] == [*SETTINGS.kinds, "all cases"]
    assert (rows[1]["detected"], rows[1]["cases"], rows[1]["sensitivity"]) == ("3", "3", "1.0")
    assert (rows[2]["cases"], rows[2]["sensitivity"]) == ("0", "")
    # The document is about other findings than these.
    assert not any("reference_cases" in row for row in rows)
    comparison = read_csv(paths["comparison"])
    assert [row["cases_of"] for row in comparison][-1] == "normal images"
    assert (comparison[1]["right_difference"], comparison[1]["p"]) == ("1.0", "")  # one patient
    assert len(read_csv(paths["scores"])) == 2 * 3 * 2
    assert sum(row["decides"] == "yes" for row in read_csv(paths["scores"])) == 1
    assert len(read_csv(paths["localisation"])) == 2 * 2 * 2
    speed = read_csv(paths["speed"])
    assert [(row["search"], float(row["seconds_an_image"])) for row in speed] == [
        ("random starts", pytest.approx(0.25)), ("encoder start", pytest.approx(0.05))
    ]  # fmt: skip


def test_the_words_follow_from_the_results(tmp_path, inputs, undrawn):
    result = read_json(inputs["results"])
    for who in ("anogan", "supervised"):
        result["groups"]["normal"][who] |= {"value": 0.1, "low": 0.0, "high": 0.4}
    write_json(inputs["results"], result)
    words = run(tmp_path, inputs)[0]["said"]
    assert "PGGAN learnt normal images only" in words
    assert "at most 2 of 20 held-out normal images" in words
    assert "in steps of 5.0 %" in words
    assert "by which its training chose its state, while the search had seen none of them" in words
    assert "On untrained findings: search 3 of 3 (100.0 %" in words
    assert "right: not compared (one patient only, who has no spread)." in words
    assert "encoder start takes 5.0 times less time an image than random starts" in words
    assert "radiologist" not in words
    assert "the one that was set" not in words
    result["groups"]["untrained"] |= {
        "only_anogan_right": 9,
        "only_supervised_right": 0,
        "p": 0.001,
        "p_adjusted": 0.0039,
    }
    result["held_out"]["patients_also_in_queries"] = 1
    right = dict(result["groups"]["normal"]["supervised"])
    result["groups"]["normal"]["supervised"] |= {"value": 0.5, "low": 0.4, "high": 0.6}
    result["groups"]["trained"]["cases"] = 0
    write_json(inputs["results"], result)
    words = run(tmp_path, inputs)[0]["said"]
    assert "right: 9 cases only the search, 0 only the classifier, p = 0.004." in words
    assert "The classifier's rate on normal test images is above the one that was set" in words
    assert "either 20 held-out images set it only so well, which the interval leaves out, or the test images" in words
    assert "or its state, which was chosen by these very images, suits them better than others" in words
    result["groups"]["normal"] |= {"anogan": result["groups"]["normal"]["supervised"], "supervised": right}
    write_json(inputs["results"], result)
    words = run(tmp_path, inputs)[0]["said"]
    assert "The search's rate on normal test images is above the one that was set" in words
    assert "its state, which was chosen" not in words
    assert "There are no findings that the classifier was trained on in this test." in words
    assert "1 patient of the held-out images also have images in the test" in words


def test_with_the_documents_findings_its_numbers_stand_beside_ours(tmp_path, inputs, undrawn):
    result = read_json(inputs["results"])
    entry = next(one for one in result["kinds"] if one["kind"] == "rib fracture")
    kinds = [name for name in read_document(DOCUMENT).exhibits["anomaly.findings"].rows if name != "all cases"]
    result["kinds"] = [entry | {"kind": kind} for kind in kinds]
    write_json(inputs["results"], result)
    written, paths = run(tmp_path, inputs)
    rows = read_csv(paths["findings"])
    pneumothorax = next(row for row in rows if row["diagnosis"] == "pneumothorax")
    assert (pneumothorax["reference_cases"], pneumothorax["reference_detected"]) == ("9", "8")
    assert pneumothorax["reference_sensitivity"] == "0.889"
    assert (rows[-1]["reference_detected"], rows[-1]["reference_cases"]) == ("90", "100")
    assert "100.0 % (8/9)" in written["said"]
    assert "cannot be set against them" in written["said"]
    comparison = read_csv(paths["comparison"])
    assert [row["reference_classifier"] for row in comparison] == ["0.925", "0.233", "0.51", ""]
    assert [row["reference_search"] for row in comparison] == ["0.95", "0.85", "0.9", ""]


def test_localisation_stands_beside_the_chance_of_its_processing(tmp_path, inputs, undrawn):
    result = read_json(inputs["results"])
    for number, processing in enumerate(("raw", "post-processed")):
        for name, value in (("pointing_game", 0.11), ("average_precision", 0.05)):
            result["chance"][processing][name]["value"] = value + 0.02 * number
    place = result["searches"]["seeing"]["localisation"]["positive"]["post-processed"]
    place["average_precision"] = {"value": 0.5, "low": None, "high": None, "n": 7}
    write_json(inputs["results"], result)
    written, paths = run(tmp_path, inputs)
    for row in read_csv(paths["localisation"]):
        expected = ("0.11", "0.05") if row["map"] == "raw" else ("0.13", "0.07")
        assert (row["chance_to_point"], row["chance_precision"]) == expected
    words = written["said"]
    assert "without (by chance 0.11)" in words
    assert "with post-processing (by chance 0.13, because the frame is left out)" in words
    # A value without interval stands alone.
    assert "(by chance about 0.05) and 0.50 with (by chance about 0.07)" in words


def test_without_places_localisation_is_said_to_be_missing(tmp_path, inputs, undrawn):
    result = read_json(inputs["results"])
    for search in result["searches"].values():
        for found in search["localisation"].values():
            for measures in found.values():
                for name in measures:
                    measures[name] = {"value": None, "reason": "no such case has a box or a mask", "n": 0}
    for measures in result["chance"].values():
        for name in measures:
            measures[name] = {"value": None, "reason": "no such case has a box or a mask", "n": 0}
    write_json(inputs["results"], result)
    written, paths = run(tmp_path, inputs)
    assert "localisation was not measured" in written["said"]
    assert read_csv(paths["localisation"])[0]["pointing_game"] == ""


def test_unusable_input_is_refused(tmp_path, inputs):
    with pytest.raises(InputError, match="setting searches names"):
        run(tmp_path, inputs, replace(SETTINGS_OF_SECTION, searches={"seeing": "random starts"}))
    with pytest.raises(InputError, match="times: 1 files"):
        run(tmp_path, inputs | {"times": inputs["times"][:1]})

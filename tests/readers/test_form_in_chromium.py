"""The form in a real browser: answered by keyboard, closed half-way, gone on with, saved, merged, analysed."""

import json

import pytest
from small_study import QUESTIONS, drawn

from browser import CHROMIUM, Browser
from synthmed.core.files import read_csv, read_json
from synthmed.readers.analyse import AnalysisSettings, analyse_readers
from synthmed.readers.answers import MergeSettings, merge_answers
from synthmed.readers.study import Roles

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)")

ROLES = Roles(synthetic="synthetic", diagnosis="diagnosis", certainty="certainty", scores=("certainty",))


def asked(browser):
    """The name of the item on the screen, from its pixels."""
    return browser.run("names.find((name) => study.items[name] === document.querySelector('.item img').src)")


def answer(browser, given, count):
    """Answer `count` images by the keyboard; keeps what was pressed for which item."""
    for _ in range(count):
        item, keys = asked(browser), "213" if len(given) % 2 else "125"
        for key in keys:
            browser.press(key)
        given[item] = [
            list(question.answers)[int(key) - 1] for question, key in zip(QUESTIONS.values(), keys, strict=True)
        ]
        browser.press("Enter")


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    folder, given = drawn(tmp_path_factory.mktemp("study")), {}
    said = {}
    with Browser(folder / "profile", folder) as browser:
        browser.open(folder / "form.html")
        browser.run("document.querySelector('#code').value = 'reader1'; document.querySelectorAll('button')[0].click()")
        said["without consent"] = browser.run("said.textContent")
        browser.run("document.querySelector('input[value=lay]').click(); document.querySelector('#consent').click()")
        browser.run("document.querySelectorAll('button')[0].click()")
        browser.press("Enter")
        said["without answer"] = browser.run("said.textContent")
        answer(browser, given, 5)
        browser.press("1")  # half an answer
        said["requests"] = browser.requests()
    with Browser(folder / "profile", folder) as browser:
        browser.open(folder / "form.html")
        said["place"] = browser.run("document.querySelector('strong').textContent")
        said["progress"] = browser.run("document.querySelector('progress').value")
        browser.press("Backspace")
        said["back"] = asked(browser)
        said["kept"] = browser.run("[...document.querySelectorAll('input:checked')].map((one) => one.value)")
        browser.press("Enter")
        browser.run("current = 0")
        answer(browser, given, 7)
        browser.run("document.querySelector('#comment').value = 'hairs,  \"odd\";\\nand <b>'")
        browser.run("document.querySelector('#comment').dispatchEvent(new Event('input'))")
        for ending in ("CSV", "JSON"):
            browser.run(
                f"[...document.querySelectorAll('button')].find((one) => one.textContent.includes('{ending}')).click()"
            )
            browser.saved()
        said["requests"] += browser.requests()
        said["errors"] = [
            event for event in browser.events if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")
        ]
    return folder, given, said


def test_consent_and_required_answers_are_asked_for(answered):
    _, _, said = answered
    assert said["without consent"] == "Please say what your background is."
    assert said["without answer"] == "Please answer: What is it?"


def test_it_asks_no_server_for_anything_and_has_no_error(answered):
    _, _, said = answered
    assert said["requests"] == []
    assert said["errors"] == []


def test_a_closed_form_goes_on_where_it_was_left(answered):
    _, given, said = answered
    assert said["place"] == "Image 6 of 12"
    assert said["progress"] == 5
    assert said["back"] == list(given)[4]
    assert said["kept"] == given[said["back"]]


def test_no_truth_about_the_items_is_in_the_file(answered):
    folder, _, _ = answered
    text = (folder / "form.html").read_text()
    study = json.loads(text.split('type="application/json">')[1].split("</script>")[0])
    for word in ("gan", "edited", "real_", "patient"):
        assert word not in json.dumps({**study, "items": list(study["items"]), "examples": []})


def test_what_was_pressed_is_what_is_saved_merged_and_analysed(answered):
    folder, given, _ = answered
    files = [folder / "answers_READER1.csv", folder / "answers_READER1.json"]
    merge_answers(MergeSettings(), study=folder / "study.json", answers=files, out=folder / "merged.csv")
    rows = read_csv(folder / "merged.csv")
    assert {row["item"]: [row[name] for name in QUESTIONS] for row in rows} == given
    assert [row["item"] for row in sorted(rows, key=lambda row: int(row["position"]))] == list(given)
    assert {row["comment"] for row in rows} == {'hairs, "odd"; and <b>'}
    assert {row["code"] for row in rows} == {"READER1"}
    settings = AnalysisSettings(ROLES, ("lay",), margin=0.05, alpha=0.05, level=0.95)
    analyse_readers(
        settings,
        study=folder / "study.json",
        key=folder / "key.zip",
        answers=folder / "merged.csv",
        out=folder / "out.json",
    )
    (reader,) = read_json(folder / "out.json")["readers"]
    assert sum(reader["confusion"].values()) == 12
    assert reader["background"] == "lay"
    assert not reader["simulated"]


def test_saved_answers_go_on_in_another_browser(answered):
    folder, given, _ = answered
    saved = (folder / "answers_READER1.json").read_text()
    with Browser(folder / "other profile", folder) as browser:
        browser.open(folder / "form.html")
        browser.run(f"load({json.dumps(saved.replace('melanoma', 'benign', 1))})")
        assert browser.run("said.textContent") == "These answers were changed after they were saved."
        browser.run(f"load({json.dumps(saved)})")
        assert browser.run("document.querySelector('h1').textContent") == "Thank you"
        assert browser.run("order().join()") == ",".join(given)

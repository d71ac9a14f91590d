"""The section on classifiers and frames."""

from types import SimpleNamespace

import numpy as np
import pytest

from synthmed.core.files import read_csv, read_json, write_json
from synthmed.data.imageset import write_image_set
from synthmed.report.sections.shortcuts import SECTION, ShortcutsSettings, _switch_rows, group_words, section

ARMS = {"real": "Real only", "only_gan": "gan only"}
GENERATORS = {"gan": {"model": "stylegan2", "title": "cGAN", "receptive_field": None, "of": "gan"}}


def estimate(value, low=None, high=None, reason=None):
    return {"value": value, "low": low, "high": high, "n": 9, "reason": reason}


def measured(name, switched):
    versus = None
    if name != "real":
        versus = {"difference": estimate(-0.4, -0.5, -0.3), "p_holm": 0.001, "word": "fewer", "reason": None}
    one = {
        "switched": estimate(switched, 0.1, 0.9),
        "could": 31.5,
        "net": switched,
        "shift": 0.2,
        "versus_real": versus,
    }
    rates = {rate: estimate(0.8, 0.7, 0.9) for rate in ("auroc", "sensitivity", "specificity")}
    alone = rates | {"auroc": estimate(None, reason="one class only")}
    return {
        "title": ARMS[name],
        "set": None if name == "real" else "gan",
        "switched": {"pasted/benign": one, "removed/malignant": one},
        "operating": {key: rates[key] for key in ("sensitivity", "specificity")},
        "subgroups": {"dark_corner: yes": alone, "skin: light": rates},
    }


@pytest.fixture
def run(tmp_path):
    for name in ("tables", "figures"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    rows = [
        ({"image": f"{n}.png", "label": "benign", "patient": f"{n}"}, rng.integers(0, 255, (8, 8, 3)).astype("uint8"))
        for n in range(4)
    ]
    write_image_set(tmp_path / "test.zip", rows)
    changed = [
        (fields | {"image": f"{n}_x.png", "origin": f"{n}.png", "change": "pasted"}, pixels)
        for n, (fields, pixels) in enumerate(rows)
    ]
    write_image_set(tmp_path / "changed.zip", changed)
    result = {
        "seeds": 5, "sensitivity": 0.95, "level": 0.9, "positive": "malignant", "changed": {"pasted/benign": 4},
        "by_tagger": False,
        "order": ["dark_corner: yes", "skin: light"],
        "groups": {"dark_corner: yes": {"benign": 0, "malignant": 3}, "skin: light": {"benign": 5, "malignant": 4}},
        "arms": {"real": measured("real", 0.6), "only_gan": measured("only_gan", 0.2)},
    }  # fmt: skip
    write_json(tmp_path / "r.json", result)
    write_json(tmp_path / "counts.json", {"unchanged": {}, "refused": {"benign": 1, "malignant": 2}})
    arms = {
        name: {"title": title, "kind": "real" if name == "real" else "synthetic_only", "share": 0.0, "trainings": 1}
        | {"set": None if name == "real" else "gan", "tests": {}, "versus_reference": None}
        for name, title in ARMS.items()
    }
    shared = {"outcome": "auroc", "outcomes": {"auroc": {"title": "AUROC"}}, "classes": ["benign", "malignant"]}
    unmade = {"kind": "synthetic_only", "title": "edited only", "set": "edited", "not_made": "no image was left"}
    write_json(tmp_path / "v.json", {"arms": arms, "not_made": {"only_edited": unmade}, **shared})
    out = [tmp_path / path for path in SECTION.files("shortcuts")]
    files = {
        "shortcuts": tmp_path / "r.json",
        "verdicts": tmp_path / "v.json",
        "counts": tmp_path / "counts.json",
        "document": None,
    }
    from synthmed.report.results import GeneratorEntry

    chosen = ShortcutsSettings({"gan": GeneratorEntry(**GENERATORS["gan"])}, "benign", 2)
    images = {name: tmp_path / f"{name}.zip" for name in ("test", "changed")}
    section(chosen, **files, **images, section=tmp_path / "shortcuts.json", out=out)
    return tmp_path


def test_numbers_words_and_pictures(run):
    page = read_json(run / "shortcuts.json")
    assert "edited only, whose images could not be made: no image was left." in page["html"]
    assert "60.0 % (90 % interval 10.0 % to 90.0 %) malignant" in page["html"]
    assert "5 trainings, 90 % intervals" in page["html"]
    assert "fewer decisions switch than with real images alone after training on: cGAN only" in page["html"]
    assert "more switch" not in page["html"]
    assert (
        "0 images said to have a\nframe where none is found, 3 images whose frame could not be taken off"
        in page["html"]
    )
    rows = read_csv(run / "tables" / "shortcuts.switches.csv")
    assert [row["arm"] for row in rows] == ["Real only", "cGAN only"]
    assert rows[0]["pasted_could"] == "31.5"
    assert (rows[0]["pasted_difference"], rows[1]["pasted_difference"]) == ("", "-0.4")
    for name in ("switch_rates", "changed"):
        assert (run / "figures" / f"shortcuts.{name}.png").stat().st_size > 1000


def test_the_page_has_a_row_an_arm_and_the_csv_every_rate(run):
    shown = {entry["name"]: entry["shown"] for entry in read_json(run / "shortcuts.json")["exhibits"]}
    assert shown["shortcuts.subgroups"]
    assert not shown["shortcuts.every_subgroup"]
    assert len(read_csv(run / "tables" / "shortcuts.subgroups.csv")) == 2
    every = read_csv(run / "tables" / "shortcuts.every_subgroup.csv")
    assert len(every) == 4
    assert every[0]["group"] == "frame"
    assert "one class only" in every[0]["note"]


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("dark_corner: yes", "frame"), ("hair: no", "no hair"), ("skin: light", "light skin"),
        ("dark_corner: not known", "frame not known"), ("skin: not known", "skin not known"),
    ],
)  # fmt: skip
def test_subgroups_have_words(group, words):
    assert group_words(group) == words


def test_the_reason_stands_beside_no_evidence():
    def row(versus):
        arms = {name: measured(name, 0.2) for name in ARMS}
        arms["only_gan"]["switched"]["pasted/benign"]["versus_real"] |= versus
        found = {"result": {"arms": arms, "positive": "malignant"}, "settings": SimpleNamespace(negative="benign")}
        return _switch_rows(found | {"task": {"arms": {name: {"name": name, "title": name} for name in ARMS}}})[1]

    unknown = {"word": "no evidence of a difference", "reason": "there is no spread"}
    assert row(unknown)["pasted_word"] == "no evidence of a difference: there is no spread"
    assert row({"word": None, "reason": "3 training seeds"})["pasted_word"] == "3 training seeds"
    assert row({})["pasted_word"] == "fewer"

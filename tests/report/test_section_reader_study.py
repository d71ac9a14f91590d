"""The section on the reader study: its words follow the tests, and simulated readers are called so everywhere."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.axes import Axes
from small_study import drawn

from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.provenance import PACKAGE
from synthmed.readers.analyse import AnalysisSettings, analyse_readers, pooled
from synthmed.readers.answers import MergeSettings, merge_answers
from synthmed.readers.simulate import SimulationSettings, Skill, simulate_readers
from synthmed.readers.study import Roles
from synthmed.report.sections.reader_study import SECTION, ReaderSectionSettings, section

ROLES = Roles(synthetic="synthetic", diagnosis="diagnosis", certainty="certainty", scores=())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = drawn(tmp_path_factory.mktemp("study"))
    files = {"study": folder / "study.json", "key": folder / "key.zip"}
    answers = [folder / f"{n}.json" for n in range(3)]
    skills = {name: Skill(3.0, 0.0, 1.0) for name in ("ED1", "ED2", "DLE1")}
    simulate_readers(SimulationSettings(skills, 0.0, roles=ROLES, seed=1), **files, answers=answers)
    merge_answers(MergeSettings(), study=files["study"], answers=answers, out=folder / "answers.csv")
    settings = AnalysisSettings(ROLES, ("simulated",), margin=0.05, alpha=0.05, level=0.95)
    analyse_readers(settings, **files, answers=folder / "answers.csv", out=folder / "analysis.json")
    return folder


def written(
    folder, whole=None, study=None, names=("ED1", "ED2", "DLE1"), document=None, tagged=(), labelled=True, **changes
):
    content = whole or read_json(folder / "analysis.json")
    content["pooled"] |= changes
    write_json(folder / "changed.json", content)
    names = {f"SIM00{n}": name for n, name in enumerate(names, 1)}
    out = [folder / "out" / Path(name).name for name in SECTION.files("reader_study")]
    section(
        ReaderSectionSettings(names, {"gan": "GAN"}, "readers/form.html", tagged, labelled),
        analysis=folder / "changed.json",
        study=study or folder / "study.json",
        key=folder / "key.zip",
        document=document,
        section=folder / "out" / "reader_study.json",
        out=out,
    )
    return read_json(folder / "out" / "reader_study.json"), {path.stem.partition(".")[2]: path for path in out}


def test_simulated_readers_are_called_so(folder):
    content, files = written(folder)
    assert "nobody\nhas looked at these images" in content["html"]
    for name in ("confusion", "rates"):
        rows = [row for row in read_csv(files[name]) if row["reader"] != "all"]
        assert [row["reader"] for row in rows] == [f"{one} (simulated)" for one in ("ED1", "ED2", "DLE1")]


@pytest.mark.parametrize(
    ("p", "equivalence_p", "share", "said"),
    [
        (0.001, 0.9, 0.7, "can tell</b> better"),
        (0.4, 0.01, 0.51, "cannot tell"),
        (0.4, 0.4, 0.55, "is not settled"),
        (0.001, 0.9, 0.3, "do worse</b> than guessing"),
    ],
)
def test_the_words_follow_the_tests(folder, p, equivalence_p, share, said):
    balanced = {"value": share, "low": share - 0.1, "high": share + 0.1, "n": 12, "reason": None}
    content, _ = written(folder, p=p, equivalence_p=equivalence_p, balanced_accuracy=balanced)
    assert said in content["html"]


def test_a_set_that_could_not_be_made_is_said_to_be_missing(folder):
    content, _ = written(folder)
    assert "could not be made" not in content["html"]
    write_json(folder / "unmade.json", read_json(folder / "study.json") | {"not_made": {"gan": "none is left"}})
    content, _ = written(folder, study=folder / "unmade.json")
    assert "the set “GAN”, which could not be made: none is left." in content["html"]


def test_readers_who_are_all_right_are_said_to_tell(folder):
    synthetic = np.repeat([True, False], 40)
    settings = AnalysisSettings(ROLES, ("simulated",), margin=0.05, alpha=0.05, level=0.95)
    content, _ = written(folder, **pooled(np.tile(synthetic, (3, 1)), synthetic, np.arange(80), settings))
    assert "can tell</b> better" in content["html"]
    assert "not settled" not in content["html"]


@pytest.mark.parametrize(
    ("synthetic", "test", "lines"), [(6, "guessing, exact binomial.", 2), (8, "Fisher's exact", 0)]
)
def test_the_test_against_guessing_is_named_and_a_half_is_drawn_where_it_is_guessing(
    folder, monkeypatch, synthetic, test, lines
):
    content = read_json(folder / "analysis.json")
    content["synthetic"] = synthetic
    drawn_lines = []
    for line in ("axvline", "axhline"):
        monkeypatch.setattr(Axes, line, lambda self, *place, **style: drawn_lines.append(place))
    found, _ = written(folder, whole=content)
    captions = {entry["name"]: entry["caption"] for entry in found["exhibits"]}
    assert test in captions["reader_study.rates"]
    for figure in ("rates_figure", "certainty"):
        assert ("dashed" in captions[f"reader_study.{figure}"]) == bool(lines)
    assert drawn_lines.count((0.5,)) == lines


def test_of_one_reader_it_is_said_that_the_test_holds_for_him_alone(folder):
    content = read_json(folder / "analysis.json")
    several, _ = written(folder, whole=content)
    content["readers"] = content["readers"][:1]
    for item in content["images"]["items"]:
        item["called"] = min(item["called"], 1)
    one, _ = written(folder, whole=content)
    for found, said in ((several, "readers and images as random"), (one, "holds for him alone")):
        captions = {entry["name"]: entry["caption"] for entry in found["exhibits"]}
        for words in (found["html"], captions["reader_study.rates"], captions["reader_study.tags"]):
            assert said in words
    assert "All together are right" not in several["html"], "a balanced accuracy is no share of the images"


def test_screened_sets_are_drawn_and_the_documents_readers_stand_beside_ours(folder):
    found, _ = written(folder)
    assert not next(one for one in found["exhibits"] if one["name"] == "reader_study.screened")["shown"]
    study = read_json(folder / "study.json")
    images = [{"x": x, "y": -x, "label": "ab"[x % 2], "outlier": x == 3} for x in range(6)]
    one = {"explained": [0.7, 0.2], "images": images, "way": "first", "outliers": 9, "count": 60}
    one |= {"shown": 4, "shown_outliers": 3}
    write_json(folder / "screened.json", study | {"embedded": {"gan": one}})
    found, files = written(
        folder, study=folder / "screened.json", names=("expert_1", "expert_2", "engineer_1"),
        document=PACKAGE / "report" / "references" / "melanoma.yaml",
    )  # fmt: skip
    figure = next(one for one in found["exhibits"] if one["name"] == "reader_study.screened")
    assert figure["shown"]
    assert "of GAN 9 of 60, which come first: 3 of the 4 that readers see are such." in figure["caption"]
    assert [row["reference_tp"] for row in read_csv(files["confusion"])] == ["70", "36", "38"]
    assert [row["reference_accuracy"] for row in read_csv(files["rates"])] == ["0.66", "0.5", "0.44", "0.54"]


@pytest.mark.parametrize(
    ("tagged", "labelled", "said"),
    [
        ((), True, None),
        (("gan",), True, "of real images are as labelled, of synthetic ones as the tagger says"),
        (("gan", "real"), False, "Tags are as the tagger says"),
    ],
)
def test_it_is_said_whose_word_the_tags_are(folder, tagged, labelled, said):
    found, _ = written(folder, tagged=tagged, labelled=labelled)
    caption = next(one["caption"] for one in found["exhibits"] if one["name"] == "reader_study.tags")
    assert said in caption if said else "tagger" not in caption


def test_diagnoses_left_blank_stand_on_the_page(folder):
    content = read_json(folder / "analysis.json")
    missing = {"value": None, "low": None, "high": None, "n": None, "reason": "not every reader answered"}
    content["diagnosis"] |= {"difference": missing, "p": None}
    content["diagnosis"]["real"] |= {"balanced_accuracy": missing, "blank": [0, 3]}
    found, files = written(folder, whole=content)
    words = " ".join(found["html"].split())
    assert "is not computed (not every reader answered). 3 diagnoses were left blank." in words
    assert [row["blank"] for row in read_csv(files["diagnosis"])] == ["0", "3", "0", "0"]
    assert "left blank" not in written(folder)[0]["html"]


def test_tables_hold_the_counts(folder):
    _, files = written(folder)
    found = {row["reader"]: row for row in read_csv(files["confusion"])}
    one = found["ED1 (simulated)"]
    assert int(one["tp"]) + int(one["fn"]) == 8
    assert int(one["fp"]) + int(one["tn"]) == 4
    assert [row["set"] for row in read_csv(files["left_out"])] == ["real", "GAN", "edited"]
    assert all(path.stat().st_size > 0 for path in files.values())


def test_a_class_has_one_colour_in_all_panels_of_screened_sets(monkeypatch, tmp_path):
    """Though the first has not all of them, and another order; and there are more classes than colours."""
    from synthmed.report.charts import reader_study as charts

    drawn = []
    monkeypatch.setattr(charts, "save", lambda figure, path: drawn.append(figure))

    def panel(labels):
        images = [{"x": n, "y": -n, "label": label, "outlier": n == 0} for n, label in enumerate(labels)]
        return {"explained": [0.7, 0.2], "images": images}

    embedded = {"one": panel("ab"), "another": panel("bacdefghij")}
    found = {"drawn": {"embedded": embedded}, "settings": SimpleNamespace(sets={})}
    assert charts.draw_screened(tmp_path / "screened.png", found) is None
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == [*"abcdefghij", "outlier"]
    first, second = ({dots.get_label(): dots for dots in axis.collections} for axis in drawn[0].axes)
    assert len(first["j"].get_offsets()) == 0
    for label in "abcdefghij":
        assert (first[label].get_facecolor() == second[label].get_facecolor()).all()


def items(*certainties):
    """(mean certainty, synthetic) of images, as `analyse-readers` gives them."""
    return [
        {"certainty": value, "synthetic": synthetic, "edited": False, "called": 0} for value, synthetic in certainties
    ]


def test_a_bar_an_image_from_the_least_to_the_most_certain_in_the_colour_of_its_kind(monkeypatch, tmp_path):
    from synthmed.report.charts import reader_study as charts

    drawn = []
    monkeypatch.setattr(charts, "save", lambda figure, path: drawn.append(figure))
    means = items((4.5, True), (None, True), (2.0, False), (3.5, True), (1.25, True), (3.5, False))
    study = {"certainty": {"mean": 2.95, "steps": [{"words": str(n)} for n in range(1, 6)]}, "images": {"items": means}}
    found = {"study": study | {"readers": [{}, {}]}, "simulated": []}
    assert charts.draw_certainty_by_image(tmp_path / "bars.png", found) is None
    (axis,) = drawn[0].axes
    synthetic, real = axis.containers
    assert (synthetic.get_label(), real.get_label()) == ("synthetic", "real")
    bars = [
        sorted((round(bar.get_x() + bar.get_width() / 2), bar.get_height()) for bar in kind)
        for kind in (synthetic, real)
    ]
    assert bars == [[(0, 1.25), (3, 3.5), (4, 4.5)], [(1, 2.0), (2, 3.5)]]
    assert synthetic[0].get_facecolor() != real[0].get_facecolor()
    assert axis.lines[0].get_ydata()[0] == 2.95
    assert "simulated" not in axis.get_ylabel()
    charts.draw_certainty_by_image(tmp_path / "bars.png", found | {"simulated": [{}]})
    assert "1 of 2 readers simulated" in drawn[1].axes[0].get_ylabel()


@pytest.mark.parametrize(
    ("asked", "said"),
    [(False, "No question asks how certain readers are."), (True, "No reader said how certain he is.")],
)
def test_where_nobody_said_how_certain_he_is_that_is_said(folder, asked, said):
    content = read_json(folder / "analysis.json")
    content["certainty"] = content["certainty"] | {"mean": None} if asked else None
    for one in content["images"]["items"]:
        one["certainty"] = None
    found, _ = written(folder, whole=content)
    figure = next(one for one in found["exhibits"] if one["name"] == "reader_study.certainty_by_image")
    assert (figure["shown"], figure["caption"]) == (False, said)


def test_whose_certainty_is_drawn_and_of_how_many_images_it_is_not_known_is_said(folder):
    content = read_json(folder / "analysis.json")
    content["certainty"]["mean"] = 2.954
    for one in content["images"]["items"][:2]:
        one["certainty"] = None
    content["readers"][0]["simulated"] = False
    found, _ = written(folder, whole=content, document=PACKAGE / "report" / "references" / "melanoma.yaml")
    figure = next(one for one in found["exhibits"] if one["name"] == "reader_study.certainty_by_image")
    assert figure["caption"].endswith(
        "(2 of 3 readers are simulated); dashed: of all answers, 2.95. Of 2 images nobody said it. "
        "(The document's Figure 4.15, whose mean is 3.0.)"
    )

"""A reader study from the sets to the numbers: what is drawn, what is refused, and whether known skill is recovered."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats
from small_study import QUESTIONS, SETTINGS, drawn, write_set

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_csv
from synthmed.data.imageset import ImageSet, write_image_set, write_not_made
from synthmed.readers import study as studies
from synthmed.readers.analyse import (
    NOT_ALL,
    AnalysisSettings,
    Answers,
    _diagnosis,
    _reader,
    _tags,
    analyse_readers,
    pooled,
    read_answers,
)
from synthmed.readers.answers import MergeSettings, checksum, merge_answers
from synthmed.readers.simulate import SimulationSettings, Skill, simulate_readers
from synthmed.readers.study import Roles, ShownSet, _drawn, read_study

LABELS = ("benign", "melanoma")
ROLES = Roles(synthetic="synthetic", diagnosis="diagnosis", certainty="certainty", scores=("certainty",))
ANALYSIS = AnalysisSettings(ROLES, ("simulated",), margin=0.1, alpha=0.05, level=0.95)


# -------------------------------------------------------------------------------------------------------------- drawing
def test_counts_are_those_of_the_settings_and_rulers_are_left_out(tmp_path):
    drawn(tmp_path)
    items = ImageSet(tmp_path / "key.zip")
    assert sorted(zip(items.column("set"), items.column("label"), strict=True)) == sorted(
        [(name, label) for name in ("real", "gan", "edited") for label in ("benign", "melanoma")] * 2
    )
    assert set(items.column("ruler")) == {"no"}
    kinds = {row["set"]: (row["synthetic"], row["edited"]) for row in items.rows}
    assert kinds == {"real": ("no", "no"), "gan": ("yes", "no"), "edited": ("yes", "yes")}
    assert read_json(tmp_path / "study.json")["left_out"]["gan"] == {"ruler": 2}
    for row, pixels in zip(items.rows, items.pixels, strict=True):
        source = ImageSet(tmp_path / f"{row['set']}.zip")
        assert (source[source.column("image").index(row["name"])] == pixels).all()


def test_the_order_tells_nothing_and_follows_from_the_seed(tmp_path):
    drawn(tmp_path)
    first = ImageSet(tmp_path / "key.zip").column("set")
    identity = read_study(tmp_path / "study.json").identity
    assert first != sorted(first)
    drawn(tmp_path)
    assert read_study(tmp_path / "study.json").identity == identity
    drawn(tmp_path, dataclasses.replace(SETTINGS, seed=2))
    assert read_study(tmp_path / "study.json").identity != identity


def test_questions_keep_their_order(tmp_path):
    drawn(tmp_path)
    assert list(read_study(tmp_path / "study.json").questions) == list(QUESTIONS)


def test_too_few_images_are_refused(tmp_path):
    three = {**SETTINGS.sets, "gan": ShownSet({"melanoma": 4}, True, False)}
    with pytest.raises(InputError, match=r"3 images of 'melanoma' may be shown, but sets\.gan\.counts asks for 4"):
        drawn(tmp_path, dataclasses.replace(SETTINGS, sets=three))


def test_a_set_that_could_not_be_made_is_not_shown_and_that_is_said(tmp_path):
    """Its tags are in no table then; the other images are those that are drawn anyway."""
    write_not_made(tmp_path / "edited.zip", "none is left")
    tags = [{"set": "gan", "image": f"gan_{label}_{n}.png", "ink": "no"} for label in LABELS for n in range(4)]
    write_csv(tmp_path / "tags.csv", tags, ["set", "image", "ink"])
    asked = dataclasses.replace(SETTINGS, tagged={"gan": "gan", "edited": "edited"})
    drawn(tmp_path, asked, tags=tmp_path / "tags.csv")
    study = read_json(tmp_path / "study.json")
    assert study["not_made"] == {"edited": "none is left"}
    assert list(study["left_out"]) == ["real", "gan"]
    assert sorted(ImageSet(tmp_path / "key.zip").column("set")) == ["gan"] * 4 + ["real"] * 4
    write_not_made(tmp_path / "gan.zip", "nor here")
    with pytest.raises(InputError, match=r"no synthetic set is left to ask about .*nor here"):
        drawn(tmp_path)


def test_examples_are_of_nobody_who_is_asked_about(tmp_path):
    write_set(tmp_path / "train.zip", "real", 4, ruler=1)  # the very images of the items
    drawn(tmp_path)
    shown = set(ImageSet(tmp_path / "key.zip").column("patient"))
    assert not shown & set(ImageSet(tmp_path / "examples.zip").column("patient"))
    with pytest.raises(InputError, match="ask for fewer"):
        drawn(tmp_path, dataclasses.replace(SETTINGS, examples=3))


def features(path, image_set, values):
    rows = ImageSet(image_set).rows
    columns = {
        name: np.array([row[key] for row in rows])
        for name, key in (("names", "image"), ("labels", "label"), ("patients", "patient"))
    }
    np.savez(path, **columns, draw=np.zeros(len(rows), int), features=np.float32(values), extractor=np.array("toy"))
    return path


@pytest.mark.parametrize(("way", "shown"), [("out", 0), ("first", 1), ("as_is", None)])
def test_images_that_lie_with_the_other_class(tmp_path, way, shown):
    drawn(tmp_path)
    real = features(
        tmp_path / "r.npz", tmp_path / "train.zip", [[n % 2, n] for n in range(4)] + [[9 + n % 2, n] for n in range(4)]
    )
    # The second benign image of gan lies with the melanomas.
    gan = features(tmp_path / "g.npz", tmp_path / "gan.zip", [[0, 1], [9, 1], [0, 1], [0, 1]] + [[9, 1]] * 4)
    screened = dataclasses.replace(SETTINGS, screened={"gan": way})
    drawn(tmp_path, screened, features=[gan], real_features=real)
    study, items = read_json(tmp_path / "study.json"), ImageSet(tmp_path / "key.zip").rows
    assert study["left_out"]["gan"] == {"ruler": 2} | ({"outliers": 1} if way == "out" else {})
    embedded, marked = study["embedded"]["gan"], {row["name"]: row["outlier"] for row in items if row["set"] == "gan"}
    assert marked == {name: ("no", "yes")[name == "gan_benign_1.png"] for name in marked}
    assert {row["outlier"] for row in items if row["set"] != "gan"} == {""}
    assert (embedded["way"], embedded["outliers"], embedded["count"], embedded["shown"]) == (way, 1, 8, 4)
    assert embedded["shown_outliers"] == list(marked.values()).count("yes")
    if shown is not None:
        assert embedded["shown_outliers"] == shown
    assert [image["outlier"] for image in embedded["images"]] == [False, True] + [False] * 6
    assert {image["label"] for image in embedded["images"]} == {"benign", "melanoma"}
    assert sum(embedded["explained"]) == pytest.approx(1), "two features"
    assert embedded["images"][1]["x"] == embedded["images"][-1]["x"], "which lies with the melanomas"
    assert "name" not in embedded["images"][0]


def test_outliers_are_looked_for_in_synthetic_sets_that_are_embedded(tmp_path):
    with pytest.raises(InputError, match="give one each"):
        drawn(tmp_path, dataclasses.replace(SETTINGS, screened={"gan": "out"}))
    with pytest.raises(InputError, match="no synthetic one"):
        dataclasses.replace(SETTINGS, screened={"real": "out"})


def test_outliers_come_first_as_far_as_there_are_any(tmp_path):
    rows = [{"label": label, "outlier": ("no", "yes")[n < 2]} for label in ("benign", "melanoma") for n in range(6)]
    sets = {"gan": ShownSet({"benign": 1, "melanoma": 4}, True, False)}
    asked = dataclasses.replace(SETTINGS, sets=sets, screened={"gan": "first"}, skip=())
    for seed in range(9):
        places, left_out = _drawn(asked, "gan", rows, tmp_path, np.random.default_rng(seed))
        assert left_out == {}
        assert places[0] in (0, 1)
        assert {6, 7} < set(places[1:]) <= set(range(6, 12))
        assert len(set(places)) == 5


def tagged(path, **sets):
    """A table of tags: of each set the images with a ruler; all others have none, and nobody has hair."""
    rows = [
        {"set": name, "image": f"{of}_{label}_{n}.png", "ruler": ("no", "yes")[n in with_it], "hair": "no"}
        for name, (of, with_it) in sets.items()
        for label in ("benign", "melanoma")
        for n in range(4)
    ]
    write_csv(path, rows, ["set", "image", "ruler", "hair"])
    return path


def test_tags_of_a_table_stand_for_those_of_the_sets(tmp_path):
    """Generated images have no column of their own; what the tagger sees on them is left out as on real ones."""
    drawn(tmp_path)
    table = tagged(tmp_path / "tags.csv", samples=("gan", (1, 2)), test=("real", (3,)))
    asked = dataclasses.replace(SETTINGS, tagged={"gan": "samples", "real": "test"})
    drawn(tmp_path, asked, tags=table)
    items = ImageSet(tmp_path / "key.zip").rows
    assert {row["name"][-5] for row in items if row["set"] == "gan"} == {"0", "3"}
    assert {row["name"][-5] for row in items if row["set"] == "real"} <= {"0", "1", "2"}
    assert {row["hair"] for row in items if row["set"] in ("gan", "real")} == {"no"}
    assert {row["hair"] for row in items if row["set"] == "edited"} <= {"yes", "no"}, "as the set has it"
    left_out = read_json(tmp_path / "study.json")["left_out"]
    assert (left_out["gan"], left_out["real"]) == ({"ruler": 4}, {"ruler": 2})


def test_what_shall_be_left_out_must_be_known(tmp_path):
    drawn(tmp_path)
    table = tagged(tmp_path / "tags.csv", samples=("gan", ()))
    with pytest.raises(InputError, match=r"real.zip: has no column 'ink', and no tag.*take ink out of skip"):
        drawn(tmp_path, dataclasses.replace(SETTINGS, skip=("ink",)))
    with pytest.raises(InputError, match="give both or neither"):
        drawn(tmp_path, dataclasses.replace(SETTINGS, tagged={"gan": "samples"}))
    with pytest.raises(InputError, match="give both or neither"):
        drawn(tmp_path, tags=table)
    with pytest.raises(InputError, match="no image of 'others' is tagged"):
        drawn(tmp_path, dataclasses.replace(SETTINGS, tagged={"gan": "others"}), tags=table)


def test_of_many_screened_images_every_so_many_th_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "EMBEDDED", 4)
    drawn(tmp_path)
    real = features(tmp_path / "r.npz", tmp_path / "train.zip", [[n, n % 2] for n in range(8)])
    gan = features(tmp_path / "g.npz", tmp_path / "gan.zip", [[n, n % 2] for n in range(8)])
    drawn(tmp_path, dataclasses.replace(SETTINGS, screened={"gan": "first"}), features=[gan], real_features=real)
    embedded = read_json(tmp_path / "study.json")["embedded"]["gan"]["images"]
    assert [image["label"] for image in embedded] == ["benign"] * 2 + ["melanoma"] * 2


# -------------------------------------------------------------------------------------------------------------- answers
def simulated(folder, skills, shared=0.0):
    paths = [folder / f"reader_{n}.json" for n in range(len(skills))]
    settings = SimulationSettings({str(n): one for n, one in enumerate(skills)}, shared, roles=ROLES, seed=5)
    simulate_readers(settings, study=folder / "study.json", key=folder / "key.zip", answers=paths)
    return paths


def merge(folder, paths):
    merge_answers(MergeSettings(), study=folder / "study.json", answers=paths, out=folder / "merged.csv")
    return read_csv(folder / "merged.csv")


def changed(path, change, *, seal=True):
    """A copy of saved answers with `change(content)` done to it; seal: with a checksum that fits again."""
    content = json.loads(path.read_text())
    change(content)
    if seal:
        content["checksum"] = checksum(content, content["answers"], tuple(QUESTIONS))
    copy = path.with_name("changed.json")
    copy.write_text(json.dumps(content))
    return copy


@pytest.fixture
def study(tmp_path):
    drawn(tmp_path)
    simulated(tmp_path, [Skill(1.0, 0.0, 1.0), Skill(1.0, 0.0, 1.0)])
    return tmp_path


def one_less(content):
    content["answers"].pop()


def twice(content):
    content["answers"].append(content["answers"][0])


def unanswered(content):
    content["answers"][0]["synthetic"] = ""


def strange(content):
    content["answers"][0]["diagnosis"] = "wart"


def other_study(content):
    content["study"] = "0" * 16


def strange_background(content):
    content.update(simulated="no", background="king")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (one_less, "1 images are not answered"),
        (twice, "1 images are answered twice"),
        (unanswered, "1 images have no answer to 'synthetic'"),
        (strange, "unknown answer to 'diagnosis' .'wart'."),
        (other_study, "answers of another study"),
        (strange_background, "background 'king'"),
    ],
)
def test_what_is_wrong_with_answers_is_said(study, change, said):
    before = {path: path.read_bytes() for path in study.iterdir()}
    with pytest.raises(InputError, match=said):
        merge(study, [changed(study / "reader_0.json", change)])
    assert all(path.read_bytes() == content for path, content in before.items())


def test_answers_changed_by_hand_are_refused(study):
    def flipped(content):
        row = content["answers"][3]
        row["synthetic"] = {"synthetic": "real", "real": "synthetic"}[row["synthetic"]]

    with pytest.raises(InputError, match="changed after the form saved it"):
        merge(study, [changed(study / "reader_0.json", flipped, seal=False)])
    with pytest.raises(InputError, match="no saved answers"):
        merge(study, [study / "study.json"])


def test_a_row_that_lacks_a_cell_is_named(study):
    def lacking(content):
        del content["answers"][4]["seconds"]

    with pytest.raises(InputError, match=r"changed\.json: no 'seconds' in it; give the file as the form saved it"):
        merge(study, [changed(study / "reader_0.json", lacking, seal=False)])


def test_all_faults_of_all_files_are_named_at_once(study):
    first = changed(study / "reader_0.json", one_less)
    first = first.rename(study / "first.json")
    with pytest.raises(InputError, match=r"first.json.*not answered.*changed.json.*answered twice"):
        merge(study, [first, changed(study / "reader_1.json", twice)])


def test_one_reader_may_not_answer_twice(study):
    def other(content):
        row = content["answers"][0]
        row["synthetic"] = {"synthetic": "real", "real": "synthetic"}[row["synthetic"]]

    with pytest.raises(InputError, match="other answers of the reader SIM001"):
        merge(study, [study / "reader_0.json", changed(study / "reader_0.json", other)])
    same = changed(study / "reader_0.json", lambda content: content.update(code="OTHER1"))
    with pytest.raises(InputError, match="the same person twice"):
        merge(study, [study / "reader_0.json", same])
    assert len(merge(study, [study / "reader_0.json", study / "reader_0.json"])) == 12


# ------------------------------------------------------------------------------------------------------------- analysis
@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Four hundred images, half of them synthetic."""
    folder = tmp_path_factory.mktemp("large")
    for name in ("real", "gan", "train"):
        write_set(folder / f"{name}.zip", name, 110, size=4)
    counts = {"benign": 100, "melanoma": 100}
    sets = {"real": ShownSet(counts, False, False), "gan": ShownSet(counts, True, False)}
    return drawn(folder, dataclasses.replace(SETTINGS, sets=sets, skip=()))


def analysed(folder, skills, shared=0.0, settings=ANALYSIS):
    merge(folder, simulated(folder, skills, shared))
    analyse_readers(
        settings,
        study=folder / "study.json",
        key=folder / "key.zip",
        answers=folder / "merged.csv",
        out=folder / "out.json",
    )
    return read_json(folder / "out.json")


def test_known_skill_is_recovered(large):
    skills = [Skill(d_prime, bias, 1.0) for d_prime, bias in ((0.0, 0.5), (1.0, 0.0), (2.0, -0.3)) for _ in range(8)]
    found = analysed(large, skills)
    for place in range(0, 24, 8):
        readers, skill = found["readers"][place : place + 8], skills[place]
        assert np.mean([one["d_prime"]["value"] for one in readers]) == pytest.approx(skill.d_prime, abs=0.15)
        assert np.mean([one["bias"] for one in readers]) == pytest.approx(skill.bias, abs=0.07)
        hit = stats.norm.cdf(skill.d_prime / 2 - skill.bias)
        assert np.mean([one["sensitivity"]["value"] for one in readers]) == pytest.approx(hit, abs=0.04)
    covered = [
        one["d_prime"]["low"] < skill.d_prime < one["d_prime"]["high"]
        for one, skill in zip(found["readers"], skills, strict=True)
    ]
    assert sum(covered) >= 21  # of 24, at 95 %
    for one in found["readers"]:
        assert one["simulated"]
        assert one["code"].startswith("SIM")
        assert one["background"] == "simulated"
    counts = found["readers"][8]["confusion"]
    assert sum(counts.values()) == 400
    assert counts["tp"] + counts["fn"] == 200
    assert all(one["p"] < 0.05 for one in found["readers"][16:])
    assert found["diagnosis"]["real"]["balanced_accuracy"]["value"] == pytest.approx(stats.norm.cdf(0.5), abs=0.03)
    assert found["certainty"]["area"]["low"] > 0.5
    means = [one["certainty"] for one in found["images"]["items"]]
    assert np.mean(means) == pytest.approx(found["certainty"]["mean"]), "all were certain of all images"


def test_readers_who_guess_are_said_not_to_tell_only_with_enough_power(large):
    found = analysed(large, [Skill(0.0, 0.0, None)] * 4)["pooled"]
    assert found["equivalence_p"] < 0.05 < found["p"]
    assert found["power"] > 0.9
    few = analysed(large, [Skill(0.0, 0.0, None)] * 4, settings=dataclasses.replace(ANALYSIS, margin=0.02))["pooled"]
    assert few["power"] < 0.5
    assert few["equivalence_p"] > found["equivalence_p"]


def test_the_pooled_test_holds_its_level_where_readers_share_what_is_hard():
    # Guessing readers who find the same images suspicious: a binomial test of all answers would be wrong far too often.
    rng, synthetic, patients = np.random.default_rng(4), np.repeat([True, False], 40), np.arange(80)
    tests, naive = [], []
    for _ in range(200):
        evidence = np.sqrt(0.6) * rng.standard_normal(80) + np.sqrt(0.4) * rng.standard_normal((4, 80))
        called = evidence > 0
        tests.append(pooled(called, synthetic, patients, ANALYSIS)["p"])
        naive.append(stats.binomtest(int((called == synthetic).sum()), 320).pvalue)
    assert 0.02 < np.mean(np.array(tests) < 0.05) < 0.08
    assert np.mean(np.array(naive) < 0.05) > 0.12


def test_readers_who_are_all_right_can_tell():
    """Nothing spreads then, and the sign test over patients tells."""
    synthetic, patients = np.repeat([True, False], 40), np.arange(80)
    right = pooled(np.tile(synthetic, (3, 1)), synthetic, patients, ANALYSIS)
    assert right["balanced_accuracy"]["value"] == 1
    assert right["p"] < 0.001
    wrong = pooled(np.tile(~synthetic, (3, 1)), synthetic, patients, ANALYSIS)
    assert (wrong["balanced_accuracy"]["value"], wrong["p"]) == (0, right["p"])
    real = pooled(np.zeros((3, 80), bool), synthetic, patients, ANALYSIS)
    assert (real["balanced_accuracy"]["value"], real["p"]) == (0.5, 1)


@pytest.mark.parametrize(
    ("synthetic", "tp", "fp", "p"),
    [
        (30, 30, 10, 1.0),
        (20, 20, 20, 1.0),
        (20, 14, 8, stats.binomtest(26, 40).pvalue),
        (30, 24, 3, stats.fisher_exact([[24, 6], [3, 7]])[1]),
    ],
)
def test_a_reader_who_always_says_the_more_frequent_kind_tells_nothing(synthetic, tp, fp, p):
    """Of 40 images, thirty of which are synthetic, he is right in three quarters."""
    truth = np.arange(40) < synthetic
    called = (np.arange(40) < tp) | ((np.arange(40) >= synthetic) & (np.arange(40) < synthetic + fp))
    rows = [{"image": f"{n}.png", "synthetic": "yes" if one else "no"} for n, one in enumerate(truth)]
    found = _reader(ANALYSIS, Answers([("A", "lay", False, "")], {}, rows), called, 0)
    assert found["confusion"] == {"tp": tp, "fp": fp, "fn": synthetic - tp, "tn": 40 - synthetic - fp}
    assert found["p"] == pytest.approx(p)


def test_swapping_real_and_synthetic_turns_the_rates_round():
    rng, synthetic = np.random.default_rng(5), np.repeat([True, False], [60, 40])
    called = rng.random((3, 100)) < np.where(synthetic, 0.8, 0.3)
    ours = pooled(called, synthetic, np.arange(100), ANALYSIS)
    theirs = pooled(~called, ~synthetic, np.arange(100), ANALYSIS)
    assert ours["sensitivity"]["value"] == pytest.approx(called[:, synthetic].mean())
    assert ours["sensitivity"] == theirs["specificity"]
    assert ours["d_prime"] > 0


def test_a_tag_that_drives_the_answer_is_found(large):
    rows = ImageSet(large / "key.zip").rows
    hair = np.array([row["hair"] == "yes" for row in rows])
    rng = np.random.default_rng(6)
    called = rng.random((3, 400)) < 0.3 + 0.4 * hair
    (found,) = [tag for tag in _tags(Answers([], {}, rows), called, 0.95) if tag["tag"] == "hair"]
    assert found["difference"]["value"] == pytest.approx(0.4, abs=0.08)
    assert found["p"] < 0.001


def test_of_a_tag_that_not_all_images_have_those_count_that_have_it(large):
    """What nobody looked at on real images drives the answer to synthetic ones; others have no say in it."""
    rows = [row | {"ink": row["hair"] if row["synthetic"] == "yes" else ""} for row in ImageSet(large / "key.zip").rows]
    ink, synthetic = (np.array([row[name] == "yes" for row in rows]) for name in ("ink", "synthetic"))
    called = np.random.default_rng(6).random((3, len(rows))) < np.where(synthetic, 0.3 + 0.4 * ink, 0.9)
    (found,) = [tag for tag in _tags(Answers([], {}, rows), called, 0.95) if tag["tag"] == "ink"]
    assert (found["images"], found["known"]) == (ink.sum(), synthetic.sum())
    assert found["difference"]["value"] == pytest.approx(0.4, abs=0.1)
    assert found["p"] < 0.05


def test_images_are_counted_by_how_many_called_them_synthetic(large):
    found = analysed(large, [Skill(9.0, 0.0, 0.0)] * 3)["images"]["items"]
    assert all(row["called"] == (3 if row["synthetic"] else 0) for row in found)


def test_the_certainty_of_an_image_is_the_mean_of_those_who_said_it(study):
    """Of six images by hand; the others have nobody's word."""
    said = ["15", "22", "3 ", " 4", "55", "1 "]
    means, answers = [3.0, 2.0, 3.0, 4.0, 5.0, 1.0], []
    order = [row["image"][:-4] for row in ImageSet(study / "key.zip").rows]
    for reader in range(2):
        given = {item: two[reader].strip() for item, two in zip(order, said, strict=False)}

        def say(content, given=given):
            for row in content["answers"]:
                row["certainty"] = given.get(row["item"], "")

        path = changed(study / f"reader_{reader}.json", say)
        answers.append(path.rename(study / f"said_{reader}.json"))
    merge(study, answers)
    files = {"study": study / "study.json", "key": study / "key.zip", "answers": study / "merged.csv"}
    scored = dataclasses.replace(ANALYSIS, roles=dataclasses.replace(ROLES, scores=()))
    analyse_readers(scored, **files, out=study / "out.json")
    found = read_json(study / "out.json")
    assert [one["certainty"] for one in found["images"]["items"]] == means + [None] * 6
    assert found["certainty"]["mean"] == 28 / 9  # of all answers, not of the images
    assert [step["right"]["n"] for step in found["certainty"]["steps"]] == [2, 2, 1, 1, 3]
    unasked = dataclasses.replace(scored, roles=dataclasses.replace(scored.roles, certainty=None))
    analyse_readers(unasked, **files, out=study / "out.json")
    assert {one["certainty"] for one in read_json(study / "out.json")["images"]["items"]} == {None}


def test_questions_and_roles_must_fit(study):
    with pytest.raises(InputError, match="roles name 'sure'"):
        dataclasses.replace(ROLES, certainty="sure").check(read_study(study / "study.json"))
    with pytest.raises(InputError, match="whose answers are no numbers"):
        dataclasses.replace(ROLES, scores=("diagnosis",)).check(read_study(study / "study.json"))
    with pytest.raises(InputError, match="a column of the answers"):
        dataclasses.replace(SETTINGS, questions={"item": QUESTIONS["synthetic"]})


def test_what_readers_wrote_is_taken_by_its_word(study):
    """The form writes `synthetic` for an image that a reader takes for synthetic, whatever a simulation says."""
    synthetic = {row["image"][:-4]: row["synthetic"] for row in ImageSet(study / "key.zip").rows}

    def all_right(content):
        for row in content["answers"]:
            row["synthetic"] = {"yes": "synthetic", "no": "real"}[synthetic[row["item"]]]

    merge(study, [changed(study / "reader_0.json", all_right)])
    files = {"study": study / "study.json", "key": study / "key.zip", "answers": study / "merged.csv"}
    analyse_readers(ANALYSIS, **files, out=study / "out.json")
    (found,) = read_json(study / "out.json")["readers"]
    assert found["confusion"] == {"tp": 8, "fp": 0, "fn": 0, "tn": 4}


def test_the_diagnosis_is_compared_between_real_and_synthetic_images(study):
    def of_synthetic_all_wrong(content):
        labels = {row["image"][:-4]: (row["label"], row["synthetic"]) for row in ImageSet(study / "key.zip").rows}
        other = {"benign": "melanoma", "melanoma": "benign"}
        for row in content["answers"]:
            label, synthetic = labels[row["item"]]
            row["diagnosis"] = other[label] if synthetic == "yes" else label

    merge(study, [changed(study / "reader_0.json", of_synthetic_all_wrong)])
    analyse_readers(
        ANALYSIS,
        study=study / "study.json",
        key=study / "key.zip",
        answers=study / "merged.csv",
        out=study / "out.json",
    )
    found = read_json(study / "out.json")["diagnosis"]
    assert found["real"]["confusion"] == [[2, 0], [0, 2]]
    assert found["synthetic"]["confusion"] == [[0, 4], [4, 0]]
    assert found["difference"]["value"] == -1.0


def test_diagnoses_left_blank_are_counted_and_not_taken_for_wrong(study):
    merge(study, [study / "reader_0.json", study / "reader_1.json"])
    asked = read_study(study / "study.json")
    answers = read_answers(study / "merged.csv", asked, study / "key.zip")
    whole = _diagnosis(ANALYSIS, asked, answers)
    assert whole["real"]["blank"] == whole["synthetic"]["blank"] == [0, 0]
    real = [place for place, row in enumerate(answers.items) if row["synthetic"] == "no" and row["label"] == "melanoma"]
    answers.given["diagnosis"][:, real[0]] = ""
    found = _diagnosis(ANALYSIS, asked, answers)
    assert found["real"]["blank"] == [0, 2]
    assert sum(map(sum, found["real"]["confusion"])) == sum(map(sum, whole["real"]["confusion"])) - 2
    assert found["real"]["balanced_accuracy"]["reason"] == found["difference"]["reason"] == NOT_ALL
    assert found["real"]["balanced_accuracy"]["value"] is found["difference"]["value"] is found["p"] is None
    assert found["synthetic"] == whole["synthetic"]


def test_a_set_that_says_which_images_were_edited_is_believed(tmp_path):
    """Not every code of a set with edited images needed a change."""
    write_set(tmp_path / "edited.zip", "edited", 4)
    rows = [(row | {"edited": "yes" if row["label"] == "melanoma" else "no"}, *rest)
            for row, *rest in ImageSet(tmp_path / "edited.zip").entries()]  # fmt: skip
    write_image_set(tmp_path / "edited.zip", rows)
    drawn(tmp_path)
    found = {(row["set"], row["label"], row["edited"]) for row in ImageSet(tmp_path / "key.zip").rows}
    assert {(label, edited) for name, label, edited in found if name == "edited"} == {
        ("benign", "no"),
        ("melanoma", "yes"),
    }
    assert {edited for name, _, edited in found if name != "edited"} == {"no"}

"""The whole report of made-up results: complete, and it says what the files say."""

import re

import numpy as np
import pytest
from fabricated_results import ARMS, GENERATORS, NONE_FOUND, OUTCOMES, verdicts
from pages import results, write_page, write_sections

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.provenance import PACKAGE
from synthmed.metrics.effects import real_fidelity
from synthmed.metrics.estimate import Estimate
from synthmed.report.results import GeneratorEntry, read_result, read_task

SIZES = {"sizes": ["32×48"], "image_shape": [1, 16, 16]}
"""What a summary says more where masks are judged."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return results(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def made(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    return write_page(folder, inputs), folder


def changed(inputs, folder, name, change):
    content = read_json(inputs[name])
    change(content)
    write_json(folder / f"{name}.json", content)
    return inputs | {name: folder / f"{name}.json"}


def words_of(inputs, folder, section):
    (path,) = write_sections(folder, inputs, only=[section], draw=False).values()
    return " ".join(re.sub(r"<[^>]+>", " ", read_json(path)["html"]).split())


def rows_of(folder, name):
    return read_csv(folder / "tables" / f"{name}.csv")


def numbers(html, kind):
    return [int(number) for number in re.findall(rf"<b>{kind} (\d+)\.</b>", html)]


def test_the_page_is_whole_and_numbered_in_order(made):
    html, _ = made
    for kind in ("Table", "Figure"):
        assert numbers(html, kind) == list(range(1, len(numbers(html, kind)) + 1))
        assert len(numbers(html, kind)) > 5
    keys = re.findall(r'<section id="([\w.]+)">', html)
    assert keys == [
        *("question", "answer.classification", "data", "methods", "quality", "task.classification", "sharing"),
        *("trust.classification", "limits", "provenance"),
    ]
    assert re.findall(r'<a href="#([\w.]+)">', html) == keys
    assert '<a class="skip" href="#answer.classification">' in html
    assert "the curves behind the numbers" in html
    assert "http" not in re.sub(r"data:image/png;base64,[\w+/=]+", "", html)
    text = re.sub(r"data:image/png;base64,[\w+/=]+", "", html).replace("None has a meaning alone", "")
    assert not re.findall(r"\bnan\b|\bNone\b|⟦|Undefined", text)


def test_equal_results_give_equal_bytes(inputs, made, tmp_path):
    assert write_page(tmp_path, inputs) == made[0]
    for path in made[1].glob("*/*.*"):
        if path.parent.name in ("tables", "figures"):
            assert (tmp_path / path.parent.name / path.name).read_bytes() == path.read_bytes(), path.name


def test_values_come_from_the_files_and_not_from_the_document(made, inputs):
    result = next(found for found in map(read_json, inputs["fidelity"]) if found["generator"] == "fastgan")
    rows = rows_of(made[1], "quality.fidelity_by_class")
    row = next(row for row in rows if (row["generator"], row["label"]) == ("FastGAN", "abnormal"))
    assert float(row["fid"]) == result["groups"]["abnormal"]["fid"]["value"]
    assert float(row["floor_fid"]) == result["floor"]["abnormal"]["fid"]["value"]
    assert float(row["matched_fid"]) == result["matched"]["abnormal"]["fid"]["value"]
    assert (row["reference_FID"] if "reference_FID" in row else row["reference_fid"]) == "143.91"
    missing = next(row for row in rows if row["label"] == "normal")
    assert missing["recall"] == ""
    assert "needs at least 12 patients" in missing["note"]
    by_field = {(row["receptive_field"], row["label"]): row["reference_fid"] for row in rows if row["receptive_field"]}
    assert (by_field["22", "abnormal"], by_field["46", "normal"], by_field["10", "all"]) == ("114.94", "136.55", "")


def test_arms_carry_the_documents_numbers_by_generator_only(made):
    rows = {row["arm"]: row for row in rows_of(made[1], "answer.classification.arms")}
    reference = {arm: row["reference_accuracy"] for arm, row in rows.items()}
    assert (reference["Real only"], reference["Real + CycleGAN 22"]) == ("0.76", "0.8")
    assert not any(
        reference[arm] for arm in ("Real + DCGAN", "Real + oracle", "FastGAN only", "Real + duplicated real")
    )
    assert not any("×" in arm for arm in rows)  # the sweep has its own table
    assert rows["Real + DCGAN"]["label_fidelity"]
    assert rows["Real + oracle"]["label_fidelity"] == ""
    assert rows["Real + classic augmentation"]["budget_limited"] == "yes"


def test_the_sweep_begins_with_the_real_arm_and_the_grid_marks_its_choice(made):
    rows = rows_of(made[1], "task.classification.shares")
    assert rows[0]["arm"] == "Real only"
    assert {row["generator"] for row in rows} == {"FastGAN"}
    shares = [float(row["synthetic_share"]) for row in rows]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    grid = rows_of(made[1], "task.classification.grid")
    assert [row["selected"] for row in grid].count("yes") == 1
    accuracies = [float(row["accuracy"]) for row in grid]
    assert accuracies == sorted(accuracies, reverse=True)
    assert {row["reference_accuracy"] for row in grid} == {"0.9", "0.89"}


def test_the_headline_speaks_of_this_training_unless_there_were_several(inputs, tmp_path):
    said = words_of(inputs, tmp_path, "answer.classification")
    assert "of these trainings of 5 generators" in said
    assert "Real + this training of FastGAN" in said
    assert "another one of the same generator may do better or worse" in said

    def several(content):
        for arm in content["arms"].values():
            arm["trainings"] = 3

    said = words_of(changed(inputs, tmp_path, "verdicts", several), tmp_path, "answer.classification")
    assert "this training" not in said
    assert "these trainings" not in said
    assert "another one" not in said


def with_generators(inputs, **changes):
    """inputs, with other entries of some generators."""
    return inputs | {"generators": {name: entry | changes.get(name, {}) for name, entry in GENERATORS.items()}}


def test_sets_of_one_training_are_one_generator(inputs, tmp_path):
    of_two = {"cyclegan_22": "cyclegan_46", "cyclegan_10": "cyclegan_46", "fastgan": "dcgan"}
    given = with_generators(inputs, **{name: {"of": of} for name, of in of_two.items()})
    assert "for 1 of the 5 sets of these trainings of 2 generators" in words_of(
        given, tmp_path, "answer.classification"
    )
    given = with_generators(inputs, **{name: {"of": "dcgan"} for name in GENERATORS})
    said = words_of(given, tmp_path, "answer.classification")
    assert "for 1 of the 5 sets of this training of DCGAN" in said
    assert "One training was judged" in said


def test_of_images_made_elsewhere_nobody_knows_how_many_trainings_made_them(inputs, tmp_path):
    given = with_generators(inputs, dcgan={"model": "external"})
    said = words_of(given, tmp_path, "answer.classification")
    assert "of 5 generators" in said
    assert "these trainings" not in said
    assert "One training of FastGAN, CycleGAN 46, CycleGAN 22 and CycleGAN 10 was judged" in said
    assert "How many trainings made the images of DCGAN is not known" in said
    said = words_of(changed(given, tmp_path, "verdicts", decided("dcgan", "helps")), tmp_path, "answer.classification")
    assert "was judged" not in said


def test_titles_are_escaped_once(inputs, tmp_path):
    given = with_generators(inputs, dcgan={"title": "A & B"}, cyclegan_46={"title": "C & D"})
    (path,) = write_sections(tmp_path, given, only=["answer.classification"], draw=False).values()
    html = read_json(path)["html"]
    assert "A &amp; B" in html
    assert "C &amp; D" in html
    assert "&amp;amp;" not in html


def test_captions_say_what_the_interval_is_not(inputs, tmp_path):
    said = words_of(inputs, tmp_path, "answer.classification")
    assert "adjusted over the arms that answer the same question (Holm); the interval is not" in said
    assert "may leave out 0 where the word is “no evidence of a difference”." in said


def test_only_where_it_is_so_the_test_images_are_the_same(inputs, made, tmp_path):
    assert "compared on real test images" in made[0]
    same = "Every training set, tested on the same images"
    assert same in words_of(inputs, tmp_path, "answer.classification")
    given = changed(inputs, tmp_path, "verdicts", lambda content: content.update(swap="dcgan"))
    assert same not in words_of(given, tmp_path, "answer.classification")


def test_the_sweep_shows_the_main_set_without_real_images_and_says_so(inputs, tmp_path, monkeypatch):
    from synthmed.report.charts import task

    def half_as_many(content):
        content["arms"]["only_fastgan_x0.5"] = content["arms"]["only_fastgan"] | {"n_train": 120}

    shown = []
    monkeypatch.setattr(task, "draw_sweep", lambda path, task, curves: shown.append(curves))
    monkeypatch.setattr(task, "save", lambda figure, path: task.plt.close(figure))
    given = changed(inputs, tmp_path, "verdicts", half_as_many)
    write_sections(tmp_path, given, only=["task.classification"])
    assert [arm["name"] for arm in shown[0]["FastGAN"]][-2:] == ["fastgan_x2", "only_fastgan"]
    circle = "open circle: generated images alone"
    assert circle in words_of(given, tmp_path, "task.classification")
    without = changed(inputs, tmp_path, "verdicts", lambda content: content["arms"].pop("only_fastgan"))
    assert circle not in words_of(without, tmp_path, "task.classification")


def test_label_fidelity_is_held_against_that_of_real_images_of_the_same_classes(inputs, tmp_path):
    """Below 0.8 of it, every class weighing as in the set; and labels that a classifier gave were not asked for."""

    def measured(**seen):
        """Generator → share of its images that show what they claim, and how many are of each class. The models know
        the two classes of real images in 0.9 and 0.5 of cases."""

        def change(content):
            tests = content["arms"]["real"]["tests"]
            tests["test"] = tests["test"] | {
                "recall": {"normal": Estimate(0.9, n=150).to_json(), "abnormal": Estimate(0.5, n=10).to_json()}
            }
            for name, (value, *counts) in seen.items():
                recall = {
                    label: (Estimate(value, n=n) if n else Estimate.missing("the set has no such image", 0)).to_json()
                    for label, n in zip(("normal", "abnormal"), counts, strict=True)
                }
                outcomes = tests[name]["outcomes"] | {"accuracy": Estimate(value, n=sum(counts)).to_json()}
                tests[name] = tests[name] | {"outcomes": outcomes, "recall": recall}

        return change

    def said(inputs, **changes):
        given = changed(inputs, tmp_path, "verdicts", measured(**seen | changes))
        return words_of(given, tmp_path, "answer.classification")

    seen = {"dcgan": (0.45, 0, 60), "fastgan": (0.45, 90, 30)} | dict.fromkeys(list(GENERATORS)[2:], (0.7, 30, 30))
    words = said(inputs)
    assert "in the same proportion of classes: DCGAN: 45.0 % (real: 50.0 %); FastGAN: 45.0 % (real: 80.0 %;" in words
    assert "CycleGAN 46: 70.0 % (real: 70.0 %; least: abnormal, 70.0 %)" in words
    assert "Below 0.8 of what real images reach: FastGAN. Such images do not show what they claim" in words
    words = said(inputs | {"pseudo_labelled": ["fastgan"]})
    assert "FastGAN was never asked for a class: a classifier gave its labels" in words
    assert "Below 0.8" not in words
    words = said(with_generators(inputs, cyclegan_46={"of": "dcgan"}) | {"pseudo_labelled": ["dcgan"]},
                 cyclegan_46=(0.1, 30, 30), fastgan=(0.8, 90, 30))  # fmt: skip
    assert "Below 0.8" not in words, "nor were those that another set has of it"
    assert "CycleGAN 46 was never asked for a class" in words
    assert "Each reaches 0.8 of what real images do." in said(inputs, fastgan=(0.8, 90, 30))


def test_masks_are_held_against_real_ones_of_the_networks_size():
    def held_against(**values):
        tests = {name: {"outcomes": {"iou": Estimate(value, n=9)}} for name, value in values.items()}
        task = {"outcome": "iou", "outcomes": {"iou": {"higher_is_better": True}}, "reference": "real"}
        return real_fidelity(task | {"arms": {"real": {"tests": tests}}}, "gan")

    assert held_against(test=0.6, gan=0.5) == 0.6
    assert held_against(test=0.6, test_small=0.8, gan=0.5) == 0.8


def of_masks(inputs, folder, change=lambda content: None):
    """inputs of a task of masks of two classes, whose foreground IoU decides."""
    names = ("foreground_iou", "iou", "iou_nucleus", "iou_podocyte", "dice")
    outcomes = {name: {"title": name.replace("_", " "), "unit": "", "higher_is_better": True} for name in names}
    content = verdicts(np.random.default_rng(0), outcomes, classes=())
    change(content)
    write_json(folder / "verdicts.json", content)
    write_json(folder / "summary.json", read_json(inputs["summary"]) | SIZES)
    return inputs | {name: folder / f"{name}.json" for name in ("verdicts", "summary")}


def test_masks_agree_by_what_decides_and_at_one_size(inputs, tmp_path):
    def measured(content):
        tests = content["arms"]["real"]["tests"]
        for name, values in {"test": (0.9, 0.2), "test_small": (0.7, 0.2)}.items() | {"dcgan": (0.6, 0.1)}.items():
            both = dict(zip(("foreground_iou", "iou"), values, strict=True))
            outcomes = {key: Estimate(value, n=9).to_json() for key, value in both.items()}
            tests[name] = {"outcomes": tests.get(name, tests["test"])["outcomes"] | outcomes}

    said = words_of(of_masks(inputs, tmp_path, measured), tmp_path, "answer.classification")
    assert "agreement, the foreground iou of the masks of images" in said
    assert "all at 16×16 pixels: DCGAN: 0.600 (real: 0.700);" in said
    assert "Each reaches 0.8 of what real images do." in said, "0.6 / 0.7, and not 0.6 / 0.9 or 0.1 / 0.2"


def decided_elsewhere(**words):
    """Arm → its word on the test images at the network's size; all others keep theirs."""

    def change(content):
        for name, arm in content["arms"].items():
            if versus := arm["versus_reference"]:
                there = {key: value for key, value in versus.items() if key != "elsewhere"}
                there["verdict"] = words.get(name, versus["verdict"])
                versus["elsewhere"] = {"test_small": there}

    return change


def test_the_answer_says_at_which_size_masks_are_compared_and_what_another_would_say(inputs, tmp_path):
    def said(change=lambda content: None):
        return words_of(of_masks(inputs, tmp_path, change), tmp_path, "answer.classification")

    alone = said()
    assert alone.count("Masks are compared at 32×48 pixels.") == 2, "in the words and in the caption"
    assert "the size of the network" not in alone
    same = "At 16×16 pixels, the size of the network, every word would be the same."
    assert same in said(decided_elsewhere())
    assert "another word would be given to Real + FastGAN (“harms”)." in said(decided_elsewhere(fastgan="harms"))
    assert "pixels" not in words_of(inputs, tmp_path, "answer.classification")


def test_an_outcome_of_all_classes_is_told_of_each(inputs, tmp_path):
    def differs(*ends):
        def change(content):
            for name, arm in content["arms"].items():
                if arm["versus_reference"]:
                    own = ends if name == "dcgan" else (-0.1, 0.1)
                    found = {"difference": Estimate(sum(own) / 2, *own, n=9).to_json(), "p": 0.5}
                    arm["versus_reference"]["outcomes"] |= dict.fromkeys(("iou_nucleus", "iou_podocyte"), found)

        return words_of(of_masks(inputs, tmp_path, change), tmp_path, "answer.classification")

    words = differs(-0.3, -0.1)
    assert "one number for all classes. Of each class alone (iou nucleus; iou podocyte)" in words
    assert "leave out 0 in: Real + DCGAN, nucleus: −0.200 (−0.300 to −0.100); Real + DCGAN, podocyte: −0.2" in words
    assert "hold 0 in all of these training sets." in differs(-0.3, 0.1)
    row = next(row for row in rows_of(tmp_path, "answer.classification.arms") if row["arm"] == "Real + DCGAN")
    assert row["iou_podocyte"]
    assert words.count("−0.200 (−0.300 to −0.100)") == 4, "in the table, too"


@pytest.mark.parametrize(
    ("oracle", "shuffled", "shown"),
    [
        ("helps", "harms", "shows that the method can tell help from harm."),
        ("no evidence of a difference", "harms", "sees a harm, and not that it would see a help."),
        ("helps", None, "sees a help, and not that it sees a harm."),
        ("harms", "helps", "shows neither that the method would see a help nor"),
    ],
)
def test_what_the_controls_show_is_what_they_did(inputs, tmp_path, oracle, shuffled, shown):
    def change(content):
        content["arms"]["oracle"]["versus_reference"]["verdict"] = oracle
        content["arms"]["oracle_shuffled"]["versus_reference"] |= {"verdict": shuffled, "reason": "too few"}

    given = changed(inputs, tmp_path, "verdicts", change)
    words = words_of(given, tmp_path, "limits")
    assert f"Fresh true images: {oracle} (by construction: helps)." in words
    assert f"the masks of others: {shuffled or 'no word'} (by construction: harms)." in words
    assert shown in words
    assert "fresh true images were found to help in 37 of 40 repeats." in words
    unseen = "a help as large as a perfect generator's could not have been seen here."
    assert (unseen in words_of(given, tmp_path, "answer.classification")) == (oracle != "helps")


def test_without_controls_nothing_is_shown_of_the_method(inputs, tmp_path):
    def change(content):
        for name in ("oracle", "oracle_shuffled"):
            content["arms"].pop(name)

    words = words_of(changed(inputs, tmp_path, "verdicts", change), tmp_path, "limits")
    assert "this run does not show that help is told from harm." in words


def test_arms_of_every_kind_have_their_place(inputs, tmp_path):
    def designed(content):
        content["arms"]["classic"]["kind"] = "design"

    given = changed(inputs, tmp_path, "verdicts", designed)
    assert "Real + classic augmentation" in words_of(given, tmp_path, "answer.classification")


def test_an_arm_that_could_not_be_made_has_its_row_the_reason_and_no_number(inputs, tmp_path):
    reason = "3 of 9 images are without <frames>, and 5 were asked for"

    def unmade(content):
        arm = {"kind": "synthetic_only", "title": "dcgan only", "set": "dcgan", "not_made": reason}
        content["not_made"] = {"only_dcgan": arm}

    usual = words_of(inputs, tmp_path, "answer.classification")
    before = rows_of(tmp_path, "answer.classification.arms")
    said = words_of(changed(inputs, tmp_path, "verdicts", unmade), tmp_path, "answer.classification")
    assert "Without a result: DCGAN only, whose images could not be made: 3 of 9 images are without" in said
    assert "Without a result" not in usual
    *others, row = rows_of(tmp_path, "answer.classification.arms")
    assert others == before
    shown = {"arm": "DCGAN only", "kind": "synthetic_only", "test": "test", "verdict": "not made"}
    shown |= {"note": f"DCGAN only: could not be made, {reason}.", "model": others[0]["model"]}
    assert {name: value for name, value in row.items() if value} == shown

    def nothing_else(content):
        unmade(content)
        content["arms"] = {name: content["arms"][name] for name in ("real", "duplicates")}

    said = words_of(changed(inputs, tmp_path, "verdicts", nothing_else), tmp_path, "answer.classification")
    assert said.startswith("No answer: the training sets with generated images could not be made.")


def only(*names):
    def keep(content):
        content["arms"] = {name: content["arms"][name] for name in names}

    return keep


def decided(arm, word, **more):
    def change(content):
        only("real", arm)(content)
        content["arms"][arm]["versus_reference"] |= {"verdict": word, **more}

    return change


@pytest.mark.parametrize(
    ("arm", "word", "words"),
    [
        ("dcgan", "helps", "Yes: adding the images of this training of DCGAN to the real ones helps the model."),
        ("dcgan", "harms", "No: adding the images of this training of DCGAN to the real ones harms the model."),
        (
            "dcgan",
            "no evidence of a difference",
            "Not shown: it is not shown that the added images of this training of DCGAN",
        ),
        ("only_fastgan", "harms", "Images of this training of FastGAN in place of the real ones harm the model."),
        ("only_fastgan", "no evidence of a difference", "There is no evidence that a model trained on images of this"),
        ("duplicates", "helps", "No generated images were used in training in this run."),
    ],
)
def test_the_headline_follows_the_word(inputs, tmp_path, arm, word, words):
    given = changed(inputs, tmp_path, "verdicts", decided(arm, word))
    assert words_of(given, tmp_path, "answer.classification").startswith(words)


def test_a_set_without_a_word_leaves_the_headline_to_the_others(inputs, tmp_path):
    def one_of_three(content):
        only("real", "dcgan", "fastgan", "cyclegan_46")(content)
        for arm, word in (("dcgan", None), ("fastgan", "helps"), ("cyclegan_46", "harms")):
            content["arms"][arm]["versus_reference"] |= {"verdict": word, "reason": "2 trainings are too few"}

    said = words_of(changed(inputs, tmp_path, "verdicts", one_of_three), tmp_path, "answer.classification")
    assert said.startswith(
        "Yes, for 1 of these trainings of 2 generators: adding their images to the real ones helps the model. Of 1 "
        "more set no word is given: 2 trainings are too few. Helps: "
    )


def test_with_few_seeds_the_reason_stands_in_place_of_a_word(inputs, tmp_path):
    change = decided("dcgan", None, reason="2 seeds are fewer than 5")
    given = changed(inputs, tmp_path, "verdicts", change)
    said = words_of(given, tmp_path, "answer.classification")
    assert said.startswith("No word is given: 2 seeds are fewer than 5.")
    assert "No word: 2 seeds are fewer than 5." in said
    assert rows_of(tmp_path, "answer.classification.arms")[1]["verdict"] == "none given"


def test_arms_that_use_up_their_images_have_a_note(inputs, tmp_path):
    def used_up(content):
        for arm in ("dcgan", "fastgan"):
            content["arms"][arm] |= {"uses_up": True, "trainings": 1 if arm == "dcgan" else 3}

    said = words_of(changed(inputs, tmp_path, "verdicts", used_up), tmp_path, "answer.classification")
    assert (
        said.count("DCGAN: all images of a class are used, so that the interval does not cover the choice of images.")
        == 1
    )
    assert said.count("all images of a class are used") == 1, "several trainings have other images each"
    notes = [row["note"] for row in rows_of(tmp_path, "answer.classification.arms")]
    assert sum("all images of a class are used" in note for note in notes) == 1


def test_budget_limited_arms_are_named_in_text_and_table(inputs, tmp_path):
    said = words_of(inputs, tmp_path, "answer.classification")
    assert "a longer training may change the word: Real + classic augmentation." in said
    assert "helps budget-limited" in said

    def enough(content):
        for arm in content["arms"].values():
            arm["budget_limited"] = False

    said = words_of(changed(inputs, tmp_path, "verdicts", enough), tmp_path, "answer.classification")
    assert "udget-limited" not in said


def test_unknown_patients_are_said_to_be_unknown(inputs, tmp_path):
    assert "They were divided by patient: training 240 images of 200 patients" in words_of(inputs, tmp_path, "data")

    def unknown(content):
        content["patients_known"] = False

    given = changed(changed(inputs, tmp_path, "verdicts", unknown), tmp_path, "split_report", unknown)
    said = words_of(given, tmp_path, "data") + words_of(given, tmp_path, "limits")
    assert said.lower().count("patients unknown: every image counts as its own patient") == 3
    assert "divided by patient" not in said
    assert "No patient is in two parts" not in said
    assert rows_of(tmp_path, "data.parts")[0]["patients"] == ""


def test_near_duplicates_across_parts_are_called_out(inputs, tmp_path):
    said = words_of(inputs, tmp_path, "data")
    assert "No two parts share near-identical images" in said
    assert "Attention: the test part has few patients." in said

    def across(content):
        content["near_duplicates"]["across_parts"] = 3

    said = words_of(changed(inputs, tmp_path, "split_report", across), tmp_path, "data")
    assert "Attention: 3 pairs of near-identical images" in said


def test_copies_are_said_in_the_answer_as_the_audit_decided(inputs, tmp_path):
    for section in ("answer.classification", "sharing"):
        said = words_of(inputs, tmp_path, section)
        assert "finds copies of training images. Do not share: CycleGAN 10 (12 images are nearer than chance)." in said
        assert "It found none in the sets of DCGAN, FastGAN, CycleGAN 46 and CycleGAN 22." in said
    assert "the audit finds: blur 98." in words_of(inputs, tmp_path, "sharing"), "the detection limit stands beside it"
    audits = [read_json(path) for path in inputs["copies"]]
    for number, audit in enumerate(audits):
        nearer = {"word": "nearer to training", "reason": "mean ratio 0.9"}
        write_json(tmp_path / f"{number}.json", audit | {"alarm": nearer if number == 0 else NONE_FOUND})
    given = inputs | {"copies": [tmp_path / f"{number}.json" for number in range(len(audits))]}
    said = words_of(given, tmp_path, "sharing")
    assert "says little" not in said
    assert "look before you share: DCGAN (mean ratio 0.9)." in said
    assert "Do not share" not in said
    with pytest.raises(InputError, match="but 4 pictures"):
        words_of(inputs | {"pairs": inputs["pairs"][:4]}, tmp_path, "sharing")


def test_an_audit_that_would_have_found_few_copies_says_so_beside_none_found(inputs, tmp_path):
    audits = [read_json(path) | {"alarm": NONE_FOUND} for path in inputs["copies"]]
    for number, audit in enumerate(audits):
        audit["detection"] |= {"changed": {"sets": 700, "found": 349 + number}, "copies": [4, 1], "images": 16}
        write_json(tmp_path / f"{number}.json", audit)
    given = inputs | {"copies": [tmp_path / f"{number}.json" for number in range(len(audits))]}
    weak = (
        "in any generated set, which says little: it would have found 349 of 700 sets of 16 images with 1 copy that was"
    )
    for section in ("answer.classification", "sharing"):
        assert weak in words_of(given, tmp_path, section)
    audits[0]["detection"]["changed"]["found"] = 350
    write_json(tmp_path / "0.json", audits[0])
    assert "in any generated set." in words_of(given, tmp_path, "answer.classification")


def test_a_task_of_segmentation_is_shown_by_the_same_sections(inputs, tmp_path):
    outcomes = {
        "iou": {"title": "IoU", "unit": "", "higher_is_better": True},
        "dice": {"title": "Dice", "unit": "", "higher_is_better": True},
        "false_positive_pixels": {"title": "false positive pixels", "unit": "px", "higher_is_better": False},
    }
    write_json(tmp_path / "verdicts.json", verdicts(np.random.default_rng(0), outcomes, classes=()))
    (tmp_path / "roc.csv").write_text("task,arm,false_positive_rate,true_positive_rate\n")
    write_json(tmp_path / "summary.json", read_json(inputs["summary"]) | SIZES)
    given = inputs | {name: tmp_path / f"{name}.json" for name in ("verdicts", "summary")}
    given |= {"grid": None, "roc": tmp_path / "roc.csv"}
    html = write_page(tmp_path, given)
    assert "Effect of each training set on the IoU of the model" in html
    assert "differences in IoU on the test images" in html
    assert 'class="n">Dice<' in html
    assert "AUROC" not in re.sub(r"data:image/png;base64,[\w+/=]+", "", html).split('id="trust')[0]
    assert "confusion" not in re.findall(r'<figure id="([\w.]+)"', html)
    assert "Label fidelity" not in html
    assert "the curves behind the numbers" not in html, "there are none"


def test_several_tasks_have_their_own_headings_and_comparisons(inputs, tmp_path):
    entry = verdicts(np.random.default_rng(0))
    swapped = {"names": ["TRTR", "TSTR"], "first": ["real", "test"], "second": ["dcgan", "test"], "p": 0.4}
    swapped |= {
        "outcomes": {name: {"difference": Estimate(-0.01, -0.06, 0.04).to_json(), "p": 0.4} for name in OUTCOMES}
    }
    swapped |= {"p_holm": 0.5, "p_equivalent": 0.2, "verdict": "no evidence of a difference", "reason": None}
    cell = entry["arms"]["dcgan"]["tests"]["test"]
    entry["arms"]["dcgan"]["tests"]["dcgan"] = cell
    write_json(tmp_path / "v.json", entry | {"swap": "dcgan", "comparisons": [swapped | {"equivalent": False}]})
    given = inputs | {"verdicts": tmp_path / "v.json"}
    said = words_of(given, tmp_path, "task.classification")
    assert "TSTR − TRTR: −0.010 (95 % interval −0.060 to +0.040), p 0.400. No evidence of a difference" in said
    rows = rows_of(tmp_path, "task.classification.comparisons")
    assert rows[0]["second"] == "Real + DCGAN, tested on test"
    words_of(given, tmp_path, "answer.classification")
    tested = [
        (row["arm"], row["test"]) for row in rows_of(tmp_path, "answer.classification.arms") if row["test"] != "test"
    ]
    assert ("Real + DCGAN", "dcgan") in tested
    assert ("Real only", "fastgan") not in tested  # there for label fidelity only
    beside = entry["arms"]["fastgan"] | {"title": "Fewer real + fastgan", "kind": "fewer_generator"}
    pair = {"names": ["duplicates", "undersampled_fastgan"], "first": ["duplicates", "test"]}
    pair = swapped | pair | {"second": ["undersampled_fastgan", "test"], "equivalent": False}
    arms = entry["arms"] | {"undersampled_fastgan": beside}
    write_json(tmp_path / "v.json", entry | {"arms": arms, "against": [pair]})
    said = words_of(given, tmp_path, "task.classification")
    assert "Fewer real + FastGAN − Real + duplicated real: −0.010" in said
    assert rows_of(tmp_path, "task.classification.comparisons")[0]["second"] == "Fewer real + FastGAN, tested on test"
    words_of(given, tmp_path, "answer.classification")
    assert rows_of(tmp_path, "answer.classification.arms")[-1]["arm"] == "Fewer real + FastGAN"


def test_every_interval_is_told_with_its_own_level(inputs, tmp_path, monkeypatch):
    from synthmed.report.charts import task

    given = changed(inputs, tmp_path, "verdicts", lambda content: content.update(alpha=0.01))
    for name in ("diversity", "validation"):
        given = changed(given, tmp_path, name, lambda content: content.update(level=0.9))
    sections = ("answer.classification", "task.classification", "trust.classification", "quality")
    said = {section: words_of(given, tmp_path, section) for section in sections}
    for section, words in said.items():
        assert "95 %" not in words, section
        assert ("90 % interval" if section in ("trust.classification", "quality") else "99 % interval") in words
    drawn = []
    monkeypatch.setattr(task, "save", lambda figure, path: drawn.append(figure))
    content = read_task(given["verdicts"], {name: GeneratorEntry(**one) for name, one in GENERATORS.items()})
    task.draw_verdicts(tmp_path / "v.png", content, [content["arms"]["dcgan"]])
    task.draw_validation(tmp_path / "t.png", read_result(given["validation"])["cases"], 0.9)
    assert [figure.axes[-1].get_xlabel().partition(" % interval")[0][-2:] for figure in drawn] == ["99", "90"]
    for figure in drawn:
        task.plt.close(figure)


def test_no_section_and_no_chart_writes_a_level_by_itself():
    files = [*(PACKAGE / "report" / "sections").iterdir(), *(PACKAGE / "report" / "charts").glob("*.py")]
    assert [path.name for path in files if path.is_file() and "95 %" in path.read_text(encoding="utf-8")] == []


def test_without_known_truth_the_report_says_so(inputs, tmp_path):
    said = words_of(inputs | {"validation": None}, tmp_path, "trust.classification")
    assert said.startswith("The verdict was not validated in this run")
    assert "Table" not in said
    assert "rate 0.025 (95 % interval 0.001 to 0.130)" in words_of(inputs, tmp_path, "trust.classification")
    assert "It is not shown to be at most 0.050: do not trust" in words_of(inputs, tmp_path, "trust.classification")


def test_pseudo_labels_are_named_where_labels_are_shown(inputs, tmp_path):
    given = inputs | {"pseudo_labelled": ["dcgan"]}
    words = "The labels of the images of DCGAN were given by a classifier trained on real images."
    for section in ("data", "quality"):
        assert words in words_of(given, tmp_path, section)
        assert words not in words_of(inputs, tmp_path, section)
    with pytest.raises(InputError, match="pseudo_labelled names 'pggan'"):
        words_of(inputs | {"pseudo_labelled": ["pggan"]}, tmp_path, "data")


def test_what_a_set_made_elsewhere_learnt_from_is_said_to_be_unknown(inputs, tmp_path):
    said = words_of(inputs, tmp_path, "methods")
    assert "learns from the training part only. Trainings:" in said
    assert "elsewhere" not in said
    said = words_of(inputs | {"external": ["Diffusion"], "trainings": []}, tmp_path, "methods")
    assert "Made elsewhere: Diffusion. Whether test images were among those that were learnt from" in said
    assert "training part only" not in said


def test_results_of_unknown_generators_are_refused(inputs, tmp_path):
    some = {name: entry for name, entry in GENERATORS.items() if name != "dcgan"}
    for section in ("quality", "sharing"):
        with pytest.raises(InputError, match="generator 'dcgan' is not in the settings"):
            words_of(inputs | {"generators": some}, tmp_path, section)


def test_every_arm_is_shown_once_among_the_main_ones_or_the_sweep(made):
    shown = [row["arm"] for row in rows_of(made[1], "answer.classification.arms")]
    assert len(shown) == len([arm for arm in ARMS.values() if arm["kind"] != "sweep"])


@pytest.mark.parametrize("count", [4, 9])
def test_names_and_numbers_of_many_classes_do_not_lie_over_one_another(tmp_path, monkeypatch, count):
    from synthmed.report.charts import task

    drawn = []
    monkeypatch.setattr(task, "save", lambda figure, path: drawn.append(figure))
    classes = ["COVID", "Lung_Opacity", "Normal", "Viral Pneumonia", "a", "b", "c", "d", "e"][:count]
    counts = [[37.25] * count] * count
    task.draw_confusion(tmp_path / "c.png", [({"title": "Real + DCGAN"}, "test", counts)] * 3, classes)
    figure = drawn[0]
    figure.draw_without_rendering()
    for axis in figure.axes[:1]:
        cells = [text.get_window_extent() for text in axis.texts]
        rows = [text.get_window_extent() for text in axis.get_yticklabels()]
        for boxes in (cells, rows):
            assert all(not one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])
    task.plt.close(figure)

"""An arm whose set could not be made: all others are trained, scored and compared, and it is said to have no result."""

import dataclasses

import pytest
from trainings import CLASSIFIER

from made_up_images import image_set
from synthmed.classifiers.network import NetworkSettings, load, train
from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.core.settings import parse
from synthmed.data.arm_lists import read_arms, read_unmade
from synthmed.data.imageset import write_not_made
from synthmed.evaluation.arms import ArmSettings
from synthmed.evaluation.compare import CompareSettings, compare
from synthmed.evaluation.compose_arms import compose_arms
from synthmed.evaluation.score_networks import ScoreNetworksSettings, score_networks
from synthmed.evaluation.score_sets import ScoreSetsSettings, score_sets
from synthmed.evaluation.scores import read_scores

CLASSES = ("normal", "abnormal")
SETS = ("gan", "edited")
REASON = "2 of 9 images are left, and 12 were asked for"
ARMS = ("real", "undersampled", "undersampled_gan", "undersampled_edited", "only_gan", "only_edited")
UNMADE = ("undersampled_edited", "only_edited")
USE = {"batch_size": 8, "threads": 1, "device": "cpu"}
COMPOSE = ArmSettings(
    added_share=None, added_counts={"normal": 4, "abnormal": 4}, class_weights=False, augmented_draws=0, pairs=(),
    sweep={}, oracle_sweep=(), only_share={"normal": 6, "abnormal": 6}, only_sweep=("smallest",), swap=None,
    classes=CLASSES, column="label", sets=SETS, added=(), alone=SETS, undersampled=SETS, oracle=None, masks=False,
    seeds=2, seed=1,
)  # fmt: skip


def lists(folder, settings=COMPOSE):
    files = {"out": folder / "arms.csv", "description": folder / "arms.json"}
    compose_arms(settings, train=folder / "train.zip", synthetic=synthetic(folder), **files)
    return read_json(folder / "arms.json")["arms"]


def synthetic(folder):
    return [folder / f"{name}.zip" for name in SETS]


@pytest.fixture
def folder(tmp_path):
    for seed, (name, count) in enumerate({"train": 26, "validation": 12, "test": 16, "gan": 24}.items()):
        image_set(tmp_path / f"{name}.zip", count, seed=seed)
    write_not_made(tmp_path / "edited.zip", REASON)
    return tmp_path


def train_arm(folder, arm):
    settings = parse(NetworkSettings, CLASSIFIER | {"arm": arm, "sets": list(SETS), "steps": 2, "check_every": 1})
    sets = {name: folder / f"{name}.zip" for name in ("train", "validation")}
    files = {"classifier": folder / f"{arm}.pt", "report": folder / f"{arm}.json"}
    train(settings, **sets, weights=None, arms=folder / "arms.csv", synthetic=synthetic(folder), **files)


def test_the_arm_is_listed_with_the_reason_and_without_images(folder):
    described = lists(folder)
    assert {arm: of for arm, of in read_unmade(folder / "arms.csv").items()} == dict.fromkeys(UNMADE, "edited")
    assert described["only_edited"] == {
        "kind": "synthetic_only", "title": "edited only", "set": "edited", "not_made": REASON,
    }  # fmt: skip
    assert {arm for arm, one in described.items() if "not_made" not in one} == set(read_arms(folder / "arms.csv", 2))
    image_set(folder / "edited.zip", 24, seed=9)
    whole = lists(folder)
    assert list(whole) == list(described)
    assert {arm: one for arm, one in whole.items() if arm not in UNMADE} == {
        arm: one for arm, one in described.items() if arm not in UNMADE
    }
    assert read_unmade(folder / "arms.csv") == {}


def test_a_set_that_was_made_and_is_too_small_is_an_error_still(folder):
    with pytest.raises(InputError, match="needs 13 'normal' images of 'gan', which has 12"):
        lists(folder, dataclasses.replace(COMPOSE, only_share={"normal": 13, "abnormal": 6}))


def test_all_others_are_trained_scored_and_compared(folder):
    described = lists(folder)
    assert {*described} == {*ARMS, "duplicates", "duplicates_part"}
    arms = tuple(described)
    for arm in arms:
        train_arm(folder, arm)
    with pytest.raises(InputError, match=f"not trained, as its set of images could not be made: {REASON}"):
        load(folder / "only_edited.pt")
    networks = {"classifiers": [folder / f"{arm}.pt" for arm in arms]}
    score_networks(
        ScoreNetworksSettings(**USE, classes=CLASSES, positive="abnormal", arms=arms, sets=SETS), **networks,
        classifier_reports=[folder / f"{arm}.json" for arm in arms], arms=folder / "arms.csv",
        description=folder / "arms.json", test=folder / "test.zip", synthetic=synthetic(folder),
        scores=folder / "scores.csv", summary=folder / "summary.json",
    )  # fmt: skip
    made = [arm for arm in arms if arm not in UNMADE]
    columns = [f"p_{name}" for name in CLASSES]
    assert read_scores(folder / "scores.csv", columns).arms == made
    assert set(read_scores(folder / "scores.csv", columns).cases) == {"test", "gan"}
    assert list(read_json(folder / "summary.json")["thresholds"]) == made
    further = ScoreSetsSettings(**USE, classes=CLASSES, positive="abnormal", arms=arms, names=("validation",))
    score_sets(further, **networks, sets=[folder / "validation.zip"], scores=folder / "further.csv")
    assert read_scores(folder / "further.csv", columns).arms == made

    write_json(folder / "split.json", {"patients_known": True})
    settings = CompareSettings(
        task="classification", title="Do they?", kind="classification", leaking=False, outcome="auroc", classes=CLASSES,
        positive="abnormal", threshold=0.5, alpha=0.05, margin=0.02, resamples=100, seed=3,
        against=tuple((f"undersampled_{name}", "undersampled") for name in SETS),
    )  # fmt: skip
    files = {"scores": folder / "scores.csv", "summary": folder / "summary.json", "split_report": folder / "split.json"}
    compare(settings, **files, out=folder / "verdicts.json")
    found = read_json(folder / "verdicts.json")
    assert list(found["arms"]) == made
    assert {arm: one["not_made"] for arm, one in found["not_made"].items()} == dict.fromkeys(UNMADE, REASON)
    assert [pair["names"] for pair in found["against"]] == [["undersampled", "undersampled_gan"]]

    summary = read_json(folder / "summary.json")
    del summary["arms"]["only_edited"]["not_made"]
    write_json(folder / "summary.json", summary)
    with pytest.raises(InputError, match="the summary describes"):
        compare(settings, **files, out=folder / "verdicts.json")

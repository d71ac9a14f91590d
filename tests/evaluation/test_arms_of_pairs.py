"""Arms of images with masks: which there are, and which image stands with which mask."""

import pandas as pd
import pytest

from made_up_pairs import pair_set
from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.data.arm_lists import read_arms
from synthmed.evaluation.arms import ArmSettings, define_arms
from synthmed.evaluation.compose_arms import compose_arms

VALUES = {
    "added_share": 1.5, "added_counts": None, "class_weights": False, "augmented_draws": 0,
    "pairs": ("on_the_fly", "simple", "elastic"), "sweep": {}, "oracle_sweep": (), "only_share": None, "only_sweep": (),
    "undersampled": (), "swap": None, "classes": ("discs",), "column": "label", "sets": ("gan", "oracle"),
    "oracle": "oracle", "masks": True, "seeds": 3, "seed": 1,
}  # fmt: skip


def settings(**changes):
    values = VALUES | changes
    return ArmSettings(added=values["sets"], alone=values["sets"], **values)


@pytest.fixture
def composed(tmp_path):
    sets = {
        name: pair_set(tmp_path / f"{name}.zip", 16 if name == "train" else 30, seed)
        for seed, name in enumerate(("train", "gan", "oracle"))
    }
    files = {"out": tmp_path / "arms.csv", "description": tmp_path / "arms.json"}
    compose_arms(settings(), train=sets["train"], synthetic=[sets["gan"], sets["oracle"]], **files)
    return files["out"], read_json(files["description"])["arms"]


def test_arms_of_pairs_stand_beside_those_of_every_task():
    kinds = {arm.name: (arm.kind, arm.set) for arm in define_arms(settings(), {"discs": 16})}
    assert kinds == {
        "real": ("real", None),
        "on_the_fly": ("classic", None),
        "simple": ("classic", "simple"),
        "elastic": ("classic", "elastic"),
        "duplicates": ("duplicates", "real"),
        "duplicates_part": ("duplicates", "real"),
        "gan": ("generator", "gan"),
        "oracle": ("oracle", "oracle"),
        "oracle_shuffled": ("label_shuffled", "oracle"),
    }
    for changes, said in (
        ({"masks": False}, "learns no masks"),
        ({"added_share": None, "sets": (), "oracle": None}, "names 'simple', but no count"),
        ({"sets": ("simple", "oracle")}, "each name once, none"),
    ):
        with pytest.raises(InputError, match=said):
            define_arms(settings(**changes), {"discs": 16})


def test_augmented_pairs_have_the_count_of_the_generators(composed):
    path, described = composed
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert (described["gan"]["n_train"], described["gan"]["share"]) == (40, 0.6)
    assert described["on_the_fly"]["n_train"] == 16
    for name in ("simple", "elastic"):
        assert described[name]["n_train"] == 16 + 24
        assert described[name]["share"] == 0, "nothing of it is synthetic"
        for _, own in table[table["arm"] == name].groupby("seed"):
            drawn = own[own["set"] == name]
            assert len(drawn) == 24
            assert set(drawn["draw"]) <= {"1", "2"}
            assert set(drawn["weight"]) == {"1"}, "no draw twice"
            assert set(own[own["set"] == "real"]["draw"]) == {"0"}
    assert read_arms(path, 3)["simple"][0].images.tolist() != read_arms(path, 3)["simple"][1].images.tolist()


def test_shuffled_masks_are_those_of_other_added_images(composed):
    lists = read_arms(composed[0], 3)
    for seed in range(3):
        shuffled, oracle = lists["oracle_shuffled"][seed], lists["oracle"][seed]
        assert sorted(shuffled.images) == sorted(oracle.images)
        added = shuffled.sets == "oracle"
        assert sorted(shuffled.masks[added]) == sorted(shuffled.images[added]), "each mask once"
        assert not (shuffled.masks[added] == shuffled.images[added]).any()
        assert set(shuffled.masks[~added]) == {""}, "real images keep theirs"
        assert set(oracle.masks) == {""}

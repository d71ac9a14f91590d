"""Numbers for machines: effects, leaderboard."""

import copy

import pytest
from test_compare_step import described, run, scores_of

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_csv, write_json
from synthmed.evaluation.fidelity import MEAN
from synthmed.evaluation.leaderboard import (
    HISTORY_POINTS,
    LEAKING,
    LeaderboardSettings,
    MetricsSettings,
    leaderboard,
    metrics,
)
from synthmed.metrics.effects import EFFECT_COLUMNS
from synthmed.metrics.estimate import Estimate

TITLES = {"dcgan": "DCGAN", "fastgan": "FastGAN"}
TRAINED = {"dcgan": "DCGAN", "fastgan": "a GAN"}


def fidelity(folder, generator, extractor, fid):
    measures = {
        "fid": Estimate(fid, fid - 1, fid + 1, 80),
        "kid": Estimate(0.1, n=80),
        "precision": Estimate(0.6, n=80),
    }
    groups = {MEAN: {name: measured.to_json() for name, measured in measures.items()}}
    content = {"generator": generator, "extractor": extractor, "groups": groups, "matched": groups, "floor": groups}
    write_json(folder / f"{extractor}.{generator}.json", content)
    return folder / f"{extractor}.{generator}.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrics")
    scores = scores_of({"real": 1.0, "dcgan": 1.2, "fastgan": 2.0, "dcgan_x2": 1.1, "only_dcgan": 0.4})
    scores.values["real", "dcgan"], scores.cases["dcgan"] = scores.values["real", "test"], scores.cases["test"]
    own = {"set": "dcgan", "kind": "sweep", "share": 0.6, "n_train": 250}
    arms = {
        "dcgan": {"share": 0.2, "n_train": 125},
        "fastgan": {"share": 0.33},
        "dcgan_x2": own,
        "only_dcgan": own | {"kind": "synthetic_only", "share": 1.0, "title": "dcgan only"},
    }
    verdicts = run(folder, scores, described(scores, **arms))
    steps = [{"step": step, "generator": 1.0, "diversity": 0.5 if step % 100 == 0 else ""} for step in range(1, 401)]
    write_csv(folder / "history.csv", steps, ["step", "generator", "diversity"])
    copies = []
    for name in TITLES:
        copies.append(folder / f"{name}.copies.json")
        audit = {"generator": name, "suspect_share": Estimate(0.1, 0.0, 0.2, 80).to_json()}
        write_json(copies[-1], audit | {"alarm": {"word": "none found"}, "detection_limit": "Of 100 sets …"})
    outputs = {
        name: folder / f"{name}.csv" for name in ("effects", "sweep", "roc", "training_history")
    } | {"metrics_json": folder / "metrics.json"}  # fmt: skip
    metrics(
        MetricsSettings("tb", TITLES, TRAINED, ("dcgan",), ("DCGAN, both",)),
        fidelity=[
            *(fidelity(folder, name, "small CNN", 1.0) for name in TITLES),
            fidelity(folder, "dcgan", "Inception-v3", 90.0),
        ],
        copies=copies,
        verdicts=[folder / "verdicts.json"],
        scores=[folder / "scores.csv"],
        histories=[folder / "history.csv"],
        **outputs,
    )
    return verdicts, outputs


def test_roc_rows_are_monotonic_and_end_at_one(made):
    rows = read_csv(made[1]["roc"])
    assert {row["arm"] for row in rows} == {"real", "dcgan", "fastgan", "only_dcgan"}, "no curve for the sweep"
    sensitivity = [float(row["true_positive_rate"]) for row in rows if row["arm"] == "fastgan"]
    assert sensitivity == sorted(sensitivity)
    assert sensitivity[-1] == 1


def test_metrics_json_holds_the_numbers_of_the_verdicts(made):
    verdicts, outputs = made
    found = read_json(outputs["metrics_json"])
    task = found["tasks"]["classification"]
    assert task["auroc"]["dcgan"] == verdicts["arms"]["dcgan"]["tests"]["test"]["outcomes"]["auroc"]["value"]
    assert set(task["auroc_difference"]) == set(verdicts["arms"]) - {"real"}
    assert found["copy_share"] == {"dcgan": 0.1, "fastgan": 0.1}
    assert found["fid"] == {"small CNN": {"dcgan": 1.0, "fastgan": 1.0}, "Inception-v3": {"dcgan": 90.0}}


def test_effects_have_a_row_for_each_generator_arm(made):
    verdicts, outputs = made
    rows = {row["arm"]: row for row in read_csv(outputs["effects"])}
    assert {row["generator"]: row["trained_as"] for row in rows.values()} == {"DCGAN": "DCGAN", "FastGAN": "a GAN"}
    assert set(rows) == {"DCGAN", "FastGAN", "DCGAN only"}
    dcgan = rows["DCGAN"]
    versus = verdicts["arms"]["dcgan"]["versus_reference"]
    assert float(dcgan["effect"]) == versus["outcomes"]["auroc"]["difference"]["value"]
    assert (dcgan["fid_extractor"], float(dcgan["fid"])) == ("Inception-v3", 90.0), "Inception where there is one"
    assert rows["FastGAN"]["fid_extractor"] == "small CNN"
    recognised = verdicts["arms"]["real"]["tests"]["dcgan"]["outcomes"]["accuracy"]["value"]
    assert float(dcgan["label_fidelity"]) == recognised
    assert rows["FastGAN"]["label_fidelity"] == rows["FastGAN"]["label_fidelity_real"] == ""
    real = verdicts["arms"]["real"]["tests"]["test"]["outcomes"]["accuracy"]["value"]
    assert (float(dcgan["label_fidelity_real"]), dcgan["pseudo_labelled"]) == (pytest.approx(real), "yes")
    assert rows["FastGAN"]["pseudo_labelled"] == "no"
    assert (dcgan["copy_alarm"], dcgan["copy_limit"]) == ("none found", "Of 100 sets …")


def effects_of(made, folder, change):
    """Rows of the effects after a change of the verdicts."""
    verdicts, outputs = made
    changed = copy.deepcopy(verdicts)
    change(changed)
    write_json(folder / "verdicts.json", changed)
    nothing = {"fidelity": [], "copies": [], "histories": [], "scores": [outputs["effects"].parent / "scores.csv"]}
    again = {name: folder / path.name for name, path in outputs.items()}
    metrics(MetricsSettings("tb", TITLES, TRAINED, (), ()), verdicts=[folder / "verdicts.json"], **nothing, **again)
    return {row["arm"]: row for row in read_csv(again["effects"])}


def test_a_task_that_leaks_is_told_in_the_note(made, tmp_path):
    assert not any(LEAKING in row["note"] or row["leaking"] == "yes" for row in read_csv(made[1]["effects"]))
    rows = effects_of(made, tmp_path, lambda verdicts: verdicts.update(leaking=True)).values()
    assert rows
    assert all(row["note"].startswith(f"{LEAKING}; ") and row["leaking"] == "yes" for row in rows)
    assert all(row["task_title"] == made[0]["title"] for row in rows)


def test_whether_more_is_better_is_that_of_the_outcome(made, tmp_path):
    rows = effects_of(made, tmp_path, lambda verdicts: verdicts["outcomes"]["auroc"].update(higher_is_better=False))
    assert {row["higher_is_better"] for row in rows.values()} == {"no"}


def test_label_fidelity_of_one_class_is_held_against_that_of_real_images_of_it(made, tmp_path):
    def rare(verdicts):
        tests = verdicts["arms"]["real"]["tests"]
        tests["test"]["recall"]["abnormal"] |= {"value": 0.55, "low": None, "high": None}
        tests["dcgan"]["recall"]["normal"] = Estimate.missing("the set has no 'normal' image", 0).to_json()

    assert float(effects_of(made, tmp_path, rare)["DCGAN"]["label_fidelity_real"]) == pytest.approx(0.55)


@pytest.mark.parametrize(("more", "found"), [(True, ("0.5", "0.8")), (False, ("0.4", "0.7"))])
def test_of_masks_it_is_their_agreement_at_the_networks_size(made, tmp_path, more, found):
    """By what decides the task, where more of it is better: else by IoU."""

    def of_masks(verdicts):
        decides = verdicts["outcomes"]["auroc"] | {"higher_is_better": more}
        verdicts |= {"kind": "segmentation", "outcomes": verdicts["outcomes"] | {"auroc": decides, "iou": decides}}
        tests = verdicts["arms"]["real"]["tests"]
        for name, value in {"test": 0.6, "test_small": 0.8, "dcgan": 0.5}.items():
            both = {"auroc": Estimate(value, n=80).to_json(), "iou": Estimate(round(value - 0.1, 1), n=80).to_json()}
            tests[name] = {"outcomes": tests.get(name, tests["test"])["outcomes"] | both}

    row = effects_of(made, tmp_path, of_masks)["DCGAN"]
    assert (row["label_fidelity"], row["label_fidelity_real"]) == found


def test_fidelity_of_fewer_images_than_the_floor_or_of_one_class_is_not_taken_for_the_others(made, tmp_path):
    verdicts, outputs = made
    path = fidelity(tmp_path, "dcgan", "CNN", 5.0)
    missing = Estimate.missing("the floor is of other counts").to_json()
    fewer = {MEAN: dict.fromkeys(("fid", "kid", "precision"), missing)}
    groups = read_json(path)["groups"]
    one = {"floor": {**groups, "normal": {}, "abnormal": {}}, "matched": {**groups, "normal": {}}}
    nothing = {"copies": [], "histories": [], "scores": [outputs["effects"].parent / "scores.csv"]}
    write_json(tmp_path / "verdicts.json", verdicts)
    again = {name: tmp_path / path.name for name, path in outputs.items()}
    for change, fid, only_of, note in (
        ({"floor": fewer}, "", "", "the floor is of other counts"),
        (one, "5.0", "normal", "FID and the like are of normal only"),
    ):
        write_json(path, read_json(path) | change)
        given = {"fidelity": [path], "verdicts": [tmp_path / "verdicts.json"]}
        metrics(MetricsSettings("tb", TITLES, TRAINED, (), ()), **given, **nothing, **again)
        row = read_csv(again["effects"])[0]
        assert (row["fid"], row["fid_only_of"]) == (fid, only_of)
        assert (row["kid"], row["precision"]) == (("0.1", "0.6") if fid else ("", ""))
        assert note in row["note"]


def test_training_history_keeps_every_loss_and_is_bounded(made):
    rows = read_csv(made[1]["training_history"])
    assert {row["loss"] for row in rows} == {"generator", "diversity"}
    assert sum(row["loss"] == "generator" for row in rows) == HISTORY_POINTS
    assert sum(row["loss"] == "diversity" for row in rows) == 4


def test_sweep_starts_at_the_real_arm_and_grows(made):
    rows = read_csv(made[1]["sweep"])
    assert [row["arm"] for row in rows] == ["real", "dcgan", "dcgan_x2", "only_dcgan"]
    assert [float(row["share"]) for row in rows] == pytest.approx([0, 0.2, 0.6, 1])
    assert all(float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in rows)


def outputs(folder):
    return {"out": folder / "leaderboard.csv", "predictors": folder / "predictors.csv"}


def test_leaderboard_puts_the_largest_effect_first(made, tmp_path):
    leaderboard(LeaderboardSettings(("tb",)), effects=[made[1]["effects"]], **outputs(tmp_path))
    rows = read_csv(tmp_path / "leaderboard.csv")
    effects = [float(row["effect"]) for row in rows]
    assert effects == sorted(effects, reverse=True)
    assert tuple(rows[0]) == EFFECT_COLUMNS


def test_of_what_is_better_low_the_best_effect_is_the_lowest(made, tmp_path):
    rows = [row | {"higher_is_better": "no"} for row in read_csv(made[1]["effects"])]
    assert {row["higher_is_better"] for row in read_csv(made[1]["effects"])} == {"yes"}
    write_csv(tmp_path / "effects.csv", [*rows, rows[0] | {"effect": ""}], EFFECT_COLUMNS)
    leaderboard(LeaderboardSettings(("tb",)), effects=[tmp_path / "effects.csv"], **outputs(tmp_path))
    *effects, last = [row["effect"] for row in read_csv(tmp_path / "leaderboard.csv")]
    assert [float(effect) for effect in effects] == sorted(map(float, effects))
    assert last == ""


def test_leaderboard_refuses_the_file_of_another_experiment(made, tmp_path):
    with pytest.raises(InputError, match="not the effects of the experiment 'nuclei'"):
        leaderboard(LeaderboardSettings(("nuclei",)), effects=[made[1]["effects"]], **outputs(tmp_path))
    with pytest.raises(InputError, match="give one each"):
        leaderboard(LeaderboardSettings(("tb", "nuclei")), effects=[made[1]["effects"]], **outputs(tmp_path))

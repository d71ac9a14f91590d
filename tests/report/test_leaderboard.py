"""Numbers for machines: ROC by hand, effects, leaderboard."""

import csv

import pytest
from fabricated_results import GENERATORS, write_all

from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.core.settings import parse
from synthmed.report.leaderboard import (
    EFFECT_COLUMNS,
    HISTORY_POINTS,
    LeaderboardSettings,
    MetricsSettings,
    leaderboard,
    metrics,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrics")
    inputs = write_all(folder / "in")
    outputs = {
        name: folder / f"{name}.csv" for name in ("effects", "sweep", "roc", "training_history")
    } | {"metrics_json": folder / "metrics.json"}  # fmt: skip
    settings = parse(
        MetricsSettings,
        {"experiment": "tb", "classes": ["normal", "abnormal"], "positive": "abnormal", "generators": GENERATORS,
         "trainings": inputs["trainings"]},
    )  # fmt: skip
    names = ("fidelity", "copies", "verdicts", "predictions", "histories", "summary")
    metrics(settings, **{name: inputs[name] for name in names}, **outputs)
    return inputs, outputs


def rows_of(path):
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def test_roc_rows_are_monotonic_and_end_at_one(made):
    rows = [row for row in rows_of(made[1]["roc"]) if row["arm"] == "fastgan"]
    sensitivity = [float(row["true_positive_rate"]) for row in rows]
    assert sensitivity == sorted(sensitivity)
    assert sensitivity[-1] == 1


def test_metrics_json_holds_the_numbers_of_the_verdicts(made):
    inputs, outputs = made
    arms = read_json(inputs["verdicts"])["arms"]
    found = read_json(outputs["metrics_json"])
    assert found["auroc"]["dcgan"] == arms["dcgan"]["auroc"]["value"]
    assert set(found["auroc_difference"]) == set(arms) - {"real"}
    assert set(found["copy_share"]) == set(GENERATORS)
    assert all(set(values) == set(GENERATORS) for values in found["fid"].values())


def test_effects_name_every_generator_and_its_extractor(made):
    rows = rows_of(made[1]["effects"])
    assert {row["generator"] for row in rows} == {entry["title"] for entry in GENERATORS.values()}
    assert all(row["fid_extractor"] for row in rows)


def test_training_history_keeps_every_loss_and_is_bounded(made):
    rows = [row for row in rows_of(made[1]["training_history"]) if row["training"] == "fastgan_normal"]
    losses = {row["loss"] for row in rows}
    assert losses == {"generator", "discriminator", "reconstruction", "diversity"}
    assert all(sum(row["loss"] == loss for row in rows) <= HISTORY_POINTS for loss in losses)
    assert sum(row["loss"] == "diversity" for row in rows) == 4


def test_sweep_starts_at_the_real_arm_and_grows(made):
    shares = [float(row["share"]) for row in rows_of(made[1]["sweep"])]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert len(set(shares)) == len(shares)


def test_leaderboard_puts_the_largest_effect_first(made, tmp_path):
    leaderboard(LeaderboardSettings(("tb",)), effects=[made[1]["effects"]], out=tmp_path / "leaderboard.csv")
    rows = rows_of(tmp_path / "leaderboard.csv")
    effects = [float(row["effect"]) for row in rows]
    assert effects == sorted(effects, reverse=True)
    assert tuple(rows[0]) == EFFECT_COLUMNS


def test_leaderboard_refuses_the_file_of_another_experiment(made, tmp_path):
    with pytest.raises(InputError, match="not the effects of the experiment 'nuclei'"):
        leaderboard(LeaderboardSettings(("nuclei",)), effects=[made[1]["effects"]], out=tmp_path / "leaderboard.csv")
    with pytest.raises(InputError, match="give one each"):
        leaderboard(LeaderboardSettings(("tb", "nuclei")), effects=[made[1]["effects"]], out=tmp_path / "x.csv")

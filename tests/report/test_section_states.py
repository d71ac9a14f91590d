"""The sections over the training and on images of one mask, from made-up results; no number in them was measured."""

import csv

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.core.settings import parse
from synthmed.metrics.estimate import Estimate
from synthmed.report.sections import mask_diversity, states

ENTRY = {"model": "pix2pix", "receptive_field": None, "of": "pix2pix"}


def near(value, n=64):
    return Estimate(value, value * 0.9, value * 1.1, n).to_json()


def scored(folder, name, fids, part="nuclei", labels=("nuclei",)):
    """A file of `score-states`; fids: against the training images, of the test part one more."""
    rows = []
    for step, fid in zip(range(100, 100 * len(fids) + 1, 100), fids, strict=True):
        of = {part: {"fid": near(fid + more), "kid": near(0.01), "fid_few": near(2 * fid)} for part, more in PARTS}
        rows.append({"step": step, **of})
    floor = {part: {"fid": near(1.0), "kid": near(0.0), "fid_few": near(4.0)} for part, _ in PARTS}
    about = {"generator": name, "part": part, "labels": list(labels), "extractor": "colours", "few": 64, "n": 80}
    path = folder / f"{name}.{part}.json"
    write_json(path, {**about, "states": rows, "floor": floor})
    return path


PARTS = (("train", 0.0), ("test", 1.0))


def pictures(path, masked=True):
    arrays = {"steps": np.array([100, 200, 300, 400]), "images": np.zeros((4, 2, 16, 16, 3), np.uint8)}
    if masked:
        mask = np.zeros((2, 16, 16), np.uint16)
        mask[:, 4:8, 4:8], mask[:, 8:12, 8:12] = 1, 10001
        arrays |= {"masks": mask, "real": np.zeros((2, 16, 16, 3), np.uint8)}
    np.savez(path, **arrays)
    return path


DOCUMENT = """
citation: somebody
exhibits:
  states.states:
    caption: The document's Figures 5 and 6.
    columns: {fid_few: FID of 64}
    rows: {patches/train: [150], patches/test: [160]}
words:
  states: It says that one is steadier.
"""


def write_states(folder, scores, names=("patches", "image"), document=None, **changes):
    settings = {
        "generators": {name: ENTRY | {"title": name.capitalize()} for name in names},
        "choose": ["image"], "marks": [200], "steps_shown": [50, 390],
    }  # fmt: skip
    out = [folder / name for name in states.SECTION.files("states")]
    shown = [pictures(folder / f"{name}.npz", masked=name == "patches") for name in names]
    states.section(
        parse(states.StatesSettings, settings | changes), scores=scores, pictures=shown, document=document,
        section=folder / "sections" / "states.json", out=out,
    )  # fmt: skip
    table = next(path for path in out if path.suffix == ".csv")
    return list(csv.DictReader(table.open())), read_json(folder / "sections" / "states.json"), out


def test_best_last_floor_and_how_far_trainings_and_states_lie_apart(tmp_path):
    scores = [
        scored(tmp_path, "patches", [9.0, 3.0, 4.0, 6.0]),
        scored(tmp_path, "patches", [9.0, 5.0, 6.0, 8.0], "nuclei_r2"),
        scored(tmp_path, "image", [8.0, 7.0, 2.0, 2.5]),
    ]
    rows, section, out = write_states(tmp_path, scores)
    assert [(row["generator"], row["part"]) for row in rows] == [
        ("Patches", "training"), ("Patches", "test"), ("Image", "training"), ("Image", "test"),
    ]  # fmt: skip
    first, _, image, _ = rows
    assert (first["best"], first["trainings"], first["used"]) == ("200", "2", "the last")
    assert (image["last_fid_low"], first["last_fid_low"]) == ("2.25", ""), "an interval is of one training"
    assert (image["best"], image["trainings"], image["used"]) == ("300", "1", "the best")
    assert [float(first[key]) for key in ("best_fid", "last_fid", "floor_fid")] == [4.0, 7.0, 1.0], (
        "means of both trainings"
    )
    assert [float(row["best_fid"]) for row in rows] == [4.0, 5.0, 2.0, 3.0]  # the best by the training images
    # Second half: 4, 6 and 6, 8: deviations √2 and √2; differences 2 and 2.
    assert float(first["spread"]) == pytest.approx(np.sqrt(2))
    assert float(first["swing"]) == pytest.approx(2)
    assert image["spread"] == ""
    assert "set repeats" in image["note"]
    assert "Of Image the state with the lowest FID" in section["html"].replace("\n", " ")
    (caption,) = (entry["caption"] for entry in section["exhibits"] if entry["name"] == "states.states")
    for said in ("(best, in each training its own)", "Between trainings:", "of the same half."):
        assert said in caption
    last = [scored(tmp_path, "image", [8.0, 7.0, 4.0, 2.0])]
    _, section, _ = write_states(tmp_path, last, names=("image",))
    (caption,) = (entry["caption"] for entry in section["exhibits"] if entry["name"] == "states.states")
    assert "below them the floor. Between states: the mean difference" in caption
    assert "the second, against the training images." in caption
    assert "trainings" not in caption
    assert all(path.stat().st_size > 5000 for path in out if path.suffix == ".png")


def test_the_best_step_of_each_training_is_its_own(tmp_path):
    scores = [
        scored(tmp_path, "image", [3.0, 2.0, 4.0]),
        scored(tmp_path, "image", [5.0, 6.0, 4.0], "nuclei_r2"),
    ]
    rows, section, _ = write_states(tmp_path, scores, names=("image",))
    assert (rows[0]["best"], float(rows[0]["best_fid"])) == ("200, 300", 3.0)
    (caption,) = (entry["caption"] for entry in section["exhibits"] if entry["name"] == "states.train")
    assert "Of several trainings the mean" in caption


def test_masks_are_spoken_of_only_where_one_is_painted(tmp_path):
    scores = [scored(tmp_path, name, [2.0, 1.0]) for name in ("patches", "image")]
    _, section, _ = write_states(tmp_path, scores)
    for said in (
        "painted for the masks",
        "of their masks where it needs such",
        "Images of 2 masks of the test part, or of 2 draws of noise, at",
    ):
        assert said in " ".join(section["html"].split()), said
    _, section, _ = write_states(tmp_path, scores[1:], names=("image",))
    assert "mask" not in section["html"]
    assert "Images of 2 draws of noise, at several" in section["html"]


def test_trainings_of_different_classes_are_told_apart(tmp_path):
    scores = [scored(tmp_path, "patches", [2.0, 1.0], label, (label,)) for label in ("normal", "sick")]
    rows, _, _ = write_states(tmp_path, scores, names=("patches",), choose=[])
    assert [row["generator"] for row in rows[::2]] == ["Patches (normal)", "Patches (sick)"]


def test_a_documents_numbers_stand_beside_the_generator_and_the_part(tmp_path):
    (tmp_path / "paired.yaml").write_text(DOCUMENT)
    scores = [scored(tmp_path, name, [2.0, 1.0]) for name in ("patches", "image")]
    rows, section, _ = write_states(tmp_path, scores, document=tmp_path / "paired.yaml")
    assert [row["reference_fid_few"] for row in rows] == ["150", "160", "", ""]
    assert "It says that one is steadier." in section["html"]


def test_files_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match="'stranger' is not in the settings"):
        write_states(tmp_path, [scored(tmp_path, "stranger", [1.0])])


def diverse(folder, name, deviation, noise=("channel", "dropout"), **config):
    def measures(value):
        return {"deviation": near(value, 6), "ms_ssim": near(0.9, 6), "lpips": Estimate.missing("no weights").to_json()}

    lacking = {key: Estimate.missing("no noise beside the mask").to_json() for key in mask_diversity.MEASURES}
    sources = {"channel": measures(deviation) if "channel" in noise else lacking, "dropout": measures(3.0)}
    sources["both"] = measures(deviation + 1) if "channel" in noise else lacking
    content = {"generator": name, "config": config, "part": "test", "masks": 6, "samples": 4, "step": 10}
    content |= {"level": 0.9}
    sensitivity = near(0.02, 6) if "channel" in noise else Estimate.missing("no noise beside the mask").to_json()
    write_json(
        folder / f"{name}.json", {**content, "sources": sources, "real": measures(60.0), "sensitivity": sensitivity}
    )
    own = [source for source in sources if source == "dropout" or "channel" in noise]
    images = np.zeros((len(own), 2, 4, 16, 16, 3), np.uint8)
    of_real = {"real": np.zeros((2, 16, 16, 3), np.uint8), "masks": np.zeros((2, 16, 16), np.uint8)}
    np.savez(folder / f"{name}.npz", images=images, sources=np.array(own), **of_real)


def test_images_of_one_mask_by_what_varies(tmp_path):
    diverse(tmp_path, "patches", 5.0, discriminator="patches", l1_weight=100.0)
    diverse(tmp_path, "plain", 0.0, noise=("dropout",), discriminator="patches", l1_weight=0.0)
    names = ("patches", "plain")
    settings = {"generators": {name: ENTRY | {"title": name.capitalize()} for name in names}}
    out = [tmp_path / name for name in mask_diversity.SECTION.files("mask_diversity")]
    mask_diversity.section(
        parse(mask_diversity.MaskDiversitySettings, settings),
        diversity=[tmp_path / f"{name}.json" for name in names], pictures=[tmp_path / f"{name}.npz" for name in names],
        document=None, section=tmp_path / "sections" / "mask_diversity.json", out=out,
    )  # fmt: skip
    said = " ".join(read_json(tmp_path / "sections" / "mask_diversity.json")["html"].split())
    assert "with 90 % intervals over patients" in said
    assert "Patches: 0.083 by noise, 0.050 by dropout, 0.100 by both; Plain: 0.050 by dropout." in said
    assert "mean LPIPS" not in said
    rows = list(csv.DictReader(next(path for path in out if path.suffix == ".csv").open()))
    assert [(row["generator"], row["varies"], row["l1_weight"]) for row in rows] == [
        (name, varies, weight) for name, weight in (("Patches", "100.0"), ("Plain", "0.0"))
        for varies in ("noise", "dropout", "both")
    ]  # fmt: skip
    assert [row["deviation"] for row in rows] == ["5.0", "3.0", "6.0", "", "3.0", ""]
    assert [row["sensitivity"] for row in rows] == ["0.02", "", "", "", "", ""]
    assert float(rows[0]["real_deviation"]) == 60
    assert "no noise beside the mask" in rows[3]["note"]
    assert all(path.stat().st_size > 5000 for path in out if path.suffix == ".png")


@pytest.mark.parametrize(("low", "high"), [(5.8, 16), (9.8, 17), (80, 400), (0.5, 2000), (150, 153)])
def test_a_logarithmic_axis_has_numbers_wherever_it_lies(low, high):
    from synthmed.report.charts.states import _log_ticks
    from synthmed.report.charts.style import plt

    figure, axis = plt.subplots()
    axis.set_ylim(low, high)
    _log_ticks(axis)
    ticks = axis.get_yticks()
    plt.close(figure)
    assert axis.get_ylim() == (low, high)
    assert 3 <= len(ticks) <= 7
    assert np.ptp(np.log(ticks)) > 0.4 * np.log(high / low), "over the whole of the axis"


def test_headings_stand_above_the_first_row_and_where_the_columns_are_others(tmp_path, monkeypatch):
    from synthmed.report.charts import states as charts

    heads = []
    monkeypatch.setattr(charts, "save", lambda figure, path: heads.append([axis.get_title() for axis in figure.axes]))
    arrays = [dict(np.load(pictures(tmp_path / f"{masked}.npz", masked))) for masked in (True, True, False)]
    charts.draw_progress(tmp_path / "p.png", [(str(n), one) for n, one in enumerate(arrays[:2])], [100, 300])
    assert [bool(title) for title in heads[0]] == [True] * 4 + [False] * 12
    charts.draw_progress(tmp_path / "p.png", [(str(n), one) for n, one in enumerate(arrays)], [100, 300])
    assert heads[1][16:18] == ["step 100", "step 300"]
    assert not any(heads[1][4:16])

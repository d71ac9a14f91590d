"""The audit of masks: copies are found as they are or changed, honest masks raise no alarm, empty ones are no copy."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.data.imageset import Legend, write_image_set
from synthmed.evaluation.mask_copies import MaskCopiesSettings, mask_copies
from synthmed.evaluation.plant_copies import kinds, mask_kinds
from synthmed.metrics import copies as metrics

SETTINGS = MaskCopiesSettings(
    generator="dcgan", seed=1, quantile=0.02, pixel_side=16, permutations=99, alpha=0.05, planted_shares=(0.2,),
    planted_sets=10, level=0.95, pairs=4, images=10,
)  # fmt: skip
SIDE = 32
LEGEND = Legend(classes={"lung": 1, "heart": 2})


def masks(count, seed):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        noise = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 4)
        found.append(np.digitize(noise, np.quantile(noise, [0.6, 0.85])).astype(np.uint8))
    return found


def write(path, drawn, origins=None, legend=LEGEND):
    rows = []
    for number, mask in enumerate(drawn):
        fields = {"image": f"{path.stem}_{number:03d}.png", "label": "slices", "patient": f"{path.stem}{number}"}
        fields |= {"origin": origins[number]} if origins else {}
        rows.append((fields, np.full((SIDE, SIDE), 7, np.uint8), mask))
    write_image_set(path, rows, legend)
    return path


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    return {name: write(folder / f"{name}.zip", masks(60, seed)) for seed, name in enumerate(("train", "held_out"))}


def audited(real, tmp_path, drawn, origins=None, **changes):
    fake = write(tmp_path / "fake.zip", drawn, origins)
    files = {"out": tmp_path / "out.json", "pairs": tmp_path / "pairs.png"}
    mask_copies(dataclasses.replace(SETTINGS, **changes), **real, fake=fake, **files)
    return read_json(files["out"])


def test_honest_masks_raise_no_alarm_and_the_limit_is_measured(real, tmp_path):
    found = audited(real, tmp_path, masks(30, 7))
    assert found["alarm"]["word"] == "none found"
    assert (found["identical"], found["n_train"], found["n_fake"]) == (0, 60, 30)
    assert found["overlap"]["fake"]["median"] == pytest.approx(found["overlap"]["held_out"]["median"], abs=0.1)
    detection = found["detection"]
    assert [kind["kind"] for kind in detection["kinds"]] == list(mask_kinds(SIDE))
    rates = {kind["kind"]: kind["sets_found"][0]["value"] for kind in detection["kinds"]}
    assert min(rates["as they are"], rates["mirrored"], rates["with a smoothed border"]) >= 0.9
    assert detection["false_alarms"]["value"] <= 0.1
    assert "30 masks with 6 copies of training masks (20 %)" in found["detection_limit"]
    picture = Image.open(tmp_path / "pairs.png")
    assert np.asarray(picture).std() > 10


def test_copies_are_found_whatever_was_done_to_them(real, tmp_path):
    train = masks(60, 0)
    moved = [np.roll(mask, 1, axis=1) for mask in train[:8]]
    found = audited(real, tmp_path, masks(22, 7) + moved)
    assert found["alarm"]["word"] == "copies"
    assert "masks are nearer to a training mask than real masks of other patients are" in found["alarm"]["reason"]
    assert found["identical"] == 0
    assert {pair["pixels"]["nearest"] for pair in found["closest_pairs"]} <= {f"train_{n:03d}.png" for n in range(8)}
    same = audited(real, tmp_path, [*masks(28, 7), train[3], train[5][:, ::-1]])
    assert same["identical"] == 2
    assert "2 of 30 masks equal a training mask, pixel by pixel" in same["alarm"]["reason"]
    assert same["overlap"]["fake"]["largest"] == 1


def test_one_mask_that_equals_a_training_mask_is_found_among_planted_ones_as_well(real, tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "judge", lambda ratios, patients, measure, weights: np.ones((4, weights.shape[1])))
    found = audited(real, tmp_path, masks(30, 7), planted_shares=(0.01,))["detection"]
    rates = {kind["kind"]: kind["sets_found"][0]["value"] for kind in found["kinds"]}
    assert (rates["as they are"], rates["mirrored"], rates["turned by 3°"]) == (1, 1, 0)


def test_empty_masks_are_copies_of_none(real, tmp_path):
    train = write(tmp_path / "train.zip", [*masks(59, 0), np.zeros((SIDE, SIDE), np.uint8)])
    found = audited(real | {"train": train}, tmp_path, masks(28, 7) + [np.zeros((SIDE, SIDE), np.uint8)] * 2)
    assert (found["identical"], found["empty"], found["n_fake"]) == (0, 2, 30)
    assert found["alarm"]["word"] == "none found"
    assert not {"fake_028.png", "fake_029.png"} & {pair["image"] for pair in found["closest_pairs"]}
    assert found["detection"]["kinds"][0]["images_found"]["value"] == 1, "no empty mask is planted"


def test_what_only_the_border_shows_is_not_compared_but_equal_masks_are_seen(real, tmp_path):
    border = np.zeros((SIDE, SIDE), np.uint8)
    border[0] = 1
    train = write(tmp_path / "train.zip", [*masks(59, 0), border])
    found = audited(real | {"train": train}, tmp_path, [border, *masks(29, 7)])
    assert (found["empty"], found["identical"]) == (1, 1)
    assert found["alarm"] == {"word": "copies", "reason": "1 of 30 masks equal a training mask, pixel by pixel"}
    everyone = audited(real | {"train": train}, tmp_path, [border, *masks(29, 7)], pairs=29)["closest_pairs"]
    assert (len(everyone), [pair["image"] for pair in everyone if pair["identical"]]) == (29, [])


def test_in_a_set_of_empty_masks_is_no_copy(real, tmp_path):
    train = write(tmp_path / "train.zip", [*masks(59, 0), np.zeros((SIDE, SIDE), np.uint8)])
    found = audited(real | {"train": train}, tmp_path, [np.zeros((SIDE, SIDE), np.uint8)] * 3)
    assert (found["empty"], found["identical"], found["suspects"]) == (3, 0, 0)
    assert found["alarm"]["word"] == "none found"
    assert found["alarm"]["reason"] == "no mask shows anything in its middle, so none is a copy"
    assert found["by_space"]["pixels"]["p_smallest"] is None


@pytest.mark.parametrize("name", ["train", "held_out"])
def test_without_real_masks_to_compare_with_it_is_said_which_show_nothing(real, tmp_path, name):
    empty = {name: write(tmp_path / f"{name}.zip", [np.zeros((SIDE, SIDE), np.uint8)] * 20)}
    with pytest.raises(InputError, match=rf"{name}\.zip: no mask shows anything in its middle"):
        audited(real | empty, tmp_path, masks(9, 7))


def test_equal_masks_are_copies_where_nothing_shows_in_the_middle(real, tmp_path):
    border = np.zeros((SIDE, SIDE), np.uint8)
    border[0] = 1
    train = write(tmp_path / "train.zip", [*masks(59, 0), border])
    assert audited(real | {"train": train}, tmp_path, [border] * 3)["alarm"]["word"] == "copies"


def test_masks_made_of_a_real_one_are_held_against_the_others(real, tmp_path):
    train = masks(60, 0)
    moved = [np.roll(mask, 1, axis=0) for mask in train[:30]]
    found = audited(real, tmp_path, moved, origins=[f"train_{number:03d}.png" for number in range(30)])
    assert found["alarm"]["word"] != "copies", "its own mask is left out"
    assert found["origin_identity"]["value"] > 0.9


def test_sets_that_do_not_belong_together_are_refused(real, tmp_path):
    other = write(tmp_path / "fake.zip", masks(3, 7), legend=Legend(classes={"lung": 1, "liver": 2}))
    with pytest.raises(InputError, match=r"fake\.zip: its masks are"):
        mask_copies(SETTINGS, **real, fake=other, out=tmp_path / "o.json", pairs=tmp_path / "p.png")


@pytest.mark.parametrize("kind", mask_kinds(SIDE))
def test_planted_masks_are_masks_and_changed(kind):
    mask = (np.dstack([masks(1, 4)[0] == 1, masks(1, 4)[0] == 2]) * 255).astype(np.uint8)
    changed = mask_kinds(SIDE)[kind](mask, np.random.default_rng(0))
    assert changed.shape == mask.shape
    assert set(np.unique(changed)) == {0, 255}
    assert (kind == "as they are") == np.array_equal(changed, mask)
    assert "noise" not in kind
    assert len(mask_kinds(SIDE)) == len(kinds(SIDE)) - 2

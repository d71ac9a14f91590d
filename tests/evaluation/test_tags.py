"""Tags: the tagger's rates by hand, prevalence corrected for its errors, and the measuring of removal."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from synthmed.classifiers import network
from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_csv
from synthmed.data.imageset import ImageSet, write_image_set, write_not_made
from synthmed.evaluation.removal import RemovalSettings, _realism, measure_removal
from synthmed.evaluation.tags import TagSettings, measure_tags
from synthmed.metrics.classification import share_estimate
from synthmed.metrics.prevalence import effective, true_prevalence

SETTINGS = TagSettings(
    target_column="artefacts", missing="error", classes=("benign", "melanoma"), sets=("gan",), level=0.95, batch_size=8,
    threads=1, device="cpu",
)  # fmt: skip


def test_prevalence_by_hand():
    # 40 % called; Se .9, Sp .8: (.4 + .8 − 1)/(.9 + .8 − 1) = 2/7.
    found = true_prevalence(40, 100, 90, 100, 80, 100, 0.95)
    assert found.value == pytest.approx(2 / 7)
    assert found.low < 2 / 7 < found.high
    assert true_prevalence(0, 100, 90, 100, 80, 100, 0.95).value == 0.0
    assert true_prevalence(40, 100, 10_000, 10_000, 10_000, 10_000, 0.95).value == pytest.approx(0.4)
    assert true_prevalence(40, 100, 50, 100, 50, 100, 0.95).value is None
    with pytest.raises(InputError):
        true_prevalence(1, 2, 0, 0, 1, 1, 0.95)


def test_its_interval_covers_the_truth():
    rng, inside = np.random.default_rng(1), []
    for _ in range(1500):
        called = rng.binomial(200, 0.3 * 0.85 + 0.7 * 0.1)
        found = true_prevalence(called, 200, rng.binomial(40, 0.85), 40, rng.binomial(80, 0.9), 80, 0.95)
        inside.append(found.low <= 0.3 <= found.high)
    assert 0.93 < np.mean(inside) < 0.98


def test_images_of_one_patient_count_as_far_as_they_differ():
    said = np.repeat([True, False, True, False, True, False], 5)
    hits, count = effective(said, np.repeat(np.arange(6), 5))
    assert (hits / count, count) == (0.5, pytest.approx(6 * 5 / 6))  # six patients, by the jackknife G/(G − 1)
    assert effective(said, np.arange(30)) == (15, 30)
    assert effective(said, np.tile(np.arange(6), 5))[1] == 30, "alike by chance only"
    assert effective(np.ones(30, bool), np.repeat(np.arange(6), 5)) == (6, 6)
    assert effective(np.ones(3, bool), np.zeros(3)) == (1, 1)
    assert effective(np.zeros(0, bool), np.zeros(0)) == (0, 0)
    one_of_ten = np.arange(10) == 9
    assert effective(~one_of_ten, one_of_ten) == (0.9, 1), "never fewer than one"
    found = true_prevalence(40, 100, 4.5, 5, 4, 5, 0.95, n=300)
    assert found.value == pytest.approx(2 / 7)
    assert found.n == 300


def test_its_interval_covers_the_truth_where_patients_have_several_images():
    rng, inside, naive = np.random.default_rng(2), [], []
    patients = np.repeat(np.arange(40), 4)
    for _ in range(400):
        right = [rng.random(160) < np.repeat(rng.beta(2 * a, 2 * (1 - a), 40), 4) for a in (0.85, 0.9)]
        called = (rng.binomial(200, 0.3 * 0.85 + 0.7 * 0.1), 200)
        for one, kept in ((patients, inside), (np.arange(160), naive)):
            found = true_prevalence(*called, *effective(right[0], one), *effective(right[1], one), 0.95)
            kept.append(found.low <= 0.3 <= found.high)
    assert np.mean(inside) > 0.93
    assert np.mean(inside) > np.mean(naive) + 0.01


class Brightness(nn.Module):
    """Sees `hair` on dark images and `ruler` on those that are red."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return torch.stack([-20 * images.mean((1, 2, 3)), 20 * (images[:, 0] - images[:, 1]).mean((1, 2)) - 5], 1)


def write(path, rows, images=1):
    """rows: (label, artefacts, dark, red); images: how many each patient has."""
    found = []
    for n, (label, artefacts, dark, red) in enumerate(rows):
        pixels = np.full((16, 16, 3), 60 if dark else 200, np.uint8)
        pixels[..., 0] += np.uint8(55 if red else 0)
        about = {
            "image": f"{path.stem}_{n}.png",
            "label": label,
            "patient": f"{path.stem}{n // images}",
            "split": "",
            "source": "",
        }
        found.append((about | {"artefacts": artefacts}, pixels))
    write_image_set(path, found)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    judge = network.Classifier("toy", ("hair", "ruler"), (3, 16, 16), np.array([[0.5, 0.5]]), [Brightness().eval()])
    monkeypatch.setattr(network, "load", lambda path: judge)
    (tmp_path / "tagger.pt").write_bytes(b"x")
    # Of six dark images five have hair, of the others one of four has.
    test = [("benign", "hair", True, False)] * 3 + [("melanoma", "hair;ruler", True, True)] * 2
    test += [("benign", "none", True, False), ("benign", "hair", False, False), ("benign", "none", False, False)]
    test += [("melanoma", "ruler", False, True), ("melanoma", "none", False, False)]
    write(tmp_path / "test.zip", test)
    write(tmp_path / "train.zip", [("benign", "hair", True, False), ("melanoma", "none", True, False)])
    write(tmp_path / "gan.zip", [("benign", "", True, False)] * 2 + [("benign", "", False, False)] * 2)
    return tmp_path


def measured(folder, settings=SETTINGS):
    files = {name: folder / f"{name}.zip" for name in ("train", "test")}
    measure_tags(
        settings, classifier=folder / "tagger.pt", **files, tags=folder / "tags.csv", out=folder / "out.json",
        synthetic=[folder / f"{name}.zip" for name in settings.sets],
    )  # fmt: skip
    return read_json(folder / "out.json")


def test_rates_of_the_tagger_by_hand(folder):
    hair = measured(folder)["tagger"]["hair"]
    assert (hair["hits"], hair["positives"], hair["rejected"], hair["negatives"]) == (5, 6, 3, 4)
    assert hair["precision"]["value"] == pytest.approx(5 / 6)
    assert hair["recall"]["value"] == pytest.approx(5 / 6)
    assert hair["specificity"]["value"] == pytest.approx(3 / 4)
    assert 0.5 < hair["auroc"] < 1
    assert measured(folder)["tagger"]["ruler"]["auroc"] == 1.0


def test_patients_are_counted_not_their_images(folder):
    hair, none = ("benign", "hair", True, False), ("benign", "none", False, False)
    shy, bald = ("benign", "hair", False, False), ("benign", "none", True, False)
    rows = [hair] * 9 + [shy] * 3 + [none] * 12 + [bald] * 3
    for images in (1, 3):
        for name in ("test", "train"):
            write(folder / f"{name}.zip", rows, images)
        found = measured(folder)
        alone = {"precision": (9, 12), "recall": (9, 12), "specificity": (12, 15)}
        for rate, counts in alone.items():
            exact = share_estimate(*counts, 0.95)
            one = found["tagger"]["hair"][rate]
            assert one["value"] == exact.value
            assert (one["high"] - one["low"] > 1.2 * (exact.high - exact.low)) == (images == 3)
            assert ((one["low"], one["high"]) == (exact.low, exact.high)) == (images == 1)
        labelled = found["sets"]["train"]["benign"]["hair"]["labelled"]
        assert (labelled["n"], labelled["value"]) == (27, 12 / 27)
        assert (labelled["low"] == share_estimate(12, 27, 0.95).low) == (images == 1)
        if images == 1:
            before = found
    one, other = (run["sets"]["gan"]["benign"]["hair"]["estimated"] for run in (before, found))
    assert one["value"] == pytest.approx(other["value"])
    assert one == true_prevalence(2, 4, 9, 12, 12, 15, 0.95).to_json()
    assert other["high"] - other["low"] >= one["high"] - one["low"]


def test_its_own_thresholds_decide(folder):
    network.load(folder / "tagger.pt").thresholds[:] = [[1.1, 0.0]]
    found = {tag: (rates["hits"], rates["rejected"]) for tag, rates in measured(folder)["tagger"].items()}
    assert found == {"hair": (0, 4), "ruler": (3, 0)}


def test_real_images_are_counted_as_labelled_and_synthetic_ones_corrected(folder):
    sets = measured(folder)["sets"]
    assert sets["test"]["benign"]["hair"]["labelled"]["value"] == pytest.approx(4 / 6)
    assert sets["train"]["melanoma"]["hair"]["labelled"]["value"] == 0.0  # though the tagger sees one
    found = sets["gan"]["benign"]["hair"]["estimated"]
    assert found["value"] == pytest.approx((2 / 4 + 3 / 4 - 1) / (5 / 6 + 3 / 4 - 1))
    assert sets["gan"]["melanoma"]["hair"]["estimated"]["value"] is None
    rows = {(row["set"], row["image"]): row for row in read_csv(folder / "tags.csv")}
    assert rows["test", "test_6.png"]["hair"] == "yes"  # as labelled, not as seen
    assert rows["gan", "gan_0.png"]["hair"] == "yes"
    assert rows["gan", "gan_3.png"]["hair"] == "no"


def test_a_set_that_could_not_be_made_is_named_and_has_no_numbers(folder):
    before = measured(folder)
    write_not_made(folder / "edited.zip", "none is left")
    found = measured(folder, dataclasses.replace(SETTINGS, sets=("gan", "edited")))
    assert found == before | {"not_made": {"edited": "none is left"}}
    assert before["not_made"] == {}


def test_a_prevalence_is_that_of_its_class(folder):
    write(folder / "gan.zip", [("benign", "", True, False)] * 2 + [("melanoma", "", False, False)] * 6)
    found = {label: of["hair"]["estimated"]["value"] for label, of in measured(folder)["sets"]["gan"].items()}
    assert found == {"benign": 1.0, "melanoma": 0.0}  # with the benign ones that are called: 0.14


def test_unlabelled_test_images_are_refused(folder):
    write(folder / "test.zip", [("benign", "", True, False)])
    with pytest.raises(InputError, match="empty 'artefacts'"):
        measured(folder)


def remove(folder, settings, tags=None):
    files = {"images": folder / "images.zip", "out": folder / "out.json", "pictures": folder / "p.zip"}
    measure_removal(settings, tags=tags, **files)


def test_removal_is_measured_against_what_the_frame_hid(tmp_path):
    rng, rows = np.random.default_rng(3), []
    y, x = np.mgrid[:48, :48]
    for n in range(12):
        pixels = (np.array([200, 150, 130]) + rng.integers(-9, 10, (48, 48, 3))).astype(np.uint8)
        lesion = (y - 24) ** 2 + (x - 24) ** 2 < 90
        pixels[lesion] = np.where((x // 7 + y // 7) % 2, 60, 120)[lesion][:, None]
        about = {
            "image": f"{n}.png",
            "label": "benign",
            "patient": f"p{n}",
            "split": "",
            "source": "",
            "hair": "no",
            "ruler": "no",
        }
        rows.append((about, pixels, lesion.astype(np.uint8) * 255))
    write_image_set(tmp_path / "images.zip", rows)
    settings = RemovalSettings(images=10, shown=2, level=0.95, tagged=None, seed=1)
    remove(tmp_path, settings)
    found = read_json(tmp_path / "out.json")
    frames = found["frames"]
    assert found["images"] == 10
    assert {entry["refused"] for entry in frames.values()} == {0}
    for name in ("skin_colours", "nearest", "fsr"):
        assert frames[name]["detail"]["value"] == 0.0  # nothing but the frame is touched
        assert frames[name]["left"]["value"] < 0.05
        assert frames[name]["psnr"]["value"] > frames["crop"]["psnr"]["value"]
    assert frames["crop"]["detail"]["value"] > 5
    assert frames["partial_crop"]["detail"]["value"] < frames["crop"]["detail"]["value"]
    assert frames["crop"]["realism"] > 0.9  # the lesion is larger
    assert frames["crop"]["side"] < frames["partial_crop"]["side"] < 1
    assert len(frames["crop"]["sides"]) == 2
    assert "side" not in frames["fsr"]
    assert found["hair"]["detail"]["value"] > 5  # dark fine detail of a lesion goes with the hair
    methods = ImageSet(tmp_path / "p.zip").column("method")
    assert set(methods) == {"original", "framed", "crop", "partial_crop", "skin_colours", "nearest", "fsr", "hair"}


def test_what_a_method_cannot_do_is_counted(tmp_path):
    """A lesion as dark as the frame, which touches it, is taken for a part of it: no crop is left of the image."""
    rows, rng = [], np.random.default_rng(3)
    y, x = np.mgrid[:48, :48]
    for n in range(6):
        pixels = (np.array([200, 150, 130]) + rng.integers(-9, 10, (48, 48, 3))).astype(np.uint8)
        if n == 0:
            pixels[(np.abs(y - x) < 4) & (x + y > 5) & (x + y < 89)] = 20
        rows.append(({"image": f"{n}.png", "label": "benign", "patient": f"p{n}", "hair": "no", "ruler": "no"}, pixels))
    write_image_set(tmp_path / "images.zip", rows)
    settings = RemovalSettings(images=6, shown=1, level=0.95, tagged=None, seed=1)
    remove(tmp_path, settings)
    frames = read_json(tmp_path / "out.json")["frames"]
    assert frames["crop"]["refused"] == 1
    assert frames["crop"]["sides"] == [None]
    assert 0.5 < frames["crop"]["side"] < 1  # of the other five
    assert frames["fsr"]["refused"] == 0


def test_hair_is_told_apart_on_images_without_it(tmp_path):
    """On the others something is taken out, so that these are told apart, which says nothing of what is lost."""
    rng, rows = np.random.default_rng(3), []
    for n in range(12):
        pixels = np.full((32, 32, 3), 1, np.uint8) * rng.integers(120, 200, 3, dtype=np.uint8)
        if n >= 6:
            pixels[2:30:6, 2:30] = 15
        about = {"image": f"{n}.png", "label": "benign", "patient": f"p{n}", "ruler": "no"}
        rows.append((about | {"hair": "yes" if n >= 6 else "no"}, pixels))
    write_image_set(tmp_path / "images.zip", rows)
    settings = RemovalSettings(images=12, shown=1, level=0.95, tagged=None, seed=1)
    remove(tmp_path, settings)
    hair = read_json(tmp_path / "out.json")["hair"]
    assert (hair["images"], hair["touched"], hair["by_tagger"]) == (6, 0.0, False)
    # Photographs that nobody labelled: what the tagger says stands for it.
    write_image_set(tmp_path / "images.zip", [({**row, "hair": "", "ruler": ""}, pixels) for row, pixels in rows])
    remove(tmp_path, settings)
    assert read_json(tmp_path / "out.json")["hair"] is None
    table = [{"set": "real", "image": row["image"], "hair": row["hair"], "ruler": "no"} for row, _ in rows]
    write_csv(tmp_path / "tags.csv", table, ["set", "image", "hair", "ruler"])
    remove(tmp_path, dataclasses.replace(settings, tagged="real"), tmp_path / "tags.csv")
    assert read_json(tmp_path / "out.json")["hair"] == hair | {"by_tagger": True}
    with pytest.raises(InputError, match="give both or neither"):
        remove(tmp_path, settings, tmp_path / "tags.csv")
    assert hair["touched_with"] > 0.1
    assert hair["realism"] == pytest.approx(0.5)
    pixels = np.stack([pixels for _, pixels in rows])
    assert _realism(pixels, pixels, np.zeros(12)) is None, "one patient"

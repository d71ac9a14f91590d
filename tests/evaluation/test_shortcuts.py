"""Frames pasted and taken off, classifiers that look at them and ones that do not, operating points, subgroups."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from synthmed.classifiers.network import Classifier
from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_csv, write_json
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.evaluation import score_sets as scoring
from synthmed.evaluation.change_images import ChangeSettings, change_images
from synthmed.evaluation.score_sets import ScoreSetsSettings, score_sets
from synthmed.evaluation.scores import Cases, Scores, read_scores, write_scores
from synthmed.evaluation.shortcuts import ShortcutSettings, _operating, _subgroup, _switches, measure_shortcuts
from synthmed.metrics.classification import threshold_reaching
from synthmed.metrics.statistics import NO_SPREAD
from synthmed.prepare.dermoscopy import frame_mask, paste_frame, skin_tone

CLASSES = ("benign", "malignant")
SEEDS = 5


def skin(rng, tone=0):
    return np.clip(rng.normal([200 - tone, 160 - tone, 140 - tone], 4, (40, 40, 3)), 0, 255).astype(np.uint8)


def change(chosen, folder, images, out):
    files = {"out": folder / f"{out}.zip", "counts": folder / f"{out}.json"}
    change_images(chosen, images=folder / f"{images}.zip", **files)


@pytest.fixture
def world(tmp_path):
    """20 images of each class, half of the melanomas and one benign image with a frame; half of the skins are dark."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(40):
        malignant, pixels = number % 2 == 1, skin(rng, 60 * (number % 4 > 1))
        framed = number in (0, *range(1, 40, 4))
        if framed:
            pixels = paste_frame(pixels, rng)
        fields = {"image": f"{number:02d}.png", "label": CLASSES[malignant], "patient": f"p{number}"}
        fields |= {"frame": "yes" if framed else "no", "ita": str(-20.0 if number % 4 > 1 else 50.0)}
        rows.append((fields, pixels))
    write_image_set(tmp_path / "test.zip", rows)
    # One of them is not changed, so that test images and changed ones have other places.
    write_image_set(tmp_path / "some.zip", [row for row in rows if row[0]["image"] != "02.png"])
    change(ChangeSettings("frame", "nearest", 1), tmp_path, "some", "changed")
    return tmp_path


# ------------------------------------------------------------------------------------------------------ changed images
def test_frames_are_pasted_where_there_are_none_and_taken_off_where_there_are(world):
    before, changed = ImageSet(world / "some.zip"), ImageSet(world / "changed.zip")
    place = {name: number for number, name in enumerate(before.column("image"))}
    assert sorted(changed.column("origin")) == sorted(place), "every image is changed in one way"
    for number, row in enumerate(changed.rows):
        was, now = before[place[row["origin"]]], changed[number]
        assert (row["frame"] == "yes") == (row["change"] == "removed")
        assert row["label"] == before.rows[place[row["origin"]]]["label"]
        assert frame_mask(was).any() == (row["change"] == "removed")
        assert frame_mask(now).any() == (row["change"] == "pasted")
        assert np.array_equal(was[15:25, 15:25], now[15:25, 15:25]), "the middle stays as it is"
    of = {"pasted": {"benign": 18, "malignant": 10}, "removed": {"benign": 1, "malignant": 10}}
    assert read_json(world / "changed.json") == of | {"unchanged": {}, "refused": {}}


def test_frames_that_are_not_found_or_cannot_be_taken_off_are_counted_and_left_out(tmp_path):
    rng = np.random.default_rng(0)
    covered = np.full((40, 40, 3), 5, np.uint8)
    covered[19:21, 19:21] = 200  # within the soft edge of the frame, so that no crop is without
    shown = {"a.png": skin(rng), "b.png": covered, "c.png": paste_frame(skin(rng), rng)}
    fields = {"label": "malignant", "frame": "yes"}
    rows = [({"image": name, "patient": name, **fields}, pixels) for name, pixels in shown.items()]
    write_image_set(tmp_path / "images.zip", rows)
    change(ChangeSettings("frame", "crop", 1), tmp_path, "images", "out")
    assert ImageSet(tmp_path / "out.zip").column("origin") == ["c.png"]
    one = {"malignant": 1}
    assert read_json(tmp_path / "out.json") == {"pasted": {}, "removed": one, "unchanged": one, "refused": one}


def test_every_image_gets_a_frame_of_its_own(tmp_path):
    one = skin(np.random.default_rng(0))
    fields = {"label": "benign", "frame": "no"}
    write_image_set(tmp_path / "images.zip", [({"image": f"{n}.png", "patient": n, **fields}, one) for n in "ab"])
    change(ChangeSettings("frame", "crop", 1), tmp_path, "images", "out")
    first, second = ImageSet(tmp_path / "out.zip").pixels
    assert (first != second).any()


def test_without_a_column_frames_are_looked_for(world):
    chosen = ChangeSettings(None, "fsr", 1)
    change(chosen, world, "some", "again")
    kinds = [row["change"] for row in ImageSet(world / "again.zip").rows]
    assert kinds == [row["change"] for row in ImageSet(world / "changed.zip").rows]


def test_a_column_that_says_neither_yes_nor_no_is_refused(world):
    with pytest.raises(InputError, match=r"column 'ita', not yes or no"):
        change(ChangeSettings("ita", "nearest", 1), world, "test", "x")


class Middle(torch.nn.Module):
    """Says malignant as far as the middle of the image is bright, by its first channel."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        share = ((images[:, 0, 20, 20] + 1) / 2).clamp(1e-3, 1 - 1e-3)
        return torch.logit(share)[:, None]


def test_further_sets_are_scored_by_every_arm(world, monkeypatch):
    made = Classifier("middle", ("malignant",), (3, 40, 40), np.zeros((2, 1)), [Middle()] * 2, False)
    monkeypatch.setattr(
        scoring.network, "load_trained", lambda arms, paths: zip(arms, [made] * len(paths), strict=True)
    )
    chosen = ScoreSetsSettings(8, 1, "cpu", CLASSES, "malignant", ("real", "other"), ("changed",))
    sets = {"classifiers": [world / "a.pt", world / "b.pt"], "sets": [world / "changed.zip"]}
    score_sets(chosen, **sets, scores=world / "s.csv")
    found = read_scores(world / "s.csv", ["p_malignant", "p_benign"])
    images = ImageSet(world / "changed.zip")
    value = {row["image"]: images[number][20, 20, 0] / 255 for number, row in enumerate(images.rows)}
    expected = [value[name] for name in found.cases["changed"].images.tolist()]
    np.testing.assert_allclose(found.values["other", "changed"][1, :, 0], expected, atol=1e-6)
    np.testing.assert_allclose(found.values["real", "changed"].sum(axis=2), 1)
    with pytest.raises(InputError, match="classifiers: 1 files for"):
        score_sets(chosen, classifiers=[world / "a.pt"], sets=[world / "changed.zip"], scores=world / "s.csv")


# -------------------------------------------------------------------------------------------------------- the measures
def settings(**changes):
    values = {
        "sensitivity": 0.9, "tags": ("frame",), "skin_tones": {"light": 41.0, "dark": None}, "skin_tone_column": "ita",
        "classes": CLASSES, "positive": "malignant", "threshold": 0.5, "alpha": 0.05, "tagged": None,
    }  # fmt: skip
    return ShortcutSettings(**(values | changes))


def scores_of(images, looks, rng, seeds):
    """(S, N, 2): by the frame, or by the class, and noise."""
    changed = np.array([row.get("change", "") for row in images.rows])
    framed = np.array([row["frame"] == "yes" for row in images.rows])
    framed = np.where(changed == "", framed, changed == "pasted")
    seen = framed if looks == "frame" else np.array([row["label"] == "malignant" for row in images.rows])
    positive = np.clip(0.25 + 0.5 * seen + rng.normal(0, 0.05, (seeds, len(seen))), 0.01, 0.99)
    return np.stack([1 - positive, positive], axis=2)


@pytest.fixture
def measured(world):
    def do(chosen=None, seeds=SEEDS, threshold=0.5, trainings=1, tags=None):
        rng = np.random.default_rng(3)
        test, changed = ImageSet(world / "test.zip"), ImageSet(world / "changed.zip")

        def table(sets):
            cases = {
                name: Cases(*(np.array(images.column(column)) for column in ("image", "patient", "label")))
                for name, images in sets.items()
            }
            arms = {"real": "frame", "only_gan": "class"}
            values = {
                (arm, name): scores_of(images, looks, rng, seeds)
                for arm, looks in arms.items()
                for name, images in sets.items()
            }
            return Scores(("p_benign", "p_malignant"), cases, values)

        validation = ImageSet(world / "test.zip")
        write_scores(world / "own.csv", table({"test": test}))
        further = table({"validation": validation, "changed": changed})
        for arm in ("real", "only_gan"):
            # A threshold from these is too low for the test images.
            further.values[arm, "validation"][:] = further.values[arm, "validation"] * [1.0, 0.5]
        write_scores(world / "further.csv", further)
        arms = {name: {"title": name, "set": None, "trainings": 1} for name in ("real", "only_gan")}
        arms["only_gan"] |= {"trainings": trainings}
        write_json(world / "summary.json", {"thresholds": {"only_gan": [threshold] * seeds}, "arms": arms})
        files = {name: world / f"{name}.zip" for name in ("test", "changed")}
        measure_shortcuts(
            chosen or settings(), scores=world / "own.csv", summary=world / "summary.json",
            further=world / "further.csv", **files, tags=tags, out=world / "out.json",
        )  # fmt: skip
        return read_json(world / "out.json")

    return do


def test_a_classifier_that_looks_at_the_frame_switches_and_another_does_not(measured):
    found = measured()
    of_benign, of_malignant = (
        {"pasted/benign": 18, "removed/benign": 1},
        {"pasted/malignant": 10, "removed/malignant": 10},
    )
    assert found["changed"] == of_benign | of_malignant
    real, other = (found["arms"][arm]["switched"] for arm in ("real", "only_gan"))
    for key in ("pasted/benign", "removed/malignant"):
        assert real[key]["switched"]["value"] == 1.0
        assert other[key]["switched"]["value"] == 0.0
        assert real[key]["versus_real"] is None
        assert other[key]["versus_real"]["difference"]["value"] == -1.0
        assert other[key]["versus_real"]["word"] == "fewer"
    assert real["pasted/benign"]["net"] == 1.0
    assert real["removed/malignant"]["net"] == -1.0
    assert real["pasted/benign"]["shift"] == pytest.approx(0.5, abs=0.05)
    assert found["arms"]["only_gan"]["switched"]["removed/benign"]["switched"]["n"] == 1


def switches(called, patients, change, label="benign", seeds=SEEDS, trainings=None, **settings_):
    """What `_switches` finds of decisions on one image a place: (arm, test) → (N,) or (S, N)."""
    names, arms = np.array([f"{n}.png" for n in range(len(patients))]), tuple(dict.fromkeys(arm for arm, _ in called))
    cases = Cases(names, np.array(patients), np.full(len(names), label))
    decided = {key: np.array(np.broadcast_to(one, (seeds, len(names))), bool) for key, one in called.items()}
    found = SimpleNamespace(
        arms=arms, seeds=seeds, level=0.95, settings=settings(**settings_), cases={"test": cases, "changed": cases},
        scores={key: one.astype(float) for key, one in decided.items()}, called=lambda *key: decided[key],
        trainings=trainings or dict.fromkeys(arms, 1),
    )  # fmt: skip
    rows = {name: {"origin": name, "change": change} for name in names.tolist()}
    return {arm: one[f"{change}/{label}"] for arm, one in _switches(found, rows, None).items()}


@pytest.mark.parametrize(("patients", "word"), [(2, "no evidence of a difference"), (4, "no evidence of a difference"),
                                                (8, "fewer")])  # fmt: skip
def test_all_decisions_against_none_are_fewer_where_patients_are_enough(patients, word):
    """No training and no patient spreads then, so that the sign test over patients tells."""
    called = {("real", "test"): 0, ("real", "changed"): 1, ("other", "test"): 0, ("other", "changed"): 0}
    versus = switches(called, range(patients), "pasted")["other"]["versus_real"]
    assert versus["p_holm"] == pytest.approx(2 * 0.5**patients)
    assert versus["word"] == word
    assert versus["reason"] == (None if word == "fewer" else NO_SPREAD)


def test_the_share_is_of_the_images_that_could_switch():
    """Both look at the frame in half of the images that they call benign; but the other calls few so. As shares of all
    images they would differ."""
    rng = np.random.default_rng(5)
    could = {"real": np.ones((SEEDS, 400), bool), "other": rng.random((SEEDS, 400)) < 0.5}
    called = {}
    for arm, one in could.items():
        called |= {(arm, "test"): ~one, (arm, "changed"): ~one | (rng.random(one.shape) < 0.5)}
    found = switches(called, range(400), "pasted")
    for arm, one in could.items():
        assert found[arm]["could"] == pytest.approx(one.sum(axis=1).mean())
        assert found[arm]["switched"]["value"] == pytest.approx(0.5, abs=0.05)
        shares = (called[arm, "changed"] & one).sum(axis=1) / one.sum(axis=1)
        assert found[arm]["switched"]["value"] == pytest.approx(shares.mean())
    assert found["other"]["versus_real"]["word"] == "no evidence of a difference"


def test_more_switches_are_said_so_and_no_word_is_given_of_two_trainings_of_a_generator():
    called = {("real", "test"): 0, ("real", "changed"): 0, ("other", "test"): 0, ("other", "changed"): 1}
    assert switches(called, range(8), "pasted")["other"]["versus_real"]["word"] == "more"
    twice = switches(called, range(8), "pasted", seeds=6, trainings={"real": 1, "other": 2})["other"]["versus_real"]
    assert twice["word"] is None
    assert twice["reason"].startswith("2 trainings of its generator")


def test_where_few_could_switch_the_interval_is_wide_and_where_none_could_there_is_none():
    rng = np.random.default_rng(6)
    after = rng.random(40) < 0.5

    def of_first(able):
        before = np.arange(40) >= able
        called = {("real", "test"): 0, ("real", "changed"): after, ("other", "test"): before}
        return switches(called | {("other", "changed"): after | before}, range(40), "pasted")["other"]

    many, few, one, none = (of_first(able) for able in (40, 6, 1, 0))
    widths = [share["switched"]["high"] - share["switched"]["low"] for share in (many, few)]
    assert widths[1] > 2 * widths[0]
    for lacking in (one, none):
        assert lacking["switched"]["value"] is None
        assert (lacking["versus_real"]["word"], lacking["versus_real"]["p_holm"]) == (None, None)
    assert "no such case" in none["versus_real"]["reason"]
    assert "is the only one" in one["versus_real"]["reason"]


def test_both_changes_are_one_family(measured):
    found = measured()["arms"]["only_gan"]["switched"]
    # Pasting on 18 patients, taking off 10: the sign tests, times two and one.
    assert found["pasted/benign"]["versus_real"]["p_holm"] == pytest.approx(2 * 2 * 0.5**18)
    assert found["removed/malignant"]["versus_real"]["p_holm"] == pytest.approx(2 * 0.5**10)
    assert found["pasted/malignant"]["versus_real"] is None, "no false alarm: nothing is said of it"


def test_switches_by_hand():
    """Two images of each of four patients: those that become positive by pasting count, those that become negative by
    taking off; and patients are what is tested, not images."""
    patients, real = np.repeat([0, 1, 2, 3], 2), [[0, 0, 1, 1, 0, 0, 1, 1], [1, 0, 0, 1, 1, 0, 0, 1]]
    called = {("real", "test"): real[0], ("real", "changed"): real[1], ("other", "test"): 1, ("other", "changed"): 1}
    for change in ("pasted", "removed"):
        found = switches(called, patients, change)
        assert (found["real"]["switched"]["value"], found["real"]["could"], found["real"]["net"]) == (0.5, 4.0, 0.0)
        able = found["other"]["switched"]["value"]
        assert able is None if change == "pasted" else able == 0
    called = {("real", "test"): 0, ("real", "changed"): 0, ("other", "test"): 0, ("other", "changed"): 1}
    versus = switches(called, patients, "pasted")["other"]["versus_real"]
    assert versus["p_holm"] == pytest.approx(2 * 0.5**4)


def test_decisions_are_by_the_thresholds_of_each_training_set(measured):
    rates = measured(threshold=0.999)["arms"]
    assert rates["only_gan"]["subgroups"]["skin: light"]["sensitivity"]["value"] == 0
    assert rates["real"]["subgroups"]["skin: light"]["sensitivity"]["value"] > 0


def test_fewer_switches_are_said_so_and_no_word_is_given_with_few_trainings(world, measured, monkeypatch):
    import synthmed.evaluation.shortcuts as module

    # Some noise, so that there is a spread to test against.
    monkeypatch.setattr(module._Classifiers, "called", lambda self, arm, test: _noisy(self, arm, test))
    versus = measured()["arms"]["only_gan"]["switched"]["pasted/benign"]["versus_real"]
    assert versus["word"] == "fewer"
    assert versus["p_holm"] < 0.01
    few = measured(seeds=3)["arms"]["only_gan"]["switched"]["pasted/benign"]["versus_real"]
    assert few["word"] is None
    assert few["reason"].startswith("3 training seeds")


def test_several_trainings_of_a_generator_are_a_source_of_chance(measured, monkeypatch):
    import synthmed.evaluation.shortcuts as module

    def called(self, arm, test):
        """A third of the decisions of the first two of six classifiers is turned: those of one training of three."""
        found = self.scores[arm, test] >= self.thresholds[arm][:, None]
        if arm == "only_gan":
            found[:2, ::3] ^= True
        return found

    monkeypatch.setattr(module._Classifiers, "called", called)

    def ends(trainings):
        arm = measured(seeds=6, trainings=trainings)["arms"]["only_gan"]
        pasted = arm["switched"]["pasted/benign"]
        return [pasted["versus_real"]["difference"], arm["subgroups"]["skin: light"]["specificity"]]

    for one, three in zip(ends(1), ends(3), strict=True):
        assert three["value"] == pytest.approx(one["value"])
        assert three["high"] - three["low"] > 1.2 * (one["high"] - one["low"])


def _noisy(self, arm, test):
    rng = np.random.default_rng([*map(ord, arm + test)])
    called = self.scores[arm, test] >= self.thresholds[arm][:, None]
    return called ^ (rng.random(called.shape) < 0.1)


def test_the_threshold_of_a_sensitivity_comes_from_validation_images(measured):
    found = measured()
    operating = found["arms"]["only_gan"]["operating"]
    assert operating["specificity"]["value"] > 0.9
    assert operating["sensitivity"]["value"] == 1.0, "a threshold from the test images would find 0.9 of them"
    # Half of the melanomas have no frame: whoever looks at it must call nearly everything.
    assert found["arms"]["real"]["operating"]["specificity"]["value"] < 0.5


def test_operating_points_and_areas_are_of_the_arms_own_scores_and_trainings():
    """The other's scores are higher throughout, and those of one of its three trainings tell less."""
    rng, truth = np.random.default_rng(8), np.arange(80) % 2 == 1
    names = np.array([f"{number}.png" for number in range(80)])
    cases = Cases(names, names, np.where(truth, "malignant", "benign"))
    scores = {
        (arm, test): higher + 2 * truth + rng.normal(size=(6, 80))
        for arm, higher in (("real", 0), ("other", 5))
        for test in ("validation", "test")
    }
    scores["other", "test"][:2, ~truth] += 2

    def found(trainings):
        made = SimpleNamespace(
            level=0.95, settings=settings(), cases={"test": cases}, scores=scores, truth=lambda test: truth,
            called=lambda arm, test: scores[arm, test] > 6, trainings={"real": 1, "other": trainings},
        )  # fmt: skip
        area = _subgroup(made, "other", np.ones(80, bool))["auroc"]
        return [_operating(made, "other")["specificity"], area]

    limits = [threshold_reaching(row, truth, 0.9) for row in scores["other", "validation"]]
    right = [(row[~truth] < limit).mean() for row, limit in zip(scores["other", "test"], limits, strict=True)]
    for expected, one, three in zip((np.mean(right), None), found(1), found(3), strict=True):
        assert one["value"] == pytest.approx(expected or three["value"])
        assert three["high"] - three["low"] > 1.2 * (one["high"] - one["low"])


def test_subgroups_by_hand(measured, world):
    found = measured()
    assert found["order"] == ["frame: yes", "frame: no", "skin: light", "skin: dark"]
    assert found["groups"] == {
        "frame: yes": {"benign": 1, "malignant": 10},
        "frame: no": {"benign": 19, "malignant": 10},
        "skin: light": {"benign": 10, "malignant": 10},
        "skin: dark": {"benign": 10, "malignant": 10},
    }
    scores = read_scores(world / "own.csv", ["p_malignant"])
    cases, values = scores.cases["test"], scores.values["real", "test"][:, :, 0]
    light = np.array([int(name[:2]) % 4 <= 1 for name in cases.images.tolist()])
    positive = cases.labels == "malignant"
    by_hand = np.mean(
        [(row[light & positive][:, None] > row[light & ~positive]).mean() for row in values]  # no ties
    )
    group = found["arms"]["real"]["subgroups"]["skin: light"]
    assert group["auroc"]["value"] == pytest.approx(by_hand)
    assert group["sensitivity"]["value"] == pytest.approx((values[:, light & positive] >= 0.5).mean())
    assert group["specificity"]["value"] == pytest.approx((values[:, light & ~positive] < 0.5).mean())
    one_benign = found["arms"]["real"]["subgroups"]["frame: yes"]
    assert one_benign["auroc"]["value"] is None, "one patient of a class has no variance"


def test_images_of_which_nothing_is_known_are_a_subgroup(measured, world):
    images = ImageSet(world / "test.zip")
    unknown = {"00.png": {"ita": ""}, "05.png": {"ita": "", "frame": ""}, "06.png": {"frame": "unsure"}}
    rows = [(row | unknown.get(row["image"], {}), images[n]) for n, row in enumerate(images.rows)]
    write_image_set(world / "test.zip", rows)
    found = measured()
    assert found["order"] == [
        *("frame: yes", "frame: no", "frame: not known"), *("skin: light", "skin: dark", "skin: not known"),
    ]  # fmt: skip
    assert found["groups"]["frame: not known"] == found["groups"]["skin: not known"] == {"benign": 1, "malignant": 1}
    for names in (("frame: yes", "frame: no", "frame: not known"), ("skin: light", "skin: dark", "skin: not known")):
        assert sum(sum(found["groups"][name].values()) for name in names) == 40


def test_what_the_tagger_sees_makes_subgroups_of_photographs_that_nobody_labelled(measured, world):
    images = ImageSet(world / "test.zip")
    rows = [{"set": "real_test", "image": row["image"], "hair": "yes"} for row in images.rows[:10]]
    rows += [{"set": "real_test", "image": row["image"], "hair": "no"} for row in images.rows[10:39]]
    write_csv(world / "tags.csv", [{**rows[0], "set": "gan"}, *rows], ["set", "image", "hair"])
    asked = settings(tags=("hair",), skin_tones={}, tagged="real_test")
    found = measured(asked, tags=world / "tags.csv")
    assert found["order"] == ["hair: yes", "hair: no", "hair: not known"]
    assert [sum(found["groups"][name].values()) for name in found["order"]] == [10, 29, 1]
    assert (found["by_tagger"], measured()["by_tagger"]) == (True, False)
    with pytest.raises(InputError, match="give both or neither"):
        measured(tags=world / "tags.csv")
    with pytest.raises(InputError, match="no tag of that name"):
        measured(settings(tags=("frame",), tagged="real_test"), tags=world / "tags.csv")


def test_skin_tones_are_measured_where_no_column_has_them(measured):
    assert measured(settings(skin_tone_column=None))["groups"]["skin: light"]["benign"] > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tags": ("hair",)}, "no column 'hair'"),
        ({"skin_tone_column": "tone"}, "no column 'tone'"),
    ],
)
def test_columns_that_there_are_not_are_refused(measured, changes, said):
    with pytest.raises(InputError, match=said):
        measured(settings(**changes))


@pytest.mark.parametrize(
    "tones",
    [
        {"dark": 10.0, "light": 41.0, "rest": None},
        {"light": 41.0, "dark": 10.0},
        {"light": 41.0, "between": None, "dark": None},
        {"light": 41.0, "dark": 41.0, "rest": None},
    ],
)
def test_skin_tones_fall_and_the_last_one_takes_the_rest(tones):
    with pytest.raises(InputError, match=r"lightest first, .* and give the last one, and no other, null"):
        settings(skin_tones=tones)


def test_skin_tones_that_pass():
    settings(skin_tones={})
    settings(skin_tones={"all": None})
    settings(skin_tones={"light": 41.0, "brown": 10.0, "dark": None})


def test_other_images_are_refused(measured, world):
    measured()
    rows = [({"image": "x.png", "label": "benign", "patient": "a", "frame": "no"}, np.zeros((8, 8, 3), np.uint8))]
    write_image_set(world / "test.zip", rows)
    with pytest.raises(InputError, match="other images than those of"):
        measure_shortcuts(
            settings(), scores=world / "own.csv", summary=world / "summary.json", further=world / "further.csv",
            test=world / "test.zip", changed=world / "changed.zip", tags=None, out=world / "out.json",
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------------- their numbers
def test_the_highest_threshold_that_reaches_a_sensitivity():
    scores, positive = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), np.array([1, 0, 1, 1, 0, 1], bool)
    for wanted, found in ((0.5, 2), (0.75, 3), (0.76, 4), (1.0, 4)):
        threshold = threshold_reaching(scores, positive, wanted)
        assert (scores[positive] >= threshold).sum() == found
        assert threshold <= np.sort(scores[positive])[::-1][found - 1]
    assert 0.6 < threshold_reaching(scores, positive, 0.5) < 0.7


def test_the_angle_of_skin_is_that_of_its_colour():
    """CIE Lab of sRGB (200, 160, 140) by hand (D65): L* 69.0, b* 17.5 → 47.4°."""
    linear = lambda c: c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4  # noqa: E731
    f = lambda t: t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29  # noqa: E731
    red, green, blue = (linear(value / 255) for value in (200, 160, 140))
    y = 0.2126729 * red + 0.7151522 * green + 0.0721750 * blue
    z = (0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883
    angle = np.degrees(np.arctan((116 * f(y) - 16 - 50) / (200 * (f(y) - f(z)))))
    image = np.tile(np.array([200, 160, 140], np.uint8), (40, 40, 1))
    image[10:20, 10:20] = (60, 30, 20)  # the lesion
    assert skin_tone(image) == pytest.approx(angle, abs=0.3)
    assert skin_tone(paste_frame(image, np.random.default_rng(1))) == pytest.approx(angle, abs=0.3)
    assert skin_tone(image - 30) < angle

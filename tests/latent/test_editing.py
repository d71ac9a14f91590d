"""Editing in a world where what does what is known (linear_world)."""

import dataclasses

import linear_world
import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.data.imageset import ImageSet
from synthmed.latent import editing
from synthmed.latent.directions import held_out, svm_boundary
from synthmed.latent.editing import EditingSettings, edit_latents, fall, outcomes
from synthmed.latent.eye import Walk
from synthmed.latent.sample_file import read_samples, write_samples
from synthmed.latent.samples import LatentSamplesSettings, latent_samples

SAMPLES = LatentSamplesSettings(
    model="dcgan", generator="toy", space="z", count=1200, seed=3, batch_size=400, save_every=3000, threads=1,
    device="cpu", label=None,
)  # fmt: skip
SETTINGS = EditingSettings(
    model="dcgan", generator="toy", label=None, seed=1, remove="left", keep="right", candidates=12, penalty=1.0,
    ridge=0.01, distances=(0.0, 1.0, 2.0, 3.0), keep_length=False, choosing=8, starts=16, shown=2, level=0.95,
    resamples=200, batch_size=400, threads=1, device="cpu",
)  # fmt: skip


@pytest.fixture
def world(monkeypatch, tmp_path):
    gan = linear_world.in_the_linear_world(monkeypatch, tmp_path)
    sampled(tmp_path)
    return gan


def sampled(folder, **changes):
    latent_samples(
        dataclasses.replace(SAMPLES, **changes),
        checkpoint=folder / "generator.pt",
        classifier=folder / "classifier.pt",
        samples=folder / "samples.npz",
    )


def edited(folder, **changes):
    edit_latents(
        dataclasses.replace(SETTINGS, **changes),
        checkpoint=folder / "generator.pt",
        classifier=folder / "classifier.pt",
        samples=folder / "samples.npz",
        images=folder / "images.zip",
        out=folder / "out.json",
        directions=folder / "directions.npz",
    )
    return read_json(folder / "out.json")


def test_the_directions_take_it_away(world, tmp_path):
    edited(tmp_path)
    found = dict(np.load(tmp_path / "directions.npz"))
    assert [found.pop(name) for name in ("space", "remove", "reason")] == ["z", "left", ""]
    for name in ("svm", "regression", "sefa"):
        along = found[name] @ linear_world.LEFT
        assert along < -0.5, name
        assert np.linalg.norm(found[name]) == pytest.approx(1.0, abs=0.15), "a standard deviation of the codes"


def curves(result):
    return {entry["method"]: entry["path"] for entry in result["methods"]}


# ------------------------------------------------------------------------------------------------------- the measures
def test_outcomes_by_hand():
    # Two starts, four steps. The first loses the thing at step 1, its class flips at step 2; the second flips first,
    # and flips back: too late for `in_time`.
    likelihoods = np.zeros((4, 2, 2))
    likelihoods[:, 0, 0], likelihoods[:, 1, 0] = [0.9, 0.4, 0.2, 0.1], [0.8, 0.7, 0.3, 0.4]
    likelihoods[:, 0, 1], likelihoods[:, 1, 1] = [0.9, 0.8, 0.3, 0.9], [0.2, 0.6, 0.7, 0.1]
    walk = Walk(likelihoods, np.zeros((4, 2)), np.array([[0, 0], [1, 2], [2, 4], [4, 8]]))
    found = outcomes(walk, 0, 1, apart=4.0)
    assert found["removed"].tolist() == [[False, False], [True, False], [True, True], [True, True]]
    assert found["kept"].tolist() == [[True, True], [True, False], [False, False], [True, True]]
    assert found["in_time"].tolist() == [[False, False], [True, False], [True, False], [True, False]]
    assert np.allclose(found["class_change"][2], [0.6, 0.5])
    assert found["identity"][:, 0].tolist() == [0, 0.25, 0.5, 1.0]
    assert outcomes(walk, 0, None, 4.0)["in_time"].tolist() == [
        [False, False], [True, False], [True, True], [True, True]
    ]  # fmt: skip
    assert fall(likelihoods[:, :, 0]) == pytest.approx(np.mean([0.5, 0.7, 0.8, 0.1, 0.5, 0.4]))


# ------------------------------------------------------------------------------------------------------------ the step
def test_methods_that_know_the_labels_find_the_way(world, tmp_path):
    result = edited(tmp_path)
    assert result["reason"] is None
    assert result["starts"] == 16
    found = curves(result)
    for name in ("svm", "regression"):
        assert found[name][0]["removed"]["value"] == 0
        assert found[name][-1]["removed"]["value"] > 0.95
    (svm,) = [entry for entry in result["methods"] if entry["method"] == "svm"]
    assert (svm["sign"], svm["candidate"], svm["of"]) == (-1, 1, 1)
    assert svm["cosine_to_svm"] == pytest.approx(-1)
    assert result["boundary"]["auroc"] > 0.95
    near = {name: path[1]["likelihood"]["value"] for name, path in found.items()}
    assert near["svm"] < near["random"] - 0.1
    # SeFa's first weights are the four directions that are seen, so one of 12 candidates is better than chance.
    assert near["sefa"] < near["random"]


def test_orthogonal_directions_leave_the_class_alone(world, tmp_path):
    found = curves(edited(tmp_path))
    plain, apart = (found[name][-1] for name in ("regression", "regression_orthogonal"))
    assert apart["class_change"]["value"] < 0.5 * plain["class_change"]["value"]
    assert apart["kept"]["value"] > plain["kept"]["value"]
    assert apart["removed"]["value"] > 0.9
    assert {name for name in found if name.endswith("_orthogonal")} == {
        f"{name}_orthogonal" for name in ("svm", "regression", "pca", "sefa")
    }
    # LEFT and RIGHT share half: without it, moving a standard deviation moves left by √3/2 only.
    (entry,) = [e for e in edited(tmp_path)["methods"] if e["method"] == "svm_orthogonal"]
    assert abs(entry["cosine_to_svm"]) == pytest.approx(np.sqrt(0.75), abs=0.05)


def test_without_a_class_nothing_is_projected_or_said_of_it(world, tmp_path):
    result = edited(tmp_path, keep=None)
    assert {entry["method"] for entry in result["methods"]} == {"svm", "regression", "pca", "sefa", "random"}
    assert set(result["methods"][0]["path"][0]) == {"distance", "likelihood", "removed", "identity"}
    assert set(result["rejection"]) == {"accepted", "before", "after"}


def test_the_boundary_is_of_the_first_half_and_judged_on_the_second(world, tmp_path):
    result, drawn = edited(tmp_path), read_samples(tmp_path / "samples.npz")
    shown = drawn.likelihoods[:, drawn.targets.index("left")] >= 0.5
    boundary = svm_boundary(drawn.codes[:600], shown[:600], 1.0)
    assert result["boundary"] == pytest.approx(held_out(boundary, drawn.codes[600:], shown[600:]))
    assert result["prevalence"] == shown.mean()
    # What is judged does not choose: with the last quarter in another order, the same directions by the same falls.
    turned = {
        name: np.concatenate([getattr(drawn, name)[:900], getattr(drawn, name)[:899:-1]])
        for name in ("codes", "likelihoods")
    }
    write_samples(tmp_path / "samples.npz", dataclasses.replace(drawn, **turned))
    other = edited(tmp_path)
    assert other["methods"][0]["path"] != result["methods"][0]["path"]
    for one, two in zip(result["methods"], other["methods"], strict=True):
        assert (one["candidate"], one["sign"]) == (two["candidate"], two["sign"])
        assert one["choosing_fall"] == pytest.approx(two["choosing_fall"], abs=1e-6)


def test_a_space_of_another_scale_gives_the_same_curves(world, tmp_path):
    """Distances are in standard deviations of the codes, the ridge in units of their variance."""
    in_z = edited(tmp_path, ridge=3.0)
    sampled(tmp_path, space="w")
    in_w = edited(tmp_path, ridge=3.0)
    for name in ("svm", "regression", "regression_orthogonal", "sefa"):
        for one, other in zip(curves(in_z)[name], curves(in_w)[name], strict=True):
            assert one["likelihood"]["value"] == pytest.approx(other["likelihood"]["value"], abs=0.02), name


def test_principal_directions_are_of_images_in_z_and_of_codes_in_w(world, tmp_path):
    def tried():
        return next(entry["of"] for entry in edited(tmp_path)["methods"] if entry["method"] == "pca")

    assert tried() == 4  # the quarters that an image consists of
    sampled(tmp_path, space="w")
    assert tried() == 12


def test_rejection_leaves_what_the_boundary_accepts(world, tmp_path):
    rejection = edited(tmp_path)["rejection"]
    assert rejection["after"]["value"] < 0.3 * rejection["before"]["value"]
    assert rejection["accepted"] == pytest.approx(1 - rejection["before"]["value"], abs=0.15)
    assert (
        rejection["class_after"]["value"] < rejection["class_before"]["value"]
    )  # they share an axis, so it goes with it


def test_the_images_are_the_first_starts_of_every_method(world, tmp_path):
    result = edited(tmp_path)
    images = ImageSet(tmp_path / "images.zip")
    assert len(images.rows) == len(result["methods"]) * 2 * 4 + 2 * 3 * 7
    rows = [row for row in images.rows if row["method"] == "svm" and row["start"] == "0"]
    assert [row["distance"] for row in rows] == ["0", "1", "2", "3"]
    likelihoods = [float(row["likelihood"]) for row in rows]
    assert likelihoods[0] >= 0.5 > likelihoods[-1]
    starts = {row["likelihood"] for row in images.rows if row["step"] == "0" and row["start"] == "1"}
    assert len(starts) == 1  # all methods begin with the same image
    drawn = read_samples(tmp_path / "samples.npz")
    to_judge = drawn.likelihoods[900:, drawn.targets.index("left")]
    assert likelihoods[0] == pytest.approx(to_judge[to_judge >= 0.5][0], abs=1e-4)


def test_the_documents_directions_are_shown_both_ways_whatever_they_do(world, tmp_path):
    edited(tmp_path)
    images = ImageSet(tmp_path / "images.zip")
    assert {name for name in images.column("method") if name[-1].isdigit()} == {
        *("pca_1", "pca_2", "pca_3"),
        *("sefa_2", "sefa_4", "sefa_6"),
    }
    places = [place for place, row in enumerate(images.rows) if row["method"] == "sefa_2"]
    assert [images.rows[place]["distance"] for place in places] == ["-3", "-2", "-1", "0", "1", "2", "3"]
    start = next(place for place, row in enumerate(images.rows) if (row["method"], row["start"]) == ("svm", "0"))
    assert (images[places[3]] == images[start]).all()
    assert (images[places[0]] != images[places[-1]]).any()


def test_first_directions_go_on_where_the_method_goes_on(world, tmp_path, monkeypatch):
    """The chosen direction is one of them where there are no more: at +d it shows what the method's path shows at d,
    or at −d where the sign was turned."""
    monkeypatch.setattr(editing, "COMPONENTS", dict.fromkeys(("pca", "sefa"), (1, 2, 3)))
    methods = {one["method"]: one for one in edited(tmp_path, candidates=3)["methods"]}
    images = ImageSet(tmp_path / "images.zip")
    place = {(row["method"], float(row["distance"])): n for n, row in enumerate(images.rows) if int(row["start"]) == 0}
    for kind in ("pca", "sefa"):
        chosen = methods[kind]
        shown = {side: images[place[f"{kind}_{chosen['candidate']}", 3.0 * side * chosen["sign"]]] for side in (1, -1)}
        assert (shown[1] == images[place[kind, 3.0]]).all()
        assert (shown[-1] != images[place[kind, 3.0]]).any()


def test_where_nothing_shows_it_the_reason_is_said(world, tmp_path):
    result = edited(tmp_path, remove="never")
    assert result["reason"].startswith("0 of the 600 samples to find directions by show it")
    assert result["methods"] == []
    assert len(ImageSet(tmp_path / "images.zip").rows) == 1


def test_equal_settings_give_equal_bytes(world, tmp_path):
    edited(tmp_path)
    before = [(tmp_path / name).read_bytes() for name in ("out.json", "images.zip")]
    edited(tmp_path)
    assert before == [(tmp_path / name).read_bytes() for name in ("out.json", "images.zip")]


def test_files_and_settings_that_do_not_fit_are_refused(world, tmp_path):
    with pytest.raises(InputError, match="no output 'frame'"):
        edited(tmp_path, remove="frame")
    (tmp_path / "classifier.pt").write_bytes(b"another")
    with pytest.raises(InputError, match=r"not the file that .* was made with"):
        edited(tmp_path)
    with pytest.raises(InputError, match="must begin with 0 and rise"):
        dataclasses.replace(SETTINGS, distances=(0.0, 2.0, 1.0))
    with pytest.raises(InputError, match="what is removed cannot stay"):
        dataclasses.replace(SETTINGS, keep="left")

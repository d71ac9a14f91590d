import dataclasses
import json
import re

import linear_world
import numpy as np
import pytest
from linear_world import LEFT, RIGHT

from synthmed.core.errors import InputError
from synthmed.data.imageset import ImageSet
from synthmed.latent.axes import DiseaseAxesSettings, disease_axes
from synthmed.latent.paths import PathsSettings, control_p, move_along_axes, path_codes, rises
from synthmed.latent.sample_file import read_arrays, write_arrays
from synthmed.latent.samples import LatentSamplesSettings, latent_samples
from synthmed.report.sections.disease_axes import SECTION, DiseaseAxesSectionSettings, section

SAMPLES = LatentSamplesSettings(
    model="dcgan", generator="toy", space="z", count=3000, seed=3, batch_size=500, save_every=3000, threads=1,
    device="cpu", label=None,
)  # fmt: skip
AXES = DiseaseAxesSettings(
    normal="normal", at_least=0.9, at_most=0.1, min_samples=20, against="normal", ridge=0.01, orthogonalise="none",
    order=(), resamples=2, level=0.95, seed=1,
)  # fmt: skip
PATHS = PathsSettings(
    model="dcgan", generator="toy", starts=6, distances=(0.0, 1.0, 2.0, 3.0, 4.0), keep_length=False,
    random_directions=39, shown=2, min_rise=0.8, min_gain=0.5, alpha=0.05, level=0.95, resamples=200, seed=1,
    batch_size=16, threads=1, device="cpu",
)  # fmt: skip


@pytest.fixture
def gan(monkeypatch, tmp_path):
    return linear_world.in_the_linear_world(monkeypatch, tmp_path)


@pytest.fixture
def axes(gan, tmp_path):
    """Samples of the linear world, and axes found in them."""
    latent_samples(SAMPLES, **made_of(tmp_path), samples=tmp_path / "samples.npz")
    disease_axes(
        AXES, samples=tmp_path / "samples.npz", axes=tmp_path / "axes.npz", report=tmp_path / "axes.json"
    )  # fmt: skip
    return tmp_path


def made_of(folder):
    return {"checkpoint": folder / "generator.pt", "classifier": folder / "classifier.pt"}


def run(folder, **changes):
    move_along_axes(
        dataclasses.replace(PATHS, **changes),
        **made_of(folder),
        samples=folder / "samples.npz",
        axes=folder / "axes.npz",
        axes_report=folder / "axes.json",
        images=folder / "images.zip",
        cams=folder / "cams.zip",
        out=folder / "paths.json",
    )
    out = json.loads((folder / "paths.json").read_text())
    return out, {entry["target"]: entry for entry in out["axes"]}


def replace_axes(folder, **values):
    """Put other axes than the found ones into the file of the axes."""
    names = ("targets", "axes", "slopes", "scales", "normal", "normals", "made_from")
    write_arrays(folder / "axes.npz", read_arrays(folder / "axes.npz", names, "") | values)


# ------------------------------------------------------------------------------------------------- pure functions
def test_codes_along_a_path_by_hand():
    starts = np.array([[3.0, 0, 4], [0, 0, 1]])
    plain = path_codes(starts, np.array([0.0, 1, 0]), 2.0, (0, 1.5), keep_length=False)
    assert plain.tolist() == [[[3, 0, 4], [0, 0, 1]], [[3, 3, 4], [0, 3, 1]]]
    kept = path_codes(starts, np.array([0.0, 1, 0]), 2.0, (0, 1.5), keep_length=True)
    np.testing.assert_allclose(np.linalg.norm(kept, axis=2), [[5, 1], [5, 1]], rtol=1e-6)
    np.testing.assert_allclose(kept[1, 1], [0, 3 / np.sqrt(10), 1 / np.sqrt(10)], rtol=1e-6)


def test_rise_is_the_share_of_pairs_of_steps_that_rise_minus_those_that_fall():
    paths = np.array(
        [
            [0.1, 0.2, 0.8, 0.9],
            [0.9, 0.5, 0.4, 0.0],
            [0.1, 0.5, 0.3, 0.7],  # 5 pairs rise, 1 falls
            [0.0, 0.99, 0.999, 0.995],  # 3 rise, the others differ by less than 0.01
            [0.3, 0.3, 0.3, 0.3],
        ]
    )
    np.testing.assert_allclose(rises(paths.T), [1, -1, 4 / 6, 1, 0])


def test_p_counts_the_axis_among_the_directions():
    assert control_p(0.5, np.array([0.1, 0.5, 0.6, 0.2])) == pytest.approx(3 / 5)
    assert control_p(0.5, np.zeros(19)) == pytest.approx(1 / 20)


# ----------------------------------------------------------------------------------------------------- the step
def test_the_known_diseases_are_found_along_their_axes(axes):
    out, entries = run(axes)
    assert {name: entry["found"] for name, entry in entries.items()} == {"left": True, "right": True, "never": False}
    left = entries["left"]
    assert (left["p"], left["p_holm"]) == pytest.approx((1 / 40, 2 / 40))
    scores = left["scores"]
    assert scores["gain"]["value"] > 0.95
    assert scores["gain"]["low"] <= scores["gain"]["value"] <= scores["gain"]["high"]
    assert scores["rise"]["value"] > 0.95
    assert scores["normal"]["value"] < -0.9
    assert scores["random_gain"]["value"] < 0.4
    assert [step["distance"] for step in left["path"]] == [0, 1, 2, 3, 4]
    assert left["path"][0]["likelihoods"]["left"]["value"] < 0.1
    assert left["path"][-1]["likelihoods"]["left"]["value"] > 0.95
    assert not entries["never"]["estimated"]
    assert entries["never"]["reason"] == "0 samples show it alone, fewer than 20"
    assert out["starts"] == 6
    assert "0.8" in out["rule"]


def test_other_outputs_change_by_what_the_axes_share(axes):
    # Exactly along RIGHT the left quarter moves half as far (60°); along what is left of it without LEFT, not at all.
    away = RIGHT - (RIGHT @ LEFT) * LEFT
    replace_axes(axes, axes=np.stack([LEFT, RIGHT]).astype(np.float32))
    shared = run(axes)[1]["right"]["scores"]["others"]["value"]
    replace_axes(axes, axes=np.stack([LEFT, away / np.linalg.norm(away)]).astype(np.float32))
    alone = run(axes)[1]["right"]
    assert shared > 0.2
    assert alone["scores"]["others"]["value"] < 0.01
    assert alone["found"]


def test_scores_are_the_changes_from_the_first_step_to_the_last(axes):
    _, entries = run(axes)
    images = ImageSet(axes / "images.zip")
    rows = [row for row in images.rows if row["axis"] == "left"]
    first, last = ([float(row["likelihood"]) for row in rows if row["step"] == step] for step in ("0", "4"))
    assert entries["left"]["scores"]["gain"]["value"] == pytest.approx(np.mean(last) - np.mean(first), abs=1e-4)
    # Identity: root mean square difference to the start, over that between two starts.
    pixels = {(row["start"], row["step"]): images[images.rows.index(row)].astype(float) for row in rows}
    moved = [np.sqrt(((pixels[f"{s}", "4"] - pixels[f"{s}", "0"]) ** 2).mean()) for s in range(6)]
    starts = [pixels[f"{s}", "0"] for s in range(6)]
    apart = [np.sqrt(((starts[i] - starts[j]) ** 2).mean()) for i in range(6) for j in range(i)]
    identity = entries["left"]["scores"]["identity_pixels"]["value"]
    assert identity == pytest.approx(np.mean(moved) / np.mean(apart), rel=1e-6)


def test_images_and_maps_are_sets_with_the_path_in_their_columns(axes):
    run(axes)
    images, cams = ImageSet(axes / "images.zip"), ImageSet(axes / "cams.zip")
    assert len(images) == 2 * 6 * 5
    assert len(cams) == 2 * 2 * 5
    row = next(row for row in images.rows if row["image"] == "toy_right_003_step04.png")
    assert (row["label"], row["axis"], row["start"], row["step"], row["distance"]) == ("right", "right", "3", "4", "4")
    assert (row["split"], row["source"], row["found"]) == ("synthetic", "toy", "yes")
    assert {row["label"] for row in images.rows if row["step"] == "0"} == {"normal"}
    assert len({row["patient"] for row in images.rows}) == 6
    assert set(cams.column("image")) <= set(images.column("image"))
    # The disease lies in the upper left quarter: there the map is, and it is strongest at one of the steps.
    maps = [pixels for pixels, row in zip(cams.pixels, cams.rows, strict=True) if row["axis"] == "left"]
    assert max(picture.max() for picture in maps) == 255
    last = next(p for p, row in zip(cams.pixels, cams.rows, strict=True) if row["image"] == "toy_left_000_step04.png")
    assert last[:4, :4].mean() > 3 * last[4:, 4:].mean()


@pytest.mark.parametrize(
    ("axis", "changes", "reason"),
    [
        (-LEFT, {}, "does not rise steadily"),
        (
            0.1 * LEFT + np.sqrt(0.99) * np.eye(linear_world.D)[5],
            {"min_rise": -1.0},
            "rises by 0.0.. only, less than 0.5",
        ),
        # A direction as good as many others, when neither rise nor gain is asked for.
        (np.eye(linear_world.D)[5], {"min_rise": -1.0, "min_gain": -1.0}, "random directions of the same length do as"),
    ],
)
def test_an_axis_that_does_not_lead_to_its_disease_is_not_found(axes, axis, changes, reason):
    replace_axes(axes, axes=np.stack([axis, RIGHT]).astype(np.float32))
    _, entries = run(axes, **changes)
    assert not entries["left"]["found"]
    assert entries["left"]["estimated"]
    assert re.search(reason, entries["left"]["reason"]), entries["left"]["reason"]
    assert entries["right"]["found"]
    rows = ImageSet(axes / "images.zip").rows
    assert {row["found"] for row in rows if row["axis"] == "left"} == {"no"}


def test_without_any_axis_the_starts_are_shown(axes):
    disease_axes(
        dataclasses.replace(AXES, min_samples=10**6), samples=axes / "samples.npz", axes=axes / "axes.npz",
        report=axes / "axes.json",
    )  # fmt: skip
    _, entries = run(axes)
    assert not any(entry["found"] or entry["estimated"] for entry in entries.values())
    images, cams = ImageSet(axes / "images.zip"), ImageSet(axes / "cams.zip")
    assert [row["axis"] for row in images.rows] == ["none"] * 6
    assert {row["label"] for row in images.rows} == {"normal"}
    assert len(cams) == 2


def test_without_any_normal_sample_the_most_normal_one_is_shown(axes):
    disease_axes(
        dataclasses.replace(AXES, at_least=0.9999999, at_most=1e-9), samples=axes / "samples.npz",
        axes=axes / "axes.npz", report=axes / "axes.json",
    )  # fmt: skip
    out, _ = run(axes)
    assert out["starts"] == 0
    images = ImageSet(axes / "images.zip")
    assert [row["label"] for row in images.rows] == ["unclassified"]


def test_the_batch_size_bounds_the_memory_and_changes_nothing(axes, gan):
    first, _ = run(axes)
    gan.calls.clear()
    second, _ = run(axes, batch_size=7)
    assert max(gan.calls) <= 7
    # The sums of the toy's float32 products may round otherwise.
    assert second["axes"][0]["scores"]["gain"]["value"] == pytest.approx(first["axes"][0]["scores"]["gain"]["value"])


def test_equal_settings_give_equal_bytes(axes):
    names = ("images.zip", "cams.zip", "paths.json")
    run(axes)
    first = [(axes / name).read_bytes() for name in names]
    run(axes)
    assert first == [(axes / name).read_bytes() for name in names]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distances": (0.0, 2.0, 1.0)}, "must begin with 0 and rise"),
        ({"distances": (1.0, 2.0, 3.0)}, "must begin with 0 and rise"),
        ({"random_directions": 38}, "random_directions is 38.*for 2 axes, can never be 0.05.*at least 39"),
        ({"shown": 7}, "shown is 7, more than the"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused(axes, changes, message):
    with pytest.raises(InputError, match=message):
        run(axes, **changes)


def test_files_of_different_runs_are_refused(axes):
    report = (axes / "axes.json").read_text()
    (axes / "axes.json").write_text(report.replace('"found": true', '"found": false'))
    with pytest.raises(InputError, match=r"axes.json: not of the same run"):
        run(axes)
    (axes / "axes.json").write_text(report)
    replace_axes(axes, made_from="elsewhere")
    with pytest.raises(InputError, match=r"axes.npz: not found in"):
        run(axes)
    (axes / "generator.pt").write_bytes(b"trained again")
    with pytest.raises(InputError, match=r"generator.pt: not the file that"):
        run(axes)
    assert not (axes / "images.zip").exists()


def test_the_section_reads_what_the_steps_write(axes):
    run(axes)
    names = [axes / name for name in SECTION.files("disease_axes")]
    section(
        DiseaseAxesSectionSettings(generator="Toy", examples=2),
        axes_report=axes / "axes.json",
        paths=axes / "paths.json",
        images=axes / "images.zip",
        cams=axes / "cams.zip",
        document=None,
        section=axes / "disease_axes.json",
        out=names,
    )
    words = " ".join(json.loads((axes / "disease_axes.json").read_text())["html"].split())
    assert "Found: left and right. Not found: never, because 0 samples show it alone, fewer than 20." in words

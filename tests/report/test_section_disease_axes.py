import copy
import json

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.provenance import PACKAGE
from synthmed.data.imageset import write_image_set
from synthmed.report.sections.disease_axes import SECTION, DiseaseAxesSectionSettings, section

DISTANCES = (0.0, 2.0, 4.0)


def spread(value):
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def axis(name, reason=None):
    """An axis in the report of disease-axes; reason: why there is none."""
    if reason:
        return {"target": name, "found": False, "reason": reason}
    other = {"nodule": "consolidation", "consolidation": "nodule"}[name]
    return {
        "target": name,
        "found": True,
        "reason": None,
        "half_cosine": spread(0.8),
        "bootstrap_cosine": spread(0.9),
        "held_out_auroc": spread(0.95),
        "cosines": {other: 0.125},
        "cosines_before": {other: 0.625},
    }


REPORT = {
    "generator": "pggan",
    "space": "z",
    "dimensions": 512,
    "samples": 12345,
    "normal": "normal",
    "at_least": 0.9,
    "at_most": 0.1,
    "against": "all",
    "ridge": 0.1,
    "orthogonalise": "from_others",
    "order": [],
    "counts": [
        {"target": name, "highest": 3 * alone, "likely": 2 * alone, "alone": alone}
        for name, alone in (("normal", 4321), ("nodule", 55), ("consolidation", 66), ("pneumothorax", 0))
    ],
    "selected": 4442,
    "axes": [axis("nodule"), axis("consolidation"), axis("pneumothorax", "0 samples show it alone, fewer than 20")],
}


def walked(name, reason=None):
    """An axis in the JSON of move-along-axes."""
    likelihoods = {0.0: 0.02, 2.0: 0.5, 4.0: 0.9}
    return {
        "target": name,
        "estimated": True,
        "found": reason is None,
        "reason": reason,
        "p": 0.01,
        "p_holm": 0.02,
        "scores": {
            **{key: spread(0.88) for key in ("gain", "rise")},
            **{key: spread(0.07) for key in ("others", "identity_pixels", "identity_features")},
            **{f"random_{key}": spread(0.01) for key in ("gain", "rise", "others", "identity_pixels")},
            "random_identity_features": spread(0.01),
            "normal": spread(-0.6),
            "random_normal": spread(-0.1),
        },
        "path": [
            {
                "distance": distance,
                "likelihoods": {
                    target: spread(likelihoods[distance] if target == name else 0.1)
                    for target in ("normal", "nodule", "consolidation", "pneumothorax")
                },
                "random": spread(0.04),
            }
            for distance in DISTANCES
        ],
    }


MOVED = {
    "generator": "pggan",
    "normal": "normal",
    "targets": ["normal", "nodule", "consolidation", "pneumothorax"],
    "starts": 2,
    "distances": list(DISTANCES),
    "random_directions": 99,
    "level": 0.95,
    "rule": "the likelihood rises",
    "axes": [
        walked("nodule", "the likelihood does not rise steadily"),
        walked("consolidation"),
        {
            "target": "pneumothorax",
            "estimated": False,
            "found": False,
            "reason": "0 samples show it alone, fewer than 20",
            "p": None,
            "p_holm": None,
            "scores": None,
            "path": None,
        },
    ],
}


def image_rows(axes, steps):
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16)).astype(np.uint8)
    for name in axes:
        for start in range(2):
            for step in range(steps):
                fields = {
                    "image": f"{name}_{start}_{step}.png",
                    "label": "x",
                    "patient": f"{start}",
                    "axis": name,
                    "start": start,
                    "step": step,
                    "likelihood": "0.5000",
                }
                yield fields, pixels


@pytest.fixture
def run(tmp_path):
    def do(report, moved, axes=("nodule", "consolidation"), steps=3, examples=2):
        write_json(tmp_path / "axes.json", report)
        write_json(tmp_path / "paths.json", moved)
        for name in ("images", "cams"):
            write_image_set(tmp_path / f"{name}.zip", image_rows(axes, steps))
        out = [tmp_path / path for path in SECTION.files("disease_axes")]
        section(
            DiseaseAxesSectionSettings("PGGAN", examples),
            axes_report=tmp_path / "axes.json",
            paths=tmp_path / "paths.json",
            images=tmp_path / "images.zip",
            cams=tmp_path / "cams.zip",
            document=PACKAGE / "report" / "references" / "chest_findings.yaml",
            section=tmp_path / "disease_axes.json",
            out=out,
        )
        return read_json(tmp_path / "disease_axes.json"), {path.stem.partition(".")[2]: path for path in out}

    return do


def test_counts_and_scores_stand_beside_the_documents(run):
    _, files = run(REPORT, MOVED)
    counts = {row["pattern"]: row for row in read_csv(files["counts"])}
    assert (counts["normal"]["alone"], counts["normal"]["reference_alone"]) == ("4321", "8683")
    assert (counts["pneumothorax"]["alone"], counts["pneumothorax"]["reference_alone"]) == ("0", "0")
    scores = {row["disease"]: row for row in read_csv(files["scores"])}
    found = scores["consolidation"]
    assert (found["axis"], found["likelihood_at_start"], found["likelihood_at_end"]) == ("found", "0.02", "0.9")
    assert (found["likelihood_at_end_low"], found["gain_of_random_directions"]) == ("0.85", "0.01")
    assert (found["reference_likelihood_at_end"], found["reference_reader"]) == ("0.97", "severe")
    assert scores["nodule"]["axis"] == "not found"
    assert scores["nodule"]["note"] == "nodule: the likelihood does not rise steadily."
    assert scores["pneumothorax"]["gain"] == ""
    effects = read_csv(files["side_effects"])
    assert [row["disease"] for row in effects] == ["nodule", "consolidation"]
    assert (effects[1]["normal"], effects[1]["pixels_random"]) == ("-0.6", "0.01")


def said(written):
    return " ".join(written["html"].split())


def test_the_words_follow_from_the_results(run):
    words = said(run(REPORT, MOVED)[0])
    assert "<p>Of 12,345 samples of PGGAN the classifier sees one pattern alone in 4,442" in words
    assert "4,321 normal, 55 nodule, 66 consolidation and 0 pneumothorax" in words
    assert "what an axis shares with all others is taken out of it" in words
    assert "Found: consolidation. Not found: nodule, because the likelihood does not rise steadily; pneu" in words
    assert "from 0.02 to 0.90 (0.85 to 0.95) within 4 standard deviations, mean over 2 starts" in words
    assert "99 random directions it gains 0.01 (−0.04 to 0.06), p = 0.010 (0.020 after Holm)" in words
    assert "share most (cosine 0.62; orthogonalised 0.12)" in words
    assert all(entry["shown"] for entry in run(REPORT, MOVED)[0]["exhibits"])

    nothing = copy.deepcopy(MOVED)
    nothing["axes"][1] |= {"found": False, "reason": "it does not"}
    assert "No axis was found." in said(run(REPORT, nothing)[0])


def test_scores_that_could_not_be_computed_say_why(run):
    moved = copy.deepcopy(MOVED)
    for name in ("others", "random_others"):
        moved["axes"][1]["scores"][name] = {"value": None, "reason": "the classifier knows no other disease"}
    written, files = run(REPORT, moved)
    row = read_csv(files["side_effects"])[1]
    assert row["other_diseases"] == ""
    assert "other diseases; other diseases random: the classifier knows no other disease" in row["note"]
    assert "The likelihoods of other diseases" not in said(written)


def test_figures_have_a_tile_for_every_step(run):
    _, files = run(REPORT, MOVED)
    sizes = {name: Image.open(files[name]).size for name in ("paths", "starts", "likelihoods")}
    assert all(min(size) > 200 for size in sizes.values())
    # One axis less: Figure 10 loses two rows of images.
    report, moved = copy.deepcopy(REPORT), copy.deepcopy(MOVED)
    report["axes"][0] = axis("nodule", "too few")
    moved["axes"][0] = moved["axes"][2] | {"target": "nodule", "reason": "too few"}
    _, files = run(report, moved, axes=("consolidation",))
    assert Image.open(files["paths"]).size[1] < 0.7 * sizes["paths"][1]


def test_without_any_axis_the_page_shows_the_counts_only(run):
    report, moved = copy.deepcopy(REPORT), copy.deepcopy(MOVED)
    report["axes"] = [axis(entry["target"], "too few") for entry in REPORT["axes"]]
    moved["axes"] = [MOVED["axes"][2] | {"target": entry["target"]} for entry in REPORT["axes"]]
    written, files = run(report, moved, axes=("none",), steps=1)
    shown = {entry["name"].partition(".")[2]: entry["shown"] for entry in written["exhibits"]}
    assert shown == {name: name in ("counts", "scores") for name in shown}
    assert read_csv(files["side_effects"])[0]["note"] == "No disease has samples enough for an axis."
    assert "No axis was found." in said(written)


def test_files_of_different_runs_are_refused(run):
    with pytest.raises(InputError, match=r"paths.json: not of the same run"):
        run(REPORT | {"generator": "dcgan"}, MOVED)


def test_equal_results_give_equal_bytes(run):
    first = {name: path.read_bytes() for name, path in run(REPORT, MOVED)[1].items()}
    again, files = run(json.loads(json.dumps(REPORT)), MOVED)
    assert first == {name: path.read_bytes() for name, path in files.items()}
    assert again["key"] == "disease_axes"

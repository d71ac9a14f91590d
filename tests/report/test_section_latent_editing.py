import copy

import numpy as np
import pytest

from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.provenance import PACKAGE
from synthmed.data.imageset import write_image_set
from synthmed.report.results import read_result
from synthmed.report.sections.latent_editing import (
    NAMES,
    SECTION,
    LatentEditingSectionSettings,
    best_step,
    section,
)


def spread(value):
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def method(name, shares, of=1):
    path = [
        {
            "distance": float(place),
            **{key: spread(share) for key in ("removed", "in_time")},
            **{key: spread(0.25 * place) for key in ("likelihood", "class_change", "identity")},
            "kept": spread(1 - 0.1 * place),
        }
        for place, share in enumerate(shares)
    ]
    return {
        "method": name,
        "candidate": of,
        "of": of,
        "sign": -1,
        "cosine_to_svm": -0.75,
        "choosing_fall": 0.5,
        "path": path,
    }


EDITING = {
    "generator": "cgan",
    "remove": "dark_corner",
    "keep": "melanoma",
    "level": 0.95,
    "label": "melanoma",
    "candidates": 20,
    "space": "w",
    "dimensions": 512,
    "samples": 20000,
    "prevalence": 0.38,
    "distances": [0.0, 1.0, 2.0],
    "reason": None,
    "starts": 40,
    "boundary": {"accuracy": 0.945, "auroc": 0.99, "majority": 0.62},
    "rejection": {
        "accepted": 0.6,
        "before": spread(0.38),
        "after": spread(0.02),
        "class_before": spread(0.5),
        "class_after": {"value": None, "reason": "every code is rejected"},
    },
    "methods": [
        method("random", [0, 0.1, 0.1], of=20),
        method("sefa", [0, 0.6, 0.5], of=6),
        method("svm", [0, 0.5, 0.9]),
    ],
}


PATH_LENGTH = {
    "generator": "cgan",
    "training": "both",
    "label": "melanoma",
    "pairs": 50000,
    "epsilon": 1e-4,
    "level": 0.95,
    "spaces": {"w": {"end": spread(77.2), "full": spread(80.5)}, "z": {"end": spread(150.0), "full": spread(160.0)}},
}


@pytest.fixture
def run(tmp_path):
    def do(editing, components=(), lengths=(PATH_LENGTH,), document=None):
        write_json(tmp_path / "editing.json", editing)
        paths = [tmp_path / f"path_length.{number}.json" for number, _ in enumerate(lengths)]
        for path, measured in zip(paths, lengths, strict=True):
            write_json(path, measured)
        pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        rows = [
            (
                {"image": f"{name}_{step}.png", "label": "x", "patient": "1", "method": name, "start": 0, "step": step,
                 "distance": step, "likelihood": "0.5000"},
                pixels,
            )
            for name in [*components, *(entry["method"] for entry in editing["methods"])] or ["none"]
            for step in range(3)
        ]  # fmt: skip
        write_image_set(tmp_path / "images.zip", rows)
        out = [tmp_path / path for path in SECTION.files("latent_editing")]
        section(
            LatentEditingSectionSettings("cgan", {"cgan": "cGAN", "one_class": "benGAN and melGAN"}),
            editing=tmp_path / "editing.json",
            path_lengths=paths,
            images=tmp_path / "images.zip",
            document=document,
            section=tmp_path / "latent_editing.json",
            out=out,
        )
        return read_json(tmp_path / "latent_editing.json"), {path.stem.partition(".")[2]: path for path in out}

    return do


def test_methods_are_compared_where_they_do_best(run):
    page, files = run(EDITING)
    rows = read_csv(files["methods"])
    assert [row["method"] for row in rows] == ["SVM", "SeFa", "random direction"]
    assert [(row["distance"], row["in_time"]) for row in rows] == [("2.0", "0.9"), ("1.0", "0.6"), ("1.0", "0.1")]
    assert [row["direction"] for row in rows] == ["", "6 of 6", "20 of 20"]
    assert "best of 20 random directions: it has removed frame from\n10 % of the samples at 1 standard" in page["html"]
    assert "accuracy\n0.94" in page["html"] or "accuracy\n0.95" in page["html"]
    assert files["trade_off"].stat().st_size > 5000
    assert files["images"].stat().st_size > 5000


def test_rejection_stands_beside_editing(run):
    _, files = run(EDITING)
    rows = read_csv(files["rejection"])
    assert [(row["what"], row["drawn"], row["accepted"]) for row in rows] == [
        ("samples with frame", "0.38", "0.02"),
        ("samples of melanoma", "0.5", ""),
    ]


def test_a_documents_path_length_stands_beside_each_training_that_it_is_of(run):
    """Seed 003, Table 4.2, has one number each of benGAN, melGAN and cGAN."""
    one_class = PATH_LENGTH | {"generator": "one_class", "label": None}
    lengths = [PATH_LENGTH, *(one_class | {"training": name} for name in ("benign", "malignant", "other"))]
    page, files = run(EDITING, lengths=lengths, document=PACKAGE / "report" / "references" / "melanoma.yaml")
    rows = [row for row in read_csv(files["path_length"]) if row["space"] == "w"]
    assert [(row["generator"], row["training"], row["label"], row["reference_length"]) for row in rows] == [
        ("cGAN", "both", "melanoma", "77.2"),
        ("benGAN and melGAN", "benign", "", "59.0"),
        ("benGAN and melGAN", "malignant", "", "59.3"),
        ("benGAN and melGAN", "other", "", ""),
    ]
    assert "samples of cGAN (melanoma)" in page["html"]


def test_directions_are_drawn_both_ways_where_there_are_any(run):
    for components, shown in (((), False), (("pca_1", "sefa_2"), True)):
        page, files = run(EDITING, components)
        figure = next(entry for entry in page["exhibits"] if entry["name"] == "latent_editing.components")
        assert figure["shown"] == shown
        assert files["images"].stat().st_size > 5000
    assert "along some directions of PCA and of SeFa, by their number" in figure["caption"]


def test_path_lengths_of_every_space_are_printed(run):
    _, files = run(EDITING)
    rows = read_csv(files["path_length"])
    assert [(row["space"], row["end"], row["full"]) for row in rows] == [("w", "77.2", "80.5"), ("z", "150.0", "160.0")]


def test_without_a_class_nothing_is_said_of_one(run):
    editing = copy.deepcopy(EDITING) | {"keep": None}
    for entry in editing["methods"]:
        entry["path"] = [
            {key: value for key, value in point.items() if key not in ("kept", "in_time", "class_change")}
            for point in entry["path"]
        ]
    _, files = run(editing)
    assert "kept" not in read_csv(files["methods"])[0]


def test_where_nothing_was_edited_the_page_says_why(run):
    editing = EDITING | {"reason": "0 of the 600 samples show it", "methods": [], "rejection": None, "boundary": None}
    page, files = run(editing)
    assert "Nothing was edited: 0 of the 600 samples show it." in page["html"]
    assert read_csv(files["methods"])[0].keys() == {"note"} or len(read_csv(files["methods"])) == 1


def test_every_method_has_a_name_and_the_nearest_of_the_best_steps_counts(tmp_path):
    write_json(tmp_path / "m.json", method("svm", [0.2, 0.7, 0.7]))
    assert best_step(read_result(tmp_path / "m.json"))["distance"] == 1.0
    assert set(NAMES) >= {"svm", "regression", "pca", "sefa", "random", "sefa_orthogonal"}

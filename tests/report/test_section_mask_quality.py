"""The section on the form of generated masks and on mixed channels."""

import numpy as np
import pytest

from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.provenance import PACKAGE
from synthmed.data.imageset import Legend, write_image_set
from synthmed.report.sections.mask_quality import SECTION, STATISTICS, MaskQualitySettings, section

LEGEND = Legend(classes={"heart": 1, "lung": 2})


def estimate(value, low=None, high=None):
    return {"value": value, "low": low, "high": high, "n": 5, "reason": None}


def compared(generator, leakage):
    one = {name: estimate(2.0, 1.5, 2.5) for name in ("real", "held_out", "generated")}
    values = {name: [1.0, 2.0, 2.0, 3.0] for name in one}
    missing = estimate(None) | {"reason": "needs 2 samples whose masks have it"}
    differences = dict.fromkeys(STATISTICS, estimate(0.25, -0.5, 1.0))
    differences |= {"compactness": missing, "holes": estimate(0.25, 0.1, 0.4)}
    statistics = {name: one | {"difference": differences[name], "values": values} for name in STATISTICS}
    counts = {"n_real": 40, "n_held_out": 12, "n_generated": 30, "level": 0.9}
    return {"generator": generator, **counts, "classes": dict.fromkeys(LEGEND.classes, statistics), "leakage": leakage}


def mixed(samples):
    rates = {name: estimate(0.3, 0.1, 0.5) for name in ("grey", "texture", "any")}
    worst = [{"image": image, "grey": 0.2, "texture": 0.9, "by": ["grey", "texture"]} for image in samples]
    return {
        "rates": rates, "means": {"overlap": 0.07}, "chance_texture": {"median": 0.2, "limit": 0.5},
        "channels": ["background", "lung"], "textured": ["lung"], "worst": worst,
    }  # fmt: skip


@pytest.fixture
def run(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        (
            {"image": f"i{number}.png", "label": "x", "patient": f"p{number}"},
            rng.integers(0, 256, (16, 16)).astype(np.uint8),
            np.kron([[0, 1], [2, 0]], np.ones((8, 8))).astype(np.uint8),
        )
        for number in range(4)
    ]
    write_image_set(tmp_path / "s.zip", rows, LEGEND)

    def do(document=None, **leakages):
        paths = [tmp_path / f"{name}.json" for name in leakages]
        for path, (name, leakage) in zip(paths, leakages.items(), strict=True):
            write_json(path, compared(name, leakage))
        section(
            MaskQualitySettings({name: name.upper() for name in leakages}),
            compared=paths,
            synthetics=[tmp_path / "s.zip"] * len(paths),
            real=tmp_path / "s.zip",
            document=document,
            section=tmp_path / "mask_quality.json",
            out=[tmp_path / path for path in SECTION.files("mask_quality")],
        )
        return read_json(tmp_path / "mask_quality.json"), tmp_path

    return do


@pytest.fixture(autouse=True)
def folders(tmp_path):
    for name in ("tables", "figures"):
        (tmp_path / name).mkdir()


def test_every_class_and_statistic_of_every_generator_has_a_row(run):
    content, folder = run(dcgan=mixed(["i1.png"]), external=None)
    rows = read_csv(folder / "tables/mask_quality.statistics.csv")
    assert len(rows) == 2 * 2 * len(STATISTICS)
    area = next(row for row in rows if row["statistic"] == STATISTICS["area"])
    assert [area[name] for name in ("generator", "mask", "real", "held_out_low", "difference_high")] == [
        *("DCGAN", "heart", "2.0", "1.5", "1.0")
    ]
    compact = next(row for row in rows if row["statistic"] == STATISTICS["compactness"])
    assert compact["note"] == "generated − real: needs 2 samples whose masks have it"
    said = " ".join(content["html"].split())
    assert "DCGAN: its masks differ from real training masks in 2 of 12 means" in said, "those that have an interval"
    assert "for their number (heart: holes; lung: holes)." in said


def test_leakage_is_of_those_that_draw_channels_beside_the_real_ones(run):
    content, folder = run(dcgan=mixed(["i1.png", "i3.png"]), external=None)
    assert "means with 90 % intervals" in content["html"]
    assert "by each criterion, with 90 % intervals" in content["html"]
    assert "The 0 of real masks is so by construction" in content["html"]
    assert "more than 5 % of the pixels" in content["html"]
    assert "background and lung" in content["html"]
    assert "figure 3.3" not in content["html"].lower(), "it is of a document, and there is none"
    rows = read_csv(folder / "tables/mask_quality.leakage.csv")
    assert [(row["images"], row["n"], row["grey"], row["any_high"]) for row in rows] == [
        ("real ones", "40", "0.0", ""),
        ("DCGAN", "30", "0.3", "0.5"),
    ]
    assert rows[1]["note"] == "masks overlap: there is one mask only"
    assert "30.0 %" in content["html"]
    assert "neither in nor out (between 0.2 and 0.8)" in content["html"]
    assert all(entry["shown"] for entry in content["exhibits"])


def test_what_a_document_shows_of_leakage_stands_there_with_the_document(run):
    content, _ = run(PACKAGE / "report" / "references" / "chest_ct.yaml", dcgan=mixed([]))
    assert "its Figure 3.3" in content["html"]


def test_without_channels_the_section_says_nothing_of_leakage(run):
    content, _ = run(external=None)
    shown = {entry["name"]: entry["shown"] for entry in content["exhibits"]}
    assert shown == {
        "mask_quality.drawn": True,
        "mask_quality.forms": True,
        "mask_quality.statistics": True,
        "mask_quality.leakage": False,
        "mask_quality.mixed": False,
    }
    assert "neither in nor out" not in content["html"]


def test_where_no_sample_mixes_its_channels_there_is_no_figure_of_them(run):
    content, _ = run(dcgan=mixed([]))
    figure = next(entry for entry in content["exhibits"] if entry["name"] == "mask_quality.mixed")
    assert not figure["shown"]
    assert figure["caption"].startswith("No sample mixes")

"""The audit of masks in the section on sharing."""

import fabricated_results as made_up
import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.settings import parse
from synthmed.report.sections.sharing import SECTION, SharingSettings, section

SETTINGS = {
    "generators": {name: made_up.GENERATORS[name] for name in ("dcgan", "fastgan")},
    "mask_generators": {"fastgan": "FastGAN", "elastic": "deformed"},
    "painting_real_masks": ["dcgan"],
}


def mask_audit(name, place):
    audit = made_up.copies(name, place)
    audit["by_space"] = {"pixels": audit["by_space"]["pixels"]}
    audit["empty"] = 4
    audit["overlap"] = {"fake": {"median": 0.5, "largest": 0.7}, "held_out": {"median": 0.4, "largest": 0.6}}
    return {name: value for name, value in audit.items() if name not in ("extractor", "fitted_features", "secondary")}


def written(tmp_path, names, **changes):
    for folder in ("tables", "figures"):
        (tmp_path / folder).mkdir()
    audits, pictures = [], []
    for place, name in enumerate(names):
        audits.append(tmp_path / f"{name}.json")
        write_json(audits[-1], mask_audit(name, 1 + 4 * place) | changes.get(name, {}))
        pictures.append(made_up.picture(tmp_path / f"{name}.masks.png"))
    section(
        parse(SharingSettings, SETTINGS),
        copies=[], pairs=[], mask_copies=audits, mask_pairs=pictures, section=tmp_path / "sharing.json",
        out=[tmp_path / path for path in SECTION.files("sharing")],
    )  # fmt: skip


def test_what_was_audited_and_what_is_so_by_construction(tmp_path):
    written(tmp_path, ["fastgan", "elastic"])
    rows = read_csv(tmp_path / "tables/sharing.mask_copies.csv")
    assert [(row["generator"], row["alarm"]) for row in rows] == [
        ("FastGAN", "none found"),
        ("deformed", "copies"),
        ("DCGAN", "training masks, by construction"),
    ]
    assert (rows[0]["empty"], rows[2]["empty"]) == ("4", "")
    audit = mask_audit("fastgan", 1)
    share = audit["by_space"]["pixels"]["expected_share"]
    assert float(rows[0]["expected"]) == pytest.approx(share * (audit["n_fake"] - 4))
    assert (rows[0]["median_iou"], rows[0]["held_out_largest_iou"], rows[2]["p"]) == ("0.5", "0.6", "")
    assert {row["generator"] for row in read_csv(tmp_path / "tables/sharing.mask_detection.csv")} == {
        "FastGAN",
        "deformed",
    }
    html = read_json(tmp_path / "sharing.json")["html"]
    assert "FastGAN: none found" in html
    assert "deformed: copies (12 images are nearer than chance)" in html
    assert "DCGAN paints images for the masks of training images" in " ".join(html.split())


def test_masks_that_were_made_from_real_ones_stand_beside_what_is_usual_by_chance(tmp_path):
    written(
        tmp_path,
        ["fastgan", "elastic"],
        elastic={
            "origin_identity": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 360, "reason": None},
            "origin_chance": 0.02,
        },
    )
    html = " ".join(read_json(tmp_path / "sharing.json")["html"].split())
    assert "by chance, at most 2.0 %" in html
    assert "deformed: the generated masks that lie closest to a training mask, each beside that one, those of" in html
    assert "FastGAN: the generated masks that lie closest to a training mask, each beside that one." in html


def test_an_unknown_set_of_masks_is_refused(tmp_path):
    with pytest.raises(InputError, match="'unknown' is not in the settings"):
        written(tmp_path, ["unknown"])

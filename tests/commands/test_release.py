"""A set that may be passed on: what goes along and what does not, and every reason to refuse."""

import csv
import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
from fabricated_results import copies, fidelity

from synthmed.commands.check_images import check
from synthmed.commands.judge import look
from synthmed.commands.release import release
from synthmed.core.errors import InputError
from synthmed.core.files import hash_file, write_csv, write_json, write_text
from synthmed.core.provenance import MadeFrom, record
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.evaluation.leaderboard import LEAKING
from synthmed.metrics.effects import EFFECT_COLUMNS
from synthmed.report.words import short

WHO = ("Ludmila", "MRN-4711", "/home/mueller", "ward7")
"""Planted: a patient, a number, a folder and a host, in every place that could let them through."""
EFFECT = dict.fromkeys(EFFECT_COLUMNS, "") | {
    "task": "by_patch", "note": LEAKING, "generator": "DCGAN", "arm": "Real + DCGAN", "outcome": "AUROC",
    "effect": "-0.02", "effect_low": "-0.04", "effect_high": "0.01", "verdict": "no evidence of a difference",
    "label_fidelity": "0.61",
    "label_fidelity_real": "0.9",
    "pseudo_labelled": "no",
}  # fmt: skip


def made(path, step, inputs=(), settings=None):
    root = next(parent.parent for parent in path.parents if parent.name in ("results", "data"))
    hashes = {one.relative_to(root).as_posix(): hash_file(one) for one in inputs}
    record([path], step=step, made_from=MadeFrom(hashes, {}), settings=settings or {})


@pytest.fixture
def results(tmp_path):
    """A generator's set with what was measured of it, as a run leaves them."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "results" / "lungs"
    raw = tmp_path / "data" / "films" / "raw" / "films.zip"
    write_text(raw, "films")
    made(raw, "fetch", settings={"source": "camelyon17", "provider": "download", "options": {"path": WHO[2]}})
    rows = [
        ({"image": f"{WHO[0]}_{i}.png", "label": ("ill", "well")[i % 2],
          "patient": WHO[1], "source": WHO[3], "bed": WHO[3]},
         np.add.outer(np.arange(16) * 9, np.arange(16) * 6 + i).astype(np.uint8))
        for i in range(12)
    ]  # fmt: skip
    trained = folder / "generators" / "dcgan" / "all.pt"
    write_text(trained, "weights")
    settings = {
        "training": {"steps": 300, "batch_size": 16, "accumulate": 2},
        "seed": 3,
        "config": {"weights": f"{WHO[2]}/{WHO[3]}.pt"},
    }
    made(trained, "train", [raw], settings)
    images = folder / "images" / "synthetic" / "dcgan.zip"
    write_image_set(images, rows)
    made(images, "sample", [trained])
    audit = folder / "copies" / "synthetic" / "dcgan.json"
    write_json(
        audit, copies("dcgan", 0) | {"alarm": {"word": "none found", "reason": "no test of the set"}, "identical": 0}
    )
    made(audit, "copies", [images])
    quality = folder / "fidelity" / "domain" / "synthetic" / "dcgan.json"
    write_json(quality, fidelity(rng, "dcgan", "filters", 1.0))
    made(quality, "fidelity", [images])
    effects = folder / "tables" / "effects.csv"
    write_csv(effects, [EFFECT, EFFECT | {"generator": "FastGAN", "arm": "another's"}], EFFECT_COLUMNS)
    made(effects, "metrics", [audit], {"experiment": "lungs", "generators": {"dcgan": "DCGAN", "fastgan": "FastGAN"}})
    report = folder / "report.html"
    write_text(report, "the report")
    made(report, "page", [effects], {"title": "Lungs", "provider": "download", "generators": 2, "arms": 3})
    return tmp_path / "results"


def released(results, **changes):
    out = results.parent / "out" / "set.zip"
    release(**{"experiment": "lungs", "generator": "dcgan", "out": out, "results": results, "terms": None} | changes)
    return out


def test_a_released_set_is_an_image_set_with_its_datasheet(results):
    out = released(results)
    assert check(out) == []
    assert sorted(ImageSet(out).column("label")) == ["ill"] * 6 + ["well"] * 6
    assert look(out, "synthetic", None).counts == {"ill": 6, "well": 6}, "judge reads it back"
    with zipfile.ZipFile(out) as archive:
        sheet = archive.read("DATASHEET.md").decode()
        sums = dict(line.split("  ")[::-1] for line in archive.read("SHA256SUMS").decode().splitlines())
        for name in set(archive.namelist()) - {"SHA256SUMS"}:
            assert sums.pop(name) == hashlib.sha256(archive.read(name)).hexdigest()
        assert not sums
        steps = json.loads(archive.read("provenance.json"))["steps"]
        assert archive.read("samples.png").startswith(b"\x89PNG")
    assert [step["step"] for step in steps] == ["sample", "train"]
    for said in ("CC0", "CAMELYON17", "300 steps with batches of 32",
                 "−0.020 [−0.040, +0.010]", "no evidence of a difference", "floor",
                 "| by_patch | Real + DCGAN |", "label fidelity of 0.61 only", "none found", "Not tested",
                 f"Real + DCGAN (by_patch): {LEAKING}"):  # fmt: skip
        assert said in sheet, said
    assert "another's" not in sheet


def test_the_same_set_is_released_with_the_same_bytes(results):
    first = released(results).read_bytes()
    assert released(results).read_bytes() == first


def test_nothing_of_a_patient_or_a_machine_goes_along(results):
    out = released(results)
    with zipfile.ZipFile(out) as archive:
        everything = "\n".join(archive.namelist()).encode() + b"".join(map(archive.read, archive.namelist()))
    for who in WHO:
        assert who.encode() not in everything, who
    with zipfile.ZipFile(out) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("manifest.csv").decode())))
    assert len({row["patient"] for row in rows}) == 12, "which images share an origin is not said either"


def test_images_are_not_in_the_order_of_those_they_were_made_from(results):
    before = ImageSet(results / "lungs" / "images" / "synthetic" / "dcgan.zip").pixels
    after = ImageSet(released(results)).pixels
    order = [int(np.flatnonzero((before == pixels).all(axis=(1, 2, 3)))[0]) for pixels in after]
    assert sorted(order) == list(range(12))
    ill = [place for place in order if place % 2 == 0]
    assert ill != sorted(ill)


# ------------------------------------------------------------------------------------------------------------ refusals
def change(results, name, **changes):
    path = results / "lungs" / name
    write_json(path, json.loads(path.read_text()) | changes)
    record = json.loads((path.parent / f"{path.name}.provenance.json").read_text())
    write_json(path.parent / f"{path.name}.provenance.json", record | {"sha256": hash_file(path)})
    for later in ("tables/effects.csv", "report.html"):  # made of it
        path = results / "lungs" / f"{later}.provenance.json"
        after = json.loads(path.read_text())
        name_of = f"results/lungs/{name}"
        if name_of in after["inputs"]:
            after["inputs"][name_of] = hash_file(results / "lungs" / name)
        write_json(path, after)


AUDIT = "copies/synthetic/dcgan.json"
QUALITY = "fidelity/domain/synthetic/dcgan.json"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"identical": 2}, "2 of its images equal a training image"),
        ({"alarm": {"word": "copies", "reason": "3 are nearer"}}, "says “copies” \\(3 are nearer\\)"),
    ],
)
def test_copies_are_refused(results, changes, said):
    change(results, AUDIT, **changes)
    with pytest.raises(InputError, match=said):
        released(results)
    assert not (results.parent / "out").exists() or not list((results.parent / "out").iterdir())


def test_a_set_that_leans_to_its_training_images_is_released_and_says_so(results):
    change(results, AUDIT, alarm={"word": "nearer to training", "reason": "by pixels"})
    with zipfile.ZipFile(released(results)) as archive:
        assert "nearer to the training patients than chance explains" in archive.read("DATASHEET.md").decode()


def test_without_an_audit_nothing_is_released(results):
    (results / "lungs" / AUDIT).unlink()
    with pytest.raises(
        InputError, match="no audit for copies of 'dcgan'; run `snakemake --cores all experiment_lungs`"
    ):
        released(results)


def test_an_audit_of_another_state_of_the_set_is_refused(results):
    images = results / "lungs" / "images" / "synthetic" / "dcgan.zip"
    write_image_set(images, list(ImageSet(images).entries([0, 1, 2])))
    with pytest.raises(InputError, match="its bytes are not the recorded ones; run `snakemake"):
        released(results)


def sheet_of(results):
    with zipfile.ZipFile(released(results)) as archive:
        return archive.read("DATASHEET.md").decode()


def test_a_translated_set_is_not_said_to_show_nobody(results):
    assert "no image shows a person" in sheet_of(results)
    change(results, AUDIT, origin_identity={"value": 0.4, "low": 0.3, "high": 0.5, "n": 12}, origin_chance=0.1)
    sheet = sheet_of(results)
    assert "each from a real image or its mask" in sheet
    assert "edited images of real patients" in sheet
    for said in ("no image shows a person", "nothing in the set leads to"):
        assert said not in sheet, said


def test_fidelity_is_of_as_many_images_as_the_floor_and_the_mean_of_classes(results):
    found = json.loads((results / "lungs" / QUALITY).read_text())
    mean = found["matched"]["mean of classes"]
    assert mean["n_fake"] != found["n_fake"]
    assert mean["fid"] != found["matched"]["all"]["fid"]
    (row,) = (line for line in sheet_of(results).splitlines() if line.startswith("| filters |"))
    assert row.startswith(f"| filters | image | {mean['n_fake']} | {short(mean['fid']['value'])} (")


def test_a_chosen_state_is_named(results):
    folder = results / "lungs" / "generators" / "dcgan"
    chosen, images = folder / "all.chosen.pt", results / "lungs" / "images" / "synthetic" / "dcgan.zip"
    write_text(chosen, "weights of a state")
    made(chosen, "choose-state", [folder / "all.pt"], {"generator": "dcgan"})
    record = json.loads((folder / "all.chosen.pt.provenance.json").read_text())
    write_json(folder / "all.chosen.pt.provenance.json", record | {"machine_chose": {"step": "120"}})
    made(images, "sample", [chosen])
    sheet = sheet_of(results)
    assert "all.pt: trained for 300 steps" in sheet
    assert "all.chosen.pt: of the states" in sheet
    assert "step 120. It made the images" in sheet


@pytest.mark.parametrize(
    ("source", "terms", "said"),
    [
        ("vindr_cxr", "mine", "vindr_cxr: the licence of the real images .* forbids"),
        ("folder", None, "folder: its licence .* does not say .* --terms"),
    ],
)
def test_the_licence_of_the_real_images_decides(results, source, terms, said):
    path = results.parent / "data" / "films" / "raw" / "films.zip.provenance.json"
    fetched = json.loads(path.read_text())
    write_json(path, fetched | {"settings": {"source": source, "provider": "folder"}})
    with pytest.raises(InputError, match=said):
        released(results, terms=terms)
    if source == "folder":
        with zipfile.ZipFile(released(results, terms="ethics board 12/2026")) as archive:
            assert (
                "in the words of who released this set: ethics board 12/2026" in archive.read("DATASHEET.md").decode()
            )


def test_phantoms_are_called_phantoms(results):
    path = results.parent / "data" / "films" / "raw" / "films.zip.provenance.json"
    fetched = json.loads(path.read_text())
    write_json(path, fetched | {"settings": {"source": "vindr_cxr", "provider": "phantom"}})
    with zipfile.ZipFile(released(results)) as archive:
        assert "no patient is in them" in archive.read("DATASHEET.md").decode()


def test_masks_of_training_images_are_refused(results):
    folder = results / "lungs"
    images = folder / "images" / "synthetic" / "dcgan.zip"
    rows = [(fields, pixels, np.full((16, 16), 255, np.uint8)) for fields, pixels in ImageSet(images).entries()]
    write_image_set(images, rows)
    made(images, "sample", [folder / "generators" / "dcgan" / "all.pt"])
    made(folder / AUDIT, "copies", [images])
    made(folder / "fidelity" / "domain" / "synthetic" / "dcgan.json", "fidelity", [images])
    with pytest.raises(InputError, match="its masks are those of training images"):
        released(results)
    masks = folder / "copies" / "masks" / "dcgan.json"
    write_json(masks, json.loads((folder / AUDIT).read_text()) | {"identical": 1})
    with pytest.raises(InputError, match="1 of its masks equal a training mask"):
        released(results)
    write_json(masks, json.loads((folder / AUDIT).read_text()))
    with zipfile.ZipFile(released(results)) as archive:
        assert "Of the masks: none found" in archive.read("DATASHEET.md").decode()


@pytest.mark.parametrize(
    ("changes", "accused"),
    [
        ({}, True),
        ({"label_fidelity_real": "0.7"}, False),
        ({"label_fidelity_real": ""}, False),
        ({"pseudo_labelled": "yes"}, False),
    ],
)
def test_label_fidelity_is_a_failure_below_that_of_real_images_where_labels_were_asked_for(results, changes, accused):
    effects, report = results / "lungs" / "tables" / "effects.csv", results / "lungs" / "report.html"
    write_csv(effects, [EFFECT | changes], EFFECT_COLUMNS)
    made(effects, "metrics", settings={"experiment": "lungs", "generators": {"dcgan": "DCGAN"}})
    made(report, "page", [effects], {"title": "Lungs", "provider": "download", "generators": 1, "arms": 1})
    assert ("label fidelity of 0.61 only" in sheet_of(results)) == accused


def test_a_set_that_would_be_made_of_other_files_now_is_refused(results):
    of_now = {"results/lungs/generators/dcgan/all.pt": ["data/bones/raw/bones.zip"]}
    write_json(results / ".named.json", {"settings": {}, "inputs": of_now, "at": 1})
    with pytest.raises(InputError, match=r"dcgan\.zip: its input .*all\.pt is stale"):
        released(results)


def test_names_are_checked(results):
    with pytest.raises(InputError, match=r"bones: no such experiment; those with a report are \['lungs'\]"):
        released(results, experiment="bones")
    with pytest.raises(InputError, match=r"no set of 'pggan'.*its generators: \['dcgan'\]"):
        released(results, generator="pggan")
    with pytest.raises(InputError, match=r"a released set is a \.zip file"):
        released(results, out=results / "set")

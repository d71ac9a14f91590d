"""The experiment chest_findings on tiny settings: from DICOM to the report."""

import io
import json
import re
import zipfile

import pydicom
import pytest
from checkout import Checkout, new_checkout

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("chest_findings")]

RESULTS = "results/chest_findings"


@pytest.fixture(scope="module")
def chest(tmp_path_factory) -> Checkout:
    checkout = new_checkout(tmp_path_factory.mktemp("chest") / "project", "tiny_chest_findings.yaml")
    checkout.snakemake()
    return checkout


def files(checkout, *suffixes):
    return [path for path in (checkout.path / "results").rglob("*") if path.suffix in suffixes]


def test_the_report_has_every_section_with_its_tables_and_figures(chest):
    report = (chest.path / RESULTS / "report.html").read_text()
    for name in ("anomaly", "disease_axes", "selection", "three_steps", "answer.three_steps", "task.classification"):
        section = json.loads((chest.path / RESULTS / "sections" / f"{name}.json").read_text())
        assert section["title"] in report
        assert {entry["kind"] for entry in section["exhibits"]} == {"table", "figure"}
        for entry in section["exhibits"]:
            assert (f'id="{entry["name"]}"' in report) == entry["shown"]


def test_everything_says_what_it_was_made_from_and_nothing_is_left_to_do(chest):
    for path in (chest.path / "results").rglob("*"):
        hidden = path.name.startswith(".") or path.name.endswith(".provenance.json") or path.name == "index.html"
        if path.is_file() and not hidden and "/settings/" not in path.as_posix():
            assert path.with_name(f"{path.name}.provenance.json").exists(), path
    assert chest.planned() == set()
    chest.run("synthmed", "settle", "--check", "results", "data")


def test_no_result_carries_nan(chest):
    for path in files(chest, ".csv", ".json"):
        assert not re.search(r"\b(nan|inf|infinity)\b", path.read_text(), re.IGNORECASE), path


def test_no_name_number_or_date_of_a_patient_leaves_the_raw_files(chest):
    planted = set()
    with zipfile.ZipFile(chest.path / "data/chest_findings_films/raw/dicom.zip") as archive:
        for name in archive.namelist():
            if name.endswith(".dcm"):
                try:
                    film = pydicom.dcmread(io.BytesIO(archive.read(name)), stop_before_pixels=True)
                except pydicom.errors.InvalidDicomError:
                    continue
                planted |= {str(film.get("PatientName", "")), str(film.get("PatientID", ""))}
                planted |= {str(film.get("AccessionNumber", "")), str(film.get("SOPInstanceUID", ""))}
    planted = {text.encode() for text in planted if len(text) > 4}
    assert len(planted) > 100
    for path in [*(chest.path / "results").rglob("*"), *(chest.path / "logs").rglob("*.log")]:
        if not path.is_file():
            continue
        content = path.read_bytes()
        found = [text for text in planted if text in content]
        assert not found, f"{path} holds {found[:3]}"


def test_an_edited_generator_is_trained_again_and_the_classifiers_of_real_images_are_not(chest):
    source = chest.path / "src/synthmed/generators/pggan.py"
    before = source.read_text()
    source.write_text(before + "\n")
    try:
        planned = chest.planned()
    finally:
        source.write_text(before)
        chest.run("snakemake", "--cores", "1", "settle")
    assert {"train", "sample_unlabelled", "pseudo_label", "anomaly_search"} <= planned
    assert not planned & {"prepare", "exclude", "split"}


def test_a_changed_arm_is_checked_but_no_generator_trained_again(chest):
    chest.edit_params(experiments__chest_findings__tasks__classification__arms__added_share=0.25)
    try:
        planned = chest.planned()
    finally:
        chest.edit_params(experiments__chest_findings__tasks__classification__arms__added_share=0.2)
        chest.planned()
    assert {"check_needs", "classify"} <= planned
    assert not planned & {"train", "sample_unlabelled", "train_classifier"}

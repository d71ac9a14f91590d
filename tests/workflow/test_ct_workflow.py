"""The experiment chest_ct on tiny settings: from CT series to the report."""

import csv
import json
import zipfile

import pytest
from checkout import Checkout, new_checkout, tiny_params

from synthmed.core.settings import parse
from synthmed.data.imageset import ImageSet
from synthmed.data.phantoms.osic_archives import patient_id, person_of
from synthmed.data.phantoms.thorax_ct import ThoraxSettings, draw

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("chest_ct")]

RESULTS = "results/chest_ct"
SETTINGS = parse(ThoraxSettings, tiny_params("tiny_chest_ct.yaml")["datasets"]["thorax_ct"]["options"])


@pytest.fixture(scope="module")
def ct(tmp_path_factory) -> Checkout:
    checkout = new_checkout(tmp_path_factory.mktemp("ct") / "project", "tiny_chest_ct.yaml")
    checkout.snakemake()
    return checkout


def test_slices_of_all_patients_whose_masks_fit_by_patient(ct):
    parts = {name: ImageSet(ct.path / RESULTS / "images" / f"{name}.zip") for name in ("train", "validation", "test")}
    assert sum(map(len, parts.values())) == SETTINGS.slices
    patients = [patient for part in parts.values() for patient in {*part.column("patient")}]
    assert len(patients) == len({*patients}) == SETTINGS.fitting
    with open(ct.path / RESULTS / "images" / "raw.rejects.csv", newline="", encoding="utf-8") as handle:
        reasons = [row["reason"] for row in csv.DictReader(handle)]
    assert reasons[0].startswith("its mask of heart: does not fit")
    assert reasons[1:] == ["no mask of lung, heart"]


def test_the_generator_draws_pairs_and_the_table_has_each_organ(ct):
    drawn = ImageSet(ct.path / RESULTS / "images" / "synthetic" / "fastgan.zip")
    assert drawn.legend.classes == {"lung": 1, "heart": 2}
    assert drawn.masks.shape[1:] == (32, 32)
    with open(ct.path / RESULTS / "tables" / "segmentation.organs.masks.csv", newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["mask"] for row in rows} == {"lung", "heart", "mean"}
    assert len({row["arm"] for row in rows}) > 5


def test_nothing_is_left_to_do(ct):
    assert ct.planned() == set()


def test_nobody_is_named_in_any_output(ct):
    planted = set()
    for number in range(SETTINGS.patients):
        person = person_of(SETTINGS, number, draw(SETTINGS, number))
        planted |= {*person.name.split("^"), patient_id(SETTINGS, number), person.birth.isoformat()}
    outputs = [path for folder in ("results", "logs", "metrics") for path in (ct.path / folder).rglob("*")]
    for path in outputs:
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    content = b"".join(name.encode() + archive.read(name) for name in archive.namelist())
            for text in planted:
                assert text.encode() not in content, (path, text)


def test_the_report_has_its_sections(ct):
    report = (ct.path / RESULTS / "report.html").read_text(encoding="utf-8")
    for name in ("answer.organs", "segmentation.organs", "quality"):
        section = json.loads((ct.path / RESULTS / "sections" / f"{name}.json").read_text(encoding="utf-8"))
        assert section["title"] in report

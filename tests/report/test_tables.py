"""The tables: columns, references only where they belong, notes for what is missing."""

import csv

import pytest
from fabricated_results import EXTRACTORS, GENERATORS, write_all

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.core.settings import parse
from synthmed.report import TABLES
from synthmed.report.references import TUBERCULOSIS
from synthmed.report.table_rows import COLUMNS
from synthmed.report.tables import TablesSettings, tables

INPUTS = ("fidelity", "copies", "grid", "summary", "verdicts", "split_report", "validation")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("inputs"))


def make(inputs, folder, *, references="tuberculosis", generators=GENERATORS, **changed):
    settings = parse(
        TablesSettings, {"classes": ["normal", "abnormal"], "generators": generators, "references": references}
    )
    tables(
        settings,
        **{name: changed.get(name, inputs[name]) for name in INPUTS},
        out=[folder / f"{name}.csv" for name in TABLES],
    )
    found = {}
    for name in TABLES:
        with open(folder / f"{name}.csv", newline="") as handle:
            found[name] = list(csv.DictReader(handle))
    return found


@pytest.fixture(scope="module")
def made(inputs, tmp_path_factory):
    return make(inputs, tmp_path_factory.mktemp("tables"))


def test_no_cell_is_nan_and_every_row_names_what_it_rests_on(made):
    for name, rows in made.items():
        assert rows, name
        for row in rows:
            assert not {"nan", "inf", "None"} & {cell.lower() for cell in row.values()}
            if name != "table_data":
                assert row.get("extractor") or row.get("backbone")


def test_table_3_1_has_each_receptive_field_and_label_with_the_documents_numbers(made):
    rows = {(row["extractor"], row["receptive_field"], row["label"]): row for row in made["table_3_1"]}
    assert len(rows) == len(EXTRACTORS) * 3 * 3
    for field, label in TUBERCULOSIS.translation_quality:
        row = rows[EXTRACTORS[0], str(field), label]
        expected = TUBERCULOSIS.translation_quality[field, label]
        assert (float(row["reference_inception_score"]), float(row["reference_fid"])) == expected


def test_values_come_from_the_files_and_not_from_the_document(made, inputs):
    result = next(found for found in map(read_json, inputs["fidelity"]) if found["generator"] == "fastgan")
    row = next(row for row in made["table_3_2"] if row["label"] == "abnormal")
    assert float(row["fid"]) == result["groups"]["abnormal"]["fid"]["value"]
    assert float(row["floor_fid"]) == result["floor"]["abnormal"]["fid"]["value"]
    assert float(row["matched_fid"]) == result["matched"]["abnormal"]["fid"]["value"]
    assert row["reference_fid"] == "143.91"


def test_a_missing_value_is_an_empty_cell_with_its_reason(made):
    row = next(row for row in made["table_3_1"] if row["label"] == "normal")
    assert row["recall"] == ""
    assert "needs at least 12 patients" in row["note"]


def test_arms_carry_the_documents_numbers_by_generator_only(made):
    reference = {row["arm"]: row["reference_accuracy"] for row in made["table_4_2"]}
    assert reference["Real only"] == "0.76"
    assert reference["Real + CycleGAN 22"] == "0.8"
    assert {reference[arm] for arm in ("Real + DCGAN", "Real + oracle", "FastGAN only", "Real + duplicated real")} == {
        ""
    }
    assert not any("×" in arm for arm in reference)  # the sweep has its own table


def test_grid_marks_the_selected_setting_and_is_sorted(made):
    rows = made["table_4_1"]
    assert [row["selected"] for row in rows].count("yes") == 1
    accuracies = [float(row["accuracy"]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert {row["reference_accuracy"] for row in rows} == {"0.9", "0.89"}


def test_sweep_begins_with_the_real_arm(made):
    rows = made["table_sweep"]
    assert rows[0]["arm"] == "Real only"
    assert {row["generator"] for row in rows} == {"FastGAN"}
    assert rows[-1]["synthetic_share"] == "1.0"


def test_without_a_document_no_reference_is_printed(inputs, tmp_path):
    for rows in make(inputs, tmp_path, references=None).values():
        for row in rows:
            assert not any(cell for column, cell in row.items() if column.startswith("reference_"))


def test_a_table_without_rows_says_why(inputs, tmp_path):
    found = make(inputs, tmp_path, validation=None, fidelity=[], copies=[])
    assert found["table_3_1"] == [dict.fromkeys(COLUMNS["table_3_1"], "") | {"note": "no CycleGAN in this experiment"}]
    assert "not validated" in found["table_validation"][0]["note"]


def test_a_result_of_an_unknown_generator_is_refused(inputs, tmp_path):
    some = {name: entry for name, entry in GENERATORS.items() if name != "dcgan"}
    with pytest.raises(InputError, match="generator 'dcgan' is not in the settings"):
        make(inputs, tmp_path, generators=some)


def test_verdicts_of_other_arms_than_the_summary_are_refused(inputs, tmp_path):
    verdicts = read_json(inputs["verdicts"])
    del verdicts["arms"]["classic"]
    write_json(tmp_path / "verdicts.json", verdicts)
    with pytest.raises(InputError, match="run compare again"):
        make(inputs, tmp_path, verdicts=tmp_path / "verdicts.json")


def test_an_unknown_document_is_refused(inputs, tmp_path):
    with pytest.raises(InputError, match="setting references"):
        make(inputs, tmp_path, references="nonesuch")

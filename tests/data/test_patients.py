"""Spellings of patients' numbers, words that are none, and patients that names hint at."""

import unicodedata

import pytest

from synthmed.data.patients import cleaned, likely_patients, one_spelling, settled, spelling, tell_crowds


@pytest.mark.parametrize(
    "word",
    [
        *("", " ", "nan", "NaN", "NA", "N/A", "<NA>", "None", "null", "Unknown", "-", "?", "–", "Ｎ/Ａ"),
        *("missing", "n.a.", "Not available", "anonymous", "#REF!", "#NAME?", "#VALUE!", "#DIV/0!"),
        *("-1", "-1.0", "-9", "-999", "\N{MINUS SIGN}999"),
    ],
)
def test_words_for_no_patient(word):
    assert cleaned(word) == ""


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("7.0", "7"),
        (" P 7  a ", "P 7 a"),
        ("7.05", "7.05"),
        ("1.2.840.0", "1.2.840.0"),
        ("Nanna", "Nanna"),
        ("0", "0"),
        ("-7.0", "-7"),
        ("-10", "-10"),
        ("99", "99"),
        ("#7", "#7"),
    ],
)
def test_a_number_is_cleaned_and_not_changed(written, meant):
    assert cleaned(written) == meant


def test_spellings_of_one_number_are_one_patient_and_said(caplog):
    apart = unicodedata.normalize("NFD", "Jürgen")
    written = ("007", "7.0", apart, "jürgen", "p 12", "P12", "P21", "", "")
    found = one_spelling([cleaned(text) for text in written], "x.csv")
    assert found == ["007", "007", "Jürgen", "Jürgen", "P12", "P12", "P21", "", ""]
    assert "x.csv: 3 patients are written in several ways, e.g. '007' and '7'" in caplog.text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("P001", "Ｐ００１"),
        ("P1", "P1\N{ZERO WIDTH SPACE}"),
        ("P1", "\N{ZERO WIDTH NO-BREAK SPACE}P1"),
        ("P1", "\N{LEFT-TO-RIGHT MARK}p 1"),
        ("P-12", "P\N{NON-BREAKING HYPHEN}12"),
        ("P-12", "P–12"),
        ("P-12", "P\N{MINUS SIGN}12"),
    ],
)
def test_numbers_that_look_alike_are_one_patient_and_said(caplog, one, other):
    assert settled([one, other], "x.csv") == [one, one]
    assert "x.csv: 1 patients are written in several ways" in caplog.text


def test_numbers_that_a_spreadsheet_rounded_are_told(caplog):
    assert settled(["1.23457E+11", "1.23457E+11", "7"], "x.csv") == ["1.23457E+11", "1.23457E+11", "7"]
    assert "x.csv: the patient of 2 images is a rounded number, e.g. '1.23457E+11'" in caplog.text
    caplog.clear()
    settled(["1E7", "E+11", "12.5E+11", "1.2E-3"], "x.csv")
    assert caplog.text == ""


def test_different_numbers_stay_different(caplog):
    different = ["1", "10", "100", "0", "a1", "a10", "1.5", "1.05", "1-1", "11"]
    assert one_spelling(different, "x.csv") == different
    assert caplog.text == ""
    assert spelling("2020.1") != spelling("202.01")


def test_a_word_for_everybody_is_noticed_by_its_share(caplog):
    tell_crowds(["X"] * 5 + ["1", "2", "3"], ["ill"] * 8, "x.csv")
    assert "patient 'X' has 5 of the 8 images of 'ill'" in caplog.text
    tell_crowds(["X"] * 5 + list("12345"), ["well"] * 10, "x.csv")
    assert "patient 'X' has 5 of the 10 images of 'well'" in caplog.text
    caplog.clear()
    tell_crowds(["X"] * 4 + ["1"], ["ill"] * 5, "x.csv")  # few images
    tell_crowds(["X"] * 5 + list("123456"), ["ill"] * 11, "x.csv")  # less than half
    tell_crowds([""] * 9, ["ill"] * 9, "x.csv")  # each of these is a patient of its own
    tell_crowds([""] * 9 + ["X"] * 5 + ["1"], ["ill"] * 15, "x.csv")  # five times as many as any other
    tell_crowds(["X"] * 8 + ["Y"] * 7 + list("123456"), ["ill"] * 21, "x.csv")
    assert caplog.text == ""


def test_a_patient_with_many_times_the_images_of_any_other_is_noticed(caplog):
    tell_crowds(["withheld"] * 8 + [f"P{n}" for n in range(12)], ["ill"] * 20, "x.csv")
    assert "x.csv: patient 'withheld' has 8 of the 20 images, and no other more than 1; is this a" in caplog.text
    caplog.clear()
    tell_crowds(["X"] * 12 + ["1", "2"], ["ill"] * 14, "x.csv")
    assert len(caplog.records) == 1, "which is half of its class, too, and said once"


def test_names_that_several_images_of_one_patient_would_have():
    found = likely_patients(["00003847_005.png", "00003847_004.png", "00000061_015.png", "7_left.jpg", "7_right.jpg"])
    assert found == {"00003847": ["00003847_004.png", "00003847_005.png"], "7": ["7_left.jpg", "7_right.jpg"]}
    assert likely_patients(["person1_bacteria_1.jpeg", "person1_bacteria_2.jpeg"])


@pytest.mark.parametrize(
    "names",
    [
        [f"IMG_{number}.png" for number in range(99)],  # no number in front
        [f"{number}.png" for number in range(99)],
        [f"class{number % 2}_{number}.png" for number in range(99)],  # two beginnings for all: classes
        [f"study_2020_{number}.png" for number in range(99)],
    ],
)
def test_names_that_number_images_or_classes_are_no_patients(names):
    assert likely_patients(names) == {}

"""Salts, hashes, ages and the words that may be said about a patient."""

import hashlib
import hmac

import pytest
from made_up_dicom import dataset

from synthmed.core.errors import InputError
from synthmed.prepare.anonymise import age, manufacturer, pseudonym, read_salt, sex, view

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SALT = "0123456789abcdef"


def test_a_pseudonym_is_the_hmac_of_kind_and_value():
    expected = hmac.new(SALT.encode(), b"patient\x0012345", hashlib.sha256).hexdigest()
    assert pseudonym(SALT.encode(), "patient", "12345", 16) == expected[:16]
    assert pseudonym(SALT.encode(), "file", "12345", 16) != expected[:16]
    assert pseudonym(b"another salt....", "patient", "12345", 16) != expected[:16]


def test_the_salt_comes_from_a_text_or_a_file(tmp_path):
    (tmp_path / "salt").write_text(f"  {SALT}\n")
    assert read_salt(SALT, None) == read_salt(None, str(tmp_path / "salt")) == SALT.encode()


def test_the_file_of_the_salt_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x").write_text(SALT)
    assert read_salt(None, "~/x") == SALT.encode()


@pytest.mark.parametrize(
    ("salt", "file", "message"),
    [
        (None, None, "exactly one of the settings salt .* and salt_file"),
        (SALT, "salt", "exactly one"),
        ("short", None, "setting salt: too short"),
        (None, "nowhere/salt", r"nowhere/salt \(setting salt_file\): cannot be read as text; make one by: openssl"),
        (None, "~nobody-of-this-name/salt", r"~nobody-of-this-name/salt \(setting salt_file\): cannot be read as text"),
    ],
)
def test_salts_that_cannot_be(salt, file, message):
    with pytest.raises(InputError, match=message):
        read_salt(salt, file)


def test_the_message_about_a_short_salt_in_a_file_does_not_quote_it(tmp_path):
    (tmp_path / "salt").write_text("secret")
    with pytest.raises(InputError, match="too short") as found:
        read_salt(None, str(tmp_path / "salt"))
    assert "secret" not in str(found.value)


@pytest.mark.parametrize(
    ("tags", "years"),
    [
        ({"PatientAge": "045Y"}, "45"),
        ({"PatientAge": "003M"}, "0.25"),
        ({"PatientAge": "030M"}, "2"),
        ({"PatientAge": "010W"}, "0.192"),
        ({"PatientAge": "100D"}, "0.274"),
        ({"PatientAge": "62"}, "62"),  # SIIM, RSNA
        ({"PatientAge": "089Y"}, "89"),
        ({"PatientAge": "094Y"}, "90"),
        ({"PatientAge": "155Y"}, ""),
        ({"PatientAge": "000Y"}, ""),
        ({"PatientAge": ""}, ""),
        ({"PatientAge": "old"}, ""),
        ({}, ""),
        ({"PatientBirthDate": "19700630", "StudyDate": "20150629"}, "44"),
        ({"PatientBirthDate": "19700630", "StudyDate": "20150630"}, "45"),
        ({"PatientBirthDate": "1970.06.30", "StudyDate": "20150630"}, "45"),
        ({"PatientBirthDate": "20150101", "StudyDate": "20150702"}, "0.498"),  # 182 days
        ({"PatientAge": "000Y", "PatientBirthDate": "19700630", "StudyDate": "20150630"}, "45"),
        ({"PatientAge": "033Y", "PatientBirthDate": "19700630", "StudyDate": "20150630"}, "33"),
        ({"PatientBirthDate": "20160101", "StudyDate": "20150101"}, ""),
        ({"PatientBirthDate": "19701399", "StudyDate": "20150101"}, ""),
        ({"PatientBirthDate": "19000101", "StudyDate": "19990101"}, "90"),
        ({"PatientBirthDate": "18000101", "StudyDate": "20150101"}, ""),
    ],
)
def test_age(tags, years):
    assert age(dataset(**tags)) == years


@pytest.mark.parametrize(("text", "said"), [("F", "F"), ("m ", "M"), ("O", "O"), ("", ""), ("FEMALE", ""), ("DOE", "")])
def test_sex_is_one_of_three_letters(text, said):
    assert sex(dataset(PatientSex=text)) == said


@pytest.mark.parametrize(
    ("text", "said"), [("PA", "PA"), ("ap", "AP"), ("LATERAL", "LATERAL"), ("", ""), ("DOE^JANE", "OTHER")]
)
def test_view_is_a_known_term_or_other(text, said):
    assert view(dataset(ViewPosition=text)) == said


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"Manufacturer": "Philips Medical  Systems "}, "Philips Medical Systems"),
        ({"Manufacturer": "GE", "PatientName": "Ge^Li"}, "GE"),
        ({}, ""),
        ({"Manufacturer": "Scanned for Quellmarth", "PatientName": "QUELLMARTH^Ottilie"}, ""),
        ({"Manufacturer": "Scanned for Ottilie Q.", "PatientName": "Quellmarth^Ottilie"}, ""),
        ({"Manufacturer": "Philips at St. Phantomas", "InstitutionName": "St. Phantomas"}, ""),
        ({"Manufacturer": "of 12345", "PatientID": "12345"}, ""),
        ({"Manufacturer": "Philips 19700630"}, ""),
        ({"Manufacturer": "Philips 1.2.840.113619"}, ""),
        ({"Manufacturer": "M" * 90}, "M" * 64),
        ({"Manufacturer": "Agfa, Smith room 2", "PatientName": "John Smith"}, ""),
        ({"Manufacturer": "Agfa, Smith room 2", "OperatorsName": ["A^B", "John Smith"]}, ""),
        ({"Manufacturer": "Philips Medical", "InstitutionName": "Medical Centre"}, "Philips Medical"),  # no person
        ({"Manufacturer": "Agfa 12/05/1961"}, ""),
        ({"Manufacturer": "Agfa 12-5-61"}, ""),
        ({"Manufacturer": "Agfa 12.05/1961"}, ""),
        ({"Manufacturer": "Agfa 2/3"}, "Agfa 2/3"),
        # Cut to 64 characters, half of the name would stay.
        ({"Manufacturer": "A" * 55 + " Wolfeschlegelstein", "PatientName": "Wolfeschlegelstein^A"}, ""),
        ({"Manufacturer": "A" * 55 + " Wolfeschlegelstein", "PatientName": "John Wolfeschlegelstein"}, ""),
    ],
)
def test_the_manufacturer_is_free_of_names_and_numbers(tags, said):
    assert manufacturer(dataset(**tags)) == said

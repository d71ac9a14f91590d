import pytest
import yaml

from synthmed.core.errors import InputError
from synthmed.core.names import check_keys


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("labels: {no: normal, 'yes': abnormal}", 'labels: false is no text.*write "no" in quotes'),
        ("labels: {'no': normal, On: abnormal}", 'labels: true is no text.*write "yes" in quotes'),
        ("labels: {0: normal}", 'labels: 0 is no text.*write "0" in quotes'),
        ("labels: {1: normal}", 'labels: 1 is no text.*write "1" in quotes'),
        ("labels: {null: normal}", 'labels: null is no text.*write "null" in quotes'),
        ("a: [{b: {2020-01-01: x}}]", r'a\[0\]\.b: "2020-01-01" is no text'),
        ("1: x", "the file: 1 is no text"),
        ("a: [{b: .nan}]", r"a\[0\]\.b: nan is no number"),
        ("a: -.inf", "a: -inf is no number"),
    ],
)
def test_keys_that_yaml_reads_as_something_else_are_refused(written, said):
    with pytest.raises(InputError, match=said):
        check_keys(yaml.safe_load(written))


def test_texts_as_keys_are_fine_whatever_the_values():
    check_keys({"a": {"0": True, "no": None, "x": [1, {"y": 2.0}]}})

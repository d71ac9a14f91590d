"""Feature files: which rows, which precision, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
from made_up_features import CLASSES, write_features

from synthmed.core.errors import InputError
from synthmed.data.features import check_apart, check_together, read_features


@pytest.fixture
def path(tmp_path):
    """Three normals and two abnormals, each as it is and in two augmented draws."""
    return write_features(tmp_path / "f.npz", "film", {"normal": 3, "abnormal": 2}, seed=1, draws=3)


def changed(path, out, **arrays):
    content = dict(np.load(path)) | arrays
    np.savez(out, **{name: values for name, values in content.items() if values is not None})
    return out


def test_rows_as_they_are_and_augmented_are_kept_apart(path):
    file = read_features(path)
    assert (len(file), len(file.as_is()), len(file.augmented())) == (15, 5, 10)
    assert file.as_is().counts() == {"abnormal": 2, "normal": 3}
    assert file.as_is().class_counts((*CLASSES, "other")) == {"normal": 3, "abnormal": 2, "other": 0}
    np.testing.assert_array_equal(file.as_is().features, file.features[::3])
    with pytest.raises(InputError, match=r"f\.npz: has no row of the kind"):
        file.as_is().augmented()


def test_metrics_get_double_precision(path):
    file = read_features(path)
    assert file.features.dtype == np.float32
    double = file.in_double()
    assert double.features.dtype == np.float64
    assert double.squares is None
    np.testing.assert_array_equal(double.features, file.features)


def test_a_draw_takes_as_many_as_there_are(path):
    drawn = read_features(path).as_is().draw({"normal": 2, "abnormal": 9}, np.random.default_rng(0), replace=False)
    assert drawn.counts() == {"abnormal": 2, "normal": 2}
    assert len(set(drawn.names)) == 4


def test_classifiers_need_squares(path, tmp_path):
    file = read_features(path)
    assert file.needed_squares() is file.squares
    with pytest.raises(InputError, match=r"w\.npz: lacks 'squares'"):
        read_features(changed(path, tmp_path / "w.npz", squares=None)).needed_squares()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": None}, r"lacks an array \(.*labels"),
        ({"squares": np.full((15, 24), np.inf, np.float32)}, "squares contains NaN or infinity"),
        ({"names": np.array([], dtype="U1")}, "there is no image in it"),
    ],
)
def test_damaged_files_are_refused(path, tmp_path, arrays, message):
    with pytest.raises(InputError, match=message):
        read_features(changed(path, tmp_path / "x.npz", **arrays))


def test_files_of_two_extractors_or_with_one_patient_are_refused(path, tmp_path):
    file = read_features(path)
    other = read_features(changed(path, tmp_path / "o.npz", extractor=np.array("another")))
    check_together([file, file])
    with pytest.raises(InputError, match=r"different extractors cannot be compared: .*o\.npz was made by 'another'"):
        check_together([file, other])
    with pytest.raises(InputError, match="share 5 patients"):
        check_apart([file, other])


def test_reading_features_does_not_load_torch():
    code = "import sys, synthmed.data.features; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

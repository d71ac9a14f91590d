"""From stored values to grey: the order of the steps, their formulas, padding, percentiles. Values by hand."""

import numpy as np
import pytest
from made_up_dicom import RAMP, dataset
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_windowing
from pydicom.sequence import Sequence

from synthmed.prepare.common import Rejected
from synthmed.prepare.dicom_grey import to_grey, whole_range
from synthmed.prepare.levels import levels_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def grey(pixels, voi="lut_or_window", voi_number=1, lower=0.0, upper=100.0, **tags):
    pixels = np.atleast_2d(pixels)
    levels = levels_of(pixels)
    file = dataset(pixels, **tags)
    return to_grey(levels, file, voi=voi, voi_number=voi_number, lower=lower, upper=upper).tolist()


def table(entries, first, bits=16, data=None):
    item = Dataset()
    item.add_new("LUTDescriptor", "US" if first >= 0 else "SS", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "US", list(entries)) if data is None else item.add_new("LUTData", "OW", data)
    return Sequence([item])


STORED = np.array([0, 10, 20, 30], np.uint16)
WINDOW = {"WindowCenter": 20, "WindowWidth": 40, "VOILUTFunction": "LINEAR_EXACT"}


# --------------------------------------------------------------------------------------------------------- the order
def test_rescale_then_window_then_inversion():
    # 2x - 10 = -10, 10, 30, 50; (v - 20) / 40 + 1/2 = -0.25, 0.25, 0.75, 1.25, cut to 0 … 1.
    tags = {"RescaleSlope": 2, "RescaleIntercept": -10} | WINDOW
    assert grey(STORED, **tags) == [[0, 64, 191, 255]]
    assert grey(STORED, **tags, PhotometricInterpretation="MONOCHROME1") == [[255, 191, 64, 0]]
    # A window before the rescale, or after the inversion, would give other values:
    assert grey(STORED, **WINDOW) == [[0, 85, 170, 255]]
    assert grey(STORED, **tags, voi="none") == [[0, 85, 170, 255]]


def test_a_film_and_its_negative_give_the_same_picture():
    window = {"WindowCenter": 1500, "WindowWidth": 1800, "VOILUTFunction": "LINEAR_EXACT"}
    mirrored = window | {"WindowCenter": 4095 - 1500, "PhotometricInterpretation": "MONOCHROME1"}
    percentiles = {"lower": 1.0, "upper": 99.0}
    assert grey(RAMP, **window, **percentiles) == grey(4095 - RAMP, **mirrored, **percentiles)


def test_a_negative_slope_does_not_turn_the_window_round():
    # 30 - x = 30, 20, 10, 0, so the picture is the negative of the stored values (pydicom's own function errs here).
    tags = {"RescaleSlope": -1, "RescaleIntercept": 30, "WindowCenter": 15, "WindowWidth": 30}
    assert grey(STORED, **tags, VOILUTFunction="LINEAR_EXACT") == [[255, 170, 85, 0]]


# ------------------------------------------------------------------------------------------------------- percentiles
@pytest.mark.parametrize(("lower", "upper"), [(0, 100), (1, 99), (0.5, 97.5), (10, 20), (0, 99)])
def test_percentiles_are_numpys_inverted_distribution_function(lower, upper):
    pixels = np.random.default_rng(0).gamma(3, 300, (50, 37)).astype(np.uint16)
    low, high = np.percentile(pixels, [lower, upper], method="inverted_cdf").astype(float)
    expected = np.rint(np.clip((pixels - low) / (high - low), 0, 1) * 255)
    assert np.array_equal(grey(pixels, lower=lower, upper=upper, bits=16), expected)


def test_signed_and_32_bit_values():
    assert grey(np.array([-1000, 0, 1000], np.int16)) == [[0, 128, 255]]
    assert grey(np.array([0, 10**6, 4 * 10**6], np.uint32)) == [[0, 64, 255]]


def test_one_wild_pixel_does_not_darken_the_film():
    pixels = np.tile(np.arange(100, 200, dtype=np.uint16), (20, 1))
    pixels[0, 0] = 4095
    assert grey(pixels, upper=99.0)[5][98] > 250
    assert grey(pixels)[5][98] < 10


# ----------------------------------------------------------------------------------------------------------- padding
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_counts_for_nothing(photometric):
    pixels = np.array([[5, 4000, 4000, 100], [200, 300, 4000, 4000]], np.uint16)
    found = np.array(grey(pixels, PixelPaddingValue=4000, PhotometricInterpretation=photometric))
    assert (found[pixels == 4000] == 0).all()
    rest = found[pixels != 4000]  # 5, 100, 200, 300
    assert rest.tolist() == ([0, 82, 169, 255] if photometric == "MONOCHROME2" else [255, 173, 86, 0])


@pytest.mark.parametrize(("value", "limit"), [(3000, 4095), (4095, 3000)])
def test_a_range_of_padding(value, limit):
    pixels = np.array([0, 50, 100, 3000, 3500, 4095], np.uint16)
    assert grey(pixels, PixelPaddingValue=value, PixelPaddingRangeLimit=limit) == [[0, 128, 255, 0, 0, 0]]


def test_signed_padding_written_as_unsigned():
    file = dataset(np.array([[-2000, 0, 50, 100]], np.int16), bits=16)
    file.add_new("PixelPaddingValue", "US", 65536 - 2000)
    levels = levels_of(np.array([[-2000, 0, 50, 100]], np.int16))
    found = to_grey(levels, file, voi="none", voi_number=1, lower=0, upper=100)
    assert found.tolist() == [[0, 0, 128, 255]]


def test_unsigned_padding_written_as_signed():
    pixels = np.array([[63536, 0, 50, 100]], np.uint16)
    file = dataset(pixels, bits=16)
    file.add_new("PixelPaddingValue", "SS", -2000)  # 63536 - 65536
    found = to_grey(levels_of(pixels), file, voi="none", voi_number=1, lower=0, upper=100)
    assert found.tolist() == [[0, 0, 128, 255]]
    assert whole_range(levels_of(pixels), file).tolist() == [[0, 0, 128, 255]]


def test_the_whole_range_is_linear_and_upright():
    pixels = np.array([[0, 10, 40, 4000]], np.uint16)
    tags = {"PixelPaddingValue": 4000, "WindowCenter": 5, "WindowWidth": 2}
    assert whole_range(levels_of(pixels), dataset(pixels, **tags)).tolist() == [[0, 64, 255, 0]]
    tags["PhotometricInterpretation"] = "MONOCHROME1"
    assert whole_range(levels_of(pixels), dataset(pixels, **tags)).tolist() == [[255, 191, 0, 0]]


# ------------------------------------------------------------------------------------------------- tables and windows
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_those_of_pydicom(function):
    tags = {"WindowCenter": 1200.5, "WindowWidth": 900, "VOILUTFunction": function}
    expected = apply_windowing(RAMP, dataset(**tags))
    low, high = expected.min(), expected.max()
    found = np.array(grey(RAMP, **tags))
    assert np.abs(found - (expected - low) / (high - low) * 255).max() <= 0.5 + 1e-6


def test_a_window_of_width_one_is_a_step():
    assert grey(STORED, WindowCenter=15.5, WindowWidth=1) == [[0, 0, 255, 255]]


def test_the_window_of_a_number():
    tags = {"WindowCenter": [20, 5], "WindowWidth": [40, 10], "VOILUTFunction": "LINEAR_EXACT"}
    assert grey(STORED, **tags) == [[0, 85, 170, 255]]
    assert grey(STORED, **tags, voi_number=2) == [[0, 255, 255, 255]]
    with pytest.raises(Rejected, match="no such window: setting voi_number asks for 3, the file has 2"):
        grey(STORED, **tags, voi_number=3)


def test_a_voi_table_goes_before_the_window_and_its_ends_hold_beyond():
    # Entries for 10, 11, … 29; 0 gets the first, 30 the last.
    entries = [100, *range(1000, 1018), 3000]
    found = grey(STORED, VOILUTSequence=table(entries, 10), **WINDOW)
    assert found == [[0, 0, round((1009 - 100) / 2900 * 255), 255]]


def test_a_voi_table_of_8_bits_with_more_than_256_entries():
    # pydicom's own function looks up entry 300 modulo 256.
    entries = np.minimum(np.arange(1000) // 4, 255)
    pixels = np.array([0, 300, 600, 999], np.uint16)
    assert grey(pixels, VOILUTSequence=table(entries.tolist(), 0, 8)) == [[0, 77, 154, 255]]  # 75, 150, 249 of 249
    packed = table(entries.tolist(), 0, 8, data=entries.astype(np.uint8).tobytes())
    assert grey(pixels, VOILUTSequence=packed) == [[0, 77, 154, 255]]


def test_a_modality_table_as_pydicom_reads_it():
    entries = (np.arange(4096) ** 2 // 300).tolist()
    sequence = table(entries, 0, 16)
    expected = apply_modality_lut(RAMP, dataset(ModalityLUTSequence=sequence)).astype(float)
    found = np.array(grey(RAMP, ModalityLUTSequence=sequence))
    assert np.abs(found - (expected - expected.min()) / np.ptp(expected) * 255).max() <= 0.5 + 1e-6
    words = table(entries, 0, 16, data=np.array(entries, "<u2").tobytes())
    file = dataset(RAMP, ModalityLUTSequence=words)
    file.set_original_encoding(False, True)
    assert to_grey(levels_of(RAMP), file, voi="none", voi_number=1, lower=0, upper=100).tolist() == found.tolist()


def test_a_modality_table_of_signed_values():
    pixels = np.array([-100, -50, 0, 50], np.int16)
    assert grey(pixels, ModalityLUTSequence=table([0, 10, 20, 40], -2)) == [[0, 0, 128, 255]]


# ----------------------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"WindowCenter": 5000, "WindowWidth": 10}, "no range: one value is left by the modality LUT, the window or"),
        ({"RescaleSlope": 0, "RescaleIntercept": 7}, "no range: one value is left"),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 30}, "no range: every pixel is padding"),
        ({"RescaleSlope": 2}, "unreadable tag: RescaleSlope and RescaleIntercept need one number each"),
        ({"WindowCenter": 20}, "unreadable tag: 1 of WindowCenter, 0 of WindowWidth"),
        ({"WindowCenter": 20, "WindowWidth": 0}, "unreadable tag: WindowWidth is 0"),
        ({"WindowCenter": 20, "WindowWidth": -5, "VOILUTFunction": "SIGMOID"}, "unreadable tag: WindowWidth is -5"),
        (WINDOW | {"VOILUTFunction": "CUBIC"}, "unreadable tag: VOILUTFunction"),
        ({"RescaleSlope": float("nan"), "RescaleIntercept": 0}, "unreadable tag: RescaleSlope"),
        ({"RescaleSlope": 1e307, "RescaleIntercept": 0}, "unreadable tag: the rescaled values, or their range"),
        ({"RescaleSlope": 1e307, "RescaleIntercept": -1.5e308}, "unreadable tag: the rescaled values, or their range"),
        ({"VOILUTSequence": table([1, 2, 3], 0, data=b"\0\1")}, "unreadable tag: LUTData of VOILUTSequence"),
        ({"VOILUTSequence": Sequence([Dataset()])}, "unreadable tag: LUTDescriptor of VOILUTSequence"),
    ],
)
def test_what_leaves_no_picture(tags, reason):
    with pytest.raises(Rejected, match=reason):
        grey(STORED, **tags)


def test_a_constant_film_and_one_that_is_constant_but_for_a_few_pixels():
    with pytest.raises(Rejected, match="no range: every pixel has the same value"):
        grey(np.full((9, 9), 700, np.uint16))
    pixels = np.zeros((20, 20), np.uint16)
    pixels[0, 0] = 9
    with pytest.raises(Rejected, match="no range: the percentiles 0 and 99 are the same value"):
        grey(pixels, upper=99.0)

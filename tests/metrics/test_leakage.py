"""The three criteria of channel leakage, by hand."""

import numpy as np
import pytest

from synthmed.metrics.leakage import chance_texture, leakage, leaks

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (20, 20, 1)).astype(np.uint8)


def masks(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    channels = np.zeros((20, 20, len(boxes)), dtype=np.uint8)
    for k, (top, left, bottom, right) in enumerate(boxes):
        channels[top:bottom, left:right, k] = 255
    return channels


def test_masks_of_two_values_that_share_no_pixel_leak_nothing():
    assert leakage(IMAGE, masks((0, 0, 5, 5), (5, 5, 9, 9)), 0) == {"grey": 0, "texture": 0, "overlap": 0}
    assert leakage(IMAGE, np.zeros((20, 20, 2), np.uint8), 0) == {"grey": 0, "texture": 0, "overlap": 0}


def test_grey_is_the_share_of_pixels_between_02_and_08_in_the_worst_mask():
    channels = masks((0, 0, 10, 10), (10, 10, 20, 20))
    channels[0, :8, 0] = (50, 51, 100, 127, 128, 204, 205, 255)  # 0.2 is 51, 0.8 is 204
    assert leakage(IMAGE, channels, 0)["grey"] == 5 / 400
    channels[10:12, 10:20, 1] = 130
    assert leakage(IMAGE, channels, 0)["grey"] == 20 / 400


def test_texture_is_the_correlation_inside_the_mask_with_the_brightness():
    colour = RNG.integers(0, 256, (20, 20, 3)).astype(np.uint8)
    channels = masks((2, 2, 12, 16), (0, 0, 5, 5))
    values = RNG.integers(128, 256, (10, 14))
    channels[2:12, 2:16, 0] = values
    expected = np.corrcoef(colour.mean(axis=2)[2:12, 2:16].ravel(), values.ravel())[0, 1]
    assert leakage(colour, channels, 0)["texture"] == pytest.approx(abs(expected))
    channels[2:12, 2:16, 0] = 255 - colour.mean(axis=2)[2:12, 2:16] // 2  # a negative shines through
    channels[18, 18, 0] = 100  # outside
    assert leakage(colour, channels, 0)["texture"] > 0.99


def test_a_background_has_no_texture_but_may_be_grey_and_overlap():
    channels = masks((0, 0, 20, 20), (2, 2, 12, 16))
    channels[:, :, 0] = 128 + IMAGE[:, :, 0] // 2
    channels[:12, :, 0] = 130
    assert leakage(IMAGE, channels, 0)["texture"] > 0.3
    assert leakage(IMAGE, channels, 1)["texture"] == 0
    assert leakage(IMAGE, channels, 1)["grey"] >= 0.6
    assert leakage(IMAGE, channels, 1)["overlap"] == 1


def test_overlap_is_of_the_smaller_mask_and_of_the_worst_pair():
    channels = masks((0, 0, 10, 10), (8, 0, 10, 5), (9, 4, 20, 20))
    assert leakage(IMAGE, channels, 0)["overlap"] == 1  # the second lies in the first
    channels = masks((0, 0, 10, 10), (9, 4, 20, 20))
    assert leakage(IMAGE, channels, 0)["overlap"] == 6 / 100
    assert set(leakage(IMAGE, channels[:, :, :1], 0)) == {"grey", "texture"}


def test_chance_is_the_correlation_of_two_real_images_inside_the_masks():
    other = RNG.integers(0, 256, (20, 20, 1)).astype(np.uint8)
    inside = masks((0, 0, 6, 6), (8, 8, 20, 20)) > 0
    parts = [np.corrcoef(IMAGE[where].ravel(), other[where].ravel())[0, 1] for where in np.moveaxis(inside, 2, 0)]
    assert chance_texture(IMAGE, other, inside) == pytest.approx(np.abs(parts).max())


def test_a_sample_leaks_above_the_share_the_percentile_and_every_real_overlap():
    found = {
        "grey": np.array([0.05, 0.06, 0.0, 0.0, 0.0]),
        "texture": np.array([0.5, 0.5, 0.995, 0.985, 0.0]),
        "overlap": np.array([0.0, 0.0, 0.0, 0.02, 0.03]),
    }
    told = leaks(found, textures=np.linspace(0, 1, 101), overlaps=np.array([0.0, 0.02]))
    assert told["grey"].tolist() == [False, True, False, False, False]
    assert told["texture"].tolist() == [False, False, True, False, False]
    assert told["overlap"].tolist() == [False, False, False, False, True]
    assert told["any"].tolist() == [False, True, True, False, True]
    del found["overlap"]  # one mask only
    told = leaks(found, textures=np.linspace(0, 1, 101), overlaps=np.array([0.0]))
    assert set(told) == {"grey", "texture", "any"}
    assert told["any"].tolist() == [False, True, True, False, False]

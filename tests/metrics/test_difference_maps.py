"""From residuals to maps and scores."""

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.metrics.difference_maps import difference_maps, image_scores, post_process, top_mean


def test_maps_average_the_channels_before_the_sign():
    residuals = np.array([[[[0.5, -0.1], [-0.4, 0.0]]]], dtype=np.float16)  # (1, 1, 2, 2)
    assert difference_maps(residuals, "positive")[0, 0] == pytest.approx([0.2, 0.0], abs=1e-3)
    assert difference_maps(residuals, "absolute")[0, 0] == pytest.approx([0.2, 0.2], abs=1e-3)


def test_smoothing_keeps_the_sum_of_a_point_and_prefers_a_patch_to_an_edge():
    maps = np.zeros((2, 40, 40), dtype=np.float32)
    maps[0, 20, 5:35] = 1.0  # a thin line of 30 pixels
    maps[1, 18:23, 18:24] = 1.0  # a patch of 30 pixels
    smooth = post_process(maps, 0.05, 0.0)
    assert smooth.sum(axis=(1, 2)) == pytest.approx([30, 30], rel=1e-3)
    # A line of one pixel under a Gaussian of two pixels: 1 / (2 √2π).
    assert smooth[0].max() == pytest.approx(0.1995, abs=0.01)
    assert smooth[1].max() > 2 * smooth[0].max()


def test_the_frame_is_zero_and_the_inside_is_as_it_was():
    maps = np.ones((1, 20, 30), dtype=np.float32)
    framed = post_process(maps, 0.0, 0.1)
    assert framed.sum() == 16 * 26
    assert framed[0, :2].max() == framed[0, :, -2:].max() == 0
    assert post_process(maps, 0.0, 0.0) is maps


def test_scores_by_hand():
    residuals = np.zeros((2, 2, 5, 1), dtype=np.float32)
    residuals[0, 0, :2, 0] = [0.4, -0.8]
    residuals[1, 1, 3, 0] = 0.1
    maps = {sign: difference_maps(residuals, sign) for sign in ("positive", "absolute")}
    assert image_scores(maps, "mean_square", 0.1) == pytest.approx([0.08, 0.001])
    assert image_scores(maps, "top_positive", 0.1) == pytest.approx([0.4, 0.1])
    assert image_scores(maps, "top_positive", 0.2) == pytest.approx([0.2, 0.05])
    assert image_scores(maps, "top_absolute", 0.2) == pytest.approx([0.6, 0.05])
    # Less than a pixel is a pixel.
    assert top_mean(maps["absolute"], 0.001) == pytest.approx([0.8, 0.1])


def test_settings_out_of_range_are_refused():
    maps = np.ones((1, 4, 4), dtype=np.float32)
    for smoothing, border in ((-1, 0), (0, 0.5), (0, -0.1)):
        with pytest.raises(InputError, match="smoothing"):
            post_process(maps, smoothing, border)
    with pytest.raises(InputError, match="share"):
        top_mean(maps, 0)

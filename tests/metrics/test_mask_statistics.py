"""Statistics of masks against scikit-image, by hand, and of forms that are known."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import euler_number, perimeter_crofton

from synthmed.metrics.masks import holes, mask_statistics, objects_of, perimeter, roughness


def disc(side: int, radius: float, bumps: float = 0, waves: int = 20) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.hypot(y, x) < radius * (1 + bumps * np.sin(waves * np.arctan2(y, x)))


def noise(seed: int, side: int = 48) -> np.ndarray:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((side, side)), 1)
    return smooth > 0


def test_euler_numbers_are_those_of_scikit_image():
    for seed in range(5):
        mask = noise(seed)
        found = mask_statistics(objects_of(mask))
        assert min(found["holes"], found["objects"]) > 1
        assert found["objects"] - found["holes"] == euler_number(mask, connectivity=1)


def test_a_hole_is_closed_by_sides_and_opened_by_corners_and_the_rim():
    ring = np.ones((3, 3), dtype=bool)
    ring[1, 1] = False
    assert holes(ring) == 1
    ring[0, 0] = False
    assert holes(ring) == 0  # connected by the corner
    assert holes(np.array([[1, 1, 1], [1, 0, 1]], dtype=bool)) == 0  # open at the rim
    assert objects_of(np.eye(3, dtype=bool)).max() == 3


def test_perimeters_are_those_of_scikit_image_object_by_object():
    objects = objects_of(noise(1))
    expected = [perimeter_crofton(np.pad(objects == value, 1), directions=4) for value in range(1, objects.max() + 1)]
    assert perimeter(objects)[1:] == pytest.approx(expected, rel=1e-12)
    touching = np.ones((6, 8), dtype=np.uint16)
    touching[:, 3:] = 7  # the border between two objects is one of each
    found = perimeter(touching)
    for value in (1, 7):
        assert found[value] == pytest.approx(perimeter_crofton(np.pad(touching == value, 1), directions=4))
    assert found[[0, 2, 3, 4, 5, 6]].tolist() == [0] * 6


def test_statistics_of_forms_that_are_known():
    found = mask_statistics(objects_of(disc(128, 32)))
    assert found["area"] == pytest.approx(np.pi / 16, rel=0.01)
    assert found["compactness"] == pytest.approx(1, abs=0.01)
    assert (found["objects"], found["holes"], found["empty"], found["full"]) == (1, 0, 0, 0)
    bar = np.zeros((64, 64), dtype=bool)
    bar[8:48, 10:20] = True
    length = np.pi / 8 * (2 * 40 + 2 * 10 + 2 * 2 * 49 / np.sqrt(2))  # rows, columns, 49 diagonals each way
    assert mask_statistics(objects_of(bar))["compactness"] == pytest.approx(4 * np.pi * 400 / length**2)


def test_compactness_weighs_objects_by_their_area():
    objects = np.zeros((64, 128), dtype=np.int64)
    objects[:, :64][disc(64, 24)] = 1
    objects[20:22, 70:110] = 5
    single = {value: mask_statistics(objects * (objects == value)) for value in (1, 5)}
    areas = {value: (objects == value).sum() for value in (1, 5)}
    expected = sum(areas[value] * single[value]["compactness"] for value in (1, 5)) / sum(areas.values())
    assert mask_statistics(objects)["compactness"] == pytest.approx(expected)


def test_roughness_tells_rough_borders_from_smooth_ones_at_any_resolution_and_ignores_holes():
    for side in (64, 128, 256):
        smooth, rough = disc(side, side / 4), disc(side, side / 4, bumps=0.1)
        assert -0.01 < roughness(smooth, 1) < 0.04
        assert roughness(rough, 1) == pytest.approx(0.68, abs=0.04)
        rough[side // 2, side // 2] = False
        assert roughness(rough, 1) == roughness(disc(side, side / 4, bumps=0.1), 1)
    # Of several objects the smoothing follows their own size.
    four = np.tile(disc(64, 16, bumps=0.1), (2, 2))
    assert roughness(four, 4) == pytest.approx(roughness(disc(64, 16, bumps=0.1), 1), abs=1e-6)


def test_empty_and_full_masks():
    empty, full = (mask_statistics(objects_of(np.full((8, 12), value))) for value in (False, True))
    assert (empty["empty"], empty["full"], empty["objects"], empty["area"]) == (1, 0, 0, 0)
    assert np.isnan([empty["compactness"], empty["roughness"]]).all()
    assert (full["empty"], full["full"], full["objects"], full["area"], full["holes"]) == (0, 1, 1, 1, 0)
    assert np.isnan(roughness(np.eye(30, dtype=bool)[:, ::-1], 1))  # a line is smoothed away

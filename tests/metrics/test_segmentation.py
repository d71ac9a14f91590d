"""Measures of masks: by hand, against scikit-learn, scikit-image and distances between all pixels."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist
from skimage.metrics import hausdorff_distance
from skimage.segmentation import find_boundaries
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from synthmed.core.errors import InputError
from synthmed.metrics import segmentation
from synthmed.metrics.outcomes import OUTCOMES
from synthmed.metrics.segmentation import hausdorff95, mask_measures, object_measures, overlap, surface


def drawn(*boxes: tuple[int, int, int, int], shape: tuple[int, int] = (8, 10)) -> np.ndarray:
    """A map of objects, numbered from 1: boxes as top, left, bottom, right."""
    objects = np.zeros(shape, dtype=np.uint8)
    for number, (top, left, bottom, right) in enumerate(boxes, start=1):
        objects[top:bottom, left:right] = number
    return objects


def blobs(seed: int, shape: tuple[int, int] = (40, 56), sigma: float = 3) -> tuple[np.ndarray, np.ndarray]:
    """Two masks that agree in part."""
    rng = np.random.default_rng(seed)
    ground, other = (ndimage.gaussian_filter(rng.standard_normal(shape), sigma) for _ in range(2))
    return ground > ground.std() / 2, ground + 0.5 * other > ground.std() / 2


def test_overlap_by_hand():
    truth, predicted = drawn((0, 0, 4, 4)) > 0, drawn((1, 2, 4, 5)) > 0
    measures = mask_measures(truth, predicted)  # 16 and 9 pixels, 6 of them in both
    assert measures == {
        "iou": 6 / 19,
        "dice": 12 / 25,
        "thresholded_jaccard": 0,
        "false_positive_pixels": 3,
        "false_negative_pixels": 10,
        "false_positive_share": 3 / 80,
        "false_negative_share": 10 / 80,
        "pixel_accuracy": pytest.approx(67 / 80),
        "hd95": hausdorff95(truth, predicted),
        "both_empty": 0,
    }


def test_overlap_is_that_of_scikit_learn():
    for seed in range(5):
        truth, predicted = blobs(seed)
        found, flat = overlap(truth, predicted), (truth.ravel(), predicted.ravel())
        assert found.iou == pytest.approx(jaccard_score(*flat), rel=1e-12)
        assert found.dice == pytest.approx(f1_score(*flat), rel=1e-12)
        assert found.accuracy == pytest.approx(accuracy_score(*flat), rel=1e-12)


def test_a_jaccard_index_below_065_counts_nothing():
    truth = np.ones((1, 20), dtype=bool)
    for pixels, expected in ((13, 0.65), (12, 0.0), (20, 1.0)):
        assert mask_measures(truth, np.arange(20)[None] < pixels)["thresholded_jaccard"] == expected


def test_of_two_empty_masks_everything_is_right_and_of_one_everything_is_wrong():
    empty, full = np.zeros((3, 4), dtype=bool), np.ones((3, 4), dtype=bool)
    perfect = {"iou": 1, "dice": 1, "thresholded_jaccard": 1, "pixel_accuracy": 1, "hd95": 0}
    found = mask_measures(empty, empty)
    assert {name: found[name] for name in perfect} == perfect
    assert (found["both_empty"], mask_measures(full, full)["both_empty"]) == (1, 0)
    for truth, predicted in ((empty, full), (full, empty)):
        found = mask_measures(truth, predicted)
        wrong = {"iou": 0, "dice": 0, "thresholded_jaccard": 0, "pixel_accuracy": 0, "both_empty": 0}
        assert {name: found[name] for name in wrong} == wrong
        assert found["hd95"] == 5  # the diagonal of the image
    assert mask_measures(empty, full)["false_positive_share"] == mask_measures(full, empty)["false_negative_share"] == 1


def test_every_measure_but_the_count_of_empty_masks_is_an_outcome():
    empty = np.zeros((3, 4), dtype=bool)
    names = {*mask_measures(empty, empty), *object_measures(empty.astype(int), empty.astype(int))}
    assert {name for name in names if name not in OUTCOMES} == {"both_empty"}
    assert all(OUTCOMES[name].decides_on == "column" for name in names - {"both_empty"})
    better = {"iou", "dice", "thresholded_jaccard", "pixel_accuracy", "object_f1", "aji"}
    assert {name for name in names - {"both_empty"} if OUTCOMES[name].higher_is_better} == better


def test_the_surface_is_the_inner_boundary_and_the_rim_of_the_image_belongs_to_it():
    truth, _ = blobs(1)
    padded = np.pad(truth, 1)
    assert np.array_equal(np.pad(surface(truth), 1), find_boundaries(padded, connectivity=1, mode="inner") & padded)
    assert surface(np.ones((4, 5), dtype=bool)).sum() == 14
    assert surface(np.ones((1, 5), dtype=bool)).all()


def by_all_distances(truth: np.ndarray, predicted: np.ndarray) -> float:
    apart = cdist(np.argwhere(surface(truth)), np.argwhere(surface(predicted)))
    return max(np.percentile(apart.min(axis=axis), 95) for axis in (0, 1))


def test_hausdorff95_is_the_larger_percentile_of_all_distances(monkeypatch):
    pairs = [blobs(seed) for seed in range(6)] + [(drawn((0, 0, 2, 2)) > 0, drawn((0, 0, 2, 2), (6, 9, 8, 10)) > 0)]
    for truth, predicted in pairs:
        expected = by_all_distances(truth, predicted)
        assert hausdorff95(truth, predicted) == hausdorff95(predicted, truth) == pytest.approx(expected, rel=1e-12)
        assert expected <= hausdorff_distance(surface(truth), surface(predicted)) + 1e-12
        with monkeypatch.context() as other:
            other.setattr(segmentation, "DENSE", 0)  # by a map of distances
            assert hausdorff95(truth, predicted) == pytest.approx(expected, rel=1e-12)


def test_hausdorff95_by_hand():
    truth, predicted = np.zeros((2, 60), dtype=bool), np.zeros((2, 60), dtype=bool)
    truth[0, :40], predicted[0, :41] = True, True
    assert hausdorff95(truth, predicted) == 0  # one of 41 pixels lies outside: less than 5 %
    predicted[0, :44] = True
    # Distances: 40 times 0, then 1, 2, 3, 4; the 95th percentile lies at place 0.95 · 43 = 40.85.
    assert hausdorff95(truth, predicted) == pytest.approx(0.15 * 1 + 0.85 * 2)
    predicted = np.zeros((2, 60), dtype=bool)
    predicted[1, 3:43] = True
    assert hausdorff95(truth, predicted) == pytest.approx(np.percentile([1] * 37 + list(np.hypot(1, [1, 2, 3])), 95))


def slowly(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """F1 and AJI as their papers write them: one object after the other."""
    objects, others = ([image == value for value in np.unique(image[image > 0])] for image in (truth, predicted))
    index = np.array([[(a & b).sum() / (a | b).sum() for b in others] for a in objects])
    hits = sum(ious.max() > 0.5 for ious in index)
    intersection = union = 0
    used = set()
    for a, ious in zip(objects, index, strict=True):
        best = int(ious.argmax())
        if ious[best] == 0:
            union += a.sum()
            continue
        intersection, union = intersection + (a & others[best]).sum(), union + (a | others[best]).sum()
        used.add(best)
    union += sum(b.sum() for place, b in enumerate(others) if place not in used)
    return {"object_f1": 2 * hits / (len(objects) + len(others)), "aji": intersection / union}


def test_objects_by_hand():
    # One is met well, one is met half, one is missed; the last prediction meets nothing.
    truth = drawn((0, 0, 2, 4), (3, 0, 5, 4), (6, 6, 8, 8))
    predicted = drawn((0, 0, 2, 3), (3, 0, 4, 4), (0, 8, 2, 10))
    found = object_measures(truth, predicted)
    assert found["object_f1"] == pytest.approx(2 * 1 / 6)  # an IoU of exactly 0.5 is none
    assert found["aji"] == pytest.approx((6 + 4) / (8 + 8 + 4 + 4))
    # One prediction over two objects is taken twice (Kumar et al. 2017), a second one on an object stays over.
    truth, predicted = drawn((0, 0, 2, 4), (0, 4, 2, 8)), drawn((0, 0, 2, 8), (2, 0, 3, 1))
    assert object_measures(truth, predicted)["aji"] == pytest.approx((8 + 8) / (16 + 16 + 1))


def test_objects_are_those_of_the_definition_whatever_their_numbers():
    rng = np.random.default_rng(0)
    for seed in range(6):
        truth, predicted = (ndimage.label(mask)[0] for mask in blobs(seed, sigma=1.2))
        expected = slowly(truth, predicted)
        assert 0 < expected["object_f1"] < 1
        assert object_measures(truth, predicted) == pytest.approx(expected, rel=1e-12)
        # Numbers with gaps, up to those of 16 bits, in another order.
        far = [np.concatenate([[0], rng.permutation(np.arange(1, 2**16))[: one.max()]]) for one in (truth, predicted)]
        shuffled = far[0][truth].astype(np.uint16), far[1][predicted].astype(np.uint16)
        assert object_measures(*shuffled)["object_f1"] == pytest.approx(expected["object_f1"], rel=1e-12)


def test_images_without_objects_and_without_background():
    empty, one = drawn(), drawn((0, 0, 8, 10))
    assert object_measures(empty, empty) == {"object_f1": 1, "aji": 1}
    assert object_measures(one, empty) == object_measures(empty, one) == {"object_f1": 0, "aji": 0}
    assert object_measures(one, one) == {"object_f1": 1, "aji": 1}
    assert object_measures(one, drawn((0, 0, 4, 10)) + 1)["aji"] == pytest.approx(40 / 120)  # no background


def test_masks_that_cannot_be_compared_are_refused():
    square, wide = np.zeros((4, 4), dtype=bool), np.zeros((4, 5), dtype=bool)
    for measure in (mask_measures, hausdorff95):
        with pytest.raises(InputError, match="one size"):
            measure(square, wide)
    with pytest.raises(InputError, match="one size"):
        object_measures(np.zeros((2, 4), dtype=int), np.zeros((4, 2), dtype=int))
    with pytest.raises(TypeError, match="bool"):
        mask_measures(square.astype(np.uint8), square)
    with pytest.raises(TypeError, match="whole numbers"):
        object_measures(square, square)

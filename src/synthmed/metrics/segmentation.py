"""How well a predicted mask is the true one: pixels, boundaries and objects of one image.

Masks of one class are bool (H, W), maps of objects whole numbers (H, W) with 0 as background. Where neither mask has
anything, everything is right: IoU, Dice, F1 and AJI are 1 and HD95 is 0. Such images count like all others, and
`both_empty` counts them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from synthmed.core.errors import InputError

JACCARD_THRESHOLD = 0.65
"""An IoU below it counts 0 in the thresholded Jaccard (ISIC 2018, task 1)."""

OBJECT_IOU = 0.5
"""Objects are the same one above this IoU, so that none can be the same as two."""


DENSE = 20_000
"""From so many pixels of a surface on, a map of the distances of the whole image is quicker than a search for each."""


# -------------------------------------------------------------------------------------------------------------- pixels
@dataclass(frozen=True)
class Overlap:
    """Pixels of two masks of one image: in both, in one only, of all.

    Where both masks are empty, IoU and Dice are 1.
    """

    both: int
    false_positives: int
    false_negatives: int
    pixels: int

    @property
    def iou(self) -> float:
        """Intersection over union (Jaccard index)."""
        return self._share(self.both, self.both + self.false_positives + self.false_negatives)

    @property
    def dice(self) -> float:
        """Dice coefficient, the F1 score of the pixels."""
        return self._share(2 * self.both, 2 * self.both + self.false_positives + self.false_negatives)

    @property
    def accuracy(self) -> float:
        """Share of the pixels that are right."""
        return 1 - (self.false_positives + self.false_negatives) / self.pixels

    @staticmethod
    def _share(part: int, whole: int) -> float:
        return part / whole if whole else 1.0


def overlap(truth: np.ndarray, predicted: np.ndarray) -> Overlap:
    """Overlap of two masks, bool (H, W). Raises InputError when they differ in shape, TypeError when not bool."""
    _check(truth, predicted)
    if not truth.dtype == predicted.dtype == bool:
        raise TypeError(f"masks of one class are bool, not {truth.dtype} and {predicted.dtype}")
    both = int(np.count_nonzero(truth & predicted))
    return Overlap(both, int(np.count_nonzero(predicted)) - both, int(np.count_nonzero(truth)) - both, truth.size)


def mask_measures(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """All measures of two masks, bool (H, W), by the names of metrics.outcomes, with `both_empty`, 0 or 1.

    Pixels are of the size that is given and can only be compared at one size; shares are of all pixels of the image.
    """
    found = overlap(truth, predicted)
    return {
        "iou": found.iou,
        "dice": found.dice,
        "thresholded_jaccard": found.iou if found.iou >= JACCARD_THRESHOLD else 0.0,
        "false_positive_pixels": float(found.false_positives),
        "false_negative_pixels": float(found.false_negatives),
        "false_positive_share": found.false_positives / found.pixels,
        "false_negative_share": found.false_negatives / found.pixels,
        "pixel_accuracy": found.accuracy,
        "hd95": hausdorff95(truth, predicted),
        "both_empty": float(not truth.any() and not predicted.any()),
    }


# ---------------------------------------------------------------------------------------------------------- boundaries
def surface(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask, bool (H, W), that one of their four neighbours does not belong to, bool (H, W). Beyond the rim
    of the image nothing belongs to it."""
    edge = mask.copy()
    inside = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    edge[1:-1, 1:-1] ^= inside
    return edge


def hausdorff95(truth: np.ndarray, predicted: np.ndarray) -> float:
    """95 % Hausdorff distance of two masks, bool (H, W), in pixels.

    Of every pixel of one surface the distance to the nearest pixel of the other; the 95th percentile of these (linear
    between neighbours), each way; the larger of the two. Where one mask is empty there is no distance, and the diagonal
    of the image stands for it, which no distance reaches; 0 where both are.
    """
    _check(truth, predicted)
    edges = surface(truth), surface(predicted)
    points = [np.column_stack(np.nonzero(edge)) for edge in edges]
    counts = [len(found) for found in points]
    if not all(counts):
        return float(np.hypot(*truth.shape)) if any(counts) else 0.0
    return max(_directed95(points[0], edges[1], points[1]), _directed95(points[1], edges[0], points[0]))


def _directed95(points: np.ndarray, edge: np.ndarray, others: np.ndarray) -> float:
    """95th percentile of the distances from points (N, 2) to the nearest of `others` (M, 2), the pixels of `edge`."""
    apart = points[~edge[points[:, 0], points[:, 1]]]  # distances of shared pixels are 0 and need no search
    distances = np.zeros(len(points))
    if len(apart) > DENSE:
        distances[: len(apart)] = distance_transform_edt(~edge)[apart[:, 0], apart[:, 1]]
    elif len(apart):
        distances[: len(apart)], _ = cKDTree(others, balanced_tree=False, compact_nodes=False).query(apart)
    return float(np.percentile(distances, 95))


# ------------------------------------------------------------------------------------------------------------- objects
def object_measures(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """F1 score of objects and aggregated Jaccard index of two maps of objects, whole numbers (H, W).

    object_f1: 2 · hits / (true + predicted objects); a hit is a pair with an IoU above OBJECT_IOU, so each object has
    at most one. aji (Kumar et al. 2017, algorithm 1): each true object takes the predicted one with the highest IoU;
    Σ intersections / (Σ unions + pixels of predicted objects that none took). Of equal IoUs the smaller number.
    """
    areas_true, areas_predicted, first, second, shared = _pairs(truth, predicted)
    if not len(areas_true) or not len(areas_predicted):
        right = float(len(areas_true) == len(areas_predicted))
        return {"object_f1": right, "aji": right}
    union = areas_true[first] + areas_predicted[second] - shared
    iou = shared / union
    hits = int(np.count_nonzero(iou > OBJECT_IOU))
    # Pairs ascend by the true object, then by the predicted one: the first of the highest IoU of each true object.
    order = np.lexsort((second, -iou, first))
    best = order[np.diff(first[order], prepend=-1) != 0]
    lonely = np.setdiff1d(np.arange(len(areas_true)), first)
    unused = np.setdiff1d(np.arange(len(areas_predicted)), second[best])
    unions = union[best].sum() + areas_true[lonely].sum() + areas_predicted[unused].sum()
    return {
        "object_f1": 2 * hits / (len(areas_true) + len(areas_predicted)),
        "aji": float(shared[best].sum() / unions),
    }


def _pairs(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, ...]:
    """Areas of the T true objects and of the P predicted ones; of each pair that overlaps: their places in these, and
    the pixels they share. int64."""
    _check(truth, predicted)
    if truth.dtype.kind not in "iu" or predicted.dtype.kind not in "iu":
        raise TypeError(f"maps of objects hold whole numbers, not {truth.dtype} and {predicted.dtype}")
    first, second = truth.ravel(), predicted.ravel()
    # Neighbouring pixels mostly are of the same pair: a run counts its pixels at once, and there are few to sort.
    changes = np.flatnonzero((first[1:] != first[:-1]) | (second[1:] != second[:-1])) + 1
    starts = np.concatenate([[0], changes])
    base = int(second[starts].max()) + 1
    code, place = np.unique(first[starts].astype(np.int64) * base + second[starts], return_inverse=True)
    pixels = np.bincount(place, weights=np.diff(starts, append=truth.size)).astype(np.int64)
    objects = []
    for values in (code // base, code % base):
        names, number = np.unique(values, return_inverse=True)
        areas = np.bincount(number, weights=pixels).astype(np.int64)
        ground = int(names[0] == 0)
        objects.append((areas[ground:], number - ground))
    (areas_true, first), (areas_predicted, second) = objects
    shared = (first >= 0) & (second >= 0)
    return areas_true, areas_predicted, first[shared], second[shared], pixels[shared]


def _check(truth: np.ndarray, predicted: np.ndarray) -> None:
    if truth.shape != predicted.shape or truth.ndim != 2 or not truth.size:
        raise InputError(f"a mask {truth.shape} and a prediction {predicted.shape} must have one size (H, W)")
